"""What does a swept key change? A sentence for each key, with a paired test over the seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from mi_runner.config.registry import EXPERIMENTS
from mi_runner.config.run_schema import CHECKPOINT
from mi_runner.experiments.common.sentences import MOST_NAMED, counted, figure, listed, of_the_test, that_of
from mi_runner.runs.plan import Plan, named
from mi_runner.sweeps.sweep_tables import Ended, in_short, short_checkpoints
from mi_runner.tables.over_seeds import have_twins
from mi_runner.tables.paired import holm
from mi_runner.tables.pairwise import FEWEST_UNITS, LEVEL, MOST_ALTERNATIVES, SAME, Compared, compare_all

Unit = tuple[str, ...]
"""The values of the keys that repeat a setting: a seed, as text."""


@dataclass(frozen=True)
class Effect:
    """A metric at each value of a swept key, over the same units.

    Attributes:
        key: that is swept.
        metric: a number of the jobs' summaries.
        values: of the key, as they are named.
        measured: of each value those of the units, in the same order; each a mean over the settings of the other keys.
        others: the other swept keys, over whose settings the means are.
        unit: what a unit is: seed.
        are_networks: whether each unit has networks of its own.
    """

    key: str
    metric: str
    values: tuple[str, ...]
    measured: tuple[tuple[float, ...], ...]
    others: tuple[str, ...]
    unit: str
    are_networks: bool

    @property
    def sentence(self) -> str:
        """What the key changes, and which values the test tells apart."""
        compared = compare_all(self.measured)
        n, means = compared.n, compared.means
        over = f", each a mean over {listed(self.others)}" if self.others else ""
        if self.changes_nothing:
            return f"{self.key}: {self._what} is {figure(means[0])} with each of {listed(self.values)}{over}."
        if n < FEWEST_UNITS or not self.are_networks or len(means) > MOST_ALTERNATIVES:
            return f"{self.key}: {self._what} is {self.of_each(compared)}{over}. {self.why_untested(n)}"
        return f"{self.key}: {self._tested(compared)}{over}.{of_the_test(n, self.unit, len(means))}"

    @property
    def changes_nothing(self) -> bool:
        """Whether each unit has the same number with all values."""
        return all(max(of) - min(of) <= SAME * max(map(abs, of)) for of in zip(*self.measured, strict=True))

    @property
    def _what(self) -> str:
        return f"mean {self.metric}" if len(self.measured[0]) > 1 else self.metric

    def of_each(self, compared: Compared) -> str:
        """Returns the means, of many values the lowest and the highest alone."""
        means = compared.means
        few = len(means) <= MOST_NAMED
        places = list(range(len(means))) if few else [compared.lowest, compared.highest]
        shown = listed([f"{figure(means[place])} with {self.values[place]}" for place in places])
        return shown if few else f"{shown}, the lowest and the highest of {len(means)}"

    def why_untested(self, n: int) -> str:
        """Returns why there is no test over `n` units, as a sentence."""
        if n == 1:
            return f"One run of each value tells none apart: sweep the seed too, as with seed=range({FEWEST_UNITS})."
        if not self.are_networks:
            return f"There is no test, because several {self.unit}s have one network."
        if n >= FEWEST_UNITS:
            return f"There is no test of more than {MOST_ALTERNATIVES} values."
        return f"The {n} {self.unit}s can't tell values apart: it takes {FEWEST_UNITS} or more."

    def _tested(self, compared: Compared) -> str:
        """Returns which values have the lowest and the highest mean, with those that tie; without the full stop."""
        means, names, low, high = compared.means, self.values, compared.lowest, compared.highest
        if len(means) == 2:
            both = f"{figure(means[0])} with {names[0]} and {figure(means[1])} with {names[1]}"
            apart = "not told apart (" if compared.tells_none_apart else "told apart ("
            return f"{self._what} is {both}, {apart}p = {figure(compared.p[0][1])})"
        if means[low] == means[high]:
            return f"{self._what} is {figure(means[low])} with each of {listed(names)}, none told apart"
        if compared.tells_none_apart:
            ends = f"{figure(means[low])} ({names[low]}) to {figure(means[high])} ({names[high]})"
            return f"no two of its {len(means)} values are told apart by {self._what}, from {ends}"
        return (
            f"the lowest {self._what} is {figure(means[low])}, {that_of(compared, low, names, means)}; "
            f"the highest is {figure(means[high])}, {that_of(compared, high, names, means)}"
        )


def sentences(jobs: Sequence[Ended], plan: Plan) -> list[str]:
    """Returns a sentence for each swept key that doesn't repeat a setting, where its values share seeds and settings.

    A search chooses its jobs by what it found, so there is none for it; nor for jobs of several experiments or codes.

    Args:
        jobs: those that are done count.
    """
    done = [job for job in jobs if job.state.done]
    experiments = {job.state.record.experiment for job in done}
    schema = next((schema for schema in EXPERIMENTS if {schema.name} == experiments), None)
    if plan.search is not None or schema is None or len({job.code for job in done}) > 1:
        return []
    names = {name: None for job in done for name in job.metrics}
    keys = dict.fromkeys(key for job in done for key in job.combination)
    metric = plan.objective or schema.headline
    parts = [] if plan.objective or schema.compared[0] in names else _parts(names, schema.compared[0])
    found = []
    for key in keys:
        whole = effect([job for job in done if metric in job.metrics], key, metric)
        if whole is not None and not (parts and whole.changes_nothing):
            found.append(whole.sentence)
        of_parts = [effect([job for job in done if part in job.metrics], key, part) for part in parts]
        if known := [one for one in of_parts if one is not None]:
            found.append(_of_parts(known, schema.compared[0]))
    return found


def _parts(names: Iterable[str], measure: str) -> list[str]:
    """Returns the numbers that have only parts of a measure, such as regret_mse/eap/zero."""
    return [name for name in names if name.startswith(f"{measure}/")]


def _of_parts(effects: Sequence[Effect], measure: str) -> str:
    """Returns what a key changes of a measure that a run has of each method: of which the test tells values apart.

    The p-values of all parts are corrected by Holm's method.

    Args:
        effects: of one key, each of another part.
    """
    first = effects[0]
    what = f"{measure} of {len(effects)} methods and ablations"
    if all(one.changes_nothing for one in effects):
        return f"{first.key}: it changes none of the {what}."
    n = min(len(one.measured[0]) for one in effects)
    if n < FEWEST_UNITS or not first.are_networks or len(first.values) > MOST_ALTERNATIVES:
        columns = [[fmean(one.measured[place]) for one in effects] for place in range(len(first.values))]
        ends = [
            f"{figure(min(means))} to {figure(max(means))} with {value}"
            for means, value in zip(columns, first.values, strict=True)
        ]
        return f"{first.key}: {what} is {listed(ends, 'other values')}. {first.why_untested(n)}"
    compared = [compare_all(one.measured) for one in effects]
    p_values = holm([min(p for row in each.p for p in row) for each in compared])
    apart = [
        f"{one.metric.removeprefix(f'{measure}/')} ({one.of_each(each)}; p = {figure(p)})"
        for one, each, p in zip(effects, compared, p_values, strict=True)
        if p < LEVEL
    ]
    test = f"The test is paired over {counted(n, first.unit)}, corrected for all of them, at 5 %."
    if not apart:
        return f"{first.key}: values are told apart by none of the {what}. {test}"
    return f"{first.key}: of the {what}, values are told apart by {len(apart)}: {listed(apart)}. {test}"


def effect(jobs: Sequence[Ended], key: str, metric: str) -> Effect | None:
    """Returns a metric at each value of a key; None if there is one value, or no seed has all values and settings.

    Args:
        jobs: done, each with the metric.
    """
    short = short_checkpoints(jobs)
    found: dict[str, dict[Unit, dict[str, float]]] = {}
    for job in jobs:
        combination = in_short(job.combination, short)
        if key not in combination:
            return None
        others = named({name: value for name, value in combination.items() if name != key})
        unit = tuple(str(job.job.swept.get(name, "")) for name in job.repeated)
        found.setdefault(named({"": combination[key]})[1:], {}).setdefault(unit, {})[others] = job.metrics[metric]
    settings = {others for of_unit in found.values() for of_others in of_unit.values() for others in of_others}
    units = [
        unit
        for unit in dict.fromkeys(itertools.chain(*found.values()))
        if all(found[value].get(unit, {}).keys() == settings for value in found)
    ]
    if len(found) < 2 or not units:
        return None
    alike = [job for job in jobs if job.combination == jobs[0].combination]
    return Effect(
        key,
        metric,
        tuple(found),
        tuple(tuple(fmean(found[value][unit].values()) for unit in units) for value in found),
        tuple(name for name in jobs[0].combination if name != key),
        "checkpoint" if CHECKPOINT in jobs[0].repeated else "seed",
        not have_twins(job.start for job in alike),
    )

"""What does a swept key change? A sentence for each key, with a paired test over the seeds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from mi_runner.config.registry import EXPERIMENTS
from mi_runner.config.run_schema import CHECKPOINT
from mi_runner.experiments.common.sentences import MOST_NAMED, figure, listed, of_the_test, that_of
from mi_runner.runs.plan import Plan, named
from mi_runner.sweeps.sweep_tables import Ended, in_short, short_checkpoints
from mi_runner.tables.over_seeds import have_twins
from mi_runner.tables.pairwise import FEWEST_UNITS, MOST_ALTERNATIVES, SAME, Compared, compare_all

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
        if all(max(unit) - min(unit) <= SAME * max(map(abs, unit)) for unit in zip(*self.measured, strict=True)):
            return f"{self.key}: {self._what} is {figure(means[0])} with each of {listed(self.values)}{over}."
        if n < FEWEST_UNITS or not self.are_networks or len(means) > MOST_ALTERNATIVES:
            return f"{self.key}: {self._what} is {self._of_each(compared)}{over}. {self._why_untested(n)}"
        return f"{self.key}: {self._tested(compared)}{over}.{of_the_test(n, self.unit, len(means))}"

    @property
    def _what(self) -> str:
        return f"mean {self.metric}" if len(self.measured[0]) > 1 else self.metric

    def _of_each(self, compared: Compared) -> str:
        """Returns the means, of many values the lowest and the highest alone."""
        means = compared.means
        few = len(means) <= MOST_NAMED
        places = list(range(len(means))) if few else [compared.lowest, compared.highest]
        shown = listed([f"{figure(means[place])} with {self.values[place]}" for place in places])
        return shown if few else f"{shown}, the lowest and the highest of {len(means)}"

    def _why_untested(self, n: int) -> str:
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
        if compared.tells_none_apart:
            ends = f"{figure(means[low])} ({names[low]}) to {figure(means[high])} ({names[high]})"
            p = f" (p = {compared.p[low][high]:.2g})" if len(means) == 2 else ""
            return f"no two of its {len(means)} values are told apart by {self._what}, from {ends}{p}"
        if len(means) == 2:
            both = f"{figure(means[high])} with {names[high]} and {figure(means[low])} with {names[low]}"
            return f"{self._what} is {both}, told apart with p = {compared.p[low][high]:.2g}"
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
    metric = plan.objective or schema.headline
    measured = [job for job in done if metric in job.metrics]
    found = [effect(measured, key, metric) for key in dict.fromkeys(key for job in measured for key in job.combination)]
    return [one.sentence for one in found if one is not None]


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

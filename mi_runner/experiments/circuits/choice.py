"""Which method counts the circuits: an exact one that fits into the budget, or a sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mi_runner.config.experiments.circuits import CircuitMethod, CircuitsConfig, CircuitTable
from mi_runner.errors import RunFailed
from mi_runner.experiments.circuits.output import Asked
from mi_runner.experiments.common.circuit_search import (
    MOST_CIRCUITS,
    named_space,
    search_line,
    seconds_of_table,
    what,
)
from mi_runner.experiments.common.last_layers import MOST_ROWS_TYPED, Objection
from mi_runner.experiments.common.sentences import lasting
from mi_runner.methods.circuits.census import seconds_of_census
from mi_runner.methods.circuits.codes import why_without_codes
from mi_runner.methods.circuits.examples import CircuitExamples, n_distinct
from mi_runner.methods.circuits.halves import fits_halves, seconds_of_halves
from mi_runner.methods.circuits.prefixes import why_long_tails
from mi_runner.methods.circuits.sampling.sample import seconds_of_sample
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.tables.whole_numbers import large

SECONDS_OF_PART = 3600.0
"""How long a part of a census takes, for the command in parts."""

MOST_PARTS = 10_000
"""Parts that the command has, at most."""


FEWEST_SAMPLES = 1_000
"""Circuits that method=auto draws, at least, however long it takes."""


@dataclass(frozen=True)
class Chosen:
    """The method that counts circuits.

    Attributes:
        method: table, census, halves or sample.
        samples: circuits that a sample draws.
        line: what it will do, about how long it takes, and why it was chosen.
    """

    method: str
    samples: int
    line: str


def choose(asked: Asked, examples: CircuitExamples) -> Chosen:
    """Returns the method that counts the circuits of an output, or of all together."""
    config, space, n = asked.config, asked.space, asked.n_circuits
    method, why, samples = config.method.name, "", config.samples
    if method == "auto":
        method, seconds, why = _automatic(asked, examples)
        if method == "sample" and seconds > config.budget:
            samples = max(FEWEST_SAMPLES, int(samples * config.budget / seconds))
            seconds *= samples / config.samples
    else:
        seconds = _seconds(method, asked, examples)
    seconds /= config.parts
    does = {
        "table": f"table of {large(n)} circuits",
        "census": f"census of {large(n)} circuits",
        "halves": f"count by halves of the valid ones of {large(n)} circuits",
        "sample": f"sample of {samples:,} of {large(n)} circuits",
    }[method]
    if config.parts > 1:
        does = f"part {config.part} of {config.parts} of the {does}"
    listed = min(n, config.max_table_rows) if method in ("table", "census") else 0
    return Chosen(method, samples, search_line(asked.output, does, space, examples, seconds, listed) + why)


def _automatic(asked: Asked, examples: CircuitExamples) -> tuple[str, float, str]:
    """Returns the method of method=auto, about how long it takes, and why it isn't a table or a census."""
    config, space, n = asked.config, asked.space, asked.n_circuits

    def chosen(method: str, why: str = "") -> tuple[str, float, str]:
        return method, _seconds(method, asked, examples), why

    if asked.is_planted or config.min_node_sparsity:
        return chosen("table")
    if config.part is not None:
        return chosen("census")
    exact = "table" if n <= config.max_table_rows else "census"
    if exact == "census" and not space.n_hidden:
        return chosen("sample", " (experiment.method=auto: they don't fit into a table)")
    if exact == "census" and (without := why_without_codes(space)) is not None:
        return chosen("sample", f" (experiment.method=auto: they don't fit into a table, and {without})")
    if exact == "table" and (why_long := _no_table(space, n)) is not None:
        return chosen("sample", f" (experiment.method=auto: {why_long})")
    seconds = _seconds(exact, asked, examples)
    if seconds <= config.budget:
        return exact, seconds, ""
    limit = f"experiment.budget={config.budget:g}"
    why = f" (experiment.method=auto: a {exact} would take about {lasting(seconds)}, more than {limit})"
    if _halves_refused(asked, examples) is None:
        by_halves = chosen("halves", why)  # timed once
        if by_halves[1] <= config.budget:
            return by_halves
    return chosen("sample", why)


def _no_table(space: CircuitSpace, n: int) -> str | None:
    """Returns why n circuits that fit into a table aren't evaluated for it; None if they are."""
    return why_long_tails(space) if space.n_hidden and n > 1 else None


def _seconds(method: str, asked: Asked, examples: CircuitExamples) -> float:
    """Returns about how long a method takes with the options' number of samples, in seconds."""
    config = asked.config
    if method == "sample":
        return seconds_of_sample(asked.part, examples, config.samples)
    if method == "halves":
        return seconds_of_halves(asked.part, examples, ablation=config.ablation.name, inputs=config.inputs.name)
    if method == "census":
        return seconds_of_census(asked.space, n_distinct(examples), examples.has_several)
    return seconds_of_table(asked.n_circuits, asked.space, examples)


def _halves_refused(asked: Asked, examples: CircuitExamples) -> str | None:
    """Returns why valid circuits can't be counted by halves; None if they can."""
    config = asked.config
    if asked.is_planted:
        return "only circuits of edges whose weight is not 0 are looked at"
    least = examples.fewest_right(config.accuracy_threshold)
    return fits_halves(asked.part, examples, least, inputs=config.inputs.name)


def check_halves(asked: Asked, examples: CircuitExamples) -> None:
    """Checks that valid circuits can be counted by halves.

    Raises:
        RunFailed: they can't; the text says why, and what to type.
    """
    if (why := _halves_refused(asked, examples)) is not None:
        raise RunFailed(f"experiment.method=halves: {what(asked.output)}: {why}. Type experiment.method=auto.")


def refused(
    config: CircuitsConfig, space: CircuitSpace, n: int, n_examples: int, *, is_planted: bool
) -> Objection | None:
    """Returns why circuits can't be counted as it is typed, and what to type instead; None if they can.

    Args:
        n: how many circuits there are.
        n_examples: what they are counted on, at most.
    """
    have = f"{named_space(space)} have {large(n)} circuits"
    most, typed = config.max_table_rows, f"experiment.method={config.method.name}"
    larger = [f"experiment.max_table_rows={n}"] if n <= MOST_ROWS_TYPED else []
    too_many = n > most or config.method not in (CircuitMethod.auto, CircuitMethod.table)
    if config.min_node_sparsity and too_many:
        return f"experiment.min_node_sparsity works where all circuits fit into a table, but {have}.", larger
    if config.table is CircuitTable["all"] and too_many:
        return f"experiment.table=all: {have}, more than experiment.max_table_rows={most}.", [
            "experiment.table=auto",
            *larger,
        ]
    auto = ["experiment.method=auto"]
    if is_planted and config.method not in (CircuitMethod.auto, CircuitMethod.table):
        return f"{typed}: of planted weights only circuits of edges that are not 0 are looked at, in a table.", auto
    if config.method is CircuitMethod.table and n > most:
        return f"{typed}: {have}, more than experiment.max_table_rows={most}.", [*auto, *larger]
    if config.method is CircuitMethod.table and not is_planted and (why_long := _no_table(space, n)) is not None:
        return f"{why_long}.", auto
    if config.method in (CircuitMethod.census, CircuitMethod.halves) and not space.n_hidden:
        return f"{typed} takes a hidden layer, and {named_space(space)} have none.", auto
    is_census = config.method is CircuitMethod.census or config.part is not None
    if is_census and (without := why_without_codes(space)) is not None:
        return f"{without}.", auto
    if config.method is CircuitMethod.halves and space.sizes[-1] > 1:
        return f"{typed} takes one output, and {named_space(space)} have {space.sizes[-1]}.", auto
    if config.method is CircuitMethod.census and config.part is None and n > MOST_CIRCUITS:
        seconds = seconds_of_census(space, n_examples, space.sizes[-1] > 1)
        parts = min(MOST_PARTS, max(2, math.ceil(seconds / SECONDS_OF_PART)))
        command = f"-m experiment.parts={parts} 'experiment.part=range(1,{parts + 1})'"
        return f"{typed}: {have}, about {lasting(seconds)} on these cores.", [*auto, command]
    return None

"""The words and the estimate of a search of circuits, for the log."""

from __future__ import annotations

from mi_runner.experiments.common.sentences import lasting
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.census import MOST_TIMED, seconds_of_census
from mi_runner.methods.circuits.examples import CircuitExamples, n_distinct
from mi_runner.methods.circuits.family import count_family, nonzero_edges
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.tables.names import ALL
from mi_runner.tables.whole_numbers import large

MOST_CIRCUITS = 2 * 10**10
"""Largest space of circuits that is counted at once; of a larger one a sample is drawn, or parts are counted."""

NUMBERS_PER_SECOND = 1e9
"""Circuits times examples per second of a table, for the estimate: about half the speed of two cores."""

BYTES_PER_ROW = 120
"""Memory for a row of the table of circuits, while the table is built."""


def named_space(space: CircuitSpace) -> str:
    """Returns how a sentence calls the layers of a space."""
    return f"layers of {'-'.join(map(str, space.sizes))} neurons"


def what(output: int | str) -> str:
    """Returns how a line of the log calls an output, or all together."""
    return "all outputs" if output == ALL else f"output {output}"


def n_circuits(part: Part, inputs: str, is_planted: bool) -> int:
    """Returns the number of circuits of a part; of planted weights those that keep edges of non-zero weight alone.

    Raises:
        ArgumentError: so many edges of non-zero weight lead into a neuron that their sets can't be listed.
    """
    space = CircuitSpace(part.sizes, inputs)
    return count_family(space, nonzero_edges(part)) if is_planted else space.count()


def seconds_of_table(n: int, space: CircuitSpace, examples: CircuitExamples) -> float:
    """Returns about how long it takes to measure n circuits on two cores."""
    return min(n, MOST_TIMED) * n_distinct(examples) * max(1, space.sizes[-1] - 1) / NUMBERS_PER_SECOND


def seconds_of_search(n: int, space: CircuitSpace, examples: CircuitExamples, max_rows: int) -> float:
    """Returns about how long a table takes, or of more circuits than fit into it a census."""
    if n <= max_rows:
        return seconds_of_table(n, space, examples)
    return seconds_of_census(space, n_distinct(examples), examples.has_several)


def estimate(
    space: CircuitSpace, examples: CircuitExamples, output: int | str, max_rows: int, count: int | None = None
) -> str:
    """Returns what a search will do, and about how long it takes.

    Args:
        max_rows: the most circuits that are all listed.
        count: how many circuits are searched; None: all of the space.
    """
    count = space.count() if count is None else count
    seconds = seconds_of_search(count, space, examples, max_rows)
    does = f"{'table' if count <= max_rows else 'census'} of {large(count)} circuits"
    return search_line(output, does, space, examples, seconds, min(count, max_rows))


def search_line(
    output: int | str, does: str, space: CircuitSpace, examples: CircuitExamples, seconds: float, listed: int
) -> str:
    """Returns what a search will do, about how long it takes, and the memory that it needs.

    Args:
        does: the search, in words: census of 94,591 circuits.
        listed: circuits that are listed, at most.
    """
    return (
        f"{what(output)}: {does} of {named_space(space)} on {len(examples):,} examples, about {lasting(seconds)} and "
        f"at most {listed * BYTES_PER_ROW / 1e6:,.0f} MB"
    )

"""The last layers of a network that are analysed, and what to type where they can't be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from mi_runner.errors import ConfigError
from mi_runner.experiments.common.circuit_search import MOST_CIRCUITS, n_circuits, named_space
from mi_runner.experiments.common.judging import analysed_parts
from mi_runner.graph.chain import find_part, longest_part
from mi_runner.methods.circuits.rounding import refuse_falling
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.tables.whole_numbers import large

if TYPE_CHECKING:
    from mi_runner.datasets import Dataset
    from mi_runner.datasets.outputs import Outputs
    from mi_runner.graph.model_graph import ModelGraph

NARROW = "model=mlp model.hidden_sizes=[128,128,3,3,3] experiment.last_layers=3"
"""The published network; its last layers can be analysed with every data set."""

MOST_ROWS_TYPED = 1_000_000_000
"""The most that experiment.max_table_rows can be."""

Objection: TypeAlias = tuple[str, list[str]]
"""Why last layers aren't analysed, and what to type besides other ones."""


def refused(last_layers: int | None, why: str, remedies: Sequence[str]) -> ConfigError:
    """Returns the error that says why these last layers can't be analysed.

    Args:
        last_layers: as it is typed.
        remedies: what to type instead; if there is nothing, the published network.
    """
    asked = "null" if last_layers is None else last_layers
    return ConfigError(f"experiment.last_layers={asked}: {why} Type {' or '.join(remedies or [NARROW])}.")


def check_last_layers(
    graph: ModelGraph,
    dataset: Dataset,
    last_layers: int | None,
    objection: Callable[[int | None], Objection | None],
    advised_against: Callable[[int | None], Objection | None] | None = None,
) -> None:
    """Checks that last layers can be analysed.

    Args:
        last_layers: as it is typed.
        objection: returns why so many last layers are refused; None if they are accepted.
        advised_against: returns why so many last layers aren't what to type instead; None: those that are refused.

    Raises:
        ConfigError: they can't; the text has the reason and what to type, with fewer layers where these are accepted.
    """
    found = objection(last_layers)
    if found is None:
        return
    why, remedies = found
    chain = longest_part(graph)
    for n in range(len(chain.layers) if chain else 0, 0, -1):
        if (advised_against or objection)(n) is None:
            remedies.append(f"experiment.last_layers={n}")
            break
    raise refused(last_layers, why, remedies or _narrow(dataset))


def _narrow(dataset: Dataset) -> list[str]:
    """Returns how to type an MLP whose last layers can be analysed, if its outputs answer a class together.

    There are so many circuits of more than ten outputs that the class must be a number.
    """
    kind, n = dataset.outputs, dataset.n_outputs
    if not kind.are_of_classes or kind.are_of_one:
        return []
    for width in (3, 2):
        sizes = (width, width, width, n)
        if CircuitSpace(sizes).count() <= MOST_CIRCUITS:
            hidden = f"128,128,{width},{width},{width}"
            return [f"model=mlp model.hidden_sizes=[{hidden}] experiment.last_layers=3"]
    return ["dataset.target=value"]


def objection(
    graph: ModelGraph,
    kind: Outputs,
    last_layers: int | None,
    inputs: str,
    max_table_rows: int,
    *,
    is_planted: bool = False,
    most_circuits: int | None = MOST_CIRCUITS,
    in_a_word: bool = False,
) -> Objection | None:
    """Returns why the circuits of last layers aren't searched; None if they are.

    Args:
        kind: what the network's outputs are.
        inputs: the family of circuits.
        max_table_rows: the most circuits that are all listed.
        is_planted: whether only circuits that keep edges of non-zero weight are looked at.
        most_circuits: the most circuits that are searched, those of a part without a hidden layer in a table; None:
            any number.
        in_a_word: whether more than 64 edges are refused.
    """
    try:
        _, part = analysed_parts(kind, find_part(graph, last_layers))[0]
        space = CircuitSpace(part.sizes, inputs)
        if in_a_word:
            space.in_a_word()
        if space.n_hidden:
            refuse_falling(part.layers[-1])
        count = n_circuits(part, inputs, is_planted)
    except ValueError as error:
        return str(error), []
    have = f"{named_space(space)} have {large(count)} circuits"
    larger = [f"experiment.max_table_rows={count}"] if count <= MOST_ROWS_TYPED else []
    if is_planted and count > max_table_rows:
        return f"{have} of edges whose weight is not 0, which must fit into a table.", larger
    if not count:
        why = f"{named_space(space)} have no circuit of edges whose weight is not 0 that uses every input and output."
        return why, ["experiment.inputs=any"] if inputs == "all" else []
    if count == 1 and not is_planted:
        return f"{named_space(space)} have one circuit, the full one, so there is nothing to compare.", []
    if most_circuits is None:
        return None
    if count > most_circuits:
        return f"{have}, more than {most_circuits:,}.", []
    if not space.n_hidden and count > max_table_rows:
        return f"{have}, which must fit into a table where no layer is hidden.", larger
    return None

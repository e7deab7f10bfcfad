"""Which circuit is known as the truth about a network? The planted one, or that of a user's file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mi_runner.datasets.files import file_path
from mi_runner.datasets.outputs import Outputs
from mi_runner.datasets.table_files import Reading, read_rows
from mi_runner.errors import ConfigError, as_options
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import Edges, rows_of
from mi_runner.methods.circuits.examples import CircuitExamples

if TYPE_CHECKING:
    from mi_runner.models.truth import Truth

COLUMNS = ("layer", "source", "target")

OUTPUT = "output"
"""A column that a file needs where several outputs are analysed one by one."""


def known_truth(
    path: str | None, planted: Truth | None, parts: Sequence[tuple[int | str, Part]], inputs: str
) -> dict[int | str, np.ndarray]:
    """Returns the circuit that is known as the truth, `(E,)` bool, of each output that has one.

    Args:
        path: of a user's file, which counts before what is planted; None: there is none.
        planted: what is known about the network; None: its weights aren't planted.
        parts: the analysed parts, of each output alone or of all.
        inputs: the family of circuits.

    Raises:
        ConfigError: see `read_truth`.
    """
    if path is not None:
        return read_truth(path, parts, inputs)
    if planted is None:
        return {}
    return {output: planted_circuit(planted, part) for output, part in parts}


def planted_circuit(planted: Truth, part: Part) -> np.ndarray:
    """Returns the edges of the planted circuit in the last layers of a network, `(E,)` bool."""
    return rows_of([mask[None] for mask in planted.planted[-len(part.layers) :]])[0]


def by_side_of_half(examples: CircuitExamples, is_planted: bool) -> CircuitExamples:
    """Returns examples whose answers are the sides of ½ where weights are planted: a formula answers 0 or 1."""
    if not is_planted or examples.kind.are_of_classes:
        return examples
    return replace(examples, kind=Outputs.probability, target=examples.target.long())


def read_truth(path: str, parts: Sequence[tuple[int | str, Part]], inputs: str) -> dict[int | str, np.ndarray]:
    """Returns the circuit that is known as the truth, `(E,)` bool, of each output that the file names.

    Args:
        path: a table with a row for each edge, numbered as in edges.csv of experiment=circuits.
        parts: the analysed parts, of each output alone or of all.
        inputs: the family of circuits.

    Raises:
        ConfigError: the file can't be read, has other columns, edges that the layers don't have, or no circuit of the
            family.
    """
    with as_options({"path": "experiment.truth"}):
        table, has_names = read_rows(file_path(path), Reading())
    of_several = len(parts) > 1
    wanted = [OUTPUT, *COLUMNS] if of_several else list(COLUMNS)
    if not has_names or (missing := [name for name in wanted if name not in table.columns]):
        lacking = ", ".join(wanted if not has_names else missing)
        raise _fault(path, f"the columns {lacking} are missing.", f"Save a row for each edge: {','.join(wanted)}.")
    try:
        numbers = table[wanted].to_numpy(dtype=float)
    except (TypeError, ValueError) as error:
        raise _fault(path, "a number of an edge is none.", "Save whole numbers from 0.") from error
    if not len(numbers) or not (numbers == np.round(numbers)).all():
        raise _fault(path, "it has no edge, or a number that isn't whole.", "Save whole numbers from 0.")
    rows = numbers.astype(int).tolist()
    found = {}
    for output, part in parts:
        edges = [tuple(row[-3:]) for row in rows if not of_several or row[0] == output]
        if edges:
            found[output] = _circuit(path, edges, part, inputs)
    if not found:
        raise _fault(path, "it has no edge of an output that is analysed.", "Number outputs from 0.")
    return found


def _circuit(path: str, named: Sequence[tuple[int, ...]], part: Part, inputs: str) -> np.ndarray:
    """Returns the circuit `(E,)` bool that keeps these edges: layer, source and target of each."""
    edges = Edges(part.sizes)
    places = {edge: place for place, edge in enumerate(zip(*(column.tolist() for column in edges.names), strict=True))}
    sizes = "-".join(map(str, part.sizes))
    circuit = edges.empty[0]
    for edge in named:
        if edge not in places:
            shown = "layer {}, source {}, target {}".format(*edge)
            raise _fault(path, f"layers of {sizes} neurons have no edge {shown}.", "Number all three from 0.")
        circuit[places[edge]] = True
    if not np.array_equal(edges.closed(circuit[None])[0], circuit):
        problem = "an edge lies on no path from an input to an output."
        raise _fault(path, problem, "Leave such edges out, or add what leads on.")
    masks = edges.masks(circuit)
    if inputs == "all" and not (masks[0].any(0).all() and masks[-1].any(1).all()):
        raise _fault(path, "an input or an output has no edge.", "Type experiment.inputs=any.")
    return circuit


def _fault(path: str, problem: str, remedy: str) -> ConfigError:
    return ConfigError(f"experiment.truth={path}: {problem} {remedy}")

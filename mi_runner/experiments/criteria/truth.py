"""The circuit that is known as the truth, from a user's file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mi_runner.datasets.files import file_path
from mi_runner.datasets.table_files import Reading, read_rows
from mi_runner.errors import ConfigError, as_options
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.space import CircuitSpace

COLUMNS = ("layer", "source", "target")

OUTPUT = "output"
"""A column that a file needs where several outputs are analysed one by one."""


def read_truth(path: str, parts: Sequence[tuple[int | str, Part]], inputs: str) -> dict[int | str, int]:
    """Returns the circuit that is known as the truth, as bits, of each output that the file names.

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
            found[output] = _bits(path, edges, part, inputs)
    if not found:
        raise _fault(path, "it has no edge of an output that is analysed.", "Number outputs from 0.")
    return found


def _bits(path: str, edges: Sequence[tuple[int, ...]], part: Part, inputs: str) -> int:
    """Returns the circuit that keeps these edges: layer, source and target of each."""
    space = CircuitSpace(part.sizes, inputs)
    names = zip(*(column.tolist() for column in space.edges.names), strict=True)
    places = {edge: place for place, edge in enumerate(names)}
    named = "-".join(map(str, part.sizes))
    for edge in edges:
        if edge not in places:
            shown = "layer {}, source {}, target {}".format(*edge)
            raise _fault(path, f"layers of {named} neurons have no edge {shown}.", "Number all three from 0.")
    bits = sum(1 << places[edge] for edge in set(edges))
    if not space.is_well_formed(bits):
        remedy = "Leave such edges out"
        if CircuitSpace(part.sizes, "any").is_well_formed(bits):
            raise _fault(path, "an input or an output has no edge.", "Type experiment.inputs=any.")
        raise _fault(path, "an edge lies on no path from an input to an output.", f"{remedy}, or add what leads on.")
    return bits


def _fault(path: str, problem: str, remedy: str) -> ConfigError:
    return ConfigError(f"experiment.truth={path}: {problem} {remedy}")

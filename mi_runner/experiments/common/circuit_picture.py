"""Data of the interactive picture of circuits: of each number of edges the best, and the sparsest valid ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.space import CircuitSpace

if TYPE_CHECKING:
    from pandas import DataFrame

    from mi_runner.graph.chain import Part

MOST_OUTPUTS = 10
MOST_SPARSEST = 100
"""Of the sparsest valid circuits."""

MOST_DRAWN = 400
"""Edges of circuits that can still be told apart in a picture."""

MOST_READ = 5_000_000
"""Circuits of a table that a picture looks at."""

COLUMNS = ("circuit", "accuracy", "agreement", "mse", "n_nodes", "n_edges", "valid")

Data = dict[str, Any]


def circuits_picture(outputs: Sequence[Callable[[], Data | None]]) -> Data | None:
    """Returns the data of the picture of circuits; None if no output can be drawn.

    Args:
        outputs: a function for each output that returns its data, as `output_picture` does.
    """
    drawn = [data for output in outputs[:MOST_OUTPUTS] if (data := output()) is not None]
    return {"outputs": drawn} if drawn else None


def output_picture(output: int | str, part: Part, table: DataFrame, shares: Sequence[float | None] = ()) -> Data | None:
    """Returns the data of an output; None if its circuits have too many edges.

    Args:
        output: its number, or `all`.
        part: the analysed layers, with this output only, or with all.
        table: its circuits, as `methods.circuits.table` has them.
        shares: of each edge, in the order of the bits, the valid circuits that keep it; by default those of the table.
    """
    if Edges(part.sizes).n > MOST_DRAWN:
        return None
    space = CircuitSpace(part.sizes)
    of = {name: table[name].to_numpy()[:MOST_READ] for name in COLUMNS}
    valid = np.flatnonzero(of["valid"])
    order = np.lexsort((of["mse"], -of["agreement"], -of["accuracy"], of["n_edges"]))  # the last key counts first
    _, first = np.unique(of["n_edges"][order], return_index=True)
    sparse = np.lexsort((of["mse"][valid], -of["accuracy"][valid], of["n_nodes"][valid], of["n_edges"][valid]))
    known = list(shares) or _shares(space, of["circuit"][valid])
    weights = space.edges.flat([layer.weight for layer in part.layers]).tolist()
    edges = list(zip(*(column.tolist() for column in space.edges.names), strict=True))
    return {
        "output": output,
        "sizes": list(space.sizes),
        "n_valid": len(valid),
        "n_circuits": len(of["circuit"]),
        "edges": edges_data(edges, weights, known, [ends_of(part, *edge) for edge in edges]),
        "best": [_circuit(of, row) for row in order[first]],
        "sparsest": [_circuit(of, row) for row in valid[sparse[:MOST_SPARSEST]]],
    }


Ends = tuple[str | None, str | None]
"""The names of an edge's ends; None of a neuron without one."""


def ends_of(part: Part, layer: int, source: int, target: int) -> Ends:
    """Returns the names of an edge's ends."""
    return part.name(layer, source), part.name(layer + 1, target)


def edges_data(
    edges: Iterable[tuple[int, int, int]],
    weights: Iterable[float],
    shares: Iterable[float | None],
    ends: Iterable[Ends],
) -> list[Data]:
    """Returns the data of edges: layer, source and target, weight, and the fraction of valid circuits that keep it.

    An end that has a name has it under `from` or `to`.
    """
    return [
        {
            "layer": layer,
            "source": source,
            "target": target,
            "weight": rounded(weight),
            "share": rounded(share),
            **{side: name for side, name in zip(("from", "to"), names, strict=True) if name is not None},
        }
        for (layer, source, target), weight, share, names in zip(edges, weights, shares, ends, strict=True)
    ]


def _shares(space: CircuitSpace, valid: np.ndarray) -> list[float | None]:
    """Returns the fraction of circuits `(K,)` that keep each edge; None without circuits."""
    if not len(valid):
        return [None] * space.n_edges
    shares: list[float | None] = (space.edge_counts(space.edges.bits(valid)) / len(valid)).tolist()
    return shares


def _circuit(of: Mapping[str, np.ndarray], row: int) -> Data:
    bits = int(of["circuit"][row])
    return {
        "circuit": str(bits),  # JavaScript's numbers have 53 bits
        "accuracy": rounded(of["accuracy"][row]),
        "nodes": int(of["n_nodes"][row]),
        "edges": int(of["n_edges"][row]),
        "valid": bool(of["valid"][row]),
    }


def rounded(value: Any) -> float | None:
    """Returns a number with six significant digits; None if there is none or it is not finite, which JSON hasn't."""
    return None if value is None or not math.isfinite(value) else float(f"{float(value):.6g}")

"""Data of the interactive picture of circuits: of each number of edges the best, and the sparsest valid ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame

    from mi_runner.graph.chain import Part

MOST_OUTPUTS = 10
MOST_SPARSEST = 100
"""Of the sparsest valid circuits."""

MOST_EDGES = 64
"""A circuit is an integer of 64 bits."""

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


def output_picture(output: int, part: Part, table: DataFrame, shares: Sequence[float | None] = ()) -> Data | None:
    """Returns the data of an output; None if its circuits have too many edges.

    Args:
        output: its number.
        part: the analysed layers, with this output only.
        table: its circuits, as `methods.circuits.table` has them.
        shares: of each edge, in the order of the bits, the valid circuits that keep it; by default those of the table.
    """
    layers = [layer.weight.detach().cpu().double().numpy() for layer in part.layers]
    sizes = [layers[0].shape[1], *(len(layer) for layer in layers)]
    n_edges = sum(before * after for before, after in itertools.pairwise(sizes))
    if n_edges > MOST_EDGES:
        return None
    of = {name: table[name].to_numpy()[:MOST_READ] for name in COLUMNS}
    valid = np.flatnonzero(of["valid"])
    order = np.lexsort((of["mse"], -of["agreement"], -of["accuracy"], of["n_edges"]))  # the last key counts first
    _, first = np.unique(of["n_edges"][order], return_index=True)
    sparse = np.lexsort((of["mse"][valid], -of["accuracy"][valid], of["n_nodes"][valid], of["n_edges"][valid]))
    known = list(shares) or _shares(of["circuit"][valid], n_edges)
    ends = [
        (layer, source, target)
        for layer, weight in enumerate(layers)
        for target in range(weight.shape[0])
        for source in range(weight.shape[1])
    ]
    return {
        "output": output,
        "sizes": sizes,
        "n_valid": len(valid),
        "n_circuits": len(of["circuit"]),
        "edges": [
            {
                "layer": layer,
                "source": source,
                "target": target,
                "weight": rounded(layers[layer][target, source]),
                "share": rounded(share),
            }
            for (layer, source, target), share in zip(ends, known, strict=True)
        ],
        "best": [_circuit(of, row) for row in order[first]],
        "sparsest": [_circuit(of, row) for row in valid[sparse[:MOST_SPARSEST]]],
    }


def _shares(valid: np.ndarray, n_edges: int) -> list[float | None]:
    """Returns the fraction of circuits that keep each edge; None without circuits."""
    if not len(valid):
        return [None] * n_edges
    bits = valid.astype(np.uint64)
    return [float((bits >> np.uint64(edge) & np.uint64(1)).mean()) for edge in range(n_edges)]


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

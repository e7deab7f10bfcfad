"""Data of the interactive picture of criteria: circuits with all their criteria, some of all valid ones.

They are those of the front, the best of each criterion, the sparsest, and others evenly over the sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mi_runner.experiments.common.circuit_picture import MOST_OUTPUTS, Data, edges_data, ends_of, rounded
from mi_runner.experiments.criteria.judged import Judged
from mi_runner.experiments.criteria.rows import are_best

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_CIRCUITS = 500
"""Circuits of an output with one ablation that a page has."""

MOST_OF_FRONT, MOST_BEST, MOST_SPARSEST = 200, 5, 50
"""Of these the circuits of the front, the best of each criterion, and the sparsest."""


def criteria_picture(cases: Sequence[tuple[Judged, DataFrame]]) -> Data | None:
    """Returns the data of the picture; None if no circuit is valid.

    Args:
        cases: each output with each ablation, and its rows of circuits.parquet.
    """
    made = [_part(judged, table) for judged, table in cases if len(table)]
    return {"parts": made[: 2 * MOST_OUTPUTS], "n_left_out": len(made[2 * MOST_OUTPUTS :])} if made else None


def _part(judged: Judged, table: DataFrame) -> Data:
    """Returns the data of an output with one ablation."""
    rows = shown_rows(judged, table)
    circuits = judged.valid.circuits[rows]
    space, part = judged.search.space, judged.part
    edges = list(zip(*(column.tolist() for column in space.edges.names), strict=True))
    weights = space.edges.flat([layer.weight for layer in part.layers]).tolist()
    shares = (space.edge_counts(judged.valid.circuits) / len(judged.valid.circuits)).tolist()
    return {
        "output": str(judged.output),
        "ablation": judged.ablation,
        "sizes": list(space.sizes),
        "n_valid": judged.valid.n_all,
        "threshold": judged.valid.threshold,
        "edges": edges_data(edges, weights, shares, [ends_of(part, *edge) for edge in edges]),
        "names": judged.criteria,
        "counted": list(judged.counted),
        "circuits": {
            "bits": [str(bits) for bits in circuits.tolist()],  # as texts: JavaScript's numbers have 53 bits
            "edges": np.bitwise_count(circuits).tolist(),
            "nodes": space.n_active(circuits).tolist(),
            "survives": _known(table["survives"].to_numpy()[rows]),
            "front": _known(table["front"].to_numpy()[rows]),
        },
        "criteria": {
            name: [rounded(value) for value in values[rows].tolist()] for name, values in judged.valid.values.items()
        },
    }


def _known(values: np.ndarray) -> list[int | None]:
    """Returns 1 for yes, 0 for no and None for what isn't known."""
    return [None if known is None else int(known) for known in values.tolist()]


def shown_rows(judged: Judged, table: DataFrame) -> np.ndarray:
    """Returns the rows of the circuits that the page has, ascending, at most `MOST_CIRCUITS`."""
    order = np.lexsort((judged.valid.circuits, table["n_edges"].to_numpy()))  # the sparsest first
    front = table["front"].to_numpy()
    chosen: list[np.ndarray] = []
    for values in judged.valid.values.values():
        chosen.append(order[are_best(values)[order]][:MOST_BEST])
    chosen.append(order[:MOST_SPARSEST])
    if len(front) and front[0] is not None:
        chosen.append(_spread(order[front[order].astype(bool)], MOST_OF_FRONT))
    found = np.unique(np.concatenate(chosen))
    left = order[~np.isin(order, found)]
    return np.sort(np.concatenate([found, _spread(left, max(0, MOST_CIRCUITS - len(found)))])[:MOST_CIRCUITS])


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """Returns at most so many rows, evenly from the first to the last."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(int)] if most else rows[:0]

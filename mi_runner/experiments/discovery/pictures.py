"""Data of the interactive picture of what methods find: each method's circuit at each size, and the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mi_runner.experiments.common.circuit_picture import Data, edges_data, rounded
from mi_runner.tables.declaration import Row

MOST_CIRCUITS = 2_000
"""Circuits that a page has: 40 bytes each."""

BEST_BY = {"mse": "the best by mse", "accuracy": "the best by accuracy"}
"""Measure by which a circuit is the best of at most k edges → how the picture calls these circuits."""


def methods_picture(tables: Mapping[str, Sequence[Row]]) -> Data | None:
    """Returns the data of the picture; None if circuits are too large.

    Of methods that draw random numbers it has the first draw.

    Args:
        tables: the rows of metrics, analysed, edges and scores.
    """
    found = tables["metrics"]
    if not found or not tables["analysed"]:
        return None
    parts: dict[tuple[Any, str], list[Row]] = {}
    for row in found:
        if row["repeat"] == found[0]["repeat"]:
            parts.setdefault((row["output"], row["ablation"]), []).append(row)
    made: list[Data] = []
    n_left_out, n_circuits = 0, 0
    for (output, ablation), rows in parts.items():
        if made and n_circuits + len(rows) > MOST_CIRCUITS:
            n_left_out += 1
            continue
        n_circuits += len(rows)
        own = {
            name: [row for row in tables[name] if (row["output"], row["ablation"]) == (output, ablation)]
            for name in ("analysed", "edges", "scores")
        }
        made.append({"output": str(output), "ablation": ablation, **_part(rows, own)})
    return {"parts": made, "n_left_out": n_left_out}


def _part(rows: Sequence[Row], own: Mapping[str, Sequence[Row]]) -> Data:
    """Returns the data of an output with one ablation."""
    edges = [(row["layer"], row["source"], row["target"]) for row in own["analysed"]]
    sizes = [1 + max(source for at, source, _ in edges if at == layer) for layer in range(1 + edges[-1][0])]
    lists = _of_methods(rows) | _of_best(rows, own["edges"], edges)
    scores: dict[str, list[float | None]] = {}
    places = {edge: place for place, edge in enumerate(edges)}
    for row in own["scores"]:
        of_method = scores.setdefault(row["method"], [None] * len(edges))
        of_method[places[row["layer"], row["source"], row["target"]]] = rounded(row["score"])
    weights, shares = ([row[name] for row in own["analysed"]] for name in ("weight", "share"))
    ends = [(row.get("source_name"), row.get("target_name")) for row in own["analysed"]]
    return {
        "sizes": [*sizes, 1 + max(target for at, _, target in edges if at == edges[-1][0])],
        "k": list(dict.fromkeys(row["k"] for row in rows)),
        "edges": edges_data(edges, weights, shares, ends),
        "lists": lists,
        "best": [name for name in BEST_BY.values() if name in lists],
        "scores": scores,
    }


def _of_methods(rows: Sequence[Row]) -> dict[str, Data]:
    lists: dict[str, Data] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        of_method = [row for row in rows if row["method"] == method]
        lists[method] = {
            "bits": [str(row["circuit"]) for row in of_method],  # as texts: JavaScript's numbers have 53 bits
            "valid": [int(row["valid"]) for row in of_method],
            **{name: [rounded(row[name]) for row in of_method] for name in ("accuracy", "mse", "percentile")},
        }
    return lists


def _of_best(rows: Sequence[Row], kept: Sequence[Row], edges: Sequence[tuple[int, int, int]]) -> dict[str, Data]:
    """Returns the best circuits of each size by each measure; none where not all circuits were evaluated.

    Args:
        kept: the rows of the table `edges`.
        edges: layer, source and target of each edge, in the order of the bits.
    """
    places = {edge: place for place, edge in enumerate(edges)}
    by_k = {row["k"]: row for row in rows}
    lists: dict[str, Data] = {}
    for measure, name in BEST_BY.items():
        if rounded(rows[0][f"best_{measure}"]) is None:
            continue
        bits = dict.fromkeys(by_k, 0)
        for row in kept:
            if row["best"] == measure:
                bits[row["k"]] |= 1 << places[row["layer"], row["source"], row["target"]]
        lists[name] = {
            "bits": [str(bits[k]) for k in by_k],
            measure: [rounded(row[f"best_{measure}"]) for row in by_k.values()],
        }
    return lists

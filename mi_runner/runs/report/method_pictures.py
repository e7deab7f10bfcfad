"""Data of the interactive picture of what methods find: the circuit of each method at each size, and the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mi_runner.runs.report.pictures import Data, rounded
from mi_runner.runs.report.tables import Content, number, read

MOST_ROWS = 200_000
"""Rows of a table that the picture looks at."""

MOST_CIRCUITS = 2_000
"""Circuits that a page has: 40 bytes each."""

BEST_BY = {"mse": "the best by mse", "accuracy": "the best by accuracy"}
"""Measure by which a circuit is the best of at most k edges → how the picture calls these circuits."""

Row = Mapping[str, str]


def methods(folder: Path) -> Data:
    """Returns the data of the picture; empty if the folder lacks one of its tables, or circuits are too large.

    Of methods that draw random numbers it has the first draw.
    """
    contents = {name: read(folder / f"{name}.csv", MOST_ROWS) for name in ("metrics", "analysed", "edges", "scores")}
    found, analysed = contents["metrics"], contents["analysed"]
    needed = {"method", "ablation", "output", "repeat", "k", "accuracy", "mse", "percentile", "valid", "circuit"}
    if found is None or analysed is None or not needed <= set(found.columns):
        return {}
    parts: dict[tuple[str, str], list[Row]] = {}
    for row in found.rows:
        if row["repeat"] == found.rows[0]["repeat"]:
            parts.setdefault((row["output"], row["ablation"]), []).append(row)
    made: list[Data] = []
    n_left_out, n_circuits = 0, 0
    for (output, ablation), rows in parts.items():
        if made and n_circuits + len(rows) > MOST_CIRCUITS:
            n_left_out += 1
            continue
        n_circuits += len(rows)
        own = {name: _of(content, output, ablation) for name, content in contents.items()}
        try:
            made.append({"output": output, "ablation": ablation, **_part(rows, own)})
        except (ValueError, KeyError, IndexError):  # a table was changed or damaged
            return {}
    return {"methods": {"parts": made, "n_left_out": n_left_out}} if made else {}


def _of(content: Content | None, output: str, ablation: str) -> list[Row]:
    rows = () if content is None else content.rows
    return [row for row in rows if row.get("output") == output and row.get("ablation") == ablation]


def _part(rows: Sequence[Row], own: Mapping[str, Sequence[Row]]) -> Data:
    edges = [tuple(int(row[name]) for name in ("layer", "source", "target")) for row in own["analysed"]]
    sizes = [1 + max((source for at, source, _ in edges if at == layer)) for layer in range(1 + edges[-1][0])]
    by_k = {row["k"]: row for row in rows}
    lists: dict[str, Data] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        own_rows = [row for row in rows if row["method"] == method]
        lists[method] = {
            "bits": [row["circuit"] for row in own_rows],  # as texts: JavaScript's numbers have 53 bits
            "valid": [int(row["valid"] == "True") for row in own_rows],
            **{name: [_number(row[name]) for row in own_rows] for name in ("accuracy", "mse", "percentile")},
        }
    places = {edge: place for place, edge in enumerate(edges)}
    for measure, name in BEST_BY.items():
        if number(rows[0].get(f"best_{measure}", "")) is None:
            continue  # not all circuits were evaluated
        bits = dict.fromkeys(by_k, 0)
        for row in own["edges"]:
            if row["best"] == measure:
                bits[row["k"]] |= 1 << places[int(row["layer"]), int(row["source"]), int(row["target"])]
        lists[name] = {
            "bits": [str(bits[k]) for k in by_k],
            measure: [_number(row[f"best_{measure}"]) for row in by_k.values()],
        }
    scores: dict[str, list[float | None]] = {}
    for row in own["scores"]:
        scores.setdefault(row["method"], []).append(_number(row["score"]))
    return {
        "sizes": [*sizes, 1 + max(target for at, _, target in edges if at == edges[-1][0])],
        "k": [int(k) for k in by_k],
        "edges": [
            {
                "layer": layer,
                "source": source,
                "target": target,
                "weight": _number(row["weight"]),
                "share": _number(row["share"]),
            }
            for (layer, source, target), row in zip(edges, own["analysed"], strict=True)
        ],
        "lists": lists,
        "best": [name for name in BEST_BY.values() if name in lists],
        "scores": scores,
    }


def _number(text: Any) -> float | None:
    value = number(text)
    return None if value is None else rounded(value)

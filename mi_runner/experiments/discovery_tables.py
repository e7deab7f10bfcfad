"""Rows of the tables of experiment=discovery: what methods found and how it is judged, in columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from mi_runner.experiments.discovery_judgement import Judged, Judgements
from mi_runner.experiments.sentences import figure
from mi_runner.methods.circuits.kept import circuits_of_edges
from mi_runner.methods.circuits.minimality import LEVELS
from mi_runner.methods.circuits.space import MOST_EDGES
from mi_runner.methods.discovery import curves
from mi_runner.methods.discovery.find import Found
from mi_runner.methods.discovery.optimum import Best
from mi_runner.methods.discovery.rankings import ranks
from mi_runner.methods.discovery.scores import ScoreFunction

QUANTILES = (0.1, 0.5, 0.9)

OF_LEVELS = ("quasi", "local", "subset", "cardinal")

AREAS = ("cpr", "best_cpr", "cmd", "best_cmd")
"""CPR of −L and CMD of the accuracy (that of −L is 1 − CPR), of a method and of the best circuits."""


@dataclass(frozen=True)
class MethodFound:
    """What a method found in each of its repeats, and the seconds of all of them."""

    name: str
    own: ScoreFunction | None
    repeats: list[Found]
    seconds: float


def metrics_rows(
    judged: Judged, name: str, repeat: int, found: Found, rows: Judgements, places: slice, best: Best | None
) -> Iterator[dict[str, Any]]:
    """Yields a row for each size."""
    n = judged.n_examples
    for k, place in zip(judged.sizes.tolist(), range(places.start, places.stop), strict=True):
        accuracy, mse = rows.n_correct[place] / n, float(rows.mse[place])
        row = {
            "method": name,
            "ablation": judged.task.ablation,
            "output": judged.output,
            "repeat": repeat,
            "k": k,
            "n_edges": int(rows.n_edges[place]),
            "accuracy": float(accuracy),
            "agreement": float(rows.n_agreeing[place] / n),
            "mse": mse,
            "loss": float(rows.loss[place]),
            "best_accuracy": None if best is None else float(best.accuracy[k]),
            "best_mse": None if best is None else float(best.mse[k]),
            "regret_accuracy": None if best is None else float(best.accuracy[k] - accuracy),
            "regret_mse": None if best is None else mse - float(best.mse[k]),
            "percentile": or_none(rows.percentile[place]),
            "minimality": rows.level[place],
            "valid": bool(rows.is_valid[place]),
            "n_forward": found.n_forward,
            "percentile_low": or_none(rows.low[place]),
            "percentile_high": or_none(rows.high[place]),
        }
        if judged.edges.n <= MOST_EDGES:
            row["circuit"] = int(circuits_of_edges(found.circuits[place - places.start][None])[0])
        yield row


def or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def areas_of(judged: Judged, rows: Judgements, places: slice, best: Best | None) -> dict[str, float]:
    """Returns the areas under a method's curves, and under those of the best circuits."""
    empty, full = len(rows.mse) - 2, len(rows.mse) - 1  # judged last
    n, sizes = judged.n_examples, judged.sizes

    def areas(mse: np.ndarray, accuracy: np.ndarray, prefix: str = "") -> dict[str, float]:
        by_mse = curves.recovered(-mse, -rows.mse[empty], -rows.mse[full])
        by_accuracy = curves.recovered(accuracy, rows.n_correct[empty] / n, rows.n_correct[full] / n)
        return {f"{prefix}cpr": curves.cpr(by_mse, sizes), f"{prefix}cmd": curves.cmd(by_accuracy, sizes)}

    found = areas(rows.mse[places], rows.n_correct[places] / n)
    return found if best is None else found | areas(best.mse, best.accuracy, "best_")


def _mean(values: Iterator[Any] | Sequence[Any]) -> float | None:
    """Returns the mean of those that are numbers; None if there are none."""
    numbers = [float(value) for value in values if value is not None and not math.isnan(value)]
    return fmean(numbers) if numbers else None


def summary_row(
    judged: Judged,
    method: MethodFound,
    rows: Sequence[Mapping[str, Any]],
    areas: Sequence[Mapping[str, float]],
    stable: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Returns the row of a method in summary.csv: means over its repeats and sizes."""
    smallest = []
    for repeat in range(len(method.repeats)):
        valid = [row for row in rows if row["repeat"] == repeat and row["valid"]]
        if valid:
            smallest.append(min(valid, key=lambda row: row["n_edges"]))
    reached = [LEVELS.index(row["minimality"]) for row in smallest if row["minimality"] in LEVELS]
    levels = {name: _mean([level >= LEVELS.index(name) for level in reached]) for name in OF_LEVELS}
    return {
        "method": method.name,
        "ablation": judged.task.ablation,
        "output": judged.output,
        "smallest_valid": _mean([row["n_edges"] for row in smallest]),
        "fewest_valid": judged.fewest_valid,
        **{name: _mean([area[name] for area in areas if name in area]) for name in AREAS},
        **{name: _mean([row[name] for row in rows]) for name in ("regret_mse", "regret_accuracy", "percentile")},
        **levels,
        "jaccard": _mean([row["jaccard"] for row in stable]),
        "mse_sd": _mean([row["mse_sd"] for row in stable]),
        "n_forward": _mean([found.n_forward for found in method.repeats]),
        "seconds": method.seconds / len(method.repeats),
    }


def answer(summary: Sequence[Mapping[str, Any]], n_edges: int) -> str:
    """Returns which method is nearest to the best circuits, of the first output with each ablation."""
    first = summary[0]["output"]
    sentences = []
    for ablation in dict.fromkeys(row["ablation"] for row in summary):
        rows = [row for row in summary if (row["output"], row["ablation"]) == (first, ablation)]
        name, words = ("regret_mse", "regret") if rows[0]["regret_mse"] is not None else ("percentile", "percentile")
        known = [row for row in rows if row[name] is not None]
        if not known:
            continue
        ordered = sorted(known, key=lambda row: row[name])
        best, worst = ordered[0], ordered[-1]
        text = f"With {ablation} ablation {best['method']} comes nearest to the best circuits: its mean {words} is "
        text += figure(best[name])
        if worst is not best:
            text += f", that of {worst['method']} {figure(worst[name])}"
        if best["smallest_valid"] is not None:
            text += f"; its smallest valid circuit has {figure(best['smallest_valid'])} of {n_edges:,} edges"
            text += "" if best["fewest_valid"] is None else f", the smallest there is {best['fewest_valid']}"
        sentences.append(f"{text}.")
    return " ".join(sentences)


def score_rows(judged: Judged, name: str, scores: np.ndarray) -> Iterator[dict[str, Any]]:
    layers, sources, targets = judged.edges.names
    columns = (layers.tolist(), sources.tolist(), targets.tolist(), scores.tolist(), (ranks(scores) + 1).tolist())
    for layer, source, target, score, rank in zip(*columns, strict=True):
        yield {
            "method": name,
            "ablation": judged.task.ablation,
            "output": judged.output,
            "layer": layer,
            "source": source,
            "target": target,
            "score": score,
            "rank": rank,
        }


def analysed_rows(judged: Judged) -> Iterator[dict[str, Any]]:
    """Yields the weight of each analysed edge and the share of valid circuits that keep it; none for large layers."""
    if judged.edges.n > MOST_EDGES:
        return
    shares = np.full(judged.edges.n, np.nan) if judged.every is None else judged.every.shares(judged.is_valid)
    weights = judged.edges.flat([layer.weight for layer in judged.task.part.layers])
    layers, sources, targets = judged.edges.names
    columns = (layers.tolist(), sources.tolist(), targets.tolist(), weights.tolist(), shares.tolist())
    for layer, source, target, weight, share in zip(*columns, strict=True):
        yield {
            "ablation": judged.task.ablation,
            "output": judged.output,
            "layer": layer,
            "source": source,
            "target": target,
            "weight": weight,
            "share": or_none(share),
        }


def edge_rows(judged: Judged, best: Best) -> Iterator[dict[str, Any]]:
    """Yields each kept edge of the best circuit of at most k edges, by accuracy and by mse."""
    layers, sources, targets = (column.tolist() for column in judged.edges.names)
    for name, circuits in (("mse", best.by_mse), ("accuracy", best.by_accuracy)):
        for k in judged.sizes.tolist():
            for edge in np.flatnonzero(circuits[k]).tolist():
                yield {
                    "ablation": judged.task.ablation,
                    "output": judged.output,
                    "best": name,
                    "k": k,
                    "layer": layers[edge],
                    "source": sources[edge],
                    "target": targets[edge],
                }


def size_rows(judged: Judged) -> Iterator[dict[str, Any]]:
    """Yields the number and the range of all circuits of each number of edges."""
    every, n = judged.every, judged.n_examples
    assert every is not None
    for size in range(1, judged.edges.n + 1):
        rows = every.of_size(size)
        if not len(rows):
            continue
        mse, accuracy = every.measures.squares[rows].astype(float) / n, every.measures.n_correct[rows] / n
        yield {
            "ablation": judged.task.ablation,
            "output": judged.output,
            "n_edges": size,
            "n_circuits": len(rows),
            "n_valid": int(judged.is_valid[rows].sum()),
            **_quantiles("mse", mse),
            **_quantiles("accuracy", accuracy),
        }


def _quantiles(name: str, values: np.ndarray) -> dict[str, float]:
    found = np.quantile(values, QUANTILES).tolist()
    return {f"{name}_{round(100 * quantile)}": value for quantile, value in zip(QUANTILES, found, strict=True)}

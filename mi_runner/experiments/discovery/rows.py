"""Rows of the tables of experiment=discovery: what methods found and how it is judged, in columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from mi_runner.experiments.common.circuit_columns import end_names
from mi_runner.experiments.discovery.judgement import Judged, Judgements
from mi_runner.experiments.discovery.tables import AREAS, OF_LEVELS
from mi_runner.methods.circuits.edges import bits_of
from mi_runner.methods.circuits.minimality import LEVELS
from mi_runner.methods.discovery import curves, detection
from mi_runner.methods.discovery.find import Found
from mi_runner.methods.discovery.optimum import Best
from mi_runner.methods.discovery.rankings import in_family, ranks
from mi_runner.methods.discovery.records import Method
from mi_runner.tables.intervals import wilson_interval

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class MethodFound:
    """What a method found in each of its repeats, and the seconds of all of them."""

    method: Method
    repeats: list[Found]
    seconds: float

    @property
    def name(self) -> str:
        """The method's name."""
        return self.method.name


def metrics_rows(
    judged: Judged, name: str, repeat: int, found: Found, rows: Judgements, places: slice, best: Best | None
) -> Iterator[dict[str, Any]]:
    """Yields a row for each size; of circuits that are found on other examples, with an interval of the accuracy."""
    n = judged.n_examples
    for k, place in zip(judged.sizes.tolist(), range(places.start, places.stop), strict=True):
        accuracy, mse = rows.n_correct[place] / n, float(rows.mse[place])
        percentile, low, high = judged.percentile_at(k, rows, place)
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
            "percentile": or_none(percentile),
            "minimality": rows.level[place],
            "valid": bool(rows.is_valid[place]),
            "n_forward": found.n_forward,
            "percentile_low": or_none(low),
            "percentile_high": or_none(high),
        }
        if judged.is_found_elsewhere:
            row |= {
                **dict(
                    zip(("accuracy_low", "accuracy_high"), wilson_interval(int(rows.n_correct[place]), n), strict=True)
                ),
                "found_accuracy": float(rows.found_correct[place] / judged.n_finding),
                "found_valid": bool(rows.found_valid[place]),
            }
        if judged.edges.fit_in_a_word:
            row["circuit"] = int(bits_of(found.circuits[place - places.start][None])[0])
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
    return found if best is None else found | areas(best.mse[sizes], best.accuracy[sizes], "best_")


def _mean(values: Iterator[Any] | Sequence[Any]) -> float | None:
    """Returns the mean of those that are numbers; None if there are none."""
    numbers = [float(value) for value in values if value is not None and not math.isnan(value)]
    return fmean(numbers) if numbers else None


def sizes_of_all(rows: Sequence[Mapping[str, Any]], measure: str) -> frozenset[int]:
    """Returns the sizes at which a measure has a value in every draw of every method, over which it is averaged.

    Args:
        rows: of metrics.csv, of all methods.
    """
    without = {row["k"] for row in rows if row[measure] is None}
    return frozenset(row["k"] for row in rows) - without


def _reached(judged: Judged, smallest: Sequence[int], rows: Judgements) -> dict[str, float | None]:
    """Returns the fraction of these circuits that reach each level of minimality; None if that of one is not known.

    Where circuits are sampled, nobody knows whether a valid circuit has the fewest edges. The search could only say
    that it has not, and a mean of these is always 0.
    """
    found: dict[str, float | None] = {}
    for name in OF_LEVELS:
        wanted, known = LEVELS.index(name), list[bool]()
        for place in smallest:
            proven = LEVELS.index(rows.level[place]) if rows.level[place] in LEVELS else 0
            if proven >= wanted or rows.is_exact[place]:
                known.append(proven >= wanted)
        is_known = len(known) == len(smallest) and (name != "cardinal" or judged.every is not None)
        found[name] = _mean(known) if is_known else None
    return found


def summary_row(
    judged: Judged,
    method: MethodFound,
    rows: Sequence[Mapping[str, Any]],
    areas: Sequence[Mapping[str, float]],
    stable: Sequence[Mapping[str, Any]],
    judgements: Judgements,
    first: int,
    compared_sizes: frozenset[int],
) -> dict[str, Any]:
    """Returns the row of a method in summary.csv: means over its draws and sizes, and over how many these are.

    Args:
        rows: of metrics.csv.
        judgements, first: the row of metrics.csv at place i is judged at place first + i.
        compared_sizes: those at which every method has a percentile.
    """
    n_draws = len(method.repeats)
    smallest = smallest_valid(rows, n_draws, "valid")
    row = {
        "method": method.name,
        "ablation": judged.task.ablation,
        "output": judged.output,
        "smallest_valid": _mean([rows[place]["n_edges"] for place in smallest]),
        "n_draws_valid": len(smallest),
        "n_draws": n_draws,
        "fewest_valid": judged.fewest_valid,
        "valid_by": judged.valid_by,
        **{name: _mean([area[name] for area in areas if name in area]) for name in AREAS},
        "n_sizes": len(judged.sizes),
        **{name: _mean([row[name] for row in rows]) for name in ("mse", "regret_mse", "regret_accuracy")},
        "percentile": _mean([row["percentile"] for row in rows if row["k"] in compared_sizes]),
        "n_sizes_percentile": len(compared_sizes) or None,
        **_reached(judged, [first + place for place in smallest], judgements),
        "jaccard": _mean([row["jaccard"] for row in stable]),
        "n_sizes_jaccard": len({row["k"] for row in stable if row["jaccard"] is not None}) or None,
        "mse_sd": _mean([row["mse_sd"] for row in stable]),
        "n_forward": _mean([found.n_forward for found in method.repeats]),
        "seconds": method.seconds / n_draws,
    }
    if judged.truth is not None:
        row |= _detection(judged, judged.truth, method.repeats)
    if judged.is_found_elsewhere:
        chosen = [rows[place] for place in smallest_valid(rows, n_draws, "found_valid")]
        row |= {
            "chosen_edges": _mean([each["n_edges"] for each in chosen]),
            "chosen_found_accuracy": _mean([each["found_accuracy"] for each in chosen]),
            "chosen_accuracy": _mean([each["accuracy"] for each in chosen]),
            "chosen_valid": _mean([each["valid"] for each in chosen]),
            "n_draws_chosen": len(chosen),
        }
    return row


def _detection(judged: Judged, truth: np.ndarray, repeats: Sequence[Found]) -> dict[str, float | None]:
    """Returns how well a method finds the circuit that is known as the truth, mean over its draws."""
    (place,) = np.flatnonzero(judged.sizes == truth.sum())
    both = [detection.precision_and_recall(found.circuits[place], truth) for found in repeats]
    scores = [found.scores[judged.in_family] for found in repeats if found.scores is not None]
    return {
        "roc_auc": _mean([detection.roc_auc(each, truth[judged.in_family]) for each in scores]),
        "precision": _mean([precision for precision, _ in both]),
        "recall": _mean([recall for _, recall in both]),
        "truth_found": _mean([detection.is_found(found.every, truth) for found in repeats]),
    }


def smallest_valid(rows: Sequence[Mapping[str, Any]], n_draws: int, valid: str) -> list[int]:
    """Returns the place of the row with the smallest valid circuit of each draw that has one.

    Args:
        valid: the column that says which are valid.
    """
    found = []
    for repeat in range(n_draws):
        places = [place for place, row in enumerate(rows) if row["repeat"] == repeat and row[valid]]
        if places:
            found.append(min(places, key=lambda place: rows[place]["n_edges"]))
    return found


def score_rows(judged: Judged, name: str, scores: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yields the score and the rank of each edge that circuits may keep."""
    layers, sources, targets = judged.edges.names
    places = ranks(in_family(scores, judged.in_family)) + 1
    columns = (layers, sources, targets, scores, places)
    for layer, source, target, score, rank in zip(*(of[judged.in_family].tolist() for of in columns), strict=True):
        yield {
            "method": name,
            "ablation": judged.task.ablation,
            "output": judged.output,
            "layer": layer,
            "source": source,
            "target": target,
            **end_names(judged.task.part, layer, source, target),
            "score": score,
            "rank": rank,
        }


def analysed_rows(judged: Judged) -> Iterator[dict[str, Any]]:
    """Yields the weight of each analysed edge and the share of valid circuits that keep it; none for large layers."""
    if not judged.edges.fit_in_a_word:
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
            **end_names(judged.task.part, layer, source, target),
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
                    **end_names(judged.task.part, layers[edge], sources[edge], targets[edge]),
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

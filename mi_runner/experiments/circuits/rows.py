"""Rows of the tables of circuits, and the columns that several methods of counting fill."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_runner.experiments.common.circuit_columns import end_names
from mi_runner.methods.circuits.edges import WORD, Edges, as_bits, n_kept
from mi_runner.methods.circuits.sampling.result import AccuracyBin, EdgeEstimate, Estimate
from mi_runner.tables.intervals import wilson_interval

if TYPE_CHECKING:
    from pandas import DataFrame

    from mi_runner.graph.chain import Part
    from mi_runner.methods.circuits.search import CircuitSearch
    from mi_runner.methods.circuits.table import JudgedElsewhere

ACCURACY_BINS = 20
"""Bins of the distribution of accuracies."""


def judged_columns(result: CircuitSearch, n_found: int, elsewhere: JudgedElsewhere) -> dict[str, Any]:
    """Returns how good the listed valid circuits are where they were found, and where they are judged.

    Of the sparsest valid circuits the mean of all; nothing where some are not listed. One alone has an interval.
    """
    is_valid = result.is_valid
    found, later = result.listed.n_correct / n_found, elsewhere.measures.n_correct / elsewhere.n_examples
    is_sparsest = is_valid & (n_kept(result.listed.circuit) == (result.fewest_edges or 0))
    if int(is_sparsest.sum()) < result.n_cardinal:
        is_sparsest[:] = False

    def mean(values: np.ndarray, chosen: np.ndarray) -> float:
        return float(values[chosen].mean()) if chosen.any() else math.nan

    interval: tuple[float | None, float | None] = (None, None)
    if is_sparsest.sum() == 1:
        interval = wilson_interval(int(elsewhere.measures.n_correct[is_sparsest][0]), elsewhere.n_examples)
    return {
        "n_found": n_found,
        "n_judged": elsewhere.n_examples,
        "n_listed_valid": int(is_valid.sum()),
        "still_valid": mean(elsewhere.is_valid, is_valid),
        "valid_found_accuracy": mean(found, is_valid),
        "valid_judged_accuracy": mean(later, is_valid),
        "sparsest_found_accuracy": mean(found, is_sparsest),
        "sparsest_judged_accuracy": mean(later, is_sparsest),
        "sparsest_judged_accuracy_low": interval[0],
        "sparsest_judged_accuracy_high": interval[1],
        "sparsest_still_valid": mean(elsewhere.is_valid, is_sparsest),
    }


def n_equally_valid(result: CircuitSearch, truth: int | None) -> int | None:
    """Returns how many valid circuits have no more edges than the true one, listed or not.

    Args:
        truth: the circuit that is known as the truth, as bits; None: none is known.
    """
    return None if truth is None else int(result.counts[:, : truth.bit_count() + 1, result.least_correct :].sum())


def with_truth_columns(listed: DataFrame, truth: int | None) -> DataFrame:
    """Returns a table of circuits with how each compares with the true one, `truth` as bits; None: empty columns."""
    if truth is None:
        return listed.assign(contains_truth=None, is_truth=None)
    column = listed["circuit"].to_numpy()
    circuits = as_bits(column, WORD if column.dtype == np.uint64 else WORD + 1)
    return listed.assign(contains_truth=circuits & truth == truth, is_truth=circuits == truth)


def exactly(name: str, n: int) -> dict[str, int]:
    """Returns the columns of a number that is known exactly: its interval has the number alone."""
    return between_ends(name, Estimate.exact(n))


def between_ends(name: str, estimate: Estimate | None) -> dict[str, Any]:
    """Returns the columns of a number with its interval; empty ones where nothing is known of it."""
    if estimate is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def accuracy_rows(output: int | str, counts: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yields how many of the circuits of each number of edges have an accuracy in each bin.

    Args:
        counts: `(n_hidden + 1, n_edges + 1, B + 1)`, circuits by active neurons, kept edges and right answers.
    """
    by_edges = counts.sum(0)
    n_examples = by_edges.shape[1] - 1
    places = np.minimum(np.arange(n_examples + 1) * ACCURACY_BINS // n_examples, ACCURACY_BINS - 1)
    for edges in np.flatnonzero(by_edges.sum(1)).tolist():
        n = int(by_edges[edges].sum())
        for place in range(ACCURACY_BINS):
            share = int(by_edges[edges][places == place].sum()) / n
            yield {
                "output": output,
                "n_edges_low": edges,
                "n_edges_high": edges,
                "accuracy_from": place / ACCURACY_BINS,
                "accuracy_to": (place + 1) / ACCURACY_BINS,
                "n_circuits": n,
                **between_ends("share", Estimate.exact(share)),
                "n_sampled": None,
            }


def sampled_accuracy_rows(output: int | str, bins: Iterable[AccuracyBin]) -> Iterator[dict[str, Any]]:
    """Yields the same of drawn circuits."""
    for one in bins:
        row = {field.name: getattr(one, field.name) for field in fields(one) if field.name != "share"}
        yield {"output": output, **row, **between_ends("share", one.share)}


def census_rows(output: int | str, counts: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yields a row for each number of active neurons, edges and correct examples that circuits have."""
    for nodes, edges, correct in np.argwhere(counts).tolist():
        count = int(counts[nodes, edges, correct])
        yield {"output": output, "n_nodes": nodes, "n_edges": edges, "n_correct": correct, "n_circuits": count}


def counted_edge_rows(
    part: Part, output: int | str, counts: np.ndarray | None, n_valid: int | None
) -> Iterator[dict[str, Any]]:
    """Yields each edge of the full circuit, its weight, and the fraction of valid circuits that keep it.

    Args:
        counts: `(n_edges,)`, valid circuits that keep each edge; None: they aren't counted.
        n_valid: the number of all valid circuits; None: it isn't known, so that there are no shares of them.
    """
    for place, edge in enumerate(named_edges(part, output)):
        count = None if counts is None else int(counts[place])
        share = Estimate.exact(count / n_valid) if count is not None and n_valid else None
        in_every = None if share is None else count == n_valid
        yield {
            **edge,
            "n_valid": count,
            **between_ends("share", share),
            "in_every": in_every,
            "without_high": 0.0 if in_every else None,
        }


def sampled_edge_rows(
    part: Part, output: int | str, edges: Iterable[EdgeEstimate], n_valid: Estimate
) -> Iterator[dict[str, Any]]:
    """Yields the same of drawn circuits; whether every valid circuit keeps an edge is known only if one doesn't."""
    for edge, one in zip(named_edges(part, output), edges, strict=True):
        is_known = n_valid.value is not None
        yield {
            **edge,
            "n_valid": None,
            **between_ends("share", one.share if is_known else None),
            "in_every": False if is_known and one.without_high is None else None,
            "without_high": one.without_high if is_known else None,
        }


def named_edges(part: Part, output: int | str) -> Iterator[dict[str, Any]]:
    """Yields the columns that name each edge, and its weight."""
    edges = Edges(part.sizes)
    columns = (column.tolist() for column in (*edges.names, edges.flat([layer.weight for layer in part.layers])))
    for layer, source, target, weight in zip(*columns, strict=True):
        yield {
            "output": output,
            "layer": layer,
            "source": source,
            "target": target,
            **end_names(part, layer, source, target),
            "weight": weight,
        }

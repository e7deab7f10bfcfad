"""Do methods find circuits that hold between the examples, too? Their smallest certified circuit, beside all of them.

Letters: M circuits, E edges, N examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from mi_runner.experiments.common.sentences import counted
from mi_runner.experiments.discovery.judgement import Judged
from mi_runner.experiments.discovery.rows import MethodFound
from mi_runner.methods.circuits.ablation import means_of
from mi_runner.methods.circuits.edges import bits_of, distinct
from mi_runner.methods.robustness.certify import Certificates, certify_circuits
from mi_runner.progress import Progress

SECONDS = 60.0
"""How long linear programs work on boxes that splitting leaves undecided."""


def certified_rows(
    judged: Judged,
    methods: Sequence[MethodFound],
    metrics: Sequence[Mapping[str, Any]],
    epsilon: float,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Returns for each method its smallest certified circuit, and its regret among all certified ones.

    Args:
        metrics: rows of metrics.csv, of one output and ablation; there is one for each circuit of the methods.
        epsilon: half of a box's width, in standard deviations of each input.
    """
    circuits = np.concatenate([found.circuits for method in methods for found in method.repeats])
    first, index = distinct(circuits)
    some = circuits[first]
    of_methods = _certify(judged, bits_of(some[some.any(1)]), epsilon, progress)
    is_certified = np.zeros(len(some), dtype=bool)
    is_certified[some.any(1)] = of_methods.is_certified[0]  # the empty circuit is none
    every = None if judged.every is None else _Every(judged, epsilon, progress)
    rows = [dict(row, certified=bool(is_certified[place])) for row, place in zip(metrics, index, strict=True)]
    return list(_rows(judged, methods, rows, epsilon, every))


class _Every:
    """The certified ones of all circuits.

    Attributes:
        n: how many there are.
        n_undecided: circuits of which it isn't known.
        n_edges, mse: of the certified ones.
    """

    def __init__(self, judged: Judged, epsilon: float, progress: Progress) -> None:
        assert judged.every is not None
        measures = judged.every.measures
        agreeing = np.flatnonzero(measures.n_agreeing == judged.n_examples)
        found = _certify(judged, measures.circuit[agreeing], epsilon, progress)
        places = agreeing[found.is_certified[0]]
        self.n, self.n_edges = len(places), judged.every.n_edges[places]
        is_open = ~found.is_certified[0] & ~found.is_refuted[0]
        self.n_undecided = int(is_open.sum())
        self._open_edges = judged.every.n_edges[agreeing[is_open]]
        self.mse = measures.squares[places].astype(float) / judged.n_examples

    @property
    def fewest(self) -> int:
        """Kept edges of the smallest certified circuit; the full one always is."""
        return int(self.n_edges.min())

    @property
    def is_smallest_known(self) -> bool:
        """Whether no smaller circuit is undecided."""
        return not (self._open_edges < self.fewest).any()

    def regret(self, n_edges: int, mse: float) -> float:
        """Returns how much larger an error is than the smallest of certified circuits of at most so many edges."""
        return max(0.0, mse - float(self.mse[self.n_edges <= n_edges].min(initial=np.inf)))


def _certify(judged: Judged, bits: np.ndarray, epsilon: float, progress: Progress) -> Certificates:
    task = judged.task
    return certify_circuits(
        task.part,
        bits,
        task.x,
        [epsilon],
        kind=judged.examples.kind,
        means=means_of(task.part.to(task.x), task.x, task.ablation),
        seconds=SECONDS,
        progress=progress,
    )


def _rows(
    judged: Judged,
    methods: Sequence[MethodFound],
    rows: Sequence[Mapping[str, Any]],
    epsilon: float,
    every: _Every | None,
) -> Iterator[dict[str, Any]]:
    for method in methods:
        smallest = []
        for repeat in range(len(method.repeats)):
            own = [row for row in rows if row["method"] == method.name and row["repeat"] == repeat and row["certified"]]
            smallest += [min(own, key=lambda row: row["n_edges"])] if own else []
        edges = [row["n_edges"] for row in smallest]
        regrets = [every.regret(row["n_edges"], row["mse"]) for row in smallest] if every else []
        yield {
            "method": method.name,
            "ablation": judged.task.ablation,
            "output": judged.output,
            "epsilon": epsilon,
            "n_edges": fmean(edges) if edges else None,
            "n_draws": len(method.repeats),
            "n_draws_certified": len(edges),
            "n_draws_smaller": sum(n < judged.n_edges for n in edges),
            "regret_certified": fmean(regrets) if regrets else None,
            "fewest_certified": every.fewest if every and every.is_smallest_known else None,
            "n_certified": every.n if every else None,
            "n_undecided": every.n_undecided if every else None,
        }


def sentences(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns how many circuits are certified, and in how many edges methods find one.

    Args:
        rows: of certified.csv, of one output; none where it wasn't asked for.
    """
    text = ""
    for ablation in dict.fromkeys(row["ablation"] for row in rows):
        own = [row for row in rows if row["ablation"] == ablation]
        first = own[0]
        start = f" With {ablation} ablation, at ε = {first['epsilon']:g}"
        if first["n_certified"] is not None:
            keeps = "" if first["fewest_certified"] is None else f", the smallest keeps {first['fewest_certified']}"
            text += f"{start}, {counted(first['n_certified'], 'circuit')} of all are certified{keeps}:"
        else:
            text += f"{start}:"
        names = [f"{row['method']} {row['n_edges']:g}" for row in own if row["n_edges"] is not None]
        text += f" kept edges of methods' smallest certified circuits are {', '.join(names)}."
    return text

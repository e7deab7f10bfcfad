"""Do methods that are near the optimum also pass other tests? Criteria of the circuits that methods find.

Letters: M circuits, E edges, S examples of other data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from mi_runner import chance
from mi_runner.experiments.common.sentences import counted, listed
from mi_runner.experiments.discovery.judgement import Judged
from mi_runner.experiments.discovery.rows import MethodFound, smallest_valid
from mi_runner.methods.circuits.edges import bits_of, distinct
from mi_runner.methods.criteria.comparison import kendall_tau
from mi_runner.methods.criteria.judge import judge
from mi_runner.methods.criteria.records import CRITERIA, PARSIMONY
from mi_runner.methods.criteria.task import Task
from mi_runner.progress import Progress

AGREEMENT = "agreement"
"""It stands in metrics.csv anyway."""

RECORDS = tuple(criterion for criterion in CRITERIA if criterion.is_default and criterion.name != AGREEMENT)
"""The criteria that a run of experiment=criteria has by default."""

NAMES = tuple(column for criterion in RECORDS for column in criterion.columns())
"""Their names, with the default noise."""

PASSES = 0.99
"""A circuit passes a criterion from here on."""


def criteria_columns(
    judged: Judged, circuits: np.ndarray, shift: Tensor | None, *, every_input: bool, progress: Progress
) -> list[dict[str, float | None]]:
    """Returns the criteria of each circuit; nothing of the empty one.

    Args:
        circuits: `(M, E)` bool, closed.
        shift: `(S, n_0)` float64, other data as they enter the analysed layers.
        every_input: whether the examples are all Boolean inputs there are.
    """
    task = Task(
        judged.masked.part,
        judged.task.x,
        judged.examples.kind,
        judged.task.ablation,
        "any",
        shift=shift,
        family=None if judged.every is None else judged.every.measures.circuit,
        allowed=judged.masked.start[0],
        every_input=every_input,
        seed=chance.derived_seed(judged.setting.seed, "criteria", judged.output),  # as experiment=criteria draws
    )
    first, index = distinct(circuits)
    some = circuits[first]
    kept = some.any(1)
    values = {name: np.full(len(some), np.nan) for name in NAMES}
    for name, found in judge(task, bits_of(some[kept]), names=RECORDS, progress=progress).values.items():
        values[name][kept] = found
    columns = {name: [None if math.isnan(one) else float(one) for one in values[name]] for name in NAMES}
    return [{name: columns[name][place] for name in NAMES} for place in index.tolist()]


def of_smallest(
    methods: Sequence[MethodFound], metrics: Sequence[Mapping[str, Any]], criteria: Sequence[str] = (AGREEMENT, *NAMES)
) -> Iterator[dict[str, Any]]:
    """Yields for each method and criterion the mean of its draws' smallest valid circuits.

    Args:
        metrics: rows of metrics.csv, of one output and ablation.
    """
    for method in methods:
        rows = [row for row in metrics if row["method"] == method.name]
        smallest = [rows[place] for place in smallest_valid(rows, len(method.repeats), "valid")]
        for name in criteria:
            numbers = [row[name] for row in smallest if row[name] is not None]
            yield {
                "method": method.name,
                "ablation": rows[0]["ablation"],
                "output": rows[0]["output"],
                "criterion": name,
                "value": float(np.mean(numbers)) if numbers else None,
                "n_passing": sum(number >= PASSES for number in numbers) if numbers else None,
                "n_draws_valid": len(smallest),
            }


def by_regret(metrics: Sequence[Mapping[str, Any]], n_edges: int) -> Iterator[dict[str, Any]]:
    """Yields for each criterion how it goes with the regret, over the different valid circuits that methods found.

    A circuit's regret is that at the smallest size at which a method stands with it: its own number of edges. The full
    circuit is left out. Regrets are not known where circuits are sampled.

    Args:
        metrics: rows of metrics.csv, of one output and ablation.
    """
    valid = [row for row in metrics if row["valid"] and row["n_edges"] < n_edges]
    found = {row["circuit"]: row for row in sorted(valid, key=lambda row: -row["k"])}.values()  # at its smallest k
    for name in (AGREEMENT, *NAMES):
        rows = [row for row in found if row[name] is not None and row["regret_mse"] is not None]
        values, regrets = ([row[column] for row in rows] for column in (name, "regret_mse"))
        tau = kendall_tau(np.array(values, dtype=float), -np.array(regrets, dtype=float)) if len(rows) > 1 else None
        yield {
            "ablation": metrics[0]["ablation"],
            "output": metrics[0]["output"],
            "criterion": name,
            "n_circuits": len(rows),
            "n_passing": sum(value >= PASSES for value in values) if rows else None,
            "tau": tau,
        }


def sentences(criteria: Sequence[Mapping[str, Any]]) -> str:
    """Returns which methods' smallest valid circuits pass all criteria, and which criteria the fewest pass.

    Args:
        criteria: rows of criteria.csv, of one output; none where criteria weren't asked for.
    """
    ablations = dict.fromkeys(row["ablation"] for row in criteria)
    of_each = [_of_ablation([row for row in criteria if row["ablation"] == ablation]) for ablation in ablations]
    return "".join(f" {text}." for text in of_each if text)


def _of_ablation(rows: Sequence[Mapping[str, Any]]) -> str:
    own = [row for row in rows if row["n_draws_valid"] and row["criterion"] != PARSIMONY]
    methods = list(dict.fromkeys(row["method"] for row in own))
    if not methods:
        return ""
    passing = [name for name in methods if all(_passes(row) for row in own if row["method"] == name)]
    each = f"With {own[0]['ablation']} ablation the smallest valid circuits of"
    if len(passing) == len(methods):
        return f"{each} all {counted(len(methods), 'method')} that find one pass every criterion at {PASSES:g}"
    who = listed(passing) if passing else f"none of {counted(len(methods), 'method')}"
    n_of = {name: sum(_passes(row) for row in own if row["criterion"] == name) for name in (AGREEMENT, *NAMES[:-1])}
    fewest = min(n_of.values())
    stops = listed([name for name, n in n_of.items() if n == fewest])
    text = f"{each} {who} pass every criterion at {PASSES:g}"
    return f"{text}; those of {fewest or 'none'} of {len(methods)} pass {stops}" if fewest < len(methods) else text


def _passes(row: Mapping[str, Any]) -> bool:
    return row["n_passing"] is None or row["n_passing"] == row["n_draws_valid"]

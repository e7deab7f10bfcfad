"""About how long does it take to judge circuits? From speeds that were measured on two cores under load."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mi_runner.methods.criteria import kernel
from mi_runner.methods.criteria.rank import MOST_RESAMPLED as MOST_RANKED
from mi_runner.methods.criteria.records import PARSIMONY, Criterion
from mi_runner.methods.criteria.runs import clean, groups_of_pairs
from mi_runner.methods.criteria.task import NOISY, Task

RUN_PER_SECOND = 1.5e8
"""Circuits times rows of one output that are run per second; 1.0e8 of two outputs."""

SLOWER_INTERCHANGE = 2
"""How many times as long interchange takes for a neuron and a pair: 0.5e8 to 0.8e8 per second."""

WEIGHTED_PER_SECOND, RANKED_PER_SECOND = 2e9, 1e10
"""Circuits times rows times resamples that are weighted per second; and those of the family, for the rank."""

SORTED_PER_SECOND = 1e7
"""Circuits of the family times resamples that are sorted per second."""


def seconds_of(
    task: Task,
    criteria: Sequence[Criterion],
    n_judged: int,
    *,
    n_family: int = 0,
    n_families: int = 1,
    resamples: int = 0,
    n_resampled: int = 0,
) -> float:
    """Returns about how many seconds it takes to compute criteria of circuits, and again on resamples.

    Args:
        n_judged: circuits that are judged, in all.
        n_family: circuits that the rank compares with; 0: it is empty.
        n_families: networks whose family is compared with.
        resamples: of the examples.
        n_resampled: circuits whose criteria are computed on each.
    """
    width = (1 + task.part.sizes[-1]) / 2  # two outputs take half as long again as one
    run = width / RUN_PER_SECOND
    seconds = 0.0
    for record in criteria:
        if record.name == "rank":
            seconds += n_families * n_family * _whole(len(clean(task))) * run
            if resamples and n_resampled and n_family <= MOST_RANKED:
                weighted = _whole(len(clean(task))) * (run + resamples / RANKED_PER_SECOND)
                seconds += n_family * (weighted + resamples / SORTED_PER_SECOND)
            continue
        rows, times = _rows(task, record)
        seconds += (n_judged + (n_resampled if resamples else 0)) * rows * times * run
        seconds += n_resampled * rows * resamples / WEIGHTED_PER_SECOND
    return seconds


def _rows(task: Task, record: Criterion) -> tuple[int, int]:
    """Returns on how many rows a criterion runs a circuit, and how many times as long a row takes as a plain one."""
    n_noisy = -(-NOISY // len(task.x)) * len(task.x)
    if record.by_noise:
        return _whole(n_noisy) * len(task.noise), 1
    if record.name == PARSIMONY:
        return 0, 1
    if record.name == "shift":
        return _whole(0 if task.shift is None else len(task.shift)), 1
    if record.name in ("sufficiency", "necessity"):
        return _n_pairs(task, task.differing_pairs), 1
    if record.name == "interchange":
        return _n_pairs(task, task.any_pairs), SLOWER_INTERCHANGE * sum(task.part.sizes[1:-1])
    return _whole(len(clean(task))), 1


def _n_pairs(task: Task, pairs: tuple[np.ndarray, np.ndarray]) -> int:
    groups = groups_of_pairs(task, pairs)
    return _whole(len(pairs[0]) if groups is None else len(groups.first))


def _whole(n: int) -> int:
    """Returns the rows of as many whole blocks as n rows take."""
    return -(-n // kernel.BLOCK) * kernel.BLOCK

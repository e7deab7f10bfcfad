"""The program that makes the tables of docs/das.md from a sweep."""

from __future__ import annotations

import runpy

import pandas as pd
import pytest

from tests.conftest import REPOSITORY

tables = runpy.run_path(str(REPOSITORY / "docs/das_table.py"))["tables"]


def rows(seed: int, task: float, iia: tuple[float, ...]) -> list[dict[str, object]]:
    """The rows of a network: a start for each IIA, one more before training and one of a subset, which don't count."""
    common = {"seed": seed, "variables": "area", "trained_site": "conv1", "control": "none", "sources": "single"}
    counted = [{"phase": "after", "subset": "all", "iia": value} for value in iia]
    others = [{"phase": "before", "subset": "all", "iia": 0.0}, {"phase": "after", "subset": "changed", "iia": 0.0}]
    return [common | row | {"floor": 0.7, "task_accuracy": task} for row in counted + others]


def test_the_mean_over_networks_that_learned_with_its_interval() -> None:
    printed = tables(pd.DataFrame(rows(0, 0.9, (0.8, 0.9)) + rows(1, 0.8, (0.95,)) + rows(2, 0.5, (0.1,))))
    assert printed[0].startswith("2 of 3 networks learned the task; their task accuracy is 0.850 [")
    grid = next(line for line in printed if line.startswith("| area | 0."))
    assert grid.startswith("| area | 0.900 [") and grid.endswith("| 0.700 |")
    assert printed[-1].startswith("| area | conv1 | 0.930 | 0.900 [")


def test_without_a_network_that_learned_there_is_no_table() -> None:
    with pytest.raises(ValueError, match="none of 1 networks has a task accuracy of 0.7"):
        tables(pd.DataFrame(rows(0, 0.5, (0.9,))))

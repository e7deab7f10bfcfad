"""Commands that count circuits of a small network, whole or in parts, and their tables bit for bit."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

CENSUS = (
    "experiment=circuits",
    *("dataset=ellipses", "dataset.train_size=60", "dataset.test_size=60", "model.hidden_sizes=[8,4,2,2]"),
    *("training.epochs=150", "training.learning_rate=0.01", "experiment.accuracy_threshold=0.65"),
    *("experiment.valid=task", "experiment.method=census", "experiment.shared_seconds=0"),
)
"""All circuits of layers of 4-2-2-1 neurons."""

TABLES = ("accuracy", "census", "edges", "metrics", "shared", "overlaps", "circuits")


def of_parts(n: int) -> tuple[str, str]:
    """What a command has besides, to count n parts by a sweep."""
    return f"experiment.parts={n}", f"experiment.part=range(1,{n + 1})"


def tables_of(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables of a run, or of the wholes of a sweep, digit by digit, without the seconds; none that is missing."""
    found = {}
    for name in TABLES:
        if (path := folder / f"{name}.csv").exists():
            found[name] = pd.read_csv(path, dtype=str, keep_default_na=False)
        elif (path := folder / f"{name}.parquet").exists():
            found[name] = pd.read_parquet(path)
    return {name: table.drop(columns="seconds", errors="ignore") for name, table in found.items()}


def assert_same_tables(folder: Path, other: Path) -> None:
    """All tables, equal bit for bit."""
    found, expected = tables_of(folder), tables_of(other)
    assert found.keys() == expected.keys() >= {"census", "edges", "metrics", "circuits"}
    for name, table in found.items():
        pd.testing.assert_frame_equal(table, expected[name], check_exact=True)

"""The options of `dataset=table`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from omegaconf import MISSING

from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.datasets.arrays import Target
from mi_runner.config.options import option


class Missing(Enum):
    refuse = "refuse"
    mean = "mean"
    median = "median"
    most_frequent = "most_frequent"
    leave_out_rows = "leave_out_rows"


@dataclass
class TableConfig(DatasetConfig):
    """Your own table: a .csv or .parquet file with a row for each example and a column for the target."""

    name: ClassVar[str] = "table"
    place: ClassVar[int] = 1010
    module: ClassVar[str] = "mi_runner.datasets.table"
    drawn: ClassVar[bool] = False

    path: str = option(MISSING, "the file: .csv with a header (commas, semicolons or tabs between columns), .parquet")
    target_column: str | None = option(None, "the column with the target, which must be named; all others are inputs")
    test_path: str | None = option(None, "a file with the test rows; null: they are drawn from the rows of path")
    test_share: float = option(0.2, "share of the rows that are test rows, where there is one file", above=0, below=1)
    split_seed: int = option(0, "test rows are drawn by it, not by seed: all seeds have the same ones", at_least=0)
    target: Target = option(Target["class"], "class: each value of the target column is a class; value: it has numbers")
    missing: Missing = option(
        Missing.refuse,
        "missing values: refuse; mean or median of a number, a category of their own, the commonest boolean; "
        "most_frequent: the commonest value of any column; leave_out_rows",
    )
    missing_values: list[str] = option([], "texts that mean a missing value, besides NA, N/A, null, nan and empty ones")
    leave_out: list[str] = option([], "columns that are no inputs, such as [id]")
    categories: list[str] = option([], "columns of numbers or dates that are taken as categories, such as [zip]")
    standardize: bool = option(True, "numbers: minus the mean of the training rows, divided by their deviation")
    separator: str = option("auto", "what is between columns of a .csv: auto, comma, semicolon, tab, bar")
    decimal: str = option("point", "the decimal mark of numbers: point or comma")
    encoding: str = option("utf-8", "how the letters of a .csv are written, such as latin-1")

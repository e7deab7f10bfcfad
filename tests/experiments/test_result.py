"""What names the rows of a result's tables: checked where a result is made."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from mi_runner.datasets import Dataset
from mi_runner.experiments import Comparison, Result
from mi_runner.tables.ranges import SHARE
from tests.small_data import classes


def result(rows: Any, keys: Any = ("split", "class"), repeats: tuple[str, ...] = ("repeat",)) -> Result:
    return Result({"metrics": rows}, {"metrics": keys}, {}, {"accuracy": SHARE}, repeats=repeats)


ROWS = [
    {"split": "train", "class": "all", "repeat": 1},
    {"split": "test", "class": "all", "repeat": 1},
    {"split": "test", "class": "all", "repeat": 2},
]


@pytest.mark.parametrize("table", [list, pd.DataFrame], ids=["rows", "frame"])
def test_rows_that_their_keys_name_are_taken(table: Any) -> None:
    assert len(result(table(ROWS)).tables["metrics"]) == 3
    assert not len(result(table([])).tables["metrics"])


@pytest.mark.parametrize("table", [list, pd.DataFrame], ids=["rows", "frame"])
@pytest.mark.parametrize(
    ("row", "keys", "text"),
    [
        ({"split": "test", "class": "all", "repeat": 2}, ("split", "class"), "row 3 repeats split=test, "),
        (
            {"split": "test", "class": "", "repeat": 1},
            ("split", "class"),
            "'class' is empty in row 3. Write none or all",
        ),
        ({"split": "test", "class": None, "repeat": 1}, ("split", "class"), "'class' is empty in row 3"),
        ({"split": None, "class": "", "repeat": 1}, ("class", "split"), "'class' is empty in row 3"),
        ({"split": "test", "class": float("nan"), "repeat": 1}, ("split", "class"), "'class' is empty in row 3"),
        ({"split": "test", "repeat": 1}, ("split", "class"), "'class' is empty in row 3"),
        (ROWS[0] | {"repeat": 2}, ("split", "layer"), "the key 'layer' is not one of its columns"),
        (ROWS[0] | {"repeat": 2}, (), "keys are missing. Name the columns that name its rows"),
    ],
)
def test_rows_that_their_keys_do_not_name_are_refused(row: Any, keys: Any, text: str, table: Any) -> None:
    with pytest.raises(ValueError, match=f"table metrics.*{text}"):
        result(table([*ROWS, row]), keys)


def test_a_table_more_is_checked_too() -> None:
    made = result(ROWS).with_table("history", [{"epoch": 1}, {"epoch": 2}], ["epoch"])
    assert set(made.tables) == set(made.keys) == {"metrics", "history"}
    with pytest.raises(ValueError, match="table history: row 1 repeats epoch=1"):
        made.with_table("history", [{"epoch": 1}, {"epoch": 1}], ["epoch"])


def test_a_figure_is_a_function_that_draws_it() -> None:
    for make in (lambda figures: Result({"metrics": []}, {}, {}, {}, figures=figures), lambda f: Comparison({}, f)):
        make({"accuracy": Figure})
        with pytest.raises(ValueError, match="figure accuracy: Figure is not a function. Give a function that draws"):
            make({"accuracy": Figure()})


@pytest.mark.parametrize("names", [("a", "all", "c"), ("a", "", "c"), ("a", "b", "a")], ids=str)
def test_class_names_are_none_that_tables_use(names: tuple[str, ...]) -> None:
    given = classes()
    with pytest.raises(ValueError, match="names must differ, and none may be empty or 'all'"):
        Dataset("arrays", given.x_train, given.y_train, given.x_test, given.y_test, names, "test")

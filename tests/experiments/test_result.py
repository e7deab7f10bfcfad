"""What a result may have: tables, numbers and figures that its experiment declares, and figures that are functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from matplotlib.figure import Figure

from mi_runner.datasets import Dataset
from mi_runner.experiments import Comparison, Result
from mi_runner.tables.declaration import Declarations, FigureType, Key, Measure, Repeat, TableType
from mi_runner.tables.ranges import SHARE
from tests.small_data import classes

METRICS = TableType("metrics", "", (Key("split", ""), Repeat("repeat", ""), Measure("accuracy", "", within=SHARE)))
HISTORY = TableType("history", "", (Key("epoch", ""),), parquet=True)
DECLARED = Declarations((METRICS,), (Measure("accuracy", "", within=SHARE),), (FigureType("weights_*", ""),))
ROWS = [{"split": "test", "repeat": 1, "accuracy": 0.5}, {"split": "test", "repeat": 2, "accuracy": 0.75}]


def result(metrics: Mapping[str, float] | None = None, **others: Any) -> Result:
    return Result([METRICS.filled(ROWS)], metrics or {}, DECLARED, **others)


def test_a_result_has_the_rows_of_its_tables_and_what_they_declare() -> None:
    made = result({"accuracy/train": 0.5})
    assert made.tables == {"metrics": ROWS} and made.keys == {"metrics": ("split",)}
    assert (made.repeats, made.measures, made.common_names, made.parquet) == (
        ("repeat",),
        {"accuracy": SHARE},
        {},
        frozenset(),
    )


def test_a_table_more_adds_no_measure() -> None:
    made = result().with_table(HISTORY.filled([{"epoch": 1}, {"epoch": 2}]))
    assert set(made.tables) == set(made.keys) == {"metrics", "history"}
    assert made.parquet == {"history"} and made.measures == {"accuracy": SHARE}
    with pytest.raises(ValueError, match="there are two tables history. Give each a name of its own"):
        made.with_table(HISTORY.filled([]))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Result([METRICS.filled([]), HISTORY.filled([])], {}, DECLARED), "the table history is not declared"),
        (lambda: result({"loss/train": 0.1}), "the number of the summary loss/train is not declared"),
        (lambda: result(figures={"units": Figure}), "the figure units is not declared"),
    ],
)
def test_what_is_not_declared_is_refused(make: Callable[[], Result], text: str) -> None:
    with pytest.raises(ValueError, match=f"{text}. Add it to the experiment's declarations"):
        make()


def test_a_figure_is_a_function_that_draws_it() -> None:
    for make in (lambda figures: result(figures=figures), lambda figures: Comparison([], figures)):
        make({"weights_first": Figure})
        with pytest.raises(ValueError, match="figure weights_first: Figure is not a function. Give a function that dr"):
            make({"weights_first": Figure()})


@pytest.mark.parametrize("names", [("a", "all", "c"), ("a", "", "c"), ("a", "b", "a")], ids=str)
def test_class_names_are_none_that_tables_use(names: tuple[str, ...]) -> None:
    given = classes()
    with pytest.raises(ValueError, match="names must differ, and none may be empty or 'all'"):
        Dataset("arrays", given.x_train, given.y_train, given.x_test, given.y_test, names, "test")

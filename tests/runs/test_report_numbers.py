"""Numbers of a page: which row an interval is taken from, what stands beside a number, how a time is written."""

from __future__ import annotations

from typing import Any

import pytest

from mi_runner.experiments.common import sentences
from mi_runner.runs.report import answers, run_report, tables
from mi_runner.runs.report.run_report import duration
from mi_runner.runs.report.tables import Content
from mi_runner.tables.declaration import COUNT, Declarations, Key, Measure, Note, TableType

Row = dict[str, Any]


def content(*rows: Row) -> Content:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Content(names, [{name: str(row.get(name, "")) for name in names} for row in rows], len(rows))


def row(accuracy: float, low: float | str, high: float | str, **names: str) -> Row:
    return {**names, "accuracy": accuracy, "accuracy_low": low, "accuracy_high": high}


def intervals(metrics: dict[str, float | None], table: Content, keys: tuple[str, ...]) -> dict[str, str]:
    """Name → interval of every number of the answer, and of those beside it."""
    found = answers.answers(metrics, "accuracy", Declarations(), [table], [keys])
    return {one.name: one.interval for answer in found for one in (answer, *answer.compared)}


def test_an_interval_is_of_the_row_that_has_the_number() -> None:
    table = content(
        row(0.9, 0.1, 0.95, split="train", **{"class": "all"}),  # the same number, on the training examples
        row(0.9, 0.8, 0.96, split="test", **{"class": "all"}),
        row(0.9, 0.2, 0.99, split="test", **{"class": "7"}),  # and on one class
        row(0.5, 0.3, 0.7, split="test", **{"class": "8"}),
    )
    found = intervals({"accuracy": 0.9, "accuracy/8": 0.5, "accuracy/7": 0.9}, table, ("split", "class"))
    assert found == {"accuracy": "0.8000 to 0.9600", "8": "0.3000 to 0.7000", "7": "0.2000 to 0.9900"}


def test_an_interval_is_of_the_row_whose_names_the_number_has() -> None:
    table = content(
        row(0.9, 0.8, 0.95, target="none", method="none"),
        row(0.4, 0.3, 0.5, target="x/add", method="zero"),
        row(0.4, 0.1, 0.8, target="relu", method="mean"),
        row(0.4, 0.2, 0.6, target="relu", method="zero"),
    )
    metrics = {"accuracy": 0.9, "accuracy/relu/mean": 0.4, "accuracy/x/add/zero": 0.4, "accuracy/relu/zero": 0.4}
    assert intervals(metrics, table, ("target", "method")) == {
        "accuracy": "0.8000 to 0.9500", "relu/mean": "0.1000 to 0.8000", "x/add/zero": "0.3000 to 0.5000",
        "relu/zero": "0.2000 to 0.6000",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "value"),
    [
        ([row(0.9, 0.1, 0.95, split="train")], 0.9),  # only the training examples have this number
        ([row(0.8, 0.7, 0.9, split="test")], 0.9),  # no row has it
        ([row(0.9, 0.7, 0.95, split="test"), row(0.9, 0.6, 0.97, split="test")], 0.9),  # two rows, two intervals
        ([row(0.9, "", "", split="test")], 0.9),
        ([row(0.9, 0.7, "", split="test")], 0.9),
        ([row(0.9, 0.9, 0.9, split="test")], 0.9),  # an interval without length says nothing
        ([row(0.9, 0.7, 0.95, split="test")], None),
    ],
)
def test_no_interval_is_made_up(rows: list[Row], value: float | None) -> None:
    (answer,) = answers.answers({"accuracy": value}, "accuracy", Declarations(), [content(*rows)], [("split",)])
    assert answer.interval == "" and answer.value == ("not defined" if value is None else "0.9000")


def test_an_interval_of_the_summary_counts_before_one_of_a_table() -> None:
    metrics = {"accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.97}
    found = answers.answers(
        metrics, "accuracy", Declarations(), [content(row(0.9, 0.1, 0.99, split="test"))], [("split",)]
    )
    assert [(one.name, one.interval) for one in found] == [("accuracy", "0.8500 to 0.9700")]


def test_controls_beside_a_number_are_rows_that_differ_in_the_control_alone() -> None:
    table = content(
        row(0.9, 0.8, 0.95, control="none", site="last"),
        row(0.3, 0.2, 0.4, control="untrained", site="last"),
        row(0.7, 0.6, 0.8, control="untrained", site="first"),
        row(0.2, 0.1, 0.3, control="shuffled", site="last"),
    )
    (answer,) = answers.answers({"accuracy": 0.9}, "accuracy", Declarations(), [table], [("control", "site")])
    assert [(one.name, one.value) for one in answer.compared] == [("untrained", "0.3000"), ("shuffled", "0.2000")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (3.25, "3.2 s"), (59.94, "59.9 s"), (59.97, "1 min 00 s"), (60, "1 min 00 s"),
        (65.4, "1 min 05 s"), (119.6, "2 min 00 s"), (3599.4, "59 min 59 s"), (3600, "1 h 00 min"),
        (7325, "2 h 02 min"), (100_000, "27 h 46 min"),
    ],
)  # fmt: skip
def test_a_time_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_of_a_sentence() -> None:
    of_row = {"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95}
    assert sentences.measured(of_row, "accuracy") == "0.9 (0.8 to 0.95)"
    assert sentences.measured(of_row, "accuracy", among=2) == "0.9"
    assert sentences.between(0.5, None, None) == sentences.between(0.5, 0.5, 0.5) == "0.5"
    assert sentences.between(0.5, 0.25, None) == sentences.between(0.5, float("nan"), 0.75) == "0.5"
    draws = [{**of_row, "accuracy": value} for value in (0.25, 0.5, 0.375)]
    assert sentences.several(draws, "accuracy", "draws") == "0.375, the mean of 3 draws from 0.25 to 0.5"
    assert sentences.several(draws[:1], "accuracy", "draws", among=1) == "0.25 (0.8 to 0.95)"
    assert sentences.several(draws[:1], "accuracy", "draws", among=4) == "0.25"


def test_counts_have_no_digits_behind_the_point_also_in_rows_of_a_summary() -> None:
    edges = Measure("edges", "kept edges", COUNT)
    type_of = TableType("sums", "Sums", (Key("measure", "the measure"), Note("mean", "mean"), edges))
    shown = tables.table(
        "sums",
        content(
            {"measure": "edges", "mean": "23.0", "edges": "7.0"}, {"measure": "loss", "mean": "23.0", "edges": "6.5"}
        ),
        Declarations(tables=(type_of,)),
    )
    assert [[cell.text for cell in row] for row in shown.rows] == [["edges", "23", "7"], ["loss", "23.0000", "6.5000"]]


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("The accuracy is 0.9 (0.8 to 0.95).", True),
        ("R² is −0.1 (−0.2 to −1.5e-05).", True),
        ("about 1,000 (900 to 1,100) groundings", True),
        ("b (0.11) and c (0.12) tie with it, the mean of 3 draws from 0.1 to 0.2", False),
        ("from 0.1 (a) to 0.2 (b)", False),
    ],
)
def test_only_an_interval_in_brackets_is_called_one(text: str, has: bool) -> None:
    assert bool(run_report.HAS_INTERVAL.search(text)) is has

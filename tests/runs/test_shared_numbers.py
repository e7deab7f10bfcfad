"""Numbers that share their names are one table with bars."""

from __future__ import annotations

import pytest

from mi_runner.runs.report import answers
from mi_runner.runs.report.answers import Answer
from mi_runner.runs.report.shared_numbers import THIS_RUN, gathered
from mi_runner.runs.report.tables import Bar, Content, Table
from mi_runner.tables.declaration import Declarations, Key, Measure, TableType

Metrics = dict[str, float | None]

DECLARED = Declarations(
    (TableType("metrics", "", (Key("target", "the part"), Key("method", "how"), Measure("accuracy", "how often"))),)
)
ROWS = [{"target": target, "method": method} for target in ("x/first", "relu") for method in ("zero", "mean")]
CONTENT = Content(["target", "method"], ROWS, len(ROWS))


def shown(metrics: Metrics) -> tuple[list[Answer], list[Table]]:
    """What a run with these numbers shows, whose table has targets with slashes, and methods."""
    keys = ("target", "method")
    return gathered(
        answers.answers(metrics, "accuracy", DECLARED, [CONTENT], [keys]), DECLARED, [("metrics", CONTENT, keys)]
    )


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_numbers_with_the_same_names_are_one_table_and_the_others_stand_alone() -> None:
    metrics: Metrics = {"accuracy": 0.9, "loss": 0.25, "n": 3.0}
    metrics |= {
        "accuracy/x/first/zero": 0.5,
        "accuracy/relu/mean": 0.75,
        "loss/x/first/zero": 1.0,
        "loss/relu/mean": None,
    }
    alone, (table,) = shown(metrics)
    assert [(answer.name, answer.value, len(answer.compared)) for answer in alone] == [
        ("accuracy", "0.9000", 0),
        ("loss", "0.2500", 0),
        ("n", "3.0000", 0),
    ]
    assert [heading.name for heading in table.headings] == ["target", "method", "accuracy", "loss"]
    assert (table.name, table.n_keys, table.headings[0].about) == ("by target and method", 2, "the part")
    assert texts(table) == [
        [THIS_RUN, "", "0.9000", "0.2500"],
        ["x/first", "zero", "0.5000", "1.0000"],
        ["relu", "mean", "0.7500", ""],  # what is not defined is empty
    ]
    bars = [[cell.bar for cell in row] for row in table.rows]
    assert [row[3] for row in bars] == [Bar(0.0, 25.0), Bar(0.0, 100.0), None]
    assert [row[2] and row[2].width for row in bars] == pytest.approx([100, 100 * 0.5 / 0.9, 100 * 0.75 / 0.9])


def test_names_that_no_table_has_are_one_column() -> None:
    metrics: Metrics = {f"{measure}/{name}": 1.0 for measure in ("a", "b") for name in ("0", "twin", "0/twin")}
    alone, (table,) = shown(metrics)
    assert alone == [] and [heading.name for heading in table.headings] == ["name", "a", "b"]
    assert [row[0] for row in texts(table)] == ["0", "twin", "0/twin"] and table.name == "by name"
    assert all(cell.bar is None for row in table.rows for cell in row)  # all numbers of a column are the same


def test_bars_begin_at_zero_where_numbers_are_negative() -> None:
    metrics: Metrics = {"a/x": -1.0, "a/y": 3.0, "b/x": 0.0, "b/y": -2.0}
    _, (table,) = shown(metrics)
    assert [row[1].bar for row in table.rows] == [Bar(0.0, 25.0), Bar(25.0, 75.0)]
    assert [row[2].bar for row in table.rows] == [Bar(100.0, 0.0), Bar(0.0, 100.0)]


def test_other_names_or_a_single_measure_stay_beside_their_number() -> None:
    metrics: Metrics = {"accuracy": 0.9, "loss": 0.25, "accuracy/relu/zero": 0.5, "accuracy/relu/mean": 0.4}
    metrics |= {"loss/relu/zero": 1.0, "loss/relu/other": 2.0}
    alone, shared = shown(metrics)
    assert shared == [] and [[other.name for other in answer.compared] for answer in alone] == [
        ["relu/zero", "relu/mean"],
        ["relu/zero", "relu/other"],
    ]


def test_numbers_that_describe_another_stay_beside_it() -> None:
    ends = {f"_{end}": value for end, value in {"sd": 0.1, "low": 0.4, "high": 0.6, "min": 0.2, "max": 0.9}.items()}
    metrics: Metrics = {f"{measure}{end}": value for measure in ("a", "b") for end, value in {"": 0.5, **ends}.items()}
    alone, shared = shown(metrics)
    assert shared == [] and [answer.interval for answer in alone] == ["0.4000 to 0.6000"] * 2
    assert [[other.name for other in answer.compared] for answer in alone] == [["sd", "min", "max"]] * 2


def test_one_control_of_four_measures_is_a_table_and_of_three_is_none() -> None:
    metrics: Metrics = {f"{name}{end}": 1.0 for name in "abcd" for end in ("", "/untrained")}
    _, (table,) = shown(metrics)
    assert texts(table) == [[THIS_RUN, *["1.0000"] * 4], ["untrained", *["1.0000"] * 4]]
    del metrics["d/untrained"]
    assert shown(metrics)[1] == []


def test_many_names_are_shortened_with_the_number_of_the_others() -> None:
    single: Metrics = {"a": 1.0, **{f"a/{n}": 1.0 for n in range(70)}}
    (answer,), shared = shown(single)
    assert shared == [] and len(answer.compared) == answers.MOST_COMPARED
    assert answer.n_left_out == 70 - answers.MOST_COMPARED
    _, (table,) = shown({f"{measure}/{n}": 1.0 for measure in ("a", "b") for n in range(70)})
    assert (len(table.rows), table.n_rows) == (answers.MOST_SHARED, 70)

"""Declarations of tables: what rows are checked against, and what a column means."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    SECONDS,
    Column,
    CommonName,
    Declarations,
    FigureType,
    Key,
    Measure,
    Note,
    Repeat,
    TableType,
    ends_of,
)
from mi_runner.tables.ranges import NOT_NEGATIVE, SHARE

ACCURACY = Measure("accuracy", "correct examples", FRACTION, within=SHARE, better="more", interval=True)
JUDGED = "where circuits are judged"
METRICS = TableType(
    "metrics",
    "The headline",
    (
        Key("split", "the examples"),
        Key("class", "the class; all: every class"),
        Repeat("repeat", "number of the draw"),
        Note("n", "examples", COUNT),
        ACCURACY,
        Note("logit_*", "the output for this class"),
        Note("judged", "whether it is", only=JUDGED),
    ),
)


def row(**values: Any) -> dict[str, Any]:
    common = {"split": "test", "class": "all", "repeat": 1, "n": 9, "logit_0": 0.5}
    return {**common, "accuracy": 0.5, "accuracy_low": 0.2, "accuracy_high": 0.8, **values}


ROWS = [row(split="train"), row(), row(repeat=2)]
table = pytest.mark.parametrize("table", [list, pd.DataFrame], ids=["rows", "frame"])


@table
def test_rows_as_declared_are_taken(table: Callable[[Any], Any]) -> None:
    assert len(METRICS.filled(table(ROWS)).rows) == 3
    assert not len(METRICS.filled(table([])).rows)
    assert len(METRICS.filled(table([row(judged=True, logit_1=0.25)]), JUDGED).rows) == 1


@table
@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (row(repeat=2), "row 3 repeats split=test, class=all, repeat=2. Keys must differ"),
        (row(**{"class": ""}), "the key 'class' is empty in row 3. Write none or all"),
        (row(**{"class": None}), "the key 'class' is empty in row 3"),
        (row(split=None, **{"class": ""}), "the key 'split' is empty in row 3"),
        (row(**{"class": float("nan")}), "the key 'class' is empty in row 3"),
        ({name: value for name, value in row().items() if name != "class"}, "the key 'class' is empty in row 3"),
        (row(repeat=3, loss=0.1), "the column 'loss' is not declared. Declare it, or leave it out"),
        (row(repeat=3, judged=True), f"the column 'judged' is declared for runs {JUDGED}, and this run is not said"),
    ],
)
def test_a_wrong_row_is_refused_with_table_and_column(wrong: Any, text: str, table: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=f"^table metrics: {text}"):
        METRICS.filled(table([*ROWS, wrong]))


@table
@pytest.mark.parametrize("name", ["class", "repeat", "n", "accuracy_low", "logit_0", "judged"])
def test_a_declared_column_that_is_in_no_row_is_refused(name: str, table: Callable[[Any], Any]) -> None:
    rows = [{column: value for column, value in row(judged=True).items() if column != name}]
    declared = "logit_\\*" if name == "logit_0" else name
    with pytest.raises(ValueError, match=f"table metrics: the column '{declared}' is declared, and no row has it"):
        METRICS.filled(table(rows), JUDGED)


def test_a_table_without_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="table metrics: keys are missing"):
        TableType("metrics", "", (Note("n", ""),)).filled([{"n": 1}])


def test_a_type_lists_its_columns_by_their_kind() -> None:
    named = METRICS.and_columns(CommonName("common", "", of="class"))
    assert (named.keys, named.repeats, named.measures) == (("split", "class"), ("repeat",), {"accuracy": SHARE})
    assert named.common_names == {"class": "common"}
    assert METRICS.of_seeds().keys == ("seed", "split", "class")
    assert [column.name for column in METRICS.all_columns][4:7] == ["accuracy", "accuracy_low", "accuracy_high"]


def test_a_column_is_found_by_name_or_pattern() -> None:
    assert METRICS.column("accuracy") is ACCURACY
    found = METRICS.column("accuracy_high"), METRICS.column("logit_12"), METRICS.column("judged")
    assert [column and column.meaning for column in found] == [
        "upper end of the 95 % interval of accuracy",
        "the output for this class",
        "whether it is",
    ]
    assert METRICS.column("loss") is METRICS.column("logits") is None


def test_a_column_is_said_in_a_line() -> None:
    assert str(ACCURACY) == "correct examples (fraction, 0 to 1; more is better)"
    assert str(Measure("n_valid", "valid circuits", COUNT)) == "valid circuits (count)"
    assert str(Column("split", "the examples")) == "the examples"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TableType("t", "", (Note("a", ""), Key("a", ""))), "table t: the column 'a' is declared twice"),
        (lambda: TableType("t", "", (ACCURACY, *ends_of(ACCURACY))), "the column 'accuracy_low' is declared twice"),
        (
            lambda: TableType("t", "", (CommonName("role", "", of="a"),)),
            "'role' is the common name of 'a', which",
        ),
        (
            lambda: Declarations((METRICS,), (Measure("accuracy", "", within=NOT_NEGATIVE),)),
            "the measure accuracy is declared with two ranges",
        ),
        (
            lambda: Declarations((METRICS,), figures=(FigureType("units", "", "units"),)),
            "the figure units draws the table units, which is not declared",
        ),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_declarations_say_what_names_of_tables_numbers_and_figures_mean() -> None:
    matching = TableType("matching", "Matched units", (Key("unit", "the unit"),))
    history = TableType("history", "Training", (Key("epoch", "passes"), Measure("loss", "mean loss")))
    declared = Declarations(
        (METRICS, METRICS.of_seeds()),
        (ACCURACY, Note("sites", "sites", COUNT)),
        (FigureType("weights_*", "Weights"), FigureType("sweep_matching", "Matched", "sweep_matching")),
        compared=(matching,),
        added=(history,),
    )
    assert declared.caption("metrics") == "The headline" and declared.caption("sweep_matching") == "Matched units"
    assert declared.caption("matching") == declared.caption("invented") == ""
    of_seed = declared.column("metrics", "seed")
    assert declared.column("metrics", "n") is METRICS.columns[3] and of_seed and "seed" in of_seed.meaning
    assert declared.column("sweep_matching", "unit") and declared.column("history", "epoch")
    assert declared.column("metrics", "invented") is declared.column("invented", "n") is None
    assert declared.number("accuracy") is ACCURACY
    of_target = declared.number("accuracy/relu/zero")
    assert of_target and (of_target.meaning, of_target.unit) == ("correct examples: relu, zero", FRACTION)
    assert declared.number("loss") is declared.number("invented/7") is None
    figure = declared.figure("weights_first_layer")
    assert figure and figure.caption == "Weights" and declared.figure("units") is None
    assert declared.measures == {"accuracy": SHARE} and declared.repeats == ("repeat",)


def test_declarations_of_runs_with_other_options_are_joined() -> None:
    listed = TableType("metrics", "The sites", (Key("target", "the site"),))
    figure = FigureType("accuracy", "Accuracy", "metrics")
    joined = Declarations((METRICS,), (ACCURACY,), (figure,)).with_others(
        Declarations((listed, METRICS), (ACCURACY, Note("sites", "sites", COUNT)), (figure,))
    )
    assert joined.tables == (METRICS, listed) and joined.figures == (figure,)
    assert [number.name for number in joined.summary] == ["accuracy", "sites"]
    assert joined.column("metrics", "target") is listed.columns[0] and joined.caption("metrics") == "The headline"


def test_measures_of_the_last_table_come_last() -> None:
    summary = TableType("summary", "Means", (Key("method", ""), Measure("edges", ""), Measure("mse", "")))
    metrics = TableType("metrics", "Rows", (Key("method", ""), Measure("mse", ""), Measure("loss", "")))
    declared = Declarations((metrics, summary), (Measure("r2", ""),))
    assert list(declared.measures) == ["mse", "loss", "edges", "r2"]
    assert list(replace(declared, last=summary).measures) == ["loss", "edges", "mse", "r2"]


def test_a_type_for_names_has_a_column_for_each() -> None:
    pairs = TableType("pairs", "Pairs", (Key("pair", ""), Note("source_*", "of these")))
    made = pairs.for_names(["a", "b+c"])
    assert [column.name for column in made.columns] == ["pair", "source_a", "source_b+c"]
    made.filled([{"pair": 0, "source_a": 1, "source_b+c": 2}])
    with pytest.raises(ValueError, match="table pairs: the column 'source_d' is not declared"):
        made.filled([{"pair": 0, "source_a": 1, "source_b+c": 2, "source_d": 3}])


def test_times_are_what_is_in_seconds() -> None:
    timed = TableType("metrics", "", (Key("method", ""), Measure("took", "", SECONDS), Note("n", "", COUNT)))
    assert Declarations((timed,), (Measure("total", "", SECONDS),)).times == {"took", "total"}


def test_declarations_need_neither_torch_nor_pandas() -> None:
    program = "import sys; import mi_runner.experiments; import mi_runner.experiments.train.tables; "
    program += "print([name for name in ('torch', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr

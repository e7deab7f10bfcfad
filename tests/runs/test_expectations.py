"""Bounds on a run's figures."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mi_runner.errors import ConfigError
from mi_runner.runs.expectations import COMPARISONS, Expectation, impossible, parse
from mi_runner.tables.declaration import Declarations, Measure, Note
from mi_runner.tables.ranges import NOT_NEGATIVE, SHARE


@pytest.mark.parametrize(
    ("expect", "found"),
    [
        (None, []),
        ({}, []),
        ({"accuracy": ">=0.97"}, [Expectation("accuracy", ">=", 0.97)]),
        ({"accuracy": " >  0.5 "}, [Expectation("accuracy", ">", 0.5)]),
        ({"loss": "<2e-1"}, [Expectation("loss", "<", 0.2)]),
        ({"n": "==3"}, [Expectation("n", "==", 3.0)]),
        ({"n": "!=-3"}, [Expectation("n", "!=", -3.0)]),
        ({"loss": "<=inf"}, [Expectation("loss", "<=", math.inf)]),
        ({"a": ">=0.2, <0.4"}, [Expectation("a", ">=", 0.2), Expectation("a", "<", 0.4)]),
        ({"a": [">=0.2", "<0.4"]}, [Expectation("a", ">=", 0.2), Expectation("a", "<", 0.4)]),
        ({"a": [">0.2,<1", "!=0.3"]}, [Expectation("a", *bound) for bound in ((">", 0.2), ("<", 1.0), ("!=", 0.3))]),
        ({"a": ">0", "b": "<1"}, [Expectation("a", ">", 0.0), Expectation("b", "<", 1.0)]),
        ({3: ">0"}, [Expectation("3", ">", 0.0)]),
    ],
    ids=str,
)
def test_bounds_are_read(expect: Any, found: list[Expectation]) -> None:
    assert parse(expect) == found


@pytest.mark.parametrize(
    ("bound", "part"),
    [
        ("0.97", "0.97"),
        (0.97, "0.97"),
        ("=0.97", "=0.97"),
        ("=>0.97", "=>0.97"),
        (">=", ">="),
        (">=high", ">=high"),
        (">=nan", ">=nan"),
        (">=0.9%", ">=0.9%"),
        ("", ""),
        (None, "None"),
        (">0.1,", ""),
        (">0.1, 0.2", "0.2"),
        (">0.1 <0.2", ">0.1 <0.2"),
        ([], ""),
        ([">0.1", "0.2"], "0.2"),
        ([[">0.1"]], "['>0.1']"),
    ],
    ids=str,
)
def test_what_is_no_bound_is_shown_with_one_that_is(bound: Any, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"accuracy": bound})
    assert str(caught.value) == (
        f"expect: '{part}' for accuracy is not a bound. Write one of >= > <= < == != and a number, in quotes: "
        "expect='{accuracy: \">=0.97\"}'."
    )


@pytest.mark.parametrize("expect", ["accuracy>0.9", 3, [">0.9"]], ids=str)
def test_what_is_no_mapping_is_refused(expect: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(expect)
    assert str(caught.value) == f"expect={expect}: write metrics and bounds, e.g. expect='{{accuracy: \">=0.97\"}}'."


MET = {
    ">=": (False, True, True),
    ">": (False, False, True),
    "<=": (True, True, False),
    "<": (True, False, False),
    "==": (False, True, False),
    "!=": (True, False, True),
}


@pytest.mark.parametrize("comparison", MET)
def test_each_comparison_below_at_and_above_its_bound(comparison: str) -> None:
    expectation = Expectation("accuracy", comparison, 0.5)
    assert tuple(expectation.unmet({"accuracy": value}) is None for value in (0.25, 0.5, 0.75)) == MET[comparison]
    assert set(COMPARISONS) == set(MET)


def test_an_unmet_bound_says_figure_value_and_bound() -> None:
    assert Expectation("accuracy", ">=", 0.97).unmet({"accuracy": 0.951}) == "accuracy = 0.951, expected >= 0.97"
    assert Expectation("n", "==", 3.0).unmet({"n": 4}) == "n = 4, expected == 3"


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_not_a_number_meets_nothing(comparison: str) -> None:
    unmet = Expectation("loss", comparison, 0.5).unmet({"loss": math.nan})
    assert unmet == f"loss = nan, expected {comparison} 0.5"


def test_infinity_is_a_number() -> None:
    assert Expectation("loss", ">", 1e300).unmet({"loss": math.inf}) is None
    assert Expectation("loss", "<", 0.5).unmet({"loss": math.inf}) == "loss = inf, expected < 0.5"


DECLARED = Declarations(
    summary=(
        Measure("accuracy", "correct examples", within=SHARE),
        Measure("loss", "mean loss", within=NOT_NEGATIVE),
        Measure("r2", "R²"),
        Note("n", "examples"),
    )
)


@pytest.mark.parametrize(
    ("expect", "met"),
    [
        ({"accuracy/7": ">=97"}, "accuracy/7 >= 97 can't be met, because accuracy is 0 to 1"),
        ({"accuracy": ">1"}, "accuracy > 1 can't be met, because accuracy is 0 to 1"),
        ({"accuracy": "==-1"}, "accuracy == -1 can't be met, because accuracy is 0 to 1"),
        ({"loss": "<0"}, "loss < 0 can't be met, because loss is at least 0"),
        ({"accuracy": [">=1", "<=0", "<1", ">0", "==0.5", "!=0", "!=3", ">-1", "<2"]}, ""),
        ({"loss": [">=1e9", "<=0", "==0"], "r2": [">1", "<-5", "==9"], "n": "<0", "unknown": "<0"}, ""),
    ],
)
def test_a_bound_that_no_value_meets_is_named(expect: Any, met: str) -> None:
    assert impossible(parse(expect), DECLARED) == ([f"expect: {met}"] if met else [])


def test_an_unknown_metric_is_unmet_and_gets_the_nearest() -> None:
    assert Expectation("acuracy", ">", 0.0).unmet({"accuracy": 1.0, "loss": 0.0}) == (
        "no summary metric is named 'acuracy'. Did you mean accuracy? Allowed: accuracy, loss."
    )
    assert Expectation("x", ">", 0.0).unmet({}) == "no summary metric is named 'x'. Allowed: (none)."


def test_a_whole_expression_against_a_runs_figures() -> None:
    bounds = parse({"accuracy": ">=0.9,<1", "loss": "<0.2"})
    lines = [line for bound in bounds if (line := bound.unmet({"accuracy": 1.0, "loss": 0.1}))]
    assert lines == ["accuracy = 1, expected < 1"]

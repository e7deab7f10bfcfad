"""Which differences count: a bound on the metric, otherwise its test, otherwise any."""

from __future__ import annotations

import math

import pytest

from mi_runner.runs.judged import Difference, PairedTest, Rule, Tolerance, judged

TEST = PairedTest(p=0.03, n=20, test="a test", units="test examples")


def difference(before: float | None, after: float | None, alone: str = "") -> Difference:
    return Difference("loss/relu", ("A", "B"), before, after, ((before, after),), alone)


@pytest.mark.parametrize(
    ("rule", "test", "counts"),
    [
        (Rule(), None, True),
        (Rule(), TEST, True),
        (Rule(p=0.01), TEST, False),
        (Rule(p=0.01), None, True),
        (Rule(Tolerance(0.2)), None, False),
        (Rule(Tolerance(0.2)), TEST, False),  # it holds for those with a test, too
        (Rule(Tolerance(0.2), p=0.05), TEST, True),
        (Rule(Tolerance(0.05), p=0.01), TEST, False),
        (Rule(Tolerance(by_metric={"loss": 0.2})), TEST, False),
        (Rule(Tolerance(by_metric={"loss": 0.05}), p=0.01), TEST, True),
        (Rule(Tolerance(by_metric={"loss": 0.2, "loss/relu": 0.05})), TEST, True),
        (Rule(Tolerance(by_metric={"accuracy": 0.2})), TEST, True),
    ],
)
def test_a_bound_comes_before_a_test_and_a_test_before_any_difference(
    rule: Rule, test: PairedTest | None, counts: bool
) -> None:
    assert judged(difference(0.5, 0.6), rule, test).counts is counts
    assert judged(difference(0.5, 0.5), rule, test).counts is False


def test_an_excuse_is_for_numbers_without_a_test_and_a_bound() -> None:
    excuse = "the runs are of two machines"
    found = judged(difference(0.5, 0.6), Rule(), None, excuse=excuse)
    assert not found.counts and found.differs and found.line.endswith(f"it has no test; {excuse}, so it doesn't count")
    assert judged(difference(0.5, 0.6), Rule(), TEST, excuse=excuse).counts
    assert judged(difference(0.5, 0.6), Rule(Tolerance(0.01)), None, excuse=excuse).counts
    assert judged(difference(0.5, None), Rule(), None, excuse=excuse).counts
    assert judged(difference(0.5, math.nan), Rule(), None, excuse=excuse).counts
    alone = judged(difference(0.5, None, alone="A"), Rule(Tolerance(9.0)), None, excuse=excuse)
    assert alone.counts and alone.line == "loss/relu: only A has it"


def test_the_line_says_the_values_and_why() -> None:
    lines = [
        judged(difference(0.5, 0.6), rule, TEST, name="loss/relu model=mlp").line
        for rule in (Rule(), Rule(Tolerance(0.2)))
    ]
    begin = "loss/relu model=mlp: A 0.5, B 0.6, difference 0.1; "
    assert lines == [
        begin + "a test over 20 test examples: p = 0.03, below 0.05",
        begin + "not more than the bound 0.2 allows",
    ]
    assert judged(difference(None, 0.5), Rule(), None).line.startswith("loss/relu: A no finite number, B 0.5; it has")

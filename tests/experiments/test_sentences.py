"""Words for answers: numbers, lists, and which of several are the lowest and the highest."""

from __future__ import annotations

import pytest

from mi_runner.experiments.common.sentences import counted, ends, figure, listed, of_the_test, tied
from mi_runner.tables.pairwise import Compared


def compared(means: list[float], *apart: tuple[int, int]) -> Compared:
    """A comparison in which only these pairs are told apart."""
    both = {*apart, *((other, one) for one, other in apart)}
    n = range(len(means))
    return Compared(tuple(means), 10, tuple(tuple(0.01 if (a, b) in both else 1.0 for b in n) for a in n))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (list("abcdef"), "a, b, c, d, e and f"),  # one other would take as much room
        (list("abcdefg"), "a, b, c, d, e and 2 others"),
    ],
)
def test_names_are_listed_and_many_are_counted(names: list[str], said: str) -> None:
    assert listed(names) == said


def test_numbers_and_nouns_agree() -> None:
    assert counted(1, "circuit") == "1 circuit" and counted(0, "circuit") == "0 circuits"
    assert counted(19_162, "circuit is", "circuits are") == "19,162 circuits are"
    assert tied([], "it") == "" and tied(["b"], "it") == "; b ties with it"
    assert tied(["b", "c"], "them") == "; b and c tie with them"
    assert figure(None) == figure(float("nan")) == "unknown" and figure(-0.5) == "−0.5"


def test_the_lowest_and_the_highest_are_named_with_what_ties() -> None:
    found = compared([0.1, 0.11, 0.4, 0.39], (0, 2), (0, 3), (1, 2), (1, 3))
    assert ends(found, list("abcd"), "mean regret", found.means) == (
        "the lowest mean regret is 0.1, that of a; b (0.11) ties with it. "
        "The highest is 0.4, that of c; d (0.39) ties with it"
    )


def test_equal_ones_are_named_together_and_numbers_that_look_alike_once() -> None:
    found = compared([0.5, 0.5, 0.500001, 0.9], (0, 3), (1, 3), (2, 3))
    assert ends(found, list("abcd"), "mse", found.means) == (
        "the lowest mse is 0.5, that of a and b; c ties with them. The highest is 0.9, that of d"
    )
    found = compared([0.5, 0.5])
    assert ends(found, ["a", "b"], "mse", found.means) == "all of a and b have the same mse, 0.5"


def test_no_order_is_said_where_nothing_is_told_apart() -> None:
    found = compared([0.3, 0.1, 0.2])
    assert ends(found, list("abc"), "mean regret", found.means) == (
        "no two of 3 methods are told apart by their mean regret, from 0.1 (b) to 0.3 (a)"
    )


def test_where_the_ends_tie_only_the_pairs_that_differ_are_named() -> None:
    found = compared([0.1, 0.2, 0.3], (0, 1))
    assert ends(found, list("abc"), "mean regret", found.means) == (
        "the mean regret is 0.1 (a) to 0.3 (c), and these two tie; told apart are only a from b"
    )


def test_what_a_tie_is_says_the_test_and_that_few_units_tell_nothing() -> None:
    assert of_the_test(40, "example", 9) == (
        " The test is paired over 40 examples, corrected for all pairs, at 5 %: what it doesn't tell apart ties."
    )
    assert of_the_test(5, "network", 2) == (
        " The test is paired over 5 networks at 5 %: what it doesn't tell apart ties; fewer than 6 tell nothing apart."
    )
    assert of_the_test(5, "network", 1) == ""

"""Where the spread of a measure lies: by hand, and against the decomposition of simulated effects."""

from __future__ import annotations

import numpy as np
import pytest

from mi_runner.tables.variance import Shares, nested_shares


def test_each_part_alone_is_all_of_the_spread() -> None:
    """Two groups of two units under two conditions, that differ in one respect only."""
    between = nested_shares([[[0, 0], [0, 0]], [[1, 1], [1, 1]]])
    assert between == Shares(pytest.approx(np.std([0] * 4 + [1] * 4, ddof=1)), 1, 0, 0, 0)
    assert nested_shares([[[0, 0], [1, 1]], [[0, 0], [1, 1]]]).units == 1
    assert nested_shares([[[0, 1], [0, 1]], [[0, 1], [0, 1]]]).conditions == 1
    assert nested_shares([[[0, 1], [1, 0]], [[0, 1], [1, 0]]]).rest == 1


def test_what_these_units_cannot_have_is_none() -> None:
    """One group; one unit a group; one condition; one unit in all; one value; equal values."""
    parts = ("groups", "units", "conditions", "rest")
    for values, without in (
        ([[[0.0, 1.0], [2.0, 5.0]]], {"groups"}),
        ([[[0.0, 1.0]], [[2.0, 5.0]]], {"units"}),
        ([[[0.0], [1.0]], [[5.0]]], {"conditions", "rest"}),
        ([[[0.0, 1.0]]], {"groups", "units", "rest"}),
        ([[[0.3]]], set(parts)),
        ([[[0.3, 0.3]], [[0.3, 0.3]]], set(parts)),
    ):
        found = nested_shares(values)
        known = [share for name in parts if (share := getattr(found, name)) is not None]
        assert {name for name in parts if getattr(found, name) is None} == without
        assert not known or sum(known) == pytest.approx(1)
    assert nested_shares([[[0.3]]]).sd is None and nested_shares([[[0.3, 0.3]]]).sd == 0


def test_parts_add_up_where_groups_have_different_numbers_of_units() -> None:
    """The sum of squares by hand: means 1 and 5 of three units and one, under one condition each, around 2."""
    found = nested_shares([[[0.0], [1.0], [2.0]], [[5.0]]])
    assert (found.groups, found.units) == (pytest.approx(12 / 14), pytest.approx(2 / 14))
    assert found.sd == pytest.approx(np.sqrt(14 / 3))


@pytest.mark.parametrize("values", [[], [[]], [[[]]], [[[1.0], [2.0, 3.0]]], [[[1.0]], []]])
def test_units_without_every_condition_are_refused(values: list[list[list[float]]]) -> None:
    with pytest.raises(ValueError, match="give each group at least one unit, and each unit a value under every cond"):
        nested_shares(values)

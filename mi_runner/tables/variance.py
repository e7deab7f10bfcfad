"""Where does the spread of a measure lie? Sums of squares of units in groups, each measured under the same conditions.

    Σ (y − mean)² = between the groups' means + between the units of a group + between the conditions' means + the rest

The parts are orthogonal, however many units each group has, because each unit has a value under every condition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean


@dataclass(frozen=True)
class Shares:
    """The parts of a sum of squares around the mean, as fractions that add to 1.

    A part that these units can't have is None: of one group, of one unit in each group, under one condition. All are
    None if all values are equal.

    Attributes:
        sd: the sample's standard deviation of all values; None for one value.
        groups: between the means of the groups.
        units: between the means of the units of one group.
        conditions: between the means of the conditions.
        rest: the conditions' differences differ from unit to unit.
    """

    sd: float | None
    groups: float | None
    units: float | None
    conditions: float | None
    rest: float | None


def nested_shares(groups: Sequence[Sequence[Sequence[float]]]) -> Shares:
    """Returns where the spread of a measure lies.

    Args:
        groups: of each group its units, and of each unit its values under the conditions, in one order; finite.

    Raises:
        ValueError: there is no value, or a unit has fewer conditions than another.
    """
    units = list(chain.from_iterable(groups))
    n_conditions = len(units[0]) if units else 0
    if not n_conditions or any(len(unit) != n_conditions for unit in units) or not all(groups):
        raise ValueError("give each group at least one unit, and each unit a value under every condition.")
    values = list(chain.from_iterable(units))
    if len(values) == 1:
        return Shares(None, None, None, None, None)
    if min(values) == max(values):
        return Shares(0.0, None, None, None, None)
    mean, of_unit = fmean(values), [fmean(unit) for unit in units]
    of_condition = [fmean(column) for column in zip(*units, strict=True)]
    between = units_within = 0.0
    for group in groups:
        of_group = fmean(chain.from_iterable(group))
        between += len(group) * n_conditions * (of_group - mean) ** 2
        units_within += n_conditions * sum((fmean(unit) - of_group) ** 2 for unit in group)
    conditions = len(units) * sum((own - mean) ** 2 for own in of_condition)
    rest = sum(
        (value - own - of + mean) ** 2
        for unit, own in zip(units, of_unit, strict=True)
        for value, of in zip(unit, of_condition, strict=True)
    )
    total = between + units_within + conditions + rest

    def share(part: float, freedom: int) -> float | None:
        return part / total if freedom else None

    n_units = len(units)
    return Shares(
        sd=math.sqrt(total / (len(values) - 1)),
        groups=share(between, len(groups) - 1),
        units=share(units_within, n_units - len(groups)),
        conditions=share(conditions, n_conditions - 1),
        rest=share(rest, (n_units - 1) * (n_conditions - 1)),
    )

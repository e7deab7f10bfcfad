"""What is each number of an input? Names, and the columns of a table that the numbers were made of.

A *feature* is what a person would name: a column of a table. A number or a boolean is one number of the input, a
category several, one for each of its values (`colour=red`).

Letters: D numbers of an input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mi_runner.errors import ArgumentError, listed
from mi_runner.tables.names import ALL, NONE

Kind = Literal["number", "boolean", "category"]

MOST_NAMED = 10
"""Largest number of names that an error shows."""


@dataclass(frozen=True)
class Column:
    """How a column of a table became numbers of an input.

    A number x is `(x − mean) / scale`, with the mean and the standard deviation (divisor N) of the training rows. A
    boolean is 0 or 1. Of a category one number is 1, the others 0; all are 0 where no training row has the value.

    Attributes:
        name: of the column.
        kind: number, boolean or category.
        inputs: the places of its numbers in the input, from 0.
        mean, scale: of a number; 0 and 1 where it is taken as it is; None of other kinds.
        categories: of a category: the value that each of its numbers stands for.
        filled: what stands in place of a missing value, in the units of the column; None where none is missing.
    """

    name: str
    kind: Kind
    inputs: tuple[int, ...]
    mean: float | None = None
    scale: float | None = None
    categories: tuple[str, ...] | None = None
    filled: float | str | None = None

    @property
    def names(self) -> list[str]:
        """A name for each of its numbers: its own, or `colour=red` for each value of a category."""
        return [self.name] if self.categories is None else [f"{self.name}={value}" for value in self.categories]


@dataclass(frozen=True)
class Feature:
    """Numbers of an input that belong together.

    Attributes:
        name: of a column, or of a single number.
        inputs: their places in the flattened input, from 0.
    """

    name: str
    inputs: tuple[int, ...]


def check_names(names: Sequence[str], n_inputs: int) -> None:
    """Checks that there is a name for each number of an input, and that the names can stand in tables.

    Raises:
        ArgumentError: there isn't, or a name is empty, occurs twice, or can't be printed.
    """
    if len(names) != n_inputs:
        given = f"feature_names has {len(names)} names, an input has {n_inputs} numbers:"
        raise ArgumentError("feature_names", None, given, "give a name for each.")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        problem = f"feature_names has {listed(twice, MOST_NAMED)} twice: names must differ."
        raise ArgumentError("feature_names", None, problem)
    for name in names:
        if not name.strip() or not name.isprintable() or name in (ALL, NONE):
            rule = f"a name has printable characters, at least one, and is not '{ALL}' or '{NONE}'."
            raise ArgumentError("feature_names", None, f"feature_names has {name!a}: {rule}")


def check_columns(columns: Sequence[Column], n_inputs: int) -> None:
    """Checks that each number of an input is of one column.

    Raises:
        ArgumentError: one is of none or of several, or two columns have one name.
    """
    if sorted(place for column in columns for place in column.inputs) != list(range(n_inputs)):
        raise ArgumentError("columns", None, f"columns: each of the {n_inputs} numbers of an input is of one column.")
    if len({column.name for column in columns}) < len(columns):
        raise ArgumentError("columns", None, "columns: their names must differ.")

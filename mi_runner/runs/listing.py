"""A table of the runs and sweeps that are saved: which rows and columns does it have, and in what order?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mi_runner.config.figure_options import FIGURE_KEYS
from mi_runner.config.registry import EXPERIMENTS
from mi_runner.config.run_schema import LABELS, SWEEP_KEYS
from mi_runner.errors import ConfigError, unknown
from mi_runner.runs.saved_runs import GROUPS, SEED, Saved, shown

FIRST = ("path", "name", "tags", "status", "jobs", "started", *GROUPS, SEED)
"""The columns of every list, if a row has a value for them."""

NOT_COMPARED = (*GROUPS, SEED, "output_dir", "expect", "report", *FIGURE_KEYS, *LABELS, *SWEEP_KEYS)
"""Config keys that get no column of their own though rows differ in them: they have one, or change no figure."""

HEADLINES = {schema.name: schema.headline for schema in EXPERIMENTS}

ALIASES = {"tag": "tags", "state": "status"}
"""What a condition may call a column; `tag` is one of its words."""

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": lambda value, bound: value >= bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    "<": lambda value, bound: value < bound,
}


@dataclass(frozen=True)
class Condition:
    """A condition on a row, as typed: `accuracy>0.9`.

    Attributes:
        name: of a column.
        sign: =, !=, <, <=, > or >=.
        text: what the column is compared with.
    """

    name: str
    sign: str
    text: str

    @classmethod
    def parse(cls, typed: str) -> Condition:
        """Returns the condition that a text says.

        Raises:
            ConfigError: the text is none.
        """
        match = re.fullmatch(r"\s*([^\s<>=!]+)\s*(>=|<=|!=|==?|>|<)\s*(.*?)\s*", typed)
        if match is None:
            raise ConfigError(
                f"--where '{typed}': write NAME=VALUE, or another of !=, <, <=, >, >=; for example "
                "--where experiment=ablation --where 'accuracy>0.9'."
            )
        name, sign, text = match.groups()
        return cls(name, "=" if sign == "==" else sign, text)

    @property
    def column(self) -> str:
        """The name of the column that it is about."""
        return ALIASES.get(self.name, self.name)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Returns whether the condition holds for a row; if the row has no such value, only `!=` and `=null` hold.

        Raises:
            ConfigError: the order of this value and the text isn't known.
        """
        value = values.get(self.column)
        if self.column == "tags" and self.sign in ("=", "!=") and not self.text.startswith("["):
            return any(self._equals(tag) for tag in value or ()) == (self.sign == "=")
        if self.sign in ("=", "!="):
            return self._equals(value) == (self.sign == "=")
        if value is None:
            return False
        compare = _COMPARISONS[self.sign]
        bound = _number(self.text)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if bound is None:
                raise ConfigError(
                    f"--where '{self}': {self.name} is a number, but {self.text or 'an empty text'} is not."
                )
            return compare(value, bound)
        return compare(shown(value), self.text)

    def _equals(self, value: Any) -> bool:
        number = _number(self.text)
        if number is not None and isinstance(value, int | float) and not isinstance(value, bool):
            return value == number
        return shown(value) == re.sub(r"\s*([,\[\]])\s*", r"\1", self.text)

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.text}"


@dataclass(frozen=True)
class Listing:
    """The rows of a list.

    Attributes:
        columns: their names.
        rows: column → value, for each row.
        n_left_out: rows that the conditions fit but the limit leaves out.
    """

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    n_left_out: int = 0


def listing(
    saved: Iterable[Saved],
    *,
    where: Sequence[Condition] = (),
    sort: str | None = None,
    reverse: bool = False,
    columns: Sequence[str] | None = None,
    limit: int | None = None,
) -> Listing:
    """Returns the rows of runs and sweeps.

    Args:
        where: conditions that all hold for a row.
        sort: the column that rows are sorted by, the smallest value first; None: the newest first.
        reverse: the other order.
        columns: their names; None: the usual ones, the config keys in which rows differ, and the headline metrics.
        limit: the largest number of rows.

    Raises:
        ConfigError: no row has a column of this name.
    """
    found = selected(list(saved), where, [*([sort] if sort else []), *(columns or ())])
    if sort is None:
        found.sort(key=lambda one: str(one.values["started"] or ""), reverse=not reverse)
    else:
        with_value = [one for one in found if one.values.get(sort) is not None]
        without = [one for one in found if one.values.get(sort) is None]
        found = [*sorted(with_value, key=lambda one: _order(one.values[sort]), reverse=reverse), *without]
    n_left_out = 0 if limit is None else max(0, len(found) - limit)
    found = found[: len(found) - n_left_out]
    names = list(columns) if columns is not None else _usual(found)
    return Listing(names, [{name: one.values.get(name) for name in names} for one in found], n_left_out)


def selected(saved: Sequence[Saved], where: Sequence[Condition], others: Sequence[str] = ()) -> list[Saved]:
    """Returns the runs and sweeps for which all conditions hold.

    Args:
        others: columns that are to be there, too.

    Raises:
        ConfigError: no run or sweep has a column of such a name.
    """
    known: dict[str, None] = {}
    for one in saved:
        known |= dict.fromkeys(one.values)
    for name in (*(condition.column for condition in where), *others):
        if saved and name not in known:
            raise ConfigError(unknown("column", name, known))
    return [one for one in saved if all(condition.holds(one.values) for condition in where)]


def _usual(found: Sequence[Saved]) -> list[str]:
    """Returns the columns that tell the rows apart."""
    first = [name for name in FIRST if any(one.values[name] is not None for one in found)]
    last = ["note"] if any(one.values["note"] is not None for one in found) else []
    return [*first, *differing_keys(found), *headlines(found), *last]


def differing_keys(found: Sequence[Saved]) -> list[str]:
    """Returns the config keys in which runs of the same experiment, data set and model differ, in the config's order.

    Other runs differ in many keys that nobody set, because each experiment has its own defaults.
    """
    seen: dict[tuple[str, ...], dict[str, str]] = {}
    differing: dict[str, bool] = {}
    for one in found:
        group = seen.setdefault(tuple(str(one.values[name]) for name in GROUPS), {})
        for key, value in one.config.items():
            text = shown(value)
            differing[key] = differing.get(key, False) or group.setdefault(key, text) != text
    return [key for key, differs in differing.items() if differs and key not in NOT_COMPARED]


def headlines(found: Sequence[Saved]) -> list[str]:
    """Returns the headline metric of each experiment of the rows, or the first of the summary where that is absent."""
    names: dict[str, None] = {}
    for one in found:
        if one.metrics:
            headline = HEADLINES.get(str(one.values["experiment"]), "")
            names[headline if headline in one.metrics else next(iter(one.metrics))] = None
    return list(names)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _order(value: Any) -> tuple[bool, float, str]:
    """Returns a key for sorting: numbers first, then NaN, then texts."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return False, math.inf if math.isnan(value) else value, ""
    return True, 0.0, shown(value)

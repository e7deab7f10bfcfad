"""Bounds on a run's summary metrics: `expect='{accuracy: [">=0.97", "<1"], loss: "<0.2"}'`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mi_runner.errors import ConfigError, unknown

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Expectation:
    """One bound on one metric."""

    metric: str
    comparison: str
    bound: float

    def unmet(self, metrics: Mapping[str, float]) -> str | None:
        """A line that says which figure, its value and its bound, if it isn't met; a NaN meets nothing."""
        if self.metric not in metrics:
            return unknown("summary metric", self.metric, metrics)
        value = metrics[self.metric]
        if value == value and COMPARISONS[self.comparison](value, self.bound):
            return None
        return f"{self.metric} = {value:.10g}, expected {self.comparison} {self.bound:g}"


def check(expected: Iterable[Expectation], names: Sequence[str]) -> None:
    """Every bound is on a metric that the run will have.

    Raises:
        ConfigError: one isn't; the text lists the names.
    """
    for bound in expected:
        if bound.metric not in names:
            raise ConfigError(f"expect: {unknown('summary metric', bound.metric, names)}")


def parse(expect: Any) -> list[Expectation]:
    """The bounds of `expect`, a mapping or None; a metric has one, or several in a list or separated by commas.

    Raises:
        ConfigError: a bound can't be read, or a metric has none.
    """
    if expect is None:
        return []
    if not isinstance(expect, Mapping):
        raise ConfigError(f"expect={expect}: write metrics and bounds, expect='{{accuracy: \">=0.97\"}}'.")
    found = []
    for metric, given in expect.items():
        bounds = given if isinstance(given, list) else [given]
        for part in [part for bound in bounds for part in str(bound).split(",")] or [""]:
            match = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*", part)
            try:
                if match is None or math.isnan(float(match[2])):
                    raise ValueError
                found.append(Expectation(str(metric), match[1], float(match[2])))
            except ValueError:
                raise ConfigError(
                    f"expect: '{part.strip()}' for {metric} is no bound. Write one of {' '.join(COMPARISONS)} and a "
                    f"number, in quotes: expect='{{{metric}: \">=0.97\"}}'."
                ) from None
    return found

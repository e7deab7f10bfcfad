"""Bounds that a run's summary metrics must meet: `expect='{accuracy: [">=0.97", "<1"], loss: "<0.2"}'`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mi_runner.errors import ConfigError, unknown
from mi_runner.runs.junit import Case
from mi_runner.tables.declaration import Declarations, Measure

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
    """A bound on a metric."""

    metric: str
    comparison: str
    bound: float

    def unmet(self, metrics: Mapping[str, float]) -> str | None:
        """Returns a line with the metric, its value and the bound if the bound isn't met; NaN meets no bound."""
        if self.metric not in metrics:
            return unknown("summary metric", self.metric, metrics)
        value = metrics[self.metric]
        if value == value and COMPARISONS[self.comparison](value, self.bound):
            return None
        return f"{self.metric} = {value:.10g}, expected {self.comparison} {self.bound:g}"

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {self.bound:g}"


def cases(expected: Iterable[Expectation], metrics: Mapping[str, float], group: str) -> list[Case]:
    """Returns a test case for each bound, which fails if the bound isn't met.

    Args:
        metrics: name → number, of a run that is done.
        group: what the run is; stays the same from run to run.
    """
    return [Case(str(bound), group, failure=bound.unmet(metrics) or "") for bound in expected]


def check(expected: Iterable[Expectation], names: Sequence[str]) -> None:
    """Checks that each bound is on a metric of the run.

    Raises:
        ConfigError: the run has no metric of this name; the text lists the names.
    """
    for bound in expected:
        if bound.metric not in names:
            raise ConfigError(f"expect: {unknown('summary metric', bound.metric, names)}")


def impossible(expected: Iterable[Expectation], declared: Declarations) -> list[str]:
    """Returns a line for each bound that no value of its metric meets, such as a percentage for a fraction."""
    lines = []
    for bound in expected:
        number = declared.number(bound.metric)
        if not isinstance(number, Measure):
            continue
        ends = [math.inf if number.within.high is None else number.within.high]
        ends += [-math.inf if number.within.low is None else number.within.low]
        between = [bound.bound] if bound.bound in number.within else []
        if not any(COMPARISONS[bound.comparison](value, bound.bound) for value in (*ends, *between)):
            asked = f"{bound.metric} {bound.comparison} {bound.bound:g}"
            lines.append(f"expect: {asked} can't be met, because {number.name} is {number.within}")
    return lines


def parse(expect: Any) -> list[Expectation]:
    """Returns the bounds of `expect`, a mapping of metric → bound or bounds (a list, or separated by commas), or None.

    Raises:
        ConfigError: a bound can't be read, or a metric has none.
    """
    if expect is None:
        return []
    if not isinstance(expect, Mapping):
        raise ConfigError(f"expect={expect}: write metrics and bounds, e.g. expect='{{accuracy: \">=0.97\"}}'.")
    expectations = []
    for metric, given in expect.items():
        bounds = given if isinstance(given, list) else [given]
        for text in [text for bound in bounds for text in str(bound).split(",")] or [""]:
            match = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*(\S+)\s*", text)
            try:
                if match is None or math.isnan(float(match[2])):
                    raise ValueError
                expectations.append(Expectation(str(metric), match[1], float(match[2])))
            except ValueError:
                raise ConfigError(
                    f"expect: '{text.strip()}' for {metric} is not a bound. Write one of {' '.join(COMPARISONS)} and a "
                    f"number, in quotes: expect='{{{metric}: \">=0.97\"}}'."
                ) from None
    return expectations

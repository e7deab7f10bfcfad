"""Does a difference of two runs count? A bound decides, or a paired test, or that there is a difference at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mi_runner.experiments.common.sentences import figure
from mi_runner.tables.pairwise import LEVEL


@dataclass(frozen=True)
class Tolerance:
    """How far numbers may be apart that count as equal; of numbers above 1, as a share of the larger.

    Attributes:
        every: of all metrics that are not named; None: they have no bound.
        by_metric: of a metric, `loss/relu/zero`, or of all that measure the same, `loss`.
    """

    every: float | None = None
    by_metric: Mapping[str, float] = field(default_factory=dict)

    def of(self, metric: str) -> float:
        """Returns the tolerance of a metric; 0 without a bound."""
        bound = self.named(metric)
        return (self.every or 0.0) if bound is None else bound

    def named(self, metric: str) -> float | None:
        """Returns the bound that names a metric, or what it measures; None if none does."""
        return self.by_metric.get(metric, self.by_metric.get(metric.partition("/")[0]))


@dataclass(frozen=True)
class PairedTest:
    """A paired test of the difference of a metric.

    Attributes:
        p: its p-value.
        n: pairs.
        test: its name.
        units: what the pairs are of: test examples, or seeds.
    """

    p: float
    n: int
    test: str
    units: str


@dataclass(frozen=True)
class Rule:
    """What decides whether a difference counts: a bound on the metric, otherwise its test, otherwise any difference.

    Attributes:
        tolerance: bounds. One that names a metric holds in place of its test; so does one of all metrics, without `p`.
        p: a test says that there is a difference if its p-value is below this; None: below 0.05.
    """

    tolerance: Tolerance = field(default_factory=Tolerance)
    p: float | None = None

    @property
    def level(self) -> float | None:
        """What p-values of a difference are below; None if no test is asked, because all metrics have a bound."""
        if self.p is not None:
            return self.p
        return LEVEL if self.tolerance.every is None else None

    def bound(self, metric: str, *, is_tested: bool) -> float | None:
        """Returns the bound on a metric; None if there is none, or the metric's test decides."""
        named = self.tolerance.named(metric)
        if named is not None or (is_tested and self.level is not None):
            return named
        return self.tolerance.every


@dataclass(frozen=True)
class Judged:
    """Whether a metric, or a table, of two runs differs, and counts.

    Attributes:
        name: `accuracy/relu/zero`, `table history`; of a sweep with the swept values, `accuracy model=mlp`.
        run: the letter of the run, or sweep, that is compared with the first.
        differs: whether there is a difference, beyond the bound if there is one.
        counts: whether the comparison says for it that the metrics differ.
        line: says it in a sentence.
        is_tolerated: whether there is a difference within the bound.
    """

    name: str
    run: str
    differs: bool
    counts: bool
    line: str
    is_tolerated: bool = False


@dataclass(frozen=True)
class Difference:
    """The values of a metric in two runs, or their means over pairs.

    Attributes:
        metric: its name in the summary.
        sides: the letters of the two runs.
        before, after: None for a number that isn't finite.
        pairs: the numbers of which these are means; of two runs these two.
        alone: the letter of the run that alone has the metric; empty if both have it.
    """

    metric: str
    sides: tuple[str, str]
    before: float | None
    after: float | None
    pairs: tuple[tuple[float | None, float | None], ...]
    alone: str = ""

    @property
    def is_measured(self) -> bool:
        """Whether all numbers are finite, so that they have a difference."""
        return not self.alone and all(_is_finite(value) for pair in self.pairs for value in pair)

    def is_within(self, tolerance: float) -> bool:
        """Returns whether the numbers of each pair are equal but for a tolerance."""
        return not self.alone and all(close(a, b, tolerance) for a, b in self.pairs)


def judged(found: Difference, rule: Rule, test: PairedTest | None, *, name: str = "", excuse: str = "") -> Judged:
    """Returns whether a difference counts, with a sentence that says why.

    Args:
        name: of the metric among all of a comparison; empty: its name in the summary.
        excuse: why a difference without a bound and a test doesn't count; empty: it counts.
    """
    name, (base, other) = name or found.metric, found.sides
    if found.alone:
        return Judged(name, other, True, True, f"{name}: only {found.alone} has it")
    if found.is_within(0.0):
        return Judged(name, other, False, False, f"{name}: {_text(found.before)} in {base} and in {other}")
    values = f"{name}: {base} {_text(found.before)}, {other} {_text(found.after)}"
    if found.before is not None and found.after is not None:
        values += f", difference {figure(found.after - found.before)}"
    bound = rule.bound(found.metric, is_tested=test is not None)
    if bound is not None:
        counts = not found.is_within(bound)
        line = f"{values}; {'more' if counts else 'not more'} than the bound {bound:g} allows"
        return Judged(name, other, counts, counts, line, is_tolerated=not counts)
    if test is not None and rule.level is not None:
        counts = test.p < rule.level
        side = "below" if counts else "not below"
        why = f"{test.test} over {test.n:,} {test.units}: p = {test.p:.2g}, {side} {rule.level:g}"
    elif excuse and found.is_measured:
        counts, why = False, f"it has no test; {excuse}, so it doesn't count"
    else:
        counts, why = True, "it has no test, so any difference counts"
    return Judged(name, other, True, counts, f"{values}; {why}")


def close(a: float | None, b: float | None, tolerance: float) -> bool:
    """Returns whether two numbers are equal but for the tolerance; None stands for a number that isn't finite."""
    if a is None or b is None:
        return a is b
    return a == b or abs(a - b) <= tolerance * max(1.0, abs(a), abs(b)) or (math.isnan(a) and math.isnan(b))


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _text(value: float | None) -> str:
    return "no finite number" if value is None else figure(value)

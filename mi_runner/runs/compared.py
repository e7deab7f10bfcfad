"""What a comparison of runs or sweeps says: its sections for a person, and its verdicts on metrics and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mi_runner.runs.judged import Judged
from mi_runner.tables.paired import PairedValues

Row = dict[str, Any]

ON_ANOTHER_MACHINE = "the runs are of two machines"
"""Why a difference without a bound and a test doesn't count."""

STUDENT = (
    "n: seeds for which both have a value; means over these; low, high: 95 % interval of the paired difference, "
    "p: Student's paired test"
)

ONE_NETWORK = "seeds start from the same weights on the same data: they are one network, so there is no test"


@dataclass(frozen=True)
class Section:
    """A table of a comparison.

    Attributes:
        title: what it is about.
        rows: empty if nothing differs.
        note: a sentence for below the table, or instead of it.
        answer: sentences for above the table.
        brief: the rows to show where not all are asked for; None: those that matter most.
        is_detail: whether it is shown only where all rows are asked for, because sentences say what it means.
    """

    title: str
    rows: Sequence[Row] = ()
    note: str = ""
    answer: str = ""
    brief: Sequence[Row] | None = None
    is_detail: bool = False


@dataclass
class Comparison:
    """What differs.

    Attributes:
        sections: for a person to read.
        judged: of each metric and table of each run but the first: whether it differs, and counts.
        said: sentences on what is no difference of a metric, such as another processor.
        same: whether configs, code, versions and weights are the same, too.
    """

    sections: list[Section] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    same: bool = True

    @property
    def differs(self) -> bool:
        """Whether a difference counts: by a bound, by a test, or because there is neither."""
        return any(one.counts for one in self.judged)

    @property
    def equal(self) -> bool:
        """Whether nothing differs at all."""
        return self.same and not any(one.differs for one in self.judged)


def with_difference(base: str, name: str, before: float | None, after: float | None) -> Row:
    """Returns the columns of the second run: its value, and the difference where both have one."""
    difference = None if before is None or after is None else after - before
    return {name: after, f"{name} − {base}": difference}


def row_of_test(
    names: tuple[str, str], before: Sequence[float], after: Sequence[float], *, one_network: bool = False
) -> Row:
    """Returns the columns of a paired test; without a pair all but n are empty, for one network low, high and p."""
    base, name = names
    if not before:
        return {"n": 0, base: None, name: None, f"{name} − {base}": None, "low": None, "high": None, "p": None}
    test = PairedValues.of([b - a for a, b in zip(before, after, strict=True)])
    means = sum(before) / test.n, sum(after) / test.n
    row = {"n": test.n, base: means[0], name: means[1], f"{name} − {base}": test.mean}
    if one_network:
        return {**row, "low": None, "high": None, "p": None}
    return {**row, "low": test.low, "high": test.high, "p": test.p}

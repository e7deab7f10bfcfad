"""What a run of `experiment=selftest` leaves: its table and the numbers of its summary."""

from __future__ import annotations

from mi_runner.tables.declaration import COUNT, SECONDS, Declarations, Key, Measure, Note, TableType, share
from mi_runner.tables.ranges import NOT_NEGATIVE

METRICS = TableType(
    "metrics",
    "Each check: the value that a second route gives, and the value that the method gives",
    (
        Key("group", "what is checked"),
        Key("check", "the name of the check; docs/trust.md says what it compares"),
        Note("expected", "the value by hand, by brute force, in closed form, or published"),
        Note("found", "the value of the method; empty where it ended with an error"),
        Note("tolerance", "how far the two may be apart"),
        share("ok", "whether they are no further apart"),
        Measure(
            "seconds",
            "time of the check, without the compilation of kernels",
            SECONDS,
            within=NOT_NEGATIVE,
            better="less",
        ),
        Note("error", "how the method ended, where it ended with an error"),
    ),
)

DECLARED = Declarations(
    tables=(METRICS,),
    summary=(
        Measure("n_checks", "checks that were run", COUNT, within=NOT_NEGATIVE),
        Measure("n_failed", "checks that don't hold", COUNT, within=NOT_NEGATIVE, better="less"),
        share("held", "checks that hold"),
    ),
)

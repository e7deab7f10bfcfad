"""What a run of `experiment=margins` leaves: its table, and the numbers of its summary."""

from __future__ import annotations

from mi_runner.tables.declaration import COUNT, FRACTION, Declarations, Key, Measure, Note, TableType
from mi_runner.tables.ranges import SHARE

ACCURACY = Measure("accuracy", "test examples with a margin above 0", FRACTION, within=SHARE, better="more")
MARGIN = Measure("margin", "mean margin of the test examples", better="more")

METRICS = TableType(
    "metrics",
    "The margins of the test examples of each class",
    (
        Key("class", "the class of the examples"),
        Note("n", "test examples of the class", COUNT),
        ACCURACY,
        MARGIN,
        Measure("low_margin", "the quantile experiment.quantile of the margins", better="more"),
    ),
)

DECLARED = Declarations(tables=(METRICS,), summary=(ACCURACY, MARGIN))

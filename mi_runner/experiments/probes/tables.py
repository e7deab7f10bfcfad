"""What a run of `experiment=probes` leaves: declarations, and rows of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mi_runner.config.experiments.probes import ProbeControl
from mi_runner.tables.declaration import COUNT, FRACTION, Declarations, FigureType, Key, Measure, Note, TableType
from mi_runner.tables.names import NONE
from mi_runner.tables.ranges import ANY, SHARE

if TYPE_CHECKING:
    from torch import Tensor

    from mi_runner.methods.probes import Score, Target

R2, ACCURACY = "r2", "accuracy"
"""The measure of values, and that of classes."""

VALUES, CLASSES = "where a set of variables is read as a value", "where a set of variables is read as classes"

CONTROLS = {
    ProbeControl.untrained: "score of the same probe of the untrained network",
    ProbeControl.shuffled: "score of the same probe for the shuffled variables",
    ProbeControl.input: "score of the same probe on the raw input",
}
"""Control → what `overview` has of it."""

SITE = Key("site", "the site whose value is read")
VARIABLES = Key("variables", "the variables whose sum is read")
CONTROL = Key("control", "the control: untrained network, shuffled variables or raw input; none: the network itself")


def where(control: ProbeControl) -> str:
    """Returns which runs have columns of a control."""
    return f"where experiment.controls has {control.name}"


IN_R2 = Measure(
    R2,
    "R² of the probes on held-out examples, 1 − SS(residual)/SS(total)",
    only=VALUES,
    within=ANY,
    better="more",
    interval=True,
)
IN_ACCURACY = Measure(
    ACCURACY,
    "held-out examples whose class the probes predict",
    FRACTION,
    only=CLASSES,
    within=SHARE,
    better="more",
    interval=True,
)
SELECTIVITY = Measure(
    "selectivity",
    "score of the probes minus that of the shuffled variables at the same site",
    only=where(ProbeControl.shuffled),
    within=ANY,
    better="more",
)

METRICS = TableType(
    "metrics",
    "How well each set of variables is read from each site, and from controls",
    (
        SITE,
        VARIABLES,
        CONTROL,
        IN_R2,
        IN_ACCURACY,
        Note(
            "chance",
            "accuracy of always answering the class that is commonest among the examples of the other folds",
            FRACTION,
            only=CLASSES,
        ),
        SELECTIVITY,
        Note("n", "held-out examples of all folds", COUNT),
    ),
)

FOLDS = TableType(
    "folds",
    "The score of each fold's probes on the examples that they were not fitted to",
    (
        SITE,
        VARIABLES,
        CONTROL,
        Key("fold", "number of the fold, whose examples the probe is not fitted to, from 0"),
        replace(IN_R2, meaning="R² of the probe on the fold's examples", interval=False),
        replace(IN_ACCURACY, meaning="the fold's examples whose class the probe predicts", interval=False),
        Note("penalty", "the penalty c that was chosen for the probe on training examples"),
        Note("n", "examples of the fold", COUNT),
    ),
)

OVERVIEW = TableType(
    "overview",
    "The score of each set of variables at each site, beside its controls",
    (
        SITE,
        VARIABLES,
        Note("measure", "what the scores are: r2 or accuracy"),
        Note("score", "R² or accuracy of the probes on held-out examples"),
        Note("low", "lower end of the 95 % interval of the score"),
        Note("high", "upper end of the 95 % interval of the score"),
        *(Note(control.name, meaning, only=where(control)) for control, meaning in CONTROLS.items()),
        SELECTIVITY,
    ),
)

BESIDE = {"untrained": "of the untrained network", "shuffled": "of shuffled variables", "input": "of the raw input"}
"""Control → how the summary calls it."""


def _of_summary(measure: Measure, what: str) -> tuple[Measure, ...]:
    """Returns the numbers of the summary that are of a measure: of the network and of each control."""
    over = "mean over sites and sets of variables"
    controls = (
        replace(measure, name=f"{measure.name}_{control}", meaning=f"{what}, {of}, {over}", interval=False)
        for control, of in BESIDE.items()
    )
    return replace(measure, meaning=f"{what}; by itself the {over}", interval=False), *controls


DECLARED = Declarations(
    tables=(METRICS, FOLDS, OVERVIEW),
    summary=(
        *_of_summary(IN_R2, "R² on held-out examples"),
        *_of_summary(IN_ACCURACY, "accuracy on held-out examples"),
        Measure("task_accuracy", "test examples whose label is predicted", FRACTION, within=SHARE, better="more"),
    ),
    figures=(
        FigureType(
            "probes",
            "What can be read from each site of the network, by set of variables, on held-out examples: R² of values, "
            "accuracy of classes. Solid: the trained network; dashed: the untrained one; dotted: with shuffled values; "
            "hollow points alone: from the raw input. The dashed grey line: what reads nothing from the site.",
            "metrics",
            n="n",
            n_of="held-out examples",
        ),
    ),
)


def measure_of(target: Target) -> str:
    """Returns the measure of what is read."""
    return R2 if target.classes is None else ACCURACY


def has_columns(targets: Mapping[str, Target], controls: Sequence[ProbeControl]) -> list[str]:
    """Returns which of the columns that only some runs have are there."""
    kinds = {VALUES if target.classes is None else CLASSES for target in targets.values()}
    return [*kinds, *map(where, controls)]


def measured_columns(target: Target, folds: Sequence[Tensor], found: Score, shuffled: Score | None) -> dict[str, Any]:
    """Returns the measures of a row of `metrics`; those of the other kind are None.

    Args:
        shuffled: the score of the shuffled variables; None: there is none.
    """
    empty = {f"{measure}{end}": None for measure in (R2, ACCURACY) for end in ("", "_low", "_high")}
    measure = measure_of(target)
    return {
        **empty,
        measure: found.score,
        f"{measure}_low": found.low,
        f"{measure}_high": found.high,
        "chance": None if target.classes is None else target.chance(folds),
        "selectivity": None if shuffled is None else found.score - shuffled.score,
        "n": len(target.values),
    }


def overview_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the scores with their controls side by side: a row for each site and set of variables.

    Args:
        rows: of `metrics`.
    """
    scores: dict[tuple[str, str, str], Mapping[str, Any]] = {
        ("" if row["control"] == ProbeControl.input.name else row["site"], row["variables"], row["control"]): row
        for row in rows
    }
    overview = []
    for row in rows:
        if row["control"] != NONE:
            continue
        measure = R2 if row.get(R2) is not None else ACCURACY
        beside: dict[str, Any] = {}
        for control in ProbeControl:
            site = "" if control is ProbeControl.input else row["site"]
            beside[control.name] = scores.get((site, row["variables"], control.name), {}).get(measure)
        ends = {"low": row[f"{measure}_low"], "high": row[f"{measure}_high"]}
        keys = {"site": row["site"], "variables": row["variables"], "measure": measure}
        overview.append({**keys, "score": row[measure], **ends, **beside, "selectivity": row.get("selectivity")})
    return overview


def present(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows without columns that are empty in all of them."""
    empty = [column for column in rows[0] if all(row.get(column) is None for row in rows)]
    return [{column: value for column, value in row.items() if column not in empty} for row in rows]

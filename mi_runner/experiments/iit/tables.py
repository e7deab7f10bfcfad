"""What a run of `experiment=iit` or `das` leaves: declarations, and the rows of the overview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mi_runner.experiments.common.circuit_columns import PLANTED
from mi_runner.experiments.common.tables import HISTORY as TRAINING
from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    LOSS,
    Column,
    Declarations,
    FigureType,
    Key,
    Measure,
    Note,
    Repeat,
    TableType,
    share,
)
from mi_runner.tables.ranges import Range

SUBSETS = ("all", "changed", "unchanged")

TRAINED, ROTATION = "where experiment.epochs is above 0", "where experiment.alignment=rotation"
STRICT = "where experiment.strictness is above 0"
MULTI, ADVERSARY = "where experiment.sources=multi", "where experiment.adversary is given"

VARIABLES = Key("variables", "the variables of the training, joined by +")
PHASE = Key("phase", "when it is measured: before or after the training, or on a control")
CONTROL = Key("control", "the control that this row is; none: the experiment itself")
START = Repeat("start", "number of the random start of the rotation, from 1")
SOURCES = Key("sources", "single: a source example for all variables; multi: a source for each variable")
CELL = (VARIABLES, Key("trained_site", "the site of the training; the swapped site of a control may be another"))
"""The columns that name a cell in tables where `site` is what was swapped, in a control another one."""
SWAPPED_SITE = Key("site", "the site, edge or path whose value is swapped")
TRAINED_SITE = Key("site", "the site, edge or path of the training")
SWAPPED = Key(
    "swapped", "the variables that this row swaps: those that are trained to be swappable, or the adversary's",
    only=ADVERSARY,
)  # fmt: skip
OF_ROTATION = Key(
    "rotation",
    "own: the rotation of the training or control; fresh: one that is trained from scratch in this network",
    only=ADVERSARY,
)
CONTESTED = (SWAPPED, OF_ROTATION)
"""The columns that name rows besides, where there is an adversary."""


IIA = share(
    "iia",
    "interchange intervention accuracy: pairs for which the network gives the counterfactual label after the swap",
)
IIA_CHANGED = share("iia_changed", "iia on the pairs whose counterfactual label differs from the base's")
IIA_UNCHANGED = share("iia_unchanged", "iia on the pairs whose counterfactual label is the base's")
TASK_ACCURACY = share("task_accuracy", "accuracy on the test examples of the task itself, without swaps")
OF_NETWORK = (IIA, IIA_CHANGED, IIA_UNCHANGED, TASK_ACCURACY)
"""What the summary and the history have of a network."""

SINGLE_SOURCE = (
    share("iia_single_source", "iia with one source example for all variables", only=MULTI),
    share("iia_single_source_changed", "iia_changed with one source example for all variables", only=MULTI),
)
"""What `experiment.sources=multi` has besides: the figures on test pairs with one source for all variables."""

FLOOR = share(
    "floor",
    "pairs whose counterfactual label is the base's; iia_unswapped is this only where task_accuracy is 1",
    better=False,
)
IIA_UNSWAPPED = share(
    "iia_unswapped", "pairs whose counterfactual label the network gives for the base without a swap", better=False
)
COMMONEST = share(
    "commonest",
    "test examples with the predicted label that the network gives most often; 1: it gives no other",
    better=False,
)

ANGLE = Measure(
    "angle",
    "largest principal angle between the swapped directions and those along which the variables were planted; empty "
    "where the site carries no such variable",
    "degrees",
    PLANTED,
    within=Range(0, 90),
    better="less",
)
ANGLE_RANDOM = Measure(
    "angle_random",
    "mean of the same of as many random directions, orthogonal to each other",
    "degrees",
    PLANTED,
    Range(0, 90),
)

METRICS = TableType(
    "metrics",
    "Interchange intervention accuracy before and after the training, and of controls",
    (
        PHASE,
        CONTROL,
        *CELL,
        SWAPPED_SITE,
        Key("alignment", "how a variable is placed in the site: units, or directions of a rotation of it"),
        SOURCES,
        Key("subset", "all pairs, or those whose counterfactual label differs from the base's (changed) or doesn't"),
        START,
        FLOOR,
        IIA_UNSWAPPED,
        COMMONEST,
        replace(IIA, interval=True),
        TASK_ACCURACY,
        Note("task_low", "lower end of the 95 % interval of task_accuracy", FRACTION),
        Note("task_high", "upper end of the 95 % interval of task_accuracy", FRACTION),
        Note("size", "units or directions of a place", COUNT),
        Note("n_pairs", "pairs of the subset", COUNT),
        ANGLE,
        ANGLE_RANDOM,
    ),
)

OVERVIEW = TableType(
    "overview",
    "The result and its controls, a row for each",
    (
        PHASE,
        CONTROL,
        *CELL,
        SWAPPED_SITE,
        SOURCES,
        START,
        replace(IIA, interval=True),
        FLOOR,
        IIA_UNSWAPPED,
        IIA_CHANGED,
        IIA_UNCHANGED,
        TASK_ACCURACY,
        COMMONEST,
        ANGLE,
        ANGLE_RANDOM,
    ),
)

HISTORY = TableType(
    "history",
    "Training by interchange interventions, step by step",
    (
        VARIABLES,
        TRAINED_SITE,
        CONTROL,
        Key("step", "steps of training so far", COUNT),
        START,
        Note("epoch", "passes over the training pairs so far", COUNT),
        *(replace(measure, meaning=f"{measure.meaning}, on test pairs after the epoch") for measure in OF_NETWORK[:3]),
        TASK_ACCURACY,
        *SINGLE_SOURCE,
        Note("orthonormality_error", "largest deviation of the rotation from an orthonormal matrix", only=ROTATION),
        Note(
            "loss", "mean loss on the counterfactual labels of the training pairs since the row before", LOSS, TRAINED
        ),
        Note("train_iia", "iia on the training pairs since the row before", FRACTION, TRAINED),
        Note("adversary_loss", "mean loss of the adversary on its pairs, after its steps", LOSS, ADVERSARY),
        Note(
            "strict_loss",
            "mean loss on the base's labels with a unit swapped that should carry nothing, since the row before",
            LOSS,
            STRICT,
        ),
    ),
)

PAIRS = TableType(
    "pairs",
    "Each pair of test examples, and the network's labels after the swap",
    (
        VARIABLES,
        TRAINED_SITE,
        SOURCES,
        Key("pair", "number of the pair, from 0"),
        START,
        Note("base", "index of the base example in the test set"),
        Note("source_*", "index of the source example of these variables in the test set"),
        Note("base_label", "label of the base example"),
        Note(
            "counterfactual_label", "the label that the causal model gives the base with the variables of its sources"
        ),
        Note("answer_before", "the network's label after the swap, before it is trained by interchange interventions"),
        Note("answer_after", "the network's label after the swap, when it is trained by interchange interventions"),
    ),
)

DIRECTIONS = TableType(
    "directions",
    "The weights of the trained rotation",
    (
        VARIABLES,
        TRAINED_SITE,
        Key("place", "the variables that share the directions"),
        Key("direction", "number of the direction among those of its place, from 0"),
        Key("unit", "number of the unit in the site's flattened value, from 0"),
        START,
        Note("weight", "the unit's weight in the direction"),
    ),
    parquet=True,
)

EFFECT = share("effect", "pairs whose answer changes when the unit is taken from the source", better=False, only=STRICT)

EFFECTS = TableType(
    "effects",
    "How often each unit of each site changes the answer, after the training and before it",
    (
        VARIABLES,
        CELL[1],
        Key("site", "the site, edge or path whose unit is swapped", only=STRICT),
        Key(
            "unit",
            "number of the unit, or of the channel where the site has several axes, from 0; all: the whole site. At "
            "the trained site what the places of the variables carry stays",
            only=STRICT,
        ),
        START,
        Note("is_trained", "whether the training swaps it because it should carry nothing", only=STRICT),
        EFFECT,
        replace(EFFECT, name="effect_before", meaning=f"{EFFECT.meaning}; before training"),
        Note("n_pairs", "test pairs", COUNT),
    ),
)

OF_STRICTNESS = (
    share(
        "largest_effect", "largest effect of the units that the training swaps because they should carry nothing",
        better=False, only=STRICT,
    ),
    share("rest_effect", "effect of all units of the trained site, without the places of the variables", better=False,
          only=STRICT),
)  # fmt: skip
"""What the summary has of a network besides, where the training is strict."""

ORDINARY_TRAINING = replace(
    TRAINING, name="ordinary_training", caption="The training on the task itself, epoch by epoch"
)


def _and_before(*measures: Measure) -> tuple[Measure, ...]:
    """Returns each measure, and what it is before the training."""
    return tuple(
        number
        for measure in measures
        for number in (
            measure,
            replace(measure, name=f"{measure.name}_before", meaning=f"{measure.meaning}; before training"),
        )
    )


FIGURES = (
    FigureType(
        "training",
        "Interchange intervention accuracy (IIA) on test pairs, task accuracy, and the loss on counterfactual labels, "
        "by epoch of training.",
        "history",
    ),
    FigureType(
        "controls",
        "Interchange intervention accuracy (IIA) beside its controls, for pairs whose label changes and the others; "
        "the black mark: of all pairs.",
        "metrics",
        n="n_pairs",
        n_of="test pairs",
        intervals="95 %, Wilson's",
    ),
    FigureType("examples", "Base and source examples, with the network's label after the swap.", "pairs"),
    FigureType(
        "iia",
        "Interchange intervention accuracy (IIA) of each set of variables (down) at each site (across).",
        "metrics",
        n="n_pairs",
        n_of="test pairs",
    ),
)

SUMMARY: tuple[Column, ...] = _and_before(*OF_NETWORK, *SINGLE_SOURCE, *OF_STRICTNESS)

ALONE = Declarations(
    tables=(METRICS, HISTORY, PAIRS, OVERVIEW, EFFECTS, DIRECTIONS, ORDINARY_TRAINING),
    summary=SUMMARY,
    figures=FIGURES,
)

OF_CONTEST = (
    share("iia_fresh", "iia of a rotation that is trained from scratch in the network as it is", only=ADVERSARY),
    share(
        "adversary_iia", "iia of the adversary's variables by the adversary's rotation", better=False, only=ADVERSARY
    ),
    share(
        "adversary_iia_fresh",
        "iia of the adversary's variables by a rotation that is trained from scratch",
        better=False,
        only=ADVERSARY,
    ),
    share("adversary_iia_unswapped", "iia_unswapped of the adversary's variables", better=False, only=ADVERSARY),
    COMMONEST,
)
"""What the summary has of a network besides, where there is an adversary."""

ADVERSARY_FLOOR = share("adversary_floor", "floor of the adversary's variables", better=False, only=ADVERSARY)

AGAINST = Declarations(
    tables=(
        METRICS.and_columns(*CONTESTED), HISTORY, PAIRS, OVERVIEW.and_columns(*CONTESTED), DIRECTIONS, ORDINARY_TRAINING
    ),
    summary=(*SUMMARY, ADVERSARY_FLOOR, *_and_before(*OF_CONTEST)),
    figures=(
        *FIGURES,
        FigureType(
            "adversary",
            "Interchange intervention accuracy (IIA) of the chosen and the adversary's variables in each network; "
            "black: the share of pairs whose label doesn't change (floor); dotted: without a swap.",
            "metrics",
            n="n_pairs",
            n_of="test pairs",
            intervals="95 %, Wilson's",
        ),
    ),
)  # fmt: skip
"""With `experiment.adversary`."""

DECLARED = ALONE.with_others(AGAINST)


def overview_rows(rows: Sequence[Mapping[str, Any]], keys: Sequence[Column] = ()) -> list[dict[str, Any]]:
    """Returns the table of metrics with the subsets side by side, in a third of the rows.

    Args:
        keys: columns that it has besides, those of a training against an adversary.
    """
    first, others = (PHASE, CONTROL, VARIABLES), (CELL[1], SWAPPED_SITE, SOURCES)
    names = [column.name for column in (*first, *keys, *others, START)]
    overview = []
    for of_all, changed, unchanged in zip(*(iter(rows),) * len(SUBSETS), strict=True):
        measures = ("iia", "iia_low", "iia_high", "floor", "iia_unswapped")
        apart = {"iia_changed": changed["iia"], "iia_unchanged": unchanged["iia"]}
        of_pairs = {name: of_all[name] for name in (*names, *measures)}
        of_truth = {name: of_all[name] for name in (ANGLE.name, ANGLE_RANDOM.name) if name in of_all}
        of_network = {name: of_all[name] for name in ("task_accuracy", "commonest")}
        overview.append({**of_pairs, **apart, **of_network, **of_truth})
    return overview

"""What a run of `experiment=das` with `experiment.map` leaves."""

from __future__ import annotations

from dataclasses import replace

from mi_runner.experiments.iit.tables import DECLARED as GRID
from mi_runner.experiments.iit.tables import IIA, ORDINARY_TRAINING, START, TASK_ACCURACY
from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    LOSS,
    SECONDS,
    Declarations,
    FigureType,
    Key,
    Measure,
    Note,
    TableType,
    share,
)
from mi_runner.tables.ranges import Range

MAP = "where experiment.map is given"

RANDOM_LABELS = "where experiment.controls has random_labels"
UNTRAINED = "where the network was trained"
STOPS = "where experiment.stop_steps is not null"

TRAINED_ALIKE = "the map is trained alike, but for what experiment.control_… say"

OF_MAP = (
    Key("map", "the map from the site's values to coordinates", only=MAP),
    Key("size", "coordinates of each variable", COUNT, only=MAP),
    Key("site", "the site, edge or path whose value is swapped"),
    Key("variables", "the variables of the training, joined by +"),
)
"""The columns that name a map of one size for one set of variables at one site."""

CEILING = share(
    "ceiling",
    "the largest share of these pairs that any map can answer: pairs with the same values at the site get one answer",
    better=False,
    only=MAP,
)
UNTRAINED_IIA = share(
    "untrained",
    f"iia of the same map in the untrained network, which has the first weights of this run's seed; {TRAINED_ALIKE}",
    better=False,
    only=UNTRAINED,
)
RANDOM_IIA = share(
    "random_labels",
    f"iia of the same map in a network that was trained on labels in random order; {TRAINED_ALIKE}",
    better=False,
    only=RANDOM_LABELS,
)
SELECTIVITY = Measure(
    "selectivity",
    "iia minus that of the same map in the untrained network; the interval is Newcombe's, of paired answers",
    "fraction, −1 to 1",
    UNTRAINED,
    within=Range(-1, 1),
    better="more",
    interval=True,
)

METRICS = TableType(
    "metrics",
    "Interchange intervention accuracy of each map, beside the same map in networks that have not learned the task",
    (
        *OF_MAP,
        START,
        replace(IIA, interval=True),
        UNTRAINED_IIA,
        RANDOM_IIA,
        SELECTIVITY,
        share("floor", "pairs whose counterfactual label is the base's", better=False),
        CEILING,
        TASK_ACCURACY,
        Note("parameters", "numbers of the map that are trained", COUNT, only=MAP),
        Note("epochs", "epochs of the map's training", COUNT, only=MAP),
        Note("n_pairs", "test pairs", COUNT),
        Note(
            "inverse_error",
            "largest deviation of a site's value from itself after the map and its inverse, on the test examples",
            only=MAP,
        ),
        Note("output_sd", "standard deviation of the network's outputs on the test examples", only=MAP),
        Note("output_sd_untrained", "the same of the untrained network", only=UNTRAINED),
        Note("seconds", "of the map's training, without its controls", SECONDS, only=MAP),
    ),
)

HISTORY = TableType(
    "history",
    "Training of the maps, step by step",
    (
        *OF_MAP,
        Key("control", "the network that the map is trained in; none: the run's own"),
        Key("step", "steps of training so far", COUNT),
        START,
        Note("epoch", "passes over the training pairs so far", COUNT),
        replace(IIA, meaning=f"{IIA.meaning}, on test pairs after the epoch"),
        Note("loss", "mean loss on the counterfactual labels of the training pairs since the row before", LOSS),
        Note("train_iia", "iia on the training pairs since the row before", FRACTION),
        Note(
            "stop_loss",
            "loss on the pairs that the training stops by: the mean losses of its batches, added",
            only=STOPS,
        ),
    ),
)

PAIRS = TableType(
    "pairs",
    "Each pair of test examples, and the label that each map's swap gives",
    (
        *OF_MAP,
        Key("pair", "number of the pair, from 0"),
        START,
        Note("base", "index of the base example in the test set"),
        Note("source_*", "index of the source example of this variable; that of the base where it isn't swapped"),
        Note("counterfactual_label", "the label that the causal model gives"),
        Note("answer", "the network's label after the swap", only=MAP),
        Note("answer_untrained", "the same in the untrained network", only=UNTRAINED),
    ),
    parquet=True,
)

FIGURES = (
    FigureType(
        "maps",
        "Interchange intervention accuracy by the number of a map's parameters, at each site: in the network, and of "
        "the same maps in networks that have not learned the task; dotted: the floor; dashed: the ceiling.",
        "metrics",
        n="n_pairs",
        n_of="test pairs",
    ),
    FigureType(
        "selectivity",
        "Interchange intervention accuracy minus that in the untrained network, by site.",
        "metrics",
        n="n_pairs",
        n_of="test pairs",
        intervals="95 %, Newcombe's for paired answers, of one start",
    ),
)

MAPS = Declarations(
    tables=(METRICS, HISTORY, PAIRS, ORDINARY_TRAINING),
    summary=(IIA, UNTRAINED_IIA, RANDOM_IIA, replace(SELECTIVITY, interval=False), CEILING, TASK_ACCURACY),
    figures=FIGURES,
)
"""With `experiment.map`."""

DECLARED = GRID.with_others(MAPS)

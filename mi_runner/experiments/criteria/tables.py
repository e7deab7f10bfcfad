"""What a run of `experiment=criteria` leaves: tables, numbers of the summary, and figures."""

from __future__ import annotations

from mi_runner.experiments.common.circuit_columns import BITS, N_VALID, OUTPUT, PLANTED
from mi_runner.experiments.common.validity import VALID_BY
from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    Column,
    Declarations,
    FigureType,
    Key,
    Measure,
    Note,
    TableType,
    ends_of,
    share,
)
from mi_runner.tables.ranges import DIFFERENCE_OF_SHARES, NOT_NEGATIVE, SHARE

CONTROLLED = "where experiment.controls is true"

TRUE = PLANTED
"""Columns of the truth."""

SAMPLED = "where not all valid circuits are judged"

TOLD = (
    "where a τ is given an interval, experiment.resamples; not for a criterion of which it isn't known how it depends "
    "on the examples: rank in a family of more than 200,000 circuits, or one of your own that gives only numbers"
)

ALL_CRITERIA = "all criteria but parsimony"

ALL_TOGETHER = "all"
"""The row of all criteria but parsimony: its numbers are those of the smallest of them."""

ABLATION = Key("ablation", "what a left-out edge carries: zero or mean")

CRITERION = Key(
    "criterion",
    "what circuits are compared by; noise_0.1: with noise of 0.1 standard deviations; all: the smallest of all but "
    "parsimony, so that a circuit survives it that survives each",
)

CIRCUIT = Key("circuit", BITS)

N_EDGES = Note("n_edges", "edges that the circuit keeps", COUNT)

N_NODES = Note("n_nodes", "active hidden neurons", COUNT)

SURVIVES = Note(
    "survives", f"whether the circuit reaches the threshold in {ALL_CRITERIA}; empty where none of these is computed"
)

VALUES = Note("*", "the criterion of this name for the circuit, 1 the best; empty where nothing can be said", FRACTION)

SHARE_OF_VALID = share("share", "valid circuits, of those judged, that survive the criterion", better=False)


def _chance(of: str) -> Measure:
    return share(
        "chance", f"circuits of as many edges, drawn at random, that survive {of}", better=False, only=CONTROLLED
    )


def _untrained(of: str) -> Measure:
    return share(
        "untrained", f"valid circuits of the untrained network that survive {of}", better=False, only=CONTROLLED
    )


IN_CRITERION = (
    Measure("mean", "mean of the criterion over the valid circuits that are judged", FRACTION, within=SHARE),
    Measure("least", "its smallest value", FRACTION, within=SHARE),
    Measure("greatest", "its largest value", FRACTION, within=SHARE),
    Measure(
        "n_survivors",
        "valid circuits, of those judged, that reach the threshold in the criterion",
        COUNT,
        within=NOT_NEGATIVE,
    ),
    SHARE_OF_VALID,
    *ends_of(SHARE_OF_VALID, only=SAMPLED),
    Measure(
        "n_with_all",
        f"valid circuits, of those judged, that reach the threshold in the criterion and in {ALL_CRITERIA}",
        COUNT,
        within=NOT_NEGATIVE,
    ),
    Measure(
        "n_others",
        f"valid circuits, of those judged, that reach it in {ALL_CRITERIA} and this one; more than n_with_all if this "
        "one alone removes circuits; empty for parsimony",
        COUNT,
        within=NOT_NEGATIVE,
    ),
    Measure(
        "n_best",
        "valid circuits with the largest value; empty where not all are judged",
        COUNT,
        within=NOT_NEGATIVE,
    ),
)
"""What metrics.csv says of a criterion on the valid circuits."""

CHANCE = _chance("the criterion")

UNTRAINED = _untrained("the criterion")

TELLS = Note(
    "tells",
    "yes: valid circuits survive more often than chance circuits, tested at 5 %; no: the test doesn't show it, as "
    "chance circuits survive as often or too few are drawn",
    only=CONTROLLED,
)

PLACE = share(
    "truth",
    "valid circuits that are better than the truth, and half of those equal to it, of all others: 0 the best place; "
    "empty where not all are judged",
    better=False,
    only=TRUE,
)

PICKS = Note(
    "picks_truth",
    "whether the criterion picks the truth alone: no valid circuit is as good; empty where not all are judged and none "
    "of those is as good",
    only=TRUE,
)

METRICS = TableType(
    "metrics",
    "How many valid circuits survive each criterion, beside circuits drawn at random and an untrained network",
    (
        ABLATION,
        OUTPUT,
        CRITERION,
        *IN_CRITERION,
        CHANCE,
        *ends_of(CHANCE, only=CONTROLLED),
        Note(
            "p",
            "p-value of the test whether valid circuits survive more often than chance circuits, corrected for the "
            "number of criteria",
            only=CONTROLLED,
        ),
        TELLS,
        UNTRAINED,
        PLACE,
        PICKS,
        N_VALID,
        Note("n_judged", "valid circuits that are judged", COUNT),
        Note("n_chance", "chance circuits", COUNT, only=CONTROLLED),
        Note("n_untrained", "valid circuits of the untrained network that are judged", COUNT, only=CONTROLLED),
        Note("threshold", "what a criterion must reach", FRACTION),
        VALID_BY,
    ),
)

SHOWN = (
    *("ablation", "output", "criterion", "mean", "least", "n_survivors", "share", "n_others", "n_best"),
    *("chance", "tells", "untrained", "truth", "picks_truth"),
)
"""Columns of metrics.csv that are printed."""

OVERVIEW = TableType(
    "overview",
    "What the criteria say of the valid circuits, in short",
    tuple(column for column in METRICS.columns if column.name in SHOWN),
)

PAIRS = TableType(
    "pairs",
    "Do two criteria agree, in order and in which circuits survive?",
    (
        ABLATION,
        OUTPUT,
        CRITERION,
        Key("other", "the criterion that it is compared with"),
        Measure("n_both", "valid circuits, of those judged, that survive both", COUNT, within=NOT_NEGATIVE),
        share(
            "overlap",
            "valid circuits that survive both, of those judged that survive one or both; empty without any",
            better=False,
        ),
        Measure(
            "tau",
            "Kendall's τ-b of the two over the valid circuits that are judged, −1 to 1; empty where one is constant",
            within=DIFFERENCE_OF_SHARES,
        ),
        Note(
            "tau_low",
            "lower end of a 95 % interval: τ less the distance of the 2.5 % quantile from the median over resamples of "
            "the examples",
            only=TOLD,
        ),
        Note("tau_high", "upper end: the same with the 97.5 % quantile, added", only=TOLD),
    ),
)

STEPS = TableType(
    "steps",
    "How many circuits survive as criteria are added one by one",
    (
        ABLATION,
        OUTPUT,
        Key("step", "how many criteria a circuit must survive: this one and those of the rows before", COUNT),
        Note("criterion", "the criterion that is added"),
        Measure("n_survivors", "valid circuits, of those judged, that survive these", COUNT, within=NOT_NEGATIVE),
        share("share", "the same, of all that are judged", better=False),
        _chance("these"),
        _untrained("these"),
    ),
)

CIRCUITS = TableType(
    "circuits",
    "Each valid circuit that is judged, and its criteria",
    (
        ABLATION,
        OUTPUT,
        CIRCUIT,
        N_EDGES,
        N_NODES,
        VALUES,
        SURVIVES,
        Note("front", "whether no other valid circuit beats it; empty where not all are judged"),
    ),
    parquet=True,
)

FRONT = TableType(
    "front",
    "The circuits that no other valid one beats: none is as good in all criteria and better in one",
    (
        ABLATION,
        OUTPUT,
        CIRCUIT,
        N_EDGES,
        N_NODES,
        VALUES,
        SURVIVES,
        Note("edges", "the kept edges, layer:source→target"),
    ),
)

BEST = TableType(
    "best",
    "The best circuits of each criterion, and what the other criteria say of them",
    (
        ABLATION,
        OUTPUT,
        CRITERION,
        Key(
            "place",
            "1 to 10: a circuit with the criterion's largest value, the fewest edges first; all: the mean over all "
            "that have it",
        ),
        Note("circuit", f"{BITS}; all: the mean"),
        N_EDGES,
        N_NODES,
        Note("n_best", "judged circuits with the criterion's largest value", COUNT),
        VALUES,
        Note("survives", f"{SURVIVES.meaning}; of all the share", FRACTION),
    ),
)

OF_SUMMARY: tuple[Column, ...] = (
    N_VALID,
    Measure("n_surviving", f"valid circuits that survive {ALL_CRITERIA}", COUNT, within=NOT_NEGATIVE),
    Measure("n_front", "valid circuits that no other one beats", COUNT, within=NOT_NEGATIVE),
    share(
        "surviving",
        f"valid circuits that survive {ALL_CRITERIA}; by itself the mean over the ablations",
    ),
)
"""Numbers of the summary for each ablation, of the first output."""


def _ends(name: str, words: str) -> tuple[Note, ...]:
    return tuple(
        Note(f"{name}_{end}", f"{words}: the {end} of a network", COUNT) for end in ("least", "median", "most")
    )


OVER_NETWORKS = TableType(
    "survivors",
    "How many circuits of each network are valid, and survive all criteria, over the networks",
    (
        ABLATION,
        OUTPUT,
        Note("n_networks", "networks that have a valid circuit; the others are left out", COUNT),
        *_ends("n_valid", "valid circuits"),
        Note("n_whole", "networks whose valid circuits are all judged; of the others a sample is", COUNT),
        *_ends("n_surviving", f"valid circuits of a network of n_whole that survive {ALL_CRITERIA}"),
        Note("n_one", "networks of n_whole in which one circuit alone survives all criteria", COUNT),
        Note("n_none", "networks of n_whole in which no circuit survives all criteria", COUNT),
    ),
)

TAU_OVER_NETWORKS = TableType(
    "tau",
    "Do two criteria agree, over the networks?",
    (
        ABLATION,
        OUTPUT,
        CRITERION,
        Key("other", "the criterion that it is compared with"),
        Note("n_networks", "networks with a τ: neither criterion is constant", COUNT),
        Note("tau", "mean over these of Kendall's τ-b over the valid circuits", interval=True),
        Note("n_above", "networks with a τ above 0", COUNT),
    ),
)

DECLARED = Declarations(
    tables=(METRICS, OVERVIEW, PAIRS, STEPS, CIRCUITS, FRONT, BEST),
    summary=(
        share("accuracy", "examples whose label is predicted; where targets are values, of the first output"),
        *OF_SUMMARY,
    ),
    figures=(
        FigureType(
            "tau_*",
            "Kendall's τ-b of each two criteria over the valid circuits; grey: none.",
            "pairs",
            of="output and ablation",
        ),
        FigureType(
            "steps_*",
            "The share of circuits that survive as criteria are added: valid ones, circuits of as many edges drawn at "
            "random, and valid ones of the untrained network. Above the points: how many valid ones survive.",
            "steps",
            of="output and ablation",
        ),
        FigureType("sweep_tau_*", "Kendall's τ-b of each two criteria, mean over the networks.", "sweep_tau"),
        FigureType(
            "overlap_*",
            "Of the circuits that survive one or both of two criteria, those that survive both; grey: none.",
            "pairs",
            of="output and ablation",
        ),
    ),
    compared=(OVER_NETWORKS, TAU_OVER_NETWORKS),
)

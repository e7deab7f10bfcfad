"""What a run of `experiment=robustness` leaves: tables, numbers of the summary, and figures."""

from __future__ import annotations

from mi_runner.experiments.common.circuit_columns import BITS, N_VALID, OUTPUT
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
from mi_runner.tables.ranges import NOT_NEGATIVE

CONTROLLED = "where experiment.controls is true"

SAMPLED = "where not all valid circuits are decided"

HULL = "where experiment.hull is true"

EXAMPLES, HULL_REGION = "examples", "hull"
"""Names of regions besides those of boxes: the examples alone, and the box that holds all of them."""

DEVIATIONS = "standard deviations of each input of the layers"

ABLATION = Key("ablation", "what a left-out edge carries: zero or mean")

REGION = Key(
    "region",
    "where circuit and network are compared: examples, at the examples alone; box_0.1, everywhere in the box of "
    "half-width 0.1 around each; hull, everywhere in the one box from the least to the largest value of each input",
)

EPSILON = Note("epsilon", f"half of a box's width, in {DEVIATIONS}; 0: the examples alone; empty for the hull")

N_EXAMPLES = Note("n_examples", "test examples that have boxes; 1 for the hull", COUNT)

N_EDGES = Note("n_edges", "edges that the circuit keeps", COUNT)

CERTIFIED = "proved to answer as the network does everywhere in the region of every example"


def _counts(of: str) -> tuple[Measure, ...]:
    """Returns the columns that count circuits.

    Args:
        of: which ones.
    """
    return (
        Measure("n_certified", f"{of} that are certified: {CERTIFIED}", COUNT, within=NOT_NEGATIVE, better="more"),
        Measure(
            "n_refuted",
            f"{of} with a known point of a region at which they answer differently",
            COUNT,
            within=NOT_NEGATIVE,
        ),
        Measure("n_undecided", f"{of} that are neither", COUNT, within=NOT_NEGATIVE),
    )


SHARE_CERTIFIED = share("share_certified", "circuits, of those decided, that are certified")

SHARE_PROVED = share("share_proved", "circuits × regions, of all of those decided, that are proved")

FEWEST_CERTIFIED = Measure(
    "fewest_certified",
    "kept edges of the smallest circuit that is known to be certified, an upper bound; exact where fewest_possible is "
    "the same; empty where none is known",
    COUNT,
    within=NOT_NEGATIVE,
    better="less",
)

FEWEST_POSSIBLE = Measure(
    "fewest_possible",
    "a lower bound of the same: kept edges of the smallest circuit that is certified or undecided, or of the smallest "
    "valid one where not all are decided; empty where all are refuted",
    COUNT,
    within=NOT_NEGATIVE,
)

N_CHANGED = Measure(
    "n_changed",
    "regions in which the network's own answer is known to change; empty for the examples alone, which are points",
    COUNT,
    within=NOT_NEGATIVE,
)

SHARE_RANDOM = share(
    "share_random", "circuits of as many edges, drawn at random, that are certified", better=False, only=CONTROLLED
)

METRICS = TableType(
    "metrics",
    "How many valid circuits answer as their network does around the examples, beside controls",
    (
        ABLATION,
        OUTPUT,
        REGION,
        EPSILON,
        N_VALID,
        Note(
            "n_decided", "valid circuits of which it is decided; of more than experiment.max_circuits a sample", COUNT
        ),
        N_EXAMPLES,
        *_counts("valid circuits, of those decided,"),
        SHARE_CERTIFIED,
        *ends_of(SHARE_CERTIFIED, only=SAMPLED),
        SHARE_PROVED,
        Measure("fewest_valid", "kept edges of the smallest valid circuit", COUNT, within=NOT_NEGATIVE, better="less"),
        FEWEST_CERTIFIED,
        FEWEST_POSSIBLE,
        N_CHANGED,
        SHARE_RANDOM,
        *ends_of(SHARE_RANDOM, only=CONTROLLED),
        Note(
            "p",
            "p-value of the test whether valid circuits are certified more often than random ones, corrected for the "
            "number of regions",
            only=CONTROLLED,
        ),
        share(
            "share_untrained",
            "valid circuits of the untrained network, of those decided, that are certified; empty without such a "
            "network, or where it has none",
            better=False,
            only=CONTROLLED,
        ),
        VALID_BY,
    ),
)

SHOWN = (
    *("ablation", "output", "region", "n_valid", "n_examples", "n_certified", "n_refuted", "n_undecided"),
    *("share_certified", "fewest_valid", "fewest_certified", "n_changed", "share_random", "share_untrained"),
)
"""Columns of metrics.csv that are printed."""

OVERVIEW = TableType(
    "overview",
    "What is decided of the valid circuits in each region, in short",
    tuple(column for column in METRICS.columns if column.name in SHOWN),
)

CONTROLS = TableType(
    "controls",
    "How many circuits of the controls answer as their network does around the examples",
    (
        Key(
            "control",
            "random: circuits of the network with as many edges as valid ones, drawn at random; untrained: valid "
            "circuits of the untrained network, compared with it",
        ),
        ABLATION,
        OUTPUT,
        REGION,
        EPSILON,
        Note("n_decided", "circuits of the control", COUNT),
        N_EXAMPLES,
        *_counts("circuits"),
        SHARE_CERTIFIED,
        SHARE_PROVED,
        Measure(
            "fewest_certified",
            "kept edges of the smallest circuit of the control that is known to be certified; empty where none is",
            COUNT,
            within=NOT_NEGATIVE,
            better="less",
        ),
        N_CHANGED,
    ),
)

CIRCUITS = TableType(
    "circuits",
    "Each valid circuit that is decided, for each size of boxes",
    (
        ABLATION,
        OUTPUT,
        Key("circuit", BITS),
        Key("epsilon", f"half of a box's width, in {DEVIATIONS}"),
        N_EDGES,
        Note("n_nodes", "active hidden neurons", COUNT),
        Note(
            "accuracy",
            "test examples for which the circuit's answer is right: the label; with valid_by=agreement the network's "
            "answer",
            FRACTION,
        ),
        Note("n_agreeing", "examples with boxes that the circuit answers as the network does", COUNT),
        Note("n_proved", "examples in whose box it is proved to answer as the network does", COUNT),
        Note("n_refuted", "examples in whose box a point is known at which it answers differently", COUNT),
        Note("n_undecided", "examples of which neither is known", COUNT),
        Note("largest_epsilon", "the largest epsilon of this run at which the circuit is certified; empty: at none"),
        Note(
            "certified_minimality",
            "of circuits that are certified at this epsilon: cardinal, no valid circuit with fewer edges is certified; "
            "subset, none of its proper sub-circuits that are valid is, and nothing more is known; no, one is; empty: "
            "the circuit isn't certified, or it isn't known, because a sub-circuit is undecided or not all valid "
            "circuits are decided",
        ),
        Note("hull", "in the hull of the examples: proved, refuted or undecided", only=HULL),
    ),
    parquet=True,
)

DIFFERENCE = TableType(
    "difference",
    "The largest difference of a circuit's output to the network's over the hull of the examples, as an interval",
    (
        ABLATION,
        OUTPUT,
        Key("circuit", BITS),
        Key("of_output", "number of the output that is compared, from 0"),
        N_EDGES,
        Note("kind", "minimal: no sub-circuit is valid; full: the whole network; drawn: another valid one, at random"),
        Note("low", "a difference that is reached at a point of the hull, in units of the output"),
        Note("high", "a proved upper bound of the difference, in units of the output"),
        Note(
            "n_minimal",
            "subset-minimal circuits of this output and ablation, of which the smallest 200 are here; empty where not "
            "all valid circuits are listed, so that none of them is known",
            COUNT,
        ),
    ),
)

_AT = "at the second smallest of experiment.epsilons, or the only one"

OF_SUMMARY: tuple[Column, ...] = (
    N_VALID,
    Measure("fewest_valid", "kept edges of the smallest valid circuit", COUNT, within=NOT_NEGATIVE, better="less"),
    share("certified", f"valid circuits that are certified {_AT}; by itself the mean over the ablations"),
    Measure(
        "fewest_certified",
        f"kept edges of the smallest circuit that is known to be certified {_AT}",
        COUNT,
        within=NOT_NEGATIVE,
        better="less",
    ),
)
"""Numbers of the summary for each ablation, of the first output."""

DECLARED = Declarations(
    tables=(METRICS, OVERVIEW, CONTROLS, CIRCUITS, DIFFERENCE),
    summary=(
        share("accuracy", "examples whose label is predicted; where targets are values, of the first output"),
        *OF_SUMMARY,
    ),
    figures=(
        FigureType(
            "regions_*",
            "The share of valid circuits that are certified, undecided and refuted, region by region, and the share of "
            "the controls that are certified. Above the bars: how many are certified.",
            "metrics",
            of="output",
            n="n_decided",
            n_of="valid circuits",
        ),
        FigureType(
            "edges_*",
            "Kept edges of the smallest valid circuit and of the smallest certified one, region by region.",
            "metrics",
            of="output",
        ),
        FigureType(
            "counterexamples_*",
            "Images whose activations lie nearest to points at which a circuit answers differently from the network, "
            "with both outputs at the point; the smallest boxes first.",
            of="output and ablation",
        ),
    ),
)

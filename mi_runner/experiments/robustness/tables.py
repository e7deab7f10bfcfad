"""What a run of `experiment=robustness` leaves: tables, numbers of the summary, and figures."""

from __future__ import annotations

from mi_runner.experiments.common.circuit_columns import BITS, N_VALID, OUTPUT
from mi_runner.experiments.common.validity import VALID_BY
from mi_runner.tables.declaration import (
    COUNT,
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

ABLATION = Key("ablation", "what a left-out edge carries: zero or mean")

REGION = Key(
    "region",
    "where circuit and network are compared: 0: at the examples themselves; another number: everywhere in the box of "
    "that ε around each example; hull: everywhere in the one box that holds all test examples",
)

EPSILON = Note("epsilon", "half of a box's width, in standard deviations of each input; empty: the hull")

CIRCUIT = Key("circuit", BITS)

N_EDGES = Note("n_edges", "edges that the circuit keeps", COUNT)


def _number(name: str, meaning: str) -> Measure:
    return Measure(name, meaning, COUNT, within=NOT_NEGATIVE)


SHARE_CERTIFIED = share("share_certified", "circuits that are certified, of those decided")

OF_REGION: tuple[Column, ...] = (
    ABLATION,
    OUTPUT,
    REGION,
    EPSILON,
    Note("n_judged", "circuits that are decided: proved, refuted, or tried", COUNT),
    Note("n_examples", "examples that have a box; of the hull, that lie in it", COUNT),
    _number("n_certified", "circuits that answer as the network in the whole region, proved for every example"),
    _number("n_refuted", "circuits of which a point is known where their answer is another than the network's"),
    _number("n_undecided", "circuits that are neither"),
    SHARE_CERTIFIED,
    share("share_proved", "boxes in which a circuit is proved, of all boxes of all circuits"),
    share("share_refuted", "boxes in which a circuit is refuted, of the same", better=False),
    Note("fewest_valid", "edges of the smallest circuit that is decided", COUNT),
    Note("fewest_certified", "edges of the smallest certified circuit; empty: none is certified", COUNT),
    Note(
        "fewest_possible",
        "edges of the smallest circuit that isn't refuted: below fewest_certified, a smaller one is undecided; empty: "
        "all are refuted",
        COUNT,
    ),
    Note("n_changed", "boxes in which the network itself has more than one answer; hardly another circuit holds there"),
)

SHARE_RANDOM = share(
    "share_random", "certified ones of circuits of as many edges, drawn at random", better=False, only=CONTROLLED
)

METRICS = TableType(
    "metrics",
    "How many valid circuits answer as their network in whole regions",
    (
        *OF_REGION[:4],
        N_VALID,
        *OF_REGION[4:],
        *ends_of(SHARE_CERTIFIED, only=SAMPLED),
        SHARE_RANDOM,
        *ends_of(SHARE_RANDOM, only=CONTROLLED),
        share("share_untrained", "certified ones of the untrained network's circuits", better=False, only=CONTROLLED),
        Note(
            "tells",
            "yes: valid circuits are certified more often than random ones, tested at 5 %; no: it isn't shown",
            only=CONTROLLED,
        ),
        VALID_BY,
    ),
)

CONTROLS = TableType(
    "controls",
    "The same of circuits of as many edges drawn at random, and of the untrained network's valid circuits",
    (
        Key("control", "random: circuits drawn at random; untrained: valid circuits of the untrained network"),
        *OF_REGION,
    ),
)

CIRCUITS = TableType(
    "circuits",
    "What is known of each valid circuit in each region",
    (
        ABLATION,
        OUTPUT,
        REGION,
        CIRCUIT,
        N_EDGES,
        EPSILON,
        Note("n_proved", "examples in whose box the circuit is proved to answer as the network", COUNT),
        Note("n_refuted", "examples in whose box a point is known where it doesn't", COUNT),
        Note("n_undecided", "examples that are neither", COUNT),
        Note("largest_epsilon", "the largest ε at which the circuit is certified; empty: at none"),
        Note(
            "minimality",
            "of a certified circuit; cardinal: no valid circuit of fewer edges is certified; subset: none that it "
            "contains is; empty: neither, or it isn't known, as circuits are undecided or only a sample is judged",
        ),
    ),
    parquet=True,
)

DIFFERENCE = TableType(
    "difference",
    "The largest difference of a circuit's output to the network's over the hull of all test examples, as an interval",
    (
        ABLATION,
        OUTPUT,
        CIRCUIT,
        Key("of_output", "number of the output that is compared, from 0"),
        Note("kind", "minimal: contains no other valid circuit; full: the whole network; drawn: any other"),
        N_EDGES,
        Note("low", "a difference that is reached"),
        Note("high", "a bound that is proved"),
    ),
)

OF_SUMMARY: tuple[Column, ...] = (
    N_VALID,
    SHARE_CERTIFIED,
    Measure(
        "fewest_certified",
        "edges of the smallest certified circuit; no value: none is certified, or a smaller one is undecided",
        COUNT,
        within=NOT_NEGATIVE,
        better="less",
    ),
)

DECLARED = Declarations(
    tables=(METRICS, CONTROLS, CIRCUITS, DIFFERENCE),
    summary=(
        share("accuracy", "examples whose label is predicted; where targets are values, of the first output"),
        *OF_SUMMARY,
    ),
    figures=(
        FigureType(
            "certified_*",
            "The share of circuits that are certified in boxes of each size, and the kept edges of the smallest; 0: at "
            "the examples themselves.",
            "metrics",
        ),
        FigureType(
            "counterexamples_*",
            "Test images that lie nearest to points where a circuit's answer is another than the network's.",
            "circuits",
        ),
    ),
)

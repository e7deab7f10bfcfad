"""What a run of `experiment=circuits`, and a comparison of its networks, leave; and rows of the tables."""

from __future__ import annotations

from dataclasses import replace

from mi_runner.experiments.common.circuit_columns import (
    BITS,
    END_NAMES,
    JUDGED,
    JUDGED_ELSEWHERE,
    LAYER,
    N_VALID,
    N_VALID_PARTIAL,
    OF_CIRCUIT,
    OUTPUT,
    PLANTED,
    SOURCE,
    TARGET,
)
from mi_runner.experiments.common.validity import VALID_BY
from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    OF_TEST_SET,
    SECONDS,
    Declarations,
    FigureType,
    Key,
    Measure,
    Note,
    TableType,
    ends_of,
)
from mi_runner.tables.ranges import NOT_NEGATIVE, SHARE

OF_PART = "part"
"""What the description of circuits.parquet has besides where a part is counted; see `one_part.about_part`."""

OF_PAIRS = (
    Measure(
        "pairs_contained",
        "unordered pairs of valid circuits of which one keeps every edge of the other",
        FRACTION,
        within=SHARE,
    ),
    Measure(
        "mean_jaccard",
        "mean over unordered pairs of valid circuits: edges that both keep, of those that one or both keep",
        FRACTION,
        within=SHARE,
    ),
)

SPARSEST_JUDGED = Measure(
    "sparsest_judged_accuracy",
    "accuracy of the sparsest valid circuits on the examples that they are judged on, mean",
    FRACTION,
    only=JUDGED,
    within=SHARE,
    better="more",
)

OF_JUDGED = (
    Measure(
        "still_valid",
        "listed valid circuits that are also valid on the examples they are judged on",
        FRACTION,
        only=JUDGED,
        within=SHARE,
        better="more",
    ),
    Measure(
        "valid_found_accuracy",
        "accuracy of the listed valid circuits on the examples that they are found on, mean",
        FRACTION,
        only=JUDGED,
        within=SHARE,
        better="more",
    ),
    Measure(
        "valid_judged_accuracy",
        "accuracy of the same circuits on the examples that they are judged on, mean",
        FRACTION,
        only=JUDGED,
        within=SHARE,
        better="more",
    ),
    Measure(
        "sparsest_found_accuracy",
        "accuracy of the sparsest valid circuits on the examples that they are found on, mean; empty where not all of "
        "them are listed",
        FRACTION,
        only=JUDGED,
        within=SHARE,
        better="more",
    ),
    SPARSEST_JUDGED,
    Measure(
        "sparsest_still_valid",
        "sparsest valid circuits that are also valid on the examples they are judged on",
        FRACTION,
        only=JUDGED,
        within=SHARE,
        better="more",
    ),
)
"""Where circuits are judged on other examples than those that they are found on."""

OF_MINIMALITY = (
    Measure("n_quasi", "valid circuits that have an edge that they need", COUNT, within=NOT_NEGATIVE),
    Measure("n_local", "valid circuits that need each of their edges", COUNT, within=NOT_NEGATIVE),
    Measure("n_subset", "valid circuits with no valid circuit inside", COUNT, within=NOT_NEGATIVE),
    Measure("n_cardinal", "valid circuits with the fewest edges of all", COUNT, within=NOT_NEGATIVE),
)

OF_TRUTH = (
    Measure(
        "n_equally_valid",
        "valid circuits with no more edges than the true one, itself included if it is valid; 1 where the truth is "
        "unique",
        COUNT,
        only=PLANTED,
        within=NOT_NEGATIVE,
    ),
)

SHARING = "where what the valid circuits share is computed"

OF_SHARED = (
    Measure("n_backbone", "edges that all valid circuits keep", COUNT, only=SHARING, within=NOT_NEGATIVE),
    Measure(
        "packing_low",
        "packing number, at least: the most valid circuits of which no two share an edge",
        COUNT,
        only=SHARING,
        within=NOT_NEGATIVE,
    ),
    Measure(
        "packing_high",
        "packing number, at most; the same as packing_low where it is known",
        COUNT,
        only=SHARING,
        within=NOT_NEGATIVE,
    ),
    Measure(
        "blocking_low",
        "blocking number, at least: the fewest edges of which each valid circuit keeps one",
        COUNT,
        only=SHARING,
        within=NOT_NEGATIVE,
    ),
    Measure(
        "blocking_high",
        "blocking number, at most; the same as blocking_low where it is known",
        COUNT,
        only=SHARING,
        within=NOT_NEGATIVE,
    ),
    Measure(
        "overlap",
        "mean over unordered pairs of valid circuits of their overlap: edges that both keep, of those of either",
        FRACTION,
        only=SHARING,
        within=SHARE,
    ),
    Measure(
        "overlap_chance",
        "the same of random circuits of the same two numbers of edges, drawn from all well-formed ones; the interval "
        "has 95 % of random families of as many circuits",
        FRACTION,
        only=SHARING,
        within=SHARE,
    ),
    Measure(
        "overlap_minimal",
        "mean overlap of the subset-minimal valid circuits; empty where not every valid circuit is listed",
        FRACTION,
        only=SHARING,
        within=SHARE,
    ),
    Measure(
        "overlap_minimal_chance",
        "the same of random circuits of the same two numbers of edges; the interval as that of overlap_chance",
        FRACTION,
        only=SHARING,
        within=SHARE,
    ),
)
"""What the valid circuits of one network share; in metrics.csv, so that sweeps sum it up."""


WITH_INTERVALS = ("overlap", "overlap_chance", "overlap_minimal_chance")
"""Of these, in shared.csv: that of `overlap` where valid circuits are sampled."""

N_CIRCUITS = Note("n_circuits", "well-formed circuits of the analysed layers", COUNT)
N_CIRCUITS_PARTIAL = Note("n_circuits_partial", "circuits that leave out a hidden neuron", COUNT)
THRESHOLD = Note("threshold", "what a valid circuit is above, or with valid_by=relative at least", FRACTION)

METHOD = Note(
    "method",
    "how the valid circuits are counted: table and census, exactly, of all circuits; halves, exactly; sample, with an "
    "interval from drawn circuits",
)

METRICS = TableType(
    "metrics",
    "How many circuits of each output, or of all together, are valid, and how alike these are",
    (
        OUTPUT,
        Measure(
            "full_accuracy",
            "accuracy of the whole network on the examples that circuits are judged on",
            FRACTION,
            within=SHARE,
            better="more",
        ),
        Measure("cut_accuracy", "accuracy of the analysed layers alone on the same examples", FRACTION, within=SHARE),
        *OF_PAIRS,
        *OF_JUDGED,
        *ends_of(SPARSEST_JUDGED, only=JUDGED),
        replace(N_VALID, interval=True),
        replace(N_VALID_PARTIAL, interval=True),
        *OF_MINIMALITY,
        *OF_TRUTH,
        *OF_SHARED,
        Measure(
            "cut_difference",
            "largest difference of the outputs of the analysed layers alone and of the whole network",
            within=NOT_NEGATIVE,
            better="less",
        ),
        Measure(
            "seconds",
            "time that the search took, without the compilation of kernels",
            SECONDS,
            within=NOT_NEGATIVE,
            better="less",
        ),
        METHOD,
        Note("n_sampled", "circuits that were drawn; empty where all are counted", COUNT),
        N_CIRCUITS,
        N_CIRCUITS_PARTIAL,
        THRESHOLD,
        VALID_BY,
        Note("n_found", "examples that circuits are found on", COUNT, only=JUDGED),
        Note("n_judged", "examples that circuits are judged on", COUNT, only=JUDGED),
        Note("n_listed_valid", "valid circuits that are listed, and so judged", COUNT, only=JUDGED),
    ),
)

CENSUS = TableType(
    "census",
    "Number of circuits by active neurons, edges and correct examples",
    (
        OUTPUT,
        Key("n_nodes", "active hidden neurons of the circuits", COUNT),
        Key("n_edges", "edges that the circuits keep", COUNT),
        Key(
            "n_correct",
            "examples that the circuits answer correctly; with valid_by=agreement, as the whole network does",
            COUNT,
        ),
        Note("n_circuits", "circuits with these numbers", COUNT),
    ),
)

ACCURACY = TableType(
    "accuracy",
    "How accurate the circuits of each number of edges are, valid or not",
    (
        OUTPUT,
        Key("n_edges_low", "kept edges of the circuits, at least", COUNT),
        Note("n_edges_high", "kept edges of the circuits, at most", COUNT),
        Key("accuracy_from", "the bin has right answers from this fraction of the examples", FRACTION),
        Note("accuracy_to", "the bin has right answers below this fraction; the last bin has 1, too", FRACTION),
        Note("n_circuits", "circuits of so many edges", COUNT),
        Note("share", "of these, circuits in the bin; empty where none was drawn", FRACTION, interval=True),
        Note("n_sampled", "circuits of so many edges that were drawn; empty where all are counted", COUNT),
    ),
)

EDGES = TableType(
    "edges",
    "Each edge of the full circuit, and how many valid circuits keep it",
    (
        OUTPUT,
        Key("layer", LAYER),
        Key("source", SOURCE),
        Key("target", TARGET),
        *END_NAMES,
        Note("weight", "the edge's weight"),
        Measure(
            "n_valid", "valid circuits that keep this edge; empty where a sample is drawn", COUNT, within=NOT_NEGATIVE
        ),
        Note(
            "share",
            "valid circuits that keep this edge, of all valid ones; empty without any",
            FRACTION,
            interval=True,
        ),
        Note(
            "in_every",
            "whether every valid circuit keeps this edge; empty without any, and where all valid circuits of a sample "
            "keep it",
        ),
        Note(
            "without_high",
            "95 % upper bound of the valid circuits that leave this edge out, of all valid ones; empty where one is "
            "known that does",
            FRACTION,
        ),
    ),
)

CIRCUITS = TableType(
    "circuits",
    "The circuits: all, the valid ones, or a sample of these",
    (
        *OF_CIRCUIT,
        Note(
            "minimality",
            "highest level of minimality that the valid circuit reaches: quasi, local, subset or cardinal; empty: "
            "none, or not searched",
        ),
        *JUDGED_ELSEWHERE,
        Note("contains_truth", "whether the circuit keeps every edge of the true one", only=PLANTED),
        Note("is_truth", "whether it is the true circuit", only=PLANTED),
    ),
    parquet=True,
)

SHARED = TableType(
    "shared",
    "What the valid circuits of each output, or of all together, share",
    (
        OUTPUT,
        replace(N_VALID, only=""),
        Measure(
            "n_minimal",
            "subset-minimal valid circuits; empty where not every valid circuit is listed",
            COUNT,
            within=NOT_NEGATIVE,
        ),
        *(replace(column, only="", interval=column.name in WITH_INTERVALS) for column in OF_SHARED),
        Note("backbone_edges", "the edges that all valid circuits keep, layer:source→target"),
        Note("packing_circuits", f"packing_low valid circuits of which no two share an edge: {BITS}"),
        Note("blocking_edges", "blocking_high edges of which each valid circuit keeps one, layer:source→target"),
    ),
)

OVERLAPS = TableType(
    "overlaps",
    "How many pairs of circuits overlap so much, beside chance",
    (
        OUTPUT,
        Key("which", "the circuits that are compared: valid, or minimal (the subset-minimal valid ones)"),
        Key("overlap_from", "the bin has overlaps from this one", FRACTION),
        Note("overlap_to", "the bin has overlaps below this one; the last bin has 1, too", FRACTION),
        Note("n_pairs", "unordered pairs of the compared circuits with such an overlap", COUNT),
        Note("share", "the same, of all their pairs", FRACTION),
        Note("share_chance", "the same of random circuits of the same two numbers of edges", FRACTION),
    ),
)

RECURRENCE = TableType(
    "circuits",
    "How often edges and the sparsest valid circuits recur over networks",
    (
        OUTPUT,
        Key("kind", "edge; circuit: a sparsest valid circuit of a network; commonest: the first of these"),
        Key("circuit", f"{BITS}, in the names of the first network's units"),
        Note("edges", "kept edges, layer:source→target, in the names of the first network's units"),
        Note("n_edges", "edges that the circuit keeps", COUNT),
        Note("n_with", "networks that have the circuit, or a sparsest valid circuit with this edge", COUNT),
        Note("n_networks", "networks that have a valid circuit", COUNT),
        Note(
            "share",
            "networks that have the circuit, or a sparsest valid circuit with this edge; no interval for circuits, "
            "which are chosen by it",
            FRACTION,
            interval=True,
        ),
        Note("random_share", "the same if units are matched at random, mean over 1,000 random matchings", FRACTION),
        Note("random_share_low", "2.5 % of the random matchings are below", FRACTION),
        Note("random_share_high", "97.5 % of the random matchings are below", FRACTION),
    ),
)

MATCHING = TableType(
    "matching",
    "Which units of each network are matched to those of the first",
    (
        Key("seed", "the seed of the network"),
        Key("layer", "number of the layer of neurons, from 0: those that enter the analysed layers"),
        Key("unit", "number of the first network's unit in the layer, from 0"),
        Note("matched_unit", "number of the unit of this network, from 0, that is matched to it"),
        Note(
            "correlation",
            "correlation of the two units' activations on the examples, −1 to 1; 1 where the layers have the same "
            "weights",
        ),
    ),
)

MATCHING_OF_CHECKPOINTS = replace(
    MATCHING, columns=(Key("checkpoint", "the checkpoint of the network, in short"), *MATCHING.columns[1:])
)

SHARED_BY_TWO = TableType(
    "shared",
    "What the valid circuits of two networks share, after their units are matched",
    (
        Key("network", "the first network: its seed, or its checkpoint in short"),
        Key("other", "the second network"),
        OUTPUT,
        Key(
            "what", "what is counted, or averaged; an overlap is the edges that both circuits keep, of those of either"
        ),
        Note("first", "of the first network"),
        Note("second", "of the second network"),
        Note(
            "both",
            "in common; an overlap: of one circuit of each network; empty where it isn't known, or is no such number",
        ),
        Note("share", "in common, of those of either network", FRACTION),
        Note("random", "in common if units are matched at random, mean over all matchings or 1,000 random ones"),
        Note("random_low", "2.5 % of these matchings are below"),
        Note("random_high", "97.5 % of these matchings are below"),
    ),
)

DECLARED = Declarations(
    tables=(METRICS, CENSUS, ACCURACY, EDGES, SHARED, OVERLAPS, CIRCUITS),
    summary=(
        Measure("accuracy", "the same as full_accuracy of the first output", FRACTION, within=SHARE, better="more"),
        N_CIRCUITS,
        N_VALID,
        N_CIRCUITS_PARTIAL,
        N_VALID_PARTIAL,
        THRESHOLD,
        *OF_MINIMALITY,
        *OF_PAIRS,
        *OF_SHARED,
        *OF_JUDGED,
        *OF_TRUTH,
    ),
    figures=(
        FigureType(
            "edges_*",
            "The fraction of the valid circuits that keep each edge, a panel for each layer.",
            "edges",
            of="output",
        ),
        FigureType(
            "sparsest_*",
            "The sparsest valid circuits. Solid red edges: positive weights, dashed blue ones: negative weights; wider "
            "is larger. Black neurons are active; each has its number.",
            "circuits",
            of="output",
        ),
        FigureType(
            "sparsity_*",
            "Accuracy of circuits by the fraction of neurons and edges that they leave out; colours count them.",
            "circuits",
            of="output",
            n=OF_TEST_SET,
        ),
        FigureType(
            "overlaps_*",
            "Overlaps of all pairs of valid circuits, and of the subset-minimal ones, beside random circuits of the "
            "same sizes.",
            "overlaps",
            of="output",
        ),
        FigureType(
            "sweep_circuits_*",
            "How often edges and the sparsest valid circuits recur over networks, beside random matchings.",
            "sweep_circuits",
            of="output",
            n="n_networks",
            n_of="networks",
            intervals="95 % of the share of networks; for random matchings, 95 % of the draws",
        ),
    ),
    compared=(RECURRENCE, MATCHING, MATCHING_OF_CHECKPOINTS, SHARED_BY_TWO),
)

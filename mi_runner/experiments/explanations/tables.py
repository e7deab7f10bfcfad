"""What a run of `experiment=explanations` leaves: its tables, numbers of the summary, figures. `rows` fills them."""

from __future__ import annotations

from dataclasses import replace

from mi_runner.experiments.common.circuit_columns import BITS, N_VALID, N_VALID_PARTIAL, OF_CIRCUIT, OUTPUT, PLANTED
from mi_runner.experiments.common.tables import HISTORY, summary_of_seeds
from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    SECONDS,
    Column,
    Declarations,
    FigureType,
    Key,
    Measure,
    Note,
    Repeat,
    TableType,
)
from mi_runner.tables.ranges import NOT_NEGATIVE, SHARE

ALGORITHM = Key("algorithm", "number of the algorithm, from 0; the same in all tables of the run")


def _count(name: str, meaning: str) -> Measure:
    return Measure(name, meaning, COUNT, within=NOT_NEGATIVE)


ACCURACY = Measure(
    "accuracy", "inputs for which the network's rounded output is the function's value", FRACTION, within=SHARE,
    better="more",
)  # fmt: skip
N_GROUNDINGS = _count(
    "n_groundings",
    "ways to read the neurons of the valid circuits as gates; an estimate where not all valid circuits are grounded",
)

COUNTS = (
    N_VALID,
    N_VALID_PARTIAL,
    N_GROUNDINGS,
    _count(
        "n_groundings_partial",
        "groundings of the valid circuits that leave out a hidden neuron; empty where not all are grounded",
    ),
    _count("groundings_median", "groundings of a valid circuit, median"),
    _count("groundings_max", "groundings of the circuit that has most; empty where not all are grounded"),
    _count("n_algorithms_aligned", "algorithms that have an alignment"),
    _count("n_alignments", "minimal alignments of the algorithms with the network, each node swapped alone"),
    _count("n_alignments_joint", "minimal alignments that hold with all nodes swapped together"),
)
"""The counts of a network; empty where it is not accurate enough to be analysed."""

OF_TRUTH = (
    Measure(
        "grounding_found", "whether the planted grounding is one: 1 or 0; empty behind a rotation", only=PLANTED,
        within=SHARE, better="more",
    ),
    Measure("n_other_groundings", "n_groundings without the planted one", COUNT, PLANTED, within=NOT_NEGATIVE),
    Measure(
        "alignment_found",
        "whether the planted alignment is a minimal one: 1 or 0; empty where the formula is not among the algorithms",
        only=PLANTED, within=SHARE, better="more",
    ),
    Measure("n_other_alignments", "n_alignments without the planted one", COUNT, PLANTED, within=NOT_NEGATIVE),
    Measure(
        "alignment_found_joint", "alignment_found of n_alignments_joint", only=PLANTED, within=SHARE, better="more"
    ),
    Measure(
        "n_other_alignments_joint", "n_alignments_joint without the planted one", COUNT, PLANTED, within=NOT_NEGATIVE
    ),
)  # fmt: skip
"""Whether the truth is among the explanations, and how many others are as valid."""

IS_TRUTH = Note("is_truth", "whether it is the planted one", only=PLANTED)

N_CIRCUITS = Note("n_circuits", "well-formed circuits of the network", COUNT)
N_ALGORITHMS = Note("n_algorithms", "algorithms that compute the function; not counted for a constant one", COUNT)

METRICS = TableType(
    "metrics",
    "How many explanations the network has of each output, and the controls",
    (
        Key(
            "control",
            "untrained: the network before training, with its own function; random_function: one that is trained on a "
            "random function; none: the network itself",
        ),
        OUTPUT,
        Repeat("repeat", "number of the random function, from 0"),
        Note("function", "the Boolean function that the output should compute: its name, or its truth table"),
        ACCURACY,
        Measure(
            "converged",
            "whether the network's accuracy is high enough for its explanations to be counted: 1 or 0",
            within=SHARE,
            better="more",
        ),
        *(replace(count, interval=count is N_GROUNDINGS) for count in COUNTS),
        Measure(
            "seconds",
            "time that the analysis took, without the compilation of kernels",
            SECONDS,
            within=NOT_NEGATIVE,
            better="less",
        ),
        *OF_TRUTH,
        N_CIRCUITS,
        N_ALGORITHMS,
        Note(
            "n_grounded", "valid circuits whose groundings are counted; n_groundings is exact if these are all", COUNT
        ),
    ),
)

SEEDS_SUMMARY = summary_of_seeds(METRICS)

CIRCUITS = TableType(
    "circuits",
    "The circuits, and the groundings of the valid ones",
    (
        *OF_CIRCUIT,
        replace(N_GROUNDINGS, meaning="groundings of the circuit; empty if it is not valid"),
        IS_TRUTH,
    ),
    parquet=True,
)

GROUNDINGS = TableType(
    "groundings",
    "Neurons of the circuits, read as Boolean gates",
    (
        OUTPUT,
        Key("circuit", BITS),
        Key("grounding", "number of the grounding of this circuit, from 0"),
        Key("neuron", "the neuron: h1.0 is the first of the first hidden layer"),
        Note("threshold", "the neuron is read as 1 above it"),
        Note("gate", "the Boolean gate that the neuron is read as"),
        Note("inputs", "the neurons or inputs that enter the gate"),
        IS_TRUTH,
    ),
)

ALGORITHMS = TableType(
    "algorithms",
    "Every algorithm that computes the function, and how many alignments it has",
    (
        OUTPUT,
        ALGORITHM,
        Note("formula", "the algorithm as a formula of the inputs"),
        Note("depth", "gates on the longest way through the algorithm", COUNT),
        Note("n_gates", "gates of the algorithm", COUNT),
        Note("inert", "whether a node is constant, or can't change the answer"),
        IS_TRUTH,
        _count("n_alignments", "minimal alignments of the algorithm with the network, each node swapped alone"),
        _count("n_alignments_joint", "minimal alignments that hold with all nodes swapped together"),
    ),
)

ALIGNMENTS = TableType(
    "alignments",
    "Where the nodes of each aligned algorithm are in the network",
    (
        OUTPUT,
        ALGORITHM,
        Key("joint", "whether the nodes are also swapped together, not only one by one"),
        Key("alignment", "number of the alignment of this algorithm, from 0"),
        Key("node", "number of the node of the algorithm, from 0"),
        Note("formula", "what the node of the algorithm computes"),
        Note("layer", "number of the layer of neurons, from 1, the first hidden layer"),
        Note("neurons", "numbers of the layer's neurons that the node is placed in"),
        IS_TRUTH,
    ),
)

SUMMARY: tuple[Column, ...] = (ACCURACY, N_CIRCUITS, N_ALGORITHMS, *COUNTS, *OF_TRUTH)
"""Of the first output; with many seeds means over the networks."""

DECLARED = Declarations(
    tables=(
        METRICS,
        CIRCUITS,
        GROUNDINGS,
        ALGORITHMS,
        ALIGNMENTS,
        METRICS.of_seeds(),
        SEEDS_SUMMARY,
        HISTORY.of_seeds(),
    ),
    summary=SUMMARY,
    figures=(
        FigureType("groundings_*", "How many groundings the valid circuits have.", "circuits", of="output"),
        FigureType(
            "circuit_*",
            "The sparsest valid circuit with a grounding: at each neuron the gate that joins those before it. Solid "
            "red edges: positive weights, dashed blue ones: negative weights.",
            "groundings",
            of="output",
        ),
        FigureType(
            "alignment_*",
            "An alignment of an algorithm with the network: neurons carry the node of their colour and number. Solid "
            "red edges: positive weights, dashed blue ones: negative weights.",
            "alignments",
            of="output",
        ),
        FigureType(
            "seeds", "Counts of valid circuits, groundings and alignments, as fractions of the networks.", "metrics"
        ),
    ),
)

"""Columns that say what a circuit is and how good it is: those of `methods.circuits.table`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mi_runner.tables.declaration import COUNT, FRACTION, Key, Measure, Note
from mi_runner.tables.ranges import NOT_NEGATIVE, SHARE

if TYPE_CHECKING:
    from mi_runner.graph.chain import Part

JUDGED = "where circuits are judged on other examples than those that they are found on"

OUTPUT = Key("output", "number of the output that is analysed, from 0; all: outputs that are classes, together")

BITS = "the kept edges as bits, the first edge of the first layer lowest"

LAYER = "number of the layer of edges among those that are analysed, from 0"

SOURCE = "number of the neuron that the edge comes from, from 0"

TARGET = "number of the neuron that the edge goes to, from 0"

PLANTED = "where the truth about the network is known"

NAMED = "where the inputs or the outputs of the analysed layers have names"

END_NAMES = (
    Note("source_name", "name of the input that the edge comes from; empty: a hidden neuron", only=NAMED),
    Note("target_name", "name of the class or target that the edge goes to; empty: a hidden neuron", only=NAMED),
)
"""What tables of edges have besides the numbers of an edge's ends."""


def end_names(part: Part, layer: int, source: int, target: int) -> dict[str, str | None]:
    """Returns the columns with the names of an edge's ends; none where no neuron has a name.

    Args:
        layer, source, target: as the tables have them.
    """
    if not part.has_names:
        return {}
    return {"source_name": part.name(layer, source), "target_name": part.name(layer + 1, target)}


OF_CIRCUIT = (
    OUTPUT,
    Key("circuit", f"{BITS}; of more than 64 edges decimal digits, a text"),
    Measure(
        "accuracy",
        "examples for which the circuit's answer is the label, of those that it is found on",
        FRACTION,
        within=SHARE,
        better="more",
    ),
    Note("agreement", "examples for which the circuit's answer equals the full network's", FRACTION),
    Note("mse", "mean squared difference of the circuit's output to the full network's; of several outputs their mean"),
    Note("n_nodes", "active hidden neurons", COUNT),
    Note("n_edges", "edges that the circuit keeps", COUNT),
    Note(
        "node_sparsity",
        "hidden neurons that the circuit leaves out; empty where the layers have no hidden neuron",
        FRACTION,
    ),
    Note("edge_sparsity", "edges that the circuit leaves out", FRACTION),
    Note("sparsity", "hidden neurons and edges that the circuit leaves out", FRACTION),
    Note("valid", "whether the circuit is valid, by the rule that valid_by of metrics.csv names"),
)
"""What the table of a search has of each circuit."""

JUDGED_ELSEWHERE = (
    Note(
        "judged_accuracy",
        "accuracy of the circuit on the examples that it is judged on",
        FRACTION,
        only=JUDGED,
        interval=True,
    ),
    Note("judged_agreement", "agreement on the examples that the circuit is judged on", FRACTION, only=JUDGED),
    Note("judged_mse", "mse on the examples that the circuit is judged on", only=JUDGED),
    Note("judged_valid", "whether the circuit is valid on the examples that it is judged on", only=JUDGED),
)
"""What it has besides of circuits that are judged on other examples."""

N_VALID = Measure("n_valid", "valid circuits", COUNT, within=NOT_NEGATIVE)
N_VALID_PARTIAL = Measure(
    "n_valid_partial", "valid circuits that leave out a hidden neuron", COUNT, within=NOT_NEGATIVE
)

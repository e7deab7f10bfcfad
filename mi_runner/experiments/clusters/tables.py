"""What a run of `experiment=clusters` leaves: its tables, numbers of the summary, figures. `rows` fills them."""

from __future__ import annotations

from dataclasses import replace

from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    NATS,
    OF_TEST_SET,
    Declarations,
    FigureType,
    Key,
    Measure,
    Note,
    Repeat,
    TableType,
    share,
)
from mi_runner.tables.ranges import NOT_NEGATIVE, SHARE

NETWORK = Key("network", "clustered: trained for clusters; twin: trained from the same weights without")
LAYER = Key("layer", "the site of the units")
UNIT = Key("unit", "number of the unit in its layer, from 0")
PRUNED_FOR = Key("class", "the class that the network is pruned for")


def _loss(name: str, meaning: str) -> Measure:
    return Measure(name, meaning, NATS, within=NOT_NEGATIVE, better="less")


METRICS = TableType(
    "metrics",
    "Accuracy of each network with each cluster switched off, and with all others switched off",
    (
        NETWORK,
        Key("partition", "the clusters: trained, or random units in clusters of the same sizes as a control"),
        Repeat("repeat", "number of the random partition, from 1; 0: the trained one"),
        Key("state", "full: nothing is switched off; off: the cluster is; on: all other clusters are"),
        Key("cluster", "the cluster, from 0; none: no cluster is switched off"),
        Key("class", "the class of the examples; all: every class"),
        Note("n", "test examples", COUNT),
        share("accuracy", "test examples whose predicted label is correct", interval=True),
    ),
)

CLUSTERABILITY = share("clusterability", "the clustered layer's squared weights that are inside clusters")
KEPT_EDGES = Measure(
    "kept_edges",
    "edges that are kept when the network is pruned for a class, mean over the classes",
    COUNT,
    within=NOT_NEGATIVE,
    better="less",
)

OF_NETWORK = (
    share("accuracy", "test examples whose predicted label is correct"),
    CLUSTERABILITY,
    share(
        "interpretability",
        "one minus the mean fraction of the classes that are among a unit's top images, mean over the hidden layers",
    ),
    share("pruned_share", "parameters of the network that are outside a cluster, mean over the clusters"),
    KEPT_EDGES,
)
"""What the table `networks` and the summary have of a network."""

NETWORKS = TableType(
    "networks",
    "The two networks, side by side",
    (NETWORK, replace(OF_NETWORK[0], interval=True), *OF_NETWORK[1:]),
)

CLUSTERS = TableType(
    "clusters",
    "Each cluster, with accuracy when it is switched off and when all others are",
    (
        NETWORK,
        Key("cluster", "the cluster, from 0"),
        Note("n_outputs", "output units of the layer that are in the cluster", COUNT),
        Note("n_inputs", "input units of the layer that are in the cluster", COUNT),
        share("pruned_share", "parameters of the network that are outside the cluster"),
        Measure("off", "accuracy with the cluster switched off", FRACTION, within=SHARE, interval=True),
        Measure(
            "off_random",
            "accuracy with a cluster of a random partition switched off, mean over these",
            FRACTION,
            within=SHARE,
        ),
        Measure("on", "accuracy with all other clusters switched off", FRACTION, within=SHARE, interval=True),
        Measure(
            "on_random",
            "accuracy with all but a cluster of a random partition switched off, mean over these",
            FRACTION,
            within=SHARE,
        ),
    ),
)

LAYERS = TableType(
    "layers",
    "How many classes the units of each layer stand for",
    (
        LAYER,
        NETWORK,
        Note("role", "hidden or logits"),
        Note("n_units", "units of the layer", COUNT),
        Measure(
            "mean_distinct",
            "classes among a unit's top images, mean over the units",
            COUNT,
            within=NOT_NEGATIVE,
            better="less",
        ),
        share("interpretability", "one minus the mean fraction of the classes that are among a unit's top images"),
    ),
)

UNITS = TableType(
    "units",
    "Which classes are among the top images of each unit",
    (
        NETWORK,
        LAYER,
        UNIT,
        Note("cluster", "the cluster of the unit, from 0; empty: the layer has none"),
        Note("distinct", "classes among the unit's top images", COUNT),
        Note("top_class", "the commonest class among the unit's top images"),
        Note("top_share", "the unit's top images that are of top_class", FRACTION),
        Note("classes", "the classes of the unit's top images, each with its number of images"),
    ),
)

UNIT_IMAGES = TableType(
    "unit_images",
    "The images with the largest activations of each unit",
    (
        NETWORK,
        LAYER,
        UNIT,
        Key("rank", "place of the image among the unit's top images, from 1, the largest activation"),
        Note("index", "index of the image in the test set"),
        Note("class", "the class of the image"),
        Note("activation", "the unit's activation on the image"),
    ),
)

PRUNING = TableType(
    "pruning",
    "What is left after pruning for each class",
    (
        NETWORK,
        PRUNED_FOR,
        Key("layer", "the layer whose edges are counted; all: every layer that is pruned, with the measures"),
        Note("n_edges", "edges of the layers that are pruned", COUNT),
        Measure("kept", "edges that are kept", COUNT, within=NOT_NEGATIVE, better="less"),
        _loss("criterion_before", "the criterion of pruning on its training examples, of the full network"),
        _loss("criterion_after", "the criterion of pruning on its training examples, of the pruned network"),
        share("class_accuracy", "test examples of the class whose label the pruned network predicts", interval=True),
        _loss("loss_before", "mean loss of the full network on the test examples"),
        _loss("loss_after", "mean loss of the pruned network on the test examples"),
        share("accuracy_before", "test examples whose label the full network predicts"),
        share("accuracy", "test examples whose label the pruned network predicts", interval=True),
        share("rejected_others", "test images of other classes that the pruned network doesn't take for the class"),
    ),
)

PRUNED_CLASSES = TableType(
    "pruned_classes",
    "Loss and accuracy on each class after pruning for a class",
    (
        NETWORK,
        PRUNED_FOR,
        Key("test_class", "the class of the test examples"),
        Note("n", "test examples of the test class", COUNT),
        _loss("loss_before", "mean loss of the full network on the test examples of the test class"),
        _loss("loss_after", "mean loss of the pruned network on the test examples of the test class"),
        share("accuracy_before", "test examples of the test class whose label the full network predicts"),
        share("accuracy", "test examples of the test class whose label the pruned network predicts", interval=True),
    ),
)

HISTORY = TableType(
    "history",
    "Training of both networks, epoch by epoch",
    (
        NETWORK,
        Key("epoch", "passes over the training examples so far", COUNT),
        Note("loss", "mean training loss of the epoch, with the regularizer", NATS),
        Note(
            "cross_entropy",
            "mean cross entropy on the training examples during the epoch, without the regularizer",
            NATS,
        ),
        CLUSTERABILITY,
        Note("test_loss", "mean loss on the test set after the epoch", NATS),
        Note("test_accuracy", "test examples whose predicted label is correct, after the epoch", FRACTION),
    ),
)

DECLARED = Declarations(
    tables=(METRICS, NETWORKS, CLUSTERS, LAYERS, UNITS, UNIT_IMAGES, PRUNING, PRUNED_CLASSES, HISTORY),
    summary=(
        *OF_NETWORK,
        Measure(
            "complexity_reduction",
            "edges that the twin keeps for a class, divided by those that the clustered network keeps",
            within=NOT_NEGATIVE,
            better="more",
        ),
    ),
    figures=(
        FigureType(
            "weights", "The size of each weight of the clustered layer; lighter is larger, and the clusters are framed."
        ),
        FigureType(
            "edges",
            "The networks' units and the largest weights between them, before and after training: solid red positive, "
            "dashed blue negative, wider is larger. Units of one colour are one cluster.",
        ),
        FigureType(
            "off_on",
            "Accuracy in per cent, of all test examples and of each class, with each cluster off, and with all others "
            "off (on).",
            "metrics",
            n="n",
        ),
        FigureType(
            "distinct_classes",
            "How many classes a unit's top images have: units by this number, and below the cumulative fraction.",
            "units",
        ),
        FigureType(
            "training",
            "Clusterability of the clustered layer and test accuracy by epoch, of both networks.",
            "history",
            n=OF_TEST_SET,
        ),
        FigureType(
            "units_*",
            "The test images with the largest activations of each unit, by cluster.",
            "unit_images",
            of="network and layer",
        ),
    ),
)
"""Tables in the order of the files of a run."""

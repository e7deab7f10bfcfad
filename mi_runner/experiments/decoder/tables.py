"""What a run of `experiment=decoder` leaves: its tables, numbers of the summary, figures. `rows` fills them."""

from __future__ import annotations

from dataclasses import replace

from mi_runner.tables.declaration import COUNT, FRACTION, NATS, Declarations, FigureType, Key, Measure, Note, TableType
from mi_runner.tables.ranges import NOT_NEGATIVE, SHARE, Range

EXAMPLE_NUMBER, EXAMPLE, FOLD, DECODED = "example_number", "example", "fold", "{}_decoded"
"""Columns of answers.csv besides the variables."""

CONTROL = Key(
    "control",
    "none: the decoder itself; untrained: a decoder of the untrained network's activations; shuffled: of shuffled "
    "labels; linear: a linear probe",
)
WHAT = Key(
    "decoded", "what is decoded: a variable, all variables together, or the network's own predicted label (predicted)"
)
OF_FOLD = Key(FOLD, "number of the decoder, which did not see the examples of this fold, from 0")

NETWORK = Key("network", "the network: trained, or untrained")
SITE = Key("site", "the site, a row of the activation image; all: the whole image")
BY = Key("by", "the variable that the inputs are grouped by; input: each input is a group")

CORRECT = Measure(
    "accuracy", "held-out examples of which the value is decoded", FRACTION, within=SHARE, better="more", interval=True
)
TARGET_ACCURACY = Measure(
    "target_accuracy", "accuracy of the network that is decoded, on the test examples", FRACTION, within=SHARE,
    better="more",
)  # fmt: skip
SHARED_IMAGES = Measure(
    "shared_images",
    "distinct activation images of held-out examples that are also a training example's",
    COUNT,
    within=NOT_NEGATIVE,
    better="less",
)

METRICS = TableType(
    "metrics",
    "How well each variable is decoded from activations that the decoder was not trained on, and by controls",
    (
        CONTROL,
        Key("site", "the activations that are read: a site of a linear probe; all: the whole activation image"),
        WHAT,
        CORRECT,
        Measure(
            "train_accuracy",
            "distinct training examples of which the value is decoded, mean over the folds",
            FRACTION,
            within=SHARE,
            better="more",
        ),
        TARGET_ACCURACY,
        Measure(
            "chance",
            "accuracy on held-out examples of always answering the value that is commonest in training",
            FRACTION,
            within=SHARE,
        ),
        SHARED_IMAGES,
        Measure(
            "test_loss",
            "mean cross entropy on the held-out examples; all: the sum over the variables",
            NATS,
            within=NOT_NEGATIVE,
            better="less",
        ),
        Note("n", "held-out examples", COUNT),
    ),
)

KERNELS = TableType(
    "kernels",
    "The decoder's kernels",
    (
        OF_FOLD,
        Key("kernel", "number of the kernel, from 0"),
        Key("row", "row of the kernel, from 0"),
        Key("column", "column of the kernel, from 0"),
        Note("weight", "the weight"),
    ),
)

ANSWERS = TableType(
    "answers",
    "What the decoder reads from the activations of each example that it was not trained on",
    (
        Key(EXAMPLE_NUMBER, "number of the distinct example, from 0"),
        Note(EXAMPLE, "the example as text"),
        Note(FOLD, "number of the decoder that did not see this example in training, from 0"),
        Note("*", "the value of this variable; predicted: the network's own predicted label"),
        Note("*_decoded", "what the decoder reads for this variable"),
    ),
)

SITES = TableType(
    "sites",
    "The sites that are the rows of the activation image",
    (
        Key("row", "row of the activation image, from 0, the top one"),
        Note("site", "the site whose units are in the row"),
        Note("units", "units of the site", COUNT),
        Note("padding", "zeros that are added so that all rows of the image are equally long", COUNT),
    ),
)

SEPARATION = TableType(
    "separation",
    "How well the activations separate the values of each variable",
    (
        NETWORK,
        SITE,
        replace(BY, meaning="the variable whose values are separated"),
        Measure("within", "mean distance of two inputs with the same value", within=NOT_NEGATIVE),
        Measure("between", "mean distance of two inputs with different values", within=NOT_NEGATIVE),
        Measure("ratio", "between divided by within", within=NOT_NEGATIVE, better="more"),
    ),
)

DISTANCES = TableType(
    "distances",
    "Distances of activation images between inputs, and between values of a variable",
    (
        NETWORK,
        SITE,
        BY,
        Key("first", "the first of the two that are compared: a value of the variable, or the number of an input"),
        Key("second", "the second of the two"),
        Measure("distance", "mean Euclidean distance of the activation images of the pairs", within=NOT_NEGATIVE),
        Note("pairs", "pairs of inputs", COUNT),
    ),
)

LAYER_SIMILARITY = TableType(
    "layer_similarity",
    "How alike two sites arrange the inputs",
    (
        NETWORK,
        replace(SITE, meaning="the site"),
        Key("other_network", "the network of the other site: trained, or untrained"),
        Key("other_site", "the other site"),
        Measure(
            "similarity",
            "Pearson correlation of the distances of pairs of inputs at the two sites, −1 to 1",
            within=Range(-1.0, 1.0),
        ),
    ),
)

DECODER_HISTORY = TableType(
    "decoder_history",
    "The decoder's training, epoch by epoch",
    (
        CONTROL,
        replace(WHAT, meaning="what the decoder learns: all variables, or the network's predicted label (predicted)"),
        OF_FOLD,
        Key("epoch", "passes over the decoder's training examples so far", COUNT),
        Note("loss", "cross entropy on the training examples during the epoch, the sum over the variables", NATS),
        Measure(
            "test_loss",
            "cross entropy on the held-out examples after the epoch, the sum over the variables",
            NATS,
            within=NOT_NEGATIVE,
            better="less",
        ),
        replace(
            CORRECT, meaning="held-out examples of which every variable is decoded, after the epoch", interval=False
        ),
    ),
)

DECLARED = Declarations(
    tables=(
        METRICS,
        KERNELS,
        ANSWERS,
        SITES,
        SEPARATION,
        DISTANCES,
        LAYER_SIMILARITY,
        DECODER_HISTORY,
    ),
    summary=(
        TARGET_ACCURACY,
        Measure("n_images", "different activation images", COUNT, within=NOT_NEGATIVE),
        SHARED_IMAGES,
        Measure(
            "test_loss",
            "cross entropy of the decoder on the held-out examples, the sum over the variables",
            NATS,
            within=NOT_NEGATIVE,
            better="less",
        ),
        replace(CORRECT, interval=False),
    ),
    figures=(
        FigureType("kernels", "The weights of the decoder's kernels: blue negative, red positive.", "kernels"),
        FigureType(
            "filtered",
            "Activation images of held-out inputs, what each kernel of the decoder sees, and the tanh of the largest.",
        ),
        FigureType(
            "layers",
            "Accuracy of what linear probes decode from each layer and from all, and of the decoder; dotted: always "
            "the commonest value.",
            "metrics",
            n="n",
            n_of="held-out examples",
            intervals="95 %, Wilson's",
        ),
        FigureType(
            "distances",
            "Distances of activation images between inputs, divided by their mean at each site.",
            "distances",
        ),
        FigureType(
            "layer_similarity",
            "How alike two sites arrange the inputs: the correlation of the distances between inputs.",
            "layer_similarity",
        ),
    ),
)

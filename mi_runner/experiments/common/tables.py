"""Tables that several experiments have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    LOSS,
    OF_TEST_SET,
    Column,
    FigureType,
    Key,
    Note,
    Row,
    Rows,
    Table,
    TableType,
)

if TYPE_CHECKING:
    from mi_runner.datasets.outputs import Outputs
    from mi_runner.tables.columns import Columns

VALUES = "where labels are values"

OF_OUTPUTS = {
    "values": VALUES,
    "logits": "where labels are classes",
    "probabilities": "where the network's outputs are probabilities",
    "logit": "where one logit answers two classes",
    "probability": "where one probability answers two classes",
}
"""What the outputs are, by their name → which runs have their columns. A page of a saved run reads it without torch."""

LABEL = "the label in the data: the number of a class, or a value, rounded"

PREDICTED = "the predicted label: the number of a class, or the output, rounded"

PREDICTIONS = TableType(
    "predictions",
    "The network's answer on each test example",
    (
        Key("example", "index of the example in the test set"),
        Note("label", LABEL),
        Note("answer", PREDICTED),
        Note("logit_*", "the network's output for the class of this number", only=OF_OUTPUTS["logits"]),
        Note("output", "the network's output", only=VALUES),
        Note(
            "logit",
            "the network's output; above 0 the answer is the second class",
            only=OF_OUTPUTS["logit"],
        ),
        Note(
            "probability_*",
            "the network's output for the class of this number",
            FRACTION,
            only=OF_OUTPUTS["probabilities"],
        ),
        Note(
            "probability",
            "the network's output, the probability of the second class; above ½ it is the answer",
            FRACTION,
            only=OF_OUTPUTS["probability"],
        ),
    ),
    parquet=True,
)

NAMED_CLASSES = "where classes have names besides their numbers"

CONFUSION = TableType(
    "confusion",
    "How often the network answers a test example of one label with another",
    (
        Key("label", LABEL),
        Key("predicted", PREDICTED),
        Note("label_name", "the name of the label's class", only=NAMED_CLASSES),
        Note("predicted_name", "the name of the predicted class", only=NAMED_CLASSES),
        Note("count", "test examples", COUNT),
    ),
)

CONFUSION_FIGURE = FigureType(
    "confusion",
    "Labels (down) and predicted labels (across) of the test examples, coloured by the shares of a label: blue, "
    "correct; red, mistakes.",
    "confusion",
    n=OF_TEST_SET,
)

TRUTH = TableType(
    "truth",
    "The edges of the planted circuit, and which nodes of the formula their ends carry",
    (
        Key("layer", "number of the Linear layer, from 0"),
        Key("source", "number of the neuron that the edge comes from, from 0"),
        Key("target", "number of the neuron that the edge goes to, from 0"),
        Note("weight", "the edge's weight"),
        Note("source_node", "the node that the source carries, as a formula; empty behind a rotation"),
        Note("node", "the node that the target carries, as a formula; of the output the whole formula"),
        Note(
            "gate",
            "what the target is: and, nimp (a ∧ ¬b), converse_nimp (¬a ∧ b), nor, a value's carrier, rotated, output",
        ),
        Note("copy", "number of the target's copy, from 0"),
        Note("is_inert", "whether the target's node is constant, or can't change the answer"),
    ),
)

REGULARIZED, STOPPED = "where training has a regularizer", "where training.stop_loss is given"
HELD_OUT = "where training.stop_steps is given"

MEASURED = {
    "clusterability": "the regularizer's measure after the epoch: share of the layer's squared weights inside clusters",
    "l1": "the regularizer's measure after the epoch: sum of the absolute weights of all layers",
    "orthogonality": "the regularizer's measure after the epoch: how far the hidden layers are from orthogonal ones",
}
"""Regularizer → its column of the history."""

HISTORY = TableType(
    "history",
    "Training, epoch by epoch",
    (
        Key("epoch", "passes over the training examples so far", COUNT),
        Note(
            "steps", "training steps of the epoch; the last epoch may end before its examples do", COUNT, only=HELD_OUT
        ),
        Note("loss", "mean training loss of the epoch, without a regularizer", LOSS),
        Note("penalty", "the regularizer's addition to the loss, mean over the epoch's steps", only=REGULARIZED),
        *(Note(name, meaning, only=f"where training.regularizer={name}") for name, meaning in MEASURED.items()),
        Note("test_loss", "mean loss on the test set after the epoch", LOSS),
        Note("test_accuracy", "test examples whose predicted label is correct, after the epoch", FRACTION),
        Note(
            "held_out_accuracy",
            "held-out examples whose predicted label is correct, after the epoch",
            FRACTION,
            only=HELD_OUT,
        ),
        Note(
            "best_held_out_accuracy",
            "largest such fraction after any step so far",
            FRACTION,
            only=HELD_OUT,
        ),
        Note("stopped", "whether training ends after training.stop_steps without a better one", only=HELD_OUT),
        Note("reached", "whether the training loss has reached training.stop_loss", only=STOPPED),
    ),
)


def where_trained(rows: Sequence[Row]) -> list[str]:
    """Returns which columns of a training's history some runs only have: those of its regularizer and its end."""
    columns = set().union(*rows)
    where = [f"where training.regularizer={name}" for name in MEASURED if name in columns]
    marks = (("penalty", REGULARIZED), ("reached", STOPPED), ("stopped", HELD_OUT))
    return [*where, *(of_some for column, of_some in marks if column in columns)]


def of_training(rows: Sequence[Row], of: TableType = HISTORY) -> Table:
    """Returns the table of a training's history."""
    return of.filled(rows, *where_trained(rows))


def of_confusion(rows: Sequence[Row], class_names: Sequence[str] | None, of: TableType = CONFUSION) -> Table:
    """Returns the table of labels and predicted labels, with the names of classes that have more than numbers.

    Args:
        rows: with label, predicted and count.
    """
    if class_names is None or list(class_names) == [str(number) for number in range(len(class_names))]:
        return of.filled(rows)
    named = [
        {
            **{column: value for column, value in row.items() if column != "count"},
            "label_name": class_names[row["label"]],
            "predicted_name": class_names[row["predicted"]],
            "count": row["count"],
        }
        for row in rows
    ]
    return of.filled(named, NAMED_CLASSES)


def of_answers(rows: Rows | Columns, kind: Outputs, of: TableType = PREDICTIONS) -> Table:
    """Returns the table of answers, whose last columns are named after what the network's outputs are."""
    return of.filled(rows, OF_OUTPUTS[kind.name])


# --- many seeds ------------------------------------------------------------------------------------------------------


def summary_of_seeds(of: TableType) -> TableType:
    """Returns the type of a table's summary over seeds, with the columns that name a row of one seed."""
    return TableType(
        "seeds_summary",
        "Spread over the networks of all seeds",
        (
            *(column for column in of.columns if isinstance(column, Key)),
            Key("measure", "the measure that is summarised"),
            Note("n", "networks that have a value", COUNT),
            Note("mean", "mean over the networks"),
            Note("sd", "standard deviation over the networks; empty for one network"),
            Note("low", "lower end of the 95 % interval of the mean"),
            Note("high", "upper end of the 95 % interval of the mean"),
            Note("min", "smallest value of a network"),
            Note("max", "largest value of a network"),
        ),
    )


OF_SEEDS = "where a run has many seeds"

SPREAD = {
    "sd": "standard deviation over the networks of {}",
    "low": "lower end of the 95 % interval of the mean of {}",
    "high": "upper end of the 95 % interval of the mean of {}",
    "min": "smallest {} of a network",
    "max": "largest {} of a network",
}
"""What the summary of many seeds says about a measure besides its mean → its meaning."""


def with_spread(*measures: Column) -> tuple[Column, ...]:
    """Returns numbers of the summary, and behind them what a run with many seeds has of each: `accuracy_sd`."""
    spread = (
        Note(f"{measure.name}_{end}", meaning.format(measure.name), measure.unit, only=OF_SEEDS)
        for measure in measures
        for end, meaning in SPREAD.items()
    )
    return (*measures, *spread)


ACCURACY = "examples whose predicted label is correct"

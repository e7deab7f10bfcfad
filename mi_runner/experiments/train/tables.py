"""What a run of `experiment=train` leaves: its tables, the numbers of its summary, its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mi_runner.experiments.common.tables import (
    ACCURACY,
    CONFUSION,
    CONFUSION_FIGURE,
    HISTORY,
    PREDICTIONS,
    summary_of_seeds,
    with_spread,
)
from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    LOSS,
    OF_TEST_SET,
    Declarations,
    FigureType,
    Key,
    Measure,
    Note,
    TableType,
)
from mi_runner.tables.ranges import NOT_NEGATIVE, SHARE

if TYPE_CHECKING:
    from mi_runner.training.evaluation import Score

METRICS = TableType(
    "metrics",
    "Accuracy and loss on both splits, and on the test examples of each class",
    (
        Key("split", "the examples: train or test"),
        Key("class", "the class of the examples; all: every class"),
        Note("n", "examples", COUNT),
        Measure("accuracy", ACCURACY, FRACTION, within=SHARE, better="more", interval=True),
        Measure("loss", "mean loss", LOSS, within=NOT_NEGATIVE, better="less"),
    ),
)

SEEDS_SUMMARY = summary_of_seeds(METRICS)

SUMMARY = (
    Measure("accuracy", "test examples whose label is predicted", FRACTION, within=SHARE, better="more"),
    Measure("loss", "mean loss on the test examples", LOSS, within=NOT_NEGATIVE, better="less"),
    Measure("train_accuracy", "training examples whose label is predicted", FRACTION, within=SHARE, better="more"),
    Measure("train_loss", "mean loss on the training examples", LOSS, within=NOT_NEGATIVE, better="less"),
)

DECLARED = Declarations(
    tables=(
        METRICS,
        HISTORY,
        CONFUSION,
        PREDICTIONS,
        *(table.of_seeds() for table in (METRICS, HISTORY, CONFUSION)),
        SEEDS_SUMMARY,
    ),
    summary=with_spread(*SUMMARY),
    figures=(
        CONFUSION_FIGURE,
        FigureType(
            "history",
            "Loss on training and test examples, and test accuracy, by epoch of training; dotted: always the commonest "
            "class.",
            "history",
            n=OF_TEST_SET,
        ),
        FigureType(
            "mistakes",
            "Test examples whose predicted label is wrong: label, predicted label, and the logits of the two.",
            "predictions",
        ),
        FigureType("classes", "Mean test image of each class, and the variance of each pixel."),
        FigureType(
            "seeds",
            "Test accuracy of each network; dashed: their mean, shaded: its interval; and the accuracy by epoch.",
            "metrics",
            n=OF_TEST_SET,
            intervals="95 %, Wilson's for each network, and of the mean over networks",
        ),
    ),
)


def metrics_row(split: str, of_class: str, score: Score) -> dict[str, Any]:
    """Returns the row of the examples of a class of a split."""
    return {"split": split, "class": of_class, "n": score.n, **score.columns()}

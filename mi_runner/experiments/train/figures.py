"""Figures of a trained network, or of many: rows in, matplotlib figures out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mi_runner.experiments import Drawing
from mi_runner.experiments.common import drawing
from mi_runner.machine import layout
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row
from mi_runner.tables.names import ALL

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from mi_runner.datasets import Dataset

MOST_MISTAKES = 25

MOST_CLASSES = 20
"""Classes whose mean image is drawn."""


def history(rows: Sequence[Row], floor: float | None = None) -> Figure:
    """Returns a figure of loss and test accuracy by epoch.

    Args:
        rows: of history.csv.
        floor: the accuracy of always predicting the commonest class, which is drawn, too; None: there is none.
    """
    figure, panels = layout.panels(1, 2, (4, 2.2 if layout.is_narrow(4) else 3.2))
    left, right = panels[0]
    epochs = [row["epoch"] for row in rows]
    for number, (column, name) in enumerate((("loss", "training"), ("test_loss", "test"))):
        left.plot(epochs, [row[column] for row in rows], **styles.style(number).line, markersize=4, label=name)
    left.set(xlabel="epoch", ylabel="loss")
    right.plot(epochs, [row["test_accuracy"] for row in rows], **styles.style(1).line, markersize=4)
    right.set(xlabel="epoch", ylabel="test accuracy")
    if floor is not None:
        right.axhline(floor, color=drawing.REFERENCE, linestyle=":", linewidth=1, label="commonest class alone")
    for axes in (left, right):
        layout.whole_numbers(axes.xaxis)
        drawing.tidy(axes)
    if layout.given_width() is None:
        for axes in (left, right) if floor is not None else (left,):
            axes.legend(frameon=False)
    else:
        layout.key_below(figure, layout.labelled(left, right))
    return figure


def mistakes(dataset: Dataset, outputs: Tensor) -> dict[str, Drawing]:
    """Returns the first misclassified test images; no figure without images or mistakes.

    Above each image are its label and predicted label, and below them the logits of these two.

    Args:
        outputs: `(N, K)`, those of the test examples.
    """
    predicted = dataset.outputs.answers(outputs)
    logits_of = dataset.outputs.class_logits(outputs)
    wrong = predicted != dataset.y_test
    index = wrong.nonzero().squeeze(1)[:MOST_MISTAKES].tolist()
    if dataset.image_shape is None or dataset.class_names is None or not index:
        return {}
    names = dataset.class_names
    pictures, captions = [], []
    for example in index:
        label, answer, logits = int(dataset.y_test[example]), int(predicted[example]), logits_of[example].tolist()
        pictures.append(drawing.picture(dataset.x_test[example].reshape(dataset.image_shape)))
        captions.append(
            f"{names[label]}, read as {names[answer]}\nlogits {logits[label]:.1f}, {logits[answer]:.1f}",
        )
    title = f"{len(index)} of {int(wrong.sum())} mistakes on the test set: label, predicted label, logits of the two"
    return {"mistakes": partial(drawing.mosaic, pictures, captions, title, cmap="gray")}


def class_images(dataset: Dataset) -> dict[str, Drawing]:
    """Returns a figure of the mean image of each class, and of the variance of each pixel; no figure without images.

    They are those of the test set, in the units of the network's inputs; the variance is that of the class's images
    around its mean image, divided by their count. With three channels the variance is the mean over the channels.
    """
    if dataset.image_shape is None or dataset.class_names is None:
        return {}
    means, variances, names = [], [], []
    for label in dataset.y_test.unique().tolist()[:MOST_CLASSES]:
        images = dataset.x_test[dataset.y_test == label].reshape(-1, *dataset.image_shape)
        means.append(drawing.picture(images.mean(0)))
        variances.append(images.var(0, correction=0).cpu().mean(0).numpy())
        names.append(dataset.class_names[label])
    shown = "" if len(names) == len(dataset.class_names) else f": {len(names)} of {len(dataset.class_names)}"
    strips = [("mean image", means, "gray"), ("variance of each pixel", variances, "viridis")]
    return {"classes": partial(drawing.strips, strips, names, f"classes of the test set{shown}")}


def many_seeds(rows: Sequence[Row], summary: Sequence[Row], history: Sequence[Row]) -> Figure:
    """Returns a figure of each seed's test accuracy with its interval, and of the accuracy by epoch.

    A band shows the interval of the mean.

    Args:
        rows, summary, history: the rows of metrics.csv, seeds_summary.csv, history.csv of a run with many seeds.
    """
    figure, panels = layout.panels(1, 2, (5, 2.4 if layout.is_narrow(6) else 3.4), least=2.5, ratios=(2, 1))
    left, right = panels[0]
    tested = [row for row in rows if (row["split"], row["class"]) == ("test", ALL)]
    seeds, accuracies = [row["seed"] for row in tested], [row["accuracy"] for row in tested]
    bounds = [
        [row["accuracy"] - row["accuracy_low"] for row in tested],
        [row["accuracy_high"] - row["accuracy"] for row in tested],
    ]
    left.errorbar(seeds, accuracies, bounds, fmt="o", markersize=3, color=styles.BLUE, elinewidth=0.8)
    (overall,) = [row for row in summary if (row["split"], row["class"], row["measure"]) == ("test", ALL, "accuracy")]
    left.axhline(overall["mean"], color=drawing.REFERENCE, linestyle="--", linewidth=1)
    if overall["low"] is not None:
        left.axhspan(overall["low"], overall["high"], color=drawing.REFERENCE, alpha=0.15, linewidth=0)
    own = ", with its own" if overall["low"] is not None else ""
    left.set_title(f"each network with its 95 % interval; dashed: the mean of {overall['n']}{own}", fontsize=9)
    left.set(xlabel="seed", ylabel="test accuracy")
    layout.whole_numbers(left.xaxis)
    for seed in seeds:
        epochs = [row for row in history if row["seed"] == seed]
        marker = "." if len(epochs) == 1 else ""  # a line of one point is not seen
        right.plot(
            [row["epoch"] for row in epochs],
            [row["test_accuracy"] for row in epochs],
            marker=marker, linewidth=0.8, alpha=0.6, color=styles.BLUE,
        )  # fmt: skip
    right.set(xlabel="epoch", ylabel="test accuracy")
    right.set_title("a line for each network", fontsize=9)
    layout.whole_numbers(right.xaxis)
    for axes in (left, right):
        drawing.tidy(axes)
    return figure

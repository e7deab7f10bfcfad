"""Figures of a trained network, or of many: rows in, matplotlib figures out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mi_runner.experiments import Drawing
from mi_runner.experiments.common import drawing
from mi_runner.tables.declaration import Row
from mi_runner.tables.names import ALL

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from mi_runner.datasets import Dataset

MOST_MISTAKES = 25

MOST_CLASSES = 20
"""Classes whose mean image is drawn."""


def history(rows: Sequence[Row]) -> Figure:
    """Returns a figure of loss and test accuracy by epoch."""
    figure = drawing.blank(8, 3.2)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["loss"] for row in rows], marker=".", label="training")
    left.plot(epochs, [row["test_loss"] for row in rows], marker=".", label="test")
    left.set(xlabel="epoch", ylabel="loss")
    left.legend(frameon=False)
    right.plot(epochs, [row["test_accuracy"] for row in rows], marker=".", color="tab:orange")
    right.set(xlabel="epoch", ylabel="test accuracy")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        drawing.tidy(axes)
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
    figure = drawing.blank(10, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    tested = [row for row in rows if (row["split"], row["class"]) == ("test", ALL)]
    seeds, accuracies = [row["seed"] for row in tested], [row["accuracy"] for row in tested]
    bounds = [
        [row["accuracy"] - row["accuracy_low"] for row in tested],
        [row["accuracy_high"] - row["accuracy"] for row in tested],
    ]
    left.errorbar(seeds, accuracies, bounds, fmt="o", markersize=3, color="tab:blue", elinewidth=0.8)
    (overall,) = [row for row in summary if (row["split"], row["class"], row["measure"]) == ("test", ALL, "accuracy")]
    left.axhline(overall["mean"], color=drawing.REFERENCE, linestyle="--", linewidth=1)
    if overall["low"] is not None:
        left.axhspan(overall["low"], overall["high"], color=drawing.REFERENCE, alpha=0.15, linewidth=0)
    own = ", with its own" if overall["low"] is not None else ""
    left.set_title(f"each network with its 95 % interval; dashed: the mean of {overall['n']}{own}", fontsize=9)
    left.set(xlabel="seed", ylabel="test accuracy")
    left.xaxis.get_major_locator().set_params(integer=True)
    for seed in seeds:
        epochs = [row for row in history if row["seed"] == seed]
        right.plot([row["epoch"] for row in epochs], [row["test_accuracy"] for row in epochs], linewidth=0.8, alpha=0.6)
    right.set(xlabel="epoch", ylabel="test accuracy")
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, right):
        drawing.tidy(axes)
    return figure

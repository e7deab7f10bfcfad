"""Figures of a trained network, or of many: rows in, matplotlib figures out."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from mi_runner.datasets import Dataset
from mi_runner.experiments import Row, figures
from mi_runner.statistics import ALL

MOST_MISTAKES = 25


def history(rows: Sequence[Row]) -> Figure:
    """Returns a figure of loss and test accuracy by epoch."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
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
        figures.tidy(axes)
    return figure


def mistakes(dataset: Dataset, wrong: Tensor, predicted: Tensor) -> dict[str, Figure]:
    """Returns the first misclassified test images with label and predicted label; no figure without images or mistakes.

    Args:
        wrong: `(N,)` bool.
        predicted: `(N,)` predicted labels.
    """
    index = wrong.nonzero().squeeze(1)[:MOST_MISTAKES].tolist()
    if dataset.image_shape is None or dataset.class_names is None or not index:
        return {}
    names = dataset.class_names
    pictures = [figures.picture(dataset.x_test[example].reshape(dataset.image_shape)) for example in index]
    captions = [f"{names[int(dataset.y_test[example])]}, read as {names[int(predicted[example])]}" for example in index]
    title = f"{len(index)} of {int(wrong.sum())} mistakes on the test set"
    return {"mistakes": figures.mosaic(pictures, captions, title, cmap="gray")}


def many_seeds(rows: Sequence[Row], summary: Sequence[Row], history: Sequence[Row]) -> dict[str, Figure]:
    """Returns a figure of each seed's test accuracy with its interval, and of the accuracy by epoch.

    A band shows the interval of the mean.

    Args:
        rows, summary, history: the rows of metrics.csv, seeds_summary.csv, history.csv of a run with many seeds.
    """
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    tested = [row for row in rows if (row["split"], row["class"]) == ("test", ALL)]
    seeds, accuracies = [row["seed"] for row in tested], [row["accuracy"] for row in tested]
    bounds = [
        [row["accuracy"] - row["accuracy_low"] for row in tested],
        [row["accuracy_high"] - row["accuracy"] for row in tested],
    ]
    left.errorbar(seeds, accuracies, bounds, fmt="o", markersize=3, color="tab:blue", elinewidth=0.8)
    (overall,) = [row for row in summary if (row["split"], row["class"], row["measure"]) == ("test", ALL, "accuracy")]
    left.axhline(overall["mean"], color=figures.REFERENCE, linestyle="--", linewidth=1)
    if overall["low"] is not None:
        left.axhspan(overall["low"], overall["high"], color=figures.REFERENCE, alpha=0.15, linewidth=0)
    left.set_title(f"each network with its 95 % interval; dashed: the mean of {overall['n']}, with its own", fontsize=9)
    left.set(xlabel="seed", ylabel="test accuracy")
    left.xaxis.get_major_locator().set_params(integer=True)
    for seed in seeds:
        epochs = [row for row in history if row["seed"] == seed]
        right.plot([row["epoch"] for row in epochs], [row["test_accuracy"] for row in epochs], linewidth=0.8, alpha=0.6)
    right.set(xlabel="epoch", ylabel="test accuracy")
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, right):
        figures.tidy(axes)
    return {"seeds": figure}

"""What the figures of the decoder, its kernels and distances draw, of hand-made rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mi_runner.experiments.decoder import figures as decoder_figures
from mi_runner.tables import styles
from tests.drawn import legend, near, ticks, uneven, words


def test_accuracy_of_probes_by_layer_and_of_the_decoder() -> None:
    rows = [
        {
            "control": control,
            "site": site,
            "decoded": name,
            "chance": 0.2 + 0.1 * of,
            **uneven(0.3 + 0.01 * number, number),
        }
        for number, (control, site, name, of) in enumerate(
            [
                *(("none", "all", name, of) for of, name in enumerate("ab")),
                *(("shuffled", "all", name, of) for of, name in enumerate("ab")),
                *(("linear", site, name, of) for site in ("first", "second", "all") for of, name in enumerate("ab")),
            ]
        )
    ]
    (axes,) = decoder_figures.accuracy_by_layer(rows).axes
    assert words(axes.figure) == [("", "decoding accuracy", "linear probes (dotted: chance)")]
    assert ticks(axes, "x") == {0: "first", 1: "second", 2: "all sites", 3: "decoder"}
    assert list(legend(axes)) == ["a", "b"]
    for number, name in enumerate("ab"):
        shown = [row for row in rows if row["decoded"] == name and row["control"] == "linear"]
        shown += [row for row in rows if row["decoded"] == name and row["control"] == "none"]
        points, _, (bars,) = axes.containers[number].lines
        assert points.get_ydata() == near([row["accuracy"] for row in shown])
        assert [round(x) for x in points.get_xdata()] == [0, 1, 2, 3]
        ends = np.array(bars.get_segments())
        assert ends[:, :, 1] == near([(row["accuracy_low"], row["accuracy_high"]) for row in shown])
        assert ends[:, 0, 0] == near(points.get_xdata())
        dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
        assert list(dotted[number].get_ydata()) == [shown[0]["chance"]] * 2
        assert dotted[number].get_color() == styles.style(number).color == points.get_color()


def test_similarity_of_layers() -> None:
    names = [("trained", "first"), ("untrained", "first")]
    values = [[1.0, 0.25], [None, 1.0]]
    rows = [
        {"network": a[0], "site": a[1], "other_network": b[0], "other_site": b[1], "similarity": values[i][j]}
        for i, a in enumerate(names)
        for j, b in enumerate(names)
    ]
    figure = decoder_figures.layer_similarity(rows)
    assert words(figure) == [("", "", "correlation of the distances between inputs"), ("", "Pearson correlation", "")]
    axes = figure.axes[0]
    assert ticks(axes, "x") == ticks(axes, "y") == {0: "trained first", 1: "untrained first"}
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "1.00", (1, 0): "0.25", (0, 1): "nan", (1, 1): "1.00"}


def test_kernels_and_what_they_see() -> None:
    weight = torch.tensor([[[1.0, -2.0], [0.5, 0.25]], [[3.0, 0.0], [1.0, -1.5]]])
    figure = decoder_figures.kernels(weight)
    assert words(figure) == [("", "", "kernel 0"), ("", "", "kernel 1"), ("", "weight", "")]
    for axes, kernel in zip(figure.axes, weight, strict=False):
        assert np.asarray(axes.images[0].get_array()) == near(kernel)
        assert axes.images[0].get_clim() == (-3, 3)
        texts = {text.get_position(): float(text.get_text()) for text in axes.texts}
        assert texts == {(column, row): kernel[row, column].item() for row in (0, 1) for column in (0, 1)}
    images, responses = torch.arange(8.0).view(2, 2, 2), torch.arange(4.0).view(2, 2, 1, 1) - 1
    filtered = responses.amax(1).tanh()
    figure = decoder_figures.filtered_images(images, responses, filtered, ["0 + 1 = 1", "1, 1"], ["first", "second"])
    assert words(figure) == [
        ("", "0 + 1 = 1", "activations"), ("", "", "kernel 0"), ("", "", "kernel 1"), ("", "", "tanh of the largest"),
        ("", "1\n1", ""), ("", "", ""), ("", "", ""), ("", "", ""),
        ("activation", "", ""), ("response", "", ""), ("tanh", "", ""),
    ]  # fmt: skip
    shown = [np.asarray(axes.images[0].get_array()).ravel() for axes in figure.axes[:8]]
    for number in (0, 1):
        image, *seen, largest = shown[4 * number : 4 * number + 4]
        assert image == near(images[number].ravel()) and largest == near(filtered[number].ravel())
        assert np.concatenate(seen) == near(responses[number].ravel())
    assert ticks(figure.axes[4], "y") == {0: "first", 1: "second"}


def test_distances_are_ordered_by_label_and_divided_by_their_mean() -> None:
    first = torch.tensor([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [4.0, 2.0, 0.0]])
    matrices = {"trained": {"first": first, "all": 2 * first}, "untrained": {"first": first.sqrt(), "all": first}}
    label = torch.tensor([1, 0, 1])
    figure = decoder_figures.distances(matrices, label, ["x", "y", "z"], ["even", "odd"], "parity")
    assert words(figure) == [
        ("", "trained", "first"), ("", "", "all sites"), ("", "untrained", "first"), ("", "", "all sites"),
        ("", "distance ÷ mean distance", ""),
    ]  # fmt: skip
    assert figure.get_suptitle() == "distances of inputs, ordered by parity"
    order = [1, 0, 2]
    for axes, matrix in zip(figure.axes, (first, 2 * first, first.sqrt(), first), strict=False):
        expected = matrix.numpy()[np.ix_(order, order)] / (matrix.sum().item() / 6)
        assert np.asarray(axes.images[0].get_array()) == pytest.approx(expected, abs=1e-6)
    assert ticks(figure.axes[0], "y") == {0: "y", 1: "x", 2: "z"}
    many = torch.ones(61, 61).double() - torch.eye(61)
    half = (torch.arange(61) > 30).long()
    far = many + (half[:, None] != half[None])
    averaged = decoder_figures.distances(
        {"trained": {"first": far, "all": far}}, half, ["?"] * 61, ["low", "high"], "half"
    )
    assert averaged.get_suptitle() == "distances of inputs, averaged by half"
    assert ticks(averaged.axes[0], "y") == {0: "low", 1: "high"}
    means = np.asarray(averaged.axes[0].images[0].get_array())
    assert means[0, 1] == pytest.approx(2 * means[0, 0]) and means[0, 0] == pytest.approx(means[1, 1])

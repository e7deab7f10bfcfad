"""What the figures of clusters draw, of hand-made rows."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from mi_runner.experiments.clusters import figures as clusters_figures
from tests.drawn import legend, near, ticks, words


def test_clusters_off_and_on() -> None:
    rows = [
        {
            "network": network,
            "partition": partition,
            "state": state,
            "cluster": cluster,
            "class": name,
            "accuracy": value,
        }
        for network, shift in (("clustered", 0.0), ("twin", 0.3))
        for partition, more in (("trained", 0.0), ("random", 0.5))
        for state, cluster, base in (("full", "none", 0.5), ("off", 0, 0.1), ("on", 0, 0.2))
        for name, value in (("all", base + shift + more), ("cat", base + shift + more + 0.05))
        if (partition, state) != ("random", "full")
    ]
    figure = clusters_figures.off_on(rows, ("cat",))
    assert words(figure) == [("class", "", "clustered"), ("class", "", "twin"), ("", "accuracy", "")]
    for axes, shift in zip(figure.axes, (0.0, 0.3), strict=False):
        assert ticks(axes, "x") == {0: "all", 1: "cat"}
        shown = np.asarray(axes.images[0].get_array(), dtype=float)
        assert shown == pytest.approx(np.array([[0.5, 0.55], [0.1, 0.15], [0.2, 0.25]]) + shift, abs=1e-6)
        texts = {text.get_position(): text.get_text() for text in axes.texts}
        assert texts[0, 1] == f"{100 * (0.1 + shift):.0f}" and texts[1, 2] == f"{100 * (0.25 + shift):.0f}"
    assert ticks(figure.axes[0], "y") == {0: "full network", 1: "cluster 0 off", 2: "cluster 0 on"}


def test_clusters_training_and_distinct_classes() -> None:
    history = [
        {"network": network, "epoch": epoch, "clusterability": 0.2 + shift + 0.1 * epoch, "test_accuracy": 0.4 + shift}
        for network, shift in (("clustered", 0.1), ("twin", 0.3))
        for epoch in (1, 2)
    ]
    figure = clusters_figures.training(history)
    assert words(figure) == [("epoch", "clusterability", ""), ("epoch", "test accuracy", "")]
    for axes, column in zip(figure.axes, ("clusterability", "test_accuracy"), strict=True):
        assert legend(axes) == {name: to_rgba(clusters_figures.COLORS[name]) for name in ("clustered", "twin")}
        for line in axes.lines:
            assert list(line.get_xdata()) == [1, 2]
            assert list(line.get_ydata()) == [row[column] for row in history if row["network"] == line.get_label()]
    units = [
        {"layer": layer, "network": network, "distinct": distinct}
        for layer, of in {
            "first": {"clustered": (1, 1, 3), "twin": (2, 2, 2)},
            "last": {"clustered": (3,), "twin": (1,)},
        }.items()
        for network, counts in of.items()
        for distinct in counts
    ]
    figure = clusters_figures.distinct_classes(units, 3)
    assert words(figure) == [
        ("", "units", "first"), ("", "", "last"),
        ("distinct classes", "cumulative fraction of units", ""), ("distinct classes", "", ""),
    ]  # fmt: skip
    histogram, cumulative = figure.axes[0], figure.axes[2]
    bars = {to_rgba(bars[0].get_facecolor()): [bar.get_height() for bar in bars] for bars in histogram.containers}
    assert bars == {
        to_rgba(clusters_figures.COLORS["clustered"]): [2, 0, 1],
        to_rgba(clusters_figures.COLORS["twin"]): [0, 3, 0],
    }
    assert [(round(bar.get_x() + 0.2, 6), bar.get_height()) for bar in histogram.containers[0]] == [
        (0.8, 2),
        (1.8, 0),
        (2.8, 1),
    ]
    assert {line.get_label(): line.get_ydata() for line in cumulative.lines} == {
        "clustered": near([2 / 3, 2 / 3, 1]), "twin": near([0, 1, 1]),
    }  # fmt: skip

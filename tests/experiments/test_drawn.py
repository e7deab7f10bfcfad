"""What figures draw, of hand-made rows whose intervals are uneven: segments, marks, ticks, labels, legends.

Every interval reaches further up than down, each by another length, so that an end that is drawn with another one's
length, in another place, or of another row is seen. Figures of real runs are in test_figures.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from mi_runner.datasets import logic
from mi_runner.experiments.ablation import figures as ablation_figures
from mi_runner.experiments.circuits import figures as circuits_figures
from mi_runner.experiments.clusters import figures as clusters_figures
from mi_runner.experiments.common import drawing
from mi_runner.experiments.decoder import figures as decoder_figures
from mi_runner.experiments.discovery import figures as discovery_figures
from mi_runner.experiments.explanations import figures as explanations_figures
from mi_runner.experiments.iit import figures as iit_figures
from mi_runner.experiments.probes import figures as probes_figures
from mi_runner.experiments.train import figures as train_figures
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.explanations.explain import explain
from mi_runner.sweeps import sweep_figures
from mi_runner.tables.intervals import Spread
from mi_runner.tables.over_seeds import Summed
from mi_runner.tables.ranges import NOT_NEGATIVE, SHARE, Range
from tests.boolean_networks import PLANTED, XOR, chain, in_float32

Row = dict[str, Any]


def uneven(value: float, number: int, name: str = "accuracy") -> Row:
    """A value whose interval is longer upwards, and of other lengths for each number."""
    return {name: value, f"{name}_low": value - 0.01 * (number + 1), f"{name}_high": value + 0.03 * (number + 2)}


def words(figure: Figure) -> list[tuple[str, str, str]]:
    """Of each pair of axes the labels below, on the left, and above."""
    return [(axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) for axes in figure.axes]


def ticks(axes: Axes, side: str) -> dict[float, str]:
    """Place → text of the ticks below (`x`) or on the left (`y`)."""
    axis = getattr(axes, f"{side}axis")
    texts = (label.get_text() for label in axis.get_ticklabels())
    return dict(zip((float(place) for place in axis.get_ticklocs()), texts, strict=True))


def legend(axes: Axes) -> dict[str, Any]:
    """Text → the colour of what it names."""
    handles, labels = axes.get_legend_handles_labels()

    def colour(handle: Any) -> tuple[float, ...]:
        if hasattr(handle, "patches"):
            return to_rgba(handle.patches[0].get_facecolor())
        return to_rgba(handle.get_color() if hasattr(handle, "get_color") else handle.lines[0].get_color())

    return {label: colour(handle) for handle, label in zip(handles, labels, strict=True)}


def segments(axes: Axes) -> list[tuple[float, float, float, float]]:
    """x0, y0, x1, y1 of every error bar, in the order in which they were drawn."""
    found = []
    for lines in axes.collections:
        if isinstance(lines, LineCollection):
            found += [tuple(np.asarray(segment, dtype=float).ravel()) for segment in lines.get_segments()]
    return found


def near(values: Any) -> Any:
    return pytest.approx(np.asarray(values, dtype=float), abs=1e-9)


# --- train -----------------------------------------------------------------------------------------------------------


def test_history_of_a_training() -> None:
    rows = [
        {
            "epoch": epoch,
            "loss": 0.9 - 0.1 * epoch,
            "test_loss": 0.95 - 0.05 * epoch,
            "test_accuracy": 0.5 + 0.1 * epoch,
        }
        for epoch in (1, 2, 3)
    ]
    figure = train_figures.history(rows)
    assert words(figure) == [("epoch", "loss", ""), ("epoch", "test accuracy", "")]
    left, right = figure.axes
    assert {line.get_label(): list(line.get_ydata()) for line in left.lines} == {
        "training": [row["loss"] for row in rows], "test": [row["test_loss"] for row in rows],
    }  # fmt: skip
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["training", "test"]
    assert list(right.lines[0].get_ydata()) == [row["test_accuracy"] for row in rows]
    assert all(list(line.get_xdata()) == [1, 2, 3] for axes in figure.axes for line in axes.lines)


def test_many_seeds_show_test_rows_of_all_classes_alone() -> None:
    def rows(seed: int) -> list[Row]:
        return [
            {"seed": seed, "split": split, "class": name, **uneven(value + 0.05 * seed, seed)}
            for split, name, value in (("train", "all", 0.9), ("test", "all", 0.6), ("test", "0", 0.3))
        ]

    summary = [
        {"split": split, "class": name, "measure": measure, "n": 2, "mean": mean, "low": mean - 0.1, "high": mean + 0.2}
        for split, name, measure, mean in (
            ("train", "all", "accuracy", 0.1), ("test", "all", "loss", 0.2), ("test", "all", "accuracy", 0.625),
            ("test", "0", "accuracy", 0.4),
        )
    ]  # fmt: skip
    history = [
        {"seed": seed, "epoch": epoch, "test_accuracy": 0.1 * seed + 0.2 * epoch} for seed in (0, 1) for epoch in (1, 2)
    ]
    figure = train_figures.many_seeds([*rows(0), *rows(1)], summary, history)
    title = "each network with its 95 % interval; dashed: the mean of 2, with its own"
    assert words(figure) == [("seed", "test accuracy", title), ("epoch", "test accuracy", "")]
    left, right = figure.axes
    shown = [uneven(0.6, 0), uneven(0.65, 1)]
    assert segments(left) == near(
        [(seed, row["accuracy_low"], seed, row["accuracy_high"]) for seed, row in enumerate(shown)]
    )
    assert left.containers[0].lines[0].get_ydata() == near([0.6, 0.65])
    (mean,) = (line for line in left.lines if line.get_linestyle() == "--")
    assert list(mean.get_ydata()) == [0.625] * 2
    box = left.patches[0].get_bbox()
    assert (box.y0, box.y1) == near((0.525, 0.825))
    assert [list(line.get_ydata()) for line in right.lines] == [near([0.2, 0.4]), near([0.3, 0.5])]
    without = [{**row, "low": None, "high": None} for row in summary]
    assert not train_figures.many_seeds([*rows(0), *rows(1)], without, history).axes[0].patches


def test_confusion_has_labels_down_and_predictions_across() -> None:
    rows = [
        {"label": 0, "predicted": 1, "count": 3},
        {"label": 0, "predicted": 0, "count": 5},
        {"label": 1, "predicted": 1, "count": 7},
    ]
    (axes,) = drawing.confusion(rows, ("no", "yes"))["confusion"]().axes
    assert words(axes.figure) == [("prediction", "label", "intact network, test set")]
    assert ticks(axes, "y") == {0: "no", 1: "yes"} == ticks(axes, "x")
    assert {text.get_position(): text.get_text() for text in axes.texts} == {(0, 0): "5", (1, 0): "3", (1, 1): "7"}


# --- ablation --------------------------------------------------------------------------------------------------------


def ablated() -> list[Row]:
    rows: list[Row] = [{"target": "none", "method": "none", "repeat": 1, **uneven(0.9, 0)}]
    number = 0
    for target, base in (("relu", 0.2), ("x/add", 0.5)):
        for method, draws in (("zero", 1), ("resample", 2)):
            for repeat in range(1, draws + 1):
                number += 1
                value = base + 0.02 * number
                rows.append({"target": target, "method": method, "repeat": repeat, **uneven(value, number)})
    return rows


def test_accuracy_after_each_ablation() -> None:
    rows = ablated()
    (axes,) = ablation_figures.accuracy(rows).axes
    assert words(axes.figure) == [("test accuracy", "ablated", "")]
    assert ticks(axes, "y") == {0: "relu", 1: "x/add"} and axes.yaxis_inverted()
    assert list(legend(axes)) == ["intact", "zero", "resample (mean of 2)"]
    colours = {method: to_rgba(ablation_figures.COLORS[method]) for method in ("zero", "resample")}
    assert legend(axes)["zero"] == colours["zero"] and legend(axes)["resample (mean of 2)"] == colours["resample"]
    order = [row for method in ("zero", "resample") for row in rows[1:] if row["method"] == method]
    found = segments(axes)
    assert [(x0, x1) for x0, _, x1, _ in found] == near([(row["accuracy_low"], row["accuracy_high"]) for row in order])
    for (_, y0, _, y1), row in zip(found, order, strict=True):
        assert y0 == y1 and abs(y0 - ("relu", "x/add").index(row["target"])) < 0.5
        assert bool(y0 < round(y0)) is (row["method"] == "zero")
    bars = {
        (round(bar.get_y() + bar.get_height() / 2), to_rgba(bar.get_facecolor())): bar.get_width()
        for bar in axes.patches
    }
    for target, place in (("relu", 0), ("x/add", 1)):
        for method in ("zero", "resample"):
            values = [row["accuracy"] for row in rows if (row["target"], row["method"]) == (target, method)]
            assert bars[place, colours[method]] == pytest.approx(sum(values) / len(values))
    (line,) = (line for line in axes.lines if line.get_label() == "intact")
    assert list(line.get_xdata()) == [0.9, 0.9]


def test_drops_of_units() -> None:
    rows = [
        {"target": target, "method": method, "accuracy_drop": drop}
        for target, by_method in {
            "relu": {"zero": (0.1, 0.3, 0.2), "mean": (0.0, -0.1, 0.05)}, "add": {"zero": (0.4,), "mean": (0.6,)},
        }.items()
        for method, drops in by_method.items()
        for drop in drops
    ]  # fmt: skip
    figure = ablation_figures.unit_drops(rows)
    assert words(figure) == [("", "accuracy lost", "relu"), ("units, by accuracy lost", "accuracy lost", "add")]
    first, last = figure.axes
    assert {line.get_label(): list(line.get_ydata()) for line in first.lines[:2]} == {
        "zero": [0.3, 0.2, 0.1], "mean": [0.05, 0.0, -0.1],
    }  # fmt: skip
    assert legend(last) == {method: to_rgba(ablation_figures.COLORS[method]) for method in ("zero", "mean")}


# --- probes ----------------------------------------------------------------------------------------------------------


def test_probes_by_site() -> None:
    def row(site: str, name: str, control: str, score: float, measure: str) -> Row:
        return {"site": site, "variables": name, "control": control, "r2": None, "accuracy": None, measure: score}

    rows = [
        row("x", "area", "input", 0.3, "r2"), row("x", "side", "input", 0.55, "accuracy"),
        *(
            row(site, name, control, base + 0.1 * place, measure)
            for place, site in enumerate(("conv", "fc"))
            for name, measure, shift in (("area", "r2", 0.0), ("side", "accuracy", 0.05))
            for control, base in (("none", 0.8 + shift), ("untrained", 0.5 + shift), ("shuffled", -0.9 + shift))
        ),
    ]  # fmt: skip
    figure = probes_figures.by_site(rows)
    assert words(figure) == [("", "R² on held-out examples", ""), ("", "accuracy on held-out examples", "")]
    for axes, name, measure in zip(figure.axes, ("area", "side"), ("r2", "accuracy"), strict=True):
        assert ticks(axes, "x") == {-1: "raw input", 0: "conv", 1: "fc"}
        drawn = {
            style: (list(line.get_xdata()), list(line.get_ydata()))
            for line in axes.lines
            if len(line.get_xdata())
            for style in [line.get_marker()]
        }
        of = {
            control: [row[measure] for row in rows if (row["variables"], row["control"]) == (name, control)]
            for control in ("none", "untrained", "shuffled", "input")
        }
        assert drawn["o"] == ([0, 1], near(of["none"])) and drawn["s"] == ([0, 1], near(of["untrained"]))
        assert drawn["x"] == ([0, 1], [-0.25, -0.25]) and drawn["D"] == ([-1], near(of["input"]))
        (solid,) = (line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()))
        assert solid.get_label() == name
    assert list(legend(figure.axes[1])) == ["side", "untrained", "shuffled", "input"]


# --- clusters --------------------------------------------------------------------------------------------------------


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


# --- decoder ---------------------------------------------------------------------------------------------------------


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
        assert dotted[number].get_color() == f"C{number}" == points.get_color()


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


# --- circuits and discovery ------------------------------------------------------------------------------------------


def test_recurrence_over_networks() -> None:
    def row(kind: str, edges: str, share: float, interval: tuple[float, float] | None, random: float) -> Row:
        low, high = interval or (None, None)
        return {
            "kind": kind, "edges": edges, "share": share, "share_low": low, "share_high": high, "n_networks": 4,
            "random_share": random, "random_share_low": random - 0.05, "random_share_high": random + 0.2,
        }  # fmt: skip

    rows = [
        row("edge", "0:0→0", 0.5, (0.4, 0.9), 0.3), row("edge", "0:1→0", 0.25, (0.2, 0.6), 0.2),
        row("commonest", "0:0→0", 0.75, None, 0.45), row("circuit", "0:0→0", 0.75, (0.5, 0.95), 0.1),
    ]  # fmt: skip
    figure = circuits_figures.of_networks(rows)
    assert words(figure) == [("share of 4 networks", "edge layer:from→to", ""), ("share of 4 networks", "circuit", "")]
    left, right = figure.axes
    assert ticks(left, "y") == {0: "0:0→0", 1: "0:1→0"} and ticks(right, "y") == {0: "commonest", 1: "circuit 1"}
    for axes, shown in ((left, rows[:2]), (right, rows[2:])):
        assert axes.yaxis_inverted()
        lines = [line for line in axes.lines if len(line.get_xdata())]
        for height, of in enumerate(shown):
            here = [line for line in lines if abs(line.get_ydata()[0] - height) < 0.5]
            at = {line.get_marker(): list(line.get_xdata()) for line in here if line.get_marker() in ("o", "|")}
            assert at == {"o": [of["share"]], "|": [of["random_share"]]}
            spans = {line.get_color(): list(line.get_xdata()) for line in here if line.get_marker() in ("None", "")}
            expected = {drawing.REFERENCE: [of["random_share_low"], of["random_share_high"]]}
            if of["share_low"] is not None:
                expected["C0"] = [of["share_low"], of["share_high"]]
            assert spans == expected
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["matched by activations; edges with 95 % interval", "matched at random, 95 % of draws"]


def test_curves_of_methods_and_of_all_circuits() -> None:
    def curves(shift: float) -> discovery_figures.Curves:
        metrics = [
            {
                "method": method, "k": k, "accuracy": base + 0.1 * k + 0.02 * repeat + shift, "mse": base / 10**k,
                "best_accuracy": 0.9 + 0.01 * k, "best_mse": 1e-3 / (k + 1),
            }
            for method, base in (("eap", 0.3), ("greedy", 0.5))
            for repeat in (0, 1)
            for k in (0, 1)
        ]  # fmt: skip
        sizes = [
            {"n_edges": n, **{f"{m}_{q}": 0.001 * q * n for m in ("accuracy", "mse") for q in (10, 50, 90)}}
            for n in (1, 2)
        ]
        return discovery_figures.Curves(metrics, sizes, [], None)

    figure = discovery_figures.of_output(0, (1, 1), {"zero": curves(0.0), "mean": curves(0.2)})["curves_0"]()
    assert words(figure) == [
        ("", "accuracy", "zero ablation"), ("", "", "mean ablation"), ("kept edges", "mse", ""), ("kept edges", "", ""),
    ]  # fmt: skip
    names = ["all circuits, 10 to 90 %", "eap", "greedy", "best"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    for axes, shift in zip(figure.axes[:2], (0.0, 0.2), strict=True):
        lines = {line.get_label(): (list(line.get_xdata()), line.get_ydata()) for line in axes.lines}
        assert lines == {
            "eap": ([0, 1], near([0.31 + shift, 0.41 + shift])), "greedy": ([0, 1], near([0.51 + shift, 0.61 + shift])),
            "best": ([0, 1], near([0.9, 0.91])),
        }  # fmt: skip
        (band,) = (one for one in axes.collections if isinstance(one, PolyCollection))
        corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(6).tolist()}
        assert {(1.0, 0.01), (1.0, 0.09), (2.0, 0.02), (2.0, 0.18)} <= corners
    (line,) = (line for line in figure.axes[2].lines if line.get_label() == "greedy")
    assert line.get_ydata() == near([0.5, 0.05]) and figure.axes[2].get_yscale() == "log"


def test_scores_of_methods_beside_the_share_of_valid_circuits() -> None:
    scores = [
        {"method": method, "score": score}
        for method, of in (("eap", (1.0, 4.0, 2.0)), ("random", (-0.5, 0.25, 0.1)))
        for score in of
    ]
    curves = discovery_figures.Curves([], [], scores, np.array([0.1, 0.2, 0.3]))
    figure = discovery_figures.of_output(0, (2, 1, 1), {"zero": curves})["scores_zero_0"]()
    names = ["eap", "random", "fraction of valid circuits"]
    assert words(figure)[:6] == [
        ("", "layer 0\nto", names[0]), ("", "", names[1]), ("", "", names[2]),
        ("from", "layer 1\nto", ""), ("from", "", ""), ("from", "", ""),
    ]  # fmt: skip
    assert words(figure)[6:] == [("", "score, divided by the method's largest", "")]
    expected = [[0.25, 1.0], [-1.0, 0.5], [0.1, 0.2], [0.5], [0.2], [0.3]]
    for axes, values in zip(figure.axes, expected, strict=False):
        assert np.asarray(axes.images[0].get_array()).ravel() == near(values)
        assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in values]
        assert [text.get_position() for text in axes.texts] == [(source, 0) for source in range(len(values))]


def test_groundings_and_their_spread_over_networks() -> None:
    (axes,) = explanations_figures._groundings([1, 10, 100, 100, 0], 9).axes
    title = "sample of 5 of 9 valid circuits, 1 of them without a grounding"
    assert words(axes.figure) == [("log10 of the groundings of a circuit", "valid circuits", title)]
    assert [bar.get_height() for bar in axes.patches if bar.get_height()] == [1, 1, 2]
    whole = explanations_figures._groundings([1, 0], 2).axes[0]
    assert whole.get_title() == "2 valid circuits, 1 of them without a grounding"
    rows = [
        {"n_valid": 4, "n_groundings": 100, "n_alignments": 0},
        {"n_valid": 2, "n_groundings": None, "n_alignments": 3},
    ]
    figure = explanations_figures.of_seeds(rows)["seeds"]()
    assert words(figure) == [
        ("n_valid", "fraction of networks with at most so many", ""),
        ("n_groundings", "", ""),
        ("n_alignments", "", ""),
    ]
    drawn = [(list(axes.lines[0].get_xdata()), list(axes.lines[0].get_ydata())) for axes in figure.axes]
    assert drawn == [([2, 4], [0.5, 1]), ([100], [1]), ([0, 3], [0.5, 1])]


# --- iit -------------------------------------------------------------------------------------------------------------


def interchanged() -> list[Row]:
    """Rows of a cell: before, after, and a control at another site; each subset has another number of pairs."""
    return [
        {
            "phase": phase, "control": control, "variables": "a", "site": site, "subset": subset, "n_pairs": n,
            **uneven(0.2 + 0.1 * number + 0.03 * place, 3 * number + place, "iia"),
        }
        for number, (phase, control, site) in enumerate(
            (("before", "none", "first"), ("after", "none", "first"), ("control", "other_site", "second"))
        )
        for place, (subset, n) in enumerate((("all", 30), ("changed", 10), ("unchanged", 20)))
    ]  # fmt: skip


def test_iia_beside_its_controls() -> None:
    rows = interchanged()
    (axes,) = iit_figures.controls(rows).axes
    assert words(axes.figure) == [("IIA", "", "a at first")]
    assert ticks(axes, "y") == {0: "before", 1: "after", 2: "other site"} and axes.yaxis_inverted()
    assert list(legend(axes)) == ["IIA, all pairs", "label changed (10 pairs)", "label unchanged (20 pairs)"]
    order = [row for subset in ("changed", "unchanged") for row in rows if row["subset"] == subset]
    found = segments(axes)
    assert [(x0, x1) for x0, _, x1, _ in found] == near([(row["iia_low"], row["iia_high"]) for row in order])
    assert [round(y0) for _, y0, _, _ in found] == [0, 1, 2, 0, 1, 2]
    assert [bar.get_width() for bar in axes.patches] == near([row["iia"] for row in order])
    middles = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
    assert middles == near([y0 for _, y0, _, _ in found])
    lines = [
        (line.get_xdata()[0], round(sum(line.get_ydata()) / 2))
        for line in axes.lines
        if line.get_color() == "black" and len(line.get_xdata()) == 2
    ]
    assert lines == [(row["iia"], place) for place, row in enumerate(row for row in rows if row["subset"] == "all")]
    empty = [{**row, "n_pairs": 0, "iia": math.nan} if row["subset"] == "changed" else row for row in rows]
    assert len(segments(iit_figures.controls(empty).axes[0])) == 3


def test_history_of_interchange_training() -> None:
    columns = ("iia", "iia_changed", "iia_unchanged", "task_accuracy", "train_iia")
    rows = [
        {
            "epoch": epoch,
            "loss": 0.7 - 0.1 * epoch,
            **{name: 0.1 * place + 0.05 * epoch for place, name in enumerate(columns)},
        }
        for epoch in (0, 1)
    ]
    figure = iit_figures.history([*rows, {"epoch": 0.5, "loss": 0.65}])
    assert words(figure) == [
        ("epoch", "fraction of correct predictions", ""), ("epoch", "loss on counterfactual labels", ""),
    ]  # fmt: skip
    left, right = figure.axes
    names = ["IIA", "IIA, label changed", "IIA, label unchanged", "task accuracy", "IIA, training pairs"]
    assert [line.get_label() for line in left.lines] == names
    for line, column in zip(left.lines, columns, strict=True):
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 1], [row[column] for row in rows])
    assert list(right.lines[0].get_xdata()) == [0, 1, 0.5]
    assert list(right.lines[0].get_ydata()) == near([0.7, 0.6, 0.65])
    against = iit_figures.history([{**row, "adversary_loss": 0.3 + row["epoch"]} for row in rows])
    drawn = {line.get_label(): (list(line.get_xdata()), line.get_ydata()) for line in against.axes[1].lines}
    assert drawn == {"chosen variables": ([0, 1], near([0.7, 0.6])), "adversary": ([0, 1], near([0.3, 1.3]))}


def test_networks_beside_an_adversary() -> None:
    sources = {"a": "multi", "b": "single"}
    rows = []
    for network, (phase, control) in enumerate((("before", "none"), ("after", "none"), ("control", "no_adversary"))):
        for place, (swapped, rotation) in enumerate((s, r) for s in sources for r in ("own", "fresh")):
            for kind in ("multi", "single"):
                for subset in ("all", "changed"):
                    value = 0.05 + 0.06 * network + 0.02 * place
                    if (kind, subset) != (sources[swapped], "all"):
                        value += 0.5  # no such row is drawn
                    rows.append(
                        {
                            "phase": phase, "control": control, "swapped": swapped, "rotation": rotation,
                            "sources": kind, "subset": subset, "site": "first", "task_accuracy": 0.9 - 0.1 * network,
                            "floor": {"a": 0.6, "b": 0.7}[swapped], "iia_unswapped": value + 0.11,
                            **uneven(value, 4 * network + place, "iia"),
                        }
                    )  # fmt: skip
    (axes,) = iit_figures.adversary(rows, sources).axes
    assert words(axes.figure) == [("", "IIA", "at first")]
    texts = [
        f"{role}:\n{name}\n{kind}"
        for role, name in (("chosen", "a"), ("adversary", "b"))
        for kind in ("training's rotation", "fresh rotation")
    ]
    assert ticks(axes, "x") == dict(enumerate(texts))
    titles = ["before (task 0.900)", "after (task 0.800)", "after, no adversary (task 0.700)"]
    assert list(legend(axes)) == ["floor", *titles]
    order = [row for row in rows if (row["sources"], row["subset"]) == (sources[row["swapped"]], "all")]
    found = segments(axes)
    assert [(y0, y1) for _, y0, _, y1 in found] == near([(row["iia_low"], row["iia_high"]) for row in order])
    assert [round(x0) for x0, *_ in found] == [0, 1, 2, 3] * 3
    assert [bar.get_height() for bar in axes.patches] == near([row["iia"] for row in order])
    assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == near([x0 for x0, *_ in found])
    dotted = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert dotted == near([row["iia_unswapped"] for row in order])
    floors = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2]
    assert floors == [0.6, 0.6, 0.7, 0.7]


def test_iia_by_variables_and_site() -> None:
    rows = [
        {"variables": name, "site": site, "subset": subset, "iia": base + 0.1 * across + 0.2 * down}
        for down, name in enumerate("ab")
        for across, site in enumerate(("first", "second"))
        for subset, base in (("all", 0.3), ("changed", 0.1), ("unchanged", 0.6))
    ]
    figure = iit_figures.heat_map(rows)
    assert words(figure) == [("", "", "all pairs"), ("", "", "pairs whose label is changed"), ("", "IIA", "")]
    for axes, base in zip(figure.axes, (0.3, 0.1), strict=False):
        values = np.array([[base, base + 0.1], [base + 0.2, base + 0.3]])
        assert np.asarray(axes.images[0].get_array()) == near(values)
        assert ticks(axes, "x") == {0: "first", 1: "second"}
        texts = {text.get_position(): text.get_text() for text in axes.texts}
        assert texts == {(across, down): f"{values[down, across]:.2f}" for down in (0, 1) for across in (0, 1)}
    assert ticks(figure.axes[0], "y") == {0: "a", 1: "b"} and ticks(figure.axes[1], "y") == {0: "", 1: ""}


# --- sweeps ----------------------------------------------------------------------------------------------------------


def spread(mean: float, number: int, n: int = 5, within: Range = SHARE) -> Spread:
    """A spread whose interval is longer upwards, and of other lengths for each number."""
    low, high = (None, None) if n == 1 else (mean - 0.01 * (number + 1), mean + 0.03 * (number + 2))
    return Spread(tuple(mean + 0.001 * seed for seed in range(n)), mean, 0.1, low, high, within)


def test_metrics_by_swept_value() -> None:
    found = [
        (
            {"width": width, "model": model},
            {"accuracy": spread(0.3 + 0.01 * n, n), "loss": spread(1.0 + 0.1 * n, n + 4, within=NOT_NEGATIVE)},
        )
        for n, (width, model) in enumerate((width, model) for width in (8, 2, 4) for model in ("mlp", "cnn"))
    ]
    figure = sweep_figures.by_value(found)
    assert words(figure) == [("width", "accuracy", ""), ("width", "loss", "")]
    assert figure.get_suptitle() == "mean over 5 seeds, 95 % interval"
    for axes, name in zip(figure.axes, ("accuracy", "loss"), strict=True):
        assert list(legend(axes)) == ["model=mlp", "model=cnn"]
        for model, container in zip(("mlp", "cnn"), axes.containers, strict=True):
            own = sorted(
                ((swept["width"], metrics[name]) for swept, metrics in found if swept["model"] == model),
                key=lambda point: point[0],
            )
            points, _, (bars,) = container.lines
            assert list(points.get_xdata()) == [2, 4, 8] and points.get_ydata() == near([one.mean for _, one in own])
            assert [tuple(segment.ravel()) for segment in np.array(bars.get_segments())] == [
                near((x, one.low, x, one.high)) for x, one in own
            ]
    few = sweep_figures.by_value(
        [({"model": "mlp"}, {"accuracy": spread(0.5, 0, n=2)}), ({"model": "cnn"}, {"accuracy": spread(0.7, 1, n=1)})]
    )
    (axes,) = few.axes
    assert ticks(axes, "x") == {0: "mlp", 1: "cnn"} and words(few) == [("model", "accuracy", "")]
    assert few.get_suptitle() == "mean over 1–2 seeds, 95 % interval; a circle: one seed"
    circles = [
        (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.lines
        if line.get_marker() == "o" and len(line.get_xdata())
    ]
    assert circles == [([0, 0], [0.5, 0.501])]
    assert segments(axes) == near([(0, 0.49, 0, 0.56), (1, 0.7, 1, 0.7)])


def test_rows_of_a_sweep() -> None:
    summed = [
        Summed({"model": model, "target": target, "role": role}, "accuracy", spread(0.2 + 0.05 * n, n, n=5))
        for n, (model, target, role) in enumerate(
            (("mlp", "layers.1", "h1"), ("mlp", "layers.3", "h2"), ("skip", "relu", "h1"), ("skip", "add", "h2"))
        )
    ]
    drawing = sweep_figures.by_row(summed, ["model"], {"target": "role"})
    assert drawing is not None
    (axes,) = drawing().axes
    assert words(axes.figure) == [("accuracy: mean over 5 seeds, 95 % interval", "", "")]
    assert ticks(axes, "y") == {0: "h1", 1: "h2"} and axes.yaxis_inverted()
    assert legend(axes) == {"model=mlp": to_rgba("C0"), "model=skip": to_rgba("C1")}
    dots = {
        (line.get_color(), round(line.get_ydata()[0])): line.get_xdata()[0]
        for line in axes.lines
        if line.get_marker() == "o" and line.get_linestyle() == "None" and len(line.get_xdata()) == 1
    }
    spans = {
        (line.get_color(), round(line.get_ydata()[0])): tuple(line.get_xdata())
        for line in axes.lines
        if len(line.get_xdata()) == 2
    }
    keys = [("C0", 0), ("C0", 1), ("C1", 0), ("C1", 1)]
    assert dots == {key: one.spread.mean for key, one in zip(keys, summed, strict=True)}
    assert spans == {key: (one.spread.low, one.spread.high) for key, one in zip(keys, summed, strict=True)}
    assert sweep_figures.by_row(summed[:1], ["model"]) is None


@pytest.mark.parametrize(
    ("values", "scale"), [((1, 100), "log"), ((1, 99), "linear"), ((0, 100), "linear"), ((-1, 100), "linear")]
)
def test_wide_ranges_have_a_logarithmic_scale(values: tuple[int, int], scale: str) -> None:
    """Of swept values from a factor of 100 on; of a measure that is never negative likewise, of its ends."""
    figure = sweep_figures.by_value([({"width": value}, {"accuracy": spread(0.5, 0)}) for value in values])
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == (scale, "linear")
    lowest, highest = (Spread((float(value),), float(value), None, None, None, NOT_NEGATIVE) for value in values)
    figure = sweep_figures.by_value([({"width": 1}, {"loss": lowest}), ({"width": 2}, {"loss": highest})])
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("linear", scale)


def test_up_to_three_seeds_have_a_circle_each_and_rows_have_an_end() -> None:
    for n, circles in ((1, 0), (2, 2), (3, 3), (4, 0)):
        (axes,) = sweep_figures.by_value([({"width": 1}, {"accuracy": spread(0.5, 0, n=n)})]).axes
        assert sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o") == circles
    rows = [Summed({"target": str(n)}, "accuracy", spread(0.5, 0)) for n in range(drawing.MOST_LABELS + 1)]
    assert sweep_figures.by_row(rows, []) is None and sweep_figures.by_row(rows[1:], []) is not None


# --- pictures in a grid ----------------------------------------------------------------------------------------------


def test_strips_have_their_titles_captions_and_scales() -> None:
    rows = [
        ("upper", [torch.zeros(2, 2), torch.ones(2, 2)], "gray"),
        ("lower", [torch.ones(2, 2), torch.full((2, 2), 3.0)], "viridis"),
    ]
    figure = drawing.strips(rows, ["left", "right"], "both")
    assert [title for _, _, title in words(figure)[:2]] == ["upper", "lower"] and figure.get_suptitle() == "both"
    for axes, (_, pictures, cmap) in zip(figure.axes, rows, strict=False):
        assert list(ticks(axes, "x").values()) == ["left", "right"] and list(ticks(axes, "x")) == [0.5, 2.5]
        assert np.asarray(axes.images[0].get_array()) == near(torch.cat(pictures, 1))
        assert axes.images[0].get_cmap().name == cmap


def test_a_mosaic_has_each_picture_below_its_caption() -> None:
    pictures = [torch.full((10, 10), float(number)) for number in range(3)]
    figure = drawing.mosaic(pictures, ["a", "b", "c"], "three", cmap="gray")
    (axes,) = figure.axes
    assert figure.get_suptitle() == "three"
    canvas = np.asarray(axes.images[0].get_array(), dtype=float)
    for number, text in enumerate(axes.texts):
        middle, above = text.get_position()
        assert text.get_text() == "abc"[number]
        assert (
            canvas[int(np.ceil(above)) + 2 : int(np.ceil(above)) + 8, int(middle) - 3 : int(middle) + 3] == number
        ).all()


# --- tensors in, pictures out ----------------------------------------------------------------------------------------


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


def network_edges(axes: Axes) -> set[tuple[int, int, int, str]]:
    """Layer, source, target and colour of each drawn edge, by the places of the neurons that stand in the axes."""
    lines = [line for line in axes.lines if len(line.get_xdata()) == 2]
    points = [tuple(text.get_position()) for text in axes.texts]
    points += [tuple(place) for group in axes.collections for place in np.asarray(group.get_offsets()).tolist()]
    columns: dict[int, list[float]] = {}
    for x, y in points:
        if float(x) == round(x):
            columns.setdefault(round(x), []).append(round(float(y), 6))
    heights = {layer: sorted(set(of), reverse=True) for layer, of in columns.items()}
    found = set()
    for line in lines:
        (x0, x1), (y0, y1) = (np.asarray(data, dtype=float).round(6).tolist() for data in line.get_data())
        assert x1 == x0 + 1
        found.add((int(x0), heights[int(x0)].index(y0), heights[int(x1)].index(y1), str(line.get_color())))
    return found


def test_circuits_of_an_output() -> None:
    part = chain(([[2.0, -1.0], [0.5, 1.5]], [0.0, 0.0]), ([[1.0, -3.0]], [0.0]))
    space = CircuitSpace(part.sizes)
    rows = [(63, 6, True, 0.0, 0.9), (23, 4, True, 0.25, 0.6), (43, 4, False, 0.25, 0.3)]
    table = pd.DataFrame(rows, columns=["circuit", "n_edges", "valid", "sparsity", "accuracy"])
    shares = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.7])
    drawn = circuits_figures.of_output(part, space, 0, shares, 2, table)
    sparsity = drawn["sparsity_0"]()
    assert words(sparsity) == [
        ("fraction of neurons and edges left out", "accuracy", "3 circuits"),
        ("", "circuits", ""),
    ]
    found = {
        tuple(place): count
        for place, count in zip(
            sparsity.axes[0].collections[0].get_offsets().round(2).tolist(),
            sparsity.axes[0].collections[0].get_array(),
            strict=True,
        )
    }
    assert sum(found.values()) == 3 and max(x for x, _ in found) == pytest.approx(0.25, abs=0.02)
    assert max(y for _, y in found) == pytest.approx(0.9, abs=0.02)
    edges = drawn["edges_0"]()
    assert words(edges) == [("from", "to", "layer 0"), ("from", "", "layer 1"), ("", "fraction of valid circuits", "")]
    assert edges.get_suptitle() == "edges of 2 valid circuits"
    for axes, block in zip(edges.axes, (shares[:4].reshape(2, 2), shares[4:].reshape(1, 2)), strict=False):
        assert np.asarray(axes.images[0].get_array()) == near(block)
        texts = {text.get_position(): text.get_text() for text in axes.texts}
        assert texts == {(source, target): f"{block[target, source]:.2f}" for target, source in np.ndindex(block.shape)}
    sparsest = drawn["sparsest_0"]()
    assert [axes.get_title() for axes in sparsest.axes if axes.get_title()] == ["23: 4 of 6 edges", "63: 6 of 6 edges"]
    # Bits of 23: edges 0, 1, 2 of the first layer, to neurons 0, 0, 1; and edge 0 of the second.
    red, blue = "tab:red", "tab:blue"
    assert network_edges(sparsest.axes[0]) == {(0, 0, 0, red), (0, 1, 0, blue), (0, 0, 1, red), (1, 0, 0, red)}


def test_an_explained_circuit_and_an_alignment() -> None:
    found = explain(in_float32(PLANTED), XOR, max_depth=2)
    drawn = explanations_figures.of_output(0, found)
    circuit = drawn["circuit_0"]().axes[0]
    assert "4 edges" not in circuit.get_title() and f"{PLANTED.space.full.bit_count()} edges" in circuit.get_title()
    red, blue = "tab:red", "tab:blue"
    edges = {(0, 0, 0, red), (0, 1, 0, blue), (0, 0, 1, blue), (0, 1, 1, red), (1, 0, 0, red), (1, 1, 0, red)}
    assert network_edges(circuit) == edges
    by_height = sorted(circuit.texts, key=lambda text: (text.get_position()[0], -text.get_position()[1]))
    gates = [logic.name_of("0010"), logic.name_of("0100"), "OR\n= XOR"]  # A ∧ ¬B, ¬A ∧ B, and what joins them
    assert [text.get_text() for text in by_height] == ["A", "B", *gates]
    left, right = drawn["alignment_0"]().axes
    assert left.get_title() == "(A ∧ ¬B) ∨ (¬A ∧ B)"
    colours = {text.get_text(): text.get_bbox_patch().get_facecolor() for text in right.texts}
    assert list(colours) == ["A", "B", "h1.0", "h1.1", "out"] and network_edges(right) == edges
    assert colours["h1.0"] == to_rgba(explanations_figures.COLOURS[0])
    assert colours["h1.1"] == to_rgba(explanations_figures.COLOURS[1]) and colours["out"] == to_rgba("white")
    of_gates = [text.get_bbox_patch().get_facecolor() for text in left.texts if text.get_text() in "∨∧"]
    assert set(of_gates) == {to_rgba("white"), colours["h1.0"], colours["h1.1"]}

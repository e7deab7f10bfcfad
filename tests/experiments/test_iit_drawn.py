"""What the figures of interchange interventions draw, of hand-made rows."""

from __future__ import annotations

import math

import numpy as np

from mi_runner.experiments.iit import figures as iit_figures
from tests.drawn import Row, legend, near, segments, ticks, uneven, words


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

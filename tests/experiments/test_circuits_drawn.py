"""What the figures of circuits draw, of hand-made rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mi_runner.experiments.circuits import figures as circuits_figures
from mi_runner.experiments.common import drawing
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.tables import styles
from tests.boolean_networks import chain
from tests.drawn import Row, near, network_edges, ticks, words


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
                expected[styles.BLUE] = [of["share_low"], of["share_high"]]
            assert spans == expected
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["matched by activations; edges with 95 % interval", "matched at random, 95 % of draws"]


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
    assert [axes.get_title() for axes in sparsest.axes if axes.get_title()] == [
        "4 of 6 edges\naccuracy 0.600", "6 of 6 edges\naccuracy 0.900",
    ]  # fmt: skip
    # Bits of 23: edges 0, 1, 2 of the first layer, to neurons 0, 0, 1; and edge 0 of the second.
    red, blue = styles.POSITIVE, styles.NEGATIVE
    assert [line.get_linestyle() for line in sparsest.axes[0].lines] == ["-", "--", "-", "-"]
    assert {text.get_text() for text in sparsest.axes[0].texts} == {"0", "1"}  # neurons have their numbers
    assert network_edges(sparsest.axes[0]) == {(0, 0, 0, red), (0, 1, 0, blue), (0, 0, 1, red), (1, 0, 0, red)}

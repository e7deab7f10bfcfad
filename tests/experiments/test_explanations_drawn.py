"""What the figures of groundings, explained circuits and alignments draw, of hand-made rows."""

from __future__ import annotations

from matplotlib.colors import to_rgba

from mi_runner.datasets import logic
from mi_runner.experiments.explanations import figures as explanations_figures
from mi_runner.methods.explanations.explain import explain
from mi_runner.tables import styles
from tests.boolean_networks import PLANTED, XOR, in_float32
from tests.drawn import network_edges, words


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


def test_an_explained_circuit_and_an_alignment() -> None:
    found = explain(in_float32(PLANTED), XOR, max_depth=2)
    drawn = explanations_figures.of_output(0, found)
    circuit = drawn["circuit_0"]().axes[0]
    assert "4 edges" not in circuit.get_title() and f"{PLANTED.space.full.bit_count()} edges" in circuit.get_title()
    red, blue = styles.POSITIVE, styles.NEGATIVE
    edges = {(0, 0, 0, red), (0, 1, 0, blue), (0, 0, 1, blue), (0, 1, 1, red), (1, 0, 0, red), (1, 1, 0, red)}
    assert network_edges(circuit) == edges
    by_height = sorted(circuit.texts, key=lambda text: (text.get_position()[0], -text.get_position()[1]))
    gates = [logic.name_of("0010"), logic.name_of("0100"), "OR\n= XOR"]  # A ∧ ¬B, ¬A ∧ B, and what joins them
    assert [text.get_text() for text in by_height] == ["A", "B", *gates]
    left, right = drawn["alignment_0"]().axes
    assert left.get_title() == "(A ∧ ¬B) ∨ (¬A ∧ B)"
    colours = {text.get_text(): text.get_bbox_patch().get_facecolor() for text in right.texts}
    assert list(colours) == ["A", "B", "h1.0 (1)", "h1.1 (2)", "out"] and network_edges(right) == edges
    assert colours["h1.0 (1)"] == to_rgba(explanations_figures.COLOURS[0])
    assert colours["h1.1 (2)"] == to_rgba(explanations_figures.COLOURS[1]) and colours["out"] == to_rgba("white")
    of_gates = [text.get_bbox_patch().get_facecolor() for text in left.texts if text.get_text()[0] in "∨∧"]
    assert set(of_gates) == {to_rgba("white"), colours["h1.0 (1)"], colours["h1.1 (2)"]}

"""What the figures of methods that find circuits draw, of hand-made rows."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import PolyCollection

from mi_runner.experiments.discovery import figures as discovery_figures
from tests.drawn import near, words
from tests.small_parts import random_part


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

    by_ablation = {"zero": curves(0.0), "mean": curves(0.2)}
    figure = discovery_figures.of_output(0, random_part((1, 1), ["identity"]), by_ablation)["curves_0"]()
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
        {"method": method, "layer": layer, "source": source, "target": 0, "score": score}
        for method, of in (("eap", (1.0, 4.0, 2.0)), ("random", (-0.5, 0.25, 0.1)))
        for (layer, source), score in zip(((0, 0), (0, 1), (1, 0)), of, strict=True)
    ]
    curves = discovery_figures.Curves([], [], scores, np.array([0.1, 0.2, 0.3]))
    part = random_part((2, 1, 1), ["relu", "identity"])
    figure = discovery_figures.of_output(0, part, {"zero": curves})["scores_zero_0"]()
    names = ["eap", "random", "fraction of valid circuits"]
    assert words(figure)[:6] == [
        ("", "layer 0\nto", names[0]), ("", "", names[1]), ("", "", names[2]),
        ("from", "layer 1\nto", ""), ("from", "", ""), ("from", "", ""),
    ]  # fmt: skip
    # Scores with a sign and those without have a scale each.
    scales = [("score ÷ the largest, or fraction", "", ""), ("score ÷ the method's largest", "", "")]
    assert words(figure)[6:] == scales
    for axes, across, down in zip(figure.axes, (2, 2, 2, 1, 1, 1), (1,) * 6, strict=False):
        assert (list(axes.get_xticks()), list(axes.get_yticks())) == (list(range(across)), list(range(down)))
    expected = [[0.25, 1.0], [-1.0, 0.5], [0.1, 0.2], [0.5], [0.2], [0.3]]
    for axes, values in zip(figure.axes, expected, strict=False):
        assert np.asarray(axes.images[0].get_array()).ravel() == near(values)
        assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in values]
        assert [text.get_position() for text in axes.texts] == [(source, 0) for source in range(len(values))]

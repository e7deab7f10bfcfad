"""What the figures of probes draw, of hand-made rows."""

from __future__ import annotations

from mi_runner.experiments.probes import figures as probes_figures
from tests.drawn import Row, legend, near, ticks, words


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
            for style in [(line.get_linestyle(), line.get_markerfacecolor() == "none")]
        }
        of = {
            control: [row[measure] for row in rows if (row["variables"], row["control"]) == (name, control)]
            for control in ("none", "untrained", "shuffled", "input")
        }
        assert drawn["-", False] == ([0, 1], near(of["none"])) and drawn["--", True] == ([0, 1], near(of["untrained"]))
        assert drawn[":", False] == ([0, 1], [-0.25, -0.25]) and drawn["None", True] == ([-1], near(of["input"]))
        (solid,) = (line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()))
        assert solid.get_label() == name
    assert list(legend(figure.axes[1])) == ["side", "untrained", "shuffled", "input"]

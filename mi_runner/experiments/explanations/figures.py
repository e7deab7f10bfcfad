"""Pictures of explanations: a circuit with its gates, an algorithm beside the network, groundings per circuit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_runner.datasets import logic
from mi_runner.datasets.algorithms import CONVERSE_NIMP, NIMP, OR, Tree
from mi_runner.experiments import Drawing
from mi_runner.experiments.common import drawing
from mi_runner.machine import layout
from mi_runner.methods.explanations.alignments import Alignment
from mi_runner.methods.explanations.boolean import digits_of
from mi_runner.methods.explanations.explain import Explanations
from mi_runner.methods.explanations.groundings import GroundedNeuron, Grounding, list_groundings
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (styles.ORANGE, styles.GREEN, styles.PINK, "#f0e442", styles.SKY, "tan", "tab:pink", "tab:olive")
"""Of an algorithm's nodes and the neurons that carry them; not those of edges, red and blue. Both have letters, too."""


NEGATIVE = {"color": styles.NEGATIVE, "linestyle": styles.NEGATIVE_DASHES}
"""How an edge with a negative weight is drawn."""


def of_output(output: int, found: Explanations) -> dict[str, Drawing]:
    """Returns figures of one output: groundings per circuit, the sparsest grounded circuit, an aligned algorithm."""
    drawn: dict[str, Drawing] = {}
    if found.groundings:
        drawn[f"groundings_{output}"] = partial(_groundings, found.groundings, found.circuits.n_valid)
    counts = dict(zip(found.circuits.valid.tolist(), found.groundings, strict=True))
    sparsest = min((circuit.bit_count(), circuit) for circuit in counts) if counts else None
    if sparsest is not None:
        grounded = [(circuit.bit_count(), circuit) for circuit, count in counts.items() if count]
        _, circuit = min(grounded) if grounded else sparsest
        first = list_groundings(found.network, circuit, most=1)
        drawn[f"circuit_{output}"] = partial(_circuit, found, circuit, first[0] if first else None, counts[circuit])
    for _, aligned in found.aligned:
        joint = [each for each in (*(aligned.joint or ()), *aligned.single) if each.sets]
        if joint:
            drawn[f"alignment_{output}"] = partial(_alignment, found, joint[0])
            break
    return drawn


def gate_name(node: GroundedNeuron) -> str:
    """Returns the name of a neuron's local table, or its digits."""
    if len(node.parents) == 1:
        return {"01": "IS", "10": "NOT"}.get(node.local_digits, node.local_digits)
    return logic.name_of(node.local_digits) if len(node.parents) <= logic.MOST_INPUTS else node.local_digits


def of_seeds(rows: Sequence[Row]) -> dict[str, Drawing]:
    """Returns a figure of how the counts of the first output differ from network to network."""
    names = [name for name in ("n_valid", "n_groundings", "n_alignments") if any(row[name] for row in rows)]
    if not names:
        return {}
    return {"seeds": partial(_seeds, rows, names)}


def _seeds(rows: Sequence[Row], names: Sequence[str]) -> Figure:
    figure, panels = layout.panels(1, len(names), (3, 2.2 if layout.is_narrow(5) else 2.8))
    for axes, name in zip(panels[0], names, strict=True):
        values = sorted(float(row[name]) for row in rows if row[name] is not None)
        axes.plot(values, (np.arange(len(values)) + 1) / len(values), drawstyle="steps-post", color="tab:blue")
        if name != "n_alignments" and values[0] > 0:
            axes.set_xscale("log")
        axes.set(xlabel=name, ylim=(0, 1.02))
        axes.set_ylabel("fraction of networks with at most so many" if name == names[0] else "", fontsize=7)
        drawing.tidy(axes)
    return figure


def _groundings(counts: Sequence[int], n_valid: int) -> Figure:
    """Draws how many circuits have how many groundings.

    Args:
        counts: of all valid circuits, or of a sample.
        n_valid: all valid circuits.
    """
    figure = layout.blank(4.5, 2.5 if layout.is_narrow(4) else 3)
    axes = figure.subplots()
    logs = [math.log10(count) for count in counts if count]
    n_none = len(counts) - len(logs)
    axes.hist(logs, bins=30, color="tab:blue")
    axes.set(xlabel="log10 of the groundings of a circuit", ylabel="valid circuits")
    which = f"{n_valid:,}" if len(counts) == n_valid else f"sample of {len(counts):,} of {n_valid:,}"
    axes.set_title(f"{which} valid circuits, {n_none:,} of them without a grounding", fontsize=9)
    drawing.tidy(axes)
    return figure


def _places(sizes: Sequence[int]) -> list[list[tuple[float, float]]]:
    return [
        [(float(layer), float(height)) for height in np.linspace(1, 0, size + 2)[1:-1]]
        for layer, size in enumerate(sizes)
    ]


def _circuit(found: Explanations, circuit: int, grounding: Grounding | None, n_groundings: int) -> Figure:
    """Draws the kept edges, and at each neuron its gate; behind the first layer also its function of the inputs."""
    sizes = found.network.sizes
    places = _places(sizes)
    figure = layout.blank(1.7 * len(sizes) + 0.6, 0.75 * max(sizes) + 1.3)
    axes = figure.subplots()
    _edges(axes, found, places, circuit)
    variables = logic.variable_names(sizes[0])
    labels = {(0, i): variables[i] for i in range(sizes[0])}
    for node in grounding.neurons if grounding else ():
        of_inputs = logic.name_of(digits_of(node.table, 2 ** sizes[0]))
        gate = gate_name(node)
        labels[node.layer, node.neuron] = gate if node.layer == 1 else f"{gate}\n= {of_inputs}"
    for layer, row in enumerate(places):
        for neuron, (x, y) in enumerate(row):
            text = labels.get((layer, neuron), "")
            _box(axes, x, y, text, "white" if text else "0.9")
    axes.set_title(
        f"sparsest {'' if found.is_complete else 'sampled '}valid circuit with a grounding: "
        f"{circuit.bit_count()} edges; the first of its groundings ({n_groundings:,})\n"
        "in a box: the gate that joins the neurons before it; after =, its function of the inputs\n"
        "(edges: solid red positive, dashed blue negative weight)",
        fontsize=8,
    )
    _frame(axes, len(sizes))
    return figure


def _edges(axes: Axes, found: Explanations, places: list[list[tuple[float, float]]], circuit: int) -> None:
    masks = found.network.space.masks(circuit)
    for layer, (mask, weights) in enumerate(zip(masks, found.network.part.layers, strict=True)):
        largest = float(weights.weight.abs().max()) or 1.0
        for target, source in zip(*np.nonzero(mask), strict=True):
            weight = float(weights.weight[target, source])
            (x0, y0), (x1, y1) = places[layer][source], places[layer + 1][target]
            look = {"color": styles.POSITIVE} if weight > 0 else NEGATIVE
            axes.plot([x0, x1], [y0, y1], linewidth=0.5 + 2 * abs(weight) / largest, zorder=1, **look)


def _box(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    axes.text(
        x, y, text or "  ", ha="center", va="center", fontsize=8, zorder=3,
        bbox={"boxstyle": "round", "facecolor": colour, "edgecolor": "black"},
    )  # fmt: skip


def _frame(axes: Axes, n_columns: float) -> None:
    axes.set(xlim=(-0.5, n_columns - 0.5), ylim=(-0.02, 1.02))
    axes.set_axis_off()


def _alignment(found: Explanations, alignment: Alignment) -> Figure:
    """Draws the algorithm as a tree, and the network; a node and its neurons have one colour."""
    algorithm, sizes = alignment.algorithm, found.network.sizes
    panel = 1.3 * len(sizes) / 2 + 1.6
    figure, panels = layout.panels(1, 2, (panel, 0.7 * max(sizes) + 0.8), (0, 0.4), least=2.6)
    left, right = panels[0]
    _tree(left, algorithm.tree, algorithm.depth)
    left.set_title(algorithm.formula, fontsize=9)
    places = _places(sizes)
    _edges(right, found, places, found.network.space.full)
    carried = {(chosen.layer, neuron): node for node, chosen in enumerate(alignment.sets) for neuron in chosen.neurons}
    variables = logic.variable_names(sizes[0])
    for layer, row in enumerate(places):
        for neuron, (x, y) in enumerate(row):
            text = variables[neuron] if layer == 0 else f"h{layer}.{neuron}" if layer < len(sizes) - 1 else "out"
            node = carried.get((layer, neuron))
            text, colour = (text, "white") if node is None else (f"{text} ({node + 1})", COLOURS[node % len(COLOURS)])
            _box(right, x, y, text, colour)
    right.set_title(
        "neurons carry the node of their colour and number\n(edges: solid red positive, dashed blue negative weight)",
        fontsize=9,
    )
    _frame(right, len(sizes))
    return figure


def _tree(axes: Axes, tree: Tree, depth: int) -> None:
    numbers = iter(range(-1, 2 ** (depth + 1)))

    def draw(tree: Tree, x: float, y: float, width: float) -> None:
        if isinstance(tree, int):
            _box(axes, x, y, "ABCDE"[tree], "white")
            return
        gate, *sides = tree
        node: Any = next(numbers)
        for side, way in zip(sides, (-1, 1), strict=True):
            negated = (gate == NIMP and way == 1) or (gate == CONVERSE_NIMP and way == -1)
            x1, y1 = x + way * width / 2, y - 1 / (depth + 1)
            axes.plot([x, x1], [y, y1], color="black", linewidth=0.8, linestyle=":" if negated else "-", zorder=1)
            if negated:
                axes.text(
                    (x + x1) / 2, (y + y1) / 2, "¬", fontsize=12, ha="center", va="center",
                    bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"},
                )  # fmt: skip
            draw(side, x1, y1, width / 2)
        colour = "white" if node < 0 else COLOURS[node % len(COLOURS)]
        sign = "∨" if gate == OR else "∧"
        _box(axes, x, y, sign if node < 0 else f"{sign} ({node + 1})", colour)

    draw(tree, 0.5, 0.95, 0.5)
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.02, 1.05))
    axes.set_axis_off()

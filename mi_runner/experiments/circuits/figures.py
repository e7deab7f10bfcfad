"""Figures of the circuits experiment, drawn from its tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mi_runner.experiments import Drawing
from mi_runner.experiments.common import drawing
from mi_runner.graph.chain import Part
from mi_runner.machine import layout
from mi_runner.methods.circuits.drawing import draw_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.tables import styles
from mi_runner.tables.declaration import Row
from mi_runner.tables.whole_numbers import large

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST_PLACES = 2_000
"""Of more different pairs of sparsity and accuracy, hexagons count the circuits."""

MOST_CIRCUITS = 6
"""Circuits in the figure of the sparsest ones."""

MOST_WRITTEN = 12
"""Neurons of a layer of which the heat map of edges has the numbers in figures, too."""

MOST_STRETCHED = 4
"""Up to this many times as many neurons on one side as on the other, a heat map's cells are squares."""

MOST_SHARED = 12
"""Circuits in the figure of a comparison of networks, the commonest first."""


def of_output(
    part: Part,
    space: CircuitSpace,
    output: int | str,
    shares: np.ndarray,
    n_valid: int,
    table: DataFrame,
    *,
    is_estimate: bool = False,
) -> dict[str, Drawing]:
    """Returns the figures of one output by name.

    They show how often each edge occurs in valid circuits, the sparsest valid circuits, and accuracy against sparsity.

    Args:
        part: with this output only, or with all.
        space: its circuits.
        output: counted from 0, or `all`.
        shares: `(n_edges,)`, the fraction of valid circuits that keep each edge.
        n_valid: number of valid circuits, or about how many there are.
        is_estimate: whether that is an estimate.
        table: the rows of circuits.parquet for this output.
    """
    drawn: dict[str, Drawing] = {}
    about = "about " if is_estimate else ""
    valid = table.loc[table["valid"], ["circuit", "n_edges"]]
    drawn_from = "" if len(valid) == n_valid else f" of {about}{large(n_valid)} valid ones, drawn at random"
    if len(table):
        columns = table[["sparsity", "accuracy"]]
        drawn[f"sparsity_{output}"] = partial(_sparsity, columns, f"{len(table):,} circuits{drawn_from}")
    if n_valid:
        drawn[f"edges_{output}"] = partial(_edge_heat_map, part, space, shares, f"{about}{large(n_valid)}")
    if len(valid):
        circuits, n_edges = space.edges.bits(valid["circuit"].to_numpy()), valid["n_edges"].to_numpy()
        shown = min(MOST_CIRCUITS, len(circuits))
        few = n_edges <= np.partition(n_edges, shown - 1)[shown - 1]  # those that can be among the first
        sparsest = circuits[few][np.lexsort((circuits[few], n_edges[few]))[:shown]].tolist()
        among = f"the sparsest of {len(valid):,} circuits{drawn_from}" if drawn_from else "the sparsest valid circuits"
        titles = _titles(table, sparsest, space.n_edges)
        drawn[f"sparsest_{output}"] = partial(draw_circuits, part, sparsest, among, titles)
    return drawn


def _titles(table: DataFrame, circuits: Sequence[int], n_edges: int) -> list[str]:
    """Returns the title of each circuit: how many edges it keeps, and its accuracy."""
    accuracy = dict(zip(table["circuit"].tolist(), table["accuracy"].tolist(), strict=True))
    return [
        f"{circuit.bit_count()} of {n_edges} edges\naccuracy {accuracy[circuit]:.3f}" if circuit in accuracy
        else f"{circuit.bit_count()} of {n_edges} edges"
        for circuit in circuits
    ]  # fmt: skip


def overlaps(rows: Sequence[Row]) -> Figure:
    """Returns the distribution of overlaps of each set of circuits, with that of random circuits of the same sizes.

    Args:
        rows: of overlaps.csv, of one output.
    """
    of_sets = {name: [row for row in rows if row["which"] == name] for name in ("valid", "minimal")}
    of_sets = {name: found for name, found in of_sets.items() if found}
    figure, panels = layout.panels(1, len(of_sets), (4, 2.4 if layout.is_narrow(4) else 3.2), (1, 0), least=2.2)
    for axes, (name, bins) in zip(panels[0], of_sets.items(), strict=True):
        edges = [*(row["overlap_from"] for row in bins), bins[-1]["overlap_to"]]
        axes.stairs([row["share"] for row in bins], edges, fill=True, color=styles.SKY, label="found")
        if bins[0]["share_chance"] is not None:
            chance = [row["share_chance"] for row in bins]
            axes.stairs(
                chance, edges, color=drawing.REFERENCE, linewidth=1.5, label="random circuits of the same sizes"
            )
        title = "valid circuits" if name == "valid" else "subset-minimal valid circuits"
        axes.set(xlim=(0, 1), xlabel="overlap of two circuits (Jaccard)", ylabel="fraction of pairs")
        axes.set_title(title, fontsize=9)
        drawing.tidy(axes)
        if not layout.is_narrow(4):
            axes.legend(frameon=False, fontsize=7)
    if layout.is_narrow(4):
        layout.key(axes)
    return figure


def _sparsity(table: DataFrame, title: str) -> Figure:
    figure = layout.blank(6, 2.7 if layout.is_narrow(5) else 4)
    axes = figure.subplots()
    places = table.groupby(["sparsity", "accuracy"]).size().reset_index(name="n")
    if len(places) <= MOST_PLACES:  # hexagons would move the few points
        at = places["sparsity"], places["accuracy"]
        shown: ScalarMappable = axes.scatter(*at, c=places["n"], s=14, norm="log", cmap="viridis")
    else:
        shown = axes.hexbin(table["sparsity"], table["accuracy"], gridsize=40, bins="log", mincnt=1, cmap="viridis")
    axes.set(xlabel="fraction of neurons and edges left out", ylabel="accuracy")
    axes.set_title(title, fontsize=9)
    figure.colorbar(shown, label="circuits")
    drawing.tidy(axes)
    return figure


def _edge_heat_map(part: Part, space: CircuitSpace, shares: np.ndarray, n_valid: str) -> Figure:
    blocks = space.edges.masks(shares)
    figure, panels = layout.panels(1, len(blocks), (2.4, 2.4), (1.2, 0.4), least=1.3 if len(blocks) < 3 else 2.6)
    for index, (axes, block) in enumerate(zip(panels[0], blocks, strict=True)):
        n_out, n_in = block.shape
        is_long = max(n_out, n_in) > MOST_STRETCHED * min(n_out, n_in)
        shown = axes.imshow(block, cmap="magma", vmin=0, vmax=1, aspect="auto" if is_long else "equal")
        is_written = max(n_out, n_in) <= MOST_WRITTEN
        if is_written:
            layout.numbers(axes, {at: f"{block[at]:.2f}" for at in np.ndindex(n_out, n_in)}, block < 0.6, size=8)
        axes.set(xlabel="from", title=f"layer {index}")
        if is_written:
            axes.set(xticks=range(n_in), yticks=range(n_out))
        drawing.name_ends(axes, part, index)
        if index == 0:
            axes.set_ylabel("to")
    figure.colorbar(shown, ax=list(panels[0]), label="fraction of valid circuits")
    figure.suptitle(f"edges of {n_valid} valid circuits", fontsize=9)
    return figure


def of_networks(rows: Sequence[Row]) -> Figure:
    """Returns how often edges (left) and circuits (right) recur over networks, beside random matchings.

    Args:
        rows: of one output, as `circuits_comparison.compare_networks` returns them.
    """
    edges = [row for row in rows if row["kind"] == "edge"]
    # A circuit's name is its rank; sweep_circuits.csv has its edges in the same order.
    circuits = [row for row in rows if row["kind"] != "edge"][: 1 + MOST_SHARED]
    figure, panels = layout.panels(1, 2, (4.5, 0.9 + 0.2 * max(len(edges), len(circuits))), (0, 0.5), least=2.5)
    labels = [row["edges"] for row in edges], ["commonest", *(f"circuit {n}" for n in range(1, len(circuits)))]
    for axes, shown, names, what in zip(
        panels[0], (edges, circuits), labels, ("edge layer:from→to", "circuit"), strict=True
    ):
        for height, row in enumerate(shown):
            ends = row["random_share_low"], row["random_share_high"]
            axes.plot(ends, [height + 0.2] * 2, color=drawing.REFERENCE, linewidth=1, alpha=0.6)
            axes.plot(row["random_share"], height + 0.2, "|", color=drawing.REFERENCE, markersize=6)
            axes.plot(row["share"], height - 0.1, "o", color=styles.BLUE, markersize=4)
            if row["share_low"] is not None:
                axes.plot([row["share_low"], row["share_high"]], [height - 0.1] * 2, color=styles.BLUE, linewidth=1.2)
        axes.plot(
            [], [], "o-", color=styles.BLUE, markersize=4, label="matched by activations; edges with 95 % interval"
        )
        axes.plot([], [], "|-", color=drawing.REFERENCE, label="matched at random, 95 % of draws")
        axes.set_yticks(range(len(shown)), names, fontsize=7)
        axes.invert_yaxis()
        axes.set(xlim=(-0.02, 1.02), xlabel=f"share of {rows[0]['n_networks']} networks", ylabel=what)
        drawing.tidy(axes)
    layout.key_below(figure, layout.labelled(axes))
    return figure

"""How many different sub-networks explain the same behaviour? (Méloux et al., ICLR 2025)

The last layers of a network are cut off and analysed on the activations that enter them: every well-formed circuit is
evaluated on the test set. A circuit is valid if its accuracy is above the threshold. Several outputs are analysed each
by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mi_runner import chance, figures
from mi_runner.circuits.circuit import compare_pairs, edge_shares, n_active
from mi_runner.circuits.evaluation import Examples, Measured, measure
from mi_runner.circuits.part import Part, find_part
from mi_runner.circuits.space import CircuitSpace
from mi_runner.config import CircuitsConfig, CircuitTable
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.evaluation import batches
from mi_runner.experiments import Result, Setting
from mi_runner.graph import ModelGraph
from mi_runner.interventions import read_sites
from mi_runner.progress import log

if TYPE_CHECKING:
    from pandas import DataFrame

CUT_TOLERANCE = 1e-6
"""The analysed part must give the whole network's outputs within this (and a millionth of the largest)."""

MOST_CIRCUITS = 2 * 10**10
"""A larger space is refused."""

MOST_COMPARED = 5_000
"""Valid circuits that are all compared with each other; of more, a random sample of as many."""

NUMBERS_PER_SECOND = 1e9
"""Circuits times examples a second, for the estimate: half of what two cores do."""

BYTES_PER_ROW = 120
"""Of a table with a row a circuit, while it is built."""


def check(setting: Setting) -> None:
    """The last layers are a chain that can be analysed, and the search is not too large.

    Raises:
        ConfigError: they aren't, or it is; the text has the count and what would make it smaller.
    """
    config = _config(setting)
    if setting.dataset.has_classes:
        raise ConfigError(
            "experiment=circuits rounds outputs to integers, so the targets must be values: type dataset.target=value."
        )
    part = find_part(_graph(setting), config.last_layers)
    space = _space(part.output(0))
    count = space.count()
    smaller = "lower experiment.last_layers, or take a network with narrower last layers (model.hidden_sizes)"
    if count > MOST_CIRCUITS:
        raise ConfigError(f"{_named(space)} have {count:,} circuits, more than {MOST_CIRCUITS:,}: {smaller}.")
    if config.table is CircuitTable["all"] and count > config.max_table_rows:
        raise ConfigError(
            f"experiment.table=all: {_named(space)} have {count:,} circuits, more than "
            f"experiment.max_table_rows={config.max_table_rows:,}. Type experiment.table=auto, or {smaller}."
        )


def run(setting: Setting) -> Result:
    """Counts, a census, a table of circuits, and how the valid ones compare."""
    config, dataset = _config(setting), setting.dataset
    graph = _graph(setting)
    part = find_part(graph, config.last_layers)
    entering, outputs = _recorded(graph, part, dataset.x_test)
    _check_cut(part, entering, outputs)
    targets = dataset.y_test.reshape(len(outputs), -1)

    rows, census, edges, tables = [], [], [], []
    drawn: dict[str, Any] = {}
    seconds = 0.0
    for number in range(outputs.shape[1]):
        single = part.output(number)
        space = _space(single)
        examples = Examples(entering, targets[:, number], outputs[:, number])
        log.info(_estimate(space, examples, number))
        began = time.perf_counter()
        found, counted = _search(setting, single, space, examples)
        enumerated = time.perf_counter() - began
        seconds += enumerated
        row, valid = _summary(setting, space, examples, number, found, counted)
        row["seconds"] = enumerated
        rows.append(row)
        setting.progress.rows("metrics", [row])
        census += [{"output": number, **line} for line in _census_rows(counted)]
        edges += _edge_rows(single, space, number, valid)
        tables.append(_table(space, examples, number, found, config))
        drawn |= figures.circuits(single, space, number, valid, tables[-1], config.accuracy_threshold)

    written: dict[str, Any] = {"metrics": rows, "census": census, "edges": edges}
    if config.table is not CircuitTable["none"]:
        import pandas as pd

        written["circuits"] = pd.concat(tables, ignore_index=True)
    first = rows[0]
    metrics = {name: float(first[name]) for name in first if name not in ("output", "seconds")}
    metrics["accuracy"] = metrics.pop("full_accuracy")
    return Result(
        tables=written,
        metrics={name: value for name, value in metrics.items() if value == value},
        figures=drawn,
        parquet=frozenset({"circuits"}),
        timings={"enumerate": seconds},
    )


# --- the cut ---------------------------------------------------------------------------------------------------------


def _graph(setting: Setting) -> ModelGraph:
    return ModelGraph.trace(setting.model, setting.dataset.x_test[:2], leaves=setting.leaves)


def _config(setting: Setting) -> CircuitsConfig:
    assert isinstance(setting.config, CircuitsConfig)
    return setting.config


def _space(part: Part) -> CircuitSpace:
    try:
        return CircuitSpace(part.sizes)
    except ValueError as error:
        raise ConfigError(f"{error} Lower experiment.last_layers, or take narrower last layers.") from error


def _named(space: CircuitSpace) -> str:
    return f"layers of {'-'.join(map(str, space.sizes))} neurons"


@torch.no_grad()
def _recorded(graph: ModelGraph, part: Part, x: Tensor) -> tuple[Tensor, Tensor]:
    """The activations that enter the part, `(N, n_0)`, and the whole network's outputs, `(N, n_L)`."""
    parts = [read_sites(graph, batch, [part.site, graph.output]) for batch in batches(x)]
    return tuple(torch.cat([values[site] for values in parts]).cpu() for site in (part.site, graph.output))


def _check_cut(part: Part, entering: Tensor, outputs: Tensor) -> None:
    """The part alone gives what the whole network gives.

    Raises:
        RunFailed: it doesn't.
    """
    with torch.no_grad():
        alone = _on_cpu(part)(entering)
    difference = float((alone - outputs).abs().max())
    if not difference <= CUT_TOLERANCE * max(1.0, float(outputs.abs().max())):
        raise RunFailed(f"the last layers alone miss the whole network's outputs by {difference:.3g}.")


def _on_cpu(part: Part) -> Part:
    from dataclasses import replace

    layers = tuple(replace(layer, weight=layer.weight.cpu(), bias=layer.bias.cpu()) for layer in part.layers)
    return replace(part, layers=layers)


# --- the search ------------------------------------------------------------------------------------------------------


def _estimate(space: CircuitSpace, examples: Examples, number: int) -> str:
    count = space.count()
    took = count * len(examples) / NUMBERS_PER_SECOND
    return (
        f"output {number}: {count:,} circuits of {_named(space)}, {len(examples):,} examples: "
        f"about {took:,.1f} s, {min(count, 5_000_000) * BYTES_PER_ROW / 1e6:,.0f} MB"
    )


def _search(
    setting: Setting, part: Part, space: CircuitSpace, examples: Examples
) -> tuple[Measured, dict[tuple[int, int, int], int]]:
    """The circuits that the table may need, and the census of all: (nodes, edges, right answers) → circuits.

    Where all fit into a table these are all circuits, else the valid ones, up to the table's limit.
    """
    config = _config(setting)
    keep_all = space.count() <= config.max_table_rows
    least_nodes_out = config.min_node_sparsity * space.n_hidden
    kept: list[Measured] = []
    n_kept = 0
    census: dict[tuple[int, int, int], int] = {}
    for found in measure(_on_cpu(part), examples, progress=setting.progress):
        if least_nodes_out:
            found = found.kept(space.n_hidden - n_active(space, found.circuit) >= least_nodes_out - 1e-9)
        for key, count in _counted(space, found):
            census[key] = census.get(key, 0) + count
        if not keep_all:
            found = found.kept(found.n_right / len(examples) > config.accuracy_threshold)
            found = found.kept(np.arange(len(found)) < config.max_table_rows - n_kept)
        n_kept += len(found)
        kept.append(found)
    joined = Measured.joined(kept)
    return joined.kept(np.argsort(joined.circuit)), census


def _counted(space: CircuitSpace, found: Measured) -> Iterator[tuple[tuple[int, int, int], int]]:
    nodes, edges = n_active(space, found.circuit), np.bitwise_count(found.circuit).astype(np.int64)
    n_values = int(found.n_right.max(initial=0)) + 1
    codes = (nodes * (space.n_edges + 1) + edges) * n_values + found.n_right
    for code, count in zip(*np.unique(codes, return_counts=True), strict=True):
        rest, right = divmod(int(code), n_values)
        yield (*divmod(rest, space.n_edges + 1), right), int(count)


# --- tables ----------------------------------------------------------------------------------------------------------


def _summary(
    setting: Setting,
    space: CircuitSpace,
    examples: Examples,
    number: int,
    found: Measured,
    census: dict[tuple[int, int, int], int],
) -> tuple[dict[str, Any], np.ndarray]:
    """The row of an output, and its valid circuits."""
    config, n = _config(setting), len(examples)

    def counted(*, valid: bool, partial: bool) -> int:
        return sum(
            count
            for (nodes, _, right), count in census.items()
            if (not valid or right / n > config.accuracy_threshold) and (not partial or nodes < space.n_hidden)
        )

    valid = found.circuit[found.n_right / n > config.accuracy_threshold]
    contained = overlap = float("nan")
    if config.pairs and len(valid) > 1:
        compared = valid
        if len(valid) > MOST_COMPARED:
            draw = chance.generator(setting.seed, "pairs", number)
            compared = valid[torch.randperm(len(valid), generator=draw)[:MOST_COMPARED].sort().values.numpy()]
            log.info(
                f"output {number}: {MOST_COMPARED:,} of {len(valid):,} valid circuits, drawn at random, are compared"
            )
        n_contained, overlaps = compare_pairs(compared)
        n_pairs = len(compared) * (len(compared) - 1) / 2
        contained, overlap = n_contained / n_pairs, overlaps / n_pairs
    row = {
        "output": number,
        "n_circuits": counted(valid=False, partial=False),
        "n_valid": counted(valid=True, partial=False),
        "n_circuits_partial": counted(valid=False, partial=True),
        "n_valid_partial": counted(valid=True, partial=True),
        "full_accuracy": float((examples.full.round() == examples.target).double().mean()),
        "threshold": config.accuracy_threshold,
        "pairs_contained": contained,
        "mean_jaccard": overlap,
    }
    return row, valid


def _census_rows(census: dict[tuple[int, int, int], int]) -> Iterator[dict[str, int]]:
    for (nodes, edges, right), count in sorted(census.items()):
        yield {"n_nodes": nodes, "n_edges": edges, "n_correct": right, "n_circuits": count}


def _edge_rows(part: Part, space: CircuitSpace, number: int, valid: np.ndarray) -> Iterator[dict[str, Any]]:
    """Each edge of the full circuit, its weight, and its share among the valid circuits."""
    shares = edge_shares(space, valid)
    for layer, (start, this) in enumerate(zip(space.offsets, part.layers, strict=True)):
        for to, row in enumerate(this.weight.tolist()):
            for source, weight in enumerate(row):
                yield {
                    "output": number,
                    "layer": layer,
                    "source": source,
                    "target": to,
                    "weight": weight,
                    "share": float(shares[start + to * len(row) + source]) if len(valid) else None,
                }


def _table(space: CircuitSpace, examples: Examples, number: int, found: Measured, config: CircuitsConfig) -> DataFrame:
    """A row a circuit; the columns that the README lists."""
    import pandas as pd

    accuracy = found.n_right / len(examples)
    valid = accuracy > config.accuracy_threshold
    rows = np.ones(len(found), dtype=bool)
    if config.table is CircuitTable["valid"]:
        rows = valid
    if config.table is CircuitTable["none"]:
        rows = ~rows
    found, accuracy, valid = found.kept(rows), accuracy[rows], valid[rows]
    nodes, edges = n_active(space, found.circuit), np.bitwise_count(found.circuit).astype(np.int64)
    return pd.DataFrame(
        {
            "output": np.full(len(found), number),
            "circuit": found.circuit,
            "accuracy": accuracy,
            "agreement": found.n_equal / len(examples),
            "mse": found.squares / np.float32(len(examples)),
            "n_nodes": nodes,
            "n_edges": edges,
            "node_sparsity": 1 - nodes / max(1, space.n_hidden),
            "edge_sparsity": 1 - edges / space.n_edges,
            "sparsity": 1 - (nodes + edges) / (space.n_hidden + space.n_edges),
            "valid": valid,
        }
    )

"""How many different sub-networks explain the same behaviour? (Méloux et al., ICLR 2025)

The last layers of a network are cut off and analysed on the activations that enter them: every well-formed circuit is
evaluated on the test set. A circuit is valid if its accuracy is above the threshold. Several outputs are analysed each
by itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.batches import batches
from mi_runner.config.schemas import CircuitsConfig, CircuitTable
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.experiments import Result, Setting, circuits_figures
from mi_runner.graph.chain import Part, find_part, longest_part
from mi_runner.graph.interventions import read_sites
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.circuits.circuit import compare_pairs, edge_counts, n_active
from mi_runner.methods.circuits.evaluation import (
    Examples,
    Measured,
    measure,
    measure_on,
    measure_some,
    rounding_interval,
    take_census,
)
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import log
from mi_runner.statistics import NOT_NEGATIVE, SHARE

if TYPE_CHECKING:
    from pandas import DataFrame

CUT_TOLERANCE = 1e-6
"""The analysed part must give the whole network's outputs within this (and a millionth of the largest)."""

MOST_CIRCUITS = 2 * 10**10
"""A larger space is refused."""

NARROW = "model=mlp model.hidden_sizes=[128,128,3,3,3] experiment.last_layers=3"
"""A network whose last layers can be analysed, whatever the data: the published one."""

MOST_COMPARED = 5_000
"""Valid circuits that are all compared with each other; of more, a random sample of as many."""

NUMBERS_PER_SECOND = 1e9
"""Circuits times examples a second of a table, for the estimate: about half of what two cores do."""

SECONDS_PER_COUNTED, SECONDS_PER_LOOK = 5e-9, 1e-11
"""What a circuit of a census takes on two cores, for the estimate, and the same for each distinct example."""

BYTES_PER_ROW = 120
"""Of a table with a row a circuit, while it is built."""


def check(setting: Setting) -> None:
    """The last layers are a chain that can be analysed, their answer never falls, and the search is not too large.

    Raises:
        ConfigError: they aren't, it does, or it is; the text has the count, and what to type for a search that can be.
    """
    config = _config(setting)
    if setting.dataset.has_classes:
        raise ConfigError(
            "experiment=circuits rounds outputs to integers, so the targets must be values: type dataset.target=value."
        )
    graph = setting.graph()
    found = _objection(graph, config)
    if found is None:
        return
    why, remedies = found
    chain = longest_part(graph)
    for n in range(len(chain.layers) if chain else 0, 0, -1):
        if _objection(graph, replace(config, last_layers=n)) is None:
            remedies.append(f"experiment.last_layers={n}")
            break
    asked = "null" if config.last_layers is None else config.last_layers
    raise ConfigError(f"experiment.last_layers={asked}: {why} Type {' or '.join(remedies or [NARROW])}.")


def _objection(graph: ModelGraph, config: CircuitsConfig) -> tuple[str, list[str]] | None:
    """Why this search can't be, and what would help besides another number of layers; None if it can."""
    try:
        part = find_part(graph, config.last_layers)
        space = CircuitSpace(part.output(0).sizes)
        if space.n_hidden:
            rounding_interval(part.layers[-1], 0.0)
    except ValueError as error:
        return str(error), []
    count = space.count()
    have = f"{_named(space)} have {count:,} circuits"
    if count > MOST_CIRCUITS:
        return f"{have}, more than {MOST_CIRCUITS:,}.", []
    larger = f"experiment.max_table_rows={count}"
    if config.min_node_sparsity and count > config.max_table_rows:
        return f"experiment.min_node_sparsity works where all circuits fit into a table, but {have}.", [larger]
    if config.table is CircuitTable["all"] and count > config.max_table_rows:
        limit = f"experiment.max_table_rows={config.max_table_rows}"
        return f"experiment.table=all: {have}, more than {limit}.", ["experiment.table=auto", larger]
    return None


def cost(setting: Setting) -> dict[str, int]:
    """The number of circuits, of all outputs together."""
    part = find_part(setting.graph(), _config(setting).last_layers)
    n_outputs = setting.dataset.n_outputs
    return {"circuits": sum(CircuitSpace(part.output(number).sizes).count() for number in range(n_outputs))}


METRICS = ("accuracy", "n_circuits", "n_valid", "n_circuits_partial", "n_valid_partial", "threshold")
METRICS_OF_PAIRS = ("pairs_contained", "mean_jaccard")

KEYS = {
    "metrics": ("output",),
    "census": ("output", "n_nodes", "n_edges", "n_correct"),
    "edges": ("output", "layer", "source", "target"),
    "circuits": ("output", "circuit"),
}

# How many circuits there are follows from the layers, and differs from seed to seed no more than the threshold.
MEASURES = {
    **dict.fromkeys(("accuracy", "full_accuracy", *METRICS_OF_PAIRS), SHARE),
    **dict.fromkeys(("n_valid", "n_valid_partial", "seconds"), NOT_NEGATIVE),
}


def metric_names(setting: Setting) -> list[str]:
    """The summary's names; those of pairs are not a number where there is no pair of valid circuits."""
    return [*METRICS, *METRICS_OF_PAIRS]


def run(setting: Setting) -> Result:
    """Counts, a census, a table of circuits, and how the valid ones compare."""
    config, dataset = _config(setting), setting.dataset
    graph = setting.graph()
    part = _on_cpu(find_part(graph, config.last_layers))
    entering, outputs = _recorded(graph, part, dataset.x_test)
    _check_cut(part, entering, outputs)
    targets = dataset.y_test.reshape(len(outputs), -1).round().cpu()

    rows: list[dict[str, Any]] = []
    census: list[dict[str, int]] = []
    edges: list[dict[str, Any]] = []
    tables = []
    drawn: dict[str, Any] = {}
    seconds = 0.0
    for number in range(outputs.shape[1]):
        single = part.output(number)
        space = CircuitSpace(single.sizes)
        examples = Examples(entering, targets[:, number], outputs[:, number])
        log.info(_estimate(space, examples, number, config.max_table_rows))
        began = time.perf_counter()
        found = _search(setting, single, space, examples, number)
        enumerated = time.perf_counter() - began
        seconds += enumerated
        rows.append(_summary(setting, space, examples, number, found, enumerated))
        setting.progress.rows("metrics", rows[-1:])
        census += _census_rows(number, found.counts)
        edges += _edge_rows(single, space, number, found)
        tables.append(_table(space, examples, number, found, config))
        shares = found.edge_counts / max(1, found.n_valid)
        drawn |= circuits_figures.of_output(single, space, number, shares, found.n_valid, tables[-1])

    written: dict[str, Any] = {"metrics": rows, "census": census, "edges": edges}
    if config.table is not CircuitTable["none"]:
        import pandas as pd

        # A single table isn't copied: it may be most of the memory.
        written["circuits"] = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
    first = {**rows[0], "accuracy": rows[0]["full_accuracy"]}  # the first output's, where there are several
    return Result(
        tables=written,
        keys=KEYS,
        metrics={name: float(first[name]) for name in metric_names(setting)},
        measures=MEASURES,
        figures=drawn,
        parquet=frozenset({"circuits"}),
        timings={"enumerate": seconds},
    )


# --- the cut ---------------------------------------------------------------------------------------------------------


def _config(setting: Setting) -> CircuitsConfig:
    assert isinstance(setting.config, CircuitsConfig)
    return setting.config


def _named(space: CircuitSpace) -> str:
    return f"layers of {'-'.join(map(str, space.sizes))} neurons"


@torch.no_grad()
def _recorded(graph: ModelGraph, part: Part, x: Tensor) -> tuple[Tensor, Tensor]:
    """The activations that enter the part, `(N, n_0)`, and the whole network's outputs, `(N, n_L)`."""
    parts = [read_sites(graph, batch, [part.site, graph.output]) for batch in batches(x)]
    entering, outputs = (torch.cat([values[site] for values in parts]).cpu() for site in (part.site, graph.output))
    return entering, outputs


def _check_cut(part: Part, entering: Tensor, outputs: Tensor) -> None:
    """The part alone gives what the whole network gives.

    Raises:
        RunFailed: it doesn't.
    """
    with torch.no_grad():
        alone = part(entering)
    difference = float((alone - outputs).abs().max())
    if not difference <= CUT_TOLERANCE * max(1.0, float(outputs.abs().max())):
        raise RunFailed(f"the last layers alone miss the whole network's outputs by {difference:.3g}.")


def _on_cpu(part: Part) -> Part:
    layers = tuple(replace(layer, weight=layer.weight.cpu(), bias=layer.bias.cpu()) for layer in part.layers)
    return replace(part, layers=layers)


# --- the search ------------------------------------------------------------------------------------------------------


def _estimate(space: CircuitSpace, examples: Examples, number: int, max_rows: int) -> str:
    count = space.count()
    n_distinct = len(torch.unique(torch.column_stack([examples.x, examples.target]), dim=0))
    kind, seconds = "table", count * n_distinct / NUMBERS_PER_SECOND
    if count > max_rows:
        kind, seconds = "census", count * (SECONDS_PER_COUNTED + SECONDS_PER_LOOK * n_distinct)
    return (
        f"output {number}: {kind} of {count:,} circuits of {_named(space)} on {len(examples):,} examples, "
        f"about {seconds:,.1f} s and at most {min(count, max_rows) * BYTES_PER_ROW / 1e6:,.0f} MB"
    )


@dataclass(frozen=True)
class _Found:
    """What a search found.

    Attributes:
        kept: all circuits where they fit into a table, else the valid ones, of too many a random sample; by their bits.
        counts: `(n_hidden + 1, n_edges + 1, N + 1)`: circuits by active neurons, kept edges, right answers.
        edge_counts: `(n_edges,)`: valid circuits that keep each edge.
        least_right: right answers of a valid circuit.
    """

    kept: Measured
    counts: np.ndarray
    edge_counts: np.ndarray
    least_right: int

    @property
    def n_valid(self) -> int:
        """Valid circuits, kept or not."""
        return int(self.counts[:, :, self.least_right :].sum())

    @property
    def valid(self) -> np.ndarray:
        """The kept circuits that are valid."""
        return self.kept.circuit[self.kept.n_right >= self.least_right]


def _search(setting: Setting, part: Part, space: CircuitSpace, examples: Examples, number: int) -> _Found:
    config = _config(setting)
    n = len(examples)
    least_right = next((right for right in range(n + 1) if right / n > config.accuracy_threshold), n + 1)
    least_left_out = math.ceil(config.min_node_sparsity * space.n_hidden - 1e-9)
    if space.count() > config.max_table_rows and space.n_hidden:
        most = MOST_COMPARED if config.table is CircuitTable["none"] else config.max_table_rows
        draw = chance.generator(setting.seed, "listed circuits", number)
        salt = int(torch.randint(2**63 - 1, (), generator=draw))
        census, listed = take_census(part, examples, least_right, most, salt=salt, progress=setting.progress)
        kept = measure_some(part, examples, listed, progress=setting.progress)
        found = _Found(kept.sorted(), census.counts, census.edge_counts, least_right)
        if len(kept) < found.n_valid:
            log.info(
                f"output {number}: all circuits are counted; {len(kept):,} of the {found.n_valid:,} valid ones, "
                "drawn at random, are measured"
            )
        return found
    device = setting.dataset.x_test.device
    if device.type == "cuda" and space.n_hidden:
        batches_of_circuits = measure_on(device, part, examples, progress=setting.progress)
    else:
        batches_of_circuits = measure(part, examples, progress=setting.progress)
    kept = Measured.joined(list(batches_of_circuits)).sorted()
    kept = kept.kept(space.n_hidden - n_active(space, kept.circuit) >= least_left_out)
    counts = np.zeros((space.n_hidden + 1, space.n_edges + 1, n + 1), dtype=np.int64)
    np.add.at(counts, (n_active(space, kept.circuit), np.bitwise_count(kept.circuit), kept.n_right), 1)
    valid = kept.circuit[kept.n_right >= least_right]
    return _Found(kept, counts, edge_counts(space, valid), least_right)


# --- tables ----------------------------------------------------------------------------------------------------------


def _summary(
    setting: Setting, space: CircuitSpace, examples: Examples, number: int, found: _Found, seconds: float
) -> dict[str, Any]:
    """The row of an output in metrics.csv."""
    config, valid = _config(setting), found.valid
    contained = overlap = float("nan")
    if config.pairs and len(valid) > 1:
        compared = valid
        if len(valid) > MOST_COMPARED:
            draw = chance.generator(setting.seed, "pairs", number)
            compared = valid[torch.randperm(len(valid), generator=draw)[:MOST_COMPARED].sort().values.numpy()]
            log.info(f"output {number}: pairs are compared of {MOST_COMPARED:,} valid circuits, drawn at random")
        n_contained, overlaps = compare_pairs(compared)
        n_pairs = len(compared) * (len(compared) - 1) / 2
        contained, overlap = n_contained / n_pairs, overlaps / n_pairs
    partial = found.counts[: space.n_hidden]
    return {
        "output": number,
        "n_circuits": int(found.counts.sum()),
        "n_valid": found.n_valid,
        "n_circuits_partial": int(partial.sum()),
        "n_valid_partial": int(partial[:, :, found.least_right :].sum()),
        "full_accuracy": float((examples.full.round() == examples.target).double().mean()),
        "threshold": config.accuracy_threshold,
        "pairs_contained": contained,
        "mean_jaccard": overlap,
        "seconds": seconds,
    }


def _census_rows(number: int, counts: np.ndarray) -> Iterator[dict[str, int]]:
    for nodes, edges, right in np.argwhere(counts).tolist():
        count = int(counts[nodes, edges, right])
        yield {"output": number, "n_nodes": nodes, "n_edges": edges, "n_correct": right, "n_circuits": count}


def _edge_rows(part: Part, space: CircuitSpace, number: int, found: _Found) -> Iterator[dict[str, Any]]:
    """Each edge of the full circuit, its weight, and its share among the valid circuits."""
    n_valid = found.n_valid
    for layer, (start, this) in enumerate(zip(space.offsets, part.layers, strict=True)):
        for target, row in enumerate(this.weight.tolist()):
            for source, weight in enumerate(row):
                count = int(found.edge_counts[start + target * len(row) + source])
                yield {
                    "output": number,
                    "layer": layer,
                    "source": source,
                    "target": target,
                    "weight": weight,
                    "n_valid": count,
                    "share": count / n_valid if n_valid else None,
                }


def _table(space: CircuitSpace, examples: Examples, number: int, search: _Found, config: CircuitsConfig) -> DataFrame:
    """A row a circuit."""
    import pandas as pd

    found = search.kept
    if config.table is CircuitTable["valid"]:
        found = found.kept(found.n_right >= search.least_right)
    nodes, edges = n_active(space, found.circuit).astype(np.int32), np.bitwise_count(found.circuit).astype(np.int32)
    return pd.DataFrame(
        {
            "output": np.full(len(found), number, dtype=np.int32),
            "circuit": found.circuit,
            "accuracy": found.n_right / len(examples),
            "agreement": found.n_equal / len(examples),
            "mse": found.squares / np.float32(len(examples)),
            "n_nodes": nodes,
            "n_edges": edges,
            "node_sparsity": 1 - nodes / max(1, space.n_hidden),
            "edge_sparsity": 1 - edges / space.n_edges,
            "sparsity": 1 - (nodes + edges) / (space.n_hidden + space.n_edges),
            "valid": found.n_right >= search.least_right,
        }
    )

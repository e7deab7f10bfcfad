"""How many different sub-networks explain the same behaviour? (Méloux et al., ICLR 2025)

The last layers of a network are cut off and analysed on the activations that enter them. Every well-formed circuit is
evaluated on the test set, or on the examples that `judge_on` says. A circuit is valid if its accuracy is above the
threshold. Each output is analysed by itself.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.config.experiments.circuit_options import JudgeOn
from mi_runner.config.experiments.circuits import CircuitsConfig, CircuitTable
from mi_runner.datasets.distinct import first_of_equal
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.experiments import Drawing, Experiment, Result, Setting
from mi_runner.experiments.circuits import figures
from mi_runner.experiments.circuits.comparison import compare_networks
from mi_runner.experiments.circuits.tables import (
    CENSUS,
    CIRCUITS,
    DECLARED,
    EDGES,
    METRICS,
    OF_JUDGED,
    OF_MINIMALITY,
    OF_PAIRS,
    census_rows,
    edge_rows,
    judged_columns,
)
from mi_runner.experiments.common.circuit_columns import JUDGED
from mi_runner.experiments.common.circuit_picture import circuits_picture, output_picture
from mi_runner.experiments.common.judging import Examples, examples_of
from mi_runner.experiments.common.sentences import counted, figure, measured
from mi_runner.graph.chain import Part, find_part, longest_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.circuits.circuit import pair_shares
from mi_runner.methods.circuits.cut import check_cut, entering_activations
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.minimality import (
    LEVELS,
    MOST_SEARCHED,
    minimality,
    minimality_by_search,
    validity,
)
from mi_runner.methods.circuits.rounding import rounding_interval
from mi_runner.methods.circuits.search import CircuitSearch, fewest_correct, judged, search_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.circuits.table import JudgedElsewhere, circuit_table
from mi_runner.progress import log

MOST_CIRCUITS = 2 * 10**10
"""Largest space of circuits that is searched."""

NARROW = "model=mlp model.hidden_sizes=[128,128,3,3,3] experiment.last_layers=3"
"""The published network; its last layers can be analysed with every data set."""

MOST_COMPARED = 5_000
"""Valid circuits that are compared with each other; if there are more, a random sample of this size."""

NUMBERS_PER_SECOND = 1e9
"""Circuits times examples per second of a table, for the estimate: about half the speed of two cores."""

SECONDS_PER_COUNTED, SECONDS_PER_LOOK = 5e-9, 1e-11
"""Seconds for a circuit of a census on two cores, and for each distinct example of it, for the estimate."""

BYTES_PER_ROW = 120
"""Memory for a row of the table of circuits, while the table is built."""


def check(setting: Setting[CircuitsConfig]) -> None:
    """Checks that the last layers can be analysed, and that the search is neither empty nor too large.

    Raises:
        ConfigError: they can't, or it is; the text has the number of circuits and what to type.
    """
    config = setting.config
    if setting.dataset.has_classes:
        raise ConfigError(
            "experiment=circuits rounds outputs to integers, so the targets must be values: type dataset.target=value."
        )
    graph = setting.graph()
    objection = _objection(graph, config)
    if objection is None:
        examples_of(setting.dataset, config.judge_on, setting.seed)
        return
    why, remedies = objection
    chain = longest_part(graph)
    for n in range(len(chain.layers) if chain else 0, 0, -1):
        if _objection(graph, replace(config, last_layers=n)) is None:
            remedies.append(f"experiment.last_layers={n}")
            break
    asked = "null" if config.last_layers is None else config.last_layers
    raise ConfigError(f"experiment.last_layers={asked}: {why} Type {' or '.join(remedies or [NARROW])}.")


def _objection(graph: ModelGraph, config: CircuitsConfig) -> tuple[str, list[str]] | None:
    """Returns why the search is refused, and what to type besides other last_layers; None if it is accepted."""
    try:
        part = find_part(graph, config.last_layers)
        space = CircuitSpace(part.output(0).sizes, config.inputs.name)
        if space.n_hidden:
            rounding_interval(part.layers[-1], 0.0)
    except ValueError as error:
        return str(error), []
    count = space.count()
    if count == 1:
        return f"{_named(space)} have one circuit, the full one, so there is nothing to compare.", []
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


def cost(setting: Setting[CircuitsConfig]) -> dict[str, int]:
    """Returns the number of circuits of all outputs together."""
    part = find_part(setting.graph(), setting.config.last_layers)
    n_outputs = setting.dataset.n_outputs
    space = CircuitSpace(part.output(0).sizes, setting.config.inputs.name)
    return {"circuits": space.count() * n_outputs}


NAMES = ("accuracy", "n_circuits", "n_valid", "n_circuits_partial", "n_valid_partial", "threshold")
"""What the summary has first; then come the levels of minimality, the pairs, and what is judged on other examples."""


def metric_names(setting: Setting[CircuitsConfig]) -> list[str]:
    """Returns the names of the summary.

    Those of pairs are NaN if there are fewer than two valid circuits, those of minimality if not every valid circuit is
    listed (`n_cardinal` is always known).
    """
    judged_elsewhere = OF_JUDGED if setting.config.judge_on is not JudgeOn.test else ()
    return [*NAMES, *(number.name for number in (*OF_MINIMALITY, *OF_PAIRS, *judged_elsewhere))]


def run(setting: Setting[CircuitsConfig]) -> Result:
    """Returns the counts, the census, the table of circuits, and how valid circuits compare."""
    config, dataset = setting.config, setting.dataset
    graph = setting.graph()
    part = find_part(graph, config.last_layers).to(torch.device("cpu"))
    on = examples_of(dataset, config.judge_on, setting.seed)
    found = _recorded(graph, part, on.found)
    judging = _recorded(graph, part, on.judged) if on.differ else None
    cut = _check_cut(part, judging or found)

    rows: list[dict[str, Any]] = []
    answer = ""
    census: list[dict[str, int]] = []
    edges: list[dict[str, Any]] = []
    tables = []
    drawn: dict[str, Drawing] = {}
    pictures: list[Callable[[], Any]] = []
    seconds = minimal_seconds = 0.0
    n_outputs = found.outputs.shape[1]
    for index in range(n_outputs):
        single = part.output(index)
        examples = found.of_output(index)
        log.info(_estimate(CircuitSpace(single.sizes, config.inputs.name), examples, index, config.max_table_rows))
        began = time.perf_counter()
        result = _search(setting, single, examples, index)
        enumerated = time.perf_counter() - began
        seconds += enumerated
        levels = _levels(config, single, examples, index, result)
        minimal_seconds += time.perf_counter() - began - enumerated
        elsewhere = _judged(setting, single, judging.of_output(index), result) if judging else None
        rows.append(_summary(setting, index, result, levels, cut[index], enumerated))
        rows[-1] |= judged_columns(result, len(examples), elsewhere) if elsewhere else {}
        setting.progress.rows("metrics", rows[-1:])
        answer = answer or _answer(rows[-1], n_outputs, result, on.words if on.differ else "")
        census += census_rows(index, result.counts)
        of_edges = list(edge_rows(single, index, result))
        edges += of_edges
        valid_only = config.table is CircuitTable["valid"]
        tables.append(circuit_table(examples, index, result, levels=levels, valid_only=valid_only, judged=elsewhere))
        shares = result.edge_counts / max(1, result.n_valid)
        drawn |= figures.of_output(single, result.space, index, shares, result.n_valid, tables[-1])
        if config.table is not CircuitTable["none"]:
            share_of = [row["share"] for row in of_edges]
            pictures.append(partial(output_picture, index, single, tables[-1], share_of))

    where = [JUDGED] if judging else []
    filled = [METRICS.filled(rows, *where), CENSUS.filled(census), EDGES.filled(edges)]
    if config.table is not CircuitTable["none"]:
        import pandas as pd

        # A single table isn't copied, because it may take most of the memory.
        listed = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
        listed.attrs = _description(config, part, on.found.x)  # in the Parquet file, and so read back
        filled.append(CIRCUITS.filled(listed, *where))
    first = {**rows[0], "accuracy": rows[0]["full_accuracy"]}  # the first output's, where there are several
    return Result(
        filled,
        {name: float(first[name]) for name in metric_names(setting)},
        DECLARED,
        figures=drawn,
        pictures={"circuits": partial(circuits_picture, pictures)} if pictures else {},
        answer=answer,
        tensors={"circuits": {**_weights(part), **found.tensors(), **(judging.tensors("judged_") if judging else {})}},
        timings={"enumerate": seconds, "minimality": minimal_seconds},
    )


def _named(space: CircuitSpace) -> str:
    return f"layers of {'-'.join(map(str, space.sizes))} neurons"


@dataclass(frozen=True)
class _Recorded:
    """What enters the analysed layers `(N, n_0)`, the network's outputs and the targets `(N, n_L)`; on the CPU."""

    entering: Tensor
    outputs: Tensor
    targets: Tensor

    def of_output(self, index: int) -> CircuitExamples:
        return CircuitExamples(self.entering, self.targets[:, index], self.outputs[:, index])

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Returns them under the names of circuits.safetensors."""
        named = {"x": self.entering, "targets": self.targets, "outputs": self.outputs}
        return {f"{prefix}{name}": tensor for name, tensor in named.items()}


def _recorded(graph: ModelGraph, part: Part, examples: Examples) -> _Recorded:
    entering, outputs = entering_activations(graph, part, examples.x)
    return _Recorded(entering, outputs, examples.y.reshape(len(outputs), -1).round().cpu())


def _check_cut(part: Part, examples: _Recorded) -> list[dict[str, float]]:
    """Returns, for each output, how the analysed layers alone compare with the whole network on these examples.

    Raises:
        RunFailed: their outputs differ.
    """
    entering, outputs, targets = examples.entering, examples.outputs, examples.targets
    try:
        alone = check_cut(part, entering, outputs)
    except ValueError as error:
        raise RunFailed(str(error)) from error
    columns = zip(
        (outputs.round() == targets).double().mean(0).tolist(),
        (alone.round() == targets).double().mean(0).tolist(),
        (alone - outputs).abs().amax(0).tolist(),
        strict=True,
    )
    rows = [
        {"full_accuracy": full, "cut_accuracy": accuracy, "cut_difference": difference}
        for full, accuracy, difference in columns
    ]
    for index, row in enumerate(rows):
        log.info(
            "output {}: accuracy of the whole network {full_accuracy:.5f}, of the last {} layers alone "
            "{cut_accuracy:.5f}; largest difference of their outputs {cut_difference:.2g}".format(
                index, len(part.layers), **row
            )
        )
    return rows


def _weights(part: Part) -> dict[str, Tensor]:
    """Returns weight and bias of the analysed layers under their names in the network."""
    return {
        f"{layer.module}.{name}": tensor
        for layer in part.layers
        for name, tensor in (("weight", layer.weight), ("bias", layer.bias))
    }


def _description(config: CircuitsConfig, part: Part, x: Tensor) -> dict[str, Any]:
    """Returns what the weights don't say about the analysed layers, for the metadata of circuits.parquet.

    The digest of the examples x that circuits are found on says whether two runs have the same.
    """
    digest = hashlib.sha256(x.cpu().contiguous().numpy().tobytes()).hexdigest()
    layers = [{"module": layer.module, "activation": layer.activation, "slope": layer.slope} for layer in part.layers]
    family = {"ablation": config.ablation.name, "inputs": config.inputs.name}
    return {"sizes": list(part.sizes), "site": part.site, "layers": layers, "test_examples": digest, **family}


# --- the search ------------------------------------------------------------------------------------------------------


def _estimate(space: CircuitSpace, examples: CircuitExamples, index: int, max_rows: int) -> str:
    count = space.count()
    n_distinct = len(first_of_equal(torch.column_stack([examples.x, examples.target]))[1])
    kind, seconds = "table", count * n_distinct / NUMBERS_PER_SECOND
    if count > max_rows:
        kind, seconds = "census", count * (SECONDS_PER_COUNTED + SECONDS_PER_LOOK * n_distinct)
    return (
        f"output {index}: {kind} of {count:,} circuits of {_named(space)} on {len(examples):,} examples, "
        f"about {seconds:,.1f} s and at most {min(count, max_rows) * BYTES_PER_ROW / 1e6:,.0f} MB"
    )


def _search(setting: Setting[CircuitsConfig], part: Part, examples: CircuitExamples, index: int) -> CircuitSearch:
    config = setting.config
    result = search_circuits(
        part,
        examples,
        accuracy_threshold=config.accuracy_threshold,
        ablation=config.ablation.name,
        inputs=config.inputs.name,
        min_node_sparsity=config.min_node_sparsity,
        max_table_rows=config.max_table_rows,
        most_listed=MOST_COMPARED if config.table is CircuitTable["none"] else None,
        generator=chance.generator(setting.seed, "listed circuits", index),
        device=setting.dataset.x_test.device,
        progress=setting.progress,
    )
    if len(result.listed) < result.n_valid:
        log.info(
            f"output {index}: all circuits are counted; {len(result.listed):,} of the {result.n_valid:,} valid ones, "
            "drawn at random, are measured"
        )
    return result


def _judged(
    setting: Setting[CircuitsConfig], part: Part, examples: CircuitExamples, result: CircuitSearch
) -> JudgedElsewhere:
    """Returns the listed circuits on the examples that they are judged on."""
    config = setting.config
    measures = judged(result, part, examples, ablation=config.ablation.name, progress=setting.progress)
    return JudgedElsewhere(measures, len(examples), fewest_correct(len(examples), config.accuracy_threshold))


def _levels(
    config: CircuitsConfig, part: Part, examples: CircuitExamples, index: int, result: CircuitSearch
) -> np.ndarray:
    """Returns the level of each listed valid circuit, `(K,)` int8, places in `LEVELS`; 0 where it is not known."""
    if result.lists_every_valid:
        return minimality(result.space, result.valid)
    levels = np.zeros(len(result.valid), dtype=np.int8)
    if config.table is CircuitTable["none"]:
        return levels
    if len(levels) > MOST_COMPARED:
        log.info(
            f"output {index}: circuits.parquet has a sample of the valid circuits, so the column minimality is empty. "
            f"Type experiment.max_table_rows={MOST_COMPARED} to search below each circuit of a smaller sample"
        )
        return levels
    found, exact = minimality_by_search(
        result.space.sizes,
        result.space.edges.rows(result.valid),
        validity(part, examples, config.accuracy_threshold, ablation=config.ablation.name),
        inputs=config.inputs.name,
        fewest=result.fewest_edges,
    )
    levels[exact] = found[exact]
    if not exact.all():
        log.info(
            f"output {index}: the column minimality is empty for {int((~exact).sum()):,} circuits with more than "
            f"{MOST_SEARCHED:,} sub-circuits"
        )
    return levels


# --- tables ----------------------------------------------------------------------------------------------------------


def _summary(
    setting: Setting[CircuitsConfig],
    index: int,
    result: CircuitSearch,
    levels: np.ndarray,
    cut: dict[str, float],
    seconds: float,
) -> dict[str, Any]:
    """Returns the row of an output in metrics.csv."""
    config = setting.config
    contained = overlap = float("nan")
    if config.pairs:
        if len(result.valid) > MOST_COMPARED:
            log.info(f"output {index}: {MOST_COMPARED:,} valid circuits, drawn at random, are compared in pairs")
        draw = chance.generator(setting.seed, "pairs", index)
        contained, overlap = pair_shares(result.valid, most=MOST_COMPARED, generator=draw)
    reached: list[float] = [int((levels >= level).sum()) for level in range(1, len(LEVELS))]
    if not result.lists_every_valid:
        reached = [float("nan")] * (len(LEVELS) - 2) + [result.n_cardinal]
    return {
        "output": index,
        "n_circuits": result.n_circuits,
        "n_valid": result.n_valid,
        "n_circuits_partial": result.n_circuits_partial,
        "n_valid_partial": result.n_valid_partial,
        **dict(zip((number.name for number in OF_MINIMALITY), reached, strict=True)),
        **cut,
        "threshold": config.accuracy_threshold,
        "pairs_contained": contained,
        "mean_jaccard": overlap,
        "seconds": seconds,
    }


def _answer(row: Mapping[str, Any], n_outputs: int, result: CircuitSearch, words: str) -> str:
    """Returns how many circuits are valid, of the first output, and how small they can be.

    Args:
        words: which examples circuits are found and judged on; empty where they are the same.
    """
    of_output = f"Of the first of {n_outputs} outputs, " if n_outputs > 1 else ""
    text = (
        f"{of_output}{row['n_valid']:,} of {counted(row['n_circuits'], 'circuit')} are valid: their accuracy is above "
        f"{row['threshold']:g}, that of the whole network is {figure(row['full_accuracy'])}."
    )
    if result.fewest_edges is None:
        return text
    of_edges = f"keeps {result.fewest_edges} of {len(result.edge_counts)} edges"
    text += f" The sparsest {of_edges}; {counted(result.n_cardinal, 'circuit is', 'circuits are')} as sparse"
    if not math.isnan(row["mean_jaccard"]):
        text += f"; two valid circuits share on average {figure(row['mean_jaccard'])} of the edges of either"
    if words:
        listed = counted(row["n_listed_valid"], "valid circuit")
        still = round(row["still_valid"] * row["n_listed_valid"])
        text += f". They are {words}, where {still:,} of {listed} are still valid"
        if not math.isnan(row["sparsest_judged_accuracy"]):
            text += (
                f" and the accuracy of the sparsest is {measured(row, 'sparsest_judged_accuracy')} instead of "
                f"{figure(row['sparsest_found_accuracy'])}"
            )
    return f"{text}."


EXPERIMENT: Experiment[CircuitsConfig] = Experiment(
    check=check,
    metric_names=metric_names,
    run=run,
    cost=cost,
    compare_networks=compare_networks,
    declared=DECLARED,
)

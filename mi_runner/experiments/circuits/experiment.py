"""How many different sub-networks explain the same behaviour? (Méloux et al., ICLR 2025)

The last layers of a network are cut off and analysed on the activations that enter them. Every well-formed circuit is
evaluated on the test set, or on the examples that `judge_on` says. A circuit is valid if its accuracy is above the
threshold. Each output that is a value is analysed by itself; outputs that answer a class are analysed together.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.config.experiments.circuit_options import JudgeOn
from mi_runner.config.experiments.circuits import CircuitsConfig, CircuitTable
from mi_runner.datasets.outputs import Outputs
from mi_runner.experiments import Drawing, Experiment, Result, Setting
from mi_runner.experiments.circuits import figures
from mi_runner.experiments.circuits.comparison import compare_networks
from mi_runner.experiments.circuits.shared import compare_two
from mi_runner.experiments.circuits.sharing import MOST_COMPARED, Compared, Sharing, compare, sharing
from mi_runner.experiments.circuits.tables import (
    CENSUS,
    CIRCUITS,
    DECLARED,
    EDGES,
    METRICS,
    OF_JUDGED,
    OF_MINIMALITY,
    OF_PAIRS,
    OF_SHARED,
    OF_TRUTH,
    OVERLAPS,
    SHARED,
    SHARING,
    census_rows,
    edge_rows,
    judged_columns,
    n_equally_valid,
    with_truth_columns,
)
from mi_runner.experiments.common.circuit_columns import JUDGED, NAMED, PLANTED
from mi_runner.experiments.common.circuit_picture import circuits_picture, output_picture
from mi_runner.experiments.common.circuit_search import estimate, n_circuits, named_space, what
from mi_runner.experiments.common.judging import Recorded, analysed_parts, examples_of, recorded
from mi_runner.experiments.common.known_truth import by_side_of_half, known_truth
from mi_runner.experiments.common.last_layers import Objection, check_last_layers, objection
from mi_runner.experiments.common.named_parts import named
from mi_runner.experiments.common.sentences import counted, figure, measured
from mi_runner.experiments.common.validity import no_circuit, valid_by, what_holds
from mi_runner.graph.chain import Part, find_part, longest_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.edges import bits_of
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.family import nonzero_edges, search_family
from mi_runner.methods.circuits.minimality import (
    LEVELS,
    MOST_SEARCHED,
    minimality,
    minimality_by_search,
    validity,
)
from mi_runner.methods.circuits.search import CircuitSearch, judged, search_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.circuits.table import JudgedElsewhere, circuit_table
from mi_runner.progress import log
from mi_runner.tables.declaration import Table
from mi_runner.tables.names import ALL
from mi_runner.tables.whole_numbers import large

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_LEVELLED = 5_000
"""Valid circuits of a sample below each of which sub-circuits are searched; of more none has a level of minimality."""


def check(setting: Setting[CircuitsConfig]) -> None:
    """Checks that the last layers can be analysed, and that the search is neither empty nor too large.

    Raises:
        ConfigError: they can't, or it is; the text has the number of circuits and what to type.
    """
    config, graph, is_planted = setting.config, setting.graph(), setting.truth is not None

    def refused(last_layers: int | None) -> Objection | None:
        return _objection(graph, replace(config, last_layers=last_layers), setting.dataset.outputs, is_planted)

    check_last_layers(graph, setting.dataset, config.last_layers, refused)
    _known(setting, find_part(graph, config.last_layers))
    examples_of(setting.dataset, config.judge_on, setting.seed)


def _known(setting: Setting[CircuitsConfig], part: Part) -> dict[int | str, int]:
    """Returns the circuit that is known as the truth, as bits, of each output that has one.

    Raises:
        ConfigError: the user's file has something else.
    """
    config, parts = setting.config, analysed_parts(setting.dataset.outputs, part)
    known = known_truth(config.truth, setting.truth, parts, config.inputs.name)
    return {output: int(bits_of(circuit[None])[0]) for output, circuit in known.items()}


def _objection(graph: ModelGraph, config: CircuitsConfig, kind: Outputs, is_planted: bool) -> Objection | None:
    """Returns why the search is refused, and what to type besides other last_layers; None if it is accepted."""
    most, inputs = config.max_table_rows, config.inputs.name
    if (found := objection(graph, kind, config.last_layers, inputs, most, is_planted=is_planted)) is not None:
        return found
    _, part = analysed_parts(kind, find_part(graph, config.last_layers))[0]
    count = n_circuits(part, inputs, is_planted)
    have = f"{named_space(CircuitSpace(part.sizes, inputs))} have {large(count)} circuits"
    larger = f"experiment.max_table_rows={count}"
    if config.min_node_sparsity and count > most:
        return f"experiment.min_node_sparsity works where all circuits fit into a table, but {have}.", [larger]
    if config.table is CircuitTable["all"] and count > most:
        limit = f"experiment.max_table_rows={most}"
        return f"experiment.table=all: {have}, more than {limit}.", ["experiment.table=auto", larger]
    return None


def cost(setting: Setting[CircuitsConfig]) -> dict[str, int]:
    """Returns the number of circuits of all outputs together."""
    part = find_part(setting.graph(), setting.config.last_layers)
    parts = analysed_parts(setting.dataset.outputs, part)
    count = n_circuits(parts[0][1], setting.config.inputs.name, setting.truth is not None)
    return {"circuits": count * len(parts)}


NAMES = ("accuracy", "n_circuits", "n_valid", "n_circuits_partial", "n_valid_partial", "threshold")
"""What the summary has first; then come the levels of minimality, the pairs, and what is judged on other examples."""


def metric_names(setting: Setting[CircuitsConfig]) -> list[str]:
    """Returns the names of the summary.

    Those of pairs are NaN if there are fewer than two valid circuits, those of minimality if not every valid circuit is
    listed (`n_cardinal` is always known), and so is what valid circuits share, unless it is asked for.
    """
    judged_elsewhere = OF_JUDGED if setting.config.judge_on is not JudgeOn.test else ()
    shared = () if setting.config.shared is False else OF_SHARED
    of_truth = OF_TRUTH if setting.truth is not None or setting.config.truth is not None else ()
    return [*NAMES, *(number.name for number in (*OF_MINIMALITY, *OF_PAIRS, *shared, *judged_elsewhere, *of_truth))]


def run(setting: Setting[CircuitsConfig]) -> Result:
    """Returns the counts, the census, the table of circuits, and how valid circuits compare."""
    config = setting.config
    graph = setting.graph()
    part = named(find_part(graph, config.last_layers).to(torch.device("cpu")), graph, setting.dataset)
    on = examples_of(setting.dataset, config.judge_on, setting.seed)
    kind = setting.dataset.outputs
    found = recorded(graph, part, on.found, kind)
    judging = recorded(graph, part, on.judged, kind) if on.differ else None
    parts = analysed_parts(kind, part)
    cut = _check_cut(part, judging or found, [output for output, _ in parts])
    truth = _known(setting, part)
    outputs = [_of_output(setting, single, found, judging, output, cut[output], truth) for output, single in parts]
    shares = any(output.sharing for output in outputs)
    if shares:
        unknown = dict.fromkeys(number.name for number in OF_SHARED)
        outputs = [replace(output, row=output.row | (unknown | output.row)) for output in outputs]
    where = [*([JUDGED] if judging else []), *([NAMED] if part.has_names else []), *([SHARING] if shares else [])]
    where += [PLANTED] if truth else []
    first = {**outputs[0].row, "accuracy": outputs[0].row["full_accuracy"]}
    pictures = [output.picture for output in outputs]
    tensors = {**_weights(part), **_tensors(found), **(_tensors(judging, "judged_") if judging else {})}
    return Result(
        _tables(config, outputs, where, _description(config, graph, part, on.found.x, kind)),
        {name: _number(first.get(name)) for name in metric_names(setting)},
        DECLARED,
        figures={name: drawing for output in outputs for name, drawing in output.figures.items()},
        pictures={} if config.table is CircuitTable["none"] else {"circuits": partial(circuits_picture, pictures)},
        answer=_answer(first, len(outputs), outputs[0], on.words if on.differ else ""),
        tensors={"circuits": tensors},
        timings={
            "enumerate": sum(output.row["seconds"] for output in outputs),
            "minimality": sum(output.minimal_seconds for output in outputs),
            "pairs": sum(output.pair_seconds for output in outputs),
        },
    )


@dataclass(frozen=True)
class _Output:
    """What is found of one output, or of all that answer a class together.

    Attributes:
        result: of the search.
        row: of metrics.csv.
        census, edges: rows of these tables.
        listed: the circuits, as in circuits.parquet.
        figures: by name.
        picture: the data of the interactive one.
        minimal_seconds: how long the levels of minimality took.
        pair_seconds: how long the pairs took, and what valid circuits share.
        sharing: what the valid circuits share; None where it isn't computed.
    """

    result: CircuitSearch
    row: dict[str, Any]
    census: list[dict[str, int]]
    edges: list[dict[str, Any]]
    listed: DataFrame
    figures: dict[str, Drawing]
    picture: Callable[[], Any]
    minimal_seconds: float
    pair_seconds: float
    sharing: Sharing | None


def _of_output(
    setting: Setting[CircuitsConfig],
    part: Part,
    found: Recorded,
    judging: Recorded | None,
    output: int | str,
    cut: dict[str, float],
    truths: Mapping[int | str, int],
) -> _Output:
    """Returns what is found of an output, or of all.

    Args:
        part: with this output only, or with all.
        judging: the examples that circuits are judged on; None: those that they are found on.
        cut: how the analysed layers alone compare with the whole network.
        truths: the circuits that are known as the truth, of all outputs.
    """
    config, is_planted = setting.config, setting.truth is not None
    accuracy, threshold = found.accuracy(output), config.accuracy_threshold
    rule = valid_by(config.valid, accuracy, threshold, output=f"{what(output)}: ")
    examples = by_side_of_half(found.examples(output, rule), is_planted)
    space, n = CircuitSpace(part.sizes, config.inputs.name), n_circuits(part, config.inputs.name, is_planted)
    log.info(estimate(space, examples, output, config.max_table_rows, n))
    began = clock()
    result = _search(setting, part, examples, output)
    enumerated = clock()
    levels = _levels(config, part, examples, output, result)
    minimal = clock()
    judged_on = by_side_of_half(judging.examples(output, rule), is_planted) if judging else None
    elsewhere = _judged(setting, part, judged_on, result) if judged_on else None
    compared, found_shared = _pairs(setting, output, result, levels)
    paired = clock()
    row = _summary(setting, output, result, levels, cut, enumerated - began, compared) | {"valid_by": rule}
    row |= {} if found_shared is None else found_shared.numbers
    row |= judged_columns(result, len(examples), elsewhere) if elsewhere else {}
    truth = truths.get(output)
    row |= {"n_equally_valid": n_equally_valid(result, truth)} if truths else {}
    setting.progress.rows("metrics", [row])
    valid_only = config.table is CircuitTable["valid"]
    listed = circuit_table(examples, output, result, levels=levels, valid_only=valid_only, judged=elsewhere)
    if truths:
        listed = with_truth_columns(listed, truth)
    edges, shares = list(edge_rows(part, output, result)), result.edge_counts / max(1, result.n_valid)
    return _Output(
        result,
        row,
        list(census_rows(output, result.counts)),
        edges,
        listed,
        figures.of_output(part, result.space, output, shares, result.n_valid, listed) | _of_overlaps(found_shared),
        partial(output_picture, output, part, listed, [edge["share"] for edge in edges]),
        minimal - enumerated,
        paired - minimal,
        found_shared,
    )


def _pairs(
    setting: Setting[CircuitsConfig], output: int | str, result: CircuitSearch, levels: np.ndarray
) -> tuple[Compared | None, Sharing | None]:
    """Returns the valid circuits in pairs, and what they share; None for what the options leave out."""
    config = setting.config
    shares = result.lists_every_valid if config.shared is None else config.shared
    if not config.pairs and not shares:
        return None, None
    compared = compare(result, what(output), chance.generator(setting.seed, "pairs", output))
    if not shares:
        return compared, None
    found = sharing(result, levels, compared, output, seed=setting.seed, seconds=config.shared_seconds)
    return compared if config.pairs else None, found


def _of_overlaps(found: Sharing | None) -> dict[str, Drawing]:
    """Returns the figure of overlaps by its name; none without pairs."""
    if found is None or not found.bins:
        return {}
    return {f"overlaps_{found.row['output']}": partial(figures.overlaps, found.bins)}


def _number(value: float | None) -> float:
    """Returns a number of the summary; NaN where it isn't known."""
    return math.nan if value is None else float(value)


def _tables(
    config: CircuitsConfig, outputs: Sequence[_Output], where: Sequence[str], description: Mapping[str, Any]
) -> list[Table]:
    """Returns the tables, filled.

    Args:
        where: the conditions of the columns that they have.
        description: of the analysed layers, for circuits.parquet.
    """
    filled = [
        METRICS.filled([output.row for output in outputs], *where),
        CENSUS.filled([row for output in outputs for row in output.census]),
        EDGES.filled([row for output in outputs for row in output.edges], *where),
    ]
    shared = [output.sharing for output in outputs if output.sharing is not None]
    if shared:
        filled.append(SHARED.filled([found.row for found in shared]))
    if bins := [row for found in shared for row in found.bins]:
        filled.append(OVERLAPS.filled(bins))
    if config.table is not CircuitTable["none"]:
        import pandas as pd

        # A single table isn't copied, because it may take most of the memory.
        tables = [output.listed for output in outputs]
        listed = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
        listed.attrs = dict(description)  # in the Parquet file, and so read back
        filled.append(CIRCUITS.filled(listed, *where))
    return filled


def _tensors(on: Recorded, prefix: str = "") -> dict[str, Tensor]:
    """Returns the examples under the names of circuits.safetensors."""
    targets = on.y if on.kind.are_of_classes else on.y.reshape(len(on.y), -1).round()
    named = {"x": on.entering, "targets": targets, "outputs": on.outputs}
    return {f"{prefix}{name}": tensor for name, tensor in named.items()}


def _check_cut(part: Part, examples: Recorded, outputs: Sequence[int | str]) -> dict[int | str, dict[str, float]]:
    """Returns, for each analysed output, how the last layers alone compare with the whole network on these examples.

    Raises:
        RunFailed: their outputs differ.
    """
    alone = examples.alone(part)
    difference = (alone - examples.outputs).abs().amax(0)
    rows = {
        output: {
            "full_accuracy": examples.accuracy(output),
            "cut_accuracy": examples.accuracy(output, alone),
            "cut_difference": float(difference.max() if output == ALL else difference[int(output)]),
        }
        for output in outputs
    }
    for output, row in rows.items():
        log.info(
            "{}: accuracy of the whole network {full_accuracy:.5f}, of the last {} layers alone {cut_accuracy:.5f}; "
            "largest difference of their outputs {cut_difference:.2g}".format(what(output), len(part.layers), **row)
        )
    return rows


def _weights(part: Part) -> dict[str, Tensor]:
    """Returns weight and bias of the analysed layers under their names in the network."""
    return {
        f"{layer.module}.{name}": tensor
        for layer in part.layers
        for name, tensor in (("weight", layer.weight), ("bias", layer.bias))
    }


def _description(config: CircuitsConfig, graph: ModelGraph, part: Part, x: Tensor, kind: Outputs) -> dict[str, Any]:
    """Returns what the weights don't say about the analysed layers, for the metadata of circuits.parquet.

    The digest of the examples x that circuits are found on says whether two runs have the same. `activation` is that of
    the values that enter the layers, None where no Linear layer gives them.
    """
    digest = hashlib.sha256(x.cpu().contiguous().numpy().tobytes()).hexdigest()
    layers = [{"module": layer.module, "activation": layer.activation, "slope": layer.slope} for layer in part.layers]
    family = {"ablation": config.ablation.name, "inputs": config.inputs.name, "outputs": kind.value}
    chain = longest_part(graph)
    before = chain.layers[: -len(part.layers)] if chain is not None else ()
    entering = {"site": part.site, "activation": before[-1].activation if before else None}
    return {"sizes": list(part.sizes), **entering, "layers": layers, "test_examples": digest, **family}


# --- the search ------------------------------------------------------------------------------------------------------


def _search(
    setting: Setting[CircuitsConfig], part: Part, examples: CircuitExamples, output: int | str
) -> CircuitSearch:
    config = setting.config
    if setting.truth is not None:
        return search_family(
            part,
            examples,
            nonzero_edges(part),
            accuracy_threshold=config.accuracy_threshold,
            ablation=config.ablation.name,
            inputs=config.inputs.name,
            min_node_sparsity=config.min_node_sparsity,
            max_table_rows=config.max_table_rows,
            progress=setting.progress,
        )
    result = search_circuits(
        part,
        examples,
        accuracy_threshold=config.accuracy_threshold,
        ablation=config.ablation.name,
        inputs=config.inputs.name,
        min_node_sparsity=config.min_node_sparsity,
        max_table_rows=config.max_table_rows,
        most_listed=MOST_COMPARED if config.table is CircuitTable["none"] else None,
        generator=chance.generator(setting.seed, "listed circuits", output),
        device=setting.dataset.x_test.device,
        progress=setting.progress,
    )
    if len(result.listed) < result.n_valid:
        log.info(
            f"{what(output)}: all circuits are counted; {len(result.listed):,} of the {result.n_valid:,} valid ones, "
            "drawn at random, are measured"
        )
    return result


def _judged(
    setting: Setting[CircuitsConfig], part: Part, examples: CircuitExamples, result: CircuitSearch
) -> JudgedElsewhere:
    """Returns the listed circuits on the examples that they are judged on."""
    config = setting.config
    measures = judged(result, part, examples, ablation=config.ablation.name, progress=setting.progress)
    return JudgedElsewhere(measures, examples, config.accuracy_threshold)


def _levels(
    config: CircuitsConfig, part: Part, examples: CircuitExamples, output: int | str, result: CircuitSearch
) -> np.ndarray:
    """Returns the level of each listed valid circuit, `(K,)` int8, places in `LEVELS`; 0 where it is not known."""
    if result.lists_every_valid:
        return minimality(result.space, result.valid)
    levels = np.zeros(len(result.valid), dtype=np.int8)
    if config.table is CircuitTable["none"]:
        return levels
    if len(levels) > MOST_LEVELLED:
        log.info(
            f"{what(output)}: circuits.parquet has a sample of the valid circuits, so the column minimality is empty. "
            f"Type experiment.max_table_rows={MOST_LEVELLED} to search below each circuit of a smaller sample"
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
            f"{what(output)}: the column minimality is empty for {int((~exact).sum()):,} circuits with more than "
            f"{MOST_SEARCHED:,} sub-circuits"
        )
    return levels


# --- tables ----------------------------------------------------------------------------------------------------------


def _summary(
    setting: Setting[CircuitsConfig],
    output: int | str,
    result: CircuitSearch,
    levels: np.ndarray,
    cut: dict[str, float],
    seconds: float,
    compared: Compared | None,
) -> dict[str, Any]:
    """Returns the row of an output in metrics.csv."""
    config = setting.config
    reached: list[float] = [int((levels >= level).sum()) for level in range(1, len(LEVELS))]
    if not result.lists_every_valid:
        reached = [float("nan")] * (len(LEVELS) - 2) + [result.n_cardinal]
    return {
        "output": output,
        "n_circuits": result.n_circuits,
        "n_valid": result.n_valid,
        "n_circuits_partial": result.n_circuits_partial,
        "n_valid_partial": result.n_valid_partial,
        **dict(zip((number.name for number in OF_MINIMALITY), reached, strict=True)),
        **cut,
        "threshold": config.accuracy_threshold,
        "pairs_contained": _number(None if compared is None else compared.pairs.contained),
        "mean_jaccard": _number(None if compared is None else compared.pairs.mean),
        "seconds": seconds,
    }


def _answer(row: Mapping[str, Any], n_outputs: int, first: _Output, words: str) -> str:
    """Returns how many circuits are valid, of the first output, and how small they can be.

    Args:
        words: which examples circuits are found and judged on; empty where they are the same.
    """
    result = first.result
    of_output = f"Of the first of {n_outputs} outputs, " if n_outputs > 1 else ""
    whole = f"the accuracy of the whole network is {figure(row['full_accuracy'])}"
    n_valid, circuits = row["n_valid"], counted(row["n_circuits"], "circuit")
    rule = row["valid_by"], row["threshold"]
    if result.fewest_edges is None:
        none = "none" if of_output else "None"
        return f"{of_output}{none} of {circuits} is valid: {no_circuit(*rule)}; {whole}."
    are = "is" if n_valid == 1 else "are"
    text = f"{of_output}{n_valid:,} of {circuits} {are} valid: {what_holds(*rule, n_valid)}; {whole}."
    n_edges = len(result.edge_counts)
    if result.n_cardinal == 1:
        text += f" The sparsest keeps {result.fewest_edges:,} of {n_edges:,} edges, and no other is as sparse"
    else:
        text += f" The {result.n_cardinal:,} sparsest keep {result.fewest_edges:,} of {n_edges:,} edges"
    has_overlap = first.sharing is not None and first.sharing.row["overlap"] is not None  # it has a sentence of its own
    if not math.isnan(row["mean_jaccard"]) and not has_overlap:
        text += f"; two valid circuits have on average {figure(row['mean_jaccard'])} of their edges in common"
    if words:
        still = round(row["still_valid"] * row["n_listed_valid"])
        listed, are = counted(row["n_listed_valid"], "valid circuit"), "is" if still == 1 else "are"
        text += f". They are {words}, where {still:,} of {listed} {are} still valid"
        if not math.isnan(row["sparsest_judged_accuracy"]):
            mean = "accuracy" if result.n_cardinal == 1 else "mean accuracy"
            text += (
                f" and the {mean} of the sparsest is {measured(row, 'sparsest_judged_accuracy')} instead of "
                f"{figure(row['sparsest_found_accuracy'])}"
            )
    return f"{text}.{first.sharing.sentence if first.sharing else ''}"


EXPERIMENT: Experiment[CircuitsConfig] = Experiment(
    check=check,
    metric_names=metric_names,
    run=run,
    cost=cost,
    compare_networks=compare_networks,
    compare_two=compare_two,
    declared=DECLARED,
)

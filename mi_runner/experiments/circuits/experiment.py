"""How many different sub-networks explain the same behaviour? (Méloux et al., ICLR 2025)

The last layers of a network are cut off and analysed on the activations that enter them. Every well-formed circuit is
evaluated on the test set, or on the examples that `judge_on` says. A circuit is valid if its accuracy is above the
threshold. Each output that is a value is analysed by itself; outputs that answer a class are analysed together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mi_runner.config.experiments.circuit_options import JudgeOn
from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.datasets.outputs import Outputs
from mi_runner.experiments import Experiment, Result, Setting
from mi_runner.experiments.circuits.choice import choose, refused
from mi_runner.experiments.circuits.comparison import compare_networks
from mi_runner.experiments.circuits.exact import by_search
from mi_runner.experiments.circuits.halved import by_halves
from mi_runner.experiments.circuits.output import Asked, OfOutput, number
from mi_runner.experiments.circuits.sampled import by_sample
from mi_runner.experiments.circuits.shared import compare_two
from mi_runner.experiments.circuits.tables import (
    ACCURACY,
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
)
from mi_runner.experiments.common.circuit_columns import JUDGED, NAMED, PLANTED
from mi_runner.experiments.common.circuit_picture import circuits_picture
from mi_runner.experiments.common.circuit_search import n_circuits, what
from mi_runner.experiments.common.judging import Recorded, analysed_parts, examples_of, recorded
from mi_runner.experiments.common.known_truth import by_side_of_half, known_truth
from mi_runner.experiments.common.last_layers import Objection, check_last_layers, objection
from mi_runner.experiments.common.named_parts import named
from mi_runner.experiments.common.validity import valid_by
from mi_runner.graph.chain import Part, find_part, longest_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.circuits.edges import bits_of
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import log
from mi_runner.tables.declaration import Table
from mi_runner.tables.names import ALL


def check(setting: Setting[CircuitsConfig]) -> None:
    """Checks that the last layers can be analysed, and that the search is neither empty nor too large.

    Raises:
        ConfigError: they can't, or it is; the text has the number of circuits and what to type.
    """
    config, graph = setting.config, setting.graph()

    def why_refused(last_layers: int | None) -> Objection | None:
        return _objection(setting, replace(config, last_layers=last_layers))

    check_last_layers(graph, setting.dataset, config.last_layers, why_refused)
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


def _objection(setting: Setting[CircuitsConfig], config: CircuitsConfig) -> Objection | None:
    """Returns why the search is refused, and what to type besides other last_layers; None if it is accepted."""
    graph, kind, is_planted = setting.graph(), setting.dataset.outputs, setting.truth is not None
    most, inputs = config.max_table_rows, config.inputs.name
    found = objection(graph, kind, config.last_layers, inputs, most, is_planted=is_planted, most_circuits=None)
    if found is not None:
        return found
    _, part = analysed_parts(kind, find_part(graph, config.last_layers))[0]
    count = n_circuits(part, inputs, is_planted)
    n_examples = len(setting.dataset.x_test)
    return refused(config, CircuitSpace(part.sizes, inputs), count, n_examples, is_planted=is_planted)


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
    truth, words = _known(setting, part), on.words if on.differ else ""
    asked = [
        Asked(setting, one, found, judging, output, cut[output], _rule(config, found, output), truth, len(parts), words)
        for output, one in parts
    ]
    outputs = [_of_output(one) for one in asked]
    shares = any(output.sharing for output in outputs)
    if shares:
        unknown = dict.fromkeys(number.name for number in OF_SHARED)
        outputs = [replace(output, row=output.row | (unknown | output.row)) for output in outputs]
    where = [*([JUDGED] if judging else []), *([NAMED] if part.has_names else []), *([SHARING] if shares else [])]
    where += [PLANTED] if truth else []
    first = {**outputs[0].row, "accuracy": outputs[0].row["full_accuracy"]}
    pictures = [output.picture for output in outputs if output.picture is not None]
    tensors = {**_weights(part), **_tensors(found), **(_tensors(judging, "judged_") if judging else {})}
    return Result(
        _tables(outputs, where, _description(config, graph, part, on.found.x, kind)),
        {name: number(first.get(name)) for name in metric_names(setting)},
        DECLARED,
        figures={name: drawing for output in outputs for name, drawing in output.figures.items()},
        pictures={"circuits": partial(circuits_picture, pictures)} if pictures else {},
        answer=outputs[0].answer,
        tensors={"circuits": tensors},
        timings={
            "enumerate": sum(output.row["seconds"] for output in outputs),
            "minimality": sum(output.minimal_seconds for output in outputs),
            "pairs": sum(output.pair_seconds for output in outputs),
        },
    )


def _rule(config: CircuitsConfig, found: Recorded, output: int | str) -> str:
    """Returns the rule by which circuits of an output are valid, as `experiment.valid` says."""
    accuracy, threshold = found.accuracy(output), config.accuracy_threshold
    return valid_by(config.valid, accuracy, threshold, output=f"{what(output)}: ")


def _of_output(asked: Asked) -> OfOutput:
    """Returns what the method that suits best finds of an output, or of all together."""
    examples = by_side_of_half(asked.found.examples(asked.output, asked.rule), asked.is_planted)
    chosen = choose(asked, examples)
    log.info(chosen.line)
    if chosen.method == "sample":
        return by_sample(asked, examples, chosen.samples)
    if chosen.method == "halves":
        return by_halves(asked, examples)
    return by_search(asked, examples, chosen.method)


def _tables(outputs: Sequence[OfOutput], where: Sequence[str], description: Mapping[str, Any]) -> list[Table]:
    """Returns the tables, filled.

    Args:
        where: the conditions of the columns that they have.
        description: of the analysed layers, for circuits.parquet.
    """
    filled = [
        METRICS.filled([output.row for output in outputs], *where),
        EDGES.filled([row for output in outputs for row in output.edges], *where),
    ]
    if census := [row for output in outputs for row in output.census]:
        filled.append(CENSUS.filled(census))
    if accuracy := [row for output in outputs for row in output.accuracy]:
        filled.append(ACCURACY.filled(accuracy))
    shared = [output.sharing for output in outputs if output.sharing is not None]
    if shared:
        filled.append(SHARED.filled([found.row for found in shared]))
    if bins := [row for found in shared for row in found.bins]:
        filled.append(OVERLAPS.filled(bins))
    # A single table isn't copied, because it may take most of the memory.
    if tables := [output.listed for output in outputs if output.listed is not None]:
        import pandas as pd

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


EXPERIMENT: Experiment[CircuitsConfig] = Experiment(
    check=check,
    metric_names=metric_names,
    run=run,
    cost=cost,
    compare_networks=compare_networks,
    compare_two=compare_two,
    declared=DECLARED,
)

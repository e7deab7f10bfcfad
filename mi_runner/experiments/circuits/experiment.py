"""How many different sub-networks explain the same behaviour? (Méloux et al., ICLR 2025)

The last layers of a network are cut off and analysed on the activations that enter them. Every well-formed circuit is
evaluated on the test set, or on the examples that `judge_on` says. A circuit is valid if its accuracy is above the
threshold. Each output that is a value is analysed by itself; outputs that answer a class are analysed together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.datasets.outputs import Outputs
from mi_runner.experiments import Experiment, Result, Setting
from mi_runner.experiments.circuits.choice import choose, refused
from mi_runner.experiments.circuits.comparison import compare_networks
from mi_runner.experiments.circuits.exact import by_search
from mi_runner.experiments.circuits.halved import by_halves
from mi_runner.experiments.circuits.merged_parts import merge_parts
from mi_runner.experiments.circuits.one_part import about_part, by_part, check_part, part_refused
from mi_runner.experiments.circuits.output import Asked, OfOutput
from mi_runner.experiments.circuits.results import result_of, summary_names
from mi_runner.experiments.circuits.sampled import by_sample
from mi_runner.experiments.circuits.shared import compare_two
from mi_runner.experiments.circuits.tables import DECLARED, OF_PART
from mi_runner.experiments.common.circuit_search import MOST_CIRCUITS, n_circuits, what
from mi_runner.experiments.common.judging import Recorded, analysed_parts, examples_of, recorded
from mi_runner.experiments.common.known_truth import by_side_of_half, known_truth
from mi_runner.experiments.common.last_layers import Objection, check_last_layers, objection
from mi_runner.experiments.common.named_parts import named
from mi_runner.experiments.common.validity import valid_by
from mi_runner.graph.chain import Part, find_part, longest_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.circuits.edges import bits_of
from mi_runner.methods.circuits.pieces import Dealing
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import log
from mi_runner.tables.names import ALL


def check(setting: Setting[CircuitsConfig]) -> None:
    """Checks that the last layers can be analysed, and that the search is neither empty nor too large.

    Raises:
        ConfigError: they can't, or it is; the text has the number of circuits and what to type.
    """
    config, graph = setting.config, setting.graph()
    check_part(config)

    def why_refused(last_layers: int | None, most_circuits: int | None = None) -> Objection | None:
        return _objection(setting, replace(config, last_layers=last_layers), most_circuits)

    advised_against = partial(why_refused, most_circuits=MOST_CIRCUITS)  # what is advised can be counted exactly
    check_last_layers(graph, setting.dataset, config.last_layers, why_refused, advised_against)
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


def _objection(setting: Setting[CircuitsConfig], config: CircuitsConfig, most_circuits: int | None) -> Objection | None:
    """Returns why the search is refused, and what to type besides other last_layers; None if it is accepted.

    Args:
        most_circuits: the most circuits that are accepted; None: any number.
    """
    graph, kind, is_planted = setting.graph(), setting.dataset.outputs, setting.truth is not None
    most, inputs = config.max_table_rows, config.inputs.name
    found = objection(graph, kind, config.last_layers, inputs, most, is_planted=is_planted, most_circuits=most_circuits)
    if found is not None:
        return found
    _, part = analysed_parts(kind, find_part(graph, config.last_layers))[0]
    space = CircuitSpace(part.sizes, inputs)
    if (of_part := part_refused(config, space, is_planted=is_planted)) is not None:
        return of_part
    n_examples = len(setting.dataset.x_test)
    return refused(config, space, n_circuits(part, inputs, is_planted), n_examples, is_planted=is_planted)


def cost(setting: Setting[CircuitsConfig]) -> dict[str, int]:
    """Returns the number of circuits of all outputs together; of a part of a census those of the part."""
    config, part = setting.config, find_part(setting.graph(), setting.config.last_layers)
    parts = analysed_parts(setting.dataset.outputs, part)
    if config.part is not None:
        space = CircuitSpace(parts[0][1].sizes, config.inputs.name)
        return {"circuits": Dealing(space, (config.part, config.parts)).n_circuits() * len(parts)}
    return {"circuits": n_circuits(parts[0][1], config.inputs.name, setting.truth is not None) * len(parts)}


def metric_names(setting: Setting[CircuitsConfig]) -> list[str]:
    """Returns the names of the summary.

    Those of pairs are NaN if there are fewer than two valid circuits, those of minimality if not every valid circuit is
    listed (`n_cardinal` is always known), and so is what valid circuits share, unless it is asked for.
    """
    return summary_names(setting.config, has_truth=setting.truth is not None or setting.config.truth is not None)


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
        Asked(
            config,
            setting.seed,
            one,
            found,
            judging,
            output,
            cut[output],
            _rule(config, found, output),
            truth,
            len(parts),
            words,
            is_planted=setting.truth is not None,
            device=setting.dataset.x_test.device,
            progress=setting.progress,
        )
        for output, one in parts
    ]
    outputs = [_of_output(one) for one in asked]
    description = _description(config, graph, part, on.found.x, kind)
    if config.part is not None:
        description |= {OF_PART: about_part(part, asked, outputs)}
    result = result_of(asked, outputs, part, description)
    tensors = {**_weights(part), **_tensors(found), **(_tensors(judging, "judged_") if judging else {})}
    return replace(result, tensors={"circuits": tensors})


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
    return by_search(asked, examples, chosen.method) if asked.config.part is None else by_part(asked, examples)


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
    merge_parts=merge_parts,
    declared=DECLARED,
)

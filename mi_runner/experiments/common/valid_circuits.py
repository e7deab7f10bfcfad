"""The valid circuits of an analysed network, all or a random sample, and circuits of as many edges as controls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.config.experiments.criteria import CriteriaConfig
from mi_runner.config.experiments.robustness import RobustnessConfig
from mi_runner.datasets.distinct import is_every_boolean_input
from mi_runner.experiments import Setting
from mi_runner.experiments.common.circuit_search import estimate, n_circuits
from mi_runner.experiments.common.judging import Examples, Recorded, analysed_parts, recorded
from mi_runner.experiments.common.known_truth import by_side_of_half
from mi_runner.experiments.common.last_layers import check_last_layers, objection
from mi_runner.experiments.common.named_parts import named
from mi_runner.graph.chain import Part, find_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.chance_overlap import of_family
from mi_runner.methods.circuits.cut import entering_activations
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.family import nonzero_edges, search_family
from mi_runner.methods.circuits.search import CircuitSearch, search_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.discovery.sampling import CircuitSampler
from mi_runner.progress import log
from mi_runner.training.options import TrainingOptions

Judging: TypeAlias = "CriteriaConfig | RobustnessConfig"
"""Options of an experiment that judges valid circuits. With one seed all of them judge the same circuits."""

NETWORK, UNTRAINED = "trained", "untrained"
"""The network itself, and the control of its architecture."""


@dataclass(frozen=True, eq=False)
class Network:
    """A network whose circuits are judged.

    Attributes:
        name: `trained` or `untrained`.
        part: the analysed layers of all outputs, float32 on the CPU.
        test: the test examples as they see them.
        shift: `(S, n_0)`, other data as they enter the layers; None: there are none.
        every_input: whether the test examples are all Boolean inputs, each once.
        is_planted: whether its weights are planted: circuits keep edges of non-zero weight alone, and are judged by the
            side of ½.
    """

    name: str
    part: Part
    test: Recorded
    shift: Tensor | None
    every_input: bool
    is_planted: bool = False

    def examples(self, output: int | str, rule: str) -> CircuitExamples:
        """Returns the test examples for the circuits of an output, valid by a rule."""
        return by_side_of_half(self.test.examples(output, rule), self.is_planted)


def has_untrained(setting: Setting[Judging]) -> bool:
    """Returns whether the untrained network is a control: not of planted weights, which have none."""
    return setting.config.controls and setting.truth is None


def check_layers(setting: Setting[Judging]) -> None:
    """Checks that the last layers can be analysed, and that their valid circuits can be found.

    Raises:
        ConfigError: they can't.
    """
    config, graph, kind = setting.config, setting.graph(), setting.dataset.outputs
    check_last_layers(
        graph,
        setting.dataset,
        config.last_layers,
        lambda n: objection(
            graph,
            kind,
            n,
            config.inputs.name,
            config.max_table_rows,
            is_planted=setting.truth is not None,
            in_a_word=True,
        ),
    )


def networks(setting: Setting[Judging]) -> dict[str, TrainingOptions]:
    """Returns the network before its training, if controls are asked for; planted weights have none."""
    return {UNTRAINED: replace(setting.training, epochs=0)} if has_untrained(setting) else {}


def cost(setting: Setting[Judging]) -> dict[str, int]:
    """Returns the number of circuits that are evaluated: of all outputs, ablations, and networks together."""
    config = setting.config
    parts = analysed_parts(setting.dataset.outputs, find_part(setting.graph(), config.last_layers))
    count = n_circuits(parts[0][1], config.inputs.name, setting.truth is not None)
    return {"circuits": count * len(parts) * len(config.ablation.ablations) * (1 + has_untrained(setting))}


def network_of(setting: Setting[Judging], graph: ModelGraph, name: str, shift: Tensor | None = None) -> Network:
    """Returns a network whose circuits are judged.

    Args:
        shift: `(S, *input)`, other data; None: there are none.

    Raises:
        RunFailed: its values aren't finite, or the analysed layers alone don't give its outputs.
    """
    dataset = setting.dataset
    part = named(find_part(graph, setting.config.last_layers).to(torch.device("cpu")), graph, dataset)
    test = recorded(graph, part, Examples(dataset.x_test, dataset.y_test), dataset.outputs)
    test.alone(part)
    entering = None if shift is None else entering_activations(graph, part, shift)[0]
    is_planted = setting.truth is not None
    return Network(name, part, test, entering, is_every_boolean_input(dataset.x_test), is_planted)


def searched(setting: Setting[Judging], network: Network, output: int | str, ablation: str, rule: str) -> CircuitSearch:
    """Returns the circuits of an output: all, or where they are too many a random sample of the valid ones."""
    config, part = setting.config, network.part.output(output)
    examples = network.examples(output, rule)
    space = CircuitSpace(part.sizes, config.inputs.name)
    n = n_circuits(part, config.inputs.name, network.is_planted)
    of = "" if network.name == NETWORK else f", {network.name} network"
    log.info(f"{ablation} ablation{of}, {estimate(space, examples, output, config.max_table_rows, n)}")
    if network.is_planted:
        return search_family(
            part,
            examples,
            nonzero_edges(part),
            accuracy_threshold=config.accuracy_threshold,
            ablation=ablation,
            inputs=config.inputs.name,
            max_table_rows=config.max_table_rows,
            progress=setting.progress,
        )
    return search_circuits(
        part,
        examples,
        accuracy_threshold=config.accuracy_threshold,
        ablation=ablation,
        inputs=config.inputs.name,
        max_table_rows=config.max_table_rows,
        most_listed=config.max_circuits,
        generator=chance.generator(setting.seed, "criteria", "listed circuits", network.name, output, ablation),
        device=setting.dataset.x_test.device,
        progress=setting.progress,
    )


def some_valid(
    setting: Setting[Judging], search: CircuitSearch, where: tuple[str, int | str, str], most: int
) -> np.ndarray:
    """Returns the valid circuits of a search, `(K,)` bits; of more than `most` a random sample, in their order.

    Args:
        where: network, output and ablation, for the draw.
    """
    circuits = search.valid
    if len(circuits) > most:
        draw = chance.generator(setting.seed, "criteria", "judged circuits", *where)
        circuits = circuits[torch.randperm(len(circuits), generator=draw)[:most].sort().values.numpy()]
    return circuits


def chance_circuits(search: CircuitSearch, n: int, generator: torch.Generator) -> tuple[np.ndarray, tuple[int, ...]]:
    """Returns n circuits `(n,)` uint64 of as many edges as valid ones, drawn uniformly from all of the family.

    The number of edges is that of a valid circuit drawn at random. Of a family that is too large to list, a size of
    which too few circuits are found has none; these sizes are returned too.

    Args:
        search: with at least one valid circuit.
    """
    of_size = search.counts[:, :, search.least_correct :].sum((0, 2)).astype(float)
    random = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    sizes = random.choice(len(of_size), size=n, p=of_size / of_size.sum())
    if len(search.listed) == search.n_circuits:
        circuits = search.listed.circuit[np.argsort(np.bitwise_count(search.listed.circuit), kind="stable")]
        ends = np.searchsorted(np.bitwise_count(circuits), np.arange(len(of_size) + 1))
        places = ends[sizes] + (random.random(n) * (ends[sizes + 1] - ends[sizes])).astype(np.int64)
        return np.asarray(circuits[places]), ()
    sampler = CircuitSampler(search.space.sizes, generator)
    wanted = np.bincount(sizes)
    drawn = {
        size: of_family(search.space, sampler, size, int(wanted[size])) for size in np.flatnonzero(wanted).tolist()
    }
    found = [circuits for circuits in drawn.values() if circuits is not None]
    not_drawn = tuple(size for size, circuits in drawn.items() if circuits is None)
    return np.concatenate([np.empty(0, dtype=np.uint64), *found]), not_drawn

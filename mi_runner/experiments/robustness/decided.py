"""What is known of the valid circuits of one output with one ablation, and of the controls.

Letters: K circuits, R values of ε.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.config.experiments.robustness import RobustnessConfig
from mi_runner.experiments import Setting
from mi_runner.experiments.common.valid_circuits import UNTRAINED, Network, chance_circuits, searched
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import means_of
from mi_runner.methods.circuits.edges import n_kept
from mi_runner.methods.circuits.search import CircuitSearch
from mi_runner.methods.circuits.sharing import minimal_members
from mi_runner.methods.robustness.certify import Certificates, certify_circuits, certify_hull
from mi_runner.methods.robustness.difference import Differences, largest_differences

MOST_MINIMAL = 200
"""Subset-minimal circuits, the smallest first, of which the largest difference is computed."""


@dataclass(frozen=True, eq=False)
class Population:
    """Circuits of one network and what is known of them.

    Attributes:
        n_all: how many there are, decided or not.
        boxes: what is known of those that are decided, in boxes around examples.
        hull: the same in the hull; None: it isn't asked for.
    """

    n_all: int
    boxes: Certificates
    hull: Certificates | None

    @property
    def circuits(self) -> np.ndarray:
        """Those that are decided, `(K,)`."""
        return self.boxes.circuits

    @property
    def is_sample(self) -> bool:
        """Whether not all are decided."""
        return len(self.circuits) < self.n_all

    @property
    def n_edges(self) -> np.ndarray:
        """The kept edges of each, `(K,)`."""
        return n_kept(self.circuits)


@dataclass(frozen=True, eq=False)
class Decided:
    """An output, or all that answer a class together, with one ablation.

    Attributes:
        part: the analysed layers, with this output only, or with all.
        x: `(N, n_0)`, all test examples as they enter the part.
        means: what left-out edges carry; None: 0.
        search: the circuits that were found.
        valid_by: the rule by which they are valid.
        valid: the valid circuits.
        random, untrained: the controls; None: none.
        chosen: the circuits of which the largest difference is computed, and the kind of each.
        differences: these differences.
        n_minimal: how many subset-minimal circuits there are.
    """

    output: int | str
    ablation: str
    part: Part
    x: Tensor
    means: tuple[Tensor, ...] | None
    search: CircuitSearch
    valid_by: str
    valid: Population
    random: Population | None
    untrained: Population | None
    chosen: tuple[np.ndarray, list[str]]
    differences: Differences
    n_minimal: int


def decide_output(
    setting: Setting[RobustnessConfig],
    network: Network,
    untrained: Network | None,
    output: int | str,
    ablation: str,
    rule: str,
    examples: Tensor,
) -> Decided:
    """Returns what is known of the valid circuits of an output with an ablation, and of the controls.

    Args:
        untrained: the control; None: no controls.
        rule: by which circuits of the network are valid. Those of the control are by agreement.
        examples: `(D,)` int64, the test examples that have boxes.
    """
    config, n_control = setting.config, setting.config.control_circuits
    search = searched(setting, network, output, ablation, rule)
    where = (network.name, output, ablation)
    valid = _population(
        setting, network, output, ablation, _some(setting, search, config.max_circuits, where), examples
    )
    random = None
    if config.controls and search.n_valid:
        draw = chance.generator(setting.seed, "robustness", "chance circuits", output, ablation)
        drawn, _ = chance_circuits(search, n_control, draw)
        if len(drawn):
            random = _population(setting, network, output, ablation, (drawn, len(drawn)), examples)
    control = None
    if untrained is not None:
        found = searched(setting, untrained, output, ablation, "agreement")
        most = min(n_control, config.max_circuits)
        some = _some(setting, found, most, (UNTRAINED, output, ablation))
        control = _population(setting, untrained, output, ablation, some, examples)
    part, x = network.part.output(output), network.test.entering
    means = means_of(part.to(x.double()), x.double(), ablation)
    chosen, n_minimal = _chosen(setting, search, valid, output, ablation)
    differences = largest_differences(
        part, chosen[0], x, means=means, seconds=config.seconds, progress=setting.progress
    )
    return Decided(
        output, ablation, part, x, means, search, rule, valid, random, control, chosen, differences, n_minimal
    )


def _some(
    setting: Setting[RobustnessConfig], search: CircuitSearch, most: int, where: Sequence[int | str]
) -> tuple[np.ndarray, int]:
    """Returns the valid circuits of a search, at most so many, and how many there are.

    Args:
        where: network, output and ablation, for the draw.
    """
    circuits = search.valid
    if len(circuits) > most:
        draw = chance.generator(setting.seed, "robustness", "decided circuits", *where)
        circuits = circuits[torch.randperm(len(circuits), generator=draw)[:most].sort().values.numpy()]
    return circuits, search.n_valid


def _population(
    setting: Setting[RobustnessConfig],
    network: Network,
    output: int | str,
    ablation: str,
    circuits: tuple[np.ndarray, int],
    examples: Tensor,
) -> Population:
    config, part, x = setting.config, network.part.output(output), network.test.entering
    kind = network.examples(output, "task").kind
    means = means_of(part.to(x.double()), x.double(), ablation)
    boxes = certify_circuits(
        part,
        circuits[0],
        x,
        config.epsilons,
        examples=x[examples],
        kind=kind,
        means=means,
        seconds=config.seconds,
        progress=setting.progress,
    )
    hull = None
    if config.hull:
        hull = certify_hull(
            part, circuits[0], x, kind=kind, means=means, seconds=config.seconds, progress=setting.progress
        )
    return Population(circuits[1], boxes, hull)


def _chosen(
    setting: Setting[RobustnessConfig], search: CircuitSearch, valid: Population, output: int | str, ablation: str
) -> tuple[tuple[np.ndarray, list[str]], int]:
    """Returns the circuits of which the largest difference is computed with the kind of each, and how many are minimal.

    Minimal are those that contain no other circuit of the valid ones that are decided.
    """
    minimal = minimal_members(valid.circuits) if len(valid.circuits) else valid.circuits
    ordered = minimal[np.argsort(n_kept(minimal), kind="stable")][:MOST_MINIMAL]
    full = search.space.edges.bits([search.space.full])
    others = np.setdiff1d(np.setdiff1d(valid.circuits, minimal), full)
    draw = chance.generator(setting.seed, "robustness", "differences", output, ablation)
    drawn = others[torch.randperm(len(others), generator=draw)[: setting.config.differences].sort().values.numpy()]
    own = np.setdiff1d(ordered, full)
    own = own[np.argsort(n_kept(own), kind="stable")]
    kinds = ["minimal"] * len(own) + ["full"] + ["drawn"] * len(drawn)
    return (np.concatenate([own, full, drawn]), kinds), len(minimal)

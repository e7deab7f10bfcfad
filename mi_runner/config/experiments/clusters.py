"""The options of `experiment=clusters`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.options import Cites, option


class PruningCriterion(Enum):
    divergence = "divergence"
    all_classes = "all_classes"
    own_class = "own_class"


@dataclass
class ClustersConfig(ExperimentConfig):
    """Does training for clusters make parts of a network that can be switched off?"""

    name: ClassVar[str] = "clusters"
    place: ClassVar[int] = 40
    module: ClassVar[str] = "mi_runner.experiments.clusters.experiment"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("golechha2024"),)
    in_a_paper: ClassVar[str] = (
        "We trained the network with {n_clusters} clusters in the layer {layer|in the middle} and a loss that is "
        "reduced by {strength} times the clusterability, beside a twin trained without, and switched the clusters "
        "off and on alone; {controls} random partitions are the controls."
    )
    small: ClassVar[tuple[str, ...]] = (
        "dataset=mod_add",
        "dataset.train_size=60",
        "dataset.test_size=60",
        "training.epochs=1",
        "model.hidden_sizes=[8,8,8]",
        "experiment.controls=1",
    )

    layer: str | None = option(None, "the Linear layer whose weights are clustered; null: the middle one")
    n_clusters: int = option(4, "clusters of its output and input units, of sizes as equal as possible", at_least=2)
    strength: float = option(15.0, "the loss is reduced by this times the clusterability; 0 for the twin", at_least=0)
    controls: int = option(
        10, "random partitions into clusters of the same sizes, as controls", at_least=0, at_most=10_000
    )
    top_k: int = option(50, "test images with a unit's largest activations", at_least=1)
    pruning_layers: list[str] | None = option(
        None, "Linear layers whose edges are pruned per class; null: the clustered layer and those after it; []: none"
    )
    pruning_criterion: PruningCriterion = option(
        PruningCriterion.divergence,
        "cut if this grows less: divergence from the full network's answers 'this class or not', all_classes: the loss "
        "of these answers, own_class: the class's loss on its own images (published; degenerates)",
    )
    pruning_threshold: float = option(1e-4, "nats per image by which the criterion may grow at each cut", at_least=0)
    pruning_examples: int = option(1000, "training images on which the criterion is computed", at_least=1)

"""The options of `experiment=iit`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.options import Cites, option, same
from mi_runner.methods.interchange_options import (
    AdversaryOptions,
    InterchangeOptions,
    RotationOptions,
    RotationTraining,
)


class Sources(Enum):
    single = "single"
    multi = "multi"


class AlignmentKind(Enum):
    units = "units"
    rotation = "rotation"


class Trained(Enum):
    network = "network"
    rotation = "rotation"
    both = "both"


class Reading(Enum):
    plain = "plain"
    published = "published"


class RotationSteps(Enum):
    retraction = "retraction"
    parametrization = "parametrization"


class Control(Enum):
    other_site = "other_site"
    other_units = "other_units"
    random_rotation = "random_rotation"
    untrained = "untrained"
    shuffled_labels = "shuffled_labels"
    random_labels = "random_labels"


OF_IIT = tuple(control for control in Control if control is not Control.random_labels)
"""The controls without that of a map alone, a network that was trained on labels in random order."""


@dataclass
class IitConfig(ExperimentConfig):
    """Can a network, or a rotation of a site, be trained to carry chosen variables at a chosen site? (IIT, DAS)"""

    name: ClassVar[str] = "iit"
    place: ClassVar[int] = 50
    module: ClassVar[str] = "mi_runner.experiments.iit.experiment"
    cites: ClassVar[tuple[Cites, ...]] = (
        Cites("geiger2022"),
        Cites("geiger2024", "alignment", "rotation"),
        Cites("gupta2024", "strictness"),
    )
    in_a_paper: ClassVar[str] = (
        "We trained with train={train} for {variables|all variables but the last} at {site|the first inner site} "
        "({sources} source, alignment={alignment}, size {size}, {epochs} epochs on {train_pairs} pairs, "
        "strictness {strictness}) and measured interchange intervention accuracy on {test_pairs} other pairs."
    )
    headline: ClassVar[str] = "iia"
    small: ClassVar[tuple[str, ...]] = (
        "dataset.train_size=60",
        "dataset.test_size=60",
        "training.epochs=1",
        "experiment.train_pairs=60",
        "experiment.test_pairs=60",
    )

    # Any, because a list of names and a list of lists are both allowed.
    variables: Any = option(
        None,
        "swapped together, [circularity,color]; several sets in turn, [[color],[area]]; all: every set of up to three "
        "variables; of more, each and all together; null: one set, all except the last",
        text=True,
    )
    formula: str | None = option(
        None,
        "of Boolean inputs: the variables are also the inner nodes n1, n2, ... of this formula of the labels, "
        "'(A & ~B) | (~A & B)'; null: those of the data set alone",
    )
    site: Any = option(
        None,
        "the site to train: conv1; several in turn, [conv1,fc1]; all: every layer with weights but the last; null: the "
        "first inner site",
        text=True,
    )
    sources: Sources = option(
        Sources.single, "single: one source example for all variables; multi: one per variable, each at its own place"
    )
    alignment: AlignmentKind = option(
        AlignmentKind.rotation, "a place is some of the site's units, or of the directions of its rotated space"
    )
    size: int = option(
        1, "units or directions per place; multi: a place per variable, single: one place for all", at_least=1
    )
    small_site_size: int | None = option(
        None, "size at a site with no more than size units per place, such as fc1 of model=cnn; null: size", at_least=1
    )
    offsets: list[int] | None = option(
        None, "units: the first unit of each place; null: one place after the other", at_least=0
    )
    # Any, because a dict in a structured config takes no new keys from the command line.
    places: Any = option(
        None,
        "units: instead of size and offsets, slices of the site's axes, '{circularity: \"[..., 0:2]\"}'; null: none",
    )
    train: Trained = same(InterchangeOptions, "what", Trained)
    task_weight: float | None = same(InterchangeOptions, "task_weight")
    strictness: float = same(
        InterchangeOptions,
        "strictness",
        doc="weight of the loss that keeps the answer when a unit of the site that no variable has is swapped, one a "
        "step; 0: none. 0.4 is published",
    )
    strictness_reading: Reading = same(InterchangeOptions, "strictness_reading", Reading)
    strictness_sites: Any = option(
        None,
        "sites whose units should carry nothing either: [conv2]; all: every layer with weights but the last; null: "
        "none",
        text=True,
    )
    epochs: int = same(InterchangeOptions, "epochs")
    batch_size: int = same(InterchangeOptions, "batch_size")
    learning_rate: float = same(
        InterchangeOptions,
        "learning_rate",
        doc="step size for the network's weights (training.optimizer names the rule)",
    )
    rotation_learning_rate: float = same(InterchangeOptions, "rotation_learning_rate")
    rotation_steps: RotationSteps = same(RotationOptions, "steps", RotationSteps)
    warmup_steps: int = same(InterchangeOptions, "warmup_steps")
    gradient_clip: float | None = same(InterchangeOptions, "gradient_clip")
    starts: int = option(
        1,
        "rotation: trainings, each from other random first directions; the summary is their mean",
        at_least=1,
        at_most=1_000,
    )
    train_pairs: int = option(10_000, "pairs of training examples", at_least=1, at_most=10_000_000)
    test_pairs: int = option(
        1_000, "pairs of test examples that aren't training examples", at_least=1, at_most=10_000_000
    )
    memory: int = option(
        1000, "MB of sites' values that are kept of a network that isn't trained; with less it takes longer", at_least=0
    )
    controls: list[Control] = option(
        list(OF_IIT), "what the result is compared with; []: nothing. The last two train again"
    )
    adversary: list[str] | None = option(
        None, "variables that must not be swappable at the site: [area]; null: no adversary"
    )
    adversary_rank: int = same(AdversaryOptions, "rank")
    adversary_steps: int = same(AdversaryOptions, "steps")
    adversary_learning_rate: float = same(AdversaryOptions, "learning_rate")
    adversary_renewal: int | None = same(AdversaryOptions, "renewal")
    adversary_count: int = same(AdversaryOptions, "count")
    adversary_weight: float = same(AdversaryOptions, "weight")
    adversary_bound: float | None = same(AdversaryOptions, "bound")
    adversary_cutoff: float | None = option(
        0.5, "below it the loss of the chosen variables counts for a thousandth; null: in full", above=0
    )
    adversary_control: bool = option(True, "train the same without the adversary, as a control")
    adversary_fresh_epochs: int = same(RotationTraining, "epochs")
    adversary_fresh_learning_rate: float = same(RotationTraining, "learning_rate")

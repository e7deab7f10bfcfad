"""The options of `experiment=ablation`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.options import Cites, option


class Method(Enum):
    zero = "zero"
    mean = "mean"
    resample = "resample"


class Granularity(Enum):
    site = "site"
    unit = "unit"


class Estimate(Enum):
    none = "none"
    mean = "mean"
    linear = "linear"


@dataclass
class AblationConfig(ExperimentConfig):
    """Which parts of the network does its answer depend on?"""

    name: ClassVar[str] = "ablation"
    place: ClassVar[int] = 20
    module: ClassVar[str] = "mi_runner.experiments.ablation.experiment"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("remix"), Cites("chan2022", "agree"))
    in_a_paper: ClassVar[str] = (
        "We ablated {targets|the inner sites and forked edges, or the submodules,} of the network (methods: {methods}; "
        "means and samples are of the {source} examples; {repeats} draws of each sample) and measured the accuracy and "
        "loss that are left."
    )
    small: ClassVar[tuple[str, ...]] = (
        "dataset=mod_add",
        "dataset.train_size=60",
        "dataset.test_size=60",
        "training.epochs=1",
        "experiment.split=mean",
        "experiment.agree=same",
    )

    targets: list[str] | None = option(
        None,
        "sites (relu), edges (x/add), paths (x/first/relu/add), patterns (relu*, linear:*, /regex/); inputs: each "
        "feature of the input by itself, inputs.age this one; null: by depth",
    )
    methods: list[Method] = option(
        [Method.zero, Method.mean, Method.resample], "what replaces the value: zero, mean, resample"
    )
    repeats: int = option(3, "draws of the resample method", at_least=1, at_most=10_000)
    granularity: Granularity = option(
        Granularity.site, "site: a target as a whole; unit: also each of its units by itself (units.csv)"
    )
    source: str = option(
        "test", "the examples that means and samples come from: test, train, or an .npz file of your own with x (and y)"
    )
    agree: str = option(
        "any",
        "what a sample comes from: any example, one of the same or of an other class, or of the class of this name; "
        "but for any, scrubbing.csv has all targets resampled together",
    )
    depth: str = option(
        "auto",
        "targets, where none are named: 1, 2, … one for each submodule at this depth (2: layer1.0); all: every inner "
        "site and forked edge; auto: all if these are at most 40, otherwise the depth with most, but at most 40",
    )
    split: Estimate = option(
        Estimate.none, "splits.csv: what each site does beyond its mean, or beyond a linear function of the input"
    )
    contribution_depth: int = option(
        1, "Linear layers, one behind the other, that contributions.csv splits the logits by", at_least=1
    )
    memory: int = option(
        1000, "megabytes of values that are kept, so that an ablation computes only what lies behind it", at_least=0
    )
    examples: list[int] | None = option(
        None,
        "test examples, by position, whose value that enters the output layer is drawn; null: the first of each class",
        at_least=0,
    )
    list_only: bool = option(False, "list the network's sites, edges and paths; nothing is trained")

    @property
    def trains(self) -> bool:
        return not self.list_only

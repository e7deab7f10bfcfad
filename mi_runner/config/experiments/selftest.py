"""The options of `experiment=selftest`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.options import option


class Group(Enum):
    """What is checked."""

    ablation = "ablation"
    contributions = "contributions"
    circuits = "circuits"
    census = "census"
    regions = "regions"
    explanations = "explanations"
    discovery = "discovery"
    clusters = "clusters"
    iit = "iit"
    probes = "probes"
    decoder = "decoder"
    intervals = "intervals"
    folders = "folders"
    devices = "devices"


@dataclass
class SelftestConfig(ExperimentConfig):
    """Can this installation be trusted? Every method on a network with a known answer."""

    name: ClassVar[str] = "selftest"
    place: ClassVar[int] = 120
    module: ClassVar[str] = "mi_runner.experiments.selftest.experiment"
    in_a_paper: ClassVar[str] = (
        "We ran the self-test of the installation: every method on a network with a known answer."
    )
    headline: ClassVar[str] = "held"
    compared: ClassVar[tuple[str, ...]] = ("ok",)
    expects: ClassVar[Mapping[str, str]] = {"n_failed": "==0"}
    small: ClassVar[tuple[str, ...]] = ("experiment.only=[ablation,contributions,intervals]",)

    only: list[Group] = option(
        [], "groups of checks; []: all. devices, a device against the CPU, runs with device=cuda alone"
    )

"""All checks of the self-test, by group. Imported where they are run or listed, because methods need torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch

from mi_runner.experiments.selftest.ablation import ABLATION, CONTRIBUTIONS
from mi_runner.experiments.selftest.circuits import CENSUS, CIRCUITS
from mi_runner.experiments.selftest.clusters import CLUSTERS
from mi_runner.experiments.selftest.decoder import DECODER
from mi_runner.experiments.selftest.devices import DEVICES
from mi_runner.experiments.selftest.discovery import DISCOVERY
from mi_runner.experiments.selftest.explanations import EXPLANATIONS
from mi_runner.experiments.selftest.folders import FOLDERS
from mi_runner.experiments.selftest.iit import IIT
from mi_runner.experiments.selftest.intervals import INTERVALS
from mi_runner.experiments.selftest.probes import PROBES
from mi_runner.experiments.selftest.records import Check
from mi_runner.experiments.selftest.regions import REGIONS

CHECKS: Mapping[str, Sequence[Check]] = {
    "ablation": ABLATION,
    "contributions": CONTRIBUTIONS,
    "circuits": CIRCUITS,
    "census": CENSUS,
    "regions": REGIONS,
    "explanations": EXPLANATIONS,
    "discovery": DISCOVERY,
    "clusters": CLUSTERS,
    "iit": IIT,
    "probes": PROBES,
    "decoder": DECODER,
    "intervals": INTERVALS,
    "folders": FOLDERS,
}
"""Group → its checks, in the order in which they run."""


def checks_of(groups: Sequence[str], device: torch.device) -> list[tuple[str, Check]]:
    """Returns the checks of groups, each with its group; those of `devices` only where the device is not the CPU.

    Args:
        groups: empty: all.
    """
    chosen = [(group, check) for group, checks in CHECKS.items() for check in checks if group in groups or not groups]
    if device.type == "cpu" or (groups and "devices" not in groups):
        return chosen
    on_device = [Check(one.name, one.sentence, partial(one.compare, device)) for one in DEVICES]
    return [*chosen, *(("devices", check) for check in on_device)]

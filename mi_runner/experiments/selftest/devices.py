"""Does a device give what the CPU gives? Asked where a run has a device besides the CPU.

The tolerances are those of float32 sums in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mi_runner.experiments.selftest.networks import EXAMPLES, TwoWays, drawn_part, inputs_of
from mi_runner.experiments.selftest.records import Compared, DeviceCheck
from mi_runner.graph import Intervention, ModelGraph, run_with, zero
from mi_runner.methods.ablation import ablate
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.random_overlap import well_formed
from mi_runner.methods.circuits.search import search_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.criteria.judge import judge
from mi_runner.methods.criteria.task import Task
from mi_runner.methods.discovery.scores import eap
from mi_runner.methods.probes import Target, probe, split_folds

CPU = torch.device("cpu")


def _apart(method: Callable[[torch.device], Sequence[float]], device: torch.device, tolerance: float) -> Compared:
    """Returns the largest difference of a method's numbers on a device to those on the CPU."""
    pairs = zip(method(CPU), method(device), strict=True)
    return Compared(0.0, max(abs(here - there) for here, there in pairs), tolerance)


def intervention(device: torch.device) -> Compared:
    return _apart(_intervened, device, 1e-5)


def _intervened(device: torch.device) -> list[float]:
    x = torch.tensor(EXAMPLES, device=device)
    graph = ModelGraph.trace(TwoWays().to(device), x[:2])
    return _numbers(run_with(graph, x, [Intervention("relu", zero)]))


def ablation(device: torch.device) -> Compared:
    return _apart(_ablated, device, 1e-4)


def _ablated(device: torch.device) -> list[float]:
    x = torch.tensor(EXAMPLES, device=device)
    rows = ablate(TwoWays().to(device), x, torch.tensor([0, 1, 1, 0], device=device), targets=["relu"]).rows
    return [float(row["loss"]) for row in rows]


def circuits(device: torch.device) -> Compared:
    return _apart(_measured, device, 1e-4)


def _measured(device: torch.device) -> list[float]:
    part, x = drawn_part((2, 3, 3, 1), seed=2), inputs_of(2)
    examples = CircuitExamples(x, part(x)[:, 0].round(), part(x)[:, 0])
    found = search_circuits(part, examples, accuracy_threshold=0.7, device=device)
    return [float(found.n_valid), *found.listed.squares.tolist()]


def attribution(device: torch.device) -> Compared:
    return _apart(_attributed, device, 1e-6)


def _attributed(device: torch.device) -> list[float]:
    part, x = drawn_part((2, 3, 3, 1), seed=2).to(device), inputs_of(2).to(device).double()
    return [number for layer in eap(part, x, x[:, 0], "mean") for number in _numbers(layer)]


def probes(device: torch.device) -> Compared:
    return _apart(_probed, device, 1e-5)


def _probed(device: torch.device) -> list[float]:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(60, 3, generator=draw, dtype=torch.float64)
    target, folds = Target(features.sum(1), classes=None), split_folds(60, 3, generator=draw)
    columns = {"code": target.columns.to(device)}
    there = [fold.to(device) for fold in folds]
    return _numbers(probe(features.to(device), columns, there, generator=draw).predictions["code"])


def _numbers(values: Tensor) -> list[float]:
    return [float(value) for value in values.detach().cpu().reshape(-1)]


def criteria(device: torch.device) -> Compared:
    return _apart(_judged, device, 1e-9)


def _judged(device: torch.device) -> list[float]:
    part = drawn_part((2, 3, 3, 1), seed=2)
    task = Task(part.to(torch.zeros((), dtype=torch.float64)), inputs_of(2).double(), device=device)
    found = judge(task, well_formed(CircuitSpace((2, 3, 3, 1), "any"))[::300])
    return [number for values in found.values.values() for number in np.nan_to_num(values, nan=-1.0).tolist()]


DEVICES = (
    DeviceCheck("intervention", "largest difference of outputs with a replaced site to those on the CPU", intervention),
    DeviceCheck("ablation", "largest difference of the losses of ablations", ablation),
    DeviceCheck("circuits", "largest difference of the measures of all circuits of 2-3-3-1", circuits),
    DeviceCheck("criteria", "largest difference of the criteria of circuits of 2-3-3-1", criteria),
    DeviceCheck("eap", "largest difference of the scores of EAP", attribution),
    DeviceCheck("probes", "largest difference of a probe's predictions", probes),
)

"""Runs of experiment=circuits in memory, and networks for them: one, its permuted copy, and another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch

from mi_runner.config.experiments.circuit_options import Valid
from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.experiments import Result, Setting
from mi_runner.experiments.circuits import experiment as circuits_experiment
from mi_runner.models.mlp import MLP
from mi_runner.training.options import TrainingOptions
from tests.small_data import values


@dataclass(frozen=True)
class InMemory:
    """A run of the experiment, as a sweep gives it to the comparison."""

    result: Result
    seed: int
    name: str = "job 7"
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or str(self.seed))

    def table(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame | None:
        if name not in self.result.tables:
            return None
        rows = self.result.tables[name]
        frame = pd.DataFrame(rows)
        frame.attrs = getattr(rows, "attrs", {})
        return frame if columns is None else frame[list(columns)]

    def tensors(self, name: str) -> Mapping[str, torch.Tensor]:
        return self.result.tensors[name]


def searched(model: torch.nn.Module, **options: Any) -> Result:
    """Circuits of a network on the targets that the first of `networks` computes without a mistake."""
    dataset = values(70)
    with torch.no_grad():
        dataset = replace(dataset, y_test=networks()[0](dataset.x_test).round())
    given = CircuitsConfig(accuracy_threshold=0.95, valid=Valid["task"], pairs=False, **options)
    return circuits_experiment.run(Setting(given, TrainingOptions(), model.eval(), dataset))


def networks() -> list[MLP]:
    """A network, its copy with hidden units in another order, and another network."""
    torch.manual_seed(8)
    shape = [6, 3, 2, 2, 1], torch.nn.Tanh
    one, copy = MLP(*shape), MLP(*shape)
    orders = [list(range(6)), [2, 0, 1], [1, 0], [1, 0], [0]]
    linear = [[m for m in model.modules() if isinstance(m, torch.nn.Linear)] for model in (one, copy)]
    with torch.no_grad():
        linear[0][-1].weight *= 30  # so that outputs differ when they are rounded
        for own, other, before, after in zip(*linear, orders, orders[1:], strict=False):
            other.weight.copy_(own.weight[after][:, before])
            other.bias.copy_(own.bias[after])
    torch.manual_seed(4)
    return [one, copy, MLP(*shape)]

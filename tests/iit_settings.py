"""Settings of experiment=iit, and rows of its results."""

from __future__ import annotations

from typing import Any

from torch import nn

from mi_runner.config.experiments.iit import AlignmentKind, IitConfig, Trained
from mi_runner.datasets import Dataset
from mi_runner.experiments import Result, Setting, TrainedNetwork
from mi_runner.training.options import TrainingOptions
from tests.interchanges import Xor

METRICS_COLUMNS = [
    *("phase", "control", "variables", "trained_site", "start", "site", "alignment", "size", "sources", "subset"),
    *("iia", "iia_low", "iia_high", "floor", "iia_unswapped"),
    *("task_accuracy", "task_low", "task_high", "commonest", "n_pairs"),
]


def setting(model: nn.Module, dataset: Dataset, training: TrainingOptions | None = None, **options: Any) -> Setting:
    options = {"train_pairs": 60, "test_pairs": 50, "batch_size": 20} | options
    networks = {"untrained": TrainedNetwork(type(model)())} if isinstance(model, Xor) else {}
    return Setting(IitConfig(**options), training or TrainingOptions(), model.eval(), dataset, networks=networks)


def units(**options: Any) -> dict[str, Any]:
    return {"alignment": AlignmentKind.units, "train": Trained.network, **options}


def of(result: Result, phase: str, subset: str = "all", control: str = "none") -> dict[str, Any]:
    (found,) = [
        dict(row)
        for row in result.tables["metrics"]
        if (row["phase"], row["subset"], row["control"]) == (phase, subset, control)
    ]
    return found

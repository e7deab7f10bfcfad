"""Every choice of every config group.

Only this module and their own files name a data set, a model or an experiment.
"""

from __future__ import annotations

from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.datasets.arrays import ArraysConfig
from mi_runner.config.datasets.ellipses import EllipsesConfig
from mi_runner.config.datasets.logic import LogicConfig
from mi_runner.config.datasets.mnist import Mnist01Config, MnistConfig
from mi_runner.config.datasets.mod_add import ModAddConfig
from mi_runner.config.engine_schemas import (
    EngineConfig,
    JoblibLauncher,
    OptunaSweeper,
    RayLauncher,
    SubmititLocalLauncher,
    SubmititSlurmLauncher,
)
from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.experiments.ablation import AblationConfig
from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.config.experiments.clusters import ClustersConfig
from mi_runner.config.experiments.das import DasConfig
from mi_runner.config.experiments.decoder import DecoderConfig
from mi_runner.config.experiments.discovery import DiscoveryConfig
from mi_runner.config.experiments.explanations import ExplanationsConfig
from mi_runner.config.experiments.iit import IitConfig
from mi_runner.config.experiments.probes import ProbesConfig
from mi_runner.config.experiments.train import TrainConfig
from mi_runner.config.models.cnn import CnnConfig
from mi_runner.config.models.external import ExternalConfig
from mi_runner.config.models.mlp import MlpConfig
from mi_runner.config.models.skip import SkipConfig
from mi_runner.config.options import Choice

EXPERIMENTS: tuple[type[ExperimentConfig], ...] = (
    TrainConfig,
    AblationConfig,
    CircuitsConfig,
    ClustersConfig,
    IitConfig,
    DasConfig,
    ProbesConfig,
    DecoderConfig,
    ExplanationsConfig,
    DiscoveryConfig,
)

DATASETS: tuple[type[DatasetConfig], ...] = (
    MnistConfig,
    Mnist01Config,
    ModAddConfig,
    EllipsesConfig,
    LogicConfig,
    ArraysConfig,
)

SCHEMAS: dict[str, tuple[type[Choice], ...]] = {
    "experiment": EXPERIMENTS,
    "dataset": DATASETS,
    "model": (MlpConfig, SkipConfig, CnnConfig, ExternalConfig),
}
"""Config group → its choices, in the order of the help page."""

ENGINES: dict[str, tuple[type[EngineConfig], ...]] = {
    "launcher": (JoblibLauncher, SubmititLocalLauncher, SubmititSlurmLauncher, RayLauncher),
    "sweeper": (OptunaSweeper,),
}
"""Hydra's groups hydra/launcher and hydra/sweeper → their choices besides Hydra's own `basic`."""

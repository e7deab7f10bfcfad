"""Every choice of every config group.

Only this module and their own files name a data set, a model or an experiment.
"""

from __future__ import annotations

from mi_runner.config.dataset_schemas import (
    ArraysConfig,
    DatasetConfig,
    EllipsesConfig,
    LogicConfig,
    Mnist01Config,
    MnistConfig,
    ModAddConfig,
)
from mi_runner.config.engine_schemas import (
    EngineConfig,
    JoblibLauncher,
    OptunaSweeper,
    RayLauncher,
    SubmititLocalLauncher,
    SubmititSlurmLauncher,
)
from mi_runner.config.experiment_schemas import (
    AblationConfig,
    CircuitsConfig,
    ClustersConfig,
    DasConfig,
    DecoderConfig,
    DiscoveryConfig,
    ExperimentConfig,
    ExplanationsConfig,
    IitConfig,
    ProbesConfig,
    TrainConfig,
)
from mi_runner.config.model_schemas import CnnConfig, ExternalConfig, MlpConfig, SkipConfig
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

"""The files of a run that is done, as an experiment's comparisons of runs read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mi_runner.config.composition import experiment_options
from mi_runner.config.experiments import ExperimentConfig
from mi_runner.runs.run_folder import table_file
from mi_runner.runs.saved_tables import read_frame

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor


@dataclass(frozen=True)
class RunFiles:
    """The files of a run, as `mi_runner.experiments.SavedRun` describes them.

    Attributes:
        folder: the run's.
        name: how errors name it.
        label: how tables and sentences name its network.
        seed: of the run.
        config: the whole config by key, as run.json has it.
    """

    folder: Path
    name: str
    label: str
    seed: int
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> ExperimentConfig:
        """The experiment's options."""
        return experiment_options(self.config)

    def table(self, name: str, columns: Sequence[str] | None = None) -> DataFrame | None:
        """Returns a table, or some of its columns; None if it is missing."""
        if not table_file(self.folder, name).exists():
            return None
        return read_frame(self.folder, name, columns, as_text=False)

    def tensors(self, name: str) -> Mapping[str, Tensor]:
        """Returns tensors by name."""
        from mi_runner.training.weights import read_weights

        return read_weights(self.folder / f"{name}.safetensors")

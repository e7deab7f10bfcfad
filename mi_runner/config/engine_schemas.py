"""The options of launchers, which run the jobs of a sweep, and of sweepers, which choose the values of its jobs.

`hydra/launcher=NAME`, `hydra.launcher.OPTION=VALUE`, and the same with sweeper.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from mi_runner.config.options import Choice, option


@dataclass
class EngineConfig(Choice):
    """The attributes of every launcher and every sweeper."""

    extra: ClassVar[str]
    """The extra of mi-run that installs the library: `pip install 'mi-run[EXTRA]'`."""


@dataclass
class LauncherConfig(EngineConfig):
    """The options of every launcher."""

    n_jobs: int | None = option(
        None, "jobs at once; null: the number of cores, but at most the number of jobs", at_least=1, at_most=100_000
    )
    threads: int | None = option(
        None,
        "cores for a job's compiled kernels; null: cores / jobs at once. Figures don't depend on it",
        at_least=1,
        at_most=1_024,
    )


@dataclass
class JoblibLauncher(LauncherConfig):
    """The cores and devices of this machine, each job in a worker process (joblib's loky)."""

    name: ClassVar[str] = "joblib"
    extra: ClassVar[str] = "parallel"


@dataclass
class SubmititLocalLauncher(LauncherConfig):
    """This machine, each job in its own process, as on Slurm but without it (submitit)."""

    name: ClassVar[str] = "submitit_local"
    extra: ClassVar[str] = "slurm"

    timeout_min: int = option(24 * 60, "minutes after which a job is ended", at_least=1)


@dataclass
class SubmititSlurmLauncher(LauncherConfig):
    """A Slurm cluster, each job a job of the queue."""

    name: ClassVar[str] = "submitit_slurm"
    extra: ClassVar[str] = "slurm"

    n_jobs: int | None = option(100, "jobs in the queue at once; null: all", at_least=1, at_most=100_000)
    threads: int | None = option(
        None,
        "cores requested for a job; its compiled kernels use them; null: 4, if a node has them",
        at_least=1,
        at_most=1_024,
    )
    timeout_min: int = option(4 * 60, "minutes that a job has", at_least=1)
    mem_gb: float = option(8, "GB of memory requested for a job", above=0)
    gpus: int = option(0, "GPUs requested for a job", at_least=0)
    partition: str | None = option(None, "Slurm's partition; null: the cluster's default")
    account: str | None = option(None, "Slurm's account; null: the user's default")
    more: Any = option(None, "further options of sbatch: '{qos: high, constraint: a100}'")


@dataclass
class RayLauncher(LauncherConfig):
    """A Ray cluster, or Ray on this machine, started for the sweep."""

    name: ClassVar[str] = "ray"
    extra: ClassVar[str] = "ray"

    address: str | None = option(None, "HOST:PORT of a cluster; null: start Ray here, and stop it at the end")
    gpus: float | None = option(None, "GPUs per job, e.g. 0.5; null: the cluster's GPUs / jobs at once", at_least=0)


class Direction(Enum):
    maximize = "maximize"
    minimize = "minimize"


@dataclass
class OptunaSweeper(EngineConfig):
    """Searches for the values with the best `objective` (Optuna)."""

    name: ClassVar[str] = "optuna"
    extra: ClassVar[str] = "optuna"

    n_trials: int = option(20, "jobs", at_least=1, at_most=100_000)
    direction: Direction = option(Direction.maximize, "whether the objective should be large or small")
    seed: int = option(
        0, "the seed of the search, which draws the first ten jobs at random", at_least=0, at_most=2**32 - 1
    )

"""Where the jobs of a sweep run: in this process, in workers on this machine, on a Slurm or Ray cluster.

An engine takes a task for a free slot and says when it has ended. A job's run.json says what became of it;
if it says nothing, because the worker is gone, the engine's word counts. Each slot has its own worker, so if one is
killed, it is known which job died, and no other job dies.

Nothing here imports torch before a worker has its environment.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mi_runner.config.engine_schemas import (
    JoblibLauncher,
    LauncherConfig,
    RayLauncher,
    SubmititLocalLauncher,
    SubmititSlurmLauncher,
)
from mi_runner.errors import ConfigError
from mi_runner.sweeps.engines import ray, slurm
from mi_runner.sweeps.engines.engine import Engine
from mi_runner.sweeps.engines.in_this_process import InThisProcess
from mi_runner.sweeps.engines.joblib import Loky
from mi_runner.sweeps.engines.ray import Ray
from mi_runner.sweeps.engines.slurm import Slurm
from mi_runner.sweeps.engines.submitit import Submitit

LIBRARIES = {
    "joblib": "joblib.externals.loky",
    "submitit_local": "submitit",
    "ray": "ray",
}
"""Launcher → the module that its engine is made of."""


def check(config: LauncherConfig | None) -> None:
    """Checks that what an engine needs is there, without making a file.

    Raises:
        ConfigError: its library is not installed, or Slurm is not on this machine.
    """
    if config is None:
        return
    if isinstance(config, SubmititSlurmLauncher):
        slurm.check(config)
        return
    try:
        missing = find_spec(LIBRARIES[config.name]) is None
    except ImportError:  # of a package that would hold it
        missing = True
    if missing:
        raise _not_installed(config, f"no module named {LIBRARIES[config.name]}")
    if isinstance(config, RayLauncher):
        ray.check(config)


def _not_installed(config: LauncherConfig, why: object) -> ConfigError:
    return ConfigError(
        f"hydra/launcher={config.name} needs a library that is not installed ({why}): "
        f"type pip install 'mi-run[{config.extra}]'."
    )


def start(config: LauncherConfig | None, n_jobs: int, devices: int, sweep: Path) -> Engine:
    """Returns the engine that a config asks for.

    Args:
        n_jobs: jobs that there are to run.
        devices: CUDA devices of this machine that jobs may be spread over.
        sweep: the sweep's folder; an engine may keep files of its own in it.

    Raises:
        ConfigError: its library is not installed.
        RunFailed: it can't be started.
    """
    if config is None:
        return InThisProcess()
    try:
        if isinstance(config, JoblibLauncher):
            return Loky(config, n_jobs, devices)
        if isinstance(config, RayLauncher):
            return Ray(config, n_jobs)
        if isinstance(config, SubmititSlurmLauncher):
            return Slurm(config, n_jobs, sweep)
        assert isinstance(config, SubmititLocalLauncher)
        return Submitit(config, n_jobs, devices, sweep)
    except ImportError as error:
        raise _not_installed(config, error) from error

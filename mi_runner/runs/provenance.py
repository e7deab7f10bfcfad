"""Where a run's figures come from: the config, the versions, the checkout, the machine, the command, the time."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mi_runner.config.composition import config_hash, flattened
from mi_runner.config.run_schema import RunConfig
from mi_runner.machine import hardware
from mi_runner.machine.files import code_version
from mi_runner.runs import checkout, run_folder

VERSIONS = ("mi-run", "torch", "torchvision", "numpy", "pandas", "hydra-core")


def new_record(config: RunConfig, command: str | None, timings: Mapping[str, float]) -> dict[str, Any]:
    return {
        "schema_version": run_folder.SCHEMA_VERSION,
        "status": "running",
        "experiment": config.experiment.name,
        "dataset": config.dataset.name,
        "model": config.model.name,
        "seed": config.seed,
        "device": config.device,
        "threads": config.threads,
        "processor": hardware.processor(),
        "instruction_set": hardware.instruction_set(),
        "config_hash": config_hash(config),
        "config": flattened(config),
        "answer": None,
        "metrics": {},
        "keys": {},
        "common_names": {},
        "repeats": [],
        "shown": [],
        "measures": {},
        "timings": dict(timings),
        "checkpoint": None,
        "starts": {},
        "stop_epoch": None,
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in VERSIONS},
            "code": code_version(),
        },
        "git": checkout.state(),
        "command": command or shlex.join(sys.argv),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": now(),
        "finished": None,
        "error": None,
        "exit_status": None,
        "files": {},
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@functools.cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

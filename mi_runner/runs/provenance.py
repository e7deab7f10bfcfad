"""Where a run's figures come from: the config, the versions, the checkout, the machine, the command, the time."""

from __future__ import annotations

import functools
import os
import platform
import socket
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from mi_runner.config import commands
from mi_runner.config.composition import config_hash, flattened
from mi_runner.config.run_schema import RunConfig
from mi_runner.datasets import Dataset
from mi_runner.machine import hardware
from mi_runner.machine.files import code_version, tensors_sha256
from mi_runner.models import Built, external
from mi_runner.runs import checkout
from mi_runner.runs.choices import factory_of
from mi_runner.runs.given import NOTHING, Given
from mi_runner.runs.packages import versions_of
from mi_runner.runs.record import SCHEMA_VERSION, ColumnRecord, DataRecord, RunRecord

DIGITS = 16
"""Hexadecimal digits of a hash of data."""

VERSIONS = ("mi-run", "torch", "torchvision", "numpy", "pandas", "hydra-core")


def new_record(config: RunConfig, command: str | None, timings: Mapping[str, float]) -> RunRecord:
    """Returns the record of a run that begins.

    Args:
        command: the command line; None: one that has this config.
        timings: stage → seconds, for stages before the run.
    """
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        status="running",
        experiment=config.experiment.name,
        dataset=config.dataset.name,
        model=config.model.name,
        seed=config.seed,
        device=config.device,
        threads=config.threads,
        processor=hardware.processor(),
        instruction_set=hardware.instruction_set(),
        config_hash=config_hash(config),
        config=flattened(config),
        timings=dict(timings),
        versions={
            "python": platform.python_version(),
            **{name: _version(name) for name in VERSIONS},
            "code": code_version(),
        },
        git=checkout.state(),
        command=command or _command_of(config),
        host=socket.gethostname(),
        pid=os.getpid(),
        started=now(),
    )


def _command_of(config: RunConfig) -> str:
    """Returns the command that has a config, or the call in Python where none has."""
    overrides = commands.overrides_of(config)
    return "mi_runner.run(config)" if overrides is None else commands.command_line(overrides)


def own_code(config: RunConfig, built: Built, given: Given = NOTHING) -> dict[str, str]:
    """Returns what else decides the figures of a run, as `versions` of its record has it.

    `code of NAME` → a digest of the code, for the user's own network and methods. For a package that adds the
    experiment, the data set, the model or a method: its name → its version, and `code of PACKAGE` → a digest of its
    sources.
    """
    factory = given.network.kind if given.network is not None else factory_of(config.model)
    found = {f"code of {factory}": built.code} if factory and built.code else {}
    found |= versions_of(config)
    methods = [name for name in getattr(config.experiment, "methods", ()) if isinstance(name, str) and ":" in name]
    found |= {f"code of {name}": external.callable_code(name) for name in methods}
    return found


def data_of(dataset: Dataset) -> DataRecord:
    """Returns the names that a data set has, a hash of its test inputs, and how its columns became inputs."""
    columns = tuple(ColumnRecord(**asdict(column)) for column in dataset.columns or ())
    test_inputs = tensors_sha256({"x_test": dataset.x_test})[:DIGITS]
    return DataRecord(dataset.class_names, dataset.feature_names, test_inputs, columns)


def now() -> str:
    """Returns the time in UTC, as ISO 8601 has it, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@functools.cache
def _version(name: str) -> str | None:
    """Returns the version of an installed distribution; None if it isn't installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None

"""The dispatcher: a config in, a run folder out.

    config → data set → model, with a checkpoint's weights → all is checked → claim a new run folder
           → weights (model store | train now) → experiment.run(setting) returns a Result → write it

`run` is the program; read it from top to bottom. Mistakes are found before the folder is made, so they use no version.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import platform
import shlex
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from mi_runner.config.composition import config_hash, contents, flattened
from mi_runner.config.run_schema import RunConfig
from mi_runner.datasets import Dataset
from mi_runner.errors import (
    ArgumentError,
    ConfigError,
    ExitStatus,
    RunFailed,
    Terminated,
    as_options,
    exit_status,
    one_line,
)
from mi_runner.experiments import Experiment, Result, Row, Setting, TrainedNetwork
from mi_runner.experiments.common.evaluation import check_evaluation
from mi_runner.experiments.common.predictions import with_predictions
from mi_runner.machine import cache, hardware, memory, signals, threads
from mi_runner.machine.files import code_version
from mi_runner.models import Built
from mi_runner.progress import Progress, log
from mi_runner.runs import checkout, checkpoints, expectations, run_folder, starts
from mi_runner.runs.checkpoints import Checkpoint
from mi_runner.runs.choices import (
    arguments,
    build_network,
    experiment_of,
    factory_of,
    load_dataset,
    own_code,
    training_options,
)
from mi_runner.runs.expectations import Expectation
from mi_runner.runs.report import REPORT, write_run_report
from mi_runner.runs.run_folder import RunFolder
from mi_runner.tables import console
from mi_runner.training import loop as training
from mi_runner.training import model_store
from mi_runner.training import stacked as stacked_training
from mi_runner.training.doubts import doubts
from mi_runner.training.model_store import Stored

VERSIONS = ("mi-run", "torch", "torchvision", "numpy", "pandas", "hydra-core")


@dataclass(frozen=True)
class Table:
    """A table to print."""

    title: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Outcome:
    """The result of a run that is done.

    Attributes:
        folder: the run folder.
        tables: the tables to print.
        metrics: the summary.
        not_met: a line per expectation that isn't met.
    """

    folder: Path
    tables: Sequence[Table]
    metrics: Mapping[str, float]
    not_met: Sequence[str]


def run(
    config: RunConfig,
    *,
    folder: Path | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    timings: Mapping[str, float] | None = None,
) -> Outcome:
    """Runs an experiment from the config to the files, and returns the outcome.

    Args:
        folder: an existing empty folder to use, as a sweep gives to each job; None: a new version, after all checks.
        command: the command line, for run.json.
        progress: long work reports to it.
        timings: stage → seconds, for stages before this call.

    Raises:
        ConfigError: a mistake in the config or a file that it names.
        RunFailed: the run began but could not finish.
    """
    assert isinstance(config.threads, int), "auto is a number once the config is typed"
    expected = expectations.parse(config.expect)
    cache.check()
    names = config.experiment.name, config.dataset.name, config.model.name
    record = _new_record(config, command, timings or {})
    progress = progress or Progress()
    memory.keep_freed()
    claim = partial(run_folder.claim, config.output_dir, *names) if folder is None else partial(RunFolder, folder)
    journal = _Journal(config, record, claim)

    with _recorded(journal, progress), threads.exactly(config.threads):
        if folder is not None:
            journal.begin()  # the sweep reads run.json while the run loads
        with _stage(record, "import"):
            experiment = experiment_of(config.experiment)
            import_module(config.dataset.module)
            import_module(config.model.module)
        device = _device(config.device)
        record["device"] = str(device)

        with _stage(record, "data"):
            dataset = load_dataset(config.dataset, seed=config.seed)
        with _stage(record, "model"):
            prepared = prepare(config, dataset, expected, progress=progress)
        record["versions"] |= own_code(config, prepared.built)
        members = prepared.setting.members or (prepared.setting,)
        record["starts"] = {str(member.seed): member.start for member in members}
        place = journal.begin()
        with _stage(record, "model"):
            setting, trained_now = _with_weights(prepared, config, device, record)
            if prepared.checkpoint is None or device.type != "cpu":  # otherwise `prepare` has checked this very network
                _check_trained(setting)
            setting = _with_networks(setting, experiment, config, dataset)
            if config.experiment.trains:
                for doubt in doubts(setting.model, setting.dataset, setting.training, sigmoid=_sigmoid(config)):
                    log.warning(doubt)

        if setting.training.stop_loss is not None and prepared.checkpoint is None:
            each = setting.members or (setting,)
            record["stop_epoch"] = {str(member.seed): training.stop_epoch(member.history) for member in each}

        with _stage(record, "experiment"):
            result = with_predictions(experiment.run(setting), setting)
        if result.answer:
            record["answer"] = result.answer
            log.info(result.answer)
        record["timings"] |= result.timings
        if trained_now and "history" not in result.tables:
            result = result.with_table("history", setting.history, ["epoch"])
        model = result.model or (setting.model if trained_now else None)
        if prepared.checkpoint is not None and model is setting.model:
            model = None  # the command names the file that has these weights
        with _stage(record, "write"):
            _write(place, result, model)
        record["keys"] = {name: list(result.keys[name]) for name, rows in result.tables.items() if len(rows)}
        record["common_names"] = dict(result.common_names)
        record["repeats"] = list(result.repeats)
        record["shown"] = [name for name in result.shown if len(result.tables[name])]
        record["measures"] = {name: [within.low, within.high] for name, within in result.measures.items()}
        # JSON has no NaN and no infinity.
        record["metrics"] = {
            name: float(value) if math.isfinite(value) else None for name, value in result.metrics.items()
        }
        not_met = [line for bound in expected if (line := bound.unmet(result.metrics))]
        if expected:
            record["expect_not_met"] = not_met

    left_out = {*result.common_names.values()}
    tables = [
        Table(
            f"{name}: {' · '.join(names)}",
            [{column: value for column, value in row.items() if column not in left_out} for row in result.tables[name]],
        )
        for name in result.shown
    ]
    return Outcome(place.path, tables, result.metrics, not_met)


# --- the stages --------------------------------------------------------------------------------------------------


def _device(asked: str) -> torch.device:
    """Returns the device that the config names.

    Raises:
        ConfigError: this machine doesn't have it.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if asked == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(f"device={asked}: torch finds no CUDA device here. Use device=cpu or device=auto.")
    device = torch.device(asked)
    if (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={asked}: this machine has {torch.cuda.device_count()} CUDA devices, counted from 0.")
    return device


@dataclass(frozen=True)
class Prepared:
    """A run after all checks that are possible before training.

    Attributes:
        built: the network, on the CPU, with the checkpoint's weights if one is named.
        setting: the experiment's setting for that network.
        checkpoint: the weights that the config names.
    """

    built: Built
    setting: Setting[Any]
    checkpoint: Checkpoint | None


@as_options()
def prepare(
    config: RunConfig,
    dataset: Dataset,
    expected: Sequence[Expectation],
    *,
    progress: Progress,
) -> Prepared:
    """Builds the network and the setting of a run, checks them, and returns them.

    Raises:
        ConfigError: data set, model, training, experiment, expectations and checkpoint don't fit; the text says what
            to type.
    """
    experiment = experiment_of(config.experiment)
    built = build_network(config.model, dataset, seed=config.seed)
    for note in built.notes:
        log.info(note)
    for warning in built.warnings:
        log.warning(warning)
    options = training_options(config.training)
    setting: Setting[Any] = Setting(
        config=config.experiment,
        training=options if config.experiment.trains else replace(options, epochs=0),
        model=built.model,
        dataset=built.dataset,
        seed=config.seed,
        leaves=built.leaves,
        source=built.source,
        progress=progress,
    )
    if config.seeds is not None:
        setting = replace(setting, members=_members(setting, config, dataset, config.seeds))
    checkpoint = None if config.checkpoint is None else checkpoints.load(config.checkpoint, built.model)
    with as_options(model=arguments(config.model)):
        check_evaluation(setting)
    experiment.check(setting)  # first, because its own options may set training options
    with as_options(model=arguments(config.model), training=arguments(config.training)):
        training.check(built.model, built.dataset, setting.training, sigmoid=_sigmoid(config))
    expectations.check(expected, experiment.metric_names(setting))
    setting = replace(setting, start=starts.start_of(setting.model, setting.dataset))
    members = [replace(one, start=starts.start_of(one.model, one.dataset)) for one in setting.members]
    if seeds := starts.shared((one.seed, one.start) for one in members):
        log.warning(starts.sentence(seeds, factory=factory_of(config.model), checkpoint=None))
    return Prepared(built, replace(setting, members=tuple(members)), checkpoint)


def _sigmoid(config: RunConfig) -> str:
    """Returns how to give the config's model a sigmoid at its end."""
    return "model.output_activation=sigmoid" if "output_activation" in arguments(config.model) else "torch.nn.Sigmoid()"


def _with_weights(
    prepared: Prepared, config: RunConfig, device: torch.device, record: dict[str, Any]
) -> tuple[Setting[Any], bool]:
    """Returns the setting on its device with the model's weights, and whether they were trained now."""
    built, setting, checkpoint = prepared.built.to(device), prepared.setting, prepared.checkpoint
    model, dataset = built.model, built.dataset
    if checkpoint is not None:
        log.info(f"weights loaded from {checkpoint.path}; nothing is trained")
        path = str(checkpoint.path.resolve())
        record["checkpoint"] = {"from": "checkpoint", "path": path, "sha256": checkpoint.sha256}
        return replace(setting, model=model, dataset=dataset), False

    if setting.members:
        return _members_with_weights(setting, built, config, record), False

    (stored,) = _obtain([built], setting, seeds=[config.seed])
    record["checkpoint"] = {
        "from": "training" if stored.trained_now else "model store",
        "path": str(stored.path) if stored.path else None,
        "sha256": stored.sha256,
    }
    return replace(setting, model=model, dataset=dataset, history=stored.history), stored.trained_now


def _check_trained(setting: Setting[Any]) -> None:
    """Checks again, with the weights that the experiment gets.

    Raises:
        RunFailed: a network's outputs are not finite, or not those of each example alone.
    """
    for member in setting.members or (setting,):
        try:
            check_evaluation(member)
        except ArgumentError as error:
            of_seed = f"seed={member.seed}: " if setting.members else ""
            raise RunFailed(f"{of_seed}{error}") from error


def _obtain(
    builts: Sequence[Built],
    setting: Setting[Any],
    *,
    seeds: Sequence[int],
    at_once: int = 1,
) -> list[Stored]:
    """Loads or trains the weights of the networks.

    Raises:
        RunFailed: a training diverged.
    """
    options, progress = setting.training, setting.progress
    try:
        return model_store.obtain(builts, options, seeds=seeds, at_once=at_once, progress=progress)
    except FloatingPointError as error:
        raise RunFailed(f"{error} Try a smaller training.learning_rate.") from error


def _with_networks(
    setting: Setting[Any], experiment: Experiment[Any], config: RunConfig, dataset: Dataset
) -> Setting[Any]:
    """Returns the setting, and its members, with the networks that the experiment needs besides their model."""
    each = setting.members or (setting,)
    device, cpu = setting.dataset.x_train.device, torch.device("cpu")
    networks: list[dict[str, TrainedNetwork]] = [{} for _ in each]
    for name, options in experiment.networks(setting).items():
        data = [member.dataset.to(cpu) for member in setting.members] or [dataset]  # networks are built on the CPU
        builts = [
            build_network(config.model, own, seed=member.seed).to(device)
            for member, own in zip(each, data, strict=True)
        ]
        histories: Sequence[Sequence[Row]] = [()] * len(each)
        if options.epochs:
            log.info(f"{name}: trains the same network for comparison")
            seeds = [member.seed for member in each]
            at_once = stacked_training.at_once(
                builts[0].model, builts[0].dataset, options, own_data=config.dataset.drawn
            )
            stored = _obtain(builts, replace(setting, training=options), seeds=seeds, at_once=at_once)
            histories = [model.history for model in stored]
        for own, built, history in zip(networks, builts, histories, strict=True):
            own[name] = TrainedNetwork(built.model, history)
    if not setting.members:
        return replace(setting, networks=networks[0])
    members = tuple(replace(member, networks=own) for member, own in zip(each, networks, strict=True))
    return replace(setting, members=members, networks=networks[0])


def _members(setting: Setting[Any], config: RunConfig, dataset: Dataset, n_seeds: int) -> tuple[Setting[Any], ...]:
    """Returns a setting for each of the seeds `config.seed`, `config.seed` + 1, …, with the network that it has alone.

    Raises:
        ConfigError: the networks can't be trained together.
    """
    members = [setting]
    for seed in range(config.seed + 1, config.seed + n_seeds):
        own = load_dataset(config.dataset, seed=seed) if config.dataset.drawn else dataset
        built = build_network(config.model, own, seed=seed)
        members.append(replace(setting, model=built.model, dataset=built.dataset, seed=seed, source=built.source))
    with as_options(training=arguments(config.training)):
        for member in members:
            training.check(member.model, member.dataset, setting.training)
    try:
        stacked_training.check_together(
            [member.model for member in members],
            [member.dataset for member in members],
            setting.training,
            seeds=[member.seed for member in members],
        )
    except ArgumentError as error:
        named = error.as_options({name: f"training.{name}" for name in arguments(config.training)})
        alone = f"-m 'seed=range({config.seed},{config.seed + n_seeds})' instead of seeds={n_seeds}"
        raise ConfigError(f"seeds={n_seeds}: {named} Train them one after the other: {alone}.") from error
    return tuple(members)


def _members_with_weights(
    setting: Setting[Any], built: Built, config: RunConfig, record: dict[str, Any]
) -> Setting[Any]:
    """Returns the setting with trained members, on the device of `built`."""
    device = built.dataset.x_train.device
    moved = {built.dataset.fingerprint: built.dataset}  # so that shared data are moved once
    builts = [
        Built(
            member.model.to(device),
            moved.get(member.dataset.fingerprint) or member.dataset.to(device),
            source=member.source,
        )
        for member in setting.members
    ]
    seeds = [member.seed for member in setting.members]

    at_once = stacked_training.at_once(built.model, built.dataset, setting.training, own_data=config.dataset.drawn)
    stored = _obtain(builts, setting, seeds=seeds, at_once=at_once)
    n_loaded = sum(not model.trained_now for model in stored)
    record["checkpoint"] = {
        "from": "model store" if n_loaded == len(stored) else "training",
        "path": None,
        "sha256": None,
        "members": [
            {
                "seed": seed,
                "from": "training" if model.trained_now else "model store",
                "path": str(model.path) if model.path else None,
                "sha256": model.sha256,
            }
            for seed, model in zip(seeds, stored, strict=True)
        ],
    }
    members = tuple(
        replace(member, model=built.model, dataset=built.dataset, history=model.history)
        for member, built, model in zip(setting.members, builts, stored, strict=True)
    )
    return replace(members[0], members=members)


def _write(place: RunFolder, result: Result, model: nn.Module | None) -> None:
    """Writes the tables and weights of a result, the weights of `model`, and last the figures: one may fail."""
    for name, rows in result.tables.items():
        if len(rows):  # a CSV file without rows and header can't be read
            place.write_table(name, rows, parquet=name in result.parquet)
    if model is not None:
        place.write_weights(model.state_dict())
    for name, member in result.members.items():
        place.write_weights(member.state_dict(), name)
    for name, tensors in result.tensors.items():
        place.write_tensors(name, tensors)
    for name, arrays in result.arrays.items():
        place.write_arrays(name, arrays)
    for name, drawing in result.figures.items():
        place.write_figure(name, drawing)


# --- the record --------------------------------------------------------------------------------------------------


def _new_record(config: RunConfig, command: str | None, timings: Mapping[str, float]) -> dict[str, Any]:
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
        "started": _now(),
        "finished": None,
        "error": None,
        "exit_status": None,
        "files": {},
    }


class _Journal:
    """Keeps run.json and run.log in memory until the run has a folder.

    Attributes:
        record: the content of run.json.
        place: the run folder; None before `begin`.
        log: the log handler of run.log.
        has_report: whether the folder gets a report.html.
    """

    def __init__(self, config: RunConfig, record: dict[str, Any], claim: Callable[[], RunFolder]) -> None:
        self.record = record
        self.has_report = config.report
        self.place: RunFolder | None = None
        self.log = MemoryHandler(sys.maxsize, flushLevel=sys.maxsize)
        self._config, self._claim = config, claim
        self._file: logging.FileHandler | None = None

    def begin(self) -> RunFolder:
        """Returns the run folder; the first call makes it, with a run.json that says `running`.

        Raises:
            RunFailed: the folder can't be made or written.
        """
        with signals.held():  # after run.json says `running`, the end of the run must be written
            return self.place or self._begun()

    def _begun(self) -> RunFolder:
        place = self.place = self._claim()
        choices = "# experiment={experiment} dataset={dataset} model={model}\n".format(**self.record)
        try:
            place.write_process()
            place.write_record(self.record)
            place.write_config(choices + OmegaConf.to_yaml(OmegaConf.create(contents(self._config))))
            self._file = logging.FileHandler(place.log, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            text = f"can't write into {place.path} ({error}). Use output_dir=FOLDER for another folder."
            raise RunFailed(text) from error
        self._file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.log.setTarget(self._file)
        self.log.flush()
        self.log.flushLevel = logging.NOTSET  # each further line goes to the file at once
        log.info(f"{self.record['command']} → {place.path}")
        return place

    def write_traceback(self) -> None:
        """Writes the traceback of the current error to run.log, unless the disk is full."""
        with suppress(OSError):
            if self._file is not None and self._file.stream is not None:
                self._file.stream.write(traceback.format_exc())
                self._file.flush()  # the report reads it

    def close(self) -> None:
        """Closes run.log."""
        self.log.close()
        with suppress(OSError):
            if self._file is not None:
                self._file.close()


@contextmanager
def _recorded(journal: _Journal, progress: Progress) -> Iterator[None]:
    """Writes to run.json how the block ended, as the last file; run.log gets the log and any traceback.

    A mistake or an interruption before `journal.begin` leaves no folder; a crash leaves one with its traceback.
    """
    record = journal.record
    began = time.perf_counter() - sum(record["timings"].values())
    to_screen = console.LogHandler()
    log.setLevel(logging.INFO)
    propagated, log.propagate = log.propagate, False
    log.addHandler(journal.log)
    log.addHandler(to_screen)
    with ExitStack() as hold:
        try:
            yield
            hold.enter_context(signals.held())
            record["status"] = "done"
            not_met = record.get("expect_not_met")
            record["exit_status"] = int(ExitStatus.EXPECTATION_NOT_MET if not_met else ExitStatus.DONE)
        except BaseException as raised:
            hold.enter_context(signals.held())
            error = signals.interruption(raised)
            interrupted = isinstance(error, KeyboardInterrupt | Terminated)
            if journal.place is None and (interrupted or isinstance(error, ConfigError)):
                raise error from error.__cause__
            place = journal.begin()
            record["status"] = "interrupted" if interrupted else "failed"
            record["error"] = one_line(error)
            record["exit_status"] = int(exit_status(error))
            # If the disk is full, run.json still says `running`, which doesn't count as done.
            journal.write_traceback()
            with suppress(OSError):
                for name, rows in progress.tables.items():
                    place.write_table(name, rows)
            if isinstance(error, ConfigError | RunFailed) or interrupted:
                raise error from error.__cause__
            raise RunFailed(f"{_cause(error)} The whole traceback is in {place.log}.") from error
        finally:
            _say_finished(record, began)
            if journal.place is not None and journal.has_report:
                with _stage(record, "report"):
                    _report(journal.place, record)
                _say_finished(record, began)
            log.removeHandler(journal.log)
            journal.close()
            try:
                if journal.place is not None:
                    _finish(journal.place, record)
            finally:
                if journal.place is not None:
                    journal.place.remove_process()
                log.propagate = propagated
                log.removeHandler(to_screen)


def _say_finished(record: dict[str, Any], began: float) -> None:
    record["finished"] = _now()
    total = {"total": time.perf_counter() - began}
    record["timings"] = {name: round(seconds, 3) for name, seconds in (record["timings"] | total).items()}


def _report(place: RunFolder, record: Mapping[str, Any]) -> None:
    """Writes report.html; a run whose report can't be written has its tables anyway."""
    try:
        write_run_report(place.path, run_folder.ended(record))
    except Exception as error:
        if record["status"] == "done" or not isinstance(error, OSError):  # on a full disk, one error is enough
            again = f"mi-run report {shlex.quote(str(place.path))}"
            log.warning(f"can't write {REPORT} ({one_line(error)}); {again} tries it again")


def _finish(place: RunFolder, record: dict[str, Any]) -> None:
    try:
        record["files"] = place.digests()
        if record["status"] == "done":
            place.sync()
        place.write_record(record)
    except OSError as error:
        if record["status"] != "done":
            return  # the first error is raised already
        record["status"] = "failed"
        raise RunFailed(f"can't write {run_folder.RECORD} into {place.path} ({error}): the run is not done.") from error
    if record["status"] == "done":
        try:
            place.point_latest_here()
        except OSError as error:
            log.warning(f"can't point {run_folder.LATEST} to {place.path} ({error}); the run is done anyway")


def _cause(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"can't write or read a file ({error}). Free some space, or use output_dir=FOLDER for another folder."
    if isinstance(error, torch.OutOfMemoryError):
        return f"the device's memory is full ({one_line(error)}). End other programs that use it, or use device=cpu."
    return f"{one_line(error)}."


@contextmanager
def _stage(record: dict[str, Any], name: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        record["timings"][name] = record["timings"].get(name, 0.0) + time.perf_counter() - began


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@functools.cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

"""The entry point: compose the config, hand it to the runner, turn errors into exit statuses.

Nothing here imports torch; the runner does, once a run starts to work.
"""

from __future__ import annotations

import gc
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from mi_runner import __version__, composition, console, run_folder, threads
from mi_runner.errors import ConfigError, ExitStatus, RunFailed, Terminated, exit_status, one_line

OUR_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir", "hydra.job.chdir")
"""Keys by which Hydra would make folders of its own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name); return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _sigterm_raises():
            return _command(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else ExitStatus.FAILED
    except composition.COMPOSITION_ERRORS as error:
        mistake = composition.explain(error, [part for part in arguments if "=" in part and not part.startswith("-")])
        console.error(one_line(mistake))
        return ExitStatus.MISTAKE
    except BrokenPipeError:  # the reader of our output went away; there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.FAILED
    except ValueError as error:  # a run's own errors end in _run; these are Hydra's, about overrides
        console.error(one_line(error if isinstance(error, ConfigError) else ConfigError(str(error))))
        return ExitStatus.MISTAKE
    except (Exception, KeyboardInterrupt, Terminated) as error:
        console.error(one_line(error))
        return exit_status(error)


def _command(arguments: list[str]) -> int:
    if "--version" in arguments:
        console.page(f"mi-run {__version__}")
        return ExitStatus.DONE
    parsed = get_args_parser().parse_intermixed_args(arguments)
    overrides: list[str] = parsed.overrides
    flags = [part for part in arguments if part not in overrides]
    if parsed.help:
        console.page(composition.help_page(overrides))
        return ExitStatus.DONE
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key in OUR_FOLDERS:
            raise ConfigError(f"{override}: mi-run makes its folders itself; output_dir=FOLDER says where.")
    composition.register_schemas()
    if parsed.multirun:
        return _sweep(flags, overrides)
    with _as_hydra_sees_it([*overrides, *flags]):
        _job()  # a run ends with SystemExit
    return ExitStatus.DONE


def _sweep(flags: list[str], overrides: list[str]) -> int:
    """All jobs of a sweep in a folder of its own; what became of each is read from the jobs' run.json alone."""
    choices: dict[str, list[str]] = {}
    for override in OverridesParser.create().parse_overrides(overrides):
        swept = override.is_sweep_override()
        values = list(override.sweep_string_iterator()) if swept else [override.get_value_element_as_str()]
        choices[override.get_key_element()] = values
    first = [f"{key}={values[0]}" for key, values in choices.items() if not key.startswith("hydra")]
    config = composition.compose(first)
    experiment = "+".join(choices.get("experiment", [config.experiment.name]))
    folder = run_folder.claim_sweep(config.output_dir, experiment)
    with _as_hydra_sees_it([*overrides, f"hydra.sweep.dir='{folder}'", *flags]):
        _job()
    problems = run_folder.problems(folder, n_jobs=math.prod(map(len, choices.values())))
    for problem in problems:
        console.error(f"job {problem.job}: {problem.reason}")
    console.last_line(str(folder))
    statuses = {problem.exit_status for problem in problems}
    return statuses.pop() if len(statuses) == 1 else ExitStatus.FAILED if statuses else ExitStatus.DONE


@hydra.main(config_path="pkg://mi_runner.conf", config_name="config", version_base="1.3")
def _job(config: DictConfig) -> int:
    """One run. A job of a sweep returns its exit status, so that later jobs go on; a single run exits with it."""
    hydra_config = HydraConfig.get()
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    folder = None
    if in_sweep:
        folder = Path(hydra_config.sweep.dir) / str(hydra_config.job.num)
        folder.mkdir(parents=True, exist_ok=True)
    command = "mi-run " + shlex.join(hydra_config.overrides.task)
    status = _run(config, folder, command)
    if in_sweep:
        return status
    raise SystemExit(status)


def _run(config: DictConfig, folder: Path | None, command: str) -> int:
    try:
        run_config = composition.typed(config)
        threads.let_waiting_threads_sleep()
        began = time.perf_counter()
        with _lasting_imports():
            from mi_runner import runner  # imports torch

            import_module(run_config.experiment.module)
        outcome = runner.run(
            run_config,
            folder=folder,
            command=command,
            progress=console.Progress(),
            timings={"import": time.perf_counter() - began},
        )
    except (ConfigError, RunFailed, OSError) as error:
        console.error(one_line(error))
        status = exit_status(error)
        if folder is not None and run_folder.read_record(folder) is None:  # it failed before the run began
            record = {"status": "failed", "error": one_line(error), "exit_status": int(status), "command": command}
            run_folder.RunFolder(folder).write_record(record)
        return status
    for table in outcome.tables:
        console.table(table.title, table.rows)
    for line in outcome.not_met:
        console.error(f"expect: {line}")
    console.last_line(str(outcome.folder))
    return ExitStatus.EXPECTATION_NOT_MET if outcome.not_met else ExitStatus.DONE


@contextmanager
def _lasting_imports() -> Iterator[None]:
    """Garbage is not looked for among what torch and its modules make, neither meanwhile nor when the process ends.

    They make a million objects that stay, and going through them all takes more than a second.
    """
    if "torch" in sys.modules or not gc.isenabled():  # a program of the user's own, with garbage of its own
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _as_hydra_sees_it(arguments: Sequence[str]) -> Iterator[None]:
    """Hydra reads `sys.argv`, and lets its exceptions through only if this environment variable is set."""
    before: dict[str, Any] = {"argv": sys.argv, "full": os.environ.get("HYDRA_FULL_ERROR")}
    sys.argv = ["mi-run", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before["argv"]
        if before["full"] is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before["full"]


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM unwinds the stack as Ctrl-C does, so that the run can say in run.json that it was interrupted."""

    def terminate(signal_number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())

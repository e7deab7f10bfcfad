"""The entry point: compose the config, hand it to the runner, turn errors into exit statuses.

Nothing here imports torch; the runner does, once a run starts to work.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from mi_runner import __version__, composition, console, run_folder, threads
from mi_runner.errors import ConfigError, ExitStatus, RunFailed, Terminated, exit_status, one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name); return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _sigterm_raises():
            return _command(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else ExitStatus.FAILED
    except composition.COMPOSITION_ERRORS as error:
        mistake = composition.explain(error, [part for part in arguments if not part.startswith("-")])
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
    overrides = [part for part in arguments if not part.startswith("-")]
    if {"--help", "-h"} & set(arguments):
        console.page(composition.help_page(overrides))
        return ExitStatus.DONE
    if "--version" in arguments:
        console.page(f"mi-run {__version__}")
        return ExitStatus.DONE
    composition.register_schemas()
    composition.import_from_working_directory()
    if {"-m", "--multirun"} & set(arguments):
        return _sweep(arguments, overrides)
    with _as_hydra_sees_it(arguments):
        _job()  # a run ends with SystemExit
    return ExitStatus.DONE


def _sweep(arguments: list[str], overrides: list[str]) -> int:
    """All jobs of a sweep in a folder of its own; what became of each is read from the jobs' run.json alone."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    first = []
    experiment = None
    for override in parsed:
        if override.is_sweep_override():
            first.append(f"{override.get_key_element()}={next(override.sweep_string_iterator())}")
        else:
            first.append(override.input_line or "")
        if override.key_or_group == "experiment" and override.is_sweep_override():
            experiment = "+".join(override.sweep_string_iterator())
    config = composition.compose([part for part in first if not part.startswith("hydra")])
    folder = run_folder.claim_sweep(Path(config.output_dir), experiment or config.experiment.name)
    arguments = [*arguments, f"hydra.sweep.dir='{folder}'"]
    with _as_hydra_sees_it(arguments):
        _job()
    problems = run_folder.problems(folder)
    for problem in problems:
        console.error(f"job {problem.job}: {problem.reason}")
    console.last_line(str(folder))
    if not problems:
        return ExitStatus.DONE
    return ExitStatus.EXPECTATION_NOT_MET if all(problem.done for problem in problems) else ExitStatus.FAILED


@hydra.main(config_path="pkg://mi_runner.conf", config_name="config", version_base="1.3")
def _job(config: DictConfig) -> int:
    """One run. A job of a sweep returns its exit status, so that later jobs go on; a single run exits with it."""
    hydra_config = HydraConfig.get()
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    folder = Path(hydra_config.sweep.dir) / str(hydra_config.job.num) if in_sweep else None
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
        from mi_runner import runner  # imports torch

        outcome = runner.run(
            run_config,
            folder=folder,
            command=command,
            progress=console.Progress(),
            timings={"import": time.perf_counter() - began},
        )
    except (ConfigError, RunFailed) as error:
        console.error(one_line(error))
        return exit_status(error)
    except OSError as error:
        console.error(one_line(error))
        return ExitStatus.FAILED
    for table in outcome.tables:
        console.table(table.title, table.rows)
    for line in outcome.not_met:
        console.error(f"expect: {line}")
    console.last_line(str(outcome.folder))
    return ExitStatus.EXPECTATION_NOT_MET if outcome.not_met else ExitStatus.DONE


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

"""The entry point: composes the config, calls the runner, and turns errors into exit statuses.

Nothing here imports torch; the runner imports it when a run begins.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser  # the parser of hydra.main itself; it has no public name
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from mi_runner import __version__
from mi_runner.cli import pipeline
from mi_runner.cli.arguments import near_flag
from mi_runner.config import composition, environment, explanations, hydra_composition, hydra_keys, registry
from mi_runner.config.help_page import help_page, whole_page
from mi_runner.config.text_values import with_quotes, yaml_text_kept
from mi_runner.errors import ConfigError, ExitStatus, RunFailed, Terminated, exit_status, one_line
from mi_runner.machine import memory, second_process, signals, streams, threads
from mi_runner.machine.imports import begin_to_load_torch, lasting_imports
from mi_runner.machine.second_process import SecondProcess
from mi_runner.methods.criteria import records as criteria
from mi_runner.methods.discovery import records as methods
from mi_runner.runs.beside import Beside
from mi_runner.tables import console

COMMANDS = {
    "ls": "mi_runner.cli.ls_command",
    "diff": "mi_runner.cli.diff_command",
    "report": "mi_runner.cli.report_command",
    "rm": "mi_runner.cli.rm_command",
    "table": "mi_runner.cli.table_command",
    "cite": "mi_runner.cli.cite_command",
    "bench": "mi_runner.cli.bench_command",
    "--completion": "mi_runner.cli.completion",
}
"""The first word of a command that begins no run → the module of this command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line (without the program's name) and returns its exit status.

    Args:
        arguments: None: those of this process, which is then the program, and may have a second process.
    """
    is_program = arguments is None
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    streams.begin()
    try:
        return _command(arguments, is_program=is_program)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else ExitStatus.FAILED
    except hydra_composition.COMPOSITION_ERRORS as error:
        mistake = explanations.explain(error, [part for part in arguments if not part.startswith("-")])
        console.error(one_line(mistake))
        return ExitStatus.MISTAKE
    except BrokenPipeError:  # the reader of what Hydra prints has ended, and has what it wanted
        return ExitStatus.DONE
    except (ConfigError, RunFailed, OSError, KeyboardInterrupt, Terminated) as error:
        console.error(one_line(error))
        return exit_status(error)
    except Exception as error:  # our own bug, outside of a run; a run writes the traceback to its run.log
        console.traceback(error)
        console.error(one_line(error))
        return ExitStatus.FAILED
    finally:
        streams.flush()


def _printed(status: int) -> int:
    """Returns the exit status of a command that only prints; another one if standard output takes no more.

    A reader that ends early, as `head` does, has what it wanted.

    Raises:
        RunFailed: it can't be written.
    """
    why = streams.flush()
    if why is not None and not isinstance(why, BrokenPipeError):
        raise RunFailed(f"can't write to standard output ({why.strerror or why}).")
    return status


def _command(arguments: list[str], *, is_program: bool) -> int:
    if not arguments:
        console.page(help_page([]))
        return _printed(ExitStatus.DONE)
    if arguments and (command := COMMANDS.get(arguments[0])) is not None:
        return _printed(import_module(command).run(arguments[1:]))
    if arguments and arguments[0].isalpha() and arguments[0] != "all":
        raise ConfigError(explanations.not_a_command(arguments[0], [name for name in COMMANDS if name.isalpha()]))
    asked, arguments = pipeline.split(arguments)
    pipeline.empty(asked)
    if "--version" in arguments:
        console.page(f"mi-run {__version__}")
        return _printed(ExitStatus.DONE)
    parsed = _flags(arguments)
    for fault in (*registry.PLUGINS.faults, *methods.faults(), *criteria.faults()):
        if fault.what not in parsed.overrides:  # then it is an error
            console.note(f"mi-run: warning: {fault.text}")
    overrides: list[str] = parsed.overrides
    for word in overrides:
        if word in COMMANDS:
            raise ConfigError(f"{word} is a command of its own, and comes first: type mi-run {word}.")
    flags = [part for part in arguments if part not in overrides]
    if parsed.help:
        others = [override for override in overrides if override != "all"]
        typed = _with_folder(overrides, parsed.config_dir) if overrides else overrides
        console.page(whole_page(others) if "all" in overrides else help_page(typed, is_sweep=_is_sweep(parsed)))
        return _printed(ExitStatus.DONE)
    prints_only = parsed.cfg or parsed.info or parsed.hydra_help or parsed.shell_completion
    is_plan = any(word.partition("=")[0] == "plan" and _has_value(word) for word in overrides)
    pipeline.check(asked, "plan=true" if is_plan else "a flag of Hydra's that prints" if prints_only else "")
    _check_flags(parsed)
    hydra_keys.check(overrides, has_engines=bool(_is_sweep(parsed) or prints_only))
    hydra_composition.register_schemas()
    if _is_sweep(parsed) and not prints_only:
        from mi_runner.sweeps import sweep as sweeps

        with pipeline.answered(asked):
            return sweeps.run(_with_folder(overrides, parsed.config_dir), "mi-run " + shlex.join(arguments))
    if prints_only or parsed.resolve:
        hydra_composition.check_folders([] if parsed.shell_completion else overrides)
        _print_by_hydra(["--hydra-help"] if parsed.hydra_help else [*overrides, *flags])
        return _printed(ExitStatus.DONE)
    typed = _with_folder(overrides, parsed.config_dir)
    threads.let_waiting_threads_sleep()
    memory.take_large_pages()
    # A mistake is answered at once: nothing is begun where one is likely.
    begins = is_program and hydra_composition.name_what_there_is(overrides)
    # Before there is a thread.
    with pipeline.answered(asked), second_process.begun() if begins else nullcontext() as second:
        if begins:
            begin_to_load_torch()
        return _run(*_composed(typed), second)


def _flags(arguments: Sequence[str]) -> Namespace:
    """Returns the flags and the overrides of a command.

    Raises:
        ConfigError: a flag is unknown, or lacks its word.
    """
    parser = get_args_parser()

    def mistaken(message: str) -> NoReturn:
        raise ConfigError(f"{near_flag(message, parser) or f'{message}.'} Type mi-run --help.")

    parser.error = mistaken  # type: ignore[method-assign]
    return parser.parse_intermixed_args(arguments)


def _check_flags(parsed: Namespace) -> None:
    """Checks that none of Hydra's flags is there that would run code from a file, or have no effect.

    Raises:
        ConfigError: one is; the text says what to type.
    """
    if parsed.experimental_rerun:
        raise ConfigError(
            "--experimental-rerun reads a pickle, which can run code. Type the command in the run's run.json again."
        )
    if parsed.config_name or parsed.config_path:
        raise ConfigError(
            "--config-name, --config-path: the config is that of mi-run. Put choices of your own into "
            "FOLDER/experiment/NAME.yaml, or another group, and type --config-dir FOLDER experiment=NAME."
        )
    if parsed.package and not parsed.cfg:
        raise ConfigError("--package has an effect only with --cfg: type --cfg job --package KEY.")


def _with_folder(overrides: Sequence[str], folder: str | None) -> list[str]:
    """Returns the overrides, with the folder of `--config-dir` among the places where configs are searched."""
    return [*overrides, *([f"hydra.searchpath=['file://{Path(folder).resolve()}']"] if folder else [])]


def _is_sweep(parsed: Namespace) -> bool:
    """Returns whether the command is about a sweep."""
    keys = [word.partition("=")[0] for word in parsed.overrides if _has_value(word)]
    return parsed.multirun or any(key in keys for key in ("resume", "plan", "sweep"))


def _has_value(override: str) -> bool:
    """Returns whether an override turns something on."""
    return override.partition("=")[2] not in ("", "null", "false", "False")


@environment.refused()
def _composed(overrides: Sequence[str]) -> tuple[DictConfig, str]:
    """Returns the config with these overrides, and its command line.

    As `hydra.main` would compose it, which composes twice.
    """
    with explanations.plain_errors_explained():
        config = hydra_composition.composed(overrides, with_hydra=True)
    HydraConfig.instance().set_config(config)  # ${hydra:...} reads it
    command = "mi-run " + shlex.join(HydraConfig.get().overrides.task)
    with open_dict(config):
        del config["hydra"]
    OmegaConf.resolve(config)
    return config, command


@environment.refused()
def _print_by_hydra(arguments: Sequence[str]) -> None:
    """Lets Hydra print what its own flags ask for."""

    @hydra.main(config_path=f"pkg://{registry.CONFIG_MODULES[0]}", config_name="config", version_base="1.3")
    def job(config: DictConfig) -> None:
        raise AssertionError("Hydra runs nothing here: its logging and callbacks would run code that a config names")

    with _as_hydra_sees_it(with_quotes(arguments)), yaml_text_kept(), explanations.plain_errors_explained():
        job()


def _run(config: DictConfig, command: str, second: SecondProcess | None) -> int:
    run_config = composition.typed(config)
    beside = Beside(second)
    beside.prepare(figures=run_config.figures.draw, page=run_config.report)
    began = time.perf_counter()
    with lasting_imports():
        from mi_runner.runs import runner  # imports torch

        registry.code_of(run_config.experiment)
    timings = {"import": time.perf_counter() - began}
    with signals.raised():
        outcome = runner.run(run_config, command=command, progress=console.Bars(), timings=timings, beside=beside)
    for table in outcome.tables:
        console.table(table.title, table.rows, counts=table.counts)
    for line in outcome.not_met:
        console.error(f"expect: {line}")
    console.last_line(str(outcome.folder))
    return ExitStatus.EXPECTATION_NOT_MET if outcome.not_met else ExitStatus.DONE


@contextmanager
def _as_hydra_sees_it(arguments: Sequence[str]) -> Iterator[None]:
    """Sets `sys.argv`, which Hydra reads, and the environment variable that makes Hydra raise its exceptions."""
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

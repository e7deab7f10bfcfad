"""The runs of a bench: from its command line to a job of experiment=discovery for each network of the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mi_runner.bench.networks import LISTS, NetworkList
from mi_runner.bench.tables import RANDOM
from mi_runner.config.bench_options import OF_RUNS, BenchConfig, Part
from mi_runner.config.commands import override
from mi_runner.config.explanations import wanted
from mi_runner.config.options import check_ranges
from mi_runner.config.run_schema import Over
from mi_runner.errors import ConfigError, one_line, unknown
from mi_runner.methods.discovery.records import METHODS, all_methods, fault_of
from mi_runner.runs.plan import Job, Plan, Refused, Value
from mi_runner.sweeps.job_source import JobSource, Listed
from mi_runner.sweeps.sweep_plan import Command, HashOf, compose_job, read_command

BENCH = "bench"
"""The command, the group of its options, and the name of its folders."""

SMALL_SEEDS = 2

OF_LIST = ("last_layers", "truth")
"""Options of the experiment that each network of the list has its own of."""

OPTION = "experiment."
"""What a key of the experiment's options begins with."""

METHODS_KEY = f"{OPTION}methods"


def jobs_of(asked: Command, objective: str | None, old: Plan | None, folder: Path | None) -> JobSource:
    """Returns the jobs of a bench's command.

    Raises:
        ConfigError: it has an option that a bench doesn't take, or a value that it can't have.
    """
    if objective is not None or asked.search is not None:
        raise ConfigError("bench judges every method on every network, so it takes no objective and no hydra/sweeper.")
    if asked.own.over is not Over.seed:
        raise ConfigError(f"over={asked.own.over.name}: bench has no checkpoints, so it takes no over.")
    return Listed(asked, None, old, folder, compose=_composed, of=BENCH)


def _composed(asked: Command, hash_of: HashOf) -> tuple[list[Job], list[Refused]]:
    """Returns a job for each network; of a command that resumes a bench those of the earlier one stay."""
    config, typed = options_of(asked)
    _check_methods(asked)  # once, before hundreds of networks are checked with them
    jobs: list[Job] = []
    for network in chosen_list(config).networks(
        families=families_of(config), is_small=config.part is Part.small, n_seeds=n_seeds_of(config)
    ):
        by_key = {text.partition("=")[0]: text for text in (*network.overrides, *typed.values())}
        job = compose_job(asked, by_key, len(jobs), hash_of)
        swept: dict[str, Value] = {"family": network.family.name, "setting": network.setting.name, "seed": network.seed}
        jobs.append(Job(job.number, job.overrides, swept, job.config_hash, job.config))
    return jobs, []


def _check_methods(asked: Command) -> None:
    """Checks the names of the methods that a command has; what is no list is left to the first job.

    Raises:
        ConfigError: no method has a name, one comes twice, or there is none.
    """
    from mi_runner.experiments.common.named_records import check_names  # imports torch

    names = asked.parsed[METHODS_KEY].value() if METHODS_KEY in asked.parsed else None
    if isinstance(names, list):
        check_names("methods", [str(name) for name in names], all_methods(), kind="method", fault_of=fault_of)


def options_of(asked: Command) -> tuple[BenchConfig, Mapping[str, str]]:
    """Returns the options of the bench that a command has, and key → override for those of its runs.

    Raises:
        ConfigError: it has an option that a bench doesn't take, or a value that it can't have.
    """
    config = OmegaConf.structured(BenchConfig)
    typed: dict[str, str] = {"figures.draw": "figures.draw=false", "threads": "threads=1"}
    names = [item.name for item in fields(BenchConfig)]
    for key, given in asked.parsed.items():
        text = str(given.input_line)
        if given.is_sweep_override():
            raise ConfigError(f"{text}: bench takes one value; of a list put brackets around them, [a,b].")
        if key.startswith(f"{BENCH}."):
            name = key.removeprefix(f"{BENCH}.")
            if name not in names:
                raise ConfigError(f"{text}: {unknown('option of bench', name, names)}")
            try:
                OmegaConf.update(config, name, given.value())
            except OmegaConfBaseException as error:
                raise ConfigError(f"{text}: {_what_it_must_be(name, text, error)}") from error
        elif key.partition(".")[0] in OF_RUNS or (key.startswith(OPTION) and key.removeprefix(OPTION) not in OF_LIST):
            typed[key] = text
        else:
            raise ConfigError(
                f"{text}: bench takes bench.OPTION, experiment.OPTION (not {' and '.join(OF_LIST)}), "
                f"{', '.join(OF_RUNS)}, and the keys of sweeps; its list sets the rest. Type mi-run bench --help."
            )
    found: BenchConfig = OmegaConf.to_object(config)  # type: ignore[assignment]
    check_ranges(found, f"{BENCH}.")
    methods = asked.parsed[METHODS_KEY].value() if METHODS_KEY in typed else [method.name for method in METHODS]
    if isinstance(methods, list):  # otherwise composing the first job says what it must be
        typed[METHODS_KEY] = override(METHODS_KEY, [RANDOM, *(name for name in map(str, methods) if name != RANDOM)])
    return found, typed


def _what_it_must_be(name: str, text: str, error: Exception) -> str:
    """Returns a sentence that says what values an option of the bench may have.

    Args:
        text: the override that has another one.
    """
    given = text.partition("=")[2]
    if name == "part":
        return unknown("part", given, [part.name for part in Part])
    (kind,) = (str(item.type) for item in fields(BenchConfig) if item.name == name)
    return f"{wanted(f'{BENCH}.{name}', given, kind) or one_line(error)}."


def chosen_list(config: BenchConfig) -> NetworkList:
    """Returns the list of networks.

    Raises:
        ConfigError: there is none of this name.
    """
    if config.networks not in LISTS:
        raise ConfigError(
            f"bench.networks={config.networks}: {unknown('list of networks', config.networks, list(LISTS))}"
        )
    return LISTS[config.networks]


def list_of(plan: Plan) -> NetworkList:
    """Returns the list that the networks of a bench are of.

    Raises:
        ConfigError: this version has none of its name.
    """
    return chosen_list(options_of(read_command(plan.overrides))[0])


def families_of(config: BenchConfig) -> list[str]:
    """Returns the names of the families, in the order of the list.

    Raises:
        ConfigError: there is none of a name.
    """
    networks = chosen_list(config)
    of_part = [
        family.name
        for family in networks.families
        if config.part in (Part.all, Part.small) or family.kind == config.part.name
    ]
    if config.families == []:
        raise ConfigError(f"bench.families=[]: name at least one of {', '.join(of_part)}.")
    for name in config.families or ():
        if name not in of_part:
            raise ConfigError(f"bench.families: {unknown('family', name, of_part)}")
    return [name for name in of_part if config.families is None or name in config.families]


def n_seeds_of(config: BenchConfig) -> int:
    """Returns the seeds of each setting."""
    if config.seeds is not None:
        return config.seeds
    return SMALL_SEEDS if config.part is Part.small else chosen_list(config).n_seeds

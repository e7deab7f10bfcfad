"""Which jobs a sweep has: from the command line to a config for each, before the first one runs.

The plan is written to sweep.json in the sweep's folder. With it the tables can be made from the folders of the jobs
alone, jobs that never began have a name, and `resume` knows whether a command means the same sweep.
`mi_runner.runs.plan` has its fields.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from mi_runner.config import composition, environment, hydra_keys
from mi_runner.config.composition import flattened
from mi_runner.config.engine_schemas import LauncherConfig, OptunaSweeper
from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.figure_options import FIGURE_KEYS
from mi_runner.config.hydra_composition import COMPOSITION_ERRORS, files_read_once, names_a_value
from mi_runner.config.hydra_composition import parse_overrides as parse_overrides
from mi_runner.config.options import Choice, check_ranges
from mi_runner.config.registry import ENGINES, EXPERIMENTS, SCHEMAS
from mi_runner.config.run_schema import LABELS, SWEEP_KEYS, RunConfig
from mi_runner.errors import ConfigError, one_line, reason, unknown
from mi_runner.machine.reading import Unreadable
from mi_runner.runs import expectations
from mi_runner.runs.plan import PLAN, SCHEMA_VERSION, Job, Plan, Refused, Value, named, read_sweep

NOT_COMPARED = ("output_dir", "report", *FIGURE_KEYS, *LABELS, *SWEEP_KEYS)
"""Top-level keys that may differ when a sweep is resumed."""

HashOf = Callable[[RunConfig], str]


@dataclass(frozen=True)
class Command:
    """A sweep's command line, taken apart.

    Attributes:
        overrides: those that the jobs get, as they were typed.
        parsed: the same by key, as Hydra reads them; of two for one key the later counts.
        own: the sweep's own settings: a config of which only the top-level keys of sweeps matter.
        launcher: where the jobs run; None for this process, one after the other.
        search: how their values are searched for; None for every combination.
        again: jobs of earlier commands that are meant, too.
        launched_by: the overrides that name the launcher and its options.
    """

    overrides: tuple[str, ...]
    parsed: Mapping[str, Override]
    own: RunConfig
    launcher: LauncherConfig | None
    search: OptunaSweeper | None
    again: tuple[Job, ...] = ()
    launched_by: tuple[str, ...] = ()

    @property
    def swept(self) -> list[str]:
        """The keys that have several values."""
        return [key for key, override in self.parsed.items() if override.is_sweep_override()]

    @property
    def headline(self) -> str:
        """A summary metric that the jobs have: the headline of the experiment, or of the first of several."""
        chosen = self.parsed.get("experiment")
        names = [] if chosen is None else texts(chosen) if chosen.is_sweep_override() else [chosen.value()]
        named = [schema.headline for schema in EXPERIMENTS if schema.name in names]
        return named[0] if named else ExperimentConfig.headline


def read_command(overrides: Sequence[str]) -> Command:
    """Returns the parts of a command line.

    Raises:
        ConfigError: a setting of the sweep can't be.
    """
    own, ours, parsed = [], [], {}
    for override in parse_overrides(overrides):
        assert override.input_line is not None
        key = override.get_key_element()
        name = key.lstrip("+~")
        of_the_sweep = name in SWEEP_KEYS or hydra_keys.of_hydra(name)
        if override.is_sweep_override() and (of_the_sweep or name == "output_dir"):
            raise ConfigError(f"{override.input_line}: {name} is one for the whole sweep; give it one value.")
        if of_the_sweep and name != hydra_keys.SEARCHPATH:
            own.append(override.input_line)
        else:
            ours.append(override.input_line)
            parsed[key] = override
        if name == hydra_keys.SEARCHPATH:
            own.append(override.input_line)
    if {"seed", "seeds"} <= parsed.keys() and parsed["seed"].is_sweep_override():
        raise ConfigError(
            f"{parsed['seeds'].input_line} trains networks of several seeds in one job, and "
            f"{parsed['seed'].input_line} repeats jobs over seeds: leave one of the two out."
        )
    config = composition.compose_untyped(own, with_hydra=True)
    launcher = _engine(config, "launcher", ENGINES["launcher"])
    search = _engine(config, "sweeper", ENGINES["sweeper"])
    with open_dict(config):
        del config["hydra"]
    launched_by = tuple(override for override in own if hydra_keys.of_launcher(override))
    return Command(tuple(ours), parsed, composition.typed(config), launcher, search, launched_by=launched_by)


def _engine(config: DictConfig, group: str, engines: Sequence[type[Choice]]) -> Any:
    """Returns the typed config of a Hydra group's choice, or None for Hydra's own `basic`."""
    choice = config.hydra.runtime.choices[f"hydra/{group}"]
    if choice == "basic":
        return None
    names = [engine.name for engine in engines]
    if choice not in names:
        raise ConfigError(f"hydra/{group}={choice}: {unknown(group, choice, ['basic', *names])}")
    try:
        with environment.refused():
            found = OmegaConf.to_object(config.hydra[group])
    except OmegaConfBaseException as error:
        raise environment.refusal(error) or ConfigError(f"hydra.{group}: {one_line(error)}") from error
    check_ranges(found, f"hydra.{group}.")
    return found


def combinations(command: Command) -> Iterator[dict[str, str]]:
    """Yields each job's overrides by key, in the order of the command line, the last key fastest.

    Raises:
        ConfigError: a key's values can't be listed.
    """
    _check_count(command)
    choices = []
    for key, override in command.parsed.items():
        assert override.input_line is not None
        if not override.is_sweep_override():
            choices.append([override.input_line])
        elif override.is_discrete_sweep():
            choices.append([f"{key}={text}" for text in texts(override)])
        else:
            raise ConfigError(
                f"{override.input_line}: an interval has no end of values. Add hydra/sweeper=optuna "
                f"objective={command.headline} to search it, or list values, separated by commas."
            )
    for combination in itertools.product(*choices):
        yield dict(zip(command.parsed, combination, strict=True))


MOST_JOBS = 100_000
"""Largest number of combinations of a sweep; each is composed and checked before the first one runs."""


def _check_count(command: Command) -> None:
    """Checks, without listing them, that a sweep's keys have values, and that the combinations aren't too many.

    Raises:
        ConfigError: a key has none, or there are too many.
    """
    counts = {}
    for key in command.swept:
        override = command.parsed[key]
        if not override.is_discrete_sweep():
            continue
        count = counts[key] = _count(override)
        if not count:
            raise ConfigError(
                f"{override.input_line}: has no values. Its end is not one of them: {key}=range(0,3) is 0, 1, 2."
            )
    total = math.prod(counts.values())
    if total > MOST_JOBS:
        most = max(counts, key=counts.__getitem__)
        words = " · ".join(f"{count:,.0f}" if count < 1e15 else "over 10¹⁵" for count in counts.values())
        raise ConfigError(
            f"{command.parsed[most].input_line}: the sweep has {words} jobs, more than {MOST_JOBS:,}. "
            f"Give {most} fewer values."
        )


def _count(override: Override) -> float:
    """Returns how many values a discrete sweep has."""
    value = override.value()
    if not isinstance(value, RangeSweep):
        return len(value.list) if isinstance(value, ChoiceSweep) else 1  # other values are refused elsewhere
    start, stop, step = value.start, value.stop, value.step
    if start is None or stop is None or not step:
        return 1
    if all(isinstance(end, int) for end in (start, stop, step)):
        return max(0, -((start - stop) // step))
    count = (float(stop) - float(start)) / float(step)
    return math.inf if math.isnan(count) or count == math.inf else math.ceil(max(0.0, count))


def texts(override: Override) -> list[str]:
    """Returns the values of a discrete sweep as one would type them."""
    try:
        return [str(text) for text in override.sweep_string_iterator()]
    except Exception as error:  # Hydra raises what it likes here
        why = {RangeSweep: "its step is 0", Glob: "type the names, separated by commas"}
        told = why.get(type(override.value()), one_line(error))
        raise ConfigError(f"{override.input_line}: can't list its values ({told}).") from error


@files_read_once()
def compose_jobs(command: Command, hash_of: HashOf) -> tuple[list[Job], list[Refused]]:
    """Returns every combination as a job with its config, or refused; jobs are numbered from 0.

    Of combinations with equal configs (`seed=1,1`) the first is taken.

    Args:
        hash_of: gives a config's hash.
    """
    if all(names_a_value(key) for key in command.swept):
        # A mistake in what all jobs share is found once, and not in every job.
        composition.compose_untyped(
            [str(override.input_line) for override in command.parsed.values() if not override.is_sweep_override()]
        )
    jobs: dict[str, Job] = {}
    refused = []
    earlier = (_typed_by_key(command, job) for job in command.again)
    for by_key in itertools.chain(combinations(command), earlier):
        try:
            job = compose_job(command, by_key, len(jobs), hash_of)
        except ConfigError as error:
            swept = {key: by_key[key].partition("=")[2] for key in command.swept}
            refused.append(Refused(named(swept), str(error)))
            continue
        jobs.setdefault(job.config_hash, job)
    return list(jobs.values()), refused


def _typed_by_key(command: Command, job: Job) -> dict[str, str]:
    """Returns the overrides of a job of an earlier command, by key.

    Raises:
        ConfigError: its plan was changed, and has others.
    """
    at = f"{PLAN}: the field jobs, of number {job.number}: overrides"
    try:
        parsed = [_check_override(override, at) for override in job.overrides]
    except Unreadable as error:
        raise ConfigError(f"{error}.") from error
    by_key = {override.get_key_element(): str(override.input_line) for override in parsed}
    if lacking := [key for key in command.swept if key not in by_key]:
        raise ConfigError(f"{at} lacks {lacking[0]}=VALUE, which the sweep varies.")
    return by_key


def compose_job(command: Command, by_key: Mapping[str, str], number: int, hash_of: HashOf) -> Job:
    """Returns the job of these overrides.

    Raises:
        ConfigError: they don't compose.
    """
    overrides = tuple(by_key.values())
    config = composition.compose(overrides)
    expectations.parse(config.expect)
    flat = flattened(config)
    swept = {key: _column_value(key, by_key[key].partition("=")[2], flat) for key in command.swept}
    return Job(number, overrides, swept, hash_of(config), config)


def _column_value(key: str, text: str, flat: Mapping[str, Any]) -> Value:
    """Returns the value as it was composed, 0.001 for 1e-3; a choice, or no single value, as it was typed."""
    name = key.lstrip("+")
    value = flat.get(name, text)
    return text if name in SCHEMAS or isinstance(value, list | dict) else value


# --- sweep.json ----------------------------------------------------------------------------------------------------


def read_plan(sweep: Path) -> Plan:
    """Returns the plan of the sweep in a folder.

    Raises:
        ConfigError: there is none that can be read.
    """
    path = sweep / PLAN
    try:
        plan = read_sweep(path)
        if plan.schema_version != SCHEMA_VERSION:
            raise Unreadable(f"{path}: it was written by another version of mi-run")
        _check_overrides(plan, path)
    except OSError as error:
        raise ConfigError(
            f"{sweep} is no folder of a sweep: {PLAN} can't be read ({reason(error)}). "
            "Name one such as outputs/sweeps/train/v001, the last line that the sweep printed."
        ) from error
    except Unreadable as error:
        raise ConfigError(
            f"{sweep} is no folder of a sweep: {PLAN} can't be read ({error}). Mend the file, or name another folder, "
            "such as outputs/sweeps/train/v001, the last line that the sweep printed."
        ) from error
    return plan


def _check_overrides(plan: Plan, path: Path) -> None:
    """Checks that the overrides of a plan can be read, and that its jobs have the swept keys.

    Tables can then be made of it, and the sweep can go on.

    Raises:
        Unreadable: it lacks something; the text names the field.
    """
    for name, overrides in (("overrides", plan.overrides), ("launcher", plan.launcher)):
        for place, override in enumerate(overrides):
            _check_override(override, f"{path}: the field {name}[{place}]")
    for place, job in enumerate(plan.jobs):
        if lacking := [key for key in plan.swept if key not in job.swept]:
            raise Unreadable(f"{path}: the field jobs[{place}].swept.{lacking[0]} is missing")


def _check_override(override: str, field_name: str) -> Override:
    """Returns an override of a file as Hydra reads it.

    Raises:
        Unreadable: it is none.
    """
    try:
        return parse_overrides([override])[0]
    except COMPOSITION_ERRORS as error:
        raise Unreadable(f"{field_name} is {override[:60]!r}; it must be KEY=VALUE, as it is typed") from error


def base_of(configs: Sequence[RunConfig], swept: Sequence[str]) -> dict[str, Any]:
    """Returns what configs have in common, by key, without what is swept and what may differ."""
    first, *others = [flattened(config) for config in configs]
    for other in others:
        first = {key: value for key, value in first.items() if key in other and other[key] == value}
    left_out = {*NOT_COMPARED, *(key.lstrip("+") for key in swept)}
    return {key: value for key, value in first.items() if key not in left_out}


def check_same_sweep(old: Plan, command: Command, base: Mapping[str, Any], jobs: Sequence[Job]) -> None:
    """Checks that a command that resumes a sweep means the same one; it may have more values, or fewer.

    Raises:
        ConfigError: it sweeps other keys, or its config differs; the text says where.
    """
    if set(command.swept) != set(old.swept):
        was, now = (", ".join(keys) or "nothing" for keys in (old.swept, command.swept))
        raise ConfigError(f"resume: that sweep varies {was}, this command varies {now}. Type a new sweep.")
    differing = [
        f"{key} was {old.base[key]}, is now {base[key]}"
        for key in old.base
        if key in base and base[key] != old.base[key]
    ]
    by_values = {json.dumps(job.swept, sort_keys=True): job for job in old.jobs}
    for job in jobs if not differing else ():
        earlier = by_values.get(json.dumps(job.swept, sort_keys=True))
        if earlier is not None and earlier.config_hash != job.config_hash:
            differing.append(f"the config of job {earlier.number} ({job.name}) differs")
    if differing:
        raise ConfigError(
            f"resume: the config has changed: {'; '.join(differing)}. Type the old values, or a new sweep."
        )

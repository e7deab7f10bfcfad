"""A sweep whose values are searched for: Optuna asks for the next ones, and is told the objective of the last."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, OmegaConf

from mi_runner.config import composition
from mi_runner.config.engine_schemas import OptunaSweeper
from mi_runner.errors import ConfigError
from mi_runner.sweeps.sweep_plan import Command, texts
from mi_runner.sweeps.sweep_tables import Ended


class Search:
    """Trials of an Optuna study; keys with several values or an interval are what is searched.

    Args:
        objective: the summary metric that is made largest or smallest.
        earlier: the jobs of a resumed search; they count as trials.

    Raises:
        ConfigError: Optuna is not installed, or nothing is to be searched.
    """

    def __init__(self, command: Command, config: OptunaSweeper, objective: str, earlier: Sequence[Ended]) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ConfigError(
                f"hydra/sweeper={config.name} needs a library that is not installed ({error}): "
                f"type pip install 'mi-run[{config.extra}]'."
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self.command, self.objective = optuna, command, objective
        first = [
            str(override.input_line) if not override.is_sweep_override() else f"{key}={texts(override)[0]}"
            for key, override in command.parsed.items()
            if not override.is_sweep_override() or override.is_discrete_sweep()
        ]
        self._config = composition.compose_untyped(first)
        self.space = {key: self._distribution(command.parsed[key]) for key in command.swept}
        if not self.space:
            raise ConfigError(
                "hydra/sweeper=optuna has nothing to search: give a key several values, or an interval, "
                "'training.learning_rate=tag(log, interval(1e-4, 1e-1))'."
            )
        self.left = config.n_trials
        self.study = optuna.create_study(
            direction=optuna.study.StudyDirection[config.direction.name.upper()],
            # A resumed search must not draw the same values again.
            sampler=optuna.samplers.TPESampler(seed=config.seed + len(earlier)),
        )
        for one in earlier:
            value = one.metrics.get(objective)
            params = {key: self._param(key, one.job.swept[key]) for key in self.space}
            if value is not None and math.isfinite(value):
                trial = optuna.trial.create_trial(params=params, distributions=self.space, value=value)
                self.study.add_trial(trial)
                self.left -= 1

    def ask(self) -> tuple[Any, dict[str, str]] | None:
        """Returns the next trial and its overrides by key, in the order of the command line; None after the last."""
        if self.left <= 0:
            return None
        self.left -= 1
        trial = self.study.ask(self.space)
        return trial, self.overrides(trial.params)

    def overrides(self, params: Mapping[str, Any]) -> dict[str, str]:
        """Returns a job's overrides by key, with these values of what is searched."""
        return {
            key: f"{key}={params[key]}" if key in params else str(override.input_line)
            for key, override in self.command.parsed.items()
        }

    def corners(self) -> list[dict[str, str]]:
        """Returns the overrides of two jobs between which all others are: every key's first value, and its last."""
        ends = []
        for index in (0, -1):
            params = {
                key: kind.choices[index] if hasattr(kind, "choices") else (kind.low, kind.high)[index]
                for key, kind in self.space.items()
            }
            ends.append(self.overrides(params))
        return ends

    def tell(self, trial: Any, value: float | None) -> None:
        """Gives the search the objective of a trial; None if its job has none."""
        if value is None or not math.isfinite(value):
            self.study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(trial, value)

    def _distribution(self, override: Override) -> Any:
        distributions = self._optuna.distributions
        value = override.value()
        if not isinstance(value, IntervalSweep):
            return distributions.CategoricalDistribution(texts(override))
        if value.start is None or value.end is None or not value.start < value.end:
            raise ConfigError(f"{override.input_line}: an interval goes from a smaller to a larger number.")
        log = "log" in value.tags
        if _takes_integers(self._config, override.get_key_element()):
            return distributions.IntDistribution(math.ceil(value.start), math.floor(value.end), log=log)
        return distributions.FloatDistribution(value.start, value.end, log=log)

    def _param(self, key: str, value: Any) -> Any:
        """Returns a job's value as a trial has it: a choice as it was typed."""
        kind = self.space[key]
        if not hasattr(kind, "choices"):
            return value
        fitting = [choice for choice in kind.choices if choice == str(value) or _number(choice) == value]
        if not fitting:
            raise ConfigError(f"resume: {key}={value} of an earlier job is not among {', '.join(kind.choices)}.")
        return fitting[0]


def _takes_integers(config: DictConfig, key: str) -> bool:
    """Returns whether the schema of a config says that a key's value is an integer, or None."""
    above, _, name = key.rpartition(".")
    schema = OmegaConf.get_type(OmegaConf.select(config, above) if above else config)
    hint = get_type_hints(schema).get(name) if is_dataclass(schema) else None
    return hint is int or get_args(hint) == (int, NoneType)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

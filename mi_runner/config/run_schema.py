"""The config of a run, and the keys that every run has."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from omegaconf import MISSING

from mi_runner.config.figure_options import FigureOptions
from mi_runner.config.options import option
from mi_runner.config.registry import EXPERIMENTS
from mi_runner.config.training_schema import TrainingConfig
from mi_runner.errors import ConfigError
from mi_runner.machine import threads

# `continue` is a keyword, so this enumeration can't be written as a class.
OnError = Enum("OnError", {"continue": "continue", "stop": "stop"})


SEED, CHECKPOINT = "seed", "checkpoint"
"""Keys that tell networks apart, in a sweep over them."""

Over = Enum("Over", {"seed": "seed", "checkpoint": "checkpoint"})

TAKE_SEEDS = ",".join(schema.name for schema in EXPERIMENTS if schema.takes_seeds)
"""The experiments that take many networks at once."""


@dataclass
class LabelsConfig:
    """What those who make a run call it. No figure depends on it, and no hash of the config."""

    name: str | None = option(None, "a name for the run, which mi-run ls and reports show")
    tags: list[str] = option([], "words to find runs by, [paper,draft]: mi-run ls --where tag=paper")
    note: str | None = option(None, "a sentence about the run, for its report")


@dataclass
class RunConfig:
    """The config of a run. The values of the top-level keys are in conf/config.yaml."""

    dataset: Any = MISSING
    model: Any = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    run: LabelsConfig = field(default_factory=LabelsConfig)
    experiment: Any = MISSING
    seed: int = option(MISSING, "every random draw derives from it", at_least=0, at_most=2**63 - 1)
    seeds: int | None = option(
        MISSING,
        f"with experiment={TAKE_SEEDS}: this many networks at once, of seed, seed+1, ...; null: one",
        at_least=1,
        at_most=10_000,
    )
    device: str = option(MISSING, "auto, cpu, cuda or cuda:N")
    threads: int | str | None = option(
        MISSING,
        f"CPU threads that torch uses; figures depend on it. auto: the number of cores, but at most {threads.MOST}. "
        "Training steps that are too small to divide take one",
        at_least=1,
        at_most=1_024,
    )
    checkpoint: str | None = option(
        MISSING, "trained weights: a file or a run folder; null: from the model store, or trained now"
    )
    output_dir: str = option(MISSING, "the folder for run folders")
    expect: Any = option(
        MISSING,
        'bounds on summary metrics, \'{accuracy: [">=0.9", "<1"], accuracy/7: ">0.8"}\'; exit status 3 if not met',
    )
    report: bool = option(MISSING, "write report.html, a page with all tables and figures, into each folder")
    figures: FigureOptions = field(default_factory=FigureOptions)
    on_error: OnError = option(MISSING, "after a failed job of a sweep: continue with the others, or stop")
    resume: str | None = option(MISSING, "a sweep's folder: run its jobs that are not done")
    adopt: bool = option(
        MISSING,
        "with resume: wait for jobs that still run or are in a queue; false: cancel them, and run them again",
    )
    plan: bool = option(MISSING, "compose and check every job, list them, and run nothing")
    skip_invalid: bool = option(MISSING, "leave out a sweep's jobs that can't run, instead of refusing the sweep")
    sweep: str | None = option(MISSING, "a sweep's folder: make its tables again from its jobs' folders")
    objective: str | None = option(MISSING, "the summary metric that hydra/sweeper=optuna makes largest or smallest")
    over: Over = option(
        MISSING,
        "what repeats a setting, so that a sweep's tables have mean and interval over it: seed; checkpoint: the "
        "checkpoints are networks of one setting, too",
    )


SWEEP_KEYS = ("on_error", "resume", "adopt", "plan", "skip_invalid", "sweep", "objective", "over")
"""Top-level keys of sweeps; they don't change a run."""


LABELS = ("run", *(f"run.{item.name}" for item in fields(LabelsConfig)))
"""The group of what a run is called, and its keys: they change no figure."""


def check_seeds(config: RunConfig) -> None:
    """Checks that the experiment takes many networks if `seeds` is given, and that no checkpoint is named.

    Raises:
        ConfigError: `seeds` doesn't fit; the text says what to type.
    """
    if config.seeds is None:
        return
    if config.seed + config.seeds > 2**63:
        raise ConfigError(
            f"seed={config.seed} seeds={config.seeds}: the last seed would be {config.seed + config.seeds - 1}, and "
            f"seeds are at most {2**63 - 1}."
        )
    sweep = f"Type -m 'seed=range({config.seed},{config.seed + config.seeds})' instead of seeds={config.seeds}."
    if not config.experiment.takes_seeds:
        raise ConfigError(
            f"seeds={config.seeds} goes with experiment={TAKE_SEEDS}; experiment={config.experiment.name} takes one "
            f"network. {sweep} checkpoint=FOLDER/members/seed_N.safetensors takes one that experiment={TAKE_SEEDS} "
            "seeds=... trained."
        )
    if config.checkpoint is not None:
        raise ConfigError(
            f"seeds={config.seeds} trains networks; checkpoint={config.checkpoint} is one. Leave one of the two out."
        )

"""The dispatcher: a config in, a run folder out.

    config → data set → model, with a checkpoint's weights → all is checked → claim a new run folder
           → weights (model store | train now) → experiment.run(setting) returns a Result → write it

`run` is the program; read it from top to bottom. Mistakes are found before the folder is made, so they use no version.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mi_runner.config.registry import code_of
from mi_runner.config.run_schema import RunConfig
from mi_runner.experiments import Row
from mi_runner.experiments.common.predictions import with_predictions
from mi_runner.machine import cache, memory, threads
from mi_runner.progress import Progress, log
from mi_runner.runs import expectations, run_folder
from mi_runner.runs.choices import experiment_of, load_dataset, own_code
from mi_runner.runs.journal import Journal, recorded, stage
from mi_runner.runs.networks import check_trained, with_networks, with_weights
from mi_runner.runs.preparation import device_of, prepare, sigmoid
from mi_runner.runs.provenance import new_record
from mi_runner.runs.run_folder import RunFolder
from mi_runner.runs.writing import write
from mi_runner.training import loop as training
from mi_runner.training.doubts import doubts


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
    record = new_record(config, command, timings or {})
    progress = progress or Progress()
    memory.keep_freed()
    claim = partial(run_folder.claim, config.output_dir, *names) if folder is None else partial(RunFolder, folder)
    journal = Journal(config, record, claim)

    with recorded(journal, progress), threads.exactly(config.threads):
        if folder is not None:
            journal.begin()  # the sweep reads run.json while the run loads
        with stage(record, "import"):
            experiment = experiment_of(config.experiment)
            code_of(config.dataset)
            code_of(config.model)
        device = device_of(config.device)
        record["device"] = str(device)

        with stage(record, "data"):
            dataset = load_dataset(config.dataset, seed=config.seed)
        with stage(record, "model"):
            prepared = prepare(config, dataset, expected, progress=progress)
        record["versions"] |= own_code(config, prepared.built)
        members = prepared.setting.members or (prepared.setting,)
        record["starts"] = {str(member.seed): member.start for member in members}
        place = journal.begin()
        with stage(record, "model"):
            setting, trained_now = with_weights(prepared, config, device, record)
            if prepared.checkpoint is None or device.type != "cpu":  # otherwise `prepare` has checked this very network
                check_trained(setting)
            setting = with_networks(setting, experiment, config, dataset)
            if config.experiment.trains:
                for doubt in doubts(setting.model, setting.dataset, setting.training, sigmoid=sigmoid(config)):
                    log.warning(doubt)

        if setting.training.stop_loss is not None and prepared.checkpoint is None:
            each = setting.members or (setting,)
            record["stop_epoch"] = {str(member.seed): training.stop_epoch(member.history) for member in each}

        with stage(record, "experiment"):
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
        with stage(record, "write"):
            write(place, result, model)
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

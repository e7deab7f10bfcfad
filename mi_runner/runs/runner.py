"""One run: a config in, a run folder out. `run` is the program; read it from top to bottom.

    config → data set → model, with a checkpoint's weights → all is checked → claim a new run folder
           → weights (model store | train now) → experiment.run(setting) returns a Result → write it

Each stage has a file: `preparation`, `networks`, `writing`; `journal` keeps run.json, whose fields are in `record`.
Mistakes are found before the folder is made, so they use no version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mi_runner.config.run_schema import RunConfig
from mi_runner.experiments import Drawing, Result
from mi_runner.experiments.common.predictions import with_predictions
from mi_runner.experiments.common.truth import with_truth
from mi_runner.machine import cache, compilation, memory, threads
from mi_runner.progress import Progress, log
from mi_runner.runs import captions, expectations, run_folder
from mi_runner.runs.beside import Beside
from mi_runner.runs.choices import experiment_of, import_choices, load_dataset
from mi_runner.runs.expectations import Expectation
from mi_runner.runs.given import NOTHING, Given
from mi_runner.runs.journal import Journal, recorded
from mi_runner.runs.networks import check_trained, say_doubts, with_networks, with_weights
from mi_runner.runs.preparation import device_of, prepare
from mi_runner.runs.provenance import data_of, new_record, own_code
from mi_runner.runs.record import RunRecord
from mi_runner.runs.run_folder import RunFolder
from mi_runner.runs.writing import Table, model_to_write, note, printed, with_history, write
from mi_runner.training.weights import names_of

SUITE = "mi-run expect"
"""The name of the test suite that a run's bounds are."""


@dataclass(frozen=True)
class Outcome:
    """The result of a run that is done.

    Attributes:
        folder: the run folder.
        tables: the tables to print.
        metrics: the summary.
        not_met: a line per expectation that isn't met.
        figures: name → a function that draws the figure.
    """

    folder: Path
    tables: Sequence[Table]
    metrics: Mapping[str, float]
    not_met: Sequence[str]
    figures: Mapping[str, Drawing]


def run(
    config: RunConfig,
    *,
    folder: Path | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    timings: Mapping[str, float] | None = None,
    given: Given = NOTHING,
    quiet: bool = False,
    beside: Beside | None = None,
) -> Outcome:
    """Runs an experiment from the config to the files, and returns the outcome.

    Args:
        folder: an existing empty folder to use, as a sweep gives to each job; None: a new version, after all checks.
        command: the command line, for run.json; None: one that has this config.
        progress: long work reports to it.
        timings: stage → seconds, for stages before this call.
        given: a network and data of a program, in place of those that the config names.
        quiet: whether standard error gets warnings alone.
        beside: makes the tables' files, the figures and the page; None: this process does.

    Raises:
        ConfigError: a mistake in the config or a file that it names.
        RunFailed: the run began but could not finish.
    """
    assert isinstance(config.threads, int), "auto is a number once the config is typed"
    expected = [*expectations.parse(config.experiment.expects), *expectations.parse(config.expect)]
    cache.check()
    memory.keep_freed()
    names = config.experiment.name, config.dataset.name, config.model.name
    record = new_record(config, command, timings or {})
    claim = partial(run_folder.claim, config.output_dir, *names) if folder is None else partial(RunFolder, folder)
    progress, beside, compiled_before = progress or Progress(), beside or Beside(None), compilation.SPENT.seconds
    journal = Journal(record, config, claim, beside, quiet=quiet)
    progress.draw = beside.drawing(config.figures)

    with recorded(journal, progress), threads.exactly(config.threads):
        if folder is not None:
            journal.begin()  # the sweep reads run.json while the run loads
        with journal.stage("import"):
            experiment = experiment_of(config.experiment)
            import_choices(config)
        record.device = str(device := device_of(config.device))
        with journal.stage("data"):
            dataset = load_dataset(config.dataset, seed=config.seed, given=given)
        with journal.stage("model"):
            prepared = prepare(config, dataset, expected, progress=progress, given=given)
        record.versions = {**record.versions, **own_code(config, prepared.built, given)}
        record.starts, record.given, record.data = prepared.starts, given.record(prepared.built), data_of(dataset)
        record.outputs = prepared.built.dataset.outputs.name
        place = journal.begin()

        with journal.stage("model"):
            weighted = with_weights(prepared, config, device, given)
            record.checkpoint = weighted.checkpoint
            check_trained(weighted)
            setting = with_networks(weighted.setting, experiment, config, dataset, given)
            say_doubts(setting, config)
        record.stop_epoch = weighted.stop_epochs

        with journal.stage("experiment"):
            result = with_truth(with_predictions(experiment.run(setting), setting), setting)
        for said in filter(None, (compilation.sentence_since(compiled_before), result.answer)):
            log.info(said)
        record.answer, record.timings = result.answer or record.answer, {**record.timings, **result.timings}
        result = with_history(result, weighted)
        with journal.stage("write"):
            model, where = model_to_write(result, weighted), captions.setting(config, setting.dataset)
            write(place, result, model, names_of(setting.dataset), beside, where, draws=config.figures.draw)
        note(record, result)
        not_met = _not_met(expected, result, record, place)
    tables, figures = printed(result, " · ".join(names)), beside.laid_out(result.figures)
    return Outcome(place.path, tables, result.metrics, not_met, figures)


def _not_met(expected: Sequence[Expectation], result: Result, record: RunRecord, place: RunFolder) -> list[str]:
    """Returns a line for each bound that isn't met, and notes them in the record and in expectations.xml."""
    not_met = [line for bound in expected if (line := bound.unmet(result.metrics))]
    record.expect_not_met = tuple(not_met) if expected else None
    if expected:
        group = f"{record.experiment}.{record.dataset}-{record.model}"
        place.write_expectations(SUITE, expectations.cases(expected, result.metrics, group))
    return not_met

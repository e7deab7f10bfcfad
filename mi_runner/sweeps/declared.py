"""What the tables and figures of a sweep mean: its own, and those of its experiments in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from mi_runner.config.registry import EXPERIMENTS
from mi_runner.experiments.declared import declarations_of
from mi_runner.sweeps.drawn_metrics import MOST_PANELS
from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    SECONDS,
    SEED,
    Column,
    Declarations,
    FigureType,
    Key,
    Note,
    TableType,
    ends_of,
    names_of,
)

JOB = Key("job", "number of the job in the sweep")
OF_SEED = Note(SEED.name, SEED.meaning)
STATUS = Note("status", "how the job ended")

SWEEP = TableType(
    "sweep",
    "Every row of every job",
    (
        JOB,
        STATUS,
        Note("error", "why the job failed; empty if it is done"),
        Note("code", "the version of mi-run's sources, and of your own code, that ran the job"),
        Note("folder", "the job's run folder"),
    ),
)
"""Besides these it has the swept values and the columns of the jobs' metrics tables."""

SWEEP_SUMMARY = TableType(
    "sweep_summary",
    "Mean and interval over seeds, for each combination of swept values",
    (
        Note("code", "the version of the sources, where jobs ran several"),
        Key("measure", "the measure that is summarised"),
        Note("n", "seeds, with over=checkpoint checkpoints, that have a value", COUNT),
        Note("mean", "mean over these"),
        Note("sd", "standard deviation over these; empty for one"),
        Note("low", "lower end of the 95 % interval of the mean"),
        Note("high", "upper end of the 95 % interval of the mean"),
        Note("min", "smallest value of a seed"),
        Note("max", "largest value of a seed"),
    ),
)
"""Besides these it has the swept values and the columns that name the rows of the jobs' tables."""

JOBS = TableType("jobs", "Every job", (JOB, STATUS, Note("seconds", "time that the job took", SECONDS)))
"""Besides these it has the swept values and the numbers of the jobs' summaries."""

FAILURES = TableType(
    "failures",
    "Jobs that are not as they should be",
    (JOB, Note("values", "the job's swept values"), STATUS, Note("cause", "what is not as it should be")),
)

HEADLINE = TableType("headline", "", (Note("n", "seeds", COUNT), Note("of each seed", "the values of the seeds")))
"""Besides these it has the swept values, columns that name rows, and measures: means over seeds."""

PAIRS = TableType(
    "pairs",
    "The answers of each two networks on the same test examples",
    (
        Key("network", "the first network: its checkpoint in short"),
        Key("other", "the second network"),
        Note("n", "test examples, and repeats where there are any", COUNT),
        Note("accuracy", "examples that the first network answers correctly", FRACTION),
        Note("other_accuracy", "examples that the second network answers correctly", FRACTION),
        Note(
            "difference",
            "accuracy of the second network minus that of the first; the interval is Newcombe's, of paired answers",
            interval=True,
        ),
        Note("only_network", "examples that only the first network answers correctly", COUNT),
        Note("only_other", "examples that only the second network answers correctly", COUNT),
        Note("p", "McNemar's exact test: are the two networks equally often correct?"),
        Note(
            "p_of_all_pairs",
            "the same, corrected for all pairs of networks in one condition, by Westfall and Young; empty for two "
            "networks, and where not all pairs are compared",
        ),
    ),
)
"""Besides these it has the swept values and the conditions under which the networks answer."""

FIGURES = (
    FigureType(
        "sweep",
        f"Mean over seeds of numbers of the summary that differ, by swept value: of at most {MOST_PANELS}, which the "
        "axes name; a line for each method shows the first ablation. Of two or three seeds, a circle for each.",
        "sweep",
        n="n",
        n_of="seeds",
        intervals="95 %, of the mean over seeds",
    ),
    FigureType(
        "sweep_rows",
        "Mean accuracy over seeds for each row of the jobs' tables; of two or three seeds, a circle for each.",
        "sweep_summary",
        n="n",
        n_of="seeds",
        intervals="95 %, of the mean over seeds",
    ),
)


def declarations_of_sweep(experiments: Iterable[str], swept: Sequence[str] = ()) -> Declarations:
    """Returns what the tables and figures of a sweep of these experiments mean.

    Args:
        swept: the keys whose values are swept; they name options, so nothing is said of them.
    """
    experiments = list(experiments)
    found = [declarations_of(experiment) for experiment in experiments]
    in_parts = [declarations_of(schema.name) for schema in EXPERIMENTS if schema.name in experiments and schema.part_of]
    measured = [column for one in found for column in _columns(one, "metrics")]
    named = [*measured, *(column for one in found for column in _columns(one, "summary"))]
    numbers = [number for one in found for number in one.summary]
    return Declarations(
        tables=(
            _joined(SWEEP, _unlike(swept, measured)),
            _joined(SWEEP_SUMMARY, _unlike(swept, named)),
            _joined(JOBS, numbers),
            FAILURES,
            *(table for one in in_parts for table in one.tables),
            _joined(HEADLINE, [*_unlike(swept, named), *numbers, *_over_seeds([*named, *numbers])]),
        ),
        figures=(
            *FIGURES,
            *(figure for one in found for figure in one.figures if figure.name.startswith("sweep_")),
            *(figure for one in in_parts for figure in one.figures if not figure.name.startswith("sweep_")),
        ),
        compared=(
            _joined(PAIRS, _unlike(swept, [column for one in found for column in _columns(one, "predictions")])),
            *(table for one in found for table in one.compared),
        ),
    )


def _over_seeds(measures: Iterable[Column]) -> Iterator[Column]:
    """Yields what the headline has of a measure besides its mean."""
    for measure in measures:
        yield from ends_of(measure)
        yield Note(f"{measure.name}_n", f"seeds that have a value of {measure.name}", COUNT)


def own_name(column: str, taken: Iterable[str]) -> str:
    """Returns the name of a metrics table's column in sweep.csv: another where the sweep has a column of its name."""
    return f"metrics.{column}" if column in taken else column


def _columns(declared: Declarations, table: str) -> list[Column]:
    return [column for one in declared.named(table) for column in one.all_columns]


def _unlike(swept: Sequence[str], columns: Iterable[Column]) -> list[Column]:
    """Returns the columns, but those that are named as a swept key with the name that sweep.csv gives them."""
    return [replace(column, name=own_name(column.name, [*names_of(SWEEP.columns), *swept])) for column in columns]


def _joined(table: TableType, columns: Iterable[Column]) -> TableType:
    """Returns the table's type with further columns and the seed's; of equal names its own."""
    by_name = {column.name: column for column in table.all_columns}
    own = {name: Note(column.name, column.meaning, column.unit) for name, column in by_name.items()}
    others: dict[str, Column] = {OF_SEED.name: OF_SEED}
    for column in columns:
        others.setdefault(column.name, Note(column.name, column.meaning, column.unit))
    return replace(table, columns=tuple((others | own).values()))

"""Paired tests of the numbers of a summary: of two runs on the same test examples, or over networks by their seeds.

    number                                 pairs                                test
    accuracy of one network                test examples                        McNemar's exact test
    accuracy, averaged over repeats        test examples, averaged over repeats Student's paired test
    loss                                   test examples, averaged over repeats Student's paired test
    any measure of the main table          seeds, averaged over repeats         Student's paired test

A test belongs to a number only if what it compares is that number, in both runs: the names and the values must agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mi_runner.runs.judged import PairedTest, close
from mi_runner.runs.paired_answers import EXAMPLE, PREDICTIONS, SameExamples, paired_answers
from mi_runner.runs.pairs import HEADLINE, Matched, Pair
from mi_runner.runs.saved_runs import SEED, SavedRun
from mi_runner.runs.saved_tables import read_frame
from mi_runner.tables.names import NONE
from mi_runner.tables.paired import PairedValues, paired_means

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import DataFrame

STUDENT, MCNEMAR = "Student's paired test", "McNemar's exact test"
EXAMPLES, SEEDS = "test examples", "seeds"
ACCURACY, LOSS = "accuracy", "loss"

SAME = 1e-5
"""A number of the summary and one computed from the predictions are the same: these are rounded to float32."""

SPREADS = ("_sd", "_low", "_high", "_min", "_max")
"""Endings of the numbers that say how a measure is spread over seeds, of which there is no test."""


@dataclass(frozen=True)
class Candidate:
    """A test, and what must hold for a number of the summary to be what it compares.

    Attributes:
        measure: accuracy, loss, or a measure of the main table.
        names: values of the columns that name the measurement, in any order.
        values: of the first run and of the second.
    """

    measure: str
    names: tuple[str, ...]
    values: tuple[float, float]
    tested: PairedTest


def tests_of(pair: Pair, metrics: Sequence[str]) -> dict[str, PairedTest]:
    """Returns the test of each of these numbers of the summary that has one."""
    with_seeds = SEED in pair.run.record.keys.get(HEADLINE, ()) and SEED in pair.other.record.keys.get(HEADLINE, ())
    candidates = list(_over_seeds(pair) if with_seeds else _over_examples(pair, metrics))
    return {metric: tested for metric in metrics if (tested := _test_of(metric, pair, candidates)) is not None}


def _test_of(metric: str, pair: Pair, candidates: Sequence[Candidate]) -> PairedTest | None:
    base, _, rest = metric.partition("/")
    names = rest.split("/") if rest else []
    values = pair.run.metrics.get(metric), pair.other.metrics.get(metric)
    for one in candidates:
        if base != one.measure and not base.endswith(f"_{one.measure}"):  # train_accuracy is accuracy on split=train
            continue
        same = all(close(value, own, SAME) for value, own in zip(values, one.values, strict=True))
        if same and (rest == "/".join(one.names) or (one.tested.units == SEEDS and set(names) <= set(one.names))):
            return one.tested
    return None


def described_by(metric: str) -> str:
    """Returns the number that a number describes, accuracy for accuracy_sd; empty if it describes none."""
    base, _, rest = metric.partition("/")
    ending = next((ending for ending in SPREADS if base.endswith(ending)), "")
    return "/".join(filter(None, (base.removesuffix(ending), rest))) if ending else ""


# --- over test examples ----------------------------------------------------------------------------------------------


def _over_examples(pair: Pair, metrics: Sequence[str]) -> Iterator[Candidate]:
    """Yields the tests of accuracy and loss under each condition, and of the intact network for each class."""
    paired = pair.answers
    if not isinstance(paired, SameExamples):
        return
    joined, repeats = paired.joined, set(pair.run.record.repeats)
    measures = [ACCURACY]
    if any(metric.partition("/")[0] == LOSS for metric in metrics):
        with suppress(OSError, ValueError):  # without outputs, or of a kind that isn't known, losses have no test
            joined, measures = _with_losses(pair, paired), [ACCURACY, LOSS]
    keys = [name for name in paired.names if name not in repeats]
    groups = joined.groupby(keys, sort=False, observed=True) if keys else [((), joined)]
    for values, group in groups:
        conditions = tuple(str(value) for value in values)
        names = () if all(value == NONE for value in conditions) else conditions
        yield from _of_group(names, group, measures, repeated=len(keys) < len(paired.names))
        if not names:
            for label, of_class in group.groupby("label_a", sort=False):
                yield from _of_group((_class_name(pair.run, label),), of_class, measures, repeated=False)


def _of_group(
    names: tuple[str, ...], group: DataFrame, measures: Sequence[str], *, repeated: bool
) -> Iterator[Candidate]:
    """Yields the tests of a condition; examples with several draws are averaged over these first."""
    for measure in measures:
        if measure == ACCURACY and not (repeated and group[EXAMPLE].duplicated().any()):
            counts = paired_answers(group)
            tested = PairedTest(counts.p, counts.n, MCNEMAR, EXAMPLES)
            yield Candidate(measure, names, counts.accuracies, tested)
            continue
        if measure == ACCURACY:
            sides = [(group[f"answer_{side}"] == group[f"label_{side}"]).astype(float) for side in "ab"]
        else:
            sides = [group[f"loss_{side}"] for side in "ab"]
        before, after = (side.groupby(group[EXAMPLE].to_numpy()).mean() for side in sides)
        difference = PairedValues.of((after - before).tolist())
        if difference.p is not None:
            tested = PairedTest(difference.p, difference.n, STUDENT, EXAMPLES)
            yield Candidate(measure, names, (float(before.mean()), float(after.mean())), tested)


def _class_name(run: SavedRun, label: int) -> str:
    named = run.record.data.class_names if run.record.data else None
    return named[label] if named and 0 <= label < len(named) else str(label)


def _with_losses(pair: Pair, paired: SameExamples) -> DataFrame:
    """Returns the paired answers with the columns `loss_a` and `loss_b`.

    Raises:
        OSError, ValueError: the outputs can't be read, or have no loss here.
    """
    joined = paired.joined
    on = [*paired.names, EXAMPLE]
    for side, run in (("a", pair.run), ("b", pair.other)):
        frame = read_frame(run.folder, PREDICTIONS)
        if lacking := [name for name in on if name not in frame]:
            raise ValueError(f"the predictions have no column {lacking[0]}")
        of_run = frame[on].assign(**{f"loss_{side}": losses(frame, run.record.outputs or "logits")})
        if of_run.duplicated(on).any():  # of two experiments: the conditions of one are not those of the other
            raise ValueError("the predictions have other conditions")
        joined = joined.merge(of_run, on=on, how="left", sort=False)
    return joined


def losses(frame: DataFrame, kind: str) -> ndarray:
    """Returns the loss of each row of a table of predictions: cross-entropy, or of values the squared error.

    Args:
        kind: what the outputs are, a name of `mi_runner.datasets.outputs.Outputs`.

    Raises:
        ValueError: there are no such outputs.
    """
    import numpy as np

    labels = frame["label"].to_numpy()
    if kind == "values":
        return (_outputs(frame, "output")[:, 0] - labels) ** 2
    single = kind in ("logit", "probability")
    outputs = _outputs(frame, kind if single else {"logits": "logit_", "probabilities": "probability_"}.get(kind, ""))
    if kind == "logit":
        outputs = np.hstack([np.zeros_like(outputs), outputs])
    elif kind == "probability":
        outputs = np.hstack([1 - outputs, outputs])
    if not kind.startswith("logit"):
        outputs = np.log(np.maximum(outputs, float(np.finfo(np.float32).tiny)))
    if not ((labels >= 0) & (labels < outputs.shape[1])).all():
        raise ValueError("a label is no class of the outputs")
    highest = outputs.max(axis=1)
    total = highest + np.log(np.exp(outputs - highest[:, None]).sum(axis=1))
    return total - outputs[np.arange(len(labels)), labels]


def _outputs(frame: DataFrame, name: str) -> ndarray:
    """Returns the outputs `(rows, K)` in the columns of this name, or that begin with it and end with a number."""
    columns = [column for column in frame if column == name or (name.endswith("_") and _place(column, name) >= 0)]
    if not columns:
        raise ValueError(f"the predictions have no outputs {name}")
    return frame[sorted(columns, key=lambda column: _place(column, name))].to_numpy(dtype=float)


def _place(column: str, name: str) -> int:
    number = column.removeprefix(name) if column.startswith(name) else ""
    return int(number) if number.isdecimal() else -1


# --- over seeds ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OverSeeds:
    """A measure of the main table in two runs of many networks, under one name, paired by seed.

    Attributes:
        names: column → its value.
        before, after: of the seeds for which both have a value, averaged over repeats.
        means: over all seeds of each run that have a value.
    """

    names: Mapping[str, str]
    measure: str
    before: Sequence[float]
    after: Sequence[float]
    means: tuple[float, float]


def over_seeds(matched: Matched) -> Iterator[OverSeeds]:
    """Yields the measures for which both runs have values, for each name of a row without seed and repeats."""
    rest = [key for key in matched.names if key != SEED and key not in matched.repeats]
    groups = matched.frame.groupby(rest, sort=False) if rest else [((), matched.frame)]
    for values, group in groups:
        for measure in matched.measures:
            columns = [group[f"{measure}_{side}"] for side in "ab"]
            if any(column.isna().all() for column in columns):
                continue  # one of the runs has no value under this name
            sides = [list(zip(group[SEED], column.tolist(), strict=True)) for column in columns]
            own = [paired_means(side, side)[0] for side in sides]
            before, after = paired_means(*sides)
            means = (math.fsum(own[0]) / len(own[0]), math.fsum(own[1]) / len(own[1]))
            yield OverSeeds(dict(zip(rest, map(str, values), strict=True)), measure, before, after, means)


def _over_seeds(pair: Pair) -> Iterator[Candidate]:
    """Yields Student's paired test of each measure of the main table that has two pairs of seeds or more."""
    keys, keys_other = (one.record.keys[HEADLINE] for one in (pair.run, pair.other))
    if pair.has_one_network or sorted(keys) != sorted(keys_other):
        return
    if pair.run.record.starts.keys() != pair.other.record.starts.keys():
        return  # the numbers of the summary are over other seeds than the pairs
    try:
        matched = pair.rows(HEADLINE)
    except (OSError, ValueError):  # said where the tables are compared
        return
    for one in over_seeds(matched):
        if (tested := student(one.before, one.after)) is not None:
            yield Candidate(one.measure, tuple(one.names.values()), one.means, tested)


def student(before: Sequence[float], after: Sequence[float]) -> PairedTest | None:
    """Returns Student's paired test over seeds; None if there is none: of one pair, and of equal differences."""
    if not before:
        return None
    difference = PairedValues.of([b - a for a, b in zip(before, after, strict=True)])
    return None if difference.p is None else PairedTest(difference.p, difference.n, STUDENT, SEEDS)

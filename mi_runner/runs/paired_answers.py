"""The answers of two runs on the same test examples, example by example: for tests of their difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mi_runner.experiments.common.tables import PREDICTIONS as ANSWERS
from mi_runner.runs.saved_runs import SEED, SavedRun
from mi_runner.runs.saved_tables import read_frame
from mi_runner.tables.names import NONE
from mi_runner.tables.paired import PairedAnswers

if TYPE_CHECKING:
    from pandas import DataFrame

PREDICTIONS, EXAMPLE = ANSWERS.name, ANSWERS.keys[0]
"""The table, and its column that counts the test examples."""


class NotPaired(Exception):
    """Two runs have no answers to compare; the text says why, in a sentence."""


@dataclass(frozen=True)
class SameExamples:
    """The answers of two runs on the same examples, under the same conditions.

    Attributes:
        joined: a row for each answer that both gave, with `answer_a`, `answer_b`, `label_a` and `label_b`.
        names: the columns that name the conditions.
        of_intact: whether these are the answers of the intact networks alone, because the experiments differ.
    """

    joined: DataFrame
    names: Sequence[str]
    of_intact: bool

    def counted(self) -> Iterator[tuple[Mapping[str, Any], PairedAnswers]]:
        """Yields the conditions, and how many examples each of the two answers correctly under them."""
        for names, group in self.groups():
            yield names, paired_answers(group)

    def groups(self) -> Iterator[tuple[Mapping[str, Any], DataFrame]]:
        """Yields the conditions, and the rows under them."""
        if not self.names:
            yield {}, self.joined
            return
        for values, group in self.joined.groupby(list(self.names), sort=False, observed=True):
            yield dict(zip(self.names, values, strict=True)), group


def paired_answers(joined: DataFrame) -> PairedAnswers:
    """Returns how many examples each of two runs answers correctly."""
    a, b = joined["answer_a"] == joined["label_a"], joined["answer_b"] == joined["label_b"]
    return PairedAnswers(*(int(both.sum()) for both in (a & b, a & ~b, ~a & b, ~a & ~b)))


def same_examples(run: SavedRun, other: SavedRun) -> SameExamples:
    """Returns the answers of two runs, paired.

    Raises:
        NotPaired: a run has none, the answers aren't on the same examples, under the same conditions; or can't be read.
    """
    keys = [one.record.keys.get(PREDICTIONS) for one in (run, other)]
    for one, own in zip((run, other), keys, strict=True):
        if own is None:
            raise NotPaired(f"{one.folder} has no {PREDICTIONS}.parquet, so there is no test of the difference")
    of_intact = sorted(keys[0] or ()) != sorted(keys[1] or ())
    joined, names = _joined(run, other, (keys[0] or (), keys[1] or ()), of_intact=of_intact)
    return SameExamples(joined, names, of_intact)


def different_data(run: SavedRun, other: SavedRun) -> bool:
    """Returns whether two runs are known to have different test examples, or other options of their data."""
    hashes = [one.record.data and one.record.data.test_inputs for one in (run, other)]
    if None not in hashes:
        return hashes[0] != hashes[1]
    return run.record.dataset != other.record.dataset


def _joined(
    run: SavedRun, other: SavedRun, keys: tuple[Sequence[str], Sequence[str]], *, of_intact: bool
) -> tuple[DataFrame, list[str]]:
    """Returns a row for each answer that both runs gave, with `answer_a` and `answer_b`, and the columns of its name.

    Args:
        keys: of the predictions of each.
        of_intact: whether to take the answers of the intact networks alone.

    Raises:
        NotPaired: the answers aren't on the same examples, under the same conditions; or can't be read.
    """
    names = [key for key in keys[0] if key != EXAMPLE and key in keys[1]]
    try:
        frames = [
            _answers_of(one, [key for key in own if key != EXAMPLE])
            for one, own in zip((run, other), keys, strict=True)
        ]
    except (OSError, ValueError) as error:
        raise NotPaired(f"{PREDICTIONS}.parquet can't be read ({' '.join(str(error).split())})") from error
    if of_intact:
        frames = [_intact(frames[0], run, other, names), _intact(frames[1], other, run, names)]
        if any(frame.empty or frame.duplicated([*names, EXAMPLE]).any() for frame in frames):
            raise NotPaired("the two experiments answer under different conditions, so there is no test")
    names += [column for column in frames[0] if column not in (*names, EXAMPLE, "label", "answer")]
    joined = frames[0].merge(frames[1], on=[*names, EXAMPLE], suffixes=("_a", "_b"), sort=False)
    examples = [set(frame[EXAMPLE]) for frame in frames]
    same_data = not different_data(run, other) and examples[0] == examples[1]
    if not same_data or (joined["label_a"] != joined["label_b"]).any():
        raise NotPaired("the runs have different test examples, so there is no test")
    return joined, names


def _intact(frame: DataFrame, run: SavedRun, other: SavedRun, names: Sequence[str]) -> DataFrame:
    """Returns the answers of a run's intact network; of many networks, those of the other run's seed."""
    columns = [*names, EXAMPLE, "label", "answer"]
    for column in frame.columns.difference([*columns, *run.record.repeats]):
        wanted = str(other.record.seed) if column == SEED else NONE
        frame = frame[frame[column].astype(str) == wanted]
    return frame[columns]


def _answers_of(run: SavedRun, names: Sequence[str]) -> DataFrame:
    repeats = [column for column in run.record.repeats if column not in names]
    try:
        return read_frame(run.folder, PREDICTIONS, [*names, *repeats, EXAMPLE, "label", "answer"])
    except ValueError:  # no such column: this table has no repeats
        return read_frame(run.folder, PREDICTIONS, [*names, EXAMPLE, "label", "answer"])

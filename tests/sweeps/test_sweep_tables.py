"""A sweep's tables of random jobs, against a second computation with nothing but dictionaries."""

from __future__ import annotations

import csv
import itertools
import math
import random
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mi_runner.runs.plan import Job
from mi_runner.runs.record import RunRecord
from mi_runner.runs.states import State
from mi_runner.sweeps.sweep_tables import Ended, all_rows, summary, summary_rows
from mi_runner.tables.over_seeds import Summed

Row = dict[str, Any]

KEYS = ("target", "method")
"""The columns that name a row; `repeat` counts the draws of one."""

RANGES = {"accuracy": (0.0, 1.0), "loss": (0.0, None)}
COLUMNS = (*KEYS, "repeat", *RANGES)


@st.composite
def job_sets(draw: st.DrawFn) -> list[tuple[dict[str, Any], str, list[Row]]]:
    """The swept values, the status and the metrics table of each job of a sweep.

    Some jobs are not done, some rows are there in some jobs only, some have repeats, some have no loss.
    """
    models = draw(st.lists(st.sampled_from(["mlp", "skip", "cnn"]), min_size=1, max_size=2, unique=True))
    seeds = draw(st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True))
    jobs = []
    for model, seed in itertools.product(models, seeds):
        table = []
        for target, method in draw(
            st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["zero", "mean"])), max_size=4, unique=True)
        ):
            for repeat in range(1, draw(st.integers(1, 3)) + 1):
                accuracy = draw(st.integers(0, 100)) / 100
                loss = draw(st.one_of(st.just(""), st.floats(0.01, 9)))
                table.append(dict(zip(COLUMNS, (target, method, repeat, accuracy, loss), strict=True)))
        status = draw(st.sampled_from(["done", "done", "done", "failed", "interrupted", "killed"]))
        jobs.append(({"model": model, "seed": seed}, status, draw(st.permutations(table))))
    return jobs


def ended(folder: Path, number: int, swept: Row, status: str, table: list[Row]) -> Ended:
    """A job whose folder and record are as a run leaves them."""
    at = folder / str(number)
    at.mkdir()
    with (at / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(table)
    record = RunRecord(status=status, keys={"metrics": KEYS}, measures=RANGES, versions={"code": "c"})
    cause = "" if status == "done" else "ended without a word"
    return Ended(Job(number, (), swept, "hash"), State(status, cause, 0 if status == "done" else 1, record), at)


def by_hand(jobs: list[tuple[Row, str, list[Row]]]) -> dict[tuple[str, ...], list[float]]:
    """Model, target, method and measure → a value of each seed: the mean of its repeats."""
    repeats: dict[tuple[str, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for swept, status, table in jobs:
        for row in table if status == "done" else ():
            for measure in RANGES:
                if row[measure] != "":
                    repeats[swept["model"], row["target"], row["method"], measure][swept["seed"]].append(row[measure])
    return {name: [fmean(values) for values in of_seed.values()] for name, of_seed in repeats.items()}


def summed(jobs: list[Ended]) -> list[Summed]:
    return summary(jobs, all_rows(jobs), ["model", "seed"])


def comparable(found: list[Summed]) -> dict[tuple[str, ...], Row]:
    rows = {(row["model"], row["target"], row["method"], row["measure"]): row for row in summary_rows(found)}
    assert len(rows) == len(found)
    return rows


@settings(max_examples=60, deadline=None)
@given(job_sets(), st.randoms(use_true_random=False))
def test_the_summary_of_random_jobs(jobs: list[tuple[Row, str, list[Row]]], chance: random.Random) -> None:
    """Rows are matched by their names, repeats are averaged before seeds, and no order matters."""
    expected = by_hand(jobs)
    with TemporaryDirectory() as folder:
        found = comparable(summed([ended(Path(folder), number, *job) for number, job in enumerate(jobs)]))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        row = found[name]
        assert (row["n"], row["min"], row["max"]) == (len(values), *map(pytest.approx, (min(values), max(values))))
        assert row["mean"] == pytest.approx(fmean(values))
        assert row["sd"] == (None if len(values) == 1 else pytest.approx(stdev(values), abs=1e-12))
        if row["low"] is not None:
            assert row["low"] <= row["mean"] <= row["high"]

    again = chance.sample(jobs, len(jobs))
    again = [(swept, status, chance.sample(table, len(table))) for swept, status, table in again]
    with TemporaryDirectory() as folder:
        other = comparable(summed([ended(Path(folder), number, *job) for number, job in enumerate(again)]))
    for name, row in found.items():
        for column, value in row.items():
            same = (
                math.isclose(value, other[name][column]) if isinstance(value, float) else value == other[name][column]
            )
            assert same, (name, column)
    assert other.keys() == found.keys()


@settings(max_examples=40, deadline=None)
@given(job_sets())
def test_the_long_table_of_random_jobs_has_every_row_of_every_job(jobs: list[tuple[Row, str, list[Row]]]) -> None:
    """Digit by digit as the jobs wrote them; a job without rows has one, which says what became of it."""
    with TemporaryDirectory() as folder:
        rows = all_rows([ended(Path(folder), number, *job) for number, job in enumerate(jobs)])
    place = 0
    for number, (swept, status, table) in enumerate(jobs):
        for measured in table or [{}]:
            row = rows[place]
            assert (row["job"], row["status"]) == (number, status) and swept.items() <= row.items()
            assert {name: row[name] for name in measured} == {name: str(value) for name, value in measured.items()}
            assert bool(row["error"]) == (status != "done") and Path(row["folder"]).name == str(number)
            place += 1
    assert place == len(rows) and len({tuple(row) for row in rows}) == 1

"""`mi-run diff`: what differs between runs or sweeps, and is it real?"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from mi_runner.runs.judged import close
from mi_runner.tables.paired import PairedAnswers, PairedValues, holm
from tests.conftest import Ended
from tests.run_records import write, write_sweep

A, B = Path("outputs/train/mnist-mlp/v001"), Path("outputs/train/mnist-mlp/v002")

TOLD = {
    "keys": {"metrics": ["split", "class"], "predictions": ["example"]},
    "measures": {"accuracy": [0, 1], "loss": [0, None], "seconds": [0, None]},
    "repeats": [],
}


def write_run(folder: Path, answers: list[int], *, rows: dict[str, float] | None = None, **changes: Any) -> Path:
    """A run with predictions of ten examples, whose labels are 0, and a row of metrics.csv for each class."""
    accuracy = answers.count(0) / len(answers)
    changes = {**TOLD, "metrics": {"accuracy": accuracy, "seconds": accuracy + 1}, **changes}
    write(folder, **changes)
    named = rows if rows is not None else {"all": accuracy, "null": 0.5}
    table = [
        {"split": "test", "class": name, "n": 10, "accuracy": value, "seconds": 1} for name, value in named.items()
    ]
    pd.DataFrame(table).to_csv(folder / "metrics.csv", index=False)
    frame = pd.DataFrame({"example": range(len(answers)), "label": 0, "answer": answers})
    frame.to_parquet(folder / "predictions.parquet", index=False)
    return folder


def sections(ended: Ended) -> dict[str, dict[str, Any]]:
    assert ended.status in (0, 1), ended.err
    content = json.loads(ended.out)
    assert content["differs"] == bool(ended.status)
    return {section["title"]: section for section in content["sections"]}


def test_what_differs_and_whether_it_is_real(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    write_run(A, [0] * 6 + [1] * 4, rows={"all": 0.6, "null": 0.5, "old": 1.0}, versions={"code": "a", "torch": "2"})
    write_run(
        B, [0] * 9 + [1], rows={"all": 0.9, "null": 0.5}, versions={"code": "b", "torch": "2"},
        **{"training.epochs": 7, "output_dir": "elsewhere"},
    )  # fmt: skip
    found = sections(mi_run("diff", str(A), str(B), "--format", "json"))
    assert [row["folder"] for row in found["runs"]["rows"]] == [str(A), str(B)]
    assert found["config"]["rows"] == [{"key": "training.epochs", "A": "3", "B": "7"}]
    assert found["code, versions, weights"]["rows"] == [{"key": "code", "A": "a", "B": "b"}]
    (metric,) = found["metrics"]["rows"]  # seconds are no metric
    tested = {"p": 0.25, "counts": False}
    assert metric == {"metric": "accuracy", "A": 0.6, "B": 0.9, "B − A": pytest.approx(0.3), **tested}
    (row,) = found["rows of metrics.csv: B and A"]["rows"]
    assert (row["split"], row["class"], row["measure"], row["B"]) == ("test", "all", "accuracy", 0.9)
    assert found["tables: B and A"]["rows"] == [
        {"table": "metrics", "difference": "2 rows in both, 1 rows that differ, 1 only in A"}
    ]
    (answers,) = found["answers: B and A"]["rows"]
    assert (answers["n"], answers["only A"], answers["only B"], answers["p"]) == (10, 0, 3, 0.25)  # 2 · (1/2)³
    assert answers["low"] < 0.3 < answers["high"] and answers["B − A"] == pytest.approx(0.3)


def test_exit_status_and_tolerance(mi_run: Callable[..., Ended]) -> None:
    """A loss without outputs has no test, so any difference of it counts."""
    mi_run("--version")
    write_run(A, [0] * 10, metrics={"loss": 1.0, "seconds": 2})
    write_run(B, [0] * 10, metrics={"loss": 1 + 1e-9, "steps": None})
    assert mi_run("diff", str(A), str(A)).out.endswith("no metric differs\n")
    assert mi_run("diff", str(A), str(B), "--tolerance", "1e-6").status == 1  # the steps are in one of them only
    write_run(A.with_name("v003"), [0] * 10, metrics={"loss": 1 + 1e-9, "seconds": 9})
    third = str(A.with_name("v003"))
    assert mi_run("diff", str(A), third).status == 1
    assert mi_run("diff", str(A), third, "--tolerance", "1e-6").status == 0
    assert mi_run("diff", str(A), str(A), third).status == 1
    text = mi_run("diff", str(A), third, "--format", "markdown").out
    assert text.startswith("**the metrics differ**\n\n### runs\n\n|  | folder |\n|---|---|\n| A | outputs/")
    assert "| metric | A | B | B − A | counts |\n|---|---:|---:|---:|---|\n| loss | 1 | 1 | 1.00e-09 | yes |" in text
    assert "metric" in mi_run("diff", str(A), third).out and "exit status" in mi_run("diff", "--help").out


def test_a_tolerance_of_a_metric_is_its_own_alone(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    measures = {"accuracy": 0.9, "loss/relu/zero": 0.30, "loss/x/zero": 0.30}
    write_run(A, [0] * 10, rows={"all": 0.9}, metrics=measures)
    changed = {"accuracy": 0.905, "loss/relu/zero": 0.32, "loss/x/zero": 0.33}
    write_run(B, [0] * 10, rows={"all": 0.905}, metrics=changed)

    def differing(*tolerances: str) -> list[str]:
        typed = [word for tolerance in tolerances for word in ("--tolerance", tolerance)]
        ended = mi_run("diff", str(A), str(B), *typed, "--format", "json")
        found = sections(ended)
        rows = [row["metric"] for row in found["metrics"]["rows"]]
        in_table = [row for title, one in found.items() if title.startswith("metrics.csv") for row in one["rows"]]
        assert bool(rows or in_table) == bool(ended.status)
        return rows

    assert differing() == list(measures)
    assert differing("accuracy=0.01") == ["loss/relu/zero", "loss/x/zero"]
    assert differing("accuracy=0.01", "loss=0.025") == ["loss/x/zero"]
    assert differing("0.01", "loss/x/zero=0.05") == ["loss/relu/zero"]
    assert differing("accuracy=0.01", "loss=0.025", "loss/x/zero=0.05") == []
    assert differing("accuracy=0", "0.05") == ["accuracy"]


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "equal"),
    [
        (1.0, 1.0, 0, True), (1.0, 1.1, 0.1, True), (1.0, 1.2, 0.1, False), (1000.0, 1050.0, 0.1, True),
        (None, None, 0, True), (None, 1.0, 9, False), (math.inf, math.inf, 0, True), (math.nan, math.nan, 0, True),
        (math.nan, 1.0, 1, False),
    ],
)  # fmt: skip
def test_equal_but_for_the_tolerance(a: float | None, b: float | None, tolerance: float, equal: bool) -> None:
    assert close(a, b, tolerance) is equal and close(b, a, tolerance) is equal


def test_answers_are_compared_for_each_intervention_and_only_on_the_same_examples(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    keys = {**TOLD["keys"], "predictions": ["target", "method", "example"]}
    for folder, answer in ((A, 1), (B, 0)):
        write_run(folder, [0] * 4, keys=keys, repeats=["repeat"])
        names = {"target": ["none", "relu", "relu"], "method": ["none", "zero", "zero"], "repeat": [1, 1, 2]}
        rows = [
            {**dict(zip(names, of, strict=True)), "example": example, "label": 0, "answer": answer * (of[2] == 2)}
            for of in zip(*names.values(), strict=True)
            for example in range(4)
        ]
        frame = pd.DataFrame(rows).astype({"target": "category", "method": "category"})
        frame.to_parquet(folder / "predictions.parquet", index=False)
    answers = sections(mi_run("diff", str(A), str(B), "--format", "json"))["answers: B and A"]["rows"]
    assert [(row["target"], row["repeat"], row["only A"], row["only B"]) for row in answers] == [
        *[("none", 1, 0, 0), ("relu", 1, 0, 0), ("relu", 2, 0, 4)],
    ]
    assert [row["p"] for row in answers] == [1.0, 1.0, 0.125]
    write_run(A.with_name("v003"), [0] * 5)
    write_run(A.with_name("v004"), [0] * 6)
    write_run(A.with_name("v005"), [0] * 5, dataset="mnist01")
    for other, text in (
        ("v004", "different test examples"),
        ("v005", "different test examples"),
        ("v001", "different test examples"),
    ):
        found = sections(mi_run("diff", str(A.with_name("v003")), str(A.with_name(other)), "--format", "json"))
        assert text in found["answers: B and A"]["note"] and not found["answers: B and A"]["rows"]


def test_two_experiments_are_compared_by_their_intact_networks(mi_run: Callable[..., Ended]) -> None:
    """Of training and an ablation; of an ablation and many networks, one of which has its seed."""
    mi_run("--version")
    third = A.with_name("v003")
    write_run(A, [0] * 6 + [1] * 4)
    write_run(B, [0], keys={**TOLD["keys"], "predictions": ["target", "method", "example"]}, repeats=["repeat"], seed=7)
    write_run(third, [0], keys={**TOLD["keys"], "predictions": ["seed", "example"]})
    shared = {"example": range(10), "label": 0}
    intact = pd.DataFrame({"target": "none", "method": "none", "repeat": 1, **shared, "answer": [0] * 9 + [1]})
    ablated = intact.assign(target="relu", method="zero", answer=1)
    table = pd.concat([intact, ablated]).astype({"target": "category"})
    table.to_parquet(B / "predictions.parquet", index=False)
    seeds = [pd.DataFrame({"seed": seed, **shared, "answer": seed - 6}) for seed in (6, 7)]
    pd.concat(seeds).to_parquet(third / "predictions.parquet", index=False)
    for pair, counts in (((A, B), (0, 3)), ((B, A), (3, 0)), ((B, third), (9, 0))):
        found = sections(mi_run("diff", *map(str, pair), "--format", "json"))["answers: B and A"]
        (row,) = found["rows"]
        assert (row["n"], row["only A"], row["only B"]) == (10, *counts) and "of the intact networks" in found["note"]
    ablated.to_parquet(B / "predictions.parquet", index=False)  # without the intact network
    found = sections(mi_run("diff", str(A), str(B), "--format", "json"))["answers: B and A"]
    assert "different conditions" in found["note"] and not found["rows"]


def test_other_data_are_said_first(mi_run: Callable[..., Ended]) -> None:
    """Labels may be the same: a hash of the test inputs tells."""
    mi_run("--version")
    for number, digest in ((1, "aa"), (2, "bb"), (3, "aa")):
        path = {"dataset.path": f"{digest}.npz"}
        write_run(A.with_name(f"v00{number}"), [0] * 10, dataset="arrays", data={"test_inputs": digest}, **path)
    ended = mi_run("diff", str(A), str(B))
    assert ended.out.startswith(
        "data: A (dataset=arrays dataset.path=aa.npz) and B (dataset=arrays dataset.path=bb.npz) have"
    )
    assert "different test examples" in ended.out and "p: McNemar" not in ended.out
    same = mi_run("diff", str(A), str(A.with_name("v003")), "--all")
    assert "data:" not in same.out and "p: McNemar" in same.out


def test_a_sentence_says_whether_the_tests_tell_networks_apart(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    write_run(A, [0] * 20), write_run(B, [0] * 12 + [1] * 8), write_run(A.with_name("v003"), [0] * 18 + [1] * 2)
    far, near = (" ".join(mi_run("diff", str(A), str(other)).out.split()) for other in (B, A.with_name("v003")))
    assert "Of 20 test examples A answers 1 correctly and B 0.6. The difference is −0.4 (" in far
    assert "McNemar's test tells the networks apart (p = 0.0078)" in far  # 2 · (1/2)⁸
    assert "McNemar's test does not tell the networks apart (p = 0.5)" in near
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02]) and holm([]) == []


def test_the_rows_that_matter_most_are_shown_and_the_others_are_counted(mi_run: Callable[..., Ended]) -> None:
    """A loss is larger than an accuracy, so differences count as fractions of the largest number of their measure."""
    mi_run("--version")
    metrics = {"accuracy": 0.9, **{f"accuracy/{n}": 0.5 for n in range(20)}, **{f"loss/{n}": 20.0 for n in range(20)}}
    changed = {name: value - 0.001 for name, value in metrics.items()} | {f"accuracy/{n}": 0.4 for n in range(9)}
    write_run(A, [0] * 10, metrics=metrics), write_run(B, [0] * 10, metrics=changed)
    short, everything, text = (
        mi_run("diff", str(A), str(B), *options) for options in ((), ("--all",), ("--format", "markdown"))
    )
    assert [ended.status for ended in (short, everything, text)] == [1, 1, 1]
    shown = [f"accuracy/{n} " in short.out for n in range(20)]
    assert shown == [True] * 9 + [False] * 11 and "accuracy  " in short.out and "loss/" not in short.out
    assert "(31 more rows, 31 of them count: --all shows them)" in short.out
    assert all(f" {name} " in everything.out for name in metrics) and "--all" not in everything.out
    assert text.out.count("| accuracy/") == 20 and "(11 more rows, 11 of them count: --all shows them)" in text.out
    found = sections(mi_run("diff", str(A), str(B), "--format", "json"))
    assert len(found["metrics"]["rows"]) == 41


def test_sweeps_are_paired_by_what_they_vary(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    jobs = {"model": ["mlp"] * 3 + ["cnn"], "seed": [0, 1, 2, 0]}
    first, second = Path("outputs/sweeps/train/v001"), Path("outputs/sweeps/train/v002")
    accuracies = {first: [0.5, 0.6, 0.7, 0.9], second: [0.6, 0.8, 0.8, 0.9]}
    for sweep, values in accuracies.items():
        write_sweep(sweep, jobs)
        for number, value in enumerate(values):
            write(sweep / str(number), metrics={"accuracy": value, "seconds": value})
    found = sections(mi_run("diff", str(first), str(second), "--format", "json"))
    (row,) = found["metrics: B and A"]["rows"]  # cnn has the same accuracy in both
    differences = [0.1, 0.2, 0.1]
    half = 4.302652729911275 * stdev(differences) / math.sqrt(3)
    assert (row["model"], row["metric"], row["n"]) == ("mlp", "accuracy", 3)
    assert [row["low"], row["B − A"], row["high"]] == pytest.approx(
        [fmean(differences) - half, fmean(differences), fmean(differences) + half]
    )
    assert mi_run("diff", str(first), str(first)).status == 0
    (second / "2/run.json").unlink()
    found = sections(mi_run("diff", str(first), str(second), "--format", "json"))
    assert found["metrics: B and A"]["rows"][0]["n"] == 2 and "2 jobs are not done" in found["metrics: B and A"]["note"]
    assert sections(mi_run("diff", str(first / "0"), str(second / "0"), "--format", "json"))["runs"]["rows"]


def test_networks_of_many_seeds_are_paired(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    for folder, accuracies in ((A, [0.1, 0.2, 0.3]), (B, [0.2, 0.4, 0.3])):
        write_run(folder, [0], keys={"metrics": ["seed", "split"]})
        rows = [{"seed": seed, "split": "test", "accuracy": value} for seed, value in enumerate(accuracies)]
        pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    (row,) = sections(mi_run("diff", str(A), str(B), "--format", "json"))["over seeds: B and A"]["rows"]
    test = PairedValues.of([0.1, 0.2, 0.0])
    assert (row["n"], row["split"], row["measure"]) == (3, "test", "accuracy")
    assert row["p"] == pytest.approx(test.p) and row["B − A"] == pytest.approx(0.1)


def test_a_seed_without_a_value_is_in_no_pair_and_repeats_are_averaged_first(mi_run: Callable[..., Ended]) -> None:
    """Ablations of five networks, two draws each: seed 1 has no value in B, seed 3 one draw, seed 4 is in A alone."""
    from scipy.stats import ttest_rel

    mi_run("--version")
    values = {
        A: {0: (0.1, 0.3), 1: (0.2, 0.2), 2: (0.5, 0.7), 3: (0.4, 0.8), 4: (0.9, 0.9)},
        B: {0: (0.3, 0.4), 1: ("", "nan"), 2: (0.9, 0.8), 3: ("", 0.7)},
    }
    for folder, of_seeds in values.items():
        write_run(folder, [0], keys={"metrics": ["seed", "target"]}, repeats=["repeat"])
        lines = [
            f"{seed},relu,{repeat},{value}\n" for seed, of in of_seeds.items() for repeat, value in enumerate(of, 1)
        ]
        # No network of B has a value for `add`, so nothing is tested there.
        add = [f"{seed},add,1,{'' if folder is B else 0.5}\n" for seed in range(3)]
        (folder / "metrics.csv").write_text("seed,target,repeat,accuracy\n" + "".join(lines + add))
    (row,) = sections(mi_run("diff", str(A), str(B), "--format", "json"))["over seeds: B and A"]["rows"]
    before, after = [0.2, 0.6, 0.6], [0.35, 0.85, 0.7]  # seeds 0, 2, 3
    theirs = ttest_rel(after, before)
    ends = theirs.confidence_interval(0.95)
    assert (row["target"], row["n"]) == ("relu", 3) and "repeat" not in row
    assert [row["A"], row["B"], row["B − A"]] == pytest.approx(
        [fmean(before), fmean(after), fmean(after) - fmean(before)]
    )
    assert [row["low"], row["high"], row["p"]] == pytest.approx([ends.low, ends.high, theirs.pvalue])


def test_a_job_without_a_number_is_in_no_pair_of_two_sweeps(mi_run: Callable[..., Ended]) -> None:
    """Of four seeds one has no percentile in one sweep, one NaN (null in run.json) in the other: two pairs are left."""
    from scipy.stats import ttest_rel

    mi_run("--version")
    first, second = Path("outputs/sweeps/train/v001"), Path("outputs/sweeps/train/v002")
    values = {first: [0.5, 0.6, None, 0.9], second: [0.6, "absent", 0.8, 0.95]}
    for sweep, of_seeds in values.items():
        write_sweep(sweep, {"seed": [0, 1, 2, 3]})
        for number, value in enumerate(of_seeds):
            numbers = {"accuracy": 0.5, "alone": 1.0} if sweep is first else {"accuracy": 0.5}
            write(sweep / str(number), metrics=numbers | ({} if value == "absent" else {"percentile": value}))
    found = sections(mi_run("diff", str(first), str(second), "--format", "json"))["metrics: B and A"]["rows"]
    assert [row["metric"] for row in found] == ["alone", "percentile"]  # the accuracy is the same everywhere
    alone, row = found
    empty = dict.fromkeys(("A", "B", "B − A", "low", "high", "p"))
    assert alone == {"metric": "alone", "n": 0, **empty, "counts": True}
    theirs = ttest_rel([0.6, 0.95], [0.5, 0.9])
    assert theirs.pvalue > 0.05 and row["counts"] is False
    assert (row["n"], row["A"], row["B"]) == (2, pytest.approx(0.7), pytest.approx(0.775))
    assert row["p"] == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("side", [0, 1])
def test_what_one_side_alone_has_is_a_difference(side: int, mi_run: Callable[..., Ended]) -> None:
    """A row, a measure, a table, a job: each by itself sets the exit status, and is named, on whichever side."""
    mi_run("--version")

    def told(more: Path, less: Path) -> Ended:
        pair = (more, less) if side == 0 else (less, more)
        assert mi_run("diff", str(less), str(less)).status == 0 and mi_run("diff", str(more), str(more)).status == 0
        return mi_run("diff", *map(str, pair), "--format", "json")

    def run(number: int, **changes: Any) -> Path:
        return write_run(A.with_name(f"v{number:03}"), [0] * 10, **changes)

    name, equal = "AB"[side], run(1)
    assert mi_run("diff", str(equal), str(run(2))).status == 0
    row = run(3, rows={"all": 1.0, "null": 0.5, "more": 0.5}, metrics={"accuracy": 1.0, "seconds": 2})
    (found,) = sections(told(row, equal))["tables: B and A"]["rows"]
    assert found == {"table": "metrics", "difference": f"2 rows in both, 1 only in {name}"}
    measure = run(4)
    frame = pd.read_csv(measure / "metrics.csv", keep_default_na=False)
    frame.assign(loss=0.5).to_csv(measure / "metrics.csv", index=False)
    (found,) = sections(told(measure, equal))["tables: B and A"]["rows"]
    assert found == {"table": "metrics", "difference": f"loss only in {name}"}
    table = run(5, keys={**TOLD["keys"], "units": ["unit"]})
    pd.DataFrame({"unit": [0], "accuracy": [0.5]}).to_csv(table / "units.csv", index=False)
    (found,) = sections(told(table, equal))["tables: B and A"]["rows"]
    assert found == {"table": "units", "difference": f"only in {name}"}

    few, many, failed = (Path(f"outputs/sweeps/train/v00{number}") for number in (1, 2, 3))
    for sweep, seeds in ((few, [0, 1]), (many, [0, 1, 2]), (failed, [0, 1, 2])):
        write_sweep(sweep, {"seed": seeds})
        for number in seeds:
            write(sweep / str(number), status="failed" if sweep is failed and number == 2 else "done")
    assert "1 jobs are not done" in sections(told(many, few))["metrics: B and A"]["note"]
    assert told(many, failed).status == 1
    ended = mi_run("diff", str(failed), str(failed))
    assert ended.status == 0 and "2 jobs are not done or have no partner" in " ".join(ended.out.split())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([str(A)], "two folders are needed"),
        ([str(A), "nowhere"], "nowhere: this folder doesn't exist. Type mi-run diff FOLDER"),
        ([str(A), "outputs"], "outputs: no run or sweep is in this folder. mi-run ls outputs lists"),
        ([str(A), str(B)], "the run is not done (status failed)"),
        ([str(A), "outputs/sweeps/train/v001"], "outputs/sweeps/train/v001 is a sweep: compare runs with runs"),
        (["outputs/sweeps/train/v001", "outputs/sweeps/train/v002"], "v001 varies seed, outputs/sweeps/train/v002"),
        (["outputs/sweeps/train/v001", "outputs/sweeps/train/v003"], "no jobs that are done and have the same values"),
        ([str(A), str(A), "--tolerance", "-1"], "--tolerance -1: must be 0 or more"),
        ([str(A), str(A), "--tolerance", "loss="], "--tolerance loss=: type a number, or METRIC=NUMBER"),
        ([str(A), str(A), "--tolerance", "acuracy=1"], "--tolerance acuracy: "),
        ([str(A), str(A), "--p", "2"], "--p 2: type a number above 0 and at most 1, such as 0.01."),
        ([str(A), str(A), "--p", "0"], "--p 0: type a number above 0"),
        ([str(A), str(A), "--p", "one"], "--p one: type a number above 0"),
        ([str(A), str(A), "--format", "csv"], "invalid choice: 'csv'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(arguments: list[str], text: str, mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    write_run(A, [0]), write_run(B, [0], status="failed")
    for number, swept in ((1, {"seed": [0]}), (2, {"model": ["mlp"]}), (3, {"seed": [1]})):
        write(write_sweep(Path(f"outputs/sweeps/train/v00{number}"), swept) / "0")
    ended = mi_run("diff", *arguments)
    assert (ended.status, ended.out) == (2, "") and text in ended.err and ended.err.count("\n") == 1, ended.err


def test_real_runs_of_one_command_are_equal(mi_run: Callable[..., Ended]) -> None:
    tiny = ("dataset=mod_add", "dataset.train_size=32", "dataset.test_size=16", "training.epochs=1", "seed=641")
    first, second = (mi_run("experiment=ablation", "model=mlp", *tiny).folder for _ in range(2))
    ended = mi_run("diff", str(first), str(second))
    assert ended.status == 0 and ended.out.count("\n") == 1, ended.out
    assert re.fullmatch(r"equal in \d+ numbers and \d tables, config, code and weights: no metric differs\n", ended.out)
    other = mi_run("experiment=ablation", "model=mlp", *tiny, "training.learning_rate=0.1").folder
    assert mi_run("diff", str(first), str(other)).status == 1


# --- which differences count ---------------------------------------------------------------------------------------


def judged(ended: Ended) -> dict[str, tuple[bool, str]]:
    """Name → whether it counts, and the sentence that says why, of the metrics and tables that differ."""
    sections(ended)
    content = json.loads(ended.out)
    return {one["name"]: (one["counts"], one["line"]) for one in content["judged"] if one["differs"]}


def test_a_difference_of_accuracy_counts_if_mcnemars_test_says_so(mi_run: Callable[..., Ended]) -> None:
    """Eight of 20 examples that only A answers correctly: p = 2 · (1/2)⁸ = 0.0078; two of 20: p = 0.5."""
    mi_run("--version")
    third = A.with_name("v003")
    write_run(A, [0] * 20), write_run(B, [0] * 12 + [1] * 8), write_run(third, [0] * 18 + [1] * 2)

    def status(other: Path, *options: str) -> int:
        return mi_run("diff", str(A), str(other), *options).status

    assert (status(B), status(third)) == (1, 0)
    assert (status(B, "--p", "0.001"), status(B, "--p", "0.01"), status(third, "--p", "0.6")) == (0, 1, 1)
    # A bound that names the metric holds in place of its test; one of all metrics as well, unless --p is typed.
    assert (status(B, "--tolerance", "accuracy=0.5"), status(third, "--tolerance", "accuracy=0.01")) == (0, 1)
    assert (status(third, "--tolerance", "0.01"), status(third, "--tolerance", "0.01", "--p", "0.05")) == (1, 0)
    assert status(B, "--tolerance", "0.9", "--p", "0.05") == 1
    assert status(B, "--tolerance", "accuracy=0.5", "--p", "0.05") == 0
    far, near = (judged(mi_run("diff", str(A), str(other), "--format", "json")) for other in (B, third))
    assert far["accuracy"] == (
        True,
        "accuracy: A 1, B 0.6, difference −0.4; McNemar's exact test over 20 test examples: p = 0.0078, below 0.05",
    )
    assert near["accuracy"] == (
        False,
        "accuracy: A 1, B 0.9, difference −0.1; McNemar's exact test over 20 test examples: p = 0.5, not below 0.05",
    )
    # Rows of tables follow from the two networks, which a test doesn't tell apart.
    assert near["table metrics"][0] is False
    out = mi_run("diff", str(A), str(third)).out
    assert out.endswith("\nno metric differs so that it counts: none has a bound or a test that says so\n")


def test_rows_of_tables_count_unless_the_networks_are_two_that_a_test_compares(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    rows = [{"all": 0.95, "null": null} for null in (0.5, 0.6)]
    first = write_run(A, [0] * 19 + [1], rows=rows[0])
    same = write_run(A.with_name("v002"), [0] * 19 + [1], rows=rows[1])
    other = write_run(A.with_name("v003"), [1] + [0] * 19, rows=rows[1])  # equally accurate, on other examples
    weights = {"checkpoint": {"from": "training", "path": None, "sha256": "ab"}}
    trained = [
        write_run(A.with_name(f"v00{n}"), [0] * 20, rows=row, **weights) for n, row in ((4, rows[0]), (5, rows[1]))
    ]
    weights = {"checkpoint": {"from": "training", "path": None, "sha256": "cd"}}
    again = write_run(A.with_name("v006"), [0] * 20, rows=rows[1], **weights)
    found = [
        mi_run("diff", str(one), str(another)).status
        for one, another in ((first, same), (first, other), trained, (trained[0], again))
    ]
    assert found == [1, 0, 1, 0]
    # A bound on what the rows measure is a bound on them.
    assert mi_run("diff", str(first), str(other), "--tolerance", "accuracy=0.01").status == 1
    assert mi_run("diff", str(first), str(other), "--tolerance", "accuracy=0.2").status == 0


def test_a_number_that_the_predictions_do_not_give_has_no_test(mi_run: Callable[..., Ended]) -> None:
    """Its name is right, its value isn't: a test of other numbers is none of these."""
    mi_run("--version")
    write_run(A, [0] * 20, metrics={"accuracy": 0.7}), write_run(B, [0] * 19 + [1], metrics={"accuracy": 0.6})
    counts, line = judged(mi_run("diff", str(A), str(B), "--format", "json"))["accuracy"]
    assert counts and line == "accuracy: A 0.7, B 0.6, difference −0.1; it has no test, so any difference counts"


def test_classes_conditions_and_losses_have_tests_of_their_own(mi_run: Callable[..., Ended]) -> None:
    """Two labels, an ablation with two draws; the losses are cross-entropies, computed here by hand."""
    from scipy.stats import ttest_rel

    mi_run("--version")
    n, conditions = 8, [("none", "none", 1), ("relu", "zero", 1), ("relu", "zero", 2)]
    keys = {**TOLD["keys"], "predictions": ["target", "method", "example"]}
    logits: dict[Path, dict[tuple[str, str, int], list[float]]] = {
        A: {conditions[0]: [1.0] * n, conditions[1]: [0.5] * n, conditions[2]: [0.25, -0.25] * 4},
        B: {conditions[0]: [1.0] * 4 + [-1.0] * 4, conditions[1]: [-0.5, 0.7] * 4, conditions[2]: [-1.0] * n},
    }
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    means: dict[Path, dict[str, list[float]]] = {}
    for folder, by_condition in logits.items():
        frames, of_examples = [], {name: [[0.0, 0.0] for _ in labels] for name in ("none", "relu")}
        for (target, method, repeat), margins in by_condition.items():
            # The margin is the logit of the label minus that of the other class.
            answers = [label if margin > 0 else 1 - label for label, margin in zip(labels, margins, strict=True)]
            table = {"target": target, "method": method, "repeat": repeat, "example": range(n), "label": labels}
            outputs = [
                [margin, 0.0] if label == 0 else [0.0, margin] for label, margin in zip(labels, margins, strict=True)
            ]
            frame = pd.DataFrame({**table, "answer": answers})
            frames.append(frame.assign(logit_0=[row[0] for row in outputs], logit_1=[row[1] for row in outputs]))
            draws = 1 if target == "none" else 2
            for place, margin in enumerate(margins):
                of_examples[target][place][0] += (margin > 0) / draws
                of_examples[target][place][1] += math.log(1 + math.exp(-margin)) / draws
        accuracy, loss = ({name: [row[side] for row in of_examples[name]] for name in of_examples} for side in (0, 1))
        metrics = {
            "accuracy": fmean(accuracy["none"]), "loss": fmean(loss["none"]),
            "accuracy/one": fmean(accuracy["none"][4:]),
            "accuracy/relu/zero": fmean(accuracy["relu"]), "loss/relu/zero": fmean(loss["relu"]),
        }  # fmt: skip
        means[folder] = {"loss": loss["none"], "accuracy/relu/zero": accuracy["relu"], "loss/relu/zero": loss["relu"]}
        data = {"class_names": ["zero", "one"]}
        write_run(folder, [0], metrics=metrics, keys=keys, repeats=["repeat"], outputs="logits", data=data)
        pd.concat(frames).to_parquet(folder / "predictions.parquet", index=False)
    rows = sections(mi_run("diff", str(A), str(B), "--format", "json"))["metrics"]["rows"]
    found = {row["metric"]: row["p"] for row in rows}
    expected = {name: ttest_rel(means[B][name], means[A][name]).pvalue for name in means[A]}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    # Only A answers four examples correctly, and all of these are of the second class: 2 · (1/2)⁴.
    assert found["accuracy"] == found["accuracy/one"] == 0.125


def test_many_networks_are_judged_by_their_seeds(mi_run: Callable[..., Ended]) -> None:
    """Differences 0.1, 0.2, 0.1 have p = 0.057, by Student's test; 0.1, 0.11, 0.1 less; equal ones have no test."""
    mi_run("--version")
    before = [0.5, 0.625, 0.75]
    others = {"wide": [0.6, 0.825, 0.85], "near": [0.6, 0.735, 0.85], "equal": [0.75, 0.875, 1.0]}
    folders = {}
    for number, (name, accuracies) in enumerate({"first": before, **others}.items(), 1):
        folder = folders[name] = A.with_name(f"v{number:03}")
        spread = {"accuracy_sd": stdev(accuracies), "accuracy": fmean(accuracies)}
        write_run(folder, [0], keys={"metrics": ["seed", "split"]}, metrics=spread)
        rows = [{"seed": seed, "split": "test", "accuracy": value} for seed, value in enumerate(accuracies)]
        pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    found = {
        name: judged(mi_run("diff", str(folders["first"]), str(folders[name]), "--format", "json")) for name in others
    }
    assert [found[name]["accuracy"][0] for name in others] == [False, True, True]
    assert "Student's paired test over 3 seeds: p = 0.057, not below 0.05" in found["wide"]["accuracy"][1]
    assert "it has no test, so any difference counts" in found["equal"]["accuracy"][1]
    # There is no test of a spread; where the number that it describes has one, it doesn't count.
    counts, line = found["wide"]["accuracy_sd"]
    assert not counts and "it has no test; it describes accuracy, which has one, so it doesn't count" in line
    rows = sections(mi_run("diff", str(folders["first"]), str(folders["wide"]), "--format", "json"))["metrics"]["rows"]
    assert {row["metric"]: row["p"] is None for row in rows} == {"accuracy": False, "accuracy_sd": True}
    # Of other seeds the numbers of the summary are not those that the pairs compare.
    for name, seeds in (("first", range(3)), ("wide", range(1, 4))):
        record = json.loads((folders[name] / "run.json").read_text())
        record["starts"] = {str(seed): str(seed) for seed in seeds}
        (folders[name] / "run.json").write_text(json.dumps(record))
    of_others = judged(mi_run("diff", str(folders["first"]), str(folders["wide"]), "--format", "json"))
    assert "it has no test, so any difference counts" in of_others["accuracy"][1]


def test_one_job_of_each_sweep_is_judged_by_its_test_examples(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    first, second, third = (Path(f"outputs/sweeps/train/v00{number}") for number in (1, 2, 3))
    for sweep, wrong in ((first, 0), (second, 2), (third, 8)):
        write_sweep(sweep, {"model": ["mlp", "cnn"]})
        for number in (0, 1):
            write_run(sweep / str(number), [0] * (20 - wrong * (1 - number)) + [1] * wrong * (1 - number))
    assert mi_run("diff", str(first), str(second)).status == 0
    found = judged(mi_run("diff", str(first), str(third), "--format", "json"))
    assert (
        list(found) == ["accuracy model=mlp"] and "over 20 test examples: p = 0.0078" in found["accuracy model=mlp"][1]
    )


def test_another_machine_is_said_and_is_no_failure(mi_run: Callable[..., Ended]) -> None:
    """Its numbers without a test don't count, unless a bound says so; equal ones are one line more."""
    mi_run("--version")
    processors = {1: ("a", 0.30), 2: ("b", 0.31), 3: ("a", 0.31), 4: ("b", 0.30)}
    runs = {
        number: write_run(A.with_name(f"v00{number}"), [0] * 10, metrics={"loss": loss}, processor=processor)
        for number, (processor, loss) in processors.items()
    }
    other, same = (mi_run("diff", str(runs[1]), str(runs[number])) for number in (2, 3))
    said = "B is of another machine: processor a in A and b in B; trained networks differ by that alone, which is no"
    assert other.status == 0 and " ".join(other.out.split()).startswith(said)
    assert same.status == 1 and "another machine" not in same.out
    for bound, status in (("loss=0.001", 1), ("0.001", 1), ("loss=0.05", 0)):
        assert mi_run("diff", str(runs[1]), str(runs[2]), "--tolerance", bound).status == status, bound
    ended = mi_run("diff", str(runs[1]), str(runs[4]))
    assert ended.status == 0 and "another machine" in ended.out
    # A number that isn't finite any more is a failure on whatever machine.
    broken = write_run(A.with_name("v005"), [0] * 10, metrics={"loss": None}, processor="b")
    assert mi_run("diff", str(runs[1]), str(broken)).status == 1


def test_equal_runs_are_one_line(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    (
        write_run(A, [0] * 10, metrics={"loss": 0.3, "accuracy": 1}),
        write_run(B, [0] * 10, metrics={"loss": 0.31, "accuracy": 1}),
    )
    assert (
        mi_run("diff", str(A), str(A)).out
        == "equal in 2 numbers and 1 table, config, code and weights: no metric differs\n"
    )
    assert mi_run("diff", str(A), str(A), "--format", "markdown").out.count("\n") == 1
    within = mi_run("diff", str(A), str(B), "--tolerance", "loss=0.1").out
    assert (
        within.endswith("weights, but for differences within their bounds: no metric differs\n")
        and within.count("\n") == 1
    )
    assert "answers: B and A" in mi_run("diff", str(A), str(A), "--all").out


# --- for CI systems --------------------------------------------------------------------------------------------------


def test_junit_has_a_test_case_for_each_metric_and_table(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    name = 'accuracy/<&"\x1b'
    write_run(A, [0] * 20, metrics={"accuracy": 1.0, name: 0.5, "loss": 0.25}, processor="a")
    write_run(B, [0] * 12 + [1] * 8, metrics={"accuracy": 0.6, name: 0.4, "loss": 0.25}, processor="b")
    ended = mi_run("diff", str(A), str(B), "--format", "junit")
    assert ended.status == 1
    suites = ElementTree.fromstring(ended.out)
    (suite,) = suites
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["accuracy", 'accuracy/<&"\\u001b', "loss", "table metrics"]
    assert {case.get("classname") for case in cases} == {"mi-run diff"}
    assert (suite.get("tests"), suite.get("failures")) == (suites.get("tests"), suites.get("failures")) == ("4", "1")
    failure = cases[0].find("failure")
    assert failure is not None and "p = 0.0078, below 0.05" in str(failure.get("message"))
    assert "it has no test" in str(cases[1].findtext("system-out"))  # of another machine
    assert "B is of another machine" in str(suite.findtext("system-out"))
    equal = ElementTree.fromstring(mi_run("diff", str(A), str(A), "--format", "junit").out)
    assert [case.get("name") for case in equal.iter("testcase")] == [case.get("name") for case in cases]
    assert equal.get("failures") == "0" and equal.find(".//failure") is None
    several = ElementTree.fromstring(mi_run("diff", str(A), str(A), str(B), "--format", "junit").out)
    assert {case.get("classname") for case in several.iter("testcase")} == {"mi-run diff.B", "mi-run diff.C"}


def test_github_gets_an_error_for_what_counts_and_a_notice_for_what_is_said(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    write_run(A, [0] * 20, metrics={"accuracy": 1.0, "n/a:b,50%": 1}, processor="a")
    write_run(B, [0] * 12 + [1] * 8, metrics={"accuracy": 0.6, "n/a:b,50%": 2}, processor="b")
    ended = mi_run("diff", str(A), str(B), "--format", "github")
    lines = ended.out.splitlines()
    assert ended.status == 1 and lines[-1] == "the metrics differ"
    assert lines[0].startswith("::error title=accuracy::accuracy: A 1, B 0.6") and "p = 0.0078" in lines[0]
    assert lines[1].startswith("::notice title=n/a%3Ab%2C50%25::n/a:b,50%25: A 1, B 2, difference 1; it has no test")
    assert lines[-2].startswith("::notice title=mi-run diff::B is of another machine")
    equal = mi_run("diff", str(A), str(A), "--format", "github")
    assert equal.status == 0 and not equal.out.startswith("::") and equal.out.count("\n") == 1


def test_github_shows_ten_errors_and_names_the_others(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    for folder in (A, B):
        write_run(folder, [0] * 10, metrics={f"n/{place}": place + (folder == B) for place in range(12)})
    lines = mi_run("diff", str(A), str(B), "--format", "github").out.splitlines()
    assert len(lines) == 11 and lines[9] == "::error title=mi-run diff::3 more: n/9, n/10, n/11"


# --- the tests -----------------------------------------------------------------------------------------------------


def test_mcnemars_exact_test_counts_every_outcome() -> None:
    """The share of all ways to assign the examples to the two networks that are at least as uneven."""
    for first, second in itertools.product(range(5), repeat=2):
        ways = [sum(bits) for bits in itertools.product((0, 1), repeat=first + second)]
        uneven = sum(abs(2 * way - first - second) >= abs(first - second) for way in ways) / len(ways)
        assert PairedAnswers(7, first, second, 3).p == pytest.approx(uneven)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [((59, 16, 6, 80), -0.1186, -0.0046), ((59, 6, 16, 80), 0.0046, 0.1186)],
)
def test_newcombes_interval_as_another_program_has_it(counts: tuple[int, ...], low: float, high: float) -> None:
    """The R package contingencytables, Newcombe_square_and_add_CI_paired_2x2, for the counts 59, 6, 16, 80."""
    assert PairedAnswers(*counts).interval == pytest.approx((low, high), abs=5e-5)


def test_newcombes_interval_covers_the_true_difference() -> None:
    """All tables of 15 examples, with their probabilities: the interval contains the difference in about 95 %."""
    n = 15
    for shares in ((0.5, 0.2, 0.1, 0.2), (0.7, 0.1, 0.1, 0.1), (0.25, 0.25, 0.25, 0.25), (0.6, 0.05, 0.3, 0.05)):
        covered = total = 0.0
        for both, first, second in itertools.product(range(n + 1), repeat=3):
            neither = n - both - first - second
            if neither < 0:
                continue
            counts = (both, first, second, neither)
            ways = math.factorial(n) / math.prod(map(math.factorial, counts))
            probability = ways * math.prod(share**count for share, count in zip(shares, counts, strict=True))
            low, high = PairedAnswers(*counts).interval
            total += probability
            covered += probability * (low <= shares[2] - shares[1] <= high)
        assert total == pytest.approx(1) and 0.93 < covered < 0.995, (shares, covered)


def test_edges_of_the_paired_tests() -> None:
    nothing = PairedAnswers(0, 0, 0, 0)
    assert nothing.p == 1 and nothing.interval == (-1, 1) and math.isnan(nothing.accuracies[0])
    low, high = PairedAnswers(9, 0, 0, 0).interval
    assert low < 0 < high and low == pytest.approx(-high)
    assert PairedValues.of([0.2]) == PairedValues(1, 0.2)
    assert PairedValues.of([0.0, 0.0]).p == 1.0 and PairedValues.of([0.5, 0.5]).p is None
    assert math.isnan(PairedValues.of([0.5, math.nan]).mean)


def test_students_paired_test_agrees_with_scipys() -> None:
    from scipy.stats import ttest_rel

    before, after = [0.5, 0.61, 0.72, 0.8], [0.55, 0.6, 0.8, 0.93]
    ours = PairedValues.of([b - a for a, b in zip(before, after, strict=True)])
    theirs = ttest_rel(after, before)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert [ours.low, ours.high] == pytest.approx(list(theirs.confidence_interval(0.95)))


# --- words for versions ----------------------------------------------------------------------------------------------


def test_words_for_versions_belong_to_the_folder_beside_them_or_to_the_newest_run(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    write_run(A, [0] * 6 + [1] * 4)
    write_run(B, [0] * 9 + [1])
    other = write_run(Path("outputs/train/other-mlp/v001"), [0] * 10)
    os.utime(other / "run.json", (1, 1))
    (A.parent / "latest").symlink_to("v002")
    (A.parent / "passed").symlink_to("v001")
    for typed in (["passed", "latest"], ["previous", "latest"], [f"{A.parent}/latest~1", "latest"], [str(A), "latest"]):
        found = sections(mi_run("diff", *typed, "--format", "json"))
        assert [row["folder"] for row in found["runs"]["rows"]] == [str(A), str(B)], typed


def test_a_word_that_means_nothing_says_what_to_type(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("diff", "passed", "latest")
    assert ended.status == 2
    assert "there is no run in outputs. Type a folder, as in mi-run diff FOLDER/passed latest." in ended.err
    write_run(A, [0] * 10)
    ended = mi_run("diff", "passed", str(A))
    assert ended.status == 2
    assert "no run in outputs/train/mnist-mlp has met bounds yet. Give a run some: expect=" in ended.err
    (A.parent / "latest").symlink_to("v001")
    ended = mi_run("diff", "previous", str(A))
    assert ended.status == 2
    assert "has no versions that are done before latest" in ended.err


def test_words_mean_versions_of_sweeps_too(mi_run: Callable[..., Ended]) -> None:
    mi_run("--version")
    parent = Path("outputs/sweeps/train")
    for number, status in ((1, "done"), (2, "failed"), (3, "done")):
        write(write_sweep(parent / f"v00{number}", {"seed": [0]}) / "0", status=status)
    (parent / "latest").symlink_to("v003")
    ended = mi_run("diff", str(parent / "previous"), "latest")
    assert ended.status == 0 and str(parent / "v001") in mi_run("diff", str(parent / "previous"), "latest", "--all").out
    ended = mi_run("diff", str(parent / "latest~2"), "latest")
    assert ended.status == 2 and f"{parent} has 1 version that is done before latest" in ended.err

"""A sweep is one result: its tables, its plan, what it survives, how it goes on."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mi_runner.config.engine_schemas import JoblibLauncher, SubmititLocalLauncher
from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import ConfigError
from mi_runner.runs import runner, states
from mi_runner.runs.plan import Job, Plan
from mi_runner.runs.record import RunRecord
from mi_runner.runs.run_folder import RunFolder
from mi_runner.sweeps import clean_state, engines, sweep_tables, worker
from mi_runner.sweeps import sweep as sweeps
from mi_runner.sweeps.engines.engine import Running, shares, spread
from mi_runner.sweeps.engines.in_this_process import HasEnded, InThisProcess
from mi_runner.sweeps.engines.submitit import Submitit
from mi_runner.sweeps.sweep_plan import combinations, read_command, read_plan
from mi_runner.sweeps.sweep_result import is_done
from mi_runner.sweeps.sweep_tables import all_rows, ended, headline, metrics_by_values, summary, summary_rows
from mi_runner.sweeps.worker import Ending, Task
from tests.conftest import REPOSITORY, Ended
from tests.forked import Forked
from tests.launched import ended as ended_process

TINY = ("dataset=mod_add", "dataset.train_size=64", "dataset.test_size=32", "training.batch_size=16")
MiRun = Callable[..., Ended]


def table(folder: Path, name: str = "sweep") -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def statuses(folder: Path) -> dict[int, str]:
    return {job.number: states.read_state(folder / str(job.number)).status for job in read_plan(folder).jobs}


def started(folder: Path) -> dict[str, str]:
    """Job → the digest of the run.json that it left, which no other run of the job could leave."""
    return {path.parent.name: path.read_text() for path in folder.glob("*/run.json")}


@pytest.fixture(scope="module")
def a_sweep_of_two_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where it was started, by a process of its own."""
    at = tmp_path_factory.mktemp("two_seeds")
    done = ended_process(Forked("-m", *TINY, "training.epochs=1", "seed=0,1", cwd=at))
    assert done.status == 0, done.err
    return at


@pytest.fixture
def two_seeds(a_sweep_of_two_seeds: Path, tmp_path: Path) -> Path:
    """The folder of a sweep over seeds 0 and 1 that is done, with one epoch each; a copy that the test may change."""
    shutil.copytree(a_sweep_of_two_seeds, tmp_path, dirs_exist_ok=True, symlinks=True)
    return Path("outputs/sweeps/train/v001")


# --- one table -----------------------------------------------------------------------------------------------------


def test_a_sweep_is_one_table_of_every_row_of_every_job(mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, "training.epochs=1,2", "seed=3,4")
    assert done.status == 0 and str(done.folder) == "outputs/sweeps/train/v001"
    rows = table(done.folder)
    assert list(rows[0]) == [
        *("job", "status", "training.epochs", "seed"),
        *("split", "class", "n", "accuracy", "accuracy_low", "accuracy_high", "loss"),
        *("error", "code", "folder"),
    ]
    expected = []
    for job, (epochs, seed) in enumerate([("1", "3"), ("1", "4"), ("2", "3"), ("2", "4")]):
        with (done.folder / str(job) / "metrics.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                of_job = {"job": str(job), "status": "done", "training.epochs": epochs, "seed": seed}
                expected.append({**of_job, **row, "error": "", "folder": str(done.folder / str(job))})
    assert [{key: value for key, value in row.items() if key != "code"} for row in rows] == expected
    assert len(expected) == 16 and {len(row["code"]) for row in rows} == {12}
    assert {path.name for path in (done.folder / "figures").iterdir()} == {"sweep.png", "sweep_rows.png", "captions.md"}
    shown = [line for line in done.out.splitlines() if line.startswith("│")]
    assert len(shown) == 8 and "95 % interval" in done.out.splitlines()[0]
    assert "job 3 (4 of 4) training.epochs=2 seed=4: done" in done.err and "epoch 1/" not in done.err


def test_the_summary_is_over_seeds(mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, "training.epochs=1,2", "seed=range(0,3)")
    summed = table(done.folder, "sweep_summary")
    assert list(summed[0]) == [
        *("training.epochs", "split", "class", "measure"),
        *("n", "mean", "sd", "low", "high", "min", "max"),
    ]
    assert len(summed) == 2 * 4 * 2  # epochs × rows of a job × measures: accuracy and loss
    rows = [row for row in table(done.folder) if (row["training.epochs"], row["split"]) == ("2", "train")]
    values = [float(row["loss"]) for row in rows]
    mean = sum(values) / 3
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / 2)
    (row,) = [
        row for row in summed if [row[key] for key in ("training.epochs", "split", "measure")] == ["2", "train", "loss"]
    ]
    # Student's t for two degrees of freedom, from a printed table; a loss has its interval on the logarithm's scale.
    factor = math.exp(4.302652729911275 * sd / math.sqrt(3) / mean)
    assert [float(row[key]) for key in ("n", "mean", "sd", "low", "high", "min", "max")] == pytest.approx(
        [3, mean, sd, mean / factor, mean * factor, min(values), max(values)], rel=1e-9
    )


def test_where_a_job_lacks_a_class_no_other_takes_its_place(mi_run: MiRun) -> None:
    """Of modulus 11 twenty test examples have not every class, and which they lack differs from seed to seed."""
    few = ("dataset=mod_add", "dataset.modulus=11", "dataset.test_size=20", "training.epochs=1")
    done = mi_run("-m", *few, "seed=0,1")
    assert done.status == 0, done.err
    jobs = [
        {(row["split"], row["class"]): float(row["accuracy"]) for row in table(done.folder / str(job), "metrics")}
        for job in (0, 1)
    ]
    assert jobs[0].keys() != jobs[1].keys()
    found = {
        (row["split"], row["class"]): (int(row["n"]), float(row["mean"]))
        for row in table(done.folder, "sweep_summary")
        if row["measure"] == "accuracy"
    }
    assert found.keys() == jobs[0].keys() | jobs[1].keys()
    for name, (n, mean) in found.items():
        values = [job[name] for job in jobs if name in job]
        assert n == len(values) and mean == pytest.approx(sum(values) / n), name


def hand_made(sweep: Path, jobs: list[tuple[dict[str, Any], dict[str, Any], str | None]]) -> Plan:
    """A sweep's folder as its jobs would have left it: swept values, run.json, metrics.csv of each."""
    planned = []
    for number, (swept, record, metrics) in enumerate(jobs):
        planned.append(Job(number, (), swept, f"hash {number}"))
        folder = RunFolder(sweep / str(number))
        folder.path.mkdir(parents=True)
        if record:
            folder.amend_record(**{"versions": {"code": "c0de"}, **record})
        if metrics is not None:
            (folder.path / "metrics.csv").write_text(metrics)
    return Plan("mi-run -m", (), tuple(jobs[0][0]), {}, "c0de", tuple(planned), ())


DONE = {
    "status": "done",
    "keys": {"metrics": ["split", "target"]},
    "repeats": ["repeat"],
    "measures": {"accuracy": [0, 1], "kept": [0, None], "change": [None, None]},
}


def summed(plan: Plan, sweep: Path) -> list[dict[str, Any]]:
    jobs = ended(plan, sweep)
    return summary_rows(summary(jobs, all_rows(jobs), plan.swept))


def test_rows_are_matched_by_their_keys_and_repeats_are_averaged_first(tmp_path: Path) -> None:
    """Seed 1 has its rows in another order, three repeats for two, and none of `add`."""
    first = "split,target,repeat,n,kept,accuracy\nx,add,1,10,3,0.9\nx,relu,1,10,1,0.1\nx,relu,2,10,3,0.3\n"
    second = "split,target,repeat,n,kept,accuracy\nx,relu,3,8,6,0.7\nx,relu,1,8,6,0.6\nx,relu,2,8,6,0.5\n"
    plan = hand_made(
        tmp_path,
        [
            ({"model": "a", "seed": 0}, DONE, first),
            ({"model": "a", "seed": 1}, DONE, second),
            ({"model": "b", "seed": 0}, DONE, first),
        ],
    )
    rows = summed(plan, tmp_path)
    assert [list(row)[:4] for row in rows] == [["model", "split", "target", "measure"]] * 8
    found = [(row["model"], row["target"], row["measure"], row["n"], pytest.approx(row["mean"])) for row in rows]
    assert found == [
        *(("a", "add", "accuracy", 1, 0.9), ("a", "add", "kept", 1, 3.0)),
        *(("a", "relu", "accuracy", 2, 0.4), ("a", "relu", "kept", 2, 4.0)),
        *(("b", "add", "accuracy", 1, 0.9), ("b", "add", "kept", 1, 3.0)),
        *(("b", "relu", "accuracy", 1, 0.2), ("b", "relu", "kept", 1, 2.0)),
    ]
    assert all(row["low"] is None for row in rows if row["n"] == 1)


TABLES = st.lists(
    st.dictionaries(
        st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(1, 2)),
        st.tuples(st.sampled_from(["", "0.5", "1.0", "0.25", "nan"]), st.sampled_from(["", "-3", "2", "wrong"])),
        max_size=8,
    ),
    min_size=1,
    max_size=4,
)
"""For each job: split, target and repeat of a row → the texts of its accuracy and its change."""


@settings(max_examples=60, deadline=None)
@given(TABLES, st.randoms(use_true_random=False))
def test_every_row_of_the_summary_is_a_group_by_of_pandas(
    jobs: list[dict[tuple[str, int, int], tuple[str, str]]], order: Any
) -> None:
    """Rows in any order, some keys missing in some jobs, measures that are empty, no number, or words."""
    with TemporaryDirectory() as folder:
        texts = []
        for rows in jobs:
            lines = [",".join(map(str, [*key, *numbers])) for key, numbers in rows.items()]
            order.shuffle(lines)
            texts.append("\n".join(["split,target,repeat,accuracy,change", *lines, ""]))
        plan = hand_made(Path(folder), [({"seed": seed}, DONE, text) for seed, text in enumerate(texts)])
        found = {
            (row["split"], row["target"], row["measure"]): (row["n"], row["mean"]) for row in summed(plan, Path(folder))
        }
    frame = pd.DataFrame(
        [(job, *key, *numbers) for job, rows in enumerate(jobs) for key, numbers in rows.items()],
        columns=["job", "split", "target", "repeat", "accuracy", "change"],
    ).astype({"target": str})
    long = frame.melt(["job", "split", "target", "repeat"], var_name="measure", value_name="text")
    long = long[~long["text"].isin(["", "wrong", "nan"])].assign(value=lambda rows: rows["text"].astype(float))
    names = ["split", "target", "measure"]
    of_jobs = long.groupby([*names, "job"])["value"].mean()
    expected = {name: (len(group), group.mean()) for name, group in of_jobs.groupby(level=names)}
    assert found.keys() == expected.keys()
    for name, (n, value) in expected.items():
        assert found[name] == (n, pytest.approx(value)), name


def test_jobs_that_do_not_say_what_names_their_rows_are_left_out_and_named(tmp_path: Path, mi_run: MiRun) -> None:
    metrics = "split,target,accuracy\nx,relu,0.5\n"
    of_old = {"status": "done", "metrics": {"accuracy": 0.5}}
    sweep = tmp_path / "old"
    plan = hand_made(sweep, [({"seed": s}, record, metrics) for s, record in enumerate([of_old, DONE, of_old, of_old])])
    plan.write(sweep)
    made = mi_run(f"sweep={sweep}")
    assert made.status == 0 and f"type mi-run -m resume={sweep}" in made.err
    assert "jobs 0, 2-3: run.json doesn't say which columns name the rows" in made.err
    assert [row["n"] for row in table(sweep, "sweep_summary")] == ["1"] and len(table(sweep)) == 4


def test_the_tables_of_a_sweep_in_which_everything_happened(tmp_path: Path, mi_run: MiRun) -> None:
    """Of jobs that are not done the rows that they finished are in the table, and not in the summary."""
    metrics = "split,target,accuracy\ntest,all,0.5\n"
    sweep = tmp_path / "moved"
    failed = {"status": "failed", "error": "training diverged", "exit_status": 1}
    plan = hand_made(
        sweep,
        [
            ({"seed": 0}, DONE, metrics),
            ({"seed": 1}, failed, None),
            ({"seed": 2}, {"status": "interrupted", "error": "terminated (SIGTERM)"}, metrics),
            ({"seed": 3}, {"status": "running", "pid": 2**30, "host": os.uname().nodename}, None),
            ({"seed": 4}, {}, None),
            ({"seed": 5}, {}, metrics),
            ({"seed": 6}, {**DONE, "expect_not_met": ["accuracy = 0.5, expected > 0.9"]}, metrics),
        ],
    )
    (sweep / "4" / "run.json").write_text('{"status": "do')
    shutil.rmtree(sweep / "5")
    plan.write(sweep)
    made = mi_run(f"sweep={sweep}")
    assert made.status == 1 and made.folder == sweep
    assert [(row["status"], row["split"], row["accuracy"]) for row in table(sweep)] == [
        ("done", "test", "0.5"),
        ("failed", "", ""),
        ("interrupted", "test", "0.5"),
        ("killed", "", ""),
        ("torn", "", ""),
        ("missing", "", ""),
        ("done", "test", "0.5"),
    ]
    assert [row["n"] for row in table(sweep, "sweep_summary")] == ["2"]
    assert "6 of 7 jobs are not as they should be" in made.err
    for words in (
        "training diverged",
        "terminated (SIGTERM)",
        "ended without a word",
        "is torn",
        "never began, or was",
    ):
        assert words in " ".join(made.err.split()), words
    assert "expected > 0.9" in made.err
    failed_rows = [row for row in table(sweep) if row["status"] == "failed"]
    assert [row["error"] for row in failed_rows] == ["training diverged"]


def test_columns_of_the_jobs_tables_yield_to_the_sweeps(tmp_path: Path) -> None:
    plan = hand_made(tmp_path, [({"model": "mlp", "seed": 0}, DONE, "model,job,accuracy\nclustered,x,0.5\n")])
    (row,) = all_rows(ended(plan, tmp_path))
    assert (row["model"], row["metrics.model"], row["job"], row["metrics.job"]) == ("mlp", "clustered", 0, "x")


def test_tables_are_made_again_from_the_folders_alone(mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, "training.epochs=1", "seed=0,1", "model.hidden_sizes=[4],[6]")
    names = ("sweep.csv", "sweep_summary.csv")
    before = [(done.folder / name).read_bytes() for name in names]
    for name in names:
        (done.folder / name).unlink()
    again = mi_run(f"sweep={done.folder}")
    assert again.status == 0 and again.out == done.out
    assert [(done.folder / name).read_bytes() for name in names] == before
    assert {row["model.hidden_sizes"] for row in table(done.folder)} == {"[4]", "[6]"}


def test_what_is_no_sweep_says_so(mi_run: MiRun, tmp_path: Path) -> None:
    for arguments in (("sweep=nowhere",), ("-m", *TINY, "resume=nowhere")):
        wrong = mi_run(*arguments)
        assert wrong.status == 2 and "nowhere is no folder of a sweep: sweep.json can't be read" in wrong.err
    (tmp_path / "sweep.json").write_text('{"schema_version": 1, "jobs": [{"number": 0}]}')
    assert mi_run(f"sweep={tmp_path}").status == 2
    wrong = mi_run(f"sweep={tmp_path}", "seed=1")
    assert wrong.status == 2 and "runs nothing, so it takes no seed=1" in wrong.err


def test_many_rows_are_shown_as_one_a_combination(mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, "training.epochs=range(0,12)", "seed=0", "model.hidden_sizes=[]")
    shown = [line for line in done.out.splitlines() if line.startswith("│")]
    assert len(shown) == 12 and len(table(done.folder)) == 48  # 48 rows are no screenful


# --- the command line ----------------------------------------------------------------------------------------------


def test_jobs_are_every_combination_in_hydras_order() -> None:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    line = [
        "experiment=ablation",
        "model=skip,mlp",
        "seed=range(0,3)",
        "expect={accuracy: '>0'}",
        "threads=choice(1,2)",
    ]
    command = read_command([*line, "on_error=stop"])
    ours = [list(by_key.values()) for by_key in combinations(command)]
    (hydras,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(line), None)
    plain = [[part.replace(" ", "").replace("'", "") for part in job] for job in ours]
    assert plain == [[part.replace(" ", "").replace("'", "") for part in job] for job in hydras]
    assert len(ours) == 12 and command.swept == ["model", "seed", "threads"]
    assert command.own.on_error.name == "stop"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("on_error=continue,stop",), "on_error=continue,stop: on_error is one for the whole sweep; give it one value"),
        (("output_dir=a,b",), "output_dir is one for the whole sweep"),
        (("on_error=go",), "expected one of .continue, stop."),
        (("seed=interval(0,1)",), "Add hydra/sweeper=optuna objective=accuracy"),
        (("model=glob(*)",), "can't list its values"),
        (("hydra/launcher=jobib",), "Did you mean joblib"),
        (("hydra/launcher=joblib", "hydra.launcher.n_jobs=0"), "hydra.launcher.n_jobs=0: must be at least 1"),
        (("hydra/launcher=joblib", "hydra.launcher.n_job=2"), "Allowed here: hydra.launcher.n_jobs"),
        (("hydra.launcher.n_jobs=2",), "hydra/launcher=ray has it: add one of them to the command"),
        (("hydra/sweeper=optuna", "seed=0,1"), "type objective=accuracy"),
        (("hydra/sweeper=optuna", "seed=0,1", "experiment=iit"), "type objective=iia"),
        (("seed=interval(0,1)", "experiment=decoder"), "Add hydra/sweeper=optuna objective=accuracy/all"),
        (("hydra/sweeper=optuna", "objective=accuracy"), "has nothing to search"),
        (("hydra/sweeper=optuna", "objective=acuracy", "seed=0,1"), "Did you mean accuracy"),
        (("seed=0,1", "training.epoch=2"), "Did you mean training.epochs"),
        (("seed=0,1", "expect={acuracy: '>0'}"), "Did you mean accuracy"),
        (("seed=0,1", "resume=outputs"), "is no folder of a sweep"),
        (("seed=0,1", "seeds=3"), "seed=0,1 repeats jobs over seeds: leave one of the two out"),
        (("--config-name", "x"), "type --config-dir FOLDER experiment=NAME"),
    ],
    ids=lambda part: part[0] if isinstance(part, tuple) else "",
)
def test_mistakes_are_found_before_the_first_job(arguments: tuple[str, ...], text: str, mi_run: MiRun) -> None:
    ended = mi_run("-m", *TINY, *arguments)
    assert ended.status == 2 and ended.out == "", ended.err
    assert text in ended.err.replace("[", ".").replace("]", ".") or text in ended.err, ended.err
    assert "Traceback" not in ended.err and not Path("outputs").exists()


def test_a_folder_of_configs_goes_with_a_sweep(mi_run: MiRun, tmp_path: Path) -> None:
    (tmp_path / "mine/training").mkdir(parents=True)
    (tmp_path / "mine/training/long.yaml").write_text("defaults: [/schema/training@_here_]\nepochs: 4\n")
    done = mi_run("-m", "--config-dir", "mine", *TINY, "training=long", "seed=0,1")
    assert done.status == 0, done.err
    assert "epochs: 4" in (done.folder / "1/config.yaml").read_text()


def test_equal_jobs_run_once(mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, "training.epochs=1", "seed=5,5,6")
    assert [job.swept for job in read_plan(done.folder).jobs] == [{"seed": 5}, {"seed": 6}]
    assert sorted({row["job"] for row in table(done.folder)}) == ["0", "1"]


def test_keys_of_sweeps_change_no_hash_and_no_job(mi_run: MiRun) -> None:
    alone = mi_run(*TINY, "training.epochs=1", "on_error=stop", "skip_invalid=true", "objective=accuracy")
    plain = mi_run(*TINY, "training.epochs=1")
    swept = mi_run("-m", *TINY, "training.epochs=1", "on_error=stop", "objective=loss")
    hashes = {ended.record["config_hash"] for ended in (alone, plain)}
    assert hashes == {json.loads((swept.folder / "0/run.json").read_text())["config_hash"]}


def test_the_table_that_is_printed_has_what_the_experiment_compares(tmp_path: Path) -> None:
    """Of discovery the regret and percentile of each method in `summary`, not the accuracy of circuits of each size."""
    keys = {"metrics": ["method", "k"], "summary": ["method"]}
    measures = {name: [0, 1] for name in ("accuracy", "regret_mse", "percentile")}
    record = {**DONE, "experiment": "discovery", "keys": keys, "measures": measures, "metrics": {"accuracy": 0.99}}
    rows = "method,k,accuracy,regret_mse,percentile\n" + "".join(f"{m},{k},0.5,9,9\n" for m in "ab" for k in (0, 1))
    plan = hand_made(tmp_path, [({"seed": seed}, record, rows) for seed in (0, 1)])
    for seed in (0, 1):
        table = f"method,regret_mse,percentile\na,0.{seed + 1},0.5\nb,0.4,\n"
        (tmp_path / f"{seed}/summary.csv").write_text(table)
    done = ended(plan, tmp_path)
    title, shown = headline(done, summary(done, all_rows(done), plan.swept), None)
    assert title == "regret_mse, percentile: mean over seeds, 95 % interval"
    assert [(row["method"], row["n"], row["regret_mse"], row["percentile"]) for row in shown] == [
        ("a", 2, pytest.approx(0.15), 0.5), ("b", 2, 0.4, None),
    ]  # fmt: skip
    assert all({*row} >= {"regret_mse_low", "percentile_high"} and "accuracy" not in row for row in shown)


def test_the_table_that_is_printed_counts_the_seeds_of_each_measure(tmp_path: Path) -> None:
    """Of three seeds two have a percentile: n says 3, percentile_n says 2; in the summary's metrics likewise."""
    keys, measures = {"metrics": ["method"]}, {name: [0, 1] for name in ("accuracy", "regret_mse", "percentile")}
    record = {**DONE, "experiment": "discovery", "keys": keys, "measures": measures}
    percentiles = ("0.5", "", "0.1")
    jobs = [
        (
            {"seed": seed},
            {**record, "metrics": {"regret_mse": 0.2} | ({"percentile": float(text)} if text else {})},
            f"method,regret_mse,percentile\na,0.2,{text}\nb,0.2,{text}\n",
        )
        for seed, text in enumerate(percentiles)
    ]
    plan = hand_made(tmp_path, jobs)
    done = ended(plan, tmp_path)
    for objective, rows in ((None, 2), ("percentile", 1)):
        _, shown = headline(done, summary(done, all_rows(done), plan.swept), objective)
        assert len(shown) == rows
        for row in shown:
            assert (row["n"], row["percentile_n"], row["percentile"]) == (3, 2, pytest.approx(0.3))
            assert "regret_mse_n" not in row


def test_few_seeds_are_shown_themselves_and_no_interval_leaves_0_to_1(tmp_path: Path) -> None:
    """Three accuracies whose Student's interval is −0.115 to 1.4, and five others."""
    from mi_runner.sweeps import sweep_figures

    metrics = "split,target,accuracy\nx,all,{0}\nx,b,{0}\n"
    accuracies = {"a": (0.95, 0.92, 0.3), "b": (1.0, 1.0, 0.9, 0.8, 1.0)}
    jobs = [
        ({"model": model, "seed": seed}, {**DONE, "metrics": {"accuracy": value}}, metrics.format(value))
        for model, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    plan = hand_made(tmp_path, jobs)
    done = ended(plan, tmp_path)
    of_rows = summary(done, all_rows(done), plan.swept)
    _, shown = headline(done, of_rows, None)
    assert [row["of each seed"] for row in shown] == ["0.9500 0.9200 0.3000"] * 2 + [None] * 2
    by_rows = sweep_figures.by_row(of_rows, ["model", "code"])
    assert by_rows is not None
    by_values = sweep_figures.by_value(metrics_by_values(done, None))
    drawn = [
        *((line.get_xdata(), line.get_markerfacecolor()) for line in by_rows().axes[0].lines),
        *((line.get_ydata(), line.get_markerfacecolor()) for line in by_values.axes[0].lines),
    ]
    assert [list(values) for values, face in drawn if face == "none" and len(values)] == [[0.95, 0.92, 0.3]] * 3
    ends = [float(end) for values, _ in drawn for end in values]
    assert 0 < min(ends) < 0.1 and 0.99 < max(ends) < 1


# --- latest --------------------------------------------------------------------------------------------------------


def latest() -> str | None:
    link = Path("outputs/sweeps/train/latest")
    return os.readlink(link) if link.is_symlink() else None


def test_latest_is_the_newest_sweep_whose_jobs_are_all_done(mi_run: MiRun) -> None:
    """A job that fails keeps the link where it was, an unmet expectation doesn't; resume and sweep= move it."""
    arguments = ("-m", *TINY, "training.epochs=1")
    assert mi_run(*arguments, "seed=0,1").folder.name == latest() == "v001"
    failed = mi_run("-m", *TINY, *DIVERGING)
    assert failed.status == 1 and (failed.folder.name, latest()) == ("v002", "v001")
    assert mi_run(*arguments, "seed=0", "expect={accuracy: '>1'}").status == 3 and latest() == "v003"

    RunFolder(Path("outputs/sweeps/train/v003/0")).amend_record(status="failed", error="by hand")
    remade = mi_run("sweep=outputs/sweeps/train/latest")  # it means v003 still
    assert remade.status == 1 and remade.folder.name == "v003" and latest() == "v001"
    assert mi_run("-m", "resume=outputs/sweeps/train/v003").status == 3 and latest() == "v003"

    resumed = mi_run(*arguments, "seed=0,1,2", "resume=outputs/sweeps/train/v001")
    assert resumed.status == 0 and latest() == "v003"
    shutil.rmtree("outputs/sweeps/train/v003")
    remade = mi_run("sweep=outputs/sweeps/train/v001")
    assert remade.status == 0 and latest() == "v001"
    again = mi_run("-m", "resume=outputs/sweeps/train/latest")
    assert again.status == 0 and str(again.folder) == "outputs/sweeps/train/v001"
    assert {row["folder"] for row in table(again.folder)} == {f"{again.folder}/{job}" for job in range(3)}


def test_a_search_that_may_still_add_jobs_is_not_done(tmp_path: Path) -> None:
    plan = hand_made(tmp_path / "v001", [({"seed": 0}, DONE, None)])
    for searching, done in ((True, False), (False, True)):
        replace(plan, search={}, searching=searching).write(tmp_path / "v001")
        assert is_done(tmp_path / "v001") == done
    replace(plan, jobs=()).write(tmp_path / "v001")
    assert not is_done(tmp_path / "v001") and not is_done(tmp_path / "v002")


def test_a_disk_without_links_ends_no_sweep(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refused)
    done = mi_run("-m", *TINY, "training.epochs=1", "seed=0")
    assert done.status == 0 and "can't point outputs/sweeps/train/latest to the newest sweep" in done.err


# --- plan and invalid combinations ---------------------------------------------------------------------------------


def test_a_plan_lists_jobs_costs_and_what_can_not_run(mi_run: MiRun) -> None:
    arguments = (
        *("-m", "experiment=circuits", "dataset=mod_add", "dataset.limit=40", "dataset.target=value", "plan=true"),
        *(
            "model.hidden_sizes=[2,2,2],[3,3],[7,7]",
            "experiment.last_layers=2",
            "seed=0,1",
            "experiment.method=census",
        ),
    )
    planned = mi_run(*arguments)
    assert planned.status == 2 and not Path("outputs").exists()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in planned.out.splitlines() if "│" in line]
    sizes = "[2,2,2]"
    assert [row for row in cells if row[1] == sizes] == [["0", sizes, "0", "run", "9"], ["1", sizes, "1", "run", "9"]]
    assert len(cells) == 4 and "4 jobs to run" in planned.out and "2 combinations can't run" in planned.out
    assert planned.err.count("model.hidden_sizes=[7,7]") == 2 and "hours on these cores" in planned.err
    left_out = mi_run(*arguments, "skip_invalid=true")
    assert left_out.status == 0 and left_out.out == planned.out
    alone = mi_run("plan=true", *TINY)
    assert alone.status == 0 and "1 jobs to run" in alone.out and not Path("outputs").exists()


def test_invalid_combinations_are_found_before_the_first_job(mi_run: MiRun) -> None:
    arguments = ("-m", *TINY, "training.epochs=1,-1", "model=mlp,cnn", "experiment=train,ablation")
    refused = mi_run(*arguments)
    assert refused.status == 2 and not Path("outputs").exists()
    assert "6 of 8 jobs can't run, so none was begun. skip_invalid=true leaves them out" in refused.err
    assert "training.epochs=-1 model=mlp experiment=train: training.epochs=-1: must be at least 0" in refused.err
    assert "training.epochs=1 model=cnn experiment=ablation: model=cnn takes images" in refused.err
    done = mi_run(*arguments, "skip_invalid=true")
    assert done.status == 0 and str(done.folder) == "outputs/sweeps/train+ablation/v001"
    assert statuses(done.folder) == {0: "done", 1: "done"}
    assert {row["experiment"] for row in table(done.folder)} == {"train", "ablation"}
    assert len(read_plan(done.folder).left_out) == 6
    nothing = mi_run("-m", *TINY, "dataset.limit=0,1", "skip_invalid=true")
    assert nothing.status == 2 and "nothing is left to do" in nothing.err


def test_data_and_network_are_built_once_for_all_seeds(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from mi_runner import models

    built: list[Any] = []
    build = models.build
    monkeypatch.setattr(models, "build", lambda *a, **k: (built.append(a), build(*a, **k))[1])
    planned = mi_run("-m", *TINY, "plan=true", "seed=range(0,20)", "model.hidden_sizes=[4],[5]")
    assert planned.status == 0 and "40 jobs to run" in planned.out and len(built) == 2


# --- failures and expectations ---------------------------------------------------------------------------------------

DIVERGING = (
    "training.epochs=2",
    "training.optimizer=sgd",
    "model.hidden_sizes=[8,8]",
    "training.learning_rate=0.1,1e30,0.2",
)


def test_a_failed_job_does_not_end_the_others(mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, *DIVERGING)
    assert done.status == 1
    assert statuses(done.folder) == {0: "done", 1: "failed", 2: "done"}
    assert "Traceback" in (done.folder / "1/run.log").read_text()
    assert "training diverged in epoch 1" in done.err and "1 of 3 jobs are not as they should be" in done.err
    (row,) = [row for row in table(done.folder) if row["job"] == "1"]
    assert row["status"] == "failed" and row["training.learning_rate"] == "1e+30" and row["accuracy"] == ""
    assert row["error"].startswith("training diverged in epoch 1")
    assert {row["training.learning_rate"] for row in table(done.folder, "sweep_summary")} == {"0.1", "0.2"}


def test_a_failed_job_ends_the_others_if_asked(mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, *DIVERGING, "on_error=stop")
    assert done.status == 1 and "on_error=stop: job 1 failed, no later job starts" in done.err
    assert statuses(done.folder) == {0: "done", 1: "failed", 2: "missing"}
    assert [row["status"] for row in table(done.folder)][-1] == "missing"


def test_expectations_of_jobs(mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, "training.epochs=1", "seed=0,1", "expect={accuracy: '>1'}")
    assert done.status == 3 and done.err.count("expected > 1") >= 2
    both = mi_run("-m", *TINY, *DIVERGING, "expect={accuracy: '>1', loss: '>=0'}")
    assert both.status == 1
    of_seeds, of_both = (
        [
            (case.get("classname"), case.get("name"), [str(failure.get("message")) for failure in case.iter("failure")])
            for case in ElementTree.parse(ended.folder / "expectations.xml").iter("testcase")
        ]
        for ended in (done, both)
    )
    assert [(group, name, len(why)) for group, name, why in of_seeds] == [
        ("seed=0", "accuracy > 1", 1), ("seed=1", "accuracy > 1", 1),
    ]  # fmt: skip
    assert "expected > 1" in of_seeds[0][2][0]
    diverged = [why for _, _, why in of_both if "is not done (training diverged" in " ".join(why)]
    assert len(diverged) == 2  # each bound of the job that failed
    assert [why for _, name, why in of_both if name == "loss >= 0"].count([]) == len(of_both) // 2 - 1
    none = mi_run("-m", *TINY, "training.epochs=1", "seed=0,1")
    assert not (none.folder / "expectations.xml").exists()


def test_a_full_disk_during_one_job(mi_run: MiRun) -> None:
    """/dev/full is full: what job 3 writes gets the kernel's own error, its last run.json too."""
    write_table, write_record = RunFolder.write_table, RunFolder._write_record

    def full() -> None:
        with open("/dev/full", "w") as file:
            file.write("x")

    def tables(self: RunFolder, *arguments: Any, **options: Any) -> None:
        if self.path.name == "3":
            full()
        write_table(self, *arguments, **options)

    def record(self: RunFolder, content: Any, **options: Any) -> None:
        if self.path.name == "3" and content["status"] != "running":
            full()
        write_record(self, content, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RunFolder, "write_table", tables)
        patched.setattr(RunFolder, "_write_record", record)
        done = mi_run("-m", *TINY, "training.epochs=1", "seed=range(0,5)")
    assert done.status == 1
    assert [row["status"] for row in table(done.folder) if row["split"] in ("train", "")] == [
        *("done", "done", "done", "failed", "done")
    ]
    (row,) = [row for row in table(done.folder) if row["job"] == "3"]
    assert os.strerror(errno.ENOSPC) in row["error"] and os.strerror(errno.ENOSPC) in done.err
    # There is room again: the sweep goes on where it was.
    before = started(done.folder)
    resumed = mi_run("-m", f"resume={done.folder}")
    assert resumed.status == 0, resumed.err
    assert {job for job, record in started(done.folder).items() if record != before.get(job)} == {"3"}


def test_each_table_of_a_job_is_read_once(two_seeds: Path, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the tables of the sweep, its figures and its page."""
    read: list[str] = []
    read_rows = sweep_tables.read_rows
    monkeypatch.setattr(
        sweep_tables, "read_rows", lambda path: (read.append(f"{path.parent.name}/{path.name}"), read_rows(path))[1]
    )
    before = (two_seeds / "sweep.csv").read_bytes(), (two_seeds / "sweep_summary.csv").read_bytes()
    assert mi_run(f"sweep={two_seeds}").status == 0
    assert sorted(read) == [f"{job}/{name}.csv" for job in (0, 1) for name in ("metrics", "summary")]
    assert before == ((two_seeds / "sweep.csv").read_bytes(), (two_seeds / "sweep_summary.csv").read_bytes())


def test_tables_that_can_not_be_written(two_seeds: Path, mi_run: MiRun) -> None:
    (two_seeds / "sweep.csv").unlink()
    (two_seeds / "sweep.csv").mkdir()
    again = mi_run(f"sweep={two_seeds}")
    assert again.status == 1 and "can't write the tables" in again.err and again.folder == two_seeds


@pytest.mark.parametrize("host", [os.uname().nodename, "another machine"])
def test_a_job_is_killed_if_its_engine_says_so(
    host: str, tmp_path: Path, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that its run.json names may be there for a moment longer, or be out of sight."""

    class Engine(InThisProcess):
        def submit(self, slot: int, task: Task) -> Running:
            if task.number == 0:
                return super().submit(slot, task)
            task.folder.mkdir()
            if task.number == 1:
                record = RunRecord(status="running", pid=worker.pid, host=host, started="2999-01-01T00:00:00+00:00")
                RunFolder(task.folder).write_record(record)
            return HasEnded(Ending("BrokenPool: SIGKILL", worker_died=True))

    with subprocess.Popen(["sleep", "60"]) as worker, monkeypatch.context() as patched:
        patched.setattr(engines, "start", lambda *arguments: Engine())
        done = mi_run("-m", *TINY, "training.epochs=1", "seed=0,1,2")
        word = f"process {worker.pid} on {host} ended without a word"
        assert statuses(done.folder) == {0: "done", 1: "killed", 2: "failed"}
        worker.kill()
    assert done.status == 1 and f"seed=1: killed, 0.0 s: {word}" in done.err
    causes = {row["job"]: row["error"] for row in table(done.folder)}
    assert causes["1"] == word and causes["2"] == "its worker ended before the run began (BrokenPool: SIGKILL)"
    assert states.read_state(done.folder / "1").exit_status == 1
    assert json.loads((done.folder / "1/run.json").read_text())["status"] == "killed"
    resumed = mi_run("-m", f"resume={done.folder}")
    assert resumed.status == 0 and set(statuses(done.folder).values()) == {"done"}


def test_a_job_that_fails_of_what_nobody_foresaw(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runner.run

    def faulty(config: Any, **options: Any) -> Any:
        if config.seed == 1:
            raise ValueError("of our own")
        return run(config, **options)

    monkeypatch.setattr(runner, "run", faulty)
    done = mi_run("-m", *TINY, "training.epochs=1", "seed=0,1,2")
    assert done.status == 1 and statuses(done.folder) == {0: "done", 1: "failed", 2: "done"}
    assert "in faulty" in (done.folder / "1/run.log").read_text()
    assert [row["error"] for row in table(done.folder) if row["job"] == "1"] == ["ValueError: of our own"]


def test_a_sweep_that_fails_keeps_what_is_done_and_the_traceback(
    mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Engine(InThisProcess):
        def submit(self, slot: int, task: Task) -> Running:
            if task.number == 2:
                raise ValueError("of our own")
            return super().submit(slot, task)

    with monkeypatch.context() as patched:
        patched.setattr(engines, "start", lambda *arguments: Engine())
        done = mi_run("-m", *TINY, "training.epochs=1", "seed=0,1,2")
    assert done.status == 1 and statuses(done.folder) == {0: "done", 1: "done", 2: "missing"}
    line = f"no later job starts. The whole traceback is in {done.folder}/sweep.log."
    assert f"mi-run: error: ValueError: of our own: {line}" in done.err and "Traceback" not in done.err
    assert "in submit" in (done.folder / "sweep.log").read_text()


def test_tables_that_fail_of_what_nobody_foresaw(
    two_seeds: Path, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:

    def faulty(*arguments: Any) -> Any:
        raise ValueError("of our own")

    monkeypatch.setattr(sweep_tables, "headline", faulty)
    again = mi_run(f"sweep={two_seeds}")
    assert again.status == 1 and "Traceback" not in again.err
    assert f"ValueError: of our own. The whole traceback is in {two_seeds}/sweep.log" in again.err
    assert "in faulty" in (two_seeds / "sweep.log").read_text()


# --- resume --------------------------------------------------------------------------------------------------------


def test_a_resumed_sweep_runs_what_is_not_done(mi_run: MiRun) -> None:
    """A torn run.json, a folder deleted by hand, a run that was killed; and new values."""
    arguments = ("-m", *TINY, "training.epochs=1", "model.hidden_sizes=[4]")
    done = mi_run(*arguments, "seed=range(0,5)")
    text = (done.folder / "1/run.json").read_text()
    (done.folder / "1/run.json").write_text(text[: len(text) // 2])
    shutil.rmtree(done.folder / "2")
    RunFolder(done.folder / "3").amend_record(status="running", pid=2**30)
    before, metrics = started(done.folder), (done.folder / "3/metrics.csv").read_bytes()
    assert mi_run(f"sweep={done.folder}").status == 1
    found = {row["job"]: row["status"] for row in table(done.folder)}
    assert found == {"0": "done", "1": "torn", "2": "missing", "3": "killed", "4": "done"}

    resumed = mi_run(*arguments, "seed=range(0,6)", f"resume={done.folder}")
    assert resumed.status == 0, resumed.err
    after = started(done.folder)
    assert sorted(job for job in after if after[job] != before.get(job)) == ["1", "2", "3", "5"]
    assert statuses(done.folder) == dict.fromkeys(range(6), "done")
    rows = table(done.folder)
    assert [(row["job"], row["seed"]) for row in rows if row["split"] == "train"] == [
        (str(n), str(n)) for n in range(6)
    ]
    assert (done.folder / "3/metrics.csv").read_bytes() == metrics
    assert sorted(path.name for path in (done.folder / "earlier").iterdir()) == ["1-1", "3-1"]
    again = mi_run("-m", f"resume={done.folder}")
    assert again.status == 0 and "0 jobs" in again.err and started(done.folder) == after
    shutil.rmtree(done.folder / "5")  # without a word more it is the sweep with all values that were ever added
    again = mi_run("-m", f"resume={done.folder}")
    assert again.status == 0 and statuses(done.folder) == dict.fromkeys(range(6), "done"), again.err
    assert {job for job, when in started(done.folder).items() if when != after[job]} == {"5"}


def test_a_plan_of_a_resumed_sweep_says_what_is_done(mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, "training.epochs=1", "seed=0,1,2")
    shutil.rmtree(done.folder / "1")
    planned = mi_run("-m", f"resume={done.folder}", "plan=true")
    assert planned.status == 0 and "1 jobs to run" in planned.out and planned.out.count("is done") == 2
    assert not (done.folder / "1").exists()


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (("training.epochs=2", "seed=0,1"), "training.epochs was 1, is now 2"),
        (("training.epochs=1", "seed=0,1", "model.activation=tanh"), "model.activation was relu, is now tanh"),
        (("training.epochs=1", "seed=7,8", "dataset.modulus=3"), "dataset.modulus was 2, is now 3"),
        (("training.epochs=1", "seed=0,1", "expect={accuracy: '>0'}"), "expect was None, is now"),
        (("training.epochs=1,2", "seed=0,1"), "that sweep varies seed, this command varies training.epochs, seed"),
        (("training.epochs=1", "seed=0"), "that sweep varies seed, this command varies nothing"),
    ],
)
def test_another_base_config_is_refused_with_what_differs(
    changed: tuple[str, ...], text: str, two_seeds: Path, mi_run: MiRun
) -> None:
    before = started(two_seeds)
    refused = mi_run("-m", *TINY, *changed, f"resume={two_seeds}")
    assert refused.status == 2 and text in refused.err, refused.err
    assert started(two_seeds) == before


def test_the_same_values_must_mean_the_same_job() -> None:
    command = read_command(["model=mlp,skip"])
    old = [Job(0, (), {"model": "mlp"}, "a"), Job(1, (), {"model": "skip"}, "b")]
    plan = Plan("", (), ("model",), {}, "", tuple(old), ())
    from mi_runner.sweeps.sweep_plan import check_same_sweep

    check_same_sweep(plan, command, {}, [Job(0, (), {"model": "skip"}, "b"), Job(1, (), {"model": "cnn"}, "c")])
    with pytest.raises(ConfigError, match="the config of job 1 .model=skip. differs"):
        check_same_sweep(plan, command, {}, [Job(0, (), {"model": "skip"}, "other")])


def test_two_processes_do_not_work_at_one_sweep(mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, "training.epochs=1", "seed=0")
    with sweeps._only_one(done.folder):
        refused = mi_run("-m", f"resume={done.folder}")
    assert refused.status == 2 and "another process works at this sweep" in refused.err


def test_a_job_that_somebody_runs_is_left_alone(two_seeds: Path, mi_run: MiRun) -> None:
    RunFolder(two_seeds / "1").amend_record(status="running", host="elsewhere")
    before = started(two_seeds)
    resumed = mi_run("-m", f"resume={two_seeds}")
    assert resumed.status == 1 and "on elsewhere" in resumed.err and started(two_seeds) == before


def test_resumed_by_other_code(tmp_path: Path) -> None:
    """A copy of the package runs a sweep; one of its sources is edited; it resumes."""
    copy = tmp_path / "site"
    copy.mkdir()
    shutil.copytree(REPOSITORY / "mi_runner", copy / "mi_runner", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "conf", copy / "mi_runner/conf")

    def run(*arguments: str) -> tuple[int, str]:
        process = Forked("-m", *arguments, cwd=tmp_path, environment={"PYTHONPATH": str(copy)})
        _, err = process.communicate(timeout=300)
        return process.returncode, err

    status, err = run(*TINY, *DIVERGING)
    folder = tmp_path / "outputs/sweeps/train/v001"
    assert status == 1 and len({row["code"] for row in table(folder)}) == 1, err
    before = started(folder)
    with (copy / "mi_runner/figures.py").open("a") as file:
        file.write("\n# another version\n")
    # Stopped by the job that fails: the rest of the table is still by the old code.
    status, err = run(f"resume={folder}", "on_error=stop")
    assert status == 1, err
    assert "job 0 was done by other code" in err and "not all rows are by the same code" in err
    after = started(folder)
    assert {job for job in after if after[job] != before[job]} == {"0", "1"}
    codes = {row["job"]: row["code"] for row in table(folder)}
    assert codes["0"] == codes["1"] != codes["2"]
    assert {row["code"] for row in table(folder, "sweep_summary")} == {codes["0"], codes["2"]}
    assert (folder / "earlier/0-1/run.json").read_text() == before["0"]


# --- a clean state ---------------------------------------------------------------------------------------------------


UNTIDY = """
import os, random, sys, warnings
import numpy, torch

def Net(input_shape, n_outputs, untidy=0):
    net = torch.nn.Sequential(torch.nn.Linear(input_shape[0], 8), torch.nn.ReLU(), torch.nn.Linear(8, n_outputs))
    if untidy:
        net.float()
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        torch.set_float32_matmul_precision("medium")
        torch.manual_seed(untidy); numpy.random.seed(untidy); random.seed(untidy)
        os.environ["LEFT_BEHIND"] = "1"
        os.chdir("/")
        warnings.simplefilter("ignore")
    return net
"""


def test_a_job_alone_and_after_others_gives_the_same_table(mi_run: MiRun, tmp_path: Path) -> None:
    (tmp_path / "untidy.py").write_text(UNTIDY)
    network = ("model=external", "model.factory=untidy:Net", "training.epochs=2", "seed=41")
    os.environ["MI_RUN_CACHE"], before = str(tmp_path / "a cache"), os.environ["MI_RUN_CACHE"]
    try:
        alone = mi_run(*TINY, *network, "model.arguments={untidy: 0}")
        here = tmp_path / "another cache"
        os.environ["MI_RUN_CACHE"] = str(here)
        jobs = "experiment.targets=[1],[2],[0/1],[0]"
        several = mi_run(
            "-m", *TINY, *network, "model.arguments={untidy: 1},{untidy: 2},{untidy: 3},{untidy: 4},{untidy: 0}"
        )
        assert several.status == 0, several.err
        after = mi_run("-m", *TINY, *network, "experiment=ablation", jobs)
        assert after.status == 0, after.err
    finally:
        os.environ["MI_RUN_CACHE"] = before
    assert os.getcwd() == str(tmp_path) and "LEFT_BEHIND" not in os.environ
    records = [json.loads((several.folder / str(job) / "run.json").read_text()) for job in range(5)]
    assert [record["checkpoint"]["from"] for record in records] == ["training"] * 5  # nothing was shared
    assert (several.folder / "4/metrics.csv").read_bytes() == (alone.folder / "metrics.csv").read_bytes()
    assert (several.folder / "4/history.csv").read_bytes() == (alone.folder / "history.csv").read_bytes()


def test_the_state_that_is_brought_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import random
    import warnings

    import numpy as np
    import torch

    def seen() -> list[Any]:
        return [
            *(torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()),
            *(torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()),
            *(os.getcwd(), list(sys.path), dict(os.environ), list(warnings.filters), torch.get_default_device()),
            *(float(torch.rand(())), float(np.random.rand()), random.random()),
        ]

    monkeypatch.chdir(tmp_path)
    clean_state.forget()
    clean_state.begin()
    first = seen()
    (tmp_path / "elsewhere").mkdir()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True)
    torch.set_default_device("meta")
    os.chdir("elsewhere")
    sys.path.insert(0, "nowhere")
    monkeypatch.setenv("LEFT_BEHIND", "1")
    warnings.simplefilter("ignore")
    clean_state.begin()
    assert seen() == first
    torch.set_default_device("cpu")
    clean_state.begin()
    assert not torch.overrides._get_current_function_mode_stack(), "each call of torch would be slower"
    clean_state.begin()
    clean_state.forget()


def test_a_sweep_over_ablations_trains_each_model_once(mi_run: MiRun) -> None:
    arguments = ("experiment=ablation", "model=mlp", "training.epochs=1")
    done = mi_run("-m", *TINY, *arguments, "experiment.methods=[zero],[mean]", "seed=61,62")
    records = [json.loads((done.folder / str(job) / "run.json").read_text()) for job in range(4)]
    assert [record["checkpoint"]["from"] for record in records] == [*["training"] * 2, *["model store"] * 2]


# --- interruptions, by real signals --------------------------------------------------------------------------------


def begun(tmp_path: Path, *arguments: str, running: int) -> tuple[Forked, Path]:
    """A sweep as a process of its own, once the job of this number runs."""
    process = Forked("-m", *TINY, *arguments, cwd=tmp_path)
    folder = tmp_path / "outputs/sweeps/train/v001"
    deadline = time.monotonic() + 120
    while states.read_state(folder / str(running)).status != "running":
        assert process.poll() is None, process.communicate(timeout=60)
        assert time.monotonic() < deadline, "the job has not begun"
        time.sleep(0.05)
    return process, folder


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_keeps_what_is_done(tmp_path: Path, number: signal.Signals, status: int) -> None:
    process, folder = begun(tmp_path, "training.epochs=1,100000,2", running=1)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == status and "Traceback" not in err
    assert statuses(folder) == {0: "done", 1: "interrupted", 2: "missing"}
    assert [row["status"] for row in table(folder)] == [*["done"] * 4, "interrupted", "missing"]
    assert tmp_path / out.splitlines()[-1] == folder


def test_signals_that_follow_each_other_interrupt_a_sweep_once(tmp_path: Path) -> None:
    process, folder = begun(tmp_path, "training.epochs=1,100000,2", running=1)
    for _ in range(6):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.004)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143 and "Traceback" not in err
    assert statuses(folder) == {0: "done", 1: "interrupted", 2: "missing"}
    assert [row["status"] for row in table(folder)] == [*["done"] * 4, "interrupted", "missing"]


def test_a_killed_sweep_is_resumed(tmp_path: Path, mi_run: MiRun) -> None:
    process, folder = begun(tmp_path, "training.epochs=1,601,2", running=1)
    process.kill()
    process.communicate(timeout=60)
    assert statuses(folder) == {0: "done", 1: "killed", 2: "missing"}
    before = started(folder)
    tables = mi_run(f"sweep={folder}")
    assert tables.status == 1 and "ended without a word" in tables.err
    resumed = mi_run("-m", *TINY, "training.epochs=1,601,2", f"resume={folder}")
    assert resumed.status == 0, resumed.err
    assert started(folder)["0"] == before["0"]
    assert [row["job"] for row in table(folder)] == [*"00001111", *"2222"]


def test_sweeps_started_in_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    processes = [Forked("-m", *TINY, "training.epochs=1", "seed=71,72", cwd=tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    folders = [tmp_path / out.splitlines()[-1] for out, _ in outputs]
    assert sorted(folder.name for folder in folders) == ["v001", "v002"]
    assert all(statuses(folder) == {0: "done", 1: "done"} for folder in folders)
    assert (folders[0] / "sweep_summary.csv").read_bytes() == (folders[1] / "sweep_summary.csv").read_bytes()


# --- shares of the machine -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "n_jobs", "cores", "found"),
    [
        ({}, 10, 8, (8, 1)),
        ({}, 2, 8, (2, 4)),
        ({}, 0, 8, (1, 8)),
        ({"n_jobs": 3}, 10, 8, (3, 2)),
        ({"n_jobs": 16}, 100, 8, (16, 1)),
        ({"n_jobs": 2, "threads": 3}, 10, 8, (2, 3)),
    ],
)
def test_threads_are_cores_by_workers(asked: dict[str, int], n_jobs: int, cores: int, found: tuple[int, int]) -> None:
    assert shares(JoblibLauncher(**asked), n_jobs, cores) == found


def test_devices_are_spread_over_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [spread(slot, 2) for slot in range(5)] == ["0", "1", "0", "1", "0"]
    assert [spread(slot, 0) for slot in range(2)] == [None, None]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    assert [spread(slot, 3) for slot in range(4)] == ["3", "5", "7", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932f937-d72c, MIG-GPU-1a/1/0")
    assert [spread(slot, 2) for slot in range(3)] == [*("GPU-8932f937-d72c", "MIG-GPU-1a/1/0", "GPU-8932f937-d72c")]


@pytest.mark.parametrize(
    ("devices", "visible", "seen"),
    [(2, "GPU-8932f937-d72c,MIG-GPU-1a/1/0", "MIG-GPU-1a/1/0"), (2, None, "1"), (0, "3,5", "3,5"), (0, None, None)],
)
def test_devices_of_submitit_here(
    devices: int, visible: str | None, seen: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a job sees, whatever submitit's own option, which takes numbers alone, made of it."""
    pytest.importorskip("submitit")
    engine = Submitit(SubmititLocalLauncher(), 2, devices, tmp_path)
    submitted = []
    monkeypatch.setattr(engine.executor, "submit", lambda *call: submitted.append(call))
    monkeypatch.setattr(worker, "run_task", lambda task: os.environ.get("CUDA_VISIBLE_DEVICES"))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    engine.submit(1, Task(0, tmp_path, RunConfig(), ""))
    (function, *arguments) = submitted[0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as submitit leaves it
    assert function(*arguments) == seen


# --- search ----------------------------------------------------------------------------------------------------------


def test_a_search_finds_the_best_and_goes_on(mi_run: MiRun) -> None:
    pytest.importorskip("optuna")
    arguments = (
        *("-m", *TINY, "model.hidden_sizes=[8]", "hydra/sweeper=optuna", "objective=train_loss"),
        *("hydra.sweeper.direction=minimize", "training.epochs=interval(1,30)"),
        "training.learning_rate=tag(log, interval(1e-6, 1e-1))",
    )
    planned = mi_run(*arguments, "plan=true")
    assert planned.status == 0 and "20 jobs to run" in planned.out and "log=True" in planned.out
    done = mi_run(*arguments, "hydra.sweeper.n_trials=4")
    assert done.status == 0, done.err
    plan = read_plan(done.folder)
    assert len(plan.jobs) == 4 and plan.swept == ("training.epochs", "training.learning_rate")
    for job in plan.jobs:
        assert isinstance(job.swept["training.epochs"], int) and 1e-6 <= job.swept["training.learning_rate"] <= 1e-1
    losses = [json.loads((done.folder / str(n) / "run.json").read_text())["metrics"]["train_loss"] for n in range(4)]
    assert f"best: job {losses.index(min(losses))}," in done.out
    assert f"{min(losses):.6g}, the lowest of {len(losses)} jobs, chosen by its number without a test" in done.out
    assert not plan.searching and latest() == "v001"
    again = mi_run(*arguments, "hydra.sweeper.n_trials=4")
    assert [job.swept for job in read_plan(again.folder).jobs] == [job.swept for job in plan.jobs]

    before = started(done.folder)
    resumed = mi_run(*arguments, "hydra.sweeper.n_trials=6", f"resume={done.folder}")
    assert resumed.status == 0, resumed.err
    jobs = read_plan(done.folder).jobs
    assert jobs[:4] == plan.jobs and len({job.config_hash for job in jobs}) == 6
    assert all(started(done.folder)[job] == before[job] for job in before)
    other = mi_run(*arguments, "seed=9", f"resume={done.folder}")
    assert other.status == 2 and "seed was 0, is now 9" in other.err


def test_a_search_among_choices_runs_no_job_twice(mi_run: MiRun) -> None:
    pytest.importorskip("optuna")
    done = mi_run(
        *("-m", *TINY, "hydra/sweeper=optuna", "objective=accuracy", "hydra.sweeper.n_trials=12"),
        *("training.epochs=0,1", "model.hidden_sizes=[4],[6]"),
    )
    assert done.status == 0, done.err
    jobs = read_plan(done.folder).jobs
    assert len({job.config_hash for job in jobs}) == len(jobs) <= 4

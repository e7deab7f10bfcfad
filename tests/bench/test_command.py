"""`mi-run bench` from the command to the last line: tables, answer, pages, resuming, methods of one's own, failures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

import mi_runner
from mi_runner.bench.networks import FORMULAS
from mi_runner.bench.tables import TABLES
from tests.conftest import Ended

MiRun = Callable[..., Ended]

PLANTED = ("bench.families=[planted-plain]", "bench.seeds=1")
QUICK = ("experiment.bootstrap=0", "experiment.repeats=1", "report=false", "hydra/launcher=basic")
SMALL = (*PLANTED, *QUICK)
"""Six planted networks, in this process, without pages."""

OWN = """
def score(part, x, target, ablation):
    return [layer.weight.abs() for layer in part.layers]


def fails(part, x, target, ablation):
    if part.layers[0].weight.shape[1] == 3:
        raise ValueError("no three inputs")
    return score(part, x, target, ablation)
"""


@dataclass(frozen=True)
class Bench:
    """A bench that is done, and the folder that it was begun in."""

    ended: Ended
    began_in: Path

    @property
    def folder(self) -> Path:
        return self.began_in / self.ended.folder


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A bench as it is typed, in a process of its own, with joblib."""
    place = tmp_path_factory.mktemp("bench")
    (place / "my_module.py").write_text(OWN)
    typed = ("experiment.methods=[magnitude,my_module:score]", "experiment.bootstrap=2", "hydra/launcher=joblib")
    program = [sys.executable, "-m", "mi_runner", "bench", *PLANTED, *typed]
    done = subprocess.run(program, cwd=place, capture_output=True, text=True, timeout=300)
    return Bench(Ended(done.returncode, done.stdout, done.stderr), place)


def statuses(folder: Path) -> dict[int, str]:
    return {int(file.parent.name): json.loads(file.read_text())["status"] for file in folder.glob("*/run.json")}


# --- what comes out --------------------------------------------------------------------------------------------------


def test_a_bench_ends_with_its_folder_and_says_what_the_tests_say(bench: Bench) -> None:
    ended = bench.ended
    assert ended.status == 0, ended.err
    assert str(ended.folder) == "outputs/sweeps/bench/v001" and statuses(bench.folder) == dict.fromkeys(
        range(6), "done"
    )
    assert ended.out.splitlines()[0].rstrip() == "leaderboard: bench-1, all networks"
    answer = (bench.folder / "answer.txt").read_text()
    assert answer in ended.err and answer.startswith("Over 6 networks (6 settings) of bench-1 ")
    assert (bench.folder.parent / "latest").resolve() == bench.folder.resolve()


def test_the_tables_have_the_declared_columns_for_each_network_and_method(bench: Bench) -> None:
    for table in TABLES:
        columns = list(pd.read_csv(bench.folder / f"{table.name}.csv", nrows=0))
        assert [name for name in columns if not name.endswith(("_low", "_high"))] == [one.name for one in table.columns]
    results = pd.read_csv(bench.folder / "results.csv")
    methods = {"random", "magnitude", "my_module:score"}
    assert len(results) == 6 * 3 * 2 and set(results["method"]) == methods and set(results["setting"]) == set(FORMULAS)
    assert set(results["ablation"]) == {"zero", "mean"}
    networks = pd.read_csv(bench.folder / "networks.csv")
    assert set(networks["status"]) == {"judged"} and set(networks["accuracy"]) == {1.0}
    board = pd.read_csv(bench.folder / "leaderboard.csv")
    assert set(board["networks"]) == {"all", "planted", "planted-plain"}
    everything = board[board["networks"] == "all"].set_index("method")
    wanted = results.groupby("method")["cpr"].mean()
    assert set(everything.index) == methods and dict(everything["cpr"]) == pytest.approx(dict(wanted))


def test_a_method_of_ones_own_that_does_what_another_does_reaches_the_same(bench: Bench) -> None:
    results = pd.read_csv(bench.folder / "results.csv").set_index(["setting", "ablation"])
    own, same = (
        results[results["method"] == method].drop(columns=["method", "seconds", "n_forward"])
        for method in ("my_module:score", "magnitude")
    )
    pd.testing.assert_frame_equal(own, same)


def test_there_is_a_page_of_the_bench_of_each_method_and_of_each_network_and_no_run_draws_figures(bench: Bench) -> None:
    assert "my_module:score" in (bench.folder / "report.html").read_text()
    assert len(list(bench.folder.glob("methods/*.html"))) == 3 and len(list(bench.folder.glob("*/report.html"))) == 6
    assert (bench.folder / "figures/leaderboard.png").is_file() and not list(bench.folder.glob("[0-9]*/figures/*"))


def test_a_program_opens_a_bench_with_its_tables_and_its_answer(bench: Bench) -> None:
    opened = mi_runner.open_sweep(bench.folder)
    assert list(opened.tables) == [table.name for table in TABLES]
    assert opened.answer == f"6 jobs, all done. {(bench.folder / 'answer.txt').read_text().strip()}"
    assert repr(opened).startswith("bench: done\n") and opened.title == "leaderboard, all networks"
    assert sorted(opened.headline["method"]) == ["magnitude", "my_module:score", "random"]
    assert set(opened.headline["networks"]) == {"all"}
    assert opened.tables["results"]["cpr"].dtype == float and opened.runs[0].swept["family"] == "planted-plain"


def test_a_bench_is_listed_compared_and_has_its_pages_made_again(bench: Bench, mi_run: MiRun) -> None:
    shutil.copytree(bench.folder, "bench", symlinks=True)
    listed = mi_run("ls", "bench", "--format", "csv")
    assert listed.status == 0 and "6/6" in listed.out
    same = mi_run("diff", "bench", str(bench.folder))
    assert same.status == 0 and "no metric differs" in same.out
    Path("bench/report.html").unlink()
    assert mi_run("report", "bench").out == "bench/report.html\n" and Path("bench/report.html").is_file()


# --- resuming --------------------------------------------------------------------------------------------------------


def test_the_tables_are_made_again_from_the_folders_of_the_jobs(bench: Bench, mi_run: MiRun) -> None:
    shutil.copytree(bench.folder, "bench", symlinks=True)
    before = {path.name: path.read_bytes() for path in Path("bench").glob("*.csv")}
    for name in before:
        Path("bench", name).unlink()
    again = mi_run("bench", "sweep=bench")
    assert again.status == 0 and {path.name: path.read_bytes() for path in Path("bench").glob("*.csv")} == before
    assert len(before) == len(TABLES)


def test_a_bench_that_is_resumed_in_another_folder_runs_what_is_missing_there(bench: Bench, mi_run: MiRun) -> None:
    copy = bench.began_in / "outputs/sweeps/copied"
    shutil.copytree(bench.folder, copy, symlinks=True)
    shutil.rmtree(copy / "2")
    before = {path: path.read_bytes() for path in copy.glob("*/run.json")}
    results = pd.read_csv(copy / "results.csv").drop(columns="seconds")
    planned = mi_run("bench", f"resume={copy}", "plan=true")
    assert planned.status == 0 and "\n1 jobs to run" in planned.out
    ended = mi_run("bench", f"resume={copy}", "hydra/launcher=basic")
    assert ended.status == 0 and f"the sweep goes on in {bench.began_in}" in ended.err, ended.err
    assert ended.folder == copy and statuses(copy) == dict.fromkeys(range(6), "done")
    assert {path: path.read_bytes() for path in before} == before
    pd.testing.assert_frame_equal(pd.read_csv(copy / "results.csv").drop(columns="seconds"), results)


def test_methods_of_ones_own_are_not_run_from_a_folder_of_another_user(
    bench: Bench, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    ended = mi_run("bench", f"resume={bench.folder}")
    assert ended.status == 2 and "is another user's, so experiment.methods isn't run from there" in ended.err
    assert f"type the same in that folder: cd {bench.began_in}." in ended.err


def test_options_of_ones_own_in_another_folder_are_a_mistake_with_methods_of_ones_own(
    bench: Bench, mi_run: MiRun
) -> None:
    ended = mi_run("bench", f"resume={bench.folder}", "bench.seeds=2")
    assert ended.status == 2 and f"Leave them out, because the sweep has them: mi-run bench resume={bench.folder}" in (
        ended.err
    )


@pytest.mark.parametrize("key", ["resume", "sweep"])
@pytest.mark.parametrize("flag", [("-m",), ()])
def test_a_bench_is_no_sweep_of_the_sweeps_command(
    key: str, flag: tuple[str, ...], bench: Bench, mi_run: MiRun
) -> None:
    ended = mi_run(*flag, f"{key}={bench.folder}")
    assert ended.status == 2 and f"this is a bench. Type mi-run bench {key}={bench.folder}." in ended.err


def test_a_network_is_trained_once(mi_run: MiRun) -> None:
    typed = ("bench.families=[and-2-3-3-1]", "bench.seeds=1", "experiment.methods=[magnitude]", *QUICK)
    first = mi_run("bench", *typed)
    assert first.status == 0, first.err
    shutil.rmtree(first.folder / "1")
    resumed = mi_run("bench", f"resume={first.folder}")
    second = mi_run("bench", *typed, "experiment.ablation=zero")
    assert (resumed.status, second.status) == (0, 0) and resumed.folder == first.folder != second.folder
    records = [json.loads((folder / "1/run.json").read_text()) for folder in (resumed.folder, second.folder)]
    assert [record["checkpoint"]["from"] for record in records] == ["model store", "model store"]


# --- fewer methods, ablations, networks ------------------------------------------------------------------------------


def test_a_bench_with_one_ablation_has_no_spread_of_ablations(mi_run: MiRun) -> None:
    ended = mi_run("bench", *SMALL, "experiment.methods=[magnitude]", "experiment.ablation=zero")
    assert ended.status == 0, ended.err
    spread = pd.read_csv(ended.folder / "spread.csv")
    assert spread["of_ablation"].isna().all() and spread["of_setting"].notna().any()
    assert set(pd.read_csv(ended.folder / "results.csv")["ablation"]) == {"zero"}
    assert "of 2 methods" in (ended.folder / "answer.txt").read_text()
    assert not (ended.folder / "report.html").exists() and not list(ended.folder.glob("*/report.html"))


def test_random_alone_is_judged_and_compared_with_nothing(mi_run: MiRun) -> None:
    ended = mi_run("bench", *SMALL, "experiment.methods=[random]")
    assert ended.status == 0, ended.err
    board = pd.read_csv(ended.folder / "leaderboard.csv")
    assert set(board["method"]) == {"random"} and board[["p_best", "p_random"]].isna().all(axis=None)
    assert not (ended.folder / "method_pairs.csv").exists()


def test_networks_that_fail_are_counted_and_named_and_the_others_judged(mi_run: MiRun) -> None:
    Path("failing_module.py").write_text(OWN)
    ended = mi_run("bench", *SMALL, "experiment.methods=[failing_module:fails]")
    assert ended.status == 1 and "3 of 6 jobs are not as they should be" in ended.err
    networks = pd.read_csv(ended.folder / "networks.csv").set_index("setting")
    assert dict(networks["status"]) == {name: "failed" if "C" in name else "judged" for name in FORMULAS}
    answer = (ended.folder / "answer.txt").read_text()
    assert answer.startswith("Over 3 networks (3 settings)") and "3 of 6 networks have no results: 3 failed." in answer
    assert not (ended.folder.parent / "latest").exists()
    stopped = mi_run("bench", *SMALL, "experiment.methods=[failing_module:fails]", "on_error=stop")
    assert stopped.status == 1 and 4 not in statuses(stopped.folder)


def test_a_plan_lists_the_networks_and_makes_nothing(mi_run: MiRun) -> None:
    planned = mi_run("bench", *PLANTED, "experiment.methods=[magnitude]", "plan=true")
    assert planned.status == 0 and "6 jobs to run" in planned.out and "(A & ~B) | (~A & B)" in planned.out
    assert not list(Path().iterdir())


def test_figures_are_drawn_if_they_are_asked_for(mi_run: MiRun) -> None:
    options = ("experiment=discovery", "dataset=logic", "model=planted", "experiment.last_layers=null", *QUICK[:3])
    drawn, without = (mi_run(*options, f"figures={choice}") for choice in ("true", "false"))
    assert (drawn.status, without.status) == (0, 0), without.err
    assert list((drawn.folder / "figures").glob("*.png")) and not (without.folder / "figures").exists()
    names = [{path.name for path in one.folder.iterdir()} for one in (drawn, without)]
    assert names[0] - names[1] == {"figures"} and names[1] < names[0]
    assert drawn.record["config_hash"] == without.record["config_hash"]


def test_help_has_every_option_and_flag(mi_run: MiRun) -> None:
    page = mi_run("bench", "--help")
    assert page.status == 0
    for text in ("bench.networks=bench-1", "bench.part=all", "bench.families=null", "bench.seeds=null", "--vectors"):
        assert text in page.out
    assert "mi-run bench resume=outputs/sweeps/bench/v001" in page.out and mi_run("bench", "-h").out == page.out

"""A sweep over the parts of a whole ends with the whole, if each part is there once."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import mi_runner
from mi_runner.runs.run_folder import RunFolder
from mi_runner.sweeps import wholes
from mi_runner.sweeps.sweep_plan import read_plan
from mi_runner.training.weights import read_weights
from tests.census_commands import CENSUS, assert_same_tables, of_parts, tables_of
from tests.conftest import Ended

MiRun = Callable[..., Ended]


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def in_three_parts(mi_run: MiRun, *more: str) -> Ended:
    return mi_run("-m", *CENSUS, *of_parts(3), *more)


def again(mi_run: MiRun, folder: Path) -> Ended:
    return mi_run(f"sweep={folder}")


def assert_no_whole(done: Ended, text: str) -> None:
    assert text in " ".join(done.err.split())
    assert text in (done.folder / "answer.txt").read_text()
    assert not tables_of(done.folder)
    assert not (done.folder / wholes.FILE).exists()
    assert not (done.folder / "sweep_summary.csv").exists()


def test_the_tables_of_the_whole_are_those_of_one_run(mi_run: MiRun) -> None:
    whole, done = mi_run(*CENSUS), in_three_parts(mi_run)
    assert done.status == 0, done.err
    assert_same_tables(done.folder, whole.folder)
    (total,) = rows_of(whole.folder, "metrics")
    n_valid, n_circuits = int(total["n_valid"]), int(total["n_circuits"])
    assert 0 < n_valid < n_circuits == 717
    says = f"{n_valid:,} of {n_circuits:,} circuits are valid: "
    assert says in (done.folder / "answer.txt").read_text()
    assert says in done.err and "Counted in 3 parts." in done.err
    assert done.out.splitlines()[-1] == str(done.folder)
    page = (done.folder / "report.html").read_text()
    assert says in page and "census.csv" in page
    of_jobs = rows_of(done.folder, "sweep")
    assert [row["experiment.part"] for row in of_jobs] == ["1", "2", "3"]
    assert sum(int(row["n_valid"]) for row in of_jobs) == n_valid
    assert all(row["n_cardinal"] == row["mean_jaccard"] == "" for row in of_jobs)
    took = [float(row["seconds"]) for row in of_jobs]
    assert float(rows_of(done.folder, "metrics")[0]["seconds"]) == pytest.approx(sum(took), rel=1e-12)


def test_what_is_summed_up_is_the_whole_and_not_its_parts(mi_run: MiRun) -> None:
    done = in_three_parts(mi_run)
    (total,) = rows_of(done.folder, "metrics")
    summed = {row["measure"]: row for row in rows_of(done.folder, "sweep_summary")}
    assert (float(summed["n_valid"]["mean"]), summed["n_valid"]["n"]) == (float(total["n_valid"]), "1")
    assert "experiment.part" not in summed["n_valid"]
    opened = mi_runner.open_sweep(done.folder)
    assert opened.headline["n_valid"].tolist() == [float(total["n_valid"])]
    assert set(opened.tables) >= {"sweep", "sweep_summary", "census", "edges", "metrics", "circuits"}
    assert mi_run("report", str(done.folder)).status == 0


def test_wholes_of_several_seeds_have_the_swept_values_in_front(mi_run: MiRun) -> None:
    done = in_three_parts(mi_run, "seed=0,1", "experiment.pairs=false")
    assert done.status == 0, done.err
    metrics = rows_of(done.folder, "metrics")
    assert [list(row)[:2] for row in metrics] == [["seed", "output"]] * 2
    for seed in (0, 1):
        alone = mi_run(*CENSUS, f"seed={seed}", "experiment.pairs=false")
        found, expected = tables_of(done.folder), tables_of(alone.folder)
        for name in ("metrics", "census", "edges", "circuits"):
            own = found[name][found[name]["seed"].astype(str) == str(seed)].drop(columns="seed")
            pd.testing.assert_frame_equal(own.reset_index(drop=True), expected[name], check_exact=True)
    summed = {row["measure"]: row for row in rows_of(done.folder, "sweep_summary")}
    assert summed["n_valid"]["n"] == "2"
    assert float(summed["n_valid"]["mean"]) == sum(int(row["n_valid"]) for row in metrics) / 2
    said = (done.folder / "answer.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in said] == ["seed=0", "seed=1"]
    assert not (done.folder / "sweep_circuits.csv").exists()  # networks are not compared by their parts


def test_parts_that_are_missing_are_named_and_resumed(mi_run: MiRun) -> None:
    whole = mi_run(*CENSUS)
    some = mi_run("-m", *CENSUS, "experiment.parts=4", "experiment.part=1,3")
    assert some.status == 0
    assert_no_whole(some, "There is no whole: parts 2, 4 of 4 are missing. Type the command of the sweep with resume=")
    done = mi_run("-m", *CENSUS, *of_parts(4), f"resume={some.folder}")
    assert done.status == 0, done.err
    assert_same_tables(done.folder, whole.folder)
    shutil.rmtree(done.folder / "1")  # of part 3, the second job
    assert_no_whole(again(mi_run, done.folder), f"part 3 of 4 is missing. Type mi-run -m resume={done.folder}.")
    assert mi_run("-m", f"resume={done.folder}").status == 0
    assert_same_tables(done.folder, whole.folder)


def test_a_part_that_is_there_twice(mi_run: MiRun) -> None:
    done = mi_run("-m", *CENSUS, "experiment.parts=2", "experiment.part=1,2")
    plan = json.loads((done.folder / "sweep.json").read_text())
    plan["jobs"].append(plan["jobs"][1] | {"number": 2})
    (done.folder / "sweep.json").write_text(json.dumps(plan))
    shutil.copytree(done.folder / "1", done.folder / "2")
    assert_no_whole(again(mi_run, done.folder), "part 2 of 2 is there twice, in jobs 1-2")


def test_parts_of_other_code_are_not_put_together(mi_run: MiRun) -> None:
    done = mi_run("-m", *CENSUS, *of_parts(2))
    record = json.loads((done.folder / "1/run.json").read_text())
    RunFolder(done.folder / "1").amend_record(versions=record["versions"] | {"code": "0123456789ab"})
    assert_no_whole(again(mi_run, done.folder), "versions of the code differ between parts")


def test_parts_of_two_networks_make_no_whole_and_fail(mi_run: MiRun) -> None:
    done = mi_run("-m", *CENSUS, *of_parts(2))
    file = done.folder / "1/circuits.safetensors"
    tensors = {name: tensor + (name.endswith("weight") * 1e-3) for name, tensor in read_weights(file).items()}
    RunFolder(done.folder / "1").write_tensors("circuits", tensors)
    found = again(mi_run, done.folder)
    assert found.status == 1
    assert "job 0 and job 1 have other weights in the analysed layers" in found.err
    assert not tables_of(done.folder)


def test_a_sweep_over_something_else_has_no_whole(mi_run: MiRun) -> None:
    done = mi_run("-m", *CENSUS, "seed=0,1", "experiment.parts=3", "experiment.part=2", "experiment.pairs=false")
    assert done.status == 0
    assert not wholes.find(read_plan(done.folder), [])
    assert not (done.folder / wholes.FILE).exists()
    assert "part 2 of 3 of the circuits alone, and networks are compared by all" in " ".join(done.err.split())


def test_plan_says_how_many_circuits_each_part_has(mi_run: MiRun) -> None:
    done = mi_run("-m", *CENSUS, *of_parts(3), "plan=true")
    assert done.status == 0
    assert "3 jobs to run, 717 circuits" in done.out


def test_a_damaged_file_of_wholes_is_as_none(mi_run: MiRun) -> None:
    done = in_three_parts(mi_run)
    (done.folder / wholes.FILE).write_text("{")
    assert not mi_runner.open_sweep(done.folder).headline.size
    assert again(mi_run, done.folder).status == 0
    assert mi_runner.open_sweep(done.folder).headline.size

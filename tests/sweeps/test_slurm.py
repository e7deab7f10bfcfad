"""Sweeps on a Slurm that really runs, with accounts and without; some jobs are on a node of another host name."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from mi_runner.runs import states
from mi_runner.sweeps import dispatch
from tests.conftest import Ended
from tests.launched import TINY, Started, statuses, table
from tests.slurm_here import SlurmHere, missing

SLURM = ("hydra/launcher=submitit_slurm", "hydra.launcher.threads=1", "hydra.launcher.mem_gb=4")
MiRun = Callable[..., Ended]


def running(accounting: bool) -> Iterator[SlurmHere]:
    if why := missing(accounting=accounting):
        pytest.skip(why)
    with TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder:
        cluster = SlurmHere(Path(folder), accounting=accounting)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="module")
def without_accounts() -> Iterator[SlurmHere]:
    yield from running(accounting=False)


@pytest.fixture(scope="module")
def with_accounts() -> Iterator[SlurmHere]:
    yield from running(accounting=True)


@pytest.fixture
def slurm(without_accounts: SlurmHere, monkeypatch: pytest.MonkeyPatch) -> SlurmHere:
    """A Slurm without accounts, for commands in this process and in others; `sacct` fails."""
    for name, value in without_accounts.environment.items():
        monkeypatch.setenv(name, value)
    return without_accounts


def until(what: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return value


def ids(sweep: Path) -> dict[int, str]:
    """The number of a job → Slurm's id, as the sweep's folder has them."""
    return {int(path.stem): json.loads(path.read_text())["id"] for path in (sweep / ".jobs").glob("*.json")}


def of_sweep(cluster: SlurmHere, sweep: Path) -> dict[str, str]:
    """Id → state of every job that was ever submitted for a sweep."""
    name = json.loads((sweep / ".jobs/0.json").read_text())["name"].rpartition("-")[0]
    return {job: state for job, (of_job, state) in cluster.jobs().items() if of_job.startswith(name)}


def test_what_happens_to_a_job_is_what_is_said(slurm: SlurmHere, tmp_path: Path) -> None:
    """Killed on another host, cancelled while it runs and while it waits; one is done, and no job runs twice.

    A job has two CPUs, as a node has, so one runs on each host; standard output has the tables and the folder alone.
    """
    sweep = Started(tmp_path, "training.epochs=100000,90000,80000,1", *SLURM, "hydra.launcher.threads=2")
    records = {job: sweep.wait_for(job, "running") for job in range(2)}
    hosts = {record["host"]: job for job, record in records.items()}
    here, elsewhere = hosts[os.uname().nodename], hosts["elsewhere"]
    given = until(lambda: submitted if len(submitted := ids(sweep.folder)) == 4 else None)
    with pytest.raises(subprocess.CalledProcessError):  # nobody would watch the second run
        slurm.run("scontrol", "requeue", given[elsewhere])
    slurm.run("scancel", given[here], given[2])
    os.kill(int(str(records[elsewhere]["pid"])), signal.SIGKILL)
    done = sweep.ended()
    expected = {elsewhere: "killed", here: "cancelled", 2: "cancelled", 3: "done"}
    assert done.status == 1 and statuses(sweep.folder) == expected, done.err
    causes = {int(row["job"]): row["error"] for row in table(sweep.folder)}
    assert causes == {
        elsewhere: f"Slurm job {given[elsewhere]} was ended on elsewhere by SIGKILL",
        here: f"Slurm job {given[here]} was cancelled on here",
        2: f"Slurm job {given[2]} was cancelled before it began",
        3: "",
    }
    assert done.out.splitlines()[-1] == str(sweep.folder.relative_to(tmp_path))
    assert done.out.startswith("accuracy") and "slurm" not in done.out.lower() and "Traceback" not in done.err
    assert of_sweep(slurm, sweep.folder).keys() == set(given.values())


def test_a_sweep_that_is_killed_goes_on_with_the_jobs_that_slurm_has(
    slurm: SlurmHere, tmp_path: Path, mi_run: MiRun
) -> None:
    """Two run on another host, one waits. The sweep is killed, and one of the two with it."""
    sweep = Started(tmp_path, "training.epochs=1500,1501,2", *SLURM, "hydra.launcher.partition=elsewhere")
    records = {job: sweep.wait_for(job, "running") for job in range(2)}
    given = until(lambda: found if len(found := ids(sweep.folder)) == 3 else None)
    sweep.process.kill()
    sweep.process.communicate(timeout=60)
    os.kill(int(str(records[0]["pid"])), signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{records[0]['pid']}"))
    until(lambda: slurm.jobs()[given[0]][1] == "FAILED")
    assert sweep.status(0) == "running" and records[0]["host"] == "elsewhere"
    done = mi_run("-m", f"resume={sweep.folder}")
    assert done.status == 0, done.err
    assert "100 at once" in done.err  # the launcher is that of the sweep
    assert f"job 1 was submitted before, it is Slurm job {given[1]}: it is waited for" in done.err
    assert statuses(sweep.folder) == dict.fromkeys(range(3), "done")
    after = ids(sweep.folder)
    assert after[1] == given[1] and after[2] == given[2] and after[0] != given[0]
    assert of_sweep(slurm, sweep.folder).keys() == {*given.values(), after[0]}
    assert {json.loads((sweep.folder / f"{job}/run.json").read_text())["host"] for job in range(3)} == {"elsewhere"}
    assert [path.name for path in (sweep.folder / "earlier").iterdir()] == ["0-1"]


def test_a_job_waits_and_needs_more_memory_than_it_has(
    slurm: SlurmHere, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "SECONDS_UNTIL_WAITING_IS_SAID", 1)
    few = ("hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=0.1", "hydra.launcher.more={begin: now+5}")
    done = mi_run("-m", *TINY, "training.epochs=1", *few)
    assert done.status == 1 and statuses(done.folder) == {0: "out of memory"}, done.err
    assert [row["error"] for row in table(done.folder)] == ["it needed more than hydra.launcher.mem_gb=0.1"]
    assert f"1 jobs wait in Slurm's queue: BeginTime ({ids(done.folder)[0]})" in done.err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("partition=nowhere",), "Slurm refuses such a job (invalid partition specified: nowhere"),
        (("threads=3",), "no node of partition all has more than 2 CPUs. Type hydra.launcher.threads=2 or fewer"),
        (("mem_gb=100",), "mem_gb=100: no node of partition all has more than 62.5 GB"),
        (("gpus=1",), "Invalid generic resource"),
        (("more={constraint: a100}",), "Invalid feature specification"),
        (("more={no_such_option: 1}",), "no-such-option"),
        (("more={requeue: true}",), "hydra.launcher.more: requeue is not allowed"),
        (("partition=short", "timeout_min=2"), "gives a job at most 1 minutes. Type hydra.launcher.timeout_min=1"),
    ],
    ids=lambda part: part[0] if isinstance(part, tuple) else "",
)
def test_jobs_that_slurm_would_never_run_are_a_mistake(
    options: tuple[str, ...], text: str, slurm: SlurmHere, mi_run: MiRun
) -> None:
    asked = ("hydra/launcher=submitit_slurm", *(f"hydra.launcher.{option}" for option in options))
    refused = mi_run("-m", *TINY, "seed=0,1", *asked)
    assert refused.status == 2 and text in refused.err, refused.err
    assert not Path("outputs").exists()


def test_a_limit_on_submitted_jobs_and_a_controller_that_is_restarted(
    with_accounts: SlurmHere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in with_accounts.environment.items():
        monkeypatch.setenv(name, value)
    with_accounts.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=2")
    sweep = Started(tmp_path, "training.epochs=602,1,2", *SLURM)
    sweep.wait_for(0, "running")
    with_accounts.end("slurmctld")
    time.sleep(2)
    with_accounts.start_controller()
    done = sweep.ended()
    assert done.status == 0 and statuses(sweep.folder) == dict.fromkeys(range(3), "done"), done.err
    assert "Slurm takes no more jobs for now" in done.err and "job 2 is tried again in 2 s" in done.err
    assert len(of_sweep(with_accounts, sweep.folder)) == 3
    with (sweep.folder / "sweep.csv").open(newline="") as file:
        assert {row["status"] for row in csv.DictReader(file)} == {"done"}
    assert states.read_state(sweep.folder / "0").done

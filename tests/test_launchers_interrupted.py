"""Sweeps that are interrupted or killed in the middle, on every engine."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from .launched import Started, statuses, table


def test_an_interrupted_sweep_ends_its_jobs(launcher: str, tmp_path: Path) -> None:
    number, status = (signal.SIGINT, 130) if "submitit" in launcher else (signal.SIGTERM, 143)
    sweep = Started(tmp_path, "training.epochs=1,100000,90000,2", launcher, "hydra.launcher.n_jobs=2")
    pids = [int(str(sweep.wait_for(job, "running")["pid"])) for job in (1, 2)]
    sweep.process.send_signal(number)
    done = sweep.ended()
    assert done.status == status and "Traceback" not in done.err, done.err
    assert statuses(sweep.folder) == {0: "done", 1: "interrupted", 2: "interrupted", 3: "missing"}
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker is left"
        time.sleep(0.1)


def test_a_sweep_that_is_killed_is_resumed(launcher: str, tmp_path: Path) -> None:
    """Jobs that outlive it are waited for here; what is done then is not run again."""
    arguments = ("training.epochs=1,600,2", launcher, "hydra.launcher.n_jobs=1")
    sweep = Started(tmp_path, *arguments)
    sweep.wait_for(1, "running")
    sweep.process.kill()
    sweep.process.communicate(timeout=60)
    sweep.wait_for(1, "done", "killed", "interrupted")
    assert sweep.status(0) == "done" and sweep.status(2) == "missing"
    first = (sweep.folder / "0/run.json").read_text()
    resumed = Started(tmp_path, *arguments, f"resume={sweep.folder}").ended()
    assert resumed.status == 0, resumed.err
    assert statuses(sweep.folder) == dict.fromkeys(range(3), "done")
    assert (sweep.folder / "0/run.json").read_text() == first
    assert [row["job"] for row in table(sweep.folder)] == list("000011112222")

"""A sweep that is killed in the middle, resumed and interrupted, on every engine."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.launched import Started, statuses, table


def test_a_sweep_that_is_killed_is_resumed_and_an_interruption_ends_its_jobs(launcher: str, tmp_path: Path) -> None:
    """Jobs that outlive it are waited for here; what is done then is not run again."""
    number, status = (signal.SIGINT, 130) if "submitit" in launcher else (signal.SIGTERM, 143)
    arguments = ("training.epochs=1,600,100000,90000,2", launcher)
    own_store = {"MI_RUN_CACHE": str(tmp_path / "store")}  # job 1 trains, whatever other tests have trained
    sweep = Started(tmp_path, *arguments, "hydra.launcher.n_jobs=1", environment=own_store)
    sweep.wait_for(1, "running")
    sweep.process.kill()
    sweep.process.wait(timeout=60)
    sweep.wait_for(1, "done", "killed", "interrupted")
    assert sweep.status(0) == "done" and sweep.status(2) == "missing"
    first = (sweep.folder / "0/run.json").read_text()

    options = ("hydra.launcher.n_jobs=2", f"resume={sweep.folder}")
    resumed = Started(tmp_path, *arguments, *options, environment=own_store)
    pids = [int(str(resumed.wait_for(job, "running")["pid"])) for job in (2, 3)]
    resumed.process.send_signal(number)
    done = resumed.ended()
    assert done.status == status and "Traceback" not in done.err, done.err
    assert statuses(sweep.folder) == {0: "done", 1: "done", 2: "interrupted", 3: "interrupted", 4: "missing"}
    assert (sweep.folder / "0/run.json").read_text() == first
    assert [row["job"] for row in table(sweep.folder)] == list("00001111234")
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker is left"
        time.sleep(0.1)

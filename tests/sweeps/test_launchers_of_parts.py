"""A census in parts on every engine, a worker killed in the middle, and a resume: the tables are those of one run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.census_commands import CENSUS, assert_same_tables, of_parts, tables_of
from tests.forked import Forked
from tests.launched import Started, ended, own_store, statuses

LONG = ("training.epochs=2000",)
"""The first job trains so long that it can be killed meanwhile; the others wait for the network, or train it."""


def test_a_worker_is_killed_and_the_missing_part_is_resumed(launcher: str, tmp_path: Path) -> None:
    store = own_store(tmp_path / "store")
    options = (*LONG, *of_parts(4), launcher, "hydra.launcher.n_jobs=1")
    sweep = Started(tmp_path, *options, environment=store, tiny=CENSUS)
    sweep.folder = tmp_path / "outputs/sweeps/circuits/v001"
    os.kill(int(str(sweep.wait_for(0, "running")["pid"])), signal.SIGKILL)
    done = sweep.ended()
    assert done.status == 1, done.err
    assert statuses(sweep.folder) == {0: "killed", 1: "done", 2: "done", 3: "done"}, done.err
    assert "part 1 of 4 is missing" in (sweep.folder / "answer.txt").read_text()
    assert not tables_of(sweep.folder)

    resumed = ended(Forked("-m", f"resume={sweep.folder}", cwd=tmp_path, environment=store), timeout=300)
    assert resumed.status == 0, resumed.err
    assert "1 jobs" in resumed.err
    one_run = ended(Forked(*CENSUS, *LONG, cwd=tmp_path, environment=store), timeout=300)
    assert one_run.status == 0, one_run.err
    assert_same_tables(sweep.folder, tmp_path / one_run.out.splitlines()[-1])

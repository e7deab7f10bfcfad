"""Is work that was killed, torn or damaged told from work that is done: in a run folder, in the model store?"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import torch
from torch import nn

from mi_runner.datasets import Dataset
from mi_runner.experiments.selftest.networks import inputs_of
from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.machine import cache
from mi_runner.machine.files import sha256, written_whole
from mi_runner.models import Built
from mi_runner.progress import log
from mi_runner.training import model_store
from mi_runner.training.options import TrainingOptions


class _Killed(BaseException):
    """Ends a write in the middle."""


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mi-run-selftest-") as name:
        yield Path(name)


def killed_write() -> Compared:
    """Compares what a file has after a write over it ended in the middle with what it had: 1 if equal."""
    with _folder() as folder:
        path = folder / "table.csv"
        path.write_text("whole\n")
        with suppress(_Killed), written_whole(path) as beside:
            beside.write_text("ha")
            raise _Killed
        return Compared(1, int(path.read_text() == "whole\n"))


def finished_write() -> Compared:
    """Compares the files in a folder after a write with the file alone: 1 if nothing else is left."""
    with _folder() as folder:
        with written_whole(folder / "table.csv") as beside:
            beside.write_text("whole\n")
        return Compared(1, int([path.name for path in folder.iterdir()] == ["table.csv"]))


def digest() -> Compared:
    """Compares a file's digest with that of its bytes: 1 if equal."""
    with _folder() as folder:
        (folder / "a").write_bytes(b"abc")
        return Compared(1, int(sha256(folder / "a") == hashlib.sha256(b"abc").hexdigest()))


def killed_run() -> Compared:
    """Compares the runs that `mi-run ls` calls done with those that are: one of three.

    One is done, one was killed while its record says that it runs, and one was killed while it wrote its record.
    """
    running = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    record = {"schema_version": 1, "host": socket.gethostname(), "pid": running.pid}
    texts = [json.dumps({**record, "status": status}) for status in ("done", "running", "running")]
    texts[2] = texts[2][:-9]
    with _folder() as folder:
        for version, text in enumerate(texts, start=1):
            place = folder / f"train/logic-mlp/v{version:03d}"
            place.mkdir(parents=True)
            (place / "run.json").write_text(text)
        running.kill()
        running.wait()
        found = _statuses(folder)
    return Compared(1, found.count("done") if len(found) == len(texts) else -1)


def _statuses(folder: Path) -> list[str]:
    """Returns the states of the runs below a folder, as the command lists them."""
    asked = ["ls", str(folder), "--columns", "path,status", "--format", "json"]
    listed = subprocess.run([sys.executable, "-m", "mi_runner", *asked], capture_output=True, text=True, check=True)
    return [row["status"] for row in json.loads(listed.stdout)]


@contextmanager
def _own_store() -> Iterator[Path]:
    """Lets the model store lie in a folder of its own within the block."""
    before = {name: os.environ.get(name) for name in (cache.VARIABLE, cache.SHARED)}
    said = log.disabled
    folder = Path(tempfile.mkdtemp(prefix="mi-run-selftest-"))
    try:
        os.environ[cache.VARIABLE] = str(folder)
        os.environ.pop(cache.SHARED, None)
        log.disabled = True  # its lines on trainings and damage would be taken for those of the user's own store
        yield folder
    finally:
        log.disabled = said
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def store(damage: str) -> Compared:
    """Compares how often a network is trained that is asked for three times, the file being damaged before the third.

    Without damage it is trained once, otherwise twice: a damaged file is not taken for the trained network.
    """
    x = inputs_of(2)
    y = torch.tensor([0.0, 1.0, 1.0, 0.0])
    data = Dataset("selftest", x, y, x, y, None)
    n_trained = 0
    with _own_store():
        for time in range(3):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                net = nn.Sequential(nn.Linear(2, 1))
            (stored,) = model_store.obtain([Built(net, data)], TrainingOptions(epochs=1, batch_size=4), seeds=[0])
            n_trained += stored.trained_now
            if time == 1 and damage == "cut" and stored.path is not None:
                stored.path.write_bytes(stored.path.read_bytes()[:-1])
            if time == 1 and damage == "killed" and stored.path is not None:
                (stored.path.parent / model_store.RECORD).unlink()
    return Compared(1 if damage == "none" else 2, n_trained)


FOLDERS = (
    Check(
        "killed_write", "a file keeps its content where a write over it ends in the middle (1: it does)", killed_write
    ),
    Check("finished_write", "a write leaves the file and nothing besides (1: so it is)", finished_write),
    Check(
        "killed_run", "runs that mi-run ls calls done, of one done, one killed, and one with a torn record", killed_run
    ),
    Check("digest", "a file's digest is that of its bytes (1: it is)", digest),
    Check("store", "trainings of a network that is asked for three times", partial(store, "none")),
    Check("store_cut", "the same where its file is cut before the third time", partial(store, "cut")),
    Check("store_killed", "the same where its record, which is written last, is missing", partial(store, "killed")),
)

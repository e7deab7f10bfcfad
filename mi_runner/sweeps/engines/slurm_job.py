"""What a job of Slurm's queue runs: `python -m mi_runner.sweeps.engines.slurm_job TASK`, a task that was pickled."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from mi_runner.machine import private
from mi_runner.sweeps.worker import Task, run_task
from mi_runner.tables import console

if __name__ == "__main__":
    # A pickle can run code, so it is read only if the sweep of the same user wrote it, and nobody else can write it.
    task: Task = pickle.loads(private.read_bytes(Path(sys.argv[1])))
    ending = run_task(task)
    if ending.error:
        console.note(ending.error)
    sys.exit(1 if ending.error else 0)

"""What a job of Slurm's queue runs: `python -m mi_runner.sweeps.engines.slurm_job TASK`, a task that was pickled."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from mi_runner import console
from mi_runner.sweeps.worker import Task, run_task

if __name__ == "__main__":
    task: Task = pickle.loads(Path(sys.argv[1]).read_bytes())  # the sweep of the same user wrote it
    ending = run_task(task)
    if ending.error:
        console.note(ending.error)
    sys.exit(1 if ending.error else 0)

"""`mi-run bench`: a run of experiment=discovery on each network of a list, and what they say together.

    options → a job for each network → the folder of a sweep, wherever a launcher runs the jobs
            → results.csv, leaderboard.csv, pages, from the jobs' folders alone

It is a sweep whose jobs are listed, so it is planned, launched, interrupted and resumed as one.
"""

from __future__ import annotations

from collections.abc import Sequence

from mi_runner.bench.finish import finish
from mi_runner.bench.jobs import BENCH, jobs_of
from mi_runner.config import hydra_composition, hydra_keys
from mi_runner.machine import hardware
from mi_runner.sweeps import sweep

LAUNCHER = "hydra/launcher"


def run(overrides: Sequence[str], command: str) -> int:
    """Runs a bench, or goes on with one, and returns the exit status.

    Args:
        overrides: those of the command line.
        command: the command line, for the record.

    Raises:
        ConfigError: a mistake in the command, before any job runs.
        RunFailed: the folder can't be made or written.
    """
    hydra_keys.check(overrides, has_engines=True)
    hydra_composition.register_schemas()
    keys = {override.partition("=")[0] for override in overrides}
    launched = [] if {LAUNCHER, "resume", "sweep", "plan"} & keys or hardware.n_cores() == 1 else [f"{LAUNCHER}=joblib"]
    kind = sweep.Kind(f"mi-run {BENCH}", jobs_of, finish, folder=BENCH, of=BENCH)
    return sweep.run([*launched, *overrides], command, kind)

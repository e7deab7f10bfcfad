"""Folders of runs and sweeps that are done, without a run."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any


def write(folder: Path, **changes: Any) -> Path:
    """A run's folder with the run.json that a done run of train has, but for the changes; keys of the config dotted."""
    record: dict[str, Any] = {
        **{"schema_version": 1, "status": "done", "experiment": "train", "dataset": "mnist", "model": "mlp", "seed": 0},
        **{"started": "2026-01-02T03:04:05+00:00", "finished": "2026-01-02T03:04:09+00:00", "error": None},
        **{"host": socket.gethostname(), "pid": 2**22 + 1, "exit_status": 0, "timings": {"total": 4.0}},
        "config": {"seed": 0, "training.epochs": 3, "model.hidden_sizes": [8, 8], "dataset.limit": None},
        "metrics": {"loss": 0.25, "accuracy": 0.5},
    }
    config = {name: value for name, value in changes.items() if "." in name}
    record |= {name: value for name, value in changes.items() if name not in config}
    record["config"] = {**record["config"], **config, "seed": record["seed"]}
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def write_sweep(folder: Path, jobs: dict[str, list[Any]], **changes: Any) -> Path:
    """A sweep's folder with a job for each value of the swept keys, which are listed side by side."""
    folder.mkdir(parents=True)
    listed = [dict(zip(jobs, values, strict=True)) for values in zip(*jobs.values(), strict=True)]
    jobs_of_plan = [
        {"number": number, "overrides": [], "swept": swept, "config_hash": ""} for number, swept in enumerate(listed)
    ]
    plan: dict[str, Any] = {"jobs": jobs_of_plan, "command": "mi-run -m"}
    plan |= {"overrides": [], "base": {}, "code": "", "left_out": []}
    (folder / "sweep.json").write_text(json.dumps({"schema_version": 1, "swept": list(jobs), **plan, **changes}))
    return folder

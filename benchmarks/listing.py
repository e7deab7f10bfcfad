"""How long `mi-run ls` takes for 1,000 runs, as a whole process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import took
from mi_runner.config import composition
from mi_runner.config.composition import flattened

N_RUNS = 1000


def run() -> None:
    """Print the seconds of a list with all rows, of one of the few that a condition fits, and of an empty folder's."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "empty").mkdir()
        write_runs(Path(name) / "outputs", N_RUNS)

        def process(*arguments: str) -> None:
            command = [sys.executable, "-m", "mi_runner", "ls", *arguments]
            subprocess.run(command, cwd=name, capture_output=True, check=True)

        for arguments in (
            (),
            ("--format", "csv"),
            ("--where", "accuracy>0.995", "--sort", "training.learning_rate"),
            ("empty",),
        ):
            calls = [took(lambda arguments=arguments: process(*arguments)) for _ in range(5)]
            wall, cpu = (statistics.median(seconds) for seconds in zip(*calls, strict=True))
            words = " ".join(("mi-run ls", *arguments))
            print(f"{N_RUNS} runs, {words}: {wall:.2f} s, CPU {cpu:.2f} s; wanted at most 1 s", flush=True)


def write_runs(folder: Path, n: int) -> None:
    """Write the run.json of `n` ablations with a hundred metrics each, and the folder that each has."""
    config = flattened(composition.compose(["experiment=ablation", "model=skip"]))
    for number in range(n):
        place = folder / f"ablation/mnist-skip/v{number + 1:03d}"
        (place / "figures").mkdir(parents=True)
        metrics = {"accuracy": number / n} | {f"accuracy/site{site}/zero": site / 100 for site in range(100)}
        record = {
            **{"schema_version": 1, "status": "done", "experiment": "ablation", "dataset": "mnist", "model": "skip"},
            **{"seed": number, "started": f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}+00:00"},
            "config": {**config, "seed": number, "training.learning_rate": number / 1e5},
            "metrics": metrics,
            "files": {f"table{table}.csv": "0" * 64 for table in range(20)},
        }
        (place / "run.json").write_text(json.dumps(record, indent=2))

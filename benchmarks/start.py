"""How soon the command answers when there is nothing to compute, and where the time of the second main job goes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import seconds
from mi_runner.runs.record import read_run


def run() -> None:
    """Print seconds of whole processes: beside them those of a Python that only imports Hydra, and torch."""
    with tempfile.TemporaryDirectory() as folder:

        def process(*arguments: str) -> subprocess.CompletedProcess[str]:
            environment = {**os.environ, "MI_RUN_CACHE": f"{folder}/cache"}  # no model is found in the first run
            return subprocess.run(
                [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )

        for name, arguments in (
            ("mi-run --help", ("-m", "mi_runner", "--help")),
            ("a typo", ("-m", "mi_runner", "experiment=abltion")),
            ("--cfg job", ("-m", "mi_runner", "--cfg", "job")),
            ("python -c 'import hydra'", ("-c", "import hydra")),
            ("python -c 'import torch'", ("-c", "import torch")),
        ):
            times = [seconds(lambda arguments=arguments: process(*arguments)) for _ in range(5)]
            print(f"start, {name}: {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})", flush=True)
        for number in ("first", "second"):
            whole = seconds(lambda: process("-m", "mi_runner", "experiment=ablation", "model=skip"))
            record, _ = read_run(Path(folder) / "outputs/ablation/mnist-skip/latest/run.json")
            print(f"main job, {number} run: {whole:.1f} s as a whole process, of which {record.timings}", flush=True)

"""How soon the command answers when there is nothing to compute, and where the time of the second main job goes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.timing import seconds
from mi_runner.runs.record import read_run

BROKEN = """
import torch

class Shapes(torch.nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.first, self.second = torch.nn.Linear(784, 8), torch.nn.Linear(9, n_outputs)

    def forward(self, x):
        return self.second(torch.relu(self.first(x.flatten(1))))

class Branches(torch.nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.only = torch.nn.Linear(784, n_outputs)

    def forward(self, x):
        outputs = self.only(x.flatten(1))
        return outputs if outputs.sum() > 0 else -outputs
"""
"""Networks of one's own with a mistake: sizes that don't fit, and a branch that depends on the data."""

REPEATS = 5


TORCH = ("-c", "import torch")


def _in_words(times: Sequence[float]) -> str:
    """The median and the ends."""
    return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"


Process = Callable[..., subprocess.CompletedProcess[str]]


def run() -> None:
    """Print seconds of whole processes: beside them those of a Python that only imports Hydra, and torch."""
    with tempfile.TemporaryDirectory() as folder:

        def process(*arguments: str) -> subprocess.CompletedProcess[str]:
            environment = {**os.environ, "MI_RUN_CACHE": f"{folder}/cache"}  # no model is found in the first run
            return subprocess.run(
                [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )

        answers(process)
        errors(process, Path(folder))
        for number in ("first", "second"):
            whole = seconds(lambda: process("-m", "mi_runner", "experiment=ablation", "model=skip"))
            record, _ = read_run(Path(folder) / "outputs/ablation/mnist-skip/latest/run.json")
            print(f"main job, {number} run: {whole:.1f} s as a whole process, of which {record.timings}", flush=True)


def answers(process: Process) -> None:
    """Print the seconds until a command answers that computes nothing."""
    for name, arguments in (
        ("mi-run --help", ("-m", "mi_runner", "--help")),
        ("a typo", ("-m", "mi_runner", "experiment=abltion")),
        ("--cfg job", ("-m", "mi_runner", "--cfg", "job")),
        ("python -c 'import hydra'", ("-c", "import hydra")),
        ("python -c 'import torch'", TORCH),
    ):
        times = [seconds(lambda arguments=arguments: process(*arguments)) for _ in range(REPEATS)]
        print(f"start, {name}: {_in_words(times)}", flush=True)


def errors(process: Process, folder: Path) -> None:
    """Print the seconds until an error in one's network is said, and those of importing torch, in turn."""
    (folder / "broken.py").write_text(BROKEN)
    for network in ("Shapes", "Branches"):
        arguments = ("-m", "mi_runner", "experiment=ablation", "model=external", f"model.factory=broken:{network}")
        said = process(*arguments)  # the first one unpacks the data into the cache
        assert said.returncode == 2 and said.stdout == "", said.stderr
        pairs = [
            (seconds(lambda arguments=arguments: process(*arguments)), seconds(lambda: process(*TORCH)))
            for _ in range(REPEATS)
        ]
        own, torch_alone = zip(*pairs, strict=True)
        print(
            f"an error in one's network, {network}: {_in_words(own)}; import torch, in turn with it: "
            f"{_in_words(torch_alone)}; longer by {_in_words([one - other for one, other in pairs])}",
            flush=True,
        )

"""What a sweep costs above its jobs' own work: seconds a job, seconds of its tables, memory."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path

from benchmarks.timing import seconds
from mi_runner.config import composition
from mi_runner.runs import runner, states
from mi_runner.runs.record import read_run
from mi_runner.sweeps import sweep as sweeps
from mi_runner.sweeps.sweep_plan import read_plan

N_JOBS = 500
TINY = ("experiment=train", "dataset=mod_add", "dataset.train_size=64", "dataset.test_size=64", "training.epochs=2")


def run() -> None:
    """A sweep of 500 tiny jobs, beside the same runs one by one in the same process."""
    with tempfile.TemporaryDirectory() as name, _cache(f"{name}/cache"):
        output = f"output_dir={name}"

        def sweep(first: int, last: int) -> Path:
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                assert sweeps.run([*TINY, output, f"seed=range({first},{last})"], "benchmark") == 0
            return Path(out.getvalue().splitlines()[-1])

        sweep(10_000, 10_020)  # imports, caches
        begun = _megabytes()
        sweep(20_000, 20_100)
        after_100 = _megabytes()
        folders: list[Path] = []
        whole = seconds(lambda: folders.append(sweep(0, N_JOBS)))
        after_500 = _megabytes()
        records = [read_run(path)[0] for path in folders[0].glob("*/run.json")]
        work = sum(record.timings["total"] for record in records)
        with contextlib.redirect_stdout(io.StringIO()):
            plan = read_plan(folders[0])
            tables = seconds(lambda: sweeps.finish(plan, folders[0]))
        print(
            f"sweep of {N_JOBS} jobs: {whole:.1f} s, {1000 * (whole - work) / N_JOBS:.0f} ms a job above the "
            f"{1000 * work / N_JOBS:.0f} ms of its own work; wanted at most 150",
            flush=True,
        )
        print(f"its tables and figures: {tables:.2f} s; wanted at most 3", flush=True)
        memory = f"{begun:.0f} MB before, {after_100:.0f} MB after 100 jobs more, {after_500:.0f} MB after 500 more"
        print(f"memory: {memory}; wanted: it doesn't grow", flush=True)

        def one_by_one() -> None:
            for seed in range(30_000, 30_020):
                with contextlib.redirect_stderr(io.StringIO()):
                    runner.run(composition.compose([*TINY, output, f"seed={seed}"]))

        alone, together = seconds(one_by_one) / 20, seconds(lambda: sweep(40_000, 40_020)) / 20
        print(f"20 jobs: {together:.2f} s each in a sweep, {alone:.2f} s each one by one in this process", flush=True)
        assert states.read_state(folders[0] / "0").done


@contextlib.contextmanager
def _cache(folder: str):  # type: ignore[no-untyped-def]
    before = os.environ.get("MI_RUN_CACHE")
    os.environ["MI_RUN_CACHE"] = folder
    try:
        yield
    finally:
        os.environ.pop("MI_RUN_CACHE")
        if before is not None:
            os.environ["MI_RUN_CACHE"] = before


def _megabytes() -> float:
    """Memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

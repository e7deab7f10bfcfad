"""Tests of one fault, in a process forked from one that has imported torch, so that no fault costs seconds of that."""

from __future__ import annotations

import math
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from mutants.places import Fault
from mutants.recorded import Recorder, Recording

IMPORTED = (
    *("torch", "torch.optim", "torch.func", "torch.fx.experimental.proxy_tensor", "safetensors.torch", "numba"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "pandas", "scipy.optimize", "scipy.special", "pyarrow"),
    *("hydra", "hydra.core.override_parser.overrides_parser", "rich.console", "rich.table", "yaml", "filelock"),
    *("platformdirs", "statistics", "sklearn.linear_model", "pytest", "coverage", "numba.core.caching"),
)
"""What the tests import, but for mi_runner and themselves."""

COMPILATION = 120
"""Seconds in which the kernels are compiled that a fault changes."""


def copy(checkout: Path, to: Path) -> None:
    """What the tests read, without what git ignores. Faults are put into this copy alone."""
    for name in ("mi_runner", "conf", "tests", "docs", "benchmarks"):
        shutil.copytree(checkout / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
    for path in checkout.glob("*.*"):
        if path.is_file():
            shutil.copy(path, to)


def import_libraries() -> None:
    """Once for all; nothing may be computed before a fork, because threads don't survive it."""
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE", NUMBA_NUM_THREADS="1", PYTHONHASHSEED="0")
    for name in IMPORTED:
        import_module(name)


def record(checkout: Path, test_file: str, recording: Path, log: Path) -> None:
    """Runs a file of tests without a fault, and writes which lines each test runs."""
    version = kernels_version(checkout)
    recorder = lambda: [Recorder(checkout, recording)]  # noqa: E731
    outcome = forked(
        partial(_tests, checkout, [test_file], recording.parent / "pytest_cache", version, recorder=recorder),
        log,
        seconds=1200,
    )
    if not recording.exists():
        raise RuntimeError(f"{test_file} could not be recorded ({outcome}): see {log}")


def noticed(fault: Fault, recording: Recording, log: Path, *, most: float = math.inf) -> str:
    """How the tests of a fault's statement notice it: failed, crashed, endless; or how not: passed, unreached.

    Args:
        most: seconds of the tests that are run; if there are more, those that take least.
    """
    tests = recording.tests(fault, most)
    if not tests:
        return "unreached"
    checkout, file = recording.checkout, recording.checkout / fault.file
    before, times = file.read_text(), file.stat()
    version, cache = kernels_version(checkout), log.parent / "pytest_cache"
    seconds = 15 + 3 * sum(recording.seconds[test] for test in tests)
    if recording.is_compiled(fault):
        cache, seconds = _without_kernels(cache, recording.changed_kernels(fault), checkout), seconds + COMPILATION
    cached = list((file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"))
    try:
        file.write_text(fault.source(checkout))
        for path in cached:
            path.unlink()
        files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        # First the two files that take least, because most faults are noticed there.
        for group in (files[:2], files[2:]):
            of_group = [test for test in tests if test.partition("::")[0] in group]
            outcome = forked(partial(_tests, checkout, of_group, cache, version), log, seconds) if group else "passed"
            if outcome != "passed":
                break
        return outcome
    finally:
        file.write_text(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        for path in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            path.unlink()


def _without_kernels(cache: Path, names: set[str], checkout: Path) -> Path:
    """A copy of what is compiled, in the copy of the sources, but for these functions."""
    copied = checkout / "pytest_cache"
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(cache, copied)
    for path in copied.rglob("*.nb[ic]"):
        if path.name.partition("-")[0].rpartition(".")[2] in names:
            path.unlink()
    return copied


def kernels_version(checkout: Path) -> str:
    """Of the compiled kernels without a fault, so that a fault outside of them compiles nothing."""
    package = checkout / "mi_runner"
    # From the copy, and by another name: nothing of mi_runner may be imported before the fork.
    spec = spec_from_file_location("sources_of_the_copy", package / "machine/sources.py")
    assert spec is not None and spec.loader is not None
    sources = module_from_spec(spec)
    spec.loader.exec_module(sources)
    return str(sources.digest(sources.kernel_sources(package), package))[:12]


def forked(work: Callable[[], int], log: Path, seconds: float) -> str:
    """Runs work in a process of its own: passed, failed, crashed, or endless after so many seconds of a processor."""
    pid = os.fork()
    if not pid:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
        status = 3
        try:
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    latest = time.monotonic() + 30 * seconds  # waiting costs no time of a processor
    ended, status = 0, 0
    try:
        while not ended:
            time.sleep(0.05)
            if time.monotonic() > latest:
                os.killpg(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, os.WNOHANG)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # the tests, if this process was interrupted; and what they left
    code = os.waitstatus_to_exitcode(status)
    if code in (0, 1):
        return ("passed", "failed")[code]
    return "endless" if code in (-signal.SIGXCPU, -signal.SIGKILL) else "crashed"


def _tests(
    checkout: Path, tests: Sequence[str], cache: Path, version: str, *, recorder: Callable[[], list[object]] = list
) -> int:
    """Runs tests in the copy; pytest's cache has the compiled kernels of this version."""
    os.chdir(checkout)
    here = str(Path(__file__).parent.parent)
    sys.path[:] = [str(checkout), *(path for path in sys.path if path not in ("", here))]
    plugins = recorder()  # before anything of mi_runner is imported
    import mi_runner.machine.compiled as kernels

    kernels._version = lambda: version
    import pytest

    options = [
        *("-q", "--tb=line", "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning"),
        *("--basetemp", str(checkout / "tests_tmp"), "-o", f"cache_dir={cache}", *([] if plugins else ["-x"])),
    ]
    return int(pytest.main([*options, *tests], plugins=plugins))

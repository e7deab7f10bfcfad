"""What the tests share: a cache of their own, the program in-process and as a real command, and their order."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mi_runner.cli import command as cli
from mi_runner.machine import drawing, threads
from mi_runner.progress import log
from tests import forked
from tests.undrawn import one_pixel

pytest_plugins = ("tests.quick",)

gc.disable()  # until all is imported, see pytest_collection_finish
threads.let_waiting_threads_sleep()  # before torch is imported, by the tests: xdist's own process needs none
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests' processes share the cores: threads=auto is one thread
os.environ.setdefault("RAY_worker_niceness", "0")  # its jobs would wait for all other tests
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # processes for jobs that never come

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell ignores Ctrl-C for what it starts in the background, and programs inherit that. The tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # likewise below nohup

REPOSITORY = Path(__file__).parent.parent
ENGINES = {"joblib": "joblib", "submitit_local": "submitit", "ray": "ray"}


LONGEST = (
    *("sweeps/slurm", "docs/docs", "cli/plugins"),
    *("sweeps/launchers[ray]", "experiments/networks_of_tutorials", "experiments/decoder", "sweeps/launchers"),
    *("sweeps/launchers[joblib]", "sweeps/launchers[submitit_local]", "sweeps/launchers_interrupted[ray]"),
    *("sweeps/sweeps", "sweeps/launchers_interrupted[submitit_local]", "sweeps/launchers_interrupted[joblib]"),
    *("sweeps/engines", "cli/streams", "sweeps/doors", "runs/records", "config/options"),
    *("config/composition", "experiments/iit", "experiments/circuits", "graph/evaluator", "experiments/figures"),
    *("cli/command", "experiments/many_seeds", "runs/reports", "experiments/explanations"),
    *("experiments/discovery", "runs/reports_browser", "cli/hints", "runs/runner", "package", "docs/readme"),
    *("methods/sampling", "bench/command", "runs/outputs", "methods/class_circuits", "runs/drawn_beside"),
    *("experiments/clusters", "experiments/odd_networks", "experiments/classes_together", "bench/vectors"),
    *("methods/matching", "experiments/ablation", "methods/explanations", "datasets/datasets", "machine/signals"),
    *("training/model_store", "sweeps/resumed", "docs/library", "sweeps/slurm_commands", "experiments/probes"),
)
"""What takes longest comes first, so that all processes end at about the same time; what waits, among what computes."""


def together(nodeid: str) -> str:
    """The name of the tests that one process runs after each other: those of a file, which share fixtures.

    Tests of launchers are those of a file and an engine, because they wait most of the time. Commands of the README
    share nothing.
    """
    file, _, test = nodeid.partition("::")
    path = Path(file).relative_to("tests")
    name = path.with_name(path.stem.removeprefix("test_")).as_posix()
    if name == "docs/readme":
        return f"{name}:{test}"
    engines = [engine for engine in ENGINES if f"[{engine}" in test] if name.startswith("sweeps/launchers") else []
    return f"{name}[{engines[0]}]" if engines else name


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Instead of whole files, what `together` says, or the plan of `--quick`."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling

    from tests.quick import PLAN

    plan = config.stash.get(PLAN, None)

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return plan.part_of(nodeid) if plan else together(nodeid)

    return Together(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """All of xdist's processes fork commands from one server, which pytest's own process starts."""
    node.workerinput["fork_server"] = forked.start_server()


def pytest_configure(config: pytest.Config) -> None:
    if address := getattr(config, "workerinput", {}).get("fork_server"):
        forked.use_server(address)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(together(item.nodeid).partition(":")[0], len(places)))


def pytest_collection_finish() -> None:
    """What was imported stays: without this the garbage collector looks at all of it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The last lines name what the tests of a cluster and of a browser lack, if they were skipped."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return
    reasons = [report.longrepr[2] for report in reporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)]
    for what, begin in (("a real Slurm", "Slurm's tests need"), ("pages in a browser", "A browser's tests need")):
        lacking = [reason.removeprefix("Skipped: ") for reason in reasons if begin in reason]
        if lacking:
            reporter.write_line(f"{len(lacking)} tests of {what} were skipped: {max(lacking, key=len)}")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Path]:
    """A model store and data cache for the tests alone; compiled kernels stay, because compiling takes a minute."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "kernels").symlink_to(pytestconfig.cache.mkdir("kernels"))
    before = os.environ.get("MI_RUN_CACHE")
    os.environ["MI_RUN_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["MI_RUN_CACHE"]
    else:
        os.environ["MI_RUN_CACHE"] = before


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Name → the folder of a small run with its page."""
    from tests.pages import SmallRuns, shared_folder

    return SmallRuns(shared_folder(tmp_path_factory))


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small sweep with its pages."""
    from tests.pages import shared_folder, small_sweep

    return small_sweep(shared_folder(tmp_path_factory))


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def folder(self) -> Path:
        """The run folder: the last line of standard output."""
        return Path(self.out.splitlines()[-1])

    @property
    def record(self) -> dict[str, Any]:
        """The folder's run.json."""
        return json.loads((self.folder / "run.json").read_text())


@pytest.fixture
def mi_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """`mi-run` in this process, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        status = cli.main(arguments)
        captured = capsys.readouterr()
        return Ended(int(status), captured.out, captured.err)

    return run


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Ended]:
    """`mi-run` as a process that Python starts, in a folder of the test's own; tests/forked.py has a quicker one."""

    def run(*arguments: str, **environment: str) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "mi_runner", *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def lines_in_log() -> Iterator[list[str]]:
    """The lines that are logged meanwhile."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    before = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    yield lines
    log.removeHandler(handler)
    log.setLevel(before)


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's pictures have one pixel, but in tests that are marked `drawn`."""
    if not request.node.get_closest_marker("drawn"):
        monkeypatch.setattr(drawing, "save_figure", one_pixel)


@pytest.fixture(scope="module", params=ENGINES)
def launcher(request: pytest.FixtureRequest) -> str:
    """The override that names an engine that is installed."""
    if find_spec(ENGINES[request.param]) is None:
        pytest.skip(f"{ENGINES[request.param]} is not installed")
    return f"hydra/launcher={request.param}"


@pytest.fixture
def warnings_in_log() -> Iterator[list[str]]:
    """The warnings that are logged meanwhile. A handler of our own, because a run turns propagation off."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Kept(logging.WARNING)
    log.addHandler(handler)
    yield lines
    log.removeHandler(handler)

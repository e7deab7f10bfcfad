"""`--quick`: the tests that a change reaches, the nearest first, as many as fit a minute.

Each run of the tests notes with which files each test passed (`tests/passed.py`). A later `--quick` takes the tests
that read a file that changed since (`tests/affected.py`). What does not fit keeps its older state, so that the next
`--quick` takes it. A clock ends the minute also where tests take longer than they did.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import affected
from tests.passed import Record, State, changed, state_at_main, state_now

KEY = "quick/record"
"""The record in pytest's cache."""
SECONDS = 60.0
STARTING = 12.0
"""Of them, what the start of the processes takes, with the imports of the tests."""
UNMEASURED = 0.5
"""What a test takes that never ran."""
PER_PROCESS = 10.0
"""Less than this is not worth another process."""
LATE = "quick_late"

STARTED = time.time()


@dataclass(frozen=True)
class Test:
    """A test that a change reaches, or a file of tests that never ran; over how many steps; how long it takes."""

    __test__ = False

    name: str
    steps: int
    seconds: float

    @property
    def file(self) -> str:
        return self.name.partition("::")[0]


@dataclass(frozen=True)
class Plan:
    """What `--quick` runs."""

    state: State
    changes: tuple[str, ...]
    since: str
    unread: tuple[str, ...]
    tests: tuple[Test, ...]
    parts: Mapping[str, str]
    omitted: frozenset[str]
    unaffected: int

    @property
    def files(self) -> list[str]:
        """The files of the tests that run."""
        return list(dict.fromkeys(name.partition("::")[0] for name in self.parts))

    @property
    def seconds(self) -> float:
        """What they take, one after the other."""
        return sum(test.seconds for test in self.tests if test.name in self.parts)

    def part_of(self, name: str) -> str:
        """The part of a file that one process runs."""
        file = name.partition("::")[0]
        return self.parts.get(name, self.parts.get(file, file))


def plan_of(record: Record, root: Path, *, processes: int, seconds: float) -> Plan:
    """What `--quick` runs: of the tests that the changes reach, those that fit.

    Args:
        record: with what each test passed last.
        root: the folder of the project.
        processes: that run tests at once.
        seconds: for all tests.
    """
    now = state_now(root)
    readers = affected.readers_of(now, root)
    commit, main = state_at_main(root)
    tests, changes = reached(record, main, now, readers, root)
    parts = fitting(tests, processes, seconds)
    files = {name.partition("::")[0] for name in parts}
    omitted = {name for name in record.tests if name.partition("::")[0] in files and name not in parts}
    of_tests = {file for file in now if affected.is_tests(file)}
    unrecorded = of_tests - {name.partition("::")[0] for name in record.tests}
    since = f"{len(unrecorded)} files of tests never ran here: their changes count since {commit[:9]}" * bool(
        unrecorded
    )
    unread = {file for file in changes if not affected.steps_to_tests([file], now, readers)}
    unaffected = len(of_tests - {test.file for test in tests})
    return Plan(now, tuple(sorted(changes)), since, tuple(sorted(unread)), tests, parts, frozenset(omitted), unaffected)


def reached(
    record: Record, main: State, now: State, readers: Mapping[str, set[str]], root: Path
) -> tuple[tuple[Test, ...], set[str]]:
    """The tests that changes reach, the nearest first, and the changes, each since the tests passed last."""
    states = [*record.states, main]
    changes = [changed(state, now) for state in states]
    steps = [affected.steps_to_tests(files, now, readers) for files in changes]
    tests, looked = [], set()
    for name, of in record.tests.items():
        file = name.partition("::")[0]
        looked.add(file)
        far = 0 if of.state is None else steps[of.state].get(file)
        if far is not None and file in now:
            tests.append(Test(name, far, of.seconds))
    unrecorded = [file for file in now if affected.is_tests(file) and file not in looked]
    for file in unrecorded:
        if (far := steps[-1].get(file)) is not None:
            n_tests = (root / file).read_text(encoding="utf-8").count("def test_")
            tests.append(Test(file, far, n_tests * UNMEASURED))
    used = {of.state for of in record.tests.values()} | ({len(states) - 1} if unrecorded else set())
    total, nearest = Counter(), {}
    for test in tests:
        total[test.file] += test.seconds
        nearest[test.file] = min(test.steps, nearest.get(test.file, test.steps))
    tests.sort(key=lambda test: (nearest[test.file], total[test.file], test.file))
    return tuple(tests), {file for place, files in enumerate(changes) if place in used for file in files}


def fitting(tests: Sequence[Test], processes: int, seconds: float) -> dict[str, str]:
    """The tests that fit → the part of their file, which one process runs.

    Args:
        tests: the first come first; those of a file follow each other.
        processes: that run parts at once.
        seconds: that each process has.
    """
    loads = [0.0] * processes
    fit: dict[str, str] = {}
    for part, members in parts_of_files(tests, seconds / 2):
        place = loads.index(min(loads))
        for test in members:
            takes = test.seconds if "::" in test.name else min(test.seconds, seconds / 2)
            if loads[place] + takes <= seconds:
                loads[place] += takes
                fit[test.name] = part
    return fit


def parts_of_files(tests: Iterable[Test], seconds: float) -> Iterator[tuple[str, list[Test]]]:
    """Each file's tests, in parts that take no longer than this where one test does not: the parts' names and tests."""
    files: dict[str, list[list[Test]]] = defaultdict(lambda: [[]])
    for test in tests:
        parts = files[test.file]
        if parts[-1] and sum(one.seconds for one in parts[-1]) + test.seconds > seconds:
            parts.append([])
        parts[-1].append(test)
    for file, parts in files.items():
        for number, members in enumerate(parts):
            yield f"{file}#{number}", members


def report_lines(plan: Plan, ran: Collection[str], late: Iterable[str], seconds: float) -> list[str]:
    """What ran, what did not, and why.

    Args:
        plan: what was to run.
        ran: the tests that ran.
        late: the tests that were to run and had no time.
        seconds: how long it took.
    """
    left = [test for test in plan.tests if test.name not in plan.parts]
    late = set(late)
    waiting = [*dict.fromkeys(name.partition("::")[0] for name in [*sorted(late), *(test.name for test in left)])]
    lines = [f"{counted(len(plan.changes), 'file')} changed since tests passed last: {some(plan.changes)}"]
    lines += [plan.since] * bool(plan.since)
    lines += [f"no test reads {some(plan.unread)}"] * bool(plan.unread)
    files = len({name.partition("::")[0] for name in ran})
    lines.append(f"ran {counted(len(ran), 'test')} of {counted(files, 'file')}, the nearest first, in {seconds:.0f} s")
    if waiting:
        n_files = sum("::" not in test.name for test in left)
        n_tests = len(late) + len(left) - n_files
        whole = f" and {counted(n_files, 'file')} that never ran" * bool(n_files)
        lines.append(
            f"left out, because {SECONDS:.0f} s are over: {counted(n_tests, 'test')}{whole}, which changes reach too, "
            f"of {some(waiting)}. The next --quick takes them after what is nearer; make test runs all"
        )
    lines.append(f"left out, because they read nothing that changed: the tests of {counted(plan.unaffected, 'file')}")
    return [f"--quick: {line}" for line in lines]


def counted(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def some(names: Sequence[str], most: int = 4) -> str:
    """The first names, and how many more."""
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)


class Recorder:
    """Notes how each test ended, and writes it after the run; with a plan, says what ran and what did not."""

    def __init__(self, config: pytest.Config, plan: Plan | None, root: Path) -> None:
        self.config, self.plan, self.root = config, plan, root
        self.state = plan.state if plan else state_now(root)
        self.seconds: Counter[str] = Counter()
        self.failed: set[str] = set()
        self.late: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.late.update(getattr(node, "workeroutput", {}).get(LATE, ()))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if not self.state or not self.seconds:
            return
        meanwhile = changed(self.state, state_now(self.root))
        state = {**self.state, **dict.fromkeys(meanwhile, "changed meanwhile")}
        passed = {name: seconds for name, seconds in self.seconds.items() if name not in self.failed}
        failed = {name: self.seconds[name] for name in self.failed}
        record = Record.of_json(self.config.cache.get(KEY, None))  # other runs may have written meanwhile
        expected = set(self.plan.parts if self.plan else record.tests if runs_all(self.config) else ())
        gone = expected - set(self.seconds) - self.late if exitstatus == 0 else set()
        self.config.cache.set(KEY, record.with_run(state, passed, failed, gone).as_json())

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if self.plan is not None and reporter is not None:
            for line in report_lines(self.plan, self.seconds, self.late, time.time() - STARTED):
                reporter.write_line(line)


class Chosen:
    """Runs what a plan has, in its order, until the time is over."""

    def __init__(self, parts: Mapping[str, str], omitted: Iterable[str], seconds: Mapping[str, float], end: float):
        self.places = {name: place for place, name in enumerate(parts)}
        self.omitted, self.seconds, self.end = frozenset(omitted), seconds, end
        self.late: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        first: dict[str, int] = {}
        for name, place in self.places.items():
            first.setdefault(name.partition("::")[0], place)

        def place_of(item: pytest.Item) -> int:
            return self.places.get(item.nodeid, first[item.nodeid.partition("::")[0]])

        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in self.omitted])
        items[:] = sorted((item for item in items if item.nodeid not in self.omitted), key=place_of)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if time.time() + self.seconds.get(item.nodeid, 0.0) <= self.end:
            return None
        self.late.append(item.nodeid)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[LATE] = self.late
        else:
            session.config.stash[RECORDER].late.update(self.late)


def runs_all(config: pytest.Config) -> bool:
    """Whether a run has all tests."""
    narrows = ("keyword", "markexpr", "lf", "deselect", "ignore", "ignore_glob")
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return whole and not any(config.getoption(name) for name in narrows)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help=f"the tests that read what changed since they passed last, the nearest first, for {SECONDS:.0f} s",
    )


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        if chosen := config.workerinput.get("quick"):
            config.args = chosen.pop("files")
            config.pluginmanager.register(Chosen(**chosen))
        return
    root, cache = config.rootpath, getattr(config, "cache", None)
    if cache is None or config.getoption("collectonly"):
        return
    plan = None
    if config.getoption("--quick"):
        if not runs_all(config):
            raise pytest.UsageError("--quick chooses the tests itself: name no file or test beside it.")
        plan = plan_of_run(config, Record.of_json(cache.get(KEY, None)), root)
    config.stash[RECORDER] = Recorder(config, plan, root)
    config.pluginmanager.register(config.stash[RECORDER])


def plan_of_run(config: pytest.Config, record: Record, root: Path) -> Plan:
    """The plan, which the configuration now follows. Ends the run if there is nothing to do."""
    processes = config.getoption("numprocesses", None) or 1
    plan = plan_of(record, root, processes=processes, seconds=SECONDS - STARTING)
    if not plan.state:
        raise pytest.UsageError("--quick asks git which files there are: there is no git here. Run all tests.")
    if not plan.parts:
        pytest.exit("\n".join(["nothing to run", *report_lines(plan, {}, (), time.time() - STARTED)]), returncode=0)
    needed = min(processes, 1 + int(plan.seconds / PER_PROCESS))
    if getattr(config.option, "tx", None):
        config.option.tx = config.option.tx[:needed]
    config.args = plan.files
    config.stash[PLAN] = plan
    if not getattr(config.option, "tx", None):
        config.pluginmanager.register(Chosen(**chosen_of(plan)))
    return plan


PLAN = pytest.StashKey[Plan]()
RECORDER = pytest.StashKey[Recorder]()


def chosen_of(plan: Plan) -> dict[str, Any]:
    """What a process needs to know of a plan, as plain values."""
    seconds = {test.name: test.seconds for test in plan.tests if test.name in plan.parts and "::" in test.name}
    return {"parts": dict(plan.parts), "omitted": sorted(plan.omitted), "seconds": seconds, "end": STARTED + SECONDS}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist's processes get the plan."""
    if plan := node.config.stash.get(PLAN, None):
        node.workerinput["quick"] = {"files": plan.files, **chosen_of(plan)}

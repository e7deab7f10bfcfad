"""What run.json and sweep.json have, field by field, and the one place where what was read of them is checked.

Both are written by mi-run, and may be changed by hand or come from elsewhere. So a record is used only after `checked`
has compared every field with its annotation here; what is wrong is a line that names the file and the field.
"""

from __future__ import annotations

import collections.abc
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mi_runner.errors import shortened
from mi_runner.machine.reading import Unreadable, read_object

DEEPEST = 50
"""Levels of a value of any type."""

MOST_SHOWN = 60
"""Characters of a wrong value that its line shows."""


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"from {_plain(self.low)} to {_plain(self.high)}"

    def fits(self, value: Any) -> bool:
        return self.low <= value <= self.high


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


@dataclass(frozen=True)
class Like:
    """What a text looks like.

    Attributes:
        pattern: a regular expression for the whole text.
        words: the same for a person.
    """

    pattern: str
    words: str

    def __str__(self) -> str:
        return self.words

    def fits(self, value: Any) -> bool:
        return re.fullmatch(self.pattern, value, re.DOTALL) is not None


Status = Literal[
    "running", "done", "failed", "interrupted", "killed", "cancelled", "timed out", "out of memory"
]  # fmt: skip
"""How a run is, or ended."""

Pid = Annotated[int, Between(1, 2**31 - 1)]
ExitCode = Annotated[int, Between(0, 255)]
Digest = Annotated[str, Like(r"[0-9a-f]{1,128}", "hexadecimal digits")]
TableName = Annotated[str, Like(r"[^./\\\0][^/\\\0]*", "the name of a table, without a folder")]
FileName = Annotated[
    str, Like(r"(?!/)(?!(.*/)?\.\.(/|\Z))[^\0]+", "a path below the folder, without .. and not from the root")
]
PathName = Annotated[str, Like(r"[^\0]*", "a path")]
JobNumber = Annotated[int, Between(0, 10**9)]


@dataclass(frozen=True)
class MemberRecord:
    """The weights of one of many networks.

    Attributes:
        seed: the network's.
        from_: `training` or `model store`.
        path: of the file in the model store; None where there is none.
        sha256: of that file.
    """

    seed: int = 0
    from_: str = ""
    path: PathName | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class CheckpointRecord:
    """Where the weights of a run are from.

    Attributes:
        from_: `checkpoint`, `training` or `model store`.
        path: of the file; None for weights that are in no file, or in several.
        sha256: of that file.
        members: of a run of many networks, each one's.
    """

    from_: str = ""
    path: PathName | None = None
    sha256: str | None = None
    members: tuple[MemberRecord, ...] = ()


@dataclass(frozen=True)
class GitRecord:
    """The checkout that the run was started in.

    Attributes:
        commit: its hash.
        dirty: whether files that git knows were changed.
    """

    commit: str | None = None
    dirty: bool | None = None


@dataclass(frozen=True)
class RunRecord:
    """The fields of run.json. An earlier version of mi-run may have written fewer; further ones are kept and ignored.

    Attributes:
        status: how the run is, or ended; None in a file that mi-run didn't write.
        schema_version: of the file.
        experiment, dataset, model: the names of the three choices.
        seed: every random draw derives from it.
        device: `cpu`, `cuda:0`.
        threads: CPU threads that torch used.
        processor, instruction_set: of the machine.
        config_hash: sha256 of the config; equal for equal configs.
        config: the whole resolved config, key → value.
        answer: a sentence; None where the experiment says none.
        metrics: the summary, name → number; None for one that is not finite.
        keys: table → the columns that name its rows.
        common_names: column → the column that has the same in names that other networks share.
        repeats: columns that count repeated measurements.
        shown: the tables that the terminal shows.
        measures: measure → its smallest and largest possible value; None for no end.
        timings: stage → seconds.
        checkpoint: where the weights are from.
        starts: seed → a hash of what its network starts from: its weights before training, or those of a checkpoint,
            and the data. Seeds with an equal one have one network.
        stop_epoch: seed → the epoch in which the training stopped early; None for one that did not.
        versions: program or library → version; `code`: the digest of mi-run's sources.
        git: the checkout; None outside of one.
        command: as it was typed.
        host, pid: the process that runs it.
        started, finished: UTC, ISO 8601.
        error: one line; None where nothing is wrong.
        exit_status: of the process; None while it runs.
        expect_not_met: a line per expectation that is not met.
        files: path below the folder → sha256.
    """

    status: Status | None = None
    schema_version: int = 1
    experiment: str | None = None
    dataset: str | None = None
    model: str | None = None
    seed: Annotated[int, Between(-(2**63), 2**64)] | None = None
    device: str | None = None
    threads: int | str | None = None
    processor: str | None = None
    instruction_set: str | None = None
    config_hash: str | None = None
    config: Mapping[str, Any] | None = None
    answer: str | None = None
    metrics: Mapping[str, float | None] | None = None
    keys: Mapping[TableName, tuple[str, ...]] | None = None
    common_names: Mapping[str, str] | None = None
    repeats: tuple[str, ...] | None = None
    shown: tuple[TableName, ...] | None = None
    measures: Mapping[str, tuple[float | None, float | None]] | None = None
    timings: Mapping[str, Annotated[float, Between(0, 1e12)]] | None = None
    checkpoint: CheckpointRecord | None = None
    starts: Mapping[str, Digest] | None = None
    stop_epoch: Mapping[str, int | None] | int | None = None
    versions: Mapping[str, str | None] | None = None
    git: GitRecord | None = None
    command: str | None = None
    host: str | None = None
    pid: Pid | None = None
    started: str | None = None
    finished: str | None = None
    error: str | None = None
    exit_status: ExitCode | None = None
    expect_not_met: tuple[str, ...] | None = None
    files: Mapping[FileName, Digest] | None = None


Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class JobRecord:
    """A job of a sweep.

    Attributes:
        number: the name of its folder.
        swept: swept key → value.
        overrides: what to type to have it as a run of its own.
        config_hash: sha256 of its config.
    """

    number: JobNumber
    swept: Mapping[str, Scalar]
    overrides: tuple[str, ...] = ()
    config_hash: str = ""


@dataclass(frozen=True)
class RefusedRecord:
    """A combination of values that can't run.

    Attributes:
        name: the values.
        reason: why.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class SearchRecord:
    """The options of a search, as `hydra/sweeper=optuna` has them.

    Attributes:
        n_trials: jobs.
        direction: whether the objective should be large or small.
        seed: of the search.
    """

    n_trials: Annotated[int, Between(1, 10**9)] = 20
    direction: Literal["maximize", "minimize"] = "maximize"
    seed: Annotated[int, Between(0, 2**32 - 1)] = 0


@dataclass(frozen=True)
class SweepRecord:
    """The fields of sweep.json.

    Attributes:
        jobs: all that were ever planned.
        schema_version: of the file.
        command: as it was typed first.
        overrides: those that the jobs get, as they were typed.
        swept: the keys with several values.
        base: what all jobs have in common, key → value.
        code: the digest of mi-run's sources.
        left_out: combinations that can't run.
        objective: the metric that is searched for, or shown first.
        search: the options of the search; None without one.
        searching: whether the search may still add jobs.
        launcher: the overrides that say where the jobs run.
        folder: where the sweep was begun: relative paths in its options are from there.
    """

    jobs: tuple[JobRecord, ...]
    schema_version: int = 1
    command: str | None = None
    overrides: tuple[str, ...] = ()
    swept: tuple[str, ...] = ()
    base: Mapping[str, Any] | None = None
    code: str | None = None
    left_out: tuple[RefusedRecord, ...] = ()
    objective: str | None = None
    search: SearchRecord | None = None
    searching: bool = False
    launcher: tuple[str, ...] = ()
    folder: PathName | None = None


# --- checking ------------------------------------------------------------------------------------------------------


class Wrong(ValueError):
    """A value is not what its field has; its text says the field, the value, and what it must be."""


def read_run(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Returns what a run.json has, without the fields that are wrong, and a line for each of these.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: it can't be read, or the status is none that a run has.
    """
    content = read_object(path)
    faults: list[str] = []
    tests = _tests(RunRecord)
    for name in [name for name in content if name in tests]:
        try:
            _check(content[name], *tests[name], ((), name))
        except Wrong as wrong:
            if name == "status":
                raise Unreadable(f"{path}: {wrong}") from wrong
            faults.append(f"{path}: {wrong}")
            del content[name]
    measures = content.get("measures") or {}
    if turned := [name for name, (low, high) in measures.items() if high is not None and (low is None or low > high)]:
        faults.append(
            f"{path}: the field measures.{shortened(turned[0], MOST_SHOWN)} has no low end below its high end"
        )
        del content["measures"]
    return content, faults


def read_sweep(path: Path) -> dict[str, Any]:
    """Returns what a sweep.json has.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: it can't be read, or a field is wrong or missing.
    """
    content = read_checked(path, SweepRecord)
    seen: set[int] = set()
    for place, job in enumerate(content["jobs"]):
        if job["number"] in seen:
            raise Unreadable(f"{path}: the field jobs[{place}].number is {job['number']}, which an earlier job has")
        seen.add(job["number"])
    return content


def read_checked(path: Path, schema: type) -> dict[str, Any]:
    """Returns the JSON object of a file, whose fields are those of a dataclass.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: it can't be read, or a field is wrong or missing.
    """
    content = read_object(path)
    try:
        _check(content, _test(schema), schema, ())
    except Wrong as wrong:
        raise Unreadable(f"{path}: {wrong}") from wrong
    return content


Place = tuple[Any, ...]
"""Where a value is: `(place of what it is in, key or index)`; `()` for the whole file."""

Test = Callable[[Any, Place], bool]
"""Whether a value fits; what is wrong inside it is raised, with its own place."""


@cache
def _tests(schema: Any) -> dict[str, tuple[Test, Any]]:
    """JSON key → the test of its field, and its annotation. `from_` is the key `from`, a word of Python's own."""
    hints = get_type_hints(schema, include_extras=True)
    return {name.rstrip("_"): (_test(hint), hint) for name, hint in hints.items()}


def _check(value: Any, test: Test, hint: Any, at: Place) -> None:
    """Raises Wrong, with the place, where a value doesn't fit."""
    if not test(value, at):
        raise Wrong(f"the field {_name(at)} is {_shown(value)}; it must be {_words(hint)}")


@cache
def _test(hint: Any) -> Test:
    """The test of an annotation. Made once for each: a folder of runs has thousands of records."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is Annotated:
        inner, rules = _test(arguments[0]), arguments[1:]
        return lambda value, at: inner(value, at) and all(rule.fits(value) for rule in rules)
    if origin is Literal:
        return lambda value, at: isinstance(value, str) and value in arguments
    if origin in (Union, UnionType):
        return _test_of_union(arguments)
    if origin is tuple:
        return _test_of_list(arguments)
    if is_dataclass(hint):
        return _test_of_object(hint)
    return _test_of_mapping(*arguments)


def _test_of_union(kinds: Sequence[Any]) -> Test:
    """One of several; a value that has parts is of the kind that has them, so that the wrong part is named."""
    whole = {kind: _test(kind) for kind in kinds}
    parts = [test for kind, test in whole.items() if _has_parts(kind)]
    plain = [test for kind, test in whole.items() if not _has_parts(kind)]

    def fits(value: Any, at: Place) -> bool:
        return any(test(value, at) for test in (parts if isinstance(value, dict | list) else plain))

    return fits


def _has_parts(kind: Any) -> bool:
    return get_origin(kind) in (tuple, Mapping, collections.abc.Mapping) or is_dataclass(kind)


def _test_of_list(kinds: Sequence[Any]) -> Test:
    any_number = kinds[-1] is ...
    tests = [_test(kind) for kind in kinds if kind is not ...]

    def fits(value: Any, at: Place) -> bool:
        if not isinstance(value, list) or not (any_number or len(value) == len(tests)):
            return False
        for place, inner in enumerate(value):
            which = 0 if any_number else place
            _check(inner, tests[which], kinds[which], (at, place))
        return True

    return fits


def _test_of_object(schema: Any) -> Test:
    tests = _tests(schema)
    needed = [item.name.rstrip("_") for item in fields(schema) if item.default is MISSING]

    def fits(value: Any, at: Place) -> bool:
        if not isinstance(value, dict):
            return False
        for name, inner in value.items():
            if name in tests:
                _check(inner, *tests[name], (at, name))
        for name in needed:
            if name not in value:
                raise Wrong(f"the field {_name((at, name))} is missing")
        return True

    return fits


def _test_of_mapping(of_key: Any, of_value: Any) -> Test:
    key_test, value_test = _test(of_key), _test(of_value)

    def fits(value: Any, at: Place) -> bool:
        if not isinstance(value, dict):
            return False
        for key, inner in value.items():
            if not key_test(key, at):
                raise Wrong(f"the field {_name(at)} has the key {_shown(key)}; it must be {_words(of_key)}")
            _check(inner, value_test, of_value, (at, key))
        return True

    return fits


def _is_any(value: Any, at: Place, depth: int = 0) -> bool:
    """Any JSON value that isn't too deep, of numbers that can be computed with and texts that can be written."""
    if depth > DEEPEST:
        raise Wrong(f"the field {_name(at)} is nested more than {DEEPEST} times")
    if isinstance(value, str):
        return _is_text(value, at)
    if isinstance(value, dict):
        for key, inner in value.items():
            if not _is_text(key, at):
                raise Wrong(f"the field {_name(at)} has the key {_shown(key)}; it must be {_words(str)}")
            _check(inner, lambda inner, at: _is_any(inner, at, depth + 1), Any, (at, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _check(inner, lambda inner, at: _is_any(inner, at, depth + 1), Any, (at, place))
    elif isinstance(value, int):
        return _is_finite(value)
    return True


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float is
        return False


def _is_text(value: Any, at: Place) -> bool:
    """Whether it is a text, without half of a surrogate pair, which no file can have in UTF-8."""
    return isinstance(value, str) and (
        value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    )


def _is_integer(value: Any, at: Place) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**64


def _is_number(value: Any, at: Place) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)


_PLAIN: dict[Any, Test] = {
    Any: _is_any,
    str: _is_text,
    int: _is_integer,
    float: _is_number,
    bool: lambda value, at: isinstance(value, bool),
    NoneType: lambda value, at: value is None,
}


def _name(at: Place) -> str:
    """The name of a place: `jobs[3].number`."""
    words: list[str] = []
    while at:
        at, step = at
        words.append(f"[{step}]" if isinstance(step, int) else f".{shortened(step, MOST_SHOWN)}")
    return "".join(reversed(words)).lstrip(".") or "of the file"


def _shown(value: Any) -> str:
    """A wrong value in a line: not all of a long one."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**MOST_SHOWN:
        return f"an integer of more than {MOST_SHOWN} digits"
    return shortened(repr(value), MOST_SHOWN)


_WORDS = {
    Any: "a value of finite numbers and whole characters",
    str: "a text of whole characters",
    int: "an integer",
    float: "a finite number",
    bool: "true or false",
    NoneType: "null",
}


def _words(hint: Any) -> str:
    """What an annotation allows, for a person."""
    origin = get_origin(hint)
    if hint in _WORDS:
        return _WORDS[hint]
    if origin is Annotated:
        kind, *rules = get_args(hint)
        told = [str(rule) for rule in rules]
        return ", ".join(told if kind is str else [_words(kind), *told])
    if origin is Literal:
        return "one of " + ", ".join(get_args(hint))
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(kind) for kind in get_args(hint)))
    if origin is tuple:
        kinds = get_args(hint)
        return "a list" if kinds[-1] is ... else f"a list of {len(kinds)}"
    return "an object"

"""What run.json has, field by field: the one definition for the run that writes it and for all that read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from mi_runner.errors import shortened
from mi_runner.machine import typed_json
from mi_runner.machine.reading import Unreadable, read_object
from mi_runner.machine.typed_json import MOST_SHOWN, UNLESS_DEFAULT, Between, Like
from mi_runner.tables.cell_types import CellType

SCHEMA_VERSION = 1
"""The version of the format of run.json."""

Status = Literal[
    "running", "done", "failed", "interrupted", "killed", "cancelled", "timed out", "out of memory"
]  # fmt: skip
"""How a run is, or ended."""

Pid = Annotated[int, Between(1, 2**31 - 1)]
ExitCode = Annotated[int, Between(0, 255)]
Seconds = Annotated[float, Between(0, 1e12)]
Digest = Annotated[str, Like(r"[0-9a-f]{1,128}", "hexadecimal digits")]
TableName = Annotated[str, Like(r"[^./\\\0][^/\\\0]*", "the name of a table, without a folder")]
FileName = Annotated[
    str, Like(r"(?!/)(?!(.*/)?\.\.(/|\Z))[^\0]+", "a path below the folder, without .. and not from the root")
]
PathName = Annotated[str, Like(r"[^\0]*", "a path")]


@dataclass(frozen=True)
class MemberRecord:
    """The weights of one of many networks.

    Attributes:
        seed: the network's.
        from_: `training`, `model store` or `planted`.
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
        from_: `checkpoint`, `training`, `model store`, `planted` for weights that are compiled from a formula, or
            `program` for a network that a program gave.
        path: of the file; None for weights that are in no file, or in several.
        sha256: of that file; for a program's network of its tensors.
        members: of a run of many networks, each one's; not written for one network.
    """

    from_: str = ""
    path: PathName | None = None
    sha256: str | None = None
    members: tuple[MemberRecord, ...] = field(default=(), metadata=UNLESS_DEFAULT)


@dataclass(frozen=True)
class ColumnRecord:
    """How a column of a table became numbers of an input, as `mi_runner.datasets.features.Column` explains it.

    Attributes:
        name: of the column.
        kind: number, boolean or category.
        inputs: the places of its numbers in the input, from 0.
        mean, scale: of a number: the input is (x − mean) / scale.
        categories: of a category: what each of its numbers stands for.
        filled: what stands in place of a missing value; None where none is missing.
    """

    name: str = ""
    kind: str = ""
    inputs: tuple[int, ...] = ()
    mean: float | None = None
    scale: float | None = None
    categories: tuple[str, ...] | None = None
    filled: float | str | None = None


@dataclass(frozen=True)
class DataRecord:
    """What the numbers of inputs and targets are.

    Attributes:
        class_names: the classes, in the order of the outputs; None where targets are values.
        feature_names: a name for each number of an input; None where they have none.
        test_inputs: a hash of the test inputs; runs with an equal one have the same test examples.
        columns: the columns of a table that the inputs were made of; not written where they are of no table.
    """

    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    test_inputs: Digest | None = None
    columns: tuple[ColumnRecord, ...] = field(default=(), metadata=UNLESS_DEFAULT)


@dataclass(frozen=True)
class GitRecord:
    """The checkout that the run was started in.

    Attributes:
        commit: its hash.
        dirty: whether files that git knows were changed; None: git can't say it in time.
    """

    commit: str | None = None
    dirty: bool | None = None


@dataclass(frozen=True)
class GivenRecord:
    """What a program gave to a run that no config names.

    Attributes:
        model: module and name of the network's class, or of what makes it, `__main__:Net`; None: the config names one.
        code: twelve digits of the digest of its code.
        weights: the sha256 of the tensors of a network; None for a class or function.
        trained: whether the run trained it; otherwise it was analysed with these weights.
        data: the class of the data; None: the config names them.
        fingerprint: the sha256 of their content.
    """

    model: str | None = None
    code: Digest | None = None
    weights: Digest | None = None
    trained: bool | None = None
    data: str | None = None
    fingerprint: Digest | None = None


@dataclass
class RunRecord:
    """The fields of run.json, in their order.

    A run begins with the record of `provenance.new_record` and fills it as it goes on; no reader changes a
    record. A file may lack fields, because an earlier version of mi-run or somebody else wrote it; a field that
    is missing, null or wrong has its default. Further fields of a file are ignored, and stay in the file.

    Attributes:
        schema_version: of the file.
        status: how the run is, or ended; None in a file that mi-run didn't write.
        experiment, dataset, model: the names of the three choices.
        seed: every random draw derives from it.
        device: `cpu`, `cuda:0`.
        threads: CPU threads that torch used.
        processor, instruction_set: of the machine.
        config_hash: sha256 of the config; equal for equal configs.
        config: the whole resolved config, key → value.
        data: the names of classes and inputs, and how the columns of a table became inputs.
        outputs: what the network's outputs are, a name of `mi_runner.datasets.outputs.Outputs`.
        answer: a sentence; None where the experiment says none.
        metrics: the summary, name → number; None for one that is not finite.
        keys: table → the columns that name its rows.
        common_names: column → the column that has the same in names that other networks share.
        repeats: columns that count repeated measurements.
        shown: the tables that the terminal shows.
        measures: measure → its smallest and largest possible value; None for no end.
        types: table → column → what its cells are; of CSV tables, which don't say it.
        timings: stage → seconds; `total`: of the whole run.
        checkpoint: where the weights are from.
        starts: seed → a hash of what its network starts from: its weights before training, or those of a checkpoint,
            and the data. Seeds with an equal one have one network.
        stop_epoch: seed → the epoch in which the training stopped early; None for one that did not. An earlier version
            of mi-run wrote the epoch alone.
        versions: program or library → version; `code`: the digest of mi-run's sources; `code of NAME`: the digest of
            a user's own code.
        git: the checkout; None outside of one.
        command: as it was typed; of a program the command that does the same, or the call in Python.
        host, pid: the process that runs it.
        started, finished: UTC, ISO 8601.
        error: one line; None where nothing is wrong.
        exit_status: of the process; None while it runs.
        files: path below the folder → sha256.
        expect_not_met: a line per expectation that is not met; None, and not written, where none is typed.
        given: the network and data that a program gave; None, and not written, where the config names both.
    """

    schema_version: int | None = None
    status: Status | None = None
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
    data: DataRecord | None = None
    outputs: str | None = None
    answer: str | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    keys: Mapping[TableName, tuple[str, ...]] = field(default_factory=dict)
    common_names: Mapping[str, str] = field(default_factory=dict)
    repeats: tuple[str, ...] = ()
    shown: tuple[TableName, ...] = ()
    measures: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    types: Mapping[TableName, Mapping[str, CellType]] = field(default_factory=dict)
    timings: Mapping[str, Seconds] = field(default_factory=dict)
    checkpoint: CheckpointRecord | None = None
    starts: Mapping[str, Digest] = field(default_factory=dict)
    stop_epoch: Mapping[str, int | None] | int | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    git: GitRecord | None = None
    command: str | None = None
    host: str | None = None
    pid: Pid | None = None
    started: str | None = None
    finished: str | None = None
    error: str | None = None
    exit_status: ExitCode | None = None
    files: Mapping[FileName, Digest] = field(default_factory=dict)
    expect_not_met: tuple[str, ...] | None = field(default=None, metadata=UNLESS_DEFAULT)
    given: GivenRecord | None = field(default=None, metadata=UNLESS_DEFAULT)


def read_run(path: Path) -> tuple[RunRecord, list[str]]:
    """Returns what a run.json has, without the fields that are wrong, and a line for each of these.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: it can't be read, or the status is none that a run has.
    """
    record, faults, _ = _read(path)
    return record, faults


def amended(path: Path, **changed: Any) -> dict[str, Any]:
    """Returns the content of a run.json with other values of some fields, and all that it has besides.

    Fields that are wrong are left out. If there is no file that can be read, the content is what is changed alone.

    Args:
        changed: field → its new value.
    """
    try:
        _, _, content = _read(path)
    except (OSError, Unreadable):
        content = {}
    new = typed_json.to_json(RunRecord(**changed))
    return content | {name: new[name] for name in changed}


def _read(path: Path) -> tuple[RunRecord, list[str], dict[str, Any]]:
    """Returns the record of a run.json, a line for each field that is wrong, and its content without these."""
    content = read_object(path)
    record, wrong = typed_json.sound_fields(content, RunRecord)
    if "status" in wrong:
        raise Unreadable(f"{path}: {wrong['status']}") from wrong["status"]
    faults = [f"{path}: {error}" for error in wrong.values()]
    ends = record.measures.items()
    if turned := [name for name, (low, high) in ends if high is not None and (low is None or low > high)]:
        place = f"measures.{shortened(turned[0], MOST_SHOWN)}"
        faults.append(f"{path}: the field {place} has no low end below its high end")
        record.measures = {}
        wrong["measures"] = typed_json.Wrong(place)
    return record, faults, {name: value for name, value in content.items() if name not in wrong}

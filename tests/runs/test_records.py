"""run.json, sweep.json and tables that were changed by hand or are hostile: a line names the file and the field."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mi_runner.cli import command as cli
from mi_runner.errors import ConfigError
from mi_runner.machine.reading import Unreadable, read_bytes, read_object
from mi_runner.runs import run_folder, states
from mi_runner.runs.plan import FOR_A_LIST, Plan, read_sweep
from mi_runner.runs.record import RunRecord, read_run
from mi_runner.runs.report import write_run_report
from mi_runner.sweeps.sweep_plan import read_plan

TINY = ("dataset=mod_add", "dataset.train_size=32", "dataset.test_size=16", "training.epochs=1", "report=false")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two runs that are done, a and b, and a sweep s of two jobs."""
    at = tmp_path_factory.mktemp("made")
    before = os.getcwd()
    os.chdir(at)
    try:
        for arguments in ((*TINY, "seed=0"), (*TINY, "seed=1"), ("-m", *TINY, "seed=0,1")):
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                assert cli.main(arguments) == 0
        Path("outputs/train/mod_add-mlp/v001").rename("a")
        Path("outputs/train/mod_add-mlp/v002").rename("b")
        Path("outputs/sweeps/train/v001").rename("s")
        shutil.rmtree("outputs")
        yield at
    finally:
        os.chdir(before)


def said(*arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(arguments)
    return status, out.getvalue(), err.getvalue()


def leaves(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON value, also those that have parts."""
    if at:
        yield at
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from leaves(inner, (*at, step))


def put(value: Any, at: tuple[Any, ...], new: Any) -> None:
    for step in at[:-1]:
        value = value[step]
    value[at[-1]] = new


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(
        [
            10**400,
            -1,
            2**63,
            1e308,
            "\ud800",
            "../../../../x",
            "/etc/passwd",
            "\x1b[31m",
            "a\nb",
            "\u202egpj",
            "",
            "x" * 5000,
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FUZZ = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def check_commands(folder: str, file: Path, other: str, wrong: bool) -> None:
    """`ls`, `diff` and `report` of a folder whose record was changed end in order, and name the file if it is wrong."""
    for arguments in (("ls", folder), ("ls", folder, "--format", "json"), ("diff", folder, other), ("report", folder)):
        status, out, err = said(*arguments)
        assert status in (0, 1, 2, 3) and "Traceback" not in err, (arguments, err)
        assert not any(ord(character) < 32 and character not in "\n\t" for character in out + err), arguments
        if wrong:
            assert str(file) in err, (arguments, err)
        if arguments[-1] == "json":
            json.loads(out)


@FUZZ
@given(data=st.data())
def test_a_field_of_run_json_that_is_anything(data: st.DataObject, made: Path) -> None:
    shutil.rmtree("x", ignore_errors=True)
    shutil.copytree("a", "x")
    record = json.loads(Path("a/run.json").read_text())
    at = data.draw(st.sampled_from(list(leaves(record))), label="place")
    put(record, at, data.draw(ANY_JSON, label="value"))
    Path("x/run.json").write_text(json.dumps(record))
    try:
        _, faults = read_run(Path("x/run.json"))
    except Unreadable as error:
        faults = [str(error)]
    for fault in faults:
        assert fault.startswith("x/run.json: ") and str(at[0]) in fault, fault
    check_commands("x", Path("x/run.json"), "b", bool(faults))


def test_a_field_of_run_json_that_is_null_or_missing(made: Path) -> None:
    record = json.loads(Path("a/run.json").read_text())
    changed = [{**record, name: None} for name in record]
    changed += [{key: value for key, value in record.items() if key != name} for name in record]
    for content in (*changed, {"status": "done"}, dict.fromkeys(record) | {"status": "done"}):
        shutil.rmtree("x", ignore_errors=True)
        shutil.copytree("a", "x")
        Path("x/run.json").write_text(json.dumps(content))
        status, _, err = said("diff", "x", "b")
        assert status in (0, 1, 2) and "Traceback" not in err, (content, err)
    check_commands("x", Path("x/run.json"), "b", wrong=False)


@FUZZ
@given(data=st.data())
def test_a_field_of_sweep_json_that_is_anything(data: st.DataObject, made: Path) -> None:
    shutil.rmtree("t", ignore_errors=True)
    shutil.copytree("s", "t", symlinks=True)
    plan = json.loads(Path("s/sweep.json").read_text())
    at = data.draw(st.sampled_from(list(leaves(plan))), label="place")
    put(plan, at, data.draw(ANY_JSON, label="value"))
    Path("t/sweep.json").write_text(json.dumps(plan))
    try:
        read_sweep(Path("t/sweep.json"), FOR_A_LIST)
        wrong = False
    except Unreadable as error:
        wrong = True
        assert str(error).startswith("t/sweep.json: ") and str(at[0]) in str(error)
    check_commands("t", Path("t/sweep.json"), "s", wrong)
    for arguments in (("-m", "resume=t", "plan=true"), ("sweep=t",)):
        status, _, err = said(*arguments)
        assert status in (0, 1, 2, 3) and "Traceback" not in err, err
        assert not wrong or (status == 2 and "t/sweep.json" in err), err


@FUZZ
@given(table=st.sampled_from(["metrics.csv", "history.csv", "predictions.parquet"]), data=st.data())
def test_a_table_with_bytes_that_are_anything(table: str, data: st.DataObject, made: Path) -> None:
    shutil.rmtree("x", ignore_errors=True)
    shutil.copytree("a", "x")
    content = bytearray((Path("a") / table).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    (Path("x") / table).write_bytes(content)
    check_commands("x", Path("x"), "b", wrong=False)


# --- files that are none -------------------------------------------------------------------------------------------


def torn(kind: str, path: Path) -> None:
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as bound, contextlib.chdir(path.parent):
            bound.bind(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "circle":
        path.symlink_to(path.name)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(
            {
                "deep": b'{"status": "done", "config": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
                "digits": b'{"status": "done", "seed": ' + b"9" * 5_000 + b"}",
                "infinite": b'{"status": "done", "metrics": {"accuracy": 1e999}}',
                "twice": b'{"status": "done", "status": "failed"}',
                "no text": b'{"status": "\xff"}',
                "half": b'{"status": "done", "host": "\\ud800"}',
                "torn": b'{"status": "do',
                "list": b"[1]",
            }[kind]
        )


@pytest.mark.parametrize("name", ["run.json", "sweep.json"])
@pytest.mark.parametrize(
    "kind",
    [
        "pipe",
        "socket",
        "folder",
        "circle",
        "device",
        "deep",
        "digits",
        "infinite",
        "twice",
        "no text",
        "half",
        "torn",
        "list",
    ],
)
def test_a_record_that_is_no_file_or_no_record(kind: str, name: str, made: Path) -> None:
    folder = Path("y")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    torn(kind, folder / name)
    resumed = [("-m", "resume=y")] if name == "sweep.json" else []
    for arguments in (("ls", "y"), ("diff", "y", "b"), ("report", "y"), *resumed):
        status, _, err = said(*arguments)
        assert status in (0, 2) and "Traceback" not in err, (arguments, err)
        assert name in err and "y" in err, (arguments, err)
    status, out, _ = said("ls", ".")
    assert status == 0 and " a " in out  # the others are listed


def test_a_byte_order_mark_is_no_fault(made: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b"\xef\xbb\xbf" + Path("a/run.json").read_bytes())
    assert states.read_state(tmp_path).done


def test_what_is_wrong_is_said_with_what_is_allowed(made: Path, tmp_path: Path) -> None:
    record = json.loads(Path("a/run.json").read_text())
    for name, value, words in (
        ("pid", -1, "the field pid is -1; it must be an integer, from 1 to 2147483647 or null"),
        ("metrics", {"accuracy": "high"}, "the field metrics.accuracy is 'high'; it must be a finite number or null"),
        ("keys", {"../x": []}, "the field keys has the key '../x'; it must be the name of a table"),
        ("files", {"../x": "00"}, "the field files has the key '../x'; it must be a path below the folder"),
        ("checkpoint", {"path": "a\0b"}, "the field checkpoint.path is 'a\\x00b'; it must be a path or null"),
        ("checkpoint", {"members": [{"seed": "a"}]}, "the field checkpoint.members[0].seed is 'a'"),
    ):
        (tmp_path / "run.json").write_text(json.dumps({**record, name: value}))
        found = states.read_state(tmp_path)
        assert words in found.fault and words in found.cause and not found.done, found
        assert getattr(found.record, name) == getattr(RunRecord(), name) and found.record.host == record["host"]
    (tmp_path / "run.json").write_text(json.dumps({**record, "status": "perfect"}))
    assert "status is 'perfect'; it must be one of running, done" in states.read_state(tmp_path).cause


def test_every_field_that_a_run_writes_has_a_type(made: Path) -> None:
    """A field without one would be read unchecked."""
    typed = [item.name for item in fields(RunRecord)]
    assert [*json.loads(Path("a/run.json").read_text()), "expect_not_met", "given"] == typed
    assert list(json.loads(Path("s/sweep.json").read_text())) == [item.name for item in fields(Plan)]


def test_a_record_has_all_that_its_file_has(made: Path, tmp_path: Path) -> None:
    """So it can be written again, the same byte for byte."""
    record, faults = read_run(Path("a/run.json"))
    assert not faults
    run_folder.RunFolder(tmp_path).write_record(record)
    assert (tmp_path / "run.json").read_bytes() == Path("a/run.json").read_bytes()
    read_sweep(Path("s/sweep.json")).write(tmp_path)
    assert (tmp_path / "sweep.json").read_bytes() == Path("s/sweep.json").read_bytes()


def test_further_fields_are_kept_and_ignored(made: Path, tmp_path: Path) -> None:
    record = {**json.loads(Path("a/run.json").read_text()), "of_later": {"x": [None]}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert states.read_state(tmp_path).done
    write_run_report(tmp_path)  # it amends the record
    amended = json.loads((tmp_path / "run.json").read_text())
    assert list(amended) == list(record) and amended.pop("files").keys() == record.pop("files").keys() | {"report.html"}
    record.pop("files", None)
    assert amended == record


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(Unreadable, match="large: it has 1,099,511,627,776 bytes"):
        read_bytes(tmp_path / "large")
    with pytest.raises(Unreadable, match="no regular file"):
        read_object(Path("/dev/zero"))


def test_a_job_with_a_wrong_record_runs_again_and_says_why(made: Path) -> None:
    shutil.rmtree("t", ignore_errors=True)
    shutil.copytree("s", "t", symlinks=True)
    record = json.loads(Path("t/1/run.json").read_text())
    Path("t/1/run.json").write_text(json.dumps({**record, "metrics": {"accuracy": "1"}}))
    status, _, err = said("sweep=t")
    assert status == 1 and "t/1/run.json: the field metrics.accuracy is '1'" in err
    status, _, err = said("-m", "resume=t")
    assert status == 0 and "job 1 runs again: " in err and "the field metrics.accuracy is '1'" in err, err


def test_a_job_whose_table_can_not_be_read_is_not_done(made: Path) -> None:
    shutil.rmtree("t", ignore_errors=True)
    shutil.copytree("s", "t", symlinks=True)
    with Path("t/1/metrics.csv").open("a") as file:
        file.write("one,cell,more,than,there,are,columns,in,this,file\n")
    status, _, err = said("sweep=t")
    assert status == 1 and "t/1/metrics.csv: line" in err and "10 cells" in err, err


def test_two_jobs_of_one_number(made: Path, tmp_path: Path) -> None:
    plan = json.loads(Path("s/sweep.json").read_text())
    plan["jobs"][1]["number"] = 0
    (tmp_path / "sweep.json").write_text(json.dumps(plan))
    with pytest.raises(ConfigError, match=r"the field jobs\[1\].number is 0, which an earlier job has"):
        read_plan(tmp_path)


def test_a_sweep_begun_in_a_folder_of_no_possible_name(made: Path, tmp_path: Path) -> None:
    plan = json.loads(Path("s/sweep.json").read_text()) | {"folder": "a\0b"}
    (tmp_path / "sweep.json").write_text(json.dumps(plan))
    with pytest.raises(ConfigError, match=r"the field folder is 'a\\x00b'; it must be a path or null"):
        read_plan(tmp_path)

"""Each kind of error has its exit status and its one line."""

from __future__ import annotations

import pytest

from mi_runner.errors import ConfigError, ExitStatus, RunFailed, Terminated, exit_status, one_line, reason, unknown


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("no\n  such   file"), 2, "no such file"),
        (RunFailed("the disk\tis full\n"), 1, "the disk is full"),
        (Terminated(), 143, "terminated (SIGTERM)"),
        (KeyboardInterrupt(), 130, "interrupted (Ctrl-C)"),
        (ValueError("7\nis odd"), 1, "ValueError: 7 is odd"),
        (MemoryError(), 1, "MemoryError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_status_and_line(error: BaseException, status: int, line: str) -> None:
    assert exit_status(error) == status
    assert one_line(error) == line


def test_statuses_are_the_documented_numbers() -> None:
    assert {status.name: int(status) for status in ExitStatus} == {
        "DONE": 0,
        "FAILED": 1,
        "MISTAKE": 2,
        "EXPECTATION_NOT_MET": 3,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }


def test_an_interruption_is_no_exception_that_code_could_swallow() -> None:
    assert not issubclass(Terminated, Exception)
    assert issubclass(ConfigError, ValueError)
    assert issubclass(RunFailed, RuntimeError)


@pytest.mark.parametrize(
    ("given", "allowed", "text"),
    [
        ("rleu", ["relu", "tanh"], "no activation is named 'rleu'. Did you mean relu? Allowed: relu, tanh."),
        ("xyz", ["relu", "tanh"], "no activation is named 'xyz'. Allowed: relu, tanh."),
        ("relu", [], "no activation is named 'relu'. Allowed: (none)."),
        ("rel", iter(["relu"]), "no activation is named 'rel'. Did you mean relu? Allowed: relu."),
    ],
    ids=["near", "far", "nothing allowed", "an iterator"],
)
def test_an_unknown_name_gets_the_nearest_and_all_allowed(given: str, allowed: list[str], text: str) -> None:
    assert unknown("activation", given, allowed) == text


def test_of_many_names_the_first_are_listed_and_the_nearest_is_found_among_all() -> None:
    names = [f"accuracy/{number}" for number in range(1000)]
    text = unknown("summary metric", "acuracy/999", names)
    assert text.startswith("no summary metric is named 'acuracy/999'. Did you mean accuracy/999? Allowed: accuracy/0, ")
    assert text.endswith("accuracy/98, accuracy/99 and 900 more.")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file or directory", "a b"), "No such file or directory: a b"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError("folder: everybody\ncan write it"), "folder: everybody can write it"),
        (ValueError("no number"), "ValueError: no number"),
    ],
)
def test_a_reason_has_no_number_of_python(error: Exception, text: str) -> None:
    assert reason(error) == text

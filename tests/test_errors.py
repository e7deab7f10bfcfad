"""Each kind of error has its exit status and its one line."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

import mi_runner
from mi_runner.errors import (
    ArgumentError,
    ConfigError,
    ExitStatus,
    RunFailed,
    Terminated,
    as_options,
    exit_status,
    of_option,
    one_line,
    reason,
    unknown,
)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("no\n  such   file"), 2, "no such file"),
        (RunFailed("the disk\tis full\n"), 1, "the disk is full"),
        (Terminated(), 143, "terminated (SIGTERM)"),
        (KeyboardInterrupt(), 130, "interrupted (Ctrl-C)"),
        (ArgumentError("k", 0, "give a number\nfrom 1."), 1, "k=0: give a number from 1."),
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


# --- errors about arguments ----------------------------------------------------------------------------------------

WORDS = ArgumentError("digits", "[{digits}]", "no digit is named.", "Use {digits}=[0,1].")
PAIR = ArgumentError(("functions", "n_inputs"), "[IMP]", "IMP has 2 inputs, not {n_inputs}=3.", "Leave {n_inputs} out.")
SENTENCE = ArgumentError("loss", "bce", "{loss}=bce takes targets in 0..1.", "Use {loss}=mse.")
NOTHING_GIVEN = ArgumentError(("model", "epochs"), None, "the model has no parameters:", "use {epochs}=0.")


@pytest.mark.parametrize(
    ("error", "text", "as_option"),
    [
        (WORDS, "digits=[{digits}]: no digit is named. Use digits=[0,1].", "g.digits=[{digits}]: no digit is named. "),
        (PAIR, "functions=[IMP]: IMP has 2 inputs, not n_inputs=3. Leave n_inputs out.", "not g.n_inputs=3. Leave g.n"),
        (
            SENTENCE,
            "loss=bce takes targets in 0..1. Use loss=mse.",
            "g.loss=bce takes targets in 0..1. Use g.loss=mse.",
        ),
        (NOTHING_GIVEN, "the model has no parameters: use epochs=0.", "the model has no parameters: use g.epochs=0."),
        (ArgumentError("arguments", 3, "write '{width: 64}'."), "arguments=3: write '{width: 64}'.", "g.arguments=3: "),
    ],
)
def test_an_error_about_arguments_names_them_and_as_options(error: ArgumentError, text: str, as_option: str) -> None:
    assert str(error) == text and isinstance(error, ValueError) and not isinstance(error, ConfigError)
    group = ("digits", "functions", "n_inputs", "loss", "epochs", "arguments")
    with pytest.raises(ConfigError) as caught, as_options(g=group):
        raise error
    assert as_option in str(caught.value)
    with pytest.raises(ConfigError) as caught, as_options():
        raise error
    assert str(caught.value) == text


def test_the_fields_of_an_error_about_arguments_stay_with_it() -> None:
    assert (PAIR.argument, PAIR.arguments, PAIR.given) == ("functions", ("functions", "n_inputs"), "[IMP]")
    again = pickle.loads(pickle.dumps(PAIR))
    assert (str(again), again.arguments, again.remedy) == (str(PAIR), PAIR.arguments, PAIR.remedy)


def test_an_error_about_arguments_is_passed_on_about_those_of_the_caller() -> None:
    renamed = PAIR.renamed({"n_inputs": "size", "functions": "tables"})
    assert str(renamed) == "tables=[IMP]: IMP has 2 inputs, not size=3. Leave size out."
    assert renamed.arguments == ("tables", "size")
    assert str(renamed.as_options({"size": "logic.size"})).endswith("not logic.size=3. Leave logic.size out.")


def test_options_of_several_groups_and_of_other_names() -> None:
    error = ArgumentError(("a", "b", "c", "d"), None, "{a} {b} {c} {d}")
    with pytest.raises(ConfigError, match="^one.a two.b other d$"), as_options({"c": "other"}, one=["a"], two=["b"]):
        raise error


def test_an_error_about_a_part_of_an_options_value_begins_with_the_option() -> None:
    with pytest.raises(ConfigError, match="^experiment.site: no site is named 'x'.$"), of_option("experiment.site"):
        raise ArgumentError("name", None, "no site is named 'x'.")
    with pytest.raises(RunFailed, match="^other$"), of_option("experiment.site"):
        raise RunFailed("other")


def test_what_fails_in_a_run_names_options_too() -> None:
    error = RunFailed("can't write {place}. Use {root}=FOLDER.", "root")
    assert str(error) == "can't write {place}. Use root=FOLDER."
    with (
        pytest.raises(RunFailed, match=r"^can't write {place}\. Use dataset\.root=FOLDER\.$"),
        as_options(dataset=["root"]),
    ):
        raise error


def test_other_errors_pass() -> None:
    for error in (ConfigError("digits=[]: none"), ValueError("digits=[]")):
        with pytest.raises(ValueError) as caught, as_options(dataset=["digits"]):
            raise error
        assert caught.value is error


def test_each_argument_in_a_text_is_one_of_the_error() -> None:
    """A name in braces that is missing among the arguments would be printed with its braces."""
    checked = 0
    for path in Path(mi_runner.__path__[0]).rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            assigned = [line for line in ast.walk(function) if isinstance(line, ast.Assign)]
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "ArgumentError":
                    before = {
                        ast.unparse(line.targets[0]): line.value for line in assigned if line.lineno < call.lineno
                    }
                    texts = [text for part in call.args[2:] for text in (part, before.get(ast.unparse(part), part))]
                    slots = {slot for text in texts for slot in re.findall(r"{(\w+)}", _constants(text))}
                    names = set(re.findall(r"\w+", _constants(call.args[0])))
                    checked += len(slots)
                    assert slots <= names or not names, f"{path}:{call.lineno}"
    assert checked > 50


def _constants(expression: ast.expr) -> str:
    """Returns the words of an expression that stand in the code."""
    return " ".join(str(node.value) for node in ast.walk(expression) if isinstance(node, ast.Constant))

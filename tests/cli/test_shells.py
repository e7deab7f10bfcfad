"""Commands that would hang, include themselves, or name what isn't there: status 2, no folder, and what to type."""

from __future__ import annotations

import gc
import shlex
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mi_runner.config import composition, explanations
from mi_runner.errors import ConfigError
from mi_runner.sweeps.sweep_plan import combinations as listed
from mi_runner.sweeps.sweep_plan import read_command

SMALL = ("dataset=mod_add", "dataset.train_size=40", "dataset.test_size=40", "training.epochs=1", "report=false")


def refused(mi_run: Callable[..., Any], *arguments: str) -> str:
    """The one line of a command that is refused before a folder is made."""
    ended = mi_run(*arguments, *SMALL)
    assert ended.status == 2 and not ended.out and not Path("outputs").exists(), ended.err
    (line,) = ended.err.splitlines()
    return line


# --- sweeps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("swept", "text"),
    [
        ("seed=range(0,0)", "seed=range(0,0): has no values. Its end is not one of them: seed=range(0,3) is 0, 1, 2"),
        ("seed=range(5,2)", "seed=range(5,2): has no values"),
        ("seed=range(0,1000000000000)", "the sweep has 1,000,000,000,000 jobs, more than 100,000. Give seed fewer"),
        ("seed=shuffle(range(0,1000000000000))", "the sweep has 1,000,000,000,000 jobs"),
        ("training.learning_rate=range(0.1,1,1e-12)", "the sweep has 900,000,000,000 jobs"),
        ("seed=range(0,inf)", "the sweep has over 10¹⁵ jobs"),
        ("seed=range(0,nan)", "the sweep has over 10¹⁵ jobs"),
        ("seed=range(0,1,0)", "can't list its values (its step is 0)"),
        ("seed=glob(*)", "can't list its values (type the names, separated by commas)"),
    ],
)
def test_a_sweep_of_no_job_or_of_too_many_is_refused_at_once(swept: str, text: str, mi_run: Callable[..., Any]) -> None:
    assert text in refused(mi_run, "-m", swept)


def test_combinations_are_counted_before_they_are_listed(mi_run: Callable[..., Any]) -> None:
    line = refused(mi_run, "-m", "seed=range(0,400)", "training.batch_size=range(1,401)")
    assert "seed=range(0,400): the sweep has 400 · 400 jobs, more than 100,000. Give seed fewer values" in line


@pytest.mark.parametrize("swept", ["range(0,3)", "range(3,0,-1)", "range(0,5,2)", "1,2,3", "choice(4,5)", "range(7,8)"])
def test_the_count_is_that_of_the_list(swept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = read_command([f"seed={swept}"])
    n = len(list(listed(command)))
    monkeypatch.setattr("mi_runner.sweeps.sweep_plan.MOST_JOBS", n)
    assert len(list(listed(command))) == n
    monkeypatch.setattr("mi_runner.sweeps.sweep_plan.MOST_JOBS", n - 1)
    with pytest.raises(ConfigError, match=f"the sweep has {n} jobs, more than {n - 1}"):
        list(listed(command))


def test_the_count_of_floats_is_that_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mi_runner.sweeps.sweep_plan.MOST_JOBS", 0)
    for swept, n in (("range(0,1,0.25)", 4), ("range(0.5,2)", 2), ("range(1,0,-0.5)", 2)):
        with pytest.raises(ConfigError, match=f"the sweep has {n} jobs"):
            list(listed(read_command([f"training.weight_decay={swept}"])))


def test_an_objective_that_no_job_has(mi_run: Callable[..., Any]) -> None:
    line = refused(mi_run, "-m", "seed=0,1", "objective=acuracy")
    assert "objective=acuracy: no summary metric is named 'acuracy'. Did you mean accuracy?" in line
    ended = mi_run("-m", "seed=0,1", "objective=accuracy", "plan=true", *SMALL)
    assert ended.status == 0


def test_an_objective_that_some_jobs_have(mi_run: Callable[..., Any]) -> None:
    command = ("-m", "experiment=train,ablation", "objective=train_accuracy", "plan=true", *SMALL)
    assert mi_run(*command).status == 0


# --- config files --------------------------------------------------------------------------------------------------

PLACES = ("--config-dir={}", "hydra.searchpath=[{}]", "hydra.searchpath=['file://{}']")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("sweep", [(), ("-m", "seed=0,1")])
def test_a_folder_of_configs_that_is_missing(place: str, sweep: tuple[str, ...], mi_run: Callable[..., Any]) -> None:
    line = refused(mi_run, *sweep, place.format("/nowhere/at/all"))
    assert "no folder of configs is named '/nowhere/at/all': --config-dir and hydra.searchpath name folders" in line


FILES = {
    "includes itself": b"defaults:\n  - own\n",
    "two that include each other": b"defaults:\n  - other\n",
    "deep": b"# @package _global_\nx: " + b"[" * 3000 + b"]" * 3000 + b"\n",
    "an alias of itself": b"# @package _global_\nseed: &a [*a]\n",
    "no UTF-8": b"\xff\xfe\x00",
    "no YAML": b"\tseed: 1\n",
    "aliases of aliases": b"# @package _global_\na0: &a0 x\n"
    + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 13)),
    "a number of thousands of digits": b"# @package _global_\nseed: " + b"9" * 5000,
    "no number": b"# @package _global_\nseed: !!int x\n",
}


@pytest.fixture
def out_of_stack() -> Iterator[None]:
    """Where the stack ends inside a library, it leaves a folder open, which is closed here, not in a later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.usefixtures("out_of_stack")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", FILES)
def test_a_config_file_that_can_not_be_read(kind: str, mi_run: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_bytes(FILES[kind])
    (folder / "other.yaml").write_text("defaults:\n  - own\n")
    line = refused(mi_run, "--config-dir=own", "experiment=own")
    if kind == "aliases of aliases":
        assert "own.yaml: it has more than 100,000 values" in line
    elif "number" in kind:
        assert "own.yaml: it has a number that can't be read" in line
    elif kind in ("no UTF-8", "no YAML"):
        assert "UTF-8" in line or "own.yaml" in line
    else:
        assert "nests too deeply, or includes itself" in line


@pytest.mark.parametrize("sweep", [(), ("-m", "seed=0,1")])
@pytest.mark.parametrize("override", ["=", "=1", "~"])
def test_an_option_without_a_key(override: str, sweep: tuple[str, ...], mi_run: Callable[..., Any]) -> None:
    assert f"can't read '{override}': it has no key. Write key=value." in refused(mi_run, *sweep, override)


@pytest.mark.parametrize("group", ["experiment", "dataset", "model"])
@pytest.mark.parametrize("content", ["- 1\n", "a: 1\n", ""])
def test_a_config_file_made_from_nothing(group: str, content: str, mi_run: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "own" / group / "own.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    ended = mi_run("--config-dir=own", f"{group}=own")
    (line,) = ended.err.splitlines()
    assert ended.status == 2 and not Path("outputs").exists()
    assert f"is made from no {group} of mi-run" in line
    typed = line.partition("begin it with ")[2].partition(". Code and options of your own")[0]
    file.write_text(typed.replace(", and then ", "\n"))
    assert mi_run("--config-dir=own", f"{group}=own", "--cfg", "job").status == 0


@pytest.mark.parametrize("sweep", [(), ("-m", "seed=0,1")])
def test_brackets_in_brackets(sweep: tuple[str, ...], mi_run: Callable[..., Any]) -> None:
    deep = "[" * 3000 + "]" * 3000
    assert "too many brackets" in refused(mi_run, *sweep, "experiment=iit", f"experiment.variables={deep}")


# --- names and their quotes ----------------------------------------------------------------------------------------

NAMES = (
    *("with space,and=sign #1 (50%)@home.npz", "a=b.npz", "a,b.npz", "a b.npz", "a#b.npz", "it's.npz", 'a"b.npz'),
    *(
        "(1).npz",
        "[1].npz",
        "{a}.npz",
        "a:b.npz",
        "ä ö,ü.npz",
        "a;b&c|d.npz",
        "*?.npz",
        "a'b\"c.npz",
        "a\\b.npz",
        "x .npz",
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_is_read_as_the_error_says(name: str, mi_run: Callable[..., Any]) -> None:
    """What an error says to type is split as a shell does it, and then names the file."""
    x = np.linspace(0, 1, 160).reshape(40, 4)
    y = np.arange(40) % 2
    np.savez(name, x_train=x, y_train=y, x_test=x, y_test=y)
    others = ("dataset=arrays", "training.epochs=0", "report=false")
    ended = mi_run(f"dataset.path={name}", *others)
    if ended.status != 0:
        assert ended.status == 2 and not Path("outputs").exists()
        (error,) = [line for line in ended.err.splitlines() if "error" in line]
        command = error.partition(": type ")[2].rpartition("one text: ")[2].removesuffix(".")
        (override,) = shlex.split(command)
        ended = mi_run(override, *others)
    assert ended.status == 0, ended.err


def test_words_that_a_shell_has_split_are_put_together(mi_run: Callable[..., Any]) -> None:
    line = refused(mi_run, "model=external", "model.factory=a:b", "model.arguments={flat:", "true,", "n:", "3}")
    assert line.endswith("a shell ends a word at a space. Type 'model.arguments={flat: true, n: 3}'.")
    (override,) = shlex.split(line.partition("Type ")[2].removesuffix("."))
    assert composition.compose(["model=external", "model.factory=a:b", override]).model.arguments == {
        "flat": True,
        "n": 3,
    }


@pytest.mark.parametrize("value", ["a,b", 'a"b', "a'b", "a=b c", "#1", " x ", "a\\", "$x", "null", "1.0"])
def test_any_text_has_an_override(value: str) -> None:
    override = explanations.as_text("checkpoint", value)
    if override:
        assert composition.compose([override]).checkpoint == value
    else:
        assert "\\" in value


# --- words of other programs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text", "typed"),
    [
        ("+experiment=ablation", "experiment has a value already, so leave the + out", "experiment=ablation"),
        ("+seed=1", "seed has a value already, so leave the + out", "seed=1"),
        ("checkpoint=None", "write checkpoint=null for none", "checkpoint=null"),
        ("checkpoint=none", "write checkpoint=null for none", "checkpoint=null"),
        ("training.stop_loss=None", "write training.stop_loss=null", "training.stop_loss=null"),
        ("seed=1.0", "must be a whole number: write seed=1;", "seed=1"),
        ("dataset.limit=1e3", "must be a whole number: write dataset.limit=1000;", "dataset.limit=1000"),
        ("seed=abc", "must be a whole number", "seed=3"),
        ("training.learning_rate=None", "must be a number", "training.learning_rate=0.1"),
        (
            "model.hidden_sizes=3",
            "must be a list of whole numbers: type 'model.hidden_sizes=[3]'",
            "model.hidden_sizes=[3]",
        ),
        ("model.hidden_sizes=3,4", "or one list: 'model.hidden_sizes=[3,4]'", "model.hidden_sizes=[3,4]"),
        ("experiment=[ablation]", "experiment is one name: type experiment=ablation", "experiment=ablation"),
        ("--seed=3", "type seed=3", "seed=3"),
        ("seed =3", "type seed=3", "seed=3"),
        ("trainer.max_epochs=1", "Did you mean training.epochs?", "training.epochs=1"),
        ("report=maybe", "must be true or false", "report=true"),
    ],
)
def test_what_is_said_to_type_is_taken(given: str, text: str, typed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composition.compose([given])
    assert text in str(caught.value), caught.value
    composition.compose([typed])


@pytest.mark.parametrize("given", ["seed=0,1", "seed=[0,1]", "seed=range(0,2)", "experiment=train,ablation"])
def test_several_values_are_a_sweep(given: str, mi_run: Callable[..., Any]) -> None:
    line = refused(mi_run, given)
    command = shlex.split(line.partition("type ")[2].partition("; ")[0].removesuffix("."))
    assert command[:2] == ["mi-run", "-m"] and len(command) == 3
    assert mi_run(*command[1:], "plan=true", *SMALL).status == 0


# --- folders -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\tb", "\x1b[31m", "a\u2028b", "a\x7fb", "a\x85b", "a\udc80b"])
@pytest.mark.parametrize("sweep", [(), ("-m", "seed=0,1")])
def test_a_folder_whose_line_would_be_two(name: str, sweep: tuple[str, ...], mi_run: Callable[..., Any]) -> None:
    """The folder is the last line of standard output."""
    for quote in ("", '"'):
        line = refused(mi_run, *sweep, f"output_dir={quote}{name}{quote}")
        assert line.isprintable() and ("can't be printed" in line)


def test_a_folder_of_any_other_name(mi_run: Callable[..., Any]) -> None:
    ended = mi_run("output_dir=\"ä, 'ö' 👩‍🔬 #1\"", *SMALL)
    assert ended.status == 0 and ended.folder.is_dir() and ended.folder.parts[0] == "ä, 'ö' 👩‍🔬 #1"

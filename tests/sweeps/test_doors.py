"""The promise of the README: only `model.factory` and a method of your own in `experiment.methods` run code.

Every other way by which a file, an option, a folder or a setting could run code is tried. Each hands over something
that makes a mark when it is run: a pickle, or a module `evil` that can be imported. Kernels, tasks and the cache are in
`test_private`, git is in `test_git`.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import Ended

MiRun = Callable[..., Ended]

TINY = ("dataset=mod_add", "training.epochs=0", "report=false")

EVIL = """
from pathlib import Path

Path({mark!r}).touch()

from torch import nn

def called(*arguments, **options):
    Path({mark!r} + " of the call").touch()
    return nn.Linear(4, 2)

class Locator:
    from_function = called
"""


class Marks:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder of a command, in which `evil` can be imported."""
    (tmp_path / "evil.py").write_text(EVIL.format(mark=str(tmp_path / "mark")))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("evil", None)


def marks(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("mark*")]


def test_the_two_doors_that_are_open_make_a_mark(folder: Path, mi_run: MiRun) -> None:
    """Otherwise no test below would notice anything."""
    assert mi_run(*TINY, "model=external", "model.factory=evil:called").status == 0
    assert set(marks(folder)) == {"mark", "mark of the call"}
    pickle.loads(pickle.dumps(Marks(folder / "mark of a pickle")))
    assert "mark of a pickle" in marks(folder)


def test_a_method_of_one_s_own_is_the_other(folder: Path, mi_run: MiRun) -> None:
    mi_run("experiment=discovery", "dataset=mod_add", "training.epochs=0", "experiment.methods=[evil:called]")
    assert "mark" in marks(folder)


# --- files with data and weights -----------------------------------------------------------------------------------


def an_array_of_objects(folder: Path, bad: Marks) -> None:
    good = np.zeros((20, 4), np.float32)
    objects = np.array([bad] * 20, dtype=object)
    np.savez(folder / "data.npz", x_train=objects, y_train=np.zeros(20, int), x_test=good, y_test=objects)


def a_pickle_with_the_name_of_arrays(folder: Path, bad: Marks) -> None:
    (folder / "data.npz").write_bytes(pickle.dumps(bad))


def an_archive_of_pickles(folder: Path, bad: Marks) -> None:
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", pickle.dumps(bad))


@pytest.mark.parametrize("make", [an_array_of_objects, a_pickle_with_the_name_of_arrays, an_archive_of_pickles])
@pytest.mark.parametrize("name", ["data.npz", "data.npy", "data.pkl", "data.csv", "data.pt"])
def test_data(make: Callable[[Path, Marks], None], name: str, folder: Path, mi_run: MiRun) -> None:
    make(folder, Marks(folder / "mark"))
    (folder / "data.npz").rename(folder / name)
    ended = mi_run("dataset=arrays", f"dataset.path={name}", "training.epochs=1")
    assert ended.status == 2 and marks(folder) == []


def saved_by_torch(content: Any, path: Path, *, old: bool = False) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=not old)


def with_a_class(path: Path, bad: Marks, *, old: bool) -> None:
    saved_by_torch({"layers.0.weight": torch.zeros(4, 4), "more": bad}, path, old=old)


WEIGHTS: dict[str, Callable[[Path, Marks], Any]] = {
    "a pickle": lambda path, bad: path.write_bytes(pickle.dumps(bad)),
    "old protocol": lambda path, bad: path.write_bytes(pickle.dumps(bad, protocol=0)),
    "torch's archive": lambda path, bad: with_a_class(path, bad, old=False),
    "torch's old format": lambda path, bad: with_a_class(path, bad, old=True),
    "the object alone": lambda path, bad: saved_by_torch(bad, path),
    "a state_dict inside": lambda path, bad: saved_by_torch({"state_dict": {"a": torch.zeros(2)}, "x": bad}, path),
}


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model.bin", "model", "run"])
def test_weights(kind: str, name: str, folder: Path, mi_run: MiRun) -> None:
    if name == "run":  # a run folder that somebody else made
        (folder / "run").mkdir()
        (folder / "run/run.json").write_text(json.dumps({"status": "done", "experiment": "train"}))
    path = folder / (f"{name}/model.safetensors" if name == "run" else name)
    WEIGHTS[kind](path, Marks(folder / "mark"))
    ended = mi_run(*TINY, f"checkpoint={name}")
    assert ended.status == 2 and marks(folder) == []


def test_a_stored_training(folder: Path, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of an optimizer is read as weights are, although the store is the user's own."""
    monkeypatch.setenv("MI_RUN_CACHE", str(folder / "cache"))
    options = ("dataset=mod_add", "report=false", "training.keep_epochs=true", "seed=4711")
    assert mi_run(*options, "training.epochs=1").status == 0
    (state,) = (folder / "cache").rglob("training.pt")
    state.write_bytes(pickle.dumps(Marks(folder / "mark")))
    ended = mi_run(*options, "training.epochs=2")
    assert ended.status == 0 and "damaged and not continued" in ended.err and marks(folder) == []


# --- options -------------------------------------------------------------------------------------------------------

OPTIONS = (
    "+_target_=evil.called",
    "_target_=evil.called",
    "+model._target_=evil.called",
    "model._target_=evil.called",
    "+training._target_=evil.called",
    "+experiment.module=evil",
    "+dataset.module=evil",
    "+model.module=evil",
    "experiment=evil",
    "model=evil:called",
    "model=external",
    "dataset=arrays",
    "+model.factory=evil:called",
    "model.activation=evil.called",
    "training.optimizer=evil:called",
    "training.loss=evil:called",
    "training.regularizer=evil:called",
    "device=evil:called",
    "expect={accuracy: '__import__(\"evil\")'}",
    "expect=__import__('evil')",
    "output_dir=!!python/object/apply:evil.called []",
    "checkpoint=evil:called",
    "seed=!!python/name:evil.called",
    "+hydra.callbacks.evil._target_=evil.called",
    "+hydra.job_logging.handlers.evil.()=evil.called",
    "hydra.hydra_logging.handlers.console.class=evil.called",
    "hydra/job_logging=evil",
    "hydra/launcher=evil",
    "hydra/sweeper=evil",
    "hydra.launcher._target_=evil.called",
    "hydra.sweeper._target_=evil.called",
    "+hydra.launcher._target_=evil.called",
    "hydra.job.env_set.PYTHONSTARTUP=evil.py",
    "hydra.searchpath=[pkg://evil]",
    "hydra.searchpath=[pkg://evil.inner]",
    "hydra.help.template=evil.called",
)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option(option: str, folder: Path, mi_run: MiRun) -> None:
    for words in ((), ("-m", "seed=0,1", "plan=true"), ("--cfg", "all"), ("--info", "config")):
        mi_run(*words, *TINY, option)
    assert marks(folder) == []


@pytest.mark.parametrize(
    "flags",
    [
        ("--experimental-rerun", "config.pickle"),
        ("--config-name", "own", "--config-dir", "mine"),
        ("--config-name", "own", "--config-path", "mine"),
        ("--package", "model"),
    ],
    ids=lambda flags: flags[0],
)
def test_a_flag_of_hydra(flags: tuple[str, ...], folder: Path, mi_run: MiRun) -> None:
    (folder / "config.pickle").write_bytes(pickle.dumps(Marks(folder / "mark")))
    hostile_configs(folder)
    for words in ((), ("-m", "seed=0,1")):
        ended = mi_run(*words, *TINY, *flags)
        assert ended.status == 2 and "type" in ended.err.lower()
    assert marks(folder) == []


# --- a folder with configs -----------------------------------------------------------------------------------------

HYDRA = """
hydra:
  callbacks:
    evil: {_target_: evil.called}
  job_logging: &logging
    version: 1
    formatters: {evil: {(): evil.called}}
    handlers: {evil: {(): evil.called}, other: {class: evil.called}}
    root: {handlers: [evil, other]}
  hydra_logging: *logging
  launcher: {_target_: evil.called}
  sweeper: {_target_: evil.called}
"""

CONFIGS = {
    "training/tagged.yaml": "epochs: !!python/object/apply:evil.called []\n",
    "training/named.yaml": "epochs: !!python/name:evil.called\n",
    "training/module.yaml": "epochs: !!python/module:evil\n",
    "training/new.yaml": "epochs: !!python/object/new:evil.Locator {}\n",
    "training/target.yaml": "defaults: [/schema/training@_here_]\n_target_: evil.called\nepochs: 0\n",
    "training/own.yaml": f"# @package _global_\ndefaults: [/schema/training@training]\n{HYDRA}",
    "experiment/own.yaml": f"# @package _global_\ndefaults: [/schema/experiment/train@experiment]\n{HYDRA}",
    "hydra/job_logging/evil.yaml": "version: 1\nhandlers: {evil: {(): evil.called}}\nroot: {handlers: [evil]}\n",
    "hydra/launcher/evil.yaml": "_target_: evil.called\n",
    "hydra/launcher/basic.yaml": "_target_: evil.called\n",
    "hydra/launcher/joblib.yaml": "_target_: evil.called\n",
    "hydra/sweeper/basic.yaml": "_target_: evil.called\n",
    "hydra/callbacks/evil.yaml": "evil: {_target_: evil.called}\n",
    "hydra/hydra_help/default.yaml": "template: evil\n_target_: evil.called\n",
    "config.yaml": HYDRA,
    "own.yaml": HYDRA,
}


def hostile_configs(folder: Path) -> None:
    for name, text in CONFIGS.items():
        (folder / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mine" / name).write_text(text)


@pytest.mark.parametrize(
    "option",
    [
        *(f"training={name}" for name in ("tagged", "named", "module", "new", "target", "own")),
        *("experiment=own", "hydra/job_logging=evil", "hydra/launcher=evil", "hydra/launcher=joblib"),
        "+hydra/callbacks=evil",
    ],
)
def test_a_folder_of_configs(option: str, folder: Path, mi_run: MiRun) -> None:
    hostile_configs(folder)
    in_code = option.startswith(("training=", "hydra/launcher="))
    for words in (
        (),
        ("-m", "seed=0,1", *(["plan=true"] if in_code else [])),
        ("--cfg", "all"),
        *([] if in_code else [("--info", "all"), ("--hydra-help",)]),
    ):
        mi_run(*words, *TINY, "--config-dir", "mine", option)
        assert marks(folder) == [], words
    mi_run(*TINY, f"hydra.searchpath=[file://{folder}/mine]", option)
    assert marks(folder) == []


# --- folders of runs -----------------------------------------------------------------------------------------------


def test_a_folder_of_a_run(folder: Path, mi_run: MiRun) -> None:
    """What `ls`, `diff` and `report` read of a folder that somebody else made."""
    run = mi_run("dataset=mod_add", "training.epochs=0", "report=false").folder
    hostile = run.parent / "v002"
    shutil.copytree(run, hostile)
    for name in ("model.safetensors", "circuits.safetensors", "circuits.parquet", "predictions.parquet", "data.npz"):
        (hostile / name).write_bytes(pickle.dumps(Marks(folder / "mark")))
    (hostile / "config.yaml").write_text("seed: !!python/object/apply:evil.called []\n")
    record = json.loads((hostile / "run.json").read_text())
    template = "{{ ''.__class__.__mro__[1].__subclasses__() }}{% import 'evil' as e %}"
    record |= {"answer": template, "command": template, "error": template, "experiment": "train"}
    (hostile / "run.json").write_text(json.dumps(record))
    for words in (
        ("ls",),
        ("ls", "--columns", "path,command"),
        ("diff", str(run), str(hostile)),
        ("report", str(hostile)),
    ):
        mi_run(*words)
    assert marks(folder) == []
    assert template.split("}}")[0] in (hostile / "report.html").read_text().replace("&#39;", "'")


# --- the current folder, and the environment -----------------------------------------------------------------------

SHADOWS = (
    *("random", "json", "pathlib", "torch", "numpy", "yaml", "hydra", "omegaconf", "matplotlib", "pandas", "rich"),
    *("sitecustomize", "usercustomize", "mi_runner", "numba", "safetensors", "filelock", "platformdirs", "PIL"),
)


def hostile_folder(folder: Path) -> None:
    """Names of modules, and files of settings that libraries look for in the current folder."""
    marking = f"open({str(folder / 'mark')!r}, 'w').close()\n"
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(marking)
    (folder / "hydra_plugins/evil").mkdir(parents=True)
    (folder / "hydra_plugins/evil/__init__.py").write_text(marking)
    latex = folder / "latex"
    latex.write_text(f"#!/bin/sh\ntouch {folder / 'mark'}\n")
    latex.chmod(0o755)
    (folder / "matplotlibrc").write_text("backend: module://evil\ntext.usetex: True\nsvg.fonttype: none\n")
    (folder / ".numba_config.yaml").write_text("cache_locator_classes: evil.Locator\ngdb_binary: ./latex\n")
    (folder / ".env").write_text("PYTHONSTARTUP=evil.py\n")
    (folder / "setup.cfg").write_text("[mypy]\nplugins = evil\n")
    (folder / "conf").mkdir()
    (folder / "conf/config.yaml").write_text(HYDRA)
    (folder / ".hydra").mkdir()
    (folder / ".hydra/config.yaml").write_text(HYDRA)


def test_the_current_folder_of_a_command(tmp_path: Path) -> None:
    """The program as it is installed: with `python -m`, Python itself takes modules from the current folder first."""
    hostile_folder(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL.format(mark=str(tmp_path / "mark")))
    program = "import sys; sys.argv[0] = 'mi-run'; from mi_runner.__main__ import main; sys.exit(main())"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, "dataset=mod_add", "training.epochs=1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, marks(tmp_path)) == (0, []), done.stderr


@pytest.mark.drawn
def test_settings_of_libraries_with_modules_that_can_be_imported(
    folder: Path, mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a factory, with which the current folder is among those of modules."""
    import matplotlib
    import numba

    from mi_runner.machine import compiled

    hostile_folder(folder)
    for name in SHADOWS:
        (folder / f"{name}.py").unlink()
    shutil.rmtree(folder / "hydra_plugins")  # Hydra looks for plugins once, before a factory is imported
    with monkeypatch.context() as patch:
        patch.setenv("MPLBACKEND", "module://evil")
        patch.setenv("NUMBA_CACHE_LOCATOR_CLASSES", "evil.Locator")
        patch.setenv("MI_RUN_CACHE", str(folder / "cache"))
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        with matplotlib.rc_context(fname=folder / "matplotlibrc"):  # as an import of matplotlib in this folder would
            assert mi_run("dataset=mod_add", "training.epochs=1").status == 0
        double = compiled.compiled()(lambda number: 2 * number)
        assert double(3) == 6
    (folder / ".numba_config.yaml").unlink()
    numba.core.config.reload_config()  # for the tests behind this one
    assert marks(folder) == []
    assert list((folder / "cache/kernels").glob("*/*.nbc"))  # where ours are, whatever the settings say

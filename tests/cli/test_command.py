"""The real command: exit statuses, the two streams, interruptions, and what it imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mi_runner import __version__
from mi_runner.cli import command as cli
from mi_runner.config import composition
from mi_runner.sweeps import sweep as sweeps
from tests.conftest import Ended
from tests.forked import Forked
from tests.launched import ended

TINY = ("dataset=mod_add", "dataset.train_size=64", "dataset.test_size=32", "training.epochs=2")
Command = Callable[..., Ended]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["experiment=abltion"],
        ["--cfg", "job"],
        ["training.epochs=x"],
        ["--version"],
        ["seed=0,1", "-m", "sede=1"],
        ["ls", "--format=csv"],
        ["--completion", "words", ""],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_no_torch_imports_none(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import sys; from mi_runner.cli import command as cli; status = cli.main(sys.argv[1:]); "
        "print([name for name in ('torch', 'pandas', 'matplotlib', 'rich') if name in sys.modules], file=sys.stderr); "
        "sys.exit(status)"
    )
    (tmp_path / "outputs").mkdir()  # ls lists what is in it
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
    assert done.returncode == (2 if "=" in arguments[0] else 0)
    assert not (tmp_path / "outputs/train").exists()


@pytest.mark.parametrize(
    ("arguments", "text", "imported"),
    [
        (
            ["dataset=table", "dataset.path=own.csv", "dataset.target_column=labl"],
            "no column is named 'labl'",
            ["pandas"],
        ),
        (["model=external", "model.factory=own:factory", "dataset=mod_add"], "no such layer", []),
        (["checkpoint=other.safetensors", "dataset=mod_add"], "the model has 4", []),
        (["checkpoint=other.safetensors", "experiment=explanations"], "the model has", ["scipy", "numba"]),
    ],
    ids=["table", "factory", "checkpoint", "kernels"],
)
def test_a_mistake_in_the_users_own_needs_no_library_but_for_reading_it(
    arguments: list[str], text: str, imported: list[str], tmp_path: Path
) -> None:
    """In the process that works: neither what draws, writes or trains, nor what prints tables."""
    program = (
        "import sys; sys.argv = ['mi-run', *sys.argv[1:]]; from mi_runner.__main__ import main; status = main(); "
        "libraries = ('pandas', 'matplotlib', 'PIL', 'jinja2', 'pyarrow.parquet', 'rich', 'sklearn', 'scipy', 'numba', "
        "'torchvision', 'torch._dynamo', 'sympy'); "
        "print([name for name in libraries if name in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    (tmp_path / "own.csv").write_text("age,label\n1,a\n2,b\n3,a\n4,b\n")
    (tmp_path / "own.py").write_text("def factory():\n    raise ValueError('no such layer')\n")
    save_file({"a.weight": torch.zeros(3, 4)}, tmp_path / "other.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2 and text in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1] == str(imported)


def test_training_imports_no_compiler(tmp_path: Path) -> None:
    program = (
        "import sys; from mi_runner.cli import command as cli; status = cli.main(sys.argv[1:]); "
        "print('torch.optim' in sys.modules, 'torch._dynamo' in sys.modules, file=sys.stderr); sys.exit(status)"
    )
    tiny = ("dataset=mod_add", "dataset.train_size=32", "dataset.test_size=16", "training.epochs=1", "seed=514")
    done = subprocess.run(
        [sys.executable, "-c", program, *tiny], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "epoch 1/1" in done.stderr
    assert done.stderr.splitlines()[-1] == "True False"


def test_help_and_version(mi_run: Callable[..., Ended]) -> None:
    page = mi_run("--help")
    assert page.status == 0 and page.err == ""
    assert page.out.startswith("mi-run: what does a small neural network really compute?")
    assert mi_run("--version").out == f"mi-run {__version__}\n"
    assert "experiment.targets=null" in mi_run("experiment=ablation", "--help").out
    assert "experiment.targets=null" not in page.out and "experiment.targets=null" in mi_run("--help", "all").out
    assert "on_error=continue" in mi_run("-m", "--help").out


def test_a_fault_of_our_own_is_no_mistake_of_the_users(
    mi_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*arguments: object) -> None:
        raise ValueError("axes don't match")

    monkeypatch.setattr(composition, "typed", faulty)
    monkeypatch.setattr(sweeps, "read_command", faulty)
    for arguments in (TINY, ("-m", *TINY, "seed=0,1")):
        ended = mi_run(*arguments)
        assert ended.status == 1 and ended.out == ""
        assert ended.err.startswith("Traceback") and "in faulty" in ended.err
        assert ended.err.splitlines()[-1] == "mi-run: error: ValueError: axes don't match"


NO_LIST, NO_YAML = "defaults: 3\n", "a: [\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("hydra.searchpath=[foo://x]",), "No config source registered for schema foo"),
        (("-m", "seed=0,1", "hydra.searchpath=[foo://x]"), "No config source registered for schema foo"),
        (("--config-dir", "mine", "training=no_list"), "Invalid defaults list in 'training/no_list'"),
        (("-m", "--config-dir", "mine", "training=no_list"), "Invalid defaults list in 'training/no_list'"),
        (("--config-dir", "mine", "training=no_yaml"), "mine/training/no_yaml.yaml"),
        (("-m", "--config-dir", "mine", "training=no_yaml"), "mine/training/no_yaml.yaml"),
        (("--resolve",), "--resolve flag can only be used in conjunction with --cfg"),
        (("--cfg", "job", "--info", "all"), "Only one of --run"),
        (("-m", "seed=range(0,9,0)"), "can't list its values"),
        (("-m", "seed=choice()"), "can't read 'seed=choice()'"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
)
def test_what_hydra_objects_to_is_the_users_mistake(
    arguments: tuple[str, ...], text: str, mi_run: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "mine/training").mkdir(parents=True)
    (tmp_path / "mine/training/no_list.yaml").write_text(NO_LIST)
    (tmp_path / "mine/training/no_yaml.yaml").write_text(NO_YAML)
    ended = mi_run(*TINY, *arguments)
    assert ended.status == 2 and text in ended.err and ended.err.count("\n") == 1, ended.err


def test_cfg_prints_the_config(mi_run: Callable[..., Ended]) -> None:
    assert "hidden_sizes" in mi_run("--cfg", "job").out


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("lst", "can't read 'lst': no command has this name. Did you mean mi-run ls? Allowed: ls, diff, report"),
        ("train", "can't read 'train': type mi-run experiment=train."),
    ],
)
def test_a_word_that_is_no_command(word: str, text: str, mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(word)
    assert ended.status == 2 and text in ended.err and ended.err.count("\n") == 1, ended.err


def test_an_unknown_flag(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("--foo")
    assert ended.status == 2 and ended.err == "mi-run: error: there is no flag --foo. Type mi-run --help.\n"
    for typed, meant in (("--verison", "--version"), ("--mutlirun", "--multirun"), ("--cgf=job", "--cfg")):
        ended = mi_run("experiment=ablation", typed)
        assert ended.status == 2 and f": did you mean {meant}? Type mi-run --help.\n" in ended.err
    ended = mi_run("report", "--hepl")
    assert ended.status == 2 and "there is no flag --hepl: did you mean --help? Type mi-run report --help." in ended.err
    assert mi_run("--cfg").err == "mi-run: error: argument --cfg/-c: expected one argument. Type mi-run --help.\n"


def test_mi_run_alone_says_how_to_begin_and_runs_nothing(mi_run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = mi_run()
    assert (ended.status, ended.out) == (0, mi_run("--help").out) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [name for name in cli.COMMANDS if name[0] != "-"])
def test_a_page_of_a_command_fits_eighty_columns(command: str, mi_run: Callable[..., Ended]) -> None:
    page = mi_run(command, "--help")
    assert page.status == 0 and f"mi-run {command}" in page.out
    assert [line for line in page.out.splitlines() if len(line) > 80] == []


def test_tables_and_folder_on_standard_output_all_else_on_standard_error(command: Command, tmp_path: Path) -> None:
    ended = command("experiment=ablation", "model=mlp", *TINY, "seed=135")  # a network that no other test trains
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert lines[0].startswith("metrics: ablation")
    assert lines[-1] == "outputs/ablation/mod_add-mlp/v001"
    assert "epoch 2/2" in ended.err and "epoch" not in ended.out
    log = (tmp_path / lines[-1] / "run.log").read_text()
    assert "epoch 2/2" in log and "mi-run experiment=ablation model=mlp" in log


def begun(tmp_path: Path, *arguments: str) -> tuple[Forked, Path]:
    """A command that trains for long, once it has begun to."""
    process = Forked("dataset=mod_add", "training.epochs=100000", *arguments, cwd=tmp_path)
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            break
    return process, tmp_path / "outputs/train/mod_add-mlp/v001"


def record_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(tmp_path: Path, number: signal.Signals, status: int) -> None:
    process, folder = begun(tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status and out == ""
    assert "Traceback" not in err
    record = record_of(folder)
    assert record["status"] == "interrupted" and record["finished"] is not None
    assert (folder / "history.csv").read_text().startswith("epoch,loss,test_loss,test_accuracy\n1,")
    assert "Traceback" in (folder / "run.log").read_text()
    assert not (folder.parent / "latest").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_that_follow_each_other_interrupt_once(tmp_path: Path, number: signal.Signals, status: int) -> None:
    process, folder = begun(tmp_path, "seed=301")
    for _ in range(6):
        process.send_signal(number)
        time.sleep(0.004)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status and out == "" and "Traceback" not in err
    assert record_of(folder)["status"] == "interrupted" and record_of(folder)["finished"]
    assert (folder / "history.csv").read_text().startswith("epoch,")


def test_killed_it_shows_as_running_with_a_dead_pid(tmp_path: Path, mi_run: Callable[..., Ended]) -> None:
    process, folder = begun(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    record = record_of(folder)
    assert record["status"] == "running" and record["pid"] == process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(record["pid"], 0)
    assert not (folder.parent / "latest").exists()
    refused = mi_run("dataset=mod_add", f"checkpoint={folder}")
    assert refused.status == 2 and "the run is not done (status running)" in refused.err
    after = mi_run(*TINY)
    assert after.status == 0 and after.folder.name == "v002"


def test_five_at_once_give_five_folders_one_training_and_equal_tables(tmp_path: Path) -> None:
    """They begin within the same instant."""
    arguments = ("experiment=ablation", "model=mlp", "dataset=mod_add", "seed=31", "threads=1")
    processes = [Forked(*arguments, cwd=tmp_path) for _ in range(5)]
    done = [ended(process) for process in processes]
    assert [each.status for each in done] == [0] * 5
    folders = [tmp_path / each.folder for each in done]
    assert sorted(folder.name for folder in folders) == ["v001", "v002", "v003", "v004", "v005"]
    records = [record_of(folder) for folder in folders]
    assert [record["status"] for record in records] == ["done"] * 5
    assert sorted(record["checkpoint"]["from"] for record in records) == ["model store"] * 4 + ["training"]
    assert len({(folder / "metrics.csv").read_bytes() for folder in folders}) == 1
    assert os.readlink(folders[0].parent / "latest") == "v005"


def test_the_users_own_network_and_data(command: Command, tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "my_model.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, input_shape, n_outputs, width):\n"
        "        super().__init__()\n"
        "        self.inner = torch.nn.Linear(input_shape[0], width)\n"
        "        self.outer = torch.nn.Linear(width, n_outputs)\n"
        "    def forward(self, x):\n"
        "        return self.outer(torch.tanh(self.inner(x)) * 2)\n"
    )
    draw = np.random.default_rng(0)
    x = draw.normal(size=(300, 4))
    np.savez(
        tmp_path / "data.npz", **{"x_train": x[:200], "y_train": (x[:200, 0] > 0).astype(int)},
        **{"x_test": x[200:], "y_test": (x[200:, 0] > 0).astype(int)},
    )  # fmt: skip
    ended = command(
        *("experiment=ablation", "dataset=arrays", "dataset.path=data.npz", "model=external"),
        *("model.factory=my_model:Net", "model.arguments={width: 8}", "training.epochs=30"),
    )
    assert ended.status == 0, ended.err
    metrics = json.loads((tmp_path / ended.folder / "run.json").read_text())["metrics"]
    assert metrics["accuracy"] > 0.9
    assert {"accuracy/inner/zero", "accuracy/tanh/mean", "accuracy/mul/resample"} <= set(metrics)

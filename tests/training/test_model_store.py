"""A trained model is found again by all that produced it, and by nothing less; the store never stands in the way."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mi_runner
from mi_runner.config.models.mlp import Activation, MlpConfig
from mi_runner.machine import hardware, sources
from mi_runner.machine.files import tensors_sha256
from mi_runner.models import Built
from mi_runner.runs.choices import build_network
from mi_runner.training import loop as training
from mi_runner.training import model_store
from mi_runner.training.model_store import Stored, key, obtain, train_stack
from mi_runner.training.options import TrainingOptions
from mi_runner.training.weights import save_weights
from tests.small_data import classes

CONFIG = TrainingOptions(epochs=1, optimizer="sgd", learning_rate=0.1)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the test's own."""
    monkeypatch.setenv("MI_RUN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: for networks this small, waiting for a second one takes longer than the arithmetic."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def new(seed: int = 0, **changed: Any) -> Built:
    """A network as a run builds it."""
    return build_network(MlpConfig(hidden_sizes=[5], **changed), classes(), seed=seed)


def state_of(built: Built) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in built.model.state_dict().items()}


def same(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(state) == list(other) and all(torch.equal(state[name], other[name]) for name in state)


@dataclass
class Trainer:
    """Trains when asked, counts how often, and keeps the weights that training began with."""

    built: Built
    config: TrainingOptions = field(default_factory=lambda: CONFIG)
    seed: int = 0
    times: int = 0
    began_with: dict[str, Tensor] | None = None

    def __call__(self, *stack: Any) -> Any:
        self.times += 1
        self.began_with = state_of(self.built)
        return train_stack(*stack)

    def obtain(self) -> Stored:
        return obtain([self.built], self.config, seeds=[self.seed], train=self)[0]


# --- found again ---------------------------------------------------------------------------------------------------


def test_a_model_is_trained_once_and_found_again(store: Path, warnings_in_log: list[str]) -> None:
    first, second = Trainer(new()), Trainer(new())
    trained = first.obtain()
    found = second.obtain()
    assert (first.times, trained.trained_now) == (1, True)
    assert (second.times, found.trained_now) == (0, False)
    assert same(state_of(first.built), state_of(second.built))
    assert not same(state_of(first.built), state_of(new()))  # so training changed something
    assert (found.path, found.sha256, found.history) == (trained.path, trained.sha256, trained.history)
    assert [row["epoch"] for row in found.history] == [1]
    assert trained.path == store / key(new(), CONFIG, seed=0) / "model.safetensors"
    assert sorted(path.name for path in trained.path.parent.iterdir()) == ["model.safetensors", "record.json"]
    assert warnings_in_log == []


def test_digest_and_weights_of_the_store_are_of_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is replaced after its digest was compared is not the one that is loaded."""
    trained = Trainer(new())
    path = trained.obtain().path
    assert path is not None
    read, other = model_store.read_weights, {name: tensor + 1 for name, tensor in state_of(trained.built).items()}

    def replaced_before(*given: Any) -> dict[str, Tensor]:
        save_weights(other, path)
        return read(*given)

    monkeypatch.setattr(model_store, "read_weights", replaced_before)
    found = Trainer(new())
    assert not found.obtain().trained_now
    assert same(state_of(found.built), state_of(trained.built))


def test_a_model_that_is_not_trained_is_kept_too() -> None:
    config = TrainingOptions(epochs=0)
    assert Trainer(new(), config).obtain().history == []
    found = Trainer(new(), config)
    assert not found.obtain().trained_now
    assert same(state_of(found.built), state_of(new()))


def test_running_statistics_are_kept() -> None:
    def with_statistics() -> Built:
        torch.manual_seed(0)
        return Built(nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)).eval(), classes())

    first, second = Trainer(with_statistics()), Trainer(with_statistics())
    assert first.obtain().trained_now and not second.obtain().trained_now
    assert same(state_of(first.built), state_of(second.built))
    assert int(second.built.model[1].num_batches_tracked) == 1


# --- the key -------------------------------------------------------------------------------------------------------

OTHER_OPTIONS: dict[str, Any] = {
    "epochs": 2,
    "stop_loss": 0.5,
    "stop_steps": 3,
    "stop_examples": 9,
    "keep_best": True,
    "random_labels": True,
    "batch_size": 7,
    "optimizer": "adam",
    "learning_rate": 0.2,
    "weight_decay": 0.1,
    "momentum": 0.5,
    "loss": "cross_entropy",
    "label_smoothing": 0.1,
    "regularizer": "clusterability",
    "regularizer_strength": 3.0,
    "regularizer_layer": "layers.0",
    "regularizer_clusters": 3,
}


@pytest.mark.parametrize("option", [option.name for option in fields(TrainingOptions) if option.name != "keep_epochs"])
def test_any_other_option_trains_anew(option: str) -> None:
    # A regulariser's options count where there is one, and those of held-out examples where there are any.
    config = replace(CONFIG, regularizer="clusterability") if "regularizer_" in option else CONFIG
    if option in ("stop_steps", "stop_examples", "keep_best"):
        config = replace(config, stop_steps=None if option == "stop_steps" else 2, stop_examples=10)
    Trainer(new(), config).obtain()
    other = Trainer(new(), replace(config, **{option: OTHER_OPTIONS[option]}))
    assert other.obtain().trained_now
    assert not Trainer(new(), config).obtain().trained_now


def test_options_of_a_regularizer_that_is_not_used_train_nothing_anew() -> None:
    Trainer(new()).obtain()
    assert not Trainer(new(), replace(CONFIG, regularizer_strength=3.0)).obtain().trained_now


def test_options_of_held_out_examples_that_are_not_used_change_no_key() -> None:
    """So that networks that were trained before there were such options have the keys that they had."""
    names = ["epochs", "batch_size", "optimizer", "learning_rate", "weight_decay", "momentum", "loss"]
    names += ["label_smoothing", "stop_loss", "regularizer"]
    assert list(model_store._training(replace(CONFIG, stop_examples=9))) == names
    assert key(new(), replace(CONFIG, stop_examples=9), seed=0) == key(new(), CONFIG, seed=0)
    assert list(model_store._training(replace(CONFIG, stop_steps=1)))[-4:-1] == [
        "stop_steps",
        "stop_examples",
        "keep_best",
    ]


def with_other_initial_weights() -> Built:
    built = new()
    with torch.no_grad():
        built.model.layers[0].bias[0] += 1e-3
    return built


class Scaled(nn.Module):
    """A Linear layer with a buffer, which is in the weights' file or not."""

    def __init__(self, scale: float, persistent: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.last = nn.Linear(6, 3)
        self.register_buffer("scale", torch.tensor(scale), persistent=persistent)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x * self.scale)


@pytest.mark.parametrize("persistent", [True, False])
def test_buffers_are_in_the_key_also_those_that_are_not_saved(persistent: bool) -> None:
    def scaled(scale: float) -> Trainer:
        return Trainer(Built(Scaled(scale, persistent).eval(), classes()))

    first, other = scaled(1.0), scaled(2.0)
    assert first.obtain().trained_now and other.obtain().trained_now
    assert not torch.equal(first.built.model.last.weight, other.built.model.last.weight)
    again = scaled(2.0)
    assert not again.obtain().trained_now and float(again.built.model.scale) == 2.0
    assert torch.equal(again.built.model.last.weight, other.built.model.last.weight)


OTHERS: dict[str, Callable[[], Trainer]] = {
    "seed": lambda: Trainer(new(), seed=1),
    "data set": lambda: Trainer(replace(new(), dataset=classes(seed=1))),
    "initial weights": lambda: Trainer(with_other_initial_weights()),
    "activation": lambda: Trainer(new(activation=Activation.tanh)),
    "source": lambda: Trainer(replace(new(), source="0123")),
}


@pytest.mark.parametrize("changed", OTHERS)
def test_anything_else_that_changes_trains_anew(changed: str) -> None:
    Trainer(new()).obtain()
    assert OTHERS[changed]().obtain().trained_now
    assert not Trainer(new()).obtain().trained_now


@pytest.mark.parametrize(
    ("holder", "name", "value"),
    [
        (mi_runner, "__version__", "0"),
        (torch, "__version__", "0"),
        (model_store, "_code_digest", lambda: "0"),
        (hardware, "processor", lambda: "another"),
        (hardware, "instruction_set", lambda: "another"),
    ],
    ids=["mi_runner", "torch", "code", "processor", "instruction set"],
)
def test_another_version_has_another_key(holder: Any, name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(new(), CONFIG, seed=0)
    monkeypatch.setattr(holder, name, value)
    assert key(new(), CONFIG, seed=0) != before


def test_the_threads_that_train_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that is too small to divide takes one thread, however many there are: then the weights are the same."""
    torch.set_num_threads(1)
    alone = key(new(), CONFIG, seed=0)
    torch.set_num_threads(2)
    assert key(new(), CONFIG, seed=0) == alone
    monkeypatch.setattr(training, "SMALL_STEP", 1)
    assert key(new(), CONFIG, seed=0) != alone


PROGRAM = """
import importlib, sys
from pathlib import Path
package = Path(sys.argv[1])
for name in ("mi_runner.training.loop", "mi_runner.training.stacked"):
    importlib.import_module(name)
for file in (package / "models").glob("*.py"):
    importlib.import_module(f"mi_runner.models.{file.stem}")
for name, module in sys.modules.items():
    if name.startswith("mi_runner"):
        print(Path(module.__file__).relative_to(package))
"""


def test_the_key_has_every_source_that_training_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python imports them, but for the `__init__.py` of folders that have a docstring only."""
    package = Path(mi_runner.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(package)], cwd=package.parent, capture_output=True, text=True, check=True
    )
    counted: list[Path] = []

    def digest(files: list[Path], of: Path) -> str:
        counted.extend(file.relative_to(of) for file in files)
        return "0"

    monkeypatch.setattr(sources, "digest", digest)
    model_store._code_digest.__wrapped__()
    imported = {Path(line) for line in done.stdout.splitlines()}
    uncounted = {path for path in imported - set(counted) if path.name != "__init__.py"}
    assert len(imported) > 25 and uncounted == set()
    assert {Path("models/__init__.py"), Path("datasets/__init__.py"), Path("training/loop.py")} <= set(counted)
    assert Path("__init__.py") not in counted and not [path for path in counted if path.parts[0] == "runs"]


def test_an_edit_of_a_source_that_training_imports_trains_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mi_runner"
    files = {"training/loop.py": "import mi_runner.steps", "training/stacked.py": "", "models/mlp.py": ""}
    files |= {"__init__.py": "", "steps.py": "", "sweeps.py": ""}
    monkeypatch.setattr(mi_runner, "__file__", str(package / "__init__.py"))
    digests = {}
    for edited in ("", *files):
        for name, source in files.items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(source + "\n# an edit" * (name == edited))
        digests[edited] = model_store._code_digest.__wrapped__()
    assert digests["sweeps.py"] == digests["__init__.py"] == digests[""]
    assert len(set(digests.values())) == 1 + 4


def test_names_shapes_and_types_of_the_initial_weights_are_in_the_key() -> None:
    """Six zeros are the same bytes under each of these."""
    states = [{"a": torch.zeros(6)}, {"b": torch.zeros(6)}, {"a": torch.zeros(2, 3)}, {"a": torch.zeros(6).int()}]
    states += [{"a": torch.zeros(6), "b": torch.zeros(0)}, {"a": torch.zeros(5), "b": torch.tensor(0.0)}]
    assert len({tensors_sha256(state) for state in states}) == len(states)


def test_the_layout_in_memory_is_not_in_the_key() -> None:
    matrix = torch.arange(6.0).reshape(2, 3)
    assert tensors_sha256({"a": matrix}) == tensors_sha256({"a": matrix.T.contiguous().T})


# --- damage --------------------------------------------------------------------------------------------------------


def edit_record(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads((folder / "record.json").read_text())
    change(record)
    (folder / "record.json").write_text(json.dumps(record))


def other_weights(folder: Path) -> None:
    """Weights that are right in themselves, under the digest of others."""
    save_weights(new(seed=5).model.state_dict(), folder / "model.safetensors")


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def to_pipe(path: Path) -> None:
    """A file without an end: who reads it waits for somebody who writes."""
    path.unlink()
    os.mkfifo(path, 0o600)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "weights cut short": lambda folder: shorten(folder / "model.safetensors"),
    "weights empty": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "other weights": other_weights,
    "weights a pipe": lambda folder: to_pipe(folder / "model.safetensors"),
    "record a pipe": lambda folder: to_pipe(folder / "record.json"),
    "record torn": lambda folder: shorten(folder / "record.json"),
    "record empty": lambda folder: (folder / "record.json").write_text(""),
    "record a list": lambda folder: (folder / "record.json").write_text("[]"),
    "record without digest": lambda folder: edit_record(folder, lambda record: record.pop("sha256")),
    "record without history": lambda folder: edit_record(folder, lambda record: record.pop("history")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_trained_anew_with_a_warning(damage: str, store: Path, warnings_in_log: list[str]) -> None:
    first = Trainer(new())
    folder = first.obtain().path.parent
    DAMAGES[damage](folder)

    again = Trainer(new())
    stored = again.obtain()
    assert (again.times, stored.trained_now) == (1, True)
    assert same(again.began_with, state_of(new()))  # not with what the damaged files held
    assert same(state_of(again.built), state_of(first.built))
    assert warnings_in_log
    assert all(
        line.startswith(f"the stored model {folder} is damaged and will be trained again: ") for line in warnings_in_log
    )

    warnings_in_log.clear()
    assert not Trainer(new()).obtain().trained_now
    assert warnings_in_log == []


@pytest.mark.parametrize("name", ["model.safetensors", "record.json"])
def test_what_is_missing_is_trained_anew(name: str, warnings_in_log: list[str]) -> None:
    """So is a model whose training process was killed while it wrote: its record comes last."""
    (Trainer(new()).obtain().path.parent / name).unlink()
    assert Trainer(new()).obtain().trained_now
    assert not Trainer(new()).obtain().trained_now
    assert warnings_in_log == []


# --- a store that can't be written ---------------------------------------------------------------------------------


@pytest.mark.parametrize("blocked", ["cache", "cache/models"])
def test_a_store_that_can_not_be_made_trains_and_warns(
    blocked: str, tmp_path: Path, store: Path, warnings_in_log: list[str]
) -> None:
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).write_text("no folder")
    trainer = Trainer(new())
    stored = trainer.obtain()
    assert (trainer.times, stored.trained_now, stored.path, stored.sha256) == (1, True, None, None)
    assert [row["epoch"] for row in stored.history] == [1]
    assert not same(state_of(trainer.built), state_of(new()))
    [line] = warnings_in_log
    assert line.startswith(f"the cache {store.parent} can't be used (")
    assert line.endswith("): nothing is kept for the next run. MI_RUN_CACHE=FOLDER names another folder.")


def test_a_disk_that_is_full_after_training_does_not_train_twice(
    monkeypatch: pytest.MonkeyPatch, store: Path, warnings_in_log: list[str]
) -> None:
    def full(state: Any, path: Path, names: Any) -> None:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(model_store, "save_weights", full)
    trainer = Trainer(new())
    stored = trainer.obtain()
    assert (trainer.times, stored.trained_now, stored.path) == (1, True, None)
    assert [row["epoch"] for row in stored.history] == [1]
    [line] = warnings_in_log
    assert line.startswith(f"the cache {store.parent} can't be used (No space left on device): ")
    assert [path for path in store.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_training_that_fails_keeps_nothing_and_lets_go_of_the_lock(store: Path) -> None:
    def diverged(*stack: Any) -> Any:
        return [FloatingPointError("training diverged")]

    with pytest.raises(FloatingPointError, match=r"^training diverged$"):
        obtain([new()], CONFIG, seeds=[0], train=diverged)
    assert list(store.rglob("*.safetensors")) == []
    assert Trainer(new()).obtain().trained_now


def test_an_os_error_of_training_is_not_taken_for_one_of_the_store(warnings_in_log: list[str]) -> None:
    def unreadable(*stack: Any) -> Any:
        raise OSError("the data can't be read")

    with pytest.raises(OSError, match=r"^the data can't be read$"):
        obtain([new()], CONFIG, seeds=[0], train=unreadable)
    assert warnings_in_log == []


# --- several at once -----------------------------------------------------------------------------------------------


def test_threads_that_want_the_same_model_train_it_once() -> None:
    n_threads = 4
    barrier = Barrier(n_threads)
    trainers = [Trainer(new()) for _ in range(n_threads)]

    def wanted(trainer: Trainer) -> Stored:
        def slowly(*stack: Any) -> Any:
            time.sleep(0.2)  # without a lock the others would come by meanwhile
            return trainer(*stack)

        barrier.wait()
        return obtain([trainer.built], CONFIG, seeds=[0], train=slowly)[0]

    with ThreadPoolExecutor(n_threads) as pool:
        stored = list(pool.map(wanted, trainers))
    assert sum(trainer.times for trainer in trainers) == 1
    assert sum(one.trained_now for one in stored) == 1
    assert all(same(state_of(trainer.built), state_of(trainers[0].built)) for trainer in trainers)


PROCESS = """
import sys, time
from pathlib import Path
import torch
from mi_runner.config.models.mlp import MlpConfig
from mi_runner.datasets import Dataset
from mi_runner.runs.choices import build_network
from mi_runner.training import model_store
from mi_runner.training.options import TrainingOptions

folder = Path(sys.argv[1])
torch.set_num_threads(1)
dataset = Dataset(**torch.load(folder / "dataset.pt"))
config = TrainingOptions(epochs=1, optimizer="sgd", learning_rate=0.1)
built = build_network(MlpConfig(hidden_sizes=[5]), dataset, seed=0)

def train(*stack):
    (folder / "training").touch()
    while not (folder / "wanted").exists():
        time.sleep(0.01)
    time.sleep(0.2)  # without a lock the other process would come by meanwhile
    return model_store.train_stack(*stack)

print(model_store.obtain([built], config, seeds=[0], train=train)[0].trained_now)
"""


def test_a_process_waits_for_another_that_trains_the_same_model(tmp_path: Path) -> None:
    dataset = classes()
    torch.save({each.name: getattr(dataset, each.name) for each in fields(dataset)}, tmp_path / "dataset.pt")
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        while not (tmp_path / "training").exists():
            assert other.poll() is None, "the other process ended before it trained"
            time.sleep(0.01)
        trainer = Trainer(new())
        (tmp_path / "wanted").touch()
        stored = trainer.obtain()
        assert other.stdout is not None
        assert other.stdout.read() == "True\n"
    assert other.returncode == 0
    assert (trainer.times, stored.trained_now) == (0, False)
    assert not same(state_of(trainer.built), state_of(new()))


# --- epochs that are kept --------------------------------------------------------------------------------------------

KEPT = replace(CONFIG, epochs=4, optimizer="adam", batch_size=7, keep_epochs=True)


def with_dropout() -> Built:
    """A network that draws from torch's global generator in training and has running statistics."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    return Built(network.eval(), classes())


def trained_epochs(lines: list[str]) -> list[int]:
    return [int(line.split("/")[0].removeprefix("epoch ")) for line in lines if line.startswith("epoch ")]


@pytest.mark.parametrize(("make", "optimizer"), [(new, "sgd"), (with_dropout, "adam")])
def test_each_kept_epoch_is_that_of_a_training_for_so_many_epochs(
    make: Callable[[], Built], optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = replace(KEPT, optimizer=optimizer)
    obtain([make()], kept, seeds=[3])
    for epochs in range(5):
        built = make()
        stored = obtain([built], replace(kept, epochs=epochs), seeds=[3])[0]
        assert stored.trained_now == (epochs == 0) and len(stored.history) == epochs
        alone = make()
        monkeypatch.setenv("MI_RUN_CACHE", str(tmp_path / f"other-{epochs}"))
        afresh = obtain([alone], replace(kept, epochs=epochs, keep_epochs=False), seeds=[3])[0]
        monkeypatch.setenv("MI_RUN_CACHE", str(tmp_path / "cache"))
        assert same(state_of(built), state_of(alone)) and list(stored.history) == list(afresh.history)


@pytest.mark.parametrize("make", [new, with_dropout])
def test_a_sweep_over_the_epochs_trains_each_epoch_once(make: Callable[[], Built], lines_in_log: list[str]) -> None:
    """Each job continues from the epoch before, as if training had never stopped."""
    states = []
    for epochs in range(5):
        built = make()
        obtain([built], replace(KEPT, epochs=epochs), seeds=[0])
        states.append(state_of(built))
    assert trained_epochs(lines_in_log) == [1, 2, 3, 4]
    continued = [line for line in lines_in_log if "continues" in line]
    assert continued == [f"training continues from epoch {epoch}, which is stored" for epoch in (1, 2, 3)]
    alone = make()
    training.train(alone.model, alone.dataset, replace(KEPT, keep_epochs=False), seed=0)
    assert same(states[4], state_of(alone)) and not same(states[3], states[4])


def test_a_damaged_state_trains_from_an_earlier_epoch(store: Path, lines_in_log: list[str]) -> None:
    obtain([new()], replace(KEPT, epochs=2), seeds=[0])
    folder = store / key(new(), replace(KEPT, epochs=2), seed=0)
    (folder / "training.pt").write_bytes(b"no state")
    built, alone = new(), new()
    obtain([built], replace(KEPT, epochs=3), seeds=[0])
    assert any("is damaged and not continued" in line for line in lines_in_log)
    assert trained_epochs(lines_in_log) == [1, 2, 2, 3]
    training.train(alone.model, alone.dataset, replace(KEPT, epochs=3), seed=0)
    assert same(state_of(built), state_of(alone))


def test_a_training_that_reached_its_loss_ends_in_the_same_epoch() -> None:
    easy = replace(KEPT, stop_loss=100.0)
    first = obtain([new()], easy, seeds=[0])[0]
    second = obtain([new()], replace(easy, epochs=6), seeds=[0])[0]
    assert [row["epoch"] for row in first.history] == [row["epoch"] for row in second.history] == [1]


def test_a_store_that_can_not_keep_epochs_trains_anyway(
    monkeypatch: pytest.MonkeyPatch, warnings_in_log: list[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(model_store, "_write_epoch", full)
    stored = obtain([new()], KEPT, seeds=[0])[0]
    assert len(stored.history) == 4 and len(warnings_in_log) == 1

"""Weights from the user's files: every fault is named, nothing in a file runs, all come to their own parameters."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.errors import ConfigError
from mi_runner.files import sha256
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from mi_runner.runs.checkpoints import load
from mi_runner.training.weights import read_weights, save_weights


def network(seed: int = 0) -> MLP:
    with chance.global_seed(seed, "test"):
        return MLP([6, 5, 3])


def same(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(state) == list(other) and all(torch.equal(state[name], other[name]) for name in state)


def refused(path: Path, model: nn.Module) -> str:
    """What is said about a file that can't be taken; the model must keep the weights that it had."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ConfigError) as caught:
        load(str(path), model)
    assert same(model.state_dict(), before)
    return str(caught.value)


# --- files that are right ------------------------------------------------------------------------------------------


def as_safetensors(state: dict[str, Tensor], folder: Path) -> Path:
    save_file(state, folder / "w.safetensors")
    return folder / "w.safetensors"


def as_pytorch(content: Any, folder: Path) -> Path:
    torch.save(content, folder / "w.pt")
    return folder / "w.pt"


WAYS: dict[str, Callable[[dict[str, Tensor], Path], Path]] = {
    "safetensors": as_safetensors,
    "state_dict": as_pytorch,
    "nested state_dict": lambda state, folder: as_pytorch({"epoch": 3, "state_dict": state, "lr": 0.1}, folder),
    "nested model_state_dict": lambda state, folder: as_pytorch({"model_state_dict": state, "epoch": 3}, folder),
    "nested model": lambda state, folder: as_pytorch({"model": state}, folder),
    "nested twice": lambda state, folder: as_pytorch({"state_dict": {"model": state}}, folder),
    "parameters": lambda state, folder: as_pytorch({name: nn.Parameter(t) for name, t in state.items()}, folder),
    "other order": lambda state, folder: as_pytorch(dict(reversed(state.items())), folder),
    "save_weights": lambda state, folder: (save_weights(state, folder / "w.safetensors"), folder / "w.safetensors")[1],
}


@pytest.mark.parametrize("way", WAYS)
def test_weights_come_back_from_every_form(way: str, tmp_path: Path, warnings_in_log: list[str]) -> None:
    trained, model = network(1), network(2)
    path = WAYS[way](trained.state_dict(), tmp_path)
    checkpoint = load(str(path), model)
    assert same(model.state_dict(), trained.state_dict())
    assert (checkpoint.path, checkpoint.sha256) == (path, sha256(path))
    assert set(checkpoint.state) == set(trained.state_dict())
    assert warnings_in_log == []


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    as_pytorch(network(1).state_dict(), tmp_path)
    assert load("~/w.pt", network(2)).path == tmp_path / "w.pt"


def test_double_precision_is_taken_as_the_models_own(tmp_path: Path) -> None:
    trained, model = network(1), network(2)
    load(str(as_pytorch(network(1).double().state_dict(), tmp_path)), model)
    assert same(model.state_dict(), trained.state_dict())


# --- writing -------------------------------------------------------------------------------------------------------


def test_written_weights_are_what_safetensors_reads(tmp_path: Path) -> None:
    state = network().state_dict()
    save_weights(state, tmp_path / "w.safetensors")
    assert same(dict(sorted(load_file(tmp_path / "w.safetensors").items())), dict(sorted(state.items())))


def test_tied_transposed_and_scalar_tensors_can_be_written(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    state = {"a": shared, "b": shared, "c": shared.T, "d": torch.tensor(3), "e": torch.zeros(0, 2)}
    save_weights(state, tmp_path / "w.safetensors")
    assert same(dict(sorted(read_weights(tmp_path / "w.safetensors").items())), state)


def test_written_weights_may_be_read_by_whom_other_files_may(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    save_weights(network().state_dict(), tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_weights_that_can_not_be_written_are_an_os_error(tmp_path: Path) -> None:
    """Callers know a full disk or a missing folder by it; safetensors has an error of its own."""
    with pytest.raises(FileNotFoundError):
        save_weights(network().state_dict(), tmp_path / "missing" / "w.safetensors")


# --- files that are not right --------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "missing.pt"
    assert refused(path, network()) == f"checkpoint={path}: no such file or run folder."


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_an_empty_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    assert refused(path, network()) == f"checkpoint={path}: the file is empty."


@pytest.mark.parametrize("kept", [1, 7, 8, 100, 0.5, -1], ids=str)
def test_a_truncated_safetensors_file(kept: float, tmp_path: Path) -> None:
    path = as_safetensors(network().state_dict(), tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert refused(path, network()).startswith(f"checkpoint={path}: not a safetensors file, or an incomplete one (")


@pytest.mark.parametrize("kept", [1, 10, 100, 0.5, 0.99, -1], ids=str)
def test_a_truncated_pytorch_file(kept: float, tmp_path: Path) -> None:
    path = as_pytorch(network().state_dict(), tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert refused(path, network()).startswith(f"checkpoint={path}: not a weights file, or ")


@pytest.mark.parametrize(
    "content",
    [b"garbage" * 100, b"hello world", b"<!DOCTYPE html><html></html>", b"PK\x03\x04" + b"x" * 500, b'{"a": 1}'],
)
def test_a_file_of_something_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    text = refused(path, network())
    assert text.startswith(f"checkpoint={path}: not a weights file, or ")
    assert "weights_only" not in text  # torch's advice, which would run what is in the file
    path = path.rename(tmp_path / "w.safetensors")
    assert refused(path, network()).startswith(f"checkpoint={path}: not a safetensors file, or an incomplete one (")


class Trap:
    """An object whose unpickling leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def as_plain_pickle(content: Any, folder: Path) -> Path:
    (folder / "w.pt").write_bytes(pickle.dumps(content, protocol=2))
    return folder / "w.pt"


@pytest.mark.parametrize("save", [as_pytorch, as_plain_pickle])
def test_a_pickle_that_would_run_code_is_refused_unrun(save: Callable[[Any, Path], Path], tmp_path: Path) -> None:
    mark = tmp_path / "code ran"
    path = save({"layers.0.weight": Trap(mark)}, tmp_path)
    assert refused(path, network()) == (
        f"checkpoint={path}: refused, because it holds more than weights and reading it could run code. "
        "Save model.state_dict() alone."
    )
    assert not mark.exists()
    if save is as_plain_pickle:
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert mark.exists()  # so the trap works


def test_a_whole_network_is_refused(tmp_path: Path) -> None:
    path = as_pytorch(network(), tmp_path)
    assert "refused, because it holds more than weights" in refused(path, network())


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (torch.ones(3), "it holds no state_dict (parameter name → tensor)."),
        ([torch.ones(3)], "it holds no state_dict (parameter name → tensor)."),
        ({"epoch": 3, "weights": torch.ones(3)}, "it holds no state_dict (parameter name → tensor)."),
        ({0: torch.ones(3)}, "it holds no state_dict (parameter name → tensor)."),
        ({"state_dict": {}}, "it holds no tensors."),
        ({}, "it holds no tensors."),
    ],
    ids=["tensor", "list", "numbers", "numbered", "nested empty", "empty"],
)
def test_a_pytorch_file_without_weights(content: Any, text: str, tmp_path: Path) -> None:
    path = as_pytorch(content, tmp_path)
    assert refused(path, network()) == f"checkpoint={path}: {text}"


@pytest.mark.parametrize("save", [as_safetensors, as_pytorch])
def test_the_first_wrong_shape_is_named(save: Callable[[Any, Path], Path], tmp_path: Path) -> None:
    path = save(MLP([6, 4, 3]).state_dict(), tmp_path)
    assert refused(path, network()) == (
        f"checkpoint={path}: layers.0.weight has the shape (4, 6), the model's layers.0.weight has (5, 6). "
        "Was it trained with another model, or other sizes?"
    )


def test_too_few_and_too_many_tensors(tmp_path: Path) -> None:
    path = as_pytorch(MLP([6, 3]).state_dict(), tmp_path)
    assert refused(path, network()) == (
        f"checkpoint={path}: 2 tensors, the model has 4; the file lacks layers.2.bias, layers.2.weight."
    )
    path = as_pytorch(TwoLayerSkip(6, 3).state_dict(), tmp_path)
    assert refused(path, MLP([6, 3])) == (
        f"checkpoint={path}: 4 tensors, the model has 2; the file lacks layers.0.bias, layers.0.weight, "
        "has first.bias, first.weight, last.bias."
    )


# --- other names ---------------------------------------------------------------------------------------------------


def renamed(model: nn.Module, **names: str) -> dict[str, Tensor]:
    """The state of a model whose layers have other names."""
    parts = ((name.rpartition("."), tensor) for name, tensor in model.state_dict().items())
    return {f"{names[layer]}.{part}": tensor for (layer, _, part), tensor in parts}


def test_other_names_are_taken_in_order_and_a_line_says_so(tmp_path: Path, warnings_in_log: list[str]) -> None:
    trained, model = network(1), network(2)
    # Against the alphabet, so that a sorted order would be another.
    path = as_pytorch(renamed(trained, **{"layers.0": "z", "layers.2": "a"}), tmp_path)
    load(str(path), model)
    assert same(model.state_dict(), trained.state_dict())
    assert warnings_in_log == [
        f"{path}: the names differ but the shapes match, so z.weight, z.bias, a.weight, a.bias are taken in order"
    ]


def test_other_names_and_other_shapes_name_the_first_pair(tmp_path: Path, warnings_in_log: list[str]) -> None:
    path = as_pytorch(renamed(MLP([6, 5, 4]), **{"layers.0": "a", "layers.2": "b"}), tmp_path)
    assert refused(path, network()) == (
        f"checkpoint={path}: b.weight has the shape (4, 5), the model's layers.2.weight has (3, 5). "
        "Was it trained with another model, or other sizes?"
    )
    assert warnings_in_log == []


def test_other_names_in_safetensors_are_told_by_their_shapes(tmp_path: Path, warnings_in_log: list[str]) -> None:
    """Safetensors sorts by name: here a.bias, a.weight, z.bias, z.weight, though z comes first in the network."""
    trained, model = network(1), network(2)
    path = as_safetensors(renamed(trained, **{"layers.0": "z", "layers.2": "a"}), tmp_path)
    load(str(path), model)
    assert same(model.state_dict(), trained.state_dict())
    assert len(warnings_in_log) == 1


def test_other_names_in_safetensors_are_refused_where_shapes_do_not_tell(tmp_path: Path) -> None:
    """Two square layers: sorted by name they would come into each other's places without a word."""
    path = as_safetensors(renamed(MLP([4, 4, 4]), **{"layers.0": "in", "layers.2": "answer"}), tmp_path)
    assert refused(path, MLP([4, 4, 4])) == (
        f"checkpoint={path}: the names differ from the model's (layers.0.weight, layers.0.bias, layers.2.weight, "
        "layers.2.bias), and several tensors have the shape (4, 4), layers.0.weight among them; safetensors keeps no "
        "order that tells them apart. Rename them, or save the state_dict with torch.save."
    )


def test_other_names_and_shapes_in_safetensors_name_a_pair(tmp_path: Path) -> None:
    path = as_safetensors(renamed(MLP([6, 5, 4]), **{"layers.0": "a", "layers.2": "b"}), tmp_path)
    text = refused(path, network())
    assert text.startswith(f"checkpoint={path}: b.")
    assert "Was it trained with another model, or other sizes?" in text


# --- run folders ---------------------------------------------------------------------------------------------------


def run_with_weights(folder: Path, model: nn.Module, **changed: Any) -> Path:
    """A run folder with the record of a run that trained `model` and is done."""
    folder.mkdir()
    save_weights(model.state_dict(), folder / "model.safetensors")
    record = {"status": "done", "files": {"model.safetensors": sha256(folder / "model.safetensors")}}
    (folder / "run.json").write_text(json.dumps(record | changed))
    return folder


def test_a_run_that_is_done(tmp_path: Path) -> None:
    trained, model = network(1), network(2)
    folder = run_with_weights(tmp_path / "v001", trained)
    checkpoint = load(str(folder), model)
    assert checkpoint.path == folder / "model.safetensors"
    assert same(model.state_dict(), trained.state_dict())


def test_a_link_to_a_run(tmp_path: Path) -> None:
    trained, model = network(1), network(2)
    run_with_weights(tmp_path / "v001", trained)
    (tmp_path / "latest").symlink_to("v001")
    load(str(tmp_path / "latest"), model)
    assert same(model.state_dict(), trained.state_dict())


def test_a_run_that_used_weights_from_elsewhere_leads_to_them(tmp_path: Path) -> None:
    trained, model = network(1), network(2)
    path = as_safetensors(trained.state_dict(), tmp_path)
    used = {"from": "model store", "path": str(path), "sha256": sha256(path)}
    folder = run_with_weights(tmp_path / "v001", network(3), files={}, checkpoint=used)
    assert load(str(folder), model).path == path
    assert same(model.state_dict(), trained.state_dict())
    path.unlink()
    assert refused(folder, model) == f"checkpoint={path}: no such file or run folder."


@pytest.mark.parametrize("status", ["running", "failed", "interrupted", None])
def test_a_run_that_is_not_done(status: str | None, tmp_path: Path) -> None:
    folder = run_with_weights(tmp_path / "v001", network(), status=status)
    assert refused(folder, network()) == (
        f"checkpoint={folder}: the run is not done (status {status}); name a file, or a run that is."
    )


@pytest.mark.parametrize("checkpoint", [None, {"path": None, "sha256": None}], ids=["none", "not kept"])
def test_a_run_without_weights(checkpoint: Any, tmp_path: Path) -> None:
    folder = run_with_weights(tmp_path / "v001", network(), files={"metrics.csv": "0"}, checkpoint=checkpoint)
    assert refused(folder, network()) == f"checkpoint={folder}: the run kept no weights."


def test_weights_whose_bytes_changed_since_the_run(tmp_path: Path) -> None:
    folder = run_with_weights(tmp_path / "v001", network(1))
    path = folder / "model.safetensors"
    expected = sha256(path)
    save_weights(network(2).state_dict(), path)  # right in itself, but not what the run kept
    assert refused(folder, network()) == (
        f"checkpoint={path}: the file has changed: its sha256 is {sha256(path)}, run.json says {expected}."
    )


def test_weights_that_were_removed_from_a_run_are_named(tmp_path: Path) -> None:
    folder = run_with_weights(tmp_path / "v001", network())
    (folder / "model.safetensors").unlink()
    assert refused(folder, network()) == f"checkpoint={folder / 'model.safetensors'}: no such file or run folder."


@pytest.mark.parametrize(
    "text", [None, "", '{"status": "do', "[]", "3"], ids=["missing", "empty", "torn", "list", "number"]
)
def test_a_folder_without_a_record(text: str | None, tmp_path: Path) -> None:
    folder = run_with_weights(tmp_path / "v001", network())
    (folder / "run.json").unlink()
    if text is not None:
        (folder / "run.json").write_text(text)
    assert refused(folder, network()) == (
        f"checkpoint={folder}: not a run folder, because it has no readable run.json."
    )

"""Weights from the user's files: every fault is named, nothing in a file runs, all come to their own parameters."""

from __future__ import annotations

import argparse
import json
import pickle
import random
import re
import shlex
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.errors import ArgumentError, ConfigError
from mi_runner.machine.files import sha256
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from mi_runner.runs.checkpoints import load
from mi_runner.training.weight_names import fitted
from mi_runner.training.weights import read_weights, save_weights, saving

FILE = Path("w.pt")
"""For errors alone: nothing is read."""


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
    [b"garbage" * 100, b"hello world", b"<!DOCTYPE html><html></html>", b"PK\x01\x02" + b"x" * 500, b'{"a": 1}'],
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


class Unread(nn.Module):
    """A network whose class notes that it is made, with a buffer that its state_dict leaves out, and a function."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        self.body = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        self.register_buffer("scale", torch.tensor(2.0))
        self.activation, self.unused = torch.tanh, None

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("the network's code is run")


@pytest.mark.parametrize("way", ["alone", "beside", "parallel"])
def test_the_tensors_of_a_whole_network_are_taken_and_its_code_is_not_run(
    way: str, tmp_path: Path, lines_in_log: list[str]
) -> None:
    whole, model = Unread(), Unread()
    nn.init.normal_(whole.body[1].running_mean)
    content: Any = {"alone": whole, "beside": {"epoch": 3, "model": whole}, "parallel": nn.DataParallel(whole)}[way]
    path, made = as_pytorch(content, tmp_path), Unread.made
    load(str(path), model)
    assert same(model.state_dict(), whole.state_dict()) and Unread.made == made
    assert f"{path}: the tensors of a whole network are taken; none of its code is run" in lines_in_log


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    text = refused(as_pytorch(argparse.Namespace(weight=torch.zeros(3)), tmp_path), network())
    assert "refused, because it holds more than weights" in text
    assert text.endswith("Type torch.save(model.state_dict(), 'weights.pt') where it was made.")


SAVE_NAMED = "Save names and tensors: torch.save(model.state_dict(), 'weights.pt')."


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (torch.ones(3), f"it holds no state_dict (parameter name → tensor). {SAVE_NAMED}"),
        (
            [torch.ones(3)],
            "it holds no state_dict (parameter name → tensor), but a list of 1 values, 1 of them tensors without "
            f"names. {SAVE_NAMED}",
        ),
        (
            {"epoch": 3, "weights": torch.ones(3)},
            "1 tensors, the model has 4; the file lacks layers.0.bias, layers.0.weight, layers.2.bias, has weights.",
        ),
        ({0: torch.ones(3)}, f"it holds no state_dict (parameter name → tensor). {SAVE_NAMED}"),
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
        f"{path}: no name is the model's, but the shapes leave one way, so they are taken in order: z.weight as "
        "layers.0.weight, z.bias as layers.0.bias, a.weight as layers.2.weight, a.bias as layers.2.bias"
    ]


def test_other_names_and_other_shapes_name_both(tmp_path: Path, warnings_in_log: list[str]) -> None:
    path = as_pytorch(renamed(MLP([6, 5, 4]), **{"layers.0": "a", "layers.2": "b"}), tmp_path)
    assert refused(path, network()) == (
        f"checkpoint={path}: no name is the model's, and the shapes leave no single way. The file has a.weight (5, 6), "
        "a.bias (5,), b.weight (4, 5), b.bias (4,); the model has layers.0.weight (5, 6), layers.0.bias (5,), "
        "layers.2.weight (3, 5), layers.2.bias (3,). Save it under the model's names."
    )
    assert warnings_in_log == []


def test_other_names_in_safetensors_are_told_by_their_shapes(tmp_path: Path, warnings_in_log: list[str]) -> None:
    """Safetensors sorts by name: here a.bias, a.weight, z.bias, z.weight, though z comes first in the network."""
    trained, model = network(1), network(2)
    path = as_safetensors(renamed(trained, **{"layers.0": "z", "layers.2": "a"}), tmp_path)
    load(str(path), model)
    assert same(model.state_dict(), trained.state_dict())
    assert len(warnings_in_log) == 1


@pytest.mark.parametrize("save", [as_safetensors, as_pytorch])
def test_other_names_are_refused_where_shapes_do_not_tell(
    save: Callable[[dict[str, Tensor], Path], Path], tmp_path: Path
) -> None:
    """Two square layers: in the file's order they would come into each other's places without a word."""
    path = save(renamed(MLP([4, 4, 4]), **{"layers.0": "in", "layers.2": "answer"}), tmp_path)
    text = refused(path, MLP([4, 4, 4]))
    assert "no name is the model's, and the shapes leave no single way" in text
    assert "in.weight (4, 4)" in text and "layers.2.weight (4, 4)" in text


# --- names decide ---------------------------------------------------------------------------------------------------


class Squares(nn.Module):
    """Two layers of one shape, which only their names tell apart; `down` comes first by the alphabet."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm, self.down = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.norm(self.up(x)).relu())


def squares(seed: int = 0) -> Squares:
    with chance.global_seed(seed, "test"):
        model = Squares().eval()
        model.norm.running_mean.uniform_()
        model.norm.num_batches_tracked.fill_(7)
        return model


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def by_alphabet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(sorted(state.items()))


NAMED: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "DataParallel": (lambda state: by_alphabet(prefixed("module.", state)), "module.up.weight is taken as up.weight"),
    "torch.compile": (lambda state: by_alphabet(prefixed("_orig_mod.", state)), "is taken as"),
    "both": (lambda state: by_alphabet(prefixed("module._orig_mod.", state)), "is taken as"),
    "any prefix": (lambda state: prefixed("backbone.", state), "backbone.up.weight is taken as up.weight"),
    "a compiled submodule": (
        lambda state: {name.replace("up.", "up._orig_mod."): tensor for name, tensor in state.items()},
        "up._orig_mod.weight is taken as up.weight",
    ),
    "another key": (lambda state: {"network_state": state, "acc": 93.2}, "left out, because it is not weights: acc"),
    "a key in a key": (lambda state: {"saved": {"net": state}}, "the key ['saved']['net']"),
    "one twice": (lambda state: {"model": state, "best": state}, "the key ['model']"),
    "Lightning": (
        lambda state: {
            "state_dict": {**prefixed("net.", state), "criterion.weight": torch.ones(3)},
            "hyper_parameters": argparse.Namespace(lr=0.1),
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3, 3)}}, "param_groups": [{"lr": 0.1}]}],
            "epoch": 3,
        },
        "left out, because the model has no such names: criterion.weight",
    ),
    "an average beside": (
        lambda state: {**prefixed("ema.", {name: 0 * tensor for name, tensor in state.items()}), **state},
        "left out, because the model has no such names: ema.up.weight",
    ),
    "half": (lambda state: {name: tensor.half() for name, tensor in state.items()}, "float16 values are converted"),
    "bfloat16": (lambda state: {name: tensor.bfloat16() for name, tensor in state.items()}, "bfloat16 values"),
    "an old BatchNorm": (
        lambda state: {name: tensor for name, tensor in state.items() if "num_batches" not in name},
        "",
    ),
}


@pytest.mark.parametrize("way", NAMED)
def test_names_decide_whatever_stands_around_them(way: str, tmp_path: Path, lines_in_log: list[str]) -> None:
    make, line = NAMED[way]
    trained, model = squares(1), squares(2)
    load(str(as_pytorch(make(dict(trained.state_dict())), tmp_path)), model)
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(model(x), trained(x), atol=0.05 if "16" in line else 0)
    assert line in "\n".join(lines_in_log) and bool(line) == bool(lines_in_log)


def test_a_prefix_of_the_model_may_be_missing_in_the_file(tmp_path: Path) -> None:
    trained = squares(1)
    for model in (nn.ModuleDict({"net": squares(2)}), nn.Sequential(nn.Sequential(squares(2)))):
        load(str(as_pytorch(by_alphabet(trained.state_dict()), tmp_path)), model)
        (inside,) = (module for module in model.modules() if isinstance(module, Squares))
        assert same(dict(inside.state_dict()), dict(trained.state_dict()))


@pytest.mark.parametrize("key", ["", "state_dict"])
def test_of_two_prefixes_the_command_that_is_said_saves_the_last(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    teacher = squares(2).state_dict()
    both = {**prefixed("student.", squares(1).state_dict()), **prefixed("teacher.", teacher)}
    path = as_pytorch({key: both} if key else both, tmp_path)
    _, _, command = refused(path, squares(3)).partition("python -c ")
    program = shlex.split(command.removesuffix(", then checkpoint=weights.pt."))[0]
    exec(program, {})  # what the shell gives to Python
    load("weights.pt", model := squares(3))
    assert same(dict(model.state_dict()), dict(teacher))


AMBIGUOUS: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "two keys": (
        lambda state: {"model": state, "ema": {name: tensor + 1 for name, tensor in state.items()}},
        "several state_dicts fit the model: ['model'], ['ema']. Save the one that you mean: python -c \"import torch; "
        "torch.save(torch.load('{path}')['ema'], 'weights.pt')\", then checkpoint=weights.pt.",
    ),
    "two prefixes": (
        lambda state: {**prefixed("student.", state), **prefixed("teacher.", state)},
        "the model's tensors are in it several times, as student.up.weight and as teacher.up.weight.",
    ),
    "one name differs": (
        lambda state: {name.replace("down", "dawn"): tensor for name, tensor in state.items()},
        "the file lacks down.bias, down.weight, has dawn.bias, dawn.weight.",
    ),
    "one name differs behind a prefix": (
        lambda state: prefixed("module.", {name.replace("down", "dawn"): tensor for name, tensor in state.items()}),
        "the file lacks down.bias",
    ),
    "all names differ": (
        lambda state: {f"{'xyz'['und'.index(name[0])]}.{name}": tensor for name, tensor in state.items()},
        "the shapes leave no single way",
    ),
    "a list": (lambda state: list(state.values()), "a list of 9 values, 9 of them tensors without names."),
    "arrays of objects": (
        lambda state: {name: np.array([None, name]) for name, tensor in state.items()},
        "it holds numpy arrays.",
    ),
    "an object": (lambda state: {**state, "up.weight": argparse.Namespace()}, "lacks up.weight (no tensor there)"),
}  # fmt: skip


@pytest.mark.parametrize("way", AMBIGUOUS)
def test_what_names_do_not_decide_is_refused(way: str, tmp_path: Path) -> None:
    make, text = AMBIGUOUS[way]
    path = as_pytorch(make(dict(squares(1).state_dict())), tmp_path)
    assert text.replace("{path}", str(path)) in refused(path, squares(2))


def test_what_is_advised_for_two_keys_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = as_pytorch(AMBIGUOUS["two keys"][0](dict(squares(1).state_dict())), tmp_path)
    (program,) = re.findall(r'python -c "(.*?)"', refused(path, squares(2)))
    exec(program, {})
    load("weights.pt", model := squares(2))
    assert torch.equal(model.up.weight, squares(1).up.weight + 1)


def test_further_layers_are_not_left_out(tmp_path: Path) -> None:
    """The first layers of a deeper network are not the network."""
    path = as_pytorch(MLP([6, 5, 3, 3]).state_dict(), tmp_path)
    assert "6 tensors, the model has 4; the file has layers.4.weight, layers.4.bias." in refused(path, network())


@pytest.mark.parametrize("how", ["script", "trace"])
def test_the_tensors_of_a_torchscript_archive_are_taken(how: str, tmp_path: Path, lines_in_log: list[str]) -> None:
    model, path = squares().eval(), tmp_path / "script.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        made = torch.jit.script(model) if how == "script" else torch.jit.trace(model, torch.ones(2, 3))
        made.save(str(path))
        expected = torch.jit.load(str(path)).state_dict()
    other = squares(seed=1)
    load(str(path), other)
    assert same(other.state_dict(), expected) and any("none of its code is run" in line for line in lines_in_log)


def test_a_torchscript_archive_that_can_not_be_read_says_what_to_type(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.save({}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("script/constants.pkl", b"")
    assert refused(path, squares()).endswith(
        f'Take its weights: python -c "import torch; torch.save(torch.jit.load({str(path)!r})'
        ".state_dict(), 'weights.pt')\", then checkpoint=weights.pt."
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array,
        lambda array: np.array(array, order="F"),
        lambda array: array.astype(array.dtype.newbyteorder(">")),
        lambda array: array.astype("f8") if array.dtype.kind == "f" else array,
    ],
    ids=["as they are", "by columns", "big endian", "float64"],
)
def test_arrays_of_numpy_are_tensors(change: Callable[[Any], Any], tmp_path: Path) -> None:
    state, model = squares().state_dict(), squares(seed=1)
    load(str(as_pytorch({name: change(tensor.numpy()) for name, tensor in state.items()}, tmp_path)), model)
    assert same(model.state_dict(), state)


def test_a_layer_of_another_name_says_how_it_is_renamed(tmp_path: Path) -> None:
    state, model = squares().state_dict(), squares(seed=1)
    other = {name.replace("down", "fc"): tensor for name, tensor in state.items()}
    text = refused(as_pytorch(other, tmp_path), model)
    assert "the file lacks down.bias, down.weight, has fc.bias, fc.weight. If fc.bias is down.bias, " in text
    assert text.endswith("state['down.bias'] = state.pop('fc.bias'), and so the other 1.")
    for name in ("bias", "weight"):
        other[f"down.{name}"] = other.pop(f"fc.{name}")
    load(str(as_pytorch(other, tmp_path)), model)
    assert same(model.state_dict(), state)


# --- weights that layers compute ------------------------------------------------------------------------------------


def normed(how: str, *layers: nn.Module) -> nn.Sequential:
    """Layers with a norm of torch's, in its old or new form, with random parts."""
    norms = {
        "old weight_norm": nn.utils.weight_norm,
        "weight_norm": nn.utils.parametrizations.weight_norm,
        "old spectral_norm": nn.utils.spectral_norm,
        "spectral_norm": nn.utils.parametrizations.spectral_norm,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old forms are deprecated
        model = nn.Sequential(*(norms[how](one) if how and list(one.parameters()) else one for one in layers))
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def layers() -> tuple[nn.Module, ...]:
    return nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 4)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
def test_old_names_of_norms_are_taken_as_the_new_ones(
    kind: str, prefix: str, tmp_path: Path, lines_in_log: list[str]
) -> None:
    old, x = normed(f"old {kind}", *layers()), torch.randn(5, 2, 3, 3)
    new = normed(kind, *layers()).eval()
    path = as_pytorch({prefix + name: tensor for name, tensor in old.state_dict().items()}, tmp_path)
    load(str(path), new)
    old.eval()
    assert torch.allclose(new(x), old(x), atol=1e-5) and torch.equal(new[2].bias, old[2].bias)
    assert any(f"the names of {kind} are old" in line for line in lines_in_log)


@pytest.mark.parametrize("how", ["old weight_norm", "weight_norm"])
def test_a_plain_network_gets_the_weights_that_weight_norm_computes(
    how: str, tmp_path: Path, lines_in_log: list[str]
) -> None:
    normal, plain, x = normed(how, *layers()), normed("", *layers()), torch.randn(5, 2, 3, 3)
    load(str(as_pytorch(normal.state_dict(), tmp_path)), plain)
    assert torch.allclose(plain(x), normal(x), atol=1e-5)
    assert any("the network has no weight_norm: its weights are computed" in line for line in lines_in_log)


def test_a_plain_network_gets_the_pruned_weights(tmp_path: Path) -> None:
    from torch.nn.utils import prune

    pruned, plain, x = nn.Sequential(*layers()), nn.Sequential(*layers()), torch.randn(5, 2, 3, 3)
    prune.random_unstructured(pruned[2], "weight", 0.5)
    load(str(as_pytorch(pruned.state_dict(), tmp_path)), plain)
    assert torch.equal(plain(x), pruned(x)) and (plain[2].weight == 0).sum() == 24


def test_weights_that_spectral_norm_computes_are_not_guessed(tmp_path: Path) -> None:
    path = as_pytorch(normed("spectral_norm", *layers()).state_dict(), tmp_path)
    assert "lacks 0.weight" in refused(path, nn.Sequential(*layers()))


# --- tied weights ---------------------------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        if tied:
            self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu())


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_that_a_file_has_once(tied: bool, tmp_path: Path) -> None:
    """safetensors' save_model writes one of the two, and says in the metadata which it left out."""
    trained, model = Tied(), Tied(tied)
    save_model(trained, str(tmp_path / "tied.safetensors"))
    assert len(load_file(tmp_path / "tied.safetensors")) == 1
    load(str(tmp_path / "tied.safetensors"), model)
    assert torch.equal(model.first.weight, trained.first.weight) and torch.equal(model.last.weight, model.first.weight)


@pytest.mark.parametrize("kept", ["first.weight", "last.weight"])
def test_tied_weights_that_a_file_has_once_without_metadata(kept: str, tmp_path: Path) -> None:
    path = as_safetensors({f"module.{kept}": torch.eye(3)}, tmp_path)
    load(str(path), model := Tied())
    assert torch.equal(model.first.weight, torch.eye(3))
    assert "the file lacks" in refused(path, Tied(tied=False))


@pytest.mark.parametrize("kept", ["first.weight", "last.weight"])
def test_both_names_of_tied_weights_get_what_the_file_has(kept: str) -> None:
    state = fitted(FILE, {kept: torch.eye(3)}, Tied().state_dict()).state
    assert state.keys() == {"first.weight", "last.weight"}
    assert all(torch.equal(tensor, torch.eye(3)) for tensor in state.values())


@pytest.mark.parametrize("kept", ["first", "middle", "last"])
def test_of_three_tied_weights_behind_a_prefix_any_one_will_do(kept: str, tmp_path: Path) -> None:
    def tied() -> nn.Module:
        layers = {name: nn.Linear(3, 3, bias=False) for name in ("first", "middle", "last")}
        for layer in layers.values():
            layer.weight = layers["first"].weight
        return nn.ModuleDict({**layers, "head": nn.Linear(3, 2)})

    whole, model = tied(), tied()
    state = {f"module.{name}": t for name, t in whole.state_dict().items() if name.startswith((kept, "head"))}
    assert len(state) == 3
    load(str(as_pytorch(state, tmp_path)), model)
    assert same(model.state_dict(), whole.state_dict())


def test_metadata_adds_a_name_and_changes_none(tmp_path: Path) -> None:
    state = {"a": torch.zeros(2), "b": torch.ones(2)}
    save_file(state, tmp_path / "w.safetensors", metadata={"b": "a", "c": "a", "d": "e", "format": "pt"})
    found = read_weights(tmp_path / "w.safetensors")
    assert {name: tensor.tolist() for name, tensor in found.items()} == {"a": [0, 0], "b": [1, 1], "c": [0, 0]}


def test_tied_weights_that_differ_in_the_file(tmp_path: Path) -> None:
    path = as_pytorch({"first.weight": torch.eye(3), "last.weight": torch.zeros(3, 3)}, tmp_path)
    assert "first.weight and last.weight differ, but are one tensor in the model" in refused(path, Tied())
    load(str(path), Tied(tied=False))


# --- values ---------------------------------------------------------------------------------------------------------

VALUES: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "NaN": (lambda w: w.double() * float("nan"), "has NaN or infinite values"),
    "infinite in half": (lambda w: (w + 1e6).half(), "has NaN or infinite values"),
    "too large for float32": (lambda w: w.double() + 1e300, "has values up to 1e+300, too large for float32"),
    "complex": (lambda w: w.to(torch.complex64), "float32: state['up.weight'] = state['up.weight'].real.float()."),
    "integer": (lambda w: w.long(), "has the dtype int64"),
    "bool": (lambda w: w > 0, "has the dtype bool"),
    "float8": (lambda w: w.to(torch.float8_e5m2), "has the dtype float8_e5m2"),
    "sparse": (lambda w: w.to_sparse(), "is sparse; weights are plain numbers. Save state[name].to_dense()."),
    "quantized": (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "is quantized"),
    "meta": (lambda w: w.to("meta"), "is on the meta device"),
    "expanded": (lambda w: torch.ones(1).expand_as(w), "is expanded, one stored value for many"),
    "huge and expanded": (lambda w: torch.ones(1).expand(10**6, 10**6), "is expanded, one stored value for many"),
    "not initialised": (lambda w: nn.LazyLinear(3, bias=False).weight, "lacks up.weight (no tensor there)"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_that_weights_can_not_have(kind: str, tmp_path: Path) -> None:
    make, text = VALUES[kind]
    state = dict(squares(1).state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of lazy modules and of its quantization; reading warns of nothing
        path = as_pytorch({**state, "up.weight": make(state["up.weight"])}, tmp_path)
    found = refused(path, squares(2))
    assert "up.weight " in found and text in found


def test_a_counter_may_be_any_whole_number_and_nothing_else(tmp_path: Path) -> None:
    state = dict(squares(1).state_dict())
    for value in (torch.tensor(9, dtype=torch.int32), torch.tensor(9.0)):
        load(str(as_pytorch({**state, "norm.num_batches_tracked": value}, tmp_path)), model := squares(2))
        assert int(model.norm.num_batches_tracked) == 9 and model.norm.num_batches_tracked.dtype == torch.int64
    path = as_pytorch({**state, "norm.num_batches_tracked": torch.tensor(9.5)}, tmp_path)
    assert "norm.num_batches_tracked has the dtype float32; the model's is int64" in refused(path, squares(2))


def test_a_checkpoint_that_holds_itself_and_many_values(tmp_path: Path) -> None:
    state: dict[str, Any] = dict(squares(1).state_dict())
    content: dict[str, Any] = {f"log{number}": [number] for number in range(500)}
    content |= {f"self{number}": content for number in range(50)}
    path = as_pytorch({"net": state} | content, tmp_path)
    load(str(path), model := squares(2))
    assert torch.equal(model.up.weight, state["up.weight"])
    assert "it holds no state_dict" in refused(as_pytorch(content, tmp_path), squares(2))


@pytest.mark.parametrize(("levels", "is_found"), [(8, True), (9, False)])
def test_weights_are_found_as_deep_as_is_looked(levels: int, is_found: bool) -> None:
    content: Any = {"w": torch.ones(2)}
    for _ in range(levels):
        content = {"inner": content}
    if is_found:
        assert fitted(FILE, content, {"w": torch.zeros(2)}).state["w"].tolist() == [1, 1]
    else:
        with pytest.raises(ArgumentError, match="it holds no tensors"):
            fitted(FILE, content, {"w": torch.zeros(2)})


@pytest.mark.parametrize("value", ["each another", "all the same"])
def test_ten_thousand_values_of_a_file_are_looked_at(value: str) -> None:
    """Of a list: the list itself is a value, too, and what stands in it many times is one, at many places."""
    most = 9_998 if value == "each another" else 9_999
    before = [float(number) if value == "each another" else None for number in range(most + 1)]
    state, wanted = {"w": torch.ones(2)}, {"w": torch.zeros(2)}
    assert fitted(FILE, [*before[:most], state], wanted).state["w"].tolist() == [1, 1]
    with pytest.raises(ArgumentError, match=f"a list of {most + 2} values"):
        fitted(FILE, [*before, state], wanted)


def test_a_line_counts_the_names_that_are_taken_as_others() -> None:
    found = fitted(FILE, prefixed("net.", network(1).state_dict()), network(2).state_dict())
    first = "net.layers.0.weight is taken as layers.0.weight"
    assert found.notes == [f"w.pt: {first}, and the other 3 names likewise"] and found.warnings == []


@pytest.mark.parametrize(("n", "more"), [(6, "f"), (7, "f and 1 more"), (8, "f and 2 more")])
def test_of_names_that_are_left_out_six_are_named(n: int, more: str) -> None:
    content = {"w": torch.ones(2)} | {name: torch.zeros(1) for name in "abcdefgh"[:n]}
    (warning,) = fitted(FILE, content, {"w": torch.zeros(2)}).warnings
    assert warning == f"w.pt: left out, because the model has no such names: a, b, c, d, e, {more}"


def test_of_many_further_layers_three_tensors_are_named() -> None:
    with pytest.raises(
        ArgumentError, match=r"the file has layers\.4\.weight, layers\.4\.bias, layers\.6\.weight\. Was"
    ):
        fitted(FILE, MLP([6, 5, 3, 3, 3]).state_dict(), network().state_dict())


def test_where_no_name_matches_the_largest_state_dict_is_described() -> None:
    content = {"small": {"a": torch.ones(1)}, "large": {"b": torch.ones(1), "c": torch.ones(1)}}
    with pytest.raises(ArgumentError, match=r"2 tensors under the key \['large'\], the model has 4; .* has b, c\."):
        fitted(FILE, content, network().state_dict())


def test_shapes_decide_nothing_where_a_name_matches() -> None:
    """The shapes leave one way, but a name that is right and one that is wrong look like another model's."""
    wanted = {"a.weight": torch.zeros(3, 2), "b.weight": torch.zeros(2, 3)}
    content = {"a.weight": torch.ones(3, 2), "c.weight": torch.ones(2, 3)}
    with pytest.raises(ArgumentError, match=r"the file lacks b\.weight, has c\.weight\."):
        fitted(FILE, content, wanted)


def test_one_stored_row_for_two_is_refused_and_for_one_it_is_a_row() -> None:
    row = torch.arange(6.0).as_strided((1, 3), (0, 1))
    assert fitted(FILE, {"w": row}, {"w": torch.zeros(1, 3)}).state["w"].tolist() == [[0, 1, 2]]
    rows = torch.arange(6.0).as_strided((2, 3), (0, 1))  # as many values are stored as two rows have
    with pytest.raises(ArgumentError, match="w is expanded, one stored value for many"):
        fitted(FILE, {"w": rows}, {"w": torch.zeros(2, 3)})


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        (torch.ones(2, 3), torch.ones(2, 3), True),
        (torch.ones(2, 3), torch.ones(2, 3).half(), False),
        (torch.ones(2, 3), torch.zeros(2, 3), False),
        (torch.ones(1).expand(2, 3), torch.ones(1).expand(2, 3), False),  # they may stand for too many to compare
    ],
)
def test_two_keys_with_the_same_weights_are_one(one: Tensor, other: Tensor, are_one: bool) -> None:
    content = {"last": {"w": one}, "best": {"w": other}}
    if are_one:
        assert fitted(FILE, content, {"w": torch.zeros(2, 3)}).state["w"].tolist() == one.tolist()
    else:
        with pytest.raises(ArgumentError, match=r"several state_dicts fit the model: \['last'\], \['best'\]\."):
            fitted(FILE, content, {"w": torch.zeros(2, 3)})


def test_a_view_of_a_tensor_is_not_tied_to_it() -> None:
    """Transposed, and the first rows alone: they begin at one place in memory, and a file may hold other values."""
    own = torch.zeros(3, 3)
    for view in (own.T, own[:2]):
        content = {"a": torch.arange(9.0).view(3, 3), "b": torch.ones_like(view)}
        found = fitted(FILE, content, {"a": own, "b": view})
        assert all(torch.equal(found.state[name], content[name]) for name in "ab")


def test_tensors_without_values_are_not_tied() -> None:
    with pytest.raises(ArgumentError, match="the file lacks b"):
        fitted(FILE, {"a": torch.zeros(0)}, {"a": torch.zeros(0), "b": torch.zeros(0)})


def test_a_complex_weight_that_is_not_a_number_is_refused() -> None:
    wanted = {"w": torch.zeros(2, dtype=torch.complex64)}
    given = torch.tensor([complex(1, 2), complex(3, 4)])
    assert torch.equal(fitted(FILE, {"w": given}, wanted).state["w"], given)
    with pytest.raises(ArgumentError, match="w has NaN or infinite values"):
        fitted(FILE, {"w": given * complex("nan")}, wanted)


def test_of_a_list_only_the_key_is_said() -> None:
    found = fitted(FILE, ["epoch", {"w": torch.ones(2)}], {"w": torch.zeros(2)})
    assert found.notes == ["w.pt: the weights are those of the key [1]"] and found.warnings == []


@pytest.mark.parametrize(
    ("names", "shapes"),
    [
        (("x.weight", "x.bias", "y.weight", "y.bias"), [(3, 2), (3,), (3, 4), (3,)]),  # a bias goes with its weight
        (("x.kernel", "y.kernel"), [(3, 2), (4, 5)]),  # other last names: each tensor alone
    ],
)
def test_other_names_are_told_by_a_modules_shapes_or_by_each(names: tuple[str, ...], shapes: list[Any]) -> None:
    content = {
        name: torch.full(shape, float(number)) for number, (name, shape) in enumerate(zip(names, shapes, strict=True))
    }
    own = [name.replace("x", "a").replace("y", "b").replace("kernel", "weight") for name in names]
    wanted = {name: torch.zeros(shape) for name, shape in reversed(list(zip(own, shapes, strict=True)))}
    found = fitted(FILE, content, wanted)
    assert list(found.state) == list(wanted) and "the shapes leave one way" in found.warnings[0]
    assert all(torch.equal(found.state[name], content[given]) for name, given in zip(own, names, strict=True))


@pytest.mark.parametrize("save", [as_pytorch, as_safetensors])
def test_any_wrong_byte_is_found_or_changes_nothing(
    save: Callable[[dict[str, Tensor], Path], Path], tmp_path: Path
) -> None:
    """Safetensors has no checksums: there a wrong byte of a weight is another weight."""
    trained = dict(network(1).state_dict())
    path = save(trained, tmp_path)
    content, draw = path.read_bytes(), random.Random(0)
    header = int.from_bytes(content[:8], "little") + 8 if save is as_safetensors else len(content)
    for _ in range(200):
        place = draw.randrange(header)
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :])
        model = network(2)
        with suppress(ConfigError):
            load(str(path), model)
            assert same(dict(model.state_dict()), trained)


# --- bytes ----------------------------------------------------------------------------------------------------------


def test_a_wrong_byte_in_a_pytorch_file(tmp_path: Path) -> None:
    """torch itself reads the changed weight without a word."""
    path = as_pytorch({"up.weight": torch.full((50, 50), 3.0)}, tmp_path)
    content = bytearray(path.read_bytes())
    place = content.index(torch.full((50,), 3.0).numpy().tobytes())
    content[place + 3] ^= 1
    path.write_bytes(content)
    assert float(torch.load(path, weights_only=True)["up.weight"][0, 0]) != 3
    assert "damaged: the checksum of its member w/data/0 is wrong" in refused(path, network())


def test_a_compressed_archive_and_one_with_two_members_of_a_name(tmp_path: Path) -> None:
    path = as_pytorch(dict(network(1).state_dict()), tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "its members are compressed" in refused(path, network())
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(next(iter(members)), b"")
    assert "it has two members of one name" in refused(path, network())


def test_digest_and_weights_are_of_one_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is replaced after it was read has another digest than the weights that are used."""
    path = as_safetensors(dict(network(1).state_dict()), tmp_path)
    before, read = sha256(path), Path.read_bytes

    def replaced_after(self: Path) -> bytes:
        content = read(self)
        save_file(dict(network(3).state_dict()), path)
        return content

    monkeypatch.setattr(Path, "read_bytes", replaced_after)
    checkpoint = load(str(path), model := network(2))
    assert sha256(path) != before and checkpoint.sha256 == before
    assert same(dict(model.state_dict()), dict(network(1).state_dict()))


@pytest.mark.parametrize("sign", ['"', "'", "$", "`", "\\", "!"])
def test_a_command_is_one_argument_in_which_a_shell_changes_nothing(sign: str) -> None:
    command = saving(f"load('a{sign}b')")
    assert shlex.split(command) == ["python", "-c", f"import torch; torch.save(load('a{sign}b'), 'weights.pt')"]
    assert command.startswith("python -c '") == (sign != "'")  # between double ones it would change all but this one


def test_a_file_of_no_weights_is_none_of_weights(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="it holds no tensors"):
        read_weights(as_pytorch({}, tmp_path))


def test_files_of_others_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", weight=np.ones(3))
    assert "an .npz file of arrays. Save tensors" in refused(tmp_path / "w.npz", network())
    torch.save(dict(network().state_dict()), tmp_path / "w.safetensors")
    assert "a file of torch.save, not safetensors. Name it w.pt." in refused(tmp_path / "w.safetensors", network())


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


def test_a_network_without_weights_takes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(network().state_dict(), path)
    assert refused(path, nn.ReLU()).startswith(f"checkpoint={path}: 4 tensors, the model has 0; ")


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

"""Trained weights from the user's files: a safetensors or PyTorch file, or a run folder.

A PyTorch file is read with `weights_only=True`: a pickle that would run code is refused unrun.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from mi_runner.errors import ConfigError
from mi_runner.files import sha256
from mi_runner.progress import log
from mi_runner.run_folder import MEMBERS, RECORD, WEIGHTS, read_record


@dataclass(frozen=True)
class Checkpoint:
    """Weights that were read.

    Attributes:
        path: the file.
        sha256: of the file's bytes.
        state: parameter name → tensor.
    """

    path: Path
    sha256: str
    state: Mapping[str, Tensor]


def load(named: str, model: nn.Module) -> Checkpoint:
    """Give `model` the weights that `checkpoint=named` names.

    Names must match. If they don't, but all shapes match in order, the tensors are taken in order, and a line says so.

    Raises:
        ConfigError: there are no such weights, or they don't fit; the text names the first mismatch.
    """
    expected = None
    try:
        path = Path(named).expanduser()
        if path.is_dir():
            path, expected = _of_run(path)
        found = path.is_file()
    except (OSError, RuntimeError) as error:  # a name that no file can have, a user that nobody is
        raise ConfigError(f"checkpoint={named}: {error}.") from error
    if not found:
        raise ConfigError(f"checkpoint={path}: no such file or run folder.")
    if path.stat().st_size == 0:
        raise ConfigError(f"checkpoint={path}: the file is empty.")
    digest = sha256(path)
    if expected is not None and digest != expected:
        raise ConfigError(f"checkpoint={path}: its bytes changed: sha256 {expected} expected, {digest} found.")
    state = read_weights(path)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ConfigError(f"checkpoint={path}: {name} has NaN or infinite values.")
    model.load_state_dict(_fitted(path, state, model.state_dict()))
    return Checkpoint(path, digest, state)


def _of_run(folder: Path) -> tuple[Path, str]:
    """The weights' file that a run used, and its sha256 as run.json has it."""
    record = read_record(folder)
    if record is None:
        raise ConfigError(f"checkpoint={folder}: it has no {RECORD} that can be read, so it is no run folder.")
    if record.get("status") != "done":
        raise ConfigError(
            f"checkpoint={folder}: the run is not done (status {record.get('status')}); name a file, or a run that is."
        )
    digest = record.get("files", {}).get(WEIGHTS)
    if digest is not None:
        return folder / WEIGHTS, digest
    used = record.get("checkpoint") or {}
    if used.get("path") and used.get("sha256"):
        return Path(used["path"]), used["sha256"]
    if members := sorted(name for name in record.get("files", {}) if name.startswith(f"{MEMBERS}/")):
        raise ConfigError(
            f"checkpoint={folder}: the run has {len(members)} networks; name one, checkpoint={folder / members[0]}."
        )
    raise ConfigError(f"checkpoint={folder}: the run kept no weights.")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Parameter name → tensor, from a safetensors file (by its ending) or a PyTorch file.

    Raises:
        ConfigError: the file is damaged, or holds something else than weights.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise ConfigError(f"checkpoint={path}: can't be read as safetensors, or is cut short ({error}).") from error
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" not in str(error):  # that is a byte which begins no instruction of a pickle
            raise ConfigError(
                f"checkpoint={path}: refused, because it holds more than weights and reading it could run code. "
                "Save model.state_dict() alone."
            ) from error
        # torch's own text advises weights_only=False here, so it is left out.
        raise ConfigError(f"checkpoint={path}: no weights file, or damaged.") from error
    except Exception as error:  # torch.load raises whatever its reader met first
        raise ConfigError(
            f"checkpoint={path}: no weights file, or cut short; a safetensors file must be named .safetensors."
        ) from error
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise ConfigError(f"checkpoint={path}: it holds no state_dict (parameter name → tensor).")
    if not content:
        raise ConfigError(f"checkpoint={path}: it holds no tensors.")
    return dict(content)


def save_weights(state: Mapping[str, Any], path: Path) -> None:
    """Write a state_dict as safetensors."""
    # Clones, because safetensors refuses tensors that share memory, as tied weights do.
    whole = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    # safetensors' own save_file makes a file that nobody else may read, and hides that a disk is full.
    path.write_bytes(to_bytes(whole))


def _fitted(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the model's names."""
    if set(state) == set(wanted):
        for name, tensor in wanted.items():
            if state[name].shape != tensor.shape:
                raise _mismatch(path, name, name, state[name], tensor)
        return dict(state)
    if len(state) != len(wanted):
        missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
        parts = [f"{words} {', '.join(names[:3])}" for words, names in (("lacks", missing), ("has", extra)) if names]
        raise ConfigError(
            f"checkpoint={path}: {len(state)} tensors, the model has {len(wanted)}; the file {', '.join(parts)}."
        )
    if path.suffix == ".safetensors":
        state = _in_order_of_shapes(path, state, wanted)
    for (given, tensor), (name, own) in zip(state.items(), wanted.items(), strict=True):
        if tensor.shape != own.shape:
            raise _mismatch(path, given, name, tensor, own)
    log.warning(f"checkpoint: the names differ but the shapes match, so {', '.join(state)} are taken in order")
    return dict(zip(wanted, state.values(), strict=True))


def _in_order_of_shapes(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file that sorts them by name, in the model's order, which shapes tell if each is there once."""
    shapes = [tensor.shape for tensor in wanted.values()]
    for name, tensor in wanted.items():
        if shapes.count(tensor.shape) > 1:
            raise ConfigError(
                f"checkpoint={path}: the names differ from the model's ({', '.join(wanted)}), and safetensors keeps no "
                f"order by which to tell the tensors of the shape {tuple(tensor.shape)} apart, {name} and another. "
                "Rename them, or save the state_dict with torch.save."
            )
    place = {shape: position for position, shape in enumerate(shapes)}
    return dict(sorted(state.items(), key=lambda item: place.get(item[1].shape, len(place))))


def _mismatch(path: Path, given: str, name: str, tensor: Tensor, own: Tensor) -> ConfigError:
    return ConfigError(
        f"checkpoint={path}: {given} has the shape {tuple(tensor.shape)}, "
        f"the model's {name} has {tuple(own.shape)}. Was it trained with another model, or other sizes?"
    )

"""Weights in files: safetensors or PyTorch files are read and matched to a network; safetensors are written.

A PyTorch file is read with `weights_only=True`: a pickle that would run code is refused unrun.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from mi_runner.errors import ArgumentError
from mi_runner.progress import log


def read_weights(path: Path) -> dict[str, Tensor]:
    """Parameter name → tensor, from a safetensors file (by its ending) or a PyTorch file.

    Raises:
        ArgumentError: the file is damaged, or holds something else than weights.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise ArgumentError(f"{path}: can't be read as safetensors, or is cut short ({error}).") from error
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" not in str(error):  # that is a byte which begins no instruction of a pickle
            raise ArgumentError(
                f"{path}: refused, because it holds more than weights and reading it could run code. "
                "Save model.state_dict() alone."
            ) from error
        # torch's own text advises weights_only=False here, so it is left out.
        raise ArgumentError(f"{path}: no weights file, or damaged.") from error
    except Exception as error:  # torch.load raises whatever its reader met first
        raise ArgumentError(
            f"{path}: no weights file, or cut short; a safetensors file must be named .safetensors."
        ) from error
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise ArgumentError(f"{path}: it holds no state_dict (parameter name → tensor).")
    if not content:
        raise ArgumentError(f"{path}: it holds no tensors.")
    return dict(content)


def save_weights(state: Mapping[str, Any], path: Path) -> None:
    """Write a state_dict as safetensors."""
    # Clones, because safetensors refuses tensors that share memory, as tied weights do.
    whole = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    # safetensors' own save_file makes a file that nobody else may read, and hides that a disk is full.
    path.write_bytes(to_bytes(whole))


def fitted(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the model's names."""
    if set(state) == set(wanted):
        for name, tensor in wanted.items():
            if state[name].shape != tensor.shape:
                raise _mismatch(path, name, name, state[name], tensor)
        return dict(state)
    if len(state) != len(wanted):
        missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
        parts = [f"{words} {', '.join(names[:3])}" for words, names in (("lacks", missing), ("has", extra)) if names]
        raise ArgumentError(f"{path}: {len(state)} tensors, the model has {len(wanted)}; the file {', '.join(parts)}.")
    if path.suffix == ".safetensors":
        state = _in_order_of_shapes(path, state, wanted)
    for (given, tensor), (name, own) in zip(state.items(), wanted.items(), strict=True):
        if tensor.shape != own.shape:
            raise _mismatch(path, given, name, tensor, own)
    log.warning(f"{path}: the names differ but the shapes match, so {', '.join(state)} are taken in order")
    return dict(zip(wanted, state.values(), strict=True))


def _in_order_of_shapes(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file that sorts them by name, in the model's order, which shapes tell if each is there once."""
    shapes = [tensor.shape for tensor in wanted.values()]
    for name, tensor in wanted.items():
        if shapes.count(tensor.shape) > 1:
            raise ArgumentError(
                f"{path}: the names differ from the model's ({', '.join(wanted)}), and safetensors keeps no "
                f"order by which to tell the tensors of the shape {tuple(tensor.shape)} apart, {name} and another. "
                "Rename them, or save the state_dict with torch.save."
            )
    place = {shape: position for position, shape in enumerate(shapes)}
    return dict(sorted(state.items(), key=lambda item: place.get(item[1].shape, len(place))))


def _mismatch(path: Path, given: str, name: str, tensor: Tensor, own: Tensor) -> ArgumentError:
    return ArgumentError(
        f"{path}: {given} has the shape {tuple(tensor.shape)}, "
        f"the model's {name} has {tuple(own.shape)}. Was it trained with another model, or other sizes?"
    )

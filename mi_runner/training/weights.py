"""Reads weights from safetensors or PyTorch files, fits them to a network, and writes safetensors.

A PyTorch file is read with `weights_only=True`: a pickle that would run code is refused and not run.
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
    """Returns parameter name → tensor from a file: safetensors if its name ends so, otherwise PyTorch.

    Raises:
        ArgumentError: the file is damaged, or holds more than weights.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise ArgumentError(f"{path}: not a safetensors file, or an incomplete one ({error}).") from error
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" not in str(error):  # torch's text for a byte that begins no instruction of a pickle
            raise ArgumentError(
                f"{path}: refused, because it holds more than weights and reading it could run code. "
                "Save model.state_dict() alone."
            ) from error
        # The text leaves out torch's own, which advises weights_only=False.
        raise ArgumentError(f"{path}: not a weights file, or a damaged one.") from error
    except Exception as error:  # torch.load raises exceptions of many types
        raise ArgumentError(
            f"{path}: not a weights file, or an incomplete one; a safetensors file must be named .safetensors."
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
    """Writes a state_dict as safetensors."""
    # Clones, because safetensors refuses tensors that share memory, as tied weights do.
    clones = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()
    }
    # safetensors' own save_file makes a file that only its owner can read, and hides the error of a full disk.
    path.write_bytes(to_bytes(clones))


def fitted(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors of `state` under the model's names, `wanted`.

    Raises:
        ArgumentError: names and shapes don't fit; the text says which.
    """
    if set(state) == set(wanted):
        for name, tensor in wanted.items():
            if state[name].shape != tensor.shape:
                raise _mismatch(path, name, name, state[name], tensor)
        return dict(state)
    if len(state) != len(wanted):
        missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
        differences = [
            f"{verb} {', '.join(names[:3])}" for verb, names in (("lacks", missing), ("has", extra)) if names
        ]
        raise ArgumentError(
            f"{path}: {len(state)} tensors, the model has {len(wanted)}; the file {', '.join(differences)}."
        )
    if path.suffix == ".safetensors":
        state = _in_order_of_shapes(path, state, wanted)
    for (given, tensor), (name, own) in zip(state.items(), wanted.items(), strict=True):
        if tensor.shape != own.shape:
            raise _mismatch(path, given, name, tensor, own)
    log.warning(f"{path}: the names differ but the shapes match, so {', '.join(state)} are taken in order")
    return dict(zip(wanted, state.values(), strict=True))


def _in_order_of_shapes(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors in the model's order, which is known if all shapes differ; the file sorts them by name."""
    shapes = [tensor.shape for tensor in wanted.values()]
    for name, tensor in wanted.items():
        if shapes.count(tensor.shape) > 1:
            raise ArgumentError(
                f"{path}: the names differ from the model's ({', '.join(wanted)}), and several tensors have the shape "
                f"{tuple(tensor.shape)}, {name} among them; safetensors keeps no order that tells them apart. "
                "Rename them, or save the state_dict with torch.save."
            )
    place = {shape: position for position, shape in enumerate(shapes)}
    return dict(sorted(state.items(), key=lambda item: place.get(item[1].shape, len(place))))


def _mismatch(path: Path, given: str, name: str, tensor: Tensor, own: Tensor) -> ArgumentError:
    return ArgumentError(
        f"{path}: {given} has the shape {tuple(tensor.shape)}, "
        f"the model's {name} has {tuple(own.shape)}. Was it trained with another model, or other sizes?"
    )

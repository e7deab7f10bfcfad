"""Reads weights from safetensors or PyTorch files, and writes safetensors. Nothing that a file holds is run.

A PyTorch file is read with `weights_only=True`. Objects besides tensors, such as an `argparse.Namespace` of options,
are read as empty stand-ins: their classes are neither imported nor called, and a state_dict beside them can be taken.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import shlex
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, one_line

SAVE = "Save its state_dict: torch.save(model.state_dict(), 'weights.pt')."


class NotRead:
    """Stands for an object of a file that is no tensor and no plain value: nothing of it is imported or run.

    Attributes:
        attributes: of a module, its parameters, buffers and submodules; of others none.
        given: what the file gives to the object's class, of an array of numpy alone.
    """

    attributes: Mapping[str, Any] = {}
    given: tuple[Any, ...] = ()

    def __new__(cls, *given: Any, **_: Any) -> NotRead:
        """Returns an empty object, whatever the file gives to the object's own class."""
        new = object.__new__(cls)
        if cls.__module__ == "numpy":
            new.given = given
        return new

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if type(self).__module__.startswith("numpy") and isinstance(state, tuple):
            self.given = (*self.given, state)
        elif isinstance(state, Mapping) and (self._is_of_torchscript or state.keys() >= MODULE):
            self.attributes = state

    @property
    def _is_of_torchscript(self) -> bool:
        return type(self).__module__.split(".")[0] == "__torch__"

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Drops a value of an object that is a list."""

    def extend(self, values: Any) -> None:
        """Drops values of an object that is a list."""

    @property
    def state(self) -> dict[str, Tensor]:
        """The state_dict of a module: the names of its tensors and those of its submodules; empty of other objects."""
        return self._state(DEEPEST)

    def _state(self, levels: int) -> dict[str, Tensor]:
        own = self.attributes
        parts: list[Any] = [own]
        if not self._is_of_torchscript:
            hidden, buffers = own.get("_non_persistent_buffers_set"), own.get("_buffers")
            if isinstance(buffers, Mapping) and isinstance(hidden, set):
                buffers = {name: value for name, value in buffers.items() if name not in hidden}
            parts = [own.get("_parameters"), buffers, own.get("_modules")]
        found: dict[str, Tensor] = {}
        for name, value in (
            (name, value) for part in parts if isinstance(part, Mapping) for name, value in part.items()
        ):
            if isinstance(value, Tensor):
                found[name] = value
            elif isinstance(value, NotRead) and levels:
                found |= {f"{name}.{inner}": tensor for inner, tensor in value._state(levels - 1).items()}
        return found

    @property
    def tensor(self) -> Tensor | None:
        """The numbers of a numpy array; None of other objects, and of arrays of objects."""
        if type(self).__name__ != "_reconstruct" or not self.given or len(self.given[-1]) != 5:
            return None
        _, shape, kind, by_columns, content = self.given[-1]
        if not (isinstance(kind, NotRead) and isinstance(content, bytes) and len(kind.given) > 1):
            return None
        letter, (_, order, *_) = kind.given[0], kind.given[-1]
        if letter not in NUMBERS or order not in ("<", ">", "|"):
            return None
        numbers = np.frombuffer(
            content[: len(content) // int(letter[1]) * int(letter[1])], np.dtype(f"{order}{letter}")
        )
        if not all(isinstance(n, int) and n >= 0 for n in shape) or numbers.size != math.prod(shape):
            return None
        array = numbers.reshape(shape, order="F" if by_columns else "C")
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))


DEEPEST = 64
"""Levels of submodules that are looked at."""

MODULE = frozenset({"_parameters", "_buffers", "_modules"})
"""What the state of a pickled module has."""

NUMBERS = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"})
"""What numpy calls the dtypes that torch has, too."""


def read_content(path: Path, content: bytes | None = None) -> Any:
    """Returns what a file holds: safetensors if its name ends so, otherwise PyTorch. Objects are `NotRead`.

    Args:
        content: the file's bytes, where they are read already.

    Raises:
        ArgumentError: the file is damaged, is of another kind, or can't be read without running code.
    """
    if content is None:
        content = path.read_bytes()
    return _safetensors(path, content) if path.suffix == ".safetensors" else _pytorch(path, content)


def read_weights(path: Path, content: bytes | None = None) -> dict[str, Tensor]:
    """Returns parameter name → tensor from a file that holds one state_dict and nothing else.

    Args:
        content: the file's bytes, where they are read already.

    Raises:
        ArgumentError: the file is damaged, or holds more than weights.
    """
    found = read_content(path, content)
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    ):
        raise fault(path, "it holds no state_dict (parameter name → tensor).")
    if not found:
        raise fault(path, "it holds no tensors.")
    return dict(found)


def names_of(dataset: Dataset) -> dict[str, str]:
    """Returns the metadata of a file of weights: the names of the network's inputs and classes, as JSON lists."""
    names = {"feature_names": dataset.feature_names, "class_names": dataset.class_names}
    return {name: json.dumps(of, ensure_ascii=False) for name, of in names.items() if of is not None}


def metadata(path: Path) -> dict[str, str]:
    """Returns the metadata of a safetensors file that can be read, key → text."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def save_weights(state: Mapping[str, Any], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a state_dict as safetensors.

    Args:
        metadata: key → text, in the file's header.
    """
    # Clones, because safetensors refuses tensors that share memory, as tied weights do.
    clones = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()
    }
    # safetensors' own save_file makes a file that only its owner can read, and hides the error of a full disk.
    path.write_bytes(_with_metadata(to_bytes(clones), metadata) if metadata else to_bytes(clones))


def _with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """Returns a safetensors file with metadata in its header.

    safetensors itself writes several keys in an order that changes from process to process; equal weights have equal
    files here.
    """
    length = int.from_bytes(content[:8], "little")
    header = {"__metadata__": dict(metadata)} | json.loads(content[8 : 8 + length])
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format's alignment
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


# --- safetensors ---------------------------------------------------------------------------------------------------


def _safetensors(path: Path, content: bytes) -> dict[str, Tensor]:
    """Returns the tensors, and under a second name those that `save_model` wrote once: its metadata says which."""
    if content.startswith(b"PK\x03\x04"):
        raise fault(path, "a file of torch.save, not safetensors.", f"Name it {path.stem}.pt.")
    try:
        state = from_bytes(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise fault(path, f"not a safetensors file, or an incomplete one ({one_line(error)}).") from error
    for removed, kept in (header.get("__metadata__") or {}).items():
        if removed not in state and kept in state:
            state[removed] = state[kept]
    return state


# --- PyTorch -------------------------------------------------------------------------------------------------------


def _pytorch(path: Path, content: bytes) -> Any:
    if content.startswith(b"PK\x03\x04"):
        _check_archive(path, content)
        if (plain := _without_code(content)) is not None:
            return _torchscript(path, plain)
    stand_ins: list[Any] = []
    try:
        return _loaded(content, stand_ins)
    except pickle.UnpicklingError as error:
        with suppress(Exception):  # a damaged file, or one of an old format: the first error says more
            stand_ins = [
                _stand_in(name) for name in torch.serialization.get_unsafe_globals_in_checkpoint(_file(content))
            ]
        whole = False
        if stand_ins:
            with suppress(Exception):
                found = _loaded(content, stand_ins)
                whole = isinstance(found, NotRead)
                if not whole or found.state:
                    return found
        if not stand_ins and "Unsupported operand" in str(error):  # a byte that begins no instruction of a pickle
            # The text leaves out torch's own, which advises weights_only=False.
            raise fault(path, "not a weights file, or a damaged one.") from error
        more = " Type torch.save(model.state_dict(), 'weights.pt') where it was made." if whole else ""
        raise refused(path, more) from error
    except Exception as error:  # torch.load raises exceptions of many types
        raise fault(
            path, "not a weights file, or an incomplete one; a safetensors file must be named .safetensors."
        ) from error


def fault(path: Path, problem: str, remedy: str = "") -> ArgumentError:
    """Returns the error of a file."""
    return ArgumentError("path", path, problem, remedy)


def refused(path: Path, more: str = "") -> ArgumentError:
    """Returns the error about a file that holds objects where weights are needed."""
    return fault(
        path,
        "refused, because it holds more than weights and reading it could run code.",
        f"Save model.state_dict() alone.{more}",
    )


def saving(state: str) -> str:
    """Returns the command that saves what a Python expression gives as weights.pt, as a shell takes it."""
    program = f"import torch; torch.save({state}, 'weights.pt')"
    plain = not set('"$`\\!') & set(program)
    return f'python -c "{program}"' if plain else f"python -c {shlex.quote(program)}"


def _file(content: bytes) -> Any:
    return io.BytesIO(content)


def _loaded(content: bytes, stand_ins: list[Any]) -> Any:
    with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's to those who save: our own errors say what is wrong with a file
        return torch.load(_file(content), map_location="cpu", weights_only=True)


def _stand_in(name: str) -> type[NotRead]:
    """Returns a class of its own for a class or function of a file: torch finds it by its full name."""
    module, _, own = name.rpartition(".")
    return type(own, (NotRead,), {"__module__": module, "__qualname__": own})


def _torchscript(path: Path, plain: bytes) -> NotRead:
    """Returns the module of a TorchScript archive, which `_without_code` gives.

    Raises:
        ArgumentError: it has no tensors that can be read so.
    """
    with suppress(Exception):  # an archive of another version
        names = torch.serialization.get_unsafe_globals_in_checkpoint(_file(plain))
        found = _loaded(plain, [_stand_in(name) for name in names])
        if isinstance(found, NotRead) and found.state:
            return found
    read = f"torch.jit.load({str(path)!r}).state_dict()"
    remedy = f"Take its weights: {saving(read)}, then {{path}}=weights.pt."
    raise fault(path, "a TorchScript archive whose weights can't be read without its code.", remedy)


def _without_code(content: bytes) -> bytes | None:
    """Returns a TorchScript archive as a file of torch.save, with its tensors and without its code; None for others.

    Its modules are then objects whose classes are those of its code, and of which `NotRead` keeps the tensors.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if not any(name.endswith("/constants.pkl") for name in names):
            return None
        kept = io.BytesIO()
        with zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as plain:
            for name in names:
                inside = name.partition("/")[2]
                if inside in ("data.pkl", "version", "byteorder") or inside.startswith("data/"):
                    plain.writestr(name, archive.read(name))
    return kept.getvalue()


def _check_archive(path: Path, content: bytes) -> None:
    """Checks what torch doesn't: the checksums of the archive, and that its members are what torch.save writes.

    Raises:
        ArgumentError: a checksum is wrong, or the archive is another program's.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if any(name.endswith(".npy") for name in names):
                tensors = "{name: torch.as_tensor(array) for name, array in numpy.load('w.npz').items()}"
                remedy = f"Save tensors: torch.save({tensors}, 'w.pt')."
                raise fault(path, "an .npz file of arrays.", remedy)
            if len(set(names)) < len(names):
                raise fault(path, "damaged: it has two members of one name.")
            is_script = any(name.endswith("/constants.pkl") for name in names)  # its code is compressed
            if not is_script and any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise fault(path, "its members are compressed, which torch.save does not do.", SAVE)
            wrong = archive.testzip()
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise fault(path, f"not a weights file, or an incomplete one ({one_line(error)}).") from error
    if wrong is not None:
        raise fault(path, f"damaged: the checksum of its member {wrong} is wrong.", "Copy it again.")

"""MNIST (LeCun, Cortes, Burges): handwritten digits, 28×28 grey values.

The four original files are in the package. They are unpacked into a cache folder, under a lock, verified by their
sha256, and read by torchvision. The tensors are kept beside them, because an import of torchvision takes longer than
everything else here; each process verifies them by a digest in this module. Without a cache they are read in memory.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Sequence
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import parity_and_half
from mi_runner.errors import ArgumentError, RunFailed
from mi_runner.machine import private
from mi_runner.machine.cache import MNIST as MNIST_FOLDER
from mi_runner.machine.cache import cache_folder, say_unusable, usable
from mi_runner.machine.files import sha256, written_whole
from mi_runner.progress import log

STANDARD_MEAN, STANDARD_DEVIATION = 0.1307, 0.3081
"""The usual rounded figures for the training pixels divided by 255."""

AT_ONCE = 250
"""Images that are normalised at once: 0.8 MB."""

PACKAGED = files("mi_runner.datasets") / "mnist_files"

READ = "tensors.safetensors"
"""The file in the cache folder's MNIST with the tensors that torchvision read."""

NAMES = ("x_train", "y_train", "x_test", "y_test")

FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
"""The packaged file of each tensor."""

TENSORS_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
"""The sha256 of the values of the four tensors: what a folder has is believed only with this digest."""

SECONDS_FOR_LOCK = 60.0
"""How long a process waits for another that unpacks the files, which takes a second."""


def load(
    *,
    seed: int = 0,
    limit: int | None = None,
    digits: Sequence[int] | None = None,
    normalization: str = "standard",
    target: str = "class",
    root: str | None = None,
    download: bool = False,
) -> Dataset:
    """Returns MNIST's 60,000 training and 10,000 test images, or those of `digits`, in the original order.

    Inputs are `(N, 1, 28, 28)`. As a class, a target is the index of its digit among the kept digits in ascending
    order; as a value, it is the digit itself.

    Args:
        seed: has no effect, because the images are fixed.
        limit: take at most this many training and test images; None: all.
        digits: the digits to keep; None: all ten.
        normalization: standard, `(p/255 − 0.1307)/0.3081` of a pixel p, or symmetric, to −1..1.
        target: class or value.
        root: a folder for the unpacked files; None: the user's cache folder.
        download: whether torchvision downloads the files; otherwise the packaged files are used.

    Raises:
        ArgumentError: `digits` is empty or names a digit twice.
        RunFailed: the files can't be unpacked or downloaded.
    """
    kept = list(range(10)) if digits is None else sorted(digits)
    if not kept or len(set(kept)) < len(kept):
        raise ArgumentError("digits", digits, "name at least one digit, each once.")
    folder = Path(root).expanduser() if root else None
    if download:
        try:
            splits = _read(folder or cache_folder(), download=True)
        except RuntimeError as error:
            text = f"{{download}}=true: {error}. Use {{download}}=false for the packaged files."
            raise RunFailed(text, "download") from error
    else:
        splits = _packaged(folder)
    by_class = target == "class"
    x_train, y_train, x_test, y_test = (
        tensor
        for images, labels in (splits[:2], splits[2:])
        for tensor in _tensors(images, labels, kept, limit, normalization, by_class)
    )
    labels = [torch.tensor(kept)[y] if by_class else y.long() for y in (y_train, y_test)]
    return Dataset(
        name="mnist",
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        class_names=tuple(str(digit) for digit in kept) if by_class else None,
        causal_model=parity_and_half(tuple(kept), *labels, classes=by_class),
        label_name="digit",
        shifted=partial(_other_digits, tuple(kept), normalization, folder, download) if len(kept) < 10 else None,
    )


def _other_digits(digits: tuple[int, ...], normalization: str, root: Path | None, download: bool, seed: int) -> Tensor:
    """Returns all test images of the digits that were not kept, `(S, 1, 28, 28)`, in the original order.

    A limit of the examples doesn't shorten them.

    Args:
        digits: the kept ones.
        normalization, root, download: as in `load`, which has downloaded what is to be downloaded.
        seed: has no effect, because the images are fixed.
    """
    *_, images, labels = _read(root or cache_folder(), download=False) if download else _packaged(root)
    others = [digit for digit in range(10) if digit not in digits]
    return _tensors(images, labels, others, None, normalization, by_class=True)[0]


def _tensors(
    images: Tensor, labels: Tensor, digits: list[int], limit: int | None, normalization: str, by_class: bool
) -> tuple[Tensor, Tensor]:
    """Returns inputs `(N, 1, 28, 28)` and targets `(N,)` of a split."""
    if len(digits) < 10:
        kept = torch.isin(labels, torch.tensor(digits))
        images, labels = images[kept], labels[kept]
    images, labels = images[:limit], labels[:limit].long()  # before the arithmetic, to save time
    shift, scale = (STANDARD_MEAN, STANDARD_DEVIATION) if normalization == "standard" else (0.5, 0.5)
    pixels = _normalised(images, shift, scale).unsqueeze(1)
    if by_class:
        return pixels, torch.searchsorted(torch.tensor(digits), labels)
    return pixels, labels.to(torch.float32)


def _normalised(images: Tensor, shift: float, scale: float) -> Tensor:
    """Returns `(p/255 − shift)/scale` of pixels p, in float32.

    Few images at once, so that all steps find them in the processor's caches: a third of the time of all at once.
    """
    normalised = torch.empty(images.shape)
    for start in range(0, len(images), AT_ONCE):
        part = normalised[start : start + AT_ONCE].numpy()
        np.copyto(part, images[start : start + AT_ONCE].numpy())
        part /= np.float32(255)
        part -= np.float32(shift)
        part /= np.float32(scale)
    return normalised


def _read(root: Path, *, download: bool) -> list[Tensor]:
    """Returns the tensors of `NAMES`, uint8: images `(N, 28, 28)` and labels `(N,)`."""
    from torchvision.datasets import MNIST

    splits = [MNIST(root, train=train, download=download) for train in (True, False)]
    return [tensor.to(torch.uint8) for split in splits for tensor in (split.data, split.targets)]


def _packaged(root: Path | None) -> list[Tensor]:
    """Returns the tensors of the packaged files: those in `root`/MNIST; if it lacks them, they are stored there.

    Args:
        root: the user's folder; None: the cache, or the memory alone if the cache can't be used.

    Raises:
        RunFailed: the files can't be unpacked.
    """
    if root is None:
        folder = usable(MNIST_FOLDER)
        if folder is None:
            return _in_memory()
        root = folder.parent
        try:
            return _stored(root, is_cache=True)
        except OSError as error:
            say_unusable(error)
            return _in_memory()
    try:
        return _stored(root, is_cache=False)
    except OSError as error:
        place = root / MNIST_FOLDER / "raw"
        text = f"can't unpack MNIST into {place} ({error}). Use {{root}}=FOLDER for another folder."
        raise RunFailed(text, "root") from error


def _stored(root: Path, *, is_cache: bool) -> list[Tensor]:
    """Returns the tensors of the packaged files by way of a folder, which has them afterwards.

    Raises:
        OSError: they can't be unpacked there.
    """
    place = root / MNIST_FOLDER / READ
    try:
        state = place.stat()
        if _is_whole(place, state.st_mtime_ns, state.st_size):
            return _kept(place)
        log.warning(f"{place} is damaged and will be written again")
    except FileNotFoundError:
        pass
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        log.warning(f"{place} is damaged and will be written again: {error}")
    unpack(root, is_private=is_cache)
    read = _read(root, download=False)
    if _digest(read) != TENSORS_SHA256:
        return _in_memory()  # another process changed the files meanwhile
    try:
        with written_whole(place, private=is_cache) as beside:
            beside.write_bytes(to_bytes(dict(zip(NAMES, read, strict=True))))
    except OSError as error:
        log.warning(f"{place} can't be written ({error}): the next run will read MNIST again")
    return read


def _in_memory() -> list[Tensor]:
    """Returns the tensors of the packaged files, without a folder and without torchvision."""
    return [_array(_content(f"{name}-ubyte")) for name in FILES]


def _array(content: bytes) -> Tensor:
    """Returns the values of a file in the format IDX with unsigned bytes: images `(N, 28, 28)`, labels `(N,)`.

    A head of four bytes, of which the last is the number of dimensions; each dimension as four bytes, the highest
    first; the values.
    """
    n_dimensions = content[3]
    head = 4 + 4 * n_dimensions
    shape = struct.unpack(f">{n_dimensions}I", content[4:head])
    return torch.frombuffer(bytearray(content[head:]), dtype=torch.uint8).view(shape)


def _kept(place: Path) -> list[Tensor]:
    """Returns the tensors of a file, which are read from the disk at their first use."""
    with safe_open(place, "pt") as file:
        return [file.get_tensor(name) for name in NAMES]


@cache
def _is_whole(place: Path, changed_ns: int, size: int) -> bool:
    """Returns whether a file's tensors are those of the packaged files; a process reads all of them once."""
    return _digest(_kept(place)) == TENSORS_SHA256


def _digest(tensors: Sequence[Tensor]) -> str:
    """Returns the sha256 of the values of tensors of unsigned bytes, one behind the other."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _content(name: str) -> bytes:
    """Returns a packaged file, unpacked.

    Raises:
        RunFailed: it is damaged.
    """
    expected = {name: digest for digest, name in map(str.split, (PACKAGED / "SHA256SUMS").read_text().splitlines())}
    try:
        content = gzip.decompress((PACKAGED / f"{name}.gz").read_bytes())
    except (OSError, EOFError, zlib.error):
        content = b""
    if hashlib.sha256(content).hexdigest() != expected[name]:
        raise RunFailed(f"the packaged {name}.gz is damaged: install mi-run again.")
    return content


def unpack(root: Path, *, is_private: bool = False) -> None:
    """Unpacks the packaged files into `root`/MNIST/raw, where torchvision reads them; keeps files that are correct.

    Args:
        is_private: whether only this user can read and write them.

    Raises:
        OSError: the folder can't be written, or another process has it.
        RunFailed: the packaged files are damaged.
    """
    raw = root / MNIST_FOLDER / "raw"
    private.make_folder(raw) if is_private else raw.mkdir(parents=True, exist_ok=True)
    lock = FileLock(raw / ".lock", mode=private.FILE) if is_private else FileLock(raw / ".lock")
    try:
        lock.acquire(timeout=SECONDS_FOR_LOCK)
    except NotImplementedError as error:
        raise OSError(f"{raw}: its file system has no locks") from error
    try:
        for line in (PACKAGED / "SHA256SUMS").read_text().splitlines():
            expected, name = line.split()
            if (raw / name).is_file() and sha256(raw / name) == expected:
                continue
            content = _content(name)
            with written_whole(raw / name, private=is_private) as beside:
                beside.write_bytes(content)
    finally:
        lock.release()

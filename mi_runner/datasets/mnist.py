"""MNIST (LeCun, Cortes, Burges): handwritten digits, 28×28 grey values.

The four original files are in the package. They are unpacked into a cache folder, under a lock, verified by their
sha256, and read by torchvision. The tensors are kept beside them and verified in each process, because an import of
torchvision takes longer than everything else here.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from mi_runner.cache import cache_folder
from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import parity_and_half
from mi_runner.errors import ArgumentError, RunFailed
from mi_runner.files import sha256, written_whole
from mi_runner.progress import log

STANDARD_MEAN, STANDARD_DEVIATION = 0.1307, 0.3081
"""The usual rounded figures for the training pixels divided by 255."""

PACKAGED = files("mi_runner.datasets") / "mnist_files"

READ = "tensors.safetensors"
"""The file in the cache folder's MNIST with the tensors that torchvision read."""

NAMES = ("x_train", "y_train", "x_test", "y_test")


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
        raise ArgumentError(f"digits={digits}: name at least one digit, each once.")
    folder = Path(root).expanduser() if root else cache_folder()
    if download:
        try:
            splits = _read(folder, download=True)
        except RuntimeError as error:
            raise RunFailed(f"download=true: {error}. Use download=false for the packaged files.") from error
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
    )


def _tensors(
    images: Tensor, labels: Tensor, digits: list[int], limit: int | None, normalization: str, by_class: bool
) -> tuple[Tensor, Tensor]:
    """Returns inputs `(N, 1, 28, 28)` and targets `(N,)` of a split."""
    if len(digits) < 10:
        kept = torch.isin(labels, torch.tensor(digits))
        images, labels = images[kept], labels[kept]
    images, labels = images[:limit], labels[:limit].long()  # before the arithmetic, to save time
    pixels = images.unsqueeze(1).to(torch.float32).div_(255)
    if normalization == "standard":
        pixels.sub_(STANDARD_MEAN).div_(STANDARD_DEVIATION)
    else:
        pixels.sub_(0.5).div_(0.5)
    if by_class:
        return pixels, torch.searchsorted(torch.tensor(digits), labels)
    return pixels, labels.to(torch.float32)


def _read(root: Path, *, download: bool) -> list[Tensor]:
    """Returns the tensors of `NAMES`, uint8: images `(N, 28, 28)` and labels `(N,)`."""
    from torchvision.datasets import MNIST

    splits = [MNIST(root, train=train, download=download) for train in (True, False)]
    return [tensor.to(torch.uint8) for split in splits for tensor in (split.data, split.targets)]


def _packaged(root: Path) -> list[Tensor]:
    """Returns the tensors of the packaged files, from the cache folder if it has them; otherwise it stores them there.

    Raises:
        RunFailed: the files can't be unpacked.
    """
    place = root / "MNIST" / READ
    try:
        state = place.stat()
        if _is_whole(place, state.st_mtime_ns, state.st_size):
            return _kept(place)[0]
        log.warning(f"{place} is damaged and will be written again")
    except FileNotFoundError:
        pass
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        log.warning(f"{place} is damaged and will be written again: {error}")
    unpack(root)
    read = _read(root, download=False)
    try:
        with written_whole(place) as beside:
            beside.write_bytes(to_bytes(dict(zip(NAMES, read, strict=True)), {"sha256": _digest(read)}))
    except OSError as error:
        log.warning(f"{place} can't be written ({error}): the next run will read MNIST again")
    return read


def _kept(place: Path) -> tuple[list[Tensor], str]:
    """Returns the tensors of a file, which are read from the disk at their first use, and the digest beside them."""
    with safe_open(place, "pt") as file:
        return [file.get_tensor(name) for name in NAMES], file.metadata()["sha256"]


@cache
def _is_whole(place: Path, changed_ns: int, size: int) -> bool:
    """Returns whether a file's tensors have their digest; a process reads all of them once."""
    tensors, digest = _kept(place)
    return digest == _digest(tensors)


def _digest(tensors: Sequence[Tensor]) -> str:
    """Returns a digest of the tensors and of the packaged files that they come from."""
    digest = hashlib.sha256((PACKAGED / "SHA256SUMS").read_bytes())
    for tensor in tensors:
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def unpack(root: Path) -> None:
    """Unpacks the packaged files into `root`/MNIST/raw, where torchvision reads them; keeps files that are correct.

    Raises:
        RunFailed: the folder can't be written.
    """
    raw = root / "MNIST" / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw / ".lock"):
            for line in (PACKAGED / "SHA256SUMS").read_text().splitlines():
                expected, name = line.split()
                if (raw / name).is_file() and sha256(raw / name) == expected:
                    continue
                content = gzip.decompress((PACKAGED / f"{name}.gz").read_bytes())
                if hashlib.sha256(content).hexdigest() != expected:
                    raise RunFailed(f"the packaged {name}.gz is damaged: install mi-run again.")
                with written_whole(raw / name) as beside:
                    beside.write_bytes(content)
    except OSError as error:
        raise RunFailed(f"can't unpack MNIST into {raw} ({error}). Use root=FOLDER for another folder.") from error

"""MNIST (LeCun, Cortes, Burges): handwritten digits, 28×28 grey values.

The four original files are in the package. They are unpacked into a cache folder, under a lock, verified by their
sha256, and read by torchvision. What it read is kept beside them and verified each time, because importing torchvision
takes longer than all else here.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from mi_runner.cache import cache_folder
from mi_runner.config.dataset_schemas import MnistConfig, Normalization
from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import parity_and_half
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.files import sha256, written_whole
from mi_runner.progress import log

STANDARD_MEAN, STANDARD_DEVIATION = 0.1307, 0.3081
"""Of the training pixels divided by 255, as the field quotes them."""

PACKAGED = files("mi_runner.datasets") / "mnist_files"

READ = "tensors.safetensors"
"""In the cache folder's MNIST, what torchvision read of the packaged files."""

NAMES = ("x_train", "y_train", "x_test", "y_test")


def load(config: MnistConfig, *, seed: int) -> Dataset:
    """MNIST's 60,000 training and 10,000 test images, or those of `config.digits`, in the original order.

    Inputs are `(N, 1, 28, 28)`. As classes, the targets count the kept digits in ascending order; as values they are
    the digits themselves.

    Raises:
        ConfigError: `digits` is empty or names a digit twice.
        RunFailed: the files can't be unpacked or downloaded.
    """
    digits = list(range(10)) if config.digits is None else sorted(config.digits)
    if not digits or len(set(digits)) < len(digits):
        raise ConfigError(f"dataset.digits={config.digits}: name at least one digit, each once.")
    root = Path(config.root).expanduser() if config.root else cache_folder()
    if config.download:
        try:
            whole = _read(root, download=True)
        except RuntimeError as error:
            raise RunFailed(
                f"dataset.download=true: {error}; dataset.download=false takes the packaged files."
            ) from error
    else:
        whole = _packaged(root)
    x_train, y_train = _tensors(whole[0], whole[1], digits, config)
    x_test, y_test = _tensors(whole[2], whole[3], digits, config)
    by_class = config.target.name == "class"
    labels = [torch.tensor(digits)[y] if by_class else y.long() for y in (y_train, y_test)]
    return Dataset(
        name=config.name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        class_names=tuple(str(digit) for digit in digits) if by_class else None,
        causal_model=parity_and_half(tuple(digits), *labels, classes=by_class),
        label_name="digit",
    )


def _tensors(images: Tensor, labels: Tensor, digits: list[int], config: MnistConfig) -> tuple[Tensor, Tensor]:
    if len(digits) < 10:
        kept = torch.isin(labels, torch.tensor(digits))
        images, labels = images[kept], labels[kept]
    images, labels = images[: config.limit], labels[: config.limit].long()  # before the arithmetic
    pixels = images.unsqueeze(1).to(torch.float32).div_(255)
    if config.normalization is Normalization.standard:
        pixels.sub_(STANDARD_MEAN).div_(STANDARD_DEVIATION)
    else:
        pixels.sub_(0.5).div_(0.5)
    if config.target.name == "class":
        return pixels, torch.searchsorted(torch.tensor(digits), labels)
    return pixels, labels.to(torch.float32)


def _read(root: Path, *, download: bool) -> list[Tensor]:
    """The tensors of `NAMES`, uint8: images `(N, 28, 28)` and labels `(N,)`."""
    from torchvision.datasets import MNIST

    splits = [MNIST(root, train=train, download=download) for train in (True, False)]
    return [tensor.to(torch.uint8) for split in splits for tensor in (split.data, split.targets)]


def _packaged(root: Path) -> list[Tensor]:
    """What `_read` gives of the packaged files: from what was kept of it, else read now and kept.

    Raises:
        RunFailed: the files can't be unpacked.
    """
    place = root / "MNIST" / READ
    try:
        with safe_open(place, "pt") as file:
            kept = [file.get_tensor(name) for name in NAMES]
            if file.metadata()["sha256"] == _digest(kept):
                return kept
        log.warning(f"{place} is damaged and will be written anew")
    except FileNotFoundError:
        pass
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        log.warning(f"{place} is damaged and will be written anew: {error}")
    unpack(root)
    read = _read(root, download=False)
    try:
        with written_whole(place) as beside:
            beside.write_bytes(to_bytes(dict(zip(NAMES, read, strict=True)), {"sha256": _digest(read)}))
    except OSError as error:
        log.warning(f"{place} can't be written ({error}): the next run will read MNIST anew")
    return read


def _digest(tensors: Sequence[Tensor]) -> str:
    """Of the tensors, and of the packaged files that they come from."""
    digest = hashlib.sha256((PACKAGED / "SHA256SUMS").read_bytes())
    for tensor in tensors:
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def unpack(root: Path) -> None:
    """Fill `root`/MNIST/raw, where torchvision looks, from the packaged files; a file that is right is left alone.

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
        raise RunFailed(f"can't unpack MNIST into {raw} ({error}): dataset.root=FOLDER names another place.") from error

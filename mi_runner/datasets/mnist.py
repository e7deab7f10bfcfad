"""MNIST (LeCun, Cortes, Burges): handwritten digits, 28×28 grey values.

The four original files are in the package. They are unpacked once into a cache folder, under a lock, verified by
their sha256 each time, and read by torchvision.
"""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor
from torchvision.datasets import MNIST

from mi_runner.cache import cache_folder
from mi_runner.config import MnistConfig, Normalization
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.files import sha256, written_whole

STANDARD_MEAN, STANDARD_DEVIATION = 0.1307, 0.3081
"""Of the training pixels divided by 255, as the field quotes them."""

PACKAGED = files("mi_runner.datasets") / "mnist_files"


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
    if not config.download:
        unpack(root)
    try:
        splits = [MNIST(root, train=train, download=config.download) for train in (True, False)]
    except RuntimeError as error:
        raise RunFailed(f"dataset.download=true: {error}; dataset.download=false takes the packaged files.") from error
    x_train, y_train, x_test, y_test = (
        part for split in splits for part in _tensors(split.data, split.targets, digits, config)
    )
    by_class = config.target.name == "class"
    return Dataset(
        name=config.name,
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        class_names=tuple(str(digit) for digit in digits) if by_class else None,
        fingerprint=f"mnist digits={digits} {config.normalization.name} {config.target.name}",
    )


def _tensors(images: Tensor, labels: Tensor, digits: list[int], config: MnistConfig) -> tuple[Tensor, Tensor]:
    if len(digits) < 10:
        kept = torch.isin(labels, torch.tensor(digits))
        images, labels = images[kept], labels[kept]
    images, labels = images[: config.limit], labels[: config.limit]  # before the arithmetic
    pixels = images.unsqueeze(1).to(torch.float32).div_(255)
    if config.normalization is Normalization.standard:
        pixels.sub_(STANDARD_MEAN).div_(STANDARD_DEVIATION)
    else:
        pixels.sub_(0.5).div_(0.5)
    if config.target.name == "class":
        return pixels, torch.searchsorted(torch.tensor(digits), labels)
    return pixels, labels.to(torch.float32)


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

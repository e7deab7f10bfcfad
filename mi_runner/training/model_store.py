"""Trained weights, found again by the content of what produced them.

The key is a hash of all that decides which weights come out: the data set's content, the network (its description and
its initial weights), the training options, the seed, the networks that it is trained together with, the machine and its
number of threads, the versions, and the source files that have a part in training. So what a command prints never
depends on what ran before it. Where two processes want the same model, one trains, the other waits and reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

import mi_runner
from mi_runner import machine
from mi_runner.cache import cache_folder
from mi_runner.files import sha256, tensors_sha256, written_whole
from mi_runner.models import Built
from mi_runner.progress import Progress, log
from mi_runner.training import loop, stacked
from mi_runner.training.options import TrainingOptions
from mi_runner.training.weights import read_weights, save_weights

WEIGHTS, RECORD = "model.safetensors", "record.json"

TRAINING = (
    *("training/loop.py", "training/stacked.py", "training/optimizers.py", "training/regularizers.py"),
    "training/options.py",
    *("training/clusterability.py", "training/evaluation.py", "batches.py", "chance.py"),
    "threads.py",
)
"""The sources, besides those of the models, that decide which weights come out of given data."""


History = list[dict[str, Any]]
"""A row per epoch of a network's training."""

Train = Callable[
    [Sequence[Built], TrainingOptions, Sequence[int], "Progress | None"], Sequence[History | FloatingPointError]
]
"""Networks, options, their seeds, progress → the history of each network, or the error that ended its training."""


@dataclass(frozen=True)
class Stored:
    """A trained model as the store keeps it.

    Attributes:
        path: its weights.
        sha256: of the weights' file.
        history: a row per epoch of its training.
        trained_now: whether this call trained it.
    """

    path: Path | None
    sha256: str | None
    history: Sequence[Mapping[str, Any]]
    trained_now: bool


def key(built: Built, training: TrainingOptions, *, seed: int, stack: Sequence[str] = ()) -> str:
    """The hash under which a model is kept, in hexadecimal.

    Args:
        stack: the keys that all networks of a stack have by themselves, where it is trained in one; so it has another
            key than the network that is trained alone, whose weights differ by rounding.
    """
    device = next((tensor.device for tensor in built.model.state_dict().values()), torch.device("cpu"))
    recipe = {
        "dataset": built.dataset.fingerprint,
        "model": repr(built.model),
        "source": built.source,
        "initial": tensors_sha256(built.model.state_dict()),
        "buffers": tensors_sha256(dict(built.model.named_buffers())),  # those that are not saved, too
        "training": _training(training),
        "seed": seed,
        "stack": list(stack),
        "computed by": _computed_by(device, built, training, n_networks=max(1, len(stack))),
        "mi_runner": mi_runner.__version__,
        "code": _code_digest(),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _computed_by(device: torch.device, built: Built, training: TrainingOptions, *, n_networks: int) -> list[str | int]:
    """The processor that trains, and how: on another, or by other threads, sums are added in another order."""
    if device.type == "cuda":
        return [torch.cuda.get_device_name(device)]
    n_threads = loop.threads_for(built.model, built.dataset.x_train, training.batch_size * n_networks)
    return [device.type, machine.processor(), machine.instruction_set(), n_threads]


def obtain(
    builts: Sequence[Built],
    training: TrainingOptions,
    *,
    seeds: Sequence[int],
    at_once: int = 1,
    train: Train | None = None,
    progress: Progress | None = None,
) -> list[Stored]:
    """Gives each network its trained weights: from the store, or otherwise by training, whose result is kept.

    Where the store can't be written the networks are trained all the same, and a warning says so.

    Args:
        builts: the networks with their initial weights, on the device to train on.
        seeds: each network's.
        at_once: how many networks one stack has at most. A stack is found whole or trained whole, because rounding in
            one network depends on the stack that it is in; a stack of one network is that network alone.
        train: trains the networks of a stack; None: `train_stack`.

    Raises:
        FloatingPointError: a training diverged. All others are trained and kept by then.
    """
    alone = [key(built, training, seed=seed) for built, seed in zip(builts, seeds, strict=True)]
    obtained: list[Stored | FloatingPointError] = []
    for start in range(0, len(builts), at_once):
        places = range(start, min(start + at_once, len(builts)))
        stack = [alone[place] for place in places] if len(places) > 1 else []
        keys = [key(builts[place], training, seed=seeds[place], stack=stack) for place in places]

        members = [builts[place] for place in places], training, [seeds[place] for place in places], progress
        obtained += _obtain_together(members[0], keys, partial(train or train_stack, *members))
    diverged = {seed: each for seed, each in zip(seeds, obtained, strict=True) if isinstance(each, FloatingPointError)}
    stored = [each for each in obtained if isinstance(each, Stored)]
    if len(builts) == 1:
        for error in diverged.values():
            raise error
    elif diverged:
        kept = stored and all(each.path for each in stored)
        others = f" The other {len(stored)} are in the model store." if kept else ""
        each = " ".join(f"seed={seed}: {error}" for seed, error in diverged.items())
        raise FloatingPointError(f"{len(diverged)} of {len(builts)} networks failed. {each}{others}")
    found = [each for each in stored if not each.trained_now]
    if len(builts) > 1 and found:
        log.info(f"{len(found)} of {len(builts)} trained models found in the model store")
    elif found:
        log.info(f"trained model found: {found[0].path}")
    return stored


def train_stack(
    builts: Sequence[Built], training: TrainingOptions, seeds: Sequence[int], progress: Progress | None
) -> Sequence[History | FloatingPointError]:
    """Trains the networks of one stack; returns the history of each, or the error that ended its training."""
    dataset = builts[0].dataset
    if len(builts) > 1:
        log.info(f"training {len(builts)} networks on {dataset.name}: {len(dataset.x_train):,} examples")
        networks, data = [built.model for built in builts], [built.dataset for built in builts]
        return stacked.train(networks, data, training, seeds=seeds, progress=progress)
    (built,), (seed,) = builts, seeds
    log.info(f"training {type(built.model).__name__} on {dataset.name}: {len(dataset.x_train):,} examples")
    try:
        return [loop.train(built.model, dataset, training, seed=seed, progress=progress)]
    except FloatingPointError as error:
        return [error]


def _obtain_together(
    builts: Sequence[Built],
    keys: Sequence[str],
    train: Callable[[], Sequence[History | FloatingPointError]],
) -> list[Stored | FloatingPointError]:
    """The trained models of these keys: all from the store, or otherwise all by one call of `train`."""
    folders = [cache_folder() / "models" / each for each in keys]
    networks = [built.model for built in builts]
    if found := _load(folders, networks):
        return list(found)
    try:
        with _locked(folders[0]):
            # Another process may have trained them while we waited.
            return list(_load(folders, networks)) or _save(folders, networks, train())
    except _Unwritable as error:
        _warn_of_unwritable(folders, error)
        return [_kept_nowhere(history) for history in train()]


def _kept_nowhere(history: History | FloatingPointError) -> Stored | FloatingPointError:
    return history if isinstance(history, FloatingPointError) else Stored(None, None, history, True)


def _warn_of_unwritable(folders: Sequence[Path], error: Exception) -> None:
    what = "the model is not" if len(folders) == 1 else "not all models are"
    log.warning(f"the model store {folders[0].parent} can't be written ({error}): {what} kept")


class _Unwritable(Exception):
    """The store's folder or its lock can't be made."""


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Within the block nobody else trains what this lock is of.

    Raises:
        _Unwritable: there is no place for the lock.
    """
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process trains the same model: waiting for it")
            lock.acquire()
    except OSError as error:
        raise _Unwritable(str(error)) from error
    try:
        yield
    finally:
        lock.release()


def _load(folders: Sequence[Path], networks: Sequence[nn.Module]) -> list[Stored]:
    """Loads the stored models into the networks; empty, and no network is touched, if one is missing or damaged."""
    read = [_read(folder, network) for folder, network in zip(folders, networks, strict=True)]
    complete = [each for each in read if each is not None]
    if len(complete) < len(networks):
        return []
    for network, (_, state) in zip(networks, complete, strict=True):
        network.load_state_dict(state)
    return [stored for stored, _ in complete]


def _read(folder: Path, network: nn.Module) -> tuple[Stored, dict[str, Tensor]] | None:
    """A stored model and its weights, its bytes verified; None where there is none, or a damaged one."""
    try:
        record = json.loads((folder / RECORD).read_text())
        digest = sha256(folder / WEIGHTS)
        if digest != record["sha256"]:
            raise ValueError(f"sha256 {record['sha256']} expected, {digest} found")
        stored = Stored(folder / WEIGHTS, digest, record["history"], False)
        state = read_weights(folder / WEIGHTS)
        shapes, wanted = (
            {name: tensor.shape for name, tensor in each.items()} for each in (state, network.state_dict())
        )
        if shapes != wanted:
            raise ValueError("its weights have other names or shapes")
        return stored, state
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:  # a ConfigError is a ValueError
        log.warning(f"the stored model {folder} is damaged and will be trained anew: {error}")
        return None


def _save(
    folders: Sequence[Path], networks: Sequence[nn.Module], histories: Sequence[History | FloatingPointError]
) -> list[Stored | FloatingPointError]:
    """Keeps the trained models, those that failed left out; where the disk is full a warning says so, once."""
    kept: list[Stored | FloatingPointError] = []
    unwritable: OSError | None = None
    for folder, network, history in zip(folders, networks, histories, strict=True):
        if isinstance(history, FloatingPointError) or unwritable:
            kept.append(_kept_nowhere(history))
            continue
        try:
            folder.mkdir(exist_ok=True)
            with written_whole(folder / WEIGHTS) as beside:
                save_weights(network.state_dict(), beside)
            digest = sha256(folder / WEIGHTS)
            with written_whole(folder / RECORD) as beside:  # last: a model without a record doesn't count
                beside.write_text(json.dumps({"sha256": digest, "history": history}))
            kept.append(Stored(folder / WEIGHTS, digest, history, True))
        except OSError as error:
            unwritable = error
            _warn_of_unwritable(folders, error)
            kept.append(_kept_nowhere(history))
    return kept


@cache
def _code_digest() -> str:
    """Of the sources that decide which weights come out, so that no edit of them finds an old model."""
    package = Path(mi_runner.__file__).parent
    digest = hashlib.sha256()
    for file in sorted([*package.glob("models/*.py"), *map(package.joinpath, TRAINING)]):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _training(training: TrainingOptions) -> dict[str, Any]:
    """The options that have a part in training: a regulariser's only if there is one."""
    options = asdict(training)
    if training.regularizer == "none":
        return {name: value for name, value in options.items() if not name.startswith("regularizer_")}
    return options

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
from enum import Enum
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

import mi_runner
from mi_runner import machine
from mi_runner.cache import cache_folder
from mi_runner.config.training_schema import Regularizer, TrainingConfig
from mi_runner.errors import RunFailed
from mi_runner.files import sha256, tensors_sha256, written_whole
from mi_runner.models import Built
from mi_runner.progress import log
from mi_runner.training.loop import threads_for
from mi_runner.training.weights import read_weights, save_weights

WEIGHTS, RECORD = "model.safetensors", "record.json"

TRAINING = (
    *("training/loop.py", "training/stacked.py", "training/optimizers.py", "training/regularizers.py"),
    *("training/clusterability.py", "training/evaluation.py", "batches.py", "chance.py"),
    "threads.py",
)
"""The sources, besides those of the models, that decide which weights come out of given data."""


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


def key(built: Built, training: TrainingConfig, *, seed: int, stack: Sequence[str] = ()) -> str:
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


def _computed_by(device: torch.device, built: Built, training: TrainingConfig, *, n_networks: int) -> list[str | int]:
    """The processor that trains, and how: on another, or by other threads, sums are added in another order."""
    if device.type == "cuda":
        return [torch.cuda.get_device_name(device)]
    n_threads = threads_for(built.model, built.dataset.x_train, training.batch_size * n_networks)
    return [device.type, machine.processor(), machine.instruction_set(), n_threads]


def obtain(
    built: Built,
    training: TrainingConfig,
    train: Callable[[], list[dict[str, Any]]],
    *,
    seed: int,
) -> Stored:
    """Give `built.model` its trained weights: from the store, or otherwise by calling `train`, whose result is kept.

    Where the store can't be written the model is trained all the same, and a warning says so.
    """
    (stored,) = _obtain_together([built], [key(built, training, seed=seed)], lambda: [train()])
    assert isinstance(stored, Stored)  # a training that fails raises
    return stored


def obtain_many(
    builts: Sequence[Built],
    training: TrainingConfig,
    train: Callable[[Sequence[int]], Sequence[list[dict[str, Any]] | RunFailed]],
    *,
    seeds: Sequence[int],
    at_once: int,
) -> list[Stored]:
    """As `obtain` for many networks that are trained in stacks.

    A stack is found whole or trained whole, since rounding in one network depends on the stack that it is in.

    Args:
        train: trains the networks at these places in one stack; gives a history or an error for each.
        seeds: each network's.
        at_once: how many networks a stack has at the most.

    Raises:
        RunFailed: some could not be trained; by then all others are, and are kept.
    """
    alone = [key(built, training, seed=seed) for built, seed in zip(builts, seeds, strict=True)]
    obtained: list[Stored | RunFailed] = []
    for start in range(0, len(builts), at_once):
        places = range(start, min(start + at_once, len(builts)))
        stack = [alone[place] for place in places]
        keys = [key(builts[place], training, seed=seeds[place], stack=stack) for place in places]
        obtained += _obtain_together([builts[place] for place in places], keys, partial(train, places))
    failed = [one for one in obtained if isinstance(one, RunFailed)]
    trained = [one for one in obtained if isinstance(one, Stored)]
    if failed:
        kept = trained and all(one.path for one in trained)
        others = f" The other {len(trained)} are in the model store." if kept else ""
        raise RunFailed(f"{len(failed)} of {len(builts)} networks failed. {' '.join(map(str, failed))}{others}")
    return trained


def _obtain_together(
    builts: Sequence[Built],
    keys: Sequence[str],
    train: Callable[[], Sequence[list[dict[str, Any]] | RunFailed]],
) -> list[Stored | RunFailed]:
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


def _kept_nowhere(history: list[dict[str, Any]] | RunFailed) -> Stored | RunFailed:
    return history if isinstance(history, RunFailed) else Stored(None, None, history, True)


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
    folders: Sequence[Path], networks: Sequence[nn.Module], histories: Sequence[list[dict[str, Any]] | RunFailed]
) -> list[Stored | RunFailed]:
    """Keeps the trained models, those that failed left out; where the disk is full a warning says so, once."""
    kept: list[Stored | RunFailed] = []
    unwritable: OSError | None = None
    for folder, network, history in zip(folders, networks, histories, strict=True):
        if isinstance(history, RunFailed) or unwritable:
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


def _training(config: TrainingConfig) -> dict[str, Any]:
    """The options that have a part in training: a regulariser's only if there is one."""
    plain = {name: _plain(value) for name, value in asdict(config).items()}
    if config.regularizer is Regularizer.none:
        return {name: value for name, value in plain.items() if not name.startswith("regularizer_")}
    return plain


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Enum) else value

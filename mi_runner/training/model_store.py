"""A store of trained weights, each under a hash of everything that decides them.

The hash covers the data set's content, the network (its description and its initial weights), the training options, the
seed, the networks that are trained in the same stack, the machine and its number of threads, the versions, and the
source files of the training. So a command's output never depends on earlier commands. If two processes need the same
model, one trains it, and the other waits and reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

import mi_runner
from mi_runner.machine import hardware, private, sources
from mi_runner.machine.cache import MODELS, say_unusable, shared, usable
from mi_runner.machine.files import sha256, tensors_sha256, written_whole
from mi_runner.machine.kept_digests import kept_digest
from mi_runner.machine.private import NotPrivate
from mi_runner.models import Built
from mi_runner.progress import Progress, log
from mi_runner.training import loop, stacked
from mi_runner.training.epochs import History
from mi_runner.training.options import TrainingOptions
from mi_runner.training.weights import names_of, read_weights, save_weights

WEIGHTS, RECORD, STATE = "model.safetensors", "record.json", "training.pt"

TRAINING = ("mi_runner.training.loop", "mi_runner.training.stacked", "mi_runner.models.*")
"""The modules that train and those of the networks. Their sources decide the weights, and so do those that they import.

Some of the imported modules decide no weights, as `errors`. An edit of one trains each model once more, which costs
time; a list of exceptions could be wrong, which would give other weights than the command gives now. Data sets count by
their content, and a user's own network by `Built.source`.
"""


Train = Callable[
    [Sequence[Built], TrainingOptions, Sequence[int], "Progress | None"], Sequence[History | FloatingPointError]
]
"""Networks, options, their seeds, progress → the history of each network, or the error that ended its training."""


@dataclass(frozen=True)
class Stored:
    """A trained model of the store.

    Attributes:
        path: the weights' file; None if it can't be written.
        sha256: of the weights' file.
        history: a row per epoch of the training.
        trained_now: whether this call trained the model.
    """

    path: Path | None
    sha256: str | None
    history: Sequence[Mapping[str, Any]]
    trained_now: bool


def key(built: Built, training: TrainingOptions, *, seed: int, stack: Sequence[str] = ()) -> str:
    """Returns the hash under which the store keeps a model, in hexadecimal.

    Args:
        stack: for a network in a stack, the keys that all networks of the stack have when trained alone. A network
            trained alone has another key, because its weights differ by rounding.
    """
    device = next((tensor.device for tensor in built.model.state_dict().values()), torch.device("cpu"))
    recipe = {
        "dataset": built.dataset.fingerprint,
        "outputs": built.dataset.outputs.name,  # they decide the loss
        "model": repr(built.model),
        "source": built.source,
        "initial": tensors_sha256(built.model.state_dict()),
        "buffers": tensors_sha256(dict(built.model.named_buffers())),  # includes buffers that aren't saved
        "training": _training(training),
        "seed": seed,
        "stack": list(stack),
        "computed by": _computed_by(device, built, training, n_networks=max(1, len(stack))),
        "mi_runner": mi_runner.__version__,
        "code": _code_digest(),
        "torch": torch.__version__,
    }
    if built.dataset.feature_names is not None:  # the stored file has them
        recipe["feature_names"] = list(built.dataset.feature_names)
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _computed_by(device: torch.device, built: Built, training: TrainingOptions, *, n_networks: int) -> list[str | int]:
    """Returns the processor, instructions and threads of the training, because they decide the order of sums."""
    if device.type == "cuda":
        return [torch.cuda.get_device_name(device)]
    n_threads = loop.threads_for(built.model, built.dataset.x_train, training.batch_size * n_networks)
    return [device.type, hardware.processor(), hardware.instruction_set(), n_threads]


def obtain(
    builts: Sequence[Built],
    training: TrainingOptions,
    *,
    seeds: Sequence[int],
    at_once: int = 1,
    train: Train | None = None,
    progress: Progress | None = None,
) -> list[Stored]:
    """Loads each network's trained weights from the store, or trains the network and stores the weights.

    If the store can't be used, the networks are trained anyway; a line says so once. Networks that say that they are
    not stored are always trained.

    Args:
        builts: the networks with their initial weights, on the device to train on.
        seeds: a seed per network.
        at_once: the largest number of networks in a stack. A stack is loaded or trained as a whole, because rounding
            in a network depends on its stack; a stack of one network is that network alone.
        train: trains the networks of a stack; None: `train_stack`.

    Raises:
        FloatingPointError: a training diverged; the other networks are trained and stored before.
    """
    alone = [key(built, training, seed=seed) for built, seed in zip(builts, seeds, strict=True)]
    obtained: list[Stored | FloatingPointError] = []
    for start in range(0, len(builts), at_once):
        places = range(start, min(start + at_once, len(builts)))
        stack = [alone[place] for place in places] if len(places) > 1 else []
        keys = [key(builts[place], training, seed=seeds[place], stack=stack) for place in places]

        members = [builts[place] for place in places], training, [seeds[place] for place in places], progress
        how = train_keeping if training.keep_epochs and len(places) == 1 and builts[start].stored else train_stack
        obtained += _obtain_together(members[0], keys, partial(train or how, *members))
    diverged = {
        seed: error for seed, error in zip(seeds, obtained, strict=True) if isinstance(error, FloatingPointError)
    }
    stored = [model for model in obtained if isinstance(model, Stored)]
    if len(builts) == 1:
        for error in diverged.values():
            raise error
    elif diverged:
        kept = stored and all(model.path for model in stored)
        others = f" The other {len(stored)} are in the model store." if kept else ""
        errors = " ".join(f"seed={seed}: {error}" for seed, error in diverged.items())
        raise FloatingPointError(f"{len(diverged)} of {len(builts)} networks failed. {errors}{others}")
    loaded = [model for model in stored if not model.trained_now]
    if len(builts) > 1 and loaded:
        log.info(f"{len(loaded)} of {len(builts)} trained models loaded from the model store")
    elif loaded:
        log.info(f"trained model loaded: {loaded[0].path}")
    return stored


def train_stack(
    builts: Sequence[Built], training: TrainingOptions, seeds: Sequence[int], progress: Progress | None
) -> Sequence[History | FloatingPointError]:
    """Trains the networks of a stack and returns each history, or the error that ended the network's training."""
    dataset = builts[0].dataset
    if len(builts) > 1:
        log.info(f"training {len(builts)} networks on {dataset.name}: {len(dataset.x_train):,} examples")
        networks, data = [built.model for built in builts], [built.dataset for built in builts]
        return stacked.train_together(networks, data, training, seeds=seeds, progress=progress)
    (built,), (seed,) = builts, seeds
    log.info(f"training {type(built.model).__name__} on {dataset.name}: {len(dataset.x_train):,} examples")
    try:
        return [loop.train(built.model, dataset, training, seed=seed, progress=progress)]
    except FloatingPointError as error:
        return [error]


def train_keeping(
    builts: Sequence[Built], training: TrainingOptions, seeds: Sequence[int], progress: Progress | None
) -> Sequence[History | FloatingPointError]:
    """Trains a network, continuing from the latest epoch that is stored, and stores each epoch; as `train_stack`.

    The stored weights of an epoch are bit for bit those of a training for so many epochs.
    """
    (built,), (seed,) = builts, seeds
    store = usable(MODELS)
    if store is None:
        return train_stack(builts, training, seeds, progress)
    folders = {
        epochs: store / key(built, replace(training, epochs=epochs), seed=seed)
        for epochs in range(1, training.epochs + 1)
    }
    begun = _latest(list(folders.values())[-2::-1], built.model)
    if begun is not None:
        log.info(f"training continues from epoch {len(begun.history)}, which is stored")
    unwritable = False

    def keep(progressed: loop.Progressed) -> None:
        nonlocal unwritable
        folder = folders[len(progressed.history)]
        try:
            if not unwritable:
                _write_epoch(folder, built, progressed)
        except OSError as error:
            unwritable = True
            say_unusable(error)

    try:
        history = loop.train(
            built.model, built.dataset, training, seed=seed, progress=progress, begun=begun, keep=keep
        )  # fmt: skip
    except FloatingPointError as error:
        return [error]
    return [history]


def _latest(folders: Sequence[Path], network: nn.Module) -> loop.Progressed | None:
    """Loads the first of these epochs that is stored whole into the network; None if none is, or its training ended."""
    for folder in folders:
        if not (folder / STATE).is_file() or (read := _read(folder, network)) is None:
            continue
        stored, weights = read
        if stored.history and stored.history[-1].get("reached"):
            continue
        try:
            private.check(folder / STATE)
            state = torch.load(folder / STATE, weights_only=True)
            begun = loop.Progressed(stored.history, state["optimizer"], state["generators"])
        except Exception as error:  # torch.load raises many kinds for a damaged file
            log.warning(f"the stored training {folder} is damaged and not continued: {error}")
            continue
        network.load_state_dict(weights)
        return begun
    return None


def _write_epoch(folder: Path, built: Built, progressed: loop.Progressed) -> None:
    private.make_folder(folder)
    with written_whole(folder / STATE, private=True) as beside:
        torch.save({"optimizer": progressed.optimizer, "generators": dict(progressed.generators)}, beside)
    _write(folder, built, progressed.history)


def _write(folder: Path, built: Built, history: Sequence[Mapping[str, Any]]) -> str:
    """Stores the weights and their history; returns the sha256 of the weights' file."""
    private.make_folder(folder)
    with written_whole(folder / WEIGHTS, private=True) as beside:
        save_weights(built.model.state_dict(), beside, names_of(built.dataset))
    digest = sha256(folder / WEIGHTS)
    with written_whole(folder / RECORD, private=True) as beside:  # last: a model without a record doesn't count
        tensors = tensors_sha256(built.model.state_dict())
        beside.write_text(json.dumps({"sha256": digest, "tensors": tensors, "history": list(history)}))
    return digest


def _obtain_together(
    builts: Sequence[Built],
    keys: Sequence[str],
    train: Callable[[], Sequence[History | FloatingPointError]],
) -> list[Stored | FloatingPointError]:
    """Returns the trained models of these keys: all from the store or the shared one, or all from `train`."""
    if not all(built.stored for built in builts):
        return [_not_stored(history) for history in train()]
    store, networks = usable(MODELS), [built.model for built in builts]
    folders = [store / key for key in keys] if store is not None else []
    if folders and (loaded := _load(folders, networks)):
        return list(loaded)
    if (others := shared(MODELS)) and (loaded := _load([others / key for key in keys], networks, is_shared=True)):
        return list(loaded)
    if not folders:
        return [_not_stored(history) for history in train()]
    try:
        with _locked(folders[0]):
            # Another process may have trained them while this one waited.
            return list(_load(folders, networks)) or _save(folders, builts, train())
    except _Unwritable as error:
        say_unusable(error)
        return [_not_stored(history) for history in train()]


def _not_stored(history: History | FloatingPointError) -> Stored | FloatingPointError:
    return history if isinstance(history, FloatingPointError) else Stored(None, None, history, True)


class _Unwritable(Exception):
    """The store's lock can't be made."""


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from training the model of this folder, within the block.

    Raises:
        _Unwritable: the lock can't be made.
    """
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), mode=private.FILE)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process trains the same model; waiting for it")
            lock.acquire()
    except (OSError, NotImplementedError) as error:  # NotImplementedError: a file system without locks
        raise _Unwritable(str(error)) from error
    try:
        yield
    finally:
        lock.release()


def _load(folders: Sequence[Path], networks: Sequence[nn.Module], *, is_shared: bool = False) -> list[Stored]:
    """Loads the stored models into the networks; if one is missing or damaged, changes none and returns none."""
    read = [_read(folder, network, is_shared=is_shared) for folder, network in zip(folders, networks, strict=True)]
    complete = [model for model in read if model is not None]
    if len(complete) < len(networks):
        return []
    for network, (_, state) in zip(networks, complete, strict=True):
        network.load_state_dict(state)
    return [stored for stored, _ in complete]


def _read(folder: Path, network: nn.Module, *, is_shared: bool = False) -> tuple[Stored, dict[str, Tensor]] | None:
    """Returns a stored model and its weights with a verified sha256; None if it is missing or damaged.

    Args:
        is_shared: whether it lies in another user's store; otherwise it must be this user's own.
    """
    try:
        for path in (folder, folder / RECORD, folder / WEIGHTS):
            if is_shared:
                private.check_shared(path, folder.parent.stat().st_uid)
            else:
                private.check(path)
        if not ((folder / RECORD).is_file() and (folder / WEIGHTS).is_file()):  # a pipe would never give an end
            raise OSError(f"{RECORD} or {WEIGHTS} is no regular file")
        record = json.loads((folder / RECORD).read_text())
        content = (folder / WEIGHTS).read_bytes()  # once, so that digest and weights are of the same bytes
        digest = hashlib.sha256(content).hexdigest()
        if digest != record["sha256"]:
            raise ValueError(f"sha256 {record['sha256']} expected, {digest} found")
        stored = Stored(folder / WEIGHTS, digest, record["history"], False)
        state = read_weights(folder / WEIGHTS, content)
        shapes, wanted = (
            {name: tensor.shape for name, tensor in tensors.items()} for tensors in (state, network.state_dict())
        )
        if shapes != wanted:
            raise ValueError("its weights have other names or shapes")
        if is_shared and tensors_sha256({name: state[name] for name in network.state_dict()}) != record["tensors"]:
            raise ValueError("its tensors have another digest")
        return stored, state
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:  # a ConfigError is a ValueError
        what = "not read" if isinstance(error, NotPrivate) else "damaged"
        log.warning(f"the stored model {folder} is {what} and will be trained again: {error}")
        return None


def _save(
    folders: Sequence[Path], builts: Sequence[Built], histories: Sequence[History | FloatingPointError]
) -> list[Stored | FloatingPointError]:
    """Stores the trained models, except those that failed; if the disk is full, one warning says so."""
    kept: list[Stored | FloatingPointError] = []
    unwritable: OSError | None = None
    for folder, built, history in zip(folders, builts, histories, strict=True):
        if isinstance(history, FloatingPointError) or unwritable:
            kept.append(_not_stored(history))
            continue
        try:
            digest = _write(folder, built, history)
            kept.append(Stored(folder / WEIGHTS, digest, history, True))
        except OSError as error:
            unwritable = error
            say_unusable(error)
            kept.append(_not_stored(history))
    return kept


@cache
def _code_digest() -> str:
    """Returns a digest of the sources that decide the weights, so that a model is trained again after an edit."""
    package = Path(mi_runner.__file__).parent
    return kept_digest(
        "training", package, lambda: sources.digest(sources.imported_sources(TRAINING, package), package)
    )


def _training(training: TrainingOptions) -> dict[str, Any]:
    """Returns the options that affect training: a regulariser's, and those of stopping, only if used."""
    left_out = {"keep_epochs"}
    if training.stop_steps is None:
        left_out |= {"stop_steps", "stop_examples", "keep_best"}
    if not training.random_labels:
        left_out.add("random_labels")
    if training.regularizer == "none":
        left_out |= {"regularizer_strength", "regularizer_layer", "regularizer_clusters"}
    return {name: value for name, value in asdict(training).items() if name not in left_out}

"""Trained weights, found again by the content of what produced them.

The key is a hash of the data set's content, the network (its description and its initial weights), the training
options, the seed, the versions, and the source files that have a part in training. Where two processes want the same
model, one trains, the other waits and reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

import mi_runner
from mi_runner.cache import cache_folder
from mi_runner.checkpoints import read_weights, save_weights
from mi_runner.config import Regularizer, TrainingConfig
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.files import sha256, written_whole
from mi_runner.models import Built
from mi_runner.progress import log

WEIGHTS, RECORD = "model.safetensors", "record.json"

TRAINING = (
    *("training.py", "stacked_training.py", "regularizers.py", "clusterability.py", "evaluation.py", "chance.py"),
)
"""The sources, besides data sets and models, that decide which weights come out."""


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


def key(built: Built, training: TrainingConfig, *, seed: int) -> str:
    """The hash under which a model is kept, in hexadecimal."""
    device = next((tensor.device.type for tensor in built.model.state_dict().values()), "cpu")
    recipe = {
        "dataset": built.dataset.fingerprint,
        "model": repr(built.model),
        "source": built.source,
        "initial": _digest(built.model.state_dict()),
        "buffers": _digest(dict(built.model.named_buffers())),  # those that are not saved, too
        "training": _training(training),
        "seed": seed,
        "device": device,
        "mi_runner": mi_runner.__version__,
        "code": _code_digest(),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def obtain(
    built: Built,
    training: TrainingConfig,
    train: Callable[[], list[dict[str, Any]]],
    *,
    seed: int,
) -> Stored:
    """Give `built.model` its trained weights: from the store, else by calling `train`, whose result is kept.

    Where the store can't be written the model is trained all the same, and a warning says so.
    """
    folder = cache_folder() / "models" / key(built, training, seed=seed)
    found = _load(folder, built.model)
    if found is not None:
        return found
    try:
        with _locked(folder):
            found = _load(folder, built.model)  # another process may have trained it while we waited
            if found is not None:
                return found
            history = train()
            return _save(folder, built.model, history)
    except _Unwritable as error:
        log.warning(f"the model store {folder.parent} can't be written ({error}): the model is not kept")
        return Stored(None, None, error.history if error.history is not None else train(), True)


def obtain_many(
    builts: Sequence[Built],
    training: TrainingConfig,
    train: Callable[[Sequence[int]], Sequence[list[dict[str, Any]] | RunFailed]],
    *,
    seeds: Sequence[int],
    at_once: int,
) -> list[Stored]:
    """As `obtain` for many networks, those that the store doesn't have trained together.

    Args:
        train: trains the networks at these places; gives a history or an error for each.
        seeds: each network's.
        at_once: how many places `train` takes at the most.

    Raises:
        RunFailed: some could not be trained; by then all others are, and are kept.
    """
    folders = [
        cache_folder() / "models" / key(built, training, seed=seed) for built, seed in zip(builts, seeds, strict=True)
    ]
    found: dict[int, Stored] = {}
    failed: list[RunFailed] = []
    unwritable: OSError | None = None

    def look(places: Sequence[int]) -> list[int]:
        """Those of these places for which the store still has nothing."""
        loaded = {place: _load(folders[place], builts[place].model) for place in places}
        found.update({place: stored for place, stored in loaded.items() if stored is not None})
        return [place for place in places if place not in found]

    missing = look(range(len(builts)))
    while missing:
        with ExitStack() as locks:
            try:
                held = [] if unwritable else _lock_some(missing, folders, at_once, locks)
            except _Unwritable as error:
                unwritable, held = error.cause, []
            # The others' locks are held by processes that train them: they come next, and are then in the store.
            chosen = held or missing[:at_once]
            new = look(held) if held else chosen
            for place, history in zip(new, train(new) if new else (), strict=True):
                if isinstance(history, RunFailed):
                    failed.append(history)
                    continue
                found[place] = Stored(None, None, history, True)
                if not unwritable:
                    try:
                        found[place] = _save(folders[place], builts[place].model, history)
                    except _Unwritable as error:
                        unwritable = error.cause
        missing = [place for place in missing if place not in chosen]
    if unwritable:
        log.warning(f"the model store {folders[0].parent} can't be written ({unwritable}): not all models are kept")
    if failed:
        others = f" The other {len(found)} are in the model store." if found and not unwritable else ""
        raise RunFailed(f"{len(failed)} of {len(builts)} networks failed. {' '.join(map(str, failed))}{others}")
    return [found[place] for place in range(len(builts))]


def _lock_some(missing: Sequence[int], folders: Sequence[Path], at_once: int, locks: ExitStack) -> list[int]:
    """Locks those of the missing models that nobody else has locked; where there are none, waits for one.

    Only who holds no lock waits, so no two processes wait for each other.
    """
    held: list[int] = []
    for place in missing:
        if len(held) == at_once:
            break
        with suppress(Timeout):
            locks.enter_context(_locked(folders[place], wait=False))
            held.append(place)
    if not held:
        locks.enter_context(_locked(folders[missing[0]]))
        held.append(missing[0])
    return held


class _Unwritable(Exception):
    def __init__(self, cause: OSError, history: list[dict[str, Any]] | None = None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.history = history


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Within the block nobody else trains this model; without `wait`, Timeout is raised where somebody does."""
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise
            log.info("another process trains the same model: waiting for it")
            lock.acquire()
    except Timeout:
        raise
    except OSError as error:
        raise _Unwritable(error) from error
    try:
        yield
    finally:
        lock.release()


def _load(folder: Path, model: nn.Module) -> Stored | None:
    """The stored model, its bytes verified; None where there is none, or a damaged one."""
    try:
        record = json.loads((folder / RECORD).read_text())
        digest = sha256(folder / WEIGHTS)
        if digest != record["sha256"]:
            raise ValueError(f"sha256 {record['sha256']} expected, {digest} found")
        stored = Stored(folder / WEIGHTS, digest, record["history"], False)
        # Last, because a model that is trained anew must still have its initial weights.
        model.load_state_dict(read_weights(folder / WEIGHTS))
        return stored
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, ConfigError) as error:
        log.warning(f"the stored model {folder} is damaged and will be trained anew: {error}")
        return None


def _save(folder: Path, model: nn.Module, history: list[dict[str, Any]]) -> Stored:
    try:
        folder.mkdir(exist_ok=True)
        with written_whole(folder / WEIGHTS) as beside:
            save_weights(model.state_dict(), beside)
        digest = sha256(folder / WEIGHTS)
        with written_whole(folder / RECORD) as beside:  # last: a model without a record doesn't count
            beside.write_text(json.dumps({"sha256": digest, "history": history}))
    except OSError as error:
        raise _Unwritable(error, history) from error
    return Stored(folder / WEIGHTS, digest, history, True)


@cache
def _code_digest() -> str:
    """Of the sources that decide which weights come out, so that no edit of them finds an old model."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(
        [*package.glob("datasets/*.py"), *package.glob("models/*.py"), *map(package.joinpath, TRAINING)]
    ):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _training(config: TrainingConfig) -> dict[str, Any]:
    """The options that have a part in training: a regulariser's only if there is one."""
    plain = {name: _plain(value) for name, value in asdict(config).items()}
    if config.regularizer is Regularizer.none:
        return {name: value for name, value in plain.items() if not name.startswith("regularizer_")}
    return plain


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Enum) else value

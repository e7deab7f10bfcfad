"""Loads the weights that a command names: `checkpoint=` a file or a run folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError, as_options, reason
from mi_runner.progress import log
from mi_runner.runs.run_folder import MEMBERS, RECORD, WEIGHTS
from mi_runner.runs.states import read_state
from mi_runner.training.weight_names import fitted
from mi_runner.training.weights import metadata, read_content


@dataclass(frozen=True)
class Checkpoint:
    """Weights that were loaded from a file.

    Attributes:
        path: the file.
        sha256: of the file's bytes.
        state: the model's parameter name → tensor.
    """

    path: Path
    sha256: str
    state: Mapping[str, Tensor]


def load(named: str, model: nn.Module) -> Checkpoint:
    """Loads the weights of `checkpoint=named` into `model` and returns them.

    Names decide which tensor is which (`mi_runner.training.weight_names`); a log line says what is taken otherwise.
    The file is read once, so that digest and weights are of the same bytes.

    Raises:
        ConfigError: the weights are missing or don't fit; the text names the first mismatch.
    """
    expected = None
    try:
        path = Path(named).expanduser()
        if path.is_dir():
            path, expected = _of_run(path)
        if not path.is_file():
            raise ConfigError(f"checkpoint={path}: no such file or run folder.")
        content = path.read_bytes()
    except (OSError, RuntimeError) as error:  # a name that a file can't have, an unknown user after ~
        raise ConfigError(f"checkpoint={named}: {reason(error)}.") from error
    if not content:
        raise ConfigError(f"checkpoint={path}: the file is empty.")
    digest = hashlib.sha256(content).hexdigest()
    if expected is not None and digest != expected:
        raise ConfigError(f"checkpoint={path}: the file has changed: its sha256 is {digest}, run.json says {expected}.")
    with as_options({"path": "checkpoint"}):
        found = fitted(path, read_content(path, content), model.state_dict())
    model.load_state_dict(found.state)
    for note in found.notes:
        log.info(note)
    for warning in found.warnings:
        log.warning(warning)
    return Checkpoint(path, digest, found.state)


def other_names(checkpoint: Checkpoint, dataset: Dataset) -> list[str]:
    """Returns a line for each list of names that a file of weights has otherwise than the data.

    Weights of inputs in another order, or of other classes, fit by their shapes and give wrong figures.
    """
    if checkpoint.path.suffix != ".safetensors":
        return []
    lines = []
    for name in ("feature_names", "class_names"):
        saved, own = metadata(checkpoint.path).get(name), getattr(dataset, name)
        if saved is None or own is None or (names := _names(saved)) is None or names == list(own):
            continue
        place = next(place for place in range(max(len(names), len(own))) if names[place:][:1] != list(own[place:][:1]))
        of_file, of_data = (str(of[place]) if place < len(of) else "none" for of in (names, own))
        lines.append(
            f"checkpoint={checkpoint.path}: its {name} are not those of the data: number {place} is {of_file} in the "
            f"file, {of_data} in the data"
        )
    return lines


def _names(text: str) -> list[str] | None:
    """Returns a list of names that a file has as JSON; None if it is none."""
    try:
        names = json.loads(text)
    except ValueError:
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _of_run(folder: Path) -> tuple[Path, str]:
    """Returns the weights' file of a run, and its sha256 from run.json."""
    found = read_state(folder)
    record = found.record
    if found.status in ("torn", "missing"):
        raise ConfigError(f"checkpoint={folder}: not a run folder, because it has no readable {RECORD}.")
    if found.fault:
        raise ConfigError(f"checkpoint={folder}: {found.fault}. Name the file of the weights instead.")
    if record.status != "done":
        raise ConfigError(
            f"checkpoint={folder}: the run is not done (status {record.status}); name a file, or a run that is."
        )
    digest = record.files.get(WEIGHTS)
    if digest is not None:
        return folder / WEIGHTS, digest
    used = record.checkpoint
    if used is not None and used.path and used.sha256:
        return Path(used.path), used.sha256
    if members := sorted(name for name in record.files if name.startswith(f"{MEMBERS}/")):
        raise ConfigError(
            f"checkpoint={folder}: the run has {len(members)} networks; name one, checkpoint={folder / members[0]}."
        )
    raise ConfigError(f"checkpoint={folder}: the run kept no weights.")

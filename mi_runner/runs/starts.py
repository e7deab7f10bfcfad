"""Which seeds have one network? Those that start from the same weights on the same data.

A factory that calls torch.manual_seed, or takes constant weights, makes all seeds one network, as a checkpoint does. An
interval over such seeds would mean nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mi_runner.errors import listed
from mi_runner.machine.files import tensors_sha256

if TYPE_CHECKING:
    from torch import nn

    from mi_runner.datasets import Dataset

DIGITS = 16

MOST_NAMED = 6


def start_of(model: nn.Module, dataset: Dataset) -> str:
    """Returns sixteen digits of a hash of a network's weights and of its data."""
    text = f"{tensors_sha256(model.state_dict())} {dataset.fingerprint}"
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def shared(starts: Iterable[tuple[Any, str | None]]) -> list[Any]:
    """Returns the seeds that have the commonest start, if several have it; otherwise none.

    Args:
        starts: seeds, and what the network of each starts from; None: not known.
    """
    by_start: dict[str, list[Any]] = {}
    for seed, start in starts:
        if start is not None:
            by_start.setdefault(start, []).append(seed)
    seeds = max(by_start.values(), key=len, default=[])
    return seeds if len(seeds) > 1 else []


def sentence(seeds: Iterable[Any], *, factory: str | None, checkpoint: str | None) -> str:
    """Returns a sentence that says that these seeds have one network, and what to type.

    Args:
        factory: the user's own, if there is one.
        checkpoint: as the command names it.
    """
    named = listed(list(seeds), MOST_NAMED)
    what = "one network" if checkpoint is not None else "one network, but for the order of its batches"
    if checkpoint is not None:
        remedy = f"checkpoint={checkpoint} is one network: leave it out to train one for each seed, or type one seed."
    elif factory is not None:
        remedy = f"Take torch.manual_seed or constant weights out of model.factory={factory}, or type one seed."
    else:
        remedy = "Type one seed."
    return (
        f"seeds {named} start from the same weights on the same data: they are {what}, so there is no interval over "
        f"seeds. {remedy}"
    )

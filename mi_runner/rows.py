"""Which rows of a tensor are equal? Each has a key of few bytes, so that wide rows (images) need no sorting.

Letters: N rows, D distinct ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from mi_runner.batches import batches

MOST_KEY_BYTES = 64
"""The key of a wider row is a digest of it."""


def row_keys(rows: Tensor) -> Iterator[bytes]:
    """Yields a key for each row of `(N, ...)`; rows with equal numbers have equal keys, and −0 equals 0."""
    for batch in batches(rows):
        data = (batch.cpu().numpy() + 0).tobytes()  # −0 + 0 is 0
        width = len(data) // len(batch)
        for start in range(0, len(data), width):
            row = data[start : start + width]
            yield row if width <= MOST_KEY_BYTES else hashlib.blake2b(row, digest_size=16).digest()


def first_of_equal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the index of each row's distinct row `(N,)` int64, and where each distinct row first occurs `(D,)` int64.

    Distinct rows are counted from 0 in the order in which they first occur in `rows` `(N, ...)`.
    """
    seen: dict[bytes, int] = {}
    index: list[int] = []
    first: list[int] = []
    for position, key in enumerate(row_keys(rows)):
        distinct = seen.setdefault(key, len(first))
        if distinct == len(first):
            first.append(position)
        index.append(distinct)
    device = rows.device
    return torch.tensor(index, dtype=torch.int64, device=device), torch.tensor(first, dtype=torch.int64, device=device)

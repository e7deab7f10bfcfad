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
"""A wider row has a digest for a key."""


def row_keys(rows: Tensor) -> Iterator[bytes]:
    """A key of each row of `(N, ...)`, the same for rows of equal numbers; −0 equals 0."""
    for batch in batches(rows):
        data = (batch.cpu().numpy() + 0).tobytes()  # −0 + 0 is 0
        width = len(data) // len(batch)
        for start in range(0, len(data), width):
            row = data[start : start + width]
            yield row if width <= MOST_KEY_BYTES else hashlib.blake2b(row, digest_size=16).digest()


def first_of_equal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Which distinct row each row of `(N, ...)` is, `(N,)` int64, and where each of them occurs first, `(D,)` int64.

    Distinct rows are counted from 0 in the order in which they first occur.
    """
    numbers: dict[bytes, int] = {}
    index: list[int] = []
    first: list[int] = []
    for position, key in enumerate(row_keys(rows)):
        number = numbers.setdefault(key, len(first))
        if number == len(first):
            first.append(position)
        index.append(number)
    device = rows.device
    return torch.tensor(index, dtype=torch.int64, device=device), torch.tensor(first, dtype=torch.int64, device=device)

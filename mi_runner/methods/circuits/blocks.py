"""Distinct examples in blocks of similar ones, of which a census decides many together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mi_runner.methods.circuits.examples import GroupedExamples
from mi_runner.methods.circuits.kernels.lanes import LANES

BLOCK = 128
"""Largest number of examples in a block."""

FEWEST_BLOCKS = 16
"""There are about so many blocks, if there are as many examples."""

PLACES = 32
"""Blocks of several examples begin at multiples of it: loops over them then fill vector registers."""


@dataclass(frozen=True)
class Blocked:
    """Distinct examples, sorted into blocks of similar ones; see `kernels.blocks`.

    Attributes:
        x: `(D, n_0)`, the inputs.
        places: the example at each place of the blocks.
        arrays: the blocks as `kernels.census.count_items` takes them. Their number is a multiple of sixteen, which are
            looked at together; those at the end may have no example.
    """

    x: np.ndarray
    places: np.ndarray
    arrays: tuple[np.ndarray, ...]


def blocked(grouped: GroupedExamples) -> Blocked:
    """Returns the examples in blocks of similar ones, with the same correct answer, that occur equally often."""
    has_several = grouped.wanted.dtype == np.int64
    wanted = grouped.wanted[:, : 1 if has_several else 2]  # what is said of the correct answer
    kinds, kind = np.unique(np.column_stack([wanted, grouped.sizes]), axis=0, return_inverse=True)
    of_example = np.repeat(kind.reshape(-1), np.diff(grouped.groups))
    most = min(BLOCK, -(-len(grouped.x) // FEWEST_BLOCKS))
    blocks, of_block = [], []
    for number in range(len(kinds)):
        for block in _near(grouped.x, np.flatnonzero(of_example == number), most):
            n_places = len(block) if most == 1 else -(-len(block) // PLACES) * PLACES
            blocks.append(np.append(block, np.repeat(block[:1], n_places - len(block))))
            of_block.append((number, len(block), n_places))
    of_block += [(0, 0, 0)] * (-len(blocks) % LANES)
    number, n_real, n_places = np.array(of_block, dtype=np.int64).T.copy()
    equal, answers = kinds[number, -1].astype(np.int64), kinds[number, :-1].T
    starts, sizes = np.concatenate([[0], np.cumsum(n_places)]).astype(np.int64), (n_real * equal).astype(np.int32)
    if has_several:
        targets, bounds = answers[0].astype(np.int64), np.zeros((2, len(number)), dtype=np.float32)
    else:
        targets, bounds = np.zeros_like(number), np.ascontiguousarray(answers, dtype=np.float32)
    return Blocked(grouped.x, np.concatenate(blocks), (starts, n_real, equal, sizes, targets, bounds))


def _near(x: np.ndarray, members: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Yields the members in blocks of at most `most`, by halving along the input with the largest range."""
    if len(members) <= most:
        yield members
        return
    widest = np.argmax(np.ptp(x[members], axis=0))
    ordered = members[np.argsort(x[members, widest], kind="stable")]
    half = len(ordered) // 2
    if most >= PLACES:  # so that few places are left over
        half = -(-half // PLACES) * PLACES
    yield from _near(x, ordered[:half], most)
    yield from _near(x, ordered[half:], most)

"""What the kernel says of runs, by tensor operations on any device.

Sums are products of a sparse matrix, a row for each state or output, and the values so far. They may be added up in
another order than the kernel's, so an output within rounding of an answer's boundary may be on its other side.

Letters: as in `kernel`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mi_runner.methods.circuits.kernels.activations import IDENTITY, LEAKY_RELU, LOG_SOFTMAX, SOFTMAX, TANH
from mi_runner.methods.criteria.kernel import COUNTS, HITS, SQUARES

NUMBERS_AT_ONCE = 50_000_000
"""Values and outputs that are stored at once, 8 bytes each; a few tensors have as many."""

Sums = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Bases; where the terms begin, and the end; refs and weights of the terms."""


@torch.no_grad()
def ask_on(
    device: torch.device,
    what: int,
    given: np.ndarray,
    states: tuple[Sums, np.ndarray],
    activations: tuple[np.ndarray, np.ndarray],
    runs: tuple[Sums, np.ndarray],
    wanted: tuple[int, float, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Returns what is asked of runs: counts or sums of squares `(M,)`, or hits or squares of each row `(M, B)`.

    Args:
        what, given, activations, wanted: as `kernel.ask` takes them.
        states: their sums, and the layer of each.
        runs: the sums of their outputs, and which of the wanted answers is asked of each.
    """
    n_blocks, n_given, block = given.shape
    n_rows = n_given + len(states[1]) + 3 * len(runs[0][0])
    at_once = max(1, NUMBERS_AT_ONCE // (n_rows * block))
    parts = [
        _asked(device, what, given[some], states, activations, runs, (*wanted[:2], wanted[2][some], wanted[3][some]))
        for start in range(0, n_blocks, at_once)
        for some in [slice(start, start + at_once)]
    ]
    return np.sum(parts, axis=0) if what in (COUNTS, SQUARES) else np.concatenate(parts, axis=1)


def _asked(
    device: torch.device,
    what: int,
    given: np.ndarray,
    states: tuple[Sums, np.ndarray],
    activations: tuple[np.ndarray, np.ndarray],
    runs: tuple[Sums, np.ndarray],
    wanted: tuple[int, float, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Returns what `ask_on` returns, in some blocks of rows."""
    values = _rows(given, device)
    sums, layers = states
    for layer in np.unique(layers).tolist():
        some = slice(*np.searchsorted(layers, [layer, layer + 1]).tolist())
        found = _activated(_added(sums, some, values), int(activations[0][layer]), float(activations[1][layer]))
        values = torch.cat([values, found])
    (of_outputs, questions), (kind, slope) = runs, wanted[:2]
    n_runs = len(questions)
    outputs = _added(of_outputs, slice(0, len(of_outputs[0])), values)
    outputs = _activated(outputs.reshape(n_runs, -1, values.shape[1]), kind, slope)
    first, second = (_rows(array, device) for array in wanted[2:])
    if what <= HITS:
        asked = torch.from_numpy(questions).to(device)
        answers = outputs[:, 0] if outputs.shape[1] == 1 else _largest(outputs)
        hits = (answers >= first[asked]) & (answers <= second[asked])
        found = hits.sum(1).double() if what == COUNTS else hits.double()
    else:
        if kind >= SOFTMAX:
            outputs = outputs.log_softmax(1) if kind == LOG_SOFTMAX else outputs.softmax(1)
        squares = (outputs - first).square().mean(1)
        found = squares @ second[0] if what == SQUARES else squares
    return np.asarray(found.cpu().numpy())


def _rows(blocks: np.ndarray, device: torch.device) -> Tensor:
    """Returns numbers `(n, B)` from blocks of rows `(B / BLOCK, n, BLOCK)`."""
    return torch.from_numpy(np.ascontiguousarray(blocks.transpose(1, 0, 2)).reshape(blocks.shape[1], -1)).to(device)


def _added(sums: Sums, some: slice, values: Tensor) -> Tensor:
    """Returns some of the sums, `(S, B)`, of values `(V, B)`."""
    bases, first, refs, weights = sums
    begins = first[some.start : some.stop + 1]
    terms = slice(int(begins[0]), int(begins[-1]))
    rows = np.repeat(np.arange(len(begins) - 1), np.diff(begins))
    matrix = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([rows, refs[terms].astype(np.int64)])),
        torch.from_numpy(np.ascontiguousarray(weights[terms])),
        size=(some.stop - some.start, len(values)),
        dtype=torch.float64,
        device=values.device,
        check_invariants=False,
    )
    return matrix @ values + torch.from_numpy(bases[some]).to(values.device)[:, None]


def _activated(values: Tensor, kind: int, slope: float) -> Tensor:
    """Returns values after an elementwise activation; a softmax is none of each by itself."""
    if kind == IDENTITY or kind >= SOFTMAX:
        return values
    if kind <= LEAKY_RELU:
        return torch.where(values > 0, values, slope * values)
    return values.tanh() if kind == TANH else values.sigmoid()


def _largest(outputs: Tensor) -> Tensor:
    """Returns the number of the largest output `(M, B)` of outputs `(M, n_L, B)`, the first one among equals."""
    n_outputs = outputs.shape[1]
    numbers = torch.arange(n_outputs, device=outputs.device, dtype=outputs.dtype)[None, :, None]
    is_largest = outputs == outputs.amax(1, keepdim=True)
    return torch.where(is_largest, numbers, float(n_outputs)).amin(1)

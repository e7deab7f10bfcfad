"""Additive couplings, forwards, backwards, and their gradients, compiled.

A coupling adds a small network of one half of the coordinates to the other: target += W₂ relu(W₁ source + b₁) + b₂.
With 8 → 16 → 8 units torch spends much of its time on moving such tensors in and out of memory. Here a block of rows
goes through all couplings inside the processor's cache, and the gradient computes the hidden units again instead of
reading them.

A row of memory is one coordinate of a block of rows, so that loops over rows compile to vector instructions. Four
sources are added at a time, because a sum that is loaded and stored for each source waits for the memory. Gradients are
added up in chunks whose number doesn't depend on that of threads, so that results don't either.

Letters: R rows; L couplings; d coordinates, m of a half; h hidden units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from mi_runner.machine.compiled import compiled

BLOCK = 128
"""Rows at once: a coupling's values are 12 KB with halves of 8 coordinates and 16 hidden units."""

CHUNKS = 16
"""Parts of the rows whose gradients are added up apart."""


@compiled(fastmath=True)
def _add_product(weight: Any, source: Any, sign: float, into: Any) -> None:
    """Adds sign · weight @ source to `into`.

    Args:
        weight: `(n, k)`.
        source: `(k, BLOCK)`.
        into: `(n, BLOCK)`.
    """
    n, k = weight.shape
    for row in range(n):
        target = into[row]
        i = 0
        while i + 4 <= k:
            w0, w1, w2, w3 = weight[row, i], weight[row, i + 1], weight[row, i + 2], weight[row, i + 3]
            s0, s1, s2, s3 = source[i], source[i + 1], source[i + 2], source[i + 3]
            for b in range(BLOCK):
                target[b] += sign * (w0 * s0[b] + w1 * s1[b] + w2 * s2[b] + w3 * s3[b])
            i += 4
        while i < k:
            weight_i, source_i = weight[row, i], source[i]
            for b in range(BLOCK):
                target[b] += sign * weight_i * source_i[b]
            i += 1


@compiled(fastmath=True)
def _add_gradient(gradient: Any, source: Any, into: Any, of_bias: Any) -> None:
    """Adds gradient @ sourceᵀ to `into`, and the sums of the gradient's rows to `of_bias`.

    Args:
        gradient: `(n, BLOCK)`.
        source: `(k, BLOCK)`.
        into: `(n, k)`.
        of_bias: `(n,)`.
    """
    n, k = into.shape
    for row in range(n):
        g = gradient[row]
        total = np.float32(0)
        for b in range(BLOCK):
            total += g[b]
        of_bias[row] += total
        i = 0
        while i + 4 <= k:
            s0, s1, s2, s3 = source[i], source[i + 1], source[i + 2], source[i + 3]
            t0, t1, t2, t3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for b in range(BLOCK):
                t0 += g[b] * s0[b]
                t1 += g[b] * s1[b]
                t2 += g[b] * s2[b]
                t3 += g[b] * s3[b]
            into[row, i] += t0
            into[row, i + 1] += t1
            into[row, i + 2] += t2
            into[row, i + 3] += t3
            i += 4
        while i < k:
            s, t = source[i], np.float32(0)
            for b in range(BLOCK):
                t += g[b] * s[b]
            into[row, i] += t
            i += 1


@compiled(fastmath=True)
def _hidden(w1: Any, b1: Any, source: Any, into: Any) -> None:
    """Fills `into` `(h, BLOCK)` with relu(w1 @ source + b1)."""
    for j in range(len(b1)):
        bias, row = b1[j], into[j]
        for b in range(BLOCK):
            row[b] = bias
    _add_product(w1, source, np.float32(1), into)
    for j in range(len(b1)):
        row = into[j]
        for b in range(BLOCK):
            row[b] = max(row[b], np.float32(0))


@compiled(fastmath=True)
def _couple(w2: Any, b2: Any, hidden: Any, sign: float, target: Any) -> None:
    """Adds sign · (w2 @ hidden + b2) to `target` `(m, BLOCK)`."""
    for o in range(len(b2)):
        bias, row = sign * b2[o], target[o]
        for b in range(BLOCK):
            row[b] += bias
    _add_product(w2, hidden, sign, target)


@compiled()
def _read(x: Any, start: int, halves: Any) -> None:
    """Fills `halves` `(2, m, BLOCK)` with the rows of `x` from `start` on; behind its end with 0."""
    m = halves.shape[1]
    n = min(BLOCK, len(x) - start)
    for half in range(2):
        for i in range(m):
            for b in range(n):
                halves[half, i, b] = x[start + b, half * m + i]
            for b in range(n, BLOCK):
                halves[half, i, b] = 0


@compiled()
def _write(halves: Any, start: int, x: Any) -> None:
    """Writes `halves` `(2, m, BLOCK)` into the rows of `x` from `start` on, as many as there are."""
    m = halves.shape[1]
    for b in range(min(BLOCK, len(x) - start)):
        for half in range(2):
            for i in range(m):
                x[start + b, half * m + i] = halves[half, i, b]


@compiled(parallel=True)
def couple(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, inverse: bool, out: Any) -> None:
    """Fills `out` `(R, d)` with the rows of `x` after all couplings, or after their inverses, the last one first.

    Couplings with even numbers change the first half, the others the second.

    Args:
        x: `(R, d)` float32, contiguous.
        w1, b1, w2, b2: `(L, h, m)`, `(L, h)`, `(L, m, h)`, `(L, m)`.
    """
    n_couplings, h, m = w1.shape
    n_blocks = (len(x) + BLOCK - 1) // BLOCK
    sign = np.float32(-1) if inverse else np.float32(1)
    for chunk in prange(CHUNKS):
        halves, hidden = np.empty((2, m, BLOCK), np.float32), np.empty((h, BLOCK), np.float32)
        for block in range(chunk * n_blocks // CHUNKS, (chunk + 1) * n_blocks // CHUNKS):
            _read(x, block * BLOCK, halves)
            for step in range(n_couplings):
                k = n_couplings - 1 - step if inverse else step
                target = k % 2
                _hidden(w1[k], b1[k], halves[1 - target], hidden)
                _couple(w2[k], b2[k], hidden, sign, halves[target])
            _write(halves, block * BLOCK, out)


@compiled(parallel=True)
def gradients(
    x: Any, of_out: Any, w1: Any, b1: Any, w2: Any, b2: Any, inverse: bool, of_x: Any,
    of_w1: Any, of_b1: Any, of_w2: Any, of_b2: Any,
) -> None:  # fmt: skip
    """Fills `of_x` `(R, d)` and adds to the gradients of the parameters, from that of what `couple` gives.

    Args:
        x: what `couple` was given.
        of_out: `(R, d)`, the gradient of what it gave.
        of_w1, of_b1, of_w2, of_b2: `(CHUNKS, L, h, m)`, `(CHUNKS, L, h)`, `(CHUNKS, L, m, h)`, `(CHUNKS, L, m)`; their
            sums over chunks are the gradients.
    """
    n_couplings, h, m = w1.shape
    n_blocks = (len(x) + BLOCK - 1) // BLOCK
    sign = np.float32(-1) if inverse else np.float32(1)
    for chunk in prange(CHUNKS):
        halves, turned_w1, turned_w2 = (
            np.empty((2, m, BLOCK), np.float32),
            w1.transpose(0, 2, 1).copy(),
            w2.transpose(0, 2, 1).copy(),
        )
        sources = np.empty((n_couplings, m, BLOCK), np.float32)
        hidden = np.empty((n_couplings, h, BLOCK), np.float32)
        of_hidden, of_change = np.empty((h, BLOCK), np.float32), np.empty((m, BLOCK), np.float32)
        for block in range(chunk * n_blocks // CHUNKS, (chunk + 1) * n_blocks // CHUNKS):
            _read(x, block * BLOCK, halves)
            for step in range(n_couplings):
                k = n_couplings - 1 - step if inverse else step
                target = k % 2
                sources[k] = halves[1 - target]
                _hidden(w1[k], b1[k], sources[k], hidden[k])
                _couple(w2[k], b2[k], hidden[k], sign, halves[target])
            _read(of_out, block * BLOCK, halves)  # from here on the gradient
            for step in range(n_couplings):
                k = step if inverse else n_couplings - 1 - step
                target = k % 2
                for o in range(m):
                    for b in range(BLOCK):
                        of_change[o, b] = sign * halves[target, o, b]
                _add_gradient(of_change, hidden[k], of_w2[chunk, k], of_b2[chunk, k])
                of_hidden[:] = 0
                _add_product(turned_w2[k], of_change, np.float32(1), of_hidden)
                for j in range(h):
                    for b in range(BLOCK):
                        of_hidden[j, b] = of_hidden[j, b] if hidden[k, j, b] > 0 else np.float32(0)
                _add_gradient(of_hidden, sources[k], of_w1[chunk, k], of_b1[chunk, k])
                _add_product(turned_w1[k], of_hidden, np.float32(1), halves[1 - target])
            _write(halves, block * BLOCK, of_x)

"""The ones of a machine word, by the processor's own instruction where it has one."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from mi_runner.machine.compiled import compiled


def _n_bits(typing_context: Any, word: Any) -> Any:
    """Returns the number of ones of a 64-bit word."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


n_bits: Any = intrinsic(_n_bits)


@compiled()
def lowest_one(word: np.uint64) -> int:
    """Returns the place of the lowest one of a word that isn't 0."""
    return int(np.int64(n_bits((word & (~word + np.uint64(1))) - np.uint64(1))))

"""Counts the ones of a machine word, by the processor's own instruction where it has one."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic


def _n_bits(typing_context: Any, word: Any) -> Any:
    """Returns the number of ones of a 64-bit word."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


n_bits: Any = intrinsic(_n_bits)

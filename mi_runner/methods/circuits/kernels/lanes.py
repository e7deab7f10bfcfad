"""Sixteen numbers at once: what a loop over them would do, as vector instructions whatever the compiler makes of loops.

LLVM makes them one instruction, or two or four of a narrower processor. Sixteen answers are the low bits of a word.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 16


def _vector(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, at: Any) -> tuple[Any, Any]:
    """Returns sixteen numbers of a contiguous array from index `at` on, and the pointer to them."""
    element = context.get_value_type(kind.dtype)
    first = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
    pointer = builder.bitcast(first, ir.VectorType(element, LANES).as_pointer())
    vector = builder.load(pointer)
    vector.align = kind.dtype.bitwidth // 8
    return vector, pointer


def _number(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, at: Any) -> Any:
    """Returns the number of a contiguous array at an index."""
    return builder.load(builder.gep(context.make_array(kind)(context, builder, array).data, [at]))


def _all_equal(builder: ir.IRBuilder, number: Any) -> Any:
    """Returns a vector that has the number sixteen times."""
    kind = ir.VectorType(number.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _word(builder: ir.IRBuilder, answers: Any) -> Any:
    """Returns sixteen answers as the low bits of a word."""
    return builder.zext(builder.bitcast(answers, ir.IntType(LANES)), ir.IntType(64))


def _within(builder: ir.IRBuilder, lower: Any, upper: Any, low: Any, high: Any) -> Any:
    """Returns which lower are at least low while upper is at most high, vectors; none that is NaN."""
    return builder.and_(builder.fcmp_ordered(">=", lower, low), builder.fcmp_ordered("<=", upper, high))


def _sums_between(typing: Any, one: Any, at: Any, other: Any, other_at: Any, low: Any, high: Any) -> Any:
    """Returns for which i the sum one[at + i] + other[other_at + i] lies between low and high, float32."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        one, at, other, other_at, low, high = arguments
        first, _ = _vector(context, builder, signature.args[0], one, at)
        second, _ = _vector(context, builder, signature.args[2], other, other_at)
        z = builder.fadd(first, second)
        return _word(builder, _within(builder, z, z, _all_equal(builder, low), _all_equal(builder, high)))

    return types.uint64(one, types.intp, other, types.intp, types.float32, types.float32), generate


def _are_above(typing: Any, one: Any, at: Any, other: Any, other_at: Any, or_equal: Any) -> Any:
    """Returns for which i one[at + i] is above other[other_at + i], float32, or equal to it, too."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        one, at, other, other_at, or_equal = arguments
        first, _ = _vector(context, builder, signature.args[0], one, at)
        second, _ = _vector(context, builder, signature.args[2], other, other_at)
        above = _word(builder, builder.fcmp_ordered(">", first, second))
        equal = _word(builder, builder.fcmp_ordered("==", first, second))
        return builder.or_(above, builder.select(or_equal, equal, equal.type(0)))

    return types.uint64(one, types.intp, other, types.intp, types.boolean), generate


def _bounds_decide(
    typing: Any, behind_low: Any, behind_high: Any, behind_at: Any, low: Any, high: Any, at: Any, limits: Any,
    limits_at: Any, width: Any,
) -> Any:  # fmt: skip
    """Returns for which i bounds surely, and from bit 16 on for which they possibly lie between limits.

    The bounds are behind_low[behind_at] + low[at + i] and behind_high[behind_at] + high[at + i], float32. The limits
    are limits[limits_at], and further ones every `width` numbers. The bounds surely lie between them if both lie
    between the first two; possibly if the upper one is at least the third and the lower one at most the fourth.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        behind_low, behind_high, behind_at, low, high, at, limits, limits_at, width = arguments
        kinds = signature.args
        sums = []
        for place, numbers in ((0, low), (1, high)):
            vector, _ = _vector(context, builder, kinds[3 + place], numbers, at)
            behind = _number(context, builder, kinds[place], (behind_low, behind_high)[place], behind_at)
            sums.append(builder.fadd(_all_equal(builder, behind), vector))
        bounds = []
        for _ in range(4):
            bounds.append(_all_equal(builder, _number(context, builder, kinds[6], limits, limits_at)))
            limits_at = builder.add(limits_at, width)
        surely = _word(builder, _within(builder, *sums, *bounds[:2]))
        possibly = _word(builder, _within(builder, *sums[::-1], *bounds[2:]))
        return builder.or_(surely, builder.shl(possibly, ir.IntType(64)(LANES)))

    at_of = types.intp
    return types.uint64(behind_low, behind_high, at_of, low, high, at_of, limits, at_of, at_of), generate


def _add_where(typing: Any, numbers: Any, at: Any, word: Any, number: Any) -> Any:
    """Adds a number to numbers[at + i] for each bit i of the word, integers."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        numbers, at, word, number = arguments
        vector, pointer = _vector(context, builder, signature.args[0], numbers, at)
        answers = builder.bitcast(builder.trunc(word, ir.IntType(LANES)), ir.VectorType(ir.IntType(1), LANES))
        more = _all_equal(builder, number)
        added = builder.select(answers, more, ir.Constant(more.type, None))
        builder.store(builder.add(vector, added), pointer).align = signature.args[0].dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.uint64, numbers.dtype), generate


def _at_least(typing: Any, numbers: Any, at: Any, number: Any) -> Any:
    """Returns for which i numbers[at + i] is at least a number, integers."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        numbers, at, number = arguments
        vector, _ = _vector(context, builder, signature.args[0], numbers, at)
        return _word(builder, builder.icmp_signed(">=", vector, _all_equal(builder, number)))

    return types.uint64(numbers, types.intp, numbers.dtype), generate


def _contain(typing: Any, masks: Any, at: Any, mask: Any) -> Any:
    """Returns for which i masks[at + i] has every bit of a mask, integers."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        masks, at, mask = arguments
        vector, _ = _vector(context, builder, signature.args[0], masks, at)
        wanted = _all_equal(builder, mask)
        return _word(builder, builder.icmp_signed("==", builder.and_(vector, wanted), wanted))

    return types.uint64(masks, types.intp, masks.dtype), generate


def _add_all(typing: Any, numbers: Any, at: Any, one: Any, one_at: Any, other: Any, other_at: Any) -> Any:
    """Fills numbers[at + i] with one[one_at + i] + other[other_at + i], float32."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        numbers, at, one, one_at, other, other_at = arguments
        first, _ = _vector(context, builder, signature.args[2], one, one_at)
        second, _ = _vector(context, builder, signature.args[4], other, other_at)
        _, pointer = _vector(context, builder, signature.args[0], numbers, at)
        builder.store(builder.fadd(first, second), pointer).align = signature.args[0].dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(numbers, types.intp, one, types.intp, other, types.intp), generate


def _limits_decide(typing: Any, around: Any, limits: Any, at: Any, width: Any) -> Any:
    """Returns as `bounds_decide` which bounds around[i] and around[16 + i] surely or possibly lie between limits.

    The limits of each are limits[at + i], and further ones every `width` numbers.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        around, limits, at, width = arguments
        lower, _ = _vector(context, builder, signature.args[0], around, at.type(0))
        upper, _ = _vector(context, builder, signature.args[0], around, at.type(LANES))
        bounds = []
        for _ in range(4):
            bounds.append(_vector(context, builder, signature.args[1], limits, at)[0])
            at = builder.add(at, width)
        surely = _word(builder, _within(builder, lower, upper, *bounds[:2]))
        possibly = _word(builder, _within(builder, upper, lower, *bounds[2:]))
        return builder.or_(surely, builder.shl(possibly, ir.IntType(64)(LANES)))

    return types.uint64(around, limits, types.intp, types.intp), generate


def _sum_where(typing: Any, numbers: Any, at: Any, word: Any) -> Any:
    """Returns the sum of numbers[at + i] over the bits i of the word, integers."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        numbers, at, word = arguments
        vector, _ = _vector(context, builder, signature.args[0], numbers, at)
        answers = builder.bitcast(builder.trunc(word, ir.IntType(LANES)), ir.VectorType(ir.IntType(1), LANES))
        vector = builder.select(answers, vector, ir.Constant(vector.type, None))
        return _reduced(builder, vector, builder.add)

    return numbers.dtype(numbers, types.intp, types.uint64), generate


def _extremes_of(typing: Any, numbers: Any, at: Any, n: Any) -> Any:
    """Returns the smallest and the largest of the 16 · n numbers from `at` on, float32 without NaN, n at least 1."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        numbers, at, n = arguments
        kind = signature.args[0]
        first, _ = _vector(context, builder, kind, numbers, at)
        found = [cgutils.alloca_once_value(builder, first) for _ in range(2)]
        with cgutils.for_range(builder, n) as loop:
            here = builder.add(at, builder.mul(loop.index, loop.index.type(LANES)))
            vector, _ = _vector(context, builder, kind, numbers, here)
            for place, order in zip(found, "<>", strict=True):
                best = builder.load(place)
                builder.store(builder.select(builder.fcmp_ordered(order, vector, best), vector, best), place)
        numbers = [
            _reduced(builder, builder.load(place), partial(_first_in, builder, order))
            for place, order in zip(found, "<>", strict=True)
        ]
        return context.make_tuple(builder, signature.return_type, numbers)

    return types.UniTuple(types.float32, 2)(numbers, types.intp, types.intp), generate


def _first_in(builder: ir.IRBuilder, order: str, one: Any, other: Any) -> Any:
    """Returns of two vectors those numbers that come first in an order, < or >."""
    return builder.select(builder.fcmp_ordered(order, one, other), one, other)


def _reduced(builder: ir.IRBuilder, vector: Any, joined: Callable[[Any, Any], Any]) -> Any:
    """Returns what is left of a vector if halves are joined until one number is left."""
    n = LANES
    while n > 1:
        n //= 2
        halves = [
            builder.shuffle_vector(
                vector, vector, ir.Constant(ir.VectorType(ir.IntType(32), n), list(range(first, first + n)))
            )
            for first in (0, n)
        ]
        vector = joined(*halves)
    return builder.extract_element(vector, ir.IntType(32)(0))


def _first_lane(typing: Any, word: Any) -> Any:
    """Returns the first i of which the word, which isn't 0, has the bit."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


first_lane: Any = intrinsic(_first_lane)
add_all: Any = intrinsic(_add_all)
limits_decide: Any = intrinsic(_limits_decide)
sum_where: Any = intrinsic(_sum_where)
extremes_of: Any = intrinsic(_extremes_of)
sums_between: Any = intrinsic(_sums_between)
are_above: Any = intrinsic(_are_above)
bounds_decide: Any = intrinsic(_bounds_decide)
add_where: Any = intrinsic(_add_where)
at_least: Any = intrinsic(_at_least)
contain: Any = intrinsic(_contain)

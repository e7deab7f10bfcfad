"""Boolean functions of two to five inputs: 0/1 in, 0.0 or 1.0 out, one output a function.

The data of Méloux et al., "Is mechanistic interpretability identifiable?" (ICLR 2025), main part. The training set has
noisy copies of the 2ⁿ inputs; the test set is each input once, exactly, in the order 00, 01, 10, 11: the first input is
the most significant bit. A truth table is a string of 2ⁿ digits in this order.

Letters: N examples, n inputs, K functions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.datasets import Dataset, check_room
from mi_runner.datasets.causal_models import CausalModel, LabelTable
from mi_runner.errors import ArgumentError

LEAST_INPUTS, MOST_INPUTS = 2, 5

N_SHIFTED = 1_000

NAMED = {
    "AND": lambda bits: all(bits),
    "OR": lambda bits: any(bits),
    "NAND": lambda bits: not all(bits),
    "NOR": lambda bits: not any(bits),
    "XOR": lambda bits: sum(bits) % 2 == 1,
    "PARITY": lambda bits: sum(bits) % 2 == 1,
    "MAJORITY": lambda bits: 2 * sum(bits) > len(bits),
    "IMP": lambda bits: bits[1] >= bits[0],
    "NIMP": lambda bits: bits[0] > bits[1],
}
"""Name → the function of a row of bits. XOR and PARITY are one function: an odd number of inputs is 1."""

SIZES = {"MAJORITY": (3, 5), "IMP": (2,), "NIMP": (2,)}
"""The numbers of inputs of a named function; the others take any from 2 to 5."""


def load(
    *,
    seed: int = 0,
    limit: int | None = None,
    target: str = "value",
    functions: Sequence[str] = ("XOR",),
    n_inputs: int | None = None,
    noise: float = 0.0,
    frequencies: object = None,
    train_size: int = 1_000,
) -> Dataset:
    """Returns the inputs `(N, n)` and the functions' values: `(N,)` of one function, `(N, K)` of several.

    An input occurs in the training set as often as its frequency says, to the nearest whole number (the largest
    remainders are rounded up). So only their order, noise and random frequencies are drawn.

    Args:
        seed: the order of the training examples, noise and random frequencies derive from it.
        limit: at most this many training and test examples; None: all.
        target: value: an output a function; class: of one function, the classes 0 and 1.
        functions: names (`NAMED`) or truth tables such as "0110", all of one number of inputs.
        n_inputs: n; None: as the truth tables say, otherwise 3 for MAJORITY and PARITY, 2 for the other names.
        noise: standard deviation of what is added to the training inputs.
        frequencies: of the 2ⁿ inputs in the training set: None for equal ones, "random", or 2ⁿ numbers of any sum.
        train_size: training examples.

    Raises:
        ArgumentError: the functions have different numbers of inputs, one is constant, a truth table's length isn't 2ⁿ,
            or the frequencies don't fit; noise or examples are too large.
    """
    given = [str(name) for name in functions]
    n = _n_inputs(given, n_inputs)
    tables = [truth_table(name, n) for name in given]
    for name, table in zip(given, tables, strict=True):
        if len(set(table)) == 1:
            remedy = "Give a function that has both values."
            raise ArgumentError("functions", _shown(given), f"{name} is constant.", remedy)
    if target == "class" and len(tables) > 1:
        one = "{target}=class takes one function;"
        raise ArgumentError(("functions", "target"), _shown(given), one, "use {target}=value.")

    x_test = all_inputs(n)
    values = torch.tensor([[float(digit) for digit in table] for table in tables]).T
    y_test = values[:, 0] if len(tables) == 1 else values
    classes = target == "class"
    if classes:
        y_test = y_test.long()
    check_room(train_size * (32 * n + 64), train_size=train_size)
    counts = _counts(_frequencies(frequencies, 2**n, seed), train_size)
    order = torch.randperm(train_size, generator=chance.generator(seed, "logic", "order"))
    rows = torch.repeat_interleave(torch.arange(2**n), torch.tensor(counts))[order]
    x_train = x_test[rows]
    if noise:
        draw = chance.generator(seed, "logic", "noise")
        x_train = x_train + noise * torch.randn(x_train.shape, generator=draw)
        if not bool(x_train.isfinite().all()):
            raise ArgumentError("noise", noise, f"{{noise}}={noise:g} is too large for float32.", "Type a smaller one.")

    labels = y_test.reshape(*(2,) * n, *y_test.shape[1:])
    causal_model = CausalModel(variable_names(n), x_test[rows].double(), x_test.double(), LabelTable(labels))
    return Dataset(
        name="logic",
        x_train=x_train,
        y_train=y_test[rows],
        x_test=x_test,
        y_test=y_test,
        class_names=("0", "1") if classes else None,
        causal_model=causal_model if len(tables) == 1 else None,
        feature_names=variable_names(n),
        shifted=partial(shifted, n),
    ).limited(limit)


def shifted(n: int, seed: int) -> Tensor:
    """Returns `N_SHIFTED` points uniform in [−½, 3/2]ⁿ, `(N_SHIFTED, n)`: between the exact inputs, and beside them."""
    return 2 * torch.rand(N_SHIFTED, n, generator=chance.generator(seed, "logic", "shift")) - 0.5


def relabelled(dataset: Dataset, tables: Sequence[str]) -> Dataset:
    """Returns the data set with other functions of its inputs: the same training and test inputs, in the same order.

    A noisy training input is that of the exact input it was made from. Where the data set has no causal model to say
    which, it is that of the nearest one.

    Args:
        dataset: of Boolean functions, with values or two classes as targets; its test set is each input once.
        tables: a truth table for each output.
    """
    n = dataset.input_shape[0]
    inputs = dataset.x_train if dataset.causal_model is None else dataset.causal_model.values_train
    exact = inputs.cpu().round().clamp(0, 1).long()
    rows = (exact * 2 ** torch.arange(n - 1, -1, -1)).sum(1)
    values = torch.tensor([[float(digit) for digit in table] for table in tables]).T
    y_test = values[:, 0] if len(tables) == 1 else values
    y_test = y_test.to(dataset.y_test.dtype)
    device = dataset.y_train.device
    return replace(dataset, y_train=y_test[rows].to(device), y_test=y_test.to(device), causal_model=None)


def random_tables(n: int, count: int, *, generator: torch.Generator) -> list[str]:
    """Returns truth tables of n inputs, drawn with replacement; all that are not constant are equally likely."""
    tables: list[str] = []
    while len(tables) < count:
        digits = torch.randint(2, (2**n,), generator=generator).tolist()
        if 0 < sum(digits) < 2**n:
            tables.append("".join(map(str, digits)))
    return tables


def all_inputs(n: int) -> Tensor:
    """Returns each input once, `(2ⁿ, n)` float32, in the order of a truth table."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))


def variable_names(n: int) -> tuple[str, ...]:
    """Returns the names A, B, C, …"""
    return tuple("ABCDEFGHIJ"[:n])


def truth_table(function: str, n: int) -> str:
    """Returns the 2ⁿ digits of a function that is given by name or by truth table.

    Raises:
        ArgumentError: the function has another number of inputs.
    """
    if _is_table(function):
        if len(function) != 2**n:
            problem = f"a truth table of {{n_inputs}}={n} has {2**n} digits, this has {len(function)}."
            raise ArgumentError(("functions", "n_inputs"), f"[{function}]", problem)
        return function
    sizes = SIZES.get(function, range(LEAST_INPUTS, MOST_INPUTS + 1))
    if n not in sizes:
        allowed = " or ".join(map(str, sizes))
        problem = f"{function} has {allowed} inputs, not {{n_inputs}}={n}."
        raise ArgumentError(("functions", "n_inputs"), f"[{function}]", problem)
    return "".join(str(int(NAMED[function](bits))) for bits in itertools.product((0, 1), repeat=n))


def name_of(table: str) -> str:
    """Returns the name of the function with this truth table, or the table itself if it has no name."""
    n = len(table).bit_length() - 1
    for name in NAMED:
        if n in SIZES.get(name, range(LEAST_INPUTS, MOST_INPUTS + 1)) and truth_table(name, n) == table:
            return name
    return table


def _is_table(function: str) -> bool:
    return bool(function) and set(function) <= {"0", "1"}


def _shown(functions: Sequence[str]) -> str:
    return f"[{','.join(functions)}]"


def _n_inputs(functions: Sequence[str], asked: int | None) -> int:
    """Returns the number of inputs of all functions."""
    if not functions:
        raise ArgumentError("functions", "[]", "give at least one,", "such as {functions}=[XOR].")
    sizes = {}
    for function in functions:
        if _is_table(function):
            n = len(function).bit_length() - 1
            if len(function) != 2**n or not LEAST_INPUTS <= n <= MOST_INPUTS:
                digits = f"{function} has {len(function)} digits."
                remedy = "A truth table has 4, 8, 16 or 32: {functions}=[0110]."
                raise ArgumentError("functions", _shown(functions), digits, remedy)
            sizes[function] = n
        elif function not in NAMED:
            remedy = f"Use {', '.join(NAMED)}, or a truth table: {{functions}}=[0110]."
            raise ArgumentError("functions", _shown(functions), f"no function is named {function}.", remedy)
        elif asked is None and function in ("MAJORITY", "PARITY"):
            sizes[function] = 3
        elif function in ("IMP", "NIMP"):
            sizes[function] = 2
    if asked is not None:
        if not LEAST_INPUTS <= asked <= MOST_INPUTS:
            raise ArgumentError("n_inputs", asked, f"use {LEAST_INPUTS} to {MOST_INPUTS}.")
        return asked
    if len(set(sizes.values())) > 1:
        each = ", ".join(f"{function} has {n}" for function, n in sizes.items())
        raise ArgumentError(
            ("functions", "n_inputs"),
            _shown(functions),
            f"they have different numbers of inputs ({each}).",
            "Give functions of one number of inputs, or {n_inputs}.",
        )
    return next(iter(sizes.values()), LEAST_INPUTS)


def _frequencies(given: object, n_rows: int, seed: int) -> list[float]:
    """Returns the frequency of each input; they sum to 1."""
    if given is None:
        return [1 / n_rows] * n_rows
    numbers: list[Any]
    if given == "random":
        # Uniform over all frequencies that sum to 1.
        uniform = torch.rand(n_rows, generator=chance.generator(seed, "logic", "frequencies"), dtype=torch.float64)
        numbers = (-uniform.clamp(min=1e-300).log()).tolist()
    elif isinstance(given, str) or not isinstance(given, Sequence):
        raise ArgumentError("frequencies", given, f"give null, random or a list of {n_rows} numbers.")
    else:
        numbers = list(given)
    if len(numbers) != n_rows or not all(
        isinstance(number, int | float) and math.isfinite(number) and number >= 0 for number in numbers
    ):
        raise ArgumentError("frequencies", given, f"give {n_rows} numbers from 0 on, one for each input.")
    total = math.fsum(numbers)
    if not total:
        raise ArgumentError("frequencies", given, "at least one must be above 0.")
    return [number / total for number in numbers]


def _counts(frequencies: Sequence[float], total: int) -> list[int]:
    """Returns whole numbers with this total, as near to the frequencies as they can be."""
    counts = [math.floor(frequency * total + 1e-9) for frequency in frequencies]
    remainders = [frequency * total - count for frequency, count in zip(frequencies, counts, strict=True)]
    for row in sorted(range(len(counts)), key=lambda row: -remainders[row])[: total - sum(counts)]:
        counts[row] += 1
    return counts

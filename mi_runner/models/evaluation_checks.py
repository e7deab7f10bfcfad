"""Is a network a function of each example alone? Figures of one that isn't depend on chance, or on the batches.

An experiment evaluates a network many times, in batches of different sizes, and compares the outputs. So two
evaluations must agree, an example's outputs must not depend on the examples beside it, and outputs must be numbers.

Rounding differs with the size of a batch, because sums are added in another order. Outputs that differ by no more than
`ROUNDING` of their spread agree. Where they differ by more, as outputs far from 0 do, the network is evaluated in
float64, whose rounding is 10⁹ times smaller: what stays is no rounding. A network that can't be evaluated so may
differ by `ROUNDING_AT_MOST`.

Letters: N examples, K outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, one_line
from mi_runner.models.batches import BATCH, batches, not_finite, outputs_of

EXAMPLES = 256
"""Examples that are evaluated several times, half of them training examples."""

IN_DOUBLES = 64
"""So many of these are evaluated in float64, where a small difference is doubted."""

LOOKED_AT = 2_000
"""Examples of each split whose outputs are looked at before the work, fewer of a network that takes long."""

ROUNDING, ROUNDING_AT_MOST, ROUNDING_OF_DOUBLES = 1e-5, 1e-3, 1e-9
"""Shares of the outputs' spread, the largest distance of an output from its mean over the examples."""

SIZES = (1000, 100)
"""Batches of these sizes are named in an error, with the accuracy in each."""

DRAWS = (
    "forward draws random numbers in evaluation, or keeps state. Draw in training alone: nn.Dropout, "
    "F.dropout(h, p, training=self.training), noise below 'if self.training:'"
)

Correct = Callable[[Tensor, Tensor], Tensor]
"""Whether the outputs `(N, K)` are correct for the targets, `(N,)`."""


def check_evaluation(model: nn.Module, dataset: Dataset, correct: Correct, *, examples: int = EXAMPLES) -> None:
    """Checks that a network's outputs are finite, the same again, and those of each example alone.

    Args:
        model: in evaluation mode, on the data set's device; it and all generators of random numbers stay as they are.
        correct: for the accuracies in an error.
        examples: how many are evaluated several times; fewer of a network that takes long.

    Raises:
        ArgumentError: they aren't; the text has the numbers, and says what to do.
    """
    own = _copy(model)
    parts = (dataset.x_test, (examples + 1) // 2), (dataset.x_train, examples // 2)
    x = torch.cat([inputs[:n] for inputs, n in parts])
    looked_at = LOOKED_AT * min(examples, EXAMPLES) // EXAMPLES
    with torch.no_grad(), chance.kept(of_cuda=True):
        whole = _evaluated(own, x)
        _check_finite(own, whole)
        _check_draws(own, x, whole, dataset, correct)
        _check_batches(own, x, whole, dataset, correct)
        for inputs, n in parts:
            if len(rest := inputs[n:looked_at]):
                _check_finite(own, _evaluated(own, rest))


def _check_finite(model: nn.Module, outputs: Tensor) -> None:
    if text := not_finite(outputs):
        raise ArgumentError("model", None, f"{type(model).__name__}: {text}.")


def _check_draws(model: nn.Module, x: Tensor, first: Tensor, dataset: Dataset, correct: Correct) -> None:
    again = _evaluated(model, x)
    apart = _apart(first, again)
    if apart <= ROUNDING:
        return
    accuracies = [_accuracy(model, dataset, correct, BATCH) for _ in range(2)]
    raise ArgumentError(
        "model",
        None,
        f"{type(model).__name__} gives other outputs when it is evaluated again on the same {len(x)} examples: they "
        f"differ by up to {_most(first, again):.3g}, {apart:.2g} of their spread{_both(accuracies)}: {DRAWS}.",
    )


def _check_batches(model: nn.Module, x: Tensor, whole: Tensor, dataset: Dataset, correct: Correct) -> None:
    n = len(x)
    apart, other = 0.0, 0
    for size in (max(2, n // 3), 1):
        # Of the smallest batches a few will do, and no other batch is as small.
        part = x[: n // size * size] if size > 1 else x[:4]
        try:
            outputs = torch.cat([model(batch) for batch in part.split(size)])
        except Exception as error:
            if size == 1 and 1 not in _last_batches(dataset):
                continue
            raise ArgumentError(
                "model",
                None,
                f"{type(model).__name__} can't be evaluated on a batch of {_examples(size)}: {one_line(error)}. The "
                f"last batch of {len(dataset.x_test):,} test and {len(dataset.x_train):,} training examples may have "
                "any size.",
                "Give BatchNorm its running statistics (track_running_stats=True), squeeze named dimensions alone "
                "(x.squeeze(1)).",
            ) from error
        if outputs.shape != whole[: len(part)].shape:
            of = f"for {len(part)} examples in batches of {size}:"
            problem = f"{type(model).__name__} returns {tuple(outputs.shape)} {of}"
            raise ArgumentError("model", None, problem, "squeeze named dimensions alone (x.squeeze(1)).")
        here = _apart(whole[: len(part)], outputs)
        if here > ROUNDING and not _is_rounding(model, part, size, x, here):
            apart, other = max(apart, here), other or size
    if not other:
        return
    said = [
        f"accuracy {accuracy:.3f} in batches of {size:,}"
        for size in SIZES
        if (accuracy := _accuracy(model, dataset, correct, size)) is not None
    ]
    raise ArgumentError(
        "model",
        None,
        f"{type(model).__name__} gives an example other outputs where other examples are in its batch: in batches of "
        f"{n} and of {other} they differ by {apart:.2g} of their spread{'; ' if said else ''}{', '.join(said)}. So no "
        "figure of it is one of the network alone.",
        "Give BatchNorm its running statistics (track_running_stats=True) and recurrent and attention layers "
        "batch_first=True, and keep means, sorting and softmax over the batch out of forward.",
    )


def _is_rounding(model: nn.Module, part: Tensor, size: int, x: Tensor, apart: float) -> bool:
    """Returns whether batches of this size differ from one of all by rounding only: in float64 they don't.

    Of a small difference some of the examples will do, in batches that are as much smaller, because float64 takes
    many times as long.
    """
    if apart <= ROUNDING_AT_MOST and len(x) > IN_DOUBLES:
        size = max(1, size * IN_DOUBLES // len(x))
        x = x[:IN_DOUBLES]
        part = x[: IN_DOUBLES // size * size] if size > 1 else part[:IN_DOUBLES]
    try:
        exact = copy.deepcopy(model).double()
        if x.is_floating_point():
            x, part = x.double(), part.double()
        whole, pieces = exact(x), torch.cat([exact(batch) for batch in part.split(size)])
    except Exception:
        return apart <= ROUNDING_AT_MOST
    return _apart(whole[: len(part)], pieces) <= ROUNDING_OF_DOUBLES


def _evaluated(model: nn.Module, x: Tensor) -> Tensor:
    return outputs_of(model, x, must_be_finite=False)


def _apart(outputs: Tensor, others: Tensor) -> float:
    """Returns the largest difference, as a share of the outputs' spread and of a hundredth of the largest output.

    The latter is for outputs without a spread, as those of a network that learned nothing, which rounding moves, too.
    """
    most, exact = _most(outputs, others), outputs.double()
    spread = float((exact - exact.mean(0)).abs().max() + exact.abs().max() / 100)
    return most / spread if spread else (float("inf") if most else 0.0)


def _most(outputs: Tensor, others: Tensor) -> float:
    return float((outputs.double() - others.double()).abs().max())


def _accuracy(model: nn.Module, dataset: Dataset, correct: Correct, size: int) -> float | None:
    """Returns the accuracy on the first test examples in batches of this size; None if it can't be computed."""
    try:
        outputs = torch.cat([model(batch) for batch in batches(dataset.x_test[:LOOKED_AT], size)])
        return float(correct(outputs, dataset.y_test[:LOOKED_AT]).double().mean())
    except Exception:
        return None


def _both(accuracies: list[float | None]) -> str:
    first, second = accuracies
    return "" if first is None or second is None else f" (accuracy {first:.3f} and {second:.3f})"


def _last_batches(dataset: Dataset) -> set[int]:
    return {len(x) % BATCH for x in (dataset.x_test, dataset.x_train)}


def _examples(n: int) -> str:
    return "one example" if n == 1 else f"{n} examples"


def _copy(model: nn.Module) -> nn.Module:
    """Returns a copy, as a forward pass may change a network's buffers; the network itself if it can't be copied."""
    try:
        return copy.deepcopy(model).eval()
    except Exception:
        return model

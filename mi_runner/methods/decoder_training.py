"""Decoders of activation images, trained on one or several splits of the images at once.

The decoders of all splits are one stack: each weight is one tensor for all of them, and one computation takes a step of
every decoder. A decoder of a stack is the one that it would be alone, up to rounding: all have the same initial
weights and the same dropout masks, and the order of each split's batches follows from the seed.

Letters: S splits, D distinct examples, H and W height and width of an image, B batch, K kernels of k×k, P positions,
F features, J logits of all variables.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from mi_runner import chance
from mi_runner.machine import threads
from mi_runner.methods.decoder_options import DecoderOptions
from mi_runner.methods.decoding import DecodingSplit, label_columns, losses
from mi_runner.models.activation_decoder import ActivationDecoder
from mi_runner.models.batches import BATCH
from mi_runner.progress import Advance, Progress
from mi_runner.training.epochs import History
from mi_runner.training.loop import threads_for
from mi_runner.training.optimizers import optimizer_named

MOST_STEP_NUMBERS = 100_000_000
"""Numbers (400 MB) that a step of a stack computes at most. More splits are trained in several stacks."""


def train_decoder(
    images: Tensor,
    labels: Mapping[str, Tensor],
    split: DecodingSplit,
    options: DecoderOptions = DecoderOptions(),
    *,
    seed: int = 0,
    **changes: Any,
) -> tuple[ActivationDecoder, History]:
    """Returns a decoder trained on a split's training examples, in evaluation mode, and a row per epoch.

    Arguments, rows and errors are those of `train_decoders`.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import decode, split_images, train_decoder
        >>> labels = {"a": torch.arange(40) % 2}
        >>> images = labels["a"].float()[:, None, None].expand(40, 2, 3) + 0.1 * torch.rand(40, 2, 3)
        >>> split = split_images(images, torch.arange(40), 0.25, seed=0)
        >>> decoder, history = train_decoder(images, labels, split, hidden_sizes=(8,), epochs=2)
        >>> len(history), decode(decoder, images)[0].shape
        (2, torch.Size([40]))
    """
    ((decoder, history),) = train_decoders(images, labels, [split], options, seed=seed, **changes)
    return decoder, history


def train_decoders(
    images: Tensor,
    labels: Mapping[str, Tensor],
    splits: Sequence[DecodingSplit],
    options: DecoderOptions = DecoderOptions(),
    *,
    seed: int = 0,
    progress: Progress | None = None,
    title: str = "decoder",
    **changes: Any,
) -> list[tuple[ActivationDecoder, History]]:
    """Returns for each split a decoder trained on its training examples, in evaluation mode, and a row per epoch.

    The loss is the sum of the variables' cross-entropies in nats. A row has `epoch`; `loss`, the mean loss of the
    training examples during the epoch; `test_loss`, the mean loss of the held-out examples after it; and `accuracy`,
    the fraction of held-out examples with every variable correct.

    Args:
        images: `(D, H, W)`, neither H nor W smaller than a kernel.
        labels: variable → `(D,)` int64, its value on each image, counted from 0.
        splits: which examples each decoder is trained on and tested on, such as those of `split_folds`.
        options: how the decoders are built and trained.
        seed: initial weights, order of the batches and dropout follow from it.
        progress: is told of each epoch.
        title: the name of the progress bar.
        changes: fields of the options with other values, such as `epochs=60`.

    Raises:
        ArgumentError: labels don't fit the images, kernels are larger than an image, or the optimizer is unknown.
        FloatingPointError: the loss is no longer finite; a smaller learning rate may help.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import split_folds, train_decoders
        >>> labels = {"a": torch.arange(40) % 2}
        >>> images = labels["a"].float()[:, None, None].expand(40, 2, 3) + 0.1 * torch.rand(40, 2, 3)
        >>> folds = split_folds(images, torch.arange(40), 4, seed=0)
        >>> [len(history) for _, history in train_decoders(images, labels, folds, hidden_sizes=(8,), epochs=2)]
        [2, 2, 2, 2]
    """
    options = replace(options, **changes)
    columns, n_values = label_columns(labels, images)
    with chance.global_seed(seed, "decoder initialisation"):
        initial = ActivationDecoder(
            (images.shape[1], images.shape[2]),
            n_values,
            kernels=options.kernels,
            kernel_size=options.kernel_size,
            hidden_sizes=options.hidden_sizes,
            dropout=options.dropout,
        ).to(images.device)
    at_once = max(1, MOST_STEP_NUMBERS // (_step_numbers(images, n_values, options) * options.batch_size))
    results: list[tuple[ActivationDecoder, History]] = []
    with (progress or Progress()).bar(title, options.epochs * len(splits)) as advance:
        for start in range(0, len(splits), at_once):
            members = splits[start : start + at_once]
            stack = _Decoders(initial, len(members), options.optimizer, options.learning_rate)
            with threads.exactly(threads_for(initial, images, options.batch_size * len(members))):
                histories = _train(stack, images, columns, members, options, seed=seed, advance=advance)
            results += zip(stack.decoders(), histories, strict=True)
    return results


def _step_numbers(images: Tensor, n_values: Sequence[int], options: DecoderOptions) -> int:
    """Returns how many numbers a decoder computes for an example."""
    positions = math.prod(side - options.kernel_size + 1 for side in images.shape[1:])
    return positions * (options.kernel_size**2 + options.kernels + 1) + 3 * sum(options.hidden_sizes) + sum(n_values)


def _train(
    stack: _Decoders,
    images: Tensor,
    columns: Tensor,
    splits: Sequence[DecodingSplit],
    options: DecoderOptions,
    *,
    seed: int,
    advance: Advance,
) -> list[History]:
    """Trains the stack in place on labels `(D, V)`, and returns each split's history."""
    epochs, batch_size = options.epochs, options.batch_size
    orders = [chance.generator(seed, "decoder batch order") for _ in splits]
    histories: list[History] = [[] for _ in splits]
    active = list(range(len(splits)))
    for epoch in range(1, epochs + 1):
        # Again in each epoch, because splits differ in their numbers of steps.
        draw = chance.generator(seed, "decoder dropout", epoch)
        totals = torch.zeros(len(splits), device=images.device)
        for rows, counts in _batches(splits, orders, active, batch_size):
            totals += stack.step(images, columns, rows, counts, stack.masks(batch_size, draw))
        tested = _tested(stack, images, columns, splits)
        for member in list(active):
            loss = float(totals[member]) / len(splits[member].train)
            if not math.isfinite(loss):
                raise FloatingPointError(f"the decoder's training diverged in epoch {epoch}: the loss is {loss}.")
            test_loss, accuracy = tested[member]
            histories[member].append({"epoch": epoch, "loss": loss, "test_loss": test_loss, "accuracy": accuracy})
            stopped = options.stop_loss is not None and loss <= options.stop_loss
            note = f"loss {loss:.4f}  test loss {test_loss:.4f}  accuracy {accuracy:.4f}"
            advance(epochs - epoch + 1 if stopped else 1, note)
            if stopped:
                active.remove(member)
        if not active:
            break
    return histories


def _batches(
    splits: Sequence[DecodingSplit], orders: Sequence[torch.Generator], active: Sequence[int], batch_size: int
) -> Iterator[tuple[Tensor, list[int]]]:
    """Yields for each step the training examples `(S, B)` and how many of the B are each split's own; the rest fill up.

    Splits that are not active, or whose epoch has fewer steps, have 0.
    """
    longest = max(len(splits[member].train) for member in active)
    shuffled = torch.zeros(len(splits), longest, dtype=torch.int64, device=splits[0].train.device)
    for member in active:
        train = splits[member].train
        shuffled[member, : len(train)] = train[torch.randperm(len(train), generator=orders[member]).to(train.device)]
    for start in range(0, longest, batch_size):
        counts = [0] * len(splits)
        for member in active:
            counts[member] = max(0, min(batch_size, len(splits[member].train) - start))
        yield shuffled[:, start : start + max(counts)], counts


@torch.no_grad()
def _tested(
    stack: _Decoders, images: Tensor, columns: Tensor, splits: Sequence[DecodingSplit]
) -> list[tuple[float, float]]:
    """Returns for each split the mean loss of its held-out examples, and the fraction with every variable correct."""
    n = [len(split.held_out) for split in splits]
    rows = nn.utils.rnn.pad_sequence([split.held_out for split in splits], batch_first=True)
    parts = rows.split(max(1, BATCH // len(splits)), dim=1)
    each_loss, each_correct = [], []
    for part in parts:
        logits, labels = stack.logits(images, part, None), columns[part]
        each_loss.append(losses([one.flatten(0, 1) for one in logits], labels.flatten(0, 1)).view(part.shape))
        predicted = torch.stack([one.argmax(2) for one in logits], 2)
        each_correct.append((predicted == labels).all(2))
    loss, correct = torch.cat(each_loss, 1), torch.cat(each_correct, 1)
    return [
        (float(loss[member, :count].double().mean()), float(correct[member, :count].double().mean()))
        for member, count in enumerate(n)
    ]


class _Decoders:
    """S decoders that begin with the same weights: a row `(S, weights)` each, and the optimizer of all rows."""

    def __init__(self, initial: ActivationDecoder, n: int, optimizer: str, learning_rate: float) -> None:
        self.initial = initial
        parameters = list(initial.parameters())
        self.shapes = [parameter.shape for parameter in parameters]
        self.weights = parameters_to_vector(parameters).detach().repeat(n, 1).requires_grad_()
        # Views of the rows, so that the optimizer keeps count of the steps of each decoder and skips those without a
        # gradient.
        self.rows = list(self.weights.detach())
        self.optimizer = optimizer_named(optimizer, self.rows, learning_rate=learning_rate)

    def step(
        self, images: Tensor, columns: Tensor, rows: Tensor, counts: Sequence[int], masks: Sequence[Tensor] | None
    ) -> Tensor:
        """Does a training step on examples `(S, B)`, of which each decoder takes the first `counts`.

        Returns each decoder's loss `(S,)`, summed over its examples.
        """
        n = torch.tensor(counts, device=images.device)
        taken = torch.arange(rows.shape[1], device=images.device) < n[:, None]
        logits = self.logits(images, rows, masks)
        each = losses([one.flatten(0, 1) for one in logits], columns[rows].flatten(0, 1)).view(rows.shape)
        total = torch.where(taken, each, 0.0).sum(1)
        (gradient,) = torch.autograd.grad((total / n.clamp(min=1)).sum(), self.weights)
        for row, slope, count in zip(self.rows, gradient, counts, strict=True):
            row.grad = slope if count else None
        self.optimizer.step()
        return total.detach()

    def masks(self, batch_size: int, draw: torch.Generator) -> list[Tensor] | None:
        """Returns the factors `(B, F)` of each hidden layer's units: 0, or 1/(1 − dropout)."""
        layers = list(self.initial.hidden)
        dropouts = [layer.p for layer in layers if isinstance(layer, nn.Dropout)]
        sizes = [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]
        if not any(dropouts):
            return None
        drawn = (
            torch.empty(batch_size, size).bernoulli_(1 - dropout, generator=draw).div_(1 - dropout)
            for size, dropout in zip(sizes, dropouts, strict=True)
        )
        return [mask.to(self.weights.device) for mask in drawn]

    def logits(self, images: Tensor, rows: Tensor, masks: Sequence[Tensor] | None) -> tuple[Tensor, ...]:
        """Returns for each variable the logits `(S, B, values)` of examples `(S, B)`, as `ActivationDecoder.forward`.

        Args:
            images: `(D, H, W)`.
            rows: `(S, B)`, which of the images each decoder reads.
            masks: of each hidden layer what its units are multiplied with, `(at least B, F)`; None: nothing.
        """
        kernels, *layers = self._tensors()
        *hidden, (head, bias) = zip(layers[::2], layers[1::2], strict=True)
        few = len(images) <= rows.shape[1]
        features = _filtered(kernels, images[None] if few else images[rows])
        for number, (weight, offset) in enumerate(hidden):
            features = torch.baddbmm(offset[:, None], features, weight.mT).tanh()
            if few and number == 0:  # up to here equal images have equal features, and few images are less work
                features = _taken(features, rows)
            if masks is not None:
                features = features * masks[number][: rows.shape[1]]
        if few and not hidden:
            features = _taken(features, rows)
        return torch.baddbmm(bias[:, None], features, head.mT).split(self.initial.heads.n_values, dim=2)

    def _tensors(self) -> list[Tensor]:
        """Returns each parameter of the decoders, `(S, *shape)`."""
        slices = self.weights.split([shape.numel() for shape in self.shapes], dim=1)
        return [values.view(-1, *shape) for values, shape in zip(slices, self.shapes, strict=True)]

    def decoders(self) -> list[ActivationDecoder]:
        """Returns each decoder as a network of its own, in evaluation mode."""
        made = [copy.deepcopy(self.initial).eval() for _ in self.rows]
        for decoder, row in zip(made, self.rows, strict=True):
            vector_to_parameters(row.clone(), decoder.parameters())
        return made


def _filtered(kernels: Tensor, images: Tensor) -> Tensor:
    """Returns the tanh of the largest response at each position, `(S, B, P)`.

    Args:
        kernels: `(S, K, 1, k, k)`.
        images: `(S, B, H, W)`, or `(1, B, H, W)` for all decoders.
    """
    size = kernels.shape[-1]
    batch, height, width = images.shape[1], *(side - size + 1 for side in images.shape[2:])
    frames = [
        images[:, :, row : row + height, column : column + width].flatten(1)
        for row, column in itertools.product(range(size), repeat=2)
    ]
    responses = kernels.flatten(2) @ torch.stack(frames, 1)  # (S, K, k·k) @ (S, k·k, B·P)
    return responses.amax(1).tanh().view(len(kernels), batch, height * width)


def _taken(features: Tensor, rows: Tensor) -> Tensor:
    """Returns the features `(S, B, F)` of examples `(S, B)` from those of all examples, `(S, D, F)`."""
    first = torch.arange(len(features), device=rows.device)[:, None] * features.shape[1]
    return functional.embedding(rows + first, features.flatten(0, 1))

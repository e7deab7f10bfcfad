"""What can be read from a network's hidden activations alone? A decoder and linear probes answer from their images.

The decoder is a small convolutional network that is trained to tell several variables of an input from the image of its
activations (`mi_runner.methods.activation_images`). A linear probe does the same from any features. Labels that are
shuffled among the inputs show how much a decoder learns by heart (Hewitt & Liang, EMNLP 2019).

Letters: N examples, D distinct ones, H and W height and width of an image, F features, V variables.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner import chance, threads
from mi_runner.batches import batches
from mi_runner.datasets import Dataset
from mi_runner.models.activation_decoder import ActivationDecoder, Heads
from mi_runner.progress import Progress
from mi_runner.rows import first_of_equal
from mi_runner.statistics import ALL, wilson_interval
from mi_runner.training.loop import threads_for
from mi_runner.training.optimizers import optimizer_named, uncompiled

MOST_VALUES = 1000
"""Different values of a variable that is decoded, at most."""

PROBE_STEPS = 200
"""Iterations of L-BFGS for a linear probe, at most."""

Answers = list[Tensor]
"""For each variable the position of the value that was decoded, `(D,)`."""


# --- what is decoded ---------------------------------------------------------------------------------------------


def causal_variables(dataset: Dataset) -> dict[str, Tensor]:
    """The variables of a data set's causal model that are integers, on the test examples: name → `(N,)` int64."""
    model = dataset.causal_model
    columns = zip(model.variables, model.values_test.unbind(1), strict=True) if model is not None else ()
    return {name: column.long() for name, column in columns if _few_integers(column)}


def variables(dataset: Dataset) -> dict[str, Tensor]:
    """What can be asked about the test examples of a data set: name → integers `(N,)` int64.

    These are the label and the variables of the data set's causal model that are integers. A class whose name is a
    number is that number, otherwise its position among the classes.

    Raises:
        ValueError: the target is neither a class nor one of a few integers, or a variable is called as the label is.
    """
    y = dataset.y_test
    if y.dim() > 1 or not _few_integers(y):
        raise ValueError(
            f"what is decoded must be one class an example, or one of at most {MOST_VALUES} different integers. "
            "Store such integers in y."
        )
    label, causal = y.long(), causal_variables(dataset)
    if dataset.label_name in causal:
        raise ValueError(
            f"the causal model has a variable named '{dataset.label_name}', as the label is: rename the variable."
        )
    if dataset.class_names is not None:
        label = torch.tensor(_class_numbers(dataset.class_names), device=y.device)[label]
    found = {dataset.label_name: label, **causal}
    first = {name: found[name] for name in _named_in(dataset.caption or "") if name in found}
    return first | found


def _few_integers(values: Tensor) -> bool:
    return torch.equal(values, values.round()) and len(values.unique()) <= MOST_VALUES


def _class_numbers(names: Sequence[str]) -> list[int]:
    if all(re.fullmatch("0|-?[1-9][0-9]{0,17}", name) for name in names):
        return [int(name) for name in names]
    return list(range(len(names)))


def _named_in(caption: str) -> list[str]:
    """The names that stand in braces."""
    return [name for _, name, _, _ in string.Formatter().parse(caption) if name]


@dataclass(frozen=True)
class Examples:
    """Examples, each distinct one once.

    Attributes:
        x: `(D, *input)`.
        index: `(N,)` int64, which of these each example is.
        values: variable → the integers that it can be, ascending.
        labels: variable → `(D,)` int64, the position of its value in `values`.
        in_words: an example in words, with names of variables in braces; None: names and values.
    """

    x: Tensor
    index: Tensor
    values: Mapping[str, tuple[int, ...]]
    labels: Mapping[str, Tensor]
    in_words: str | None = None

    def __len__(self) -> int:
        return len(self.x)

    def caption(self, example: int) -> str:
        """The example in words: `1 + 0 = 1`, or `digit 7, parity 1, half 3`."""
        value = {name: self.values[name][int(label[example])] for name, label in self.labels.items()}
        if self.in_words is not None and set(_named_in(self.in_words)) <= set(value):
            return self.in_words.format(**value)
        return ", ".join(f"{name} {number}" for name, number in value.items())


def distinct_examples(x: Tensor, variables: Mapping[str, Tensor], *, caption: str | None = None) -> Examples:
    """The examples, each distinct one once, with what can be decoded; a variable that has one value only is left out.

    Args:
        x: `(N, *input)`.
        variables: name → integers `(N,)`.
        caption: an example in words, with names of variables in braces, such as `{a} + {b} = {sum}`.

    Raises:
        ValueError: a variable is not one integer an example, or there is nothing to decode.
    """
    values, labels = {}, {}
    for name, variable in variables.items():
        if variable.shape != x.shape[:1] or not _few_integers(variable):
            raise ValueError(
                f"variables['{name}'] of shape {tuple(variable.shape)}: give an integer for each of the {len(x)} "
                f"examples, at most {MOST_VALUES} different ones."
            )
        possible, label = variable.long().unique(return_inverse=True)
        if len(possible) > 1:
            values[name], labels[name] = tuple(possible.tolist()), label
    if not labels:
        raise ValueError(f"nothing to decode: all examples have the same {', '.join(variables) or '(no variables)'}.")
    index, first = first_of_equal(torch.cat([x.flatten(1), torch.stack(list(labels.values()), 1)], 1))
    return Examples(x[first], index, values, {name: label[first] for name, label in labels.items()}, caption)


def image_numbers(images: Tensor) -> Tensor:
    """`(D,)`: equal images `(D, H, W)` have the same number, counted from 0, the others different ones."""
    return first_of_equal(images.flatten(1))[0]


def shuffled_labels(labels: Mapping[str, Tensor], *, seed: int) -> dict[str, Tensor]:
    """The labels `(D,)` in another order, the same for all variables: they can be learned by heart only."""
    n = len(next(iter(labels.values())))
    order = torch.randperm(n, generator=chance.generator(seed, "shuffled labels"))
    return {name: label[order] for name, label in labels.items()}


# --- the split ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """What a decoder is trained and tested on.

    Attributes:
        train: `(n,)`, the distinct example that each training example is.
        held_out: `(h,)`, the distinct examples that it is tested on, each once: equal ones are answered alike.
        n_shared: of the images of these, how many it is trained on as well.
    """

    train: Tensor
    held_out: Tensor
    n_shared: int


def split_images(images: Tensor, index: Tensor, share: float, *, seed: int) -> Part:
    """Distinct images are held out whole, `share` of them, rounded down.

    Where that is none, `share` of the examples are held out instead; then an image may be in both parts, and
    `n_shared` says how many are.

    Args:
        images: `(D, H, W)`, of each distinct example.
        index: `(N,)`, which of these each example is.
        share: between 0 and 1, both excluded.

    Raises:
        ValueError: the share is not between 0 and 1, or there are fewer than two examples.
    """
    if not 0 < share < 1 or len(index) < 2:
        raise ValueError(f"share={share:g} of {len(index)} examples: give at least 2, and a share between 0 and 1.")
    group = image_numbers(images)
    n_groups = int(group.max()) + 1
    n_held_out = _part_of(n_groups, share)
    draw = chance.generator(seed, "decoder split")
    if n_held_out:
        is_held_out = torch.zeros(n_groups, dtype=torch.bool)
        is_held_out[torch.randperm(n_groups, generator=draw)[:n_held_out]] = True
        is_held_out = is_held_out.to(index.device)[group]
        return Part(index[~is_held_out[index]], is_held_out.nonzero().squeeze(1), 0)
    shuffled = torch.randperm(len(index), generator=draw).to(index.device)
    n_held_out = max(1, _part_of(len(index), share))
    train, held_out = index[shuffled[n_held_out:]], index[shuffled[:n_held_out]].unique()
    return Part(train, held_out, int(torch.isin(group[held_out].unique(), group[train]).sum()))


def _part_of(n: int, share: float) -> int:
    """`share` of n, rounded down, and never all."""
    return min(n - 1, math.floor(share * n + 1e-9))  # because 0.29 · 100 is 28.999999999999996 in floating point


# --- decoding ----------------------------------------------------------------------------------------------------


def train_decoder(
    images: Tensor,
    labels: Mapping[str, Tensor],
    part: Part,
    *,
    kernels: int = 3,
    kernel_size: int = 2,
    hidden_sizes: Sequence[int] = (30, 30),
    dropout: float = 0.5,
    epochs: int = 10,
    batch_size: int = 256,
    learning_rate: float = 1e-2,
    optimizer: str = "adam",
    seed: int = 0,
    progress: Progress | None = None,
    title: str = "decoder",
) -> tuple[ActivationDecoder, list[dict[str, Any]]]:
    """A decoder trained on a part's training examples, in evaluation mode, and a row per epoch.

    A row has the epoch, the mean loss of its training examples, and the accuracy: the share of held-out examples with
    all variables right. The loss is the sum of the variables' cross-entropies.

    Args:
        images: `(D, H, W)`, neither H nor W smaller than `kernel_size`.
        labels: variable → `(D,)` int64, its value on each image, counted from 0.
        part: which images the decoder is trained on, and which it is tested on after each epoch.
        kernels, kernel_size, hidden_sizes, dropout: as `ActivationDecoder` has them.
        epochs: passes over the training examples.
        batch_size: training examples of a step.
        learning_rate: the optimizer's step size.
        optimizer: sgd, adam or adamw.
        seed: initial weights, order of the batches and dropout follow from it.
        progress: hears of each epoch.
        title: how the progress is called.

    Raises:
        ValueError: labels don't fit the images, kernels are larger than an image, or the optimizer is unknown.
        FloatingPointError: the loss is no longer finite; a smaller learning rate may help.
    """
    columns, n_values = _columns(labels, images)
    with chance.global_seed(seed, "decoder initialisation"):
        decoder = ActivationDecoder(
            (images.shape[1], images.shape[2]),
            n_values,
            kernels=kernels,
            kernel_size=kernel_size,
            hidden_sizes=hidden_sizes,
            dropout=dropout,
        ).to(images.device)
    update = optimizer_named(optimizer, list(decoder.parameters()), learning_rate=learning_rate)
    order = chance.generator(seed, "decoder batch order")
    held_out = {name: label[part.held_out] for name, label in labels.items()}
    history: list[dict[str, Any]] = []
    with (
        chance.global_seed(seed, "decoder training"),
        threads.exactly(threads_for(decoder, images, batch_size)),
        (progress or Progress()).bar(title, epochs) as advance,
    ):
        for epoch in range(1, epochs + 1):
            decoder.train()
            total = torch.zeros((), device=images.device)
            for batch in torch.randperm(len(part.train), generator=order).to(images.device).split(batch_size):
                rows = part.train[batch]
                loss = _loss(decoder(images[rows]), columns[rows]).mean()
                update.zero_grad()
                loss.backward()
                update.step()
                total += loss.detach() * len(rows)
            decoder.eval()
            mean = float(total) / len(part.train)
            if not math.isfinite(mean):
                raise FloatingPointError(f"the decoder's training diverged in epoch {epoch}: the loss is {mean}.")
            right = _right(decode(decoder, images[part.held_out]), held_out)
            accuracy = float(right[ALL].double().mean())
            history.append({"epoch": epoch, "loss": mean, "accuracy": accuracy})
            advance(1, f"loss {mean:.4f}  accuracy {accuracy:.4f}")
    decoder.eval()
    return decoder, history


@torch.no_grad()
def decode(decoder: nn.Module, images: Tensor) -> Answers:
    """For each variable the most likely value `(D,)`, as a decoder tells it from images `(D, H, W)`."""
    parts = [[logits.argmax(1) for logits in decoder(part)] for part in batches(images)]
    return [torch.cat(answers) for answers in zip(*parts, strict=True)]


def linear_probe(features: Tensor, labels: Mapping[str, Tensor], train: Tensor, *, penalty: float = 1e-3) -> Answers:
    """For each variable the value `(D,)` that multinomial logistic regression tells from features `(D, F)`.

    It is fitted to the training examples, on which the features are standardised; equal ones count once, with a
    weight. The loss has one minimum, which L-BFGS looks for.

    Args:
        labels: variable → `(D,)` int64, its value on each example, counted from 0.
        train: `(n,)`, the distinct example that each training example is.
        penalty: half of this times the sum of the squared weights is added to the loss. Without it the loss has no
            minimum where the classes can be separated.

    Raises:
        ValueError: labels don't fit the features.
    """
    columns, n_values = _columns(labels, features)
    rows, counts = train.unique(return_counts=True)
    weight = counts / counts.sum()
    mean = weight @ features[rows]
    deviation = (weight @ (features[rows] - mean) ** 2).sqrt()
    standard = (features - mean) / torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))
    probe = Heads(features.shape[1], n_values).to(features.device)
    for parameter in probe.parameters():
        nn.init.zeros_(parameter)
    optimizer = uncompiled(
        torch.optim.LBFGS, list(probe.parameters()), max_iter=PROBE_STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = weight @ _loss(probe(standard[rows]), columns[rows]) + penalty / 2 * probe.linear.weight.square().sum()
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)
    return decode(probe, standard)


def _columns(labels: Mapping[str, Tensor], of: Tensor) -> tuple[Tensor, list[int]]:
    """The labels `(D, V)`, and of each variable how many values it has.

    Raises:
        ValueError: there are none, one is called `all`, or they are not whole numbers from 0 on, one for each row of
            `of`.
    """
    if not labels or ALL in labels:
        raise ValueError(f"labels of {list(labels)}: give at least one variable; '{ALL}' means all of them together.")
    for name, label in labels.items():
        if label.dtype != torch.int64 or label.shape != of.shape[:1] or int(label.min()) < 0:
            raise ValueError(
                f"labels['{name}'] is {label.dtype} of shape {tuple(label.shape)}: give int64 from 0 on, "
                f"({len(of)},), a number for each example."
            )
    return torch.stack(list(labels.values()), 1), [int(label.max()) + 1 for label in labels.values()]


def _loss(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """The sum over variables of the cross-entropy `(B,)` of logits `(B, values)` each, labels `(B, V)`."""
    each = [functional.cross_entropy(one, labels[:, v], reduction="none") for v, one in enumerate(logits)]
    return torch.stack(each).sum(0)


# --- accuracy ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecodingAccuracy:
    """How well a variable is decoded.

    Attributes:
        accuracy: the share of the held-out examples whose value was decoded.
        low, high: its 95 % Wilson interval.
        chance: the share of the training examples that have the commonest value.
        n: held-out examples.
        train_accuracy: the share of the distinct training examples whose value was decoded.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    n: int
    train_accuracy: float


def decoding_accuracy(answers: Answers, labels: Mapping[str, Tensor], part: Part) -> dict[str, DecodingAccuracy]:
    """Variable → how well it is decoded, and `all`: how often all variables of an example are.

    Args:
        answers: of each variable the value `(D,)` that was decoded.
        labels: variable → `(D,)`, what is true.
        part: which examples were trained on, and which were held out.
    """
    of_train = torch.stack([label[part.train] for label in labels.values()], 1)
    trained_on = part.train.unique()
    found = {}
    for number, (name, right) in enumerate(_right(answers, labels).items()):
        of_variable = of_train if name == ALL else of_train[:, [number]]
        n, n_right = len(part.held_out), int(right[part.held_out].sum())
        low, high = wilson_interval(n_right, n)
        found[name] = DecodingAccuracy(
            accuracy=n_right / n,
            low=low,
            high=high,
            chance=int(of_variable.unique(dim=0, return_counts=True)[1].max()) / len(of_train),
            n=n,
            train_accuracy=float(right[trained_on].double().mean()),
        )
    return found


def _right(answers: Answers, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Variable → whether it was decoded, and `all`: whether all were; `(n,)` bool each."""
    right = {name: answer == label for (name, label), answer in zip(labels.items(), answers, strict=True)}
    return {**right, ALL: torch.stack(list(right.values())).all(0)}

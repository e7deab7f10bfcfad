"""What can be read from a network's hidden activations alone? A decoder and linear probes answer from their images.

The decoder is a small convolutional network that is trained to read several variables of an input from the image of its
activations (`mi_runner.methods.activation_images`). A linear probe does the same from any features. Labels that are
shuffled among the inputs show how much a decoder memorises (Hewitt & Liang, EMNLP 2019).

Letters: N examples, D distinct ones, H and W height and width of an image, F features, V variables.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.datasets.distinct import first_of_equal
from mi_runner.errors import ArgumentError
from mi_runner.models.activation_decoder import Heads
from mi_runner.models.batches import batches
from mi_runner.tables.intervals import wilson_interval
from mi_runner.tables.names import ALL
from mi_runner.training.optimizers import uncompiled

MOST_VALUES = 1000
"""Different values of a variable that is decoded, at most."""

PROBE_STEPS = 200
"""Iterations of L-BFGS for a linear probe, at most."""

Logits = list[Tensor]
"""For each variable the logits of its values, `(D, values)`."""

Answers = list[Tensor]
"""For each variable the position of the decoded value, `(D,)`."""


# --- what is decoded ---------------------------------------------------------------------------------------------


def causal_variables(dataset: Dataset) -> dict[str, Tensor]:
    """Returns the integer variables of a data set's causal model on the test examples: name → `(N,)` int64."""
    model = dataset.causal_model
    if model is None:
        return {}
    columns = {name: model.values_test[:, model.column(name)] for name in model.numbers}
    return {name: column.long() for name, column in columns.items() if _few_integers(column)}


def variables(dataset: Dataset) -> dict[str, Tensor]:
    """Returns what can be decoded from the test examples of a data set: name → integers `(N,)` int64.

    These are the label and the variables of the data set's causal model that are integers. A class whose name is a
    number is that number, otherwise its position among the classes.

    Raises:
        ArgumentError: the target is neither a class nor one of a few integers, or a variable has the label's name.
    """
    y = dataset.y_test
    if y.dim() > 1 or not _few_integers(y):
        problem = f"what is decoded must be one class per example, or one of at most {MOST_VALUES} different integers."
        raise ArgumentError("dataset", dataset.name, problem, "Store such integers in y.")
    label, causal = y.long(), causal_variables(dataset)
    if dataset.label_name in causal:
        problem = f"the causal model has a variable named '{dataset.label_name}', as the label is:"
        raise ArgumentError("dataset", dataset.name, problem, "rename the variable.")
    if dataset.class_names is not None:
        label = torch.tensor(class_numbers(dataset.class_names), device=y.device)[label]
    found = {dataset.label_name: label, **causal}
    first = {name: found[name] for name in _named_in(dataset.caption or "") if name in found}
    return first | found


def _few_integers(values: Tensor) -> bool:
    return torch.equal(values, values.round()) and len(values.unique()) <= MOST_VALUES


def class_numbers(names: Sequence[str]) -> list[int]:
    """Returns the numbers by which classes are named, or their positions if a name is not a number."""
    if all(re.fullmatch("0|-?[1-9][0-9]{0,17}", name) for name in names):
        return [int(name) for name in names]
    return list(range(len(names)))


def _named_in(caption: str) -> list[str]:
    """Returns the names that stand in braces."""
    return [name for _, name, _, _ in string.Formatter().parse(caption) if name]


@dataclass(frozen=True)
class Examples:
    """Distinct examples.

    Attributes:
        x: `(D, *input)`.
        index: `(N,)` int64, which distinct example each example is.
        values: variable → its possible integers, ascending.
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
        """Returns the example in words: `1 + 0 = 1`, or `digit 7, parity 1, half 3`."""
        value = {name: self.values[name][int(label[example])] for name, label in self.labels.items()}
        if self.in_words is not None and set(_named_in(self.in_words)) <= set(value):
            return self.in_words.format(**value)
        return ", ".join(f"{name} {number}" for name, number in value.items())


def distinct_examples(x: Tensor, variables: Mapping[str, Tensor], *, caption: str | None = None) -> Examples:
    """Returns the distinct examples with what can be decoded; a variable with a single value is left out.

    Args:
        x: `(N, *input)`.
        variables: name → integers `(N,)`.
        caption: an example in words, with names of variables in braces, such as `{a} + {b} = {sum}`.

    Raises:
        ArgumentError: a variable is not one integer an example, or there is nothing to decode.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import distinct_examples
        >>> x = torch.tensor([[0.0], [1.0], [0.0]])
        >>> examples = distinct_examples(x, {"a": torch.tensor([5, 7, 5])})
        >>> examples.x, examples.labels, examples.values
        (tensor([[0.],
                [1.]]), {'a': tensor([0, 1])}, {'a': (5, 7)})
    """
    values, labels = {}, {}
    for name, variable in variables.items():
        if variable.shape != x.shape[:1] or not _few_integers(variable):
            rule = f"give an integer for each of the {len(x)} examples, at most {MOST_VALUES} different ones."
            raise ArgumentError("variables", None, f"variables['{name}'] of shape {tuple(variable.shape)}:", rule)
        possible, label = variable.long().unique(return_inverse=True)
        if len(possible) > 1:
            values[name], labels[name] = tuple(possible.tolist()), label
    if not labels:
        problem = f"nothing to decode: all examples have the same {', '.join(variables) or '(no variables)'}."
        raise ArgumentError("variables", None, problem)
    index, first = first_of_equal(torch.cat([x.flatten(1), torch.stack(list(labels.values()), 1)], 1))
    return Examples(x[first], index, values, {name: label[first] for name, label in labels.items()}, caption)


def image_numbers(images: Tensor) -> Tensor:
    """Returns a number `(D,)` for each image of `(D, H, W)`, counted from 0; equal images have the same number."""
    return first_of_equal(images.flatten(1))[0]


def shuffled_labels(labels: Mapping[str, Tensor], *, seed: int) -> dict[str, Tensor]:
    """Returns the labels `(D,)` in another order, the same for all variables: they can only be memorised.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import shuffled_labels
        >>> shuffled = shuffled_labels({"a": torch.arange(4), "b": torch.arange(4) + 10}, seed=0)
        >>> sorted(shuffled["a"].tolist()), torch.equal(shuffled["b"], shuffled["a"] + 10)
        ([0, 1, 2, 3], True)
    """
    n = len(next(iter(labels.values())))
    order = torch.randperm(n, generator=chance.generator(seed, "shuffled labels"))
    return {name: label[order] for name, label in labels.items()}


# --- the split ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecodingSplit:
    """The examples that a decoder is trained on and tested on.

    Attributes:
        train: `(n,)`, the distinct example that each training example is.
        held_out: `(h,)`, the distinct examples that it is tested on.
        n_shared: how many images of these it is also trained on.
    """

    train: Tensor
    held_out: Tensor
    n_shared: int


def split_images(images: Tensor, index: Tensor, share: float, *, seed: int) -> DecodingSplit:
    """Returns a split that holds out `share` of the distinct images, rounded down.

    If that is none, `share` of the examples are held out instead. Then an image may be both trained on and held out,
    and `n_shared` counts those.

    Args:
        images: `(D, H, W)`, of each distinct example.
        index: `(N,)`, which of these each example is.
        share: between 0 and 1, both excluded.

    Raises:
        ArgumentError: the share is not between 0 and 1, or there are fewer than two examples.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import split_images
        >>> split = split_images(torch.rand(10, 2, 3), torch.arange(10), 0.3, seed=0)
        >>> len(split.train), len(split.held_out)
        (7, 3)
    """
    if not 0 < share < 1 or len(index) < 2:
        problem = f"{{share}}={share:g} of {len(index)} examples:"
        raise ArgumentError(("share", "index"), share, problem, "give at least 2, and a share between 0 and 1.")
    group = image_numbers(images)
    n_groups = int(group.max()) + 1
    n_held_out = _fraction_of(n_groups, share)
    draw = chance.generator(seed, "decoder split")
    if n_held_out:
        is_held_out = torch.zeros(n_groups, dtype=torch.bool)
        is_held_out[torch.randperm(n_groups, generator=draw)[:n_held_out]] = True
        is_held_out = is_held_out.to(index.device)[group]
        return DecodingSplit(index[~is_held_out[index]], is_held_out.nonzero().squeeze(1), 0)
    shuffled = torch.randperm(len(index), generator=draw).to(index.device)
    n_held_out = max(1, _fraction_of(len(index), share))
    train, held_out = index[shuffled[n_held_out:]], index[shuffled[:n_held_out]].unique()
    return DecodingSplit(train, held_out, int(torch.isin(group[held_out].unique(), group[train]).sum()))


def split_folds(images: Tensor, index: Tensor, folds: int, *, seed: int) -> list[DecodingSplit]:
    """Splits of which each holds out other distinct images, so that together they hold out every image once.

    The folds have equal numbers of distinct images, or numbers that differ by 1. Examples with equal images are held
    out together.

    Args:
        images: `(D, H, W)`, of each distinct example.
        index: `(N,)`, which of these each example is.
        folds: from 2 to the number of different images.

    Raises:
        ArgumentError: there are fewer different images than folds, or fewer than 2 folds.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import split_folds
        >>> folds = split_folds(torch.rand(10, 2, 3), torch.arange(10), 5, seed=0)
        >>> sorted(torch.cat([fold.held_out for fold in folds]).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    group = image_numbers(images)
    n_groups = int(group.max()) + 1
    if not 2 <= folds <= n_groups:
        problem = f"{{folds}}={folds} of {n_groups} different images:"
        raise ArgumentError(("folds", "images"), folds, problem, "give at least 2, and at most one per image.")
    order = torch.randperm(n_groups, generator=chance.generator(seed, "decoder folds"))
    fold_of_group = torch.empty(n_groups, dtype=torch.int64)
    fold_of_group[order] = torch.arange(n_groups) % folds
    fold = fold_of_group.to(index.device)[group]
    return [DecodingSplit(index[fold[index] != k], (fold == k).nonzero().squeeze(1), 0) for k in range(folds)]


def _fraction_of(n: int, share: float) -> int:
    """Returns `share` of n, rounded down, and never all."""
    return min(n - 1, math.floor(share * n + 1e-9))  # because 0.29 · 100 is 28.999999999999996 in floating point


# --- decoding ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def decoded_logits(decoder: nn.Module, images: Tensor) -> Logits:
    """Returns for each variable the logits `(D, values)` that a decoder computes from images `(D, H, W)`."""
    return [torch.cat(logits) for logits in zip(*map(decoder, batches(images)), strict=True)]


def decode(decoder: nn.Module, images: Tensor) -> Answers:
    """Returns for each variable the most likely value `(D,)`, as a decoder reads it from images `(D, H, W)`.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import decode, split_images, train_decoder
        >>> labels = {"a": torch.arange(40) % 2}
        >>> images = labels["a"].float()[:, None, None].expand(40, 2, 3) + 0.1 * torch.rand(40, 2, 3)
        >>> split = split_images(images, torch.arange(40), 0.25, seed=0)
        >>> decoder, _ = train_decoder(images, labels, split, hidden_sizes=(8,), epochs=0)
        >>> decode(decoder, images)[0].shape
        torch.Size([40])
    """
    return [logits.argmax(1) for logits in decoded_logits(decoder, images)]


def linear_probe(features: Tensor, labels: Mapping[str, Tensor], train: Tensor, *, penalty: float = 1e-3) -> Answers:
    """Returns for each variable the value `(D,)` that a linear probe predicts; arguments as for `probe_logits`.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import linear_probe
        >>> features, labels = torch.tensor([[0.0], [1.0], [0.1], [0.9]]), {"a": torch.tensor([0, 1, 0, 1])}
        >>> linear_probe(features, labels, train=torch.tensor([0, 1]))
        [tensor([0, 1, 0, 1])]
    """
    return [logits.argmax(1) for logits in probe_logits(features, labels, train, penalty=penalty)]


def probe_logits(features: Tensor, labels: Mapping[str, Tensor], train: Tensor, *, penalty: float = 1e-3) -> Logits:
    """Returns for each variable the logits `(D, values)` of multinomial logistic regression on features `(D, F)`.

    It is fitted to the training examples, on which the features are standardised; equal ones count once, with a
    weight. The loss has a single minimum, which L-BFGS searches for.

    Args:
        labels: variable → `(D,)` int64, its value on each example, counted from 0.
        train: `(n,)`, the distinct example that each training example is.
        penalty: half of this times the sum of the squared weights is added to the loss. Without it the loss has no
            minimum where the classes can be separated.

    Raises:
        ArgumentError: labels don't fit the features.
    """
    columns, n_values = label_columns(labels, features)
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

    seen, of_seen = standard[rows], columns[rows]

    def closure() -> float:
        optimizer.zero_grad()
        loss = weight @ losses(probe(seen), of_seen) + penalty / 2 * probe.linear.weight.square().sum()
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)
    return decoded_logits(probe, standard)


def label_columns(labels: Mapping[str, Tensor], examples: Tensor) -> tuple[Tensor, list[int]]:
    """Returns the labels `(D, V)`, and how many values each variable has.

    Args:
        labels: variable → `(D,)` int64, counted from 0.
        examples: `(D, ...)`.

    Raises:
        ArgumentError: there are no labels, a variable is named `all`, or its labels are not D integers from 0 on.
    """
    if not labels or ALL in labels:
        rule = f"give at least one variable; '{ALL}' means all of them together."
        raise ArgumentError("labels", None, f"labels of {list(labels)}:", rule)
    for name, label in labels.items():
        if label.dtype != torch.int64 or label.shape != examples.shape[:1] or int(label.min()) < 0:
            problem = f"labels['{name}'] is {label.dtype} of shape {tuple(label.shape)}:"
            rule = f"give int64 from 0 on, ({len(examples)},), a number for each example."
            raise ArgumentError("labels", None, problem, rule)
    return torch.stack(list(labels.values()), 1), [int(label.max()) + 1 for label in labels.values()]


def losses(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Returns the cross-entropy `(B,)` in nats, summed over variables, of logits `(B, values)` and labels `(B, V)`."""
    each = [functional.cross_entropy(one, labels[:, v], reduction="none") for v, one in enumerate(logits)]
    return torch.stack(each).sum(0)


# --- accuracy ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecodingAccuracy:
    """How well a variable is decoded.

    Attributes:
        accuracy: the fraction of the held-out examples whose value was decoded.
        low, high: its 95 % Wilson interval.
        chance: the accuracy on the same held-out examples of always answering the value that is commonest among the
            training examples, the lowest of several.
        n: held-out examples.
        train_accuracy: the fraction of the distinct training examples whose value was decoded.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    n: int
    train_accuracy: float


def decoding_accuracy(
    answers: Answers, labels: Mapping[str, Tensor], split: DecodingSplit
) -> dict[str, DecodingAccuracy]:
    """Returns variable → how well it is decoded, and `all`: how often all variables of an example are.

    Args:
        answers: of each variable the decoded value `(D,)`.
        labels: variable → `(D,)`, the true values.
        split: which examples were trained on, and which were held out.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import decoding_accuracy, split_images
        >>> labels = {"a": torch.arange(8) % 2}
        >>> split = split_images(torch.rand(8, 2, 2), torch.arange(8), 0.5, seed=0)
        >>> decoding_accuracy([labels["a"]], labels, split)["a"].accuracy
        1.0
    """
    labels_of = torch.stack(list(labels.values()), 1)
    trained_on = split.train.unique()
    accuracies = {}
    for column, (name, correct) in enumerate(_correct(answers, labels).items()):
        of_variable = slice(None) if name == ALL else slice(column, column + 1)
        values, counts = labels_of[split.train][:, of_variable].unique(dim=0, return_counts=True)
        commonest = values[int(counts.argmax())]
        accuracies[name] = _accuracy(
            int(correct[split.held_out].sum()),
            len(split.held_out),
            float((labels_of[split.held_out][:, of_variable] == commonest).all(1).double().mean()),
            float(correct[trained_on].double().mean()),
        )
    return accuracies


def folds_accuracy(
    answers: Sequence[Answers], labels: Mapping[str, Tensor], splits: Sequence[DecodingSplit]
) -> dict[str, DecodingAccuracy]:
    """Returns variable → how well it is decoded over all folds, and `all`.

    The held-out examples of all folds count together, for `chance` too: each fold's are answered with the commonest
    value of its own training examples. `train_accuracy` is the mean over the folds, weighted by their held-out
    examples. The Wilson interval takes the examples as independent; decoders of different folds share most of their
    training examples, so it is approximate.

    Args:
        answers: of each fold what its decoder answers on all examples.
        labels: variable → `(D,)`, the true values.
        splits: the folds.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import folds_accuracy, split_folds
        >>> labels = {"a": torch.arange(8) % 2}
        >>> folds = split_folds(torch.rand(8, 2, 2), torch.arange(8), 2, seed=0)
        >>> folds_accuracy([[labels["a"]]] * 2, labels, folds)["a"].accuracy
        1.0
    """
    each = [decoding_accuracy(own, labels, split) for own, split in zip(answers, splits, strict=True)]
    accuracies = {}
    for name in each[0]:
        of_name = [accuracy[name] for accuracy in each]
        n = sum(one.n for one in of_name)
        accuracies[name] = _accuracy(
            sum(round(one.accuracy * one.n) for one in of_name),
            n,
            sum(one.chance * one.n for one in of_name) / n,
            sum(one.train_accuracy * one.n for one in of_name) / n,
        )
    return accuracies


def folds_loss(
    logits: Sequence[Logits], labels: Mapping[str, Tensor], splits: Sequence[DecodingSplit]
) -> dict[str, float]:
    """Returns variable → the mean cross-entropy of the held-out examples of all folds in nats, and `all`: their sum.

    Args:
        logits: of each fold what its decoder computes on all examples.
        labels: variable → `(D,)`, the true values.
        splits: the folds.
    """
    total, n = {name: 0.0 for name in labels}, sum(len(split.held_out) for split in splits)
    for own, split in zip(logits, splits, strict=True):
        for (name, label), values in zip(labels.items(), own, strict=True):
            rows = split.held_out
            total[name] += float(functional.cross_entropy(values[rows].double(), label[rows], reduction="sum"))
    means = {name: value / n for name, value in total.items()}
    return {**means, ALL: math.fsum(means.values())}


def _accuracy(n_correct: int, n: int, chance: float, train_accuracy: float) -> DecodingAccuracy:
    low, high = wilson_interval(n_correct, n)
    return DecodingAccuracy(n_correct / n, low, high, chance, n, train_accuracy)


def _correct(answers: Answers, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns variable → whether it was decoded, and `all`: whether all were; `(n,)` bool each."""
    correct = {name: answer == label for (name, label), answer in zip(labels.items(), answers, strict=True)}
    return {**correct, ALL: torch.stack(list(correct.values())).all(0)}

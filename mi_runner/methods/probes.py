"""Can a variable be read from a site's value by a linear probe? Ridge regression in closed form, with cross-validation.

A probe is a linear function of a site's units, with a bias. It minimises the squared error on its training examples
plus λ times the squared norm of its weights, where λ = c·trace(K)/n: K is the Gram matrix of the centred training
examples, n their number. For each fold and target, c is the penalty with the least error on training examples that are
set aside; then the probe is fitted to all training examples of the fold.

One Gram matrix serves all targets, folds and penalties: of units or of examples, whichever are fewer.

Letters: N examples, d units, F folds, K columns of a target, T columns of all targets together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mi_runner.errors import ArgumentError
from mi_runner.models.batches import batches
from mi_runner.tables.intervals import Z_95, wilson_interval

PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""The values of c to choose from."""

MOST_CHOOSING = 2_000
"""Training examples of a fold that choose c; four fifths of them fit the probes that are compared on the others."""

MOST_CLASSES = 20
"""A variable with at most this many values, all of them integers, is a class; any other is a value."""

SAMPLED = 1_024
"""Examples whose span is tried as that of all examples; a quarter as many are added to them at a time."""

DIRECTIONS = 16
"""Random directions that estimate how far outside of a span examples are."""

LEFT_OUT = 1e-11
"""Features lie in a span if at most this share of their squares is outside: far less than the smallest penalty adds."""

FEW = 256
"""Rows that are centred at once."""

BLOCK = 1_024
"""Rows of a product that are computed at once; its upper half is copied from the lower one."""


@dataclass(frozen=True)
class HeldOut:
    """What probes predict for examples that they were not fitted to.

    Attributes:
        predictions: target → `(N, K)` float64.
        penalties: target → the c of each fold.
    """

    predictions: Mapping[str, Tensor]
    penalties: Mapping[str, tuple[float, ...]]


@torch.no_grad()
def probe(
    features: Tensor,
    targets: Mapping[str, Tensor],
    folds: Sequence[Tensor],
    *,
    penalties: Sequence[float] = PENALTIES,
    generator: torch.Generator,
) -> HeldOut:
    """Returns the predictions of each target for each fold, by probes that are fitted to the other folds.

    Args:
        features: `(N, *site)`, a site's values.
        targets: name → `(N, K)`: values, or a column of 0 and 1 for each class. The columns of a target share c.
        folds: indices of examples, each example in one fold.
        penalties: the values of c to choose from.
        generator: draws the examples that choose c.

    Raises:
        ArgumentError: features or targets aren't finite or don't fit, a penalty isn't above 0, or there are too few
            examples or folds.

    Example:
        >>> import torch
        >>> from mi_runner.probes import Target, probe, split_folds
        >>> draw = torch.Generator().manual_seed(0)
        >>> features = torch.randn(60, 3, generator=draw)
        >>> target = Target((2 * features[:, 0] - features[:, 1]).double(), classes=None)
        >>> folds = split_folds(60, 3, generator=draw)
        >>> held_out = probe(features, {"area": target.columns}, folds, generator=draw)
        >>> held_out.predictions["area"].shape
        torch.Size([60, 1])
    """
    n = len(features)
    _check_given(targets, penalties)
    y = torch.cat(list(targets.values()), 1).double()
    _check(features, y, folds)
    x = concise(features.flatten(1), generator=generator)
    columns = torch.arange(y.shape[1]).split([target.shape[1] for target in targets.values()])
    smallest = n - max(map(len, folds))
    systems = (_of_units if x.shape[1] <= smallest else _of_examples)(x, y, folds)
    predictions = torch.empty_like(y)
    chosen: dict[str, list[float]] = {name: [] for name in targets}
    for number, (fold, system) in enumerate(zip(folds, systems, strict=True)):
        training = torch.cat([other for place, other in enumerate(folds) if place != number])
        best = _chosen(x, y, training, columns, penalties, generator)
        for name, c in zip(targets, best, strict=True):
            chosen[name].append(c)
        for c in sorted(set(best)):
            of_c = torch.cat([own for own, penalty in zip(columns, best, strict=True) if penalty == c])
            predictions[fold[:, None], of_c] = system.predictions(c, of_c)
    split = predictions.split([len(own) for own in columns], 1)
    return HeldOut(dict(zip(targets, split, strict=True)), {name: tuple(each) for name, each in chosen.items()})


def split_folds(n: int, n_folds: int, *, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Returns the indices of n examples in random order, in folds of sizes as equal as possible.

    Raises:
        ArgumentError: there are fewer than two folds, or fewer examples than folds.

    Example:
        >>> import torch
        >>> from mi_runner.probes import split_folds
        >>> [len(fold) for fold in split_folds(10, 3, generator=torch.Generator().manual_seed(0))]
        [4, 3, 3]
    """
    if not 2 <= n_folds <= n:
        raise ArgumentError("n_folds", n_folds, f"{n} examples: give at least 2, and at most one per example.")
    return torch.randperm(n, generator=generator).tensor_split(n_folds)


def _check_given(targets: Mapping[str, Tensor], penalties: Sequence[float]) -> None:
    if not targets:
        raise ArgumentError("targets", None, "{targets}: give at least one.")
    for name, columns in targets.items():
        if columns.dim() != 2 or len(columns) != len(next(iter(targets.values()))):
            rule = "give (N, K), of equally many examples as the others."
            raise ArgumentError("targets", None, f"targets['{name}'] of shape {tuple(columns.shape)}:", rule)
    if not penalties or not all(0 < penalty < math.inf for penalty in penalties):
        raise ArgumentError("penalties", list(penalties), "give at least one number, each above 0.")


def _check(features: Tensor, y: Tensor, folds: Sequence[Tensor]) -> None:
    n = len(features)
    if len(y) != n:
        problem = f"targets have {len(y)} rows, features {n}:"
        raise ArgumentError(("targets", "features"), None, problem, "give equally many.")
    if len(folds) < 2 or not torch.equal(torch.cat(list(folds)).sort().values.cpu(), torch.arange(n)):
        rule = f"give at least two, with each of the {n} examples in one of them."
        raise ArgumentError("folds", None, "{folds}:", rule)
    if n - max(map(len, folds)) < 4:
        problem = f"{n} examples in {len(folds)} folds: a fold needs at least 4 examples outside of it."
        raise ArgumentError("folds", None, problem)
    for name, values in (("features", features), ("targets", y)):
        if not all(map(math.isfinite, map(float, values.aminmax()))):  # no tensor as large as the values
            raise ArgumentError(name, None, f"{name} have values that are not finite.")


# --- one regression --------------------------------------------------------------------------------------------------


@dataclass
class _System:
    """The linear equations of ridge regression for any penalty.

    Attributes:
        gram: of the training examples' centred features: `(d, d)` of units, or `(n, n)` of examples.
        right: the right-hand sides `(d, T)` or `(n, T)`.
        new: what the solution is multiplied with: `(n_new, d)` or `(n_new, n)`.
        mean: `(T,)` of the training targets.
        n: training examples.
    """

    gram: Tensor
    right: Tensor
    new: Tensor
    mean: Tensor
    n: int

    def predictions(self, c: float, columns: Tensor | slice = slice(None)) -> Tensor:
        """Returns the predictions `(n_new, K)` of these columns of the targets."""
        diagonal = self.gram.diagonal()
        kept = diagonal.clone()
        diagonal += c * float(kept.sum()) / self.n or 1.0  # where no unit varies, the prediction is the mean
        factor = torch.linalg.cholesky(self.gram)
        diagonal.copy_(kept)
        return self.new @ torch.cholesky_solve(self.right[:, columns], factor) + self.mean[columns]


def ridge(x: Tensor, y: Tensor, new: Tensor) -> _System:
    """Returns the ridge regression of targets `(n, T)` on features `(n, d)` for features `(n_new, d)`; float64."""
    mean, of_targets = x.mean(0), y.mean(0)
    x, new, right = x - mean, new - mean, y - of_targets
    if x.shape[1] <= len(x):
        return _System(_products(x.T), x.T @ right, new, of_targets, len(x))
    return _System(_products(x), right, new @ x.T, of_targets, len(x))


def _chosen(
    x: Tensor, y: Tensor, training: Tensor, columns: Sequence[Tensor], penalties: Sequence[float],
    generator: torch.Generator,
) -> list[float]:  # fmt: skip
    """Returns for each target the penalty with the least squared error on examples set aside; the largest of equal."""
    if len(penalties) == 1:
        return [penalties[0]] * len(columns)
    drawn = training[torch.randperm(len(training), generator=generator).to(training.device)][:MOST_CHOOSING]
    apart, fitted = drawn.tensor_split([max(1, len(drawn) // 5)])
    system = ridge(x[fitted].double(), y[fitted], x[apart].double())
    largest_first = sorted(penalties, reverse=True)
    errors = torch.stack([(system.predictions(c) - y[apart]).square().sum(0) for c in largest_first])
    return [largest_first[int(errors[:, own].sum(1).argmin())] for own in columns]


# --- all folds from one Gram matrix -----------------------------------------------------------------------------------


def _of_units(x: Tensor, y: Tensor, folds: Sequence[Tensor]) -> Iterator[_System]:
    """Yields for each fold the regression on the others: the sums over all folds without its own."""
    centre = x.mean(0, dtype=torch.float64)  # near the means of all folds, so that little cancels
    parts = []
    for fold in folds:
        own = x[fold].double() - centre
        parts.append((_products(own.T), own.T @ y[fold], own.sum(0), y[fold].sum(0)))
    totals = [torch.stack(terms).sum(0) for terms in list(zip(*parts, strict=True))[1:]]
    total = sum(part[0] for part in parts)
    for fold, part in zip(folds, parts, strict=True):
        n = len(x) - len(fold)
        product, units, targets = (whole - own for whole, own in zip(totals, part[1:], strict=True))
        mean, of_targets = units / n, targets / n
        gram = total - part[0] - n * mean[:, None] * mean
        yield _System(
            gram, product - n * mean[:, None] * of_targets, x[fold].double() - centre - mean, of_targets, n
        )  # fmt: skip


def _of_examples(x: Tensor, y: Tensor, folds: Sequence[Tensor]) -> Iterator[_System]:
    """Yields for each fold the regression on the others: their rows and columns of the products of all examples."""
    products = _products(x.double() - x.mean(0, dtype=torch.float64))
    for number, fold in enumerate(folds):
        training = torch.cat([other for place, other in enumerate(folds) if place != number])
        gram = products[training[:, None], training]
        means = gram.mean(0)
        new = products[fold[:, None], training]
        new += means.mean() - means - new.mean(1, keepdim=True)
        gram += means.mean() - means - means[:, None]
        of_targets = y[training].mean(0)
        yield _System(gram, y[training] - of_targets, new, of_targets, len(training))


def _products(x: Tensor) -> Tensor:
    """Returns `x @ x.T`, with half of the multiplications."""
    n = len(x)
    products = x.new_empty(n, n)
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        torch.mm(x[start:], x[rows].T, out=products[start:, rows])
        products[rows, start + BLOCK :] = products[start + BLOCK :, rows].T
    return products


def concise(features: Tensor, *, generator: torch.Generator) -> Tensor:
    """Returns the features, or fewer with the same products of examples if they lie in a span of few dimensions.

    The units of a layer with fewer inputs than outputs, before its activation function, are such. A rotation of the
    features changes no ridge regression. The span is that of some examples: at random ones first, then those that are
    furthest outside of the span before. How far outside examples are is estimated from a few random directions that
    are orthogonal to the span, so that the features are projected once, in their own precision.

    Args:
        features: `(N, d)`.
        generator: draws the examples whose span is tried, and the directions.

    Returns:
        `(N, r)` of the same dtype, r ≤ d/2; or the features themselves.
    """
    n, d = features.shape
    if min(n, d) < 2 * SAMPLED:
        return features
    centre = features.mean(0)  # any would do that is near the mean
    squares = sum(float((part - centre).square().sum(dtype=torch.float64)) for part in batches(features, FEW))
    sample = torch.randperm(n, generator=generator)[:SAMPLED].to(features.device)
    # A copy of the generator, so that what is drawn next doesn't depend on the number of directions.
    directions = torch.randn(d, DIRECTIONS, generator=generator.clone_state(), dtype=torch.float64).to(features.device)
    basis = directions.new_empty(d, 0)
    least: Tensor | None = None
    while basis.shape[1] <= d // 2:
        spanning = _orthogonal(features[sample].double() - centre.double(), basis)
        values, vectors = torch.linalg.eigh(_products(spanning))
        if least is None:
            least = len(sample) * torch.finfo(torch.float64).eps * values[-1]
        kept = values > least
        if not bool(kept.any()) or (not basis.shape[1] and bool(kept.all())):
            return features
        added = spanning.T @ (vectors[:, kept] / values[kept].sqrt())
        basis = torch.cat([basis, added], 1)
        directions -= added @ (added.T @ directions)
        outside = _coordinates(features, centre, directions).double().square().mean(1)
        if float(outside.sum()) <= LEFT_OUT * squares:
            return _coordinates(features, centre, basis)
        sample = outside.topk(SAMPLED // 4).indices
    return features


def _orthogonal(rows: Tensor, basis: Tensor) -> Tensor:
    """Returns the part of the rows `(m, d)` orthogonal to a basis `(d, r)`; computed twice, because once is inexact."""
    for _ in range(2 if basis.shape[1] else 0):
        rows = rows - (rows @ basis) @ basis.T
    return rows


def _coordinates(features: Tensor, centre: Tensor, basis: Tensor) -> Tensor:
    """Returns the centred features `(N, d)` in a basis `(d, r)`.

    Rounding `basis` to float32 changes the norm of a probe's weights by a ten-millionth, and rounding the coordinates
    adds 1e-14 of the features' squares: a ten-thousandth of the smallest penalty.
    """
    basis = basis.to(features.dtype)
    inside = features.new_empty(len(features), basis.shape[1])
    for part, own in zip(batches(features, FEW), batches(inside, FEW), strict=True):
        torch.mm(part - centre, basis, out=own)
    return inside


# --- targets and scores ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """What probes predict.

    Attributes:
        values: `(N,)` float64.
        classes: the values in ascending order, where the target is a class; None where it is a value.

    Example:
        >>> import torch
        >>> from mi_runner.probes import Target
        >>> Target(torch.tensor([3.0, 5.0, 3.0]).double(), classes=(3.0, 5.0)).columns
        tensor([[1., 0.],
                [0., 1.],
                [1., 0.]], dtype=torch.float64)
    """

    values: Tensor
    classes: tuple[float, ...] | None

    @property
    def columns(self) -> Tensor:
        """What is regressed on, `(N, K)` float64: the values, or for each class whether an example is of it."""
        if self.classes is None:
            return self.values[:, None]
        return (self.values[:, None] == self.values.new_tensor(self.classes)).double()

    def shuffled(self, order: Tensor) -> Target:
        """Returns the target with each example's value taken from another example."""
        return Target(self.values[order], self.classes)

    def chance(self, folds: Sequence[Tensor]) -> float:
        """Returns the score of a probe that reads nothing, over all folds; an R² of 0 if the target is a value.

        Each fold's examples are answered with the class that is commonest among the examples of the other folds, the
        lowest of several. Where classes are equally frequent, that is correct less often than one class of all occurs.
        """
        if self.classes is None:
            return 0.0
        columns, n_correct = self.columns, 0.0
        for fold in folds:
            others = columns.sum(0) - columns[fold].sum(0)
            n_correct += float(columns[fold, int(others.argmax())].sum())
        return n_correct / sum(map(len, folds))


def classes_of(values: Tensor) -> tuple[float, ...] | None:
    """Returns the values in ascending order if they are few and integers: the variable is a class then; or None."""
    different = values.unique()
    if len(different) > MOST_CLASSES or not torch.equal(different, different.round()):
        return None
    return tuple(different.tolist())


@dataclass(frozen=True)
class Score:
    """How well held-out examples are predicted: R² of values, the accuracy of classes.

    Attributes:
        low, high: its 95 % interval.
        folds: the score of each fold alone.
        by_example: `(N,)` float64 on the CPU, whose mean is the score: whether the example is of the predicted class,
            or 1 − its squared residual over the mean square that the total has.
    """

    score: float
    low: float
    high: float
    folds: tuple[float, ...]
    by_example: Tensor = field(default_factory=lambda: torch.empty(0), compare=False, repr=False)


def score(target: Target, predictions: Tensor, folds: Sequence[Tensor]) -> Score:
    """Returns the score of predictions `(N, K)` for held-out examples.

    R² = 1 − SS(residual)/SS(total), both summed over all folds; the total is about each fold's own mean. Its interval
    is that of a ratio of means (delta method). The accuracy's is Wilson's. Both are of the examples: they cover other
    held-out examples, not other training examples.

    Example:
        >>> import torch
        >>> from mi_runner.probes import Target, probe, score, split_folds
        >>> draw = torch.Generator().manual_seed(0)
        >>> features = torch.randn(60, 3, generator=draw)
        >>> target = Target((2 * features[:, 0] - features[:, 1]).double(), classes=None)
        >>> folds = split_folds(60, 3, generator=draw)
        >>> held_out = probe(features, {"area": target.columns}, folds, generator=draw)
        >>> score(target, held_out.predictions["area"], folds).score > 0.99
        True
    """
    if target.classes is not None:
        predicted = target.values.new_tensor(target.classes)[predictions.argmax(1)]
        correct = predicted == target.values
        n_correct = int(correct.sum())
        low, high = wilson_interval(n_correct, len(correct))
        each = tuple(float(correct[fold].double().mean()) for fold in folds)
        return Score(n_correct / len(correct), low, high, each, correct.double().cpu())
    y, residual = target.values, (target.values - predictions[:, 0]).square()
    total = torch.empty_like(y)
    for fold in folds:
        total[fold] = (y[fold] - y[fold].mean()).square()
    each = tuple(_determination(residual[fold], total[fold]) for fold in folds)
    found = _determination(residual, total)
    if math.isnan(found):
        return Score(found, math.nan, math.nan, each, torch.full_like(y, math.nan).cpu())
    error = float((residual - (1 - found) * total).std() / total.mean() / math.sqrt(len(y)))
    by_example = (1 - residual / total.mean()).cpu()
    return Score(found, found - Z_95 * error, min(1.0, found + Z_95 * error), each, by_example)


def _determination(residual: Tensor, total: Tensor) -> float:
    """Returns R²; NaN if the target doesn't vary."""
    whole = float(total.sum())
    return 1 - float(residual.sum()) / whole if whole else math.nan

"""Which variables does a label follow from, and what would it be with other values? High-level causal models.

A causal model has the values of its variables on every example, and a mechanism: the label that follows from any
combination of values. If some variables of a base example take the values of a source example, the mechanism gives the
counterfactual label. It is what a network predicts under intervention if it computes as the model does (Geiger et al.,
"Inducing causal structure for interpretable neural networks", ICML 2022).

Letters: N examples, B pairs, V variables, W columns of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mi_runner.errors import ArgumentError, unknown

Mechanism = Callable[[Tensor], Tensor]
"""Values `(B, W)` float64 → labels `(B,)`, in the form of the data set's targets: int64 classes or float32 values."""


@dataclass(frozen=True)
class Follows:
    """Says that a variable follows from another one, so that a swap of that one changes it, too.

    Attributes:
        variable: the number that follows.
        of: the variable that it follows from.
        rule: values `(B, W)`, those of `of` swapped → the numbers `(B,)` of the variable.

    Example:
        >>> import torch
        >>> from mi_runner.datasets import CausalModel, Follows
        >>> values = torch.tensor([[5, 2, 3], [9, 4, 5]]).double()  # the sum of a vector, and the vector
        >>> total = Follows("total", "vector", lambda values: values[:, 1:].sum(1))
        >>> def is_large(values):
        ...     return (values[:, 0] > 6).long()
        >>> causal = CausalModel(
        ...     ("total", "vector"), values, values, is_large, widths=(1, 2), follows=(total,)
        ... )
        >>> causal.counterfactual(values, {"vector": values.flip(0)})
        tensor([1, 0])
    """

    variable: str
    of: str
    rule: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CausalModel:
    """The variables of a data set and the label that follows from them.

    A data set of your own gets one by `Dataset(..., causal_model=CausalModel(...))`; a file of `dataset=arrays` by the
    arrays that `mi_runner.datasets.arrays` describes.

    Attributes:
        variables: their names, in the order of the columns of the values.
        values_train, values_test: `(N, W)` float64, a row for each example of the data set.
        mechanism: gives the labels of values.
        widths: how many columns each variable has: 1 for a number, more for a vector; None: each is a number.
        n_kept: columns behind those of the variables: numbers of an example that the mechanism or a rule needs, and
            that no swap changes.
        follows: which variables follow from others, in the order in which a swap changes them.

    Example:
        >>> import torch
        >>> from mi_runner.datasets import CausalModel, LabelTable
        >>> table = LabelTable(torch.tensor([[0, 1], [1, 0]]))  # the exclusive or of two bits
        >>> values = torch.tensor([[0, 0], [1, 0]]).double()
        >>> causal = CausalModel(("a", "b"), values, values, table)
        >>> causal.column("b")
        1
    """

    variables: tuple[str, ...]
    values_train: Tensor
    values_test: Tensor
    mechanism: Mechanism
    widths: tuple[int, ...] | None = None
    n_kept: int = 0
    follows: tuple[Follows, ...] = ()

    def __post_init__(self) -> None:
        if not self.variables or len(set(self.variables)) < len(self.variables):
            raise ArgumentError("variables", self.variables, "name at least one variable, each once.")
        if self.widths is not None and (len(self.widths) != len(self.variables) or min(self.widths) < 1):
            problem = f"give a width of at least 1 for each of the {len(self.variables)} variables."
            raise ArgumentError("widths", self.widths, problem)
        n_columns = sum(self._widths) + self.n_kept
        for split in ("train", "test"):
            values = getattr(self, f"values_{split}")
            if values.dim() != 2 or values.shape[1] != n_columns or values.dtype != torch.float64:
                wanted = f"must be (N, {n_columns}) float64, not {tuple(values.shape)} {values.dtype}."
                raise ArgumentError(f"values_{split}", None, f"values_{split} {wanted}")
        for link in self.follows:
            if self.width(link.variable) > 1 or self.column(link.variable) == self.column(link.of):
                problem = f"{link.variable} follows from {link.of}: name a number and another variable."
                raise ArgumentError("follows", None, problem)

    @property
    def _widths(self) -> tuple[int, ...]:
        return self.widths or (1,) * len(self.variables)

    def _place(self, variable: str) -> int:
        if variable not in self.variables:
            raise ArgumentError("variable", None, unknown("variable", variable, self.variables))
        return self.variables.index(variable)

    def column(self, variable: str) -> int:
        """Returns the number of a variable's column, of a vector its first.

        Raises:
            ArgumentError: there is no such variable; the text lists them.
        """
        return sum(self._widths[: self._place(variable)])

    def width(self, variable: str) -> int:
        """Returns how many columns a variable has: 1 for a number, more for a vector.

        Raises:
            ArgumentError: as `column`.
        """
        return self._widths[self._place(variable)]

    def columns(self, variable: str) -> slice:
        """Returns the columns of a variable.

        Raises:
            ArgumentError: as `column`.
        """
        first = self.column(variable)
        return slice(first, first + self.width(variable))

    @property
    def numbers(self) -> tuple[str, ...]:
        """The variables that are numbers, not vectors."""
        return tuple(name for name in self.variables if self.width(name) == 1)

    def contradiction(self, variables: Iterable[str]) -> str:
        """Returns why variables can't be swapped together, and what to do; empty if they can."""
        swapped = set(variables)
        for link in self.follows:
            if {link.variable, link.of} <= swapped:
                return (
                    f"{link.variable} and {link.of} can't be swapped together, because {link.variable} follows from "
                    f"{link.of}: the two swaps contradict each other. Swap one of them."
                )
        return ""

    def counterfactual(self, base: Tensor, sources: Mapping[str, Tensor]) -> Tensor:
        """Returns the labels `(B,)` of base values with some variables taken from source examples.

        Args:
            base: `(B, W)` values of the base examples.
            sources: variable → `(B, W)` values of the examples that it is taken from; the others stay as they are, but
                for those that follow from it.

        Raises:
            ArgumentError: there is no such variable, or the swaps contradict each other.
        """
        if problem := self.contradiction(sources):
            raise ArgumentError("sources", None, problem)
        values = base.clone()
        for variable, source in sources.items():
            columns = self.columns(variable)
            values[:, columns] = source[:, columns]
        changed = set(sources)
        for link in self.follows:
            if link.of in changed:
                values[:, self.column(link.variable)] = link.rule(values)
                changed.add(link.variable)
        return self.mechanism(values)

    def limited(self, limit: int) -> CausalModel:
        """Returns the causal model of the first `limit` training and test examples."""
        return replace(self, values_train=self.values_train[:limit], values_test=self.values_test[:limit])

    def with_classes(self) -> CausalModel:
        """Returns the causal model whose labels, values that are whole numbers, are classes."""
        return replace(self, mechanism=AsClasses(self.mechanism))

    def to(self, device: torch.device) -> CausalModel:
        """Returns the causal model with its values on `device`."""
        return replace(self, values_train=self.values_train.to(device), values_test=self.values_test.to(device))


# --- mechanisms --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WeightedSum:
    """Whether the weighted sum of the variables is above a threshold.

    Attributes:
        weights: of each variable.
        threshold: in the unit of the sum.
        classes: whether the label is a class, 0 or 1, or the value 0.0 or 1.0.
    """

    weights: tuple[float, ...]
    threshold: float
    classes: bool

    def __call__(self, values: Tensor) -> Tensor:
        above = values @ values.new_tensor(self.weights) > self.threshold
        return above.to(torch.int64 if self.classes else torch.float32)


@dataclass(frozen=True)
class AsClasses:
    """The labels of another mechanism, as classes.

    Attributes:
        mechanism: gives labels that are the values 0.0, 1.0, …
    """

    mechanism: Mechanism

    def __call__(self, values: Tensor) -> Tensor:
        return self.mechanism(values).long()


@dataclass(frozen=True)
class ModularSum:
    """The sum of the variables modulo m."""

    modulus: int
    classes: bool

    def __call__(self, values: Tensor) -> Tensor:
        total = values.sum(1).remainder(self.modulus)
        return total.to(torch.int64 if self.classes else torch.float32)


@dataclass(frozen=True)
class DigitOfParityAndHalf:
    """The digit 2·half + parity.

    Attributes:
        digits: those that are kept, ascending; as a class the label is the digit's position among them.
    """

    digits: tuple[int, ...]
    classes: bool

    def __call__(self, values: Tensor) -> Tensor:
        parity, half = values.unbind(1)
        digit = 2 * half + parity
        if not self.classes:
            return digit.to(torch.float32)
        return torch.searchsorted(digit.new_tensor(self.digits), digit)


@dataclass(frozen=True)
class LabelTable:
    """A label for each combination of the variables' values, which are the integers 0..k−1.

    Attributes:
        labels: `(k_1, ..., k_V)`, in the form of the data set's targets.

    Example:
        >>> import torch
        >>> from mi_runner.datasets import LabelTable
        >>> table = LabelTable(torch.tensor([[0, 1], [1, 0]]))  # the exclusive or of two bits
        >>> table(torch.tensor([[1.0, 0.0], [1.0, 1.0]]).double())
        tensor([1, 0])
    """

    labels: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        return self.labels.to(values.device)[tuple(values.to(torch.int64).unbind(1))]


def parity_and_half(digits: tuple[int, ...], train: Tensor, test: Tensor, *, classes: bool) -> CausalModel | None:
    """Returns the causal model of digits d: parity d mod 2 and half d div 2; the label is 2·half + parity.

    None if the parity of one kept digit and the half of another give a digit that is not kept.

    Args:
        digits: those that are kept, ascending.
        train, test: `(N,)` digits of the examples.
    """
    if any(2 * (half // 2) + parity % 2 not in digits for half in digits for parity in digits):
        return None
    values_train, values_test = (
        torch.stack([split % 2, split.div(2, rounding_mode="floor")], 1).double() for split in (train, test)
    )
    return CausalModel(("parity", "half"), values_train, values_test, DigitOfParityAndHalf(digits, classes))

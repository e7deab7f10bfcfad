"""Which inputs does a network represent alike? Distances between activation images, and how alike two layers are.

Two layers, of the same or of different networks, can have different units. Their matrices of distances between the
same examples can be compared (representational similarity analysis; Kriegeskorte et al., Frontiers in Systems
Neuroscience 2008).

Letters: D examples, L layers, V values of a variable, P pairs of different examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mi_runner.errors import ArgumentError


def distance_matrix(images: Tensor) -> Tensor:
    """Returns the Euclidean distances between images, or other features, `(D, ...)`: `(D, D)` float64 on the CPU.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import distance_matrix
        >>> distance_matrix(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
        tensor([[0., 5.],
                [5., 0.]], dtype=torch.float64)
    """
    features = images.flatten(1).double().cpu()
    # Without the product form, which turns equal rows into distances of rounding errors.
    return torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")


def mean_distances(distances: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean distances between examples of each two values, and the number of their pairs; `(V, V)` each.

    An example makes no pair with itself. The mean of no pair is NaN.

    Args:
        distances: `(D, D)`, symmetric.
        label: `(D,)` int64, each example's value, counted from 0.
    """
    member = torch.nn.functional.one_hot(label.cpu()).double()  # (D, V)
    counts = member.sum(0)
    ordered = counts[:, None] * counts - torch.diag(counts)
    pairs = ordered / (1 + torch.eye(len(counts)))  # within a value each pair would count twice
    return member.T @ distances @ member / ordered, pairs.round().long()


@dataclass(frozen=True)
class Separation:
    """How far apart examples of different values of a variable are.

    Attributes:
        within: the mean distance of two different examples of equal value; None: there is no such pair.
        between: the mean distance of two examples of different values; None: there is no such pair.
    """

    within: float | None
    between: float | None

    @property
    def ratio(self) -> float | None:
        """`between / within`, 1 where the values make no difference; None where it isn't defined."""
        return self.between / self.within if self.within and self.between is not None else None


def separation(distances: Tensor, label: Tensor) -> Separation:
    """Returns how far apart the examples of different values are.

    Args:
        distances: `(D, D)`, symmetric.
        label: `(D,)` int64, each example's value.
    """
    label = label.cpu()
    above = torch.ones_like(distances, dtype=torch.bool).triu(1)
    equal = label[:, None] == label
    means = [float(distances[pairs].mean()) if pairs.any() else None for pairs in (above & equal, above & ~equal)]
    return Separation(*means)


def layer_similarity(matrices: Sequence[Tensor]) -> Tensor:
    """Returns the Pearson correlation `(L, L)` of the distances of each two layers, over the P pairs of examples.

    NaN where all distances of a layer are equal.

    Args:
        matrices: of each layer the distances `(D, D)` between the same D examples, at least 3.

    Raises:
        ArgumentError: there are fewer than 3 examples, or the layers have different examples.

    Example:
        >>> import torch
        >>> from mi_runner.decoding import distance_matrix, layer_similarity
        >>> points = torch.tensor([[0.0], [1.0], [3.0]])
        >>> layer_similarity([distance_matrix(points), distance_matrix(2 * points)])
        tensor([[1.0000, 1.0000],
                [1.0000, 1.0000]], dtype=torch.float64)
    """
    n = len(matrices[0])
    if n < 3 or any(matrix.shape != (n, n) for matrix in matrices):
        shapes = ", ".join(str(tuple(matrix.shape)) for matrix in matrices)
        problem = f"matrices of {shapes}:"
        raise ArgumentError("matrices", None, problem, "give distances between the same examples, at least 3.")
    row, column = torch.triu_indices(n, n, 1)
    pairs = torch.stack([matrix[row, column] for matrix in matrices])
    centred = pairs - pairs.mean(1, keepdim=True)
    size = centred.norm(dim=1)
    size[size <= 1e-12 * pairs.norm(dim=1)] = torch.nan
    return ((centred / size[:, None]) @ (centred / size[:, None]).T).clamp(-1, 1)

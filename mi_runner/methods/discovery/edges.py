"""The edges of a chain of layers, circuits as rows of booleans, and the closing of a set of edges.

A circuit is a row `(E,)` bool, the kept edges in the order of `CircuitSpace`: first layer first, by target, then by
source. So a chain of any size has circuits.

Letters: E edges, K circuits, sizes n_0 (inputs), …, n_L (outputs).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from mi_runner.methods.circuits.kept import closed, masks_of


@dataclass(frozen=True)
class Edges:
    """The edges between neighbouring layers of these sizes.

    Attributes:
        sizes: neurons of each layer, inputs first.
    """

    sizes: tuple[int, ...]

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The shape `(out, in)` of each layer's masks."""
        return tuple((n_out, n_in) for n_in, n_out in itertools.pairwise(self.sizes))

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The first edge of each layer, and at the end the number of edges."""
        return (0, *itertools.accumulate(n_out * n_in for n_out, n_in in self.shapes))

    @property
    def n(self) -> int:
        """The number of edges."""
        return self.offsets[-1]

    @cached_property
    def names(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The layer, the source and the target of each edge, three arrays `(E,)` int64."""
        places = [np.indices(shape).reshape(2, -1) for shape in self.shapes]
        layers = np.repeat(np.arange(len(self.shapes)), np.diff(self.offsets))
        targets, sources = np.concatenate(places, axis=1)
        return layers, sources, targets

    @property
    def full(self) -> np.ndarray:
        """The full circuit, `(1, E)`."""
        return np.ones((1, self.n), dtype=bool)

    @property
    def empty(self) -> np.ndarray:
        """The empty circuit, `(1, E)`."""
        return np.zeros((1, self.n), dtype=bool)

    def masks(self, circuits: np.ndarray) -> list[np.ndarray]:
        """Returns the masks `(K, out, in)` of each layer for circuits `(K, E)`."""
        return masks_of(self.sizes, circuits)

    def closed(self, circuits: np.ndarray) -> np.ndarray:
        """Returns the circuits `(K, E)` without edges that lie on no path of kept edges from an input to an output."""
        return closed(self.sizes, circuits) if len(circuits) else circuits

    def flat(self, layers: Sequence[Tensor | np.ndarray]) -> np.ndarray:
        """Returns one number for each edge `(E,)` float64 from an array `(out, in)` for each layer.

        Raises:
            ValueError: the shapes are not the layers', or a number is not finite.
        """
        arrays = [
            np.asarray(layer.detach().cpu() if isinstance(layer, Tensor) else layer, dtype=float) for layer in layers
        ]
        given = [array.shape for array in arrays]
        if given != list(self.shapes):
            raise ValueError(
                f"scores of shapes {given}: give an array (out, in) for each layer, of shapes {list(self.shapes)}."
            )
        numbers = np.concatenate([array.reshape(-1) for array in arrays])
        if not np.isfinite(numbers).all():
            raise ValueError("a score is not finite. Give a finite number for each edge.")
        return numbers

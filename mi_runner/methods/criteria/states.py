"""Which values do many circuits share? Each distinct one is a state, computed once for all of them.

A neuron's value depends only on its own kept incoming edges and on the states of the neurons behind them. So layer by
layer the distinct combinations of a neuron and its sources' states are found, and numbered.

Letters: K runs, G given values, S states, T terms; n_in, n_out neurons of two neighbouring layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mi_runner.graph.chain import ACTIVATIONS, OVER_OUTPUTS, Part

CARRIED = -1
"""In the place of a source's state: the edge carries a number that is the same in all rows."""

LARGEST_KEY = 2**62


@dataclass
class States:
    """The distinct states of runs of a part.

    Attributes:
        part: float64.
        carried: `(n_l,)` for each layer that edges leave: what the source of an edge has where it carries a number.
        n: given values and states so far; the given ones come first.
    """

    part: Part
    carried: tuple[np.ndarray, ...]
    n: int
    _bases: list[np.ndarray] = field(default_factory=list)
    _terms: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    _layers: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._weights = [layer.weight.numpy() for layer in self.part.layers]
        self._biases = [layer.bias.numpy() for layer in self.part.layers]

    def of_layer(self, layer: int, sources: np.ndarray) -> np.ndarray:
        """Returns the states of a layer's neurons in each run, `(K, n_out)`.

        Args:
            layer: of weights, from 0.
            sources: `(K, n_out, n_in)`: the state of each edge's source, or `CARRIED`.
        """
        found = np.empty(sources.shape[:2], dtype=np.int64)
        for neuron in range(sources.shape[1]):
            first, place = _distinct(sources[:, neuron], self.n)
            bases, *terms = self._sums(layer, sources[first, neuron][:, None], neuron)
            self._bases.append(bases)
            self._terms.append((terms[0], terms[1], terms[2]))
            self._layers.append(np.full(len(bases), layer))
            found[:, neuron] = self.n + place
            self.n += len(bases)
        return found

    def outputs(self, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Returns bases, where the terms begin, and the terms of the outputs of each run, as `kernel.ask` takes them.

        Args:
            sources: `(K, n_L, n_in)`.
        """
        bases, n_terms, refs, weights = self._sums(len(self._weights) - 1, sources)
        return bases, _first(n_terms), (refs, weights)

    def arrays(self) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Returns all states and their terms as `kernel.ask` takes them."""
        n_terms, refs, weights = (
            np.concatenate([np.empty(0, dtype), *(terms[index] for terms in self._terms)])
            for index, dtype in enumerate((np.int64, np.int32, np.float64))
        )
        bases = np.concatenate([np.empty(0), *self._bases])
        layers = np.concatenate([np.empty(0, np.int64), *self._layers])
        return (bases, _first(n_terms), layers), (refs, weights)

    def _sums(
        self, layer: int, sources: np.ndarray, neuron: int | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns bases, numbers of terms, refs and weights of sums, one after the other.

        Args:
            sources: `(K, n, n_in)`.
            neuron: n is 1, and this is it; None: n is n_out.
        """
        rows = slice(None) if neuron is None else slice(neuron, neuron + 1)
        weight, bias = self._weights[layer][rows], self._biases[layer][rows]
        is_term = sources != CARRIED
        bases = bias + np.where(is_term, 0.0, weight * self.carried[layer]).sum(-1)
        weights = np.broadcast_to(weight, sources.shape)[is_term]
        return bases.reshape(-1), is_term.sum(-1).reshape(-1), sources[is_term].astype(np.int32), weights


def activations_of(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Returns the number of each layer's activation and its slope, as `kernel.ask` takes them."""
    numbers = (*ACTIVATIONS, *OVER_OUTPUTS)
    kinds = np.array([numbers.index(layer.activation) for layer in part.layers], dtype=np.int64)
    slopes = [float(layer.slope) if layer.activation == "leaky_relu" else 0.0 for layer in part.layers]
    return kinds, np.array(slopes)


def _first(n_terms: np.ndarray) -> np.ndarray:
    """Returns where the terms of each sum begin, and where the last ones end."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(n_terms, dtype=np.int64)])


def _distinct(rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first position of each distinct row `(K, n_in)`, and for each row the index of its distinct one.

    Args:
        n: the numbers are below it, and not below −1.
    """
    key, size = rows[:, 0] + 1, n + 1
    for column in rows.T[1:]:
        if size * (n + 1) > LARGEST_KEY:
            distinct, key = np.unique(key, return_inverse=True)
            size = len(distinct)
        key, size = key * (n + 1) + column + 1, size * (n + 1)
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    return first, place

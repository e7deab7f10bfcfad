"""Uniform circuits of k edges: all of them occur, equally often; their numbers against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from mi_runner.methods.circuits.kept import circuits_of_edges, closed, masks_of
from mi_runner.methods.circuits.sampling import _weights, n_of_each_size, sample_of_size
from mi_runner.methods.circuits.space import INPUTS, CircuitSpace


def every_circuit(sizes: tuple[int, ...], inputs: str) -> np.ndarray:
    """All non-empty closed sets of edges, by trying; with several outputs a circuit may leave some out."""
    n_edges = sum(a * b for a, b in itertools.pairwise(sizes))
    sets = (np.arange(1, 2**n_edges)[:, None] >> np.arange(n_edges) & 1).astype(bool)
    sets = sets[np.all(closed(sizes, sets) == sets, axis=1)]
    return sets if inputs == "any" else sets[np.all(np.any(masks_of(sizes, sets)[0], axis=1), axis=1)]


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("sizes", [(2, 2, 2, 1), (2, 3, 2), (1, 2, 1), (3, 1), (2, 1, 2, 1, 2)])
def test_how_many_circuits_have_each_number_of_edges(sizes: tuple[int, ...], inputs: str) -> None:
    circuits = every_circuit(sizes, inputs)
    expected = np.bincount(circuits.sum(1), minlength=circuits.shape[1] + 1).tolist()
    counts = n_of_each_size(sizes, inputs=inputs)
    assert counts == expected
    for log_x in (-3.0, 0.0, 2.0):
        total = np.log(sum(n * np.exp(log_x * k) for k, n in enumerate(counts)))
        assert _weights(sizes, log_x, inputs).log_total == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize(
    ("sizes", "ks"), [((3, 3, 3, 1), (5, 9, 17, 19, 21)), ((2, 3, 2), (3, 6, 10)), ((4, 1), (4,)), ((1, 2, 1), (2, 4))]
)
def test_every_circuit_of_k_edges_is_as_likely_as_any_other(
    sizes: tuple[int, ...], ks: tuple[int, ...], inputs: str
) -> None:
    """By the sum of squared deviations, which has as many degrees of freedom as circuits, less one."""
    counts = n_of_each_size(sizes, inputs=inputs)
    if sizes == (3, 3, 3, 1):
        assert sum(counts) == CircuitSpace(sizes, inputs).count()
    for k in ks:
        n = 10 * counts[k]
        drawn = sample_of_size(sizes, k, n, generator=torch.Generator().manual_seed(k), inputs=inputs)
        assert (drawn.sum(1) == k).all() and np.array_equal(closed(sizes, drawn), drawn)
        if inputs == "all":
            assert masks_of(sizes, drawn)[0].any(1).all()
        _, occurrences = np.unique(circuits_of_edges(drawn), return_counts=True)
        occurrences = np.pad(occurrences, (0, counts[k] - len(occurrences)))  # fails if there are more
        squares, freedom = ((occurrences - 10) ** 2 / 10).sum(), counts[k] - 1
        assert abs(squares - freedom) <= 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("k", [3, 40, 700, 3000, 4736])
def test_circuits_of_a_chain_that_nobody_can_enumerate(k: int) -> None:
    sizes = (64, 64, 10)
    drawn = sample_of_size(sizes, k, 5, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (5, 4736)
    assert (drawn.sum(1) == k).all() and np.array_equal(closed(sizes, drawn), drawn)
    again = sample_of_size(sizes, k, 5, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(drawn, again)
    assert k == 4736 or not np.array_equal(drawn, sample_of_size(sizes, k, 5, generator=torch.Generator()))


@pytest.mark.parametrize(
    ("sizes", "k", "inputs", "text"),
    [
        ((2, 2, 1), 1, "any", "k=1: circuits of layers of 2-2-1 neurons have 2 to 6 edges"),
        ((2, 2, 1), 7, "any", "k=7: circuits"),
        ((1, 2, 1), 3, "any", "with exactly 3 edges was found in .* tries. Give another number of edges, k=2 or k=4"),
        ((300, 1), 7, "any", "two layers of 1 to 256 neurons"),
        ((2, 2, 1), 3, "some", "inputs=some: there are all and any"),
    ],
)
def test_circuits_that_there_are_not(sizes: tuple[int, ...], k: int, inputs: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        sample_of_size(sizes, k, 1, inputs=inputs)

"""Pruning: edge for edge as with a full forward pass per edge; the criterion by its definition."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mi_runner.graph.chain import ACTIVATIONS, Layer, Part
from mi_runner.methods import pruning
from mi_runner.methods.pruning import (
    CRITERIA,
    Criterion,
    criterion_value,
    keep_edges,
    prune,
    prune_classes,
    replace_weights,
    wanted,
)


def part_of(sizes: list[int], activation: str = "relu", seed: int = 0, output: str = "identity") -> Part:
    draw = torch.Generator().manual_seed(seed)
    kinds = [activation] * (len(sizes) - 2) + [output]
    return Part(
        tuple(
            Layer(
                torch.randn(n_out, n_in, generator=draw),
                0.3 * torch.randn(n_out, generator=draw),
                kind,
                0.1 if kind == "leaky_relu" else 0.0,
            )
            for (n_in, n_out), kind in zip(itertools.pairwise(sizes), kinds, strict=True)
        )
    )


def inputs_of(part: Part, n: int = 50, seed: int = 1) -> Tensor:
    return torch.randn(n, part.sizes[0], generator=torch.Generator().manual_seed(seed))


def with_a_forward_per_edge(
    part: Part, x: Tensor, probability: Tensor, number: int, threshold: float, layers: list[int]
) -> tuple[list[Tensor], float]:
    """The definition, in float64; and how near an increase came to the threshold."""
    weights = [layer.weight.double() for layer in part.layers]
    biases = [layer.bias.double() for layer in part.layers]

    def value() -> float:
        values = x.double()
        for layer, weight, bias in zip(part.layers, weights, biases, strict=True):
            values = layer.activate(functional.linear(values, weight, bias))
        return criterion_value(values, probability.double(), number)

    kept = [torch.ones_like(weight, dtype=torch.bool) for weight in weights]
    now, nearest = value(), float("inf")
    for layer in sorted(layers, reverse=True):
        for edge in itertools.product(*map(range, weights[layer].shape)):
            before = weights[layer][edge].clone()
            weights[layer][edge] = 0
            then = value()
            nearest = min(nearest, abs(then - now - threshold))
            if then - now < threshold:
                now = then
                kept[layer][edge] = False
            else:
                weights[layer][edge] = before
    return kept, nearest


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [[5, 4, 6, 3], [4, 7, 2], [6, 4], [3, 4, 3, 5, 4]])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_pruning_is_that_with_a_full_forward_per_edge(activation: str, sizes: list[int], criterion: Criterion) -> None:
    part = part_of(sizes, activation, seed=len(sizes))
    x = inputs_of(part)
    labels = part(x).argmax(1)
    number, layers, threshold = int(labels.mode().values), list(range(len(sizes) - 1)), 0.003
    index, probability = wanted(criterion, part(x), labels, number)
    expected, nearest = with_a_forward_per_edge(part, x[index], probability, number, threshold, layers)
    assert nearest > 1e-6, "this network has an edge that rounding could decide: take another seed"
    kept = prune(part, x[index], probability, number, threshold=threshold)
    for ours, theirs in zip(kept, expected, strict=True):
        assert torch.equal(ours, theirs)
    assert 0 < sum(int(mask.sum()) for mask in kept) < sum(mask.numel() for mask in kept)


@pytest.mark.parametrize("output", ["tanh", "sigmoid", "relu"])
def test_an_activation_after_the_output_has_its_part(output: str) -> None:
    part = part_of([4, 5, 3], output=output, seed=3)
    x = inputs_of(part)
    _, probability = wanted("divergence", part(x), part(x).argmax(1), 0)
    expected, nearest = with_a_forward_per_edge(part, x, probability, 0, 0.002, [0, 1])
    assert nearest > 1e-6
    kept = prune(part, x, probability, 0, threshold=0.002)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(kept, expected, strict=True))


def test_layers_that_are_not_pruned_keep_all() -> None:
    part = part_of([5, 4, 6, 3])
    x = inputs_of(part)
    _, probability = wanted("divergence", part(x), part(x).argmax(1), 0)
    kept = prune(part, x, probability, 0, threshold=0.01, layers=[1])
    expected, _ = with_a_forward_per_edge(part, x, probability, 0, 0.01, [1])
    assert kept[0].all() and kept[2].all() and torch.equal(kept[1], expected[1])


def test_thresholds_at_the_ends() -> None:
    part = part_of([5, 4, 3])
    x = inputs_of(part)
    _, probability = wanted("divergence", part(x), part(x).argmax(1), 2)
    assert not any(mask.any() for mask in prune(part, x, probability, 2, threshold=1e9))
    kept = prune(part, x, probability, 2, threshold=0.0)
    left = replace_weights(part, [layer.weight * mask for layer, mask in zip(part.layers, kept, strict=True)])
    assert criterion_value(left(x), probability, 2) <= criterion_value(part(x), probability, 2)


def test_at_threshold_0_an_edge_is_cut_if_the_criterion_falls_and_stays_if_it_is_the_same() -> None:
    """Logits (w·x, v·x, 0) of x = 1, wanted probability of class 0: 1. Only the first two edges change anything.

    The criterion is log(1 + e^(logits of the others − w)): it grows without w, falls without v, and stays without the
    edge from the input that is always 0.
    """
    weight = torch.tensor([[1.0, 5.0], [2.0, -3.0], [0.0, 4.0]])
    part = Part((Layer(weight, torch.zeros(3)),))
    x = torch.tensor([[1.0, 0.0]] * 3)
    (kept,) = prune(part, x, torch.ones(3), 0, threshold=0.0)
    assert kept.tolist() == [[True, True], [False, True], [True, True]]
    # A threshold that is hardly above 0 cuts what changes nothing, one below 0 only what lowers the criterion by more.
    (kept,) = prune(part, x, torch.ones(3), 0, threshold=1e-6)
    assert kept.tolist() == [[True, False], [False, False], [False, False]]
    falls = criterion_value(part(x), torch.ones(3), 0) - math.log(1 + 2 * math.exp(-1))
    for threshold, is_kept in ((-falls + 1e-4, False), (-falls - 1e-4, True)):
        (kept,) = prune(part, x, torch.ones(3), 0, threshold=threshold)
        assert bool(kept[1, 0]) == is_kept and int(kept.sum()) == 5 + is_kept


def test_the_networks_weights_stay_and_progress_counts_every_edge() -> None:
    part = part_of([5, 4, 3])
    before = [layer.weight.clone() for layer in part.layers]
    seen: list[int] = []
    x = inputs_of(part)
    prune(part, x, torch.ones(len(x)), 0, threshold=1.0, progress=seen.append)
    assert sum(seen) == 5 * 4 + 4 * 3
    assert all(torch.equal(layer.weight, old) for layer, old in zip(part.layers, before, strict=True))


def test_the_wanted_probability_by_criterion() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [2.0, 1.0, -1.0], [0.0, 5.0, 0.0]])
    labels = torch.tensor([0, 1, 1])
    index, probability = wanted("own_class", logits, labels, 1)
    assert index.tolist() == [1, 2] and probability.tolist() == [1.0, 1.0]
    index, probability = wanted("all_classes", logits, labels, 1)
    assert index.tolist() == [0, 1, 2] and probability.tolist() == [0.0, 1.0, 1.0]
    index, probability = wanted("divergence", logits, labels, 1)
    assert index.tolist() == [0, 1, 2]
    torch.testing.assert_close(probability, logits.softmax(1)[:, 1])


def test_the_criterion_is_a_divergence_smallest_at_the_wanted_probability() -> None:
    logits = torch.tensor([[0.3, -0.2, 1.0], [2.0, 1.0, -1.0]])
    q = logits.softmax(1)[:, 0]
    entropy = float(-(q * q.log() + (1 - q) * (1 - q).log()).mean())
    assert criterion_value(logits, q, 0) == pytest.approx(entropy, rel=1e-6)
    assert criterion_value(logits + torch.tensor([0.1, 0.0, 0.0]), q, 0) > entropy


@pytest.mark.parametrize("n_outputs", [1, 2, 3, 10])
def test_the_kernels_criterion_is_the_definition(n_outputs: int) -> None:
    draw = torch.Generator().manual_seed(n_outputs)
    logits = 40 * torch.randn(300, n_outputs, generator=draw)
    q = torch.rand(300, generator=draw)
    last = max(2, n_outputs) - 1
    for class_index in (0, last):
        ours = pruning._criterion(np.ascontiguousarray(logits.numpy().T), q.numpy(), class_index)
        assert ours == pytest.approx(criterion_value(logits, q, class_index), rel=1e-6)


def test_exp_and_log_are_those_of_numpy() -> None:
    x = np.linspace(-87, 0, 20_001, dtype=np.float32)
    ours = np.array([pruning._exp(value) for value in x])
    np.testing.assert_allclose(ours, np.exp(x.astype(np.float64)), rtol=2e-7)
    assert pruning._exp(np.float32(-1e9)) < 1e-37
    x = np.linspace(0.5, 100, 20_001, dtype=np.float32)
    ours = np.array([pruning._log(value) for value in x])
    np.testing.assert_allclose(ours, np.log(x.astype(np.float64)), rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_one_logit_is_pruned_as_the_second_of_two_whose_first_is_0(criterion: Criterion) -> None:
    one = part_of([5, 4, 1], seed=3)
    last = one.layers[-1]
    weight, bias = (torch.cat([torch.zeros_like(tensor), tensor]) for tensor in (last.weight, last.bias))
    two = replace(one, layers=(*one.layers[:-1], replace(last, weight=weight, bias=bias)))
    x = inputs_of(one)
    labels = (torch.randn(50, generator=torch.Generator().manual_seed(2)) > 0).long()
    of_one, of_two = (prune_classes(part, x, labels, criterion=criterion, threshold=0.02) for part in (one, two))
    assert of_one.keys() == of_two.keys() == {0, 1}
    for label, (first, second) in of_one.items():
        assert torch.equal(first, of_two[label][0]) and torch.equal(second[0], of_two[label][1][1])


def test_without_examples_there_is_nothing_to_prune() -> None:
    part = part_of([4, 3])
    with pytest.raises(ValueError, match="no examples"):
        prune(part, torch.zeros(0, 4), torch.ones(0), 0, threshold=0.1)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_classes_together_are_each_class_alone(criterion: Criterion) -> None:
    part = part_of([5, 4, 6, 3])
    x = inputs_of(part)
    labels = torch.tensor([0, 2]).repeat(25)
    seen = {0: 0, 1: 0, 2: 0}

    def progress(edges: int, number: int) -> None:
        seen[number] += edges

    kept = prune_classes(part, x, labels, criterion=criterion, threshold=0.003, layers=[1, 2], progress=progress)
    assert list(kept) == [0, 2] and seen == {0: 4 * 6 + 6 * 3, 1: 0, 2: 4 * 6 + 6 * 3}
    for number, masks in kept.items():
        index, probability = wanted(criterion, part(x), labels, number)
        alone = prune(part, x[index], probability, number, threshold=0.003, layers=[1, 2])
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(masks, alone, strict=True))


def test_only_the_kept_edges_weights_stay() -> None:
    part = part_of([2, 2, 2])
    kept = [torch.tensor([[True, False], [False, True]]), torch.tensor([[False, False], [True, True]])]
    left = keep_edges(part, kept)
    for old, new, mask in zip(part.layers, left.layers, kept, strict=True):
        assert torch.equal(new.weight[mask], old.weight[mask]) and not new.weight[~mask].any()
        assert torch.equal(new.bias, old.bias)


def test_what_the_kernel_would_read_out_of_bounds_is_refused() -> None:
    part = part_of([4, 5, 3])
    x, q = inputs_of(part), torch.ones(50)
    with pytest.raises(ValueError, match=r"class 3: the classes are 0 to 2\."):
        prune(part, x, q, 3, threshold=0.1)
    with pytest.raises(ValueError, match="50 examples and 49 wanted probabilities"):
        prune(part, x, q[:49], 0, threshold=0.1)
    with pytest.raises(ValueError, match=r"inputs of shape \(50, 3\): the first layer takes \(N, 4\)"):
        prune(part, x[:, :3], q, 0, threshold=0.1)
    with pytest.raises(ValueError, match=r"layers=\[0, 2\]: the layers are 0 to 1"):
        prune(part, x, q, 0, threshold=0.1, layers=[0, 2])
    with pytest.raises(ValueError, match="50 examples and 40 labels"):
        prune_classes(part, x, torch.zeros(40, dtype=torch.int64))
    with pytest.raises(ValueError, match="class 7: the classes are 0 to 2"):
        prune_classes(part, x, torch.full((50,), 7))
    with pytest.raises(ValueError, match="'divergence', 'all_classes', 'own_class'"):
        prune_classes(part, x, torch.zeros(50, dtype=torch.int64), criterion="loss")  # type: ignore[arg-type]

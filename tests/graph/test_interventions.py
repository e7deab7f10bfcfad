"""Replacement values, and the running of many variants at once."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mi_runner.graph.chain import find_part
from mi_runner.graph.interventions import (
    Intervention,
    KeptSites,
    Runs,
    SiteValues,
    draw_others,
    interchange,
    mean,
    read_sites,
    resample,
    run_variants,
    run_with,
    zero,
)
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.models.cnn import CNN
from mi_runner.models.two_layer_skip import TwoLayerSkip


def skip(n: int = 5) -> tuple[ModelGraph, torch.Tensor]:
    torch.manual_seed(3)
    x = torch.randn(9, n)
    return ModelGraph.trace(TwoLayerSkip(n, 3), x[:2]), x


def test_mean_over_unequal_batches_is_the_mean_over_the_whole() -> None:
    values = torch.tensor([[1.0], [2.0], [3.0], [4.0], [10.0]])
    assert mean([values[:4], values[4:]]).tolist() == [4.0]  # the mean of the batches' means is 6.25
    assert mean([values[:1], values[1:]]).tolist() == [4.0]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5))
def test_mean_does_not_depend_on_the_batches(sizes: list[int]) -> None:
    values = torch.randn(sum(sizes), 2, 3)
    assert torch.allclose(mean(values.split(sizes)), values.double().mean(0).float())


class Shifted(nn.Module):
    """Inputs far from 0, and what a layer makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(1, 1), nn.Linear(1, 1)
        with torch.no_grad():
            for parameter, value in zip(self.parameters(), (1.0, 1e6, 1.0, 0.0), strict=True):
                parameter.fill_(value)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


def test_means_far_from_0_are_the_nearest_float32_to_the_exact_mean() -> None:
    """Values 1,000,000 to 1,000,001: sums of them in float32 are off by more than their spread."""
    x = torch.arange(5_003).remainder(16)[:, None] / 16
    values = x + 1e6  # float32 has the sixteenths up to 1,048,576
    exact = Fraction(sum(range(16)) * (5_003 // 16) + sum(range(5_003 % 16)), 16 * 5_003) + 1_000_000
    nearest = float(np.float32(float(exact)))
    assert nearest == 1_000_000.4375 != float(values.sum(0)) / 5_003  # in float32
    assert mean(values.split(100)).item() == mean([values]).item() == nearest
    network = Shifted().eval()
    graph = ModelGraph.trace(network, x[:2])
    for memory in (0, 1e9):  # values that are computed anew, values that are kept
        assert Runs(graph, x, memory=memory).means(["first"])["first"].item() == nearest
    part = find_part(graph, 1)
    assert [float(value) for value in part.means(values)] == [nearest]
    whole = find_part(graph, None)
    assert [float(value) for value in whole.means(x)] == [pytest.approx(float(exact) - 1_000_000), nearest]


def test_mean_of_nothing() -> None:
    with pytest.raises(ValueError, match="mean of no examples"):
        mean([])


def test_zero_has_the_shape() -> None:
    assert zero(torch.ones(2, 3)).tolist() == [[0] * 3] * 2


def test_resample_takes_another_examples_row() -> None:
    values = torch.arange(50.0)[:, None]
    drawn = resample(values, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == values.shape
    assert not (drawn == values).any()
    assert len(drawn.unique()) < 50  # with replacement


def test_resample_of_two_swaps_them_and_of_one_is_refused() -> None:
    draw = torch.Generator().manual_seed(0)
    assert resample(torch.tensor([[1.0], [2.0]]), generator=draw).tolist() == [[2.0], [1.0]]
    with pytest.raises(ValueError, match="no other example"):
        resample(torch.ones(1, 2), generator=draw)


def test_the_others_are_drawn_uniformly() -> None:
    draw = torch.Generator().manual_seed(0)
    counts = torch.zeros(4, 4)
    for _ in range(3000):
        counts[torch.arange(4), draw_others(4, generator=draw)] += 1
    assert counts.diag().tolist() == [0] * 4
    # 1000 expected, standard deviation 26
    assert ((counts + 1000 * torch.eye(4)) - 1000).abs().max() < 130


def test_interchange_gives_the_value_on_the_source() -> None:
    graph, x = skip()
    source = x.flip(0)
    outputs = run_with(graph, x, [interchange(graph, "x/first/relu", source)])
    first = graph.submodule("first")
    last = graph.submodule("last")
    assert torch.allclose(outputs, last(x + torch.relu(first(source))), atol=1e-6)


def test_variants_equal_one_run_each() -> None:
    graph, x = skip()
    for target in ("relu", "x/first", "x/add", "x/first/relu/add", "add"):
        values = torch.randn(4, len(x), 5)
        together = run_variants(graph, x, target, values)
        for number, value in enumerate(values):
            alone = run_with(graph, x, [Intervention(target, value)])
            assert torch.allclose(together[number], alone, atol=1e-6), target


def test_variants_of_a_convolutional_network() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 1, 8, 8)
    graph = ModelGraph.trace(CNN(1, (8, 8), 2), x)
    values = torch.randn(5, *read_sites(graph, x, ["pool"])["pool"].shape)
    together = run_variants(graph, x, "pool", values)
    for number, value in enumerate(values):
        assert torch.allclose(together[number], run_with(graph, x, [Intervention("pool", value)]), atol=1e-5)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.gru, self.last = nn.Linear(5, 5), nn.GRU(5, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, _ = self.gru(self.first(x).unsqueeze(1))
        return self.last(out.squeeze(1))


class AddsInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 2).add_(self.first(x))


@pytest.mark.parametrize("model", [Recurrent(), AddsInPlace()])
def test_variants_of_a_network_that_vmap_can_not_run(model: nn.Module) -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 5)
    graph = ModelGraph.trace(model, x[:2])
    values = torch.randn(4, 6, 5)
    with pytest.raises(RuntimeError):
        torch.vmap(lambda value: run_with(graph, x, [Intervention("first", value)]))(values)
    together = run_variants(graph, x, "first", values)
    for number, value in enumerate(values):
        assert torch.equal(together[number], run_with(graph, x, [Intervention("first", value)]))


def test_variants_that_do_not_fit_in_memory_are_not_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the device torch says so in a class of its own, of the processor in a RuntimeError like any other."""
    graph, x = skip()
    values = torch.randn(4, len(x), 5)
    vmap = torch.vmap
    for error in (torch.OutOfMemoryError("out of memory"), RuntimeError("can't allocate memory: 200 GB")):

        def small(function: Callable[..., torch.Tensor], error: Exception = error) -> Callable[..., torch.Tensor]:
            def run(values: torch.Tensor) -> torch.Tensor:
                if values.shape[0] > 2:
                    raise error
                return vmap(function)(values)

            return run

        monkeypatch.setattr(torch, "vmap", small)
        with pytest.raises(type(error), match="memory"):
            run_variants(graph, x, "relu", values)


@pytest.mark.parametrize("value", [torch.zeros(4), torch.zeros(3, 5), torch.zeros(2, 9, 5)])
def test_a_value_that_does_not_fit_its_site(value: torch.Tensor) -> None:
    graph, x = skip()
    with pytest.raises(ValueError, match=r"relu: the shape .* doesn't broadcast to \(9, 5\)"):
        run_with(graph, x, [Intervention("relu", value)])


def test_a_mask_that_does_not_fit_its_site() -> None:
    graph, x = skip()
    with pytest.raises(ValueError, match=r"units of relu: the shape \(4,\) doesn't broadcast"):
        run_with(graph, x, [Intervention("relu", torch.zeros(5), torch.ones(4))])


def test_a_batch_of_none_and_of_one() -> None:
    graph, x = skip()
    for n in (0, 1):
        assert run_with(graph, x[:n], [Intervention("relu", torch.zeros(5))]).shape == (n, 3)


def test_a_parameter_of_a_distributed_graph_can_be_replaced() -> None:
    graph, x = skip()
    split = graph.distribute("last")
    without_bias = run_with(split, x, [Intervention("last.bias", torch.zeros(3))])
    assert torch.allclose(without_bias, graph(x) - graph.submodule("last").bias, atol=1e-6)


def test_the_runs_of_all_batches_are_kept_where_they_fit_to_the_byte() -> None:
    graph, _ = skip()
    x = torch.randn(1200, 5)
    size = sum(graph.program.total_size(n) for n in (1000, 200))
    all_fit, too_large = Runs(graph, x, memory=size), Runs(graph, x, memory=size - 1)
    for runs, fit in ((all_fit, True), (too_large, False)):
        first, second = runs[0], runs[1]
        assert runs.fit == fit and runs[1] is second and (runs[0] is first) == fit


def test_a_site_is_kept_where_it_fits_to_the_byte_and_gives_up_no_other_where_it_does_not() -> None:
    graph, x = skip()
    relu, last = graph.site("relu"), graph.site("last")
    assert SiteValues(graph, x, relu, memory=9 * 5 * 4).size == 9 * 5 * 4
    assert SiteValues(graph, x, relu, memory=9 * 5 * 4 - 1).kept is None
    kept = KeptSites(memory=9 * 3 * 4)
    small = kept.of(graph, x, last)
    assert kept.of(graph, x, relu).kept is None
    assert kept.of(graph, x, last) is small and small.kept is not None


def test_values_are_kept_for_one_network_and_one_set_of_examples() -> None:
    (one, x), kept = skip(), KeptSites()
    other = ModelGraph.trace(TwoLayerSkip(5, 3), x[:2])
    index = torch.tensor([4, 0])
    for graph, examples in ((one, x), (one, -x), (other, x)):
        found = kept.of(graph, examples, graph.site("relu"))
        expected = torch.relu(graph.submodule("first")(examples[index]))
        assert torch.allclose(found.rows(index), expected, atol=1e-6)


def test_mean_of_an_empty_batch_and_interchange_of_some_units() -> None:
    with pytest.raises(ValueError, match="the mean of no examples"):
        mean([torch.zeros(0, 2)])
    graph, x = skip()
    source, mask = torch.randn(9, 5), torch.tensor([1, 0, 0, 1, 0])
    first, last = graph.submodule("first"), graph.submodule("last")
    hidden = torch.where(mask.bool(), torch.relu(first(source)), torch.relu(first(x)))
    for units in (mask, mask.bool()):
        assert torch.allclose(
            run_with(graph, x, [interchange(graph, "relu", source, units)]), last(x + hidden), atol=1e-6
        )

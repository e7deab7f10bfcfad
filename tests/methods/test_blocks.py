"""Work that is done in blocks gives what it gives in one: every size of a block that a module names, made small."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods import ablation, clusters, decoder_training, decoding, pruning
from mi_runner.methods.circuits import census, measures, minimality, prefixes
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.measures import CircuitMeasures
from mi_runner.methods.contributions import contributions
from mi_runner.methods.discovery import masked, rankings, sampling, scores, stability
from mi_runner.methods.explanations import groundings
from mi_runner.methods.interchange import Aligned, counterfactual_correct, draw_pairs
from mi_runner.methods.replacements import Running, Source
from mi_runner.methods.residuals import linear_fit
from mi_runner.models.batches import BATCH, outputs_of
from mi_runner.models.two_layer_skip import TwoLayerSkip
from mi_runner.tables.names import NONE
from mi_runner.training.clusterability import contiguous
from tests.boolean_networks import random_network, well_formed
from tests.masked_parts import all_circuits, examples, random_part
from tests.small_data import classes
from tests.small_parts import all_of, examples_of
from tests.small_parts import random_part as part_of_kinds


def flat(values: Any) -> np.ndarray:
    """All numbers of tensors and arrays, and of lists and tables of them."""
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list | tuple):
        return np.concatenate([np.zeros(0), *map(flat, values)])
    if isinstance(values, Tensor):
        values = values.detach().double().numpy()
    return np.asarray(values, dtype=float).reshape(-1)


def measured(**choices: str) -> list[np.ndarray]:
    part = part_of_kinds((2, 3, 3, 1), ["leaky_relu"] * 3, seed=3)
    found = all_of(part, examples_of(part), **choices).sorted()
    return [found.circuit.astype(float), found.n_correct, found.n_agreeing, found.squares]


def single_layer() -> list[np.ndarray]:
    part = part_of_kinds((6, 1), ["tanh"])
    found = CircuitMeasures.joined(list(measures.measure(part, examples_of(part), inputs="any"))).sorted()
    return [found.circuit.astype(float), found.n_correct, found.n_agreeing, found.squares]


def counted(most: int) -> list[np.ndarray]:
    part = part_of_kinds((2, 3, 3, 1), ["leaky_relu"] * 3, seed=3)
    found, listed = census.take_census(part, examples_of(part), 33, most, salt=5)
    return [found.counts, found.edge_counts, listed.astype(float)]


def decoded() -> list[Any]:
    draw = torch.Generator().manual_seed(0)
    images, index = torch.randn(40, 3, 3, generator=draw), torch.randint(40, (120,), generator=draw)
    labels = {"a": torch.arange(40) % 2, "b": torch.arange(40) // 10}
    folds = decoding.split_folds(images, index, 4, seed=0)
    trained = decoder_training.train_decoders(images, labels, folds, epochs=2, batch_size=32)
    return [[*decoder.parameters(), *history] for decoder, history in trained]


PART = random_part((3, 3, 2, 1))
X, Y = examples(PART)
CIRCUITS = all_circuits(PART.sizes)[::97]


def objectives() -> list[np.ndarray]:
    rows = stability.resamples(len(X), 3, torch.Generator().manual_seed(1))
    found = []
    for kind in ("zero", "mean"):
        part = masked.MaskedPart(PART, X, Y, kind, counts=stability.counts_of(rows))
        given = np.arange(len(CIRCUITS)) % 3
        found += [part.objective(CIRCUITS, which, given) for which in ("distance", "loss")]
        own = part.measures(CIRCUITS)
        found += [own.n_correct, own.n_agreeing, own.mse, own.loss]
    return found


def levels_by_search() -> list[np.ndarray]:
    part = part_of_kinds((2, 2, 2, 1), ["relu"] * 3, seed=3)
    is_valid = minimality.validity(part, examples_of(part), 0.5)
    circuits = all_circuits(part.sizes)
    valid = circuits[is_valid(circuits)]
    assert 10 < len(valid) < len(circuits)
    return [*minimality.minimality_by_search(part.sizes, valid, is_valid, fewest=3)]


def switched() -> list[Any]:
    torch.manual_seed(0)
    data, graph = (
        classes(),
        ModelGraph.trace(nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)).eval(), classes().x_test[:2]),
    )
    partition = contiguous(9, 6, 3)
    controls = clusters.random_partitions(partition, 2)
    found = clusters.switch_clusters(graph, "0", partition, data.x_test, data.y_test, controls=controls)
    return [[one.control, len(one.state), -1 if one.cluster is None else one.cluster, one.correct] for one in found]


def units() -> list[Any]:
    torch.manual_seed(0)
    data = classes()
    rows = ablation.ablate_units(
        TwoLayerSkip(6, 3).eval(), data.x_test, data.y_test, targets=["relu", "x/add"], source=Source(repeats=2)
    )
    return [[row["unit"], row["loss"], row["accuracy"]] for row in rows]


def grounded() -> np.ndarray:
    network = random_network((2, 3, 3, 1), seed=4)
    circuits = np.array(well_formed(network, 40, seed=0), dtype=np.uint64)
    return np.array([float(n) for n in groundings.count_groundings(network, circuits)])


BLOCKS: dict[str, tuple[Any, str, tuple[int, ...], Callable[[], Any]]] = {
    "ranked circuits": (
        rankings, "BYTES_AT_ONCE", (1,),
        lambda: rankings.ranked_circuits(Edges(PART.sizes), np.random.default_rng(0).random((5, 17)), np.arange(18)),
    ),
    "objectives": (masked, "NUMBERS_AT_ONCE", (1, 700), objectives),
    "objectives without the kernel": (masked, "MOST_COMPILED", (0,), objectives),
    "attribution along a path": (
        scores, "NUMBERS_AT_ONCE", (1, 3 * X.numel()), lambda: scores.eap_ig(PART, X, Y, "mean", signed=True)
    ),
    "every circuit by prefixes": (measures, "PREFIXES_AT_ONCE", (1, 7), measured),
    "every circuit by nodes": (prefixes, "NODES_AT_ONCE", (1, 30), measured),
    "every circuit by rows": (measures, "ROWS_AT_ONCE", (1, 900), lambda: measured(ablation="mean", inputs="any")),
    "circuits of a single layer": (measures, "NUMBERS_AT_ONCE", (1, 300), single_layer),
    "a census by prefixes": (census, "PREFIXES_AT_ONCE", (1, 7), lambda: counted(10**9)),
    "a sample of a census": (census, "PREFIXES_AT_ONCE", (1, 7), lambda: counted(60)),
    "a census by little memory": (census, "BYTES_AT_ONCE", (1, 5000), lambda: counted(60)),
    "a census by rows": (census, "COUNTED_AT_ONCE", (1,), lambda: counted(60)),
    "valid circuits": (minimality, "NUMBERS_AT_ONCE", (1, 1000), levels_by_search),
    "a search for smaller circuits": (minimality, "AT_ONCE", (1, 50), levels_by_search),
    "switched clusters": (clusters, "MOST_VALUES", (1, 800), switched),
    "units one by one": (ablation, "VARIANT_NUMBERS", (1, 900), units),
    "groundings": (groundings, "AT_ONCE", (1, 13), grounded),
    "decoders in several stacks": (decoder_training, "MOST_STEP_NUMBERS", (1,), decoded),
    "held-out images": (decoder_training, "BATCH", (4, 12), decoded),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_the_size_of_a_block_plays_no_role(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, constant, small, work = BLOCKS[name]
    whole = flat(work())
    assert len(whole) > 10 and len(np.unique(whole)) > 1
    for size in small:
        monkeypatch.setattr(module, constant, size)
        np.testing.assert_allclose(flat(work()), whole, rtol=2e-4, atol=1e-5)


def test_circuits_are_drawn_in_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "NUMBERS_AT_ONCE", 3 * 17)
    sampler = sampling.CircuitSampler(PART.sizes, torch.Generator().manual_seed(0))
    drawn = sampler.draw(8, 50)
    assert drawn.shape == (50, 17) and (drawn.sum(1) == 8).all() and len({row.tobytes() for row in drawn}) > 40
    assert np.array_equal(sampler.edges.closed(drawn), drawn)


# --- more examples than a batch: the last batch is a smaller one -----------------------------------------------------

N = 2 * BATCH + 70


def many() -> tuple[TwoLayerSkip, Tensor, Tensor]:
    """The last 70 examples are unlike the others, so that a batch that counts too much shows."""
    torch.manual_seed(0)
    network = TwoLayerSkip(6, 3).eval()
    x, y = torch.randn(N, 6), torch.randint(3, (N,))
    x[2 * BATCH :] += 3
    return network, x, y


@torch.no_grad()
def test_ablations_of_more_than_a_batch() -> None:
    network, x, y = many()
    hidden = torch.relu(network.first(x))
    for memory in (0, 1e9):
        found = ablation.ablate(network, x, y, targets=["relu"], methods=["mean", "zero"], running=Running(memory))
        expected = [network(x), network.last(x + hidden.mean(0)), network.last(x)]
        for row, outputs in zip(found.rows, expected, strict=True):
            assert row["loss"] == pytest.approx(float(functional.cross_entropy(outputs, y)), rel=1e-5)
            assert row["accuracy"] == pytest.approx(float((outputs.argmax(1) == y).double().mean()))
        counts = {(row["label"], row["predicted"]): row["count"] for row in found.confusion if row["method"] == NONE}
        predicted = outputs_of(network, x).argmax(1)
        assert counts == {
            pair: n
            for pair in ((a, b) for a in range(3) for b in range(3))
            if (n := int(((y == pair[0]) & (predicted == pair[1])).sum()))
        }


@torch.no_grad()
def test_the_summands_of_the_logits_of_more_than_a_batch() -> None:
    network, x, y = many()
    rows = {row["summand"]: row for row in contributions(network, x, y)}
    w = network.last.weight
    for name, value in (("x", x), ("relu", torch.relu(network.first(x)))):
        logits = value @ w.T
        above = logits.gather(1, y[:, None])[:, 0] - logits.mean(1)
        (row,) = [row for summand, row in rows.items() if summand.split("[")[0] == name or f"[{name}]" in summand]
        assert row["label_logit"] == pytest.approx(float(above.double().mean()), rel=1e-4, abs=1e-6)
        assert row["accuracy"] == pytest.approx(float((logits.argmax(1) == y).double().mean()))


@torch.no_grad()
def test_a_linear_fit_of_more_than_a_batch() -> None:
    network, x, _ = many()
    fitted = linear_fit(ModelGraph.trace(network, x[:2]), x, "relu", ["x"])
    features = torch.cat([x, torch.ones(N, 1)], 1).double()
    expected = features @ torch.linalg.lstsq(features, torch.relu(network.first(x)).double()).solution
    assert torch.allclose(fitted(x).double(), expected, atol=1e-4)
    with pytest.raises(ValueError, match="a linear fit of relu reads 6 numbers, so it needs more than 6 examples"):
        linear_fit(ModelGraph.trace(network, x[:2]), x[:6], "relu", ["x"])


def test_more_pairs_than_a_batch() -> None:
    from mi_runner.methods.alignment import Units
    from tests.interchanges import Xor, bits

    dataset = bits(1500)
    model = dataset.causal_model
    assert model is not None
    pairs = draw_pairs(
        model, model.values_test, [("a",)], N, among=torch.arange(1500), generator=torch.Generator().manual_seed(0)
    )
    for unit, is_right in ((0, True), (1, False)):
        network = Xor().eval()
        aligned = Aligned(
            network, ModelGraph.trace(network, torch.eye(4)), "first", Units((2,), [torch.tensor([unit])])
        )
        correct, outputs = counterfactual_correct(aligned, dataset, pairs)
        assert correct.shape == (N,) and outputs.shape == (N, 2) and bool(correct.all()) == is_right
        with torch.no_grad():
            hidden, other = (
                network.first(dataset.x_test[pairs.base]),
                network.first(dataset.x_test[pairs.sources[:, 0]]),
            )
            hidden[:, unit] = other[:, unit]
            expected = network.last(torch.relu(network.second(hidden)))
        assert torch.allclose(outputs, expected, atol=1e-6)


def test_classes_are_pruned_alike_with_one_thread_and_with_several() -> None:
    part = part_of_kinds((4, 5, 3), ["relu", "identity"], seed=2)
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 3
    before = torch.get_num_threads()
    kept = []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        kept.append(pruning.prune_classes(part, x, labels, threshold=0.01))
    torch.set_num_threads(before)
    assert kept[0].keys() == kept[1].keys() and len(kept[0]) == 3
    assert all(torch.equal(*both) for number in kept[0] for both in zip(kept[0][number], kept[1][number], strict=True))
    assert not math.isnan(float(sum(mask.sum() for masks in kept[0].values() for mask in masks)))

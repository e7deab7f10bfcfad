"""What is drawn at random: the same for one seed, other for other seeds and repeats, uniform where it says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mi_runner.datasets.causal_models import CausalModel, ModularSum
from mi_runner.graph.interventions import draw_others
from mi_runner.methods import decoding, matching
from mi_runner.methods.ablation import ablate
from mi_runner.methods.adversary import Adversaries, AdversaryTraining
from mi_runner.methods.alignment import Rotation, Units
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.decoder_training import train_decoder
from mi_runner.methods.discovery import stability
from mi_runner.methods.discovery.sampling import CircuitSampler
from mi_runner.methods.discovery.scores import random as random_scores
from mi_runner.methods.interchange import InterchangeTraining, Pairs, draw_pairs, train_by_interchange
from mi_runner.methods.probes import probe, split_folds
from mi_runner.methods.replacements import Source
from mi_runner.training.evaluation import loss_function
from mi_runner.training.loop import train
from mi_runner.training.options import TrainingOptions
from tests.interchanges import aligned, bits, pairs, sgd
from tests.masked_parts import examples, random_part
from tests.small_data import classes


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs_of(seed: int, n: int = 3000, **options: Any) -> Tensor:
    """Columns base, first and second source."""
    values = torch.arange(6).double()[:, None].expand(6, 2)
    model = CausalModel(("a", "b"), values, values, ModularSum(3, classes=True))
    found = draw_pairs(model, values, [("a",), ("b",)], n, among=torch.arange(6), generator=draw(seed), **options)
    return torch.cat([found.base[:, None], found.sources], 1)


CIRCUIT = random_part((3, 3, 1))
X, Y = examples(CIRCUIT)
LABELS = {"a": torch.arange(30), "b": torch.arange(30) + 100}
IMAGES = torch.arange(30).float()[:, None, None].expand(30, 2, 2)
ONE = torch.arange(8.0)[:, None]

PART_OF_IMAGES = decoding.DecodingSplit(torch.arange(20), torch.arange(20, 30), 0)


def decoder_of(seed: int, **options: Any) -> nn.Module:
    return train_decoder(IMAGES, {"a": torch.arange(30) % 3}, PART_OF_IMAGES, seed=seed, **options)[0]


def adversary(seed: int) -> Tensor:
    """The first directions of an adversary."""
    found = aligned(nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)), "0", Units((6,), [torch.arange(2)]))
    how = AdversaryTraining(rank=2, optimizer=sgd)
    return Adversaries(found, torch.zeros(4), how, nn.functional.cross_entropy, seed=seed).strongest.alignment.weight


DRAWN: dict[str, Callable[[int], Any]] = {
    "first weights of a decoder": lambda seed: decoder_of(seed, epochs=0).heads.linear.weight,
    "first directions of an adversary": adversary,
    "other examples": lambda seed: draw_others(30, generator=draw(seed)),
    "pairs": pairs_of,
    "pairs of a single source": lambda seed: pairs_of(seed, single_source=True),
    "directions": lambda seed: Rotation((8,), 2, 2, generator=draw(seed)).weight,
    "folds of probes": lambda seed: torch.cat(split_folds(41, 4, generator=draw(seed))),
    "folds of a decoder": lambda seed: torch.cat(
        [split.held_out for split in decoding.split_folds(IMAGES, torch.arange(30), 5, seed=seed)]
    ),
    "split of a decoder": lambda seed: decoding.split_images(IMAGES, torch.arange(30), 0.5, seed=seed).held_out,
    "shuffled labels": lambda seed: decoding.shuffled_labels(LABELS, seed=seed)["a"],
    "resamples": lambda seed: stability.resamples(30, 2, draw(seed)),
    "random scores": lambda seed: random_scores(CIRCUIT, X, Y, "zero", generator=draw(seed))[0],
    "sampled circuits": lambda seed: CircuitSampler((3, 3, 1), draw(seed)).draw(6, 20),
    "matchings": lambda seed: np.concatenate(
        matching.random_matching((9, 9), (False, False), np.random.default_rng(seed))
    ),
    "resampled values": lambda seed: [
        row["loss"]
        for row in ablate(
            nn.Sequential(nn.Identity(), nn.Identity()).eval(),
            ONE,
            ONE[:, 0],
            targets=["0"],
            methods=["resample"],
            source=Source(seed=seed),
        ).rows
    ],
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_seed_draws_the_same_again_and_seeds_differ(name: str) -> None:
    found = [np.asarray(torch.as_tensor(DRAWN[name](seed)).detach()).tolist() for seed in (0, 0, 1, 2)]
    assert found[0] == found[1]
    assert found[0] != found[2] and found[2] != found[3] and found[0] != found[3]


def test_repeats_of_a_resampled_value_differ_and_targets_share_their_sources() -> None:
    network = nn.Sequential(nn.Identity(), nn.Identity()).eval()
    rows = ablate(network, ONE, ONE[:, 0], targets=["0", "1"], methods=["resample"], source=Source(repeats=4)).rows[1:]
    losses = {target: [row["loss"] for row in rows if row["target"] == target] for target in ("0", "1")}
    assert len(set(losses["0"])) == 4 and losses["0"] == losses["1"]
    assert all(loss > 0 for loss in losses["0"])  # no example is its own source


def test_sources_are_uniform_over_the_other_examples_and_each_place_has_its_own() -> None:
    base, first, second = pairs_of(0).T
    assert torch.equal(base.bincount(), torch.full((6,), 500))
    assert not bool((base == first).any()) and not bool((base == second).any())
    for sources in (first, second):
        counts = Counter(zip(base.tolist(), sources.tolist(), strict=True))
        assert len(counts) == 30 and all(60 <= count <= 145 for count in counts.values())  # 100 on average, sd 9
    assert 450 <= int((first == second).sum()) <= 750  # a fifth
    base, first, second = pairs_of(0, single_source=True).T
    assert torch.equal(first, second) and not bool((base == first).any())


def test_folds_are_in_random_order_and_of_almost_equal_sizes() -> None:
    folds = split_folds(41, 4, generator=draw(0))
    assert sorted(map(len, folds)) == [10, 10, 10, 11] and sorted(torch.cat(folds).tolist()) == list(range(41))
    assert all(fold.max() - fold.min() > 20 for fold in folds)


def test_shuffled_labels_keep_the_variables_of_an_example_together() -> None:
    shuffled = decoding.shuffled_labels(LABELS, seed=0)
    assert torch.equal(shuffled["b"], shuffled["a"] + 100)
    assert sorted(shuffled["a"].tolist()) == list(range(30)) and not torch.equal(shuffled["a"], LABELS["a"])


def test_resamples_are_drawn_with_replacement_and_counted() -> None:
    rows = stability.resamples(200, 3, draw(0))
    counts = stability.counts_of(rows)
    assert counts.sum(1).tolist() == [200] * 3
    assert all(torch.equal(own, row.bincount(minlength=200).double()) for own, row in zip(counts, rows, strict=True))
    # About 1/e of the examples are in no resample.
    assert all(50 <= int((own == 0).sum()) <= 100 for own in counts)


def test_each_permutation_is_as_likely_and_fixed_layers_keep_their_names() -> None:
    random = np.random.default_rng(0)
    drawn = [matching.random_matching((4, 3, 2), (True, False, True), random) for _ in range(600)]
    assert all(own[0].tolist() == [0, 1, 2, 3] and own[2].tolist() == [0, 1] for own in drawn)
    counts = Counter(tuple(own[1].tolist()) for own in drawn)
    assert len(counts) == 6 and all(60 <= count <= 145 for count in counts.values())


def test_matchings_at_random_leave_the_first_network_and_permute_each_other_one() -> None:
    """Three networks with one circuit, through the first of three hidden neurons: the others keep it by chance."""
    circuit = Edges((1, 3, 1)).closed(np.array([[True, False, False, True, False, False]]))
    found = matching.random_recurrence(
        [circuit] * 3, (1, 3, 1), (True, False, True), np.array([0b001001], dtype=np.uint64), draws=600,
        generator=np.random.default_rng(0),
    )  # fmt: skip
    counts = Counter(found.circuits[:, 0].tolist())
    assert set(counts) == {1, 2, 3}  # the first always has it; the others with probability 1/3 each, independently
    assert abs(counts[3] / 600 - 1 / 9) < 0.05 and abs(counts[2] / 600 - 4 / 9) < 0.07
    assert (found.edges[:, 0] >= 1).all() and (found.largest >= found.circuits[:, 0]).all()


def test_dropout_of_a_training_depends_on_its_seed() -> None:
    """All examples are the same one, so that their order plays no role but for rounding."""
    data = classes(40)
    same = replace(data, x_train=data.x_train[:1].repeat(40, 1), y_train=data.y_train[:1].repeat(40))
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(6, 12), nn.Dropout(0.5), nn.Linear(12, 3))
        train(network, same, TrainingOptions(epochs=2, batch_size=40, learning_rate=0.05, optimizer="sgd"), seed=seed)
        weights.append(network[2].weight.detach().clone())
    assert torch.equal(weights[0], weights[1]) and not torch.allclose(weights[0], weights[2], atol=1e-4)


# --- interchange training --------------------------------------------------------------------------------------------


def interchange_trained(seed: int, dropout: float) -> Tensor:
    """The last weights of a network after two epochs on 40 pairs: in batches, or with dropout on one pair always."""
    dataset = bits(60)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2))
    found = aligned(network, "0", Units((8,), [torch.arange(3)]))
    how = InterchangeTraining(
        what="network", epochs=2, batch_size=40 if dropout else 8, warmup_steps=0, learning_rate=0.5,
        gradient_clip=None, optimizer=sgd,
    )  # fmt: skip
    given = pairs(dataset, "train", ("a",), n=40)
    if dropout:
        first = torch.zeros(40, dtype=torch.int64)
        given = Pairs(given.base[first], given.sources[first], given.labels[first], given.changed[first])
    train_by_interchange(found, dataset, given, how, loss_function(TrainingOptions(), dataset), seed=seed)
    return network[3].weight.detach()


@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["order of the pairs", "dropout"])
def test_an_interchange_training_depends_on_its_seed(dropout: float) -> None:
    weights = [interchange_trained(seed, dropout) for seed in (0, 0, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    for one, other in ((0, 2), (2, 3), (0, 3)):
        assert not torch.allclose(weights[one], weights[other], atol=1e-4)


def test_the_step_size_rises_over_the_first_steps_of_all_epochs() -> None:
    """Two steps an epoch, four steps to rise: it doesn't begin again, and a rotation's stays as it is."""
    dataset, rates = bits(60), {0.8: [], 0.3: []}

    class Recording(torch.optim.SGD):
        def __init__(self, parameters: Any, lr: float) -> None:
            super().__init__(parameters, lr=lr)
            self.rates = rates[lr]

        def step(self, closure: Any = None) -> None:
            self.rates.append(self.param_groups[0]["lr"])
            super().step(closure)

    found = aligned(
        nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 2)), "0", Rotation((2,), 1, 1, generator=draw(0))
    )
    how = InterchangeTraining(
        epochs=3, batch_size=20, warmup_steps=4, learning_rate=0.8, rotation_learning_rate=0.3, optimizer=Recording
    )  # fmt: skip
    given = pairs(dataset, "train", ("a",), n=40)
    train_by_interchange(found, dataset, given, how, loss_function(TrainingOptions(), dataset))
    assert rates[0.8] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8]) and rates[0.3] == [0.3] * 6


def test_an_adversary_takes_the_first_source_of_a_pair() -> None:
    """Two pairs that differ in their second source alone give the same adversary."""
    network = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    x, base, first, *others = torch.randn(5, 9, 4 + 2, generator=draw(0))
    weights = []
    for second in others:
        found = aligned(network, "0", Units((6,), [torch.arange(2), torch.arange(2, 4)]))
        labels = torch.arange(9) % 2
        how = AdversaryTraining(rank=1, steps=3, learning_rate=0.5, optimizer=sgd)
        opponent = Adversaries(found, labels, how, nn.functional.cross_entropy)
        loss = opponent.added(torch.arange(9), x[:, :4], base, [first, second])
        weights.append((opponent.strongest.alignment.weight.detach().clone(), float(loss.detach())))
    assert torch.equal(weights[0][0], weights[1][0]) and weights[0][1] == weights[1][1]
    moved = Adversaries(found, labels, how, nn.functional.cross_entropy)
    moved.added(torch.arange(9), x[:, :4], base, [others[0], first])
    assert not torch.allclose(moved.strongest.alignment.weight, weights[0][0], atol=1e-4)


def test_of_equal_penalties_the_largest_is_chosen() -> None:
    """Features that never vary predict the mean with every penalty."""
    y = torch.randn(40, 1, generator=draw(0), dtype=torch.float64)
    folds = split_folds(40, 4, generator=draw(1))
    found = probe(torch.ones(40, 3), {"y": y}, folds, penalties=(0.01, 10.0, 0.1), generator=draw(2))
    assert found.penalties["y"] == (10.0,) * 4

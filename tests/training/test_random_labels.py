"""Labels in random order: the same labels, another order for each seed, and the same in a stack."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace

import torch
from torch import nn

from mi_runner.datasets import Dataset
from mi_runner.training import model_store
from mi_runner.training.loop import train
from mi_runner.training.options import TrainingOptions
from mi_runner.training.random_labels import trained_on
from mi_runner.training.stacked import train_together

OPTIONS = TrainingOptions(epochs=3, batch_size=16, learning_rate=0.01, random_labels=True)


def data() -> Dataset:
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    return Dataset("half", x[:100], y[:100], x[100:], y[100:], ("0", "1"))


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))


def test_labels_are_the_same_in_another_order_for_each_seed() -> None:
    dataset = data()
    one, other = (trained_on(dataset, OPTIONS, seed) for seed in (0, 1))
    assert torch.equal(one.x_train, dataset.x_train) and torch.equal(one.y_test, dataset.y_test)
    assert not torch.equal(one.y_train, dataset.y_train) and not torch.equal(one.y_train, other.y_train)
    assert torch.equal(one.y_train.sort()[0], dataset.y_train.sort()[0])
    assert torch.equal(trained_on(dataset, OPTIONS, 0).y_train, one.y_train)
    assert trained_on(dataset, replace(OPTIONS, random_labels=False), 0) is dataset


def test_a_network_trains_on_them_alone_and_in_a_stack() -> None:
    dataset, alone, by_hand = data(), network(0), network(0)
    history = train(alone, dataset, OPTIONS, seed=0)
    plain = replace(OPTIONS, random_labels=False)
    train(by_hand, trained_on(dataset, OPTIONS, 0), plain, seed=0)
    for one, other in zip(alone.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(one, other)
    assert history[-1]["test_accuracy"] < 0.8
    members = [copy.deepcopy(network(seed)) for seed in (0, 1)]
    train_together(members, [dataset, dataset], OPTIONS, seeds=[0, 1])
    second = network(1)
    train(second, dataset, OPTIONS, seed=1)
    for own, member in zip((alone, second), members, strict=True):
        for one, other in zip(own.parameters(), member.parameters(), strict=True):
            assert torch.allclose(one, other, atol=1e-4)


def test_the_store_knows_these_networks_and_keeps_the_names_of_others() -> None:
    plain = replace(OPTIONS, random_labels=False)
    assert "random_labels" not in model_store._training(plain)
    assert model_store._training(OPTIONS)["random_labels"] is True
    assert set(asdict(plain)) - set(model_store._training(plain)) >= {"random_labels", "keep_epochs"}

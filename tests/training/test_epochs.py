"""The order of an epoch's batches, and what is said of its progress."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from mi_runner.training import epochs
from mi_runner.training.epochs import EpochProgress, merges_last, shuffled_batches


def test_every_example_is_in_one_batch_in_an_order_that_follows_from_the_generator() -> None:
    batches = shuffled_batches(10, 4, generator=torch.Generator().manual_seed(0))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(10))
    again = shuffled_batches(10, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.cat(batches), torch.cat(again))
    assert torch.equal(torch.cat(batches), torch.randperm(10, generator=torch.Generator().manual_seed(0)))
    other = shuffled_batches(10, 4, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(torch.cat(batches), torch.cat(other))


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("on any batch")


class InPlace(nn.Module):
    """It draws, and works in place on its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(torch.rand(()))


@pytest.mark.parametrize(
    ("n", "batch_size", "merges"),
    [(9, 4, True), (8, 4, False), (10, 4, False), (4, 2, False), (3, 2, True), (2, 2, False), (2, 9, False)],
)
def test_only_a_last_batch_of_one_that_batchnorm_can_not_have_is_merged(n: int, batch_size: int, merges: bool) -> None:
    x = torch.ones(9, 3)
    assert merges_last(nn.BatchNorm1d(3), x, n, batch_size) == merges
    others = nn.Linear(3, 3), Broken(), InPlace()
    state = torch.get_rng_state()
    for other in others:
        assert not merges_last(other, x, n, batch_size)
    assert torch.equal(x, torch.ones(9, 3)) and torch.equal(torch.get_rng_state(), state)


def test_the_speed_is_that_of_all_examples_since_the_epoch_began(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.0, 102.0, 105.0])
    monkeypatch.setattr(epochs, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))  # pytest has a clock, too
    calls: list[tuple[int, str]] = []
    progress = EpochProgress(lambda steps, note="", /: calls.append((steps, note)), "epoch 2/5", unit="pairs")
    progress.report(3000, 0.5)
    progress.report(7000, 0.25)
    assert calls == [(3000, "epoch 2/5  loss 0.5000  1,500 pairs/s"), (7000, "epoch 2/5  loss 0.2500  2,000 pairs/s")]

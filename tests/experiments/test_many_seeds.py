"""Networks trained in a stack against each trained alone: two routes to the same weights, tables and stored models."""

from __future__ import annotations

import csv
import errno
import itertools
import math
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mi_runner import chance, models
from mi_runner.config import composition
from mi_runner.config.models.cnn import CnnConfig
from mi_runner.config.models.mlp import MlpConfig
from mi_runner.config.models.skip import SkipConfig
from mi_runner.config.registry import SCHEMAS
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError
from mi_runner.experiments.train.tables import METRICS
from mi_runner.models import Built
from mi_runner.progress import Progress
from mi_runner.runs import preparation, runner
from mi_runner.runs.choices import build_network, load_dataset
from mi_runner.tables.over_seeds import seeds_summary
from mi_runner.training import loop as training
from mi_runner.training import model_store
from mi_runner.training import stacked as stacked_training
from mi_runner.training.options import TrainingOptions
from mi_runner.training.stacked import check_together, train_together
from tests.commands import TINY as RUNNER_TINY
from tests.commands import required, write_data
from tests.conftest import Ended
from tests.networks import OPTIMIZERS, Counting, WithDropout
from tests.small_data import classes, values

MiRun = Callable[..., Ended]

TINY = (*RUNNER_TINY, "model.hidden_sizes=[5]")


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """A model store of the test's own."""
    monkeypatch.setenv("MI_RUN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """One thread: for networks this small, waiting for a second one takes longer than the arithmetic."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights_of(network: nn.Module) -> Tensor:
    """All weights in one vector `(P,)`."""
    return nn.utils.parameters_to_vector(network.parameters()).detach()


def initialised(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    with chance.global_seed(seed, "test"):
        return make().eval()


def assert_as_alone(
    make: Callable[[], nn.Module],
    data: Sequence[Dataset],
    config: TrainingOptions,
    seeds: Sequence[int] = (3, 4, 5),
    changed: float = 0.01,
) -> list[nn.Module]:
    """The networks of a stack end with the weights and histories of those trained one by one; returns them."""
    stacked, alone = ([initialised(make, seed) for seed in seeds] for _ in range(2))
    before = [weights_of(network) for network in alone]
    check_together(stacked, data, config, seeds=seeds)
    histories = train_together(stacked, data, config, seeds=seeds)
    for network, dataset, seed, other, history, start in zip(
        alone, data, seeds, stacked, histories, before, strict=True
    ):
        expected = training.train(network, dataset, config, seed=seed)
        assert torch.allclose(weights_of(other), weights_of(network), rtol=1e-4, atol=1e-5)
        # The tolerance is far below what training changes, so that another batch order or rule of update shows.
        assert (weights_of(network) - start).abs().max() > changed
        assert [list(row) for row in history] == [list(row) for row in expected]
        for row, wanted in zip(history, expected, strict=True):
            assert row == pytest.approx(wanted, rel=1e-4, abs=1e-6)
        assert not other.training
    return stacked


def mlp(n_outputs: int, output_activation: nn.Module | None = None) -> nn.Module:
    return models.mlp.MLP([6, 5, n_outputs], nn.Tanh, output_activation)


# --- each as it would have been alone ------------------------------------------------------------------------------

LOSSES: dict[str, tuple[dict[str, Any], Callable[..., Dataset], Callable[[], nn.Module]]] = {
    "cross_entropy": ({}, classes, lambda: mlp(3)),
    "label smoothing": ({"label_smoothing": 0.2}, classes, lambda: mlp(3)),
    "mse": ({"loss": "mse"}, values, lambda: mlp(1)),
    "bce": ({"loss": "bce"}, values, lambda: mlp(1, nn.Sigmoid())),
}


@pytest.mark.parametrize("own_data", [True, False], ids=["own data", "shared data"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_and_history_are_those_of_each_alone(optimizer: str, loss: str, own_data: bool) -> None:
    options, dataset, make = LOSSES[loss]
    # 40 examples in batches of 16: two whole ones and a last one of 8.
    config = TrainingOptions(epochs=3, batch_size=16, **OPTIMIZERS[optimizer], **options)
    networks = assert_as_alone(make, [dataset(seed=seed if own_data else 0) for seed in range(3)], config)
    assert not torch.allclose(weights_of(networks[0]), weights_of(networks[1]), atol=0.01)


def images(seed: int = 0) -> Dataset:
    """Small images of two classes: bright above or below."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(48, 1, 8, 8, generator=draw)
    y = (x[:, 0, :4].mean((1, 2)) > x[:, 0, 4:].mean((1, 2))).long()
    return Dataset("arrays", x[:32], y[:32], x[32:], y[32:], ("below", "above"))


@pytest.mark.parametrize("config", [SkipConfig(), CnnConfig(), MlpConfig(hidden_sizes=[7, 6])], ids=lambda c: c.name)
def test_every_model_of_ours(config: Any) -> None:
    data = [build_network(config, images(seed), seed=0).dataset for seed in range(3)]
    options = TrainingOptions(epochs=2, batch_size=12, optimizer="sgd", learning_rate=0.1, momentum=0.5)
    assert_as_alone(lambda: build_network(config, images(), seed=int(torch.randint(99, ()))).model, data, options)


class OtherInTraining(nn.Module):
    """A network that answers otherwise while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x) * (3.0 if self.training else 1.0)


def test_networks_train_in_training_mode_and_are_tested_in_evaluation_mode() -> None:
    assert_as_alone(OtherInTraining, [classes()] * 3, TrainingOptions(epochs=2, batch_size=16, learning_rate=0.01))


class Peculiar(nn.Module):
    """All that a network may have besides weights that are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.second.weight = self.first.weight  # tied
        self.second.bias.requires_grad_(False)  # frozen
        self.unused = nn.Parameter(torch.ones(2))  # never gets a gradient
        self.register_buffer("scale", torch.rand(6))
        self.norm = nn.BatchNorm1d(6, track_running_stats=False)
        self.constant = torch.tensor(0.5)  # neither parameter nor buffer

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.norm(self.first(x) * self.scale)) + self.constant
        x = x + self.second(x).relu_() * torch.arange(6) / 6
        return self.last(torch.cat([part + 0 for part in x.split(3, dim=1)], dim=1))


def test_a_network_with_frozen_tied_unused_weights_buffers_and_statistics_of_the_batch() -> None:
    # With weight decay, an unused weight that were taken for one with a gradient of zero would shrink. No Adam, because
    # the norm cancels the first bias, whose gradient is rounding alone: Adam would make whole steps of it.
    config = TrainingOptions(epochs=2, batch_size=16, optimizer="sgd", learning_rate=0.1, weight_decay=0.1)
    for network in assert_as_alone(Peculiar, [classes(seed=seed) for seed in range(3)], config):
        assert torch.equal(network.unused, torch.ones(2))
        assert network.second.weight is network.first.weight


@pytest.mark.parametrize(
    ("kind", "strength"), [("clusterability", 0.5), ("clusterability", 0.0), ("l1", 0.02), ("orthogonality", 0.1)]
)
def test_the_regularizer_is_each_networks_own(kind: str, strength: float) -> None:
    config = TrainingOptions(
        epochs=2,
        batch_size=16,
        learning_rate=0.01,
        regularizer=kind,
        regularizer_strength=strength,
        regularizer_clusters=2,
    )
    make = lambda: models.mlp.MLP([6, 4, 4, 3])  # noqa: E731
    networks = assert_as_alone(make, [classes(seed=seed) for seed in range(3)], config)
    histories = train_together(networks, [classes(seed=seed) for seed in range(3)], config, seeds=[0, 1, 2])
    assert len({row[kind] for history in histories for row in history}) == 6
    sign = -1 if kind == "clusterability" else 1
    assert all((sign * row["penalty"] > 0) == bool(strength) for history in histories for row in history)


def test_each_network_stops_by_itself() -> None:
    """At its own epoch, with the weights of that epoch; at a loss between those of the last epoch some never do."""
    options = TrainingOptions(epochs=5, batch_size=16, loss="mse", learning_rate=0.02)
    alone = [initialised(lambda: mlp(1), seed) for seed in (3, 4, 5)]
    losses = [
        [row["loss"] for row in training.train(network, values(), options, seed=seed)]
        for network, seed in zip(alone, (3, 4, 5), strict=True)
    ]
    stop_loss = 1.001 * sorted(of_one[-1] for of_one in losses)[1]
    networks = assert_as_alone(lambda: mlp(1), [values()] * 3, replace(options, stop_loss=stop_loss))
    epochs = [sum(loss > stop_loss for loss in of_one) + 1 for of_one in losses]
    assert len(set(epochs)) > 1 and max(epochs) == 6, epochs
    assert torch.allclose(weights_of(networks[epochs.index(6)]), weights_of(alone[epochs.index(6)]), atol=1e-5)


@pytest.mark.parametrize("quantile", ["first", "all but one", "all"])
def test_networks_that_stop_long_before_the_others_keep_the_weights_of_then(quantile: str) -> None:
    """Against a training alone that has no more epochs than the one that reached the loss."""
    options = TrainingOptions(epochs=12, batch_size=16, loss="mse", learning_rate=0.02)
    seeds = (3, 4, 5)
    losses = []
    for seed in seeds:
        history = training.train(initialised(lambda: mlp(1), seed), values(), options, seed=seed)
        losses.append([row["loss"] for row in history])
    stop_loss = {
        "first": 1.001 * min(of_one[3] for of_one in losses),
        "all but one": 1.001 * sorted(of_one[5] for of_one in losses)[1],
        "all": 1.001 * max(of_one[7] for of_one in losses),
    }[quantile]
    epochs = [next((number for number, loss in enumerate(of_one, 1) if loss <= stop_loss), 12) for of_one in losses]
    assert min(epochs) <= 6 and len(set(epochs)) > 1, epochs
    stacked = [initialised(lambda: mlp(1), seed) for seed in seeds]
    histories = train_together(stacked, [values()] * 3, replace(options, stop_loss=stop_loss), seeds=seeds)
    for seed, network, history, n_epochs, of_one in zip(seeds, stacked, histories, epochs, losses, strict=True):
        assert not isinstance(history, FloatingPointError)
        assert [row["epoch"] for row in history] == list(range(1, n_epochs + 1))
        assert [row["reached"] for row in history] == [loss <= stop_loss for loss in of_one[:n_epochs]]
        alone = initialised(lambda: mlp(1), seed)
        training.train(alone, values(), replace(options, epochs=n_epochs), seed=seed)
        assert torch.allclose(weights_of(network), weights_of(alone), rtol=1e-4, atol=1e-5)
        if n_epochs < 12:
            training.train(
                longer := initialised(lambda: mlp(1), seed), values(), replace(options, epochs=n_epochs + 1), seed=seed
            )
            assert not torch.allclose(weights_of(network), weights_of(longer), atol=1e-3)


@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize("own_data", [False, True])
def test_each_network_stops_by_its_own_held_out_examples(own_data: bool, keep_best: bool) -> None:
    """Within an epoch and at its end, with the history and weights of then; some don't."""
    options = TrainingOptions(
        epochs=3, batch_size=8, learning_rate=0.02, stop_steps=6, stop_examples=12, keep_best=keep_best
    )
    seeds = range(3, 11)
    data = [classes(n=60, seed=seed if own_data else 0) for seed in seeds]
    assert_as_alone(lambda: mlp(3), data, options, seeds)
    alone = [initialised(lambda: mlp(3), seed) for seed in seeds]
    histories = [
        training.train(network, own, options, seed=seed) for network, own, seed in zip(alone, data, seeds, strict=True)
    ]
    steps = {sum(row["steps"] for row in history) for history in histories}
    stopped = {history[-1]["stopped"] for history in histories}
    assert len(steps) > 3 and stopped == {True, False} and max(steps) == 3 * 6, steps


@pytest.mark.parametrize("n_networks", [40])
def test_networks_that_stop_leave_a_large_stack(n_networks: int) -> None:
    """The others, and their held-out examples, stay those that they were."""
    options = TrainingOptions(
        epochs=8, batch_size=16, learning_rate=0.02, stop_steps=2, stop_examples=12, keep_best=True
    )
    seeds = range(n_networks)
    data = [classes(n=60, seed=seed) for seed in seeds]
    stacked, alone = ([initialised(lambda: mlp(3), seed) for seed in seeds] for _ in range(2))
    histories = train_together(stacked, data, options, seeds=seeds)
    expected = [training.train(*pair, options, seed=seed) for *pair, seed in zip(alone, data, seeds, strict=True)]
    lengths = [len(history) for history in expected if not isinstance(history, FloatingPointError)]
    assert sum(length <= 2 for length in lengths) >= 20 and max(lengths) >= 4, lengths
    for one, other, history, wanted in zip(stacked, alone, histories, expected, strict=True):
        assert torch.allclose(weights_of(one), weights_of(other), rtol=1e-4, atol=1e-5)
        assert not isinstance(history, FloatingPointError) and len(history) == len(wanted)
        assert history[-1] == pytest.approx(wanted[-1], rel=1e-4, abs=1e-6)


def test_a_network_that_diverges_after_another_has_stopped_is_its_own_fault() -> None:
    options = TrainingOptions(
        epochs=2, batch_size=8, optimizer="sgd", learning_rate=0.01, loss="mse", stop_steps=2, stop_examples=12
    )
    data = [values(n=60), values(n=60)]
    data[1] = replace(data[1], x_train=data[1].x_train * 1e20)
    stacked, alone = ([initialised(lambda: mlp(1), seed) for seed in (3, 4)] for _ in range(2))
    with torch.no_grad():
        for networks in (stacked, alone):
            networks[1].layers[0].weight.fill_(float("inf"))
    histories = train_together(stacked, data, options, seeds=[3, 4])
    expected = training.train(alone[0], data[0], options, seed=3)
    assert histories[0] == [pytest.approx(row, rel=1e-4, abs=1e-6) for row in expected]
    assert torch.allclose(weights_of(stacked[0]), weights_of(alone[0]), rtol=1e-4, atol=1e-5)
    assert isinstance(histories[1], FloatingPointError) and "training diverged in epoch 1" in str(histories[1])


def test_a_batch_larger_than_the_training_set_is_the_whole_of_it() -> None:
    config = TrainingOptions(epochs=2, batch_size=1000, optimizer="sgd", learning_rate=0.5)
    assert_as_alone(lambda: mlp(3), [classes()] * 3, config)


def test_a_stack_of_one() -> None:
    config = TrainingOptions(epochs=1, batch_size=16, learning_rate=0.01)
    assert_as_alone(lambda: mlp(3), [classes()], config, seeds=[7])


def test_no_epochs_train_nothing() -> None:
    networks = [mlp(3).train() for _ in range(2)]
    before = [weights_of(network) for network in networks]
    config = TrainingOptions(epochs=0)
    check_together(networks, [classes()] * 2, config, seeds=[0, 1])
    assert train_together(networks, [classes()] * 2, config, seeds=[0, 1]) == [[], []]
    assert all(torch.equal(weights_of(network), start) for network, start in zip(networks, before, strict=True))
    assert not networks[0].training


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    networks = [mlp(3) for _ in range(2)]
    torch.set_rng_state(before)
    check_together(networks, [classes()] * 2, TrainingOptions(epochs=1), seeds=[0, 1])
    train_together(networks, [classes()] * 2, TrainingOptions(epochs=1), seeds=[0, 1])
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacked_training, "MOST_EVALUATION_VALUES", 1)  # an example at a time
    assert_as_alone(
        lambda: mlp(3), [classes()] * 2, TrainingOptions(epochs=1, batch_size=16), seeds=[0, 1], changed=0.0
    )


# --- progress ------------------------------------------------------------------------------------------------------


def test_the_bar_ends_where_the_work_does_and_rows_have_their_seed() -> None:
    progress = Counting()
    config = TrainingOptions(epochs=2, batch_size=1)
    histories = train_together([mlp(3), mlp(3)], [classes()] * 2, config, seeds=[5, 6], progress=progress)
    assert progress.done == progress.total == 2 * 2 * 40
    rows = progress.tables["history"]
    assert [(row["seed"], row["epoch"]) for row in rows] == [(5, 1), (6, 1), (5, 2), (6, 2)]
    assert [{name: value for name, value in row.items() if name != "seed"} for row in rows if row["seed"] == 6] == (
        histories[1]
    )


# --- divergence ----------------------------------------------------------------------------------------------------


SCALES = {"the loss is inf": (1e20, 0.1), "a weight is not finite": (1e18, 1e3)}
"""Of one network's inputs, and the learning rate: squared errors of 10⁴⁰ overflow; slopes of 10³⁶ do times the rate."""


@pytest.mark.parametrize("what", SCALES)
def test_a_network_that_diverges_is_named_and_touches_no_other(what: str) -> None:
    scale, learning_rate = SCALES[what]
    data = [values(seed=seed) for seed in range(3)]
    data[1] = replace(data[1], x_train=data[1].x_train * scale)
    config = TrainingOptions(epochs=1, batch_size=40, optimizer="sgd", learning_rate=learning_rate)
    stacked, alone = ([initialised(lambda: nn.Linear(6, 1), seed) for seed in range(3)] for _ in range(2))
    first, second, third = train_together(stacked, data, config, seeds=[4, 5, 6])

    assert isinstance(second, FloatingPointError)
    assert str(second) == f"training diverged in epoch 1: {what}."
    with pytest.raises(FloatingPointError) as caught:
        training.train(alone[1], data[1], config, seed=5)
    assert str(second) == str(caught.value)
    for place, history in ((0, first), (2, third)):
        (expected,) = training.train(alone[place], data[place], config, seed=4 + place)
        assert history == [pytest.approx(expected, rel=1e-5)]
        assert torch.allclose(stacked[place].weight, alone[place].weight, rtol=1e-5)


def test_where_all_diverge_training_ends() -> None:
    config = TrainingOptions(epochs=5, batch_size=40, optimizer="sgd", learning_rate=1e30)
    progress = Progress()
    ended = train_together([nn.Linear(6, 1), nn.Linear(6, 1)], [values()] * 2, config, seeds=[0, 1], progress=progress)
    assert all(isinstance(each, FloatingPointError) for each in ended)
    assert max((row["epoch"] for row in progress.tables["history"]), default=0) < 5


# --- what can't be stacked -----------------------------------------------------------------------------------------


class InForward(nn.Module):
    """A network that does something in its forward that a stack can't."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.last, self.act = nn.Linear(6, 3), act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.last(x))


class Counter(nn.Module):
    """It counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return self.last(x)


OBSTACLES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "dropout": (WithDropout, r"dropout \(Dropout\) draws at random in training mode"),
    "dropout within": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.Sequential(nn.ReLU(), nn.Dropout1d(0.3)), nn.Linear(4, 3)),
        r"1\.1 \(Dropout1d\) draws at random in training mode",
    ),
    "functional dropout": (
        lambda: InForward(lambda x: nn.functional.dropout(x, 0.5)),
        r"InForward\.forward draws at random in training mode",
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)),
        r"1 \(BatchNorm1d\) changes its buffers in training mode",
    ),
    "a counter": (Counter, r"Counter\.forward changes its buffers in training mode"),
    "a number read": (lambda: InForward(lambda x: x * x.sum().item()), r"a step of stacked networks fails \(.*item"),
    "a branch": (lambda: InForward(lambda x: x if x.sum() > 0 else 2 * x), r"a step of stacked networks fails \("),
    "detached": (lambda: InForward(lambda x: torch.tensor(x.tolist())), r"a step of stacked networks fails \("),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_can_not_be_stacked_is_refused(obstacle: str) -> None:
    make, text = OBSTACLES[obstacle]
    networks = [initialised(make, seed) for seed in range(3)]
    before = [{name: tensor.clone() for name, tensor in one.state_dict().items()} for one in networks]
    config = TrainingOptions(epochs=1, batch_size=16)
    with pytest.raises(ArgumentError, match=rf"^{text}") as caught:
        check_together(networks, [classes()] * 3, config, seeds=[7, 8, 9])
    assert "\n" not in str(caught.value)
    for network, state in zip(networks, before, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    check_together(networks, [classes()] * 3, replace(config, epochs=0), seeds=[7, 8, 9])


def test_a_dropout_that_drops_nothing_is_none() -> None:
    check_together(
        [nn.Sequential(nn.Dropout(0.0), nn.Linear(6, 3))] * 2, [classes()] * 2, TrainingOptions(), seeds=[0, 1]
    )


def test_a_stack_that_is_not_each_alone_is_refused() -> None:
    """Here each call of the forward multiplies by the number of calls."""
    calls = itertools.count(1)
    network = InForward(lambda x: x * next(calls))
    with pytest.raises(ArgumentError, match=r"^a step of stacked networks differs from a step of each network alone\."):
        check_together([network] * 2, [classes()] * 2, TrainingOptions(), seeds=[0, 1])


def test_a_step_that_is_not_a_number_in_both_ways_is_equal() -> None:
    """That a training diverges is said when it does, and for the network that does."""
    network = nn.Linear(6, 3)
    nn.init.constant_(network.bias, math.nan)
    check_together([network, nn.Linear(6, 3)], [classes()] * 2, TrainingOptions(), seeds=[0, 1])


@pytest.mark.parametrize(
    ("other", "data"),
    [
        (nn.Linear(6, 3, bias=False), classes()),
        (nn.Sequential(nn.Linear(6, 3)), classes()),
        (nn.Linear(6, 3), classes(n=41)),
    ],
)
def test_networks_must_be_alike(other: nn.Module, data: Dataset) -> None:
    with pytest.raises(ArgumentError, match=r"^the networks or the data's sizes of seed=6 and seed="):
        check_together([nn.Linear(6, 3), other], [classes(), data], TrainingOptions(), seeds=[5, 6])


def test_as_many_as_fit_in_memory_are_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    network, data, config = mlp(3), classes(), TrainingOptions(batch_size=16)
    assert stacked_training.at_once(network, data, config, own_data=True) == stacked_training.MOST_MEMBERS
    # 53 weights; 40 + 40 examples of 6; 5 + 5 + 3 values of each of 16 examples.
    needed = 4 * 53 + 80 * 6 + 3 * 16 * 13
    monkeypatch.setattr(stacked_training, "MOST_VALUES", 5 * needed)
    assert stacked_training.at_once(network, data, config, own_data=True) == 5
    monkeypatch.setattr(stacked_training, "MOST_VALUES", 5 * needed - 1)
    assert stacked_training.at_once(network, data, config, own_data=True) == 4
    assert stacked_training.at_once(network, data, config, own_data=False) > 5
    monkeypatch.setattr(stacked_training, "MOST_VALUES", 1)
    assert stacked_training.at_once(network, data, config, own_data=True) == 1


# --- recording -----------------------------------------------------------------------------------------------------


def test_a_recorded_function_gives_on_other_values_what_the_function_gives() -> None:
    fixed = torch.tensor([1.0, 2.0, 3.0])

    def function(x: Tensor, y: Tensor) -> list[Tensor]:
        z = x.clone()
        z.unsqueeze(0)[0].add_(1)  # changes z by a view of it
        largest, where = z.expand_as(y).max(0)
        return [z.mT @ y + fixed, largest * 2.5, where, x, z.view(z.shape)]

    recorded = stacked_training._Recorded(function)
    draw = torch.Generator().manual_seed(0)
    for shape in ((2, 3), (2, 3), (4, 3), (2, 3)):
        inputs = [torch.randn(shape, generator=draw) for _ in range(2)]
        for expected, found in zip(function(*inputs), recorded(*inputs), strict=True):
            assert torch.equal(expected, found)
    assert len(recorded.graphs) == 2
    # What lies otherwise in memory is recorded anew.
    transposed = [torch.randn(3, 2, generator=draw).mT for _ in range(2)]
    assert all(map(torch.equal, function(*transposed), recorded(*transposed)))


# --- the store -----------------------------------------------------------------------------------------------------

CONFIG = TrainingOptions(epochs=1, optimizer="sgd", learning_rate=0.1)


class Trainer:
    """Trains stacks of networks, and keeps which places were trained together."""

    def __init__(self, seeds: Sequence[int], before: Callable[[], object] = lambda: None) -> None:
        self.seeds, self.before = list(seeds), before
        self.builts = [build_network(MlpConfig(hidden_sizes=[5]), classes(), seed=seed) for seed in seeds]
        self.stacks: list[list[int]] = []

    def __call__(self, builts: Sequence[Built], options: TrainingOptions, seeds: Sequence[int], progress: Any) -> Any:
        self.stacks.append(list(seeds))
        self.before()
        return model_store.train_stack(builts, options, seeds, progress)

    def obtain(self, at_once: int = 99) -> list[model_store.Stored]:
        return model_store.obtain(self.builts, CONFIG, seeds=self.seeds, at_once=at_once, train=self)


def alone(seed: int) -> tuple[Built, model_store.Stored]:
    built = build_network(MlpConfig(hidden_sizes=[5]), classes(), seed=seed)
    (stored,) = model_store.obtain([built], CONFIG, seeds=[seed])
    return built, stored


def test_a_stack_is_trained_once_and_found_again(store: Path) -> None:
    trainer = Trainer(range(4))
    stored = trainer.obtain()
    assert trainer.stacks == [[0, 1, 2, 3]] and all(one.trained_now for one in stored)
    second = Trainer(range(4))
    found = second.obtain()
    assert second.stacks == [] and not any(one.trained_now for one in found)
    for one, other, first, again in zip(stored, found, trainer.builts, second.builts, strict=True):
        assert (one.path, one.sha256, one.history) == (other.path, other.sha256, other.history)
        assert one.path is not None and one.path.is_relative_to(store)
        assert torch.equal(weights_of(first.model), weights_of(again.model))


def test_what_is_found_depends_on_nothing_that_ran_before() -> None:
    """Rounding in a network depends on the stack that it is in, so another stack, or none, has other keys."""
    together = Trainer(range(4)).obtain()
    assert all(alone(seed)[1].trained_now for seed in range(4))
    assert all(one.trained_now for one in Trainer(range(3)).obtain())
    assert all(one.trained_now for one in Trainer(range(4)).obtain(at_once=2))
    assert [one.sha256 for one in Trainer(range(4)).obtain()] == [one.sha256 for one in together]


def test_a_stack_of_which_one_is_missing_is_trained_whole_from_the_initial_weights() -> None:
    first = Trainer(range(3))
    stored = first.obtain()
    assert stored[2].path is not None
    stored[2].path.unlink()
    again = Trainer(range(3))
    assert [one.sha256 for one in again.obtain()] == [one.sha256 for one in stored]
    assert again.stacks == [[0, 1, 2]]


def test_stacks_are_no_larger_than_told() -> None:
    trainer = Trainer(range(5))
    assert [one.trained_now for one in trainer.obtain(at_once=2)] == [True] * 5
    assert trainer.stacks == [[0, 1], [2, 3], [4]]
    assert not alone(4)[1].trained_now  # a stack of one network is that network alone


def test_two_that_want_the_same_stacks_train_each_once() -> None:
    barrier = threading.Barrier(2)
    trainers = [Trainer(range(5)), Trainer(range(5))]

    def obtain(trainer: Trainer) -> list[model_store.Stored]:
        barrier.wait()
        return trainer.obtain(at_once=2)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(obtain, trainers)
    assert sorted(stack for trainer in trainers for stack in trainer.stacks) == [[0, 1], [2, 3], [4]]
    assert [one.sha256 for one in first] == [one.sha256 for one in second]


def test_a_store_that_can_not_be_made_trains_and_warns(tmp_path: Path, store: Path, warnings_in_log: list[str]) -> None:
    (tmp_path / "cache").write_text("no folder")
    trainer = Trainer(range(3))
    stored = trainer.obtain(at_once=2)
    assert trainer.stacks == [[0, 1], [2]]
    assert [(one.path, one.trained_now) for one in stored] == [(None, True)] * 3
    [line] = warnings_in_log  # for both stacks
    assert line.startswith(f"the cache {store.parent} can't be used (")


def test_a_disk_that_is_full_does_not_train_twice(monkeypatch: pytest.MonkeyPatch, warnings_in_log: list[str]) -> None:
    save, saved = model_store.save_weights, []

    def full(state: Any, path: Path, *names: Any, **more: Any) -> None:
        saved.append(path)
        if len(saved) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(state, path, *names, **more)

    monkeypatch.setattr(model_store, "save_weights", full)
    trainer = Trainer(range(3))
    assert [one.path is None for one in trainer.obtain()] == [False, True, True]
    assert trainer.stacks == [[0, 1, 2]] and len(warnings_in_log) == 1


def test_one_that_fails_is_named_after_all_others_are_kept(store: Path) -> None:
    trainer = Trainer(range(3))
    with torch.no_grad():
        trainer.builts[1].model.layers[0].weight.fill_(torch.inf)
    with pytest.raises(FloatingPointError) as caught:
        trainer.obtain()
    assert str(caught.value) == (
        "1 of 3 networks failed. seed=1: training diverged in epoch 1: the loss is nan. "
        "The other 2 are in the model store."
    )
    assert len(list(store.rglob("*.safetensors"))) == 2


def test_training_that_is_interrupted_lets_go_of_the_locks() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(range(3), before=interrupt).obtain()
    assert all(one.trained_now for one in Trainer(range(3)).obtain())


# --- the command ---------------------------------------------------------------------------------------------------


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_rows_of_many_seeds_are_those_of_their_own_runs(mi_run: MiRun, store: Path) -> None:
    many = mi_run("experiment=train", *TINY, "seed=5", "seeds=3")
    assert many.status == 0, many.err
    assert (many.record["seed"], many.record["checkpoint"]["from"]) == (5, "training")
    shutil.rmtree(store)
    for name in ("metrics", "history", "confusion"):
        rows = table(many.folder / f"{name}.csv")
        assert list(dict.fromkeys(row["seed"] for row in rows)) == ["5", "6", "7"]
        for seed in (5, 6, 7):
            one = mi_run("experiment=train", *TINY, f"seed={seed}")
            mine = [row for row in rows if row["seed"] == str(seed)]
            for row, expected in zip(mine, table(one.folder / f"{name}.csv"), strict=True):
                assert list(row) == ["seed", *expected]
                for column, text in expected.items():
                    numeric = column not in ("split", "class")
                    assert row[column] == text or (
                        numeric and float(row[column]) == pytest.approx(float(text), rel=1e-4)
                    )


def test_a_run_of_many_seeds_leaves_their_weights_and_summary(mi_run: MiRun) -> None:
    ended = mi_run(*TINY, "seeds=3")
    names = {str(path.relative_to(ended.folder)) for path in ended.folder.rglob("*") if path.is_file()}
    assert names == {
        *("run.json", "run.log", "config.yaml", "metrics.csv", "history.csv", "confusion.csv", "seeds_summary.csv"),
        *(f"members/seed_{seed}.safetensors" for seed in range(3)),
        *("predictions.parquet", "report.html", "figures/seeds.png", "figures/captions.md"),
    }
    record = ended.record
    assert set(record["files"]) == names - {"run.json"}
    for seed, member in enumerate(record["checkpoint"]["members"]):
        assert (member["seed"], member["from"]) == (seed, "training")
        assert member["sha256"] == record["files"][f"members/seed_{seed}.safetensors"]
        assert Path(member["path"]).is_file()
    tested = [
        float(row["accuracy"])
        for row in table(ended.folder / "metrics.csv")
        if (row["split"], row["class"]) == ("test", "all")
    ]
    metrics = record["metrics"]
    assert metrics["accuracy"] == pytest.approx(sum(tested) / 3)
    assert (metrics["accuracy_min"], metrics["accuracy_max"]) == (min(tested), max(tested))
    summary = table(ended.folder / "seeds_summary.csv")
    (row,) = [row for row in summary if (row["split"], row["class"]) == ("test", "all")][:1]
    assert row["measure"] == "accuracy" and row["n"] == "3"
    for column in ("mean", "sd", "low", "high", "min", "max"):
        name = "accuracy" if column == "mean" else f"accuracy_{column}"
        assert float(row[column]) == pytest.approx(metrics[name])
    assert ended.out.startswith("seeds_summary: train · mod_add · mlp") and "metrics:" not in ended.out

    by_hand = mi_run(*TINY, "seed=1", f"checkpoint={ended.folder}/members/seed_1.safetensors")
    assert by_hand.record["metrics"]["accuracy"] == tested[1]
    refused = mi_run(*TINY, f"checkpoint={ended.folder}")
    assert refused.status == 2
    assert f"the run has 3 networks; name one, checkpoint={ended.folder}/members/seed_0.safetensors." in refused.err


def test_the_same_command_again_finds_the_models_and_writes_the_same_table(mi_run: MiRun) -> None:
    many = mi_run("experiment=train", *TINY, "seeds=4")
    assert [member["from"] for member in many.record["checkpoint"]["members"]] == ["training"] * 4
    alone = mi_run("experiment=train", *TINY, "seed=2")
    assert alone.record["checkpoint"]["from"] == "training"  # as it would be if nothing had run before
    again = mi_run("experiment=train", *TINY, "seeds=4")
    assert again.record["checkpoint"]["from"] == "model store"
    assert (again.folder / "metrics.csv").read_bytes() == (many.folder / "metrics.csv").read_bytes()
    member = again.folder / "members/seed_3.safetensors"
    by_hand = mi_run("experiment=ablation", "model=mlp", *TINY, "seed=3", f"checkpoint={member}")
    assert by_hand.record["checkpoint"]["sha256"] == many.record["checkpoint"]["members"][3]["sha256"]


def test_data_that_all_share_are_loaded_once(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, load = [], runner.load_dataset
    for stage in (runner, preparation):
        monkeypatch.setattr(
            stage,
            "load_dataset",
            lambda config, seed, **given: (loaded.append(seed), load(config, seed=seed, **given))[1],
        )
    small = ("dataset=mnist01", "dataset.limit=60", "training.epochs=1")
    many = mi_run("experiment=train", *small, "seeds=3")
    assert many.status == 0 and loaded == [0]
    assert mi_run(*TINY, "seeds=3").status == 0 and loaded == [0, 0, 1, 2]


@pytest.mark.parametrize("schema", SCHEMAS["dataset"], ids=lambda schema: schema.name)
def test_a_data_set_is_drawn_from_the_seed_where_it_says_so(
    schema: Any, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MI_RUN_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    import numpy as np

    write_data(np.tile(np.eye(4), (3, 1)), [0, 1, 0, 1] * 3)
    needed = [f"dataset={schema.name}", "dataset.limit=30", *required("dataset", schema)]
    config = composition.compose(needed).dataset
    first, second = (load_dataset(config, seed=seed) for seed in (0, 1))
    assert (first.fingerprint != second.fingerprint) == schema.drawn
    assert torch.equal(first.x_train, second.x_train) != schema.drawn


def test_the_accuracy_of_a_class_is_the_mean_over_the_seeds(mi_run: MiRun) -> None:
    ended = mi_run(*TINY, "seeds=3", "expect={accuracy/1: ['>=0', '<=1']}")
    assert ended.status == 0
    rows = [row for row in table(ended.folder / "metrics.csv") if row["class"] == "1"]
    assert len(rows) == 3
    assert ended.record["metrics"]["accuracy/1"] == pytest.approx(sum(float(row["accuracy"]) for row in rows) / 3)


def test_expectations_on_the_spread(mi_run: MiRun) -> None:
    ended = mi_run(*TINY, "seeds=2", "expect={accuracy_min: '>=0', accuracy_sd: '<0'}")
    assert ended.status == 3 and "expect: accuracy_sd = " in ended.err
    unknown = mi_run(*TINY, "expect={accuracy_min: '>=0'}")
    assert unknown.status == 2 and "no summary metric is named 'accuracy_min'" in unknown.err
    alone = mi_run(*TINY, "seeds=1", "expect={accuracy: '>=0'}")
    assert alone.status == 0 and alone.record["metrics"]["accuracy_sd"] is None


@pytest.mark.parametrize("experiment", [schema.name for schema in SCHEMAS["experiment"] if not schema.takes_seeds])
def test_other_experiments_take_one_network(experiment: str, mi_run: MiRun) -> None:
    ended = mi_run(f"experiment={experiment}", "seed=3", "seeds=4")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == (
        f"mi-run: error: seeds=4 goes with experiment=train,explanations; experiment={experiment} takes one network. "
        "Type -m 'seed=range(3,7)' instead of seeds=4. "
        "checkpoint=FOLDER/members/seed_N.safetensors takes one that experiment=train,explanations seeds=... trained.\n"
    )
    assert not Path("outputs").exists()


def test_a_checkpoint_is_one_network(mi_run: MiRun) -> None:
    ended = mi_run("seeds=4", "checkpoint=weights.pt")
    assert ended.status == 2
    assert "seeds=4 trains networks; checkpoint=weights.pt is one. Leave one of the two out." in ended.err
    assert mi_run("seeds=0").status == 2


def test_a_network_of_the_users_that_can_not_be_stacked(mi_run: MiRun) -> None:
    Path("dropping.py").write_text(
        "import torch\n"
        "def Net(input_shape, n_outputs):\n"
        "    return torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(input_shape[0], n_outputs))\n"
    )
    ended = mi_run("model=external", "model.factory=dropping:Net", *TINY[:-1], "seeds=2")
    assert ended.status == 2
    assert "seeds=2: 0 (Dropout) draws at random in training mode" in ended.err
    assert "-m 'seed=range(0,2)' instead of seeds=2." in ended.err


def test_an_interruption_keeps_the_finished_epochs_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(Progress):
        def rows(self, table: str, rows: Any) -> None:
            super().rows(table, rows)
            if len(self.tables["history"]) == 4:
                raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    config = composition.compose([*TINY, "seeds=2", "training.epochs=5"])
    with pytest.raises(KeyboardInterrupt):
        runner.run(config, progress=Interrupting())
    rows = table(Path("outputs/train/mod_add-mlp/v001/history.csv"))
    assert [(row["seed"], row["epoch"]) for row in rows] == [("0", "1"), ("1", "1"), ("0", "2"), ("1", "2")]
    assert runner.run(config).metrics["accuracy"] >= 0


def test_targets_that_are_values_have_a_summary_too(mi_run: MiRun) -> None:
    ended = mi_run(*TINY, "dataset.target=value", "seeds=2")
    assert ended.status == 0, ended.err
    rows = table(ended.folder / "seeds_summary.csv")
    assert [(row["split"], row["measure"]) for row in rows] == [
        *(("train", "accuracy"), ("train", "loss"), ("test", "accuracy"), ("test", "loss"))
    ]


# --- the spread ----------------------------------------------------------------------------------------------------


def test_a_summary_by_hand() -> None:
    """Accuracies 0.5, 0.7, 0.9: mean 0.7, sd 0.2; t of two degrees of freedom is 4.3027; see test_spread.py."""
    rows = [
        {"seed": seed, "split": split, "class": name, "accuracy": accuracy, "loss": 2.0 + seed}
        for seed, accuracy in enumerate((0.5, 0.7, 0.9))
        for split, name in (("train", "all"), ("test", "all"), ("test", "b"), ("test", "a"))
        if (seed, name) != (1, "a")
    ]
    found = seeds_summary(rows, METRICS.keys, METRICS.measures)
    assert [(row["split"], row["class"], row["measure"], row["n"]) for row in found] == [
        *(("train", "all", "accuracy", 3), ("train", "all", "loss", 3)),
        *(("test", "all", "accuracy", 3), ("test", "all", "loss", 3)),
        *(("test", "b", "accuracy", 3), ("test", "b", "loss", 3)),
        *(("test", "a", "accuracy", 2), ("test", "a", "loss", 2)),
    ]
    half = 4.302652729911275 * 0.2 / math.sqrt(3) / (0.7 * 0.3)
    low, high = (1 / (1 + math.exp(-(math.log(0.7 / 0.3) + end))) for end in (-half, half))
    assert found[2] == {
        **{"split": "test", "class": "all", "measure": "accuracy", "n": 3},
        **{"mean": pytest.approx(0.7), "sd": pytest.approx(0.2)},
        **{"low": pytest.approx(low), "high": pytest.approx(high)},
        **{"min": 0.5, "max": 0.9},
    }
    half = 4.302652729911275 / math.sqrt(3) / 3
    assert (found[3]["low"], found[3]["high"]) == pytest.approx((3 * math.exp(-half), 3 * math.exp(half)))


def test_a_sweep_over_the_seeds_has_the_same_summary(mi_run: MiRun) -> None:
    many = mi_run("experiment=train", *TINY, "seeds=4")
    sweep = mi_run("-m", "experiment=train", *TINY, "seed=range(0,4)")
    assert sweep.status == 0, sweep.err
    summary = table(sweep.folder / "sweep_summary.csv")
    assert summary == table(many.folder / "seeds_summary.csv")
    (row,) = [row for row in summary if list(row.values())[:3] == ["test", "all", "accuracy"]]
    for column in ("sd", "low", "high", "min", "max"):
        assert float(row[column]) == many.record["metrics"][f"accuracy_{column}"]


def test_a_sweep_of_runs_of_many_seeds_is_summed_over_all_their_networks(mi_run: MiRun) -> None:
    sweep = mi_run("-m", "experiment=train", *TINY, "seeds=3", "training.epochs=1,2")
    assert sweep.status == 0, sweep.err
    for job, epochs in (("0", "1"), ("1", "2")):
        mine = [row for row in table(sweep.folder / "sweep_summary.csv") if row.pop("training.epochs") == epochs]
        assert mine == table(sweep.folder / job / "seeds_summary.csv")

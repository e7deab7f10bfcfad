"""The training loop against one written out from the formulas, and against steps worked out by hand."""

from __future__ import annotations

import copy
import hashlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.config.training_schema import Loss
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError
from mi_runner.progress import Progress
from mi_runner.training import optimizers
from mi_runner.training.loop import Progressed, check, multiplications, stop_epoch, threads_for, train
from mi_runner.training.optimizers import make_optimizer
from mi_runner.training.options import TrainingOptions
from mi_runner.training.regularizers import Regularizer
from tests.networks import OPTIMIZERS, Counting, WithDropout, network
from tests.small_data import classes, values


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """One thread: for networks this small, waiting for a second one takes longer than the arithmetic."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights_of(model: nn.Module) -> Tensor:
    """All weights in one vector `(P,)`."""
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def line(weight: float = 0.0) -> nn.Linear:
    """y = weight · x, without a bias."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, weight)
    return model


def points(*pairs: tuple[float, float]) -> Dataset:
    """Inputs and values, the same for training and test."""
    x, y = torch.tensor([[x] for x, _ in pairs]), torch.tensor([y for _, y in pairs])
    return Dataset("arrays", x, y, x, y, None)


# --- threads -------------------------------------------------------------------------------------------------------


class Twice(nn.Module):
    """A layer that is used for two vectors, another layer's parameter that is used by itself, and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 5)
        self.free = nn.Parameter(torch.ones(2, 2))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(x.view(-1, 2, 3)).flatten(1)[:, :2] @ self.free


def test_multiplications_by_hand() -> None:
    cnn = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4 * 5, 7))
    # 2·3·3 weights for each of 3 channels at 4·5 places, and two biases.
    assert multiplications(cnn, torch.ones(9, 2, 4, 5)) == 2 * 3 * 3 * 3 * 4 * 5 + 3 * 4 * 5 * 7 + 3 + 7
    twice = Twice()
    assert multiplications(twice, torch.ones(4, 6)) == 2 * 3 * 5 + 5 + 4
    assert twice.calls == 0 and twice.training


class Pair(nn.Linear):
    """It returns what it computes twice."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), super().forward(x)


class Noisy(nn.Module):
    """A norm, a layer with two results, and noise in evaluation mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.pair = nn.Linear(3, 4, bias=False), nn.LayerNorm(4), Pair(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.pair(self.norm(self.layer(x)))
        return first + second * torch.rand(())


def test_multiplications_of_what_multiplies_no_vectors() -> None:
    """A norm's weight is no matrix, and of two results it isn't known how many vectors there are; biases count."""
    model = Noisy()
    drawn = torch.get_rng_state()
    assert multiplications(model, torch.ones(5, 3)) == 3 * 4 + 4 + 2
    assert torch.equal(torch.get_rng_state(), drawn)


def test_a_step_takes_all_threads_where_it_has_enough_to_do() -> None:
    torch.set_num_threads(3)
    try:
        layer = nn.Linear(1000, 800, bias=False)  # 8·10⁵ multiplications
        assert threads_for(layer, torch.ones(2, 1000), batch_size=100) == 3
        assert threads_for(layer, torch.ones(2, 1000), batch_size=99) == 1
        # Weights count for each place at which they are used.
        assert threads_for(nn.Conv2d(1, 16, 3, padding=1), torch.ones(2, 1, 28, 28), batch_size=800) == 3
    finally:
        torch.set_num_threads(1)


# --- the same training written out from the formulas ---------------------------------------------------------------


def epochs_written_out(n: int, batch_size: int, epochs: int, seed: int) -> Iterator[list[Tensor]]:
    """Each epoch's batches: a permutation cut into pieces, from a generator seeded with the first 63 bits of a hash."""
    bits = hashlib.sha256(f"{seed}/batch order".encode()).hexdigest()[:16]
    draw = torch.Generator().manual_seed(int(bits, 16) >> 1)
    for _ in range(epochs):
        order = torch.randperm(n, generator=draw)
        yield [order[start : start + batch_size] for start in range(0, n, batch_size)]


def loss_written_out(kind: Loss, smoothing: float, outputs: Tensor, y: Tensor) -> Tensor:
    if kind == "cross_entropy":
        log_shares = outputs - outputs.exp().sum(1, keepdim=True).log()
        of_label = log_shares[torch.arange(len(y)), y]
        return -((1 - smoothing) * of_label + smoothing * log_shares.mean(1)).mean()
    if kind == "mse":
        return ((outputs[:, 0] - y) ** 2).mean()
    p = outputs[:, 0]
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def train_written_out(model: nn.Module, dataset: Dataset, config: TrainingOptions, seed: int) -> list[float]:
    """Each epoch's loss, a mean over its examples, while SGD, Adam or AdamW change the model's weights step by step.

    SGD has its momentum as torch's documentation writes it; Adam is that of Kingma and Ba (2015), AdamW that of
    Loshchilov and Hutter (2019).
    """
    weights = list(model.parameters())
    first = [torch.zeros_like(w) for w in weights]
    second = [torch.zeros_like(w) for w in weights]
    rate, decay, step, losses = config.learning_rate, config.weight_decay, 0, []
    for epoch in epochs_written_out(len(dataset.x_train), config.batch_size, config.epochs, seed):
        total = 0.0
        for batch in epoch:
            step += 1
            x, y = dataset.x_train[batch], dataset.y_train[batch]
            loss = loss_written_out(config.loss, config.label_smoothing, model(x), y)
            total += loss.item() * len(batch)
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for w, g, m, v in zip(weights, gradients, first, second, strict=True):
                    if config.optimizer == "sgd":
                        g = g + decay * w
                        m.copy_(g if step == 1 else config.momentum * m + g)
                        w -= rate * m
                        continue
                    if config.optimizer == "adam":
                        g = g + decay * w
                    else:
                        w *= 1 - rate * decay
                    m.copy_(0.9 * m + 0.1 * g)
                    v.copy_(0.999 * v + 0.001 * g * g)
                    w -= rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        losses.append(total / len(dataset.x_train))
    return losses


LOSSES: dict[str, tuple[dict[str, Any], Callable[[], Dataset], Callable[[], nn.Module]]] = {
    "cross_entropy": ({"loss": "cross_entropy"}, classes, lambda: network(3)),
    "label smoothing": ({"loss": "cross_entropy", "label_smoothing": 0.2}, classes, lambda: network(3)),
    "mse": ({"loss": "mse"}, values, lambda: network(1)),
    "bce": ({"loss": "bce"}, values, lambda: network(1, nn.Sigmoid())),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_and_losses_are_those_of_the_formulas(optimizer: str, loss: str) -> None:
    options, dataset, make = LOSSES[loss]
    # 40 examples in batches of 16: two whole ones and a last one of 8.
    config = TrainingOptions(epochs=3, batch_size=16, **OPTIMIZERS[optimizer], **options)
    model, written_out = make(), make()
    before = weights_of(model)
    history = train(model, dataset(), config, seed=4)
    losses = train_written_out(written_out, dataset(), config, seed=4)

    assert torch.allclose(weights_of(model), weights_of(written_out), rtol=1e-4, atol=1e-6)
    assert [row["loss"] for row in history] == pytest.approx(losses, rel=1e-5)
    # The tolerance is far below what training changes, so that a wrong formula shows.
    assert (weights_of(model) - before).abs().max() > 0.01


# --- steps by hand -------------------------------------------------------------------------------------------------


def test_one_step_of_sgd_by_hand() -> None:
    """loss = mean (w x − y)², so its slope at w = 0 is mean −2 x y = −(2 + 12)/2 = −7: w = 0.7 after a step of 0.1."""
    model = line()
    config = TrainingOptions(epochs=1, batch_size=2, optimizer="sgd", learning_rate=0.1)
    history = train(model, points((1.0, 1.0), (2.0, 3.0)), config, seed=0)
    assert model.weight.item() == pytest.approx(0.7)
    # Before the step (1² + 3²)/2 = 5; after it (0.3² + 1.6²)/2 = 1.325, and 0.7 → 1 is right, 1.4 → 1 is wrong.
    assert history == [
        {"epoch": 1, "loss": pytest.approx(5.0), "test_loss": pytest.approx(1.325), "test_accuracy": 0.5}
    ]


def test_the_last_smaller_batch_is_used() -> None:
    """Three equal examples in batches of two take two steps: w = 0 → 0.2 → 0.36 (the slope is 2 w − 2)."""
    model = line()
    config = TrainingOptions(epochs=1, batch_size=2, optimizer="sgd", learning_rate=0.1)
    history = train(model, points((1.0, 1.0), (1.0, 1.0), (1.0, 1.0)), config, seed=0)
    assert model.weight.item() == pytest.approx(0.36)
    # The loss is 1 on two examples and 0.64 on the third: a mean over examples, not over batches (0.82).
    assert history[0]["loss"] == pytest.approx((1 + 1 + 0.64) / 3)


def test_a_batch_larger_than_the_training_set_is_the_whole_of_it() -> None:
    dataset = points((1.0, 1.0), (2.0, 3.0))
    ends = []
    for batch_size in (2, 1000):
        model = line()
        train(
            model,
            dataset,
            TrainingOptions(epochs=2, batch_size=batch_size, optimizer="sgd", learning_rate=0.1),
            seed=0,
        )
        ends.append(model.weight.item())
    assert ends[0] == ends[1] != 0.0


def test_the_regularizer_is_in_the_gradient_and_reported_apart() -> None:
    """The slope is 5 w − 7, with 3 w added to the loss 5 w − 4: w = 0 → 0.4 → 0.4 − 0.1·(2 − 4) = 0.6."""
    model = line()
    config = TrainingOptions(epochs=2, batch_size=2, optimizer="sgd", learning_rate=0.1)
    history = train(
        model,
        points((1.0, 1.0), (2.0, 3.0)),
        config,
        seed=0,
        regularizer=Regularizer("sum", lambda model: model.weight.sum(), 3.0),
    )
    assert model.weight.item() == pytest.approx(0.6)
    assert [row["penalty"] for row in history] == pytest.approx([0.0, 1.2])
    # The loss is without it: 5 at w = 0, (0.6² + 2.2²)/2 at w = 0.4.
    assert [row["loss"] for row in history] == pytest.approx([5.0, 2.6])
    assert [row["sum"] for row in history] == pytest.approx([0.4, 0.6])  # after the epoch
    assert list(history[0]) == ["epoch", "loss", "penalty", "sum", "test_loss", "test_accuracy"]


def test_a_regularizer_of_factor_0_only_measures() -> None:
    config = TrainingOptions(epochs=2, batch_size=2, optimizer="sgd", learning_rate=0.1)
    without, measured = line(), line()
    train(without, points((1.0, 1.0), (2.0, 3.0)), config, seed=0)
    regularizer = Regularizer("sum", lambda model: model.weight.sum(), 0.0)
    history = train(measured, points((1.0, 1.0), (2.0, 3.0)), config, seed=0, regularizer=regularizer)
    assert measured.weight.item() == without.weight.item()
    assert [row["penalty"] for row in history] == [0.0, 0.0]
    assert history[1]["sum"] == measured.weight.item() != 0


def test_the_penalty_is_a_mean_over_the_steps() -> None:
    """w = 0 → 0.2 → 0.36 without it; a penalty without a gradient shows which weights it saw: (0 + 0.2)/2."""
    config = TrainingOptions(epochs=1, batch_size=2, optimizer="sgd", learning_rate=0.1)
    history = train(
        line(),
        points((1.0, 1.0), (1.0, 1.0), (1.0, 1.0)),
        config,
        seed=0,
        regularizer=Regularizer("sum", lambda model: model.weight.detach().sum(), 1.0),
    )
    assert history[0]["penalty"] == pytest.approx(0.1)


def test_frozen_weights_stay_as_they_are() -> None:
    model = network(3)
    model.layers[0].weight.requires_grad_(False)
    frozen, free = model.layers[0].weight.clone(), model.layers[2].weight.clone()
    train(model, classes(), TrainingOptions(epochs=1, weight_decay=0.1), seed=0)
    assert torch.equal(model.layers[0].weight, frozen)
    assert not torch.equal(model.layers[2].weight, free)


# --- chance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: network(3), WithDropout], ids=["mlp", "dropout"])
def test_the_seed_decides_the_weights(make: Callable[[], nn.Module]) -> None:
    def trained(seed: int) -> Tensor:
        with chance.global_seed(0, "initialisation"):
            model = make()
        torch.rand(seed + 1)  # what else was drawn has no part in it
        train(model, classes(), TrainingOptions(epochs=2, batch_size=8), seed=seed)
        return weights_of(model)

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


def test_training_leaves_the_global_generator_alone() -> None:
    model = WithDropout()
    before = torch.get_rng_state()
    train(model, classes(), TrainingOptions(epochs=1), seed=0)
    assert torch.equal(torch.get_rng_state(), before)


# --- history, progress, modes --------------------------------------------------------------------------------------


def test_no_epochs_train_nothing() -> None:
    model = network(3).train()
    before = weights_of(model)
    progress = Progress()
    assert train(model, classes(), TrainingOptions(epochs=0), seed=0, progress=progress) == []
    assert torch.equal(weights_of(model), before)
    assert not model.training
    assert progress.tables == {}


def test_a_network_without_parameters_is_evaluated_but_not_trained() -> None:
    assert train(nn.Identity(), classes(n_features=3), TrainingOptions(epochs=0), seed=0) == []
    with pytest.raises(ArgumentError, match=r"^the model has no parameters to train: use epochs=0\.$"):
        train(nn.Identity(), classes(n_features=3), TrainingOptions(epochs=1), seed=0)


def test_history_has_a_row_an_epoch_and_progress_has_the_same() -> None:
    progress = Progress()
    history = train(network(3), classes(), TrainingOptions(epochs=3), seed=0, progress=progress)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert progress.tables == {"history": history}
    assert all(list(row) == ["epoch", "loss", "test_loss", "test_accuracy"] for row in history)


def test_the_test_columns_are_those_of_the_trained_network() -> None:
    dataset, model = classes(), network(3)
    history = train(model, dataset, TrainingOptions(epochs=2, learning_rate=0.05), seed=0)
    outputs = model(dataset.x_test).detach()
    assert history[-1]["test_accuracy"] == float((outputs.argmax(1) == dataset.y_test).double().mean())
    assert history[-1]["test_loss"] == pytest.approx(
        float(loss_written_out("cross_entropy", 0.0, outputs, dataset.y_test)), rel=1e-6
    )


def test_the_network_trains_in_training_mode_and_is_left_in_evaluation_mode() -> None:
    modes = []

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            modes.append((len(x), self.training))
            return super().forward(x)

    model = Watched(6, 3).eval()
    train(model, classes(), TrainingOptions(epochs=2, batch_size=20), seed=0)
    assert modes == [(2, True), *2 * [(20, True), (20, True), (40, False)]]  # the first is the check
    assert not model.training


def test_the_bar_ends_where_the_work_does() -> None:
    progress = Counting()
    # 40 batches an epoch: a note after 25 of them, and one at the end.
    train(network(3), classes(), TrainingOptions(epochs=2, batch_size=1), seed=0, progress=progress)
    assert progress.done == progress.total == 80 and progress.steps == [25, 15, 25, 15]
    assert [note.split("  ")[0] for note in progress.notes] == ["epoch 1/2", "epoch 1/2", "epoch 2/2", "epoch 2/2"]


def test_the_bar_of_a_training_that_continues_begins_where_it_ended() -> None:
    kept: list[Progressed] = []
    model = network(3)
    train(model, classes(), TrainingOptions(epochs=2, batch_size=16), seed=0, keep=kept.append)
    options, progress = TrainingOptions(epochs=3, batch_size=16), Counting()
    history = train(model, classes(), options, seed=0, progress=progress, begun=kept[-1])
    assert progress.steps == [80, 40] and progress.total == 120
    assert [row["epoch"] for row in history] == [1, 2, 3]
    whole = network(3)
    assert train(whole, classes(), options, seed=0) == history and torch.equal(weights_of(whole), weights_of(model))


def test_an_epoch_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("mi_runner")
    monkeypatch.setattr(logger, "propagate", True)  # a run within another test may have turned it off
    with caplog.at_level(logging.INFO, "mi_runner"):
        train(network(3), classes(), TrainingOptions(epochs=2), seed=0)
    assert [record.getMessage().split("  ")[0] for record in caplog.records] == ["epoch 1/2", "epoch 2/2"]


def test_training_ends_after_the_epoch_that_reaches_the_stop_loss() -> None:
    dataset, plain, stopped = values(), network(1), network(1)
    options = TrainingOptions(epochs=6, batch_size=16, loss="mse", learning_rate=0.01)
    losses = [row["loss"] for row in train(plain, dataset, options, seed=3)]
    assert losses == sorted(losses, reverse=True)  # else another epoch would be the first
    history = train(stopped, dataset, replace(options, stop_loss=losses[2]), seed=3)
    assert [row["loss"] for row in history] == losses[:3]
    assert [row["reached"] for row in history] == [False, False, True] and stop_epoch(history) == 3
    three = network(1)
    train(three, dataset, replace(options, epochs=3), seed=3)
    assert torch.equal(weights_of(stopped), weights_of(three))
    never = network(1)
    history = train(never, dataset, replace(options, stop_loss=0.0), seed=3)
    assert torch.equal(weights_of(never), weights_of(plain)) and stop_epoch(history) is None
    assert not any(row["reached"] for row in history) and len(history) == 6
    assert stop_epoch([]) is None


def test_training_learns() -> None:
    dataset = classes(n=400)
    history = train(network(3), dataset, TrainingOptions(epochs=40, learning_rate=0.01), seed=0)
    assert history[-1]["test_accuracy"] > 0.9 > history[0]["test_accuracy"]


# --- divergence ----------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_epoch() -> None:
    """A step of 10³⁰ leaves w ≈ 10³⁰, which is finite; the square of the next epoch's errors is not."""
    config = TrainingOptions(epochs=5, batch_size=2, optimizer="sgd", learning_rate=1e30)
    progress = Progress()
    with pytest.raises(FloatingPointError) as caught:
        train(line(), points((1.0, 1.0), (2.0, 3.0)), config, seed=0, progress=progress)
    assert str(caught.value) == "training diverged in epoch 2: the loss is inf."
    assert [row["epoch"] for row in progress.tables["history"]] == [1]


def test_a_weight_that_is_not_finite_ends_the_run() -> None:
    """The loss of the only step is finite, the weight after it, −10³⁸ · −14, is not."""
    config = TrainingOptions(epochs=1, batch_size=2, optimizer="sgd", learning_rate=1e38)
    with pytest.raises(FloatingPointError, match=r"^training diverged in epoch 1: a weight is not finite\.$"):
        train(line(), points((2.0, 2.0), (2.0, 5.0)), config, seed=0)


@pytest.mark.parametrize("penalty", [math.inf, -math.inf, math.nan])
def test_a_penalty_that_is_not_finite_ends_the_run(penalty: float) -> None:
    config = TrainingOptions(epochs=1, optimizer="sgd")
    regularizer = Regularizer("broken", lambda model: torch.tensor(penalty), 1.0)
    with pytest.raises(FloatingPointError, match=rf"^training diverged in epoch 1: the penalty is {penalty}\."):
        train(line(), points((1.0, 1.0)), config, seed=0, regularizer=regularizer)


# --- what does not fit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_momentum_is_for_sgd(optimizer: str) -> None:
    config = TrainingOptions(optimizer=optimizer, momentum=0.9)
    with pytest.raises(ArgumentError) as caught:
        check(network(3), classes(), config)
    assert str(caught.value) == f"momentum=0.9 is for optimizer=sgd; optimizer={optimizer} has none."
    check(network(3), classes(), replace(config, optimizer="sgd"))


@pytest.mark.parametrize("weight", [1.5, -0.1])
def test_bce_needs_outputs_between_0_and_1(weight: float) -> None:
    config = TrainingOptions(loss="bce")
    dataset = points((1.0, 1.0), (0.5, 0.0))
    check(line(1.0), dataset, config)  # outputs 1 and 0.5
    with pytest.raises(ArgumentError) as caught:
        check(line(weight), dataset, config)
    assert str(caught.value) == (
        "loss=bce takes outputs in 0..1: end the network with a sigmoid (torch.nn.Sigmoid()), or use loss=mse."
    )


def test_bce_takes_outputs_of_exactly_0_and_1() -> None:
    check(line(1.0), points((0.0, 0.0), (1.0, 1.0)), TrainingOptions(loss="bce"))


@pytest.mark.parametrize(("place", "is_refused"), [(999, True), (1000, False)])
def test_the_outputs_of_the_first_thousand_examples_are_checked(place: int, is_refused: bool) -> None:
    x, y = torch.full((1001, 1), 0.5), torch.ones(1001)
    x[place] = 2.0
    data = Dataset("arrays", x, y, x[:1], y[:1], None)
    if is_refused:
        with pytest.raises(ArgumentError, match="loss=bce takes outputs in 0..1"):
            check(line(1.0), data, TrainingOptions(loss="bce"))
    else:
        check(line(1.0), data, TrainingOptions(loss="bce"))


class Doubling(nn.Linear):
    """It works in place on its input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(2))


def test_a_check_leaves_the_data_alone_and_needs_no_gradients_around_it() -> None:
    data = classes(n=5)
    before = data.x_train.clone()
    with torch.no_grad():
        check(Doubling(6, 3), data, TrainingOptions(batch_size=4))  # a last batch of one is tried, too
    assert torch.equal(data.x_train, before)


def test_a_regularizer_that_does_not_fit_is_found_before_training() -> None:
    with pytest.raises(ArgumentError, match="^regularizer=orthogonality measures the Linear layers but the last"):
        check(nn.Linear(6, 3), classes(), TrainingOptions(regularizer="orthogonality"))


def test_a_loss_that_does_not_fit_is_found_before_training() -> None:
    model = network(3)
    before = weights_of(model)
    with pytest.raises(ArgumentError, match=r"^loss=mse takes values"):
        train(model, classes(), TrainingOptions(loss="mse"), seed=0)
    assert torch.equal(weights_of(model), before)


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("sgd", torch.optim.SGD),
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
    ],
)
def test_the_optimizer_is_the_one_named(kind: str, made: type) -> None:
    optimizer = make_optimizer(list(network(3).parameters()), TrainingOptions(optimizer=kind))
    assert type(optimizer) is made


@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
def test_an_optimizer_has_no_decay_and_no_momentum_unless_they_are_given(kind: str) -> None:
    weight = nn.Parameter(torch.ones(1))
    defaults = optimizers.optimizer_named(kind, [weight], learning_rate=0.25).defaults
    assert defaults["lr"] == 0.25 and defaults["weight_decay"] == 0 and defaults.get("momentum", 0) == 0
    given = optimizers.optimizer_named(kind, [weight], learning_rate=1, weight_decay=0.5, momentum=0.75).defaults
    assert given["weight_decay"] == 0.5 and given.get("momentum") == (0.75 if kind == "sgd" else None)


@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
def test_an_optimizer_takes_the_steps_of_torch(kind: str) -> None:
    config = TrainingOptions(optimizer=kind, learning_rate=0.05, weight_decay=0.1)
    plain = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    model, data = network(3), classes()
    twin = copy.deepcopy(model)
    ours = make_optimizer(list(model.parameters()), config)
    theirs = plain[kind](twin.parameters(), lr=0.05, weight_decay=0.1, fused=True)
    for of, optimizer in ((model, ours), (twin, theirs)):
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(of(data.x_train), data.y_train).backward()
            optimizer.step()
    assert torch.equal(weights_of(model), weights_of(twin))
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in model.parameters())


class MoreInTraining(nn.Module):
    """In training mode it returns the output of an inner layer, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout()), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        inner = self.first(x)
        return (self.last(inner), inner) if self.training else self.last(inner)


def test_further_outputs_in_training_mode_are_refused_before_training() -> None:
    model = MoreInTraining().eval()
    before, drawn = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    with pytest.raises(ArgumentError, match=r"returns tuple in training mode.*arguments='\{aux_logits: false\}'"):
        check(model, classes(), TrainingOptions())
    assert not model.training and torch.equal(torch.random.get_rng_state(), drawn)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    check(model, classes(), TrainingOptions(epochs=0))

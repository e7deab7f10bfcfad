"""Training that ends by the accuracy on held-out examples: by hand, and against a loop that is written out."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError
from mi_runner.training.loop import check, stop_epoch, train
from mi_runner.training.options import TrainingOptions
from mi_runner.training.stopping import Watch, n_held_out
from tests.networks import Counting, network
from tests.small_data import classes, values

OPTIONS = TrainingOptions(epochs=6, batch_size=8, learning_rate=0.05, stop_steps=4, stop_examples=10)


def weights_of(model: nn.Module) -> Tensor:
    """All weights in one vector `(P,)`."""
    return nn.utils.parameters_to_vector(model.parameters()).detach()


# --- the rule by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sequence", "stop_steps", "steps", "best", "best_step"),
    [
        ([3, 5, 4, 5, 6, 6, 6, 2], 2, 4, 5, 2),  # a tie is not better: 4 and 5 are two steps without
        ([3, 5, 4, 5, 6, 6, 6, 2], 3, 8, 6, 5),  # 6 comes just in time, and then 6, 6, 2
        ([7, 7], 1, 2, 7, 1),
        ([1, 2, 3, 4], 1, None, 4, 4),  # each is better
        ([0, 0, 0], 2, 3, 0, 1),  # the first step is the best so far, also with no correct answer
        ([9, 8, 7], 4, None, 9, 1),
    ],
)
def test_a_sequence_by_hand(sequence: list[int], stop_steps: int, steps: int | None, best: int, best_step: int) -> None:
    watch = Watch(stop_steps, 10)
    taken = None
    for number, n_correct in enumerate(sequence, 1):
        is_better = n_correct > max(sequence[: number - 1], default=-1)
        assert watch.after_step(n_correct) is is_better
        if watch.stopped:
            taken = number
            break
    assert (taken, watch.best, watch.best_step) == (steps, best, best_step)
    assert watch.columns() == {
        "held_out_accuracy": sequence[(taken or len(sequence)) - 1] / 10,
        "best_held_out_accuracy": best / 10,
        "stopped": steps is not None,
    }


# --- the loop ------------------------------------------------------------------------------------------------------


class Scripted(nn.Module):
    """One weight, which each step raises by 1; how many held-out examples are answered correctly is scripted by it.

    The inputs are 0..9 and the targets 1; after step t the answer is 1 for those below `script[t - 1]`, otherwise 0.
    """

    def __init__(self, script: list[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("n_trained", torch.zeros(()))
        self.script = script

    def forward(self, x: Tensor) -> Tensor:
        if self.training:  # the loss is the mean output, which has the gradient −1
            self.n_trained += len(x)
            return -self.weight * torch.ones(len(x), 1)
        step = min(max(round(float(self.weight)), 1), len(self.script))
        return (x < self.script[step - 1]).float()


def mean_output(outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    return outputs.mean() if reduction == "mean" else outputs[:, 0]


@pytest.fixture
def steps_of_one(monkeypatch: pytest.MonkeyPatch) -> TrainingOptions:
    """Options with which each step adds 1 to the weight: sgd with rate 1 on the mean output. Five steps an epoch."""
    monkeypatch.setattr("mi_runner.training.loop.loss_function", lambda *_: mean_output)
    return TrainingOptions(epochs=4, batch_size=4, optimizer="sgd", learning_rate=1.0, loss="mse", stop_examples=10)


SCRIPT = [6, 7, 9, 8, 9, 7, 9, 8, 10, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("stop_steps", "keep_best", "steps", "kept"),
    [
        (3, False, [5, 1], 6),  # 9 at step 3, and 8, 9, 7 after it
        (3, True, [5, 1], 3),
        (6, True, [5, 5, 5], 9),  # 10 at step 9; six steps after it an epoch ends
        (6, False, [5, 5, 5], 15),
        (12, True, [5, 5, 5, 5], 9),  # the epochs end it
        (12, False, [5, 5, 5, 5], 20),
    ],
)
def test_steps_and_weights_by_hand(
    steps_of_one: TrainingOptions, stop_steps: int, keep_best: bool, steps: list[int], kept: int
) -> None:
    x, y = torch.arange(10.0).repeat(3)[:, None], torch.ones(30)
    model = Scripted(SCRIPT)
    options = replace(steps_of_one, stop_steps=stop_steps, keep_best=keep_best)
    history = train(model, Dataset("arrays", x, y, x, y, None), options, seed=0)
    assert [row["steps"] for row in history] == steps
    assert model.weight.item() == kept and not model.training
    assert model.n_trained.item() == 4 * kept  # buffers are kept, too; a step has four examples
    ends = [sum(steps[: number + 1]) for number in range(len(steps))]
    assert [row["held_out_accuracy"] for row in history] == [SCRIPT[end - 1] / 10 for end in ends]
    assert [row["best_held_out_accuracy"] for row in history] == [max(SCRIPT[:end]) / 10 for end in ends]
    # The loss of step t is 1 − t; its mean over the steps that were taken.
    first = [end - count for end, count in zip(ends, steps, strict=True)]
    expected = [-sum(range(start, end)) / (end - start) for start, end in zip(first, ends, strict=True)]
    assert [row["loss"] for row in history] == pytest.approx(expected)
    stopped = stop_steps < 12
    assert [row["stopped"] for row in history] == [False] * (len(steps) - 1) + [stopped]
    assert stop_epoch(history) == (len(steps) if stopped else None)


@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize("data", [classes(), values()], ids=["classes", "values"])
def test_against_a_loop_that_is_written_out(data: Dataset, keep_best: bool) -> None:
    """The weights of each step are kept, and the rule is applied to all of them afterwards."""
    n_outputs = 3 if data.has_classes else 1
    options = replace(OPTIONS, optimizer="sgd", learning_rate=0.5, keep_best=keep_best)
    trained, alone = network(n_outputs), network(n_outputs)
    history = train(trained, data, options, seed=5)

    order = chance.generator(5, "batch order")
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.5)
    weights, n_correct = [], []
    for _ in range(6):
        for index in torch.randperm(30, generator=order).split(8):
            outputs = alone(data.x_train[index])
            if data.has_classes:
                loss = nn.functional.cross_entropy(outputs, data.y_train[index])
            else:
                loss = (outputs[:, 0] - data.y_train[index]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            weights.append(weights_of(alone).clone())
            answers = alone(data.x_train[30:]).detach()
            answers = answers.argmax(1) if data.has_classes else answers[:, 0].round()
            n_correct.append(sum(a == b for a, b in zip(answers.tolist(), data.y_train[30:].tolist(), strict=True)))
    best_steps = [step for step in range(24) if n_correct[step] > max(n_correct[:step], default=-1)]
    end = next(step for step in range(24) if step - max(best for best in best_steps if best <= step) == 4)
    best = max(step for step in best_steps if step <= end)
    assert 4 < end < 20 and best == end - 4  # neither the first nor the last epoch
    assert sum(row["steps"] for row in history) == end + 1 and history[-1]["stopped"]
    assert torch.allclose(weights_of(trained), weights[best if keep_best else end], atol=1e-6)
    assert history[-1]["best_held_out_accuracy"] == n_correct[best] / 10


def test_held_out_examples_change_no_weight() -> None:
    """Without an early end the training is that of the other examples alone, whatever is held out."""
    data, options = classes(), replace(OPTIONS, stop_steps=1000)
    one, other, fewer = network(3), network(3), network(3)
    train(one, data, options, seed=1)
    changed = data.x_train.clone()
    changed[30:] += 5
    train(other, replace(data, x_train=changed), options, seed=1)
    alone = replace(data, x_train=data.x_train[:30], y_train=data.y_train[:30])
    history = train(fewer, alone, replace(options, stop_steps=None), seed=1)
    assert torch.equal(weights_of(one), weights_of(other)) and torch.equal(weights_of(one), weights_of(fewer))
    assert all(list(row) == ["epoch", "loss", "test_loss", "test_accuracy"] for row in history)


def test_the_bar_is_of_the_examples_that_are_trained_on() -> None:
    progress = Counting()
    train(network(3), classes(), replace(OPTIONS, stop_steps=1000), seed=0, progress=progress)
    assert progress.done == progress.total == 6 * 30


def test_the_network_is_tested_in_evaluation_mode() -> None:
    modes = []

    class Noted(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            modes.append((len(x), self.training))
            return super().forward(x)

    train(Noted(6, 3), classes(), replace(OPTIONS, epochs=1, batch_size=15, stop_steps=9), seed=0)
    steps = [mode for mode in modes if mode[0] > 2]  # others are of the checks
    assert steps == [(15, True), (10, False), (15, True), (10, False), (40, False)]


# --- what doesn't fit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (
            {"stop_steps": None, "keep_best": True},
            "keep_best=true keeps the weights that are best on held-out examples",
        ),
        (
            {"keep_epochs": True},
            "keep_epochs=true continues a training, which stop_steps=4 may have ended: use stop_step",
        ),
        ({"stop_examples": 39}, "stop_examples=39 of 40 training examples are held out, and at least two must be left"),
        ({"stop_examples": 10_000}, "Type a smaller stop_examples, or stop_steps=null, which holds none out."),
    ],
)
def test_options_that_do_not_fit_are_refused_before_training(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(text)):
        check(network(3), classes(), replace(OPTIONS, **changed))


def test_an_untrained_network_needs_no_held_out_examples() -> None:
    options = replace(OPTIONS, epochs=0, stop_examples=10_000)
    model = network(3)
    before = weights_of(model)
    check(model, classes(), options)
    assert train(model, classes(), options, seed=0) == [] and torch.equal(weights_of(model), before)


def test_how_many_are_held_out() -> None:
    assert n_held_out(40, OPTIONS) == 10 and n_held_out(40, replace(OPTIONS, stop_examples=38)) == 38
    assert n_held_out(40, TrainingOptions()) == 0

"""What every experiment checks of its network: finite outputs, the same again, and those of each example alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.errors import ArgumentError, RunFailed
from mi_runner.graph.chain import find_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.circuits.cut import entering_activations, largest_value
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.models.batches import outputs_of
from mi_runner.models.evaluation_checks import ROUNDING, ROUNDING_AT_MOST, check_evaluation
from mi_runner.runs import networks, preparation
from tests.conftest import Ended
from tests.small_data import classes

MiRun = Callable[..., Ended]


def right(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.argmax(-1) == targets


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.inner(self.a(x)))

    def inner(self, h: Tensor) -> Tensor:
        return h.relu()


class Forgot(Net):
    def inner(self, h: Tensor) -> Tensor:
        return functional.dropout(h, 0.02)


class Noise(Net):
    def inner(self, h: Tensor) -> Tensor:
        return h + 0.01 * torch.randn_like(h)


class OfNumpy(Net):
    def inner(self, h: Tensor) -> Tensor:
        return h * float(np.random.default_rng().normal() > 0) + float(np.random.normal())


class Counts(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def inner(self, h: Tensor) -> Tensor:
        self.calls += 1
        return h + self.calls


class InTraining(Net):
    """The advice of the error: each way draws in training alone."""

    def inner(self, h: Tensor) -> Tensor:
        if self.training:
            h = h + torch.randn_like(h)
        return functional.dropout(h, 0.5, training=self.training)


@pytest.mark.parametrize("kind", [Forgot, Noise, OfNumpy, Counts])
def test_a_network_that_draws_or_keeps_state_is_refused(kind: type[Net]) -> None:
    model = kind().eval()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    with pytest.raises(
        ArgumentError, match=r"evaluated again on the same 80 examples: they differ by up to .*spread"
    ) as e:
        check_evaluation(model, classes(), right)
    assert "training=self.training" in str(e.value) and "(accuracy 0." in str(e.value)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    check_evaluation(InTraining().eval(), classes(), right)


class Centred(Net):
    def inner(self, h: Tensor) -> Tensor:
        return (h - h.mean(0)).relu()


class Sorted(Net):
    def inner(self, h: Tensor) -> Tensor:
        return h.sort(0).values


class OverBatch(Net):
    def inner(self, h: Tensor) -> Tensor:
        return h.softmax(0)


class Normed(Net):
    def __init__(self, *, tracks: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8, track_running_stats=tracks)

    def inner(self, h: Tensor) -> Tensor:
        return self.norm(h).relu()


@pytest.mark.parametrize("kind", [Centred, Sorted, OverBatch, Normed])
def test_a_network_whose_answer_depends_on_the_batch_is_refused_with_the_accuracies(kind: type[Net]) -> None:
    dataset = classes(300)
    model = kind().eval()
    with pytest.raises(ArgumentError, match="other examples are in its batch: in batches of 256 and of 85") as caught:
        check_evaluation(model, dataset, right)
    with torch.no_grad():  # the accuracies, by another route
        for size in (1000, 100):
            parts = [model(part) for part in dataset.x_test.split(size)]
            accuracy = right(torch.cat(parts), dataset.y_test).float().mean().item()
            assert f"accuracy {accuracy:.3f} in batches of {size:,}" in str(caught.value)
    check_evaluation(Normed(tracks=True).eval(), dataset, right)


class Slightly(Net):
    """So little that rounding could do it."""

    def inner(self, h: Tensor) -> Tensor:
        return (h + 3e-3 * h.mean(0)).relu()


def test_a_dependence_on_the_batch_as_small_as_rounding_is_refused() -> None:
    dataset, model = classes(300), Slightly().eval()
    x = torch.cat([dataset.x_test[:128], dataset.x_train[:128]])
    with torch.no_grad():
        whole, pieces = model(x), torch.cat([model(part) for part in x[:255].split(85)])
    share = float((whole[:255] - pieces).abs().max() / (whole - whole.mean(0)).abs().max())
    assert ROUNDING < share < ROUNDING_AT_MOST
    with pytest.raises(ArgumentError, match="other examples are in its batch"):
        check_evaluation(model, dataset, right)


def test_a_last_batch_of_one_that_can_not_be_evaluated() -> None:
    class Squeezes(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).unsqueeze(1).relu().squeeze()) if len(x) > 1 else self.b(x.squeeze())

    check_evaluation(Squeezes().eval(), classes(40), right)  # no batch of one comes up
    with pytest.raises(ArgumentError, match="can't be evaluated on a batch of one example: .*x.squeeze\\(1\\)"):
        check_evaluation(Squeezes().eval(), classes(1001), right)


class Offset(Net):
    """Outputs far from 0, whose rounding differs with the batch; a dead network; steps."""

    def __init__(self, offset: float, width: int = 8) -> None:
        super().__init__()
        self.a, self.b, self.offset = nn.Linear(6, width), nn.Linear(width, 3), offset

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.offset


def test_rounding_is_not_taken_for_a_dependence_on_the_batch() -> None:
    dead = Net().eval()
    nn.init.constant_(dead.a.bias, -1e3)
    deep = nn.Sequential(*[nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(20)], nn.Linear(6, 3)).eval()
    big = nn.Sequential(nn.Linear(6, 500), nn.ReLU(), nn.Linear(500, 3)).eval()
    nn.init.normal_(big[2].weight, std=1e6)
    for model in (Offset(1e6), Offset(-1e4, 700), dead, deep, big):
        check_evaluation(model.eval(), classes(200), right)


class Divides(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / (x[:, :1] - 7).abs().clamp(max=1e30)


def test_outputs_that_are_not_finite_are_refused() -> None:
    dataset = classes(40)
    check_evaluation(Divides().eval(), dataset, right)
    for x in (dataset.x_test, dataset.x_train):
        kept = x[3, 0].clone()
        x[3, 0] = 7.0
        with pytest.raises(ArgumentError, match=r"infinite or NaN for 1 of \d+ examples, so no figure"):
            check_evaluation(Divides().eval(), dataset, right)
        with pytest.raises(RunFailed, match="infinite or NaN for 1 of 40 examples"):
            outputs_of(Divides().eval(), x)
        x[3, 0] = kept


OWN = """
import torch
from torch import nn
from torch.nn import functional
class Net(nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.a, self.b = nn.Linear(input_shape[0], 8), nn.Linear(8, n_outputs)
    def forward(self, x):
        return self.b(self.inner(self.a(x).relu()))
    def inner(self, h):
        return h
class Draws(Net):
    def inner(self, h):
        return functional.dropout(h, 0.5)
class Batch(Net):
    def inner(self, h):
        return h - h.mean(0)
class Late(Net):
    # depends on the batch only where training has moved a weight that was 0
    def __init__(self, input_shape, n_outputs):
        super().__init__(input_shape, n_outputs)
        self.share = nn.Parameter(torch.zeros(()))
    def inner(self, h):
        return h - self.share * h.mean(0)
class Inverse(Net):
    # infinite where the hidden values are ablated
    def inner(self, h):
        return h / (h.abs().sum(1, keepdim=True) + (h.abs().sum(1, keepdim=True) > 0) * 1e-9)
class Logs(Net):
    # log(0) of hidden values that the relu made 0; the outputs are finite
    def inner(self, h):
        return torch.log(h).exp()
class Wide(nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.only = nn.Linear(input_shape[0], n_outputs)
    def forward(self, x):
        return self.only(x)
"""

SMALL = ("dataset=mod_add", "dataset.train_size=60", "dataset.test_size=40", "model=external", "report=false")
SMALL += ("training.epochs=1",)


@pytest.mark.parametrize("network", ["Draws", "Batch"])
@pytest.mark.parametrize("experiment", ["train", "ablation", "probes"])
def test_every_experiment_refuses_before_its_folder(mi_run: MiRun, network: str, experiment: str) -> None:
    Path("checked_of_tests.py").write_text(OWN)
    ended = mi_run(*SMALL, f"model.factory=checked_of_tests:{network}", f"experiment={experiment}")
    assert ended.status == 2 and not Path("outputs").exists()
    assert ("training=self.training" if network == "Draws" else "in batches of 1,000") in ended.err


def test_what_shows_after_training_alone_fails_the_run(mi_run: MiRun) -> None:
    Path("checked_of_tests.py").write_text(OWN)
    ended = mi_run(*SMALL, "model.factory=checked_of_tests:Late", "training.learning_rate=0.1")
    assert ended.status == 1 and "other examples are in its batch" in ended.err


@pytest.mark.parametrize("experiment", ["train", "ablation"])
def test_a_checkpoint_with_infinite_outputs_makes_no_figure(mi_run: MiRun, experiment: str) -> None:
    """Weights of 3e38 are finite, and their products are not."""
    Path("checked_of_tests.py").write_text(OWN)
    own = (*SMALL, "model.factory=checked_of_tests:Wide", f"experiment={experiment}", "experiment.methods=[zero]")
    own = tuple(word for word in own if experiment == "ablation" or "methods" not in word)
    own += ("experiment.targets=[only]",) if experiment == "ablation" else ()
    save_file({"only.weight": torch.full((2, 4), 3e38), "only.bias": torch.zeros(2)}, "huge.safetensors")
    ended = mi_run(*own, "checkpoint=huge.safetensors", "dataset.modulus=2")
    assert ended.status == 2 and "infinite or NaN for" in ended.err and not Path("outputs").exists()


def test_a_checkpoint_is_checked_once_and_a_trained_network_before_and_after(
    mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU a checkpoint's network is the one that was checked before the folder; it may take seconds."""
    Path("checked_of_tests.py").write_text(OWN)
    weights: list[float] = []
    for stage in (preparation, networks):
        monkeypatch.setattr(
            stage, "check_evaluation", lambda setting: weights.append(setting.model.only.bias[0].item())
        )
    own = (*SMALL, "model.factory=checked_of_tests:Wide", "dataset.modulus=2", "device=cpu")
    assert mi_run(*own).status == 0
    assert len(weights) == 2 and weights[0] != weights[1]
    save_file({"only.weight": torch.zeros(2, 4), "only.bias": torch.tensor([0.5, 0.25])}, "own.safetensors")
    assert mi_run(*own, "checkpoint=own.safetensors").status == 0
    assert weights[2:] == [0.5]


def test_an_ablation_with_infinite_outputs_has_empty_cells(mi_run: MiRun) -> None:
    """0/0 where `relu` is 0: the row is there, its figures are not, and a line says so."""
    Path("checked_of_tests.py").write_text(OWN)
    ended = mi_run(
        *(*SMALL, "model.factory=checked_of_tests:Inverse", "experiment=ablation", "experiment.methods=[zero,mean]"),
        "experiment.targets=[relu,b]",
    )
    assert ended.status == 0, ended.err
    rows = [line.split(",") for line in (ended.folder / "metrics.csv").read_text().splitlines()]
    of = {(row[0], row[rows[0].index("method")]): dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    empty = of["relu", "zero"]
    assert all(empty[name] == "" for name in ("accuracy", "accuracy_low", "accuracy_high", "loss", "accuracy_drop"))
    assert all(of[key]["accuracy"] for key in of if key != ("relu", "zero"))
    assert "1 of 5 rows have no figures" in ended.err and "relu by zero" in ended.err
    metrics = json.loads((ended.folder / "run.json").read_text())["metrics"]
    assert metrics["accuracy/relu/zero"] is None and metrics["accuracy/relu/mean"] is not None
    assert "relu by zero" not in ended.record["answer"]


def test_activations_that_are_not_finite_are_not_read(mi_run: MiRun) -> None:
    Path("checked_of_tests.py").write_text(OWN)
    own = (*SMALL, "model.factory=checked_of_tests:Logs", "training.epochs=0")
    for words in (
        ("experiment=probes", "experiment.sites=[log]", "experiment.controls=[]"),
        ("experiment=decoder", "experiment.sites=[relu,log]", "experiment.min_target_accuracy=0"),
    ):
        ended = mi_run(*own, *words)
        assert ended.status == 1 and "the values of log" in ended.err and "infinite or NaN for" in ended.err, ended.err
    assert mi_run(*own, "experiment=probes", "experiment.sites=[relu]", "experiment.controls=[]").status == 0


def large(times: float) -> nn.Sequential:
    """2·relu(relu(wx) − relu(wx)), which is 0."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1)).eval()
    with torch.no_grad():
        for layer, weight in zip(net[::2], ([[times], [times]], [[1.0, -1.0]], [[2.0]]), strict=True):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.zero_()
    return net


def test_circuits_whose_values_could_overflow_are_not_evaluated() -> None:
    """The whole network's values are finite, because two large ones cancel; a circuit without one of them overflows."""
    x = torch.tensor([[1.0], [0.5]])
    graph = ModelGraph.trace(large(2e38), x)
    part = find_part(graph, None)
    without = outputs_of_circuits(part, np.array([[True, False, True, False, True]]), x)
    assert graph(x).tolist() == [[0.0], [0.0]] and without[0].tolist()[0] == [torch.inf]
    with pytest.raises(RunFailed, match=r"could reach 8e\+38, more than float32 holds"):
        entering_activations(graph, part, x)
    small = ModelGraph.trace(large(3.0), x)
    entering, _ = entering_activations(small, find_part(small, None), x)
    assert largest_value(find_part(small, None), entering) == 2 * (3.0 + 3.0)

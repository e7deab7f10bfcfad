"""Networks that can't be worked on as they are: what is wrong is said before a folder, and what is said to do works."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError
from mi_runner.models import Built, build
from mi_runner.models.external import import_callable
from mi_runner.training import loop, stacked
from mi_runner.training.doubts import doubts
from mi_runner.training.epochs import batch_sizes, shuffled_batches
from mi_runner.training.options import TrainingOptions

DRAW = torch.Generator().manual_seed(0)
X = torch.randn(129, 6, generator=DRAW)
Y = torch.arange(129) % 3


def dataset(n: int = 129, x: Tensor = X, y: Tensor = Y) -> Dataset:
    names = ("0", "1", "2") if y.dtype == torch.int64 else None
    return Dataset("arrays", x[:n], y[:n], x[:40], y[:40], names)


class Then(nn.Module):
    """A layer, and a function of what it returns."""

    def __init__(self, function: Callable[[Tensor], Any], n: int = 3) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(6, n), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.layer(x))


def changed(change: Callable[[nn.Linear], None]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        layer = nn.Linear(6, 3)
        change(layer)
        return nn.Sequential(layer)

    return make


def parameter(function: Callable[[Tensor], Tensor]) -> Callable[[nn.Linear], None]:
    def change(layer: nn.Linear) -> None:
        layer.weight = nn.Parameter(function(layer.weight.detach()))

    return change


def with_buffer(layer: nn.Linear) -> None:
    layer.register_buffer("shift", torch.zeros(1).expand(3))


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return nn.Sequential(nn.Linear(6, 3))


class OldNorm(nn.Module):
    """What torch.nn.utils.weight_norm does, which warns that it is deprecated."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        hook = type(name, (), {"__call__": lambda self, module, inputs: None})()
        self.layer.register_forward_pre_hook(hook)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "meta": (changed(parameter(lambda w: w.to("meta"))), r"0\.weight has no numbers \(device meta\): build"),
    "sparse": (changed(parameter(lambda w: w.to_sparse())), r"0\.weight is sparse .*: save it as .*\.to_dense\(\)"),
    "complex": (changed(parameter(lambda w: w + 0j)), r"0\.weight is torch\.complex64, and networks have real numbers"),
    "expanded": (changed(parameter(lambda w: w[:1].expand(3, 6))), r"0\.weight is expanded: .*\.clone\(\)"),
    "an expanded buffer": (changed(with_buffer), r"0\.shift is expanded: .*\.clone\(\)"),
    "inference": (made_in_inference_mode, r"0\.weight was made in torch\.inference_mode\(\).*outside of it"),
    "old weight_norm": (lambda: OldNorm("WeightNorm"), r"layer has torch\.nn\.utils\.weight_norm, .* use torch\."),
    "old spectral_norm": (lambda: OldNorm("SpectralNorm"), r"use torch\.nn\.utils\.parametrizations\.spectral_norm\.$"),
    "float64": (lambda: nn.Linear(6, 3).double(), r"float64, .*\.float\(\), or .*x\.to\(torch\.float64\)"),
    "half": (lambda: nn.Sequential(nn.Linear(6, 3)).half(), r"float16, .*\.float\(\), or .*x\.to\(torch\.float16\)"),
    "float64 inside": (lambda: Then(lambda h: h @ torch.eye(3, dtype=torch.float64)), r"float64, and .*dtype=x\.dtype"),
    "complex outputs": (lambda: Then(lambda h: h + 0j), r"returns torch\.complex64; .*return output\.abs\(\)"),
    "whole outputs": (lambda: Then(lambda h: h.round().long()), r"returns torch\.int64; .*before they are rounded"),
    "token numbers": (lambda: nn.Sequential(nn.Embedding(9, 3), nn.Flatten()), r"begin forward with x = x\.long\(\)"),
    "too few outputs": (lambda: nn.Linear(6, 2), "Give its last layer 3 outputs; a factory with a parameter n_outputs"),
    "one output": (lambda: nn.Linear(6, 1), r"One output is no 3 classes: give the last layer 3 outputs\.$"),
    "a squeezed output": (
        lambda: Then(lambda h: h.flatten(0), 1),
        r"returns \(2,\) .*One output is no 3 classes: give the last layer 3 outputs\.$",
    ),
    "positions": (lambda: Then(lambda h: torch.stack([h, h], 1)), r"output\[:, -1\], or their mean"),
    "a tuple": (lambda: Then(lambda h: (h, h)), r"returns tuple of several: 0 \(2, 3\), 1 \(2, 3\)\. Say which"),
    "no axis of examples": (lambda: Then(lambda h: h.mean(0)), "The first axis is the examples"),
}  # fmt: skip


def refused(make: Callable[[], nn.Module], data: Dataset) -> str:
    with pytest.raises(ArgumentError) as caught:
        build(lambda given: Built(make(), given), data, seed=0)
    return str(caught.value)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_that_can_not_be_worked_on(kind: str) -> None:
    make, text = NETWORKS[kind]
    with pytest.raises(ArgumentError, match=text):
        build(lambda given: Built(make(), given), dataset(), seed=0)


def test_a_quantized_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Then, "__module__", "torch.ao.nn.quantized.dynamic.modules.linear")
    assert "is quantized (Then): return the network as it was before" in refused(lambda: Then(torch.relu), dataset())


REMEDIES: dict[str, Callable[[], nn.Module]] = {
    "float64": lambda: nn.Sequential(nn.Linear(6, 3)).double().float(),
    "half": lambda: nn.Sequential(nn.Linear(6, 3)).half().float(),
    "float64 inside": lambda: Then(lambda h: h @ torch.eye(3, dtype=h.dtype)),
    "complex outputs": lambda: Then(lambda h: (h + 0j).abs()),
    "expanded": changed(parameter(lambda w: w[:1].expand(3, 6).clone())),
    "sparse": changed(parameter(lambda w: w.to_sparse().to_dense())),
    "an image": lambda: nn.Sequential(Then(lambda h: h[:, :, None, None]), nn.Flatten()),
    "positions": lambda: Then(lambda h: torch.stack([h, h], 1)[:, -1]),
    "old weight_norm": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))),
    "old spectral_norm": lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 3))),
}


@pytest.mark.parametrize("kind", REMEDIES)
def test_what_the_error_says_is_taken(kind: str) -> None:
    build(lambda given: Built(REMEDIES[kind](), given), dataset(), seed=0)


def test_no_cast_is_advised_where_only_some_parameters_have_another_dtype() -> None:
    mixed = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3).double())
    text = refused(lambda: mixed, dataset())
    assert "are float32 and float64" in text and text.endswith("as in return model.float().")
    build(lambda given: Built(mixed.float(), given), dataset(), seed=0)


def test_a_forward_that_turns_gradients_on_for_others() -> None:
    def switched(h: Tensor) -> Tensor:
        torch.set_grad_enabled(True)
        return h

    def within(h: Tensor) -> Tensor:
        with torch.enable_grad():
            return h

    assert "Write with torch.no_grad(): around" in refused(lambda: Then(switched), dataset())
    build(lambda given: Built(Then(within), given), dataset(), seed=0)


def test_inputs_of_two_axes_that_a_convolution_does_not_take() -> None:
    images = torch.randn(129, 8, 8, generator=DRAW)
    make = lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3))  # noqa: E731
    assert "save x[:, None], which is (N, 1, 8, 8)" in refused(make, dataset(x=images))
    build(lambda given: Built(make(), given), dataset(x=images[:, None]), seed=0)


@pytest.mark.parametrize("forward", [torch.no_grad()(lambda h: h * 2), lambda h: h.detach()])
def test_a_network_without_gradients_is_refused_before_it_is_trained(forward: Callable[[Tensor], Tensor]) -> None:
    network = Then(lambda h: forward(h).detach())
    with pytest.raises(ArgumentError, match=r"no parameter gets a gradient .* use epochs=0\.$"):
        loop.check(network, dataset(), TrainingOptions())
    loop.check(network, dataset(), TrainingOptions(epochs=0))


# --- what the user's code leaves behind ----------------------------------------------------------------------------

LEFT = {
    "torch.set_default_dtype(torch.float64)": "default dtype to torch.float64; it is torch.float32 again",
    "torch.set_grad_enabled(False)": "gradients to False; it is True again",
    "torch.set_num_threads(torch.get_num_threads() + 1)": "number of threads to",
    "torch.set_default_device('meta')": "default device to meta; it is cpu again",
}


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path


@pytest.mark.parametrize("number", range(len(LEFT)))
def test_torch_is_as_it_was_after_the_users_code(
    number: int, own_folder: Path, warnings_in_log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call, said = list(LEFT.items())[number]
    name = f"leaves_behind_{number}"
    (own_folder / f"{name}.py").write_text(f"import torch\n{call}\ndef Net():\n    return torch.nn.Linear(6, 3)\n")
    before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_device()
    make = import_callable("factory", f"{name}:Net")
    after = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_device()
    assert after == before and make().weight.dtype == torch.float32
    (line,) = warnings_in_log
    assert line.startswith(f"{name} sets torch's {said}")


# --- a last batch of one -------------------------------------------------------------------------------------------


def test_sizes_of_batches_by_hand() -> None:
    assert batch_sizes(129, 64) == [64, 64, 1] and batch_sizes(129, 64, merges_one=True) == [64, 65]
    assert batch_sizes(128, 64, merges_one=True) == [64, 64] and batch_sizes(130, 64, merges_one=True) == [64, 64, 2]
    assert batch_sizes(1, 64, merges_one=True) == [1] and batch_sizes(3, 2, merges_one=True) == [3]
    assert batch_sizes(5, 2**62) == [5]
    for n, size in ((7, 3), (6, 3), (1, 1), (5, 9)):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(1))
        drawn = shuffled_batches(n, size, generator=torch.Generator().manual_seed(1))
        assert all(map(torch.equal, drawn, order.split(size))) and len(drawn) == len(order.split(size))


def with_norm(track: bool = True) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5, track_running_stats=track), nn.ReLU(), nn.Linear(5, 3)
    )


def trained_by_hand(network: nn.Module, data: Dataset, sizes: list[int], seed: int) -> nn.Module:
    """Two epochs of Adam on batches of these sizes."""
    network = copy.deepcopy(network).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    order = chance.generator(seed, "batch order")
    for _ in range(2):
        for index in torch.randperm(len(data.x_train), generator=order).split(sizes):
            optimizer.zero_grad()
            functional.cross_entropy(network(data.x_train[index]), data.y_train[index]).backward()
            optimizer.step()
    return network.eval()


def equal(first: nn.Module, second: nn.Module, atol: float = 1e-6) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return all(torch.allclose(ours[name], theirs[name], atol=atol, rtol=1e-4) for name in ours)


def test_the_last_example_goes_into_the_batch_before_it_where_batchnorm_can_not_have_it_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "mi_runner")
    network = with_norm()
    expected = trained_by_hand(network, dataset(), [64, 65], seed=5)
    loop.check(network, dataset(), TrainingOptions())
    loop.train(network, dataset(), TrainingOptions(epochs=2), seed=5)
    assert equal(network, expected)
    lines = [line for line in caplog.messages if "BatchNorm" in line]
    assert lines == ["BatchNorm can't be trained on one example: the last batch has 65, with the last of 129"]


@pytest.mark.parametrize("n", [65, 128, 129])
def test_every_other_network_has_the_batches_that_it_had(n: int) -> None:
    torch.manual_seed(3)
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    expected = trained_by_hand(plain, dataset(n), {65: [64, 1], 128: [64, 64], 129: [64, 64, 1]}[n], seed=5)
    loop.train(plain, dataset(n), TrainingOptions(epochs=2), seed=5)
    assert equal(plain, expected)


def test_a_stack_merges_as_each_network_alone() -> None:
    networks = [with_norm(track=False), with_norm(track=False)]
    alone = [
        trained_by_hand(network, dataset(), [64, 65], seed) for network, seed in zip(networks, (5, 6), strict=True)
    ]
    options = TrainingOptions(epochs=2)
    stacked.check_together(networks, [dataset()] * 2, options, seeds=[5, 6])
    stacked.train_together(networks, [dataset()] * 2, options, seeds=[5, 6])
    assert all(equal(*pair, atol=1e-5) for pair in zip(networks, alone, strict=True))


def test_batches_of_one_are_refused_where_each_would_fail() -> None:
    with pytest.raises(ArgumentError, match=r"^batch_size=1: .* Use batch_size=2 or more\.$"):
        loop.check(with_norm(), dataset(), TrainingOptions(batch_size=1))
    loop.check(with_norm(), dataset(), TrainingOptions(batch_size=2))
    loop.check(nn.Linear(6, 3), dataset(), TrainingOptions(batch_size=1))


# --- outputs of another meaning ------------------------------------------------------------------------------------


class Fixed(nn.Module):
    """The first feature, times a factor and plus a number, as the one output."""

    def __init__(self, factor: float, shift: float = 0.0) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1] * self.factor + self.shift


def binary() -> Dataset:
    return dataset(y=(X[:, 0] > 0).float())


def test_one_logit_is_doubted_with_its_numbers() -> None:
    (doubt,) = doubts(Fixed(1.0), binary(), TrainingOptions())
    values, labels = X[:40, 0], X[:40, 0] > 0
    rounded = [round(value) for value in values.tolist()]
    n_other = sum(value not in (0, 1) for value in rounded)
    by_rounding = sum(int(value == label) for value, label in zip(rounded, labels.tolist(), strict=True)) / 40
    assert f"{n_other} of 40 test examples round to another number, and {by_rounding:.3g} are correct" in doubt
    assert "If it is a logit, whose border is 0, 1 are" in doubt and doubt.endswith("type model.outputs=logit.")


def test_small_logits_are_doubted_by_what_their_sign_says() -> None:
    (doubt,) = doubts(Fixed(0.1), binary(), TrainingOptions())
    assert "0 of 40 test examples round to another number" in doubt


def test_what_is_as_it_should_be_is_not_doubted() -> None:
    assert doubts(nn.Sequential(Fixed(5.0), nn.Sigmoid()), binary(), TrainingOptions()) == []
    assert doubts(Fixed(0.1, 0.5), binary(), TrainingOptions()) == []  # a regression of 0 and 1
    assert doubts(nn.Linear(6, 3), dataset(), TrainingOptions()) == []
    assert doubts(Fixed(1.0), dataset(y=X[:, 1]), TrainingOptions()) == []  # targets that are not 0 or 1


@pytest.mark.parametrize(("n_far", "n_doubts"), [(1, 0), (2, 1)])
def test_one_of_forty_outputs_that_rounds_to_another_number_is_an_accident(n_far: int, n_doubts: int) -> None:
    x = torch.tensor([[-0.4], [0.4]]).repeat(20, 1)
    x[:n_far] = torch.tensor([[-3.0], [3.0]])[:n_far]  # -2.5 and 3.5; the others are 0.1 and 0.9
    found = doubts(Fixed(1.0, 0.5), dataset(40, x, (x[:, 0] > 0).float()), TrainingOptions())
    assert len(found) == n_doubts and all(f"{n_far} of 40 test examples" in doubt for doubt in found)


def test_a_sigmoid_that_is_mostly_wrong_is_not_doubted() -> None:
    network, data = nn.Sequential(Fixed(-1.0), nn.Sigmoid()), binary()
    outputs = network(data.x_test)[:, 0]
    # The sign would judge it better, because it is never negative: that is no reason to take it for a logit.
    assert (outputs.round() == data.y_test).sum() + 2 < (data.y_test > 0.5).sum()
    assert doubts(network, data, TrainingOptions(loss="bce")) == []


def test_probabilities_where_logits_are_taken() -> None:
    probabilities = nn.Sequential(nn.Linear(6, 3), nn.Softmax(1))
    (doubt,) = doubts(probabilities, dataset(), TrainingOptions())
    assert "each row sums to 1" in doubt and "Leave the softmax at its end out" in doubt
    assert doubts(probabilities[:1], dataset(), TrainingOptions()) == []


@pytest.mark.parametrize("target", ["value", "class"])
def test_a_run_says_its_doubt(target: str, own_folder: Path, mi_run: Callable[..., Any]) -> None:
    source = "from torch import nn\ndef one():\n    return nn.Linear(6, 1)\n"
    (own_folder / "doubted_net.py").write_text(
        source + "def two():\n    return nn.Sequential(nn.Linear(6, 2), nn.Softmax(1))\n"
    )
    y = (X[:, 0] > 0).numpy().astype(int)
    np.savez("data.npz", x_train=10 * X, y_train=y, x_test=10 * X, y_test=y)
    factory = "one" if target == "value" else "two"
    ended = mi_run(
        *("dataset=arrays", "dataset.path=data.npz", "model=external", f"model.factory=doubted_net:{factory}"),
        *(f"dataset.target={target}", "training.epochs=1", "report=false"),
    )
    assert ended.status == 0
    said = "judged by rounding it" if target == "value" else "are probabilities"
    assert said in ended.err and said in (ended.folder / "run.log").read_text()

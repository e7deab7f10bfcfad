"""The decoder by hand and against unfold, what it can and can't read, and the experiment as a command."""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.chance import generator
from mi_runner.config import composition
from mi_runner.config.experiments.decoder import DecoderConfig
from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import CausalModel, ModularSum
from mi_runner.errors import ConfigError
from mi_runner.experiments import Setting, TrainedNetwork
from mi_runner.experiments.decoder import experiment as decoder
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods import activation_distances as distances
from mi_runner.methods import activation_images as images_of
from mi_runner.methods import decoding
from mi_runner.methods.decoder_training import train_decoder, train_decoders
from mi_runner.models.activation_decoder import ActivationDecoder
from mi_runner.models.cnn import CNN
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from mi_runner.runs.choices import build_network, load_dataset, training_options
from mi_runner.tables.intervals import wilson_interval
from mi_runner.training import loop as training
from mi_runner.training.options import TrainingOptions
from tests.conftest import REPOSITORY, Ended
from tests.small_data import classes, values

IMAGE = torch.tensor([[[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [2.0, 0.0, 1.0]]])
FIRST = [[1.0, 0.0], [0.0, -1.0]]  # what stands at the top left, less what stands at the bottom right
SECOND = [[0.0, 1.0], [1.0, 0.0]]  # the sum of the other two
SMALL = ("dataset.train_size=200", "dataset.test_size=100", "training.epochs=1", "experiment.epochs=1")


# --- the network -------------------------------------------------------------------------------------------------


def with_kernels(*kernels: list[list[float]], **options: Any) -> ActivationDecoder:
    made = ActivationDecoder((3, 3), [2, 3], kernels=len(kernels), **options).eval()
    with torch.no_grad():
        made.kernels.weight.copy_(torch.tensor(kernels).unsqueeze(1))
    return made


@torch.no_grad()
def test_one_kernel_on_a_3_by_3_image_by_hand() -> None:
    found = with_kernels(FIRST)
    # 1−1  2−3
    # 0−0  1−1
    expected = torch.tensor([[0.0, -1.0], [0.0, 0.0]])
    assert torch.equal(found.responses(IMAGE)[0, 0], expected)
    assert torch.equal(found.filtered(IMAGE)[0], expected.tanh())


@torch.no_grad()
def test_of_two_kernels_the_larger_response_counts_and_goes_through_the_layers_by_hand() -> None:
    found = with_kernels(FIRST, SECOND, hidden_sizes=[1])
    # second kernel: 2+0  0+1
    #                1+2  3+0
    assert torch.equal(found.responses(IMAGE)[0, 1], torch.tensor([[2.0, 1.0], [3.0, 3.0]]))
    assert torch.equal(found.filtered(IMAGE)[0], torch.tensor([[2.0, 1.0], [3.0, 3.0]]).tanh())
    assert torch.equal(found.filtered(-IMAGE)[0], torch.tensor([[0.0, 1.0], [0.0, 0.0]]).tanh())
    linear = found.hidden[0]
    linear.weight.copy_(torch.tensor([[1.0, 0.0, -1.0, 2.0]]))
    linear.bias.fill_(0.5)
    found.heads.linear.weight.copy_(torch.tensor([[1.0], [-1.0], [2.0], [0.0], [3.0]]))
    found.heads.linear.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0, -1.0]))
    hidden = math.tanh(math.tanh(2) - math.tanh(3) + 2 * math.tanh(3) + 0.5)
    first, second = found(IMAGE)
    assert first.tolist() == [pytest.approx([hidden, 1 - hidden])]
    assert second.tolist() == [pytest.approx([2 * hidden, 0, 3 * hidden - 1])]


@torch.no_grad()
@pytest.mark.parametrize(("shape", "size", "kernels"), [((5, 5), 2, 3), ((4, 7), 3, 1), ((3, 3), 3, 2), ((1, 6), 1, 4)])
def test_the_frames_are_those_of_unfold(shape: tuple[int, int], size: int, kernels: int) -> None:
    torch.manual_seed(0)
    made = ActivationDecoder(shape, [2], kernels=kernels, kernel_size=size)
    images = torch.randn(6, *shape)
    frames = functional.unfold(images.unsqueeze(1), size)  # (B, k·k, positions)
    by_hand = torch.einsum("kf,bfp->bkp", made.kernels.weight.flatten(1), frames)
    height, width = shape[0] - size + 1, shape[1] - size + 1
    torch.testing.assert_close(made.responses(images), by_hand.reshape(6, kernels, height, width))
    torch.testing.assert_close(made.filtered(images).flatten(1), by_hand.amax(1).tanh())


def test_the_published_decoder_has_its_layers_and_drops_units_in_training_alone() -> None:
    made = ActivationDecoder((5, 5), [2, 2, 2])
    # 3 kernels of 2×2; 16 positions → 30 → 30 → three heads of 2
    assert sum(p.numel() for p in made.parameters()) == 3 * 4 + (16 * 30 + 30) + (30 * 30 + 30) + 3 * (30 * 2 + 2)
    images = torch.randn(4, 5, 5)
    made.train()
    assert not torch.equal(made(images)[0], made(images)[0])
    made.eval()
    assert torch.equal(made(images)[0], made(images)[0])
    assert [tuple(logits.shape) for logits in made(images)] == [(4, 2)] * 3
    assert len(ActivationDecoder((5, 5), [2], hidden_sizes=[]).hidden) == 0


def test_kernels_larger_than_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match=r"kernels of 3×3 don't fit into images of \(2, 5\)"):
        ActivationDecoder((2, 5), [2], kernel_size=3)


# --- what is read ------------------------------------------------------------------------------------------------


def pairs(modulus: int = 3, copies: int = 1) -> Dataset:
    """Modular addition, every pair `copies` times, in training and test."""
    numbers = torch.tensor(list(itertools.product(range(modulus), repeat=2))).repeat(copies, 1)
    x = functional.one_hot(numbers, modulus).flatten(1).float()
    y = numbers.sum(1) % modulus
    model = CausalModel(("a", "b"), numbers.double(), numbers.double(), ModularSum(modulus, classes=True))
    names = tuple(map(str, range(modulus)))
    words = {"label_name": "sum", "caption": "{a} + {b} = {sum}"}
    return Dataset("mod_add", x, y, x, y, names, causal_model=model, **words)


def test_a_vector_is_no_variable_that_is_decoded() -> None:
    data = pairs()
    model = data.causal_model
    assert model is not None
    values = model.values_test[:, [0, 1, 1, 0]]
    vectors = CausalModel(("v", "b", "a"), values, values, model.mechanism, widths=(2, 1, 1))
    found = decoding.causal_variables(replace(data, causal_model=vectors))
    assert list(found) == ["b", "a"] and torch.equal(found["a"], model.values_test[:, 0].long())
    assert torch.equal(found["b"], model.values_test[:, 1].long())


def examples_of(dataset: Dataset) -> decoding.Examples:
    return decoding.distinct_examples(dataset.x_test, decoding.variables(dataset), caption=dataset.caption)


def setting(model: nn.Module, dataset: Dataset, seed: int = 0, **options: Any) -> Setting:
    """A setting whose network has no better initial weights than those it has."""
    config = DecoderConfig(**{"epochs": 2, "min_target_accuracy": 0.0, **options})
    networks = {"untrained": TrainedNetwork(model.eval())}
    return Setting(config, TrainingOptions(), model.eval(), dataset, seed, networks=networks)


def graph_of(model: nn.Module, x: Tensor) -> ModelGraph:
    return ModelGraph.trace(model.eval(), x[:2])


class Functions(nn.Module):
    """Activations as functions, methods and modules; a softmax; an output that is an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.prelu, self.last = nn.Linear(6, 4), nn.PReLU(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.leaky_relu(self.first(x))
        x = self.prelu(x).tanh() * functional.softmax(x, dim=1)
        return torch.sigmoid(self.last(functional.gelu(x)))


@pytest.mark.parametrize(
    ("model", "x", "expected"),
    [
        (MLP([6, 5, 4, 3], nn.Tanh), torch.randn(2, 6), ["layers.1", "layers.3"]),
        (MLP([6, 5, 3], nn.ReLU, nn.Sigmoid()), torch.randn(2, 6), ["layers.1"]),
        (TwoLayerSkip(6, 3), torch.randn(2, 6), ["relu"]),
        (CNN(1, (8, 8), 3), torch.randn(2, 1, 8, 8), ["relu", "relu_1", "relu_2", "relu_3"]),
        (Functions(), torch.randn(2, 6), ["leaky_relu", "prelu", "tanh", "gelu"]),
    ],
)
def test_all_hidden_activations_are_read_by_default(model: nn.Module, x: Tensor, expected: list[str]) -> None:
    assert images_of.hidden_sites(graph_of(model, x)) == expected


@torch.no_grad()
def test_an_activation_image_has_a_row_a_layer_rounded() -> None:
    torch.manual_seed(0)
    model, x = MLP([6, 4, 4, 3], nn.Tanh).eval(), torch.randn(2100, 6)
    graph = graph_of(model, x)
    first = torch.tanh(model.layers[0](x))
    second = torch.tanh(model.layers[2](first))
    images = images_of.activation_images(graph, x, ["layers.1", "layers.3"], at_least=2)
    torch.testing.assert_close(images, torch.stack([first, second], dim=1))
    rounded = images_of.activation_images(graph, x, ["layers.3", "layers.1"], decimals=1, at_least=2)
    np.testing.assert_allclose(rounded.numpy(), np.round(torch.stack([second, first], 1).numpy(), 1), atol=1e-6)


@torch.no_grad()
def test_narrower_sites_and_too_few_of_them_are_padded_with_zeros() -> None:
    torch.manual_seed(0)
    model, x = MLP([6, 4, 2, 3], nn.ReLU).eval(), torch.randn(3, 6)
    graph = graph_of(model, x)
    images = images_of.activation_images(graph, x, ["layers.1", "layers.3"], at_least=3)
    assert images.shape == (3, 3, 4) == (3, *images_of.image_shape(graph, ["layers.1", "layers.3"], at_least=3))
    first = torch.relu(model.layers[0](x))
    assert torch.equal(images[:, 0], first)
    assert torch.equal(images[:, 1, :2], torch.relu(model.layers[2](first)))
    assert not images[:, 1, 2:].any() and not images[:, 2].any()


@torch.no_grad()
def test_a_site_of_several_dimensions_is_flattened() -> None:
    torch.manual_seed(0)
    model, x = CNN(1, (8, 8), 3).eval(), torch.randn(3, 1, 8, 8)
    (row,) = images_of.activation_images(graph_of(model, x), x, ["relu"])[0]
    assert torch.equal(row, torch.relu(model.conv1(x))[0].flatten())


# --- what is decoded ---------------------------------------------------------------------------------------------


def test_the_variables_of_modular_addition() -> None:
    examples = examples_of(pairs(3, copies=4))
    assert len(examples) == 9 and examples.index.tolist() == list(range(9)) * 4
    assert {name: label.tolist() for name, label in examples.labels.items()} == {
        "a": [0, 0, 0, 1, 1, 1, 2, 2, 2],
        "b": [0, 1, 2] * 3,
        "sum": [0, 1, 2, 1, 2, 0, 2, 0, 1],
    }
    assert examples.caption(5) == "1 + 2 = 0"
    as_values = replace(pairs(3), y_train=pairs(3).y_train.float(), y_test=pairs(3).y_test.float(), class_names=None)
    assert torch.equal(examples_of(as_values).labels["sum"], examples.labels["sum"])


def test_the_variables_of_mnist_are_those_of_its_causal_model() -> None:
    config = composition.compose(["dataset=mnist", "dataset.limit=50", "dataset.digits=[2,3,4,5,8,9]"])
    dataset = load_dataset(config.dataset, seed=0).flattened()
    digits = torch.tensor([2, 3, 4, 5, 8, 9])[dataset.y_test]
    found = decoding.variables(dataset)
    assert torch.equal(found["digit"], digits)
    assert torch.equal(2 * found["half"] + found["parity"], digits)
    examples = examples_of(dataset)
    assert examples.values == {"digit": (2, 3, 4, 5, 8, 9), "parity": (0, 1), "half": (1, 2, 4)}
    assert examples.caption(0) == f"digit {digits[0]}, parity {digits[0] % 2}, half {digits[0] // 2}"


def test_of_any_other_data_set_the_label_is_decoded() -> None:
    dataset = classes(30)
    assert torch.equal(decoding.variables(dataset)["label"], dataset.y_test)
    assert torch.equal(decoding.variables(values(30))["label"], values(30).y_test.long())


@pytest.mark.parametrize(
    "name", ["label", "all", "example", "example_number", "label_decoded", "b_decoded", "predicted", "input", "fold"]
)
def test_a_variable_with_a_name_of_the_tables_is_refused(name: str) -> None:
    dataset = pairs(3)
    model = dataset.causal_model
    assert model is not None
    named = {"name": "arrays", "label_name": "label", "caption": None}
    own = replace(dataset, **named, causal_model=replace(model, variables=(name, "b")))
    with pytest.raises(
        ConfigError, match=f"a variable named .{name}.*label, all, example_number, example, fold, input, predicted are"
    ):
        decoder.check(setting(MLP([6, 4, 3]), own))
    decoder.check(setting(MLP([6, 4, 3]), replace(own, causal_model=replace(model, variables=("labels", "b")))))


def test_a_variable_with_one_value_is_left_out() -> None:
    config = composition.compose(["dataset=mnist01", "dataset.limit=50"])
    assert list(examples_of(load_dataset(config.dataset, seed=0)).labels) == ["digit", "parity"]


def test_equal_inputs_with_different_labels_are_different_examples() -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, -0.0], [0.0, 1.0]])
    y = torch.tensor([0, 1, 0, 1])
    examples = examples_of(Dataset("arrays", x, y, x, y, ("0", "1")))
    assert examples.index.tolist() == [0, 1, 0, 2] and examples.labels["label"].tolist() == [0, 1, 1]


# --- the split ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "share", "held_out"), [(121, 0.1, 12), (100, 0.29, 29), (10, 0.99, 9), (2, 0.9999999999, 1)]
)
def test_no_image_is_in_both_parts(n: int, share: float, held_out: int) -> None:
    images = torch.arange(n).float().reshape(n, 1, 1).expand(n, 2, 2)
    index = torch.randint(n, (20 * n,), generator=torch.Generator().manual_seed(0))
    part = decoding.split_images(images, index, share, seed=0)
    assert len(part.held_out) == held_out and part.n_shared == 0
    assert not set(part.held_out.tolist()) & set(part.train.tolist())
    assert sorted(part.train.tolist()) == sorted(i for i in index.tolist() if i not in set(part.held_out.tolist()))
    other = decoding.split_images(images, index, share, seed=1)
    assert n == 2 or not torch.equal(part.held_out, other.held_out)


def test_inputs_with_one_image_are_held_out_together() -> None:
    images = (torch.arange(60) // 3).float().reshape(60, 1, 1).expand(60, 2, 2)
    part = decoding.split_images(images, torch.arange(60), 0.2, seed=0)
    assert len(part.held_out) == 12
    assert {i // 3 for i in part.held_out.tolist()}.isdisjoint(i // 3 for i in part.train.tolist())


def test_too_few_images_are_shared_and_counted() -> None:
    images = torch.arange(4).float().reshape(4, 1, 1).expand(4, 2, 2)
    part = decoding.split_images(images, torch.arange(4).repeat(100), 0.1, seed=0)
    assert len(part.train) == 360 and part.held_out.tolist() == [0, 1, 2, 3] and part.n_shared == 4
    # A quarter of four images is one: none is shared.
    part = decoding.split_images(images, torch.arange(4).repeat(100), 0.25, seed=0)
    assert len(part.train) == 300 and len(part.held_out) == 1 and part.n_shared == 0
    alone = decoding.split_images(torch.zeros(2, 2, 2), torch.arange(2), 0.1, seed=0)
    assert len(alone.train) == len(alone.held_out) == alone.n_shared == 1


# --- decoding ----------------------------------------------------------------------------------------------------


def many_examples(n: int) -> decoding.Examples:
    """Examples of modular addition with modulus 2 that are all different."""
    a, b = torch.randint(2, (2, n), generator=torch.Generator().manual_seed(1))
    labels = {"a": a, "b": b, "sum": (a + b) % 2}
    return decoding.Examples(torch.arange(n).float()[:, None], torch.arange(n), dict.fromkeys(labels, (0, 1)), labels)


def accuracy_on(images: Tensor, examples: decoding.Examples, **options: Any) -> tuple[dict[str, float], int]:
    """Of a decoder trained on a part of these images, on the others; and how many these are."""
    part = decoding.split_images(images, examples.index, options.pop("test_share"), seed=0)
    made, _ = train_decoder(images, examples.labels, part, **options)
    found = decoding.decoding_accuracy(decoding.decode(made, images), examples.labels, part)
    assert part.n_shared == 0
    return {name: one.accuracy for name, one in found.items()}, len(part.held_out)


def test_activations_that_encode_the_inputs_exactly_are_decoded_without_a_mistake() -> None:
    """By the published decoder, on images it has never seen; without the rows that encode them it guesses."""
    examples = many_examples(300)
    images = torch.randn(300, 5, 5, generator=torch.Generator().manual_seed(0)) / 4
    for row, label in zip((0, 2, 4), examples.labels.values(), strict=True):
        images[:, row] = 2 * label[:, None].float() - 1
    found, n = accuracy_on(images, examples, test_share=0.5, epochs=80)
    assert n == 150 and found == {"a": 1.0, "b": 1.0, "sum": 1.0, "all": 1.0}
    images[:, ::2] = 0
    found, n = accuracy_on(images, examples, test_share=0.5, epochs=20)
    assert all(0.35 < found[name] < 0.65 for name in ("a", "b", "sum")) and found["all"] < 0.4


def test_noise_is_decoded_at_chance_level() -> None:
    examples = examples_of(pairs(20, copies=4))
    images = torch.randn(400, 5, 5, generator=torch.Generator().manual_seed(0))
    found, n = accuracy_on(images, examples, test_share=0.5, epochs=20)
    assert n == 200
    for name in ("a", "b", "sum"):
        low, high = wilson_interval(round(found[name] * n), n)
        assert low < 1 / 20 < high
    assert found["all"] <= 0.02


def test_training_is_repeatable_and_seeds_differ() -> None:
    dataset = pairs(3, copies=10)
    examples = examples_of(dataset)
    images = torch.randn(9, 3, 3, generator=torch.Generator().manual_seed(0))
    part = decoding.split_images(images, examples.index, 0.2, seed=0)
    weights = []
    for seed in (0, 0, 1):
        made, history = train_decoder(images, examples.labels, part, epochs=2, seed=seed)
        weights.append(made.kernels.weight.detach().clone())
        assert [row["epoch"] for row in history] == [1, 2] and history[1]["loss"] < history[0]["loss"]
        assert not made.training
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert train_decoder(images, examples.labels, part, epochs=0)[1] == []


def test_a_linear_probe_is_the_minimum_that_plain_gradient_descent_finds() -> None:
    penalty = 0.03  # so that gradient descent gets there soon
    draw = torch.Generator().manual_seed(0)
    examples = examples_of(pairs(3, copies=3))
    features = torch.randn(9, 4, generator=draw) * torch.tensor([1.0, 10.0, 0.1, 0.0]) + 5
    part = decoding.DecodingSplit(torch.tensor([0, 0, 0, 1, 2, 3, 3, 4, 5, 6]), torch.tensor([7, 8]), 0)
    answers = decoding.linear_probe(features, examples.labels, part.train, penalty=penalty)
    # The textbook's: every training example by itself, in float64.
    x = features.double()
    seen = x[part.train]
    x = (x - seen.mean(0)) / seen.std(0, correction=0).where(seen.std(0, correction=0) > 1e-6, torch.ones(4).double())
    labels = torch.stack(list(examples.labels.values()))  # (V, D)
    weight, bias = torch.zeros(3, 3, 4, dtype=torch.double), torch.zeros(3, 1, 3, dtype=torch.double)
    for tensor in (weight, bias):
        tensor.requires_grad_()
    for _ in range(600):
        logits = x[part.train] @ weight.mT + bias  # (V, n, values)
        loss = 3 * functional.cross_entropy(logits.flatten(0, 1), labels[:, part.train].flatten())
        loss = loss + penalty / 2 * weight.square().sum()
        for tensor, slope in zip((weight, bias), torch.autograd.grad(loss, (weight, bias)), strict=True):
            tensor.data -= 0.5 * slope
    assert torch.equal(torch.stack(answers), (x @ weight.mT + bias).argmax(2))


def test_a_linear_probe_can_read_what_is_linear_and_nothing_else() -> None:
    examples = examples_of(pairs(2, copies=5))
    everything = decoding.DecodingSplit(examples.index, torch.arange(4), 4)
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    a, b, total = decoding.linear_probe(corners, examples.labels, everything.train)
    assert a.tolist() == [0, 0, 1, 1] and b.tolist() == [0, 1, 0, 1]
    assert total.tolist() != [0, 1, 1, 0]


# --- errors that speak of arguments, words of data sets, the library page ---------------------------------------------


def test_a_method_names_its_arguments_and_no_option() -> None:
    graph = graph_of(MLP([6, 4, 3]), torch.randn(2, 6))
    x = torch.zeros(3, 6)
    images, labels = torch.zeros(3, 2, 2), {"a": torch.tensor([0, 1, 1])}
    part = decoding.DecodingSplit(torch.tensor([0, 1]), torch.tensor([2]), 0)
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: images_of.activation_images(graph, x, []), r"^sites=\[\]: name at least one site, each once"),
        (
            lambda: decoding.variables(values_of(0.5)),
            "^dataset=arrays: what is decoded must be one class per example, or one",
        ),
        (lambda: decoding.distinct_examples(x, {"a": torch.zeros(3)}), "^nothing to decode: all .* have the same a"),
        (
            lambda: decoding.distinct_examples(x, {"a": torch.zeros(2)}),
            r"^variables\['a'\] of shape \(2,\): give",
        ),
        (
            lambda: decoding.distinct_examples(x, {"a": torch.rand(3)}),
            r"^variables\['a'\] of shape \(3,\): give",
        ),
        (
            lambda: decoding.split_images(images, torch.arange(3), 1.0, seed=0),
            "^share=1 of 3 examples: give at least",
        ),
        (lambda: train_decoder(images, {}, part), r"^labels of \[\]: give at least one variable"),
        (
            lambda: train_decoder(images, {"all": labels["a"]}, part),
            "'all' means all of them together",
        ),
        (lambda: decoding.linear_probe(x, {"a": torch.zeros(3)}, part.train), r"^labels\['a'\] is torch.float32 of"),
        (lambda: train_decoder(images, labels, part, kernel_size=3), "^kernels of 3×3 don't fit"),
        (
            lambda: train_decoder(images, labels, part, optimizer="adan"),
            "named 'adan'. Did you mean adam",
        ),
    ]
    for call, text in cases:
        with pytest.raises(ValueError, match=text) as raised:
            call()
        assert not re.search(r"experiment\.|dataset\.|training\.", str(raised.value))
    with pytest.raises(FloatingPointError, match="^the decoder's training diverged in epoch 1: the loss is nan.$"):
        train_decoder(images.fill_(float("nan")), labels, part)


@pytest.mark.parametrize("module", [images_of, decoding])
def test_the_methods_know_no_config(module: ModuleType) -> None:
    assert not re.search(r"mi_runner\.config|mi_runner\.experiments|Setting", inspect.getsource(module))


def values_of(offset: float) -> Dataset:
    return replace(values(), y_test=values().y_test + offset)


def test_a_class_that_is_named_by_a_number_is_decoded_as_that_number() -> None:
    x = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 2, 1])
    assert decoding.variables(Dataset("arrays", x, y, x, y, ("3", "-5", "10")))["label"].tolist() == [3, -5, 10, -5]
    for names in (("3", "05", "5"), ("3", "5", "b")):  # 05 and 5 are two classes
        assert decoding.variables(Dataset("arrays", x, y, x, y, names))["label"].tolist() == [0, 1, 2, 1]


def test_a_data_set_says_what_its_label_is_called_and_how_an_example_reads() -> None:
    dataset = replace(pairs(3), label_name="total", caption="{total} = {b} + {a}")
    assert list(decoding.variables(dataset)) == ["total", "b", "a"]
    assert examples_of(dataset).caption(5) == "0 = 2 + 1"
    dataset = replace(dataset, caption=None)
    assert list(decoding.variables(dataset)) == ["total", "a", "b"]
    assert examples_of(dataset).caption(5) == "total 0, a 1, b 2"
    with pytest.raises(ValueError, match="a variable named 'a', as the label is"):
        decoding.variables(replace(dataset, label_name="a"))


def test_the_example_of_the_library_page_runs_and_decodes_its_inputs() -> None:
    text = (REPOSITORY / "docs/library.md").read_text().split("\n## Decoding\n")[1].split("\n## ")[0]
    block, _ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["accuracy"]["a"].low > 0.5 > names["shuffled"]["a"].high
    assert names["linear"]["a"].low > 0.5


# --- the experiment ----------------------------------------------------------------------------------------------


def small(**options: Any) -> Setting:
    torch.manual_seed(0)
    return setting(MLP([10, 6, 6, 5], nn.Tanh), pairs(5, copies=8), **options)


def test_every_control_has_a_row_for_each_variable() -> None:
    given = small(test_share=0.2)
    result = decoder.run(given)
    rows = result.tables["metrics"]
    expected = [("none", "all"), ("untrained", "all"), ("shuffled", "all")]
    expected += [("linear", "layers.1"), ("linear", "layers.3"), ("linear", "all")]
    assert [(row["control"], row["site"], row["decoded"]) for row in rows] == [
        (*control, name) for control in expected for name in ("a", "b", "sum", "all", "predicted")
    ]
    accuracy = float((given.model(given.dataset.x_test).argmax(1) == given.dataset.y_test).double().mean())
    for row in rows:
        assert (row["n"], row["shared_images"]) == (5, 0)
        assert (row["accuracy_low"], row["accuracy_high"]) == wilson_interval(round(5 * row["accuracy"]), 5)
        assert row["target_accuracy"] == pytest.approx(accuracy)
        # A pair that is held out is never the commonest of those that are trained on.
        assert row["decoded"] != "all" or row["chance"] == 0
    assert set(result.metrics) == set(decoder.metric_names(given))
    assert result.metrics["accuracy/sum/linear/layers.3"] == rows[-8]["accuracy"]
    assert result.metrics["n_images"] == 25 and result.metrics["shared_images"] == 0
    # This setting's untrained network is its network, so that control must agree with the decoder itself.
    for own, control in zip(rows[:5], rows[5:10], strict=True):
        assert {**own, "control": ""} == {**control, "control": ""}


def test_all_is_the_fraction_of_inputs_with_every_variable_correct() -> None:
    result = decoder.run(small(test_share=0.4, epochs=30))
    answers = pd.DataFrame(result.tables["answers"])
    right = {name: answers[name] == answers[f"{name}_decoded"] for name in ("a", "b", "sum")}
    for name, column in {**right, "all": right["a"] & right["b"] & right["sum"]}.items():
        assert result.metrics[f"accuracy/{name}"] == pytest.approx(column.mean())
    assert len(answers) == 10
    assert list(answers["example"]) == [f"{row.a} + {row.b} = {row['sum']}" for _, row in answers.iterrows()]
    assert ((answers["a"] + answers["b"]) % 5 == answers["sum"]).all()


def test_the_untrained_control_reads_the_initial_weights() -> None:
    torch.manual_seed(1)
    other = MLP([10, 6, 6, 5], nn.Tanh).eval()
    given = small(test_share=0.4, epochs=5)
    found = decoder.run(replace(given, networks={"untrained": TrainedNetwork(other)}))
    alone = decoder.run(replace(given, model=other))
    table, expected = found.tables["metrics"], alone.tables["metrics"]
    assert [{**row, "control": ""} for row in table[5:10]] == [{**row, "control": ""} for row in expected[:5]]
    assert [row["train_accuracy"] for row in table[5:10]] != [row["train_accuracy"] for row in table[:5]]


def test_shuffled_labels_are_memorised_but_not_decoded() -> None:
    torch.manual_seed(0)
    given = setting(MLP([40, 30, 20], nn.Tanh), pairs(20, copies=4), test_share=0.3, epochs=30, hidden_sizes=[100, 100])
    rows = {(row["control"], row["decoded"]): row for row in decoder.run(given).tables["metrics"][:15]}
    assert rows["none", "a"]["accuracy"] > 0.9  # the first layer of any network has it
    assert rows["shuffled", "a"]["accuracy_low"] < 1 / 20 < rows["shuffled", "a"]["accuracy_high"]
    assert rows["shuffled", "a"]["train_accuracy"] > 0.25


def test_the_other_tables_and_the_figures() -> None:
    result = decoder.run(small(sites=["layers.3", "layers.0"], kernels=2, kernel_size=2, epochs=3))
    assert list(result.figures) == ["kernels", "filtered", "layers", "distances", "layer_similarity"]
    assert [(row["kernel"], row["row"], row["column"]) for row in result.tables["kernels"]] == list(
        itertools.product(range(2), repeat=3)
    )
    assert result.tables["sites"] == [
        {"row": 0, "site": "layers.3", "units": 6, "padding": 0},
        {"row": 1, "site": "layers.0", "units": 6, "padding": 0},
    ]
    history = result.tables["decoder_history"]
    assert [(row["control"], row["decoded"], row["epoch"]) for row in history] == [
        *itertools.product(("none", "untrained", "shuffled"), ("all", "predicted"), (1, 2, 3))
    ]
    assert history[2]["accuracy"] == result.metrics["accuracy/all"]
    assert history[2]["test_loss"] == pytest.approx(result.metrics["test_loss"])
    figure = result.figures["filtered"]()
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert set(labels) == {row["example"] for row in result.tables["answers"]} and len(labels) == 2
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["activations", "kernel 0", "kernel 1", "tanh of the largest"]


def test_a_row_more_is_drawn_for_no_more_than_eight_inputs() -> None:
    figure = decoder.run(small(test_share=0.9)).figures["filtered"]()
    assert len([axes for axes in figure.axes if axes.get_ylabel()]) == 8  # every third of 22


def test_too_few_held_out_inputs_are_stated(warnings_in_log: list[str]) -> None:
    torch.manual_seed(0)
    result = decoder.run(setting(MLP([6, 4, 3]), pairs(3)))
    assert {row["n"] for row in result.tables["metrics"] if row["control"] != "untrained"} == {1}
    assert [line for line in warnings_in_log if line.startswith("each accuracy is of n=1 held-out inputs, too few")]
    warnings_in_log.clear()
    decoder.run(setting(MLP([12, 4, 6]), pairs(6), test_share=0.9))  # 32 of 36
    assert warnings_in_log == []


def test_padding_is_stated(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    with caplog.at_level("INFO", "mi_runner"):
        result = decoder.run(setting(MLP([6, 4, 2, 3]), pairs(3), kernel_size=3))
    assert [row["padding"] for row in result.tables["sites"]] == [0, 2]
    assert "images of 3×4 are padded with zeros: layers.3 by 2, 1 empty rows at the bottom" in caplog.text


@pytest.mark.parametrize(
    ("model", "dataset", "options", "text"),
    [
        (MLP([6, 4, 3]), classes(), {"sites": ["layers.7"]}, "^experiment.sites: no site .* 'layers.7'.*Allowed: x"),
        (MLP([6, 4, 3]), classes(), {"sites": ["layers.1", "layers.1"]}, "name at least one site, each once"),
        (MLP([6, 4, 3]), classes(), {"sites": []}, "name at least one site"),
        (
            MLP([6, 3]),
            classes(),
            {},
            "no activation function between its layers: name sites .*=\\[x,layers.0\\] or some",
        ),
        (MLP([6, 4, 1]), values(), {"sites": ["x"], "kernel_size": 2}, ""),
    ],
)
def test_mistakes_are_found_before_training(
    model: nn.Module, dataset: Dataset, options: dict[str, Any], text: str
) -> None:
    given = setting(model, dataset, **options)
    if not text:
        decoder.check(given)
        return
    with pytest.raises(ConfigError, match=text):
        decoder.check(given)


def test_values_that_are_no_few_integers_are_refused() -> None:
    dataset = replace(values(), y_test=values().y_test + 0.5)
    with pytest.raises(ConfigError, match="one of at most 1000 different integers. Store such integers in y"):
        decoder.check(setting(MLP([6, 4, 1]), dataset))
    dataset = replace(values(), y_test=torch.zeros(40))
    with pytest.raises(ConfigError, match="all test examples have the same label"):
        decoder.check(setting(MLP([6, 4, 1]), dataset))


def test_a_site_of_the_name_that_tables_use_for_all_is_refused() -> None:
    model = nn.Sequential()
    for name, module in (("first", nn.Linear(6, 4)), ("all", nn.ReLU()), ("last", nn.Linear(4, 3))):
        model.add_module(name, module)
    with pytest.raises(ConfigError, match="named 'all', which in tables and options means all of the sites: rename it"):
        decoder.check(setting(model, classes()))


def test_a_site_without_numbers_for_each_example_is_refused() -> None:
    class Indexed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.embedding = nn.Linear(6, 4), nn.Embedding(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.embedding(torch.relu(self.first(x)).argmax(1))

    with pytest.raises(ConfigError, match="argmax can't be read, because it holds integers. Sites that can: x, first"):
        decoder.check(setting(Indexed(), classes(), sites=["argmax"]))


def test_too_many_numbers_are_refused_with_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "MOST_NUMBERS", 299)
    with pytest.raises(ConfigError, match="25 activation images of 2×6 are 300 numbers, more than 299: name fewer"):
        decoder.check(small())


# --- the command -------------------------------------------------------------------------------------------------


def test_the_published_experiment(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("experiment=decoder", "expect={accuracy/all: '==1', target_accuracy: '>=0.99'}")
    assert ended.status == 0, ended.err
    table = pd.read_csv(ended.folder / "metrics.csv", keep_default_na=False)
    own = table[table["control"] == "none"]
    assert list(own["decoded"]) == ["a", "b", "sum", "all", "predicted"] and (own["accuracy"] == 1).all()
    assert (own["n"] == 4).all() and (own["shared_images"] == 4).all() and (own["target_accuracy"] == 1).all()
    drawn = ("kernels", "filtered", "layers", "distances", "layer_similarity")
    assert {path.name for path in ended.folder.glob("figures/*")} == {"captions.md", *(f"{name}.png" for name in drawn)}
    kernels = pd.read_csv(ended.folder / "kernels.csv")
    assert len(kernels) == 3 * 2 * 2 and list(kernels.columns) == ["fold", "kernel", "row", "column", "weight"]
    sites = pd.read_csv(ended.folder / "sites.csv")
    assert list(sites["site"]) == ["layers.1", "layers.3", "layers.5", "layers.7", "layers.9"]
    assert (sites["units"] == 5).all() and (sites["padding"] == 0).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_published_network_learns_its_task(seed: int) -> None:
    config = composition.compose(["experiment=decoder", f"seed={seed}"])
    assert config.model.hidden_sizes == [5] * 5 and config.model.activation.name == "tanh" and not config.model.bias
    dataset = load_dataset(config.dataset, seed=seed)
    built = build_network(config.model, dataset, seed=seed)
    history = training.train(
        built.model, built.dataset, replace(training_options(config.training), epochs=3), seed=seed
    )
    assert history[-1]["test_accuracy"] >= 0.99


def test_a_network_that_has_not_learned_its_task_ends_the_run(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("experiment=decoder", *SMALL, "training.epochs=0")
    assert ended.status == 1
    # A little above the commonest label, so that the examples don't show it; below it, it has not learned.
    assert "test examples don't show that the network has learned its task: its test accuracy is 0." in ended.err
    assert "and the commonest label alone has 0.5" in ended.err and "Train it longer (training.epochs)" in ended.err
    ended = mi_run("experiment=decoder", *SMALL, "training.epochs=0", "experiment.min_target_accuracy=0.99")
    assert ended.status == 1 and "below experiment.min_target_accuracy=0.99. Train it longer" in ended.err
    ended = mi_run("experiment=decoder", *SMALL, "training.epochs=0", "experiment.min_target_accuracy=0")
    assert ended.status == 0


def test_any_modulus_and_any_network(mi_run: Callable[..., Ended]) -> None:
    anything = "experiment.min_target_accuracy=0"
    ended = mi_run("experiment=decoder", *SMALL, anything, "dataset.modulus=7", "model.hidden_sizes=[9,4]")
    assert ended.status == 0, ended.err
    assert "layers.3 by 5" in ended.err
    limited = ("dataset.limit=60", "training.epochs=1", "experiment.epochs=1", anything)
    ended = mi_run("experiment=decoder", "dataset=mnist", "model=skip", *limited)
    assert ended.status == 0, ended.err
    assert "images of 2×784 are padded with zeros: 1 empty rows" in ended.err
    assert {"accuracy/digit", "accuracy/parity", "accuracy/half/linear/relu"} <= set(ended.record["metrics"])
    ended = mi_run("experiment=decoder", "dataset=mnist", "model=cnn", *limited, "experiment.sites=[relu_2,relu_3]")
    assert ended.status == 0, ended.err
    assert list(pd.read_csv(ended.folder / "sites.csv")["units"]) == [3136, 3]


def test_a_training_that_diverges_says_what_to_try(mi_run: Callable[..., Ended]) -> None:
    options = ("experiment.min_target_accuracy=0", "experiment.optimizer=sgd", "experiment.learning_rate=1e38")
    ended = mi_run("experiment=decoder", *SMALL, *options, "experiment.epochs=3")
    assert ended.status == 1 and "the decoder's training diverged in epoch" in ended.err
    assert "Try a smaller experiment.learning_rate" in ended.err


# --- folds -----------------------------------------------------------------------------------------------------------


def test_folds_hold_out_every_image_once() -> None:
    images = torch.arange(25).float().reshape(25, 1, 1).expand(25, 2, 2)
    index = torch.arange(25).repeat(4)
    folds = decoding.split_folds(images, index, 10, seed=0)
    assert sorted(i for split in folds for i in split.held_out.tolist()) == list(range(25))
    assert sorted(len(split.held_out) for split in folds) == [2] * 5 + [3] * 5
    for split in folds:
        others = set(range(25)) - set(split.held_out.tolist())
        assert sorted(split.train.tolist()) == sorted([*others] * 4)
        assert split.n_shared == 0
    equal = (torch.arange(60) // 3).float().reshape(60, 1, 1).expand(60, 2, 2)
    for split in decoding.split_folds(equal, torch.arange(60), 4, seed=0):
        assert {i // 3 for i in split.held_out.tolist()}.isdisjoint(i // 3 for i in split.train.tolist())
    for folds_given in (1, 26):
        with pytest.raises(ValueError, match=f"^folds={folds_given} of 25 different images: give at least 2, and at"):
            decoding.split_folds(images, index, folds_given, seed=0)


def unequal_folds() -> tuple[Tensor, dict[str, Tensor], list[decoding.DecodingSplit]]:
    """Folds whose epochs differ in their steps of 4 examples; 25 images, which are more than a batch."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(25, 4, 5, generator=draw)
    index = torch.randint(25, (90,), generator=draw)
    labels = {"a": torch.arange(25) % 5, "b": torch.arange(25) // 5}
    folds = decoding.split_folds(images, index, 6, seed=0)
    assert len({math.ceil(len(split.train) / 4) for split in folds}) > 1
    return images, labels, folds


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 4},
        {"batch_size": 64},  # more than the images: the first layer is computed once for equal images
        {"batch_size": 64, "hidden_sizes": []},
        {"batch_size": 4, "optimizer": "sgd", "dropout": 0.0, "stop_loss": 3.15, "kernel_size": 3},
    ],
)
def test_a_decoder_of_a_stack_is_the_one_that_it_is_alone(options: dict[str, Any]) -> None:
    images, labels, folds = unequal_folds()
    stacked = train_decoders(images, labels, folds, epochs=6, **options)
    for split, (made, history) in zip(folds, stacked, strict=True):
        alone, expected = train_decoder(images, labels, split, epochs=6, **options)
        for found, wanted in zip(made.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        assert [row["epoch"] for row in history] == [row["epoch"] for row in expected]
        for row, wanted_row in zip(history, expected, strict=True):
            assert row == pytest.approx(wanted_row, rel=1e-4)
    if "stop_loss" in options:
        lengths = [len(history) for _, history in stacked]
        assert min(lengths) < 6
        for _, history in stacked:
            assert all(row["loss"] > 3.15 for row in history[:-1])
            assert history[-1]["loss"] <= 3.15 or len(history) == 6


def test_a_decoder_is_the_one_of_a_plain_training_loop() -> None:
    """Without dropout: the module itself, autograd, torch's Adam, and the same order of the batches."""
    images, labels, (split, *_) = unequal_folds()
    made, history = train_decoder(images, labels, split, epochs=3, batch_size=16, dropout=0.0, seed=4)
    (plain, _) = train_decoder(images, labels, split, epochs=0, dropout=0.0, seed=4)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2)
    order = generator(4, "decoder batch order")
    for epoch in range(3):
        total = 0.0
        for batch in torch.randperm(len(split.train), generator=order).split(16):
            rows = split.train[batch]
            a, b = plain(images[rows])
            loss = functional.cross_entropy(a, labels["a"][rows]) + functional.cross_entropy(b, labels["b"][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        assert history[epoch]["loss"] == pytest.approx(total / len(split.train), rel=1e-4)
    for found, wanted in zip(made.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        a, b = plain(images[split.held_out])
        test_loss = functional.cross_entropy(a, labels["a"][split.held_out])
        test_loss = test_loss + functional.cross_entropy(b, labels["b"][split.held_out])
    assert history[-1]["test_loss"] == pytest.approx(float(test_loss), rel=1e-4)


def test_dropout_leaves_out_its_fraction_of_units() -> None:
    """With all but no unit left, nothing but the biases of the heads can learn."""
    images, labels, (split, *_) = unequal_folds()
    before, _ = train_decoder(images, labels, split, epochs=0, dropout=0.999999, hidden_sizes=[4])
    after, _ = train_decoder(images, labels, split, epochs=2, dropout=0.999999, hidden_sizes=[4], optimizer="sgd")
    assert torch.equal(before.kernels.weight, after.kernels.weight)
    assert torch.equal(before.heads.linear.weight, after.heads.linear.weight)
    assert not torch.equal(before.heads.linear.bias, after.heads.linear.bias)


@pytest.mark.parametrize("folds", [1, 2, 5])
def test_chance_is_the_accuracy_of_a_dummy_that_scikit_learn_fits_to_the_training_examples(folds: int) -> None:
    from sklearn.dummy import DummyClassifier

    draw = generator(folds, "chance")
    labels = {name: torch.randint(3, (20,), generator=draw) for name in ("a", "b")}
    index = torch.randint(20, (200,), generator=draw)  # examples are trained on as often as they occur
    images = torch.arange(20.0).reshape(20, 1, 1)
    if folds == 1:
        splits = [decoding.split_images(images, index, 0.3, seed=0)]
    else:
        splits = decoding.split_folds(images, index, folds, seed=0)
    wrong = [[torch.full((20,), -1)] * 2 for _ in splits]
    found = decoding.folds_accuracy(wrong, labels, splits)
    for name, of_name in {**labels, "all": 3 * labels["a"] + labels["b"]}.items():
        n_correct = 0
        for split in splits:
            dummy = DummyClassifier(strategy="most_frequent").fit(split.train[:, None], of_name[split.train])
            n_correct += int((dummy.predict(split.held_out[:, None]) == of_name[split.held_out].numpy()).sum())
        n = sum(len(split.held_out) for split in splits)
        assert found[name].chance == n_correct / n, name


def test_chance_is_0_where_each_value_is_held_out_in_turn() -> None:
    """Five examples of each of five values, a fold for each: what is commonest in training is right on none."""
    labels = {"sum": torch.arange(25) % 5}
    splits = [
        decoding.DecodingSplit((labels["sum"] != fold).nonzero()[:, 0], (labels["sum"] == fold).nonzero()[:, 0], 0)
        for fold in range(5)
    ]
    found = decoding.folds_accuracy([[labels["sum"]]] * 5, labels, splits)["sum"]
    assert (found.accuracy, found.chance) == (1.0, 0.0)


def units_that_learn(image: Tensor, *, seed: int, epochs: int, steps: int = 1) -> list[frozenset[int]]:
    """Epoch → the hidden units whose outgoing weights change in it: those that dropout leaves in one of its steps."""
    labels = {"a": torch.tensor([0, 1])}
    split = decoding.DecodingSplit(torch.zeros(steps, dtype=torch.int64), torch.tensor([1]), 0)
    options = {"batch_size": 1, "hidden_sizes": [40], "optimizer": "sgd", "learning_rate": 0.1, "seed": seed}
    heads = [
        train_decoder(image, labels, split, epochs=number, **options)[0].heads.linear.weight
        for number in range(epochs + 1)
    ]
    changed = [(after != before).any(0) for before, after in itertools.pairwise(heads)]
    return [frozenset(units.nonzero().squeeze(1).tolist()) for units in changed]


def test_each_step_epoch_and_seed_drops_other_units() -> None:
    """By what learns: a unit that is dropped adds nothing to the logits, so its outgoing weights stay bit for bit."""
    images = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    by_seed = [units_that_learn(images, seed=seed, epochs=3) for seed in range(3)]
    kept = [units for epochs in by_seed for units in epochs]
    assert all(10 <= len(units) <= 30 for units in kept)  # 20 of 40 on average, sd 3.2
    assert len(set(kept)) == len(kept) == 9
    # With the same units in every step half of them would never learn.
    (of_steps,) = units_that_learn(images, seed=0, epochs=1, steps=12)
    assert len(of_steps) == 40


def test_examples_that_are_trained_on_several_times_count_once_by_hand() -> None:
    labels = {"a": torch.tensor([0, 1, 0, 1]), "b": torch.tensor([0, 0, 1, 1])}
    split = decoding.DecodingSplit(torch.tensor([0, 0, 0, 1]), torch.tensor([2, 3]), 0)
    answers = [torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 1, 0])]
    found = decoding.decoding_accuracy(answers, labels, split)
    # Of the distinct training examples 0 and 1 `a` is correct on the first, `b` on both.
    assert {name: one.train_accuracy for name, one in found.items()} == {"a": 0.5, "b": 1.0, "all": 0.5}
    # Of the held-out ones 2 and 3 `a` is correct on 2, `b` on 2.
    assert {name: (one.accuracy, one.n) for name, one in found.items()} == {
        "a": (0.5, 2),
        "b": (0.5, 2),
        "all": (0.5, 2),
    }
    # Over folds, too: 2 of 3 held-out examples in the second, trained on one that occurs twice.
    folds = [split, decoding.DecodingSplit(torch.tensor([2, 3, 3, 3]), torch.tensor([0, 1]), 0)]
    over = decoding.folds_accuracy([answers, answers], labels, folds)
    assert over["a"].train_accuracy == 0.5 and over["b"].train_accuracy == pytest.approx((2 * 1 + 2 * 0.5) / 4)


def test_accuracy_and_loss_over_folds_by_hand() -> None:
    labels = {"a": torch.tensor([0, 0, 1, 1])}
    folds = [
        decoding.DecodingSplit(torch.tensor([1, 2, 3]), torch.tensor([0]), 0),
        decoding.DecodingSplit(torch.tensor([0]), torch.tensor([1, 2, 3]), 0),
    ]
    answers = [[torch.tensor([1, 0, 1, 0])], [torch.tensor([0, 0, 1, 0])]]
    found = decoding.folds_accuracy(answers, labels, folds)["a"]
    # First fold: 0 of 1 correct, 2 of 3 training examples; second: 2 of 3, 1 of 1. Always 1, the commonest of the first
    # fold's training examples, is correct on none of its one; always 0 on one of the second's three.
    assert (found.n, found.accuracy) == (4, 0.5) and (found.low, found.high) == wilson_interval(2, 4)
    assert found.chance == 1 / 4 and found.train_accuracy == pytest.approx((2 / 3 + 3) / 4)
    even, sure = torch.zeros(4, 2), torch.tensor([[0.0, math.log(3)]] * 4)
    loss = decoding.folds_loss([[even], [sure]], labels, folds)
    assert loss["a"] == loss["all"] == pytest.approx((math.log(2) + math.log(4) + 2 * math.log(4 / 3)) / 4)


def test_the_experiment_holds_out_every_input_once_keeps_decoders_and_images_and_gives_the_same_again(
    mi_run: Callable[..., Ended],
) -> None:
    command = ("experiment=decoder", *SMALL, "experiment.min_target_accuracy=0", "dataset.modulus=4")
    ended = mi_run(*command, "experiment.folds=3", "experiment.decimals=null", "experiment.stop_loss=100")
    assert ended.status == 0, ended.err
    answers = pd.read_csv(ended.folder / "answers.csv")
    assert list(answers["example_number"]) == list(range(16)) and set(answers["fold"]) == set(range(3))
    with np.load(ended.folder / "activations.npz") as saved:
        arrays = dict(saved)
    names = list(arrays["names"])
    assert sorted(names) == ["a", "b", "predicted", "sum"]
    assert list(arrays["fold"]) == list(answers["fold"])
    for name in names:
        assert list(arrays["labels"][names.index(name)]) == list(answers[name])
    weights = load_file(ended.folder / "decoder.safetensors")
    images = torch.tensor(arrays["images"])
    for fold in range(3):
        made = ActivationDecoder(tuple(images.shape[1:]), [4, 4, 4])
        made.load_state_dict({key[2:]: value for key, value in weights.items() if key.startswith(f"{fold}.")})
        decoded = torch.stack(decoding.decode(made.eval(), images))
        for row in answers[answers["fold"] == fold].itertuples():
            assert decoded[:, row.example_number].tolist() == [row.a_decoded, row.b_decoded, row.sum_decoded]
    assert {"activations.npz", "decoder.safetensors", "decoder_predicted.safetensors"} <= set(ended.record["files"])
    metrics = pd.read_csv(ended.folder / "metrics.csv", keep_default_na=False)
    assert (metrics.loc[metrics["control"] == "none", "n"] == 16).all()
    history = pd.read_csv(ended.folder / "decoder_history.csv", keep_default_na=False)
    assert len(history) == 3 * 2 * 3 and (history["epoch"] == 1).all()
    again = mi_run(*command, "experiment.folds=3", "experiment.decimals=null", "experiment.stop_loss=100")
    tables = [f"{name}.csv" for name in ("metrics", "kernels", "answers", "decoder_history")]
    for name in ("activations.npz", "decoder.safetensors", *tables):
        assert again.record["files"][name] == ended.record["files"][name]


def test_more_folds_than_inputs_are_refused_with_the_number_that_works() -> None:
    given = setting(MLP([4, 4, 2]), pairs(2), folds=10)
    with pytest.raises(ConfigError, match="4 different inputs. Type experiment.folds=4, or fewer"):
        decoder.check(given)
    decoder.check(replace(given, config=replace(given.config, folds=4)))


def test_the_networks_own_answer_is_decoded_besides_the_label() -> None:
    """A network whose answer is always a, never the sum: its own answers are told apart from the labels."""
    model = MLP([6, 6, 3], nn.ReLU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.layers[0].weight.copy_(torch.eye(6))
        model.layers[2].weight[:, :3] = torch.eye(3)
    result = decoder.run(setting(model, pairs(3, copies=20), folds=9, epochs=40, dropout=0.0))
    answers = pd.DataFrame(result.tables["answers"])
    assert (answers["predicted"] == answers["a"]).all() and not (answers["predicted"] == answers["sum"]).all()
    rows = {(row["control"], row["decoded"]): row for row in result.tables["metrics"] if row["site"] == "all"}
    assert rows["none", "predicted"]["n"] == 9
    assert rows["linear", "predicted"]["accuracy"] == 1 > rows["linear", "sum"]["accuracy"]


# --- distances -------------------------------------------------------------------------------------------------------


def test_distances_by_hand() -> None:
    points = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 8.0]]])  # 0–1: 5, 0–2: 8, 1–2: 5
    matrix = distances.distance_matrix(points)
    assert matrix.tolist() == [[0, 5, 8], [5, 0, 5], [8, 5, 0]]
    means, n_pairs = distances.mean_distances(matrix, torch.tensor([0, 0, 1]))
    assert means[0].tolist() == [5, 6.5] and means[1, 0] == 6.5 and means[1, 1].isnan()
    assert n_pairs.tolist() == [[1, 2], [2, 0]]
    apart = distances.separation(matrix, torch.tensor([0, 0, 1]))
    assert (apart.within, apart.between, apart.ratio) == (5, 6.5, 1.3)
    assert distances.separation(matrix, torch.tensor([0, 1, 2])).ratio is None
    similarity = distances.layer_similarity([matrix, 2 * matrix, 1 - matrix, torch.ones(3, 3)])
    torch.testing.assert_close(similarity[:3, :3], torch.tensor([[1, 1, -1], [1, 1, -1], [-1, -1, 1]]).double())
    assert similarity[3].isnan().all()
    with pytest.raises(ValueError, match="between the same examples, at least 3"):
        distances.layer_similarity([matrix[:2, :2]])


def test_tables_of_distances_are_those_of_the_images() -> None:
    given = small(decimals=None)
    result = decoder.run(given)
    images = torch.tensor(result.arrays["activations"]["images"])
    table = pd.DataFrame(result.tables["distances"])
    own = table[(table["network"] == "trained") & (table["site"] == "layers.3") & (table["by"] == "input")]
    assert len(own) == 25 * 24 / 2
    for row in own.itertuples():
        by_hand = float((images[row.first, 1] - images[row.second, 1]).double().norm())
        assert row.distance == pytest.approx(by_hand)
    by_sum = table[(table["network"] == "trained") & (table["site"] == "layers.3") & (table["by"] == "sum")]
    assert len(by_sum) == 15 and by_sum["pairs"].sum() == 300
    total = sum(by_sum["distance"] * by_sum["pairs"])
    assert total == pytest.approx(own["distance"].sum())
    apart = (
        pd.DataFrame(result.tables["separation"]).set_index(["network", "site", "by"]).loc["trained", "layers.3", "sum"]
    )
    equal = by_sum[by_sum["first"] == by_sum["second"]]
    assert apart["within"] == pytest.approx(sum(equal["distance"] * equal["pairs"]) / equal["pairs"].sum())
    similarity = pd.DataFrame(result.tables["layer_similarity"])
    assert len(similarity) == 16
    # The untrained network of this setting is its network.
    same = similarity[similarity["site"] == similarity["other_site"]]
    assert same["similarity"].to_numpy() == pytest.approx(1)


# --- every data set and model ----------------------------------------------------------------------------------------

CHOICES = {
    "dataset": {"mnist": [], "mnist01": [], "mod_add": [], "ellipses": [], "arrays": ["dataset.path=own.npz"]},
    "model": {"mlp": [], "skip": [], "cnn": [], "external": ["model.factory=own_network:Net"]},
}


REFUSED = {
    ("mnist", "cnn"): r"name fewer or smaller sites \(experiment.sites\), or type (dataset.limit=\d+)",
    ("mod_add", "cnn"): "gives vectors of 4. Use (model=mlp)",
    ("arrays", "cnn"): "gives vectors of 8. Use (model=mlp)",
}
"""What can't be decoded by the defaults, and the words of the error that say what to type."""


@pytest.mark.parametrize("network", CHOICES["model"])
@pytest.mark.parametrize("data", CHOICES["dataset"])
def test_every_data_set_and_model_can_be_decoded_or_the_error_says_what_to_type(
    data: str, network: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("own.npz", x_train=np.eye(8), y_train=[0, 1] * 4, x_test=np.eye(8), y_test=[0, 1] * 4)
    (tmp_path / "own_network.py").write_text(
        "from torch import nn\n"
        "def Net(input_shape, n_outputs):\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.Tanh(), nn.Linear(5, n_outputs))\n"
    )
    command = ["experiment=decoder", f"dataset={data}", f"model={network}"]
    command += CHOICES["dataset"][data] + CHOICES["model"][network]

    def checked(*more: str) -> None:
        config = composition.compose([*command, *more])
        dataset = load_dataset(config.dataset, seed=0)
        built = build_network(config.model, dataset, seed=0)
        options = training_options(config.training)
        given = Setting(config.experiment, options, built.model, built.dataset, leaves=built.leaves)
        decoder.check(given)
        training.check(built.model, built.dataset, options)

    try:
        checked()
    except ConfigError as error:
        text = str(error)
        assert "\n" not in text, text
        assert (data, network) in REFUSED, text
        typed = re.search(REFUSED[data, network], text)
        assert typed, text
        checked(typed[1])
    else:
        assert (data, network) not in REFUSED

"""Networks: sizes from the data set, outputs against their formulas, the user's own factory and what can be wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner import models
from mi_runner.config.models import ModelConfig
from mi_runner.config.models.cnn import CnnConfig
from mi_runner.config.models.external import ExternalConfig
from mi_runner.config.models.mlp import Activation, MlpConfig, OutputActivation
from mi_runner.config.models.skip import SkipConfig
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError
from mi_runner.models.cnn import CNN
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from mi_runner.runs.choices import build_network
from tests.small_data import classes, values


def images(channels: int = 1, height: int = 8, width: int = 8, n_classes: int = 3) -> Dataset:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(6, channels, height, width, generator=draw)
    y = torch.arange(6) % n_classes
    return Dataset("arrays", x, y, x, y, tuple(map(str, range(n_classes))))


def built(config: ModelConfig, dataset: Dataset, seed: int = 0) -> nn.Module:
    return build_network(config, dataset, seed=seed).model


# --- what every network has ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [MlpConfig(), SkipConfig(), CnnConfig()], ids=lambda config: config.name)
def test_the_seed_decides_the_initial_weights(config: ModelConfig) -> None:
    dataset = images()
    first, again, other = (built(config, dataset, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("config", [MlpConfig(), SkipConfig(), CnnConfig()], ids=lambda config: config.name)
def test_building_leaves_the_global_generator_alone_and_the_network_in_evaluation_mode(config: ModelConfig) -> None:
    before = torch.get_rng_state()
    model = built(config, images())
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("config", [MlpConfig(), SkipConfig()], ids=lambda config: config.name)
def test_a_network_of_vectors_gets_flat_images(config: ModelConfig) -> None:
    dataset = images(channels=2, height=5, width=4)
    whole = build_network(config, dataset, seed=0)
    assert whole.dataset.input_shape == (40,)
    assert whole.dataset.image_shape == (2, 5, 4)
    assert whole.model(whole.dataset.x_train).shape == (6, 3)


# --- MLP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden_sizes", "shapes"),
    [
        ([], [(3, 6)]),
        ([5], [(5, 6), (3, 5)]),
        ([1], [(1, 6), (3, 1)]),
        ([5, 4, 7], [(5, 6), (4, 5), (7, 4), (3, 7)]),
    ],
    ids=str,
)
def test_mlp_sizes(hidden_sizes: list[int], shapes: list[tuple[int, int]]) -> None:
    model = built(MlpConfig(hidden_sizes=hidden_sizes), classes())
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert [tuple(linear.weight.shape) for linear in linears] == shapes
    assert [name for name, _ in model.named_parameters()] == [
        f"layers.{2 * i}.{part}" for i in range(len(shapes)) for part in ("weight", "bias")
    ]


def test_mlp_without_hidden_layers_is_one_linear_map() -> None:
    dataset = classes()
    model = built(MlpConfig(hidden_sizes=[]), dataset)
    state = model.state_dict()
    expected = dataset.x_train @ state["layers.0.weight"].T + state["layers.0.bias"]
    assert torch.allclose(model(dataset.x_train), expected, atol=1e-6)


FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x * (x > 0),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
}


@pytest.mark.parametrize("kind", Activation, ids=lambda kind: kind.name)
def test_mlp_is_its_formula_with_every_activation(kind: Activation) -> None:
    dataset = classes()
    model = built(MlpConfig(hidden_sizes=[5, 4], activation=kind), dataset)
    state, x = model.state_dict(), dataset.x_train
    for layer in (0, 2):
        x = FORMULAS[kind.name](x @ state[f"layers.{layer}.weight"].T + state[f"layers.{layer}.bias"])
    x = x @ state["layers.4.weight"].T + state["layers.4.bias"]
    assert torch.allclose(model(dataset.x_train), x, atol=1e-6)


def test_every_activation_of_the_config_has_a_formula_here() -> None:
    assert {kind.name for kind in Activation} == set(FORMULAS)
    assert {kind.name for kind in OutputActivation} == {*FORMULAS, "auto", "none", "softmax"}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("config", [MlpConfig, CnnConfig], ids=["mlp", "cnn"])
def test_the_output_activation_comes_last(name: str, config: type) -> None:
    dataset = images()
    plain = build_network(config(output_activation=OutputActivation.none), dataset, seed=0)
    activated = built(config(output_activation=OutputActivation[name]), dataset)
    x = plain.dataset.x_train
    assert torch.allclose(activated(x), FORMULAS[name](plain.model(x)), atol=1e-6)


@pytest.mark.parametrize(
    ("dataset", "activated"),
    [
        (values(), True),
        (classes(n_classes=2), False),
        (Dataset("arrays", torch.zeros(2, 6), torch.ones(2) / 2, torch.zeros(2, 6), torch.ones(2), None), False),
    ],
    ids=["values 0 and 1", "classes", "other values"],
)
def test_auto_is_a_sigmoid_for_one_value_of_0_or_1(dataset: Dataset, activated: bool) -> None:
    model = built(MlpConfig(output_activation=OutputActivation.auto), dataset)
    assert isinstance(model.layers[-1], nn.Sigmoid if activated else nn.Linear)


def test_mlp_without_biases() -> None:
    model = built(MlpConfig(hidden_sizes=[5], bias=False), classes())
    assert [name for name, _ in model.named_parameters()] == ["layers.0.weight", "layers.2.weight"]
    assert torch.equal(model(torch.zeros(1, 6)), torch.zeros(1, 3))


def test_mlp_needs_two_sizes() -> None:
    assert len(MLP([2, 1]).layers) == 1
    with pytest.raises(ValueError) as caught:
        MLP([2])
    assert str(caught.value) == "sizes=[2]: give at least two, those of the input and the output."


# --- TwoLayerSkip --------------------------------------------------------------------------------------------------


def test_two_layer_skip_by_hand() -> None:
    """Each value, worked out from the weights below.

    | x       | first    | relu   | add     | last = add0 + 2·add1 + 3 |
    |---------|----------|--------|---------|--------------------------|
    | ( 1, 2) | ( 0, 3)  | (0, 3) | ( 1, 5) | 14                       |
    | (−1, 0) | (−2, −1) | (0, 0) | (−1, 0) | 2                        |
    """
    model = TwoLayerSkip(2, 1)
    with torch.no_grad():
        model.first.weight.copy_(torch.tensor([[2.0, -1.0], [1.0, 1.0]]))
        model.first.bias.zero_()
        model.last.weight.copy_(torch.tensor([[1.0, 2.0]]))
        model.last.bias.fill_(3.0)
    assert model(torch.tensor([[1.0, 2.0], [-1.0, 0.0]])).tolist() == [[14.0], [2.0]]


def test_two_layer_skip_has_as_many_units_as_inputs() -> None:
    model = built(SkipConfig(), images(channels=1, height=3, width=2))
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == {
        "first.weight": (6, 6),
        "first.bias": (6,),
        "last.weight": (3, 6),
        "last.bias": (3,),
    }


# --- CNN -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "height", "width", "n_inputs"),
    # The two pools halve and round down: 28 → 14 → 7, so 64 · 7 · 7 = 3136.
    [(1, 28, 28, 3136), (3, 32, 32, 4096), (1, 4, 4, 64), (2, 7, 13, 64 * 1 * 3)],
    ids=str,
)
def test_cnn_sizes(channels: int, height: int, width: int, n_inputs: int) -> None:
    model = built(CnnConfig(), images(channels, height, width))
    assert {name: tuple(tensor.shape) for name, tensor in model.named_parameters() if "weight" in name} == {
        "conv1.weight": (16, channels, 3, 3),
        "conv2.weight": (32, 16, 3, 3),
        "conv3.weight": (64, 32, 3, 3),
        "fc1.weight": (3, n_inputs),
        "fc2.weight": (3, 3),
    }


def test_cnn_is_its_formula() -> None:
    dataset = images(channels=2, height=8, width=12)
    model = built(CnnConfig(), dataset)
    state, x = model.state_dict(), dataset.x_train

    def convolved(x: Tensor, name: str) -> Tensor:
        return functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1).clamp(min=0)

    def pooled(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).amax((3, 5))

    x = convolved(pooled(convolved(pooled(convolved(x, "conv1")), "conv2")), "conv3").reshape(len(x), -1)
    x = (x @ state["fc1.weight"].T + state["fc1.bias"]).clamp(min=0) @ state["fc2.weight"].T + state["fc2.bias"]
    assert torch.allclose(model(dataset.x_train), x, atol=1e-5)
    assert x.std() > 0  # else fc1's units were all off, and any formula would do


def test_cnn_takes_images() -> None:
    for dataset in (classes(n_features=4), images(height=2, width=2).flattened()):
        with pytest.raises(ConfigError) as caught:
            built(CnnConfig(), dataset)
        assert str(caught.value) == "model=cnn takes images; dataset=arrays gives vectors of 4. Use model=mlp."


@pytest.mark.parametrize(("height", "width"), [(3, 8), (8, 3), (1, 1)])
def test_cnn_takes_images_of_at_least_4_by_4(height: int, width: int) -> None:
    with pytest.raises(ConfigError) as caught:
        built(CnnConfig(), images(height=height, width=width))
    assert str(caught.value) == f"model=cnn takes images of at least 4×4, not {height}×{width}. Use model=mlp."


def test_cnn_without_a_data_set() -> None:
    assert CNN(1, (28, 28), 10)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


# --- the user's own network ----------------------------------------------------------------------------------------

SOURCE = """
import functools
from torch import nn


class Own(nn.Module):
    def __init__(self, input_shape, n_outputs, width=4):
        super().__init__()
        self.given = (input_shape, n_outputs, width)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0], width), nn.ReLU())
        self.head = nn.Linear(width, n_outputs)

    def forward(self, x):
        return self.head(self.body(x))


def fixed():
    return nn.Linear(6, 3)


def only_outputs(n_outputs, **others):
    assert not others, others
    return nn.Linear(6, n_outputs)


class Zoo:
    own = Own

    @staticmethod
    def linear(n_outputs):
        return nn.Linear(6, n_outputs)


def no_module():
    return 3


def broken(n_outputs):
    raise RuntimeError("no such thing")


def wrong_inputs():
    return nn.Linear(5, 3)


class Pair(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


def pair():
    return Pair(6, 3)


partial = functools.partial(Own, width=7)
number = 3
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The name of an importable module with `SOURCE`, another one for each test."""
    name = "own_" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def external(own_module: str, factory: str, **options: Any) -> models.Built:
    return build_network(ExternalConfig(factory=f"{own_module}:{factory}", **options), classes(), seed=0)


def test_the_factory_gets_the_sizes_and_the_arguments(own_module: str) -> None:
    assert external(own_module, "Own").model.given == ((6,), 3, 4)
    assert external(own_module, "Own", arguments={"width": 9}).model.given == ((6,), 3, 9)
    assert external(own_module, "partial").model.given == ((6,), 3, 7)
    assert external(own_module, "Zoo.own").model.given == ((6,), 3, 4)


@pytest.mark.parametrize("factory", ["fixed", "only_outputs", "Zoo.linear"])
def test_the_factory_gets_only_what_it_has_parameters_for(factory: str, own_module: str) -> None:
    model = external(own_module, factory).model
    assert (model.in_features, model.out_features, model.training) == (6, 3, False)


def test_an_argument_of_the_user_comes_first(own_module: str) -> None:
    with pytest.raises(ConfigError, match=r"returns \(2, 8\) for 2 examples"):
        external(own_module, "Own", arguments={"n_outputs": 8})


def test_images_are_flattened_on_demand(own_module: str) -> None:
    dataset = images(height=2, width=3)
    config = ExternalConfig(factory=f"{own_module}:Own")
    with pytest.raises(ConfigError, match=r"^\w+ can't run on inputs of the shape \(1, 2, 3\): Runtime"):
        build_network(config, dataset, seed=0)  # it takes input_shape[0] = 1 feature, Flatten gives 6
    config.flatten = True
    flat = build_network(config, dataset, seed=0)
    assert flat.model.given == ((6,), 3, 4)
    assert flat.dataset.flattened_from == (1, 2, 3)


def test_the_initial_weights_derive_from_the_seed(own_module: str) -> None:
    config = ExternalConfig(factory=f"{own_module}:Own")
    first, again, other = (built(config, classes(), seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_leaves_are_submodules(own_module: str) -> None:
    assert external(own_module, "Own", leaves=["body", "body.1"]).leaves == ("body", "body.1")
    with pytest.raises(ConfigError) as caught:
        external(own_module, "Own", leaves=["bdy"])
    assert str(caught.value) == (
        "model.leaves=[bdy]: no submodule is named 'bdy'. Did you mean body? "
        "Allowed: body, body.0, body.1, body.2, head."
    )


FACTORY_FAULTS = [
    ("Own2", {}, "no callable of {module} is named 'Own2'. Did you mean Own? Allowed: Own, fixed, only_outputs, "
     "Zoo, no_module, broken, wrong_inputs, Pair, pair, partial."),
    ("Zoo.linaer", {}, "no callable of {module} is named 'linaer'. Did you mean linear? Allowed: own, linear."),
    ("number", {}, "number is not callable."),
    ("number.deep", {}, "no callable of {module} is named 'deep'. Allowed: (none)."),
    ("no_module", {}, "it returns int; it must return an nn.Module."),
    ("broken", {}, "the call with {{'n_outputs': 3}} raises RuntimeError: no such thing."),
    ("fixed", {"arguments": {"width": 1}}, "the call with {{'width': 1}} raises TypeError: fixed() got an unexpected "
     "keyword argument 'width'."),
]  # fmt: skip


@pytest.mark.parametrize(("factory", "options", "text"), FACTORY_FAULTS, ids=[fault[0] for fault in FACTORY_FAULTS])
def test_what_is_wrong_with_a_factory_is_named(
    factory: str, options: dict[str, Any], text: str, own_module: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        external(own_module, factory, **options)
    assert str(caught.value) == f"model.factory={own_module}:{factory}: {text.format(module=own_module)}"


def test_a_factory_that_asks_for_too_much_memory() -> None:
    with pytest.raises(ConfigError, match=r"the call with .* asks for 160,000,000,000,000 bytes at once, more than"):
        external("torch.nn", "Linear", arguments={"in_features": 4, "out_features": 10**13})


def test_a_factory_has_no_folder_before_it() -> None:
    with pytest.raises(ConfigError, match=r"write package.module:callable, without a dot or a folder before it"):
        external("../torch", "Linear")


@pytest.mark.parametrize("factory", ["own", "own.Own", "own:", ":Own", ":", ""])
def test_a_factory_is_a_module_and_a_callable(factory: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_network(ExternalConfig(factory=factory), classes(), seed=0)
    assert str(caught.value) == f"model.factory={factory}: write package.module:callable."


def test_a_module_that_can_not_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_with_an_error.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    for module, text in (
        ("own_with_an_error", "ZeroDivisionError: division by zero."),
        ("own_that_is_missing", "ModuleNotFoundError: No module named 'own_that_is_missing'."),
    ):
        with pytest.raises(ConfigError) as caught:
            build_network(ExternalConfig(factory=f"{module}:Own"), classes(), seed=0)
        assert str(caught.value) == f"model.factory={module}:Own: importing {module} raises {text}"


@pytest.mark.parametrize("place", ["src/own_in_src.py", "src/own_in_src/__init__.py"])
def test_a_package_in_the_folder_src_says_how_it_is_found(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path(place).parent.mkdir(parents=True)
    Path(place).write_text("from torch import nn\nOwn = nn.Identity\n")
    with pytest.raises(ConfigError, match="own_in_src is in the folder src: begin the command with PYTHONPATH=src"):
        build_network(ExternalConfig(factory="own_in_src:Own"), classes(), seed=0)


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        ("wrong_inputs", r"^\w+ can't run on inputs of the shape \(6,\): RuntimeError: .*cannot be mult"),
        ("pair", r"^\w+ returns tuple of several: 0 \(2, 3\), 1 .*Say which .*: model.output=0\.$"),
    ],
)
def test_a_network_that_does_not_fit_the_data_set(factory: str, text: str, own_module: str) -> None:
    with pytest.raises(ConfigError, match=text):
        external(own_module, factory)


@pytest.mark.parametrize("arguments", ["width", ["width"], 3], ids=str)
def test_arguments_are_names_and_values(arguments: Any, own_module: str) -> None:
    text = f"model.arguments={arguments}: write names and values, e.g. '{{width: 64}}'."
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        external(own_module, "Own", arguments=arguments)


def test_our_own_networks_have_no_source_of_their_own() -> None:
    assert build_network(MlpConfig(), classes(), seed=0).source == ""

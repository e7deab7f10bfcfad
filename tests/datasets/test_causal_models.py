"""Causal models: counterfactual labels by hand, and the faults of a user's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mi_runner import datasets
from mi_runner.config.datasets.arrays import ArraysConfig, Target
from mi_runner.config.datasets.mnist import Mnist01Config, MnistConfig
from mi_runner.config.datasets.mod_add import ModAddConfig
from mi_runner.datasets.causal_models import (
    CausalModel,
    DigitOfParityAndHalf,
    Follows,
    LabelTable,
    ModularSum,
    WeightedSum,
)
from mi_runner.errors import ArgumentError, ConfigError
from mi_runner.runs.choices import load_dataset
from tests.small_data import of_two_bits


def rows(*values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_counterfactual_labels_by_hand() -> None:
    mechanism = WeightedSum((0.4, 0.4, 0.4), 0.6, classes=False)
    base, one, other = rows((1, 0, 0.2)), rows((0.5, 1, 1)), rows((0, 0.9, 1))
    model = CausalModel(("circularity", "color", "area"), base, base, mechanism)
    assert mechanism(base).tolist() == [0.0]  # 0.48
    assert model.counterfactual(base, {"color": one}).tolist() == [1.0]  # 0.4·(1 + 1 + 0.2) = 0.88
    assert model.counterfactual(base, {"circularity": one}).tolist() == [0.0]  # 0.4·0.7
    assert model.counterfactual(base, {"circularity": other, "color": one}).tolist() == [0.0]  # 0.4·1.2
    assert model.counterfactual(base, {"circularity": one, "color": one}).tolist() == [1.0]  # 0.4·1.7 = 0.68
    assert base.tolist() == [[1, 0, 0.2]]  # not changed


def test_with_no_variable_the_label_is_the_bases_and_with_all_the_sources() -> None:
    draw = torch.Generator().manual_seed(0)
    base, source = torch.rand(2, 50, 3, generator=draw, dtype=torch.float64)
    model = CausalModel(("a", "b", "c"), base, base, WeightedSum((1.0, 2.0, 3.0), 3.0, classes=True))
    assert torch.equal(model.counterfactual(base, {}), model.mechanism(base))
    everything = dict.fromkeys(model.variables, source)
    assert torch.equal(model.counterfactual(base, everything), model.mechanism(source))


def test_modular_sums() -> None:
    values = rows(*itertools.product(range(5), range(5)))
    expected = [(a + b) % 5 for a, b in itertools.product(range(5), range(5))]
    assert ModularSum(5, classes=True)(values).tolist() == expected
    assert ModularSum(5, classes=False)(values).dtype == torch.float32


def test_the_digit_of_parity_and_half() -> None:
    values = rows(*((digit % 2, digit // 2) for digit in range(10)))
    assert DigitOfParityAndHalf(tuple(range(10)), classes=True)(values).tolist() == list(range(10))
    assert DigitOfParityAndHalf((4, 5), classes=True)(values[4:6]).tolist() == [0, 1]
    assert DigitOfParityAndHalf((4, 5), classes=False)(values[4:6]).tolist() == [4.0, 5.0]


@pytest.mark.parametrize(
    "config",
    [
        ModAddConfig(modulus=7, train_size=200, test_size=100),
        ModAddConfig(train_size=50, test_size=50, target=Target["value"]),
        MnistConfig(limit=300),
        MnistConfig(limit=300, target=Target["value"]),
        MnistConfig(digits=[5, 4], limit=100),
        Mnist01Config(limit=100),
    ],
    ids=str,
)
def test_the_models_of_the_data_sets_give_their_labels(config: Any) -> None:
    dataset = load_dataset(config, seed=3)
    model = dataset.causal_model
    assert model is not None
    for split in ("train", "test"):
        y, values = getattr(dataset, f"y_{split}"), getattr(model, f"values_{split}")
        labels = model.mechanism(values)
        assert torch.equal(labels, y) and labels.dtype == y.dtype
        # Swapping any one variable gives a label that the data set has.
        for variable in model.variables:
            swapped = model.counterfactual(values, {variable: values.flip(0)})
            assert set(swapped.tolist()) <= set(range(10) if dataset.class_names is None else range(dataset.n_outputs))


def test_the_variables_of_modular_addition_are_its_inputs() -> None:
    dataset = load_dataset(ModAddConfig(modulus=6, train_size=100, test_size=50), seed=0)
    assert dataset.causal_model is not None and dataset.causal_model.variables == ("a", "b")
    a, b = dataset.x_test[:, :6].argmax(1), dataset.x_test[:, 6:].argmax(1)
    assert dataset.causal_model.values_test.tolist() == torch.stack([a, b], 1).tolist()


def test_the_variables_of_digits() -> None:
    dataset = load_dataset(MnistConfig(limit=10), seed=0)
    assert dataset.causal_model is not None and dataset.causal_model.variables == ("parity", "half")
    digits = [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert dataset.causal_model.values_train.tolist() == [[digit % 2, digit // 2] for digit in digits]


def test_a_choice_of_digits_that_swapping_leaves_has_no_causal_model() -> None:
    assert load_dataset(MnistConfig(digits=[3, 8], limit=20), seed=0).causal_model is None
    assert load_dataset(MnistConfig(digits=[2, 3, 8, 9], limit=20), seed=0).causal_model is not None


def test_flattening_and_moving_keep_the_causal_model() -> None:
    dataset = load_dataset(MnistConfig(limit=20), seed=0)
    for other in (dataset.flattened(), dataset.to(torch.device("cpu")), dataset.limited(20)):
        assert other.causal_model is not None and dataset.causal_model is not None
        assert torch.equal(other.causal_model.values_train, dataset.causal_model.values_train)


def test_a_causal_model_needs_fitting_values_and_names() -> None:
    values = torch.zeros(4, 2, dtype=torch.float64)
    mechanism = ModularSum(2, classes=True)
    with pytest.raises(ValueError, match="name at least one variable, each once"):
        CausalModel(("a", "a"), values, values, mechanism)
    with pytest.raises(ValueError, match=r"values_train must be \(N, 1\) float64, not \(4, 2\) torch.float64"):
        CausalModel(("a",), values, values, mechanism)
    with pytest.raises(ValueError, match="values_test must be .*not .* torch.float32"):
        CausalModel(("a", "b"), values, values.float(), mechanism)
    with pytest.raises(
        ArgumentError, match="no variable is named 'colour'. Did you mean color\\? Allowed: color, area"
    ):
        CausalModel(("color", "area"), values, values, mechanism).counterfactual(values, {"colour": values})


def test_a_vector_has_several_columns() -> None:
    """Two numbers with a vector between them, and a column that no swap changes."""
    base, source = rows((1, 2, 3, 4, 5)), rows((10, 20, 30, 40, 50))
    model = CausalModel(("a", "v", "b"), base, base, lambda values: values.sum(1), widths=(1, 2, 1), n_kept=1)
    assert [model.column(name) for name in model.variables] == [0, 1, 3]
    assert [model.width(name) for name in model.variables] == [1, 2, 1] and model.numbers == ("a", "b")
    assert model.columns("v") == slice(1, 3) and model.columns("b") == slice(3, 4)
    found = {name: model.counterfactual(base, {name: source}).tolist() for name in model.variables}
    assert found == {"a": [24.0], "v": [60.0], "b": [51.0]}  # 15 + 9, + 18 + 27, + 36
    assert model.counterfactual(base, dict.fromkeys(model.variables, source)).tolist() == [105.0]
    assert model.limited(1).columns("v") == model.to(torch.device("cpu")).columns("v") == slice(1, 3)


def test_a_variable_that_follows_changes_with_the_one_that_it_follows_from() -> None:
    """b is 2·a, and c is b + 1; the label is c. A swap of b changes c alone."""
    follows = (Follows("b", "a", lambda values: 2 * values[:, 0]), Follows("c", "b", lambda values: values[:, 1] + 1))
    base, source = rows((1, 2, 3)), rows((5, 10, 11))
    model = CausalModel(("a", "b", "c"), base, base, lambda values: values[:, 2], follows=follows)
    assert model.counterfactual(base, {"a": source}).tolist() == [11.0]
    assert model.counterfactual(base, {"b": source}).tolist() == [11.0]
    assert model.counterfactual(base, {"c": base}).tolist() == [3.0]
    assert model.counterfactual(rows((7, 2, 3)), {"b": base}).tolist() == [3.0]
    assert [model.contradiction(pair) == "" for pair in itertools.combinations("abc", 2)] == [False, True, False]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"widths": (1,)}, r"widths=\(1,\): give a width of at least 1 for each of the 2 variables"),
        ({"widths": (2, 0)}, "give a width of at least 1"),
        ({"widths": (1, 2)}, r"values_train must be \(N, 3\) float64, not \(4, 2\)"),
        ({"n_kept": 2}, r"values_train must be \(N, 4\) float64, not \(4, 2\)"),
        ({"follows": (Follows("a", "a", torch.Tensor.sum),)}, "a follows from a: name a number and another variable"),
        ({"follows": (Follows("a", "c", torch.Tensor.sum),)}, "no variable is named 'c'"),
    ],
)
def test_columns_and_variables_that_do_not_fit(options: dict[str, Any], text: str) -> None:
    values = torch.zeros(4, 2, dtype=torch.float64)
    with pytest.raises(ArgumentError, match=text):
        CausalModel(("a", "b"), values, values, ModularSum(2, classes=True), **options)


# --- the user's own --------------------------------------------------------------------------------------------------


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., datasets.Dataset]:
    def load(target: str = "class", **changed: Any) -> datasets.Dataset:
        np.savez(tmp_path / "data.npz", **of_two_bits(**changed))
        return load_dataset(ArraysConfig(path=str(tmp_path / "data.npz"), target=Target[target]), seed=0)

    return load


@pytest.mark.parametrize("target", ["class", "value"])
def test_a_file_brings_its_own_causal_model(loaded: Callable[..., datasets.Dataset], target: str) -> None:
    dataset = loaded(target)
    model = dataset.causal_model
    assert model is not None and model.variables == ("p", "q") and isinstance(model.mechanism, LabelTable)
    labels = model.mechanism(model.values_test)
    assert torch.equal(labels, dataset.y_test) and labels.dtype == dataset.y_test.dtype
    swapped = model.counterfactual(rows((0, 1)), {"q": rows((1, 0))})
    assert swapped.tolist() == [0]  # 0 and 0


def test_a_file_has_vectors(loaded: Callable[..., datasets.Dataset]) -> None:
    """p is two bits, q a third one; the label is whether an odd number of them is 1."""
    bits = np.array(list(itertools.product((0, 1), (0, 1), (0, 1))) * 2)
    arrays: dict[str, Any] = {"variable_widths": [2, 1], "mechanism": np.indices((2, 2, 2)).sum(0) % 2}
    for split in ("train", "test"):
        arrays |= {f"x_{split}": bits.astype(float), f"y_{split}": bits.sum(1) % 2, f"variables_{split}": bits}
    dataset = loaded(**arrays)
    model = dataset.causal_model
    assert model is not None and model.variables == ("p", "q") and model.widths == (2, 1)
    assert torch.equal(model.mechanism(model.values_train), dataset.y_train)
    base, source = rows((0, 1, 0)), rows((1, 1, 1))
    assert model.counterfactual(base, {"p": source}).tolist() == [0]  # 1, 1, 0
    assert model.counterfactual(base, {"q": source}).tolist() == [0]  # 0, 1, 1
    assert loaded(variable_widths=[1, 1]).causal_model is not None


def test_a_file_without_one_has_none(loaded: Callable[..., datasets.Dataset]) -> None:
    assert loaded(variables=None, variables_train=None, variables_test=None, mechanism=None).causal_model is None


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"mechanism": None}, "mechanism missing; a causal model is variables, variables_train, variables_test, mech"),
        ({"variables": ["p", "p"]}, "name at least one variable, each once"),
        ({"variables": [1, 2]}, r"variables \(2,\) has the dtype int64; it must be names"),
        ({"variables": ["p"]}, r"mechanism has the shape \(2, 2\); it must be \(values of p\)"),
        ({"mechanism": [0, 1]}, r"mechanism has the shape \(2,\); it must be \(values of p, values of q\)"),
        ({"mechanism": [[0, 1]]}, "p is 0 to 1 in variables_train; mechanism has labels of 0 to 0"),
        ({"mechanism": [[0, 1], [1, 2]]}, "mechanism has the label 2; the classes of y are 0 to 1"),
        ({"variables_test": np.zeros((12, 3), int)}, r"variables_test is int64 \(12, 3\); it must be integers of the"),
        ({"variables_train": np.zeros((12, 2))}, r"variables_train is float64 \(12, 2\); it must be integers"),
        (
            {"variable_widths": [2]},
            r"variable_widths is int64 \(1,\); it must be integers of at least 1 of the shape \(2,\)",
        ),
        ({"variable_widths": [2, 0]}, "it must be integers of at least 1"),
        ({"variable_widths": [2.0, 1.0]}, r"variable_widths is float64 \(2,\)"),
        (
            {"variable_widths": [2, 1]},
            r"mechanism has the shape \(2, 2\); it must be \(values of p\[0\], values of p\[1\], values of q\)",
        ),
        (
            {"variable_widths": [2, 1], "mechanism": [[[0, 1]], [[1, 0]]]},
            r"variables_train is int64 \(12, 2\); it must be integers of the shape \(12, 3\)",
        ),
    ],
)
def test_faults_of_a_causal_model(loaded: Callable[..., datasets.Dataset], changed: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        loaded(**changed)


def test_a_causal_model_gives_one_label(loaded: Callable[..., datasets.Dataset]) -> None:
    with pytest.raises(ConfigError, match="y_train has 2 outputs; a causal model gives one label"):
        loaded("value", y_train=np.zeros((12, 2)), y_test=np.zeros((12, 2)))

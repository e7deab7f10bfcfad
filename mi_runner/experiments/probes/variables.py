"""Which variables are read: those of the causal model, or the named features of the input where there is none."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import CausalModel
from mi_runner.datasets.features import Feature
from mi_runner.errors import ConfigError
from mi_runner.experiments import Setting
from mi_runner.experiments.common.variable_sets import data_sets_with_variables, every_set


def variables_of(setting: Setting[Any]) -> CausalModel:
    """Returns the variables of the data set.

    Raises:
        ConfigError: it has none, as it is configured.
    """
    dataset = setting.dataset
    if dataset.causal_model is not None:
        return dataset.causal_model
    if dataset.feature_names is None:
        raise ConfigError(
            f"dataset={dataset.name} has no variables to read, as it is configured: experiment=probes needs a causal "
            "model, or names of features (dataset=table; dataset=arrays with the array feature_names). Those with a "
            f"model: {data_sets_with_variables()}."
        )
    names = tuple(feature.name for feature in dataset.features)
    train, test = (_values(x, dataset.features) for x in (dataset.x_train, dataset.x_test))
    return CausalModel(names, train, test, _no_label)


def default_sets(dataset: Dataset, variables: CausalModel) -> list[tuple[str, ...]]:
    """Returns the sets of variables that are read by default: of features, whose sums mean nothing, each alone.

    Vectors are in none, because a number is read.
    """
    if dataset.causal_model is None:
        return [(name,) for name in variables.variables]
    return [chosen for chosen in every_set(variables) if set(chosen) <= set(variables.numbers)]


def refuse_vectors(sets: Sequence[Sequence[str]], variables: CausalModel) -> None:
    """Checks that each variable of the sets is a number.

    Raises:
        ConfigError: one is a vector; the text lists those that are none.
    """
    for name in itertools.chain(*sets):
        if (width := variables.width(name)) > 1:
            numbers = ", ".join(variables.numbers)
            raise ConfigError(
                f"experiment.variables: {name} is a vector of {width} numbers, and experiment=probes reads one number. "
                f"Those that are one: {numbers or 'none'}."
            )


def _values(x: Tensor, features: tuple[Feature, ...]) -> Tensor:
    """Returns the features' values `(N, V)` float64: of a category the place of its 1, and −1 where it has none."""
    flat = x.flatten(1).double()
    columns = []
    for feature in features:
        own = flat[:, list(feature.inputs)]
        place = torch.where(own.any(1), own.argmax(1), -1).double()
        columns.append(own[:, 0] if len(feature.inputs) == 1 else place)
    return torch.stack(columns, 1)


def _no_label(values: Tensor) -> Tensor:
    raise NotImplementedError("the label of other features is not known")

"""Options become arguments: the schemas and the functions that take their values agree in names, defaults, choices."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields
from importlib import import_module
from typing import Any, get_args, get_type_hints

import pytest
from omegaconf import MISSING

from mi_runner.config.models import ModelConfig
from mi_runner.config.options import Choice
from mi_runner.config.registry import DATASETS, SCHEMAS
from mi_runner.config.training_schema import Loss, Optimizer, RegularizerChoice, TrainingConfig
from mi_runner.datasets.table_files import Reading
from mi_runner.runs.choices import arguments, training_options
from mi_runner.training.evaluation import LOSSES
from mi_runner.training.optimizers import OPTIMIZERS
from mi_runner.training.options import TrainingOptions
from mi_runner.training.regularizers import REGULARIZERS

OTHER_DEFAULTS = {("mnist01", "digits")}
"""Options whose default is not that of the function, because several schemas share it."""


KEYWORDS = {"table": Reading}
"""Schema → the dataclass of the options that its function takes as further keywords."""


def plain(value: object) -> object:
    return list(value) if isinstance(value, tuple | list) else value


@pytest.mark.parametrize(
    ("schema", "function", "given"),
    [
        *((schema, "load", {"seed"}) for schema in DATASETS),
        *((schema, "build", {"dataset"}) for schema in SCHEMAS["model"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_schema_has_the_arguments_and_defaults_of_its_function(
    schema: type[Choice], function: str, given: set[str]
) -> None:
    code = getattr(import_module(schema.module), function)
    parameters = {name: item.default for name, item in inspect.signature(code).parameters.items()}
    if schema.name in KEYWORDS:
        del parameters["how"]
        assert set(get_args(get_type_hints(code)["how"])[0].__annotations__) == set(vars(KEYWORDS[schema.name]()))
        parameters |= vars(KEYWORDS[schema.name]())
    of_all = {item.name for item in fields(ModelConfig)} if issubclass(schema, ModelConfig) else set()
    assert {item.name for item in fields(schema)} - of_all == set(parameters) - given
    for item in fields(schema):
        if item.name in of_all:  # an option of every model, which isn't the network's own
            continue
        default = item.default if item.default_factory is NO_DEFAULT else item.default_factory()
        if default is MISSING or (schema.name, item.name) in OTHER_DEFAULTS:
            continue
        value = getattr(default, "name", default)
        assert plain(parameters[item.name]) == plain(value), item.name


def test_the_options_of_training_are_those_of_its_schema() -> None:
    assert training_options(TrainingConfig()) == TrainingOptions()


def test_the_choices_of_training_are_those_of_its_schema() -> None:
    by_schema: Mapping[Any, Any] = {Loss: LOSSES, Optimizer: OPTIMIZERS, RegularizerChoice: REGULARIZERS}
    for enumeration, names in by_schema.items():
        assert [choice.name for choice in enumeration] == list(names)


def test_arguments_are_plain_values() -> None:
    assert arguments(TrainingConfig(optimizer=Optimizer.sgd))["optimizer"] == "sgd"

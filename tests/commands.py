"""Commands: what the schemas say that a choice needs, and what makes its run small; a check of a command."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from omegaconf import MISSING

from mi_runner.config import composition
from mi_runner.config.registry import SCHEMAS
from mi_runner.progress import Progress
from mi_runner.runs import expectations, preparation
from mi_runner.runs.choices import load_dataset


def required(group: str, schema: type[Any]) -> list[str]:
    """Values for the options of a choice that have no default: data.npz is a file, a:b a callable."""
    return [
        f"{group}.{item.name}={'data.npz' if group == 'dataset' else 'a:b'}"
        for item in fields(schema)
        if item.default is MISSING
    ]


def of_name(group: str, name: str) -> type[Any]:
    """The schema of a choice."""
    (schema,) = (schema for schema in SCHEMAS[group] if schema.name == name)
    return schema


def small_options(name: str) -> list[str]:
    """Options that make a data set small, and those that it can't be composed without."""
    schema = of_name("dataset", name)
    return [*required("dataset", schema), *schema.small]


def check(*overrides: str) -> None:
    """All that is checked before a folder is claimed."""
    config = composition.compose(overrides)
    preparation.device_of(config.device)
    dataset = load_dataset(config.dataset, seed=config.seed)
    preparation.prepare(config, dataset, expectations.parse(config.expect), progress=Progress())


TINY = (
    "dataset=mod_add",
    "dataset.train_size=64",
    "dataset.test_size=32",
    "training.epochs=2",
    "training.batch_size=16",
)
"""Options of a training that takes no time."""

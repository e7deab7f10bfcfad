"""Commands: what the schemas say that a choice needs, and what makes its run small; a check of a command."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import MISSING

from mi_runner.config import composition
from mi_runner.config.registry import SCHEMAS
from mi_runner.progress import Progress
from mi_runner.runs import expectations, preparation
from mi_runner.runs.choices import load_dataset

OF_TABLES = ["dataset.path=data.csv", "dataset.target_column=y"]


def required(group: str, schema: type[Any]) -> list[str]:
    """Values for the options that a choice needs: data.npz and data.csv (target: y) are files, a:b a callable."""
    if schema.name == "table":
        return OF_TABLES
    return [
        f"{group}.{item.name}={'data.npz' if group == 'dataset' else 'a:b'}"
        for item in fields(schema)
        if item.default is MISSING
    ]


def write_data(x: Any, y: Any) -> None:
    """Writes data.npz, whose training and test examples are the same, and data.csv, each example twice."""
    np.savez("data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    frame = pd.DataFrame(np.asarray(x), columns=[f"x{place}" for place in range(np.shape(x)[1])]).assign(y=y)
    pd.concat([frame, frame]).to_csv("data.csv", index=False)


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

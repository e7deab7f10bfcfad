"""Commands that the schemas give: what a choice can't be composed without, and what makes its run small."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from omegaconf import MISSING

from mi_runner.config.registry import SCHEMAS


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

"""One option of a config: a field of a dataclass with its meaning and its range.

The dataclasses of the `..._schema` modules are made of these: one for each choice of each config group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

from mi_runner.errors import ConfigError


def option(
    default: Any,
    doc: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field with its meaning (one line) and its range; a list's range holds for each element."""
    metadata = {"doc": doc, "at_least": at_least, "above": above, "at_most": at_most, "below": below}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Choice:
    """One choice of a config group: `model=mlp`."""

    name: ClassVar[str]


_RANGE_CHECKS: tuple[tuple[str, str, Callable[[float, float], bool]], ...] = (
    ("at_least", "at least", lambda value, bound: value >= bound),
    ("above", "above", lambda value, bound: value > bound),
    ("at_most", "at most", lambda value, bound: value <= bound),
    ("below", "below", lambda value, bound: value < bound),
)


def check_ranges(config: Any, prefix: str = "") -> None:
    """Each number of a config lies in the range that its field states.

    Raises:
        ConfigError: the first that does not, with its range.
    """
    for item in fields(config):
        value = getattr(config, item.name)
        key = f"{prefix}{item.name}"
        if is_dataclass(value):
            check_ranges(value, f"{key}.")
            continue
        numbers = value if isinstance(value, list) else [value]
        for rule, words, holds in _RANGE_CHECKS:
            bound = item.metadata.get(rule)
            for number in numbers:
                if bound is None or not isinstance(number, int | float):
                    continue
                if not holds(number, bound):  # NaN holds nowhere
                    raise ConfigError(f"{key}={value}: must be {words} {bound:g} ({item.metadata['doc']}).")

"""An option of a config: a field of a dataclass with its meaning and its range.

Each choice of each config group has a dataclass of such fields, in a file of `experiments`, `datasets` or `models`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from typing import Any, ClassVar, Protocol

from mi_runner.errors import ConfigError, shortened
from mi_runner.machine.installed import EntryPoint

MOST = 1_000_000_000
"""The largest whole number of an option that names no bound: no count here means more, and memory ends before."""

MOST_SHOWN = 100
"""Characters of a wrong number that its error shows."""


def option(
    default: Any,
    doc: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    text: bool = False,
) -> Any:
    """Returns a dataclass field with its meaning (one line) and its range; a list's range holds for each element.

    Numbers are finite, and whole numbers at most `MOST` in absolute value, where no range says otherwise.

    Args:
        text: of a field of any type, whether its values, and those of its lists, are text.
    """
    metadata = {"doc": doc, "at_least": at_least, "above": above, "at_most": at_most, "below": below, "text": text}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


class Described(Protocol):
    """A thing that an option names, with what help says of it."""

    @property
    def name(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def is_default(self) -> bool: ...
    @property
    def origin(self) -> EntryPoint | None: ...


def option_of_records(function: str, doc: str) -> Any:
    """Returns a dataclass field with the names of some of the records that a function returns.

    Its default are the records that are one. Help and completion show each record with its sentence.

    Args:
        function: `package.module:function`, which returns the records. It is imported when it is asked for, because
            what it describes lies above the options; its module must import at once.
    """
    metadata = {"doc": doc, "records": function}

    def default() -> list[str]:
        return [record.name for record in records_of(metadata) if record.is_default]

    return field(default_factory=default, metadata=metadata)


def records_of(metadata: Mapping[str, Any]) -> Sequence[Described]:
    """Returns the records that an option's values may name, in the order of help; none if it has other values.

    Args:
        metadata: of the field.
    """
    if "records" not in metadata:
        return ()
    module, _, name = metadata["records"].partition(":")
    records: Sequence[Described] = getattr(import_module(module), name)()
    return records


@dataclass
class Choice:
    """A choice of a config group, such as `model=mlp`.

    Attributes:
        name: what is typed behind `model=`.
        module: the module with its code, which is imported when a run begins.
        place: where the help page lists it: in the order of these numbers, then of the names.
        small: options with which a run takes seconds, for a first try, and for the tests that look at every choice.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    place: ClassVar[int] = 500
    small: ClassVar[tuple[str, ...]] = ()


_RANGE_CHECKS: tuple[tuple[str, str, Callable[[float, float], bool]], ...] = (
    ("at_least", "at least", lambda value, bound: value >= bound),
    ("above", "above", lambda value, bound: value > bound),
    ("at_most", "at most", lambda value, bound: value <= bound),
    ("below", "below", lambda value, bound: value < bound),
)


def check_ranges(config: Any, prefix: str = "") -> None:
    """Checks that each number of a config is in the range of its field.

    Raises:
        ConfigError: a number is out of range; the text names the first one and its range. Or a text says None where
            null is meant.
    """
    for item in fields(config):
        value = getattr(config, item.name)
        key = f"{prefix}{item.name}"
        if is_dataclass(value):
            check_ranges(value, f"{key}.")
            continue
        if isinstance(value, str) and value in ("None", "none") and "None" in str(item.type):
            raise ConfigError(f"{key}={value}: write {key}=null for none.")
        elements = value if isinstance(value, list) else [value]
        for element in elements:
            if not isinstance(element, int | float) or isinstance(element, bool):
                continue
            if isinstance(element, float) and not math.isfinite(element):
                raise ConfigError(f"{key}={value}: must be a finite number ({item.metadata['doc']}).")
            if isinstance(element, int) and item.metadata.get("at_most") is None and abs(element) > MOST:
                given = shortened(str(value), MOST_SHOWN)
                raise ConfigError(f"{key}={given}: must be at most {MOST} ({item.metadata['doc']}).")
        for rule, words, holds in _RANGE_CHECKS:
            bound = item.metadata.get(rule)
            for element in elements:
                if bound is None or not isinstance(element, int | float):
                    continue
                if not holds(element, bound):
                    given = shortened(str(value), MOST_SHOWN)
                    raise ConfigError(f"{key}={given}: must be {words} {_plain(bound)} ({item.metadata['doc']}).")


def _plain(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"

"""An option of a config: a field of a dataclass with its meaning and its range.

Each choice of each config group has a dataclass of such fields, in a file of `experiments`, `datasets` or `models`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from importlib import import_module
from typing import Any, ClassVar, Protocol, TypeVar

from mi_runner.errors import ConfigError, shortened
from mi_runner.machine.installed import EntryPoint
from mi_runner.options import MOST
from mi_runner.options import option as option

T = TypeVar("T")
"""A dataclass of options."""

MOST_SHOWN = 100
"""Characters of a wrong number that its error shows."""


def same(options: type, name: str, choices: type[Enum] | None = None, *, doc: str | None = None) -> Any:
    """Returns the option that a frozen dataclass of options defines for a method: its default, meaning and range.

    Where a text says None, the command line has null.

    Args:
        options: the dataclass, whose fields are made by `option`.
        name: the field.
        choices: an enumeration of the values that a text may have.
        doc: what the command line says, where it has other words for the meaning.
    """
    (item,) = (item for item in fields(options) if item.name == name)
    said = {**item.metadata, "doc": doc or item.metadata["doc"].replace("None", "null")}
    default: Any = item.default
    if choices is not None:
        default = choices[default]
    return option(list(default) if isinstance(default, tuple) else default, **said)


def options_of(options: type[T], config: object, prefix: str = "") -> T:
    """Returns the options of a method with the values that a config has for fields of the same names.

    Args:
        options: a dataclass of options.
        prefix: with which the config's names begin.
    """
    given = {item.name: f"{prefix}{item.name}" for item in fields(options)}  # type: ignore[arg-type]
    return options(**{name: plain(getattr(config, own)) for name, own in given.items() if hasattr(config, own)})


def plain(value: Any) -> Any:
    """Returns an option's value as functions take it: a member of an enumeration becomes its name, a list a tuple."""
    if isinstance(value, list):
        return tuple(value)
    return value.name if isinstance(value, Enum) else value


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


OFF: tuple[Any, ...] = (None, False, 0, "", "any", "none", [], "[]")
"""Values of an option that leave out what it is for."""


@dataclass(frozen=True)
class Cites:
    """Whose work a choice uses.

    Attributes:
        key: of an entry in mi_runner/runs/references.bib.
        option: only runs use it in which this option of the choice is set; empty: all runs do.
        value: and only where the option has this value, or this one among others; None: any but `OFF`.
    """

    key: str
    option: str = ""
    value: str | None = None

    def applies(self, value: Any) -> bool:
        """Returns whether a run uses the work.

        Args:
            value: of the option; a text has those of several runs with commas between them.
        """
        if not self.option:
            return True
        if self.value is None:
            return value not in OFF
        values = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
        return self.value in [str(one).strip("[] ") for one in values]


@dataclass
class Choice:
    """A choice of a config group, such as `model=mlp`.

    Attributes:
        name: what is typed behind `model=`.
        module: the module with its code, which is imported when a run begins.
        place: where the help page lists it: in the order of these numbers, then of the names.
        small: options with which a run takes seconds, for a first try, and for the tests that look at every choice.
        cites: whose work it uses.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    place: ClassVar[int] = 500
    small: ClassVar[tuple[str, ...]] = ()
    cites: ClassVar[tuple[Cites, ...]] = ()


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

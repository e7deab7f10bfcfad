"""A JSON object as a dataclass: every field compared with its annotation, and what is wrong said in a line.

Records are written by mi-run, and may be changed by hand or come from elsewhere. So a record is used only after every
field has been compared with its annotation; the line about a wrong one names the file, the field and what is allowed.
A field `from_` is the key `from`, a word of Python's own.
"""

from __future__ import annotations

import collections.abc
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum, EnumType
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from mi_runner.errors import shortened
from mi_runner.machine.reading import Unreadable, read_object

T = TypeVar("T")

DEEPEST = 50
"""Levels of a value of any type."""

MOST_SHOWN = 60
"""Characters of a wrong value that its line shows."""


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"from {_plain(self.low)} to {_plain(self.high)}"

    def fits(self, value: Any) -> bool:
        return self.low <= value <= self.high


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


@dataclass(frozen=True)
class Like:
    """What a text looks like.

    Attributes:
        pattern: a regular expression for the whole text.
        words: the same for a person.
    """

    pattern: str
    words: str

    def __str__(self) -> str:
        return self.words

    def fits(self, value: Any) -> bool:
        return re.fullmatch(self.pattern, value, re.DOTALL) is not None


@dataclass(frozen=True)
class Omitted:
    """Which fields of a dataclass a file may lack although they have no default; they are then empty.

    Attributes:
        names: of the fields, by dataclass. Each is a text, a list or an object.
    """

    names: tuple[tuple[type, tuple[str, ...]], ...] = ()

    def of(self, schema: type) -> tuple[str, ...]:
        """Returns the names of the fields of this dataclass."""
        return dict(self.names).get(schema, ())


NOTHING_OMITTED = Omitted()

UNLESS_DEFAULT = {"unless default": True}
"""The metadata of a field that is only written where it isn't its default."""

NOT_WRITTEN = {"not written": True}
"""The metadata of a field that a file never has."""


class Wrong(ValueError):
    """A value is not what its field has; its text says the field, the value, and what it must be."""


def read_file(path: Path, schema: type[T], omitted: Omitted = NOTHING_OMITTED) -> T:
    """Returns the JSON object of a file as a dataclass.

    Raises:
        FileNotFoundError: there is none.
        Unreadable: it can't be read, or a field is wrong or missing.
    """
    content, hint = read_object(path), cast("Any", schema)
    try:
        return cast("T", _read(content, _reader(hint, omitted), hint, ()))
    except Wrong as wrong:
        raise Unreadable(f"{path}: {wrong}") from wrong


def sound_fields(content: Mapping[str, Any], schema: type[T]) -> tuple[T, dict[str, Wrong]]:
    """Returns a dataclass of the fields that are not wrong, and what is wrong with the others, by JSON key.

    A field that is wrong, missing or null has its default; further keys are ignored.

    Args:
        schema: every field of it has a default.
    """
    values, wrong = {}, {}
    readers = _field_readers(cast("Any", schema), NOTHING_OMITTED)
    for key, value in content.items():
        if key in readers and value is not None:
            name, reader, hint = readers[key]
            try:
                values[name] = _read(value, reader, hint, ((), key))
            except Wrong as error:
                wrong[key] = error
    return schema(**values), wrong


def to_json(value: Any) -> Any:
    """Returns a dataclass as JSON has it, its fields in their order; other values as they are, with what they have."""
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value):
        return {
            _key(item.name): to_json(inner)
            for item in fields(value)
            if (inner := getattr(value, item.name)) != item.default or not item.metadata.get("unless default")
            if not item.metadata.get("not written")
        }
    if isinstance(value, Mapping):
        return {key: to_json(inner) for key, inner in value.items()}
    return [to_json(inner) for inner in value] if isinstance(value, list | tuple) else value


# --- reading -------------------------------------------------------------------------------------------------------

Place = tuple[Any, ...]
"""Where a value is: `(place of what it is in, key or index)`; `()` for the whole file."""

Reader = Callable[[Any, Place], Any]
"""Returns a value as its annotation has it, or `UNFIT`; what is wrong inside it is raised, with its own place."""

UNFIT = object()


def _key(name: str) -> str:
    """Returns the JSON key of a field."""
    return name.rstrip("_")


@cache
def _field_readers(schema: Any, omitted: Omitted) -> dict[str, tuple[str, Reader, Any]]:
    """Returns JSON key → the name of the field, its reader, and its annotation."""
    hints = get_type_hints(schema, include_extras=True)
    names = [item.name for item in fields(schema) if not item.metadata.get("not written")]
    return {_key(name): (name, _reader(hints[name], omitted), hints[name]) for name in names}


def _read(value: Any, reader: Reader, hint: Any, at: Place) -> Any:
    """Returns a value as its annotation has it.

    Raises:
        Wrong: it doesn't fit; the text says where.
    """
    made = reader(value, at)
    if made is UNFIT:
        raise Wrong(f"the field {_name(at)} is {_shown(value)}; it must be {_words(hint)}")
    return made


@cache
def _reader(hint: Any, omitted: Omitted) -> Reader:
    """Returns the reader of an annotation, made once for each: a folder of runs has thousands of records."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        fits = _PLAIN[hint]
        return lambda value, at: value if fits(value, at) else UNFIT
    if origin is Annotated:
        return _reader_with_rules(arguments[0], arguments[1:], omitted)
    if origin is Literal:
        return lambda value, at: value if isinstance(value, str) and value in arguments else UNFIT
    if isinstance(hint, EnumType):
        return lambda value, at: hint[value] if isinstance(value, str) and value in hint.__members__ else UNFIT
    if origin in (Union, UnionType):
        return _reader_of_union(arguments, omitted)
    if origin is tuple:
        return _reader_of_list(arguments, omitted)
    if is_dataclass(hint):
        return _reader_of_object(hint, omitted)
    return _reader_of_mapping(arguments, omitted)


def _reader_with_rules(kind: Any, rules: Sequence[Any], omitted: Omitted) -> Reader:
    inner = _reader(kind, omitted)

    def read(value: Any, at: Place) -> Any:
        made = inner(value, at)
        return made if made is not UNFIT and all(rule.fits(made) for rule in rules) else UNFIT

    return read


def _reader_of_union(kinds: Sequence[Any], omitted: Omitted) -> Reader:
    """Returns the reader of one of several; a value that has parts is of the kind that has them.

    So the wrong part is named.
    """
    whole = {kind: _reader(kind, omitted) for kind in kinds}
    parts = [reader for kind, reader in whole.items() if _has_parts(kind)]
    plain = [reader for kind, reader in whole.items() if not _has_parts(kind)]

    def read(value: Any, at: Place) -> Any:
        made = (reader(value, at) for reader in (parts if isinstance(value, dict | list) else plain))
        return next((one for one in made if one is not UNFIT), UNFIT)

    return read


def _has_parts(kind: Any) -> bool:
    return get_origin(kind) in (tuple, Mapping, collections.abc.Mapping) or is_dataclass(kind)


def _reader_of_list(kinds: Sequence[Any], omitted: Omitted) -> Reader:
    any_number = kinds[-1] is ...
    readers = [_reader(kind, omitted) for kind in kinds if kind is not ...]

    def read(value: Any, at: Place) -> Any:
        if not isinstance(value, list) or not (any_number or len(value) == len(readers)):
            return UNFIT
        which = [0] * len(value) if any_number else range(len(value))
        return tuple(
            _read(inner, readers[one], kinds[one], (at, place))
            for place, (inner, one) in enumerate(zip(value, which, strict=True))
        )

    return read


def _reader_of_object(schema: Any, omitted: Omitted) -> Reader:
    readers = _field_readers(schema, omitted)
    without_default = [item for item in fields(schema) if item.default is item.default_factory is MISSING]
    needed = [_key(item.name) for item in without_default]
    empty = {name: _empty(hint) for name, _, hint in readers.values() if name in omitted.of(schema)}

    def read(value: Any, at: Place) -> Any:
        if not isinstance(value, dict):
            return UNFIT
        made = dict(empty)
        for key, inner in value.items():
            if key in readers:
                name, reader, hint = readers[key]
                if inner is not None or name not in empty:
                    made[name] = _read(inner, reader, hint, (at, key))
        for key in needed:
            if readers[key][0] not in made:
                raise Wrong(f"the field {_name((at, key))} is missing")
        return schema(**made)

    return read


def _empty(hint: Any) -> Any:
    """Returns the empty text, list or object, whichever an annotation has."""
    kind = get_origin(hint) or hint
    return "" if kind is str else () if kind is tuple else {}


def _reader_of_mapping(kinds: Sequence[Any], omitted: Omitted) -> Reader:
    of_key, of_value = kinds
    key_reader, value_reader = _reader(of_key, omitted), _reader(of_value, omitted)

    def read(value: Any, at: Place) -> Any:
        if not isinstance(value, dict):
            return UNFIT
        made = {}
        for key, inner in value.items():
            if key_reader(key, at) is UNFIT:
                raise Wrong(f"the field {_name(at)} has the key {_shown(key)}; it must be {_words(of_key)}")
            made[key] = _read(inner, value_reader, of_value, (at, key))
        return made

    return read


# --- values without parts ------------------------------------------------------------------------------------------


def _is_any(value: Any, at: Place, depth: int = 0) -> bool:
    """Returns whether a value can be kept: not too deep, of numbers to compute with and texts to write."""
    if depth > DEEPEST:
        raise Wrong(f"the field {_name(at)} is nested more than {DEEPEST} times")
    if isinstance(value, str):
        return _is_text(value, at)
    if isinstance(value, dict):
        for key, inner in value.items():
            if not _is_text(key, at):
                raise Wrong(f"the field {_name(at)} has the key {_shown(key)}; it must be {_words(str)}")
            _check_any(inner, (at, key), depth + 1)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _check_any(inner, (at, place), depth + 1)
    elif isinstance(value, int):
        return _is_finite(value)
    return True


def _check_any(value: Any, at: Place, depth: int) -> None:
    if not _is_any(value, at, depth):
        raise Wrong(f"the field {_name(at)} is {_shown(value)}; it must be {_words(Any)}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float is
        return False


def _is_text(value: Any, at: Place) -> bool:
    """Returns whether it is a text, without half of a surrogate pair, which no file can have in UTF-8."""
    return isinstance(value, str) and (
        value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    )


def _is_integer(value: Any, at: Place) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**64


def _is_number(value: Any, at: Place) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)


_PLAIN: dict[Any, Callable[[Any, Place], bool]] = {
    Any: _is_any,
    str: _is_text,
    int: _is_integer,
    float: _is_number,
    bool: lambda value, at: isinstance(value, bool),
    NoneType: lambda value, at: value is None,
}

# --- what a line says ----------------------------------------------------------------------------------------------


def _name(at: Place) -> str:
    """Returns the name of a place: `jobs[3].number`."""
    words: list[str] = []
    while at:
        at, step = at
        words.append(f"[{step}]" if isinstance(step, int) else f".{shortened(step, MOST_SHOWN)}")
    return "".join(reversed(words)).lstrip(".") or "of the file"


def _shown(value: Any) -> str:
    """Returns a wrong value in a line: not all of a long one."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**MOST_SHOWN:
        return f"an integer of more than {MOST_SHOWN} digits"
    return shortened(repr(value), MOST_SHOWN)


_WORDS = {
    Any: "a value of finite numbers and whole characters",
    str: "a text of whole characters",
    int: "an integer",
    float: "a finite number",
    bool: "true or false",
    NoneType: "null",
}


def _words(hint: Any) -> str:
    """Returns what an annotation allows, for a person."""
    origin = get_origin(hint)
    if hint in _WORDS:
        return _WORDS[hint]
    if origin is Annotated:
        kind, *rules = get_args(hint)
        told = [str(rule) for rule in rules]
        return ", ".join(told if kind is str else [_words(kind), *told])
    if origin is Literal:
        return "one of " + ", ".join(get_args(hint))
    if isinstance(hint, EnumType):
        return "one of " + ", ".join(hint.__members__)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(kind) for kind in get_args(hint)))
    if origin is tuple:
        kinds = get_args(hint)
        return "a list" if kinds[-1] is ... else f"a list of {len(kinds)}"
    return "an object"

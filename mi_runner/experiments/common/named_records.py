"""Records that an option names, `experiment.methods=[eap,greedy]`, and code of one's own, `package.module:callable`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from mi_runner.errors import ConfigError, as_options, unknown
from mi_runner.models.external import import_callable
from mi_runner.progress import log


class Loaded(Protocol):
    """A record whose function is imported when it is needed."""

    @property
    def name(self) -> str: ...
    def load(self) -> Any: ...


R = TypeVar("R", bound=Loaded)


def chosen_records(
    option: str,
    names: Sequence[str],
    known: Sequence[R],
    *,
    kind: str,
    fault_of: Callable[[str], str],
    own: Callable[[str, Callable[..., Any]], R],
) -> list[R]:
    """Returns the record of each name, with its code imported; that of code of one's own is made here.

    Args:
        option: of the experiment, by which they are named.
        known: the records that have a name.
        kind: what they are: method.
        fault_of: returns why a record of an installed package can't be used; empty if none of this name is unusable.
        own: makes the record of code of one's own.

    Raises:
        ConfigError: no record has a name, one comes twice, or its code can't be imported.
    """
    by_name = {record.name: record for record in known}
    if not names:
        raise ConfigError(f"experiment.{option}=[]: name at least one of {', '.join(by_name)}.")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"experiment.{option} has {name} twice. Name it once.")
    return [_record(option, name, by_name, kind, fault_of, own) for name in names]


def _record(
    option: str,
    name: str,
    by_name: Mapping[str, R],
    kind: str,
    fault_of: Callable[[str], str],
    own: Callable[[str, Callable[..., Any]], R],
) -> R:
    if ":" in name:
        with as_options(experiment=[option]):
            made = own(name, import_callable(option, name))
        log.warning(f"experiment.{option}: the code of {name} is run")
        return made
    if fault := fault_of(name):
        raise ConfigError(f"experiment.{option} has {name}: {fault}")
    if name not in by_name:
        words = unknown(kind, name, list(by_name))
        raise ConfigError(f"experiment.{option} has {name}: {words} Your own: package.module:callable.")
    try:
        by_name[name].load()  # now, not in the time that it takes
    except Exception as error:
        raise ConfigError(
            f"experiment.{option} has {name}: its code can't be imported ({type(error).__name__}: {error})."
        ) from error
    return by_name[name]

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

    All names are checked before any code is imported.

    Args:
        option: of the experiment, by which they are named.
        known: the records that have a name.
        kind: what they are: method.
        fault_of: returns why a record of an installed package can't be used; empty if none of this name is unusable.
        own: makes the record of code of one's own.

    Raises:
        ConfigError: no record has a name, one comes twice, or its code can't be imported.
    """
    check_names(option, names, known, kind=kind, fault_of=fault_of)
    by_name = {record.name: record for record in known}
    return [_record(option, name, by_name, own) for name in names]


def check_names(
    option: str, names: Sequence[str], known: Sequence[Loaded], *, kind: str, fault_of: Callable[[str], str]
) -> None:
    """Checks the names of records without importing any code.

    Args:
        option, names, known, kind, fault_of: as `chosen_records` takes them.

    Raises:
        ConfigError: no record has a name, one comes twice, it can't be used, or there is no name at all.
    """
    allowed = [record.name for record in known]
    if not names:
        raise ConfigError(f"experiment.{option}=[]: name at least one of {', '.join(allowed)}.")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"experiment.{option} has {name} twice. Name it once.")
        if ":" in name:
            continue
        if fault := fault_of(name):
            raise ConfigError(f"experiment.{option} has {name}: {fault}")
        if name not in allowed:
            words = unknown(kind, name, allowed)
            raise ConfigError(f"experiment.{option} has {name}: {words} Your own: package.module:callable.")


def _record(option: str, name: str, by_name: Mapping[str, R], own: Callable[[str, Callable[..., Any]], R]) -> R:
    if ":" in name:
        with as_options(experiment=[option]):
            made = own(name, import_callable(option, name))
        log.warning(f"experiment.{option}: the code of {name} is run")
        return made
    try:
        by_name[name].load()  # now, not in the time that it takes
    except Exception as error:
        raise ConfigError(
            f"experiment.{option} has {name}: its code can't be imported ({type(error).__name__}: {error})."
        ) from error
    return by_name[name]

"""Which entry points of mi-run do installed packages have? A package adds an experiment, a data set, a model by one.

Each start of the program asks. `importlib.metadata` gives the same answer, and its import takes 20 ms; this takes 1 ms.
Nothing of a package is imported here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any, Protocol, TypeVar

PREFIX = "mi_runner."
"""What the names of mi-run's groups of entry points begin with."""

T = TypeVar("T")

METADATA = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}
"""How the folder of an installed package's description ends → its file with the name and the version."""


@dataclass(frozen=True)
class EntryPoint:
    """An entry point of an installed package.

    Attributes:
        group: without the prefix, such as `experiments`.
        name: of what it adds.
        value: `package.module:attribute`.
        package: the name by which pip knows the package.
        version: of the package.
    """

    group: str
    name: str
    value: str
    package: str
    version: str

    @property
    def top(self) -> str:
        """The package, or module, that Python imports first for it."""
        return self.value.partition(":")[0].partition(".")[0]

    @property
    def origin(self) -> str:
        """The package and its version, as texts name them."""
        return f"{self.package} {self.version}".strip()

    def load(self) -> Any:
        """Imports the module and returns the value that the entry point names."""
        module, _, attributes = self.value.partition(":")
        value: Any = import_module(module)
        for attribute in filter(None, attributes.split(".")):
            value = getattr(value, attribute)
        return value


@dataclass(frozen=True)
class Fault:
    """What an entry point names can't be used.

    Attributes:
        what: as texts name it: `model=quadratic`.
        text: why, and what to do, in one line.
    """

    what: str
    text: str


class Unusable(Exception):
    """Why what an entry point names can't be used."""


def added(
    group: str, what: str, own: Collection[str], checked: Callable[[EntryPoint, Any], T]
) -> tuple[list[tuple[EntryPoint, T]], list[Fault]]:
    """Returns what installed packages add to a group, and what of it can't be used.

    A package that can't be used takes nothing away from the others.

    Args:
        what: what texts say before a name: `model=`.
        own: mi-run's own names.
        checked: returns what is taken of the loaded value, or raises Unusable with the reason.
    """
    by_name: dict[str, list[EntryPoint]] = {}
    for point in entry_points():
        if point.group == group:
            by_name.setdefault(point.name, []).append(point)
    found, faults = [], []
    for name, points in by_name.items():
        try:
            point = _alone(points, name in own)
            found.append((point, checked(point, _loaded(point))))
        except Unusable as error:
            faults.append(Fault(f"{what}{name}", f"{what}{name}: {error}"))
    return found, faults


class Record(Protocol):
    """A record of an option's values that an installed package may add to, a frozen dataclass."""

    @property
    def name(self) -> str:
        """As it is typed."""


R = TypeVar("R", bound=Record)


def added_records(group: str, what: str, own: Sequence[R], kind: type[R]) -> tuple[tuple[R, ...], tuple[Fault, ...]]:
    """Returns the records that installed packages add to a group, and what of them can't be used.

    None of them is a default, and each has its entry point as its origin.

    Args:
        what: what texts say before a name: `the method `.
        own: mi-run's own records.
        kind: their class.
    """

    def checked(point: EntryPoint, record: Any) -> R:
        if not isinstance(record, kind) or record.name != point.name:
            raise Unusable(f'{point.value} of {point.origin} is no {kind.__name__} with name="{point.name}".')
        return replace(record, is_default=False, origin=point)  # type: ignore[type-var]

    found, faults = added(group, what, [record.name for record in own], checked)
    return tuple(record for _, record in found), tuple(faults)


def _alone(points: list[EntryPoint], is_own: bool) -> EntryPoint:
    """Returns the entry point of a name, if there is one.

    Raises:
        Unusable: there are several, or mi-run has the name itself.
    """
    packages = " and ".join(point.origin for point in points)
    uninstall = f"pip uninstall {points[-1].package}"
    if is_own:
        raise Unusable(f"mi-run has it, and {packages} has another of this name. Rename that, or {uninstall}.")
    if len(points) > 1:
        raise Unusable(f"{packages} both have it. Keep one: {uninstall}.")
    return points[0]


def _loaded(point: EntryPoint) -> Any:
    """Returns what an entry point names.

    Raises:
        Unusable: it can't be imported.
    """
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # of somebody else's code
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        repair = f"Repair it, or pip uninstall {point.package}."
        raise Unusable(f"{point.value} of {point.origin} can't be imported ({reason}). {repair}") from error


@cache
def entry_points() -> tuple[EntryPoint, ...]:
    """Returns mi-run's entry points of the packages that are installed in folders of `sys.path`, by package."""
    import sys

    found: dict[str, list[EntryPoint]] = {}
    for place in sys.path:
        if os.path.isabs(place):  # the working directory, which a program may have there, is no installation
            for package, points in _packages(place):
                found.setdefault(package, points)  # of two versions, Python imports the first
    return tuple(point for package in sorted(found) for point in found[package])


def _packages(place: str) -> Iterator[tuple[str, list[EntryPoint]]]:
    """Yields the packages of a folder that have entry points of mi-run."""
    try:
        with os.scandir(place) as entries:
            described = [(entry.path, os.path.splitext(entry.name)[1]) for entry in entries]
    except OSError:  # a zip file, or a folder that doesn't exist
        return
    for folder, ending in sorted(described):
        if ending not in METADATA:
            continue
        text = _read(os.path.join(folder, "entry_points.txt"))
        if f"[{PREFIX}" in text:
            described_by = _read(os.path.join(folder, METADATA[ending])).partition("\n\n")[0]
            fields = dict(re.findall(r"^(Name|Version): *(.*?)\s*$", described_by, re.MULTILINE))
            package, version = fields.get("Name") or os.path.basename(folder), fields.get("Version", "")
            points = [EntryPoint(*parsed, package, version) for parsed in _parsed(text)]
            yield re.sub(r"[-_.]+", "-", package).lower(), points


def _read(file: str) -> str:
    """Returns the text of a file; empty if it can't be read."""
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read()
    except OSError:
        return ""


def _parsed(text: str) -> Iterator[tuple[str, str, str]]:
    """Yields group, name and value of each of mi-run's entry points in the text of an `entry_points.txt`."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[]")
        elif "=" in line and line[0] not in "#;" and group.startswith(PREFIX):
            name, _, value = line.partition("=")
            yield group.removeprefix(PREFIX), name.strip(), value.partition("[")[0].strip()

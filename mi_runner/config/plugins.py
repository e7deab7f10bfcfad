"""Schemas that installed packages add, by entry points of the groups in `GROUPS`.

A package that can't be used takes nothing away from the others: what is wrong with it is a line, which is an error only
where its choice is typed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from mi_runner.config.options import Choice
from mi_runner.machine.installed import EntryPoint, entry_points

GROUPS = {"experiment": "experiments", "dataset": "datasets", "model": "models"}
"""Config group → the group of entry points."""

C = TypeVar("C", bound=Choice)


@dataclass(frozen=True)
class Fault:
    """A choice that can't be used.

    Attributes:
        group, name: of the choice.
        text: why, and what to do, in one line.
    """

    group: str
    name: str
    text: str


class Unusable(Exception):
    """What is wrong with an entry point."""


class Plugins:
    """The schemas of installed packages.

    Attributes:
        origins: schema → where it comes from.
        config_modules: the packages with their config files, as `package.conf`.
        faults: what can't be used.
    """

    def __init__(self) -> None:
        self.origins: dict[type[Choice], EntryPoint] = {}
        self.config_modules: list[str] = []
        self.faults: list[Fault] = []

    def schemas(self, group: str, kind: type[C], own: Collection[str]) -> Iterator[type[C]]:
        """Yields the schemas of a config group.

        Args:
            kind: what they are subclasses of.
            own: the names of mi-run's own choices.
        """
        by_name: dict[str, list[EntryPoint]] = {}
        for point in entry_points():
            if point.group == GROUPS[group]:
                by_name.setdefault(point.name, []).append(point)
        for name, points in by_name.items():
            try:
                (point,) = _alone(points, f"{group}={name}", name in own)
                schema = _schema(point, kind)
                module = _config_module(schema, group, point.origin)
            except Unusable as error:
                self.faults.append(Fault(group, name, str(error)))
                continue
            self.origins[schema] = point
            if module not in self.config_modules:
                self.config_modules.append(module)
            yield schema


def _alone(points: list[EntryPoint], what: str, is_own: bool) -> list[EntryPoint]:
    """Returns the entry points of a name, of which there is one.

    Raises:
        Unusable: there are several, or mi-run has the name itself.
    """
    packages = " and ".join(point.origin for point in points)
    uninstall = f"pip uninstall {points[-1].package}"
    if is_own:
        raise Unusable(f"{what}: mi-run has it, and {packages} has another of this name. Rename that, or {uninstall}.")
    if len(points) > 1:
        raise Unusable(f"{what}: {packages} both have it. Keep one: {uninstall}.")
    return points


def _schema(point: EntryPoint, kind: type[C]) -> type[C]:
    """Returns the schema that an entry point names.

    Raises:
        Unusable: it can't be imported, or is no schema of this kind and name.
    """
    begin = f"{point.group.removesuffix('s')}={point.name}: {point.value} of {point.origin}"
    try:
        schema = point.load()
    except (Exception, SystemExit) as error:  # of somebody else's code
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise Unusable(f"{begin} can't be imported ({reason}). Repair it, or pip uninstall {point.package}.") from error
    if not (isinstance(schema, type) and issubclass(schema, kind) and is_dataclass(schema)):
        raise Unusable(f"{begin} is no dataclass of {kind.__name__}.")
    if vars(schema).get("name") != point.name or not isinstance(getattr(schema, "module", None), str):
        raise Unusable(f'{begin} needs name: ClassVar[str] = "{point.name}", and module, which names its code.')
    if not (schema.__doc__ or "").strip() or (schema.__doc__ or "").startswith(f"{schema.__name__}("):
        raise Unusable(f"{begin} needs a docstring, whose first line the help page shows.")
    return schema


def _config_module(schema: type[Choice], group: str, origin: str) -> str:
    """Returns the name of the package with the config file of a schema: `conf` beside its module, or above.

    Raises:
        Unusable: there is none, or the file isn't in it.
    """
    package, _, _ = schema.__module__.rpartition(".")
    while package:
        found = find_spec(f"{package}.conf")
        for folder in (found.submodule_search_locations or ()) if found else ():
            if Path(folder, group, f"{schema.name}.yaml").is_file():
                return f"{package}.conf"
        package, _, _ = package.rpartition(".")
    file = f"{schema.__module__.partition('.')[0]}/conf/{group}/{schema.name}.yaml"
    raise Unusable(
        f"{group}={schema.name}: {origin} has no file {file}. Write it, with an empty conf/__init__.py, and name both "
        "in the package's pyproject.toml, as package and package-data."
    )

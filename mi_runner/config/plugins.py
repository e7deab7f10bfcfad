"""Schemas that installed packages add, by entry points of the groups in `GROUPS`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import is_dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from mi_runner.config.options import Choice
from mi_runner.machine.installed import EntryPoint, Fault, Unusable, added

GROUPS = {"experiment": "experiments", "dataset": "datasets", "model": "models"}
"""Config group → the group of entry points."""

C = TypeVar("C", bound=Choice)


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
        found, faults = added(GROUPS[group], f"{group}=", own, partial(_schema, kind, group))
        self.faults += faults
        for point, (schema, module) in found:
            self.origins[schema] = point
            if module not in self.config_modules:
                self.config_modules.append(module)
            yield schema


def _schema(kind: type[C], group: str, point: EntryPoint, schema: Any) -> tuple[type[C], str]:
    """Returns the schema that an entry point names, and the package with its config file.

    Raises:
        Unusable: it is no schema of this kind and name, or has no config file.
    """
    begin = f"{point.value} of {point.origin}"
    if not (isinstance(schema, type) and issubclass(schema, kind) and is_dataclass(schema)):
        raise Unusable(f"{begin} is no dataclass of {kind.__name__}.")
    if vars(schema).get("name") != point.name or not isinstance(getattr(schema, "module", None), str):
        raise Unusable(f'{begin} needs name: ClassVar[str] = "{point.name}", and module, which names its code.')
    if not (schema.__doc__ or "").strip() or (schema.__doc__ or "").startswith(f"{schema.__name__}("):
        raise Unusable(f"{begin} needs a docstring, whose first line the help page shows.")
    return schema, _config_module(schema, group, point.origin)


def _config_module(schema: type[Choice], group: str, origin: str) -> str:
    """Returns the name of the package with the config file of a schema: `conf` beside its module, or above.

    Raises:
        Unusable: there is none, the file isn't in it, or doesn't name the schema.
    """
    package, _, _ = schema.__module__.rpartition(".")
    while package:
        found = find_spec(f"{package}.conf")
        for folder in (found.submodule_search_locations or ()) if found else ():
            file = Path(folder, group, f"{schema.name}.yaml")
            if file.is_file():
                _check_names(file, f"/schema/{group}/{schema.name}", group, origin)
                return f"{package}.conf"
        package, _, _ = package.rpartition(".")
    name = f"{schema.__module__.partition('.')[0]}/conf/{group}/{schema.name}.yaml"
    raise Unusable(
        f"{origin} has no file {name}. Write it, with an empty conf/__init__.py, and name both in the package's "
        "pyproject.toml, as package and package-data."
    )


def _check_names(file: Path, schema: str, group: str, origin: str) -> None:
    """Checks that a config file is made from a schema.

    Raises:
        Unusable: it is not, or can't be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise Unusable(f"{file.name} of {origin} can't be read ({error}).") from error
    if f"- {schema}@" not in text:
        place = group if group == "experiment" else "_here_"
        raise Unusable(f"{file.name} of {origin} must have in its defaults list: - {schema}@{place}")

"""What does a run take of installed packages?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from mi_runner.config.options import records_of
from mi_runner.config.registry import PLUGINS
from mi_runner.config.run_schema import RunConfig
from mi_runner.machine.files import package_digest
from mi_runner.machine.installed import EntryPoint


def versions_of(config: RunConfig) -> dict[str, str]:
    """Returns for each package: its name → its version, and `code of PACKAGE` → a digest of its sources."""
    found: dict[str, str] = {}
    for point in _entry_points_of(config):
        found[point.package] = point.version
        found[f"code of {point.package}"] = package_digest(point.top)
    return found


def _entry_points_of(config: RunConfig) -> Iterator[EntryPoint]:
    """Yields the entry points of the experiment, the data set and the model, and of the methods that are named."""
    for choice in (config.experiment, config.dataset, config.model):
        if point := PLUGINS.origins.get(type(choice)):
            yield point
    for item in fields(config.experiment):
        for record in records_of(item.metadata):
            if record.origin and record.name in getattr(config.experiment, item.name):
                yield record.origin

"""Summaries over seeds: the rows of many networks, with the spread of each measure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mi_runner.tables.intervals import Spread, mean_of
from mi_runner.tables.ranges import Range


@dataclass(frozen=True)
class Measured:
    """A row of a table for a summary over seeds.

    Attributes:
        network: the measured network; rows of one network with equal names are repeats of one measurement.
        name: the columns that name the row, and their values.
        numbers: measure → its value.
        ranges: measure → the values that it can have.
        start: what the network starts from; those with an equal start are one network. None: not known.
    """

    network: Hashable
    name: Mapping[str, Any]
    numbers: Mapping[str, float]
    ranges: Mapping[str, Range]
    start: str | None = None

    @classmethod
    def of(
        cls,
        network: Hashable,
        name: Mapping[str, Any],
        row: Mapping[str, Any],
        ranges: Mapping[str, Range],
        start: str | None = None,
    ) -> Measured:
        """Returns the measures of a row, without empty values, NaN, which tables write as empty, and words."""
        found = {measure: _number(row.get(measure)) for measure in ranges}
        numbers = {name: value for name, value in found.items() if value is not None and not math.isnan(value)}
        return cls(network, name, numbers, ranges, start)


@dataclass(frozen=True)
class Summed:
    """A row of a summary: the spread of one measure over the rows with this name."""

    name: Mapping[str, Any]
    measure: str
    spread: Spread

    @property
    def row(self) -> dict[str, Any]:
        """The columns of the name, `measure`, and the columns of the spread."""
        return {**self.name, "measure": self.measure, **self.spread.columns()}


def over_seeds(rows: Iterable[Measured]) -> list[Summed]:
    """Returns the spread over networks for each name and measure, in the order of their first rows.

    Rows with equal names are summarised together, wherever they stand; repeats are averaged first. A network without a
    value counts nowhere, so n is the number of those that have one. If several networks of a group have an equal start,
    there is no interval.
    """
    starts: dict[Hashable, str | None] = {}
    groups: dict[tuple[tuple[str, Any], ...], dict[tuple[str, Range], dict[Hashable, list[float]]]] = {}
    for row in rows:
        starts[row.network] = row.start
        group = groups.setdefault(tuple(row.name.items()), {})
        for measure, value in row.numbers.items():
            group.setdefault((measure, row.ranges[measure]), {}).setdefault(row.network, []).append(value)
    found = []
    for name, group in groups.items():
        for (measure, within), by_network in group.items():
            spread = Spread.of(map(mean_of, by_network.values()), within)
            if have_twins(starts[network] for network in by_network):
                spread = spread.without_interval()
            found.append(Summed(dict(name), measure, spread))
    return found


def have_twins(starts: Iterable[str | None]) -> bool:
    """Returns whether two networks start from the same weights and data, so that they are one network."""
    known = [start for start in starts if start is not None]
    return len(set(known)) < len(known)


def seeds_summary(
    rows: Iterable[Mapping[str, Any]],
    keys: Sequence[str],
    measures: Mapping[str, Range],
    starts: Mapping[Any, str] | None = None,
) -> list[dict[str, Any]]:
    """Returns n, mean, sd, 95 % interval, min and max over the seeds, for each name and measure of a table's rows.

    The summary of a sweep over these seeds is the same. The interval is of the mean over seeds: it covers another set
    of seeds, not another test set.

    Args:
        rows: with the column `seed`.
        keys: the columns that name a row of one seed.
        measures: the columns to summarise, with the values that they can have.
        starts: seed → what its network starts from. If two are equal, there is no interval.
    """
    of_seed = starts or {}
    measured = (
        Measured.of(row["seed"], {key: row[key] for key in keys}, row, measures, of_seed.get(row["seed"]))
        for row in rows
    )
    return [summed.row for summed in over_seeds(measured)]


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None

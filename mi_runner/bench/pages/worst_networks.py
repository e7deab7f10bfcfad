"""On which networks is a method worst, and what does it keep there that the best circuit doesn't?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mi_runner.bench.pages.saved_bench import Row, network_name
from mi_runner.runs.report.run_report import pictures_of
from mi_runner.runs.report.tables import number, shown

MOST_NETWORKS = 5

SMALLEST_REGRET = 1e-9
"""A smaller one is rounding."""

Data = dict[str, Any]


@dataclass(frozen=True)
class Worst:
    """A network on which a method is bad, with the ablation with which it is worse.

    Attributes:
        network: its name.
        ablation: what left-out edges carry.
        job: number of the run's folder.
        numbers: name → value of what is known of the method there, as text.
        words: what the picture shows, or why there is none.
        picture: its data; None for none.
    """

    network: str
    ablation: str
    job: str
    numbers: Sequence[tuple[str, str]]
    words: str
    picture: Data | None


def worst_networks(rows: Sequence[Row], method: str, folder: Path) -> list[Worst]:
    """Returns the networks on which a method is worst: those of the largest regret; then, where it isn't known, cpr.

    A network counts once, with the ablation with which the method is worse. One where its regret is 0 is not listed.

    Args:
        rows: of the table of results.
        folder: of the bench, with a folder for each job.
    """
    found: dict[str, Row] = {}
    for row in sorted((row for row in rows if row.get("method") == method), key=_order):
        regret = number(row.get("regret", ""))
        is_judged = regret is not None or number(row.get("cpr", "")) is not None
        if is_judged and (regret is None or regret > SMALLEST_REGRET):
            found.setdefault(network_name(row), row)
    return [_worst(row, method, folder) for row in list(found.values())[:MOST_NETWORKS]]


def _order(row: Row) -> tuple[bool, float]:
    regret, cpr = (number(row.get(name, "")) for name in ("regret", "cpr"))
    return regret is None, (cpr or 0.0) if regret is None else -regret


def _worst(row: Row, method: str, folder: Path) -> Worst:
    job, ablation = row.get("job", ""), row.get("ablation", "")
    values = ((name, number(row.get(name, ""))) for name in ("regret", "cpr", "percentile"))
    numbers = [(name, shown(value)) for name, value in values if value is not None]
    pictures = pictures_of(folder / job) if job.isdecimal() else {}
    words, picture = _picture(pictures.get("methods"), method, ablation)
    return Worst(network_name(row), ablation, job, numbers, words, picture)


@dataclass(frozen=True)
class _Compared:
    """A circuit of a method beside a better one of the same size.

    Attributes:
        lost: the method's mse minus that of the other.
        part: the data of the output with this ablation.
        at: the place of the size.
        other: the list of the better circuits.
        is_best: whether these are the best of all circuits.
    """

    lost: float
    part: Data
    at: int
    other: str
    is_best: bool


def _picture(data: Any, method: str, ablation: str) -> tuple[str, Data | None]:
    """Returns what a picture of the method's circuit beside the best one shows, and its data.

    Args:
        data: what the run's page draws; anything, as it is read from a file.
    """
    if data is None:
        return "The run has no picture of its circuits.", None
    try:
        parts = [part for part in data["parts"] if part["ablation"] == ablation and method in part["lists"]]
        compared = [one for part in parts for one in _compared(part, method)]
        if not compared:
            return "The run has no picture of these circuits.", None
        most = max(compared, key=lambda one: one.lost)
        if most.lost <= 0:
            return "No circuit of the method's first draw is worse than the best.", None
        return _words(most, method), _drawn(most, method)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return "The run's picture of its circuits can't be read.", None


def _compared(part: Data, method: str) -> Iterator[_Compared]:
    """Yields the comparison of each size: with the best circuits or, where they aren't known, with other methods'."""
    lists: Mapping[str, Data] = part["lists"]
    best = [name for name in part["best"] if "mse" in lists[name]]
    others = best or [name for name in lists if name != method]
    for at, mse in enumerate(lists[method]["mse"]):
        known = [(_finite(lists[name]["mse"][at]), name) for name in others if lists[name]["mse"][at] is not None]
        if known and mse is not None:
            smallest, other = min(known, key=lambda one: one[0])
            yield _Compared(_finite(mse) - smallest, part, at, other, bool(best))


def _words(of: _Compared, method: str) -> str:
    k, lists, at = int(of.part["k"][of.at]), of.part["lists"], of.at
    own, other = (shown(float(lists[name]["mse"][at])) for name in (method, of.other))
    whose = "that of the best circuit" if of.is_best else f"that of {of.other}, the smallest of a method,"
    return (
        f"The picture has output {of.part['output']} and circuits of at most {k} edges, where the method loses most: "
        f"its mse is {own}, {whose} {other}."
    )


def _drawn(of: _Compared, method: str) -> Data:
    """Returns the data of the picture; every value has the type that the script expects."""
    edges = [
        {
            **{name: int(edge[name]) for name in ("layer", "source", "target")},
            "weight": _finite(edge["weight"]),
            **{side: str(edge[side]) for side in ("from", "to") if side in edge},
        }
        for edge in of.part["edges"]
    ]
    lists = of.part["lists"]
    return {
        "sizes": [int(size) for size in of.part["sizes"]],
        "edges": edges,
        "circuits": [
            {
                "name": name,
                "bits": str(int(lists[name]["bits"][of.at])),
                "mse": _finite(lists[name]["mse"][of.at]),
            }
            for name in (method, of.other)
        ],
    }


def _finite(value: Any) -> float:
    """Returns a number of the file; a page's JSON has no others.

    Raises:
        ValueError: it is not finite.
    """
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{found} is not finite")
    return found

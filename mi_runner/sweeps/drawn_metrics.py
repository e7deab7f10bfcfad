"""Which numbers of a sweep's runs does its picture draw? Those that differ with the swept values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mi_runner.tables.declaration import Row
from mi_runner.tables.intervals import Spread

MOST_PANELS = 3

ByValues = Sequence[tuple[Row, Mapping[str, Spread]]]
"""For each combination, the swept values without the seed, and the spread of each number of the summary."""


@dataclass(frozen=True)
class Panel:
    """What a panel draws.

    Attributes:
        label: of the axis.
        metrics: what each line has besides its swept values, empty for one line → the name of the number.
    """

    label: str
    metrics: Mapping[str, str]


def panels(found: ByValues, compared: Sequence[str], objective: str | None = None) -> list[Panel]:
    """Returns what is drawn of the numbers of a summary, at most `MOST_PANELS`.

    The objective comes first, then numbers without parts that differ, or that the experiment compares. A measure that
    it compares may have only parts, such as `regret_mse/eap/zero`: a panel then has a line for each method, under the
    first ablation. Where nothing differs, the first number is drawn.

    Args:
        compared: the measures that the experiment compares.
    """
    names = list(dict.fromkeys(name for _, metrics in found for name in metrics))
    plain = [name for name in names if name == objective or "/" not in name]
    differing = [name for name in plain if name in (objective, *compared) or _differs(found, name)]
    in_parts = [panel for measure in compared if measure not in plain if (panel := _of_parts(found, names, measure))]
    made = [Panel(name, {"": name}) for name in differing][: max(1, MOST_PANELS - len(in_parts))]
    made = [*made, *in_parts][:MOST_PANELS]
    return made or [Panel(name, {"": name}) for name in plain[:1]]


def _of_parts(found: ByValues, names: Sequence[str], measure: str) -> Panel | None:
    """Returns the panel of a measure that has only parts; None if it has none, or none differs."""
    own = [name for name in names if name.startswith(f"{measure}/")]
    last = next((name.rpartition("/")[2] for name in own), "")
    shown = {name.split("/", 1)[1].rpartition("/")[0] or last: name for name in own if name.endswith(f"/{last}")}
    if not any(_differs(found, name) for name in shown.values()):
        return None
    return Panel(f"{measure}, {last}" if set(shown) != {last} else measure, shown)


def _differs(found: ByValues, name: str) -> bool:
    """Returns whether a number differs between combinations, or of a single combination between seeds."""
    spreads = [metrics[name] for _, metrics in found if name in metrics]
    values = spreads[0].values if len(spreads) == 1 else [spread.mean for spread in spreads]
    return len(set(values)) > 1

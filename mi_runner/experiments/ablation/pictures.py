"""Data of the report's interactive picture of a network whose parts were ablated: its sites, and what each costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mi_runner.experiments.common.circuit_picture import rounded
from mi_runner.tables.declaration import Row
from mi_runner.tables.names import NONE

MOST_SITES = 400
"""Sites of a network that is drawn."""

MOST_ABLATIONS = 20_000


def network_picture(graph: Sequence[Row], metrics: Sequence[Row]) -> dict[str, Any] | None:
    """Returns the picture's data; None if the network is too large, or nothing was ablated.

    Args:
        graph, metrics: the rows of these tables.
    """
    if len(graph) > MOST_SITES:
        return None
    drops: dict[str, dict[str, list[float]]] = {}
    for row in metrics[:MOST_ABLATIONS]:
        if row["method"] != NONE and rounded(row["accuracy_drop"]) is not None:
            drops.setdefault(row["target"], {}).setdefault(row["method"], []).append(row["accuracy_drop"])
    methods = list(dict.fromkeys(method for of_target in drops.values() for method in of_target))
    costs = {
        target: {method: rounded(sum(values) / len(values)) for method, values in of_target.items()}
        for target, of_target in drops.items()
    }
    # Values inside a module, and parameters, are drawn only if they were ablated.
    hidden = {row["target"] for row in graph if "[" in row["target"] or row["of"] == "parameter"} - drops.keys()
    rows = [row for row in graph if row["target"] not in hidden]
    names = {row["target"] for row in rows}
    sites = [
        {
            "name": row["target"],
            "of": row["of"],
            "shape": row["shape"],
            "reads": [name for name in row["reads"].split(", ") if name in names],
        }
        for row in rows
    ]
    return {"sites": sites, "methods": methods, "costs": costs} if methods else None

"""The table `truth`: which edges were planted, and which node of the formula do their ends carry?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mi_runner.experiments import Result, Setting
from mi_runner.experiments.common.tables import TRUTH
from mi_runner.tables.declaration import Row

if TYPE_CHECKING:
    from mi_runner.models.truth import Truth


def with_truth(result: Result, setting: Setting[Any]) -> Result:
    """Returns the result of a run with the planted edges of its network, or of those of all seeds, if it has any."""
    if setting.truth is None:
        return result
    if not setting.members:
        return result.with_table(TRUTH.filled(list(rows_of(setting.truth))))
    rows = [
        {"seed": member.seed, **row}
        for member in setting.members
        if member.truth is not None
        for row in rows_of(member.truth)
    ]
    return result.with_table(TRUTH.of_seeds().filled(rows))


def rows_of(truth: Truth) -> Iterator[Row]:
    """Yields a row for each edge of the planted circuit."""
    for edge in truth.edges:
        source, target = truth.neuron(edge.layer, edge.source), truth.neuron(edge.layer + 1, edge.target)
        yield {
            "layer": edge.layer,
            "source": edge.source,
            "target": edge.target,
            "weight": edge.weight,
            "source_node": source.node or None,
            "node": target.node or None,
            "gate": target.gate,
            "copy": target.copy,
            "is_inert": target.is_inert,
        }

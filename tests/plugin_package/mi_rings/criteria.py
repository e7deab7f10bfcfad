"""A criterion for circuits, for experiment=criteria. mi-run imports the record at its start: without torch."""

from __future__ import annotations

from mi_runner.methods.criteria.records import Criterion

LIGHTNESS = Criterion(
    name="lightness",
    sentence="share of the absolute weights that the circuit leaves out",
    function="mi_rings.lightness:lightness",
)

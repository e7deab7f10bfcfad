"""A method that finds circuits, for experiment=discovery. mi-run imports the record at its start: without torch."""

from __future__ import annotations

from mi_runner.methods.discovery.records import Method

PATHS = Method(
    name="paths",
    sentence="edges ranked by the products of absolute weights along the paths through them, summed",
    scores="mi_rings.paths:paths",
    passes=0,
)

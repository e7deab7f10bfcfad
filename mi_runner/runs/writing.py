"""Writes what an experiment has found into the run folder: tables, weights, tensors, arrays, figures."""

from __future__ import annotations

from torch import nn

from mi_runner.experiments import Result
from mi_runner.runs.run_folder import RunFolder


def write(place: RunFolder, result: Result, model: nn.Module | None) -> None:
    """Writes the tables and weights of a result, the weights of `model`, and last the figures: one may fail."""
    for name, rows in result.tables.items():
        if len(rows):  # a CSV file without rows and header can't be read
            place.write_table(name, rows, parquet=name in result.parquet)
    if model is not None:
        place.write_weights(model.state_dict())
    for name, member in result.members.items():
        place.write_weights(member.state_dict(), name)
    for name, tensors in result.tensors.items():
        place.write_tensors(name, tensors)
    for name, arrays in result.arrays.items():
        place.write_arrays(name, arrays)
    for name, drawing in result.figures.items():
        place.write_figure(name, drawing)

"""What a run of `experiment=circuits` leaves, from what is found of each output, or of all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mi_runner.config.experiments.circuit_options import JudgeOn
from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.experiments import Result
from mi_runner.experiments.circuits.output import Asked, OfOutput, number
from mi_runner.experiments.circuits.tables import (
    ACCURACY,
    CENSUS,
    CIRCUITS,
    DECLARED,
    EDGES,
    METRICS,
    OF_JUDGED,
    OF_MINIMALITY,
    OF_PAIRS,
    OF_SHARED,
    OF_TRUTH,
    OVERLAPS,
    SHARED,
    SHARING,
)
from mi_runner.experiments.common.circuit_columns import JUDGED, NAMED, PLANTED
from mi_runner.experiments.common.circuit_picture import circuits_picture
from mi_runner.graph.chain import Part
from mi_runner.tables.declaration import Table

NAMES = ("accuracy", "n_circuits", "n_valid", "n_circuits_partial", "n_valid_partial", "threshold")
"""What the summary has first; then come the levels of minimality, the pairs, and what is judged on other examples."""


def summary_names(config: CircuitsConfig, *, has_truth: bool) -> list[str]:
    """Returns the names of the summary.

    Args:
        has_truth: whether a circuit is known as the truth.
    """
    judged_elsewhere = OF_JUDGED if config.judge_on is not JudgeOn.test else ()
    shared = () if config.shared is False else OF_SHARED
    of_truth = OF_TRUTH if has_truth else ()
    return [*NAMES, *(one.name for one in (*OF_MINIMALITY, *OF_PAIRS, *shared, *judged_elsewhere, *of_truth))]


def result_of(
    asked: Sequence[Asked], outputs: Sequence[OfOutput], part: Part, description: Mapping[str, Any]
) -> Result:
    """Returns the tables, figures and numbers, without the tensors.

    Args:
        asked: of each output, or of all together.
        outputs: what is found of it.
        part: the analysed layers, with all outputs.
        description: of these, for circuits.parquet.
    """
    first = asked[0]
    shares = any(output.sharing for output in outputs)
    if shares:
        unknown = dict.fromkeys(one.name for one in OF_SHARED)
        outputs = [replace(output, row=output.row | (unknown | output.row)) for output in outputs]
    where = [*([JUDGED] if first.judging else []), *([NAMED] if part.has_names else []), *([SHARING] if shares else [])]
    where += [PLANTED] if first.truths else []
    row = {**outputs[0].row, "accuracy": outputs[0].row["full_accuracy"]}
    names = summary_names(first.config, has_truth=first.is_planted or first.config.truth is not None)
    pictures = [output.picture for output in outputs if output.picture is not None]
    return Result(
        _tables(outputs, where, description),
        {name: number(row.get(name)) for name in names},
        DECLARED,
        figures={name: drawing for output in outputs for name, drawing in output.figures.items()},
        pictures={"circuits": partial(circuits_picture, pictures)} if pictures else {},
        answer=outputs[0].answer,
        timings={
            "enumerate": sum(output.row["seconds"] for output in outputs),
            "minimality": sum(output.minimal_seconds for output in outputs),
            "pairs": sum(output.pair_seconds for output in outputs),
        },
    )


def _tables(outputs: Sequence[OfOutput], where: Sequence[str], description: Mapping[str, Any]) -> list[Table]:
    """Returns the tables, filled.

    Args:
        where: the conditions of the columns that they have.
        description: of the analysed layers, for circuits.parquet.
    """
    filled = [
        METRICS.filled([output.row for output in outputs], *where),
        EDGES.filled([row for output in outputs for row in output.edges], *where),
    ]
    if census := [row for output in outputs for row in output.census]:
        filled.append(CENSUS.filled(census))
    if accuracy := [row for output in outputs for row in output.accuracy]:
        filled.append(ACCURACY.filled(accuracy))
    shared = [output.sharing for output in outputs if output.sharing is not None]
    if shared:
        filled.append(SHARED.filled([found.row for found in shared]))
    if bins := [row for found in shared for row in found.bins]:
        filled.append(OVERLAPS.filled(bins))
    # A single table isn't copied, because it may take most of the memory.
    if tables := [output.listed for output in outputs if output.listed is not None]:
        import pandas as pd

        listed = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
        listed.attrs = dict(description)  # in the Parquet file, and so read back
        filled.append(CIRCUITS.filled(listed, *where))
    return filled

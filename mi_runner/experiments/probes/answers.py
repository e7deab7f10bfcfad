"""The answer of `experiment=probes`: which set of variables is read best at which site, by a paired test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mi_runner.experiments.common.sentences import between, counted, figure, of_the_test, tied
from mi_runner.experiments.probes.tables import BESIDE, R2
from mi_runner.tables.names import NONE
from mi_runner.tables.pairwise import LEVEL, MOST_ALTERNATIVES, Compared, compare_all

Row = Mapping[str, Any]

ByExample = Mapping[tuple[str, str, str], Tensor]
"""Site (empty for the raw input), set of variables and control → what each held-out example adds to the score."""

INPUT = "input"


def answer(rows: Sequence[Row], by_example: ByExample) -> str:
    """Returns the cell that gains most over the raw input, or has the highest score if there is no such control.

    Cells that the paired test doesn't tell apart from it tie. Its units are the held-out examples: of each the gain of
    the cell's probe, whose mean over the examples is the gain in score.

    Args:
        rows: of the table overview.
    """
    rows = [row for row in rows if math.isfinite(row["score"])]
    over_input = [row for row in rows if row["input"] is not None and math.isfinite(row["input"])]
    rows = over_input or rows
    if not rows:
        return ""
    if len(rows) == 1:
        (row,) = rows
        score = between(row["score"], row["low"], row["high"])
        return f"The {_measure(row)} of the probe of {_name(row)} is {score}{_beside(row)}."
    of_cells = f"Of {counted(len(rows), 'set')} of variables at a site"
    if len(rows) >= MOST_ALTERNATIVES:
        return f"{of_cells}, too many for a test of each two of them, the scores are in the table overview."
    compared = compare_all([[0.0] * len(_values(rows[0], by_example)), *(_gain(row, by_example) for row in rows)])
    place = max(range(1, len(compared.means)), key=lambda other: compared.means[other])
    best = rows[place - 1]
    ties = [_name(rows[other - 1]) for other in compared.tied_with(place) if other]
    text = f"{of_cells}, {_how(best, compared, place)}{tied(ties, 'it')}. The probe's {_measure(best)} there is "
    text += f"{figure(best['score'])}{_beside(best)}."
    return text + of_the_test(compared.n, "example", len(compared.means))


def _how(best: Row, compared: Compared, place: int) -> str:
    if best["input"] is None:
        return f"{_name(best)} is read best"
    gain = compared.means[place]
    if compared.p[0][place] < LEVEL:
        return (
            f"{_name(best)} gains most over the raw input, {figure(gain)}"
            if gain > 0
            else (f"each is read worse than from the raw input, {_name(best)} least so, by {figure(-gain)}")
        )
    return f"none is told apart from the raw input; the largest gain over it is {figure(gain)}, that of {_name(best)}"


def _gain(row: Row, by_example: ByExample) -> list[float]:
    """Returns for each example what the probe adds to the score, beyond what the raw input adds if it is a control."""
    values = _values(row, by_example)
    if row["input"] is not None:
        values = values - by_example["", row["variables"], INPUT]
    gains: list[float] = values.tolist()
    return gains


def _values(row: Row, by_example: ByExample) -> Tensor:
    return by_example[row["site"], row["variables"], NONE].to(torch.float64)


def _name(row: Row) -> str:
    return f"{row['variables']} at {row['site']}"


def _measure(row: Row) -> str:
    return "R²" if row["measure"] == R2 else "accuracy"


def _beside(row: Row) -> str:
    """Returns the scores of the controls."""
    of_controls = [f"{figure(row[name])} {words}" for name, words in BESIDE.items() if row[name] is not None]
    return f", beside {', '.join(of_controls)}" if of_controls else ""

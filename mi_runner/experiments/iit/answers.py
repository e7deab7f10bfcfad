"""The answer of `experiment=iit` and `das`: the IIA of a set of variables at a site, beside that of controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from torch import Tensor

from mi_runner.experiments.common.sentences import counted, figure, of_the_test, several, tied
from mi_runner.experiments.iit.adversary import COLLAPSED
from mi_runner.tables.pairwise import Compared, compare_all

Row = Mapping[str, Any]

Cell = tuple[str, str]
"""A set of variables, joined by +, and the site of the training."""


def answer(rows: Sequence[Row], correct: Mapping[Cell, Sequence[Tensor]], sources: str) -> str:
    """Returns the IIA of a set of variables at a site, or of the one of several sets that has the highest.

    Those that the paired test doesn't tell apart from it tie. Its units are the test pairs, whose base and source are
    the same for all sets; of each the share of the starts that give the counterfactual label.

    Args:
        rows: of the table overview, without those of an adversary.
        correct: cell → for each start whether each test pair has its counterfactual label after the training, `(P,)`.
        sources: single or multi: which rows are of the pairs that the training has.
    """
    of_cells: dict[Cell, list[Row]] = {}
    for row in rows:
        if row["sources"] == sources:
            of_cells.setdefault((row["variables"], row["trained_site"]), []).append(row)
    cells = list(of_cells)
    values = [sum(own.double() for own in correct[cell]).div(len(correct[cell])).tolist() for cell in cells]  # type: ignore[union-attr]
    compared = compare_all(values)
    best = cells[compared.highest]
    text = _highest(compared, cells, of_cells) if len(cells) > 1 else _only(cells[0], of_cells[cells[0]])
    text += f". {_beside(of_cells[best], among=len(cells))}"
    return text + of_the_test(compared.n, "test pair", len(cells)) + _of_one_answer(of_cells[best])


def _of_phase(rows: Sequence[Row], phase: str) -> list[Row]:
    return [row for row in rows if row["phase"] == phase]


def _only(cell: Cell, rows: Sequence[Row]) -> str:
    after, before = (several(_of_phase(rows, phase), "iia", "starts") for phase in ("after", "before"))
    return (
        f"The interchange intervention accuracy (IIA) of {cell[0]} at {cell[1]} is {after}; before training it is "
        f"{before}{_controls(rows, among=1)}"
    )


def _highest(compared: Compared, cells: Sequence[Cell], of_cells: Mapping[Cell, Sequence[Row]]) -> str:
    names = [f"{variables} at {site}" for variables, site in cells]
    place, among = compared.highest, len(cells)
    rows = of_cells[cells[place]]
    after, before = (several(_of_phase(rows, phase), "iia", "starts", among=among) for phase in ("after", "before"))
    ties = [f"{names[other]} ({figure(compared.means[other])})" for other in compared.tied_with(place)]
    return (
        f"Of {counted(among, 'set')} of variables at a site, {names[place]} has the highest interchange intervention "
        f"accuracy (IIA), {after}{tied(ties, 'it')}. Before training {names[place]} has {before}"
        f"{_controls(rows, among=among)}"
    )


def _controls(rows: Sequence[Row], among: int) -> str:
    """Returns the IIA of each control, in the order of the table: which of them is highest takes a test."""
    controls: dict[str, list[Row]] = {}
    for row in _of_phase(rows, "control"):
        controls.setdefault(row["control"], []).append(row)
    named = [f"{name} {several(own, 'iia', 'starts', among=among)}" for name, own in controls.items()]
    return f". {'Control' if len(named) == 1 else 'Controls'}: {'; '.join(named)}" if named else ""


def _beside(rows: Sequence[Row], among: int) -> str:
    after = _of_phase(rows, "after")
    unswapped, floor = (fmean(row[name] for row in after) for name in ("iia_unswapped", "floor"))
    return (
        f"Without a swap the trained network gives the counterfactual label on {figure(unswapped)} of these pairs; the "
        f"label doesn't change on {figure(floor)} of them."
    )


def _of_one_answer(rows: Sequence[Row]) -> str:
    """Returns a warning of a network that gives all or nearly all test examples one answer; empty of others."""
    text = ""
    for phase, words in (("before", "Before training the"), ("after", "The trained")):
        share = min(row["commonest"] for row in _of_phase(rows, phase))
        if share == 1:
            text += f" {words} network gives every test example the same answer, so this says nothing about variables."
        elif share >= COLLAPSED:
            text += (
                f" {words} network gives {figure(share)} of the test examples the same answer, so this says little "
                "about variables."
            )
    return text

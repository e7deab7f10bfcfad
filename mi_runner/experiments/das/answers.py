"""The answer of `experiment=das` with `experiment.map`: no accuracy without its control and its ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from mi_runner.experiments.common.sentences import counted, figure, of_the_test, several, tied
from mi_runner.tables.pairwise import Compared, compare_all

Row = Mapping[str, Any]

Correct = Mapping[str, Sequence[Tensor]]
"""Cell → for each start whether each test pair has its counterfactual label, `(P,)` bool."""


def answer(names: Mapping[str, Sequence[Row]], correct: Correct, untrained: Correct, *, alike: bool = True) -> str:
    """Returns the map with the highest IIA, or the only one, with its control and its ceiling, and the most selective.

    Maps are tested in pairs over the test pairs, of which those of one set of variables are the same for all maps.

    Args:
        names: cell → its rows of metrics, one for each start.
        correct: cell → for each start whether each test pair has its counterfactual label, `(P,)`.
        untrained: the same in the untrained network; empty where there is none.
        alike: whether maps are trained there as in the network.
    """
    control = "the same map" if alike else "the same map, trained by the options of controls,"
    cells = list(names)
    if len(cells) == 1:
        (cell,) = cells
        alone = f"{_named(names[cell][0])} is {_figures(names[cell], 1, control)}"
        return f"The interchange intervention accuracy (IIA) of {alone}."
    compared = compare_all([_means(correct[cell]).tolist() for cell in cells])
    best = cells[compared.highest]
    text = (
        f"Of {counted(len(cells), 'map')}, {_named(names[best][0])} has the highest interchange intervention accuracy "
        f"(IIA), {_figures(names[best], len(cells), control)}{_ties(compared, compared.highest, cells, names)}."
    )
    if untrained:
        gained = compare_all([(_means(correct[cell]) - _means(untrained[cell])).tolist() for cell in cells])
        text += _most_selective(gained, cells, names, best, control)
    return text + of_the_test(compared.n, "test pair", len(cells))


def _means(of_starts: Sequence[Tensor]) -> Tensor:
    """Returns for each test pair the share of starts, `(P,)`."""
    return torch.stack([own.double() for own in of_starts]).mean(0)


def _ties(compared: Compared, place: int, cells: Sequence[str], names: Mapping[str, Sequence[Row]]) -> str:
    others = compared.tied_with(place)
    return tied([f"{_named(names[cells[other]][0])} ({figure(compared.means[other])})" for other in others], "it")


def _named(row: Row) -> str:
    return f"{row['map']} ({counted(row['size'], 'coordinate')} a variable) for {row['variables']} at {row['site']}"


def _figures(rows: Sequence[Row], among: int, control: str) -> str:
    """Returns the accuracy of a cell with what it has to stand beside."""
    floor, ceiling = (figure(fmean(row[name] for row in rows)) for name in ("floor", "ceiling"))
    beside = f"the floor is {floor}, no map can have more than {ceiling}"
    if "untrained" in rows[0]:
        untrained = several(rows, "untrained", "starts", among=among)
        beside = f"{control} in the untrained network has {untrained}, {beside}"
    if "random_labels" in rows[0]:
        of_random = several(rows, "random_labels", "starts", among=among)
        beside += f"; in a network trained on random labels it has {of_random}"
    return f"{several(rows, 'iia', 'starts', among=among)}; {beside}"


def _most_selective(
    gained: Compared, cells: Sequence[str], names: Mapping[str, Sequence[Row]], best: str, control: str
) -> str:
    """Returns which map's IIA is furthest above that in the untrained network."""
    place = gained.highest
    most, means = cells[place], gained.means
    ties = _ties(gained, place, cells, names)
    if most == best:
        return f" Its IIA is also furthest above that in the untrained network, by {figure(means[place])}{ties}."
    return (
        f" Furthest above the untrained network is {_named(names[most][0])}, by {figure(means[place])}: its IIA is "
        f"{_figures(names[most], len(cells), control)}{ties}."
    )

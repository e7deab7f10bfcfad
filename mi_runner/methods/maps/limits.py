"""What no map can do, and what the weakest one does: the ceiling of any map, and the best neurons.

Letters: P pairs, S places, d units of the site, n neurons of a place, B batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mi_runner.datasets.distinct import first_of_equal
from mi_runner.errors import ArgumentError

MOST_CHOICES = 1_000_000
"""Choices of neurons that are tried at a step at most."""


def ceiling(values: Tensor, base: Tensor, sources: Tensor, labels: Tensor) -> float:
    """Returns the largest share of pairs for which any map can give the counterfactual label.

    A map sees the site's values on the base and on the sources. Pairs with the same values get the same answer,
    whatever the map and what follows it, so of these at most those with the commonest label are right. It is 1 where
    the pairs' values are all different.

    Args:
        values: `(N, *site)`, the site's value on each example.
        base: `(P,)` indices of examples.
        sources: `(P, S)` indices of examples.
        labels: `(P,)` counterfactual labels.

    Example:
        >>> import torch
        >>> from mi_runner.maps import ceiling
        >>> values = torch.tensor([[0.0], [1.0], [1.0]])  # the site has one value for two examples
        >>> pairs = torch.tensor([0, 0, 0]), torch.tensor([[1], [2], [2]])
        >>> round(ceiling(values, *pairs, torch.tensor([0, 1, 1])), 3)
        0.667
    """
    of_equal, _ = first_of_equal(values.detach())
    seen = of_equal[torch.cat([base[:, None], sources], 1)].cpu()
    _, group = seen.unique(dim=0, return_inverse=True)
    _, label = labels.cpu().unique(return_inverse=True)
    counts = torch.zeros(int(group.max()) + 1, int(label.max()) + 1, dtype=torch.int64)
    counts.index_put_((group, label), torch.ones_like(group), accumulate=True)
    return int(counts.amax(1).sum()) / len(base)


def check_choices(n_units: int, n_variables: int) -> None:
    """Checks that all choices of a neuron for each variable can be tried.

    Raises:
        ArgumentError: there are too many.
    """
    n = math.perm(n_units, n_variables)
    if n > MOST_CHOICES:
        problem = (
            f"{n_units} units for {n_variables} variables are {n:,} choices of neurons at a step, more than "
            f"{MOST_CHOICES:,}:"
        )
        raise ArgumentError(("map", "site"), None, problem, "leave neurons out of {map}, or name a smaller {site}.")


@torch.no_grad()
def best_neurons(
    loss_of_values: Callable[[Tensor], Tensor],
    base: Tensor,
    sources: Sequence[Tensor],
    n: int,
    *,
    chosen: Callable[[], None] = lambda: None,
) -> list[list[int]]:
    """Returns n neurons for each place, chosen greedily: one for each place at a time, all choices tried.

    Of choices with the same loss the first in the order of the units is taken.

    Args:
        loss_of_values: values `(B, d)` of the site after a swap → the loss on the counterfactual labels.
        base: `(B, d)`, the site's values on base examples.
        sources: for each place `(B, d)`, those on its source examples.
        n: at most d / S.
        chosen: is called after each step.

    Raises:
        ArgumentError: as `check_choices`.

    Example:
        >>> import torch
        >>> from mi_runner.maps import best_neurons
        >>> base, source = torch.zeros(1, 3), torch.tensor([[1.0, 2.0, 3.0]])
        >>> best_neurons(lambda value: (value.sum() - 2) ** 2, base, [source], 1)  # unit 1 alone gives a sum of 2
        [[1]]
    """
    d, n_places = base.shape[1], len(sources)
    check_choices(d, n_places)
    places: list[list[int]] = [[] for _ in range(n_places)]
    value = base.clone()
    for _ in range(n):
        free = [unit for unit in range(d) if not any(unit in place for place in places)]
        lowest, best = math.inf, tuple(free[:n_places])
        for choice in itertools.permutations(free, n_places):
            for unit, source in zip(choice, sources, strict=True):
                value[:, unit] = source[:, unit]
            loss = float(loss_of_values(value))
            value[:, list(choice)] = base[:, list(choice)]
            if loss < lowest:
                lowest, best = loss, choice
        for place, unit, source in zip(places, best, sources, strict=True):
            place.append(unit)
            value[:, unit] = source[:, unit]
        chosen()
    return places

"""Which example does a resampled value come from? Any other one, or one that agrees in its class.

To resample from examples of the same class is to claim that only the class matters there: the hypotheses of causal
scrubbing (Chan et al. 2022) are of this kind. Letters: N examples, M source examples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mi_runner.errors import ArgumentError
from mi_runner.graph.interventions import draw_others

ANY, SAME, OTHER = "any", "same", "other"
"""Any example; one of the same class; one of another class. Further choices are the classes themselves, as numbers."""


def draw_sources(
    y: Tensor, source_y: Tensor, agree: str | int = ANY, *, within: bool, generator: torch.Generator
) -> Tensor:
    """Returns for each example the index of its source example `(N,)` int64, drawn with replacement.

    Args:
        y: `(N,)` classes of the examples.
        source_y: `(M,)` classes of the source examples.
        agree: `any`, `same`, `other`, or the class that all sources have.
        within: whether the source examples are the examples themselves; then no example is its own source.

    Raises:
        ArgumentError: an example has no source to choose; the text says which class.
    """
    n, n_source = len(y), len(source_y)
    if agree == ANY:
        return draw_others(n, generator=generator) if within else torch.randint(n_source, (n,), generator=generator)
    y, source_y = y.cpu(), source_y.cpu()
    index = torch.empty(n, dtype=torch.int64)
    for label in y.unique().tolist():
        rows = (y == label).nonzero().squeeze(1)
        fits = source_y != label if agree == OTHER else source_y == (label if agree == SAME else int(agree))
        candidates = fits.nonzero().squeeze(1)
        own = within and bool(fits[rows[0]])  # the examples of this class are among their candidates
        n_others = len(candidates) - own
        if n_others < 1:
            problem = f"an example of class {label} has no source example: there is none of class {agree}."
            raise ArgumentError("agree", None, f"{{agree}}: {problem}")
        drawn = torch.randint(n_others, (len(rows),), generator=generator)
        if own:
            drawn += drawn >= torch.searchsorted(candidates, rows)
        index[rows] = candidates[drawn]
    return index

"""Where in a site's value do variables live: units, or directions of a rotated space?

An alignment has a place for each source example of an interchange intervention. It gives the value of a base example
with each place taken from its source. With units that is a selection (IIT: Geiger et al., ICML 2022), with a rotation
an interchange of coordinates along orthonormal directions that can be learned (DAS: Geiger et al., CLeaR 2024).

Letters: B batch, d units of the site, S places, n units or directions of a place; a site's value is `(B, *site)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Units(nn.Module):
    """Each place is a set of units.

    Args:
        shape: of the site's value.
        places: for each place the indices of its units in the flattened value; no unit has two places.
    """

    masks: Tensor

    def __init__(self, shape: Sequence[int], places: Sequence[Tensor]) -> None:
        super().__init__()
        masks = torch.zeros(len(places), int(torch.Size(shape).numel()), dtype=torch.bool)
        for mask, units in zip(masks, places, strict=True):
            mask[units] = True
        if bool((masks.sum(0) > 1).any()):
            raise ValueError("a unit belongs to two places.")
        self.register_buffer("masks", masks.reshape(len(places), *shape))

    def forward(self, base: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """The base values `(B, *site)` with each place's units taken from its source values `(B, *site)`."""
        for mask, source in zip(self.masks, sources, strict=True):
            base = torch.where(mask, source, base)
        return base


class Rotation(nn.Module):
    """Each place is a subspace; together they are spanned by S·n orthonormal directions of the site's space.

    Swapping the coordinates along the rows of R is `base + (source − base) Rᵀ R`, so the other d − S·n directions of
    the rotated space, which keep the base's coordinates, are never needed.

    Args:
        shape: of the site's value.
        n_places: S.
        size: n; S·n is at most d.
        generator: draws the first directions, uniform over all orthonormal ones.
    """

    def __init__(self, shape: Sequence[int], n_places: int, size: int, *, generator: torch.Generator) -> None:
        super().__init__()
        n_units = int(torch.Size(shape).numel())
        if n_places * size > n_units:
            raise ValueError(f"{n_places * size} orthonormal directions in a space of {n_units}: there are none.")
        self.size = size
        self.weight = nn.Parameter(_orthonormal(torch.randn(n_places * size, n_units, generator=generator)))

    def directions(self) -> Tensor:
        """R: the orthonormal rows `(S·n, d)` that Gram-Schmidt makes of the weight's; the weight's own if they are."""
        return _orthonormal(self.weight)

    @torch.no_grad()
    def retract(self) -> None:
        """Make the weight orthonormal itself, which changes no direction; to be called after each step of training."""
        self.weight.copy_(self.directions())

    def forward(self, base: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """The base values `(B, *site)` with the coordinates of each place taken from its source values `(B, *site)`."""
        directions = self.directions().to(base.dtype)
        flat = base.flatten(1)
        moved = flat
        for rows, source in zip(directions.split(self.size), sources, strict=True):
            moved = moved + ((source.flatten(1) - flat) @ rows.T) @ rows
        return moved.view(base.shape)


def _orthonormal(weight: Tensor) -> Tensor:
    """Gram-Schmidt of the rows of `(n, d)`, by Householder's QR, with signs that keep orthonormal rows as they are."""
    q, r = torch.linalg.qr(weight.T)
    return (q * r.diagonal().sgn()).T.contiguous()

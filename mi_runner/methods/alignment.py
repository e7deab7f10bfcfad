"""Where in a site's value do variables live: units, or directions of a rotated space?

An alignment has a place for each source example of an interchange intervention. It gives the value of a base example
with each place taken from its source. With units that is a selection (IIT: Geiger et al., ICML 2022), with a rotation
an interchange of coordinates along orthonormal directions that can be learned (DAS: Geiger et al., CLeaR 2024).

Letters: B batch, d units of the site, S places, n units or directions of a place; a site's value is `(B, *site)`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import EllipsisType

import torch
from torch import Tensor, nn

from mi_runner.errors import ArgumentError
from mi_runner.methods.interchange_options import Steps
from mi_runner.methods.maps import bijections
from mi_runner.methods.maps.bijections import Map

AxisIndex = int | slice | EllipsisType
"""What one axis is indexed with; an ellipsis stands for all axes that have no index."""

Place = Tensor | str | AxisIndex | tuple[AxisIndex, ...]
"""Units of a site: flat unit indices `(n,)`, or slices of its axes, as text or as `numpy.s_` gives them."""

INTEGER = "-?[0-9]{1,15}"

ALLOWED_SLICES = (
    "Give, for each axis without the batch, an index (3) or a slice (0:2, 4:, ::2) with a positive step, and ... for "
    "the other axes, as [..., 0:2]"
)


def units_at(shape: Sequence[int], place: Place) -> Tensor:
    """Returns the indices `(n,)` of a place's units in a site's flattened value `(B, *shape)`.

    Args:
        shape: of the site's value, without the batch.
        place: `"[..., 0:2]"` or `numpy.s_[..., 0:2]` is the first two positions of the last axis. Axes behind those
            that are indexed are taken whole. Unlike in Python a slice may not reach past its axis.

    Raises:
        ArgumentError: the text is no such index, or it does not fit the shape; the text of the error says why.
    """
    if isinstance(place, Tensor):
        return place
    entries = _parsed(place) if isinstance(place, str) else place if isinstance(place, tuple) else (place,)
    given = place if isinstance(place, str) else str(list(entries)).replace("Ellipsis", "...")
    n_ellipses = sum(entry is ... for entry in entries)
    n_missing = len(shape) - (len(entries) - n_ellipses)
    if n_ellipses > 1:
        raise ArgumentError("place", None, f"{given} has {n_ellipses} ellipses.", f"{ALLOWED_SLICES}.")
    if n_missing < 0:
        problem = f"{given} indexes more axes than the site has: its shape is {tuple(shape)}."
        raise ArgumentError("place", None, problem)
    ellipsis = next((axis for axis, entry in enumerate(entries) if entry is ...), len(entries))
    index = (*entries[:ellipsis], *[slice(None)] * n_missing, *entries[ellipsis + 1 :])
    for axis, (entry, length) in enumerate(zip(index, shape, strict=True)):
        if not _fits(entry, length):
            positions = f"axis {axis} of the site's shape {tuple(shape)}, whose positions are 0 to {length - 1}."
            raise ArgumentError("place", None, f"{given} does not fit {positions}", f"{ALLOWED_SLICES}.")
    return torch.arange(torch.Size(shape).numel()).reshape(tuple(shape))[index].flatten()


def _parsed(text: str) -> tuple[AxisIndex, ...]:
    """Returns the index that a text such as `[..., 0:2]` stands for; the brackets may be missing."""
    inner = re.sub(r"^\s*\[(.*)\]\s*$", r"\1", text, flags=re.DOTALL)
    return tuple(_parsed_entry(entry, text) for entry in inner.split(","))


def _parsed_entry(entry: str, text: str) -> AxisIndex:
    if entry.strip() == "...":
        return ...
    bounds = [bound.strip() for bound in entry.split(":")]
    if len(bounds) == 1 and re.fullmatch(INTEGER, bounds[0]):
        return int(bounds[0])
    if 2 <= len(bounds) <= 3 and all(re.fullmatch(f"({INTEGER})?", bound) for bound in bounds):
        return slice(*(int(bound) if bound else None for bound in bounds))
    raise ArgumentError("place", None, f"{text} is no index.", f"{ALLOWED_SLICES}.")


def _fits(entry: AxisIndex, length: int) -> bool:
    """Returns whether an index of an axis takes at least one position, and none behind the axis's ends."""
    if isinstance(entry, int):
        return -length <= entry < length
    if not isinstance(entry, slice) or (entry.step is not None and entry.step < 1):
        return False
    within = all(bound is None or -length <= bound <= length for bound in (entry.start, entry.stop))
    return within and len(range(length)[entry]) > 0


class Units(nn.Module):
    """Each place is a set of units.

    Args:
        shape: of the site's value.
        places: for each place its units: their indices in the flattened value, or slices of the site's axes as
            `units_at` takes them, such as `"[..., 0:2]"`. No unit has two places.

    Raises:
        ArgumentError: slices do not fit the shape, or a unit belongs to two places.

    Example:
        >>> import torch
        >>> from mi_runner.iit import Units
        >>> units = Units((4,), ["[0:2]"])
        >>> units(torch.zeros(1, 4), [torch.ones(1, 4)])
        tensor([[1., 1., 0., 0.]])
    """

    masks: Tensor

    def __init__(self, shape: Sequence[int], places: Sequence[Place]) -> None:
        super().__init__()
        masks = torch.zeros(len(places), int(torch.Size(shape).numel()), dtype=torch.bool)
        for mask, place in zip(masks, places, strict=True):
            mask[units_at(shape, place)] = True
        if bool((masks.sum(0) > 1).any()):
            raise ArgumentError("places", None, "a unit belongs to two places.")
        self.register_buffer("masks", masks.reshape(len(places), *shape))

    @property
    def n_places(self) -> int:
        """S."""
        return len(self.masks)

    def forward(self, base: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Returns the base values `(B, *site)` with each place's units taken from its source values `(B, *site)`."""
        for mask, source in zip(self.masks, sources, strict=True):
            base = torch.where(mask, source, base)
        return base


class Mapped(nn.Module):
    """Each place is a set of coordinates of a map: the first place has the first ones.

    Args:
        shape: of the site's value.
        map: of the flattened values `(B, d)`, with an inverse; see `mi_runner.maps`.
        sizes: the number of coordinates of each place; together at most d.

    Example:
        >>> import torch
        >>> from mi_runner.iit import Mapped
        >>> from mi_runner.maps import Neurons
        >>> Mapped((3,), Neurons(3, [2]), [1])(torch.zeros(1, 3), [torch.ones(1, 3)])
        tensor([[0., 0., 1.]])
    """

    def __init__(self, shape: Sequence[int], map: Map, sizes: Sequence[int]) -> None:
        super().__init__()
        n_units = int(torch.Size(shape).numel())
        self.sizes = list(sizes)
        if sum(self.sizes) > n_units:
            raise ArgumentError(
                "size", None, f"{sum(self.sizes)} coordinates do not fit in a space of {n_units} units."
            )
        self.map = map

    @property
    def n_places(self) -> int:
        """S."""
        return len(self.sizes)

    @torch.no_grad()
    def inverse_error(self, values: Tensor) -> float:
        """Returns the largest deviation of a value `(B, *site)` from itself after the map and its inverse."""
        flat = values.flatten(1)
        return float((self.map.inverse(self.map(flat)) - flat).abs().max())

    def forward(self, base: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Returns the base values `(B, *site)` with each place's coordinates taken from its source values.

        A source that is the base itself changes nothing, so its coordinates aren't computed again.
        """
        flat = base.flatten(1)
        others = [source.flatten(1) for source in sources]
        rows = [(other != flat).any(1).nonzero().flatten() for other in others]
        together = torch.cat([flat, *(other[own] for other, own in zip(others, rows, strict=True))])
        of_base, *of_others = self.map(together).split([len(flat), *map(len, rows)])
        *places, rest = of_base.split([*self.sizes, flat.shape[1] - sum(self.sizes)], 1)
        of_places = [other.split([*self.sizes, rest.shape[1]], 1)[place] for place, other in enumerate(of_others)]
        taken = [place.index_copy(0, own, other) for place, own, other in zip(places, rows, of_places, strict=True)]
        back: Tensor = self.map.inverse(torch.cat([*taken, rest], 1))
        return back.view(base.shape)


class Rotation(Mapped):
    """Each place is a subspace; together they are spanned by S·n orthonormal directions of the site's space.

    Swapping the coordinates along the rows of R is `base + (source − base) Rᵀ R`. So the other d − S·n directions of
    the rotated space are never needed: they keep the base's coordinates.

    Args:
        shape: of the site's value.
        n_places: S.
        size: n, or a sequence with the n of each place; together at most d.
        generator: draws the first directions, uniform over all orthonormal ones.
        steps: how it is trained; see `mi_runner.maps.Rotation`.

    Example:
        >>> import torch
        >>> from mi_runner.iit import Rotation
        >>> rotation = Rotation((4,), 1, 2, generator=torch.Generator().manual_seed(0))
        >>> values = torch.rand(3, 4)
        >>> torch.allclose(rotation(values, [values]), values, atol=1e-6)  # the source is the base: nothing changes
        True
    """

    map: bijections.Rotation

    def __init__(
        self,
        shape: Sequence[int],
        n_places: int,
        size: int | Sequence[int],
        *,
        generator: torch.Generator,
        steps: Steps = "retraction",
    ) -> None:
        sizes = [size] * n_places if isinstance(size, int) else list(size)
        if len(sizes) != n_places:
            raise ArgumentError("size", sizes, f"give one size for each of the {n_places} places.")
        n_units = int(torch.Size(shape).numel())
        super().__init__(shape, bijections.Rotation(n_units, sum(sizes), generator=generator, steps=steps), sizes)

    @property
    def weight(self) -> Tensor:
        """The rows `(S·n, d)` that are trained."""
        return self.map.weight

    def directions(self) -> Tensor:
        """Returns R `(S·n, d)`, orthonormal."""
        return self.map.directions()

    def retract(self) -> None:
        """Replaces the weight by its directions, which changes no direction; call it after each step of training."""
        self.map.retract()

    @torch.no_grad()
    def inverse_error(self, values: Tensor) -> float:
        """Returns the largest deviation of a value `(B, *site)` from itself after the map and its inverse.

        The directions alone are computed with: all d × d numbers of a rotation behind a convolution take a gigabyte.
        The others are orthogonal to them, so that Rᵀ(RRᵀ − 1)R times a value is all that deviates, to first order.
        """
        flat = values.flatten(1)
        directions = self.directions().to(flat.dtype)
        along = flat @ directions.T
        return float((((along @ directions) @ directions.T - along) @ directions).abs().max())

    def forward(self, base: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Returns the base values `(B, *site)` with each place's coordinates taken from its source values."""
        directions = self.directions().to(base.dtype)
        flat = base.flatten(1)
        moved = flat
        for rows, source in zip(directions.split(self.sizes), sources, strict=True):
            moved = moved + ((source.flatten(1) - flat) @ rows.T) @ rows
        return moved.view(base.shape)

"""Bijections of a site's space: neurons, rotations and reversible networks, of one interface.

A map has `forward`, from the values of a site `(B, d)` to coordinates `(B, d)`, and `inverse`, back. Variables have
coordinates, and an interchange intervention takes these from source examples; `alignment.Mapped` does that. The more a
map can do, the more networks seem to carry a variable (Sutter et al., "The non-linear representation dilemma", NeurIPS
2025).

Letters: B batch, d units of the site, k directions, L blocks, h hidden units of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from mi_runner.errors import ArgumentError
from mi_runner.methods.interchange_options import Steps
from mi_runner.methods.maps.coupling import coupled

TOLERANCE = 1e-4
"""How far a value may be from itself after a map and its inverse, in units of the largest value."""


@runtime_checkable
class Map(Protocol):
    """A bijection of a site's space; a `torch.nn.Module`, so that its parameters can be trained.

    Example:
        >>> from mi_runner.maps import Map, Neurons
        >>> isinstance(Neurons(3), Map)
        True
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the coordinates `(B, d)` of values `(B, d)`."""

    def inverse(self, coordinates: Tensor) -> Tensor:
        """Returns the values `(B, d)` that have these coordinates `(B, d)`."""

    def parameters(self) -> object:
        """Returns what is trained."""


class Neurons(nn.Module):
    """The identity, in an order of the units: the coordinates are neurons.

    Args:
        n_units: d.
        order: the units that come first, each once; the others follow in their own order.

    Example:
        >>> import torch
        >>> from mi_runner.maps import Neurons
        >>> Neurons(3, [2])(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[3., 1., 2.]])
    """

    order: Tensor
    back: Tensor

    def __init__(self, n_units: int, order: Sequence[int] = ()) -> None:
        super().__init__()
        if len(set(order)) < len(order) or not set(order) <= set(range(n_units)):
            raise ArgumentError("order", list(order), f"name units from 0 to {n_units - 1}, each once.")
        first = torch.tensor([*order, *(unit for unit in range(n_units) if unit not in set(order))], dtype=torch.int64)
        self.register_buffer("order", first)
        self.register_buffer("back", first.argsort())

    def forward(self, x: Tensor) -> Tensor:
        """Returns the values `(B, d)` in the map's order."""
        return x[:, self.order]

    def inverse(self, coordinates: Tensor) -> Tensor:
        """Returns coordinates `(B, d)` in the order of the units."""
        return coordinates[:, self.back]


class Rotation(nn.Module):
    """An orthogonal map. Only the first k coordinates are trained; the others complete them, in some way.

    Args:
        n_units: d.
        n_directions: k, the rows that are trained; None: all.
        generator: draws the first directions, uniform over all orthonormal ones.
        steps: `retraction`: a step moves the rows themselves, and Gram-Schmidt makes them orthonormal again
            (`retract`); `parametrization`: torch's own, the exponential of a skew matrix for a square, Householder's
            reflections for a rectangle.

    Example:
        >>> import torch
        >>> from mi_runner.maps import Rotation
        >>> rotation, x = Rotation(4, generator=torch.Generator().manual_seed(0)), torch.rand(3, 4)
        >>> torch.allclose(rotation.inverse(rotation(x)), x, atol=1e-6)
        True
    """

    def __init__(
        self, n_units: int, n_directions: int | None = None, *, generator: torch.Generator, steps: Steps = "retraction"
    ) -> None:
        super().__init__()
        k = n_units if n_directions is None else n_directions
        if k > n_units:
            problem = f"{k} orthonormal directions do not fit in a space of {n_units} dimensions."
            raise ArgumentError("size", None, problem)
        self.steps = steps
        self.weight = nn.Parameter(orthonormal(torch.randn(k, n_units, generator=generator)))
        if steps == "parametrization" and k == n_units:
            parametrizations.orthogonal(self, "weight")
        elif steps == "parametrization":
            parametrize.register_parametrization(self, "weight", Reflections(self.weight.detach(), generator))

    def directions(self) -> Tensor:
        """Returns the rows `(k, d)`, orthonormal: of a retraction by Gram-Schmidt, which keeps orthonormal rows."""
        return self.weight if self.steps == "parametrization" else orthonormal(self.weight)

    @torch.no_grad()
    def retract(self) -> None:
        """Replaces the weight by its directions, which changes no direction; call it after each step of training."""
        if self.steps == "retraction":
            self.weight.copy_(self.directions())

    def forward(self, x: Tensor) -> Tensor:
        """Returns the coordinates `(B, d)` along the directions, and along others orthogonal to them."""
        return x @ self._all().to(x.dtype).T

    def inverse(self, coordinates: Tensor) -> Tensor:
        """Returns the values `(B, d)` of coordinates."""
        return coordinates @ self._all().to(coordinates.dtype)

    def _all(self) -> Tensor:
        directions = self.directions()
        k, d = directions.shape
        if k == d:
            return directions
        others = torch.linalg.qr(directions.detach().T, mode="complete")[0][:, k:].T
        # Without gradient the others stay orthogonal to the directions only as long as these don't move.
        return torch.cat([directions, others])


class Reflections(nn.Module):
    """The parametrization of fewer orthonormal rows than units, as torch's own: reflections in a random frame.

    `torch.nn.utils.parametrizations.orthogonal` has the rows B H e₁, …, B H eₖ: H is a product of Householder's
    reflections, whose vectors are trained and are 0 at first, and B an orthogonal matrix whose first columns are the
    first rows and whose others are random. So an optimizer that treats each number alike, as Adam does, moves along
    random directions and not along units. For 12,544 units B has 630 MB, and the gradient of torch's reflections takes
    seconds. Here each reflection acts on the k rows alone, and B's other columns are those of a Hartley transform
    between random signs, which is orthogonal, too.

    Args:
        rows: `(k, d)`, orthonormal, the first rows.
        generator: draws the signs.
    """

    first: Tensor
    lengths: Tensor
    signs: Tensor

    def __init__(self, rows: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        k, d = rows.shape
        vectors, _ = torch.geqrf(rows.T)
        # Of orthonormal rows R's diagonal is 1 or −1.
        self.register_buffer("lengths", vectors.diagonal().sign())
        self.register_buffer("first", vectors.T.triu(1) + torch.eye(k, d))
        self.register_buffer("signs", 2.0 * torch.randint(2, (2, d - k), generator=generator) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns orthonormal rows `(k, d)`.

        Args:
            x: `(k, d)`, the vectors of the reflections, of which what is above the diagonal is trained.
        """
        k, d = x.shape
        identity = torch.eye(k, d, dtype=x.dtype, device=x.device)
        rows = _reflected(identity, x.triu(1) + identity) * x.diagonal().detach().sign()[:, None]
        return self.in_frame(rows)

    def in_frame(self, rows: Tensor) -> Tensor:
        """Returns B y for each row y of `(n, d)`."""
        k = len(self.first)
        turned = torch.fft.fft(rows[:, k:] * self.signs[0])
        others = self.signs[1] * (turned.real - turned.imag) / (rows.shape[1] - k) ** 0.5
        return _reflected(torch.cat([rows[:, :k] * self.lengths, others], 1), self.first)

    def right_inverse(self, rows: Tensor) -> Tensor:
        """Returns the vectors that give the first rows: zeros, with −1 on the diagonal."""
        return -torch.eye(*rows.shape, dtype=rows.dtype, device=rows.device)


def _reflected(rows: Tensor, vectors: Tensor) -> Tensor:
    """Returns H₁ … Hₖ y for each row y of `(n, d)`, with H the reflections by vectors `(k, d)`."""
    factors = 2 / (vectors**2).sum(1)
    for vector, factor in zip(reversed(vectors.unbind()), reversed(factors.unbind()), strict=True):
        rows = rows - factor * (rows @ vector)[:, None] * vector
    return rows


def orthonormal(weight: Tensor) -> Tensor:
    """Returns Gram-Schmidt of the rows of `(n, d)`, by Householder's QR, with signs that keep orthonormal rows."""
    q, r = torch.linalg.qr(weight.T)
    return (q * r.diagonal().sgn()).T.contiguous()


class RevNet(nn.Module):
    """A reversible network: L blocks of y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁) on two halves of the coordinates.

    F and G have one hidden layer of h ReLU units, biases, and the initial weights of `torch.nn.Linear`. Of an odd
    number of units the first half has one more. (Gomez et al., "The reversible residual network", NeurIPS 2017.)

    Args:
        n_units: d, at least 2.
        blocks: L.
        width: h.
        generator: draws the initial weights.

    Example:
        >>> import torch
        >>> from mi_runner.maps import RevNet
        >>> revnet, x = RevNet(5, blocks=3, width=4, generator=torch.Generator().manual_seed(0)), torch.rand(3, 5)
        >>> torch.allclose(revnet.inverse(revnet(x)), x, atol=1e-6)
        True
    """

    def __init__(self, n_units: int, *, blocks: int = 10, width: int = 16, generator: torch.Generator) -> None:
        super().__init__()
        if n_units < 2:
            raise ArgumentError("n_units", n_units, "a reversible network takes two halves, so at least 2 units.")
        self.n_units = n_units
        m, n_couplings = (n_units + 1) // 2, 2 * blocks
        self.is_odd = bool(n_units % 2)

        def drawn(*shape: int, fan_in: int) -> Tensor:
            return (2 * torch.rand(n_couplings, *shape, generator=generator) - 1) / fan_in**0.5

        # Stacked, F and G in turn: the couplings that change the first half have even numbers.
        self.w1, self.b1 = nn.Parameter(drawn(width, m, fan_in=m)), nn.Parameter(drawn(width, fan_in=m))
        self.w2, self.b2 = nn.Parameter(drawn(m, width, fan_in=width)), nn.Parameter(drawn(m, fan_in=width))

    @property
    def n_parameters(self) -> int:
        """Numbers that are trained; a second half of one unit less has none for it."""
        blocks, width = len(self.w1) // 2, self.w1.shape[1]
        missing = blocks * (2 * width + 1) if self.is_odd else 0
        return sum(parameter.numel() for parameter in self.parameters()) - missing

    def forward(self, x: Tensor) -> Tensor:
        """Returns the coordinates `(B, d)`."""
        return self._coupled(x, inverse=False)

    def inverse(self, coordinates: Tensor) -> Tensor:
        """Returns the values `(B, d)` of coordinates."""
        return self._coupled(coordinates, inverse=True)

    def _coupled(self, x: Tensor, *, inverse: bool) -> Tensor:
        parameters = (self.w1, self.b1, self.w2, self.b2)
        if not self.is_odd:
            return coupled(x, *parameters, inverse=inverse)
        # The second half is filled up with a coordinate that is 0 and stays so: nothing is added to it.
        w2, b2 = self.w2.clone(), self.b2.clone()
        w2[1::2, -1] = 0
        b2[1::2, -1] = 0
        filled = torch.cat([x, x.new_zeros(len(x), 1)], 1)
        return coupled(filled, self.w1, self.b1, w2, b2, inverse=inverse)[:, :-1]


@torch.no_grad()
def check_bijection(map: Map, x: Tensor, name: str) -> None:
    """Checks that a map gives coordinates of the same number, and that its inverse gives the values back.

    Args:
        x: `(B, d)` values of the site.
        name: of the map, for the error.

    Raises:
        ArgumentError: it doesn't; the text says by how much.

    Example:
        >>> import torch
        >>> from mi_runner.maps import Neurons, check_bijection
        >>> check_bijection(Neurons(3, [2]), torch.rand(5, 3), "neurons")
    """
    problem = f"{{map}}={name} is no bijection of the site's values"
    coordinates = map(x)
    if not isinstance(coordinates, Tensor) or coordinates.shape != x.shape:
        shape = tuple(coordinates.shape) if isinstance(coordinates, Tensor) else type(coordinates).__name__
        raise ArgumentError("map", name, f"{problem}: of {tuple(x.shape)} it makes {shape}.")
    back = map.inverse(coordinates)
    if back.shape != x.shape:
        raise ArgumentError("map", name, f"{problem}: its inverse makes {tuple(back.shape)} of {tuple(x.shape)}.")
    error, largest = float((back - x).abs().max()), float(x.abs().max())
    if not error <= TOLERANCE * max(largest, 1.0):
        raise ArgumentError(
            "map", name, f"{problem}: a value is {error:.2g} from itself after the map and its inverse.",
            "Let inverse undo forward.",
        )  # fmt: skip


MakeMap = Callable[[int], nn.Module]
"""Units d → a map of `(B, d)`."""

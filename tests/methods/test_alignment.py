"""Where variables live: units against slicing, rotations against rotating the whole space and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mi_runner.methods.alignment import Place, Rotation, Units, units_at

SHAPE = (3, 2, 2)


def values(n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """`(n, 5, 3, 2, 2)`: n sites' values on five examples."""
    return torch.randn(n, 5, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rotation(n_places: int, size: int, seed: int = 0) -> Rotation:
    return Rotation(SHAPE, n_places, size, generator=torch.Generator().manual_seed(seed))


def test_units_are_slices() -> None:
    base, one, other = values(3)
    found = Units(SHAPE, [torch.arange(0, 4), torch.tensor([11, 5])])(base, [one, other])
    by_hand = base.flatten(1).clone()
    by_hand[:, 0:4] = one.flatten(1)[:, 0:4]
    by_hand[:, [5, 11]] = other.flatten(1)[:, [5, 11]]
    assert torch.equal(found, by_hand.view_as(base))
    with pytest.raises(ValueError, match="a unit belongs to two places"):
        Units(SHAPE, [torch.arange(0, 4), torch.tensor([3])])


@pytest.mark.parametrize(("n_places", "size"), [(1, 1), (1, 5), (3, 1), (3, 4), (1, 12)])
def test_a_rotation_is_rotating_the_whole_space_swapping_and_rotating_back(n_places: int, size: int) -> None:
    found = rotation(n_places, size).double()
    n = n_places * size
    # Any basis of the whole space whose first n vectors are the directions.
    rest = torch.randn(12, 12 - n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = torch.linalg.qr(torch.cat([found.directions().detach().T, rest], 1))[0]
    whole = whole * torch.cat([(whole[:, :n] * found.directions().detach().T).sum(0).sign(), torch.ones(12 - n)])
    assert torch.allclose(whole[:, :n].T, found.directions())
    base, *sources = values(1 + n_places, dtype=torch.float64)
    rotated = base.flatten(1) @ whole
    for place, source in enumerate(sources):
        own = slice(place * size, (place + 1) * size)
        rotated[:, own] = (source.flatten(1) @ whole)[:, own]
    assert torch.allclose(found(base, sources), (rotated @ whole.T).view_as(base))


def test_all_directions_replace_the_site() -> None:
    base, source = values(2)
    assert torch.allclose(rotation(1, 12)(base, [source]), source, atol=1e-5)


def test_the_base_as_source_changes_nothing() -> None:
    (base,) = values(1)
    assert torch.equal(rotation(2, 3)(base, [base, base]), base)
    assert torch.equal(Units(SHAPE, [torch.arange(3)])(base, [base]), base)


def test_several_places_with_equal_sources_are_one_over_their_union() -> None:
    base, source = values(2)
    several, union = rotation(3, 2), rotation(1, 6)
    assert torch.equal(several.weight, union.weight)
    assert torch.allclose(several(base, [source] * 3), union(base, [source]), atol=1e-6)
    places = torch.arange(6).split(2)
    assert torch.equal(Units(SHAPE, places)(base, [source] * 3), Units(SHAPE, [torch.arange(6)])(base, [source]))


def test_directions_are_orthonormal_whatever_the_weight_and_retracting_moves_none() -> None:
    found = rotation(2, 3)
    assert torch.allclose(found.directions(), found.weight, atol=1e-6)
    with torch.no_grad():
        found.map.weight += 3 * torch.randn(6, 12, generator=torch.Generator().manual_seed(2))
    directions = found.directions().detach()
    assert torch.allclose(directions @ directions.T, torch.eye(6), atol=1e-5)
    found.retract()
    assert torch.allclose(found.weight, directions) and torch.allclose(found.directions(), directions, atol=1e-6)


def test_the_first_directions_come_from_the_generator() -> None:
    assert torch.equal(rotation(1, 2).weight, rotation(1, 2).weight)
    assert not torch.allclose(rotation(1, 2).weight, rotation(1, 2, seed=1).weight)


def test_gradients_of_a_rotation_are_right() -> None:
    found = rotation(2, 2).double()
    base, one, other = (x[:2].requires_grad_() for x in values(3, dtype=torch.float64))

    def swapped(weight: Tensor, base: Tensor, one: Tensor, other: Tensor) -> Tensor:
        return torch.func.functional_call(found, {"map.weight": weight}, (base, [one, other]))

    weight = (found.weight + 0.1).detach().requires_grad_()
    assert torch.autograd.gradcheck(swapped, (weight, base, one, other))


def test_there_are_no_more_directions_than_dimensions() -> None:
    with pytest.raises(ValueError, match="13 orthonormal directions do not fit in a space of 12"):
        rotation(1, 13)


# --- slices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("[..., 0:2]", np.s_[..., 0:2]),
        ("[2]", np.s_[2]),
        ("2", np.s_[2]),
        ("[-1, :, 1]", np.s_[-1, :, 1]),
        ("[0, ..., -1]", np.s_[0, ..., -1]),
        ("[1:]", np.s_[1:]),
        ("[::2, 0]", np.s_[::2, 0]),
        (" [ -3 : -1 , 1 : 2 , 0:2:1 ] ", np.s_[-3:-1, 1:2, 0:2:1]),
        ("[...]", np.s_[...]),
        ("...", np.s_[:, :, :]),
        ("[0, 1, 1, ...]", np.s_[0, 1, 1]),
    ],
)
def test_slices_are_the_units_that_numpy_takes(text: str, index: Place) -> None:
    expected = np.arange(12).reshape(SHAPE)[index].ravel().tolist()
    assert units_at(SHAPE, text).tolist() == units_at(SHAPE, index).tolist() == expected


def test_slices_at_the_smallest_sites() -> None:
    assert units_at((1,), "[0]").tolist() == units_at((1,), "[-1:]").tolist() == [0]
    assert units_at((), "[...]").tolist() == [0]
    with pytest.raises(ValueError, match=r"\[0\] indexes more axes than the site has: its shape is \(\)"):
        units_at((), "[0]")


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("[3]", r"\[3\] does not fit axis 0 of the site's shape \(3, 2, 2\), whose positions are 0 to 2. Give, for"),
        ("[-4]", "does not fit axis 0"),
        ("[..., 0:3]", "does not fit axis 2"),
        ("[:, 2:]", "does not fit axis 1"),
        ("[1:1]", "does not fit axis 0"),
        ("[::-1]", "does not fit axis 0"),
        ("[::0]", "does not fit axis 0"),
        (np.s_[..., 0:3], r"\[..., slice\(0, 3, None\)\] does not fit axis 2"),
        ("[0, 0, 0, 0]", "indexes more axes than the site has"),
        ("[..., ...]", "has 2 ellipses"),
        ("[]", r"\[\] is no index. Give, for each axis without the batch, an index .* as \[..., 0:2\]"),
        ("", "is no index"),
        ("[0, ]", "is no index"),
        ("[a]", "is no index"),
        ("[1 2]", "is no index"),
        ("[0:1:1:1]", "is no index"),
        ("[[0, 1]]", "is no index"),
        ("[None]", "is no index"),
        ("[__import__('os').getpid()]", "is no index"),
        ("[" + "9" * 5000 + "]", "is no index"),
    ],
)
def test_slices_that_are_none_or_do_not_fit(place: Place, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        units_at(SHAPE, place)


def test_units_are_given_as_slices_too() -> None:
    base, first, second = values(3)
    swapped = Units(SHAPE, ["[0]", np.s_[1:, ..., 1]])(base, [first, second])
    by_hand = base.clone()
    by_hand[:, 0] = first[:, 0]
    by_hand[:, 1:, :, 1] = second[:, 1:, :, 1]
    assert torch.equal(swapped, by_hand)
    with pytest.raises(ValueError, match="a unit belongs to two places"):
        Units(SHAPE, ["[0]", "[..., 0]"])


def test_places_of_a_rotation_may_differ_in_size() -> None:
    base, first, second = values(3)
    draw = torch.Generator().manual_seed(0)
    mixed = Rotation(SHAPE, 2, [1, 3], generator=draw)
    rows = mixed.directions().detach()
    flat = base.flatten(1)
    moved = flat + ((first.flatten(1) - flat) @ rows[:1].T) @ rows[:1]
    moved = moved + ((second.flatten(1) - flat) @ rows[1:].T) @ rows[1:]
    assert torch.allclose(mixed(base, [first, second]), moved.view_as(base), atol=1e-6)
    with pytest.raises(ValueError, match=r"size=\[1, 3\]: give one size for each of the 1 places"):
        Rotation(SHAPE, 1, [1, 3], generator=draw)

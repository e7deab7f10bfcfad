"""Draws depend on the seed and on the name of the use, and on nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mi_runner import chance


def test_derived_seeds_are_the_first_63_bits_of_a_sha256() -> None:
    # printf '0/batch order' | sha256sum     34ba0c5e725eb1f8...
    assert chance.derived_seed(0, "batch order") == 0x34BA0C5E725EB1F8 >> 1
    # printf '7' | sha256sum                 7902699be42c8a8e...
    assert chance.derived_seed(7) == 0x7902699BE42C8A8E >> 1


@given(st.integers(0, 2**40), st.sampled_from(["batch order", "x/add", "α", ""]))
def test_derived_seeds_are_what_torch_takes(seed: int, use: str) -> None:
    derived = chance.derived_seed(seed, use)
    assert 0 <= derived < 2**63
    assert torch.Generator().manual_seed(derived).initial_seed() == derived


@pytest.mark.parametrize("other", [(1, "pairs", 0), (0, "order", 0), (0, "pairs", 1), (0, "pairs")], ids=str)
def test_another_seed_or_use_draws_other_numbers(other: tuple[int, *tuple[object, ...]]) -> None:
    def draw(seed: int, *use: object) -> list[float]:
        return torch.rand(5, generator=chance.generator(seed, *use)).tolist()

    assert draw(0, "pairs", 0) == draw(0, "pairs", 0)
    assert draw(*other) != draw(0, "pairs", 0)


def test_a_use_draws_the_same_whatever_was_drawn_before() -> None:
    first = torch.rand(3, generator=chance.generator(0, "b"))
    torch.rand(100, generator=chance.generator(0, "a"))
    torch.rand(100)
    assert torch.equal(torch.rand(3, generator=chance.generator(0, "b")), first)


def test_global_seed_seeds_within_and_restores_after() -> None:
    torch.manual_seed(5)
    expected_after = torch.rand(4)
    torch.manual_seed(5)
    with chance.global_seed(0, "dropout"):
        within = torch.rand(4)
    assert torch.equal(torch.rand(4), expected_after)
    assert torch.equal(within, torch.rand(4, generator=chance.generator(0, "dropout")))


def test_global_seed_restores_after_an_error() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with pytest.raises(KeyError), chance.global_seed(0, "dropout"):
        torch.rand(4)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)

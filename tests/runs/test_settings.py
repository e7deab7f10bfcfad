"""Seeds in words, and options that differ from the defaults."""

from __future__ import annotations

import pytest

from mi_runner.runs import settings


@pytest.mark.parametrize(
    ("seeds", "words"),
    [([], ""), ([3], "seed 3"), ([1, 0], "seeds 0, 1"), (range(16), "seeds 0 to 15"), ([0, 2, 5], "seeds 0, 2, 5")],
)
def test_seeds_in_words(seeds: list[int], words: str) -> None:
    assert settings.of_seeds(seeds) == words


def test_options_that_differ_from_the_defaults() -> None:
    own = {"experiment": "train", "dataset": "mnist", "model": "mlp", "dataset.limit": 5000, "seed": 3}
    assert settings.differing([own, {**own, "dataset.limit": 60}]) == {"dataset.limit": "5000,60"}
    assert settings.differing([{**own, "dataset": "nowhere"}]) == {}

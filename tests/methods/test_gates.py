"""Gates trained for several draws and penalties at once: each draw as alone, at any bound of memory; schedules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.discovery import gates
from mi_runner.methods.discovery.gates import Training, gated_circuits, risen, trained_gates
from tests.masked_parts import ABLATIONS, examples, random_part

TRAINING = Training("distance", (0.01, 0.1, 1.0), steps=50, learning_rate=0.1, start=1.0)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("objective", ["distance", "loss"])
def test_log_alpha_of_several_draws_is_that_of_each_alone(objective: str, ablation: str) -> None:
    """More examples than a step takes, so that the draws have other batches, too."""
    part = random_part((3, 3, 2), "tanh")
    x, y = examples(part, n=300)
    training = Training(objective, (0.01, 0.1, 1.0), steps=40, learning_rate=0.1, start=1.0)
    given = (part, x, y.long(), ablation, training)
    start = Edges(part.sizes).full
    together = trained_gates(*given, loss=None, generators=generators(7, 8, 9), start=start)
    alone = [trained_gates(*given, loss=None, generators=[draw], start=start) for draw in generators(7, 8, 9)]
    assert together.shape == (3, 3, 15)
    assert np.allclose(together, np.concatenate(alone), rtol=0, atol=1e-9)
    assert np.abs(together[0] - together[1]).max() > 0.01


@pytest.mark.parametrize("bound", [1, 8 * 3, 8 * 6, 8 * 7])
def test_the_bound_of_memory_plays_no_role_for_draws(bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 8 edges and 3 penalties: a penalty at a time, one draw at a time, two draws at a time."""
    part = random_part((3, 2, 1))
    x, y = examples(part)
    gated, evaluator = [], gates.outputs_of_circuits

    def counted(part: object, values: torch.Tensor, *rest: object) -> torch.Tensor:
        gated.append(values.numel())
        return evaluator(part, values, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(gates, "outputs_of_circuits", counted)
    at_once = gated_circuits(part, x, y, "mean", TRAINING, generators=generators(1, 2, 3))
    assert max(gated) == 3 * 3 * 8
    gated.clear()
    monkeypatch.setattr(gates, "GATED_AT_ONCE", bound)
    found = gated_circuits(part, x, y, "mean", TRAINING, generators=generators(1, 2, 3))
    assert max(gated) == max(8, bound // 24 * 24)
    if bound > 1:
        assert np.array_equal(found, at_once)
    assert [circuits.shape for circuits in found] == [(3, 8)] * 3


@pytest.mark.parametrize("numbers", [1, 200])
def test_steps_that_are_drawn_together_play_no_role(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    part = random_part((3, 2, 1))
    x, y = examples(part)
    given = (part, x, y, "zero", TRAINING)
    start = Edges(part.sizes).full
    at_once = trained_gates(*given, loss=None, generators=generators(1, 2), start=start)
    monkeypatch.setattr(gates, "NUMBERS_AT_ONCE", numbers)
    assert np.array_equal(trained_gates(*given, loss=None, generators=generators(1, 2), start=start), at_once)


def test_a_schedule_by_hand() -> None:
    """Of 20 steps the rate rises in the first 2, the penalty from step 5 to step 15."""
    training = Training("loss", (1.0,), 20, 0.2, 0.0, rate_rises=0.1, penalty_rises=(0.25, 0.75))
    assert [training.rate(step) for step in (0, 1, 2, 19)] == pytest.approx([0.0, 0.1, 0.2, 0.2])
    assert [training.penalty(step) for step in (0, 5, 6, 10, 15, 19)] == pytest.approx([0, 0, 0.1, 0.5, 1, 1])
    assert [(TRAINING.rate(step), TRAINING.penalty(step)) for step in (0, 49)] == [(0.1, 1.0)] * 2
    assert risen(0.0, 0.0, 0.0) == 1.0


def test_passes_count_a_batch_as_its_share_of_the_examples() -> None:
    assert TRAINING.n_passes(100) == 150  # 50 steps for 3 penalties, each on as many examples as there are
    assert TRAINING.n_passes(512) == 75

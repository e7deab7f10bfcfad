"""The answer of an ablation: which orders it says, from rows and answers that are made by hand."""

from __future__ import annotations

from typing import Any

import torch

from mi_runner.experiments.ablation.answers import answer
from mi_runner.methods.ablation import Ablations
from mi_runner.methods.replacements import Ablation


def ablated(intact: list[int], *of: tuple[str, str, list[list[int]]]) -> Ablations:
    """Ablations whose draws answer these examples correctly."""

    def row(target: str, method: str, repeat: int, correct: list[int]) -> dict[str, Any]:
        accuracy = sum(correct) / len(correct)
        ends = {"accuracy_low": accuracy / 2, "accuracy_high": (1 + accuracy) / 2}
        return {"target": target, "method": method, "repeat": repeat, "accuracy": accuracy, **ends}

    found = Ablations([row("none", "none", 1, intact)], correct={None: torch.tensor(intact).bool()})
    for target, method, draws in of:
        for repeat, correct in enumerate(draws, 1):
            found.rows.append(row(target, method, repeat, correct))
            found.correct[Ablation(target, method, repeat)] = torch.tensor(correct).bool()  # type: ignore[arg-type]
    return found


def said(found: Ablations, *, is_population: bool = False) -> str:
    return answer(found, found.rows, is_population=is_population)


TEST = " The test is paired over 40 test examples, corrected for all pairs, at 5 %: what it doesn't tell apart ties."
PERFECT = [1] * 40


def test_the_lowest_and_the_highest_are_named_with_what_ties() -> None:
    found = ablated(
        PERFECT,
        ("a", "zero", [[1] * 10 + [0] * 30]),
        ("b", "zero", [[1] * 11 + [0] * 29]),
        ("c", "zero", [[1] * 30 + [0] * 10]),
    )
    assert said(found) == (
        "The intact network's accuracy is 1 (0.5 to 1). Of 3 ablations the lowest is 0.25, after a by zero; b by zero "
        f"(0.275) ties with it. The highest is 0.75, after c by zero.{TEST}"
    )


def test_an_ablation_that_changes_nothing_or_helps_is_said_to() -> None:
    low, helped = [0] * 40, [1] * 39 + [0]
    found = ablated([1] * 20 + [0] * 20, ("a", "zero", [low]), ("b", "mean", [helped]))
    assert "The highest is 0.975, after b by mean, above the intact network's." in said(found)
    found = ablated(PERFECT, ("a", "zero", [low]), ("b", "mean", [helped]))
    assert "The highest is 0.975, after b by mean, not told apart from the intact network's." in said(found)


def test_no_order_is_said_of_ablations_that_the_test_does_not_tell_apart() -> None:
    found = ablated(PERFECT, ("a", "zero", [[0] * 20 + [1] * 20]), ("b", "zero", [[1] * 18 + [0] * 22]))
    assert said(found) == (
        "The intact network's accuracy is 1 (0.5 to 1). After 2 ablations it is 0.45 (b by zero) to 0.5 (a by zero), "
        f"and no two of them are told apart; all are told apart from the intact network.{TEST}"
    )
    found = ablated(PERFECT, ("a", "zero", [[0] + [1] * 39]), ("b", "zero", [[1] * 38 + [0] * 2]))
    assert "and no two of them are told apart; none is told apart from the intact network." in said(found)


def test_ablations_of_one_accuracy_are_said_together() -> None:
    found = ablated(PERFECT, ("a", "zero", [PERFECT]), ("b", "zero", [PERFECT]))
    assert "After each of 2 ablations it is 1, not told apart from the intact network's." in said(found)


def test_one_ablation_keeps_its_interval_and_draws_are_averaged() -> None:
    half = [1] * 20 + [0] * 20
    found = said(ablated(PERFECT, ("a", "zero", [half])))
    assert "After ablating a by zero it is 0.5 (0.25 to 0.75)." in found and "corrected" not in found
    found = said(ablated(PERFECT, ("a", "resample", [half, [0] * 40])))
    assert "it is 0.25, the mean of 2 draws from 0 to 0.5." in found


def test_of_all_boolean_inputs_unequal_accuracies_differ() -> None:
    found = ablated([1] * 4, ("a", "zero", [[1, 1, 0, 0]]), ("b", "zero", [[1, 1, 1, 0]]))
    assert said(found, is_population=True) == (
        "The intact network's accuracy is 1 (0.5 to 1). Of 2 ablations the lowest is 0.5, after a by zero. The highest "
        "is 0.75, after b by zero. The test examples are all inputs there are, so there is nothing to test."
    )


def test_nothing_ablated_is_the_intact_network_alone() -> None:
    assert said(ablated([1, 0])) == "The intact network's accuracy is 0.5 (0.25 to 0.75)."

"""Which set of variables the answer of probes names, from scores and examples that are made by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mi_runner.experiments.probes.answers import answer

N = 40


def cell(site: str, variables: str, correct: int, of_input: int | None) -> tuple[dict[str, Any], dict[Any, Tensor]]:
    """A row of the overview, and the held-out examples that the probe and that of the raw input answer correctly."""

    def examples(n: int) -> Tensor:
        return (torch.arange(N) < n).double()

    row = {
        **{"site": site, "variables": variables, "measure": "accuracy", "score": correct / N, "low": 0.1, "high": 0.9},
        **{"untrained": None, "shuffled": 0.25, "input": None if of_input is None else of_input / N},
    }
    by_example = {(site, variables, "none"): examples(correct)}
    return row, by_example if of_input is None else by_example | {("", variables, "input"): examples(of_input)}


def said(*cells: tuple[dict[str, Any], dict[Any, Tensor]]) -> str:
    return answer([row for row, _ in cells], {key: of for _, own in cells for key, of in own.items()})


TEST = "The test is paired over 40 examples, corrected for all pairs, at 5 %: what it doesn't tell apart ties."


def test_the_largest_gain_over_the_raw_input_is_named_with_what_ties() -> None:
    assert said(cell("first", "a", 40, 20), cell("second", "a", 39, 20), cell("first", "b", 20, 20)) == (
        "Of 3 sets of variables at a site, a at first gains most over the raw input, 0.5; a at second ties with it. "
        f"The probe's accuracy there is 1, beside 0.25 of shuffled variables, 0.5 of the raw input. {TEST}"
    )


def test_a_high_score_that_the_raw_input_has_too_is_no_gain() -> None:
    found = said(cell("first", "a", 40, 40), cell("first", "b", 21, 20))
    assert "none is told apart from the raw input; the largest gain over it is 0.025, that of b at first; a at" in found
    found = said(cell("first", "a", 10, 40), cell("first", "b", 20, 40))
    assert "each is read worse than from the raw input, b at first least so, by 0.5." in found


def test_without_the_control_the_highest_score_is_named() -> None:
    found = said(cell("first", "a", 39, None), cell("first", "b", 10, None))
    assert found.startswith(
        "Of 2 sets of variables at a site, a at first is read best. The probe's accuracy there is 0.975"
    )


def test_one_set_at_one_site_has_its_interval() -> None:
    assert said(cell("first", "a", 30, 20)) == (
        "The accuracy of the probe of a at first is 0.75 (0.1 to 0.9), beside 0.25 of shuffled variables, 0.5 of the "
        "raw input."
    )
    row, by_example = cell("first", "a", 30, None)
    assert answer([{**row, "score": float("nan")}], by_example) == ""

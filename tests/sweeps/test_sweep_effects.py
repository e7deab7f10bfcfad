"""What a swept key changes: the means by value, over the seeds that all values have, and a paired test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from mi_runner.config.engine_schemas import OptunaSweeper
from mi_runner.runs.plan import Job, Plan, Value
from mi_runner.runs.record import RunRecord
from mi_runner.runs.states import State
from mi_runner.sweeps.sweep_effects import sentences
from mi_runner.sweeps.sweep_tables import Ended

PLAN = Plan(
    command="", overrides=(), swept=("model", "seed"), base={"experiment": "ablation"}, code="", jobs=(), left_out=()
)


def job(number: int, accuracy: float | None, *, experiment: str = "ablation", start: str = "", **swept: Value) -> Ended:
    record = replace(
        RunRecord(),
        experiment=experiment,
        metrics={} if accuracy is None else {"accuracy": accuracy},
        starts={"0": start or str(number)},
    )
    return Ended(Job(number, (), swept, "hash"), State("done", "", 0, record), Path(str(number)))


def jobs(values: dict[str, Iterable[float]]) -> list[Ended]:
    """Jobs of each model and seed, with these accuracies."""
    rows = [(model, seed, of) for model, each in values.items() for seed, of in enumerate(each)]
    return [job(number, of, model=model, seed=seed) for number, (model, seed, of) in enumerate(rows)]


def test_a_difference_in_all_of_six_seeds_is_told_apart() -> None:
    found = jobs({"skip": [0.5, 0.6, 0.7, 0.8, 0.9, 0.4], "mlp": [0.6, 0.7, 0.8, 0.9, 1.0, 0.5]})
    assert sentences(found, PLAN) == [
        "model: mean accuracy is 0.75 with mlp and 0.65 with skip, told apart with p = 0.031. "  # 2 / 2^6
        "The test is paired over 6 seeds at 5 %: what it doesn't tell apart ties."
    ]


def test_a_difference_that_goes_both_ways_is_not_told_apart() -> None:
    found = jobs({"skip": [0.5, 0.6, 0.7, 0.8, 0.9, 0.4], "mlp": [0.6, 0.5, 0.8, 0.7, 1.0, 0.3]})
    (said,) = sentences(found, PLAN)
    assert said.startswith("model: no two of its 2 values are told apart by mean accuracy, from 0.65 (")


def test_of_three_values_the_ends_are_named_with_those_that_tie() -> None:
    low = [0.5, 0.6, 0.7, 0.8, 0.9, 0.4, 0.45, 0.55]
    found = jobs({"a": low, "b": [x + (-1) ** n * 0.01 for n, x in enumerate(low)], "c": [x + 0.1 for x in low]})
    (said,) = sentences(found, PLAN)
    assert said.startswith(
        "model: the lowest mean accuracy is 0.6125, that of a and b; the highest is 0.7125, that of c."
    )
    assert "paired over 8 seeds, corrected for all pairs," in said


def test_few_seeds_one_run_and_equal_values_say_so() -> None:
    few = "model: mean accuracy is 0.5 with a and 0.7 with b. The 3 seeds can't tell values apart: it takes 6 or more."
    assert sentences(jobs({"a": [0.4, 0.5, 0.6], "b": [0.6, 0.7, 0.8]}), PLAN) == [few]
    (one,) = sentences(jobs({"a": [0.5], "b": [0.75]}), PLAN)
    assert one == (
        "model: accuracy is 0.5 with a and 0.75 with b. "
        "One run of each value tells none apart: sweep the seed too, as with seed=range(6)."
    )
    assert sentences(jobs({"a": [0.5, 1.0], "b": [0.5, 1.0]}), PLAN) == [
        "model: mean accuracy is 0.75 with each of a and b."
    ]


def test_a_seed_without_a_value_is_left_out_for_all_values() -> None:
    found = jobs({"a": [0.4, 0.5, 0.6], "b": [0.6, 0.7, 0.8]})
    assert (
        "is 0.45 with a and 0.65 with b. The 2 seeds"
        in sentences([*found[:5], job(5, None, model="b", seed=2)], PLAN)[0]
    )
    assert sentences([*found[:3], job(3, 0.5, model="b", seed=7)], PLAN) == []  # no seed has both


def test_of_several_keys_each_is_a_mean_over_the_others() -> None:
    found = [
        job(n, of, model=model, width=width, seed=0)
        for n, (model, width, of) in enumerate([("a", 1, 0.1), ("a", 2, 0.3), ("b", 1, 0.5), ("b", 2, 0.9)])
    ]
    by_model, by_width = sentences(found, replace(PLAN, swept=("model", "width", "seed")))
    assert "accuracy is 0.2 with a and 0.7 with b, each a mean over width." in by_model
    assert "accuracy is 0.3 with 1 and 0.6 with 2, each a mean over model." in by_width


def test_seeds_of_one_network_are_no_sample() -> None:
    found = [
        job(n, 0.1 * n, model=model, seed=seed, start="one")
        for n, (model, seed) in enumerate((model, seed) for model in "ab" for seed in range(7))
    ]
    assert "There is no test, because several seeds have one network." in sentences(found, PLAN)[0]


@pytest.mark.parametrize("why", ["search", "experiments", "failed"])
def test_what_can_not_be_compared_has_no_sentence(why: str) -> None:
    found = jobs({"a": [0.4, 0.5], "b": [0.6, 0.7]})
    plan = replace(PLAN, search=OptunaSweeper()) if why == "search" else PLAN
    if why == "experiments":
        found[0] = job(0, 0.4, experiment="train", model="a", seed=0)
    if why == "failed":
        found = [
            replace(one, state=replace(one.state, status="failed")) if one.job.swept["model"] == "a" else one
            for one in found
        ]
    assert sentences(found, plan) == []

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
        "model: mean accuracy is 0.65 with skip and 0.75 with mlp, told apart (p = 0.03125). "  # 2 / 2^6
        "The test is paired over 6 seeds at 5 %: what it doesn't tell apart ties."
    ]


def test_a_difference_that_goes_both_ways_is_not_told_apart() -> None:
    found = jobs({"skip": [0.5, 0.6, 0.7, 0.8, 0.9, 0.4], "mlp": [0.6, 0.5, 0.8, 0.7, 1.0, 0.3]})
    (said,) = sentences(found, PLAN)
    assert said.startswith("model: mean accuracy is 0.65 with skip and 0.65 with mlp, not told apart (p = 1).")


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


def of_methods(values: dict[str, dict[str, list[float]]]) -> list[Ended]:
    """Jobs of experiment=discovery: objective → method → the regret of each seed; the accuracy is always the same."""
    made = []
    for objective, of_each in values.items():
        for seed in range(len(next(iter(of_each.values())))):
            one = job(len(made), 1.0, experiment="discovery", objective=objective, seed=seed)
            metrics = {"accuracy": 1.0, **{f"regret_mse/{name}/zero": of[seed] for name, of in of_each.items()}}
            made.append(replace(one, state=replace(one.state, record=replace(one.state.record, metrics=metrics))))
    return made


def test_of_a_measure_with_parts_those_are_named_that_the_key_changes() -> None:
    low = [0.1 + 0.01 * seed for seed in range(8)]
    high = [0.2 + 0.02 * seed for seed in range(8)]
    found = of_methods({"distance": {"eap": low, "greedy": low}, "loss": {"eap": high, "greedy": low}})
    assert sentences(found, PLAN) == [
        "objective: of the regret_mse of 2 methods and ablations, values are told apart by 1: eap/zero "
        "(0.135 with distance and 0.27 with loss; p = 0.01562). "  # 2 / 2^8, twice by Holm
        "The test is paired over 8 seeds, corrected for all of them, at 5 %."
    ]
    few = of_methods({"distance": {"eap": low[:2], "greedy": low[:2]}, "loss": {"eap": high[:2], "greedy": low[:2]}})
    assert sentences(few, PLAN) == [
        "objective: regret_mse of 2 methods and ablations is 0.105 to 0.105 with distance and 0.105 to 0.21 with loss. "
        "The 2 seeds can't tell values apart: it takes 6 or more."
    ]
    same = of_methods({"distance": {"eap": low, "greedy": low}, "loss": {"eap": low, "greedy": low}})
    assert sentences(same, PLAN) == ["objective: it changes none of the regret_mse of 2 methods and ablations."]

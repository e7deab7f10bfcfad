"""What the circuits of two runs share, in a table and in sentences: against sets of circuits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mi_runner.config.experiments.circuit_options import CircuitInputs, EdgeAblation
from mi_runner.config.experiments.circuits import CircuitsConfig, CircuitTable
from mi_runner.errors import ConfigError
from mi_runner.experiments import Result, Setting, TwoRuns
from mi_runner.experiments.circuits import experiment as circuits_experiment
from mi_runner.experiments.circuits import shared
from mi_runner.experiments.circuits.comparison import compare_networks
from mi_runner.experiments.circuits.shared import compare_two
from mi_runner.models.mlp import MLP
from mi_runner.training.options import TrainingOptions
from tests.circuit_runs import InMemory, networks, searched
from tests.small_data import classes, values

ANY, MEAN = CircuitInputs["any"], EdgeAblation["mean"]


def two(first: Result, second: Result) -> TwoRuns:
    return compare_two(InMemory(first, 0, "A", "A"), InMemory(second, 0, "B", "B"))


def of(found: TwoRuns, what: str, output: int | None = None) -> dict[str, Any]:
    (row,) = (row for row in found.rows if row["what"] == what and row.get("output") == output)
    return dict(row)


def valid_of(result: Result, output: int = 0) -> np.ndarray:
    table = result.tables["circuits"]
    return table.loc[table["valid"] & (table["output"] == output), "circuit"].to_numpy(np.uint64)  # type: ignore


def of_sizes(sizes: list[int], seed: int, *, n_outputs: int = 1, **options: Any) -> Result:
    """Circuits of an untrained network of whose answers half are the targets."""
    torch.manual_seed(seed)
    model = MLP([6, *sizes, n_outputs], torch.nn.Tanh).eval()
    dataset = values(70)
    with torch.no_grad():
        outputs = model(dataset.x_test).round()
    dataset = replace(dataset, y_test=outputs if n_outputs > 1 else outputs[:, 0])
    dataset = replace(dataset, y_train=dataset.y_test)
    given = CircuitsConfig(**{"accuracy_threshold": 0.8, "last_layers": 2, "pairs": False} | options)
    return circuits_experiment.run(Setting(given, TrainingOptions(), model, dataset))


def test_a_network_and_its_permuted_copy_share_everything() -> None:
    one, copy, _ = (searched(model) for model in networks())
    for other in (copy, one):
        found = two(one, other)
        n = len(valid_of(one))
        row = of(found, shared.VALID)
        assert (row["A"], row["B"], row["both"], row["share"]) == (n, n, n, 1) and n > 1
        assert of(found, shared.BACKBONE)["share"] == of(found, shared.SMALLEST)["share"] == 1
        assert of(found, shared.SMALLEST_IN_OTHER)["A"] == of(found, shared.IN_OTHER)["B"] == 1
        assert f"Of {n:,} valid circuits of A and {n:,} of B, {n:,} are valid in both" in found.answer
        assert found.brief == found.rows and len(found.rows) < 10
        ((edges, _),) = found.details.values()
        assert [row["A"] for row in edges] == [row["B"] for row in edges] and len(edges) == 3 * 2 + 2 * 2 + 2
    row = of(two(one, copy), shared.VALID)
    assert row["random"] < row["both"] and "if units are matched at random" in two(one, copy).answer
    assert "7 of 7 matched units correlate by 0.9 or more" in two(one, copy).answer
    same = two(one, one)
    assert "have the same weights" in same.answer and of(same, shared.VALID)["random"] is None
    elsewhere = searched(networks()[0])
    elsewhere.tables["circuits"].attrs["test_examples"] = "others"  # type: ignore
    assert of(two(one, elsewhere), shared.VALID)["both"] == len(valid_of(one))  # the weights say which unit is which


def test_two_unrelated_networks() -> None:
    first, second = of_sizes([], 0, last_layers=1, inputs=ANY), of_sizes([], 1, last_layers=1, inputs=ANY)
    found = two(first, second)  # a single layer: no unit is matched, edges have their names
    one, other = set(valid_of(first).tolist()), set(valid_of(second).tolist())
    row = of(found, shared.VALID)
    assert (row["A"], row["B"], row["both"]) == (len(one), len(other), len(one & other)) and row["random"] is None
    assert "There are no units to match." in found.answer
    backbones = [int(np.bitwise_and.reduce(list(circuits))) for circuits in (one, other)]
    row = of(found, shared.BACKBONE)
    assert [row["A"], row["B"], row["both"]] == [
        backbones[0].bit_count(), backbones[1].bit_count(), (backbones[0] & backbones[1]).bit_count()
    ]  # fmt: skip
    row = of(found, shared.FEWEST)
    assert [row["A"], row["B"]] == [min(bits.bit_count() for bits in circuits) for circuits in (one, other)]


def test_networks_of_other_sizes_have_no_common_names() -> None:
    first, second = of_sizes([3, 2], 0), of_sizes([3, 3], 1)
    found = two(first, second)
    assert "A has layers of 3-2-1 neurons and B of 3-3-1" in found.answer and "can't be matched" in found.answer
    assert set(found.rows[0]) == {"what", "A", "B"} and not any(rows for rows, _ in found.details.values())
    assert of(found, shared.VALID)["A"] == len(valid_of(first))
    assert of(found, shared.OF_ALL)["B"] == len(valid_of(second)) / second.metrics["n_circuits"]
    compared = compare_networks([InMemory(first, 0), InMemory(second, 1)], over="checkpoint", are_sample=False)
    assert list(compared.tables) == ["shared"] and "can't be matched" in compared.answer and not compared.notes


def test_other_choices_and_other_examples_are_named() -> None:
    one, copy, _ = networks()
    found = two(searched(one), searched(one, ablation=MEAN))
    assert found.answer.startswith("A has experiment.ablation=zero and B has experiment.ablation=mean: a circuit may")
    elsewhere = searched(copy)
    elsewhere.tables["circuits"].attrs["test_examples"] = "others"  # type: ignore
    elsewhere.tensors["circuits"]["x"] += 1  # type: ignore
    found = two(searched(one), elsewhere)
    assert "found on different examples, so units can't be matched" in found.answer
    assert "both" not in found.rows[0]
    with pytest.raises(ConfigError, match="B has no circuits.parquet. Type experiment.table=auto"):
        two(searched(one), searched(copy, table=CircuitTable["none"]))


def test_each_of_several_outputs_by_itself() -> None:
    first, second = (of_sizes([2, 2], seed, n_outputs=2, accuracy_threshold=0.6) for seed in (0, 1))
    found = two(first, second)
    for output in (0, 1):
        assert f"Output {output}: " in found.answer
        assert of(found, shared.VALID, output)["A"] == len(valid_of(first, output))
    assert {row["what"] for row in found.brief} == set(shared.FIRST_SHOWN) and len(found.brief) == 6
    many = two(*(of_sizes([2, 2], seed, n_outputs=4, accuracy_threshold=0.6) for seed in (0, 1)))
    assert "Of 4 outputs, each analysed by itself, " in many.answer and len(many.brief) == 4 < len(many.rows)
    fewer = two(first, of_sizes([2, 2], 0, accuracy_threshold=0.6))
    assert "can't be matched" in fewer.answer  # the output layers differ


def test_of_a_sample_the_answer_says_what_is_known() -> None:
    options = {"inputs": ANY, "accuracy_threshold": 0.5, "last_layers": 2}
    whole, same = (of_sizes([3, 3], 0, **options, **more) for more in ({}, {"max_table_rows": 9}))
    n = len(valid_of(whole))
    assert len(valid_of(same)) == 9 < n == same.metrics["n_valid"]
    found = two(whole, same)
    row = of(found, shared.VALID)
    assert (row["A"], row["B"], row["both"], row["random"]) == (n, n, n, None)  # each of A's is evaluated in B
    other = of_sizes([3, 3], 1, **options, max_table_rows=9)
    both = two(other, same)
    assert of(both, shared.VALID)["both"] is None and "isn't known" in both.answer
    assert "of 9 circuits of A the fraction" in both.answer and "of 9 circuits of B the fraction" in both.answer
    assert of(both, shared.BACKBONE)["B"] == of(found, shared.BACKBONE)["A"]


def test_networks_of_checkpoints_have_no_interval_unless_they_are_a_sample() -> None:
    one, copy, _ = (searched(model) for model in networks())
    runs = [InMemory(one, 0, label="a.pt"), InMemory(copy, 0, label="b.pt")]
    picked = compare_networks(runs, over="checkpoint", are_sample=False)
    assert {row["share_low"] for row in picked.tables["circuits"]} == {None}
    assert {row["checkpoint"] for row in picked.tables["matching"]} == {"b.pt"}
    assert {(row["network"], row["other"]) for row in picked.tables["shared"]} == {("a.pt", "b.pt")}
    sample = compare_networks(runs, over="checkpoint", are_sample=True)
    assert any(row["share_low"] is not None for row in sample.tables["circuits"])
    assert "valid in both" in picked.answer and "of a.pt" in picked.answer
    three = compare_networks([*runs, InMemory(one, 0, label="c.pt")], over="checkpoint", are_sample=False)
    n = len(valid_of(one))
    assert three.answer.splitlines()[0].startswith(f"a.pt and b.pt: {n:,} of {n:,} and {n:,} valid circuits are valid")
    assert len(three.answer.splitlines()) == 3
    seeds = compare_networks([InMemory(one, 0), InMemory(copy, 1), InMemory(one, 2)])
    assert seeds.answer.startswith("Output 0: the commonest of the sparsest valid circuits is in 3 of 3 networks; ")


def test_outputs_that_answer_a_class_are_compared_together() -> None:
    """A network of three classes and its copy with permuted hidden units; a sample of the copy's circuits."""
    torch.manual_seed(3)
    models = [MLP([6, 3, 2, 3], torch.nn.Tanh).eval() for _ in range(2)]
    linear = [[m for m in model.modules() if isinstance(m, torch.nn.Linear)] for model in models]
    orders = [list(range(6)), [1, 2, 0], [1, 0], [0, 1, 2]]
    dataset = classes(70)
    with torch.no_grad():
        for own, other, before, after in zip(*linear, orders, orders[1:], strict=False):
            own.weight.mul_(3)
            other.weight.copy_(own.weight[after][:, before])
            other.bias.copy_(own.bias[after])
        dataset = replace(dataset, y_test=models[0](dataset.x_test).argmax(1))

    def run(model: MLP, **options: Any) -> Result:
        given = CircuitsConfig(accuracy_threshold=0.7, last_layers=2, inputs=ANY, pairs=False, **options)
        return circuits_experiment.run(Setting(given, TrainingOptions(), model, dataset))

    one, copy = map(run, models)
    n = one.metrics["n_valid"]
    found = two(one, copy)
    row = of(found, shared.VALID)
    assert (row["A"], row["B"], row["both"]) == (n, n, n) and n > 10
    assert f"Of {n:,.0f} valid circuits of A and {n:,.0f} of B, {n:,.0f} are valid in both" in found.answer
    ((edges, _),) = found.details.values()
    assert len(edges) == 3 * 2 + 2 * 3
    sample = run(models[1], max_table_rows=7)
    assert len(sample.tables["circuits"]) == 7 and of(two(one, sample), shared.VALID)["both"] == n

"""Boolean functions: tables by hand, frequencies by counting, noise, the causal model, mistakes, and runs."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mi_runner import chance
from mi_runner.cli import command
from mi_runner.datasets import logic
from mi_runner.errors import ArgumentError


@pytest.mark.parametrize(
    ("name", "n", "table"),
    [
        ("XOR", 2, "0110"),
        ("AND", 2, "0001"),
        ("OR", 2, "0111"),
        ("IMP", 2, "1101"),
        ("NAND", 2, "1110"),
        ("NOR", 2, "1000"),
        ("NIMP", 2, "0010"),
        ("MAJORITY", 3, "00010111"),
        ("PARITY", 3, "01101001"),
        ("XOR", 3, "01101001"),
        ("AND", 4, "0" * 15 + "1"),
        ("NOR", 5, "1" + "0" * 31),
    ],
)
def test_functions_by_hand(name: str, n: int, table: str) -> None:
    assert logic.truth_table(name, n) == table
    assert logic.truth_table(table, n) == table
    loaded = logic.load(functions=[name], n_inputs=n)
    rows = [tuple(int(bit) for bit in row) for row in loaded.x_test.tolist()]
    assert rows == list(itertools.product((0, 1), repeat=n))
    assert loaded.y_test.tolist() == [float(digit) for digit in table]
    expected = dict(zip(rows, table, strict=True))
    pairs = zip(loaded.x_train.tolist(), loaded.y_train.tolist(), strict=True)
    assert all(expected[tuple(int(bit) for bit in row)] == str(int(value)) for row, value in pairs)
    assert logic.name_of(table) == ("XOR" if name == "PARITY" else name)


def test_a_table_without_a_name_is_its_own_name() -> None:
    assert logic.name_of("01100111") == "01100111"


def test_the_number_of_inputs_follows_from_the_functions() -> None:
    sizes = {("XOR",): 2, ("MAJORITY",): 3, ("XOR", "MAJORITY"): 3, ("00010111", "AND"): 3, ("PARITY",): 3}
    for functions, n in sizes.items():
        assert logic.load(functions=functions).input_shape == (n,)


def test_several_functions_are_several_outputs() -> None:
    loaded = logic.load(functions=["XOR", "AND", "1101"])
    assert loaded.y_test.tolist() == [[0, 0, 1], [1, 0, 1], [1, 0, 0], [0, 1, 1]]
    assert loaded.n_outputs == 3 and loaded.causal_model is None


@given(st.lists(st.floats(0, 5), min_size=4, max_size=4).filter(lambda row: sum(row) > 0.1), st.integers(2, 300))
def test_an_input_is_trained_on_as_often_as_its_frequency_says(frequencies: list[float], size: int) -> None:
    loaded = logic.load(frequencies=frequencies, train_size=size)
    rows, counts = loaded.x_train.unique(dim=0, return_counts=True)
    have = {tuple(row): count for row, count in zip(rows.tolist(), counts.tolist(), strict=True)}
    assert sum(have.values()) == size
    for row, frequency in zip(itertools.product((0.0, 1.0), repeat=2), frequencies, strict=True):
        assert abs(have.get(row, 0) - size * frequency / sum(frequencies)) < 1 + 1e-6


def test_frequencies_are_equal_or_drawn_by_the_seed() -> None:
    _, equal = logic.load(train_size=400).x_train.unique(dim=0, return_counts=True)
    assert equal.tolist() == [100] * 4
    drawn = [logic.load(frequencies="random", seed=seed).x_train for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_noise_is_on_training_inputs_alone() -> None:
    plain, noisy = logic.load(seed=3, train_size=4000), logic.load(seed=3, noise=0.1, train_size=4000)
    difference = noisy.x_train - plain.x_train
    assert abs(float(difference.std()) - 0.1) < 0.005 and abs(float(difference.mean())) < 0.005
    assert torch.equal(noisy.x_test, plain.x_test) and torch.equal(noisy.y_train, plain.y_train)
    assert not torch.equal(noisy.x_train, logic.load(seed=4, noise=0.1, train_size=4000).x_train)


@pytest.mark.parametrize("target", ["value", "class"])
def test_the_causal_model_gives_the_labels_and_counterfactual_ones(target: str) -> None:
    loaded = logic.load(functions=["MAJORITY"], noise=0.2, target=target)
    model = loaded.causal_model
    assert model is not None and model.variables == ("A", "B", "C")
    assert torch.equal(model.mechanism(model.values_train), loaded.y_train)
    assert torch.equal(model.mechanism(model.values_test), loaded.y_test)
    base, source = model.values_test[[0]], model.values_test[[7]]  # 000 and 111
    assert model.counterfactual(base, {"A": source}).tolist() == [0]
    assert model.counterfactual(base, {"A": source, "C": source}).tolist() == [1]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"functions": []}, r"functions=\[\]: give at least one"),
        ({"functions": ["NXOR"]}, r"no function is named NXOR\. Use AND, OR, NAND"),
        ({"functions": ["011"]}, r"011 has 3 digits\. A truth table has 4, 8, 16 or 32: functions=\[0110\]"),
        ({"functions": ["01"]}, r"01 has 2 digits"),
        ({"functions": ["0000"]}, r"0000 is constant"),
        ({"functions": ["IMP", "MAJORITY"]}, r"different numbers of inputs \(IMP has 2, MAJORITY has 3\)"),
        ({"functions": ["0110", "01101001"]}, r"different numbers of inputs"),
        ({"functions": ["0110"], "n_inputs": 3}, r"a truth table of n_inputs=3 has 8 digits, this has 4"),
        ({"functions": ["MAJORITY"], "n_inputs": 4}, r"MAJORITY has 3 or 5 inputs, not n_inputs=4"),
        ({"n_inputs": 6}, r"n_inputs=6: use 2 to 5"),
        ({"frequencies": [1, 1]}, r"give 4 numbers"),
        ({"frequencies": [0, 0, 0, 0]}, r"at least one must be above 0"),
        ({"frequencies": "equal"}, r"frequencies=equal: give null, random or a list of 4"),
        ({"functions": ["XOR", "OR"], "target": "class"}, r"target=class takes one function"),
    ],
)
def test_mistakes(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        logic.load(**options)


@pytest.mark.parametrize(
    "arguments",
    [
        ["experiment=train", "model.hidden_sizes=[4]"],
        ["experiment=train", "dataset.functions=[XOR,AND]", "dataset.noise=0.1", "dataset.frequencies=random"],
        ["experiment=iit", "model=mlp", "experiment.train_pairs=100", "experiment.test_pairs=20", "training.epochs=1"],
        ["experiment=decoder", "dataset.target=class", "experiment.min_target_accuracy=0", "experiment.epochs=1"],
    ],
    ids=["train", "several", "iit", "decoder"],
)
def test_experiments_take_it(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*arguments, "dataset=logic", "dataset.train_size=200", f"output_dir={tmp_path}"]
    assert command.main(arguments) == 0, capsys.readouterr().err
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    assert json.loads((folder / "run.json").read_text())["status"] == "done"


def test_a_mistake_names_the_option(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command.main(["dataset=logic", "dataset.functions=[011]", f"output_dir={tmp_path}"]) == 2
    assert "dataset.functions=" in capsys.readouterr().err


def test_other_functions_of_the_same_inputs() -> None:
    noisy = logic.load(functions=["XOR"], noise=2.0, train_size=40)
    other = logic.relabelled(noisy, ["0001"])
    as_and = logic.load(functions=["AND"], noise=2.0, train_size=40)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        assert torch.equal(getattr(other, name), getattr(as_and, name)), name
    two = logic.load(functions=["AND", "OR"], noise=0.1, train_size=40)
    expected = logic.load(functions=["XOR", "NOR"], noise=0.1, train_size=40)
    assert torch.equal(logic.relabelled(two, ["0110", "1000"]).y_train, expected.y_train)


def test_random_functions_are_not_constant_and_equally_likely() -> None:
    tables = logic.random_tables(2, 2800, generator=chance.generator(0, "test"))
    counts = Counter(tables)
    assert len(counts) == 14 and not {"0000", "1111"} & set(counts)
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 34.5  # chi-squared, 13 degrees, 0.1 %

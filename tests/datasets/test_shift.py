"""Inputs of other data: MNIST's other digits, points between Boolean inputs, and files, also of a table's columns."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mi_runner.config import composition
from mi_runner.datasets import Dataset, logic, mnist
from mi_runner.datasets import modular_addition as mod_add
from mi_runner.datasets.shift import read_shift, shifted_inputs
from mi_runner.errors import ArgumentError
from mi_runner.models import mlp
from mi_runner.runs.choices import load_dataset


def vectors(n: int = 3, **more: Any) -> Dataset:
    x, y = torch.arange(4.0 * n).reshape(4, n) / 8, torch.tensor([0, 1, 0, 1])
    return Dataset("mine", x, y, x, y, class_names=("no", "yes"), **more)


def written(folder: Path, text: str, name: str = "shift.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def saved(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "shift.npz", **arrays)
    return str(folder / "shift.npz")


# --- a data set's own ------------------------------------------------------------------------------------------------


def test_mnist_of_0_and_1_has_the_test_images_of_2_to_9() -> None:
    """In their order, as the network takes them; a limit of the examples doesn't shorten them."""
    every, zero_one = mnist.load(), mnist.load(digits=[1, 0], limit=20)
    x = shifted_inputs(mlp.build(zero_one).dataset, seed=0)
    assert x is not None and x.shape == (7885, 784)
    assert torch.equal(x, every.x_test[every.y_test >= 2].flatten(1))
    images = shifted_inputs(zero_one, seed=1)
    assert images is not None and torch.equal(images.flatten(1), x)


def test_other_digits_are_normalised_as_the_kept_ones() -> None:
    every = mnist.load(normalization="symmetric", target="value")
    x = shifted_inputs(mnist.load(digits=[2, 3, 4, 5, 6, 7, 8, 9], normalization="symmetric", target="value"), seed=0)
    assert x is not None and torch.equal(x, every.x_test[every.y_test < 2])


def test_images_of_other_digits_are_read_only_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    packaged = mnist._packaged
    monkeypatch.setattr(mnist, "_packaged", lambda root: calls.append(root) or packaged(root))
    loaded = mnist.load(digits=[0, 1], limit=10).flattened()
    assert len(calls) == 1
    assert shifted_inputs(loaded, seed=0) is not None and len(calls) == 2


def test_logic_has_points_between_and_beside_its_inputs() -> None:
    loaded = logic.load(functions=["MAJORITY"], limit=4)
    x, again, other = (shifted_inputs(loaded, seed=seed) for seed in (3, 3, 4))
    assert x is not None and again is not None and other is not None
    assert x.shape == (1000, 3) and torch.equal(x, again) and not torch.equal(x, other)
    assert -0.5 <= x.min() < -0.49 and 1.49 < x.max() <= 1.5
    assert x.mean(0).tolist() == pytest.approx([0.5] * 3, abs=4 * 2 / math.sqrt(12 * 1000))
    assert (x < 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert loaded.fingerprint == logic.load(functions=["MAJORITY"], seed=0, limit=4).fingerprint


def test_other_forms_of_a_data_set_keep_its_inputs_of_other_data() -> None:
    loaded = logic.load()
    x = shifted_inputs(loaded, seed=0)
    for form in (loaded.limited(3), logic.relabelled(loaded, ["0001"]), load_dataset(_config("logic"), seed=0)):
        found = shifted_inputs(form, seed=0)
        assert x is not None and found is not None and torch.equal(found, x)


def _config(name: str, *options: str) -> Any:
    return composition.compose([f"dataset={name}", *options]).dataset


def test_a_data_set_may_have_none() -> None:
    assert shifted_inputs(vectors(), seed=0) is None
    assert shifted_inputs(mnist.load(limit=5), seed=0) is None
    assert shifted_inputs(logic.load().with_inputs(torch.int64), seed=0) is None  # no integers lie between


def test_a_data_set_of_one_s_own_says_its_inputs_of_other_data() -> None:
    own = vectors(shifted=lambda seed: torch.full((2, 3), float(seed)))
    assert shifted_inputs(own, seed=7).tolist() == [[7.0] * 3] * 2  # type: ignore[union-attr]
    of_integers = shifted_inputs(replace(own, x_train=own.x_train.long(), x_test=own.x_test.long()), seed=7)
    assert of_integers is not None and of_integers.dtype is torch.int64


# --- .npz files ------------------------------------------------------------------------------------------------------


def test_an_npz_file_has_x_test_or_x(tmp_path: Path) -> None:
    x = np.arange(6).reshape(2, 3)
    assert read_shift(saved(tmp_path, x=x), vectors()).tolist() == x.tolist()
    assert read_shift(saved(tmp_path, x=x + 1, x_test=x, x_train=x + 2), vectors()).tolist() == x.tolist()
    assert read_shift(saved(tmp_path, x=x), vectors()).dtype is torch.float32


def test_images_may_be_flattened_or_not(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((2, 1, 28, 28)).astype(np.float32)
    zero_one = mnist.load(digits=[0, 1], limit=5)
    for given in (images, images[:, 0], images.reshape(2, -1)):
        for taken in (zero_one, zero_one.flattened()):
            found = read_shift(saved(tmp_path, x=given), taken)
            assert torch.equal(found, torch.from_numpy(images).reshape(2, *taken.input_shape))


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        (
            {"inputs": np.zeros((2, 3))},
            r"x_test and x missing; it has inputs. Save the inputs by numpy.savez\('shift.npz",
        ),
        ({"x": np.zeros((2, 4))}, r"x has the shape \(2, 4\); it must be \(M, 3\), as the inputs of mine"),
        ({"x_test": np.zeros((0, 3))}, r"x_test has the shape \(0, 3\)"),
        ({"x": np.array([[0, 1, np.nan]])}, r"x \(1, 3\) has NaN or infinite values"),
        ({"x": np.array([[0, 1, 1e300]])}, r"x has values that are too large for float32"),
        ({"x": np.array([["a", "b", "c"]])}, r"it must be real numbers"),
    ],
)
def test_what_an_npz_file_must_have(tmp_path: Path, arrays: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=f"^shift={re.escape(str(tmp_path))}/shift.npz: .*{text}"):
        read_shift(saved(tmp_path, **arrays), vectors())


def test_a_network_that_takes_integers_gets_integers(tmp_path: Path) -> None:
    tokens = replace(vectors(), x_train=torch.zeros(4, 3).long(), x_test=torch.zeros(4, 3).long())
    found = read_shift(saved(tmp_path, x=np.ones((2, 3))), tokens)
    assert found.dtype is torch.int64 and found.tolist() == [[1] * 3] * 2
    with pytest.raises(ArgumentError, match="x has numbers that are no integers; the inputs of mine are integers"):
        read_shift(written(tmp_path, "0.5,1,2\n"), tokens)


# --- tables of numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]]),
        ("one,two,three\n1,2,3\n", [[1, 2, 3]]),
        ("1;2.5;-3e-1\n", [[1, 2.5, -0.3]]),
        ("1\t2\t3", [[1, 2, 3]]),
    ],
)
def test_a_table_has_the_numbers_of_inputs_in_their_order(tmp_path: Path, text: str, expected: list[Any]) -> None:
    found = read_shift(written(tmp_path, text), vectors())
    assert torch.equal(found, torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("text", ["0.5\n1.5\n", "first\n0.5\n1.5\n"])
def test_a_table_may_have_a_single_column(tmp_path: Path, text: str) -> None:
    assert read_shift(written(tmp_path, text), vectors(1)).tolist() == [[0.5], [1.5]]


def test_names_decide_the_order_where_inputs_have_names(tmp_path: Path) -> None:
    named = vectors(feature_names=("a", "b", "c"))
    assert read_shift(written(tmp_path, "c,more,a,b\n3,0,1,2\n"), named).tolist() == [[1, 2, 3]]
    assert read_shift(written(tmp_path, "1,2,3\n"), named).tolist() == [[1, 2, 3]]
    frame = pd.DataFrame({"b": [2.0], "c": [3.0], "a": [1.0]})
    frame.to_parquet(tmp_path / "shift.parquet")
    assert read_shift(str(tmp_path / "shift.parquet"), named).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("text", "names", "problem"),
    [
        ("1,2\n", None, "it has 2 columns; an input of mine has 3 numbers: save a column for each, in their order"),
        ("a,b,d\n1,2,3\n", "abc", "it lacks c, of the inputs of mine; it has a, b, d. Name its columns as the inputs"),
        ("a,b,c\n1,yes,3\n", None, "the column b has 'yes', which is no number: save numbers"),
        ("1,2,\n1,2,3\n", None, r"values of the column 3 are missing in 1 rows \(row 1\): save a value"),
        ("1,2,inf\n", None, "the column 3 has infinite values: 1 of 1: save finite ones"),
        ("1,2,1e300\n", None, "x has values that are too large for float32"),
        ("a,b,c\n", None, r"it has a header \(a, b, c\) and no rows"),
        ("", None, "the file is empty"),
    ],
)
def test_what_a_table_must_have(tmp_path: Path, text: str, names: str | None, problem: str) -> None:
    dataset = vectors(feature_names=None if names is None else tuple(names))
    with pytest.raises(ArgumentError, match=f"^shift={re.escape(str(tmp_path))}/shift.csv: .*{problem}"):
        read_shift(written(tmp_path, text), dataset)


def test_errors_name_the_option_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="^other=/no/file.csv: no such file.$") as caught:
        read_shift("/no/file.csv", vectors(), argument="other")
    assert str(caught.value.as_options({"other": "experiment.other"})).startswith("experiment.other=/no/file.csv")
    (tmp_path / "latin.csv").write_bytes("ä,b,c\n1,2,3\n".encode("latin-1"))
    with pytest.raises(ArgumentError, match=r"its letters are not utf-8. Save it as UTF-8.$"):
        read_shift(str(tmp_path / "latin.csv"), vectors())


# --- columns of a table ----------------------------------------------------------------------------------------------


def patients(n: int = 40) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": draw.integers(20, 80, n),
            "pressure": np.where(draw.random(n) < 0.2, np.nan, draw.normal(120, 15, n).round(1)),
            "colour": draw.choice(["red", "green", "blue"], n),
            "code": draw.choice(["01", "1"], n),
            "smoker": draw.random(n) < 0.3,
            "outcome": np.where(draw.random(n) < 0.5, "ill", "well"),
        }
    )


def loaded(folder: Path, frame: pd.DataFrame, **how: Any) -> Dataset:
    frame.to_csv(folder / "patients.csv", index=False, **how)
    options = ["dataset.target_column=outcome", "dataset.missing=median", "dataset.categories=[code]"]
    return load_dataset(_config("table", f"dataset.path={folder}/patients.csv", *options, *DECIMAL[bool(how)]), seed=0)


DECIMAL: dict[bool, list[str]] = {True: ["dataset.decimal=comma"], False: []}
COMMAS: dict[str, Any] = {"sep": ";", "decimal": ","}


@pytest.mark.parametrize("how", [{}, COMMAS])
def test_a_table_s_columns_become_the_numbers_that_the_training_rows_decided(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    """The data set's own rows in another order of columns and rows, without the target, are its own inputs."""
    frame = patients()
    dataset = loaded(tmp_path, frame, **how)
    frame.drop(columns="outcome").iloc[::-1, ::-1].to_csv(tmp_path / "shift.csv", index=False, **how)
    found = read_shift(str(tmp_path / "shift.csv"), dataset)
    own = torch.cat([dataset.x_train, dataset.x_test])
    assert len(found) == len(own) == 40
    assert sorted(found.tolist()) == sorted(own.tolist())


def test_a_value_that_no_training_row_has_is_0_everywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mi_runner")
    dataset = loaded(tmp_path, patients())
    path = written(tmp_path, "age,pressure,colour,code,smoker,more\n50,120,pink,01,True,1\n50,120,red,1,False,2\n")
    found = read_shift(path, dataset)
    names = dataset.feature_names or ()
    rows = [dict(zip(names, row, strict=True)) for row in found.tolist()]
    assert [[row[f"colour={colour}"] for colour in ("blue", "green", "red")] for row in rows] == [[0, 0, 0], [0, 0, 1]]
    assert [(row["code=01"], row["code=1"], row["smoker"]) for row in rows] == [(1, 0, 1), (0, 1, 0)]
    assert "colour has values that no training row has (pink): its inputs are 0 there" in caplog.text
    assert "more is no input and is not taken" in caplog.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1,2,3,4,5\n", "its first line has numbers; the columns of table are age, pressure, colour, code, smoker: wr"),
        ("age,colour,code,smoker\n50,red,1,True\n", "it lacks pressure, of the inputs of table"),
        ("age,pressure,colour,code,smoker\n,1,red,1,True\n", r"values of the column age are missing in 1 rows"),
        ("age,pressure,colour,code,smoker\n50,1,,1,True\n", r"values of the column colour are missing in 1 rows"),
        ("age,pressure,colour,code,smoker\n50,1,red,1,2\n", "smoker has 2, and it is a boolean: save 0 and 1"),
        ("age,pressure,colour,code,smoker\n50,1,red,1,no\n", "the column smoker has 'no', which is no number"),
    ],
)
def test_what_the_file_for_a_table_must_have(tmp_path: Path, text: str, problem: str) -> None:
    dataset = loaded(tmp_path, patients())
    with pytest.raises(ArgumentError, match=problem):
        read_shift(written(tmp_path, text), dataset)


def test_what_stands_for_a_missing_value_is_that_of_the_training_rows(tmp_path: Path) -> None:
    dataset = loaded(tmp_path, patients())
    (column,) = (column for column in dataset.columns or () if column.name == "pressure")
    assert column.filled is not None and column.mean is not None and column.scale is not None
    path = written(tmp_path, "age,pressure,colour,code,smoker\n50,,red,1,0\n")
    (found,) = read_shift(path, dataset)[:, column.inputs[0]].tolist()
    assert found == pytest.approx((float(column.filled) - column.mean) / column.scale)


def test_terms_of_modular_addition_are_columns_too(tmp_path: Path) -> None:
    found = read_shift(written(tmp_path, "a,b\n2,0\n"), mod_add.load(modulus=3, train_size=9, test_size=9))
    assert found.tolist() == [[0, 0, 1, 1, 0, 0]]

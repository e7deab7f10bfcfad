"""Tables of one's own: the numbers by pandas and scikit-learn by hand, and what is refused, with what to type."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mi_runner.config import composition
from mi_runner.datasets import Dataset, table
from mi_runner.errors import ArgumentError, ConfigError
from mi_runner.runs.choices import load_dataset
from tests.conftest import Ended

N = 60


def patients(n: int = N) -> pd.DataFrame:
    """Numbers, a category, a boolean and two classes."""
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": draw.integers(20, 80, n),
            "blood pressure": draw.normal(120, 15, n).round(1),
            "colour": draw.choice(["red", "green", "blue"], n),
            "smoker": draw.random(n) < 0.3,
            "outcome": np.where(draw.random(n) < 0.4, "ill", "well"),
        }
    )


def saved(folder: Path, frame: pd.DataFrame, name: str = "patients.csv", **how: Any) -> Path:
    path = folder / name
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, **how)
    return path


def typed(path: Path, *options: str) -> Dataset:
    """The data set of a command."""
    command = ["dataset=table", f"dataset.path={path}", "dataset.target_column=outcome", *options]
    return load_dataset(composition.compose(command).dataset, seed=0)


def by_hand(train: pd.DataFrame, test: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of both tables, by scikit-learn, in the order of the columns."""
    made = ColumnTransformer(
        [
            ("age", StandardScaler(), ["age", "blood pressure"]),
            ("colour", OneHotEncoder(sparse_output=False), ["colour"]),
            ("smoker", "passthrough", ["smoker"]),
        ]
    ).fit(train)
    return made.transform(train).astype(np.float32), made.transform(test).astype(np.float32)


def split(frame: pd.DataFrame, share: float = 0.2, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    train, test = train_test_split(frame, test_size=share, random_state=seed, stratify=frame["outcome"])
    return train, test


# --- the numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["patients.csv", "patients.parquet", "patients.txt", "patients.csv.gz"])
def test_the_numbers_are_those_of_scikit_learn_by_hand(name: str, tmp_path: Path) -> None:
    frame = patients()
    loaded = typed(saved(tmp_path, frame, name))
    train, test = split(frame)
    x_train, x_test = by_hand(train, test)
    assert np.array_equal(loaded.x_train.numpy(), x_train) and np.array_equal(loaded.x_test.numpy(), x_test)
    assert loaded.feature_names == ("age", "blood pressure", "colour=blue", "colour=green", "colour=red", "smoker")
    assert loaded.class_names == ("ill", "well") and loaded.label_name == "outcome"
    assert loaded.y_test.tolist() == (test["outcome"] == "well").astype(int).tolist()
    assert [(one.name, one.inputs) for one in loaded.features] == [
        ("age", (0,)),
        ("blood pressure", (1,)),
        ("colour", (2, 3, 4)),
        ("smoker", (5,)),
    ]


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolon"), ("\t", "tab"), ("|", "bar")])
def test_separators_and_marks_change_nothing(separator: str, word: str, tmp_path: Path) -> None:
    expected = typed(saved(tmp_path, patients()))
    decimal = "," if separator == ";" else "."
    path = saved(tmp_path, patients(), "other.csv", sep=separator, decimal=decimal, encoding="utf-8-sig")
    options = [f"dataset.separator={word}"] if word == "bar" else []
    loaded = typed(path, *options, *(["dataset.decimal=comma"] if decimal == "," else []))
    assert torch.equal(loaded.x_train, expected.x_train) and loaded.feature_names == expected.feature_names


def test_two_files_are_training_and_test_whatever_the_order_of_their_columns(tmp_path: Path) -> None:
    train, test = split(patients())
    options = [f"dataset.test_path={saved(tmp_path, test[test.columns[::-1]], 'test.csv')}"]
    loaded = typed(saved(tmp_path, train, "train.csv"), *options)
    x_train, x_test = by_hand(train, test)
    assert np.array_equal(loaded.x_train.numpy(), x_train) and np.array_equal(loaded.x_test.numpy(), x_test)


def test_test_rows_are_drawn_by_their_own_seed_of_each_class_alike(tmp_path: Path) -> None:
    path = saved(tmp_path, patients(200))
    options = ["dataset=table", f"dataset.path={path}", "dataset.target_column=outcome"]
    config = composition.compose(options).dataset
    first, again = (load_dataset(config, seed=seed) for seed in (0, 1))
    assert first.fingerprint == again.fingerprint and not config.drawn
    other = typed(path, "dataset.split_seed=1")
    assert other.fingerprint != first.fingerprint
    counts = patients(200)["outcome"].value_counts()
    for loaded in (first, other, typed(path, "dataset.test_share=0.3")):
        share = len(loaded.y_test) / 200
        for number, name in enumerate(("ill", "well")):
            assert abs(int((loaded.y_test == number).sum()) - share * counts[name]) < 1
    assert len(typed(path, "dataset.test_share=0.3").y_test) == 60


def test_a_value_is_taken_as_it_is(tmp_path: Path) -> None:
    frame = patients().assign(outcome=np.arange(N) / 7)
    loaded = typed(saved(tmp_path, frame), "dataset.target=value")
    test = train_test_split(frame, test_size=0.2, random_state=0)[1]
    assert loaded.class_names is None and loaded.y_train.dtype == torch.float32
    assert np.array_equal(loaded.y_test.numpy(), test["outcome"].to_numpy(np.float32))


@pytest.mark.parametrize(
    ("labels", "names"),
    [([2, 10], ("2", "10")), ([-1, 1], ("-1", "1")), ([0.0, 1.0], ("0", "1")), ([True, False], ("False", "True"))],
)
def test_classes_are_named_by_what_the_column_has(labels: list[Any], names: tuple[str, ...], tmp_path: Path) -> None:
    loaded = typed(saved(tmp_path, patients().assign(outcome=np.array(labels)[np.arange(N) % 2])))
    assert loaded.class_names == names


def test_what_run_json_keeps_undoes_the_preparation(tmp_path: Path, mi_run: Callable[..., Ended]) -> None:
    frame = patients()
    path = saved(tmp_path, frame)
    ended = mi_run("dataset=table", f"dataset.path={path}", "dataset.target_column=outcome", "training.epochs=1")
    data = ended.record["data"]
    loaded = typed(path)
    assert (data["feature_names"], data["class_names"]) == (list(loaded.feature_names or ()), ["ill", "well"])
    x, made = loaded.x_train.double().numpy(), {}
    for column in data["columns"]:
        own = x[:, column["inputs"]]
        if column["kind"] == "category":
            made[column["name"]] = np.array(column["categories"])[own.argmax(1)]
        elif column["kind"] == "number":
            made[column["name"]] = own[:, 0] * column["scale"] + column["mean"]
        else:
            made[column["name"]] = own[:, 0] == 1
    train, _ = split(frame)
    assert (made["colour"] == train["colour"].to_numpy()).all() and (made["smoker"] == train["smoker"]).all()
    assert np.allclose(made["age"], train["age"], atol=1e-4)
    assert np.allclose(made["blood pressure"], train["blood pressure"], atol=1e-4)


def test_numbers_stay_as_they_are_where_they_are_not_standardised(tmp_path: Path) -> None:
    loaded = typed(saved(tmp_path, patients()), "dataset.standardize=false")
    train, _ = split(patients())
    assert loaded.x_train[:, 0].tolist() == train["age"].tolist()
    assert loaded.columns is not None and (loaded.columns[0].mean, loaded.columns[0].scale) == (0.0, 1.0)


def test_columns_of_numbers_are_categories_where_they_are_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "zip.csv"
    path.write_text("zip,year,outcome\n" + "".join(f"0{1230 + n % 3},{2000 + n % 2},{n % 2}\n" for n in range(30)))
    loaded = typed(path, "dataset.categories=[zip,year]")
    assert loaded.feature_names == ("zip=01230", "zip=01231", "zip=01232", "year=2000", "year=2001")
    frame = pd.read_csv(path)
    own = typed(saved(tmp_path, frame, "zip.parquet"), "dataset.categories=[zip,year]")
    assert own.feature_names == ("zip=1230", "zip=1231", "zip=1232", "year=2000", "year=2001")
    assert torch.equal(own.x_train, loaded.x_train)


# --- missing values ------------------------------------------------------------------------------------------------


def lacking() -> pd.DataFrame:
    frame = patients().astype({"age": float, "smoker": object})
    frame.loc[[0, 5], "age"], frame.loc[7, "colour"], frame.loc[[3, 9, 11], "smoker"] = None, None, None
    return frame


def test_missing_values_are_refused_with_their_columns_and_counts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        typed(saved(tmp_path, lacking()))
    text = str(caught.value)
    assert "values are missing in age (2), colour (1), smoker (3) of 60 rows" in text
    assert "dataset.missing=mean|median|most_frequent|leave_out_rows" in text
    assert typed(tmp_path / "patients.csv", *re.findall(r"dataset\.leave_out=\[\S*\]", text)).feature_names == (
        "blood pressure",
    )


@pytest.mark.parametrize("name", ["patients.csv", "patients.parquet"])
@pytest.mark.parametrize("missing", ["mean", "median", "most_frequent"])
def test_missing_values_get_what_the_training_rows_have(missing: str, name: str, tmp_path: Path) -> None:
    frame = lacking()
    loaded = typed(saved(tmp_path, frame, name), f"dataset.missing={missing}")
    train = split(frame)[0]
    ages = {"mean": train["age"].mean(), "median": train["age"].median(), "most_frequent": train["age"].mode()[0]}
    columns = {column.name: column for column in loaded.columns or ()}
    assert columns["age"].filled == pytest.approx(ages[missing])
    assert columns["smoker"].filled == float(train["smoker"].mode()[0]) and columns["blood pressure"].filled is None
    filled = train.fillna({"age": ages[missing]})
    standard = (filled["age"] - filled["age"].mean()) / filled["age"].std(ddof=0)
    assert np.allclose(loaded.x_train[:, 0].numpy(), standard, atol=1e-6)
    names = loaded.feature_names or ()
    if missing == "most_frequent":
        assert columns["colour"].filled == train["colour"].mode()[0] and "colour=(missing)" not in names
    else:
        row = list(train.index).index(7)
        assert columns["colour"].filled == "(missing)" and loaded.x_train[row, names.index("colour=(missing)")] == 1


def test_rows_that_lack_a_value_are_left_out_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = lacking()
    frame.loc[20, "outcome"] = None
    loaded = typed(saved(tmp_path, frame), "dataset.missing=leave_out_rows")
    assert len(loaded.x_train) + len(loaded.x_test) == len(frame.dropna()) == 53
    assert "7 of 60 rows lack a value and are left out; 53 stay" in caplog.text


def test_a_text_that_means_missing_is_named(tmp_path: Path) -> None:
    frame = patients().astype({"age": object})
    frame.loc[[1, 2], "age"] = "?"
    with pytest.raises(ConfigError, match=r"the column age has 58 numbers and 2 texts: \?\.") as caught:
        typed(saved(tmp_path, frame))
    (option,) = re.findall(r"type ('dataset\.missing_values=.*?'),", str(caught.value))
    loaded = typed(tmp_path / "patients.csv", *shlex.split(option), "dataset.missing=median")
    assert [column.filled is not None for column in loaded.columns or ()] == [True, False, False, False]


# --- what is refused -----------------------------------------------------------------------------------------------

ROWS = [f"{n % 7},{'red' if n % 3 else 'blue'},{n % 2}" for n in range(40)]
HEAD = "n,colour,outcome"


def text(*columns: Callable[[int], object], head: str) -> str:
    return "\n".join([head, *(",".join(str(column(n)) for column in columns) for n in range(40))])


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "no such column": (
        "\n".join(["n,colour,result", *ROWS]),
        "no column is named 'outcome'. Allowed: n, colour, result.",
    ),
    "two columns of a name": (
        "\n".join(["n,n,outcome", *ROWS]),
        "several columns have one name: n. Give each its own.",
    ),
    "a column without a name": ("\n".join(["n,,outcome", *ROWS]), "column 2 of 3 has no name: give it one."),
    "row names": ("\n".join([",colour,outcome", *ROWS]), "the first column has no name, and doesn't number the rows"),
    "no rows": (HEAD + "\n", "it has a header (n, colour, outcome) and no rows."),
    "an empty file": ("", "the file is empty."),
    "no header": ("1,2,3\n4,5,6\n", "its first line has numbers (1, 2, 3), no names of columns"),
    "one column": ("outcome\n1\n2\n", "its first line has one column between commas, semicolons or tabs"),
    "a longer row": ("\n".join([HEAD, *ROWS, "1,red,0,5"]), "line 42 has 4 fields, the lines before have 3."),
    "longer rows": (
        "\n".join([HEAD, *(f"{row},5" for row in ROWS)]),
        "rows have more fields than the header has names",
    ),
    "an open quote": (f'{HEAD}\n"1,red,0\n1,red,1\n', "EOF inside string"),
    "another encoding": (
        "\n".join([HEAD, *ROWS]).replace("red", "röt").encode("latin-1"),
        "its letters are not utf-8.",
    ),
    "a missing target": ("\n".join([HEAD, "1,red,", *ROWS]), "it is empty in 1 of 41 rows (row 1 below the header)"),
    "a class of one row": ("\n".join([HEAD, "1,red,2", *ROWS]), "one row alone has the class 2"),
    "one class": (text(lambda n: n % 5, lambda n: 1, head="n,outcome"), "all rows have the same class, 1"),
    "a value as class": (text(lambda n: n % 5, lambda n: n / 3, head="n,outcome"), "which are no classes. Type"),
    "dates": (text(lambda n: f"2020-01-{1 + n % 28:02}", lambda n: n % 2, head="d,outcome"), "the column d has dates"),
    "times": (text(lambda n: f"{n % 24:02}:30", lambda n: n % 2, head="d,outcome"), "the column d has dates or times"),
    "free text": (
        text(lambda n: f"said {n}", lambda n: n % 2, head="d,outcome"),
        "the column d has 40 different texts",
    ),
    "long text": (text(lambda n: "a" * 99 + "bc"[n % 2] * 9, lambda n: n % 2, head="d,outcome"), "free text?"),
    "infinity": (text(lambda n: n or "inf", lambda n: n % 2, head="d,outcome"), "the column d has infinite values: 1"),
    "decimal commas": (
        "\n".join(["n;outcome", *(f"{n},5;{n % 2}" for n in range(40))]),
        "the column n has numbers with commas, such as 0,5: decimal commas?",
    ),
    "only the target": (
        text(lambda n: 5, lambda n: n % 2, head="k,outcome"),
        "no column is left that could be an input",
    ),
    "an .npy file": (b"\x93NUMPY" + b"\0" * 90, "it is an .npy file, no table."),
    "a pickle": (b"\x80\x04" + b"\0" * 90, "it is a pickle, no table."),
    "a damaged zip": (b"PK\x03\x04" + b"\0" * 90, "it is a damaged zip file, no table."),
    "damaged Parquet": (b"PAR1" + b"\0" * 90, "it is a Parquet file that can't be read"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_can_not_be_taken_is_refused_with_words(fault: str, tmp_path: Path) -> None:
    content, words = REFUSED[fault]
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        typed(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "option"),
    [
        ("another encoding", "dataset.encoding=latin-1"),
        ("a missing target", "dataset.missing=leave_out_rows"),
        ("a value as class", "dataset.target=value"),
        ("dates", "dataset.categories=[d]"),
        ("free text", "dataset.categories=[d]"),
        ("long text", "dataset.categories=[d]"),
        ("times", "dataset.categories=[d]"),
        ("decimal commas", "dataset.decimal=comma"),
        ("decimal commas", "dataset.categories=[n]"),
    ],
)
def test_what_an_error_says_to_type_is_taken(fault: str, option: str, tmp_path: Path) -> None:
    content, _ = REFUSED[fault]
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        typed(path)
    assert option in str(caught.value)
    assert len(typed(path, option).x_train) >= 30


def test_columns_with_any_name_are_typed_as_the_error_says(tmp_path: Path) -> None:
    frame = patients().rename(columns={"colour": 'it\'s a "name", 5 %', "age": "null"})
    frame["null"], frame['it\'s a "name", 5 %'] = [f"said {n}" for n in range(N)], [f"told {n}" for n in range(N)]
    path, options = saved(tmp_path, frame), list[str]()
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            typed(path, *options)
        found = re.search(r"Leave it out, (.*), or take it as categories: ", str(caught.value))
        assert found is not None
        (option,) = shlex.split(found[1])
        names = json.loads(option.partition("=")[2]) + (json.loads(options[0].partition("=")[2]) if options else [])
        options = [f"dataset.leave_out={json.dumps(names)}"]
    assert typed(path, *options).feature_names == ("blood pressure", "smoker")


def test_a_column_that_is_not_named_lists_the_columns(tmp_path: Path, mi_run: Callable[..., Ended]) -> None:
    path = saved(tmp_path, patients())
    ended = mi_run("dataset=table", f"dataset.path={path}")
    assert ended.status == 2
    assert "dataset.target_column: name the column with the target; the columns are age, blood pressure" in ended.err


def test_files_whose_columns_differ(tmp_path: Path) -> None:
    train = saved(tmp_path, patients(), "train.csv")
    for frame, words in (
        (
            patients().drop(columns="age"),
            "train.csv has columns that the other file has not: age. Type dataset.leave_out",
        ),
        (patients().assign(more=1), "test.csv has columns that the other file has not: more. Type dataset.leave_out"),
        (patients().drop(columns="outcome"), "has not: outcome. Both need the target."),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            typed(train, f"dataset.test_path={saved(tmp_path, frame, 'test.csv')}")
    test = saved(tmp_path, patients().assign(more=1), "test.csv")
    with pytest.raises(ConfigError) as caught:
        typed(train, f"dataset.test_path={test}")
    (option,) = re.findall(r"dataset\.leave_out=\S+\]", str(caught.value))
    assert typed(train, f"dataset.test_path={test}", option).x_test.shape == (N, 6)


def test_lines_say_what_only_some_rows_have(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train, test = patients().assign(ward=3), patients(4).assign(ward=[3, 4, 5, 3])
    test.loc[[0, 1], "colour"] = "violet"
    test.loc[3, "outcome"] = "dead"
    options = [f"dataset.test_path={saved(tmp_path, test, 'test.csv')}"]
    loaded = typed(saved(tmp_path, train, "train.csv"), *options)
    assert "colour: 2 of 4 test rows have a value that no training row has (violet)" in caplog.text
    assert "no training row has the class dead" in caplog.text
    assert "the column ward is left out: all training rows have 3" in caplog.text
    names = loaded.feature_names or ()
    colours = [place for place, name in enumerate(names) if name.startswith("colour=")]
    assert loaded.x_test[:2, colours].sum() == 0 and loaded.x_test[2:, colours].sum() == 2
    assert loaded.class_names == ("dead", "ill", "well") and not any("ward" in name for name in names)


def test_a_column_that_numbers_the_rows_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    typed(saved(tmp_path, patients().assign(id=np.arange(100, 100 + N))))
    assert "the column id numbers the rows: if it is no input, name it in leave_out" in caplog.text
    caplog.clear()
    path = tmp_path / "index.csv"
    patients().to_csv(path)  # with pandas' row numbers, whose column has no name
    assert typed(path).feature_names == typed(saved(tmp_path, patients())).feature_names


def test_kinds_of_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None, 3] * 10, dtype="Int64"),
            "b": pd.array([True, None, False] * 10, dtype="boolean"),
            "c": pd.Categorical(["x", "y", "z"] * 10),
            "outcome": [0, 1] * 15,
        }
    )
    loaded = typed(saved(tmp_path, frame, "t.parquet"), "dataset.missing=mean")
    assert [(column.name, column.kind) for column in loaded.columns or ()] == [
        ("i", "number"),
        ("b", "boolean"),
        ("c", "category"),
    ]
    for values, words in (
        (pd.date_range("2020", periods=30), "has dates or times"),
        ([[1, 2]] * 30, "has values of the type ndarray"),
        (["1", "2", "3"] * 10, "has numbers that are saved as text"),
    ):
        with pytest.raises(ConfigError, match=words):
            typed(saved(tmp_path, frame.assign(new=values), "t.parquet"), "dataset.missing=mean")


@pytest.mark.parametrize("name", ["nowhere.csv", ""])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file" if name else "it is a folder"):
        typed(tmp_path / name)


# --- odd tables ----------------------------------------------------------------------------------------------------

CELLS = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.floats(-1e9, 1e9, allow_nan=False).map(repr),
    st.sampled_from(["", "NA", "red", "blue", "True", "False", "1,5", "2020-01-01", "?", "inf", " x ", "é", '"']),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), n_columns=st.integers(1, 4), n_rows=st.integers(0, 14))
@pytest.mark.parametrize("missing", ["refuse", "mean", "most_frequent", "leave_out_rows"])
def test_any_table_is_taken_whole_or_refused_in_one_line(
    missing: str, data: st.DataObject, n_columns: int, n_rows: int, tmp_path: Path
) -> None:
    kinds = [data.draw(st.one_of(CELLS.map(st.just), st.just(CELLS))) for _ in range(n_columns)]
    rows = [[data.draw(kind) for kind in kinds] for _ in range(n_rows)]
    frame = pd.DataFrame(rows, columns=[f"c{place}" for place in range(n_columns)], dtype=str)
    frame["y"] = [str(n % 2) for n in range(n_rows)]
    path = tmp_path / "odd.csv"
    frame.to_csv(path, index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            loaded = table.load(str(path), "y", missing=missing)
        except ArgumentError as error:
            assert "\n" not in str(error) and len(str(error)) < 1500
            return
    assert loaded.x_train.isfinite().all() and loaded.x_test.isfinite().all()
    assert loaded.x_train.shape[1] == len(loaded.feature_names or ()) and loaded.columns is not None
    for column in loaded.columns:
        own = loaded.x_train[:, list(column.inputs)]
        if column.kind == "number":
            assert abs(float(own.mean())) < 1e-3 and float(own.double().std(unbiased=False)) == pytest.approx(
                1, abs=1e-3
            )
        elif column.kind == "category":
            assert (own.sum(1) == 1).all() and own.any(0).all()
        else:
            assert ((own == 0) | (own == 1)).all()

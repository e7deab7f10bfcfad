"""Tables as columns: the same rows as a DataFrame, and what names them, beside what pandas says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mi_runner.tables.columns import Columns, Repeated
from mi_runner.tables.declaration import ByName, Key, Note, TableType
from mi_runner.tables.row_names import check_key, first_repeated

TARGETS = Repeated(("none", "relu"), np.array([0, 0, 1]))


def test_the_frame_has_the_columns_and_texts_as_categories() -> None:
    columns = Columns({"target": TARGETS, "example": np.array([0, 1, 0]), "logit_0": np.float32([0.5, 1.5, -2])})
    assert len(columns) == 3 and len(Columns({})) == 0
    assert columns.frame.to_dict("list") == {
        "target": ["none", "none", "relu"], "example": [0, 1, 0], "logit_0": [0.5, 1.5, -2],
    }  # fmt: skip
    assert list(map(str, columns.frame.dtypes)) == ["category", "int64", "float32"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-2, 2), st.integers(5, 7)), min_size=1, max_size=12))
def test_the_first_repeated_row_is_pandas_first_duplicate(rows: list[tuple[int, int, int]]) -> None:
    texts, numbers, others = map(np.array, zip(*rows, strict=True))
    columns = Columns({"text": Repeated(("a", "b", "c"), texts), "number": numbers, "other": others})
    for names in (["text"], ["number", "text"], ["text", "number", "other"]):
        duplicated = columns.frame.duplicated(names)
        assert first_repeated(columns, names) == (int(duplicated.argmax()) if duplicated.any() else None)


def test_an_empty_key_is_found_in_texts_and_in_numbers() -> None:
    columns = Columns({"text": Repeated(("a", ""), np.array([0, 0, 1])), "number": np.array([1.0, np.nan, 2.0])})
    with pytest.raises(ValueError, match="table t: the key 'text' is empty in row 2"):
        check_key("t", columns, "text")
    with pytest.raises(ValueError, match="table t: the key 'number' is empty in row 1"):
        check_key("t", columns, "number")
    check_key("t", Columns({"text": Repeated(("a", ""), np.array([0]))}), "text")  # no row has the other


def test_a_declared_table_takes_columns_and_names_the_row_that_repeats_another() -> None:
    of = TableType("t", "A table", (Key("target", "a name"), Note("example", "a number")))
    with pytest.raises(ValueError, match="table t: row 1 repeats target=none"):
        of.filled(Columns({"target": TARGETS, "example": np.arange(3)}))
    with pytest.raises(ValueError, match="the column 'example' is declared, and no row has it"):
        of.filled(Columns({"target": TARGETS}))
    table = of.filled(Columns({"target": Repeated(("a", "b"), np.array([0, 1])), "example": np.array([3, 3])}))
    by_name = ByName([table])
    assert list(by_name) == ["t"] and "u" not in by_name and isinstance(by_name["t"], pd.DataFrame)

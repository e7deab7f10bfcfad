"""What the cells of a column are: of values, and of the text that a CSV file has of them."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from mi_runner.tables.cell_types import column_types, inferred, type_of, typed
from mi_runner.tables.declaration import Key, Measure, Note, TableType

KINDS = {
    "integer": ([1, 2, -3], [1, None], [np.int64(3), np.uint8(1)], [2**70]),
    "number": ([0.5], [1, 0.5], [np.float32(0.1)], [float("inf"), 2, None], [0.1 + 0.2, 1e-300]),
    "truth value": ([True, False], [True, None], [np.bool_(True)]),
    "text": (["a"], ["0", "1"], ["a", None], [True, 1], ["1", 2], [1.5, "x"], [True, "x"]),
    "integer or text": ([1, "all"], ["none", None, -2]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_values_come_back_as_they_were_written(kind: str) -> None:
    for values in KINDS[kind]:
        assert type_of(values) == kind
        frame = pd.DataFrame({"key": range(len(values)), "value": values})
        written = pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype=str, keep_default_na=False)
        again = typed(written, {"value": kind})["value"]
        for value, other in zip(values, again.tolist(), strict=True):
            if value is None:
                assert other is None or other is pd.NA or other != other
            elif kind == "text":
                assert other == str(value)
            else:
                assert other == value and isinstance(other, bool) == isinstance(value, bool | np.bool_)


def test_a_column_without_values_is_what_its_declaration_says() -> None:
    of = TableType("t", "a table", (Key("name", "a name"), Measure("loss", "a loss"), Note("word", "a word")))
    rows = [{"name": "x", "loss": None, "word": None}, {"name": "y", "loss": float("nan"), "word": None}]
    assert column_types(of.filled(rows)) == {"name": "text", "loss": "number", "word": "text"}
    assert column_types(of.filled(pd.DataFrame(rows))) == {"name": "text", "loss": "number", "word": "text"}
    assert type_of([None, float("nan")]) is None


def test_what_cells_can_be() -> None:
    found = {"1,2,": "integer", "True,,False": "truth value", "1,2.5": "number", "nan,1": "number", ",": "text"}
    found |= {"1,x": "text", "true": "text", "1e5": "number", "-": "text", "--1": "text", "²": "text"}
    assert {texts: inferred(texts.split(",")) for texts in found} == found

"""JSON as dataclasses: what is written is read back the same, and what doesn't fit is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mi_runner.machine.reading import Unreadable
from mi_runner.machine.typed_json import (
    NOT_WRITTEN,
    UNLESS_DEFAULT,
    Between,
    Like,
    Omitted,
    read_file,
    sound_fields,
    to_json,
)


class Color(Enum):
    red = 1
    blue = 2


@dataclass(frozen=True)
class Point:
    x: Annotated[int, Between(0, 9)]
    from_: str = "here"
    label: Annotated[str, Like("[a-z]+", "small letters")] | None = field(default=None, metadata=UNLESS_DEFAULT)


@dataclass(frozen=True)
class Drawing:
    name: str
    points: tuple[Point, ...]
    colors: Mapping[str, Color]
    of_later: Any = None
    range: tuple[float, float | None] = (0.0, None)
    kind: Literal["line", "area"] = "line"
    cached: object = field(default=None, compare=False, metadata=NOT_WRITTEN)


WHOLE = {
    "name": "α",
    "points": [{"x": 3, "from": "there", "label": "a"}, {"x": 4, "from": "here"}],
    "colors": {"sky": "blue"},
    "of_later": {"x": [None]},
    "range": [0.5, None],
    "kind": "area",
}
MADE = Drawing(
    "α", (Point(3, "there", "a"), Point(4)), {"sky": Color.blue}, {"x": [None]}, (0.5, None), "area", cached=object()
)


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_fields_are_written_in_their_order_and_read_back(tmp_path: Path) -> None:
    """Without what isn't written, and without a default that is only written if it is another value."""
    assert json.dumps(to_json(MADE)) == json.dumps(WHOLE)
    assert read_file(written(tmp_path / "a", WHOLE), Drawing) == MADE


points = st.builds(Point, st.integers(0, 9), st.text("abc"), st.none() | st.text("abc", min_size=1))
drawings = st.builds(
    Drawing,
    st.text("aβ"),
    st.lists(points).map(tuple),
    st.dictionaries(st.text("ab"), st.sampled_from(Color)),
    st.none() | st.lists(st.integers(-9, 9)),
    st.tuples(st.floats(-9, 9), st.none() | st.floats(-9, 9)),
    st.sampled_from(["line", "area"]),
)


@given(drawings)
def test_any_value_is_read_back(drawing: Drawing) -> None:
    found, wrong = sound_fields(json.loads(json.dumps(to_json(drawing))), Drawing)
    assert found == drawing and not wrong


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": 3}, "the field name is 3; it must be a text of whole characters"),
        ({"points": {}}, "the field points is an object of 0; it must be a list"),
        ({"points": [{"x": 3}, {"x": 10}]}, "the field points[1].x is 10; it must be an integer, from 0 to 9"),
        ({"points": [{"from": "a"}]}, "the field points[0].x is missing"),
        ({"points": [{"x": 3, "label": "A"}]}, "the field points[0].label is 'A'; it must be small letters or null"),
        ({"colors": {"sky": "green"}}, "the field colors.sky is 'green'; it must be one of red, blue"),
        ({"range": [1]}, "the field range is a list of 1; it must be a list of 2"),
        ({"range": [None, 1]}, "the field range[0] is null; it must be a finite number"),
        ({"kind": "dots"}, "the field kind is 'dots'; it must be one of line, area"),
        ({"kind": None}, "the field kind is null; it must be one of line, area"),
    ],
)
def test_what_does_not_fit_is_named(changed: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a", {**WHOLE, **changed})
    with pytest.raises(Unreadable) as error:
        read_file(path, Drawing)
    assert str(error.value) == f"{path}: {words}"


@dataclass
class Loose:
    name: str = ""
    points: tuple[Point, ...] = ()
    n: int | None = None


def test_each_field_alone() -> None:
    """What is wrong, missing or null has its default; the others have their values."""
    content = {"name": 3, "points": [{"x": 3}], "n": None, "of_later": 1}
    found, wrong = sound_fields(content, Loose)
    assert found == Loose(points=(Point(3),))
    assert {key: str(error) for key, error in wrong.items()} == {
        "name": "the field name is 3; it must be a text of whole characters"
    }
    assert sound_fields({}, Loose) == (Loose(), {})


def test_a_field_that_a_file_may_omit_is_empty(tmp_path: Path) -> None:
    omitted = Omitted(((Drawing, ("name", "points", "colors")),))
    assert read_file(written(tmp_path / "a", {"colors": None}), Drawing, omitted) == Drawing("", (), {})
    with pytest.raises(Unreadable, match="the field name is missing"):
        read_file(tmp_path / "a", Drawing, Omitted(((Drawing, ("points", "colors")),)))
    with pytest.raises(Unreadable, match="the field colors is null; it must be an object"):
        read_file(written(tmp_path / "b", {**WHOLE, "colors": None}), Drawing)
    with pytest.raises(Unreadable, match=r"the field points\[0\].x is missing"):
        read_file(written(tmp_path / "c", {"points": [{}]}), Drawing, omitted)

"""The answer of a run in numbers: each number of its summary with its interval, and beside it what it compares with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mi_runner.runs.report.tables import Content, number, shown
from mi_runner.tables.declaration import COUNT, Declarations
from mi_runner.tables.names import ALL, NONE

MOST_ANSWERS = 12
MOST_COMPARED = 24
"""Numbers beside an answer."""

MOST_SHARED = 60
"""Of these, those that a table of several measures has."""

LATER = ("_before", "_sd", "_low", "_high", "_min", "_max")
"""Ends of names that describe another number of the summary."""


@dataclass(frozen=True)
class Answer:
    """A number of the summary.

    Attributes:
        name: in the summary; beside another answer the end of it.
        meaning: empty if nothing says it.
        value: as text; empty if the summary has only numbers of this measure below it, such as of each method.
        interval: as text; empty if no table has it.
        compared: numbers of the same measure, such as those of controls.
        n_left_out: further numbers of the same measure that only run.json has.
        number: the value; None if it is not defined, or there is none.
    """

    name: str
    meaning: str
    value: str
    interval: str
    compared: Sequence[Answer] = ()
    n_left_out: int = 0
    number: float | None = None

    @property
    def shortened(self) -> Answer:
        """With at most `MOST_COMPARED` numbers beside it."""
        more = len(self.compared[MOST_COMPARED:])
        return replace(self, compared=self.compared[:MOST_COMPARED], n_left_out=self.n_left_out + more)


def answers(
    metrics: Mapping[str, float | None],
    headline: str,
    declared: Declarations,
    tables: Sequence[Content],
    keys: Sequence[Sequence[str]],
) -> list[Answer]:
    """Returns the numbers of a summary, the headline first.

    Args:
        metrics: name → number; None: it is not finite.
        headline: the name of the most important number.
        declared: what the numbers mean.
        tables: those that have the numbers with their intervals.
        keys: of each table the columns that name its rows.
    """
    names = sorted(metrics, key=lambda name: (name != headline, name.endswith(LATER)))
    nearest = {name: _above(name, metrics, headline) or _measure(name, metrics) for name in names}
    above = {name: nearest.get(of or "") or of for name, of in nearest.items()}  # a/0/twin is below a, as a/0 is
    first = list(dict.fromkeys(above[name] or name for name in names if above[name] not in metrics))
    if tables and (printed := {name for name in first if name not in metrics} & set(tables[0].columns)):
        first = [name for name in first if name in metrics or name in printed]
    made = []
    for name in first[:MOST_ANSWERS]:
        ends = (f"{name}_low", f"{name}_high")  # its interval says them
        below = [other for other in names if above[other] == name and not (other in ends and {*ends} <= {*names})]
        compared = [
            _answer(other, _end(other, name), metrics[other], metrics, declared, tables, keys)
            for other in below[:MOST_SHARED]
        ]
        left_out = max(0, len(below) - MOST_SHARED)
        if name not in metrics:
            about = declared.number(name)
            made.append(Answer(name, "" if about is None else str(about), "", "", compared, left_out))
            continue
        compared += list(_controls(name, metrics[name], declared, tables, keys))[: MOST_SHARED - len(compared)]
        answer = _answer(name, name, metrics[name], metrics, declared, tables, keys)
        made.append(replace(answer, compared=compared, n_left_out=left_out))
    return made


def _above(name: str, metrics: Mapping[str, float | None], headline: str) -> str | None:
    """Returns the answer beside which a number stands: that of a name that it begins or ends with; None: by itself."""
    if name == headline:
        return None
    above = name
    while "/" in above:
        above = above.rpartition("/")[0]
        if above in metrics:
            return _above(above, metrics, headline) or above
    for end in LATER:
        base = name.removesuffix(end)
        if base != name and base in metrics:
            return base
    return None


def _measure(name: str, metrics: Mapping[str, float | None]) -> str | None:
    """Returns the measure of a name such as regret_mse/eap/zero if others have it too and no number is this alone."""
    measure, *of = name.split("/")
    alike = [other for other in metrics if other.startswith(f"{measure}/")]
    return measure if of and measure not in metrics and len(alike) > 1 else None


def _end(name: str, above: str) -> str:
    return name.removeprefix(above).lstrip("/_")


def _answer(
    name: str,
    label: str,
    value: float | None,
    metrics: Mapping[str, float | None],
    declared: Declarations,
    tables: Sequence[Content],
    keys: Sequence[Sequence[str]],
) -> Answer:
    about = declared.number(name)
    text = "not defined" if value is None else _shown(name, value, declared)
    ends = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    interval = ends if None not in ends else _interval(name, value, tables, keys)
    words = "" if interval is None or interval[0] == interval[1] else _words(name, interval, declared)
    return Answer(label, "" if about is None else str(about), text, words, number=value)


def _words(name: str, interval: tuple[float | None, float | None], declared: Declarations) -> str:
    if None in interval:
        return ""
    return " to ".join(_shown(name, end, declared) for end in interval if end is not None)


def _shown(name: str, value: float, declared: Declarations) -> str:
    """Returns a number of the summary as text."""
    about = declared.number(name)
    return shown(value, counts=about is not None and about.unit == COUNT)


def _interval(
    name: str, value: float | None, tables: Sequence[Content], keys: Sequence[Sequence[str]]
) -> tuple[float, float] | None:
    """Returns the interval of the row that has this number; None if no row does, or rows with different intervals."""
    measure, *of = name.split("/")
    if value is None:
        return None
    for content, named_by in zip(tables, keys, strict=True):
        if not {measure, f"{measure}_low", f"{measure}_high"} <= set(content.columns):
            continue
        rows = [row for row in content.rows if number(row[measure]) == value]
        rows = [row for row in rows if all(word in _named(row, named_by) for word in "/".join(of).split("/") if of)]
        if not of:  # of the rows with this number, the one of all test examples
            rows = [row for row in rows if row.get("split") != "train"]
            general = [row for row in rows if {ALL, NONE} & set(_named(row, named_by))]
            rows = general or rows
        intervals = {(number(row[f"{measure}_low"]), number(row[f"{measure}_high"])) for row in rows}
        if len(intervals) == 1:
            low, high = intervals.pop()
            return None if low is None or high is None else (low, high)
    return None


def _named(row: Mapping[str, str], keys: Sequence[str]) -> list[str]:
    """Returns the values that name a row; a path such as relu/add also by its steps."""
    return [word for key in keys for value in [row.get(key, "")] for word in (value, *value.split("/"))]


def _controls(
    name: str,
    value: float | None,
    declared: Declarations,
    tables: Sequence[Content],
    keys: Sequence[Sequence[str]],
) -> Iterator[Answer]:
    """Yields the same number of each control, where the summary hasn't them: of rows that differ in `control` only."""
    if value is None:
        return
    for content, named_by in zip(tables, keys, strict=True):
        if "control" not in named_by or name not in content.columns:
            continue
        own = next((row for row in content.rows if row["control"] == NONE and number(row[name]) == value), None)
        if own is None:
            continue
        others = [key for key in named_by if key != "control"]
        for row in content.rows:
            of_control = number(row[name])
            if row["control"] == NONE or of_control is None or any(row[key] != own[key] for key in others):
                continue
            yield Answer(row["control"], "", _shown(name, of_control, declared), "", number=of_control)
        return

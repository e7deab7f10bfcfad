"""A table for a paper, as Markdown or LaTeX: numbers rounded with their intervals, and what the columns mean.

LaTeX needs the package booktabs, and no other. Its columns with numbers are right-aligned.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mi_runner.tables.declaration import COUNT, Column
from mi_runner.tables.rounding import Rounded, rounded

UNKNOWN = "—"
"""What stands in place of a value that isn't known."""

LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "{}#$%&_"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{"—": "---", "–": "--", "…": r"\dots{}", "\N{NO-BREAK SPACE}": "~"},
    **{
        sign: f"${name}$"
        for sign, name in {
            **{"−": "-", "×": r"\times", "±": r"\pm", "·": r"\cdot", "→": r"\to", "←": r"\leftarrow", "∞": r"\infty"},
            **{"≤": r"\leq", "≥": r"\geq", "≠": r"\neq", "≈": r"\approx", "²": "^2", "³": "^3", "√": r"\surd"},
            **{"∧": r"\wedge", "∨": r"\vee", "¬": r"\neg", "⊕": r"\oplus", "Σ": r"\Sigma"},
        }.items()
    },
}
"""Character → what LaTeX takes for it."""


@dataclass(frozen=True)
class PaperColumn:
    """A column of a table for a paper.

    Attributes:
        name: as in the file.
        values: one for each row: numbers, truth values, texts; None where it isn't known.
        declared: what it means; None if nothing says it.
        intervals: for each row the ends of its 95 % interval, of which each may be None; None: it has no interval.
    """

    name: str
    values: Sequence[Any]
    declared: Column | None = None
    intervals: Sequence[tuple[float | None, float | None]] | None = None

    @property
    def is_numeric(self) -> bool:
        """Whether all values are numbers or not known, and at least one is a number."""
        known = [value for value in self.values if value is not None]
        return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)

    @property
    def meaning(self) -> str:
        """What it means, with its unit; empty if nothing says it."""
        return "" if self.declared is None else str(self.declared)


@dataclass(frozen=True)
class PaperTable:
    """A table for a paper.

    Attributes:
        name: of the table.
        caption: what it has and of which run, without a full stop.
        label: for references, without a prefix.
        made_by: how the numbers were made: lines for a comment.
        columns: at least one, each with as many values.
    """

    name: str
    caption: str
    label: str
    made_by: Sequence[str]
    columns: Sequence[PaperColumn]

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.columns[0].values)


def markdown(table: PaperTable, digits: int | None = None) -> str:
    """Returns a table as Markdown: its caption, the table, and what its columns mean.

    Args:
        digits: of numbers behind the point; None: as the intervals say, and four significant ones.
    """
    cells = [_cells(column, digits) for column in table.columns]
    lines = [f"{_marked(table.caption)}.{_said_of_intervals(cells)}", ""]
    lines.append(_line([_marked(column.name) for column in table.columns]))
    lines.append("|" + "|".join("---:" if column.is_numeric else "---" for column in table.columns) + "|")
    for row in range(table.n_rows):
        lines.append(_line([_in_markdown(column[row]) for column in cells]))
    meanings = [f"- `{column.name}`: {_marked(column.meaning)}" for column in table.columns if column.meaning]
    return "\n".join([*lines, *([""] if meanings else []), *meanings])


def latex(table: PaperTable, digits: int | None = None) -> str:
    """Returns a table as LaTeX with booktabs; comments say how it was made, and what its columns mean.

    Args:
        digits: as in `markdown`.
    """
    cells = [_cells(column, digits) for column in table.columns]
    comments = [*table.made_by, *(f"{column.name}: {column.meaning}" for column in table.columns if column.meaning)]
    rows = [[_heading(column.name) for column in table.columns]]
    rows += [[_in_latex(column[row]) for column in cells] for row in range(table.n_rows)]
    head, *body = [" & ".join(row) + r" \\" for row in rows]
    return "\n".join(
        [
            *(f"% {' '.join(line.split())}" for line in comments),
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{escaped(f'{table.caption}.{_said_of_intervals(cells)}')}}}",
            rf"  \label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', table.label).strip('-')}}}",
            rf"  \begin{{tabular}}{{{''.join('r' if column.is_numeric else 'l' for column in table.columns)}}}",
            r"    \toprule",
            f"    {head}",
            r"    \midrule",
            *(f"    {line}" for line in body),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


def escaped(text: str) -> str:
    """Returns a text as LaTeX takes it: characters that it obeys, and those that its fonts lack, by their names."""
    return "".join(LATEX.get(character, character) for character in " ".join(text.split()))


def _heading(name: str) -> str:
    return escaped(name.replace("_", " ") if re.fullmatch(r"\w+", name) else name)


@dataclass(frozen=True)
class _Number:
    """A number in a cell, and how the column's intervals are shown."""

    shown: Rounded
    is_around: bool


_Cell = str | _Number


def _cells(column: PaperColumn, digits: int | None) -> list[_Cell]:
    """Returns a column's cells; the intervals of a column all have the form ±, or all are in brackets."""
    intervals = column.intervals or [(None, None)] * len(column.values)
    counts = column.declared is not None and column.declared.unit == COUNT
    cells: list[str | Rounded] = []
    for value, (low, high) in zip(column.values, intervals, strict=True):
        if value is None or value == "":
            cells.append(UNKNOWN)
        elif isinstance(value, float) and not math.isfinite(value):
            cells.append({math.inf: "∞", -math.inf: "−∞"}.get(value, UNKNOWN))
        elif isinstance(value, bool) or not isinstance(value, int | float):
            cells.append("yes" if value is True else "no" if value is False else str(value))
        elif (low is None or low == value == high) and (isinstance(value, int) or (counts and value.is_integer())):
            cells.append(Rounded(str(int(value))))
        else:
            cells.append(rounded(value, low, high, digits=digits))
    numbers = [cell for cell in cells if isinstance(cell, Rounded) and cell.low is not None]
    is_around = all(cell.half is not None for cell in numbers)
    return [cell if isinstance(cell, str) else _Number(cell, is_around) for cell in cells]


def _said_of_intervals(cells: Sequence[Sequence[_Cell]]) -> str:
    """Returns a sentence about the intervals of a table, behind a space; empty if it has none."""
    numbers = [cell for column in cells for cell in column if isinstance(cell, _Number)]
    forms = {cell.is_around for cell in numbers if cell.shown.low is not None}
    where = {(True,): "After ±", (False,): "In brackets", (False, True): "After ± or in brackets"}
    return f" {where[tuple(sorted(forms))]}: the 95 % interval." if forms else ""


def _in_markdown(cell: _Cell) -> str:
    if isinstance(cell, str):
        return _marked(cell)
    number, low, high = cell.shown.number, cell.shown.low, cell.shown.high
    if low is None:
        return number
    return f"{number} ± {cell.shown.half}" if cell.is_around else f"{number} [{low}, {high}]"


def _in_latex(cell: _Cell) -> str:
    if isinstance(cell, str):
        text = escaped(cell)
        return f"{{{text[0]}}}{text[1:]}" if text[:1] in ("[", "*") else text  # \\ would take it as its own argument
    shown = cell.shown
    number = f"${_power(shown.number)}$"
    if shown.low is None or shown.high is None:
        return number
    if cell.is_around and shown.half is not None:
        return rf"{number[:-1]} \pm {_power(shown.half)}$"
    return f"{number} $[{_power(shown.low)}, {_power(shown.high)}]$"


def _power(number: str) -> str:
    """Returns a number with its power of ten as LaTeX writes it."""
    digits, _, exponent = number.partition("e")
    return rf"{digits} \times 10^{{{int(exponent)}}}" if exponent else digits


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _marked(text: str) -> str:
    """Returns a text on one line that Markdown shows as it is."""
    return re.sub(r"[\\`*|<\[]|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(text.split()))

"""Numbers of a summary that share their names, such as those of each method and ablation, are one table with bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mi_runner.runs.report.answers import LATER, Answer
from mi_runner.runs.report.tables import Bar, Cell, Content, Heading, Table
from mi_runner.tables.declaration import Declarations

THIS_RUN = "this run"
"""The name of the numbers of the whole run, among those of its parts."""

FEWEST_NUMBERS = 4
"""Of fewer, those of names and measures together, the numbers stand beside that of their measure."""

DESCRIBES = frozenset(end.removeprefix("_") for end in LATER)
"""Names of numbers that describe the one beside which they stand."""

Keyed = tuple[str, Content, Sequence[str]]
"""A table's name, its rows, and the columns that name them."""


def gathered(
    found: Sequence[Answer], declared: Declarations, tables: Sequence[Keyed]
) -> tuple[list[Answer], list[Table]]:
    """Returns the answers, and a table for those that compare with the same names, which then have their value alone.

    Args:
        found: the answers of a run.
        declared: what the numbers mean.
        tables: of the run; their keys say what the names are.
    """
    groups: dict[tuple[str, ...], list[Answer]] = {}
    for answer in found:
        names = tuple(sorted(other.name for other in answer.compared))
        if not DESCRIBES & {*names}:
            groups.setdefault(names, []).append(answer)
    together = [group for names, group in groups.items() if _are_many(len(names), len(group))]
    inside = {answer.name for group in together for answer in group}
    alone = [
        replace(answer, compared=(), n_left_out=0) if answer.name in inside else answer.shortened
        for answer in found
        if answer.name not in inside or answer.value
    ]
    return alone, [_table(group, declared, tables) for group in together]


def _are_many(n_names: int, n_measures: int) -> bool:
    return n_names > 0 and n_measures > 1 and n_names * n_measures >= FEWEST_NUMBERS


def _table(group: Sequence[Answer], declared: Declarations, tables: Sequence[Keyed]) -> Table:
    """Returns the numbers of answers with the same names, a row for each name."""
    names = [other.name for other in group[0].compared]
    of_each = [{other.name: other for other in answer.compared} for answer in group]
    keys, parted = _parted(names, declared, tables)
    rows: list[list[Answer | None]] = [[of.get(name) for of in of_each] for name in names]
    if any(answer.value for answer in group):
        parted, rows = [[THIS_RUN, *[""] * (len(keys) - 1)], *parted], [list(group), *rows]
    columns = [_cells([row[place] for row in rows]) for place in range(len(group))]
    headings = [*keys, *(Heading(answer.name, declared.number(answer.name), numeric=True) for answer in group)]
    cells = [[*map(Cell, parts), *line] for parts, line in zip(parted, zip(*columns, strict=True), strict=True)]
    n_left_out = max(answer.n_left_out for answer in group)
    name = f"by {' and '.join(filter(None, (', '.join(key.name for key in keys[:-1]), keys[-1].name)))}"
    caption = "The numbers that the summary has of each. A bar shows how large a number is among those of its column."
    return Table(name, caption, "", headings, cells, len(cells) + n_left_out, len(headings), len(keys))


def _cells(column: Sequence[Answer | None]) -> Iterator[Cell]:
    """Yields the cells of a measure; bars from zero, which lies inside where some are negative."""
    numbers = [0.0 if answer is None or answer.number is None else answer.number for answer in column]
    low, high = min(0.0, *numbers), max(0.0, *numbers)
    for answer, number in zip(column, numbers, strict=True):
        if answer is None or answer.number is None:
            yield Cell("")
            continue
        begin, end = sorted((number, 0.0))
        width = high - low
        bar = Bar(100 * (begin - low) / width, 100 * (end - begin) / width) if len({*numbers}) > 1 else None
        yield Cell(answer.value, str(answer.number), bar=bar, interval=answer.interval)


def _parted(
    names: Sequence[str], declared: Declarations, tables: Sequence[Keyed]
) -> tuple[list[Heading], list[list[str]]]:
    """Returns the columns that name the rows, and their texts: those of a table's keys if these make up all names."""
    for name, content, keys in tables:
        values = {key: {row.get(key, "") for row in content.rows} for key in keys}
        found = [_split(text, values) for text in names]
        if found[0] and all(one and one.keys() == found[0].keys() for one in found):
            columns = list(found[0])
            headings = [Heading(key, declared.column(name, key), numeric=False) for key in columns]
            return headings, [[(one or {})[key] for key in columns] for one in found]
    return [Heading("name", None, numeric=False)], [[text] for text in names]


def _split(text: str, values: Mapping[str, set[str]]) -> dict[str, str] | None:
    """Returns the keys whose values, with slashes between, are a name; None if it isn't made of values.

    Args:
        values: of each key; a value may have slashes, too.
    """
    for key, of_key in values.items():
        if text in of_key:
            return {key: text}
        others = {other: of for other, of in values.items() if other != key}
        for value in sorted(of_key, key=len, reverse=True):
            if value and text.startswith(f"{value}/") and (rest := _split(text[len(value) + 1 :], others)):
                return {key: value, **rest}
    return None

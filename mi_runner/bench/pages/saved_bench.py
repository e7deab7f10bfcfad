"""The tables of a bench's folder as its pages show them, and the names of the pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mi_runner.bench.tables import LEADERBOARD, LEADERBOARD_FIGURE, MEASURES, NETWORKS, PAIRS, ROWS, TABLES
from mi_runner.machine.reading import is_own_file
from mi_runner.runs.report import tables
from mi_runner.runs.report.tables import Cell, Content, Table, number, shown
from mi_runner.tables.declaration import ENDS, Declarations, TableType
from mi_runner.tables.names import ALL

METHODS = "methods"
"""The folder of the methods' pages."""

MOST_READ = 200_000
"""Rows that are read of a table."""

LONGEST_NAME = 80
"""Characters of a page's name, without ending."""

INTERVALS = (
    "In brackets: Student's 95 % intervals of means. P-values are of Wilcoxon's signed ranks, which no single large "
    "difference hides, so that an interval of a difference may contain 0 where the test tells two methods apart."
)

BENCH = Declarations(tables=TABLES, figures=(LEADERBOARD_FIGURE,))

Row = Mapping[str, str]


@dataclass(frozen=True)
class SavedBench:
    """The tables of a bench.

    Attributes:
        contents: name of a table → its rows as text; without those that are missing or can't be read.
    """

    folder: Path
    contents: Mapping[str, Content]

    def rows(self, table: TableType) -> Sequence[Row]:
        """Returns the rows of a table; none where it is missing."""
        found = self.contents.get(table.name)
        return [] if found is None else found.rows

    @cached_property
    def networks(self) -> list[str]:
        """What the leaderboard's rows are means over: `all`, kinds, families; `all` comes first."""
        names = dict.fromkeys(row.get(ROWS.name, "") for row in self.rows(LEADERBOARD))
        return sorted(names, key=lambda name: name != ALL)

    @cached_property
    def standings(self) -> dict[tuple[str, str], Row]:
        """What a row is a mean over, and the method → the row of the leaderboard."""
        return {(row.get(ROWS.name, ""), row.get("method", "")): row for row in self.rows(LEADERBOARD)}

    @cached_property
    def pages(self) -> dict[str, str]:
        """The method → the path of its page in the folder, in the order of the leaderboard."""
        names = list(dict.fromkeys(method for _, method in self.standings))
        return {name: f"{METHODS}/{file}.html" for name, file in zip(names, file_names(names), strict=True)}

    @cached_property
    def _differences(self) -> dict[tuple[str, str, str], Row]:
        return {(row.get(ROWS.name, ""), row.get("method", ""), row.get("other", "")): row for row in self.rows(PAIRS)}

    def difference(self, networks: str, method: str, other: str) -> tuple[float, float, float] | None:
        """Returns cpr of a method minus that of another, and the ends of its interval; None where it isn't known.

        Without an interval its ends are the difference.
        """
        for sign, of in ((1, (networks, method, other)), (-1, (networks, other, method))):
            row = self._differences.get(of, {})
            value, low, high = (number(row.get(f"difference{end}", "")) for end in ("", *ENDS))
            if value is not None:
                ends = [value if end is None else end for end in (low, high)]
                return sign * value, min(sign * end for end in ends), max(sign * end for end in ends)
        return None


def read_bench(folder: Path) -> SavedBench:
    """Returns the tables of a bench's folder."""
    read = {table.name: tables.read(folder / f"{table.name}.csv", MOST_READ) for table in TABLES}
    return SavedBench(folder, {name: content for name, content in read.items() if content is not None})


def file_names(names: Iterable[str]) -> list[str]:
    """Returns a name of letters, digits, `-`, `_` and `.` for each name; no two agree, in any case of letters.

    Example:
        >>> file_names(["eap", "my_module:score", "my_module-score", "../EAP"])
        ['eap', 'my_module-score', 'my_module-score-2', '-EAP']
    """
    made: list[str] = []
    taken: set[str] = set()
    for name in names:
        base = file = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip(".")[:LONGEST_NAME] or "-"
        n = 1
        while file.lower() in taken:
            n += 1
            file = f"{base}-{n}"
        taken.add(file.lower())
        made.append(file)
    return made


def network_name(row: Row) -> str:
    """Returns the name of the network of a row of results or networks."""
    return " ".join(row.get(key, "") for key in NETWORKS.keys)


def links_to_jobs(rows: Iterable[Row], folder: Path, page: str) -> dict[str, str]:
    """Returns the job → the path of its page below the folder, for jobs that have one."""
    jobs = dict.fromkeys(job for row in rows if (job := row.get("job", "")).isdecimal())
    return {job: f"{job}/{page}" for job in jobs if is_own_file(folder / job / page, folder)}


def with_intervals(
    name: str, rows: Sequence[Row], declared: Declarations, *, meaning: str, file: str = "", first: Sequence[str] = ()
) -> Table | None:
    """Returns a table in which an interval stands in its value's cell, without empty columns; None without rows.

    Args:
        declared: what the columns mean.
        file: as in `Table`.
        first: columns that come before the others.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    ends = {f"{column}{end}" for column in columns for end in ENDS}
    kept = [column for column in columns if column not in ends and any(row.get(column) for row in rows)]
    ordered = [*(column for column in first if column in kept), *(column for column in kept if column not in first)]
    if not ordered:
        return None
    made = tables.table(name, Content(ordered, rows, len(rows)), declared, file, meaning=meaning)
    cells = [
        [_with_interval(cell, row, column) for cell, column in zip(of_row, ordered, strict=False)]
        for of_row, row in zip(made.rows, rows, strict=True)
    ]
    return replace(made, rows=cells)


def _with_interval(cell: Cell, row: Row, column: str) -> Cell:
    low, high = (number(row.get(f"{column}{end}", "")) for end in ENDS)
    if cell.text in ("True", "False"):
        return Cell("yes" if cell.text == "True" else "no")
    if low is None or high is None or low == high or not cell.text:
        return cell
    return Cell(f"{cell.text} ({shown(low)} to {shown(high)})", cell.value or cell.text)


def linked(table: Table, column: str, links: Mapping[str, str]) -> Table:
    """Returns a table in which the texts of a column lead to files.

    Args:
        links: text → path beside the page.
    """
    places = {place for place, heading in enumerate(table.headings) if heading.name == column}
    rows = [
        [replace(cell, link=links.get(cell.text, "")) if place in places else cell for place, cell in enumerate(row)]
        for row in table.rows
    ]
    return replace(table, rows=rows)


def measures_drawn(rows: Sequence[Row]) -> list[str]:
    """Returns the leaderboard's measures that have a value in one of its rows, the mean rank first."""
    names = ["mean_rank", *(measure.name for measure in MEASURES)]
    return [name for name in names if any(number(row.get(name, "")) is not None for row in rows)]

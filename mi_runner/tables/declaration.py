"""What does a column of a table mean? Each table is declared once, and rows are checked against the declaration.

A `TableType` has a name, a caption and columns; each `Column` has a meaning, and a measure the values that it can have
and whether more of it is better. Printing, sums over seeds, comparisons and reports read these. Neither torch nor
pandas is imported, so that a page can be made of a saved run at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mi_runner.tables.columns import Columns
from mi_runner.tables.ranges import SHARE, Range
from mi_runner.tables.row_names import check_key, first_repeated, is_frame

if TYPE_CHECKING:
    from pandas import DataFrame

Row: TypeAlias = Mapping[str, Any]

Rows: TypeAlias = "Sequence[Row] | DataFrame"

FRACTION, COUNT, SECONDS = "fraction, 0 to 1", "count", "s"
NATS = "nats per example"
LOSS = "nats per example; mean square where targets are values"
"""Units."""

ENDS = ("_low", "_high")
"""Ends of the names of the columns with a measure's 95 % interval."""


@dataclass(frozen=True)
class Column:
    """A column of a table, or a number of a summary.

    Attributes:
        name: with `*` for any name, where the data say how many such columns there are: `logit_*`.
        meaning: in words, without a full stop.
        unit: empty for names.
        only: which runs have it, in words that begin with `where`; empty: all.
    """

    name: str
    meaning: str
    unit: str = ""
    only: str = ""

    def __str__(self) -> str:
        return f"{self.meaning} ({self.terms})" if self.terms else self.meaning

    @property
    def terms(self) -> str:
        """The unit, and of a measure whether more of it is better."""
        return self.unit

    @property
    def is_family(self) -> bool:
        """Whether the name stands for several columns."""
        return "*" in self.name

    def names(self, column: str) -> bool:
        """Returns whether this is the declaration of a column of that name."""
        return fnmatchcase(column, self.name) if self.is_family else column == self.name


@dataclass(frozen=True)
class Key(Column):
    """A column that names rows: no two rows agree in all keys and repeats. It is never empty, but `all` or `none`."""


@dataclass(frozen=True)
class Repeat(Column):
    """A column that counts repetitions of one measurement; a summary over seeds averages these first."""


@dataclass(frozen=True)
class CommonName(Column):
    """A key's name in every architecture. Sweeps keep it beside the key; it isn't printed.

    Attributes:
        of: the key.
    """

    of: str = ""


@dataclass(frozen=True)
class Measure(Column):
    """A value that may differ from seed to seed and is averaged over them.

    In run.json a name that is a measure in one table of the experiment is a measure in each table of the run.

    Attributes:
        within: the values that it can have.
        better: whether more or less of it is better; None: neither.
        interval: whether its 95 % interval stands beside it, in `NAME_low` and `NAME_high`.
    """

    within: Range = Range()
    better: Literal["more", "less"] | None = None
    interval: bool = False

    @property
    def terms(self) -> str:
        """The unit, and whether more of it is better."""
        return "; ".join(part for part in (self.unit, self.better and f"{self.better} is better") if part)


def share(name: str, meaning: str, *, better: bool = True, only: str = "", interval: bool = False) -> Measure:
    """Returns a measure that is a fraction of things.

    Args:
        better: whether more of it is better; False: neither.
        only, interval: as in `Measure`.
    """
    return Measure(name, meaning, FRACTION, only, within=SHARE, better="more" if better else None, interval=interval)


@dataclass(frozen=True)
class Note(Column):
    """Any other column: counts of examples, the ends of an interval, words. It is not averaged.

    Attributes:
        interval: as in `Measure`.
    """

    interval: bool = False


def names_of(columns: Iterable[Column]) -> tuple[str, ...]:
    """Returns the names of columns."""
    return tuple(column.name for column in columns)


def ends_of(column: Column, *, only: str = "") -> tuple[Note, ...]:
    """Returns the columns with the ends of a column's 95 % interval, for runs that have these alone."""
    return tuple(
        Note(f"{column.name}{end}", f"{which} end of the 95 % interval of {column.name}", column.unit, only)
        for end, which in zip(ENDS, ("lower", "upper"), strict=True)
    )


def _expanded(columns: Iterable[Column]) -> Iterator[Column]:
    """Yields the columns, and behind each one that has an interval those of its ends."""
    for column in columns:
        yield column
        if isinstance(column, Measure | Note) and column.interval:
            yield from ends_of(column, only=column.only)


@dataclass(frozen=True)
class TableType:
    """A table of an experiment before it has rows.

    Attributes:
        name: that of its file, without ending.
        caption: what it has.
        columns: in any order; a file has them in the order of the rows.
        parquet: whether it is written as Parquet even if it is small.

    Raises:
        ValueError: two columns have one name, or a common name is of no key.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    parquet: bool = False

    def __post_init__(self) -> None:
        names = [column.name for column in _expanded(self.columns)]
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ValueError(f"table {self.name}: the column '{twice[0]}' is declared twice. Declare it once.")
        for column, key in self.common_names.items():
            if column not in self.keys:
                raise ValueError(f"table {self.name}: '{key}' is the common name of '{column}', which is no key.")

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in _expanded(self.columns)}

    @cached_property
    def _families(self) -> list[Column]:
        return [column for column in self.columns if column.is_family]

    def column(self, name: str) -> Column | None:
        """Returns the declaration of a column; None if there is none."""
        found = self._by_name.get(name)
        return found or next((family for family in self._families if family.names(name)), None)

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The columns, with those of the ends of intervals."""
        return tuple(self._by_name.values())

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The columns that name rows."""
        return tuple(column.name for column in self.columns if isinstance(column, Key))

    @cached_property
    def repeats(self) -> tuple[str, ...]:
        """The columns that count repetitions of one measurement."""
        return tuple(column.name for column in self.columns if isinstance(column, Repeat))

    @cached_property
    def measures(self) -> dict[str, Range]:
        """The measure → the values that it can have."""
        return {column.name: column.within for column in self.columns if isinstance(column, Measure)}

    @cached_property
    def common_names(self) -> dict[str, str]:
        """The key → the column that has the same in names that networks of different architectures share."""
        return {column.of: column.name for column in self.columns if isinstance(column, CommonName)}

    def of_seeds(self) -> TableType:
        """Returns the type of the same table of the networks of several seeds: `seed` names rows, too."""
        return replace(self, columns=(SEED, *self.columns))

    def and_columns(self, *columns: Column) -> TableType:
        """Returns the type with further columns."""
        return replace(self, columns=(*self.columns, *columns))

    def for_names(self, names: Iterable[str]) -> TableType:
        """Returns the type with a column for each of these names in place of each column with a `*`."""
        given = list(names)
        columns = (
            [replace(column, name=column.name.replace("*", name)) for name in given] if column.is_family else [column]
            for column in self.columns
        )
        return replace(self, columns=tuple(chain.from_iterable(columns)))

    def filled(self, rows: Rows | Columns, *where: str) -> Table:
        """Returns a table of this type.

        Args:
            where: which of the columns that only some runs have are there: their `only`.
        """
        return Table(self, rows, frozenset(where))


SEED = Key("seed", "the seed of the network")


@dataclass(frozen=True)
class Table:
    """Rows with the type that they are of.

    Attributes:
        where: which of the columns that only some runs have are there: their `only`.

    Raises:
        ValueError: a row has a column that is not declared, one that is declared is nowhere, or the keys don't name the
            rows; the text has the table and the column.
    """

    type: TableType
    rows: Rows | Columns
    where: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not len(self.rows):
            return
        columns = _columns_of(self.rows)
        _check_columns(self.type, columns, self.where)
        _check_keys(self.type, self.rows, columns)

    @property
    def name(self) -> str:
        """The name of its type."""
        return self.type.name


class ByName(Mapping[str, Rows]):
    """The rows of tables by the tables' names; columns become a DataFrame when they are asked for."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._of = {table.name: table.rows for table in tables}

    def __getitem__(self, name: str) -> Rows:
        rows = self._of[name]
        return rows.frame if isinstance(rows, Columns) else rows

    def __contains__(self, name: object) -> bool:
        return name in self._of

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)


def _columns_of(rows: Rows | Columns) -> dict[str, None]:
    """Returns the names of the columns, each once."""
    if isinstance(rows, Columns):
        return dict.fromkeys(rows.values)
    return dict.fromkeys(map(str, rows.columns) if is_frame(rows) else chain.from_iterable(rows))


def _check_columns(of: TableType, columns: Iterable[str], where: frozenset[str]) -> None:
    """Checks that the columns are those that the run's table declares."""
    declared = {column.name for column in of.all_columns if not column.only or column.only in where}
    left = dict.fromkeys(column.name for column in of.all_columns if column.name in declared)
    for name in columns:
        column = of.column(name)
        if column is None:
            raise ValueError(f"table {of.name}: the column '{name}' is not declared. Declare it, or leave it out.")
        if column.name not in declared:
            raise ValueError(
                f"table {of.name}: the column '{name}' is declared for runs {column.only}, and this run is not said to "
                "be one of them."
            )
        left.pop(column.name, None)
    if left:
        raise ValueError(
            f"table {of.name}: the column '{next(iter(left))}' is declared, and no row has it. Fill it, or say in its "
            "declaration which runs have it."
        )


def _check_keys(of: TableType, rows: Rows | Columns, columns: Mapping[str, None]) -> None:
    """Checks that the keys name the rows."""
    if not of.keys:
        raise ValueError(f"table {of.name}: keys are missing. Declare the columns that name its rows as Key.")
    for key in of.keys:
        check_key(of.name, rows, key)
    names = [*of.keys, *(column for column in of.repeats if column in columns)]
    row = first_repeated(rows, names)
    if row is not None:
        framed = rows.frame if isinstance(rows, Columns) else rows
        of_row = framed.iloc[row] if is_frame(framed) else framed[row]
        values = ", ".join(f"{name}={of_row.get(name)}" for name in names)
        raise ValueError(f"table {of.name}: row {row} repeats {values}. Keys must differ from row to row.")


OF_TEST_SET = "the test set"
"""In place of a column that counts: each value of a figure is of all test examples."""


@dataclass(frozen=True)
class FigureType:
    """A figure of an experiment.

    Attributes:
        name: that of its file, without ending; with `*` for any name, where there are several: `weights_*`.
        caption: what it shows, in sentences.
        table: the table that it draws; empty: it draws the network or examples.
        of: what `*` in the name stands for, such as `output`; empty: nothing, or the caption says it.
        n: the column of the table that counts what each value is of, or `OF_TEST_SET`; empty: nothing is counted.
        n_of: what that is, such as `pairs`; empty: test examples.
        intervals: what the intervals are, such as `95 %, Wilson`; empty: none is drawn.
    """

    name: str
    caption: str
    table: str = ""
    of: str = ""
    n: str = ""
    n_of: str = ""
    intervals: str = ""

    def names_of(self, name: str) -> str:
        """Returns what `*` stands for in the name of a figure; empty if this is none of its names."""
        before, star, after = self.name.partition("*")
        return name[len(before) : len(name) - len(after)].replace("_", ", ") if star and name else ""


@dataclass(frozen=True)
class Declarations:
    """All that an experiment's runs may leave.

    Attributes:
        tables: one name may come twice, where some runs have other columns; the first with a column says what it means.
        summary: the numbers of run.json by their names up to the first `/`.
        figures: of the runs and, beginning with `sweep_`, of comparisons of networks.
        compared: the tables of a comparison of networks; a sweep writes them as sweep_NAME.csv.
        added: tables that the runner adds, such as the training's history. Their measures are those of the others.
        last: a table whose measures come after those of others, in run.json and so in sweeps' summaries, although it
            has some of these, too.

    Raises:
        ValueError: a measure has two ranges, or a figure draws a table that is not declared.
    """

    tables: tuple[TableType, ...] = ()
    summary: tuple[Column, ...] = ()
    figures: tuple[FigureType, ...] = ()
    compared: tuple[TableType, ...] = ()
    added: tuple[TableType, ...] = ()
    last: TableType | None = None

    def __post_init__(self) -> None:
        found: dict[str, Range] = {}
        for column in chain(*(table.columns for table in self.tables), self.summary):
            if isinstance(column, Measure) and found.setdefault(column.name, column.within) != column.within:
                raise ValueError(f"the measure {column.name} is declared with two ranges. Declare one.")
        names = {table.name for table in self.tables} | {f"sweep_{table.name}" for table in self.compared}
        for figure in self.figures:
            if figure.table and figure.table not in names:
                raise ValueError(f"the figure {figure.name} draws the table {figure.table}, which is not declared.")

    @cached_property
    def measures(self) -> dict[str, Range]:
        """The measure → the values that it can have, of the tables and then the summary."""
        of_summary = {column.name: column.within for column in self.summary if isinstance(column, Measure)}
        last = self.last.measures if self.last is not None else {}
        found = {name: within for table in self.tables for name, within in table.measures.items() if name not in last}
        return found | last | of_summary

    @cached_property
    def times(self) -> frozenset[str]:
        """The columns and numbers of the summary that are seconds, and so differ from run to run."""
        columns = chain(*(table.columns for table in self.tables), self.summary)
        return frozenset(column.name for column in columns if column.unit == SECONDS)

    @cached_property
    def repeats(self) -> tuple[str, ...]:
        """The columns that count repetitions of one measurement, of all tables."""
        return tuple(dict.fromkeys(name for table in self.tables for name in table.repeats))

    @cached_property
    def common_names(self) -> dict[str, str]:
        """The key → the column that has the same in names that networks of different architectures share."""
        return {key: column for table in self.tables for key, column in table.common_names.items()}

    def with_others(self, other: Declarations) -> Declarations:
        """Returns these declarations with the tables, numbers and figures of runs with other options."""
        return replace(
            self,
            tables=(*self.tables, *(table for table in other.tables if table not in self.tables)),
            summary=(*self.summary, *(number for number in other.summary if number not in self.summary)),
            figures=(*self.figures, *(figure for figure in other.figures if figure not in self.figures)),
        )

    def named(self, table: str) -> list[TableType]:
        """Returns the types of a table, `sweep_NAME` for one of a comparison; none if it is not declared."""
        of_comparison = [replace(one, name=f"sweep_{one.name}") for one in self.compared]
        return [one for one in (*self.tables, *self.added, *of_comparison) if one.name == table]

    def caption(self, table: str) -> str:
        """Returns what a table has; empty if it is not declared."""
        return next((one.caption for one in self.named(table)), "")

    def column(self, table: str, name: str) -> Column | None:
        """Returns the declaration of a table's column; None if there is none."""
        return next((column for one in self.named(table) if (column := one.column(name)) is not None), None)

    def number(self, name: str) -> Column | None:
        """Returns the declaration of a number of the summary, such as `accuracy/relu/zero`; None if there is none."""
        base, _, of = name.partition("/")
        found = next((column for column in _expanded(self.summary) if column.names(base)), None)
        if found is None or not of:
            return found
        return replace(found, meaning=f"{found.meaning}: {of.replace('/', ', ')}")

    def figure(self, name: str) -> FigureType | None:
        """Returns the declaration of a figure; None if there is none."""
        return next((figure for figure in self.figures if fnmatchcase(name, figure.name)), None)

"""Reads a table that people keep: a text file with a header, or Parquet. A file's first bytes say which it is.

pandas reads both. What pandas would do without a word is refused: columns of one name get numbers, the first column
becomes an index where rows are longer than the header, further fields are cut.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from mi_runner.datasets.files import fault, is_file, is_number
from mi_runner.errors import ArgumentError, listed, one_line
from mi_runner.machine import hardware

if TYPE_CHECKING:
    from pandas import DataFrame

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
"""Word → what it stands for. The first three are tried where none is named."""

DECIMALS = {"point": ".", "comma": ","}

ROOM = 10
"""Memory that a table takes while it is read, for each byte of the file."""

MOST_SHOWN = 30
"""Largest number of columns that an error names."""


@dataclass(frozen=True)
class Reading:
    """How a table is read, and how its columns are taken.

    Attributes:
        categories: columns that are taken as categories, whatever they hold; 01234 stays what it is.
        missing_values: texts that mean a missing value, besides those that pandas takes as such.
        standardize: whether numbers are standardised.
        separator: `auto`, a word of `SEPARATORS`, or what it stands for.
        decimal: a word of `DECIMALS`, or what it stands for.
        encoding: of the letters, as Python names it.
    """

    categories: Sequence[str] = ()
    missing_values: Sequence[str] = ()
    standardize: bool = True
    separator: str = "auto"
    decimal: str = "point"
    encoding: str = "utf-8"


class ReadingOptions(TypedDict, total=False):
    """The fields of `Reading`, as keyword arguments."""

    categories: Sequence[str]
    missing_values: Sequence[str]
    standardize: bool
    separator: str
    decimal: str
    encoding: str


def read_table(path: Path, reading: Reading) -> DataFrame:
    """Returns the table of a file, with the names of its columns as text, and rows numbered from 0.

    Raises:
        ArgumentError: the file is missing, no table, or damaged, or a column has no name or that of another; the text
            says what it is and what to type.
    """
    table = _parquet(path) if _is_parquet(path) else _text(path, reading)
    if not len(table):
        raise fault(path, f"it has a header ({listed(list(table.columns), MOST_SHOWN)}) and no rows.")
    return table


def read_rows(path: Path, reading: Reading) -> tuple[DataFrame, bool]:
    """Returns the table of a file, and whether its columns have names; otherwise they are numbered, from 1.

    A text file may have a single column.

    Raises:
        ArgumentError: as of `read_table`, but a first line of numbers is a row.
    """
    if _is_parquet(path):
        return read_table(path, reading), True
    import pandas as pd

    encoding = _encoding(reading)
    separator = _best_separator(path, encoding)[0] if reading.separator == "auto" else reading.separator
    separator = _one_of("separator", separator, SEPARATORS)
    decimal = _one_of("decimal", reading.decimal, DECIMALS)
    if not all(map(is_number, filter(str.strip, _first_line(path, separator, encoding)))) or decimal == separator:
        return read_table(path, replace(reading, separator=separator)), True
    with _readable(path, encoding):
        table = pd.read_csv(
            path,
            sep=separator,
            decimal=decimal,
            encoding=encoding,
            header=None,
            skipinitialspace=True,
            na_values=list(reading.missing_values),
            low_memory=False,
        )
    table.columns = [str(place + 1) for place in range(table.shape[1])]
    return table, False


def _is_parquet(path: Path) -> bool:
    """Returns whether a file is Parquet; otherwise it may be text.

    Raises:
        ArgumentError: it is missing, empty, too large for the memory, or of a kind that people mistake for a table.
    """
    if not is_file(path):
        raise fault(path, "it is a folder; name the file in it." if path.is_dir() else "no such file.")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise fault(path, f"can't be read ({error.strerror}).") from error
    if not head:
        raise fault(path, "the file is empty.")
    if lacking := hardware.lacking_memory(ROOM * path.stat().st_size):
        raise fault(path, f"the table takes {lacking}.", "Save fewer rows or columns.")
    if head.startswith(b"PAR1"):
        return True
    _refuse_other_kinds(path, head)
    return False


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    """Raises an ArgumentError if the file is of a kind that people mistake for a table."""
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError) as error:
            raise fault(path, "it is a damaged zip file, no table.") from error
        if any(name.startswith("xl/") for name in names):
            raise fault(path, "it is an Excel file.", "Save it as CSV there, or pandas.read_excel(...).to_csv(...).")
        if any(name.endswith(".npy") for name in names):
            raise fault(path, "it is an .npz file of arrays.", "Type dataset=arrays for it.")
        raise fault(path, "it is a zip file, no table.", "Unpack it.")
    kinds = {
        b"\x93NUMPY": "an .npy file",
        b"\x89HDF": "HDF5",
        b"\xd0\xcf\x11\xe0": "an Excel file",
        b"\x80": "a pickle",
    }
    for begin, kind in kinds.items():
        if head.startswith(begin):
            raise fault(path, f"it is {kind}, no table.", "Save it as .csv or .parquet.")


def _parquet(path: Path) -> DataFrame:
    import pandas as pd
    import pyarrow

    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise fault(path, f"it is a Parquet file that can't be read ({one_line(error)}).") from error
    table.columns = _names(path, [str(name) for name in table.columns])
    return table.reset_index(drop=True)


def _text(path: Path, reading: Reading) -> DataFrame:
    """Returns the table of a text file."""
    import pandas as pd

    encoding = _encoding(reading)
    decimal = _one_of("decimal", reading.decimal, DECIMALS)
    separator = _separator(path, reading.separator, encoding)
    names = _header(path, separator, encoding)
    as_text = dict.fromkeys((name for name in reading.categories if name in names), str)
    if decimal == separator:
        raise ArgumentError("decimal", reading.decimal, f"{path.name} has this mark between its columns.")
    with warnings.catch_warnings(), _readable(path, encoding):
        warnings.simplefilter("error", pd.errors.ParserWarning)  # fields would be cut
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # a column of numbers and texts is refused later
        table = pd.read_csv(
            path,
            sep=separator,
            decimal=decimal,
            encoding=encoding,
            header=0,
            names=names,
            index_col=False,
            skipinitialspace=True,
            dtype=as_text,
            na_values=list(reading.missing_values),
            low_memory=False,
        )
    return _without_row_numbers(path, table)


def _encoding(reading: Reading) -> str:
    """Returns the encoding as Python's reader takes it: UTF-8 may begin with a mark."""
    return "utf-8-sig" if reading.encoding.lower() in ("utf-8", "utf8") else reading.encoding


class _readable:
    """Turns what pandas raises for a text file, within the block, into errors that say what the file is."""

    def __init__(self, path: Path, encoding: str) -> None:
        self.path, self.encoding = path, encoding

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import pandas as pd

        path = self.path
        if isinstance(error, UnicodeError):
            remedy = "Save it as UTF-8, or name its encoding, such as {encoding}=latin-1 or {encoding}=utf-16."
            raise fault(
                path, f"its letters are not {self.encoding.removesuffix('-sig')}.", remedy, others=["encoding"]
            ) from error
        if isinstance(error, LookupError):
            remedy = "Type one that Python knows, such as utf-8, latin-1, utf-16."
            raise ArgumentError("encoding", self.encoding, "no encoding has this name.", remedy) from error
        if isinstance(error, pd.errors.EmptyDataError):
            raise fault(path, "the file has no line with names.") from error
        if isinstance(error, pd.errors.ParserWarning):
            raise fault(path, "rows have more fields than the header has names.", "Give each column a name.") from error
        if isinstance(error, pd.errors.ParserError):
            found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
            what = "line {1} has {2} fields, the lines before have {0}" if found else one_line(error)
            remedy = "A separator within a text takes quotes around the text."
            raise fault(path, f"{what.format(*(found.groups() if found else ()))}.", remedy) from error


def _separator(path: Path, named: str, encoding: str) -> str:
    """Returns what stands between columns: what is named, or what gives the header most columns."""
    if named != "auto":
        return _one_of("separator", named, SEPARATORS)
    best, n_columns = _best_separator(path, encoding)
    if n_columns == 1:
        problem = "its first line has one column between commas, semicolons or tabs; a table has at least two."
        raise fault(path, problem, "Type {separator}=bar or another one.", others=["separator"])
    return best


def _best_separator(path: Path, encoding: str) -> tuple[str, int]:
    """Returns what gives the first line most columns, and their number."""
    found = {mark: len(_first_line(path, mark, encoding)) for mark in list(SEPARATORS.values())[:3]}
    best = max(found, key=found.__getitem__)
    return best, found[best]


def _one_of(option: str, given: str, words: dict[str, str]) -> str:
    if given not in (*words, *words.values()):
        raise ArgumentError(option, given, f"type {' or '.join(words)}.")
    return words.get(given, given)


def _first_line(path: Path, separator: str, encoding: str) -> list[str]:
    import pandas as pd

    with _readable(path, encoding):
        line = pd.read_csv(
            path, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False, encoding=encoding,
            skipinitialspace=True,
        )  # fmt: skip
    return [str(name) for name in line.iloc[0]] if len(line) else []


def _header(path: Path, separator: str, encoding: str) -> list[str]:
    """Returns the names of the columns of a text file."""
    names = _first_line(path, separator, encoding)
    if all(is_number(name) for name in names if name.strip()):
        problem = f"its first line has numbers ({listed(names, 5)}), no names of columns:"
        raise fault(path, problem, "write a line with the names above.")
    return _names(path, names)


def _names(path: Path, names: Sequence[str]) -> list[str]:
    """Returns the names of columns without spaces around them.

    Raises:
        ArgumentError: a name is missing, occurs twice, or can't be printed. Only the first may be missing, where
            programs that write row numbers leave it out.
    """
    names = [name.strip() for name in names]
    for place, name in enumerate(names):
        if (not name and place) or not name.isprintable():
            what = f"the name {name!a}" if name else "no name"
            raise fault(path, f"column {place + 1} of {len(names)} has {what}:", "give it one.")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise fault(path, f"several columns have one name: {listed(twice, MOST_SHOWN)}.", "Give each its own.")
    return names


def _without_row_numbers(path: Path, table: DataFrame) -> DataFrame:
    """Returns the table without a first column that has no name, where it numbers the rows.

    Raises:
        ArgumentError: it has other values.
    """
    if table.columns[0]:
        return table
    values, n = table.iloc[:, 0].tolist(), len(table)
    if values not in ([*range(n)], [*range(1, n + 1)]):
        raise fault(path, "the first column has no name, and doesn't number the rows:", "give it one.")
    return table.iloc[:, 1:]

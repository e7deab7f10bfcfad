"""Reads .npz files that anyone may have written: what a file declares is checked before it is believed.

An .npz file is a zip of .npy members. A member's header declares a dtype and a shape; a few bytes can declare a
terabyte. So the header is read first, and its numbers must be the size that the zip has for the member, which must fit
into the machine's memory. Members of Python objects are pickles, which can run code; they are never read.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shlex
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mi_runner.datasets.files import fault, is_file, is_number
from mi_runner.errors import ArgumentError, listed
from mi_runner.machine import hardware

SHARE = 0.5
"""Fraction of the memory that is free which a file's arrays may take; their copies as float32 take the rest."""

MOST_NAMED = 20
"""Largest number of members that an error names."""

Array = np.ndarray[Any, Any]

DAMAGES = (
    *(ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError, UnicodeError),
    *(OSError, EOFError, RuntimeError, NotImplementedError, OverflowError, zipfile.BadZipFile, zlib.error),
)
"""What zipfile, zlib and numpy raise for bytes that nobody would write on purpose; a file chooses which."""


def read_npz(
    path: Path, names: Sequence[str], together: Sequence[str] = (), more: Sequence[str] = ()
) -> dict[str, Array]:
    """Returns the arrays of a file: all of `names`, either all or none of `together`, and those of `more` it has.

    Their dtypes are numbers, text, or whatever numpy stores without pickle.

    Raises:
        ArgumentError: the file is missing, no .npz, damaged, too large for the memory, or lacks an array; the text
            says what it is and what to type.
    """
    if not is_file(path):
        raise fault(path, "it is a folder; name the .npz file in it." if path.is_dir() else "no such file.")
    if is_not := _what_it_is(path, names):
        raise fault(path, is_not)
    with _damage_named(path):
        archive = zipfile.ZipFile(path)
    with archive:
        members = _members(path, archive)
        missing = [name for name in names if name not in members]
        if missing:
            had = listed([ascii(name)[1:-1] for name in members], MOST_NAMED)
            problem = f"{', '.join(missing)} missing; it has {had or 'nothing'}."
            raise fault(path, problem, _split(path, names, list(members)))
        more_names = [name for name in together if name in members]
        if more_names and len(more_names) < len(together):
            missing = [name for name in together if name not in more_names]
            raise fault(path, f"{', '.join(missing)} missing; a causal model is {', '.join(together)}.")
        asked = {name: members[name] for name in (*names, *more_names, *more) if name in members}
        for name, member in asked.items():
            _check_header(path, archive, name, member)
        _check_memory(path, sum(member.file_size for member in asked.values()))
        return {name: _array(path, archive, name, member) for name, member in asked.items()}


@contextmanager
def _damage_named(path: Path, name: str = "") -> Iterator[None]:
    try:
        yield
    except ArgumentError:
        raise
    except DAMAGES as error:
        what, why = name or "the file", f" ({error})" if isinstance(error, _Contradiction) else ""
        raise fault(path, f"{what} is damaged{why}: save it again with numpy.savez.") from error


class _Contradiction(ValueError):
    """A file says two things that can't both be; the text says which."""


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in members:
            raise fault(path, f"it has {name!a} twice: save it again with numpy.savez.")
        if member.flag_bits & 1:
            raise fault(path, f"{name!a} in it is encrypted: save it again with numpy.savez.")
        members[name] = member
    return members


def _check_header(path: Path, archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo) -> None:
    """Checks that the member is an array without objects whose size is what its header declares."""
    with _damage_named(path, name), archive.open(member) as file:
        head = file.read(len(np.lib.format.MAGIC_PREFIX))
        if head != np.lib.format.MAGIC_PREFIX:
            raise fault(path, f"{name} is not an array.")
        version = tuple(file.read(2))
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise fault(
                path, f"{name} has no plain dtype (format {'.'.join(map(str, version))}): save numbers or text."
            )
        shape, _, dtype = readers[version](file)
        if dtype.hasobject:
            raise fault(
                path,
                f"{name} {shape} holds Python objects (dtype object), which are read by running code. Save it with a "
                f"plain dtype: {name}.astype(str) for names, {name}.astype(float) for numbers.",
            )
        if any(isinstance(n, bool) or n < 0 for n in shape):
            raise _Contradiction(f"its header has the shape {shape}")
        declared, there = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if declared != there:
            raise _Contradiction(
                f"its header says {declared:,} bytes, {shape} of {dtype}; the file has {max(0, there):,}"
            )


def _check_memory(path: Path, n_bytes: int) -> None:
    free = hardware.free_memory()
    if free is not None and n_bytes > SHARE * free:
        raise fault(
            path,
            f"its arrays take {n_bytes / 1e9:.3g} GB, and copies are made of them; {free / 1e9:.3g} GB of memory are "
            "free. Save fewer examples, or give the program more memory.",
        )


def _array(path: Path, archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo) -> Array:
    with _damage_named(path, name), archive.open(member) as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
        file.read(1)  # at the end, the zip's checksum is compared
        return array


# --- files of other kinds ------------------------------------------------------------------------------------------


def _what_it_is(path: Path, names: Sequence[str]) -> str:
    """Returns what a file is that is no .npz, and what to type; empty for a zip, which may be one."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise fault(path, f"can't be read ({error.strerror}).") from error
    save = f"numpy.savez('data.npz', {', '.join(f'{name}=...' for name in names)})"
    if not head:
        return f"the file is empty: save it again with {save}."
    if head.startswith(b"PK\x03\x04"):
        return _of_torch(path) if _has_pickle(path) else ""
    if head.startswith(b"PK"):  # a zip without members
        return ""
    if head.startswith(np.lib.format.MAGIC_PREFIX):
        return f"it holds a single array, as .npy; an .npz holds all: {save}."
    if head.startswith(b"\x80"):
        program = f'import numpy, pickle; numpy.savez("data.npz", **pickle.load(open({_text(path)}, "rb")))'
        return (
            "it is a pickle, which can run any code when it is read. If you trust it, and it holds a dict of arrays, "
            f"type {_python(program)}"
        )
    kinds = {b"\x89HDF": "HDF5 (.h5)", b"PAR1": "Parquet", b"\x1f\x8b": "gzip", b"MATLAB": "MATLAB (.mat)"}
    for begin, kind in kinds.items():
        if head.startswith(begin) and kind == "Parquet" and tuple(names[:2]) == ("x_train", "y_train"):
            return f"it is Parquet, not .npz: type dataset=table {{path}}={path} dataset.target_column=..., its target."
        if head.startswith(begin):
            return f"it is {kind}, not .npz. Read it in Python, and save its arrays: {save}."
    if (table := _as_table(path, head)) and tuple(names[:2]) == ("x_train", "y_train"):
        return table
    return f"it is no .npz file. Save the arrays with {save}."


def _has_pickle(path: Path) -> bool:
    with _damage_named(path), zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def _of_torch(path: Path) -> str:
    program = (
        'import numpy, torch; numpy.savez("data.npz", '
        f"**{{name: value.numpy() for name, value in torch.load({_text(path)}).items()}})"
    )
    return f"it was written by torch.save. If it holds a dict of tensors, type {_python(program)}"


def _split(path: Path, names: Sequence[str], members: Sequence[str]) -> str:
    """Returns the command that makes the four arrays of an .npz file that has inputs and targets in one; or empty."""
    found = [
        next((name for name in members if name.lower() in alike), None)
        for alike in (("x", "data", "features", "inputs"), ("y", "labels", "target", "targets"))
    ]
    if None in found or tuple(names[:2]) != ("x_train", "y_train"):
        return ""
    program = (
        f"import numpy as np; f = np.load({_text(path)}); x, y = f[{json.dumps(found[0])}], f[{json.dumps(found[1])}]; "
        'r = np.random.default_rng(0).permutation(len(x)); n = len(x) * 4 // 5; np.savez("data.npz", '
        "x_train=x[r[:n]], y_train=y[r[:n]], x_test=x[r[n:]], y_test=y[r[n:]])"
    )
    return f"This makes a file whose test set is a fifth of the examples: {_python(program)}"


def _as_table(path: Path, head: bytes) -> str:
    """Returns the option for a table of text, or the command that makes an .npz file of one without names.

    Empty if the file is no table.
    """
    try:
        text = head.decode("utf-8-sig")
        lines = text.splitlines()[:-1] or text.splitlines()
        dialect = csv.Sniffer().sniff(lines[-1], delimiters=",;\t ")
        rows = list(csv.reader(io.StringIO("\n".join(lines)), dialect))
    except (UnicodeDecodeError, csv.Error, IndexError):
        return ""
    first, last = rows[0], rows[-1]
    if len(last) < 2 or len(first) != len(last):
        return ""
    if not any(map(is_number, first)):
        column = first[-1].strip()
        of_target = column if re.fullmatch(r"[A-Za-z_][\w.-]*", column) else shlex.quote(json.dumps(column))
        return (
            f"it is a table of text with {len(last)} columns, not .npz. If {column} is the target, type dataset=table "
            f"{{path}}={path} dataset.target_column={of_target}"
        )
    if not all(map(is_number, last[:-1])):
        return ""
    as_text = not is_number(last[-1])
    kind, x = (", dtype=str", "t[{}, :-1].astype(float)") if as_text else ("", "t[{}, :-1]")
    program = (
        f"import numpy as np; t = np.loadtxt({_text(path)}, delimiter={json.dumps(dialect.delimiter)}"
        f'{kind}, encoding="utf-8-sig"); t = np.random.default_rng(0).permutation(t); '
        f'n = len(t) * 4 // 5; np.savez("data.npz", x_train={x.format(":n")}, y_train=t[:n, -1], '
        f"x_test={x.format('n:')}, y_test=t[n:, -1])"
    )
    return (
        f"it is a table of text with {len(last)} columns, not .npz. Write a line with their names above, and type "
        "dataset=table. Or, if the last column is the label, this makes a file whose test set is a fifth of the rows: "
        f"{_python(program)}"
    )


def _text(path: Path) -> str:
    """Returns the path as a Python string in double quotes, which single quotes of a shell may enclose."""
    return json.dumps(str(path), ensure_ascii=False)


def _python(program: str) -> str:
    return f"python -c {shlex.quote(program)}, and name data.npz instead."

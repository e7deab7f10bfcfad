"""Files of one's own that declare what isn't there, are of another kind, or hold labels and inputs in other forms."""

from __future__ import annotations

import io
import pickle
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mi_runner.config.datasets.arrays import ArraysConfig, Target
from mi_runner.config.datasets.table import TableConfig
from mi_runner.datasets import Dataset, arrays, channels_last
from mi_runner.errors import ArgumentError, ConfigError
from mi_runner.machine import hardware
from mi_runner.runs.choices import load_dataset

DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(size=(30, 6)).astype("float32"), np.arange(30) % 3


def save(path: Path, x: Any = X, y: Any = Y, n: int = 20) -> Path:
    np.savez(path, x_train=x[:n], y_train=y[:n], x_test=x[n:], y_test=y[n:])
    return path


def load(path: Path, target: str = "class") -> Dataset:
    return load_dataset(ArraysConfig(path=str(path), target=Target[target]), seed=0)


def with_member(path: Path, name: str, content: bytes) -> Path:
    """A data set of which one member is replaced."""
    save(path)
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, there in (members | {name: content}).items():
            archive.writestr(member, there)
    return path


def header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    line = text.encode() + b"\n"
    length = len(line).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + length + line + data


def declared(shape: str, descr: str = "'<f4'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


HEADERS = {
    "a shape of 10¹²": header(declared("(10**12, 6)")),
    "a literal shape of 10¹²": header(declared("(1000000000000, 6)"), b"\0" * 24),
    "a product that overflows": header(declared(f"({2**40}, {2**40})"), b"\0" * 24),
    "a negative length": header(declared("(-1, 6)"), b"\0" * 24),
    "a bool in the shape": header(declared("(True, 6)"), b"\0" * 24),
    "a shape of floats": header(declared("(20.0, 6)"), b"\0" * 480),
    "a key that no dict has": header("{[1]: 2}"),
    "no literal": header("__import__('os').getcwd()"),
    "no dict": header("[1, 2]"),
    "deep brackets": header("(" * 5000 + ")" * 5000),
    "a long header": header(declared("(20, 6)") + " " * 20_000, b"\0" * 480, b"\x02\x00"),
    "an unknown dtype": header(declared("(20, 6)", "'<q99'")),
    "a dtype of no size": header(declared("(20, 6)", "'|V0'")),
    "too few bytes": header(declared("(20, 6)"), b"\0" * 40),
    "too many bytes": header(declared("(20, 6)"), b"\0" * 4000),
    "an unknown version": header(declared("(20, 6)"), b"\0" * 480, b"\x09\x00"),
    "only the magic": b"\x93NUMPY",
    "objects": header(declared("(20, 6)", "'|O'"), pickle.dumps([1])),
    "a structure": header(declared("(20,)", "[('a', '<f4'), ('b', '|O')]"), b"\0" * 480),
    "dates": header(declared("(20, 6)", "'<M8[s]'"), b"\0" * 960),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_is_checked_before_it_is_believed(kind: str, tmp_path: Path) -> None:
    path = with_member(tmp_path / "data.npz", "x_train.npy", HEADERS[kind])
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"dataset.path={path}: x_train ") and "pickle" not in text, text


def test_an_array_that_does_not_fit_into_the_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros shrink a thousandfold in a zip; what they take is known before they are read."""
    zeros = io.BytesIO()
    np.save(zeros, np.zeros((20, 50_000), np.float32))
    path = with_member(tmp_path / "data.npz", "x_train.npy", zeros.getvalue())
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(hardware, "free_memory", lambda: 6_000_000)
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ConfigError, match=r"its arrays take 0\.00\d+ GB.* 0\.006 GB of memory are free"):
        load(path)


def test_the_free_memory_is_that_of_the_machine() -> None:
    free = hardware.free_memory()
    assert free is None or 0 < free < 2**50


def test_bytes_behind_the_checksum_are_noticed(tmp_path: Path) -> None:
    path = save(tmp_path / "data.npz")
    content = bytearray(path.read_bytes())
    place = content.index(X[:20].tobytes()[:8])
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="x_train is damaged: save it again"):
        load(path)


def test_two_members_of_one_name(tmp_path: Path) -> None:
    path = save(tmp_path / "data.npz")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x_train.npy", b"")
    with pytest.raises(ConfigError, match="it has 'x_train' twice"):
        load(path)


def test_names_of_members_are_printed_without_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(50):
            archive.writestr(f"\x1b[31m{number}.npy", b"")
    with pytest.raises(
        ConfigError, match=r"x_train, y_train, .* missing; it has \\x1b\[31m0, .* and 30 more"
    ) as caught:
        load(path)
    assert str(caught.value).isprintable()


# --- files of other kinds ------------------------------------------------------------------------------------------


def as_csv(path: Path, head: str = "", text: bool = False) -> Path:
    labels = np.array(["cat", "dog", "owl"])[Y] if text else Y
    rows = [
        ",".join([*(repr(float(value)) for value in row), str(label)]) for row, label in zip(X, labels, strict=True)
    ]
    path.write_text("\n".join([*([head] if head else []), *rows]) + "\n")
    return path


@pytest.mark.parametrize("name", ["data.csv", "it's a table.csv"])
@pytest.mark.parametrize("text", [False, True])
def test_a_table_without_names_is_made_a_file_by_the_command_in_the_error(
    text: bool, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    as_csv(Path(name), "", text)
    with pytest.raises(ConfigError, match="a table of text with 7 columns") as caught:
        load(Path(name))
    typed(str(caught.value))
    loaded = load(Path("data.npz"))
    assert (len(loaded.x_train), len(loaded.x_test)) == (24, 6)
    assert loaded.class_names == (("cat", "dog", "owl") if text else ("0", "1", "2"))
    rows = {tuple(x): y for x, y in zip(loaded.x_train.tolist(), loaded.y_train.tolist(), strict=True)}
    assert all(rows.get(tuple(x), y) == y for x, y in zip(X.tolist(), Y.tolist(), strict=True))


@pytest.mark.parametrize("text", [False, True])
def test_a_table_with_names_is_taken_by_the_options_in_the_error(
    text: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    as_csv(Path("data.csv"), "a,b,c,d,e,f,label", text)
    with pytest.raises(ConfigError, match="a table of text with 7 columns") as caught:
        load(Path("data.csv"))
    options = re.findall(r"type dataset=table dataset\.path=(\S+) dataset\.target_column=(\S+)$", str(caught.value))
    assert options == [("data.csv", "label")]
    loaded = load_dataset(TableConfig(path=options[0][0], target_column=options[0][1]), seed=0)
    assert loaded.feature_names == tuple("abcdef")
    assert loaded.class_names == (("cat", "dog", "owl") if text else ("0", "1", "2"))


def test_one_array_of_inputs_and_one_of_targets_are_split_by_the_command_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("both.npz", X=X, y=Y)
    with pytest.raises(ConfigError, match=r"x_train, y_train, x_test, y_test missing; it has X, y\.") as caught:
        load(Path("both.npz"))
    typed(str(caught.value))
    loaded = load(Path("data.npz"))
    rows = {tuple(x): y for x, y in zip(X.tolist(), Y.tolist(), strict=True)}
    assert (
        len(loaded.x_test) == 6
        and len({*map(tuple, loaded.x_train.tolist()), *map(tuple, loaded.x_test.tolist())}) == 30
    )
    assert [rows[tuple(x)] for x in loaded.x_test.tolist()] == loaded.y_test.tolist()


def typed(error: str) -> None:
    """Runs the command in an error, as a shell would split it; torch is imported in this process only."""
    (command,) = re.findall(r"python -c .*(?=, and name data\.npz instead\.)", error)
    words = shlex.split(command)
    assert words[:2] == ["python", "-c"] and len(words) == 3
    if "torch" in words[2]:
        exec(words[2], {})
    else:
        subprocess.run([sys.executable, "-c", words[2]], check=True)


@pytest.mark.parametrize("kind", ["pt", "pkl"])
def test_a_dict_of_arrays_in_another_file_is_saved_by_the_command_in_the_error(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"x_train": X[:20], "y_train": Y[:20], "x_test": X[20:], "y_test": Y[20:]}
    if kind == "pt":
        torch.save({name: torch.from_numpy(array) for name, array in content.items()}, "other.pt")
    else:
        Path("other.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ConfigError) as caught:
        load(Path(f"other.{kind}"))
    typed(str(caught.value))
    assert torch.equal(load(Path("data.npz")).x_train, torch.from_numpy(X[:20]))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 90, r"it is HDF5 \(.h5\), not .npz"),
        (b"PAR1" + b"\0" * 90, "it is Parquet"),
        (b"\x1f\x8b" + b"\0" * 90, "it is gzip"),
        (b"PK\x05\x06" + b"\0" * 18, "x_train, y_train, x_test, y_test missing; it has nothing"),
        (b"PK\x03\x04" + b"\0" * 90, "the file is damaged"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 90, "it is no .npz file"),
    ],
)
def test_what_a_file_is_is_said(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=text):
        load(path)


@pytest.mark.parametrize("path", ["a\0b.npz", "x" * 5000, "~nobody-has-this-name/a.npz"])
def test_a_name_that_no_file_has(path: str) -> None:
    with pytest.raises(ArgumentError, match="^path="):
        arrays.load(path)


# --- labels --------------------------------------------------------------------------------------------------------

NAMES = np.array(["cat", "dog", "owl"])

LABELS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "text": (NAMES[Y], ("cat", "dog", "owl")),
    "bytes": (NAMES[Y].astype("S"), ("cat", "dog", "owl")),
    "numbers as text": (np.array(["2", "10", "-1"])[(Y + 2) % 3], ("-1", "2", "10")),
    "one-hot": (np.eye(3)[Y], ("0", "1", "2")),
    "one-hot integers": (np.eye(3, dtype=int)[Y], ("0", "1", "2")),
    "a column": (Y[:, None], ("0", "1", "2")),
    "float32": (Y.astype("float32"), ("0", "1", "2")),
    "float16": (Y.astype("float16"), ("0", "1", "2")),
    "uint64": (Y.astype("uint64"), ("0", "1", "2")),
    "big-endian": (Y.astype(">i8"), ("0", "1", "2")),
    "masked": (np.ma.masked_array(Y), ("0", "1", "2")),
}


@pytest.mark.parametrize("form", LABELS)
def test_labels_in_every_form_with_one_meaning_are_the_same_classes(form: str, tmp_path: Path) -> None:
    y, names = LABELS[form]
    loaded = load(save(tmp_path / "data.npz", y=y))
    assert loaded.class_names == names and loaded.y_train.dtype == torch.int64
    if form == "numbers as text":  # 0, 1, 2 were saved as -1, 2, 10
        assert [names[label] for label in loaded.y_test.tolist()] == [str(text) for text in y[20:]]
    else:
        assert loaded.y_train.tolist() == Y[:20].tolist() and loaded.y_test.tolist() == Y[20:].tolist()


def test_a_line_says_what_was_taken_for_what(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mi_runner")
    lines = {
        "text": "data.npz: y holds text; the classes are cat, dog, owl, in this order",
        "one-hot": "data.npz: y has one-hot rows; the place of the 1 is taken as the class",
        "float32": "data.npz: y holds whole numbers as float32; they are taken as classes",
    }
    for form, line in lines.items():
        caplog.clear()
        load(save(tmp_path / "data.npz", y=LABELS[form][0]))
        assert caplog.messages == [line]
    caplog.clear()
    load(save(tmp_path / "data.npz", y=np.where(Y == 2, 5, Y)))
    (gap,) = caplog.messages
    assert gap.startswith(
        "data.npz: no example has 2, 3, 4, and the network gets outputs for them. Save y_train.astype"
    )


@pytest.mark.parametrize(
    ("y", "remedy"),
    [
        (np.where(Y == 0, -1, Y), str),
        (np.where(Y == 2, 700, Y), str),
        (np.where(Y == 2, 2**63, Y).astype("uint64"), str),
        (Y.astype(object), str),
        (NAMES[Y].astype(object), str),
        (Y + 0.5, str),
    ],
)
def test_labels_that_are_refused_are_taken_as_text(y: Any, remedy: type, tmp_path: Path) -> None:
    """What the error says to save, `.astype(str)`, gives a class for each value."""
    with pytest.raises(ConfigError) as caught:
        load(save(tmp_path / "data.npz", y=y))
    assert ".astype(str)" in str(caught.value) or "target=value" in str(caught.value)
    loaded = load(save(tmp_path / "data.npz", y=y.astype(remedy)))
    assert loaded.class_names is not None and len(loaded.class_names) == len(set(y.tolist()))
    assert [loaded.class_names[label] for label in loaded.y_train.tolist()] == [str(value) for value in y[:20]]


@pytest.mark.parametrize("bad", ["", "all", "a\nb", "\x1b[31m"])
def test_a_text_that_can_name_no_class(bad: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a label is '.*'; a class's name has printable characters"):
        load(save(tmp_path / "data.npz", y=np.where(Y == 1, bad, "other")))


# --- shapes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 6), (2, 4, 5, 6)])
def test_inputs_stay_as_they_are(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = DRAW.normal(size=(30, *shape)).astype("float32")
    loaded = load(save(tmp_path / "data.npz", x=x))
    assert np.array_equal(loaded.x_train.numpy(), x[:20])
    assert np.array_equal(loaded.flattened().x_train.numpy(), x[:20].reshape(20, -1))


def test_what_is_wrong_says_where(tmp_path: Path) -> None:
    x = X.copy()
    x[5, 2] = np.nan
    with pytest.raises(
        ConfigError, match=r"x_train \(20, 6\) has NaN or infinite values: 1, the first in example 5 at 2\. Save"
    ):
        load(save(tmp_path / "data.npz", x=x))
    assert load(save(tmp_path / "data.npz", x=np.nan_to_num(x))).x_train[5, 2] == 0


def test_images_with_their_channels_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = {(32, 32, 3): True, (32, 24, 1): True, (28, 28, 4): True, (3, 32, 32): False, (1, 28, 3): False}
    expected |= {(3, 3, 3): False, (4, 6, 3): False, (32, 32): False, (16, 8, 8): False}
    assert {shape: channels_last(shape) for shape in expected} == expected
    load(save(tmp_path / "data.npz", x=DRAW.normal(size=(30, 8, 8, 3))))
    assert "looks like (N, H, W, C). Images are (N, C, H, W): save x.transpose(0, 3, 1, 2)" in caplog.messages[0]


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_transposed_as_the_error_says_they_are_taken(model: str, mi_run: Callable[..., Any]) -> None:
    x = DRAW.normal(size=(30, 8, 8, 3))
    small = ("dataset=arrays", "dataset.path=data.npz", f"model={model}", "training.epochs=1", "report=false")
    save(Path("data.npz"), x=x)
    ended = mi_run(*small)
    assert ended.status == (2 if model == "cnn" else 0) and "save x.transpose(0, 3, 1, 2)" in ended.err.replace(
        "S", "s"
    )
    save(Path("data.npz"), x=x.transpose(0, 3, 1, 2))
    ended = mi_run(*small)
    assert ended.status == 0 and "transpose" not in ended.err


def test_targets_that_are_images_are_flattened_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mi_runner")
    images = DRAW.normal(size=(30, 1, 6, 6)).astype("float32")
    loaded = load(save(tmp_path / "data.npz", x=images, y=images), "value")
    assert torch.equal(loaded.y_train, torch.from_numpy(images[:20]).flatten(1)) and loaded.n_outputs == 36
    assert caplog.messages == ["data.npz: y has the shape (20, 1, 6, 6); it is flattened to (20, 36)"]

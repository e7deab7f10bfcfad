"""Data sets: MNIST against its own bytes, modular addition against arithmetic, the user's arrays and their faults."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import re
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from mi_runner.config.datasets.arrays import ArraysConfig, Target
from mi_runner.config.datasets.mnist import Mnist01Config, MnistConfig, Normalization
from mi_runner.config.datasets.mod_add import ModAddConfig
from mi_runner.datasets import Dataset, mnist
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.machine.files import written_whole
from mi_runner.runs.choices import load_dataset
from tests.small_data import classes, values

# --- MNIST ---------------------------------------------------------------------------------------------------------

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
"""Images of each digit, as published with the data."""

FIRST_LABELS = [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


@pytest.fixture(scope="module")
def whole() -> Dataset:
    return load_dataset(MnistConfig(), seed=0)


def packaged(name: str, header: int) -> np.ndarray:
    """The numbers of one of the four original files, without its header, as they were published."""
    return np.frombuffer(gzip.decompress((mnist.PACKAGED / f"{name}.gz").read_bytes()), np.uint8, offset=header)


def test_mnist_has_the_published_counts(whole: Dataset) -> None:
    assert whole.x_train.shape == (60_000, 1, 28, 28)
    assert whole.x_test.shape == (10_000, 1, 28, 28)
    assert whole.y_train.bincount().tolist() == TRAIN_COUNTS
    assert whole.y_test.bincount().tolist() == TEST_COUNTS
    assert whole.y_train[:10].tolist() == FIRST_LABELS
    assert whole.class_names == tuple("0123456789")
    assert (whole.n_outputs, whole.input_shape, whole.has_images) == (10, (1, 28, 28), True)


def test_standard_pixels_are_those_of_the_files(whole: Dataset) -> None:
    pixels = packaged("t10k-images-idx3-ubyte", 16).reshape(10_000, 1, 28, 28)[::7]
    expected = (pixels.astype(np.float64) / 255 - 0.1307) / 0.3081
    assert np.allclose(whole.x_test[::7].numpy(), expected, atol=1e-6)
    assert whole.y_test.tolist() == packaged("t10k-labels-idx1-ubyte", 8).tolist()
    # 0.1307 and 0.3081 are the training pixels' own mean and deviation, to four digits.
    assert float(whole.x_train.mean(dtype=torch.float64)) == pytest.approx(0, abs=2e-4)
    assert float(whole.x_train.std()) == pytest.approx(1, abs=2e-4)


def test_symmetric_pixels_go_from_minus_1_to_1() -> None:
    loaded = load_dataset(MnistConfig(digits=[7], normalization=Normalization.symmetric), seed=0)
    labels = packaged("t10k-labels-idx1-ubyte", 8)
    pixels = packaged("t10k-images-idx3-ubyte", 16).reshape(10_000, 1, 28, 28)[labels == 7]
    assert np.allclose(loaded.x_test.numpy(), pixels.astype(np.float64) / 127.5 - 1, atol=1e-6)
    assert (float(loaded.x_test.min()), float(loaded.x_test.max())) == (-1.0, 1.0)


def test_mnist01_has_the_published_counts(whole: Dataset) -> None:
    loaded = load_dataset(Mnist01Config(), seed=0)
    assert (len(loaded.x_train), len(loaded.x_test)) == (12_665, 2_115)
    assert (loaded.name, loaded.class_names, loaded.n_outputs) == ("mnist01", ("0", "1"), 2)
    kept = whole.y_train < 2
    assert torch.equal(loaded.x_train, whole.x_train[kept])
    assert torch.equal(loaded.y_train, whole.y_train[kept])


@pytest.mark.parametrize("digits", [[3, 8], [8, 3]], ids=str)
def test_classes_count_the_kept_digits_in_ascending_order(digits: list[int]) -> None:
    loaded = load_dataset(MnistConfig(digits=digits), seed=0)
    assert loaded.class_names == ("3", "8")
    assert loaded.y_train.bincount().tolist() == [6131, 5851]
    assert loaded.y_test.bincount().tolist() == [1010, 974]
    labels = packaged("t10k-labels-idx1-ubyte", 8)
    assert loaded.y_test.tolist() == [int(label == 8) for label in labels if label in (3, 8)]


def test_values_are_the_digits_themselves() -> None:
    loaded = load_dataset(MnistConfig(digits=[3, 8], target=Target.value, limit=50), seed=0)
    assert loaded.y_train.dtype == torch.float32
    assert set(loaded.y_train.tolist()) == {3.0, 8.0}
    assert (loaded.class_names, loaded.n_outputs, loaded.is_binary) == (None, 1, False)
    assert load_dataset(Mnist01Config(target=Target.value, limit=50), seed=0).is_binary


@pytest.mark.parametrize("digits", [[], [3, 3]], ids=str)
def test_digits_are_named_once_and_at_least_one(digits: list[int]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_dataset(MnistConfig(digits=digits), seed=0)
    assert str(caught.value) == f"dataset.digits={digits}: name at least one digit, each once."


def test_content_and_fingerprint_change_together() -> None:
    configs = [
        MnistConfig(digits=[3, 8]),
        MnistConfig(digits=[3, 5]),
        MnistConfig(digits=[3, 8], normalization=Normalization.symmetric),
        MnistConfig(digits=[3, 8], target=Target.value),
        MnistConfig(digits=[3, 8], limit=20),
    ]
    prints = [load_dataset(config, seed=0).fingerprint for config in configs]
    assert len(set(prints)) == len(prints)
    same = load_dataset(MnistConfig(digits=[8, 3]), seed=1)
    assert same.fingerprint == prints[0]


# --- unpacking MNIST -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A package of two small files in the place of MNIST's four; returns their contents."""
    folder = tmp_path / "package"
    folder.mkdir()
    contents = {"images": bytes(range(256)) * 4, "labels": b"\x05\x00\x04"}
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()]
    (folder / "SHA256SUMS").write_text("".join(sums))
    monkeypatch.setattr(mnist, "PACKAGED", folder)
    return contents


def unpacked(root: Path) -> dict[str, bytes]:
    """What lies where torchvision looks, the lock left out."""
    return {path.name: path.read_bytes() for path in (root / "MNIST" / "raw").iterdir() if path.name != ".lock"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-7]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" + path.read_bytes()[1:]),
        lambda path: path.unlink(),
    ],
    ids=["truncated", "empty", "one byte changed", "missing"],
)
def test_unpacking_repairs_what_is_damaged_and_nothing_else(
    damage: Callable[[Path], Any], small_package: dict[str, bytes], tmp_path: Path
) -> None:
    mnist.unpack(tmp_path)
    assert unpacked(tmp_path) == small_package
    raw = tmp_path / "MNIST" / "raw"
    damage(raw / "images")
    untouched = (raw / "labels").stat()
    mnist.unpack(tmp_path)
    assert unpacked(tmp_path) == small_package
    assert (raw / "labels").stat().st_ino == untouched.st_ino


def test_threads_that_unpack_at_once_get_the_whole_files_and_write_them_once(
    small_package: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_threads = 8
    barrier = Barrier(n_threads)
    written: list[str] = []

    def counted(path: Path, *, private: bool) -> AbstractContextManager[Path]:
        written.append(path.name)
        return written_whole(path, private=private)

    monkeypatch.setattr(mnist, "written_whole", counted)

    def unpack() -> dict[str, bytes]:
        barrier.wait()
        mnist.unpack(tmp_path)
        return unpacked(tmp_path)

    with ThreadPoolExecutor(n_threads) as pool:
        found = [future.result() for future in [pool.submit(unpack) for _ in range(n_threads)]]
    assert found == [small_package] * n_threads
    assert written == ["images", "labels"]


def test_a_damaged_package_says_to_install_again(small_package: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "package" / "labels.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(RunFailed, match=r"^the packaged labels\.gz is damaged: install mi-run again\.$"):
        mnist.unpack(tmp_path)
    assert set(unpacked(tmp_path)) == {"images"}


def test_a_folder_that_can_not_be_made_names_the_option(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.write_text("no folder")
    with pytest.raises(RunFailed) as caught:
        load_dataset(MnistConfig(root=str(root)), seed=0)
    text = str(caught.value)
    assert text.startswith(f"can't unpack MNIST into {root}/MNIST/raw (")
    assert text.endswith("). Use dataset.root=FOLDER for another folder.")


def test_a_truncated_file_of_the_root_is_repaired_before_it_is_read(
    cache: Path, tmp_path: Path, whole: Dataset
) -> None:
    """`dataset.root` names the folder; a copy of what the cache has saves the unpacking."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (cache / "MNIST" / "raw").glob("*-ubyte"):
        (raw / file.name).hardlink_to(file)
    labels = raw / "t10k-labels-idx1-ubyte"
    content = labels.read_bytes()
    labels.unlink()  # else the write would go through the link into the cache
    labels.write_bytes(content[:5000])
    loaded = load_dataset(MnistConfig(digits=[0], root=str(tmp_path)), seed=0)
    assert len(loaded.x_test) == TEST_COUNTS[0]
    assert labels.read_bytes() == content
    assert torch.equal(loaded.x_test, whole.x_test[whole.y_test == 0])


def test_what_was_read_is_kept_and_verified(
    cache: Path, tmp_path: Path, whole: Dataset, monkeypatch: pytest.MonkeyPatch, warnings_in_log: list[str]
) -> None:
    """Without torchvision the tensors are the same; a file with one wrong byte is not believed."""
    kept = tmp_path / "MNIST" / mnist.READ
    kept.parent.mkdir()
    content = (cache / "MNIST" / mnist.READ).read_bytes()
    kept.write_bytes(content)
    reads: list[Path] = []

    def counted(root: Path, *, download: bool) -> list[Tensor]:
        reads.append(root)
        return read(cache, download=download)

    read = mnist._read
    monkeypatch.setattr(mnist, "_read", counted)
    config = MnistConfig(root=str(tmp_path))
    for name in ("x_train", "y_train", "x_test", "y_test"):
        assert torch.equal(getattr(load_dataset(config, seed=0), name), getattr(whole, name))
    assert reads == [] and warnings_in_log == []
    monkeypatch.setattr(mnist, "unpack", lambda root, is_private: None)
    for number, damaged in enumerate((content[:-1] + bytes([content[-1] ^ 1]), content[:-1], b"", None), start=1):
        kept.unlink()
        if damaged is not None:
            kept.write_bytes(damaged)
        loaded = load_dataset(config, seed=0)
        assert torch.equal(loaded.x_test, whole.x_test) and torch.equal(loaded.y_test, whole.y_test)
        assert len(reads) == number and kept.read_bytes() == content
        assert len(warnings_in_log) == min(number, 3)
    assert all(line.startswith(f"{kept} is damaged and will be written again") for line in warnings_in_log)


def test_tensors_of_other_images_are_not_believed(
    cache: Path, tmp_path: Path, whole: Dataset, monkeypatch: pytest.MonkeyPatch, warnings_in_log: list[str]
) -> None:
    """The digest is in the package: one that lies beside the tensors says nothing, for who wrote them wrote it."""
    kept = tmp_path / "MNIST" / mnist.READ
    kept.parent.mkdir()
    tensors = dict(zip(mnist.NAMES, mnist._kept(cache / "MNIST" / mnist.READ), strict=True))
    tensors["y_test"] = 9 - tensors["y_test"]
    digest = mnist._digest(list(tensors.values()))
    kept.write_bytes(safetensors.torch.save(tensors, {"sha256": digest}))
    read = mnist._read
    monkeypatch.setattr(mnist, "_read", lambda root, download: read(cache, download=download))
    loaded = load_dataset(MnistConfig(root=str(tmp_path)), seed=0)
    assert torch.equal(loaded.y_test, whole.y_test) and len(warnings_in_log) == 1


def test_the_files_are_read_in_memory_as_torchvision_reads_them(cache: Path, whole: Dataset) -> None:
    assert all(map(torch.equal, mnist._in_memory(), mnist._kept(cache / "MNIST" / mnist.READ)))


def test_a_download_that_fails_names_the_packaged_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(root: Path, *, train: bool, download: bool) -> None:
        assert download and root == tmp_path
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr("torchvision.datasets.MNIST", offline)
    with pytest.raises(RunFailed) as caught:
        load_dataset(MnistConfig(download=True, root=str(tmp_path)), seed=0)
    assert str(caught.value) == (
        "dataset.download=true: Error downloading train-images-idx3-ubyte.gz. "
        "Use dataset.download=false for the packaged files."
    )
    assert list(tmp_path.iterdir()) == []  # nothing was unpacked


# --- modular addition ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modulus", [2, 3, 7])
def test_modular_addition_is_that(modulus: int) -> None:
    loaded = load_dataset(ModAddConfig(modulus=modulus, train_size=500, test_size=300), seed=0)
    assert (loaded.x_train.shape, loaded.x_test.shape) == ((500, 2 * modulus), (300, 2 * modulus))
    assert loaded.class_names == tuple(map(str, range(modulus)))
    for x, y in ((loaded.x_train, loaded.y_train), (loaded.x_test, loaded.y_test)):
        for row, label in zip(x.tolist(), y.tolist(), strict=True):
            assert sorted(row) == [0.0] * (2 * modulus - 2) + [1.0] * 2
            assert (row[:modulus].index(1.0) + row[modulus:].index(1.0)) % modulus == label
    # Uniform pairs: all m² occur among 500 draws.
    assert len({tuple(row) for row in loaded.x_train.tolist()}) == modulus**2


def test_modular_addition_derives_from_the_seed() -> None:
    config = ModAddConfig(modulus=5, train_size=100, test_size=100)
    first, again, other = (load_dataset(config, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.x_train, again.x_train) and first.fingerprint == again.fingerprint
    assert not torch.equal(first.x_train, other.x_train) and first.fingerprint != other.fingerprint
    assert not torch.equal(first.x_train, first.x_test)
    # The test pairs don't depend on how many training pairs there are.
    longer = load_dataset(replace(config, train_size=200), seed=0)
    assert torch.equal(longer.x_test, first.x_test)


# --- the user's arrays ---------------------------------------------------------------------------------------------


def arrays(**changed: Any) -> dict[str, Any]:
    """Four arrays that are right, but for those that are given."""
    draw = np.random.default_rng(0)
    right = {
        "x_train": draw.normal(size=(6, 3)),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": draw.normal(size=(4, 3)),
        "y_test": np.array([2, 1, 0, 0]),
    }
    return right | changed


def saved(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "data.npz"
    np.savez(path, **content)
    return path


def load_arrays(path: Path, target: str = "class", limit: int | None = None) -> Dataset:
    return load_dataset(ArraysConfig(path=str(path), target=Target[target], limit=limit), seed=0)


def test_vectors_and_classes(tmp_path: Path) -> None:
    content = arrays()
    loaded = load_arrays(saved(tmp_path, content))
    assert np.array_equal(loaded.x_train.numpy(), content["x_train"].astype(np.float32))
    assert loaded.y_train.tolist() == [0, 1, 2, 0, 1, 2]
    assert loaded.y_test.tolist() == [2, 1, 0, 0]
    assert (loaded.class_names, loaded.n_outputs, loaded.input_shape) == (("0", "1", "2"), 3, (3,))


def test_a_class_that_only_the_test_set_has_counts(tmp_path: Path) -> None:
    loaded = load_arrays(saved(tmp_path, arrays(y_test=np.array([4, 0, 0, 0]))))
    assert loaded.n_outputs == 5


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "bool", ">i4"])
def test_labels_of_every_integer_type(dtype: str, tmp_path: Path) -> None:
    labels = arrays(y_train=np.array([0, 1, 1, 0, 1, 0], dtype), y_test=np.array([1, 1, 0, 0], dtype))
    loaded = load_arrays(saved(tmp_path, labels))
    assert loaded.y_train.dtype == torch.int64
    assert loaded.y_train.tolist() == [0, 1, 1, 0, 1, 0]
    assert loaded.n_outputs == 2


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (3, 8, 8)], ids=str)
def test_uint8_images(shape: tuple[int, ...], tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    images = {f"x_{split}": draw.integers(0, 256, (n, *shape), np.uint8) for split, n in (("train", 6), ("test", 4))}
    as_saved = load_arrays(saved(tmp_path, arrays(**images)))
    assert as_saved.input_shape == shape
    loaded = as_saved.with_channel()
    with_channel = (1, *shape) if len(shape) == 2 else shape
    assert loaded.input_shape == with_channel == as_saved.flattened().image_shape
    assert loaded.has_images
    assert loaded.x_train.dtype == torch.float32
    assert np.array_equal(loaded.x_train.numpy(), images["x_train"].reshape(6, *with_channel))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8", "int32", "bool"])
def test_inputs_of_every_number_type(dtype: str, tmp_path: Path) -> None:
    numbers = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 1], [0, 0, 1]]).astype(dtype)
    loaded = load_arrays(saved(tmp_path, arrays(x_test=numbers)))
    assert loaded.x_test.tolist() == [[0, 1, 1], [1, 0, 0], [1, 1, 1], [0, 0, 1]]


def test_columns_in_fortran_order(tmp_path: Path) -> None:
    numbers = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    loaded = load_arrays(saved(tmp_path, arrays(x_test=numbers)))
    assert loaded.x_test.tolist() == np.arange(12.0).reshape(4, 3).tolist()
    assert loaded.x_test.is_contiguous()


@pytest.mark.parametrize(
    ("shape", "n_outputs", "dim"), [((), 1, 1), ((1,), 1, 1), ((2,), 2, 2)], ids=["(N,)", "(N, 1)", "(N, 2)"]
)
def test_value_targets(shape: tuple[int, ...], n_outputs: int, dim: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    y_train, y_test = draw.normal(size=(6, *shape)), draw.normal(size=(4, *shape))
    loaded = load_arrays(saved(tmp_path, arrays(y_train=y_train, y_test=y_test)), "value")
    assert (loaded.n_outputs, loaded.y_train.dim(), loaded.class_names) == (n_outputs, dim, None)
    assert np.array_equal(loaded.y_train.numpy().reshape(y_train.shape), y_train.astype(np.float32))


def test_the_fingerprint_is_of_the_content_and_the_target_not_of_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays())
    first = load_arrays(path)
    np.savez_compressed(tmp_path / "again.npz", **arrays())
    assert load_arrays(tmp_path / "again.npz").fingerprint == first.fingerprint
    assert load_arrays(path, "value").fingerprint != first.fingerprint
    for name in ("x_train", "y_train", "x_test", "y_test"):
        changed = getattr(first, name).clone()
        changed[0] = 1 - changed[0]
        assert replace(first, **{name: changed}).fingerprint != first.fingerprint
    renamed = tuple(f"class {name}" for name in first.class_names or ())
    assert replace(first, class_names=renamed).fingerprint != first.fingerprint


SHAPE = "it must be (N, features) or (N, [C,] H, W)."
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "NaN in x": (
        {"x_train": np.full((6, 3), np.nan)},
        "class",
        "x_train (6, 3) has NaN or infinite values: 18, the first in example 0 at 0. Save numpy.nan_to_num(x_train); "
        "or leave such examples out: keep = numpy.isfinite(x_train).reshape(len(x_train), -1).all(1), then save "
        "x_train[keep] and y_train[keep].",
    ),
    "inf in x": (
        {"x_test": np.full((4, 3), -np.inf)},
        "class",
        "x_test (4, 3) has NaN or infinite values: 12, the first in example 0 at 0. Save numpy.nan_to_num(x_test); or "
        "leave such examples out: keep = numpy.isfinite(x_test).reshape(len(x_test), -1).all(1), then save "
        "x_test[keep] and y_test[keep].",
    ),
    "NaN in y": (
        {"y_test": np.array([0, 1, np.nan, 0])},
        "value",
        "y_test (4,) has NaN or infinite values: 1, the first in example 2. Save numpy.nan_to_num(y_test); or leave "
        "such examples out: keep = numpy.isfinite(y_test), then save x_test[keep] and y_test[keep].",
    ),
    "too large in x": (
        {"x_train": np.full((6, 3), 1e300)},
        "class",
        "x_train (6, 3) has values that are too large for float32, such as 1e+300. Save x_train / 1e+300 and x_test / "
        "1e+300.",
    ),
    "too large in y": (
        {"y_test": np.array([0.0, 1.0, -4e38, 0.0])},
        "value",
        "y_test (4,) has values that are too large for float32, such as 4e+38. Save y_train / 4e+38 and "
        "y_test / 4e+38.",
    ),
    "unequal lengths": (
        {"y_train": np.array([0, 1, 2])},
        "class",
        "x_train (6, 3) has 6 examples and y_train (3,) 3; give equally many. Save x_train.T.",
    ),
    "fewer targets": (
        {"y_train": np.array([0, 1])},
        "class",
        "x_train (6, 3) has 6 examples and y_train (2,) 2; give equally many.",
    ),
    "feature names that are too few": (
        {"feature_names": np.array(["a", "b"])},
        "class",
        "feature_names has the shape (2,), and an example of x_train (6, 3) has 3 numbers: save a name for each.",
    ),
    "feature names that are numbers": (
        {"feature_names": np.arange(3)},
        "class",
        "feature_names (3,) has the dtype int64; it must be names, as text of one axis: save "
        "feature_names.astype(str).",
    ),
    "feature names of two axes": (
        {"feature_names": np.array([["a", "b", "c"]])},
        "class",
        "feature_names (1, 3) has the dtype <U1; it must be names, as text of one axis: save "
        "feature_names.ravel().astype(str).",
    ),
    "a feature's name twice": (
        {"feature_names": np.array(["a", "b", "a"])},
        "class",
        "feature_names has a twice: names must differ.",
    ),
    "class names that are too few": (
        {"class_names": np.array(["ill", "well"])},
        "class",
        "class_names has the shape (2,), and y_train (6,) and y_test (4,) have labels of 3 classes, 0 to 2: save a "
        "name for each.",
    ),
    "a class name twice": (
        {"class_names": np.array(["ill", "well", "ill"])},
        "class",
        "class_names (3,) has ill twice: names must differ.",
    ),
    "a class without a name": (
        {"class_names": np.array(["ill", "well", ""])},
        "class",
        "class_names has ''; a class's name has printable characters, at least one, and is not 'all'.",
    ),
    "a label that class names lack": (
        {
            "y_train": np.array(list("abcabc")),
            "y_test": np.array(list("abca")),
            "class_names": np.array(["c", "b"]),
        },
        "class",
        "class_names (2,) lacks a, which y_train (6,) or y_test (4,) has: save a name for each.",
    ),
    "complex x": (
        {"x_test": np.ones((4, 3), complex)},
        "class",
        "x_test (4, 3) has the dtype complex128; it must be real numbers. Save numpy.abs(x_test), or "
        "numpy.concatenate([x_test.real, x_test.imag], 1).",
    ),
    "text x": (
        {"x_test": np.full((4, 3), "a")},
        "class",
        "x_test (4, 3) has the dtype <U1; it must be real numbers: save x_test.astype(float).",
    ),
    "text labels in test": (
        {"y_test": np.array(list("abca"))},
        "class",
        "y_test holds text and y_train numbers: save both alike, y_train.astype(str).",
    ),
    "text values": (
        {"y_test": np.array(list("abca"))},
        "value",
        "y_test (4,) holds text: save y_test.astype(float), or use dataset.target=class.",
    ),
    "float labels": (
        {"y_train": np.array([0.0, 1.0, 2.5, 0.0, 1.0, 2.0])},
        "class",
        "y_train (6,) has the dtype float64 and values such as 2.5, no classes: use dataset.target=value, or save "
        "y_train.astype(str) for a class of each value.",
    ),
    "negative label": (
        {"y_test": np.array([0, -1, 2, 0])},
        "class",
        "y_train (6,) and y_test (4,) have the labels -1, 0, 1, 2; classes are the integers 0..K−1. "
        "Save y_train.astype(str) and y_test.astype(str): each value that occurs is a class of its own then.",
    ),
    "labels from 3": (
        {"y_train": np.array([3, 8, 3, 8, 3, 8]), "y_test": np.array([3, 8, 3, 8])},
        "class",
        "y_train (6,) and y_test (4,) have the labels 3, 8; classes are the integers 0..K−1. "
        "Save y_train.astype(str) and y_test.astype(str): each value that occurs is a class of its own then.",
    ),
    "label far off": (
        {"y_test": np.array([0, 1, 1_000_000, 0])},
        "class",
        "y_train (6,) and y_test (4,) have the labels 0, 1, 2, 1000000; classes are the integers 0..K−1, without large "
        "gaps. Save y_train.astype(str) and y_test.astype(str): each value that occurs is a class of its own then.",
    ),
    "x of one axis": (
        {"x_train": np.ones(6)},
        "class",
        f"x_train has the shape (6,); {SHAPE} Save x_train[:, None] for one feature.",
    ),
    "x of no axis": ({"x_train": np.float64(1)}, "class", f"x_train has the shape (); {SHAPE}"),
    "rows that are not one-hot": (
        {"y_train": np.ones((6, 4), int), "y_test": np.ones((4, 4), int)},
        "class",
        "y_train has the shape (6, 4); it must be (N,), or one-hot rows (N, classes). For numbers that are no classes "
        "use dataset.target=value.",
    ),
    "no features": (
        {"x_train": np.ones((6, 0)), "x_test": np.ones((4, 0))},
        "class",
        "x_train has the shape (6, 0); an example must have at least one value.",
    ),
    "no outputs": (
        {"y_train": np.ones((6, 0)), "y_test": np.ones((4, 0))},
        "value",
        "y_train has the shape (6, 0); an example must have at least one value.",
    ),
    "other features in test": (
        {"x_test": np.ones((4, 2))},
        "class",
        "an example of x_train (6, 3) has the shape (3,), of x_test (4, 2) (2,); they must be equal.",
    ),
    "images in test that are flat": (
        {"x_train": np.ones((6, 4, 5)), "x_test": np.ones((4, 20))},
        "class",
        "an example of x_train (6, 4, 5) has the shape (4, 5), of x_test (4, 20) (20,); they must be equal. Save "
        "x_test.reshape(len(x_test), 4, 5).",
    ),
    "other outputs in test": (
        {"y_train": np.ones((6, 2)), "y_test": np.ones((4, 3))},
        "value",
        "an example of y_train (6, 2) has the shape (2,), of y_test (4, 3) (3,); they must be equal.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_an_array_is_named(fault: str, tmp_path: Path) -> None:
    changed, target, text = FAULTS[fault]
    path = saved(tmp_path, arrays(**changed))
    with pytest.raises(ConfigError) as caught:
        load_arrays(path, target)
    assert str(caught.value) == f"dataset.path={path}: {text}"


MENDED = {
    "NaN in x": ["numpy.nan_to_num(x_train)"],
    "NaN in y": ["numpy.nan_to_num(y_test)"],
    "too large in x": ["x_train / 1e+300", "x_test / 1e+300"],
    "complex x": ["numpy.abs(x_test)"],
    "feature names that are numbers": ["feature_names.astype(str)"],
    "feature names of two axes": ["feature_names.ravel().astype(str)"],
    "text labels in test": ["y_train.astype(str)"],
    "float labels": ["y_train.astype(str)", "y_test.astype(str)"],
    "negative label": ["y_train.astype(str)", "y_test.astype(str)"],
    "labels from 3": ["y_train.astype(str)", "y_test.astype(str)"],
    "label far off": ["y_train.astype(str)", "y_test.astype(str)"],
    "images in test that are flat": ["x_test.reshape(len(x_test), 4, 5)"],
}
"""Fault → what its error says to save."""


@pytest.mark.parametrize("fault", MENDED)
def test_what_an_error_says_to_save_mends_it(fault: str, tmp_path: Path) -> None:
    changed, target, text = FAULTS[fault]
    content = arrays(**changed)
    for line in MENDED[fault]:
        assert line in text or fault == "float labels"
        (name,) = (name for name in content if re.search(rf"\b{name}\b", line))
        content[name] = eval(line, {"numpy": np, **content})
    loaded = load_arrays(saved(tmp_path, content), target)
    assert loaded.x_train.isfinite().all() and loaded.y_train.isfinite().all()


def test_examples_with_nan_are_left_out_by_the_lines_of_the_error(tmp_path: Path) -> None:
    content = arrays()
    content["x_train"][2, 1] = np.nan
    with pytest.raises(ConfigError) as caught:
        load_arrays(saved(tmp_path, content))
    (made,) = re.findall(r"keep = (.*), then save x_train\[keep\] and y_train\[keep\]\.$", str(caught.value))
    keep = eval(made, {"numpy": np, **content})
    content |= {name: content[name][keep] for name in ("x_train", "y_train")}
    assert len(load_arrays(saved(tmp_path, content)).x_train) == 5


def test_sequences_get_a_name_for_each_feature_at_each_step_by_the_line_of_the_error(tmp_path: Path) -> None:
    content = arrays(x_train=np.ones((6, 2, 3)), x_test=np.ones((4, 2, 3)), feature_names=np.array(["a", "b", "c"]))
    with pytest.raises(ConfigError, match=r"x_train \(6, 2, 3\) has 6 numbers: save numpy") as caught:
        load_arrays(saved(tmp_path, content))
    (line,) = re.findall(r"save (numpy\.array\(.*\)), a name", str(caught.value))
    content["feature_names"] = eval(line, {"numpy": np, **content})
    names = load_arrays(saved(tmp_path, content)).feature_names
    assert names == ("a 0", "b 0", "c 0", "a 1", "b 1", "c 1")


def test_names_of_features_and_classes_are_kept_and_are_no_part_of_the_fingerprint(tmp_path: Path) -> None:
    bare = load_arrays(saved(tmp_path, arrays()))
    words = {"feature_names": np.array(["age", "sex", "dose"]), "class_names": np.array(["a", "b", "c", "never"])}
    named = load_arrays(saved(tmp_path, arrays(**words)))
    assert (named.feature_names, named.class_names) == (("age", "sex", "dose"), ("a", "b", "c", "never"))
    assert bare.feature_names is None and [one.name for one in bare.features] == ["0", "1", "2"]
    assert [(one.name, one.inputs) for one in named.features] == [("age", (0,)), ("sex", (1,)), ("dose", (2,))]
    assert replace(named, class_names=bare.class_names).fingerprint == bare.fingerprint
    for other in (named.limited(2), named.flattened(), named.to(torch.device("cpu"))):
        assert other.feature_names == named.feature_names


def test_names_of_images_stay_where_they_are_flattened() -> None:
    x, y, names = torch.rand(4, 2, 3), torch.tensor([0, 1, 0, 1]), tuple("abcdef")
    images = Dataset("mine", x, y, x, y, ("0", "1"), feature_names=names)
    assert images.flattened().feature_names == images.with_channel().feature_names == names
    with pytest.raises(ValueError, match="feature_names has 5 names, an input has 6 numbers"):
        replace(images, feature_names=names[:5])


@pytest.mark.parametrize(
    ("labels", "names"), [([1, 2, 3, 1, 2, 3], ("1", "2", "3")), ([-1, 1, 1, -1, 1, -1], ("-1", "1"))]
)
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_labels_from_1_and_of_two_signs_are_classes_with_a_line(
    labels: list[int], names: tuple[str, ...], dtype: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mi_runner")
    y = np.array(labels, dtype)
    loaded = load_arrays(saved(tmp_path, arrays(y_train=y, y_test=y[:4])))
    assert loaded.class_names == names
    assert [names[label] for label in loaded.y_train.tolist()] == [str(int(label)) for label in y]
    assert f"y holds the labels {', '.join(names)}; they are taken as {len(names)} classes" in caplog.text
    own = load_arrays(saved(tmp_path, arrays(y_train=y, y_test=y[:4], class_names=np.array(list("pqr"))[: len(names)])))
    assert own.class_names == tuple("pqr")[: len(names)] and torch.equal(own.y_train, loaded.y_train)


def test_a_mechanism_has_the_labels_of_y(tmp_path: Path) -> None:
    values = np.array([[0], [1], [0], [1], [0], [1]])
    causal = {"variables": np.array(["p"]), "variables_train": values, "variables_test": values[:4]}
    y = np.where(values[:, 0] == 0, -1, 1)
    content = arrays(y_train=y, y_test=y[:4], **causal, mechanism=np.array([-1, 1]))
    model = load_arrays(saved(tmp_path, content)).causal_model
    assert model is not None and model.mechanism(torch.tensor([[0.0], [1.0]]).double()).tolist() == [0, 1]
    with pytest.raises(ConfigError, match=r"mechanism \(2,\) has labels that y has not; those of y are -1, 1"):
        load_arrays(saved(tmp_path, {**content, "mechanism": np.array([0, 1])}))


def test_classes_that_are_text_get_the_order_of_their_names(tmp_path: Path) -> None:
    y = np.array(["low", "high", "low", "mid", "high", "mid"])
    words = np.array(["low", "mid", "high"])
    loaded = load_arrays(saved(tmp_path, arrays(y_train=y, y_test=y[:4], class_names=words)))
    assert loaded.class_names == ("low", "mid", "high") and loaded.y_train.tolist() == [0, 2, 0, 1, 2, 1]


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.npz"
    with pytest.raises(ConfigError) as caught:
        load_arrays(path)
    assert str(caught.value) == f"dataset.path={path}: no such file."
    with pytest.raises(ConfigError, match="it is a folder; name the .npz file in it"):
        load_arrays(tmp_path)


def test_missing_arrays_are_named_with_those_that_are_there(tmp_path: Path) -> None:
    content = arrays()
    del content["y_test"], content["x_test"]
    path = saved(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        load_arrays(path)
    assert str(caught.value) == f"dataset.path={path}: x_test, y_test missing; it has x_train, y_train."


def test_a_single_array_says_how_to_save_four(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, np.ones(3))
    with pytest.raises(ConfigError) as caught:
        load_arrays(path)
    assert str(caught.value) == (
        f"dataset.path={path}: it holds a single array, as .npy; an .npz holds all: "
        "numpy.savez('data.npz', x_train=..., y_train=..., x_test=..., y_test=...)."
    )


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in arrays():
            archive.writestr(f"{name}.npy", b"no array")
    with pytest.raises(ConfigError) as caught:
        load_arrays(path)
    assert str(caught.value) == f"dataset.path={path}: x_train is not an array."


class Trap:
    """An object whose unpickling leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_pickled_objects_are_refused_and_not_read(tmp_path: Path) -> None:
    mark = tmp_path / "code ran"
    trap = np.array([Trap(mark)] * 6, object)
    path = saved(tmp_path, arrays(y_train=trap))
    with pytest.raises(ConfigError, match=r"y_train \(6,\) holds Python objects .*: y_train\.astype\(str\) for names"):
        load_arrays(path)
    assert not mark.exists()
    with np.load(path, allow_pickle=True) as file:
        file["y_train"]
    assert mark.exists()  # so the trap works


def whole_file(save: Callable[..., None] = np.savez) -> bytearray:
    """The bytes of a data set that is right."""
    file = io.BytesIO()
    save(file, **arrays(x_train=np.arange(1800.0).reshape(600, 3), y_train=np.arange(600) % 3))
    return bytearray(file.getvalue())


def with_wrong_compressed_bytes() -> bytes:
    content = whole_file(np.savez_compressed)
    content[200:260] = b"\xff" * 60
    return bytes(content)


def with_unknown_compression() -> bytes:
    content = whole_file()
    entry = content.index(b"PK\x01\x02")  # in the directory at the end; the method stands 10 bytes further
    content[entry + 10] = 77
    return bytes(content)


def with_encryption_flag() -> bytes:
    content = whole_file()
    entry = content.index(b"PK\x01\x02")  # the flags stand 8 bytes further
    content[entry + 8] |= 1
    return bytes(content)


DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "the file is empty: save it again with numpy.savez('data.npz', x_train=..., "),
    "text": (
        lambda: b"some\nwords\n",
        "it is no .npz file. Save the arrays with numpy.savez('data.npz', x_train=..., ",
    ),
    "pickle": (lambda: pickle.dumps({"x_train": 1}), "it is a pickle, which can run any code when it is read. "),
    "cut short": (lambda: bytes(whole_file()[:700]), "the file is damaged: save it again with numpy.savez."),
    "one byte short": (lambda: bytes(whole_file()[:-1]), "the file is damaged: save it again with numpy.savez."),
    "changed": (
        lambda: bytes(whole_file()).replace(b"\x00\x40", b"\x00\x41"),
        "y_train is damaged (its header says 4,800 bytes, (600,) of int64; the file has 4,801): save it again with ",
    ),
    "wrong compressed bytes": (with_wrong_compressed_bytes, "x_train is damaged: save it again with numpy.savez."),
    "unknown compression": (with_unknown_compression, "x_train is damaged: save it again with numpy.savez."),
    "encrypted": (with_encryption_flag, "'x_train' in it is encrypted: save it again with numpy.savez."),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_file_that_is_no_npz_or_damaged(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    content, text = DAMAGED[damage]
    path.write_bytes(content())
    with pytest.raises(ConfigError) as caught:
        load_arrays(path)
    assert str(caught.value).startswith(f"dataset.path={path}: {text}")


# --- what every data set has ---------------------------------------------------------------------------------------


def test_limit_keeps_the_first_examples(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays())
    whole, limited = load_arrays(path), load_arrays(path, limit=3)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        assert torch.equal(getattr(limited, name), getattr(whole, name)[:3])
    assert limited.fingerprint != whole.fingerprint == whole.limited(99).fingerprint
    larger = load_arrays(path, limit=5)
    assert (len(larger.x_train), len(larger.x_test)) == (5, 4)  # there are only four
    assert whole.limited(None) is whole
    # The classes are those of the whole: a limit changes no network's size.
    assert load_arrays(path, limit=2).n_outputs == 3


@pytest.mark.parametrize(("n_train", "n_test"), [(0, 4), (1, 4), (6, 1), (6, 0)])
def test_fewer_than_two_examples_are_refused(n_train: int, n_test: int, tmp_path: Path) -> None:
    content = arrays()
    fewer = {name: array[: n_train if "train" in name else n_test] for name, array in content.items()}
    for target in ("class", "value"):
        with pytest.raises(
            ConfigError, match=r"^dataset=arrays: training and test set need at least 2 examples each\.$"
        ):
            load_arrays(saved(tmp_path, fewer | {name: fewer[name] * 0 for name in ("y_train", "y_test")}), target)


def test_two_examples_are_enough(tmp_path: Path) -> None:
    content = {name: array[:2] for name, array in arrays().items()}
    assert len(load_arrays(saved(tmp_path, content | {"y_test": np.array([0, 1])})).x_train) == 2


def test_flattened_images_remember_their_shape() -> None:
    x = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    y = torch.tensor([0, 1])
    images = Dataset("arrays", x, y, x, y, ("0", "1"))
    flat = images.flattened()
    assert (images.image_shape, images.has_images) == ((3, 4, 5), True)
    assert (flat.input_shape, flat.image_shape, flat.has_images) == ((60,), (3, 4, 5), False)
    assert flat.x_train[1].tolist() == list(range(60, 120))
    assert flat.flattened() is flat
    assert classes().image_shape is None


@pytest.mark.parametrize(
    ("targets", "n_outputs", "binary"),
    [
        (torch.tensor([0.0, 1.0, 1.0]), 1, True),
        (torch.tensor([0.0, 0.5, 1.0]), 1, False),
        (torch.tensor([1.0, 2.0, 1.0]), 1, False),
        (torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), 2, False),
    ],
    ids=["0 and 1", "a half", "a two", "two outputs"],
)
def test_a_target_is_binary_if_it_is_one_value_of_0_or_1(targets: Tensor, n_outputs: int, binary: bool) -> None:
    x = torch.zeros(3, 2)
    dataset = Dataset("arrays", x, targets, x, targets, None)
    assert (dataset.n_outputs, dataset.is_binary, dataset.has_classes) == (n_outputs, binary, False)
    assert not classes(n_classes=2).is_binary


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"x_train": torch.zeros(3, 6)}, "x_train has 3 examples, y_train has 40; give equally many."),
        (
            {"x_test": torch.zeros(40, 6).double()},
            "x_test must be float32, or x_train and x_test both int64, not torch.float64.",
        ),
        (
            {"y_train": torch.zeros(40)},
            "y_train has the dtype torch.float32; it must be int64 with class_names, float32 without.",
        ),
        (
            {"class_names": None},
            "y_train has the dtype torch.int64; it must be int64 with class_names, float32 without.",
        ),
    ],
    ids=["lengths", "double inputs", "float classes", "integer values"],
)
def test_a_data_set_checks_itself(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        replace(classes(), **changed)
    assert str(caught.value) == text


def test_moving_keeps_all_but_the_place() -> None:
    dataset = values()
    moved = dataset.to(torch.device("cpu"))
    assert torch.equal(moved.x_train, dataset.x_train) and moved.fingerprint == dataset.fingerprint
    on_meta = dataset.to(torch.device("meta"))
    places = {getattr(on_meta, name).device.type for name in ("x_train", "y_train", "x_test", "y_test")}
    assert places == {"meta"}

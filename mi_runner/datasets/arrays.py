"""The user's own data: an .npz file with x_train, y_train, x_test, y_test, and optionally a causal model.

Four more arrays give the causal model of the data, for experiment=iit:

| array                              | shape            | what it holds                                             |
|------------------------------------|------------------|-----------------------------------------------------------|
| `variables`                        | `(V,)`           | names, as text                                            |
| `variables_train`, `variables_test`| `(N, V)`         | each example's values of the variables: integers 0..k−1   |
| `mechanism`                        | `(k_1, ..., k_V)`| the label that follows from each combination of values    |
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import CausalModel, LabelTable
from mi_runner.errors import ArgumentError

NAMES = ("x_train", "y_train", "x_test", "y_test")
CAUSAL_NAMES = ("variables", "variables_train", "variables_test", "mechanism")


def load(path: str, *, seed: int = 0, limit: int | None = None, target: str = "class") -> Dataset:
    """Returns the data set in the .npz file `path`.

    x may be `(N, features)`, or images `(N, H, W)` or `(N, C, H, W)`, of any real dtype. y holds integers 0..K−1 for
    classes, or numbers `(N,)` or `(N, outputs)` for values.

    Args:
        seed: has no effect, because the file has the examples.
        limit: take at most this many training and test examples; None: all.
        target: class or value.

    Raises:
        ArgumentError: the file or an array is missing or not as described; the text names the first mistake.
    """
    return _dataset(Path(path).expanduser(), by_class=target == "class").limited(limit)


def load_examples(path: str, dataset: Dataset, *, argument: str = "path") -> tuple[Tensor, Tensor | None]:
    """Returns the examples in the .npz file `path`, `(M, *input_shape)` as those of the data set, and their classes.

    The file has `x`, in the units of the data set's inputs, and optionally `y`, `(M,)` classes of the data set. Without
    `y` the classes are None. Flattened inputs may be given as the images that they were, and the other way round.

    Args:
        argument: its name in errors.

    Raises:
        ArgumentError: the file or an array is missing or not as described; the text names the first mistake.
    """
    file = Path(path).expanduser()
    try:
        arrays = _read(file, ("x",), ("y",))
        x = arrays["x"]
        shapes = [shape for shape in dict.fromkeys((dataset.input_shape, dataset.image_shape)) if shape]
        shapes += [(math.prod(dataset.input_shape),), *(shape[1:] for shape in shapes if shape[:-2] == (1,))]
        if x.shape[1:] not in shapes or not len(x):
            wanted = " or ".join(f"(M, {', '.join(map(str, shape))})" for shape in dict.fromkeys(shapes))
            raise _fault(file, f"x has the shape {x.shape}; it must be {wanted}, as the inputs of {dataset.name}.")
        with np.errstate(over="ignore"):
            examples = torch.from_numpy(x.astype(np.float32, order="C")).reshape(-1, *dataset.input_shape)
        if not examples.isfinite().all():
            raise _fault(file, "x has values that are too large for float32.")
        if "y" not in arrays:
            return examples, None
        y, names = arrays["y"], dataset.class_names
        if y.shape != (len(x),) or (names is not None and y.dtype.kind not in "iu"):
            raise _fault(file, f"y is {y.dtype} {y.shape}; it must be the class of each x, integers ({len(x)},).")
        if names is not None and not 0 <= y.min() <= y.max() < len(names):
            raise _fault(file, f"y has classes of {y.min()} to {y.max()}; {dataset.name} has 0 to {len(names) - 1}.")
        return examples, torch.from_numpy(y.astype(np.int64 if names is not None else np.float32))
    except ArgumentError as error:
        raise ArgumentError(str(error).replace("path=", f"{argument}=", 1)) from error


def _dataset(path: Path, *, by_class: bool) -> Dataset:
    arrays = _read(path, NAMES, CAUSAL_NAMES)
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.ndim not in (2, 3, 4):
            raise _fault(path, f"x_{split} has the shape {x.shape}; it must be (N, features) or (N, [C,] H, W).")
        if y.ndim != 1 and (by_class or y.ndim != 2):
            allowed = "(N,)" if by_class else "(N,) or (N, outputs)"
            raise _fault(path, f"y_{split} has the shape {y.shape}; it must be {allowed}.")
        if 0 in (*x.shape[1:], *y.shape[1:]):
            empty, shape = (f"x_{split}", x.shape) if 0 in x.shape[1:] else (f"y_{split}", y.shape)
            raise _fault(path, f"{empty} has the shape {shape}; an example must have at least one value.")
        if len(x) != len(y):
            raise _fault(path, f"x_{split} has {len(x)} examples and y_{split} {len(y)}; give equally many.")
        if by_class and y.dtype.kind not in "iub":
            raise _fault(path, f"y_{split} has the dtype {y.dtype}; store integers, or use target=value.")
    for name in ("x", "y"):
        train, test = arrays[f"{name}_train"].shape[1:], arrays[f"{name}_test"].shape[1:]
        if train != test:
            raise _fault(
                path, f"an example of {name}_train has the shape {train}, of {name}_test {test}; they must be equal."
            )
    n_classes = 0
    if by_class:
        labels = np.concatenate([arrays["y_train"], arrays["y_test"]])
        if len(labels) and labels.min() < 0:
            raise _fault(path, f"a label is {labels.min()}; classes are the integers 0..K−1.")
        if len(labels) and labels.min() > 0:
            least = int(labels.min())
            raise _fault(path, f"the labels begin at {least}; classes are the integers 0..K−1. Store y − {least}.")
        n_classes = int(labels.max()) + 1 if len(labels) else 0
        if n_classes > len(labels):
            raise _fault(path, f"a label is {n_classes - 1}; classes are the integers 0..K−1, without large gaps.")
    with np.errstate(over="ignore"):
        tensors = {name: torch.from_numpy(arrays[name].astype(np.float32, order="C")) for name in NAMES}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise _fault(path, f"{name} has values that are too large for float32.")
    for split in ("train", "test"):
        if tensors[f"x_{split}"].dim() == 3:
            tensors[f"x_{split}"] = tensors[f"x_{split}"].unsqueeze(1)
        target = tensors[f"y_{split}"]
        if by_class:
            tensors[f"y_{split}"] = target.to(torch.int64)
        elif target.dim() == 2 and target.shape[1] == 1:
            tensors[f"y_{split}"] = target[:, 0]
    return Dataset(
        name="arrays",
        x_train=tensors["x_train"],
        y_train=tensors["y_train"],
        x_test=tensors["x_test"],
        y_test=tensors["y_test"],
        class_names=tuple(str(label) for label in range(n_classes)) if by_class else None,
        causal_model=_causal_model(path, arrays, tensors),
    )


def _causal_model(path: Path, arrays: dict[str, np.ndarray], tensors: dict[str, Tensor]) -> CausalModel | None:
    """Returns the file's causal model; None if it has none.

    Raises:
        ArgumentError: its arrays don't fit each other or the labels; the text names the first mistake.
    """
    if "variables" not in arrays:
        return None
    names, mechanism = [str(name) for name in arrays["variables"].ravel()], arrays["mechanism"]
    if not names or len(set(names)) < len(names):
        raise _fault(path, f"variables={names}; name at least one variable, each once.")
    if mechanism.ndim != len(names) or not mechanism.size:
        wanted = "(" + ", ".join(f"values of {name}" for name in names) + ")"
        raise _fault(path, f"mechanism has the shape {mechanism.shape}; it must be {wanted}.")
    values = []
    for split in ("train", "test"):
        given, y = arrays[f"variables_{split}"], tensors[f"y_{split}"]
        if y.dim() != 1:
            raise _fault(path, f"y_{split} has {y.shape[1]} outputs; a causal model gives one label.")
        if given.shape != (len(y), len(names)) or given.dtype.kind not in "iub":
            wanted = f"integers of the shape {(len(y), len(names))}"
            raise _fault(path, f"variables_{split} is {given.dtype} {given.shape}; it must be {wanted}.")
        for name, column, count in zip(names, given.T, mechanism.shape, strict=True):
            if len(column) and not 0 <= column.min() <= column.max() < count:
                raise _fault(path, f"{name} is {column.min()} to {column.max()} in variables_{split}; mechanism has "
                             f"labels of 0 to {count - 1}.")  # fmt: skip
        values.append(torch.from_numpy(given.astype(np.float64)))
    dtype = tensors["y_train"].dtype
    if dtype is torch.int64:
        if mechanism.dtype.kind not in "iub":
            raise _fault(path, f"mechanism has the dtype {mechanism.dtype}; store integers, as in y.")
        largest = max(int(tensors[f"y_{split}"].max()) for split in ("train", "test"))
        for label in (mechanism.min(), mechanism.max()):
            if not 0 <= label <= largest:
                raise _fault(path, f"mechanism has the label {label}; the classes of y are 0 to {largest}.")
    labels = torch.from_numpy(mechanism.astype(np.int64 if dtype is torch.int64 else np.float32, order="C"))
    values_train, values_test = values
    return CausalModel(tuple(names), values_train, values_test, LabelTable(labels))


def _read(path: Path, names: Sequence[str], together: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the arrays of a file: all of `names`, and either all or none of `together`."""
    if not path.is_file():
        raise ArgumentError(f"path={path}: no such file.")
    try:
        with path.open("rb") as opened:  # numpy doesn't close a damaged file that it opened
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise _fault(path, f"it holds a single array; save with numpy.savez(path, {names[0]}=..., ...).")
            missing = [name for name in names if name not in file.files]
            if missing:
                raise _fault(path, f"{', '.join(missing)} missing; it has {', '.join(file.files) or 'nothing'}.")
            more = [name for name in together if name in file.files]
            if more and len(more) < len(together):
                missing = [name for name in together if name not in more]
                raise _fault(path, f"{', '.join(missing)} missing; a causal model is {', '.join(together)}.")
            arrays = {name: file[name] for name in (*names, *more)}
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, ArgumentError):
            raise
        raise _fault(path, f"can't be read as .npz without pickled objects ({error}).") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy returns a member that isn't an array as its bytes
            raise _fault(path, f"{name} is not an array.")
        if name == "variables":
            if array.dtype.kind != "U":
                raise _fault(path, f"variables has the dtype {array.dtype}; it must be text, the variables' names.")
            continue
        if array.dtype.kind not in "fiub":
            raise _fault(path, f"{name} has the dtype {array.dtype}; it must be real numbers.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _fault(path, f"{name} has NaN or infinite values.")
    return arrays


def _fault(path: Path, text: str) -> ArgumentError:
    return ArgumentError(f"path={path}: {text}")

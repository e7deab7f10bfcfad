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
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mi_runner.datasets import Dataset, channels_last, labels
from mi_runner.datasets.causal_models import CausalModel, LabelTable
from mi_runner.datasets.files import fault, file_path
from mi_runner.datasets.npz_files import Array, read_npz
from mi_runner.errors import ArgumentError
from mi_runner.progress import log

NAMES = ("x_train", "y_train", "x_test", "y_test")
CAUSAL_NAMES = ("variables", "variables_train", "variables_test", "mechanism")


def load(path: str, *, seed: int = 0, limit: int | None = None, target: str = "class") -> Dataset:
    """Returns the data set in the .npz file `path`.

    x may be `(N, features)`, images `(N, H, W)` or `(N, C, H, W)`, sequences `(N, time, features)`, or of more axes, of
    any real dtype. For classes y holds integers 0..K−1, or text: its distinct values, sorted, are the classes then.
    Whole numbers of another dtype, one column `(N, 1)` and one-hot rows `(N, K)` are taken as what they say, with a
    line. For values y holds numbers `(N,)` or `(N, outputs)`; targets of more axes are flattened, with a line.

    Args:
        seed: has no effect, because the file has the examples.
        limit: take at most this many training and test examples; None: all.
        target: class or value.

    Raises:
        ArgumentError: the file or an array is missing or not as described; the text names the first mistake.
    """
    file = file_path(path)
    return of_arrays(file, _read(file, NAMES, CAUSAL_NAMES), target=target).limited(limit)


def load_examples(path: str, dataset: Dataset, *, argument: str = "path") -> tuple[Tensor, Tensor | None]:
    """Returns the examples in the .npz file `path`, `(M, *input_shape)` as those of the data set, and their classes.

    The file has `x`, in the units of the data set's inputs, and optionally `y`, `(M,)` classes of the data set. Without
    `y` the classes are None. Flattened inputs may be given as the images that they were, and the other way round.

    Args:
        argument: its name in errors.

    Raises:
        ArgumentError: the file or an array is missing or not as described; the text names the first mistake.
    """
    try:
        file = file_path(path)
        arrays = _read(file, ("x",), ("y",))
        x = arrays["x"]
        shapes = [shape for shape in dict.fromkeys((dataset.input_shape, dataset.image_shape)) if shape]
        shapes += [(math.prod(dataset.input_shape),), *(shape[1:] for shape in shapes if shape[:-2] == (1,))]
        if x.shape[1:] not in shapes or not len(x):
            wanted = " or ".join(f"(M, {', '.join(map(str, shape))})" for shape in dict.fromkeys(shapes))
            raise fault(file, f"x has the shape {x.shape}; it must be {wanted}, as the inputs of {dataset.name}.")
        with np.errstate(over="ignore"):
            examples = torch.from_numpy(x.astype(np.float32, order="C")).reshape(-1, *dataset.input_shape)
        if not examples.isfinite().all():
            raise fault(file, "x has values that are too large for float32.")
        examples = _as_inputs(file, examples, dataset)
        if "y" not in arrays:
            return examples, None
        y, names = arrays["y"], dataset.class_names
        if y.shape != (len(x),) or (names is not None and y.dtype.kind not in "iu"):
            raise fault(file, f"y is {y.dtype} {y.shape}; it must be the class of each x, integers ({len(x)},).")
        if names is not None and not 0 <= y.min() <= y.max() < len(names):
            raise fault(file, f"y has classes of {y.min()} to {y.max()}; {dataset.name} has 0 to {len(names) - 1}.")
        return examples, torch.from_numpy(y.astype(np.int64 if names is not None else np.float32))
    except ArgumentError as error:
        raise error.renamed({"path": argument}) from error


def _as_inputs(file: Path, examples: Tensor, dataset: Dataset) -> Tensor:
    """Returns examples, float32, in the dtype of the data set's inputs.

    Raises:
        ArgumentError: the inputs are integers, and the examples are not.
    """
    if not dataset.x_train.is_floating_point() and not torch.equal(examples, examples.round()):
        raise fault(file, f"x has numbers that are no integers; the inputs of {dataset.name} are integers.")
    return examples.to(dataset.x_train.dtype)


def of_arrays(path: Path, arrays: Mapping[str, Array], *, target: str) -> Dataset:
    """Returns the data set of arrays that `checked` has checked, as `load` does.

    Args:
        path: the file, or what errors and lines name in its place.

    Raises:
        ArgumentError: an array is not as described; the text names the first mistake.
    """
    by_class = target == "class"
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.ndim < 2:
            one = f" Save x_{split}[:, None] for one feature." if x.ndim == 1 else ""
            raise fault(path, f"x_{split} has the shape {x.shape}; it must be (N, features) or (N, [C,] H, W).{one}")
        if not y.ndim:
            raise fault(path, f"y_{split} has the shape (); it must be (N,){'' if by_class else ' or (N, outputs)'}.")
        if 0 in (*x.shape[1:], *y.shape[1:]):
            empty, shape = (f"x_{split}", x.shape) if 0 in x.shape[1:] else (f"y_{split}", y.shape)
            raise fault(path, f"{empty} has the shape {shape}; an example must have at least one value.")
        if len(x) != len(y):
            raise fault(path, f"x_{split} has {len(x)} examples and y_{split} {len(y)}; give equally many.")
    for name in ("x", "y"):
        train, test = arrays[f"{name}_train"].shape[1:], arrays[f"{name}_test"].shape[1:]
        if train != test:
            raise fault(
                path, f"an example of {name}_train has the shape {train}, of {name}_test {test}; they must be equal."
            )
    class_names: tuple[str, ...] | None = None
    if by_class:
        train, test, class_names = labels.classes(path, arrays["y_train"], arrays["y_test"])
        targets = {"y_train": torch.from_numpy(train), "y_test": torch.from_numpy(test)}
    else:
        targets = {name: _values(path, name, arrays[name]) for name in ("y_train", "y_test")}
    inputs = {name: _float32(path, name, arrays[name]) for name in ("x_train", "x_test")}
    if channels_last(arrays["x_train"].shape[1:]):
        log.warning(
            f"{path.name}: x has the shape {arrays['x_train'].shape}, which looks like (N, H, W, C). Images are "
            "(N, C, H, W): save x.transpose(0, 3, 1, 2)."
        )
    return Dataset(
        name="arrays",
        x_train=inputs["x_train"],
        y_train=targets["y_train"],
        x_test=inputs["x_test"],
        y_test=targets["y_test"],
        class_names=class_names,
        causal_model=_causal_model(path, arrays, targets),
    )


def _values(path: Path, name: str, y: Array) -> Tensor:
    """Returns targets `(N,)` or `(N, outputs)` float32."""
    if y.dtype.kind in "US":
        remedy = f"save {name}.astype(float), or use {{target}}=class."
        raise fault(path, f"{name} holds text:", remedy, others=["target"])
    if y.ndim > 2:
        if name == "y_train":
            log.info(f"{path.name}: y has the shape {y.shape}; it is flattened to {(len(y), math.prod(y.shape[1:]))}")
        y = y.reshape(len(y), math.prod(y.shape[1:]))
    targets = _float32(path, name, y)
    return targets[:, 0] if targets.dim() == 2 and targets.shape[1] == 1 else targets


def _float32(path: Path, name: str, array: Array) -> Tensor:
    with np.errstate(over="ignore"):
        tensor = torch.from_numpy(array.astype(np.float32, order="C"))
    if not tensor.isfinite().all():
        raise fault(path, f"{name} has values that are too large for float32.")
    return tensor


def _causal_model(path: Path, arrays: Mapping[str, Array], tensors: dict[str, Tensor]) -> CausalModel | None:
    """Returns the file's causal model; None if it has none.

    Raises:
        ArgumentError: its arrays don't fit each other or the labels; the text names the first mistake.
    """
    if "variables" not in arrays:
        return None
    names, mechanism = [str(name) for name in arrays["variables"].ravel()], arrays["mechanism"]
    if not names or len(set(names)) < len(names):
        raise fault(path, f"variables={names}; name at least one variable, each once.")
    if mechanism.ndim != len(names) or not mechanism.size:
        wanted = "(" + ", ".join(f"values of {name}" for name in names) + ")"
        raise fault(path, f"mechanism has the shape {mechanism.shape}; it must be {wanted}.")
    values = []
    for split in ("train", "test"):
        given, y = arrays[f"variables_{split}"], tensors[f"y_{split}"]
        if y.dim() != 1:
            raise fault(path, f"y_{split} has {y.shape[1]} outputs; a causal model gives one label.")
        if given.shape != (len(y), len(names)) or given.dtype.kind not in "iub":
            wanted = f"integers of the shape {(len(y), len(names))}"
            raise fault(path, f"variables_{split} is {given.dtype} {given.shape}; it must be {wanted}.")
        for name, column, count in zip(names, given.T, mechanism.shape, strict=True):
            if len(column) and not 0 <= column.min() <= column.max() < count:
                raise fault(path, f"{name} is {column.min()} to {column.max()} in variables_{split}; mechanism has "
                             f"labels of 0 to {count - 1}.")  # fmt: skip
        values.append(torch.from_numpy(given.astype(np.float64)))
    dtype = tensors["y_train"].dtype
    if dtype is torch.int64:
        if mechanism.dtype.kind not in "iub":
            raise fault(path, f"mechanism has the dtype {mechanism.dtype}; store integers, as in y.")
        largest = max(int(tensors[f"y_{split}"].max()) for split in ("train", "test"))
        for label in (mechanism.min(), mechanism.max()):
            if not 0 <= label <= largest:
                raise fault(path, f"mechanism has the label {label}; the classes of y are 0 to {largest}.")
    table = torch.from_numpy(mechanism.astype(np.int64 if dtype is torch.int64 else np.float32, order="C"))
    values_train, values_test = values
    return CausalModel(tuple(names), values_train, values_test, LabelTable(table))


def _read(path: Path, names: Sequence[str], together: Sequence[str]) -> dict[str, Array]:
    """Returns the arrays of a file, as `read_npz`: finite real numbers, or text where text may be."""
    return checked(path, read_npz(path, names, together))


def checked(path: Path, arrays: dict[str, Array]) -> dict[str, Array]:
    """Returns the arrays, which have finite real numbers, or text where text may be.

    Args:
        path: the file, or what errors name in its place.

    Raises:
        ArgumentError: one has something else; the text says what to save instead.
    """
    for name, array in arrays.items():
        kind = array.dtype.kind
        if name == "variables":
            if kind != "U":
                raise fault(path, f"variables has the dtype {array.dtype}; it must be text, the variables' names.")
            continue
        if name.startswith("y_") and kind in "US":
            continue
        if kind == "c":
            raise fault(
                path,
                f"{name} has the dtype {array.dtype}; it must be real numbers. Save numpy.abs({name}), or "
                f"numpy.concatenate([{name}.real, {name}.imag], 1).",
            )
        if kind in "US":
            raise fault(
                path, f"{name} has the dtype {array.dtype}; it must be real numbers: save {name}.astype(float)."
            )
        if kind not in "fiub":
            raise fault(path, f"{name} has the dtype {array.dtype}; it must be real numbers.")
        if kind == "f" and not (finite := np.isfinite(array)).all():
            example, *place = np.unravel_index(int(np.argmin(finite)), array.shape) if array.ndim else (0,)
            at = f" at {', '.join(map(str, place))}" if place else ""
            raise fault(
                path,
                f"{name} has NaN or infinite values: {finite.size - int(finite.sum())}, the first in example "
                f"{example}{at}. Leave such examples out, or save numpy.nan_to_num({name}).",
            )
    return arrays

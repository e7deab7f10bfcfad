"""The user's own data: an .npz file with x_train, y_train, x_test, y_test, and optionally names and a causal model.

| array                              | shape            | what it holds                                             |
|------------------------------------|------------------|-----------------------------------------------------------|
| `feature_names`                    | `(D,)`           | a name for each number of an example's input, as text     |
| `class_names`                      | `(K,)`           | the names of the classes, in order, as text               |

Four more arrays give the causal model of the data, for experiment=iit, and a fifth says which variables are vectors:

| array                              | shape            | what it holds                                             |
|------------------------------------|------------------|-----------------------------------------------------------|
| `variables`                        | `(V,)`           | names, as text                                            |
| `variables_train`, `variables_test`| `(N, W)`         | each example's values of the variables: integers 0..k−1   |
| `mechanism`                        | `(k_1, ..., k_W)`| the label that follows from each combination of values    |
| `variable_widths`                  | `(V,)`           | columns of each variable; without it, one each, so W = V  |

A file has no mechanism of real numbers, which is a function and no table: such a causal model is given in Python.
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
from mi_runner.datasets.features import check_names
from mi_runner.datasets.files import fault, file_path
from mi_runner.datasets.npz_files import Array, read_npz
from mi_runner.errors import ArgumentError
from mi_runner.progress import log

NAMES = ("x_train", "y_train", "x_test", "y_test")
WORDS = ("feature_names", "class_names")
CAUSAL_NAMES = ("variables", "variables_train", "variables_test", "mechanism")
WIDTHS = "variable_widths"


def load(path: str, *, seed: int = 0, limit: int | None = None, target: str = "class") -> Dataset:
    """Returns the data set in the .npz file `path`.

    x may be `(N, features)`, images `(N, H, W)` or `(N, C, H, W)`, sequences `(N, time, features)`, or of more axes, of
    any real dtype. For classes y holds integers 0..K−1, or text: its distinct values, sorted, are the classes then.
    Whole numbers of another dtype, 1..K, −1 and 1, one column `(N, 1)` and one-hot rows `(N, K)` are taken as what they
    say, with a line. For values y holds numbers `(N,)` or `(N, outputs)`; targets of more axes are flattened, with a
    line.

    Args:
        seed: has no effect, because the file has the examples.
        limit: take at most this many training and test examples; None: all.
        target: class or value.

    Raises:
        ArgumentError: the file or an array is missing or not as described; the text names the first mistake.
    """
    file = file_path(path)
    return of_arrays(file, _read(file, NAMES, CAUSAL_NAMES, (*WORDS, WIDTHS)), target=target).limited(limit)


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
        examples = as_inputs(file, "x", x, dataset)
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


def as_inputs(file: Path, name: str, x: Array, dataset: Dataset) -> Tensor:
    """Returns the numbers of a file, `(M, *input_shape)` in the dtype of the data set's inputs.

    Args:
        name: of the array, for errors.
        x: finite numbers: inputs in the shape of the data set's, flattened, or as the images that they were.

    Raises:
        ArgumentError: there is none, they have another shape, are too large, or are no integers where inputs are.
    """
    shapes = [shape for shape in dict.fromkeys((dataset.input_shape, dataset.image_shape)) if shape]
    shapes += [(math.prod(dataset.input_shape),), *(shape[1:] for shape in shapes if shape[:-2] == (1,))]
    if x.shape[1:] not in shapes or not len(x):
        wanted = " or ".join(f"(M, {', '.join(map(str, shape))})" for shape in dict.fromkeys(shapes))
        raise fault(file, f"{name} has the shape {x.shape}; it must be {wanted}, as the inputs of {dataset.name}.")
    with np.errstate(over="ignore"):
        examples = torch.from_numpy(x.astype(np.float32, order="C")).reshape(-1, *dataset.input_shape)
    if not examples.isfinite().all():
        raise fault(file, f"{name} has values that are too large for float32.")
    if not dataset.x_train.is_floating_point() and not torch.equal(examples, examples.round()):
        raise fault(file, f"{name} has numbers that are no integers; the inputs of {dataset.name} are integers.")
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
            raise _unequal(path, split, x, y)
    for name in ("x", "y"):
        _check_alike(path, name, arrays[f"{name}_train"], arrays[f"{name}_test"])
    class_names: tuple[str, ...] | None = None
    if by_class:
        train, test, class_names, values = labels.classes(
            path, arrays["y_train"], arrays["y_test"], _words(arrays, "class_names")
        )
        targets = {"y_train": torch.from_numpy(train), "y_test": torch.from_numpy(test)}
        if values is not None and "mechanism" in arrays:
            arrays = {**arrays, "mechanism": labels.places(path, "mechanism", arrays["mechanism"], values)}
    else:
        if "class_names" in arrays:
            log.info(f"{path.name}: class_names are not taken, because the targets are values")
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
        feature_names=_feature_names(path, arrays),
    )


def _unequal(path: Path, split: str, x: Array, y: Array) -> ArgumentError:
    """Returns the error about inputs and targets that are not equally many."""
    problem = f"x_{split} {x.shape} has {len(x)} examples and y_{split} {y.shape} {len(y)}; give equally many."
    turned = [name for name, one, other in (("x", x, y), ("y", y, x)) if one.ndim == 2 and one.shape[1] == len(other)]
    return fault(path, problem, f"Save {turned[0]}_{split}.T." if turned else "")


def _check_alike(path: Path, name: str, train: Array, test: Array) -> None:
    """Checks that an example has one shape in training and test.

    Raises:
        ArgumentError: it hasn't.
    """
    one, other = train.shape[1:], test.shape[1:]
    if one != other:
        remedy = ""
        if math.prod(one) == math.prod(other):
            remedy = f"Save {name}_test.reshape(len({name}_test), {', '.join(map(str, one))})."
        problem = f"an example of {name}_train {train.shape} has the shape {one}, of {name}_test {test.shape} {other};"
        raise fault(path, f"{problem} they must be equal.", remedy)


def _words(arrays: Mapping[str, Array], name: str) -> tuple[str, ...] | None:
    """Returns an array of text as a tuple; None if it is not there."""
    return tuple(map(str, arrays[name].tolist())) if name in arrays else None


def _feature_names(path: Path, arrays: Mapping[str, Array]) -> tuple[str, ...] | None:
    """Returns the names of an input's numbers; None if the file has none.

    Raises:
        ArgumentError: there are more or fewer names than numbers, or two are equal.
    """
    names, shape = _words(arrays, "feature_names"), arrays["x_train"].shape
    if names is None:
        return None
    n = math.prod(shape[1:])
    if len(names) != n:
        problem = f"feature_names has the shape ({len(names)},), and an example of x_train {shape} has {n} numbers:"
        remedy = "save a name for each."
        if len(shape) == 3 and len(names) == shape[2]:
            remedy = (
                f"save numpy.array([f'{{name}} {{step}}' for step in range({shape[1]}) for name in feature_names]), a "
                "name for each feature at each step."
            )
        raise fault(path, problem, remedy)
    try:
        check_names(names, n)
    except ArgumentError as error:
        raise fault(path, error.problem) from error
    return names


def _values(path: Path, name: str, y: Array) -> Tensor:
    """Returns targets `(N,)` or `(N, outputs)` float32."""
    if y.dtype.kind in "US":
        remedy = f"save {name}.astype(float), or use {{target}}=class."
        raise fault(path, f"{name} {y.shape} holds text:", remedy, others=["target"])
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
        largest = np.abs(array[~tensor.isfinite().numpy()]).max()
        both = " and ".join(f"{name[:2]}{split} / {largest:.0e}" for split in ("train", "test"))
        problem = f"{name} {array.shape} has values that are too large for float32, such as {largest:.3g}."
        raise fault(path, problem, f"Save {both}.")
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
    widths = _widths(path, arrays, names)
    columns = [
        name if width == 1 else f"{name}[{place}]"
        for name, width in zip(names, widths or [1] * len(names), strict=True)
        for place in range(width)
    ]
    if mechanism.ndim != len(columns) or not mechanism.size:
        wanted = "(" + ", ".join(f"values of {column}" for column in columns) + ")"
        raise fault(path, f"mechanism has the shape {mechanism.shape}; it must be {wanted}.")
    values = []
    for split in ("train", "test"):
        given, y = arrays[f"variables_{split}"], tensors[f"y_{split}"]
        if y.dim() != 1:
            raise fault(path, f"y_{split} has {y.shape[1]} outputs; a causal model gives one label.")
        if given.shape != (len(y), len(columns)) or given.dtype.kind not in "iub":
            wanted = f"integers of the shape {(len(y), len(columns))}"
            raise fault(path, f"variables_{split} is {given.dtype} {given.shape}; it must be {wanted}.")
        for name, column, count in zip(columns, given.T, mechanism.shape, strict=True):
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
    return CausalModel(tuple(names), values_train, values_test, LabelTable(table), widths)


def _widths(path: Path, arrays: Mapping[str, Array], names: Sequence[str]) -> tuple[int, ...] | None:
    """Returns how many columns each variable has; None: one each."""
    if WIDTHS not in arrays:
        return None
    given = arrays[WIDTHS]
    if given.shape != (len(names),) or given.dtype.kind not in "iu" or given.min() < 1:
        wanted = f"integers of at least 1 of the shape {(len(names),)}, the columns of each variable"
        raise fault(path, f"{WIDTHS} is {given.dtype} {given.shape}; it must be {wanted}.")
    return tuple(given.tolist())


def _read(path: Path, names: Sequence[str], together: Sequence[str], more: Sequence[str] = ()) -> dict[str, Array]:
    """Returns the arrays of a file, as `read_npz`: finite real numbers, or text where text may be."""
    return checked(path, read_npz(path, names, together, more))


def checked(path: Path, arrays: dict[str, Array]) -> dict[str, Array]:
    """Returns the arrays, which have finite real numbers, or text where text may be.

    Args:
        path: the file, or what errors name in its place.

    Raises:
        ArgumentError: one has something else; the text says what to save instead.
    """
    for name, array in arrays.items():
        kind, has = array.dtype.kind, f"{name} {array.shape} has the dtype {array.dtype}"
        if name in ("variables", *WORDS):
            if kind != "U" or (array.ndim != 1 and name in WORDS):
                flat = "" if array.ndim == 1 else ".ravel()"
                raise fault(path, f"{has}; it must be names, as text of one axis: save {name}{flat}.astype(str).")
            continue
        if name.startswith("y_") and kind in "US":
            continue
        if kind == "c":
            raise fault(
                path,
                f"{has}; it must be real numbers. Save numpy.abs({name}), or "
                f"numpy.concatenate([{name}.real, {name}.imag], 1).",
            )
        if kind in "US":
            raise fault(path, f"{has}; it must be real numbers: save {name}.astype(float).")
        if kind not in "fiub":
            raise fault(path, f"{has}; it must be real numbers.")
        if kind == "f" and not (finite := np.isfinite(array)).all():
            example, *place = np.unravel_index(int(np.argmin(finite)), array.shape) if array.ndim else (0,)
            at = f" at {', '.join(map(str, place))}" if place else ""
            raise fault(
                path,
                f"{name} {array.shape} has NaN or infinite values: {finite.size - int(finite.sum())}, the first in "
                f"example {example}{at}.",
                f"Save numpy.nan_to_num({name}){_without_such(name, array)}.",
            )
    return arrays


def _without_such(name: str, array: Array) -> str:
    """Returns the lines that leave out the examples of an array with NaN, and those of its partner."""
    if not array.ndim or not name.startswith(("x_", "y_")):
        return ""
    finite = f"numpy.isfinite({name})" + ("" if array.ndim == 1 else f".reshape(len({name}), -1).all(1)")
    x, y = f"x_{name[2:]}", f"y_{name[2:]}"
    return f"; or leave such examples out: keep = {finite}, then save {x}[keep] and {y}[keep]"

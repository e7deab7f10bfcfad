"""Data sets as tensors: normalised once, indexed in batches.

Each file of this folder has a `load(seed=..., limit=..., ...)` for one data set; further arguments are its own.
Letters: N examples, C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mi_runner.datasets.causal_models import CausalModel as CausalModel
from mi_runner.datasets.causal_models import Follows as Follows
from mi_runner.datasets.causal_models import LabelTable as LabelTable
from mi_runner.datasets.features import Column, Feature, check_columns, check_names
from mi_runner.datasets.outputs import Outputs as Outputs
from mi_runner.errors import ArgumentError
from mi_runner.machine import hardware
from mi_runner.machine.files import tensors_sha256
from mi_runner.tables.names import ALL

if TYPE_CHECKING:
    from mi_runner.datasets.table_files import Reading

LARGEST_INTEGER = 2**24
"""Up to here float32 holds every integer."""


@dataclass(frozen=True)
class Dataset:
    """Inputs and targets for training and test.

    Attributes:
        name: for tables, logs and errors.
        x_train, x_test: `(N, *input_shape)` float32; int64 for a network that takes integers, such as tokens.
        y_train, y_test: for classes `(N,)` int64 in 0..n_classes−1; for values `(N,)` or `(N, outputs)` float32.
        class_names: the names of the classes, in order; None if the target is a value. They name rows of tables, so
            they differ, and none is empty or `all`, which names all classes together.
        flattened_from: the shape `(C, H, W)` of the images in the input vectors; None if they aren't images.
        causal_model: the variables that determine the targets; None if they aren't known.
        label_name: the name of the target beside the causal model's variables.
        caption: a text about an example, with the names of its variables and label in braces: `{a} + {b} = {sum}`.
            Tables list them in this order. None: the label first, then the causal model's variables.
        answered_by: what the outputs of the network are that answers; None: logits of classes, or values.
        feature_names: a name for each number of an input, in the order of the flattened input; None if they have none.
            Names change no figure, so they are no part of the fingerprint.
        columns: the columns of a table that the numbers were made of; None if they are of no table.
        reading: how the file of a table was read, so that further rows are read alike; None if they are of no file.
        shifted: seed → other inputs of the same kind, which the network was not made for, `(S, *shape)` float32 with
            the numbers of an input in their order; they are read or drawn when they are asked for. None: there are
            none. `mi_runner.datasets.shift` returns them as the network takes them.

    Example:
        >>> import torch
        >>> from mi_runner.datasets import Dataset
        >>> x, y = torch.rand(10, 4), torch.arange(10) % 2
        >>> data = Dataset("mine", x[:8], y[:8], x[8:], y[8:], class_names=("even", "odd"))
        >>> data.has_classes, data.n_outputs
        (True, 2)
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    class_names: tuple[str, ...] | None
    flattened_from: tuple[int, ...] | None = None
    causal_model: CausalModel | None = None
    label_name: str = "label"
    caption: str | None = None
    answered_by: Outputs | None = None
    feature_names: tuple[str, ...] | None = None
    columns: tuple[Column, ...] | None = None
    reading: Reading | None = field(default=None, repr=False)
    shifted: Callable[[int], Tensor] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.class_names is not None and len({*self.class_names, "", ALL}) < len(self.class_names) + 2:
            rule = f"names must differ, and none may be empty or '{ALL}'."
            raise ArgumentError("class_names", self.class_names, rule)
        for split in ("train", "test"):
            x, y = getattr(self, f"x_{split}"), getattr(self, f"y_{split}")
            if len(x) != len(y):
                sizes = f"x_{split} has {len(x)} examples, y_{split} has {len(y)};"
                raise ArgumentError((f"x_{split}", f"y_{split}"), None, sizes, "give equally many.")
            if x.dtype not in (torch.float32, torch.int64) or x.dtype != self.x_train.dtype:
                both = "float32, or x_train and x_test both int64"
                raise ArgumentError(f"x_{split}", None, f"x_{split} must be {both}, not {x.dtype}.")
            if y.dtype != (torch.float32 if self.class_names is None else torch.int64):
                wanted = "it must be int64 with class_names, float32 without."
                raise ArgumentError(f"y_{split}", None, f"y_{split} has the dtype {y.dtype}; {wanted}")
        kind, n = self.answered_by, len(self.class_names or ())
        if kind is not None and (kind.are_of_classes != (n > 0) or (kind.are_of_one and n != 2)):
            has = f"{n} classes" if n else "values"
            raise ArgumentError("answered_by", kind.name, f"outputs that are a {kind.name} can't answer {has}.")
        if self.feature_names is not None:
            check_names(self.feature_names, math.prod(self.input_shape))
        if self.columns is not None:
            check_columns(self.columns, math.prod(self.input_shape))

    @cached_property
    def fingerprint(self) -> str:
        """A sha256 of the content: inputs, targets and class names."""
        tensors = {name: getattr(self, name) for name in ("x_train", "y_train", "x_test", "y_test")}
        return hashlib.sha256(f"{tensors_sha256(tensors)} {self.class_names}".encode()).hexdigest()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example's input."""
        return tuple(self.x_train.shape[1:])

    @property
    def has_images(self) -> bool:
        """Whether the inputs are images `(C, H, W)`."""
        return len(self.input_shape) == 3

    @cached_property
    def has_integers(self) -> bool:
        """Whether all numbers of the inputs are integers, which float32 and int64 both hold exactly."""
        # A few examples first, which say no of most data.
        parts = (self.x_train[:10], self.x_test, self.x_train)
        return all(bool(((x == x.round()) & (x.abs() <= LARGEST_INTEGER)).all()) for x in parts)

    def with_inputs(self, dtype: torch.dtype) -> Dataset:
        """Returns the data set with inputs of a dtype, float32 or int64; itself if they have it."""
        if self.x_train.dtype == dtype:
            return self
        return replace(self, x_train=self.x_train.to(dtype), x_test=self.x_test.to(dtype))

    def with_channel(self) -> Dataset:
        """Returns the data set with inputs `(N, H, W)` as images of one channel; others as they are."""
        if len(self.input_shape) != 2:
            return self
        return replace(self, x_train=self.x_train.unsqueeze(1), x_test=self.x_test.unsqueeze(1))

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """The shape `(C, H, W)` of an input that is an image, flattened or not; otherwise None."""
        return self.input_shape if self.has_images else self.flattened_from

    @property
    def has_classes(self) -> bool:
        """Whether the target is a class. If not, it is a value, and a prediction is an output rounded to an integer."""
        return self.class_names is not None

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """What a person would name of an input: each column of a table, or each number, by its name or its place."""
        if self.columns is not None:
            return tuple(Feature(column.name, column.inputs) for column in self.columns)
        names = self.feature_names or map(str, range(math.prod(self.input_shape)))
        return tuple(Feature(name, (place,)) for place, name in enumerate(names))

    @property
    def outputs(self) -> Outputs:
        """What the network's outputs are, and so what its answer is."""
        if self.answered_by is not None:
            return self.answered_by
        return Outputs.logits if self.has_classes else Outputs.values

    def answered(self, outputs: Outputs) -> Dataset:
        """Returns the data set for a network with these outputs. A target that is the value 0 or 1 becomes a class.

        Raises:
            ArgumentError: such outputs can't answer these targets; the text says which can.
        """
        if outputs is self.outputs:
            return self
        name = "probabilities" if outputs is Outputs.probability else outputs.name

        def fault(problem: str, remedy: str) -> ArgumentError:
            return ArgumentError(("outputs", "target"), name, f"{{outputs}}={name}: {problem}", remedy)

        if self.class_names is None and not self.is_binary:
            raise fault("the targets are values.", "Use {outputs}=values, or {target}=class.")
        if not outputs.are_of_classes:
            raise fault("the targets are classes.", f"Use {{outputs}}={self.outputs.name}, or {{target}}=value.")
        if outputs.are_of_one and len(self.class_names or "01") != 2:
            remedy = "Use {outputs}=logits or {outputs}=probabilities, and an output for each class."
            raise fault(f"one output answers two classes, and there are {len(self.class_names or ())}.", remedy)
        return replace(self if self.has_classes else self._with_classes, answered_by=outputs)

    @cached_property
    def _with_classes(self) -> Dataset:
        """The data set whose target, 0 or 1, is a class."""
        return replace(
            self,
            y_train=self.y_train.long().reshape(-1),
            y_test=self.y_test.long().reshape(-1),
            class_names=("0", "1"),
            causal_model=self.causal_model and self.causal_model.with_classes(),
        )

    @property
    def n_outputs(self) -> int:
        """The number of outputs that a network needs."""
        if self.class_names is not None:
            return 1 if self.outputs.are_of_one else len(self.class_names)
        return 1 if self.y_train.dim() == 1 else self.y_train.shape[1]

    @property
    def is_binary(self) -> bool:
        """Whether the target is one value that is 0 or 1."""
        targets = (self.y_train, self.y_test)
        return not self.has_classes and self.n_outputs == 1 and all(bool(((y == 0) | (y == 1)).all()) for y in targets)

    def limited(self, limit: int | None) -> Dataset:
        """Returns the first `limit` training and test examples; None: all."""
        if limit is None:
            return self
        return replace(
            self,
            x_train=self.x_train[:limit],
            y_train=self.y_train[:limit],
            x_test=self.x_test[:limit],
            y_test=self.y_test[:limit],
            causal_model=self.causal_model and self.causal_model.limited(limit),
        )

    def flattened(self) -> Dataset:
        """Returns the data set with inputs as vectors; always one object, so that it is hashed once.

        Inputs `(N, C, H, W)` and `(N, H, W)` are taken as images, whose shape the vectors remember.
        """
        return self if len(self.input_shape) == 1 else self._flattened

    @cached_property
    def _flattened(self) -> Dataset:
        shape = self.with_channel().input_shape
        return replace(
            self,
            x_train=self.x_train.flatten(1),
            x_test=self.x_test.flatten(1),
            flattened_from=shape if len(shape) == 3 else None,
        )

    def to(self, device: torch.device) -> Dataset:
        """Returns the data set on `device`; itself if it is there already."""
        if self.x_train.device == device:
            return self
        moved = {name: getattr(self, name).to(device) for name in ("x_train", "y_train", "x_test", "y_test")}
        return replace(self, **moved, causal_model=self.causal_model and self.causal_model.to(device))


def check_room(n_bytes: int, **sizes: int) -> None:
    """Checks that drawing a data set takes no more memory than is free.

    Args:
        n_bytes: that it takes.
        sizes: the arguments that decide it, for the error.

    Raises:
        ArgumentError: it takes more; the text names the arguments.
    """
    if lacking := hardware.lacking_memory(n_bytes):
        given = ", ".join(f"{{{name}}}={size}" for name, size in sizes.items())
        largest = max(sizes, key=sizes.__getitem__)
        raise ArgumentError(list(sizes), None, f"{given}: the data take {lacking}.", f"Type a smaller {{{largest}}}.")


def channels_last(shape: tuple[int, ...]) -> bool:
    """Returns whether an input's shape looks like `(H, W, C)`, and not like `(C, H, W)`."""
    if len(shape) != 3:
        return False
    height, width, channels = shape
    return channels in (1, 3, 4) and height not in (1, 3, 4) and min(height, width) > channels

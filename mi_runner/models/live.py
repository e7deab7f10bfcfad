"""A network that a program has made: a module, of which a copy is taken, or a class or function that makes one.

What a live object is made of can't all be seen: functions that it holds, what its code reads. So the model store
neither keeps nor gives the weights of such a network; digests of its code and of its weights go into the record.
"""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from mi_runner import models
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, listed, one_line
from mi_runner.machine.files import tensors_sha256
from mi_runner.models import external
from mi_runner.models.one_output import with_one_output

MOST_NAMED = 5


@dataclass(frozen=True)
class LiveNetwork:
    """A network of a program.

    Attributes:
        given: a module, or a callable that returns a new one.
        trained: whether the run trains it; a module that isn't is analysed with the weights that it has.
        warnings: lines for the log.
    """

    given: nn.Module | Callable[..., nn.Module]
    trained: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def is_module(self) -> bool:
        """Whether it is a module, and not what makes one."""
        return isinstance(self.given, nn.Module)

    @property
    def kind(self) -> str:
        """The module and name of its class, or of the function that makes it: `__main__:Net`."""
        kind = type(self.given) if self.is_module else self.given
        named = kind if hasattr(kind, "__qualname__") else type(kind)
        return f"{named.__module__}:{getattr(named, '__qualname__', '')}"

    @property
    def weights(self) -> str | None:
        """The sha256 of a module's tensors; None for what makes one, and for tensors without numbers."""
        try:
            return tensors_sha256(self.given.state_dict()) if isinstance(self.given, nn.Module) else None
        except (RuntimeError, TypeError, ValueError, AttributeError):  # lazy, sparse, on meta: a check says what to do
            return None

    def build(
        self,
        dataset: Dataset,
        *,
        before_training: bool = False,
        arguments: Mapping[str, Any] | None = None,
        flatten: bool = False,
        leaves: Sequence[str] = (),
        output: str | None = None,
    ) -> models.Built:
        """Returns the network for this data set: a copy, or a new one.

        Args:
            before_training: whether it is the network before any training: of a module that is analysed as it is, with
                weights drawn again by each submodule's `reset_parameters`.
            arguments, flatten, leaves, output: as `external.build`.

        Raises:
            ArgumentError: it can't be copied or called, is no nn.Module, or has weights that can't be drawn again.
        """
        options: dict[str, Any] = {"flatten": flatten, "leaves": leaves, "output": output}
        if isinstance(self.given, nn.Module):
            if arguments:
                problem = f"they are for a class or function, and model={self.kind} is a network."
                raise ArgumentError("arguments", arguments, problem)
            made = _copied(self.given)
            if before_training and not self.trained:
                _draw_again(made)
            built = _of_module(self.kind, made, dataset, **options)
            doubts, wrappers = (*self.warnings, *_hooked(self.kind, made)), external.without_wrapper(self.given)[1]
        else:
            built = external.of_callable(dataset, self.kind, _of_its_own(self.given), arguments=arguments, **options)
            doubts, wrappers = self.warnings, []
        without = (
            [f"model={self.kind}: the plain network is taken, without {' and '.join(wrappers)}"] if wrappers else []
        )
        return replace(
            built,
            stored=False,
            notes=(*without, *built.notes),
            identified=partial(_with_warnings, built.identified, doubts),
        )


def _with_warnings(
    identified: Callable[[models.Built], models.Built] | None, warnings: Sequence[str], built: models.Built
) -> models.Built:
    found = built if identified is None else identified(built)
    return replace(found, warnings=(*warnings, *found.warnings))


def _hooked(kind: str, model: nn.Module) -> list[str]:
    """Returns a line if the network has hooks on its forward pass, which may write into what the program keeps."""
    if not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
        return []
    return [f"model={kind} has hooks on its forward pass, and they run in its copy, too. Remove those that only record"]


def _of_module(
    kind: str, model: nn.Module, dataset: Dataset, *, flatten: bool, leaves: Sequence[str], output: str | None
) -> models.Built:
    """Returns a network with the checks of `external.of_callable`."""
    own, notes = external.unwrapped(kind, model)
    external.check_leaves(own, leaves)

    def identified(built: models.Built) -> models.Built:
        code = external.factory_code(kind, type(own), own, set(sys.modules))
        return external.with_code(built, code, (kind,), own, output)

    model = own if output is None else with_one_output(own, output)
    dataset = dataset.flattened() if flatten else dataset
    return models.Built(model, dataset, leaves=tuple(leaves), notes=notes, identified=identified)


def _of_its_own(make: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a callable whose network is a copy, because `make` may return one that the program keeps."""

    @functools.wraps(make, updated=())
    def of_its_own(**arguments: Any) -> Any:
        made = make(**arguments)
        return _copied(made) if isinstance(made, nn.Module) else made

    return of_its_own


def _copied(model: nn.Module) -> nn.Module:
    """Returns a copy on the CPU without gradients.

    Values with a history of gradients that a network keeps as attributes, as attention weights for a picture, are
    copied without it.

    Raises:
        ArgumentError: it can't be copied.
    """
    model, _ = external.without_wrapper(model)
    memo: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        copied = copy.deepcopy(model, memo)
        copied.zero_grad(set_to_none=True)
        return copied.cpu()
    except Exception as error:
        problem = f"{type(model).__name__} can't be copied ({one_line(error)}):"
        remedy = "take what can't out of its attributes, or give a function that makes the network."
        raise ArgumentError("model", None, problem, remedy) from error


def _draw_again(model: nn.Module) -> None:
    """Draws the weights of a network again, as torch's own layers do: by `reset_parameters`, the inner modules first.

    Raises:
        ArgumentError: a module has parameters and no such method.
    """
    lacking: list[str] = []

    def draw(name: str, module: nn.Module) -> None:
        for child_name, child in module.named_children():
            draw(f"{name}.{child_name}" if name else child_name, child)
        reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        if callable(reset):
            reset()
        elif list(module.parameters(recurse=False)):
            lacking.append(name or type(module).__name__)

    draw("", model)
    if lacking:
        raise ArgumentError(
            "model",
            None,
            f"this experiment compares with the network before its training, and the weights of "
            f"{listed(lacking, MOST_NAMED)} can't be drawn again:",
            "give its class a method reset_parameters(self) that does it, as torch.nn.Linear has, or leave the control "
            "of an untrained network out.",
        )

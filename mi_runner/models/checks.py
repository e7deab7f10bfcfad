"""What a network must be so that an experiment can work on it, and what to type where it isn't.

A factory returns any network. What can't be trained, copied or read as a table of numbers is found here, before a run
folder is made; where torch's own words would say what failed, these say what to change.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mi_runner.datasets import Dataset, channels_last
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError, one_line
from mi_runner.models.one_output import NAMED, taken, ways

OLD_NORMS = {"WeightNorm": "weight_norm", "SpectralNorm": "spectral_norm"}
"""The class of a hook that writes a weight before each forward pass → the parametrization that replaces it."""

QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def check_tensors(model: nn.Module) -> None:
    """Checks that parameters and buffers are ordinary tensors with numbers, on the CPU.

    Raises:
        ArgumentError: one is not; the text names it, and says what to change.
    """
    for name, module in model.named_modules():
        where = name or type(model).__name__
        if type(module).__module__.startswith(QUANTIZED):
            problem = f"{where} is quantized ({type(module).__name__}):"
            raise ArgumentError("model", None, problem, "return the network as it was before.")
        for hook in module._forward_pre_hooks.values():
            if norm := OLD_NORMS.get(type(hook).__name__):
                problem = f"{where} has torch.nn.utils.{norm}, whose weight can't be copied or trained in a stack:"
                raise ArgumentError("model", None, problem, f"use torch.nn.utils.parametrizations.{norm}.")
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            continue
        if fault := _fault(tensor):
            raise ArgumentError("model", None, f"{name} {fault}")


def _fault(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "has no numbers (device meta): build the network on the CPU."
    if tensor.is_quantized:
        return f"is quantized ({tensor.dtype}): return the network as it was before."
    if tensor.layout != torch.strided:
        return f"is sparse ({tensor.layout}): save it as an ordinary tensor, .to_dense()."
    if tensor.device.type != "cpu":
        return f"is on {tensor.device}: leave the network on the CPU; device={tensor.device.type} moves it."
    if tensor.is_complex():
        return f"is {tensor.dtype}, and networks have real numbers here: keep real and imaginary parts apart."
    if tensor.is_inference():
        return "was made in torch.inference_mode(), and can't be trained: build the network outside of it."
    if is_expanded(tensor):
        return "is expanded: its elements share memory, so they can't be trained or loaded. Make it with .clone()."
    return ""


def is_expanded(tensor: Tensor) -> bool:
    """Returns whether elements of a tensor share memory, so that one stored value stands for many."""
    return any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True)) or (
        tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
    )


def first_outputs(model: nn.Module, dataset: Dataset) -> Any:
    """Returns what the network returns for two examples.

    Raises:
        ArgumentError: the forward pass fails, or changes what it must not; the text says what to change.
    """
    name = type(model).__name__
    example = dataset.x_train[:2].clone()
    version = example._version
    try:
        with torch.no_grad():
            output = model(example)
            turns_gradients_on = torch.is_grad_enabled()
            if dataset.has_integers:  # an Embedding has rows for some
                model(_extremes(dataset))
    except ArgumentError:
        raise
    except Exception as error:
        reason = next(_reasons(error, model, dataset), one_line(error))
        problem = f"{name} can't run on inputs of the shape {dataset.input_shape}:"
        raise ArgumentError("model", None, problem, reason) from error
    if example._version != version:
        problem = f"{name} changes its input in place."
        raise ArgumentError("model", None, problem, "Begin its forward with x = x.clone().")
    if turns_gradients_on:
        raise ArgumentError(
            "model",
            None,
            f"{name} turns gradients on, in forward, for what comes after it.",
            "Write with torch.no_grad(): around what has none, instead of torch.set_grad_enabled.",
        )
    return output


def check_output(model: nn.Module, output: Any, dataset: Dataset, outputs: Outputs | None = None) -> Tensor:
    """Returns the network's outputs of two examples, after a check that they are what the data set needs.

    Args:
        output: as `first_outputs` returns it.
        outputs: what they are said to be; None: nothing is said.

    Raises:
        ArgumentError: the output is another; the text says what to change.
    """
    name, n = type(model).__name__, len(dataset.x_train[:2])
    wanted = (n, dataset.n_outputs)
    if not isinstance(output, Tensor):
        if parts := _several(output):
            shapes = ", ".join(f"{name} {shape}" for name, shape in parts.items())
            fitting = next((name for name, shape in parts.items() if shape == wanted), next(iter(parts)))
            problem = f"{name} returns {type(output).__name__} of several: {shapes}."
            outer = getattr(type(model), NAMED, None)
            which = fitting if outer is None else f"{outer}.{fitting}"
            remedy = f"Say which is the network's output: {{output}}={which}."
            raise ArgumentError(("model", "output"), None, problem, remedy)
        problem = f"{name} returns {type(output).__name__} for {n} examples; the data set needs {wanted}."
        raise ArgumentError("model", None, problem, "Return one tensor.")
    shape = tuple(output.shape)
    may_be_one = outputs in (None, Outputs.probabilities) and len(dataset.class_names or ()) == 2
    if shape != wanted and not (may_be_one and shape == (n, 1)):
        problem = f"{name} returns {shape} for {n} examples; the data set needs {wanted}."
        raise ArgumentError("model", None, problem, _remedy(shape, n, dataset))
    if not output.is_floating_point():
        what = (
            "complex numbers: return output.abs() or output.real"
            if output.is_complex()
            else "whole numbers: return the logits, before they are rounded"
        )
        raise ArgumentError("model", None, f"{name} returns {output.dtype}; outputs are real numbers, not {what}.")
    return output


def _several(output: Any) -> dict[str, tuple[int, ...]]:
    """Returns the tensors in an output, as model.output names them: key, position or attribute → shape."""
    named = {
        name: taken(output, way) for name, way in ways(output).items() if name not in getattr(output, "_fields", ())
    }
    return {name: tuple(value.shape) for name, value in named.items() if isinstance(value, Tensor)}


def _inputs_of(model: nn.Module) -> list[str]:
    """Returns the names of forward's parameters that have no default."""
    given = inspect.signature(model.forward).parameters.values()
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one.name for one in given if one.default is one.empty and one.kind in named]


def _extremes(dataset: Dataset) -> Tensor:
    """Returns the training and test examples with the smallest and the largest number, `(4, *input)`."""
    rows = []
    for x in (dataset.x_train, dataset.x_test):
        numbers = x.flatten(1)
        rows += [x[numbers.amin(1).argmin()], x[numbers.amax(1).argmax()]]
    return torch.stack(rows)


def _reasons(error: Exception, model: nn.Module, dataset: Dataset) -> Iterator[str]:
    """Yields what a failed forward pass is most likely about, with what to type."""
    text, shape = str(error), dataset.input_shape
    dtypes = {str(p.dtype).removeprefix("torch.") for p in model.parameters() if not is_lazy(p)}
    if dtypes - {"float32"}:
        found = " and ".join(sorted(dtypes))
        cast = "" if len(dtypes) > 1 else f", or begin forward with a cast, as in x = x.to(torch.{found})"
        yield (
            f"its parameters are {found}, and the data are float32. End the factory with .float(), as in "
            f"return model.float(){cast}."
        )
    if "dtype" in text and ("Double" in text or "double" in text):
        yield "it computes in float64, and the data are float32. Make its tensors with dtype=x.dtype."
    embeddings = {path: module for path, module in model.named_modules() if isinstance(module, nn.Embedding)}
    if "index out of range" in text and embeddings and dataset.has_integers:
        numbers = _extremes(dataset)
        rows = ", ".join(f"{path} has {module.num_embeddings} rows" for path, module in embeddings.items())
        yield (
            f"x has integers from {int(numbers.min())} to {int(numbers.max())}; {rows}, for 0 to one less. Give it "
            "more rows, or number the tokens again, as numpy.unique(x, return_inverse=True) does."
        )
    if "indices" in text and ("Long" in text or "Int" in text) and not dataset.has_integers:
        values = dataset.x_train[dataset.x_train != dataset.x_train.round()]
        number = f"such as {float(values[0]):.3g}" if len(values) else "that are too large"
        yield (
            f"an Embedding takes integers, and x has numbers {number}. Save integers; if the integer parts are meant, "
            "begin forward with x = x.long()."
        )
    inputs = _inputs_of(model)
    if len(inputs) > 1 and "missing" in text and "argument" in text:
        names = ", ".join(inputs)
        yield (
            f"its forward takes {len(inputs)} inputs, {names}, and an example is one array. Save them in one, "
            f"numpy.stack([{names}], axis=1), and let a forward(self, x) begin with {names} = x.unbind(1)."
        )
    if channels_last(shape):
        yield f"they look like (H, W, C), and images are (C, H, W): save x.transpose(0, 3, 1, 2). ({one_line(error)})"
    if len(shape) == 2:
        yield (
            f"{one_line(error)}. If they are images of one channel, save x[:, None], which is (N, 1, {shape[0]}, "
            f"{shape[1]})."
        )


def _may_be_classes(dataset: Dataset, n_outputs: int) -> bool:
    """Returns whether targets that are values may be classes, of which a network has an output for each."""
    y = dataset.y_train
    return y.dim() == 1 and n_outputs > 1 and bool(((y == y.round()) & (y >= 0) & (y < n_outputs)).all())


def _remedy(shape: tuple[int, ...], n: int, dataset: Dataset) -> str:
    """Returns what to change so that an output of this shape is `(n, dataset.n_outputs)`."""
    n_outputs = dataset.n_outputs
    if shape[:1] != (n,):
        return "The first axis is the examples: let forward keep it."
    if shape[1:] in ((), (1,)) and dataset.has_classes:
        return f"One output is no {n_outputs} classes: give the last layer {n_outputs} outputs."
    if len(shape) > 2 and torch.Size(shape[1:]).numel() == n_outputs:
        return "It has as many numbers: end the network with torch.nn.Flatten()."
    if len(shape) > 2 and shape[-1] == n_outputs:
        return "If the middle axes are positions, return those of one, output[:, -1], or their mean."
    if len(shape) == 2 and not dataset.has_classes and _may_be_classes(dataset, shape[1]):
        return f"If the targets, 0 to {int(dataset.y_train.max())}, are classes, type dataset.target=class."
    outputs = f"{n_outputs} output{'' if n_outputs == 1 else 's'}"
    return (
        f"Give its last layer {outputs}; a factory with a parameter n_outputs gets this number."
        if len(shape) == 2
        else "Return a row of outputs for each example."
    )

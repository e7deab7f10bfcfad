"""Are a graph's gradients those of its module? A second route to what the recording promises.

Hooks on gradients that a module has, and what else autograd keeps outside of the forward pass, are not recorded. The
outputs are then the same bit for bit, and a training through the graph moves other weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mi_runner.errors import ArgumentError, one_line
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.graph.recording import evaluating

RELATIVE, ABSOLUTE = 1e-4, 1e-6
"""A gradient may differ by so much of its own largest value, and so much of the largest of all.

Both routes compute the same operations, so on the CPU they are equal, or differ by the order of a sum; a step that is
left out, or one too many, changes a gradient by a whole term.
"""

INPUT = "the input"

MOST_TRIED = 50
"""Submodules that are tried as one site, to name one in an error."""


def check_gradients(graph: ModelGraph, x: Tensor, leaves: Iterable[str] = ()) -> None:
    """Checks that a graph gives its module's gradients, of each parameter and the input, in evaluation mode.

    The gradients are those of one random projection of the outputs.

    Args:
        x: `(B, *input)`, a few examples.
        leaves: those that the graph was traced with.

    Raises:
        ArgumentError: a gradient differs, or the module can't compute them; the text says what to type.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import ModelGraph, check_gradients
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
        >>> check_gradients(ModelGraph.trace(net, torch.zeros(1, 3)), torch.ones(4, 3))
    """
    module, leaves = graph.module, tuple(leaves)
    try:
        expected = _gradients(module, module, x)
    except Exception as error:
        problem = f"{type(module).__name__} can't compute gradients: {one_line(error)}"
        raise ArgumentError("graph", None, problem) from error
    other = _first_other(_gradients(graph, module, x), expected)
    if not other:
        return
    works = next((path for path in _candidates(graph, leaves) if _repairs(module, x, (*leaves, path), expected)), "")
    if works:
        advice = f"make the submodule that does so one site: {{leaves}}=[{','.join((*leaves, works))}]."
    else:
        named = ",".join((*leaves, "NAME"))
        advice = f"remove it, or move what has it into a submodule and name that, {{leaves}}=[{named}]."
    raise ArgumentError(
        ("graph", "leaves"),
        None,
        f"{type(module).__name__} as recorded has other gradients than the module itself ({other}): a hook on "
        "gradients, or what else changes them, isn't recorded, so",
        advice,
    )


def _gradients(function: Callable[..., Tensor], module: nn.Module, x: Tensor) -> dict[str, Tensor | None]:
    """Returns the gradients of a random projection of the function's outputs, by each parameter and by the input."""
    parameters = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    before = {name: parameter.grad for name, parameter in parameters.items()}
    draw = torch.Generator().manual_seed(0)
    with evaluating(module), torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng():
        try:
            for parameter in parameters.values():
                parameter.grad = None
            given = x.detach().clone()
            given.requires_grad_(given.is_floating_point())
            # a copy, because forward may work in place, which a leaf of autograd doesn't allow
            outputs = function(given.clone())
            if outputs.requires_grad:
                along = torch.randn(outputs.shape, generator=draw).to(outputs)
                (outputs * along).sum().backward()
            return {name: parameter.grad for name, parameter in parameters.items()} | {INPUT: given.grad}
        finally:
            for name, parameter in parameters.items():
                parameter.grad = before[name]


def _first_other(ours: Mapping[str, Tensor | None], expected: Mapping[str, Tensor | None]) -> str:
    """Returns the first gradient that differs, with its numbers, or an empty text. No gradient counts as 0."""
    largest = max((_largest(gradient) for gradient in expected.values()), default=0.0)
    for name, wanted in expected.items():
        got = ours[name]
        like = wanted if wanted is not None else got
        if like is None:
            continue
        wanted, got = (torch.zeros_like(like) if one is None else one for one in (wanted, got))
        allowed = RELATIVE * _largest(wanted) + ABSOLUTE * largest
        apart = (got.double() - wanted.double()).abs()
        apart = apart.masked_fill((got == wanted) | (got.isnan() & wanted.isnan()), 0.0)
        if apart.numel() and not bool((apart <= allowed).all()):
            at = int(apart.nan_to_num(nan=torch.inf).argmax())
            return f"{name}: {got.flatten()[at]:.3g} instead of {wanted.flatten()[at]:.3g}"
    return ""


def _largest(gradient: Tensor | None) -> float:
    if gradient is None or not gradient.numel():
        return 0.0
    return float(gradient.abs().nan_to_num(nan=0.0, posinf=0.0).max())


def _candidates(graph: ModelGraph, leaves: tuple[str, ...]) -> list[str]:
    """Returns the submodules that were traced through, the innermost first."""
    sites = {name for name, site in graph.sites.items() if site.kind == "module"}
    paths = [path for path, _ in graph.module.named_modules() if path and path not in sites and path not in leaves]
    return sorted(paths, key=lambda path: -path.count("."))[:MOST_TRIED]


def _repairs(module: nn.Module, x: Tensor, leaves: tuple[str, ...], expected: Mapping[str, Any]) -> bool:
    """Returns whether the graph with these leaves has the gradients of the module."""
    try:
        return not _first_other(_gradients(ModelGraph.trace(module, x, leaves), module, x), expected)
    except Exception:
        return False

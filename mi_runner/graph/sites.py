"""Which values of a program have a name to read and to replace, and which of them reads which?"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mi_runner.graph.evaluator import Program, Step


@dataclass(frozen=True)
class Site:
    """One named value.

    Attributes:
        name: `x`, `layers.0`, `relu`, `add`.
        kind: input, module, function (functions, operators and methods), parameter, or constant: a value whose first
            dimension is not the batch, e.g. a transposed weight, a mean over the batch, an LSTM's last state.
        shape: of one example's value, without the batch; where `kind` is parameter or constant, of the whole value, a
            constant's as it was on the example that was traced.
        module: the submodule's class name, or empty.
        dtype: of the value.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import ModelGraph, Site
        >>> graph = ModelGraph.trace(nn.Sequential(nn.Conv2d(1, 3, kernel_size=2)), torch.zeros(1, 1, 5, 5))
        >>> site = graph.site("0")
        >>> site.shape, site.n_units
        ((3, 4, 4), 48)
        >>> site == Site("0", "module", (3, 4, 4), module="Conv2d")
        True
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    module: str = ""
    dtype: torch.dtype = torch.float32

    @property
    def n_units(self) -> int:
        """How many numbers one example's value has; of a parameter or constant, the whole value."""
        return int(torch.Size(self.shape).numel())

    @property
    def obstacle(self) -> str:
        """Why the site has no numbers for each example, to read or to replace; empty where it has."""
        if self.kind == "parameter":
            return "is a parameter"
        if self.kind == "constant":
            return "has no value for each example (its first dimension is not the batch)"
        if not self.dtype.is_floating_point:
            what = "complex numbers" if self.dtype.is_complex else "integers"
            return f"holds {'booleans' if self.dtype is torch.bool else what}"
        return ""


def sites_of(program: Program, *, shown: bool) -> dict[str, Site]:
    """Returns name → `Site` in the order of computation.

    Args:
        shown: True for the values of the forward pass; False for the parameters and the products before the bias of
            modules that are one site.
    """
    steps = program.steps.values()
    return {step.name: _site(program, step) for step in steps if step.value is not None and step.shown == shown}


def edges_of(program: Program) -> tuple[str, ...]:
    """Returns the edges between the values of the forward pass, `source/target`, in the order of computation."""
    steps = program.steps
    return tuple(
        f"{source}/{step.name}"
        for step in steps.values()
        if step.carries and step.shown
        for source in step.inputs
        if steps[source].carries
    )


def _site(program: Program, step: Step) -> Site:
    assert step.value is not None
    kind = {"method": "function"}.get(step.operation, str(step.operation))
    module = type(program.module.get_submodule(step.target)).__name__ if kind == "module" else ""
    if kind != "parameter" and not step.value.of_examples:
        kind = "constant"
    return Site(step.name, kind, step.value.shape, module, step.value.dtype)

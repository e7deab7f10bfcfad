"""How modular is a weight matrix? The share of its squared weights inside its clusters (Golechha et al.).

A cluster is a block of output units and the block of input units assigned to it. Letters: O outputs, I inputs of a
Linear layer; a weight matrix is `(O, I)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mi_runner.errors import ArgumentError, unknown


@dataclass(frozen=True)
class Partition:
    """The clusters of a weight matrix's units.

    Attributes:
        outputs: `(O,)` int64, the cluster of each output unit.
        inputs: `(I,)` int64, the cluster of each input unit.
        n_clusters: how many there are; each has at least one output and one input unit.

    Example:
        >>> import torch
        >>> from mi_runner.clusters import Partition
        >>> Partition(torch.tensor([0, 1]), torch.tensor([0, 1, 1]), n_clusters=2).inside
        tensor([[ True, False, False],
                [False,  True,  True]])
    """

    outputs: Tensor
    inputs: Tensor
    n_clusters: int

    @property
    def inside(self) -> Tensor:
        """`(O, I)` bool: whether a weight joins two units of one cluster."""
        return self.outputs[:, None] == self.inputs[None, :]

    def to(self, device: torch.device) -> Partition:
        """Returns the same partition on a device."""
        return Partition(self.outputs.to(device), self.inputs.to(device), self.n_clusters)


def contiguous(n_outputs: int, n_inputs: int, n_clusters: int) -> Partition:
    """Returns blocks of neighbouring units; if they don't divide evenly, the first blocks have one unit more.

    Raises:
        ArgumentError: more clusters than units.

    Example:
        >>> from mi_runner.clusters import contiguous
        >>> contiguous(4, 5, n_clusters=2)
        Partition(outputs=tensor([0, 0, 1, 1]), inputs=tensor([0, 0, 0, 1, 1]), n_clusters=2)
    """
    fewest = min(n_outputs, n_inputs)
    if not 1 <= n_clusters <= fewest:
        matrix, remedy = f"a {n_outputs}×{n_inputs} weight matrix", "Take a layer with at least two units on each side."
        if fewest >= 2:
            remedy = f"Use {{n_clusters}}={fewest}{' or less' if fewest > 2 else ''}."
        problem = f"{matrix} has room for at most {max(fewest, 1)}."
        raise ArgumentError("n_clusters", n_clusters, problem, remedy)
    return Partition(_blocks(n_outputs, n_clusters), _blocks(n_inputs, n_clusters), n_clusters)


def shuffled(partition: Partition, *, generator: torch.Generator) -> Partition:
    """Returns a random partition with clusters of the same sizes; outputs and inputs are drawn separately."""
    outputs = partition.outputs[torch.randperm(len(partition.outputs), generator=generator)]
    inputs = partition.inputs[torch.randperm(len(partition.inputs), generator=generator)]
    return Partition(outputs, inputs, partition.n_clusters)


def refuse_other_units(layer: str, weight: Tensor, partition: Partition) -> None:
    """Checks that a partition has the units of the layer's weights `(O, I)`.

    Raises:
        ArgumentError: it has; the text names both sizes.
    """
    n_outputs, n_inputs = len(partition.outputs), len(partition.inputs)
    if (n_outputs, n_inputs) != tuple(weight.shape):
        raise ArgumentError(
            ("partition", "layer"),
            None,
            f"the partition has {n_outputs} outputs and {n_inputs} inputs, "
            f"but the weights of {layer!r} are {weight.shape[0]}×{weight.shape[1]}.",
        )


def clusterability(weight: Tensor, inside: Tensor) -> Tensor:
    """Returns the share of the squared weights that is inside the clusters, a scalar in 0..1; differentiable.

    Args:
        weight: `(O, I)`, not all zeros.
        inside: `(O, I)`, a partition's `inside`. In a training loop convert it to the weight's dtype once.

    Example:
        >>> import torch
        >>> from mi_runner.clusters import clusterability, contiguous
        >>> clusterability(torch.tensor([[3.0, 1.0], [1.0, 3.0]]), contiguous(2, 2, n_clusters=2).inside)
        tensor(0.9000)
    """
    return _Clusterability.apply(weight, inside.to(weight.dtype))


def composed_clusterability(weight: Tensor, inside: Tensor) -> Tensor:
    """Returns `clusterability`, composed of torch's operations: slower, but `torch.func` can vectorise it."""
    squares = weight * weight
    return (squares * inside).sum() / squares.sum()


class _Clusterability(torch.autograd.Function):
    """Forward and backward by hand: with autograd's small kernels a step of a small network takes a third longer.

    c = Σ m·w² / Σ w², so dc/dw = 2w·(m − c) / Σ w².
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, weight: Tensor, inside: Tensor) -> Tensor:
        squares = weight * weight
        total = squares.sum()
        share = torch.dot(squares.view(-1), inside.view(-1)) / total
        ctx.save_for_backward(weight, inside, share, total)
        return share

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        weight, inside, share, total = ctx.saved_tensors
        return (inside - share).mul_(weight).mul_(2 * gradient / total), None


def linear_layer(model: nn.Module, name: str | None) -> tuple[str, nn.Linear]:
    """Returns the path of a Linear layer, and the layer.

    Args:
        name: its path; None: the middle Linear layer (the earlier of two).

    Raises:
        ArgumentError: no Linear layer has this name; the text lists the names.
    """
    linears = {path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    if not linears:
        problem = "the network has no Linear layer, so it has no weight matrix to cluster."
        raise ArgumentError("model", None, problem)
    if name is None:
        name = list(linears)[(len(linears) - 1) // 2]
    if name not in linears:
        raise ArgumentError("layer", name, unknown("Linear layer", name, linears))
    return name, linears[name]


def _blocks(n_units: int, n_clusters: int) -> Tensor:
    size, rest = divmod(n_units, n_clusters)
    sizes = torch.tensor([size + (cluster < rest) for cluster in range(n_clusters)])
    return torch.repeat_interleave(torch.arange(n_clusters), sizes)

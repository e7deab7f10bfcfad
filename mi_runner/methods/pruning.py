"""Which edges does a network need for one class? Greedy pruning of a chain of Linear layers.

Edges are visited in a fixed order: the layers from the last to the first, the output units of a layer in their order,
and the inputs of a unit in their order. An edge is cut if the criterion then grows by less than the threshold.

The criterion is about one class, "this class or not": with q the wanted probability of the class and p the network's
(softmax), the mean over examples of −q·log p − (1−q)·log(1−p). Where the wanted probability comes from:

| criterion     | examples                | wanted probability of the class |
|---------------|-------------------------|---------------------------------|
| `divergence`  | all                     | the full network's              |
| `all_classes` | all                     | 1 or 0, by the label            |
| `own_class`   | those of the class only | 1 (published; degenerates)      |

Letters: L layers, N examples, K outputs, O×I a weight matrix.

One edge changes one unit, so only the units after it are computed again. The code is plain loops because numba
compiles them to vector instructions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import ACTIVATIONS, Part
from mi_runner.machine.compiled import compiled
from mi_runner.methods.circuits.kernels.activations import activate

Criterion = Literal["divergence", "all_classes", "own_class"]

CRITERIA: tuple[Criterion, ...] = get_args(Criterion)

Progress = Callable[[int], None]
"""Called with the number of edges visited since the last call."""

# Sums over examples may be reordered, so that they are vectorised; NaN and infinity keep their meaning.
_REORDER = {"reassoc", "contract", "nsz"}


def prune_classes(
    part: Part,
    inputs: Tensor,
    labels: Tensor,
    *,
    criterion: Criterion = "divergence",
    threshold: float = 1e-4,
    layers: Sequence[int] | None = None,
    progress: Callable[[int, int], None] = lambda edges, class_index: None,
) -> dict[int, list[Tensor]]:
    """Returns class → the edges that the network needs for it, as `prune` returns them; classes run in parallel.

    A class without an example has no entry.

    Args:
        inputs: `(N, I)`, what enters the first layer.
        labels: `(N,)` classes, each the index of an output; of one output, which is the logit of class 1, 0 or 1.
        threshold: an edge is cut if the criterion then grows by less, in nats.
        layers: which layers to prune, by number; None for all.
        progress: called with the number of edges visited since the last call, and the class.

    Raises:
        ArgumentError: an argument doesn't fit the others; the text says which.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.clusters import prune_classes
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(2, 2))
        >>> with torch.no_grad():
        ...     _, _ = net[0].weight.copy_(torch.tensor([[9.0, 0.0], [0.0, 9.0]])), net[0].bias.zero_()
        >>> x, labels = torch.eye(2), torch.tensor([0, 1])
        >>> part = find_part(ModelGraph.trace(net, x), None)
        >>> kept = prune_classes(part, x, labels, threshold=0.01)
        >>> {label: int(masks[0].sum()) for label, masks in kept.items()}
        {0: 2, 1: 2}
    """
    if len(labels) != len(inputs):
        problem = f"{len(inputs)} examples and {len(labels)} labels:"
        raise ArgumentError(("inputs", "labels"), None, problem, "give one label for each.")
    classes = labels.unique().tolist()
    # Before the threads start, so that a wrong argument is an error at once.
    for class_index in classes:
        _refuse(part, inputs, class_index, layers)
    with torch.no_grad():
        logits = part(inputs)

    def of_class(class_index: int) -> list[Tensor]:
        index, probability = wanted(criterion, logits, labels, class_index)
        return prune(
            part,
            inputs[index],
            probability,
            class_index,
            threshold=threshold,
            layers=layers,
            progress=lambda edges: progress(edges, class_index),
        )

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return dict(zip(classes, pool.map(of_class, classes), strict=True))


def wanted(criterion: Criterion, logits: Tensor, labels: Tensor, class_index: int) -> tuple[Tensor, Tensor]:
    """Returns the examples `(M,)` int64 of a class's criterion, and the class's wanted probability on each, `(M,)`.

    Args:
        logits: `(N, K)`, the full network's; `(N, 1)`: of class 1, that of class 0 being 0.
        labels: `(N,)` classes.
        class_index: the class, the index of its output.

    Raises:
        ArgumentError: there is no such criterion.
    """
    if criterion not in CRITERIA:
        raise ArgumentError("criterion", repr(criterion), f"the criteria are {', '.join(map(repr, CRITERIA))}.")
    of_class = labels == class_index
    if criterion == "own_class":
        index = of_class.nonzero().squeeze(1)
        return index, torch.ones(len(index), device=logits.device)
    index = torch.arange(len(labels), device=logits.device)
    if criterion == "all_classes":
        return index, of_class.float()
    return index, _of_classes(logits.double()).softmax(1)[:, class_index].float()


def criterion_value(logits: Tensor, probability: Tensor, class_index: int) -> float:
    """Returns the criterion, computed by its definition in float64.

    Args:
        logits: `(N, K)`, or `(N, 1)` as for `wanted`.
        probability: `(N,)`, the wanted one.
    """
    log_p = _of_classes(logits.double()).log_softmax(1)
    others = torch.cat([log_p[:, :class_index], log_p[:, class_index + 1 :]], 1).logsumexp(1)
    return float(-(probability * log_p[:, class_index] + (1 - probability) * others).mean())


def _of_classes(logits: Tensor) -> Tensor:
    return Outputs.logit.class_logits(logits) if logits.shape[1] == 1 else logits


def prune(
    part: Part,
    inputs: Tensor,
    probability: Tensor,
    class_index: int,
    *,
    threshold: float,
    layers: Sequence[int] | None = None,
    progress: Progress = lambda edges: None,
) -> list[Tensor]:
    """Returns the kept edges, a boolean mask `(O, I)` for each layer on the CPU; unpruned layers keep all.

    Several threads may call this at once: it holds no lock while it computes.

    Args:
        inputs: `(N, I)`, what enters the first layer.
        probability: `(N,)`, the wanted probability of the class.
        class_index: the class, the index of its output; of one output, which is the logit of class 1, 0 or 1.
        threshold: an edge is cut if the criterion then grows by less, in nats.
        layers: which layers to prune, by number; None for all.

    Raises:
        ArgumentError: there are no examples, or an argument doesn't fit the part.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.clusters import prune
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(2, 2))
        >>> with torch.no_grad():
        ...     _, _ = net[0].weight.copy_(torch.tensor([[9.0, 0.0], [0.0, 9.0]])), net[0].bias.zero_()
        >>> x, labels = torch.eye(2), torch.tensor([0, 1])
        >>> part = find_part(ModelGraph.trace(net, x), None)
        >>> prune(part, x, net(x).softmax(1)[:, 0].detach(), class_index=0, threshold=0.01)
        [tensor([[ True, False],
                [False,  True]])]
    """
    part = part.without_softmax  # the criterion makes probabilities of the logits itself
    _refuse(part, inputs, class_index, layers)
    if len(probability) != len(inputs):
        problem = f"{len(inputs)} examples and {len(probability)} wanted probabilities:"
        raise ArgumentError(("inputs", "probability"), None, problem, "give one for each.")
    weights = [layer.weight.cpu().numpy().astype(np.float32) for layer in part.layers]
    sizes = np.array(part.sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])  # of each layer's units, the inputs as layer 0
    offsets = np.concatenate([[0], np.cumsum(sizes[1:] * sizes[:-1])[:-1]])
    flat = np.concatenate([weight.ravel() for weight in weights])
    kinds = np.array([ACTIVATIONS.index(layer.activation) for layer in part.layers])
    slopes = np.array([_slope(layer.activation, layer.slope) for layer in part.layers], dtype=np.float32)
    goal = np.ascontiguousarray(probability.cpu().numpy(), dtype=np.float32)
    before = np.zeros((int(sizes.sum()), len(inputs)), dtype=np.float32)
    after = np.zeros_like(before)
    scratch = np.zeros_like(before)
    after[: sizes[0]] = inputs.detach().cpu().numpy().T
    kept = np.ones(len(flat), dtype=np.bool_)
    for layer in sorted(range(len(weights)) if layers is None else layers, reverse=True):
        # Computed again for each layer, so that rounding errors don't add up over all the cuts.
        cut = [torch.from_numpy(_matrix(flat, offsets, part, place)) for place in range(len(weights))]
        _fill(replace_weights(part, cut), before, after, starts)
        for unit in range(sizes[layer + 1]):
            _prune_unit(
                layer, unit, flat, kept, sizes, starts, offsets, kinds, slopes,
                before, after, scratch, goal, class_index, threshold,
            )  # fmt: skip
            progress(int(sizes[layer]))
    return [torch.from_numpy(_matrix(kept, offsets, part, layer)) for layer in range(len(weights))]


def _refuse(part: Part, inputs: Tensor, class_index: int, layers: Sequence[int] | None) -> None:
    """Raises an ArgumentError for arguments that don't fit, because the kernel checks no index."""
    n_inputs, n_classes = part.sizes[0], max(2, part.sizes[-1])
    if not len(inputs):
        raise ArgumentError("inputs", None, "no examples: pruning needs at least one.")
    if inputs.dim() != 2 or inputs.shape[1] != n_inputs:
        problem = f"inputs of shape {tuple(inputs.shape)}: the first layer takes (N, {n_inputs})."
        raise ArgumentError("inputs", None, problem)
    if not 0 <= class_index < n_classes:
        raise ArgumentError("class_index", None, f"class {class_index}: the classes are 0 to {n_classes - 1}.")
    for layer in layers or ():
        if not 0 <= layer < len(part.layers):
            raise ArgumentError("layers", list(layers or ()), f"the layers are 0 to {len(part.layers) - 1}.")


def keep_edges(part: Part, kept: Sequence[Tensor]) -> Part:
    """Returns the part with the weights of all other edges at zero; the biases stay.

    Args:
        kept: a boolean mask `(O, I)` for each layer, as `prune` returns them.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.clusters import keep_edges
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(2, 2))
        >>> with torch.no_grad():
        ...     _, _ = net[0].weight.copy_(torch.tensor([[9.0, 0.0], [0.0, 9.0]])), net[0].bias.zero_()
        >>> x, labels = torch.eye(2), torch.tensor([0, 1])
        >>> part = find_part(ModelGraph.trace(net, x), None)
        >>> first = torch.tensor([[True, True], [False, False]])
        >>> keep_edges(part, [first]).layers[0].weight
        tensor([[9., 0.],
                [0., 0.]])
    """
    pairs = zip(part.layers, kept, strict=True)
    return replace_weights(part, [layer.weight * mask.to(layer.weight.device) for layer, mask in pairs])


def replace_weights(part: Part, weights: Sequence[Tensor]) -> Part:
    """Returns the part with other weights, `(O, I)` for each layer."""
    pairs = zip(part.layers, weights, strict=True)
    return replace(part, layers=tuple(replace(layer, weight=weight) for layer, weight in pairs))


def _matrix(flat: np.ndarray, offsets: np.ndarray, part: Part, layer: int) -> np.ndarray:
    shape = part.layers[layer].weight.shape
    return flat[offsets[layer] : offsets[layer] + math.prod(shape)].reshape(shape).copy()


def _fill(part: Part, before: np.ndarray, after: np.ndarray, starts: np.ndarray) -> None:
    """Fills in every unit's value before and after its activation, `(units, N)`; `after` begins with the inputs."""
    values = torch.from_numpy(after[: part.sizes[0]]).T
    for start, layer in zip(starts[1:], part.layers, strict=True):
        z = torch.nn.functional.linear(values, layer.weight, layer.bias.cpu())
        values = layer.activate(z)
        rows = slice(start, start + z.shape[1])
        before[rows], after[rows] = z.numpy().T, values.numpy().T


def _slope(activation: str, slope: float) -> float:
    return {"identity": 1.0, "relu": 0.0}.get(activation, slope)


# --- the kernel --------------------------------------------------------------------------------------------------


@compiled(nogil=True)
def _prune_unit(
    layer: int, unit: int, weights: Any, kept: Any, sizes: Any, starts: Any, offsets: Any, kinds: Any, slopes: Any,
    before: Any, after: Any, scratch: Any, goal: Any, class_index: int, threshold: float,
) -> None:  # fmt: skip
    """Cuts the edges of an output unit that the criterion allows, in `weights`, `kept`, `before`, `after`.

    Weights and kept `(edges,)` of all layers one after the other; before and after the activation, `(units, N)`; goal
    `(N,)`, the wanted probability. `scratch` has the values of `before` without the edge.
    """
    n_examples = goal.shape[0]
    n_layers = kinds.shape[0]
    n_inputs = sizes[layer]
    last = starts[n_layers]
    row = starts[layer + 1] + unit
    first_edge = offsets[layer] + unit * n_inputs
    change = np.empty((before.shape[0], n_examples), np.float32)
    outputs = np.empty((sizes[n_layers], n_examples), np.float32)
    now = _criterion(after[last:], goal, class_index)
    for source in range(n_inputs):
        weight = weights[first_edge + source]
        read = after[starts[layer] + source]
        for e in range(n_examples):
            scratch[row, e] = before[row, e] - weight * read[e]
        _activate_change(scratch[row], after[row], change[row], kinds[layer], slopes[layer])
        for behind in range(layer + 1, n_layers):
            n_in, n_out = sizes[behind], sizes[behind + 1]
            is_next = behind == layer + 1  # only one unit of the layer before has changed
            for out in range(n_out):
                to = starts[behind + 1] + out
                at = offsets[behind] + out * n_in
                scratch[to] = before[to]
                for inner in range(unit if is_next else 0, unit + 1 if is_next else n_in):
                    factor = weights[at + inner]
                    if factor != 0:
                        moved = change[starts[behind] + inner]
                        for e in range(n_examples):
                            scratch[to, e] += factor * moved[e]
                _activate_change(scratch[to], after[to], change[to], kinds[behind], slopes[behind])
        for out in range(sizes[n_layers]):
            moves = layer < n_layers - 1 or out == unit
            for e in range(n_examples):
                outputs[out, e] = after[last + out, e] + (change[last + out, e] if moves else np.float32(0))
        then = _criterion(outputs, goal, class_index)
        if then - now < threshold:
            now = then
            weights[first_edge + source] = 0
            kept[first_edge + source] = False
            before[row] = scratch[row]
            after[row] += change[row]
            for to in range(starts[layer + 1] + sizes[layer + 1], starts[n_layers] + sizes[n_layers]):
                before[to] = scratch[to]
                after[to] += change[to]


@compiled(nogil=True, inline="always")
def _activate_change(z: Any, old: Any, change: Any, kind: int, slope: float) -> None:
    """Computes into `change` how activations change: from `old` to those of the values `z`, `(N,)` each."""
    if kind <= 2:
        for e in range(z.shape[0]):
            change[e] = (z[e] if z[e] > np.float32(0) else slope * z[e]) - old[e]
    else:
        for e in range(z.shape[0]):
            change[e] = activate(z[e], kind, slope) - old[e]


@compiled(nogil=True, fastmath=_REORDER)
def _criterion(outputs: Any, goal: Any, class_index: int) -> float:
    """Returns the mean of softplus(m) − q·m over outputs `(K, N)`, m being the class's logit above the others'.

    One output is the logit of class 1 above that of class 0.
    """
    n_outputs, n_examples = outputs.shape
    total = np.zeros(n_examples, np.float32)
    if n_outputs == 1:
        sign = np.float32(1 if class_index == 1 else -1)
        for e in range(n_examples):
            total[e] = _softplus_less(sign * outputs[0, e], goal[e])
        return _mean(total)
    largest = np.full(n_examples, np.float32(-np.inf))
    for out in range(n_outputs):
        if out != class_index:
            for e in range(n_examples):
                z = outputs[out, e]
                largest[e] = z if z > largest[e] else largest[e]
    for out in range(n_outputs):
        if out != class_index:
            for e in range(n_examples):
                total[e] += _exp(outputs[out, e] - largest[e])
    for e in range(n_examples):
        total[e] = _softplus_less(outputs[class_index, e] - largest[e] - _log(total[e]), goal[e])
    return _mean(total)


@compiled(nogil=True, inline="always")
def _softplus_less(m: np.float32, goal: np.float32) -> np.float32:
    """Returns softplus(m) − goal·m."""
    size = m if m > np.float32(0) else -m
    positive = m if m > np.float32(0) else np.float32(0)
    return positive + _log(np.float32(1) + _exp(-size)) - goal * m


@compiled(nogil=True, fastmath=_REORDER)
def _mean(values: Any) -> float:
    """Returns the mean, summed in float64."""
    mean = 0.0
    for e in range(values.shape[0]):
        mean += values[e]
    return mean / values.shape[0]


# exp and log as polynomials (Cephes, expf and logf), because calls into the C library can't be vectorised: log(1 + e^x)
# of two million float32 took 4.7 times as long with NumPy's exp and log in the same compiled loop (AMD EPYC, AVX512).


@intrinsic
def _float_of_bits(context: Any, bits: Any) -> Any:
    """Returns the float32 with these 32 bits."""
    return types.float32(types.int32), lambda c, builder, s, arguments: builder.bitcast(arguments[0], ir.FloatType())


@intrinsic
def _bits_of_float(context: Any, value: Any) -> Any:
    """Returns the 32 bits of a float32."""
    return types.int32(types.float32), lambda c, builder, s, arguments: builder.bitcast(arguments[0], ir.IntType(32))


@compiled(nogil=True, inline="always")
def _exp(x: np.float32) -> np.float32:
    """Returns e^x for x ≤ 0, with a relative error below 2·10⁻⁷; below −87, e^−87."""
    x = x if x > np.float32(-87) else np.float32(-87)
    power = np.int32(x * np.float32(1.44269504) - np.float32(0.5))  # towards zero: the nearest integer
    whole = np.float32(power)
    r = x - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1)
    return p * _float_of_bits(np.int32((power + np.int32(127)) << np.int32(23)))  # type: ignore[call-arg]  # likewise


@compiled(nogil=True, inline="always")
def _log(x: np.float32) -> np.float32:
    """Returns log x for normal x > 0, with an absolute error below 2·10⁻⁷ times the result or 10⁻⁷."""
    bits: np.int32 = _bits_of_float(np.float32(x))  # type: ignore[call-arg]  # numba adds the context
    power = np.float32((bits >> np.int32(23)) - np.int32(126))
    m = _float_of_bits(np.int32((bits & np.int32(0x7FFFFF)) | np.int32(0x3F000000)))  # in 0.5..1
    small = m < np.float32(0.707106781186547524)
    power = power - np.float32(1) if small else power
    m = (m + m if small else m) - np.float32(1)
    z = m * m
    p = np.float32(7.0376836292e-2)
    p = p * m + np.float32(-1.1514610310e-1)
    p = p * m + np.float32(1.1676998740e-1)
    p = p * m + np.float32(-1.2420140846e-1)
    p = p * m + np.float32(1.4249322787e-1)
    p = p * m + np.float32(-1.6668057665e-1)
    p = p * m + np.float32(2.0000714765e-1)
    p = p * m + np.float32(-2.4999993993e-1)
    p = p * m + np.float32(3.3333331174e-1)
    p = p * m * z + np.float32(-2.12194440e-4) * power - np.float32(0.5) * z
    return m + p + np.float32(0.693359375) * power

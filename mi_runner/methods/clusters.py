"""Is a network modular, so that parts of it can be switched off? Measures of Golechha et al. for any network.

The clusters of a weight matrix are switched off and on, beside random partitions with clusters of the same sizes; the
examples that excite a unit most show how many classes it stands for. `mi_runner.training.clusterability` has the
partition itself and the share of squared weights inside its clusters. Letters: N examples, B of them at once,
K classes, O outputs and I inputs of the clustered layer, U units of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner import chance
from mi_runner.batches import batches, outputs_of
from mi_runner.graph.chain import longest_part
from mi_runner.graph.interventions import read_sites, run_variants
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.training.clusterability import Partition, shuffled

State = Literal["off", "on"]
"""off: the cluster's rows and columns are zero. on: those of all other clusters are."""

STATES: tuple[State, ...] = get_args(State)

VARIANT_NUMBERS = 4_000_000
"""Numbers in the replacement values of the variants that run at once: 16 MB, so that they stay near the processor."""


# --- clusters off and on -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Switched:
    """How a network answers with one cluster off or on.

    Attributes:
        control: 0 for the partition itself, 1, 2, … for the controls.
        state: full (the network as it is), off or on.
        cluster: the cluster that is off or on; None for the full network.
        correct: `(N,)` bool, whether the predicted class is the label.
        labels: `(N,)`, the labels.
    """

    control: int
    state: Literal["full", "off", "on"]
    cluster: int | None
    correct: Tensor
    labels: Tensor

    @property
    def accuracy(self) -> float:
        """The accuracy on all examples, in 0..1."""
        return float(self.correct.double().mean())

    @property
    def class_accuracy(self) -> dict[int, float]:
        """Class → the accuracy on its examples, for the classes that have examples."""
        return {
            number: float(self.correct[self.labels == number].double().mean())
            for number in self.labels.unique().tolist()
        }


@torch.no_grad()
def switch_clusters(
    graph: ModelGraph,
    layer: str,
    partition: Partition,
    x: Tensor,
    labels: Tensor,
    *,
    controls: Sequence[Partition] = (),
    progress: Callable[[int], None] = lambda variants: None,
) -> list[Switched]:
    """The full network, then each cluster off, each cluster on; then the same for the clusters of each control.

    The network's weights stay as they are. Only what is behind the layer is computed for each cluster.

    Args:
        graph: of a network whose outputs `(N, K)` are logits of classes.
        layer: the Linear layer whose weights are clustered.
        x: `(N, *input)`.
        labels: `(N,)` classes.
        controls: partitions to compare with, e.g. of `random_partitions`.
        progress: called with the number of clusters switched since the last call.

    Raises:
        ValueError: the layer is no Linear layer, a partition has other units than it, or there are no examples.
    """
    linear = _linear(graph, layer)
    for each in (partition, *controls):
        _refuse_other_units(layer, linear.weight, each)
    if not len(x) or len(x) != len(labels):
        raise ValueError(f"{len(x)} examples and {len(labels)} labels: give one label for each, and at least one.")
    variants = [
        (control, state, cluster)
        for control, each in enumerate((partition, *controls))
        for state in STATES
        for cluster in range(each.n_clusters)
    ]
    of_control = [each.to(linear.weight.device) for each in (partition, *controls)]
    bias = torch.zeros_like(linear.weight[:, 0]) if linear.bias is None else linear.bias
    (source,) = graph.sources(layer)
    full = outputs_of(graph, x).argmax(-1) == labels
    switched = [Switched(0, "full", None, full, labels)]
    at_once = max(1, VARIANT_NUMBERS // (len(bias) * min(1000, len(x))))
    for start in range(0, len(variants), at_once):
        some = variants[start : start + at_once]
        weights = [switched_weight(linear.weight, of_control[c], cluster, state) for c, state, cluster in some]
        parts = []
        for inputs, expected in zip(batches(x), batches(labels), strict=True):
            entering = read_sites(graph, inputs, [source])[source]
            values = torch.stack([functional.linear(entering, weight, bias) for weight in weights])
            parts.append(run_variants(graph, inputs, layer, values).argmax(-1) == expected)
        for (control, state, cluster), correct in zip(some, torch.cat(parts, dim=1), strict=True):
            switched.append(Switched(control, state, cluster, correct, labels))
        progress(len(some))
    return switched


def switched_weight(weight: Tensor, partition: Partition, cluster: int, state: State) -> Tensor:
    """The weights `(O, I)` with the cluster's rows and columns zero (off), or those of all others (on).

    Raises:
        ValueError: there is no such cluster or state.
    """
    if state not in STATES:
        raise ValueError(f"state={state!r}: a cluster is {' or '.join(map(repr, STATES))}.")
    if not 0 <= cluster < partition.n_clusters:
        raise ValueError(f"cluster={cluster}: the clusters are 0 to {partition.n_clusters - 1}.")
    in_rows, in_columns = partition.outputs == cluster, partition.inputs == cluster
    if state == "off":
        in_rows, in_columns = ~in_rows, ~in_columns
    return weight * (in_rows[:, None] & in_columns[None, :])


def random_partitions(partition: Partition, count: int, *, seed: int = 0) -> list[Partition]:
    """Random partitions with clusters of the same sizes, as control; the first ones are the same for any count."""
    return [
        shuffled(partition, generator=chance.generator(seed, "random partition", number))
        for number in range(1, count + 1)
    ]


def pruned_share(graph: ModelGraph, layer: str, partition: Partition, cluster: int, n_parameters: int) -> float:
    """The share of the network's parameters that a search within one cluster leaves out, in 0..1.

    In the cluster are its weights in the clustered layer and the biases of its output units, what computes its input
    units in the layer before, and what reads its output units in the layer behind. The rest of the network belongs to
    every cluster.

    Args:
        layer: the clustered layer, in the chain of Linear layers and activations at the network's end.
        partition: of its units.
        n_parameters: of the whole network.

    Raises:
        ValueError: the layer is not in the chain, or the partition has other units than it.
    """
    part = longest_part(graph)
    names = [each.module for each in part.layers] if part else []
    if part is None or layer not in names:
        raise ValueError(
            f"layer={layer!r} is not in the chain of Linear layers at the network's end. "
            f"Layers of the chain: {', '.join(names) or '(none)'}."
        )
    layers, here = part.layers, names.index(layer)
    _refuse_other_units(layer, layers[here].weight, partition)
    has_bias = [_linear(graph, name).bias is not None for name in names]
    n_out, n_in = (int((units == cluster).sum()) for units in (partition.outputs, partition.inputs))
    rows, columns = layers[here].weight.shape
    outside = rows * columns - n_out * n_in + has_bias[here] * (rows - n_out)
    if here > 0:
        outside += (columns - n_in) * (layers[here - 1].weight.shape[1] + has_bias[here - 1])
    if here < len(layers) - 1:
        outside += (rows - n_out) * layers[here + 1].weight.shape[0]
    return outside / n_parameters


def _linear(graph: ModelGraph, layer: str) -> nn.Linear:
    module = graph.submodule(layer)
    if not isinstance(module, nn.Linear):
        linears = [name for name in graph.sites if isinstance(graph.submodule(name), nn.Linear)]
        raise ValueError(f"layer={layer!r} is no Linear layer. Linear layers: {', '.join(linears) or '(none)'}.")
    return module


def _refuse_other_units(layer: str, weight: Tensor, partition: Partition) -> None:
    given = (len(partition.outputs), len(partition.inputs))
    if given != tuple(weight.shape):
        raise ValueError(
            f"the partition has {given[0]} outputs and {given[1]} inputs, "
            f"but the weights of {layer!r} are {weight.shape[0]}×{weight.shape[1]}."
        )


# --- what excites each unit --------------------------------------------------------------------------------------


@torch.no_grad()
def top_examples(graph: ModelGraph, x: Tensor, sites: Sequence[str], k: int) -> dict[str, Tensor]:
    """Site → the examples with each unit's largest values, `(k, U)` int64, the largest first; in one pass.

    Values are compared as float32. Equal values: the earlier example. Fewer than k examples: all of them.

    Args:
        x: `(N, *input)`, the examples.

    Raises:
        ValueError: k is less than 1.
    """
    if k < 1:
        raise ValueError(f"k={k}: take at least one example of each unit.")
    kept: dict[str, Tensor] = {}
    start = 0
    for part in batches(x):
        for site, read in (read_sites(graph, part, sites) if sites else {}).items():
            keys = _sortable(read.reshape(len(part), -1), start)
            if site in kept:
                keys = torch.cat([kept[site], keys])
            kept[site] = keys.topk(min(k, len(keys)), dim=0).values
        start += len(part)
    return {site: _LAST - (keys & _LAST) for site, keys in kept.items()}


def class_counts(classes: Tensor, n_classes: int) -> Tensor:
    """How many of each unit's top examples are of each class, `(U, K)` int64.

    Args:
        classes: `(k, U)`, the classes of the top examples: `labels[top]`.
    """
    return functional.one_hot(classes, n_classes).sum(0)


def interpretability(classes: Tensor, n_classes: int) -> float:
    """The interpretability of a layer: 1 − the mean over its units of (distinct classes among the top k)/K.

    It is 1 − 1/K where each unit's top examples are of one class, and 0 where they are of all classes.

    Args:
        classes: `(k, U)`, the classes of the top examples: `labels[top]`.

    Raises:
        ValueError: there are no units.
    """
    distinct = (class_counts(classes, n_classes) > 0).sum(1)
    if not len(distinct):
        raise ValueError("the interpretability of a layer without units is not defined.")
    return 1 - int(distinct.sum()) / len(distinct) / n_classes


_LAST = 2**32 - 1
"""The largest number that an example can have."""


def _sortable(values: Tensor, start: int) -> Tensor:
    """int64 numbers that order these values `(B, U)` of the examples from `start` on, as float32.

    A larger value has a larger number, and of equal values the earlier example has. So the largest numbers are found
    without a stable sort, which would take longer than the network's pass. The low 32 bits say which example it is.
    """
    bits = (values.float() + 0.0).view(torch.int32)  # −0 becomes 0
    bits ^= bits >> 31 & 0x7FFFFFFF  # as integers, negative floats are in the opposite order
    examples = torch.arange(start, start + len(values), device=values.device)
    return torch.add((_LAST - examples)[:, None], bits, alpha=2**32)

"""Is a network modular, so that its clusters can be switched off? Measures of Golechha et al. for any network.

The clusters of a weight matrix are switched off and on. Random partitions with clusters of the same sizes are the
control. The classes of a unit's top examples show how many classes activate it. `mi_runner.training.clusterability`
defines a partition and its clusterability. Letters: N examples, B examples of a batch, K classes, O outputs and
I inputs of the clustered layer, U units of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner import chance
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import longest_part
from mi_runner.graph.interventions import read_sites, run_variants
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.models.batches import batches, outputs_of, refuse_not_finite
from mi_runner.training.clusterability import Partition, refuse_other_units, shuffled

State = Literal["off", "on"]
"""off: the cluster's rows and columns are zero. on: those of all other clusters are."""

STATES: tuple[State, ...] = get_args(State)

MOST_VALUES = 4_000_000
"""Replacement values of the variants that run at once: 16 MB, which fit in the processor's cache."""


# --- clusters off and on -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Switched:
    """A network's predictions with one cluster off or on.

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
            label: float(self.correct[self.labels == label].double().mean()) for label in self.labels.unique().tolist()
        }


@torch.no_grad()
def switch_clusters(
    graph: ModelGraph,
    layer: str,
    partition: Partition,
    x: Tensor,
    labels: Tensor,
    *,
    kind: Outputs = Outputs.logits,
    controls: Sequence[Partition] = (),
    progress: Callable[[int], None] = lambda variants: None,
) -> list[Switched]:
    """Returns the full network, then each cluster off, each cluster on; then the same for each control's clusters.

    The network's weights do not change. Only the layers after the clustered one are computed for each cluster.

    Args:
        graph: of a network whose outputs `(N, K)` answer classes.
        layer: the Linear layer whose weights are clustered.
        x: `(N, *input)`.
        labels: `(N,)` classes.
        kind: what the outputs are.
        controls: partitions to compare with, e.g. of `random_partitions`.
        progress: called with the number of clusters switched since the last call.

    Raises:
        ArgumentError: the layer is no Linear layer, a partition has other units than it, or there are no examples.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.clusters import contiguous, switch_clusters
        >>> from mi_runner.graph import ModelGraph
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.copy_(torch.eye(2)) if parameter.ndim == 2 else parameter.zero_()
        >>> x, labels = torch.tensor([[3.0, 1.0], [1.0, 4.0]]), torch.tensor([0, 1])
        >>> graph = ModelGraph.trace(net, x)
        >>> rows = switch_clusters(graph, "0", contiguous(2, 2, n_clusters=2), x, labels)
        >>> [(row.state, row.cluster, row.class_accuracy) for row in rows[:3]]
        [('full', None, {0: 1.0, 1: 1.0}), ('off', 0, {0: 0.0, 1: 1.0}), ('off', 1, {0: 1.0, 1: 0.0})]
    """
    linear = _linear(graph, layer)
    for each in (partition, *controls):
        refuse_other_units(layer, linear.weight, each)
    if not len(x) or len(x) != len(labels):
        problem = f"{len(x)} examples and {len(labels)} labels:"
        raise ArgumentError(("x", "labels"), None, problem, "give one label for each, and at least one.")
    variants = [
        (control, state, cluster)
        for control, each in enumerate((partition, *controls))
        for state in STATES
        for cluster in range(each.n_clusters)
    ]
    of_control = [each.to(linear.weight.device) for each in (partition, *controls)]
    bias = torch.zeros_like(linear.weight[:, 0]) if linear.bias is None else linear.bias
    (source,) = graph.sources(layer)
    full = kind.answers(outputs_of(graph, x)) == labels
    switched = [Switched(0, "full", None, full, labels)]
    at_once = max(1, MOST_VALUES // (len(bias) * min(1000, len(x))))
    for start in range(0, len(variants), at_once):
        now = variants[start : start + at_once]
        weights = [switched_weight(linear.weight, of_control[c], cluster, state) for c, state, cluster in now]
        of_batches = []
        for inputs, expected in zip(batches(x), batches(labels), strict=True):
            entering = read_sites(graph, inputs, [source])[source]
            values = torch.stack([functional.linear(entering, weight, bias) for weight in weights])
            outputs = run_variants(graph, inputs, layer, values)
            refuse_not_finite(outputs.transpose(0, 1), f"the outputs with clusters of {layer} switched off")
            of_batches.append(kind.answers(outputs) == expected)
        for (control, state, cluster), correct in zip(now, torch.cat(of_batches, dim=1), strict=True):
            switched.append(Switched(control, state, cluster, correct, labels))
        progress(len(now))
    return switched


def switched_weight(weight: Tensor, partition: Partition, cluster: int, state: State) -> Tensor:
    """Returns the weights `(O, I)` with the cluster's rows and columns zero (off), or those of all others (on).

    Raises:
        ArgumentError: there is no such cluster or state.
    """
    if state not in STATES:
        raise ArgumentError("state", repr(state), f"a cluster is {' or '.join(map(repr, STATES))}.")
    if not 0 <= cluster < partition.n_clusters:
        raise ArgumentError("cluster", cluster, f"the clusters are 0 to {partition.n_clusters - 1}.")
    in_rows, in_columns = partition.outputs == cluster, partition.inputs == cluster
    if state == "off":
        in_rows, in_columns = ~in_rows, ~in_columns
    return weight * (in_rows[:, None] & in_columns[None, :])


def random_partitions(partition: Partition, count: int, *, seed: int = 0) -> list[Partition]:
    """Returns random partitions with clusters of the same sizes, as control.

    The first ones do not depend on `count`.

    Example:
        >>> from mi_runner.clusters import contiguous, random_partitions
        >>> partitions = random_partitions(contiguous(4, 4, n_clusters=2), 3, seed=0)
        >>> [partition.outputs.bincount().tolist() for partition in partitions]
        [[2, 2], [2, 2], [2, 2]]
    """
    return [
        shuffled(partition, generator=chance.generator(seed, "random partition", repeat))
        for repeat in range(1, count + 1)
    ]


def pruned_share(graph: ModelGraph, layer: str, partition: Partition, cluster: int, n_parameters: int) -> float:
    """Returns the share of the network's parameters that a search within one cluster leaves out, in 0..1.

    A cluster has its weights in the clustered layer, the biases of its output units, the parameters of its input units
    in the layer before, and the weights that read its output units in the layer after. The rest of the network belongs
    to every cluster.

    Args:
        layer: the clustered layer, in the chain of Linear layers and activations at the network's end.
        partition: of its units.
        n_parameters: of the whole network.

    Raises:
        ArgumentError: the layer is not in the chain, or the partition has other units than it.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.clusters import contiguous, pruned_share
        >>> from mi_runner.graph import ModelGraph
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.copy_(torch.eye(2)) if parameter.ndim == 2 else parameter.zero_()
        >>> x, labels = torch.tensor([[3.0, 1.0], [1.0, 4.0]]), torch.tensor([0, 1])
        >>> graph = ModelGraph.trace(net, x)
        >>> pruned_share(graph, "0", contiguous(2, 2, n_clusters=2), cluster=0, n_parameters=12)
        0.5
    """
    chain = longest_part(graph)
    names = [each.module for each in chain.layers] if chain else []
    if chain is None or layer not in names:
        problem = f"{{layer}}={layer!r} is not in the chain of Linear layers at the network's end."
        raise ArgumentError("layer", layer, problem, f"Layers of the chain: {', '.join(names) or '(none)'}.")
    layers, here = chain.layers, names.index(layer)
    refuse_other_units(layer, layers[here].weight, partition)
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
        problem = f"{{layer}}={layer!r} is no Linear layer."
        raise ArgumentError("layer", layer, problem, f"Linear layers: {', '.join(linears) or '(none)'}.")
    return module


# --- top examples of each unit -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Top:
    """The examples with the largest activations of each unit of a site, the largest first.

    Attributes:
        examples: `(k, U)` int64, the index of each example.
        activations: `(k, U)` float32, the unit's value on it.
    """

    examples: Tensor
    activations: Tensor


@torch.no_grad()
def top_activations(graph: ModelGraph, x: Tensor, sites: Sequence[str], k: int) -> dict[str, Top]:
    """Returns site → the examples with each unit's largest activations, and these activations; in one pass.

    Activations are compared as float32. Of equal ones the earlier example comes first. With fewer than k examples all
    are returned.

    Args:
        x: `(N, *input)`, the examples.

    Raises:
        ArgumentError: k is less than 1.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.clusters import top_activations
        >>> from mi_runner.graph import ModelGraph
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.copy_(torch.eye(2)) if parameter.ndim == 2 else parameter.zero_()
        >>> x, labels = torch.tensor([[3.0, 1.0], [1.0, 4.0]]), torch.tensor([0, 1])
        >>> graph = ModelGraph.trace(net, x)
        >>> top_activations(graph, x, ["1"], k=1)["1"]
        Top(examples=tensor([[0, 1]]), activations=tensor([[3., 4.]]))
    """
    if k < 1:
        raise ArgumentError("k", k, "take at least one example of each unit.")
    kept: dict[str, Tensor] = {}
    start = 0
    for batch in batches(x):
        for site, read in (read_sites(graph, batch, sites) if sites else {}).items():
            keys = _sortable(read.reshape(len(batch), -1), start)
            if site in kept:
                keys = torch.cat([kept[site], keys])
            kept[site] = keys.topk(min(k, len(keys)), dim=0).values
        start += len(batch)
    return {site: Top(_LAST - (keys & _LAST), _activations(keys)) for site, keys in kept.items()}


def top_examples(graph: ModelGraph, x: Tensor, sites: Sequence[str], k: int) -> dict[str, Tensor]:
    """Returns site → the examples of `top_activations`, `(k, U)` int64, without the activations.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.clusters import top_examples
        >>> from mi_runner.graph import ModelGraph
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.copy_(torch.eye(2)) if parameter.ndim == 2 else parameter.zero_()
        >>> x, labels = torch.tensor([[3.0, 1.0], [1.0, 4.0]]), torch.tensor([0, 1])
        >>> graph = ModelGraph.trace(net, x)
        >>> top_examples(graph, x, ["1"], k=2)["1"]
        tensor([[0, 1],
                [1, 0]])
    """
    return {site: top.examples for site, top in top_activations(graph, x, sites, k).items()}


def class_counts(classes: Tensor, n_classes: int) -> Tensor:
    """Returns the number of each unit's top examples in each class, `(U, K)` int64.

    Args:
        classes: `(k, U)`, the classes of the top examples: `labels[top]`.
    """
    return functional.one_hot(classes, n_classes).sum(0)


def interpretability(classes: Tensor, n_classes: int) -> float:
    """Returns a layer's interpretability: 1 − the mean over its units of (distinct classes among the top k)/K.

    It is 1 − 1/K where each unit's top examples are of one class, and 0 where they are of all classes.

    Args:
        classes: `(k, U)`, the classes of the top examples: `labels[top]`.

    Raises:
        ArgumentError: there are no units.

    Example:
        >>> import torch
        >>> from mi_runner.clusters import interpretability
        >>> interpretability(torch.tensor([[0, 1], [0, 2]]), n_classes=4)
        0.625
    """
    distinct = (class_counts(classes, n_classes) > 0).sum(1)
    if not len(distinct):
        raise ArgumentError("classes", None, "the interpretability of a layer without units is not defined.")
    return 1 - int(distinct.sum()) / len(distinct) / n_classes


_LAST = 2**32 - 1
"""The largest index that an example can have."""


def _sortable(values: Tensor, start: int) -> Tensor:
    """Returns int64 keys in the order of these values `(B, U)` as float32; `start` is the index of the first example.

    A larger value has a larger key. Of equal values the earlier example has the larger key, so no stable sort is
    needed, which would take longer than the network's pass. The high 32 bits hold the value, the low 32 the example.
    """
    bits = _ordered((values.float() + 0.0).view(torch.int32))  # −0 becomes 0
    examples = torch.arange(start, start + len(values), device=values.device)
    return torch.add((_LAST - examples)[:, None], bits, alpha=2**32)


def _activations(keys: Tensor) -> Tensor:
    """Returns the float32 values that these keys hold."""
    return _ordered((keys >> 32).to(torch.int32)).view(torch.float32)


def _ordered(bits: Tensor) -> Tensor:
    """Returns the bits of floats as integers in the floats' order, or back: negative floats have the reverse order."""
    return bits ^ (bits >> 31 & 0x7FFFFFFF)

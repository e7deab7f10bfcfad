"""Does training for clusters make a network modular, so that parts of it can be switched off? (Golechha et al.)

Two networks begin with the same weights: the clustered one is trained with the clusterability of one layer in its loss,
its twin without. Both are measured alike: each cluster switched off and on, beside random partitions of the same sizes;
the classes that excite each unit; the edges that each class needs. Letters: N examples, O outputs and I inputs of the
clustered layer, U units of a hidden layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.batches import batches
from mi_runner.config.experiment_schemas import ClustersConfig
from mi_runner.errors import ConfigError, unknown
from mi_runner.experiments import Result, Row, Setting, clusters_figures
from mi_runner.graph.chain import Part, longest_part
from mi_runner.graph.interventions import read_sites
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.clusters import (
    STATES,
    class_counts,
    interpretability,
    pruned_share,
    random_partitions,
    switch_clusters,
    top_examples,
)
from mi_runner.methods.pruning import Criterion, keep_edges, prune_classes
from mi_runner.progress import log
from mi_runner.statistics import ALL, NONE, NOT_NEGATIVE, SHARE
from mi_runner.training.clusterability import Partition, clusterability, contiguous, linear_layer
from mi_runner.training.evaluation import Score, predictions
from mi_runner.training.options import TrainingOptions

CLUSTERED, TWIN, UNTRAINED = "clustered", "twin", "untrained"
TRAINED, RANDOM = "trained", "random"
FULL = "full"

SUMMARY = ("accuracy", "clusterability", "interpretability", "pruned_share", "kept_edges")
"""Figures of the summary: of the clustered network by this name, of the twin with `/twin` behind it."""

BY_CLASS = ("accuracy", "kept_edges")
"""Figures of the summary that each class has, too: `accuracy/7`, `accuracy/7/twin`."""

KEYS = {
    "metrics": ("network", "partition", "state", "cluster", "class"),
    "networks": ("network",),
    "clusters": ("network", "cluster"),
    "layers": ("network", "layer"),
    "units": ("network", "layer", "unit"),
    "pruning": ("network", "class", "layer"),
    "history": ("network", "epoch"),
}

MEASURES = {
    **dict.fromkeys(("accuracy", "clusterability", "interpretability", "pruned_share"), SHARE),
    **dict.fromkeys(("kept_edges", "complexity_reduction"), NOT_NEGATIVE),
}

SHOWN_UNITS = 2
"""Units of each cluster whose top images are drawn."""


def check(setting: Setting[ClustersConfig]) -> None:
    """The data set has classes, the network ends in Linear layers, and the layers that are named are among them.

    Raises:
        ConfigError: they aren't, or the training doesn't fit the experiment; the text says what to type.
    """
    config, training, dataset = setting.config, setting.training, setting.dataset
    if not dataset.has_classes:
        raise ConfigError("experiment=clusters compares classes: use dataset.target=class.")
    name, layer = linear_layer(setting.model, config.layer, option="experiment.layer")
    contiguous(layer.out_features, layer.in_features, config.n_clusters, option="experiment.n_clusters")
    wanted = (config.strength, config.layer, config.n_clusters)
    given = (training.regularizer_strength, training.regularizer_layer, training.regularizer_clusters)
    if training.regularizer != "clusterability" or given != wanted:
        raise ConfigError(
            "experiment=clusters sets training.regularizer and its options itself: "
            "type experiment.strength, experiment.layer, experiment.n_clusters instead."
        )
    part = _tail(setting.graph())
    names = [layer.module for layer in part.layers]
    for path in [name, *(config.pruning_layers or [])]:
        if path not in names:
            raise ConfigError(
                f"'{path}' is not in the chain of Linear layers at the network's end: "
                f"{unknown('layer of it', path, names)}"
            )
    if ALL in names:
        raise ConfigError(f"the network has a layer named '{ALL}', which tables call all layers together: rename it.")


def metric_names(setting: Setting[ClustersConfig]) -> list[str]:
    """The summary's names; those of a class are not a number where it has no test examples, or wasn't pruned."""
    names = [*SUMMARY, *(f"{figure}/{name}" for figure in BY_CLASS for name in setting.dataset.class_names or ())]
    return [*names, *(f"{name}/{TWIN}" for name in names), "complexity_reduction"]


def networks(setting: Setting[ClustersConfig]) -> dict[str, TrainingOptions]:
    """The twin, and the network before any training."""
    return {
        TWIN: replace(setting.training, regularizer_strength=0.0),
        UNTRAINED: replace(setting.training, epochs=0),
    }


def cost(setting: Setting[ClustersConfig]) -> dict[str, int]:
    """Too little to say."""
    return {}


def run(setting: Setting[ClustersConfig]) -> Result:
    """Both networks measured alike, side by side."""
    config, dataset = setting.config, setting.dataset
    assert dataset.class_names is not None, "check found classes"
    twin = setting.networks[TWIN]
    both = [
        _network(setting, CLUSTERED, setting.model, setting.history),
        _network(setting, TWIN, twin.model, twin.history),
    ]
    sizes = torch.bincount(both[0].partition.outputs).tolist()
    if len(set(sizes)) > 1:
        log.info(f"{both[0].layer}'s {sum(sizes)} units don't divide evenly: clusters of {sizes} units")

    controls = random_partitions(both[0].partition, config.controls, seed=setting.seed)
    metrics_rows: list[Row] = []
    cluster_rows: list[Row] = []
    unit_rows: list[Row] = []
    layer_rows: list[Row] = []
    top: dict[str, dict[str, Tensor]] = {}
    for network in both:
        rows = list(_switched(setting, network, controls))
        setting.progress.rows("metrics", rows)
        metrics_rows += rows
        cluster_rows += _cluster_rows(network, rows)
        top[network.name] = top_examples(network.graph, dataset.x_test, network.hidden, config.top_k)
        unit_rows += _unit_rows(setting, network, top[network.name])
        layer_rows += _layer_rows(setting, network, top[network.name])
    pruning_rows = _pruned(setting, both) if config.pruning_layers != [] else []

    overview: list[Row] = []
    metrics: dict[str, float] = {}
    for network in both:
        row = _overview(network, metrics_rows, cluster_rows, layer_rows, pruning_rows)
        overview.append(row)
        suffix = "" if network.name == CLUSTERED else f"/{TWIN}"
        of_network = {name: row[name] for name in SUMMARY}
        of_network |= _by_class(network, dataset.class_names, metrics_rows, pruning_rows)
        metrics |= {f"{name}{suffix}": value for name, value in of_network.items()}
    kept = metrics["kept_edges"]
    metrics["complexity_reduction"] = metrics[f"kept_edges/{TWIN}"] / kept if kept else float("nan")
    history = [row for network in both for row in network.history]
    drawn = clusters_figures.of_networks(
        weights={
            "before": linear_layer(setting.networks[UNTRAINED].model, config.layer)[1].weight,
            **{network.name: network.weight for network in both},
        },
        partition=both[0].partition,
        rows=metrics_rows,
        units=unit_rows,
        history=history,
        class_names=dataset.class_names,
    )
    drawn |= _top_images(setting, both[0], top[CLUSTERED])
    return Result(
        tables={
            "metrics": metrics_rows,
            "networks": overview,
            "clusters": cluster_rows,
            "layers": layer_rows,
            "units": unit_rows,
            "pruning": pruning_rows,
            "history": history,
        },
        keys=KEYS,
        metrics=metrics,
        measures=MEASURES,
        repeats=("repeat",),
        figures=drawn,
        shown=("networks", "clusters", "layers"),
        model=setting.model,
    )


# --- the two networks --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """One of the two networks.

    Attributes:
        name: clustered or twin.
        graph: of its model.
        part: the chain of Linear layers at its end.
        number: the clustered layer's place in the part.
        partition: of the clustered layer's units.
        hidden: the sites that enter the part's layers, without the network's input.
        n_parameters: of the whole network.
        history: rows `network, epoch, loss, cross_entropy, clusterability, test_loss, test_accuracy`.
    """

    name: str
    graph: ModelGraph
    part: Part
    number: int
    partition: Partition
    hidden: tuple[str, ...]
    n_parameters: int
    history: Sequence[Row]

    @property
    def layer(self) -> str:
        """The clustered layer's path."""
        return self.part.layers[self.number].module

    @property
    def weight(self) -> Tensor:
        """The clustered layer's weights `(O, I)`."""
        return self.part.layers[self.number].weight

    @property
    def inputs(self) -> str:
        """The site that enters the clustered layer."""
        (site,) = self.graph.sources(self.layer)
        return site

    @property
    def outputs(self) -> str | None:
        """The site that the clustered layer's units are read at by the next layer; None for the last layer."""
        if self.number == len(self.part.layers) - 1:
            return None
        (site,) = self.graph.sources(self.part.layers[self.number + 1].module)
        return site


def _network(setting: Setting[ClustersConfig], name: str, model: nn.Module, history: Sequence[Row]) -> Network:
    config = setting.config
    graph = setting.graph(model)
    part = _tail(graph)
    path, layer = linear_layer(model, config.layer)
    partition = contiguous(layer.out_features, layer.in_features, config.n_clusters).to(layer.weight.device)
    sites = [site for layer in part.layers for site in graph.sources(layer.module) if site not in graph.inputs]
    rows = [
        {
            "network": name,
            "epoch": row["epoch"],
            "loss": row["loss"] + row["penalty"],
            "cross_entropy": row["loss"],
            **{column: row[column] for column in ("clusterability", "test_loss", "test_accuracy")},
        }
        for row in history
    ]
    return Network(
        name=name,
        graph=graph,
        part=part,
        number=[layer.module for layer in part.layers].index(path),
        partition=partition,
        hidden=tuple(sites),
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        history=rows,
    )


def _tail(graph: ModelGraph) -> Part:
    """The longest chain of Linear layers and elementwise activations at the network's end."""
    found = longest_part(graph)
    if found is None:
        raise ConfigError("experiment=clusters is about networks that end in Linear layers.")
    return found


def _overview(
    network: Network,
    metrics: Sequence[Row],
    clusters: Sequence[Row],
    layers: Sequence[Row],
    pruned: Sequence[Row],
) -> dict[str, Any]:
    """A network's row of the table that is printed; `interpretability` is the mean over its hidden layers."""
    mine = [row for row in metrics if row["network"] == network.name]
    full = next(row for row in mine if row["state"] == FULL and row["class"] == ALL)
    kept = [row["kept"] for row in pruned if row["network"] == network.name and row["layer"] == ALL]
    return {
        "network": network.name,
        **{column: full[column] for column in ("accuracy", "accuracy_low", "accuracy_high")},
        "clusterability": float(clusterability(network.weight, network.partition.inside)),
        "interpretability": _mean([row["interpretability"] for row in layers if row["network"] == network.name]),
        "pruned_share": _mean([row["pruned_share"] for row in clusters if row["network"] == network.name]),
        "kept_edges": _mean(kept),
    }


def _by_class(
    network: Network, classes: Sequence[str], metrics: Sequence[Row], pruned: Sequence[Row]
) -> dict[str, float]:
    """The figures of the summary for each class: the full network's accuracy on it, the edges that it needs."""
    full = [row for row in metrics if (row["network"], row["state"]) == (network.name, "full")]
    accuracy = {row["class"]: row["accuracy"] for row in full}
    kept = {row["class"]: row["kept"] for row in pruned if row["network"] == network.name and row["layer"] == ALL}
    return {
        f"{figure}/{name}": found.get(name, float("nan"))
        for figure, found in zip(BY_CLASS, (accuracy, kept), strict=True)
        for name in classes
    }


# --- clusters off and on -----------------------------------------------------------------------------------------


def _switched(
    setting: Setting[ClustersConfig], network: Network, controls: Sequence[Partition]
) -> Iterator[dict[str, Any]]:
    """Rows of accuracy, as a whole and by class: the full network, each cluster off and on, the controls."""
    x, labels = setting.dataset.x_test, setting.dataset.y_test
    n_variants = (1 + len(controls)) * len(STATES) * network.partition.n_clusters
    with setting.progress.bar(f"clusters of the {network.name} network", n_variants) as advance:
        found = switch_clusters(
            network.graph,
            network.layer,
            network.partition,
            x,
            labels,
            controls=controls,
            progress=lambda variants: advance(variants, ""),
        )
    for switched in found:
        partition = RANDOM if switched.control else TRAINED
        cluster = NONE if switched.cluster is None else switched.cluster
        yield from _accuracies(setting, network, switched.correct, partition, switched.control, switched.state, cluster)


def _accuracies(
    setting: Setting[ClustersConfig],
    network: Network,
    right: Tensor,
    partition: str,
    repeat: int,
    state: str,
    cluster: int | str,
) -> Iterator[dict[str, Any]]:
    dataset = setting.dataset
    for number, name in [(None, ALL), *enumerate(dataset.class_names or ())]:
        of_class = right if number is None else right[dataset.y_test == number]
        if len(of_class):
            yield {
                "network": network.name,
                "partition": partition,
                "repeat": repeat,
                "state": state,
                "cluster": cluster,
                "class": name,
                "n": len(of_class),
                **_share(of_class),
            }


def _cluster_rows(network: Network, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """For each cluster: its size, the share of parameters outside it, and accuracy with it off and on.

    `off_random` and `on_random` are means over the clusters of the random partitions.
    """
    whole = [row for row in rows if row["class"] == ALL]
    control = {
        state: _mean([row["accuracy"] for row in whole if row["partition"] == RANDOM and row["state"] == state])
        for state in STATES
    }
    for cluster in range(network.partition.n_clusters):
        columns: dict[str, Any] = {
            "network": network.name,
            "cluster": cluster,
            "n_outputs": int((network.partition.outputs == cluster).sum()),
            "n_inputs": int((network.partition.inputs == cluster).sum()),
            "pruned_share": pruned_share(
                network.graph, network.layer, network.partition, cluster, network.n_parameters
            ),
        }
        for state in STATES:
            (found,) = [
                row for row in whole
                if (row["partition"], row["state"], row["cluster"]) == (TRAINED, state, cluster)
            ]  # fmt: skip
            columns |= {
                state: found["accuracy"],
                f"{state}_low": found["accuracy_low"],
                f"{state}_high": found["accuracy_high"],
                f"{state}_random": control[state],
            }
        yield columns


# --- what excites each unit --------------------------------------------------------------------------------------


def _unit_rows(
    setting: Setting[ClustersConfig], network: Network, top: Mapping[str, Tensor]
) -> Iterator[dict[str, Any]]:
    names = setting.dataset.class_names or ()
    for site, index in top.items():
        labels = setting.dataset.y_test[index]  # (k, U)
        counts = class_counts(labels, len(names)).tolist()  # [U][K]
        clusters = _clusters_at(network, site)
        for unit, of_classes in enumerate(counts):
            present = sorted((c for c, n in enumerate(of_classes) if n), key=lambda c: -of_classes[c])
            yield {
                "network": network.name,
                "layer": site,
                "unit": unit,
                "cluster": None if clusters is None else clusters[unit],
                "distinct": len(present),
                "top_class": names[present[0]],
                "top_share": of_classes[present[0]] / len(labels),
                "classes": " ".join(f"{names[c]}:{of_classes[c]}" for c in present),
            }


def _clusters_at(network: Network, site: str) -> list[int] | None:
    """The cluster of each unit of a hidden layer that the clustered matrix reads or fills; None for others."""
    if site == network.inputs:
        return network.partition.inputs.tolist()
    return network.partition.outputs.tolist() if site == network.outputs else None


def _layer_rows(
    setting: Setting[ClustersConfig], network: Network, top: Mapping[str, Tensor]
) -> Iterator[dict[str, Any]]:
    """For each hidden layer how many classes its units stand for, and its interpretability."""
    n_classes = len(setting.dataset.class_names or ())
    for site in network.hidden:
        labels = setting.dataset.y_test[top[site]]
        distinct = (class_counts(labels, n_classes) > 0).sum(1).tolist()
        yield {
            "network": network.name,
            "layer": site,
            "n_units": len(distinct),
            "mean_distinct": _mean(distinct),
            "interpretability": interpretability(labels, n_classes),
        }


def _top_images(setting: Setting[ClustersConfig], network: Network, top: Mapping[str, Tensor]) -> dict[str, Any]:
    """The top images of the units of each cluster whose top images are of the fewest classes."""
    shape, site = setting.dataset.image_shape, network.outputs or network.inputs
    if shape is None or site not in top:
        return {}
    index = top[site]
    labels = setting.dataset.y_test[index]
    distinct = torch.tensor([len(labels[:, unit].unique()) for unit in range(labels.shape[1])])
    clusters = torch.tensor(_clusters_at(network, site))
    chosen: list[int] = []
    for cluster in range(network.partition.n_clusters):
        units = (clusters == cluster).nonzero().squeeze(1)
        chosen += units[distinct[units].argsort(stable=True)].tolist()[:SHOWN_UNITS]
    images = [
        (f"{clusters[unit]}·{unit}", [setting.dataset.x_test[i].reshape(shape) for i in index[:, unit].tolist()])
        for unit in chosen
    ]
    return clusters_figures.top_images(
        images, f"largest activations of units of {site} (cluster·unit), clustered network"
    )


# --- the edges that each class needs -----------------------------------------------------------------------------


def _pruned(setting: Setting[ClustersConfig], networks: Sequence[Network]) -> list[dict[str, Any]]:
    """Kept edges by network, class and layer; in the row of all layers also how well the rest answers the test set."""
    config, dataset = setting.config, setting.dataset
    draw = chance.generator(setting.seed, "pruning examples")
    index = torch.randperm(len(dataset.x_train), generator=draw)[: config.pruning_examples].to(dataset.x_train.device)
    x, labels = dataset.x_train[index], dataset.y_train[index]
    rows: list[dict[str, Any]] = []
    for network in networks:
        asked = config.pruning_layers
        chosen = [
            number
            for number, layer in enumerate(network.part.layers)
            if (number >= network.number if asked is None else layer.module in asked)
        ]
        kept = _kept_edges(setting, network, x, labels, chosen)
        found = list(_pruning_rows(setting, network, kept, chosen))
        setting.progress.rows("pruning", found)
        rows += found
    return rows


def _kept_edges(
    setting: Setting[ClustersConfig], network: Network, x: Tensor, labels: Tensor, chosen: Sequence[int]
) -> dict[int, list[Tensor]]:
    """Class → the kept edges of each layer, for the classes with an example among the given ones."""
    config, part, names = setting.config, network.part, setting.dataset.class_names or ()
    present = set(labels.tolist())
    for number, name in enumerate(names):
        if number not in present:
            log.info(f"class {name} is not pruned: none of the {len(labels)} examples is of it")
    with torch.no_grad():
        entering = read_sites(network.graph, x, [part.site])[part.site]
    n_edges = sum(part.layers[number].weight.numel() for number in chosen)
    with setting.progress.bar(f"pruning the {network.name} network", n_edges * len(names)) as advance:
        return prune_classes(
            part,
            entering,
            labels,
            criterion=cast(Criterion, config.pruning_criterion.name),
            threshold=config.pruning_threshold,
            layers=chosen,
            progress=lambda edges, number: advance(edges, f"class {names[number]}"),
        )


@torch.no_grad()
def _pruning_rows(
    setting: Setting[ClustersConfig], network: Network, kept_edges: Mapping[int, list[Tensor]], chosen: Sequence[int]
) -> Iterator[dict[str, Any]]:
    part, dataset = network.part, setting.dataset
    y = dataset.y_test
    x = torch.cat([read_sites(network.graph, some, [part.site])[part.site] for some in batches(dataset.x_test)])
    for number, kept in kept_edges.items():
        of_class = y == number
        if not bool(of_class.any()):
            continue
        answers = predictions(keep_edges(part, kept)(x), classes=True)
        identity = {"network": network.name, "class": (dataset.class_names or ())[number]}
        yield {
            **identity,
            "layer": ALL,
            "n_edges": sum(kept[layer].numel() for layer in chosen),
            "kept": sum(int(kept[layer].sum()) for layer in chosen),
            **_share((answers == y)[of_class], "class_accuracy"),
            **_share(answers == y),
            "rejected_others": float((answers != number)[~of_class].double().mean()),
        }
        for layer in chosen:
            yield {
                **identity,
                "layer": part.layers[layer].module,
                "n_edges": kept[layer].numel(),
                "kept": int(kept[layer].sum()),
            }


# --- shared ------------------------------------------------------------------------------------------------------


def _share(right: Tensor, name: str = "accuracy") -> dict[str, float]:
    """The share of True in `(N,)` with its interval."""
    columns = Score(len(right), int(right.sum()), 0.0).columns()
    return {f"{name}{column.removeprefix('accuracy')}": columns[column] for column in columns if column != "loss"}


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else float("nan")

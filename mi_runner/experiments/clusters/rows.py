"""The rows of the tables of `experiment=clusters`, which `tables` declares.

Letters: N test images, K classes, U units of a layer, k top images of a unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.config.experiments.clusters import ClustersConfig
from mi_runner.experiments import Setting
from mi_runner.experiments.clusters.network import Network
from mi_runner.experiments.clusters.tables import OF_NETWORK
from mi_runner.graph.chain import Part
from mi_runner.graph.interventions import Runs
from mi_runner.methods.clusters import (
    STATES,
    Top,
    class_counts,
    interpretability,
    pruned_share,
    switch_clusters,
)
from mi_runner.methods.pruning import Criterion, criterion_value, keep_edges, prune_classes, wanted
from mi_runner.progress import log
from mi_runner.tables.declaration import Row
from mi_runner.tables.names import ALL, NONE
from mi_runner.training.clusterability import Partition, clusterability
from mi_runner.training.evaluation import Score, loss_function, score

TRAINED, RANDOM = "trained", "random"
"""The partition that the network is trained for, and the random ones."""

FULL = "full"


# --- clusters off and on -----------------------------------------------------------------------------------------


def switched(
    setting: Setting[ClustersConfig], network: Network, controls: Sequence[Partition]
) -> Iterator[dict[str, Any]]:
    """Yields rows of accuracy, of all classes and per class: full network, each cluster off and on, the controls."""
    n_variants = (1 + len(controls)) * len(STATES) * network.partition.n_clusters
    with setting.progress.bar(f"clusters of the {network.name} network", n_variants) as advance:
        variants = switch_clusters(
            network.graph,
            network.layer,
            network.partition,
            setting.dataset.x_test,
            setting.dataset.y_test,
            kind=setting.dataset.outputs,
            controls=controls,
            progress=lambda variants: advance(variants, ""),
        )
    for variant in variants:
        name = {
            "network": network.name,
            "partition": RANDOM if variant.control else TRAINED,
            "repeat": variant.control,
            "state": variant.state,
            "cluster": NONE if variant.cluster is None else variant.cluster,
        }
        yield from _accuracies(setting, name, variant.correct)


def _accuracies(setting: Setting[ClustersConfig], name: Row, correct: Tensor) -> Iterator[dict[str, Any]]:
    dataset = setting.dataset
    yield {**name, "class": ALL, "n": len(correct), **_share(correct)}
    for class_index, class_name in enumerate(dataset.class_names or ()):
        of_class = correct[dataset.y_test == class_index]
        if len(of_class):
            yield {**name, "class": class_name, "n": len(of_class), **_share(of_class)}


def clusters(network: Network, metrics: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yields for each cluster its size, the share of parameters outside it, and the accuracy with it off and on.

    `off_random` and `on_random` are means over the clusters of the random partitions.

    Args:
        metrics: the network's rows of `switched`.
    """
    of_all = [row for row in metrics if row["class"] == ALL]
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
            in_state = [row for row in of_all if row["state"] == state]
            (row,) = [row for row in in_state if (row["partition"], row["cluster"]) == (TRAINED, cluster)]
            columns |= {
                state: row["accuracy"],
                f"{state}_low": row["accuracy_low"],
                f"{state}_high": row["accuracy_high"],
                f"{state}_random": mean([row["accuracy"] for row in in_state if row["partition"] == RANDOM]),
            }
        yield columns


# --- the top images of each unit ---------------------------------------------------------------------------------


def layers(setting: Setting[ClustersConfig], network: Network, top: Mapping[str, Top]) -> Iterator[dict[str, Any]]:
    """Yields for each layer the mean number of classes among a unit's top images, and the interpretability."""
    n_classes = len(setting.dataset.class_names or ())
    for site, of_site in top.items():
        labels = setting.dataset.y_test[of_site.examples]
        distinct = (class_counts(labels, n_classes) > 0).sum(1).tolist()
        yield {
            "network": network.name,
            "layer": site,
            "role": "logits" if site == network.logits else "hidden",
            "n_units": len(distinct),
            "mean_distinct": mean(distinct),
            "interpretability": interpretability(labels, n_classes),
        }


def units(setting: Setting[ClustersConfig], network: Network, top: Mapping[str, Top]) -> Iterator[dict[str, Any]]:
    """Yields for each unit the classes of its top images."""
    names = setting.dataset.class_names or ()
    for site, of_site in top.items():
        labels = setting.dataset.y_test[of_site.examples]  # (k, U)
        counts = class_counts(labels, len(names)).tolist()  # [U][K]
        clusters = network.clusters_at(site)
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


def unit_images(setting: Setting[ClustersConfig], network: Network, top: Mapping[str, Top]) -> Iterator[dict[str, Any]]:
    """Yields each unit's top images: rank from 1, index in the test set, class, activation."""
    names = setting.dataset.class_names or ()
    for site, of_site in top.items():
        labels = setting.dataset.y_test[of_site.examples].T.tolist()  # [U][k]
        examples, activations = of_site.examples.T.tolist(), of_site.activations.T.tolist()
        for unit, of_unit in enumerate(zip(examples, labels, activations, strict=True)):
            for rank, (index, label, activation) in enumerate(zip(*of_unit, strict=True), start=1):
                yield {
                    "network": network.name,
                    "layer": site,
                    "unit": unit,
                    "rank": rank,
                    "index": index,
                    "class": names[label],
                    "activation": activation,
                }


# --- the edges that each class needs -----------------------------------------------------------------------------


def pruned(setting: Setting[ClustersConfig], network: Network) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the rows of `pruning` and of `pruned_classes`.

    `pruning`: kept edges by class and layer. The row of all layers has the criterion on the pruning examples, and loss
    and accuracy on the test set, before and after. `pruned_classes`: loss and accuracy on the test examples of each
    class, before and after the network is pruned for a class.
    """
    config, dataset, chain = setting.config, setting.dataset, network.chain
    names = dataset.class_names or ()
    draw = chance.generator(setting.seed, "pruning examples")
    index = torch.randperm(len(dataset.x_train), generator=draw)[: config.pruning_examples].to(dataset.x_train.device)
    x, labels = _entering(network, dataset.x_train[index]), dataset.y_train[index]
    chosen = [
        position
        for position, layer in enumerate(chain.layers)
        if (position >= network.position if config.pruning_layers is None else layer.module in config.pruning_layers)
    ]
    kept_edges = _kept_edges(setting, network, x, labels, chosen)
    of_layers: list[dict[str, Any]] = []
    of_classes: list[dict[str, Any]] = []
    with torch.no_grad():
        x_test, y_test = _entering(network, dataset.x_test), dataset.y_test
        before = chain(x_test)
        for class_index, kept in kept_edges.items():
            of_class = y_test == class_index
            if not bool(of_class.any()):
                continue
            left = keep_edges(chain, kept)
            after = left(x_test)
            predicted = network.kind.answers(after)
            name = {"network": network.name, "class": names[class_index]}
            edges = _edge_rows(name, chain, kept, chosen)
            of_layers.append(
                {
                    **name,
                    "layer": ALL,
                    "n_edges": sum(row["n_edges"] for row in edges),
                    "kept": sum(row["kept"] for row in edges),
                    **_criterion(setting, chain, left, x, labels, class_index),
                    **_share((predicted == y_test)[of_class], "class_accuracy"),
                    **_before_and_after(setting, network, before, after, y_test),
                    "rejected_others": float((predicted != class_index)[~of_class].double().mean()),
                }
            )
            of_layers += edges
            of_classes += _class_rows(setting, network, name, before, after)
    return of_layers, of_classes


def _edge_rows(
    name: Mapping[str, Any], chain: Part, kept: Sequence[Tensor], chosen: Sequence[int]
) -> list[dict[str, Any]]:
    """Returns how many edges of each of the chosen layers are kept."""
    return [
        {
            **name,
            "layer": chain.layers[position].module,
            "n_edges": kept[position].numel(),
            "kept": int(kept[position].sum()),
        }
        for position in chosen
    ]


def _class_rows(
    setting: Setting[ClustersConfig], network: Network, name: Mapping[str, Any], before: Tensor, after: Tensor
) -> list[dict[str, Any]]:
    """Returns loss and accuracy on the test examples of each class that has some, before and after pruning.

    Args:
        before, after: the outputs on the test set `(N, K)`.
    """
    y, rows = setting.dataset.y_test, []
    for test_class, test_name in enumerate(setting.dataset.class_names or ()):
        tested = y == test_class
        if bool(tested.any()):
            of_class = _before_and_after(setting, network, before[tested], after[tested], y[tested])
            rows.append({**name, "test_class": test_name, "n": int(tested.sum()), **of_class})
    return rows


@torch.no_grad()
def _entering(network: Network, x: Tensor) -> Tensor:
    """Returns what enters the chain on the examples x, `(N, I)`."""
    return Runs(network.graph, x, memory=0).values(network.chain.site)


def _kept_edges(
    setting: Setting[ClustersConfig], network: Network, x: Tensor, labels: Tensor, chosen: Sequence[int]
) -> dict[int, list[Tensor]]:
    """Returns class → the kept edges of each layer, for the classes with an example among x, which enters the chain."""
    config, chain, names = setting.config, network.chain, setting.dataset.class_names or ()
    present = set(labels.tolist())
    for class_index, name in enumerate(names):
        if class_index not in present:
            log.info(f"class {name} is not pruned: none of the {len(labels)} examples is of it")
    n_edges = sum(chain.layers[position].weight.numel() for position in chosen)
    with setting.progress.bar(f"pruning the {network.name} network", n_edges * len(names)) as advance:
        return prune_classes(
            chain,
            x,
            labels,
            criterion=_criterion_of(setting),
            threshold=config.pruning_threshold,
            layers=chosen,
            progress=lambda edges, class_index: advance(edges, f"class {names[class_index]}"),
        )


def _criterion_of(setting: Setting[ClustersConfig]) -> Criterion:
    return cast(Criterion, setting.config.pruning_criterion.name)


def _criterion(
    setting: Setting[ClustersConfig], chain: Part, left: Part, x: Tensor, labels: Tensor, class_index: int
) -> dict[str, float]:
    """Returns the criterion of pruning on its examples, before and after."""
    before = chain(x)
    index, probability = wanted(_criterion_of(setting), before, labels, class_index)
    return {
        "criterion_before": criterion_value(before[index], probability, class_index),
        "criterion_after": criterion_value(left(x)[index], probability, class_index),
    }


def _before_and_after(
    setting: Setting[ClustersConfig], network: Network, before: Tensor, after: Tensor, y: Tensor
) -> dict[str, float]:
    """Returns loss and accuracy of the full chain's outputs `(N, K)` and the pruned chain's."""
    loss = loss_function(setting.training, setting.dataset.answered(network.kind))
    full, left = (score(outputs, y, loss, kind=network.kind) for outputs in (before, after))
    return {
        "loss_before": full.loss,
        "loss_after": left.loss,
        "accuracy_before": full.accuracy,
        **{column: number for column, number in left.columns().items() if column != "loss"},
    }


# --- the summary -------------------------------------------------------------------------------------------------


def overview(network: Network, tables: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """Returns a network's row of `networks`; `interpretability` is the mean over its hidden layers."""
    mine = {table: [row for row in rows if row["network"] == network.name] for table, rows in tables.items()}
    full = next(row for row in mine["metrics"] if row["state"] == FULL and row["class"] == ALL)
    return {
        "network": network.name,
        **{column: full[column] for column in ("accuracy", "accuracy_low", "accuracy_high")},
        "clusterability": float(clusterability(network.weight, network.partition.inside)),
        "interpretability": mean([row["interpretability"] for row in mine["layers"] if row["role"] == "hidden"]),
        "pruned_share": mean([row["pruned_share"] for row in mine["clusters"]]),
        "kept_edges": mean([row["kept"] for row in mine["pruning"] if row["layer"] == ALL]),
    }


def summary(network: Network, tables: Mapping[str, Sequence[Row]], classes: Sequence[str]) -> dict[str, float]:
    """Returns a network's figures of the summary: those of `networks`, then per layer and per class.

    Per class: the full network's accuracy on the class, and the edges that the class needs; not a number for a class
    without test examples, or that was not pruned.
    """
    mine = {table: [row for row in rows if row["network"] == network.name] for table, rows in tables.items()}
    row = overview(network, tables)
    accuracy = {row["class"]: row["accuracy"] for row in mine["metrics"] if row["state"] == FULL}
    kept = {row["class"]: row["kept"] for row in mine["pruning"] if row["layer"] == ALL}
    return {
        **{number.name: row[number.name] for number in OF_NETWORK},
        **{f"interpretability/{row['layer']}": row["interpretability"] for row in mine["layers"]},
        **{f"accuracy/{name}": accuracy.get(name, math.nan) for name in classes},
        **{f"kept_edges/{name}": kept.get(name, math.nan) for name in classes},
    }


def summary_names(layers: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Returns the names of `summary`'s figures, in its order."""
    per_class = [f"{figure}/{name}" for figure in ("accuracy", "kept_edges") for name in classes]
    return [*(number.name for number in OF_NETWORK), *(f"interpretability/{layer}" for layer in layers), *per_class]


def _share(correct: Tensor, name: str = "accuracy") -> dict[str, float]:
    """Returns the share of True in `(N,)` with its interval."""
    columns = Score(len(correct), int(correct.sum()), 0.0).columns()
    return {f"{name}{column.removeprefix('accuracy')}": columns[column] for column in columns if column != "loss"}


def mean(numbers: Sequence[float]) -> float:
    """Returns the mean; NaN without numbers."""
    return sum(numbers) / len(numbers) if numbers else math.nan

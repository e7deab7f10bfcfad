"""Does training for clusters make a network modular, so that its clusters can be switched off? (Golechha et al.)

Two networks begin with the same weights. The clustered one is trained with the clusterability of one layer in its loss,
its twin without. Both are measured alike: each cluster switched off and on, beside random partitions with clusters of
the same sizes; the classes that activate each unit; the edges that each class needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch

from mi_runner.config.experiments.clusters import ClustersConfig
from mi_runner.errors import ConfigError, as_options, unknown
from mi_runner.experiments import Drawing, Experiment, Result, Setting
from mi_runner.experiments.clusters import figures as clusters_figures
from mi_runner.experiments.clusters import rows as clusters_rows
from mi_runner.experiments.clusters.network import Network, chain_of, network_of
from mi_runner.experiments.clusters.tables import DECLARED
from mi_runner.experiments.common.sentences import figure, measured
from mi_runner.methods.clusters import Top, random_partitions, top_activations
from mi_runner.progress import log
from mi_runner.tables.declaration import Row
from mi_runner.training.clusterability import contiguous, linear_layer
from mi_runner.training.options import TrainingOptions

CLUSTERED, TWIN, UNTRAINED = "clustered", "twin", "untrained"


def check(setting: Setting[ClustersConfig]) -> None:
    """Checks that the data set has classes, and that the network ends in Linear layers with the named ones.

    Raises:
        ConfigError: they aren't, or the training doesn't fit the experiment; the text says what to type.
    """
    config, training, dataset = setting.config, setting.training, setting.dataset
    if not dataset.has_classes:
        several = f"the targets are {dataset.n_outputs} values each: save the class of each example as y"
        remedy = "use dataset.target=class" if dataset.n_outputs == 1 else several
        raise ConfigError(f"experiment=clusters compares classes: {remedy}.")
    wanted = (config.strength, config.layer, config.n_clusters)
    given = (training.regularizer_strength, training.regularizer_layer, training.regularizer_clusters)
    if training.regularizer != "clusterability" or given != wanted:
        raise ConfigError(
            "experiment=clusters sets training.regularizer and its options itself: "
            "type experiment.strength, experiment.layer, experiment.n_clusters instead."
        )
    names = [layer.module for layer in chain_of(setting.graph()).layers]
    _check_layer(setting, names)
    for path in config.pruning_layers or []:
        if path not in names:
            raise ConfigError(
                f"experiment.pruning_layers: '{path}' is not in the chain of Linear layers at the network's end; "
                f"{unknown('layer of it', path, names)}"
            )


def _check_layer(setting: Setting[ClustersConfig], chain: list[str]) -> None:
    """Checks that the clustered layer is in the chain of these layers, and has enough units."""
    config = setting.config
    with as_options(experiment=["layer"]):
        name, layer = linear_layer(setting.model, config.layer)
    if name not in chain:
        # The middle of the chain, as null means the middle of the network.
        used_once = [path for path in chain if path in dict(setting.model.named_modules())]  # later calls have numbers
        if not used_once:
            raise ConfigError(
                "experiment=clusters needs a network that ends in Linear layers of their own: those of its chain, "
                f"{', '.join(chain)}, are called several times."
            )
        use = used_once[(len(used_once) - 1) // 2]
        _, used = linear_layer(setting.model, use)
        fewest = min(used.in_features, used.out_features)
        more = f" experiment.n_clusters={fewest}" if 2 <= fewest < config.n_clusters else ""
        middle = " (null: the middle Linear layer)" if config.layer is None else ""
        raise ConfigError(
            f"experiment.layer={name}{middle} is not in the chain of Linear layers at the network's end, "
            f"{', '.join(chain)}. Use experiment.layer={use}{more}."
        )
    with as_options(experiment=["n_clusters"]):
        contiguous(layer.out_features, layer.in_features, config.n_clusters)


def metric_names(setting: Setting[ClustersConfig]) -> list[str]:
    """Returns the summary's names: `accuracy` for the clustered network, `accuracy/twin` for its twin."""
    network = network_of(setting, CLUSTERED, setting.model)
    layers = (*network.hidden, network.logits)
    names = clusters_rows.summary_names(layers, setting.dataset.class_names or ())
    return [*names, *(f"{name}/{TWIN}" for name in names), "complexity_reduction"]


def networks(setting: Setting[ClustersConfig]) -> dict[str, TrainingOptions]:
    """Returns the twin, and the network before any training."""
    return {
        TWIN: replace(setting.training, regularizer_strength=0.0),
        UNTRAINED: replace(setting.training, epochs=0),
    }


def run(setting: Setting[ClustersConfig]) -> Result:
    """Returns tables and figures of both networks, side by side."""
    config, dataset = setting.config, setting.dataset
    assert dataset.class_names is not None, "check refuses values"
    twin = setting.networks[TWIN]
    both = [
        network_of(setting, CLUSTERED, setting.model, setting.history),
        network_of(setting, TWIN, twin.model, twin.history),
    ]
    untrained = network_of(setting, UNTRAINED, setting.networks[UNTRAINED].model)
    sizes = torch.bincount(both[0].partition.outputs).tolist()
    if len(set(sizes)) > 1:
        log.info(f"{both[0].layer}'s {sum(sizes)} units don't divide evenly: clusters of {sizes} units")

    controls = random_partitions(both[0].partition, config.controls, seed=setting.seed)
    tables: dict[str, list[Row]] = {table.name: [] for table in DECLARED.tables}
    top: dict[str, dict[str, Top]] = {}
    for network in both:
        rows = list(clusters_rows.switched(setting, network, controls))
        setting.progress.rows("metrics", rows)
        tables["metrics"] += rows
        tables["clusters"] += clusters_rows.clusters(network, rows)
        sites = (*network.hidden, network.logits)
        top[network.name] = of_network = top_activations(network.graph, dataset.x_test, sites, config.top_k)
        tables["layers"] += clusters_rows.layers(setting, network, of_network)
        tables["units"] += clusters_rows.units(setting, network, of_network)
        tables["unit_images"] += clusters_rows.unit_images(setting, network, of_network)
        tables["history"] += network.history
    if config.pruning_layers != []:
        for network in both:
            of_layers, of_classes = clusters_rows.pruned(setting, network)
            setting.progress.rows("pruning", of_layers)
            tables["pruning"] += of_layers
            tables["pruned_classes"] += of_classes
    # The networks of a layer below each other, because they are compared layer by layer.
    order = list(dict.fromkeys(row["layer"] for row in tables["layers"]))
    tables["layers"].sort(key=lambda row: order.index(row["layer"]))

    metrics: dict[str, float] = {}
    for network in both:
        tables["networks"].append(clusters_rows.overview(network, tables))
        suffix = "" if network.name == CLUSTERED else f"/{TWIN}"
        of_summary = clusters_rows.summary(network, tables, dataset.class_names)
        metrics |= {f"{name}{suffix}": value for name, value in of_summary.items()}
    kept = metrics["kept_edges"]
    metrics["complexity_reduction"] = metrics[f"kept_edges/{TWIN}"] / kept if kept else float("nan")
    return Result(
        [table.filled(tables[table.name]) for table in DECLARED.tables],
        metrics,
        DECLARED,
        figures=_figures(setting, [untrained, *both], tables, top),
        shown=("networks", "clusters", "layers"),
        answer=_answer(tables["networks"]),
        model=setting.model,
    )


def _answer(rows: Sequence[Row]) -> str:
    clustered, twin = rows
    kept = [row["kept_edges"] for row in rows]
    pruned = ""
    if not any(map(math.isnan, kept)):
        pruned = (
            f" Pruned for one class they keep {figure(kept[0])} and {figure(kept[1])} edges, means over the classes."
        )
    inside = [row["clusterability"] for row in rows]
    shares = f"is {figure(inside[0])}, and {figure(inside[1])} in its twin"
    if any(map(math.isnan, inside)):
        shares = "is not defined, because all its weights are 0" if all(map(math.isnan, inside)) else shares
    return (
        f"The share of the layer's squared weights that lies inside clusters {shares}. The accuracy is "
        f"{measured(clustered, 'accuracy')} of the network that was trained for clusters and "
        f"{measured(twin, 'accuracy')} of its twin.{pruned}"
    )


def _figures(
    setting: Setting[ClustersConfig],
    networks: list[Network],
    tables: Mapping[str, list[Row]],
    top: Mapping[str, Mapping[str, Top]],
) -> dict[str, Drawing]:
    """Returns every figure.

    Args:
        networks: the untrained one first.
        top: network → site → the top images of its units.
    """
    names, shape = setting.dataset.class_names or (), setting.dataset.image_shape
    figures: dict[str, Drawing] = {
        "weights": partial(clusters_figures.weights, networks),
        "edges": partial(clusters_figures.edges, networks),
        "off_on": partial(clusters_figures.off_on, tables["metrics"], names),
        "distinct_classes": partial(clusters_figures.distinct_classes, tables["units"], len(names)),
    }
    if tables["history"]:
        figures["training"] = partial(clusters_figures.training, tables["history"])
    if shape is not None:
        for network in networks:
            for site, of_site in top.get(network.name, {}).items():
                figures[f"units_{network.name}_{site}"] = partial(
                    clusters_figures.unit_images, network, site, of_site, setting.dataset.x_test, shape, names
                )
    return figures


EXPERIMENT: Experiment[ClustersConfig] = Experiment(
    check=check, metric_names=metric_names, run=run, networks=networks, declared=DECLARED
)

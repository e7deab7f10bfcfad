"""Which variables can be read from which site by a linear probe? (Alain and Bengio 2016)

A probe alone says little, because much can be read from an untrained network and from the raw input, too. So these
stand beside it, with probes of shuffled variables (Hewitt and Liang 2019). Selectivity is a probe's score minus that of
the shuffled variable at the same site.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.config.experiments.probes import ProbeControl, ProbesConfig, Split
from mi_runner.datasets.distinct import row_keys
from mi_runner.errors import ConfigError, RunFailed, of_option
from mi_runner.experiments import Experiment, Result, Setting
from mi_runner.experiments.common.variable_sets import variable_sets
from mi_runner.experiments.iit.cells import has_weights
from mi_runner.experiments.probes import answers, figures
from mi_runner.experiments.probes.tables import (
    ACCURACY,
    DECLARED,
    FOLDS,
    METRICS,
    OVERVIEW,
    R2,
    has_columns,
    measure_of,
    measured_columns,
    overview_rows,
    present,
)
from mi_runner.experiments.probes.variables import default_sets, refuse_vectors, variables_of
from mi_runner.graph.interventions import MEMORY, Runs, size_of_values
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.probes import Score, Target, classes_of, probe, score, split_folds
from mi_runner.models.batches import outputs_of, refuse_not_finite
from mi_runner.progress import log
from mi_runner.tables.names import NONE
from mi_runner.training.options import TrainingOptions

MOST_GRAM = 20_000
"""Rows of a Gram matrix (3.2 GB)."""

LEAST_OUTSIDE = 4
"""Examples outside of a fold: probes are fitted to some of them, and the others choose the penalty."""

BESIDE = {"input": "from the raw input", "untrained": "of the untrained network", "shuffled": "of shuffled variables"}
"""Control → how the answer calls it."""


@dataclass(frozen=True)
class Features:
    """A site whose value is read: of the network, or of a control's.

    Attributes:
        site: its name.
        control: untrained, input, or none for the network itself.
        values: `(N, *site)`.
    """

    site: str
    control: str
    values: Tensor


def check(setting: Setting[ProbesConfig]) -> None:
    """Checks that the data set has the variables, the network the sites, and that memory suffices.

    Raises:
        ConfigError: it hasn't; the text says what to type.
    """
    config, graph = setting.config, setting.graph()
    _targets(setting)
    if len(set(config.controls)) < len(config.controls):
        names = ",".join(control.name for control in config.controls)
        raise ConfigError(f"experiment.controls=[{names}]: name each control once.")
    if not config.penalties:
        raise ConfigError("experiment.penalties=[]: give at least one, e.g. [0.001].")
    n = len(_examples(setting)[0])
    if n - math.ceil(n / config.folds) < LEAST_OUTSIDE or n < config.folds:
        raise ConfigError(
            f"experiment.folds={config.folds}: {n} examples are too few, because {LEAST_OUTSIDE} must be outside of "
            "each fold. Type more examples, or experiment.folds=2."
        )
    for site in _sites(setting, graph):
        n_units = graph.site(site).n_units
        if min(n, n_units) > MOST_GRAM:
            raise ConfigError(
                f"experiment.examples={config.examples}: {site} has {n_units:,} units, and a Gram matrix of {n:,} "
                f"examples is too large. Type experiment.examples={MOST_GRAM} or less."
            )


def _sites(setting: Setting[ProbesConfig], graph: ModelGraph) -> list[str]:
    """Returns the sites that are read, in the order in which they were typed, or of the network.

    Raises:
        ConfigError: a site is not there, named twice, or has no value for each example.
    """
    able = graph.usable_sites
    if setting.config.sites is None:
        layers = [name for name in able if has_weights(graph.submodule(name))]
        if not layers:
            raise ConfigError(f"the network has no layer with weights: type experiment.sites=[...], {', '.join(able)}.")
        return layers[:-1] or layers
    sites = list(setting.config.sites)
    if not sites or len(set(sites)) < len(sites):
        raise ConfigError(f"experiment.sites=[{','.join(sites)}]: name at least one site, and each once.")
    with of_option("experiment.sites"):
        named = {name: graph.site(name) for name in sites}
    for name, site in named.items():
        if site.obstacle:
            raise ConfigError(
                f"experiment.sites: {name} can't be read, because it {site.obstacle}. "
                f"Sites that can: {', '.join(able)}."
            )
    return [site.name for site in named.values()]


def _examples(setting: Setting[ProbesConfig]) -> tuple[Tensor, Tensor]:
    """Returns the examples' inputs `(N, *input)` and the values of their variables `(N, V)`."""
    dataset, variables = setting.dataset, variables_of(setting)
    if setting.config.source is Split.train:
        x, values = dataset.x_train, variables.values_train
    else:
        x, values = dataset.x_test, variables.values_test
    return x[: setting.config.examples], values[: setting.config.examples]


def _targets(setting: Setting[ProbesConfig]) -> dict[str, Target]:
    """Returns what is read: `circularity+color` → the sum of the two."""
    variables = variables_of(setting)
    sets = variable_sets(setting.config.variables, variables, default_sets(setting.dataset, variables))
    refuse_vectors(sets, variables)
    columns = {"+".join(chosen): [variables.column(name) for name in chosen] for chosen in sets}
    _, values = _examples(setting)
    of_all = torch.cat([variables.values_train, variables.values_test])
    return {
        name: Target(values[:, own].sum(1), classes_of(of_all[:, own].sum(1))) for name, own in columns.items()
    }  # fmt: skip


def metric_names(setting: Setting[ProbesConfig]) -> list[str]:
    """Returns the summary's names: means over sites and sets, of the network and its controls; each cell; the task."""
    sites, controls = _sites(setting, setting.graph()), [control.name for control in setting.config.controls]
    targets = _targets(setting)
    measures = dict.fromkeys(map(measure_of, targets.values()))
    means = [name for measure in measures for name in (measure, *(f"{measure}_{control}" for control in controls))]
    cells = [f"{measure_of(target)}/{name}/{site}" for name, target in targets.items() for site in sites]
    return [*means, *cells, "task_accuracy"]


def networks(setting: Setting[ProbesConfig]) -> dict[str, TrainingOptions]:
    """Returns the network before its training, if that control is asked for."""
    if ProbeControl.untrained not in setting.config.controls:
        return {}
    return {ProbeControl.untrained.name: replace(setting.training, epochs=0)}


def cost(setting: Setting[ProbesConfig]) -> dict[str, int]:
    """Returns the number of probes."""
    n_targets, controls = len(_targets(setting)), setting.config.controls
    n_sites = len(_sites(setting, setting.graph()))
    n_shuffled, n_untrained = (kind in controls for kind in (ProbeControl.shuffled, ProbeControl.untrained))
    n_features = n_sites * (1 + n_shuffled + n_untrained) + (ProbeControl.input in controls)
    return {"probes": n_features * n_targets * setting.config.folds}


@torch.no_grad()
def run(setting: Setting[ProbesConfig]) -> Result:
    """Returns a row for each site, set of variables and control, and for each fold of it."""
    targets = _targets(setting)
    x, _ = _examples(setting)
    folds = [fold.to(x.device) for fold in split_folds(len(x), setting.config.folds, generator=_draw(setting, "folds"))]
    _tell_of_repeats(x)
    rows: list[dict[str, Any]] = []
    of_folds: list[dict[str, Any]] = []
    by_example: dict[tuple[str, str, str], Tensor] = {}
    began = time.perf_counter()
    read = _read(setting)
    with setting.progress.bar("probing", sum(len(sites) for _, sites, _ in read)) as advance:
        for features in _features(read, x):
            site, control = features.site, features.control
            own, own_folds, scores = _probed(setting, features, targets, folds)
            by_site = "" if control == ProbeControl.input.name else site
            by_example |= {(by_site, *cell): found.by_example for cell, found in scores.items()}
            rows += own
            of_folds += own_folds
            setting.progress.rows("metrics", own)
            advance(1, f"{site}{f' {control}' if control != NONE else ''}")
    rows = present(rows)
    overview = overview_rows(rows)
    where = has_columns(targets, setting.config.controls)
    return Result(
        [
            METRICS.filled(rows, *where),
            FOLDS.filled(present(of_folds), *where),
            OVERVIEW.filled(present(overview), *where),
        ],
        _summary(setting, rows),
        DECLARED,
        figures={"probes": partial(figures.by_site, rows)},
        shown=("overview",),
        answer=answers.answer(overview, by_example),
        timings={"probing": time.perf_counter() - began},
    )


def _draw(setting: Setting[ProbesConfig], *use: str) -> torch.Generator:
    return chance.generator(setting.seed, "probes", *use)


def _read(setting: Setting[ProbesConfig]) -> list[tuple[str, list[str], ModelGraph | None]]:
    """Returns what is read: control, sites, and the graph of the network; no graph for the raw input."""
    graph = setting.graph()
    sites, controls = _sites(setting, graph), setting.config.controls
    read: list[tuple[str, list[str], ModelGraph | None]] = [(NONE, sites, graph)]
    if ProbeControl.untrained in controls:
        untrained = setting.graph(setting.networks[ProbeControl.untrained.name].model)
        read.append((ProbeControl.untrained.name, sites, untrained))
    if ProbeControl.input in controls:
        read.append((ProbeControl.input.name, [graph.inputs[0]], None))
    return read


def _features(read: Sequence[tuple[str, list[str], ModelGraph | None]], x: Tensor) -> Iterator[Features]:
    """Yields the sites' values, in one pass through the network if there is room for those of all sites at once."""
    for control, sites, graph in read:
        if graph is None:
            yield Features(sites[0], control, x)
            continue
        fit = sum(size_of_values(graph, x, graph.site(site)) for site in sites) <= MEMORY
        for together in [sites] if fit else [[site] for site in sites]:
            values = Runs(graph, x, memory=0).values_of(together)
            for site in together:
                of_network = "" if control == NONE else f" of the control {control}"
                refuse_not_finite(values[site], f"the values of {site}{of_network} (experiment.sites names others)")
                yield Features(site, control, values.pop(site))


def _probed(
    setting: Setting[ProbesConfig], features: Features, targets: Mapping[str, Target], folds: Sequence[Tensor]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[tuple[str, str], Score]]:
    """Returns the rows of all targets from one site's values, those of shuffled variables, of folds, and the scores.

    Scores are by set of variables and control.
    """
    cells = {(name, features.control): target for name, target in targets.items()}
    if features.control == NONE and ProbeControl.shuffled in setting.config.controls:
        n = len(features.values)
        order = torch.randperm(n, generator=_draw(setting, "shuffled")).to(features.values.device)
        cells |= {(name, ProbeControl.shuffled.name): target.shuffled(order) for name, target in targets.items()}
    try:
        held_out = probe(
            features.values,
            {"/".join(cell): target.columns for cell, target in cells.items()},
            folds,
            penalties=setting.config.penalties,
            generator=_draw(setting, "penalty", features.site),
        )
    except ValueError as error:
        raise RunFailed(f"{features.site}: {error} Try a smaller training.learning_rate.") from error
    scores = {cell: score(target, held_out.predictions["/".join(cell)], folds) for cell, target in cells.items()}
    rows, of_folds = [], []
    for (name, control), found in scores.items():
        target, shuffled = cells[name, control], scores.get((name, ProbeControl.shuffled.name))
        keys = {"site": features.site, "variables": name, "control": control}
        rows.append({**keys, **measured_columns(target, folds, found, shuffled if control == NONE else None)})
        penalties = held_out.penalties[f"{name}/{control}"]
        for fold, (of_fold, penalty) in enumerate(zip(found.folds, penalties, strict=True)):
            measured = {R2: None, ACCURACY: None, measure_of(target): of_fold}
            of_folds.append({**keys, "fold": fold, **measured, "penalty": penalty, "n": len(folds[fold])})
    return rows, of_folds, scores


def _tell_of_repeats(x: Tensor) -> None:
    n_different = len(set(row_keys(x)))
    if n_different < len(x):
        log.info(
            f"{len(x) - n_different:,} of {len(x):,} examples repeat another one: held-out examples aren't all unseen"
        )


def _summary(setting: Setting[ProbesConfig], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for measure in (R2, ACCURACY):
        for control in (NONE, *(control.name for control in setting.config.controls)):
            values = [row[measure] for row in rows if row["control"] == control and row.get(measure) is not None]
            if values:
                metrics[measure if control == NONE else f"{measure}_{control}"] = sum(values) / len(values)
        metrics |= {
            f"{measure}/{row['variables']}/{row['site']}": row[measure]
            for row in rows
            if row["control"] == NONE and row.get(measure) is not None
        }
    dataset = setting.dataset
    outputs = outputs_of(setting.model, dataset.x_test)
    metrics["task_accuracy"] = float(dataset.outputs.correct(outputs, dataset.y_test).double().mean())
    return {name: metrics[name] for name in metric_names(setting)}


EXPERIMENT: Experiment[ProbesConfig] = Experiment(
    check=check, metric_names=metric_names, run=run, networks=networks, cost=cost, declared=DECLARED
)

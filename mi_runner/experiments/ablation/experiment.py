"""Which parts of a network does its answer depend on?

The options become arguments of `mi_runner.methods.ablation`, its rows become tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mi_runner.config.experiments.ablation import AblationConfig, Estimate, Granularity
from mi_runner.config.experiments.ablation import Method as AskedMethod
from mi_runner.datasets import Dataset, arrays
from mi_runner.datasets.distinct import is_every_boolean_input
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError, ConfigError, as_options, listed, unknown
from mi_runner.experiments import Drawing, Experiment, Result, Setting
from mi_runner.experiments.ablation import answers, figures, network_figures
from mi_runner.experiments.ablation.pictures import network_picture
from mi_runner.experiments.ablation.tables import (
    ABLATING,
    ANSWERS,
    CONTRIBUTIONS,
    DECLARED,
    GRAPH,
    LARGEST,
    LISTED,
    LISTING,
    METRICS,
    NAMED,
    OF_FEATURES,
    OF_TARGETS,
    SCRUBBING,
    SPLITS,
    UNITS,
    edge_rows,
    site_rows,
    with_features,
    with_unit_names,
)
from mi_runner.experiments.common import drawing, predictions
from mi_runner.experiments.common.evaluation import commonest_share
from mi_runner.experiments.common.tables import PREDICTIONS, of_answers, of_confusion
from mi_runner.graph.interventions import Runs
from mi_runner.graph.model_graph import ModelGraph, evaluating
from mi_runner.methods import ablation_targets, sources
from mi_runner.methods.ablation import Ablations, Scoring, ablate, ablate_units, n_unit_runs, scrub, try_ablations
from mi_runner.methods.contributions import contributions
from mi_runner.methods.replacements import MOST_UNIT_RUNS, Ablation, Method, Running, Source, draws, draws_of
from mi_runner.methods.residuals import Choices, ablate_beyond
from mi_runner.methods.site_parts import NO_PARTS, Parts, SitePart, parts_of_inputs, site_at
from mi_runner.progress import log
from mi_runner.tables.columns import Columns
from mi_runner.tables.declaration import Table
from mi_runner.tables.names import NONE
from mi_runner.training.evaluation import loss_function

FIGURES = ("accuracy", "loss")
"""What the summary has of the intact network, and of each target and method as a mean over repeats."""

MOST_SHOWN = 20
"""Targets in the terminal and in the figure."""

ALSO_SHOWN = (CONTRIBUTIONS.name, SPLITS.name, SCRUBBING.name)
"""Tables that are printed if they are there."""

OF_ALL = 4
"""Tables of all targets, which stand before that of the largest drops."""

REHEARSED = 3
"""Test examples on which every ablation is tried before anything is trained."""


def check(setting: Setting[AblationConfig]) -> None:
    """Checks that the model can be traced and has the targets that are asked for, and that each can be ablated.

    Raises:
        ConfigError: it can't, or hasn't; the text lists its sites and edges. Or an ablation fails; it says which.
    """
    graph, config = setting.graph(), setting.config
    found, parts = _targets(setting, graph)
    if not found:
        able = ", ".join(graph.usable_sites) or "(none)"
        raise ConfigError(f"the network has no inner site to ablate, only {able}: name experiment.targets.")
    methods = _methods(config)
    _check_examples(config, setting.dataset)
    source = _source(setting)
    _check_agreement(config, setting.dataset, source)
    if config.granularity is Granularity.unit:
        n_runs = n_unit_runs(graph, _whole(found, parts), methods, config.repeats)
        if n_runs > MOST_UNIT_RUNS:
            raise ConfigError(
                f"experiment.granularity=unit asks for {n_runs:,} runs of the test set, more than "
                f"{MOST_UNIT_RUNS:,}: "
                "name fewer experiment.targets or experiment.methods, or lower experiment.repeats."
            )
    few = setting.dataset.x_test[:REHEARSED]
    with evaluating(setting.model), torch.random.fork_rng(), as_options(experiment=["targets", "methods"]):
        try_ablations(
            graph,
            few,
            found,
            methods,
            parts=parts,
            source=source if source.x is None else replace(source, x=source.x[:REHEARSED]),
            units=config.granularity is Granularity.unit,
        )


def metric_names(setting: Setting[AblationConfig]) -> list[str]:
    """Returns the summary's names: `accuracy`, `loss`, and both for each target and method, `accuracy/x/add/zero`."""
    config = setting.config
    if config.list_only:
        return [number.name for number in LISTING.summary]
    pairs = _pairs(setting.graph(), *_targets(setting, setting.graph()), _methods(config))
    ablated = [f"{figure}/{target}/{method}" for target, method in pairs for figure in FIGURES]
    return [*FIGURES, *ablated]


def run(setting: Setting[AblationConfig]) -> Result:
    """Returns the table of accuracy and loss under each ablation, the intact network first."""
    graph, config, dataset = setting.graph(), setting.config, setting.dataset
    if config.list_only:
        return _listed(graph)
    asked = _asked(setting, graph)
    of_network = network_figures.weight_pictures(graph, dataset)
    of_network |= network_figures.entering_images(graph, dataset, config.examples)
    setting.progress.figures(of_network)
    if asked.source.x is not None:
        n = len(asked.source.x)
        log.info(f"means and samples come from the {n:,} examples of experiment.source={config.source}")
    ablated, units, filled = _one_by_one(setting, graph, asked)  # what follows keeps values of its own
    filled += _together(setting, graph, asked)
    rows, shown = ablated.rows, [METRICS.name]
    if len(asked.targets) > MOST_SHOWN:
        rows, shown = _largest(_known(rows), MOST_SHOWN), [LARGEST.name]
        filled.insert(OF_ALL, LARGEST.filled(rows, *_where(asked)))
        log.info(
            f"shown are the {MOST_SHOWN} of {len(asked.targets)} targets with the largest drop; metrics.csv has all"
        )
    drawn: dict[str, Drawing] = {
        "accuracy": partial(figures.accuracy, _with_every_method(_known(rows)), commonest_share(dataset))
    }
    drawn |= drawing.confusion([row for row in ablated.confusion if row["method"] == NONE], dataset.class_names)
    drawn |= of_network
    if units:
        drawn["units"] = partial(figures.unit_drops, _known(units))
    setting.progress.figures(drawn)  # while the answer is computed
    return Result(
        filled,
        _summary(graph, asked, ablated.rows),
        ABLATING,
        figures=drawn,
        pictures={"network": partial(network_picture, site_rows(graph), ablated.rows)},
        shown=[*shown, *(table.name for table in filled if table.name in ALSO_SHOWN)],
        answer=answers.answer(ablated, _known(ablated.rows), is_population=is_every_boolean_input(dataset.x_test)),
    )


@dataclass(frozen=True)
class _Asked:
    """The options of a run, as the methods take them."""

    targets: list[str]
    parts: Parts
    methods: list[Method]
    source: Source
    scoring: Scoring
    memory: float


def _asked(setting: Setting[AblationConfig], graph: ModelGraph) -> _Asked:
    config, dataset = setting.config, setting.dataset
    scoring = Scoring(loss_function(setting.training, dataset), dataset.outputs)
    return _Asked(*_targets(setting, graph), _methods(config), _source(setting), scoring, config.memory * 1e6)


def _one_by_one(
    setting: Setting[AblationConfig], graph: ModelGraph, asked: _Asked
) -> tuple[Ablations, list[dict[str, Any]], list[Table]]:
    """Returns each target's ablation, the rows of their units if they are asked for, and the tables."""
    config, x, y = setting.config, setting.dataset.x_test, setting.dataset.y_test
    runs = Runs(graph, x, memory=asked.memory / (1 if asked.source.x is None else 2))
    running = Running(asked.memory, runs, setting.progress)
    choices: Choices = {"methods": asked.methods, "scoring": asked.scoring, "running": running}
    ablated = ablate(graph, x, y, targets=asked.targets, parts=asked.parts, source=asked.source, **choices)
    ablated = replace(ablated, rows=with_features(ablated.rows, asked.parts))
    _say_empty(ablated.rows)
    filled = [
        METRICS.filled(ablated.rows, *_where(asked)),
        of_confusion(ablated.confusion, setting.dataset.class_names, OF_TARGETS),
        GRAPH.filled(site_rows(graph)),
        of_answers(_predictions(ablated, y, kind=setting.dataset.outputs), setting.dataset.outputs, ANSWERS),
    ]
    if setting.dataset.has_classes:
        depth, kind = config.contribution_depth, setting.dataset.outputs
        summands = contributions(graph, x, y, depth=depth, kind=kind, runs=runs)
        filled += [CONTRIBUTIONS.filled(summands)] if summands else []
    if config.granularity is Granularity.site:
        return ablated, [], filled
    whole = _whole(asked.targets, asked.parts)
    units = ablate_units(graph, x, y, targets=whole, source=asked.source, **choices)
    units = with_unit_names(units, graph.inputs[0], setting.dataset.feature_names)
    _say_empty(units)
    named = [] if setting.dataset.feature_names is None else [NAMED]
    return ablated, units, [*filled, UNITS.filled(units, *named)]


def _where(asked: _Asked) -> list[str]:
    """Returns which columns of metrics.csv there are, of those that only some runs have."""
    return [OF_FEATURES] if asked.parts else []


def _together(setting: Setting[AblationConfig], graph: ModelGraph, asked: _Asked) -> list[Table]:
    """Returns the tables of what sites do beyond an estimate, and of all targets resampled at once."""
    config, x, y = setting.config, setting.dataset.x_test, setting.dataset.y_test
    filled, running = [], Running(asked.memory)
    inner = [target for target in asked.targets if target not in asked.parts and _is_inner_site(graph, target)]
    if config.split is not Estimate.none and inner:
        with as_options({"reads": "experiment.split"}):
            choices: Choices = {"methods": asked.methods, "scoring": asked.scoring, "running": running}
            estimate = config.split.value
            parts = ablate_beyond(graph, x, y, estimate=estimate, targets=inner, source=asked.source, **choices)
        filled.append(SPLITS.filled(parts))
    if config.agree != sources.ANY:
        with as_options(experiment=["agree"]):
            scrubbed = scrub(
                graph,
                x,
                y,
                targets=asked.targets,
                parts=asked.parts,
                source=asked.source,
                scoring=asked.scoring,
                running=running,
            )
        filled.append(SCRUBBING.filled(scrubbed))
    return filled


def _summary(graph: ModelGraph, asked: _Asked, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Returns the figures of the intact network, and of each target and method as a mean over repeats."""
    metrics: dict[str, float] = {figure: rows[0][figure] for figure in FIGURES}
    for target, method in _pairs(graph, asked.targets, asked.parts, asked.methods):
        of_method = [row for row in rows if (row["target"], row["method"]) == (target, method)]
        for figure in FIGURES:
            metrics[f"{figure}/{target}/{method}"] = sum(row[figure] for row in of_method) / len(of_method)
    return metrics


def _targets(setting: Setting[AblationConfig], graph: ModelGraph) -> tuple[list[str], Parts]:
    """Returns the targets that the options name, or those of the graph, which may be none; and what features are."""
    config, dataset = setting.config, setting.dataset
    with as_options(experiment=["targets"]):
        if config.targets is None:
            if config.depth == "all":
                return ablation_targets.ablation_targets(graph), NO_PARTS
            return ablation_targets.readable_targets(graph, _depth(config)), NO_PARTS
        asked: dict[str, None] = {}
        parts: dict[str, SitePart] = {}
        for target in config.targets:
            found = parts_of_inputs(graph, target, dataset.features, dataset.feature_names or ())
            parts |= found
            # A site that has the very name is ablated as a whole, too.
            asked |= dict.fromkeys([*found, target] if not found or graph.has(target) else found)
        twice = len(set(config.targets)) < len(config.targets)  # which is refused
        return ablation_targets.ablation_targets(graph, config.targets if twice else list(asked), parts), parts


def _whole(targets: Sequence[str], parts: Parts) -> list[str]:
    """Returns the targets with the site of a feature in its place, because units are ablated of whole sites."""
    return list(dict.fromkeys(parts[target].site if target in parts else target for target in targets))


def _depth(config: AblationConfig) -> int | None:
    if config.depth == "auto":
        return None
    if not config.depth.isdecimal() or config.depth == "0":
        raise ConfigError(f"experiment.depth={config.depth}: type auto, all, or a number from 1.")
    return int(config.depth)


def _pairs(
    graph: ModelGraph, targets: Sequence[str], parts: Parts, methods: Sequence[Method]
) -> list[tuple[str, Method]]:
    """Returns each target with each method that it is ablated by."""
    once = draws(methods, 1)
    return [(target, method) for target in targets for method, _ in draws_of(site_at(graph, target, parts), once)]


def _is_inner_site(graph: ModelGraph, target: str) -> bool:
    return graph.kind(target) == "site" and graph.site(target).kind in ("module", "function")


def _known(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows that have figures: outputs that are not finite have none."""
    return [row for row in rows if not math.isnan(row["accuracy"])]


def _say_empty(rows: Sequence[Mapping[str, Any]]) -> None:
    """Logs which targets have no figures."""
    empty = [f"{row['target']} by {row['method']}" for row in rows if math.isnan(row["accuracy"])]
    if empty:
        log.warning(
            f"{len(empty)} of {len(rows)} rows have no figures, because outputs are infinite or NaN where a value is "
            f"ablated: {listed(list(dict.fromkeys(empty)), 5)}"
        )


def _by_drop(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the targets of an ablation's rows by their mean drop in accuracy, the largest first."""
    drops: dict[str, list[float]] = {}
    for row in rows[1:]:
        drops.setdefault(row["target"], []).append(row["accuracy_drop"])
    return sorted(drops, key=lambda target: -sum(drops[target]) / len(drops[target]))


def _largest(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Returns the intact network's row and those of the `most` targets with the largest drop, the largest first."""
    return [rows[0], *(row for target in _by_drop(rows)[:most] for row in rows if row["target"] == target)]


def _predictions(ablated: Ablations, y: Tensor, *, kind: Outputs) -> Columns:
    """Returns the answers of the intact network and after each ablation; if all are many, after the costliest.

    The columns target, method and repeat are those of `metrics`.
    """
    outputs, rows = ablated.outputs, _known(ablated.rows)
    most = predictions.MOST_NUMBERS // (len(y) * (outputs[None].shape[-1] + predictions.COLUMNS))
    if len(outputs) < len(rows):
        most = 1
    n_targets = len(_by_drop(rows))
    kept = next(n for n in range(n_targets, -1, -1) if n == 0 or len(_largest(rows, n)) <= most)
    if kept < n_targets:
        shown = f"and the {kept} of {n_targets} targets with the largest drop" if kept else "alone"
        log.info(f"{predictions.NAME}.parquet has the answers of the intact network {shown}: all would be too many")
    of_targets = {NONE, *_by_drop(rows)[:kept]}
    return predictions.table(
        [
            predictions.Answers(
                y, outputs[_ablation_of(row)], {name: row[name] for name in ("target", "method", "repeat")}
            )
            for row in rows
            if row["target"] in of_targets
        ],
        kind=kind,
    )


def _ablation_of(row: Mapping[str, Any]) -> Ablation | None:
    return None if row["method"] == NONE else Ablation(row["target"], row["method"], row["repeat"])


def _with_every_method(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of targets that have a bar for each method: a parameter has none for resample."""
    methods = {row["method"] for row in rows[1:]}
    of: dict[str, set[str]] = {}
    for row in rows[1:]:
        of.setdefault(row["target"], set()).add(row["method"])
    return [rows[0], *(row for row in rows[1:] if of[row["target"]] == methods)]


def _listed(graph: ModelGraph) -> Result:
    """Returns the sites, edges and paths of a network."""
    sites = site_rows(graph)
    paths: list[str] = []
    for source in graph.inputs:
        try:
            paths += graph.paths(source, graph.output)
        except ArgumentError as error:  # too many, or the output doesn't depend on this input
            log.info(f"paths are not listed: {error}")
    edges = edge_rows(graph, dict.fromkeys((*graph.edges, *paths)))
    names = [number.name for number in LISTING.summary]
    counts = dict(zip(names, (len(graph.sites), len(graph.edges), len(paths)), strict=True))
    return Result(
        [LISTED.filled([*sites, *edges]), PREDICTIONS.filled(())],  # nothing was trained
        {name: float(count) for name, count in counts.items()},
        LISTING,
        answer=f"The network has {counts['sites']} sites, {counts['edges']} edges and {counts['paths']} paths from the "
        "inputs to the output.",
    )


def _check_examples(config: AblationConfig, dataset: Dataset) -> None:
    given, n = config.examples, len(dataset.x_test)
    if given is not None and not (0 < len(given) <= network_figures.MOST_EXAMPLES and max(given) < n):
        raise ConfigError(
            f"experiment.examples={given}: name 1 to {network_figures.MOST_EXAMPLES} positions in the test set, "
            f"from 0 to {n - 1}."
        )


def _agree(config: AblationConfig, dataset: Dataset) -> str | int:
    """Returns what sources agree in, a class as its number; an unknown word as it is, and `check` refuses it."""
    agree, names = config.agree, dataset.class_names or ()
    return names.index(agree) if agree in names and agree not in (sources.ANY, sources.SAME, sources.OTHER) else agree


def _check_agreement(config: AblationConfig, dataset: Dataset, source: Source) -> None:
    agree, names = config.agree, dataset.class_names
    if agree == sources.ANY:
        return
    if names is None:
        raise ConfigError(f"experiment.agree={agree} compares classes: use dataset.target=class.")
    if agree not in (sources.SAME, sources.OTHER, *names):
        raise ConfigError(
            f"experiment.agree: {unknown('class', agree, [sources.ANY, sources.SAME, sources.OTHER, *names])}"
        )
    if AskedMethod.resample not in config.methods:
        raise ConfigError(f"experiment.agree={agree} is about the method resample: add it to experiment.methods.")
    if source.x is not None and source.y is None:
        raise ConfigError(
            f"experiment.agree={agree} compares classes, and {config.source} has none: add the array y to it, "
            "the class of each x."
        )
    with as_options(experiment=["agree"]):
        source.index(dataset.y_test, repeat=1)


def _methods(config: AblationConfig) -> list[Method]:
    methods: list[Method] = [method.value for method in config.methods]
    with as_options(experiment=["methods", "repeats"]):
        draws(methods, config.repeats)
    return methods


def _source(setting: Setting[AblationConfig]) -> Source:
    """Returns the examples that `experiment.source` names, and how values are resampled from them.

    Raises:
        ConfigError: the option is no split of the data set and no such file; the text says what to type.
    """
    config, dataset = setting.config, setting.dataset
    name = config.source
    source = Source(agree=_agree(config, dataset), repeats=config.repeats, seed=setting.seed)
    if name == "test":
        return source
    if name == "train":
        return replace(source, x=dataset.x_train, y=dataset.y_train)
    if not name.endswith(".npz"):
        raise ConfigError(f"experiment.source={name}: type test, train, or the path of an .npz file with x (and y).")
    with as_options(experiment=["source"]):
        x, y = arrays.load_examples(name, dataset, argument="source")
    device = dataset.x_test.device
    return replace(source, x=x.to(device), y=None if y is None else y.to(device))


EXPERIMENT: Experiment[AblationConfig] = Experiment(check=check, metric_names=metric_names, run=run, declared=DECLARED)

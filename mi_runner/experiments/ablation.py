"""Which parts of a network does its answer depend on?

The options become arguments of `mi_runner.methods.ablation`, its rows become tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mi_runner.config.experiment_schemas import AblationConfig, Granularity, Split
from mi_runner.errors import ConfigError
from mi_runner.experiments import Result, Setting, ablation_figures, figures
from mi_runner.graph.model_graph import ModelGraph, evaluating
from mi_runner.methods import ablation
from mi_runner.statistics import ANY, DIFFERENCE_OF_SHARES, NONE, NOT_NEGATIVE, SHARE
from mi_runner.training.evaluation import loss_function
from mi_runner.training.options import TrainingOptions

FIGURES = ("accuracy", "loss")
"""What the summary has of the intact network, and of each target and method as a mean over repeats."""

KEYS = {
    "metrics": ablation.ABLATION,
    "confusion": (*ablation.ABLATION, "label", "predicted"),
    "contributions": ("summand",),
    "units": (*ablation.ABLATION, "unit"),
}

MEASURES = {
    **{"accuracy": SHARE, "loss": NOT_NEGATIVE, "accuracy_drop": DIFFERENCE_OF_SHARES, "loss_increase": ANY},
    **{"label_logit": ANY, "max_error": NOT_NEGATIVE},
}

REHEARSED = 3
"""Test examples on which every ablation is tried before anything is trained."""


def check(setting: Setting[AblationConfig]) -> None:
    """The model can be traced, and has the targets that are asked for; each can be ablated.

    Raises:
        ConfigError: it can't, or hasn't; the text lists its sites and edges. Or an ablation fails; it says which.
    """
    graph, config = setting.graph(), setting.config
    found = _targets(graph, config)
    if not found:
        able = ", ".join(ablation.can_be_ablated(graph)) or "(none)"
        raise ConfigError(f"the network has no inner site to ablate, only {able}: name experiment.targets.")
    methods = _methods(config)
    if config.granularity is Granularity.unit:
        n_runs = ablation.n_unit_runs(graph, found, methods, config.repeats)
        if n_runs > ablation.MOST_UNIT_RUNS:
            raise ConfigError(
                f"experiment.granularity=unit asks for {n_runs:,} runs of the test set, more than "
                f"{ablation.MOST_UNIT_RUNS:,}: "
                "name fewer experiment.targets or experiment.methods, or lower experiment.repeats."
            )
    few, source = setting.dataset.x_test[:REHEARSED], _source(setting)
    with evaluating(setting.model), torch.random.fork_rng():
        try:
            ablation.try_ablations(
                graph,
                few,
                found,
                methods,
                source=None if source is None else source[:REHEARSED],
                units=config.granularity is Granularity.unit,
            )
        except ConfigError as error:
            raise ConfigError(f"{error} Name other experiment.targets.") from error


def metric_names(setting: Setting[AblationConfig]) -> list[str]:
    """The summary's names: `accuracy`, `loss`, and both for each target and method, `accuracy/x/add/zero`."""
    config = setting.config
    found = _targets(setting.graph(), config)
    ablated = [f"{figure}/{target}/{method}" for target in found for method in _methods(config) for figure in FIGURES]
    return [*FIGURES, *ablated]


def networks(setting: Setting[AblationConfig]) -> dict[str, TrainingOptions]:
    """None besides the model."""
    return {}


def cost(setting: Setting[AblationConfig]) -> dict[str, int]:
    """Too little to say."""
    return {}


def run(setting: Setting[AblationConfig]) -> Result:
    """The table of accuracy and loss under each ablation, the intact network first."""
    graph, config, dataset = setting.graph(), setting.config, setting.dataset
    x, y = dataset.x_test, dataset.y_test
    found, methods = _targets(graph, config), _methods(config)
    choices: dict[str, Any] = {
        **{"targets": found, "methods": methods, "repeats": config.repeats, "source": _source(setting)},
        **{"loss": loss_function(setting.training, dataset), "classes": dataset.has_classes},
        **{"seed": setting.seed, "progress": setting.progress},
    }
    ablated = ablation.ablate(graph, x, y, **choices)
    rows = ablated.rows

    metrics: dict[str, float] = {figure: rows[0][figure] for figure in FIGURES}
    for target in found:
        for method in methods:
            of_method = [row for row in rows if (row["target"], row["method"]) == (target, method)]
            for figure in FIGURES:
                metrics[f"{figure}/{target}/{method}"] = sum(row[figure] for row in of_method) / len(of_method)

    tables: dict[str, Sequence[Any]] = {"metrics": rows, "confusion": ablated.confusion}
    shown = ["metrics"]
    contributions = ablation.contributions(graph, x, y) if dataset.has_classes else []
    if contributions:
        tables["contributions"] = contributions
        shown.append("contributions")
    drawn = {"accuracy": ablation_figures.accuracy(rows)}
    drawn |= figures.confusion([row for row in ablated.confusion if row["method"] == NONE], dataset.class_names)
    drawn |= ablation_figures.weight_images(graph, dataset)
    if config.granularity is Granularity.unit:
        tables["units"] = ablation.ablate_units(graph, x, y, **choices)
        drawn |= ablation_figures.unit_drops(tables["units"])
    return Result(
        tables=tables,
        keys=KEYS,
        metrics=metrics,
        measures=MEASURES,
        repeats=("repeat",),
        figures=drawn,
        shown=shown,
    )


def _targets(graph: ModelGraph, config: AblationConfig) -> list[str]:
    """The targets that the option names, or those of the graph, which may be none."""
    try:
        return ablation.ablation_targets(graph, config.targets)
    except ConfigError as error:
        raise ConfigError(f"experiment.{error}") from error


def _methods(config: AblationConfig) -> list[ablation.Method]:
    methods: list[ablation.Method] = [method.value for method in config.methods]
    try:
        ablation.draws(methods, config.repeats)
    except ConfigError as error:
        raise ConfigError(f"experiment.{error}") from error
    return methods


def _source(setting: Setting[AblationConfig]) -> Tensor | None:
    """The examples that means and resampled values come from; None for those that are ablated."""
    return setting.dataset.x_train if setting.config.source is Split.train else None

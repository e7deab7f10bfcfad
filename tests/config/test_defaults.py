"""What a method does where nothing is said: the published settings, and the same as the option of its experiment."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mi_runner.config.experiments.ablation import AblationConfig
from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.config.experiments.clusters import ClustersConfig
from mi_runner.config.experiments.decoder import DecoderConfig
from mi_runner.config.experiments.explanations import ExplanationsConfig
from mi_runner.config.experiments.iit import IitConfig
from mi_runner.config.experiments.probes import ProbesConfig
from mi_runner.config.options import plain
from mi_runner.config.training_schema import TrainingConfig
from mi_runner.methods import (
    ablation,
    clusters,
    interchange,
    probes,
    pruning,
    replacements,
)
from mi_runner.methods.circuits.search import search_circuits
from mi_runner.methods.decoder_options import DecoderOptions
from mi_runner.methods.discovery import edge_pruning, gates, scores, search
from mi_runner.methods.explanations.explain import explain
from mi_runner.methods.interchange_options import AdversaryOptions, InterchangeOptions, RotationTraining
from mi_runner.training import regularizers
from mi_runner.training.options import TrainingOptions

EMPTY = inspect.Parameter.empty


def defaults(method: Callable[..., Any]) -> dict[str, Any]:
    """Argument → its default."""
    parameters = inspect.signature(method).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not EMPTY}


def option_of(config: type[Any], name: str) -> Any:
    """The default of an option, as a method takes it."""
    value = getattr(config(), name)
    return value.name if isinstance(value, Enum) else value


# --- the published settings ------------------------------------------------------------------------------------------

PUBLISHED: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    # Repeated at least 3 times (REMIX day 1).
    *((method, {"repeats": 3}) for method in (replacements.draws, replacements.Source)),
    # 3 kernels of 2×2, two hidden layers of 30 units, dropout ½.
    (DecoderOptions, {"kernels": 3, "kernel_size": 2, "hidden_sizes": (30, 30), "dropout": 0.5}),
    # 4 clusters, λ = 15; an edge is cut below 1e-4.
    (regularizers.Modularity, {"n_clusters": 4, "strength": 15.0}),
    (pruning.prune_classes, {"threshold": 1e-4, "criterion": "divergence"}),
    # Distributed alignment search: batch 512, three epochs.
    (RotationTraining, {"batch_size": 512, "epochs": 3, "learning_rate": 5e-4}),
    # Adam 5e-4, batch 256, one epoch.
    (interchange.InterchangeTraining, {"learning_rate": 5e-4, "batch_size": 256, "epochs": 1}),
    (explain, {"accuracy_threshold": 0.99, "max_depth": 3, "pairs": "all"}),
    (search_circuits, {"ablation": "zero", "inputs": "all"}),
]


@pytest.mark.parametrize(("method", "published"), PUBLISHED, ids=lambda value: getattr(value, "__name__", ""))
def test_the_defaults_are_the_published_settings(method: Callable[..., Any], published: dict[str, Any]) -> None:
    assert {name: defaults(method)[name] for name in published} == published


def test_the_constants_are_the_published_ones() -> None:
    # Louizos et al. 2018: β = 2/3, γ = −0.1, ζ = 1.1. Integrated gradients in 10 steps. ACDC's thresholds 1e-6 to 1.
    assert (gates.BETA, gates.LOW, gates.HIGH) == (2 / 3, -0.1, 1.1)
    assert (edge_pruning.STEPS, gates.BATCH, edge_pruning.LEARNING_RATE, edge_pruning.START) == (
        600,
        256,
        0.05,
        1,
    )
    assert pytest.approx([10 ** (-3 + k / 2) for k in range(9)]) == edge_pruning.PENALTIES
    assert scores.STEPS == 10 and search.THRESHOLDS[[0, -1]].tolist() == pytest.approx([1e-6, 1.0])
    assert np.diff(np.log10(search.THRESHOLDS)) == pytest.approx(np.full(49, 6 / 49))
    assert pytest.approx([10.0**k for k in range(-6, 1)]) == probes.PENALTIES
    assert regularizers.STRENGTHS == {"clusterability": 15.0, "l1": 0.001, "orthogonality": 0.001}
    assert interchange.ROWS_PER_EPOCH == 10 and interchange.BELOW_CUTOFF == 0.001


# --- the option of the experiment ------------------------------------------------------------------------------------

OPTIONS: list[tuple[Callable[..., Any], type[Any], dict[str, str]]] = [
    (replacements.Source, AblationConfig, {"repeats": "repeats", "agree": "agree"}),
    (
        pruning.prune_classes,
        ClustersConfig,
        {"threshold": "pruning_threshold", "criterion": "pruning_criterion"},
    ),
    (regularizers.Modularity, ClustersConfig, {"n_clusters": "n_clusters", "strength": "strength"}),
    (search_circuits, CircuitsConfig, {"min_node_sparsity": "min_node_sparsity"}),
    (
        explain,
        ExplanationsConfig,
        {name: name for name in ("max_depth", "pairs", "accuracy_threshold", "sample")},
    ),
]


@pytest.mark.parametrize(("method", "config", "names"), OPTIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_method_does_what_its_experiment_does_where_nothing_is_said(
    method: Callable[..., Any], config: type[Any], names: dict[str, str]
) -> None:
    of_method = {argument: defaults(method)[argument] for argument in names}
    assert of_method == {argument: option_of(config, option) for argument, option in names.items()}


@pytest.mark.parametrize(
    ("options", "config", "prefix", "renamed"),
    [
        (TrainingOptions, TrainingConfig, "", {}),
        (DecoderOptions, DecoderConfig, "", {}),
        (InterchangeOptions, IitConfig, "", {"what": "train"}),
        (AdversaryOptions, IitConfig, "adversary_", {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_option_of_a_method_is_one_of_the_command_line(
    options: type[Any], config: type[Any], prefix: str, renamed: dict[str, str]
) -> None:
    """With its default; only so is it possible to say in a command what a program can say."""
    for field in fields(options):
        name = renamed.get(field.name, f"{prefix}{field.name}")
        assert plain(getattr(config(), name)) == getattr(options(), field.name), name


def test_probes_choose_among_the_penalties_of_the_option() -> None:
    assert list(defaults(probes.probe)["penalties"]) == ProbesConfig().penalties


# --- what is done ----------------------------------------------------------------------------------------------------


def test_a_value_is_resampled_three_times_and_a_module_is_ablated_by_every_method() -> None:
    network, x = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)).eval(), torch.randn(8, 3)
    rows = ablation.ablate(network, x, torch.arange(8) % 2, targets=["1"]).rows
    assert [(row["method"], row["repeat"]) for row in rows[1:]] == [
        ("zero", 1), ("mean", 1), ("resample", 1), ("resample", 2), ("resample", 3)
    ]  # fmt: skip
    assert replacements.draws() == [("zero", 1), ("mean", 1), ("resample", 1), ("resample", 2), ("resample", 3)]
    assert clusters.STATES == ("off", "on")

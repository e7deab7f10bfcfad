"""Which weights a run's networks have: a checkpoint's, those of the model store, or those of a training now.

The members of a run of many seeds are trained together; an experiment may need further networks beside its model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from mi_runner.config.run_schema import RunConfig
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, RunFailed
from mi_runner.experiments import Experiment, Setting, TrainedNetwork
from mi_runner.experiments.common.evaluation import check_evaluation
from mi_runner.models import Built
from mi_runner.progress import log
from mi_runner.runs.choices import build_network
from mi_runner.runs.preparation import Prepared
from mi_runner.tables.declaration import Row
from mi_runner.training import model_store
from mi_runner.training import stacked as stacked_training
from mi_runner.training.model_store import Stored


def with_weights(
    prepared: Prepared, config: RunConfig, device: torch.device, record: dict[str, Any]
) -> tuple[Setting[Any], bool]:
    """Returns the setting on its device with the model's weights, and whether they were trained now."""
    built, setting, checkpoint = prepared.built.to(device), prepared.setting, prepared.checkpoint
    model, dataset = built.model, built.dataset
    if checkpoint is not None:
        log.info(f"weights loaded from {checkpoint.path}; nothing is trained")
        path = str(checkpoint.path.resolve())
        record["checkpoint"] = {"from": "checkpoint", "path": path, "sha256": checkpoint.sha256}
        return replace(setting, model=model, dataset=dataset), False

    if setting.members:
        return _members_with_weights(setting, built, config, record), False

    (stored,) = _obtain([built], setting, seeds=[config.seed])
    record["checkpoint"] = {
        "from": "training" if stored.trained_now else "model store",
        "path": str(stored.path) if stored.path else None,
        "sha256": stored.sha256,
    }
    return replace(setting, model=model, dataset=dataset, history=stored.history), stored.trained_now


def check_trained(setting: Setting[Any]) -> None:
    """Checks again, with the weights that the experiment gets.

    Raises:
        RunFailed: a network's outputs are not finite, or not those of each example alone.
    """
    for member in setting.members or (setting,):
        try:
            check_evaluation(member)
        except ArgumentError as error:
            of_seed = f"seed={member.seed}: " if setting.members else ""
            raise RunFailed(f"{of_seed}{error}") from error


def _obtain(
    builts: Sequence[Built],
    setting: Setting[Any],
    *,
    seeds: Sequence[int],
    at_once: int = 1,
) -> list[Stored]:
    """Loads or trains the weights of the networks.

    Raises:
        RunFailed: a training diverged.
    """
    options, progress = setting.training, setting.progress
    try:
        return model_store.obtain(builts, options, seeds=seeds, at_once=at_once, progress=progress)
    except FloatingPointError as error:
        raise RunFailed(f"{error} Try a smaller training.learning_rate.") from error


def with_networks(
    setting: Setting[Any], experiment: Experiment[Any], config: RunConfig, dataset: Dataset
) -> Setting[Any]:
    """Returns the setting, and its members, with the networks that the experiment needs besides their model."""
    each = setting.members or (setting,)
    device, cpu = setting.dataset.x_train.device, torch.device("cpu")
    networks: list[dict[str, TrainedNetwork]] = [{} for _ in each]
    for name, options in experiment.networks(setting).items():
        data = [member.dataset.to(cpu) for member in setting.members] or [dataset]  # networks are built on the CPU
        builts = [
            build_network(config.model, own, seed=member.seed).to(device)
            for member, own in zip(each, data, strict=True)
        ]
        histories: Sequence[Sequence[Row]] = [()] * len(each)
        if options.epochs:
            log.info(f"{name}: trains the same network for comparison")
            seeds = [member.seed for member in each]
            at_once = stacked_training.at_once(
                builts[0].model, builts[0].dataset, options, own_data=config.dataset.drawn
            )
            stored = _obtain(builts, replace(setting, training=options), seeds=seeds, at_once=at_once)
            histories = [model.history for model in stored]
        for own, built, history in zip(networks, builts, histories, strict=True):
            own[name] = TrainedNetwork(built.model, history)
    if not setting.members:
        return replace(setting, networks=networks[0])
    members = tuple(replace(member, networks=own) for member, own in zip(each, networks, strict=True))
    return replace(setting, members=members, networks=networks[0])


def _members_with_weights(
    setting: Setting[Any], built: Built, config: RunConfig, record: dict[str, Any]
) -> Setting[Any]:
    """Returns the setting with trained members, on the device of `built`."""
    device = built.dataset.x_train.device
    moved = {built.dataset.fingerprint: built.dataset}  # so that shared data are moved once
    builts = [
        Built(
            member.model.to(device),
            moved.get(member.dataset.fingerprint) or member.dataset.to(device),
            source=member.source,
        )
        for member in setting.members
    ]
    seeds = [member.seed for member in setting.members]

    at_once = stacked_training.at_once(built.model, built.dataset, setting.training, own_data=config.dataset.drawn)
    stored = _obtain(builts, setting, seeds=seeds, at_once=at_once)
    n_loaded = sum(not model.trained_now for model in stored)
    record["checkpoint"] = {
        "from": "model store" if n_loaded == len(stored) else "training",
        "path": None,
        "sha256": None,
        "members": [
            {
                "seed": seed,
                "from": "training" if model.trained_now else "model store",
                "path": str(model.path) if model.path else None,
                "sha256": model.sha256,
            }
            for seed, model in zip(seeds, stored, strict=True)
        ],
    }
    members = tuple(
        replace(member, model=built.model, dataset=built.dataset, history=model.history)
        for member, built, model in zip(setting.members, builts, stored, strict=True)
    )
    return replace(members[0], members=members)

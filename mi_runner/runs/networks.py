"""Which weights a run's networks have: a checkpoint's, those of the model store, or those of a training now.

The members of a run of many seeds are trained together; an experiment may need further networks beside its model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from mi_runner.config.run_schema import RunConfig
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, RunFailed
from mi_runner.experiments import Experiment, Setting, TrainedNetwork
from mi_runner.experiments.common.evaluation import check_evaluation
from mi_runner.machine.files import tensors_sha256
from mi_runner.models import Built
from mi_runner.progress import log
from mi_runner.runs.choices import build_network
from mi_runner.runs.given import NOTHING, Given
from mi_runner.runs.preparation import Prepared
from mi_runner.runs.record import CheckpointRecord, MemberRecord
from mi_runner.tables.declaration import Row
from mi_runner.training import loop as training
from mi_runner.training import model_store
from mi_runner.training import stacked as stacked_training
from mi_runner.training.doubts import doubts
from mi_runner.training.model_store import Stored

PLANTED = "planted"
"""Where the weights are from that `model=planted` has."""


@dataclass(frozen=True)
class Weighted:
    """The setting of a run whose networks have their weights.

    Attributes:
        setting: on its device.
        checkpoint: where the weights are from, for run.json.
        trained_now: whether this run trained its one network.
    """

    setting: Setting[Any]
    checkpoint: CheckpointRecord
    trained_now: bool = False

    @property
    def of_checkpoint(self) -> bool:
        """Whether the weights are those of the file that the config names, so that nothing is trained."""
        return self.checkpoint.from_ == "checkpoint"

    @property
    def of_program(self) -> bool:
        """Whether the weights are those of a network that a program gave, so that nothing is trained."""
        return self.checkpoint.from_ == "program"

    @property
    def is_planted(self) -> bool:
        """Whether the weights are compiled from a formula, so that nothing is trained."""
        return self.checkpoint.from_ == PLANTED

    @property
    def stop_epochs(self) -> dict[str, int | None] | None:
        """Seed → the epoch in which `stop_loss` or `stop_steps` ended the training; None where they may end none."""
        options = self.setting.training
        may_stop = options.stop_loss is not None or options.stop_steps is not None
        if not may_stop or self.of_checkpoint or self.of_program or self.is_planted:
            return None
        each = self.setting.members or (self.setting,)
        return {str(member.seed): training.stop_epoch(member.history) for member in each}


def with_weights(prepared: Prepared, config: RunConfig, device: torch.device, given: Given = NOTHING) -> Weighted:
    """Returns the setting on its device with its network's weights.

    They are those of a checkpoint, of a program's network, planted, of the model store, or of a training now.

    Raises:
        RunFailed: a training diverged.
    """
    built, setting, checkpoint = prepared.built.to(device), prepared.setting, prepared.checkpoint
    model, dataset = built.model, built.dataset
    if checkpoint is not None:
        log.info(f"weights loaded from {checkpoint.path}; nothing is trained")
        origin = CheckpointRecord("checkpoint", str(checkpoint.path.resolve()), checkpoint.sha256)
        return Weighted(replace(setting, model=model, dataset=dataset), origin)
    if given.is_analysed_as_it_is:
        log.info(f"{type(model).__name__} is analysed with the weights that it has; nothing is trained")
        origin = CheckpointRecord("program", sha256=tensors_sha256(model.state_dict()))
        return Weighted(replace(setting, model=model, dataset=dataset), origin)
    if built.truth is not None:
        log.info("the weights are planted; nothing is trained")
        return _planted(setting, built, device)
    if setting.members:
        return _members_with_weights(setting, built, config)
    (stored,) = _obtain([built], setting, seeds=[config.seed])
    origin = CheckpointRecord(_source(stored), _path(stored), stored.sha256)
    weighted = replace(setting, model=model, dataset=dataset, history=stored.history)
    return Weighted(weighted, origin, stored.trained_now)


def _planted(setting: Setting[Any], built: Built, device: torch.device) -> Weighted:
    """Returns the setting with planted networks, on the device."""
    members = tuple(
        replace(member, model=member.model.to(device), dataset=member.dataset.to(device)) for member in setting.members
    )
    each = members or (setting,)
    origin = CheckpointRecord(
        PLANTED,
        sha256=None if members else tensors_sha256(built.model.state_dict()),
        members=tuple(
            MemberRecord(member.seed, PLANTED, sha256=tensors_sha256(member.model.state_dict())) for member in members
        ),
    )
    first = replace(each[0], model=built.model, dataset=built.dataset)
    return Weighted(replace(first, members=members), origin)


def _members_with_weights(setting: Setting[Any], built: Built, config: RunConfig) -> Weighted:
    """Returns the setting with trained members, on the device of `built`."""
    device = built.dataset.x_train.device
    moved = {built.dataset.fingerprint: built.dataset}  # so that shared data are moved once
    builts = [
        Built(
            member.model.to(device),
            moved.get(member.dataset.fingerprint) or member.dataset.to(device),
            source=member.source,
            stored=built.stored,
        )
        for member in setting.members
    ]
    seeds = [member.seed for member in setting.members]
    at_once = stacked_training.at_once(built.model, built.dataset, setting.training, own_data=config.dataset.drawn)
    stored = _obtain(builts, setting, seeds=seeds, at_once=at_once)
    origin = CheckpointRecord(
        "training" if any(model.trained_now for model in stored) else "model store",
        members=tuple(
            MemberRecord(seed, _source(model), _path(model), model.sha256)
            for seed, model in zip(seeds, stored, strict=True)
        ),
    )
    members = tuple(
        replace(member, model=built.model, dataset=built.dataset, history=model.history)
        for member, built, model in zip(setting.members, builts, stored, strict=True)
    )
    return Weighted(replace(members[0], members=members), origin)


def _source(stored: Stored) -> str:
    return "training" if stored.trained_now else "model store"


def _path(stored: Stored) -> str | None:
    return str(stored.path) if stored.path else None


def check_trained(weighted: Weighted) -> None:
    """Checks again, with the weights that the experiment gets.

    The network of a checkpoint on the CPU is the very one that `prepare` has checked.

    Raises:
        RunFailed: a network's outputs are not finite, or not those of each example alone.
    """
    setting = weighted.setting
    if (
        weighted.of_checkpoint or weighted.of_program or weighted.is_planted
    ) and setting.dataset.x_train.device.type == "cpu":
        return
    for member in setting.members or (setting,):
        try:
            check_evaluation(member)
        except ArgumentError as error:
            of_seed = f"seed={member.seed}: " if setting.members else ""
            raise RunFailed(f"{of_seed}{error}") from error


def say_doubts(setting: Setting[Any], config: RunConfig) -> None:
    """Logs what makes it doubtful that the model's training did what it should; nothing where nothing is trained."""
    if config.experiment.trains and setting.truth is None:
        for doubt in doubts(setting.model, setting.dataset, setting.training):
            log.warning(doubt)


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
    setting: Setting[Any], experiment: Experiment[Any], config: RunConfig, dataset: Dataset, given: Given = NOTHING
) -> Setting[Any]:
    """Returns the setting, and its members, with the networks that the experiment needs besides their model."""
    each = setting.members or (setting,)
    device, cpu = setting.dataset.x_train.device, torch.device("cpu")
    networks: list[dict[str, TrainedNetwork]] = [{} for _ in each]
    for name, options in experiment.networks(setting).items():
        data = [member.dataset.to(cpu) for member in setting.members] or [dataset]  # networks are built on the CPU
        builts = [
            build_network(
                config.model,
                own,
                seed=member.seed,
                outputs=member.dataset.outputs,
                given=given,
                before_training=True,
            ).to(device)
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

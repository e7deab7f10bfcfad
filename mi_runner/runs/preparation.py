"""What of a run is checked before it has a folder: the device, the network, the setting, the members, the checkpoint.

A mistake that is found here uses no version, and costs no training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from mi_runner.config.models import NetworkOutputs
from mi_runner.config.run_schema import RunConfig
from mi_runner.datasets import Dataset
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError, ConfigError, as_options
from mi_runner.experiments import Setting
from mi_runner.experiments.common.evaluation import check_evaluation
from mi_runner.machine import meanwhile
from mi_runner.models import Built
from mi_runner.models.batches import outputs_of
from mi_runner.models.output_kind import ends_in_0_to_1, is_maybe_a_logit, sentence
from mi_runner.progress import Progress, log
from mi_runner.runs import checkpoints, expectations, starts
from mi_runner.runs.checkpoints import Checkpoint
from mi_runner.runs.choices import (
    arguments,
    build_network,
    experiment_of,
    factory_of,
    load_dataset,
    training_options,
)
from mi_runner.runs.expectations import Expectation
from mi_runner.runs.given import NOTHING, Given
from mi_runner.training import loop as training
from mi_runner.training import stacked as stacked_training
from mi_runner.training.options import TrainingOptions


def device_of(asked: str) -> torch.device:
    """Returns the device that the config names.

    Raises:
        ConfigError: this machine doesn't have it.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if asked == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(f"device={asked}: torch finds no CUDA device here. Use device=cpu or device=auto.")
    device = torch.device(asked)
    if (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={asked}: this machine has {torch.cuda.device_count()} CUDA devices, counted from 0.")
    return device


@dataclass(frozen=True)
class Prepared:
    """A run after all checks that are possible before training.

    Attributes:
        built: the network, on the CPU, with the checkpoint's weights if one is named.
        setting: the experiment's setting for that network.
        checkpoint: the weights that the config names.
    """

    built: Built
    setting: Setting[Any]
    checkpoint: Checkpoint | None

    @property
    def starts(self) -> dict[str, str]:
        """Seed → a hash of what its network starts from."""
        members = self.setting.members or (self.setting,)
        return {str(member.seed): member.start for member in members if member.start is not None}


@as_options()
def prepare(
    config: RunConfig,
    dataset: Dataset,
    expected: Sequence[Expectation],
    *,
    progress: Progress,
    given: Given = NOTHING,
) -> Prepared:
    """Builds the network and the setting of a run, checks them, and returns them.

    Args:
        given: what a program gave in place of the config's network.

    Raises:
        ConfigError: data set, model, training, experiment, expectations and checkpoint don't fit; the text says what
            to type.
    """
    experiment = experiment_of(config.experiment)
    options = training_options(config.training)
    built = build_network(config.model, dataset, seed=config.seed, given=given)
    checkpoint = None if config.checkpoint is None else checkpoints.load(config.checkpoint, built.model)
    for line in checkpoints.other_names(checkpoint, built.dataset) if checkpoint else ():
        log.warning(line)
    if config.model.outputs is NetworkOutputs.auto and built.truth is None:
        has_weights = checkpoint is not None or given.is_analysed_as_it_is
        built = _as_a_logit(built, options, has_weights=has_weights)
    hashed = meanwhile.begin(lambda: built.dataset.fingerprint)  # a fifth of a second for MNIST
    for note in built.notes:
        log.info(note)
    for warning in built.warnings:
        log.warning(warning)
    setting: Setting[Any] = Setting(
        config=config.experiment,
        training=options if config.experiment.trains else replace(options, epochs=0),
        model=built.model,
        dataset=built.dataset,
        seed=config.seed,
        leaves=built.leaves,
        source=built.source,
        progress=progress,
        truth=built.truth,
    )
    if config.seeds is not None:
        setting = replace(setting, members=_members(setting, config, dataset, given))
    with as_options(model=arguments(config.model)):
        check_evaluation(setting)
    experiment.check(setting)  # first, because its own options may set training options
    if given.is_analysed_as_it_is and experiment.networks(setting):
        build_network(config.model, dataset, seed=config.seed, given=given, before_training=True)
    with as_options(model=arguments(config.model), training=arguments(config.training)):
        training.check(built.model, built.dataset, setting.training, sigmoid=sigmoid(config))
    expectations.check(expected, experiment.metric_names(setting))
    for line in expectations.impossible(expected, experiment.declared):
        log.warning(line)
    hashed()
    setting = replace(setting, start=starts.start_of(setting.model, setting.dataset))
    members = [replace(one, start=starts.start_of(one.model, one.dataset)) for one in setting.members]
    if seeds := starts.shared((one.seed, one.start) for one in members):
        log.warning(starts.sentence(seeds, factory=factory_of(config.model), checkpoint=None))
    return Prepared(built, replace(setting, members=tuple(members)), checkpoint)


def _as_a_logit(built: Built, options: TrainingOptions, *, has_weights: bool) -> Built:
    """Returns the network and data set; with classes where its one output, for a target 0 or 1, is a logit.

    It is one if it is trained as one, by `training.loss=bce` without a sigmoid. Weights of a checkpoint say nothing of
    their loss: then it is one if more training examples are correct so.
    """
    dataset = built.dataset
    if not dataset.is_binary or ends_in_0_to_1(built.model, dataset):
        return built
    as_logit = dataset.answered(Outputs.logit)
    if options.loss == "bce":
        why = "training.loss=bce, and no sigmoid ends the network"
    elif has_weights and is_maybe_a_logit(built.model, dataset):
        outputs = outputs_of(built.model, dataset.x_train, must_be_finite=False)
        as_value = float(dataset.outputs.correct(outputs, dataset.y_train).double().mean())
        by_sign = float(Outputs.logit.correct(outputs, as_logit.y_train).double().mean())
        if by_sign <= as_value:
            return built
        why = f"so {by_sign:.3g} of the training examples are correct; rounded as a value {as_value:.3g}"
    else:
        return built
    note = f"{sentence(Outputs.logit, said=False)}: {why}"
    return replace(built, dataset=as_logit, notes=(*built.notes, note))


def sigmoid(config: RunConfig) -> str:
    """Returns how to give the config's model a sigmoid at its end."""
    return "model.output_activation=sigmoid" if "output_activation" in arguments(config.model) else "torch.nn.Sigmoid()"


def _of_member(setting: Setting[Any], built: Built, seed: int) -> Setting[Any]:
    """Returns the setting of another seed's network."""
    return replace(setting, model=built.model, dataset=built.dataset, seed=seed, source=built.source, truth=built.truth)


def _members(setting: Setting[Any], config: RunConfig, dataset: Dataset, given: Given) -> tuple[Setting[Any], ...]:
    """Returns a setting for each of the seeds `config.seed`, `config.seed` + 1, …, with the network that it has alone.

    Raises:
        ConfigError: the networks can't be trained together.
    """
    n_seeds = config.seeds or 1
    members = [setting]
    for seed in range(config.seed + 1, config.seed + n_seeds):
        own = load_dataset(config.dataset, seed=seed) if config.dataset.drawn else dataset
        built = build_network(config.model, own, seed=seed, outputs=setting.dataset.outputs, given=given)
        members.append(_of_member(setting, built, seed))
    with as_options(model=arguments(config.model), training=arguments(config.training)):
        for member in members:
            training.check(member.model, member.dataset, setting.training)
    try:
        stacked_training.check_together(
            [member.model for member in members],
            [member.dataset for member in members],
            setting.training,
            seeds=[member.seed for member in members],
        )
    except ArgumentError as error:
        named = error.as_options({name: f"training.{name}" for name in arguments(config.training)})
        alone = f"-m 'seed=range({config.seed},{config.seed + n_seeds})' instead of seeds={n_seeds}"
        raise ConfigError(f"seeds={n_seeds}: {named} Train them one after the other: {alone}.") from error
    return tuple(members)

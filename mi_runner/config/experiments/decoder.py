"""The options of `experiment=decoder`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.options import Cites, option, same
from mi_runner.config.training_schema import Optimizer
from mi_runner.methods.decoder_options import DecoderOptions


@dataclass
class DecoderConfig(ExperimentConfig):
    """Can a network's inputs and answer be read from its hidden activations alone?"""

    name: ClassVar[str] = "decoder"
    place: ClassVar[int] = 80
    module: ClassVar[str] = "mi_runner.experiments.decoder.experiment"
    cites: ClassVar[tuple[Cites, ...]] = (Cites("hewitt2019"),)
    in_a_paper: ClassVar[str] = (
        "We trained a decoder that reads the inputs and the answer from the activations of {sites|every "
        "activation function}, rounded to {decimals|all} decimals, and tested it on a fraction of {test_share} of "
        "them."
    )
    headline: ClassVar[str] = "accuracy/all"
    small: ClassVar[tuple[str, ...]] = (
        "dataset.train_size=60",
        "dataset.test_size=60",
        "training.epochs=1",
        "experiment.epochs=1",
        "experiment.min_target_accuracy=0",
        "experiment.folds=2",
    )

    sites: list[str] | None = option(
        None, "sites that are the image's rows, from the top; null: every activation function's output"
    )
    decimals: int | None = option(
        2, "activations are rounded to this many decimals; null: not rounded", at_least=0, at_most=15
    )
    kernels: int = same(DecoderOptions, "kernels")
    kernel_size: int = same(DecoderOptions, "kernel_size")
    hidden_sizes: list[int] = same(DecoderOptions, "hidden_sizes")
    dropout: float = same(DecoderOptions, "dropout")
    test_share: float = option(0.1, "fraction of the activation images that is held out", above=0, below=1)
    folds: int | None = option(
        None, "10: ten decoders, which together hold out every image once; null or 1: a single split", at_least=1
    )
    epochs: int = same(DecoderOptions, "epochs")
    stop_loss: float | None = same(DecoderOptions, "stop_loss")
    batch_size: int = same(DecoderOptions, "batch_size")
    optimizer: Optimizer = same(DecoderOptions, "optimizer", Optimizer, doc="the decoder's update rule")
    learning_rate: float = same(DecoderOptions, "learning_rate")
    min_target_accuracy: float | None = option(
        None,
        "a network with a lower test accuracy is not decoded: the run fails; null: it must beat the commonest label",
        at_least=0,
        at_most=1,
    )

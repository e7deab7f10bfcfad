"""The options of `experiment=decoder`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.options import option
from mi_runner.config.training_schema import Optimizer


@dataclass
class DecoderConfig(ExperimentConfig):
    """Can a network's inputs and answer be read from its hidden activations alone?"""

    name: ClassVar[str] = "decoder"
    place: ClassVar[int] = 80
    module: ClassVar[str] = "mi_runner.experiments.decoder.experiment"
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
    kernels: int = option(
        3, "number of kernels; at each position the largest response counts", at_least=1, at_most=10_000
    )
    kernel_size: int = option(2, "height and width of a kernel", at_least=1)
    hidden_sizes: list[int] = option([30, 30], "units of each hidden layer of the decoder", at_least=1)
    dropout: float = option(0.5, "share of hidden units left out in each step of its training", at_least=0, below=1)
    test_share: float = option(0.1, "fraction of the activation images that is held out", above=0, below=1)
    folds: int | None = option(
        None, "10: ten decoders, which together hold out every image once; null or 1: a single split", at_least=1
    )
    epochs: int = option(10, "passes over the decoder's training examples, at most", at_least=0)
    stop_loss: float | None = option(
        None, "a decoder stops after an epoch with a mean training loss of at most this, in nats; null: never", above=0
    )
    batch_size: int = option(256, "examples a step of the decoder's training", at_least=1)
    optimizer: Optimizer = option(Optimizer.adam, "the decoder's update rule")
    learning_rate: float = option(1e-2, "its step size", above=0)
    min_target_accuracy: float | None = option(
        None,
        "a network with a lower test accuracy is not decoded: the run fails; null: it must beat the commonest label",
        at_least=0,
        at_most=1,
    )

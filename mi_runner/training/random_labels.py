"""Labels in random order: a network that is trained on them learns nothing of the task, and is a control."""

from __future__ import annotations

from dataclasses import replace

import torch

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.training.options import TrainingOptions


def trained_on(dataset: Dataset, options: TrainingOptions, seed: int) -> Dataset:
    """Returns the data set that a network is trained on: with `random_labels` its training labels in random order.

    Args:
        seed: the order derives from it.
    """
    if not options.random_labels:
        return dataset
    order = torch.randperm(len(dataset.y_train), generator=chance.generator(seed, "random labels"))
    return replace(dataset, y_train=dataset.y_train[order.to(dataset.y_train.device)])

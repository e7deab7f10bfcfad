"""Networks trained on random functions, from the same initial weights: how explicable is a network by chance?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from mi_runner import chance
from mi_runner.config.experiments.explanations import ExplanationsConfig
from mi_runner.datasets import Dataset, logic
from mi_runner.errors import RunFailed
from mi_runner.experiments import Setting
from mi_runner.graph.chain import find_part
from mi_runner.models import Built
from mi_runner.training import model_store, stacked

UNTRAINED, RANDOM_FUNCTION = "untrained", "random_function"
"""Names of the controls, in the column `control`."""


@dataclass(frozen=True)
class Control:
    """A network trained on random functions.

    Attributes:
        model: in evaluation mode.
        dataset: with a random function for each output.
    """

    model: nn.Module
    dataset: Dataset


def train_on_random_functions(settings: Sequence[Setting[ExplanationsConfig]]) -> list[list[Control]]:
    """Returns, for each setting, its `random_functions` controls: trained as its model, from its initial weights.

    They are trained together, and kept in the model store. Functions are drawn by the setting's seed; none is constant.

    Args:
        settings: with the untrained network among their networks.

    Raises:
        RunFailed: a training diverged.
    """
    first = settings[0]
    if not first.config.random_functions:
        return [[] for _ in settings]
    # The store knows a network by its text and weights; the chain says what is computed with them.
    chain = [(layer.module, layer.activation, layer.slope) for layer in find_part(first.graph(), None).layers]
    builts, seeds = [], []
    for setting in settings:
        draw = chance.generator(setting.seed, "random functions")
        n, n_outputs = setting.dataset.input_shape[0], setting.dataset.n_outputs
        for _ in range(setting.config.random_functions):
            dataset = logic.relabelled(setting.dataset, logic.random_tables(n, n_outputs, generator=draw))
            model = copy.deepcopy(setting.networks[UNTRAINED].model)
            builts.append(Built(model, dataset, source=f"explanations {chain}"))
            seeds.append(setting.seed)
    at_once = stacked.at_once(builts[0].model, builts[0].dataset, first.training, own_data=True)
    try:
        model_store.obtain(builts, first.training, seeds=seeds, at_once=at_once, progress=first.progress)
    except FloatingPointError as error:
        raise RunFailed(
            f"a network on a random function: {error} Try a smaller training.learning_rate, or "
            "experiment.random_functions=0."
        ) from error
    controls = [Control(built.model.eval(), built.dataset) for built in builts]
    each = first.config.random_functions
    return [controls[start : start + each] for start in range(0, len(controls), each)]

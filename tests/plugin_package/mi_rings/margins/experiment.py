"""How sure is a network of its answers? By the margin: the correct class's output minus the largest of the others."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mi_rings.margins.tables import DECLARED, METRICS
from mi_rings.schemas import MarginsConfig
from mi_runner.errors import ConfigError
from mi_runner.experiments import Experiment, Result, Setting
from mi_runner.models.batches import outputs_of


def check(setting: Setting[MarginsConfig]) -> None:
    """Checks that the data set has classes.

    Raises:
        ConfigError: it has none.
    """
    if not setting.dataset.has_classes:
        raise ConfigError("experiment=margins takes classes: type dataset.target=class.")


def metric_names(setting: Setting[MarginsConfig]) -> list[str]:
    """Returns the summary's names."""
    return ["accuracy", "margin"]


def run(setting: Setting[MarginsConfig]) -> Result:
    """Returns a row for each class, and the mean over the test examples."""
    dataset = setting.dataset
    margins = margins_of(outputs_of(setting.model, dataset.x_test), dataset.y_test)
    rows = [
        {"class": name, **_described(margins[dataset.y_test == number], setting.config.quantile)}
        for number, name in enumerate(dataset.class_names or ())
        if (dataset.y_test == number).any()
    ]
    return Result(
        [METRICS.filled(rows)],
        {"accuracy": (margins > 0).double().mean().item(), "margin": margins.mean().item()},
        DECLARED,
        answer=f"The mean margin is {margins.mean():.4g}; {(margins <= 0).sum()} of {len(margins)} answers are wrong.",
    )


def margins_of(outputs: Tensor, labels: Tensor) -> Tensor:
    """Returns `(N,)`, the output of the correct class minus the largest other one, of outputs `(N, K)`."""
    correct = outputs.gather(1, labels[:, None])
    others = outputs.scatter(1, labels[:, None], float("-inf"))
    return (correct[:, 0] - others.amax(1)).double()


def _described(margins: Tensor, quantile: float) -> dict[str, Any]:
    accuracy = (margins > 0).double().mean().item()
    low = margins.quantile(quantile).item()
    return {"n": len(margins), "accuracy": accuracy, "margin": margins.mean().item(), "low_margin": low}


EXPERIMENT = Experiment(check=check, metric_names=metric_names, run=run, declared=DECLARED)

"""How interchange interventions train, adversaries of such a training, and rotations that judge it.

The defaults are published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mi_runner.options import option

Trained = Literal["network", "rotation", "both"]
"""What interchange interventions train."""

Reading = Literal["plain", "published"]
"""How strictness is trained."""


@dataclass(frozen=True)
class InterchangeOptions:
    """How interchange interventions train. Beside each field stand its default, its meaning and its range."""

    what: Trained = option("both", "network (IIT), rotation (DAS) or both")
    epochs: int = option(1, "passes over the training pairs", at_least=0)
    batch_size: int = option(256, "pairs per step", at_least=1)
    learning_rate: float = option(5e-4, "step size for the network's weights", above=0)
    rotation_learning_rate: float = option(5e-3, "step size for the rotation", above=0)
    warmup_steps: int = option(20, "steps in which learning_rate rises from 0 to its value", at_least=0)
    gradient_clip: float | None = option(0.1, "largest norm of a step's gradient; None: no limit", above=0)
    task_weight: float | None = option(
        None, "weight of the ordinary loss on the base examples in the loss; None: 1 with strictness, otherwise 0",
        at_least=0,
    )  # fmt: skip
    strictness: float = option(
        0.0, "weight of the loss that keeps the answer when a place that should carry nothing is swapped; 0: none",
        at_least=0,
    )  # fmt: skip
    strictness_reading: Reading = option(
        "plain", "plain: one step on the sum of the losses; published: a step for each, with the weight squared"
    )

    @property
    def task(self) -> float:
        """The weight of the ordinary loss."""
        return float(self.strictness > 0) if self.task_weight is None else self.task_weight


Steps = Literal["retraction", "parametrization"]
"""How a rotation is trained."""


@dataclass(frozen=True)
class RotationOptions:
    """How steps turn a rotation."""

    steps: Steps = option(
        "retraction",
        "retraction: a step moves the directions, which are made orthonormal again; parametrization: torch's own, "
        "which steps in the parameters of a rotation",
    )


@dataclass(frozen=True)
class AdversaryOptions:
    """How adversaries are trained, and what they count for."""

    rank: int = option(4, "directions that the adversary swaps", at_least=1)
    steps: int = option(5, "the adversary's steps before each step of the network", at_least=0, at_most=10_000)
    learning_rate: float = option(1e-4, "step size for the adversary, with Adam", above=0)
    renewal: int | None = option(
        1,
        "the adversary starts again after so many steps of the network; 1: in each step, as published; None: never",
        at_least=1,
    )
    count: int = option(1, "adversaries at a time, from different random directions", at_least=1, at_most=1_000)
    weight: float = option(1.0, "weight of the adversary's loss in the network's loss", at_least=0)
    bound: float | None = option(
        None, "the adversary's loss counts up to this value; None: without a bound, as published", above=0
    )


@dataclass(frozen=True)
class RotationTraining:
    """How a rotation is trained from scratch in a network that stays as it is: distributed alignment search.

    Attributes:
        size: directions of each place.

    Example:
        >>> from mi_runner.iit import RotationTraining
        >>> RotationTraining(size=2).epochs
        3
    """

    size: int | Sequence[int]
    epochs: int = option(
        3, "passes over the training pairs for each fresh rotation, which gives the verdict", at_least=1
    )
    batch_size: int = option(512, "pairs per step", at_least=1)
    learning_rate: float = option(5e-4, "step size for a fresh rotation, with Adam", above=0)

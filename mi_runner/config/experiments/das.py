"""The options of `experiment=das`: those of `iit`, with other defaults, and those of maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mi_runner.config.experiments.iit import Control, IitConfig, RotationSteps, Trained
from mi_runner.config.options import Cites, option


def _with_default(name: str, default: Any) -> Any:
    """Returns an option of `IitConfig` with another default."""
    return option(default, **IitConfig.__dataclass_fields__[name].metadata)


WITH_MAP = "with map: "
"""How the meaning of an option begins that is for maps alone."""


@dataclass
class DasConfig(IitConfig):
    """Which sites of a trained network carry which variables along some directions, or by a stronger map? (DAS)"""

    name: ClassVar[str] = "das"
    place: ClassVar[int] = 60
    module: ClassVar[str] = "mi_runner.experiments.das.experiment"
    cites: ClassVar[tuple[Cites, ...]] = (
        Cites("geiger2024"),
        Cites("sutter2025", "map"),
        Cites("gomez2017", "map", "revnet"),
    )
    in_a_paper: ClassVar[str] = (
        "We trained {map|rotations} (size {size}, site={site}, variables={variables}) on {train_pairs} pairs for "
        "{epochs} epochs, with the network frozen, and measured interchange intervention accuracy on "
        "{test_pairs} other pairs."
    )
    small: ClassVar[tuple[str, ...]] = (
        "dataset.train_size=60",
        "dataset.test_size=60",
        "training.epochs=1",
        "experiment.train_pairs=60",
        "experiment.test_pairs=60",
        "experiment.epochs=1",
        "experiment.site=[conv3,fc1]",
        "experiment.size=2",
    )

    variables: Any = _with_default("variables", "all")
    site: Any = _with_default("site", "all")
    size: int = _with_default("size", 4)
    small_site_size: int | None = _with_default("small_site_size", 1)
    train: Trained = _with_default("train", Trained.rotation)
    epochs: int = _with_default("epochs", 3)
    batch_size: int = _with_default("batch_size", 512)
    rotation_learning_rate: float = _with_default("rotation_learning_rate", 5e-4)
    rotation_steps: RotationSteps = _with_default("rotation_steps", RotationSteps.parametrization)
    warmup_steps: int = _with_default("warmup_steps", 0)
    gradient_clip: float | None = _with_default("gradient_clip", None)
    controls: list[Control] = option(
        [],
        "what the result is compared with; []: nothing. With map: untrained, the same map in the network before its "
        "training, and random_labels, in one that was trained on labels in random order",
    )
    map: list[str] | None = option(
        None,
        "maps from the site to coordinates, each trained by itself: neurons, rotation, revnet; package.module:callable "
        "of your own, called with the number of units. Runs code! null: a rotation of size directions, the grid of DAS",
    )
    sizes: list[int] | None = option(
        None,
        f"{WITH_MAP}coordinates of each variable, several in turn: [1,2,8]; null: as many as there is room for, at "
        "most half of the site",
        at_least=1,
    )  # fmt: skip
    blocks: list[int] = option([10], f"{WITH_MAP}blocks of a revnet, several in turn", at_least=1, at_most=1_000)
    block_width: list[int] = option(
        [16], f"{WITH_MAP}hidden units in a block of a revnet, several in turn", at_least=1, at_most=10_000
    )
    map_learning_rate: float = option(1e-3, f"{WITH_MAP}step size for a map, with training.optimizer", above=0)
    stop_steps: int | None = option(
        1000, f"{WITH_MAP}training ends after so many steps without a lower loss on other pairs; null: after epochs",
        at_least=1,
    )  # fmt: skip
    stop_epochs: int = option(0, f"{WITH_MAP}and only after so many epochs without one", at_least=0)
    stop_improvement: float = option(
        1e-3, f"{WITH_MAP}a loss, the mean losses of batches added, is lower by so much", at_least=0
    )
    stop_pairs: int = option(
        10_000, f"{WITH_MAP}pairs of training examples that the loss is of", at_least=1, at_most=10_000_000
    )
    control_pairs: int | None = option(
        None, f"{WITH_MAP}training pairs for the networks of controls; null: train_pairs", at_least=1,
        at_most=10_000_000,
    )  # fmt: skip
    control_epochs: int | None = option(
        None, f"{WITH_MAP}passes over the training pairs for the networks of controls; null: epochs", at_least=1
    )
    control_learning_rate: float | None = option(
        None, f"{WITH_MAP}step size for the networks of controls; null: map_learning_rate", above=0
    )

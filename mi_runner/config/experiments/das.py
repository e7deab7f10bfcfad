"""The options of `experiment=das`: those of `iit`, with other defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mi_runner.config.experiments.iit import Control, IitConfig, Trained
from mi_runner.config.options import option


def _with_default(name: str, default: Any) -> Any:
    """Returns an option of `IitConfig` with another default."""
    return option(default, **IitConfig.__dataclass_fields__[name].metadata)


@dataclass
class DasConfig(IitConfig):
    """Which sites of a trained network carry which variables along some directions? (DAS)"""

    name: ClassVar[str] = "das"
    place: ClassVar[int] = 60
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
    warmup_steps: int = _with_default("warmup_steps", 0)
    gradient_clip: float | None = _with_default("gradient_clip", None)
    controls: list[Control] = _with_default("controls", [])

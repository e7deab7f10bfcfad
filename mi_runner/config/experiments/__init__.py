"""The options of each experiment, a file each: `experiment=NAME`, `experiment.OPTION=VALUE`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.options import Choice


@dataclass
class ExperimentConfig(Choice):
    """The attributes of every experiment."""

    takes_seeds: ClassVar[bool] = False
    """Whether it takes many networks at once, `seeds=32`."""
    compares_networks: ClassVar[bool] = False
    """Whether a sweep over the seed ends with a comparison of the networks."""
    part_of: ClassVar[tuple[str, str] | None] = None
    """The option that says which part of the whole a run does, from 1, and the one that says of how many; None: a run
    does the whole. A sweep over all parts ends with the whole."""
    headline: ClassVar[str] = "accuracy"
    """The summary metric that a search maximises."""
    compared: ClassVar[tuple[str, ...]] = ("accuracy",)
    """The measures that the printed table of a sweep has: of the jobs' table `summary`, where they have one."""
    in_a_paper: ClassVar[str] = ""
    """What a run does, as a sentence for a paper. `{option}` is the value of an option of the experiment, and
    `{option|words}` has these words where the value is null; empty: nothing is said."""
    expects: ClassVar[Mapping[str, str]] = {}
    """Bounds on summary metrics that each run must meet, besides those of `expect`; exit status 3 if one is not met."""

    @property
    def trains(self) -> bool:
        """Whether the run trains the network; one that doesn't looks at a network with its first weights."""
        return True

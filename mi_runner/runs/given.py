"""What a program gives to a run in place of a data set and a network that the config names."""

from __future__ import annotations

from dataclasses import dataclass

from mi_runner.datasets import Dataset
from mi_runner.machine.files import tensors_sha256
from mi_runner.models import Built
from mi_runner.models.live import LiveNetwork
from mi_runner.runs.record import GivenRecord

DIGITS = 12
"""Of a digest in the config."""


@dataclass(frozen=True)
class Given:
    """A network and data that are in memory.

    Attributes:
        network: None: the config names one.
        dataset: None: the config names one.
        kind: the class of the data as the program gave them.
    """

    network: LiveNetwork | None = None
    dataset: Dataset | None = None
    kind: str = ""

    @property
    def is_analysed_as_it_is(self) -> bool:
        """Whether there is a network whose weights are given, too."""
        return self.network is not None and self.network.is_module and not self.network.trained

    @property
    def factory(self) -> str:
        """What the config has as `model.factory`: the class of the network, and the digest of given weights."""
        assert self.network is not None
        if not self.network.is_module:
            return f"{self.network.kind} (in memory)"
        weights = (self.network.weights or "unknown")[:DIGITS]
        return f"{self.network.kind} (in memory, {'trained from ' if self.network.trained else ''}weights {weights})"

    @property
    def path(self) -> str:
        """What the config has as `dataset.path`: that the data are in memory, and their digest."""
        assert self.dataset is not None
        return f"(in memory, sha256 {self.dataset.fingerprint[:DIGITS]})"

    def record(self, built: Built) -> GivenRecord | None:
        """Returns what the run's record says; None where nothing is given.

        Args:
            built: the run's network.
        """
        if self.network is None and self.dataset is None:
            return None
        weights = tensors_sha256(built.model.state_dict()) if self.network and self.network.is_module else None
        return GivenRecord(
            model=self.network.kind if self.network else None,
            code=built.code or None if self.network else None,
            weights=weights,
            trained=self.network.trained if self.network else None,
            data=self.kind or None,
            fingerprint=self.dataset.fingerprint if self.dataset else None,
        )


NOTHING = Given()

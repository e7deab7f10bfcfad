"""What is a check of the self-test? A record: its name, what it compares, and a function that does it.

The expected value comes from a second route: by hand, by brute force in plain Python, in closed form, or from a
published count. It never comes from the code that is checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import device as Device


@dataclass(frozen=True)
class Compared:
    """The two values that a check compares.

    Attributes:
        expected: by the second route.
        found: by the method.
        tolerance: how far they may be apart.
    """

    expected: float
    found: float
    tolerance: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the values are near enough; NaN is near nothing."""
        return math.isfinite(self.found) and abs(self.expected - self.found) <= self.tolerance


@dataclass(frozen=True)
class Check:
    """A check of one method.

    Attributes:
        name: what is typed and printed; no two checks of a group have the same.
        sentence: what is compared with what.
        compare: does it.
    """

    name: str
    sentence: str
    compare: Callable[[], Compared]


@dataclass(frozen=True)
class DeviceCheck:
    """A check that a method gives the same on a device as on the CPU.

    Attributes:
        name, sentence: as those of a `Check`.
        compare: does it on a device.
    """

    name: str
    sentence: str
    compare: Callable[[Device], Compared]

"""The values that a measure can have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The values that a measure can have, from `low` to `high` inclusive; None: no end.

    Raises:
        ValueError: there is an upper end but no lower end.
    """

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is None and self.high is not None:
            raise ValueError(f"high={self.high} needs a lower end, low=...: change the measure's sign.")

    def __str__(self) -> str:
        if self.low is None:
            return "any number"
        text = f"at least {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"
        return text.replace("-", "−")

    def __contains__(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


SHARE = Range(0.0, 1.0)


DIFFERENCE_OF_SHARES = Range(-1.0, 1.0)


NOT_NEGATIVE = Range(0.0)


ANY = Range()

"""How long kernels were compiled in this process. `compiled` notes it; whoever asks needs no compiler for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Spent:
    """What compilation took.

    Attributes:
        seconds: how long kernels were compiled; what was read from the cache doesn't count.
        folder: where their code is kept; None: some of it isn't, or nothing was compiled.
    """

    seconds: float = 0.0
    folder: Path | None = None


SPENT = Spent()
"""In this process so far."""


def sentence_since(seconds: float) -> str:
    """Returns a line that says how long kernels were compiled; empty if none was.

    Args:
        seconds: `SPENT.seconds` at the beginning.
    """
    if SPENT.seconds <= seconds:
        return ""
    kept = f"; the next run finds them in {SPENT.folder}" if SPENT.folder is not None else ""
    return f"compiled kernels in {SPENT.seconds - seconds:.1f} s{kept}"

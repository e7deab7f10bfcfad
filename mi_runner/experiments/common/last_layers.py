"""The last layers of a network that are analysed, and what to type where they can't be."""

from __future__ import annotations

from collections.abc import Sequence

from mi_runner.errors import ConfigError

NARROW = "model=mlp model.hidden_sizes=[128,128,3,3,3] experiment.last_layers=3"
"""The published network; its last layers can be analysed with every data set."""


def refused(last_layers: int | None, why: str, remedies: Sequence[str]) -> ConfigError:
    """Returns the error that says why these last layers can't be analysed.

    Args:
        last_layers: as it is typed.
        remedies: what to type instead; if there is nothing, the published network.
    """
    asked = "null" if last_layers is None else last_layers
    return ConfigError(f"experiment.last_layers={asked}: {why} Type {' or '.join(remedies or [NARROW])}.")

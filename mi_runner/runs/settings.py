"""In words of a paper: which networks does a run or sweep have, and which options differ from the defaults?

Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from mi_runner.config import commands
from mi_runner.config.composition import NOT_IN_HASH
from mi_runner.config.figure_options import FIGURE_KEYS
from mi_runner.config.registry import SCHEMAS
from mi_runner.errors import ConfigError
from mi_runner.runs.saved_runs import SEED, Saved, SavedSweep, shown

SEEDS = "seeds"
"""The key that says how many networks a run trains."""

NOT_OF_SETTING = (*NOT_IN_HASH, *SCHEMAS, *FIGURE_KEYS, SEED, SEEDS, "device", "threads")
"""Keys that a setting doesn't repeat: they have a place of their own in it, or change no number."""


def is_of_setting(key: str) -> bool:
    """Returns whether an option belongs to the setting."""
    return key not in NOT_OF_SETTING


def of_seeds(seeds: Iterable[int]) -> str:
    """Returns seeds in words: `seed 3`, `seeds 0, 1`, `seeds 0 to 5`; empty without seeds.

    Example:
        >>> of_seeds([0, 1, 2]), of_seeds([0, 2, 5])
        ('seeds 0 to 2', 'seeds 0, 2, 5')
    """
    found = sorted(set(seeds))
    if len(found) < 2:
        return "".join(f"seed {seed}" for seed in found)
    in_a_row = len(found) > 2 and all(after - before == 1 for before, after in pairwise(found))
    return f"seeds {found[0]} to {found[-1]}" if in_a_row else f"seeds {', '.join(map(str, found))}"


def networks(saved: Saved) -> str:
    """Returns the seeds of a run or sweep in words, with the number of networks where a run trains several."""
    runs = saved.jobs if isinstance(saved, SavedSweep) else [saved]
    firsts = [(run.record.seed, run.config.get(SEEDS)) for run in runs if run.state.has_record]
    seeds = {seed for first, count in firsts if first is not None for seed in range(first, first + (count or 1))}
    n_networks = max((count or 1 for _, count in firsts), default=1)
    said = of_seeds(seeds)
    return f"{n_networks} networks, {said}" if n_networks > 1 and not isinstance(saved, SavedSweep) else said


def differing(configs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Returns key → value of the options that differ from the defaults in any run; different values as `0,1,2`.

    Args:
        configs: of the runs: key → value. One with a choice that is not installed adds nothing.
    """
    keys: dict[str, None] = {}
    known: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for config in configs:
        choices = commands.choices_of(config)
        if tuple(choices) not in known:
            try:
                known[tuple(choices)] = commands.defaults_of(choices)
            except ConfigError:
                known[tuple(choices)] = {}
        usual = known[tuple(choices)]
        own = commands.required(config)
        keys |= dict.fromkeys(
            key
            for key, value in config.items()
            if is_of_setting(key) and (key in own or (key in usual and usual[key] != value))
        )
    return {key: ",".join(dict.fromkeys(shown(config[key]) for config in configs if key in config)) for key in keys}

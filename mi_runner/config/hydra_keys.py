"""Checks which of Hydra's own keys a command has; only keys with an effect in mi-run are allowed.

| key                                       | effect                                                |
|-------------------------------------------|-------------------------------------------------------|
| `hydra/launcher`, `hydra.launcher.OPTION` | where the jobs of a sweep run                         |
| `hydra/sweeper`, `hydra.sweeper.OPTION`   | how the values of a sweep are searched for            |
| `hydra.searchpath`                        | further folders of configs, for runs and sweeps       |

All other keys would have no effect, or Hydra would make folders, logs or sweeps beside those of mi-run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mi_runner.config.explanations import where_option
from mi_runner.config.registry import ENGINES
from mi_runner.errors import ConfigError

SEARCHPATH = "hydra.searchpath"

INSTEAD = (
    (r"run\..*|sweep\..*|output_subdir|job\.chdir", "mi-run makes its folders itself; output_dir=FOLDER says where."),
    (r"mode", "-m makes a command a sweep."),
    (r"job\.env_set.*", "set the variable before the command: NAME=VALUE mi-run ..."),
    (r"verbose|job_logging.*|hydra_logging.*", "a run's log is run.log in its folder."),
)
"""Pattern of a key below `hydra` → what to type instead."""

ALLOWED = ", ".join(
    [*(f"hydra/{group}=NAME, hydra.{group}.OPTION=VALUE" for group in ENGINES), f"{SEARCHPATH}=[FOLDER]"]
)


def of_hydra(override: str) -> bool:
    """Returns whether an override sets one of Hydra's own keys."""
    return re.match(r"hydra\b", _key(override)) is not None


def of_launcher(override: str) -> bool:
    """Returns whether an override names the launcher, or one of its options."""
    return re.match(r"hydra[./]launcher\b", _key(override)) is not None


def check(overrides: Sequence[str], *, has_engines: bool) -> None:
    """Checks that each override of one of Hydra's own keys has an effect.

    Args:
        overrides: all overrides of a command line.
        has_engines: whether launcher and sweeper have an effect: in a sweep, or if the config is only printed.

    Raises:
        ConfigError: an override has no effect; the text says what to type instead.
    """
    resumes = any(_key(override) == "resume" for override in overrides)
    chosen = {_key(override): override.partition("=")[2] for override in overrides}
    for override in overrides:
        key = _key(override)
        if not of_hydra(override):
            continue
        engine = re.fullmatch(rf"hydra(?:/({'|'.join(ENGINES)})|\.({'|'.join(ENGINES)})\.\w+)", key)
        if engine is None and key != SEARCHPATH:
            raise ConfigError(f"{override}: has no effect here{_instead(key)}")
        if not override.lstrip().startswith(key):
            raise ConfigError(f"{override}: Hydra's own keys can't be added or removed; write {key}=VALUE.")
        if engine is None:
            continue
        group = engine[1] or engine[2]
        if not has_engines:
            raise ConfigError(f"{override}: only a sweep has a {group}. Add -m, or leave it out.")
        if engine[2] == "launcher" and resumes and "hydra/launcher" not in chosen:
            continue  # the launcher is that of the sweep which is resumed
        if engine[2] and chosen.get(f"hydra/{group}", "basic") == "basic":
            option = key.rpartition(".")[2]
            raise ConfigError(f"{override}: {where_option(f'hydra/{group}', ENGINES[group], option)}")


def _key(override: str) -> str:
    return override.strip().lstrip("+~").partition("=")[0]


def _instead(key: str) -> str:
    for pattern, text in INSTEAD:
        if re.fullmatch(rf"hydra[./](?:{pattern})", key):
            return f": {text}"
    return f". Of Hydra's own keys mi-run takes {ALLOWED}."

"""The folder that keeps files between runs: trained models, unpacked data sets, compiled kernels."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """Returns the folder in the environment variable MI_RUN_CACHE, or the user's cache folder for mi-run."""
    named = os.environ.get("MI_RUN_CACHE")
    return Path(named).expanduser() if named else user_cache_path("mi-run", appauthor=False)

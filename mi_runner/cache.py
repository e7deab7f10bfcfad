"""Where things are kept between runs: trained models, unpacked data sets, compiled kernels."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """The user's cache folder for mi-run; the environment variable MI_RUN_CACHE names another."""
    named = os.environ.get("MI_RUN_CACHE")
    return Path(named).expanduser() if named else user_cache_path("mi-run", appauthor=False)

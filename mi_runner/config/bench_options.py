"""The options of `mi-run bench`: `bench.OPTION=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mi_runner.config.options import option

OF_RUNS = ("threads", "device", "report", "figures", "output_dir")
"""Keys that the runs of a bench take, besides `experiment.OPTION`."""

BENCH_KEYS = (*OF_RUNS, "on_error", "resume", "adopt", "plan", "sweep")
"""The top-level keys that `mi-run bench` takes."""


class Part(Enum):
    """Which networks of the list."""

    all = "all"
    small = "small"
    trained = "trained"
    planted = "planted"


@dataclass
class BenchConfig:
    """On which networks methods are judged."""

    networks: str = option("bench-1", "the list of networks; its name has its version")
    part: Part = option(
        Part.all, "all; small: a few settings, in minutes; trained or planted: the families of this kind"
    )
    families: list[str] | None = option(None, "names of families, as in leaderboard.csv; null: all of the part")
    seeds: int | None = option(
        None,
        "seeds of each setting, from 0; null: as many as the list has, of the small part 2",
        at_least=1,
        at_most=1_000,
    )

"""Which methods find the best circuits of many networks? Made when a sweep over the seed ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mi_runner.errors import ConfigError
from mi_runner.experiments import Comparison, SavedRun
from mi_runner.experiments.common import sentences
from mi_runner.experiments.common.sentences import figure
from mi_runner.experiments.discovery.answers import tested_columns
from mi_runner.experiments.discovery.tables import OVER_NETWORKS
from mi_runner.tables.pairwise import Compared, compare_all

if TYPE_CHECKING:
    from pandas import DataFrame

NAMES = ["method", "ablation", "output"]
MEANS = ("mse", "regret_mse", "percentile")


def compare_networks(runs: Sequence[SavedRun], *, over: str = "seed", are_sample: bool = True) -> Comparison:
    """Returns each method's means over networks, and which methods a paired test over the networks tells apart.

    The units of the test are the networks: of each the mean mse over sizes and draws, whose differences are those of
    the mean regrets.

    Args:
        runs: of `experiment=discovery`, with the same options and another seed each.
        over: the key in which they differ.
        are_sample: whether the networks are drawn, as by seeds. Only then is there a test.

    Raises:
        ConfigError: a run has no table of its methods.
    """
    import pandas as pd

    if not are_sample:
        return Comparison([], notes=[f"a test over networks needs a sample of them, and {over} names single ones"])
    frames = []
    for run in runs:
        frame = run.table("summary", [*NAMES, *MEANS])
        if frame is None:
            raise ConfigError(f"{run.name} has no summary.csv. Run it again.")
        frames.append(frame.assign(seed=run.seed))
    everything = pd.concat(frames, ignore_index=True)
    rows: list[dict[str, Any]] = []
    texts = []
    for (output, ablation), group in everything.groupby(["output", "ablation"], sort=False):
        methods = list(dict.fromkeys(group["method"]))
        by_seed = {name: group.pivot(index="seed", columns="method", values=name)[methods] for name in MEANS}
        known = by_seed["mse"].dropna()
        if not len(known):
            continue
        compared = compare_all(known.T.to_numpy().tolist())
        own = [
            {
                "method": method,
                "ablation": ablation,
                "output": output,
                "n_networks": len(known),
                **{name: _mean(by_seed[name][method].loc[known.index]) for name in MEANS},
            }
            for method in methods
        ]
        columns = tested_columns(compared)
        rows += [{**row, **tested} for row, tested in zip(own, columns, strict=True)]
        if output == everything["output"].iloc[0]:
            texts.append(f"With {ablation} ablation {_of_ablation(own, compared)}.")
    if not rows:
        return Comparison([])
    n_networks, n_methods = rows[0]["n_networks"], len(set(everything["method"]))
    texts.append(sentences.of_the_test(n_networks, "network", n_methods).strip())
    return Comparison([OVER_NETWORKS.filled(rows)], answer=" ".join(filter(None, texts)))


def _mean(values: DataFrame) -> float | None:
    """Returns the mean over the networks; None if one has no value, so that all means are over the same."""
    return None if values.isna().any() else float(values.mean())


def _of_ablation(rows: Sequence[dict[str, Any]], compared: Compared) -> str:
    measure, what = "regret_mse", "mean regret"
    if any(row[measure] is None for row in rows):
        measure, what = "mse", "mean mse to the full network"
    shown = [row[measure] for row in rows]
    if len(rows) == 1:
        return f"the {what} of {rows[0]['method']} is {figure(shown[0])}"
    return sentences.ends(compared, [row["method"] for row in rows], what, shown)

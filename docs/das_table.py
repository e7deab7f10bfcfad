"""Prints the tables of docs/das.md from a sweep over networks: `python docs/das_table.py outputs/sweeps/das/v001`.

A network that learned nothing in its ordinary training is left out, and counted: no variable can be found in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from mi_runner.tables.intervals import Spread
from mi_runner.tables.ranges import SHARE

LEARNED = 0.7
"""Task accuracy from which a network counts as one that learned; one that answers alike has about 0.5."""

INDEPENDENT = {
    ("circularity", "conv1"): "0.885",
    ("circularity", "conv2"): "0.886",
    ("circularity", "conv3"): "0.860",
    ("area", "conv1"): "0.930",
    ("area", "conv2"): "0.901 ± 0.012",
    ("area", "conv3"): "0.861",
    ("circularity+area", "conv1"): "0.908",
    ("circularity+area", "conv2"): "0.891 ± 0.028",
    ("circularity+area", "conv3"): "0.855",
}
"""IIA of an independent program: the mean of three networks, ± their standard deviation where it is known."""


def tables(sweep: pd.DataFrame) -> list[str]:
    """Markdown: how many networks there are, the grid, and the rows beside the independent figures.

    Args:
        sweep: `sweep.csv` of a sweep over `seed`; several starts of a network count as their mean.
    """
    after = sweep.query("phase == 'after' and control == 'none' and subset == 'all' and sources == 'single'")
    cell = ["variables", "trained_site"]
    networks = after.groupby(["seed", *cell], sort=False)[["iia", "floor", "task_accuracy"]].mean().reset_index()
    tasks = networks.groupby("seed", sort=False)["task_accuracy"].first()
    learned = networks[networks["seed"].isin(tasks.index[tasks >= LEARNED])]
    if learned.empty:
        raise ValueError(f"none of {len(tasks)} networks has a task accuracy of {LEARNED} or more")
    task = _interval(tasks[tasks >= LEARNED])
    lines = [f"{(tasks >= LEARNED).sum()} of {len(tasks)} networks learned the task; their task accuracy is {task}."]
    iia = learned.groupby(cell, sort=False)["iia"].agg(_interval).unstack(sort=False)
    floor = learned.groupby("variables", sort=False)["floor"].mean()
    lines += ["", f"| variables | {' | '.join(iia.columns)} | floor |", "|---" * (len(iia.columns) + 2) + "|"]
    lines += [
        f"| {name.replace('+', ', ')} | {' | '.join(row)} | {floor[name]:.3f} |"
        for name, row in zip(iia.index, iia.to_numpy(), strict=True)
    ]
    present = {key: value for key, value in INDEPENDENT.items() if key[1] in iia.columns and key[0] in iia.index}
    lines += ["", "| variables | site | independent | ours |", "|---|---|---|---|"]
    lines += [
        f"| {name.replace('+', ', ')} | {site} | {independent} | {iia.loc[name, site]} |"
        for (name, site), independent in present.items()
    ]
    return lines


def _interval(values: pd.Series) -> str:
    """The mean over networks with its 95 % interval, from two networks on."""
    spread = Spread.of(values.tolist(), SHARE)
    return f"{spread.mean:.3f}" if spread.low is None else f"{spread.mean:.3f} [{spread.low:.3f}, {spread.high:.3f}]"


if __name__ == "__main__":
    print("\n".join(tables(pd.read_csv(Path(sys.argv[1]) / "sweep.csv"))))

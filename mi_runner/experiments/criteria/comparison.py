"""Which criteria agree, and how many circuits survive all of them, over many networks? Made when a sweep ends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from mi_runner.errors import ConfigError
from mi_runner.experiments import Comparison, SavedRun
from mi_runner.experiments.common.sentences import counted, listed
from mi_runner.experiments.criteria import figures
from mi_runner.experiments.criteria.tables import ALL_TOGETHER, OVER_NETWORKS, TAU_OVER_NETWORKS
from mi_runner.methods.criteria.records import PARSIMONY
from mi_runner.tables.declaration import Row
from mi_runner.tables.intervals import Spread
from mi_runner.tables.ranges import DIFFERENCE_OF_SHARES

if TYPE_CHECKING:
    from pandas import DataFrame

OF_CASE = ["ablation", "output"]

AGREE, SEPARATE = 0.5, 0.1
"""Two criteria agree where the interval of their mean τ lies above the first, and separate where it lies below the
second."""


def compare_networks(runs: Sequence[SavedRun], *, over: str = "seed", are_sample: bool = True) -> Comparison:
    """Returns how many circuits of each network survive all criteria, and the mean τ of each two criteria.

    Networks without a valid circuit are left out of the means, and those of which a sample of the valid circuits was
    judged out of how many survive; notes say how many they are.

    Args:
        runs: of `experiment=criteria`, with the same options.
        over: what tells the networks apart.
        are_sample: whether they are a sample of one setting; otherwise means have no interval.

    Raises:
        ConfigError: a run has no table of its criteria.
    """
    import pandas as pd

    metrics, pairs = [], []
    for run in runs:
        of_run = run.table("metrics", [*OF_CASE, "criterion", "n_valid", "n_judged", "n_survivors"])
        if of_run is None:
            raise ConfigError(f"{run.name} has no metrics.csv. Run it again.")
        metrics.append(of_run[of_run["criterion"] == ALL_TOGETHER])
        if (of_pairs := run.table("pairs", [*OF_CASE, "criterion", "other", "tau"])) is not None:
            pairs.append(of_pairs)
    counts = list(_counts(pd.concat(metrics, ignore_index=True)))
    taus = list(_taus(pd.concat(pairs, ignore_index=True), are_sample=are_sample)) if pairs else []
    drawn = {}
    for row in counts:
        own = [tau for tau in taus if all(tau[key] == row[key] for key in OF_CASE)]
        if (drawing := figures.taus(own)) is not None:
            drawn[f"tau_{row['output']}_{row['ablation']}"] = drawing
    tables = [OVER_NETWORKS.filled(counts), *([TAU_OVER_NETWORKS.filled(taus)] if taus else [])]
    first = [row for row in counts if row["output"] == counts[0]["output"]]
    answer = " ".join(_sentence(row, taus) for row in first if row["n_networks"])
    return Comparison(tables, drawn, answer, list(_without(first, len(runs))))


def _counts(rows: DataFrame) -> Iterator[dict[str, Any]]:
    """Yields for each ablation and output how many circuits are valid, and survive all criteria.

    Args:
        rows: those of all criteria together, of all networks.
    """
    for (ablation, output), group in rows.groupby(OF_CASE, sort=False):
        there = group[group["n_valid"] > 0]
        whole = there[there["n_judged"] >= there["n_valid"]]
        known = whole.dropna(subset="n_survivors")
        yield {
            "ablation": ablation,
            "output": output,
            "n_networks": len(there),
            **_range("n_valid", there["n_valid"].tolist()),
            "n_whole": len(whole),
            **_range("n_surviving", known["n_survivors"].tolist()),
            "n_one": int((known["n_survivors"] == 1).sum()) if len(known) else None,
            "n_none": int((known["n_survivors"] == 0).sum()) if len(known) else None,
        }


def _range(name: str, values: Sequence[float]) -> dict[str, float | None]:
    found = (min(values), median(values), max(values)) if values else (None, None, None)
    return {f"{name}_{end}": number for end, number in zip(("least", "median", "most"), found, strict=True)}


def _taus(rows: DataFrame, *, are_sample: bool) -> Iterator[dict[str, Any]]:
    """Yields for each two criteria the mean of τ over the networks in which neither is constant."""
    for (ablation, output, one, other), group in rows.groupby([*OF_CASE, "criterion", "other"], sort=False):
        known = group["tau"].dropna().tolist()
        spread = Spread.of(known, DIFFERENCE_OF_SHARES) if known else None
        yield {
            "ablation": ablation,
            "output": output,
            "criterion": one,
            "other": other,
            "n_networks": len(known),
            "tau": None if spread is None else spread.mean,
            "tau_low": spread.low if spread is not None and are_sample else None,
            "tau_high": spread.high if spread is not None and are_sample else None,
            "n_above": sum(tau > 0 for tau in known) if known else None,
        }


def _without(rows: Sequence[Row], n_runs: int) -> Iterator[str]:
    """Yields how many networks have no valid circuit, or only a sample judged, for each ablation with such networks."""
    for row in rows:
        if n := n_runs - row["n_networks"]:
            have = "has" if n == 1 else "have"
            yield f"{n} of {counted(n_runs, 'network')} {have} no valid circuit with {row['ablation']} ablation"
        if n := row["n_networks"] - row["n_whole"]:
            yield (
                f"of {n} of {counted(n_runs, 'network')} a sample of the valid circuits was judged with "
                f"{row['ablation']} ablation, so how many of all survive is not known; experiment.max_circuits is the "
                "most that are judged"
            )


def _sentence(row: Row, taus: Sequence[Row]) -> str:
    """Returns how many circuits survive all criteria with an ablation, and which criteria agree and separate."""
    n = row["n_networks"]
    text = (
        f"With {row['ablation']} ablation {counted(n, 'network')} {'has' if n == 1 else 'have'} "
        f"{_between(row, 'n_valid')} valid circuits"
    )
    if row["n_surviving_median"] is not None:
        whole, them = row["n_whole"], "the networks"
        if whole == n:
            text += f", of which {_between(row, 'n_surviving')} survive all criteria"
        else:
            them = "these"
            text += (
                f"; in the {whole} of them whose valid circuits are all judged {_between(row, 'n_surviving')} survive"
            )
            text += " all criteria"
        text += f"; in {row['n_one']} of {them} it is one circuit" if row["n_one"] else ""
    text += "."
    of_case = [tau for tau in taus if all(tau[key] == row[key] for key in OF_CASE) and tau["other"] != PARSIMONY]
    own = [tau for tau in of_case if _is_number(tau["tau_low"])]
    agree = [_pair(tau) for tau in own if tau["tau_low"] > AGREE]
    separate = [_pair(tau) for tau in own if tau["tau_high"] < SEPARATE]
    if agree:
        text += f" The mean τ is above {AGREE:g} for {listed(agree)}."
    if separate:
        text += f" It is below {SEPARATE:g} for {listed(separate)}."
    return text


def _between(row: Row, name: str) -> str:
    least, middle, most = (row[f"{name}_{end}"] for end in ("least", "median", "most"))
    half = f"{middle:,.0f}" if middle == round(middle) else f"{middle:,.1f}"
    return f"{least:,.0f} to {most:,.0f} (median {half})" if least < most else f"{least:,.0f}"


def _pair(row: Row) -> str:
    return f"{row['criterion']}–{row['other']}"


def _is_number(value: float | None) -> bool:
    return value is not None and not math.isnan(value)

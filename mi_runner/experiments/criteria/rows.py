"""Rows of the tables of criteria, of one output with one ablation.

Letters: K circuits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_runner.experiments.criteria.judged import MOST_RESAMPLED, Judged, Population
from mi_runner.experiments.criteria.tables import ALL_TOGETHER
from mi_runner.methods.criteria.comparison import (
    SAME,
    AgainstChance,
    Pair,
    front,
    is_picked_alone,
    passes_more_often,
    place_of,
    tau_intervals,
    tau_matrix,
)
from mi_runner.tables.intervals import wilson_interval
from mi_runner.tables.names import ALL

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_LISTED = 10
"""Best circuits of a criterion in best.csv."""

Row = dict[str, Any]


def smallest(values: Mapping[str, np.ndarray], criteria: Sequence[str]) -> np.ndarray:
    """Returns the smallest of criteria of each circuit `(K,)`; NaN where one of them is empty, or there is none."""
    n = len(next(iter(values.values())))
    return np.min([values[name] for name in criteria], axis=0) if criteria else np.full(n, np.nan)


def with_all(judged: Judged, population: Population) -> dict[str, np.ndarray]:
    """Returns the criteria of a population, and `all`: the smallest of those that a circuit must survive."""
    return {**population.values, ALL_TOGETHER: smallest(population.values, judged.counted)}


def survive(
    judged: Judged, population: Population | None, *, but_of: Sequence[int] = ()
) -> dict[str, tuple[int, int] | None]:
    """Returns how many circuits of a population survive each criterion, and all, and of how many; None: empty.

    Args:
        but_of: numbers of edges whose circuits are left out.
    """
    if population is None:
        return {}
    found: dict[str, tuple[int, int] | None] = {}
    stays = ~np.isin(np.bitwise_count(population.circuits), but_of)
    for name, values in with_all(judged, population).items():
        is_empty = not stays.any() or bool(np.isnan(values).all())
        survives = values >= population.threshold - SAME
        found[name] = None if is_empty else (int(survives[stays].sum()), int(stays.sum()))
    return found


# --- metrics ---------------------------------------------------------------------------------------------------------


Against = Mapping[str, AgainstChance | None]
"""Criterion → how the valid circuits that survive it compare with the circuits of a control."""


def metrics_rows(judged: Judged, *, has_truth: bool) -> tuple[list[Row], dict[str, Against]]:
    """Returns a row for each criterion, one for all together, and for each control how each compares with it.

    Args:
        has_truth: whether a circuit is known as the truth, of any output.
    """
    valid, found = judged.valid, judged.valid.survivors
    own, by_chance, untrained = (survive(judged, one) for one in (valid, judged.chance, judged.untrained))
    compared: dict[str, Against] = {
        name: passes_more_often(compared_with, of_control, is_sample=valid.is_sample)
        for name, compared_with, of_control in (
            ("chance", survive(judged, valid, but_of=judged.not_drawn), by_chance),
            ("untrained", own, untrained),
        )
    }
    rows = []
    for name, values in with_all(judged, valid).items():
        n_pass = own[name]
        row = {**judged.keys, "criterion": name, **_spread(values)}
        row |= {
            "n_survivors": None if n_pass is None else n_pass[0],
            "share": _share(n_pass),
            "n_with_all": found.of_all if name == ALL_TOGETHER else found.with_all[name],
            "n_others": found.without.get(name),
            "n_best": None if n_pass is None or valid.is_sample else int(are_best(values).sum()),
        }
        if valid.is_sample:
            row |= _interval("share", n_pass)
        if judged.controlled:
            row |= _control_columns(compared["chance"][name], by_chance.get(name), untrained.get(name))
        if has_truth:
            row |= _truth_columns(judged, name)
        row |= {"n_valid": valid.n_all, "n_judged": len(valid.circuits)}
        if judged.controlled:
            row |= {"n_chance": _n(judged.chance), "n_untrained": _n(judged.untrained)}
        rows.append({**row, "threshold": valid.threshold, "valid_by": judged.valid_by})
    return rows, compared


def _spread(values: np.ndarray) -> Row:
    there = values[~np.isnan(values)]
    if not len(there):
        return {"mean": None, "least": None, "greatest": None}
    return {"mean": float(there.mean()), "least": float(there.min()), "greatest": float(there.max())}


def _share(counts: tuple[int, int] | None) -> float | None:
    return None if counts is None else counts[0] / counts[1]


def _interval(name: str, counts: tuple[int, int] | None) -> Row:
    low, high = (None, None) if counts is None else wilson_interval(*counts)
    return {f"{name}_low": low, f"{name}_high": high}


def _n(population: Population | None) -> int | None:
    return None if population is None else len(population.circuits)


def _control_columns(
    against: AgainstChance | None, by_chance: tuple[int, int] | None, untrained: tuple[int, int] | None
) -> Row:
    return {
        "chance": _share(by_chance),
        **_interval("chance", by_chance),
        "p": None if against is None else against.p,
        "tells": None if against is None else "yes" if against.says_something else "no",
        "untrained": _share(untrained),
    }


def _truth_columns(judged: Judged, criterion: str) -> Row:
    """Returns the place of the truth in a criterion among the valid circuits, and whether it picks the truth alone.

    Where a sample of the valid circuits is judged, both are empty. But a judged circuit that is as good as the truth
    shows that it isn't picked alone.
    """
    if judged.truth is None:
        return {"truth": None, "picks_truth": None}
    own = judged.truth.values
    value = smallest(own, judged.counted)[0] if criterion == ALL_TOGETHER else own[criterion][0]
    others = with_all(judged, judged.valid)[criterion][judged.valid.circuits != judged.truth.circuits[0]]
    values = np.append(others, value)
    picks = is_picked_alone(values, len(others))
    if len(values) < judged.valid.n_all:
        return {"truth": None, "picks_truth": False if picks is False else None}
    return {"truth": place_of(values, len(others)), "picks_truth": picks}


def are_best(values: np.ndarray) -> np.ndarray:
    """Returns which circuits have the largest value of a criterion `(K,)`; none where it is empty."""
    if not len(values) or np.isnan(values).all():
        return np.zeros(len(values), dtype=bool)
    return np.asarray(values >= np.nanmax(values) - SAME)


# --- pairs and steps -------------------------------------------------------------------------------------------------


def pair_rows(judged: Judged, resamples: int, draw: np.random.Generator, seed: int) -> list[Row]:
    """Returns a row for each two criteria that aren't empty.

    Args:
        resamples: of the examples, for the interval of τ; 0: none.
        draw: chooses the circuits whose criteria are computed on each resample, if they are many.
        seed: of the resamples.
    """
    valid = judged.valid
    there = [name for name in judged.criteria if valid.surviving(name) is not None]
    if not there:
        return []
    values = {name: valid.values[name] for name in there}
    taus = tau_matrix(values)
    intervals: dict[Pair, tuple[float, float] | None] = {}
    if resamples and len(there) > 1:
        rows = np.arange(len(valid.circuits))
        if len(rows) > MOST_RESAMPLED:
            rows = np.sort(draw.choice(rows, MOST_RESAMPLED, replace=False))
        resampled = valid.criteria.resampled(rows, resamples, seed=seed)
        intervals = tau_intervals({name: resampled[name] for name in there if name in resampled}, taus)
    found = []
    for pair in itertools.combinations(there, 2):
        low, high = intervals.get(pair) or (None, None)
        row = {
            **judged.keys,
            "criterion": pair[0],
            "other": pair[1],
            "n_both": valid.survivors.pairs[pair],
            "overlap": valid.survivors.overlaps[pair],
            "tau": taus[pair],
        }
        found.append(row | ({"tau_low": low, "tau_high": high} if resamples else {}))
    return found


def step_rows(judged: Judged) -> Iterator[Row]:
    """Yields how many circuits survive the first criterion, the first two, and so on, of each population."""
    if not len(judged.valid.circuits):
        return
    populations = {"chance": judged.chance, "untrained": judged.untrained}
    steps = {
        name: None if population is None else population.surviving_steps(judged.counted)
        for name, population in populations.items()
    }
    for place, (name, count) in enumerate(judged.valid.survivors.cumulative.items()):
        row: Row = {
            **judged.keys,
            "step": place + 1,
            "criterion": name,
            "n_survivors": count,
            "share": count / len(judged.valid.circuits),
        }
        if judged.controlled:
            row |= {control: None if of is None else _share(of[place]) for control, of in steps.items()}
        yield row


# --- circuits --------------------------------------------------------------------------------------------------------


def front_of(judged: Judged) -> np.ndarray | None:
    """Returns which valid circuits no other one beats, `(K,)` bool; None where not all are judged."""
    valid = judged.valid
    if valid.is_sample:
        return None
    return front(valid.values) if len(valid.circuits) else np.zeros(0, dtype=bool)


def circuit_table(judged: Judged, in_front: np.ndarray | None) -> DataFrame:
    """Returns a row for each valid circuit that is judged."""
    import pandas as pd

    valid, n = judged.valid, len(judged.valid.circuits)
    return pd.DataFrame(
        {
            **{name: pd.Categorical.from_codes([0] * n, categories=[value]) for name, value in judged.keys.items()},
            "circuit": valid.circuits,
            "n_edges": np.bitwise_count(valid.circuits).astype(np.int32),
            "n_nodes": judged.search.space.n_active(valid.circuits).astype(np.int32),
            **valid.values,
            "survives": valid.survivors.are_survivors,
            "front": None if in_front is None else in_front,
        }
    )


def edge_texts(judged: Judged) -> list[str]:
    """Returns a text for each edge, layer:source→target; ends have their names where they have some."""
    part, found = judged.part, []
    for layer, source, target in zip(*(column.tolist() for column in judged.search.space.edges.names), strict=True):
        ends = part.name(layer, source), part.name(layer + 1, target)
        names = (str(number) if name is None else name for number, name in zip((source, target), ends, strict=True))
        found.append(f"{layer}:{'→'.join(names)}")
    return found


def front_rows(judged: Judged, table: DataFrame, in_front: np.ndarray | None) -> list[Row]:
    """Returns a row for each circuit of the front, those with the fewest edges first."""
    if in_front is None:
        return []
    texts, rows = edge_texts(judged), []
    shown = table[in_front].sort_values(["n_edges", "circuit"]).drop(columns="front")
    for row in shown.to_dict("records"):
        kept = [text for place, text in enumerate(texts) if int(row["circuit"]) >> place & 1]
        rows.append({**_plain(row), **judged.keys, "edges": " ".join(kept)})
    return rows


def best_rows(judged: Judged, table: DataFrame) -> Iterator[Row]:
    """Yields the best circuits of each criterion, and the mean over all that are as good."""
    numbers = [*judged.criteria, "survives"]
    for name, values in with_all(judged, judged.valid).items():
        best = table[are_best(values)].sort_values(["n_edges", "circuit"])
        if not len(best):
            continue
        keys = {**judged.keys, "criterion": name}
        means = best[["n_edges", "n_nodes", *numbers]].astype(float).mean()
        mean: Row = {"circuit": ALL, **means.to_dict()}
        yield {**keys, "place": ALL, **_plain(mean), "n_best": len(best)}
        for place, row in enumerate(best.head(MOST_LISTED)[["circuit", *means.index]].to_dict("records"), 1):
            of_row = _plain(row) | {"survives": None if row["survives"] is None else float(row["survives"])}
            yield {**keys, "place": place, **of_row, "n_best": len(best)}


def _plain(row: Mapping[str, Any]) -> Row:
    """Returns a row with an empty cell for NaN."""
    return {str(name): None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}

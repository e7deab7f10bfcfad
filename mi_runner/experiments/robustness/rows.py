"""Rows of the tables of robustness, of one output with one ablation.

Letters: K circuits, R sizes of boxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_runner import chance
from mi_runner.config.experiments.robustness import RobustnessConfig
from mi_runner.experiments import Setting
from mi_runner.experiments.common.valid_circuits import UNTRAINED
from mi_runner.experiments.robustness.decided import RANDOM, Decided, InRegion, Population
from mi_runner.methods.circuits.minimality import LEVELS, minimality
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.criteria.comparison import AgainstChance, passes_more_often
from mi_runner.methods.robustness.certify import STATUS
from mi_runner.methods.robustness.difference import largest_differences
from mi_runner.tables.intervals import wilson_interval

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_MINIMAL = 200
"""Subset-minimal circuits of an output with an ablation in difference.csv, the smallest ones."""

SUBSET, CARDINAL = LEVELS.index("subset"), LEVELS.index("cardinal")

Row = dict[str, Any]

Against = Mapping[str, AgainstChance | None]
"""Region → how the valid circuits that are certified there compare with random ones."""


# --- metrics ---------------------------------------------------------------------------------------------------------


def compared_with_random(decided: Decided) -> Against:
    """Returns whether valid circuits are certified more often than random ones, region by region.

    Random circuits of some sizes may be missing; then they are compared with the valid circuits of the other sizes.
    """
    random = decided.controls.get(RANDOM)
    stays = ~np.isin(decided.valid.n_edges, decided.not_drawn)
    own = {known.region: (int(known.is_certified[stays].sum()), int(stays.sum())) for known in decided.valid.regions}
    others = {} if random is None else {known.region: _certified(known) for known in random.regions}
    return passes_more_often(own, others, is_sample=decided.valid.is_sample)


def _certified(known: InRegion) -> tuple[int, int]:
    """Returns how many circuits are certified, and of how many."""
    return int(known.is_certified.sum()), len(known.is_certified)


def metrics_rows(decided: Decided, against: Against) -> Iterator[Row]:
    """Yields a row for each region.

    Args:
        against: see `compared_with_random`.
    """
    valid, search = decided.valid, decided.search
    controls = {name: {known.region: known for known in of.regions} for name, of in decided.controls.items()}
    for known in valid.regions:
        row: Row = {**decided.keys, **_region(known), "n_valid": valid.n_all, "n_decided": len(valid.circuits)}
        row |= {"n_examples": known.n_examples, **_counts(known)}
        if valid.is_sample:
            row |= _interval("share_certified", _certified(known))
        row |= {
            "fewest_valid": search.fewest_edges,
            "fewest_certified": fewest(valid, known.is_certified),
            "fewest_possible": search.fewest_edges if valid.is_sample else fewest(valid, ~known.is_refuted),
            "n_changed": known.n_changed,
        }
        if decided.controlled:
            random = controls.get(RANDOM, {}).get(known.region)
            untrained = controls.get(UNTRAINED, {}).get(known.region)
            found = against[known.region]
            row |= {
                "share_random": None if random is None else _share(*_certified(random)),
                **_interval("share_random", None if random is None else _certified(random)),
                "p": None if found is None else found.p,
                "share_untrained": None if untrained is None else _share(*_certified(untrained)),
            }
        yield {**row, "valid_by": decided.valid_by}


def control_rows(decided: Decided) -> Iterator[Row]:
    """Yields a row for each control and region."""
    for name, population in decided.controls.items():
        for known in population.regions:
            yield {
                "control": name,
                **decided.keys,
                **_region(known),
                "n_decided": len(population.circuits),
                "n_examples": known.n_examples,
                **_counts(known),
                "fewest_certified": fewest(population, known.is_certified),
                "n_changed": known.n_changed,
            }


def fewest(population: Population, those: np.ndarray) -> int | None:
    """Returns the kept edges of the smallest of some circuits, `(K,)` bool; None if there is none."""
    return int(population.n_edges[those].min()) if those.any() else None


def _region(known: InRegion) -> Row:
    return {"region": known.region, "epsilon": known.epsilon}


def _counts(known: InRegion) -> Row:
    n = len(known.is_certified)
    return {
        "n_certified": int(known.is_certified.sum()),
        "n_refuted": int(known.is_refuted.sum()),
        "n_undecided": int(known.is_undecided.sum()),
        "share_certified": _share(int(known.is_certified.sum()), n),
        "share_proved": _share(int(known.n_proved.sum()), n * known.n_examples),
    }


def _share(some: int, n: int) -> float | None:
    return some / n if n else None


def _interval(name: str, counts: tuple[int, int] | None) -> Row:
    low, high = (None, None) if counts is None or not counts[1] else wilson_interval(*counts)
    return {f"{name}_low": low, f"{name}_high": high}


# --- circuits --------------------------------------------------------------------------------------------------------


def circuit_table(decided: Decided) -> DataFrame:
    """Returns a row for each valid circuit that is decided and each size of boxes, those of a circuit together."""
    import pandas as pd

    valid, search, boxes = decided.valid, decided.search, decided.valid.boxes
    n, n_sizes = len(valid.circuits), len(boxes.epsilons)
    right = search.right[np.searchsorted(search.listed.circuit, valid.circuits)]
    of_circuit = {
        "circuit": valid.circuits,
        "n_edges": valid.n_edges.astype(np.int32),
        "n_nodes": search.space.n_active(valid.circuits).astype(np.int32),
        "accuracy": right / len(decided.compared.x),
        "n_agreeing": boxes.n_agreeing.astype(np.int32),
        "largest_epsilon": boxes.largest,
    }
    if valid.hull is not None:
        (hull,) = (known for known in valid.regions if known.epsilon is None)
        status = np.where(hull.is_certified, 1, np.where(hull.is_refuted, 2, 0))
        of_circuit["hull"] = pd.Categorical.from_codes(status, categories=list(STATUS))
    columns: Row = {
        name: pd.Categorical.from_codes([0] * (n * n_sizes), categories=[value]) for name, value in decided.keys.items()
    }
    columns |= {name: values.repeat(n_sizes) for name, values in of_circuit.items()}
    columns["epsilon"] = np.tile(boxes.epsilons, n)
    for name, values in (("proved", boxes.n_proved), ("refuted", boxes.n_refuted), ("undecided", boxes.n_undecided)):
        columns[f"n_{name}"] = values.T.reshape(-1).astype(np.int32)
    in_boxes = [known for known in valid.regions if known.epsilon]
    levels = np.array([certified_minimality(search.space, valid, known) for known in in_boxes], dtype=object)
    columns["certified_minimality"] = levels.T.reshape(-1)
    return pd.DataFrame(columns)


def certified_minimality(space: CircuitSpace, valid: Population, known: InRegion) -> np.ndarray:
    """Returns how minimal each certified circuit is among certified ones: cardinal, subset or no; `(K,)` of texts.

    It is the highest level that is proved, whatever the undecided circuits are. None: the circuit isn't certified, or
    nothing is known, because only an undecided circuit is within it, or not all valid circuits are decided.
    """
    levels = np.full(len(valid.circuits), None, dtype=object)
    if valid.is_sample or not known.is_certified.any():
        return levels
    certified = valid.circuits[known.is_certified]
    among_certified = minimality(space, certified)
    among_possible = minimality(space, valid.circuits[~known.is_refuted], certified)
    found = np.full(len(certified), None, dtype=object)
    found[among_certified < SUBSET] = "no"
    found[among_possible >= SUBSET] = "subset"
    found[among_possible == CARDINAL] = "cardinal"
    levels[known.is_certified] = found
    return levels


# --- differences -----------------------------------------------------------------------------------------------------


def difference_rows(decided: Decided, setting: Setting[RobustnessConfig]) -> Iterator[Row]:
    """Yields the largest difference of some circuits over the hull, a row for each of their outputs."""
    compared, config = decided.compared, setting.config
    kinds, n_minimal = _chosen(decided, setting)
    circuits = np.array(list(kinds), dtype=np.uint64)
    found = largest_differences(
        compared.part,
        circuits,
        compared.x,
        means=compared.means,
        seconds=config.seconds,
        progress=setting.progress,
    )
    for place, (circuit, kind) in enumerate(kinds.items()):
        for column in range(compared.part.sizes[-1]):
            yield {
                **decided.keys,
                "circuit": circuit,
                "of_output": column if compared.part.sizes[-1] > 1 or decided.output == "all" else decided.output,
                "n_edges": circuit.bit_count(),
                "kind": kind,
                "low": float(found.low[place, column]),
                "high": float(found.high[place, column]),
                "n_minimal": n_minimal,
            }


def _chosen(decided: Decided, setting: Setting[RobustnessConfig]) -> tuple[dict[int, str], int | None]:
    """Returns the circuits that differences are computed of with their kinds, and how many are subset-minimal.

    Where not all valid circuits are listed, no circuit is known to be subset-minimal.
    """
    search = decided.search
    valid, n_minimal = search.valid, None
    kinds: dict[int, str] = {}
    if search.lists_every_valid:
        minimal = valid[minimality(search.space, valid) >= SUBSET]
        n_minimal = len(minimal)
        smallest = minimal[np.lexsort((minimal, np.bitwise_count(minimal)))][:MOST_MINIMAL]
        kinds = dict.fromkeys(smallest.tolist(), "minimal")
        valid = valid[~np.isin(valid, minimal)]
    kinds.setdefault(int(search.space.full), "full")
    others = valid[valid != np.uint64(search.space.full)]
    draw = np.random.default_rng(
        chance.derived_seed(setting.seed, "robustness", "differences", decided.output, decided.ablation)
    )
    drawn = draw.choice(others, min(setting.config.differences, len(others)), replace=False)
    for circuit in np.sort(drawn).tolist():
        kinds.setdefault(circuit, "drawn")
    return kinds, n_minimal

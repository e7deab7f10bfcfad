"""Rows of the tables of experiment=robustness.

Letters: K circuits, R values of ε.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_runner.experiments.robustness.decided import Decided, Population
from mi_runner.methods.circuits.edges import among
from mi_runner.methods.circuits.sharing import minimal_members
from mi_runner.methods.criteria.comparison import AgainstChance, passes_more_often
from mi_runner.methods.robustness.certify import Certificates
from mi_runner.tables.intervals import wilson_interval

if TYPE_CHECKING:
    from pandas import DataFrame

HULL, POINT = "hull", "0"


def regions_of(population: Population) -> list[tuple[str, float | None]]:
    """Returns the name and the ε of each region, that of the examples themselves first."""
    boxes = [(f"{epsilon:g}", float(epsilon)) for epsilon in population.boxes.epsilons]
    return [(POINT, 0.0), *boxes, *([(HULL, None)] if population.hull is not None else [])]


def counts_of(population: Population, region: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Returns the numbers of examples proved, refuted and undecided of each circuit `(K,)`, and how many boxes.

    At the examples themselves, proved is an equal answer.
    """
    boxes = population.boxes
    if region == POINT:
        agreeing = boxes.n_agreeing
        return agreeing, boxes.n_examples - agreeing, np.zeros_like(agreeing), boxes.n_examples
    found: Certificates = boxes
    place = 0
    if region == HULL:
        assert population.hull is not None
        found = population.hull
    else:
        place = [f"{epsilon:g}" for epsilon in boxes.epsilons].index(region)
    return found.n_proved[place], found.n_refuted[place], found.n_undecided[place], found.n_examples


def n_changed(population: Population, region: str) -> int:
    """Returns in how many boxes the network's own answer changes."""
    if region == POINT:
        return 0
    if region == HULL:
        assert population.hull is not None
        return int(population.hull.n_changed[0])
    place = [f"{epsilon:g}" for epsilon in population.boxes.epsilons].index(region)
    return int(population.boxes.n_changed[place])


def region_rows(population: Population, ablation: str, output: int | str, n_tests: int) -> Iterator[dict[str, Any]]:
    """Yields a row for each region.

    Args:
        n_tests: test examples, all of which lie in the hull.
    """
    n_edges, n = population.n_edges, len(population.circuits)
    for region, epsilon in regions_of(population):
        proved, refuted, _, n_boxes = counts_of(population, region)
        is_certified, is_refuted = proved == n_boxes, refuted > 0
        n_certified = int(is_certified.sum())
        yield {
            "ablation": ablation,
            "output": output,
            "region": region,
            "epsilon": epsilon,
            "n_judged": n,
            "n_examples": n_tests if region == HULL else n_boxes,
            "n_certified": n_certified,
            "n_refuted": int(is_refuted.sum()),
            "n_undecided": int((~is_certified & ~is_refuted).sum()),
            "share_certified": n_certified / n if n else None,
            "share_proved": float(proved.sum() / (n * n_boxes)) if n else None,
            "share_refuted": float(refuted.sum() / (n * n_boxes)) if n else None,
            "fewest_valid": _fewest(n_edges),
            "fewest_certified": _fewest(n_edges[is_certified]),
            "fewest_possible": _fewest(n_edges[~is_refuted]),
            "n_changed": n_changed(population, region),
        }


def _fewest(n_edges: np.ndarray) -> int | None:
    return int(n_edges.min()) if len(n_edges) else None


def metrics_rows(decided: Decided, *, controls: bool) -> list[dict[str, Any]]:
    """Returns the rows of metrics.csv for an output with an ablation."""
    n_tests = len(decided.x)
    own = list(region_rows(decided.valid, decided.ablation, decided.output, n_tests))
    random = _by_region(decided.random, decided, n_tests)
    untrained = _by_region(decided.untrained, decided, n_tests)
    against = _against(own, random, is_sample=decided.valid.is_sample)
    rows = []
    for row in own:
        keys = {name: row.pop(name) for name in ("ablation", "output", "region", "epsilon")}
        made = {**keys, "n_valid": decided.valid.n_all, **row, "valid_by": decided.valid_by}
        if decided.valid.is_sample:
            ends = wilson_interval(row["n_certified"], row["n_judged"])
            made |= dict(zip(("share_certified_low", "share_certified_high"), ends, strict=True))
        if controls:
            by_chance, of_untrained = random.get(keys["region"]), untrained.get(keys["region"])
            tested = against.get(keys["region"])
            made |= {
                "share_random": by_chance["share_certified"] if by_chance else None,
                "share_random_low": tested.chance_low if tested else None,
                "share_random_high": tested.chance_high if tested else None,
                "share_untrained": of_untrained["share_certified"] if of_untrained else None,
                "tells": None if tested is None else "yes" if tested.says_something else "no",
            }
        rows.append(made)
    return rows


def _by_region(population: Population | None, decided: Decided, n_tests: int) -> dict[str, dict[str, Any]]:
    if population is None:
        return {}
    rows = region_rows(population, decided.ablation, decided.output, n_tests)
    return {row["region"]: row for row in rows}


def _against(
    rows: list[dict[str, Any]], random: dict[str, dict[str, Any]], *, is_sample: bool
) -> dict[str, AgainstChance | None]:
    """Returns for each region whether valid circuits are certified more often than random ones."""
    own: dict[str, tuple[int, int] | None] = {row["region"]: (row["n_certified"], row["n_judged"]) for row in rows}
    by_chance: dict[str, tuple[int, int] | None] = {
        region: (row["n_certified"], row["n_judged"]) for region, row in random.items()
    }
    return passes_more_often(own, by_chance, is_sample=is_sample)


def control_rows(decided: Decided) -> Iterator[dict[str, Any]]:
    """Yields the rows of controls.csv."""
    for name, population in (("random", decided.random), ("untrained", decided.untrained)):
        if population is not None:
            for row in region_rows(population, decided.ablation, decided.output, len(decided.x)):
                yield {"control": name, **row}


def circuit_table(decided: Decided) -> DataFrame:
    """Returns a row for each valid circuit and region."""
    import pandas as pd

    population = decided.valid
    tables = []
    for region, epsilon in regions_of(population):
        proved, refuted, undecided, n_boxes = counts_of(population, region)
        tables.append(
            pd.DataFrame(
                {
                    "ablation": decided.ablation,
                    "output": decided.output,
                    "region": region,
                    "circuit": population.circuits,
                    "n_edges": population.n_edges,
                    "epsilon": math.nan if epsilon is None else epsilon,
                    "n_proved": proved,
                    "n_refuted": refuted,
                    "n_undecided": undecided,
                    "largest_epsilon": population.boxes.largest,
                    "minimality": minimality_of(population, proved == n_boxes, refuted > 0),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def minimality_of(population: Population, is_certified: np.ndarray, is_refuted: np.ndarray) -> np.ndarray:
    """Returns how minimal each certified circuit is among those that are decided, `(K,)`: cardinal, subset or empty.

    An undecided circuit counts as if it were certified, so that what is said is sure. Of a sample nothing is said.
    """
    found: np.ndarray = np.full(len(is_certified), None, dtype=object)
    if population.is_sample or not is_certified.any():
        return found
    possible = population.circuits[~is_refuted]
    found[is_certified & among(population.circuits, minimal_members(possible))] = "subset"
    fewest = population.n_edges[~is_refuted].min()
    found[is_certified & (population.n_edges == fewest)] = "cardinal"
    return found


def difference_rows(decided: Decided) -> Iterator[dict[str, Any]]:
    """Yields the rows of difference.csv."""
    circuits, kinds = decided.chosen
    for row, (circuit, kind) in enumerate(zip(circuits.tolist(), kinds, strict=True)):
        for k in range(decided.differences.low.shape[1]):
            yield {
                "ablation": decided.ablation,
                "output": decided.output,
                "circuit": circuit,
                "of_output": k if decided.part.sizes[-1] > 1 else decided.output,
                "kind": kind,
                "n_edges": int(circuit).bit_count(),
                "low": float(decided.differences.low[row, k]),
                "high": float(decided.differences.high[row, k]),
            }

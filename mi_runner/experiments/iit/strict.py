"""What strict interchange training leaves: the effect of each unit before and after, its figures and its sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from mi_runner.experiments.common.sentences import figure
from mi_runner.experiments.iit.cells import measured_targets, strict_sites
from mi_runner.experiments.iit.tables import CELL, OF_STRICTNESS
from mi_runner.experiments.iit.trials import Trial
from mi_runner.methods.interchange import Aligned
from mi_runner.methods.strictness import effects
from mi_runner.tables.declaration import names_of
from mi_runner.tables.names import ALL

Row = dict[str, Any]

SUMMARY = names_of(OF_STRICTNESS)


def summary_names(cells: Iterable[str]) -> list[str]:
    """Returns the names in the summary besides those of a training that isn't strict.

    Args:
        cells: their names.
    """
    of_first = [f"{figure}{phase}" for phase in ("", "_before") for figure in SUMMARY]
    return [*of_first, *(f"{figure}/{cell}" for cell in cells for figure in SUMMARY)]


def rows_of(trial: Trial, before: Aligned, after: Aligned) -> list[Row]:
    """Returns a row for each unit of each measured site, and for each of these sites as a whole."""
    config, graph = trial.config, trial.graph
    targets = measured_targets(config, graph, trial.cell)
    trained = {trial.cell.target, *strict_sites(config, graph)}
    pairs = trial.pairs[config.sources]
    own, earlier = (effects(network, trial.dataset, pairs, targets) for network in (after, before))
    return [
        {
            **dict(zip(names_of(CELL), trial.cell.columns.values(), strict=True)),
            "site": effect.target,
            "unit": ALL if effect.unit is None else str(effect.unit),
            "start": trial.number,
            "is_trained": effect.unit is not None and effect.target in trained,
            "effect": effect.share,
            "effect_before": former.share,
            "n_pairs": len(pairs),
        }
        for effect, former in zip(own, earlier, strict=True)
    ]


def summary(trial: Trial, rows: Sequence[Row], *, first: bool) -> dict[str, float]:
    """Returns the trial's numbers in the summary; those of the first cell also under plain names."""
    found = {}
    for name, phase in (("effect", ""), ("effect_before", "_before")):
        largest = max(row[name] for row in rows if row["is_trained"])
        (rest,) = (row[name] for row in rows if row["unit"] == ALL and row["site"] == trial.cell.target)
        for figure_name, value in zip(SUMMARY, (largest, rest), strict=True):
            if first:
                found[f"{figure_name}{phase}"] = value
            if not phase:
                found[f"{figure_name}/{trial.cell.name}"] = value
    return found


def answer(metrics: Mapping[str, Sequence[float]], site: str) -> str:
    """Returns what the units do that should carry nothing, at the first site with the first set of variables.

    Args:
        metrics: name of the summary → the value of each start.
        site: the first one.
    """
    largest, before = (figure(max(metrics[name])) for name in (SUMMARY[0], f"{SUMMARY[0]}_before"))
    rest, rest_before = (figure(fmean(metrics[name])) for name in (SUMMARY[1], f"{SUMMARY[1]}_before"))
    return (
        f" Of the units that should carry nothing, none that is taken from a source alone changes more than {largest} "
        f"of the answers; before training {before}. All of those of {site} together change {rest}; "
        f"before {rest_before}."
    )

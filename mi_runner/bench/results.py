"""What did every method reach on every network of a bench? Rows of RESULTS and NETWORKS, from the run folders alone.

A run of experiment=discovery judges all methods on one network. Of its tables the first output counts; those of a bench
have one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mi_runner.bench.networks import Network
from mi_runner.bench.tables import JUDGED, MEASURES, NOT_LEARNED, UNREADABLE
from mi_runner.machine.reading import Unreadable
from mi_runner.runs.run_folder import table_file
from mi_runner.runs.saved_tables import read_frame, read_rows
from mi_runner.runs.states import State

Row = dict[str, Any]

OF_CIRCUITS_EDGES = ("precision", "recall", "truth_found")
"""Measures of detection that are about a method's circuits, and not about its scores."""

ROUNDED = 1e-9
"""So far below 0 a regret may lie by rounding, relative to the best cpr if that is above 1."""


@dataclass(frozen=True)
class Ran:
    """A network of a bench, and the run that judges methods on it.

    Attributes:
        number: of the job.
        folder: the run's.
        state: what the folder says.
    """

    network: Network
    number: int
    folder: Path
    state: State

    @property
    def accuracy(self) -> float | None:
        """The network's accuracy; None if its run is not done."""
        return self.state.record.metrics.get("accuracy") if self.state.done else None

    @property
    def names(self) -> Row:
        """The columns that name the network."""
        network = self.network
        return {"family": network.family.name, "setting": network.setting.name, "seed": network.seed}


@dataclass(frozen=True)
class Results:
    """What a bench measured.

    Attributes:
        rows: of RESULTS.
        networks: rows of NETWORKS, one for each network of the bench.
    """

    rows: list[Row]
    networks: list[Row]


def results_of(networks: Iterable[Ran]) -> Results:
    """Returns what every method reached on every network, and what became of each network, in the order given.

    On a network that has not learned its task nothing is judged, nor where the run is not done or its tables can't be
    read.
    """
    rows: list[Row] = []
    about: list[Row] = []
    for ran in networks:
        status, summary, n_edges = _read(ran)
        rows += [_result(ran, row) for row in summary] if status == JUDGED else []
        fewest = {row["ablation"]: _number(row["fewest_valid"]) for row in summary}
        about.append(
            {
                **ran.names,
                "kind": ran.network.family.kind,
                "accuracy": ran.accuracy,
                "status": status,
                "n_edges": n_edges,
                "fewest_valid_zero": fewest.get("zero"),
                "fewest_valid_mean": fewest.get("mean"),
                "job": ran.number,
            }
        )
    return Results(rows, about)


def _read(ran: Ran) -> tuple[str, list[dict[str, str]], int | None]:
    """Returns what became of a network, the rows of its summary.csv of the first output, and its number of edges."""
    if not ran.state.done:
        return UNREADABLE if ran.state.status == "done" else ran.state.status, [], None
    try:
        rows = read_rows(table_file(ran.folder, "summary"))
        n_edges = int(read_frame(ran.folder, "metrics", ["k"], as_text=False)["k"].max())
    except Unreadable:
        return UNREADABLE, [], None
    if ran.accuracy is None or not rows:
        return UNREADABLE, [], None
    status = JUDGED if ran.accuracy >= ran.network.family.least_accuracy else NOT_LEARNED
    return status, [row for row in rows if row["output"] == rows[0]["output"]], n_edges


def _result(ran: Ran, summary: Mapping[str, str]) -> Row:
    """Returns the row of RESULTS of a row of summary.csv."""
    derived = dict(_derived(summary))
    if not ran.network.family.can_be_wrong:
        derived |= dict.fromkeys(OF_CIRCUITS_EDGES)
    return {
        **ran.names,
        "method": summary["method"],
        "ablation": summary["ablation"],
        **{
            measure.name: derived[measure.name] if measure.name in derived else _number(summary.get(measure.name))
            for measure in MEASURES
        },
        "kind": ran.network.family.kind,
        "job": ran.number,
    }


def _derived(summary: Mapping[str, str]) -> Iterator[tuple[str, float | None]]:
    """Yields the measures that summary.csv has in parts."""
    cpr, best = _number(summary["cpr"]), _number(summary["best_cpr"])
    yield "regret", None if cpr is None or best is None else _regret(best, cpr)
    smallest, fewest = _number(summary["smallest_valid"]), _number(summary["fewest_valid"])
    yield "edges_over_fewest", None if smallest is None or fewest is None else smallest / fewest
    # Where all circuits are evaluated each mean regret has a value, and an empty fewest_valid says that none is valid.
    none_is_valid = fewest is None and _number(summary["regret_mse"]) is not None
    yield "found_valid", None if none_is_valid else float(summary["n_draws_valid"]) / float(summary["n_draws"])


def _regret(best: float, cpr: float) -> float:
    """Returns the cpr of the best circuits minus that of a method's; 0 where it is below by rounding."""
    regret = best - cpr
    return 0.0 if -ROUNDED * max(1.0, abs(best)) <= regret < 0 else regret


def _number(text: str | None) -> float | None:
    """Returns a cell as a number; None for an empty one, and where the run has no such column."""
    return float(text) if text else None

"""What a bench leaves: tables, answer and pages, from the folders of its jobs alone; the headline, the exit status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mi_runner.bench import figures
from mi_runner.bench.jobs import BENCH, list_of
from mi_runner.bench.leaderboard import Leaderboard, leaderboard_of
from mi_runner.bench.networks import Network, NetworkList
from mi_runner.bench.pages import bench_report
from mi_runner.bench.pages.saved_bench import BENCH as BENCH_PAGES
from mi_runner.bench.results import Ran, Results, results_of
from mi_runner.bench.tables import LEADERBOARD, NETWORKS, PAIRS, RESULTS, SPREAD
from mi_runner.config.composition import figures_of
from mi_runner.machine import threads
from mi_runner.machine.drawing import FigureFiles
from mi_runner.runs import captions
from mi_runner.runs.plan import Plan
from mi_runner.runs.run_folder import RunFolder
from mi_runner.runs.states import State
from mi_runner.sweeps import sweep_answer, sweep_result, sweep_tables
from mi_runner.sweeps.sweep_tables import Ended
from mi_runner.tables import console
from mi_runner.tables.names import ALL

PRINTED = (
    "method",
    "mean_rank",
    "cpr",
    "cpr_low",
    "cpr_high",
    "best",
    "p_best",
    "p_random",
    "regret",
    "percentile",
    "edges_over_fewest",
    "found_valid",
    "roc_auc",
    "truth_found",
    "jaccard",
    "n_forward",
    "seconds",
)
"""Columns of leaderboard.csv that are printed."""

COUNTS = ("n_forward",)


def finish(plan: Plan, folder: Path, known: Mapping[int, State] | None = None) -> int:
    """Writes the tables and pages of a bench, prints the leaderboard over all networks, and returns the exit status.

    Args:
        known: states of jobs that their folders can't tell.
    """
    threads.let_waiting_threads_sleep()
    of, jobs = list_of(plan), sweep_tables.ended(plan, folder, known)
    results = results_of(Ran(_network(of, one), one.job.number, one.folder, one.state) for one in jobs)
    board = leaderboard_of(of, results.rows, results.networks)
    try:
        n_networks = len(results.networks)
        setting = f"List {of.name}, {n_networks} networks; {plan.command}."
        _write(folder, results, board, figures_of(plan.overrides), setting)
    except OSError as error:
        return sweep_result.not_written(folder, error, f"mi-run {BENCH}")
    sweep_result.write_page(plan, folder, partial(bench_report.write_pages, folder, jobs))
    sweep_result.point_links(folder)
    if rows := [row for row in board.rows if row["networks"] == ALL]:
        shown = [{name: row[name] for name in PRINTED} for row in rows]
        console.table(f"leaderboard: {of.name}, all networks", shown, counts=COUNTS, most=len(shown))
    console.note(board.answer)
    return sweep_result.end(folder, jobs)


def _network(of: NetworkList, one: Ended) -> Network:
    """Returns the network of a job."""
    family, setting, seed = (one.job.swept[name] for name in ("family", "setting", "seed"))
    return of.network(str(family), str(setting), int(seed or 0))


def _write(folder: Path, results: Results, board: Leaderboard, wanted: FigureFiles, setting: str) -> None:
    """Writes the tables, the answer and the figure.

    Raises:
        OSError: the disk is full, or the folder can't be written.
    """
    place = RunFolder(folder)
    tables: dict[str, Sequence[Mapping[str, Any]]] = {
        LEADERBOARD.name: board.rows,
        PAIRS.name: board.pairs,
        SPREAD.name: board.spread,
        RESULTS.name: results.rows,
        NETWORKS.name: results.networks,
    }
    for name, rows in tables.items():
        if rows:
            place.write_table(name, rows)
    sweep_answer.write(folder, board.answer)
    if board.rows:
        place.write_figure(LEADERBOARD.name, lambda: figures.leaderboard(board.rows), wanted)
        said = captions.of_figures([LEADERBOARD.name], BENCH_PAGES, {LEADERBOARD.name: board.rows}, setting)
        place.write_captions(captions.page(said, wanted.formats))

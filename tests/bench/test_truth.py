"""A bench judges a method that knows the planted edges as perfect, and one that knows nothing as chance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev

import pytest

from mi_runner.bench.leaderboard import Leaderboard, leaderboard_of
from mi_runner.bench.networks import BENCH_1, Network
from mi_runner.bench.results import Ran, Results, results_of
from mi_runner.bench.tables import LEADERBOARD, NETWORKS, PAIRS, RESULTS, SPREAD
from mi_runner.cli import command as cli
from mi_runner.runs.saved_tables import read_rows
from mi_runner.runs.states import read_state
from mi_runner.tables.intervals import Spread
from mi_runner.tables.ranges import SHARE

TRUTH, NOISE = "tests.judged_methods:planted_edges", "tests.judged_methods:noise"
FORMULAS = ("A & B", "(A & ~B) | (~A & B)")
"""Of two inputs: their networks have few circuits, so that a run takes a moment."""

N_SEEDS = 4

ALL_PLANTED = ("planted-plain", "planted-copies")
"""Families in which every edge is planted, so that there is no area under the ROC; one seed of each is enough."""


def planted() -> Iterator[Network]:
    families = [family.name for family in BENCH_1.families if family.kind == "planted"]
    for network in BENCH_1.networks(families=families, is_small=False, n_seeds=N_SEEDS):
        if network.setting.name in FORMULAS and (network.family.name not in ALL_PLANTED or not network.seed):
            yield network


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Of the planted networks of two formulas, each judged by a run."""
    folder = tmp_path_factory.mktemp("bench")
    ran = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mi_runner.machine.drawing.save_figure", lambda drawing, path: path.write_bytes(b""))
        for number, network in enumerate(planted()):
            at = folder / str(number)
            methods = f"experiment.methods=[random,{TRUTH},{NOISE}]"
            options = (*network.overrides, methods, "experiment.bootstrap=0", "experiment.repeats=2")
            status = cli.main([*options, f"output_dir={at}"])
            (run,) = at.glob("discovery/*/v001")
            ran.append(Ran(network, number, run, read_state(run)))
            assert status == 0
    return results_of(ran)


@pytest.fixture(scope="module")
def leaderboard(results: Results) -> Leaderboard:
    return leaderboard_of(BENCH_1, results.rows, results.networks)


def of_method(results: Results, method: str, measure: str, *families: str) -> list[float]:
    """A measure of a method, of each network and ablation that has a value."""
    rows = [row for row in results.rows if row["method"] == method and (not families or row["family"] in families)]
    return [row[measure] for row in rows if row[measure] is not None]


def test_every_planted_network_is_judged_and_its_rows_are_those_of_the_tables(
    results: Results, leaderboard: Leaderboard
) -> None:
    n = (3 * N_SEEDS + 2) * len(FORMULAS)
    assert [row["status"] for row in results.networks] == ["judged"] * n and len(results.rows) == n * 3 * 2
    assert all(row["accuracy"] == 1 and row["fewest_valid_zero"] <= row["n_edges"] for row in results.networks)
    for table, rows in (
        (RESULTS, results.rows),
        (NETWORKS, results.networks),
        (LEADERBOARD, leaderboard.rows),
        (PAIRS, leaderboard.pairs),
        (SPREAD, leaderboard.spread),
    ):
        assert len(table.filled(rows).rows)
    assert all(row["regret"] >= 0 for row in results.rows)
    assert all(row["edges_over_fewest"] is None or row["edges_over_fewest"] >= 1 for row in results.rows)


@pytest.mark.parametrize("measure", ["roc_auc", "precision", "recall", "truth_found", "found_valid"])
def test_a_method_that_returns_the_planted_edges_scores_1_everywhere(measure: str, results: Results) -> None:
    found, n = of_method(results, TRUTH, measure), 2 * len(results.networks)
    n_all_planted, n_can_be_wrong = 2 * 2 * len(FORMULAS), 2 * N_SEEDS * len(FORMULAS)
    counts = {"roc_auc": n - n_all_planted, "found_valid": n}
    assert set(found) == {1.0} and len(found) == counts.get(measure, n_can_be_wrong)


def test_only_where_a_circuit_can_be_wrong_it_says_something_that_the_truth_is_found(tmp_path: Path) -> None:
    """In the other families the full circuit, closed, is the planted one, which noise finds as well."""
    for number, network in enumerate(network for network in planted() if not network.seed):
        at = tmp_path / str(number)
        methods = f"experiment.methods=[{NOISE}]"
        options = (*network.overrides, methods, "experiment.bootstrap=0", "figures=false", "report=false")
        assert cli.main([*options, f"output_dir={at}"]) == 0
        (run,) = at.glob("discovery/*/v001")
        n_planted = len((run / "truth.csv").read_text().splitlines()) - 1
        n_edges = max(int(row["k"]) for row in read_rows(run / "metrics.csv"))
        assert (n_edges > n_planted) == network.family.can_be_wrong, network.name


def test_the_leaderboard_says_so(leaderboard: Leaderboard) -> None:
    rows = [row for row in leaderboard.rows if row["method"] == TRUTH]
    assert {row["networks"] for row in rows} >= {"all", "planted", "planted-cancelling", "planted-copies"}
    told = [row for row in rows if row["networks"] in ("all", "planted", "planted-cancelling")]
    assert all(row["truth_found"] == row["precision"] == row["recall"] == 1 for row in told)
    assert {row["truth_found"] for row in rows if row not in told} == {None}
    areas = {row["networks"]: row["roc_auc"] for row in rows}
    assert areas["all"] == areas["planted-cancelling"] == 1.0
    assert areas["planted-plain"] is areas["planted-copies"] is None  # there every edge is planted


def test_noise_is_at_chance_within_its_interval(results: Results, leaderboard: Leaderboard) -> None:
    """The area is ½ on average, whatever the network; the truth found by chance in few, and never by all."""
    areas = of_method(results, NOISE, "roc_auc")
    assert len(areas) == 3 * len(FORMULAS) * N_SEEDS * 2 and stdev(areas) > 0.05
    spread = Spread.of(areas, SHARE)
    assert spread.low is not None and spread.high is not None and spread.low < 0.5 < spread.high
    assert abs(fmean(areas) - 0.5) < 3 * stdev(areas) / math.sqrt(len(areas))
    cancelling = "planted-cancelling"
    assert fmean(of_method(results, NOISE, "truth_found", cancelling)) < 0.5
    (row,) = (row for row in leaderboard.rows if (row["networks"], row["method"]) == (cancelling, NOISE))
    assert row["roc_auc_low"] < 0.5 < row["roc_auc_high"]


def test_noise_ties_with_random(leaderboard: Leaderboard) -> None:
    (row,) = (row for row in leaderboard.rows if (row["networks"], row["method"]) == ("all", NOISE))
    assert row["p_random"] >= 0.05 and row["n_units"] == 4 * len(FORMULAS)  # without the control
    assert NOISE in leaderboard.answer.split("not told apart from it")[0]

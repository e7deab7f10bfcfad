"""Rows of a bench's results: of hand-made run folders, by hand; and what becomes of networks that are not judged."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from mi_runner.bench.networks import BENCH_1, Network
from mi_runner.bench.results import Ran, results_of
from mi_runner.bench.tables import MEASURES, NETWORKS, RESULTS
from mi_runner.runs.states import read_state
from mi_runner.tables.declaration import names_of
from tests import run_records

EMPTY = {
    **{name: "" for name in ("regret_mse", "percentile", "cmd", "jaccard", "n_forward", "smallest_valid")},
    **{"fewest_valid": "", "best_cpr": "", "output": "0", "n_draws": 1, "n_draws_valid": 0, "seconds": 0.5},
}


def network(place: int = 0, family: str = "xor-2-3-3-1") -> Network:
    """A network of a family of the list."""
    return list(BENCH_1.networks(families=[family], is_small=False, n_seeds=2))[place]


def ran(folder: Path, summary: list[dict[str, Any]], own: Network, number: int = 0, **changes: Any) -> Ran:
    """A network with a run folder that has these rows in summary.csv, and circuits of up to 18 edges in metrics.csv."""
    at = run_records.write(folder / str(number), **{"metrics": {"accuracy": 1.0}, **changes})
    if summary:
        with (at / "summary.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(summary[0]))
            writer.writeheader()
            writer.writerows(summary)
        (at / "metrics.csv").write_text("k,mse\n0,1.5\n18,0\n7,0.5\n")
    return Ran(own, number, at, read_state(at))


def test_the_rows_of_a_network_are_those_of_its_summary(tmp_path: Path) -> None:
    eap = EMPTY | {
        **{"method": "eap", "ablation": "zero", "cpr": 0.5, "best_cpr": 0.75, "cmd": 0.25, "regret_mse": 0.125},
        **{"percentile": 0.3, "jaccard": 0.6, "n_forward": 2, "smallest_valid": 9, "fewest_valid": 6, "seconds": 0.01},
        **{"n_draws_valid": 1},
    }
    random = eap | {
        **{"method": "random", "ablation": "mean", "cpr": -1.5, "smallest_valid": 12.5, "fewest_valid": 5},
        **{"n_draws": 5, "n_draws_valid": 2, "jaccard": ""},
    }
    found = results_of([ran(tmp_path, [eap, random], network(4), 3)])  # the fifth: of three activations, seed by seed
    of_network = {"family": "xor-2-3-3-1", "setting": "relu", "seed": 1, "kind": "trained", "job": 3}
    empty = dict.fromkeys(("roc_auc", "precision", "recall", "truth_found"))
    same = {**of_network, **empty, "cmd": 0.25, "regret_mse": 0.125, "percentile": 0.3, "n_forward": 2, "seconds": 0.01}
    assert found.rows == [
        {**same, "method": "eap", "ablation": "zero", "cpr": 0.5, "regret": 0.25, "edges_over_fewest": 1.5}
        | {"found_valid": 1.0, "jaccard": 0.6},
        {**same, "method": "random", "ablation": "mean", "cpr": -1.5, "regret": 2.25, "edges_over_fewest": 2.5}
        | {"found_valid": 0.4, "jaccard": None},
    ]
    assert found.networks == [
        {**of_network, "accuracy": 1.0, "status": "judged", "n_edges": 18}
        | {"fewest_valid_zero": 6, "fewest_valid_mean": 5}
    ]
    assert len(RESULTS.filled(found.rows).rows) == 2 and len(NETWORKS.filled(found.networks).rows) == 1


def test_the_share_of_draws_with_a_valid_circuit_is_empty_only_where_none_is_valid(tmp_path: Path) -> None:
    """No regret says that circuits were sampled: then nobody knows the fewest edges, and a draw may find none."""
    none_valid = EMPTY | {"method": "eap", "ablation": "zero", "cpr": 0.5, "best_cpr": 0.75, "regret_mse": 0.125}
    sampled = EMPTY | {"method": "eap", "ablation": "mean", "cpr": 0.5}
    finds = sampled | {"method": "greedy", "smallest_valid": 9, "n_draws_valid": 1}
    rows = results_of([ran(tmp_path, [none_valid, sampled, finds], network())]).rows
    assert [row["found_valid"] for row in rows] == [None, 0.0, 1.0]
    assert [row["edges_over_fewest"] for row in rows] == [None] * 3
    assert [row["regret"] for row in rows] == [0.25, None, None]
    assert [row["regret_mse"] for row in rows] == [0.125, None, None]


@pytest.mark.parametrize(
    ("cpr", "best", "regret"),
    [(0.3, 0.1 + 0.2 - 1e-12, 0.0), (0.25, 0.25, 0.0), (1 + 1e-8, 1, -1e-8), (5e6 + 1e-4, 5e6, 0.0), (0, 1e-12, 1e-12)],
)
def test_a_regret_below_zero_by_rounding_is_zero_and_a_larger_one_stays(
    cpr: float, best: float, regret: float, tmp_path: Path
) -> None:
    row = EMPTY | {"method": "eap", "ablation": "zero", "cpr": repr(cpr), "best_cpr": repr(best)}
    (found,) = results_of([ran(tmp_path, [row], network())]).rows
    assert found["regret"] == pytest.approx(regret, rel=1e-6, abs=0) and not str(found["regret"]).startswith("-0.0")


def test_planted_networks_have_detection_and_the_first_output_counts(tmp_path: Path) -> None:
    detected = {"roc_auc": 0.75, "precision": "", "recall": 0.5, "truth_found": 0.0}
    first = EMPTY | detected | {"method": "eap", "ablation": "zero", "cpr": 0.5}
    second = first | {"output": "1", "cpr": 0.9}
    (row,) = results_of([ran(tmp_path, [first, second], network(0, "planted-cancelling"))]).rows
    assert {name: row[name] for name in (*detected, "cpr", "kind")} == {
        **detected,
        **{"precision": None, "cpr": 0.5, "kind": "planted"},
    }


def test_where_no_circuit_can_be_wrong_only_scores_are_detected(tmp_path: Path) -> None:
    detected = {"roc_auc": 0.75, "precision": 1.0, "recall": 1.0, "truth_found": 1.0}
    summary = EMPTY | detected | {"method": "eap", "ablation": "zero", "cpr": 0.5}
    (row,) = results_of([ran(tmp_path, [summary], network(0, "planted-noise"))]).rows
    assert [row[name] for name in detected] == [0.75, None, None, None]


def test_networks_that_are_not_judged_have_no_results_and_say_why(tmp_path: Path) -> None:
    row = EMPTY | {"method": "eap", "ablation": "zero", "cpr": 0.5, "fewest_valid": 4}
    torn = ran(tmp_path, [row], network(1), 4)
    (torn.folder / "summary.csv").write_text("method,ablation\neap\n")
    given = [
        ran(tmp_path, [row], network(0, "mnist01-3-3-3-1"), 0, metrics={"accuracy": 0.99}),  # just enough
        ran(tmp_path, [row], network(1, "mnist01-3-3-3-1"), 1, metrics={"accuracy": 0.9899}),
        ran(tmp_path, [row], network(), 2, status="failed", error="no memory"),
        ran(tmp_path, [], network(2), 3),
        torn,
        Ran(network(3), 5, tmp_path / "5", read_state(tmp_path / "5")),
        ran(tmp_path, [row], network(4), 6, files="none"),  # done, but a field of run.json is wrong
        ran(tmp_path, [row], network(5), 7, metrics={}),
    ]
    found = results_of(given)
    assert [each["status"] for each in found.networks] == [
        *("judged", "not learned", "failed", "unreadable", "unreadable", "missing", "unreadable", "unreadable"),
    ]
    assert [(each["job"], each["cpr"]) for each in found.rows] == [(0, 0.5)]
    learned, not_learned, *others = found.networks
    assert (learned["n_edges"], not_learned["accuracy"], not_learned["n_edges"]) == (18, 0.9899, 18)
    assert not_learned["fewest_valid_zero"] == 4 and not_learned["fewest_valid_mean"] is None
    assert all(each["n_edges"] is None for each in others)


def test_the_results_have_every_measure(tmp_path: Path) -> None:
    row = EMPTY | {"method": "eap", "ablation": "zero", "cpr": 0.5}
    (found,) = results_of([ran(tmp_path, [row], network())]).rows
    assert [name for name in found if name in names_of(MEASURES)] == list(names_of(MEASURES))

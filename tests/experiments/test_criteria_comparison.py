"""What criteria say over many networks: means, counts and sentences by hand, from tables as runs leave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import pytest

from mi_runner.errors import ConfigError
from mi_runner.experiments.criteria.comparison import compare_networks


@dataclass
class Saved:
    """A run's tables in memory."""

    seed: int
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How errors call it."""
        return f"job {self.seed}"

    @property
    def label(self) -> str:
        """How tables call it."""
        return str(self.seed)

    def table(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame | None:
        """Returns some columns of a table."""
        found = self.tables.get(name)
        return found if found is None or columns is None else found[list(columns)]

    def tensors(self, name: str) -> dict[str, object]:
        """Returns nothing."""
        return {}


def run(
    seed: int,
    n_valid: int,
    n_surviving: int | None,
    taus: Sequence[float | None] = (),
    n_judged: int | None = None,
) -> Saved:
    """Returns a run whose pairs are agreement–shift, agreement–rank and rank–parsimony."""
    judged = n_valid if n_judged is None else n_judged
    row = {"ablation": "zero", "output": 0, "n_valid": n_valid, "n_judged": judged, "n_survivors": n_surviving}
    metrics = pd.DataFrame([{**row, "criterion": "agreement"}, {**row, "criterion": "all"}])
    pairs = [("agreement", "shift"), ("agreement", "rank"), ("rank", "parsimony")]
    rows = [
        {"ablation": "zero", "output": 0, "criterion": one, "other": other, "tau": tau}
        for (one, other), tau in zip(pairs, taus, strict=False)
    ]
    return Saved(seed, {"metrics": metrics} | ({"pairs": pd.DataFrame(rows)} if rows else {}))


RUNS = [
    run(0, 10, 1, (0.8, 0.0, 0.9)),
    run(1, 30, 5, (0.82, None, 0.9)),
    run(2, 20, 3, (0.78, -0.2, 0.9)),
    run(3, 0, None),
]


def test_networks_without_a_valid_circuit_are_left_out_with_a_note() -> None:
    found = compare_networks(RUNS)
    (row,) = found.tables["survivors"]
    assert row == {
        **{"ablation": "zero", "output": 0, "n_networks": 3},
        **{"n_valid_least": 10, "n_valid_median": 20, "n_valid_most": 30},
        **{"n_whole": 3, "n_surviving_least": 1, "n_surviving_median": 3, "n_surviving_most": 5},
        **{"n_one": 1, "n_none": 0},
    }
    assert found.notes == ["1 of 4 networks has no valid circuit with zero ablation"]


def test_survivors_of_a_sample_are_not_counted_as_those_of_all() -> None:
    """20 of 500 were judged: one or none of these survives, which says nothing of the other 480."""
    found = compare_networks([*RUNS, run(4, 500, 1, n_judged=20), run(5, 400, 0, n_judged=20)])
    (row,) = found.tables["survivors"]
    assert (row["n_networks"], row["n_whole"], row["n_valid_most"]) == (5, 3, 500)
    assert (row["n_surviving_least"], row["n_surviving_most"], row["n_one"], row["n_none"]) == (1, 5, 1, 0)
    assert found.answer.startswith(
        "With zero ablation 5 networks have 10 to 500 (median 30) valid circuits; in the 3 of them whose valid "
        "circuits are all judged 1 to 5 (median 3) survive all criteria; in 1 of these it is one circuit."
    )
    assert found.notes[1].startswith("of 2 of 6 networks a sample of the valid circuits was judged with zero ablation")
    found = compare_networks([run(4, 500, 1, n_judged=20)])
    assert (found.tables["survivors"][0]["n_surviving_most"], found.tables["survivors"][0]["n_one"]) == (None, None)
    assert "surviv" not in found.answer


def test_the_mean_of_tau_is_over_the_networks_that_have_one() -> None:
    found = compare_networks(RUNS)
    agree, separate, parsimony = found.tables["tau"]
    assert (agree["n_networks"], agree["n_above"]) == (3, 3) and agree["tau"] == pytest.approx(0.8)
    assert agree["tau_low"] < 0.8 < agree["tau_high"]
    assert (separate["n_networks"], separate["n_above"]) == (2, 0) and separate["tau"] == pytest.approx(-0.1)
    assert parsimony["tau"] == 0.9
    assert list(found.figures) == ["tau_0_zero"]
    found.figures["tau_0_zero"]()


def test_the_answer_names_pairs_whose_interval_lies_beyond_a_bound_and_not_parsimony() -> None:
    answer = compare_networks(RUNS).answer
    assert answer == (
        "With zero ablation 3 networks have 10 to 30 (median 20) valid circuits, of which 1 to 5 (median 3) survive "
        "all criteria; in 1 of the networks it is one circuit. The mean τ is above 0.5 for agreement–shift."
    )
    low = [run(seed, 10, 2, (0.1, -0.5 - seed / 100)) for seed in range(5)]
    assert compare_networks(low).answer.endswith("2 survive all criteria. It is below 0.1 for agreement–rank.")


def test_single_networks_have_no_interval() -> None:
    found = compare_networks(RUNS, over="checkpoint", are_sample=False)
    assert all(row["tau_low"] is None for row in found.tables["tau"])
    assert "mean τ" not in found.answer


def test_no_network_with_a_valid_circuit_says_nothing_but_that() -> None:
    found = compare_networks([run(0, 0, None), run(1, 0, None)])
    assert found.answer == "" and "tau" not in found.tables
    assert found.notes == ["2 of 2 networks have no valid circuit with zero ablation"]


def test_a_run_without_its_table_is_named() -> None:
    with pytest.raises(ConfigError, match=r"job 7 has no metrics\.csv\. Run it again\."):
        compare_networks([RUNS[0], Saved(7)])

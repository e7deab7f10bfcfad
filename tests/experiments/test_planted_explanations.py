"""The truth about planted networks as explanations: against brute force, by hand, and with a wrong truth."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from mi_runner import models
from mi_runner.datasets import logic
from mi_runner.datasets.algorithms import Algorithm, algorithms
from mi_runner.experiments.explanations.truth import (
    planted_explanations,
    sentence,
    shape_of_algorithm,
    shape_of_formula,
    truth_figures,
)
from mi_runner.graph.chain import Part, find_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.circuits.family import nonzero_edges
from mi_runner.methods.explanations.alignments import NeuronSet, alignment_holds
from mi_runner.methods.explanations.explain import Explanations, explain
from mi_runner.methods.explanations.groundings import grounding_holds, list_groundings
from mi_runner.models import formulas, planted
from mi_runner.models.truth import Truth
from tests.conftest import Ended

XOR = "(A & ~B) | (~A & B)"


def planted_of(formula: str, n: int = 2, depth: int = 2, **options: Any) -> tuple[Truth, Explanations]:
    table = formulas.parsed(formula, n).table
    built = models.build(planted.build, logic.load(functions=[table]), seed=1, formula=formula, **options)
    part: Part = find_part(ModelGraph.trace(built.model, built.dataset.x_test[:2]), None)
    number = sum(1 << row for row, digit in enumerate(table) if digit == "1")
    assert built.truth is not None
    return built.truth, explain(part, number, max_depth=depth, family=nonzero_edges(part))


# --- algorithms ------------------------------------------------------------------------------------------------------


def every_algorithm() -> list[Algorithm]:
    return list(
        itertools.chain(*(algorithms(table, 2, 2) for table in range(1, 15)), algorithms(0b10010110, 3, 3)[:40])
    )


def test_a_formula_of_an_algorithm_is_that_algorithm_and_no_other() -> None:
    found = every_algorithm()
    keys = [shape_of_algorithm(one.tree).key for one in found]
    for one, key in zip(found, keys, strict=True):
        assert shape_of_formula(formulas.of_algorithm(one)).key == key
    of_xor = [shape_of_algorithm(one.tree).key for one in algorithms(0b0110, 2, 3)]
    assert len(set(of_xor)) == len(of_xor) == 250


@pytest.mark.parametrize(
    ("formula", "other", "alike"),
    [
        (XOR, "(B & ~A) | (A & ~B)", True),
        (XOR, "A ^ B", True),
        (XOR, "~(~(A & ~B) & ~(~A & B))", True),
        (XOR, "(A | B) & ~(A & B)", False),
        ("~(A & B)", "~A | ~B", True),
        ("A & ~B", "B & ~A", False),
    ],
)
def test_formulas_that_differ_by_order_or_complements_are_one_algorithm(formula: str, other: str, alike: bool) -> None:
    first, second = (shape_of_formula(formulas.parsed(text, 2)) for text in (formula, other))
    assert (first.key == second.key) == alike


# --- the truth -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "n", "options"),
    [
        (XOR, 2, {}),
        (XOR, 2, {"distractors": 2}),
        (XOR, 2, {"distractors": 2, "distractor_kind": "ignored"}),
        (XOR, 2, {"copies": 2}),
        (XOR, 2, {"noise": 0.1}),
        (XOR, 2, {"rotation": 1}),
        ("~(A & B) & (A | B)", 2, {"distractors": 2}),
        ("(A & B) | C", 3, {}),
        ("(A ^ B) & ~C", 3, {}),
        ("A | ~B", 2, {}),
    ],
)
def test_the_truth_holds_and_is_found(formula: str, n: int, options: dict[str, Any]) -> None:
    truth, found = planted_of(formula, n, 3 if n == 3 else 2, **options)
    own = planted_explanations(truth, found)
    figures = truth_figures(own, found)
    assert own.algorithm is not None and own.alignment is not None
    assert alignment_holds(found.network, own.alignment) and figures["alignment_found"] == 1
    assert figures["n_other_alignments"] == found.n_alignments - 1
    assert (own.grounding is None) == ("rotation" in options)
    if own.grounding is not None:
        assert own.circuit in found.circuits.valid.tolist() and figures["grounding_found"] == 1
        assert figures["n_other_groundings"] == found.total.value - 1
        listed = list_groundings(found.network, own.circuit, most=5_000)
        assert own.grounding in listed or len(listed) == 5_000


def test_the_truth_of_a_network_by_hand() -> None:
    truth, found = planted_of(XOR, shuffle=False)
    own = planted_explanations(truth, found)
    assert own.alignment is not None and own.grounding is not None
    assert sorted(one.neurons for one in own.alignment.sets) == [(0,), (1,)]
    tables = {(one.layer, one.neuron): one.table for one in own.grounding.neurons}
    assert {tables[1, 0], tables[1, 1]} == {0b0100, 0b0010} and tables[3, 0] == 0b0110
    assert sentence(truth_figures(own, found)).endswith("beside 0 others: the truth is unique.")


def test_copies_are_one_set_and_a_half_is_no_error() -> None:
    truth, found = planted_of(XOR, copies=2, shuffle=False)
    own = planted_explanations(truth, found)
    assert own.alignment is not None
    assert {one.neurons for one in own.alignment.sets} == {(0, 1), (2, 3)}
    assert found.circuits.n_valid == 191  # as published for this family
    assert "not unique" in sentence(truth_figures(own, found))


def test_a_wrong_truth_is_not_found() -> None:
    truth, found = planted_of(XOR, distractors=2, distractor_kind="ignored", shuffle=False)
    own = planted_explanations(truth, found)
    assert own.alignment is not None and own.grounding is not None
    swapped = replace(own, alignment=replace(own.alignment, sets=own.alignment.sets[::-1]))
    assert truth_figures(swapped, found)["alignment_found"] == 0
    outside = replace(own, alignment=replace(own.alignment, sets=(NeuronSet(1, (2,)), own.alignment.sets[1])))
    assert truth_figures(outside, found)["alignment_found"] == 0
    first, *others = own.grounding.neurons
    wrong = replace(own.grounding, neurons=(replace(first, table=first.table ^ 1), *others))
    assert not grounding_holds(found.network, wrong)
    assert truth_figures(replace(own, grounding=wrong), found)["grounding_found"] == 0
    assert truth_figures(own, found)["grounding_found"] == 1


def test_a_formula_deeper_than_the_algorithms_has_no_known_alignment() -> None:
    truth, found = planted_of(XOR, depth=1)
    figures = truth_figures(planted_explanations(truth, found), found)
    assert figures["alignment_found"] is None and figures["n_other_alignments"] == found.n_alignments
    assert figures["grounding_found"] == 1
    assert "no alignment of the truth is known" in sentence(figures)
    alone = {"grounding_found": 1, "n_other_groundings": 0, "alignment_found": None, "n_other_alignments": None}
    assert sentence(alone).endswith("no alignment of the truth is known: whether the truth is unique isn't known.")
    missed = {"grounding_found": 0, "n_other_groundings": 0, "alignment_found": 1, "n_other_alignments": 0}
    assert sentence(missed).endswith("whether the truth is unique isn't known.")


# --- the run ---------------------------------------------------------------------------------------------------------


def test_the_tables_mark_the_truth(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("experiment=explanations", "model=planted", "dataset=logic", "model.distractors=2",
                   "model.distractor_kind=ignored", f"model.formula='{XOR}'", "experiment.max_depth=2")  # fmt: skip
    assert ended.status == 0, ended.err
    metrics = pd.read_csv(ended.folder / "metrics.csv").iloc[0]
    assert (metrics["control"], metrics["n_circuits"], metrics["n_valid"]) == ("none", 15, 1)
    for name, counted in (("algorithms", 1), ("groundings", 4), ("alignments", 4)):
        table = pd.read_csv(ended.folder / f"{name}.csv")
        rows = table[table["is_truth"]]
        assert len(rows) == counted, name
    circuits = pd.read_parquet(ended.folder / "circuits.parquet")
    assert circuits[circuits["is_truth"]]["valid"].tolist() == [True]
    assert metrics["grounding_found"] == 1 and metrics["n_other_groundings"] == metrics["n_groundings"] - 1
    assert "the truth is unique." in ended.err

"""What makes a circuit valid: the task, agreement with the network, or a share of its accuracy; by brute force."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.examples import VALID_BY, CircuitExamples
from mi_runner.methods.circuits.minimality import validity
from mi_runner.methods.circuits.search import search_circuits
from tests.small_parts import random_part

THRESHOLD = 0.8


def a_part_and_examples(n_outputs: int, seed: int = 0) -> tuple[Part, CircuitExamples]:
    """A part that answers about two thirds of its examples correctly."""
    draw = torch.Generator().manual_seed(seed)
    part = random_part((2, 3, n_outputs), ["relu", "identity"], seed=seed)
    x = torch.randn(60, 2, generator=draw)
    full = part(x)
    answers = full.argmax(1) if n_outputs > 1 else full[:, 0].round()
    target = torch.where(torch.rand(60, generator=draw) < 0.7, answers, 1 - answers)
    return part, CircuitExamples(x, target, full if n_outputs > 1 else full[:, 0])


@pytest.mark.parametrize("max_table_rows", [10**6, 10])
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("rule", VALID_BY)
def test_each_rule_against_all_circuits_one_by_one(rule: str, n_outputs: int, max_table_rows: int) -> None:
    part, examples = a_part_and_examples(n_outputs)
    found = search_circuits(
        part,
        replace(examples, valid_by=rule),
        accuracy_threshold=THRESHOLD,
        inputs="any",
        max_table_rows=max_table_rows,
        most_listed=10**6,
    )
    edges = Edges(part.sizes)
    every = edges.rows(np.arange(1, 1 << edges.n, dtype=np.uint64))
    closed = every[(edges.closed(every) == every).all(1)]
    outputs = outputs_of_circuits(part, closed, examples.x)
    answers = outputs.argmax(2) if n_outputs > 1 else outputs[:, :, 0].round()
    full = (examples.full.argmax(1) if n_outputs > 1 else examples.full.round()).to(answers)
    correct, agreeing = ((answers == goal).sum(1) for goal in (examples.target, full))
    own = int((full == examples.target).sum())
    valid = {
        "task": correct / 60 > THRESHOLD,
        "agreement": agreeing / 60 > THRESHOLD,
        "relative": correct >= THRESHOLD * own,
    }[rule].numpy()
    assert found.n_circuits == len(closed) and found.n_valid == valid.sum()
    assert set(edges.rows(found.valid).nonzero()[1].tolist()) <= set(range(edges.n))
    assert sorted(map(tuple, edges.rows(found.valid).tolist())) == sorted(map(tuple, closed[valid].tolist()))
    assert found.fewest_edges == (closed[valid].sum(1).min() if valid.any() else None)
    is_valid = validity(part, replace(examples, valid_by=rule), THRESHOLD)
    assert (is_valid(closed) == valid).all()
    if rule == "task":
        assert own / 60 < THRESHOLD and not valid.any()  # the network itself is not
    else:
        assert 0 < valid.sum() < len(valid)


def test_the_full_circuit_is_valid_by_agreement_and_relative_to_itself() -> None:
    part, examples = a_part_and_examples(1, seed=3)
    for rule in ("agreement", "relative"):
        found = search_circuits(part, replace(examples, valid_by=rule), accuracy_threshold=0.99, inputs="any")
        assert found.valid[-1] == (1 << Edges(part.sizes).n) - 1


@pytest.mark.parametrize(("n_full", "share", "fewest"), [(100, 0.99, 99), (50, 0.99, 50), (7, 0.5, 4), (0, 0.99, 1)])
def test_a_share_of_the_networks_own_correct_answers(n_full: int, share: float, fewest: int) -> None:
    target = torch.cat([torch.ones(n_full), torch.zeros(100 - n_full)])
    examples = CircuitExamples(torch.zeros(100, 2), target, torch.ones(100), valid_by="relative")
    assert examples.fewest_right(share) == fewest == max(1, math.ceil(round(share * n_full, 6)))


def test_another_rule_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"valid_by=faithful: use task, agreement, relative\."):
        CircuitExamples(torch.zeros(2, 2), torch.zeros(2), torch.zeros(2), valid_by="faithful")

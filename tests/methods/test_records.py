"""The records of the methods that find circuits: what they name is there, what they say is what is done."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.discovery import stability
from mi_runner.methods.discovery.find import Resampled, Task, find, find_draws
from mi_runner.methods.discovery.records import METHODS, TAKES, Method, all_methods, method_of, own_method
from tests.conftest import REPOSITORY
from tests.masked_parts import examples, random_part

PUBLISHED = 21, 2115
"""Edges and examples of the published setting."""


def of_name(method: Method) -> str:
    return method.name


@pytest.mark.parametrize("method", METHODS, ids=of_name)
def test_a_record_says_what_its_function_takes_and_costs(method: Method) -> None:
    parameters = inspect.signature(method.load()).parameters
    assert set(method.takes) == set(TAKES) & set(parameters)
    part = random_part((3, 2, 1))
    x, y = examples(part)
    edges, sizes = Edges(part.sizes), np.arange(9)
    task = Task(part, x, y, "mean")

    def found(seed: int) -> np.ndarray:
        return find(method, task, sizes, generator=torch.Generator().manual_seed(seed)).circuits

    one = find(method, task, sizes, generator=torch.Generator().manual_seed(0))
    passes = method.n_passes(edges.n, len(x))
    assert one.n_forward is not None and passes is not None
    assert one.n_forward == passes or (method.evaluations(edges.n) > 0 and 1 < one.n_forward <= passes)
    assert np.array_equal(found(0), one.circuits)
    if not method.draws:
        assert np.array_equal(found(1), one.circuits)
    rows = stability.resamples(len(x), 2, torch.Generator().manual_seed(0))
    resampled = Resampled(task, rows, stability.counts_of(rows))
    if method.resamples:
        assert resampled.find(method, sizes).shape == (2, 9, edges.n)
    else:
        with pytest.raises(ValueError, match=f"the method {method.name} finds no circuits on resampled examples"):
            resampled.find(method, sizes)


def test_methods_that_draw_give_another_circuit_for_another_seed() -> None:
    assert [method.name for method in METHODS if method.draws] == ["random", "edge_pruning", "subnetwork_probing"]
    part = random_part((3, 2, 1))
    task = Task(part, *examples(part), "zero")
    scores = [find("random", task, np.arange(9), generator=torch.Generator().manual_seed(s)).scores for s in (0, 1)]
    assert not np.array_equal(*scores)


def test_names_are_distinct_and_name_their_records() -> None:
    assert len({method.name for method in all_methods()}) == len(all_methods()) >= len(METHODS) >= 13
    assert all(method_of(method.name) is method for method in all_methods())
    defaults = [method.name for method in METHODS if not method.is_default]
    assert defaults[:2] == ["eap_signed", "eap_ig_signed"]


def test_a_method_of_ones_own_is_a_record() -> None:
    own = own_method("mine:score", max)
    assert (own.load(), own.n_passes(*PUBLISHED), own.evaluations(21), own.draws) == (max, None, 0, False)


def test_a_record_that_names_nothing_or_too_much_is_refused() -> None:
    for given in ({}, {"scores": "a:b", "searches": "a:c"}):
        with pytest.raises(ValueError, match="the method it: give either scores or searches"):
            Method("it", "does", **given)
    with pytest.raises(ValueError, match="the method it takes examples: use objective, loss, generator"):
        Method("it", "does", scores="a:b", takes=("loss", "examples"))
    with pytest.raises(ValueError, match="the method it takes generator and generators: use one of them"):
        Method("it", "does", scores="a:b", takes=("generator", "generators"))


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("method", METHODS, ids=of_name)
def test_several_draws_are_each_draw_alone(method: Method) -> None:
    part = random_part((3, 2, 1))
    task, sizes = Task(part, *examples(part), "mean"), np.arange(9)
    together = find_draws(method, task, sizes, generators(4, 5, 6))
    assert len(together) == 3
    for draw, found in zip(generators(4, 5, 6), together, strict=True):
        alone = find(method, task, sizes, generator=draw)
        assert np.array_equal(found.circuits, alone.circuits) and np.array_equal(found.every, alone.every)
        assert found.n_forward == alone.n_forward


def test_a_method_that_takes_generators_returns_a_result_for_each() -> None:
    part = random_part((2, 2, 1))
    task, sizes = Task(part, *examples(part), "zero"), np.arange(7)
    asked: list[int] = []

    def score(
        part: Part, x: torch.Tensor, target: torch.Tensor, ablation: str, *, generators: list[torch.Generator]
    ) -> list[list[torch.Tensor]]:
        asked.append(len(generators))
        return [[torch.rand(2, 2, generator=draw), torch.rand(1, 2, generator=draw)] for draw in generators][:2]

    method = Method("mine", "of draws", scores=score, takes=("generators",), draws=True)
    found = find_draws(method, task, sizes, generators(0, 1))
    assert asked == [2] and not np.array_equal(found[0].scores, found[1].scores)
    drawn = [torch.rand(2, 2, generator=draw).flatten() for draw in generators(0, 1)]
    assert [each.scores[:4].tolist() for each in found if each.scores is not None] == [d.tolist() for d in drawn]
    assert find(method, task, sizes, generator=generators(1)[0]).circuits.tolist() == found[1].circuits.tolist()
    with pytest.raises(ValueError, match="the method mine returns 2 results for 3 generators: return one for each"):
        find_draws(method, task, sizes, generators(0, 1, 2))
    rows = stability.resamples(len(task.x), 2, torch.Generator().manual_seed(0))
    resampled = Resampled(task, rows, stability.counts_of(rows)).find(method, sizes, generator=generators(3)[0])
    assert resampled.shape == (2, 7, 6)


def test_records_are_read_without_torch() -> None:
    """Help and completion answer at once."""
    program = (
        "import sys; from mi_runner.methods.discovery.records import all_methods; all_methods(); "
        "print(sorted({'torch', 'numpy', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_the_table_in_the_docs_is_that_of_the_records() -> None:
    def passes(method: Method) -> str:
        at_most = "at most " if method.searches is not None and method.evaluations(PUBLISHED[0]) else ""
        return f"{at_most}{method.n_passes(*PUBLISHED):,}"

    rows = [f"| `{method.name}` | {method.sentence} | {passes(method)} | {method.paper} |" for method in METHODS]
    head = ["| method | what it does | passes over the examples | paper |", "|---|---|---|---|"]
    text = (REPOSITORY / "docs/discovery.md").read_text()
    assert "\n".join([*head, *rows]) in text

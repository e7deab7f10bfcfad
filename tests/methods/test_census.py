"""A census against a table that has a row for each circuit: same counts, same edges, same valid circuits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numba import get_num_threads, set_num_threads

from mi_runner.graph.chain import ACTIVATIONS, Layer, Part
from mi_runner.methods.circuits import blocks, census
from mi_runner.methods.circuits.census import seconds_of_census, take_census
from mi_runner.methods.circuits.choices import ways_to_choose
from mi_runner.methods.circuits.examples import CircuitExamples, group_examples
from mi_runner.methods.circuits.measures import CircuitMeasures, measure
from mi_runner.methods.circuits.prefixes import completions
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import Progress
from tests.small_parts import examples_of, random_part

CHOICES = [{"ablation": ablation, "inputs": inputs} for ablation in ("zero", "mean") for inputs in ("all", "any")]


def of_classes(part: Part, n: int, seed: int = 1) -> CircuitExamples:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, part.sizes[0], generator=draw)
    target = part(x).argmax(1)
    noise = torch.rand(n, generator=draw) < 0.2
    return CircuitExamples(x, torch.where(noise, (target + 1) % part.sizes[-1], target), part(x))


def check_against_the_table(part: Part, examples: CircuitExamples, **choices: str) -> None:
    table = CircuitMeasures.joined(list(measure(part, examples, **choices))).sorted()
    space = CircuitSpace(part.sizes, choices["inputs"])
    for least in (int(np.quantile(table.n_correct, 0.3)), int(table.n_correct.max())):
        found, listed = take_census(part, examples, least, 10**9, **choices)
        expected = np.zeros_like(found.counts)
        np.add.at(expected, (space.n_active(table.circuit), np.bitwise_count(table.circuit), table.n_correct), 1)
        assert np.array_equal(found.counts, expected)
        valid = table.circuit[table.n_correct >= least]
        assert np.array_equal(listed, valid) and len(valid) > 0
        assert np.array_equal(found.edge_counts, space.edge_counts(valid))
        without_list, nothing = take_census(part, examples, least, 0, **choices)
        assert np.array_equal(without_list.counts, expected) and len(nothing) == 0
        assert np.array_equal(without_list.edge_counts, found.edge_counts)


@pytest.mark.parametrize("choices", CHOICES, ids=lambda choices: "-".join(choices.values()))
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_output(activation: str, choices: dict[str, str]) -> None:
    part = random_part((3, 2, 3, 1), [activation] * 3, seed=len(activation))
    check_against_the_table(part, examples_of(part, n=90), **choices)


@pytest.mark.parametrize("choices", CHOICES, ids=lambda choices: "-".join(choices.values()))
@pytest.mark.parametrize(("last", "n_outputs"), [("identity", 2), ("relu", 3), ("softmax", 2), ("tanh", 2)])
def test_several_outputs(last: str, n_outputs: int, choices: dict[str, str]) -> None:
    part = random_part((2, 2, 2, n_outputs), ["leaky_relu", "tanh", last], seed=n_outputs)
    check_against_the_table(part, of_classes(part, 70), **choices)


@pytest.mark.parametrize("block", [1, 5, 33, 1000])
@pytest.mark.parametrize("sizes", [(2, 2, 2, 1), (5, 2, 1), (3, 1, 1), (1, 3, 2), (5, 1, 2), (2, 3, 2)])
def test_blocks_and_choices_of_any_number(sizes: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five inputs give 32 choices of a neuron, and with two outputs 94: more than sixteen at once."""
    monkeypatch.setattr(blocks, "BLOCK", block)
    monkeypatch.setattr(blocks, "FEWEST_BLOCKS", 1)
    part = random_part(sizes, ["leaky_relu"] * (len(sizes) - 1), seed=block)
    examples = examples_of(part, n=130) if sizes[-1] == 1 else of_classes(part, 130)
    check_against_the_table(part, examples, ablation="zero", inputs="any")
    check_against_the_table(part, examples, ablation="mean", inputs="all")


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_examples_that_occur_once_twice_and_thrice(n_outputs: int) -> None:
    part = random_part((2, 3, n_outputs), ["tanh", "identity"], seed=7)
    few = examples_of(part, n=60) if n_outputs == 1 else of_classes(part, 60)
    rows = torch.cat([torch.arange(60), torch.arange(20, 60), torch.arange(40, 60)])
    examples = CircuitExamples(few.x[rows], few.target[rows], few.full[rows])
    sizes = blocks.blocked(group_examples(part.layers[-1], examples)).arrays[2]
    assert set(sizes.tolist()) == {1, 2, 3}
    check_against_the_table(part, examples, ablation="zero", inputs="all")


def test_a_network_of_two_neurons_by_hand() -> None:
    """z = relu(a) + relu(b), targets 0, 1, 2 on (0, 0), (1, 0), (1, 1). Both neurons as they are: all three right.
    Neuron 1 may read a or both, neuron 2 b or both; a and b must be read."""
    eye = torch.eye(2)
    part = Part((Layer(eye, torch.zeros(2), "relu"), Layer(torch.ones(1, 2), torch.zeros(1))))
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    examples = CircuitExamples(x, torch.tensor([0.0, 1.0, 2.0]), part(x)[:, 0])
    found, listed = take_census(part, examples, 3, 10)
    # (kept inputs of neuron 1, of neuron 2) → edges, right answers: (ab, –) 3, z = a: 2; (–, ab) 3, z = b: 1;
    # (ab, a) 5, z = a: 2; (ab, b) 5: 3; (a, ab) 5: 3; (b, ab) 5, z = b: 1; (ab, ab) 6: 3; (a, b) 4: 3;
    # (b, a) 4, z = 0: 1
    expected = np.zeros((3, 7, 4), dtype=np.int64)
    for nodes, edges, right in [(1, 3, 2), (1, 3, 1), (2, 5, 2), (2, 5, 3), (2, 5, 3), (2, 5, 1), (2, 6, 3)]:
        expected[nodes, edges, right] += 1
    expected[2, 4, 3] += 1
    expected[2, 4, 1] += 1
    assert np.array_equal(found.counts, expected)
    assert listed.tolist() == [0b111001, 0b111011, 0b111101, 0b111111]
    assert found.edge_counts.tolist() == [4, 2, 2, 4, 4, 4]


@pytest.mark.parametrize("sizes", [(3, 3, 1), (2, 3, 2), (2, 2, 3)])
@pytest.mark.parametrize("inputs", ["all", "any"])
def test_the_ways_to_choose_are_the_completions(sizes: tuple[int, ...], inputs: str) -> None:
    space = CircuitSpace(sizes, inputs)
    by_size, ways = ways_to_choose(space)
    n_in, n_neurons, n_out = sizes
    for n in range(n_neurons + 1):
        for active in range(1, n_in + 1):
            for unread in range(active + 1):
                for unused in range((n_out if inputs == "all" else 0) + 1):
                    assert ways[n, active, unread, unused] == completions(space, n, active, unread, unused)
                    counts = by_size[n, active, unread, unused]
                    assert counts.sum() == ways[n, active, unread, unused] and (counts >= 0).all()
                    assert not counts[0, 1:].any()  # no neuron, no edge


def test_every_number_of_threads_counts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    part, before = random_part((2, 3, 3, 1), ["relu"] * 3, seed=3), get_num_threads()
    examples = examples_of(part)
    found = []
    for n_threads in (1, before):
        set_num_threads(n_threads)
        for at_once in (1, 3000, 10**9):
            monkeypatch.setattr(census, "COUNTED_AT_ONCE", at_once)
            found.append(take_census(part, examples, 30, 50, salt=4))
    set_num_threads(before)
    assert found[0][0].counts.sum() == 9625
    for counts, listed in found[1:]:
        assert np.array_equal(counts.counts, found[0][0].counts) and np.array_equal(listed, found[0][1])
        assert np.array_equal(counts.edge_counts, found[0][0].edge_counts)


def test_an_interruption_ends_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    part = random_part((2, 3, 3, 1), ["relu"] * 3)
    calls = []

    def interrupted(thread: int, *given: Any) -> None:
        calls.append(thread)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(census, "count_items", interrupted)
    monkeypatch.setattr(census, "TURNS", 1000)
    with pytest.raises(KeyboardInterrupt):
        take_census(part, examples_of(part), 30, 50)
    assert len(calls) < 20


def test_progress_reports_all_circuits() -> None:
    part, steps = random_part((2, 3, 3, 1), ["relu"] * 3), []

    class Counted(Progress):
        def bar(self, description: str, total: int) -> Any:
            from contextlib import nullcontext

            assert (description, total) == ("circuits", 9625)
            return nullcontext(lambda n, note="": steps.append(n))

    take_census(part, examples_of(part), 30, 50, progress=Counted())
    assert sum(steps) == 9625


def test_the_time_of_a_census_is_estimated() -> None:
    space = CircuitSpace((3, 3, 3, 1))
    # On two cores: of 4 examples each takes 0.56 ns, of 100 examples 60 take 0.56 ns and the others 0.01 ns.
    assert seconds_of_census(space, 4, has_several=False) == pytest.approx(94_591 * 4 * 0.56e-9 / 2)
    assert seconds_of_census(space, 100, has_several=False) == pytest.approx(94_591 * (60 * 0.56 + 0.4) * 1e-9 / 2)
    assert seconds_of_census(space, 100, has_several=True) == pytest.approx(94_591 * (60 * 0.99 + 3.6) * 1e-9 / 2)
    # Two choices of a neuron of the last hidden layer fill two of sixteen lanes. 1-3-1-2-1 has seven nodes between its
    # root and its prefixes, and the family any of 3-1-2-1 seven roots, of which the first one isn't counted.
    thin = seconds_of_census(CircuitSpace((1, 9, 1)), 4, has_several=False)
    assert thin == pytest.approx(511 * 4 * 0.56e-9 / 2 * 8)
    deep = seconds_of_census(CircuitSpace((1, 3, 1, 2, 1)), 4, has_several=False)
    assert deep == pytest.approx(21 * 4 * 0.56e-9 / 2 * 8 + 7 * 0.2e-3)
    roots = seconds_of_census(CircuitSpace((3, 1, 2, 1), "any"), 4, has_several=False)
    assert roots == pytest.approx(21 * 4 * 0.56e-9 / 2 * 8 + 6 * 0.2e-3)
    # A space with more circuits than a float can hold has a time that is finite.
    assert 1e270 < seconds_of_census(CircuitSpace((40, 40, 1)), 10**4, has_several=False) < float("inf")

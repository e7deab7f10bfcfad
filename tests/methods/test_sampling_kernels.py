"""Right answers of any circuits by the kernel and by tensors; walks among the circuits that reach a level."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from mi_runner.datasets.outputs import Outputs
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.ablation import means_of
from mi_runner.methods.circuits.edges import Edges, bits_of
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.kernels import walks
from mi_runner.methods.circuits.kernels.sampling import BLOCK
from mi_runner.methods.circuits.measures import CircuitMeasures, measure_by_tensors
from mi_runner.methods.circuits.sampling.drawing import draws_of
from mi_runner.methods.circuits.sampling.measured import Answers, right_by_tensors
from mi_runner.methods.circuits.sampling.splitting import Level, Splitting, better_kinds, copies, next_score
from mi_runner.methods.circuits.space import CircuitSpace
from tests.small_parts import examples_of, random_part

CPU = torch.device("cpu")


def drawn(sizes: tuple[int, ...], n: int, inputs: str = "all") -> np.ndarray:
    circuits = draws_of(sizes, inputs).draw_any(n, np.random.default_rng(0))
    return np.concatenate([circuits, np.ones((1, circuits.shape[1]), dtype=bool)])


def several(activation: str, n_outputs: int, n: int) -> tuple[Part, CircuitExamples]:
    part = random_part((3, 4, n_outputs), ["relu", activation], seed=1)
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(n, 3, generator=draw)
    target = torch.randint(0, n_outputs, (n,), generator=draw)
    return part, CircuitExamples(x, target, part(x), kind=Outputs.logits)


def every_circuit(sizes: tuple[int, ...], inputs: str) -> np.ndarray:
    space = CircuitSpace(sizes, inputs)
    every = np.arange(2**space.n_edges, dtype=np.uint64)
    return space.edges.rows(every[space.are_well_formed(every)])


def scores_by_definition(part: Part, examples: CircuitExamples, circuits: np.ndarray, ablation: str) -> np.ndarray:
    """Right answers and the mean of 1 / (1 + distance) over the wrong ones, an example at a time."""
    means = means_of(part, examples.x, ablation)
    last = replace(part.layers[-1], activation="identity")
    before = replace(part, layers=(*part.layers[:-1], last))
    compared = part.without_softmax if examples.has_several else before
    outputs = outputs_of_circuits(compared, circuits, examples.x, means)
    answers = examples.kind.answers(outputs_of_circuits(part.without_softmax, circuits, examples.x, means))
    scores = []
    for z, answered in zip(outputs, answers, strict=True):
        near = []
        for value, answer, goal in zip(z, answered, examples.goal, strict=True):
            if answer == goal:
                continue
            if examples.has_several:
                others = [float(other) for k, other in enumerate(value) if k != int(goal)]
                near.append(1 / (1 + max(others) - float(value[int(goal)])))
            else:  # values in (goal − ½, goal + ½) are right
                near.append(1 / (1 + abs(float(value[0]) - float(goal)) - 0.5))
        scores.append(len(examples) - len(near) + (np.mean(near) if near else 0.0))
    return np.array(scores)


def moved(
    part: Part,
    examples: CircuitExamples,
    circuits: np.ndarray,
    level: Level,
    inputs: str = "all",
    ablation: str = "zero",
) -> tuple[np.ndarray, np.ndarray]:
    """The circuits after the moves of a level, and their scores."""
    answers = Answers.of(part, examples, ablation, CPU)
    splitting = Splitting(draws_of(part.sizes, inputs), answers, 1, np.random.default_rng(1))
    after = circuits.copy()
    return after, splitting.moved(after, level)[0]


def test_right_answers_of_a_network_by_hand() -> None:
    # y = relu(a − b) + relu(b − a) is XOR of a and b.
    part = Part(
        (
            Layer(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), torch.zeros(2), "relu"),
            Layer(torch.tensor([[1.0, 1.0]]), torch.zeros(1)),
        )
    )
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    target = torch.tensor([0.0, 1.0, 1.0, 0.0])
    examples = CircuitExamples(x, target, part(x)[:, 0])
    # Edges: a → h, b → h, a → k, b → k, h → y, k → y.
    circuits = np.array([[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 1], [1, 0, 0, 1, 1, 1]], dtype=bool)
    by_hand = [4, 3, 3, 3]  # (1, 1) gives 1 in the second; (1, 0) gives 0 in the third; (1, 1) gives 2 in the last
    assert Answers.of(part, examples, "zero", CPU).right(circuits).tolist() == by_hand


@pytest.mark.parametrize("ablation", ["zero", "mean"])
@pytest.mark.parametrize("valid_by", ["task", "agreement"])
@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu", "tanh", "sigmoid"])
def test_one_output_is_answered_as_by_tensors(activation: str, valid_by: str, ablation: str) -> None:
    part = random_part((3, 4, 3, 1), [activation, activation, activation], seed=1)
    examples = replace(examples_of(part, n=BLOCK + 90), valid_by=valid_by)
    circuits = drawn(part.sizes, 150)
    measures = measure_by_tensors(part, examples, bits_of(circuits), ablation=ablation)
    expected = CircuitMeasures.joined(list(measures)).right(valid_by)
    right = Answers.of(part, examples, ablation, CPU).right(circuits)
    assert right.tolist() == expected.tolist()
    on_device = right_by_tensors(part, examples, circuits, means_of(part, examples.x, ablation), CPU)
    assert on_device.tolist() == expected.tolist()
    assert len(set(right.tolist())) > 5


@pytest.mark.parametrize("n_outputs", [2, 3])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "sigmoid", "softmax", "log_softmax"])
def test_classes_are_answered_as_by_tensors(activation: str, n_outputs: int) -> None:
    part, examples = several(activation, n_outputs, BLOCK + 90)
    for valid_by, inputs in (("task", "all"), ("agreement", "any")):
        chosen = replace(examples, valid_by=valid_by)
        circuits = drawn(part.sizes, 150, inputs)
        measures = measure_by_tensors(part, chosen, bits_of(circuits), ablation="mean")
        expected = CircuitMeasures.joined(list(measures)).right(valid_by)
        right = Answers.of(part, chosen, "mean", CPU).right(circuits)
        assert right.tolist() == expected.tolist()
        assert len(set(right.tolist())) > 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_answers_as_the_processor() -> None:
    part, examples = several("identity", 3, 700)
    circuits = drawn(part.sizes, 300)
    answers = [Answers.of(part, examples, "mean", torch.device(name)).right(circuits) for name in ("cpu", "cuda")]
    assert np.abs(answers[0] - answers[1]).max() <= 2  # sums differ in the last digits


def test_equal_examples_count_as_often_as_they_occur() -> None:
    part = random_part((3, 4, 3, 1), ["relu", "relu", "identity"])
    few = examples_of(part, n=20)
    times = torch.arange(20) % 4 + 1
    many = CircuitExamples(*(getattr(few, name).repeat_interleave(times, 0) for name in ("x", "target", "full")))
    circuits = drawn(part.sizes, 100)
    by_tensors = right_by_tensors(part, many, circuits, None, CPU)
    assert Answers.of(part, many, "zero", CPU).right(circuits).tolist() == by_tensors.tolist()


# --- walks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ablation", ["zero", "mean"])
@pytest.mark.parametrize("inputs", ["all", "any"])
@pytest.mark.parametrize("n_outputs", [1, 2, 3])
def test_scores_after_moves_are_those_of_the_definition(n_outputs: int, inputs: str, ablation: str) -> None:
    if n_outputs == 1:
        part = random_part((3, 4, 3, 1), ["relu", "tanh", "identity"])
        examples = examples_of(part, n=BLOCK + 30)
    else:
        part, examples = several("identity", n_outputs, BLOCK + 30)
    circuits = drawn(part.sizes, 40, inputs)
    after, scores = moved(part, examples, circuits, Level(0, 0.0, 25), inputs, ablation)
    assert (after != circuits).any(1).mean() > 0.9
    assert CircuitSpace(part.sizes, inputs).are_well_formed(bits_of(after)).all()
    assert scores == pytest.approx(scores_by_definition(part, examples, after, ablation), abs=2e-4)


def test_a_walk_stays_at_its_level() -> None:
    part = random_part((3, 4, 3, 1), ["relu", "relu", "identity"])
    examples = examples_of(part, n=60)
    circuits = drawn(part.sizes, 400)
    _, scores = moved(part, examples, circuits, Level(0, 0.0))
    level = float(np.median(scores))
    after, later = moved(part, examples, circuits[scores >= level], Level(0, level, 30))
    assert later.min() >= level and level % 1 > 0
    assert scores_by_definition(part, examples, after, "zero").min() >= level - 2e-4


@pytest.mark.parametrize("kind", range(walks.N_KINDS))
@pytest.mark.parametrize("inputs", ["all", "any"])
def test_every_kind_of_move_keeps_the_uniform_law(kind: int, inputs: str) -> None:
    """From 300 times every circuit at the level, each is as frequent after some moves."""
    part = random_part((2, 2, 2, 1), ["relu", "relu", "identity"], seed=2)
    examples = examples_of(part, n=30)
    circuits = every_circuit(part.sizes, inputs)
    _, scores = moved(part, examples, circuits, Level(0, 0.0), inputs)
    level = float(np.quantile(scores, 0.4))
    start = np.repeat(circuits[scores >= level], 300, axis=0)
    after, _ = moved(part, examples, start, Level(0, level, 6, (kind,)), inputs)
    counts = np.array(list(Counter(bits_of(after).tolist()).values()))
    assert len(counts) == (scores >= level).sum()
    freedom = len(counts) - 1
    assert (((counts - 300) ** 2 / 300).sum() - freedom) / (2 * freedom) ** 0.5 < 3
    is_moved = (after != start).any(1).mean()
    assert is_moved > 0.2


def test_all_kinds_of_moves_together_reach_every_circuit() -> None:
    part = random_part((2, 2, 2, 1), ["relu", "relu", "identity"], seed=2)
    examples = examples_of(part, n=30)
    start = np.repeat(Edges(part.sizes).full, 6_900, axis=0)
    after, _ = moved(part, examples, start, Level(0, 0.0, 400))
    counts = np.array(list(Counter(bits_of(after).tolist()).values()))
    assert len(counts) == 69
    assert ((counts - 100) ** 2 / 100).sum() < 68 + 3 * (2 * 68) ** 0.5


def test_a_level_is_reached_by_a_third_and_is_above_the_last() -> None:
    scores = np.array([1.0, 2.5, 3.0, 3.0, 4.0, 4.5])
    assert next_score(scores, -1.0, 10.0) == 4.0
    assert next_score(scores, 4.0, 10.0) == 4.5
    assert next_score(scores, -1.0, 3.5) == 3.5
    assert next_score(scores, 4.5, 10.0) is None
    assert next_score(np.array([1.0, 1.0, 1.0, 2.0]), 1.0, 10.0) == 2.0


def test_survivors_are_copied_equally_often() -> None:
    chosen = copies(np.array([3, 5, 8]), 8, np.random.default_rng(0))
    assert sorted(Counter(chosen.tolist()).values()) == [2, 3, 3]


def test_moves_that_flip_more_edges_become_more_frequent() -> None:
    flipped = np.array([40, 0, 10, 0, 0])
    kinds = better_kinds(flipped, tuple(range(walks.N_KINDS)))
    assert np.bincount(kinds, minlength=walks.N_KINDS).tolist() == [26, 2, 8, 2, 2]
    # What was tried twice as often flipped as many edges a move as another one.
    again = better_kinds(np.array([20, 0, 10, 0, 0]), (0, 0, 1, 2, 3, 4))
    assert again.count(0) == again.count(2)

"""Circuits in regions: known in closed form, against dense samples, against mixed-integer programs, and by two routes.

The mixed-integer programs hold the whole problem: both networks, and a binary variable for each hidden neuron.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, milp
from torch import Tensor

from mi_runner.circuits import Circuit, certify
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.robustness import certify as certifying
from mi_runner.methods.robustness.boxes import PROVED, REFUTED, UNDECIDED
from mi_runner.methods.robustness.certify import Certificates, certify_circuits, certify_hull
from mi_runner.methods.robustness.difference import largest_differences
from mi_runner.methods.robustness.lines import lines_of, value
from mi_runner.methods.robustness.networks import arrays_of, levels_of
from mi_runner.methods.robustness.programs import Goal, largest, ranges_of
from tests.masked_parts import random_part

DOUBLE = torch.zeros((), dtype=torch.float64)
SIZES = (0.02, 0.1, 0.4)
KINDS = {"identity": 0, "relu": 1, "leaky_relu": 2, "tanh": 3, "sigmoid": 4}

SUM = Part((Layer(torch.eye(2), torch.zeros(2), "relu"), Layer(torch.tensor([[1.0, 0.2]]), torch.zeros(1))))
"""relu(x₁) + relu(x₂) / 5."""

FIRST = 0b01_0001
"""The circuit of x₁ alone."""


def some_circuits(part: Part, n: int, seed: int = 0) -> np.ndarray:
    """Returns distinct well-formed circuits, the full one first."""
    space = CircuitSpace(part.sizes, "any")
    draw = np.random.default_rng(seed)
    drawn = np.unique(draw.integers(1, space.full + 1, 4000).astype(np.uint64))
    drawn = drawn[space.are_well_formed(drawn) & (drawn != space.full)]
    return np.concatenate([[np.uint64(space.full)], draw.permutation(drawn)[: n - 1]])


def inside(x: Tensor, example: int, epsilon: float, n: int) -> Tensor:
    """Returns points `(n, n_0)` of an example's box: half of them corners."""
    draw = torch.Generator().manual_seed(example)
    shares = 2 * torch.rand(n, x.shape[1], generator=draw, dtype=torch.float64) - 1
    shares[: n // 2] = shares[: n // 2].sign()
    return x[example].double() + epsilon * x.double().std(0, correction=0) * shares


def known(part: Part, circuits: np.ndarray, x: Tensor, ablation: str = "zero") -> Certificates:
    means = part.to(DOUBLE).means(x.double()) if ablation == "mean" else None
    return certify_circuits(part, circuits, x, SIZES, means=means, lists_all=True)


# --- by hand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("corner", [0.5, 1.0, 2.0])
def test_the_largest_size_is_known_in_closed_form(corner: float) -> None:
    # the standard deviation is corner / 2; the circuit lacks x₂ / 5, which is corner / 5 at the second example
    x = torch.tensor([[0.0, 0.0], [corner, corner]])
    # around (0, 0) answers are 0 until 1.2 · ε · corner / 2 passes ½
    largest_at_zero = 0.5 / (1.2 * corner / 2)
    for share, status in ((0.999, "proved"), (1.001, "refuted")):
        assert certify(SUM, FIRST, x, share * largest_at_zero, examples=x[:1]).status == (status,)


def test_a_witness_lies_in_the_box_and_parts_circuit_and_network() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    found = certify(SUM, FIRST, x, 0.8)
    assert found.status == ("proved", "refuted")
    assert found.is_certified is False
    assert found.witnesses is not None
    assert found.witnesses[0].isnan().all()
    point = found.witnesses[1]
    assert ((point - 1).abs() <= 0.4 * (1 + 1e-12)).all()
    circuit, network = float(point[0]), float(point[0] + 0.2 * point[1])
    assert round(circuit) != round(network)


def test_an_input_that_never_varies_stays_fixed() -> None:
    x = torch.tensor([[0.0, 2.0], [1.0, 2.0]])  # x₂ adds 0.4 everywhere
    lacking = certify(SUM, FIRST, x, 0.15)
    assert lacking.status == ("proved", "proved")
    assert certify(SUM, FIRST, x, 0.3).status == ("refuted", "refuted")  # 0.4 and 1.4 pass ½ and 1½


def test_the_full_circuit_is_proved_where_the_network_changes_its_answer() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    found = certify_circuits(SUM, np.array([0b11_1001, FIRST], dtype=np.uint64), x, [3.0])
    assert found.n_changed.tolist() == [2]
    assert found.n_proved.tolist() == [[2, 0]]
    assert found.n_refuted.tolist() == [[0, 2]]


def test_a_circuit_that_lacks_only_what_never_fires_is_proved_where_the_network_changes_its_answer() -> None:
    dead = Part(
        (
            Layer(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([0.0, -50.0]), "relu"),
            Layer(torch.tensor([[1.0, 3.0]]), torch.zeros(1)),
        )
    )
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    without = np.array([0b01_0001, 0b11_0111, 0b01_0011], dtype=np.uint64)
    found = certify_circuits(dead, without, x, [3.0])
    assert found.n_changed.tolist() == [2]
    assert found.n_proved.tolist() == [[2, 2, 2]]


def test_what_is_proved_holds_for_all_smaller_boxes_and_what_is_refuted_for_all_larger() -> None:
    part = random_part((3, 3, 3, 1), "leaky_relu", seed=3)
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
    found = known(part, some_circuits(part, 40), x)
    assert found.status is not None
    for smaller, larger in ((0, 1), (1, 2)):
        assert (found.status[:, smaller][found.status[:, larger] == PROVED] == PROVED).all()
        assert (found.status[:, larger][found.status[:, smaller] == REFUTED] == REFUTED).all()


def test_counts_certificates_and_the_nearest_witness_follow_from_the_status_of_each_box() -> None:
    part = random_part((2, 3, 1), "relu", seed=5)
    x = torch.randn(10, 2, generator=torch.Generator().manual_seed(2)).repeat(2, 1)[:15]
    circuits = some_circuits(part, 30)
    found = known(part, circuits, x)
    assert found.status is not None
    of_each = found.status
    assert found.n_examples == 15
    for status, counts in ((PROVED, found.n_proved), (REFUTED, found.n_refuted), (UNDECIDED, found.n_undecided)):
        assert (counts == (of_each == status).sum(2).T).all()
    assert (found.is_certified == (of_each == PROVED).all(2).T).all()
    assert found.is_certified[:, 0].all()
    outputs = outputs_of_circuits(part.to(DOUBLE), Edges(part.sizes).rows(circuits), x.double(), None)[..., 0]
    assert (found.n_agreeing == (outputs.round() == outputs[0].round()).sum(1).numpy()).all()
    for row, (epsilon, example) in enumerate(zip(found.witness_epsilon, found.witness_example, strict=True)):
        refuted = (of_each[row] == REFUTED).any(1)
        assert math.isnan(epsilon) == (not refuted.any())
        if refuted.any():
            assert epsilon == found.epsilons[refuted.argmax()]
            far = abs(torch.from_numpy(found.witness[row]) - x[example].double())
            assert (far <= epsilon * x.double().std(0, correction=0) * (1 + 1e-12)).all()
            point = torch.from_numpy(found.witness[row])[None]
            one, other = (
                outputs_of_circuits(part.to(DOUBLE), rows, point, None).round()
                for rows in (Edges(part.sizes).rows(circuits[row : row + 1]), Edges(part.sizes).full)
            )
            assert one != other
        certified = np.flatnonzero(found.is_certified[:, row])
        assert (
            (found.largest[row] == found.epsilons[certified[-1]]) if len(certified) else math.isnan(found.largest[row])
        )


# --- against dense samples -------------------------------------------------------------------------------------------

NETWORKS = [
    ((3, 3, 3, 1), "leaky_relu", "leaky_relu", "zero", 7),
    ((3, 3, 3, 1), "relu", "identity", "mean", 7),
    ((2, 3, 1), "tanh", "identity", "zero", 7),
    ((3, 2, 2, 1), "sigmoid", "identity", "mean", 11),
    ((2, 3, 3), "relu", "identity", "mean", 7),
    ((2, 3, 3), "leaky_relu", "relu", "zero", 7),
    ((2, 4, 2), "leaky_relu", "leaky_relu", "zero", 3),
    ((2, 4, 2), "tanh", "softmax", "zero", 7),
    ((6, 3, 1), "relu", "identity", "zero", 7),
]


@pytest.mark.parametrize(("sizes", "hidden", "last", "ablation", "seed"), NETWORKS)
def test_no_sampled_point_contradicts_a_proof_and_every_witness_replays(
    sizes: tuple[int, ...], hidden: str, last: str, ablation: str, seed: int
) -> None:
    part = random_part(sizes, hidden, seed, last)
    x = torch.randn(12, sizes[0], generator=torch.Generator().manual_seed(3))
    circuits = some_circuits(part, 40)
    found = known(part, circuits, x, ablation)
    assert found.status is not None
    assert found.witnesses is not None
    assert {PROVED, REFUTED} <= set(np.unique(found.status).tolist())
    rows, full = Edges(part.sizes).rows(circuits), Edges(part.sizes).full
    own = part.to(DOUBLE)
    means = own.means(x.double()) if ablation == "mean" else None
    kind = Outputs.values if sizes[-1] == 1 else Outputs.logits

    def differ(kept: np.ndarray, points: Tensor) -> np.ndarray:
        answers = (kind.answers(outputs_of_circuits(own, one, points, means)) for one in (kept, full))
        one, other = answers
        return (one != other).numpy()

    def are_clear(kept: np.ndarray, points: Tensor) -> bool:
        outputs = outputs_of_circuits(own.without_softmax, kept, points, means)[0]
        if sizes[-1] == 1:
            return bool(((outputs - 0.5 - (outputs - 0.5).round()).abs() > 1e-9).all())
        ordered = outputs.sort(descending=True).values
        return bool((ordered[:, 0] - ordered[:, 1] > 1e-9).all())

    for r, epsilon in enumerate(SIZES):
        for d in range(len(x)):
            sampled = differ(rows, inside(x, d, epsilon, 200)).any(1)
            assert not sampled[found.status[:, r, d] == PROVED].any()
        for row in range(len(circuits)):
            refuted = np.flatnonzero(found.status[row, r] == REFUTED)
            if len(refuted):
                points = torch.from_numpy(found.witnesses[row, r, refuted])
                assert differ(rows[row : row + 1], points).all()
                assert are_clear(rows[row : row + 1], points)
                assert are_clear(full, points)
                far = (points - x[refuted].double()).abs()
                assert (far <= epsilon * x.double().std(0, correction=0) * (1 + 1e-9)).all()


@pytest.mark.parametrize("hidden", ["relu", "leaky_relu"])
def test_linear_programs_alone_decide_as_splitting_boxes_does(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part = random_part((3, 3, 2, 1), hidden, seed=11)
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(4))
    circuits = some_circuits(part, 15)
    split = known(part, circuits, x)
    monkeypatch.setattr(certifying, "MOST_BOXES", (0, 0, 0))
    solved = known(part, circuits, x)
    assert split.status is not None
    assert solved.status is not None
    both = (split.status != UNDECIDED) & (solved.status != UNDECIDED)
    assert both.mean() > 0.95
    assert (split.status == solved.status)[both].all()


# --- against mixed-integer programs ----------------------------------------------------------------------------------


def by_milp(part: Part, masks: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray, level: float) -> float:
    """Returns the largest min(f_C − level, level − f_G) over a box, for ReLU and one output, with zero ablation."""
    big = 100.0
    weights = [layer.weight.double().numpy() for layer in part.layers]
    biases = [layer.bias.double().numpy() for layer in part.layers]
    n_hidden = sum(part.sizes[1:-1])
    n_inputs = part.sizes[0]
    n = n_inputs + 4 * n_hidden + 1  # inputs, values and signs of both networks, t
    rows, lows, highs = [], [], []

    def add(coefficients: dict[int, float], at_most: float) -> None:
        row = np.zeros(n)
        for at, coefficient in coefficients.items():
            row[at] += coefficient
        rows.append(row)
        lows.append(-np.inf)
        highs.append(at_most)

    for which in range(2):
        start = n_inputs + which * 2 * n_hidden
        before = list(range(n_inputs))
        for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            kept = weight * masks[k] if which == 0 else weight
            if k == len(weights) - 1:
                sign = -1.0 if which == 0 else 1.0
                sums = {at: sign * float(kept[0, i]) for i, at in enumerate(before)}
                add({**sums, n - 1: 1.0}, sign * (level - float(bias[0])) if which else float(bias[0]) - level)
                break
            now = []
            for j in range(len(bias)):
                own, sign_of = start, start + n_hidden
                start += 1
                sums = {at: float(kept[j, i]) for i, at in enumerate(before) if kept[j, i]}
                add({**sums, own: -1.0}, -float(bias[j]))
                add({own: 1.0, sign_of: -big}, 0.0)
                add({own: 1.0, sign_of: big, **{at: -v for at, v in sums.items()}}, big + float(bias[j]))
                now.append(own)
            before = now
    of_sign = np.zeros(n, dtype=int)
    lower, upper = np.zeros(n), np.full(n, big)
    lower[:n_inputs], upper[:n_inputs] = low, high
    for which in range(2):
        first = n_inputs + which * 2 * n_hidden + n_hidden
        of_sign[first : first + n_hidden] = 1
        upper[first : first + n_hidden] = 1
    lower[-1], upper[-1] = -big, big
    costs = np.zeros(n)
    costs[-1] = -1
    found = milp(
        costs,
        constraints=LinearConstraint(np.array(rows), lows, highs),
        integrality=of_sign,
        bounds=(lower, upper),
        options={"presolve": False},
    )
    assert found.success
    return -float(found.fun)


def test_a_mixed_integer_program_decides_alike() -> None:
    part = random_part((2, 3, 2, 1), "relu", seed=19, last="identity")
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(5))
    circuits = some_circuits(part, 5)[1:]
    space, spread = CircuitSpace(part.sizes, "any"), x.double().std(0, correction=0).numpy()
    found = known(part, circuits, x)
    assert found.status is not None
    largest_sum = 6
    seen = set()
    for row, bits in enumerate(circuits):
        for d in range(len(x)):
            r = (row + d) % len(SIZES)
            center, width = x[d].double().numpy(), SIZES[r] * spread
            values = []
            for half in np.arange(-largest_sum, largest_sum) + 0.5:
                values.append(by_milp(part, space.masks(int(bits)), center - width, center + width, float(half)))
                swapped = by_milp_swapped(part, space.masks(int(bits)), center - width, center + width, float(half))
                values.append(swapped)
            most = max(values)
            status = found.status[row, r, d]
            seen.add(int(status))
            if abs(most) > 1e-5:
                assert status == (REFUTED if most > 0 else PROVED), (bits, d, most)
    assert seen >= {PROVED, REFUTED}


def by_milp_swapped(part: Part, masks: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray, level: float) -> float:
    """Returns the largest min(level − f_C, f_G − level) over a box: that of the networks of the opposite outputs."""
    last = part.layers[-1]
    opposite = Part((*part.layers[:-1], Layer(-last.weight, -last.bias)))
    return by_milp(opposite, masks, low, high, -level)


# --- differences -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "hidden", "last"),
    [
        ((2, 3, 2, 1), "relu", "identity"),
        ((2, 2, 2, 1), "leaky_relu", "leaky_relu"),
        ((2, 3, 1), "tanh", "sigmoid"),
        ((2, 3, 2), "relu", "identity"),
    ],
)
def test_the_largest_difference_is_that_of_a_fine_grid_or_more(sizes: tuple[int, ...], hidden: str, last: str) -> None:
    part = random_part(sizes, hidden, seed=17, last=last)
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(6))
    circuits = some_circuits(part, 6)
    found = largest_differences(part, circuits, x)
    assert (found.high - found.low <= 1.1e-6).all()
    assert (found.high[0] == 0).all()
    low, high = x.double().amin(0), x.double().amax(0)
    axes = [torch.linspace(float(a), float(b), 401, dtype=torch.float64) for a, b in zip(low, high, strict=True)]
    grid = torch.cartesian_prod(*axes)
    own = part.to(DOUBLE)
    rows = Edges(part.sizes).rows(circuits)
    gaps = (outputs_of_circuits(own, rows, grid, None) - own(grid)).abs()
    on_grid = gaps.amax(1).numpy()
    assert (on_grid <= found.high + 1e-12).all()
    assert np.allclose(on_grid, found.low, atol=0.02)
    for row in range(len(circuits)):
        for k in range(sizes[-1]):
            point = torch.from_numpy(found.points[row, k])[None]
            assert ((point >= low) & (point <= high)).all()
            here = (outputs_of_circuits(own, rows[row : row + 1], point, None) - own(point))[0, 0, k]
            assert abs(float(here)) == pytest.approx(found.low[row, k], abs=1e-12)


def test_a_difference_is_known_in_closed_form() -> None:
    x = torch.tensor([[0.0, -1.0], [2.0, 3.0]])
    found = largest_differences(SUM, np.array([FIRST], dtype=np.uint64), x)
    assert found.low[0, 0] == pytest.approx(0.6, abs=1e-7)
    assert found.high[0, 0] == pytest.approx(0.6, abs=2e-7)
    assert found.points[0, 0, 1] == pytest.approx(3.0)


def test_means_are_what_left_out_edges_carry() -> None:
    x = torch.tensor([[0.0, -1.0], [2.0, 3.0]])
    found = largest_differences(SUM, np.array([FIRST], dtype=np.uint64), x, means=SUM.means(x))
    assert found.high[0, 0] == pytest.approx(0.3, abs=2e-7)  # the mean of relu(x₂) is 1.5


# --- the hull --------------------------------------------------------------------------------------------------------


def test_the_hull_is_one_box() -> None:
    part = random_part((2, 3, 1), "relu", seed=19)
    x = torch.randn(15, 2, generator=torch.Generator().manual_seed(7))
    circuits = some_circuits(part, 20)
    found = certify_hull(part, circuits, x)
    assert (found.n_proved + found.n_refuted + found.n_undecided == 1).all()
    low, high = x.double().amin(0), x.double().amax(0)
    points = low + (high - low) * torch.rand(3000, 2, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    outputs = outputs_of_circuits(part.to(DOUBLE), Edges(part.sizes).rows(circuits), points, None)[..., 0].round()
    is_apart = (outputs != outputs[0]).any(1).numpy()
    assert not is_apart[found.n_proved[0] == 1].any()
    assert (found.n_refuted[0] == 1)[is_apart].all()


# --- lines, levels and programs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "slope"),
    [("relu", 0.0), ("leaky_relu", 0.1), ("leaky_relu", -0.5), ("leaky_relu", 1.7), ("tanh", 0.0), ("sigmoid", 0.0)],
)
@pytest.mark.parametrize(("low", "high"), [(-2.0, 1.0), (-0.3, 4.0), (0.5, 2.0), (-3.0, -0.1), (1.0, 1.0 + 1e-12)])
def test_an_activation_lies_between_its_lines(kind: str, slope: float, low: float, high: float) -> None:
    steep_below, start_below, steep_above, start_above = lines_of(KINDS[kind], slope, low, high)
    for z in np.linspace(low, high, 301):
        at = value(KINDS[kind], slope, float(z))
        assert steep_below * z + start_below <= at + 1e-12
        assert steep_above * z + start_above >= at - 1e-12


def test_levels_are_halves_and_a_tie_goes_to_the_even_number() -> None:
    leaky = Layer(torch.eye(1), torch.zeros(1), "leaky_relu", 0.5)
    assert levels_of(leaky, Outputs.values, 2.0).tolist() == [
        [-1.0, -0.5, 1.0],
        [0.5, 0.5, 0.0],
        [1.5, 1.5, 1.0],
        [2.5, 2.5, 0.0],
    ]
    sigmoid = Layer(torch.eye(1), torch.zeros(1), "sigmoid")
    assert levels_of(sigmoid, Outputs.probability, 9.0).tolist() == [[0.0, 0.5, 0.0]]
    assert levels_of(sigmoid, Outputs.logit, 9.0).shape == (0, 3)


def test_a_program_finds_the_largest_value_at_a_kink() -> None:
    # relu(z) − relu(2z − 1) rises to ½ at z = ½, where the second neuron begins to fire, and falls from there
    tent = Part(
        (
            Layer(torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, -1.0]), "relu"),
            Layer(torch.tensor([[1.0, -1.0]]), torch.zeros(1)),
        )
    )
    net = arrays_of(tent.to(DOUBLE))
    box = (np.array([-1.0]), np.array([2.0]))
    found = largest([net], [Goal((np.ones(1),), 0.0)], box, slack=0.0, gap=1e-9)
    assert found.low == pytest.approx(0.5, abs=1e-9)
    assert found.high == pytest.approx(0.5, abs=1e-7)
    assert found.point is not None
    assert found.point[0] == pytest.approx(0.5, abs=1e-6)
    assert ranges_of(net, *box, 0.0)[0, :2].tolist() == [[-1.0, 2.0], [-3.0, 3.0]]


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_mistakes_are_said() -> None:
    x = torch.rand(4, 2)
    with pytest.raises(ArgumentError, match="epsilons=0: give numbers above 0"):
        certify(SUM, FIRST, x, 0.0)
    with pytest.raises(ArgumentError, match="name each size once"):
        certify_circuits(SUM, np.array([FIRST], dtype=np.uint64), x, [0.1, 0.1])
    with pytest.raises(ArgumentError, match="of the 2 activations that enter the part"):
        certify(SUM, FIRST, torch.rand(4, 3), 0.1)
    with pytest.raises(ArgumentError, match="not a well-formed circuit"):
        certify(SUM, 0b01_0100, x, 0.1)
    falling = Part(
        (Layer(torch.eye(2), torch.zeros(2), "relu"), Layer(torch.ones(1, 2), torch.zeros(1), "leaky_relu", -0.5))
    )
    with pytest.raises(ArgumentError, match="not monotone"):
        certify(falling, FIRST, x, 0.1)


def test_a_circuit_brings_its_own_means() -> None:
    x = torch.tensor([[0.0, 4.0], [0.3, 4.0]])  # x₂ adds 0.8 everywhere, its mean as well
    circuit = Circuit(SUM, FIRST, means=SUM.means(x))
    assert certify(SUM, circuit, x, 0.1).status == ("proved", "proved")
    assert certify(SUM, FIRST, x, 0.1, means=SUM.means(x)).status == ("proved", "proved")
    assert certify(SUM, FIRST, x, 0.1).status == ("refuted", "refuted")

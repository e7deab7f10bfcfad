"""Do methods that find circuits find a planted one, and are their scores those of closed forms?

Letters: B examples, E edges.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from mi_runner.experiments.selftest.networks import circuits_of, planted, set_weights
from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.graph import ModelGraph, Part, find_part
from mi_runner.methods.discovery import scores
from mi_runner.methods.discovery.curves import cpr
from mi_runner.methods.discovery.detection import roc_auc
from mi_runner.methods.discovery.edge_pruning import edge_pruning
from mi_runner.methods.discovery.masked import MaskedPart
from mi_runner.methods.discovery.rankings import carried_forward, ranked_circuits
from mi_runner.methods.discovery.sampling import CircuitSampler
from mi_runner.methods.discovery.scores import eap, eap_ig, edge_patching
from mi_runner.methods.discovery.search import acdc, greedy

FORMULA = "(A & ~B) | (~A & C)"
"""Of three inputs; its network has edges besides the planted ones, into neurons that lead nowhere."""

Scores = Sequence[Tensor]


def _planted() -> tuple[Part, Tensor, Tensor, np.ndarray, np.ndarray]:
    """Returns a planted network with neurons that lead nowhere, its inputs and answers, its family and its truth."""
    part, truth, x, y = planted(FORMULA, 3, distractors=2, distractor_kind="ignored")
    family, of_truth = (np.concatenate([mask.reshape(-1) for mask in masks]) for masks in (truth.family, truth.planted))
    return part, x.double(), y.double(), family, of_truth


def area(method: Callable[..., Scores], ablation: str) -> Compared:
    """Compares the area under the ROC of a method's scores of edges of non-zero weight: 1 if the planted are first."""
    part, x, y, family, truth = _planted()
    return Compared(1.0, roc_auc(_flat(method(part, x, y, ablation))[family], truth[family]))


def _flat(layers: Scores) -> np.ndarray:
    return np.concatenate([layer.detach().reshape(-1).numpy() for layer in layers])


def area_by_pairs() -> Compared:
    """Compares an area with the share of pairs in which the true one is higher, equal ones as half."""
    values = [3.0, 1.0, 2.0, 2.0, 5.0, 2.0, 0.0, 3.0]
    truth = [True, False, True, False, False, True, False, False]
    pairs = [(a, b) for (a, t), (b, u) in itertools.product(zip(values, truth, strict=True), repeat=2) if t and not u]
    expected = sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs)
    return Compared(expected, roc_auc(np.array(values), np.array(truth)), 1e-12)


def random_area() -> Compared:
    """Compares the mean area of 400 random rankings with chance."""
    part, x, y, family, truth = _planted()
    draw = torch.Generator().manual_seed(0)
    areas = [
        roc_auc(_flat(scores.random(part, x, y, "zero", generator=draw))[family], truth[family]) for _ in range(400)
    ]
    return Compared(0.5, float(np.mean(areas)), 0.04)


def stands_with(method: Callable[[Part, Tensor, Tensor], np.ndarray]) -> Compared:
    """Compares the planted edges with those of them in the circuit that a method stands with at their number."""
    part, x, y, _, truth = _planted()
    found = method(part, x, y)
    return Compared(int(truth.sum()), int((found & truth).sum()) - int((found & ~truth).sum()))


def _greedy(part: Part, x: Tensor, y: Tensor) -> np.ndarray:
    return _at_planted_size(part, x, y, greedy(MaskedPart(part, x, y, "zero")).circuits[0])


def _acdc(part: Part, x: Tensor, y: Tensor) -> np.ndarray:
    return _at_planted_size(part, x, y, acdc(MaskedPart(part, x, y, "zero")).circuits[0])


def _pruned(part: Part, x: Tensor, y: Tensor) -> np.ndarray:
    draw = torch.Generator().manual_seed(0)
    found = edge_pruning(part, x, y, "zero", penalties=(0.1,), steps=100, generator=draw)
    return _at_planted_size(part, x, y, found)


def _ranked(part: Part, x: Tensor, y: Tensor) -> np.ndarray:
    """Returns the circuit of the highest scores of edge patching, as many as are planted."""
    masked, truth = MaskedPart(part, x, y, "zero"), _planted()[4]
    of_edges = _flat(edge_patching(part, x, y, "zero"))[None]
    found: np.ndarray = ranked_circuits(masked.edges, of_edges, np.array([truth.sum()]))[0, 0]
    return found


def _at_planted_size(part: Part, x: Tensor, y: Tensor, circuits: np.ndarray) -> np.ndarray:
    masked, truth = MaskedPart(part, x, y, "zero"), _planted()[4]
    found: np.ndarray = carried_forward(circuits, masked.objective(circuits), np.array([truth.sum()]))[0]
    return found


# --- closed forms of one linear layer --------------------------------------------------------------------------------

WEIGHT = [2.0, -1.0, 0.5]
X = [[1.0, 2.0, -1.0], [0.0, 1.0, 3.0], [2.0, -2.0, 1.0], [1.0, 1.0, 1.0]]
Y = [1.0, 0.0, 4.0, -1.0]


def attribution(method: Callable[..., Scores], along: float, ablation: str = "zero") -> Compared:
    """Compares the scores of a linear layer without bias with |Σ w (ablated − a) · 2 (output − y) / B|.

    Args:
        along: the mean share of the way from the ablated to the clean input at which the gradient is taken.
    """
    linear = nn.Linear(3, 1)
    set_weights(linear, [WEIGHT])
    x, y = torch.tensor(X).double(), torch.tensor(Y).double()
    part = find_part(ModelGraph.trace(nn.Sequential(linear), x[:2].float()), None)
    ablated = [0.0] * 3 if ablation == "zero" else [sum(column) / len(X) for column in zip(*X, strict=True)]
    expected = [0.0] * 3
    for row, target in zip(X, Y, strict=True):
        between = [at + along * (value - at) for at, value in zip(ablated, row, strict=True)]
        output = sum(w * value for w, value in zip(WEIGHT, between, strict=True))
        for edge, (w, at, value) in enumerate(zip(WEIGHT, ablated, row, strict=True)):
            expected[edge] += w * (at - value) * 2 * (output - target) / len(X)
    found = _flat(method(part, x, y, ablation)).tolist()
    return Compared(0.0, max(abs(abs(a) - b) for a, b in zip(expected, found, strict=True)), 1e-9)


def patched(ablation: str) -> Compared:
    """Compares edge patching in a linear layer with the mean of (w (ablated − a))²."""
    linear = nn.Linear(3, 1)
    set_weights(linear, [WEIGHT])
    x, y = torch.tensor(X).double(), torch.tensor(Y).double()
    part = find_part(ModelGraph.trace(nn.Sequential(linear), x[:2].float()), None)
    columns = list(zip(*X, strict=True))
    ablated = [sum(column) / len(X) if ablation == "mean" else 0.0 for column in columns]
    expected = [
        sum((w * (at - value)) ** 2 for value in column) / len(X)
        for w, at, column in zip(WEIGHT, ablated, columns, strict=True)
    ]
    found = _flat(edge_patching(part, x, y, ablation)).tolist()
    return Compared(0.0, max(abs(a - b) for a, b in zip(expected, found, strict=True)), 1e-9)


def straight_line() -> Compared:
    """Compares the area under f(k) = k/K of uneven sizes with ½."""
    sizes = np.array([0, 1, 3, 4, 8])
    return Compared(0.5, cpr(sizes / 8, sizes), 1e-12)


def sampled() -> Compared:
    """Compares how often each circuit of five edges of 3-2-1 is drawn with equal shares, by the largest difference."""
    of_five = [bits for bits in circuits_of((3, 2, 1), "any") if bits.bit_count() == 5]
    drawn = CircuitSampler((3, 2, 1), torch.Generator().manual_seed(0)).draw(5, 20_000)
    numbers = (drawn * 2 ** np.arange(8)).sum(1).tolist()
    shares = [numbers.count(bits) / len(numbers) for bits in of_five]
    return Compared(0.0, max(abs(share - 1 / len(of_five)) for share in shares), 0.015)


PLACE = "planted edges in the circuit of as many edges, less the others in it"

DISCOVERY = (
    Check(
        "patching_zero",
        "area under the ROC of edge patching where edges besides the planted lead nowhere",
        partial(area, edge_patching, "zero"),
    ),
    Check("patching_mean", "the same with mean ablation", partial(area, edge_patching, "mean")),
    Check("random", "mean area of 400 random rankings: chance", random_area),
    Check("area", "an area under the ROC with ties, by counting pairs", area_by_pairs),
    Check("ranked", f"edge patching: {PLACE}", partial(stands_with, _ranked)),
    Check("greedy", f"greedy: {PLACE}", partial(stands_with, _greedy)),
    Check("acdc", f"ACDC: {PLACE}", partial(stands_with, _acdc)),
    Check("edge_pruning", f"edge pruning: {PLACE}", partial(stands_with, _pruned)),
    Check(
        "patching_linear_zero",
        "largest difference of edge patching of a linear layer to a closed form",
        partial(patched, "zero"),
    ),
    Check("patching_linear_mean", "the same with mean ablation", partial(patched, "mean")),
    Check("eap_zero", "largest difference of EAP of a linear layer to a closed form", partial(attribution, eap, 1.0)),
    Check("eap_mean", "the same with mean ablation", partial(attribution, eap, 1.0, "mean")),
    Check(
        "eap_ig",
        "largest difference of EAP-IG, steps 0.1 to 1, of a linear layer to a closed form",
        partial(attribution, eap_ig, 0.55),
    ),
    Check("cpr", "area under a straight line", straight_line),
    Check("sampled", "largest difference of a circuit's share of 20,000 draws to equal shares", sampled),
)

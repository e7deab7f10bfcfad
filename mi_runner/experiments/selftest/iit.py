"""Is a planted direction found, and does the search fail where the network doesn't carry the variable?

Letters: P pairs, d units of the site.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.datasets import CausalModel, Dataset
from mi_runner.experiments.selftest.networks import set_weights
from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.graph import ModelGraph
from mi_runner.methods.adversary import fresh_rotation
from mi_runner.methods.alignment import Rotation, Units
from mi_runner.methods.interchange import Aligned, Pairs, counterfactual_correct, draw_pairs
from mi_runner.methods.interchange_options import RotationTraining

TURNED = [[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]]
"""An orthonormal matrix: its first column is the direction of a, its second that of b."""


def _sum(values: Tensor) -> Tensor:
    """Returns a + 3b of values `(B, 2)`."""
    return (values[:, 0] + 3 * values[:, 1]).float()


def _xor(values: Tensor) -> Tensor:
    return (values[:, 0] != values[:, 1]).long()


def _dataset(values: Tensor, *, classes: bool) -> Dataset:
    causal = CausalModel(("a", "b"), values, values, _xor if classes else _sum)
    x, y = values.float(), causal.mechanism(values)
    return Dataset("selftest", x, y, x, y, ("0", "1") if classes else None, causal_model=causal)


def _turned(*, has_a: bool) -> tuple[nn.Module, Dataset]:
    """Returns a linear network that answers a + 3b, or 3b, with what it reads along directions of site 0."""
    draw = torch.Generator().manual_seed(0)
    data = _dataset(torch.rand(400, 2, generator=draw, dtype=torch.float64), classes=False)
    into, out = nn.Linear(2, 3), nn.Linear(3, 1)
    set_weights(into, [[has_a * of_a, of_b] for of_a, of_b, _ in TURNED])
    set_weights(out, [[of_a + 3 * of_b for of_a, of_b, _ in TURNED]])
    return nn.Sequential(into, out), data


def _found(net: nn.Module, data: Dataset) -> tuple[Aligned, Pairs]:
    """Returns the network with the direction that is trained to carry a, and the pairs that trained it."""
    assert data.causal_model is not None
    draw = torch.Generator().manual_seed(1)
    graph = ModelGraph.trace(net, data.x_test[:2])
    aligned = Aligned(net, graph, "0", Rotation((3,), 1, 1, generator=draw))
    values = data.causal_model.values_train
    pairs = draw_pairs(data.causal_model, values, [("a",)], 1_000, among=torch.arange(len(values)), generator=draw)
    how = RotationTraining(size=1, epochs=30, batch_size=50, learning_rate=0.1)
    return fresh_rotation(aligned, data, pairs, _squared_error, how, generator=draw), pairs


def _squared_error(outputs: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    return functional.mse_loss(outputs.squeeze(1), labels, reduction=reduction)


def direction() -> Compared:
    """Compares the absolute cosine of the direction that is found and the planted one with 1."""
    found, _ = _found(*_turned(has_a=True))
    assert isinstance(found.alignment, Rotation)
    vector = found.alignment.directions().detach()[0].tolist()
    return Compared(1.0, abs(sum(one * row[0] for one, row in zip(vector, TURNED, strict=True))), 0.02)


def not_carried() -> Compared:
    """Compares the error left by the direction for a where site 0 has b alone with that of no swap at all.

    a is independent of b, so that no swap makes the answer follow it. The answer without a swap is 3b of the base, and
    the label a of the source + 3b of the base: the error is the mean of a².
    """
    net, data = _turned(has_a=False)
    found, pairs = _found(net, data)
    sources = pairs.sources[:, 0].tolist()
    expected = sum(float(data.x_train[source, 0]) ** 2 for source in sources) / len(sources)
    with torch.no_grad():
        outputs = found.outputs_on(data.x_train, pairs.base, pairs.sources)
    return Compared(expected, float(_squared_error(outputs, pairs.labels)), 0.03)


# --- units -----------------------------------------------------------------------------------------------------------


def _xor_by_units() -> tuple[nn.Module, Dataset]:
    """Returns a network whose unit 0 of site 1 carries a, and unit 1 b; it answers a xor b by two logits."""
    into, hidden, out = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    set_weights(into, [[1.0, 0.0], [0.0, 1.0]])
    set_weights(hidden, [[1.0, -1.0], [-1.0, 1.0]])
    set_weights(out, [[-1.0, -1.0], [1.0, 1.0]], [0.5, -0.5])
    values = torch.tensor(list(itertools.product((0.0, 1.0), repeat=2))).double()
    return nn.Sequential(into, nn.ReLU(), hidden, nn.ReLU(), out), _dataset(values, classes=True)


def swapped(unit: int) -> Compared:
    """Compares the interchange accuracy for a at a unit with that by hand, over all ordered pairs."""
    net, data = _xor_by_units()
    assert data.causal_model is not None
    values = data.causal_model.values_test
    pairs = [(base, source) for base, source in itertools.product(range(4), repeat=2) if base != source]
    n_right = 0
    for one, other in pairs:
        (a, b), (a_source, b_source) = values[one].tolist(), values[other].tolist()
        answer = a_source != b if unit == 0 else a != b_source
        n_right += answer == (a_source != b)
    base, sources = torch.tensor([one for one, _ in pairs]), torch.tensor([[other] for _, other in pairs])
    labels = data.causal_model.counterfactual(values[base], {"a": values[sources[:, 0]]})
    aligned = Aligned(net, ModelGraph.trace(net, data.x_test[:2]), "1", Units((2,), [torch.tensor([unit])]))
    right, _ = counterfactual_correct(aligned, data, Pairs(base, sources, labels, labels != data.y_test[base]))
    return Compared(n_right / len(pairs), float(right.double().mean()), 1e-9)


def planted_unit() -> Compared:
    return swapped(0)


def other_unit() -> Compared:
    return swapped(1)


def counterfactual_labels() -> Compared:
    """Compares drawn pairs whose label is a of the source xor b of the base with the number of pairs."""
    _, data = _xor_by_units()
    assert data.causal_model is not None
    values = data.causal_model.values_test
    draw = torch.Generator().manual_seed(0)
    pairs = draw_pairs(data.causal_model, values, [("a",)], 200, among=torch.arange(4), generator=draw)
    n_right = sum(
        label == (values[source, 0] != values[base, 1])
        for label, base, source in zip(
            pairs.labels.tolist(), pairs.base.tolist(), pairs.sources[:, 0].tolist(), strict=True
        )
    )
    return Compared(200, int(n_right))


def projected() -> Compared:
    """Compares a swap along a direction v with base + v (v · (source − base)), by plain loops."""
    rotation = Rotation((3,), 1, 1, generator=torch.Generator().manual_seed(3))
    base, source = [1.0, -2.0, 0.5], [0.0, 3.0, 1.0]
    vector = rotation.directions().detach()[0].tolist()
    along = sum(v * (s - b) for v, s, b in zip(vector, source, base, strict=True))
    expected = [b + along * v for b, v in zip(base, vector, strict=True)]
    found = rotation(torch.tensor([base]), [torch.tensor([source])]).detach()[0].tolist()
    length = sum(v * v for v in vector)
    return Compared(0.0, max(abs(length - 1), *(abs(a - b) for a, b in zip(expected, found, strict=True))), 1e-5)


IIT = (
    Check("labels", "pairs with the counterfactual label, by hand", counterfactual_labels),
    Check("planted_unit", "interchange accuracy at the unit that carries the variable", planted_unit),
    Check("other_unit", "interchange accuracy at another unit, by hand", other_unit),
    Check("projected", "largest difference of a swap along a direction to plain loops", projected),
    Check("direction", "cosine of the trained and the planted direction", direction),
    Check(
        "not_carried",
        "error of the trained direction where the network doesn't carry the variable: as without a swap",
        not_carried,
    ),
)

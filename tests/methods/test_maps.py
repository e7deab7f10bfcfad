"""Maps: bijections, gradients of the kernel beside torch's, swaps by hand, ceilings and neurons by trying all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

from mi_runner.methods import alignment
from mi_runner.methods.alignment import Mapped, Units
from mi_runner.methods.interchange import InterchangeTraining, Stopping, train_by_interchange
from mi_runner.methods.maps.bijections import (
    Map,
    Neurons,
    Reflections,
    RevNet,
    Rotation,
    check_bijection,
)
from mi_runner.methods.maps.coupling import by_torch, coupled
from mi_runner.methods.maps.kernel import BLOCK
from mi_runner.methods.maps.limits import best_neurons, ceiling
from tests.interchanges import TURN, Xor, aligned, bits, direction, iia, pairs


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def values(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=drawn(seed))


def filled(revnet: RevNet, seed: int = 3, by: float = 0.1) -> RevNet:
    """Larger weights than the first ones, with which each block changes much."""
    with torch.no_grad():
        for parameter in revnet.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=drawn(seed)))
    return revnet


MAPS: dict[str, Callable[[int], Map]] = {
    "neurons": lambda d: Neurons(d, [d - 1, 0]),
    "rotation": lambda d: Rotation(d, generator=drawn()),
    "part of a rotation": lambda d: Rotation(d, 2, generator=drawn()),
    "parametrization": lambda d: Rotation(d, generator=drawn(), steps="parametrization"),
    "part of a parametrization": lambda d: Rotation(d, 2, generator=drawn(), steps="parametrization"),
    "revnet": lambda d: filled(RevNet(d, blocks=10, width=16, generator=drawn())),
}


@pytest.mark.parametrize("d", [6, 7, 16])
@pytest.mark.parametrize("build", MAPS.values(), ids=MAPS)
def test_the_inverse_gives_the_values_back(build: Callable[[int], Map], d: int) -> None:
    of_map, x = build(d), values(300, d)
    with torch.no_grad():
        coordinates = of_map(x)
        assert coordinates.shape == x.shape and not torch.allclose(coordinates, x, atol=0.1)
        assert float((of_map.inverse(coordinates) - x).abs().max()) < 1e-5
    check_bijection(of_map, x, "of_map")


@pytest.mark.parametrize("steps", ["retraction", "parametrization"])
@pytest.mark.parametrize("k", [2, 6])
def test_a_rotation_keeps_lengths_and_starts_at_the_drawn_directions(steps: str, k: int) -> None:
    rotation, x = Rotation(6, k, generator=drawn(), steps=steps), values(20, 6)  # type: ignore[arg-type]
    start = Rotation(6, k, generator=drawn())
    assert torch.allclose(rotation.directions(), start.directions(), atol=1e-5)
    assert torch.allclose(rotation(x).norm(dim=1), x.norm(dim=1), atol=1e-4)
    assert torch.allclose(rotation(x)[:, :k], x @ rotation.directions().T, atol=1e-5)
    optimizer = torch.optim.Adam(rotation.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (x @ rotation.directions().T)[:, 0].sum().backward()
        optimizer.step()
        rotation.retract()
    turned = rotation.directions()
    assert not torch.allclose(turned, start.directions(), atol=1e-2)
    assert torch.allclose(turned @ turned.T, torch.eye(k), atol=1e-5)


@pytest.mark.parametrize(("k", "d"), [(1, 5), (3, 7), (4, 12)])
def test_reflections_step_as_torchs_own_parametrization(k: int, d: int) -> None:
    start = Rotation(d, k, generator=drawn()).directions().detach()
    own, torchs = nn.Linear(d, k, bias=False), nn.Linear(d, k, bias=False)
    for module in (own, torchs):
        module.weight = nn.Parameter(start.clone())
    reflections = Reflections(start, drawn(1))
    frame = reflections.in_frame(torch.eye(d)).T
    assert torch.allclose(frame.T @ frame, torch.eye(d), atol=1e-5) and torch.allclose(frame[:, :k].T, start, atol=1e-5)
    parametrize.register_parametrization(own, "weight", reflections)
    parametrizations.orthogonal(torchs, "weight", orthogonal_map="householder")
    torchs.parametrizations.weight[0].base = frame  # type: ignore[union-attr, index]
    assert torch.allclose(own.weight, start, atol=1e-5) and torch.allclose(torchs.weight, start, atol=1e-5)
    x, wanted = values(30, d), values(30, k, seed=1)
    optimizers = [torch.optim.Adam(module.parameters(), lr=0.05) for module in (own, torchs)]
    for _ in range(5):
        for module, optimizer in zip((own, torchs), optimizers, strict=True):
            optimizer.zero_grad()
            ((module(x) - wanted) ** 2).mean().backward()
            optimizer.step()
        assert torch.allclose(own.weight, torchs.weight, atol=1e-4)
    assert not torch.allclose(own.weight, start, atol=0.05)


def test_a_revnet_by_hand() -> None:
    """One block on 1 + 1 coordinates with one hidden unit: F(x) = 2 relu(3x + 1) + 4, G(y) = −relu(y − 5)."""
    revnet = RevNet(2, blocks=1, width=1, generator=drawn())
    with torch.no_grad():
        for parameter, numbers in zip(revnet.parameters(), ([3, 1], [1, -5], [2, -1], [4, 0]), strict=True):
            parameter.copy_(torch.tensor(numbers).float().view(parameter.shape))
        assert revnet(torch.tensor([[1.0, 2.0], [1.0, -1.0]])).tolist() == [[19.0, -12.0], [5.0, -1.0]]
        assert revnet.inverse(torch.tensor([[19.0, -12.0], [5.0, -1.0]])).tolist() == [[1.0, 2.0], [1.0, -1.0]]


def test_first_weights_are_those_of_linear_layers_and_an_odd_site_has_fewer_parameters() -> None:
    revnet = RevNet(64, blocks=40, width=16, generator=drawn())
    for weight, bias, fan_in in ((revnet.w1, revnet.b1, 32), (revnet.w2, revnet.b2, 16)):
        bound = 1 / math.sqrt(fan_in)
        assert 0.98 * bound < float(weight.detach().abs().max()) <= bound >= float(bias.detach().abs().max())
    # F: 2 → 4 → 3, G: 3 → 4 → 2
    assert RevNet(5, blocks=2, width=4, generator=drawn()).n_parameters == 2 * (
        (2 * 4 + 4 + 4 * 3 + 3) + (3 * 4 + 4 + 4 * 2 + 2)
    )
    assert RevNet(6, blocks=2, width=4, generator=drawn()).n_parameters == 2 * 2 * (3 * 4 + 4 + 4 * 3 + 3)
    with pytest.raises(ValueError, match="at least 2 units"):
        RevNet(1, generator=drawn())


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("n", [1, BLOCK, 3 * BLOCK + 7, 40 * BLOCK])
def test_the_kernel_has_the_values_and_gradients_of_torch(inverse: bool, n: int) -> None:
    revnet, x = filled(RevNet(10, blocks=3, width=7, generator=drawn())), values(n, 10)
    of_out = values(n, 10, seed=1)
    parameters = [revnet.w1, revnet.b1, revnet.w2, revnet.b2]
    found = []
    for function, dtype in ((coupled, torch.float32), (by_torch, torch.float64)):
        own = [one.detach().to(dtype).requires_grad_() for one in (x, *parameters)]
        out = function(*own, inverse=inverse)
        found.append((out.detach().double(), [one.double() for one in torch.autograd.grad(out, own, of_out.to(dtype))]))
    (out, gradients), (wanted, wanted_gradients) = found
    assert torch.allclose(out, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    for gradient, other in zip(gradients, wanted_gradients, strict=True):
        assert torch.allclose(gradient, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_a_large_site_and_other_types_take_torch() -> None:
    revnet = RevNet(300, blocks=2, width=4, generator=drawn())
    x = values(5, 300)
    assert torch.allclose(revnet.inverse(revnet(x)), x, atol=1e-5)
    small = RevNet(4, blocks=2, width=4, generator=drawn()).double()
    assert torch.autograd.gradcheck(small, values(3, 4).double().requires_grad_())


class Twice(nn.Module):
    """A map whose inverse is wrong."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x

    def inverse(self, coordinates: Tensor) -> Tensor:
        return coordinates


class Narrow(Twice):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 1:]


def test_what_is_no_bijection_is_refused() -> None:
    with pytest.raises(ValueError, match=r"is from itself|from itself after the map and its inverse. Let inverse undo"):
        check_bijection(Twice(), values(5, 3), "mine")
    with pytest.raises(ValueError, match=r"of \(5, 3\) it makes \(5, 2\)"):
        check_bijection(Narrow(), values(5, 3), "mine")
    with pytest.raises(ValueError, match="name units from 0 to 2, each once"):
        Neurons(3, [1, 1])


# --- places ----------------------------------------------------------------------------------------------------------


def test_swaps_by_hand_also_where_a_source_is_the_base() -> None:
    of_map = filled(RevNet(6, blocks=2, width=5, generator=drawn()))
    base, one, other = values(9, 6), values(9, 6, seed=1), values(9, 6, seed=2)
    one[:4], other[3:7] = base[:4], base[3:7]
    with torch.no_grad():
        found = Mapped((6,), of_map, [2, 3])(base, [one, other])
        coordinates = of_map(base)
        coordinates[:, :2] = of_map(one)[:, :2]
        coordinates[:, 2:5] = of_map(other)[:, 2:5]
        assert torch.allclose(found, of_map.inverse(coordinates), atol=1e-4)
        assert torch.allclose(found[3], base[3], atol=1e-4)


def test_neurons_are_units_and_a_rotation_as_a_map_swaps_what_directions_swap() -> None:
    base, one, other = values(5, 6), values(5, 6, seed=1), values(5, 6, seed=2)
    neurons = Mapped((6,), Neurons(6, [4, 1, 3]), [1, 2])
    units = Units((6,), [torch.tensor([4]), torch.tensor([1, 3])])
    assert torch.equal(neurons(base, [one, other]), units(base, [one, other]))
    rotation = alignment.Rotation((6,), 2, [1, 2], generator=drawn())
    with torch.no_grad():
        as_map = Mapped((6,), rotation.map, [1, 2])
        assert torch.allclose(as_map(base, [one, other]), rotation(base, [one, other]), atol=1e-5)
    with pytest.raises(ValueError, match="7 coordinates do not fit in a space of 6 units"):
        Mapped((6,), Neurons(6), [4, 3])


@pytest.mark.parametrize("k", [2, 6])
def test_the_error_of_an_inverse_needs_only_the_directions_of_a_rotation(k: int) -> None:
    """Directions that are too long by a thousandth: the map of all numbers deviates as the directions alone do."""
    rotation, x = alignment.Rotation((2, 3), 1, k, generator=drawn()), values(50, 6).view(50, 2, 3)
    assert rotation.inverse_error(x) < 1e-5
    directions = rotation.directions().detach() * 1.001
    rotation.map.directions = lambda: directions  # type: ignore[method-assign]
    full = Mapped((2, 3), rotation.map, [k]).inverse_error(x)
    assert 1e-3 < full == pytest.approx(rotation.inverse_error(x), rel=1e-2)
    assert Mapped((6,), Twice(), [1]).inverse_error(torch.tensor([[1.0, -3, 0, 0, 0, 2]])) == 3


@pytest.mark.parametrize("steps", ["retraction", "parametrization"])
def test_each_way_of_stepping_finds_the_direction(steps: str) -> None:
    dataset = bits()
    found = aligned(Xor(TURN), "first", alignment.Rotation((2,), 1, 1, generator=drawn(5), steps=steps))  # type: ignore[arg-type]
    how = InterchangeTraining(what="rotation", epochs=20, batch_size=50, rotation_learning_rate=0.05, warmup_steps=0)
    given = pairs(dataset, "test", ("a",))
    before = iia(found, dataset, given)
    train_by_interchange(found, dataset, pairs(dataset, "train", ("a",)), how, functional.cross_entropy)
    assert before < 0.9 < iia(found, dataset, given)


# --- when a training stops -------------------------------------------------------------------------------------------


def stopped(
    stopping: Callable[[], Stopping], losses: Sequence[float], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    """Returns after how many epochs a training with these losses ends, and the weight of its rotation."""
    from mi_runner.methods import interchange

    given, weights = iter(losses), list[Tensor]()
    dataset, rotation = bits(), direction(5)
    found = aligned(Xor(TURN), "first", rotation)

    def loss_on(*_: object) -> float:
        weights.append(rotation.weight.detach().clone())
        return next(given)

    monkeypatch.setattr(interchange._Steps, "loss_on", loss_on)
    how = InterchangeTraining(what="rotation", epochs=8, batch_size=100, rotation_learning_rate=0.05, warmup_steps=0)
    history = train_by_interchange(
        found, dataset, pairs(dataset, "train", ("a",)), how, functional.cross_entropy, stopping=stopping()
    )
    (kept,) = [number for number, weight in enumerate(weights) if torch.equal(weight, rotation.weight)]
    assert [row["stop_loss"] for row in history if "stop_loss" in row] == list(losses[: len(weights)])
    return len(weights), kept


@pytest.mark.parametrize(
    ("options", "losses", "epochs", "kept"),
    [
        # Three steps an epoch. The fall by 0.0005 is no improvement, but the map is the best.
        ({"steps": 6}, [3, 2, 1.9995, 2.5, 9, 9, 9, 9], 4, 2),
        # Falls that add up to an improvement are one.
        ({"steps": 6}, [3, 2, 1.9995, 1.998, 1.999, 1.999, 9, 9], 6, 3),
        ({"steps": 6, "epochs": 4}, [3, 2, 2, 2, 2, 2, 9, 9], 6, 1),
        ({"steps": 1000}, [3, 2, 4, 5, 6, 7, 8, 9], 8, 1),
        ({"steps": 6, "improvement": 1.5}, [3, 2, 1.9, 1.8, 1, 9, 9, 9], 3, 2),
    ],
)
def test_when_a_training_stops_and_what_it_keeps(
    options: dict[str, float], losses: list[float], epochs: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = pairs(bits(), "train", ("b",))
    found = stopped(lambda: Stopping(given, **options), losses, monkeypatch)  # type: ignore[arg-type]
    assert found == (epochs, kept)


def test_the_loss_to_stop_by_adds_the_means_of_batches() -> None:
    dataset, found = bits(), aligned(Xor(TURN), "first", direction(5))
    others = pairs(dataset, "train", ("b",), n=150)
    how = InterchangeTraining(what="rotation", epochs=1, batch_size=100, rotation_learning_rate=1e-9, warmup_steps=0)
    history = train_by_interchange(
        found, dataset, pairs(dataset, "train", ("a",)), how, functional.cross_entropy, stopping=Stopping(others)
    )
    with torch.no_grad():
        losses = [
            functional.cross_entropy(found.outputs_on(dataset.x_train, base, sources), labels)
            for base, sources, labels in zip(
                *(part.split(100) for part in (others.base, others.sources, others.labels)), strict=True
            )
        ]
    assert history[-1]["stop_loss"] == pytest.approx(float(sum(losses)), rel=1e-5)
    network = InterchangeTraining(what="both", epochs=1)
    with pytest.raises(ValueError, match="only where the network stays as it is"):
        train_by_interchange(found, dataset, others, network, functional.cross_entropy, stopping=Stopping(others))


# --- what no map can do, and what the weakest one does ---------------------------------------------------------------


def test_no_map_passes_the_ceiling() -> None:
    """Against trying every function of the values: three values at the site, two labels."""
    draw = drawn(7)
    numbers = torch.randint(3, (12,), generator=draw)
    base, sources = torch.randint(12, (40,), generator=draw), torch.randint(12, (40, 1), generator=draw)
    labels = torch.randint(2, (40,), generator=draw)
    found = ceiling(numbers.float()[:, None] * 0.3, base, sources, labels)
    seen = (numbers[base] * 3 + numbers[sources[:, 0]]).tolist()
    best = max(
        sum(answers[key] == label for key, label in zip(seen, labels.tolist(), strict=True))
        for answers in itertools.product((0, 1), repeat=9)
    )
    assert found == best / 40 < 1
    assert ceiling(torch.arange(12.0)[:, None], torch.arange(12), torch.arange(12)[:, None], labels[:12]) == 1


def test_neurons_are_the_best_of_all_choices_at_each_step() -> None:
    base, *sources = values(20, 5), values(20, 5, seed=1), values(20, 5, seed=2)
    weights = values(1, 5, seed=3)[0]
    wanted = values(20, 1, seed=4)[:, 0]

    def loss(value: Tensor) -> Tensor:
        return ((torch.tanh(value) @ weights - wanted) ** 2).mean()

    steps: list[int] = []
    places = best_neurons(loss, base, sources, 2, chosen=lambda: steps.append(1))
    assert len(steps) == 2 and len({*places[0], *places[1]}) == 4

    def of(first: list[int], second: list[int]) -> float:
        value = base.clone()
        value[:, first], value[:, second] = sources[0][:, first], sources[1][:, second]
        return float(loss(value))

    assert min(itertools.permutations(range(5), 2), key=lambda pair: of([pair[0]], [pair[1]])) == (
        places[0][0],
        places[1][0],
    )
    left = [unit for unit in range(5) if unit not in (places[0][0], places[1][0])]
    best = min(itertools.permutations(left, 2), key=lambda pair: of([places[0][0], pair[0]], [places[1][0], pair[1]]))
    assert best == (places[0][1], places[1][1])
    with pytest.raises(ValueError, match="2000 units for 2 variables are 3,998,000 choices|1,999,000"):
        best_neurons(loss, values(2, 2000), [values(2, 2000)] * 2, 1)

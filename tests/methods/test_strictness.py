"""Strict interchange training: what it swaps, its loss by hand, and effects on networks whose truth is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.errors import ArgumentError
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.alignment import Rotation, Units
from mi_runner.methods.interchange import Aligned, InterchangeTraining, train_by_interchange
from mi_runner.methods.strictness import SparePlace, SparePlaces, effects, spare_places
from mi_runner.training.evaluation import loss_function
from mi_runner.training.options import TrainingOptions
from tests.interchanges import TURN, Xor, aligned, bits, direction, pairs, sgd

LOSS = loss_function(TrainingOptions(), bits())

ALL_OF_FIRST = Units((2,), [torch.tensor([0]), torch.tensor([1])])


def unit(number: int) -> Units:
    return Units((2,), [torch.tensor([number])])


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


# --- places ----------------------------------------------------------------------------------------------------------


def test_spare_places_are_the_units_that_no_variable_has() -> None:
    found = aligned(Xor(), "first", unit(1))
    assert spare_places(found, ["first", "second"]) == [
        SparePlace("first", 0), SparePlace("second", 0), SparePlace("second", 1)
    ]  # fmt: skip
    assert spare_places(aligned(Xor(), "first", ALL_OF_FIRST), ["first"]) == []
    assert spare_places(aligned(Xor(), "first", direction(size=2)), ["first"]) == []
    assert [place.unit for place in spare_places(aligned(Xor(), "first", direction()), ["first"])] == [0, 1]


def test_a_channel_is_a_place_and_what_the_variables_have_of_it_stays() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).eval()
    graph = ModelGraph.trace(net, torch.zeros(2, 1, 2, 2))
    found = Aligned(net, graph, "0", Units((3, 2, 2), ["[0]", "[1, 0]"]))
    assert [place.unit for place in spare_places(found, ["0"])] == [1, 2]
    base, source = torch.zeros(5, 3, 2, 2), torch.ones(5, 3, 2, 2)
    channel = SparePlace("0", 1).swapped(found, base, source)
    assert channel.sum(0).tolist() == [[[0, 0], [0, 0]], [[0, 0], [5, 5]], [[0, 0], [0, 0]]]
    assert SparePlace("0").swapped(found, base, source).sum() == 5 * 6
    assert SparePlace("1").swapped(found, base, source).sum() == 5 * 12  # another site has no places


def test_directions_of_a_rotation_keep_the_coordinate_of_the_base() -> None:
    rotation = Rotation((4,), 2, 1, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2)).eval()
    found = Aligned(net, ModelGraph.trace(net, torch.zeros(1, 2)), "0", rotation)
    base, source = torch.rand(2, 6, 4, generator=torch.Generator().manual_seed(1))
    for place in (SparePlace("0", 2), SparePlace("0")):
        with torch.no_grad():
            rows, value = rotation.directions(), place.swapped(found, base, source)
        assert torch.allclose(value @ rows.T, base @ rows.T, atol=1e-6)
        mixed = source if place.unit is None else torch.cat([base[:, :2], source[:, 2:3], base[:, 3:]], 1)
        other = torch.linalg.svd(rows)[2][2:]  # the directions of no variable
        assert torch.allclose(value @ other.T, mixed @ other.T, atol=1e-6)


# --- effects ---------------------------------------------------------------------------------------------------------


def test_effects_by_a_plain_loop() -> None:
    dataset, model = bits(), Xor(TURN)
    found, given = aligned(model, "first", unit(0)), pairs(dataset, "test", ("a",), n=120)
    measured = {(one.target, one.unit): one.share for one in effects(found, dataset, given, ["first", "second"])}
    assert list(measured) == [("first", 1), ("first", None), ("second", 0), ("second", 1), ("second", None)]
    changed = dict.fromkeys(measured, 0)
    with torch.no_grad():
        for base, source in zip(given.base.tolist(), given.sources[:, 0].tolist(), strict=True):
            x, other = dataset.x_test[base], dataset.x_test[source]
            own = int(model(x).argmax())
            for (site, number), _ in measured.items():
                units = [number] if number is not None else [0, 1]
                first, second = model.first(x), model.second(model.first(x))
                if site == "first":
                    first[[n for n in units if n != 0]] = model.first(other)[[n for n in units if n != 0]]
                    second = model.second(first)
                else:
                    second[units] = model.second(model.first(other))[units]
                changed[site, number] += int(int(model.last(torch.relu(second)).argmax()) != own)
    assert measured == {key: n / 120 for key, n in changed.items()}


def test_a_network_that_carries_its_variables_at_their_places_has_nothing_besides() -> None:
    dataset = bits()
    given = pairs(dataset, "test", ("a",), ("b",))
    right = effects(aligned(Xor(), "first", ALL_OF_FIRST), dataset, given, ["first"])
    assert [(one.unit, one.share) for one in right] == [(None, 0.0)]
    # At the place of a alone b is left over, and its swap changes every other answer.
    (b, _) = effects(aligned(Xor(), "first", unit(0)), dataset, given, ["first"])
    differs = dataset.x_test[given.base, 3] != dataset.x_test[given.sources[:, 0], 3]
    assert b.share == float(differs.double().mean())


# --- training --------------------------------------------------------------------------------------------------------


def how(**options: Any) -> InterchangeTraining:
    plain = {"what": "network", "batch_size": 40, "warmup_steps": 0, "learning_rate": 0.5, "gradient_clip": None}
    return InterchangeTraining(**{**plain, "optimizer": sgd, **options})


def trained(options: InterchangeTraining, *, strict: bool = True) -> tuple[Xor, list[dict[str, Any]]]:
    dataset, model = bits(), Xor(TURN)
    found = aligned(model, "first", unit(1))
    places = SparePlaces(found, spare_places(found, ["first"])) if strict else None
    given = pairs(dataset, "train", ("b",), n=40)
    return model, train_by_interchange(found, dataset, given, options, LOSS, strict=places)


def by_hand(model: Xor) -> dict[str, Tensor]:
    """Returns the three losses of the 40 pairs, with the network written out."""
    dataset = bits()
    given = pairs(dataset, "train", ("b",), n=40)
    base, source = dataset.x_train[given.base], dataset.x_train[given.sources[:, 0]]
    hidden, other, y = model.first(base), model.first(source), dataset.y_train[given.base]

    def loss(first: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(model.last(torch.relu(model.second(first))), labels)

    return {
        "interchange": loss(torch.stack([hidden[:, 0], other[:, 1]], 1), given.labels),
        "strict": loss(torch.stack([other[:, 0], hidden[:, 1]], 1), y),
        "task": loss(hidden, y),
    }


def descended(model: Xor, loss: Tensor, rate: float = 0.5) -> None:
    found = torch.autograd.grad(loss, list(model.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), found, strict=True):
            parameter -= rate * gradient


def test_plain_is_one_step_on_the_sum_by_hand() -> None:
    twin = Xor(TURN)
    losses = by_hand(twin)
    descended(twin, losses["interchange"] + losses["task"] + 0.4 * losses["strict"])
    model, history = trained(how(strictness=0.4))
    for own, other in zip(weights(model), weights(twin), strict=True):
        assert torch.allclose(own, other, atol=1e-6)
    assert history[-1]["loss"] == pytest.approx(losses["interchange"].item())
    assert history[-1]["strict_loss"] == pytest.approx(losses["strict"].item())


def test_published_is_a_step_for_each_loss_with_the_weight_twice_by_hand() -> None:
    twin = Xor(TURN)
    for name, weight in (("interchange", 1), ("strict", 0.4**2), ("task", 1)):
        descended(twin, weight * by_hand(twin)[name])
    model, _ = trained(how(strictness=0.4, strictness_reading="published"))
    for own, other in zip(weights(model), weights(twin), strict=True):
        assert torch.allclose(own, other, atol=1e-6)


def test_the_two_readings_are_the_same_to_first_order_at_the_square_root() -> None:
    """With small steps three steps are one on the sum, so 0.4 as published acts as 0.16."""
    moves = {}
    for name, options in {
        "plain": how(strictness=0.16, learning_rate=1e-3),
        "published": how(strictness=0.4, strictness_reading="published", learning_rate=1e-3),
        "once": how(strictness=0.4, learning_rate=1e-3),
    }.items():
        model, _ = trained(options)
        moves[name] = torch.cat(
            [(own - was).flatten() for own, was in zip(weights(model), weights(Xor(TURN)), strict=True)]
        )
    away, once = ((moves[name] - moves["plain"]).norm() for name in ("published", "once"))
    assert away < 0.05 * moves["plain"].norm() and once > 2 * away


def test_without_strictness_the_training_is_the_same_bit_for_bit() -> None:
    options = {"epochs": 3, "batch_size": 16}
    first, history = trained(how(**options), strict=False)
    for places in (False, True):
        second, other = trained(how(**options, strictness=0.0, strictness_reading="published"), strict=places)
        assert all(map(torch.equal, weights(first), weights(second))) and history == other
    assert how().task == 0 and how(strictness=0.1).task == 1 and how(strictness=0.1, task_weight=0.3).task == 0.3


def test_strictness_needs_places() -> None:
    with pytest.raises(ArgumentError, match="strictness needs the places that should carry nothing"):
        trained(how(strictness=0.4), strict=False)


def test_each_step_swaps_one_place_and_the_draw_is_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, swapped = bits(), []
    own = SparePlace.swapped
    monkeypatch.setattr(SparePlace, "swapped", lambda place, *given: swapped.append(place) or own(place, *given))

    def places(seed: int) -> list[SparePlace]:
        swapped.clear()
        found = aligned(Xor(), "first", unit(0))
        strict = SparePlaces(found, spare_places(found, ["first", "second"]), seed=seed)
        given = pairs(dataset, "train", ("a",), n=40)
        train_by_interchange(
            found, dataset, given, how(strictness=1.0, batch_size=2, learning_rate=0.01), LOSS, strict=strict
        )
        return list(swapped)

    assert len(places(0)) == 20 and places(0) == places(0) != places(1)
    assert set(places(0)) == {SparePlace("first", 1), SparePlace("second", 0), SparePlace("second", 1)}


class Leaking(nn.Module):
    """The exclusive or of a and b, with a in two units of `first`, which `second` adds up."""

    def __init__(self) -> None:
        super().__init__()
        own = Xor()
        self.first, self.second, self.last = nn.Linear(4, 3), nn.Linear(3, 2), own.last
        with torch.no_grad():
            self.first.weight.copy_(own.first.weight[[0, 1, 0]])
            self.first.bias.zero_()
            self.second.weight.copy_(torch.tensor([[0.3, -1, 0.7], [-0.3, 1, -0.7]]))
            self.second.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(self.first(x))))


def test_strict_training_empties_a_leaking_unit() -> None:
    dataset = bits()
    given, test = pairs(dataset, "train", ("a",), ("b",), n=300), pairs(dataset, "test", ("a",), ("b",))
    places = Units((3,), [torch.tensor([0]), torch.tensor([1])])
    left, moved = [], []
    for strictness in (0.0, 2.0):
        found = aligned(Leaking(), "first", places)
        before = effects(found, dataset, test, ["first"])
        options = how(epochs=4, batch_size=50, learning_rate=0.02, strictness=strictness, task_weight=1.0)
        strict = SparePlaces(found, spare_places(found, ["first"]))
        train_by_interchange(found, dataset, given, options, LOSS, strict=strict)
        left.append(effects(found, dataset, test, ["first"])[0].share)
        assert [one.unit for one in before] == [2, None] and before[0].share == before[1].share > 0.3
        with torch.no_grad():
            x, other = dataset.x_test[test.base], dataset.x_test[test.sources[:, 0]]
            moved.append(float((strict.outputs(x, other) - found.model(x)).abs().mean()))
    assert left[1] == 0 and moved[1] < 0.6 * moved[0]

"""Pairs, and training by interchange interventions, on networks whose right answer is known."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import CausalModel, WeightedSum
from mi_runner.graph.interventions import KeptSites
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.alignment import Rotation, Units
from mi_runner.methods.interchange import (
    Aligned,
    Following,
    InterchangeTraining,
    Pairs,
    Trained,
    counterfactual_correct,
    draw_pairs,
    not_in,
    train_by_interchange,
)
from mi_runner.training.evaluation import loss_function
from mi_runner.training.options import TrainingOptions
from tests.interchanges import TURN, Xor, aligned, bits, direction, iia, pairs, sgd

# --- pairs -----------------------------------------------------------------------------------------------------------


def test_every_example_is_a_base_before_one_is_a_second_time_and_no_example_is_its_own_source() -> None:
    dataset = bits(40)
    found = pairs(dataset, "train", ("a",), ("b",), n=100)
    assert found.base.bincount(minlength=40)[:40].unique().tolist() == [2, 3]
    assert sorted(found.base[:40].tolist()) == list(range(40))
    assert found.sources.shape == (100, 2) and not (found.sources == found.base[:, None]).any()
    assert set(found.sources.flatten().tolist()) == set(range(40))


def test_labels_of_pairs_by_hand() -> None:
    dataset = bits(50)
    found = pairs(dataset, "train", ("b",), ("a",), n=80)
    a, b = dataset.x_train[:, 1].long(), dataset.x_train[:, 3].long()
    assert found.labels.tolist() == ((a[found.sources[:, 1]] + b[found.sources[:, 0]]) % 2).tolist()
    assert found.changed.tolist() == (found.labels != dataset.y_train[found.base]).tolist()


def test_pairs_are_drawn_among_the_examples_that_are_named() -> None:
    dataset = bits(20)
    among = torch.tensor([3, 8, 15])
    assert dataset.causal_model is not None
    found = draw_pairs(
        dataset.causal_model, dataset.causal_model.values_train, [("a",)], 50, among=among, generator=torch.Generator()
    )
    assert set(found.base.tolist()) == set(found.sources.flatten().tolist()) == {3, 8, 15}


def test_examples_that_are_in_another_set() -> None:
    x = torch.arange(12.0).view(6, 1, 2)
    assert not_in(x, x[[4, 0]]).tolist() == [1, 2, 3, 5]
    assert not_in(x, x).tolist() == []
    assert not_in(x, x + 0.5).tolist() == list(range(6))


# --- a network that implements the causal model ----------------------------------------------------------------------


@pytest.mark.parametrize(("variable", "unit"), [("a", 0), ("b", 1)])
def test_a_network_that_implements_the_causal_model_scores_1_at_the_right_place(variable: str, unit: int) -> None:
    dataset, model = bits(), Xor()
    given = pairs(dataset, "test", (variable,))
    assert 0.3 < float(given.changed.double().mean()) < 0.7
    right = Units((2,), [torch.tensor([unit])])
    assert iia(aligned(model, "first", right), dataset, given) == 1
    # At the other unit the other variable is swapped.
    wrong = Units((2,), [torch.tensor([1 - unit])])
    assert iia(aligned(model, "first", wrong), dataset, given) < 0.7
    # Behind the difference of a and b no unit is one of them.
    assert iia(aligned(model, "second", right), dataset, given) < 0.9


def test_each_variable_has_its_own_source() -> None:
    dataset = bits()
    given = pairs(dataset, "test", ("b",), ("a",))
    crossed = Units((2,), [torch.tensor([1]), torch.tensor([0])])
    assert iia(aligned(Xor(), "first", crossed), dataset, given) == 1
    straight = Units((2,), [torch.tensor([0]), torch.tensor([1])])
    # a's place gets b's source: with both swapped the sum of the wrong variables.
    assert iia(aligned(Xor(), "first", straight), dataset, given) < 0.7


def test_an_edge_is_a_place_too() -> None:
    dataset = bits()
    right = Units((2,), [torch.tensor([0])])
    assert iia(aligned(Xor(), "first/second", right), dataset, pairs(dataset, "test", ("a",))) == 1


def test_the_two_ways_to_run_a_pair_agree_with_running_by_hand() -> None:
    dataset, model = bits(), Xor(TURN)
    found = aligned(model, "first", direction())
    given = pairs(dataset, "test", ("a",))
    x, base, source = dataset.x_test, given.base, given.sources[:, 0]
    outputs = found.outputs_on(x, base, given.sources)
    _, also = counterfactual_correct(found, dataset, given)
    with torch.no_grad():
        row = found.alignment.directions()
        hidden = model.first(x)
        moved = hidden[base] + ((hidden[source] - hidden[base]) @ row.T) @ row
        by_hand = model.last(torch.relu(model.second(moved)))
    assert torch.allclose(outputs, by_hand, atol=1e-6) and torch.allclose(also, by_hand, atol=1e-6)
    # The base as its own source: the plain output.
    assert torch.equal(found.outputs_on(x, base, base[:, None]), model(x[base]))


# --- training --------------------------------------------------------------------------------------------------------

QUICK = InterchangeTraining(
    what="rotation", epochs=6, batch_size=50, rotation_learning_rate=0.05, warmup_steps=0, learning_rate=0.01
)


def trained(
    found: Aligned, how: InterchangeTraining, given: Pairs, dataset: Dataset, kept: KeptSites | None = None
) -> list[dict[str, Any]]:
    places = (("a",), ("b",))[: given.sources.shape[1]]
    return train_by_interchange(
        found,
        dataset,
        given,
        how,
        loss_function(TrainingOptions(), dataset),
        following=Following(lambda: {"iia": iia(found, dataset, pairs(dataset, "test", *places))}, kept),
    )


def test_a_rotation_is_found_where_the_variables_are_turned() -> None:
    dataset = bits()
    model = Xor(TURN)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert iia(aligned(model, "first", Units((2,), [torch.tensor([0])])), dataset, pairs(dataset, "test", ("a",))) < 0.9
    found = aligned(model, "first", direction(seed=3))
    history = trained(found, QUICK, pairs(dataset, "train", ("a",)), dataset)
    assert history[0]["iia"] < 0.9 and history[-1]["iia"] == 1
    (row,) = found.alignment.weight.detach()
    assert abs(float(row @ TURN[:, 0])) == pytest.approx(1, abs=0.02)  # the direction of a
    assert float(row @ row) == pytest.approx(1, abs=1e-5)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("what", ["network", "rotation", "both"])
def test_only_what_is_named_is_trained(what: Trained) -> None:
    dataset, model = bits(), Xor(TURN)
    found = aligned(model, "first", direction())
    weights, directions = model.first.weight.clone(), found.alignment.weight.clone()
    trained(found, replace(QUICK, what=what, epochs=1), pairs(dataset, "train", ("a",)), dataset)
    assert torch.equal(model.first.weight, weights) == (what == "rotation")
    assert torch.equal(found.alignment.weight, directions) == (what == "network")
    assert not model.training


def test_directions_stay_orthonormal() -> None:
    dataset, model = bits(), nn.Sequential(nn.Linear(4, 40), nn.Tanh(), nn.Linear(40, 2))
    found = aligned(model, "0", Rotation((40,), 2, 4, generator=torch.Generator().manual_seed(0)))
    config = replace(QUICK, what="both", rotation_learning_rate=0.1, gradient_clip=None)
    trained(found, config, pairs(dataset, "train", ("a",), ("b",)), dataset)
    rows = found.alignment.weight.detach()
    assert float((rows @ rows.T - torch.eye(8)).abs().max()) < 1e-5


def test_values_that_are_kept_and_values_that_are_computed_give_the_same_training() -> None:
    """Bit for bit, step for step: the ordinary training computes the site's values of each step's pairs."""
    dataset, draw = bits(), torch.Generator().manual_seed(0)
    given = [pairs(dataset, "train", (variable,)) for variable in "ab"]
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 2), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    graph = ModelGraph.trace(model.eval(), torch.eye(4))
    first = Rotation((6, 2, 2), 1, 2, generator=draw)
    trainings = []
    for memory in (0, 1e9):
        kept = KeptSites(memory=memory)
        histories, weights = [], []
        for of_variable in given:
            found = Aligned(model, graph, "1", copy.deepcopy(first))
            histories.append(trained(found, replace(QUICK, epochs=2), of_variable, dataset, kept))
            weights.append(found.alignment.weight)
        trainings.append((histories, weights))
        of_site = kept.of(graph, dataset.x_train, graph.site("1"))
        assert of_site.size == (400 * 24 * 4 if memory else 0)
    ordinary, from_kept = trainings
    assert from_kept[0] == ordinary[0] and ordinary[0][0] != ordinary[0][1]
    assert all(torch.equal(*both) for both in zip(from_kept[1], ordinary[1], strict=True))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_sites_that_do_not_fit_are_given_up_oldest_first() -> None:
    dataset, model = bits(), Xor()
    graph = ModelGraph.trace(model.eval(), torch.eye(4))
    x, size = dataset.x_train, 400 * 2 * 4
    kept = KeptSites(memory=2 * size)
    first, second = (kept.of(graph, x, graph.site(name)) for name in ("first", "second"))
    assert kept.of(graph, x, graph.site("first")) is first and first.size == second.size == size
    assert torch.equal(first.rows(torch.tensor([7, 3])), model.first(x[[7, 3]]))
    last = kept.of(graph, x, graph.site("last"))
    assert kept.of(graph, x, graph.site("first")) is first and kept.of(graph, x, graph.site("last")) is last
    again = kept.of(graph, x, graph.site("second"))
    assert again is not second and again.kept is not None and second.kept is not None
    assert torch.equal(again.kept, second.kept)
    larger = KeptSites(memory=size - 1).of(graph, x, graph.site("first"))
    assert larger.kept is None and torch.equal(larger.rows(torch.tensor([7, 3])), model.first(x[[7, 3]]))


def test_a_step_by_hand() -> None:
    """One step of SGD on a counterfactual and an ordinary loss, against the network written out."""
    dataset, model, twin = bits(), Xor(TURN), Xor(TURN)
    found = aligned(model, "first", Units((2,), [torch.tensor([1])]))
    given = pairs(dataset, "train", ("b",), n=40)
    config = InterchangeTraining(
        what="network", epochs=1, batch_size=40, warmup_steps=4, learning_rate=0.8, gradient_clip=None,
        task_weight=0.3, optimizer=sgd,
    )  # fmt: skip
    history = trained(found, config, given, dataset)
    base, source = dataset.x_train[given.base], dataset.x_train[given.sources[:, 0]]
    hidden, other = twin.first(base), twin.first(source)
    swapped = torch.stack([hidden[:, 0], other[:, 1]], 1)
    loss = functional.cross_entropy(twin.last(torch.relu(twin.second(swapped))), given.labels)
    task = functional.cross_entropy(twin(base), dataset.y_train[given.base])
    (loss + 0.3 * task).backward()
    assert history[1]["loss"] == pytest.approx(loss.item())
    for parameter, own in zip(model.parameters(), twin.parameters(), strict=True):
        assert own.grad is not None
        assert torch.allclose(parameter, own - 0.8 / 4 * own.grad, atol=1e-6)  # the first of four warm-up steps


@pytest.mark.parametrize("what", ["network", "both", "rotation"])
def test_a_network_trains_in_training_mode_and_one_that_stays_is_as_in_evaluation(what: Trained) -> None:
    """Dropout of everything: in training mode only the last bias is left of the network, in evaluation mode all."""
    dataset = bits()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Dropout(1.0), nn.Linear(2, 2))
    found, given = aligned(model, "0", direction()), pairs(dataset, "train", ("a",), n=40)
    weights, bias = [model[place].weight.detach().clone() for place in (0, 3)], model[3].bias.detach().clone()
    turned = found.alignment.weight.detach().clone()
    with torch.no_grad():
        outputs = (
            found.outputs_on(dataset.x_train, given.base, given.sources) if what == "rotation" else bias.expand(40, 2)
        )
    modes: list[bool] = []
    how = replace(QUICK, what=what, epochs=2, batch_size=40, gradient_clip=None, optimizer=sgd)
    history = train_by_interchange(
        found, dataset, given, how, loss_function(TrainingOptions(), dataset),
        following=Following(lambda: {"training": modes.append(model.training) or 0.0}),
    )  # fmt: skip
    assert history[1]["loss"] == pytest.approx(float(functional.cross_entropy(outputs, given.labels)))
    assert all(torch.equal(model[place].weight, before) for place, before in zip((0, 3), weights, strict=True))
    assert torch.equal(model[3].bias, bias) == (what == "rotation")
    assert torch.allclose(found.alignment.weight, turned, atol=1e-4) == (what != "rotation")
    assert modes == [False] * 3 and not model.training


def test_a_step_is_clipped() -> None:
    dataset = bits()
    moves = []
    for clip in (None, 1e-3):
        model = Xor(TURN)
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        config = replace(QUICK, what="network", epochs=1, batch_size=300, learning_rate=1.0, gradient_clip=clip,
                         optimizer=sgd)  # fmt: skip
        trained(aligned(model, "second", Units((2,), [torch.tensor([0])])), config, pairs(dataset, "train", ("a",)),
                dataset)  # fmt: skip
        moves.append(float((torch.cat([p.detach().flatten() for p in model.parameters()]) - before).norm()))
    assert moves[0] > 0.01 and moves[1] == pytest.approx(1e-3, rel=0.01)


def test_the_history() -> None:
    dataset = bits()
    history = trained(aligned(Xor(TURN), "first", direction()), QUICK, pairs(dataset, "train", ("a",)), dataset)
    # 300 pairs in steps of 50: six rows an epoch, and one before the first.
    assert len(history) == 1 + 6 * 6
    assert [row["epoch"] for row in history[:7]] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert [row["step"] for row in history[:3]] == [0, 1, 2]
    assert [row["epoch"] for row in history if "iia" in row] == [0, 1, 2, 3, 4, 5, 6]
    assert all(0 <= row["train_iia"] <= 1 and row["loss"] > 0 for row in history[1:])
    none = trained(
        aligned(Xor(), "first", direction()), replace(QUICK, epochs=0), pairs(dataset, "train", ("a",)), dataset
    )
    assert [row["step"] for row in none] == [0]


@pytest.mark.parametrize("what", ["network", "both"])
def test_a_loss_that_is_not_finite_ends_the_run(what: Trained) -> None:
    dataset = bits()
    how = replace(QUICK, what=what, learning_rate=1e30, gradient_clip=None, optimizer=sgd)
    found = aligned(Xor(TURN), "first", direction())
    with pytest.raises(FloatingPointError, match=r"^training diverged in epoch 1: the loss is nan\.$"):
        trained(found, how, pairs(dataset, "train", ("a",)), dataset)


def test_values_as_targets() -> None:
    """A network of one output whose hidden units are the variables of a weighted sum."""
    draw = torch.Generator().manual_seed(0)
    values = torch.rand(200, 3, generator=draw, dtype=torch.float64)
    mechanism = WeightedSum((1.0, 1.0, 1.0), 1.5, classes=False)
    y = mechanism(values)
    model = CausalModel(("p", "q", "r"), values, values, mechanism)
    x = values.float()
    dataset = Dataset("sums", x, y, x, y, None, causal_model=model)
    network = nn.Sequential(nn.Identity(), nn.Linear(3, 1), nn.Sigmoid())
    network.load_state_dict({"1.weight": torch.full((1, 3), 50.0), "1.bias": torch.tensor([-75.0])})
    found = Aligned(network.eval(), ModelGraph.trace(network, x[:2]), "0", Units((3,), [torch.tensor([0, 2])]))
    assert iia(found, dataset, pairs(dataset, "test", ("p", "r"))) == 1
    assert iia(found, dataset, pairs(dataset, "test", ("p", "q"))) < 0.95


class Decides(nn.Module):
    """Has an if on its values, so it can't be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if x.sum() > 0 else -self.linear(x)


def test_a_copy_has_the_same_sites_and_weights_of_its_own() -> None:
    network, rotation, x = nn.Sequential(Decides(), nn.Linear(2, 2)).eval(), direction(), torch.eye(4)
    first = Aligned(network, ModelGraph.trace(network, x, leaves=["0"]), "0", rotation)
    second = first.copied(x, ["0"])
    assert list(second.graph.sites) == list(first.graph.sites) and second.target == "0"
    outputs, weight = network(x), rotation.weight.detach().clone()
    assert torch.equal(second.graph(x), outputs)
    assert isinstance(second.alignment, Rotation) and torch.equal(second.alignment.weight, weight)
    with torch.no_grad():
        for parameter in (*second.model.parameters(), *second.alignment.parameters()):
            parameter.add_(1)
    assert not torch.allclose(second.graph(x), outputs)
    assert torch.equal(network(x), outputs) and torch.equal(first.graph(x), outputs)
    assert torch.equal(rotation.weight, weight)

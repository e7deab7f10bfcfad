"""Clusterability: block matrices by hand, the gradient by finite differences, partitions, the term in training."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from mi_runner.chance import generator
from mi_runner.errors import ArgumentError
from mi_runner.machine import threads
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from mi_runner.training.clusterability import clusterability, contiguous, linear_layer, shuffled
from mi_runner.training.loop import train
from mi_runner.training.options import TrainingOptions
from mi_runner.training.regularizers import Modularity, regularizer
from tests.small_data import classes


@pytest.mark.parametrize("n_clusters", [2, 3, 4])
def test_a_block_matrix_has_1_and_a_constant_one_1_over_the_clusters(n_clusters: int) -> None:
    inside = contiguous(12, 24, n_clusters).inside
    assert float(clusterability(inside.float() * 3, inside)) == 1.0
    assert float(clusterability(torch.full((12, 24), -0.7), inside)) == pytest.approx(1 / n_clusters)
    assert float(clusterability((~inside).float(), inside)) == 0.0


def test_by_hand() -> None:
    """Clusters {0, 1 | 0} and {2 | 1} of a 3×2 matrix: 1 + 9 + 36 of 1 + 4 + 9 + 16 + 25 + 36."""
    partition = contiguous(3, 2, 2)
    assert partition.outputs.tolist() == [0, 0, 1] and partition.inputs.tolist() == [0, 1]
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert float(clusterability(weight, partition.inside)) == pytest.approx(46 / 91)


def test_the_gradient_is_that_of_finite_differences_and_of_autograd() -> None:
    weight = torch.randn(6, 8, generator=generator(0, "weight"), dtype=torch.float64, requires_grad=True)
    inside = contiguous(6, 8, 3).inside.double()
    assert torch.autograd.gradcheck(lambda w: -15 * clusterability(w, inside), (weight,))
    (ours,) = torch.autograd.grad(clusterability(weight, inside), weight)
    (theirs,) = torch.autograd.grad((weight**2 * inside).sum() / (weight**2).sum(), weight)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("n_units", "n_clusters", "sizes"), [(64, 4, [16] * 4), (10, 4, [3, 3, 2, 2]), (5, 5, [1] * 5), (7, 1, [7])]
)
def test_blocks_are_as_equal_as_possible(n_units: int, n_clusters: int, sizes: list[int]) -> None:
    partition = contiguous(n_units, 12, n_clusters)
    assert torch.bincount(partition.outputs).tolist() == sizes
    assert partition.outputs.tolist() == sorted(partition.outputs.tolist())


def test_a_random_partition_keeps_the_sizes_and_depends_on_its_generator() -> None:
    partition = contiguous(10, 14, 4)
    one, same, other = (shuffled(partition, generator=generator(seed, "random partition")) for seed in (0, 0, 1))
    assert torch.equal(one.inside, same.inside) and not torch.equal(one.inside, other.inside)
    for units in ("outputs", "inputs"):
        assert torch.equal(torch.bincount(getattr(one, units)), torch.bincount(getattr(partition, units)))
        assert not torch.equal(getattr(one, units), getattr(partition, units))


def test_more_clusters_than_units_is_a_mistake() -> None:
    for sizes, text in (
        ((6, 20, 7), "n_clusters=7: a 6×20 weight matrix has room for at most 6. Use n_clusters=6 or less."),
        ((9, 2, 4), "n_clusters=4: a 9×2 weight matrix has room for at most 2. Use n_clusters=2."),
        ((1, 9, 2), "n_clusters=2: a 1×9 weight matrix has room for at most 1. Take a layer with at least two "
                    "units on each side."),
    ):  # fmt: skip
        with pytest.raises(ArgumentError) as caught:
            contiguous(*sizes)
        assert str(caught.value) == text


@pytest.mark.parametrize(
    ("n_layers", "middle"), [(1, "layers.0"), (2, "layers.0"), (3, "layers.2"), (4, "layers.2"), (5, "layers.4")]
)
def test_the_middle_layer(n_layers: int, middle: str) -> None:
    model = MLP([3] * (n_layers + 1))
    name, layer = linear_layer(model, None)
    assert name == middle and layer is model.get_submodule(middle)
    assert linear_layer(model, "layers.0") == ("layers.0", model.layers[0])


def test_a_wrong_layer_names_the_right_ones() -> None:
    with pytest.raises(ArgumentError, match=r"no Linear layer is named 'frist'\. Did you mean first\? .*last"):
        linear_layer(TwoLayerSkip(4, 2), "frist")
    with pytest.raises(ArgumentError, match="no Linear layer"):
        linear_layer(torch.nn.Sequential(torch.nn.ReLU()), None)


def test_training_with_the_term_makes_the_layer_modular_and_without_it_not() -> None:
    common = {"epochs": 30, "batch_size": 20, "optimizer": "sgd", "learning_rate": 0.01}
    ends = {}
    for strength in (0.0, 15.0):
        torch.manual_seed(0)
        model = MLP([6, 8, 8, 3])
        config = TrainingOptions(
            **common,
            loss="cross_entropy",
            regularizer="clusterability",
            regularizer_strength=strength,
            regularizer_clusters=2,
        )
        history = train(model, classes(), config, seed=0)
        measured = float(clusterability(model.layers[2].weight.detach(), contiguous(8, 8, 2).inside))
        assert history[-1]["clusterability"] == pytest.approx(measured, abs=1e-6)
        assert (history[-1]["penalty"] < 0) == (strength > 0)
        ends[strength] = measured
    assert ends[0.0] < 0.7 and ends[15.0] > 0.95


def test_strength_0_trains_as_no_regularizer_does() -> None:
    models = []
    for kind in ("none", "clusterability"):
        torch.manual_seed(0)
        models.append(MLP([6, 8, 8, 3]))
        train(models[-1], classes(), TrainingOptions(epochs=2, regularizer=kind, regularizer_strength=0.0), seed=0)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_term_is_the_strength_times_the_clusterability_and_follows_the_weights() -> None:
    model = MLP([6, 8, 8, 3])
    term = regularizer(model, TrainingOptions(regularizer="clusterability", regularizer_strength=7.0))
    assert term is not None and (term.name, term.factor) == ("clusterability", -7.0)
    with torch.no_grad():
        model.layers[2].weight.copy_(contiguous(8, 8, 4).inside)
    assert float(term.measure(model).detach()) == 1.0
    assert regularizer(model, TrainingOptions()) is None


# --- the term in a training loop of one's own ----------------------------------------------------------------------


def test_the_term_in_ones_own_loop_trains_as_the_options_do() -> None:
    """Bit for bit: the same batches, the same steps."""
    options = TrainingOptions(
        epochs=2, batch_size=10, optimizer="sgd", learning_rate=0.01, regularizer="clusterability",
        regularizer_strength=7.0, regularizer_clusters=3, regularizer_layer="layers.2",
    )  # fmt: skip
    data, networks = classes(), []
    for _ in range(2):
        torch.manual_seed(0)
        networks.append(MLP([6, 8, 9, 3]))
    history = train(networks[0], data, options, seed=3)
    own, order = networks[1], generator(3, "batch order")
    term = Modularity(own, n_clusters=3, strength=7, layer="layers.2")
    optimizer = torch.optim.SGD(own.parameters(), lr=0.01)
    with threads.exactly(1):
        for _ in range(2):
            for index in torch.randperm(len(data.x_train), generator=order).split(10):
                optimizer.zero_grad()
                loss = functional.cross_entropy(own(data.x_train[index]), data.y_train[index])
                (loss + term.loss()).backward()
                optimizer.step()
    for theirs, ours in zip(networks[0].parameters(), own.parameters(), strict=True):
        assert torch.equal(theirs, ours)
    assert float(term.value().detach()) == history[-1]["clusterability"]


def test_the_loss_is_the_strength_times_the_value_taken_off() -> None:
    model = MLP([6, 8, 9, 3])
    term = Modularity(model, strength=2.5)
    assert (term.layer, term.partition.n_clusters) == ("layers.2", 4)
    weight, inside = model.layers[2].weight, contiguous(9, 8, 4).inside
    assert float(term.value().detach()) == float(clusterability(weight, inside).detach())
    assert float(term.loss().detach()) == -2.5 * float(term.value().detach())
    (gradient,) = torch.autograd.grad(term.loss(), weight)
    (expected,) = torch.autograd.grad(-2.5 * (weight**2 * inside).sum() / (weight**2).sum(), weight)
    torch.testing.assert_close(gradient, expected)


def test_the_term_takes_clusters_of_ones_own_and_follows_the_model() -> None:
    model = MLP([6, 8, 9, 3])
    own = shuffled(contiguous(8, 6, 2), generator=generator(0, "own"))
    term = Modularity(model, layer="layers.0", partition=own)
    assert float(term.value().detach()) == float(clusterability(model.layers[0].weight, own.inside).detach())
    model.double()
    model.layers[0].weight = torch.nn.Parameter(own.inside.double())
    assert float(term.value().detach()) == 1.0


def test_a_term_that_does_not_fit_is_refused() -> None:
    model = MLP([6, 8, 9, 3])
    for arguments, text in (
        ({"n_clusters": 9}, "n_clusters=9: a 9×8 weight matrix has room for at most 8. Use n_clusters=8 or less."),
        ({"strength": -1}, "strength=-1: give a number of at least 0."),
        ({"strength": float("nan")}, "strength=nan: give a number of at least 0."),
        ({"layer": "layer.0"}, "layer=layer.0: no Linear layer is named 'layer.0'. Did you mean layers.0? Allowed: "
                               "layers.0, layers.2, layers.4."),
        ({"partition": contiguous(4, 8, 2)}, "the partition has 4 outputs and 8 inputs, but the weights of 'layers.2' "
                                             "are 9×8."),
    ):  # fmt: skip
        with pytest.raises(ArgumentError) as caught:
            Modularity(model, **arguments)
        assert str(caught.value) == text

"""A ReLU network whose weights are compiled from a formula, so that the truth about it is known. Nothing is trained.

Letters: n inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mi_runner import models
from mi_runner.datasets import Dataset
from mi_runner.datasets.algorithms import VARIABLES, algorithms
from mi_runner.errors import ArgumentError
from mi_runner.models import formulas, planted_layers
from mi_runner.models.formulas import Formula
from mi_runner.models.planted_layers import Chain, Options

DEPTHS = {2: 3, 3: 3, 4: 2, 5: 2}
"""Inputs → how deep an algorithm is looked for."""


class Planted(nn.Module):
    """Linear layers with the weights of a chain, and a ReLU behind each that has one.

    Args:
        chain: the weights.
    """

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for weight, bias, relu in zip(chain.weights, chain.biases, chain.relu, strict=True):
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(weight))
                linear.bias.copy_(torch.from_numpy(bias))
            layers += [linear, nn.ReLU()] if relu else [linear]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Returns outputs `(B, 1)` of inputs `(B, n)`."""
        return self.layers(x)


def build(
    dataset: Dataset,
    *,
    formula: str | None = None,
    distractors: int = 0,
    distractor_kind: str = "cancelling",
    cancelling_weight: float = 1.0,
    copies: int = 1,
    noise: float = 0.0,
    rotation: int | None = None,
    width: int = 1,
    shuffle: bool = True,
) -> models.Built:
    """Returns a network that computes a formula, and the truth about it.

    Args:
        dataset: of a Boolean function of its inputs, with each input in its test set.
        formula: of the variables A, B, C, …, the data set's inputs in their order; None: the first algorithm of its
            function.
        distractors: neurons of each hidden layer that the formula doesn't need.
        distractor_kind: ignored: no weight leads on; cancelling: twins whose weights to one neuron cancel.
        cancelling_weight: of twins.
        copies: how many neurons each planted one becomes.
        noise: standard deviation of what is added to biases and to weights that are not 0.
        rotation: the hidden layer behind which a random rotation stands, from 1 on; None: nowhere.
        width: neurons of each hidden layer, at least; the further ones are dead: they read nothing and lead nowhere.
        shuffle: whether hidden neurons stand in random order within their layer.

    Raises:
        ArgumentError: data set, formula and options don't fit; the text says what to type.
    """
    table = _table(dataset)
    n = dataset.input_shape[0]
    planted = _first_algorithm(table, n) if formula is None else formulas.parsed(formula, n)
    if planted.table != table:
        problem = f"it computes {planted.table}, and the data set's function is {table}."
        remedy = f"Type dataset.functions=[{planted.table}], or {{formula}}='{formulas.example_of(table)}'."
        raise ArgumentError("formula", formula, problem, remedy)
    options = Options(distractors, distractor_kind, cancelling_weight, copies, noise, rotation, width, shuffle)
    chain, truth = planted_layers.compiled(planted, options, torch.initial_seed())
    n_weights = sum(weight.size for weight in chain.weights)
    sizes = "-".join(map(str, truth.sizes))
    line = f"{planted.text} is planted: layers of {sizes} neurons, {len(truth.edges):,} of {n_weights:,} edges"
    return models.Built(Planted(chain), dataset, notes=(line,), stored=False, truth=truth)


def _table(dataset: Dataset) -> str:
    """Returns the truth table of the data set's function.

    Raises:
        ArgumentError: its targets are no Boolean function of its inputs.
    """
    x, y = dataset.x_test.cpu(), dataset.y_test.cpu()
    what = "model=planted takes one Boolean function of inputs 0 and 1,"
    is_boolean = x.dim() == 2 and bool(((x == 0) | (x == 1)).all())
    if not is_boolean or x.shape[1] > len(VARIABLES):
        raise ArgumentError("dataset", None, f"{what} such as dataset=logic has.")
    if dataset.class_names is not None:
        raise ArgumentError("dataset", None, f"{what} as a value:", "Use dataset.target=value.")
    if y.dim() > 1:
        raise ArgumentError("dataset", None, f"{what} not {y.shape[1]}:", "type dataset.functions=[XOR].")
    rows = (x.long() * 2 ** torch.arange(x.shape[1] - 1, -1, -1)).sum(1).tolist()
    digits = dict(zip(rows, y.tolist(), strict=True))
    if len(digits) < 2 ** x.shape[1] or not set(digits.values()) <= {0.0, 1.0}:
        raise ArgumentError("dataset", None, f"{what} each in the test set:", "type dataset=logic dataset.limit=null.")
    return "".join(str(int(digits[row])) for row in range(2 ** x.shape[1]))


def _first_algorithm(table: str, n: int) -> Formula:
    """Returns the formula of the first of the shallowest algorithms of a function.

    Raises:
        ArgumentError: its algorithms are too deep to list.
    """
    number = sum(1 << row for row, digit in enumerate(table) if digit == "1")
    for depth in range(DEPTHS.get(n, 1) + 1):
        if found := algorithms(number, n, depth):
            return formulas.of_algorithm(found[0])
    problem = f"none of the algorithms up to depth {DEPTHS.get(n, 1)} computes {table}:"
    raise ArgumentError("formula", "null", problem, f"type {{formula}}='{formulas.example_of(table)}'.")

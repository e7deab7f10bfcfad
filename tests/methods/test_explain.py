"""All explanations of small networks by hand: their groundings listed one by one, and the algorithms that fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.circuits.circuit import Circuit
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.explanations import groundings
from mi_runner.methods.explanations.boolean import BooleanNetwork, digits_of, values_in_circuits
from mi_runner.methods.explanations.explain import check_sizes, explain

# Neurons relu(A + B) with the values 0, 1, 1, 2 and relu(A + B − 1) with 0, 0, 0, 1; the output weighs them.
OUTPUTS = {
    "0111": ([1.0, -1.0], 0.0),  # 0, 1, 1, 1
    "0001": ([0.0625, 0.9375], 0.0),  # 0, 1/16, 1/16, 17/16: rounded 0, 0, 0, 1
    "0110": ([1.0, -2.0], 0.0),  # 0, 1, 1, 0
    "1001": ([-1.0, 2.0], 1.0),
    "1110": ([0.0, -1.0], 1.0),
    "0000": ([0.125, 0.0625], 0.0),
    "1111": ([0.125, 0.0625], 0.75),
}


def network(digits: str) -> Part:
    weight, bias = OUTPUTS[digits]
    return Part(
        (
            Layer(torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([0.0, -1.0]), "relu"),
            Layer(torch.tensor([weight]), torch.tensor([bias])),
        )
    )


def table(digits: str) -> int:
    return int(digits[::-1], 2)


@pytest.mark.parametrize("digits", OUTPUTS)
def test_the_explanations_of_a_function_by_hand(digits: str) -> None:
    part = network(digits)
    boolean = BooleanNetwork.of(part)
    assert digits_of(boolean.answers(), 4) == digits
    found = explain(part, table(digits), max_depth=2)
    assert found.examples.target.tolist() == [float(digit) for digit in digits]
    # Every circuit, judged and grounded by itself.
    space = CircuitSpace((2, 2, 1))
    valid = [
        bits
        for bits in range(1, space.full + 1)
        if space.is_well_formed(bits)
        and Circuit(part, bits).apply(boolean.inputs.float()).round().tolist() == found.examples.target.tolist()
    ]
    assert found.circuits.valid.tolist() == valid and space.full in valid
    listed = [len(groundings.list_groundings(boolean, circuit)) for circuit in valid]
    assert found.groundings == listed and found.total.value == found.total.low == found.total.high == sum(listed)
    partial = [n for bits, n in zip(valid, listed, strict=True) if sum(space.active(bits)) < 2]
    assert found.n_groundings_partial == sum(partial) and found.is_complete
    constant = digits in ("0000", "1111")
    assert (sum(listed) == 0) == constant
    # Of exact depths 1 and 2 there are 1 and 7 algorithms of AND, OR and the like, 0 and 2 of XOR and its complement.
    n_algorithms = 0 if constant else 2 if digits in ("0110", "1001") else 8
    assert len(found.aligned) == n_algorithms
    assert found.n_alignments == sum(len(each.single) for _, each in found.aligned)
    assert found.n_alignments_joint is not None and found.n_alignments_joint <= found.n_alignments


def test_another_function_than_the_networks_has_neither_valid_circuits_nor_alignments() -> None:
    found = explain(network("0111"), table("0110"), max_depth=2)
    assert len(found.aligned) == 2 and found.n_alignments == 0 == found.n_alignments_joint
    # The edge from relu(A + B − 1) weighs −1 and not −2, and without it the output is 2 on 11.
    assert found.circuits.n_valid == 0 and found.groundings == [] and found.total.value == 0
    published = explain(network("0110"), table("0110"), max_depth=2, pairs="later")
    assert published.n_alignments_joint is None


def test_values_in_circuits_by_hand() -> None:
    """An inactive neuron is 0, whatever its bias; an active one has its bias and the inputs that it keeps."""
    part = Part(
        (
            Layer(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0.5, 0.25]), "relu"),
            Layer(torch.tensor([[2.0, 8.0]]), torch.tensor([1.0])),
        )
    )
    # Bits: both inputs of neuron 0, both of neuron 1, the two edges into the output. Inputs 00, 01, 10, 11.
    values = values_in_circuits(BooleanNetwork.of(part), np.array([0b01_0011, 0b11_1001], dtype=np.uint64))
    assert values[0].tolist() == [[0.5, 2.5, 1.5, 3.5], [0.0] * 4, [2.0, 6.0, 4.0, 8.0]]
    first, second = [0.5, 0.5, 1.5, 1.5], [0.25, 4.25, 0.25, 4.25]  # neuron 0 keeps A, neuron 1 B
    assert values[1].tolist() == [first, second, [2 * a + 8 * b + 1 for a, b in zip(first, second, strict=True)]]


def test_networks_with_too_many_circuits_are_refused_with_their_number() -> None:
    check_sizes((2, 3, 3, 1), 3)
    with pytest.raises(ValueError, match=r"layers of 2-6-6-1 neurons have [\d,]+ circuits, more than"):
        check_sizes((2, 6, 6, 1), 1)

"""Networks that take integers, and those whose output has other axes: the form changes, the numbers stay."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.models import Built, build
from mi_runner.models.adapted import inputs_that_fit
from mi_runner.models.evaluation_checks import check_evaluation

DRAW = torch.Generator().manual_seed(0)
TOKENS = torch.randint(9, (40, 5), generator=DRAW)
NUMBERS = torch.randn(40, 5, generator=DRAW)


def data(x: Tensor, n_classes: int = 3, y: Tensor | None = None) -> Dataset:
    if y is not None:
        return Dataset("arrays", x, y, x, y, None)
    y = torch.arange(len(x)) % n_classes
    return Dataset("arrays", x, y, x, y, tuple(map(str, range(n_classes))))


class Words(nn.Module):
    def __init__(self, n_tokens: int = 9) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(n_tokens, 4), nn.Linear(4, 3)

    def forward(self, text: Tensor) -> Tensor:
        return self.head(self.embedding(text).mean(1))


def built(make: Callable[[], nn.Module], dataset: Dataset) -> Built:
    return build(lambda given: Built(make(), given), dataset, seed=0)


def test_a_network_of_tokens_gets_integers() -> None:
    found = built(Words, data(TOKENS.float()))
    assert torch.equal(found.dataset.x_train, TOKENS) and found.dataset.x_train.dtype == torch.int64
    (note,) = found.notes
    assert note == "Words gets its inputs as integers (int64), because it can't run on float32"
    by_hand = found.model.head(found.model.embedding.weight[TOKENS].mean(1))
    assert torch.equal(found.model(found.dataset.x_train), by_hand)
    check_evaluation(found.model, found.dataset, lambda outputs, y: outputs.argmax(1) == y)


def test_a_network_of_numbers_gets_floats_whatever_the_file_holds() -> None:
    for given in (TOKENS.float(), TOKENS):
        found = built(lambda: nn.Linear(5, 3), data(given))
        assert found.dataset.x_train.dtype == torch.float32 and torch.equal(found.dataset.x_train, TOKENS.float())
        assert len(found.notes) == (given is TOKENS)
    assert inputs_that_fit(Words(), data(TOKENS))[1] == ""


def test_integers_that_float32_does_not_hold_are_no_tokens() -> None:
    assert data(TOKENS.float()).has_integers and data(torch.full((2, 1), 2.0**24)).has_integers
    assert not data(torch.full((2, 1), 2.0**24 + 2)).has_integers and not data(NUMBERS).has_integers
    assert not data(torch.tensor([[float("nan")], [1.0]])).has_integers


@pytest.mark.parametrize(
    ("make", "x", "said"),
    [
        (lambda: Words(4), TOKENS.float(), r"x has integers from 0 to 8; embedding has 4 rows, .*numpy\.unique"),
        (Words, TOKENS.float() - 1, r"x has integers from -1 to 7; embedding has 9 rows"),
        (Words, NUMBERS, r"an Embedding takes integers, and x has numbers such as -?\d\.\d+\. Save integers"),
    ],
)
def test_what_an_embedding_can_not_take_is_said(make: Any, x: Tensor, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        built(make, data(x))


class OfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5, 3)

    def forward(self, left: Tensor, right: Tensor, scale: float = 1.0) -> Tensor:
        return self.head(left - right) * scale


def test_a_network_of_two_inputs_says_how_one_array_holds_both() -> None:
    with pytest.raises(ArgumentError, match=r"takes 2 inputs, left, right.*numpy\.stack\(\[left, right\], axis=1\)"):
        built(OfTwo, data(torch.stack([NUMBERS, NUMBERS], 1)))

    class Advised(OfTwo):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            left, right = x.unbind(1)
            return super().forward(left, right)

    assert not built(Advised, data(torch.stack([NUMBERS, NUMBERS.flip(0)], 1))).notes


class Shaped(nn.Module):
    def __init__(self, n: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.shape = nn.Linear(5, n), shape

    def forward(self, x: Tensor) -> Any:
        out = self.layer(x).view(-1, *self.shape)
        return (out, x) if self.training and self.shape == (3, 2) else out


IMAGES = torch.randn(40, 6, generator=DRAW)

OUTPUTS: dict[str, tuple[int, tuple[int, ...], Dataset, str]] = {
    "an image": (
        6,
        (1, 2, 3),
        data(NUMBERS, y=IMAGES),
        "Shaped returns (1, 2, 3) for each example; it is flattened to 6",
    ),
    "one value": (1, (), data(NUMBERS, y=IMAGES[:, 0]), "Shaped returns one number for each example, (N,)"),
    "one logit": (1, (), data(NUMBERS, 2), "one number for each example"),
    "classes of one pixel": (3, (3, 1, 1), data(NUMBERS), "it is flattened to 3 outputs"),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_an_output_of_other_axes_becomes_a_row(kind: str) -> None:
    n, shape, dataset, said = OUTPUTS[kind]
    found = built(lambda: Shaped(n, shape), dataset)
    assert said in found.notes[0] and type(found.model).__name__ == "Shaped"
    outputs = found.model(NUMBERS)
    assert torch.equal(outputs, found.model.layer(NUMBERS)) and outputs.shape == (40, n)
    assert list(found.model.state_dict()) == ["layer.weight", "layer.bias"]
    twin = copy.deepcopy(found.model)
    nn.init.zeros_(found.model.layer.weight)
    assert torch.equal(twin(NUMBERS), outputs)
    graph = ModelGraph.trace(twin, NUMBERS[:2])
    assert torch.equal(graph(NUMBERS), outputs) and list(graph.sites)[:2] == ["x", "layer"]


def test_what_training_alone_returns_stays_as_it_is() -> None:
    found = built(lambda: Shaped(6, (3, 2)), data(NUMBERS, y=IMAGES))
    assert found.model(NUMBERS).shape == (40, 6) and isinstance(found.model.train()(NUMBERS), tuple)


def test_an_output_with_other_numbers_is_refused_with_what_to_change() -> None:
    for n, shape, said in ((6, (2, 3), r"output\[:, -1\], or their mean"), (4, (2, 2), "Return a row of outputs")):
        with pytest.raises(ArgumentError, match=said):
            built(lambda n=n, shape=shape: Shaped(n, shape), data(NUMBERS))

"""What a network's outputs are: by its last function, by the data, by what is said; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mi_runner.datasets import Dataset
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.models import Built, build
from mi_runner.models.output_kind import ends_in_0_to_1, is_maybe_a_logit, kind_of
from mi_runner.training.doubts import doubts
from mi_runner.training.options import TrainingOptions
from tests.small_data import classes, values


class Ends(nn.Module):
    """A Linear layer and a function behind it."""

    def __init__(self, n_outputs: int, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.end = nn.Linear(6, n_outputs), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.layer(x))


ENDS: dict[str, tuple[int, Callable[[Tensor], Tensor], Outputs]] = {
    "nothing, one output": (1, lambda z: z, Outputs.logit),
    "nothing, two outputs": (2, lambda z: z, Outputs.logits),
    "a scale": (1, lambda z: 3 * z, Outputs.logit),
    "tanh": (1, torch.tanh, Outputs.logit),
    "sigmoid": (1, torch.sigmoid, Outputs.probability),
    "its module": (1, nn.Sigmoid(), Outputs.probability),
    "its method, reshaped": (1, lambda z: z.sigmoid().view(-1, 1), Outputs.probability),
    "a squeezed sigmoid": (1, lambda z: z.sigmoid().squeeze(1), Outputs.probability),
    "a squeezed logit": (1, lambda z: z.flatten(0), Outputs.logit),
    "a sigmoid by hand": (1, lambda z: 1 / (1 + (-z).exp()), Outputs.probability),
    "a column of sigmoids": (2, lambda z: z.sigmoid()[:, 1:], Outputs.probability),
    "a column, squeezed": (2, lambda z: z.sigmoid()[:, 1], Outputs.probability),
    "a selected column": (2, lambda z: z.sigmoid().select(1, 1), Outputs.probability),
    "a column of a softmax": (2, lambda z: z.softmax(1)[:, 1:], Outputs.probability),
    "a clamped sigmoid": (1, lambda z: z.sigmoid().clamp(1e-6, 1 - 1e-6), Outputs.probability),
    "clamped": (1, lambda z: (z + 0.5).clamp(0, 1), Outputs.probability),
    "one minus a sigmoid": (1, lambda z: 1 - z.neg().sigmoid(), Outputs.probability),
    "expit": (1, torch.special.expit, Outputs.probability),
    "squeezed in place": (1, lambda z: z.sigmoid().squeeze_(1), Outputs.probability),
    "a mean of sigmoids": (2, lambda z: z.sigmoid().mean(1, keepdim=True), Outputs.probability),
    "a transposed sigmoid": (1, lambda z: z.sigmoid().T.ravel(), Outputs.probability),
    "both classes of a sigmoid": (1, lambda z: torch.cat([1 - z.sigmoid(), z.sigmoid()], 1), Outputs.probabilities),
    "a softmax in float64": (2, lambda z: z.double().softmax(1).float(), Outputs.probabilities),
    "half": (1, lambda z: z / 2, Outputs.logit),
    "an exponential": (1, torch.exp, Outputs.logit),
    "two sigmoids": (2, torch.sigmoid, Outputs.logits),
    "softmax": (2, lambda z: torch.softmax(z, 1), Outputs.probabilities),
    "its module, of two": (2, nn.Softmax(-1), Outputs.probabilities),
    "log_softmax": (2, nn.LogSoftmax(-1), Outputs.logits),
    "a softmax by hand": (2, lambda z: z.exp() / z.exp().sum(1, keepdim=True), Outputs.probabilities),
    "a quotient that is none": (2, lambda z: z / 2, Outputs.logits),
}


def built(n_outputs: int, end: Callable[[Tensor], Tensor], data: Dataset, said: Outputs | None = None) -> Built:
    return build(lambda dataset: Built(Ends(n_outputs, end), dataset), data, seed=0, outputs=said)


@pytest.mark.parametrize("end", ENDS)
def test_the_last_function_says_what_outputs_of_two_classes_are(end: str) -> None:
    n_outputs, function, kind = ENDS[end]
    data = classes(n_classes=2)
    found = built(n_outputs, function, data)
    assert found.dataset.outputs is kind
    outputs = found.model(data.x_test)
    assert outputs.shape == (40, 1 if kind.are_of_one else 2) and outputs.shape[1] == found.dataset.n_outputs
    assert torch.equal(kind.answers(outputs), kind.class_logits(outputs).argmax(1))
    z = found.model.layer(data.x_test)  # type: ignore[operator]
    if "by hand" in end or (n_outputs == 1 and end not in ("clamped", "an exponential")):
        answers = z.argmax(1) if n_outputs == 2 else (z[:, 0] > 0).long()
        assert torch.equal(kind.answers(outputs), answers)
    assert bool(found.notes) == (kind is not Outputs.logits)  # a line says what is taken, where it isn't the usual


def test_of_three_classes_there_is_an_output_each() -> None:
    data = classes(n_classes=3)
    assert built(3, nn.Softmax(1), data).dataset.outputs is Outputs.probabilities
    assert built(3, nn.Identity(), data).dataset is data
    with pytest.raises(ArgumentError, match=r"returns \(2, 1\) .* needs \(2, 3\)\. One output is no 3 classes"):
        built(1, nn.Identity(), data)


def test_values_stay_values_where_nothing_is_said() -> None:
    for end in (nn.Identity(), nn.Sigmoid()):
        data = values()
        assert built(1, end, data).dataset is data and data.outputs is Outputs.values
    assert is_maybe_a_logit(Ends(1, nn.Identity()), values())
    assert not is_maybe_a_logit(Ends(1, nn.Sigmoid()), values())
    assert not is_maybe_a_logit(Ends(1, lambda z: 0.5 + 0 * z), values())


def test_a_value_0_or_1_becomes_a_class_where_outputs_are_said_to_be_a_logit() -> None:
    data = built(1, nn.Identity(), values(), Outputs.logit).dataset
    assert data.class_names == ("0", "1") and data.y_test.dtype == torch.int64 and data.n_outputs == 1
    assert torch.equal(data.y_test, values().y_test.long())


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "values of classes": (
        lambda: classes().answered(Outputs.values),
        r"outputs=values: the targets are classes\. Use outputs=logits, or target=value\.",
    ),
    "a logit of three": (
        lambda: classes().answered(Outputs.logit),
        r"outputs=logit: one output answers two classes, and there are 3\. Use outputs=logits or outputs=prob",
    ),
    "a logit of numbers": (
        lambda: replace(values(), y_train=values().y_train + 0.5).answered(Outputs.logit),
        r"outputs=logit: the targets are values\. Use outputs=values, or target=class\.",
    ),
    "no probabilities": (
        lambda: built(2, nn.Identity(), classes(n_classes=2), Outputs.probabilities),
        r"outputs=probabilities: the network's outputs go from -.* softmax, or use outputs=logits\.",
    ),
    "sums that aren't 1": (
        lambda: built(2, torch.sigmoid, classes(n_classes=2), Outputs.probabilities),
        r"the network's outputs of an example sum to .*, not 1\. End it with a softmax, or use outputs=logits\.",
    ),
    "no probability": (
        lambda: built(1, nn.Identity(), classes(n_classes=2), Outputs.probabilities),
        r"outputs go from -.* End it with a sigmoid, or use outputs=logit\.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_outputs_that_are_not_what_is_said(case: str) -> None:
    make, text = REFUSED[case]
    with pytest.raises(ArgumentError, match=text):
        make()


@pytest.mark.parametrize("seed", range(20))
def test_weights_do_not_decide_what_outputs_are(seed: int) -> None:
    """Outputs before training may lie in 0..1 by chance, or all be ½."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))
    if seed == 0:
        nn.init.zeros_(net[2].weight)
        nn.init.constant_(net[2].bias, 1.0)
    net.append(Ends(1, lambda z: z))
    net[3].layer = nn.Identity()
    net[3].end = lambda z: z / 2
    data = classes(n_classes=2)
    assert not ends_in_0_to_1(net, data) and kind_of(net, data, 1) is Outputs.logit


def test_a_logit_whose_outputs_look_like_probabilities_is_doubted() -> None:
    data = classes(n_classes=2).answered(Outputs.logit)
    (doubt,) = doubts(Ends(1, lambda z: 0.5 + 0.5 * torch.tanh(z)), data, TrainingOptions())
    assert "every answer is the second class" in doubt and doubt.endswith("type model.outputs=probabilities.")
    assert doubts(Ends(1, lambda z: 9 * z), data, TrainingOptions()) == []

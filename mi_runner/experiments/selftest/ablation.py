"""Do ablations and splits of the output give what integers give by hand?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from mi_runner.experiments.selftest.networks import (
    EXAMPLES,
    FIRST,
    FIRST_BIAS,
    LAST,
    LAST_BIAS,
    TwoWays,
    affine,
)
from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.graph import Intervention, ModelGraph, interchange, mean, run_with, zero
from mi_runner.methods.ablation import ablate, ablate_units
from mi_runner.methods.contributions import contributions
from mi_runner.methods.replacements import Source

Values = list[float]


def _hidden(x: Sequence[float]) -> Values:
    return [max(value, 0.0) for value in affine(FIRST, FIRST_BIAS, x)]


def _outputs(x: Sequence[float], *, to_sum: Sequence[float], behind: Sequence[float]) -> Values:
    """Returns `last(x + h) + h`, with the value of h that each of its two uses sees."""
    total = [a + b for a, b in zip(x, to_sum, strict=True)]
    return [a + b for a, b in zip(affine(LAST, LAST_BIAS, total), behind, strict=True)]


def _by_hand(hidden: Sequence[Sequence[float]]) -> list[Values]:
    """Returns the outputs of all examples where h has these values."""
    return [_outputs(x, to_sum=h, behind=h) for x, h in zip(EXAMPLES, hidden, strict=True)]


def _mean_hidden() -> Values:
    hidden = [_hidden(x) for x in EXAMPLES]
    return [sum(column) / len(hidden) for column in zip(*hidden, strict=True)]


INTACT = _by_hand([_hidden(x) for x in EXAMPLES])


def _squared(outputs: Sequence[Values]) -> float:
    """Returns the mean squared difference to the intact outputs: the loss where these are the targets."""
    differences = [
        (a - b) ** 2 for one, other in zip(outputs, INTACT, strict=True) for a, b in zip(one, other, strict=True)
    ]
    return sum(differences) / len(differences)


def _graph() -> tuple[ModelGraph, Tensor]:
    x = torch.tensor(EXAMPLES)
    return ModelGraph.trace(TwoWays(), x[:2]), x


def _furthest(found: Tensor, expected: Sequence[Values]) -> Compared:
    """Returns the largest difference of outputs to those by hand, which is to be 0."""
    return Compared(0.0, float((found.detach() - torch.tensor(expected)).abs().max()))


def intact() -> Compared:
    graph, x = _graph()
    return _furthest(graph(x), INTACT)


def zero_site() -> Compared:
    graph, x = _graph()
    return _furthest(run_with(graph, x, [Intervention("relu", zero)]), _by_hand([[0.0, 0.0]] * len(EXAMPLES)))


def edge() -> Compared:
    """Compares a run in which `first` alone sees no x."""
    graph, x = _graph()
    return _furthest(
        run_with(graph, x, [Intervention("x/first", zero)]), _by_hand([_hidden([0.0, 0.0])] * len(EXAMPLES))
    )


def skip_edge() -> Compared:
    """Compares a run in which the sum alone sees no x, so that `first` reads what it read."""
    graph, x = _graph()
    expected = [_outputs([0.0, 0.0], to_sum=_hidden(each), behind=_hidden(each)) for each in EXAMPLES]
    return _furthest(run_with(graph, x, [Intervention("x/add", zero)]), expected)


def path() -> Compared:
    """Compares a run in which x is 0 on its way through h to the first sum, and not on that to the second."""
    graph, x = _graph()
    without = _hidden([0.0, 0.0])
    expected = [_outputs(each, to_sum=without, behind=_hidden(each)) for each in EXAMPLES]
    return _furthest(run_with(graph, x, [Intervention("x/first/relu/add", zero)]), expected)


def swapped_unit() -> Compared:
    """Compares a run in which unit 1 of h comes from the example before."""
    graph, x = _graph()
    sources = x.roll(1, 0)
    unit = torch.tensor([False, True])
    before = [EXAMPLES[-1], *EXAMPLES[:-1]]
    hidden = [[_hidden(one)[0], _hidden(source)[1]] for one, source in zip(EXAMPLES, before, strict=True)]
    return _furthest(run_with(graph, x, [interchange(graph, "relu", sources, unit)]), _by_hand(hidden))


def _loss(method: str, *, expected: float) -> Compared:
    graph, x = _graph()
    rows = ablate(graph, x, torch.tensor(INTACT), targets=["relu"], methods=[method]).rows  # type: ignore[list-item]
    losses = [row["loss"] for row in rows if row["method"] == method]
    return Compared(expected, sum(losses) / len(losses), 1e-5)


def mean_loss() -> Compared:
    return _loss("mean", expected=_squared(_by_hand([_mean_hidden()] * len(EXAMPLES))))


def resample_loss() -> Compared:
    y = torch.zeros(len(EXAMPLES))
    draws = [Source().index(y, repeat).tolist() for repeat in range(1, 4)]
    losses = [_squared(_by_hand([_hidden(EXAMPLES[source]) for source in draw])) for draw in draws]
    return _loss("resample", expected=sum(losses) / len(losses))


def unit_loss() -> Compared:
    graph, x = _graph()
    rows = ablate_units(graph, x, torch.tensor(INTACT), targets=["relu"], methods=["zero"])
    (found,) = [row["loss"] for row in rows if row["unit"] == 1]
    return Compared(_squared(_by_hand([[_hidden(each)[0], 0.0] for each in EXAMPLES])), found, 1e-5)


def mean_of_batches() -> Compared:
    """Compares the mean of 1, 2, 3 and 10 in batches of three and one; the mean of the batches' means is 6."""
    return Compared(4.0, float(mean([torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[10.0]])])))


def summand(name: str) -> Compared:
    """Compares what a summand adds to the label's logit above the mean logit.

    The output is `last(x + h) + h`; the network here is `last(x + h)`, so that its output is a Linear layer.
    """
    x = torch.tensor(EXAMPLES)
    labels = [0, 1, 1, 0]
    read = {"x": EXAMPLES, "relu": [_hidden(each) for each in EXAMPLES]}[name]
    shares = []
    for label, values in zip(labels, read, strict=True):
        logits = affine(LAST, [0.0, 0.0], values)
        shares.append(logits[label] - sum(logits) / len(logits))
    rows = contributions(_OneWay(), x, torch.tensor(labels))
    (found,) = [row["label_logit"] for row in rows if row["summand"] == name]
    return Compared(sum(shares) / len(shares), found, 1e-6)


class _OneWay(TwoWays):
    """`last(x + h)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns outputs `(B, 2)` of inputs `(B, 2)`."""
        return self.last(x + torch.relu(self.first(x)))


def distributed() -> Compared:
    """Compares the sum of all summands' parts of the label's logit with that of the logits by hand."""
    labels = [0, 1, 1, 0]
    shares = []
    for label, x in zip(labels, EXAMPLES, strict=True):
        logits = affine(LAST, LAST_BIAS, [a + b for a, b in zip(x, _hidden(x), strict=True)])
        shares.append(logits[label] - sum(logits) / len(logits))
    rows = contributions(_OneWay(), torch.tensor(EXAMPLES), torch.tensor(labels))
    found = math.fsum(row["label_logit"] for row in rows if row["summand"] != "sum")
    return Compared(sum(shares) / len(shares), found, 1e-6)


ABLATION = (
    Check("intact", "largest difference of the network's outputs to those by hand", intact),
    Check("zero", "the same where a site is 0", zero_site),
    Check("edge", "the same where one edge carries 0", edge),
    Check(
        "skip_edge", "the same where the skip connection alone carries 0: the other use reads what it read", skip_edge
    ),
    Check("path", "the same where one of two paths carries 0", path),
    Check("swapped_unit", "the same where one unit comes from another example", swapped_unit),
    Check("mean", "loss where a site is its mean, by hand", mean_loss),
    Check("resample", "mean loss of three draws where a site comes from other examples, by hand", resample_loss),
    Check("unit", "loss where one unit is 0, by hand", unit_loss),
    Check("mean_of_batches", "mean of 1, 2, 3 and 10 in batches of three and one", mean_of_batches),
)

CONTRIBUTIONS = (
    Check("x", "what the skip connection adds to the label's logit, by hand", partial(summand, "x")),
    Check("relu", "what the hidden layer adds to the label's logit, by hand", partial(summand, "relu")),
    Check("sum", "what all summands add to the label's logit together, by hand", distributed),
)

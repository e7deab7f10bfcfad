"""Does a probe read a planted code, and nothing from noise?

Letters: N examples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.methods.probes import Target, probe, score, split_folds

N, UNITS = 400, 8


def _scored(features: Tensor, target: Target) -> float:
    draw = torch.Generator().manual_seed(0)
    folds = split_folds(N, 4, generator=draw)
    return score(
        target, probe(features, {"code": target.columns}, folds, generator=draw).predictions["code"], folds
    ).score


def _drawn() -> tuple[Tensor, Tensor]:
    """Returns random features `(N, 8)`, and a linear code in them `(N,)`."""
    features = torch.randn(N, UNITS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return features, features @ torch.arange(1.0, UNITS + 1).double()


def planted() -> Compared:
    features, code = _drawn()
    return Compared(1.0, _scored(features, Target(code, classes=None)), 0.001)


def noise() -> Compared:
    """Compares the R² of a code in other features with 0; with 8 units and 300 examples it is a little below."""
    _, code = _drawn()
    others = torch.randn(N, UNITS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return Compared(0.0, _scored(others, Target(code, classes=None)), 0.1)


def of_class() -> Compared:
    """Compares the accuracy for the code's sign, whose border is linear, with 1."""
    features, code = _drawn()
    return Compared(1.0, _scored(features, Target((code > 0).double(), classes=(0.0, 1.0))), 0.05)


def by_hand() -> Compared:
    """Compares an R² with 1 − SS(residual)/SS(total), in plain Python, the total about each fold's own mean."""
    values, predicted = [1.0, 4.0, 2.0, 8.0, 5.0, 7.0], [1.5, 3.0, 2.0, 6.0, 5.5, 8.0]
    folds = [[0, 1, 2], [3, 4, 5]]
    residual = sum((a - b) ** 2 for a, b in zip(values, predicted, strict=True))
    total = 0.0
    for fold in folds:
        middle = sum(values[example] for example in fold) / len(fold)
        total += sum((values[example] - middle) ** 2 for example in fold)
    target = Target(torch.tensor(values).double(), classes=None)
    found = score(target, torch.tensor(predicted).double()[:, None], [torch.tensor(fold) for fold in folds]).score
    return Compared(1 - residual / total, found, 1e-9)


PROBES = (
    Check("planted", "R² of a linear code in the features", planted),
    Check("noise", "R² of the same code in other random features: about 0", noise),
    Check("class", "accuracy for the sign of the code", of_class),
    Check("r2", "R² of given predictions, by hand", by_hand),
)

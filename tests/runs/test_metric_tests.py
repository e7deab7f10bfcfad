"""The losses of saved predictions are those of training, and paired tests over seeds are scipy's."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from mi_runner.datasets.outputs import Outputs
from mi_runner.runs.metric_tests import losses, student
from mi_runner.training.evaluation import loss_of_classes, loss_of_values


def frame_of(kind: Outputs, outputs: torch.Tensor, labels: torch.Tensor) -> pd.DataFrame:
    """A table of predictions, its outputs in an order that is not theirs."""
    columns = dict(zip(kind.column_names(outputs.shape[1]), outputs.T.numpy(), strict=True))
    return pd.DataFrame({**dict(reversed(columns.items())), "label": labels.numpy(), "answer": 0})


@pytest.mark.parametrize("kind", list(Outputs), ids=lambda kind: kind.value)
def test_a_loss_is_that_of_training(kind: Outputs) -> None:
    generator = torch.Generator().manual_seed(5)
    n, n_outputs = 40, 12 if kind in (Outputs.logits, Outputs.probabilities) else 1
    outputs = 3 * torch.randn(n, n_outputs, generator=generator)
    if kind is Outputs.probabilities:
        outputs = outputs.softmax(1)
    if kind is Outputs.probability:
        outputs = outputs.sigmoid()
    labels = torch.randint(0, max(2, n_outputs), (n,), generator=generator)
    if kind is Outputs.values:
        theirs = loss_of_values(torch.nn.functional.mse_loss)(outputs, labels.float(), reduction="none")
    else:
        theirs = loss_of_classes(kind)(outputs, labels, reduction="none")
    ours = losses(frame_of(kind, outputs, labels), kind.value)
    assert ours == pytest.approx(theirs.tolist(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("columns", "kind", "text"),
    [
        ({"label": [0], "logit": [0.5]}, "logits", "the predictions have no outputs logit_"),
        ({"label": [0], "logit_0": [0.5]}, "values", "the predictions have no outputs output"),
        ({"label": [2], "logit_0": [0.5], "logit_1": [0.5]}, "logits", "a label is no class of the outputs"),
    ],
)
def test_what_has_no_loss_is_said(columns: dict[str, list[float]], kind: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        losses(pd.DataFrame(columns), kind)


def test_students_test_over_seeds_is_scipys_or_none() -> None:
    from scipy.stats import ttest_rel

    before, after = [0.5, 0.6, 0.75], [0.7, 0.65, 0.95]
    found = student(before, after)
    assert found is not None and (found.n, found.units) == (3, "seeds")
    assert found.p == pytest.approx(ttest_rel(after, before).pvalue)
    assert student([], []) is student([0.5], [0.75]) is student([0.5, 0.25], [0.75, 0.5]) is None

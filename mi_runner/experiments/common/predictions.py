"""The table `predictions`: what does a network answer on each test example? Two runs can be compared answer by answer.

Its columns are `example`, the index in the test set; `label`; `answer`; and the outputs: `logit_0`, `logit_1`, … for
classes, `probability_0`, … for probabilities, `logit` or `probability` for one output that answers two classes,
`output` for values. As in the table `confusion`, classes are numbers, and values are rounded to integers.

Letters: N examples, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mi_runner.datasets.outputs import Outputs
from mi_runner.experiments import Result, Setting
from mi_runner.experiments.common.tables import PREDICTIONS, of_answers
from mi_runner.models.batches import outputs_of
from mi_runner.progress import log
from mi_runner.tables.columns import Columns, Repeated, Values
from mi_runner.training.evaluation import FURTHEST

NAME, EXAMPLE = PREDICTIONS.name, PREDICTIONS.keys[0]

MOST_NUMBERS = 10_000_000
"""Numbers in the table of many networks: 70 ablations of 10,000 examples with ten logits, 30 MB."""

COLUMNS = 4
"""Numbers of a row besides the outputs."""


@dataclass(frozen=True)
class Answers:
    """The answers of a network.

    Attributes:
        y: `(N,)` labels: classes or values.
        outputs: `(N, K)`.
        name: the columns that name the network, with their values, such as `{"seed": 3}`; the same columns for each.
    """

    y: Tensor
    outputs: Tensor
    name: Mapping[str, str | int] = field(default_factory=dict)


def table(networks: Sequence[Answers], *, kind: Outputs) -> Columns:
    """Returns a row for each network and test example; no rows for targets with several values.

    Args:
        networks: at least one.
        kind: what the outputs are, which decides the answer.
    """
    if networks[0].y.dim() > 1:
        return Columns({})
    sizes = [len(network.y) for network in networks]
    columns: dict[str, Values] = {}
    for key, first in networks[0].name.items():
        values = [network.name[key] for network in networks]
        if isinstance(first, str):
            kinds = {str(value): number for number, value in enumerate(dict.fromkeys(values))}
            columns[key] = Repeated(tuple(kinds), np.repeat([kinds[str(value)] for value in values], sizes))
        else:
            columns[key] = np.repeat(values, sizes)
    outputs = torch.cat([network.outputs.cpu() for network in networks])
    columns[EXAMPLE] = np.concatenate([np.arange(n) for n in sizes])
    columns["label"] = _integers(torch.cat([network.y.cpu() for network in networks])).numpy()
    columns["answer"] = _integers(kind.answers(outputs)).numpy()
    names = kind.column_names(outputs.shape[1])
    columns |= dict(zip(names, outputs.float().T.contiguous().numpy(), strict=True))
    return Columns(columns)


def _integers(values: Tensor) -> Tensor:
    if values.is_floating_point():
        values = values.round().nan_to_num().clamp(-FURTHEST, FURTHEST)
    return values.long()


def with_predictions(result: Result, setting: Setting[Any]) -> Result:
    """Returns the result of a run with the predictions of its network, or of those of all seeds, if it lacks them."""
    if NAME in result.tables:
        return result
    members = [(member.model, member.dataset, {"seed": member.seed}) for member in setting.members]
    networks = members or [(result.model or setting.model, setting.dataset, {})]
    n_examples = sum(len(dataset.y_test) for _, dataset, _ in networks)
    if members and n_examples * (setting.dataset.n_outputs + COLUMNS) > MOST_NUMBERS:
        log.info(f"{NAME} are left out: {len(members)} networks have {n_examples:,} answers")
        return result
    answers = [Answers(dataset.y_test, outputs_of(model, dataset.x_test), name) for model, dataset, name in networks]
    rows = table(answers, kind=setting.dataset.outputs)
    return result.with_table(
        of_answers(rows, setting.dataset.outputs, PREDICTIONS.of_seeds() if members else PREDICTIONS)
    )

"""What does each summand of the logits say, where the output is a Linear layer of a sum?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.interventions import Runs
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.ablation import Scoring, graph_of, loss_and_targets
from mi_runner.training.evaluation import score

SPLIT_TOLERANCE = 1e-4
"""The summands of the logits must add up to them within this, relative to the largest logit."""


@torch.no_grad()
def contributions(
    network: nn.Module | ModelGraph,
    x: Tensor,
    y: Tensor,
    *,
    depth: int = 1,
    kind: Outputs = Outputs.logits,
    runs: Runs | None = None,
) -> list[dict[str, Any]]:
    """Returns a row for each summand of the logits if the output is a Linear layer of a sum; otherwise none.

    With `depth` 2 a summand that is itself the output of a Linear layer is split into that layer's summands, and so on:
    `second[x]` is what flows from `x` through `second` and the last layer, `second.bias` what that bias adds.

    `accuracy` is that of the summand alone, `label_logit` its mean contribution to the label's logit above its mean
    contribution to all logits. The last row is the sum, whose `max_error` is the largest difference to the logits.

    Args:
        network, x: as in `ablate`.
        y: `(N,)` classes.
        depth: how many Linear layers, one behind the other, are split.
        kind: what the outputs are: logits, or a logit, of which the first class has half with the opposite sign.
        runs: as in `ablate`.

    Raises:
        ArgumentError: the network can't be traced, `y` are no classes, or `depth < 1`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.ablation import contributions
        >>> class Skip(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.hidden, self.last = nn.Linear(2, 2), nn.Linear(2, 2)
        ...     def forward(self, x):
        ...         return self.last(x + torch.relu(self.hidden(x)))
        >>> rows = contributions(Skip(), torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
        >>> [row["summand"] for row in rows]
        ['x', 'relu', 'bias', 'sum']
    """
    if depth < 1:
        raise ArgumentError("depth", depth, f"{{depth}}={depth} must be at least 1.")
    _, y, _ = loss_and_targets(x, y, Scoring(_no_loss, kind))
    with graph_of(network, x) as graph:
        split, summands = graph.split_output(depth)
        if len(summands.keys() - {"bias"}) < 2:
            return []
        runs = runs or Runs(graph, x, memory=0)
        returned = [*summands.values(), graph.output]
        parts = [runs[number].of(split).values(returned) for number in range(len(runs))]
        logits = runs.values(graph.output)
    whole = torch.cat([part[-1] for part in parts])
    error = float((whole - logits).abs().max())
    if error > SPLIT_TOLERANCE * max(1.0, float(logits.abs().max())):
        raise AssertionError(f"the logits' summands miss them by {error}")
    rows = []
    for number, summand in enumerate([*summands, "sum"]):
        values = whole if summand == "sum" else torch.cat([part[number].expand(len(part[-1]), -1) for part in parts])
        alone = score(values, y, _no_loss, kind=kind).columns()
        of_classes = kind.class_logits(values)
        above_mean = of_classes.gather(1, y[:, None]).squeeze(1) - of_classes.mean(1)
        rows.append(
            {
                "summand": summand,
                **{column: alone[column] for column in ("accuracy", "accuracy_low", "accuracy_high")},
                "label_logit": float(above_mean.double().mean()),
                "max_error": error if summand == "sum" else None,
            }
        )
    return rows


def _no_loss(outputs: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
    return outputs.new_zeros(len(outputs))

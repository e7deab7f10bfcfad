"""What does a site do beyond an estimate of it: its mean, or a linear function of the network's inputs?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, Unpack, get_args

import torch
from torch import Tensor, nn

from mi_runner.errors import ArgumentError, unknown
from mi_runner.graph.interventions import Run, Runs
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.ablation import Scoring, ablate, graph_of
from mi_runner.methods.ablation_targets import ablation_targets
from mi_runner.methods.replacements import Method, Running, Source
from mi_runner.models.batches import batches

RIDGE = 1e-8
"""What a linear fit adds to the diagonal of its features' products, relative to their mean."""


Estimate = Literal["mean", "linear"]
"""What a site is split into, with what is left: its mean, or the nearest linear function of the network's inputs."""


@torch.no_grad()
def linear_fit(graph: ModelGraph, x: Tensor, site: str, reads: Sequence[str]) -> Callable[..., Tensor]:
    """Returns the linear function, with a constant, of the sites in `reads` that is nearest to a site's values.

    Least squares in float64. It takes the values `(B, *shape)` of `reads` and gives `(B, *site)`.

    Raises:
        ArgumentError: there are not more examples than numbers that the function reads.
    """
    shape = graph.site(site).shape
    n_read = sum(graph.site(name).n_units for name in reads)
    if len(x) <= n_read:
        fit = f"a linear fit of {site} reads {n_read:,} numbers, so it needs more than {len(x):,} examples."
        raise ArgumentError(("reads", "x"), None, f"{{reads}}: {fit}")

    def features(values: Sequence[Tensor]) -> Tensor:
        ones = values[0].new_ones(len(values[0]), 1)
        return torch.cat([*(value.flatten(1) for value in values), ones], 1).double()

    gram = torch.zeros(n_read + 1, n_read + 1, dtype=torch.float64, device=x.device)
    product = torch.zeros(n_read + 1, math.prod(shape), dtype=torch.float64, device=x.device)
    for part in batches(x):
        *values, target = Run(graph, part).values([*reads, site])
        gram += features(values).T @ features(values)
        product += features(values).T @ target.flatten(1).double()
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())  # inputs that never vary leave it singular
    weights = torch.linalg.solve(gram, product)

    def fitted(*values: Tensor) -> Tensor:
        return (features(values) @ weights).to(values[0].dtype).reshape(len(values[0]), *shape)

    return fitted


class Choices(TypedDict, total=False):
    """Arguments of `ablate` that `ablate_beyond` passes on."""

    methods: Sequence[Method]
    scoring: Scoring
    running: Running


@torch.no_grad()
def ablate_beyond(
    network: nn.Module | ModelGraph,
    x: Tensor,
    y: Tensor,
    *,
    estimate: Estimate = "mean",
    targets: Sequence[str] | None = None,
    source: Source = Source(),
    **choices: Unpack[Choices],
) -> list[dict[str, Any]]:
    """Returns the rows of `ablate` for the two sites that a target is split into: `relu[estimate]`, `relu[residual]`.

    They say what a site does beyond its mean, or beyond a linear function of the network's inputs.

    Args:
        targets: sites; None for all inner ones. The other arguments are those of `ablate`.

    Raises:
        ArgumentError: as `ablate` and `linear_fit`, a target is no inner site, or no estimate has this name.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.ablation import ablate_beyond
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.copy_(torch.eye(2))
        >>> x, y = torch.tensor([[3.0, 1.0], [1.0, 4.0]]), torch.tensor([0, 1])
        >>> rows = ablate_beyond(net, x, y, targets=["1"], methods=["zero"])
        >>> [(row["target"], row["accuracy"]) for row in rows]
        [('1[estimate]', 1.0), ('1[residual]', 0.5)]
    """
    if estimate not in get_args(Estimate):
        raise ArgumentError("estimate", None, f"{{estimate}}: {unknown('estimate', estimate, get_args(Estimate))}")
    rows: list[dict[str, Any]] = []
    examples = x if source.x is None else source.x
    with graph_of(network, x) as graph:
        for target in ablation_targets(graph, targets):
            if targets is None and graph.kind(target) != "site":
                continue
            if graph.kind(target) != "site" or graph.site(target).kind == "input":
                problem = f"{{targets}}: {target} is no inner site, so it can't be split."
                raise ArgumentError("targets", None, problem)
            name = graph.site(target).name
            if estimate == "mean":
                split = graph.split(name, Runs(graph, examples, memory=0).means([name])[name])
            else:
                split = graph.split(name, linear_fit(graph, examples, name, graph.inputs), graph.inputs)
            both = [f"{name}[estimate]", f"{name}[residual]"]
            rows += ablate(split, x, y, targets=both, source=source, **choices).rows[1:]
    return rows

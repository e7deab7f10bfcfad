"""Replacement values, and running a network with them.

A replacement value is computed by one function (`zero`, `mean`, `resample`, `read_sites`) and put in its place by
another (`run_with`). Letters: B batch, S variants run at once; a site's value is `(B, *site)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

from mi_runner.batches import batches
from mi_runner.graph.model_graph import ModelGraph, Patch, Site

MOST_KEPT_NUMBERS = 50_000_000
"""Numbers of a site's values on all examples that are kept (200 MB); more are computed when they are needed."""

Rule = Callable[[Tensor], Tensor]
"""Gives the replacement `(B, *site)` of the value `(B, *site)` that would have been there."""


@dataclass(frozen=True)
class Intervention:
    """A rule that gives a replacement value at a site, an edge or a path, for all or some units.

    Attributes:
        target: `relu`, `x/add`, `x/first/relu/add`; the value that is replaced is that of the first site.
        value: a tensor that broadcasts to `(B, *site)`, or a rule. A parameter or constant has no B: the tensor
            broadcasts to the whole value.
        units: None for all units; else a boolean mask that broadcasts likewise, True where they are replaced.
    """

    target: str
    value: Tensor | Rule
    units: Tensor | None = None

    @property
    def patch(self) -> Patch:
        """What a derived graph does for this intervention."""
        return Patch(self.target, rule=not isinstance(self.value, Tensor), units=self.units is not None)


@overload
def run_with(
    graph: ModelGraph,
    inputs: Tensor | tuple[Tensor, ...],
    interventions: Sequence[Intervention] = (),
    returns: None = None,
) -> Tensor: ...


@overload
def run_with(
    graph: ModelGraph,
    inputs: Tensor | tuple[Tensor, ...],
    interventions: Sequence[Intervention] = (),
    *,
    returns: Sequence[str],
) -> tuple[Tensor, ...]: ...


def run_with(
    graph: ModelGraph,
    inputs: Tensor | tuple[Tensor, ...],
    interventions: Sequence[Intervention] = (),
    returns: Sequence[str] | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """The output, or the values of the sites in `returns`, with the interventions in place; gradients flow through.

    Several interventions on one target are applied in their order. An intervention on an edge or path sees, and
    overrides, those on the site from which it starts. A returned site's value is the one that its uses see by default:
    interventions on edges and paths that start at it don't show in it.

    Args:
        inputs: `(B, *input)`, a tuple where the module takes several.

    Raises:
        ConfigError: a target is not in the graph; the text lists the valid ones.
        ValueError: a value or mask doesn't broadcast to its site.
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    interventions = [_of_whole(i) if graph.target_site(i.target).kind == "constant" else i for i in interventions]
    module = graph.derive([intervention.patch for intervention in interventions], returns)
    given: list[Tensor | Rule] = []
    for intervention in interventions:
        site = graph.target_site(intervention.target)
        shape = site.shape if site.kind == "parameter" else (len(inputs[0]), *site.shape)
        value = intervention.value
        given.append(_broadcast(value, shape, intervention.target) if isinstance(value, Tensor) else value)
        if intervention.units is not None:
            given.append(_broadcast(intervention.units.to(torch.bool), shape, f"units of {intervention.target}"))
    return module(*inputs, *given)


def run_variants(graph: ModelGraph, inputs: Tensor, target: str, values: Tensor) -> Tensor:
    """Outputs `(S, B, *output)` of S runs that differ in the value at one target.

    What doesn't depend on the target is computed once for all of them, where vmap can run the network.

    Args:
        inputs: `(B, *input)`.
        values: `(S, B, *site)`, a whole replacement value for each run.

    Raises:
        torch.OutOfMemoryError: the runs don't fit in memory at once.
    """
    module = graph.derive([Patch(target)])
    together = torch.vmap(module, in_dims=(None, 0))
    try:
        return together(inputs, values)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        if _runs(together, inputs[:2], values[:2, :2]):
            raise
        # Some operations have no batching rule (a GRU), and some can't write a variant into a value that all share.
        return torch.stack([module(inputs, value) for value in values])


def _runs(together: Callable[..., Tensor], inputs: Tensor, values: Tensor) -> bool:
    """Whether vmap knows every operation: on so few examples nothing else can fail, memory least of all."""
    try:
        together(inputs, values)
    except RuntimeError:
        return False
    return True


def read_sites(graph: ModelGraph, inputs: Tensor | tuple[Tensor, ...], sites: Sequence[str]) -> dict[str, Tensor]:
    """Name → value `(B, *site)` of these sites, in a run without interventions.

    Raises:
        ConfigError: a site is not in the graph; the text lists the valid ones.
    """
    values = run_with(graph, inputs, returns=sites)
    return dict(zip(sites, values, strict=True))


class SiteValues:
    """A site's values on examples, in a network that doesn't change, kept where there is room for them.

    Args:
        x: `(N, *input)`, the examples.
        site: whose values `(N, *site)`.
    """

    def __init__(self, graph: ModelGraph, x: Tensor, site: Site) -> None:
        self.graph, self.x, self.site = graph, x, site
        fits = len(x) * site.n_units <= MOST_KEPT_NUMBERS
        self.kept = torch.cat(list(self._computed(batches(x)))) if fits else None

    def batches(self) -> Iterator[Tensor]:
        """The values of consecutive examples."""
        return self._computed(batches(self.x)) if self.kept is None else batches(self.kept)

    def rows(self, index: Tensor) -> Tensor:
        """The values `(B, *site)` of the examples of `index` `(B,)`."""
        return next(self._computed([self.x[index]])) if self.kept is None else self.kept[index]

    @torch.no_grad()
    def _computed(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        for part in parts:
            yield read_sites(self.graph, part, [self.site.name])[self.site.name]


def interchange(
    graph: ModelGraph, target: str, source: Tensor | tuple[Tensor, ...], units: Tensor | None = None
) -> Intervention:
    """The intervention that gives each base example the target's value on its source example.

    Args:
        source: `(B, *input)`, the source example of each base example.
        units: as in `Intervention`.
    """
    site = graph.target_site(target).name
    return Intervention(target, read_sites(graph, source, [site])[site], units)


def zero(values: Tensor) -> Tensor:
    """Zeros of the shape of `values` `(B, *site)`."""
    return torch.zeros_like(values)


def mean(batches: Iterable[Tensor]) -> Tensor:
    """The mean `(*site)` over all examples of batches `(B, *site)`, which may differ in size.

    Sum and count, in float64: a mean of the batches' means would give the last, smaller one too much weight.

    Raises:
        ValueError: if there is no example.
    """
    total, count = None, 0
    for values in batches:
        partial = values.double().sum(0)
        total = partial if total is None else total + partial
        count += len(values)
        dtype = values.dtype
    if total is None or count == 0:
        raise ValueError("the mean of no examples is not defined.")
    return (total / count).to(dtype)


def resample(values: Tensor, *, generator: torch.Generator) -> Tensor:
    """Each row replaced by that of another example drawn at random, with replacement.

    Args:
        values: `(B, *site)` values of a site on the source examples.

    Raises:
        ValueError: if `B < 2`: there is no other example.
    """
    return values[draw_others(len(values), generator=generator).to(values.device)]


def draw_others(n: int, *, generator: torch.Generator) -> Tensor:
    """For each of n examples the index of another one, `(n,)` int64, uniform over the others.

    Raises:
        ValueError: if `n < 2`: there is no other example.
    """
    if n < 2:
        raise ValueError(f"{n} examples: there is no other example to draw.")
    index = torch.randint(n - 1, (n,), generator=generator)
    return index + (index >= torch.arange(n))


def _of_whole(intervention: Intervention) -> Intervention:
    """The same intervention as a rule, for a value whose shape is known only when it is computed."""
    target, value, units = intervention.target, intervention.value, intervention.units

    def rule(base: Tensor) -> Tensor:
        new = _broadcast(value, tuple(base.shape), target) if isinstance(value, Tensor) else value(base)
        if units is None:
            return new
        return torch.where(_broadcast(units.to(torch.bool), tuple(base.shape), f"units of {target}"), new, base)

    return replace(intervention, value=rule, units=None)


def _broadcast(value: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
    try:
        return value.expand(shape)
    except RuntimeError as error:
        raise ValueError(f"{what}: the shape {tuple(value.shape)} doesn't broadcast to {shape}.") from error

"""What replaces a value where it is ablated: zeros, a mean, or what it is on another example.

`Source` says which examples means and resampled values come from; `Replacements` computes them, batch by batch, and
shares runs of the network between the ablations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.errors import ArgumentError, unknown
from mi_runner.graph.interventions import Run, Runs, read_sites
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.graph.sites import Site
from mi_runner.methods.site_parts import NO_PARTS, Parts, site_at
from mi_runner.methods.sources import ANY, draw_sources
from mi_runner.models.batches import batches
from mi_runner.progress import Progress

Method = Literal["zero", "mean", "resample"]
"""What replaces a value: zeros, its mean over the examples of `source`, or its value on another example."""

METHODS: tuple[Method, ...] = get_args(Method)

MEMORY = 1_000_000_000
"""Bytes of intact values that are kept, so that an ablation computes only what lies behind its target."""

NONE_ALIKE: Mapping[str, str] = {}

MOST_UNIT_RUNS = 200_000
"""Units times methods times repeats that are run without objection."""


@dataclass(frozen=True)
class Ablation:
    """One ablation of the table.

    Attributes:
        target: a site, edge or path.
        method: what replaces the value.
        repeat: from 1; zero and mean have no chance in them, and only one.
    """

    target: str
    method: Method
    repeat: int = 1


@dataclass(frozen=True)
class Source:
    """Where means and resampled values come from.

    Attributes:
        x: `(M, *input)`, the examples; None: those that are ablated.
        y: `(M,)` their classes, where `agree` compares them.
        agree: which examples a value is resampled from: `any`, those of the `same` class, of an `other` class, or of
            the class of this number.
        repeats: draws of the resample method.
        seed: of the resample method; a draw depends on seed and repeat alone, so that every target is resampled from
            the same examples.

    Example:
        >>> import torch
        >>> from mi_runner.ablation import Source
        >>> source = Source(torch.rand(100, 4), repeats=5)
        >>> source.index(torch.zeros(8).long(), repeat=1).shape
        torch.Size([8])
    """

    x: Tensor | None = None
    y: Tensor | None = None
    agree: str | int = ANY
    repeats: int = 3
    seed: int = 0

    def index(self, y: Tensor, repeat: int) -> Tensor:
        """Returns for each ablated example, of classes `y` `(N,)`, the number of its source example.

        Raises:
            ArgumentError: classes are to be compared, and there are none; or an example has no source that agrees.
        """
        if self.x is None:
            source_y = y
        elif self.agree == ANY:
            source_y = torch.empty(len(self.x))
        elif self.y is None or len(self.y) != len(self.x):
            remedy = f"give source.y, the class of each of the {len(self.x)} source examples."
            raise ArgumentError("agree", self.agree, "", remedy)
        else:
            source_y = self.y
        if self.agree != ANY and (y.is_floating_point() or y.dim() > 1):
            problem = f"{{agree}}={self.agree} compares classes, and y are values:"
            raise ArgumentError("agree", self.agree, problem, f"use {{agree}}={ANY}.")
        draw = chance.generator(self.seed, "resample", repeat)
        return draw_sources(y, source_y, self.agree, within=self.x is None, generator=draw)


@dataclass(frozen=True)
class Running:
    """How ablations are run; the result doesn't depend on it.

    Attributes:
        memory: bytes of intact values that are kept. With fewer it takes longer.
        runs: those of the examples, whose kept values several calls share; None: of one call alone.
        progress: told of finished rows; None: nobody is.
        most_runs: so often single units may be ablated: units times methods, and times repeats where resampled.

    Example:
        >>> from mi_runner.ablation import Running
        >>> Running(memory=1e9).most_runs
        200000
    """

    memory: float = MEMORY
    runs: Runs | None = None
    progress: Progress | None = None
    most_runs: int = MOST_UNIT_RUNS


def draws_of(site: Site, drawn: Sequence[tuple[Method, int]]) -> list[tuple[Method, int]]:
    """Returns those of `draws` that a site has: a parameter has no value on another example to resample.

    The mean of a parameter is that of its numbers.
    """
    return [draw for draw in drawn if not (site.kind == "parameter" and draw[0] == "resample")]


def draws(methods: Sequence[Method] = METHODS, repeats: int = 3) -> list[tuple[Method, int]]:
    """Returns pairs (method, repeat): each method once, but resample `repeats` times, counted from 1.

    Raises:
        ArgumentError: a method is unknown or named twice, none is named, or `repeats < 1`.
    """
    for method in methods:
        if method not in METHODS:
            raise ArgumentError("methods", None, f"{{methods}}: {unknown('method', method, METHODS)}")
    if len(set(methods)) < len(methods) or not methods:
        raise ArgumentError("methods", f"[{', '.join(methods)}]", "name at least one method, each once.")
    if repeats < 1:
        raise ArgumentError("repeats", repeats, f"{{repeats}}={repeats} must be at least 1.")
    return [(method, repeat) for method in methods for repeat in range(1, (repeats if method == "resample" else 1) + 1)]


class Replacements:
    """Replacement values of examples, and the runs of examples and sources that they are computed with.

    Where the values of all batches fit into the memory, they are kept. Otherwise batch follows batch, and of each there
    is a run of its examples, and one for each draw of the examples that are resampled.

    Args:
        x, y: the examples that are ablated, and their classes or values.
        drawn: pairs (method, repeat), see `draws`.
    """

    def __init__(
        self,
        graph: ModelGraph,
        x: Tensor,
        y: Tensor,
        source: Source,
        drawn: Sequence[tuple[Method, int]],
        running: Running,
    ) -> None:
        self.graph, self.y, self.origin, self.drawn = graph, y, source, drawn
        same = source.x is None
        self.source = x if source.x is None else source.x
        self.runs = running.runs or Runs(graph, x, memory=running.memory if same else running.memory / 2)
        self.sources = self.runs if same else Runs(graph, self.source, memory=running.memory / 2)
        self.fit = self.runs.fit and self.sources.fit
        if not self.fit:
            self.share = running.memory / (1 + sum(method == "resample" for method, _ in drawn))
            self.runs = Runs(graph, x, memory=self.share)
            self.sources = Runs(graph, self.source, memory=0)

    def __len__(self) -> int:
        return len(self.runs)

    def values(
        self, targets: Sequence[str], parts: Parts = NO_PARTS, alike: Mapping[str, str] = NONE_ALIKE
    ) -> Iterator[tuple[Ablation, int, Tensor, dict[Any, Any] | None]]:
        """Yields the replacement value `(B, *site)` for each ablation and batch; an ablation's batches in their order.

        A target that is a part of a site gets the value of the whole site.

        The last of the four is what batches of one size have in common that get the same value: see `Run.output`.

        Args:
            alike: target → the one that is resampled in its place, once for all that have it; what is yielded names it.

        Raises:
            ArgumentError: a value is to be resampled from `x`, which has a single example.
        """
        site_of = {target: site_at(self.graph, target, parts) for target in (*targets, *alike.values())}
        methods = {method for method, _ in self.drawn}
        names = list(dict.fromkeys(site_of[target].name for target in targets))
        parameters = {site.name for site in site_of.values() if site.kind == "parameter"}
        means = self.sources.means([name for name in names if name not in parameters]) if "mean" in methods else {}
        if "mean" in methods:
            means |= {name: read_sites(self.graph, self.source[:1], [name])[name].mean() for name in parameters}
        indices = {repeat: self._index(repeat) for method, repeat in self.drawn if method == "resample"}
        for group in [range(len(self))] if self.fit else [range(k, k + 1) for k in range(len(self))]:
            resampled: dict[int, Run] = {}
            if not self.fit:
                for repeat, index in indices.items():
                    resampled[repeat] = Run(self.graph, self.source[index[group[0]]], memory=self.share)
            values: tuple[str, Tensor] | None = None
            for ablation in self._each(targets, site_of, alike):
                site = site_of[ablation.target]
                if self.fit and ablation.method == "resample" and (values is None or values[0] != site.name):
                    values = site.name, self.sources.values(site.name)
                common: defaultdict[int, dict[Any, Any]] = defaultdict(dict)
                for number in group:
                    if ablation.method == "mean":
                        value = means[site.name]
                    elif ablation.method == "zero":
                        value = torch.zeros(site.shape, dtype=site.dtype, device=self.source.device)
                    elif values is not None:
                        value = values[1][indices[ablation.repeat][number]]
                    else:
                        (value,) = resampled[ablation.repeat].values([site.name])
                    is_common = self.fit and ablation.method != "resample"
                    yield ablation, number, value, common[len(self.runs.parts[number])] if is_common else None

    def _each(
        self, targets: Sequence[str], site_of: Mapping[str, Site], alike: Mapping[str, str]
    ) -> Iterator[Ablation]:
        """Yields the ablations of the targets, each once; a resampled one where `alike` says."""
        each = (
            Ablation(alike.get(target, target) if method == "resample" else target, method, repeat)
            for target in targets
            for method, repeat in draws_of(site_of[target], self.drawn)
        )
        yield from dict.fromkeys(each)

    def _index(self, repeat: int) -> tuple[Tensor, ...]:
        """Returns for each batch the source examples that it is resampled from."""
        return tuple(batches(self.origin.index(self.y, repeat).to(self.source.device)))

"""Replacement values, and running a network with them.

A replacement value is computed by one function (`zero`, `mean`, `resample`, `read_sites`) and put in its place by
another (`run_with`). A `Run` is for many interventions on one batch. Letters: B batch, S variants run at once; a site's
value is `(B, *site)`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from mi_runner.errors import ArgumentError
from mi_runner.graph.evaluator import Evaluator, Replacement, Rule
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.graph.sites import Site
from mi_runner.models.batches import batches

MEMORY = 1e9
"""Bytes of sites' values on all examples that are kept; more are computed when they are needed."""


@dataclass(frozen=True)
class Intervention:
    """A rule that gives a replacement value at a site, an edge or a path, for all or some units.

    Attributes:
        target: `relu`, `x/add`, `x/first/relu/add`; the value that is replaced is that of the first site.
        value: a tensor that broadcasts to `(B, *site)`, or a rule. A parameter or constant has no B: the tensor
            broadcasts to the whole value.
        units: None for all units; otherwise a boolean mask that broadcasts likewise, True where they are replaced.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import Intervention, ModelGraph, run_with
        >>> graph = ModelGraph.trace(nn.Sequential(nn.ReLU(), nn.Flatten()), torch.zeros(1, 3))
        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> first = torch.tensor([True, False, False])
        >>> run_with(graph, x, [Intervention("0", torch.zeros(3), units=first)])
        tensor([[0., 2., 3.]])
        >>> run_with(graph, x, [Intervention("0", lambda value: 10 * value)])
        tensor([[10., 20., 30.]])
    """

    target: str
    value: Tensor | Rule
    units: Tensor | None = None


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
    """Returns the output, or the values of the sites in `returns`, with the interventions made; gradients flow.

    Several interventions on one target are applied in their order. An intervention on an edge or path sees, and
    overrides, those on the site from which it starts. A returned site's value is the one that its uses see by default:
    interventions on edges and paths that start at it don't show in it.

    Args:
        inputs: `(B, *input)`, a tuple where the module takes several.

    Raises:
        ArgumentError: a target is not in the graph, and the text lists the valid ones; or a value or mask doesn't
            broadcast to its site.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import Intervention, ModelGraph, run_with
        >>> graph = ModelGraph.trace(nn.Sequential(nn.ReLU(), nn.Softmax(1)), torch.zeros(1, 2))
        >>> x = torch.tensor([[-1.0, 3.0]])
        >>> run_with(graph, x, [Intervention("0", torch.ones(2))])
        tensor([[0.5000, 0.5000]])
        >>> run_with(graph, x, returns=["0"])
        (tensor([[0., 3.]]),)
    """
    run = Run(graph, inputs)
    if returns is None:
        return run.output(interventions)
    return run.values(returns, interventions)


class Run:
    """One batch through a network, with interventions and without them.

    The intact values of sites are kept as far as they fit into a bound, and what lies before an intervention's target
    is taken from them. In training mode nothing is kept.

    Args:
        inputs: `(B, *input)`, a tuple where the module takes several.
        memory: bytes that are kept; 0 where there is only one run to do.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import Intervention, ModelGraph, Run
        >>> net = nn.Sequential(nn.ReLU(), nn.Flatten()).eval()
        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> run = Run(ModelGraph.trace(net, x), x, memory=1_000_000)
        >>> units = torch.eye(3).bool()
        >>> [run.output([Intervention("0", torch.zeros(3), unit)]).sum().item() for unit in units]
        [5.0, 4.0, 3.0]
    """

    def __init__(self, graph: ModelGraph, inputs: Tensor | tuple[Tensor, ...], *, memory: float = 0) -> None:
        self.graph = graph
        self.inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        self._evaluator = Evaluator(graph.program, dict(zip(graph.inputs, self.inputs, strict=True)), memory=memory)

    def of(self, derived: ModelGraph) -> Run:
        """Returns the same batch through a graph that is derived from this one, with the kept values that both have."""
        run = Run(derived, self.inputs)
        run._evaluator = self._evaluator.derived(derived.program)
        return run

    def output(self, interventions: Sequence[Intervention] = (), *, shared: dict[Any, Any] | None = None) -> Tensor:
        """Returns the output with the interventions made; errors are those of `run_with`.

        Args:
            shared: one dict for all runs with these same interventions on as many examples, empty before the first:
                what depends on no input is computed once for all.
        """
        return self.values([self.graph.output], interventions, shared=shared)[0]

    def values(
        self,
        sites: Sequence[str],
        interventions: Sequence[Intervention] = (),
        *,
        shared: dict[Any, Any] | None = None,
    ) -> tuple[Tensor, ...]:
        """Returns the values of sites with the interventions made; arguments and errors are those of `output`.

        Don't change them: without interventions they are the kept values themselves.
        """
        names = [self.graph.site(name).name for name in sites]
        replacements = [self._replacement(intervention) for intervention in interventions]
        return self._evaluator.run(replacements, names, shared=shared)

    def visit(self, sites: Sequence[str], told: Callable[[str, Tensor], None]) -> None:
        """Calls a function with each site's intact value as soon as it is computed, so that few are kept at once."""
        left = {self.graph.site(name).name for name in sites}

        def visited(name: str, value: Tensor) -> None:
            if name in left:
                left.remove(name)
                told(name, value)

        self._evaluator.run((), _ends(self.graph, left), visited)
        for name in sorted(left):  # those that were there already
            told(name, self.values([name])[0])

    def variants(self, target: str, values: Tensor) -> Tensor:
        """Returns the outputs `(S, B, *output)` of S runs that differ in the value at one target.

        What doesn't depend on the target is computed once for all of them, where vmap can run the network.

        Args:
            values: `(S, B, *site)`, a whole replacement value for each run.

        Raises:
            torch.OutOfMemoryError: the runs don't fit in memory at once.
        """

        def run(value: Tensor) -> Tensor:
            return self.output([Intervention(target, value)])

        together = torch.vmap(run)
        try:
            return together(values)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            if self._few()._takes_variants(target, values[:2, :2]):
                raise
            # Some operations have no batching rule (a GRU).
            return torch.stack([run(value) for value in values])

    def _few(self) -> Run:
        """Returns the run of the first few examples alone."""
        return Run(self.graph, tuple(x[:2] for x in self.inputs))

    def _takes_variants(self, target: str, values: Tensor) -> bool:
        """Returns whether vmap knows every operation; on so few examples nothing else can fail, and memory suffices."""
        try:
            torch.vmap(lambda value: self.output([Intervention(target, value)]))(values)
        except RuntimeError:
            return False
        return True

    def _replacement(self, intervention: Intervention) -> Replacement:
        target, value, units = intervention.target, intervention.value, intervention.units
        path = self.graph.resolve(target)
        site = self.graph.site(path[0])
        if site.kind == "constant":
            return Replacement(path, _rule_of_whole(intervention))
        shape = site.shape if site.kind == "parameter" else (len(self.inputs[0]), *site.shape)
        if isinstance(value, Tensor):
            value = _broadcast(value, shape, target)
        if units is not None:
            units = _broadcast(units.to(torch.bool), shape, f"units of {target}")
        return Replacement(path, value, units)


def run_variants(graph: ModelGraph, inputs: Tensor, target: str, values: Tensor) -> Tensor:
    """Returns the outputs `(S, B, *output)` of S runs on `inputs` `(B, *input)`; see `Run.variants`."""
    return Run(graph, inputs).variants(target, values)


def read_sites(graph: ModelGraph, inputs: Tensor | tuple[Tensor, ...], sites: Sequence[str]) -> dict[str, Tensor]:
    """Returns name → value `(B, *site)` of these sites, in a run without interventions.

    Raises:
        ArgumentError: a site is not in the graph; the text lists the valid ones.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import ModelGraph, read_sites
        >>> graph = ModelGraph.trace(nn.Sequential(nn.ReLU(), nn.Softmax(1)), torch.zeros(1, 2))
        >>> read_sites(graph, torch.tensor([[-1.0, 3.0]]), ["0"])
        {'0': tensor([[0., 3.]])}
    """
    values = run_with(graph, inputs, returns=sites)
    return dict(zip(sites, values, strict=True))


class Runs:
    """The runs of all batches of examples, in a network that doesn't change.

    Args:
        x: `(N, *input)`, the examples.
        memory: bytes of intact values that are kept: of all batches if these fit, otherwise of the batch in use.

    Attributes:
        parts: the batches.
        fit: whether the values of all batches are kept.
    """

    def __init__(self, graph: ModelGraph, x: Tensor, *, memory: float) -> None:
        self.graph, self.x, self.memory = graph, x, memory
        self.parts = list(batches(x))
        self.fit = sum(graph.program.total_size(len(part)) for part in self.parts) <= memory
        self._runs: dict[int, Run] = {}

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Run:
        if number not in self._runs:
            if not self.fit:
                self._runs.clear()
            self._runs[number] = Run(self.graph, self.parts[number], memory=self.memory)
        return self._runs[number]

    def values(self, site: str) -> Tensor:
        """Returns a site's values `(N, *site)` on all examples."""
        return self.values_of([site])[site]

    def values_of(self, sites: Sequence[str]) -> dict[str, Tensor]:
        """Returns name → values `(N, *site)` of each site on all examples, gathered in one pass."""
        values: dict[str, Tensor] = {}
        begin = 0
        for number, part in enumerate(self.parts):
            for site, own in zip(sites, self[number].values(sites), strict=True):
                if number == 0:  # one tensor for all, because with torch.cat all values would be there twice
                    values[site] = own.new_empty(len(self.x), *own.shape[1:])
                values[site][begin : begin + len(part)] = own
            begin += len(part)
        return values

    def means(self, sites: Sequence[str]) -> dict[str, Tensor]:
        """Returns name → mean `(*site)` of each site over all examples, gathered in one pass; see `mean`."""
        totals: dict[str, Tensor] = {}
        dtypes: dict[str, torch.dtype] = {}

        def add(name: str, values: Tensor) -> None:
            partial = values.sum(0, dtype=torch.float64)
            totals[name] = totals[name] + partial if name in totals else partial
            dtypes[name] = values.dtype

        for number in range(len(self)):
            run = self[number] if self.fit else Run(self.graph, self.parts[number])
            run.visit(sites, add)
        return {name: (total / len(self.x)).to(dtypes[name]) for name, total in totals.items()}


class SiteValues:
    """A site's values on examples, in a network that doesn't change, kept where there is room for them.

    Args:
        x: `(N, *input)`, the examples.
        site: whose values `(N, *site)`.
        memory: bytes that may be kept.

    Attributes:
        size: bytes that are kept.
    """

    def __init__(self, graph: ModelGraph, x: Tensor, site: Site, *, memory: float = MEMORY) -> None:
        self.graph, self.x, self.site = graph, x, site
        size = size_of_values(graph, x, site)
        with torch.no_grad():
            self.kept = Runs(graph, x, memory=0).values(site.name) if size <= memory else None
        self.size = size if self.kept is not None else 0

    @torch.no_grad()
    def rows(self, index: Tensor) -> Tensor:
        """Returns the values `(B, *site)` of the examples of `index` `(B,)`."""
        if self.kept is not None:
            return self.kept[index]
        return Run(self.graph, self.x[index]).values([self.site.name])[0]


def size_of_values(graph: ModelGraph, x: Tensor, site: Site) -> float:
    """Returns the bytes of a site's values on the examples `x` `(N, *input)`."""
    return len(x) * graph.program.steps[site.name].example_bytes


class KeptSites:
    """The values of several sites on examples, in networks that don't change, as far as they fit into a bound.

    If there is no room for the values of one more site, those that were asked for longest ago are given up.

    Args:
        memory: bytes that are kept at most.
    """

    def __init__(self, *, memory: float = MEMORY) -> None:
        self.memory = memory
        self._values: OrderedDict[tuple[int, int, str], SiteValues] = OrderedDict()

    def of(self, graph: ModelGraph, x: Tensor, site: Site) -> SiteValues:
        """Returns the values of a site on the examples `x` `(N, *input)`."""
        key = (id(graph), id(x), site.name)  # the values hold both, so that no other object has their identity
        if key not in self._values:
            needed = size_of_values(graph, x, site)
            while self._values and needed <= self.memory < needed + sum(of.size for of in self._values.values()):
                self._values.popitem(last=False)
            self._values[key] = SiteValues(graph, x, site, memory=self.memory)
        self._values.move_to_end(key)
        return self._values[key]


def interchange(
    graph: ModelGraph, target: str, source: Tensor | tuple[Tensor, ...], units: Tensor | None = None
) -> Intervention:
    """Returns the intervention that gives each base example the target's value on its source example.

    Args:
        source: `(B, *input)`, the source example of each base example.
        units: as in `Intervention`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import ModelGraph, interchange, run_with
        >>> graph = ModelGraph.trace(nn.Sequential(nn.ReLU(), nn.Flatten()), torch.zeros(1, 2))
        >>> base, source = torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 6.0]])
        >>> run_with(graph, base, [interchange(graph, "0", source, units=torch.tensor([True, False]))])
        tensor([[5., 2.]])
    """
    site = graph.target_site(target).name
    return Intervention(target, read_sites(graph, source, [site])[site], units)


def zero(values: Tensor) -> Tensor:
    """Returns zeros of the shape of `values` `(B, *site)`.

    Example:
        >>> import torch
        >>> from mi_runner.graph import zero
        >>> zero(torch.ones(1, 3))
        tensor([[0., 0., 0.]])
    """
    return torch.zeros_like(values)


def mean(batches: Iterable[Tensor]) -> Tensor:
    """Returns the mean `(*site)` over all examples of batches `(B, *site)`, which may differ in size.

    Sum and count, in float64: a mean of the batches' means would give the last, smaller one too much weight.

    Raises:
        ArgumentError: if there is no example.

    Example:
        >>> import torch
        >>> from mi_runner.graph import mean
        >>> mean([torch.tensor([[1.0], [2.0]]), torch.tensor([[6.0]])])
        tensor([3.])
    """
    total, count = None, 0
    for values in batches:
        partial = values.sum(0, dtype=torch.float64)
        total = partial if total is None else total + partial
        count += len(values)
        dtype = values.dtype
    if total is None or count == 0:
        raise ArgumentError("batches", None, "the mean of no examples is not defined.")
    return (total / count).to(dtype)


def resample(values: Tensor, *, generator: torch.Generator) -> Tensor:
    """Returns the values with each row replaced by that of another example, drawn at random with replacement.

    Args:
        values: `(B, *site)` values of a site on the source examples.

    Raises:
        ArgumentError: if `B < 2`: there is no other example.

    Example:
        >>> import torch
        >>> from mi_runner.graph import resample
        >>> values = torch.tensor([[1.0], [2.0]])
        >>> resample(values, generator=torch.Generator().manual_seed(0))
        tensor([[2.],
                [1.]])
    """
    return values[draw_others(len(values), generator=generator).to(values.device)]


def draw_others(n: int, *, generator: torch.Generator) -> Tensor:
    """Returns for each of n examples the index of another one, `(n,)` int64, drawn uniformly from the others.

    Raises:
        ArgumentError: if `n < 2`: there is no other example.
    """
    if n < 2:
        raise ArgumentError("n", None, f"{n} examples: there is no other example to draw.")
    index = torch.randint(n - 1, (n,), generator=generator)
    return index + (index >= torch.arange(n))


def _rule_of_whole(intervention: Intervention) -> Rule:
    """Returns the intervention as a rule, for a value whose shape is known only when it is computed."""
    target, value, units = intervention.target, intervention.value, intervention.units

    def rule(base: Tensor) -> Tensor:
        new = _broadcast(value, tuple(base.shape), target) if isinstance(value, Tensor) else value(base)
        if units is None:
            return new
        return torch.where(_broadcast(units.to(torch.bool), tuple(base.shape), f"units of {target}"), new, base)

    return rule


def _broadcast(value: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
    try:
        return value.expand(shape)
    except RuntimeError as error:
        problem = f"{what}: the shape {tuple(value.shape)} doesn't broadcast to {shape}."
        raise ArgumentError("value", None, problem) from error


def _ends(graph: ModelGraph, sites: set[str]) -> tuple[str, ...]:
    """Returns those of the sites on which no other one depends: a run that computes them computes all."""
    position, behind = graph.program.position, graph.program.behind
    return tuple(name for name in sites if not any(behind[name] >> position[other] & 1 for other in sites))

"""What does a network compute, value by value? Sites, edges and paths of any traceable nn.Module.

`torch.fx` records every computed value: inputs, modules' outputs, results of functions and operators. A `ModelGraph`
names them, and rewrites give new graphs, such as one with a Linear layer distributed over a sum. A graph never changes,
and neither does the module.

The design follows the path-patching day of the REMIX programme: each value can be read and replaced in one way, by its
name. A target is a chain of names:

| target              | what is replaced                                                     |
|---------------------|----------------------------------------------------------------------|
| `relu`              | a site: the value, for every use                                     |
| `x/add`             | an edge: the value, for the uses by `add` alone                      |
| `x/first/relu/add`  | a path: the value of `x`, for what flows along the chain alone;      |
|                     | other uses of `x`, `first` and `relu` see the values they always saw |

The parameters of a module that is one site, and a Linear's product before its bias, are read and replaced likewise:
`first.weight`, `first[product]`. Without such a replacement a run is that of the plain module.

Letters: B batch; a site's value is `(B, *shape)`.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mi_runner.errors import ArgumentError, unknown
from mi_runner.graph import patterns, sums
from mi_runner.graph.evaluator import (
    PRODUCT,
    Evaluator,
    Merged,
    Program,
    Ref,
    Step,
    first_argument,
    linear_product,
    map_refs,
)
from mi_runner.graph.recording import evaluating, record
from mi_runner.graph.roles import roles
from mi_runner.graph.sites import Site, edges_of, sites_of

__all__ = ["Difference", "ModelGraph", "evaluating"]


class Difference(NamedTuple):
    """How far two graphs are apart: the largest absolute difference of their values, and the site where it is.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import Difference, ModelGraph
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> graph, other = (ModelGraph.trace(nn.Sequential(nn.Hardtanh(0, top)), x) for top in (1.0, 2.0))
        >>> graph.equivalent(other, x)
        Difference(largest=1.0, site='0')
    """

    largest: float
    site: str


@dataclass(frozen=True, eq=False)
class ModelGraph:
    """A module's computation, recorded once.

    Make one with `ModelGraph.trace`. A graph is frozen; what rewrites it returns another.

    Attributes:
        program: the steps that compute the values.
        inputs: names of the module's inputs.
        output: name of the site that the module returns.
        aliases: further names: the path of a submodule that was traced through, for the site that its first call
            returns, and `block_1` for its second; the second path of a submodule that has two.
        sites: name → `Site` of each value of the forward pass, in the order of computation.
        module_sites: the parameters and the products before the bias of modules that are one site.
        edges: all edges between sites, `source/target`; an edge stands for every use of the source by the target.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.graph import ModelGraph
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> graph = ModelGraph.trace(net, torch.zeros(1, 4))
        >>> list(graph.sites)
        ['input', '0', '1', '2']
        >>> graph.edges
        ('input/0', '0/1', '1/2')
        >>> graph.find("linear:*")
        ('0', '2')
        >>> torch.equal(graph(torch.ones(5, 4)), net(torch.ones(5, 4)))
        True
    """

    program: Program
    inputs: tuple[str, ...]
    output: str
    aliases: Mapping[str, str]
    sites: Mapping[str, Site] = field(init=False)
    module_sites: Mapping[str, Site] = field(init=False)
    edges: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        derived = {
            "aliases": MappingProxyType(dict(self.aliases)),
            "sites": MappingProxyType(sites_of(self.program, shown=True)),
            "module_sites": MappingProxyType(sites_of(self.program, shown=False)),
            "edges": edges_of(self.program),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def module(self) -> nn.Module:
        """The module whose computation this is."""
        return self.program.module

    @classmethod
    def trace(cls, module: nn.Module, example: Tensor | tuple[Tensor, ...], leaves: Iterable[str] = ()) -> ModelGraph:
        """Returns the graph of a module, recorded in evaluation mode.

        Modules of torch.nn are one site each; other submodules are traced through, unless `leaves` names them.
        The recorded graph is run on the example and must give the module's output bit for bit. It is also run on one
        example more, because only what grows with the batch has a value for each example. The example is not changed.

        Args:
            example: a batch of inputs; `(B, *shape)`, a tuple where the module takes several.
            leaves: paths of submodules that are to be one site each, e.g. because they can't be traced.

        Raises:
            ArgumentError: the module can't be traced, or what was recorded is not what it computes; the text says
                where, and what to do.
        """
        recorded = record(module, example, leaves)
        return cls(recorded.program, recorded.inputs, recorded.output, recorded.aliases)

    # --- names ---------------------------------------------------------------------------------------------------

    def site(self, name: str) -> Site:
        """Returns the site of this name.

        Raises:
            ArgumentError: there is none; the text lists the sites.
        """
        name = self._own_name(name)
        site = self.sites.get(name) or self.module_sites.get(name)
        if site is not None:
            return site
        if name in self.program.steps and self.program.steps[name].carries:
            taken = ", ".join(self._taken_from(name)) or "(none)"
            problem = f"'{name}' returns several values, so it is no site."
            raise ArgumentError("name", None, problem, f"Name one taken from it: {taken}.")
        raise ArgumentError("name", None, unknown("site", name, self.sites))

    @cached_property
    def roles(self) -> Mapping[str, str]:
        """Site → the name that networks of different architectures share, as `hidden_1_activation`, where it has one.

        The module `roles` has the names. A target may be named by them, too.
        """
        return MappingProxyType(roles(self.program, self.inputs, self.output, self.aliases))

    def role(self, target: str) -> str:
        """Returns a target in the names that networks share, as `input/hidden_1`; a site without one keeps its own."""
        return "/".join(self.roles.get(name, name) for name in self.resolve(target))

    @cached_property
    def _site_with_role(self) -> Mapping[str, str]:
        return {role: name for name, role in self.roles.items()}

    def _own_name(self, name: str) -> str:
        """Returns the name of the site with this name, alias or role, in this order; an unknown name as it is."""
        name = self.aliases.get(name, name)
        return name if name in self.program.steps else self._site_with_role.get(name, name)

    @property
    def usable_sites(self) -> list[str]:
        """The sites that have floating-point values for each example, in the order of computation."""
        return [name for name, site in self.sites.items() if not site.obstacle]

    def has(self, name: str) -> bool:
        """Returns whether a site has this name."""
        name = self._own_name(name)
        return name in self.sites or name in self.module_sites

    def _taken_from(self, name: str) -> list[str]:
        """Returns the sites that are taken from a step with several values, directly or from a part of them."""
        steps = self.program.steps
        users = [step.name for step in steps.values() if step.carries and name in step.inputs]
        parts = [[user] if user in self.sites else self._taken_from(user) for user in users]
        return [name for part in parts for name in part]

    def resolve(self, target: str) -> tuple[str, ...]:
        """Returns the names of a target's steps, from the site whose value is replaced to the last step that sees it.

        Raises:
            ArgumentError: the target names something that the graph doesn't have; the text lists what it has.
        """
        path = tuple(self._own_name(part) for part in target.split("/"))
        self.site(path[0])
        for source, name in itertools.pairwise(path):
            if (source, name) not in self.program.edges or not self.program.steps[name].carries:
                leaving = [edge for edge in self.edges if edge.startswith(f"{source}/")]
                what = "edge" if len(path) == 2 else f"edge (of the path {target})"
                raise ArgumentError("target", None, unknown(what, f"{source}/{name}", leaving or self.edges))
        return path

    def target_site(self, target: str) -> Site:
        """Returns the site whose value an intervention at `target` replaces: the first of the chain.

        Raises:
            ArgumentError: the target names something that the graph doesn't have; the text lists what it has.
        """
        return self.site(self.resolve(target)[0])

    def kind(self, target: str) -> str:
        """Returns whether `target` is a `site`, an `edge` or a `path`."""
        return {1: "site", 2: "edge"}.get(len(self.resolve(target)), "path")

    def uses(self, name: str) -> tuple[str, ...]:
        """Returns the edges that leave a site."""
        site = self.site(name).name
        return tuple(edge for edge in self.edges if edge.rpartition("/")[0] == site)

    def submodule(self, name: str) -> nn.Module | None:
        """Returns the module whose output a site is, or None where a function made it."""
        step = self._step(name)
        return self.module.get_submodule(step.target) if step.operation == "module" else None

    def sources(self, name: str) -> tuple[str, ...]:
        """Returns the sites that a site is computed from."""
        return tuple(source for source in self._step(name).inputs if source in self.sites)

    def function(self, name: str) -> tuple[Any, tuple[Any, ...], Mapping[str, Any]]:
        """Returns the function or method that made a site, None where a module did, and its arguments.

        These are the positional ones behind the first, and those by keyword.
        """
        step = self._step(name)
        return (None if step.operation == "module" else step.target), step.args[1:], step.kwargs

    def _step(self, name: str) -> Step:
        return self.program.steps[self.site(name).name]

    def find(self, pattern: str) -> tuple[str, ...]:
        """Returns the sites, edges or paths that a pattern names, in the order of computation.

        | pattern                      | what it finds                                                                 |
        |------------------------------|-------------------------------------------------------------------------------|
        | `relu*`, `layers.*`          | sites, by name: `*` any text, `?` any character                               |
        | `linear:*`, `function:*add*` | sites of a kind: a module's class or `Site.kind`, in lower or upper case      |
        | `/^layer[12]/`               | sites in whose name the regular expression is found                           |
        | `x/*`, `*/add`, `x/*/relu`   | edges and paths, each of whose sites has such a name                          |
        | a name                       | that target; sites may be named by their roles, `hidden_1_activation`         |

        Where no value of the forward pass is found, the parameters and products of modules are looked through:
        `*.weight`, `parameter:*`, `first[[]product]`.

        Raises:
            ArgumentError: nothing is found, or the regular expression is none; the text has the nearest names.
        """
        if not patterns.is_pattern(pattern) or self.has(pattern):
            self.resolve(pattern)
            return (pattern,)
        return patterns.find(pattern, self.sites, self.module_sites, self.edges)

    def paths(self, source: str, target: str) -> tuple[str, ...]:
        """Returns all paths from one site to another, `x/first/relu/add`.

        Raises:
            ArgumentError: there is no such site, no path, or there are more than `patterns.MOST_PATHS`.
        """
        first, last = self.site(source).name, self.site(target).name
        return patterns.paths(first, last, edges=self.edges, order=tuple(self.program.steps))

    def level(self, depth: int) -> tuple[str, ...]:
        """Returns a site for each submodule at a depth of the module tree, and for each that ends above it.

        The site is what the submodule returns. The names are the submodules' paths: at depth 1 `conv1` and `layer1`,
        at 2 `conv1` and `layer1.0`. The output is left out.
        """
        return patterns.level(depth, self.sites, self.aliases, output=self.output, order=tuple(self.program.steps))

    def __str__(self) -> str:
        """Returns a line for each site: its place in the tree of submodules, kind, shape, and the sites it reads."""
        return patterns.tree(self.sites, self.module_sites, self.program.steps)

    # --- running -------------------------------------------------------------------------------------------------

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Returns the module's output, computed step by step."""
        (output,) = Evaluator(self.program, dict(zip(self.inputs, inputs, strict=True))).run((), (self.output,))
        return output

    # --- rewriting -----------------------------------------------------------------------------------------------

    def summands(self, name: str) -> tuple[str, ...]:
        """Returns the sites whose sum a Linear layer reads; empty where it reads no sum or the site is no Linear layer.

        A sum is `a + b`, `a - b`, `-a`, `torch.add`, `torch.sub`, `sum([a, b])`, `torch.stack([a, b]).sum(0)`, or a sum
        of these.
        """
        terms = self._terms_read_by(name)
        return tuple(terms) if len(terms) > 1 else ()

    def _terms_read_by(self, name: str, whole: frozenset[str] = frozenset()) -> dict[str, float]:
        """Returns the terms of the sum that a Linear layer reads: site → how often it counts; empty for other sites.

        The sites of `whole` are taken as they are, even if they are sums.
        """
        step = self._step(name)
        read = first_argument(step)
        # A weight that is computed, as by weight_norm, is no parameter.
        is_product = sums.is_linear(self.submodule(name)) and "weight" in step.on_demand
        if not is_product or not isinstance(read, Ref):
            return {}
        return sums.terms(self.program.steps, read.name, whole)

    def split_output(self, depth: int) -> tuple[ModelGraph, dict[str, str]]:
        """Returns the graph with the output distributed, and the sites that add up to it, by what they come from.

        Empty where the output is no Linear layer that can be distributed; `bias` is that of the last layer.

        Args:
            depth: 1 splits the last layer's sum; 2 also the summands that are Linear layers themselves; and so on.
        """
        levels: dict[str, int] = {}  # layer that is split → its distance from the output
        ahead = [self.output]
        for level in range(1, depth + 1):
            ahead = [name for name in ahead if name not in levels and self._can_be_distributed(name)]
            levels |= dict.fromkeys(ahead, level)
            ahead = [term for name in ahead for term in self._terms_read_by(name)]
        if self.output not in levels:
            return self, {}
        graph = self
        for name in sorted(levels, key=self.program.position.__getitem__):
            whole = frozenset(levels) if levels[name] == depth else frozenset()
            terms = graph._terms_read_by(name, whole)  # in the end those of the last layer, the output
            graph = graph._distributed(name, whole)
        summands = {term: f"{self.output}[{term}]" for term in terms}
        bias = self._step(self.output).on_demand.get("bias")
        return graph, summands | ({} if bias is None else {"bias": bias})

    def _can_be_distributed(self, name: str) -> bool:
        terms = self._terms_read_by(name) if name in self.sites else {}
        return len(terms) > 1 or (len(terms) == 1 and "bias" in self._step(name).on_demand)

    def distribute(self, name: str) -> ModelGraph:
        """Returns the graph with a Linear layer distributed over the sum that it reads.

        `last(x + relu)` becomes `last[x] + last[relu] + last.bias`, where `last[s]` is the weight applied to the
        summand s alone; these are sites of the new graph. It equals the old one up to rounding. A Linear layer that
        reads one value becomes its product and its bias.

        Raises:
            ArgumentError: the site is no Linear layer, or it has nothing to be distributed over.
        """
        return self._distributed(name, frozenset())

    def _distributed(self, name: str, whole: frozenset[str]) -> ModelGraph:
        terms, step = self._terms_read_by(name, whole), self._step(name)
        if not self._can_be_distributed(name):
            problem = f"{name} is no Linear layer that reads a sum, so it can't be distributed."
            raise ArgumentError("name", None, problem)
        assert step.value is not None
        steps = self.program.steps
        weight, bias = (step.on_demand.get(local) for local in ("weight", "bias"))
        new: list[Step] = []
        for old in steps.values():
            if old.name == step.on_demand.get(PRODUCT):
                continue
            if old.name in (weight, bias):
                new.append(replace(old, shown=True))
                continue
            if old is not step:
                new.append(old)
                continue
            parts: list[Step] = []
            for term, times in terms.items():
                of = steps[term].value
                assert of is not None
                args = (Ref(term), Ref(str(weight)), *([] if times == 1 else [times]))
                value = replace(step.value, of_examples=of.of_examples)
                parts.append(
                    Step(
                        f"{step.name}[{term}]", "function", linear_product, args, value=value, carries=True,
                        fixed_bytes=step.fixed_bytes, example_bytes=step.example_bytes, grad=step.grad,
                    )
                )  # fmt: skip
            new += parts
            if bias is not None:
                parts.append(steps[bias])
            total = parts[0]
            for number, part in enumerate(parts[1:], start=2):
                of_examples = any(of.value is not None and of.value.of_examples for of in (total, part))
                total = Step(
                    step.name if number == len(parts) else f"{step.name}[sum of {number}]",
                    "function", operator.add, (Ref(total.name), Ref(part.name)),
                    value=replace(step.value, of_examples=of_examples), carries=True,
                    fixed_bytes=step.fixed_bytes, example_bytes=step.example_bytes, grad=step.grad,
                )  # fmt: skip
                new.append(total)
        return replace(self, program=Program(self.module, new))

    def split(self, name: str, estimate: Tensor | Callable[..., Tensor], reads: Sequence[str] = ()) -> ModelGraph:
        """Returns the graph in which a site is a sum: an estimate and the rest, `relu[estimate] + relu[residual]`.

        Both are sites of the new graph, and so is `relu[value]`, what was there before. Neither depends on the other,
        and each can be replaced alone. The new graph equals the old one up to rounding.

        Args:
            estimate: a constant `(*site)` such as the mean, or a function that gives `(B, *site)` from the values of
                the sites in `reads`.
            reads: sites that are computed before the one that is split.

        Raises:
            ArgumentError: there is no such site, it has no value for each example, the estimate doesn't fit its shape,
                or one of `reads` depends on it.
        """
        site, step = self.site(name), self._step(name)
        if site.obstacle or step.operation == "input":
            raise ArgumentError("name", None, f"{name} {site.obstacle or 'is an input'}, so it can't be split.")
        value, fit, left = (f"{site.name}[{part}]" for part in ("value", "estimate", "residual"))
        sources = [self.site(source).name for source in reads]
        for source in sources:
            if self.program.position[source] >= self.program.position[site.name]:
                raise ArgumentError("reads", None, f"{{reads}}: {source} is not computed before {site.name}.")
        like: dict[str, Any] = {"value": step.value, "carries": True, "owner": step.owner, "grad": step.grad}
        like |= {"fixed_bytes": step.fixed_bytes, "example_bytes": step.example_bytes}
        if isinstance(estimate, Tensor):
            if tuple(estimate.shape) != site.shape:
                problem = f"{{estimate}}: the shape {tuple(estimate.shape)} is not that of {name}, {site.shape}."
                raise ArgumentError("estimate", None, problem)
            estimate, sources = _Constant(estimate.detach()), [value]
        args = tuple(Ref(source) for source in sources)
        new = [
            replace(step, name=value),
            Step(fit, "function", estimate, args, **like),
            Step(left, "function", _Residual(estimate), (Ref(value), *args), **like),
            Step(site.name, "function", operator.add, (Ref(fit), Ref(left)), **like),
        ]
        return self._with_steps({site.name: new})

    def merge(self, names: Sequence[str], name: str | None = None) -> ModelGraph:
        """Returns the graph in which several sites are one, computed from what they read outside; the others are gone.

        Args:
            names: sites; outside of them only the last is read.
            name: of the merged site; None for that of the last.

        Raises:
            ArgumentError: there is no such site, the name is taken, an inner site is read outside, or one is an input.
        """
        inside = sorted({self.site(one).name for one in names}, key=self.program.position.__getitem__)
        steps = self.program.steps
        # Values that are no sites, such as an LSTM's tuple, go with the sites that alone read them.
        last = inside[-1]
        for old in reversed(steps.values()):
            readers = [step.name for step in steps.values() if old.name in step.inputs]
            if old.value is None and readers and set(readers) <= set(inside):
                inside.append(old.name)
        for one in inside:
            readers = [step.name for step in steps.values() if one in step.inputs and step.name not in inside]
            if steps[one].operation == "input" or (one != last and (readers or one == self.output)):
                what = f"is read by {', '.join(readers)}" if readers else "is an input or the output"
                raise ArgumentError("names", None, f"{one} {what}, so it can't be merged into {last}.")
        chosen = sorted(inside, key=self.program.position.__getitem__)
        reads = dict.fromkeys(source for one in chosen for source in steps[one].inputs if source not in chosen)
        merged = replace(
            steps[last],
            operation="function",
            target=Merged(self.module, tuple(replace(steps[one], on_demand={}) for one in chosen), tuple(reads)),
            args=tuple(Ref(source) for source in reads),
            kwargs={},
            changes=frozenset(),
            on_demand={},
            grad=True,  # each of its steps knows its own
        )
        graph = self._with_steps({one: [merged] if one == last else [] for one in chosen})
        return graph if name is None or name == last else graph.rename(last, name)

    def rename(self, name: str, new: str) -> ModelGraph:
        """Returns the graph in which a site has another name.

        Raises:
            ArgumentError: there is no such site, or the new name is taken or has a `/`.
        """
        old = self.site(name).name
        if "/" in new or not new:
            problem = f"'{new}' can't be a site's name: it is empty or has a '/', which separates sites."
            raise ArgumentError("new", None, problem)
        if new in self.program.steps:
            raise ArgumentError("new", None, f"'{new}' is a site already:", "choose another name.")

        def called(other: str) -> str:
            return new if other == old else other

        def renamed(step: Step) -> Step:
            args, kwargs = map_refs(lambda ref: Ref(called(ref.name)), (step.args, dict(step.kwargs)))
            on_demand = {local: called(other) for local, other in step.on_demand.items()}
            changes = frozenset(map(called, step.changes))
            return replace(
                step, name=called(step.name), args=tuple(args), kwargs=kwargs, on_demand=on_demand, changes=changes
            )

        return replace(
            self,
            program=Program(self.module, map(renamed, self.program.steps.values())),
            inputs=tuple(map(called, self.inputs)),
            output=called(self.output),
            aliases={path: called(other) for path, other in self.aliases.items()},
        )

    def equivalent(self, other: ModelGraph, *inputs: Tensor) -> Difference:
        """Returns the largest difference between this graph's values and another one's, over all sites that both have.

        The outputs are compared even where they have different names.

        Args:
            inputs: as the networks take them.
        """
        names = [name for name, site in self.sites.items() if name in other.sites and site.kind != "parameter"]
        pairs = [*((name, name) for name in names), (self.output, other.output)]
        given = dict(zip(self.inputs, inputs, strict=True)), dict(zip(other.inputs, inputs, strict=True))
        with torch.no_grad():
            ours = Evaluator(self.program, given[0]).run((), [name for name, _ in pairs])
            theirs = Evaluator(other.program, given[1]).run((), [name for _, name in pairs])
        differences = [
            Difference(_distance(mine, other), name) for (name, _), mine, other in zip(pairs, ours, theirs, strict=True)
        ]
        return max(differences, key=lambda difference: difference.largest)

    def _with_steps(self, changed: Mapping[str, Sequence[Step]]) -> ModelGraph:
        """Returns the graph with other steps in place of some."""
        steps = [new for name, step in self.program.steps.items() for new in changed.get(name, (step,))]
        demanded = {name for step in steps for name in step.on_demand.values()}
        steps = [step for step in steps if step.shown or step.name in demanded]
        names = {step.name for step in steps}
        aliases = {path: name for path, name in self.aliases.items() if name in names}
        return replace(self, program=Program(self.module, steps), aliases=aliases)


class _Constant:
    """Gives one value `(*site)` for each example."""

    def __init__(self, value: Tensor) -> None:
        self.value = value

    def __call__(self, like: Tensor) -> Tensor:
        return self.value.to(like).expand_as(like)


class _Residual:
    """What an estimate leaves of a value."""

    def __init__(self, estimate: Callable[..., Tensor]) -> None:
        self.estimate = estimate

    def __call__(self, value: Tensor, *sources: Tensor) -> Tensor:
        return value - self.estimate(*sources)


def _distance(value: Tensor, other: Tensor) -> float:
    """Returns the largest absolute difference; infinite where the shapes differ, or only one value is NaN."""
    if value.shape != other.shape:
        return float("inf")
    apart = (value.double() - other.double()).abs()
    apart = apart.masked_fill((value == other) | (value.isnan() & other.isnan()), 0.0)
    return float(apart.nan_to_num(nan=float("inf")).max()) if apart.numel() else 0.0

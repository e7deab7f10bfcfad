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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from mi_runner.errors import ConfigError, unknown
from mi_runner.graph import patterns, sums
from mi_runner.graph.evaluator import PRODUCT, Evaluator, Program, Ref, Step, first_argument, linear_product
from mi_runner.graph.recording import evaluating, record

__all__ = ["ModelGraph", "Site", "evaluating"]


@dataclass(frozen=True)
class Site:
    """One named value.

    Attributes:
        name: `x`, `layers.0`, `relu`, `add`.
        kind: input, module, function (functions, operators and methods), parameter, or constant: a value whose first
            dimension is not the batch, e.g. a transposed weight, a mean over the batch, an LSTM's last state.
        shape: of one example's value, without the batch; where `kind` is parameter or constant, of the whole value, a
            constant's as it was on the example that was traced.
        module: the submodule's class name, or empty.
        dtype: of the value.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    module: str = ""
    dtype: torch.dtype = torch.float32

    @property
    def n_units(self) -> int:
        """How many numbers one example's value has; of a parameter or constant, the whole value."""
        return int(torch.Size(self.shape).numel())

    @property
    def obstacle(self) -> str:
        """Why the site has no numbers for each example, to read or to replace; empty where it has."""
        if self.kind == "parameter":
            return "is a parameter"
        if self.kind == "constant":
            return "has no value for each example (its first dimension is not the batch)"
        if not self.dtype.is_floating_point:
            what = "complex numbers" if self.dtype.is_complex else "integers"
            return f"holds {'booleans' if self.dtype is torch.bool else what}"
        return ""


@dataclass(frozen=True, eq=False)
class ModelGraph:
    """A module's computation, recorded once.

    Make one with `ModelGraph.trace`. A graph is frozen; what rewrites it returns another.

    Attributes:
        program: the steps that compute the values.
        inputs: names of the module's inputs.
        output: name of the site that the module returns.
        aliases: further names: the path of a submodule that was traced through, for the site that it returns.
        sites: name → `Site` of each value of the forward pass, in the order of computation.
        module_sites: the parameters and the products before the bias of modules that are one site.
        edges: all edges between sites, `source/target`; an edge stands for every use of the source by the target.
    """

    program: Program
    inputs: tuple[str, ...]
    output: str
    aliases: Mapping[str, str]
    sites: Mapping[str, Site] = field(init=False)
    module_sites: Mapping[str, Site] = field(init=False)
    edges: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        steps = self.program.steps
        known = [step for step in steps.values() if step.value is not None]
        derived = {
            "aliases": MappingProxyType(dict(self.aliases)),
            "sites": MappingProxyType({step.name: self._site(step) for step in known if step.shown}),
            "module_sites": MappingProxyType({step.name: self._site(step) for step in known if not step.shown}),
            "edges": tuple(
                f"{source}/{step.name}"
                for step in steps.values()
                if step.carries and step.shown
                for source in step.inputs
                if steps[source].carries
            ),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def _site(self, step: Step) -> Site:
        assert step.value is not None
        kind = {"method": "function"}.get(step.operation, str(step.operation))
        module = type(self.module.get_submodule(step.target)).__name__ if kind == "module" else ""
        if kind != "parameter" and not step.value.of_examples:
            kind = "constant"
        return Site(step.name, kind, step.value.shape, module, step.value.dtype)

    @property
    def module(self) -> nn.Module:
        """The module whose computation this is."""
        return self.program.module

    @classmethod
    def trace(cls, module: nn.Module, example: Tensor | tuple[Tensor, ...], leaves: Iterable[str] = ()) -> ModelGraph:
        """The graph of a module, recorded in evaluation mode.

        Modules of torch.nn are one site each; other submodules are traced through, unless `leaves` names them.
        The recorded graph is run on the example and must give the module's output bit for bit. It is also run on one
        example more, because only what grows with the batch has a value for each example. The example is not changed.

        Args:
            example: a batch of inputs; `(B, *shape)`, a tuple where the module takes several.
            leaves: paths of submodules that are to be one site each, e.g. because they can't be traced.

        Raises:
            ConfigError: the module can't be traced, or what was recorded is not what it computes; the text says
                where, and what to do.
        """
        recorded = record(module, example, leaves)
        return cls(recorded.program, recorded.inputs, recorded.output, recorded.aliases)

    # --- names ---------------------------------------------------------------------------------------------------

    def site(self, name: str) -> Site:
        """The site of this name.

        Raises:
            ConfigError: there is none; the text lists the sites.
        """
        name = self.aliases.get(name, name)
        site = self.sites.get(name) or self.module_sites.get(name)
        if site is not None:
            return site
        if name in self.program.steps and self.program.steps[name].carries:
            taken = ", ".join(self._taken_from(name)) or "(none)"
            raise ConfigError(f"'{name}' returns several values, so it is no site. Name one taken from it: {taken}.")
        raise ConfigError(unknown("site", name, self.sites))

    def _taken_from(self, name: str) -> list[str]:
        """The sites that read a step that has several values, or a part of it that has."""
        steps = self.program.steps
        users = [step.name for step in steps.values() if step.carries and name in step.inputs]
        parts = [[user] if user in self.sites else self._taken_from(user) for user in users]
        return [name for part in parts for name in part]

    def resolve(self, target: str) -> tuple[str, ...]:
        """The names of a target's steps, from the site whose value is replaced to the last that sees it.

        Raises:
            ConfigError: the target names something that the graph doesn't have; the text lists what it has.
        """
        path = tuple(self.aliases.get(part, part) for part in target.split("/"))
        self.site(path[0])
        for source, name in itertools.pairwise(path):
            if (source, name) not in self.program.edges or not self.program.steps[name].carries:
                leaving = [edge for edge in self.edges if edge.startswith(f"{source}/")]
                what = "edge" if len(path) == 2 else f"edge (of the path {target})"
                raise ConfigError(unknown(what, f"{source}/{name}", leaving or self.edges))
        return path

    def target_site(self, target: str) -> Site:
        """The site whose value an intervention at `target` replaces: the first of the chain.

        Raises:
            ConfigError: the target names something that the graph doesn't have; the text lists what it has.
        """
        return self.site(self.resolve(target)[0])

    def kind(self, target: str) -> str:
        """Whether `target` is a site, an edge or a path."""
        return {1: "site", 2: "edge"}.get(len(self.resolve(target)), "path")

    def uses(self, name: str) -> tuple[str, ...]:
        """The edges that leave a site."""
        site = self.site(name).name
        return tuple(edge for edge in self.edges if edge.rpartition("/")[0] == site)

    def submodule(self, name: str) -> nn.Module | None:
        """The module whose output a site is, or None where a function made it."""
        step = self._step(name)
        return self.module.get_submodule(step.target) if step.operation == "module" else None

    def sources(self, name: str) -> tuple[str, ...]:
        """The sites that a site is computed from."""
        return tuple(source for source in self._step(name).inputs if source in self.sites)

    def function(self, name: str) -> tuple[Any, Mapping[str, Any]]:
        """The function or method name that made a site, and its keyword arguments; None where a module did."""
        step = self._step(name)
        return (None if step.operation == "module" else step.target), step.kwargs

    def _step(self, name: str) -> Step:
        return self.program.steps[self.site(name).name]

    def find(self, pattern: str) -> tuple[str, ...]:
        """The sites, edges or paths that a pattern names, in the order of computation.

        | pattern                      | what it finds                                                                 |
        |------------------------------|-------------------------------------------------------------------------------|
        | `relu*`, `layers.*`          | sites, by name: `*` any text, `?` any character                               |
        | `linear:*`, `function:*add*` | sites of a kind: a module's class or `Site.kind`, in lower or upper case      |
        | `/^layer[12]/`               | sites in whose name the regular expression is found                           |
        | `x/*`, `*/add`, `x/*/relu`   | edges and paths, each of whose sites has such a name                          |
        | a name                       | that target                                                                   |

        Where no value of the forward pass is found, the parameters and products of modules are looked through:
        `*.weight`, `parameter:*`, `first[[]product]`.

        Raises:
            ConfigError: nothing is found, or the regular expression is none; the text has the nearest names.
        """
        return patterns.find(self, pattern)

    def paths(self, source: str, target: str) -> tuple[str, ...]:
        """All paths from one site to another, `x/first/relu/add`.

        Raises:
            ConfigError: there is no such site, no path, or there are more than `patterns.MOST_PATHS`.
        """
        return patterns.paths(self, self.site(source).name, self.site(target).name)

    def __str__(self) -> str:
        """A line for each site: where it stands in the tree of submodules, kind, shape, and the sites that it reads."""
        return patterns.tree(self)

    # --- running -------------------------------------------------------------------------------------------------

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The module's output, computed step by step."""
        (output,) = Evaluator(self.program, dict(zip(self.inputs, inputs, strict=True))).run((), (self.output,))
        return output

    # --- rewriting -----------------------------------------------------------------------------------------------

    def summands(self, name: str) -> tuple[str, ...]:
        """The sites whose sum a Linear layer reads; empty where it reads no sum, or the site is no Linear layer.

        A sum is `a + b`, `a - b`, `-a`, `torch.add`, `torch.sub`, `sum([a, b])`, `torch.stack([a, b]).sum(0)`, or a sum
        of these.
        """
        terms = self._terms_read_by(name)
        return tuple(terms) if len(terms) > 1 else ()

    def _terms_read_by(self, name: str) -> dict[str, float]:
        """What a Linear layer reads as a sum: site → how often it counts; empty where the site is no Linear layer."""
        read = first_argument(self._step(name))
        if not isinstance(self.submodule(name), nn.Linear) or not isinstance(read, Ref):
            return {}
        return sums.terms(self.program.steps, read.name)

    def split_output(self, depth: int) -> tuple[ModelGraph, dict[str, str]]:
        """The graph with the output distributed, and what then adds up to it: what it comes from → its site.

        Empty where the output is no Linear layer that can be distributed; `bias` is that of the last layer.

        Args:
            depth: 1 splits the last layer's sum; 2 also the summands that are Linear layers themselves; and so on.
        """
        layers: dict[str, None] = {}
        level = [self.output]
        for _ in range(depth):
            splittable = [name for name in level if self._can_be_distributed(name)]
            layers |= dict.fromkeys(splittable)
            level = [term for name in splittable for term in self._terms_read_by(name)]
        if self.output not in layers:
            return self, {}
        graph = self
        for name in sorted(layers, key=self.program.position.__getitem__):
            terms = graph._terms_read_by(name)  # of the last, which is the output, in the end
            graph = graph.distribute(name)
        summands = {term: f"{self.output}[{term}]" for term in terms}
        bias = self._step(self.output).on_demand.get("bias")
        return graph, summands | ({} if bias is None else {"bias": bias})

    def _can_be_distributed(self, name: str) -> bool:
        terms = self._terms_read_by(name) if name in self.sites else {}
        return len(terms) > 1 or (len(terms) == 1 and "bias" in self._step(name).on_demand)

    def distribute(self, name: str) -> ModelGraph:
        """The graph with a Linear layer distributed over the sum that it reads.

        `last(x + relu)` becomes `last[x] + last[relu] + last.bias`, where `last[s]` is the weight applied to the
        summand s alone; these are sites of the new graph. It equals the old one up to rounding. A Linear layer that
        reads one value becomes its product and its bias.

        Raises:
            ConfigError: the site is no Linear layer, or it has nothing to be distributed over.
        """
        terms, step = self._terms_read_by(name), self._step(name)
        if not self._can_be_distributed(name):
            raise ConfigError(f"{name} is no Linear layer that reads a sum, so it can't be distributed.")
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
                        fixed_bytes=step.fixed_bytes, example_bytes=step.example_bytes,
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
                    fixed_bytes=step.fixed_bytes, example_bytes=step.example_bytes,
                )  # fmt: skip
                new.append(total)
        return replace(self, program=Program(self.module, new))

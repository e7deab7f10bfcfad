"""What does a network compute, value by value? Sites, edges and paths of any traceable nn.Module.

`torch.fx` records every computed value: inputs, modules' outputs, results of functions and operators. A `ModelGraph`
names them and derives new graphs from the recorded one: with some values replaced, with other values returned, with a
Linear layer distributed over a sum. It never changes, and neither does the module.

The design follows the path-patching day of the REMIX programme: each value can be read and replaced in one way, by its
name. A target is a chain of names:

| target              | what is replaced                                                     |
|---------------------|----------------------------------------------------------------------|
| `relu`              | a site: the value, for every use                                     |
| `x/add`             | an edge: the value, for the uses by `add` alone                      |
| `x/first/relu/add`  | a path: the value of `x`, for what flows along the chain alone;      |
|                     | other uses of `x`, `first` and `relu` see the values they always saw |

Letters: B batch; a site's value is `(B, *shape)`.
"""

from __future__ import annotations

import inspect
import itertools
import operator
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from mi_runner.errors import ConfigError, unknown

ADDITIONS = (operator.add, operator.iadd, torch.add)


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


@dataclass(frozen=True)
class Patch:
    """What a derived graph does at a target.

    Attributes:
        target: a site, edge or path.
        rule: whether the value given at run time is a function of the value that would have been there, or that
            value's replacement.
        units: whether a mask given at run time says which units are replaced.
    """

    target: str
    rule: bool = False
    units: bool = False

    @property
    def needs_base(self) -> bool:
        """Whether the value that would have been there has to be computed."""
        return self.rule or self.units


@dataclass(frozen=True)
class _Value:
    """What is known of a node's value: the shape as in `Site`, and whether the value has a row for each example."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    of_examples: bool


class ModelGraph:
    """A module's computation, recorded once.

    Make one with `ModelGraph.trace`.

    Attributes:
        sites: name → `Site`, in the order of computation.
        inputs: names of the module's inputs.
        output: name of the site that the module returns.
        edges: all edges, `source/target`; an edge stands for every use of the source by the target.
        aliases: further names: the path of a submodule that was traced through, for the site that it returns.
    """

    def __init__(
        self,
        module: nn.Module,
        graph: fx.Graph,
        names: Mapping[fx.Node, str],
        values: Mapping[fx.Node, _Value],
        carriers: frozenset[fx.Node],
        aliases: Mapping[str, str],
    ) -> None:
        self._module = module
        self._graph = graph
        self._names = dict(names)
        self._values = dict(values)
        self._carriers = carriers
        self._nodes = {name: node for node, name in self._names.items()}
        self._derived: dict[tuple[tuple[Patch, ...], tuple[str, ...] | None], fx.GraphModule] = {}
        self.aliases = dict(aliases)
        self.sites = {name: self._site(node) for node, name in self._names.items() if node in self._values}
        self.inputs = tuple(self._names[node] for node in graph.nodes if node.op == "placeholder" and node in values)
        (returned,) = next(node for node in graph.nodes if node.op == "output").args
        self.output = self._names[returned]
        self.edges = tuple(
            f"{self._names[source]}/{self._names[node]}"
            for node in graph.nodes
            if node in carriers
            for source in node.all_input_nodes
            if source in carriers
        )

    def _site(self, node: fx.Node) -> Site:
        kind = {"placeholder": "input", "call_module": "module", "get_attr": "parameter"}.get(node.op, "function")
        module = type(self._module.get_submodule(str(node.target))).__name__ if kind == "module" else ""
        value = self._values[node]
        if kind != "parameter" and not value.of_examples:
            kind = "constant"
        return Site(self._names[node], kind, value.shape, module, value.dtype)

    # --- recording -----------------------------------------------------------------------------------------------

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
        inputs = example if isinstance(example, tuple) else (example,)
        _refuse_open_parameters(module)
        with evaluating(module):
            tracer = _Tracer(frozenset(leaves))
            try:
                graph = tracer.trace(module, concrete_args=_defaults(module, len(inputs)))
            except Exception as error:
                raise _untraceable(module, error, tracer.failed_in) from error
            names = _name_nodes(graph)
            # Only outside inference mode do tensors count their changes.
            with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng():
                expected = _output_on_copies(module, inputs)
                recorder = _Recorder(fx.GraphModule(module, graph))
                recorded = recorder.run(*(x.clone() for x in inputs))
                returned = next(node for node in graph.nodes if node.op == "output").args[0]
                if not isinstance(returned, fx.Node) or returned not in recorder.shapes:
                    raise ConfigError(f"{type(module).__name__} returns {returned}: a graph needs one tensor. Wrap it.")
                _refuse_other_output(module, recorded, expected)
                values = _with_batch_known(recorder, inputs)
                aliases = {path: names[node] for path, node in tracer.returned.items() if path not in names.values()}
                found = cls(module, graph, names, values, frozenset(recorder.carriers), aliases)
                # A derived graph guards sites against operations in place, so it can differ where the recorded doesn't.
                _refuse_other_output(module, found(*(x.clone() for x in inputs)), expected)
            return found

    # --- names ---------------------------------------------------------------------------------------------------

    def site(self, name: str) -> Site:
        """The site of this name.

        Raises:
            ConfigError: there is none; the text lists the sites.
        """
        name = self.aliases.get(name, name)
        if name not in self.sites and self._nodes.get(name) in self._carriers:
            taken = ", ".join(self._taken_from(self._nodes[name])) or "(none)"
            raise ConfigError(f"'{name}' returns several values, so it is no site. Name one taken from it: {taken}.")
        if name not in self.sites:
            raise ConfigError(unknown("site", name, self.sites))
        return self.sites[name]

    def _taken_from(self, node: fx.Node) -> list[str]:
        """The sites that read a node that has several values, or a part of it that has."""
        users = [user for user in node.users if user in self._carriers]
        parts = [[self._names[user]] if user in self._values else self._taken_from(user) for user in users]
        return [name for part in parts for name in part]

    def target_site(self, target: str) -> Site:
        """The site whose value an intervention at `target` replaces: the first of the chain.

        Raises:
            ConfigError: the target names something that the graph doesn't have; the text lists what it has.
        """
        return self.site(self._names[self._resolve(target)[0]])

    def kind(self, target: str) -> str:
        """Whether `target` is a site, an edge or a path."""
        return {1: "site", 2: "edge"}.get(len(self._resolve(target)), "path")

    def uses(self, name: str) -> tuple[str, ...]:
        """The edges that leave a site."""
        site = self.site(name).name
        return tuple(edge for edge in self.edges if edge.rpartition("/")[0] == site)

    def submodule(self, name: str) -> nn.Module | None:
        """The module whose output a site is, or None where a function made it."""
        node = self._nodes[self.site(name).name]
        return self._module.get_submodule(str(node.target)) if node.op == "call_module" else None

    def sources(self, name: str) -> tuple[str, ...]:
        """The sites that a site is computed from."""
        node = self._nodes[self.site(name).name]
        return tuple(self._names[source] for source in node.all_input_nodes if source in self._values)

    def function(self, name: str) -> tuple[Any, Mapping[str, Any]]:
        """The function or method name that made a site, and its keyword arguments; None where a module did."""
        node = self._nodes[self.site(name).name]
        return (None if node.op == "call_module" else node.target), node.kwargs

    def _resolve(self, target: str) -> tuple[fx.Node, ...]:
        parts = [self.aliases.get(part, part) for part in target.split("/")]
        self.site(parts[0])
        for source, name in itertools.pairwise(parts):
            if f"{source}/{name}" not in self.edges:
                leaving = [edge for edge in self.edges if edge.startswith(f"{source}/")]
                what = "edge" if len(parts) == 2 else f"edge (of the path {target})"
                raise ConfigError(unknown(what, f"{source}/{name}", leaving or self.edges))
        return tuple(self._nodes[part] for part in parts)

    # --- running -------------------------------------------------------------------------------------------------

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The module's output, computed by the recorded graph without any patch."""
        return self.derive()(*inputs)

    def derive(self, patches: Sequence[Patch] = (), returns: Sequence[str] | None = None) -> fx.GraphModule:
        """A new module that computes with the patches and returns the named sites' values, as a tuple.

        It is called with the inputs, then for each patch its value `(B, *shape)` (or rule) and, if the patch has units,
        a boolean mask that broadcasts to the value. Without `returns` it returns the module's output, alone. What the
        returned values don't depend on is not computed: a value that is replaced as a whole costs nothing upstream.
        The parameters are the original module's own.

        Raises:
            ConfigError: a target or name is not in the graph.
        """
        key = (tuple(patches), None if returns is None else tuple(returns))
        if key not in self._derived:
            self._derived[key] = self._derive(*key)
        return self._derived[key]

    def _derive(self, patches: tuple[Patch, ...], returns: tuple[str, ...] | None) -> fx.GraphModule:
        # Every target is a path p of nodes; a site is a path of one node, an edge of two. A patched path replaces the
        # value of its first node as seen along the path, so the nodes inside the path are computed a second time, from
        # the replaced value, and only its last node sees the result. `arriving` names the paths on which a use of a
        # node lies: pairs (patch, length), the first `length` nodes of that patch's path ending in the node.
        # Two patches whose paths share a part meet in the same second copy, because `arriving` holds both.
        paths = [self._resolve(patch.target) for patch in patches]
        derived = fx.Graph()
        copies: dict[tuple[fx.Node, frozenset[tuple[int, int]]], fx.Node] = {}
        plain: frozenset[tuple[int, int]] = frozenset()

        for node in self._graph.nodes:
            if node.op == "placeholder":
                copies[node, plain] = derived.node_copy(node)
        given: list[tuple[fx.Node, fx.Node | None]] = []
        for number, patch in enumerate(patches):
            value = derived.placeholder(f"patch_{number}")
            given.append((value, derived.placeholder(f"patch_{number}_units") if patch.units else None))
        raw_inputs = {node: copy for (node, _), copy in copies.items()}
        copies.clear()

        def computed(node: fx.Node, arriving: frozenset[tuple[int, int]]) -> fx.Node:
            """The node's own operation, on inputs as this use of it sees them."""
            if node in raw_inputs:
                return raw_inputs[node]

            def as_seen(source: fx.Node) -> fx.Node:
                along = {(number, length - 1) for number, length in arriving if paths[number][length - 2] is source}
                ending = {
                    (number, len(path) - 1)
                    for number, path in enumerate(paths)
                    if len(path) > 1 and path[-1] is node and path[-2] is source
                }
                return value_of(source, frozenset(along | ending))

            if not _works_in_place(node, self._module):
                return derived.node_copy(node, as_seen)
            # The operation would overwrite the site before it: let it overwrite a copy.
            changed = _first_argument(node)
            return derived.node_copy(
                node,
                lambda source: (
                    derived.call_function(torch.clone, (as_seen(source),)) if source is changed else as_seen(source)
                ),
            )

        def value_of(node: fx.Node, arriving: frozenset[tuple[int, int]]) -> fx.Node:
            key = (node, arriving)
            if key in copies:
                return copies[key]
            here = [number for number, path in enumerate(paths) if path == (node,)]
            here += sorted(number for number, length in arriving if length == 1)
            # What stands before the last replacement of the whole value doesn't matter.
            whole = [position for position, number in enumerate(here) if not patches[number].needs_base]
            if whole:
                value, here = given[here[whole[-1]]][0], here[whole[-1] + 1 :]
            else:
                value = computed(node, frozenset(pair for pair in arriving if pair[1] > 1))
            for number in here:
                replacement, units = given[number]
                if patches[number].rule:
                    replacement = derived.call_function(_follow, (replacement, value))
                if units is not None:
                    replacement = derived.call_function(torch.where, (units, replacement, value))
                value = replacement
            copies[key] = value
            return value

        # In the recorded order, so that the recursion of value_of is never deeper than the longest path.
        for node in self._graph.nodes:
            if node.op != "output":
                value_of(node, plain)
        if returns is None:
            derived.output(value_of(self._nodes[self.output], plain))
        else:
            derived.output(tuple(value_of(self._nodes[self.site(name).name], plain) for name in returns))
        # Optional parameters of forward, which are no inputs, go as well: patches can't stand behind their defaults.
        optional = {raw_inputs[node] for node in raw_inputs if node not in self._values}
        for node in reversed(derived.nodes):
            if not node.users and (node.op not in ("placeholder", "output") or node in optional):
                derived.erase_node(node)
        return fx.GraphModule(self._module, derived)

    # --- rewriting -----------------------------------------------------------------------------------------------

    def distribute(self, name: str) -> ModelGraph:
        """The graph with a Linear layer distributed over the sum that it reads.

        `last(x + relu)` becomes `last[x] + last[relu] + last[bias]`, where `last[s]` is the weight applied to the
        summand s alone; these are sites of the new graph. It equals the old one up to rounding.

        Raises:
            ConfigError: the site is no Linear layer, or what it reads is no sum of values of one shape.
        """
        layer = self.submodule(name)
        if not self.summands(name):
            raise ConfigError(f"{name} is no Linear layer that reads a sum, so it can't be distributed.")
        assert isinstance(layer, nn.Linear)
        node = self._nodes[self.site(name).name]
        summands = self._flat_sum(_first_argument(node))
        graph, names, values = fx.Graph(), {}, {}
        copies: dict[fx.Node, fx.Node] = {}
        whole = self._values[node]

        def add(new: fx.Node, called: str, value: _Value) -> fx.Node:
            names[new], values[new] = called, value
            return new

        def add_parameter(called: str) -> fx.Node:
            parameter = getattr(layer, called)
            value = _Value(tuple(parameter.shape), parameter.dtype, of_examples=False)
            return add(graph.get_attr(f"{node.target}.{called}"), parameter_names[called], value)

        parameter_names = {"weight": f"{name}.weight", "bias": f"{name}[bias]"}

        for old in self._graph.nodes:
            if old is not node:
                new = copies[old] = graph.node_copy(old, copies.__getitem__)
                if old in self._names:
                    names[new] = self._names[old]
                if old in self._values:
                    values[new] = self._values[old]
                continue
            weight = add_parameter("weight")
            parts = [
                add(
                    graph.call_function(functional.linear, (copies[s], weight)),
                    f"{name}[{self._names[s]}]",
                    replace(whole, of_examples=self._values[s].of_examples),
                )
                for s in summands
            ]
            if layer.bias is not None:
                parts.append(add_parameter("bias"))
            total = parts[0]
            for number, part in enumerate(parts[1:], start=2):
                called = name if number == len(parts) else f"{name}[sum of {number}]"
                of_examples = values[total].of_examples or values[part].of_examples
                value = replace(whole, of_examples=of_examples)
                total = add(graph.call_function(operator.add, (total, part)), called, value)
            copies[node] = total
        carriers = frozenset(new for new in names if new in values) | {copies[n] for n in self._carriers if n in copies}
        return ModelGraph(self._module, graph, names, values, carriers, self.aliases)

    def summands(self, name: str) -> tuple[str, ...]:
        """The sites whose sum a Linear layer reads; empty where it reads no sum, or the site is no Linear layer."""
        node = self._nodes[self.site(name).name]
        if not isinstance(self.submodule(name), nn.Linear):
            return ()
        parts = self._flat_sum(_first_argument(node))
        return tuple(self._names[part] for part in parts) if len(parts) > 1 else ()

    def _flat_sum(self, node: fx.Node) -> list[fx.Node]:
        """The values whose sum a node is, left to right; the node itself where it is no sum."""
        is_sum = (node.op == "call_function" and node.target in ADDITIONS) or (
            node.op == "call_method" and node.target == "add"
        )
        if not is_sum or node.kwargs or len(node.args) != 2:
            return [node]
        parts = [part for part in node.args if isinstance(part, fx.Node) and part in self._values]
        if len(parts) < 2 or any(self._values[part].shape != self._values[node].shape for part in parts):
            return [node]
        return [summand for part in parts for summand in self._flat_sum(part)]


def _follow(rule: Callable[[Tensor], Tensor], base: Tensor) -> Tensor:
    """The replacement that a rule gives for the value that would have been there."""
    return rule(base)


class _Tracer(fx.Tracer):
    """fx's tracer with further leaves, that notes what the submodules it traces through return.

    Attributes:
        returned: path of a submodule → what it returns.
        failed_in: path of the innermost submodule that raised an error, or empty.
    """

    def __init__(self, leaves: frozenset[str]) -> None:
        super().__init__()
        self.leaves = leaves
        self.returned: dict[str, fx.Node] = {}
        self.failed_in = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self.leaves or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        path = self.path_of_module(m)
        try:
            result = super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed_in = self.failed_in or path
            raise
        if isinstance(result, fx.Proxy) and path and not self.is_leaf_module(m, path):
            self.returned[path] = result.node
        return result


class _Recorder(fx.Interpreter):
    """Runs a graph on an example and notes which nodes are tensors, of which shape and dtype."""

    module: fx.GraphModule

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.dtypes: dict[fx.Node, torch.dtype] = {}
        self.carriers: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op != "output":
            if isinstance(value, Tensor):
                self.shapes[n], self.dtypes[n] = tuple(value.shape), value.dtype
                self.carriers.add(n)
            elif isinstance(value, tuple | list) and any(isinstance(part, Tensor) for part in value):
                self.carriers.add(n)
        return value


def _with_batch_known(recorder: _Recorder, inputs: tuple[Tensor, ...]) -> dict[fx.Node, _Value]:
    """What a recorded run on the inputs and one on an example more, the first again, say of each value."""
    n, shapes = len(inputs[0]), recorder.shapes
    more = tuple(torch.cat([x, x[:1]]) if x.dim() and len(x) == n else x.clone() for x in inputs)
    further = _Recorder(recorder.module)
    try:
        further.run(*more)
    except Exception:
        # A network for batches of one size alone: its example's shapes are all there is to know.
        further, more = recorder, inputs

    def value(node: fx.Node) -> _Value:
        of_examples = node.op != "get_attr" and shapes[node][:1] == (n,) and further.shapes[node][:1] == (len(more[0]),)
        return _Value(shapes[node][1:] if of_examples else shapes[node], recorder.dtypes[node], of_examples)

    return {node: value(node) for node in shapes}


def _output_on_copies(module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """What the module returns for copies of the inputs.

    Raises:
        ConfigError: it changed the copies, as it would change the data.
    """
    copies = [x.clone() for x in inputs]
    versions = [x._version for x in copies]
    output = module(*copies)
    if [x._version for x in copies] != versions:
        raise ConfigError(
            f"{type(module).__name__}: forward changes its input in place: begin it with x = x.clone() and use what "
            "operations in place return, as in x = x.mul_(2), or do without them."
        )
    return output


def _refuse_other_output(module: nn.Module, output: Tensor, expected: Tensor) -> None:
    """Raise a ConfigError unless the two are equal bit for bit; NaN equals NaN."""
    same = output.shape == expected.shape and output.dtype == expected.dtype
    if not same or not ((output == expected) | (output.isnan() & expected.isnan())).all():
        raise ConfigError(
            f"{type(module).__name__} as recorded gives other outputs than the module itself: it draws random "
            "numbers, changes values in place or keeps state. Name the submodule that does so in model.leaves; what "
            "the module's own forward does so, move into a submodule and name that."
        )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Within the block the module is in evaluation mode; afterwards each submodule is in the mode it was in."""
    modes = {submodule: submodule.training for submodule in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for submodule, mode in modes.items():
            submodule.training = mode


def _name_nodes(graph: fx.Graph) -> dict[fx.Node, str]:
    """A unique name for each node: inputs, submodules and parameters by what they are called, the rest by function."""
    names: dict[fx.Node, str] = {}
    taken: set[str] = set()

    def name(node: fx.Node, wanted: str) -> None:
        called, number = wanted, 0
        while called in taken:
            number += 1
            called = f"{wanted}_{number}"
        taken.add(called)
        names[node] = called

    named = [node for node in graph.nodes if node.op in ("placeholder", "call_module", "get_attr")]
    for node in named:
        name(node, str(node.target))
    for node in graph.nodes:
        if node.op in ("call_function", "call_method"):
            name(node, node.target if isinstance(node.target, str) else node.target.__name__.strip("_"))
    return {node: names[node] for node in graph.nodes if node in names}


def _defaults(module: nn.Module, n_inputs: int) -> dict[str, Any]:
    """The defaults of forward's optional parameters behind the first `n_inputs`: they are no inputs."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    return {p.name: p.default for p in parameters[n_inputs:] if p.default is not p.empty}


def _refuse_open_parameters(module: nn.Module) -> None:
    """Raise a ConfigError if forward takes `*args` or `**kwargs`: a graph's inputs have names, and their number."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    for p in inspect.signature(module.forward).parameters.values():
        if p.kind in stars:
            raise ConfigError(
                f"{type(module).__name__}.forward takes {stars[p.kind]}{p.name}: write the parameters out, "
                "e.g. forward(self, x)."
            )


def _first_argument(node: fx.Node) -> Any:
    """What a call's first argument is, given by position or by keyword; torch calls it `input`."""
    if node.args:
        return node.args[0]
    return node.kwargs["input"] if "input" in node.kwargs else next(iter(node.kwargs.values()), None)


def _works_in_place(node: fx.Node, module: nn.Module) -> bool:
    """Whether an operation overwrites its first argument."""
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if node.op == "call_method" or node.op == "call_function":
        return bool(node.kwargs.get("inplace")) or (called.endswith("_") and not called.endswith("__"))
    return False


def _untraceable(module: nn.Module, error: Exception, failed_in: str) -> ConfigError:
    """Where in the user's code tracing stopped, and what to do; `failed_in` is the submodule's path, or empty."""
    torch_folder = Path(torch.__file__).parent
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not Path(frame.filename).is_relative_to(torch_folder)
    ]
    where = f" at {frames[-1].filename}:{frames[-1].lineno} ({frames[-1].line})" if frames else ""
    reason = (str(error) or type(error).__name__).rstrip(". \n")
    if failed_in:
        leaf = f"make the submodule one site: model.leaves=[{failed_in}]"
    else:
        leaf = "where forward needs them, move it into a submodule and name that in model.leaves"
    return ConfigError(
        f"{type(module).__name__} can't be traced{where}: {reason}. "
        "Keep decisions about values and assignments into tensors out of forward (torch.where does both in the graph), "
        f"or {leaf}."
    )

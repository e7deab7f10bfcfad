"""What does a module compute, step by step? `torch.fx` records it, and the record is checked against the module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from mi_runner.errors import ArgumentError
from mi_runner.graph.evaluator import PRODUCT, Evaluator, Program, Ref, Step, Value, first_of, linear_product
from mi_runner.graph.naming import named, second_names
from mi_runner.graph.sums import is_linear
from mi_runner.graph.tracing import NO_GRAD, traced
from mi_runner.models.evaluation_checks import DRAWS


@dataclass(frozen=True)
class Recording:
    """A module's steps.

    Attributes:
        program: the steps.
        inputs: names of the module's inputs.
        output: name of the step that the module returns.
        aliases: path of a submodule that was traced through → the step that its first call returns; `block_1` for its
            second call; further paths of a submodule that has several.
    """

    program: Program
    inputs: tuple[str, ...]
    output: str
    aliases: dict[str, str]


def record(module: nn.Module, example: Tensor | tuple[Tensor, ...], leaves: Iterable[str]) -> Recording:
    """Returns the steps of a module in evaluation mode; arguments and errors are those of `ModelGraph.trace`."""
    inputs = example if isinstance(example, tuple) else (example,)
    with evaluating(module):
        graph, tracer = traced(module, len(inputs), leaves)
        names, aliases = named(module, graph, tracer.returned)
        # Only outside inference mode do tensors count their changes.
        with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng():
            expected = _output_on_copies(module, inputs)
            recorder = _Recorder(fx.GraphModule(module, graph))
            recorded = recorder.run(*(x.clone() for x in inputs))
            returned = next(node for node in graph.nodes if node.op == "output").args[0]
            if not isinstance(returned, fx.Node) or returned not in recorder.shapes:
                problem = f"{type(module).__name__} returns {returned}: a graph needs one tensor."
                raise ArgumentError("module", None, problem, "Wrap it.")
            _refuse_other_output(module, recorded, expected, inputs)
            program = Program(module, _steps(module, graph, names, recorder, inputs))
            given = tuple(names[node] for node in graph.nodes if node.op == "placeholder" and node in recorder.shapes)
            # The steps guard values against operations in place, so they can differ where the recorded graph doesn't.
            (again,) = Evaluator(program, dict(zip(given, inputs, strict=True))).run((), (names[returned],))
            _refuse_other_output(module, again, expected, inputs)
    aliases |= second_names(module, program.steps, aliases)
    return Recording(program, given, names[returned], aliases)


def _steps(
    module: nn.Module, graph: fx.Graph, names: dict[fx.Node, str], recorder: _Recorder, inputs: tuple[Tensor, ...]
) -> Iterator[Step]:
    """Yields the recorded nodes as steps; before a module its parameters, and a Linear's product before its bias."""
    known = _Known(recorder, *_run_on_one_more(recorder, inputs))
    read_by_forward = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    made: set[str] = set()
    for node in graph.nodes:
        name = names.get(node)
        if name is None or name in made:
            continue
        args, kwargs = _with_refs((node.args, dict(node.kwargs)), names)
        on_demand: dict[str, str] = {}
        if node.op == "call_module":
            submodule, path = module.get_submodule(str(node.target)), str(node.target)
            for local, tensor in submodule.named_parameters():
                of_parameter = on_demand[local] = f"{path}.{local}"
                if of_parameter not in made:
                    made.add(of_parameter)
                    yield _parameter(of_parameter, tensor, shown=of_parameter in read_by_forward)
            # A pruned layer's weight is computed before each pass, so it is no parameter.
            if is_linear(submodule) and submodule.bias is not None and "weight" in on_demand:
                on_demand[PRODUCT] = f"{name}{PRODUCT}"
                read = (first_of(args, kwargs), Ref(on_demand["weight"]))
                yield Step(
                    on_demand[PRODUCT], "function", linear_product, read,
                    value=known.value(node), carries=True, shown=False, grad=NO_GRAD not in node.meta,
                )  # fmt: skip
        fixed, for_each = known.n_bytes(node)
        made.add(name)
        yield Step(
            name,
            OPERATIONS[node.op],
            node.target,
            tuple(args),
            dict(kwargs),
            value=known.value(node),
            carries=node in recorder.carriers,
            changes=frozenset(names[source] for source in _changed(node, module) | recorder.changed[node]),
            fixed_bytes=fixed,
            example_bytes=for_each,
            on_demand=on_demand,
            owner=_owner(node),
            grad=NO_GRAD not in node.meta,
        )


OPERATIONS: dict[str, Any] = {
    **{"placeholder": "input", "call_module": "module", "call_function": "function"},
    **{"call_method": "method", "get_attr": "parameter"},
}
"""What torch.fx calls a node → what a step does."""


def _parameter(path: str, tensor: Tensor, *, shown: bool) -> Step:
    """Returns the step that gives a parameter."""
    known = Value(tuple(tensor.shape), tensor.dtype, of_examples=False)
    return Step(path, "parameter", path, value=known, carries=True, shown=shown)


@dataclass(frozen=True)
class _Known:
    """What two runs say of the values, on `n` examples and on `n_more`: those of examples grow, the others stay."""

    recorder: _Recorder
    further: _Recorder
    n: int
    n_more: int

    def value(self, node: fx.Node) -> Value | None:
        """Returns what is known of a node's tensor; None if it has none."""
        if node not in self.recorder.shapes:
            return None
        shape, more = self.recorder.shapes[node], self.further.shapes[node]
        of_examples = node.op != "get_attr" and shape[:1] == (self.n,) and more[:1] == (self.n_more,)
        return Value(shape[1:] if of_examples else shape, self.recorder.dtypes[node], of_examples)

    def n_bytes(self, node: fx.Node) -> tuple[float, float]:
        """Returns the bytes of a node's value that stay, and those of each example."""
        fixed, for_each = self.recorder.sizes.get(node, 0), 0.0
        if self.n_more > self.n:
            for_each = (self.further.sizes.get(node, 0) - fixed) / (self.n_more - self.n)
            fixed -= self.n * for_each
        return fixed, for_each


def _owner(node: fx.Node) -> str:
    """Returns the path of the submodule in whose forward the node stands."""
    if node.op == "call_module":
        return str(node.target).rpartition(".")[0]
    return next(reversed(node.meta.get("nn_module_stack") or {"": None}))


def _with_refs(arguments: Any, names: Mapping[fx.Node, str]) -> Any:
    mapped: Any = fx.node.map_arg
    return mapped(arguments, lambda node: Ref(names[node]))


def _run_on_one_more(recorder: _Recorder, inputs: tuple[Tensor, ...]) -> tuple[_Recorder, int, int]:
    """Returns a second recorded run, with the first example given twice, and both numbers of examples."""
    n = len(inputs[0])
    more = tuple(torch.cat([x, x[:1]]) if x.dim() and len(x) == n else x.clone() for x in inputs)
    further = _Recorder(recorder.module)
    try:
        further.run(*more)
    except Exception:
        # The network takes batches of one size only, so no more is known than its example's shapes.
        return recorder, n, n
    return further, n, len(more[0])


class _Recorder(fx.Interpreter):
    """Runs a graph on an example and notes which nodes are tensors, of which shape, dtype and size in bytes.

    Attributes:
        carriers: the nodes whose value is a tensor, or a tuple or list with tensors.
        changed: node → the nodes whose values it changed in place.
    """

    module: fx.GraphModule

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.dtypes: dict[fx.Node, torch.dtype] = {}
        self.sizes: dict[fx.Node, float] = {}
        self.carriers: set[fx.Node] = set()
        self.changed: dict[fx.Node, set[fx.Node]] = {}

    def run_node(self, n: fx.Node) -> Any:
        before = {source: _versions(self.env[source]) for source in n.all_input_nodes}
        value = super().run_node(n)
        if n.op == "output":
            return value
        self.changed[n] = {source for source, versions in before.items() if _versions(self.env[source]) != versions}
        tensors = _tensors(value)
        if isinstance(value, Tensor):
            self.shapes[n], self.dtypes[n] = tuple(value.shape), value.dtype
        if tensors:
            self.carriers.add(n)
            self.sizes[n] = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return value


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for element in value for tensor in _tensors(element)]
    return []


def _versions(value: Any) -> list[int]:
    """Returns how often each tensor of a value was changed in place; it and its views count together."""
    return [tensor._version for tensor in _tensors(value)]


def _output_on_copies(module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """Returns what the module gives for copies of the inputs.

    Raises:
        ArgumentError: it changed the copies, as it would change the data.
    """
    copies = [x.clone() for x in inputs]
    versions = [x._version for x in copies]
    output = module(*copies)
    if [x._version for x in copies] != versions:
        raise ArgumentError(
            "module",
            None,
            f"{type(module).__name__}: forward changes its input in place:",
            "begin it with x = x.clone() and use what operations in place return, as in x = x.mul_(2), or do without "
            "them.",
        )
    return output


def _refuse_other_output(module: nn.Module, output: Tensor, expected: Tensor, inputs: tuple[Tensor, ...]) -> None:
    """Raises an ArgumentError unless the two are equal bit for bit; NaN equals NaN."""
    if _equal(output, expected):
        return
    name = type(module).__name__
    if not _equal(_output_on_copies(module, inputs), expected):
        raise ArgumentError("module", None, f"{name} gives other outputs when it is evaluated again: {DRAWS}.")
    raise ArgumentError(
        ("module", "leaves"),
        None,
        f"{name} as recorded gives other outputs than the module itself: it changes values in place or keeps state.",
        "Name the submodule that does so, {leaves}=[NAME]; what the module's own forward does so, move into a "
        "submodule and name that.",
    )


def _equal(output: Tensor, expected: Tensor) -> bool:
    same = output.shape == expected.shape and output.dtype == expected.dtype
    return same and bool(((output == expected) | (output.isnan() & expected.isnan())).all())


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Keeps the module in evaluation mode within the block; afterwards each submodule is in the mode it was in."""
    modes = {submodule: submodule.training for submodule in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for submodule, mode in modes.items():
            submodule.training = mode


def _changed(node: fx.Node, module: nn.Module) -> set[fx.Node]:
    """Returns the values that an operation overwrites, now or in training mode, by what the operation is called."""
    first = first_of(node.args, node.kwargs)
    return {first} if isinstance(first, fx.Node) and _works_in_place(node, module) else set()


def _works_in_place(node: fx.Node, module: nn.Module) -> bool:
    """Returns whether an operation overwrites its first argument."""
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if node.op == "call_method" or node.op == "call_function":
        return bool(node.kwargs.get("inplace")) or (called.endswith("_") and not called.endswith("__"))
    return False

"""How are the steps of a network run, whole or only behind what is replaced?

A network is an ordered list of steps, each of which computes a value from values before it. One *intact* run keeps
the values that fit into a bound of bytes. A run with replacements then plans backwards, from what is to be returned to
what is kept: a step behind a replaced value is computed, any other value is taken from those that are kept, or computed
from the nearest ones that are. So an ablation costs what lies behind its target, and every value equals, bit for bit,
that of a whole run on the same batch.

A replacement stands at a chain of steps: one step is a site, two are an edge, more are a path. The steps inside a path
are computed a second time, from the replaced value, and only the path's last step sees the result. A *use* of a step
lies on some of the paths: `arriving` has pairs (replacement, length), the first `length` steps of that replacement's
path ending in the step. Two paths that share steps meet in the same second copy, because `arriving` holds both.

Kept values never change: a step that works in place gets a copy of what it would overwrite, and so does a rule. Of a
network in training mode, whose values differ from run to run, nothing is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

Rule = Callable[[Tensor], Tensor]
"""Gives the replacement `(B, *site)` of the value `(B, *site)` that would have been there."""

PLANS = 64
"""Plans that a program remembers; the same replacements usually come again with the next batch."""

PRODUCT = "[product]"
"""What follows a Linear's name in that of its product before the bias."""

Operation = Literal["input", "module", "function", "method", "parameter"]


@dataclass(frozen=True)
class Ref:
    """Stands for the value of a step among another step's arguments."""

    name: str


@dataclass(frozen=True)
class Value:
    """What is known of a tensor: its shape (without the batch where it has one), and if it has a row an example."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    of_examples: bool


@dataclass(frozen=True, eq=False)
class Step:
    """How one value is computed.

    Attributes:
        name: unique in the program.
        operation: what computes it.
        target: a submodule's or parameter's path, a function, or a method's name.
        args, kwargs: as the operation takes them, with a `Ref` for each value.
        value: None where the result is no tensor.
        carries: whether the result is a tensor, or a tuple or list with tensors.
        changes: the inputs that the operation overwrites.
        fixed_bytes, example_bytes: what the result takes: so much, and so much more for each example.
        on_demand: values that the step reads only where a replacement names them: its module's parameters, by their
            names in the module, and of a Linear with a bias the `PRODUCT` before it. Without such a replacement the
            step is the plain module.
        shown: whether the value is one of the forward pass; otherwise only a step's `on_demand` reads it.
        owner: the path of the submodule whose forward computes it; empty for the network's own.
        grad: False in a block of forward without gradients, as `torch.no_grad()`; none flows through the step.
    """

    name: str
    operation: Operation
    target: Any
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    value: Value | None = None
    carries: bool = False
    changes: frozenset[str] = frozenset()
    fixed_bytes: float = 0
    example_bytes: float = 0
    on_demand: Mapping[str, str] = field(default_factory=dict)
    shown: bool = True
    owner: str = ""
    grad: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the values among the arguments, each once, in their order."""
        names: dict[str, None] = {}

        def note(ref: Ref) -> Ref:
            names[ref.name] = None
            return ref

        map_refs(note, (self.args, dict(self.kwargs)))
        return tuple(names)


def map_refs(function: Callable[[Ref], Any], arguments: Any) -> Any:
    """Returns the arguments, of any nesting, with what the function gives for each `Ref` in place of it."""
    mapped: Any = fx.node.map_aggregate
    return mapped(arguments, lambda argument: function(argument) if isinstance(argument, Ref) else argument)


@dataclass(frozen=True, eq=False)
class Replacement:
    """A value, or a rule that gives it, in place of what a chain of steps sees.

    Attributes:
        path: names of steps; the value that is replaced is that of the first.
        value: a tensor of the whole value's shape, or a rule.
        units: where the value is replaced, in the same shape; None: everywhere.
    """

    path: tuple[str, ...]
    value: Tensor | Rule
    units: Tensor | None = None

    @property
    def needs_base(self) -> bool:
        """Whether the value that would have been there has to be computed."""
        return self.units is not None or not isinstance(self.value, Tensor)


Arriving = frozenset[tuple[int, int]]
PLAIN: Arriving = frozenset()


class _Key(NamedTuple):
    """A step's value as some uses see it; `replaced` says if what replacements do at the step itself is included."""

    name: str
    arriving: Arriving = PLAIN
    replaced: bool = False


class _Action(NamedTuple):
    """Computes the value of `key`, from those of `sources` (input → its key), or by replacements of `base`.

    It is `steady` if it depends on replacement values and parameters alone, on no input.
    """

    key: _Key
    sources: dict[str, _Key]
    base: _Key | None
    replacements: tuple[int, ...]
    freed: tuple[_Key, ...]
    steady: bool = False


class Program:
    """Steps in an order in which they can be computed, with the module that has their submodules and parameters."""

    def __init__(self, module: nn.Module, steps: Iterable[Step]) -> None:
        self.module = module
        self.steps = {step.name: step for step in steps}
        self.position = {name: number for number, name in enumerate(self.steps)}
        self.inputs = {name: step.inputs for name, step in self.steps.items()}
        self.edges = {(source, name) for name, step in self.steps.items() for source in self._all_inputs(step)}
        # Bit k of `behind[name]`: the value of the step at position k depends on that of `name`.
        self.behind = dict.fromkeys(self.steps, 0)
        for name in reversed(self.steps):
            behind = self.behind[name]
            for source in self._all_inputs(self.steps[name]):
                self.behind[source] |= behind | 1 << self.position[name]
        self._plans: OrderedDict[Any, tuple[_Action, ...]] = OrderedDict()
        self._kept: dict[Any, frozenset[str]] = {}

    def _all_inputs(self, step: Step) -> tuple[str, ...]:
        return (*step.inputs, *step.on_demand.values())

    # --- one step ------------------------------------------------------------------------------------------------

    def compute(self, step: Step, values: Mapping[str, Any]) -> Any:
        """Returns what the step gives for these values of its inputs; it changes none of them."""
        if not step.grad and torch.is_grad_enabled():
            with torch.no_grad():
                return self.compute(step, values)
        operation, target = step.operation, step.target
        if operation == "parameter":
            return attribute(self.module, target)
        if step.changes:
            values = {name: _copy(value) if name in step.changes else value for name, value in values.items()}
        args, kwargs = map_refs(lambda ref: values[ref.name], (step.args, dict(step.kwargs)))
        if operation == "function":
            return target(*args, **kwargs)
        if operation == "method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        submodule = self.module.get_submodule(target)
        demanded = {local: values[name] for local, name in step.on_demand.items() if name in values}
        return _demanded(submodule, demanded, args, kwargs) if demanded else submodule(*args, **kwargs)

    # --- planning ------------------------------------------------------------------------------------------------

    def plan(
        self, replacements: Sequence[Replacement], returns: tuple[str, ...], known: frozenset[str]
    ) -> tuple[_Action, ...]:
        """Returns what has to be computed, in order, to have the values of `returns`; those of `known` are there."""
        key = (tuple((r.path, r.needs_base) for r in replacements), returns, known)
        if key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key]
        self._plans[key] = _Planner(self, replacements, known).plan(returns)
        if len(self._plans) > PLANS:
            self._plans.popitem(last=False)
        return self._plans[key]

    # --- memory --------------------------------------------------------------------------------------------------

    def size(self, name: str, n: int) -> float:
        """Returns the bytes of a step's value on n examples."""
        step = self.steps[name]
        return step.fixed_bytes + n * step.example_bytes if step.operation not in ("input", "parameter") else 0

    def total_size(self, n: int) -> float:
        """Returns the bytes of all values of the forward pass on n examples."""
        return sum(self.size(name, n) for name, step in self.steps.items() if step.shown)

    def kept(self, n: int, memory: float) -> frozenset[str]:
        """Returns the steps whose values on n examples are kept in so many bytes.

        The smallest come first, because in most networks they are late, and so dear to compute again; those of one size
        are spread evenly.
        """
        if (n, memory) not in self._kept:
            shown = [name for name, step in self.steps.items() if step.shown]
            # A size or a shape takes nothing, and must not call for the value that it is of.
            kept = {name for name in shown if not self.steps[name].carries and self.behind[name]}
            carriers = [name for name in shown if self.steps[name].carries]
            left = memory
            for name in sorted(carriers, key=lambda name: (self.size(name, n), _spread(self.position[name]))):
                left -= self.size(name, n)
                if left < 0:
                    break
                kept.add(name)
            self._kept[n, memory] = frozenset(kept)
        return self._kept[n, memory]


class Merged:
    """Several steps as one function of the values that they read outside of themselves; it gives the last one's.

    Args:
        reads: names of these values, in the order in which the function takes them.
    """

    def __init__(self, module: nn.Module, steps: Sequence[Step], reads: Sequence[str]) -> None:
        inputs = [Step(name, "input", name, carries=True) for name in reads]
        self.program, self.reads, self.last = Program(module, [*inputs, *steps]), reads, steps[-1].name

    def __call__(self, *values: Any) -> Any:
        (value,) = Evaluator(self.program, dict(zip(self.reads, values, strict=True))).run((), (self.last,))
        return value


class _Planner:
    """Plans what has to be computed to have some values, from the last step back to the first.

    Args:
        known: the steps whose intact values are there.
    """

    def __init__(self, program: Program, replacements: Sequence[Replacement], known: frozenset[str]) -> None:
        self.program, self.replacements, self.known = program, replacements, known
        self.paths = [replacement.path for replacement in replacements]
        self.named = {name for path in self.paths for name in path}
        self.at_site: dict[str, list[int]] = {}
        self.changed = 0  # the steps that read, directly or not, a replaced value
        for number, path in enumerate(self.paths):
            last = path[-1]
            self.changed |= program.behind[last]
            if len(path) > 1:
                self.changed |= 1 << program.position[last]
            else:
                self.at_site.setdefault(last, []).append(number)
        self.wanted: dict[int, dict[_Key, None]] = {}
        self.used: set[_Key] = set()
        self.backwards: list[_Action] = []

    def plan(self, returns: tuple[str, ...]) -> tuple[_Action, ...]:
        """Returns what is computed, in order, to have the values of these steps."""
        kept = {_Key(name, PLAIN, bool(self.replaced_at(name, PLAIN))) for name in returns}
        self.used = set(kept)
        for key in kept:
            self.want(key)
        for position in range(max(self.wanted, default=-1), -1, -1):
            # Replaced values first: what they replace is a value of the same step.
            for key in sorted(self.wanted.get(position, ()), key=lambda key: not key.replaced):
                if key.replaced:
                    self.add_replaced(key)
            for key in [key for key in self.wanted.get(position, ()) if not key.replaced]:
                step = self.program.steps[key.name]
                demanded = [name for name in step.on_demand.values() if name in self.named]
                inputs = (*self.program.inputs[key.name], *demanded)
                self.add(key, {source: self.seen(source, key.arriving, key.name) for source in inputs}, None, ())
            self.wanted.pop(position, None)
        actions: list[_Action] = []
        steady: set[_Key] = set()
        for action in reversed(self.backwards):
            if action.base is None and steady.issuperset(action.sources.values()):
                steady.add(action.key)
                action = action._replace(steady=True)
            actions.append(action)
        return tuple(actions)

    def replaced_at(self, name: str, arriving: Arriving) -> list[int]:
        """Returns the replacements that this use of the step sees: first of the site, then of edges and paths."""
        if not arriving:
            return self.at_site.get(name, [])
        return self.at_site.get(name, []) + sorted(number for number, length in arriving if length == 1)

    def seen(self, source: str, arriving: Arriving, by: str) -> _Key:
        """Returns the value of `source` as `by` sees it, where that lies on the paths of `arriving`."""
        paths = self.paths
        along = {(n, length - 1) for n, length in arriving if paths[n][length - 2] == source}
        ending = {(n, len(path) - 1) for n, path in enumerate(paths) if len(path) > 1 and path[-2:] == (source, by)}
        use = frozenset(along | ending)
        return _Key(source, use, bool(self.replaced_at(source, use)))

    def want(self, key: _Key) -> None:
        """Notes that a value is needed, unless it is known."""
        position = self.program.position[key.name]
        intact = not key.arriving and not key.replaced and not self.changed >> position & 1
        if not (intact and key.name in self.known):
            self.wanted.setdefault(position, {})[key] = None

    def add_replaced(self, key: _Key) -> None:
        """Adds the computation of a replaced value."""
        here = self.replaced_at(key.name, key.arriving)
        # What stands before the last replacement of the whole value doesn't matter.
        whole = [rank for rank, number in enumerate(here) if not self.replacements[number].needs_base]
        if whole:
            self.add(key, {}, None, here[whole[-1] :])
        else:
            rest = frozenset(pair for pair in key.arriving if pair[1] > 1)
            self.add(key, {}, _Key(key.name, rest), here)

    def add(self, key: _Key, sources: dict[str, _Key], base: _Key | None, at_key: Sequence[int]) -> None:
        """Adds the computation of a value, before those that are there, and wants what it reads."""
        read = [*sources.values(), *([base] if base else [])]
        freed = tuple(source for source in dict.fromkeys(read) if source not in self.used)
        self.used.update(read)
        self.backwards.append(_Action(key, sources, base, tuple(at_key), freed))
        for source in read:
            self.want(source)


class Evaluator:
    """Runs of a program on one batch, that share the values of the intact one.

    Args:
        inputs: a value for each of the program's inputs that has no default.
        memory: bytes of the intact values that are kept; 0: every run computes all that it needs.
    """

    def __init__(self, program: Program, inputs: Mapping[str, Tensor], *, memory: float = 0) -> None:
        self.program, self.memory = program, memory
        self._known: dict[str, Any] = dict(inputs)
        for name, step in program.steps.items():
            if step.operation == "input" and name not in inputs and step.args:
                self._known[name] = step.args[0]
        self._names = frozenset(self._known)
        self._started = False
        self._n = len(next(iter(inputs.values()))) if inputs else 0

    def run(
        self,
        replacements: Sequence[Replacement],
        returns: Sequence[str],
        visit: Callable[[str, Tensor], None] | None = None,
        shared: dict[Any, Any] | None = None,
    ) -> tuple[Any, ...]:
        """Returns the values of `returns` with the replacements in place.

        Args:
            shared: what runs have in common that differ in their inputs alone, not in the number of examples: what
                depends on no input is taken from here, or put here.
            visit: told of each step's value that the run computes, which it may read but not change.
        """
        if self.memory and not self._started:
            self._start()
        known = self._known
        plan = self.program.plan(replacements, tuple(returns), self._names)
        at_hand: dict[_Key, Any] = {}

        def value_of(key: _Key) -> Any:
            return at_hand[key] if key in at_hand else known[key.name]

        for action in plan:
            if shared is not None and action.key in shared:
                value = shared[action.key]
            elif action.key.replaced:
                base = None if action.base is None else value_of(action.base)
                value = _replaced(base, [replacements[number] for number in action.replacements])
            else:
                step = self.program.steps[action.key.name]
                value = self.program.compute(step, {name: value_of(key) for name, key in action.sources.items()})
                if visit is not None:
                    visit(step.name, value)
            at_hand[action.key] = value
            if shared is not None and action.steady:
                shared[action.key] = value
            for key in action.freed:
                at_hand.pop(key, None)
        replaced = {replacement.path[0] for replacement in replacements if len(replacement.path) == 1}
        return tuple(value_of(_Key(name, PLAIN, name in replaced)) for name in returns)

    def derived(self, program: Program) -> Evaluator:
        """Runs of a program derived from this one, on the same batch.

        They begin with the values that are kept here of the steps that both have, where no step before differs.
        """
        if self.memory and not self._started:
            self._start()
        alike: set[str] = set()
        for name, step in program.steps.items():
            if self.program.steps.get(name) is step and alike.issuperset(step.inputs):
                alike.add(name)
        return Evaluator(program, {name: value for name, value in self._known.items() if name in alike})

    def _start(self) -> None:
        """Does the intact run, which keeps the values that fit."""
        self._started = True
        if any(submodule.training for submodule in self.program.module.modules()):
            return
        memory, self.memory = self.memory, 0
        kept = self.program.kept(self._n, memory)
        values: dict[str, Any] = {}

        def keep(name: str, value: Any) -> None:
            if name in kept:
                values[name] = value

        ends = tuple(name for name in kept if not any(name in self.program.inputs[other] for other in kept))
        self.run((), ends, keep)
        self._known |= values
        self._names = frozenset(self._known)
        self.memory = memory


def attribute(module: nn.Module, path: str) -> Any:
    """Returns the parameter, buffer or other attribute at a path."""
    owner, _, name = path.rpartition(".")
    return getattr(module.get_submodule(owner), name)


def first_argument(step: Step) -> Any:
    """Returns a step's first argument, given by position or by keyword; torch calls it `input`."""
    return first_of(step.args, step.kwargs)


def first_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Returns the first argument of a call; None where it has none."""
    if args:
        return args[0]
    return kwargs["input"] if "input" in kwargs else next(iter(kwargs.values()), None)


def linear_product(x: Tensor, weight: Tensor, times: float = 1.0) -> Tensor:
    """Returns `times * x @ weight.T`, a Linear layer without its bias."""
    product = functional.linear(x, weight)
    return product if times == 1 else times * product


def _demanded(submodule: Any, demanded: Mapping[str, Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Returns what a module gives with some of its parameters replaced, or a Linear layer's product before its bias."""
    if PRODUCT in demanded:
        return demanded[PRODUCT] + demanded.get("bias", submodule.bias)
    return torch.func.functional_call(submodule, dict(demanded), tuple(args), dict(kwargs))


def _replaced(base: Tensor | None, replacements: Iterable[Replacement]) -> Tensor:
    """Returns a value after the replacements, which are made one after the other."""
    for replacement in replacements:
        value, units = replacement.value, replacement.units
        if not isinstance(value, Tensor):
            assert base is not None
            value = value(base.clone())  # a rule that works in place must not change what is kept
        if units is not None:
            assert base is not None
            value = torch.where(units, value, base)
        base = value
    assert base is not None
    return base


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _spread(position: int) -> int:
    """Returns the position's bits in reverse order: the first k of n positions are about n/k apart, for every k."""
    return int(f"{position:032b}"[::-1], 2)

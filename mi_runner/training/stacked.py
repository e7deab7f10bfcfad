"""Many networks of one architecture trained at once, each as it would have been alone.

Their weights are stacked, and one computation takes a training step of them all (`torch.func`: the gradient of one
network's loss, vectorised over networks). Small networks spend their time between kernels, so a step of 32 of them
takes little longer than a step of one; larger ones gain by larger matrix products. Initial weights and batch order are
those of each network alone; sums of floating-point numbers may be taken in another order.

Letters: M members of the stack, N examples, B batch, K outputs.
"""

from __future__ import annotations

import copy
import math
import operator
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from mi_runner import chance, threads
from mi_runner.batches import BATCH
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, one_line
from mi_runner.progress import Advance, Progress, log
from mi_runner.training import regularizers
from mi_runner.training.evaluation import LossFunction, Score, loss_function, score
from mi_runner.training.loop import STEPS_BETWEEN_NOTES, check_finite, reached, threads_for
from mi_runner.training.optimizers import make_optimizer
from mi_runner.training.options import TrainingOptions
from mi_runner.training.regularizers import Regularizer

MOST_NUMBERS = 250_000_000
"""Numbers (1 GB) that a stack holds at the most: weights, the optimizer's state, data of its own, a step's values."""

EVALUATION_NUMBERS = 20_000_000
"""Numbers that one forward pass of the whole stack computes at the most in evaluation."""

MOST_MEMBERS = 256
"""Networks in a stack at the most: each holds a lock of the model store."""

REHEARSED = 4
"""Training examples on which stacked gradients are compared with those of each network alone."""

History = list[dict[str, Any]]


def train(
    networks: Sequence[nn.Module],
    datasets: Sequence[Dataset],
    options: TrainingOptions,
    *,
    seeds: Sequence[int],
    progress: Progress | None = None,
) -> list[History | FloatingPointError]:
    """Train each network in place as `training.train` would, and leave it in evaluation mode.

    Returns for each its history, or the error by which it failed: its numbers were no longer finite. The others are
    not touched by that.

    Args:
        networks: M of one architecture, for which `check` found no obstacle.
        datasets: each network's, on its device; data sets of one content are taken as one.
        seeds: each network's; the order of its batches derives from it.
    """
    progress = progress or Progress()
    if not options.epochs:
        for network in networks:
            network.eval()
        return [[] for _ in networks]
    stack = _Stack(networks, datasets, options)
    orders = [chance.generator(seed, "batch order") for seed in seeds]
    n_members, n_examples = len(networks), len(datasets[0].x_train)
    histories: list[History] = [[] for _ in networks]
    failed: dict[int, FloatingPointError] = {}
    stopped: dict[int, list[Tensor]] = {}  # member → its weights when it reached the stop loss

    with (
        torch.no_grad(),
        threads.exactly(threads_for(networks[0], datasets[0].x_train, options.batch_size * n_members)),
        progress.bar(f"training {n_members} networks", options.epochs * n_examples * n_members) as advance,
    ):
        for epoch in range(1, options.epochs + 1):
            began = time.perf_counter()
            shuffled = torch.stack([torch.randperm(n_examples, generator=order) for order in orders])
            batches = shuffled.to(stack.device).split(options.batch_size, dim=1)
            losses, penalties = _epoch(stack, batches, advance, f"epoch {epoch}/{options.epochs}")
            finite, measured, tested = stack.finite().tolist(), stack.measured(), stack.tested()
            rows = []
            for member, history in enumerate(histories):
                if member in failed or member in stopped:
                    continue
                row: dict[str, Any] = {"epoch": epoch, "loss": float(losses[member]) / n_examples}
                if measured is not None:
                    row |= {"penalty": float(penalties[member]) / len(batches), measured[0]: measured[1][member]}
                try:
                    check_finite(row, finite[member])
                except FloatingPointError as error:
                    failed[member] = error
                    log.warning(f"seed={seeds[member]}: {error}")
                    continue
                row |= {"test_loss": tested[member].loss, "test_accuracy": tested[member].accuracy}
                row |= reached(row, options)
                history.append(row)
                if row.get("reached"):
                    stopped[member] = stack.weights_of(member)
                rows.append({"seed": seeds[member], **row})
            progress.rows("history", rows)
            if not rows:
                break
            _log_epoch(rows, options.epochs, n_examples * n_members / (time.perf_counter() - began))
            if len(failed) + len(stopped) == n_members:
                break
        if options.stop_loss is not None:
            log.info(f"stop_loss={options.stop_loss:g} is reached by {len(stopped)} of {n_members} networks")
        for member, weights in stopped.items():
            stack.restore(member, weights)
    stack.unstack()
    return [failed.get(member, history) for member, history in enumerate(histories)]


def _epoch(stack: _Stack, batches: Sequence[Tensor], advance: Advance, name: str) -> tuple[Tensor, Tensor]:
    """A step for each of the batches `(M, B)` of example numbers.

    Returns `(M,)` losses, summed over examples, and `(M,)` penalties, summed over steps.
    """
    began = time.perf_counter()
    n_members = len(stack.networks)
    total_loss = torch.zeros(n_members, device=stack.device)
    total_penalty = torch.zeros(n_members, device=stack.device)
    done = reported = 0
    for number, index in enumerate(batches, start=1):
        losses, penalties = stack.step(index)
        total_loss += losses * index.shape[1]
        if penalties is not None:
            total_penalty += penalties
        done += index.numel()
        if number % STEPS_BETWEEN_NOTES == 0 or number == len(batches):
            speed = done / (time.perf_counter() - began)
            advance(done - reported, f"{name}  loss {float(losses.mean()):.4f}  {speed:,.0f}/s")
            reported = done
    return total_loss, total_penalty


def _log_epoch(rows: Sequence[dict[str, Any]], epochs: int, speed: float) -> None:
    loss = math.fsum(row["loss"] for row in rows) / len(rows)
    accuracies = [row["test_accuracy"] for row in rows]
    log.info(
        f"epoch {rows[0]['epoch']}/{epochs}  {len(rows)} networks  loss {loss:.4f}  "
        f"test accuracy {math.fsum(accuracies) / len(rows):.4f} ({min(accuracies):.4f} to {max(accuracies):.4f})  "
        f"{speed:,.0f} examples/s"
    )


# --- what can be stacked -------------------------------------------------------------------------------------------


def check(
    networks: Sequence[nn.Module], datasets: Sequence[Dataset], options: TrainingOptions, *, seeds: Sequence[int]
) -> None:
    """The networks can be trained in a stack, and a step of it is a step of each.

    A rehearsal of the first two decides: a stack has one forward for all, so it can't give each network its own draws
    from torch's global generator, nor running statistics; and `vmap` doesn't know every operation.

    Raises:
        ArgumentError: they can't; the text says why.
    """
    for seed, network, dataset in zip(seeds, networks, datasets, strict=True):
        if _form(network, dataset) != _form(networks[0], datasets[0]):
            raise ArgumentError(f"seed={seed} has another network, or other sizes of the data, than seed={seeds[0]}.")
    if not options.epochs:
        return
    if why := _obstacle(networks[0], datasets[0].x_train[:REHEARSED]):
        raise ArgumentError(f"{why} while it trains, which networks in a stack can't each do as if alone.")
    pair = [0, len(networks) - 1]
    try:
        equal = _rehearse([networks[i] for i in pair], [datasets[i] for i in pair], options)
    except Exception as error:  # whatever an operation raises that vmap doesn't know
        raise ArgumentError(f"a step of stacked networks fails ({one_line(error)}).") from error
    if not equal:
        raise ArgumentError("a step of stacked networks isn't the step of each alone.")


def at_once(network: nn.Module, dataset: Dataset, options: TrainingOptions, *, own_data: bool) -> int:
    """How many such networks are trained in one stack, so that it fits in memory.

    Args:
        own_data: whether each has a data set of its own.
    """
    weights = sum(tensor.numel() for tensor in network.state_dict().values())
    data = dataset.x_train.numel() + dataset.x_test.numel() if own_data else dataset.x_train[0].numel()
    batch = min(options.batch_size, len(dataset.x_train))
    # The gradient and the optimizer's two moments; forward values are kept for the way back, and about doubled by it.
    needed = 4 * weights + data + 3 * batch * _numbers(network, dataset.x_train[:REHEARSED])
    return max(1, min(MOST_MEMBERS, MOST_NUMBERS // needed))


def _form(network: nn.Module, dataset: Dataset) -> tuple[object, ...]:
    """What must be the same for all networks of a stack."""
    sizes = (dataset.x_train.shape, dataset.y_train.shape, dataset.x_test.shape, dataset.y_test.shape)
    return repr(network), [(name, tensor.shape, tensor.dtype) for name, tensor in _tensors(network)], sizes


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Its parameters and buffers, each once, by name."""
    return [*module.named_parameters(), *module.named_buffers()]


def _obstacle(network: nn.Module, x: Tensor) -> str:
    """The innermost module that draws at random or changes its buffers while it trains, and which; empty if none."""
    network = copy.deepcopy(network).train()
    names = {module: name for name, module in network.named_modules()}
    entered: list[tuple[Tensor, list[Tensor]]] = []
    found: list[str] = []

    def enter(module: nn.Module, *_: object) -> None:
        entered.append((torch.get_rng_state(), [buffer.clone() for buffer in module.buffers()]))

    def leave(module: nn.Module, *_: object) -> None:
        draws, buffers = entered.pop()
        which = f"{names[module]} ({type(module).__name__})" if names[module] else f"{type(module).__name__}.forward"
        if not torch.equal(draws, torch.get_rng_state()):
            found.append(f"{which} draws at random")
        elif not all(map(torch.equal, buffers, module.buffers())):
            found.append(f"{which} changes its buffers")

    for module in network.modules():
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        network(x)
    return found[0] if found else ""


def _rehearse(networks: Sequence[nn.Module], datasets: Sequence[Dataset], options: TrainingOptions) -> bool:
    """Whether losses and gradients of a stack on a few training examples are those of each network alone."""
    stack = _Stack(networks, datasets, options)
    index = torch.arange(min(REHEARSED, len(datasets[0].x_train))).expand(len(networks), -1)
    *gradients, losses = stack.gradients(*stack.batch(index))[: len(stack.trained) + 1]
    equal = True
    for member, (network, dataset) in enumerate(zip(networks, datasets, strict=True)):
        one = _Penalised(copy.deepcopy(network).train(), options)
        outputs, *penalties = one(dataset.x_train[index[member]])
        value = stack.loss_of(outputs, dataset.y_train[index[member]])
        alone = torch.autograd.grad(
            sum(penalties, value), [dict(one.named_parameters())[name] for name in stack.trained]
        )
        # Where the true gradient is zero, what there is of it is rounding.
        slack = 1e-4 * max(float(gradient.abs().max()) for gradient in alone)
        equal &= torch.allclose(losses[member], value.detach(), rtol=1e-4, equal_nan=True)
        for expected, found in zip(alone, gradients, strict=True):
            equal &= torch.allclose(found[member], expected, rtol=1e-3, atol=slack, equal_nan=True)
    return equal


def _numbers(network: nn.Module, x: Tensor) -> float:
    """How many numbers a forward pass computes for one example."""
    with torch.no_grad():
        recorder, _ = _record(lambda x: [network(x)], [x])
    return recorder.numbers / len(x)


# --- the stack -----------------------------------------------------------------------------------------------------


class _Penalised(nn.Module):
    """A network with its regulariser: of inputs `(B, *input)` the outputs `(B, K)`, and if there is one the penalty."""

    def __init__(self, network: nn.Module, options: TrainingOptions) -> None:
        super().__init__()
        self.network = network
        self.regularizer: Regularizer | None = regularizers.regularizer(network, options, vectorised=True)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.regularizer is None or not self.regularizer.factor:
            return (self.network(x),)
        return self.network(x), self.regularizer.factor * self.regularizer.measure(self.network)


class _Stack:
    """The weights of M networks, one tensor `(M, *shape)` for each parameter, with their data and optimizer."""

    def __init__(self, networks: Sequence[nn.Module], datasets: Sequence[Dataset], options: TrainingOptions) -> None:
        self.networks, self.datasets = networks, datasets
        self.one = _Penalised(copy.deepcopy(networks[0]), options)
        self.loss_of: LossFunction = loss_function(options, datasets[0])
        self.trained = self._trained_names()
        self.fixed = [name for name, _ in _tensors(self.one) if name not in self.trained]
        stacked: dict[str, list[Tensor]] = {}
        for network in networks:
            for name, tensor in _tensors(network):
                stacked.setdefault(f"network.{name}", []).append(tensor.detach())
        self.tensors = {name: torch.stack(parts) for name, parts in stacked.items()}
        self.weights = [self.tensors[name] for name in self.trained]
        self.device = self.weights[0].device
        self.optimizer = make_optimizer(self.weights, options)
        self.shared = len({dataset.fingerprint for dataset in datasets}) == 1
        # Examples of all members in one tensor (M·N, ...), or those that all share (N, ...).
        self.x = datasets[0].x_train if self.shared else torch.cat([dataset.x_train for dataset in datasets])
        self.y = datasets[0].y_train if self.shared else torch.cat([dataset.y_train for dataset in datasets])
        self.x_test = datasets[0].x_test if self.shared else torch.stack([dataset.x_test for dataset in datasets])
        begin = torch.arange(len(networks), device=self.device)[:, None] * len(datasets[0].x_train)
        self.begin = torch.zeros_like(begin) if self.shared else begin
        numbers = len(networks) * _numbers(self.one.network.eval(), datasets[0].x_test[:REHEARSED])
        self.at_once = max(1, min(BATCH, int(EVALUATION_NUMBERS / numbers)))
        self.gradients = _Recorded(self._gradients)
        self.outputs = _Recorded(self._outputs)

    def _trained_names(self) -> list[str]:
        """The parameters that get a gradient: an optimizer leaves the others as they are."""
        free = {name: tensor for name, tensor in self.one.named_parameters() if tensor.requires_grad}
        dataset = self.datasets[0]
        with torch.enable_grad():
            outputs, *penalties = self.one.train()(dataset.x_train[:REHEARSED])
            value = sum(penalties, self.loss_of(outputs, dataset.y_train[:REHEARSED]))
            found = torch.autograd.grad(value, list(free.values()), allow_unused=True)
        return [name for name, gradient in zip(free, found, strict=True) if gradient is not None]

    def batch(self, index: Tensor) -> list[Tensor]:
        """The tensors that a step works on, for examples `(M, B)` of each member."""
        flat = (index + self.begin).flatten()
        x, y = (whole.index_select(0, flat).unflatten(0, index.shape) for whole in (self.x, self.y))
        return [*self.weights, *(self.tensors[name] for name in self.fixed), x, y]

    def step(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """One step of all members on their examples `(M, B)`; returns losses and penalties `(M,)`."""
        found = self.gradients(*self.batch(index))
        for weight, gradient in zip(self.weights, found, strict=False):
            weight.grad = gradient
        self.optimizer.step()
        losses, *penalties = found[len(self.weights) :]
        return losses, penalties[0] if penalties else None

    def _gradients(self, *inputs: Tensor) -> list[Tensor]:
        """The gradients of all trained weights; the losses, perhaps the penalties `(M,)`."""
        self.one.train()
        n_trained = len(self.trained)
        *fixed, x, y = inputs[n_trained:]

        def total(trained: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
            """What all members make small, which is a sum, so that each weight's gradient is its own member's."""
            outputs, *penalties = self._forward(
                dict(zip([*self.trained, *self.fixed], [*trained, *fixed], strict=True)), x
            )
            losses = self.loss_of(outputs.flatten(0, 1), y.flatten(0, 1), reduction="none").view(y.shape[:2]).mean(1)
            return sum(penalties, losses).sum(), (losses, *penalties)

        gradients, (_, parts) = grad_and_value(total, has_aux=True)(inputs[:n_trained])
        # The fused optimizers go through weight and gradient number by number, as they lie in memory.
        return [*(gradient.contiguous() for gradient in gradients), *parts]

    def _outputs(self, *inputs: Tensor) -> list[Tensor]:
        """Outputs `(M, B, K)` of examples `(B, *input)` that all share, or `(M, B, *input)`."""
        self.one.eval()
        outputs, *_ = self._forward(dict(zip(self.tensors, inputs[:-1], strict=True)), inputs[-1], self.shared)
        return [outputs.contiguous()]

    def _forward(self, tensors: dict[str, Tensor], x: Tensor, shared: bool = False) -> tuple[Tensor, ...]:
        """Outputs `(M, B, K)`, and penalties `(M,)` if there are any."""

        def forward(tensors: dict[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
            with _WeightFirst():
                return functional_call(self.one, tensors, (x,))

        return vmap(forward, in_dims=(0, None if shared else 0))(tensors, x)

    def tested(self) -> list[Score]:
        """Each member's score on its test set."""
        parts = self.x_test.split(self.at_once, dim=0 if self.shared else 1)
        outputs = torch.cat([self.outputs(*self.tensors.values(), part)[0] for part in parts], dim=1)
        return [
            score(outputs[member], dataset.y_test, self.loss_of, classes=dataset.has_classes)
            for member, dataset in enumerate(self.datasets)
        ]

    def finite(self) -> Tensor:
        """Whether all trained weights of each member are finite, `(M,)` bool."""
        return torch.stack([weight.isfinite().flatten(1).all(1) for weight in self.weights]).all(0)

    def measured(self) -> tuple[str, list[float]] | None:
        """The regulariser's name and each member's value of it; None where there is none."""
        regularizer = self.one.regularizer
        if regularizer is None:
            return None
        of_each = []
        for member in range(len(self.networks)):
            self._load(self.one.network, member)
            of_each.append(float(regularizer.measure(self.one.network)))
        return regularizer.name, of_each

    def weights_of(self, member: int) -> list[Tensor]:
        """A copy of a member's trained weights. Further steps compute it, too, and touch no other member."""
        return [weight[member].clone() for weight in self.weights]

    def restore(self, member: int, weights: Sequence[Tensor]) -> None:
        """Give a member weights that it had before."""
        for stacked, weight in zip(self.weights, weights, strict=True):
            stacked[member] = weight

    def unstack(self) -> None:
        """Give each network its weights."""
        for member, network in enumerate(self.networks):
            self._load(network, member)
            network.eval()

    def _load(self, network: nn.Module, member: int) -> None:
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(self.tensors[f"network.{name}"][member])


class _WeightFirst(TorchFunctionMode):
    """Linear layers compute (weight @ xᵀ)ᵀ, which is x @ weightᵀ.

    So what a stack multiplies lies in memory as it is needed, on the way there and back: `(M, out, in) @ (M, in, B)`.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.linear and not kwargs and args[0].dim() > 1:
            x, weight, bias = (*args, None)[:3]
            product = weight @ x.mT
            return (product if bias is None else product + bias[:, None]).mT
        return func(*args, **(kwargs or {}))


# --- recording -----------------------------------------------------------------------------------------------------


class _Recorded:
    """A function of tensors that is recorded once for each layout of its inputs, and then replayed.

    `vmap` decides anew in each call what each operation becomes; for small networks that takes longer than the
    operations themselves. Only tensors may differ between calls.
    """

    def __init__(self, function: Callable[..., list[Tensor]]) -> None:
        self.function = function
        self.graphs: dict[tuple[object, ...], fx.GraphModule] = {}

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        layout = tuple((tensor.shape, tensor.stride()) for tensor in inputs)
        if layout not in self.graphs:
            _, self.graphs[layout] = _record(self.function, inputs)
        return self.graphs[layout](*inputs)


class _Recorder(TorchDispatchMode):
    """Writes the operations that torch carries out within the block into a graph.

    What an operation only looks at anew in the same way, as `expand` to the same shape, is not written twice. Torch's
    own tracer, `make_fx`, gives the same numbers, but it keeps the views that `vmap` repeats: with it, twelve epochs of
    32 small networks took 2.4 s of processor time instead of 1.7 s.

    Attributes:
        graph: of the operations; its placeholders are the inputs.
        constants: tensors that were neither inputs nor computed.
        numbers: how many numbers were computed, views of others not counted.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.constants: dict[str, Tensor] = {}
        self.numbers = 0
        self._nodes: dict[int, fx.Node] = {}
        self._alive: list[Tensor] = []  # so that no two tensors have one id, or one place in memory
        self._looks: dict[tuple[object, ...], fx.Node] = {}
        self._places: set[int] = set()
        for number, tensor in enumerate(inputs):
            self._note(tensor, self.graph.placeholder(f"input_{number}"))

    def node(self, tensor: Tensor) -> fx.Node:
        """The node that computes the tensor."""
        if id(tensor) not in self._nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = tensor
            self._note(tensor, self.graph.get_attr(name))
        return self._nodes[id(tensor)]

    def _note(self, tensor: Tensor, node: fx.Node) -> None:
        self._nodes[id(tensor)] = node
        self._alive.append(tensor)
        place = tensor.untyped_storage().data_ptr()
        if node.op == "call_function" and place not in self._places:
            self.numbers += tensor.numel()
        self._places.add(place)
        self._looks.setdefault(_look(tensor), node)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and not func._schema.is_mutable and _look(result) in self._looks:
            self._nodes[id(result)] = self._looks[_look(result)]
            self._alive.append(result)
            return result
        node = self.graph.call_function(func, *tree_map_only(Tensor, self.node, (args, kwargs)))
        if isinstance(result, Tensor):
            self._note(result, node)
        elif isinstance(result, tuple | list):
            for number, part in enumerate(result):
                if isinstance(part, Tensor):
                    self._note(part, self.graph.call_function(operator.getitem, (node, number)))
        return result


def _look(tensor: Tensor) -> tuple[object, ...]:
    """What two tensors have in common that are the same numbers in the same memory."""
    place = tensor.untyped_storage().data_ptr()
    return place, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _record(function: Callable[..., list[Tensor]], inputs: Sequence[Tensor]) -> tuple[_Recorder, fx.GraphModule]:
    """The operations that a function of tensors carries out on these inputs, as a module that carries them out again.

    Raises:
        Exception: the function's own; what can't be vectorised raises.
    """
    with _Recorder(inputs) as recorder:
        outputs = function(*inputs)
    recorder.graph.output([recorder.node(tensor) for tensor in outputs])
    recorder.graph.eliminate_dead_code()
    return recorder, fx.GraphModule(recorder.constants, recorder.graph)

"""Trains many networks of one architecture at once, each as if it were trained alone.

Their weights are stacked, and one computation does a training step of all networks (`torch.func`: the gradient of one
network's loss, vectorised over networks). Small networks spend their time between kernels, so a step of 32 networks
takes little longer than a step of one; larger networks gain from larger matrix products. Each network has the initial
weights and batch order that it has alone; floating-point sums may be added in another order.

Letters: M networks, S of them in the stack, N examples, B batch, K outputs.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.errors import ArgumentError, one_line
from mi_runner.machine import threads
from mi_runner.models.batches import BATCH
from mi_runner.progress import Progress, log
from mi_runner.training import regularizers
from mi_runner.training.epochs import EpochProgress, History, in_batches, merges_last
from mi_runner.training.evaluation import LossFunction, Score, loss_function, score
from mi_runner.training.loop import STEPS_BETWEEN_NOTES, check_finite, has_ended, reached, threads_for
from mi_runner.training.optimizers import make_optimizer
from mi_runner.training.options import TrainingOptions
from mi_runner.training.random_labels import trained_on
from mi_runner.training.regularizers import Regularizer
from mi_runner.training.stopping import Watch, most_at_once, n_held_out

MOST_VALUES = 250_000_000
"""Largest number of values (1 GB) in a stack: weights, the optimizer's state, its data, and a step's activations."""

MOST_EVALUATION_VALUES = 20_000_000
"""Largest number of values that a forward pass of the whole stack computes in evaluation."""

MOST_MEMBERS = 256
"""Largest number of networks in a stack."""

GROUP = 32
"""Networks whose training has ended leave a stack by so many. A tensor of the stack is computed by vectors of up to 32
numbers, and what is left at its end number by number, which may round otherwise. So as many numbers are left at the end
as before, those of the same last networks, and each network that stays gets, bit for bit, what it would have got."""

SMALLER = 0.75
"""A stack gets smaller by at least this factor at once, because its operations are recorded again then."""

REHEARSED = 4
"""Training examples for the comparison of stacked gradients with those of each network alone."""


def train_together(
    networks: Sequence[nn.Module],
    datasets: Sequence[Dataset],
    options: TrainingOptions,
    *,
    seeds: Sequence[int],
    progress: Progress | None = None,
) -> list[History | FloatingPointError]:
    """Trains each network in place as `loop.train` does, and leaves it in evaluation mode.

    Returns a history per network, or the error of a network whose values are not finite; such an error doesn't affect
    the other networks.

    Args:
        networks: M networks of one architecture that passed `check_together`.
        datasets: a data set per network, on its device; equal data sets are kept once.
        seeds: a seed per network; the order of its batches derives from it.
    """
    progress = progress or Progress()
    if not options.epochs:
        for network in networks:
            network.eval()
        return [[] for _ in networks]
    datasets = [trained_on(dataset, options, seed) for dataset, seed in zip(datasets, seeds, strict=True)]
    stack = _Stack(networks, datasets, options)
    orders = [chance.generator(seed, "batch order") for seed in seeds]
    n_members, n_examples = len(networks), len(datasets[0].x_train) - stack.n_held_out
    members = _Members(stack, options, seeds)
    merges_one = merges_last(networks[0], datasets[0].x_train, n_examples, options.batch_size, says=True)

    with (
        torch.no_grad(),
        threads.exactly(threads_for(networks[0], datasets[0].x_train, options.batch_size * n_members)),
        progress.bar(f"training {n_members} networks", options.epochs * n_examples * n_members) as advance,
    ):
        for epoch in range(1, options.epochs + 1):
            epoch_progress = EpochProgress(advance, f"epoch {epoch}/{options.epochs}")
            shuffled = torch.stack([torch.randperm(n_examples, generator=orders[member]) for member in stack.members])
            batches = in_batches(shuffled.to(stack.device), options.batch_size, merges_one=merges_one, dim=1)
            losses, penalties = _epoch(stack, members, batches, epoch_progress)
            rows = members.after_epoch(epoch, losses, penalties, sizes=[index.shape[1] for index in batches])
            progress.rows("history", rows)
            if not rows:
                break
            _log_epoch(rows, options.epochs, epoch_progress.speed)
            if len(members.ended) == n_members:
                break
            n_before = len(stack.members)
            stack.leave_out(members.ended)
            advance((options.epochs - epoch) * n_examples * (n_before - len(stack.members)))
        if options.stop_loss is not None:
            log.info(
                f"stop_loss={options.stop_loss:g} is reached by {members.n_with('reached')} of {n_members} networks"
            )
        if options.stop_steps is not None:
            log.info(f"stop_steps={options.stop_steps} ended {members.n_with('stopped')} of {n_members} networks")
    stack.unstack(members.best | members.ended)
    return [members.failed.get(member, history) for member, history in enumerate(members.histories)]


class _Members:
    """What becomes of each network of a stack.

    Attributes:
        histories: a row for each epoch, up to the one in which a network failed or stopped.
        failed: member → the error of a network whose values are not finite.
        ended: member → its trained weights when it failed or its training ended; its best ones if these are kept.
        best: member → its best trained weights so far, if they are kept.
        paused: member → the steps of this epoch after which its training ended, and its trained weights of then.
    """

    def __init__(self, stack: _Stack, options: TrainingOptions, seeds: Sequence[int]) -> None:
        self._stack, self._options, self._seeds = stack, options, seeds
        self.histories: list[History] = [[] for _ in seeds]
        self.failed: dict[int, FloatingPointError] = {}
        self.ended: dict[int, list[Tensor]] = {}
        self.best: dict[int, list[Tensor]] = {}
        self.paused: dict[int, tuple[int, list[Tensor]]] = {}
        self._watches = (
            [] if options.stop_steps is None else [Watch(options.stop_steps, stack.n_held_out) for _ in seeds]
        )

    def n_with(self, mark: str) -> int:
        """Returns how many networks' last row of the history has this mark."""
        return sum(bool(history and history[-1].get(mark)) for history in self.histories)

    def running(self) -> list[bool]:
        """Returns for each member in the stack whether its training goes on."""
        return [member not in self.ended and member not in self.paused for member in self._stack.members]

    def after_step(self, step: int) -> bool:
        """Takes the members' answers to held-out examples, if there are any; returns whether the training of one ended.

        The stack goes on with its weights; what it has now is kept.

        Args:
            step: of the epoch, from 1.
        """
        if not self._watches:
            return False
        stack, n_before = self._stack, len(self.paused)
        for place, (n_correct, runs) in enumerate(zip(stack.n_correct(), self.running(), strict=True)):
            if not runs:
                continue
            member = stack.members[place]
            watch = self._watches[member]
            if watch.after_step(n_correct) and self._options.keep_best:
                self.best[member] = stack.weights_at(place)
            if watch.stopped:
                self.paused[member] = step, stack.weights_at(place)
        return len(self.paused) > n_before

    def after_epoch(
        self, epoch: int, losses: Tensor, penalties: Tensor, *, sizes: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Adds a row to the history of each network that is still trained, and returns these rows with their seeds.

        Args:
            losses: `(S,)` of the members in the stack, summed over the examples.
            penalties: `(S,)`, summed over the steps.
            sizes: examples of each step.
        """
        stack = self._stack
        trained = [place for place, member in enumerate(stack.members) if member not in self.ended]
        for place in trained:
            if stack.members[place] in self.paused:
                stack.set_weights(place, self.paused[stack.members[place]][1])
        finite, measured, tested = stack.finite().tolist(), stack.measured(trained), stack.tested(trained)
        rows = []
        for place in trained:
            member = stack.members[place]
            n_steps, _ = self.paused.get(member, (len(sizes), []))
            row: dict[str, Any] = {"epoch": epoch, **({"steps": n_steps} if self._watches else {})}
            row["loss"] = float(losses[place]) / sum(sizes[:n_steps])
            if measured is not None:
                row |= {"penalty": float(penalties[place]) / n_steps, measured[0]: measured[1][place]}
            try:
                check_finite(row, finite[place])
            except FloatingPointError as error:
                self.failed[member] = error
                self.ended[member] = stack.weights_at(place)
                log.warning(f"seed={self._seeds[member]}: {error}")
                continue
            row |= {"test_loss": tested[place].loss, "test_accuracy": tested[place].accuracy}
            row |= {**(self._watches[member].columns() if self._watches else {}), **reached(row, self._options)}
            self.histories[member].append(row)
            if has_ended(row):
                self.ended[member] = self.best.get(member) or stack.weights_at(place)
            rows.append({"seed": self._seeds[member], **row})
        self.paused.clear()
        return rows


def _epoch(
    stack: _Stack, members: _Members, batches: Sequence[Tensor], progress: EpochProgress
) -> tuple[Tensor, Tensor]:
    """Does a step for each of the batches, each `(S, B)` indices of examples; fewer if the training of all has ended.

    Returns `(S,)` losses, summed over examples, and `(S,)` penalties, summed over steps; what a member does after its
    training has ended doesn't count.
    """
    n_members = len(stack.members)
    total_loss = torch.zeros(n_members, device=stack.device)
    total_penalty = torch.zeros(n_members, device=stack.device)
    n_unreported, runs, has_ended_for_all = 0, None, False
    for step, index in enumerate(batches, start=1):
        losses, penalties = stack.step(index)
        counted = losses if runs is None else losses.where(runs, 0.0)
        total_loss += counted * index.shape[1]
        if penalties is not None:
            total_penalty += penalties if runs is None else penalties.where(runs, 0.0)
        n_unreported += index.numel()
        if members.after_step(step):
            runs = torch.tensor(members.running(), device=stack.device)
            has_ended_for_all = not bool(runs.any())
        if step % STEPS_BETWEEN_NOTES == 0 or step == len(batches) or has_ended_for_all:
            progress.report(n_unreported, float(losses.mean()))
            n_unreported = 0
        if has_ended_for_all:
            break
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


RECURRENT = (nn.RNNBase, nn.RNNCellBase)
"""Layers whose steps torch computes for one network at a time."""


def check_together(
    networks: Sequence[nn.Module], datasets: Sequence[Dataset], options: TrainingOptions, *, seeds: Sequence[int]
) -> None:
    """Checks that the networks can be trained in a stack, by a trial step of the first and the last network.

    A stack has one forward pass for all networks, so it can't give each network its own draws from torch's global
    generator or its own running statistics. And `vmap` doesn't support every operation.

    Raises:
        ArgumentError: the networks can't be stacked; the text says why.
    """
    for seed, network, dataset in zip(seeds, networks, datasets, strict=True):
        if _form(network, dataset) != _form(networks[0], datasets[0]):
            problem = f"the networks or the data's sizes of seed={seed} and seed={seeds[0]} differ."
            raise ArgumentError(("networks", "datasets"), None, problem)
    if not options.epochs:
        return
    if options.keep_epochs:
        problem = "{keep_epochs}=true keeps the epochs of a network that is trained alone."
        raise ArgumentError("keep_epochs", "true", problem)
    if why := _obstacle(networks[0], datasets[0].x_train[:REHEARSED]):
        problem = f"{why} in training mode; networks in a stack can't do that separately."
        raise ArgumentError("networks", None, problem)
    pair = [0, len(networks) - 1]
    try:
        equal = _rehearse([networks[i] for i in pair], [datasets[i] for i in pair], options)
    except Exception as error:  # an operation that vmap doesn't support can raise any exception
        recurrent = [
            f"{name} ({type(m).__name__})" for name, m in networks[0].named_modules() if isinstance(m, RECURRENT)
        ]
        if recurrent:  # torch's words speak of a batching rule
            problem = f"{', '.join(recurrent)}: recurrent layers can't be trained in a stack."
            raise ArgumentError("networks", None, problem) from error
        raise ArgumentError("networks", None, f"a step of stacked networks fails ({one_line(error)}).") from error
    if not equal:
        problem = "a step of stacked networks differs from a step of each network alone."
        raise ArgumentError("networks", None, problem)


def at_once(network: nn.Module, dataset: Dataset, options: TrainingOptions, *, own_data: bool) -> int:
    """Returns how many such networks a stack may have, so that it fits in memory.

    Args:
        own_data: whether each network has its own data set.
    """
    weights = sum(tensor.numel() for tensor in network.state_dict().values())
    data = dataset.x_train.numel() + dataset.x_test.numel() if own_data else dataset.x_train[0].numel()
    batch = min(options.batch_size, len(dataset.x_train))
    # Weights, gradient and the optimizer's two moments; the forward values are kept for the backward pass, which about
    # doubles them.
    needed = 4 * weights + data + 3 * batch * _n_values(network, dataset.x_train[:REHEARSED])
    return max(1, min(MOST_MEMBERS, int(MOST_VALUES // needed)))


def _form(network: nn.Module, dataset: Dataset) -> tuple[object, ...]:
    """Returns the properties that all networks of a stack must share."""
    sizes = (dataset.x_train.shape, dataset.y_train.shape, dataset.x_test.shape, dataset.y_test.shape)
    return repr(network), [(name, tensor.shape, tensor.dtype) for name, tensor in _tensors(network)], sizes


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Returns the names and tensors of the module's parameters and buffers, each tensor once."""
    return [*module.named_parameters(), *module.named_buffers()]


def _obstacle(network: nn.Module, x: Tensor) -> str:
    """Returns which innermost module draws at random or changes its buffers in training, as a text; empty: none."""
    network = copy.deepcopy(network).train()
    names = {module: name for name, module in network.named_modules()}
    entered: list[tuple[Tensor, list[Tensor]]] = []
    obstacles: list[str] = []

    def enter(module: nn.Module, *_: object) -> None:
        entered.append((torch.get_rng_state(), [buffer.clone() for buffer in module.buffers()]))

    def leave(module: nn.Module, *_: object) -> None:
        draws, buffers = entered.pop()
        which = f"{names[module]} ({type(module).__name__})" if names[module] else f"{type(module).__name__}.forward"
        if not torch.equal(draws, torch.get_rng_state()):
            obstacles.append(f"{which} draws at random")
        elif not all(map(torch.equal, buffers, module.buffers())):
            obstacles.append(f"{which} changes its buffers")

    for module in network.modules():
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        network(x)
    return obstacles[0] if obstacles else ""


def _rehearse(networks: Sequence[nn.Module], datasets: Sequence[Dataset], options: TrainingOptions) -> bool:
    """Returns whether losses and gradients of a stack on a few training examples equal those of each network alone."""
    stack = _Stack(networks, datasets, options)
    index = torch.arange(min(REHEARSED, len(datasets[0].x_train))).expand(len(networks), -1)
    *gradients, losses = stack.gradients(*stack.batch(index))[: len(stack.trained) + 1]
    equal = True
    for member, (network, dataset) in enumerate(zip(networks, datasets, strict=True)):
        single = _Penalised(copy.deepcopy(network).train(), options)
        outputs, *penalties = single(dataset.x_train[index[member]])
        value = stack.loss_of(outputs, dataset.y_train[index[member]])
        alone = torch.autograd.grad(
            sum(penalties, value), [dict(single.named_parameters())[name] for name in stack.trained]
        )
        # If the true gradient is zero, the computed one is rounding error.
        slack = 1e-4 * max(float(gradient.abs().nan_to_num(0.0, posinf=0.0).max()) for gradient in alone)
        equal &= torch.allclose(losses[member], value.detach(), rtol=1e-4, equal_nan=True)
        for expected, gradient in zip(alone, gradients, strict=True):
            equal &= torch.allclose(gradient[member], expected, rtol=1e-3, atol=slack, equal_nan=True)
    return equal


def _n_values(network: nn.Module, x: Tensor) -> float:
    """Returns how many values a forward pass computes per example."""
    with torch.no_grad():
        recorder, _ = _record(lambda x: [network(x)], [x])
    return recorder.n_values / len(x)


# --- the stack -----------------------------------------------------------------------------------------------------


class _Penalised(nn.Module):
    """A network with its regulariser: returns outputs `(B, K)` for inputs `(B, *input)`, and the penalty if any."""

    def __init__(self, network: nn.Module, options: TrainingOptions) -> None:
        super().__init__()
        self.network = network
        self.regularizer: Regularizer | None = regularizers.regularizer(network, options, vectorised=True)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.regularizer is None or not self.regularizer.factor:
            return (self.network(x),)
        return self.network(x), self.regularizer.factor * self.regularizer.measure(self.network)


class _Stack:
    """The weights of networks, one tensor `(S, *shape)` for each parameter, with their data and optimizer.

    Attributes:
        members: which of the M networks are in the stack now, in their order.
    """

    def __init__(self, networks: Sequence[nn.Module], datasets: Sequence[Dataset], options: TrainingOptions) -> None:
        self.networks, self.datasets, self.options = networks, datasets, options
        self.members = list(range(len(networks)))
        self.template = _Penalised(copy.deepcopy(networks[0]), options)
        self.loss_of: LossFunction = loss_function(options, datasets[0])
        self.trained = self._trained_names()
        self.fixed = [name for name, _ in _tensors(self.template) if name not in self.trained]
        stacked: dict[str, list[Tensor]] = {}
        for network in networks:
            for name, tensor in _tensors(network):
                stacked.setdefault(f"network.{name}", []).append(tensor.detach())
        self.tensors = {name: torch.stack(tensors) for name, tensors in stacked.items()}
        self.weights = [self.tensors[name] for name in self.trained]
        self.device = self.weights[0].device
        self.optimizer = make_optimizer(self.weights, options)
        self.shared = len({dataset.fingerprint for dataset in datasets}) == 1
        # Examples of all members in one tensor (M·N, ...), or the shared examples (N, ...).
        self.x = datasets[0].x_train if self.shared else torch.cat([dataset.x_train for dataset in datasets])
        self.y = datasets[0].y_train if self.shared else torch.cat([dataset.y_train for dataset in datasets])
        self.x_test = datasets[0].x_test if self.shared else torch.stack([dataset.x_test for dataset in datasets])
        self.n_held_out = n_held_out(len(datasets[0].x_train), options)
        self.x_held_out = self._held_out(self.x)
        self.y_held_out = self._held_out(self.y)
        begin = torch.arange(len(networks), device=self.device)[:, None] * len(datasets[0].x_train)
        self.begin = torch.zeros_like(begin) if self.shared else begin
        n_values = len(networks) * _n_values(self.template.network.eval(), datasets[0].x_test[:REHEARSED])
        self.most_at_once = max(1, int(MOST_EVALUATION_VALUES / n_values))
        self.gradients = _Recorded(self._gradients)
        self.outputs = _Recorded(self._outputs)

    def _trained_names(self) -> list[str]:
        """Returns the names of the parameters that get a gradient; an optimizer doesn't change the others."""
        free = {name: tensor for name, tensor in self.template.named_parameters() if tensor.requires_grad}
        dataset = self.datasets[0]
        with torch.enable_grad():
            outputs, *penalties = self.template.train()(dataset.x_train[:REHEARSED])
            value = sum(penalties, self.loss_of(outputs, dataset.y_train[:REHEARSED]))
            gradients = torch.autograd.grad(value, list(free.values()), allow_unused=True)
        return [name for name, gradient in zip(free, gradients, strict=True) if gradient is not None]

    def batch(self, index: Tensor) -> list[Tensor]:
        """Returns the inputs of a step for each member's examples, indices `(M, B)`."""
        flat = (index + self.begin).flatten()
        x, y = (examples.index_select(0, flat).unflatten(0, index.shape) for examples in (self.x, self.y))
        return [*self.weights, *(self.tensors[name] for name in self.fixed), x, y]

    def step(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Does a step of all members on their examples, indices `(M, B)`; returns losses and penalties `(M,)`."""
        results = self.gradients(*self.batch(index))
        for weight, gradient in zip(self.weights, results, strict=False):
            weight.grad = gradient
        self.optimizer.step()
        losses, *penalties = results[len(self.weights) :]
        return losses, penalties[0] if penalties else None

    def _gradients(self, *inputs: Tensor) -> list[Tensor]:
        """Returns the gradients of all trained weights, the losses `(S,)`, and the penalties `(S,)` if any.

        `torch.func.grad` instead of `torch.autograd.grad` gives the same, and imports torch's compiler.
        """
        self.template.train()
        n_trained = len(self.trained)
        *fixed, x, y = inputs[n_trained:]
        with torch.enable_grad():
            trained = [weight.detach().requires_grad_() for weight in inputs[:n_trained]]
            tensors = dict(zip([*self.trained, *self.fixed], [*trained, *fixed], strict=True))
            outputs, *penalties = self._forward(tensors, x)
            losses = self.loss_of(outputs.flatten(0, 1), y.flatten(0, 1), reduction="none").view(y.shape[:2]).mean(1)
            # The sum of all members' objectives; so each weight's gradient is that of its own member.
            gradients = torch.autograd.grad(sum(penalties, losses).sum(), trained)
        # The fused optimizers read weight and gradient in the order of memory, so the layouts must be equal.
        return [*(gradient.contiguous() for gradient in gradients), *(one.detach() for one in (losses, *penalties))]

    def _outputs(self, *inputs: Tensor) -> list[Tensor]:
        """Returns outputs `(M, B, K)` for shared examples `(B, *input)`, or for `(M, B, *input)`."""
        self.template.eval()
        outputs, *_ = self._forward(dict(zip(self.tensors, inputs[:-1], strict=True)), inputs[-1], self.shared)
        return [outputs.contiguous()]

    def _forward(self, tensors: dict[str, Tensor], x: Tensor, shared: bool = False) -> tuple[Tensor, ...]:
        """Returns outputs `(M, B, K)`, and penalties `(M,)` if there are any."""

        def forward(tensors: dict[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
            with _WeightFirst():
                return functional_call(self.template, tensors, (x,))

        return vmap(forward, in_dims=(0, None if shared else 0))(tensors, x)

    def _held_out(self, examples: Tensor) -> Tensor:
        """Returns the held-out `(M, H, ...)` of the examples of all members `(M·N, ...)`, or of shared examples."""
        n = len(self.datasets[0].x_train)
        if self.shared:
            return examples[n - self.n_held_out :]
        return examples.unflatten(0, (-1, n))[:, n - self.n_held_out :]

    def n_correct(self) -> list[int]:
        """Returns how many held-out examples each member in the stack answers correctly."""
        outputs = self._outputs_on(self.x_held_out, most_at_once(self.datasets[0].input_shape))
        correct = self.datasets[0].outputs.correct
        targets = [self.y_held_out] * len(outputs) if self.shared else self.y_held_out
        return [int(correct(*pair).sum()) for pair in zip(outputs, targets, strict=True)]

    def _outputs_on(self, x: Tensor, at_once: int = BATCH) -> Tensor:
        """Returns outputs `(S, N, K)` for shared examples `(N, *input)`, or for each member's own `(S, N, *input)`."""
        batches = x.split(min(at_once, self.most_at_once), dim=0 if self.shared else 1)
        return torch.cat([self.outputs(*self.tensors.values(), batch)[0] for batch in batches], dim=1)

    def tested(self, places: Sequence[int]) -> dict[int, Score]:
        """Returns the scores on their test sets of the members at these places."""
        outputs = self._outputs_on(self.x_test)
        scores = {}
        for place in places:
            dataset = self.datasets[self.members[place]]
            scores[place] = score(outputs[place], dataset.y_test, self.loss_of, kind=dataset.outputs)
        return scores

    def finite(self) -> Tensor:
        """Returns for each member whether all trained weights are finite, `(S,)` bool."""
        return torch.stack([weight.isfinite().flatten(1).all(1) for weight in self.weights]).all(0)

    def measured(self, places: Sequence[int]) -> tuple[str, dict[int, float]] | None:
        """Returns the regulariser's name and its value for the members at these places; None without a regulariser."""
        regularizer = self.template.regularizer
        if regularizer is None:
            return None
        values = {}
        for place in places:
            self._load(self.template.network, place)
            values[place] = float(regularizer.measure(self.template.network))
        return regularizer.name, values

    def weights_at(self, place: int) -> list[Tensor]:
        """Returns a copy of the trained weights of the member at a place."""
        return [weight[place].clone() for weight in self.weights]

    def set_weights(self, place: int, weights: Sequence[Tensor]) -> None:
        """Gives the member at a place these trained weights."""
        for weight, own in zip(self.weights, weights, strict=True):
            weight[place] = own

    def leave_out(self, ended: Collection[int]) -> None:
        """Drops members that are no longer trained from the stack, if that makes it smaller by a quarter.

        They leave in whole groups, in front of the last ones: see `GROUP`.
        """
        n = len(self.members)
        n_last = n % GROUP
        places = range(n - n_last)
        trained = [place for place in places if self.members[place] not in ended]
        n_kept = max(GROUP, math.ceil(len(trained) / GROUP) * GROUP)
        if n_kept + n_last > n * SMALLER:
            return
        others = [place for place in places if self.members[place] in ended]
        kept = sorted([*trained, *others[: n_kept - len(trained)]]) + list(range(n - n_last, n))
        self._keep(torch.tensor(kept, device=self.device))

    def _keep(self, places: Tensor) -> None:
        """Keeps the members at these places, with the state of their optimizers."""
        before = self.weights
        self.tensors = {name: tensor[places] for name, tensor in self.tensors.items()}
        self.weights = [self.tensors[name] for name in self.trained]
        optimizer = make_optimizer(self.weights, self.options)
        for old, new in zip(before, self.weights, strict=True):
            optimizer.state[new] = {
                name: value[places] if isinstance(value, Tensor) and value.shape == old.shape else value
                for name, value in self.optimizer.state[old].items()
            }
        self.optimizer, self.begin = optimizer, self.begin[places]
        if not self.shared:
            self.x_test = self.x_test[places]
            self.x_held_out, self.y_held_out = self.x_held_out[places], self.y_held_out[places]
        self.members = [self.members[place] for place in places.tolist()]

    def unstack(self, ended: Mapping[int, Sequence[Tensor]]) -> None:
        """Copies the weights to the networks and sets these to evaluation mode.

        Args:
            ended: member → the trained weights that it gets instead of those in the stack.
        """
        for place, member in enumerate(self.members):
            self._load(self.networks[member], place)
        for member, weights in ended.items():
            parameters = {f"network.{name}": own for name, own in self.networks[member].named_parameters()}
            with torch.no_grad():
                for name, weight in zip(self.trained, weights, strict=True):
                    parameters[name].copy_(weight)
        for network in self.networks:
            network.eval()

    def _load(self, network: nn.Module, place: int) -> None:
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(self.tensors[f"network.{name}"][place])


class _WeightFirst(TorchFunctionMode):
    """Makes Linear layers compute (weight @ xᵀ)ᵀ, which is x @ weightᵀ.

    So the factors of a stack's products, `(M, out, in) @ (M, in, B)`, need no copies in the forward and backward pass.
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
    """Records a function of tensors once for each layout of its inputs, and then replays the recording.

    `vmap` translates each operation again in each call; for small networks that takes longer than the operations
    themselves. Only tensors may differ between calls.
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
    """Records the operations that torch does within the block in a graph.

    An operation that returns an equal view of a recorded tensor, such as `expand` to its own shape, is left out.
    Torch's own tracer, `make_fx`, gives the same numbers, but it keeps the views that `vmap` repeats: with it, twelve
    epochs of 32 small networks took 2.4 s of processor time instead of 1.7 s.

    Attributes:
        graph: of the operations; its placeholders are the inputs.
        constants: tensors that are neither inputs nor computed.
        n_values: how many values were computed, without views of other tensors.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.constants: dict[str, Tensor] = {}
        self.n_values = 0
        self._nodes: dict[int, fx.Node] = {}
        self._alive: list[Tensor] = []  # kept alive, so that no two tensors share an id or an address in memory
        self._views: dict[tuple[object, ...], fx.Node] = {}
        self._addresses: set[int] = set()
        for position, tensor in enumerate(inputs):
            self._note(tensor, self.graph.placeholder(f"input_{position}"))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Returns False: otherwise torch imports its compiler, for more than a second, to hide this mode from it."""
        return False

    def node(self, tensor: Tensor) -> fx.Node:
        """Returns the node that computes the tensor."""
        if id(tensor) not in self._nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = tensor
            self._note(tensor, self.graph.get_attr(name))
        return self._nodes[id(tensor)]

    def _note(self, tensor: Tensor, node: fx.Node) -> None:
        self._nodes[id(tensor)] = node
        self._alive.append(tensor)
        address = tensor.untyped_storage().data_ptr()
        if node.op == "call_function" and address not in self._addresses:
            self.n_values += tensor.numel()
        self._addresses.add(address)
        self._views.setdefault(_view(tensor), node)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and not func._schema.is_mutable and _view(result) in self._views:
            self._nodes[id(result)] = self._views[_view(result)]
            self._alive.append(result)
            return result
        node = self.graph.call_function(func, *tree_map_only(Tensor, self.node, (args, kwargs)))
        if isinstance(result, Tensor):
            self._note(result, node)
        elif isinstance(result, tuple | list):
            for position, element in enumerate(result):
                if isinstance(element, Tensor):
                    self._note(element, self.graph.call_function(operator.getitem, (node, position)))
        return result


def _view(tensor: Tensor) -> tuple[object, ...]:
    """Returns a key that is equal for tensors with the same values in the same memory."""
    address = tensor.untyped_storage().data_ptr()
    return address, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _record(function: Callable[..., list[Tensor]], inputs: Sequence[Tensor]) -> tuple[_Recorder, fx.GraphModule]:
    """Returns a recording of the function's operations on these inputs, and a module that repeats them.

    Raises:
        Exception: the function's own; an operation that can't be vectorised raises.
    """
    with _Recorder(inputs) as recorder:
        outputs = function(*inputs)
    recorder.graph.output([recorder.node(tensor) for tensor in outputs])
    recorder.graph.eliminate_dead_code()
    return recorder, fx.GraphModule(recorder.constants, recorder.graph)

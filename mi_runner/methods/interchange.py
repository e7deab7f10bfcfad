"""Training by interchange interventions: a network, or a rotation of a site, learns to answer counterfactual labels.

In each step the network runs on base examples, with a part of a site's value taken from source examples, and its output
is compared with the counterfactual label of the causal model. If this trains the network's weights, it is interchange
intervention training (IIT: Geiger et al., ICML 2022). If it trains only a rotation of the site, it is distributed
alignment search (DAS: Geiger et al., CLeaR 2024).

Rotations of one site are trained one by one: stacked in one computation, seven take 1.6 times as long behind a
convolution of 12,544 units, because each has values of its own there, and save half a second behind a layer of three.

Letters: B batch, P pairs, S sources of a pair; a site's value is `(B, *site)`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import CausalModel
from mi_runner.datasets.distinct import row_keys
from mi_runner.errors import ArgumentError
from mi_runner.graph.interventions import Intervention, KeptSites, read_sites, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.machine import threads
from mi_runner.methods.alignment import Mapped, Rotation, Units
from mi_runner.methods.interchange_options import InterchangeOptions, Trained
from mi_runner.models.batches import BATCH, outputs_of, refuse_not_finite
from mi_runner.progress import Progress
from mi_runner.training import loop as training
from mi_runner.training.epochs import EpochProgress, batch_sizes, merges_last, shuffled_batches
from mi_runner.training.evaluation import LossFunction
from mi_runner.training.optimizers import optimizer_named

ROWS_PER_EPOCH = 10
"""Rows of the history within an epoch, where it has as many steps."""


@dataclass(frozen=True)
class Pairs:
    """Base examples with their sources and their counterfactual labels.

    Attributes:
        base: `(P,)` indices of examples.
        sources: `(P, S)` indices of examples, a column for each place; columns may be equal.
        labels: `(P,)` counterfactual labels, in the form of the data set's targets.
        changed: `(P,)` bool, whether the counterfactual label differs from the base example's own.

    Example:
        >>> import torch
        >>> from mi_runner.iit import Pairs
        >>> numbers = torch.tensor([0, 1])
        >>> len(Pairs(numbers, numbers[:, None], numbers, numbers.bool()))
        2
    """

    base: Tensor
    sources: Tensor
    labels: Tensor
    changed: Tensor

    def __len__(self) -> int:
        return len(self.base)


def draw_pairs(
    model: CausalModel,
    values: Tensor,
    places: Sequence[Sequence[str]],
    n: int,
    *,
    among: Tensor,
    generator: torch.Generator,
    single_source: bool = False,
    in_subsets: bool = False,
) -> Pairs:
    """Returns pairs of examples with their counterfactual labels.

    Every example is a base once before any is a base again. A source is drawn uniformly from the examples other than
    the base.

    Args:
        values: `(N, V)` of the examples.
        places: for each source of a pair the variables that are taken from it.
        n: P.
        among: `(M,)` the examples to draw from; at least 2.
        single_source: all places have the same source example; otherwise each has its own.
        in_subsets: each pair swaps some of the places, every set of them equally often; the source of the others is
            the base itself. Otherwise each pair swaps all.

    Example:
        >>> import torch
        >>> from mi_runner import iit
        >>> from mi_runner.datasets import CausalModel, LabelTable
        >>> values = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).double()
        >>> causal = CausalModel(("a", "b"), values, values, LabelTable(torch.tensor([[0, 1], [1, 0]])))
        >>> draw = torch.Generator().manual_seed(0)
        >>> pairs = iit.draw_pairs(causal, values, [("a",)], 5, among=torch.arange(4), generator=draw)
        >>> a, b = values[pairs.sources[:, 0], 0], values[pairs.base, 1]
        >>> torch.equal(pairs.labels, (a != b).long())
        True
    """
    m = len(among)
    rounds = [torch.randperm(m, generator=generator) for _ in range(math.ceil(n / m))]
    base = torch.cat(rounds)[:n]
    others = torch.randint(m - 1, (n, 1 if single_source else len(places)), generator=generator)
    others += others >= base[:, None]
    others = others.expand(-1, len(places))
    base, sources = among[base.to(among.device)], among[others.to(among.device)]
    if in_subsets:
        subsets = torch.randint(1, 2 ** len(places), (n, 1), generator=generator)
        is_swapped = (subsets >> torch.arange(len(places))) & 1
        sources = torch.where(is_swapped.bool().to(sources.device), sources, base[:, None])
    taken = {variable: values[sources[:, place]] for place, variables in enumerate(places) for variable in variables}
    labels = model.counterfactual(values[base], taken)
    return Pairs(base, sources, labels, labels != model.mechanism(values[base]))


def relabelled(pairs: Pairs, model: CausalModel, values: Tensor, variables: Sequence[str]) -> Pairs:
    """Returns the same base examples with the first source of each for other variables, and the labels of that swap.

    Args:
        values: `(N, V)` of the examples.
        variables: those that are taken from the source.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import iit
        >>> from mi_runner.datasets import CausalModel, Dataset, LabelTable
        >>> from mi_runner.graph import ModelGraph
        >>> values = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).double()
        >>> causal = CausalModel(("a", "b"), values, values, LabelTable(torch.tensor([[0, 1], [1, 0]])))
        >>> x, y = values.float(), torch.tensor([0, 1, 1, 0])
        >>> data = Dataset("xor", x, y, x, y, ("0", "1"), causal_model=causal)
        >>> net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
        >>> draw = torch.Generator().manual_seed(0)
        >>> aligned = iit.Aligned(net, ModelGraph.trace(net, x), "0", iit.Rotation((4,), 1, 2, generator=draw))
        >>> pairs = iit.draw_pairs(causal, values, [("a",)], 20, among=torch.arange(4), generator=draw)
        >>> of_b = iit.relabelled(pairs, causal, values, ["b"])
        >>> torch.equal(of_b.labels, (values[pairs.base, 0] != values[pairs.sources[:, 0], 1]).long())
        True
    """
    sources = pairs.sources[:, :1]
    labels = model.counterfactual(values[pairs.base], dict.fromkeys(variables, values[sources[:, 0]]))
    return Pairs(pairs.base, sources, labels, labels != model.mechanism(values[pairs.base]))


def not_in(x: Tensor, others: Tensor) -> Tensor:
    """Returns the indices `(M,)` of the rows of `x` `(N, *input)` that equal no row of `others`."""
    known = set(row_keys(others))
    new = [index for index, key in enumerate(row_keys(x)) if key not in known]
    return torch.tensor(new, dtype=torch.int64, device=x.device)


@dataclass(frozen=True)
class Aligned:
    """A network, and the places in it where variables are, or are trained to be.

    Attributes:
        target: the site, edge or path whose value is swapped.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import iit
        >>> from mi_runner.datasets import CausalModel, Dataset, LabelTable
        >>> from mi_runner.graph import ModelGraph
        >>> values = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).double()
        >>> causal = CausalModel(("a", "b"), values, values, LabelTable(torch.tensor([[0, 1], [1, 0]])))
        >>> x, y = values.float(), torch.tensor([0, 1, 1, 0])
        >>> data = Dataset("xor", x, y, x, y, ("0", "1"), causal_model=causal)
        >>> net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
        >>> draw = torch.Generator().manual_seed(0)
        >>> aligned = iit.Aligned(net, ModelGraph.trace(net, x), "0", iit.Rotation((4,), 1, 2, generator=draw))
        >>> pairs = iit.draw_pairs(causal, values, [("a",)], 20, among=torch.arange(4), generator=draw)
        >>> aligned.outputs_on(x, pairs.base[:5], pairs.sources[:5]).shape
        torch.Size([5, 2])
    """

    model: nn.Module
    graph: ModelGraph
    target: str
    alignment: Units | Mapped

    @property
    def site(self) -> str:
        """The site whose value is swapped."""
        return self.graph.target_site(self.target).name

    def outputs(self, x: Tensor, base: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Returns the outputs `(B, K)` for base examples `(B, *input)` whose site has each source's value in its place.

        Args:
            base: `(B, *site)`, the site's value on the base examples.
            sources: for each place `(B, *site)`, its value on the source examples.
        """
        value = self.alignment(base, sources)
        return run_with(self.graph, x, [Intervention(self.target, value)])

    def outputs_on(self, x: Tensor, base: Tensor, sources: Tensor) -> Tensor:
        """Returns the outputs `(B, K)` for examples of `x`, and computes their site's values.

        Args:
            base: `(B,)` indices into `x`.
            sources: `(B, S)` indices.
        """
        return self.outputs(x[base], *self.values_on(x, base, sources))

    def values_on(self, x: Tensor, base: Tensor, sources: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns the site's values `(B, *site)` on base examples, and for each place on its source examples.

        Args:
            base: `(B,)` indices into `x`.
            sources: `(B, S)` indices.
        """
        # One run up to the site for the base examples and all their sources.
        together = torch.cat([base, *sources.unbind(1)])
        of_base, *of_sources = read_sites(self.graph, x[together], [self.site])[self.site].split(len(base))
        return of_base, of_sources

    def copied(self, example: Tensor, leaves: Sequence[str]) -> Aligned:
        """Returns the same with weights of its own.

        Args:
            example: `(B, *input)`, to trace the copy with.
        """
        model = copy.deepcopy(self.model)
        graph = ModelGraph.trace(model, example, leaves=leaves)
        return Aligned(model, graph, self.target, copy.deepcopy(self.alignment))


@torch.no_grad()
def counterfactual_correct(
    aligned: Aligned, dataset: Dataset, pairs: Pairs, kept: KeptSites | None = None
) -> tuple[Tensor, Tensor]:
    """Returns whether the network predicts each test pair's counterfactual label `(P,)`, and its outputs.

    Args:
        kept: values of sites from earlier calls, for a network that isn't trained between them.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import iit
        >>> from mi_runner.datasets import CausalModel, Dataset, LabelTable
        >>> from mi_runner.graph import ModelGraph
        >>> values = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).double()
        >>> causal = CausalModel(("a", "b"), values, values, LabelTable(torch.tensor([[0, 1], [1, 0]])))
        >>> x, y = values.float(), torch.tensor([0, 1, 1, 0])
        >>> data = Dataset("xor", x, y, x, y, ("0", "1"), causal_model=causal)
        >>> net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
        >>> draw = torch.Generator().manual_seed(0)
        >>> aligned = iit.Aligned(net, ModelGraph.trace(net, x), "0", iit.Rotation((4,), 1, 2, generator=draw))
        >>> pairs = iit.draw_pairs(causal, values, [("a",)], 20, among=torch.arange(4), generator=draw)
        >>> is_correct, outputs = iit.counterfactual_correct(aligned, data, pairs)
        >>> is_correct.shape, outputs.shape
        (torch.Size([20]), torch.Size([20, 2]))
    """
    values = (kept or KeptSites()).of(aligned.graph, dataset.x_test, aligned.graph.site(aligned.site))
    batches = zip(pairs.base.split(BATCH), pairs.sources.split(BATCH), strict=True)
    outputs = torch.cat(
        [
            aligned.outputs(
                dataset.x_test[base], values.rows(base), [values.rows(source) for source in sources.unbind(1)]
            )
            for base, sources in batches
        ]
    )
    refuse_not_finite(outputs, f"the outputs with values swapped at {aligned.site}")
    return dataset.outputs.correct(outputs, pairs.labels), outputs


@torch.no_grad()
def task_correct(aligned: Aligned, dataset: Dataset) -> Tensor:
    """Returns whether the network predicts each test example's label `(N,)`, without intervention."""
    return dataset.outputs.correct(outputs_of(aligned.model, dataset.x_test), dataset.y_test)


MakeOptimizer = Callable[[Sequence[nn.Parameter], float], torch.optim.Optimizer]
"""Parameters and a step size → the optimizer of these."""


def adam(parameters: Sequence[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Returns Adam for these parameters."""
    return optimizer_named("adam", parameters, learning_rate=learning_rate)


@dataclass(frozen=True)
class InterchangeTraining(InterchangeOptions):
    """How interchange interventions train.

    Attributes:
        cutoff: below it the loss on counterfactual labels counts for a thousandth, `cut_off`; None: it counts in full.
        optimizer: makes the optimizer of parameters and a step size.

    Example:
        >>> from mi_runner.iit import InterchangeTraining
        >>> InterchangeTraining(what="rotation", epochs=3).batch_size
        256
    """

    cutoff: float | None = None
    optimizer: MakeOptimizer = adam


@dataclass(frozen=True)
class Stopping:
    """When a training of a map stops, and which map it keeps.

    After each epoch the loss on other pairs is computed: the mean losses of batches, added. The training stops when so
    many steps have passed in which it was not lower by `improvement` than the lowest before. The map with the lowest
    loss is kept, also if it was lower by less.

    Attributes:
        pairs: of training examples.
        steps: at least so many steps without an improvement.
        epochs: and at least so many epochs.
        improvement: of the loss.

    Example:
        >>> import torch
        >>> from mi_runner import iit
        >>> none = torch.zeros(0, dtype=torch.int64)
        >>> iit.Stopping(iit.Pairs(none, none[:, None], none, none.bool())).steps
        1000
    """

    pairs: Pairs
    steps: int = 1000
    epochs: int = 0
    improvement: float = 1e-3


class _Kept:
    """The best parameters of a training so far, and when its loss last improved."""

    def __init__(self, stopping: Stopping, parameters: Sequence[nn.Parameter]) -> None:
        self._stopping, self._parameters = stopping, parameters
        self._lowest = self._to_improve = math.inf
        self._best: list[Tensor] = []
        self._improved = (0, 0)

    def ends(self, loss: float, step: int, epoch: int) -> bool:
        """Returns whether the training ends after an epoch with this loss on the pairs to stop by."""
        if loss < self._lowest:
            self._lowest = loss
            self._best = [parameter.detach().clone() for parameter in self._parameters]
        if loss < self._to_improve - self._stopping.improvement:
            self._to_improve, self._improved = loss, (step, epoch)
        steps, epochs = step - self._improved[0], epoch - self._improved[1]
        return steps >= self._stopping.steps and epochs >= self._stopping.epochs

    @torch.no_grad()
    def restore(self) -> None:
        """Gives the parameters the values of the lowest loss."""
        for parameter, best in zip(self._parameters, self._best, strict=False):
            parameter.copy_(best)


class Opponent(Protocol):
    """What pulls a training by interchange interventions in another direction."""

    def added(self, index: Tensor, x: Tensor, base: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Returns what is added to the loss of a step, with its gradient; called once in each step.

        Args:
            index: `(B,)` of the step's pairs.
            x: `(B, *input)` base examples.
            base: `(B, *site)`, the site's value on the base examples.
            sources: for each place `(B, *site)`, its value on the source examples.
        """

    def row(self) -> dict[str, float]:
        """Returns columns of the history, of the steps since the last call."""


class Strict(Protocol):
    """Places that should carry nothing."""

    def outputs(self, x: Tensor, source: Tensor) -> Tensor:
        """Returns the outputs `(B, K)` with one place taken from the sources; called once in each step.

        Args:
            x: `(B, *input)` base examples.
            source: `(B, *input)` source examples.
        """


BELOW_CUTOFF = 1e-3
"""Slope of a loss below its cutoff."""


def cut_off(loss: Tensor, at: float) -> Tensor:
    """Returns the loss if it is above `at`, otherwise 0.999·at + 0.001·loss: what is good enough hardly improves."""
    return torch.where(loss > at, loss, (1 - BELOW_CUTOFF) * at + BELOW_CUTOFF * loss)


def trained_parameters(aligned: Aligned, what: Trained) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Returns the network's and the alignment's parameters that are trained."""
    network = [parameter for parameter in aligned.model.parameters() if parameter.requires_grad]
    rotation = list(aligned.alignment.parameters())
    return ([] if what == "rotation" else network), ([] if what == "network" else rotation)


@contextmanager
def without_gradients(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Keeps torch from computing gradients of these parameters within the block."""
    needing = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in needing:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in needing:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class Following:
    """Who follows a training, and what it may use.

    Attributes:
        evaluate: is called before the first step and after each epoch; what it returns goes into the history.
        kept: values of sites from earlier trainings of a rotation in the same network; None: of this one alone.
        progress: told of the steps; None: nobody is.
        described: for the progress bar.

    Example:
        >>> from mi_runner.iit import Following
        >>> Following(evaluate=lambda: {"iia": 0.5}).evaluate()
        {'iia': 0.5}
    """

    evaluate: Callable[[], dict[str, float]] = dict
    kept: KeptSites | None = None
    progress: Progress | None = None
    described: str = "interchange training"


def train_by_interchange(
    aligned: Aligned,
    dataset: Dataset,
    pairs: Pairs,
    how: InterchangeTraining,
    loss_of: LossFunction,
    *,
    seed: int = 0,
    opponent: Opponent | None = None,
    strict: Strict | None = None,
    stopping: Stopping | None = None,
    following: Following = Following(),
) -> list[dict[str, Any]]:
    """Trains what `how` names, in place, and leaves the network in evaluation mode; returns the history.

    A row has `epoch` (rows are a tenth of an epoch apart), `step`, and `loss` and `train_iia` of the pairs since the
    row before, each at its step. The last row of an epoch also has what `following.evaluate` returns. The first row is
    before the first step. With `stopping` the last row of an epoch has `stop_loss`, that of the pairs to stop by.

    Args:
        dataset: on the model's device.
        pairs: of training examples.
        loss_of: `loss(outputs (B, K), labels (B,))`.
        seed: the order of the pairs derives from it.
        opponent: adds to the loss of each step, and to the rows of the history.
        strict: the places that should carry nothing, where `how.strictness` is above 0.
        stopping: when to stop, for a training of the alignment alone; None: after all epochs.
        following: who follows the training, and the values that it may use.

    Raises:
        ArgumentError: the network can't be trained on batches of one pair, there is strictness without places, or a
            network that is trained should stop.
        FloatingPointError: the loss is no longer finite.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import iit
        >>> from mi_runner.datasets import CausalModel, Dataset, LabelTable
        >>> from mi_runner.graph import ModelGraph
        >>> values = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).double()
        >>> causal = CausalModel(("a", "b"), values, values, LabelTable(torch.tensor([[0, 1], [1, 0]])))
        >>> x, y = values.float(), torch.tensor([0, 1, 1, 0])
        >>> data = Dataset("xor", x, y, x, y, ("0", "1"), causal_model=causal)
        >>> net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
        >>> draw = torch.Generator().manual_seed(0)
        >>> aligned = iit.Aligned(net, ModelGraph.trace(net, x), "0", iit.Rotation((4,), 1, 2, generator=draw))
        >>> pairs = iit.draw_pairs(causal, values, [("a",)], 20, among=torch.arange(4), generator=draw)
        >>> how = iit.InterchangeTraining(what="rotation", epochs=2, warmup_steps=0)
        >>> history = iit.train_by_interchange(aligned, data, pairs, how, nn.functional.cross_entropy)
        >>> [row["epoch"] for row in history]
        [0.0, 1.0, 2.0]
    """
    history: list[dict[str, Any]] = [{"epoch": 0.0, "step": 0, **following.evaluate()}]
    if not how.epochs:
        return history
    if how.strictness and strict is None:
        raise ArgumentError("strict", None, "strictness needs the places that should carry nothing.")
    steps = _Steps(aligned, dataset, pairs, how, loss_of, opponent=opponent, strict=strict, kept=following.kept)
    if stopping is not None and steps.network:
        raise ArgumentError("stopping", None, "a training stops by its loss only where the network stays as it is.")
    best = _Kept(stopping, steps.trained) if stopping is not None else None
    order, x = chance.generator(seed, "interchange order"), dataset.x_train
    merges_one = bool(steps.network) and merges_last(aligned.model, x, len(pairs), how.batch_size, says=True)
    n_steps = len(batch_sizes(len(pairs), how.batch_size, merges_one=merges_one))
    reported = {math.ceil(n_steps * tenth / ROWS_PER_EPOCH) for tenth in range(1, ROWS_PER_EPOCH + 1)}
    with (
        without_gradients({*aligned.model.parameters(), *aligned.alignment.parameters()}.difference(steps.trained)),
        chance.global_seed(seed, "interchange training"),
        threads.exactly(training.threads_for(aligned.model, x, how.batch_size)),
        (following.progress or Progress()).bar(following.described, how.epochs * len(pairs)) as advance,
    ):
        for epoch in range(1, how.epochs + 1):
            epoch_progress = EpochProgress(advance, f"epoch {epoch}/{how.epochs}", unit="pairs")
            aligned.model.train(bool(steps.network))
            shuffled = shuffled_batches(
                len(pairs), how.batch_size, generator=order, device=x.device, merges_one=merges_one
            )
            for step_of_epoch, index in enumerate(shuffled, start=1):
                steps.take(index)
                if step_of_epoch in reported:
                    row, n = steps.row()
                    history.append({"epoch": epoch - 1 + step_of_epoch / n_steps, **row})
                    training.check_finite({"epoch": epoch, "loss": row["loss"]}, weights_are_finite=True)
                    epoch_progress.report(n, row["loss"])
            aligned.model.eval()
            history[-1] |= following.evaluate()
            if stopping is not None and best is not None:
                history[-1]["stop_loss"] = steps.loss_on(stopping.pairs)
                if best.ends(history[-1]["stop_loss"], history[-1]["step"], epoch):
                    break
        if best is not None:
            best.restore()
    return history


class _Steps:
    """The steps of a training by interchange interventions.

    Attributes:
        network, trained: the parameters of the network that are trained, and all that are.
    """

    def __init__(
        self,
        aligned: Aligned,
        dataset: Dataset,
        pairs: Pairs,
        how: InterchangeTraining,
        loss_of: LossFunction,
        *,
        opponent: Opponent | None,
        strict: Strict | None,
        kept: KeptSites | None,
    ) -> None:
        self.aligned, self.dataset, self.pairs, self.how, self.loss_of = aligned, dataset, pairs, how, loss_of
        self.opponent, self.strict = opponent, strict if how.strictness else None
        self.network, rotation = trained_parameters(aligned, how.what)
        self.trained = [*self.network, *rotation]
        self._retracts = bool(rotation) and isinstance(aligned.alignment, Rotation)
        self._optimizers = [
            how.optimizer(parameters, rate)
            for parameters, rate in ((self.network, how.learning_rate), (rotation, how.rotation_learning_rate))
            if parameters
        ]
        # Of a network that doesn't change the site's values are computed once, where there is room for them.
        self._values = None
        if not self.network:
            site = aligned.graph.site(aligned.site)
            self._values = (kept or KeptSites()).of(aligned.graph, dataset.x_train, site)
        self._step = 0
        self._sums = torch.zeros(4, device=dataset.x_train.device)  # loss, correct predictions, pairs, strict loss

    def take(self, index: Tensor) -> None:
        """Takes a step on these pairs `(B,)`."""
        self._step += 1
        how, aligned = self.how, self.aligned
        if self.network:
            warmed = min(1.0, self._step / how.warmup_steps) if how.warmup_steps else 1.0
            self._optimizers[0].param_groups[0]["lr"] = how.learning_rate * warmed
        labels = self.pairs.labels[index]
        values = self._values_of(self.pairs, index)
        outputs = aligned.outputs(*values)
        loss = objective = self.loss_of(outputs, labels)
        if how.cutoff is not None:
            objective = cut_off(loss, how.cutoff)
        strict_loss = loss.new_zeros(())
        if self.strict is not None and how.strictness_reading == "published":
            self._descend(objective)
            strict_loss = self._strict_loss(index)
            self._descend(how.strictness**2 * strict_loss)
            if how.task:
                self._descend(how.task * self._task_loss(index))
        else:
            if how.task:
                objective = objective + how.task * self._task_loss(index)
            if self.opponent is not None:
                objective = objective + self.opponent.added(index, *values)
            if self.strict is not None:
                strict_loss = self._strict_loss(index)
                objective = objective + how.strictness * strict_loss
            self._descend(objective)
        n_correct, n = self.dataset.outputs.correct(outputs.detach(), labels).sum(), len(index)
        counts = n_correct, torch.full_like(n_correct, n)
        self._sums += torch.stack([loss.detach() * n, *counts, strict_loss.detach() * n])

    def _descend(self, objective: Tensor) -> None:
        """Takes a step of each optimizer."""
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        objective.backward()
        if self.how.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.trained, self.how.gradient_clip)
        for optimizer in self._optimizers:
            optimizer.step()
        if self._retracts and isinstance(self.aligned.alignment, Rotation):
            self.aligned.alignment.retract()

    def _values_of(self, pairs: Pairs, index: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Returns base examples, and the site's values on them and on the sources of each place."""
        base, sources = pairs.base[index], pairs.sources[index]
        x = self.dataset.x_train
        if self._values is None:
            return x[base], *self.aligned.values_on(x, base, sources)
        return x[base], self._values.rows(base), [self._values.rows(one) for one in sources.unbind(1)]

    @torch.no_grad()
    def loss_on(self, pairs: Pairs) -> float:
        """Returns the mean losses of batches of other pairs of training examples, added."""
        batches = torch.arange(len(pairs), device=pairs.base.device).split(self.how.batch_size)
        losses = [
            self.loss_of(self.aligned.outputs(*self._values_of(pairs, index)), pairs.labels[index]) for index in batches
        ]
        return float(sum(losses))

    def _task_loss(self, index: Tensor) -> Tensor:
        """Returns the ordinary loss on the base examples."""
        base = self.pairs.base[index]
        return self.loss_of(self.aligned.graph(self.dataset.x_train[base]), self.dataset.y_train[base])

    def _strict_loss(self, index: Tensor) -> Tensor:
        """Returns the loss on the base examples' own labels, with a place that should carry nothing swapped."""
        assert self.strict is not None
        x, base, source = self.dataset.x_train, self.pairs.base[index], self.pairs.sources[index, 0]
        return self.loss_of(self.strict.outputs(x[base], x[source]), self.dataset.y_train[base])

    def row(self) -> tuple[dict[str, Any], int]:
        """Returns the figures of the pairs since the last call, and the number of these pairs."""
        total_loss, total_correct, n, total_strict = self._sums.tolist()
        self._sums.zero_()
        of_opponent = self.opponent.row() if self.opponent is not None else {}
        if self.strict is not None:
            of_opponent["strict_loss"] = total_strict / n
        return {"step": self._step, "loss": total_loss / n, "train_iia": total_correct / n, **of_opponent}, int(n)

"""Can a network be trained so that some variables can't be swapped at a site? Training against an adversary.

An adversary is a rotation of the site that is trained to swap these variables; the network is trained so that this
fails. In each step of the network the adversary takes some steps of its own on the step's pairs, with the network held.
Then the network's loss is reduced by the adversary's, with the adversary held. An adversary that was merely out-run
fails too, so the verdict is by `fresh_rotation`: one that is trained from scratch in the network as it is afterwards.

Letters: B batch, P pairs; a site's value is `(B, *site)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.graph.model_graph import evaluating
from mi_runner.methods.alignment import Rotation
from mi_runner.methods.interchange import (
    Aligned,
    Following,
    InterchangeTraining,
    MakeOptimizer,
    Pairs,
    adam,
    train_by_interchange,
    without_gradients,
)
from mi_runner.methods.interchange_options import AdversaryOptions, RotationTraining
from mi_runner.training.evaluation import LossFunction


@dataclass(frozen=True)
class AdversaryTraining(AdversaryOptions):
    """How adversaries are trained, and what they count for. The defaults are published.

    With a `renewal` an adversary has new random directions and a new optimizer after so many steps of the network, and
    the renewals of several adversaries are spread over the steps. A loss above the `bound` has no gradient.

    Attributes:
        optimizer: makes the optimizer of parameters and a step size.

    Example:
        >>> from mi_runner.iit import AdversaryTraining
        >>> AdversaryTraining(rank=1, renewal=None).count
        1
    """

    optimizer: MakeOptimizer = adam


class Adversaries:
    """Rotations of a site that learn to swap some variables while the network is trained: an `Opponent`.

    Args:
        aligned: the network that is trained, with the rotation of the chosen variables.
        labels: `(P,)` for each training pair its counterfactual label if the adversaries' variables are taken from the
            pair's first source.
        loss_of: `loss(outputs (B, K), labels (B,))`.
        seed: the first directions derive from it.

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
        >>> against = iit.AdversaryTraining(rank=1, learning_rate=0.01, renewal=None, bound=0.7)
        >>> opponent = iit.Adversaries(aligned, of_b.labels, against, nn.functional.cross_entropy)
        >>> how = iit.InterchangeTraining(epochs=1, warmup_steps=0)
        >>> loss = nn.functional.cross_entropy
        >>> "adversary_loss" in iit.train_by_interchange(aligned, data, pairs, how, loss, opponent=opponent)[-1]
        True
    """

    def __init__(
        self, aligned: Aligned, labels: Tensor, how: AdversaryTraining, loss_of: LossFunction, *, seed: int = 0
    ) -> None:
        self.aligned, self.labels, self.how, self.loss_of = aligned, labels, how, loss_of
        self._draw = chance.generator(seed, "adversary")
        self._members = [self._new() for _ in range(how.count)]
        self._losses = torch.zeros(how.count)  # of the last step
        self._step, self._sum, self._n = 0, torch.zeros((), device=labels.device), 0

    def _new(self) -> tuple[Rotation, torch.optim.Optimizer]:
        shape = self.aligned.graph.target_site(self.aligned.target).shape
        rotation = Rotation(shape, 1, self.how.rank, generator=self._draw).to(self.labels.device)
        return rotation, self.how.optimizer(list(rotation.parameters()), self.how.learning_rate)

    @property
    def strongest(self) -> Aligned:
        """The network with the adversary whose loss was lowest in the last step."""
        return replace(self.aligned, alignment=self._members[int(self._losses.argmin())][0])

    def added(self, index: Tensor, x: Tensor, base: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Returns minus the adversaries' mean loss on the pairs, after their steps, as `Opponent` says.

        Its gradient goes through the network, also through the site's values, and not into the adversaries.
        """
        self._renew()
        labels, source = self.labels[index], sources[:1]
        losses = []
        for rotation, optimizer in self._members:
            (weight,), adversary = rotation.parameters(), replace(self.aligned, alignment=rotation)
            held = base.detach(), [values.detach() for values in source]
            with evaluating(self.aligned.model):  # or else its batch norms would count what the adversary swaps
                for _ in range(self.how.steps):
                    loss = self.loss_of(adversary.outputs(x, *held), labels)
                    (weight.grad,) = torch.autograd.grad(loss, [weight])
                    optimizer.step()
                    rotation.retract()
                with without_gradients([weight]):
                    losses.append(self.loss_of(adversary.outputs(x, base, source), labels))
        each = torch.stack(losses)
        self._losses = each.detach()
        self._sum, self._n = self._sum + self._losses.mean(), self._n + 1
        bounded = each if self.how.bound is None else each.clamp(max=self.how.bound)
        return -self.how.weight * bounded.mean()

    def _renew(self) -> None:
        """Replaces the adversaries whose time has come; with three and a renewal of 30, one every ten steps."""
        every, count = self.how.renewal, self.how.count
        if every is not None and self._step:
            for number in range(count):
                if (self._step + number * every // count) % every == 0:
                    self._members[number] = self._new()
        self._step += 1

    def row(self) -> dict[str, float]:
        """Returns `adversary_loss`: the adversaries' mean loss after their steps, since the last call."""
        mean = float(self._sum) / self._n if self._n else math.nan
        self._sum, self._n = torch.zeros_like(self._sum), 0
        return {"adversary_loss": mean}


def fresh_rotation(
    aligned: Aligned,
    dataset: Dataset,
    pairs: Pairs,
    loss_of: LossFunction,
    how: RotationTraining,
    *,
    generator: torch.Generator,
    seed: int = 0,
    following: Following = Following(described="fresh rotation"),
) -> Aligned:
    """Returns the network, which stays as it is, with a rotation of its site that is trained from random directions.

    The setting is that of distributed alignment search: Adam, no warm-up, no bound on the gradient.

    Args:
        aligned: the network and the site; its own alignment plays no role.
        dataset: on the model's device.
        pairs: of training examples.
        how: the directions of each place, and how they are trained.
        generator: draws the first directions.
        seed: the order of the pairs derives from it.
        following: who follows the training, and values of sites from earlier ones in the same network.

    Raises:
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
        >>> loss = nn.functional.cross_entropy
        >>> how = iit.RotationTraining(size=1, epochs=1)
        >>> fresh = iit.fresh_rotation(aligned, data, pairs, loss, how, generator=draw)
        >>> fresh.alignment is not aligned.alignment
        True
    """
    shape = aligned.graph.target_site(aligned.target).shape
    rotation = Rotation(shape, pairs.sources.shape[1], how.size, generator=generator).to(dataset.x_train.device)
    fresh = Aligned(aligned.model, aligned.graph, aligned.target, rotation)
    training = InterchangeTraining(
        what="rotation", epochs=how.epochs, batch_size=how.batch_size, rotation_learning_rate=how.learning_rate,
        warmup_steps=0, gradient_clip=None,
    )  # fmt: skip
    train_by_interchange(fresh, dataset, pairs, training, loss_of, seed=seed, following=following)
    return fresh

"""Does a place that should carry nothing carry nothing? Strict interchange training, and the effect of each place.

A place is a unit of a site, or a channel where the site has more axes. It is taken from a source example, except for
what the chosen places of variables carry there. If the answer changes, the place has an effect. Strict training
(InterpBench: Gupta et al., NeurIPS 2024) adds a loss on such swaps of one place at a time.

Letters: B batch, P pairs; a site's value is `(B, *site)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.datasets import Dataset
from mi_runner.graph.interventions import MEMORY, Intervention, Run, read_sites
from mi_runner.graph.sites import Site
from mi_runner.methods.alignment import Units
from mi_runner.methods.interchange import Aligned, Pairs
from mi_runner.models.batches import BATCH


@dataclass(frozen=True)
class SparePlace:
    """A place, without what the chosen places of variables carry in it.

    Attributes:
        target: the site, or the edge or path of the variables.
        unit: the number of the unit or channel; None: the whole site.
    """

    target: str
    unit: int | None = None

    def swapped(self, aligned: Aligned, base: Tensor, source: Tensor) -> Tensor:
        """Returns base values `(B, *site)` with the place taken from source values `(B, *site)`."""
        value = source if self.unit is None else _with_unit(base, source, self.unit)
        if self.target != aligned.target:
            return value
        return aligned.alignment(value, [base] * aligned.alignment.n_places)


def _with_unit(base: Tensor, source: Tensor, unit: int) -> Tensor:
    if base.dim() == 1:
        return source
    numbers = torch.arange(base.shape[1], device=base.device).view(-1, *(1,) * (base.dim() - 2))
    return torch.where(numbers == unit, source, base)


def spare_places(aligned: Aligned, targets: Sequence[str]) -> list[SparePlace]:
    """Returns the units or channels of sites that are no place of a variable as a whole.

    Args:
        targets: sites, or the edge or path of the variables.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import iit
        >>> from mi_runner.graph import ModelGraph
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
        >>> graph = ModelGraph.trace(net, torch.zeros(1, 2))
        >>> aligned = iit.Aligned(net, graph, "0", iit.Units((3,), ["[0]"]))
        >>> [place.unit for place in iit.spare_places(aligned, ["0"])]
        [1, 2]
    """
    return [
        SparePlace(target, unit)
        for target in targets
        for unit in range(n_groups(aligned.graph.target_site(target)))
        if target != aligned.target or not _is_taken(aligned, unit)
    ]


def n_groups(site: Site) -> int:
    """Returns the number of a site's channels, or of its units where it has one axis."""
    return site.shape[0] if site.shape else 1


def _is_taken(aligned: Aligned, unit: int) -> bool:
    """Returns whether nothing of a unit or channel is left beside the places of variables."""
    if isinstance(aligned.alignment, Units):
        return bool(aligned.alignment.masks.any(0).reshape(aligned.alignment.masks.shape[1], -1)[unit].all())
    return sum(aligned.alignment.sizes) == aligned.graph.target_site(aligned.target).n_units


class SparePlaces:
    """Places that should carry nothing, one of which is swapped in each step of a training: a `Strict`.

    Args:
        aligned: the network that is trained, with the places of the variables.
        places: at least one.
        seed: which place is swapped in a step derives from it.

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
        >>> aligned = iit.Aligned(net, ModelGraph.trace(net, x), "0", iit.Units((4,), ["[0]", "[1]"]))
        >>> pairs = iit.draw_pairs(causal, values, [("a",), ("b",)], 20, among=torch.arange(4), generator=draw)
        >>> how = iit.InterchangeTraining(what="network", strictness=0.4)
        >>> strict = iit.SparePlaces(aligned, iit.spare_places(aligned, ["0"]))
        >>> history = iit.train_by_interchange(aligned, data, pairs, how, nn.functional.cross_entropy, strict=strict)
        >>> "strict_loss" in history[-1]
        True
    """

    def __init__(self, aligned: Aligned, places: Sequence[SparePlace], *, seed: int = 0) -> None:
        self.aligned, self.places = aligned, list(places)
        self._draw = chance.generator(seed, "spare places")

    def outputs(self, x: Tensor, source: Tensor) -> Tensor:
        """Returns the outputs `(B, K)` with one place, drawn at random, taken from the sources."""
        place = self.places[int(torch.randint(len(self.places), (), generator=self._draw))]
        graph = self.aligned.graph
        site = graph.target_site(place.target).name
        of_base, of_source = read_sites(graph, torch.cat([x, source]), [site])[site].split(len(x))
        value = place.swapped(self.aligned, of_base, of_source)
        return Run(graph, x).output([Intervention(place.target, value)])


@dataclass(frozen=True)
class Effect:
    """How often a place changes the answer.

    Attributes:
        target, unit: the place's.
        share: of the pairs, those whose answer changes when the place is taken from the source.
    """

    target: str
    unit: int | None
    share: float


@torch.no_grad()
def effects(aligned: Aligned, dataset: Dataset, pairs: Pairs, targets: Sequence[str]) -> list[Effect]:
    """Returns the effect of each unit or channel of sites, and of each site as a whole, on the pairs' first source.

    Args:
        pairs: of test examples.
        targets: sites, or the edge or path of the variables.

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
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
        >>> aligned = iit.Aligned(net, ModelGraph.trace(net, x), "0", iit.Units((2,), ["[0]", "[1]"]))
        >>> draw = torch.Generator().manual_seed(0)
        >>> pairs = iit.draw_pairs(causal, values, [("a",), ("b",)], 20, among=torch.arange(4), generator=draw)
        >>> [(effect.unit, effect.share) for effect in iit.effects(aligned, data, pairs, ["0"])]
        [(None, 0.0)]
    """
    places = [place for target in targets for place in (*spare_places(aligned, [target]), SparePlace(target))]
    graph, x, answers = aligned.graph, dataset.x_test, dataset.outputs.answers
    changed = torch.zeros(len(places), dtype=torch.int64)
    for base, source in zip(pairs.base.split(BATCH), pairs.sources[:, 0].split(BATCH), strict=True):
        run, other = Run(graph, x[base], memory=MEMORY), Run(graph, x[source], memory=MEMORY)
        own = answers(run.output())
        for number, place in enumerate(places):
            site = graph.target_site(place.target).name
            value = place.swapped(aligned, run.values([site])[0], other.values([site])[0])
            swapped = answers(run.output([Intervention(place.target, value)]))
            changed[number] += int((swapped != own).reshape(len(own), -1).any(1).sum())
    return [Effect(place.target, place.unit, int(n) / len(pairs)) for place, n in zip(places, changed, strict=True)]

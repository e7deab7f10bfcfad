"""The training of a map in a network, what its swaps give, and what no map can give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.config.experiments.das import DasConfig
from mi_runner.datasets.causal_models import CausalModel
from mi_runner.errors import RunFailed
from mi_runner.experiments import Setting
from mi_runner.experiments.das.cells import NEURONS, MapCell, bypasses, mapped, n_parameters
from mi_runner.experiments.iit.trials import optimizer_by
from mi_runner.graph.interventions import Intervention, KeptSites, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.machine.compiled import clock
from mi_runner.methods.alignment import Mapped
from mi_runner.methods.interchange import (
    Aligned,
    Following,
    InterchangeTraining,
    Pairs,
    Stopping,
    counterfactual_correct,
    draw_pairs,
    train_by_interchange,
)
from mi_runner.methods.maps.limits import best_neurons, ceiling
from mi_runner.models.batches import BATCH
from mi_runner.tables.names import NONE
from mi_runner.training.evaluation import loss_function

NEURON_PAIRS = 6_400
"""Training pairs by whose loss neurons are chosen, at most."""


@dataclass(frozen=True)
class Network:
    """A network that maps are trained in.

    Attributes:
        control: its name as a control; none: the network of the run.
    """

    control: str
    model: nn.Module
    graph: ModelGraph


@dataclass(frozen=True)
class CellPairs:
    """The pairs of a set of variables, the same for all maps, sizes and sites, and for all networks.

    Attributes:
        train, stop: of training examples.
        of_controls: of training examples, for the networks of controls.
        test: of test examples.
    """

    train: Pairs
    of_controls: Pairs
    stop: Pairs
    test: Pairs

    @classmethod
    def drawn(
        cls, setting: Setting[DasConfig], causal: CausalModel, places: Sequence[Sequence[str]], unseen: Tensor
    ) -> CellPairs:
        """Draws them. Of several variables each pair swaps some, each set of them equally often.

        Args:
            unseen: `(M,)`, the test examples that pairs are made of.
        """
        config, dataset = setting.config, setting.dataset
        everything = torch.arange(len(dataset.x_train), device=unseen.device)

        def pairs(use: str, values: Tensor, n: int, among: Tensor) -> Pairs:
            draw = chance.generator(setting.seed, "pairs", use)
            return draw_pairs(causal, values, places, n, among=among, generator=draw, in_subsets=len(places) > 1)

        train, test = causal.values_train, causal.values_test
        n_controls = config.train_pairs if config.control_pairs is None else config.control_pairs
        of_train = pairs("train", train, config.train_pairs, everything)
        same = n_controls == config.train_pairs
        return cls(
            of_train,
            of_train if same else pairs("train", train, n_controls, everything),
            pairs("stop", train, config.stop_pairs, everything),
            pairs("test", test, config.test_pairs, unseen),
        )


@dataclass(frozen=True)
class Trained:
    """A map that was trained in a network.

    Attributes:
        correct: `(P,)` bool, whether each test pair gets its counterfactual label.
        answers: `(P,)`, the labels that it gets.
        history: rows.
        n_parameters: numbers of the map that are trained.
        epochs: of its training.
        inverse_error: largest deviation of a site's value from itself after the map and its inverse.
        seconds: of its training.
    """

    alignment: Mapped
    correct: Tensor
    answers: Tensor
    history: Sequence[Mapping[str, Any]]
    n_parameters: int
    epochs: int
    inverse_error: float
    seconds: float

    @property
    def iia(self) -> float:
        """The share of test pairs with their counterfactual label."""
        return int(self.correct.sum()) / len(self.correct)


class Trial:
    """The work on one cell, from one start.

    Attributes:
        number: that of the start, from 1.
    """

    def __init__(
        self, setting: Setting[DasConfig], cell: MapCell, pairs: CellPairs, number: int, kept: KeptSites
    ) -> None:
        self.setting, self.cell, self.pairs, self.number, self.kept = setting, cell, pairs, number, kept
        self.config, self.dataset = setting.config, setting.dataset

    def trained(self, network: Network) -> Trained:
        """Trains the cell's map in a network, and measures it."""
        began = clock()
        if self.cell.map.kind == NEURONS:
            alignment, history = self._chosen(network), list[dict[str, Any]]()
        else:
            alignment, history = self._trained(network)
        seconds = clock() - began
        aligned = self._aligned(network, alignment)
        correct, outputs = counterfactual_correct(aligned, self.dataset, self.pairs.test, self.kept)
        return Trained(
            alignment,
            correct,
            self.dataset.outputs.answers(outputs),
            history,
            n_parameters(alignment),
            round(history[-1]["epoch"]) if history else 0,
            self._inverse_error(network, alignment),
            seconds,
        )

    @torch.no_grad()
    def _inverse_error(self, network: Network, alignment: Mapped) -> float:
        x, site = self.dataset.x_test, network.graph.target_site(self.cell.target)
        index = torch.arange(len(x), device=x.device).split(BATCH)
        values = self.kept.of(network.graph, x, site)
        return max(alignment.inverse_error(values.rows(own)) for own in index)

    def _aligned(self, network: Network, alignment: Mapped) -> Aligned:
        return Aligned(network.model, network.graph, self.cell.target, alignment)

    def _chosen(self, network: Network) -> Mapped:
        """Returns the neurons that give the lowest loss on some of the training pairs."""
        dataset, target, pairs = self.dataset, self.cell.target, self.pairs.train
        some = slice(min(NEURON_PAIRS, len(pairs)))
        loss_of, labels = loss_function(self.setting.training, dataset), pairs.labels[some]
        site = network.graph.target_site(target)
        values = self.kept.of(network.graph, dataset.x_train, site)
        x, base = dataset.x_train[pairs.base[some]], values.rows(pairs.base[some])
        sources = [values.rows(one).flatten(1) for one in pairs.sources[some].unbind(1)]

        def loss(value: Tensor) -> Tensor:
            return loss_of(run_with(network.graph, x, [Intervention(target, value.view(base.shape))]), labels)

        with self.setting.progress.bar(self._described(network), self.cell.size) as advance:
            places = best_neurons(loss, base.flatten(1), sources, self.cell.size, chosen=lambda: advance(1))
        order = tuple(unit for place in places for unit in place)
        return mapped(self.setting, self.cell, self.number, order=order).to(x.device)

    def _trained(self, network: Network) -> tuple[Mapped, list[dict[str, Any]]]:
        config, setting, is_control = self.config, self.setting, network.control != NONE
        alignment = mapped(setting, self.cell, self.number).to(self.dataset.x_train.device)
        if not n_parameters(alignment):  # a map of one's own may be fixed
            return alignment, []
        aligned = self._aligned(network, alignment)
        epochs, rate = config.epochs, config.map_learning_rate
        if is_control:
            epochs = epochs if config.control_epochs is None else config.control_epochs
            rate = rate if config.control_learning_rate is None else config.control_learning_rate
        how = InterchangeTraining(
            what="rotation",
            epochs=epochs,
            batch_size=config.batch_size,
            rotation_learning_rate=rate,
            warmup_steps=0,
            gradient_clip=config.gradient_clip,
            optimizer=optimizer_by(setting.training),
        )
        stopping = None
        if config.stop_steps is not None:
            stopping = Stopping(self.pairs.stop, config.stop_steps, config.stop_epochs, config.stop_improvement)

        def evaluate() -> dict[str, float]:
            correct, _ = counterfactual_correct(aligned, self.dataset, self.pairs.test, self.kept)
            return {"iia": int(correct.sum()) / len(correct)}

        try:
            rows = train_by_interchange(
                aligned,
                self.dataset,
                self.pairs.of_controls if is_control else self.pairs.train,
                how,
                loss_function(setting.training, self.dataset),
                seed=setting.seed,
                stopping=stopping,
                following=Following(evaluate, self.kept, setting.progress, self._described(network)),
            )
        except FloatingPointError as error:
            option = "control" if is_control and config.control_learning_rate is not None else "map"
            raise RunFailed(f"{error} Try a smaller experiment.{option}_learning_rate.") from error
        return alignment, rows

    def _described(self, network: Network) -> str:
        """Returns what the progress bar says of a training."""
        start = f"start {self.number}/{self.config.starts}" if self.config.starts > 1 else ""
        return " ".join(word for word in (self.cell.name, start, network.control.replace(NONE, "")) if word)

    @cached_property
    def floor(self) -> float:
        """The share of test pairs whose label doesn't change."""
        return int((~self.pairs.test.changed).sum()) / len(self.pairs.test)


@torch.no_grad()
def ceiling_of(setting: Setting[DasConfig], graph: ModelGraph, cell: MapCell, pairs: Pairs, kept: KeptSites) -> float:
    """Returns the largest share of test pairs that any map at a cell's site can answer.

    Where inputs pass the site, what follows it may know the base by its input, so that is a part of what a map sees.
    """
    x = setting.dataset.x_test
    values = kept.of(graph, x, graph.target_site(cell.target)).rows(torch.arange(len(x), device=x.device))
    if not bypasses(graph, cell.target, x[:1000]):
        return ceiling(values, pairs.base, pairs.sources, pairs.labels)
    inputs = torch.cat([x.flatten(1), values.flatten(1)], 1)
    own = torch.cat([torch.zeros_like(x.flatten(1)), values.flatten(1)], 1)
    both = torch.cat([inputs, own])
    return ceiling(both, pairs.base, pairs.sources + len(x), pairs.labels)

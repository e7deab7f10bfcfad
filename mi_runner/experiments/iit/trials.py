"""The work on a cell of `experiment=iit` or `das`: its training, its controls, how they answer, its tables' rows."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.config.experiments.iit import AlignmentKind, Control, IitConfig, Sources, Trained
from mi_runner.config.options import options_of, plain
from mi_runner.datasets.causal_models import CausalModel
from mi_runner.errors import RunFailed
from mi_runner.experiments import Drawing, Setting
from mi_runner.experiments.iit import figures as iit_figures
from mi_runner.experiments.iit.cells import Cell, free_units, other_site, strict_sites
from mi_runner.experiments.iit.planted import angles
from mi_runner.experiments.iit.tables import CELL, OF_NETWORK, SINGLE_SOURCE, SUBSETS
from mi_runner.graph.interventions import KeptSites
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.graph.sites import Site
from mi_runner.methods.alignment import Mapped, Rotation, Units
from mi_runner.methods.interchange import (
    Aligned,
    Following,
    InterchangeTraining,
    MakeOptimizer,
    Opponent,
    Pairs,
    counterfactual_correct,
    draw_pairs,
    not_in,
    train_by_interchange,
)
from mi_runner.methods.interchange_options import Steps
from mi_runner.methods.strictness import SparePlaces, spare_places
from mi_runner.models.batches import outputs_of
from mi_runner.progress import log
from mi_runner.tables.declaration import names_of
from mi_runner.tables.intervals import wilson_interval
from mi_runner.tables.names import NONE
from mi_runner.training.evaluation import loss_function
from mi_runner.training.optimizers import make_optimizer
from mi_runner.training.options import TrainingOptions

RATES = {
    Trained.network: "experiment.learning_rate",
    Trained.rotation: "experiment.rotation_learning_rate",
    Trained.both: "experiment.learning_rate and experiment.rotation_learning_rate",
}
"""What to lower where a training diverges."""


@dataclass(frozen=True)
class Interchanged:
    """A network's predictions for test pairs under intervention.

    Attributes:
        correct: `(P,)` bool, whether the predicted label is the pair's counterfactual label.
        predicted: `(P,)` predicted labels.
        changed: `(P,)` bool, of the pairs.
        unswapped: `(P,)` bool, whether the network's answer on the base without a swap is the counterfactual label.
    """

    correct: Tensor
    predicted: Tensor
    changed: Tensor
    unswapped: Tensor

    def of(self, subset: str) -> Tensor:
        """Returns `correct` for the pairs of a subset."""
        return self.correct[self.of_subset(subset)]

    def of_subset(self, subset: str) -> Tensor:
        """Returns whether each pair is in a subset, `(P,)` bool."""
        if subset == "all":
            return torch.ones_like(self.changed)
        return self.changed if subset == "changed" else ~self.changed

    def iia(self, subset: str = "all") -> float:
        """Returns the share of correct predictions; NaN if the subset is empty."""
        return _share(self.of(subset))

    def iia_unswapped(self, subset: str = "all") -> float:
        """Returns the share of pairs that get their counterfactual label without a swap; NaN without pairs."""
        return _share(self.unswapped[self.of_subset(subset)])

    def floor(self, subset: str = "all") -> float:
        """Returns the share of pairs whose label doesn't change; NaN if the subset is empty."""
        return _share(~self.changed[self.of_subset(subset)])


def _share(of: Tensor) -> float:
    return int(of.sum()) / len(of) if len(of) else math.nan


def commonest(answers: Tensor) -> tuple[float, Tensor]:
    """Returns the share of the commonest of the answers `(N, ...)`, and this answer."""
    values, counts = answers.unique(dim=0, return_counts=True)
    return int(counts.max()) / len(answers), values[counts.argmax()]


@dataclass(frozen=True)
class Predictions:
    """The predictions of a network.

    Attributes:
        interchanged: for each kind of test pairs the predictions under intervention. The first kind is that of the
            training pairs.
        task: `(N,)` bool, whether the predicted label of each test example is correct without intervention.
        commonest: the share of the test examples that have the network's commonest predicted label.
    """

    interchanged: Mapping[Sources, Interchanged]
    task: Tensor
    commonest: float

    @property
    def as_trained(self) -> Interchanged:
        """The predictions for pairs of the kind that the training has."""
        return next(iter(self.interchanged.values()))

    def summary(self) -> dict[str, float]:
        """Returns figure → value, in the order of `summary_names`."""
        values = [*(self.as_trained.iia(subset) for subset in SUBSETS), float(self.task.double().mean())]
        figures = dict(zip(names_of(OF_NETWORK), values, strict=True))
        if len(self.interchanged) > 1:
            single = self.interchanged[Sources.single]
            figures |= zip(names_of(SINGLE_SOURCE), (single.iia(), single.iia("changed")), strict=True)
        return figures


def summary_names(config: IitConfig) -> tuple[str, ...]:
    """Returns the figures of a network in the summary."""
    return names_of((*OF_NETWORK, *(SINGLE_SOURCE if config.sources is Sources.multi else ())))


@dataclass(frozen=True)
class Known:
    """What doesn't change while rotations are trained in a frozen network; it is computed once for all cells.

    Attributes:
        sites: values of sites.
        outputs: network → its outputs on the test examples, without intervention.
    """

    sites: KeptSites
    outputs: dict[nn.Module, Tensor] = field(default_factory=dict)


class Trial:
    """The work on one cell, from one start.

    Attributes:
        number: that of the start, from 1. Starts differ in what is drawn at random for the rotation and the controls;
            the pairs and their order are the same.
        history: rows of all trainings so far.
        opponent: makes the opponent of a training; None: the training has none.
        pairs: of test examples, for each kind of sources that the network is measured with. The first kind is that of
            the training pairs.
    """

    def __init__(
        self,
        setting: Setting[IitConfig],
        graph: ModelGraph,
        cell: Cell,
        causal_model: CausalModel,
        unseen: Tensor,
        number: int = 1,
        known: Known | None = None,
    ) -> None:
        self.setting, self.graph, self.cell, self.causal_model = setting, graph, cell, causal_model
        self.known = known or Known(KeptSites(memory=self.setting.config.memory * 1e6))
        self.number, self.columns = number, {**cell.columns, "start": number}
        self.config, self.dataset = setting.config, setting.dataset
        self.history: list[dict[str, Any]] = []
        self.opponent: Callable[[Aligned], Opponent] | None = None
        everything = torch.arange(len(self.dataset.x_train), device=unseen.device)
        n_train, n_test, kind = self.config.train_pairs, self.config.test_pairs, self.config.sources
        self.training_pairs = self._pairs("train", causal_model.values_train, n_train, everything, kind)
        # What is trained with several sources is also measured with one, as published.
        self.pairs = {
            measured: self._pairs("test", causal_model.values_test, n_test, unseen, measured)
            for measured in dict.fromkeys((kind, Sources.single))
        }

    @property
    def frozen(self) -> bool:
        """Whether no network's weights are trained."""
        return self.config.train is Trained.rotation

    def _pairs(self, split: str, values: Tensor, n: int, among: Tensor, kind: Sources) -> Pairs:
        draw = chance.generator(self.setting.seed, "pairs", split)
        single = kind is Sources.single
        return draw_pairs(
            self.causal_model, values, self.cell.places, n, among=among, generator=draw, single_source=single
        )

    def start(self) -> Aligned:
        """Returns the ordinarily trained network, with the places that the training begins with."""
        return aligned_at_start(self.setting, self.setting.model, self.graph, self.cell, self.number)

    def train(self, control: str, start: Aligned, pairs: Pairs | None = None, *, unopposed: bool = False) -> Aligned:
        """Trains a copy of `start` and returns it; its history is kept under the control's name."""
        setting, dataset = self.setting, self.dataset
        if self.frozen:
            trained = replace(start, alignment=copy.deepcopy(start.alignment))
        else:
            trained = start.copied(dataset.x_test[:2], setting.leaves)

        def evaluate() -> dict[str, float]:
            error = _orthonormality_error(trained.alignment)
            return {**self.measured(trained).summary(), **({} if error is None else {"orthonormality_error": error})}

        try:
            rows = train_by_interchange(
                trained,
                dataset,
                self.training_pairs if pairs is None else pairs,
                how_to_train(setting),
                loss_function(setting.training, dataset),
                seed=setting.seed,
                opponent=None if unopposed or self.opponent is None else self.opponent(trained),
                strict=self._strict(trained),
                following=Following(evaluate, self.known.sites, setting.progress, self._described(control)),
            )
        except FloatingPointError as error:
            raise RunFailed(f"{error} Try a smaller {RATES[self.config.train]}.") from error
        columns = dict.fromkeys(key for row in rows for key in row)
        self.history += [
            {**self.columns, "control": control, **{column: row.get(column) for column in columns}} for row in rows
        ]
        return trained

    def _strict(self, trained: Aligned) -> SparePlaces | None:
        """Returns the places of a network that should carry nothing; None where the training isn't strict."""
        if not self.config.strictness:
            return None
        targets = dict.fromkeys([trained.target, *strict_sites(self.config, trained.graph)])
        return SparePlaces(trained, spare_places(trained, list(targets)), seed=self.setting.seed)

    def _described(self, control: str) -> str:
        """Returns what the progress bar says of a training."""
        start = f"start {self.number}/{self.config.starts}" if self.config.starts > 1 else ""
        return " ".join(word for word in (self.cell.name, start, control if control != NONE else "") if word)

    def control(self, control: Control, after: Aligned) -> Aligned:
        """Returns the network and alignment of a control."""
        setting, cell = self.setting, self.cell
        draw = chance.generator(setting.seed, "control", control.name, cell.name, *use_of_start(self.number))
        if control is Control.shuffled_labels:
            order = torch.randperm(len(self.training_pairs), generator=draw).to(self.training_pairs.labels.device)
            shuffled = replace(self.training_pairs, labels=self.training_pairs.labels[order])
            return self.train(control.name, self.start(), shuffled)
        if control is Control.untrained:
            model = setting.networks[control.name].model
            untrained = aligned_at_start(setting, model, setting.graph(model), cell, self.number)
            return self.train(control.name, untrained) if self.frozen else untrained
        graph = after.graph
        if control is Control.other_site:
            target = other_site(graph, cell)
            assert target is not None, "such a control is not measured"
            units = torch.arange(cell.size).split(list(cell.sizes))
            alignment = alignment_at(graph.target_site(target), cell, units, draw)
            return Aligned(after.model, graph, target, alignment.to(self.dataset.x_test.device))
        if control is Control.random_rotation:
            alignment = Rotation(cell.site.shape, len(cell.sizes), cell.sizes, generator=draw)
        else:
            free = free_units(cell)
            chosen = free[torch.randperm(len(free), generator=draw)[: cell.size]]
            alignment = Units(cell.site.shape, chosen.split(list(cell.sizes)))
        return Aligned(after.model, graph, cell.target, alignment.to(self.dataset.x_test.device))

    def measured(self, aligned: Aligned, of_kinds: Mapping[Sources, Pairs] | None = None) -> Predictions:
        """Returns the predictions of a network for the test pairs, or for other pairs, and the test examples."""
        dataset, outputs = self.dataset, self._outputs(aligned.model)
        answers, correct = dataset.outputs.answers, dataset.outputs.correct
        interchanged = {}
        for kind, pairs in (of_kinds or self.pairs).items():
            kept = self.known.sites if self.frozen else None
            right, swapped = counterfactual_correct(aligned, dataset, pairs, kept)
            unswapped = correct(outputs[pairs.base], pairs.labels)
            interchanged[kind] = Interchanged(right, answers(swapped), pairs.changed, unswapped)
        most, _ = commonest(answers(outputs))
        return Predictions(interchanged, correct(outputs, dataset.y_test), most)

    def _outputs(self, model: nn.Module) -> Tensor:
        """Returns a network's outputs `(N, K)` on the test examples, without intervention."""
        if model in self.known.outputs:
            return self.known.outputs[model]
        outputs = outputs_of(model, self.dataset.x_test)
        if self.frozen:
            self.known.outputs[model] = outputs
        return outputs

    def rows(self, phase: str, control: str, network: Aligned, outcome: Predictions) -> list[dict[str, Any]]:
        """Returns a network's rows in metrics.csv, with the site and alignment that were swapped, also of a control."""
        alignment = AlignmentKind.units if isinstance(network.alignment, Units) else AlignmentKind.rotation
        task = int(outcome.task.sum())
        task_low, task_high = wilson_interval(task, len(outcome.task))
        truth = self.setting.truth
        of_truth = {} if truth is None else angles(truth, network, self.cell.places)
        rows = []
        for (kind, interchanged), subset in itertools.product(outcome.interchanged.items(), SUBSETS):
            right = interchanged.of(subset)
            low, high = wilson_interval(int(right.sum()), len(right))
            rows.append(
                {
                    "phase": phase,
                    "control": control,
                    **dict(zip(names_of(CELL), self.cell.columns.values(), strict=True)),
                    "start": self.number,
                    "site": network.target,
                    "alignment": alignment.name,
                    "size": max(self.cell.sizes),
                    "sources": kind.name,
                    "subset": subset,
                    "iia": interchanged.iia(subset),
                    "iia_low": low,
                    "iia_high": high,
                    "floor": interchanged.floor(subset),
                    "iia_unswapped": interchanged.iia_unswapped(subset),
                    "task_accuracy": task / len(outcome.task),
                    "task_low": task_low,
                    "task_high": task_high,
                    "commonest": outcome.commonest,
                    "n_pairs": len(right),
                    **of_truth,
                }
            )
        return rows

    def pair_rows(self, before: Predictions, after: Predictions) -> list[dict[str, Any]]:
        """Returns a row for each test pair: its examples (indices into the test set), labels and predicted labels."""
        y, rows = self.dataset.y_test, []
        for kind, pairs in self.pairs.items():
            columns = {
                "base": pairs.base,
                **{f"source_{'+'.join(place)}": pairs.sources[:, n] for n, place in enumerate(self.cell.places)},
                "base_label": y[pairs.base],
                "counterfactual_label": pairs.labels,
                "answer_before": before.interchanged[kind].predicted,
                "answer_after": after.interchanged[kind].predicted,
            }
            lists = [column.tolist() for column in columns.values()]
            rows += [
                {**self.columns, "sources": kind.name, "pair": pair, **dict(zip(columns, row, strict=True))}
                for pair, row in enumerate(zip(*lists, strict=True))
            ]
        return rows

    def examples(self, outcome: Predictions) -> dict[str, Drawing]:
        """Returns the picture of some test pairs: base, sources, and the test example nearest to the counterfactual.

        Nothing where there are no images.
        """
        if self.dataset.image_shape is None:
            return {}
        values, pairs = self.causal_model.values_test, self.pairs[self.config.sources]
        spread = (values.amax(0) - values.amin(0)).clamp(min=1e-12)
        wanted = values[pairs.base].clone()
        for place, variables in enumerate(self.cell.places):
            for variable in variables:
                columns = self.causal_model.columns(variable)
                wanted[:, columns] = values[pairs.sources[:, place]][:, columns]
        some = slice(iit_figures.MOST_EXAMPLES)
        nearest = torch.cdist(wanted[some] / spread, values / spread).argmin(1)
        of_pairs = (pairs.base[some], pairs.sources[some], nearest, pairs.labels[some])
        predicted = outcome.as_trained.predicted[some]
        return {"examples": partial(iit_figures.examples, self.dataset, self.cell.places, *of_pairs, predicted)}


def alignment_at(
    site: Site, cell: Cell, units: Sequence[Tensor], generator: torch.Generator, steps: Steps = "retraction"
) -> Units | Rotation:
    """Returns random directions of a site, as many as a cell's places have, or these units of each place."""
    if cell.alignment is AlignmentKind.rotation:
        return Rotation(site.shape, len(cell.sizes), cell.sizes, generator=generator, steps=steps)
    return Units(site.shape, units)


def use_of_start(number: int) -> tuple[str, ...]:
    """Returns what a start's draws are named after; the first has the draws of a run with one start."""
    return (f"start {number}",) if number > 1 else ()


def alignment_of(setting: Setting[IitConfig], cell: Cell, start: int = 1) -> Units | Rotation:
    """Returns the places that the training begins with: the units that the options name, or random directions."""
    draw = chance.generator(setting.seed, "rotation", cell.target, *use_of_start(start))
    steps = plain(setting.config.rotation_steps)
    return alignment_at(cell.site, cell, cell.units, draw, steps).to(setting.dataset.x_train.device)


def aligned_at_start(
    setting: Setting[IitConfig], model: nn.Module, graph: ModelGraph, cell: Cell, start: int = 1
) -> Aligned:
    """Returns a network with the places that the training begins with."""
    return Aligned(model, graph, cell.target, alignment_of(setting, cell, start))


def _orthonormality_error(alignment: Units | Mapped) -> float | None:
    """Returns the largest entry of |R Rᵀ − 1|."""
    if not isinstance(alignment, Rotation):
        return None
    rows = alignment.weight.detach().double()
    return float((rows @ rows.T - torch.eye(len(rows), dtype=rows.dtype, device=rows.device)).abs().max())


def unseen_examples(setting: Setting[IitConfig]) -> Tensor:
    """Returns the test examples that are no training examples, of which pairs are made.

    All of them where there are not two such, as with modular addition, whose inputs are few.
    """
    dataset = setting.dataset
    unseen = not_in(dataset.x_test, dataset.x_train)
    n_known = len(dataset.x_test) - len(unseen)
    if len(unseen) < 2:
        log.info(f"{n_known:,} of {len(dataset.x_test):,} test examples equal a training example: pairs have them too")
        return torch.arange(len(dataset.x_test), device=dataset.x_test.device)
    if n_known:
        log.info(f"{n_known:,} of {len(dataset.x_test):,} test examples equal a training example: no pair has them")
    return unseen


def how_to_train(setting: Setting[IitConfig]) -> InterchangeTraining:
    """Returns the options of the training; the optimizer's rule is that of the ordinary training."""
    config = setting.config
    return replace(
        options_of(InterchangeTraining, config),
        what=config.train.value,
        cutoff=config.adversary_cutoff if config.adversary else None,
        optimizer=optimizer_by(setting.training),
    )


def optimizer_by(training: TrainingOptions) -> MakeOptimizer:
    """Returns what makes an optimizer with the rule of the ordinary training, and a step size of its own."""
    return lambda parameters, rate: make_optimizer(parameters, replace(training, learning_rate=rate))

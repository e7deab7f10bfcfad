"""Directions of a frozen network: with a site's values kept, without; one by one, or seven sets in one computation.

The published setting on ellipses: batches of 512 pairs, four directions, each of the seven sets of variables. The other
side of the second comparison swaps each set's directions, runs the layers behind the site once on the values of all
sets together, and adds up the losses, so that each rotation has the gradient that it has alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from benchmarks.timing import compare
from mi_runner.config import composition
from mi_runner.config.experiments.das import DasConfig
from mi_runner.experiments import Setting
from mi_runner.experiments.iit import cells as iit_cells
from mi_runner.experiments.iit import trials as iit_trials
from mi_runner.experiments.iit.cells import Cell
from mi_runner.graph.interventions import Intervention, KeptSites, run_with
from mi_runner.machine import memory
from mi_runner.methods.alignment import Rotation
from mi_runner.methods.interchange import Aligned, Following, draw_pairs, train_by_interchange, without_gradients
from mi_runner.runs.choices import build_network, load_dataset, training_options
from mi_runner.training.epochs import shuffled_batches
from mi_runner.training.evaluation import loss_function

SEED = 42
PAIRS = 512
"""One step in each of three epochs."""


class Site:
    """A site with its seven sets of variables: their pairs, and the first directions of each."""

    def __init__(self, setting: Setting[DasConfig], cells: Sequence[Cell]) -> None:
        self.setting, self.cells, self.dataset = setting, cells, setting.dataset
        self.graph, causal_model = setting.graph(), setting.dataset.causal_model
        assert causal_model is not None
        self.name = cells[0].target
        among = torch.arange(len(self.dataset.x_train))
        self.pairs = [
            draw_pairs(
                causal_model, causal_model.values_train, cell.places, PAIRS, among=among, generator=draw()
            )
            for cell in cells
        ]  # fmt: skip
        self.loss_of, self.how = loss_function(setting.training, self.dataset), iit_trials.how_to_train(setting)

    def starts(self) -> list[Aligned]:
        """The network with the first directions of each set."""
        return [iit_trials.aligned_at_start(self.setting, self.setting.model, self.graph, cell) for cell in self.cells]

    def one_by_one(self, kept: KeptSites, n_sets: int) -> None:
        """Trains the directions of each of so many sets."""
        for start, pairs in zip(self.starts()[:n_sets], self.pairs, strict=False):
            train_by_interchange(
                start, self.dataset, pairs, self.how, self.loss_of, seed=SEED, following=Following(kept=kept)
            )

    def stacked(self, kept: KeptSites) -> None:
        """Trains the directions of all sets in one computation."""
        starts, x = self.starts(), self.dataset.x_train
        values = kept.of(self.graph, x, self.graph.site(self.name))
        rotations = [start.alignment for start in starts if isinstance(start.alignment, Rotation)]
        parameters = [parameter for rotation in rotations for parameter in rotation.parameters()]
        optimizer = self.how.optimizer(parameters, self.how.rotation_learning_rate)
        order = draw()
        with without_gradients(self.setting.model.parameters()):
            for _ in range(self.how.epochs):
                for index in shuffled_batches(PAIRS, self.how.batch_size, generator=order, device=x.device):
                    bases = [pairs.base[index] for pairs in self.pairs]
                    swapped = [
                        rotation(values.rows(base), [values.rows(pairs.sources[index, 0])])
                        for rotation, base, pairs in zip(rotations, bases, self.pairs, strict=True)
                    ]
                    interventions = [Intervention(self.name, torch.cat(swapped))]
                    outputs = run_with(self.graph, x[torch.cat(bases)], interventions).split(len(index))
                    labels = [pairs.labels[index] for pairs in self.pairs]
                    loss = sum(map(self.loss_of, outputs, labels), start=torch.zeros(()))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    for rotation in rotations:
                        rotation.retract()


def draw() -> torch.Generator:
    """A generator of the same numbers each time."""
    return torch.Generator().manual_seed(SEED)


def run() -> None:
    """Print the ratios of each site."""
    memory.keep_freed()  # as in every run
    config = composition.compose(["experiment=das", f"seed={SEED}"])
    dataset = load_dataset(config.dataset, seed=SEED)
    built = build_network(config.model, dataset, seed=SEED)
    model = built.model.eval()
    setting = Setting(config.experiment, training_options(config.training), model, built.dataset, SEED)
    assert dataset.causal_model is not None
    cells = iit_cells.cells(setting, setting.graph(), dataset.causal_model)
    for name in dict.fromkeys(cell.target for cell in cells):
        site = Site(setting, [cell for cell in cells if cell.target == name])
        kept, none = KeptSites(), KeptSites(memory=0)
        compare(
            f"das, {name}: kept values against those computed in each step",
            partial(site.one_by_one, kept, 1),
            partial(site.one_by_one, none, 1),
            wanted="more than 1",
            rounds=3,
        )
        compare(
            f"das, {name}: seven sets one by one against stacked",
            partial(site.one_by_one, kept, len(site.cells)),
            partial(site.stacked, kept),
            wanted="more than 0.83 where a step takes long: not at fc1",
            rounds=3,
        )

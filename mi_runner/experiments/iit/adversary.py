"""The part of `experiment=iit` with an adversary: its trainings, the fresh rotations that judge them, and their rows.

Each network is judged by rotations that are trained from scratch in it as it is: the ordinary network, the one that was
trained against the adversary, and, as a control, one that was trained the same way without it. All fresh rotations of
a set of variables begin with the same random directions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mi_runner import chance
from mi_runner.config.experiments.iit import IitConfig, Sources
from mi_runner.config.options import options_of
from mi_runner.errors import RunFailed
from mi_runner.experiments.common.sentences import figure, several
from mi_runner.experiments.iit.figures import FRESH, NO_ADVERSARY, OWN
from mi_runner.experiments.iit.tables import CELL, OF_CONTEST
from mi_runner.experiments.iit.trials import Trial, commonest, use_of_start
from mi_runner.graph.interventions import KeptSites
from mi_runner.methods.adversary import Adversaries, AdversaryTraining, fresh_rotation
from mi_runner.methods.interchange import Aligned, Following, Opponent, Pairs, relabelled
from mi_runner.methods.interchange_options import RotationTraining
from mi_runner.models.batches import outputs_of
from mi_runner.progress import log
from mi_runner.tables.declaration import names_of
from mi_runner.tables.names import NONE
from mi_runner.training.evaluation import loss_function

Row = dict[str, Any]

COLLAPSED = 0.95
"""A network has collapsed if it gives one answer to so many of the test examples, and did not before."""

SUMMARY = names_of(OF_CONTEST)
OF_CONTROL = ("iia", "task_accuracy", "iia_fresh", "adversary_iia_fresh")
"""What the summary has of a network, and of the control besides."""


@dataclass(frozen=True)
class Judged:
    """A network's rows of metrics, and its figures in the summary."""

    rows: list[Row]
    summary: dict[str, float]


def summary_names(config: IitConfig, cells: Sequence[str]) -> list[str]:
    """Returns the names in the summary besides those without an adversary.

    Args:
        cells: their names, the first one first.
    """
    of_first = [f"{figure}{phase}" for phase in ("", "_before") for figure in SUMMARY]
    control = [f"{figure}/{NO_ADVERSARY}" for figure in OF_CONTROL if config.adversary_control]
    return [*of_first, "adversary_floor", *control, *(f"{figure}/{cell}" for cell in cells for figure in SUMMARY)]


class Contest:
    """A trial's training against an adversary, and its verdict.

    Attributes:
        training_pairs: those of the trial, with the labels of the adversary's variables.
        pairs: the same of the test pairs with one source.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial, config, model = trial, trial.config, trial.causal_model
        self.variables = tuple(config.adversary or ())
        self.training_pairs = relabelled(trial.training_pairs, model, model.values_train, self.variables)
        self.pairs = relabelled(trial.pairs[Sources.single], model, model.values_test, self.variables)
        self.loss_of = loss_function(trial.setting.training, trial.dataset)
        self._adversaries: dict[nn.Module, Adversaries] = {}  # of each network

    def opponent(self, trained: Aligned) -> Opponent:
        """Returns the adversaries of a training of this network."""
        config, labels = self.trial.config, self.training_pairs.labels
        how = options_of(AdversaryTraining, config, "adversary_")
        seed = chance.derived_seed(self.trial.setting.seed, "adversary", *use_of_start(self.trial.number))
        self._adversaries[trained.model] = made = Adversaries(trained, labels, how, self.loss_of, seed=seed)
        return made

    @property
    def sources(self) -> dict[str, str]:
        """Swapped variables → the kind of pairs that the training has for them."""
        kind = self.trial.config.sources.name
        return {"+".join(self.trial.cell.variables): kind, "+".join(self.variables): Sources.single.name}

    def judged(self, after: Aligned) -> dict[tuple[str, str], Judged]:
        """Returns the verdict on the ordinary network, the trained one, and the control, by phase and control."""
        trial = self.trial
        networks = {("before", NONE): trial.start(), ("after", NONE): after}
        self._say_if_collapsed(after.model)
        if trial.config.adversary_control:
            networks["control", NO_ADVERSARY] = trial.train(NO_ADVERSARY, trial.start(), unopposed=True)
        for row in trial.history:
            row.setdefault("adversary_loss", None)  # also where a training has none
        return {name: self._judged(*name, network) for name, network in networks.items()}

    def rows(
        self,
        of_networks: Mapping[tuple[str, str], Sequence[Row]],
        verdict: Mapping[tuple[str, str], Judged],
    ) -> list[Row]:
        """Returns the rows of metrics: each network's, with more columns than without an adversary, then the verdict.

        Args:
            of_networks: phase and control → rows without an adversary.
        """
        rows = []
        for name in dict.fromkeys([*list(of_networks)[:2], *verdict, *of_networks]):
            if name in of_networks:
                rows += with_columns(of_networks[name], self.trial.cell.variables, OWN)
            rows += verdict[name].rows if name in verdict else []
        return rows

    def summary(self, verdict: Mapping[tuple[str, str], Judged], *, first: bool) -> dict[str, float]:
        """Returns the cell's numbers in the summary; those of the first cell also under plain names."""
        after, before = verdict["after", NONE].summary, verdict["before", NONE].summary
        found = {f"{figure}/{self.trial.cell.name}": after[figure] for figure in SUMMARY}
        if first:
            found |= {f"{figure}_before": before[figure] for figure in SUMMARY}
            found |= {figure: after[figure] for figure in (*SUMMARY, "adversary_floor")}
            if ("control", NO_ADVERSARY) in verdict:
                control = verdict["control", NO_ADVERSARY].summary
                found |= {f"{figure}/{NO_ADVERSARY}": control[figure] for figure in OF_CONTROL}
        return found

    def _judged(self, phase: str, control: str, network: Aligned) -> Judged:
        trial, cell, config = self.trial, self.trial.cell, self.trial.config
        kept = KeptSites(memory=config.memory * 1e6)
        chosen = {FRESH: self._fresh(network, trial.training_pairs, cell.sizes, kept, "chosen")}
        adversary = {FRESH: self._fresh(network, self.training_pairs, [config.adversary_rank], kept, "adversary")}
        if control == NO_ADVERSARY:
            chosen = {OWN: network, **chosen}  # of the others the experiment has these rows
        else:
            if network.model not in self._adversaries:
                self.opponent(network)  # as the training begins
            adversary = {OWN: self._adversaries[network.model].strongest, **adversary}
        rows: list[Row] = []
        summary = {}
        for rotation, aligned in chosen.items():
            outcome = trial.measured(aligned)
            own = trial.rows(phase, control, aligned, outcome)
            rows += with_columns(own, cell.variables, rotation)
            summary["iia_fresh" if rotation == FRESH else "iia"] = outcome.as_trained.iia()
        of_kinds = {Sources.single: self.pairs}
        for rotation, aligned in adversary.items():
            outcome = trial.measured(aligned, of_kinds)
            own = [{**row, "size": config.adversary_rank} for row in trial.rows(phase, control, aligned, outcome)]
            rows += with_columns(own, self.variables, rotation)
            summary["adversary_iia_fresh" if rotation == FRESH else "adversary_iia"] = outcome.as_trained.iia()
        whole = next(row for row in reversed(rows) if row["subset"] == "all")
        of_network = {name: whole[name] for name in ("commonest", "task_accuracy")}
        of_adversary = {f"adversary_{name}": whole[name] for name in ("iia_unswapped", "floor")}
        return Judged(rows, {**summary, **of_network, **of_adversary})

    def _fresh(self, network: Aligned, pairs: Pairs, sizes: Sequence[int], kept: KeptSites, of: str) -> Aligned:
        trial, config = self.trial, self.trial.config
        use = ("fresh rotation", of, trial.cell.name, *use_of_start(trial.number))
        how = RotationTraining(
            sizes, config.adversary_fresh_epochs, config.batch_size, config.adversary_fresh_learning_rate
        )
        described = f"{trial.cell.name} fresh rotation"
        try:
            return fresh_rotation(
                network,
                trial.dataset,
                pairs,
                self.loss_of,
                how,
                generator=chance.generator(trial.setting.seed, *use),
                seed=trial.setting.seed,
                following=Following(kept=kept, progress=trial.setting.progress, described=described),
            )
        except FloatingPointError as error:
            raise RunFailed(
                f"{error} Try a smaller experiment.learning_rate, or experiment.adversary_bound."
            ) from error

    def _say_if_collapsed(self, model: nn.Module) -> None:
        before, _ = commonest(self._answers(self.trial.setting.model))
        share, answer = commonest(self._answers(model))
        if share >= COLLAPSED > before:
            log.warning(
                f"{self.trial.cell.name}: after the training against the adversary the network answers {share:.0%} of "
                f"the test examples with {_shown(answer)}: it collapsed. Type {self._against_collapse()}."
            )

    def _against_collapse(self) -> str:
        """Returns what keeps a network from collapse: the task's loss, or a bound little above an undecided one's."""
        config, dataset = self.trial.config, self.trial.dataset
        weight = f"experiment.task_weight={max(1.0, 2 * (config.task_weight or 0.0)):g}"
        if config.adversary_bound is not None or not dataset.has_classes:
            return weight
        undecided = math.log(max(2, len(dataset.class_names or ())))
        return f"{weight} or experiment.adversary_bound={1.5 * undecided:.2g}"

    def _answers(self, model: nn.Module) -> Tensor:
        """Returns the predicted label of each test example, without a swap."""
        dataset = self.trial.dataset
        return dataset.outputs.answers(outputs_of(model, dataset.x_test))


def with_columns(rows: Sequence[Row], swapped: Sequence[str], rotation: str) -> list[Row]:
    """Returns rows of metrics of a network with the columns that a contest adds."""
    named = {"swapped": "+".join(swapped), "rotation": rotation}
    return [{**{name: row[name] for name in ("phase", "control", "variables")}, **named, **row} for row in rows]


def answer(rows: Sequence[Row], adversary: Sequence[str]) -> str:
    """Returns what fresh rotations say, before and after, at the first site with the first set of chosen variables.

    Args:
        rows: of the table overview.
        adversary: its variables.
    """
    name = "+".join(adversary)
    fresh = [row for row in rows if row["rotation"] == FRESH and row["swapped"] == name]
    cell = [row for row in fresh if all(row[key] == fresh[0][key] for key in names_of(CELL))]
    before, after = ([row for row in cell if row["phase"] == phase] for phase in ("before", "after"))
    accuracy = [several(of, "iia", "starts") for of in (after, before)]
    task, task_before = several(after, "task_accuracy", "starts"), figure(before[0]["task_accuracy"])
    return (
        f" After the training against an adversary at {after[0]['trained_site']}, the accuracy of a fresh rotation for "
        f"{name} is {accuracy[0]}; before it is {accuracy[1]}. The label doesn't change on {figure(after[0]['floor'])} "
        f"of these pairs. The task accuracy is {task}; before it is {task_before}."
    )


def _shown(answer: Tensor) -> str:
    return ", ".join(f"{value:g}" for value in answer.flatten().tolist())

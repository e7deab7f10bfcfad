"""Can a network, or a rotation of a site, be trained to carry chosen variables at a chosen site? (IIT, DAS)

An ordinarily trained network is trained on by interchange interventions: what it has at a site is partly replaced by
what it has there on a source example, and its answer should become the counterfactual label, that of the data set's
causal model with the chosen variables taken from the source. The share of pairs on which it does is the interchange
intervention accuracy, IIA, reported before and after, and beside controls.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mi_runner.config.experiments.iit import AlignmentKind, Control, IitConfig, Sources, Trained
from mi_runner.errors import ArgumentError, ConfigError, as_options, one_line
from mi_runner.experiments import Drawing, Experiment, Result, Setting
from mi_runner.experiments.common.circuit_columns import PLANTED
from mi_runner.experiments.common.tables import of_training
from mi_runner.experiments.iit import adversary, answers, figures, strict
from mi_runner.experiments.iit.cells import (
    Cell,
    asked_controls,
    causal_model_of,
    cells,
    check_adversary,
    check_options,
    check_strictness,
    controls_of,
    controls_without_room,
)
from mi_runner.experiments.iit.planted import described
from mi_runner.experiments.iit.tables import (
    ADVERSARY,
    AGAINST,
    ALONE,
    CONTESTED,
    DECLARED,
    DIRECTIONS,
    EFFECTS,
    MULTI,
    ORDINARY_TRAINING,
    PAIRS,
    ROTATION,
    STRICT,
    TRAINED,
    overview_rows,
)
from mi_runner.experiments.iit.trials import (
    RATES,
    Known,
    Predictions,
    Trial,
    aligned_at_start,
    how_to_train,
    summary_names,
    unseen_examples,
)
from mi_runner.graph.gradients import check_gradients
from mi_runner.graph.interventions import KeptSites
from mi_runner.graph.model_graph import ModelGraph, evaluating
from mi_runner.methods.alignment import Rotation
from mi_runner.methods.interchange import Aligned, trained_parameters
from mi_runner.models.batches import outputs_of
from mi_runner.progress import log
from mi_runner.tables.declaration import Declarations, Table
from mi_runner.tables.names import NONE
from mi_runner.training.epochs import merges_last
from mi_runner.training.evaluation import loss_function
from mi_runner.training.options import TrainingOptions

if TYPE_CHECKING:
    from pandas import DataFrame

REHEARSED = 3
"""Examples on which a step of the training is tried before anything is trained."""

COMPARED = 8
"""Examples on which the graph's gradients are compared with the network's."""


def check(setting: Setting[IitConfig]) -> None:
    """Checks that the causal model has the variables and the network the sites, and that the sites have room for them.

    Raises:
        ConfigError: it hasn't, or options contradict each other; the text says what to type.
    """
    config, graph = setting.config, setting.graph()
    causal_model = causal_model_of(setting)
    check_options(config)
    with as_options(model=["leaves"]):
        check_gradients(graph, setting.dataset.x_train[:COMPARED], setting.leaves)
    for cell in cells(setting, graph, causal_model):
        check_adversary(config, cell, causal_model)
        _rehearse(setting, graph, cell)


def _rehearse(setting: Setting[IitConfig], graph: ModelGraph, cell: Cell) -> None:
    """Runs a step of the training on a few examples, without its update, so that mistakes show before training.

    Raises:
        ConfigError: it fails, or what is to be trained has no influence on the output.
    """
    config, dataset = setting.config, setting.dataset
    x, y = dataset.x_train[:REHEARSED], dataset.y_train[:REHEARSED]
    aligned = aligned_at_start(setting, setting.model, graph, cell)
    check_strictness(config, aligned)
    base = torch.arange(len(x), device=x.device)
    sources = base.flip(0)[:, None].expand(-1, len(cell.places))
    network, rotation = trained_parameters(aligned, how_to_train(setting).what)
    trained = [*network, *rotation]
    if network and config.epochs:
        with as_options(experiment=["batch_size"]):
            merges_last(setting.model, dataset.x_train, config.train_pairs, config.batch_size)
    with as_options(training=["loss", "label_smoothing"]):
        loss_of = loss_function(setting.training, dataset)
    with evaluating(setting.model), torch.random.fork_rng(), torch.enable_grad():
        try:
            outputs = aligned.outputs_on(x, base, sources)
            loss = loss_of(outputs, y)
        except ArgumentError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{cell.target} can't be swapped: {one_line(error)}. Name another experiment.site."
            ) from error
    gradients = (
        torch.autograd.grad(loss, trained, allow_unused=True)
        if loss.requires_grad and trained
        else [None] * len(trained)
    )
    of_network, of_rotation = gradients[: len(network)], gradients[len(network) :]
    if config.epochs and all(gradient is None for gradient in of_network or of_rotation):
        raise ConfigError(
            f"experiment.train={config.train.name} has nothing to train: no weight of it bears on the output by way of "
            f"{cell.target}. Name another experiment.site or experiment.train."
        )
    if config.epochs and rotation and all(gradient is None for gradient in of_rotation):
        raise ConfigError(
            f"experiment.train={config.train.name}: no gradient flows from the output to {cell.target} (torch.no_grad, "
            "detach or the like are between), so no rotation is trained there. Name another experiment.site, or type "
            "experiment.train=network."
        )


def metric_names(setting: Setting[IitConfig]) -> list[str]:
    """Returns the summary's names: the first cell's figures, those before, its controls; and those of every cell.

    Each is the mean over starts.
    """
    graph, names = setting.graph(), summary_names(setting.config)
    all_cells = cells(setting, graph, causal_model_of(setting))
    controls = [f"iia/{control.name}" for control in controls_of(asked_controls(setting), graph, all_cells[0])]
    of_cells = [f"{figure}/{cell.name}" for cell in all_cells for figure in names]
    of_adversary = adversary.summary_names(setting.config, [cell.name for cell in all_cells])
    return [
        *names, *(f"{figure}_before" for figure in names), *controls, *of_cells,
        *(of_adversary if setting.config.adversary else []),
        *(strict.summary_names(cell.name for cell in all_cells) if setting.config.strictness else []),
    ]  # fmt: skip


def networks(setting: Setting[IitConfig]) -> dict[str, TrainingOptions]:
    """Returns the network before its training, if that control is asked for."""
    if Control.untrained not in asked_controls(setting):
        return {}
    return {Control.untrained.name: replace(setting.training, epochs=0)}


def run(setting: Setting[IitConfig]) -> Result:
    """Returns IIA and task accuracy before and after the training, and of the controls, for each cell."""
    config, causal_model, graph = setting.config, causal_model_of(setting), setting.graph()
    all_cells = cells(setting, graph, causal_model)
    unseen, known = unseen_examples(setting), Known(KeptSites(memory=config.memory * 1e6))
    _warn_of_a_network_that_learned_nothing(setting)
    if setting.truth is not None:
        log.info(f"variables of the formula: {described(setting.truth.formula)}")
    collected = _Collected()
    for cell, start in itertools.product(all_cells, range(1, config.starts + 1)):
        trial = Trial(setting, graph, cell, causal_model, unseen, start, known)
        ended = _ended(trial, is_first=cell == all_cells[0])
        setting.progress.rows("metrics", ended.rows)
        collected.add(ended)
        if cell == all_cells[0] and start == 1:
            collected.figures |= _drawn(ended)
    if len(all_cells) > 1:
        shown = ("after", config.sources.name)
        of_cells = [row for row in collected.plain if (row["phase"], row["sources"]) == shown]
        collected.figures["iia"] = partial(figures.heat_map, of_cells)
    overview = overview_rows(collected.rows["metrics"], CONTESTED if config.adversary else ())
    answer = answers.answer(overview_rows(collected.plain), collected.correct, config.sources.name)
    if config.adversary:
        answer += adversary.answer(overview, config.adversary)
    if config.strictness:
        answer += strict.answer(collected.metrics, all_cells[0].target)
    declared = AGAINST if config.adversary else ALONE
    keeps = len(all_cells) == config.starts == 1 and config.train is not Trained.rotation
    return Result(
        _filled(setting, all_cells, declared, {**collected.rows, "overview": overview}),
        {name: fmean(collected.metrics[name]) for name in metric_names(setting)},
        declared,
        figures=collected.figures,
        shown=("overview",),
        answer=answer,
        timings={"interchange_training": collected.seconds},
        model=ended.after.model if keeps else None,
    )


@dataclass(frozen=True)
class _Ended:
    """A trial that has ended.

    Attributes:
        after: the trained network.
        contest: that with the adversary; None: there is none.
        outcomes: phase and control → the predictions of this network.
        plain: rows of metrics without those of an adversary.
        rows: of metrics.
        effects: of units; none where the training isn't strict.
        metrics: the trial's part of the summary.
        seconds: that the training took.
    """

    trial: Trial
    after: Aligned
    contest: adversary.Contest | None
    outcomes: Mapping[tuple[str, str], Predictions]
    plain: Sequence[dict[str, Any]]
    rows: Sequence[dict[str, Any]]
    effects: Sequence[dict[str, Any]]
    metrics: Mapping[str, float]
    seconds: float


@dataclass
class _Collected:
    """What all trials left so far.

    Attributes:
        rows: table → its rows; of `directions` a DataFrame for each rotation.
        plain: rows of metrics without those of an adversary.
        metrics: name of the summary → the value of each start.
        correct: variables and site → for each start whether each test pair has its counterfactual label afterwards.
    """

    rows: dict[str, list[Any]] = field(
        default_factory=lambda: {"metrics": [], "history": [], "pairs": [], "effects": [], "directions": []}
    )
    plain: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    correct: dict[answers.Cell, list[Tensor]] = field(default_factory=dict)
    figures: dict[str, Drawing] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, ended: _Ended) -> None:
        """Adds the rows and figures of a trial."""
        trial, outcomes = ended.trial, ended.outcomes
        self.plain += ended.plain
        cell = trial.cell.columns
        self.correct.setdefault((cell["variables"], cell["site"]), []).append(
            outcomes["after", NONE].as_trained.correct
        )
        self.rows["metrics"] += ended.rows
        self.rows["history"] += trial.history
        self.rows["pairs"] += trial.pair_rows(outcomes["before", NONE], outcomes["after", NONE])
        self.rows["effects"] += ended.effects
        if isinstance(ended.after.alignment, Rotation):
            self.rows["directions"].append(_directions(trial, ended.after.alignment))
        for name, value in ended.metrics.items():
            self.metrics.setdefault(name, []).append(value)
        self.seconds += ended.seconds


def _ended(trial: Trial, *, is_first: bool) -> _Ended:
    """Trains and measures the network of a trial and its controls, and returns the rows and figures.

    Args:
        is_first: whether the summary has the cell's figures under plain names, too.
    """
    config, graph, cell, asked = trial.config, trial.graph, trial.cell, asked_controls(trial.setting)
    contest = adversary.Contest(trial) if config.adversary else None
    if contest is not None:
        trial.opponent = contest.opponent
    began = time.perf_counter()
    after = trial.train(NONE, trial.start())
    seconds = time.perf_counter() - began
    networks = {("before", NONE): trial.start(), ("after", NONE): after}
    for control, reason in controls_without_room(asked, graph, cell).items() if trial.number == 1 else ():
        log.info(f"{cell.name}: the control {control.name} is left out, because {reason}")
    for control in controls_of(asked, graph, cell):
        networks["control", control.name] = trial.control(control, after)
    outcomes = {name: trial.measured(network) for name, network in networks.items()}
    if contest is None:  # it warns of its own
        _warn_of_collapse(trial, outcomes)
    of_networks = {name: trial.rows(*name, network, outcomes[name]) for name, network in networks.items()}
    plain = rows = list(itertools.chain(*of_networks.values()))
    metrics: dict[str, float] = {}
    if contest is not None:
        verdict = contest.judged(after)
        rows = contest.rows(of_networks, verdict)
        metrics |= contest.summary(verdict, first=is_first)
    metrics |= _summary(cell, outcomes, is_first=is_first)
    effects = []
    if config.strictness:
        effects = strict.rows_of(trial, networks["before", NONE], after)
        metrics |= strict.summary(trial, effects, first=is_first)
    return _Ended(trial, after, contest, outcomes, plain, rows, effects, metrics, seconds)


def _summary(cell: Cell, outcomes: Mapping[tuple[str, str], Predictions], *, is_first: bool) -> dict[str, float]:
    """Returns a trial's part of the summary, without the figures of an adversary."""
    before, after = outcomes["before", NONE], outcomes["after", NONE]
    metrics = {f"{figure}/{cell.name}": value for figure, value in after.summary().items()}
    if is_first:
        metrics |= {f"{figure}_before": value for figure, value in before.summary().items()}
        metrics |= after.summary()
        controls = {name: outcome for (_, name), outcome in outcomes.items() if name != NONE}
        metrics |= {f"iia/{name}": outcome.as_trained.iia() for name, outcome in controls.items()}
    return metrics


def _drawn(ended: _Ended) -> dict[str, Drawing]:
    """Returns the figures of the first trial."""
    trial, sources = ended.trial, ended.trial.config.sources.name
    drawn: dict[str, Drawing] = {
        "training": partial(figures.history, [row for row in trial.history if row["control"] == NONE]),
        "controls": partial(figures.controls, [row for row in ended.plain if row["sources"] == sources]),
        **trial.examples(ended.outcomes["after", NONE]),
    }
    if ended.contest is not None:
        drawn["adversary"] = partial(figures.adversary, [*ended.rows], ended.contest.sources)
    return drawn


def _filled(
    setting: Setting[IitConfig], all_cells: Sequence[Cell], declared: Declarations, rows: Mapping[str, Any]
) -> list[Table]:
    """Returns the tables.

    Args:
        rows: table → its rows; of `directions` a DataFrame for each rotation.
    """
    config = setting.config
    asked = {
        TRAINED: config.epochs > 0,
        ROTATION: config.alignment is AlignmentKind.rotation,
        MULTI: config.sources is Sources.multi,
        ADVERSARY: bool(config.adversary),
        STRICT: config.strictness > 0,
        PLANTED: setting.truth is not None,
    }
    where = [name for name, is_asked in asked.items() if is_asked]
    places = dict.fromkeys("+".join(place) for cell in all_cells for place in cell.places)
    filled = [
        (table.for_names(places) if table is PAIRS else table).filled(rows[table.name], *where)
        for table in declared.tables
        if table not in (DIRECTIONS, ORDINARY_TRAINING, *(() if config.strictness else (EFFECTS,)))
    ]
    if rows["directions"]:
        import pandas as pd

        filled.append(DIRECTIONS.filled(pd.concat(rows["directions"], ignore_index=True)))
    return [*filled, of_training(setting.history, ORDINARY_TRAINING)] if setting.history else filled


def _warn_of_a_network_that_learned_nothing(setting: Setting[IitConfig]) -> None:
    y = setting.dataset.y_test
    answers = setting.dataset.outputs.answers(outputs_of(setting.model, setting.dataset.x_test))
    if bool((answers == answers[0]).all()) and not bool((y == y[0]).all()):
        log.warning(
            f"the network answers every test example with {answers[0].item():g}: its ordinary training taught it "
            "nothing. Try another seed, or more training.epochs."
        )


def _warn_of_collapse(trial: Trial, outcomes: Mapping[tuple[str, str], Predictions]) -> None:
    """Logs that a network gives one answer after its training by swaps, and gave several before."""
    before, after = (outcomes[phase, NONE].commonest for phase in ("before", "after"))
    if after >= adversary.COLLAPSED > before:
        log.warning(
            f"{trial.cell.name}: after the training by interchange interventions the network gives {after:.0%} of the "
            f"test examples one answer: its IIA says little about variables. Type a smaller "
            f"{RATES[trial.config.train]}."
        )


def _directions(trial: Trial, rotation: Rotation) -> DataFrame:
    """Returns a rotation's directions: a row for each unit of each direction of each place, with its weight."""
    import pandas as pd

    weight = rotation.weight.detach().cpu().numpy()
    place, direction, unit = np.indices((len(trial.cell.places), rotation.sizes[0], weight.shape[1]), dtype=np.int32)
    names = pd.Categorical.from_codes(place.ravel(), ["+".join(variables) for variables in trial.cell.places])
    columns = {"place": names, "direction": direction.ravel(), "unit": unit.ravel()}
    return pd.DataFrame({**trial.columns, **columns, "weight": weight.ravel()})


EXPERIMENT: Experiment[IitConfig] = Experiment(
    check=check, metric_names=metric_names, run=run, networks=networks, declared=DECLARED
)

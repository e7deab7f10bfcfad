"""Which sites of a trained network carry which variables? The grid of DAS; with `experiment.map`, maps of any power.

Interchange accuracy rises with the power of the map from a site to the variables, so that a strong map finds them in
any network. With `experiment.map` each map therefore stands beside the same map in the untrained network, and beside
the ceiling that no map can pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any

from torch import Tensor

from mi_runner.config.experiments.das import DasConfig
from mi_runner.config.experiments.iit import Control
from mi_runner.experiments import Drawing, Experiment, Result, Setting
from mi_runner.experiments.common.tables import of_training
from mi_runner.experiments.das import answers, figures
from mi_runner.experiments.das.cells import (
    check_maps,
    check_options,
    check_without_map,
    controls_of,
    map_cells,
)
from mi_runner.experiments.das.tables import (
    DECLARED,
    HISTORY,
    MAP,
    MAPS,
    METRICS,
    PAIRS,
    RANDOM_LABELS,
    STOPS,
    UNTRAINED,
)
from mi_runner.experiments.das.trials import CellPairs, Network, Trained, Trial, ceiling_of
from mi_runner.experiments.iit import experiment as grid
from mi_runner.experiments.iit.cells import causal_model_of
from mi_runner.experiments.iit.tables import ORDINARY_TRAINING
from mi_runner.experiments.iit.trials import unseen_examples
from mi_runner.graph.gradients import check_gradients
from mi_runner.graph.interventions import KeptSites
from mi_runner.models.batches import outputs_of
from mi_runner.progress import log
from mi_runner.tables.intervals import wilson_interval
from mi_runner.tables.names import NONE
from mi_runner.tables.paired import PairedAnswers
from mi_runner.training.options import TrainingOptions

SUMMARY = ("iia", "untrained", "random_labels", "selectivity", "ceiling")
"""Columns of the table whose means over starts are in the summary, as far as the run has them."""


def check(setting: Setting[DasConfig]) -> None:
    """Checks the options, the variables, the sites and the maps.

    Raises:
        ConfigError: they don't fit; the text says what to type.
    """
    config = setting.config
    if config.map is None:
        check_without_map(config)
        grid.check(setting)
        return
    graph, causal_model = setting.graph(), causal_model_of(setting)
    check_options(config)
    check_gradients(graph, setting.dataset.x_train[: grid.COMPARED], setting.leaves)
    check_maps(setting, graph, map_cells(setting, graph, causal_model))


def metric_names(setting: Setting[DasConfig]) -> list[str]:
    """Returns the summary's names: of the first map, and of each one behind a slash; means over starts."""
    if setting.config.map is None:
        return grid.metric_names(setting)
    cells = map_cells(setting, setting.graph(), causal_model_of(setting))
    controls = [control.name for control in controls_of(setting)]
    known = [
        name
        for name in SUMMARY
        if name in ("iia", "ceiling")
        or name in controls
        or (name == "selectivity" and Control.untrained.name in controls)
    ]
    return [*known, "task_accuracy", *(f"{name}/{cell.name}" for cell in cells for name in known)]


def networks(setting: Setting[DasConfig]) -> Mapping[str, TrainingOptions]:
    """Returns the networks that have not learned the task: untrained, and trained on labels in random order."""
    if setting.config.map is None:
        return grid.networks(setting)
    options = {
        Control.untrained: replace(setting.training, epochs=0),
        # Without stopping: on labels in random order the best accuracy on held-out examples is chance, and comes early.
        Control.random_labels: replace(setting.training, random_labels=True, stop_steps=None, keep_best=False),
    }
    return {control.name: options[control] for control in controls_of(setting)}


def run(setting: Setting[DasConfig]) -> Result:
    """Returns the grid of DAS; with `experiment.map` the IIA of each map beside its controls and its ceiling."""
    return grid.run(setting) if setting.config.map is None else _run_maps(setting)


@dataclass
class _Collected:
    """What all trials left so far.

    Attributes:
        rows: table → its rows.
        pairs: columns of the pairs' table, of each trial.
        names: cell → its rows of metrics.
        correct, untrained: cell → for each start whether each test pair has its counterfactual label.
    """

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"metrics": [], "history": []})
    pairs: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    correct: dict[str, list[Tensor]] = field(default_factory=dict)
    untrained: dict[str, list[Tensor]] = field(default_factory=dict)
    seconds: float = 0.0


def _run_maps(setting: Setting[DasConfig]) -> Result:
    config, graph, causal_model = setting.config, setting.graph(), causal_model_of(setting)
    unseen, kept = unseen_examples(setting), KeptSites(memory=config.memory * 1e6)
    if setting.networks and not setting.history and setting.training.epochs:
        log.info(
            "the network's weights are given: the untrained network has the first weights of this run's seed "
            f"({setting.seed}), so type the seed that they were trained from"
        )
    of_run = [Network(NONE, setting.model, graph)]
    for name, network in setting.networks.items():
        of_run.append(Network(name, network.model, setting.graph(network.model)))
    outputs = {network.control: outputs_of(network.model, setting.dataset.x_test) for network in of_run}
    task = setting.dataset.outputs.correct(outputs[NONE], setting.dataset.y_test)
    common = {"task_accuracy": float(task.double().mean())}
    of_outputs = {name: float(of.double().std(correction=0)) for name, of in outputs.items()}
    collected, drawn = _Collected(), dict[tuple[str, ...], CellPairs]()
    ceilings: dict[tuple[tuple[str, ...], str], float] = {}  # they are the same for all maps
    for cell in map_cells(setting, graph, causal_model):
        if cell.variables not in drawn:
            drawn[cell.variables] = CellPairs.drawn(setting, causal_model, cell.places, unseen)
        pairs = drawn[cell.variables]
        place = cell.variables, cell.target
        if place not in ceilings:
            ceilings[place] = ceiling_of(setting, graph, cell, pairs.test, kept)
        for start in range(1, config.starts + 1):
            trial = Trial(setting, cell, pairs, start, kept)
            found = {network.control: trial.trained(network) for network in of_run}
            row = {**_row(trial, found), "ceiling": ceilings[place], **common}
            row |= {"output_sd": of_outputs[NONE]}
            if Control.untrained.name in of_outputs:
                row["output_sd_untrained"] = of_outputs[Control.untrained.name]
            _add(collected, trial, found, row)
            setting.progress.rows("metrics", [row])
    return _result(setting, collected)


def _row(trial: Trial, found: Mapping[str, Trained]) -> dict[str, Any]:
    """Returns a trial's row of metrics, without what is the same for all trials."""
    own, n = found[NONE], len(found[NONE].correct)
    low, high = wilson_interval(int(own.correct.sum()), n)
    row = {
        **trial.cell.columns,
        "start": trial.number,
        "iia": own.iia,
        "iia_low": low,
        "iia_high": high,
        **{name: control.iia for name, control in found.items() if name != NONE},
        "floor": trial.floor,
        "parameters": own.n_parameters,
        "epochs": own.epochs,
        "n_pairs": n,
        "inverse_error": own.inverse_error,
        "seconds": own.seconds,
    }
    if Control.untrained.name in found:
        other = found[Control.untrained.name].correct
        counts = [int((a & b).sum()) for a in (other, ~other) for b in (own.correct, ~own.correct)]
        both, only_untrained, only_own, neither = counts
        low, high = PairedAnswers(both, only_untrained, only_own, neither).interval
        row |= {"selectivity": (only_own - only_untrained) / n, "selectivity_low": low, "selectivity_high": high}
    return row


def _add(collected: _Collected, trial: Trial, found: Mapping[str, Trained], row: dict[str, Any]) -> None:
    """Adds what a trial left."""
    name, columns = trial.cell.name, {**trial.cell.columns, "start": trial.number}
    collected.rows["metrics"].append(row)
    collected.names.setdefault(name, []).append(row)
    collected.correct.setdefault(name, []).append(found[NONE].correct.cpu())
    if Control.untrained.name in found:
        collected.untrained.setdefault(name, []).append(found[Control.untrained.name].correct.cpu())
    for control, trained in found.items():
        rows = trained.history
        names = ["epoch", "step", "iia", "loss", "train_iia", "stop_loss"]
        kept = [one for one in names if one != "stop_loss" or trial.config.stop_steps is not None]
        collected.rows["history"] += [
            {**columns, "control": control, **{one: own.get(one) for one in kept}} for own in rows
        ]
    test = trial.pairs.test
    sources = {f"source_{names}": test.sources[:, place] for place, names in enumerate(trial.cell.variables)}
    answered = {"answer": found[NONE].answers}
    if Control.untrained.name in found:
        answered["answer_untrained"] = found[Control.untrained.name].answers
    numbers = {"base": test.base, **sources, "counterfactual_label": test.labels, **answered}
    collected.pairs.append({**columns, "numbers": {key: of.cpu().numpy() for key, of in numbers.items()}})
    collected.seconds += sum(trained.seconds for trained in found.values())


def _result(setting: Setting[DasConfig], collected: _Collected) -> Result:
    """Returns what the run leaves."""
    rows = collected.rows
    controls = [control.name for control in controls_of(setting)]
    where = [MAP, *([UNTRAINED] if Control.untrained.name in controls else [])]
    where += [RANDOM_LABELS] if Control.random_labels.name in controls else []
    of_history = [MAP, *([STOPS] if setting.config.stop_steps is not None else [])]
    names_of_sources = dict.fromkeys(
        name for trial in collected.pairs for name in trial["numbers"] if "source_" in name
    )
    filled = [
        METRICS.filled(rows["metrics"], *where),
        PAIRS.filled(_pairs_table(collected.pairs, list(names_of_sources)), *where),
        *([of_training(setting.history, ORDINARY_TRAINING)] if setting.history else []),
    ]
    if rows["history"]:
        filled.insert(1, HISTORY.filled(rows["history"], *of_history))
    metrics = {"task_accuracy": rows["metrics"][0]["task_accuracy"]}
    for number, (name, of_cell) in enumerate(collected.names.items()):
        means = {one: fmean(row[one] for row in of_cell) for one in SUMMARY if one in of_cell[0]}
        metrics |= {f"{one}/{name}": value for one, value in means.items()}
        if number == 0:
            metrics |= means
    drawn: dict[str, Drawing] = {"maps": partial(figures.maps, rows["metrics"])}
    if collected.untrained:
        drawn["selectivity"] = partial(figures.selectivity, rows["metrics"])
    return Result(
        filled,
        {name: metrics[name] for name in metric_names(setting)},
        MAPS,
        figures=drawn,
        answer=answers.answer(collected.names, collected.correct, collected.untrained, alike=_alike(setting.config)),
        timings={"interchange_training": collected.seconds},
    )


def _alike(config: DasConfig) -> bool:
    """Returns whether maps take as many steps, of the same size, in the networks of controls as in the run's own."""
    own = (config.control_pairs, config.control_epochs, config.control_learning_rate)
    return own in ((None, None, None), (config.train_pairs, config.epochs, config.map_learning_rate))


def _pairs_table(trials: list[dict[str, Any]], source_names: list[str]) -> Any:
    """Returns the table of pairs of all trials; a source of a variable that a trial doesn't swap is empty."""
    import pandas as pd

    frames = []
    for trial in trials:
        numbers = trial["numbers"]
        frame = pd.DataFrame({"pair": range(len(numbers["base"])), **numbers})
        for place, key in enumerate(("map", "size", "site", "variables", "start")):
            frame.insert(place, key, trial[key])
        others = [name for name in frame if name not in source_names]
        until_base = others.index("base") + 1
        frames.append(frame.reindex(columns=[*others[:until_base], *source_names, *others[until_base:]]))
    table = pd.concat(frames, ignore_index=True)
    for key in ("map", "site", "variables"):
        table[key] = table[key].astype("category")
    return table


EXPERIMENT: Experiment[DasConfig] = Experiment(
    check=check, metric_names=metric_names, run=run, networks=networks, declared=DECLARED
)

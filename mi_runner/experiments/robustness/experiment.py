"""Does a circuit that agrees with its network on the examples also agree between them?

The last layers of a network are analysed on the activations that enter them, as in experiment=circuits. A circuit is
called valid because of its answers on the test examples. Here each valid circuit is compared with the network
everywhere in a box around each example, of several sizes, and in the one box that holds all examples: proved to answer
alike, refuted by a point where it doesn't, or undecided.

Source: Hadad, Katz, Bassan, "Formal mechanistic interpretability", ICLR 2026.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mi_runner.config.experiments.robustness import RobustnessConfig
from mi_runner.errors import ConfigError
from mi_runner.experiments import Drawing, Experiment, Result, Setting
from mi_runner.experiments.common.circuit_search import n_circuits, what
from mi_runner.experiments.common.judging import analysed_parts
from mi_runner.experiments.common.last_layers import check_last_layers, objection
from mi_runner.experiments.common.valid_circuits import NETWORK, UNTRAINED, network_of
from mi_runner.experiments.common.validity import valid_by
from mi_runner.experiments.robustness import answers, figures
from mi_runner.experiments.robustness.counterexamples import Counterexamples, counterexamples
from mi_runner.experiments.robustness.decided import Decided, decide_output
from mi_runner.experiments.robustness.rows import (
    HULL,
    POINT,
    circuit_table,
    control_rows,
    difference_rows,
    metrics_rows,
)
from mi_runner.experiments.robustness.tables import (
    CIRCUITS,
    CONTROLLED,
    CONTROLS,
    DECLARED,
    DIFFERENCE,
    METRICS,
    OF_SUMMARY,
    SAMPLED,
)
from mi_runner.graph.chain import find_part
from mi_runner.machine.compiled import clock
from mi_runner.progress import log
from mi_runner.tables.declaration import Row, Table
from mi_runner.training.options import TrainingOptions

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_IMAGES = 1_000
"""Images that counterexamples.npz has, at most."""

# --- before the run --------------------------------------------------------------------------------------------------


def check(setting: Setting[RobustnessConfig]) -> None:
    """Checks the sizes of boxes and the last layers.

    Raises:
        ConfigError: no size is named or one comes twice, or the layers can't be analysed.
    """
    config, graph, kind = setting.config, setting.graph(), setting.dataset.outputs
    names = [f"{epsilon:g}" for epsilon in config.epsilons]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"experiment.epsilons=[{','.join(names)}]: name at least one size, and each once.")
    check_last_layers(
        graph,
        setting.dataset,
        config.last_layers,
        lambda n: objection(
            graph,
            kind,
            n,
            config.inputs.name,
            config.max_table_rows,
            is_planted=setting.truth is not None,
            in_a_word=True,
        ),
    )


def networks(setting: Setting[RobustnessConfig]) -> dict[str, TrainingOptions]:
    """Returns the network before its training, if controls are asked for; planted weights have none."""
    return {UNTRAINED: replace(setting.training, epochs=0)} if _has_untrained(setting) else {}


def _has_untrained(setting: Setting[RobustnessConfig]) -> bool:
    return setting.config.controls and setting.truth is None


def cost(setting: Setting[RobustnessConfig]) -> dict[str, int]:
    """Returns the number of circuits that are evaluated: of all outputs, ablations, and networks together."""
    config = setting.config
    parts = analysed_parts(setting.dataset.outputs, find_part(setting.graph(), config.last_layers))
    count = n_circuits(parts[0][1], config.inputs.name, setting.truth is not None)
    return {"circuits": count * len(parts) * len(config.ablation.ablations) * (1 + _has_untrained(setting))}


def metric_names(setting: Setting[RobustnessConfig]) -> list[str]:
    """Returns the names of the summary: `accuracy`, `share_certified`, and numbers of each ablation and size."""
    names = ["accuracy", OF_SUMMARY[1].name]
    for ablation in setting.config.ablation.ablations:
        names.append(f"{OF_SUMMARY[0].name}/{ablation}")
        names += [
            f"{number.name}/{ablation}/{region}" for region in _sizes(setting.config) for number in OF_SUMMARY[1:]
        ]
    return names


def _sizes(config: RobustnessConfig) -> list[str]:
    return [f"{epsilon:g}" for epsilon in sorted(config.epsilons)]


# --- the run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    """What is found of one output with one ablation."""

    decided: Decided
    metrics: list[dict[str, Any]]
    table: DataFrame
    against: Counterexamples


def run(setting: Setting[RobustnessConfig]) -> Result:
    """Returns what is proved of the valid circuits of each output with each ablation, beside the controls."""
    config, dataset = setting.config, setting.dataset
    network = network_of(setting, setting.graph(), NETWORK)
    untrained = None
    if _has_untrained(setting):
        untrained = network_of(setting, setting.graph(setting.networks[UNTRAINED].model), UNTRAINED)
    parts = analysed_parts(dataset.outputs, network.part)
    cases, began = [], clock()
    for output, _ in parts:
        rule = valid_by(
            config.valid, network.test.accuracy(output), config.accuracy_threshold, output=f"{what(output)}: "
        )
        examples = _with_boxes(network.examples(output, rule).target, config.examples)
        log.info(f"{what(output)}: boxes around {len(examples):,} of {len(dataset.x_test):,} test examples")
        for ablation in config.ablation.ablations:
            decided = decide_output(setting, network, untrained, output, ablation, rule, examples)
            rows = metrics_rows(decided, controls=config.controls)
            setting.progress.rows("metrics", rows)
            found = counterexamples(decided, network.examples(output, rule).kind, examples)
            cases.append(_Case(decided, rows, circuit_table(decided), found))
    own = [case for case in cases if case.decided.output == parts[0][0]]
    return Result(
        _tables(config, cases),
        _summary(network.test.accuracy(parts[0][0]), config, own),
        DECLARED,
        figures=_figures(cases, dataset.x_test),
        answer=answers.answer([(case.decided, case.metrics) for case in own], len(parts), config.accuracy_threshold),
        arrays={"counterexamples": _arrays(cases, dataset.x_test)},
        timings={"regions": clock() - began},
    )


def _with_boxes(targets: Tensor, most: int | None) -> Tensor:
    """Returns the examples that have boxes, `(D,)`: all, or the first so many of each target."""
    if most is None:
        return torch.arange(len(targets))
    answers = targets.round() if targets.is_floating_point() else targets
    rows = [torch.nonzero(answers == value)[:most, 0] for value in answers.unique()]
    return torch.cat(rows).sort().values


def _tables(config: RobustnessConfig, cases: Sequence[_Case]) -> list[Table]:
    """Returns the tables, filled."""
    import pandas as pd

    where = [*([CONTROLLED] if config.controls else [])]
    where += [SAMPLED] if any(case.decided.valid.is_sample for case in cases) else []
    tables = [METRICS.filled([row for case in cases for row in case.metrics], *where)]
    if config.controls:
        tables.append(CONTROLS.filled([row for case in cases for row in control_rows(case.decided)]))
    listed = [case.table for case in cases]
    tables.append(CIRCUITS.filled(pd.concat(listed, ignore_index=True)))
    return [*tables, DIFFERENCE.filled([row for case in cases for row in difference_rows(case.decided)])]


def _summary(accuracy: float, config: RobustnessConfig, cases: Sequence[_Case]) -> dict[str, float]:
    """Returns the numbers of the summary, of the first output; `share_certified` alone is that of the smallest ε."""
    found: dict[str, float] = {"accuracy": accuracy, "share_certified": math.nan}
    for case in cases:
        ablation = case.decided.ablation
        found[f"n_valid/{ablation}"] = float(case.decided.valid.n_all)
        for row in case.metrics:
            if row["region"] not in (POINT, HULL):
                is_sure = row["fewest_certified"] == row["fewest_possible"] and not case.decided.valid.is_sample
                fewest = row["fewest_certified"] if is_sure else None
                found[f"share_certified/{ablation}/{row['region']}"] = _number(row["share_certified"])
                found[f"fewest_certified/{ablation}/{row['region']}"] = _number(fewest)
    smallest = _sizes(config)[0]
    found["share_certified"] = float(
        np.mean([found[f"share_certified/{case.decided.ablation}/{smallest}"] for case in cases])
    )
    return found


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _figures(cases: Sequence[_Case], x_test: Tensor) -> dict[str, Drawing]:
    rows: dict[int | str, list[Row]] = defaultdict(list)
    drawn: dict[str, Drawing | None] = {}
    for case in cases:
        output, ablation = case.decided.output, case.decided.ablation
        rows[output] += case.metrics
        title = f"{ablation} ablation, {what(output)}: the network's answer → a circuit's"
        drawn[f"counterexamples_{output}_{ablation}"] = figures.images(case.against, x_test, title)
    drawn |= {f"certified_{output}": figures.certified(of_output) for output, of_output in rows.items()}
    return {name: drawing for name, drawing in drawn.items() if drawing is not None}


def _arrays(cases: Sequence[_Case], x_test: Tensor) -> Mapping[str, np.ndarray]:
    """Returns the arrays of counterexamples.npz; ablation and output are repeated for each point."""
    names = [field.name for field in fields(Counterexamples)]
    arrays = {name: np.concatenate([getattr(case.against, name) for case in cases]) for name in names}
    n_of = [len(case.against) for case in cases]
    arrays["ablation"] = np.repeat([case.decided.ablation for case in cases], n_of)
    arrays["output"] = np.repeat([str(case.decided.output) for case in cases], n_of)
    if x_test.dim() == 4 or x_test.shape[-1] == 784:
        arrays["images"] = x_test[torch.from_numpy(arrays["nearest"][:MOST_IMAGES]).to(x_test.device)].cpu().numpy()
    return arrays


EXPERIMENT: Experiment[RobustnessConfig] = Experiment(
    check=check,
    metric_names=metric_names,
    run=run,
    networks=networks,
    cost=cost,
    declared=DECLARED,
)

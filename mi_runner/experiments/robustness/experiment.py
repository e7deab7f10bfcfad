"""Does a circuit agree with its network between the examples, too?

A circuit is valid by its answers to the test examples. Here every valid circuit of the last layers is decided in whole
regions: in boxes around the examples, of several sizes, and in the hull of all examples. It is proved that it answers
as the network does everywhere there, or refuted by a point at which it doesn't. Beside the valid circuits stand
circuits of as many edges that are drawn at random, and those of the untrained network.

Source: Hadad, Katz, Bassan, "Formal mechanistic interpretability", ICLR 2026.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mi_runner.config.experiments.robustness import RobustnessConfig
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError
from mi_runner.experiments import Drawing, Experiment, Result, Setting
from mi_runner.experiments.common.circuit_search import what
from mi_runner.experiments.common.judging import analysed_parts
from mi_runner.experiments.common.valid_circuits import (
    NETWORK,
    UNTRAINED,
    check_layers,
    cost,
    has_untrained,
    network_of,
    networks,
)
from mi_runner.experiments.common.validity import valid_by
from mi_runner.experiments.robustness import answers, figures
from mi_runner.experiments.robustness.counterexamples import Arrays, all_arrays, counterexamples
from mi_runner.experiments.robustness.decided import Decided, decide_output
from mi_runner.experiments.robustness.rows import (
    Against,
    circuit_table,
    compared_with_random,
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
    HULL,
    METRICS,
    OF_SUMMARY,
    OVERVIEW,
    SAMPLED,
    SHOWN,
)
from mi_runner.machine.compiled import clock
from mi_runner.tables.declaration import Table

if TYPE_CHECKING:
    from pandas import DataFrame

# --- before the run --------------------------------------------------------------------------------------------------


def check(setting: Setting[RobustnessConfig]) -> None:
    """Checks the sizes of boxes and the last layers.

    Raises:
        ConfigError: no size is named, one comes twice, or the layers can't be analysed.
    """
    config = setting.config
    sizes = [f"{size:g}" for size in config.epsilons]
    if not sizes or len(set(sizes)) < len(sizes) or not all(map(math.isfinite, config.epsilons)):
        raise ConfigError(
            f"experiment.epsilons=[{','.join(sizes)}]: name at least one size of boxes, each finite and once."
        )
    check_layers(setting)


def metric_names(setting: Setting[RobustnessConfig]) -> list[str]:
    """Returns the names of the summary: `accuracy`, `certified`, and numbers of each ablation."""
    of_each = [f"{number.name}/{ablation}" for ablation in setting.config.ablation.ablations for number in OF_SUMMARY]
    return ["accuracy", "certified", *of_each]


# --- the run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    """What is found of one output with one ablation.

    Attributes:
        metrics, controls, differences: rows of the tables.
        table: the rows of circuits.parquet.
        against: how valid circuits compare with random ones, region by region.
        witnesses: of the circuits that are refuted.
    """

    decided: Decided
    metrics: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    table: DataFrame
    against: Against
    witnesses: Arrays


def run(setting: Setting[RobustnessConfig]) -> Result:
    """Returns what is known of the valid circuits of each output with each ablation, beside the controls.

    Raises:
        RunFailed: at a point at which a circuit was said to answer differently, it doesn't.
    """
    config, dataset = setting.config, setting.dataset
    network = network_of(setting, setting.graph(), NETWORK)
    untrained = None
    if has_untrained(setting):
        untrained = network_of(setting, setting.graph(setting.networks[UNTRAINED].model), UNTRAINED)
    parts = analysed_parts(dataset.outputs, network.part)
    cases = []
    began = clock()
    for output, _ in parts:
        accuracy = network.test.accuracy(output)
        rule = valid_by(config.valid, accuracy, config.accuracy_threshold, output=f"{what(output)}: ")
        for ablation in config.ablation.ablations:
            cases.append(_case(setting, decide_output(setting, network, untrained, output, ablation, rule)))
    first = [case for case in cases if case.decided.output == parts[0][0]]
    images = _images(dataset)
    return Result(
        _tables(config, cases),
        {"accuracy": network.test.accuracy(parts[0][0]), **_summary(first)},
        DECLARED,
        figures=_figures(cases, images),
        shown=("overview",),
        answer=answers.answer(
            [answers.Answered(case.decided, case.metrics, case.against) for case in first],
            len(parts),
            config.accuracy_threshold,
        ),
        timings={"robustness": clock() - began},
        arrays={"counterexamples": all_arrays([(case.decided, case.witnesses) for case in cases], images)},
    )


def _case(setting: Setting[RobustnessConfig], decided: Decided) -> _Case:
    """Returns the rows of an output with an ablation."""
    against = compared_with_random(decided)
    metrics = list(metrics_rows(decided, against))
    setting.progress.rows("metrics", metrics)
    return _Case(
        decided,
        metrics,
        list(control_rows(decided)),
        list(difference_rows(decided, setting)),
        circuit_table(decided),
        against,
        counterexamples(decided),
    )


def _images(dataset: Dataset) -> Tensor | None:
    """Returns the test images `(N, C, H, W)` on the CPU; None if the inputs are no images."""
    shape = dataset.image_shape
    return None if shape is None else dataset.x_test.cpu().reshape(-1, *shape)


def _tables(config: RobustnessConfig, cases: Sequence[_Case]) -> list[Table]:
    """Returns the tables, filled."""
    import pandas as pd

    where = [*([CONTROLLED] if config.controls else []), *([HULL] if config.hull else [])]
    where += [SAMPLED] if any(case.decided.valid.is_sample for case in cases) else []
    metrics = [row for case in cases for row in case.metrics]
    overview = [{name: value for name, value in row.items() if name in SHOWN} for row in metrics]
    tables = [case.table for case in cases]
    return [
        METRICS.filled(metrics, *where),
        OVERVIEW.filled(overview, *where),
        CONTROLS.filled([row for case in cases for row in case.controls], *where),
        CIRCUITS.filled(tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True), *where),
        DIFFERENCE.filled([row for case in cases for row in case.differences], *where),
    ]


def _summary(cases: Sequence[_Case]) -> dict[str, float]:
    """Returns the numbers of the summary, of the first output."""
    found: dict[str, float] = {"certified": math.nan}
    for case in cases:
        row = answers.headline_region(case.metrics)
        numbers = {
            "n_valid": case.decided.valid.n_all,
            "fewest_valid": row["fewest_valid"],
            "certified": row["share_certified"],
            "fewest_certified": row["fewest_certified"],
        }
        for name, value in numbers.items():
            found[f"{name}/{case.decided.ablation}"] = math.nan if value is None else float(value)
    found["certified"] = fmean(found[f"certified/{case.decided.ablation}"] for case in cases)
    return found


def _figures(cases: Sequence[_Case], images: Tensor | None) -> dict[str, Drawing]:
    drawn: dict[str, Drawing | None] = {}
    for output in dict.fromkeys(case.decided.output for case in cases):
        rows = [row for case in cases if case.decided.output == output for row in case.metrics]
        drawn |= {f"regions_{output}": figures.shares(rows), f"edges_{output}": figures.edges(rows)}
    for case in cases:
        name = f"{case.decided.output}_{case.decided.ablation}"
        title = f"{case.decided.ablation} ablation, {what(case.decided.output)}: images nearest to counterexamples"
        drawn[f"counterexamples_{name}"] = figures.pictures(case.witnesses, images, title)
    return {name: drawing for name, drawing in drawn.items() if drawing is not None}


EXPERIMENT: Experiment[RobustnessConfig] = Experiment(
    check=check, metric_names=metric_names, run=run, networks=networks, cost=cost, declared=DECLARED
)

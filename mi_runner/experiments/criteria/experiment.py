"""Which further tests tell valid circuits apart, and how many circuits pass all of them?

The last layers of a network are analysed on the activations that enter them, as in experiment=circuits. Every valid
circuit is judged by criteria: noise, other data, interventions, what it leaves out, its rank among all circuits, and
its size. Beside the valid circuits stand circuits of as many edges that are drawn at random, and those of the untrained
network. A criterion that these survive as often says nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from mi_runner import chance
from mi_runner.config.experiments.criteria import CriteriaConfig
from mi_runner.datasets.shift import read_shift, shifted_inputs
from mi_runner.errors import ConfigError, as_options
from mi_runner.experiments import Drawing, Experiment, Result, Setting
from mi_runner.experiments.common.circuit_search import what
from mi_runner.experiments.common.judging import analysed_parts
from mi_runner.experiments.common.known_truth import known_truth
from mi_runner.experiments.common.named_records import chosen_records
from mi_runner.experiments.common.sentences import counted
from mi_runner.experiments.common.valid_circuits import (
    NETWORK,
    UNTRAINED,
    Network,
    check_layers,
    cost,
    has_untrained,
    network_of,
    networks,
)
from mi_runner.experiments.common.validity import valid_by
from mi_runner.experiments.criteria import answers, figures
from mi_runner.experiments.criteria.comparison import compare_networks
from mi_runner.experiments.criteria.judged import Judged, judge_output
from mi_runner.experiments.criteria.picture import criteria_picture
from mi_runner.experiments.criteria.rows import (
    Against,
    best_rows,
    circuit_table,
    front_of,
    front_rows,
    metrics_rows,
    pair_rows,
    step_rows,
)
from mi_runner.experiments.criteria.tables import (
    ALL_TOGETHER,
    BEST,
    CIRCUITS,
    CONTROLLED,
    DECLARED,
    FRONT,
    METRICS,
    OF_SUMMARY,
    OVERVIEW,
    PAIRS,
    SAMPLED,
    SHOWN,
    STEPS,
    TOLD,
    TRUE,
)
from mi_runner.graph.chain import find_part
from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.edges import bits_of
from mi_runner.methods.criteria.records import Criterion, all_criteria, fault_of, own_criterion
from mi_runner.progress import log
from mi_runner.tables.declaration import Table

if TYPE_CHECKING:
    from pandas import DataFrame

NOT_CRITERIA = ("ablation", "output", "circuit", "n_edges", "n_nodes", "survives", "front", "place", "edges", "n_best")
"""Columns beside those of criteria, which therefore can't have these names."""


# --- before the run --------------------------------------------------------------------------------------------------


def check(setting: Setting[CriteriaConfig]) -> None:
    """Checks the criteria, the last layers, and the files of other data and of the truth.

    Raises:
        ConfigError: there is no such criterion, the layers can't be analysed, or a file has something else.
    """
    config, graph, kind = setting.config, setting.graph(), setting.dataset.outputs
    names = [f"{sigma:g}" for sigma in config.noise]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"experiment.noise=[{','.join(names)}]: name at least one standard deviation, and each once.")
    check_layers(setting)
    _criteria(config, has_shift=_shift(setting) is not None)
    parts = analysed_parts(kind, find_part(graph, config.last_layers))
    known_truth(config.truth, setting.truth, parts, config.inputs.name)


def _criteria(config: CriteriaConfig, *, has_shift: bool) -> list[Criterion]:
    """Returns the record of each criterion; without other data those that need none.

    Raises:
        ConfigError: no criterion has this name, one comes twice, or its code can't be imported; or only those are named
            that need other data.
    """
    chosen = chosen_records(
        "criteria", config.criteria, all_criteria(), kind="criterion", fault_of=fault_of, own=own_criterion
    )
    columns = [column for record in chosen for column in record.columns(config.noise)]
    for name in columns:
        if name in (*NOT_CRITERIA, ALL_TOGETHER) or columns.count(name) > 1:
            raise ConfigError(f"experiment.criteria: tables have another column {name}. Rename the criterion.")
    if has_shift:
        return chosen
    able = [record for record in chosen if not record.needs_shift]
    if not able:
        names = ",".join(record.name for record in chosen)
        raise ConfigError(
            f"experiment.criteria=[{names}] needs other data, and there are none. Type experiment.shift=FILE, an .npz "
            "or .csv file with inputs."
        )
    return able


def _shift(setting: Setting[CriteriaConfig]) -> Tensor | None:
    """Returns other data than the test examples as the network takes them, `(S, *input)`; None: there are none.

    Raises:
        ConfigError: the file is missing, or doesn't have such inputs.
    """
    if setting.config.shift == "none":
        return None
    if setting.config.shift == "auto":
        return shifted_inputs(setting.dataset, seed=setting.seed)
    with as_options(experiment=["shift"]):
        return read_shift(setting.config.shift, setting.dataset)


def metric_names(setting: Setting[CriteriaConfig]) -> list[str]:
    """Returns the names of the summary: `accuracy`, `surviving`, and numbers of each ablation."""
    of_each = [f"{number.name}/{ablation}" for ablation in setting.config.ablation.ablations for number in OF_SUMMARY]
    return ["accuracy", "surviving", *of_each]


# --- the run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    """What is found of one output with one ablation.

    Attributes:
        rows: of the tables, but for circuits.
        table: the rows of circuits.parquet.
        against: control → how each criterion compares with it.
        in_front: which circuits no other beats; None: not known.
    """

    judged: Judged
    rows: Mapping[str, list[dict[str, Any]]]
    table: DataFrame
    against: Mapping[str, Against]
    in_front: np.ndarray | None


def run(setting: Setting[CriteriaConfig]) -> Result:
    """Returns what criteria say of the valid circuits of each output with each ablation, beside the controls."""
    config, dataset = setting.config, setting.dataset
    shift = _shift(setting)
    criteria = _criteria(config, has_shift=shift is not None)
    network = network_of(setting, setting.graph(), NETWORK, shift)
    untrained = None
    if has_untrained(setting):
        graph = setting.graph(setting.networks[UNTRAINED].model)
        untrained = network_of(setting, graph, UNTRAINED, shift)
    parts = analysed_parts(dataset.outputs, network.part)
    known = known_truth(config.truth, setting.truth, parts, config.inputs.name)
    truth = {output: int(bits_of(circuit[None])[0]) for output, circuit in known.items()}
    _tell(config, network, criteria)
    cases = []
    began = clock()
    for output, _ in parts:
        accuracy = network.test.accuracy(output)
        rule = valid_by(config.valid, accuracy, config.accuracy_threshold, output=f"{what(output)}: ")
        for ablation in config.ablation.ablations:
            judged = judge_output(setting, network, untrained, criteria, output, ablation, rule, truth.get(output))
            cases.append(_case(setting, judged, network, has_truth=bool(truth)))
    first = parts[0][0]
    return Result(
        _tables(config, cases, network, has_truth=bool(truth)),
        _summary(network, [case for case in cases if case.judged.output == first]),
        DECLARED,
        figures={name: drawing for case in cases for name, drawing in _figures(case).items()},
        pictures={"criteria": partial(criteria_picture, [(case.judged, case.table) for case in cases])},
        shown=("overview",),
        answer=answers.answer(
            [answers.Answered(case.judged, case.rows, case.against) for case in cases if case.judged.output == first],
            len(parts),
            config.accuracy_threshold,
            truth=bool(truth),
            intervals=_has_intervals(config, network),
            every_input=network.every_input,
        ),
        timings={"criteria": clock() - began},
    )


def _tell(config: CriteriaConfig, network: Network, criteria: Sequence[Criterion]) -> None:
    """Logs what criteria are computed on, and which of those asked for aren't."""
    n = counted(len(network.test.entering), "test example")
    others = "" if network.shift is None else f" and {counted(len(network.shift), 'other input')}"
    columns = [column for record in criteria for column in record.columns(config.noise)]
    log.info(f"{counted(len(columns), 'criterion', 'criteria')} on {n}{others}: {', '.join(columns)}")
    names = [record.name for record in criteria]
    if missing := [name for name in config.criteria if name not in names]:
        log.info(
            f"{', '.join(missing)} is left out: there are no other data than the test examples. experiment.shift=FILE "
            "names some"
        )


def _has_intervals(config: CriteriaConfig, network: Network) -> bool:
    """Returns whether τ has an interval: not where the examples are all inputs there are, so that none is sampled."""
    return config.resamples > 0 and not network.every_input


def _case(setting: Setting[CriteriaConfig], judged: Judged, network: Network, *, has_truth: bool) -> _Case:
    """Returns the rows of an output with an ablation."""
    config, where = setting.config, (judged.output, judged.ablation)
    metrics, against = metrics_rows(judged, has_truth=has_truth)
    setting.progress.rows("metrics", metrics)
    in_front = front_of(judged)
    table = circuit_table(judged, in_front)
    rows = {
        "metrics": metrics,
        "overview": [{name: value for name, value in row.items() if name in SHOWN} for row in metrics],
        "pairs": pair_rows(
            judged,
            config.resamples if _has_intervals(config, network) else 0,
            np.random.default_rng(chance.derived_seed(setting.seed, "criteria", "resampled circuits", *where)),
            chance.derived_seed(setting.seed, "criteria", "resamples", judged.output),
        ),
        "steps": list(step_rows(judged)),
        "front": front_rows(judged, table, in_front),
        "best": list(best_rows(judged, table)),
    }
    return _Case(judged, rows, table, against, in_front)


def _tables(config: CriteriaConfig, cases: Sequence[_Case], network: Network, *, has_truth: bool) -> list[Table]:
    """Returns the tables, filled."""
    import pandas as pd

    where = [*([CONTROLLED] if config.controls else []), *([TRUE] if has_truth else [])]
    where += [SAMPLED] if any(case.judged.valid.is_sample for case in cases) else []
    where += [TOLD] if _has_intervals(config, network) else []
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in cases:
        for name, own in case.rows.items():
            rows[name] += own
    names = cases[0].judged.criteria
    filled = [of.filled(rows[of.name], *where) for of in (METRICS, OVERVIEW, PAIRS, STEPS)]
    filled += [of.for_names(names).filled(rows[of.name], *where) for of in (FRONT, BEST)]
    tables = [case.table for case in cases]
    listed = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
    return [*filled, CIRCUITS.for_names(names).filled(listed)]


def _summary(network: Network, cases: Sequence[_Case]) -> dict[str, float]:
    """Returns the numbers of the summary, of the first output."""
    found: dict[str, float] = {"accuracy": network.test.accuracy(cases[0].judged.output), "surviving": math.nan}
    shares = []
    for case in cases:
        (of_all,) = (row for row in case.rows["metrics"] if row["criterion"] == ALL_TOGETHER)
        numbers = {
            "n_valid": case.judged.valid.n_all,
            "n_surviving": None if case.judged.valid.is_sample else of_all["n_survivors"],
            "n_front": None if case.in_front is None else int(case.in_front.sum()),
            "surviving": of_all["share"],
        }
        for name, value in numbers.items():
            found[f"{name}/{case.judged.ablation}"] = math.nan if value is None else float(value)
        shares.append(found[f"surviving/{case.judged.ablation}"])
    found["surviving"] = float(np.mean(shares))
    return found


def _figures(case: _Case) -> dict[str, Drawing]:
    name = f"{case.judged.output}_{case.judged.ablation}"
    drawn = {
        "tau": figures.taus(case.rows["pairs"]),
        "overlap": figures.overlaps(case.rows["pairs"]),
        "steps": figures.steps(case.rows["steps"], len(case.judged.valid.circuits)),
    }
    return {f"{kind}_{name}": drawing for kind, drawing in drawn.items() if drawing is not None}


EXPERIMENT: Experiment[CriteriaConfig] = Experiment(
    check=check,
    metric_names=metric_names,
    run=run,
    networks=networks,
    cost=cost,
    compare_networks=compare_networks,
    declared=DECLARED,
)

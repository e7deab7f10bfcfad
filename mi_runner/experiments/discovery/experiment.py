"""Which methods find good circuits? Each is judged by the best circuits there are.

The last layers of a network are analysed on the activations that enter them, as in experiment=circuits; circuits may
leave inputs out. Each method gives a circuit of each size. Where all circuits can be evaluated, it is compared with the
best circuit of at most as many edges, and with all circuits of as many; otherwise with circuits drawn uniformly.
Outputs that are values are analysed one by one; those that are classes together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.config.experiments.circuit_options import JudgeOn
from mi_runner.config.experiments.discovery import DiscoveryConfig
from mi_runner.datasets.outputs import Outputs
from mi_runner.datasets.shift import shifted_inputs
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.experiments import Drawing, Experiment, Result, Setting
from mi_runner.experiments.common.circuit_columns import JUDGED, NAMED, PLANTED
from mi_runner.experiments.common.circuit_search import n_circuits
from mi_runner.experiments.common.judging import Recorded, analysed_parts, examples_of, recorded
from mi_runner.experiments.common.known_truth import by_side_of_half, known_truth
from mi_runner.experiments.common.last_layers import check_last_layers, objection, refused
from mi_runner.experiments.common.named_parts import named
from mi_runner.experiments.common.named_records import chosen_records
from mi_runner.experiments.common.validity import valid_by
from mi_runner.experiments.discovery import answers, certified, criteria, figures
from mi_runner.experiments.discovery.comparison import compare_networks
from mi_runner.experiments.discovery.judgement import Judged, Judgements, family_of, space_of
from mi_runner.experiments.discovery.pictures import methods_picture
from mi_runner.experiments.discovery.rows import (
    MethodFound,
    analysed_rows,
    areas_of,
    edge_rows,
    metrics_rows,
    or_none,
    score_rows,
    size_rows,
    sizes_of_all,
    summary_row,
)
from mi_runner.experiments.discovery.tables import (
    BY_REGRET,
    CHOSEN,
    CRITERIA_TOO,
    DECLARED,
    FEW_EDGES,
    OF_CERTIFIED,
    OF_DETECTION,
    OF_SMALLEST,
    OF_SUMMARY,
    OVERVIEW,
)
from mi_runner.graph.chain import Part, find_part, longest_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.cut import entering_activations
from mi_runner.methods.circuits.edges import WORD, Edges, distinct
from mi_runner.methods.circuits.rounding import refuse_falling
from mi_runner.methods.discovery import stability
from mi_runner.methods.discovery.agreement import rank_correlations
from mi_runner.methods.discovery.find import Resampled, Task, find_draws
from mi_runner.methods.discovery.masked import loss_of_sides, start_of
from mi_runner.methods.discovery.optimum import Best
from mi_runner.methods.discovery.records import METHODS, Method, all_methods, fault_of, own_method
from mi_runner.progress import log
from mi_runner.tables.pairwise import Compared
from mi_runner.training.evaluation import loss_function

MOST_WORK = 5e12
"""Most multiplications of a method: circuits times edges times examples."""


# --- before the run --------------------------------------------------------------------------------------------------


def check(setting: Setting[DiscoveryConfig]) -> None:
    """Checks the methods, the last layers, and that no method takes too long.

    Raises:
        ConfigError: there is no such method, the layers can't be analysed, or there are too many circuits to evaluate.
    """
    config = setting.config
    methods = _methods(config)
    graph = setting.graph()
    try:
        part = find_part(graph, config.last_layers)
        _, single = analysed_parts(setting.dataset.outputs, part)[0]
        if single.sizes[-1] == 1:
            refuse_falling(single.layers[-1])
    except ValueError as error:
        chain = longest_part(graph)
        remedies = [f"experiment.last_layers={len(chain.layers)}"] if chain and config.last_layers != 1 else []
        raise refused(config.last_layers, str(error), remedies) from error
    parts = analysed_parts(setting.dataset.outputs, part)
    if setting.truth is not None:
        inputs, most, kind = "any", config.max_table_rows, setting.dataset.outputs
        check_last_layers(
            graph,
            setting.dataset,
            config.last_layers,
            lambda n: objection(graph, kind, n, inputs, most, is_planted=True),
        )
    known_truth(config.truth, setting.truth, parts, "any")
    _check_work(setting, part, methods)


def _check_work(setting: Setting[DiscoveryConfig], part: Part, methods: Sequence[Method]) -> None:
    config = setting.config
    n_examples = len(examples_of(setting.dataset, config.judge_on, setting.seed, config.examples).found)
    n_edges = Edges(analysed_parts(setting.dataset.outputs, part)[0][1].sizes).n
    if config.criteria and n_edges > WORD:
        raise ConfigError(
            f"experiment.criteria=true: the analysed layers have {n_edges:,} edges, more than {WORD}. Type "
            "experiment.criteria=false or a smaller experiment.last_layers."
        )
    once = {method.name: method.evaluations(n_edges) for method in methods}
    n_times = {method.name: 1 + config.bootstrap if method.resamples else 1 for method in methods}
    too_many = {name: once[name] * n_times[name] for name in once}
    too_many = {name: n for name, n in too_many.items() if n * n_edges * n_examples > MOST_WORK}
    if not too_many:
        return
    name, n_circuits = max(too_many.items(), key=lambda item: item[1])
    others = [method.name for method in methods if method.name not in too_many]
    remedies = [f"experiment.methods=[{','.join(others)}]"] if others else []
    if n_times[name] > 1 and once[name] * n_edges * n_examples <= MOST_WORK:
        remedies.append("experiment.bootstrap=0")
    remedies.append("a smaller dataset.limit or experiment.last_layers")
    raise ConfigError(
        f"experiment.methods has {name}: it would evaluate {n_circuits:,} circuits of {n_edges:,} edges on "
        f"{n_examples:,} examples. Type {' or '.join(remedies)}."
    )


def _methods(config: DiscoveryConfig) -> list[Method]:
    """Returns the record of each method; that of a method of your own is made here.

    Raises:
        ConfigError: no method has this name, one comes twice, or its code can't be imported.
    """
    return chosen_records("methods", config.methods, all_methods(), kind="method", fault_of=fault_of, own=own_method)


def cost(setting: Setting[DiscoveryConfig]) -> dict[str, int]:
    """Returns how many circuits are evaluated where all of them are: of all outputs and ablations together."""
    part = find_part(setting.graph(), setting.config.last_layers)
    parts = [single for _, single in analysed_parts(setting.dataset.outputs, part)]
    spaces = [space_of(setting, single) for single in parts]
    is_planted = setting.truth is not None
    count = sum(n_circuits(single, "any", is_planted) for single, space in zip(parts, spaces, strict=True) if space)
    return {"circuits": count * len(setting.config.ablation.ablations)} if count else {}


def metric_names(setting: Setting[DiscoveryConfig]) -> list[str]:
    """Returns the names of the summary: `accuracy`, and a measure of each method and ablation."""
    names = [
        f"{measure}/{method}/{ablation}"
        for method in setting.config.methods
        for ablation in setting.config.ablation.ablations
        for measure in _measures(setting)
    ]
    return ["accuracy", "n_edges", *names]


def _measures(setting: Setting[DiscoveryConfig]) -> list[str]:
    """Returns the measures of summary.csv that the summary has, too."""
    chosen = CHOSEN if setting.config.judge_on is not JudgeOn.test else ()
    detected = OF_DETECTION if _knows_truth(setting) else ()
    return [measure.name for measure in (*OF_SUMMARY, *chosen, *detected)]


def _knows_truth(setting: Setting[DiscoveryConfig]) -> bool:
    return setting.truth is not None or setting.config.truth is not None


# --- the run ---------------------------------------------------------------------------------------------------------


def run(setting: Setting[DiscoveryConfig]) -> Result:
    """Returns what each method finds at each size, beside the best circuits and all circuits."""
    config, dataset = setting.config, setting.dataset
    graph = setting.graph()
    part = named(find_part(graph, config.last_layers).to(torch.device("cpu")), graph, setting.dataset)
    on = examples_of(dataset, config.judge_on, setting.seed, config.examples)
    judging = recorded(graph, part, on.judged, dataset.outputs)
    finding = recorded(graph, part, on.found, dataset.outputs) if on.differ else judging
    for examples in (judging, finding) if on.differ else (judging,):
        examples.alone(part)  # raises if these are not the whole network's outputs
    methods = _methods(config)
    shift = _shift(setting, graph, part)
    parts = analysed_parts(dataset.outputs, part)
    truth = known_truth(config.truth, setting.truth, parts, "any")
    tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
    drawn: dict[str, Drawing] = {}
    compared: dict[tuple[str | int, str], Compared] = {}
    for output, single in parts:
        curves_of: dict[str, figures.Curves] = {}
        accuracy, threshold = finding.accuracy(output), config.accuracy_threshold
        rule = valid_by(config.valid, accuracy, threshold, output=f"output {output}: ")
        sides = partial(by_side_of_half, is_planted=setting.truth is not None)
        for_circuits = [sides(each.examples(output, rule)) for each in (judging, finding)]
        for ablation in config.ablation.ablations:
            task = _task(setting, single, judging, output, ablation)
            found_on = _task(setting, single, finding, output, ablation) if on.differ else None
            elsewhere = (found_on, for_circuits[1]) if found_on is not None else None
            judged = Judged(setting, output, task, for_circuits[0], elsewhere, truth.get(output))
            log.info(judged.description)
            made, of_methods = _judged_rows(setting, judged, methods, shift, is_population=on.are_all_inputs)
            for name, rows in made.items():
                tables[name] += rows
            compared.setdefault((output, ablation), of_methods)
            curves_of[ablation] = judged.curves(tables)
        drawn |= figures.of_output(output, single, curves_of)
    tables["overview"] = [{column.name: row[column.name] for column in OVERVIEW.columns} for row in tables["summary"]]
    first = parts[0][0]
    of_first = [row for row in tables["summary"] if row["output"] == first]
    edges = Edges(parts[0][1].sizes)
    where = [*([JUDGED] if on.differ else []), *([FEW_EDGES] if edges.fit_in_a_word else [])]
    where += [NAMED] if part.has_names else []
    where += [PLANTED] if _knows_truth(setting) else []
    where += [CRITERIA_TOO] if config.criteria else []
    left_out = [*(() if config.criteria else (OF_SMALLEST, BY_REGRET)), *(() if config.certify else (OF_CERTIFIED,))]
    return Result(
        [table.filled(tables[table.name], *where) for table in DECLARED.tables if table not in left_out],
        metrics={"accuracy": judging.accuracy(first), "n_edges": float(edges.n), **_summary(setting, of_first)},
        declared=DECLARED,
        figures=drawn,
        pictures={"methods": partial(methods_picture, tables)},
        shown=("overview",),
        answer=answers.answer(
            tables["summary"],
            {ablation: compared[first, ablation] for ablation in config.ablation.ablations},
            int(start_of(family_of(setting, parts[0][1]), edges).sum()),
            on.words,
        )
        + answers.of_truth(of_first, truth.get(first))
        + criteria.sentences([row for row in tables["criteria"] if row["output"] == first])
        + certified.sentences([row for row in tables["certified"] if row["output"] == first]),
    )


def _summary(setting: Setting[DiscoveryConfig], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the numbers of the summary of each method and ablation, from rows of summary.csv."""
    return {
        f"{measure}/{row['method']}/{row['ablation']}": math.nan if row[measure] is None else float(row[measure])
        for row in rows
        for measure in _measures(setting)
        if measure in row
    }


def _shift(setting: Setting[DiscoveryConfig], graph: ModelGraph, part: Part) -> Tensor | None:
    """Returns the data set's other inputs as they enter the analysed layers; None without, or without criteria."""
    shifted = shifted_inputs(setting.dataset, seed=setting.seed) if setting.config.criteria else None
    return None if shifted is None else entering_activations(graph, part, shifted)[0].double()


def _task(setting: Setting[DiscoveryConfig], part: Part, on: Recorded, output: str | int, ablation: str) -> Task:
    """Returns the task on these examples."""
    target = on.targets_of(output)
    target = target.double() if target.is_floating_point() else target
    loss, objective = loss_function(setting.training, setting.dataset), setting.config.objective.name
    if setting.truth is None or on.kind.are_of_classes:
        return Task(part, on.entering.double(), target, ablation, objective, loss, on.kind)
    sides, family = target.round().long(), family_of(setting, part)
    return Task(part, on.entering.double(), sides, ablation, objective, loss_of_sides, Outputs.probability, family)


def _judged_rows(
    setting: Setting[DiscoveryConfig],
    judged: Judged,
    methods: Sequence[Method],
    shift: Tensor | None,
    *,
    is_population: bool,
) -> tuple[dict[str, list[dict[str, Any]]], Compared]:
    """Returns the rows of all tables for one output and ablation, and how methods compare.

    Args:
        shift: `(S, n_0)`, other data as they enter the analysed layers.
        is_population: whether the judged examples are all inputs there are.
    """
    by_method = []
    with setting.progress.bar("methods", len(methods)) as advance:
        for each in methods:
            by_method.append(_found(setting, judged, each))
            advance(1, each.name)
    circuits = np.concatenate([found.circuits for method in by_method for found in method.repeats])
    edges = judged.edges
    rows_of = judged.judge(np.concatenate([circuits, edges.empty, judged.masked.start]))
    best = None if judged.every is None else judged.every.best(judged.masked, circuits[distinct(circuits)[0]])
    stable = _stability_rows(setting, judged, by_method) if setting.config.bootstrap > 1 else []
    tables = {**_method_rows(judged, by_method, rows_of, best, stable), "stability": stable}
    if setting.config.criteria:
        found = criteria.criteria_columns(judged, circuits, shift, every_input=is_population, progress=setting.progress)
        for row, columns in zip(tables["metrics"], found, strict=True):
            row |= columns
        tables["criteria"] = list(criteria.of_smallest(by_method, tables["metrics"]))
        tables["criteria_by_regret"] = list(criteria.by_regret(tables["metrics"], judged.n_edges))
    if setting.config.certify is not None:
        tables["certified"] = certified.certified_rows(
            judged, by_method, tables["metrics"], setting.config.certify, setting.progress
        )
    setting.progress.rows("metrics", tables["metrics"])
    compared = answers.compared_methods(judged, by_method, tables["metrics"], is_population=is_population)
    for row, tested in zip(tables["summary"], answers.tested_columns(compared), strict=True):
        row |= tested
    scored = {method.name: scores for method in by_method if (scores := method.repeats[0].scores) is not None}
    tables["scores"] = [row for name, scores in scored.items() for row in score_rows(judged, name, scores)]
    tables["analysed"] = list(analysed_rows(judged))
    tables["correlations"] = [
        {
            "method": name,
            "other": other,
            "ablation": judged.task.ablation,
            "output": judged.output,
            "spearman": spearman,
            "kendall": kendall,
        }
        for name, other, spearman, kendall in rank_correlations(scored)
    ]
    if best is not None:
        tables["edges"] = list(edge_rows(judged, best))
        tables["sizes"] = list(size_rows(judged))
    return tables, compared


def _method_rows(
    judged: Judged,
    by_method: Sequence[MethodFound],
    judgements: Judgements,
    best: Best | None,
    stable: Sequence[Mapping[str, Any]],
) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of metrics and summary.

    Args:
        judgements: of the circuits of all methods and draws, one behind the other.
    """
    n_sizes, start = len(judged.sizes), 0
    rows: dict[str, list[dict[str, Any]]] = {}
    areas: dict[str, list[dict[str, float]]] = {}
    first: dict[str, int] = {}
    for method in by_method:
        rows[method.name], areas[method.name], first[method.name] = [], [], start
        for repeat, found in enumerate(method.repeats):
            places = slice(start, start + n_sizes)
            rows[method.name] += metrics_rows(judged, method.name, repeat, found, judgements, places, best)
            areas[method.name].append(areas_of(judged, judgements, places, best))
            start = places.stop
    metrics = [row for of_method in rows.values() for row in of_method]
    common = sizes_of_all(metrics, "percentile")
    summary = []
    for method in by_method:
        own = [row for row in stable if row["method"] == method.name]
        name = method.name
        summary.append(summary_row(judged, method, rows[name], areas[name], own, judgements, first[name], common))
    return {"metrics": metrics, "summary": summary}


def _found(setting: Setting[DiscoveryConfig], judged: Judged, method: Method) -> MethodFound:
    began = clock()
    n_draws = setting.config.repeats if method.draws else 1
    draws = [chance.generator(setting.seed, method.name, judged.output, repeat) for repeat in range(n_draws)]
    try:
        repeats = find_draws(method, judged.finding, judged.sizes, draws, masked=judged.finding_masked)
    except Exception as error:
        if method in METHODS:
            raise
        raise RunFailed(f"the method {method.name} raises {type(error).__name__}: {error}") from error
    return MethodFound(method, repeats, clock() - began)


def _stability_rows(
    setting: Setting[DiscoveryConfig], judged: Judged, by_method: Sequence[MethodFound]
) -> list[dict[str, Any]]:
    """Returns for each method that resamples and each size how its circuits differ between resamples."""
    config, task = setting.config, judged.finding
    draw = chance.generator(setting.seed, "resampled examples", judged.output)
    rows = stability.resamples(judged.n_finding, config.bootstrap, draw)
    resampled = Resampled(task, rows, stability.counts_of(rows))
    which = np.repeat(np.arange(config.bootstrap), len(judged.sizes))
    table = []
    with setting.progress.bar("resampled examples", len(by_method)) as advance:
        for method in by_method:
            advance(1, method.name)
            if not method.method.resamples:
                continue
            generator = chance.generator(setting.seed, method.name, judged.output, "resampled")
            circuits = resampled.find(method.method, judged.sizes, generator=generator)
            flat = circuits.reshape(-1, judged.edges.n)
            spread = stability.stability(circuits)
            mse = judged.masked.objective(flat).reshape(circuits.shape[:2])
            own_mse = resampled.masked.objective(flat, "distance", which).reshape(circuits.shape[:2])
            for place, k in enumerate(judged.sizes.tolist()):
                table.append(
                    {
                        "method": method.name,
                        "ablation": task.ablation,
                        "output": judged.output,
                        "k": k,
                        "n_resamples": config.bootstrap,
                        "n_edges": float(spread.n_edges[place]),
                        "jaccard": or_none(spread.jaccard[place]),
                        "n_always": int(spread.n_always[place]),
                        "n_ever": int(spread.n_ever[place]),
                        "mse_mean": float(mse[:, place].mean()),
                        "mse_sd": float(mse[:, place].std(ddof=1)),
                        "own_mse_mean": float(own_mse[:, place].mean()),
                        "own_mse_sd": float(own_mse[:, place].std(ddof=1)),
                    }
                )
    return table


EXPERIMENT: Experiment[DiscoveryConfig] = Experiment(
    check=check,
    metric_names=metric_names,
    run=run,
    cost=cost,
    compare_networks=compare_networks,
    declared=DECLARED,
)

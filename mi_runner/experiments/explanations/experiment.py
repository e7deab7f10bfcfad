"""How many explanations does a network of a Boolean function have? (Méloux et al., ICLR 2025, main part)

Where, then what: its valid circuits, and for each of them the groundings, logic gates that its neurons can be. What,
then where: the algorithms for its function, and for each of them the alignments, neurons that carry its nodes. Both are
counted completely. Controls: the untrained network, with its own function as target, and networks trained on random
functions from the same initial weights. Where a function is constant, no algorithms are counted.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from mi_runner import chance
from mi_runner.config.experiments.explanations import ExplanationsConfig
from mi_runner.datasets import Dataset, logic
from mi_runner.errors import ArgumentError, ConfigError, RunFailed
from mi_runner.experiments import Drawing, Experiment, Result, Setting
from mi_runner.experiments.common import sentences
from mi_runner.experiments.common.circuit_columns import PLANTED
from mi_runner.experiments.common.circuit_picture import circuits_picture, output_picture
from mi_runner.experiments.common.named_parts import named
from mi_runner.experiments.common.tables import HISTORY, of_training
from mi_runner.experiments.explanations import figures
from mi_runner.experiments.explanations.controls import RANDOM_FUNCTION, UNTRAINED, Control, train_on_random_functions
from mi_runner.experiments.explanations.rows import algorithm_rows, circuit_frame, grounding_rows
from mi_runner.experiments.explanations.tables import (
    ALGORITHMS,
    ALIGNMENTS,
    CIRCUITS,
    COUNTS,
    DECLARED,
    GROUNDINGS,
    METRICS,
    OF_TRUTH,
    SEEDS_SUMMARY,
    SUMMARY,
)
from mi_runner.experiments.explanations.truth import planted_explanations, sentence, truth_figures
from mi_runner.graph.chain import Part, find_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.family import nonzero_edges
from mi_runner.methods.circuits.rounding import refuse_falling
from mi_runner.methods.explanations.boolean import digits_of
from mi_runner.methods.explanations.explain import Explanations, check_sizes, explain, n_circuits, own_table
from mi_runner.progress import log
from mi_runner.tables.declaration import names_of
from mi_runner.tables.names import NONE
from mi_runner.tables.over_seeds import seeds_summary
from mi_runner.training.options import TrainingOptions

if TYPE_CHECKING:
    pass

OF_ANALYSED = (
    *("n_circuits", *(count.name for count in COUNTS)),
    *("n_groundings_low", "n_groundings_high", "n_grounded", "n_algorithms", "seconds"),
)
"""Columns that are empty where a network is not accurate enough to be analysed."""
NAMES = tuple(number.name for number in SUMMARY if number not in OF_TRUTH)
"""What the summary has of every network."""


def check(setting: Setting[ExplanationsConfig]) -> None:
    """Checks that the data are a Boolean function's, the network is a chain of layers, and all can be counted.

    Raises:
        ConfigError: they aren't, or it can't; the text says what to type.
    """
    config, dataset = setting.config, setting.dataset
    n = dataset.input_shape[0]
    is_boolean = len(dataset.input_shape) == 1 and n <= logic.MOST_INPUTS
    if not is_boolean or not torch.equal(dataset.x_test.cpu(), logic.all_inputs(n)):
        raise ConfigError(
            "experiment=explanations takes a Boolean function, whose test set is each of its inputs once: type "
            "dataset=logic dataset.limit=null and a network that takes its inputs, such as model=mlp "
            "model.hidden_sizes=[3,3]."
        )
    kind = dataset.outputs
    if kind.are_of_classes and not kind.are_of_one:
        n_classes = len(dataset.class_names or ())
        one = "model.outputs=logit for a network with one output, or dataset.target=value"
        raise ConfigError(
            "experiment=explanations: groundings and algorithms are defined for an output that is true or false by "
            f"itself, and {n_classes} outputs answer a class together. Type "
            f"{one if n_classes == 2 else 'experiment=circuits'}."
        )
    for output, table in enumerate(_tables(dataset)):
        if table in (0, 2**2**n - 1):
            raise ConfigError(f"experiment=explanations: the function of output {output} is constant. Use another.")
    graph = setting.graph()
    try:
        part = find_part(graph, None)
        refuse_falling(part.layers[-1])
        check_sizes(part.output(0).sizes, config.max_depth, _family(setting, part))
    except ValueError as error:
        if isinstance(error, ArgumentError) and error.argument == "max_depth":
            raise error.as_options({"max_depth": "experiment.max_depth"}) from error
        raise ConfigError(f"experiment=explanations: {error} Type model=mlp model.hidden_sizes=[3,3].") from error


def metric_names(setting: Setting[ExplanationsConfig]) -> list[str]:
    """Returns the summary's names: of the first output; with many seeds their means."""
    return _names(setting)


def _names(setting: Setting[ExplanationsConfig]) -> list[str]:
    return [*NAMES, *(names_of(OF_TRUTH) if setting.truth is not None else ())]


def _family(setting: Setting[ExplanationsConfig], part: Part) -> int | None:
    """Returns the edges that circuits of planted weights may keep; None of other networks, where these are all."""
    return None if setting.truth is None else nonzero_edges(part)


def networks(setting: Setting[ExplanationsConfig]) -> dict[str, TrainingOptions]:
    """Returns the untrained network, as control; none of planted weights, which no training made."""
    has_control = setting.config.control and setting.truth is None
    return {UNTRAINED: replace(setting.training, epochs=0)} if has_control else {}


def cost(setting: Setting[ExplanationsConfig]) -> dict[str, int]:
    """Returns the number of circuits of all outputs and controls together."""
    config = setting.config
    part = find_part(setting.graph(), None).output(0)
    n_networks = 2 + config.random_functions if config.control else 1
    return {"circuits": n_circuits(part.sizes, _family(setting, part)) * setting.dataset.n_outputs * n_networks}


def run(setting: Setting[ExplanationsConfig]) -> Result:
    """Returns a row an output with its counts, tables of what is counted, and pictures."""
    if setting.members:
        return _run_members(setting)
    rows, explained = _explained(setting, setting.graph())
    if all(row["n_valid"] is None for row in rows):
        worst = min(row["accuracy"] for row in rows)
        raise RunFailed(
            f"the network's accuracy is {worst:.4g}, below experiment.min_accuracy={setting.config.min_accuracy:g}: "
            f"it is not analysed. Train longer (training.epochs={4 * setting.training.epochs}), with another seed, or "
            f"lower experiment.min_accuracy."
        )
    rows += _control_rows([setting])
    setting.progress.rows("metrics", rows)
    groundings: list[dict[str, Any]] = []
    algorithms: list[dict[str, Any]] = []
    alignments: list[dict[str, Any]] = []
    frames = []
    pictures: list[Callable[[], Any]] = []
    part = named(find_part(setting.graph(), None), setting.graph(), setting.dataset)
    drawn: dict[str, Drawing] = {}
    where = [PLANTED] if setting.truth is not None else []
    as_text = any(max(found.groundings, default=0) >= 2**63 for found in explained.values())
    for output, found in explained.items():
        planted = None if setting.truth is None else planted_explanations(setting.truth, found)
        frames.append(circuit_frame(output, found, as_text=as_text, planted=planted))
        pictures.append(partial(output_picture, output, part.output(output), frames[-1]))
        groundings += grounding_rows(output, found, setting.config.listed, planted)
        of_output = algorithm_rows(output, found, setting.config.listed, planted)
        algorithms += of_output[0]
        alignments += of_output[1]
        drawn |= figures.of_output(output, found)
    filled = [
        METRICS.filled(rows, *where),
        GROUNDINGS.filled(groundings, *where),
        ALGORITHMS.filled(algorithms, *where),
        ALIGNMENTS.filled(alignments, *where),
    ]
    if frames:
        import pandas as pd

        filled.append(CIRCUITS.filled(pd.concat(frames, ignore_index=True), *where))
    return Result(
        filled,
        metrics={name: _number(rows[0][name]) for name in _names(setting)},
        declared=DECLARED,
        figures=drawn,
        pictures={"circuits": partial(circuits_picture, pictures)} if pictures else {},
        answer=_answer(rows[0]) + (sentence(rows[0]) if "grounding_found" in rows[0] else ""),
        model=setting.model,
    )


def _answer(row: Mapping[str, Any]) -> str:
    """Returns the counts of the first output; of groundings that were sampled, with their interval."""
    if row["n_valid"] is None:
        return (
            f"The network's accuracy on {row['function']} is {sentences.figure(row['accuracy'])}: it is not analysed."
        )
    of_counts = [row["n_groundings"], row["n_groundings_low"], row["n_groundings_high"]]
    n, low, high = (f"{value:,}" for value in of_counts)
    groundings = n if low == high else f"about {n} ({low} to {high})"
    words = "grounding as logic gates" if n == "1" else "groundings as logic gates"
    found = f", with {groundings} {words}" if row["n_valid"] else ""
    circuits = sentences.counted(row["n_circuits"], "circuit")
    text = f"{_some(row['n_valid'], 'computes', 'compute', circuits)} {row['function']}{found}"
    if row["n_algorithms"] is None:
        return f"{text}; the function is constant, so there are no algorithms for it."
    algorithms = f"{sentences.counted(row['n_algorithms'], 'algorithm')} for it"
    text += f"; {_some(row['n_algorithms_aligned'], 'aligns', 'align', algorithms, first='none')} with the network"
    return f"{text}, in {sentences.counted(row['n_alignments'], 'way')}." if row["n_alignments"] else f"{text}."


def _some(n: int, does: str, they_do: str, of: str, *, first: str = "None") -> str:
    """Returns how many of some things do something: None of 3 circuits computes, 1 of … computes, 2 of … compute."""
    return f"{n:,} of {of} {does if n == 1 else they_do}" if n else f"{first} of {of} {does}"


def _answer_over_seeds(summary: Sequence[Mapping[str, Any]], n_analysed: int) -> str:
    means = {row["measure"]: row for row in summary if (row["output"], row["control"]) == (0, NONE)}
    names = {"n_valid": "valid circuits", "n_groundings": "groundings", "n_alignments": "alignments"}
    found = [
        f"{sentences.between(means[name]['mean'], means[name]['low'], means[name]['high'])} {words}"
        for name, words in names.items()
        if name in means
    ]
    who = sentences.counted(n_analysed, "network that is", "networks that are")
    return f"Means of {who} accurate enough: {', '.join(found)}."


def _number(value: float | int | None) -> float:
    return math.nan if value is None else float(value)


def _tables(dataset: Dataset) -> list[int]:
    """Returns the truth table of each output of the data set."""
    targets = dataset.y_test.cpu().double().reshape(len(dataset.y_test), -1).round()
    return [sum(1 << row for row in range(len(targets)) if targets[row, k] == 1) for k in range(targets.shape[1])]


def _explained(
    setting: Setting[ExplanationsConfig],
    graph: ModelGraph,
    *,
    control: str = NONE,
    repeat: int = 0,
    dataset: Dataset | None = None,
) -> tuple[list[dict[str, Any]], dict[int, Explanations]]:
    """Returns a row an output, and the explanations of those outputs that are accurate enough.

    Args:
        dataset: of the functions that the network was trained on; None: the setting's.
    """
    rows: list[dict[str, Any]] = []
    explained: dict[int, Explanations] = {}
    part = find_part(graph, None).to(torch.device("cpu"))
    for output, table in enumerate(_tables(dataset or setting.dataset)):
        single = part.output(output)
        try:
            wanted = own_table(single, setting.dataset.outputs) if control == UNTRAINED else table
            row, found = _output(setting, single, wanted)
        except ValueError as error:
            raise RunFailed(f"output {output}: {error} Use another seed.") from error
        rows.append({"control": control, "repeat": repeat, "output": output, **row})
        if found is not None:
            explained[output] = found
    return rows, explained


def _output(setting: Setting[ExplanationsConfig], part: Part, table: int) -> tuple[dict[str, Any], Explanations | None]:
    config, kind = setting.config, setting.dataset.outputs
    began = clock()
    n_rows = 2 ** part.sizes[0]
    answers = kind.answers(part(logic.all_inputs(part.sizes[0]))).tolist()
    accuracy = sum(value == (table >> row & 1) for row, value in enumerate(answers)) / n_rows
    converged = accuracy >= config.min_accuracy
    row: dict[str, Any] = {
        "function": logic.name_of(digits_of(table, n_rows)),
        "accuracy": accuracy,
        "converged": int(converged),
    }
    if not converged:
        return {**row, **dict.fromkeys(OF_ANALYSED)}, None
    found = explain(
        part,
        table,
        max_depth=config.max_depth,
        pairs=config.pairs.name,
        accuracy_threshold=config.accuracy_threshold,
        sample=config.sample,
        seed=chance.derived_seed(setting.seed, "sampled circuits"),
        kind=kind,
        family=_family(setting, part),
        progress=setting.progress,
    )
    counts = found.groundings
    row |= {
        "n_circuits": found.circuits.n_circuits,
        "n_valid": found.circuits.n_valid,
        "n_valid_partial": found.circuits.n_valid_partial,
        "n_groundings": found.total.value,
        "n_groundings_low": found.total.low,
        "n_groundings_high": found.total.high,
        "n_groundings_partial": found.n_groundings_partial,
        "n_grounded": len(counts),
        "groundings_median": statistics.median_low(counts) if counts else None,
        "groundings_max": max(counts, default=None) if found.is_complete else None,
        **_algorithm_counts(found, is_constant=table in (0, 2**n_rows - 1)),
        "seconds": clock() - began,
    }
    if setting.truth is not None:
        row |= truth_figures(planted_explanations(setting.truth, found), found)
    return row, found


def _algorithm_counts(found: Explanations, *, is_constant: bool) -> dict[str, int | None]:
    """Returns the counts of algorithms and alignments; None for a constant function, which has no algorithms."""
    counts = {
        "n_algorithms": len(found.aligned),
        "n_algorithms_aligned": sum(bool(each.single) for _, each in found.aligned),
        "n_alignments": found.n_alignments,
        "n_alignments_joint": found.n_alignments_joint,
    }
    return dict.fromkeys(counts) if is_constant else counts


def _control_rows(settings: Sequence[Setting[ExplanationsConfig]]) -> list[dict[str, Any]]:
    """Returns the rows of the controls: of each untrained network, and of networks trained on random functions.

    An untrained network's target is its own function.
    """
    if UNTRAINED not in settings[0].networks:
        return []
    trained = train_on_random_functions(settings)
    has_seeds = len(settings) > 1
    rows: list[dict[str, Any]] = []
    with settings[0].progress.bar("explaining controls", len(settings)) as advance:
        for setting, controls in zip(settings, trained, strict=True):
            own, _ = _explained(setting, setting.graph(setting.networks[UNTRAINED].model), control=UNTRAINED)
            for repeat, control in enumerate(controls):
                own += _random_function_rows(setting, control, repeat)
            rows += [{"seed": setting.seed, **row} for row in own] if has_seeds else own
            advance(1)
    on_random = [row for row in rows if row["control"] == RANDOM_FUNCTION]
    if on_random:
        n_converged = sum(row["converged"] for row in on_random)
        log.info(f"{n_converged} of {len(on_random)} controls on random functions are accurate enough and analysed")
    return rows


def _random_function_rows(setting: Setting[ExplanationsConfig], control: Control, repeat: int) -> list[dict[str, Any]]:
    graph = setting.graph(control.model)
    rows, _ = _explained(setting, graph, control=RANDOM_FUNCTION, repeat=repeat, dataset=control.dataset)
    return rows


# --- many seeds ------------------------------------------------------------------------------------------------------


def _run_members(setting: Setting[ExplanationsConfig]) -> Result:
    """Returns the rows of each network, and their spread over the seeds; unconverged networks have no counts."""
    rows: list[dict[str, Any]] = []
    n_converged = 0
    with setting.progress.bar("explaining", len(setting.members)) as advance:
        for member in setting.members:
            own, explained = _explained(member, member.graph())
            n_converged += len(explained) == len(own)
            rows += [{"seed": member.seed, **row} for row in own]
            setting.progress.rows("metrics", rows[-len(own) :])
            advance(1, f"seed {member.seed}")
    if not n_converged:
        raise RunFailed(
            f"no network has an accuracy of experiment.min_accuracy={setting.config.min_accuracy:g}. Train longer: "
            f"training.epochs={4 * setting.training.epochs}."
        )
    log.info(f"{n_converged} of {len(setting.members)} networks are accurate enough and analysed")
    rows += _control_rows(setting.members)
    summary = seeds_summary(rows, METRICS.keys, METRICS.measures, setting.starts)
    first = [row for row in rows if row["output"] == 0 and row["control"] == NONE]
    metrics = {}
    for name in _names(setting):
        values = [_number(row[name]) for row in first if row[name] is not None]
        metrics[name] = math.fsum(values) / len(values) if values else math.nan
    history = [{"seed": member.seed, **row} for member in setting.members for row in member.history]
    return Result(
        [
            METRICS.of_seeds().filled(rows, *([PLANTED] if setting.truth is not None else [])),
            SEEDS_SUMMARY.filled(summary),
            of_training(history, HISTORY.of_seeds()),
        ],
        metrics,
        DECLARED,
        figures=figures.of_seeds(first),
        shown=("seeds_summary",),
        answer=_answer_over_seeds(summary, n_converged),
        members={f"seed_{member.seed}": member.model for member in setting.members},
    )


EXPERIMENT: Experiment[ExplanationsConfig] = Experiment(
    check=check, metric_names=metric_names, run=run, networks=networks, cost=cost, declared=DECLARED
)

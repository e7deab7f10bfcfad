"""The circuits of an output, or of all together, where each is counted: the search, the rows, the figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mi_runner import chance
from mi_runner.config.experiments.circuits import CircuitsConfig, CircuitTable
from mi_runner.experiments import Drawing
from mi_runner.experiments.circuits import figures
from mi_runner.experiments.circuits.output import Asked, OfOutput, number
from mi_runner.experiments.circuits.rows import (
    accuracy_rows,
    census_rows,
    counted_edge_rows,
    exactly,
    judged_columns,
    n_equally_valid,
    with_truth_columns,
)
from mi_runner.experiments.circuits.sharing import MOST_COMPARED, Compared, Sharing, compare, sharing
from mi_runner.experiments.circuits.tables import OF_MINIMALITY
from mi_runner.experiments.common.circuit_picture import output_picture
from mi_runner.experiments.common.circuit_search import what
from mi_runner.experiments.common.known_truth import by_side_of_half
from mi_runner.experiments.common.sentences import counted, figure, measured
from mi_runner.experiments.common.validity import no_circuit, what_holds
from mi_runner.graph.chain import Part
from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.family import nonzero_edges, search_family
from mi_runner.methods.circuits.minimality import (
    LEVELS,
    MOST_SEARCHED,
    minimality,
    minimality_by_search,
    validity,
)
from mi_runner.methods.circuits.search import CircuitSearch, count_circuits, judged, search_circuits
from mi_runner.methods.circuits.table import JudgedElsewhere, add_levels, circuit_table
from mi_runner.progress import log

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_LEVELLED = 5_000
"""Valid circuits of a sample below each of which sub-circuits are searched; of more none has a level of minimality."""


@dataclass(frozen=True, eq=False)
class Searched:
    """What a search has found, before it is summed up.

    Attributes:
        method: table or census.
        result: the counts, and the listed circuits.
        listed: these as a table, without the levels of minimality.
        elsewhere: the same circuits on the examples that they are judged on; None: these are the same.
        seconds: that the search took.
    """

    method: str
    result: CircuitSearch
    listed: DataFrame
    elsewhere: JudgedElsewhere | None
    seconds: float


def by_search(asked: Asked, examples: CircuitExamples, method: str) -> OfOutput:
    """Returns what a table or a census finds.

    Args:
        examples: those that circuits are found on.
        method: table or census.
    """
    return summed_up(asked, examples, searched(asked, examples, method))


def searched(asked: Asked, examples: CircuitExamples, method: str) -> Searched:
    """Returns what a table or a census finds, before it is summed up."""
    began = clock()
    result = _search(asked, examples, method)
    seconds = clock() - began
    judged_on = judging_examples(asked)
    elsewhere = _judged(asked, judged_on, result) if judged_on else None
    valid_only = asked.config.table is CircuitTable["valid"]
    listed = circuit_table(examples, asked.output, result, valid_only=valid_only, judged=elsewhere)
    return Searched(method, result, listed, elsewhere, seconds)


def summed_up(asked: Asked, examples: CircuitExamples, found: Searched) -> OfOutput:
    """Returns what is said of the circuits that a search has found: of the whole search, not of a part of it."""
    config, part, output, result, listed = asked.config, asked.part, asked.output, found.result, found.listed
    began = clock()
    levels = _levels(config, part, examples, output, result)
    minimal = clock()
    compared, found_shared = _pairs(asked, result, levels)
    paired = clock()
    row = _summary(asked, found.method, result, levels, compared) | {"seconds": found.seconds}
    row |= {} if found_shared is None else found_shared.numbers
    row |= judged_columns(result, len(examples), found.elsewhere) if found.elsewhere else {}
    truth = asked.truths.get(output)
    row |= {"n_equally_valid": n_equally_valid(result, truth)} if asked.truths else {}
    asked.progress.rows("metrics", [row])
    is_listed = config.table is not CircuitTable["none"]
    add_levels(listed, levels)
    if asked.truths:
        listed = with_truth_columns(listed, truth)
    edges, shares = (
        list(counted_edge_rows(part, output, result.edge_counts, result.n_valid)),
        result.edge_counts / max(1, result.n_valid),
    )
    return OfOutput(
        row,
        _answer(asked, row, result, found_shared),
        edges,
        list(census_rows(output, result.counts)),
        list(accuracy_rows(output, result.counts)),
        listed if is_listed else None,
        figures.of_output(part, result.space, output, shares, result.n_valid, listed) | _of_overlaps(found_shared),
        partial(output_picture, output, part, listed, [edge["share"] for edge in edges]) if is_listed else None,
        minimal - began,
        paired - minimal,
        found_shared,
    )


def judging_examples(asked: Asked) -> CircuitExamples | None:
    """Returns the examples that circuits are judged on, if these are others."""
    if asked.judging is None:
        return None
    return by_side_of_half(asked.judging.examples(asked.output, asked.rule), asked.is_planted)


def _pairs(asked: Asked, result: CircuitSearch, levels: np.ndarray) -> tuple[Compared | None, Sharing | None]:
    """Returns the valid circuits in pairs, and what they share; None for what the options leave out."""
    config, output = asked.config, asked.output
    shares = result.lists_every_valid if config.shared is None else config.shared
    if not config.pairs and not shares:
        return None, None
    compared = compare(result, what(output), chance.generator(asked.seed, "pairs", output))
    if not shares:
        return compared, None
    found = sharing(result, levels, compared, output, seed=asked.seed, seconds=config.shared_seconds)
    return compared if config.pairs else None, found


def _of_overlaps(found: Sharing | None) -> dict[str, Drawing]:
    """Returns the figure of overlaps by its name; none without pairs."""
    if found is None or not found.bins:
        return {}
    return {f"overlaps_{found.row['output']}": partial(figures.overlaps, found.bins)}


def _search(asked: Asked, examples: CircuitExamples, method: str) -> CircuitSearch:
    config, part = asked.config, asked.part
    if asked.is_planted:
        return search_family(
            part,
            examples,
            nonzero_edges(part),
            min_node_sparsity=config.min_node_sparsity,
            max_table_rows=config.max_table_rows,
            **asked.search_options,
        )
    if method == "table":
        return search_circuits(
            part,
            examples,
            min_node_sparsity=config.min_node_sparsity,
            max_table_rows=config.max_table_rows,
            device=asked.device,
            **asked.search_options,
        )
    result = count_circuits(
        part,
        examples,
        most_listed=most_listed(config),
        generator=listing_order(asked.seed, asked.output),
        piece=asked.piece,
        **asked.search_options,
    )
    if len(result.listed) < result.n_valid:
        which = f"{what(asked.output)}{asked.which_part}"
        log.info(
            f"{which}: all circuits are counted; {len(result.listed):,} of the {result.n_valid:,} valid ones, drawn at "
            "random, are measured"
        )
    return result


def most_listed(config: CircuitsConfig) -> int:
    """Returns the largest number of valid circuits that a census lists."""
    return MOST_COMPARED if config.table is CircuitTable["none"] else config.max_table_rows


def listing_order(seed: int, output: int | str) -> torch.Generator:
    """Returns what draws the random order in which the valid circuits of an output are listed."""
    return chance.generator(seed, "listed circuits", output)


def _judged(asked: Asked, examples: CircuitExamples, result: CircuitSearch) -> JudgedElsewhere:
    """Returns the listed circuits on the examples that they are judged on."""
    config = asked.config
    measures = judged(result, asked.part, examples, ablation=config.ablation.name, progress=asked.progress)
    return JudgedElsewhere(measures, examples, config.accuracy_threshold)


def _levels(
    config: CircuitsConfig, part: Part, examples: CircuitExamples, output: int | str, result: CircuitSearch
) -> np.ndarray:
    """Returns the level of each listed valid circuit, `(K,)` int8, places in `LEVELS`; 0 where it is not known."""
    if result.lists_every_valid:
        return minimality(result.space, result.valid)
    levels = np.zeros(len(result.valid), dtype=np.int8)
    if config.table is CircuitTable["none"]:
        return levels
    if len(levels) > MOST_LEVELLED:
        log.info(
            f"{what(output)}: circuits.parquet has a sample of the valid circuits, so the column minimality is empty. "
            f"Type experiment.max_table_rows={MOST_LEVELLED} to search below each circuit of a smaller sample"
        )
        return levels
    found, exact = minimality_by_search(
        result.space.sizes,
        result.space.edges.rows(result.valid),
        validity(part, examples, config.accuracy_threshold, ablation=config.ablation.name),
        inputs=config.inputs.name,
        fewest=result.fewest_edges,
    )
    levels[exact] = found[exact]
    if not exact.all():
        log.info(
            f"{what(output)}: the column minimality is empty for {int((~exact).sum()):,} circuits with more than "
            f"{MOST_SEARCHED:,} sub-circuits"
        )
    return levels


def _summary(
    asked: Asked, method: str, result: CircuitSearch, levels: np.ndarray, compared: Compared | None
) -> dict[str, Any]:
    """Returns the row of an output in metrics.csv."""
    reached: list[float] = [int((levels >= level).sum()) for level in range(1, len(LEVELS))]
    if not result.lists_every_valid:
        reached = [float("nan")] * (len(LEVELS) - 2) + [result.n_cardinal]
    return {
        "output": asked.output,
        "method": method,
        "n_circuits": result.n_circuits,
        **exactly("n_valid", result.n_valid),
        "n_circuits_partial": result.n_circuits_partial,
        **exactly("n_valid_partial", result.n_valid_partial),
        "n_sampled": None,
        **dict(zip((one.name for one in OF_MINIMALITY), reached, strict=True)),
        **asked.cut,
        "threshold": asked.config.accuracy_threshold,
        "valid_by": asked.rule,
        "pairs_contained": number(None if compared is None else compared.pairs.contained),
        "mean_jaccard": number(None if compared is None else compared.pairs.mean),
    }


def _answer(asked: Asked, row: Mapping[str, Any], result: CircuitSearch, shared: Sharing | None) -> str:
    """Returns how many circuits are valid, and how small they can be."""
    of_output = asked.which
    whole = f"the accuracy of the whole network is {figure(row['full_accuracy'])}"
    n_valid, circuits = row["n_valid"], counted(row["n_circuits"], "circuit")
    rule = row["valid_by"], row["threshold"]
    if result.fewest_edges is None:
        none = "none" if of_output else "None"
        return f"{of_output}{none} of {circuits} is valid: {no_circuit(*rule)}; {whole}."
    are = "is" if n_valid == 1 else "are"
    text = f"{of_output}{n_valid:,} of {circuits} {are} valid: {what_holds(*rule, n_valid)}; {whole}."
    n_edges = len(result.edge_counts)
    if result.n_cardinal == 1:
        text += f" The sparsest keeps {result.fewest_edges:,} of {n_edges:,} edges, and no other is as sparse"
    else:
        text += f" The {result.n_cardinal:,} sparsest keep {result.fewest_edges:,} of {n_edges:,} edges"
    has_overlap = shared is not None and shared.row["overlap"] is not None  # it has a sentence of its own
    if not math.isnan(row["mean_jaccard"]) and not has_overlap:
        text += f"; two valid circuits have on average {figure(row['mean_jaccard'])} of their edges in common"
    return f"{text}{_elsewhere(asked, row, result) if asked.words else ''}.{shared.sentence if shared else ''}"


def _elsewhere(asked: Asked, row: Mapping[str, Any], result: CircuitSearch) -> str:
    """Returns how good the valid circuits are on the examples that they are judged on, as the end of a sentence."""
    still = round(row["still_valid"] * row["n_listed_valid"])
    listed, are = counted(row["n_listed_valid"], "valid circuit"), "is" if still == 1 else "are"
    text = f". They are {asked.words}, where {still:,} of {listed} {are} still valid"
    if math.isnan(row["sparsest_judged_accuracy"]):
        return text
    mean = "accuracy" if result.n_cardinal == 1 else "mean accuracy"
    return (
        f"{text} and the {mean} of the sparsest is {measured(row, 'sparsest_judged_accuracy')} instead of "
        f"{figure(row['sparsest_found_accuracy'])}"
    )

"""The circuits of an output, or of all together, where some are drawn: how many are valid, with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mi_runner import chance
from mi_runner.config.experiments.circuits import CircuitTable
from mi_runner.experiments.circuits import figures
from mi_runner.experiments.circuits.exact import judging_examples
from mi_runner.experiments.circuits.output import Asked, OfOutput, number, unlisted_columns
from mi_runner.experiments.circuits.rows import (
    between_ends,
    sampled_accuracy_rows,
    sampled_edge_rows,
    with_truth_columns,
)
from mi_runner.experiments.circuits.tables import OF_MINIMALITY
from mi_runner.experiments.common.circuit_picture import output_picture
from mi_runner.experiments.common.circuit_search import what
from mi_runner.experiments.common.sentences import counted, figure
from mi_runner.experiments.common.validity import what_holds
from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.edges import bits_of
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.measures import CircuitMeasures, measure_by_tensors
from mi_runner.methods.circuits.overlaps import overlaps
from mi_runner.methods.circuits.sampling.result import SampledCircuits
from mi_runner.methods.circuits.sampling.sample import sample_circuits
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.circuits.table import JudgedElsewhere, circuit_table
from mi_runner.progress import log
from mi_runner.tables.declaration import names_of
from mi_runner.tables.whole_numbers import large

MOST_LISTED = 10_000
"""Valid circuits that are listed, of those that were drawn."""


@dataclass(frozen=True, eq=False)
class Listed:
    """Valid circuits that were drawn, with their measures.

    Attributes:
        space: the circuits that they were drawn from.
        listed: their measures, sorted by their bits.
    """

    space: CircuitSpace
    listed: CircuitMeasures

    @property
    def is_valid(self) -> np.ndarray:
        """Whether each listed circuit is valid, `(K,)` bool: all are."""
        return np.ones(len(self.listed), dtype=bool)


def by_sample(asked: Asked, examples: CircuitExamples, samples: int) -> OfOutput:
    """Returns what a sample of the circuits says.

    Args:
        examples: those that circuits are found on.
        samples: how many circuits are drawn.
    """
    config, part, output = asked.config, asked.part, asked.output
    began = clock()
    found = sample_circuits(
        part,
        examples,
        samples=samples,
        most_listed=min(config.max_table_rows, MOST_LISTED),
        generator=chance.generator(asked.seed, "sampled circuits", output),
        device=asked.device,
        **asked.search_options,
    )
    seconds = clock() - began
    if config.shared:
        log.info(f"{what(output)}: experiment.shared: what valid circuits share isn't known of a sample")
    bits = bits_of(found.valid)
    listed = Listed(asked.space, _measured(asked, examples, bits))
    elsewhere = _judged(asked, listed.listed.circuit)
    paired = clock()
    pairs = overlaps(bits) if config.pairs and len(bits) > 1 else None
    row = {
        "output": output,
        "method": "sample",
        "n_circuits": found.n_circuits,
        **between_ends("n_valid", found.n_valid),
        "n_circuits_partial": found.n_circuits_partial,
        **between_ends("n_valid_partial", found.n_valid_partial),
        "n_sampled": found.n_sampled,
        **dict.fromkeys(names_of(OF_MINIMALITY)),
        **asked.cut,
        "threshold": config.accuracy_threshold,
        "valid_by": asked.rule,
        "pairs_contained": number(None if pairs is None else pairs.contained),
        "mean_jaccard": number(None if pairs is None else pairs.mean),
        "seconds": seconds,
        **_judged_columns(asked, listed, len(examples), elsewhere),
    }
    asked.progress.rows("metrics", [row])
    table = circuit_table(examples, output, listed, levels=np.zeros(len(bits), dtype=np.int8), judged=elsewhere)
    if asked.truths:
        table = with_truth_columns(table, asked.truths.get(output))
    edges = list(sampled_edge_rows(part, output, found.edges, found.n_valid))
    shares = np.array([number(edge["share"]) for edge in edges])
    return OfOutput(
        row,
        _answer(asked, row, found),
        edges,
        accuracy=list(sampled_accuracy_rows(output, found.accuracy)),
        listed=None if config.table is CircuitTable["none"] else table,
        figures=figures.of_output(
            part, asked.space, output, shares, int(found.n_valid.value or 0), table, is_estimate=True
        ),
        picture=partial(output_picture, output, part, table, [edge["share"] for edge in edges]) if len(bits) else None,
        pair_seconds=clock() - paired,
    )


def _measured(asked: Asked, examples: CircuitExamples, bits: np.ndarray) -> CircuitMeasures:
    """Returns the measures of circuits, sorted by their bits."""
    ablation, progress = asked.config.ablation.name, asked.progress
    batches = list(measure_by_tensors(asked.part, examples, bits, ablation=ablation, progress=progress))
    return CircuitMeasures.joined(batches).sorted()


def _judged(asked: Asked, bits: np.ndarray) -> JudgedElsewhere | None:
    """Returns circuits on the examples that they are judged on, if these are others."""
    examples = judging_examples(asked)
    if examples is None:
        return None
    return JudgedElsewhere(_measured(asked, examples, bits), examples, asked.config.accuracy_threshold)


def _judged_columns(asked: Asked, listed: Listed, n_found: int, elsewhere: JudgedElsewhere | None) -> dict[str, Any]:
    """Returns how good the listed valid circuits are where they are judged; the sparsest ones aren't known."""
    columns, n = unlisted_columns(asked, n_found), len(listed.listed)
    if elsewhere is not None:
        columns["n_listed_valid"] = n
    if elsewhere is not None and n:
        columns["still_valid"] = float(elsewhere.is_valid.mean())
        columns["valid_found_accuracy"] = float((listed.listed.n_correct / n_found).mean())
        columns["valid_judged_accuracy"] = float((elsewhere.measures.n_correct / elsewhere.n_examples).mean())
    return columns


def _answer(asked: Asked, row: dict[str, Any], found: SampledCircuits) -> str:
    """Returns about how many circuits are valid, and which edges all drawn ones keep."""
    whole = f"the accuracy of the whole network is {figure(row['full_accuracy'])}"
    circuits, drawn = counted(found.n_circuits, "circuit"), counted(found.n_sampled, "drawn circuit")
    low, high = large(int(found.n_valid.low)), large(int(found.n_valid.high))
    if found.n_valid.value is None:
        none = "none" if asked.which else "None"
        return f"{asked.which}{none} of {drawn} is valid, so at most {high} of {circuits} are (95 % bound); {whole}."
    about = "about" if asked.which else "About"
    text = (
        f"{asked.which}{about} {large(int(found.n_valid.value))} ({low} to {high}) of {circuits} are valid: "
        f"{what_holds(row['valid_by'], row['threshold'], 2)}; estimated from {drawn}; {whole}."
    )
    left_out = [edge.without_high for edge in found.edges if edge.without_high is not None]
    if not left_out:
        return f"{text} No edge is in every valid circuit."
    keep = f"{len(left_out):,} of {len(found.edges):,} edges"
    bound = f"each is left out by at most {figure(max(left_out))} of the valid ones (95 % bound of each)"
    return f"{text} All valid circuits that were drawn keep {keep}; {bound}."

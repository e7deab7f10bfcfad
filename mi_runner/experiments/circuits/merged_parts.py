"""A census from its parts, each counted by a run of its own: the same tables as those of one run.

Counts of parts add up. Each part lists the circuits that come first among its own in one random order of all, so the
first of all parts' lists are those that one run lists. What else a run says, it says of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mi_runner.errors import ConfigError
from mi_runner.experiments import Result, SavedRun
from mi_runner.experiments.circuits.exact import Searched, judging_examples, listing_order, most_listed, summed_up
from mi_runner.experiments.circuits.networks import recorded_of
from mi_runner.experiments.circuits.output import Asked, OfOutput
from mi_runner.experiments.circuits.results import result_of
from mi_runner.experiments.circuits.tables import OF_PART
from mi_runner.experiments.common.judging import analysed_parts
from mi_runner.experiments.common.known_truth import known_truth
from mi_runner.methods.circuits.census import first_in_order
from mi_runner.methods.circuits.cut import saved_part
from mi_runner.methods.circuits.edges import among, bits_of
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.measures import CircuitMeasures
from mi_runner.methods.circuits.search import CircuitSearch, salt_of
from mi_runner.methods.circuits.table import JudgedElsewhere
from mi_runner.tables.whole_numbers import large

if TYPE_CHECKING:
    from pandas import DataFrame

ADDED = ("minimality", "contains_truth", "is_truth")
"""Columns of circuits.parquet that are made again for the whole."""

JUDGED = "judged_"
"""How the names of columns and tensors begin that are of the examples that circuits are judged on."""


def merge_parts(runs: Sequence[SavedRun]) -> Result:
    """Returns what one run of the whole census leaves, but its tensors, from the runs of all its parts.

    Args:
        runs: each part once, in any order, with the same options besides.

    Raises:
        ConfigError: their networks or their examples differ, or they are not all parts of one census.
    """
    first = runs[0]
    config, tensors = replace(first.options, parts=1, part=None), first.tensors("circuits")
    about = [_circuits(run, ["output", "circuit"]).attrs for run in runs]
    _check_same(runs, tensors)
    description = {name: value for name, value in about[0].items() if name != OF_PART}
    own, found = about[0][OF_PART], recorded_of(tensors, description)
    inputs, outputs = (own[side] and tuple(own[side]) for side in ("input_names", "output_names"))
    part = replace(saved_part(description, tensors), input_names=inputs, output_names=outputs)
    judging = recorded_of(tensors, description, JUDGED) if f"{JUDGED}x" in tensors else None
    parts = analysed_parts(found.kind, part)
    known = known_truth(config.truth, None, parts, config.inputs.name)
    truths = {output: int(bits_of(circuit[None])[0]) for output, circuit in known.items()}
    asked = [
        Asked(
            config,
            first.seed,
            one,
            found,
            judging,
            output,
            {name: row[name] for name in row if name not in ("output", "valid_by", "seconds")},
            row["valid_by"],
            truths,
            len(parts),
            own["words"],
        )
        for (output, one), row in zip(parts, own["outputs"], strict=True)
    ]
    seconds = [sum(one[OF_PART]["outputs"][place]["seconds"] for one in about) for place in range(len(parts))]
    of_outputs = [_of_output(one, runs, took) for one, took in zip(asked, seconds, strict=True)]
    result = result_of(asked, of_outputs, part, description)
    return replace(result, answer=f"{result.answer} Counted in {own['of']:,} parts.")


def _circuits(run: SavedRun, columns: Sequence[str] | None = None) -> DataFrame:
    """Returns the listed circuits of a part.

    Raises:
        ConfigError: the run has none, or is no part's.
    """
    table = run.table("circuits", columns)
    if table is None or OF_PART not in table.attrs:
        raise ConfigError(f"{run.name} has no circuits.parquet of a part of a census.")
    return table


def _check_same(runs: Sequence[SavedRun], tensors: Mapping[str, Tensor]) -> None:
    """Checks that all parts are of one network and one set of examples.

    Raises:
        ConfigError: two differ; the text says in what, and what to type.
    """
    first, *others = runs
    for run in others:
        own = run.tensors("circuits")
        differing = [name for name, tensor in tensors.items() if name not in own or not torch.equal(own[name], tensor)]
        if any(name.endswith((".weight", ".bias")) for name in differing):
            raise ConfigError(
                f"{first.name} and {run.name} have other weights in the analysed layers, so their counts are of two "
                "networks. Train the network once and type checkpoint=FOLDER, its run's folder."
            )
        if differing or own.keys() != tensors.keys():
            raise ConfigError(
                f"the activations that enter the analysed layers differ between {first.name} and {run.name}, as they "
                "do on processors of two kinds, so their counts don't add up to those of one run. Run all parts on "
                "machines of one kind."
            )


def _of_output(asked: Asked, runs: Sequence[SavedRun], seconds: float) -> OfOutput:
    """Returns what is found of an output, or of all together.

    Args:
        seconds: that all parts took.
    """
    examples = asked.found.examples(asked.output, asked.rule)
    counts, edge_counts = _counts(asked, runs, len(examples))
    listed = _listed(asked, runs)
    measures = _measures(asked, listed, len(examples))
    right = measures.right(examples.valid_by)
    least = examples.fewest_right(asked.config.accuracy_threshold)
    result = CircuitSearch(asked.space, measures, counts, edge_counts, least, right)
    judged_on = judging_examples(asked)
    elsewhere = None if judged_on is None else _elsewhere(asked, listed, judged_on)
    return summed_up(asked, examples, Searched("census", result, listed, elsewhere, seconds))


def _counts(asked: Asked, runs: Sequence[SavedRun], n_examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sums of the counts of all parts, as `CircuitSearch.counts` and `edge_counts`.

    Raises:
        ConfigError: together they aren't all circuits.
    """
    space = asked.space
    counts = np.zeros((space.n_hidden + 1, space.n_edges + 1, n_examples + 1), dtype=np.int64)
    edge_counts = np.zeros(space.n_edges, dtype=np.int64)
    for run in runs:
        census, edges = run.table("census"), run.table("edges")
        if edges is None:
            raise ConfigError(f"{run.name} has no edges.csv.")
        if census is not None:  # it is missing where a part has no circuit: there are more parts than work
            own = census[census["output"] == asked.output]
            places = tuple(own[name].to_numpy() for name in ("n_nodes", "n_edges", "n_correct"))
            np.add.at(counts, places, own["n_circuits"].to_numpy())
        edge_counts += edges.loc[edges["output"] == asked.output, "n_valid"].to_numpy(np.int64)
    if counts.sum() != space.count():
        n = large(int(counts.sum()))
        raise ConfigError(f"the parts have {n} circuits together, and there are {large(space.count())}.")
    return counts, edge_counts


def _listed(asked: Asked, runs: Sequence[SavedRun]) -> DataFrame:
    """Returns the circuits that one run lists, sorted by their bits, as the parts have measured them."""
    import pandas as pd

    edges, of_parts = asked.space.edges, []
    for run in runs:
        table = _circuits(run, ["output", "circuit"])
        of_parts.append(edges.bits(table.loc[table["output"] == asked.output, "circuit"].to_numpy()))
    salt = salt_of(listing_order(asked.seed, asked.output))
    chosen = first_in_order(asked.space, np.concatenate(of_parts), salt, most_listed(asked.config))
    rows = []
    for run, own in zip(runs, of_parts, strict=True):
        if among(own, chosen).any():  # the whole tables one after the other, because they may be large
            table = _circuits(run)
            table = table[table["output"] == asked.output]
            rows.append(table[among(own, chosen)].drop(columns=list(ADDED), errors="ignore"))
    if not rows:
        table = _circuits(runs[0])
        rows = [table[:0].drop(columns=list(ADDED), errors="ignore")]
    together = pd.concat(rows, ignore_index=True)
    return together.iloc[np.argsort(edges.bits(together["circuit"].to_numpy()))].reset_index(drop=True)


def _measures(asked: Asked, listed: DataFrame, n_examples: int, prefix: str = "") -> CircuitMeasures:
    """Returns what a table says of its circuits, in the numbers of examples that it was made from."""
    accuracy, agreement, mse = (listed[f"{prefix}{name}"].to_numpy() for name in ("accuracy", "agreement", "mse"))
    return CircuitMeasures(
        asked.space.edges.bits(listed["circuit"].to_numpy()),
        np.rint(accuracy * n_examples).astype(np.int32),
        np.rint(agreement * n_examples).astype(np.int32),
        mse * np.float32(n_examples),
    )


def _elsewhere(asked: Asked, listed: DataFrame, examples: CircuitExamples) -> JudgedElsewhere:
    """Returns the listed circuits on the examples that they are judged on."""
    measures = _measures(asked, listed, len(examples), JUDGED)
    return JudgedElsewhere(measures, examples, asked.config.accuracy_threshold)

"""One part of a census: what a run counts that has `experiment.parts=64 experiment.part=3`.

What only all parts together can say is empty; `merged_parts` says it, from what each part's run leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mi_runner.config.experiments.circuits import CircuitMethod, CircuitsConfig, CircuitTable
from mi_runner.errors import ConfigError
from mi_runner.experiments.circuits.exact import searched
from mi_runner.experiments.circuits.output import Asked, OfOutput
from mi_runner.experiments.circuits.rows import census_rows, counted_edge_rows, exactly, with_truth_columns
from mi_runner.experiments.circuits.tables import OF_JUDGED, OF_MINIMALITY, OF_PAIRS, OF_TRUTH, SPARSEST_JUDGED
from mi_runner.experiments.common.circuit_search import named_space
from mi_runner.experiments.common.last_layers import Objection
from mi_runner.experiments.common.sentences import counted, figure
from mi_runner.experiments.common.validity import no_circuit, what_holds
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.circuits.table import add_levels
from mi_runner.tables.declaration import names_of
from mi_runner.tables.whole_numbers import large


def check_part(config: CircuitsConfig) -> None:
    """Checks which part of a census is asked for.

    Raises:
        ConfigError: there is no such part, or only one of the two options is given; the text says what to type.
    """
    parts, part = config.parts, config.part
    sweep = f"mi-run -m experiment=circuits experiment.parts={parts} 'experiment.part=range(1,{parts + 1})'"
    if part is None and parts > 1:
        raise ConfigError(
            f"experiment.parts={parts} cuts the census, and each run counts one part of it. Type "
            f"experiment.part=1, or for all of them {sweep}."
        )
    if part is not None and parts == 1:
        raise ConfigError(
            f"experiment.part={part} is one of several parts. Type experiment.parts=64 for a 64th of the circuits."
        )
    if part is not None and part > parts:
        raise ConfigError(f"experiment.part={part}: there are {parts} parts. Type a number from 1 to {parts}.")


def part_refused(config: CircuitsConfig, space: CircuitSpace, *, is_planted: bool) -> Objection | None:
    """Returns why a part of these circuits can't be counted, and what to type instead; None if it can."""
    if config.part is None:
        return None
    typed, whole = f"experiment.part={config.part}", "experiment.parts=1 experiment.part=null"
    if is_planted:
        return f"{typed}: of planted weights the circuits of edges that are not 0 are listed at once.", [whole]
    if config.method not in (CircuitMethod.auto, CircuitMethod.census):
        return f"{typed} takes a census, not experiment.method={config.method.name}.", ["experiment.method=census"]
    if config.min_node_sparsity:
        return f"{typed} takes a census, and experiment.min_node_sparsity a table of all circuits.", [whole]
    if config.table is CircuitTable["all"]:
        return f"{typed} takes a census, which lists valid circuits, not all.", ["experiment.table=auto"]
    if not space.n_hidden:
        return f"{typed} takes a census, which takes a hidden layer; {named_space(space)} have none.", [whole]
    return None


def by_part(asked: Asked, examples: CircuitExamples) -> OfOutput:
    """Returns what a part of a census finds. Its circuits are always listed, because the whole is made from them.

    Args:
        examples: those that circuits are found on.
    """
    found = searched(asked, examples, "census")
    result, listed = found.result, found.listed
    row: dict[str, Any] = {
        "output": asked.output,
        "method": found.method,
        "n_circuits": result.n_circuits,
        **exactly("n_valid", result.n_valid),
        "n_circuits_partial": result.n_circuits_partial,
        **exactly("n_valid_partial", result.n_valid_partial),
        "n_sampled": None,
        **dict.fromkeys(names_of(OF_MINIMALITY)),
        **asked.cut,
        "threshold": asked.config.accuracy_threshold,
        "valid_by": asked.rule,
        **dict.fromkeys(names_of(OF_PAIRS)),
        "seconds": found.seconds,
    }
    if found.elsewhere is not None:
        sparsest = SPARSEST_JUDGED.name
        row |= dict.fromkeys((*names_of(OF_JUDGED), f"{sparsest}_low", f"{sparsest}_high"))
        numbers = len(examples), found.elsewhere.n_examples, int(result.is_valid.sum())
        row |= dict(zip(("n_found", "n_judged", "n_listed_valid"), numbers, strict=True))
    if asked.truths:
        row |= dict.fromkeys(names_of(OF_TRUTH))
    asked.progress.rows("metrics", [row])
    add_levels(listed, np.zeros(len(result.valid), dtype=np.int8))
    if asked.truths:
        listed = with_truth_columns(listed, asked.truths.get(asked.output))
    return OfOutput(
        row,
        _answer(asked, row),
        list(counted_edge_rows(asked.part, asked.output, result.edge_counts, n_valid=None)),
        list(census_rows(asked.output, result.counts)),
        listed=listed,
    )


def _answer(asked: Asked, row: dict[str, Any]) -> str:
    which = f"Part {asked.config.part} of {asked.config.parts}: {asked.which[:1].lower()}{asked.which[1:]}"
    whole = f"the accuracy of the whole network is {figure(row['full_accuracy'])}"
    n_valid, circuits, rule = row["n_valid"], counted(row["n_circuits"], "circuit"), (row["valid_by"], row["threshold"])
    if not n_valid:
        return f"{which}none of {circuits} is valid: {no_circuit(*rule)}; {whole}."
    are = "is" if n_valid == 1 else "are"
    return f"{which}{large(n_valid)} of {circuits} {are} valid: {what_holds(*rule, n_valid)}; {whole}."


def about_part(part: Part, asked: Sequence[Asked], outputs: Sequence[OfOutput]) -> dict[str, Any]:
    """Returns what all parts together need of a part besides its tables: exact numbers, the names of neurons.

    Args:
        part: the analysed layers, with all outputs.
        asked, outputs: of each output, or of all together.
    """
    columns = ("output", "valid_by", "seconds", *asked[0].cut)
    return {
        "number": asked[0].config.part,
        "of": asked[0].config.parts,
        "words": asked[0].words,
        "input_names": part.input_names,
        "output_names": part.output_names,
        "outputs": [{name: output.row[name] for name in columns} for output in outputs],
    }

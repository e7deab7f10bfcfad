"""The circuits of an output, where the valid ones are counted by halves of the last hidden layer's neurons."""

from __future__ import annotations

from mi_runner.experiments.circuits.choice import check_halves
from mi_runner.experiments.circuits.output import Asked, OfOutput, number, unlisted_columns
from mi_runner.experiments.circuits.rows import counted_edge_rows, exactly
from mi_runner.experiments.circuits.tables import OF_MINIMALITY
from mi_runner.experiments.common.sentences import counted, figure
from mi_runner.experiments.common.validity import no_circuit, what_holds
from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.halves import HalvesCount, count_by_halves
from mi_runner.tables.declaration import names_of
from mi_runner.tables.whole_numbers import large


def by_halves(asked: Asked, examples: CircuitExamples) -> OfOutput:
    """Returns the exact number of valid circuits; which circuits these are isn't known.

    Args:
        examples: those that circuits are found on.

    Raises:
        RunFailed: the circuits can't be counted so.
    """
    check_halves(asked, examples)
    config, space = asked.config, asked.space
    began = clock()
    found: HalvesCount = count_by_halves(
        asked.part,
        examples,
        ablation=config.ablation.name,
        inputs=config.inputs.name,
        progress=asked.progress,
    )
    row = {
        "output": asked.output,
        "method": "halves",
        "n_circuits": space.count(),
        **exactly("n_valid", found.n_valid),
        "n_circuits_partial": space.count() - space.count_all_active(),
        **exactly("n_valid_partial", found.n_valid_partial),
        "n_sampled": None,
        **dict.fromkeys(names_of(OF_MINIMALITY)),
        "n_cardinal": found.n_cardinal,
        **asked.cut,
        "threshold": config.accuracy_threshold,
        "valid_by": asked.rule,
        "pairs_contained": number(None),
        "mean_jaccard": number(None),
        "seconds": clock() - began,
        **unlisted_columns(asked, len(examples)),
    }
    asked.progress.rows("metrics", [row])
    rows = list(counted_edge_rows(asked.part, asked.output, found.edge_counts, found.n_valid))
    return OfOutput(row, _answer(asked, found), rows)


def _answer(asked: Asked, found: HalvesCount) -> str:
    """Returns how many circuits are valid."""
    n_valid = found.n_valid
    whole = f"the accuracy of the whole network is {figure(asked.cut['full_accuracy'])}"
    circuits, rule = counted(asked.space.count(), "circuit"), (asked.rule, asked.config.accuracy_threshold)
    if not n_valid:
        return f"{asked.which}{'none' if asked.which else 'None'} of {circuits} is valid: {no_circuit(*rule)}; {whole}."
    are = "is" if n_valid == 1 else "are"
    keep = "keeps" if found.n_cardinal == 1 else "keep"
    fewest = f"The sparsest {keep} {found.fewest_edges:,} of {asked.space.n_edges:,} edges"
    return f"{asked.which}{large(n_valid)} of {circuits} {are} valid: {what_holds(*rule, n_valid)}; {whole}. {fewest}."

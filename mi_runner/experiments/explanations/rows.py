"""The rows of the tables of `experiment=explanations`, which `tables` declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mi_runner.datasets import logic
from mi_runner.datasets.algorithms import formula
from mi_runner.experiments.explanations import figures
from mi_runner.experiments.explanations.truth import PlantedExplanations
from mi_runner.methods.circuits.table import circuit_table
from mi_runner.methods.explanations.explain import Explanations
from mi_runner.methods.explanations.groundings import list_groundings
from mi_runner.progress import log

if TYPE_CHECKING:
    from pandas import DataFrame


def circuit_frame(
    output: int, found: Explanations, *, as_text: bool, planted: PlantedExplanations | None = None
) -> DataFrame:
    """Returns a row for each circuit, as in experiment=circuits, with its groundings if it is valid.

    Args:
        as_text: whether counts are written as text, because one of the table has more than 64 bits.
    """
    import pandas as pd

    frame = circuit_table(found.examples, output, found.circuits)
    counts = dict(zip(found.circuits.valid.tolist(), found.groundings, strict=True))
    numbers = [counts.get(circuit) for circuit in frame["circuit"].tolist()]
    if as_text:
        frame["n_groundings"] = [None if number is None else str(number) for number in numbers]
    else:
        frame["n_groundings"] = pd.array(numbers, dtype="Int64")
    if planted is not None:
        frame["is_truth"] = frame["circuit"] == planted.circuit
    return frame


def _sparsest_first(found: Explanations) -> list[int]:
    return sorted(found.circuits.valid.tolist(), key=lambda circuit: (circuit.bit_count(), circuit))


def grounding_rows(
    output: int, found: Explanations, listed: int, planted: PlantedExplanations | None = None
) -> list[dict[str, Any]]:
    """Returns a row for each neuron of the first groundings, those of the sparsest circuits first."""
    rows: list[dict[str, Any]] = []
    left = listed
    for circuit in _sparsest_first(found):
        if not left:
            log.info(f"output {output}: {listed:,} of {found.total.value:,} groundings are written")
            break
        groundings = list_groundings(found.network, circuit, most=left)
        left -= len(groundings)
        for number, grounding in enumerate(groundings):
            for node in grounding.neurons:
                rows.append(
                    {
                        "output": output,
                        "circuit": circuit,
                        "grounding": number,
                        "neuron": neuron_name(found, node.layer, node.neuron),
                        "threshold": node.threshold,
                        "gate": figures.gate_name(node),
                        "inputs": " ".join(neuron_name(found, node.layer - 1, parent) for parent in node.parents),
                        **({} if planted is None else {"is_truth": grounding == planted.grounding}),
                    }
                )
    return rows


def neuron_name(found: Explanations, layer: int, neuron: int) -> str:
    """Returns the name of a neuron: A for an input, h1.0 for a hidden neuron, `out` for the output."""
    if not layer:
        return logic.variable_names(found.network.sizes[0])[neuron]
    return "out" if layer == len(found.network.sizes) - 1 else f"h{layer}.{neuron}"


def algorithm_rows(
    output: int, found: Explanations, listed: int, planted: PlantedExplanations | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the rows of `algorithms`, and of `alignments`, of these at most `listed` alignments."""
    algorithms: list[dict[str, Any]] = []
    alignments: list[dict[str, Any]] = []
    left = listed
    for number, (algorithm, aligned) in enumerate(found.aligned):
        algorithms.append(
            {
                "output": output,
                "algorithm": number,
                "formula": algorithm.formula,
                "depth": algorithm.depth,
                "n_gates": algorithm.n_gates,
                "inert": algorithm.is_inert,
                "n_alignments": len(aligned.single),
                "n_alignments_joint": None if aligned.joint is None else len(aligned.joint),
                **({} if planted is None else {"is_truth": number == planted.algorithm}),
            }
        )
        for is_joint, group in ((False, aligned.single), (True, aligned.joint or ())):
            for place, alignment in enumerate(group[:left]):
                for node, (tree, chosen) in enumerate(zip(algorithm.nodes, alignment.sets, strict=True)):
                    alignments.append(
                        {
                            "output": output,
                            "algorithm": number,
                            "alignment": place,
                            "node": node,
                            "formula": formula(tree),
                            "layer": chosen.layer,
                            "neurons": " ".join(map(str, chosen.neurons)),
                            "joint": is_joint,
                            **({} if planted is None else {"is_truth": alignment == planted.alignment}),
                        }
                    )
            left -= len(group[:left])
    return algorithms, alignments

"""The circuits of runs that are done, read for a comparison: which are valid, of which part, on which examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ConfigError
from mi_runner.experiments import SavedRun
from mi_runner.experiments.circuits.tables import OF_PART
from mi_runner.experiments.common.judging import Recorded
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.cut import saved_part
from mi_runner.methods.circuits.edges import among, n_kept
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.measures import measure_some
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.matching import ODD, Matching, correlations, match_parts
from mi_runner.methods.shared_circuits import ValidCircuits
from mi_runner.tables.names import ALL

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Network:
    """A network of a comparison.

    Attributes:
        run: of the experiment, whose files it is read from.
        part: its analysed layers, with all outputs.
        x: `(N, n_0)` float32, what enters them on the examples that circuits are found on.
        examples: a digest of these examples.
        mirrored_inputs: whether x are values of an odd activation.
        outputs: the valid circuits of each output, or of `all` that answer a class together.
        choices: what decides which circuits are valid besides the network: the threshold and the family's options.
    """

    run: SavedRun
    part: Part
    x: Tensor
    examples: str
    mirrored_inputs: bool
    outputs: Mapping[int | str, ValidCircuits]
    choices: Mapping[str, str]

    def has_weights_of(self, other: Network) -> bool:
        """Returns whether the analysed layers have the same weights."""
        return self.part.sizes == other.part.sizes and all(
            torch.equal(one.weight, two.weight) and torch.equal(one.bias, two.bias)
            for one, two in zip(self.part.layers, other.part.layers, strict=True)
        )


def read_network(run: SavedRun) -> Network:
    """Returns the network of a run.

    Raises:
        ConfigError: its folder lacks a table; the text says what to type.
    """
    table = run.table("circuits", ["output", "circuit", "valid"])
    metrics, edges = run.table("metrics"), run.table("edges")
    if table is None or metrics is None or edges is None:
        raise ConfigError(f"{run.name} has no circuits.parquet. Type experiment.table=auto.")
    for method in ("sample", "halves"):
        if "method" in metrics and (metrics["method"] == method).any():
            why = f"by method={method}, and valid circuits are compared where all of them are counted"
            raise ConfigError(f"{run.name} counts circuits {why}. Type experiment.method=census.")
    tensors, attrs = run.tensors("circuits"), table.attrs
    if (of_part := attrs.get(OF_PART)) is not None:
        which = f"part {of_part['number']} of {of_part['of']}"
        raise ConfigError(f"{run.name} counts {which} of the circuits alone, and networks are compared by all.")
    part, valid = saved_part(attrs, tensors), table[table["valid"]]
    on = recorded_of(tensors, attrs)
    family = {name: str(attrs.get(name, default)) for name, default in (("ablation", "zero"), ("inputs", "all"))}
    rules = ", ".join(sorted(set(metrics["valid_by"]))) if "valid_by" in metrics else "task"
    thresholds = sorted({float(threshold) for threshold in metrics["threshold"]})
    return Network(
        run,
        part,
        tensors["x"],
        attrs["test_examples"],
        attrs.get("activation") in ODD,
        {
            row["output"] if row["output"] == ALL else int(row["output"]): _of_output(
                run,
                part,
                on.examples(row["output"], str(row.get("valid_by", "task"))),
                family,
                row,
                valid,
                edges,
            )
            for row in metrics.to_dict("records")
        },
        {
            "valid": rules,
            "accuracy_threshold": ", ".join(f"{threshold:g}" for threshold in thresholds),
            **family,
            "outputs": str(attrs.get("outputs", "values")),
        },
    )


def _of_output(
    run: SavedRun,
    part: Part,
    examples: CircuitExamples,
    family: Mapping[str, str],
    row: Mapping[Any, Any],
    valid: DataFrame,
    edges: DataFrame,
) -> ValidCircuits:
    """Returns the valid circuits of an output.

    Args:
        part: with all outputs.
        examples: of this output.
        row: of metrics.csv.
        valid: the valid circuits of the table of circuits.
        edges: the table of edges.
    """
    output = row["output"]
    single = part if output == ALL else part.output(int(output))
    space = CircuitSpace(single.sizes, family["inputs"])
    listed = np.sort(space.edges.bits(valid.loc[valid["output"] == output, "circuit"].to_numpy()))
    n_valid, sizes, threshold = int(row["n_valid"]), n_kept(listed), float(row["threshold"])
    if len(listed) == n_valid:
        fewest = int(sizes.min()) if n_valid else None
        n_smallest = int((sizes == fewest).sum()) if n_valid else 0
    else:
        fewest, n_smallest = _smallest(run, output, examples.fewest_right(threshold))
    overlap = row.get("mean_jaccard")
    return ValidCircuits(
        space,
        listed,
        n_valid,
        edges.loc[edges["output"] == output, "n_valid"].to_numpy(np.int64),
        fewest,
        n_smallest,
        overlap=None if overlap is None or np.isnan(overlap) else float(overlap),
        evaluate=partial(_are_valid, single, examples, family, threshold),
    )


def recorded_of(tensors: Mapping[str, Tensor], attrs: Mapping[Any, Any], prefix: str = "") -> Recorded:
    """Returns the examples that the circuits of a run are found on, or are judged on.

    Args:
        tensors: of circuits.safetensors.
        attrs: the description of circuits.parquet.
        prefix: how the names of the examples' tensors begin.
    """
    kind = Outputs(attrs.get("outputs", Outputs.values.value))
    return Recorded(tensors[f"{prefix}x"], tensors[f"{prefix}outputs"], tensors[f"{prefix}targets"], kind)


def _smallest(run: SavedRun, output: Any, least: int) -> tuple[int | None, int]:
    """Returns the fewest edges of a valid circuit and how many have so many, from the census of all circuits.

    Args:
        least: the fewest right answers of a valid circuit.
    """
    census = run.table("census")
    if census is None:
        raise ConfigError(f"{run.name} has no census.csv, so its smallest valid circuits aren't known. Run it again.")
    valid = census[(census["output"] == output) & (census["n_correct"] >= least)]
    if not len(valid):
        return None, 0
    fewest = int(valid["n_edges"].min())
    return fewest, int(valid.loc[valid["n_edges"] == fewest, "n_circuits"].sum())


def _are_valid(
    part: Part, examples: CircuitExamples, family: Mapping[str, str], threshold: float, circuits: np.ndarray
) -> np.ndarray:
    """Returns whether circuits `(K,)`, bits, are valid, `(K,)` bool, by evaluating them."""
    found = measure_some(part, examples, circuits, ablation=family["ablation"], inputs=family["inputs"])
    valid = found.circuit[found.right(examples.valid_by) >= examples.fewest_right(threshold)]
    return among(circuits, valid)


@dataclass(frozen=True)
class Matched:
    """The units of a second network that are matched to those of a first one.

    Attributes:
        matching: for each layer of neurons.
        fixed: for each layer, whether its neurons have their names by themselves: the data and the outputs; where the
            layers have the same weights, all.
        correlations: for each layer that edges leave, of each unit with its match, `(n_l,)`; ones where the layers have
            the same weights.
    """

    matching: Matching
    fixed: tuple[bool, ...]
    correlations: tuple[np.ndarray, ...]


def match(first: Network, second: Network) -> Matched:
    """Returns how the units of two networks are matched.

    Raises:
        ConfigError: they can't be; the text says why.
    """
    if first.part.sizes != second.part.sizes:
        one, other = ("-".join(map(str, network.part.sizes)) for network in (first, second))
        raise ConfigError(
            f"{first.run.label} has layers of {one} neurons and {second.run.label} of {other}, so their hidden units "
            "can't be matched one to one, and edges and circuits have no common names."
        )
    sizes = first.part.sizes
    same_examples = first.examples == second.examples or torch.equal(first.x, second.x)
    inputs_fixed = torch.equal(first.x, second.x) or not same_examples
    fixed = (inputs_fixed, *[False] * (len(sizes) - 2), True)
    own = tuple(np.arange(size) for size in sizes)
    if first.has_weights_of(second):
        return Matched(own, tuple(True for _ in sizes), tuple(np.ones(size) for size in sizes[:-1]))
    if not same_examples or len(first.x) != len(second.x):
        raise ConfigError(
            f"circuits of {first.run.label} and {second.run.label} are found on different examples, so units can't be "
            "matched by their activations, and edges and circuits have no common names."
        )
    mirrored = first.mirrored_inputs and second.mirrored_inputs
    matching = match_parts(first.part, second.part, first.x, second.x, mirrored_inputs=mirrored)
    layers = zip(first.part.activations(first.x), second.part.activations(second.x), matching, strict=False)
    found = [correlations(one, other)[np.arange(len(units)), units] for one, other, units in layers]
    return Matched(matching, fixed, tuple(found))

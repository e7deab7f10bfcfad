"""Do networks of several seeds have the same sparsest valid circuits? Made when a sweep over the seed ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mi_runner import chance
from mi_runner.errors import ConfigError
from mi_runner.experiments import Comparison, Drawing, SavedRun
from mi_runner.experiments.circuits import figures as circuits_figures
from mi_runner.experiments.circuits.tables import MATCHING, RECURRENCE
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.cut import saved_part
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.matching import (
    Matching,
    correlations,
    edges_by_name,
    match_layers,
    random_recurrence,
    recurrence,
)
from mi_runner.tables.declaration import Row
from mi_runner.tables.intervals import wilson_interval
from mi_runner.tables.names import ALL

DRAWS = 1_000
"""Random matchings, each of all networks."""

PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class _Network:
    """A network of the comparison.

    Attributes:
        part: its analysed layers.
        layers: `(N, n_l)` float32 for each layer of neurons that edges leave, where circuits are found.
        sparsest: output → the valid circuits with the fewest edges, `(K,)` uint64; K is 0 if none is valid. The output
            is its number, or `all`.
    """

    run: SavedRun
    part: Part
    layers: tuple[Any, ...]
    sparsest: dict[int | str, np.ndarray]


def compare_networks(runs: Sequence[SavedRun]) -> Comparison:
    """Returns how often each edge and each sparsest valid circuit recurs over networks, and how units are matched.

    Units have the names of the first network's; see `mi_runner/methods/matching.py`. A network has an edge if one of
    its sparsest valid circuits keeps it. Networks without a valid circuit are left out of the counts.

    Args:
        runs: of `experiment=circuits`, with the same options and another seed each.

    Raises:
        ConfigError: the networks can't be compared; the text says what to type.
    """
    described = [_read(run) for run in runs]
    if len({digest for _, digest in described}) > 1:
        raise ConfigError(
            "the test examples differ from seed to seed, so units can't be matched by their activations. "
            "dataset=mnist01 and dataset=arrays have the same test examples for every seed, but not the same halves of "
            "them: type experiment.judge_on=test or experiment.judge_on=train."
        )
    networks = [network for network, _ in described]
    first = networks[0]
    own = tuple(np.arange(size) for size in first.part.sizes)
    matchings = [own, *((*match_layers(first.layers, other.layers), own[-1]) for other in networks[1:])]
    fixed = [
        all(np.array_equal(first.layers[layer], other.layers[layer]) for other in networks)
        for layer in range(len(first.layers))
    ] + [True]
    rows: list[Row] = []
    figures: dict[str, Drawing] = {}
    for output in first.sparsest:
        of_output = list(_rows(networks, matchings, fixed, output))
        rows += of_output
        if of_output:
            figures[f"circuits_{output}"] = partial(circuits_figures.of_networks, of_output)
    filled = [RECURRENCE.filled(rows), MATCHING.filled(list(_matched(networks, matchings, fixed)))]
    return Comparison([table for table in filled if len(table.rows)], figures)


def _read(run: SavedRun) -> tuple[_Network, str]:
    """Returns a network and the digest of the examples that its circuits are found on."""
    table = run.table("circuits", ["output", "circuit", "n_edges", "valid"])
    metrics = run.table("metrics")
    if table is None or metrics is None:
        raise ConfigError(f"{run.name} has no circuits.parquet. Type experiment.table=auto.")
    tensors = run.tensors("circuits")
    part = saved_part(table.attrs, tensors)
    valid = table[table["valid"]]
    sparsest: dict[int | str, np.ndarray] = {}
    for output, n_valid in zip(metrics["output"], metrics["n_valid"], strict=True):
        of_output = valid[valid["output"] == output]
        if len(of_output) < n_valid:
            raise ConfigError(
                f"{run.name} lists {len(of_output):,} of its {n_valid:,} valid circuits, so the sparsest aren't known. "
                f"Type experiment.max_table_rows={n_valid} or more."
            )
        fewest = of_output["n_edges"] == of_output["n_edges"].min()
        sparsest[output if output == ALL else int(output)] = of_output.loc[fewest, "circuit"].to_numpy(np.uint64)
    return _Network(run, part, part.activations(tensors["x"]), sparsest), table.attrs["test_examples"]


def _rows(
    networks: Sequence[_Network], matchings: Sequence[Matching], fixed: Sequence[bool], output: int | str
) -> Iterator[Row]:
    """Yields a row for each edge, for the commonest circuit, and for each circuit that a network has."""
    space = CircuitSpace(networks[0].part.output(output).sizes)
    cut = slice(0, len(space.sizes) - 1)
    having = [
        (network, (*matching[cut], np.arange(space.sizes[-1])))
        for network, matching in zip(networks, matchings, strict=True)
        if len(network.sparsest[output])
    ]
    if len(having) < 2:
        return
    kept = [space.edges.rows(network.sparsest[output]) for network, _ in having]
    found = recurrence(kept, [matching for _, matching in having])
    order = np.lexsort((found.circuits, np.bitwise_count(found.circuits), -found.counts))
    circuits, counts = found.circuits[order], found.counts[order]
    # The first of these networks keeps its names also where it isn't the one that all are matched to.
    drawn = random_recurrence(
        [kept[0][:, edges_by_name(having[0][1])], *kept[1:]],
        space.sizes,
        fixed,
        circuits,
        draws=DRAWS,
        generator=np.random.default_rng(chance.derived_seed(networks[0].run.seed, "random matching", output)),
    )
    names = [
        f"{layer}:{source}→{target}"
        for layer, source, target in zip(*(column.tolist() for column in space.edges.names), strict=True)
    ]

    def row(kind: str, bits: int, count: int, chances: np.ndarray, interval: tuple[float, float] | None) -> Row:
        low, high = np.percentile(chances / len(having), PERCENTILES).tolist()
        return {
            "output": output,
            "kind": kind,
            "edges": " ".join(name for place, name in enumerate(names) if bits >> place & 1),
            "circuit": bits,
            "n_edges": bits.bit_count(),
            "n_with": count,
            "n_networks": len(having),
            "share": count / len(having),
            "share_low": None if interval is None else interval[0],
            "share_high": None if interval is None else interval[1],
            "random_share": float(chances.mean()) / len(having),
            "random_share_low": low,
            "random_share_high": high,
        }

    for place, count in enumerate(found.edges.tolist()):
        yield row("edge", 1 << place, count, drawn.edges[:, place], wilson_interval(count, len(having)))
    # Wilson's interval is for what was chosen beforehand. Edges are all there are; each of these circuits is here
    # because it is the sparsest of some network, and the commonest also because it is.
    yield row("commonest", int(circuits[0]), int(counts[0]), drawn.largest, None)
    for index, (bits, count) in enumerate(zip(circuits.tolist(), counts.tolist(), strict=True)):
        yield row("circuit", bits, count, drawn.circuits[:, index], None)


def _matched(networks: Sequence[_Network], matchings: Sequence[Matching], fixed: Sequence[bool]) -> Iterator[Row]:
    """Yields a row for each matched unit of each network besides the first."""
    first = networks[0]
    for network, matching in zip(networks[1:], matchings[1:], strict=True):
        for layer, (one, other) in enumerate(zip(first.layers, network.layers, strict=True)):
            if fixed[layer]:
                continue
            found = correlations(one, other)
            for unit, matched in enumerate(matching[layer].tolist()):
                yield {
                    "seed": network.run.seed,
                    "layer": layer,
                    "unit": unit,
                    "matched_unit": matched,
                    "correlation": float(found[unit, matched]),
                }

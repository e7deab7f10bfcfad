"""Do several networks have the same valid circuits? Made when a sweep over the seed or the checkpoint ends.

Networks of one architecture are compared by their units, matched to those of the first. What two of them share is in
rows of its own (`shared`), as `mi-run diff` has it; of networks of other architectures what can be compared.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from mi_runner import chance
from mi_runner.errors import ConfigError
from mi_runner.experiments import Comparison, Drawing, SavedRun
from mi_runner.experiments.circuits import figures as circuits_figures
from mi_runner.experiments.circuits.networks import Matched, Network, match, read_network
from mi_runner.experiments.circuits.shared import Pair, edge_names
from mi_runner.experiments.circuits.tables import MATCHING, MATCHING_OF_CHECKPOINTS, RECURRENCE, SHARED_BY_TWO
from mi_runner.experiments.common.sentences import counted, figure
from mi_runner.methods.circuits.edges import n_kept
from mi_runner.methods.matching import edges_by_name, random_recurrence, recurrence
from mi_runner.tables.declaration import Row
from mi_runner.tables.intervals import wilson_interval

DRAWS = 1_000
"""Random matchings, each of all networks."""

PERCENTILES = (2.5, 97.5)

MOST_PAIRS = 10
"""Pairs of networks that are compared with each other; of more, each network with the first."""


def compare_networks(runs: Sequence[SavedRun], *, over: str = "seed", are_sample: bool = True) -> Comparison:
    """Returns how often each edge and each sparsest valid circuit recurs over networks, and what pairs share.

    Units have the names of the first network's; see `mi_runner/methods/matching.py`. A network has an edge if one of
    its sparsest valid circuits keeps it. Networks without a valid circuit are left out of the counts.

    Args:
        runs: of `experiment=circuits`, with the same options.
        over: what tells the networks apart: seed or checkpoint.
        are_sample: whether they are a sample of one setting; otherwise there is no interval over networks.

    Raises:
        ConfigError: the networks can't be compared; the text says what to type.
    """
    networks = [read_network(run) for run in runs]
    if over == "seed" and len({network.examples for network in networks}) > 1:
        raise ConfigError(
            "the test examples differ from seed to seed, so units can't be matched by their activations. "
            "dataset=mnist01 and dataset=arrays have the same test examples for every seed, but not the same halves of "
            "them: type experiment.judge_on=test or experiment.judge_on=train."
        )
    pairs, rules = _pairs(networks), _different_rules(networks)
    notes = list(dict.fromkeys(pair.why_not for pair in pairs if pair.why_not))
    rows: list[Row] = []
    matched_rows: list[Row] = []
    figures: dict[str, Drawing] = {}
    notes += _not_listed(networks)
    if not notes:
        matched = [match(networks[0], network) for network in networks]
        for output in networks[0].outputs:
            of_output = list(_rows(networks, matched, output, are_sample=are_sample))
            rows += of_output
            if of_output:
                figures[f"circuits_{output}"] = partial(circuits_figures.of_networks, of_output)
        matched_rows = list(_matched(networks, matched, over))
    matching = MATCHING if over == "seed" else MATCHING_OF_CHECKPOINTS
    filled = [RECURRENCE.filled(rows), matching.filled(matched_rows), SHARED_BY_TWO.filled(list(_shared(pairs)))]
    if len(pairs) == 1:
        answer = pairs[0].sentences()
        notes = [note for note in notes if note != pairs[0].why_not]
    elif over == "seed":
        answer = "\n".join(_commonest(row) for row in rows if row["kind"] == "commonest")
    else:
        answer = "\n".join(line for pair in pairs for line in pair.in_short())
    return Comparison([table for table in filled if len(table.rows)], figures, answer, [*rules, *notes])


def _different_rules(networks: Sequence[Network]) -> list[str]:
    """Returns a sentence that says that circuits are valid by other rules in some networks; empty if they aren't."""
    counts = Counter(network.choices["valid"] for network in networks)
    if len(counts) == 1:
        return []
    by = ", ".join(f"by {rule} in {counted(n, 'network')}" for rule, n in counts.most_common())
    return [
        f"circuits are valid {by}, so means of their numbers mix different things. Type experiment.valid=agreement or "
        "experiment.valid=task"
    ]


def _commonest(row: Row) -> str:
    """Returns in a sentence how many networks have the commonest of the sparsest valid circuits."""
    n, ends = row["n_networks"], [figure(row[f"random_share_{end}"] * row["n_networks"]) for end in ("low", "high")]
    return (
        f"Output {row['output']}: the commonest of the sparsest valid circuits is in {row['n_with']} of {n} networks; "
        f"if units are matched at random, in {figure(row['random_share'] * n)} on average, and in {' to '.join(ends)} "
        "in 95 % of matchings."
    )


def _pairs(networks: Sequence[Network]) -> list[Pair]:
    """Returns the pairs of networks; if there are many, of the first one and each of the others."""
    pairs = list(itertools.combinations(networks, 2))
    if len(pairs) > MOST_PAIRS:
        pairs = [(networks[0], other) for other in networks[1:]]
    return [Pair.of(first, second) for first, second in pairs]


def _shared(pairs: Sequence[Pair]) -> Iterator[Row]:
    """Yields what two networks share, for each pair."""
    for pair in pairs:
        for row in pair.rows():
            yield {"network": pair.first.run.label, "other": pair.second.run.label, **row}


def _not_listed(networks: Sequence[Network]) -> list[str]:
    """Returns a sentence for the first network whose sparsest valid circuits aren't known; empty if all are."""
    return [
        f"{network.run.name} lists {len(valid.listed):,} of its {valid.n_valid:,} valid circuits, so the sparsest "
        f"aren't known. Type experiment.max_table_rows={valid.n_valid} or more."
        for network in networks
        for valid in network.outputs.values()
        if not valid.lists_all
    ][:1]


def _rows(
    networks: Sequence[Network], matched: Sequence[Matched], output: int | str, *, are_sample: bool
) -> Iterator[Row]:
    """Yields a row for each edge, for the commonest circuit, and for each circuit that a network has."""
    space = networks[0].outputs[output].space
    cut = slice(0, len(space.sizes) - 1)
    having = [
        (network, (*found.matching[cut], np.arange(space.sizes[-1])))
        for network, found in zip(networks, matched, strict=True)
        if network.outputs[output].n_valid
    ]
    if len(having) < 2:
        return
    kept = [space.edges.rows(network.outputs[output].smallest) for network, _ in having]
    found = recurrence(kept, [matching for _, matching in having])
    order = np.lexsort((found.circuits, n_kept(found.circuits), -found.counts))
    circuits, counts = found.circuits[order], found.counts[order]
    fixed = [all(ways) for ways in zip(*(one.fixed for one in matched), strict=True)]
    # The first of these networks keeps its names also where it isn't the one that all are matched to.
    drawn = random_recurrence(
        [kept[0][:, edges_by_name(having[0][1])], *kept[1:]],
        space.sizes,
        fixed,
        circuits,
        draws=DRAWS,
        generator=np.random.default_rng(chance.derived_seed(networks[0].run.seed, "random matching", output)),
    )
    names = edge_names(space)

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
        interval = wilson_interval(count, len(having)) if are_sample else None
        yield row("edge", 1 << place, count, drawn.edges[:, place], interval)
    # Wilson's interval is for what was chosen beforehand. Edges are all there are; each of these circuits is here
    # because it is the sparsest of some network, and the commonest also because it is.
    yield row("commonest", int(circuits[0]), int(counts[0]), drawn.largest, None)
    for index, (bits, count) in enumerate(zip(circuits.tolist(), counts.tolist(), strict=True)):
        yield row("circuit", bits, count, drawn.circuits[:, index], None)


def _matched(networks: Sequence[Network], matched: Sequence[Matched], over: str) -> Iterator[Row]:
    """Yields a row for each matched unit of each network besides the first."""
    for network, found in zip(networks[1:], matched[1:], strict=True):
        for layer, values in enumerate(found.correlations):
            if found.fixed[layer]:
                continue
            for unit, (match_, value) in enumerate(zip(found.matching[layer].tolist(), values.tolist(), strict=True)):
                name = network.run.seed if over == "seed" else network.run.label
                yield {over: name, "layer": layer, "unit": unit, "matched_unit": match_, "correlation": value}

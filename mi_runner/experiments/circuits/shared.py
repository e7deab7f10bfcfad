"""What do the valid circuits of two networks share? Rows and sentences, for comparisons of sweeps and `mi-run diff`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mi_runner import chance
from mi_runner.errors import ConfigError
from mi_runner.experiments import SavedRun, TwoRuns
from mi_runner.experiments.circuits.networks import Matched, Network, match, read_network
from mi_runner.experiments.common.sentences import between, counted, figure
from mi_runner.methods.circuits.random_overlap import mean_overlap
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.shared_circuits import Checked, InCommon, SharedCircuits, ValidCircuits, shared_circuits
from mi_runner.tables.declaration import Row
from mi_runner.tables.intervals import wilson_interval
from mi_runner.tables.names import ALL

VALID = "valid circuits"
OF_ALL = "fraction of all circuits that is valid"
IN_OTHER = "fraction of the valid circuits that is valid in the other"
BACKBONE = "edges that all valid circuits keep"
EDGES = "edges of a valid circuit, mean"
SMALLEST = "valid circuits with the fewest edges"
FEWEST = "edges of the smallest valid circuit"
SMALLEST_IN_OTHER = "fraction of the smallest that is valid in the other"
OVERLAP = "overlap of two valid circuits, mean"
RANDOM_OVERLAP = "overlap of two random circuits of these sizes"

FIRST_SHOWN = (VALID, BACKBONE, FEWEST)
"""The rows that are shown of each of many outputs."""

MOST_OUTPUTS = 3
"""Outputs that have sentences, and all rows, each."""

MOST_EDGES_NAMED = 6

HIGH = 0.9
"""A correlation from which two units are said to be much alike."""

ALIKE = 1e-9
"""Rounding of a sum of fractions."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two networks of a comparison.

    Attributes:
        first, second: the networks.
        matched: how their units are matched; None where they can't be.
        why_not: the reason, where they can't.
    """

    first: Network
    second: Network
    matched: Matched | None
    why_not: str = ""

    @classmethod
    def of(cls, first: Network, second: Network) -> Pair:
        """Returns the pair, its units matched if they can be."""
        try:
            return cls(first, second, match(first, second))
        except ConfigError as error:
            return cls(first, second, None, str(error))

    @property
    def n_outputs(self) -> int:
        """The outputs that both networks have."""
        return len(self.shared)

    @cached_property
    def shared(self) -> Mapping[int | str, SharedCircuits | None]:
        """What the networks share in each output that both have; None where units can't be matched."""
        return {output: self._shared(output) for output in self.first.outputs if output in self.second.outputs}

    def _shared(self, output: int | str) -> SharedCircuits | None:
        if self.matched is None:
            return None
        seed = chance.derived_seed(self.first.run.seed, "random matching of two", output)
        one, other = self.first.outputs[output], self.second.outputs[output]
        cut = slice(0, len(one.space.sizes) - 1)
        return shared_circuits(
            one,
            other,
            (*self.matched.matching[cut], np.arange(one.space.sizes[-1])),
            fixed=(*self.matched.fixed[cut], True),
            generator=np.random.default_rng(seed),
        )

    def rows(self) -> list[Row]:
        """Returns the rows of every output, without the columns that name the networks."""
        return [row for output in self.shared for row in self._rows(output)]

    def _rows(self, output: int | str) -> Iterator[Row]:
        one, other, shared = self.first.outputs[output], self.second.outputs[output], self.shared[output]

        def row(what: str, of: Sequence[float | None], common: InCommon | None = None) -> Row:
            random = (None, None, None) if common is None or common.at_random is None else common.at_random
            return {
                "output": output,
                "what": what,
                "first": of[0],
                "second": of[1],
                "both": None if common is None else common.both,
                "share": None if common is None else common.share,
                **dict(zip(("random", "random_low", "random_high"), random, strict=True)),
            }

        def of_shared(name: str) -> InCommon | None:
            return None if shared is None else getattr(shared, name)

        each = (one, other)
        yield row(VALID, [network.n_valid for network in each], of_shared("valid"))
        if shared is None:
            yield row(OF_ALL, [network.n_valid / network.space.count() for network in each])
        else:
            yield row(IN_OTHER, [_share_of(checked) for checked in shared.valid_in_other])
        yield row(BACKBONE, [int(network.backbone.sum()) for network in each], of_shared("backbone"))
        yield row(EDGES, [_mean_edges(network) for network in each], of_shared("edges"))
        yield row(FEWEST, [network.fewest_edges for network in each])
        yield row(SMALLEST, [network.n_smallest for network in each], of_shared("smallest"))
        if shared is None:
            yield row(OVERLAP, [network.overlap for network in each])
            yield row(RANDOM_OVERLAP, [mean_overlap(network.space, network.sizes) for network in each])
            return
        yield row(SMALLEST_IN_OTHER, [_share_of(checked) for checked in shared.smallest_in_other])
        for what, overlaps in ((OVERLAP, shared.overlap), (RANDOM_OVERLAP, shared.random_overlap)):
            yield {**row(what, [overlaps.first, overlaps.second]), "both": overlaps.between}

    def sentences(self) -> str:
        """Returns what the networks share, in the names of their runs."""
        found = [*self._different_choices()]
        if self.matched is None:
            return " ".join([*found, self.why_not])
        found.append(self._of_matching(self.matched))
        if self.n_outputs > MOST_OUTPUTS:
            known = [shared.valid.both for shared in self.shared.values() if shared is not None]
            n_with = sum(bool(both) for both in known)
            found.append(
                f"Of {self.n_outputs} outputs, each analysed by itself, {n_with} have valid circuits in common."
            )
        else:
            for output, shared in self.shared.items():
                assert shared is not None
                of_output = f"Output {output}: " if self.n_outputs > 1 else ""
                found.append(
                    of_output + self._of_output(self.first.outputs[output], self.second.outputs[output], shared)
                )
        return " ".join(found)

    def in_short(self) -> Iterator[str]:
        """Yields a line for each output: how many valid circuits the networks have in common."""
        first, second = self._names
        for output, shared in self.shared.items():
            if shared is None or shared.valid.both is None:
                continue
            of_output = f", output {output}" if self.n_outputs > 1 else ""
            random = (
                "" if shared.valid.at_random is None else f", {_number(shared.valid.at_random[0])} if matched at random"
            )
            yield (
                f"{first} and {second}{of_output}: {shared.valid.both:,} of {shared.valid.first:,} and "
                f"{shared.valid.second:,} valid circuits are valid in both{random}"
            )

    @property
    def _names(self) -> tuple[str, str]:
        return self.first.run.label, self.second.run.label

    def _different_choices(self) -> Iterator[str]:
        one, other = self.first.choices, self.second.choices
        different = [key for key in one if one[key] != other[key]]
        if different:
            texts = [
                f"{name} has {', '.join(f'{_typed(key)}={choices[key]}' for key in different)}"
                for name, choices in zip(self._names, (one, other), strict=True)
            ]
            yield f"{' and '.join(texts)}: a circuit may be valid in one of them for this reason alone."
        if self.first.outputs.keys() != self.second.outputs.keys():
            names = [
                f"{name} analyses {'its outputs together' if ALL in network.outputs else counted(n, 'output')}"
                for name, network in zip(self._names, (self.first, self.second), strict=True)
                for n in [len(network.outputs)]
            ]
            yield f"{' and '.join(names)}; outputs that both have are compared."

    def _of_matching(self, matched: Matched) -> str:
        first, second = self._names
        if self.first.has_weights_of(self.second):
            return f"The analysed layers of {first} and {second} have the same weights."
        free = [found for found, fixed in zip(matched.correlations, matched.fixed, strict=False) if not fixed]
        if not free:
            return "There are no units to match."
        values = np.abs(np.concatenate(free))
        return (
            f"Units of {second} are matched to those of {first} by their activations; "
            f"{int((values >= HIGH).sum())} of {counted(len(values), 'matched unit')} correlate by {HIGH:g} or more."
        )

    def _of_output(self, one: ValidCircuits, other: ValidCircuits, shared: SharedCircuits) -> str:
        first, second = self._names
        if not one.n_valid or not other.n_valid:
            has = [
                f"{name} has {counted(found.n_valid, 'valid circuit')}"
                for name, found in ((first, one), (second, other))
            ]
            return f"{' and '.join(has)}, so none in common."
        text = f"Of {counted(one.n_valid, 'valid circuit')} of {first} and {other.n_valid:,} of {second}, "
        text += _in_common(shared, first, second)
        backbone = shared.backbone
        text += (
            f" All valid circuits keep {counted(int(backbone.first), 'edge')} in {first} and {backbone.second:,} in "
        )
        text += f"{second}, {backbone.both:,} of them in both{_named_edges(one, shared.common_backbone)}."
        places = zip((first, second), (one, other), (second, first), shared.smallest_in_other, strict=True)
        smallest = [_of_smallest(name, found, elsewhere, checked) for name, found, elsewhere, checked in places]
        return f"{text} The smallest valid circuits have {' and '.join(smallest)}."


def _share_of(checked: Checked | None) -> float | None:
    return None if checked is None else checked.share


def _mean_edges(circuits: ValidCircuits) -> float | None:
    return float(circuits.shares.sum()) if circuits.n_valid else None


def _in_common(shared: SharedCircuits, first: str, second: str) -> str:
    """Returns how many valid circuits the networks have in common, or what is known of it."""
    if shared.valid.both is not None:
        text = f"{shared.valid.both:,} {'is' if shared.valid.both == 1 else 'are'} valid in both"
        if shared.valid.at_random is not None:
            mean, low, high = shared.valid.at_random
            text += (
                f"; if units are matched at random, it is {_number(mean)} on average, and {_number(low)} to "
                f"{_number(high)} in 95 % of {shared.n_matchings:,} matchings"
            )
        return f"{text}."
    why = "the number in common isn't known, because not every valid circuit is listed"
    known = []
    for checked, name, other in zip(shared.valid_in_other, (first, second), (second, first), strict=True):
        if checked is not None and checked.n:
            share = between(checked.share, *wilson_interval(checked.n_valid, checked.n))
            known.append(f"of {checked.n:,} circuits of {name} the fraction {share} is valid in {other}")
    return f"{why}; {' and '.join(known)}, with 95 % intervals for all." if known else f"{why}."


def _number(value: float) -> str:
    """Returns a mean of counts: a large one to the whole number."""
    return f"{value:,.0f}" if value >= 1_000 else figure(value)


def _named_edges(circuits: ValidCircuits, kept: np.ndarray) -> str:
    """Returns the names of edges, in brackets; empty for none or too many."""
    (places,) = np.nonzero(kept)
    if not 0 < len(places) <= MOST_EDGES_NAMED:
        return ""
    names = edge_names(circuits.space)
    return f" ({', '.join(names[place] for place in places)})"


def edge_names(space: CircuitSpace) -> list[str]:
    """Returns the name of each edge: layer:source→target."""
    columns = (column.tolist() for column in space.edges.names)
    return [f"{layer}:{source}→{target}" for layer, source, target in zip(*columns, strict=True)]


def _of_smallest(name: str, circuits: ValidCircuits, other: str, checked: Checked | None) -> str:
    """Returns the size and the number of a network's smallest valid circuits, and how many are valid in the other."""
    text = f"{counted(circuits.fewest_edges or 0, 'edge')} in {name} ({counted(circuits.n_smallest, 'circuit')}"
    if checked is None or not checked.n:
        return f"{text}, not listed)" if checked is not None else f"{text})"
    of = "" if checked.n == circuits.n_smallest else f" of the {checked.n:,} listed"
    valid = "none" if not checked.n_valid else f"{checked.n_valid:,}"
    if checked.n == circuits.n_smallest == 1:
        return f"{text}, {'valid' if checked.n_valid else 'not valid'} in {other})"
    return f"{text}, {valid}{of} valid in {other})"


# --- of two runs ---------------------------------------------------------------------------------------------------


def compare_two(first: SavedRun, second: SavedRun) -> TwoRuns:
    """Returns what the networks of two runs share.

    Raises:
        ConfigError: a run's folder lacks its circuits; the text says what to type.
    """
    pair = Pair.of(read_network(first), read_network(second))
    rows = [_named(row, pair) for row in pair.rows()]
    few = FIRST_SHOWN if pair.n_outputs <= MOST_OUTPUTS else (VALID,)
    meaning = (
        "fraction of the valid circuits that keep the edge; its name, layer:source→target, has the units of "
        f"{pair.first.run.label}"
    )
    return TwoRuns(
        answer=pair.sentences(),
        rows=rows,
        brief=rows if pair.n_outputs == 1 else [row for row in rows if row["what"] in few],
        note=_note(pair),
        details={"edges of valid circuits": (_edge_rows(pair), meaning)},
    )


def _named(row: Row, pair: Pair) -> dict[str, Any]:
    """Returns a row with the runs' names as columns; without the output where there is one, and what nothing fills."""
    first, second = pair.first.run.label, pair.second.run.label
    named = {"output": row["output"]} if pair.n_outputs > 1 else {}
    named |= {"what": row["what"], first: row["first"], second: row["second"]}
    if pair.matched is not None:
        named |= {"both": row["both"], "share": row["share"]}
        named |= {"random": row["random"], "low": row["random_low"], "high": row["random_high"]}
    return named


def _note(pair: Pair) -> str:
    if pair.matched is None:
        return "overlap: edges that both circuits keep, of those that one or both keep"
    n = max((shared.n_matchings for shared in pair.shared.values() if shared is not None), default=0)
    random = f"; random: both, if units are matched at random, mean over {n:,} matchings; low, high: 95 % of them"
    return (
        f"both: in common after units are matched; share: of those of either network{random if n else ''}; overlap: "
        "edges that both circuits keep, of those that one or both keep, under both of one circuit of each"
    )


def _edge_rows(pair: Pair) -> list[dict[str, Any]]:
    """Returns how often the valid circuits of each network keep each edge; none where edges have no common names."""
    first, second = pair.first.run.label, pair.second.run.label
    rows = []
    for output, shared in pair.shared.items():
        if shared is None:
            continue
        one = pair.first.outputs[output]
        columns = zip(edge_names(one.space), one.shares.tolist(), shared.second_shares.tolist(), strict=True)
        named = {"output": output} if pair.n_outputs > 1 else {}
        rows += [{**named, "edge": name, first: a, second: b, f"{second} − {first}": b - a} for name, a, b in columns]
    return rows


def _typed(key: str) -> str:
    """Returns how an option that decides which circuits are valid is typed."""
    return "model.outputs" if key == "outputs" else f"experiment.{key}"

"""What do the valid circuits of one network share? Rows, a sentence, for one output or all together.

Where only a sample of the valid circuits is listed, the backbone is still exact, because all of them are counted for
each edge; packing and blocking have bounds that hold for all valid circuits; what can't be known is None.

Letters: E edges, K circuits.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mi_runner import chance
from mi_runner.experiments.circuits.shared import MOST_EDGES_NAMED, edge_names
from mi_runner.experiments.circuits.tables import OF_SHARED
from mi_runner.experiments.common.sentences import between, counted, figure
from mi_runner.methods.chance_overlap import ChanceOverlap, chance_overlap
from mi_runner.methods.circuits.edges import n_kept
from mi_runner.methods.circuits.minimality import LEVELS
from mi_runner.methods.circuits.overlaps import PAIRS_PER_SECOND, PairCounts, overlaps
from mi_runner.methods.circuits.random_overlap import MOST_EDGES
from mi_runner.methods.circuits.search import CircuitSearch
from mi_runner.methods.circuits.sharing import Blocking, Packing, blocking, packing
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import log
from mi_runner.tables.intervals import Spread
from mi_runner.tables.ranges import SHARE

MOST_COMPARED = 100_000
"""Valid circuits that are compared with each other; if there are more, a random sample of this size."""

BINS = 20
"""Bins of the distribution of overlaps."""

BLOCKS = 20
"""Parts of a sample whose mean overlaps give the interval of the mean over all valid circuits."""

LONG = 1.0
"""Seconds from which a line says how long the comparison takes."""


@dataclass(frozen=True, eq=False)
class Compared:
    """Valid circuits that are compared in pairs.

    Attributes:
        circuits: `(K,)`, bits; all, or a random sample in a random order.
        is_sample: whether there are more valid ones.
        pairs: their overlaps.
    """

    circuits: np.ndarray
    is_sample: bool
    pairs: PairCounts = field(repr=False)

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The 95 % interval of the mean overlap of all valid circuits, where these are a sample of them.

        The sample is cut into blocks; the means within each are independent.
        """
        if not self.is_sample or len(self.circuits) < 2 * BLOCKS:
            return None, None
        means = [overlaps(block).mean for block in np.array_split(self.circuits, BLOCKS)]
        spread = Spread.of([mean for mean in means if mean is not None], SHARE)
        return spread.low, spread.high


def compare(result: CircuitSearch, what: str, generator: torch.Generator, *, most: int = MOST_COMPARED) -> Compared:
    """Returns the listed valid circuits compared with each other; if there are many, a random sample of them.

    Args:
        what: how a line of the log calls the output.
        generator: draws the sample.
    """
    circuits, is_sample = result.valid, not result.lists_every_valid
    if len(circuits) > most:
        log.info(f"{what}: {most:,} valid circuits, drawn at random, are compared in pairs")
        is_sample = True
    if is_sample:
        circuits = circuits[torch.randperm(len(circuits), generator=generator)[:most].numpy()]
    seconds = len(circuits) * (len(circuits) - 1) / 2 / PAIRS_PER_SECOND
    if seconds > LONG:
        log.info(f"{what}: all pairs of {len(circuits):,} valid circuits are compared, about {seconds:,.0f} s")
    return Compared(circuits, is_sample, overlaps(circuits))


@dataclass(frozen=True, eq=False)
class Overlapping:
    """The overlaps of one set of circuits.

    Attributes:
        pairs: of those that are compared.
        chance: of random circuits of the same sizes; None where it isn't known or there is no pair.
    """

    pairs: PairCounts
    chance: ChanceOverlap | None


@dataclass(frozen=True, eq=False)
class Sharing:
    """What the valid circuits of an output share.

    Attributes:
        row: of shared.csv.
        valid: overlaps of the valid circuits.
        minimal: overlaps of the subset-minimal ones; None where these aren't known.
    """

    row: dict[str, Any]
    valid: Overlapping
    minimal: Overlapping | None

    @property
    def numbers(self) -> dict[str, Any]:
        """The columns of metrics.csv."""
        return {number.name: self.row[number.name] for number in OF_SHARED}

    @property
    def bins(self) -> list[dict[str, Any]]:
        """The rows of overlaps.csv."""
        return [
            row
            for which, found in (("valid", self.valid), ("minimal", self.minimal))
            if found is not None and found.pairs.n_pairs
            for row in _bins(self.row["output"], which, found)
        ]

    @property
    def sentence(self) -> str:
        """What the valid circuits share, in words; empty without any."""
        row = self.row
        if not row["n_valid"]:
            return ""
        return f" {_of_edges(row)}{_of_overlap(row)}" if row["n_valid"] > 1 else ""


def sharing(
    result: CircuitSearch,
    levels: np.ndarray,
    compared: Compared,
    output: int | str,
    *,
    seed: int,
    seconds: float,
) -> Sharing:
    """Returns what the valid circuits of an output share.

    Args:
        levels: of the listed valid circuits, places in `LEVELS`.
        compared: the valid circuits in pairs.
        seed: of the run.
        seconds: the longest time for packing, and for blocking.
    """
    space, valid = result.space, result.valid
    minimal = valid[levels >= LEVELS.index("subset")] if result.lists_every_valid else None
    sizes = result.counts[:, :, result.least_correct :].sum((0, 2))

    if space.n_edges > MOST_EDGES and not result.of_family:
        log.info(f"overlaps of chance: {space.n_edges} edges are too many to count all pairs, so random sets are drawn")

    def by_chance(which: str, of_sizes: np.ndarray) -> ChanceOverlap | None:
        if result.of_family:  # chance draws from all circuits of the layers, which such a search doesn't look at
            return None
        return chance_overlap(space, of_sizes, chance.derived_seed(seed, "chance overlap", which, output))

    of_valid = Overlapping(compared.pairs, by_chance("valid", sizes))
    of_minimal = None
    if minimal is not None:
        of_sizes = np.bincount(n_kept(minimal), minlength=space.n_edges + 1)
        of_minimal = Overlapping(overlaps(minimal), by_chance("minimal", of_sizes))
    kept_by_all = _kept_by_all(result)
    packed, blocked = _packing_and_blocking(result, minimal, kept_by_all, seconds)
    row: dict[str, Any] = {
        "output": output,
        "n_valid": result.n_valid,
        "n_minimal": None if minimal is None else len(minimal),
        "n_backbone": kept_by_all.bit_count() if result.n_valid else None,
        "packing_low": packed and packed.low,
        "packing_high": packed and packed.high,
        "blocking_low": blocked and blocked.low,
        "blocking_high": blocked and blocked.high,
        **_overlap_columns("overlap", of_valid, compared.interval),
        **_overlap_columns("overlap_minimal", of_minimal),
        "backbone_edges": _named(space, kept_by_all) if result.n_valid else None,
        "packing_circuits": packed and " ".join(map(str, packed.circuits)),
        "blocking_edges": blocked and _named(space, blocked.edges),
    }
    return Sharing(row, of_valid, of_minimal)


def _kept_by_all(result: CircuitSearch) -> int:
    """Returns the edges that all valid circuits keep, as bits; all of them are counted, listed or not."""
    (places,) = np.nonzero((result.edge_counts == result.n_valid) & (result.n_valid > 0))
    return sum(1 << int(place) for place in places)


def _packing_and_blocking(
    result: CircuitSearch, minimal: np.ndarray | None, kept_by_all: int, seconds: float
) -> tuple[Packing | None, Blocking | None]:
    """Returns packing and blocking number, or their intervals; None without valid circuits."""
    if not result.n_valid:
        return None, None
    if kept_by_all:
        witness = tuple(map(int, (result.valid if minimal is None else minimal)[:1]))
        return Packing(1, 1, witness), Blocking(1, 1, kept_by_all & -kept_by_all)
    n = result.valid.size if minimal is None else len(minimal)
    log.info(f"packing and blocking of {counted(n, 'circuit')}: no edge is in all; at most {seconds:g} s for each")
    if minimal is not None:
        packed = packing(minimal, seconds, are_minimal=True)
        blocked = blocking(minimal, seconds, are_minimal=True)
    else:
        packed, blocked = _bounds_of_sample(result, seconds)
    # No packing is larger than a blocking set.
    packed = Packing(packed.low, max(packed.low, min(packed.high, blocked.high)), packed.circuits)
    return packed, Blocking(max(blocked.low, min(packed.low, blocked.high)), blocked.high, blocked.edges)


def _bounds_of_sample(result: CircuitSearch, seconds: float) -> tuple[Packing, Blocking]:
    """Returns bounds for all valid circuits, where a sample is listed and no edge is in all.

    A packing of the sample is one of all; a blocking set of all is one of the sample; and edges that every well-formed
    circuit must keep one of, such as those of a layer, block all.
    """
    order = np.argsort(n_kept(result.valid), kind="stable")
    sample = result.valid[order[:MOST_COMPARED]]
    packed, blocked = packing(sample, seconds), blocking(sample, seconds)
    cut = smallest_cut(result.space)
    most = min(cut.bit_count(), result.space.n_edges // (result.fewest_edges or 1))
    low = max(2, min(blocked.low, cut.bit_count()))
    return Packing(packed.low, max(packed.low, most), packed.circuits), Blocking(low, cut.bit_count(), cut)


def smallest_cut(space: CircuitSpace) -> int:
    """Returns edges, as bits, of which every circuit of the family keeps at least one: as few as a simple choice has.

    They are the edges of one layer or, where circuits use every input and output, those from the first input or into
    the first output.
    """
    ends = [*space.offsets, space.n_edges]
    cuts = [range(begin, end) for begin, end in itertools.pairwise(ends)]
    if space.inputs == "all":
        cuts += [range(0, ends[1], space.sizes[0]), range(ends[-2], ends[-2] + space.sizes[-2])]
    return sum(1 << edge for edge in min(cuts, key=len))


def _overlap_columns(
    name: str, found: Overlapping | None, interval: tuple[float | None, float | None] = (None, None)
) -> dict[str, float | None]:
    """Returns the columns of a mean overlap and of that of chance, each with its interval."""
    by_chance = None if found is None else found.chance
    columns: dict[str, float | None] = {name: None if found is None else found.pairs.mean}
    if name == "overlap":
        columns |= {f"{name}_low": interval[0], f"{name}_high": interval[1]}
    return columns | {
        f"{name}_chance": None if by_chance is None else by_chance.mean,
        f"{name}_chance_low": None if by_chance is None else by_chance.low,
        f"{name}_chance_high": None if by_chance is None else by_chance.high,
    }


def _bins(output: int | str, which: str, found: Overlapping) -> list[dict[str, Any]]:
    counts = found.pairs.histogram(BINS)
    random = None if found.chance is None else found.chance.pairs.histogram(BINS) / found.chance.pairs.n_pairs
    return [
        {
            "output": output,
            "which": which,
            "overlap_from": place / BINS,
            "overlap_to": (place + 1) / BINS,
            "n_pairs": int(n),
            "share": float(n / found.pairs.n_pairs),
            "share_chance": None if random is None else float(random[place]),
        }
        for place, n in enumerate(counts)
    ]


def _named(space: CircuitSpace, edges: int) -> str:
    """Returns the names of edges, as bits: 0:1→2 0:2→2."""
    return " ".join(name for place, name in enumerate(edge_names(space)) if edges >> place & 1)


# --- the sentence ----------------------------------------------------------------------------------------------------


def _of_edges(row: dict[str, Any]) -> str:
    n = row["n_backbone"]
    if n:
        names = row["backbone_edges"].split(" ")
        named = f" ({', '.join(names)})" if n <= MOST_EDGES_NAMED else ""
        return f"All valid circuits keep {counted(n, 'edge')}{named}, so any two share an edge."
    packed, blocked = _number(row, "packing"), _number(row, "blocking")
    are = "circuit" if row["packing_high"] == 1 else "circuits"
    return (
        f"No edge is in all valid circuits: the most of which no two share an edge are {packed} {are}, and the fewest "
        f"edges of which each keeps at least one are {blocked}."
    )


def _number(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{low}" if low == high else f"{low} to {high}"


def _of_overlap(row: dict[str, Any]) -> str:
    if row["overlap"] is None:
        return ""
    own = between(row["overlap"], row["overlap_low"], row["overlap_high"])
    text = f" Two valid circuits overlap by {own} on average"
    beside = _beside(row, "overlap")
    if beside:
        text += (
            f", {beside[0]} the {beside[1]} of random circuits of the same sizes ({beside[2]} in 95 % of random sets)"
        )
    if (row["n_minimal"] or 0) > 1 and row["n_minimal"] < row["n_valid"]:
        text += f"; two of the {row['n_minimal']:,} subset-minimal ones by {figure(row['overlap_minimal'])}"
        if beside := _beside(row, "overlap_minimal"):
            text += f", {beside[0]} {beside[1]} ({beside[2]})"
    return f"{text}."


def _beside(row: dict[str, Any], name: str) -> tuple[str, str, str] | None:
    """Returns where a mean overlap stands to that of chance, that of chance, and its interval; None if not known."""
    value, expected = row[name], row[f"{name}_chance"]
    low, high = row[f"{name}_chance_low"], row[f"{name}_chance_high"]
    if expected is None:
        return None
    own_low, own_high = (row.get(f"{name}_{end}") for end in ("low", "high"))
    least, most = (value if end is None else end for end in (own_low, own_high))
    where = "above" if least > high else "below" if most < low else "not told apart from"
    return where, figure(expected), f"{figure(low)} to {figure(high)}"

"""What is proved, refuted and undecided of circuits, in boxes around examples and in the hull of all of them.

Letters: K circuits, R values of ε, B examples, D of them with a box, n_0 inputs of the part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mi_runner.datasets.distinct import first_of_equal
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.ablation import Means
from mi_runner.methods.circuits.circuit import Circuit
from mi_runner.methods.circuits.edges import Edges
from mi_runner.methods.robustness.answers import differ
from mi_runner.methods.robustness.boxes import PROVED, REFUTED, UNDECIDED
from mi_runner.methods.robustness.crossings import Known, known_answers
from mi_runner.methods.robustness.decide import CHANGES, CONSTANT, decide_all
from mi_runner.methods.robustness.networks import Arrays, Compared, circuit_arrays, compared
from mi_runner.methods.robustness.programs import Goal, is_piecewise, largest, ranges_of
from mi_runner.methods.robustness.regions import Regions, boxes_around, hull_of, nearby, spread_of
from mi_runner.progress import Progress

AT_ONCE = 2_000_000
"""Boxes of circuits that are decided between two looks at the progress."""

MOST_BOXES = (200, 2_000, 20_000)
"""Boxes that one box is split into: of all at first, then of those that are undecided, and of those that linear
programs leave."""

STATUS = ("undecided", "proved", "refuted")
"""What is known of a circuit in a box, by the kernels' numbers."""


@dataclass(frozen=True, eq=False)
class Certificates:
    """What is known of circuits in boxes of several sizes around examples.

    Attributes:
        circuits: `(K,)`, bits.
        epsilons: `(R,)`, ascending; the half-width of a box in standard deviations of each input.
        n_examples: how many examples have boxes.
        n_agreeing: `(K,)`, examples that circuit and network answer alike.
        n_proved, n_refuted, n_undecided: `(R, K)`, numbers of examples.
        n_changed: `(R,)`, examples in which the network's own answer changes in the box; those in which that is
            undecided are not counted.
        witness: `(K, n_0)`, a point at which circuit and network part, for the smallest ε at which one is known; NaN:
            none is known.
        witness_epsilon: `(K,)`, that ε; NaN: none.
        witness_example: `(K,)`, the example in whose box it lies, an index of those given; −1: none.
        status: `(K, R, D)` int8 by `STATUS`, where it was asked for.
        witnesses: `(K, R, D, n_0)`, where asked for; NaN where a box isn't refuted.
    """

    circuits: np.ndarray
    epsilons: np.ndarray
    n_examples: int
    n_agreeing: np.ndarray
    n_proved: np.ndarray
    n_refuted: np.ndarray
    n_undecided: np.ndarray
    n_changed: np.ndarray
    witness: np.ndarray
    witness_epsilon: np.ndarray
    witness_example: np.ndarray
    status: np.ndarray | None = None
    witnesses: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.circuits)

    @property
    def is_certified(self) -> np.ndarray:
        """Whether all examples are proved, `(R, K)`."""
        return self.n_proved == self.n_examples

    @property
    def is_refuted(self) -> np.ndarray:
        """Whether an example is refuted, `(R, K)`."""
        return self.n_refuted > 0

    @property
    def largest(self) -> np.ndarray:
        """The largest ε at which each circuit is certified, `(K,)`; NaN: at none."""
        sizes = np.where(self.is_certified, self.epsilons[:, None], -np.inf).max(0, initial=-np.inf)
        return np.where(np.isfinite(sizes), sizes, np.nan)


@dataclass(frozen=True)
class Certificate:
    """What is known of one circuit in a box of one size around each example.

    Attributes:
        epsilon: half of a box's width, in standard deviations of each input.
        status: of each example: `proved`, `refuted` or `undecided`.
        witnesses: `(B, n_0)` float64, a point of the example's box at which circuit and network answer differently; NaN
            where none is known.

    Example:
        >>> from mi_runner.circuits import Certificate
        >>> Certificate(0.1, ("proved", "undecided"), None).is_certified is None
        True
    """

    epsilon: float
    status: tuple[str, ...]
    witnesses: Tensor | None

    @property
    def is_certified(self) -> bool | None:
        """Whether all examples are proved; None: it is undecided."""
        if "refuted" in self.status:
            return False
        return None if "undecided" in self.status else True


def certify(
    part: Part,
    circuit: Circuit | int,
    x: Tensor,
    epsilon: float,
    *,
    examples: Tensor | None = None,
    kind: Outputs | None = None,
    means: Means | None = None,
    seconds: float = 60.0,
) -> Certificate:
    """Returns whether a circuit answers as its part does everywhere in a box around each example.

    Source: Hadad, Katz, Bassan, "Formal mechanistic interpretability", ICLR 2026.

    Args:
        part: with one output, or with several that answer a class.
        circuit: of this part; what its left-out edges carry are its own means.
        x: `(B, n_0)`, activations that enter the part. Their standard deviation (divisor B) is the unit of ε.
        epsilon: half of a box's width, above 0.
        examples: `(D, n_0)`, those that have boxes; None: all of x.
        kind: what the outputs are; None: one output is a value, which is rounded, and several are logits.
        means: of the neurons that edges leave, for a circuit that is given by its bits; None: left-out edges carry 0.
        seconds: how long linear programs work on what splitting boxes leaves undecided.

    Raises:
        ArgumentError: ε is not above 0, the circuit is not well formed, or shapes don't fit.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import circuits
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
        >>> with torch.no_grad():
        ...     _ = net[0].weight.copy_(torch.eye(2)), net[2].weight.copy_(torch.tensor([[1.0, 0.2]]))
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])  # the standard deviation of both is a half
        >>> part = find_part(ModelGraph.trace(net, x), None)
        >>> found = circuits.certify(part, 0b01_0001, x, 0.2)  # x₁ alone: the network adds a fifth of x₂
        >>> found.is_certified, found.status
        (True, ('proved', 'proved'))
        >>> circuits.certify(part, 0b01_0001, x, 0.8).status
        ('proved', 'refuted')
    """
    if not isinstance(circuit, Circuit):
        circuit = Circuit(part, circuit, means=None if means is None else tuple(means))
    given = x if examples is None else examples
    found = certify_circuits(
        part,
        np.array([circuit.bits], dtype=object),
        x,
        [epsilon],
        examples=given,
        kind=kind,
        means=circuit.means,
        seconds=seconds,
        lists_all=True,
    )
    assert found.status is not None
    assert found.witnesses is not None
    status = tuple(STATUS[known] for known in found.status[0, 0])
    return Certificate(float(epsilon), status, torch.from_numpy(found.witnesses[0, 0]))


def certify_circuits(
    part: Part,
    circuits: np.ndarray,
    x: Tensor,
    epsilons: Sequence[float],
    *,
    examples: Tensor | None = None,
    kind: Outputs | None = None,
    means: Means | None = None,
    seconds: float = 60.0,
    lists_all: bool = False,
    progress: Progress | None = None,
) -> Certificates:
    """Returns what is known of circuits in boxes around examples.

    Args:
        part, x, examples, kind, means, seconds: as for `certify`.
        circuits: `(K,)`, bits, each well formed.
        epsilons: sizes of boxes, above 0.
        lists_all: whether the status of every box and a witness in every refuted one are kept.

    Raises:
        ArgumentError: as for `certify`.
    """
    given = x if examples is None else examples
    check_rows(part, x, given)
    index, first = (indices.numpy() for indices in first_of_equal(given))
    distinct = given[torch.from_numpy(first)].double().cpu().numpy()
    order, groups = nearby(distinct, spread_of(x))
    first, index = first[order], np.argsort(order)[index]
    regions = boxes_around(distinct[order], spread_of(x), epsilons, groups)
    return _certified(
        part, circuits, regions, np.sort(np.asarray(epsilons, dtype=float)), (index, first), kind, means, seconds,
        lists_all, progress,
    )  # fmt: skip


def certify_hull(
    part: Part,
    circuits: np.ndarray,
    x: Tensor,
    *,
    kind: Outputs | None = None,
    means: Means | None = None,
    seconds: float = 60.0,
    progress: Progress | None = None,
) -> Certificates:
    """Returns what is known of circuits in the one box that holds all examples; its ε is NaN.

    Arguments as for `certify_circuits`.
    """
    check_rows(part, x, x)
    whole = np.zeros(1, dtype=np.int64)
    return _certified(
        part, circuits, hull_of(x), np.array([np.nan]), (whole, whole), kind, means, seconds, False, progress
    )


def check_rows(part: Part, *given: Tensor) -> None:
    """Raises an ArgumentError if examples are missing, or don't enter the part."""
    for x in given:
        if x.dim() != 2 or not len(x) or x.shape[1] != part.sizes[0]:
            remedy = f"give at least one row, of the {part.sizes[0]} activations that enter the part."
            raise ArgumentError("x", None, f"x of shape {tuple(x.shape)}:", remedy)


def kind_of(part: Part, kind: Outputs | None) -> Outputs:
    """Returns what a part's outputs are if nobody says it."""
    return kind or (Outputs.values if part.sizes[-1] == 1 else Outputs.logits)


def doubled(part: Part, means: Means | None) -> tuple[Part, tuple[Tensor, ...] | None]:
    """Returns a part and means in float64 on the CPU."""
    own = part.without_softmax.to(torch.device("cpu")).to(torch.zeros((), dtype=torch.float64))
    return own, None if means is None else tuple(mean.double().cpu() for mean in means)


def _certified(
    part: Part,
    circuits: np.ndarray,
    regions: Regions,
    epsilons: np.ndarray,
    places: tuple[np.ndarray, np.ndarray],
    kind: Outputs | None,
    means: Means | None,
    seconds: float,
    lists_all: bool,
    progress: Progress | None,
) -> Certificates:
    """Returns what is known of circuits in regions.

    Args:
        places: the distinct example of each `(B,)`, and the first occurrence of each distinct one `(D,)`.
    """
    own, double_means = doubled(part, means)
    network = compared(own, kind_of(part, kind), double_means, *regions.outermost)
    known, grouped = known_answers(network, regions), _grouped(network, regions)
    kept = network.rows(Edges(part.sizes).rows(circuits))
    (index, first), n_sizes = places, len(epsilons)
    times = np.bincount(index, minlength=len(regions))
    n, n_inputs = len(kept), part.sizes[0]
    at_once = max(1, AT_ONCE // (n_sizes * len(regions)))
    agreeing = np.empty(n, dtype=np.int64)
    counts = np.empty((3, n_sizes, n), dtype=np.int64)
    nearest, where = np.full((n, n_inputs), np.nan), np.full((n, 2), -1)
    batches = []
    with (progress or Progress()).bar("circuits in boxes", n) as advance:
        for start in range(0, n, at_once):
            rows = slice(start, min(start + at_once, n))
            batch = _Batch(network, regions, known, grouped, kept[rows], lists_all)
            batch.decide(MOST_BOXES[0])
            batch.decide(MOST_BOXES[1])
            seconds -= batch.settle(seconds)
            batch.decide(MOST_BOXES[2])
            agreeing[rows] = batch.agrees @ times
            for status in (UNDECIDED, PROVED, REFUTED):
                counts[status, :, rows] = ((batch.found == status) @ times).T
            nearest[rows], where[rows] = batch.nearest, batch.where
            if lists_all:
                batches.append(batch)
            advance(rows.stop - rows.start)
    sizes, has_witness = where[:, 0], where[:, 0] >= 0
    return Certificates(
        circuits,
        epsilons,
        len(index),
        agreeing,
        counts[PROVED, ::-1],
        counts[REFUTED, ::-1],
        counts[UNDECIDED, ::-1],
        ((known.status == CHANGES) @ times)[::-1],
        nearest,
        np.where(has_witness, epsilons[::-1][sizes], np.nan),
        np.where(has_witness, first[where[:, 1]], -1),
        np.concatenate([batch.found[:, ::-1][:, :, index] for batch in batches]) if lists_all else None,
        np.concatenate([batch.witnesses[:, ::-1][:, :, index] for batch in batches]) if lists_all else None,
    )


def _grouped(network: Compared, regions: Regions) -> tuple[np.ndarray, ...]:
    """Returns groups and what belongs to them, as `decide.decide_all` takes it."""
    together = regions.together
    known = known_answers(network, together)
    return regions.groups, together.lows, together.highs, known.status, known.answers


class _Batch:
    """Some circuits in all boxes: what is known of them, and the steps that find out."""

    def __init__(
        self,
        network: Compared,
        regions: Regions,
        known: Known,
        grouped: tuple[np.ndarray, ...],
        kept: np.ndarray,
        lists_all: bool,
    ) -> None:
        n_sizes, n_examples, n_inputs = regions.lows.shape
        self.network, self.regions, self.known, self.grouped, self.kept = network, regions, known, grouped, kept
        self.agrees = np.zeros((len(kept), n_examples), dtype=bool)
        self.found = np.full((len(kept), n_sizes, n_examples), UNDECIDED, dtype=np.int8)
        self.witnesses = np.full((len(kept) if lists_all else 0, n_sizes, n_examples, n_inputs), np.nan)
        self.nearest = np.full((len(kept), n_inputs), np.nan)
        self.where = np.full((len(kept), 2), -1, dtype=np.int64)

    def decide(self, most: int) -> None:
        """Splits the boxes that are undecided, into so many at most, and notes what is known then."""
        rows = np.flatnonzero((self.found == UNDECIDED).any((1, 2)))
        if not len(rows):
            return
        names = ("agrees", "found", "witnesses", "nearest", "where")
        arrays = {name: getattr(self, name)[rows if len(getattr(self, name)) else []] for name in names}
        decide_all(
            self.network.task,
            self.network.full,
            self.network.carried,
            self.kept[rows],
            self.regions.centers,
            (self.regions.lows, self.regions.highs),
            self.known.arrays,
            self.grouped,
            (self.network.slack, self.network.tolerance, most),
            *(arrays[name] for name in names),
        )
        for name, array in arrays.items():
            if len(getattr(self, name)):
                getattr(self, name)[rows] = array

    def settle(self, seconds: float) -> float:
        """Runs linear programs on what splitting boxes left, largest boxes first; returns the seconds it took."""
        began = clock()
        if not is_piecewise(self.network.full):
            return 0.0
        for c, e, d in np.argwhere(self.found == UNDECIDED):
            if self.found[c, e, d] != UNDECIDED:
                continue
            if (left := seconds - (clock() - began)) <= 0:
                break
            status, witness = self._settled(c, e, d, left)
            if status == PROVED:
                self.found[c, e:, d] = np.where(self.found[c, e:, d] == UNDECIDED, PROVED, self.found[c, e:, d])
            elif status == REFUTED:
                self._note(c, e, d, witness)
        return clock() - began

    def _note(self, c: int, e: int, d: int, witness: np.ndarray) -> None:
        """Notes a witness in each box that holds it."""
        for size in range(e, self.found.shape[1]):
            low, high = self.regions.lows[size, d], self.regions.highs[size, d]
            if not (low <= witness).all() or not (witness <= high).all():
                return
            self.found[c, size, d] = REFUTED
            if len(self.witnesses):
                self.witnesses[c, size, d] = witness
            if size > self.where[c, 0]:
                self.where[c], self.nearest[c] = (size, d), witness

    def _settled(self, c: int, e: int, d: int, seconds: float) -> tuple[int, np.ndarray]:
        """Returns what linear programs say of a box, and the witness."""
        network, full = self.network, self.network.full
        circuit = circuit_arrays(network, self.kept[c])
        box = self.regions.lows[e, d], self.regions.highs[e, d]
        is_proved, point, began = True, box[0], clock()
        for goals, nets in questions(network, circuit, self.known, e, d, box):
            found = largest(
                nets,
                goals,
                box,
                slack=network.slack,
                gap=network.tolerance,
                enough=-network.tolerance,
                until=network.surely,
                seconds=seconds - (clock() - began),
            )
            values, work = np.empty(full[0].shape[1]), np.empty(full[0].shape[1])
            if found.point is not None and differ(network.task, circuit, full, found.point, values, work):
                return REFUTED, found.point
            is_proved &= found.high < -network.tolerance
        return (PROVED if is_proved else UNDECIDED), point


def questions(
    network: Compared, circuit: Arrays, known: Known, e: int, d: int, box: tuple[np.ndarray, np.ndarray]
) -> list[tuple[list[Goal], list[Arrays]]]:
    """Returns goals that can't be reached together where circuit and network answer alike, each with its networks.

    Args:
        e, d: size and example of the box.
    """
    n_outputs = int(network.full[2][-1])
    is_constant, answer = known.status[e, d] == CONSTANT, int(known.answers[e, d])
    units = np.eye(n_outputs)
    both = [circuit, network.full]
    if n_outputs > 1:
        if is_constant:
            return [([Goal((units[k] - units[answer],), 0.0)], [circuit]) for k in range(n_outputs) if k != answer]
        nothing = np.zeros(n_outputs)
        return [
            (
                [Goal((units[k] - units[i], nothing), 0.0) for i in range(n_outputs) if i != k]
                + [Goal((nothing, units[m] - units[i]), 0.0) for i in range(n_outputs) if i != m],
                both,
            )
            for k in range(n_outputs)
            for m in range(n_outputs)
            if k != m
        ]
    levels, one, none = network.levels[:, 0], units[0], np.zeros(1)
    if is_constant:
        above = [([Goal((one,), -levels[answer])], [circuit])] if answer < len(levels) else []
        below = [([Goal((-one,), levels[answer - 1])], [circuit])] if answer > 0 else []
        return above + below
    return [
        ([Goal((sign * one, none), -sign * at), Goal((none, -sign * one), sign * at)], both)
        for at in levels[_crossed(network, circuit, box)]
        for sign in (1.0, -1.0)
    ]


def _crossed(network: Compared, circuit: Arrays, box: tuple[np.ndarray, np.ndarray]) -> slice:
    """Returns the levels that outputs of the circuit or the network may cross in a box."""
    ranges = np.array([ranges_of(net, *box, network.slack)[-1, 0] for net in (circuit, network.full)])
    first, end = np.searchsorted(network.levels[:, 0], [ranges[:, 0].min(), ranges[:, 1].max()])
    return slice(int(first), int(end))

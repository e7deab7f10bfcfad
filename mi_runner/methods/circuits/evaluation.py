"""From a part and its data to what every circuit answers: a table with a row a circuit, or a census of exact counts.

Letters: B examples, K circuits, P prefixes (see `kernel`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import comb
from typing import Any

import numpy as np
import torch
from numba import get_num_threads
from torch import Tensor

from mi_runner.errors import ConfigError
from mi_runner.graph.chain import ACTIVATIONS, Layer, Part
from mi_runner.methods.circuits import kernel
from mi_runner.methods.circuits.circuit import neuron_masks
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import Progress

ROWS_AT_ONCE = 1_000_000
"""Circuits of a batch of prefixes, at the most (one prefix may have more)."""

BLOCK = 256
"""Examples of a block that a census decides together, at the most."""

COUNTED_AT_ONCE = 400_000_000
"""Circuits of a batch of prefixes of a census, about; so often progress is reported."""

NUMBERS_AT_ONCE = 50_000_000
"""Outputs of a batch of tensor operations, circuits times examples; a few tensors have as many numbers of 4 bytes."""

PREFIXES_AT_ONCE = 512
"""Prefixes of a batch, at the most: their values take this many times n · B · 4 bytes."""


@dataclass(frozen=True)
class Examples:
    """What circuits are evaluated on.

    Attributes:
        x: `(B, n_0)` float32, the recorded activations that enter the part.
        target: `(B,)` float32; an answer is right if the output, rounded half to even, equals it.
        full: `(B,)` float32, the full network's outputs.
    """

    x: Tensor
    target: Tensor
    full: Tensor

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.target) == len(self.full):
            raise ValueError(f"{len(self.x)} inputs, {len(self.target)} targets, {len(self.full)} outputs.")

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Measured:
    """What some circuits answer, `(K,)` each.

    Attributes:
        circuit: uint64, the kept edges as bits.
        n_right: examples answered rightly.
        n_equal: examples answered as the full network does.
        squares: summed squared distance to the full network's outputs.
    """

    circuit: np.ndarray
    n_right: np.ndarray
    n_equal: np.ndarray
    squares: np.ndarray

    def __len__(self) -> int:
        return len(self.circuit)

    def kept(self, rows: np.ndarray) -> Measured:
        """The circuits of these rows."""
        return Measured(self.circuit[rows], self.n_right[rows], self.n_equal[rows], self.squares[rows])

    def sorted(self) -> Measured:
        """The circuits in the order of their bits."""
        return self.kept(np.argsort(self.circuit))

    @staticmethod
    def joined(parts: list[Measured]) -> Measured:
        """All circuits of these, in order."""
        columns = ("circuit", "n_right", "n_equal", "squares")
        return Measured(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def measure(part: Part, examples: Examples, *, progress: Progress | None = None) -> Iterator[Measured]:
    """Every well-formed circuit of a part with one output, in batches.

    Raises:
        ConfigError: leaky_relu with a negative slope, or an example whose activations are not finite.
    """
    progress = progress or Progress()
    space = CircuitSpace(part.sizes)
    grouped = _grouped(part.layers[-1], examples)
    with progress.bar("circuits", space.count()) as advance:
        if len(part.layers) == 1:
            found = _alone(part, examples)
            advance(1)
            yield found
            return
        most = max(1, min(PREFIXES_AT_ONCE, ROWS_AT_ONCE // _rows_of_prefix(part.sizes[-3], part.sizes[-2])))
        for prefixes in _prefixes(part, space, grouped.x, most):
            found = _measured(part, space, prefixes, grouped)
            yield found
            advance(len(found))


def measure_some(part: Part, examples: Examples, circuits: np.ndarray, *, progress: Progress | None = None) -> Measured:
    """These well-formed circuits `(K,)` uint64 of a part with one output and a hidden layer, in any order of rows."""
    progress = progress or Progress()
    space = CircuitSpace(part.sizes)
    grouped = _grouped(part.layers[-1], examples)
    prefix = circuits & np.uint64((1 << space.offsets[-2]) - 1)
    order = np.argsort(prefix, kind="stable")
    circuits, prefix = circuits[order], prefix[order]
    found = Measured(circuits, *(np.empty(len(circuits), kind) for kind in (np.int32, np.int32, np.float32)))
    with progress.bar("listed circuits", len(circuits)) as advance:
        for prefixes in _prefixes(part, space, grouped.x, PREFIXES_AT_ONCE):
            first, end = np.searchsorted(prefix, prefixes.bits), np.searchsorted(prefix, prefixes.bits, side="right")
            (some,) = np.nonzero(end > first)
            kernel.evaluate_listed(
                prefixes.active[some],
                prefixes.values[some],
                first[some],
                end[some],
                circuits,
                *_last_layers(part),
                grouped.groups,
                grouped.bounds,
                grouped.sizes,
                grouped.full,
                np.array(space.offsets[-2:], dtype=np.int64),
                found.n_right,
                found.n_equal,
                found.squares,
            )
            advance(int((end - first).sum()))
    return found


def measure_one(part: Part, examples: Examples, circuit: int) -> Measured:
    """One circuit, by its definition: masked weights, one forward pass."""
    masks = CircuitSpace(part.sizes).masks(circuit)
    output = part.masked(masks, examples.x).squeeze(1)
    answer = output.round()
    return Measured(
        np.array([circuit], dtype=np.uint64),
        np.array([int((answer == examples.target).sum())], dtype=np.int32),
        np.array([int((answer == examples.full.round()).sum())], dtype=np.int32),
        np.array([float((output - examples.full).double().square().sum())], dtype=np.float32),
    )


def _alone(part: Part, examples: Examples) -> Measured:
    """A single Linear layer has one well-formed circuit."""
    return measure_one(part, examples, CircuitSpace(part.sizes).full)


# --- examples, as the kernel wants them ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grouped:
    """Distinct examples, ordered by what answers them rightly and how often they occur.

    See `kernel.evaluate_prefixes`. Examples are equal if they have the same inputs and the same right answers; the
    full network's output is then that of the first, for it may differ in the last digit.
    """

    x: np.ndarray
    full: np.ndarray
    groups: np.ndarray
    bounds: np.ndarray
    sizes: np.ndarray


def _grouped(output: Layer, examples: Examples) -> _Grouped:
    x, full = examples.x.cpu().numpy(), examples.full.cpu().numpy()
    answers = torch.stack([examples.target, examples.full.round()], dim=1).cpu().numpy()
    _, first, counts = np.unique(np.concatenate([x, answers], axis=1), axis=0, return_index=True, return_counts=True)
    kinds, group = np.unique(np.column_stack([answers[first], counts]), axis=0, return_inverse=True)
    order = first[np.argsort(group.reshape(-1), kind="stable")]
    found = [
        [*rounding_interval(output, right), *rounding_interval(output, equal)] for right, equal, _ in kinds.tolist()
    ]
    return _Grouped(
        x=x[order],
        full=full[order],
        groups=np.concatenate([[0], np.cumsum(np.bincount(group.reshape(-1), minlength=len(kinds)))]).astype(np.int64),
        bounds=np.array(found, dtype=np.float32).reshape(-1, 4),
        sizes=kinds[:, 2].astype(np.float32),
    )


def rounding_interval(layer: Layer, answer: float) -> tuple[float, float]:
    """The float32 numbers z, from the first to the last, whose activation rounds (half to even) to `answer`.

    Activations never fall, so these are an interval; it is found by bisection over all float32 numbers, with torch's
    own activation and rounding, so ties are decided as torch decides them. Empty (infinity, −infinity) without any.

    Raises:
        ConfigError: leaky_relu with a negative slope falls.
    """
    if layer.activation == "leaky_relu" and layer.slope < 0:
        raise ConfigError(f"leaky_relu with the negative slope {layer.slope} is not monotone.")

    def rounded(key: int) -> float:
        return float(layer.activate(torch.tensor(_float_of(key))).round())

    lowest, highest = _key_of(-3.0e38), _key_of(3.0e38)
    first = _first(lowest, highest, lambda key: rounded(key) >= answer)
    beyond = _first(lowest, highest, lambda key: rounded(key) > answer)
    if first >= beyond:
        return np.inf, -np.inf
    return (
        -np.inf if first == lowest else _float_of(first),
        np.inf if beyond > highest else _float_of(beyond - 1),
    )


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest integer from low on for which a condition that stays true holds; high + 1 if none."""
    high += 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _key_of(number: float) -> int:
    """Integers in the order of the float32 numbers."""
    bits = int(np.float32(number).view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _float_of(key: int) -> float:
    bits = key if key >= 0 else -key | 0x80000000
    return float(np.uint32(bits).view(np.float32))


# --- prefixes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Prefixes:
    """Edges into all hidden layers but the last, and what they make of the inputs.

    Attributes:
        bits: `(P,)` uint64.
        active: `(P,)` int64, active neurons behind the last hidden layer, as bits.
        values: `(P, n, B)` float32.
    """

    bits: np.ndarray
    active: np.ndarray
    values: np.ndarray

    def by_size(self) -> _Prefixes:
        """Ordered by the number of their active neurons, so by the number of their circuits, the largest first."""
        order = np.argsort(-np.bitwise_count(self.active.astype(np.uint64)).astype(np.int64), kind="stable")
        return _Prefixes(self.bits[order], self.active[order], self.values[order])


_State = tuple[int, int, np.ndarray]
"""Kept edges so far as bits, active neurons of the last layer so far as bits, and their values `(n, B)`."""


def _prefixes(part: Part, space: CircuitSpace, x: np.ndarray, most: int) -> Iterator[_Prefixes]:
    batch: list[_State] = []
    everything = (0, (1 << part.sizes[0]) - 1, np.ascontiguousarray(x.T))
    for prefix in _extended(part, space, [everything], 0):
        batch.append(prefix)
        if len(batch) == most:
            yield _stacked(batch)
            batch = []
    if batch:
        yield _stacked(batch)


def _extended(part: Part, space: CircuitSpace, states: Iterable[_State], layer: int) -> Iterator[_State]:
    """Prefixes that end before the last hidden layer, depth first."""
    if layer == len(part.layers) - 2:
        yield from states
        return
    for bits, active, values in states:
        yield from _extended(part, space, _configurations(part, space, bits, active, values, layer), layer + 1)


def _configurations(
    part: Part, space: CircuitSpace, bits: int, active: int, values: np.ndarray, layer: int
) -> Iterator[_State]:
    """All ways to wire one hidden layer to the active neurons behind it, with the neurons' values `(n, B)`."""
    this, n_in, n_out = part.layers[layer], part.sizes[layer], part.sizes[layer + 1]
    subsets = [mask for mask in range(1 << n_in) if not mask & ~active]
    kept = torch.tensor([[bool(mask >> i & 1) for i in range(n_in)] for mask in subsets])
    inputs = torch.from_numpy(values)
    # (n_out, masks, B): every neuron with every choice of inputs, once
    weights = this.weight.cpu()[:, None, :] * kept[None]
    table = this.activate(weights @ inputs + this.bias.cpu()[:, None, None])
    table[:, 0] = 0.0  # no kept edge: inactive
    neurons = table.numpy()
    start = space.offsets[layer]
    for rows in itertools.product(range(len(subsets)), repeat=n_out):
        union = found = alive = 0
        for neuron, row in enumerate(rows):
            mask = subsets[row]
            union |= mask
            found |= mask << (start + neuron * n_in)
            alive |= bool(mask) << neuron
        if union == active:
            yield bits | found, alive, neurons[range(n_out), rows]


def _stacked(batch: list[_State]) -> _Prefixes:
    bits, active, values = zip(*batch, strict=True)
    return _Prefixes(np.array(bits, dtype=np.uint64), np.array(active, dtype=np.int64), np.stack(values))


def _rows_of_prefix(n_active: int, n_neurons: int) -> int:
    """Ways in which `n_neurons` neurons keep inputs (or none), so that every one of `n_active` inputs is kept once."""
    return sum((-1) ** k * comb(n_active, k) * 2 ** ((n_active - k) * n_neurons) for k in range(n_active + 1))


def _measured(part: Part, space: CircuitSpace, prefixes: _Prefixes, grouped: _Grouped) -> Measured:
    per_size = np.array([_rows_of_prefix(size, part.sizes[-2]) for size in range(part.sizes[-3] + 1)])
    counts = per_size[np.bitwise_count(prefixes.active.astype(np.uint64))]
    first = np.concatenate([[0], np.cumsum(counts)])
    total = int(first[-1])
    found = Measured(
        np.empty(total, np.uint64), np.empty(total, np.int32), np.empty(total, np.int32), np.empty(total, np.float32)
    )
    kernel.evaluate_prefixes(
        prefixes.bits,
        prefixes.active,
        prefixes.values,
        first[:-1].astype(np.int64),
        *_last_layers(part),
        grouped.groups,
        grouped.bounds,
        grouped.sizes,
        grouped.full,
        np.array(space.offsets[-2:], dtype=np.int64),
        found.circuit,
        found.n_right,
        found.n_equal,
        found.squares,
    )
    return found


def _last_layers(part: Part) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The last hidden layer and the output, as the kernel wants them."""
    hidden, output = part.layers[-2], part.layers[-1]
    return (
        (hidden.weight.cpu().numpy(), hidden.bias.cpu().numpy(), *_activation(hidden)),
        (output.weight.cpu().numpy()[0], np.float32(output.bias[0].item()), *_activation(output)),
    )


def _activation(layer: Layer) -> tuple[int, np.float32]:
    """The kernel's number for the activation, and its slope for negative values."""
    slope = {"identity": 1.0, "relu": 0.0, "leaky_relu": layer.slope}.get(layer.activation, 0.0)
    return ACTIVATIONS.index(layer.activation), np.float32(slope)


# --- on a device -----------------------------------------------------------------------------------------------------
#
# Letters: P prefixes, R rows (kept inputs of each neuron of the last hidden layer), J neurons j, M masks m, n inputs.


@torch.no_grad()
def measure_on(
    device: torch.device, part: Part, examples: Examples, *, progress: Progress | None = None
) -> Iterator[Measured]:
    """What `measure` gives, in another order, by tensor operations on any device; for a part with a hidden layer.

    Sums may differ from the kernel's in float32's last digits, so an example within 1e-5 of a rounding boundary may be
    answered otherwise.
    """
    progress = progress or Progress()
    space = CircuitSpace(part.sizes)
    grouped = _grouped(part.layers[-1], examples)
    per_group = np.column_stack([grouped.bounds, grouped.sizes])
    *bounds, sizes = torch.from_numpy(np.repeat(per_group, np.diff(grouped.groups), axis=0).T.copy()).to(device)
    full = torch.from_numpy(grouped.full).to(device)
    hidden, output = (
        replace(layer, weight=layer.weight.to(device), bias=layer.bias.to(device)) for layer in part.layers[-2:]
    )
    n_in, n_neurons = part.sizes[-3], part.sizes[-2]
    kept = torch.tensor([[bool(m >> i & 1) for i in range(n_in)] for m in range(1 << n_in)], device=device)
    weights = hidden.weight[:, None, :] * kept  # (J, M, n)
    with progress.bar("circuits", space.count()) as advance:
        for prefixes in _prefixes(part, space, grouped.x, PREFIXES_AT_ONCE):
            for active in np.unique(prefixes.active).tolist():
                (some,) = np.nonzero(prefixes.active == active)
                for rows in _rows(active, n_in, n_neurons).split(max(1, NUMBERS_AT_ONCE // len(full))):
                    at_once = max(1, NUMBERS_AT_ONCE // (max(len(rows), weights.shape[0] * len(kept)) * len(full)))
                    for these in np.array_split(some, -(-len(some) // at_once)):
                        values = torch.from_numpy(prefixes.values[these]).to(device)
                        before = torch.einsum("jmn,pnb->pjmb", weights, values) + hidden.bias[:, None, None]
                        terms = output.weight[0][:, None, None] * hidden.activate(before)
                        terms[:, :, 0] = 0  # an inactive neuron adds nothing
                        z = output.bias[0].expand(len(these), len(rows), len(full))
                        for j in range(n_neurons):
                            z = z + terms[:, j].index_select(1, rows[:, j].to(device))
                        right = (((z >= bounds[0]) & (z <= bounds[1])) * sizes).sum(2).int()
                        equal = (((z >= bounds[2]) & (z <= bounds[3])) * sizes).sum(2).int()
                        squares = ((output.activate(z) - full).square() * sizes).sum(2)
                        circuits = prefixes.bits[these][:, None] | _bits_of(rows, space, n_in)
                        columns = (column.cpu().numpy().reshape(-1) for column in (right, equal, squares))
                        yield Measured(circuits.reshape(-1), *columns)
                        advance(circuits.size)


def _rows(active: int, n_in: int, n_neurons: int) -> Tensor:
    """All ways `(R, J)` in which neurons keep some of the active inputs, each input being kept by one at least."""
    subsets = torch.tensor([mask for mask in range(1 << n_in) if not mask & ~active])
    rows = torch.cartesian_prod(*[subsets] * n_neurons).reshape(-1, n_neurons)
    union = torch.zeros(len(rows), dtype=torch.int64)
    for j in range(n_neurons):
        union |= rows[:, j]
    return rows[union == active]


def _bits_of(rows: Tensor, space: CircuitSpace, n_in: int) -> np.ndarray:
    """The edges into and out of the last hidden layer, `(R,)` uint64."""
    found = np.zeros(len(rows), dtype=np.uint64)
    for j, masks in enumerate(rows.numpy().T.astype(np.uint64)):
        found |= masks << np.uint64(space.offsets[-2] + j * n_in)
        found |= (masks != 0).astype(np.uint64) << np.uint64(space.offsets[-1] + j)
    return found


# --- census ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Census:
    """Exact counts of all circuits of a space.

    Attributes:
        counts: `(n_hidden + 1, n_edges + 1, B + 1)` int64: circuits by active neurons, kept edges, right answers.
        edge_counts: `(n_edges,)` int64: valid circuits that keep each edge.
    """

    counts: np.ndarray
    edge_counts: np.ndarray


def take_census(
    part: Part,
    examples: Examples,
    least_right: int,
    most_listed: int,
    *,
    salt: int = 0,
    progress: Progress | None = None,
) -> tuple[Census, np.ndarray]:
    """Counts of every circuit, and valid ones `(K,)` uint64 in the order of their bits: all, or a random sample.

    The sample is uniform: of a random order of all circuits it has the valid ones that come first. So it depends on
    neither the order of the search nor the number of threads.

    Args:
        part: with one output and at least one hidden layer.
        least_right: right answers of a valid circuit.
        most_listed: the size of the sample; all valid circuits, if they are no more.
        salt: 0 to 2⁶⁴ − 1, gives the random order.
    """
    progress = progress or Progress()
    space = CircuitSpace(part.sizes)
    blocked = _blocked(_grouped(part.layers[-1], examples))
    n_threads = get_num_threads()
    counts = np.zeros((n_threads, space.n_hidden + 1, space.n_edges + 1, len(examples) + 1), dtype=np.int64)
    edge_counts = np.zeros(space.n_edges, dtype=np.int64)
    sample = _Sample(min(most_listed, space.count()), np.uint64(salt), n_threads)
    last_hidden = space.offsets[-2]
    per_size = [_rows_of_prefix(size, part.sizes[-2]) for size in range(part.sizes[-3] + 1)]
    with progress.bar("circuits", space.count()) as advance:
        at_once = max(1, min(PREFIXES_AT_ONCE, COUNTED_AT_ONCE // per_size[-1]) // n_threads) * n_threads
        for unordered in _prefixes(part, space, blocked.x, most=at_once):
            prefixes = unordered.by_size()  # they are dealt to the threads in turn
            n_valid = np.zeros(len(prefixes.bits), dtype=np.int64)
            valid_rows = np.zeros((len(prefixes.bits), part.sizes[-2], 1 << part.sizes[-3]), dtype=np.int64)
            before = [_active_in(space, prefixes.bits, last_hidden), np.bitwise_count(prefixes.bits).astype(np.int64)]
            kernel.census_prefixes(
                prefixes.bits,
                prefixes.active,
                prefixes.values,
                *_last_layers(part),
                blocked.blocks,
                blocked.sizes,
                blocked.bounds,
                least_right,
                np.stack(before, axis=1),
                counts,
                n_valid,
                valid_rows,
                np.array(space.offsets[-2:], dtype=np.int64),
                sample.salt,
                sample.most,
                sample.beyond,
                sample.n_listed,
                sample.listed,
            )
            _add_edges(space, part, prefixes, n_valid, valid_rows, edge_counts)
            sample.gather()
            active = np.bitwise_count(prefixes.active.astype(np.uint64))
            advance(sum(per_size[size] for size in active.tolist()))
    return Census(counts.sum(0), edge_counts), sample.circuits()


class _Sample:
    """The valid circuits that come first in a random order, while they are found; see `kernel.census_prefixes`.

    Attributes:
        most: how many.
        first: the places in the random order of those that were found so far, `(at most most,)` uint64.
        beyond, n_listed, listed: what the threads add to these, and the last place that still belongs to them.
    """

    def __init__(self, most: int, salt: np.uint64, n_threads: int) -> None:
        self.most, self.salt = most, salt
        self.first = np.empty(0, dtype=np.uint64)
        self.beyond = np.full(n_threads, np.iinfo(np.uint64).max, dtype=np.uint64)
        self.n_listed = np.zeros(n_threads, dtype=np.int64)
        # A quarter more than are wanted, so that a thread that has filled it seldom has to tell the first from others.
        self.listed = np.empty((n_threads, most + most // 4 + 1), dtype=np.uint64)

    def gather(self, *, all_of_them: bool = False) -> None:
        """Bring the threads' lists together, if they have grown by much or all are wanted."""
        if not all_of_them and self.n_listed.sum() <= self.most // 4:
            return
        lists = [places[:n] for places, n in zip(self.listed, self.n_listed, strict=True)]
        self.first = np.concatenate([self.first, *lists])
        self.n_listed[:] = 0
        if len(self.first) > self.most > 0:
            self.first = np.partition(self.first, self.most - 1)[: self.most]
            self.beyond[:] = self.first.max()

    def circuits(self) -> np.ndarray:
        """The circuits, in the order of their bits."""
        self.gather(all_of_them=True)
        return np.sort(kernel.circuits_of(self.first, self.salt))


def _active_in(space: CircuitSpace, bits: np.ndarray, end: int) -> np.ndarray:
    """Active neurons among those whose incoming edges lie below the bit `end`."""
    masks = [mask for mask in neuron_masks(space) if mask < 1 << end]
    return sum(((bits & np.uint64(mask)) != 0).astype(np.int64) for mask in masks) + np.zeros(len(bits), dtype=np.int64)


def _add_edges(
    space: CircuitSpace,
    part: Part,
    prefixes: _Prefixes,
    n_valid: np.ndarray,
    valid_rows: np.ndarray,
    edge_counts: np.ndarray,
) -> None:
    hidden, output = space.offsets[-2:]
    for bit in range(hidden):
        edge_counts[bit] += n_valid[prefixes.bits >> np.uint64(bit) & np.uint64(1) == 1].sum()
    rows = valid_rows.sum(0)
    for neuron in range(part.sizes[-2]):
        for mask in range(1, rows.shape[1]):
            for i in range(part.sizes[-3]):
                if mask >> i & 1:
                    edge_counts[hidden + neuron * part.sizes[-3] + i] += rows[neuron, mask]
            edge_counts[output + neuron] += rows[neuron, mask]


@dataclass(frozen=True)
class _Blocked:
    """Distinct examples ordered by blocks of near ones; see `kernel.census_prefixes`.

    Attributes:
        x: `(D, n_0)`, the inputs in this order.
        blocks, sizes, bounds: the blocks. An example that occurs several times is a block of its own.
    """

    x: np.ndarray
    blocks: np.ndarray
    sizes: np.ndarray
    bounds: np.ndarray


def _blocked(grouped: _Grouped) -> _Blocked:
    """Examples that occur once in blocks of near ones."""
    x: list[np.ndarray] = []
    sizes: list[float] = []
    bounds: list[np.ndarray] = []
    for group in range(len(grouped.groups) - 1):
        members = slice(grouped.groups[group], grouped.groups[group + 1])
        rows, size = grouped.x[members], grouped.sizes[group]
        alone = np.arange(len(rows))
        for block in _near(rows, alone) if size == 1 else alone[:, None]:
            x.append(rows[block])
            sizes.append(size * len(block))
            bounds.append(grouped.bounds[group, :2])
    return _Blocked(
        x=np.ascontiguousarray(np.concatenate(x)),
        blocks=np.concatenate([[0], np.cumsum([len(block) for block in x])]).astype(np.int64),
        sizes=np.array(sizes, dtype=np.float32),
        bounds=np.ascontiguousarray(np.array(bounds, dtype=np.float32).T),
    )


def _near(x: np.ndarray, members: np.ndarray) -> Iterator[np.ndarray]:
    """Members in blocks of at most BLOCK, halved along the widest input again and again."""
    if len(members) <= BLOCK:
        yield members
        return
    widest = np.argmax(np.ptp(x[members], axis=0))
    ordered = members[np.argsort(x[members, widest], kind="stable")]
    yield from _near(x, ordered[: len(ordered) // 2])
    yield from _near(x, ordered[len(ordered) // 2 :])

"""How minimal is a valid circuit? (Adolfi et al. 2024; Hadad, Katz and Bassan, ICLR 2026)

A sub-circuit of a circuit is a circuit of the same family whose edges are some of its edges, not all. To leave an edge
out means: remove it, then remove every edge that lies on no path from an input to an output. If nothing is left, or if
an input or output is lost that the family needs, the rest is not valid. A valid circuit is

- *quasi*-minimal if it has an edge without which it is not valid,
- *locally* minimal if that holds for each of its edges,
- *subset*-minimal if none of its sub-circuits is valid,
- *cardinally* minimal if no valid circuit of the family has fewer edges.

Each level implies those before it. Validity is not monotone: a sub-circuit of an invalid circuit may be valid. So a
locally minimal circuit need not be subset-minimal.

- `minimality`: if all valid circuits of the family are known, for any circuits of it; exact.
- `minimality_by_search`: for circuits of chains of any size, by evaluating what is inside each of them.

Letters: K circuits, M circuits to evaluate, E edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from mi_runner.datasets.distinct import first_of_equal
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import means_of
from mi_runner.methods.circuits.edges import WORD, Edges, among, bits_of, distinct, n_kept, words_of
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.examples import CircuitExamples, check_outputs
from mi_runner.methods.circuits.kernels import minimality as kernels
from mi_runner.methods.circuits.space import CircuitSpace

LEVELS = ("", "quasi", "local", "subset", "cardinal")
"""Names of the levels. A circuit's level is the place of its highest one; 0: it reaches none, or it is not valid."""

MOST_BITS = 32
"""Up to so many edges all sets of edges are bits of an array: at most 512 MB."""

MOST_SEARCHED = 100_000
"""Default of the largest number of sub-circuits that a search evaluates for a circuit."""

NUMBERS_AT_ONCE = 10_000_000
"""Values of the largest layer of a batch of circuits to evaluate, circuits times examples times neurons."""

AT_ONCE = 2**22
"""Booleans of a batch of circuits to evaluate, circuits times edges."""


def minimality(space: CircuitSpace, valid: np.ndarray, circuits: np.ndarray | None = None) -> np.ndarray:
    """Returns the level of each circuit, `(K,)` int8, places in `LEVELS`; exact.

    Up to 32 edges, a bit for each set of edges says whether it is a valid circuit, and then whether it contains one.
    With more edges, the valid circuits with fewer edges than each locally minimal one are looked through.

    Args:
        valid: `(V,)`, bits, all valid circuits of the family, in any order.
        circuits: `(K,)`, bits, circuits of the family; None: `valid`, in its order.
    """
    circuits = space.edges.bits(valid if circuits is None else circuits)
    ordered = np.sort(space.edges.bits(valid))
    if not len(ordered):
        return np.zeros(len(circuits), dtype=np.int8)
    shape = np.array(space.sizes, dtype=np.int64), np.array(space.offsets, dtype=np.int64)
    if space.n_edges <= MOST_BITS:
        words = np.zeros(max(1, 2**space.n_edges // 64), dtype=np.uint64)
        kernels.set_bits(words, ordered)
        n_valid_without = kernels.count_valid_without(circuits, words, True, *shape)
        is_valid = kernels.has_bits(words, circuits)
    else:
        is_one_word = space.edges.fit_in_a_word
        n_valid_without = (
            kernels.count_valid_without(circuits, ordered, False, *shape)
            if is_one_word
            else _count_valid_without(space, circuits, ordered)
        )
        is_valid = among(circuits, ordered)
    n_edges = n_kept(circuits)
    levels = np.where(n_valid_without < n_edges, 1, 0)
    levels[n_valid_without == 0] = 2
    levels[~is_valid] = 0
    (local,) = np.nonzero(levels == 2)
    if len(local):
        if space.n_edges <= MOST_BITS:
            kernels.propagate(words)
            contains = kernels.contains_valid(circuits[local], words)
        else:
            by_size = ordered[np.argsort(n_kept(ordered), kind="stable")]
            first = np.searchsorted(n_kept(by_size), n_edges[local])
            n_words = -(-space.n_edges // WORD)
            contains = kernels.search_valid(words_of(circuits[local], n_words), words_of(by_size, n_words), first)
        levels[local[~contains]] = 3
    levels[(levels == 3) & (n_edges == int(n_kept(ordered).min()))] = 4
    return levels.astype(np.int8)


def _count_valid_without(space: CircuitSpace, circuits: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Returns for how many edges of each circuit `(K,)` the circuit without this edge is valid, `(K,)` int64.

    Edges that all valid circuits keep aren't tried, because no circuit without one is valid.
    """
    among, counts = set(valid.tolist()), np.zeros(len(circuits), dtype=np.int64)
    common = int(np.bitwise_and.reduce(valid))
    for edge in [edge for edge in range(space.n_edges) if not common >> edge & 1]:
        (rows,) = np.nonzero((circuits & (1 << edge)) != 0)
        for some in np.array_split(rows, -(-len(rows) * space.n_edges // AT_ONCE) or 1):
            without = bits_of(space.edges.closed(space.edges.rows(circuits[some] ^ (1 << edge))))
            counts[some] += np.array([circuit in among for circuit in without.tolist()], dtype=np.int64)
    return counts


def minimality_by_search(
    sizes: Sequence[int],
    kept: np.ndarray,
    is_valid: Callable[[np.ndarray], np.ndarray],
    *,
    inputs: str = "any",
    fewest: int | None = None,
    most: int = MOST_SEARCHED,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the level of each valid circuit, `(K,)` int8, and whether it is exact, `(K,)` bool.

    A level that is not exact is the highest that is proven: the circuit is locally minimal and has more than `most`
    sub-circuits, or it is subset-minimal and `fewest` is not known.

    Args:
        sizes: neurons of each layer, inputs first.
        kept: `(K, E)` bool, closed circuits that are valid.
        is_valid: says of circuits `(M, E)` bool, closed and not empty, which are valid, `(M,)` bool.
        inputs: the family of circuits, one of `INPUTS`.
        fewest: the number of edges of the smallest valid circuit of the family; None: not known.
        most: the largest number of sub-circuits of a circuit that are evaluated to find a valid one.
    """
    edges, levels, exact = Edges(tuple(sizes)), np.zeros(len(kept), dtype=np.int8), np.ones(len(kept), dtype=bool)
    for row, circuit in enumerate(kept):
        n_kept = int(circuit.sum())
        children = _without_each_edge(edges, circuit[None], inputs)
        n_valid_without = int(_validity(children, is_valid).sum())
        if n_valid_without:
            levels[row] = n_valid_without < n_kept
            continue
        levels[row] = 2
        contains = _search(edges, children, is_valid, inputs, most)
        if contains is not False:
            exact[row] = contains is not None
            continue
        levels[row] = 4 if n_kept == fewest else 3
        exact[row] = fewest is not None
    return levels, exact


def validity(
    part: Part, examples: CircuitExamples, accuracy_threshold: float, *, ablation: str = "zero"
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that says of circuits `(M, E)` bool which are valid, `(M,)` bool, for `minimality_by_search`.

    It evaluates each circuit by its definition, so for chains of any size. Its sums may differ from the kernel's in the
    last digits of float32.

    Args:
        part: with one output, or with several that answer a class.
        accuracy_threshold: as for `search_circuits`.
        ablation: what a left-out edge carries, one of `ABLATIONS`.
    """
    check_outputs(part, examples)
    part, means = part.without_softmax, means_of(part, examples.x, ablation)
    index, occurrences = first_of_equal(torch.column_stack([examples.x, examples.goal]))
    x, goal, weights = examples.x[occurrences], examples.goal[occurrences], torch.bincount(index)
    fewest = examples.fewest_right(accuracy_threshold)
    n_at_once = max(1, NUMBERS_AT_ONCE // (len(x) * max(part.sizes)))

    def is_valid(kept: np.ndarray) -> np.ndarray:
        valid = np.zeros(len(kept), dtype=bool)
        for first in range(0, len(kept), n_at_once):
            rows = slice(first, first + n_at_once)
            answers = examples.kind.answers(outputs_of_circuits(part, kept[rows], x, means))
            n_right = ((answers == goal) * weights).sum(1)
            valid[rows] = (n_right >= fewest).numpy()
        return valid

    return is_valid


# --- by search -------------------------------------------------------------------------------------------------------


def _without_each_edge(edges: Edges, circuits: np.ndarray, inputs: str) -> np.ndarray:
    """Returns every circuit of the family that is one of the circuits `(M, E)` with one edge left out.

    Rows stand for edges, so equal ones occur more than once; circuits outside the family are left out.
    """
    row, edge = np.nonzero(circuits)
    children = circuits[row]
    children[np.arange(len(row)), edge] = False
    children = edges.closed(children)
    inside = children.any(1)
    if inputs == "all":
        masks = edges.masks(children)
        inside &= np.all(np.any(masks[0], axis=1), axis=1) & np.all(np.any(masks[-1], axis=2), axis=1)
    return children[inside]


def _validity(circuits: np.ndarray, is_valid: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Returns which circuits are valid; they are evaluated in batches."""
    n_at_once = max(1, AT_ONCE // circuits.shape[1])
    batches = [is_valid(circuits[first : first + n_at_once]) for first in range(0, len(circuits), n_at_once)]
    return np.concatenate([np.zeros(0, dtype=bool), *batches]).astype(bool)


def _search(
    edges: Edges,
    circuits: np.ndarray,
    is_valid: Callable[[np.ndarray], np.ndarray],
    inputs: str,
    most: int,
) -> bool | None:
    """Returns whether a sub-circuit of invalid circuits `(M, E)` is valid; None if there are too many to say.

    Every sub-circuit is reached by leaving out edges one after the other. Those with the most edges come first, so that
    each is evaluated once.
    """
    waiting = {int(n): circuits[circuits.sum(1) == n] for n in np.unique(circuits.sum(1))}
    n_seen = 0
    while waiting:
        n_kept = max(waiting)
        these = waiting.pop(n_kept)
        these = these[np.sort(distinct(these)[0])]
        n_seen += len(these)
        if n_seen > most:
            return None
        if _validity(these, is_valid).any():
            return True
        n_at_once = max(1, AT_ONCE // (these.shape[1] * n_kept))
        for first in range(0, len(these), n_at_once):
            children = _without_each_edge(edges, these[first : first + n_at_once], inputs)
            sizes_of = children.sum(1)
            for n in np.unique(sizes_of).tolist():
                together = np.concatenate([*([waiting[n]] if n in waiting else []), children[sizes_of == n]])
                waiting[n] = together[np.sort(distinct(together)[0])]
    return False

"""A word of 64 bits for each circuit of a space, by which a census names it, also where it has more than 64 edges.

Up to 64 edges the code of a circuit is its bits. Of more edges it is a number with a digit for each neuron that edges
leave: an active neuron keeps one of the 2ⁿ − 1 sets of its n targets that aren't empty, and its digit says which one.
An inactive neuron has the digit 0; which neurons are active is known from the digits of the layer before. An input of
the family any keeps one of 2ⁿ sets. So thin layers have few codes, and no two circuits have the same one.

A code is a sum, modulo 2⁶⁴: of a number for each kept edge, less one for each active hidden neuron. A census adds it up
as it chooses edges.

Letters: E edges, H hidden neurons, K circuits, J neurons of the last hidden layer and Q choices of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mi_runner.errors import ArgumentError
from mi_runner.methods.circuits.edges import WORD, bits_of, rows_of
from mi_runner.methods.circuits.prefixes import why_long_tails
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.tables.whole_numbers import large

MOST_CODES = 1 << 63
"""A census of more than 64 edges takes at most so many codes: then its counts fit into int64, too."""

MOST_CHOICES = 1 << 16
"""It takes at most so many choices of a neuron of the last hidden layer, for each of which numbers are kept."""

AT_ONCE = 1 << 16
"""Circuits that are turned to codes, or codes to circuits, together."""


@dataclass(frozen=True)
class _Terms:
    """What a code adds up.

    Attributes:
        edges: `(E,)` uint64, of each kept edge.
        active: `(H,)` uint64, subtracted for each active hidden neuron.
        inputs: subtracted from every code.
    """

    edges: np.ndarray
    active: np.ndarray
    inputs: np.uint64


def why_without_codes(space: CircuitSpace) -> str | None:
    """Returns why a census can't name the circuits of a space with a hidden layer, without a full stop.

    None if it can.
    """
    if space.edges.fit_in_a_word:
        return None
    n_in, _, n_out = space.sizes[-3:]
    have = f"layers of {'-'.join(map(str, space.sizes))} neurons have {space.n_edges:,} edges"
    more = f"a census of more than {WORD} edges takes at most"
    if (n := n_codes(space)) > MOST_CODES:
        return f"{more} {large(MOST_CODES)} codes, and {have} and {large(n)} codes"
    if (n := 1 + (2**n_in - 1) * (2**n_out - 1)) > MOST_CHOICES:
        return f"{more} {MOST_CHOICES:,} choices of a neuron of the last hidden layer; {have} and {large(n)} choices"
    return why_long_tails(space)


def check_codes(space: CircuitSpace) -> None:
    """Checks that a census can name the circuits of a space.

    Raises:
        ArgumentError: it can't.
    """
    if (why := why_without_codes(space)) is not None:
        raise ArgumentError("sizes", None, f"{why}.")


def n_codes(space: CircuitSpace) -> int:
    """Returns how many codes there are of more than 64 edges, at least as many as circuits."""
    n = 1
    for radix, size in zip(_radices(space), space.sizes, strict=False):
        n *= radix**size
    return n


def _radices(space: CircuitSpace) -> list[int]:
    """Returns how many digits a neuron of each layer that edges leave can have."""
    radices = [2**n - 1 for n in space.sizes[1:]]
    return radices if space.inputs == "all" else [2 ** space.sizes[1], *radices[1:]]


def _units(space: CircuitSpace) -> list[np.ndarray]:
    """Returns how much a digit of each neuron counts, `(n_l,)` uint64 for each layer that edges leave."""
    unit, units = 1, []
    for radix, size in zip(_radices(space), space.sizes, strict=False):
        units.append(np.array([unit * radix**neuron for neuron in range(size)], dtype=np.uint64))
        unit *= radix**size
    return units


@lru_cache(maxsize=16)
def _terms(space: CircuitSpace) -> _Terms:
    if space.edges.fit_in_a_word:
        edges = np.uint64(1) << np.arange(space.n_edges, dtype=np.uint64)
        return _Terms(edges, np.zeros(space.n_hidden, dtype=np.uint64), np.uint64(0))
    units = _units(space)
    masks = [
        unit << np.arange(n_out, dtype=np.uint64)[:, None]
        for unit, (n_out, _) in zip(units, space.edges.shapes, strict=True)
    ]
    edges = np.concatenate([mask.reshape(-1) for mask in masks])
    inputs = units[0].sum(dtype=np.uint64) if space.inputs == "all" else np.uint64(0)
    return _Terms(edges, np.concatenate(units[1:]), inputs)


def codes_of(space: CircuitSpace, circuits: np.ndarray) -> np.ndarray:
    """Returns the codes `(K,)` uint64 of circuits `(K,)`, bits.

    Of a prefix it is the sum of its edges and of the neurons that they make active, and `codes_of_choices` are added.
    """
    if space.edges.fit_in_a_word:
        return circuits
    terms, codes = _terms(space), np.empty(len(circuits), dtype=np.uint64)
    for first in range(0, len(circuits), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        rows = space.edges.rows(circuits[some])
        active = np.concatenate([mask.any(2) for mask in space.edges.masks(rows)[:-1]], axis=1)
        codes[some] = rows @ terms.edges - active @ terms.active - terms.inputs
    return codes


def codes_of_choices(space: CircuitSpace, choices: np.ndarray) -> np.ndarray:
    """Returns what each choice of each neuron of the last hidden layer adds to a code, `(J, Q)` uint64.

    Args:
        choices: as `choices_of` returns them.
    """
    terms, (n_in, n_neurons, n_out) = _terms(space), space.sizes[-3:]
    into, out = space.edges.masks(terms.edges)[-2:]  # (J, n), (K, J)
    inputs, outputs = (
        (side[:, None] >> np.arange(n) & 1).astype(np.uint64) for side, n in zip(choices.T, (n_in, n_out), strict=True)
    )
    is_active = (choices[:, 0] != 0).astype(np.uint64)
    codes: np.ndarray = into @ inputs.T + out.T @ outputs.T - terms.active[-n_neurons:, None] * is_active
    return codes


def circuits_with(space: CircuitSpace, codes: np.ndarray) -> np.ndarray:
    """Returns the circuits `(K,)`, bits, with codes `(K,)` uint64; the inverse of `codes_of`."""
    if space.edges.fit_in_a_word:
        return codes
    found = [_circuits_with(space, codes[first : first + AT_ONCE]) for first in range(0, len(codes), AT_ONCE)]
    return np.concatenate([space.edges.bits([]), *found])


def _circuits_with(space: CircuitSpace, codes: np.ndarray) -> np.ndarray:
    masks: list[np.ndarray] = []
    has_all = space.inputs == "all"
    active: np.ndarray = np.full((len(codes), space.sizes[0]), fill_value=has_all)
    for units, radix, (n_out, _) in zip(_units(space), _radices(space), space.edges.shapes, strict=True):
        targets = codes[:, None] // units % np.uint64(radix) + active  # (K, in): of each source, as bits
        if masks or has_all:
            targets[~active] = 0
        masks.append((targets[:, None, :] >> np.arange(n_out, dtype=np.uint64)[:, None] & np.uint64(1)).astype(bool))
        active = np.any(masks[-1], axis=2)
    return bits_of(rows_of(masks))

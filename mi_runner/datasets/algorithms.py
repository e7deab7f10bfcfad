"""Which algorithms compute a Boolean function? All binary trees of two-input functions, up to a depth.

An algorithm is a rooted binary tree with variables at the leaves and, at each inner node, one of the eight two-input
functions that are true on one or three of the four inputs. Complementing a node's value changes nothing that an
intervention can see, so trees are normalised: every node is 0 on the all-zero input. Four functions are left: AND,
A ∧ ¬B, ¬A ∧ B and OR. The root may be the function or its complement. The order of two children doesn't matter, and the
two subtrees of a node differ. Depth 0 is a variable; a tree of depth d has a child of depth d − 1 and another of any
smaller or equal depth. Each occurrence of a subtree is a node of its own.

A truth table is an integer: bit b is the value on input b, whose most significant bit is the first variable.

Letters: n variables, B = 2ⁿ inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TypeVar

import numpy as np

from mi_runner.errors import ArgumentError

AND, NIMP, CONVERSE_NIMP, OR = range(4)
"""The gates of a normalised tree: A ∧ B, A ∧ ¬B, ¬A ∧ B, A ∨ B."""

MOST_TREES = 1_000_000
"""Trees of all functions together that are made, at most."""

VARIABLES = "ABCDEFGHIJ"

Tree = int | tuple[int, "Tree", "Tree"]
"""A variable's number, or a gate and its two subtrees."""


T = TypeVar("T", int, np.ndarray)


def apply_gate(gate: int, left: T, right: T) -> T:
    """Returns the truth table of a gate of two truth tables, or of arrays of them."""
    if gate == AND:
        return left & right
    if gate == OR:
        return left | right
    return left & ~right if gate == NIMP else ~left & right


@cache
def variable_table(variable: int, n: int) -> int:
    """Returns the truth table of a variable, the first being number 0."""
    return sum(1 << row for row in range(2**n) if row >> (n - 1 - variable) & 1)


def table_of_tree(tree: Tree, n: int) -> int:
    """Returns the truth table of a normalised tree."""
    if isinstance(tree, int):
        return variable_table(tree, n)
    gate, left, right = tree
    return apply_gate(gate, table_of_tree(left, n), table_of_tree(right, n))


def depth_of(tree: Tree) -> int:
    """Returns 0 for a variable, otherwise one more than the depth of the deeper subtree."""
    return 0 if isinstance(tree, int) else 1 + max(depth_of(tree[1]), depth_of(tree[2]))


def inner_nodes(tree: Tree) -> tuple[Tree, ...]:
    """Returns the subtrees that are no variables, each occurrence by itself; the root first, then the left ones."""
    return () if isinstance(tree, int) else (tree, *inner_nodes(tree[1]), *inner_nodes(tree[2]))


@dataclass(frozen=True)
class Algorithm:
    """A tree that computes a function.

    Attributes:
        tree: normalised.
        n: variables of the function.
        complemented: whether the function is the complement of the tree's root.

    Example:
        >>> from mi_runner.explanations import algorithms
        >>> algorithm = algorithms(0b0110, 2, max_depth=2)[0]
        >>> algorithm.formula
        '¬(A ∧ B) ∧ (A ∨ B)'
    """

    tree: Tree
    n: int
    complemented: bool = False

    @property
    def depth(self) -> int:
        """Gates on the longest way from the root to a variable."""
        return depth_of(self.tree)

    @cached_property
    def nodes(self) -> tuple[Tree, ...]:
        """The inner nodes but the root, in the order in which alignments name them."""
        return inner_nodes(self.tree)[1:]

    @property
    def n_gates(self) -> int:
        """Inner nodes, the root among them."""
        return len(inner_nodes(self.tree))

    @cached_property
    def node_tables(self) -> tuple[int, ...]:
        """The truth table of each of `nodes`."""
        return tuple(table_of_tree(node, self.n) for node in self.nodes)

    @property
    def table(self) -> int:
        """The truth table of the function."""
        every = 2**2**self.n - 1
        table = table_of_tree(self.tree, self.n)
        return every ^ table if self.complemented else table

    @cached_property
    def if_false_and_true(self) -> tuple[tuple[int, int], ...]:
        """For each of `nodes` the truth tables of the function where the node is always 0, and always 1."""
        return tuple(
            (self.with_node(place, 0), self.with_node(place, 2**2**self.n - 1)) for place in range(len(self.nodes))
        )

    @cached_property
    def interchanged(self) -> tuple[int, ...]:
        """For each of `nodes` the function's answers where the node has its value on another input.

        Bit s·B + b is the answer on base b with the node at its value on source s.
        """
        n_rows = 2**self.n
        return tuple(
            sum((true if table >> source & 1 else false) << source * n_rows for source in range(n_rows))
            for table, (false, true) in zip(self.node_tables, self.if_false_and_true, strict=True)
        )

    def with_node(self, place: int, table: int) -> int:
        """Returns the function's truth table if the node at this place of `nodes` has another table."""
        every = 2**2**self.n - 1
        seen = -1  # the root

        def evaluated(tree: Tree) -> int:
            nonlocal seen
            if isinstance(tree, int):
                return variable_table(tree, self.n)
            here, seen = seen, seen + 1
            gate, left, right = tree
            value = apply_gate(gate, evaluated(left), evaluated(right)) & every
            return table if here == place else value

        value = evaluated(self.tree)
        return every ^ value if self.complemented else value

    @cached_property
    def is_constant(self) -> tuple[bool, ...]:
        """Whether each of `nodes` is 0 on every input."""
        return tuple(table == 0 for table in self.node_tables)

    @cached_property
    def is_without_effect(self) -> tuple[bool, ...]:
        """Whether the answer stays what it is, on every input, whatever the value of each of `nodes`."""
        return tuple(false == true for false, true in self.if_false_and_true)

    @property
    def is_inert(self) -> bool:
        """Whether it has a node that is constant, or that can't change the answer."""
        return any(self.is_constant) or any(self.is_without_effect)

    @property
    def formula(self) -> str:
        """Returns a tree in the notation of logic, without its own outer brackets."""
        inner = formula(self.tree)
        if not self.complemented:
            return inner
        return f"¬{inner}" if isinstance(self.tree, int) else f"¬({inner})"


def formula(tree: Tree) -> str:
    """Returns a tree in the notation of logic, without its own outer brackets."""
    if isinstance(tree, int):
        return VARIABLES[tree]
    gate, left, right = tree
    sides = [formula(side) if isinstance(side, int) else f"({formula(side)})" for side in (left, right)]
    if gate == NIMP:
        sides[1] = f"¬{sides[1]}"
    if gate == CONVERSE_NIMP:
        sides[0] = f"¬{sides[0]}"
    return f"{sides[0]} {'∨' if gate == OR else '∧'} {sides[1]}"


def count_trees(n: int, max_depth: int) -> list[int]:
    """Returns the number of normalised trees over n variables of each exact depth, 0 to `max_depth`."""
    counts = [n]
    for _ in range(max_depth):
        last, shallower = counts[-1], sum(counts[:-1])
        counts.append(4 * (last * shallower + last * (last - 1) // 2))
    return counts


def check_size(n: int, max_depth: int) -> None:
    """Checks that the trees up to the depth can be made.

    Raises:
        ValueError: they are too many; the text says how many, and the depth that fits.
    """
    counts = count_trees(n, max_depth)
    if sum(counts) > MOST_TREES:
        fits = max(depth for depth in range(max_depth) if sum(counts[: depth + 1]) <= MOST_TREES)
        problem = f"there are {sum(counts):,} algorithms of {n} variables, more than {MOST_TREES:,}."
        raise ArgumentError("max_depth", max_depth, problem, f"Use {{max_depth}}={fits}.")


@cache
def algorithms(table: int, n: int, max_depth: int) -> tuple[Algorithm, ...]:
    """Returns every algorithm that computes a function, the shallow ones first. The result is kept.

    Args:
        table: the function's truth table.
        n: its variables.

    Raises:
        ValueError: there are too many trees of this depth.

    Example:
        >>> from mi_runner.explanations import algorithms
        >>> [algorithm.formula for algorithm in algorithms(0b1000, 2, max_depth=1)]
        ['A ∧ B']
    """
    check_size(n, max_depth)
    complemented = bool(table & 1)
    target = (2**2**n - 1) ^ table if complemented else table
    trees, tables, n_shallower = _trees(n, max(0, max_depth - 1))
    computing = [trees[place] for place in np.flatnonzero(tables == target).tolist()]
    if max_depth:  # of the deepest trees only those of the function are made
        left, right = _pairs(len(trees), n_shallower)
        for gate in range(4):
            for place in np.flatnonzero(apply_gate(gate, tables[left], tables[right]) == target).tolist():
                computing.append((gate, trees[left[place]], trees[right[place]]))
    return tuple(Algorithm(tree, n, complemented) for tree in computing)


def _trees(n: int, max_depth: int) -> tuple[list[Tree], np.ndarray, int]:
    """Returns all trees up to a depth, their truth tables, and how many of them are of a smaller depth."""
    trees: list[Tree] = list(range(n))
    tables = np.array([variable_table(variable, n) for variable in range(n)], dtype=np.int64)
    n_shallower = 0
    for _ in range(max_depth):
        left, right = _pairs(len(trees), n_shallower)
        n_shallower = len(trees)
        deeper: list[Tree] = [
            (gate, trees[i], trees[j]) for gate in range(4) for i, j in zip(left.tolist(), right.tolist(), strict=True)
        ]
        tables = np.concatenate([tables, *(apply_gate(gate, tables[left], tables[right]) for gate in range(4))])
        trees += deeper
    return trees, tables, n_shallower


def _pairs(n_trees: int, n_shallower: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places of all pairs of trees of which at least one is of the last depth, the smaller place first."""
    left, right = np.triu_indices(n_trees, 1)
    deep = right >= n_shallower
    return left[deep], right[deep]

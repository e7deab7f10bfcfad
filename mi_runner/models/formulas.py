"""Which gates of two inputs compute a formula?

A formula has the operators ~ & ^ |, which bind in this order, and parentheses; its variables are A, B, C, …, the inputs
in their order. Each inner node of its tree becomes a gate that is true on one of the four values of its two inputs. A
node that is true on three of them is the complement of such a gate, and what reads it takes 1 − v. XOR is rewritten as
(a ∧ ¬b) ∨ (¬a ∧ b). Each occurrence of a subtree is a node of its own.

Letters: n variables.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mi_runner.datasets import algorithms
from mi_runner.datasets.algorithms import VARIABLES, Algorithm
from mi_runner.errors import ArgumentError

GATES = {(1, 1): "and", (1, 0): "nimp", (0, 1): "converse_nimp", (0, 0): "nor"}
"""The values of the two inputs on which a gate is 1 → its name."""

MOST_NODES = 200
"""Gates of a formula, at most; XOR doubles those of its two sides."""


@dataclass(frozen=True)
class Gate:
    """A gate of two inputs.

    Attributes:
        true_on: the values of the two inputs on which it is 1, a key of `GATES`.
        left, right: what it reads.
    """

    true_on: tuple[int, int]
    left: Tree
    right: Tree

    @property
    def name(self) -> str:
        """One of the values of `GATES`."""
        return GATES[self.true_on]


Tree = int | Gate
"""A variable's number, or a gate."""


@dataclass(frozen=True)
class Signed:
    """A tree, or its complement."""

    tree: Tree
    complemented: bool = False

    def complement(self) -> Signed:
        """Returns the other one."""
        return Signed(self.tree, not self.complemented)


def both(left: Signed, right: Signed) -> Signed:
    """Returns the conjunction of two trees."""
    return Signed(Gate((int(not left.complemented), int(not right.complemented)), left.tree, right.tree))


def either(left: Signed, right: Signed) -> Signed:
    """Returns the disjunction of two trees."""
    return both(left.complement(), right.complement()).complement()


@dataclass(frozen=True)
class Formula:
    """A formula of n variables as a tree of gates.

    Attributes:
        text: as it was written.
        root: the tree that answers, or its complement.
        n: variables of the function, those that it doesn't read included.
    """

    text: str
    root: Signed
    n: int

    @cached_property
    def nodes(self) -> tuple[Gate, ...]:
        """The gates, each occurrence by itself: the root first, then those on the left."""
        return tuple(inner_nodes(self.root.tree))

    @cached_property
    def values(self) -> np.ndarray:
        """The answers on all inputs, `(2ⁿ,)` int64, in the order of a truth table."""
        return self._answers(values_of(self.root.tree, self.n))

    @property
    def table(self) -> str:
        """The truth table, as `dataset=logic` takes it."""
        return "".join(map(str, self.values.tolist()))

    @cached_property
    def is_inert(self) -> tuple[bool, ...]:
        """Whether each of `nodes` is constant, or can't change the answer."""
        inert = []
        for place, node in enumerate(self.nodes):
            values = values_of(node, self.n)
            forced = [self._answers(self._with_node(place, value)) for value in (0, 1)]
            inert.append(bool((values == values[0]).all() or (forced[0] == forced[1]).all()))
        return tuple(inert)

    def _answers(self, values: np.ndarray) -> np.ndarray:
        return 1 - values if self.root.complemented else values

    def _with_node(self, place: int, value: int) -> np.ndarray:
        """Returns the root's values where the node at this place of `nodes` always has this value."""
        seen = -1

        def evaluated(tree: Tree) -> np.ndarray:
            nonlocal seen
            if isinstance(tree, int):
                return values_of(tree, self.n)
            here = seen = seen + 1
            values = gate_values(tree.true_on, evaluated(tree.left), evaluated(tree.right))
            return np.full_like(values, value) if here == place else values

        return evaluated(self.root.tree)


def inner_nodes(tree: Tree) -> Iterator[Gate]:
    """Yields the gates of a tree, each occurrence by itself: the root first, then those on the left."""
    if isinstance(tree, Gate):
        yield tree
        yield from inner_nodes(tree.left)
        yield from inner_nodes(tree.right)


def height(tree: Tree) -> int:
    """Returns 0 for a variable, otherwise one more than the height of the higher subtree."""
    return 0 if isinstance(tree, int) else 1 + max(height(tree.left), height(tree.right))


def gate_values(true_on: tuple[int, int], left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the values of a gate, of those of its inputs."""
    return ((left == true_on[0]) & (right == true_on[1])).astype(np.int64)


def values_of(tree: Tree, n: int) -> np.ndarray:
    """Returns the values of a tree on all inputs, `(2ⁿ,)` int64: 0 or 1, in the order of a truth table."""
    if isinstance(tree, int):
        return np.arange(2**n) >> (n - 1 - tree) & 1
    return gate_values(tree.true_on, values_of(tree.left, n), values_of(tree.right, n))


def text_of(tree: Tree) -> str:
    """Returns a tree as a formula, without brackets around the whole."""
    if isinstance(tree, int):
        return VARIABLES[tree]
    sides = [text_of(side) if isinstance(side, int) else f"({text_of(side)})" for side in (tree.left, tree.right)]
    return " & ".join(side if true else f"~{side}" for side, true in zip(sides, tree.true_on, strict=True))


def parsed(text: str, n: int) -> Formula:
    """Returns the formula of a text.

    Args:
        text: such as "(A & ~B) | (~A & B)".
        n: variables of the function.

    Raises:
        ArgumentError: it can't be read, it has another variable, a node reads one variable twice, it is constant, or
            it has too many nodes.
    """
    root = _signed(text, _expression(text), n)
    _check_size(text, root.tree)
    for node in inner_nodes(root.tree):
        if isinstance(node.left, int) and node.left == node.right:
            name = VARIABLES[node.left]
            problem = f"a node reads {name} twice."
            raise ArgumentError("formula", text, problem, f"Write {name} or ~{name} once in its place.")
    formula = Formula(text, root, n)
    if len(set(formula.values.tolist())) == 1:
        problem = f"it is {formula.values[0]} on all inputs."
        raise ArgumentError("formula", text, problem, "Write one that has both values, such as {formula}='A & ~B'.")
    return formula


def of_algorithm(algorithm: Algorithm) -> Formula:
    """Returns the formula of an algorithm."""

    def signed(tree: algorithms.Tree) -> Signed:
        if isinstance(tree, int):
            return Signed(tree)
        gate, left, right = tree[0], signed(tree[1]), signed(tree[2])
        if gate == algorithms.OR:
            return either(left, right)
        left = left.complement() if gate == algorithms.CONVERSE_NIMP else left
        return both(left, right.complement() if gate == algorithms.NIMP else right)

    root = signed(algorithm.tree)
    root = root.complement() if algorithm.complemented else root
    text = text_of(root.tree)
    if root.complemented:
        text = f"~{text}" if isinstance(root.tree, int) else f"~({text})"
    return Formula(text, root, algorithm.n)


def example_of(table: str) -> str:
    """Returns a formula that computes a function: the disjunction of the inputs on which it is 1.

    Args:
        table: its truth table, which is not constant.
    """
    n = len(table).bit_length() - 1
    terms = []
    for row, digit in enumerate(table):
        if digit == "1":
            signs = ["" if row >> (n - 1 - place) & 1 else "~" for place in range(n)]
            terms.append(" & ".join(sign + VARIABLES[place] for place, sign in enumerate(signs)))
    return terms[0] if len(terms) == 1 else " | ".join(f"({term})" for term in terms)


def _expression(text: str) -> ast.expr:
    """Returns a text as Python reads it, whose operators bind as those of a formula do."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise ArgumentError("formula", text, f"it can't be read{where}.", _RULE) from error


_RULE = "Write variables, & | ~ ^ and parentheses, such as {formula}='(A & ~B) | (~A & B)'."


def _signed(text: str, node: ast.expr, n: int) -> Signed:
    """Returns the tree of a parsed text."""
    match node:
        case ast.Name(id=name):
            if name not in tuple(VARIABLES[:n]):
                problem = f"there is no variable {name}: the inputs are {', '.join(VARIABLES[:n])}."
                raise ArgumentError("formula", text, problem, "Use these.")
            return Signed(VARIABLES.index(name))
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return _signed(text, operand, n).complement()
        case ast.BinOp(left=first, op=operator, right=second):
            left, right = _signed(text, first, n), _signed(text, second, n)
            match operator:
                case ast.BitAnd():
                    return both(left, right)
                case ast.BitOr():
                    return either(left, right)
                case ast.BitXor():
                    return either(both(left, right.complement()), both(left.complement(), right))
    written = ast.unparse(node)
    raise ArgumentError("formula", text, f"'{written}' is no part of a formula.", _RULE)


def _check_size(text: str, tree: Tree) -> None:
    """Checks the number of nodes; equal subtrees are one object, so that counting takes no time."""
    counts: dict[int, int] = {}

    def count(tree: Tree) -> int:
        if isinstance(tree, int):
            return 0
        if id(tree) not in counts:
            counts[id(tree)] = 1 + count(tree.left) + count(tree.right)
        return counts[id(tree)]

    if (n_nodes := count(tree)) > MOST_NODES:
        problem = f"it has {n_nodes:,} nodes, more than {MOST_NODES:,}: XOR doubles those of its two sides."
        raise ArgumentError("formula", text, problem, "Write a shorter one.")

"""Which small faults a source can get: cosmic-ray's operators, and some of our own.

Left out is what changes no figure: annotations, which nobody evaluates; decorators, which are for speed (`cache`,
`compiled`, `no_grad`) or without which nothing can be imported; and assertions, `strict=True` of zip among them. An
operator is replaced by its like (`<` by `<=` and `>=`, `+` by `−`), because `<<` between floats only raises.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import parso
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from parso.python.tree import Keyword, Name

ROOMS = ("graph", "methods", "tables", "training")
"""The rooms of mi_runner whose sources get faults."""

LIKE = {
    "ReplaceBinaryOperator": {
        *("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "Div_FloorDiv", "FloorDiv_Mul", "Mod_FloorDiv", "Pow_Mul"),
        *("RShift_LShift", "LShift_RShift", "BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitOr"),
    },
    "ReplaceComparisonOperator": {
        *("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
        *("Is_IsNot", "IsNot_Is"),
    },
}

NAMES = {
    **{"min": "max", "max": "min", "any": "all", "all": "any", "argmin": "argmax", "argmax": "argmin"},
    **{"amin": "amax", "amax": "amin", "minimum": "maximum", "maximum": "minimum", "floor": "ceil", "ceil": "floor"},
    **{"sum": "mean", "mean": "sum", "zeros": "ones", "ones": "zeros", "zeros_like": "ones_like", "round": "floor"},
    **{"ones_like": "zeros_like", "sorted": "list", "reversed": "list", "train": "eval", "abs": "float"},
    **{"prod": "sum", "std": "var", "var": "std", "mul_": "div_", "add_": "sub_", "sub_": "add_", "ndim": "size"},
}
"""A function that is called, and one that can be called in its place."""


METHODS = ("double", "abs", "square", "sqrt", "clone", "clamp", "unique", "softmax", "round")
"""Methods whose call can be left out."""


@dataclass(frozen=True)
class Fault:
    """One small fault.

    Attributes:
        file: of the source, below the checkout.
        operator: cosmic-ray's name of the change, or that of one of ours.
        occurrence: the how manieth place of the operator in the file, from 0.
        line, column: where it is, the first line is 1.
    """

    file: str
    operator: str
    occurrence: int
    line: int
    column: int

    @property
    def room(self) -> str:
        """graph, methods, tables or training."""
        return Path(self.file).parts[1].removesuffix(".py")

    def source(self, checkout: Path) -> str:
        """The file with the fault."""
        changed = mutate_code((checkout / self.file).read_text(), operators()[self.operator], self.occurrence)
        assert changed is not None
        return changed


def sources(checkout: Path) -> list[str]:
    """The files of the rooms, below the checkout."""
    found = [path for room in ROOMS for path in (checkout / "mi_runner" / room).rglob("*.py")]
    found += [path for room in ROOMS if (path := checkout / "mi_runner" / f"{room}.py").exists()]
    return sorted(str(path.relative_to(checkout)) for path in found)


def faults_of(checkout: Path, file: str) -> Iterator[Fault]:
    """Every fault that the file can get."""
    source = (checkout / file).read_text()
    nodes = list(ast_nodes(get_ast(source)))
    unread = list(_spans_without_figures(ast.parse(source)))
    for name, operator in operators().items():
        positions = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, start in enumerate(positions):
            if not any(first <= start < last for first, last in unread):
                yield Fault(file, name, occurrence, *start)


def drawn(checkout: Path, number: int, seed: int, files: Sequence[str]) -> list[Fault]:
    """Faults at places that are drawn at random without replacement; of those at one place, one is drawn."""
    places: dict[tuple[str, int, int], list[Fault]] = {}
    for file in files:
        for fault in faults_of(checkout, file):
            places.setdefault((fault.file, fault.line, fault.column), []).append(fault)
    draw = random.Random(seed)
    chosen = draw.sample(sorted(places), min(number, len(places)))
    faults = [draw.choice(places[place]) for place in chosen]
    return [fault for fault in faults if not _is_marker(checkout, fault)]


def _is_marker(checkout: Path, fault: Fault) -> bool:
    """Whether it is a star that cosmic-ray takes for a product: before named arguments, or in `{**options}`."""
    try:
        ast.parse(fault.source(checkout))
    except SyntaxError:
        return True
    return (checkout / fault.file).read_text().splitlines()[fault.line - 1][fault.column :].startswith("*,")


@cache
def operators() -> dict[str, Any]:
    """Name → operator."""
    found: dict[str, Any] = {}
    for name in plugins.operator_names():
        short = name.removeprefix("core/")
        kind, _, change = short.partition("_")
        operator = plugins.get_operator(name)
        if not operator.arguments() and change in LIKE.get(kind, {change}) and short != "RemoveDecorator":
            found[short] = operator()
    ours = (ReplaceName(), DropStatement(), DropKeyword(), DropMethod())
    return {**found, **{type(operator).__name__: operator for operator in ours}}


class ReplaceName:
    """A function that is called becomes another."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if isinstance(node, Name) and node.value in NAMES and not node.is_definition():
            following = node.get_next_leaf()
            if following is not None and following.value == "(" and following.parent.type == "trailer":
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return Name(NAMES[node.value], node.start_pos, prefix=node.prefix)


class DropStatement:
    """A call whose result nobody uses, or a change in place (`+=`), becomes `pass`."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type == "simple_stmt":
            first = node.children[0]
            is_call = first.type in ("atom_expr", "power") and first.children[-1].type == "trailer"
            changes = first.type == "expr_stmt" and first.children[1].type == "operator" and first.children[1] != "="
            changes = changes and first.children[1].value.endswith("=") and first.children[1].value != "="
            if is_call or changes:
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        first = node.children[0]
        node.children[0] = Keyword("pass", first.start_pos, prefix=first.get_first_leaf().prefix)
        return node


class DropKeyword:
    """A call loses one of its keyword arguments."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        for argument in self._keywords(node):
            yield argument.start_pos, argument.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        argument = self._keywords(node)[index]
        place = node.children.index(argument)
        if node.type == "arglist":
            follows = place + 1 < len(node.children)
            del node.children[place if follows else place - 1 : place + 2 if follows else place + 1]
        else:
            del node.children[place]
        return node

    def _keywords(self, node: Any) -> list[Any]:
        is_call = (node.type == "arglist" and node.parent.type == "trailer") or node.type == "trailer"
        if not is_call:
            return []
        return [
            child
            for child in node.children
            if child.type == "argument" and isinstance(child, parso.tree.BaseNode) and child.children[1] == "="
        ]


class DropMethod:
    """A value stays as it is: `values.double()` becomes `values`."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        for place in self._places(node):
            yield node.children[place].start_pos, node.children[place + 1].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        place = self._places(node)[index]
        del node.children[place : place + 2]
        return node

    def _places(self, node: Any) -> list[int]:
        if node.type not in ("atom_expr", "power"):
            return []
        trailers = list(enumerate(node.children[:-1]))
        return [
            place
            for place, child in trailers
            if child.type == "trailer"
            and child.children[0] == "."
            and child.children[1].value in METHODS
            and node.children[place + 1].type == "trailer"
            and node.children[place + 1].children[0] == "("
        ]


def _spans_without_figures(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """(first, last) positions of annotations and decorators."""
    for node in ast.walk(tree):
        unread: list[ast.expr | None] = []
        if isinstance(node, ast.Assert | ast.keyword) and getattr(node, "arg", "strict") == "strict":
            yield (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
        elif isinstance(node, ast.FunctionDef):
            unread += [node.returns, *node.decorator_list]
        elif isinstance(node, ast.ClassDef):
            unread += node.decorator_list
        elif isinstance(node, ast.arg | ast.AnnAssign):
            unread.append(node.annotation)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            alias = isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.BitOr)
            unread += [node.value] if alias and isinstance(node.targets[0], ast.Name) and node in tree.body else []
        for part in unread:
            if part is not None:
                yield (part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)

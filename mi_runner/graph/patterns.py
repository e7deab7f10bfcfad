"""Which sites, edges and paths does a graph have, and which of them does a pattern name?"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mi_runner.errors import ArgumentError, unknown

if TYPE_CHECKING:
    from mi_runner.graph.model_graph import ModelGraph, Site

MOST_PATHS = 10_000
"""Paths that are listed; of more, the number is said."""

SIGNS = "*?:"
"""What makes a text a pattern; so do slashes at both ends."""


def is_pattern(text: str) -> bool:
    """Whether a text is a pattern, not a name."""
    return any(sign in text for sign in SIGNS) or _is_expression(text)


def find(graph: ModelGraph, pattern: str) -> tuple[str, ...]:
    """The targets that a pattern names; see `ModelGraph.find`."""
    if not is_pattern(pattern) or graph.has(pattern):
        graph.resolve(pattern)
        return (pattern,)
    if "/" in pattern and not _is_expression(pattern):
        found = _chains(graph, pattern)
        names: Iterable[str] = graph.edges
    else:
        matches = _matcher(pattern)
        shown = tuple(name for name, site in graph.sites.items() if matches(site))
        found = shown or tuple(name for name, site in graph.module_sites.items() if matches(site))
        names = [*graph.sites, *graph.module_sites]
    kind = pattern.rpartition(":")[0].lower()
    kinds = {text for site in (*graph.sites.values(), *graph.module_sites.values()) for text in _kinds(site)}
    if not found and kind and not _is_expression(pattern) and "/" not in pattern and kind not in kinds:
        raise ArgumentError("pattern", None, f"nothing matches '{pattern}': {unknown('kind', kind, sorted(kinds))}")
    if not found:
        wanted = re.sub(r"[*?^$/\\]|^\w+:", "", pattern)
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.3) or list(names)[:3]
        raise ArgumentError("pattern", None, f"nothing matches '{pattern}'.", f"The nearest names: {', '.join(near)}.")
    return found


def paths(graph: ModelGraph, source: str, target: str) -> tuple[str, ...]:
    """All paths between two sites; see `ModelGraph.paths`."""
    follows: dict[str, list[str]] = {}
    for edge in graph.edges:
        first, _, second = edge.rpartition("/")
        follows.setdefault(first, []).append(second)
    # How many paths lead from each step to the target; the steps behind one are later in the program.
    count = dict.fromkeys(graph.program.steps, 0)
    count[target] = 1
    for name in reversed(graph.program.steps):
        if name != target:
            count[name] = sum(count[after] for after in follows.get(name, ()))
    n = count[source] if source != target else 0
    if not n:
        raise ArgumentError(("source", "target"), None, f"no path leads from {source} to {target}.")
    if n > MOST_PATHS:
        problem = f"{n:,} paths lead from {source} to {target}, more than {MOST_PATHS:,}:"
        raise ArgumentError(("source", "target"), None, problem, "name nearer sites.")
    found: list[tuple[str, ...]] = [(source,)]
    while any(path[-1] != target for path in found):
        found = [
            (*path, after) if after else path
            for path in found
            for after in ([name for name in follows[path[-1]] if count[name]] if path[-1] != target else [""])
        ]
    return tuple("/".join(path) for path in found)


def level(graph: ModelGraph, depth: int) -> tuple[str, ...]:
    """One site for each submodule at a depth of the module tree, and for each that ends above it: what it returns.

    The names are the submodules' paths: at depth 1 `conv1` and `layer1`, at 2 `conv1` and `layer1.0`. The output is
    left out.
    """
    returned = {name: name for name, site in graph.sites.items() if site.kind == "module"} | dict(graph.aliases)
    found: dict[str, str] = {}  # site → path
    for path, site in sorted(returned.items(), key=lambda item: graph.program.position[item[1]]):
        ends = path in graph.sites
        if path.count(".") + 1 == depth or (ends and path.count(".") + 1 < depth):
            found.setdefault(site, path)  # a submodule may have two names
    return tuple(path for site, path in found.items() if site != graph.output)


def tree(graph: ModelGraph) -> str:
    """A graph as text; see `ModelGraph.__str__`."""
    rows: list[tuple[str, str, str, str]] = []
    open_path: list[str] = []
    for name, site in graph.sites.items():
        owner = [part for part in graph.program.steps[name].owner.split(".") if part]
        shared = 0
        while shared < min(len(owner), len(open_path)) and owner[shared] == open_path[shared]:
            shared += 1
        for depth in range(shared, len(owner)):
            rows.append((f"{'  ' * depth}{'.'.join(owner[: depth + 1])}", "", "", ""))
        open_path = owner
        shape = "×".join(map(str, site.shape)) or "1"
        reads = ", ".join(graph.sources(name))
        rows.append((f"{'  ' * len(owner)}{name}", site.module or site.kind, shape, reads))
    header = ("site", "kind", "shape", "reads")
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in [header, *rows]
    ]
    further = len(graph.module_sites)
    more = [f"Sites, too: {further} parameters of modules and products before their bias, as {_example(graph)}."]
    return "\n".join([*lines, *(more if further else [])])


def _example(graph: ModelGraph) -> str:
    return " and ".join(list(graph.module_sites)[:2])


def _is_expression(text: str) -> bool:
    return len(text) > 2 and text[0] == text[-1] == "/"


def _matcher(pattern: str) -> Callable[[Site], bool]:
    """Whether a site is one that a pattern without edges names."""
    if _is_expression(pattern):
        try:
            expression = re.compile(pattern[1:-1])
        except re.error as error:
            raise ArgumentError("pattern", None, f"'{pattern}' is no regular expression: {error}.") from error
        return lambda site: expression.search(site.name) is not None
    kind, _, glob = pattern.rpartition(":")
    kind = kind.lower()

    def matches(site: Site) -> bool:
        return fnmatch.fnmatchcase(site.name, glob) and kind in ("", *_kinds(site))

    return matches


def _kinds(site: Site) -> tuple[str, ...]:
    return (site.kind, site.module.lower()) if site.module else (site.kind,)


def _chains(graph: ModelGraph, pattern: str) -> tuple[str, ...]:
    """The edges or paths whose sites match the parts of a pattern, one after the other."""
    matchers = [_matcher(part) for part in pattern.split("/")]
    chains: list[tuple[str, ...]] = [(name,) for name, site in graph.sites.items() if matchers[0](site)]
    for matches in matchers[1:]:
        chains = [
            (*chain, after)
            for chain in chains
            for edge in graph.uses(chain[-1])
            if (after := edge.rpartition("/")[2]) in graph.sites and matches(graph.sites[after])
        ]
        if len(chains) > MOST_PATHS:
            problem = f"'{pattern}' matches more than {MOST_PATHS:,} paths:"
            raise ArgumentError("pattern", None, problem, "name nearer sites.")
    return tuple("/".join(chain) for chain in chains)

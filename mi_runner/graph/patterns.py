"""Which sites, edges and paths does a graph have, and which of them does a pattern name?"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from mi_runner.errors import ArgumentError, unknown
from mi_runner.graph.evaluator import Step
from mi_runner.graph.sites import Site

MOST_PATHS = 10_000
"""At most so many paths are listed; of more, only the number is said."""

SIGNS = "*?:"
"""What makes a text a pattern; so do slashes at both ends."""


def is_pattern(text: str) -> bool:
    """Returns whether a text is a pattern, not a name."""
    return any(sign in text for sign in SIGNS) or _is_expression(text)


def find(
    pattern: str, sites: Mapping[str, Site], module_sites: Mapping[str, Site], edges: Sequence[str]
) -> tuple[str, ...]:
    """Returns the targets that a pattern names; see `ModelGraph.find`."""
    if "/" in pattern and not _is_expression(pattern):
        found = _chains(pattern, sites, edges)
        names: Iterable[str] = edges
    else:
        matches = _matcher(pattern)
        shown = tuple(name for name, site in sites.items() if matches(site))
        found = shown or tuple(name for name, site in module_sites.items() if matches(site))
        names = [*sites, *module_sites]
    kind = pattern.rpartition(":")[0].lower()
    kinds = {text for site in (*sites.values(), *module_sites.values()) for text in _kinds(site)}
    if not found and kind and not _is_expression(pattern) and "/" not in pattern and kind not in kinds:
        raise ArgumentError("pattern", None, f"nothing matches '{pattern}': {unknown('kind', kind, sorted(kinds))}")
    if not found:
        wanted = re.sub(r"[*?^$/\\]|^\w+:", "", pattern)
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.3) or list(names)[:3]
        raise ArgumentError("pattern", None, f"nothing matches '{pattern}'.", f"The nearest names: {', '.join(near)}.")
    return found


def paths(source: str, target: str, *, edges: Sequence[str], order: Sequence[str]) -> tuple[str, ...]:
    """Returns all paths between two sites; see `ModelGraph.paths`.

    Args:
        order: the names of all steps, in the order of computation.
    """
    follows = _follows(edges)
    # How many paths lead from each step to the target; the steps behind one are later in the program.
    count = dict.fromkeys(order, 0)
    count[target] = 1
    for name in reversed(order):
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


def level(
    depth: int, sites: Mapping[str, Site], aliases: Mapping[str, str], *, output: str, order: Sequence[str]
) -> tuple[str, ...]:
    """Returns the paths of the submodules at a depth of the module tree; see `ModelGraph.level`."""
    returned = {name: name for name, site in sites.items() if site.kind == "module"} | dict(aliases)
    position = {name: number for number, name in enumerate(order)}
    found: dict[str, str] = {}  # site → path
    for path, site in sorted(returned.items(), key=lambda item: position[item[1]]):
        ends = path in sites
        if path.count(".") + 1 == depth or (ends and path.count(".") + 1 < depth):
            found.setdefault(site, path)  # a submodule may have two names
    return tuple(path for site, path in found.items() if site != output)


def tree(sites: Mapping[str, Site], module_sites: Mapping[str, Site], steps: Mapping[str, Step]) -> str:
    """Returns a graph as text; see `ModelGraph.__str__`."""
    rows: list[tuple[str, str, str, str]] = []
    open_path: list[str] = []
    for name, site in sites.items():
        owner = [part for part in steps[name].owner.split(".") if part]
        shared = 0
        while shared < min(len(owner), len(open_path)) and owner[shared] == open_path[shared]:
            shared += 1
        for depth in range(shared, len(owner)):
            rows.append((f"{'  ' * depth}{'.'.join(owner[: depth + 1])}", "", "", ""))
        open_path = owner
        shape = "×".join(map(str, site.shape)) or "1"
        reads = ", ".join(source for source in steps[name].inputs if source in sites)
        rows.append((f"{'  ' * len(owner)}{name}", site.module or site.kind, shape, reads))
    header = ("site", "kind", "shape", "reads")
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in [header, *rows]
    ]
    example, further = " and ".join(list(module_sites)[:2]), len(module_sites)
    more = [f"Sites, too: {further} parameters of modules and products before their bias, as {example}."]
    return "\n".join([*lines, *(more if further else [])])


def _follows(edges: Iterable[str]) -> dict[str, list[str]]:
    """Returns step → the steps that read it."""
    follows: dict[str, list[str]] = {}
    for edge in edges:
        source, _, target = edge.rpartition("/")
        follows.setdefault(source, []).append(target)
    return follows


def _is_expression(text: str) -> bool:
    return len(text) > 2 and text[0] == text[-1] == "/"


def _matcher(pattern: str) -> Callable[[Site], bool]:
    """Returns a function that says whether a pattern without edges names a site."""
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


def _chains(pattern: str, sites: Mapping[str, Site], edges: Sequence[str]) -> tuple[str, ...]:
    """Returns the edges or paths whose sites match the parts of a pattern, one after the other."""
    matchers = [_matcher(part) for part in pattern.split("/")]
    follows = _follows(edges)
    chains: list[tuple[str, ...]] = [(name,) for name, site in sites.items() if matchers[0](site)]
    for matches in matchers[1:]:
        chains = [
            (*chain, after)
            for chain in chains
            for after in follows.get(chain[-1], ())
            if after in sites and matches(sites[after])
        ]
        if len(chains) > MOST_PATHS:
            problem = f"'{pattern}' matches more than {MOST_PATHS:,} paths:"
            raise ArgumentError("pattern", None, problem, "name nearer sites.")
    return tuple("/".join(chain) for chain in chains)

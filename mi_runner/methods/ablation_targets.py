"""Which sites, edges and paths of a network can be ablated, and which are by default?"""

from __future__ import annotations

from collections.abc import Sequence

from mi_runner.errors import ArgumentError
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.graph.sites import Site
from mi_runner.methods.site_parts import NO_PARTS, Parts

MOST_READABLE = 40
"""Targets that are ablated without being asked for; of a network that has more, one for each submodule."""


def ablation_targets(graph: ModelGraph, asked: Sequence[str] | None = None, parts: Parts = NO_PARTS) -> list[str]:
    """Returns the targets that were asked for, or every inner site and every edge from a site with several uses.

    Patterns may be asked for, see `ModelGraph.find`; they take the sites that can be ablated. These are the sites with
    floating-point values for each example, because indices have no mean, and parameters, if they are asked for. A
    network whose only sites are its inputs and its output has no target by default. What is in `parts` may be asked
    for, too.

    Raises:
        ArgumentError: the graph has no such target, it can't be ablated, or one is named twice.
    """
    if asked is not None:
        if len(set(asked)) < len(asked) or not asked:
            raise ArgumentError("targets", list(asked), "name at least one target, each once.")
        found: dict[str, None] = {}
        for target in asked:
            if target in parts:
                found[target] = None
                continue
            try:
                obstacles = {name: obstacle_to_ablation(graph.target_site(name)) for name in graph.find(target)}
            except ArgumentError as error:
                raise ArgumentError("targets", None, f"{{targets}}: {error}") from error
            named = [name for name, obstacle in obstacles.items() if not obstacle]
            if not named:
                name, obstacle = next(iter(obstacles.items()))
                problem = f"{{targets}}: {target} can't be ablated, because {graph.target_site(name).name} {obstacle}."
                names = ", ".join(graph.usable_sites) or "(none)"
                raise ArgumentError("targets", None, problem, f"Sites that can: {names}.")
            found |= dict.fromkeys(named)
        return list(found)
    outer = {*graph.inputs, graph.output}
    able = graph.usable_sites
    inner = [name for name in able if name not in outer]
    forked = [edge for name in able if len(graph.uses(name)) > 1 for edge in graph.uses(name)]
    return [*inner, *forked]


def readable_targets(graph: ModelGraph, depth: int | None = None) -> list[str]:
    """Returns one target for each submodule at a depth of the module tree, as `layer1.0` at depth 2.

    Args:
        depth: None for the one with most targets, but at most `MOST_READABLE`; where the inner sites and forked edges
            are no more than these, or there are no submodules, these.
    """
    able = set(graph.usable_sites)

    def at(depth: int) -> list[str]:
        return [path for path in graph.level(depth) if graph.target_site(path).name in able]

    if depth is not None:
        return at(depth)
    everything = ablation_targets(graph)
    if len(everything) <= MOST_READABLE:
        return everything
    deepest = max(path.count(".") for path in (*graph.sites, *graph.aliases)) + 1
    levels = [found for found in map(at, range(1, deepest + 1)) if found]
    few = [found for found in levels if len(found) <= MOST_READABLE]
    return max(few, key=len) if few else levels[0] if levels else everything


def obstacle_to_ablation(site: Site) -> str:
    """Returns why a site can't be ablated; empty if it can."""
    return "" if site.kind == "parameter" and site.dtype.is_floating_point else site.obstacle

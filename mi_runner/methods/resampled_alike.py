"""At which targets does resampling give the same values? So that they are computed once.

A Linear layer and an elementwise activation compute an example's value from that example alone. Where one reads only
the value that is resampled, its value is that of the same other example: to resample what it reads, and to resample
what it gives, are one thing. So of `x/first`, `first` and `relu`, in a network in which a ReLU alone reads the layer
`first`, only the last is resampled.
"""

from __future__ import annotations

from mi_runner.graph.chain import activation_at
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.graph.sums import is_linear


def last_alike(graph: ModelGraph, target: str) -> str:
    """Returns the last target at which resampling gives the same values as at this one: itself where there is no other.

    Behind it there is least to compute.

    Args:
        target: a site, an edge or a path.
    """
    path = graph.resolve(target)
    while (behind := _behind(graph, path)) is not None:
        path = behind
    return "/".join(path)


def _behind(graph: ModelGraph, path: tuple[str, ...]) -> tuple[str, ...] | None:
    """Returns the same chain of sites from its second one on, if that computes each example alone, from it alone."""
    if len(path) == 1:
        uses = graph.uses(path[0])
        if len(uses) != 1 or path[0] == graph.output:
            return None
        path = graph.resolve(uses[0])
    name = path[1]
    if not graph.has(name) or graph.sources(name) != path[:1]:
        return None
    alone = is_linear(graph.submodule(name)) or activation_at(graph, name) is not None
    return path[1:] if alone else None

"""Numbers of a site that are ablated together, while its others keep their values: a column of a table in the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from mi_runner.datasets.features import Feature
from mi_runner.errors import ArgumentError, unknown
from mi_runner.graph.interventions import Intervention
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.graph.sites import Site

INPUTS = "inputs"
"""As a target: every feature of the input, each by itself. `inputs.NAME` is one of them, `inputs.PATTERN` several."""

FEATURE = "feature"
"""The kind of such a target, beside site, edge and path."""


@dataclass(frozen=True)
class SitePart:
    """Some numbers of a site.

    Attributes:
        site: whose numbers they are.
        units: their places in the site's flattened value, from 0.
        name: of the feature.

    Example:
        >>> from mi_runner.ablation import SitePart
        >>> SitePart("x", (1, 2), "colour")
        SitePart(site='x', units=(1, 2), name='colour')
    """

    site: str
    units: tuple[int, ...]
    name: str = ""


Parts = Mapping[str, SitePart]
"""Target → the numbers that it stands for; targets that are not in it are the graph's."""

NO_PARTS: Parts = {}


def parts_of_inputs(graph: ModelGraph, asked: str, features: Sequence[Feature], names: Sequence[str]) -> Parts:
    """Returns the features of the input that are asked for, `inputs.age` each; none if something else is asked for.

    Args:
        asked: `inputs`, `inputs.NAME` or `inputs.PATTERN`; `*` is any text, `?` any character.
        features: of the input.
        names: of the input's single numbers, where a feature has several; they are found after the features.

    Raises:
        ArgumentError: no feature has this name, and the text lists them; the input can't be ablated; or the network has
            a site of the same name.
    """
    if asked != INPUTS and (not asked.startswith(f"{INPUTS}.") or graph.has(asked)):
        return {}
    of_features = {feature.name: feature.inputs for feature in features}
    every = {name: (place,) for place, name in enumerate(names)} | of_features
    wanted = asked.removeprefix(f"{INPUTS}.")
    if asked == INPUTS:
        found = list(of_features)
    elif wanted in every:
        found = [wanted]
    else:
        found = [name for name in of_features if fnmatchcase(name, wanted)]
        found = found or [name for name in names if fnmatchcase(name, wanted)]
    if not found:
        raise ArgumentError("targets", None, f"{{targets}}: {unknown('feature', wanted, of_features)}")
    site = graph.inputs[0]
    _check_input(graph, site)
    parts = {f"{INPUTS}.{name}": SitePart(site, every[name], name) for name in found}
    if taken := [target for target in parts if graph.has(target)]:
        problem = f"{{targets}}: the network has a site named {taken[0]}, as the feature would be:"
        raise ArgumentError("targets", None, problem, "give one of them another name.")
    return parts


def _check_input(graph: ModelGraph, site: str) -> None:
    """Checks that the input has numbers that can be replaced."""
    if obstacle := graph.site(site).obstacle:
        problem = f"{{targets}}: the features of {site} can't be ablated, because it {obstacle}."
        raise ArgumentError("targets", None, problem, f"Sites that can: {', '.join(graph.usable_sites) or '(none)'}.")


def site_at(graph: ModelGraph, target: str, parts: Parts) -> Site:
    """Returns the site whose value, or a part of it, is replaced at a target."""
    return graph.site(parts[target].site) if target in parts else graph.target_site(target)


def intervention_at(graph: ModelGraph, target: str, value: Tensor, parts: Parts) -> Intervention:
    """Returns the intervention that puts a value `(B, *site)` at a target, or the numbers of its part alone."""
    if target not in parts:
        return Intervention(target, value)
    part = parts[target]
    site = graph.site(part.site)
    units = torch.zeros(site.n_units, dtype=torch.bool, device=value.device)
    units[list(part.units)] = True
    return Intervention(site.name, value, units.reshape(site.shape))


def kind_of(graph: ModelGraph, target: str, parts: Parts) -> str:
    """Returns whether a target is a site, an edge, a path or a feature."""
    return FEATURE if target in parts else graph.kind(target)


def role_of(graph: ModelGraph, target: str, parts: Parts) -> str:
    """Returns a target in the names that networks share; a feature has its own name in all."""
    return target if target in parts else graph.role(target)

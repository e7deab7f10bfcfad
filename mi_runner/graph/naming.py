"""Which name does each recorded value get? A module's or parameter's own name always means that module or parameter.

| value                               | name                                                                 |
|-------------------------------------|----------------------------------------------------------------------|
| the first call of a submodule       | its path, `fc`; a second path of the same submodule is an alias      |
| its later calls                     | the path and the first free number, `fc_1`, `fc_2`                   |
| a parameter or buffer               | its path, `fc.weight`                                                |
| an input                            | forward's parameter, `x`                                             |
| what a function or operator returns | the function's name, `relu`, `add`                                   |

A name that a submodule, parameter or buffer has, or that is taken, gets the first free number: where `fc_1` is another
submodule, the second call of `fc` is `fc_2`; where a submodule is named `relu`, the function is `relu_1`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import fx, nn

from mi_runner.errors import ArgumentError


def named(
    module: nn.Module, graph: fx.Graph, returned: Mapping[str, Sequence[fx.Node]]
) -> tuple[dict[fx.Node, str], dict[str, str]]:
    """Returns a unique name for each node, and aliases: a further name → that of its node.

    Args:
        returned: path of a submodule that was traced through → what each of its calls returned.

    Raises:
        ArgumentError: a submodule's name has a `/`.
    """
    own = own_names(module)
    for path in own:
        if "/" in path:
            problem = f"the submodule '{path}' has a / in its name, which separates sites:"
            raise ArgumentError("module", None, problem, "rename it.")
    names: dict[fx.Node, str] = {}
    taken: set[str] = set()

    def free(wanted: str) -> str:
        called, number = wanted, 0
        while called in taken or called in own:
            number += 1
            called = f"{wanted}_{number}"
        taken.add(called)
        return called

    calls = [node for node in graph.nodes if node.op in ("call_module", "get_attr")]
    for node in calls:
        path = str(node.target)
        if path in own and path not in taken:
            taken.add(path)
            names[node] = path
        else:
            names[node] = ""  # a later call: named when all first ones are
    for node in calls:
        names[node] = names[node] or free(str(node.target))
    for ops in (("placeholder",), ("call_function", "call_method")):
        for node in graph.nodes:
            if node.op in ops:
                target: Any = node.target
                names[node] = free(target if isinstance(target, str) else target.__name__.strip("_"))
    aliases: dict[str, str] = {}
    for path, nodes in returned.items():
        for number, node in enumerate(nodes):
            aliases[free(path) if number else path] = names[node]
    return {node: names[node] for node in graph.nodes if node in names}, aliases


def second_names(module: nn.Module, names: Collection[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Returns further names of submodules and parameters that have several: the name → that of their value.

    Args:
        names: of the values.
        aliases: those of `named`.
    """
    found = {}
    for path, first in own_names(module).items():
        if path not in names and path not in aliases and (first in names or first in aliases):
            found[path] = aliases.get(first, first)
    return found


def own_names(module: nn.Module) -> dict[str, str]:
    """Returns each name of a submodule, parameter or buffer → the name that fx calls it by, its first."""
    first: dict[int, str] = {}
    own: dict[str, str] = {}
    for named_things in (module.named_modules, module.named_parameters, module.named_buffers):
        for path, thing in named_things(remove_duplicate=False):
            if path:
                own[path] = first.setdefault(id(thing), path)
    return own

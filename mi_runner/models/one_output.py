"""A network that returns several values as one that returns one of them: same weights, same submodules, same names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from mi_runner.errors import ArgumentError, unknown


def with_one_output(model: nn.Module, output: str) -> nn.Module:
    """Returns the network, whose forward now returns one of its outputs.

    A tensor is returned as it is: some networks return several outputs in training mode alone.

    Args:
        output: a key of a dict, a position in a tuple or list, or the name of an attribute.

    Raises:
        ArgumentError: by the call, where there is no such output; the text lists them.
    """
    kind = type(model)
    forward = kind.forward

    @functools.wraps(forward)
    def of_one(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        returned = forward(self, *args, **kwargs)
        if isinstance(returned, fx.Proxy):  # of a submodule that is one site
            return _taken(returned, type(self).taken_in_evaluation)  # type: ignore[attr-defined]
        found = _found(returned, output)
        if not self.training:
            type(self).taken_in_evaluation = found  # type: ignore[attr-defined]
        return _taken(returned, found)

    # A class of its own, because a copy of the network, and torch.fx, take forward from there.
    own = {"forward": of_one, "__module__": kind.__module__, "taken_in_evaluation": None}
    model.__class__ = type(kind.__name__, (kind,), own)
    return model


def _found(returned: Any, output: str) -> tuple[str, Any] | None:
    """Returns how an output is taken: by which key, position or attribute; None if there is only one output.

    Raises:
        ArgumentError: there is none of this name.
    """
    if isinstance(returned, Tensor):
        return None
    ways: dict[str, tuple[str, Any]]
    if isinstance(returned, Mapping):
        ways = {str(key): ("item", key) for key in returned}
    elif isinstance(returned, tuple | list):
        ways = {str(position): ("item", position) for position in range(len(returned))}
        ways |= {name: ("attribute", name) for name in getattr(returned, "_fields", ())}
    else:
        ways = {name: ("attribute", name) for name in getattr(returned, "__dict__", {}) if not name.startswith("_")}
    if output not in ways:
        raise ArgumentError("output", output, unknown("output", output, ways))
    return ways[output]


def _taken(returned: Any, found: tuple[str, Any] | None) -> Any:
    if found is None:
        return returned
    how, name = found
    return returned[name] if how == "item" else getattr(returned, name)

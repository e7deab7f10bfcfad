"""A network that returns several values as one that returns one of them: same weights, same submodules, same names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from mi_runner.errors import ArgumentError, unknown

NAMED = "output_that_is_named"
"""The attribute of a network's class that has the name of its output."""


def with_one_output(model: nn.Module, output: str) -> nn.Module:
    """Returns the network, whose forward now returns one of its outputs.

    A tensor is returned as it is: some networks return several outputs in training mode alone.

    Args:
        output: a key of a dict, a position in a tuple or list, or the name of an attribute; of an output inside of
            another both, `hidden_states.0`.

    Raises:
        ArgumentError: by the call, where there is no such output; the text lists them.
    """
    kind = type(model)
    forward = kind.forward

    @functools.wraps(forward)
    def of_one(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        returned = forward(self, *args, **kwargs)
        if isinstance(returned, fx.Proxy):  # of a submodule that is one site
            return _taken_in_turn(returned, type(self).taken_in_evaluation)  # type: ignore[attr-defined]
        found = _found(returned, output)
        if not self.training:
            type(self).taken_in_evaluation = found  # type: ignore[attr-defined]
        return _taken_in_turn(returned, found)

    # A class of its own, because a copy of the network, and torch.fx, take forward from there.
    own = {"forward": of_one, "__module__": kind.__module__, "taken_in_evaluation": (), NAMED: output}
    model.__class__ = type(kind.__name__, (kind,), own)
    return model


def with_rows(model: nn.Module, n_outputs: int) -> nn.Module:
    """Returns the network, whose forward now returns its output, of whatever axes, as rows `(N, n_outputs)`."""
    kind = type(model)
    forward = kind.forward

    @functools.wraps(forward)
    def of_rows(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        returned = forward(self, *args, **kwargs)
        # In training mode some networks return several.
        return returned.reshape(-1, n_outputs) if isinstance(returned, Tensor | fx.Proxy) else returned

    model.__class__ = type(kind.__name__, (kind,), {"forward": of_rows, "__module__": kind.__module__})
    return model


def _found(returned: Any, output: str) -> tuple[tuple[str, Any], ...]:
    """Returns how an output is taken: by which keys, positions or attributes in turn; none where there is only one.

    Raises:
        ArgumentError: there is none of this name.
    """
    if isinstance(returned, Tensor):
        return ()
    found = ways(returned)
    if output in found:
        return (found[output],)
    first, dot, rest = output.partition(".")
    if not dot or first not in found:
        raise ArgumentError("output", output, unknown("output", output, found))
    inside = taken(returned, found[first])
    return found[first], *_found(inside, rest)


def _taken_in_turn(returned: Any, steps: tuple[tuple[str, Any], ...]) -> Any:
    for step in steps:
        returned = taken(returned, step)
    return returned


def ways(returned: Any) -> dict[str, tuple[str, Any]]:
    """Returns the name of each output of several → how it is taken, and by which key, position or attribute."""
    if isinstance(returned, Mapping):
        return {str(key): ("item", key) for key in returned}
    if isinstance(returned, tuple | list):
        positions = {str(position): ("item", position) for position in range(len(returned))}
        return positions | {name: ("attribute", name) for name in getattr(returned, "_fields", ())}
    return {name: ("attribute", name) for name in getattr(returned, "__dict__", {}) if not name.startswith("_")}


def taken(returned: Any, way: tuple[str, Any]) -> Any:
    """Returns one of several outputs."""
    how, name = way
    return returned[name] if how == "item" else getattr(returned, name)

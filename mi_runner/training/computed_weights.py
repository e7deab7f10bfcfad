"""Weights that a layer computes from other tensors: a file and a model may name these otherwise, or only one has them.

    the file has                                  the model has                         what happens
    weight_g, weight_v                            parametrizations.weight.original0, …  renamed: weight_norm
    weight_orig, weight_u, weight_v               parametrizations.weight.original, …   renamed: spectral_norm
    weight_g, weight_v; or original0, original1   weight                                computed: g · v / ‖v‖
    weight_orig, weight_mask                      weight                                computed: the pruned weights

`weight` stands for any parameter's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

NEW = "parametrizations."


@dataclass(frozen=True)
class _Computed:
    """A weight of a file that its layer computes.

    Attributes:
        name: the weight's own, `conv.weight`.
        kind: what computes it, for a line.
        parts: the names of the tensors that it is computed from.
        renamed: the names of these as `torch.nn.utils.parametrizations` has them; empty where it has none.
        weight: its value; None where that isn't known from the tensors alone.
    """

    name: str
    kind: str
    parts: tuple[str, ...]
    renamed: tuple[str, ...]
    weight: Tensor | None


def in_the_form_of(
    wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Returns a file's state_dict with such weights in the model's form, and lines that say what was changed.

    Args:
        wanted: the model's state_dict.
        state: the file's.
    """
    kept = [name for name in wanted if NEW in name]
    own = set(wanted)
    changed: dict[str, dict[str, Tensor]] = {}  # first part → what stands in its place
    gone: set[str] = set()
    lines: dict[str, None] = {}
    for one in _computed(state):
        if own.intersection(one.parts):
            continue
        if any(name.endswith(one.renamed[0]) or one.renamed[0].endswith(name) for name in kept if one.renamed):
            if one.renamed == one.parts:
                continue
            new = {name: state[part] for name, part in zip(one.renamed, one.parts, strict=True)}
            lines[f"the names of {one.kind} are old; its tensors are taken as {NEW}…, {one.parts[0]} first"] = None
        elif one.weight is not None:
            new = {one.name: one.weight}
            lines[f"the network has no {one.kind}: its weights are computed, {one.name} first"] = None
        else:
            continue
        changed[one.parts[0]] = new
        gone.update(one.parts)
    if not changed:
        return state, ()
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        found |= changed.get(name, {} if name in gone else {name: tensor})
    return found, tuple(dict.fromkeys(_first_of_each_kind(lines)))


def _first_of_each_kind(lines: Mapping[str, None]) -> Iterator[str]:
    seen: set[str] = set()
    for line in lines:
        kind = line.partition(",")[0]
        if kind not in seen:
            seen.add(kind)
            yield line


def _computed(state: Mapping[str, Tensor]) -> Iterator[_Computed]:
    """Yields the weights of a file that are computed from others, in the file's order."""
    for name in state:
        start, _, end = name.rpartition(NEW)
        if name.endswith("_g") and (v := f"{name[:-2]}_v") in state:
            base = name[:-2]
            new = _new(base)
            renamed = (f"{new}.original0", f"{new}.original1")
            yield _Computed(base, "weight_norm", (name, v), renamed, _normed(state[name], state[v]))
        elif name.endswith(f"{NEW}{end}") and end.endswith(".original0") and (v := f"{name[:-1]}1") in state:
            base = start + end.removesuffix(".original0")
            yield _Computed(base, "weight_norm", (name, v), (name, v), _normed(state[name], state[v]))
        elif name.endswith("_orig"):
            base = name[: -len("_orig")]
            new = _new(base)
            if (mask := f"{base}_mask") in state:
                same = state[mask].shape == state[name].shape
                yield _Computed(base, "pruning", (name, mask), (), state[name] * state[mask] if same else None)
            elif (u := f"{base}_u") in state:
                named = ((name, f"{new}.original"), (u, f"{new}.0._u"), (f"{base}_v", f"{new}.0._v"))
                parts = [(part, renamed) for part, renamed in named if part in state]
                of_file, of_model = zip(*parts, strict=True)
                yield _Computed(base, "spectral_norm", of_file, of_model, None)


def _new(name: str) -> str:
    """Returns how `torch.nn.utils.parametrizations` names a parameter: `conv.parametrizations.weight`."""
    module, _, own = name.rpartition(".")
    return f"{module}.{NEW}{own}" if module else f"{NEW}{own}"


def _normed(g: Tensor, v: Tensor) -> Tensor | None:
    """Returns g · v / ‖v‖, the norm being over the axes that g lacks; None where the shapes don't fit."""
    if not (g.is_floating_point() and v.is_floating_point()):
        return None
    if g.dim() and (g.dim() != v.dim() or any(n not in (1, whole) for n, whole in zip(g.shape, v.shape, strict=True))):
        return None
    axes = [axis for axis in range(v.dim()) if not g.dim() or g.shape[axis] == 1]
    if sum(n > 1 for n in g.shape) > 1 or not axes:
        return None
    exact = v.double()
    return (g.double() * exact / torch.linalg.vector_norm(exact, dim=axes, keepdim=True)).to(v.dtype)

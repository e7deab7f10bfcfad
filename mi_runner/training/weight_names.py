"""Which tensor of a checkpoint is which of the model's? Names decide; shapes alone only where they leave one way.

    the file's names              the model's     what happens
    up.weight                     up.weight       taken
    module.up.weight              up.weight       a prefix that all have is left out; so are wrappers' names inside
    up.weight                     net.up.weight   the same, where the model has it
    up.weight, criterion.weight   up.weight       further tensors are left out
    0.weight, 2.weight            0.weight        refused: the file has more layers
    a.weight                      up.weight       no name matches: taken if modules of these shapes fit in one way
    up.weight, a.weight           up.weight, ...  some match: refused

A checkpoint may hold the state_dict under any key. If several fit, none is taken.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from mi_runner.errors import ArgumentError, listed
from mi_runner.models.checks import is_expanded
from mi_runner.training.computed_weights import in_the_form_of
from mi_runner.training.weights import NotRead, fault, refused, saving

WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Names that wrappers of modules put into the names of parameters, and no module has."""

COUNTER = "num_batches_tracked"
"""The buffer of a BatchNorm that older files lack. In evaluation it decides nothing."""

FLOATS = {torch.float16: "float16", torch.bfloat16: "bfloat16", torch.float32: "float32", torch.float64: "float64"}
"""The dtypes that weights can be kept in."""

DEEPEST = 8
MOST_VALUES = 10_000
"""Levels and values of a file that are looked at."""

MOST_NAMED = 6

WHOLE = ("the tensors of a whole network are taken; none of its code is run",)
"""What is said of a file that holds a network instead of its state_dict."""


@dataclass(frozen=True)
class Fitted:
    """A checkpoint's tensors under the model's names.

    Attributes:
        state: with the model's names, shapes and dtypes.
        notes: a line for everything that was not taken as it stands.
        warnings: the same, for what may be a mistake.
    """

    state: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Candidate:
    """A mapping of names to tensors inside a checkpoint.

    Attributes:
        key: where it stands, `['model']`; empty for the file's own content.
        state: name → tensor.
        beside: the names of its other values.
        notes: what of it was not taken as it stands.
    """

    key: str
    state: Mapping[str, Tensor]
    beside: tuple[str, ...]
    notes: tuple[str, ...] = ()


def fitted(path: Path, content: Any, wanted: Mapping[str, Tensor]) -> Fitted:
    """Returns the tensors of a checkpoint under the model's names, converted to the model's dtypes.

    Args:
        path: for errors.
        content: what the file holds.
        wanted: the model's state_dict; tensors that share their memory are tied.

    Raises:
        ArgumentError: names, shapes or values don't fit; the text says which.
    """
    candidates = list(_candidates(content))
    if not candidates:
        raise _nothing(path, content)
    ties = _ties(wanted)
    candidates = [_in_form(one, wanted) for one in candidates]
    full = [(one, names) for one in candidates if (names := _by_name(path, one, wanted, ties)) is not None]
    full = [one for place, one in enumerate(full) if not any(_same(one[0], other[0]) for other in full[:place])]
    if len(full) > 1:
        keys = [one.key for one, _ in full]
        raise fault(path, f"several state_dicts fit the model: {', '.join(keys)}.", _take_one(path, keys[-1]))
    notes: list[str] = []
    warnings: list[str] = []
    if full:
        ((chosen, names),) = full
        notes += _renamed(path, names)
    else:
        chosen, names = _in_order(path, candidates, wanted)
        pairs = ", ".join(f"{given} as {name}" for name, given in islice(names.items(), MOST_NAMED))
        warnings.append(
            f"{path}: no name is the model's, but the shapes leave one way, so they are taken in order: {pairs}"
        )
    notes += (f"{path}: {line}" for line in chosen.notes)
    if chosen.key:
        notes.append(f"{path}: the weights are those of the key {chosen.key}")
    _check_left_out(path, chosen, names, wanted)
    left_out = [name for name in chosen.state if name not in names.values() and not _is_tie(name, names, chosen.state)]
    if left_out:
        warnings.append(f"{path}: left out, because the model has no such names: {listed(left_out, MOST_NAMED)}")
    beside = _beside(content, chosen)
    if beside:
        notes.append(f"{path}: left out, because it is not weights: {listed(beside, MOST_NAMED)}")
    state = {name: _checked(path, given, chosen.state[given], name, wanted[name]) for name, given in names.items()}
    _check_ties(path, state, names, ties)
    kinds = {
        FLOATS[tensor.dtype] for name, given in names.items() if _converts(tensor := chosen.state[given], wanted[name])
    }
    if kinds:
        notes.append(f"{path}: {' and '.join(sorted(kinds))} values are converted to the network's own precision")
    for name, own in wanted.items():
        if name not in state:  # a tie's other name, or a counter that the file lacks
            twin = next((other for other in ties.get(name, ()) if other in state), None)
            state[name] = own if twin is None else state[twin]
    return Fitted(state, notes, warnings)


# --- what a file holds ---------------------------------------------------------------------------------------------


def _walked(content: Any) -> Iterator[tuple[str, Any]]:
    """Yields what a file holds and what is inside of it, each once, with its key: `['model']`."""
    seen: set[int] = set()
    queue = deque([("", content, 0)])
    while queue and len(seen) < MOST_VALUES:
        key, value, depth = queue.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield key, value
        if isinstance(value, Mapping | list | tuple) and depth < DEEPEST:
            pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
            queue += ((f"{key}[{name!r}]", inner, depth + 1) for name, inner in islice(pairs, MOST_VALUES))


def _candidates(content: Any) -> Iterator[_Candidate]:
    for key, value in _walked(content):
        if isinstance(value, NotRead) and (state := value.state):
            yield _Candidate(key, state, (), WHOLE)
        if isinstance(value, Mapping):
            named = {name: inner for name, inner in value.items() if isinstance(name, str)}
            tensors = {name: tensor for name, inner in named.items() if (tensor := _tensor(inner)) is not None}
            if tensors:
                yield _Candidate(key, tensors, tuple(name for name in named if name not in tensors))


def _in_form(one: _Candidate, wanted: Mapping[str, Tensor]) -> _Candidate:
    """Returns a state_dict with the weights that layers compute in the model's form."""
    state, lines = in_the_form_of(wanted, one.state)
    return replace(one, state=state, notes=(*one.notes, *lines))


def _tensor(value: Any) -> Tensor | None:
    """Returns a tensor, or the numbers of a numpy array as one; None for anything else."""
    if isinstance(value, NotRead):
        return value.tensor
    return value if isinstance(value, Tensor) else None


def _nothing(path: Path, content: Any) -> ArgumentError:
    """Returns the error about a file without a tensor that has a name."""
    save = "Save names and tensors: torch.save(model.state_dict(), 'weights.pt')."
    inside = [value for _, value in _walked(content)]
    if any(map(_is_array, inside)):
        to_tensors = "{name: torch.as_tensor(array) for name, array in arrays.items()}"
        return fault(path, "it holds numpy arrays.", f"Save tensors: torch.save({to_tensors}, 'weights.pt').")
    if any(isinstance(value, NotRead) for value in inside):
        return refused(path)
    if isinstance(content, Mapping) and all(isinstance(value, Mapping) for value in inside):
        return fault(path, "it holds no tensors.")
    if isinstance(content, list | tuple):
        tensors = sum(isinstance(value, Tensor) for value in content)
        return fault(
            path,
            f"it holds no state_dict (parameter name → tensor), but a {type(content).__name__} of "
            f"{len(content)} values, {tensors} of them tensors without names.",
            save,
        )
    return fault(path, "it holds no state_dict (parameter name → tensor).", save)


def _is_array(value: Any) -> bool:
    return isinstance(value, NotRead) and type(value).__module__.startswith("numpy.")


def _beside(content: Any, chosen: _Candidate) -> list[str]:
    """Returns the names of what stands beside the chosen state_dict, at the top of the file."""
    if not chosen.key:
        return list(chosen.beside)
    if not isinstance(content, Mapping):
        return []
    return [str(name) for name in content if not chosen.key.startswith(f"[{name!r}]")]


def _same(one: _Candidate, other: _Candidate) -> bool:
    if one.state.keys() != other.state.keys():
        return False
    pairs = [(one.state[name], other.state[name]) for name in one.state]
    return all(a is b or (a.dtype == b.dtype and a.shape == b.shape and _equal(a, b)) for a, b in pairs)


def _equal(one: Tensor, other: Tensor) -> bool:
    plain = all(tensor.layout == torch.strided and not tensor.is_meta for tensor in (one, other))
    return plain and not is_expanded(one) and not is_expanded(other) and torch.equal(one, other)


def _take_one(path: Path, key: str) -> str:
    return f"Save the one that you mean: {saving(f'torch.load({str(path)!r}){key}')}, then checkpoint=weights.pt."


# --- names ---------------------------------------------------------------------------------------------------------


def _ties(wanted: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """Returns name → the other names of the same tensor."""
    places: dict[tuple[Any, ...], list[str]] = {}
    for name, tensor in wanted.items():
        if tensor.numel() and tensor.layout == torch.strided:
            place = tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()
            places.setdefault(place, []).append(name)
    return {
        name: tuple(other for other in names if other != name)
        for names in places.values()
        if len(names) > 1
        for name in names
    }


def _plain(name: str) -> str:
    """Returns a name without those of wrappers."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _by_name(
    path: Path, one: _Candidate, wanted: Mapping[str, Tensor], ties: Mapping[str, tuple[str, ...]]
) -> dict[str, str] | None:
    """Returns the model's name → the file's, where all that is needed has a name in the file; None where it hasn't.

    Raises:
        ArgumentError: several prefixes fit.
    """
    given = {_plain(name): name for name in one.state}
    if len(given) < len(one.state):
        given = {name: name for name in one.state}
    for own_prefixes in ([""], _prefixes([_plain(name) for name in wanted])):
        found: dict[str, dict[str, str]] = {}
        for own in own_prefixes:
            for prefix in _prefixes_in_file(given, wanted, ties, own):
                names = _with_prefix(given, wanted, ties, own, prefix)
                if names is not None:
                    found.setdefault(" ".join(names.values()), names)
                    if not prefix:
                        return names
        if len(found) > 1:
            first, *_, last = found.values()
            examples = [next(iter(names.values())) for names in (first, last)]
            name = next(iter(last))
            remedy = "Save those that you mean under the model's names: torch.save(network.state_dict(), 'weights.pt')."
            if path.suffix != ".safetensors" and examples[1].endswith(name):
                prefix = examples[1].removesuffix(name)
                taken = f"{{n.removeprefix({prefix!r}): t for n, t in torch.load({str(path)!r}){one.key}.items()"
                remedy = f"Save those that you mean: {saving(f'{taken} if n.startswith({prefix!r})}}')}, then "
                remedy += "{path}=weights.pt."
            raise fault(
                path,
                f"the model's tensors are in it several times, as {examples[0]} and as {examples[1]}.",
                remedy,
            )
        if found:
            return next(iter(found.values()))
    return None


def _prefixes(names: Sequence[str]) -> list[str]:
    """Returns the beginnings `a.`, `a.b.` that all names have, the shortest first."""
    parts = [name.split(".")[:-1] for name in names]
    prefixes = []
    for length in range(1, min(map(len, parts), default=0) + 1):
        if len({tuple(one[:length]) for one in parts}) > 1:
            break
        prefixes.append(".".join(parts[0][:length]) + ".")
    return prefixes


def _prefixes_in_file(
    given: Mapping[str, str], wanted: Mapping[str, Tensor], ties: Mapping[str, tuple[str, ...]], own: str
) -> list[str]:
    """Returns what stands before one of the model's names in the file, nothing first."""
    needed = [name for name in wanted if name.rpartition(".")[2] != COUNTER]
    # Of tied weights the file may have any one.
    names = [_plain(name)[len(own) :] for name in [name for name in needed if name not in ties][:2] or needed]
    if own and not any("." in _plain(name)[len(own) :] for name in wanted):
        return [""]  # a single module, which any other would fit
    found = {name[: -len(end)] for end in names for name in given if name.endswith(end)}
    return sorted((prefix for prefix in found if not prefix or prefix.endswith(".")), key=lambda p: (len(p), p))


def _with_prefix(
    given: Mapping[str, str],
    wanted: Mapping[str, Tensor],
    ties: Mapping[str, tuple[str, ...]],
    own: str,
    prefix: str,
) -> dict[str, str] | None:
    names = {name: given[key] for name in wanted if (key := prefix + _plain(name)[len(own) :]) in given}
    for name in wanted:
        tied = any(other in names for other in ties.get(name, ()))
        if name not in names and not tied and name.rpartition(".")[2] != COUNTER:
            return None
    return names or None


def _renamed(path: Path, names: Mapping[str, str]) -> list[str]:
    changed = [(name, given) for name, given in names.items() if name != given]
    if not changed:
        return []
    name, given = changed[0]
    return [f"{path}: {given} is taken as {name}, and the other {len(names) - 1} names likewise"]


def _is_tie(name: str, names: Mapping[str, str], state: Mapping[str, Tensor]) -> bool:
    return any(state[name] is state[given] for given in names.values())


def _check_left_out(path: Path, chosen: _Candidate, names: Mapping[str, str], wanted: Mapping[str, Tensor]) -> None:
    """Refuses further layers of the model's kind: `layers.4.weight` where the model ends with `layers.2`."""
    taken = set(names.values())
    kinds = {re.sub(r"\d+", "#", name) for name in taken}
    further = [
        name
        for name in chosen.state
        if name not in taken and re.sub(r"\d+", "#", name) in kinds and not _is_tie(name, names, chosen.state)
    ]
    if further:
        raise fault(
            path,
            f"{len(chosen.state)} tensors, the model has {len(wanted)}; the file has {', '.join(further[:3])}.",
            "Was it trained with another model, or other sizes?",
        )


# --- no name matches -----------------------------------------------------------------------------------------------


def _in_order(
    path: Path, candidates: Sequence[_Candidate], wanted: Mapping[str, Tensor]
) -> tuple[_Candidate, dict[str, str]]:
    """Returns the one state_dict whose shapes fit in one way, and the model's name → the file's.

    Raises:
        ArgumentError: some names match, or the shapes leave several ways or none.
    """
    nearest = max(candidates, key=lambda one: (_n_matching(one, wanted), len(one.state)))
    ways = [(one, names) for one in candidates if (names := _by_shapes(one.state, wanted)) is not None]
    if not _n_matching(nearest, wanted) and len(ways) == 1:
        return ways[0]
    raise _differing(path, nearest, wanted)


def _n_matching(one: _Candidate, wanted: Mapping[str, Tensor]) -> int:
    """Returns how many of the model's names are in the file, with the best prefix."""
    return len(_matching(one, wanted))


def _matching(one: _Candidate, wanted: Mapping[str, Tensor]) -> dict[str, str]:
    """Returns the model's name → the file's, of the prefix with which most of them are in the file."""
    own = {_plain(name): name for name in wanted}
    given = {_plain(name): name for name in one.state}
    best: dict[str, str] = {}
    for left in ["", *_prefixes(list(own))]:
        for right in ["", *_prefixes(list(given))]:
            found = {name: given[key] for short, name in own.items() if (key := right + short[len(left) :]) in given}
            best = max(best, found, key=len)
    return best


def _by_shapes(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, str] | None:
    """Returns the model's name → the file's, if modules of these shapes fit in one way; otherwise None.

    A module's tensors stay together, if they have the same last names in both; otherwise each tensor is alone.
    """
    if len(state) != len(wanted):
        return None
    for grouped in (True, False):
        of_file, of_model = _by_signature(state, grouped), _by_signature(wanted, grouped)
        if of_file.keys() == of_model.keys() and all(
            len(each) == 1 for each in (*of_file.values(), *of_model.values())
        ):
            pairs = {
                name: given
                for signature in of_model
                for name, given in zip(of_model[signature][0], of_file[signature][0], strict=True)
            }
            return {name: pairs[name] for name in wanted}
    return None


def _by_signature(state: Mapping[str, Tensor], grouped: bool) -> dict[Any, list[list[str]]]:
    """Returns the shapes of a module's tensors → the names of the tensors, for each module that has them."""
    modules: dict[str, list[str]] = {}
    for name in state:
        modules.setdefault(name.rpartition(".")[0] if grouped else name, []).append(name)
    found: dict[Any, list[list[str]]] = {}
    for names in modules.values():
        ordered = sorted(names, key=lambda name: name.rpartition(".")[2])
        signature = tuple((name.rpartition(".")[2] if grouped else "", tuple(state[name].shape)) for name in ordered)
        found.setdefault(signature, []).append(ordered)
    return found


def _differing(path: Path, nearest: _Candidate, wanted: Mapping[str, Tensor]) -> ArgumentError:
    where = f" under the key {nearest.key}" if nearest.key else ""
    matching = _matching(nearest, wanted)
    if len(wanted) == len(nearest.state) and not matching:
        return fault(
            path,
            f"no name{where} is the model's, and the shapes leave no single way. The file has "
            f"{_shapes(nearest.state)}; the model has {_shapes(wanted)}.",
            "Save it under the model's names.",
        )
    missing = sorted(set(wanted) - set(matching))
    extra = sorted(set(nearest.state) - set(matching.values()))
    renames = _by_shapes({name: nearest.state[name] for name in extra}, {name: wanted[name] for name in missing})
    missing = [f"{name} (no tensor there)" if name in nearest.beside else name for name in missing]
    differences = [f"{verb} {', '.join(names[:3])}" for verb, names in (("lacks", missing), ("has", extra)) if names]
    remedy = ""
    if matching and renames:
        name, given = next(iter(renames.items()))
        others = f", and so the other {len(renames) - 1}" if len(renames) > 1 else ""
        remedy = f"If {given} is {name}, save it under that name: state[{name!r}] = state.pop({given!r}){others}."
    return fault(
        path,
        f"{len(nearest.state)} tensors{where}, the model has {len(wanted)}; the file {', '.join(differences)}.",
        remedy,
    )


def _shapes(state: Mapping[str, Tensor]) -> str:
    return listed([f"{name} {tuple(tensor.shape)}" for name, tensor in state.items()], MOST_NAMED)


# --- values --------------------------------------------------------------------------------------------------------


def _checked(path: Path, given: str, tensor: Tensor, name: str, own: Tensor) -> Tensor:
    """Returns a tensor in the dtype of the model's own.

    Raises:
        ArgumentError: it has another shape, is of a kind that weights are not, or its values aren't finite.
    """
    kind, remedy = _unusual(tensor)
    if kind:
        raise fault(path, f"{given} is {kind}; weights are plain numbers.", remedy)
    if tensor.shape != own.shape:
        raise fault(
            path,
            f"{given} has the shape {tuple(tensor.shape)}, the model's {name} has {tuple(own.shape)}.",
            "Was it trained with another model, or other sizes?",
        )
    if own.is_floating_point() and tensor.dtype not in FLOATS:
        part = ".real" if tensor.is_complex() else ""
        raise fault(
            path,
            f"{given} has the dtype {_dtype(tensor)}; the model's is {_dtype(own)}.",
            f"Save it as float32: state[{given!r}] = state[{given!r}]{part}.float().",
        )
    if (tensor.is_floating_point() or tensor.is_complex()) and not bool(tensor.isfinite().all()):
        raise fault(path, f"{given} has NaN or infinite values.")
    converted = tensor.to(own.dtype)
    if own.is_floating_point():
        if not bool(converted.isfinite().all()):
            largest = float(tensor.abs().max())
            raise fault(path, f"{given} has values up to {largest:.3g}, too large for {_dtype(own)}.")
    elif tensor.dtype != own.dtype and not torch.equal(converted.to(tensor.dtype), tensor):
        raise fault(path, f"{given} has the dtype {_dtype(tensor)}; the model's is {_dtype(own)}.")
    return converted


def _unusual(tensor: Tensor) -> tuple[str, str]:
    """Returns what is unusual about a tensor that can't be weights, and what to type; empty for others."""
    if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
        return "not initialised", "Save the network after its first input."
    if tensor.is_meta:
        return "on the meta device, without values", "Save the network with its values."
    if tensor.is_quantized:
        return "quantized", "Save the network before its quantization, or state[name].dequantize()."
    if tensor.is_nested or tensor.layout != torch.strided:
        return "sparse" if not tensor.is_nested else "nested", "Save state[name].to_dense()."
    if is_expanded(tensor):
        return "expanded, one stored value for many", "Save state[name].contiguous()."
    return "", ""


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _converts(tensor: Tensor, own: Tensor) -> bool:
    return own.is_floating_point() and tensor.dtype != own.dtype


def _check_ties(
    path: Path, state: Mapping[str, Tensor], names: Mapping[str, str], ties: Mapping[str, tuple[str, ...]]
) -> None:
    for name, others in ties.items():
        for other in others:
            if name in state and other in state and not torch.equal(state[name], state[other]):
                raise fault(
                    path,
                    f"{names[name]} and {names[other]} differ, but are one tensor in the model.",
                    "Was it trained with another model?",
                )

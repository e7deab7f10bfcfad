"""Which parts of a network does its answer depend on? (REMIX, day 1)

Each site, edge or path is ablated: its value is replaced by zero, by its mean, or by its value on another example.
Two networks that answer equally well may differ in what they lose.

Letters: N examples, B batch, K outputs, U units of a site, S of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner import chance
from mi_runner.batches import BATCH, batches, outputs_of
from mi_runner.errors import ConfigError, one_line, unknown
from mi_runner.graph.interventions import (
    Intervention,
    SiteValues,
    draw_others,
    mean,
    read_sites,
    run_variants,
    run_with,
)
from mi_runner.graph.model_graph import ModelGraph, evaluating
from mi_runner.progress import Progress
from mi_runner.statistics import NONE
from mi_runner.training.evaluation import LossFunction, Score, confusion, loss_of_values, score

Method = Literal["zero", "mean", "resample"]
"""What replaces a value: zeros, its mean over the examples of `source`, or its value on another example."""

METHODS: tuple[Method, ...] = get_args(Method)

ABLATION = ("target", "kind", "method")
"""The columns that name an ablation; the intact network has none in each of them. `repeat` counts draws of one."""

VARIANT_NUMBERS = 4_000_000
"""Numbers in the replacement values of the units that run at once: 16 MB, so that they stay near the processor."""

MOST_UNIT_RUNS = 200_000
"""Units times methods times repeats that are run without objection."""

SPLIT_TOLERANCE = 1e-4
"""The summands of the logits must add up to them within this, relative to the largest logit."""


@dataclass(frozen=True)
class Ablation:
    """One ablation of the table.

    Attributes:
        target: a site, edge or path.
        method: what replaces the value.
        repeat: from 1; zero and mean have no chance in them, and only one.
    """

    target: str
    method: Method
    repeat: int = 1


@dataclass(frozen=True)
class Ablations:
    """What ablations do to a network's answers, the intact network first.

    Attributes:
        rows: a row for each ablation: target, kind (site, edge, path), method, repeat; accuracy with its 95 % interval,
            loss; `accuracy_drop` and `loss_increase` from the intact network.
        confusion: rows target, kind, method, repeat, label, predicted, count.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    confusion: list[dict[str, Any]] = field(default_factory=list)


# --- whole targets -----------------------------------------------------------------------------------------------


@torch.no_grad()
def ablate(
    network: nn.Module | ModelGraph,
    x: Tensor,
    y: Tensor,
    *,
    targets: Sequence[str] | None = None,
    methods: Sequence[Method] = METHODS,
    repeats: int = 3,
    source: Tensor | None = None,
    loss: LossFunction | None = None,
    classes: bool | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ablations:
    """How well the network answers when each target is ablated by each method.

    Args:
        network: a module, which is run in evaluation mode, or its graph, which is run in the mode that the module is
            in. Make the graph yourself, with `ModelGraph.trace(network, x[:2], leaves=...)`, where a submodule can't
            be traced.
        x: `(N, *input)`, on the network's device.
        y: `(N,)` classes, or `(N,)` or `(N, K)` values.
        targets: sites (`relu`), edges (`x/add`) and paths (`x/first/relu/add`); None for those of `ablation_targets`.
        repeats: draws of the resample method.
        source: `(M, *input)`, the examples that means and resampled values come from; None for `x`.
        loss: `loss(outputs, y, reduction="none")` gives a number per example. None for the cross entropy of classes,
            the squared error of values.
        classes: whether `y` are classes, so that the answer is the largest output, or values, so that it is the output
            rounded. None: integers are classes.
        seed: of the resample method; a draw depends on seed, target and repeat alone.
        progress: told of each finished row, in the table `metrics`.

    Raises:
        ConfigError: the network can't be traced, or has no such target; the text says where, or lists what it has.
        ValueError: another argument is wrong.
    """
    loss, y, classes = _answers(x, y, loss, classes)
    progress = progress or Progress()
    drawn = draws(methods, repeats)
    with _graph_of(network, x) as graph:
        found = _at_least_one(graph, targets)
        table = Ablations()
        intact_outputs = outputs_of(graph, x)
        intact = score(intact_outputs, y, loss, classes=classes)

        def measured(ablation: Ablation | None, outputs: Tensor) -> None:
            result = score(outputs, y, loss, classes=classes)
            row = {**_identity(graph, ablation), **result.columns(), **_change(intact, result)}
            table.rows.append(row)
            progress.rows("metrics", [row])
            counts = confusion(outputs, y, classes=classes)
            table.confusion.extend({**_identity(graph, ablation), **count} for count in counts)

        measured(None, intact_outputs)
        with progress.bar("ablations", len(found) * len(drawn)) as advance:
            for target in found:
                values = SiteValues(graph, x if source is None else source, graph.target_site(target))
                for method, repeat in drawn:
                    ablation = Ablation(target, method, repeat)
                    measured(ablation, ablated_outputs(graph, x, ablation, values, seed=seed))
                    advance(1, f"{target} {method}")
    return table


def ablation_targets(graph: ModelGraph, asked: Sequence[str] | None = None) -> list[str]:
    """What is ablated: what was asked for, or every inner site and every edge whose source feeds more than one site.

    Only what has floating-point values for each example can be ablated: there is no mean of indices, and no value of a
    parameter on another example. A network whose only sites are its inputs and its output has no target unless asked.

    Raises:
        ConfigError: the graph has no such target, it can't be ablated, or one is named twice. The text begins with
            `targets`.
    """
    if asked is not None:
        for target in asked:
            try:
                site = graph.target_site(target)
            except ConfigError as error:
                raise ConfigError(f"targets: {error}") from error
            if site.obstacle:
                raise ConfigError(
                    f"targets: {target} can't be ablated, because {site.name} {site.obstacle}. "
                    f"Sites that can: {', '.join(can_be_ablated(graph)) or '(none)'}."
                )
        if len(set(asked)) < len(asked) or not asked:
            raise ConfigError(f"targets={list(asked)}: name at least one target, each once.")
        return list(asked)
    outer = {*graph.inputs, graph.output}
    able = can_be_ablated(graph)
    inner = [name for name in able if name not in outer]
    forked = [edge for name in able if len(graph.uses(name)) > 1 for edge in graph.uses(name)]
    return [*inner, *forked]


def can_be_ablated(graph: ModelGraph) -> list[str]:
    """The sites that have floating-point values for each example."""
    return [name for name, site in graph.sites.items() if not site.obstacle]


def draws(methods: Sequence[Method] = METHODS, repeats: int = 3) -> list[tuple[Method, int]]:
    """Pairs (method, repeat): each method once, but resample `repeats` times, counted from 1.

    Raises:
        ConfigError: a method is unknown or named twice, none is named, or `repeats < 1`. The text begins with the
            argument's name.
    """
    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"methods: {unknown('method', method, METHODS)}")
    if len(set(methods)) < len(methods) or not methods:
        raise ConfigError(f"methods=[{', '.join(methods)}]: name at least one method, each once.")
    if repeats < 1:
        raise ConfigError(f"repeats={repeats} must be at least 1.")
    return [(method, repeat) for method in methods for repeat in range(1, (repeats if method == "resample" else 1) + 1)]


def replacements(x: Tensor, ablation: Ablation, source: SiteValues, *, seed: int = 0) -> Iterator[Tensor]:
    """The replacement values `(B, *site)` for consecutive batches of `x`.

    Means and resampled values are those of the examples of `source`. A resampled value comes from another example than
    the one it replaces, drawn with replacement; the draw depends on seed, target and repeat alone.

    Args:
        source: the values of the target's first site, on `x` itself or on other examples.

    Raises:
        ValueError: a value is to be resampled from `x`, which has a single example.
    """
    site = source.site
    if ablation.method == "resample":
        draw = chance.generator(seed, "resample", ablation.target, ablation.repeat)
        if source.x is x:
            index = draw_others(len(x), generator=draw)
        else:
            index = torch.randint(len(source.x), (len(x),), generator=draw)
        for part in batches(index.to(x.device)):
            yield source.rows(part)
        return
    if ablation.method == "mean":
        value = mean(source.batches())
    else:
        value = torch.zeros(site.shape, dtype=site.dtype, device=x.device)
    for part in batches(x):
        yield value.expand(len(part), *site.shape)


@torch.no_grad()
def ablated_outputs(graph: ModelGraph, x: Tensor, ablation: Ablation, source: SiteValues, *, seed: int = 0) -> Tensor:
    """Outputs `(N, K)` on `x` with one target ablated; the other arguments are those of `replacements`."""
    parts = zip(batches(x), replacements(x, ablation, source, seed=seed), strict=True)
    return torch.cat([run_with(graph, part, [Intervention(ablation.target, value)]) for part, value in parts])


@torch.no_grad()
def try_ablations(
    graph: ModelGraph,
    x: Tensor,
    targets: Sequence[str],
    methods: Sequence[Method] = METHODS,
    *,
    source: Tensor | None = None,
    units: bool = False,
) -> None:
    """Ablate every target once by every method, on a few examples, so that what can't run is found before long work.

    Args:
        units: whether to ablate a unit of each target by itself, too.

    Raises:
        ConfigError: an ablation fails; the text names its target and the error.
    """
    for target in targets:
        try:
            values = SiteValues(graph, x if source is None else source, graph.target_site(target))
            for method in methods:
                ablated_outputs(graph, x, Ablation(target, method), values)
            if units:
                base = read_sites(graph, x, [values.site.name])[values.site.name].reshape(len(x), -1)
                _outputs_by_unit(graph, x, target, base, base, torch.zeros(1, dtype=torch.int64, device=x.device))
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"{target} can't be ablated: {one_line(error)}.") from error


# --- single units ------------------------------------------------------------------------------------------------


def n_unit_runs(
    graph: ModelGraph, targets: Sequence[str], methods: Sequence[Method] = METHODS, repeats: int = 3
) -> int:
    """How often `ablate_units` runs the examples: units times methods, and times repeats where resampled."""
    return sum(graph.target_site(target).n_units for target in targets) * len(draws(methods, repeats))


@torch.no_grad()
def ablate_units(
    network: nn.Module | ModelGraph,
    x: Tensor,
    y: Tensor,
    *,
    targets: Sequence[str] | None = None,
    methods: Sequence[Method] = METHODS,
    repeats: int = 3,
    source: Tensor | None = None,
    loss: LossFunction | None = None,
    classes: bool | None = None,
    seed: int = 0,
    most_runs: int = MOST_UNIT_RUNS,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """A row for each unit of each target ablated by itself, the other units as they are.

    The columns are those of `ablate`'s rows, and `unit`: a number from 0, of the site's value flattened. The other
    arguments are those of `ablate`, and a resampled unit has the value that it has where the whole target is resampled.

    Args:
        most_runs: so often `x` may be run.
        progress: told of the finished rows of each target and draw, in the table `units`.

    Raises:
        ConfigError: as `ablate`.
        ValueError: as `ablate`, or the units need more runs than `most_runs`; the text says how many.
    """
    loss, y, classes = _answers(x, y, loss, classes)
    progress = progress or Progress()
    drawn = draws(methods, repeats)
    rows: list[dict[str, Any]] = []
    with _graph_of(network, x) as graph:
        found = _at_least_one(graph, targets)
        total = n_unit_runs(graph, found, methods, repeats)
        if total > most_runs:
            raise ValueError(
                f"{total:,} runs of x are needed, more than most_runs={most_runs:,}: "
                "name fewer targets or methods, or lower repeats."
            )
        intact = score(outputs_of(graph, x), y, loss, classes=classes)
        with progress.bar("units", total) as advance:
            for target in found:
                values = SiteValues(graph, x if source is None else source, graph.target_site(target))
                for method, repeat in drawn:
                    ablation = Ablation(target, method, repeat)
                    replaced = replacements(x, ablation, values, seed=seed)
                    scores = _unit_scores(graph, x, y, target, replaced, loss, classes)
                    finished = [
                        {**_identity(graph, ablation), "unit": unit, **result.columns(), **_change(intact, result)}
                        for unit, result in enumerate(scores)
                    ]
                    progress.rows("units", finished)
                    rows += finished
                    advance(len(finished), f"{target} {method}")
    return rows


def _unit_scores(
    graph: ModelGraph,
    x: Tensor,
    y: Tensor,
    target: str,
    replaced: Iterator[Tensor],
    loss: LossFunction,
    classes: bool,
) -> list[Score]:
    """The score with each unit of a target replaced by itself."""
    site = graph.target_site(target)
    n_correct = torch.zeros(site.n_units, dtype=torch.int64, device=x.device)
    total_loss = torch.zeros(site.n_units, dtype=torch.float64, device=x.device)
    at_once = max(1, VARIANT_NUMBERS // (site.n_units * min(BATCH, len(x))))
    ranges = torch.arange(site.n_units, device=x.device).split(at_once)
    for part, labels, replacement in zip(batches(x), batches(y), replaced, strict=True):
        base = read_sites(graph, part, [site.name])[site.name].reshape(len(part), site.n_units)
        replacement = replacement.reshape(len(part), site.n_units)
        for units in ranges:
            outputs = _outputs_by_unit(graph, part, target, base, replacement, units)
            for rank, unit in enumerate(units.tolist()):
                result = score(outputs[rank], labels, loss, classes=classes)
                n_correct[unit] += result.n_correct
                total_loss[unit] += result.loss * result.n
    return [Score(len(x), int(n), float(losses) / len(x)) for n, losses in zip(n_correct, total_loss, strict=True)]


def _outputs_by_unit(
    graph: ModelGraph, x: Tensor, target: str, base: Tensor, replacement: Tensor, units: Tensor
) -> Tensor:
    """Outputs `(S, B, *output)` with each of `units` `(S,)` ablated by itself; base and replacement are `(B, U)`."""
    values = base.expand(len(units), *base.shape).clone()
    rank = torch.arange(len(units), device=units.device)
    values[rank, :, units] = replacement[:, units].T
    return run_variants(graph, x, target, values.reshape(len(units), len(base), *graph.target_site(target).shape))


# --- what each summand of the logits says --------------------------------------------------------------------------


@torch.no_grad()
def contributions(network: nn.Module | ModelGraph, x: Tensor, y: Tensor) -> list[dict[str, Any]]:
    """Where the output is a Linear of a sum: a row for each summand of the logits; else none.

    `accuracy` is that of the summand alone, `label_logit` its mean contribution to the label's logit above its mean
    contribution to all logits. The last row is the sum, whose `max_error` is the largest difference to the logits.

    Args:
        network, x: as in `ablate`.
        y: `(N,)` classes.

    Raises:
        ConfigError: the network can't be traced.
        ValueError: `y` are no classes.
    """
    _, y, _ = _answers(x, y, _no_loss, classes=True)
    with _graph_of(network, x) as graph:
        summands = graph.summands(graph.output)
        if not summands:
            return []
        split = graph.distribute(graph.output)
        names = [name for part in (*summands, "bias") if (name := f"{graph.output}[{part}]") in split.sites]
        parts = [run_with(split, part, returns=[*names, graph.output]) for part in batches(x)]
        logits = outputs_of(graph, x)
    whole = torch.cat([part[-1] for part in parts])
    error = float((whole - logits).abs().max())
    if error > SPLIT_TOLERANCE * max(1.0, float(logits.abs().max())):
        raise AssertionError(f"the logits' summands miss them by {error}")
    rows = []
    for number, name in enumerate([*names, "sum"]):
        values = whole if name == "sum" else torch.cat([part[number].expand(len(part[-1]), -1) for part in parts])
        alone = score(values, y, _no_loss, classes=True).columns()
        above_mean = values.gather(1, y[:, None]).squeeze(1) - values.mean(1)
        rows.append(
            {
                "summand": name if name == "sum" else name.removeprefix(f"{graph.output}[").removesuffix("]"),
                **{column: alone[column] for column in ("accuracy", "accuracy_low", "accuracy_high")},
                "label_logit": float(above_mean.double().mean()),
                "max_error": error if name == "sum" else None,
            }
        )
    return rows


def _no_loss(outputs: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
    return outputs.new_zeros(len(outputs))


# --- shared ------------------------------------------------------------------------------------------------------


@contextmanager
def _graph_of(network: nn.Module | ModelGraph, x: Tensor) -> Iterator[ModelGraph]:
    """The network's graph; within the block a module is in evaluation mode."""
    if isinstance(network, ModelGraph):
        yield network
        return
    with evaluating(network):
        yield ModelGraph.trace(network, x[:2])


def _at_least_one(graph: ModelGraph, targets: Sequence[str] | None) -> list[str]:
    found = ablation_targets(graph, targets)
    if not found:
        able = ", ".join(can_be_ablated(graph)) or "(none)"
        raise ConfigError(f"the network has no inner site to ablate, only {able}: name targets.")
    return found


def _answers(
    x: Tensor, y: Tensor, loss: LossFunction | None, classes: bool | None
) -> tuple[LossFunction, Tensor, bool]:
    """The loss, `y` in the dtype that losses take, and whether `y` are classes.

    Raises:
        ValueError: there are not as many targets as examples, no example, or the targets are no classes.
    """
    if len(x) != len(y) or not len(x):
        raise ValueError(f"x has {len(x)} examples, y has {len(y)}: give one y for each x, and at least one.")
    integers = not (y.is_floating_point() or y.is_complex())
    if classes is None:
        classes = integers
    if classes and (not integers or y.dim() != 1):
        raise ValueError(f"y has the shape {tuple(y.shape)} and dtype {y.dtype}: classes are (N,) integers from 0.")
    if integers:
        y = y.long() if classes else y.float()
    return loss or (functional.cross_entropy if classes else loss_of_values(functional.mse_loss)), y, classes


def _identity(graph: ModelGraph, ablation: Ablation | None) -> dict[str, Any]:
    if ablation is None:
        return {**dict.fromkeys(ABLATION, NONE), "repeat": 1}
    return {
        "target": ablation.target,
        "kind": graph.kind(ablation.target),
        "method": ablation.method,
        "repeat": ablation.repeat,
    }


def _change(intact: Score, result: Score) -> dict[str, float]:
    return {"accuracy_drop": intact.accuracy - result.accuracy, "loss_increase": result.loss - intact.loss}

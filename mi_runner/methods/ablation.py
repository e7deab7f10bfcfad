"""Which parts of a network does its answer depend on? (REMIX, day 1)

Each site, edge or path is ablated: its value is replaced by zero, by its mean, or by its value on another example.
Two networks that answer equally well may differ in what they lose.

Letters: N examples, B batch, K outputs, U units of a site, S of them at once.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError, one_line
from mi_runner.graph.interventions import Intervention, Run
from mi_runner.graph.model_graph import ModelGraph, evaluating
from mi_runner.methods.ablation_targets import ablation_targets
from mi_runner.methods.replacements import (
    METHODS,
    Ablation,
    Method,
    Replacements,
    Running,
    Source,
    draws,
    draws_of,
)
from mi_runner.methods.resampled_alike import last_alike
from mi_runner.methods.site_parts import NO_PARTS, Parts, intervention_at, kind_of, role_of, site_at
from mi_runner.methods.sources import ANY, SAME
from mi_runner.models.batches import batches, outputs_of
from mi_runner.progress import Progress
from mi_runner.tables.names import NONE
from mi_runner.training.evaluation import LossFunction, Score, confusion, loss_of_classes, loss_of_values, score

ABLATION = ("target", "kind", "method")
"""The columns that name an ablation; the intact network has none in each of them. `repeat` counts draws of one."""

VARIANT_NUMBERS = 4_000_000
"""Numbers in the replacement values of the units that run at once: 16 MB, so that they stay near the processor."""

MOST_OUTPUTS = 50_000_000
"""Numbers in the outputs of all ablations that are kept: 200 MB. Of more, those of the intact network alone."""


@dataclass(frozen=True)
class Scoring:
    """How answers are scored.

    Attributes:
        loss: `loss(outputs, y, reduction="none")` gives a number per example. None for the cross entropy of classes,
            the squared error of values.
        kind: what the outputs are, which decides the answer. None: logits for integers `y`, otherwise values.

    Example:
        >>> import torch
        >>> from mi_runner.ablation import Scoring
        >>> from mi_runner.datasets import Outputs
        >>> scoring = Scoring(torch.nn.functional.l1_loss, kind=Outputs.values)
    """

    loss: LossFunction | None = None
    kind: Outputs | None = None


@dataclass(frozen=True)
class Ablations:
    """What ablations do to a network's answers, the intact network first.

    Attributes:
        rows: a row for each ablation: target; role, the target in names that networks share; kind (site, edge, path,
            feature), method, repeat; accuracy with its 95 % interval, loss; `accuracy_drop` and `loss_increase` from
            the intact network.
        confusion: rows target, kind, method, repeat, label, predicted, count.
        outputs: the network's outputs `(N, K)` on the CPU: under None of the intact network, under each ablation those
            after it. Only the intact network's if all together have more than `MOST_OUTPUTS` numbers.
        correct: whether each example is answered correctly, `(N,)` bool on the CPU, under the same keys; none under an
            ablation whose outputs are not finite.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    confusion: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[Ablation | None, Tensor] = field(default_factory=dict)
    correct: dict[Ablation | None, Tensor] = field(default_factory=dict)


# --- whole targets -----------------------------------------------------------------------------------------------


@torch.no_grad()
def ablate(
    network: nn.Module | ModelGraph,
    x: Tensor,
    y: Tensor,
    *,
    targets: Sequence[str] | None = None,
    parts: Parts = NO_PARTS,
    methods: Sequence[Method] = METHODS,
    source: Source = Source(),
    scoring: Scoring = Scoring(),
    running: Running = Running(),
) -> Ablations:
    """Returns how well the network answers when each target is ablated by each method.

    Args:
        network: a module or its graph, which is run in evaluation mode. Make the graph yourself, with
            `ModelGraph.trace(network, x[:2], leaves=...)`, where a submodule can't be traced.
        x: `(N, *input)`, on the network's device.
        y: `(N,)` classes, or `(N,)` or `(N, K)` values.
        targets: sites (`relu`), edges (`x/add`), paths (`x/first/relu/add`) and patterns (`relu*`, `linear:*`) of them;
            None for those of `ablation_targets`.
        methods: what replaces a value.
        parts: targets that the graph does not have: numbers of a site, such as the features of an input.
        source: the examples that means and resampled values come from, and how often values are resampled.
        scoring: the loss, and what the outputs are.
        running: the memory and runs that are used; its progress is told of each finished row, in the table `metrics`.

    Raises:
        ArgumentError: the network can't be traced, has no such target, or another argument is wrong; the text says
            which, and lists what there is.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.ablation import ablate
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.copy_(torch.eye(2))
        >>> x, y = torch.tensor([[3.0, 1.0], [1.0, 4.0]]), torch.tensor([0, 1])
        >>> rows = ablate(net, x, y, targets=["1"], methods=["zero", "mean"]).rows
        >>> [(row["target"], row["method"], row["accuracy"]) for row in rows]
        [('none', 'none', 1.0), ('1', 'zero', 0.5), ('1', 'mean', 0.5)]
    """
    loss, y, kind = loss_and_targets(x, y, scoring)
    drawn, progress = draws(methods, source.repeats), running.progress or Progress()
    with graph_of(network, x) as graph:
        found = _at_least_one(graph, targets, methods, parts)
        replacements = Replacements(graph, x, y, source, drawn, running)
        labels, runs = list(batches(y)), replacements.runs
        alike = {target: last_alike(graph, target) for target in found if target not in parts}
        asked = _asked(graph, found, parts, drawn, alike)
        all_kept = (1 + len(asked)) * len(x) * graph.site(graph.output).n_units <= MOST_OUTPUTS
        table = _Table(asked, partial(_identity, graph, parts=parts), loss, kind, progress, all_kept)
        for number in range(len(replacements)):
            table.add(None, runs[number].output(), labels[number])
        table.finish(None)
        with progress.bar("ablations", len({*asked.values()}) * len(replacements)) as advance:
            for ablation, number, value, shared in replacements.values(found, parts, alike):
                ablating = intervention_at(graph, ablation.target, value, parts)
                outputs = runs[number].output([ablating], shared=shared)
                table.add(ablation, outputs, labels[number])
                if number == len(replacements) - 1:
                    table.finish(ablation)
                advance(1, f"{ablation.target} {ablation.method}")
    return table.ablations


def _asked(
    graph: ModelGraph,
    targets: Sequence[str],
    parts: Parts,
    drawn: Sequence[tuple[Method, int]],
    alike: Mapping[str, str],
) -> dict[Ablation, Ablation]:
    """Returns each ablation of the table, in its order → the one that is computed, which has the same outputs."""
    return {
        Ablation(target, method, repeat): Ablation(
            alike.get(target, target) if method == "resample" else target, method, repeat
        )
        for target in targets
        for method, repeat in draws_of(site_at(graph, target, parts), drawn)
    }


class _Table:
    """The table of ablations while it is filled, batch by batch; the intact network is finished first.

    Args:
        asked: each ablation of the table, in its order → the one that is computed, which has the same outputs.

    Attributes:
        ablations: what is finished.
    """

    def __init__(
        self,
        asked: Mapping[Ablation, Ablation],
        identity: Callable[[Ablation | None], dict[str, Any]],
        loss: LossFunction,
        kind: Outputs,
        progress: Progress,
        all_kept: bool,
    ) -> None:
        self.ablations = Ablations()
        self._waiting: deque[tuple[Ablation | None, Ablation | None]] = deque([(None, None), *asked.items()])
        self._identity, self._progress, self._all_kept = identity, progress, all_kept
        self._loss, self._kind = loss, kind
        self._tallies: dict[Ablation | None, _Tally] = {}
        self._outputs: dict[Ablation | None, list[Tensor]] = {}
        self._finished: dict[Ablation | None, _Finished] = {}

    def add(self, ablation: Ablation | None, outputs: Tensor, labels: Tensor) -> None:
        """Adds an ablation's outputs `(B, K)` for the next batch; None is the intact network."""
        self._tallies.setdefault(ablation, _Tally(self._loss, self._kind)).add(outputs, labels)
        if ablation is None or self._all_kept:
            self._outputs.setdefault(ablation, []).append(outputs.cpu())

    def finish(self, ablation: Ablation | None) -> None:
        """Notes that all batches of an ablation are there, and makes the rows that are next in the table."""
        tally, outputs = self._tallies.pop(ablation), self._outputs.pop(ablation, [])
        self._finished[ablation] = _Finished(
            tally.score,
            tally.confusion(),
            torch.cat(tally.correct) if tally.finite else None,
            torch.cat(outputs) if outputs and tally.finite else None,
        )
        while self._waiting and self._waiting[0][1] in self._finished:
            one, computed = self._waiting.popleft()
            self._add_rows(one, self._finished[computed])

    def _add_rows(self, ablation: Ablation | None, of: _Finished) -> None:
        row = {**self._identity(ablation), **of.score.columns(), **_change(self._finished[None].score, of.score)}
        self.ablations.rows.append(row)
        self._progress.rows("metrics", [row])
        named = {name: row[name] for name in (*ABLATION, "repeat")}
        self.ablations.confusion.extend({**named, **count} for count in of.confusion)
        if of.correct is not None:
            self.ablations.correct[ablation] = of.correct
        if of.outputs is not None:
            self.ablations.outputs[ablation] = of.outputs


@dataclass(frozen=True)
class _Finished:
    """What all batches of an ablation give; correct and outputs are None where an output isn't finite."""

    score: Score
    confusion: list[dict[str, int]]
    correct: Tensor | None
    outputs: Tensor | None


class _Tally:
    """Score and, if they are counted, correct examples and pairs of label and prediction of batches of outputs."""

    def __init__(self, loss: LossFunction, kind: Outputs, *, counted: bool = True) -> None:
        self.loss, self.kind, self.counted = loss, kind, counted
        self.n = self.n_correct = 0
        self.total_loss = 0.0
        self.finite = True
        self.counts: Counter[tuple[int, int]] = Counter()
        self.correct: list[Tensor] = []

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """Adds the next batch."""
        result = score(outputs, labels, self.loss, kind=self.kind)
        self.n += result.n
        self.n_correct += result.n_correct
        self.total_loss += result.loss * result.n
        self.finite &= result.finite
        if not self.counted or not self.finite:
            return
        self.correct.append(self.kind.correct(outputs, labels).cpu())
        for row in confusion(outputs, labels, kind=self.kind):
            self.counts[row["label"], row["predicted"]] += row["count"]

    @property
    def score(self) -> Score:
        """The score of all batches."""
        return Score(self.n, self.n_correct, self.total_loss / self.n, self.finite)

    def confusion(self) -> list[dict[str, int]]:
        """Returns rows `label, predicted, count`; none if an output isn't finite."""
        if not self.finite:
            return []
        pairs = sorted(self.counts.items())
        return [{"label": label, "predicted": predicted, "count": count} for (label, predicted), count in pairs]


@torch.no_grad()
def try_ablations(
    graph: ModelGraph,
    x: Tensor,
    targets: Sequence[str],
    methods: Sequence[Method] = METHODS,
    *,
    parts: Parts = NO_PARTS,
    source: Source = Source(),
    units: bool = False,
) -> None:
    """Checks before long work that all can be ablated: by one run for all sites and one for each kind of target.

    Args:
        x: a few examples, not as many as the graph was traced with.
        parts: as in `ablate`.
        units: whether to ablate a unit by itself, too.

    Raises:
        ArgumentError: the network can't be run on so many examples, a target's value has another shape than when it was
            traced, or an ablation fails; the text names the target and the error.
    """
    n = len(x)
    run = Run(graph, x)
    shapes: dict[str, tuple[int, ...]] = {}
    check_drawn(graph, targets, methods, parts, units=units)
    of_targets = {target: site_at(graph, target, parts) for target in targets}
    sites = list(dict.fromkeys(site.name for site in of_targets.values() if site.kind != "parameter"))
    with evaluating(graph.module):
        try:
            run.visit(sites, lambda name, value: shapes.update({name: tuple(value.shape)}))
        except Exception as error:
            raise _cannot(f"the network can't be run on {n} examples: {one_line(error)}.") from error
        for name in sites:
            if shapes[name] != (n, *graph.site(name).shape):
                shape = ("…", *graph.site(name).shape)
                raise _cannot(f"{name} can't be ablated: on {n} examples its shape is {shapes[name]}, not {shape}.")
        drawn = draws(methods, 1)
        anyone = replace(source, agree=ANY, repeats=1, seed=0)
        replacements = Replacements(graph, x, torch.zeros(n), anyone, drawn, Running())
        # Behind the last target of a kind there is least to compute; a run of units meets every operation behind it.
        for target in {
            (kind_of(graph, target, parts), of_targets[target].kind == "parameter"): target
            for target in (reversed(targets) if units else targets)
        }.values():
            try:
                for _, number, value, _ in replacements.values([target], parts):
                    replacements.runs[number].output([intervention_at(graph, target, value, parts)])
                    if units:
                        place = of_targets[target].name if target in parts else target
                        base = replacements.runs[number].values([of_targets[target].name])[0]
                        first = torch.zeros(1, dtype=torch.int64, device=x.device)
                        _outputs_by_unit(replacements.runs[number], place, base, value.expand(base.shape), first)
            except ArgumentError:
                raise
            except Exception as error:
                raise _cannot(f"{target} can't be ablated: {one_line(error)}.") from error


def _cannot(problem: str) -> ArgumentError:
    """Returns the error about targets that can't be ablated in this network."""
    return ArgumentError("targets", None, problem, "Name other {targets}.")


@torch.no_grad()
def scrub(
    network: nn.Module | ModelGraph,
    x: Tensor,
    y: Tensor,
    *,
    targets: Sequence[str],
    parts: Parts = NO_PARTS,
    source: Source = Source(agree=SAME),
    scoring: Scoring = Scoring(),
    running: Running = Running(),
) -> list[dict[str, Any]]:
    """Returns how well the network answers when all targets at once are resampled from examples that agree.

    A row for each draw of `source.agree`, and as a control one for each draw of `any`: `agree`, `repeat`, accuracy with
    its interval, loss, and `loss_recovered`, the share of what the control of this draw loses that is not lost:
    (control's loss − loss) / (control's loss − intact loss); 0 in the control itself. Where the targets do not matter
    beyond what the examples agree in, it is 1.

    Args:
        targets: sites, edges, paths or patterns. All get the values of the same source example. The other arguments
            are those of `ablate`.

    Raises:
        ArgumentError: as `ablate`, or an example has no source that agrees.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.ablation import Source, scrub
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.copy_(torch.eye(2))
        >>> x, y = torch.tensor([[3.0, 1.0], [1.0, 4.0]]), torch.tensor([0, 1])
        >>> rows = scrub(net, x.repeat(2, 1), y.repeat(2), targets=["1"], source=Source(agree="same", repeats=1))
        >>> [(row["agree"], row["accuracy"]) for row in rows]
        [('any', 0.0), ('same', 1.0)]
    """
    loss, y, kind = loss_and_targets(x, y, scoring)
    drawn = draws(["resample"], source.repeats)
    labels = list(batches(y))
    rows: list[dict[str, Any]] = []
    with graph_of(network, x) as graph:
        found = _at_least_one(graph, targets, ["resample"], parts)
        intact = score(outputs_of(graph, x), y, loss, kind=kind).loss
        scores: dict[tuple[str, int], Score] = {}
        for agree in (ANY, source.agree):
            replacements = Replacements(graph, x, y, replace(source, agree=agree), drawn, running)
            tallies = {repeat: _Tally(loss, kind, counted=False) for _, repeat in drawn}
            ahead: dict[tuple[int, int], list[Intervention]] = {}
            for ablation, number, value, _ in replacements.values(found, parts):
                ablating = intervention_at(graph, ablation.target, value, parts)
                ahead.setdefault((ablation.repeat, number), []).append(ablating)
                if len(ahead[ablation.repeat, number]) == len(found):
                    outputs = replacements.runs[number].output(ahead.pop((ablation.repeat, number)))
                    tallies[ablation.repeat].add(outputs, labels[number])
            scores |= {(str(agree), repeat): tally.score for repeat, tally in tallies.items()}
        for (which, repeat), result in scores.items():
            lost = scores[ANY, repeat].loss - intact
            recovered = (scores[ANY, repeat].loss - result.loss) / lost if lost else math.nan
            rows.append({"agree": which, "repeat": repeat, **result.columns(), "loss_recovered": recovered})
    return rows


# --- single units ------------------------------------------------------------------------------------------------


def n_unit_runs(
    graph: ModelGraph, targets: Sequence[str], methods: Sequence[Method] = METHODS, repeats: int = 3
) -> int:
    """Returns how often `ablate_units` runs the examples: units times methods, times repeats if resampled."""
    return sum(graph.target_site(target).n_units for target in targets) * len(draws(methods, repeats))


@torch.no_grad()
def ablate_units(
    network: nn.Module | ModelGraph,
    x: Tensor,
    y: Tensor,
    *,
    targets: Sequence[str] | None = None,
    methods: Sequence[Method] = METHODS,
    source: Source = Source(),
    scoring: Scoring = Scoring(),
    running: Running = Running(),
) -> list[dict[str, Any]]:
    """Returns a row for each unit of each target ablated alone, while the other units keep their values.

    The columns are those of `ablate`'s rows, and `unit`: a number from 0, of the site's value flattened. The other
    arguments are those of `ablate`, and a resampled unit has the value that it has where the whole target is resampled.

    Args:
        running: its progress is told of the finished rows of each target and draw, in the table `units`.

    Raises:
        ArgumentError: as `ablate`, or the units need more runs than `running.most_runs`; the text says how many.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner.ablation import ablate_units
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.copy_(torch.eye(2))
        >>> x, y = torch.tensor([[3.0, 1.0], [1.0, 4.0]]), torch.tensor([0, 1])
        >>> rows = ablate_units(net, x, y, targets=["1"], methods=["zero"])
        >>> [(row["unit"], row["accuracy_drop"]) for row in rows]
        [(0, 0.5), (1, 0.5)]
    """
    loss, y, kind = loss_and_targets(x, y, scoring)
    drawn, labels, progress = draws(methods, source.repeats), list(batches(y)), running.progress or Progress()
    rows: list[dict[str, Any]] = []
    with graph_of(network, x) as graph:
        found = _at_least_one(graph, targets, methods, NO_PARTS, units=True)
        total = n_unit_runs(graph, found, methods, source.repeats)
        _check_runs(total, running.most_runs)
        replacements = Replacements(graph, x, y, source, drawn, running)
        intact = _Tally(loss, kind, counted=False)
        for number in range(len(replacements)):
            intact.add(replacements.runs[number].output(), labels[number])
        tallies: dict[Ablation, list[_Tally]] = {}
        with progress.bar("units", total * len(replacements)) as advance:
            for ablation, number, value, _ in replacements.values(found):
                n_units = graph.target_site(ablation.target).n_units
                if ablation not in tallies:
                    tallies[ablation] = [_Tally(loss, kind, counted=False) for _ in range(n_units)]
                for unit, outputs in _each_unit(replacements.runs[number], ablation.target, value):
                    tallies[ablation][unit].add(outputs, labels[number])
                if number == len(replacements) - 1:
                    finished = _unit_rows(graph, ablation, intact.score, tallies.pop(ablation))
                    progress.rows("units", finished)
                    rows += finished
                advance(n_units, f"{ablation.target} {ablation.method}")
    return rows


def _check_runs(total: int, most_runs: int) -> None:
    """Raises an ArgumentError if single units need more runs of the examples than are allowed."""
    if total > most_runs:
        problem = f"{total:,} runs of x are needed, more than {{most_runs}}={most_runs:,}:"
        remedy = "name fewer {targets} or {methods}, or lower {repeats}."
        raise ArgumentError(("most_runs", "targets", "methods", "repeats"), None, problem, remedy)


def _unit_rows(graph: ModelGraph, ablation: Ablation, intact: Score, tallies: Sequence[_Tally]) -> list[dict[str, Any]]:
    """Returns the row of each unit of a target under an ablation."""
    identity = _identity(graph, ablation)
    return [
        {**identity, "unit": unit, **tally.score.columns(), **_change(intact, tally.score)}
        for unit, tally in enumerate(tallies)
    ]


def _each_unit(run: Run, target: str, value: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yields each unit of a target with the outputs `(B, *output)` if it alone is replaced."""
    site = run.graph.target_site(target)
    (base,) = run.values([site.name])
    at_once = max(1, VARIANT_NUMBERS // (site.n_units * len(base)))
    value = value.expand(base.shape)
    for units in torch.arange(site.n_units, device=base.device).split(at_once):
        yield from zip(units.tolist(), _outputs_by_unit(run, target, base, value, units), strict=True)


def _outputs_by_unit(run: Run, target: str, base: Tensor, replacement: Tensor, units: Tensor) -> Tensor:
    """Returns the outputs `(S, B, *output)` with each of `units` `(S,)` replaced alone; values are `(B, *site)`."""
    values = base.reshape(len(base), -1).expand(len(units), -1, -1).clone()
    rank = torch.arange(len(units), device=units.device)
    values[rank, :, units] = replacement.reshape(len(base), -1)[:, units].T
    return run.variants(target, values.reshape(len(units), *base.shape))


# --- shared ------------------------------------------------------------------------------------------------------


@contextmanager
def graph_of(network: nn.Module | ModelGraph, x: Tensor) -> Iterator[ModelGraph]:
    """Yields the network's graph; its module is in evaluation mode within the block."""
    graph = network if isinstance(network, ModelGraph) else ModelGraph.trace(network, x[:2])
    with evaluating(graph.module):
        yield graph


def check_drawn(
    graph: ModelGraph,
    targets: Sequence[str],
    methods: Sequence[Method],
    parts: Parts = NO_PARTS,
    *,
    units: bool = False,
) -> None:
    """Checks that each target has a method by which it can be ablated, and units if they are asked for.

    Raises:
        ArgumentError: one has none.
    """
    for target in targets:
        if (site := site_at(graph, target, parts)).kind == "parameter":
            if units:
                raise _cannot(f"{{targets}}: {target} is a parameter: its numbers are not ablated one by one.")
            if not draws_of(site, draws(methods, 1)):
                problem = f"{{methods}}: {target} is a parameter, which has no value on another example:"
                raise ArgumentError("methods", None, problem, "add zero.")


def _at_least_one(
    graph: ModelGraph, targets: Sequence[str] | None, methods: Sequence[Method], parts: Parts, *, units: bool = False
) -> list[str]:
    found = ablation_targets(graph, targets, parts)
    check_drawn(graph, found, methods, parts, units=units)
    if not found:
        able = ", ".join(graph.usable_sites) or "(none)"
        problem = f"the network has no inner site to ablate, only {able}:"
        raise ArgumentError("targets", None, problem, "name {targets}.")
    return found


def loss_and_targets(x: Tensor, y: Tensor, scoring: Scoring) -> tuple[LossFunction, Tensor, Outputs]:
    """Returns the loss, `y` in the dtype that losses take, and what the outputs are.

    Raises:
        ArgumentError: there are not as many targets as examples, no example, or the targets are no classes.
    """
    if len(x) != len(y) or not len(x):
        problem = f"x has {len(x)} examples, y has {len(y)}:"
        raise ArgumentError(("x", "y"), None, problem, "give one y for each x, and at least one.")
    integers = not (y.is_floating_point() or y.is_complex())
    kind = scoring.kind or (Outputs.logits if integers else Outputs.values)
    if kind.are_of_classes and (not integers or y.dim() != 1):
        problem = f"y has the shape {tuple(y.shape)} and dtype {y.dtype}: classes are (N,) integers from 0."
        raise ArgumentError("y", None, problem)
    if integers:
        y = y.long() if kind.are_of_classes else y.float()
    fitting = loss_of_classes(kind) if kind.are_of_classes else loss_of_values(functional.mse_loss)
    return scoring.loss or fitting, y, kind


def _identity(graph: ModelGraph, ablation: Ablation | None, parts: Parts = NO_PARTS) -> dict[str, Any]:
    if ablation is None:
        return {"target": NONE, "role": NONE, "kind": NONE, "method": NONE, "repeat": 1}
    return {
        "target": ablation.target,
        "role": role_of(graph, ablation.target, parts),
        "kind": kind_of(graph, ablation.target, parts),
        "method": ablation.method,
        "repeat": ablation.repeat,
    }


def _change(intact: Score, result: Score) -> dict[str, float]:
    return {"accuracy_drop": intact.accuracy - result.accuracy, "loss_increase": result.loss - intact.loss}

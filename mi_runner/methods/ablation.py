"""Which parts of a network does its answer depend on? (REMIX, day 1)

Each site, edge or path is ablated: its value is replaced by zero, by its mean, or by its value on another example.
Two networks that answer equally well may differ in what they lose.

Letters: N examples, B batch, K outputs, U units of a site, S of them at once.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner import chance
from mi_runner.errors import ArgumentError, one_line, unknown
from mi_runner.graph.interventions import Intervention, Run, Runs, read_sites
from mi_runner.graph.model_graph import ModelGraph, evaluating
from mi_runner.methods.ablation_targets import ablation_targets, can_be_ablated
from mi_runner.methods.sources import ANY, OTHER, SAME, draw_sources
from mi_runner.models.batches import batches, outputs_of
from mi_runner.progress import Progress
from mi_runner.tables.names import NONE
from mi_runner.training.evaluation import LossFunction, Score, confusion, loss_of_values, score

Method = Literal["zero", "mean", "resample"]
"""What replaces a value: zeros, its mean over the examples of `source`, or its value on another example."""

METHODS: tuple[Method, ...] = get_args(Method)

ABLATION = ("target", "kind", "method")
"""The columns that name an ablation; the intact network has none in each of them. `repeat` counts draws of one."""

VARIANT_NUMBERS = 4_000_000
"""Numbers in the replacement values of the units that run at once: 16 MB, so that they stay near the processor."""

MEMORY = 1_000_000_000
"""Bytes of intact values that are kept, so that an ablation computes only what lies behind its target."""

MOST_OUTPUTS = 50_000_000
"""Numbers in the outputs of all ablations that are kept: 200 MB. Of more, those of the intact network alone."""

MOST_UNIT_RUNS = 200_000
"""Units times methods times repeats that are run without objection."""


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
        rows: a row for each ablation: target; role, the target in names that networks share; kind (site, edge, path),
            method, repeat; accuracy with its 95 % interval, loss; `accuracy_drop` and `loss_increase` from the intact
            network.
        confusion: rows target, kind, method, repeat, label, predicted, count.
        outputs: the network's outputs `(N, K)` on the CPU: under None of the intact network, under each ablation those
            after it. Only the intact network's if all together have more than `MOST_OUTPUTS` numbers.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    confusion: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[Ablation | None, Tensor] = field(default_factory=dict)


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
    source_y: Tensor | None = None,
    agree: str | int = ANY,
    loss: LossFunction | None = None,
    classes: bool | None = None,
    seed: int = 0,
    memory: float = MEMORY,
    runs: Runs | None = None,
    progress: Progress | None = None,
) -> Ablations:
    """How well the network answers when each target is ablated by each method.

    Args:
        network: a module or its graph, which is run in evaluation mode. Make the graph yourself, with
            `ModelGraph.trace(network, x[:2], leaves=...)`, where a submodule can't be traced.
        x: `(N, *input)`, on the network's device.
        y: `(N,)` classes, or `(N,)` or `(N, K)` values.
        targets: sites (`relu`), edges (`x/add`), paths (`x/first/relu/add`) and patterns (`relu*`, `linear:*`) of them;
            None for those of `ablation_targets`.
        repeats: draws of the resample method.
        source: `(M, *input)`, the examples that means and resampled values come from; None for `x`.
        source_y: `(M,)` their classes, where `agree` compares them.
        agree: which examples a value is resampled from: `any`, those of the `same` class, of an `other` class, or of
            the class of this number.
        loss: `loss(outputs, y, reduction="none")` gives a number per example. None for the cross entropy of classes,
            the squared error of values.
        classes: whether `y` are classes, so that the answer is the largest output, or values, so that it is the output
            rounded. None: integers are classes.
        seed: of the resample method; a draw depends on seed and repeat alone, so that every target is resampled from
            the same examples.
        memory: bytes of intact values that are kept. With fewer the result is the same, and takes longer.
        runs: those of `x`, whose kept values several calls share; None: of this call alone.
        progress: told of each finished row, in the table `metrics`.

    Raises:
        ArgumentError: the network can't be traced, has no such target, or another argument is wrong; the text says
            which, and lists what there is.
    """
    loss, y, classes = loss_and_targets(x, y, loss, classes)
    progress = progress or Progress()
    drawn = draws(methods, repeats)
    with graph_of(network, x) as graph:
        found = _at_least_one(graph, targets, methods)
        table = Ablations()
        data = _Data(graph, x, source, drawn, memory, _Agreement(y, source_y, agree), runs)
        tallies: dict[Ablation | None, _Tally] = {}
        labels = list(batches(y))
        outputs_of_batches: dict[Ablation | None, list[Tensor]] = {}

        def add(ablation: Ablation | None, outputs: Tensor, labels: Tensor) -> None:
            tallies.setdefault(ablation, _Tally(loss, classes)).add(outputs, labels)
            if ablation is None or all_kept:
                outputs_of_batches.setdefault(ablation, []).append(outputs.cpu())

        def finished(ablation: Ablation | None) -> None:
            tally, intact = tallies[ablation], tallies[None].score
            row = {**_identity(graph, ablation), **tally.score.columns(), **_change(intact, tally.score)}
            table.rows.append(row)
            progress.rows("metrics", [row])
            named = {name: row[name] for name in (*ABLATION, "repeat")}
            table.confusion.extend({**named, **count} for count in tally.confusion())
            outputs = outputs_of_batches.pop(ablation, [])
            if outputs and tally.finite:
                table.outputs[ablation] = torch.cat(outputs)

        n_ablations = sum(len(draws_of(graph, target, drawn)) for target in found)
        all_kept = (1 + n_ablations) * len(x) * graph.site(graph.output).n_units <= MOST_OUTPUTS
        for number in range(len(data)):
            add(None, data.runs[number].output(), labels[number])
        finished(None)
        with progress.bar("ablations", n_ablations * len(data)) as advance:
            for ablation, number, value, shared in data.replacements(found, drawn, seed=seed):
                outputs = data.runs[number].output([Intervention(ablation.target, value)], shared=shared)
                add(ablation, outputs, labels[number])
                if number == len(data) - 1:
                    finished(ablation)
                advance(1, f"{ablation.target} {ablation.method}")
    return table


def draws_of(graph: ModelGraph, target: str, drawn: Sequence[tuple[Method, int]]) -> list[tuple[Method, int]]:
    """Those of `draws` that a target has: a parameter has no value on another example, so it is never resampled.

    The mean of a parameter is that of its numbers.
    """
    is_parameter = graph.target_site(target).kind == "parameter"
    return [draw for draw in drawn if not (is_parameter and draw[0] == "resample")]


def draws(methods: Sequence[Method] = METHODS, repeats: int = 3) -> list[tuple[Method, int]]:
    """Pairs (method, repeat): each method once, but resample `repeats` times, counted from 1.

    Raises:
        ArgumentError: a method is unknown or named twice, none is named, or `repeats < 1`.
    """
    for method in methods:
        if method not in METHODS:
            raise ArgumentError("methods", None, f"{{methods}}: {unknown('method', method, METHODS)}")
    if len(set(methods)) < len(methods) or not methods:
        raise ArgumentError("methods", f"[{', '.join(methods)}]", "name at least one method, each once.")
    if repeats < 1:
        raise ArgumentError("repeats", repeats, f"{{repeats}}={repeats} must be at least 1.")
    return [(method, repeat) for method in methods for repeat in range(1, (repeats if method == "resample" else 1) + 1)]


@dataclass(frozen=True)
class _Agreement:
    """The classes of examples and sources, and which sources an example may have.

    Raises:
        ArgumentError: they are to be compared, and are none.
    """

    y: Tensor
    source_y: Tensor | None
    agree: str | int = ANY

    def index(self, n_source: int | None, generator: torch.Generator) -> Tensor:
        """The source of each example; of `n_source` others, or None: of themselves."""
        y = self.y
        if n_source is None:
            source_y = y
        elif self.agree == ANY:
            source_y = torch.empty(n_source)
        elif self.source_y is None or len(self.source_y) != n_source:
            remedy = f"give {{source_y}}, the class of each of the {n_source} source examples."
            raise ArgumentError(("agree", "source_y"), self.agree, "", remedy)
        else:
            source_y = self.source_y
        if self.agree != ANY and (y.is_floating_point() or y.dim() > 1):
            problem = f"{{agree}}={self.agree} compares classes, and y are values:"
            raise ArgumentError("agree", self.agree, problem, f"use {{agree}}={ANY}.")
        return draw_sources(y, source_y, self.agree, within=n_source is None, generator=generator)


class _Data:
    """The examples that are ablated and those that replacement values come from, with the runs that they share.

    Where the values of all batches fit into the memory, they are kept. Otherwise batch follows batch, and of each there
    is a run of its examples, and one for each draw of the examples that are resampled.
    """

    def __init__(
        self,
        graph: ModelGraph,
        x: Tensor,
        source: Tensor | None,
        drawn: Sequence[tuple[Method, int]],
        memory: float,
        agreement: _Agreement,
        runs: Runs | None = None,
    ) -> None:
        self.graph, self.source, self.agreement = graph, x if source is None else source, agreement
        self.same = self.source is x
        self.runs = runs or Runs(graph, x, memory=memory if self.same else memory / 2)
        self.sources = self.runs if self.same else Runs(graph, self.source, memory=memory / 2)
        self.fit = self.runs.fit and self.sources.fit
        if not self.fit:
            self.share = memory / (1 + sum(method == "resample" for method, _ in drawn))
            self.runs = Runs(graph, x, memory=self.share)
            self.sources = Runs(graph, self.source, memory=0)

    def __len__(self) -> int:
        return len(self.runs)

    def replacements(
        self, targets: Sequence[str], drawn: Sequence[tuple[Method, int]], *, seed: int
    ) -> Iterator[tuple[Ablation, int, Tensor, dict[Any, Any] | None]]:
        """For each ablation and batch the replacement value `(B, *site)`; the batches of an ablation in their order.

        The last of the four is what batches of one size have in common that get the same value: see `Run.output`.

        Raises:
            ArgumentError: a value is to be resampled from `x`, which has a single example.
        """
        site_of = {target: self.graph.target_site(target) for target in targets}
        methods = {method for method, _ in drawn}
        parameters = {site.name for site in site_of.values() if site.kind == "parameter"}
        names = list(dict.fromkeys(site.name for site in site_of.values() if site.name not in parameters))
        means = self.sources.means(names) if "mean" in methods else {}
        if "mean" in methods:
            means |= {name: read_sites(self.graph, self.source[:1], [name])[name].mean() for name in parameters}
        indices = {repeat: self._draw(seed, repeat) for method, repeat in drawn if method == "resample"}
        for group in [range(len(self))] if self.fit else [range(k, k + 1) for k in range(len(self))]:
            resampled: dict[int, Run] = {}
            if not self.fit:
                for repeat, parts in indices.items():
                    resampled[repeat] = Run(self.graph, self.source[parts[group[0]]], memory=self.share)
            values: tuple[str, Tensor] | None = None
            for target, site in site_of.items():
                drawn_here = draws_of(self.graph, target, drawn)
                resamples = any(method == "resample" for method, _ in drawn_here)
                if self.fit and resamples and (values is None or values[0] != site.name):
                    values = site.name, self.sources.values(site.name)
                for method, repeat in drawn_here:
                    common: defaultdict[int, dict[Any, Any]] = defaultdict(dict)
                    for number in group:
                        if method == "mean":
                            value = means[site.name]
                        elif method == "zero":
                            value = torch.zeros(site.shape, dtype=site.dtype, device=self.source.device)
                        elif values is not None:
                            value = values[1][indices[repeat][number]]
                        else:
                            (value,) = resampled[repeat].values([site.name])
                        shared = common[len(self.runs.parts[number])] if self.fit and method != "resample" else None
                        yield Ablation(target, method, repeat), number, value, shared

    def _draw(self, seed: int, repeat: int) -> tuple[Tensor, ...]:
        """For each batch the examples of the source that it is resampled from."""
        draw = chance.generator(seed, "resample", repeat)
        index = self.agreement.index(None if self.same else len(self.source), draw)
        return tuple(batches(index.to(self.source.device)))


class _Tally:
    """Score and, if they are counted, pairs of label and prediction of batches of outputs, added up."""

    def __init__(self, loss: LossFunction, classes: bool, *, counted: bool = True) -> None:
        self.loss, self.classes, self.counted = loss, classes, counted
        self.n = self.n_correct = 0
        self.total_loss = 0.0
        self.finite = True
        self.counts: Counter[tuple[int, int]] = Counter()

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """The next batch."""
        result = score(outputs, labels, self.loss, classes=self.classes)
        self.n += result.n
        self.n_correct += result.n_correct
        self.total_loss += result.loss * result.n
        self.finite &= result.finite
        if not self.counted or not self.finite:
            return
        for row in confusion(outputs, labels, classes=self.classes):
            self.counts[row["label"], row["predicted"]] += row["count"]

    @property
    def score(self) -> Score:
        """The score of all batches."""
        return Score(self.n, self.n_correct, self.total_loss / self.n, self.finite)

    def confusion(self) -> list[dict[str, int]]:
        """Rows `label, predicted, count`; none where an output isn't finite."""
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
    source: Tensor | None = None,
    units: bool = False,
) -> None:
    """Find what can't be ablated before long work: one run for all sites, and an ablation of each kind of target.

    Args:
        x: a few examples, not as many as the graph was traced with.
        units: whether to ablate a unit by itself, too.

    Raises:
        ArgumentError: the network can't be run on so many examples, a target's value has another shape than when it was
            traced, or an ablation fails; the text names the target and the error.
    """
    n = len(x)
    run = Run(graph, x)
    shapes: dict[str, tuple[int, ...]] = {}
    check_drawn(graph, targets, methods, units=units)
    of_targets = (graph.target_site(target) for target in targets)
    sites = list(dict.fromkeys(site.name for site in of_targets if site.kind != "parameter"))
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
        data = _Data(graph, x, source, drawn, MEMORY, _Agreement(torch.zeros(n), None))
        # Behind the last target of a kind there is least to compute; a run of units meets every operation behind it.
        for target in {
            (graph.kind(target), graph.target_site(target).kind == "parameter"): target
            for target in (reversed(targets) if units else targets)
        }.values():
            try:
                for _, number, value, _ in data.replacements([target], drawn, seed=0):
                    data.runs[number].output([Intervention(target, value)])
                    if units:
                        base = data.runs[number].values([graph.target_site(target).name])[0]
                        first = torch.zeros(1, dtype=torch.int64, device=x.device)
                        _outputs_by_unit(data.runs[number], target, base, value.expand(base.shape), first)
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
    agree: str | int = SAME,
    repeats: int = 3,
    source: Tensor | None = None,
    source_y: Tensor | None = None,
    loss: LossFunction | None = None,
    seed: int = 0,
    memory: float = MEMORY,
) -> list[dict[str, Any]]:
    """How well the network answers when all targets at once are resampled from examples that agree.

    A row for each draw of `agree`, and as a control one for each draw of `any`: `agree`, `repeat`, accuracy with its
    interval, loss, and `loss_recovered`, the share of what the control of this draw loses that is not lost:
    (control's loss − loss) / (control's loss − intact loss); 0 in the control itself. Where the targets do not matter
    beyond what the examples agree in, it is 1.

    Args:
        targets: sites, edges, paths or patterns. All get the values of the same source example. The other arguments
            are those of `ablate`.

    Raises:
        ArgumentError: as `ablate`, or an example has no source that agrees.
    """
    loss, y, classes = loss_and_targets(x, y, loss, None)
    drawn = draws(["resample"], repeats)
    labels = list(batches(y))
    rows: list[dict[str, Any]] = []
    with graph_of(network, x) as graph:
        found = _at_least_one(graph, targets, ["resample"])
        intact = score(outputs_of(graph, x), y, loss, classes=classes).loss
        scores: dict[tuple[str, int], Score] = {}
        for which in (ANY, str(agree)):
            agreement = _Agreement(y, source_y, which if which in (ANY, SAME, OTHER) else int(which))
            data = _Data(graph, x, source, drawn, memory, agreement)
            tallies = {repeat: _Tally(loss, classes, counted=False) for _, repeat in drawn}
            ahead: dict[tuple[int, int], list[Intervention]] = {}
            for ablation, number, value, _ in data.replacements(found, drawn, seed=seed):
                ahead.setdefault((ablation.repeat, number), []).append(Intervention(ablation.target, value))
                if len(ahead[ablation.repeat, number]) == len(found):
                    outputs = data.runs[number].output(ahead.pop((ablation.repeat, number)))
                    tallies[ablation.repeat].add(outputs, labels[number])
            scores |= {(which, repeat): tally.score for repeat, tally in tallies.items()}
        for (which, repeat), result in scores.items():
            lost = scores[ANY, repeat].loss - intact
            recovered = (scores[ANY, repeat].loss - result.loss) / lost if lost else math.nan
            rows.append({"agree": which, "repeat": repeat, **result.columns(), "loss_recovered": recovered})
    return rows


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
    source_y: Tensor | None = None,
    agree: str | int = ANY,
    loss: LossFunction | None = None,
    classes: bool | None = None,
    seed: int = 0,
    most_runs: int = MOST_UNIT_RUNS,
    memory: float = MEMORY,
    runs: Runs | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """A row for each unit of each target ablated by itself, the other units as they are.

    The columns are those of `ablate`'s rows, and `unit`: a number from 0, of the site's value flattened. The other
    arguments are those of `ablate`, and a resampled unit has the value that it has where the whole target is resampled.

    Args:
        most_runs: so often `x` may be run.
        progress: told of the finished rows of each target and draw, in the table `units`.

    Raises:
        ArgumentError: as `ablate`, or the units need more runs than `most_runs`; the text says how many.
    """
    loss, y, classes = loss_and_targets(x, y, loss, classes)
    progress = progress or Progress()
    drawn = draws(methods, repeats)
    rows: list[dict[str, Any]] = []
    with graph_of(network, x) as graph:
        found = _at_least_one(graph, targets, methods, units=True)
        total = n_unit_runs(graph, found, methods, repeats)
        if total > most_runs:
            problem = f"{total:,} runs of x are needed, more than {{most_runs}}={most_runs:,}:"
            remedy = "name fewer {targets} or {methods}, or lower {repeats}."
            raise ArgumentError(("most_runs", "targets", "methods", "repeats"), None, problem, remedy)
        data = _Data(graph, x, source, drawn, memory, _Agreement(y, source_y, agree), runs)
        labels = list(batches(y))
        intact = _Tally(loss, classes, counted=False)
        for number in range(len(data)):
            intact.add(data.runs[number].output(), labels[number])
        tallies: dict[Ablation, list[_Tally]] = {}
        with progress.bar("units", total * len(data)) as advance:
            for ablation, number, value, _ in data.replacements(found, drawn, seed=seed):
                n_units = graph.target_site(ablation.target).n_units
                if ablation not in tallies:
                    tallies[ablation] = [_Tally(loss, classes, counted=False) for _ in range(n_units)]
                for unit, outputs in _each_unit(data.runs[number], ablation.target, value):
                    tallies[ablation][unit].add(outputs, labels[number])
                if number == len(data) - 1:
                    finished = [
                        {
                            **{**_identity(graph, ablation), "unit": unit},
                            **{**tally.score.columns(), **_change(intact.score, tally.score)},
                        }
                        for unit, tally in enumerate(tallies.pop(ablation))
                    ]
                    progress.rows("units", finished)
                    rows += finished
                advance(n_units, f"{ablation.target} {ablation.method}")
    return rows


def _each_unit(run: Run, target: str, value: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each unit of a target with the outputs `(B, *output)` where it alone is replaced."""
    site = run.graph.target_site(target)
    (base,) = run.values([site.name])
    at_once = max(1, VARIANT_NUMBERS // (site.n_units * len(base)))
    value = value.expand(base.shape)
    for units in torch.arange(site.n_units, device=base.device).split(at_once):
        yield from zip(units.tolist(), _outputs_by_unit(run, target, base, value, units), strict=True)


def _outputs_by_unit(run: Run, target: str, base: Tensor, replacement: Tensor, units: Tensor) -> Tensor:
    """Outputs `(S, B, *output)`, in each one of `units` `(S,)` replaced; base and replacement are `(B, *site)`."""
    values = base.reshape(len(base), -1).expand(len(units), -1, -1).clone()
    rank = torch.arange(len(units), device=units.device)
    values[rank, :, units] = replacement.reshape(len(base), -1)[:, units].T
    return run.variants(target, values.reshape(len(units), *base.shape))


# --- shared ------------------------------------------------------------------------------------------------------


@contextmanager
def graph_of(network: nn.Module | ModelGraph, x: Tensor) -> Iterator[ModelGraph]:
    """The network's graph; within the block its module is in evaluation mode."""
    graph = network if isinstance(network, ModelGraph) else ModelGraph.trace(network, x[:2])
    with evaluating(graph.module):
        yield graph


def check_drawn(graph: ModelGraph, targets: Sequence[str], methods: Sequence[Method], *, units: bool = False) -> None:
    """Each target has a method that it can be ablated by, and units where they are asked for.

    Raises:
        ArgumentError: one has none.
    """
    for target in targets:
        if graph.target_site(target).kind == "parameter":
            if units:
                raise _cannot(f"{{targets}}: {target} is a parameter: its numbers are not ablated one by one.")
            if not draws_of(graph, target, draws(methods, 1)):
                problem = f"{{methods}}: {target} is a parameter, which has no value on another example:"
                raise ArgumentError("methods", None, problem, "add zero.")


def _at_least_one(
    graph: ModelGraph, targets: Sequence[str] | None, methods: Sequence[Method], *, units: bool = False
) -> list[str]:
    found = ablation_targets(graph, targets)
    check_drawn(graph, found, methods, units=units)
    if not found:
        able = ", ".join(can_be_ablated(graph)) or "(none)"
        problem = f"the network has no inner site to ablate, only {able}:"
        raise ArgumentError("targets", None, problem, "name {targets}.")
    return found


def loss_and_targets(
    x: Tensor, y: Tensor, loss: LossFunction | None, classes: bool | None
) -> tuple[LossFunction, Tensor, bool]:
    """The loss, `y` in the dtype that losses take, and whether `y` are classes.

    Raises:
        ArgumentError: there are not as many targets as examples, no example, or the targets are no classes.
    """
    if len(x) != len(y) or not len(x):
        problem = f"x has {len(x)} examples, y has {len(y)}:"
        raise ArgumentError(("x", "y"), None, problem, "give one y for each x, and at least one.")
    integers = not (y.is_floating_point() or y.is_complex())
    if classes is None:
        classes = integers
    if classes and (not integers or y.dim() != 1):
        problem = f"y has the shape {tuple(y.shape)} and dtype {y.dtype}: classes are (N,) integers from 0."
        raise ArgumentError("y", None, problem)
    if integers:
        y = y.long() if classes else y.float()
    return loss or (functional.cross_entropy if classes else loss_of_values(functional.mse_loss)), y, classes


def _identity(graph: ModelGraph, ablation: Ablation | None) -> dict[str, Any]:
    if ablation is None:
        return {"target": NONE, "role": NONE, "kind": NONE, "method": NONE, "repeat": 1}
    return {
        "target": ablation.target,
        "role": graph.role(ablation.target),
        "kind": graph.kind(ablation.target),
        "method": ablation.method,
        "repeat": ablation.repeat,
    }


def _change(intact: Score, result: Score) -> dict[str, float]:
    return {"accuracy_drop": intact.accuracy - result.accuracy, "loss_increase": result.loss - intact.loss}

"""Can a network, or a rotation of a site, be trained to carry chosen variables at a chosen site? (IIT, DAS)

An ordinarily trained network is trained on by interchange interventions: what it has at a site is partly replaced by
what it has there on a source example, and its answer should become the counterfactual label, that of the data set's
causal model with the chosen variables taken from the source. The share of pairs on which it does is the interchange
intervention accuracy, IIA, reported before and after, and beside controls.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.batches import outputs_of
from mi_runner.config.experiment_schemas import Alignment, Control, IitConfig, Sources, Trained
from mi_runner.datasets.causal_models import CausalModel
from mi_runner.errors import ConfigError, RunFailed, one_line
from mi_runner.experiments import Result, Setting, iit_figures
from mi_runner.graph.model_graph import ModelGraph, Site, evaluating
from mi_runner.methods.alignment import Rotation, Units
from mi_runner.methods.interchange import (
    Aligned,
    InterchangeTraining,
    Pairs,
    answered_rightly,
    draw_pairs,
    not_in,
    task_rightly,
    train_by_interchange,
    trained_parameters,
)
from mi_runner.progress import log
from mi_runner.statistics import NONE, SHARE, wilson_interval
from mi_runner.training.evaluation import loss_function, predictions
from mi_runner.training.optimizers import make_optimizer
from mi_runner.training.options import TrainingOptions

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_ROTATION_NUMBERS = 20_000_000
"""Numbers of a rotation's directions (80 MB); its gradient and the optimizer's state have three times as many."""

REHEARSED = 3
"""Examples on which a step of the training is tried before anything is trained."""

SUBSETS = ("all", "changed", "unchanged")
SUMMARY = ("iia", "iia_changed", "iia_unchanged", "task_accuracy")

CELL = ("variables", "trained_site")
"""The columns that name a cell in tables where `site` is what was swapped, in a control another one."""

KEYS = {
    "metrics": ("phase", "control", *CELL, "site", "alignment", "subset"),
    "overview": ("phase", "control", *CELL, "site"),
    "history": ("variables", "site", "control", "step"),
    "pairs": ("variables", "site", "pair"),
    "directions": ("variables", "site", "place", "direction", "unit"),
    "ordinary_training": ("epoch",),
}

MEASURES = dict.fromkeys((*SUMMARY, *(f"{figure}_before" for figure in SUMMARY)), SHARE)


RATES = {
    Trained.network: "experiment.learning_rate",
    Trained.rotation: "experiment.rotation_learning_rate",
    Trained.both: "experiment.learning_rate and experiment.rotation_learning_rate",
}
"""What to lower where a training diverges."""


@dataclass(frozen=True)
class Cell:
    """One set of variables at one site: a row, or rather some rows, of the table.

    Attributes:
        target: a site, edge or path.
        places: for each source of a pair the variables that are taken from it.
    """

    variables: tuple[str, ...]
    target: str
    places: tuple[tuple[str, ...], ...]

    @property
    def columns(self) -> dict[str, str]:
        """What identifies the cell in a table."""
        return {"variables": "+".join(self.variables), "site": self.target}

    @property
    def name(self) -> str:
        """What identifies it in the summary: `circularity+color/conv1`."""
        return "/".join(self.columns.values())


# --- before any training -------------------------------------------------------------------------------------------


def check(setting: Setting[IitConfig]) -> None:
    """The data set has a causal model with the variables, the network the site, and the site room for them.

    Raises:
        ConfigError: it hasn't, or options contradict each other; the text says what to type.
    """
    config, graph = setting.config, setting.graph()
    causal_model = _causal_model(setting)
    _check_options(config)
    for cell in cells(setting, graph, causal_model):
        _check_room(config, cell, graph.target_site(cell.target))
        _rehearse(setting, graph, cell)


def cells(setting: Setting[IitConfig], graph: ModelGraph, causal_model: CausalModel) -> list[Cell]:
    """Every set of variables at every site that the options ask for, sets first.

    Raises:
        ConfigError: a variable or site is not there, or named twice; the text lists those that are.
    """
    config = setting.config
    sets = _sets(config.variables, causal_model)
    able = [name for name, site in graph.sites.items() if not site.obstacle]
    sites = [config.site] if isinstance(config.site, str) else config.site
    if sites is None:
        sites = [name for name in able if name not in (*graph.inputs, graph.output)][:1]
        if not sites:
            raise ConfigError(f"the network has no inner site: type experiment.site=..., one of {', '.join(able)}.")
    if not isinstance(sites, list) or not sites or not all(isinstance(site, str) for site in sites):
        raise ConfigError(f"experiment.site={config.site}: name a site, or several as [conv1,fc1].")
    if len(set(sites)) < len(sites):
        raise ConfigError(f"experiment.site=[{','.join(sites)}]: name each site once.")
    for target in sites:
        site = graph.target_site(target)
        if site.obstacle:
            raise ConfigError(
                f"experiment.site={target}: its value can't be swapped, because {site.name} {site.obstacle}. "
                f"Sites that can: {', '.join(able)}."
            )
    separate = config.sources is Sources.multi
    return [
        Cell(names, target, tuple((name,) for name in names) if separate else (names,))
        for names in sets
        for target in sites
    ]


def _sets(given: Any, causal_model: CausalModel) -> list[tuple[str, ...]]:
    """The sets of variables that are asked for, each in the order in which it was typed."""
    if given is None:
        # With all of them the counterfactual label is the source's own.
        sets: list[Any] = [list(causal_model.variables[:-1] or causal_model.variables)]
    elif isinstance(given, str):
        sets = [[given]]
    elif isinstance(given, list) and given and all(isinstance(part, list) for part in given):
        sets = given
    else:
        sets = [given]
    for names in sets:
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ConfigError(
                f"experiment.variables={given}: name variables as [a,b], or several sets as [[a],[b]]. "
                f"There are: {', '.join(causal_model.variables)}."
            )
        for name in names:
            causal_model.column(name)
        if len(set(names)) < len(names):
            raise ConfigError(f"experiment.variables=[{','.join(names)}]: name each variable once.")
    if len({frozenset(names) for names in sets}) < len(sets):
        raise ConfigError(f"experiment.variables={given}: name each set once.")
    return [tuple(names) for names in sets]


def _causal_model(setting: Setting[IitConfig]) -> CausalModel:
    """The data set's causal model, whose labels are the data set's.

    Raises:
        ConfigError: it has none, or another one.
    """
    dataset = setting.dataset
    if dataset.causal_model is None:
        raise ConfigError(
            f"dataset={dataset.name} has no causal model, as it is configured: experiment=iit needs one to say what a "
            "counterfactual label is. Those with one: ellipses, mod_add, mnist (all digits, or a choice such as [4,5] "
            "that holds 2·half + parity for every half and parity of its digits), mnist01, arrays with the arrays "
            "variables, variables_train, variables_test and mechanism."
        )
    for split in ("train", "test"):
        y, values = getattr(dataset, f"y_{split}"), getattr(dataset.causal_model, f"values_{split}")
        labels = dataset.causal_model.mechanism(values)
        if labels.shape != y.shape or labels.dtype != y.dtype:
            raise ConfigError(
                f"dataset={dataset.name}: the causal model gives {tuple(labels.shape)} {labels.dtype} for y_{split}, "
                f"which is {tuple(y.shape)} {y.dtype}."
            )
        wrong = (labels != y).nonzero().flatten().tolist()
        if wrong:
            first = wrong[0]
            raise ConfigError(
                f"dataset={dataset.name}: the causal model gives another label than y_{split} for {len(wrong)} of "
                f"{len(y)} examples, the first of them number {first}: {labels[first].item()} for "
                f"{y[first].item()}. Correct the variables or the mechanism."
            )
    return dataset.causal_model


def _check_options(config: IitConfig) -> None:
    if config.alignment is Alignment.units and config.train is not Trained.network:
        raise ConfigError(
            f"experiment.train={config.train.name} trains a rotation, and experiment.alignment=units has none: type "
            "experiment.train=network or experiment.alignment=rotation."
        )
    if config.alignment is Alignment.rotation and config.offsets is not None:
        raise ConfigError("experiment.offsets is for experiment.alignment=units; a rotation's directions have none.")
    if len(set(config.controls)) < len(config.controls):
        names = ",".join(control.name for control in config.controls)
        raise ConfigError(f"experiment.controls=[{names}]: name each control once.")


def _check_room(config: IitConfig, cell: Cell, site: Site) -> None:
    """The site has room for all places, and no unit is in two of them."""
    n, size = len(cell.places), config.size
    what = "units" if config.alignment is Alignment.units else "dimensions"
    fitting = site.n_units // n
    if config.alignment is Alignment.rotation:
        fitting = min(fitting, MOST_ROTATION_NUMBERS // site.n_units // n)
    smaller = f"experiment.size={fitting} or less, or " if fitting else ""
    if n * size > site.n_units:
        of_places = f"{n} variables of {size}" if n > 1 else f"{size}"
        raise ConfigError(
            f"experiment.size={size}: {of_places} {what} are more than {cell.target} has, {site.n_units}. "
            f"Type {smaller}another experiment.site."
        )
    if config.alignment is Alignment.rotation:
        if n * size * site.n_units > MOST_ROTATION_NUMBERS:
            raise ConfigError(
                f"experiment.size={size}: {n * size} directions of {site.n_units} numbers are more than "
                f"{MOST_ROTATION_NUMBERS:,}. Type {smaller}another experiment.site."
            )
        return
    offsets = _offsets(config, cell)
    if len(offsets) != n:
        raise ConfigError(
            f"experiment.offsets={offsets}: give one for each place, {n} here "
            f"({', '.join('+'.join(place) for place in cell.places)})."
        )
    for place, offset in zip(cell.places, offsets, strict=True):
        if offset + size > site.n_units:
            raise ConfigError(
                f"experiment.offsets={offsets}: units {offset} to {offset + size - 1} of {'+'.join(place)} are not all "
                f"in {cell.target}, whose units are 0 to {site.n_units - 1}."
            )
    by_offset = sorted(zip(offsets, cell.places, strict=True))
    for (first, one), (second, other) in itertools.pairwise(by_offset):
        if first + size > second:
            behind = ",".join(str(number * size) for number in range(n))
            raise ConfigError(
                f"experiment.offsets={offsets}: units {second} to {first + size - 1} belong to both {'+'.join(one)} "
                f"and {'+'.join(other)}. Type offsets at least experiment.size={size} apart, as [{behind}]."
            )


def _offsets(config: IitConfig, cell: Cell) -> list[int]:
    if config.offsets is not None:
        return list(config.offsets)
    return [number * config.size for number in range(len(cell.places))]


def _rehearse(setting: Setting[IitConfig], graph: ModelGraph, cell: Cell) -> None:
    """A step of the training on a few examples, without its end: what can't run is found before training.

    Raises:
        ConfigError: it fails, or what is to be trained has no influence on the output.
    """
    config, dataset = setting.config, setting.dataset
    x, y = dataset.x_train[:REHEARSED], dataset.y_train[:REHEARSED]
    aligned = _aligned(setting, setting.model, graph, cell)
    base = torch.arange(len(x), device=x.device)
    sources = base.flip(0)[:, None].expand(-1, len(cell.places))
    network, rotation = trained_parameters(aligned, _how(setting).what)
    trained = network or rotation
    with evaluating(setting.model), torch.random.fork_rng(), torch.enable_grad():
        try:
            outputs = aligned.outputs_on(x, base, sources)
            loss = loss_function(setting.training, dataset)(outputs, y)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{cell.target} can't be swapped: {one_line(error)}. Name another experiment.site."
            ) from error
    found = torch.autograd.grad(loss, trained, allow_unused=True) if loss.requires_grad and trained else [None]
    if config.epochs and all(gradient is None for gradient in found):
        raise ConfigError(
            f"experiment.train={config.train.name} has nothing to train: no weight of it bears on the output by way of "
            f"{cell.target}. Name another experiment.site or experiment.train."
        )


# --- the run -------------------------------------------------------------------------------------------------------


def metric_names(setting: Setting[IitConfig]) -> list[str]:
    """The summary's names: the first cell's figures, what they were before, its controls; and those of every cell."""
    graph = setting.graph()
    found = cells(setting, graph, _causal_model(setting))
    controls = [f"iia/{control.name}" for control in _controls(setting, graph, found[0])]
    of_cells = [f"{figure}/{cell.name}" for cell in found for figure in SUMMARY]
    return [*SUMMARY, *(f"{figure}_before" for figure in SUMMARY), *controls, *of_cells]


def networks(setting: Setting[IitConfig]) -> dict[str, TrainingOptions]:
    """The network before its training, if that control is asked for."""
    if Control.untrained not in setting.config.controls:
        return {}
    return {Control.untrained.name: replace(setting.training, epochs=0)}


def cost(setting: Setting[IitConfig]) -> dict[str, int]:
    """Too little to say."""
    return {}


def run(setting: Setting[IitConfig]) -> Result:
    """IIA and task accuracy before and after the training, and of the controls, for each cell."""
    config, causal_model, graph = setting.config, _causal_model(setting), setting.graph()
    found = cells(setting, graph, causal_model)
    tables: dict[str, Any] = {"metrics": [], "history": [], "pairs": []}
    directions: list[DataFrame] = []
    drawn: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    seconds = 0.0
    unseen = _unseen(setting)
    _warn_of_a_network_that_learned_nothing(setting)
    for number, cell in enumerate(found):
        trial = _Trial(setting, graph, cell, causal_model, unseen)
        began = time.perf_counter()
        after = trial.train(NONE, trial.start())
        seconds += time.perf_counter() - began
        networks = {("before", NONE): trial.start(), ("after", NONE): after}
        for control in _controls(setting, graph, cell):
            networks["control", control.name] = trial.control(control, after)
        outcomes = {name: trial.measured(network) for name, network in networks.items()}
        rows = [row for name, network in networks.items() for row in trial.rows(*name, network, outcomes[name])]
        tables["metrics"] += rows
        setting.progress.rows("metrics", rows)
        tables["history"] += trial.history
        tables["pairs"] += trial.pair_rows(outcomes["before", NONE], outcomes["after", NONE])
        if isinstance(after.alignment, Rotation):
            directions.append(_directions(cell, after.alignment))
        before_after = {"_before": outcomes["before", NONE], "": outcomes["after", NONE]}
        if number == 0:
            metrics |= {
                f"{figure}{suffix}": value
                for suffix, outcome in before_after.items()
                for figure, value in outcome.summary().items()
            }
            metrics |= {f"iia/{name}": outcome.iia() for (_, name), outcome in outcomes.items() if name != NONE}
            drawn["training"] = iit_figures.history([row for row in trial.history if row["control"] == NONE])
            drawn["controls"] = iit_figures.controls(rows)
            drawn |= trial.examples(outcomes["after", NONE])
        metrics |= {f"{figure}/{cell.name}": value for figure, value in before_after[""].summary().items()}
    if len(found) > 1:
        drawn["iia"] = iit_figures.heat_map([row for row in tables["metrics"] if row["phase"] == "after"])
    tables["overview"] = _overview(tables["metrics"])
    if directions:
        import pandas as pd

        tables["directions"] = pd.concat(directions, ignore_index=True)
    if setting.history:
        tables["ordinary_training"] = list(setting.history)
    return Result(
        tables=tables,
        keys=KEYS,
        metrics={name: metrics[name] for name in metric_names(setting)},
        measures=MEASURES,
        figures=drawn,
        shown=("overview",),
        parquet=frozenset({"directions"}),
        timings={"interchange_training": seconds},
        model=after.model if len(found) == 1 and config.train is not Trained.rotation else None,
    )


def _warn_of_a_network_that_learned_nothing(setting: Setting[IitConfig]) -> None:
    y = setting.dataset.y_test
    answers = predictions(outputs_of(setting.model, setting.dataset.x_test), classes=setting.dataset.has_classes)
    if bool((answers == answers[0]).all()) and not bool((y == y[0]).all()):
        log.warning(
            f"the network answers every test example with {answers[0].item():g}: it learned nothing from its ordinary "
            "training, and interchange interventions will teach it nothing. Try another seed, or more training.epochs."
        )


def _overview(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The table of metrics with the subsets side by side: a third of the rows, for reading."""
    found = []
    for of_all, changed, unchanged in zip(*(iter(rows),) * len(SUBSETS), strict=True):
        columns = (*KEYS["overview"], "iia", "iia_low", "iia_high")
        apart = {"iia_changed": changed["iia"], "iia_unchanged": unchanged["iia"]}
        found.append({**{name: of_all[name] for name in columns}, **apart, "task_accuracy": of_all["task_accuracy"]})
    return found


@dataclass(frozen=True)
class _Outcome:
    """How a network answered.

    Attributes:
        right: `(P,)` bool, whether it gave each test pair's counterfactual label.
        answers: `(P,)` what it gave.
        changed: `(P,)` bool, of the pairs.
        task: `(N,)` bool, whether it answers each test example rightly without intervention.
    """

    right: Tensor
    answers: Tensor
    changed: Tensor
    task: Tensor

    def of(self, subset: str) -> Tensor:
        """`right` of the pairs of a subset."""
        return {"all": self.right, "changed": self.right[self.changed], "unchanged": self.right[~self.changed]}[subset]

    def iia(self, subset: str = "all") -> float:
        """Share of right answers; NaN where the subset is empty."""
        right = self.of(subset)
        return int(right.sum()) / len(right) if len(right) else math.nan

    def summary(self) -> dict[str, float]:
        """Figure → value, in the order of SUMMARY."""
        values = [*(self.iia(subset) for subset in SUBSETS), float(self.task.double().mean())]
        return dict(zip(SUMMARY, values, strict=True))


class _Trial:
    """The work on one cell.

    Attributes:
        history: rows of all trainings so far.
        pairs: of test examples.
    """

    def __init__(
        self, setting: Setting[IitConfig], graph: ModelGraph, cell: Cell, causal_model: CausalModel, unseen: Tensor
    ) -> None:
        self.setting, self.graph, self.cell, self.causal_model = setting, graph, cell, causal_model
        self.config, self.dataset = setting.config, setting.dataset
        self.history: list[dict[str, Any]] = []
        everything = torch.arange(len(self.dataset.x_train), device=unseen.device)
        self.training_pairs = self._pairs("train", causal_model.values_train, self.config.train_pairs, everything)
        self.pairs = self._pairs("test", causal_model.values_test, self.config.test_pairs, unseen)

    def _pairs(self, split: str, values: Tensor, n: int, among: Tensor) -> Pairs:
        draw = chance.generator(self.setting.seed, "pairs", split)
        return draw_pairs(self.causal_model, values, self.cell.places, n, among=among, generator=draw)

    def start(self) -> Aligned:
        """The ordinarily trained network, with the places that the training begins with."""
        return _aligned(self.setting, self.setting.model, self.graph, self.cell)

    def train(self, control: str, start: Aligned, pairs: Pairs | None = None) -> Aligned:
        """What the training makes of a copy of `start`; its history is kept under the control's name."""
        setting, dataset = self.setting, self.dataset
        trained = start.copied(dataset.x_test[:2], setting.leaves)

        def evaluate() -> dict[str, float]:
            error = _orthonormality_error(trained.alignment)
            return {**self.measured(trained).summary(), **({} if error is None else {"orthonormality_error": error})}

        try:
            rows = train_by_interchange(
                trained,
                dataset,
                self.training_pairs if pairs is None else pairs,
                _how(setting),
                loss_function(setting.training, dataset),
                seed=setting.seed,
                evaluate=evaluate,
                progress=setting.progress,
                described=f"{self.cell.name}{f' {control}' if control != NONE else ''}",
            )
        except FloatingPointError as error:
            raise RunFailed(f"{error} Try a smaller {RATES[self.config.train]}.") from error
        columns = dict.fromkeys(key for row in rows for key in row)
        self.history += [
            {**self.cell.columns, "control": control, **{column: row.get(column) for column in columns}} for row in rows
        ]
        return trained

    def control(self, control: Control, after: Aligned) -> Aligned:
        """The network and alignment of a control."""
        setting, cell, config = self.setting, self.cell, self.config
        draw = chance.generator(setting.seed, "control", control.name, cell.name)
        if control is Control.shuffled_labels:
            order = torch.randperm(len(self.training_pairs), generator=draw).to(self.training_pairs.labels.device)
            shuffled = replace(self.training_pairs, labels=self.training_pairs.labels[order])
            return self.train(control.name, self.start(), shuffled)
        if control is Control.untrained:
            model = setting.networks[control.name].model
            untrained = _aligned(setting, model, setting.graph(model), cell)
            return self.train(control.name, untrained) if config.train is Trained.rotation else untrained
        graph, n = after.graph, len(cell.places)
        if control is Control.other_site:
            target = _other_site(config, graph, cell)
            assert target is not None, "such a control is not measured"
            alignment = _alignment(replace(config, offsets=None), graph.target_site(target), cell, draw)
            return Aligned(after.model, graph, target, alignment.to(self.dataset.x_test.device))
        site = graph.target_site(cell.target)
        if control is Control.random_rotation:
            alignment = Rotation(site.shape, n, config.size, generator=draw)
        else:
            free = _free_units(config, site, cell)
            chosen = free[torch.randperm(len(free), generator=draw)[: n * config.size]]
            alignment = Units(site.shape, chosen.split(config.size))
        return Aligned(after.model, graph, cell.target, alignment.to(self.dataset.x_test.device))

    def measured(self, aligned: Aligned) -> _Outcome:
        """How a network answers the test pairs, and the test examples."""
        right, outputs = answered_rightly(aligned, self.dataset, self.pairs)
        answers = predictions(outputs, classes=self.dataset.has_classes)
        return _Outcome(right, answers, self.pairs.changed, task_rightly(aligned, self.dataset))

    def rows(self, phase: str, control: str, network: Aligned, outcome: _Outcome) -> list[dict[str, Any]]:
        """The rows of a network in metrics.csv; site and alignment are what was swapped, in a control another one."""
        alignment = Alignment.rotation if isinstance(network.alignment, Rotation) else Alignment.units
        task = int(outcome.task.sum())
        task_low, task_high = wilson_interval(task, len(outcome.task))
        rows = []
        for subset in SUBSETS:
            right = outcome.of(subset)
            low, high = wilson_interval(int(right.sum()), len(right))
            rows.append(
                {
                    "phase": phase,
                    "control": control,
                    **dict(zip(CELL, self.cell.columns.values(), strict=True)),
                    "site": network.target,
                    "alignment": alignment.name,
                    "size": self.config.size,
                    "subset": subset,
                    "iia": outcome.iia(subset),
                    "iia_low": low,
                    "iia_high": high,
                    "task_accuracy": task / len(outcome.task),
                    "task_low": task_low,
                    "task_high": task_high,
                    "n_pairs": len(right),
                }
            )
        return rows

    def pair_rows(self, before: _Outcome, after: _Outcome) -> list[dict[str, Any]]:
        """A row for each test pair: its examples (indices into the test set), labels and answers."""
        y, pairs = self.dataset.y_test, self.pairs
        columns = {
            "base": pairs.base,
            **{f"source_{'+'.join(place)}": pairs.sources[:, n] for n, place in enumerate(self.cell.places)},
            "base_label": y[pairs.base],
            "counterfactual_label": pairs.labels,
            "answer_before": before.answers,
            "answer_after": after.answers,
        }
        lists = [column.tolist() for column in columns.values()]
        return [
            {**self.cell.columns, "pair": number, **dict(zip(columns, row, strict=True))}
            for number, row in enumerate(zip(*lists, strict=True))
        ]

    def examples(self, outcome: _Outcome) -> dict[str, Any]:
        """The picture of some test pairs: base, sources, and the test example nearest to the counterfactual."""
        values = self.causal_model.values_test
        spread = (values.amax(0) - values.amin(0)).clamp(min=1e-12)
        wanted = values[self.pairs.base].clone()
        for place, variables in enumerate(self.cell.places):
            for variable in variables:
                column = self.causal_model.column(variable)
                wanted[:, column] = values[self.pairs.sources[:, place], column]
        some = slice(iit_figures.MOST_EXAMPLES)
        nearest = torch.cdist(wanted[some] / spread, values / spread).argmin(1)
        return iit_figures.examples(
            self.dataset, self.cell.places, self.pairs.base[some], self.pairs.sources[some], nearest,
            self.pairs.labels[some], outcome.answers[some],
        )  # fmt: skip


# --- alignments ----------------------------------------------------------------------------------------------------


def _alignment(config: IitConfig, site: Site, cell: Cell, generator: torch.Generator) -> Units | Rotation:
    if config.alignment is Alignment.rotation:
        return Rotation(site.shape, len(cell.places), config.size, generator=generator)
    return Units(site.shape, _places(config, cell))


def _places(config: IitConfig, cell: Cell) -> list[Tensor]:
    return [torch.arange(offset, offset + config.size) for offset in _offsets(config, cell)]


def alignment_of(setting: Setting[IitConfig], graph: ModelGraph, cell: Cell) -> Units | Rotation:
    """The places that the training begins with: the units that the options name, or directions drawn at random."""
    draw = chance.generator(setting.seed, "rotation", cell.target)
    alignment = _alignment(setting.config, graph.target_site(cell.target), cell, draw)
    return alignment.to(setting.dataset.x_train.device)


def _aligned(setting: Setting[IitConfig], model: nn.Module, graph: ModelGraph, cell: Cell) -> Aligned:
    return Aligned(model, graph, cell.target, alignment_of(setting, graph, cell))


def _orthonormality_error(alignment: Units | Rotation) -> float | None:
    """The largest entry of |R Rᵀ − 1|."""
    if isinstance(alignment, Units):
        return None
    rows = alignment.weight.detach().double()
    return float((rows @ rows.T - torch.eye(len(rows), dtype=rows.dtype, device=rows.device)).abs().max())


def _controls(setting: Setting[IitConfig], graph: ModelGraph, cell: Cell) -> list[Control]:
    """The controls that are asked for, but for those that this network and site have no room for."""
    config = setting.config
    needed = len(cell.places) * config.size
    site = graph.target_site(cell.target)
    room = {
        Control.other_site: _other_site(config, graph, cell) is not None,
        Control.other_units: len(_free_units(config, site, cell)) >= needed,
        Control.random_rotation: needed * site.n_units <= MOST_ROTATION_NUMBERS,
    }
    return [control for control in config.controls if room.get(control, True)]


def _free_units(config: IitConfig, site: Site, cell: Cell) -> Tensor:
    """The site's units that no place has; all, where places are directions."""
    free = torch.ones(site.n_units, dtype=torch.bool)
    if config.alignment is Alignment.units:
        free[torch.cat(_places(config, cell))] = False
    return free.nonzero().flatten()


def _other_site(config: IitConfig, graph: ModelGraph, cell: Cell) -> str | None:
    """The site of the control: the next layer with weights that has room, else the last before; None without any.

    A layer with weights, because what only rectifies or pools the cell's site has the same units in the same places.
    """
    own = graph.target_site(cell.target).name
    names = list(graph.sites)
    needed = len(cell.places) * config.size
    most = MOST_ROTATION_NUMBERS // needed if config.alignment is Alignment.rotation else math.inf
    layers = [
        name
        for name in names
        if name not in (own, graph.output)
        and _has_weights(graph.submodule(name))
        and not graph.sites[name].obstacle
        and needed <= graph.sites[name].n_units <= most
    ]
    later = [name for name in layers if names.index(name) > names.index(own)]
    return later[0] if later else layers[-1] if layers else None


def _has_weights(module: nn.Module | None) -> bool:
    return module is not None and any(True for _ in module.parameters())


def _directions(cell: Cell, rotation: Rotation) -> DataFrame:
    """A rotation's directions, a row for each number: its place, its direction in it, its unit of the site."""
    import pandas as pd

    weight = rotation.weight.detach().cpu().numpy()
    place, direction, unit = np.indices((len(cell.places), rotation.size, weight.shape[1]), dtype=np.int32)
    names = pd.Categorical.from_codes(place.ravel(), ["+".join(variables) for variables in cell.places])
    columns = {"place": names, "direction": direction.ravel(), "unit": unit.ravel()}
    return pd.DataFrame({**cell.columns, **columns, "weight": weight.ravel()})


# --- shared --------------------------------------------------------------------------------------------------------


def _unseen(setting: Setting[IitConfig]) -> Tensor:
    """The test examples that are no training examples, of which pairs are made.

    All of them where there are not two such, as with modular addition, whose inputs are few.
    """
    dataset = setting.dataset
    found = not_in(dataset.x_test, dataset.x_train)
    n_known = len(dataset.x_test) - len(found)
    if len(found) < 2:
        log.info(f"{n_known:,} of {len(dataset.x_test):,} test examples equal a training example: pairs have them too")
        return torch.arange(len(dataset.x_test), device=dataset.x_test.device)
    if n_known:
        log.info(f"{n_known:,} of {len(dataset.x_test):,} test examples equal a training example: no pair has them")
    return found


def _how(setting: Setting[IitConfig]) -> InterchangeTraining:
    """The options of the training; the optimizer's rule is that of the ordinary training."""
    config = setting.config
    return InterchangeTraining(
        what=config.train.value,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        rotation_learning_rate=config.rotation_learning_rate,
        warmup_steps=config.warmup_steps,
        gradient_clip=config.gradient_clip,
        task_weight=config.task_weight,
        optimizer=lambda parameters, rate: make_optimizer(parameters, replace(setting.training, learning_rate=rate)),
    )

"""Which parts of a network does its answer depend on? (REMIX, day 1)

Each site, edge or path is ablated: its value is replaced by zero, by its mean, or by its value on another example.
Two networks that answer equally well may differ in what they lose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.batches import BATCH, batches, outputs_of
from mi_runner.config.schemas import AblationConfig, Granularity, Method, Split
from mi_runner.errors import ConfigError, one_line
from mi_runner.experiments import Result, Setting, figures
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
from mi_runner.statistics import ANY, DIFFERENCE_OF_SHARES, NONE, NOT_NEGATIVE, SHARE
from mi_runner.training.evaluation import LossFunction, Score, confusion, loss_function, score

VARIANT_NUMBERS = 4_000_000
"""Numbers in the replacement values of the units that run at once: 16 MB, so that they stay near the processor."""

MOST_UNIT_RUNS = 200_000
"""Units times methods times repeats that are run without objection."""

FIGURES = ("accuracy", "loss")
"""What the summary has of the intact network, and of each target and method as a mean over repeats."""

ABLATION = ("target", "kind", "method")
"""The columns that name an ablation; the intact network has none in each of them. `repeat` counts draws of one."""

KEYS = {
    "metrics": ABLATION,
    "confusion": (*ABLATION, "label", "predicted"),
    "contributions": ("summand",),
    "units": (*ABLATION, "unit"),
}

MEASURES = {
    **{"accuracy": SHARE, "loss": NOT_NEGATIVE, "accuracy_drop": DIFFERENCE_OF_SHARES, "loss_increase": ANY},
    **{"label_logit": ANY, "max_error": NOT_NEGATIVE},
}

REHEARSED = 3
"""Test examples on which every ablation is tried before anything is trained."""

SPLIT_TOLERANCE = 1e-4
"""The summands of the logits must add up to them within this, relative to the largest logit."""


def check(setting: Setting) -> None:
    """The model can be traced, and has the targets that are asked for; each can be ablated.

    Raises:
        ConfigError: it can't, or hasn't; the text lists its sites and edges. Or an ablation fails; it says which.
    """
    graph = setting.graph()
    config = _config(setting)
    found = targets(graph, config.targets)
    if not found:
        raise ConfigError(
            f"the network has no inner site to ablate, only {_can_be_ablated(graph)}: name experiment.targets."
        )
    if config.granularity is Granularity.unit:
        n_runs = sum(graph.target_site(target).n_units for target in found) * len(_draws(config))
        if n_runs > MOST_UNIT_RUNS:
            raise ConfigError(
                f"experiment.granularity=unit asks for {n_runs:,} runs of the test set, more than {MOST_UNIT_RUNS:,}: "
                "name fewer experiment.targets or experiment.methods, or lower experiment.repeats."
            )
    _rehearse(setting, graph, found)


def metric_names(setting: Setting) -> list[str]:
    """The summary's names: `accuracy`, `loss`, and both for each target and method, `accuracy/x/add/zero`."""
    config = _config(setting)
    found = targets(setting.graph(), config.targets)
    ablated = [
        f"{figure}/{target}/{method.name}" for target in found for method in config.methods for figure in FIGURES
    ]
    return [*FIGURES, *ablated]


def run(setting: Setting) -> Result:
    """The table of accuracy and loss under each ablation, the intact network first."""
    graph, config, dataset = setting.graph(), _config(setting), setting.dataset
    loss = loss_function(setting.training, dataset)
    x, y = dataset.x_test, dataset.y_test
    found = targets(graph, config.targets)
    draws = _draws(config)

    rows: list[dict[str, Any]] = []
    confusions: list[dict[str, Any]] = []
    metrics: dict[str, float] = {}
    intact_outputs = outputs_of(graph, x)
    intact = score(intact_outputs, y, loss, classes=dataset.has_classes)

    def measured(ablation: Ablation | None, outputs: Tensor) -> None:
        result = score(outputs, y, loss, classes=dataset.has_classes)
        row = {**_identity(graph, ablation), **result.columns(), **_change(intact, result)}
        rows.append(row)
        setting.progress.rows("metrics", [row])
        counts = confusion(outputs, y, classes=dataset.has_classes)
        confusions.extend({**_identity(graph, ablation), **count} for count in counts)

    measured(None, intact_outputs)
    with setting.progress.bar("ablations", len(found) * len(draws)) as advance:
        for target in found:
            source = SiteValues(graph, _source(setting), graph.target_site(target))
            for method, repeat in draws:
                ablation = Ablation(target, method, repeat)
                measured(ablation, _ablated_outputs(setting, graph, ablation, source))
                advance(1, f"{target} {method.name}")

    metrics |= {"accuracy": intact.accuracy, "loss": intact.loss}
    for target in found:
        for method in config.methods:
            of_method = [row for row in rows if (row["target"], row["method"]) == (target, method.name)]
            for figure in FIGURES:
                metrics[f"{figure}/{target}/{method.name}"] = sum(row[figure] for row in of_method) / len(of_method)

    tables: dict[str, Sequence[Any]] = {"metrics": rows, "confusion": confusions}
    shown = ["metrics"]
    contributions = _contributions(graph, x, y, dataset.has_classes)
    if contributions:
        tables["contributions"] = contributions
        shown.append("contributions")
    if config.granularity is Granularity.unit:
        tables["units"] = list(_units(setting, graph, found, draws, loss, intact))
    drawn = {"accuracy": figures.ablation_accuracy(rows)}
    drawn |= figures.confusion([row for row in confusions if row["method"] == NONE], dataset.class_names)
    drawn |= figures.weight_images(graph, dataset)
    if config.granularity is Granularity.unit:
        drawn |= figures.unit_drops(tables["units"])
    return Result(
        tables=tables,
        keys=KEYS,
        metrics=metrics,
        measures=MEASURES,
        repeats=("repeat",),
        figures=drawn,
        shown=shown,
    )


# --- what is ablated ---------------------------------------------------------------------------------------------


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
    repeat: int


def targets(graph: ModelGraph, asked: Sequence[str] | None) -> list[str]:
    """What is ablated: what was asked for, or every inner site and every edge whose source feeds more than one site.

    Only what has floating-point values for each example can be ablated: there is no mean of indices, and no value of a
    parameter on another example.

    Raises:
        ConfigError: the graph has no such target, it can't be ablated, or one is named twice.
    """
    if asked is not None:
        for target in asked:
            site = graph.target_site(target)
            if site.obstacle:
                raise ConfigError(
                    f"experiment.targets: {target} can't be ablated, because {site.name} {site.obstacle}. "
                    f"Sites that can: {_can_be_ablated(graph)}."
                )
        if len(set(asked)) < len(asked) or not asked:
            raise ConfigError(f"experiment.targets={list(asked)}: name at least one target, each once.")
        return list(asked)
    outer = {*graph.inputs, graph.output}
    able = [name for name, site in graph.sites.items() if not site.obstacle]
    inner = [name for name in able if name not in outer]
    forked = [edge for name in able if len(graph.uses(name)) > 1 for edge in graph.uses(name)]
    return [*inner, *forked]


def _can_be_ablated(graph: ModelGraph) -> str:
    return ", ".join(name for name, site in graph.sites.items() if not site.obstacle) or "(none)"


def _draws(config: AblationConfig) -> list[tuple[Method, int]]:
    return [
        (method, repeat)
        for method in config.methods
        for repeat in range(1, (config.repeats if method is Method.resample else 1) + 1)
    ]


# --- how it is ablated -------------------------------------------------------------------------------------------


def replacements(setting: Setting, ablation: Ablation, source: SiteValues) -> Iterator[Tensor]:
    """The replacement values `(B, *site)` for consecutive batches of the test set.

    Means and resampled values are those of the examples of `experiment.source`. A resampled value comes from another
    example than the one it replaces, drawn with replacement; the draw depends on target and repeat alone.
    """
    x, site = setting.dataset.x_test, source.site
    if ablation.method is Method.resample:
        draw = chance.generator(setting.seed, "resample", ablation.target, ablation.repeat)
        if source.x is x:
            index = draw_others(len(x), generator=draw)
        else:
            index = torch.randint(len(source.x), (len(x),), generator=draw)
        for part in batches(index.to(x.device)):
            yield source.rows(part)
        return
    if ablation.method is Method.mean:
        value = mean(source.batches())
    else:
        value = torch.zeros(site.shape, dtype=site.dtype, device=x.device)
    for part in batches(x):
        yield value.expand(len(part), *site.shape)


@torch.no_grad()
def _ablated_outputs(setting: Setting, graph: ModelGraph, ablation: Ablation, source: SiteValues) -> Tensor:
    """Outputs `(N, K)` on the test set."""
    parts = zip(batches(setting.dataset.x_test), replacements(setting, ablation, source), strict=True)
    return torch.cat([run_with(graph, x, [Intervention(ablation.target, value)]) for x, value in parts])


def _outputs_by_unit(
    graph: ModelGraph, x: Tensor, target: str, base: Tensor, replacement: Tensor, units: Tensor
) -> Tensor:
    """Outputs `(S, B, *output)` with each of `units` `(S,)` ablated by itself; base and replacement are `(B, U)`."""
    values = base.expand(len(units), *base.shape).clone()
    rank = torch.arange(len(units), device=units.device)
    values[rank, :, units] = replacement[:, units].T
    return run_variants(graph, x, target, values.reshape(len(units), len(base), *graph.target_site(target).shape))


@torch.no_grad()
def _rehearse(setting: Setting, graph: ModelGraph, found: Sequence[str]) -> None:
    """Every target ablated once by every method, on a few examples: what can't run is found before training.

    Raises:
        ConfigError: an ablation fails; the text names its target and the error.
    """
    whole, config = setting.dataset, _config(setting)
    x = whole.x_test[:REHEARSED]
    few = replace(
        setting,
        dataset=replace(
            whole,
            x_train=whole.x_train[:REHEARSED],
            y_train=whole.y_train[:REHEARSED],
            x_test=x,
            y_test=whole.y_test[:REHEARSED],
        ),
    )
    with evaluating(setting.model), torch.random.fork_rng():
        for target in found:
            try:
                source = SiteValues(graph, _source(few), graph.target_site(target))
                for method in config.methods:
                    _ablated_outputs(few, graph, Ablation(target, method, 1), source)
                if config.granularity is Granularity.unit:
                    base = read_sites(graph, x, [source.site.name])[source.site.name].reshape(len(x), -1)
                    _outputs_by_unit(graph, x, target, base, base, torch.zeros(1, dtype=torch.int64, device=x.device))
            except ConfigError:
                raise
            except Exception as error:
                text = f"{target} can't be ablated: {one_line(error)}. Name other experiment.targets."
                raise ConfigError(text) from error


@torch.no_grad()
def _units(
    setting: Setting,
    graph: ModelGraph,
    found: Sequence[str],
    draws: Sequence[tuple[Method, int]],
    loss: LossFunction,
    intact: Score,
) -> Iterator[dict[str, Any]]:
    """A row for each unit of each target ablated by itself. Letters: U units, S of them at once."""
    dataset = setting.dataset
    x, y = dataset.x_test, dataset.y_test
    total = sum(graph.target_site(target).n_units for target in found) * len(draws)
    with setting.progress.bar("units", total) as advance:
        for target in found:
            site = graph.target_site(target)
            source = SiteValues(graph, _source(setting), site)
            for method, repeat in draws:
                ablation = Ablation(target, method, repeat)
                n_correct = torch.zeros(site.n_units, dtype=torch.int64, device=x.device)
                total_loss = torch.zeros(site.n_units, dtype=torch.float64, device=x.device)
                at_once = max(1, VARIANT_NUMBERS // (site.n_units * min(BATCH, len(x))))
                ranges = torch.arange(site.n_units, device=x.device).split(at_once)
                start = 0
                for part, replacement in zip(batches(x), replacements(setting, ablation, source), strict=True):
                    base = read_sites(graph, part, [site.name])[site.name].reshape(len(part), site.n_units)
                    replacement = replacement.reshape(len(part), site.n_units)
                    labels = y[start : start + len(part)]
                    start += len(part)
                    for units in ranges:
                        outputs = _outputs_by_unit(graph, part, target, base, replacement, units)
                        for rank_, unit in enumerate(units.tolist()):
                            result = score(outputs[rank_], labels, loss, classes=dataset.has_classes)
                            n_correct[unit] += result.n_correct
                            total_loss[unit] += result.loss * result.n
                rows = []
                for unit in range(site.n_units):
                    result = Score(len(x), int(n_correct[unit]), float(total_loss[unit]) / len(x))
                    identity = _identity(graph, ablation)
                    rows.append({**identity, "unit": unit, **result.columns(), **_change(intact, result)})
                setting.progress.rows("units", rows)
                yield from rows
                advance(site.n_units, f"{target} {method.name}")


# --- what each summand of the logits says --------------------------------------------------------------------------


@torch.no_grad()
def _contributions(graph: ModelGraph, x: Tensor, y: Tensor, classes: bool) -> list[dict[str, Any]]:
    """Where the output is a Linear of a sum: a row for each summand of the logits; else none.

    `accuracy` is that of the summand alone, `label_logit` its mean contribution to the label's logit above its mean
    contribution to all logits. The last row is the sum, whose `max_error` is the largest difference to the logits.
    """
    summands = graph.summands(graph.output)
    if not summands or not classes:
        return []
    split = graph.distribute(graph.output)
    names = [name for part in (*summands, "bias") if (name := f"{graph.output}[{part}]") in split.sites]
    parts = [run_with(split, part, returns=[*names, graph.output]) for part in batches(x)]
    whole = torch.cat([part[-1] for part in parts])
    logits = outputs_of(graph, x)
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


def _identity(graph: ModelGraph, ablation: Ablation | None) -> dict[str, Any]:
    if ablation is None:
        return {**dict.fromkeys(ABLATION, NONE), "repeat": 1}
    return {
        "target": ablation.target,
        "kind": graph.kind(ablation.target),
        "method": ablation.method.name,
        "repeat": ablation.repeat,
    }


def _change(intact: Score, result: Score) -> dict[str, float]:
    return {"accuracy_drop": intact.accuracy - result.accuracy, "loss_increase": result.loss - intact.loss}


def _config(setting: Setting) -> AblationConfig:
    assert isinstance(setting.config, AblationConfig)
    return setting.config


def _source(setting: Setting) -> Tensor:
    in_training = _config(setting).source is Split.train
    return setting.dataset.x_train if in_training else setting.dataset.x_test

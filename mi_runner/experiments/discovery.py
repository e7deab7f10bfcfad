"""Which methods find good circuits? Each is judged by the best circuits there are.

The last layers of a network are analysed on the activations that enter them, as in experiment=circuits; circuits may
leave inputs out. Each method gives a circuit of each size. Where all circuits can be evaluated, it is compared with the
best circuit of at most as many edges, and with all circuits of as many; otherwise with circuits drawn uniformly.
Outputs that are values are analysed one by one; those that are classes together.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np
from torch import Tensor

from mi_runner import chance
from mi_runner.config.experiment_schemas import DiscoveryConfig, LeftOut
from mi_runner.errors import ConfigError, RunFailed, as_options, unknown
from mi_runner.experiments import Result, Setting, discovery_figures
from mi_runner.graph.chain import Part, find_part, longest_part
from mi_runner.methods.circuits.cut import check_cut, entering_activations, on_cpu
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.kept import circuits_of_edges, distinct
from mi_runner.methods.circuits.minimality import LEVELS, minimality, minimality_by_search
from mi_runner.methods.circuits.rounding import rounding_interval
from mi_runner.methods.circuits.search import fewest_correct, search_circuits
from mi_runner.methods.circuits.space import MOST_EDGES, CircuitSpace
from mi_runner.methods.discovery import curves, stability
from mi_runner.methods.discovery.agreement import rank_correlations
from mi_runner.methods.discovery.edges import Edges
from mi_runner.methods.discovery.find import CHANCE, METHODS, Found, Resampled, Task, find, n_evaluated
from mi_runner.methods.discovery.optimum import Best, EveryCircuit, SampledCircuits
from mi_runner.methods.discovery.rankings import ranks
from mi_runner.methods.discovery.sampling import CircuitSampler
from mi_runner.methods.discovery.scores import ScoreFunction
from mi_runner.models.external import import_callable
from mi_runner.progress import log
from mi_runner.statistics import ALL, ANY, NOT_NEGATIVE, SHARE, Range
from mi_runner.training.evaluation import loss_function
from mi_runner.training.options import TrainingOptions

MOST_WORK = 5e12
"""Most multiplications of a method: circuits times edges times examples."""

MOST_WORK_OF_MINIMALITY = 2e9
"""A circuit whose sub-circuits with one edge less take more multiplications has no level of minimality."""

UNKNOWN = "unknown"
"""The minimality of a valid circuit that is too large to say."""

NARROW = "model=mlp model.hidden_sizes=[128,128,3,3,3] experiment.last_layers=3"
"""The published network; its last layers can be analysed with every data set."""

QUANTILES = (0.1, 0.5, 0.9)

KEYS = {
    "metrics": ("method", "ablation", "output", "k"),
    "summary": ("method", "ablation", "output"),
    "overview": ("method", "ablation", "output"),
    "scores": ("method", "ablation", "output", "layer", "source", "target"),
    "correlations": ("method", "other", "ablation", "output"),
    "edges": ("ablation", "output", "best", "k", "layer", "source", "target"),
    "sizes": ("ablation", "output", "n_edges"),
    "stability": ("method", "ablation", "output", "k"),
}

OF_LEVELS = ("quasi", "local", "subset", "cardinal")

AREAS = ("cpr", "best_cpr", "cmd", "best_cmd")
"""CPR of −L and CMD of the accuracy (that of −L is 1 − CPR), of a method and of the best circuits."""

OVERVIEW = ("smallest_valid", "fewest_valid", "regret_mse", "percentile", "cardinal", "jaccard", "seconds")
"""The measures that are printed."""

SUMMARY: dict[str, Range] = {
    **dict.fromkeys(("smallest_valid", "fewest_valid"), NOT_NEGATIVE),
    **dict.fromkeys(AREAS, ANY),
    "regret_mse": NOT_NEGATIVE,
    "regret_accuracy": NOT_NEGATIVE,
    "percentile": SHARE,
    **dict.fromkeys(OF_LEVELS, SHARE),
    "jaccard": SHARE,
    "mse_sd": NOT_NEGATIVE,
    "n_forward": NOT_NEGATIVE,
    "seconds": NOT_NEGATIVE,
}
"""The measures of summary.csv."""

MEASURES = {
    **dict.fromkeys(("accuracy", "agreement", "best_accuracy"), SHARE),
    **dict.fromkeys(("mse", "best_mse", "full_accuracy"), NOT_NEGATIVE),
    "loss": ANY,
    **SUMMARY,
}


# --- before the run --------------------------------------------------------------------------------------------------


def check(setting: Setting[DiscoveryConfig]) -> None:
    """Checks the methods, the last layers, and that no method takes too long.

    Raises:
        ConfigError: there is no such method, the layers can't be analysed, or there are too many circuits to evaluate.
    """
    config = setting.config
    _own_methods(config)
    graph = setting.graph()
    try:
        part = find_part(graph, config.last_layers)
        if not setting.dataset.has_classes:
            rounding_interval(part.layers[-1], 0.0)
    except ValueError as error:
        asked = "null" if config.last_layers is None else config.last_layers
        chain = longest_part(graph)
        remedy = f"experiment.last_layers={len(chain.layers)}" if chain and config.last_layers != 1 else NARROW
        raise ConfigError(f"experiment.last_layers={asked}: {error} Type {remedy}.") from error
    _check_work(setting, part)


def _check_work(setting: Setting[DiscoveryConfig], part: Part) -> None:
    config, n_examples = setting.config, len(setting.dataset.x_test)
    n_edges = Edges(_parts(setting, part)[0][1].sizes).n
    too_many = {
        name: n_circuits
        for name in config.methods
        if (n_circuits := n_evaluated(name, n_edges) * (1 + config.bootstrap)) * n_edges * n_examples > MOST_WORK
    }
    if not too_many:
        return
    name, n_circuits = max(too_many.items(), key=lambda item: item[1])
    others = [other for other in config.methods if other not in too_many]
    remedies = [f"experiment.methods=[{','.join(others)}]"] if others else []
    if config.bootstrap and n_evaluated(name, n_edges) * n_edges * n_examples <= MOST_WORK:
        remedies.append("experiment.bootstrap=0")
    remedies.append("a smaller dataset.limit or experiment.last_layers")
    raise ConfigError(
        f"experiment.methods has {name}: it would evaluate {n_circuits:,} circuits of {n_edges:,} edges on "
        f"{n_examples:,} examples. Type {' or '.join(remedies)}."
    )


def _own_methods(config: DiscoveryConfig) -> dict[str, ScoreFunction | None]:
    """Returns each method's name, and the function of a method of one's own.

    Raises:
        ConfigError: a method has another name, or comes twice.
    """
    if not config.methods:
        raise ConfigError(f"experiment.methods=[]: name at least one of {', '.join(METHODS)}.")
    own: dict[str, ScoreFunction | None] = {}
    for name in config.methods:
        if name in own:
            raise ConfigError(f"experiment.methods has {name} twice. Name it once.")
        own[name] = None
        if ":" in name:
            with as_options("experiment", ["methods"]):
                own[name] = import_callable("methods", name)
            log.warning(f"experiment.methods: the code of {name} is run")
        elif name not in METHODS:
            raise ConfigError(
                f"experiment.methods has {name}: {unknown('method', name, METHODS)} Your own: package.module:callable."
            )
    return own


def networks(setting: Setting[DiscoveryConfig]) -> dict[str, TrainingOptions]:
    """Returns no networks: the experiment needs only the model."""
    return {}


def cost(setting: Setting[DiscoveryConfig]) -> dict[str, int]:
    """Returns how many circuits are evaluated where all of them are: of all outputs and ablations together."""
    part = find_part(setting.graph(), setting.config.last_layers)
    spaces = [_space(setting, single) for _, single in _parts(setting, part)]
    n_circuits = sum(space.count() for space in spaces if space is not None)
    return {"circuits": n_circuits * len(_ablations(setting.config))} if n_circuits else {}


def metric_names(setting: Setting[DiscoveryConfig]) -> list[str]:
    """Returns the names of the summary: `accuracy`, and a measure of each method and ablation."""
    names = [
        f"{measure}/{method}/{ablation}"
        for method in setting.config.methods
        for ablation in _ablations(setting.config)
        for measure in SUMMARY
    ]
    return ["accuracy", "n_edges", *names]


def _ablations(config: DiscoveryConfig) -> list[str]:
    return ["zero", "mean"] if config.ablation is LeftOut.both else [config.ablation.name]


def _parts(setting: Setting[DiscoveryConfig], part: Part) -> list[tuple[str | int, Part]]:
    """Returns the analysed parts: of each output alone, or of all outputs that are classes together."""
    if setting.dataset.has_classes:
        return [(ALL, part)]
    return [(index, part.output(index)) for index in range(part.sizes[-1])]


def _space(setting: Setting[DiscoveryConfig], part: Part) -> CircuitSpace | None:
    """Returns the space of all circuits, if it can be evaluated whole."""
    if setting.dataset.has_classes or Edges(part.sizes).n > MOST_EDGES:
        return None
    space = CircuitSpace(part.sizes, "any")
    return space if space.count() <= setting.config.max_table_rows else None


# --- the run ---------------------------------------------------------------------------------------------------------


def run(setting: Setting[DiscoveryConfig]) -> Result:
    """Returns what each method finds at each size, beside the best circuits and all circuits."""
    config, dataset = setting.config, setting.dataset
    graph = setting.graph()
    part = on_cpu(find_part(graph, config.last_layers))
    entering, outputs = entering_activations(graph, part, dataset.x_test)
    try:
        check_cut(part, entering, outputs)
    except ValueError as error:
        raise RunFailed(str(error)) from error
    y = dataset.y_test.cpu()
    own = _own_methods(config)
    tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
    drawn: dict[str, Any] = {}
    for output, single in _parts(setting, part):
        target, full = y, outputs
        if isinstance(output, int):
            target, full = y.reshape(len(y), -1)[:, output].double(), outputs[:, [output]]
        curves_of: dict[str, discovery_figures.Curves] = {}
        for ablation in _ablations(config):
            task = Task(
                single,
                entering.double(),
                target,
                ablation,
                config.objective.name,
                loss_function(setting.training, dataset),
            )
            judged = _Judged(setting, output, task, full)
            log.info(judged.description)
            for name, rows in _judged_rows(setting, judged, own).items():
                tables[name] += rows
            curves_of[ablation] = judged.curves(tables)
        drawn |= discovery_figures.of_output(output, single.sizes, curves_of)
    tables["overview"] = [{name: row[name] for name in (*KEYS["overview"], *OVERVIEW)} for row in tables["summary"]]
    first = next(iter(_parts(setting, part)))[0]
    correct = outputs.argmax(1) == y if dataset.has_classes else outputs[:, 0].round() == y.reshape(len(y), -1)[:, 0]
    summary = {
        f"{measure}/{row['method']}/{row['ablation']}": math.nan if row[measure] is None else float(row[measure])
        for row in tables["summary"]
        if row["output"] == first
        for measure in SUMMARY
    }
    return Result(
        tables=tables,
        keys=KEYS,
        metrics={
            "accuracy": float(correct.double().mean()),
            "n_edges": float(Edges(_parts(setting, part)[0][1].sizes).n),
            **summary,
        },
        measures=MEASURES,
        repeats=("repeat",),
        figures=drawn,
        shown=("overview",),
    )


@dataclass(frozen=True)
class _Rows:
    """The judgement of M circuits; each attribute is an array `(M,)`."""

    n_edges: np.ndarray
    n_correct: np.ndarray
    n_agreeing: np.ndarray
    mse: np.ndarray
    loss: np.ndarray
    percentile: np.ndarray
    low: np.ndarray
    high: np.ndarray
    is_valid: np.ndarray
    level: list[str]


class _Judged:
    """An output with one ablation: its circuits, and what methods are compared with."""

    def __init__(self, setting: Setting[DiscoveryConfig], output: str | int, task: Task, full: Tensor) -> None:
        config = setting.config
        self.setting, self.output, self.task = setting, output, task
        self.masked = task.masked(full=full)
        self.edges: Edges = self.masked.edges
        self.n_examples = len(task.x)
        threshold = config.accuracy_threshold
        self.least_correct = fewest_correct(self.n_examples, threshold)
        self.space = _space(setting, task.part)
        self.sizes = _sizes(self.edges.n, self.edges.n + 1 if self.space else config.max_sizes)
        self.every: EveryCircuit | None = None
        self.samples: SampledCircuits | None = None
        if self.space is not None:
            target = task.target.float().round()
            search = search_circuits(
                task.part,
                CircuitExamples(task.x.float(), target, full[:, 0]),
                accuracy_threshold=threshold,
                ablation=task.ablation,
                inputs="any",
                max_table_rows=config.max_table_rows,
                progress=setting.progress,
            )
            self.every = EveryCircuit(self.space, search.listed)
        else:
            sampler = CircuitSampler(
                task.part.sizes, chance.generator(setting.seed, "sampled circuits", output, task.ablation)
            )
            self.samples = SampledCircuits(self.masked, sampler.draw, config.samples)

    @property
    def description(self) -> str:
        """What is compared, for the log."""
        sizes = "-".join(map(str, self.task.part.sizes))
        among = f"all {self.space.count():,}" if self.space else f"{self.setting.config.samples:,} of each size, drawn"
        return (
            f"output {self.output}, {self.task.ablation} ablation: circuits of layers of {sizes} neurons, {among}, "
            f"on {self.n_examples:,} examples"
        )

    @cached_property
    def is_valid(self) -> np.ndarray:
        """Which of all circuits are valid."""
        assert self.every is not None
        return self.every.measures.n_correct >= self.least_correct

    @cached_property
    def fewest_valid(self) -> int | None:
        """The number of edges of the smallest valid circuit; None if there is none, or if it is not known."""
        if self.every is None or not self.is_valid.any():
            return None
        return int(self.every.n_edges[self.is_valid].min())

    def judge(self, circuits: np.ndarray) -> _Rows:
        """Returns the judgement of closed circuits `(M, E)`."""
        first, index = distinct(circuits)
        some = circuits[first]
        measures = self.masked.measures(some)
        n_correct, n_agreeing = measures.n_correct, measures.n_agreeing
        if self.every is not None:  # the table's own counts, so that they are those of experiment=circuits
            rows = self.every.rows(some)
            listed = self.every.measures
            n_correct = np.where(rows < 0, n_correct, listed.n_correct[rows])
            n_agreeing = np.where(rows < 0, n_agreeing, listed.n_agreeing[rows])
            low = high = percentiles = self.every.percentiles(some)
        else:
            assert self.samples is not None
            percentiles, low, high = self.samples.percentiles(some, measures.mse)
        is_valid = (n_correct >= self.least_correct) & some.any(1)
        return _Rows(
            n_edges=some.sum(1)[index],
            n_correct=n_correct[index],
            n_agreeing=n_agreeing[index],
            mse=measures.mse[index],
            loss=measures.loss[index],
            percentile=percentiles[index],
            low=low[index],
            high=high[index],
            is_valid=is_valid[index],
            level=np.array(self._levels(some, is_valid), dtype=object)[index].tolist(),
        )

    def _levels(self, circuits: np.ndarray, is_valid: np.ndarray) -> list[str]:
        """Returns the highest level of minimality that each circuit reaches; empty where it is not valid."""
        levels = np.full(len(circuits), "", dtype=object)
        if self.every is not None and self.space is not None:
            valid = self.every.measures.circuit[self.is_valid]
            places = minimality(self.space, valid, circuits_of_edges(circuits[is_valid]))
            levels[is_valid] = [LEVELS[place] for place in places.tolist()]
            return levels.tolist()
        per_circuit = self.edges.n * self.n_examples
        small = is_valid & (circuits.sum(1) * per_circuit <= MOST_WORK_OF_MINIMALITY)
        levels[is_valid] = UNKNOWN
        places, _ = minimality_by_search(
            self.edges.sizes,
            circuits[small],
            lambda kept: self.masked.measures(kept).n_correct >= self.least_correct,
            most=max(100, int(MOST_WORK_OF_MINIMALITY / per_circuit)),
        )
        levels[small] = [LEVELS[place] for place in places.tolist()]
        return levels.tolist()

    def curves(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> discovery_figures.Curves:
        """Returns what the figures of this ablation show."""

        def own(name: str) -> list[Mapping[str, Any]]:
            return [
                row
                for row in tables.get(name, ())
                if row["ablation"] == self.task.ablation and row["output"] == self.output
            ]

        shares = None if self.every is None else self.every.shares(self.is_valid)
        return discovery_figures.Curves(own("metrics"), own("sizes"), own("scores"), shares)


def _sizes(n_edges: int, most: int) -> np.ndarray:
    """Returns the sizes at which methods are judged, from 0 to all edges: all, or so many, in equal ratios."""
    if n_edges < most:
        return np.arange(n_edges + 1)
    spaced = np.geomspace(1, n_edges, most - 1).round().astype(int)
    return np.unique(np.concatenate([[0], spaced, [n_edges]]))


@dataclass(frozen=True)
class _MethodFound:
    """What a method found in each of its repeats, and the seconds of all of them."""

    name: str
    own: ScoreFunction | None
    repeats: list[Found]
    seconds: float


def _judged_rows(
    setting: Setting[DiscoveryConfig], judged: _Judged, own: Mapping[str, ScoreFunction | None]
) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of all tables for one output and ablation."""
    config = setting.config
    by_method = []
    with setting.progress.bar("methods", len(own)) as advance:
        for name, function in own.items():
            by_method.append(_found(setting, judged, name, function))
            advance(1, name)
    circuits = np.concatenate([found.circuits for method in by_method for found in method.repeats])
    edges = judged.edges
    rows_of = judged.judge(np.concatenate([circuits, edges.empty, edges.full]))
    best = None if judged.every is None else judged.every.best(judged.masked, circuits[distinct(circuits)[0]])
    stable = _stability_rows(setting, judged, by_method) if config.bootstrap > 1 else []
    tables: dict[str, list[dict[str, Any]]] = {"metrics": [], "summary": [], "stability": stable}
    start = 0
    for method in by_method:
        rows, areas = [], []
        for repeat, found in enumerate(method.repeats):
            places = slice(start, start + len(judged.sizes))
            rows += list(_metrics_rows(judged, method.name, repeat, found, rows_of, places, best))
            areas.append(_areas(judged, rows_of, places, best))
            start = places.stop
        own_stability = [row for row in stable if row["method"] == method.name]
        tables["metrics"] += rows
        tables["summary"].append(_summary_row(judged, method, rows, areas, own_stability))
    setting.progress.rows("metrics", tables["metrics"])
    scored = {method.name: scores for method in by_method if (scores := method.repeats[0].scores) is not None}
    tables["scores"] = [row for name, scores in scored.items() for row in _score_rows(judged, name, scores)]
    tables["correlations"] = [
        {
            "method": name,
            "other": other,
            "ablation": judged.task.ablation,
            "output": judged.output,
            "spearman": spearman,
            "kendall": kendall,
        }
        for name, other, spearman, kendall in rank_correlations(scored)
    ]
    if best is not None:
        tables["edges"] = list(_edge_rows(judged, best))
        tables["sizes"] = list(_size_rows(judged))
    return tables


def _found(setting: Setting[DiscoveryConfig], judged: _Judged, name: str, own: ScoreFunction | None) -> _MethodFound:
    began = time.perf_counter()
    repeats = []
    for repeat in range(setting.config.repeats if name in CHANCE else 1):
        draw = chance.generator(setting.seed, name, judged.output, repeat)
        try:
            repeats.append(find(name, judged.task, judged.sizes, own=own, masked=judged.masked, generator=draw))
        except Exception as error:
            if own is None:
                raise
            raise RunFailed(f"the method {name} raises {type(error).__name__}: {error}") from error
    return _MethodFound(name, own, repeats, time.perf_counter() - began)


# --- tables ----------------------------------------------------------------------------------------------------------


def _metrics_rows(
    judged: _Judged, name: str, repeat: int, found: Found, rows: _Rows, places: slice, best: Best | None
) -> Iterator[dict[str, Any]]:
    """Yields a row for each size."""
    n = judged.n_examples
    for k, place in zip(judged.sizes.tolist(), range(places.start, places.stop), strict=True):
        accuracy, mse = rows.n_correct[place] / n, float(rows.mse[place])
        row = {
            "method": name,
            "ablation": judged.task.ablation,
            "output": judged.output,
            "repeat": repeat,
            "k": k,
            "n_edges": int(rows.n_edges[place]),
            "accuracy": float(accuracy),
            "agreement": float(rows.n_agreeing[place] / n),
            "mse": mse,
            "loss": float(rows.loss[place]),
            "best_accuracy": None if best is None else float(best.accuracy[k]),
            "best_mse": None if best is None else float(best.mse[k]),
            "regret_accuracy": None if best is None else float(best.accuracy[k] - accuracy),
            "regret_mse": None if best is None else mse - float(best.mse[k]),
            "percentile": _or_none(rows.percentile[place]),
            "minimality": rows.level[place],
            "valid": bool(rows.is_valid[place]),
            "n_forward": found.n_forward,
            "percentile_low": _or_none(rows.low[place]),
            "percentile_high": _or_none(rows.high[place]),
        }
        if judged.edges.n <= MOST_EDGES:
            row["circuit"] = int(circuits_of_edges(found.circuits[place - places.start][None])[0])
        yield row


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _areas(judged: _Judged, rows: _Rows, places: slice, best: Best | None) -> dict[str, float]:
    """Returns the areas under a method's curves, and under those of the best circuits."""
    empty, full = len(rows.mse) - 2, len(rows.mse) - 1  # judged last
    n, sizes = judged.n_examples, judged.sizes

    def areas(mse: np.ndarray, accuracy: np.ndarray, prefix: str = "") -> dict[str, float]:
        by_mse = curves.recovered(-mse, -rows.mse[empty], -rows.mse[full])
        by_accuracy = curves.recovered(accuracy, rows.n_correct[empty] / n, rows.n_correct[full] / n)
        return {f"{prefix}cpr": curves.cpr(by_mse, sizes), f"{prefix}cmd": curves.cmd(by_accuracy, sizes)}

    found = areas(rows.mse[places], rows.n_correct[places] / n)
    return found if best is None else found | areas(best.mse, best.accuracy, "best_")


def _mean(values: Iterator[Any] | Sequence[Any]) -> float | None:
    """Returns the mean of those that are numbers; None if there are none."""
    numbers = [float(value) for value in values if value is not None and not math.isnan(value)]
    return fmean(numbers) if numbers else None


def _summary_row(
    judged: _Judged,
    method: _MethodFound,
    rows: Sequence[Mapping[str, Any]],
    areas: Sequence[Mapping[str, float]],
    stable: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Returns the row of a method in summary.csv: means over its repeats and sizes."""
    smallest = []
    for repeat in range(len(method.repeats)):
        valid = [row for row in rows if row["repeat"] == repeat and row["valid"]]
        if valid:
            smallest.append(min(valid, key=lambda row: row["n_edges"]))
    reached = [LEVELS.index(row["minimality"]) for row in smallest if row["minimality"] in LEVELS]
    levels = {name: _mean([level >= LEVELS.index(name) for level in reached]) for name in OF_LEVELS}
    return {
        "method": method.name,
        "ablation": judged.task.ablation,
        "output": judged.output,
        "smallest_valid": _mean([row["n_edges"] for row in smallest]),
        "fewest_valid": judged.fewest_valid,
        **{name: _mean([area[name] for area in areas if name in area]) for name in AREAS},
        **{name: _mean([row[name] for row in rows]) for name in ("regret_mse", "regret_accuracy", "percentile")},
        **levels,
        "jaccard": _mean([row["jaccard"] for row in stable]),
        "mse_sd": _mean([row["mse_sd"] for row in stable]),
        "n_forward": _mean([found.n_forward for found in method.repeats]),
        "seconds": method.seconds / len(method.repeats),
    }


def _score_rows(judged: _Judged, name: str, scores: np.ndarray) -> Iterator[dict[str, Any]]:
    layers, sources, targets = judged.edges.names
    columns = (layers.tolist(), sources.tolist(), targets.tolist(), scores.tolist(), (ranks(scores) + 1).tolist())
    for layer, source, target, score, rank in zip(*columns, strict=True):
        yield {
            "method": name,
            "ablation": judged.task.ablation,
            "output": judged.output,
            "layer": layer,
            "source": source,
            "target": target,
            "score": score,
            "rank": rank,
        }


def _edge_rows(judged: _Judged, best: Best) -> Iterator[dict[str, Any]]:
    """Yields each kept edge of the best circuit of at most k edges, by accuracy and by mse."""
    layers, sources, targets = (column.tolist() for column in judged.edges.names)
    for name, circuits in (("mse", best.by_mse), ("accuracy", best.by_accuracy)):
        for k in judged.sizes.tolist():
            for edge in np.flatnonzero(circuits[k]).tolist():
                yield {
                    "ablation": judged.task.ablation,
                    "output": judged.output,
                    "best": name,
                    "k": k,
                    "layer": layers[edge],
                    "source": sources[edge],
                    "target": targets[edge],
                }


def _size_rows(judged: _Judged) -> Iterator[dict[str, Any]]:
    """Yields the number and the range of all circuits of each number of edges."""
    every, n = judged.every, judged.n_examples
    assert every is not None
    for size in range(1, judged.edges.n + 1):
        rows = every.of_size(size)
        if not len(rows):
            continue
        mse, accuracy = every.measures.squares[rows].astype(float) / n, every.measures.n_correct[rows] / n
        yield {
            "ablation": judged.task.ablation,
            "output": judged.output,
            "n_edges": size,
            "n_circuits": len(rows),
            "n_valid": int(judged.is_valid[rows].sum()),
            **_quantiles("mse", mse),
            **_quantiles("accuracy", accuracy),
        }


def _quantiles(name: str, values: np.ndarray) -> dict[str, float]:
    found = np.quantile(values, QUANTILES).tolist()
    return {f"{name}_{round(100 * quantile)}": value for quantile, value in zip(QUANTILES, found, strict=True)}


def _stability_rows(
    setting: Setting[DiscoveryConfig], judged: _Judged, by_method: Sequence[_MethodFound]
) -> list[dict[str, Any]]:
    """Returns for each method but edge pruning and each size how its circuits differ between resamples."""
    config, task = setting.config, judged.task
    draw = chance.generator(setting.seed, "resampled examples", judged.output)
    rows = stability.resamples(judged.n_examples, config.bootstrap, draw)
    resampled = Resampled(task, rows, stability.counts_of(rows))
    which = np.repeat(np.arange(config.bootstrap), len(judged.sizes))
    table = []
    with setting.progress.bar("resampled examples", len(by_method)) as advance:
        for method in by_method:
            advance(1, method.name)
            if method.name == "edge_pruning":
                continue
            generator = chance.generator(setting.seed, method.name, judged.output, "resampled")
            circuits = resampled.find(method.name, judged.sizes, own=method.own, generator=generator)
            flat = circuits.reshape(-1, judged.edges.n)
            spread = stability.stability(circuits)
            mse = judged.masked.objective(flat).reshape(circuits.shape[:2])
            own_mse = resampled.masked.objective(flat, "distance", which).reshape(circuits.shape[:2])
            for place, k in enumerate(judged.sizes.tolist()):
                table.append(
                    {
                        "method": method.name,
                        "ablation": task.ablation,
                        "output": judged.output,
                        "k": k,
                        "n_resamples": config.bootstrap,
                        "n_edges": float(spread.n_edges[place]),
                        "jaccard": _or_none(spread.jaccard[place]),
                        "n_always": int(spread.n_always[place]),
                        "n_ever": int(spread.n_ever[place]),
                        "mse_mean": float(mse[:, place].mean()),
                        "mse_sd": float(mse[:, place].std(ddof=1)),
                        "own_mse_mean": float(own_mse[:, place].mean()),
                        "own_mse_sd": float(own_mse[:, place].std(ddof=1)),
                    }
                )
    return table

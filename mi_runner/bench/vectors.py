"""Test vectors: small networks and all that mi-run says of their circuits, as files that any framework can read.

The figures are those of experiment=discovery, which is run on each network as on a user's own.

    networks → runs of experiment=discovery → arrays of a network (NETWORK.npz) and numbers of all (vectors.json)

Letters: B examples, E edges, N circuits, S sizes k from 0 to the edges that circuits may keep.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mi_runner
from mi_runner.bench.networks import BENCH_1
from mi_runner.bench.small_networks import SmallNetwork, small_networks
from mi_runner.bench.terms import METHODS_EXACTLY, TERMS
from mi_runner.config.experiments.discovery import DiscoveryConfig
from mi_runner.datasets import Dataset
from mi_runner.experiments import Result, Setting
from mi_runner.experiments.common.judging import Examples, Recorded, recorded
from mi_runner.experiments.common.known_truth import planted_circuit
from mi_runner.experiments.discovery.experiment import EXPERIMENT
from mi_runner.experiments.discovery.judgement import family_of
from mi_runner.graph.chain import Part, find_part
from mi_runner.machine.files import written_whole
from mi_runner.methods.circuits.edges import Edges, bits_of
from mi_runner.methods.circuits.family import circuits_of_family, count_family
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.methods.discovery.masked import MaskedPart, start_of
from mi_runner.methods.discovery.records import METHODS, Method
from mi_runner.progress import Progress
from mi_runner.tables.declaration import Rows
from mi_runner.training.options import TrainingOptions

DESCRIPTION = "vectors.json"
"""The file beside those of the networks."""

MOST_LISTED = 12_000
"""Up to this many circuits a file has the error of each."""

OF_SIZES = ("mse", "loss", "accuracy", "regret_mse", "regret_accuracy", "percentile")
"""Columns of metrics.csv that a file has for each method, a number for each size."""

OF_METHODS = ("cpr", "cmd", "smallest_valid", "mse", "regret_mse", "percentile", "n_sizes_percentile", "n_forward")
"""Columns of summary.csv that the description has for each method."""

OF_TRUTH = ("roc_auc", "precision", "recall")
"""The same where a circuit is planted."""


def write_vectors(folder: Path, *, progress: Progress | None = None) -> list[Path]:
    """Returns the files that it writes: one for each small network, and their description last.

    Args:
        folder: it is made if it is missing; files with these names are replaced.

    Raises:
        OSError: a file can't be written.
    """
    progress = progress or Progress()
    folder.mkdir(parents=True, exist_ok=True)
    networks, files, described = list(small_networks()), list[Path](), []
    with progress.bar("networks", len(networks)) as advance:
        for network in networks:
            arrays, numbers = vectors_of(network)
            file = folder / f"{network.name}.npz"
            with written_whole(file) as beside:
                np.savez(beside, **arrays)  # type: ignore[arg-type]  # its entries have no date, so bytes are repeated
            files.append(file)
            described.append({"name": network.name, "file": file.name, **numbers})
            advance(1, network.name)
    description = {
        "version": BENCH_1.name,
        "mi_run": mi_runner.__version__,
        "definitions": TERMS,
        "methods": {method.name: METHODS_EXACTLY.get(method.name, method.sentence) for method in _methods()},
        "networks": described,
    }
    file = folder / DESCRIPTION
    with written_whole(file) as beside:
        text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
        beside.write_text(f"{text}\n", encoding="utf-8")
    return [*files, file]


def vectors_of(network: SmallNetwork) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays of a network's file, and its numbers in the description."""
    setting = _setting(network)
    EXPERIMENT.check(setting)
    result = EXPERIMENT.run(setting)
    graph, dataset = setting.graph(), setting.dataset
    part = find_part(graph, None)
    on = recorded(graph, part, Examples(dataset.x_test, dataset.y_test), dataset.outputs)
    edges, family = Edges(part.sizes), family_of(setting, part)
    arrays = {**_network_arrays(part, on, family), **_every_circuit(part, on, family)}
    if network.truth is not None:
        arrays["truth"] = planted_circuit(network.truth, part)
    answers = "probability" if network.truth is not None else on.kind.name
    loss = "cross_entropy" if on.kind.are_of_classes else "squared_error"
    numbers = {
        "meaning": network.meaning,
        "sizes": list(part.sizes),
        "layers": [{"activation": layer.activation, "slope": layer.slope} for layer in part.layers],
        "answers": answers,
        "loss": "logistic" if network.truth is not None else loss,
        "accuracy_threshold": network.accuracy_threshold,
        "valid_by": result.tables["summary"][0]["valid_by"],
        "accuracy": result.metrics["accuracy"],
        "n_edges": int(start_of(family, edges).sum()),
        "ablations": {},
    }
    columns = OF_METHODS if network.truth is None else (*OF_METHODS, *OF_TRUTH)
    for ablation in setting.config.ablation.ablations:
        numbers["ablations"][ablation] = _numbers(result, ablation, columns)
        arrays |= _judged_arrays(result, ablation, edges, family)
    return arrays, numbers


def _methods() -> list[Method]:
    """Returns the methods that draw no random numbers: those that another program can repeat."""
    return [method for method in METHODS if not method.draws]


def _setting(network: SmallNetwork) -> Setting[DiscoveryConfig]:
    """Returns the setting of a run of experiment=discovery on a network, with all methods that draw nothing."""
    has_values = network.target.is_floating_point()
    names = None if has_values else tuple(map(str, range(int(network.model(network.x).shape[1]))))
    dataset = Dataset("vectors", network.x, network.target, network.x, network.target, class_names=names)
    config = DiscoveryConfig(
        methods=[method.name for method in _methods()],
        accuracy_threshold=network.accuracy_threshold,
        last_layers=None,
        bootstrap=0,
    )
    return Setting(config, TrainingOptions(), network.model.eval(), dataset, truth=network.truth)


def _network_arrays(part: Part, on: Recorded, family: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns all that one needs to compute the outputs of a network's circuits."""
    arrays: dict[str, np.ndarray] = {
        "x": on.entering.double().numpy(),
        "target": (on.y.double() if on.y.is_floating_point() else on.y).numpy(),
        "full": on.outputs.double().numpy(),
    }
    means = part.to(on.entering.double()).means(on.entering.double())
    for number, (layer, mean) in enumerate(zip(part.layers, means, strict=True)):
        arrays[f"weight_{number}"] = layer.weight.detach().double().numpy()
        arrays[f"bias_{number}"] = layer.bias.detach().double().numpy()
        arrays[f"mean_{number}"] = mean.detach().numpy()
    edges = Edges(part.sizes)
    names = zip(("edge_layer", "edge_source", "edge_target"), edges.names, strict=True)
    return {**arrays, **dict(names), "family": edges.full[0] if family is None else family}


def _every_circuit(part: Part, on: Recorded, family: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns every circuit `(N,)` uint64, ascending, and its mse by each ablation.

    Nothing if there are too many, or more than 64 edges.
    """
    space = CircuitSpace(part.sizes, "any")
    bits = space.full if family is None else int(bits_of(family[None])[0])
    if not space.edges.fit_in_a_word or count_family(space, bits) > MOST_LISTED:
        return {}
    circuits = circuits_of_family(space, bits)
    x, rows = on.entering.double(), space.edges.rows(circuits)
    arrays = {"every_circuit": circuits}
    for ablation in ("zero", "mean"):
        masked = MaskedPart(part, x, on.y, ablation, full=on.outputs, family=family)
        arrays[f"{ablation}/every_mse"] = masked.measures(rows).mse
    return arrays


def _numbers(result: Result, ablation: str, columns: Sequence[str]) -> dict[str, Any]:
    """Returns the numbers of an ablation, and of each method with it."""
    rows, sizes = (_of(result, table, ablation=ablation) for table in ("summary", "sizes"))
    return {
        "n_circuits": sum(row["n_circuits"] for row in sizes),
        "n_valid": sum(row["n_valid"] for row in sizes),
        **{name: _or_null(rows[0][name]) for name in ("fewest_valid", "best_cpr", "best_cmd")},
        "methods": {row["method"]: {name: _or_null(row[name]) for name in columns} for row in rows},
    }


def _or_null(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _judged_arrays(result: Result, ablation: str, edges: Edges, family: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns what the run says of the circuits of each size: of each method, of the best ones, of all."""
    arrays = {}
    rows = _of(result, "metrics", ablation=ablation)
    for method in dict.fromkeys(row["method"] for row in rows):
        own = _of(result, "metrics", ablation=ablation, method=method)
        for name in OF_SIZES:
            arrays[f"{ablation}/{method}/{name}"] = _column(own, name)
        arrays[f"{ablation}/{method}/circuit"] = _column(own, "circuit", np.uint64)
        arrays[f"{ablation}/{method}/valid"] = _column(own, "valid", np.bool_)
        if scored := _of(result, "scores", ablation=ablation, method=method):
            scores = np.full(edges.n, np.nan)
            scores[slice(None) if family is None else family] = _column(scored, "score")
            arrays[f"{ablation}/{method}/scores"] = scores
    for name in ("mse", "accuracy"):
        arrays[f"{ablation}/best/{name}"] = _column(own, f"best_{name}")
        kept = np.zeros((len(own), edges.n), dtype=bool)
        layers, sources, targets = edges.names
        for row in _of(result, "edges", ablation=ablation, best=name):
            kept[row["k"]] |= (layers == row["layer"]) & (sources == row["source"]) & (targets == row["target"])
        arrays[f"{ablation}/best/circuit_by_{name}"] = bits_of(kept)
    for name in ("n_circuits", "n_valid"):
        counts = np.zeros(len(own), dtype=np.int64)
        for row in _of(result, "sizes", ablation=ablation):
            counts[row["n_edges"]] = row[name]
        arrays[f"{ablation}/{name}"] = counts
    return arrays


def _column(rows: Rows, name: str, dtype: type[np.generic] = np.float64) -> np.ndarray:
    """Returns a column of rows; what is unknown is NaN."""
    return np.array([math.nan if row[name] is None else row[name] for row in rows], dtype=dtype)


def _of(result: Result, table: str, **keys: str) -> Sequence[Mapping[str, Any]]:
    """Returns the rows of a table of a run that have these keys."""
    return [row for row in result.tables[table] if all(row[name] == value for name, value in keys.items())]

"""Data of the interactive pictures: circuits of neurons and edges, and a network whose parts were ablated."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mi_runner.machine.reading import is_own_file
from mi_runner.runs.report.tables import Content, number, read
from mi_runner.tables.names import NONE

MOST_OUTPUTS = 10
MOST_SPARSEST = 100
"""Of the sparsest valid circuits."""

MOST_EDGES = 64
"""A circuit is an integer of 64 bits."""

MOST_READ = 5_000_000
"""Circuits of a table that a picture looks at."""

MOST_SITES = 400
"""Sites of a network that is drawn."""

MOST_ABLATIONS = 20_000

Data = dict[str, Any]


def circuits(folder: Path) -> Data:
    """Returns the data of the picture of circuits; empty if the folder has no table of circuits."""
    path = folder / "circuits.parquet"
    if not is_own_file(path, folder):
        return {}
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(path)
        weights = _weights(folder, file.schema_arrow.metadata or {})
        wanted = ["output", "circuit", "accuracy", "agreement", "mse", "n_nodes", "n_edges", "valid"]
        table = file.read(columns=wanted)
        columns = {name: table.column(name).to_numpy() for name in wanted}
    except (OSError, ValueError, KeyError, TypeError, arrow.ArrowException):
        return {}
    edges = read(folder / "edges.csv", MOST_OUTPUTS * MOST_EDGES)
    outputs = [
        made
        for output in np.unique(columns["output"])[:MOST_OUTPUTS].tolist()
        if (made := _of_output(output, columns, weights, edges)) is not None
    ]
    return {"circuits": {"outputs": outputs}} if outputs else {}


def _weights(folder: Path, metadata: Mapping[bytes, bytes]) -> list[np.ndarray]:
    """Returns the weight `(out, in)` of each layer that the circuits are in, all outputs in the last."""
    from safetensors import safe_open

    described = json.loads(metadata.get(b"PANDAS_ATTRS", b"{}"))
    analysed, model = folder / "circuits.safetensors", folder / "model.safetensors"
    weights = analysed if analysed.is_file() else model
    if not is_own_file(weights, folder):
        raise FileNotFoundError(f"{weights}: it is no file of this folder")
    with safe_open(weights, "numpy") as tensors:
        names = list(tensors.keys())
        if described.get("layers"):
            chosen = [f"{layer['module']}.weight" for layer in described["layers"]]
        else:  # the whole network; its layers by their numbers
            chosen = sorted(
                (name for name in names if name.endswith("weight") and len(tensors.get_slice(name).get_shape()) == 2),
                key=lambda name: [int(word) if word.isdecimal() else word for word in re.split(r"(\d+)", name)],
            )
        return [tensors.get_tensor(name).astype(float) for name in chosen]


def _of_output(
    output: int, columns: Mapping[str, np.ndarray], weights: Sequence[np.ndarray], shares: Content | None
) -> Data | None:
    layers = [*weights[:-1], weights[-1][output : output + 1]]
    sizes = [layers[0].shape[1], *(len(layer) for layer in layers)]
    n_edges = sum(before * after for before, after in itertools.pairwise(sizes))
    shapes = [(after, before) for before, after in itertools.pairwise(sizes)]
    fits = shapes == [weight.shape for weight in layers]
    if n_edges > MOST_EDGES or not fits:
        return None
    rows = np.flatnonzero(columns["output"] == output)[:MOST_READ]
    of = {name: values[rows] for name, values in columns.items()}
    valid = np.flatnonzero(of["valid"])
    order = np.lexsort((of["mse"], -of["agreement"], -of["accuracy"], of["n_edges"]))  # the last key counts first
    _, first = np.unique(of["n_edges"][order], return_index=True)
    sparse = np.lexsort((of["mse"][valid], -of["accuracy"][valid], of["n_nodes"][valid], of["n_edges"][valid]))
    known = {} if shares is None else _shares(shares, output)
    if not known and len(valid):
        bits = of["circuit"][valid].astype(np.uint64)
        known = {edge: float((bits >> np.uint64(edge) & np.uint64(1)).mean()) for edge in range(n_edges)}
    ends = [
        (layer, source, target)
        for layer, weight in enumerate(layers)
        for target in range(weight.shape[0])
        for source in range(weight.shape[1])
    ]
    return {
        "output": output,
        "sizes": sizes,
        "n_valid": len(valid),
        "n_circuits": len(rows),
        "edges": [
            {
                "layer": layer,
                "source": source,
                "target": target,
                "weight": rounded(layers[layer][target, source]),
                "share": None if (share := known.get(edge)) is None else rounded(share),
            }
            for edge, (layer, source, target) in enumerate(ends)
        ],
        "best": [_circuit(of, row) for row in order[first]],
        "sparsest": [_circuit(of, row) for row in valid[sparse[:MOST_SPARSEST]]],
    }


def _shares(content: Content, output: int) -> dict[int, float]:
    """Returns edge → share of valid circuits that keep it; the table has the edges in the order of the bits."""
    of_output = [row for row in content.rows if row.get("output") == str(output)]
    values = [number(row.get("share", "")) for row in of_output]
    return {edge: value for edge, value in enumerate(values) if value is not None}


def _circuit(of: Mapping[str, np.ndarray], row: int) -> Data:
    bits = int(of["circuit"][row])
    return {
        "circuit": str(bits),  # JavaScript's numbers have 53 bits
        "accuracy": rounded(of["accuracy"][row]),
        "nodes": int(of["n_nodes"][row]),
        "edges": int(of["n_edges"][row]),
        "valid": bool(of["valid"][row]),
    }


def rounded(value: float) -> float:
    """Returns a number with six significant digits."""
    return float(f"{float(value):.6g}")


def network(folder: Path) -> Data:
    """Returns the picture's data of a network and what each ablation costs; empty if the run has no such tables."""
    graph, measured = read(folder / "graph.csv", MOST_SITES + 1), read(folder / "metrics.csv", MOST_ABLATIONS)
    needed = {"target", "kind", "method", "accuracy_drop"}
    if graph is None or measured is None or not needed <= set(measured.columns) or len(graph.rows) > MOST_SITES:
        return {}
    drops: dict[str, dict[str, list[float]]] = {}
    for row in measured.rows:
        drop = number(row["accuracy_drop"])
        if row["method"] != NONE and drop is not None:
            drops.setdefault(row["target"], {}).setdefault(row["method"], []).append(drop)
    methods = list(dict.fromkeys(method for of_target in drops.values() for method in of_target))
    costs = {
        target: {method: rounded(sum(values) / len(values)) for method, values in of_target.items()}
        for target, of_target in drops.items()
    }
    # Values inside a module, and parameters, are drawn only if they were ablated.
    hidden = {row["target"] for row in graph.rows if "[" in row["target"] or row["of"] == "parameter"} - drops.keys()
    rows = [row for row in graph.rows if row["target"] not in hidden]
    names = {row["target"] for row in rows}
    sites = [
        {
            "name": row["target"],
            "of": row["of"],
            "shape": row["shape"],
            "reads": [name for name in row["reads"].split(", ") if name in names],
        }
        for row in rows
    ]
    return {"network": {"sites": sites, "methods": methods, "costs": costs}} if methods else {}

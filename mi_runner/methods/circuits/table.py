"""The circuits of a search as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mi_runner.methods.circuits.circuit import n_active
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.minimality import LEVELS
from mi_runner.methods.circuits.search import CircuitSearch

if TYPE_CHECKING:
    from pandas import DataFrame


def circuit_table(
    examples: CircuitExamples,
    output: int,
    result: CircuitSearch,
    *,
    levels: np.ndarray | None = None,
    valid_only: bool = False,
) -> DataFrame:
    """Returns a row for each listed circuit of a search, or for each valid one.

    Args:
        examples: what the circuits were evaluated on.
        output: the number of the analysed output, for the column of this name.
        levels: `(K,)` int8, the levels of the valid circuits in the order of `result.valid`, places in `LEVELS`, for
            the column `minimality`; None: no such column.
    """
    import pandas as pd

    space, measures, is_valid = result.space, result.listed, result.is_valid
    if valid_only:
        measures, is_valid = measures.kept(is_valid), is_valid[is_valid]
    nodes = n_active(space, measures.circuit).astype(np.int32)
    edges = np.bitwise_count(measures.circuit).astype(np.int32)
    table = pd.DataFrame(
        {
            "output": np.full(len(measures), output, dtype=np.int32),
            "circuit": measures.circuit,
            "accuracy": measures.n_correct / len(examples),
            "agreement": measures.n_agreeing / len(examples),
            "mse": measures.squares / np.float32(len(examples)),
            "n_nodes": nodes,
            "n_edges": edges,
            "node_sparsity": 1 - nodes / max(1, space.n_hidden),
            "edge_sparsity": 1 - edges / space.n_edges,
            "sparsity": 1 - (nodes + edges) / (space.n_hidden + space.n_edges),
            "valid": is_valid,
        }
    )
    if levels is not None:
        codes = np.full(len(table), -1, dtype=np.int8)  # an empty cell
        codes[is_valid] = levels - 1
        table["minimality"] = pd.Categorical.from_codes(codes, categories=list(LEVELS[1:]), ordered=True)
    return table

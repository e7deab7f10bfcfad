"""The circuits of a search as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mi_runner.methods.circuits.edges import n_kept
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.measures import CircuitMeasures
from mi_runner.methods.circuits.minimality import LEVELS
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.tables.intervals import wilson_interval

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class JudgedElsewhere:
    """Circuits on other examples than those that they were found on.

    Attributes:
        measures: of the listed circuits, in their order.
        examples: those that they are judged on.
        accuracy_threshold: as for `search_circuits`.
    """

    measures: CircuitMeasures
    examples: CircuitExamples
    accuracy_threshold: float

    @property
    def n_examples(self) -> int:
        """How many examples they are judged on."""
        return len(self.examples)

    @property
    def is_valid(self) -> np.ndarray:
        """Whether each listed circuit is valid on these examples, `(K,)` bool."""
        return self.measures.right(self.examples.valid_by) >= self.examples.fewest_right(self.accuracy_threshold)

    def columns(self) -> dict[str, np.ndarray]:
        """Returns the columns of the table, with the 95 % Wilson interval of the accuracy."""
        correct, place = np.unique(self.measures.n_correct, return_inverse=True)
        intervals = np.array([wilson_interval(n, self.n_examples) for n in correct.tolist()]).reshape(-1, 2)[place]
        return {
            "judged_accuracy": self.measures.n_correct / self.n_examples,
            "judged_accuracy_low": intervals[:, 0],
            "judged_accuracy_high": intervals[:, 1],
            "judged_agreement": self.measures.n_agreeing / self.n_examples,
            "judged_mse": self.measures.squares / np.float32(self.n_examples),
            "judged_valid": self.is_valid,
        }


class Listed(Protocol):
    """Circuits that are listed, and which of them are valid; a search has them.

    Attributes:
        space: the circuits that they are of.
        listed: their measures.
        is_valid: `(K,)` bool.
    """

    @property
    def space(self) -> CircuitSpace: ...

    @property
    def listed(self) -> CircuitMeasures: ...

    @property
    def is_valid(self) -> np.ndarray: ...


def circuit_table(
    examples: CircuitExamples,
    output: int | str,
    result: Listed,
    *,
    levels: np.ndarray | None = None,
    valid_only: bool = False,
    judged: JudgedElsewhere | None = None,
) -> DataFrame:
    """Returns a row for each listed circuit of a search, or for each valid one.

    The column `circuit` is uint64 up to 64 edges; of more edges it is text, the decimal digits of the bits.

    Args:
        examples: what the circuits were evaluated on.
        output: the number of the analysed output, or `all` of several together, for the column of this name.
        levels: `(K,)` int8, the levels of the valid circuits in the order of `result.valid`, places in `LEVELS`, for
            the column `minimality`; None: no such column.
        judged: the listed circuits on other examples, for the columns `judged_…`; None: no such columns.
    """
    import pandas as pd

    space, measures, is_valid = result.space, result.listed, result.is_valid
    elsewhere = {} if judged is None else judged.columns()
    if valid_only:
        elsewhere = {name: column[is_valid] for name, column in elsewhere.items()}
        measures, is_valid = measures.kept(is_valid), is_valid[is_valid]
    nodes = space.n_active(measures.circuit).astype(np.int32)
    edges = n_kept(measures.circuit).astype(np.int32)
    table = pd.DataFrame(
        {
            "output": _repeated(output, len(measures)),
            "circuit": _column(measures.circuit),
            "accuracy": measures.n_correct / len(examples),
            "agreement": measures.n_agreeing / len(examples),
            "mse": measures.squares / np.float32(len(examples)),
            "n_nodes": nodes,
            "n_edges": edges,
            "node_sparsity": 1 - nodes / space.n_hidden if space.n_hidden else np.nan,
            "edge_sparsity": 1 - edges / space.n_edges,
            "sparsity": 1 - (nodes + edges) / (space.n_hidden + space.n_edges),
            "valid": is_valid,
            **elsewhere,
        }
    )
    if levels is not None:
        add_levels(table, levels)
    return table


def add_levels(table: DataFrame, levels: np.ndarray) -> None:
    """Adds the column `minimality` to a table of circuits.

    Args:
        levels: of the valid circuits, as for `circuit_table`.
    """
    import pandas as pd

    codes = np.full(len(table), -1, dtype=np.int8)  # an empty cell
    codes[table["valid"].to_numpy()] = levels - 1
    table["minimality"] = pd.Categorical.from_codes(codes, categories=list(LEVELS[1:]), ordered=True)


def _column(circuits: np.ndarray) -> Any:
    """Returns the column of circuits, bits: numbers up to 64 edges, beyond which no file has numbers, decimal texts."""
    return circuits if circuits.dtype != object else [str(circuit) for circuit in circuits]


def _repeated(output: int | str, n: int) -> Any:
    """Returns a column with an output's number or name in each row; of names each is stored once."""
    import pandas as pd

    if isinstance(output, str):
        return pd.Categorical.from_codes(np.zeros(n, dtype=np.int8), categories=[output])
    return np.full(n, output, dtype=np.int32)

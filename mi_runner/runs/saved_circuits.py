"""Circuits of a run that is done: its table, its analysed layers and its examples, read from the run folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import means_of
from mi_runner.methods.circuits.circuit import Circuit
from mi_runner.methods.circuits.cut import saved_part
from mi_runner.tables.names import ALL
from mi_runner.training.weights import read_weights

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class SavedCircuits:
    """The circuits of a run. `len(...)` is their number.

    Attributes:
        table: a row for each circuit, as circuits.parquet has it.
        part: the analysed last layers, with all outputs.
        x: `(N, n_0)` float32, the activations of the examples that circuits were found on, which enter the part: of the
            test examples, unless `experiment.judge_on` said otherwise.
        targets: `(N, n_outputs)` float32, rounded; or classes `(N,)` int64.
        outputs: `(N, n_outputs)` float32, the whole network's.
        ablation: what an edge that is left out carries in these circuits: zero or mean.
        kind: what the outputs are: values, or what answers a class.
    """

    table: DataFrame
    part: Part
    x: Tensor
    targets: Tensor
    outputs: Tensor
    ablation: str = "zero"
    kind: Outputs = Outputs.values

    def __len__(self) -> int:
        return len(self.table)

    def circuit(self, row: int) -> Circuit:
        """Returns the circuit in this row of the table, counted from 0.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"row={row}: the table has the rows 0 to {len(self) - 1}.")
        output, bits = (self.table[column].iloc[row] for column in ("output", "circuit"))
        output = output if output == ALL else int(output)
        return Circuit(self.part.output(output), int(bits), output, self._means)

    @cached_property
    def _means(self) -> tuple[Tensor, ...] | None:
        return means_of(self.part, self.x, self.ablation)


def load_circuits(folder: str | Path) -> SavedCircuits:
    """Returns the circuits of a run.

    Args:
        folder: of a run of `experiment=circuits`, e.g. `outputs/circuits/mnist01-mlp/latest`.

    Raises:
        ValueError: the folder has no circuits; the text says what to type.
    """
    import pandas as pd

    folder = Path(folder)
    table, weights = folder / "circuits.parquet", folder / "circuits.safetensors"
    if not (table.is_file() and weights.is_file()):
        raise ArgumentError(
            "folder",
            folder,
            f"it lacks {(weights if table.is_file() else table).name}.",
            "Name the folder of a run of experiment=circuits with experiment.table=auto, all or valid.",
        )
    frame, tensors = pd.read_parquet(table), read_weights(weights)
    x, targets, outputs = (tensors[name] for name in ("x", "targets", "outputs"))
    part, ablation = saved_part(frame.attrs, tensors), frame.attrs.get("ablation", "zero")
    kind = Outputs(frame.attrs.get("outputs", Outputs.values.value))
    return SavedCircuits(frame, part, x, targets, outputs, ablation, kind)

"""What is asked about the circuits of one output, or of all that answer a class together, and what is found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from mi_runner.config.experiments.circuits import CircuitsConfig
from mi_runner.experiments import Drawing
from mi_runner.experiments.circuits.sharing import Sharing
from mi_runner.experiments.circuits.tables import OF_JUDGED, SPARSEST_JUDGED
from mi_runner.experiments.common.circuit_search import n_circuits
from mi_runner.experiments.common.judging import Recorded
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.pieces import WHOLE, Piece
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import Progress
from mi_runner.tables.declaration import ENDS, names_of

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Asked:
    """The circuits of an output, or of all together.

    Attributes:
        config: the experiment's options.
        seed: of the run.
        part: the analysed layers with this output only, or with all.
        found: the examples that circuits are found on.
        judging: the examples that they are judged on; None: the same.
        output: its number, or `all`.
        cut: how the analysed layers alone compare with the whole network.
        rule: by which circuits are valid.
        truths: the circuits that are known as the truth, as bits, of all outputs.
        n_outputs: how many outputs are analysed one by one.
        words: which examples circuits are found and judged on; empty where they are the same.
        is_planted: whether only circuits that keep edges of non-zero weight are looked at.
        device: where the data are.
        progress: of the run.
    """

    config: CircuitsConfig
    seed: int
    part: Part
    found: Recorded
    judging: Recorded | None
    output: int | str
    cut: Mapping[str, float]
    rule: str
    truths: Mapping[int | str, int] = field(default_factory=dict)
    n_outputs: int = 1
    words: str = ""
    is_planted: bool = False
    device: torch.device = torch.device("cpu")
    progress: Progress = field(default_factory=Progress)

    @property
    def which(self) -> str:
        """Which output a sentence about the first one is of; empty if there is one."""
        return f"Of the first of {self.n_outputs} outputs, " if self.n_outputs > 1 else ""

    @property
    def which_part(self) -> str:
        """Which part of a census a line is of; empty if it is the whole."""
        return "" if self.config.part is None else f", part {self.config.part} of {self.config.parts}"

    @property
    def piece(self) -> Piece:
        """Which circuits are counted: (3, 64) for the third of 64 parts."""
        return WHOLE if self.config.part is None else (self.config.part, self.config.parts)

    @property
    def search_options(self) -> dict[str, Any]:
        """What every search of these circuits is told besides the part and the examples."""
        config = self.config
        return {
            "accuracy_threshold": config.accuracy_threshold,
            "ablation": config.ablation.name,
            "inputs": config.inputs.name,
            "progress": self.progress,
        }

    @property
    def space(self) -> CircuitSpace:
        """The circuits of these layers."""
        return CircuitSpace(self.part.sizes, self.config.inputs.name)

    @property
    def n_circuits(self) -> int:
        """How many circuits there are; of planted weights those that keep edges of non-zero weight alone."""
        return n_circuits(self.part, self.config.inputs.name, self.is_planted)


@dataclass(frozen=True, eq=False)
class OfOutput:
    """What is found of an output, or of all together.

    Attributes:
        row: of metrics.csv.
        answer: how many circuits are valid, in sentences.
        edges, census, accuracy: rows of these tables; none where the method has none.
        listed: the circuits, as in circuits.parquet; None where the method lists none.
        figures: by name.
        picture: the data of the interactive one; None where the method lists no circuits.
        minimal_seconds: how long the levels of minimality took.
        pair_seconds: how long the pairs took, and what valid circuits share.
        sharing: what the valid circuits share; None where it isn't computed.
    """

    row: dict[str, Any]
    answer: str
    edges: list[dict[str, Any]]
    census: list[dict[str, Any]] = field(default_factory=list)
    accuracy: list[dict[str, Any]] = field(default_factory=list)
    listed: DataFrame | None = None
    figures: dict[str, Drawing] = field(default_factory=dict)
    picture: Callable[[], Any] | None = None
    minimal_seconds: float = 0.0
    pair_seconds: float = 0.0
    sharing: Sharing | None = None


def number(value: float | None) -> float:
    """Returns a number of the summary; NaN where it isn't known, or is too large for a float."""
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def unlisted_columns(asked: Asked, n_found: int) -> dict[str, Any]:
    """Returns the columns of metrics.csv that say what all listed circuits say, empty where circuits aren't all listed.

    Args:
        n_found: examples that circuits are found on.
    """
    columns: dict[str, Any] = {"n_equally_valid": None} if asked.truths else {}
    if asked.judging is not None:
        ends = (f"{SPARSEST_JUDGED.name}{end}" for end in ENDS)
        columns |= dict.fromkeys((*names_of(OF_JUDGED), *ends, "n_listed_valid"))
        columns |= {"n_found": n_found, "n_judged": len(asked.judging.y)}
    return columns

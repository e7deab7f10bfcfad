"""What an edge that is left out of a circuit carries: nothing, or its mean.

- *zero*: 0. An inactive neuron outputs 0.
- *mean*: the edge's weight times the mean of its source in the whole network, over the examples that circuits are
  evaluated on. An inactive neuron outputs its mean, for all its outgoing edges are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.examples import CircuitExamples

ABLATIONS = ("zero", "mean")

Means = Sequence[Tensor]
"""The mean of each neuron that edges leave, `(n_l,)` float32 for each such layer, inputs first; see `Part.means`."""


def means_of(part: Part, examples: CircuitExamples, ablation: str) -> tuple[Tensor, ...] | None:
    """Returns the means that left-out edges carry, for `Part.masked`; None for zero ablation.

    Args:
        ablation: one of `ABLATIONS`.

    Raises:
        ValueError: there is no such ablation.
    """
    if ablation not in ABLATIONS:
        raise ValueError(f"ablation={ablation}: there are {' and '.join(ABLATIONS)}.")
    return part.means(examples.x) if ablation == "mean" else None

"""Measures of every circuit, one row for each circuit, computed by tensor operations on any device.

Letters: P prefixes, R rows (kept inputs of each neuron of the last hidden layer), J neurons j, M masks m, n inputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import means_of
from mi_runner.methods.circuits.examples import CircuitExamples, group_examples
from mi_runner.methods.circuits.measures import CircuitMeasures
from mi_runner.methods.circuits.prefixes import PREFIXES_AT_ONCE, prefixes_of, tail_offsets, with_tails
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import Progress

NUMBERS_AT_ONCE = 50_000_000
"""Outputs of a batch of tensor operations, circuits times examples; a few tensors have as many numbers of 4 bytes."""


@torch.no_grad()
def measure_on(
    device: torch.device,
    part: Part,
    examples: CircuitExamples,
    *,
    ablation: str = "zero",
    inputs: str = "all",
    progress: Progress | None = None,
) -> Iterator[CircuitMeasures]:
    """Yields what `measure` yields, in another order, computed on any device; the part needs a hidden layer.

    Sums may differ from the kernel's in the last digits of float32. So an output within 1e-5 of a rounding boundary may
    be rounded to the other side.
    """
    progress = progress or Progress()
    space, means = CircuitSpace(part.sizes, inputs), means_of(part, examples.x, ablation)
    grouped = group_examples(part.layers[-1], examples)
    per_group = np.column_stack([grouped.wanted, grouped.sizes])
    *bounds, sizes = torch.from_numpy(np.repeat(per_group, np.diff(grouped.groups), axis=0).T.copy()).to(device)
    full = torch.from_numpy(grouped.full).to(device)
    hidden, output = part.to(device).layers[-2:]
    n_in, n_neurons = part.sizes[-3], part.sizes[-2]
    kept = torch.tensor([[bool(m >> i & 1) for i in range(n_in)] for m in range(1 << n_in)], device=device)
    weights = hidden.weight[:, None, :] * kept  # (J, M, n)
    biases, inactive = hidden.bias[:, None, None], torch.zeros(n_neurons, 1, device=device)
    if means is not None:
        into_hidden, into_output = (mean.to(device) for mean in means[-2:])
        biases = biases + ((hidden.weight[:, None, :] * ~kept) @ into_hidden)[:, :, None]
        inactive = (output.weight[0] * into_output)[:, None]
    with progress.bar("circuits", space.count()) as advance:
        for prefixes in prefixes_of(part, space, grouped.x, PREFIXES_AT_ONCE, means):
            for active in np.unique(prefixes.active).tolist():
                (some,) = np.nonzero(prefixes.active == active)
                for rows in _rows(active, n_in, n_neurons).split(max(1, NUMBERS_AT_ONCE // len(full))):
                    at_once = max(1, NUMBERS_AT_ONCE // (max(len(rows), weights.shape[0] * len(kept)) * len(full)))
                    for these in np.array_split(some, -(-len(some) // at_once)):
                        values = torch.from_numpy(prefixes.values[these]).to(device)
                        before = torch.einsum("jmn,pnb->pjmb", weights, values) + biases
                        terms = output.weight[0][:, None, None] * hidden.activate(before)
                        terms[:, :, 0] = inactive
                        z = output.bias[0].expand(len(these), len(rows), len(full))
                        for j in range(n_neurons):
                            z = z + terms[:, j].index_select(1, rows[:, j].to(device))
                        n_correct = (((z >= bounds[0]) & (z <= bounds[1])) * sizes).sum(2).int()
                        n_agreeing = (((z >= bounds[2]) & (z <= bounds[3])) * sizes).sum(2).int()
                        squares = ((output.activate(z) - full).square() * sizes).sum(2)
                        tails = np.tile(_tails(rows, space, n_in), len(these))
                        circuits = with_tails(space, np.repeat(prefixes.bits[these], len(rows)), tails)
                        columns = (column.cpu().numpy().reshape(-1) for column in (n_correct, n_agreeing, squares))
                        yield CircuitMeasures(circuits, *columns)
                        advance(len(circuits))


def _rows(active: int, n_in: int, n_neurons: int) -> Tensor:
    """Returns all ways `(R, J)` to choose kept inputs for each neuron so that each active input is kept."""
    subsets = torch.tensor([mask for mask in range(1 << n_in) if not mask & ~active])
    rows = torch.cartesian_prod(*[subsets] * n_neurons).reshape(-1, n_neurons)
    union = torch.zeros(len(rows), dtype=torch.int64)
    for j in range(n_neurons):
        union |= rows[:, j]
    return rows[union == active]


def _tails(rows: Tensor, space: CircuitSpace, n_in: int) -> np.ndarray:
    """Returns the edges into and out of the last hidden layer as bits, `(R,)` uint64; see `prefixes.with_tails`."""
    tails = np.zeros(len(rows), dtype=np.uint64)
    _, output = tail_offsets(space).tolist()
    for j, masks in enumerate(rows.numpy().T.astype(np.uint64)):
        tails |= masks << (j * n_in)
        tails |= (masks != 0).astype(np.uint64) << (output + j)
    return tails

"""Networks of a random plan: layers and operations with forks, for properties that any graph must have."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping, Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 3
MODULES = {
    "linear": lambda: nn.Linear(WIDTH, WIDTH),
    "without bias": lambda: nn.Linear(WIDTH, WIDTH, bias=False),
    "relu": nn.ReLU,
    "layer norm": lambda: nn.LayerNorm(WIDTH),
}
FUNCTIONS = {
    "tanh": torch.tanh,
    "sigmoid": functional.sigmoid,
    "negative": operator.neg,
    "doubled": lambda value: 2 * value,
    "sum": operator.add,
    "difference": torch.sub,
    "product": operator.mul,
    "largest": torch.maximum,
}
OF_TWO = ("sum", "difference", "product", "largest")

Node = tuple[str, tuple[int, ...]]
"""A layer or operation and the values that it reads: 0 is the input, k the node at place k − 1."""


class Planned(nn.Module):
    """A network that computes one value after the other, as its plan says; the last is its output.

    Args:
        plan: what each value is computed from.
        seed: of the weights.
    """

    def __init__(self, plan: Sequence[Node], seed: int) -> None:
        super().__init__()
        self.plan = tuple(plan)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.ModuleDict(
                {str(place): MODULES[kind]() for place, (kind, _) in enumerate(plan) if kind in MODULES}
            )

    def apply_node(self, place: int, *read: Tensor) -> Tensor:
        """The value of a node, of the values that it reads."""
        kind = self.plan[place][0]
        return self.layers[str(place)](*read) if kind in MODULES else FUNCTIONS[kind](*read)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for place, (_, sources) in enumerate(self.plan):
            values.append(self.apply_node(place, *(values[source] for source in sources)))
        return values[-1]

    def chains(self) -> list[tuple[int, ...]]:
        """Every chain of up to four values that read each other: sites, edges, and paths."""
        readers = [
            [place + 1 for place, (_, sources) in enumerate(self.plan) if value in sources]
            for value in range(len(self.plan) + 1)
        ]
        found = [(value,) for value in range(len(readers))]
        for chain in found:
            if len(chain) < 4:
                found += [(*chain, reader) for reader in readers[chain[-1]]]
        return found

    def edited(self, x: Tensor, chain: Sequence[int], new: Tensor) -> Tensor:
        """The output where the first value of a chain is `new`, for what flows along the chain alone.

        By definition: the values inside the chain are computed a second time, each from the one before it and from
        the others as they always were; only the last of the chain reads the result.
        """
        if len(chain) == 1:
            return self.values(x, sites={chain[0]: new})[-1]
        plain, flowing = self.values(x), new
        for before, value in itertools.pairwise(chain[:-1]):
            read = [flowing if source == before else plain[source] for source in self.plan[value - 1][1]]
            flowing = self.apply_node(value - 1, *read)
        return self.values(x, edges={(chain[-2], chain[-1]): flowing})[-1]

    def values(
        self,
        x: Tensor,
        sites: Mapping[int, Tensor] | None = None,
        edges: Mapping[tuple[int, int], Tensor] | None = None,
    ) -> list[Tensor]:
        """Every value, the input first, with these sites, and these uses (source, reader), replaced."""
        sites, edges = sites or {}, edges or {}
        values = [sites.get(0, x)]
        for place, (_, sources) in enumerate(self.plan):
            read = [edges.get((source, place + 1), values[source]) for source in sources]
            values.append(sites.get(place + 1, self.apply_node(place, *read)))
        return values


@st.composite
def planned_networks(draw: st.DrawFn) -> Planned:
    """Networks of one to six nodes; a value may be read by several nodes, twice by one, or by none."""
    plan: list[Node] = []
    for place in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from([*MODULES, *FUNCTIONS]))
        plan.append((kind, tuple(draw(st.integers(0, place)) for _ in range(2 if kind in OF_TWO else 1))))
    return Planned(plan, seed=draw(st.integers(0, 1000))).eval()

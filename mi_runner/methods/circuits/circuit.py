"""One circuit: its masks, its outputs, its drawing, its file, and how it compares with others."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Layer, Part
from mi_runner.machine import drawing
from mi_runner.methods.circuits.evaluator import outputs_of_circuits
from mi_runner.methods.circuits.overlaps import overlaps
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.tables.names import ALL

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Circuit:
    """A circuit: the kept edges of the part that computes one output, or several that answer a class together.

    Attributes:
        part: the analysed part with this output only, `find_part(...).output(output)`, or with several. Two circuits
            are equal if their sizes, kept edges and outputs are; the weights are not compared.
        bits: the kept edges, as in the column `circuit` of circuits.parquet, of any number of edges;
            `CircuitSpace.offsets` says which bit is which edge.
        output: the output's index in the network; `all` of a part with several outputs.
        means: of the neurons that edges leave: what edges that are left out carry; None: 0. `part.means(x)` has the
            means of the examples x.
        space: the well-formed circuits of the part, those that leave inputs and outputs out included.

    Raises:
        ArgumentError: the circuit is not well formed.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mi_runner import circuits
        >>> from mi_runner.graph import ModelGraph, find_part
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> with torch.no_grad():
        ...     for parameter in net.parameters():
        ...         _ = parameter.fill_(1.0) if parameter.ndim == 2 else parameter.zero_()
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
        >>> graph = ModelGraph.trace(net, x)
        >>> part = find_part(graph, None)
        >>> circuit = circuits.Circuit(part, 0b11_1010)
        >>> circuit.masks
        (array([[False,  True],
               [False,  True]]), array([[ True,  True]]))
        >>> circuit.apply(x)
        tensor([0., 2.])
    """

    part: Part = field(compare=False, repr=False)
    bits: int
    output: int | str = 0
    means: tuple[Tensor, ...] | None = field(default=None, compare=False, repr=False)
    space: CircuitSpace = field(init=False)

    def __post_init__(self) -> None:
        output = ALL if self.part.sizes[-1] > 1 else int(self.output)
        derived = {"space": CircuitSpace(self.part.sizes, "any"), "bits": int(self.bits), "output": output}
        for name, value in derived.items():
            object.__setattr__(self, name, value)  # a row of a table has numpy's integers
        if not self.space.is_well_formed(self.bits):
            sizes = "-".join(map(str, self.space.sizes))
            problem = f"{{bits}}={self.bits} is not a well-formed circuit of layers of {sizes} neurons."
            raise ArgumentError("bits", self.bits, problem)

    @property
    def masks(self) -> tuple[np.ndarray, ...]:
        """The kept edges, a boolean mask `(out, in)` for each Linear layer."""
        return self.space.masks(self.bits)

    @property
    def n_edges(self) -> int:
        """Number of kept edges."""
        return self.bits.bit_count()

    @property
    def n_nodes(self) -> int:
        """Number of active hidden neurons."""
        return sum(self.space.active(self.bits))

    def contains(self, other: Circuit) -> bool:
        """Returns whether this circuit keeps every edge that the other keeps."""
        return other.bits & ~self.bits == 0

    def jaccard(self, other: Circuit) -> float:
        """Returns the number of edges that both keep, divided by the number of edges that at least one keeps."""
        return (self.bits & other.bits).bit_count() / (self.bits | other.bits).bit_count()

    def apply(self, x: Tensor) -> Tensor:
        """Returns the circuit's outputs for activations `(B, n_0)` that enter the part.

        They are `(B,)` of one output, and `(B, K)` of several.
        """
        row = self.space.edges.rows(self.space.edges.bits([self.bits]))
        outputs = outputs_of_circuits(self.part, row, x, self.means)[0]
        return outputs if self.output == ALL else outputs[:, 0]

    def apply_to(self, model: nn.Module) -> nn.Module:
        """Returns a copy of the whole network in which the part keeps only this circuit's edges.

        Edges that are left out have weight zero; what they carry is added to the bias of their target. An inactive
        neuron has no outgoing edge, so its value changes nothing. The rows of the last layer that belong to other
        outputs are unchanged.

        Raises:
            ArgumentError: the network has other Linear layers than the part.
        """
        copied = copy.deepcopy(model)
        modules = dict(copied.named_modules())
        with torch.no_grad():
            for index, (layer, mask) in enumerate(zip(self.part.layers, self.masks, strict=True)):
                linear = modules.get(layer.module)
                weight = linear.weight if isinstance(linear, nn.Linear) else torch.empty(0)
                rows = slice(None)
                if layer is self.part.layers[-1] and isinstance(self.output, int):
                    rows = slice(self.output, self.output + 1)
                weight = weight[rows]
                if tuple(weight.shape) != mask.shape:
                    n_out, n_in = mask.shape
                    problem = f"the model has no Linear layer '{layer.module}' of {n_in} inputs and {n_out} outputs."
                    raise ArgumentError("model", None, problem)
                kept = torch.as_tensor(mask, device=weight.device)
                if self.means is not None and isinstance(linear, nn.Linear):
                    if linear.bias is None:
                        linear.bias = nn.Parameter(torch.zeros_like(linear.weight[:, 0]))
                    linear.bias[rows] += (weight * ~kept) @ self.means[index].to(weight)
                weight *= kept
        return copied

    def draw(self, path: str | Path | None = None) -> Figure:
        """Returns a drawing of the kept edges, and saves it if a path is given; its ending names the format."""
        from mi_runner.methods.circuits.drawing import draw_circuits

        figure = drawing.as_written(draw_circuits(self.part, [self.bits]))
        if path is not None:
            figure.savefig(path, dpi=drawing.DPI)
        return figure

    def save(self, path: str | Path) -> None:
        """Writes the circuit and the weights of its part as JSON."""
        layers = [
            {
                "module": layer.module,
                "activation": layer.activation,
                "slope": layer.slope,
                "weight": layer.weight.tolist(),
                "bias": layer.bias.tolist(),
            }
            for layer in self.part.layers
        ]
        content: dict[str, Any] = {
            "circuit": self.bits,
            "output": self.output,
            "site": self.part.site,
            "layers": layers,
        }
        if self.means is not None:
            content["means"] = [mean.tolist() for mean in self.means]
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def load(path: str | Path) -> Circuit:
        """Returns the circuit that `save` wrote.

        Raises:
            ArgumentError: the file can't be read, or it has no circuit.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            layers = [
                Layer(**{**layer, "weight": torch.tensor(layer["weight"]), "bias": torch.tensor(layer["bias"])})
                for layer in content["layers"]
            ]
            means = tuple(torch.tensor(mean) for mean in content["means"]) if "means" in content else None
            return Circuit(Part(tuple(layers), content["site"]), content["circuit"], content["output"], means)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            problem = f"{path} has no circuit ({type(error).__name__}: {error})."
            raise ArgumentError("path", None, problem) from error


def pair_shares(
    circuits: np.ndarray, *, most: int | None = None, generator: torch.Generator | None = None
) -> tuple[float, float]:
    """Returns the fraction of pairs in which one circuit contains the other, and the mean Jaccard overlap of pairs.

    Both are NaN if there are fewer than two circuits.

    Args:
        circuits: `(K,)`, bits; see `edges`.
        most: if there are more circuits, compare so many, drawn at random; None: all.
        generator: draws them; None: torch's own.
    """
    if most is not None and len(circuits) > most:
        circuits = circuits[torch.randperm(len(circuits), generator=generator)[:most].sort().values.numpy()]
    if len(circuits) < 2:
        return math.nan, math.nan
    found = overlaps(circuits)
    assert found.contained is not None
    assert found.mean is not None
    return found.contained, found.mean

"""The valid circuits of one output with one ablation, the controls, and what is known of both in regions.

Letters: K circuits, N test examples, B examples with boxes, n_0 inputs of the part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.config.experiments.robustness import RobustnessConfig
from mi_runner.datasets.distinct import first_of_equal
from mi_runner.datasets.outputs import Outputs
from mi_runner.experiments import Setting
from mi_runner.experiments.common.sentences import counted
from mi_runner.experiments.common.valid_circuits import UNTRAINED, Network, chance_circuits, searched, some_valid
from mi_runner.experiments.robustness.tables import EXAMPLES, HULL_REGION
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.ablation import Means, means_of
from mi_runner.methods.circuits.edges import n_kept
from mi_runner.methods.circuits.search import CircuitSearch
from mi_runner.methods.robustness.certify import Certificates, certify_circuits, certify_hull
from mi_runner.progress import log

RANDOM = "random"
"""The control of circuits drawn at random; `UNTRAINED` is the other one."""


@dataclass(frozen=True, eq=False)
class Compared:
    """A network's output as its circuits are compared with it, in float64.

    Attributes:
        part: the analysed layers, without a softmax at the end.
        x: `(N, n_0)`, what enters them.
        rows: `(B,)`, the test examples that have boxes.
        kind: what the outputs are.
        means: of the neurons that edges leave; None: left-out edges carry 0.
    """

    part: Part
    x: Tensor
    rows: np.ndarray
    kind: Outputs
    means: Means | None


@dataclass(frozen=True, eq=False)
class InRegion:
    """What is known of circuits in one kind of region.

    Attributes:
        region: as tables name it.
        epsilon: half of a box's width; None: the hull.
        n_examples: how many regions there are.
        n_proved: `(K,)`, in how many of them the circuit answers as the network does.
        is_certified, is_refuted: `(K,)` bool; a circuit that is neither is undecided.
        n_changed: regions in which the network itself changes its answer; None: they are points.
    """

    region: str
    epsilon: float | None
    n_examples: int
    n_proved: np.ndarray
    is_certified: np.ndarray
    is_refuted: np.ndarray
    n_changed: int | None

    @property
    def is_undecided(self) -> np.ndarray:
        """Which circuits are neither certified nor refuted, `(K,)` bool."""
        return np.asarray(~self.is_certified & ~self.is_refuted)


@dataclass(frozen=True, eq=False)
class Population:
    """Circuits and what is known of them.

    Attributes:
        circuits: `(K,)`, bits.
        n_all: how many there are, decided or not.
        boxes: around the examples.
        hull: in the box that holds all examples; None: it wasn't asked for.
    """

    circuits: np.ndarray
    n_all: int
    boxes: Certificates
    hull: Certificates | None

    @property
    def is_sample(self) -> bool:
        """Whether not all are decided."""
        return len(self.circuits) < self.n_all

    @cached_property
    def n_edges(self) -> np.ndarray:
        """Kept edges of each circuit, `(K,)`."""
        return n_kept(self.circuits)

    @cached_property
    def regions(self) -> list[InRegion]:
        """What is known at the examples, in boxes of each size, and in the hull."""
        return list(self._regions())

    def _regions(self) -> Iterator[InRegion]:
        boxes = self.boxes
        agrees = boxes.n_agreeing == boxes.n_examples
        yield InRegion(EXAMPLES, 0.0, boxes.n_examples, boxes.n_agreeing, agrees, ~agrees, None)
        for found, names in ((boxes, [f"box_{size:g}" for size in boxes.epsilons]), (self.hull, [HULL_REGION])):
            if found is None:
                continue
            for place, name in enumerate(names):
                yield InRegion(
                    name,
                    None if name == HULL_REGION else float(found.epsilons[place]),
                    found.n_examples,
                    found.n_proved[place],
                    found.is_certified[place],
                    found.is_refuted[place],
                    int(found.n_changed[place]),
                )


@dataclass(frozen=True, eq=False)
class Decided:
    """The valid circuits of one output, or of all that answer a class together, with one ablation.

    Attributes:
        compared: what they are compared with.
        search: the circuits that were found.
        valid_by: the rule by which they are valid.
        valid: the valid circuits.
        controls: `random` and `untrained`, those that there are.
        not_drawn: numbers of edges of which no random circuits could be drawn.
        controlled: whether controls are asked for.
    """

    output: int | str
    ablation: str
    compared: Compared
    search: CircuitSearch
    valid_by: str
    valid: Population
    controls: dict[str, Population]
    not_drawn: tuple[int, ...] = ()
    controlled: bool = True

    @property
    def keys(self) -> dict[str, int | str]:
        """The columns that name its rows."""
        return {"ablation": self.ablation, "output": self.output}


def rows_with_boxes(y: Tensor, n_of_each: int | None) -> np.ndarray:
    """Returns the examples that have boxes, `(B,)` int64 ascending: the first ones of each distinct target.

    Args:
        y: `(N,)` or `(N, outputs)`, the targets.
        n_of_each: how many; None: all examples.
    """
    if n_of_each is None:
        return np.arange(len(y))
    index = first_of_equal(y.cpu().reshape(len(y), -1))[0].cpu().numpy()
    return np.sort(np.concatenate([np.flatnonzero(index == one)[:n_of_each] for one in np.unique(index)]))


def decide_output(
    setting: Setting[RobustnessConfig],
    network: Network,
    untrained: Network | None,
    output: int | str,
    ablation: str,
    rule: str,
) -> Decided:
    """Returns what is known of the valid circuits of an output with an ablation, and of the controls.

    Args:
        untrained: the control; None: none.
        rule: by which circuits of the network are valid. Those of the control are by agreement.
    """
    config = setting.config
    search = searched(setting, network, output, ablation, rule)
    circuits = some_valid(setting, search, (network.name, output, ablation), config.max_circuits)
    compared = _compared(setting, network, output, ablation, rule)
    of = "" if len(circuits) == search.n_valid else f"{len(circuits):,} of "
    log.info(
        f"{ablation} ablation: {of}{counted(search.n_valid, 'valid circuit')} in boxes of "
        f"{counted(len(config.epsilons), 'size')} around {counted(len(compared.rows), 'example')}"
    )
    valid = _population(setting, compared, circuits, search.n_valid)
    controls: dict[str, Population] = {}
    not_drawn: tuple[int, ...] = ()
    if config.controls and search.n_valid:
        draw = chance.generator(setting.seed, "criteria", "chance circuits", output, ablation)
        drawn, not_drawn = chance_circuits(search, config.control_circuits, draw)
        if not_drawn:
            log.info(f"{ablation} ablation: no circuits of {', '.join(map(str, not_drawn))} edges could be drawn")
        if len(drawn):
            controls[RANDOM] = _population(setting, compared, drawn, len(drawn))
    if untrained is not None:
        found = searched(setting, untrained, output, ablation, "agreement")
        most = min(config.control_circuits, config.max_circuits)
        own = some_valid(setting, found, (untrained.name, output, ablation), most)
        beside = _compared(setting, untrained, output, ablation, "agreement")
        controls[UNTRAINED] = _population(setting, beside, own, found.n_valid)
    return Decided(output, ablation, compared, search, rule, valid, controls, not_drawn, config.controls)


def _compared(
    setting: Setting[RobustnessConfig], network: Network, output: int | str, ablation: str, rule: str
) -> Compared:
    part = network.part.output(output).without_softmax.to(torch.zeros((), dtype=torch.float64))
    x = network.test.entering.double()
    rows = rows_with_boxes(network.test.y, setting.config.examples)
    return Compared(part, x, rows, network.examples(output, rule).kind, means_of(part, x, ablation))


def _population(setting: Setting[RobustnessConfig], compared: Compared, circuits: np.ndarray, n_all: int) -> Population:
    """Returns what is known of circuits; a circuit that is drawn twice is decided once."""
    config = setting.config
    distinct, index = np.unique(circuits, return_inverse=True)
    boxes = certify_circuits(
        compared.part,
        distinct,
        compared.x,
        config.epsilons,
        examples=compared.x[torch.from_numpy(compared.rows)],
        kind=compared.kind,
        means=compared.means,
        seconds=config.seconds,
        progress=setting.progress,
    )
    hull = None
    if config.hull:
        hull = certify_hull(
            compared.part,
            distinct,
            compared.x,
            kind=compared.kind,
            means=compared.means,
            seconds=config.seconds,
            progress=setting.progress,
        )
    return Population(circuits, n_all, _of_rows(boxes, index), None if hull is None else _of_rows(hull, index))


def _of_rows(found: Certificates, rows: np.ndarray) -> Certificates:
    """Returns what is known of the circuits in these rows."""
    return replace(
        found,
        circuits=found.circuits[rows],
        n_agreeing=found.n_agreeing[rows],
        n_proved=found.n_proved[:, rows],
        n_refuted=found.n_refuted[:, rows],
        n_undecided=found.n_undecided[:, rows],
        witness=found.witness[rows],
        witness_epsilon=found.witness_epsilon[rows],
        witness_example=found.witness_example[rows],
    )

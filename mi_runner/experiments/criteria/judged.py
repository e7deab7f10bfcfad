"""The valid circuits of one output with one ablation, circuits drawn at random, and what criteria say of both.

Letters: K circuits, M circuits of the family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from mi_runner import chance
from mi_runner.config.experiments.criteria import CriteriaConfig
from mi_runner.errors import ArgumentError, RunFailed
from mi_runner.experiments import Setting
from mi_runner.experiments.common.valid_circuits import Network, chance_circuits, searched, some_valid
from mi_runner.experiments.criteria.estimate import seconds_of
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.family import nonzero_edges
from mi_runner.methods.circuits.measures import measure_some
from mi_runner.methods.circuits.search import CircuitSearch
from mi_runner.methods.criteria.comparison import Survivors, survivors
from mi_runner.methods.criteria.judge import Criteria, judge
from mi_runner.methods.criteria.rank import MOST as MOST_RANKED
from mi_runner.methods.criteria.records import CRITERIA, Criterion
from mi_runner.methods.criteria.task import Task
from mi_runner.progress import log

MOST_RESAMPLED = 1_000
"""Circuits whose criteria are computed on each resample of the examples; of more a random sample."""


@dataclass(frozen=True, eq=False)
class Population:
    """Circuits and what criteria say of them.

    Attributes:
        criteria: of the circuits that are judged.
        threshold: what a circuit must reach to survive a criterion.
        n_all: how many there are, judged or not.
    """

    criteria: Criteria
    threshold: float
    n_all: int

    @property
    def circuits(self) -> np.ndarray:
        """Those that are judged, `(K,)` uint64."""
        return self.criteria.circuits

    @property
    def is_sample(self) -> bool:
        """Whether not all are judged."""
        return len(self.circuits) < self.n_all

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Criterion → its numbers `(K,)`."""
        return self.criteria.values

    @cached_property
    def survivors(self) -> Survivors:
        """How many survive criteria."""
        return survivors(self.values, self.threshold)

    def surviving(self, criterion: str) -> tuple[int, int] | None:
        """Returns how many survive a criterion, and of how many; None where it is empty, or there is no circuit."""
        n = self.survivors.alone.get(criterion)
        return None if n is None or not len(self.circuits) else (n, len(self.circuits))

    def surviving_steps(self, criteria: Sequence[str]) -> list[tuple[int, int] | None]:
        """Returns how many survive the first of these criteria, the first two, and so on; None from an empty one on."""
        found: list[tuple[int, int] | None] = []
        for place, name in enumerate(criteria):
            has_all = self.surviving(name) is not None and (not found or found[-1] is not None)
            counts = survivors({one: self.values[one] for one in criteria[: place + 1]}, self.threshold)
            found.append((counts.of_all or 0, len(self.circuits)) if has_all else None)
        return found


@dataclass(frozen=True, eq=False)
class Judged:
    """The valid circuits of one output, or of all that answer a class together, with one ablation.

    Attributes:
        part: the analysed layers, with this output only, or with all.
        search: the circuits that were found.
        valid_by: the rule by which they are valid.
        valid: the valid circuits.
        chance: circuits of as many edges, drawn at random; None: no control, no valid circuit, or none drawn.
        not_drawn: numbers of edges of which no chance circuits could be drawn.
        untrained: valid circuits of the untrained network; None: no control.
        truth: the circuit that is known as the truth, judged alone; None: none is known, or it isn't valid.
        controlled: whether controls are asked for.
    """

    output: int | str
    ablation: str
    part: Part
    search: CircuitSearch
    valid_by: str
    valid: Population
    chance: Population | None = None
    untrained: Population | None = None
    truth: Criteria | None = None
    controlled: bool = True
    not_drawn: tuple[int, ...] = ()

    @property
    def keys(self) -> dict[str, int | str]:
        """The columns that name its rows."""
        return {"ablation": self.ablation, "output": self.output}

    @property
    def criteria(self) -> list[str]:
        """The names of the criteria, in their order."""
        return list(self.valid.values)

    @property
    def counted(self) -> tuple[str, ...]:
        """The criteria that a circuit must survive to survive all: those that aren't empty, without parsimony."""
        return self.valid.survivors.counted


def judge_output(
    setting: Setting[CriteriaConfig],
    network: Network,
    untrained: Network | None,
    criteria: Sequence[Criterion],
    output: int | str,
    ablation: str,
    rule: str,
    truth: int | None = None,
) -> Judged:
    """Returns the valid circuits of an output with an ablation, their criteria, and the controls.

    Args:
        untrained: the control; None: no controls.
        rule: by which circuits of the network are valid. Those of the control are by agreement.
        truth: the circuit that is known as the truth; None: none is known.
    """
    config = setting.config
    search = searched(setting, network, output, ablation, rule)
    task = _task(setting, network, search, output, ablation)
    n_chance = config.control_circuits if config.controls else 0
    if search.n_valid:
        log.info(_estimate(task, search, criteria, config.max_circuits, n_chance, config.resamples))
    else:
        log.info(f"{ablation} ablation: no circuit is valid, so none is judged")
    valid = _valid(setting, task, search, criteria, (network.name, output, ablation), config.max_circuits)
    by_chance, not_drawn = _by_chance(setting, task, search, criteria, output)
    control = None
    if untrained is not None:
        found = searched(setting, untrained, output, ablation, "agreement")
        most = min(config.control_circuits, config.max_circuits)
        own = _task(setting, untrained, found, output, ablation)
        control = _valid(setting, own, found, criteria, (untrained.name, output, ablation), most)
    known = None
    if truth is not None:
        circuits = np.array([truth], dtype=np.uint64)
        measured = measure_some(
            network.part.output(output),
            network.examples(output, rule),
            circuits,
            ablation=ablation,
            inputs=config.inputs.name,
        )
        if search.space.is_well_formed(truth) and measured.right(rule)[0] >= search.least_correct:
            known = _judged(setting, task, circuits, criteria)
    return Judged(
        output,
        ablation,
        network.part.output(output),
        search,
        rule,
        valid,
        by_chance,
        control,
        known,
        config.controls,
        not_drawn,
    )


def _by_chance(
    setting: Setting[CriteriaConfig],
    task: Task,
    search: CircuitSearch,
    criteria: Sequence[Criterion],
    output: int | str,
) -> tuple[Population | None, tuple[int, ...]]:
    """Returns the chance circuits with their criteria, and the numbers of edges of which none could be drawn."""
    config = setting.config
    if not config.controls or not search.n_valid:
        return None, ()
    draw = chance.generator(setting.seed, "criteria", "chance circuits", output, task.ablation)
    circuits, not_drawn = chance_circuits(search, config.control_circuits, draw)
    if not_drawn:
        log.info(
            f"{task.ablation} ablation: {config.control_circuits - len(circuits):,} chance circuits of "
            f"{', '.join(map(str, not_drawn))} edges are missing, as almost none that is drawn has all inputs and "
            "outputs; chance is compared with the valid circuits of other sizes"
        )
    if not len(circuits):
        return None, not_drawn
    return Population(_judged(setting, task, circuits, criteria), config.threshold, len(circuits)), not_drawn


def _task(
    setting: Setting[CriteriaConfig], network: Network, search: CircuitSearch, output: int | str, ablation: str
) -> Task:
    """Returns what criteria see of an output."""
    config, double = setting.config, torch.zeros((), dtype=torch.float64)
    lists_all, part = len(search.listed) == search.n_circuits, network.part.output(output)
    allowed = None
    if network.is_planted:
        edges = search.space.edges
        allowed = edges.closed(edges.rows(np.array([nonzero_edges(part)], dtype=np.uint64)))[0]
    return Task(
        part.to(double),
        network.test.entering.to(double),
        network.examples(output, "task").kind,
        ablation,
        config.inputs.name,
        config.pairs,
        tuple(config.noise),
        shift=None if network.shift is None else network.shift.to(double),
        family=search.listed.circuit if lists_all else None,
        allowed=allowed,
        every_input=network.every_input,
        seed=chance.derived_seed(setting.seed, "criteria", output),
        device=None if setting.dataset.x_test.device.type == "cpu" else setting.dataset.x_test.device,
    )


def _estimate(
    task: Task, search: CircuitSearch, criteria: Sequence[Criterion], most: int, n_chance: int, resamples: int
) -> str:
    """Returns how many circuits are judged, and about how long it takes."""
    n_judged = min(search.n_valid, most)
    is_ranked = task.family is not None or search.space.count() <= MOST_RANKED
    seconds = seconds_of(
        task,
        criteria,
        n_judged + 2 * n_chance,  # as many of the untrained network
        n_family=search.space.count() if is_ranked else 0,
        n_families=2 if n_chance else 1,
        resamples=0 if task.has_every_input else resamples,
        n_resampled=min(n_judged, MOST_RESAMPLED),
    )
    of = "" if n_judged == search.n_valid else f" of {search.n_valid:,}"
    return f"{n_judged:,}{of} valid circuits and {n_chance:,} drawn at random are judged, about {seconds:,.0f} s"


def _valid(
    setting: Setting[CriteriaConfig],
    task: Task,
    search: CircuitSearch,
    criteria: Sequence[Criterion],
    where: tuple[str, int | str, str],
    most: int,
) -> Population:
    """Returns the valid circuits of a search, at most so many, with their criteria.

    Args:
        where: network, output and ablation, for the draw.
    """
    circuits = some_valid(setting, search, where, most)
    return Population(_judged(setting, task, circuits, criteria), setting.config.threshold, search.n_valid)


def _judged(
    setting: Setting[CriteriaConfig], task: Task, circuits: np.ndarray, criteria: Sequence[Criterion]
) -> Criteria:
    """Returns what criteria say of circuits.

    Raises:
        RunFailed: a criterion that isn't the package's raises an error, gives another number of values, or one outside
            of 0..1.
    """
    try:
        return judge(task, circuits, names=criteria, progress=setting.progress)
    except Exception as error:
        others = [record.name for record in criteria if record not in CRITERIA]
        if not others:
            raise
        cause = f"{error}" if isinstance(error, ArgumentError) else f"{type(error).__name__}: {error}"
        raise RunFailed(f"experiment.criteria with {', '.join(others)}: {cause}") from error

"""Every criterion for circuits, a record each: what it measures, and which function computes it.

A new criterion is a function and its record in `CRITERIA`, or in an installed package, as an entry point of
`mi_runner.criteria`. Options, help, completion, checks and the table in docs/criteria.md read the records. Nothing here
imports torch: a record names its function, which is imported when the criterion is first computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from mi_runner.errors import ArgumentError
from mi_runner.machine.installed import EntryPoint, Fault, added_records

NOISE = (0.1, 0.3, 1.0)
"""Standard deviations of the noise, in those of each input unit."""

PARSIMONY = "parsimony"
"""The criterion that is left out where survivors of all criteria are counted: it falls with each kept edge."""


@dataclass(frozen=True)
class Criterion:
    """A criterion for circuits.

    Its function is `(task, circuits) → scores`: `task` is a `mi_runner.methods.criteria.task.Task`, `circuits` are
    `(K,)` uint64, and scores are an array `(K,)` in 0..1, NaN where nothing can be said, or `Scores`, which can be
    resampled. With `by_noise` it also takes the `noise`, one of the task's.

    Attributes:
        name: as it is typed.
        sentence: what it measures, in one line for help and docs/criteria.md.
        function: the function itself or where it is, `package.module:function`.
        by_noise: whether there is one for each standard deviation of the noise; these are named `noise_0.1`.
        needs_shift: whether it needs inputs of other data, and is empty without any.
        is_default: whether a run that names no criteria has it; none of an installed package is.
        origin: the entry point of the installed package that adds it; None: it is mi-run's own, or is given by itself.
    """

    name: str
    sentence: str
    function: str | Callable[..., Any]
    by_noise: bool = False
    needs_shift: bool = False
    is_default: bool = False
    origin: EntryPoint | None = None

    def columns(self, noise: Sequence[float] = NOISE) -> list[str]:
        """Returns the names of its numbers: its own, or one for each standard deviation of the noise."""
        return [f"{self.name}_{sigma:g}" for sigma in noise] if self.by_noise else [self.name]

    def load(self) -> Callable[..., Any]:
        """Returns the function; the first call imports it."""
        if callable(self.function):
            return self.function
        module, _, name = self.function.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


_ROOM = "mi_runner.methods.criteria"

CRITERIA = (
    Criterion(
        "agreement",
        "share of the test examples that the circuit answers as the full network does",
        f"{_ROOM}.answers:agreement",
        is_default=True,
    ),
    Criterion(
        "noise",
        "the same with Gaussian noise on the inputs of the analysed layers, for each standard deviation",
        f"{_ROOM}.answers:noise",
        by_noise=True,
        is_default=True,
    ),
    Criterion(
        "shift",
        "the same on other data than the test examples",
        f"{_ROOM}.answers:shift",
        needs_shift=True,
        is_default=True,
    ),
    Criterion(
        "sufficiency",
        "share of pairs of examples in which the circuit keeps the base's answer while all other edges carry values of "
        "the source",
        f"{_ROOM}.interventions:sufficiency",
        is_default=True,
    ),
    Criterion(
        "necessity",
        "share of pairs of examples in which the network answers as for the source once the circuit's edges carry "
        "values of the source",
        f"{_ROOM}.interventions:necessity",
        is_default=True,
    ),
    Criterion(
        "interchange",
        "share of hidden neurons and pairs of examples in which circuit and network answer alike, each with the neuron "
        "set to its own value on the source",
        f"{_ROOM}.interchange:interchange",
        is_default=True,
    ),
    Criterion(
        "complement",
        "how little the edges that the circuit leaves out answer as the full network does, beyond its commonest answer",
        f"{_ROOM}.answers:complement",
        is_default=True,
    ),
    Criterion(
        "rank",
        "share of the circuits with as many edges that are further from the full network's outputs",
        f"{_ROOM}.rank:rank",
        is_default=True,
    ),
    Criterion(
        "certified",
        "share of the test examples in whose box, 0.1 standard deviations of each input to both sides, the circuit is "
        "proved to answer as the full network",
        "mi_runner.methods.robustness.criterion:certified",
    ),
    Criterion(
        PARSIMONY,
        "share of the edges that the circuit leaves out",
        f"{_ROOM}.answers:parsimony",
        is_default=True,
    ),
)
"""The criteria of the package, in the order of the help page and of tables."""


@cache
def _added() -> tuple[tuple[Criterion, ...], tuple[Fault, ...]]:
    """Returns the criteria that installed packages add, and what of them can't be used."""
    return added_records("criteria", "the criterion ", CRITERIA, Criterion)


def all_criteria() -> tuple[Criterion, ...]:
    """Returns every criterion that has a name: those of the package, then those that installed packages add."""
    return (*CRITERIA, *_added()[0])


def faults() -> tuple[Fault, ...]:
    """Returns which criteria of installed packages can't be used, and why."""
    return _added()[1]


def criterion_of(name: str) -> Criterion:
    """Returns the record of a name.

    Raises:
        ArgumentError: no criterion has it.
    """
    by_name = {criterion.name: criterion for criterion in all_criteria()}
    if name not in by_name:
        remedy = f"Use one of {', '.join(by_name)}, or give a Criterion."
        raise ArgumentError("name", None, f"no criterion is named '{name}'.", remedy)
    return by_name[name]


def fault_of(name: str) -> str:
    """Returns why a criterion that an installed package adds can't be used; empty if none of this name is unusable."""
    return next((fault.text for fault in faults() if fault.what == f"the criterion {name}"), "")


def own_criterion(name: str, function: Callable[..., Any]) -> Criterion:
    """Returns the record of a criterion of one's own, a function `(task, circuits) → scores`."""
    return Criterion(name, "a criterion of your own", function)

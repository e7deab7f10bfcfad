"""Every method that finds circuits, a record each: what it does, how it runs, what it costs, whose it is.

A new method is a function and its record in `METHODS`, or in an installed package, as an entry point of
`mi_runner.methods`. Options, help, completion, checks and the table in docs/discovery.md read the records. Nothing here
imports torch: a record names its function, which is imported when the method first runs.

Letters: E edges, B examples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from mi_runner.errors import ArgumentError
from mi_runner.machine.installed import EntryPoint, Fault, added_records

TAKES = ("objective", "loss", "generator", "generators", "family")
"""What a method may take besides its part and examples. One that takes generators, a sequence, finds the circuits of
several draws at once: it returns a list, for each generator what it otherwise returns."""

Passes = Callable[[int, int], int]
"""`(E, B)` → passes over the examples, where these depend on the numbers of edges and examples."""


@dataclass(frozen=True)
class Method:
    """A method that finds circuits.

    A method that *scores* is a function `(part, x, target, ablation, **taken) → scores`, an array `(out, in)` for each
    layer; its circuit of size k has the k highest edges. A method that *searches* is a function
    `(masked, **taken) → Search`. Either is the function itself or where it is, `package.module:function`.

    Attributes:
        name: as it is typed.
        sentence: what it does, in one line for help and docs/discovery.md.
        scores, searches: the function; one of the two.
        takes: which of `TAKES` its function takes as keyword arguments.
        passes: forward passes over the examples, at most; None: not known. A search counts its own while it runs.
        evaluations: E → circuits that it evaluates at most on one set of examples, for the check before a run.
        draws: whether it draws random numbers, and so is repeated.
        resamples: whether it finds circuits again on resampled examples; one that takes too long for that doesn't.
        paper: where it was published; empty: nowhere.
        cites: the keys of the entries in mi_runner/runs/references.bib that a paper names.
        is_default: whether a run that names no methods has it; none of an installed package is.
        origin: the entry point of the installed package that adds it; None: it is mi-run's own, or is given by itself.

    Raises:
        ArgumentError: not exactly one of `scores` and `searches` is given, or it takes something else, or both
            generator and generators.
    """

    name: str
    sentence: str
    scores: str | Callable[..., Any] | None = None
    searches: str | Callable[..., Any] | None = None
    takes: tuple[str, ...] = ()
    passes: int | Passes | None = None
    evaluations: Callable[[int], int] = lambda n_edges: 0
    draws: bool = False
    resamples: bool = True
    paper: str = ""
    cites: tuple[str, ...] = ()
    is_default: bool = False
    origin: EntryPoint | None = None

    def __post_init__(self) -> None:
        if (self.scores is None) == (self.searches is None):
            problem = f"the method {self.name}: give either {{scores}} or {{searches}}."
            raise ArgumentError(("scores", "searches"), None, problem)
        if others := set(self.takes) - set(TAKES):
            problem = f"the method {self.name} takes {', '.join(sorted(others))}:"
            raise ArgumentError("takes", None, problem, f"use {', '.join(TAKES)}.")
        if {"generator", "generators"} <= set(self.takes):
            problem = f"the method {self.name} takes generator and generators:"
            raise ArgumentError("takes", None, problem, "use one of them.")

    def load(self) -> Callable[..., Any]:
        """Returns the function that scores or searches; the first call imports it."""
        given = self.scores if self.searches is None else self.searches
        assert given is not None
        if callable(given):
            return given
        module, _, name = given.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function

    def n_passes(self, n_edges: int, n_examples: int) -> int | None:
        """Returns the forward passes over the examples, at most; None if nobody knows."""
        return self.passes(n_edges, n_examples) if callable(self.passes) else self.passes


# --- what the methods of the package cost ----------------------------------------------------------------------------


def _one_for_each_edge(n_edges: int, n_examples: int) -> int:
    return n_edges


def _steps_of_eap_ig(n_edges: int, n_examples: int) -> int:
    from mi_runner.methods.discovery.scores import STEPS

    return STEPS


def _evaluations_of_acdc(n_edges: int) -> int:
    from mi_runner.methods.discovery.search import THRESHOLDS

    return len(THRESHOLDS) * n_edges


def _passes_of_acdc(n_edges: int, n_examples: int) -> int:
    return _evaluations_of_acdc(n_edges + 1)  # each threshold begins with the full circuit


def _passes_of_greedy(n_edges: int, n_examples: int) -> int:
    return 1 + n_edges * (n_edges + 1) // 2


def _passes_of_edge_pruning(n_edges: int, n_examples: int) -> int:
    from mi_runner.methods.discovery.edge_pruning import n_passes

    return n_passes(n_examples)


def _passes_of_subnetwork_probing(n_edges: int, n_examples: int) -> int:
    from mi_runner.methods.discovery.subnetwork_probing import n_passes

    return n_passes(n_examples)


# --- the methods -----------------------------------------------------------------------------------------------------

_SCORES, _SEARCH = "mi_runner.methods.discovery.scores", "mi_runner.methods.discovery.search"

METHODS = (
    Method(
        name="random",
        sentence="edges ranked at random",
        scores=f"{_SCORES}:random",
        takes=("generator",),
        passes=0,
        draws=True,
        is_default=True,
    ),
    Method(
        name="magnitude",
        sentence="edges ranked by absolute weight",
        scores=f"{_SCORES}:magnitude",
        passes=0,
        is_default=True,
    ),
    Method(
        name="activation",
        sentence="edges ranked by absolute weight times the mean absolute value of the source",
        scores=f"{_SCORES}:activation",
        passes=1,
        is_default=True,
    ),
    Method(
        name="edge_patching",
        sentence="edges ranked by the objective with this edge alone left out",
        scores=f"{_SCORES}:edge_patching",
        takes=("objective", "loss", "family"),
        passes=_one_for_each_edge,
        evaluations=lambda n_edges: n_edges,
        is_default=True,
    ),
    Method(
        name="eap",
        sentence="edges ranked by a first-order estimate of the change of the task's loss",
        scores=f"{_SCORES}:eap",
        takes=("loss",),
        passes=1,
        paper="Syed et al. 2023",
        cites=("syed2023",),
        is_default=True,
    ),
    Method(
        name="eap_ig",
        sentence="as eap, with the gradient averaged over ten inputs",
        scores=f"{_SCORES}:eap_ig",
        takes=("loss",),
        passes=_steps_of_eap_ig,
        paper="Hanna et al. 2024",
        cites=("hanna2024",),
        is_default=True,
    ),
    Method(
        name="eap_signed",
        sentence="as eap, without the absolute value, for comparison",
        scores=f"{_SCORES}:eap_signed",
        takes=("loss",),
        passes=1,
    ),
    Method(
        name="eap_ig_signed",
        sentence="as eap_ig, without the absolute value, for comparison",
        scores=f"{_SCORES}:eap_ig_signed",
        takes=("loss",),
        passes=_steps_of_eap_ig,
    ),
    Method(
        name="acdc",
        sentence="from the output backwards, leaves out edges that raise the objective by less than a threshold; 50 "
        "thresholds",
        searches=f"{_SEARCH}:acdc",
        takes=("objective",),
        passes=_passes_of_acdc,
        evaluations=_evaluations_of_acdc,
        paper="Conmy et al. 2023",
        cites=("conmy2023",),
        is_default=True,
    ),
    Method(
        name="greedy",
        sentence="leaves out the edge without which the objective is lowest, one after the other",
        searches=f"{_SEARCH}:greedy",
        takes=("objective",),
        passes=_passes_of_greedy,
        evaluations=lambda n_edges: n_edges * (n_edges + 1) // 2,
        is_default=True,
    ),
    Method(
        name="edge_pruning",
        sentence="trains gates with Adam on the objective and on how many are open, for nine penalties",
        searches="mi_runner.methods.discovery.edge_pruning:search",
        takes=("objective", "generators"),
        passes=_passes_of_edge_pruning,
        draws=True,
        resamples=False,
        paper="Bhaskar et al. 2024",
        cites=("bhaskar2024", "louizos2018"),
        is_default=True,
    ),
    Method(
        name="subnetwork_probing",
        sentence="trains gates with Adam on the task's loss and on how many are open, for nine penalties",
        searches="mi_runner.methods.discovery.subnetwork_probing:search",
        takes=("generators",),
        passes=_passes_of_subnetwork_probing,
        draws=True,
        resamples=False,
        paper="Cao et al. 2021",
        cites=("cao2021", "louizos2018"),
    ),
    Method(
        name="information_flow",
        sentence="edges ranked by their share of what enters their target: how near each alone is to the sum",
        scores=f"{_SCORES}:information_flow",
        passes=1,
        paper="Ferrando and Voita 2024",
        cites=("ferrando2024",),
    ),
)
"""The methods of the package, in the order of the help page."""


@cache
def _added() -> tuple[tuple[Method, ...], tuple[Fault, ...]]:
    """Returns the methods that installed packages add, and what of them can't be used."""
    return added_records("methods", "the method ", METHODS, Method)


def all_methods() -> tuple[Method, ...]:
    """Returns every method that has a name: those of the package, then those that installed packages add."""
    return (*METHODS, *_added()[0])


def faults() -> tuple[Fault, ...]:
    """Returns which methods of installed packages can't be used, and why."""
    return _added()[1]


def fault_of(name: str) -> str:
    """Returns why a method that an installed package adds can't be used; empty if none of this name is unusable."""
    return next((fault.text for fault in faults() if fault.what == f"the method {name}"), "")


def method_of(name: str) -> Method:
    """Returns the record of a name.

    Raises:
        ArgumentError: no method has it.
    """
    by_name = {method.name: method for method in all_methods()}
    if name not in by_name:
        remedy = f"Use one of {', '.join(by_name)}, or give a Method."
        raise ArgumentError("name", None, f"no method is named '{name}'.", remedy)
    return by_name[name]


def own_method(name: str, function: Callable[..., Any]) -> Method:
    """Returns the record of a method of one's own that scores, a function `(part, x, target, ablation) → scores`."""
    return Method(name, "a method of your own", scores=function)

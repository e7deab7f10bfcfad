"""Sets of the causal model's variables that an experiment is asked for: `experiment.variables=[[a],[a,b]]`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from mi_runner.config.registry import DATASETS
from mi_runner.datasets.causal_models import CausalModel
from mi_runner.errors import ConfigError, of_option

MOST_IN_ALL_SETS = 3
"""So many variables have few sets; of more, only each and all together are taken."""


def every_set(variables: CausalModel) -> list[tuple[str, ...]]:
    """Returns every non-empty set of up to three variables, small ones first; of more, each and all together.

    Sets that can't be swapped together are left out.
    """
    names = variables.variables
    largest = len(names) if len(names) <= MOST_IN_ALL_SETS else 1
    sets = [chosen for size in range(1, largest + 1) for chosen in itertools.combinations(names, size)]
    together = sets if largest == len(names) else [*sets, names]
    return [chosen for chosen in together if not variables.contradiction(chosen)]


def variable_sets(given: Any, variables: CausalModel, default: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Returns the sets of variables that `experiment.variables` names, each in the order in which it was typed.

    Args:
        given: a name, a list of names (one set), or a list of lists; None: the default.

    Raises:
        ConfigError: it is none of these, a variable or a set is unknown or named twice, or a set can't be swapped
            together; the text says which.
    """
    if given is None:
        return [tuple(names) for names in default]
    sets: list[Any]
    if isinstance(given, str):
        sets = [[given]]
    elif isinstance(given, list) and given and all(isinstance(part, list) for part in given):
        sets = given
    else:
        sets = [given]
    for names in sets:
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ConfigError(
                f"experiment.variables={given}: name variables as [a,b], or several sets as [[a],[b]]. "
                f"There are: {', '.join(variables.variables)}."
            )
        with of_option("experiment.variables"):
            for name in names:
                variables.column(name)
        if len(set(names)) < len(names):
            raise ConfigError(f"experiment.variables=[{','.join(names)}]: name each variable once.")
        if problem := variables.contradiction(names):
            raise ConfigError(f"experiment.variables=[{','.join(names)}]: {problem}")
    if len({frozenset(names) for names in sets}) < len(sets):
        raise ConfigError(f"experiment.variables={given}: name each set once.")
    return [tuple(names) for names in sets]


def data_sets_with_variables() -> str:
    """Returns the data sets that have a causal model, with the condition of each, for an error."""
    able = [schema for schema in DATASETS if schema.causal_model is not None]
    return ", ".join(
        f"{schema.name} ({schema.causal_model})" if schema.causal_model else schema.name for schema in able
    )

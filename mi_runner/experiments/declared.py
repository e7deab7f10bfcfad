"""What the tables, numbers and figures of an experiment's runs mean, by its name and without torch."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

from mi_runner.config.registry import EXPERIMENTS, code_of, said_of
from mi_runner.experiments.common.tables import HISTORY, PREDICTIONS, TRUTH
from mi_runner.tables.declaration import Declarations

ADDED = (HISTORY, HISTORY.of_seeds(), PREDICTIONS, PREDICTIONS.of_seeds(), TRUTH, TRUTH.of_seeds())
"""The tables that the runner adds to those of an experiment."""


def declarations_of(experiment: str) -> Declarations:
    """Returns what the runs of an experiment may leave; of an unknown one only what the runner adds.

    They are the `DECLARED` of the module `tables` beside that of the experiment; without such a module, those of its
    `EXPERIMENT`.

    Raises:
        RunFailed: they are an installed package's, which can't be imported.
    """
    schema = next((schema for schema in EXPERIMENTS if schema.name == experiment), None)
    if schema is None:
        return Declarations(added=ADDED)
    package = schema.module.rpartition(".")[0]
    with said_of(schema):
        beside = import_module(f"{package}.tables") if package and find_spec(f"{package}.tables") else None
        declared = getattr(beside, "DECLARED", None) or code_of(schema).EXPERIMENT.declared
    return replace(declared, added=(*declared.added, *ADDED))

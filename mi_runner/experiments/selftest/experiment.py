"""Can this installation be trusted? Every method on a planted or hand-computed network, in a minute.

The checks make their own networks; the run's network is not looked at. A run of which a check fails has its tables,
and ends with status 3, because its schema expects that none fails.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from mi_runner.config.experiments.selftest import SelftestConfig
from mi_runner.errors import ConfigError, one_line
from mi_runner.experiments import Experiment, Result, Setting
from mi_runner.experiments.common.sentences import counted
from mi_runner.experiments.selftest.checks import checks_of
from mi_runner.experiments.selftest.records import Check
from mi_runner.experiments.selftest.tables import DECLARED, METRICS
from mi_runner.machine.compiled import clock
from mi_runner.progress import log
from mi_runner.tables.declaration import Row


def check(setting: Setting[SelftestConfig]) -> None:
    """Checks that there is something to check.

    Raises:
        ConfigError: only devices are asked for, and there is none but the CPU.
    """
    if not _chosen(setting):
        raise ConfigError(
            "experiment.only=[devices] compares a device with the CPU, and this run is on the CPU. Type device=cuda, "
            "or leave experiment.only out."
        )


def metric_names(setting: Setting[SelftestConfig]) -> list[str]:
    """Returns the names of the summary."""
    return ["n_checks", "n_failed", "held"]


def run(setting: Setting[SelftestConfig]) -> Result:
    """Returns a row for each check, and how many hold."""
    rows = []
    chosen = _chosen(setting)
    with setting.progress.bar("checking", len(chosen)) as advance:
        for group, one in chosen:
            row = row_of(group, one)
            rows.append(row)
            setting.progress.rows("metrics", [row])
            if not row["ok"]:
                log.warning(f"{_name(row)} doesn't hold: {one.sentence}. {_said(row)}")
            advance(1, f"{group} {one.name}")
    n_failed = sum(not row["ok"] for row in rows)
    summary = {"n_checks": len(rows), "n_failed": n_failed, "held": 1 - n_failed / len(rows)}
    return Result([METRICS.filled(rows)], summary, DECLARED, answer=answer(rows))


def _chosen(setting: Setting[SelftestConfig]) -> list[tuple[str, Check]]:
    return checks_of([group.name for group in setting.config.only], setting.dataset.x_test.device)


def row_of(group: str, one: Check) -> dict[str, Any]:
    """Returns the row of a check; what it raises becomes the row's error, so that the others run."""
    began = clock()
    expected = found = tolerance = None
    holds, error = False, None
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            compared = one.compare()
        expected, found, tolerance = float(compared.expected), float(compared.found), float(compared.tolerance)
        holds = compared.holds
    except Exception as raised:
        error = one_line(raised)
        log.info("".join(traceback.format_exception(raised)))
    return {
        "group": group,
        "check": one.name,
        "expected": expected,
        "found": found,
        "tolerance": tolerance,
        "ok": holds,
        "seconds": clock() - began,
        "error": error,
    }


def answer(rows: Sequence[Row]) -> str:
    """Returns whether all checks hold, or which don't."""
    failed = [row for row in rows if not row["ok"]]
    if not failed:
        return f"All {len(rows)} checks hold." if len(rows) > 1 else f"The check {_name(rows[0])} holds."
    listed = "; ".join(f"{_name(row)} ({_said(row)})" for row in failed)
    verb = "doesn't" if len(failed) == 1 else "don't"
    return f"Of {counted(len(rows), 'check')} {len(failed)} {verb} hold: {listed}."


def _name(row: Row) -> str:
    return f"{row['group']}/{row['check']}"


def _said(row: Row) -> str:
    if row["error"]:
        return str(row["error"])
    return f"expected {row['expected']:.10g}, found {row['found']:.10g}, tolerance {row['tolerance']:g}"


EXPERIMENT: Experiment[SelftestConfig] = Experiment(check=check, metric_names=metric_names, run=run, declared=DECLARED)

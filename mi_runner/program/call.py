"""`mi_runner.run`: a run from a program, by the same runner as the command line."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import Terminated
from mi_runner.machine import signals
from mi_runner.program.asked import Asked, Overrides, asked_for
from mi_runner.program.callers_state import set_aside
from mi_runner.program.saved_run import Run
from mi_runner.progress import Progress
from mi_runner.runs import runner, states
from mi_runner.runs.runner import Outcome
from mi_runner.tables import console


def run(
    overrides: Overrides | RunConfig = (),
    *,
    model: nn.Module | Callable[..., nn.Module] | None = None,
    data: Any = None,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    train: bool | None = None,
    show: bool = False,
) -> Run:
    """Runs an experiment as `mi-run` does, on your network and data if you give them, and returns its result.

    A run folder is made below `output_dir`, with all that a command leaves. The caller's random numbers, default dtype
    and gradients stay as they are.

    Args:
        overrides: what is typed behind `mi-run`: one text, `"experiment=circuits seed=1"`, a list of texts, a dict,
            `{"experiment": "circuits", "experiment.last_layers": 2}`; or a config of `mi_runner.compose`.
        model: a network, which is copied and analysed with the weights that it has; or a class or function that
            returns a new one, which is trained, and gets `input_shape` and `n_outputs` if it has these parameters.
        data: `(x_train, y_train, x_test, y_test)` as arrays, tensors, lists, or tables of pandas; a dict of these names
            and, for a causal model, `variables`, `variables_train`, `variables_test` and `mechanism`; or a `Dataset`.
            y holds classes, or values with the override `dataset.target=value`.
        feature_names: a name for each number of an input; None: the columns, where x_train is a table of pandas.
        class_names: the names of the classes 0..K−1; None: as y names them.
        train: whether a copy of the network that is given is trained, from the weights that it has; None: only what a
            class or function makes is trained.
        show: whether the tables go to standard output, and progress and log lines to standard error, as on the command
            line. Otherwise only warnings are printed; `run.log` has the log in any case.

    Raises:
        ConfigError: a mistake in an option or argument, found before the run begins; the text says what to give.
        RunFailed: the run began but could not finish; `run.log` has the traceback.

    Example:
        >>> import tempfile, torch, mi_runner
        >>> x = torch.randn(80, 4, generator=torch.Generator().manual_seed(0))
        >>> y = (x[:, 0] > 0).long()
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        >>> options = {"experiment": "ablation", "output_dir": tempfile.mkdtemp()}
        >>> run = mi_runner.run(options, model=net, data=(x[:40], y[:40], x[40:], y[40:]))
        >>> run.status, run.tables["metrics"]["target"][0], "accuracy" in run.metrics
        ('done', 'none', True)
    """
    asked = asked_for(
        overrides, model=model, data=data, feature_names=feature_names, class_names=class_names, train=train
    )
    try:
        with set_aside(), signals.raised():
            outcome = _ran(asked, show=show)
    except Terminated as error:
        # The run is saved as interrupted, and the program's own handler, or the system's, decides what follows.
        signal.raise_signal(signal.Signals[str(error) or "SIGTERM"])
        raise
    folder = outcome.folder.absolute()
    return Run(folder, states.read_state(folder), drawings=outcome.figures)


def _ran(asked: Asked, *, show: bool) -> Outcome:
    """Runs the runner, and shows the result if that is asked for."""
    progress = console.Bars() if show else Progress()
    outcome = runner.run(asked.config, command=asked.command, progress=progress, given=asked.given, quiet=not show)
    if show:
        for table in outcome.tables:
            console.table(table.title, table.rows, counts=table.counts)
        console.last_line(str(outcome.folder))
    for line in outcome.not_met if show else ():
        console.error(f"expect: {line}")
    return outcome

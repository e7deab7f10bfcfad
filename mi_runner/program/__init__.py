"""Runs from a program or a notebook, with your own network and data in memory: `mi_runner.run`.

What comes back, `Run`, has the answer, the tables as DataFrames and the figures; `open` gives the same for a run that
is saved, `open_sweep` for a sweep.
"""

from mi_runner.program.call import run
from mi_runner.program.saved import open_run as open
from mi_runner.program.saved import open_sweep
from mi_runner.program.saved_run import Run
from mi_runner.program.saved_sweep import Sweep

__all__ = ["Run", "Sweep", "open", "open_sweep", "run"]

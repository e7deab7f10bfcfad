"""The circuits of an output, or of all together, where some are drawn and the valid ones are estimated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_runner import chance
from mi_runner.config.experiments.circuits import CircuitTable
from mi_runner.experiments.circuits import figures
from mi_runner.experiments.circuits.output import Asked, OfOutput, number
from mi_runner.experiments.circuits.sharing import MOST_COMPARED
from mi_runner.experiments.circuits.tables import NOT_JUDGED, OF_MINIMALITY, between_ends, edge_columns
from mi_runner.experiments.common.circuit_picture import output_picture
from mi_runner.experiments.common.circuit_search import what
from mi_runner.experiments.common.sentences import figure, large
from mi_runner.experiments.common.validity import what_holds
from mi_runner.machine.compiled import clock
from mi_runner.methods.circuits.edges import bits_of
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.measures import CircuitMeasures, measure_by_tensors
from mi_runner.methods.circuits.overlaps import overlaps
from mi_runner.methods.circuits.sampling import SampledCircuits, sample_circuits
from mi_runner.methods.circuits.table import measures_table
from mi_runner.progress import log

if TYPE_CHECKING:
    from pandas import DataFrame

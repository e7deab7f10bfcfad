"""A model's sites, edges and paths, interventions in them, and chains of its layers.

`ModelGraph.trace` records what a network computes. `run_with` runs it with some values replaced, `read_sites` returns
values. `find_part` cuts off the last layers as a `Part`. docs/library.md shows all of it.
"""

from mi_runner.graph.chain import Part, find_part, longest_part
from mi_runner.graph.gradients import check_gradients
from mi_runner.graph.interventions import Intervention, Run, interchange, mean, read_sites, resample, run_with, zero
from mi_runner.graph.model_graph import Difference, ModelGraph
from mi_runner.graph.sites import Site

__all__ = [
    "Difference",
    "Intervention",
    "ModelGraph",
    "Part",
    "Run",
    "Site",
    "check_gradients",
    "find_part",
    "interchange",
    "longest_part",
    "mean",
    "read_sites",
    "resample",
    "run_with",
    "zero",
]

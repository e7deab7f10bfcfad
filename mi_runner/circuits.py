"""How many sub-networks of a network's last layers do the same? All of them are counted, the valid ones listed.

`search` takes a part of a graph (`mi_runner.graph.find_part`) and `CircuitExamples`; a `Circuit` is one of them, with
its outputs, its picture and its file; `load` reads those of a run. `match` pairs the units of two networks, and
`shared` says what their valid circuits have in common. `backbone`, `packing`, `blocking` and `overlap` say what
circuits of one network share, `criteria` what further tests say of each. docs/circuits.md defines what a circuit is.
"""

from mi_runner.methods.circuits.circuit import Circuit
from mi_runner.methods.circuits.cut import check_cut, entering_activations
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.overlaps import PairCounts, overlap, overlaps
from mi_runner.methods.circuits.search import search_circuits as search
from mi_runner.methods.circuits.sharing import Blocking, Packing, backbone, blocking, packing
from mi_runner.methods.criteria.judge import criteria
from mi_runner.methods.matching import match_parts as match
from mi_runner.methods.robustness.certify import Certificate, certify
from mi_runner.methods.shared_circuits import shared_circuits as shared
from mi_runner.runs.saved_circuits import load_circuits as load

__all__ = [
    "Blocking",
    "Certificate",
    "Circuit",
    "CircuitExamples",
    "Packing",
    "PairCounts",
    "backbone",
    "blocking",
    "certify",
    "check_cut",
    "criteria",
    "entering_activations",
    "load",
    "match",
    "overlap",
    "overlaps",
    "packing",
    "search",
    "shared",
]

"""Which edges of a network's last layers does a method keep, and how far is its circuit from the full network?

`edge_patching`, `eap` and `eap_ig` score edges, `acdc` and `greedy` search, `edge_pruning` trains gates. `MaskedPart`
computes outputs and measures of any circuits, `CircuitSampler` draws circuits. docs/discovery.md describes the methods.
"""

from mi_runner.methods.discovery.edge_pruning import edge_pruning
from mi_runner.methods.discovery.masked import MaskedPart
from mi_runner.methods.discovery.sampling import CircuitSampler
from mi_runner.methods.discovery.scores import eap, eap_ig, edge_patching
from mi_runner.methods.discovery.search import acdc, greedy

__all__ = [
    "CircuitSampler",
    "MaskedPart",
    "acdc",
    "eap",
    "eap_ig",
    "edge_patching",
    "edge_pruning",
    "greedy",
]

"""Which edges of a network's last layers does a method keep, and how far is its circuit from the full network?

`edge_patching`, `eap`, `eap_ig` and `information_flow` score edges, `acdc` and `greedy` search, `edge_pruning` and
`subnetwork_probing` train gates. `MaskedPart` computes outputs and measures of any circuits, `CircuitSampler` draws
circuits. docs/discovery.md describes the methods.
"""

from mi_runner.methods.discovery.edge_pruning import edge_pruning
from mi_runner.methods.discovery.masked import MaskedPart
from mi_runner.methods.discovery.sampling import CircuitSampler
from mi_runner.methods.discovery.scores import eap, eap_ig, edge_patching, information_flow
from mi_runner.methods.discovery.search import acdc, greedy
from mi_runner.methods.discovery.subnetwork_probing import subnetwork_probing

__all__ = [
    "CircuitSampler",
    "MaskedPart",
    "acdc",
    "eap",
    "eap_ig",
    "edge_patching",
    "edge_pruning",
    "greedy",
    "information_flow",
    "subnetwork_probing",
]

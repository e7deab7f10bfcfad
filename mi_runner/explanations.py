"""How many explanations does a network of a Boolean function have: circuits, groundings, algorithms, alignments?

`explain` counts them all; `grounding_holds` and `alignment_holds` test one by running the network. docs/explanations.md
defines them.
"""

from mi_runner.datasets.algorithms import Algorithm, algorithms
from mi_runner.methods.explanations.alignments import Alignment, alignment_holds
from mi_runner.methods.explanations.boolean import BooleanNetwork
from mi_runner.methods.explanations.explain import explain
from mi_runner.methods.explanations.groundings import Grounding, count_groundings, grounding_holds, list_groundings

__all__ = [
    "Algorithm",
    "Alignment",
    "BooleanNetwork",
    "Grounding",
    "algorithms",
    "alignment_holds",
    "count_groundings",
    "explain",
    "grounding_holds",
    "list_groundings",
]

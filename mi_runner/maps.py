"""Maps from a site's values to coordinates, in which variables are swapped: neurons, rotations, reversible networks.

docs/maps.md tells what they say about a network, and what they don't.
"""

from mi_runner.methods.alignment import Mapped
from mi_runner.methods.maps.bijections import Map, Neurons, RevNet, Rotation, check_bijection
from mi_runner.methods.maps.limits import best_neurons, ceiling

__all__ = ["Map", "Mapped", "Neurons", "RevNet", "Rotation", "best_neurons", "ceiling", "check_bijection"]

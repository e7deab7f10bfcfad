"""Does a site carry a variable, or can it be trained to? Interchange interventions, DAS, IIT and adversaries.

A causal model (`mi_runner.datasets.CausalModel`) gives counterfactual labels. `train_by_interchange` trains a rotation
of a site, or the network, to give them. docs/das.md, docs/iit.md and docs/adversary.md describe the methods.
"""

from mi_runner.methods.adversary import Adversaries, AdversaryTraining, fresh_rotation
from mi_runner.methods.alignment import Mapped, Rotation, Units
from mi_runner.methods.interchange import (
    Aligned,
    Following,
    InterchangeTraining,
    Pairs,
    Stopping,
    counterfactual_correct,
    draw_pairs,
    relabelled,
    train_by_interchange,
)
from mi_runner.methods.interchange_options import RotationTraining
from mi_runner.methods.principal_angles import expected_angle, largest_angle
from mi_runner.methods.strictness import SparePlaces, effects, spare_places

__all__ = [
    "Adversaries",
    "AdversaryTraining",
    "Aligned",
    "Following",
    "InterchangeTraining",
    "Mapped",
    "Pairs",
    "Rotation",
    "RotationTraining",
    "SparePlaces",
    "Stopping",
    "Units",
    "counterfactual_correct",
    "draw_pairs",
    "effects",
    "expected_angle",
    "fresh_rotation",
    "largest_angle",
    "relabelled",
    "spare_places",
    "train_by_interchange",
]

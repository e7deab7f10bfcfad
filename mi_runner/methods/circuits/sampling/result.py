"""What a sample of circuits says: how many are valid, which edges they keep, how accurate circuits are, with intervals.

All intervals are 95 %. What is unknown is None, never 0: if no valid circuit was drawn, their number has no value, only
an upper bound.

Letters: E edges, K listed circuits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A number that is estimated, and its 95 % interval.

    Attributes:
        value: an int for a count, a float for a share; None if it is unknown.
        low, high: the ends of the interval; the value lies between them.
    """

    value: int | float | None
    low: int | float
    high: int | float

    @classmethod
    def exact(cls, value: int | float) -> Estimate:
        """Returns a number that is known exactly."""
        return cls(value, value, value)


@dataclass(frozen=True)
class EdgeEstimate:
    """How many of the valid circuits keep an edge.

    Attributes:
        share: of the valid circuits that keep the edge, 0 to 1; the value is None if no valid circuit was drawn.
        without_high: the upper 95 % bound of the share of valid circuits without the edge, if no valid circuit without
            it was drawn. None if one was drawn: then the edge is not in every valid circuit.
    """

    share: Estimate
    without_high: float | None


@dataclass(frozen=True)
class AccuracyBin:
    """The share of the circuits of some numbers of edges that have an accuracy in an interval.

    The accuracy is the fraction of right answers by the rule of validity.

    Attributes:
        n_edges_low, n_edges_high: the kept edges, both ends included.
        accuracy_from, accuracy_to: the interval, without its upper end; in the last one with it.
        n_circuits: circuits with so many edges, exact.
        share: of these circuits that have an accuracy in the interval, 0 to 1; the value is None if none was drawn.
        n_sampled: drawn circuits with so many edges.
    """

    n_edges_low: int
    n_edges_high: int
    accuracy_from: float
    accuracy_to: float
    n_circuits: int
    share: Estimate
    n_sampled: int


@dataclass(frozen=True, eq=False)
class SampledCircuits:
    """The estimates from a sample of all well-formed circuits.

    Attributes:
        space_sizes: neurons of each layer, inputs first.
        inputs: the family, one of `space.INPUTS`.
        n_circuits: well-formed circuits, exact.
        n_circuits_partial: those that leave out at least one hidden neuron, exact.
        n_sampled: circuits that were drawn and measured, those of splitting included.
        n_valid: valid circuits.
        n_valid_partial: valid circuits that leave out at least one hidden neuron.
        edges: one estimate for each edge, in the order of `Edges`.
        accuracy: the distribution of the accuracy by kept edges.
        valid: `(K, E)` bool, distinct valid circuits that were drawn, thinned so that each valid circuit is in the list
            with about the same probability.
        n_levels: levels of splitting; 0 if it was not used.
        n_populations: independent populations of splitting; 0 if it was not used.
        least_correct: the fewest right answers of a valid circuit; one more than there are examples if there can't be
            a valid circuit.
    """

    space_sizes: tuple[int, ...]
    inputs: str
    n_circuits: int
    n_circuits_partial: int
    n_sampled: int
    n_valid: Estimate
    n_valid_partial: Estimate
    edges: tuple[EdgeEstimate, ...]
    accuracy: tuple[AccuracyBin, ...]
    valid: np.ndarray
    n_levels: int
    n_populations: int
    least_correct: int

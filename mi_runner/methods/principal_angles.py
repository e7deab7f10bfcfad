"""How far are found directions from known ones? The largest principal angle between two subspaces, beside chance.

Letters: d units of a site, p found and q known directions.
"""

from __future__ import annotations

from functools import cache

import numpy as np

DRAWS = 20_000
"""Random subspaces behind an expected angle, whose error is then below half a degree."""


def largest_angle(found: np.ndarray, known: np.ndarray) -> float:
    """Returns the largest principal angle, in degrees, between the spans of `(p, d)` and `(q, d)` directions.

    There are as many principal angles as the smaller span has dimensions: at 0 one span lies in the other.

    Example:
        >>> import numpy as np
        >>> from mi_runner import iit
        >>> round(iit.largest_angle(np.array([[1.0, 1.0, 0.0]]), np.array([[1.0, 0.0, 0.0]])))
        45
    """
    from scipy.linalg import subspace_angles

    return float(np.degrees(subspace_angles(found.T, known.T)[0]))


@cache
def expected_angle(d: int, p: int, q: int) -> float:
    """Returns the mean of the largest principal angle, in degrees, if p of d dimensions are random, by simulation.

    Example:
        >>> from mi_runner import iit
        >>> abs(iit.expected_angle(2, 1, 1) - 45) < 0.5
        True
    """
    return expected_of_all(d, ((p, q),))


@cache
def expected_of_all(d: int, places: tuple[tuple[int, int], ...]) -> float:
    """Returns the mean of the largest principal angle of all places, in degrees, if directions are random.

    Args:
        d: units of the site.
        places: p random and q known directions of each place; those of different places are orthogonal.
    """
    draw = np.random.default_rng(0)
    sizes, known = zip(*places, strict=True)
    n = max(100, min(DRAWS, 20_000_000 // (d * sum(sizes))))
    basis = np.linalg.qr(draw.standard_normal((n, d, sum(sizes))))[0]
    largest = np.zeros(n)
    for place, (p, q) in enumerate(places):
        first, begin = sum(known[:place]), sum(sizes[:place])  # any q fixed directions: units
        block = basis[:, first : first + q, begin : begin + p]
        cosines = np.linalg.svd(block, compute_uv=False)[:, -1]
        largest = np.maximum(largest, np.degrees(np.arccos(np.clip(cosines, 0, 1))))
    return float(largest.mean())

"""The activations of layers, compiled; and what all kernels share: a zero, and how sums may be reordered."""

from __future__ import annotations

import numpy as np

from mi_runner.machine.compiled import compiled

IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID, SOFTMAX, LOG_SOFTMAX = range(7)
"""Numbers of the activations. The first three are z where z > 0, and slope · z elsewhere; the last two are over all
outputs of an example."""

ZERO = np.float32(0)  # a plain 0 would make numba compare in float64

# Sums over examples may be reordered, or they could not be vectorised; NaN and infinity keep their meaning.
REORDER = {"reassoc", "contract", "nsz"}


# The rational function that Eigen uses for tanh in float32 (generic_fast_tanh_float): x·p(x²)/q(x²).
_P = tuple(
    np.float32(coefficient)
    for coefficient in (
        *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
        *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    )
)
_Q = tuple(
    np.float32(coefficient)
    for coefficient in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)
_TANH_IS_ONE = np.float32(7.90531110763549805)  # from here on, in this function
_HALF = np.float32(0.5)


@compiled(error_model="numpy")  # a division by zero raises nothing, so the loop can be vectorised
def _tanh(z: np.float32) -> np.float32:
    """Returns tanh(z) up to a few of float32's last digits; unlike math.tanh it compiles to vector instructions."""
    z = _TANH_IS_ONE if z > _TANH_IS_ONE else z  # NaN stays
    z = -_TANH_IS_ONE if z < -_TANH_IS_ONE else z
    square = z * z
    above, below = _P[0], _Q[0]
    for coefficient in _P[1:]:
        above = above * square + coefficient
    for coefficient in _Q[1:]:
        below = below * square + coefficient
    return z * above / below


@compiled()
def activate(z: np.float32, kind: int, slope: np.float32) -> np.float32:
    """Returns the activation of z."""
    if kind <= LEAKY_RELU:
        return z if z > ZERO else slope * z
    if kind == TANH:
        return _tanh(z)
    return _HALF * _tanh(_HALF * z) + _HALF

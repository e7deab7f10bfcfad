"""Random formulas, and their values as Python's own operators compute them."""

import numpy as np
from hypothesis import strategies as st

from mi_runner.datasets.algorithms import VARIABLES


def evaluated(text: str, n: int) -> np.ndarray:
    """Returns the values of a formula on all inputs, `(2ⁿ,)` bool."""
    rows = np.arange(2**n)
    return np.asarray(eval(text, {name: rows >> (n - 1 - i) & 1 == 1 for i, name in enumerate(VARIABLES[:n])}))


def texts(n: int, depth: int) -> st.SearchStrategy[str]:
    """Returns formulas of n variables up to a depth."""
    variable = st.sampled_from(VARIABLES[:n])
    if not depth:
        return variable
    below = texts(n, depth - 1)
    pair = st.tuples(below, st.sampled_from("&|^"), below).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})")
    return st.one_of(variable, below.map(lambda text: f"~{text}"), pair, pair)

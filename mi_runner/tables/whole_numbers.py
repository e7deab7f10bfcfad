"""How a whole number of any size is written in a sentence."""

from __future__ import annotations

import math

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def large(n: int) -> str:
    """Returns a whole number; of more than 15 digits three digits and a power of ten, 2.69·10¹²⁵."""
    if abs(n) < 10**15:
        return f"{n:,}"
    sign, exponent = "−" if n < 0 else "", int(math.log10(abs(n)))  # Python refuses to write more than 4,300 digits
    leading = (2 * abs(n) // 10 ** (exponent - 2) + 1) // 2
    if leading >= 1000:  # rounded up, or the logarithm was rounded down
        leading, exponent = round(leading / 10), exponent + 1
    return f"{sign}{leading / 100:.2f}·10{str(exponent).translate(_RAISED)}"

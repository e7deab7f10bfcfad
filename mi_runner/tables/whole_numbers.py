"""How whole numbers are written in a sentence: one of any size, and many."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def file_size(n_bytes: int) -> str:
    """Returns a number of bytes as text: 12 B, 3.4 kB, 5.6 MB."""
    for unit, bytes_of in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= bytes_of:
            return f"{n_bytes / bytes_of:.1f} {unit}"
    return f"{n_bytes} B"


def in_short(numbers: Sequence[int]) -> str:
    """Returns ascending numbers in short: 0-3, 7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)

"""Whole numbers in a sentence: in full, or three digits and a power of ten."""

from __future__ import annotations

import pytest

from mi_runner.tables.whole_numbers import file_size, large


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0"),
        (999_999_999_999_999, "999,999,999,999,999"),
        (10**15, "1.00·10¹⁵"),
        (9_994 * 10**12, "9.99·10¹⁵"),
        (9_995 * 10**12, "1.00·10¹⁶"),
        (123_456 * 10**13, "1.23·10¹⁸"),
        (-3 * 10**20, "−3.00·10²⁰"),
    ],
)
def test_large_numbers_have_three_digits_and_a_power_of_ten(n: int, text: str) -> None:
    assert large(n) == text


def test_numbers_that_python_refuses_to_write() -> None:
    assert large(7 * 10**5_000) == "7.00·10⁵⁰⁰⁰"
    assert large(10**5_000 - 1) == "1.00·10⁵⁰⁰⁰"
    assert [large(10**n) for n in range(15, 2_000)] == [
        large(10**15).replace("¹⁵", _raised(n)) for n in range(15, 2_000)
    ]


def _raised(n: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(n))


def test_bytes_are_written_in_the_largest_unit_that_fits() -> None:
    written = [file_size(n) for n in (5, 999, 1_000, 1_500, 2_000_000, 3_400_000_000)]
    assert written == ["5 B", "999 B", "1.0 kB", "1.5 kB", "2.0 MB", "3.4 GB"]

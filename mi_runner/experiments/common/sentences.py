"""Words for the answer of a run, `Result.answer`: its numbers, with their 95 % intervals in brackets.

What was chosen as the highest or lowest of several has no interval: an ordinary one is for what was named beforehand.
It is named with those that a test doesn't tell apart from it: they tie.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from mi_runner.tables.pairwise import FEWEST_UNITS, LEVEL, SAME, Compared
from mi_runner.tables.whole_numbers import large

MOST_NAMED = 5
"""Names in a sentence; of more, the others are counted."""


def figure(value: float | None) -> str:
    """Returns a number with four significant digits; `unknown` if there is none or it is not finite."""
    if value is None or not math.isfinite(value):
        return "unknown"
    if value == int(value) and abs(value) >= 1e4:
        return f"{int(value):,}"
    return f"{value:.4g}" if value >= 0 else f"−{-value:.4g}"


def lasting(seconds: float) -> str:
    """Returns a time in words: 12 s, 4 min, 3.5 hours; of more than a century in powers of ten."""
    if seconds < 120:
        return f"{seconds:,.1f} s" if seconds < 10 else f"{seconds:,.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:,.0f} min"
    hours = seconds / 3600
    return f"{hours:,.0f} hours" if 100 <= hours < 1e6 else f"{hours:.3g} hours"


def measured(row: Mapping[str, Any], measure: str, *, among: int = 1) -> str:
    """Returns a measure of a row with its interval, 0.9726 (0.9692 to 0.9756); without it if the row has none.

    Args:
        among: of how many rows this one was chosen by its value; of several it has no interval.
    """
    if among > 1:
        return figure(row.get(measure))
    low, high = row.get(f"{measure}_low"), row.get(f"{measure}_high")
    return between(row.get(measure), low, high)


def several(rows: Sequence[Mapping[str, Any]], measure: str, of: str, *, among: int = 1) -> str:
    """Returns a measure of a row with its interval; of several rows their mean and range, without an interval.

    Args:
        of: what the rows are, in the plural: draws.
        among: as in `measured`.
    """
    if len(rows) == 1:
        return measured(rows[0], measure, among=among)
    values = [row[measure] for row in rows]
    return f"{figure(fmean(values))}, the mean of {len(rows)} {of} from {figure(min(values))} to {figure(max(values))}"


def between(value: float | None, low: float | None, high: float | None) -> str:
    """Returns a number with its interval; alone if an end is unknown or both are the same."""
    if low is None or high is None or low == high or math.isnan(low) or math.isnan(high):
        return figure(value)
    return f"{figure(value)} ({figure(low)} to {figure(high)})"


def counted(n: int, one: str, more: str = "") -> str:
    """Returns a number with its noun: 1 circuit, 19,162 circuits."""
    return f"{large(n)} {one if n == 1 else more or f'{one}s'}"


def listed(names: Sequence[str], others: str = "others") -> str:
    """Returns names as a list: a; a and b; a, b and c; of many the first, and the number of the others."""
    if len(names) > MOST_NAMED + 1:
        names = [*names[:MOST_NAMED], f"{len(names) - MOST_NAMED} {others}"]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def ends(compared: Compared, names: Sequence[str], what: str, shown: Sequence[float]) -> str:
    """Returns which of at least two alternatives have the lowest and the highest mean, each with those that tie.

    Args:
        compared: the alternatives.
        names: of each.
        what: the measure, in words: mean regret.
        shown: the number that is said of each, in the order of their means.

    Returns:
        Two sentences, the first without a capital: the lowest mean regret is 0.1, that of a; b (0.11) ties with it. The
        highest is 0.4, that of c.
    """
    low, high = compared.lowest, compared.highest
    if _equal(compared.means[low], compared.means[high]):
        return f"all of {listed(names)} have the same {what}, {figure(shown[low])}"
    if compared.tells_none_apart:
        return (
            f"no two of {counted(len(names), 'method')} are told apart by their {what}, from {figure(shown[low])} "
            f"({names[low]}) to {figure(shown[high])} ({names[high]})"
        )
    if compared.p[low][high] >= LEVEL:
        apart = [
            f"{names[one]} from {names[other]}"
            for one, row in enumerate(compared.p)
            for other, p in enumerate(row)
            if p < LEVEL and compared.means[one] < compared.means[other]
        ]
        return (
            f"the {what} is {figure(shown[low])} ({names[low]}) to {figure(shown[high])} ({names[high]}), "
            f"and these two tie; told apart are only {listed(apart)}"
        )
    return (
        f"the lowest {what} is {figure(shown[low])}, {that_of(compared, low, names, shown)}. "
        f"The highest is {figure(shown[high])}, {that_of(compared, high, names, shown)}"
    )


def that_of(compared: Compared, place: int, names: Sequence[str], shown: Sequence[float]) -> str:
    """Returns which alternatives have the mean of the one at a place, and those that tie: that of a; b ties with it.

    Args:
        names, shown: as in `ends`.
    """
    equal = [other for other, mean in enumerate(compared.means) if _equal(mean, compared.means[place])]
    ties = [other for other in compared.tied_with(place) if other not in equal]
    differs = any(figure(shown[other]) != figure(shown[place]) for other in ties)
    named = [f"{names[other]} ({figure(shown[other])})" if differs else names[other] for other in ties]
    return f"that of {listed([names[other] for other in equal])}{tied(named, 'it' if len(equal) == 1 else 'them')}"


def tied(names: Sequence[str], with_what: str) -> str:
    """Returns what ties with something, behind a semicolon; empty if nothing does."""
    return f"; {listed(names)} {'ties' if len(names) == 1 else 'tie'} with {with_what}" if names else ""


def _equal(one: float, other: float) -> bool:
    return abs(one - other) <= SAME * max(abs(one), abs(other))


def of_the_test(n: int, unit: str, n_compared: int, *, fewest: int = FEWEST_UNITS) -> str:
    """Returns what it means that alternatives tie, as a sentence; empty for one alternative.

    Args:
        n: units of the paired test.
        unit: what these are: test example.
        fewest: units with which the test can tell anything apart.
    """
    if n_compared < 2:
        return ""
    corrected = ", corrected for all pairs," if n_compared > 2 else ""
    few = f"; fewer than {fewest} tell nothing apart" if n < fewest else ""
    return f" The test is paired over {counted(n, unit)}{corrected} at 5 %: what it doesn't tell apart ties{few}."

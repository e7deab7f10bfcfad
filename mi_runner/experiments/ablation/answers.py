"""The answer of an ablation: which ablations leave the lowest and the highest accuracy, by a paired test."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from mi_runner.experiments.common.sentences import counted, figure, listed, measured, of_the_test, several, tied
from mi_runner.methods.replacements import Ablation
from mi_runner.tables.pairwise import LEVEL, MOST_ALTERNATIVES, Compared, compare_all, compare_population

if TYPE_CHECKING:
    from mi_runner.methods.ablation import Ablations
    from mi_runner.tables.declaration import Row

INTACT = 0
"""The place of the intact network among what is compared."""


def answer(ablated: Ablations, rows: Sequence[Row], *, is_population: bool) -> str:
    """Returns the intact network's accuracy, and the lowest and the highest after an ablation, with what ties.

    The units of the test are the test examples: of each the share of an ablation's draws that answer it correctly.

    Args:
        rows: of `metrics` that have figures, the intact network's first.
        is_population: whether the test examples are all inputs there are. Then only draws are sampled.
    """
    draws: dict[tuple[str, str], list[Row]] = {}
    for row in rows[1:]:
        draws.setdefault((row["target"], row["method"]), []).append(row)
    text = f"The intact network's accuracy is {measured(rows[0], 'accuracy')}."
    if not draws:
        return text
    of_each = [[rows[0]], *draws.values()]
    names = ["the intact network", *(f"{target} by {method}" for target, method in draws)]
    if len(names) > MOST_ALTERNATIVES:
        means = [fmean(row["accuracy"] for row in of) for of in of_each[1:]]
        return (
            f"{text} After {counted(len(means), 'ablation')} it is {figure(min(means))} to {figure(max(means))}; these "
            f"are too many for a test of each two of them: name fewer experiment.targets."
        )
    if is_population:
        compared = compare_population([[row["accuracy"] for row in of] for of in of_each])
    else:
        compared = compare_all([_by_example(ablated, of) for of in of_each])
    text += _of_ablations(compared, names, of_each)
    if is_population:
        drawn = " but those of resampled values" if any(len(of) > 1 for of in of_each) else ""
        return f"{text} The test examples are all inputs there are, so there is nothing to test{drawn}."
    return text + of_the_test(compared.n, "test example", len(names))


def _by_example(ablated: Ablations, rows: Sequence[Row]) -> list[float]:
    """Returns for each example the share of the draws that answer it correctly."""
    keys = [None if row["method"] == "none" else Ablation(row["target"], row["method"], row["repeat"]) for row in rows]
    correct: list[float] = sum(ablated.correct[key].double() for key in keys).div(len(keys)).tolist()  # type: ignore[union-attr]
    return correct


def _of_ablations(compared: Compared, names: Sequence[str], of_each: Sequence[Sequence[Row]]) -> str:
    places = range(1, len(names))
    low = min(places, key=lambda place: compared.means[place])
    high = max(places, key=lambda place: compared.means[place])

    def shown(place: int) -> str:
        return several(of_each[place], "accuracy", "draws", among=len(places))

    if len(places) == 1:
        return f" After ablating {names[low]} it is {shown(low)}{_beside_intact(compared, low)}."
    if figure(compared.means[low]) == figure(compared.means[high]):
        beside = _beside_intact(compared, low)
        return f" After each of {len(places)} ablations it is {figure(compared.means[low])}{beside}."
    if compared.p[low][high] >= LEVEL:
        tie = "no two of them are told apart" if _none_apart(compared, places) else "these two tie"
        differing = [names[place] for place in places if compared.p[INTACT][place] < LEVEL]
        text = f" After {len(places)} ablations it is {figure(compared.means[low])} ({names[low]}) to "
        text += f"{figure(compared.means[high])} ({names[high]}), and {tie}"
        if not differing:
            return f"{text}; none is told apart from the intact network."
        all_of_them = (
            "all are"
            if len(differing) == len(places)
            else f"{listed(differing)} {'is' if len(differing) == 1 else 'are'}"
        )
        return f"{text}; {all_of_them} told apart from the intact network."
    return (
        f" Of {len(places)} ablations the lowest is {shown(low)}, after {_named(compared, names, low)}. "
        f"The highest is {shown(high)}, after {_named(compared, names, high)}."
    )


def _none_apart(compared: Compared, places: Sequence[int]) -> bool:
    return all(compared.p[one][other] >= LEVEL for one in places for other in places)


def _named(compared: Compared, names: Sequence[str], place: int) -> str:
    """Returns an ablation with those that tie with it, and how it stands beside the intact network."""
    ties = [
        f"{names[other]} ({figure(compared.means[other])})" for other in compared.tied_with(place) if other != INTACT
    ]
    return f"{names[place]}{_beside_intact(compared, place)}{tied(ties, 'it')}"


def _beside_intact(compared: Compared, place: int) -> str:
    """Returns what is to be said of an accuracy that isn't below the intact network's; empty where it is."""
    if compared.p[INTACT][place] >= LEVEL:
        return ", not told apart from the intact network's"
    return ", above the intact network's" if compared.means[place] > compared.means[INTACT] else ""

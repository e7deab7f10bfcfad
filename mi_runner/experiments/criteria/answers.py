"""Which criteria say something, which agree, and how many valid circuits survive all of them? In sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mi_runner.experiments.common.sentences import MOST_NAMED, between, counted, figure, listed, measured
from mi_runner.experiments.common.validity import no_circuit
from mi_runner.experiments.criteria.judged import Judged
from mi_runner.experiments.criteria.rows import Against
from mi_runner.experiments.criteria.tables import ALL_TOGETHER
from mi_runner.methods.criteria.comparison import SAME, AgainstChance
from mi_runner.methods.criteria.records import PARSIMONY

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Answered:
    """An output with one ablation.

    Attributes:
        rows: of its tables.
        against: control → how each criterion compares with it.
    """

    judged: Judged
    rows: Mapping[str, Sequence[Row]]
    against: Mapping[str, Against]


def answer(
    cases: Sequence[Answered],
    n_outputs: int,
    accuracy_threshold: float,
    *,
    truth: bool,
    intervals: bool,
    every_input: bool = False,
) -> str:
    """Returns the answer for the first output, with each ablation.

    Args:
        cases: of this output, one for each ablation.
        n_outputs: how many are analysed.
        accuracy_threshold: as it is typed.
        truth: whether a circuit is known as the truth.
        intervals: whether τ has intervals.
        every_input: whether the examples are all inputs. If also all valid circuits are judged, τ is exact, and its
            order is that of the numbers.
    """
    texts = [f"This is the first of {n_outputs} outputs."] if n_outputs > 1 else []
    for case in cases:
        begin = f"With {case.judged.ablation} ablation "
        if not case.judged.valid.n_all:
            texts.append(f"{begin}no circuit is valid: {no_circuit(case.judged.valid_by, accuracy_threshold)}.")
            continue
        texts += [f"{begin}{_survivors(case)}.", _controls(case), _front(case)]
        texts.append(
            _pairs(case.rows["pairs"], intervals=intervals, exact=every_input and not case.judged.valid.is_sample)
        )
        texts.append(_truth(case) if truth else "")
    return " ".join(filter(None, texts))


def _survivors(case: Answered) -> str:
    judged, valid = case.judged, case.judged.valid
    (row,) = (row for row in case.rows["metrics"] if row["criterion"] == ALL_TOGETHER)
    if not judged.counted:
        but = " but parsimony" if PARSIMONY in judged.criteria else ""
        return f"{counted(valid.n_all, 'circuit')} {_are(valid.n_all)} valid; no criterion{but} was computed"
    criteria = f"all {len(judged.counted)} criteria" if len(judged.counted) > 1 else judged.counted[0]
    reach = f"{criteria} (at least {valid.threshold:g})"
    if valid.is_sample:
        of = f"of {valid.n_all:,} valid circuits, by a sample of {len(valid.circuits):,},"
        text = f"the share {of} that survives {reach} is {measured(row, 'share')}"
    else:
        n = row["n_survivors"]
        text = f"{n:,} of {counted(valid.n_all, 'valid circuit')} {'survives' if n == 1 else 'survive'} {reach}"
    if row.get("chance") is None:
        return text
    share = "" if valid.is_sample else f", the share {figure(row['share'])}"
    by_chance = between(row["chance"], row["chance_low"], row["chance_high"])
    apart = "" if row["tells"] == "yes" else ", and the test at 5 % doesn't show that this is less"
    but = f", but none of {listed([f'{size}' for size in judged.not_drawn])}" if judged.not_drawn else ""
    return f"{text}{share}; of circuits of as many edges{but}, drawn at random, it is {by_chance}{apart}"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _controls(case: Answered) -> str:
    """Returns which criteria say nothing, as circuits drawn at random or untrained ones survive them as often.

    A criterion that chance circuits survive less often, but not so that the test shows it, may say something.
    """
    untold, tested = _untold(case, "chance")
    if not tested:
        return ""
    silent = [name for name, found in untold.items() if found.chance_share >= found.share - SAME]
    open_ones = [name for name in untold if name not in silent]
    texts = []
    if silent:
        says, them = ("says", "it") if len(silent) == 1 else ("say", "them")
        texts.append(f"{listed(silent)} {says} nothing: circuits drawn at random survive {them} at least as often.")
    if open_ones:
        are, them = ("is", "it") if len(open_ones) == 1 else ("are", "them")
        texts.append(
            f"{listed(open_ones)} {are} not told from chance: the test at 5 % doesn't show that valid circuits survive "
            f"{them} more often than circuits drawn at random do."
        )
    if not untold:
        each = "each" if len(tested) > 1 else "it"
        texts.append(f"Valid circuits survive {each} more often than circuits drawn at random do (tested at 5 %).")
    return " ".join([*texts, *_untrained(case)])


def _untrained(case: Answered) -> Iterator[str]:
    """Yields which criteria valid circuits of the untrained network survive as often.

    Where all of both networks are judged, their shares are exact, and so are compared without a test.
    """
    valid, untrained = case.judged.valid, case.judged.untrained
    whose = "valid circuits of the untrained network"
    if valid.is_sample or untrained is None or untrained.is_sample:
        untold, _ = _untold(case, "untrained")
        if untold:
            yield f"The test at 5 % doesn't show that {whose} survive {listed(list(untold))} less often."
        return
    compared = {name: case.against["untrained"].get(name) for name in case.judged.counted}
    shares = {name: found.chance_share - found.share for name, found in compared.items() if found is not None}
    equal = [name for name, more in shares.items() if abs(more) <= SAME]
    above = [name for name, more in shares.items() if more > SAME]
    found = [f"{listed(equal)} as often"] if equal else []
    found += [f"{listed(above)} more often"] if above else []
    if found:
        yield f"{whose.capitalize()} survive {', and '.join(found)}."


def _untold(case: Answered, control: str) -> tuple[dict[str, AgainstChance], list[str]]:
    """Returns the criteria that the test doesn't tell from a control, and those that are tested."""
    against = {name: case.against[control].get(name) for name in case.judged.counted}
    tested = {name: found for name, found in against.items() if found is not None}
    return {name: found for name, found in tested.items() if not found.says_something}, list(tested)


def _front(case: Answered) -> str:
    n = len(case.rows["front"])
    if not n or case.judged.valid.n_all == 1:
        return ""
    them = "is one of them" if n == 1 else f"are {n:,} of them"
    return f"On the front {them}: no other is as good in all criteria and better in one."


# --- pairs -----------------------------------------------------------------------------------------------------------


def _pairs(rows: Sequence[Row], *, intervals: bool, exact: bool = False) -> str:
    """Returns which criteria agree most and least by τ; those whose intervals overlap tie.

    Args:
        exact: whether neither examples nor circuits are a sample.
    """
    known = [row for row in rows if row["tau"] is not None and (not intervals or row["tau_low"] is not None)]
    if len(known) < 2:
        return f"τ of {_named(known[0])} is {_tau(known[0])}." if known else ""
    if not intervals and not exact:
        return "τ of the pairs of criteria has no interval, so none of them is named as that of the highest or lowest."
    most, least = max(known, key=lambda row: row["tau"]), min(known, key=lambda row: row["tau"])
    if not _apart(least, most, intervals=intervals):
        return f"No two of {len(known)} pairs of criteria are told apart by τ."
    texts = []
    for end, word in ((most, "most"), (least, "least")):
        ties = [row for row in known if row is not end and not _apart(*_ordered(row, end), intervals=intervals)]
        text = f"The pair that agrees {word} is {_named(end)}, with τ {_tau(end)}"
        if ties and len(ties) <= MOST_NAMED:
            text += f"; {listed([_named(row) for row in ties])} {'ties' if len(ties) == 1 else 'tie'} with it"
        elif ties:
            text += f"; {len(ties)} more pairs tie with it"
        texts.append(text)
    return f"{texts[0]}. {texts[1]}."


def _ordered(one: Row, other: Row) -> tuple[Row, Row]:
    return (one, other) if one["tau"] <= other["tau"] else (other, one)


def _apart(lower: Row, higher: Row, *, intervals: bool) -> bool:
    """Returns whether the τ of one pair is below that of another: all of its interval, where there are intervals."""
    if intervals:
        return bool(lower["tau_high"] < higher["tau_low"])
    return bool(lower["tau"] < higher["tau"] - SAME)


def _named(row: Row) -> str:
    return f"{row['criterion']}–{row['other']}"


def _tau(row: Row) -> str:
    return between(row["tau"], row.get("tau_low"), row.get("tau_high"))


# --- the truth -------------------------------------------------------------------------------------------------------


def _truth(case: Answered) -> str:
    """Returns whether a criterion picks the truth alone, and the places of the truth."""
    if case.judged.truth is None:
        return "The true circuit is none of the valid circuits, so it has no place among them."
    if case.judged.valid.n_all == 1:
        return "The truth is the only valid circuit."
    of_each = [row for row in case.rows["metrics"] if row["criterion"] != ALL_TOGETHER]
    rows = [row for row in of_each if row["truth"] is not None]
    if not rows and case.judged.valid.is_sample:
        text = "The place of the truth is not known, as not all valid circuits are judged"
        equalled = [row["criterion"] for row in of_each if row["picks_truth"] is False]
        return f"{text}; a judged one is as good in {listed(equalled)}." if equalled else f"{text}."
    if not rows:
        return ""
    picking = [row["criterion"] for row in rows if row["picks_truth"]]
    if picking:
        return f"The truth is picked alone by {listed(picking)}."
    places = sorted({row["truth"] for row in rows})
    best, worst = ([row["criterion"] for row in rows if row["truth"] == place] for place in (places[0], places[-1]))
    text = f"No criterion picks the truth alone: its place, 0 the best and 1 the worst, is {figure(places[0])}"
    if len(places) == 1:
        return f"{text} in {'each' if len(rows) > 1 else best[0]}."
    return f"{text} in {listed(best)} and {figure(places[-1])} in {listed(worst)}."

"""How many valid circuits hold between the examples, and what does one lose by proof? In sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mi_runner.experiments.common.sentences import between, counted, figure, listed
from mi_runner.experiments.common.validity import no_circuit
from mi_runner.experiments.robustness.decided import Decided
from mi_runner.experiments.robustness.rows import HULL, POINT
from mi_runner.tables.declaration import Row


def answer(cases: Sequence[tuple[Decided, Sequence[Row]]], n_outputs: int, accuracy_threshold: float) -> str:
    """Returns the answer for the first output, with each ablation.

    Args:
        cases: what is known of this output with each ablation, and its rows of metrics.csv.
        n_outputs: how many are analysed.
        accuracy_threshold: as it is typed.
    """
    texts = [f"This is the first of {n_outputs} outputs."] if n_outputs > 1 else []
    for decided, rows in cases:
        begin = f"With {decided.ablation} ablation "
        if not decided.valid.n_all:
            texts.append(f"{begin}no circuit is valid: {no_circuit(decided.valid_by, accuracy_threshold)}.")
            continue
        boxes = [row for row in rows if row["region"] not in (POINT, HULL)]
        texts += [begin + _certified(decided, rows, boxes), _fewest(boxes), _changed(boxes), *_hull(rows)]
        texts += list(_controls(boxes))
    return " ".join(filter(None, texts))


def _certified(decided: Decided, rows: Sequence[Row], boxes: Sequence[Row]) -> str:
    (point,) = (row for row in rows if row["region"] == POINT)
    n = point["n_judged"]
    of = counted(n, "valid circuit")
    if decided.valid.is_sample:
        of = f"a sample of {n:,} of {decided.valid.n_all:,} valid circuits"
    are = "answers" if point["n_certified"] == 1 else "answer"
    text = (
        f"{point['n_certified']:,} of {of} {are} as the network on each of {counted(point['n_examples'], 'example')}; "
        f"{listed([_n(row) for row in boxes])} {'is' if len(boxes) == 1 and boxes[0]['n_certified'] == 1 else 'are'} "
        f"proved to do so everywhere in the boxes around them, at ε = {listed([row['region'] for row in boxes])}"
    )
    undecided = [row for row in boxes if row["n_undecided"]]
    if undecided:
        each = [f"{counted(row['n_undecided'], 'circuit')} at {row['region']}" for row in undecided]
        text += f"; undecided: {listed(each)}"
    shares = [figure(row["share_proved"]) for row in (point, *boxes)]
    return f"{text}. Of all boxes of all these circuits the share {', '.join(shares)} is proved, at ε = 0 first."


def _n(row: Row) -> str:
    return f"{row['n_certified']:,}"


def _fewest(boxes: Sequence[Row]) -> str:
    keeps = [
        "none"
        if row["fewest_certified"] is None
        else f"{row['fewest_certified']}" + ("" if _is_sure(row) else " at most")
        for row in boxes
    ]
    return (
        f"The smallest valid circuit keeps {counted(boxes[0]['fewest_valid'], 'edge')}, the smallest certified one "
        f"{listed(keeps)}."
    )


def _is_sure(row: Row) -> bool:
    return bool(row["fewest_certified"] == row["fewest_possible"])


def _changed(boxes: Sequence[Row]) -> str:
    if not any(row["n_changed"] for row in boxes):
        return "The network itself has one answer in each box."
    return (
        f"The network itself has more than one answer in {listed([str(row['n_changed']) for row in boxes])} of the "
        f"{boxes[0]['n_examples']:,} boxes, and there practically no other circuit holds."
    )


def _hull(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row["region"] == HULL:
            n = row["n_certified"]
            yield f"In the whole hull of the test examples {n or 'none'} of them {'holds' if n <= 1 else 'hold'}."


def _controls(boxes: Sequence[Row]) -> Iterator[str]:
    """Yields what circuits drawn at random, and those of the untrained network, say."""
    tested = [row for row in boxes if row.get("tells") is not None]
    if tested:
        shares = [between(row["share_random"], row["share_random_low"], row["share_random_high"]) for row in tested]
        silent = [row["region"] for row in tested if row["tells"] == "no"]
        text = f"Of circuits of as many edges, drawn at random, the share {listed(shares)} is certified"
        if not silent:
            yield f"{text}, less often than valid ones (tested at 5 %)."
        elif len(silent) == len(tested):
            yield f"{text}; the test at 5 % doesn't show that valid ones are certified more often."
        else:
            yield f"{text}; the test at 5 % doesn't show at ε = {listed(silent)} that valid ones are more often."
    untrained = [figure(row["share_untrained"]) for row in boxes if row.get("share_untrained") is not None]
    if untrained:
        yield f"Of the untrained network's valid circuits it is {listed(untrained)}."

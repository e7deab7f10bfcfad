"""How many valid circuits answer as their network does between the examples, too? In sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mi_runner.experiments.common.sentences import between, counted, figure, listed, measured
from mi_runner.experiments.common.valid_circuits import UNTRAINED
from mi_runner.experiments.common.validity import no_circuit
from mi_runner.experiments.robustness.decided import RANDOM, Decided
from mi_runner.experiments.robustness.rows import Against
from mi_runner.experiments.robustness.tables import EXAMPLES, HULL_REGION
from mi_runner.methods.criteria.comparison import SAME
from mi_runner.tables.intervals import wilson_interval

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Answered:
    """An output with one ablation.

    Attributes:
        rows: of metrics.csv.
        against: region → how valid circuits compare with random ones.
    """

    decided: Decided
    rows: Sequence[Row]
    against: Against


def headline_region(rows: Sequence[Row]) -> Row:
    """Returns the row of the second smallest boxes, or of the only ones: that of the summary."""
    boxes = [row for row in rows if row["epsilon"]]
    return boxes[min(1, len(boxes) - 1)]


def answer(cases: Sequence[Answered], n_outputs: int, accuracy_threshold: float) -> str:
    """Returns the answer for the first output, with each ablation.

    Args:
        cases: of this output, one for each ablation.
        n_outputs: how many are analysed.
        accuracy_threshold: as it is typed.
    """
    texts = [f"This is the first of {n_outputs} outputs."] if n_outputs > 1 else []
    for case in cases:
        begin = f"With {case.decided.ablation} ablation "
        if not case.decided.valid.n_all:
            texts.append(f"{begin}no circuit is valid: {no_circuit(case.decided.valid_by, accuracy_threshold)}.")
            continue
        texts += [f"{begin}{_certified(case)}.", *_smallest(case), *_changes(case), *_random(case), *_untrained(case)]
    return " ".join(texts)


def _certified(case: Answered) -> str:
    """Returns how many circuits hold at the examples, around them, and in the hull."""
    valid, rows = case.decided.valid, {row["region"]: row for row in case.rows}
    at_examples, n = rows[EXAMPLES], len(valid.circuits)
    which = counted(n, "valid circuit")
    if valid.is_sample:
        which = f"a sample of {n:,} of {counted(valid.n_all, 'valid circuit')}"
    n_boxes = counted(at_examples["n_examples"], "test example")
    agree = f"{at_examples['n_certified']:,} of {which} {_answer(at_examples)} {_each(n_boxes)} as the network does"
    in_boxes = [row for row in case.rows if row["epsilon"]]
    sizes = listed([f"{row['n_certified']:,} at ε = {row['epsilon']:g}" for row in in_boxes], "other sizes")
    texts = [agree, f"everywhere in the boxes around them it is proved of {sizes}"]
    if HULL_REGION in rows:
        texts.append(f"in the whole hull of the test examples of {rows[HULL_REGION]['n_certified']:,}")
    text = "; ".join(texts)
    is_open = [f"{row['n_undecided']:,} {_place(row)}" for row in case.rows if row["n_undecided"]]
    text += f". Undecided are {listed(is_open, 'regions')}" if is_open else ". None is undecided"
    if valid.is_sample:
        head = headline_region(case.rows)
        text += f". The share at ε = {head['epsilon']:g} is {measured(head, 'share_certified')}"
    return text


def _place(row: Row) -> str:
    """Returns which region a row is of."""
    return "in the hull" if row["epsilon"] is None else f"at ε = {row['epsilon']:g}"


def _each(examples: str) -> str:
    return examples if examples.startswith("1 ") else f"all {examples}"


def _answer(row: Row) -> str:
    return "answers" if row["n_certified"] == 1 else "answer"


def _smallest(case: Answered) -> Iterator[str]:
    """Yields the kept edges of the smallest valid circuits beside those of the smallest certified ones."""
    valid, search = case.decided.valid, case.decided.search
    fewest = search.fewest_edges
    n_smallest = search.n_cardinal
    tie = f" ({n_smallest:,} tie)" if n_smallest > 1 else ""
    regions: dict[str, list[Row]] = {}
    for row, known in zip(case.rows, valid.regions, strict=True):
        if row["region"] == EXAMPLES:
            continue
        keeps = "none is known"
        if row["fewest_certified"] is not None:
            n = int((valid.n_edges[known.is_certified] == row["fewest_certified"]).sum())
            at_most = "" if row["fewest_possible"] == row["fewest_certified"] else "at most "
            keeps = f"{at_most}{row['fewest_certified']}{f' ({n:,} tie)' if n > 1 and not at_most else ''}"
        regions.setdefault(keeps, []).append(row)
    texts = [f"{keeps} {_places(rows)}" for keeps, rows in regions.items()]
    yield (
        f"The smallest valid circuit keeps {fewest} of {search.space.n_edges} edges{tie}; the smallest certified one "
        f"keeps {'; '.join(texts)}."
    )


def _places(rows: Sequence[Row]) -> str:
    """Returns which regions rows are of: at ε = 0.01 and 0.05 and in the hull."""
    sizes = [f"{row['epsilon']:g}" for row in rows if row["epsilon"] is not None]
    has_hull = len(sizes) < len(rows)
    return listed(
        [*([f"at ε = {listed(sizes, 'other sizes')}"] if sizes else []), *(["in the hull"] if has_hull else [])]
    )


def _changes(case: Answered) -> Iterator[str]:
    """Yields in how many regions the network changes its own answer."""
    texts = [
        f"{row['n_changed']:,} of {row['n_examples']:,} at ε = {row['epsilon']:g}"
        for row in case.rows
        if row["epsilon"] and row["n_changed"]
    ]
    if texts:
        yield f"The network itself changes its answer in boxes: {listed(texts, 'sizes')}."
    else:
        yield "The network itself is not known to change its answer in a box."
    for row in case.rows:
        if row["region"] == HULL_REGION:
            yield f"In the hull it {'changes' if row['n_changed'] else 'is not known to change'} its answer."


def _random(case: Answered) -> Iterator[str]:
    """Yields the share of random circuits that are certified, and whether the test tells valid ones from them."""
    if RANDOM not in case.decided.controls:
        return
    row = headline_region(case.rows)
    found = case.against[row["region"]]
    share = between(row["share_random"], row["share_random_low"], row["share_random_high"])
    sizes = case.decided.not_drawn
    but = f", but none of {listed([str(size) for size in sizes])}" if sizes else ""
    text = f"Of circuits of as many edges{but}, drawn at random, the share certified {_place(row)} is {share}"
    if found is None:
        yield f"{text}."
        return
    text += f"; of the valid ones it is {figure(found.share)}"
    if found.chance_share >= found.share - SAME:
        yield f"{text}, which isn't more."
    elif found.says_something:
        yield f"{text}, which is more (tested at 5 %)."
    else:
        yield f"{text}, and the test at 5 % doesn't show that this is more."


def _untrained(case: Answered) -> Iterator[str]:
    """Yields the share of the untrained network's valid circuits that are certified."""
    population = case.decided.controls.get(UNTRAINED)
    if population is None:
        return
    row = headline_region(case.rows)
    if row["share_untrained"] is None:
        yield "The untrained network has no valid circuit."
        return
    share = figure(row["share_untrained"])
    which = "valid circuits"
    if population.is_sample:
        which = f"a sample of {len(population.circuits):,} of {population.n_all:,} valid circuits"
        (known,) = (known for known in population.regions if known.region == row["region"])
        share = between(
            row["share_untrained"], *wilson_interval(int(known.is_certified.sum()), len(known.is_certified))
        )
    yield f"Of {which} of the untrained network the share certified {_place(row)} is {share}."

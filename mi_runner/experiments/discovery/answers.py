"""Which methods find the best circuits of one network? Compared by a paired test over the examples; and the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mi_runner.experiments.common import sentences
from mi_runner.experiments.common.sentences import counted, figure, listed
from mi_runner.experiments.discovery.judgement import Judged
from mi_runner.experiments.discovery.rows import MethodFound
from mi_runner.tables.pairwise import Compared, compare_all, compare_population


def compared_methods(
    judged: Judged, methods: Sequence[MethodFound], rows: Sequence[Mapping[str, Any]], *, is_population: bool
) -> Compared:
    """Returns how the mean mse of each two methods differ, over all sizes and draws alike.

    The difference of two methods' mean regrets is that of their mean mse, so the test needs no best circuits. Its units
    are the examples: of each the squared difference to the full network's output, averaged over sizes and draws. It is
    about these circuits of this network: other examples could be drawn, other draws and networks are not.

    Args:
        rows: of metrics.csv.
        is_population: whether the examples are all inputs there are. Then only draws are sampled.
    """
    if is_population:
        return compare_population(
            [
                [
                    float(
                        np.mean([row["mse"] for row in rows if (row["method"], row["repeat"]) == (method.name, repeat)])
                    )
                    for repeat in range(len(method.repeats))
                ]
                for method in methods
            ]
        )
    circuits = (np.concatenate([found.circuits for found in method.repeats]) for method in methods)
    return compare_all([judged.masked.distance_by_example(each).tolist() for each in circuits])


def tested_columns(compared: Compared) -> list[dict[str, Any]]:
    """Returns for each method whether it has the lowest and the highest mean mse, or ties, and the p-values."""
    low, high = compared.lowest, compared.highest
    are_lowest, are_highest = {low, *compared.tied_with(low)}, {high, *compared.tied_with(high)}
    return [
        {
            "lowest": place in are_lowest,
            "highest": place in are_highest,
            "p_lowest": compared.p[low][place] if compared.n else None,
            "p_highest": compared.p[high][place] if compared.n else None,
        }
        for place in range(len(compared.means))
    ]


def answer(summary: Sequence[Mapping[str, Any]], compared: Mapping[str, Compared], n_edges: int, words: str) -> str:
    """Returns which methods have the lowest and the highest mean regret, of the first output with each ablation.

    Methods that the paired test doesn't tell apart tie. It is one network, so it says nothing of methods in general:
    that takes a paired test over networks.

    Args:
        summary: rows of the table.
        compared: ablation → the methods of the first output, in the order of the rows.
        words: which examples circuits are found and judged on.
    """
    first = summary[0]["output"]
    texts = []
    for ablation, of_ablation in compared.items():
        rows = [row for row in summary if (row["output"], row["ablation"]) == (first, ablation)]
        texts.append(f"With {ablation} ablation {_of_ablation(rows, of_ablation, n_edges)}.")
    test, more = next(iter(compared.values())), []
    if test.n:
        more.append(sentences.of_the_test(test.n, "example", len(test.means)))
    elif len(test.means) > 1:
        more.append(_of_population(summary))
    more.append(f" This is one network, {words}: whether methods differ takes a sweep over seeds.")
    return " ".join(texts) + "".join(more)


def of_truth(summary: Sequence[Mapping[str, Any]], truth: np.ndarray | None) -> str:
    """Returns which methods find the circuit that is known as the truth, and how their scores tell its edges.

    Args:
        summary: rows of the table, of one output.
        truth: the circuit; None: none is known, and nothing is said.
    """
    if truth is None:
        return ""
    texts = []
    for ablation in dict.fromkeys(row["ablation"] for row in summary):
        rows = [row for row in summary if row["ablation"] == ablation]
        always = [row["method"] for row in rows if row["truth_found"] == 1]
        some = [row for row in rows if 0 < row["truth_found"] < 1]
        parts = [f"{row['method']} in {figure(row['truth_found'])} of its draws" for row in some]
        who = listed([*always, *parts]) if always or some else "no method"
        find = "find" if len(always) + len(some) > 1 else "finds"
        text = f" With {ablation} ablation {who} {find} the true circuit of {counted(int(truth.sum()), 'edge')}"
        areas = [f"{row['method']} {figure(row['roc_auc'])}" for row in rows if row["roc_auc"] is not None]
        text += f"; areas under the ROC of its edges: {', '.join(areas)}" if areas else ""
        texts.append(f"{text}.")
    return "".join(texts)


def _of_ablation(rows: Sequence[Mapping[str, Any]], compared: Compared, n_edges: int) -> str:
    knows_all = rows[0]["regret_mse"] is not None
    measure, what = ("regret_mse", "mean regret") if knows_all else ("mse", "mean mse to the full network")
    names, shown = [row["method"] for row in rows], [row[measure] for row in rows]
    over = counted(rows[0]["n_sizes"], "size")
    if len(rows) == 1:
        text = f"the {what} of {names[0]} over {over} is {figure(shown[0])}"
    else:
        text = sentences.ends(compared, names, f"{what} over {over}", shown)
    if len(rows) > 1 and compared.tells_none_apart:  # none is better than another, so all are named
        return f"{text}. {_smallest(rows[: sentences.MOST_NAMED], rows, n_edges, knows_all)}"
    best = rows[compared.lowest]
    if not knows_all and best["percentile"] is not None:
        text += f". Among sampled circuits {best['method']}'s have a mean percentile of {figure(best['percentile'])}"
    lowest = [row for row, p in zip(rows, compared.p[compared.lowest], strict=True) if p == 1]
    return f"{text}. {_smallest(lowest[: sentences.MOST_NAMED], rows, n_edges, knows_all)}"


def _smallest(
    rows: Sequence[Mapping[str, Any]], of_all: Sequence[Mapping[str, Any]], n_edges: int, knows_all: bool
) -> str:
    """Returns what an answer says of the smallest valid circuit there is, and of those that these methods found.

    Args:
        of_all: the rows of all methods: others that find one as small as there is are named, too.
        knows_all: whether all circuits are evaluated.
    """
    fewest = rows[0]["fewest_valid"]
    if knows_all and fewest is None:
        return "No circuit is valid"
    by_size: dict[str, list[str]] = {}
    for row in rows:
        by_size.setdefault(_size(row), []).append(row["method"])
    without = by_size.pop("", [])
    found = [f"{listed(methods)} {size}" for size, methods in by_size.items()]
    finds = f"{listed(without)} {'finds' if len(without) == 1 else 'find'} no valid circuit" if without else ""
    if fewest is None:
        text = f"Edges of the smallest valid circuit found, of {n_edges:,}: {', '.join(found)}" if found else ""
        return "; ".join(filter(None, (text, finds)))
    text = f"The smallest valid circuit has {fewest:,} of {n_edges:,} edges"
    named = {row["method"] for row in rows}
    others = [row["method"] for row in of_all if row["smallest_valid"] == fewest and row["method"] not in named]
    also = f"{listed(others)} {'finds' if len(others) == 1 else 'find'} one of {fewest:,}" if others else ""
    return "; ".join(filter(None, (text, f"found: {', '.join(found)}" if found else "", finds, also)))


def _size(row: Mapping[str, Any]) -> str:
    """Returns the edges of a method's smallest valid circuit, and of how many draws that is the mean; empty if none."""
    if row["smallest_valid"] is None:
        return ""
    if row["n_draws"] == 1:
        return figure(row["smallest_valid"])
    of = "" if row["n_draws"] == row["n_draws_valid"] else f"{row['n_draws_valid']} of "
    return f"{figure(row['smallest_valid'])} (mean of {of}{counted(row['n_draws'], 'draw')})"


def _of_population(summary: Sequence[Mapping[str, Any]]) -> str:
    """Returns why nothing is tested, where the examples are all inputs there are."""
    drawing = list(dict.fromkeys(row["method"] for row in summary if row["n_draws"] > 1))
    text = " These examples are all inputs there are, so no example is sampled"
    return (
        f"{text}, only draws of {listed(drawing)} are: two methods tie where the draws of one reach the other."
        if drawing
        else f"{text}."
    )

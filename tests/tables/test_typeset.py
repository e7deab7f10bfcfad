"""Tables for a paper: escapes, alignment, and rows with as many cells as there are columns."""

from __future__ import annotations

import math
import re

import pytest

from mi_runner.tables.declaration import COUNT, Key, Note, share
from mi_runner.tables.typeset import PaperColumn, PaperTable, escaped, latex, markdown

TABLE = PaperTable(
    "metrics",
    "Accuracy of 100 % of x_1 & y",
    "ablation-mnist_x/metrics",
    ["mi-run seed=0\nsecond line"],
    [
        PaperColumn("target", ["[relu,x|add]", "*all*", "a_b & c", ""], Key("target", "what is ablated")),
        PaperColumn(
            "accuracy_of_all",
            [0.2951, 0.5, None, 1.0],
            share("accuracy_of_all", "correct examples"),
            [(0.2862, 0.3041), (0.491, 0.509), (0.1, 0.2), (None, None)],
        ),
        PaperColumn("drop", [-0.5, 1e-5, math.inf, 0.0], None, [(-0.7, -0.2), (None, None), (0.0, 1.0), (None, None)]),
        PaperColumn("n", [3.0, 12.0, math.nan, None], Note("n", "examples", COUNT)),
        PaperColumn("dataset.limit", [None, 100, 1000, 10], None),
        PaperColumn("is_valid", [True, False, None, True], None),
    ],
)


def test_markdown_has_its_caption_rows_and_meanings() -> None:
    assert markdown(TABLE) == "\n".join(
        [
            "Accuracy of 100 % of x_1 & y. After ± or in brackets: the 95 % interval.",
            "",
            "| target | accuracy_of_all | drop | n | dataset.limit | is_valid |",
            "|---|---:|---:|---:|---:|---|",
            r"| \[relu,x\|add] | 0.295 ± 0.009 | -0.50 [-0.70, -0.20] | 3 | — | yes |",
            r"| \*all\* | 0.500 ± 0.009 | 1.000e-05 | 12 | 100 | no |",
            "| a_b & c | — | ∞ | — | 1000 | — |",
            "| — | 1.000 | 0 | — | 10 | yes |",
            "",
            "- `target`: what is ablated",
            "- `accuracy_of_all`: correct examples (fraction, 0 to 1; more is better)",
            "- `n`: examples (count)",
        ]
    )


def test_latex_has_balanced_braces_and_a_cell_for_each_column_in_each_row() -> None:
    text = latex(TABLE)
    lines = [line.strip() for line in text.splitlines()]
    comments = [line for line in lines if line.startswith("%")]
    assert comments[:2] == ["% mi-run seed=0 second line", "% target: what is ablated"] and len(comments) == 4
    body = [line for line in lines if not line.startswith("%")]
    plain = re.sub(r"\\[{}%&#$_]", "", "\n".join(body))
    depth = 0
    for character in plain:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0 and plain.count("$") % 2 == 0 and "%" not in plain and "#" not in plain
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", plain) for word in ("begin", "end"))
    assert begun == ended[::-1] == ["table", "tabular"]
    assert [lines.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"\begin{tabular}{lrrrrl}" in lines
    rows = [line for line in body if line.endswith(r"\\")]
    assert len(rows) == 1 + TABLE.n_rows and all(len(re.findall(r"(?<!\\)&", row)) == 5 for row in rows)
    assert r"\label{tab:ablation-mnist-x-metrics}" in lines


def test_latex_cells() -> None:
    lines = [line.strip() for line in latex(TABLE, digits=2).splitlines()]
    assert r"target & accuracy of all & drop & n & dataset.limit & is valid \\" in lines
    # A row may not begin with [ or *, which \\ of the row before would take as its own.
    assert r"{[}relu,x\textbar{}add] & $0.30$ $[0.29, 0.30]$ & $-0.50$ $[-0.70, -0.20]$ & $3$ & --- & yes \\" in lines
    assert r"{*}all* & $0.50$ $[0.49, 0.51]$ & $1.000 \times 10^{-5}$ & $12$ & $100$ & no \\" in lines
    assert r"a\_b \& c & --- & $\infty$ & --- & $1000$ & --- \\" in lines
    caption = r"\caption{Accuracy of 100 \% of x\_1 \& y. In brackets: the 95 \% interval.}"
    assert caption in lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % {a} \\ ~ ^ # $x_1", r"50 \% \{a\} \textbackslash{} \textasciitilde{} \textasciicircum{} \# \$x\_1"),
        ("a → b − c\n× 2", r"a $\to$ b $-$ c $\times$ 2"),
        ("p<0.05 | \"q\" > 1", r"p\textless{}0.05 \textbar{} ''q'' \textgreater{} 1"),
        ("Méloux", "Méloux"),
    ],
)  # fmt: skip
def test_escapes(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_a_column_without_values_is_no_column_of_numbers() -> None:
    empty = PaperTable("t", "c", "l", [], [PaperColumn("x", [None, None]), PaperColumn("y", ["a", "b"])])
    assert "|---|---|\n| — | a |" in markdown(empty) and "95 %" not in markdown(empty)


def test_an_exact_count_has_no_interval() -> None:
    counts = PaperColumn("n", [1024, 3], None, [(1024.0, 1024.0), (2.0, 5.0)])
    assert markdown(PaperTable("t", "c", "l", [], [counts])).endswith("| 1024 |\n| 3.0 [2.0, 5.0] |")

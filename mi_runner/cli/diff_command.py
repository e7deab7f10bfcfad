"""`mi-run diff A B [C ...]`: what differs between runs or sweeps, and is it real?"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mi_runner.cli.arguments import Parser
from mi_runner.cli.diff_formats import github, junit, verdict
from mi_runner.cli.folders import saved_in
from mi_runner.errors import ConfigError, ExitStatus
from mi_runner.runs.compared import Comparison, Section
from mi_runner.runs.comparison import compare
from mi_runner.runs.judged import Tolerance
from mi_runner.runs.run_folder import RECORD, is_word
from mi_runner.runs.saved_runs import Saved
from mi_runner.tables import console

FORMATS = ("table", "markdown", "json", "junit", "github")

MOST_ROWS = {"table": 10, "markdown": 30}
"""Rows of a section; of more, those that matter most. `--all` and JSON have all."""

EXAMPLES = """\
examples:
  mi-run diff outputs/ablation/mnist-skip/v001 outputs/ablation/mnist-skip/v002
  mi-run diff outputs/sweeps/train/v001 outputs/sweeps/train/v002 --format markdown
  mi-run diff reference outputs/train/mnist-mlp/latest --tolerance 1e-6
  mi-run diff outputs/train/mnist-mlp/passed latest --tolerance accuracy=0.01 --tolerance loss=0.1
  mi-run diff outputs/train/mnist-mlp/passed latest --p 0.01 --tolerance 0.05 --format github

words for the versions of a folder, in place of v001:
  latest, the newest that is done; passed, the newest that met its expectations; previous, the one before latest;
  latest~2, the one before that. A word alone belongs to the folder beside it, or to that of the newest run in outputs.

does a difference count?
  A metric with a bound, --tolerance METRIC=X, differs beyond it. One with a paired test differs if p is below 0.05, or
  --p: accuracy and loss on the same test examples (both runs have predictions), or any measure over two seeds or more.
  One without differs if it differs at all, or beyond --tolerance X, which without --p holds for those with a test, too.
  Rows of tables count unless a test says that the two networks differ by chance. What is of another machine
  (processor, threads, libraries) and has no test and no bound is said, and doesn't count.

exit status:
  0: no difference counts, 1: one does, or one side alone has a metric, table or job, 2: a mistake in the command.
  A metric is a number of the summary, or a measure in a table; times are none."""


def parser() -> Parser:
    """Returns the parser of this command's arguments."""
    made = Parser("diff", "Compares the first run or sweep with each of the others.", EXAMPLES)
    made.add_argument("folders", nargs="*", metavar="FOLDER", help="runs, or sweeps, whose jobs are paired")
    made.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="[METRIC=]X",
        help="numbers that differ by at most X are equal; above 1, by X times the larger; may be given several times",
    )
    made.add_argument(
        "--p",
        metavar="X",
        help="a difference with a paired test counts if its p is below X; 0.05 by default, without --tolerance X",
    )
    made.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="json has all rows and digits; junit a test case for each metric; github annotations of a workflow",
    )
    made.add_argument(
        "--all", action="store_true", help=f"all rows; otherwise the {MOST_ROWS['table']} of a table that matter most"
    )
    return made


def run(arguments: Sequence[str]) -> int:
    """Prints the comparison and returns the exit status.

    Raises:
        ConfigError: a mistake in the arguments.
    """
    asked = parser().parsed(arguments)
    if asked is None:
        return ExitStatus.DONE
    if len(asked.folders) < 2:
        raise ConfigError("diff: two folders are needed, or more. Type mi-run diff FOLDER FOLDER ...")
    tolerance, level = tolerance_of(asked.tolerance), level_of(asked.p)
    found = compare([_saved(typed) for typed in with_folders(asked.folders)], tolerance=tolerance, p=level)
    if asked.format == "json":
        console.page(_as_json(found))
    elif asked.format == "markdown":
        console.page(markdown(found, MOST_ROWS["markdown"] if not asked.all else None))
    elif asked.format == "junit":
        console.page(junit(found))
    elif asked.format == "github":
        console.page(github(found))
    else:
        _print(found, everything=asked.all)
    return ExitStatus.FAILED if found.differs else ExitStatus.DONE


def _print(found: Comparison, *, everything: bool) -> None:
    for line in found.said:
        console.page(f"{line}.\n")
    if not found.equal or everything:
        for section in _shown(found, everything=everything):
            _print_section(section, MOST_ROWS["table"] if not everything else None)
        if text := _details(found, everything=everything):
            console.page(f"({text})\n")
    console.page(verdict(found))


def level_of(typed: str | None) -> float | None:
    """Returns the level of `--p`; None if it isn't typed.

    Raises:
        ConfigError: it is no number above 0 and at most 1.
    """
    if typed is None:
        return None
    try:
        level = float(typed)
    except ValueError:
        level = math.nan
    if not 0 < level <= 1:
        raise ConfigError(f"--p {typed}: type a number above 0 and at most 1, such as 0.01.")
    return level


def tolerance_of(typed: Sequence[str]) -> Tolerance:
    """Returns the tolerances that are typed, each a number or METRIC=NUMBER; of two for one metric the last counts.

    Raises:
        ConfigError: one is no number from 0 on.
    """
    every: float | None = None
    by_metric = {}
    for text in typed:
        metric, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise ConfigError(f"--tolerance {text}: type a number, or METRIC=NUMBER, such as accuracy=0.01.") from None
        if not (value >= 0 and math.isfinite(value)):
            raise ConfigError(f"--tolerance {text}: must be 0 or more.")
        if metric:
            by_metric[metric] = value
        else:
            every = value
    return Tolerance(every, by_metric)


def with_folders(typed: Sequence[str]) -> list[str]:
    """Returns what is typed, a word for a version with its folder: that of another version, or of the newest run.

    Raises:
        ConfigError: there are only words, and no run in outputs.
    """
    if not any(_is_alone(word) for word in typed):
        return list(typed)
    parents = [str(Path(folder).parent) for folder in typed if not _is_alone(folder)]
    parent = parents[0] if parents else _folder_of_newest()
    return [f"{parent}/{word}" if _is_alone(word) else word for word in typed]


def _is_alone(typed: str) -> bool:
    return is_word(typed) and not Path(typed).exists()


def _folder_of_newest() -> str:
    """Returns the folder of the newest run in outputs, beside which its other versions lie."""
    root = Path("outputs")
    records = [file for file in root.glob(f"*/*/*/{RECORD}") if not file.parent.is_symlink()] if root.is_dir() else []
    if not records:
        raise ConfigError("diff: there is no run in outputs. Type a folder, as in mi-run diff FOLDER/passed latest.")
    return str(max(records, key=lambda file: file.stat().st_mtime).parent.parent)


def _saved(typed: str) -> Saved:
    saved = saved_in(typed, "diff")
    if saved.faults:
        raise ConfigError(f"{saved.faults[0]}. Mend the file, or compare another folder.")
    return saved


def _as_json(found: Comparison) -> str:
    sections = [
        {
            "title": section.title,
            **({"answer": section.answer} if section.answer else {}),
            "rows": section.rows,
            "note": section.note,
        }
        for section in found.sections
    ]
    content = {
        "differs": found.differs,
        "said": found.said,
        "judged": [asdict(one) for one in found.judged],
        "sections": _finite(sections),
    }
    return json.dumps(content, ensure_ascii=False, indent=1)


def _shown(found: Comparison, *, everything: bool) -> list[Section]:
    return [section for section in found.sections if everything or not section.is_detail]


def _details(found: Comparison, *, everything: bool) -> str:
    """Returns which sections are left out; empty for none."""
    details = [section.title.partition(":")[0] for section in found.sections if section.is_detail and section.rows]
    if everything or not details:
        return ""
    return f"left out: {', '.join(dict.fromkeys(details))}; --all shows them"


def _shortened(section: Section, most: int | None) -> tuple[Sequence[dict[str, Any]], int]:
    """Returns the rows to show, in their order, and how many others there are.

    Args:
        most: rows; None: all. Those with the smallest p come first; without tests, those with the largest differences,
            as fractions of the largest number of the measure; and the first metric, and the intact network's answers.
    """
    rows = section.rows
    if most is not None and section.brief is not None:
        return section.brief, len(rows) - len(section.brief)
    if most is None or len(rows) <= most:
        return rows, 0
    differences = [column for column in rows[0] if " − " in column]
    if not differences:  # configs and runs: their rows have no order
        return rows, 0
    base = differences[0].partition(" − ")[2]
    largest: dict[str, float] = {}
    for row in rows:
        sizes = [_size(row.get(name)) for name in (base, *differences)]
        largest[_measure(row)] = max(largest.get(_measure(row), 0.0), *(size for size in sizes if size < math.inf), 0.0)

    def importance(place: int) -> tuple[bool, float, float]:
        row = rows[place]
        share = max(_size(row.get(name)) for name in differences) / (largest[_measure(row)] or 1.0)
        return (not row.get("counts"), row["p"] if isinstance(row.get("p"), float) else 1.0, -share)

    first = [] if "measure" in rows[0] else [0]
    order = [*first, *sorted(range(len(first), len(rows)), key=importance)]
    return [rows[place] for place in sorted(order[:most])], len(rows) - most


def _measure(row: Mapping[str, Any]) -> str:
    """Returns what a row's numbers measure, as `loss` also for the metric loss/relu/zero."""
    return str(row.get("measure") or row.get("metric") or "").partition("/")[0]


def _size(value: float | None) -> float:
    return math.inf if value is None or math.isnan(value) else abs(value)


def _left_out(section: Section, number: int, shown: Sequence[Mapping[str, Any]]) -> str:
    """Returns how many rows are left out, and how many of them count.

    Args:
        shown: the other rows.
    """
    n_shown = sum(bool(row.get("counts")) for row in shown)
    if section.brief is not None:
        return f"({number:,} more rows: --all shows them)"
    n_count = sum(bool(row.get("counts")) for row in section.rows) - n_shown
    count = "" if n_count <= 0 else f", {n_count:,} of them {'counts' if n_count == 1 else 'count'}"
    return f"({number:,} more {'row' if number == 1 else 'rows'}{count}: --all shows {'it' if number == 1 else 'them'})"


def _cell(column: str, value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column == "p" and isinstance(value, float):
        return f"{value:.2g}"
    if isinstance(value, float) and 0 < abs(value) < 5e-5:  # four digits behind the point would be 0.0000
        return f"{value:.2e}"
    if isinstance(value, float) and math.isfinite(value) and abs(value) >= 1e4:
        return round(value)  # rather than 1.931e+04
    return value


def _print_section(section: Section, most: int | None) -> None:
    rows, others = _shortened(section, most)
    if section.answer:
        console.page(section.answer + "\n")
    if rows:
        shown = [{column: _cell(column, value) for column, value in row.items()} for row in _filled(rows)]
        console.table(section.title, shown, keep=["p"])
        for line in (_left_out(section, others, rows) if others else "", f"({section.note})" if section.note else ""):
            if line:
                console.page(line)
    else:
        console.page(f"{section.title}: {section.note or 'nothing'}")
    console.page("")


def markdown(found: Comparison, most: int | None = None) -> str:
    """Returns the comparison as Markdown, for a pull request; of each section at most so many rows, None: all."""
    lines = [f"**{verdict(found)}**", *(f"\n{line}." for line in found.said)]
    if found.equal and most is not None:
        return "\n".join(lines)
    for section in _shown(found, everything=most is None):
        rows, others = _shortened(section, most)
        lines += ["", f"### {section.title}", ""]
        if section.answer:
            lines += [section.answer, ""]
        if rows:
            filled = _filled(rows)
            numeric = [all(_is_number(row[column]) for row in filled) for column in filled[0]]
            lines.append(_line(list(filled[0])))
            lines.append("|" + "|".join("---:" if right else "---" for right in numeric) + "|")
            lines += [_line([_digits(_cell(column, value)) for column, value in row.items()]) for row in filled]
            if others:
                lines += ["", _left_out(section, others, rows)]
            if section.note:
                lines += ["", section.note]
        else:
            lines.append(section.note or "nothing")
    if text := _details(found, everything=most is None):
        lines += ["", f"({text})"]
    return "\n".join(lines)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | None) and not isinstance(value, bool)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _digits(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _filled(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows, each with all columns of any of them."""
    columns = dict.fromkeys(column for row in rows for column in row)
    return [{column: row.get(column) for column in columns} for row in rows]


def _finite(value: Any) -> Any:
    """Returns the same value without NaN and infinity, which JSON doesn't have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value

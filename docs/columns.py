"""Writes docs/columns.md from the declarations of all tables; a test compares the two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mi_runner.bench.tables import LEADERBOARD_FIGURE
from mi_runner.bench.tables import TABLES as OF_BENCH
from mi_runner.config.registry import EXPERIMENTS, origin_of
from mi_runner.experiments.declared import ADDED, declarations_of
from mi_runner.sweeps.declared import SWEEP, SWEEP_SUMMARY
from mi_runner.tables.declaration import Column, FigureType, Key, Measure, Repeat, TableType

PAGE = Path(__file__).with_name("columns.md")

BEGIN = """# Columns: what do the numbers mean?

This page is made from the declarations of the tables, `mi_runner/experiments/*/tables.py` and
`mi_runner/bench/tables.py`, as the explanations in a [report](reports.md) are. The columns marked *key* name the rows;
*repeat* counts repetitions of one measurement. A *measure* may differ from seed to seed and is averaged over seeds.
Measures have the values that they can have, and whether more or less is better. `*` in a name stands for any name.
"""


def page() -> str:
    """Returns the page docs/columns.md."""
    lines = [BEGIN]
    own = [schema for schema in EXPERIMENTS if not origin_of(schema)]
    written: dict[int, str] = {}
    for schema in own:
        lines.append(f"## experiment={schema.name}\n")
        declared = declarations_of(schema.name)
        same = written.setdefault(id(declared.tables), schema.name)
        if same != schema.name:
            lines.append(f"The tables, numbers and figures are those of `experiment={same}`.\n")
            continue
        lines += _tables(table for table in declared.tables if table not in ADDED)
        lines += ["### Numbers of the summary\n", *_columns(declared.summary)]
        lines += ["### Figures\n", *_figures(declared.figures)]
    lines += ["## In every run\n", *_tables(ADDED), "## Sweeps\n", *_tables((SWEEP, SWEEP_SUMMARY))]
    lines.append("Besides these, both have the swept values and columns of the jobs' tables.\n")
    for schema in own:
        lines += _tables(declarations_of(schema.name).compared, "sweep_")
    lines += ["## mi-run bench\n", *_tables(OF_BENCH), "### Figures\n", *_figures((LEADERBOARD_FIGURE,))]
    return "\n".join(lines)


def _tables(tables: Iterable[TableType], prefix: str = "") -> Iterator[str]:
    """Yields the lines of tables; types of one name and caption are one table."""
    alike: dict[tuple[str, str], list[TableType]] = {}
    for table in tables:
        alike.setdefault((table.name, table.caption), []).append(table)
    for (name, caption), types in alike.items():
        yield f"### `{prefix}{name}`\n\n{caption}.\n"
        yield from _columns(dict.fromkeys(column for table in types for column in table.columns))


def _columns(columns: Iterable[Column]) -> Iterator[str]:
    yield from ("| name | meaning | unit | |", "|---|---|---|---|")
    for column in columns:
        interval = ", with its 95 % interval in " if getattr(column, "interval", False) else ""
        ends = f"`{column.name}_low` and `{column.name}_high`" if interval else ""
        only = f"; only {column.only}" if column.only else ""
        yield f"| `{column.name}` | {column.meaning}{only}{interval}{ends} | {column.unit} | {_kind(column)} |"
    yield ""


def _kind(column: Column) -> str:
    if isinstance(column, Measure):
        better = [f"{column.better} is better"] if column.better else []
        return ", ".join(["measure", str(column.within), *better])
    return "key" if isinstance(column, Key) else "repeat" if isinstance(column, Repeat) else ""


def _figures(figures: Iterable[FigureType]) -> Iterator[str]:
    yield from ("| figure | what it shows | of the table |", "|---|---|---|")
    for figure in figures:
        yield f"| `{figure.name}` | {figure.caption} | {f'`{figure.table}`' if figure.table else ''} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

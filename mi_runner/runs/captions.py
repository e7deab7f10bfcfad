"""What does each figure of a folder show? `figures/captions.md`: a caption in words, ready for a paper.

A caption has what is drawn, as the figure's declaration says it; n and the intervals, where the figure has them; and
the setting: the data set, the network, the seed, and the options that differ from the defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mi_runner.config import commands
from mi_runner.config.run_schema import RunConfig
from mi_runner.machine.reading import Unreadable, is_own_file, read_text
from mi_runner.runs import settings
from mi_runner.runs.run_folder import CAPTIONS, FIGURES, frame_of
from mi_runner.tables.columns import Columns
from mi_runner.tables.declaration import OF_TEST_SET, Declarations, FigureType, Rows

if TYPE_CHECKING:
    from mi_runner.datasets import Dataset

MOST_BYTES = 2**20
"""Of captions.md."""


def setting(config: RunConfig, dataset: Dataset) -> tuple[str, int]:
    """Returns the setting of a run in a sentence, and its number of test examples."""
    sizes = f"{len(dataset.x_train):,} training and {len(dataset.x_test):,} test examples"
    networks = settings.of_seeds(range(config.seed, config.seed + (config.seeds or 1)))
    text = f"Data set {config.dataset.name} ({sizes}), network {config.model.name}, {networks}"
    options = _options(config)
    return f"{text}; {', '.join(options)}." if options else f"{text}.", len(dataset.x_test)


def _options(config: RunConfig) -> list[str]:
    """Returns the options that differ from the defaults of the experiment, data set and model."""
    typed = [(text.partition("=")[0], text) for text in commands.overrides_of(config) or ()]
    return [text for key, text in typed if settings.is_of_setting(key)]


def caption(name: str, declared: Declarations, rows: Rows | Columns | None, where: str, n_test: int | None) -> str:
    """Returns the caption of a figure.

    Args:
        name: of the figure.
        declared: what the figures show.
        rows: of the table that the figure draws; None: it draws none.
        where: the setting, in a sentence.
        n_test: test examples of the run; None of several runs.
    """
    figure = declared.figure(name)
    if figure is None:
        return " ".join(filter(None, [f"{name.replace('_', ' ')}.", where]))
    said = [f"{figure.caption.rstrip('.')}."]
    if figure.of and (found := figure.names_of(name)):
        said.append(f"{figure.of[0].upper()}{figure.of[1:]}: {found}.")
    if (counted := _n(figure, rows, n_test)) is not None:
        said.append(counted)
    if figure.intervals:
        said.append(f"Intervals: {figure.intervals.rstrip('.')}.")
    return " ".join(filter(None, [*said, where]))


def _n(figure: FigureType, rows: Rows | Columns | None, n_test: int | None) -> str | None:
    """Returns how many examples, pairs or networks the values of a figure are of; None if its table doesn't say it."""
    if figure.n == OF_TEST_SET and n_test is not None:
        return f"n = {n_test:,} test examples."
    if not figure.n or rows is None or not len(rows):
        return None
    frame = frame_of(rows)
    if figure.n not in frame:
        return None
    counts = frame[figure.n].dropna()
    if not len(counts):
        return None
    low, high = int(counts.min()), int(counts.max())
    what = figure.n_of or "test examples"
    return f"n = {low:,} {what}." if low == high else f"n = {low:,} to {high:,} {what}."


def of_figures(
    names: Iterable[str],
    declared: Declarations,
    tables: Mapping[str, Rows | Columns],
    where: str,
    n_test: int | None = None,
) -> dict[str, str]:
    """Returns name → caption of figures.

    Args:
        names: of the figures.
        declared: what they show.
        tables: the rows that they draw, by the table's name.
        where: the setting, in a sentence.
        n_test: test examples of the run; None of several runs.
    """
    found = {}
    for name in names:
        figure = declared.figure(name)
        found[name] = caption(name, declared, tables.get(figure.table) if figure is not None else None, where, n_test)
    return found


def page(captions: Mapping[str, str], files: Sequence[str]) -> str:
    """Returns the text of captions.md.

    Args:
        captions: name → caption.
        files: the endings of each figure's files.
    """
    parts = ["# Captions of the figures"]
    for name, text in captions.items():
        parts += [f"## {name}", f"Files: {', '.join(f'{name}.{kind}' for kind in files)}", text]
    return "\n\n".join(parts) + "\n"


def read(folder: Path) -> dict[str, str]:
    """Returns name → caption of a folder's captions.md; empty if it has none that can be read."""
    path = folder / FIGURES / CAPTIONS
    try:
        text = read_text(path, MOST_BYTES) if is_own_file(path, folder) else ""
    except (OSError, Unreadable):
        return {}
    found = {}
    for part in re.split(r"(?m)^## ", text)[1:]:
        name, _, body = part.partition("\n")
        found[name.strip()] = " ".join(line for line in body.split("\n") if not line.startswith("Files: ")).strip()
    return found


def of_sweep(common: Mapping[str, Any], swept: Mapping[str, Sequence[Any]]) -> str:
    """Returns the setting of a sweep in a sentence.

    Args:
        common: what all jobs have in common, by key.
        swept: key → its values.
    """
    names = {"experiment": "Experiment", "dataset": "data set", "model": "network"}
    said = [f"{words} {common[key]}" for key, words in names.items() if common.get(key) is not None]
    said += [f"{key} {', '.join(map(str, values))}" for key, values in swept.items() if values]
    return f"{'; '.join(said)}." if said else ""

"""What is made of a run beside its computing: the files of its tables, its figures, its page.

A second process makes them, if there is one, with libraries that this one then doesn't import. What that can't make,
as a figure whose function needs torch, this one makes. The second process writes nothing: this one writes what it gets.

Nothing here imports torch.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mi_runner.config.figure_options import FigureOptions, figure_files
from mi_runner.machine.drawing import FigureFiles, content, laid_out, prepare_to_draw
from mi_runner.machine.second_process import Answer, NotDone, SecondProcess
from mi_runner.runs import run_folder
from mi_runner.runs.run_folder import RunFolder, is_parquet
from mi_runner.runs.states import State

if TYPE_CHECKING:
    from mi_runner.experiments import Drawing
    from mi_runner.tables.columns import Columns
    from mi_runner.tables.declaration import Rows, Table


class Beside:
    """Makes tables, figures and the page of a run.

    Args:
        second: makes them, while this process computes; None: this one does.

    Attributes:
        wanted: which files each figure has.
    """

    def __init__(self, second: SecondProcess | None) -> None:
        self._second = second
        self._begun: dict[str, tuple[Drawing, dict[str, Answer]]] = {}
        self.wanted = FigureFiles()

    def prepare(self, *, figures: bool, page: bool) -> None:
        """Lets the second process import what it needs, which takes it a second, and this one no time.

        Args:
            figures, page: whether the run will have them.
        """
        for prepared in (_prepare_tables, figures and prepare_to_draw, page and _prepare_page):
            if self._second is not None and prepared:
                self._second.ask(prepared)

    def drawing(self, options: FigureOptions) -> Callable[[Mapping[str, Drawing]], None] | None:
        """Takes the options of figures, and returns what begins to draw some; None: none are drawn."""
        self.wanted = figure_files(options)
        return self.begin_figures if options.draw else None

    def laid_out(self, drawings: Mapping[str, Drawing]) -> dict[str, Drawing]:
        """Returns name → a function that draws the figure at the width that is wanted."""
        return {name: laid_out(drawing, self.wanted.width) for name, drawing in drawings.items()}

    def begin_figures(self, drawings: Mapping[str, Drawing]) -> None:
        """Begins to draw figures, but for those that were begun before.

        Args:
            drawings: name → a function that draws the figure.
        """
        if self._second is None:
            return
        for name, drawing in drawings.items():
            if name not in self._begun or self._begun[name][0] is not drawing:
                drawn = laid_out(drawing, self.wanted.width)
                asked = {kind: self._second.ask(content, drawn, kind) for kind in self.wanted.formats}
                self._begun[name] = drawing, asked

    def write_tables(self, place: RunFolder, tables: Iterable[Table], parquet: Collection[str]) -> None:
        """Writes tables into the run folder.

        Args:
            parquet: the names of those that are written as Parquet even if they are small.
        """
        is_made_there = self._second is not None and "pandas" not in sys.modules  # otherwise all is here
        asked = [
            (table, self._second.ask(_content_of, table.rows, table.name in parquet))
            if self._second is not None and is_made_there
            else (table, None)
            for table in tables
        ]
        for table, answer in asked:
            as_parquet = table.name in parquet
            try:
                if answer is None:
                    raise NotDone
                made = answer.value()
            except NotDone:
                place.write_table(table.name, table.rows, parquet=as_parquet)
            else:
                place.write_content(table.name, made, parquet=is_parquet(len(table.rows), asked=as_parquet))

    def write_figures(self, place: RunFolder, drawings: Mapping[str, Drawing]) -> None:
        """Writes figures into the run folder.

        Raises:
            Exception: what a function that draws raises.
        """
        self.begin_figures(drawings)
        for name, drawing in drawings.items():
            try:
                if name not in self._begun:
                    raise NotDone
                made = {kind: answer.value() for kind, answer in self._begun[name][1].items()}
            except NotDone:
                place.write_figure(name, drawing, self.wanted)
            else:
                for kind, drawn in made.items():
                    place.write_drawn(f"{name}.{kind}", drawn)

    def write_page(self, place: RunFolder, state: State) -> None:
        """Writes the page of a run that has ended.

        Args:
            state: how.

        Raises:
            OSError: the folder can't be read or written.
        """
        try:
            if self._second is None:
                raise NotDone
            text = self._second.ask(_page_of, place.path, state).value()
        except NotDone:
            text = _page_of(place.path, state)
        place.write_page(text)


# --- what the second process is asked for ----------------------------------------------------------------------------


def _prepare_tables() -> None:
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401


def _prepare_page() -> None:
    from mi_runner.runs.report import rendering

    rendering.prepare("run.html", "base.html", "page.html")


def _content_of(rows: Rows | Columns, asked: bool) -> bytes:
    """Returns the content of a table's file."""
    frame, file = run_folder.frame_of(rows), io.BytesIO()
    run_folder.write_frame(frame, file, parquet=is_parquet(len(frame), asked=asked))
    return file.getvalue()


def _page_of(folder: Path, state: State) -> str:
    from mi_runner.runs.report.run_report import run_page

    return run_page(folder, state)

"""The figures of a run: a second process draws them while the run computes, and this one what that one can't draw."""

from __future__ import annotations

from collections.abc import Mapping

from mi_runner.experiments import Drawing
from mi_runner.machine import files
from mi_runner.machine.second_process import Answer, NotDone, SecondProcess
from mi_runner.runs.run_folder import RunFolder


class Figures:
    """The figures of a run, from the moment when one is known until all are written.

    Args:
        second: draws; None: nothing is drawn before it is written.
    """

    def __init__(self, second: SecondProcess | None) -> None:
        self._second = second
        self._begun: dict[str, tuple[Drawing, Answer]] = {}

    def begin(self, drawings: Mapping[str, Drawing]) -> None:
        """Begins to draw figures, but for those that were begun before.

        Args:
            drawings: name → a function that draws the figure.
        """
        for name, drawing in drawings.items() if self._second is not None else ():
            assert self._second is not None
            if name not in self._begun or self._begun[name][0] is not drawing:
                self._begun[name] = drawing, self._second.ask(files.png, drawing)

    def write(self, place: RunFolder, drawings: Mapping[str, Drawing]) -> None:
        """Writes figures into the run folder.

        Raises:
            Exception: what a function that draws raises.
        """
        for name, drawing in drawings.items():
            begun, answer = self._begun.get(name, (None, None))
            if answer is None or begun is not drawing:
                place.write_figure(name, drawing)
                continue
            try:
                content = answer.value()
            except NotDone:
                place.write_figure(name, drawing)
            else:
                place.write_png(name, content)

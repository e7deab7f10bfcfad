"""`mi-run cite FOLDER`: the works that a run or sweep uses as BibTeX, and the sentences about its method."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from mi_runner.cli.arguments import Parser
from mi_runner.cli.folders import saved_in
from mi_runner.errors import ConfigError, ExitStatus
from mi_runner.runs.citation import Citation, citation
from mi_runner.tables import console
from mi_runner.tables.typeset import escaped

WIDTH = 110

EXAMPLES = """\
examples:
  mi-run cite outputs/circuits/mnist01-mlp/latest
  mi-run cite outputs/sweeps/ablation/latest > references.bib

Comments say, as LaTeX, what was done; the entries are of the works that the
experiment, the data set, the model and the methods come from."""


def parser() -> Parser:
    """Returns the parser of this command's arguments."""
    made = Parser("cite", "Prints whose work a run or sweep uses, as BibTeX, and what it did.", EXAMPLES)
    made.add_argument("folder", nargs="?", metavar="FOLDER", help="of a run or a sweep")
    return made


def run(arguments: Sequence[str]) -> int:
    """Prints the entries and returns the exit status.

    Raises:
        ConfigError: a mistake in the arguments.
    """
    asked = parser().parsed(arguments)
    if asked is None:
        return ExitStatus.DONE
    if asked.folder is None:
        raise ConfigError("cite: a folder is missing. Type mi-run cite FOLDER; mi-run ls lists the folders of runs.")
    console.page(page(citation(saved_in(asked.folder, "cite"))))
    return ExitStatus.DONE


def page(found: Citation) -> str:
    """Returns the text of a BibTeX file."""
    # Outside of entries BibTeX takes an @ for the begin of one.
    said = escaped(found.text).replace("@", " at ")
    others = [f"not among the references: {line}".replace("@", " at ") for line in found.unknown]
    # A key is whole on its line: lines break at the spaces, which then go.
    cited = [line.replace(", ", ",") for line in _wrapped(rf"\cite{{{', '.join(found.keys)}}}")]
    lines = [*_wrapped(said), *cited, *(line for text in others for line in _wrapped(text))]
    return "\n".join([*(f"% {line}" for line in lines), "", found.bibtex()])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False, break_long_words=False)

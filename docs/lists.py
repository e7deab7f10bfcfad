"""Writes the lists that are made from the code and the pages: the README's questions, one of each experiment's page.

`python docs/lists.py` writes them; a test compares them with what stands there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mi_runner.config.registry import EXPERIMENTS

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"

BEGIN = "| question | command | page |\n|---|---|---|\n"
"""What stands before the rows of the experiments."""

ROW = re.compile(r"\| [^|]* \| `mi-run [^|`]*experiment=[^|]* \| [^|]* \|\n")


def questions() -> Iterator[str]:
    """Yields a row for each page of an experiment, and of an experiment's option, in the order of the help page."""
    pages = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
    begun = {name: re.match(r"# [^:\n]*: (.*\?)\n\n```\n(mi-run .*)\n", page) for name, page in pages.items()}
    found = {name: begin.groups() for name, begin in begun.items() if begin}
    for experiment in (schema.name for schema in EXPERIMENTS):
        if experiment in found:
            yield _row(found[experiment][0], f"mi-run experiment={experiment}", experiment)
        for name, (question, command) in found.items():
            if command.startswith(f"mi-run experiment={experiment} experiment."):
                yield _row(question, command, name)


def _row(question: str, command: str, page: str) -> str:
    return f"| {question[0].upper()}{question[1:]} | `{command}` | [{page}](docs/{page}.md) |\n"


def readme(text: str) -> str:
    """Returns the README with the rows of today."""
    before, begin, after = text.partition(BEGIN)
    lines = after.splitlines(keepends=True)
    others = lines[next(number for number, line in enumerate(lines) if not ROW.fullmatch(line)) :]
    return before + begin + "".join([*questions(), *others])


def write() -> None:
    """Writes the lists."""
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()

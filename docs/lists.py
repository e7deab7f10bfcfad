"""Writes what pages have from elsewhere.

The README has the question of each experiment's page, docs/discovery.md the methods, docs/criteria.md the criteria,
docs/plugins.md the package that a test installs, docs/trust.md the checks of the self-test, docs/columns.md what the
tables declare, docs/bench.md the networks of the bench. `python docs/lists.py` writes them; tests compare them with
what stands there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

from mi_runner.bench.networks import BENCH_1, FORMULAS, TRAINED, Family
from mi_runner.config.registry import EXPERIMENTS
from mi_runner.experiments.selftest.checks import CHECKS
from mi_runner.experiments.selftest.devices import DEVICES
from mi_runner.methods.criteria.records import CRITERIA
from mi_runner.methods.discovery.records import METHODS, Method

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"

PACKAGE = DOCS.parent / "tests/plugin_package"
FILES, END = "<!-- files of tests/plugin_package -->", "<!-- end of the files -->"
LANGUAGES = {".toml": "toml", ".py": "python", ".yaml": "yaml"}
"""Endings of the files that the page shows, and what they are written in."""

METHODS_BEGIN = "| method | what it does | passes over the examples | paper |\n|---|---|---|---|\n"
PUBLISHED = 21, 2115
"""Edges and examples of the published setting, for which docs/discovery.md counts passes."""

CRITERIA_BEGIN = "| criterion | what it measures |\n|---|---|\n"

BEGIN = "| question | command | page |\n|---|---|---|\n"
"""What stands before the rows of the experiments."""

CHECKS_BEGIN = "| check | what is compared | expected | found | tolerance |\n|---|---|---|---|---|\n"
CHECK_ROW = re.compile(r"^\| `([^`]*)` \| [^|\n]* \|(.*)$", re.MULTILINE)
"""A row of that table: the check, and what a run found."""

ROW = re.compile(r"\| [^|]* \| `mi-run [^|`]*experiment=[^|]* \| [^|]* \|\n")


def questions() -> Iterator[str]:
    """Yields a row for each page of an experiment, and of an experiment's option, in the order of the help page."""
    pages = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
    begun = {name: re.match(r"# [^:\n]*: (.*\?)\n\n```\n(mi-run .*)\n", page) for name, page in pages.items()}
    found = {name: begin.groups() for name, begin in begun.items() if begin}
    of_others = {command: name for name, (_, command) in found.items()}
    for experiment in (schema.name for schema in EXPERIMENTS):
        own = f"mi-run experiment={experiment}"
        page = experiment if experiment in found else of_others.get(own, "")
        if page:
            yield _row(found[page][0], own, page)
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


def plugins(text: str) -> str:
    """Returns the page on plugins with the files of today."""
    before, begin, after = text.partition(FILES)
    end = after[after.index(END) :]
    return f"{before}{begin}\n{''.join(package_files())}{end}"


def package_files() -> Iterator[str]:
    """Yields each file of the package with its name as a heading; those that are empty in a sentence at the end."""
    sources = (path for path in sorted((PACKAGE / "mi_rings").rglob("*")) if path.suffix in LANGUAGES)
    names = [PACKAGE / "pyproject.toml", *sources]
    for path in names:
        if content := path.read_text(encoding="utf-8"):
            yield f"### {path.relative_to(PACKAGE)}\n\n```{LANGUAGES[path.suffix]}\n{content}```\n\n"
    empty = [str(path.relative_to(PACKAGE)) for path in names if not path.stat().st_size]
    yield f"Empty: {', '.join(empty)}.\n"


def discovery(text: str) -> str:
    """Returns the page on discovery with the methods of today."""
    before, begin, after = text.partition(METHODS_BEGIN)
    return before + begin + "".join(map(_method_row, METHODS)) + after[after.index("\n\n") + 1 :]


def criteria(text: str) -> str:
    """Returns the page on criteria with those of today."""
    before, begin, after = text.partition(CRITERIA_BEGIN)
    rows = "".join(f"| `{criterion.name}` | {criterion.sentence} |\n" for criterion in CRITERIA)
    return before + begin + rows + after[after.index("\n\n") + 1 :]


def _method_row(method: Method) -> str:
    at_most = "at most " if method.searches is not None and method.evaluations(PUBLISHED[0]) else ""
    passes = method.n_passes(*PUBLISHED)
    shown = "" if passes is None else f"{at_most}{passes:,}"
    return f"| `{method.name}` | {method.sentence} | {shown} | {method.paper} |\n"


def trust(text: str) -> str:
    """Returns the page on the self-test with the checks of today; what a run found stays as the page has it."""
    before, begin, after = text.partition(CHECKS_BEGIN)
    measured = dict(CHECK_ROW.findall(after))
    rows = []
    for group, name, sentence in _checks():
        found = measured.get(f"{group}/{name}", " | | |")
        rows.append(f"| `{group}/{name}` | {sentence} |{found}\n")
    return before + begin + "".join(rows) + after[after.index("\n\n") + 1 :]


def _checks() -> Iterator[tuple[str, str, str]]:
    """Yields group, name and sentence of each check; "the same" refers to the row before."""
    for group, checks in {**CHECKS, "devices": DEVICES}.items():
        for one in checks:
            yield group, one.name, one.sentence


FAMILIES_BEGIN = (
    "| family | what its networks are | settings | networks | small part | accuracy at least |\n"
    "|---|---|---|---|---|---|\n"
)
FORMULAS_BEGIN = "| formula | answers to all inputs in ascending order |\n|---|---|\n"


def bench(text: str) -> str:
    """Returns the page on the bench with the families and formulas of today."""
    families = "".join(_family_row(family) for family in BENCH_1.families)
    formulas = "".join(f"| `{_cell(formula)}` | {table} |\n" for formula, table in FORMULAS.items())
    return _with_rows(_with_rows(text, FAMILIES_BEGIN, families), FORMULAS_BEGIN, formulas)


def _with_rows(text: str, begin: str, rows: str) -> str:
    """Returns a page with other rows in the table that begins so."""
    before, _, after = text.partition(begin)
    return before + begin + rows + after[after.index("\n\n") + 1 :]


def _family_row(family: Family) -> str:
    n = len(family.settings) * BENCH_1.n_seeds
    settings = ", ".join(setting.name for setting in family.settings) if family.kind == TRAINED else "every formula"
    small = ", ".join(f"`{_cell(setting.name)}`" for setting in family.settings if setting.is_small)
    return f"| `{family.name}` | {family.meaning} | {settings} | {n} | {small} | {family.least_accuracy:g} |\n"


def _cell(text: str) -> str:
    """Returns a text for a cell of a table."""
    return text.replace("|", "\\|")


def columns(text: str) -> str:
    """Returns the page of columns of today."""
    page: str = run_path(str(DOCS / "columns.py"))["page"]()
    return page


PAGES = {
    README: readme,
    DOCS / "bench.md": bench,
    DOCS / "columns.md": columns,
    DOCS / "criteria.md": criteria,
    DOCS / "discovery.md": discovery,
    DOCS / "plugins.md": plugins,
    DOCS / "trust.md": trust,
}
"""Page → the function that writes its lists."""


def write() -> None:
    """Writes the lists."""
    for page, written in PAGES.items():
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()

"""Builds the pages as a site in the folder site: `make site`.

It has README, docs/ and what the programs' docstrings say of the library, a search and dark colours, and the reports of
a run and of a sweep, which are run for it. All of it can be read without a network, and from files.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

DOCS = Path(__file__).parent
ROOT = DOCS.parent
FRONT = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")

GROUPS = {
    "First steps": ("docs/start", "docs/your_own_data", "docs/your_own_network", "docs/notebook", "examples"),
    "Questions": (),
    "Runs and sweeps": ("docs/runs", "docs/reports", "docs/sweeps", "docs/slurm_and_ray", "docs/ci", "docs/paper"),
    "Reference": ("docs/columns", "docs/vectors", "docs/library", "docs/plugins", "api/index", "CHANGELOG"),
    "More": ("CONTRIBUTING",),
}
"""The navigation, group by group. `Questions` has the other pages that the README's table names, `More` the rest."""

QUESTIONS, MORE = "Questions", "More"

EXAMPLES = {
    "ablation": ("a run: which parts does a network's answer depend on?", ("experiment=ablation", "model=skip")),
    "sweep": (
        "a sweep over models and seeds",
        ("-m", "experiment=ablation", "dataset=mnist01", "model=skip,mlp", "seed=range(0,3)"),
    ),
}
"""Folder → what it is an example of, and the command, which the README has."""


def build(site: Path, reports: Mapping[str, Path]) -> None:
    """Writes the site into a folder, which is deleted before.

    Args:
        reports: of each example the folder of its run or sweep.

    Raises:
        SystemExit: Sphinx fails, or warns.
    """
    with TemporaryDirectory() as folder:
        source, written = Path(folder) / "source", Path(folder) / "site"
        write_source(source)
        call(sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", str(DOCS), str(source), str(written))
        shutil.copyfile(written / "README.html", written / "index.html")
        for name, of in reports.items():
            shutil.copytree(of, written / "examples" / name)
        shutil.rmtree(written / ".doctrees")
        if site.exists():
            shutil.rmtree(site)
        shutil.move(written, site)


def examples(folder: Path, options: Sequence[str]) -> dict[str, Path]:
    """Runs the examples, and returns the folder of each.

    Args:
        folder: for the runs.
        options: further ones for their commands.

    Raises:
        SystemExit: a command fails.
    """
    found = {}
    for name, (_, command) in EXAMPLES.items():
        said = call(sys.executable, "-m", "mi_runner", *command, *options, f"output_dir={folder / name}")
        found[name] = Path(said.splitlines()[-1])
    return found


def write_source(source: Path) -> None:
    """Writes the folder that Sphinx reads: the pages as they are, a page for each namespace, the navigation."""
    source.mkdir(parents=True)
    for name in FRONT:
        shutil.copy(ROOT / name, source)
    shutil.copytree(DOCS, source / "docs", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    write_library(source / "api")
    (source / "examples.rst").write_text(examples_page(), encoding="utf-8")
    with (source / "README.md").open("a", encoding="utf-8") as front:
        front.write(navigation(source))


def write_library(folder: Path) -> None:
    """Writes a page for each namespace of mi_runner, which Sphinx fills with its docstrings."""
    import mi_runner

    folder.mkdir()
    names = mi_runner._NAMESPACES
    written: set[int] = set()
    for name in names:
        module = getattr(mi_runner, name)
        members = {member: id(getattr(module, member)) for member in getattr(module, "__all__", ())}
        again = [member for member, of in members.items() if of in written]  # Sphinx takes each thing once
        written.update(members.values())
        title = f"mi_runner.{name}"
        left_out = f"   :exclude-members: {', '.join(again)}\n" if again else ""
        text = f"{title}\n{'=' * len(title)}\n\n.. automodule:: {title}\n   :members:\n{left_out}"
        (folder / f"{name}.rst").write_text(text, encoding="utf-8")
    listed = "\n".join(f"   {name}" for name in names)
    title = "The library, by namespace"
    text = f"{title}\n{'=' * len(title)}\n\n.. toctree::\n   :maxdepth: 2\n\n{listed}\n"
    (folder / "index.rst").write_text(text, encoding="utf-8")


def examples_page() -> str:
    """Returns the page that links to the examples' reports."""
    title = "Examples: two reports"
    links = "".join(
        f'   <li><a href="examples/{name}/report.html">{about}</a>: <code>mi-run {" ".join(command)}</code></li>\n'
        for name, (about, command) in EXAMPLES.items()
    )
    said = "What these commands wrote. Each page is one file, which can be sent by itself."
    return f"{title}\n{'=' * len(title)}\n\n{said}\n\n.. raw:: html\n\n   <ul>\n{links}   </ul>\n"


def groups(source: Path) -> dict[str, list[str]]:
    """Returns the navigation: group → pages, each page of the source in one group.

    Args:
        source: the folder with the pages.
    """
    pages = {str(path.relative_to(source).with_suffix("")) for path in source.rglob("*.md")} | {"examples", "api/index"}
    found = {group: [page for page in named if page in pages] for group, named in GROUPS.items()}
    named = {page for group in found.values() for page in group} | {"README"}
    table = re.findall(r"\| \[[\w ]+\]\((docs/\w+)\.md", (source / "README.md").read_text(encoding="utf-8"))
    found[QUESTIONS] = [page for page in dict.fromkeys(table) if page in pages - named]
    found[MORE] = [*sorted(pages - named - set(found[QUESTIONS])), *found[MORE]]
    return found


def navigation(source: Path) -> str:
    """Returns what stands below the README for Sphinx alone: the groups of pages, each page by its short title."""
    lists = (
        f"\n```{{toctree}}\n:hidden:\n:caption: {group}\n\n"
        + "".join(f"{short_title(source, page)} <{page}>\n" for page in pages)
        + "```\n"
        for group, pages in groups(source).items()
    )
    return "".join(lists)


def short_title(source: Path, page: str) -> str:
    """Returns the title of a page up to its question: `Circuits: how many ...?` is Circuits."""
    (path,) = (path for path in source.glob(f"{page}.*") if path.suffix in (".md", ".rst"))
    with path.open(encoding="utf-8") as file:
        title = next(file).removeprefix("# ").strip()
    return title.partition(":")[0]


def call(*command: str) -> str:
    """Runs a program and returns what it printed.

    Raises:
        SystemExit: it fails; the text is what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", nargs="?", default="site", type=Path, help="the folder to write; site by default")
    parser.add_argument("options", nargs="*", help="further options for the examples' commands")
    asked = parser.parse_args()
    with TemporaryDirectory() as runs:
        build(asked.site, examples(Path(runs), asked.options))
    print(f"{asked.site}/index.html")

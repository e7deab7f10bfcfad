"""The pages agree with the repository: links, names of files, fields, pictures, the example of CONTRIBUTING."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import mi_runner
from mi_runner.config.registry import SCHEMAS
from mi_runner.runs.record import RunRecord
from tests.conftest import REPOSITORY, Ended
from tests.doc_programs import program

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    """A page without its blocks of code."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """What a link can name behind `#`: each heading in lower case, without punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(page: Path) -> list[str]:
    """The links of a page to files and headings of this repository."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)) if "://" not in link]


def test_every_link_names_a_file_and_a_heading_that_exist() -> None:
    links = [(page, link) for page in PAGES for link in links_of(page)]
    broken = []
    for page, link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.is_file() or (anchor and anchor not in anchors_of(target)):
            broken.append(f"{page.relative_to(REPOSITORY)}: {link}")
    assert not broken
    assert len(links) >= 30 and sum("#" in link for _, link in links) >= 8


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, ahead = set(), [REPOSITORY / "README.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        found = {(page.parent / link.partition("#")[0]).resolve() for link in links_of(page)}
        ahead += [target for target in found if target.suffix == ".md" and target not in reached]
    # The machine's page is named by the program that writes it.
    assert {page for page in PAGES if page.name != "machine.md"} <= reached


OF_SWEEPS = {"answer.txt", "figures/captions.md"}
"""Files with these endings that runs and sweeps write."""


def test_every_file_that_a_page_names_exists() -> None:
    today = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names what was there, too
    named = {
        name for page in today for name in re.findall(r"`((?:[\w.]+/)*[\w.]+(?:\.py|\.md|\.txt|/))`", text_of(page))
    }
    there = {
        name
        for name in named
        for root in (".", "mi_runner", "docs", "docs/images")
        if (REPOSITORY / root / name).exists()
    }
    assert named - there - OF_SWEEPS == set() and len(there) >= 12


def test_the_readme_has_at_most_200_lines() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


PAGE_OF = {"selftest": "trust"}
"""Experiments whose page has another name."""


def test_every_experiment_has_a_page_that_begins_with_its_question_and_command() -> None:
    for name in (schema.name for schema in SCHEMAS["experiment"]):
        page = (REPOSITORY / "docs" / f"{PAGE_OF.get(name, name)}.md").read_text(encoding="utf-8")
        title, command = re.match(r"# (.*)\n\n```\n(.*)\n", page).groups()
        assert title.endswith("?") and command.startswith("mi-run") and f"experiment={name}" in command


def test_lists_are_those_of_the_code() -> None:
    lists = program("lists")
    for page, written in lists.PAGES.items():
        text = page.read_text(encoding="utf-8")
        assert written(text) == text, f"{page.name}: type python docs/lists.py"
    text = (REPOSITORY / "docs/discovery.md").read_text(encoding="utf-8")
    assert lists.discovery(text.replace("| `greedy` |", "| `gready` |")) == text
    text = (REPOSITORY / "docs/trust.md").read_text(encoding="utf-8")
    assert lists.trust(text.replace("where a site is 0 |", "where it is 1 |")) == text
    assert "| `devices/eap` | largest difference of the scores of EAP | | | |\n" in text
    without = re.findall(r"^\| `(?!devices/)[^|]*\|[^|]*\| *\|", text, re.MULTILINE)
    assert not without, f"type what a run found: {without}"


def test_the_readme_has_the_question_of_every_experiments_page() -> None:
    lists, readme = program("lists"), (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for name in (schema.name for schema in SCHEMAS["experiment"]):
        page = PAGE_OF.get(name, name)
        assert f"? | `mi-run experiment={name}` | [{page}](docs/{page}.md) |" in readme
    assert "experiment.adversary=[area]` | [adversary](docs/adversary.md) |" in readme and "`mi-run ls`" in readme
    fewer = readme.replace("| `mi-run experiment=das` |", "| `mi-run experiment=das seed=1` |")
    assert lists.readme(fewer) == readme != fewer


def test_the_page_on_plugins_has_the_package_that_is_installed_and_used() -> None:
    page = (REPOSITORY / "docs/plugins.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^### (\S+)\n\n```\w+\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    (empty,) = re.findall(r"^Empty: (.*)\.$", page, re.MULTILINE)
    package = REPOSITORY / "tests/plugin_package"
    files = {
        str(path.relative_to(package)): path
        for path in package.rglob("*.*")
        if path.suffix != ".pyc" and path.is_file()
    }
    assert shown | dict.fromkeys(empty.split(", "), "") == {name: path.read_text() for name, path in files.items()}


def test_the_page_on_runs_has_the_fields_of_run_json(mi_run: Callable[..., Ended]) -> None:
    page = (REPOSITORY / "docs/runs.md").read_text(encoding="utf-8")
    table = page.split("## The fields of run.json")[1].split("\n## ")[0]
    fields = [
        name for line in table.splitlines() if line[:1] == "|" for name in re.findall("`(.*?)`", line.split("|")[1])
    ]
    assert sorted(fields) == sorted(item.name for item in dataclasses.fields(RunRecord))
    tiny = ("dataset=mod_add", "dataset.train_size=60", "dataset.test_size=60", "training.epochs=1")
    assert set(fields) - set(mi_run(*tiny).record) == {"expect_not_met", "given"}
    expecting = mi_run(*tiny, "expect={accuracy: '>=0'}").record
    given = mi_runner.run(tiny, model=lambda: torch.nn.Linear(4, 2)).record
    assert set(expecting) | {item.name for item in dataclasses.fields(given)} == set(fields)
    assert set(fields) - set(expecting) == {"given"} and given.given is not None


# --- pictures ------------------------------------------------------------------------------------------------------


@pytest.fixture
def draw() -> ModuleType:
    return program("draw")


IMAGES = ["dataset.limit=60", "training.epochs=1"]
SMALL = {
    "experiment=ablation": [*IMAGES, "experiment.methods=[zero]"],
    "experiment=circuits": [*IMAGES, "experiment.accuracy_threshold=0", "experiment.pairs=false"],  # each one is valid
    "experiment=clusters": [*IMAGES, "experiment.pruning_layers=[]", "experiment.controls=0"],
    "experiment=das": [
        *("dataset.train_size=60", "dataset.test_size=60", "training.stop_examples=20", "training.epochs=1"),
        *("experiment.train_pairs=60", "experiment.test_pairs=60", "experiment.control_pairs=60"),
        *("experiment.epochs=1", "experiment.control_epochs=1", "experiment.stop_pairs=60"),
    ],
    "experiment=explanations": ["model.hidden_sizes=[3]", "training.learning_rate=0.02", "seed=1"],
}


def test_the_pictures_are_drawn_from_runs_and_their_page_says_what_each_depends_on(
    draw: ModuleType, mi_run: Callable[..., Ended], tmp_path: Path
) -> None:
    typed, threads = [], []

    def run(arguments: list[str]) -> Path:
        typed.append(" ".join(arguments[:-1]))
        ended = mi_run(*arguments, *SMALL[arguments[0]], f"threads={1 + len(typed) % 2}")
        threads.append(ended.record["threads"])
        return ended.folder

    images = tmp_path / "images"
    draw.draw(images, ["circuits"], run)
    draw.draw(images, ["ablation", "clusters", "explanations", "maps"], run)
    experiments = (
        "circuits",
        "ablation model=skip",
        "clusters",
        "explanations",
        "das dataset=equality model=mlp seed=0",
    )
    assert typed == [f"experiment={experiment}" for experiment in experiments]
    kept = REPOSITORY / "docs/images"
    assert {path.name for path in images.iterdir()} == {path.name for path in kept.iterdir()}
    pages = [(folder / "machine.md").read_text().splitlines() for folder in (images, kept)]
    first_cells = [[line.split("|")[1:3] for line in page if line.startswith("|")] for page in pages]
    assert first_cells[0] == first_cells[1]
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in pages[0] if line.startswith("|")]
    assert {"processor", "instruction set", "threads", "torch"} <= set(head)
    assert [int(row[head.index("threads")]) for row in rows] == [threads[1], threads[0], *threads[2:]]


def test_the_stored_pictures_are_small(draw: ModuleType) -> None:
    for name in draw.PICTURES:
        picture = REPOSITORY / f"docs/images/{name}.png"
        assert picture.stat().st_size <= draw.LARGEST
        with Image.open(picture) as opened:
            assert min(opened.size) > 300


# --- citation, and the example of CONTRIBUTING -----------------------------------------------------------------------


def test_the_citation_names_this_version_and_the_five_origins() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["title"], citation["version"]) == (
        "1.2.0",
        "mi-run",
        mi_runner.__version__,
    )
    assert citation["message"] and citation["authors"]
    assert all(origin["authors"] and origin["title"] and origin["type"] for origin in citation["references"])
    notes = " ".join(origin["notes"] for origin in citation["references"])
    experiments = {schema.name for schema in SCHEMAS["experiment"]} - {"train"}
    assert len(citation["references"]) == 5
    assert {name for name in experiments if f"Experiment {name}" in notes} == experiments & set(
        re.findall(r"\w+", notes)
    )
    assert len(re.findall(r"Experiment \w+", notes)) == 5


def test_the_changelog_has_this_version() -> None:
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+),", changes, re.MULTILINE)[0] == mi_runner.__version__


OF_EVERY_CHOICE = (
    *("tests/config/test_composition.py", "tests/config/test_options.py"),
    *("tests/cli/test_completion.py", "tests/runs/test_choices.py", "tests/runs/test_reports.py"),
    "tests/methods/test_records.py",
    *("tests/experiments/test_many_seeds.py", "tests/experiments/test_iit.py", "tests/experiments/test_clusters.py"),
    *("tests/docs/test_docs.py", "tests/docs/test_readme.py", "tests/test_words.py"),
)
"""Tests that look at every data set, model or experiment; those of the new ones have their names in brackets."""

NAMES = ("majority", "residual", "calibration", "snip")

ONLY_NEW = f"""
NAMES = {NAMES}
WHOLE = ("test_docs", "test_composition", "test_words", "test_records")
LEFT_OUT = ("examples_of_contributing", "pictures")

def is_of_all(item):
    is_one_of_many = hasattr(item, "callspec") or any(name in item.name for name in LEFT_OUT)
    return item.path.stem in WHOLE and not is_one_of_many

def pytest_collection_modifyitems(config, items):
    items[:] = [item for item in items if is_of_all(item) or any(name in item.nodeid for name in NAMES)]
"""
"""A plugin of pytest that runs the tests of new choices, and of some files those of all choices at once. The tests of
each other choice are those of the repository itself."""


def copy_of_the_repository(folder: Path) -> None:
    """Copies what tests need; the compiled kernels are those of the tests here."""
    for name in ("mi_runner", "conf", "docs", "tests", "benchmarks", "mutants"):
        shutil.copytree(REPOSITORY / name, folder / name)  # with compiled modules, which stay valid
    for file in (*PAGES, *REPOSITORY.glob("*.toml"), *REPOSITORY.glob("*.cff")):
        if file.parent == REPOSITORY:
            shutil.copy(file, folder)
    (folder / "mi_runner/conf").symlink_to("../conf")


def test_the_examples_of_contributing_work_as_they_stand_there(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """In a copy: the diffs make files, then the tests that they bring run, and those that look at every choice."""
    page = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    diffs = re.findall(r"^```diff\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    new = [re.findall(r"^--- /dev/null\n\+\+\+ b/(\S+)", diff, re.MULTILINE) for diff in diffs]
    changed = [len(re.findall("^--- a/", diff, re.MULTILINE)) for diff in diffs]
    assert changed == [0, 0, 0, 2]  # a method's record stands in a tuple, its paper among the references
    assert len(diffs) == 4 and not any((REPOSITORY / file).exists() for files in new for file in files)
    copy_of_the_repository(tmp_path)

    def run(*command: str, **options: Any) -> None:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(done.stdout)

    said: list[str] = []
    for diff in diffs:
        run("git", "apply", "--whitespace=nowarn", "-", input=diff)
    run(sys.executable, "docs/lists.py")
    tests = sorted(name for files in new for name in files if name.startswith("tests/"))
    (tmp_path / "only_new.py").write_text(ONLY_NEW)
    cache = f"cache_dir={pytestconfig.cache._cachedir}"
    run(
        *(sys.executable, "-m", "pytest", "-p", "only_new", "-o", cache, "-rA", *tests, *OF_EVERY_CHOICE),
        timeout=400,
    )
    passed = re.findall(r"^PASSED (\S+?)::", said[-1], re.MULTILINE)
    assert {*tests, *OF_EVERY_CHOICE} <= set(passed) and sum(passed.count(test) for test in tests) == 8

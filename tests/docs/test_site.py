"""The site: every link leads somewhere, nothing is loaded from elsewhere, all pages are in its navigation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.browser import Browser, chromium, missing
from tests.conftest import REPOSITORY
from tests.doc_programs import program

LACKING = [name for name in ("sphinx", "furo", "myst_parser") if find_spec(name) is None]

needs_sphinx = pytest.mark.skipif(
    bool(LACKING), reason=f"{', '.join(LACKING)} missing: pip install --constraint constraints.txt --editable '.[site]'"
)

LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}
"""Element → the attribute with what a page loads."""


class Page(HTMLParser):
    """The links of a page, what it loads, and what a link can name behind `#`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = {name: value or "" for name, value in attrs}
        self.ids |= {of[name] for name in ("id", "name") if name in of}
        if tag == "a" and "href" in of:
            self.links.append(of["href"])
        if tag in LOADED and LOADED[tag] in of:
            self.loaded.append(of[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, runs: Mapping[str, Path], sweep: Path) -> Path:
    """The site, with the reports of a small run and a small sweep as its examples."""
    folder = tmp_path_factory.mktemp("site") / "site"
    program("build_site").build(folder, {"ablation": runs["ablation"], "sweep": sweep})
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """File → page."""
    return {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def broken(pages: Mapping[Path, Page]) -> Iterator[str]:
    """The links and loaded files that don't exist, or name nothing in their page."""
    for path, page in pages.items():
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].ids):
                yield f"{path}: {link}"


@needs_sphinx
def test_every_link_leads_to_a_file_and_a_place_in_it(pages: Mapping[Path, Page]) -> None:
    assert list(broken(pages)) == []
    assert sum(len(page.links) for page in pages.values()) >= 2_000
    assert sum("#" in link for page in pages.values() for link in page.links) >= 500


@needs_sphinx
def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text('<a href="b.html">b</a> <a id="x" href="#y">y</a> <a href="#x">x</a> <img src="c.png">')
    assert [line.partition(": ")[2] for line in broken({page: Page(page.read_text())})] == ["b.html", "#y", "c.png"]


@needs_sphinx
def test_pages_load_nothing_from_elsewhere(site: Path, pages: Mapping[Path, Page]) -> None:
    from_elsewhere = [url for page in pages.values() for url in page.loaded if urlsplit(url).scheme not in ("", "data")]
    assert from_elsewhere == [] and sum(len(page.loaded) for page in pages.values()) >= 300
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert styles and not any(re.search(r"(url\(|@import)[\"' ]*(https?:)?//", style) for style in styles)


@needs_sphinx
def test_all_pages_are_in_the_navigation(site: Path, pages: Mapping[Path, Page]) -> None:
    front = {link for link in pages[(site / "index.html").resolve()].links if not link.startswith("http")}
    names = [f"docs/{path.stem}.html" for path in (REPOSITORY / "docs").glob("*.md")]
    others = ["CHANGELOG.html", "CONTRIBUTING.html", "api/index.html", "examples.html"]
    assert {*names, *others} - {link.partition("#")[0] for link in front} == set()
    assert (site / "index.html").read_text() == (site / "README.html").read_text()


@needs_sphinx
def test_it_has_a_search_dark_colours_and_the_library(site: Path, pages: Mapping[Path, Page]) -> None:
    # A browser loads a script also from a file, which it doesn't do for other data.
    assert any(url.startswith("searchindex.js") for url in pages[(site / "search.html").resolve()].loaded)
    assert "interchange" in (site / "searchindex.js").read_text(encoding="utf-8")
    assert "theme-toggle" in (site / "index.html").read_text(encoding="utf-8")
    circuits = pages[(site / "api/circuits.html").resolve()]
    assert {
        "mi_runner.circuits.search",
        "mi_runner.circuits.Circuit",
        "mi_runner.circuits.Circuit.apply",
    } <= circuits.ids


@pytest.fixture
def browser() -> Iterator[Browser]:
    if why := missing():
        pytest.skip(why)
    with chromium() as opened:
        yield opened


@needs_sphinx
def test_the_search_works_in_files_and_pages_fit_a_narrow_screen(site: Path, browser: Browser) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.driver.get(f"{(site / 'search.html').as_uri()}?q=interchange")
    found = "return document.querySelectorAll('#search-results li').length"
    WebDriverWait(browser.driver, 60).until(lambda driver: driver.execute_script(found) >= 10)
    for name, dark in (("index", False), ("docs/columns", True), ("docs/start", False), ("api/circuits", True)):
        browser.open(site / f"{name}.html", width=390, dark=dark)
        assert browser.run("return document.documentElement.scrollWidth") <= 390, name
    assert browser.said() == []
    assert all(url.startswith("file:") for url in browser.requested())


@needs_sphinx
def test_examples_can_be_clicked(site: Path, pages: Mapping[Path, Page]) -> None:
    links = [link for link in pages[(site / "examples.html").resolve()].links if link.endswith("report.html")]
    assert links == ["examples/ablation/report.html", "examples/sweep/report.html"]
    of_sweep = pages[(site / links[1]).resolve()]
    assert "./0/report.html" in of_sweep.links


def test_the_commands_of_the_examples_stand_in_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for _, command in program("build_site").EXAMPLES.values():
        assert f"\nmi-run {' '.join(command)}" in readme or f"mi-run {' '.join(command)}\n" in readme


def test_navigation_has_each_page_once(tmp_path: Path) -> None:
    build_site = program("build_site")
    source = tmp_path / "source"
    (source / "docs").mkdir(parents=True)
    (source / "api").mkdir()
    (source / "api/index.rst").write_text("The library\n===\n")
    (source / "examples.rst").write_text("Examples: two\n===\n")
    for name in ("README", "CHANGELOG", "docs/start", "docs/circuits", "docs/runs", "docs/new"):
        (source / f"{name}.md").write_text(
            f"# {name[-4:]}: what?\n\n| q? | `mi-run` | [circuits](docs/circuits.md) [x](docs/runs.md) |\n"
        )
    assert build_site.groups(source) == {
        "First steps": ["docs/start", "examples"],
        "Questions": ["docs/circuits"],
        "Runs and sweeps": ["docs/runs"],
        "Reference": ["api/index", "CHANGELOG"],
        "More": ["docs/new"],
    }
    navigation = build_site.navigation(source)
    assert navigation.count("{toctree}") == 5 and ":caption: More\n\n/new <docs/new>\n```\n" in navigation
    assert "tart <docs/start>\nExamples <examples>\n" in navigation and "\nThe library <api/index>\n" in navigation

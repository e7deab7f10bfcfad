"""The pages of a bench, made of a folder that is written by hand and of a real run."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest
from PIL import Image as Pillow

from mi_runner.bench.jobs import BENCH
from mi_runner.bench.pages import write_pages
from mi_runner.bench.pages.saved_bench import file_names, read_bench
from mi_runner.bench.pages.worst_networks import worst_networks
from mi_runner.cli import report_command
from mi_runner.runs.plan import PLAN, Job, Plan
from mi_runner.runs.report import REPORT
from tests.browser import Browser, chromium, missing
from tests.pages import BAD, Parsed, parsed

EVIL = f"my_module:{BAD}"

Row = dict[str, Any]


def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
    with (folder / f"{name}.csv").open("w", newline="") as file:
        lines = csv.DictWriter(file, list(rows[0]))
        lines.writeheader()
        lines.writerows(rows)


def standing(
    networks: str, method: str, cpr: float, best: bool, rank: float = 1.5, random: str = "", n_units: int = 8
) -> Row:
    ends = {"cpr_low": cpr - 0.1, "cpr_high": cpr + 0.2}
    tests = {"best": best, "p_best": "", "beside_random": random, "n_units": n_units, "unit": "network"}
    return {"networks": networks, "method": method, "mean_rank": rank, "cpr": cpr, **ends, "jaccard": "", **tests}


def pair(networks: str, method: str, other: str, difference: float) -> Row:
    ends = {"difference_low": difference - 0.1, "difference_high": difference + 0.3}
    return {"networks": networks, "method": method, "other": other, "difference": difference, **ends, "p_holm": 0.01}


def result(method: str, seed: int, ablation: str, cpr: float, regret: float | str, job: int) -> Row:
    names = {"family": "xor", "setting": "tanh", "seed": seed, "method": method, "ablation": ablation}
    return {**names, "cpr": cpr, "regret": regret, "percentile": "", "kind": "trained", "job": job}


def drawing(method: str, *, with_best: bool = True) -> Row:
    """The picture of a run: two inputs, a neuron, an output; edge 2 is that of the output."""
    ends = [(0, 0, 0), (0, 1, 0), (1, 0, 0)]
    edges = [{"layer": at, "source": source, "target": to, "weight": 1.5, "share": None} for at, source, to in ends]
    edges[0]["from"] = BAD
    lists = {
        method: {"bits": ["0", "0", "5", "7"], "valid": [0, 0, 0, 1], "mse": [1.0, 1.0, 0.9, 0.0]},
        "random": {"bits": ["0", "0", "6", "7"], "valid": [0, 0, 0, 1], "mse": [1.0, 0.9, 0.4, 0.0]},
        "the best by mse": {"bits": ["0", "1", "6", "7"], "mse": [1.0, 0.5, 0.1, 0.0]},
    }
    best = ["the best by mse"]
    if not with_best:
        best = []
        del lists["the best by mse"]
    part = {"output": "0", "ablation": "zero", "sizes": [2, 1, 1], "k": [0, 1, 2, 3], "edges": edges}
    return {"methods": {"parts": [{**part, "lists": lists, "best": best, "scores": {}}], "n_left_out": 0}}


def made(folder: Path, method: str = "eap") -> Path:
    """A bench of three networks and two methods: the third network's job never began."""
    folder.mkdir()
    jobs = [Job(number, (), {"family": "xor", "seed": number}, str(number)) for number in range(3)]
    Plan(command="mi-run bench", overrides=(), swept=("family", "seed"), base={}, code="", jobs=tuple(jobs),
         left_out=()).write(folder)  # fmt: skip
    for number in range(2):
        job = folder / str(number)
        job.mkdir()
        (job / REPORT).write_text("a page")
        (job / "run.json").write_text(json.dumps({"status": "done", "experiment": "discovery"}))
        (job / "pictures.json").write_text(json.dumps(drawing(method)))
    write(folder, "leaderboard", [
        standing("all", "random", 0.75, True, 1.25), standing("all", method, 0.5, True, 1.75, "ties"),
        standing("xor", "random", -9.0, True, 1), standing("xor", method, 0.25, False, 2, "behind"),
        standing("and", method, 0.5, True, 1.25, "ahead"), standing("and", "random", 0.25, True, 1.75),
        standing("imp", method, 0.5, True, random="ties", n_units=3),
        standing("imp", "random", 0.5, True, 1.5 + 1e-12, n_units=3),
    ])  # fmt: skip
    write(folder, "method_pairs", [
        pair("all", "random", method, 0.25), pair("xor", "random", method, 0.5), pair("and", method, "random", 0.25),
    ])  # fmt: skip
    write(folder, "spread", [{"networks": "all", "method": method, "sd": 0.5, "of_setting": 0.25}])
    write(folder, "results", [
        result(method, 0, "zero", 0.5, 0.25, 0), result(method, 0, "mean", 0.5, 0.125, 0),
        result(method, 1, "zero", 0.5, 0.0, 1), result(method, 1, "mean", 0.5, 0.5, 1),
        result("random", 0, "zero", 0.5, 0.0, 0), result("random", 1, "zero", 0.5, 1e-12, 1),
    ])  # fmt: skip
    network = {"family": "xor", "setting": "tanh", "kind": "trained", "accuracy": 1.0, "n_edges": 3}
    statuses = enumerate(["judged", "judged", "missing"])
    write(folder, "networks", [{**network, "seed": seed, "status": status, "job": seed} for seed, status in statuses])
    (folder / "answer.txt").write_text("random has the highest.\n")
    return folder


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    folder = made(tmp_path / "bench")
    assert write_pages(folder) == folder / REPORT
    return folder


def page_of(folder: Path, method: str) -> Parsed:
    return Parsed((folder / read_bench(folder).pages[method]).read_text())


def column(page: Parsed, table: str, name: str) -> dict[str, str]:
    """What the first cell of a row is → the text or value in the column."""
    headings, *rows = page.tables[table]
    return {row[0]: row[headings.index(name)] for row in rows}


# --- all methods -----------------------------------------------------------------------------------------------------


def test_the_leaderboard_of_all_networks_comes_first_with_intervals_in_the_cells_and_links(bench: Path) -> None:
    text, page = (bench / REPORT).read_text(), parsed(bench)
    assert list(page.tables) == ["failures", "leaderboard", "families", "method_pairs", "spread", "results", "networks"]
    headings, *rows = page.tables["leaderboard"]
    assert headings == ["method", "best", "mean_rank", "cpr", "beside_random", "n_units", "unit"]  # no empty columns
    assert [row[:2] for row in rows] == [["random", "yes"], ["eap", "yes"]]
    assert [row[3] for row in rows] == ["0.75", "0.5"]  # what is sorted
    assert ">0.7500 (0.6500 to 0.9500)</td>" in text and '<a href="./methods/eap.html">eap</a>' in text
    assert [row[:2] for row in page.tables["families"][1:]][:2] == [["xor", "random"], ["xor", "eap"]]
    assert "random has the highest." in page.text and "2 judged, 1 missing" in page.text


def test_networks_lead_to_their_pages_and_jobs_without_a_run_are_first(bench: Path) -> None:
    page = parsed(bench)
    assert [row[0] for row in page.tables["failures"][1:]] == ["2"]
    assert "1 of 3 runs are not as they should be" in page.text
    links = [of["href"] for tag, of in page.elements if tag == "a"]
    assert links.count("./0/report.html") == links.count("./1/report.html") > 0 and "./2/report.html" not in links
    assert column(page, "networks", "status") == {"0": "judged", "1": "judged", "2": "missing"}


def test_the_figure_of_the_leaderboard_is_shown_with_its_meaning(bench: Path) -> None:
    assert parsed(bench).count("img") == 0
    (bench / "figures").mkdir()
    Pillow.new("RGB", (4, 4)).save(bench / "figures/leaderboard.png")
    write_pages(bench)
    (image,) = [of for tag, of in parsed(bench).elements if tag == "img"]
    assert (image["alt"] or "").startswith("Each method's mean cpr over the settings")
    assert ("./figures/leaderboard.png", (bench / "figures/leaderboard.png").resolve()) in links_of(
        bench, bench / REPORT
    )


def test_the_picture_has_the_numbers_of_the_leaderboard(bench: Path) -> None:
    drawn = json.loads((bench / REPORT).read_text().split('id="data-bench">')[1].split("</script>")[0])
    assert [network["name"] for network in drawn["networks"]] == ["all", "xor", "and", "imp"]
    names = [measure["name"] for measure in drawn["measures"]]
    assert names == ["mean_rank", "cpr"] and [one["better"] for one in drawn["measures"]] == ["less", "more"]
    frame = pd.read_csv(bench / "leaderboard.csv")
    assert len(drawn["cells"]) == len(frame) == 8
    for (networks, method, best, n, _, numbers), (_, row) in zip(drawn["cells"], frame.iterrows(), strict=True):
        assert [networks, method, best, n] == row[["networks", "method", "best", "n_units"]].tolist()
        assert numbers == [
            [pytest.approx(row["mean_rank"]), None, None],
            [pytest.approx(row[name]) for name in ("cpr", "cpr_low", "cpr_high")],
        ]


def links_of(folder: Path, page: Path) -> Iterator[tuple[str, Path]]:
    found = Parsed(page.read_text())
    ids = {of["id"] for _, of in found.elements if "id" in of}
    for tag, of in found.elements:
        if tag == "a":
            link = of["href"] or ""
            assert not link.startswith("#") or link[1:] in ids, (page, link)
            yield link, page if link.startswith("#") else (page.parent / unquote(link)).resolve()


def test_every_link_leads_somewhere(bench: Path) -> None:
    pages = [bench / REPORT, *sorted((bench / "methods").iterdir())]
    assert [page.name for page in pages[1:]] == ["eap.html", "random.html"]
    links = [pair for page in pages for pair in links_of(bench, page)]
    assert len(links) > 40
    assert [link for link, file in links if not file.is_file() or not file.is_relative_to(bench)] == []


# --- a method --------------------------------------------------------------------------------------------------------


def test_a_method_stands_beside_the_best_and_random_on_every_family(bench: Path) -> None:
    eap, random = page_of(bench, "eap"), page_of(bench, "random")
    names = {"all": "ties", "xor": "behind", "and": "best", "imp": "best"}
    assert column(eap, "standing", "standing") == names
    assert column(random, "standing", "standing") == {
        "all": "best",
        "xor": "best",
        "and": "ties",
        "imp": "best",
    }
    assert column(eap, "standing", "best_method") == {
        "all": "random",
        "xor": "random",
        "and": "eap",
        "imp": "eap, random",
    }
    # A pair stands once in the table; seen from the other method sign and ends turn.
    assert column(eap, "standing", "above_best") == {"all": "-0.25", "xor": "-0.5", "and": "", "imp": ""}
    assert column(eap, "standing", "above_random") == {"all": "-0.25", "xor": "-0.5", "and": "0.25", "imp": ""}
    text = (bench / "methods/eap.html").read_text()
    assert ">-0.5000 (-0.8000 to -0.4000)</td>" in text and ">0.2500 (0.1500 to 0.5500)</td>" in text
    assert column(random, "standing", "above_best") == {"all": "", "xor": "", "and": "-0.25", "imp": ""}


def test_a_page_says_only_what_tests_say(bench: Path) -> None:
    said = page_of(bench, "eap").text
    assert "eap has the best mean rank, or ties with the method that has it, on 1 of 2 families (and)." in said
    assert "It is ahead of random on 1 of 2 families (and), and behind it on 1 of 2 families (xor);" in said
    assert "On 1 family of fewer than 6 units nothing is told apart." in said
    random = page_of(bench, "random").text
    assert "ties with the method that has it, on 2 of 2 families. What" in random and "ahead of random" not in random


def test_the_worst_networks_come_once_by_regret_and_then_by_cpr(tmp_path: Path) -> None:
    rows = [
        result("eap", 0, "zero", 0.5, 0.25, 0), result("eap", 0, "mean", 0.5, 0.125, 0),
        result("eap", 1, "zero", 0.5, 0.0, 1), result("eap", 1, "mean", 0.5, 0.5, 1),
        result("eap", 2, "zero", 0.5, "", 2), result("eap", 3, "zero", -0.5, "", 3),
        result("eap", 4, "zero", 0.5, 1e-12, 4), result("acdc", 5, "zero", 0.5, 9.0, 5),
    ]  # fmt: skip
    texts = [{name: str(value) for name, value in row.items()} for row in rows]
    found = worst_networks(texts, "eap", tmp_path)
    assert [(one.job, one.ablation) for one in found] == [("1", "mean"), ("0", "zero"), ("3", "zero"), ("2", "zero")]
    assert found[1].network == "xor tanh 0"
    assert found[1].numbers == [("regret", "0.2500"), ("cpr", "0.5000")]
    assert {one.words for one in found} == {"The run has no picture of its circuits."}
    many = [{**texts[0], "seed": str(seed), "regret": str(seed)} for seed in range(1, 9)]
    assert [one.network for one in worst_networks(many, "eap", tmp_path)] == [
        f"xor tanh {seed}" for seed in (8, 7, 6, 5, 4)
    ]


def test_a_worst_network_has_the_circuit_beside_the_best_where_it_loses_most(bench: Path) -> None:
    text = (bench / "methods/eap.html").read_text()
    drawn = json.loads(text.split('id="data-worst">')[1].split("</script>")[0])
    assert list(drawn) == ["worst-1"]  # the picture has no circuits with mean ablation
    assert "circuits of at most 2 edges, where the method loses most: its mse is 0.9000, " in text
    assert "that of the best circuit 0.1000." in text
    circuits = drawn["worst-1"]["circuits"]
    assert [(one["name"], one["bits"], one["mse"]) for one in circuits] == [
        ("eap", "5", 0.9),
        ("the best by mse", "6", 0.1),
    ]
    assert drawn["worst-1"]["sizes"] == [2, 1, 1] and drawn["worst-1"]["edges"][0]["from"] == BAD
    assert "On no network is the method known to be worse" in page_of(bench, "random").text


def test_where_the_best_is_not_known_the_best_of_the_methods_is_beside(bench: Path) -> None:
    (bench / "0/pictures.json").write_text(json.dumps(drawing("eap", with_best=False)))
    write_pages(bench)
    text = (bench / "methods/eap.html").read_text()
    assert "its mse is 0.9000, that of random, the smallest of a method, 0.4000." in text


NOT_FINITE = json.dumps(drawing("eap")).replace("0.9,", "NaN,")


NONE, DAMAGED = "The run has no picture of its circuits.", "The run's picture of its circuits can't be read."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", NONE),
        ("[]", NONE),
        ('{"methods": {"parts": 3}}', DAMAGED),
        ('{"methods": {"parts": [{"ablation": "zero"}]}}', DAMAGED),
        (NOT_FINITE, DAMAGED),
    ],
)
def test_a_damaged_picture_leaves_a_sentence(content: str, sentence: str, bench: Path) -> None:
    assert sentence not in page_of(bench, "eap").text
    (bench / "0/pictures.json").write_text(content)
    write_pages(bench)
    assert sentence in page_of(bench, "eap").text
    assert "data-worst" not in (bench / "methods/eap.html").read_text()


def test_the_circuits_are_those_of_the_tables_of_the_run(runs: Mapping[str, Path], tmp_path: Path) -> None:
    job = tmp_path / "0"
    shutil.copytree(runs["discovery"], job)
    metrics, edges, analysed = (pd.read_csv(job / f"{name}.csv") for name in ("metrics", "edges", "analysed"))
    method, ablation = metrics.method[0], metrics.ablation[0]
    own = metrics[(metrics.method == method) & (metrics.ablation == ablation) & (metrics.repeat == 0)]
    own = own[own.output == own.output.iloc[0]]
    worst = own.loc[own.regret_mse.idxmax()]
    assert worst.regret_mse > 0
    row = {name: str(value) for name, value in result(method, 0, ablation, 0.0, 1.0, 0).items()}
    (found,) = worst_networks([row], method, tmp_path)
    assert found.picture is not None
    left, right = found.picture["circuits"]
    assert int(left["bits"]) == worst.circuit and left["mse"] == pytest.approx(worst.mse, rel=1e-5)
    assert right["mse"] == pytest.approx(worst.best_mse, rel=1e-5)
    kept = edges[(edges.ablation == ablation) & (edges.output == worst.output) & (edges.k == worst.k)]
    names = ["layer", "source", "target"]
    best = set(kept[kept.best == "mse"][names].itertuples(index=False, name=None))
    drawn = [tuple(edge[name] for name in names) for edge in found.picture["edges"]]
    assert {edge for place, edge in enumerate(drawn) if int(right["bits"]) >> place & 1} == best
    of = analysed[(analysed.ablation == ablation) & (analysed.output == worst.output)]
    assert [edge["weight"] for edge in found.picture["edges"]] == [
        pytest.approx(value, rel=1e-5) for value in of.weight
    ]


# --- names, and folders that lack something --------------------------------------------------------------------------


def test_names_of_files_are_safe_and_differ() -> None:
    names = ["eap", "EAP", "m:f", "m-f", "m/f", "..", ".hidden", "", "é", BAD, "x" * 500, "con:", "a.b_c-1", "eap-2"]
    files = file_names(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", file) and len(file) < 90 for file in files)
    assert len({file.lower() for file in files}) == len(names)
    assert files[:5] == ["eap", "EAP-2", "m-f", "m-f-2", "m-f-3"] and files[12] == "a.b_c-1"


def test_text_of_users_is_text(tmp_path: Path) -> None:
    folder = made(tmp_path / "bench", EVIL)
    plain = made(tmp_path / "plain")
    for one in (folder, plain):
        write_pages(one)
    (page,) = [path for path in (folder / "methods").iterdir() if path.name.startswith("my_module")]
    for bad, good in ((folder / REPORT, plain / REPORT), (page, plain / "methods/eap.html")):
        found, expected = Parsed(bad.read_text()), Parsed(good.read_text())
        assert BAD in found.text
        assert [tag for tag, _ in found.elements] == [tag for tag, _ in expected.elements]
        assert not [of for _, of in found.elements if any(name.startswith("on") for name in of)]
    assert [link for link, file in links_of(folder, folder / REPORT) if not file.is_file()] == []


def test_without_a_judged_network_there_is_no_page_of_a_method(tmp_path: Path) -> None:
    folder = made(tmp_path / "bench")
    for name in ("leaderboard", "method_pairs", "spread", "results"):
        (folder / f"{name}.csv").unlink()
    write_pages(folder)
    assert not (folder / "methods").exists()
    page = parsed(folder)
    assert list(page.tables) == ["failures", "networks"] and 'id="bench"' not in (folder / REPORT).read_text()


def test_one_method_is_compared_with_none(tmp_path: Path) -> None:
    folder = made(tmp_path / "bench")
    write(folder, "leaderboard", [standing("all", "eap", 0.5, True), standing("xor", "eap", 0.5, True)])
    (folder / "method_pairs.csv").unlink()
    write_pages(folder)
    page = page_of(folder, "eap")
    assert column(page, "standing", "standing") == {"all": "best", "xor": "best"}
    assert "above_best" not in page.tables["standing"][0] and "ties with" not in page.text


def test_pages_are_written_into_the_folder_alone(tmp_path: Path) -> None:
    folder = made(tmp_path / "bench")
    (tmp_path / "elsewhere").mkdir()
    (folder / "methods").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError, match="methods is a link, and no folder of this bench"):
        write_pages(folder)
    assert not any((tmp_path / "elsewhere").iterdir())


def test_pages_of_methods_that_are_gone_are_deleted_and_files_of_the_user_stay(bench: Path) -> None:
    methods = bench / "methods"
    own = [methods / name for name in ("notes.html", "acdc.html", "eap.txt")]  # no report.html leads to them
    for path in (*own, bench.parent / "outside.html"):
        path.write_text("mine")
    page = bench / REPORT
    page.write_text(
        f'{page.read_text()}<a href="./methods/../../outside.html"></a><a href="./methods/RANDOM.html"></a>'
    )
    write(bench, "leaderboard", [standing("all", "random", 0.5, True), standing("all", "new", 0.5, True)])
    write_pages(bench)
    assert sorted(path.name for path in methods.iterdir()) == sorted(
        ["random.html", "new.html", *(path.name for path in own)]
    )
    assert {path.read_text() for path in (*own, bench.parent / "outside.html")} == {"mine"}
    # Without a method all of the bench's pages go; a link is none of its pages.
    (methods / "new.html").unlink()
    (methods / "new.html").symlink_to(bench.parent / "outside.html")
    (bench / "leaderboard.csv").unlink()
    write_pages(bench)
    assert sorted(path.name for path in methods.iterdir()) == sorted(["new.html", *(path.name for path in own)])


def test_the_report_command_makes_missing_pages_of_runs_first(
    runs: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(tmp_path / "bench")
    plan = json.loads((folder / PLAN).read_text())
    (folder / PLAN).write_text(json.dumps({**plan, "of": BENCH}))
    shutil.rmtree(folder / "1")
    shutil.copytree(runs["discovery"], folder / "1")
    (folder / "1" / REPORT).unlink()
    capsys.readouterr()  # what the run says, if this test makes it
    assert report_command.run([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / REPORT}\n"
    assert (folder / "0" / REPORT).read_text() == "a page" and not (folder / "2").exists()
    assert "discovery" in (folder / "1" / REPORT).read_text()
    links = [link for link, _ in links_of(folder, folder / REPORT)]
    assert "./0/report.html" in links and "./1/report.html" in links and "./2/report.html" not in links


def test_pages_are_made_without_torch(bench: Path) -> None:
    program = f"import sys; from pathlib import Path; from mi_runner.bench.pages import write_pages; \
write_pages(Path({str(bench)!r})); print([name for name in ('torch', 'pandas', 'scipy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


# --- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if why := missing():
        pytest.skip(why)
    with chromium() as opened:
        yield opened


def test_the_pages_in_a_browser(tmp_path: Path, browser: Browser) -> None:
    folder = made(tmp_path / "bench", EVIL)
    write_pages(folder)
    (of_method,) = [path for path in (folder / "methods").iterdir() if path.name.startswith("my_module")]
    for page in (folder / REPORT, of_method):
        for width, dark in ((1200, False), (380, True)):
            browser.open(page, width=width, dark=dark)
            assert browser.run("return document.documentElement.scrollWidth") <= width
            assert browser.run("return [typeof hacked, document.images.length]") == ["undefined", 0]
            assert browser.said() == [] and set(browser.requested()) == {page.as_uri()}
    kept = "return [...document.querySelectorAll('#worst-1 .panel')]"
    kept += ".map((one) => one.querySelectorAll('.edge:not(.absent)').length)"
    assert browser.run(kept) == [2, 2, 3]
    assert "Both keep 1 edges" in browser.run("return document.getElementById('worst-1').textContent")
    browser.open(folder / REPORT)
    cells = "return [...document.querySelectorAll('[data-cell]')].map((one) => one.querySelector('text').textContent)"
    assert browser.run(cells) == ["1.25", "1.75", "1", "2", "1.75", "1.25", "1.5", "1.5"]
    choose = "const one = document.querySelector(`[data-choice='measure']`); one.value = 1;"
    browser.run(f"{choose} one.dispatchEvent(new Event('change'))")
    assert browser.run(cells) == ["0.75", "0.5", "-9", "0.25", "0.25", "0.5", "0.5", "0.5"]
    fills = browser.run(
        "return [...document.querySelectorAll('[data-cell] rect')].map((one) => one.getAttribute('fill'))"
    )
    light, dark = fills[0], fills[1]
    assert fills == [light, dark, dark, light, dark, light, light, light] and light != dark
    dots = browser.run(
        "return [...document.querySelectorAll('[data-cell]')].map((one) => one.querySelectorAll('circle').length)"
    )
    assert dots == [1, 1, 1, 0, 1, 1, 1, 1]
    told = browser.run(
        "const cells = document.querySelectorAll('[data-cell]'); cells[0].focus();"
        "cells[0].dispatchEvent(new KeyboardEvent('keydown', { key: 'End', bubbles: true }));"
        "return document.querySelector('#bench .hint').textContent"
    )
    assert told.endswith("on imp: cpr 0.5, 95 % interval 0.4 to 0.7, 3 networks; best mean rank, or ties with it")

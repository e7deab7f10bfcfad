"""What the pages of all experiments and of a sweep do in a real browser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mi_runner.runs.report import REPORT
from tests.browser import Browser, chromium, missing
from tests.pages import SMALL, commanded, hostile_folder, pictures

Runs = Mapping[str, Path]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if why := missing():
        pytest.skip(why)
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_folder(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize("name", [*SMALL, "sweep"])
def test_a_page_opens_without_a_request_or_error_and_fits_a_narrow_screen(
    name: str, runs: Runs, sweep: Path, browser: Browser
) -> None:
    page = ({**runs, "sweep": sweep}[name] / REPORT).absolute()
    for width, dark in ((1200, False), (380, True)):
        browser.open(page, width=width, dark=dark)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.said() == []
        assert set(browser.requested()) == {page.as_uri()}
    widgets = browser.run(
        "return [...document.querySelectorAll('.widget')].map((one) => [one.id, one.children.length])"
    )
    assert all(n > 0 for _, n in widgets)
    expected = {
        "discovery": "methods",
        "circuits": "circuits",
        "criteria": "criteria",
        "explanations": "circuits",
        "ablation": "network",
        "units": "network",
    }
    assert [id for id, _ in widgets] == [id for id in [{**expected, "sweep": "sweep"}.get(name)] if id]
    unnamed = "return [...document.querySelectorAll('input, select, button')].filter((one) => !(one.labels?.length ||"
    unnamed += " one.getAttribute('aria-label') || one.textContent)).length"
    assert browser.run(unnamed) == 0
    assert browser.run("return [...document.images].every((one) => one.alt && one.complete)")


COLUMN = (
    "return [...document.querySelector('#tables tbody').rows].filter((row) => !row.hidden)"
    ".map((row) => row.cells[{}].innerText)"
)


def test_tables_sort_and_filter(runs: Runs, browser: Browser) -> None:
    browser.open(runs["train"] / REPORT)
    names = browser.run("return [...document.querySelectorAll('#tables thead th')].map((one) => one.innerText.trim())")
    at = names.index("accuracy")
    before = browser.run(COLUMN.format(at))
    click = f"document.querySelectorAll('#tables thead button')[{at}].click()"
    browser.run(click)
    assert browser.run(COLUMN.format(at)) == sorted(before, key=float) != before
    browser.run(click)
    assert browser.run(COLUMN.format(at)) == sorted(before, key=float, reverse=True)
    assert browser.run(f"return document.querySelectorAll('#tables thead th')[{at}].ariaSort") == "descending"
    browser.open(runs["ablation"] / REPORT)
    before = browser.run(COLUMN.format(0))
    field = browser.driver.find_element("css selector", "#tables [data-filter]")
    field.send_keys("resample")
    left = len(browser.run(COLUMN.format(0)))
    assert 0 < left < len(before)
    assert browser.run("return document.querySelector('#tables [data-count]').textContent").startswith(f"{left} of ")


def test_dark_colours_follow_the_system_and_the_button(runs: Runs, browser: Browser) -> None:
    def brightness() -> float:
        colour = browser.run("return getComputedStyle(document.body).backgroundColor")
        return sum(int(word) for word in colour.strip("rgb()").split(",")) / 3

    browser.open(runs["train"] / REPORT)
    light = brightness()
    browser.open(runs["train"] / REPORT, dark=True)
    assert light > 200 > 60 > brightness()
    button = browser.driver.find_element("id", "theme")
    button.click()
    assert brightness() == light and button.text == "☀ light"
    button.click()
    assert brightness() < 60


def test_sliders_step_through_circuits_by_keyboard(runs: Runs, browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    (drawn,) = pictures(runs["circuits"])["circuits"]["outputs"]
    browser.open(runs["circuits"] / REPORT)
    about = "return document.querySelector('[data-about=left]').textContent"
    slider = browser.driver.find_element("css selector", "[data-slider=left]")
    slider.send_keys(Keys.HOME)
    for circuit in drawn["best"]:
        assert f"circuit {circuit['circuit']}: {circuit['edges']} of 8 edges" in browser.run(about)
        kept = "return document.querySelectorAll('.panel')[0].querySelectorAll('line.edge:not(.absent)').length"
        assert browser.run(kept) == circuit["edges"]
        slider.send_keys(Keys.ARROW_RIGHT)
    left, right = drawn["best"][-1], drawn["sparsest"][min(1, len(drawn["sparsest"]) - 1)]
    both = (int(left["circuit"]) & int(right["circuit"])).bit_count()
    said = browser.run("return document.querySelector('[data-about=difference]').textContent")
    assert said.startswith(f"Both keep {both} edges (grey), only the left {left['edges'] - both} ")
    assert browser.said() == []


FOCUSED = "const one = document.activeElement; return [one.dataset.edge ?? one.dataset.site ?? '', one.ariaLabel]"
HINT = "return document.querySelector('.hint').textContent"


def test_edges_say_what_they_are_at_the_pointer_and_at_the_keyboard(runs: Runs, browser: Browser) -> None:
    """Tab reaches one edge of a picture, the arrow keys go to each of them; so do those of a network."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    (drawn,) = pictures(runs["circuits"])["circuits"]["outputs"]
    browser.open(runs["circuits"] / REPORT)
    keys = ActionChains(browser.driver)
    browser.driver.find_element("css selector", "[data-slider=left]").send_keys(Keys.TAB)
    for number, edge in enumerate(drawn["edges"]):
        focused, label = browser.run(FOCUSED)
        assert (focused, label) == (str(number), browser.run(HINT))
        source, target = edge.get("from", f"neuron {edge['source']}"), edge.get("to", f"neuron {edge['target']}")
        begin = f"layer {edge['layer'] + 1}: {source} → {target}, weight "
        assert label.startswith(begin) and f"{100 * edge['share']:.1f} % of the valid circuits keep it" in label
        assert float(label.removeprefix(begin).split(";")[0]) == pytest.approx(edge["weight"], rel=1e-3)
        keys.send_keys(Keys.ARROW_RIGHT).perform()
    assert browser.run(FOCUSED)[0] == "0"  # after the last the first
    keys.send_keys(Keys.END).perform()
    assert browser.run(FOCUSED)[0] == "7"
    assert browser.run("return document.querySelectorAll('[data-edge][tabindex=\"0\"]').length") == 3  # one a picture
    point = "document.querySelector('[data-edge=\"2\"]').dispatchEvent(new Event('pointerenter'));"
    assert browser.run(point + HINT) == browser.run("return document.querySelector('[data-edge=\"2\"]').ariaLabel")
    browser.open(runs["ablation"] / REPORT)
    browser.driver.find_element("css selector", ".network-scroll").send_keys(Keys.TAB)
    seen = set()
    for _ in range(10):
        focused, label = browser.run(FOCUSED)
        seen.add(focused)
        assert label == browser.run(HINT) and label.startswith(f"{focused}: ")
        keys.send_keys(Keys.ARROW_DOWN).perform()
    costs = pictures(runs["ablation"])["network"]["costs"]
    assert len(seen) == 10 and {"x", "last", "relu/add"} <= seen and costs.keys() <= seen
    assert browser.said() == []


def test_inputs_and_outputs_have_their_names_beside_them(tmp_path: Path, browser: Browser) -> None:
    rows = "".join(f"{n % 5},{n % 3},{n % 2}\n" for n in range(40))
    (tmp_path / "t.csv").write_text(f"age,a dose with a very long name,well\n{rows}")
    options = (
        "dataset=table",
        f"dataset.path={tmp_path / 't.csv'}",
        "dataset.target_column=well",
        "dataset.target=value",
    )
    small = ("model.hidden_sizes=[2]", "experiment.last_layers=2", "training.epochs=1")
    folder = commanded(tmp_path / "out", "experiment=circuits", *options, *small)
    browser.open(folder / REPORT)
    written = browser.run("return [...document.querySelectorAll('#circuits svg text')].map((text) => text.textContent)")
    assert written[:3] == ["age", "a dose with a v…", "well"] and len(written) == 9
    assert browser.run("return document.querySelector('[data-edge=\"1\"]').ariaLabel").startswith(
        "layer 1: a dose with a very long name → neuron 0, weight "
    )
    fits = "return [...document.querySelectorAll('#circuits svg text')].every((text) => text.getBBox().x >= -96)"
    assert browser.run(fits) and browser.said() == []


def test_the_slider_steps_through_the_sizes_of_two_methods(runs: Runs, browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    zero, mean = pictures(runs["discovery"])["methods"]["parts"]
    browser.open(runs["discovery"] / REPORT)
    said = "return document.querySelector('[data-about={}]').textContent"
    choose = "const one = document.querySelector(arguments[0]); one.value = arguments[1];"
    choose += "one.dispatchEvent(new Event('change'));"
    browser.run(choose, "[data-method=left]", "magnitude")
    slider = browser.driver.find_element("css selector", "[data-slider=size]")
    slider.send_keys(Keys.HOME)
    for k in zero["k"]:
        left, right = (int(zero["lists"][name]["bits"][k]) for name in ("magnitude", "the best by mse"))
        about = browser.run(said.format("left"))
        assert about.startswith(f"magnitude, at most {k} edges: {left.bit_count()} of 10 edges, accuracy ")
        assert float(about.split(" mse ")[1].split(",")[0]) == pytest.approx(zero["lists"]["magnitude"]["mse"][k], 1e-3)
        assert browser.run(said.format("right")).startswith(f"the best by mse, at most {k} edges: {right.bit_count()} ")
        kept = "return document.querySelectorAll('.panel')[{}].querySelectorAll('line.edge:not(.absent)').length"
        assert [browser.run(kept.format(panel)) for panel in (0, 1)] == [left.bit_count(), right.bit_count()]
        counts = [(left & right).bit_count(), (left & ~right).bit_count(), (right & ~left).bit_count()]
        words = "Both keep {} edges (grey), only the left {} (blue), only the right {} (orange, dashed)."
        assert browser.run(said.format("difference")).startswith(words.format(*counts))
        slider.send_keys(Keys.ARROW_RIGHT)
    edge = browser.run("return document.querySelector('[data-edge=\"3\"]').ariaLabel").split("; ")
    score = zero["scores"]["magnitude"][3]
    assert "4 of 4 methods keep it at this size" in edge and float(edge[-2].split(": ")[1]) == pytest.approx(
        score, 1e-3
    )
    browser.run(choose, "[data-part]", "1")
    assert "at most" in browser.run(said.format("left")) and browser.said() == []
    browser.run(choose, "[data-method=left]", "greedy")
    assert (
        browser.run("return document.querySelector('[data-method=right]').value")
        == "the best by mse"
        == mean["best"][0]
    )


def test_the_network_is_shaded_by_the_chosen_method(runs: Runs, browser: Browser) -> None:
    costs = pictures(runs["ablation"])["network"]["costs"]
    browser.open(runs["ablation"] / REPORT)
    title = "return document.querySelector('[data-site=add] title').textContent"
    for method in ("zero", "mean", "resample"):
        browser.run(f"document.querySelector('#network input[value={method}]').click()")
        said = browser.run(title)
        points = float(said.split(" by ")[1].split(" points")[0])
        assert f"add: {method} ablation" in said and points == pytest.approx(-100 * costs["add"][method], abs=0.06)
    assert browser.run("return document.querySelectorAll('[data-edge]').length") == 5


def test_the_picture_of_a_sweep_takes_any_key_and_measure(sweep: Path, browser: Browser) -> None:
    browser.open(sweep / REPORT)
    points = "return document.querySelectorAll('[data-point]').length"
    assert browser.run(points) == 2
    choose = "const one = document.querySelector(`[data-choice='${arguments[0]}']`); one.value = arguments[1];"
    choose += "one.dispatchEvent(new Event('change'));"
    browser.run(choose, "measure", "loss")
    assert browser.run(points) == 2
    browser.run(choose, "along", "split")
    assert browser.run(points) == 4
    assert "training.learning_rate=0.001" in browser.run("return document.querySelector('[data-legend]').textContent")
    assert browser.said() == []


def test_what_is_folded_is_printed(runs: Runs, browser: Browser) -> None:
    browser.open(runs["train"] / REPORT)
    opened = "return document.querySelectorAll('details[open]').length"
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run(opened) == browser.run("return document.querySelectorAll('details').length") > 2
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run(opened) == 0


def test_text_of_users_does_not_run(hostile: Path, browser: Browser) -> None:
    browser.requested()  # those of the pages before
    browser.open(hostile / REPORT)
    assert browser.run("return [typeof hacked, document.images.length]") == ["undefined", 0]
    assert browser.run("return document.querySelectorAll('[data-site]').length") == 1
    assert browser.said() == [] and set(browser.requested()) == {(hostile / REPORT).as_uri()}


def test_a_circuit_is_picked_by_a_criterion_or_by_its_bits(runs: Runs, browser: Browser) -> None:
    part = pictures(runs["criteria"])["criteria"]["parts"][0]
    browser.open(runs["criteria"] / REPORT)
    said = "return document.querySelector('[data-about=circuit]').textContent"
    choose = "const one = document.querySelector(arguments[0]); one.value = arguments[1];"
    choose += "one.dispatchEvent(new Event('change'));"
    values = "return [...document.querySelectorAll('#criteria tbody tr')]"
    values += ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    bits, edges = part["circuits"]["bits"], part["circuits"]["edges"]
    sparsest = min(range(len(bits)), key=lambda row: (edges[row], row))
    assert browser.run(said).startswith(f"circuit {bits[sparsest]}: {edges[sparsest]} of {len(part['edges'])} edges, ")
    for name in part["names"]:
        browser.run(choose, "#criteria-order", name)
        found = [value if value is not None else -1 for value in part["criteria"][name]]
        best = min(range(len(bits)), key=lambda row: (-found[row], edges[row], row))
        assert browser.run(said).startswith(f"circuit {bits[best]}: ")
        rows = browser.run(values)
        assert [row[0] for row in rows] == part["names"]
        for (criterion, value, word), own in zip(rows, part["names"], strict=True):
            number = part["criteria"][own][best]
            assert value == "unknown" if number is None else float(value) == pytest.approx(number, rel=1e-3)
            if own in part["counted"] and number is not None:
                assert word == ("survives" if number >= part["threshold"] else "does not survive"), criterion
    browser.run(choose, "#criteria-bits", bits[-1])
    assert browser.run(said).startswith(f"circuit {bits[-1]}: ")
    kept = "return document.querySelectorAll('#criteria line.edge:not(.absent)').length"
    assert browser.run(kept) == int(bits[-1]).bit_count()
    browser.run(choose, "#criteria-bits", "0")
    status = "return document.querySelector('#criteria [role=status]').textContent"
    assert browser.run(status) == "circuit 0 is not on this page; circuits.parquet has all"
    browser.run(choose, "[data-part]", "1")
    assert browser.run(status) == "" and browser.run(said).startswith("circuit ") and browser.said() == []


CHOOSE = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))"


def test_no_choice_of_a_sweep_leads_to_an_empty_picture(sweep: Path, browser: Browser, tmp_path: Path) -> None:
    """Two experiments have rows with different names, so most combinations of names have no row."""
    options = ("dataset=ellipses", "dataset.train_size=60", "dataset.test_size=60", "training.epochs=1")
    mixed = commanded(
        tmp_path / "mixed", "-m", "experiment=train,ablation", *options, "dataset.target=class", "seed=0,1"
    )
    for folder in (sweep, mixed):
        browser.open(folder / REPORT)
        drawn = pictures_of_sweep(browser)
        assert browser.run("return document.querySelectorAll('#sweep [data-point]').length") > (folder == sweep)
        for label in ["measure", "along", *(of["name"] for of in drawn["names"])]:
            select = browser.driver.find_element("css selector", f"[data-choice='{label}']")
            for value in browser.run(
                "return [...arguments[0].options].filter((one) => !one.disabled).map((one) => one.value)", select
            ):
                browser.run(CHOOSE, select, value)
                assert browser.run("return document.querySelectorAll('#sweep [data-point]').length") > 0, (label, value)
                assert browser.run("return arguments[0].value", select) == value
                said = browser.run("return document.querySelector('[data-caption]').textContent")
                measure, along = (
                    browser.run(f"return document.querySelector('[data-choice={name}]').value")
                    for name in ("measure", "along")
                )
                assert said.startswith(f"{measure} by {along}")
        assert browser.said() == []


def pictures_of_sweep(browser: Browser) -> dict[str, Any]:
    """What the picture of the open page draws."""
    content: dict[str, Any] = browser.run("return JSON.parse(document.getElementById('data-sweep').textContent)")
    return content


def test_on_a_narrow_screen_a_table_begins_with_a_name_and_its_number(
    runs: Runs, sweep: Path, browser: Browser
) -> None:
    seen = (
        "return [...arguments[0].querySelectorAll('tr')].map((row) => [...row.cells]"
        ".filter((cell) => getComputedStyle(cell).display !== 'none').map((cell) => cell.textContent.trim()))"
    )
    for folder, place, narrow, wide in (
        (runs["ablation"], "#tables .table", ["target", "accuracy"], ["target", "role", "kind", "method"]),
        (runs["discovery"], "#answer .table", ["method", "smallest_valid"], ["method", "ablation", "smallest_valid"]),
        (sweep, "#tables .table:last-child", ["training.learning_rate", "accuracy"], None),
    ):
        browser.open(folder / REPORT, width=380)
        table = browser.driver.find_element("css selector", place)
        before = browser.run(seen, table)
        assert before[0][:2] == narrow and len(before) > 2
        if wide is not None:  # the other names stand in the first cell
            assert browser.run("return arguments[0].querySelector('tbody th').dataset.rest", table)
        browser.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 1200, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        after = browser.run(seen, table)
        assert wide is None or after[0][: len(wide)] == wide
        lead = after[0].index(narrow[1])
        assert [row[1] for row in before] == [row[lead] for row in after]


def test_a_hint_covers_no_picture(runs: Runs, browser: Browser) -> None:
    overlap = (
        "const box = (one) => one.getBoundingClientRect(), hint = box(document.querySelector('.hint'));"
        "return [...document.querySelectorAll('.widget svg')].filter((one) => "
        "box(one).top < hint.bottom - 1 && hint.top < box(one).bottom - 1).length"
    )
    for name in ("circuits", "discovery", "ablation", "criteria"):
        for width in (380, 1200):
            browser.open(runs[name] / REPORT, width=width)
            browser.run("document.querySelector('.widget svg').scrollIntoView()")
            assert browser.run(overlap) == 0, (name, width)


def test_a_narrow_screen_shows_a_wide_figure_as_large_as_its_text_needs(runs: Runs, browser: Browser) -> None:
    """It is seen a part at a time; the page itself is no wider than the screen."""
    folder = runs["ablation"]
    shown = "return [...document.querySelectorAll('figure img')]"
    shown += ".map((one) => [one.clientWidth, one.parentElement.clientWidth])"
    browser.open(folder / REPORT, width=380)
    made = "const one = document.querySelector('figure img'); one.width = 900; one.parentElement.className = 'wide';"
    browser.run(made)
    (width, room), *others = browser.run(shown)
    assert width == 640 and room < 380 and all(own <= 480 for own, _ in others)
    assert browser.run("return document.documentElement.scrollWidth") <= 380


def test_a_figure_has_the_size_of_its_inches(tmp_path: Path) -> None:
    from PIL import Image

    from mi_runner.runs.report.images import images
    from mi_runner.tables.declaration import Declarations

    for name, dpi in (("dense", (260, 260)), ("sparse", (130, 130)), ("unknown", None)):
        Image.new("RGB", (1000, 500)).save(tmp_path / f"{name}.png", **({"dpi": dpi} if dpi else {}))
    found = images(sorted(tmp_path.glob("*.png")), tmp_path, Declarations())
    assert [(one.name, one.width, one.height, one.is_wide) for one in found] == [
        ("dense", 500, 250, True),
        ("sparse", 1000, 500, True),
        ("unknown", 1000, 500, True),
    ]

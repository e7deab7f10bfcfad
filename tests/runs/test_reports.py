"""Reports: what the pages of all experiments have, and that text stays text."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from scipy.stats import fisher_exact

from mi_runner.config.registry import EXPERIMENTS
from mi_runner.experiments.common import circuit_picture, sentences
from mi_runner.experiments.declared import declarations_of
from mi_runner.experiments.discovery.pictures import BEST_BY
from mi_runner.experiments.train import experiment as train
from mi_runner.methods.circuits.space import CircuitSpace
from mi_runner.progress import log
from mi_runner.runs import run_folder
from mi_runner.runs.report import REPORT, answers, images, rendering, run_report, tables, write_run_report
from mi_runner.tables.declaration import Declarations, FigureType, Measure
from tests.conftest import REPOSITORY, Ended
from tests.pages import BAD, DATA, DIVERGES, SMALL, Parsed, hostile_folder, parsed, pictures

MiRun = Callable[..., Ended]
Runs = Mapping[str, Path]

# --- the vocabulary --------------------------------------------------------------------------------------------------


def files_of(folder: Path) -> dict[str, list[str]]:
    """Table → its columns, from the files of a run."""
    found = {path.stem: next(csv.reader(path.read_text().splitlines())) for path in folder.glob("*.csv")}
    return found | {path.stem: parquet.read_schema(path).names for path in folder.glob("*.parquet")}


@pytest.mark.parametrize("name", SMALL)
def test_every_column_table_figure_and_metric_of_a_run_has_a_meaning(name: str, runs: Runs) -> None:
    folder = runs[name]
    record = json.loads((folder / "run.json").read_text())
    found, declared = files_of(folder), declarations_of(record["experiment"])
    assert len(found) > 1 and "metrics" in found
    of_columns = {(table, name): declared.column(table, name) for table, names in found.items() for name in names}
    assert [of for of, column in of_columns.items() if column is None or not column.meaning] == []
    assert [table for table in found if not declared.caption(table)] == []
    assert [path.name for path in folder.glob("figures/*.png") if declared.figure(path.stem) is None] == []
    assert record["metrics"] and [name for name in record["metrics"] if declared.number(name) is None] == []


@pytest.mark.parametrize("schema", EXPERIMENTS, ids=lambda schema: schema.name)
def test_all_that_an_experiment_declares_has_a_meaning(schema: Any) -> None:
    declared = declarations_of(schema.name)
    assert import_module(schema.module).EXPERIMENT.declared.tables == declared.tables
    tables = (*declared.tables, *declared.compared, *declared.added)
    every = [column for table in tables for column in table.all_columns]
    assert every and [column.name for column in (*every, *declared.summary) if not column.meaning] == []
    assert all(each.caption for each in (*tables, *declared.figures))
    assert [column.name for column in every if column.only and not column.only.startswith("where ")] == []


@pytest.mark.parametrize("schema", EXPERIMENTS, ids=lambda schema: schema.name)
def test_the_headline_of_an_experiment_is_a_declared_number_of_which_more_is_better(schema: Any) -> None:
    headline = declarations_of(schema.name).number(schema.headline)
    assert isinstance(headline, Measure) and headline.better == "more"


NOT_IN_SMALL = {
    ("ablation", "largest"),  # of more than 20 targets
    ("discovery", "criteria"),  # with experiment.criteria=true
    ("discovery", "criteria_by_regret"),
    ("discovery", "certified"),  # with experiment.certify=0.1
    ("das", "effects"),  # of strict training
    ("iit", "effects"),
    ("explanations", "groundings"),  # of a network that is accurate enough
    ("explanations", "alignments"),
    ("explanations", "seeds_summary"),
}
"""Tables that no small run has; other tests read them."""


def test_each_table_and_column_that_is_declared_occurs(runs: Runs) -> None:
    found: dict[tuple[str, str], set[str]] = {}
    for name in SMALL:
        experiment = json.loads((runs[name] / "run.json").read_text())["experiment"]
        for table, columns in files_of(runs[name]).items():
            found.setdefault((experiment, table), set()).update(columns)
    tables = [(schema.name, table) for schema in EXPERIMENTS for table in declarations_of(schema.name).tables]
    assert {(experiment, table.name) for experiment, table in tables} - found.keys() == NOT_IN_SMALL
    for experiment, table in tables:
        names = found.get((experiment, table.name), set())
        is_first = declarations_of(experiment).named(table.name)[0] == table  # others are of runs with other options
        is_run = is_first and set(table.keys) - {column.name for column in table.columns if column.only} <= names
        always = [column for column in table.all_columns if is_run and names and not column.only]
        assert [column.name for column in always if not any(map(column.names, names))] == [], (experiment, table.name)


def test_declarations_are_read_without_torch() -> None:
    program = "import sys; from mi_runner.config.registry import EXPERIMENTS; "
    program += "from mi_runner.sweeps.declared import declarations_of_sweep; "
    program += "declarations_of_sweep([schema.name for schema in EXPERIMENTS]); "
    program += "print([name for name in ('torch', 'pandas', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_a_name_has_the_meaning_that_it_has_in_the_experiment() -> None:
    method = {name: declarations_of(name).column("metrics", "method") for name in ("ablation", "discovery")}
    assert [column and column.meaning for column in method.values()] == [
        "what replaces the value: zero, mean or resample; none: nothing",
        "the method that finds circuits",
    ]
    rank = declarations_of("discovery").column("scores", "rank")
    assert rank and rank.meaning.startswith("place of the edge by its score")
    unknown = declarations_of("invented")
    assert unknown.column("metrics", "accuracy") is None and unknown.caption("predictions")


def test_the_page_of_columns_is_made_from_the_declarations() -> None:
    spec = spec_from_file_location("columns", REPOSITORY / "docs/columns.py")
    assert spec is not None and spec.loader is not None
    program = module_from_spec(spec)
    spec.loader.exec_module(program)
    assert (REPOSITORY / "docs/columns.md").read_text(encoding="utf-8") == program.page()


# --- what a page has -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_a_page_has_the_rows_of_its_files(name: str, runs: Runs) -> None:
    """Digit by digit: the shown text is short, the whole number is beside it."""
    page = parsed(runs[name])
    files = {path.stem: path for path in runs[name].glob("*.csv")}
    assert set(page.tables) == set(files_of(runs[name]))
    for table, path in files.items():
        with path.open(newline="") as file:
            lines = list(csv.reader(file))
        shown = page.tables[table]
        assert shown == lines[: len(shown)], table
        assert len(shown) == len(lines) or f"other {len(lines) - len(shown):,}" in page.text


def test_a_page_says_question_answer_and_where_it_comes_from(runs: Runs) -> None:
    page, record = parsed(runs["train"]), json.loads((runs["train"] / "run.json").read_text())
    assert "Train a model; how good is it, on which classes?" in page.text
    with (runs["train"] / "metrics.csv").open() as file:
        (row,) = [row for row in csv.DictReader(file) if (row["split"], row["class"]) == ("test", "all")]
    interval = f"{float(row['accuracy_low']):.4f} to {float(row['accuracy_high']):.4f}"
    assert f"{float(row['accuracy']):.4f}" in page.text and interval in page.text
    for text in (record["command"], record["versions"]["code"], record["checkpoint"]["sha256"], record["host"]):
        assert text in page.text
    differing = [of for tag, of in page.elements if tag == "tr" and of.get("class") == "differs"]
    assert differing and "dataset.train_size" in page.text
    links = {of.get("href") for tag, of in page.elements if tag == "a"}
    assert {"./metrics.csv", "./model.safetensors", "./figures/confusion.png", "./run.json"} <= links
    images = [of for tag, of in page.elements if tag == "img"]
    assert len(images) == len(list(runs["train"].glob("figures/*.png"))) > 1
    assert all(str(of["src"]).startswith("data:image/png") and of["alt"] for of in images)


def _sure(row: Any, measure: str) -> str:
    """A number with its interval, as a sentence has it."""
    return "{:.4g} ({:.4g} to {:.4g})".format(*(row[f"{measure}{end}"] for end in ("", "_low", "_high")))


def _expected(name: str, tables: Callable[[str], Any]) -> list[str]:
    """What the answer of a small run has to say, by pandas from its tables."""
    rows = tables("seeds_summary" if name == "many seeds" else "metrics")
    match name:
        case "train":
            test = rows[rows["split"] == "test"]
            worst = test.loc[test["accuracy"].idxmin()]
            own = _sure(test[test["class"] == "all"].iloc[0], "accuracy")
            counts = [[round(row["accuracy"] * row["n"]), row["n"]] for row in test[1:].to_dict("records")]
            p = fisher_exact([[correct, n - correct] for correct, n in counts]).pvalue
            tie = ", but no other class is told apart from that" if p >= 0.05 else ""
            return [f"accuracy is {own} on 60 test", f"class {worst['class']}, {worst['accuracy']:.4g}{tie} (Fisher"]
        case "many seeds":
            (row,) = rows.query("split == 'test' and `class` == 'all' and measure == 'accuracy'").to_dict("records")
            ends = [f"{row[name]:.4g}" for name in ("mean", "low", "high", "min", "max")]
            return ["{} ({} to {}); they range from {} to {}.".format(*ends)]
        case "ablation" | "units":
            draws = rows[rows["method"] != "none"].groupby(["target", "method"], sort=False)
            # Which are told apart, tests/experiments/test_ablation_answers.py asks.
            means = draws["accuracy"].mean()
            ends = [f"{means.min():.4g}", f"{means.max():.4g}", "The test is paired over"]
            return [f"accuracy is {_sure(rows.iloc[0], 'accuracy')}", *ends]
        case "circuits":
            (row,), circuits = rows.to_dict("records"), tables("circuits")
            fewest = circuits[circuits["valid"]]["n_edges"].min()
            n = (circuits[circuits["valid"]]["n_edges"] == fewest).sum()
            sparsest = (
                f"The sparsest keeps {fewest} of 8 edges, and no" if n == 1 else f"The {n} sparsest keep {fewest} of 8"
            )
            return [f"{row['n_valid']:,} of {row['n_circuits']:,} circuits", sparsest]
        case "clusters":
            both = [_sure(row, "accuracy") for row in tables("networks").to_dict("records")]
            return [*both, f"inside clusters is {tables('networks')['clusterability'].iloc[0]:.4g}, and"]
        case "iit" | "das":
            overview = tables("overview").query("sources == 'single'")
            best = overview.loc[overview[overview["phase"] == "after"]["iia"].idxmax()]
            several = len(overview[overview["phase"] == "after"]) > 1
            iia = f"{best['iia']:.4g}" if several else _sure(best, "iia")
            unswapped = (
                f"gives the counterfactual label on {best['iia_unswapped']:.4g} of these pairs; the label doesn't"
            )
            return [f"{best['variables']} at {best['site']}", iia, unswapped, f"change on {best['floor']:.4g} of them"]
        case "decoder":
            every, answer = rows.query("control == 'none'").iloc[-2:].to_dict("records")
            shuffled, untrained = (
                rows.query("control == @control and decoded == 'all'").iloc[0] for control in ("shuffled", "untrained")
            )
            controls = f"{_sure(untrained, 'accuracy')} from the untrained network's and {_sure(shuffled, 'accuracy')}"
            return [_sure(every, "accuracy"), controls, f"answer with an accuracy of {_sure(answer, 'accuracy')}"]
        case "explanations":
            row = rows.iloc[0]
            said = f"{row['n_valid']:,.0f} of 9,625 circuits compute XOR, with {row['n_groundings']:,.0f} groundings"
            aligned = f"{row['n_algorithms_aligned']:,.0f} of {row['n_algorithms']:,.0f} algorithms"
            said = said if row["n_valid"] else "None of 9,625 circuits computes XOR; "
            return [said, aligned if row["n_algorithms_aligned"] else f"none of {row['n_algorithms']:,.0f} algorithms"]
        case "discovery":
            means = tables("metrics").groupby(["ablation", "method", "repeat"])["regret_mse"].mean()
            means = means.groupby(level=[0, 1]).mean()
            n_sizes = tables("metrics")["k"].nunique()
            said = [f"With {of} ablation " for of in ("zero", "mean")]
            ends = [f"{end:.4g}" for of in ("zero", "mean") for end in (means[of].min(), means[of].max())]
            return [*said, *ends, f"over {n_sizes} sizes"]
        case "probes":
            overview = tables("overview")
            best = overview.loc[(overview["score"] - overview["input"]).idxmax()]
            of_input = f"{best['input']:.4g} of the raw input"
            return [f"{best['variables']} at {best['site']}", f"there is {best['score']:.4g}, beside", of_input]
    return []  # a test of the experiment says what its answer has to have


@pytest.mark.parametrize("name", SMALL)
def test_the_answer_of_a_run_is_a_sentence_with_the_figures_of_its_tables(name: str, runs: Runs) -> None:
    import pandas as pd

    folder = runs[name]

    def table(of: str) -> pd.DataFrame:
        path = folder / f"{of}.csv"
        return (
            pd.read_csv(path, keep_default_na=False, na_values=[""])
            if path.exists()
            else pd.read_parquet(path.with_suffix(".parquet"))
        )

    answer = json.loads((folder / "run.json").read_text())["answer"] or ""
    for text in _expected(name, table):
        assert text in answer.replace("−", "-"), answer
    assert answer in parsed(folder).text and answer in (folder / "run.log").read_text()


def test_numbers_of_a_sentence_have_four_digits_and_their_interval() -> None:
    row = {"accuracy": 0.97264, "accuracy_low": 0.96921, "accuracy_high": 0.97562, "r2": -0.011223, "n": None}
    assert sentences.measured(row, "accuracy") == "0.9726 (0.9692 to 0.9756)"
    assert [sentences.measured(row, name) for name in ("r2", "n")] == ["−0.01122", "unknown"]
    assert sentences.between(1.0, 1.0, 1.0) == "1" and sentences.figure(156458853.0) == "156,458,853"
    assert sentences.figure(math.inf) == "unknown" and sentences.between(0.5, math.nan, math.nan) == "0.5"
    assert sentences.several([row], "accuracy", "draws") == sentences.measured(row, "accuracy")
    assert sentences.several([row, {"accuracy": 0.5}], "accuracy", "draws") == (
        "0.7363, the mean of 2 draws from 0.5 to 0.9726"
    )
    assert [sentences.counted(n, "circuit") for n in (0, 1, 19162)] == ["0 circuits", "1 circuit", "19,162 circuits"]


def test_options_that_differ_are_marked_and_no_others(runs: Runs) -> None:
    config = json.loads((runs["train"] / "run.json").read_text())["config"]
    options = run_report._options(config, ["train", "ellipses", "mlp"])
    changed = {option.name: (option.value, option.default) for option in options if option.differs}
    assert changed == {
        "dataset.train_size": ("60", "10000"),
        "dataset.test_size": ("60", "1000"),
        "dataset.target": ("class", "value"),
        "training.epochs": ("1", "3"),
    }
    assert len(options) >= 30


def test_controls_stand_beside_the_claim(runs: Runs) -> None:
    page = (runs["iit"] / REPORT).read_text()
    of_iia = page[page.index("<h3>iia</h3>") : page.index("<h3>", page.index("<h3>iia</h3>") + 5)]
    for control in ("before", "other_site", "random_rotation", "untrained", "shuffled_labels"):
        assert f'<th scope="row">{control}</th>' in of_iia
    assert '<th scope="row">untrained</th>' in (runs["explanations"] / REPORT).read_text()


def test_the_hash_of_the_page_is_in_run_json_and_it_says_how_the_run_ended(runs: Runs) -> None:
    for folder in runs.values():
        record = json.loads((folder / "run.json").read_text())
        assert record["files"] == run_folder.RunFolder(folder).digests() and REPORT in record["files"]
        assert record["status"] == "done" and '<span class="status good">done</span>' in (folder / REPORT).read_text()
        assert record["timings"]["total"] >= record["timings"]["report"] > 0


def test_a_picture_of_circuits_has_the_best_and_the_sparsest(runs: Runs) -> None:
    """Against the table itself, by pandas."""
    import pandas as pd

    frame = pd.read_parquet(runs["circuits"] / "circuits.parquet")
    (drawn,) = pictures(runs["circuits"])["circuits"]["outputs"]
    assert drawn["sizes"] == [3, 2, 1] and len(drawn["edges"]) == 8
    best = frame.groupby("n_edges")["accuracy"].max()
    assert {circuit["edges"]: circuit["accuracy"] for circuit in drawn["best"]} == pytest.approx(best.to_dict())
    valid = frame[frame["valid"]]
    assert 1 < len(valid) == drawn["n_valid"] and drawn["n_circuits"] == len(frame)
    sparsest = sorted(valid["n_edges"])[: len(drawn["sparsest"])]
    assert [circuit["edges"] for circuit in drawn["sparsest"]] == sparsest
    for circuit in [*drawn["best"], *drawn["sparsest"]]:
        assert int(circuit["circuit"]).bit_count() == circuit["edges"]
    edges = pd.read_csv(runs["circuits"] / "edges.csv")
    assert [edge["share"] for edge in drawn["edges"]] == pytest.approx(edges["share"].tolist(), rel=1e-5)
    assert [edge["weight"] for edge in drawn["edges"]] == pytest.approx(edges["weight"].tolist(), rel=1e-5)
    (of_explanations,) = pictures(runs["explanations"])["circuits"]["outputs"]
    frame = pd.read_parquet(runs["explanations"] / "circuits.parquet")
    assert of_explanations["n_circuits"] == len(frame) and of_explanations["n_valid"] == frame["valid"].sum()


def test_shares_of_edges_follow_from_the_valid_circuits(runs: Runs) -> None:
    import pandas as pd

    frame, edges = pd.read_parquet(runs["circuits"] / "circuits.parquet"), pd.read_csv(runs["circuits"] / "edges.csv")
    (drawn,) = pictures(runs["circuits"])["circuits"]["outputs"]
    space = CircuitSpace(tuple(drawn["sizes"]))
    found = circuit_picture._shares(space, frame.loc[frame["valid"], "circuit"].to_numpy())
    assert found == pytest.approx(edges["share"].tolist(), rel=1e-5)
    assert circuit_picture._shares(space, frame["circuit"].to_numpy()[:0]) == [None] * len(edges)


def test_a_picture_of_methods_has_their_circuits_and_the_best(runs: Runs) -> None:
    """Against the tables, by pandas; bits of the best ones against the rows of their kept edges."""
    import pandas as pd

    frames = {name: pd.read_csv(runs["discovery"] / f"{name}.csv") for name in ("metrics", "analysed", "edges")}
    drawn = pictures(runs["discovery"])["methods"]
    assert [part["ablation"] for part in drawn["parts"]] == ["zero", "mean"] and drawn["n_left_out"] == 0
    for part in drawn["parts"]:
        own = {name: frame[frame["ablation"] == part["ablation"]] for name, frame in frames.items()}
        assert part["sizes"] == [2, 2, 2, 1] and len(part["edges"]) == 10 and part["k"] == list(range(11))
        for name in ("weight", "share"):
            assert [edge[name] for edge in part["edges"]] == pytest.approx(own["analysed"][name].tolist(), rel=1e-5)
        names = list(zip(own["analysed"]["layer"], own["analysed"]["source"], own["analysed"]["target"], strict=True))
        for method in ("random", "magnitude", "eap", "greedy"):
            rows = own["metrics"].query("method == @method and repeat == 0")
            of_method = part["lists"][method]
            assert list(map(int, of_method["bits"])) == rows["circuit"].tolist()
            assert [int(bits).bit_count() for bits in of_method["bits"]] == rows["n_edges"].tolist()
            assert of_method["mse"] == pytest.approx(rows["mse"].tolist(), rel=1e-5)
        for measure, name in BEST_BY.items():
            kept = own["edges"][own["edges"]["best"] == measure]
            for k, bits in zip(part["k"], map(int, part["lists"][name]["bits"]), strict=True):
                of_k = kept[kept["k"] == k]
                edges = {names.index(edge) for edge in zip(of_k["layer"], of_k["source"], of_k["target"], strict=True)}
                assert edges == {edge for edge in range(10) if bits >> edge & 1}
        assert set(part["scores"]) == {"random", "magnitude", "eap"}


@pytest.mark.parametrize("content", [None, "{", "[1]", '{"circuits": 7, "invented": {}}'])
def test_without_sound_data_a_page_has_no_picture(content: str | None, runs: Runs, tmp_path: Path) -> None:
    """As the folders of earlier versions, which have no such file."""
    shutil.copytree(runs["circuits"], tmp_path / "v001", ignore=shutil.ignore_patterns("figures", REPORT))
    (tmp_path / "v001" / run_folder.PICTURES).unlink()
    if content is not None:
        (tmp_path / "v001" / run_folder.PICTURES).write_text(content)
    write_run_report(tmp_path / "v001")
    page = (tmp_path / "v001" / REPORT).read_text()
    assert 'id="data-circuits"' not in page and parsed(tmp_path / "v001").tables["metrics"]
    assert 'id="data-circuits"' in (runs["circuits"] / REPORT).read_text()


def test_a_picture_of_a_network_has_what_each_ablation_costs(runs: Runs) -> None:
    import pandas as pd

    drawn = pictures(runs["ablation"])["network"]
    assert [site["name"] for site in drawn["sites"]] == ["x", "first", "relu", "add", "last"]
    assert drawn["sites"][3]["reads"] == ["x", "relu"] and drawn["methods"] == ["zero", "mean", "resample"]
    drops = pd.read_csv(runs["ablation"] / "metrics.csv").groupby(["target", "method"])["accuracy_drop"].mean()
    for (target, method), drop in drops.drop("none").items():
        assert drawn["costs"][target][method] == pytest.approx(drop, abs=1e-6)
    assert "x/add" in drawn["costs"]


# --- how a run ended -------------------------------------------------------------------------------------------------


def test_a_run_that_fails_has_a_page_with_the_cause(mi_run: MiRun) -> None:
    ended = mi_run("dataset=ellipses", *DATA[:2], *DIVERGES)
    assert ended.status == 1
    (folder,) = Path("outputs/train/ellipses-mlp").glob("v*")
    page, record = parsed(folder), run_folder.read_record(folder)
    assert record is not None and record.status == "failed" and record.files[REPORT]
    assert record.error in page.text and "failed" in page.text and "Traceback" in page.text
    assert ("div", "alert") in [(tag, of.get("role")) for tag, of in page.elements]


def test_an_interrupted_run_has_a_page(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(setting: Any) -> None:
        log.warning("half of it is done")
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "EXPERIMENT", replace(train.EXPERIMENT, run=interrupted))
    assert mi_run("dataset=ellipses", *DATA).status == 130
    folder = Path("outputs/train/ellipses-mlp/v001")
    page = parsed(folder)
    assert page.text.count("interrupted (Ctrl-C)") == 1 and "half of it is done" in page.text
    assert "Traceback" in (folder / "run.log").read_text() and "Traceback" not in page.text


@pytest.mark.usefixtures("undrawn")
def test_an_expectation_that_is_not_met_is_on_the_page(mi_run: MiRun) -> None:
    ended = mi_run("dataset=ellipses", *DATA, "expect={accuracy: '>1'}")
    assert ended.status == 3 and "Not as expected" in parsed(ended.folder).text


@pytest.mark.usefixtures("undrawn")
def test_report_false_leaves_the_page_out_and_changes_nothing_else(mi_run: MiRun) -> None:
    without, with_page = (mi_run("dataset=ellipses", *DATA, f"report={on}") for on in ("false", "true"))
    assert not (without.folder / REPORT).exists() and (with_page.folder / REPORT).exists()
    assert without.record["config_hash"] == with_page.record["config_hash"]
    assert without.record["files"]["metrics.csv"] == with_page.record["files"]["metrics.csv"]


@pytest.mark.usefixtures("undrawn")
def test_a_page_that_cannot_be_made_does_not_fail_the_run(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mi_runner.runs.report.run_report.run_page", lambda *_: 1 / 0)
    ended = mi_run("dataset=ellipses", *DATA)
    assert ended.status == 0 and ended.record["status"] == "done" and REPORT not in ended.record["files"]
    line = f"can't write report.html (ZeroDivisionError: division by zero); mi-run report {ended.folder} tries it again"
    assert line in ended.err and line in (ended.folder / "run.log").read_text()


# --- mi-run report ---------------------------------------------------------------------------------------------------


def _copied(folder: Path, into: Path) -> Path:
    """A copy of a run's folder, with the link to the newest run."""
    copy = into / "outputs/train/ellipses-mlp/v001"
    shutil.copytree(folder, copy)
    (copy.parent / "latest").symlink_to("v001")
    return copy


def test_an_old_folder_gets_a_page_without_torch(runs: Runs, tmp_path: Path) -> None:
    """As an earlier version left it: without the page, and without what run.json says for it."""
    folder = _copied(runs["train"], tmp_path)
    page = (folder / REPORT).read_text()
    (folder / REPORT).unlink()
    record = json.loads((folder / "run.json").read_text())
    del record["shown"], record["files"][REPORT]
    (folder / "run.json").write_text(json.dumps(record))
    program = "import sys; from mi_runner.cli import command as cli; status = cli.main(sys.argv[1:]); "
    program += "assert 'torch' not in sys.modules; sys.exit(status)"
    given = [sys.executable, "-c", program, "report", str(folder.parent / "latest")]
    done = subprocess.run(given, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{folder / REPORT}\n"), done.stderr
    again = json.loads((folder / "run.json").read_text())
    assert again["files"] == run_folder.RunFolder(folder).digests()
    assert Parsed(page).tables == parsed(folder).tables


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "report: a folder is missing. Type mi-run report FOLDER"),
        (("nowhere",), "nowhere: there is no such folder."),
        (("empty",), "empty: it has no run.json and no sweep.json, so it isn't the folder of a run or sweep. "),
    ],
)
def test_mistakes_of_the_command_say_what_to_type(arguments: tuple[str, ...], text: str, mi_run: MiRun) -> None:
    Path("empty").mkdir()
    ended = mi_run("report", *arguments)
    assert ended.status == 2 and text in ended.err and "mi-run report outputs/" in ended.err
    ended = mi_run("report", "-x")
    assert ended.status == 2 and "there is no flag -x. Type mi-run report --help." in ended.err


def test_a_page_of_a_run_that_was_killed_or_whose_record_is_torn(mi_run: MiRun, runs: Runs) -> None:
    folder = _copied(runs["train"], Path.cwd())
    record = json.loads((folder / "run.json").read_text())
    before = json.dumps({**record, "status": "running", "pid": 2**22 + 1})
    (folder / "run.json").write_text(before)
    assert mi_run("report", str(folder)).status == 0
    assert "ended without a word" in parsed(folder).text and (folder / "run.json").read_text() == before
    (folder / "run.json").write_text(before[:100])
    assert mi_run("report", str(folder)).status == 0
    assert "is torn" in parsed(folder).text and (folder / "run.json").read_text() == before[:100]


# --- text stays text -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_folder(tmp_path_factory.mktemp("hostile"))


def test_text_of_users_stays_text(hostile: Path) -> None:
    page = parsed(hostile)
    assert page.count("img") == page.count("b") == 0
    scripts = [of for tag, of in page.elements if tag == "script"]
    assert [of.get("type") for of in scripts] == ["application/json", None]
    assert not [of for _, of in page.elements for name in of if name.startswith("on")]
    assert page.text.count(BAD) > 10
    links = [of["href"] for tag, of in page.elements if tag == "a"]
    assert all(str(link).startswith(("./", "#")) for link in links) and "./javascript%3Ahacked%3D1" in links


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_long_and_wide_table_is_shortened_with_a_word_on_the_rest(tmp_path: Path) -> None:
    n_columns = tables.MOST_COLUMNS + 5
    with (tmp_path / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[f"c{n}" for n in range(n_columns)], *([[1] * n_columns] * 2_000)])
    (tmp_path / "run.json").write_text(json.dumps({"status": "done", "experiment": "train"}))
    write_run_report(tmp_path)
    page = parsed(tmp_path)
    assert len(page.tables["metrics"]) == 1 + tables.MOST_ROWS
    left = f"The other {2_000 - tables.MOST_ROWS:,} are in metrics.csv"
    assert f"The first {tables.MOST_ROWS} of 2,000 rows. {left}" in page.text
    assert f"The first {tables.MOST_COLUMNS} of {n_columns} columns" in page.text


WEIGHTS = Declarations(figures=(FigureType("weights_*", "Weights of a layer"),))


def test_figures_take_no_more_than_their_bytes(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    paths = [tmp_path / f"weights_{n}.png" for n in range(4)]
    for path in paths:
        Image.fromarray(draw.integers(0, 256, (200, 300, 3), dtype=np.uint8)).save(path)
    whole = sum(path.stat().st_size for path in paths)
    kept = images.images(paths, tmp_path, WEIGHTS, most=whole)
    assert [len(image.data) > path.stat().st_size for image, path in zip(kept, paths, strict=True)] == [True] * 4
    for most in (whole // 2, whole // 8, whole // 2_000):
        made = images.images(paths, tmp_path, WEIGHTS, most=most)
        assert sum(len(image.data) for image in made) * 3 / 4 <= most
        assert (made[0].width, made[0].height) == (300, 200) and made[0].caption == "Weights of a layer"
    assert [image.data for image in made] == [""] * 4  # they are links only


def test_numbers_are_short_but_whole_for_sorting() -> None:
    cells = [tables._cell(text, counts=False) for text in ("0.123456", "7", "1e-09", "", "nan", "relu", "12345.5")]
    assert [cell.text for cell in cells] == ["0.1235", "7", "1e-09", "", "nan", "relu", "12345.5000"]
    assert cells[0].value == "0.123456" and cells[1].value == "" and cells[6].value == "12345.5"
    assert tables._cell("94591", counts=True) == tables.Cell("94,591", "94591")
    assert [run_report.duration(seconds) for seconds in (3.21, 65, 7300)] == ["3.2 s", "1 min 05 s", "2 h 01 min"]


def test_a_page_allows_its_own_script_and_style_alone(runs: Runs) -> None:
    page = (runs["circuits"] / REPORT).read_text()
    (script,) = [part.split("</script>")[0] for part in page.split("<script>")[1:]]
    (style,) = [part.split("</style>")[0] for part in page.split("<style>")[1:]]
    for text in (script, style):
        assert rendering._hash(text) in page
    assert "default-src 'none'" in page


# --- sweeps ----------------------------------------------------------------------------------------------------------


def test_a_sweep_has_a_page_with_failures_first_and_links_to_its_jobs(sweep: Path) -> None:
    page = parsed(sweep)
    assert list(page.tables) == ["failures", "headline", "jobs", "sweep_summary", "sweep"]
    assert [row[0] for row in page.tables["failures"]] == ["job", "2", "5"]
    assert "4 done, 2 failed" in page.text and "training diverged" in page.text
    links = [of["href"] for tag, of in page.elements if tag == "a"]
    assert [link for link in links if str(link).endswith("/report.html")] == [
        f"./{job}/report.html" for job in (2, 5, 0, 1, 2, 3, 4, 5)
    ]
    assert all((sweep / f"{job}/report.html").exists() for job in range(6))
    with (sweep / "sweep_summary.csv").open(newline="") as file:
        assert page.tables["sweep_summary"] == list(csv.reader(file))


def test_the_picture_of_a_sweep_has_the_numbers_of_the_summary(sweep: Path) -> None:
    page = (sweep / REPORT).read_text()
    drawn = json.loads(page.split('id="data-sweep">')[1].split("</script>")[0])
    with (sweep / "sweep_summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert drawn["names"][0]["name"] == "training.learning_rate" and len(drawn["rows"]) == len(rows) > 8
    for row, (names, measure, n, *numbers) in zip(rows, drawn["rows"], strict=True):
        assert [row[column] for column in drawn["columns"]] == names
        assert (row["measure"], int(row["n"])) == (measure, n)
        of_file = [float(row[name]) if row[name] else None for name in ("mean", "low", "high")]
        assert numbers == pytest.approx(of_file, rel=1e-6)


def test_the_page_of_a_sweep_and_those_of_its_jobs_are_made_again(sweep: Path, tmp_path: Path, mi_run: MiRun) -> None:
    own = tmp_path / "own" / "v001"  # other processes look at the pages of the sweep
    shutil.copytree(sweep, own)
    before = (own / REPORT).read_text()
    for page in (own / REPORT, own / "3" / REPORT):
        page.unlink()
    ended = mi_run("report", str(own))
    assert (ended.status, ended.out) == (0, f"{own / REPORT}\n")
    assert Parsed(before).tables == parsed(own).tables and (own / "3" / REPORT).exists()


@pytest.mark.usefixtures("undrawn")
def test_report_false_leaves_out_the_pages_of_a_sweep(mi_run: MiRun) -> None:
    ended = mi_run("-m", "dataset=ellipses", *DATA, "seed=0,1", "report=false")
    assert ended.status == 0 and not list(ended.folder.rglob(REPORT)) and (ended.folder / "sweep.csv").exists()


def test_numbers_of_one_measure_stand_together_in_the_answer() -> None:
    summary = {"accuracy": 0.9, "regret_mse/eap/zero": 0.5, "regret_mse/greedy/zero": 0.25, "n_edges": 21.0}
    first, regret, edges = answers.answers(summary, "accuracy", declarations_of("discovery"), [], [])
    assert (first.name, first.value, edges.name, edges.value) == ("accuracy", "0.9000", "n_edges", "21")
    assert (regret.name, regret.value) == ("regret_mse", "")
    assert [(each.name, each.value) for each in regret.compared] == [("eap/zero", "0.5000"), ("greedy/zero", "0.2500")]


def test_an_interval_of_counts_has_no_digits_behind_the_point() -> None:
    summary = {"n_groundings": 1234.0, "n_groundings_low": 1200.0, "n_groundings_high": 1300.0}
    (answer,) = answers.answers(summary, "accuracy", declarations_of("explanations"), [], [])[:1]
    assert answer.interval == "1,200 to 1,300"

"""Each work that a choice or method names is among the references, each reference is used; sentences have values."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from mi_runner.config.options import Cites
from mi_runner.config.registry import EXPERIMENTS, SCHEMAS
from mi_runner.errors import ConfigError
from mi_runner.methods.discovery.records import METHODS
from mi_runner.runs import citation, references, saved_runs
from mi_runner.runs.citation import filled
from mi_runner.runs.references import FILE, OWN, entries
from tests.conftest import REPOSITORY
from tests.run_records import write, write_sweep

OF_CHOICES = {cites.key for schemas in SCHEMAS.values() for schema in schemas for cites in schema.cites}
OF_METHODS = {key for method in METHODS for key in method.cites}


def cited(folder: Path) -> citation.Citation:
    saved = saved_runs.read(folder)
    assert saved is not None
    return citation.citation(saved)


def test_each_key_that_is_named_is_there_and_each_entry_is_used() -> None:
    assert OF_CHOICES | OF_METHODS | {OWN, citation.WILSON} == set(entries())
    assert len(entries()) >= 25


def test_the_file_has_nothing_besides_its_entries() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert "\n\n".join(entry.bibtex() for entry in entries().values()) + "\n" == text
    assert text.isascii() and next(iter(entries())) == OWN
    for entry in entries().values():
        assert {"title", "author"} <= set(entry.fields), entry.key
        for value in entry.fields.values():
            depth = 0
            for character in value:
                depth += {"{": 1, "}": -1}.get(character, 0)
                assert depth >= 0, entry
            assert depth == 0, entry
        needed = {"inproceedings": "booktitle", "article": "journal"}.get(entry.kind, "title")
        assert needed in entry.fields, entry.key


def plain(text: str) -> str:
    """A text without LaTeX's braces and accents, in lower case."""
    return re.sub(r"[{}$]|\\.", "", text).lower()


def test_papers_of_methods_are_the_first_work_that_they_cite() -> None:
    """`Syed et al. 2023` is what authors and year of the entry make."""
    with_paper = [method for method in METHODS if method.paper]
    assert len(with_paper) >= 6
    for method in with_paper:
        work = entries()[method.cites[0]].fields
        names = [author.partition(",")[0] for author in work["author"].split(" and ")]
        short = f"{names[0]} and {names[1]}" if len(names) == 2 else f"{names[0]} et al."
        assert f"{short} {work['year']}" == method.paper
    assert all(bool(method.cites) == bool(method.paper) for method in METHODS)


def test_the_origins_of_the_citation_file_are_among_the_references() -> None:
    origins = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    titles = {plain(entry.fields["title"]): entry for entry in entries().values()}
    published = [origin for origin in origins if "year" in origin]
    assert len(published) == 3
    for origin in published:
        entry = titles[origin["title"].lower()]
        authors = {plain(name.partition(",")[0]) for name in entry.fields["author"].split(" and ")}
        assert authors == {plain(one["family-names"].replace("é", "e")) for one in origin["authors"]}
        assert entry.fields["year"] == str(origin["year"])


@pytest.mark.parametrize("schema", EXPERIMENTS, ids=lambda schema: schema.name)
def test_each_experiment_says_what_it_does_with_options_that_it_has(schema: Any) -> None:
    options = {item.name for item in fields(schema)}
    named = re.findall(r"\{(\w+)(?:\|[^{}]*)?\}", schema.in_a_paper)
    assert schema.in_a_paper.startswith("We ") and schema.in_a_paper.endswith(".")
    assert set(named) <= options and schema.in_a_paper.count("{") == len(named)
    assert {cites.option for cites in schema.cites} <= {"", *options}


def test_sentences_have_values_or_the_words_for_none() -> None:
    config = {"experiment.a": [1, 2], "experiment.b": None, "experiment.c": [], "experiment.d": False}
    assert filled("{a}; {b|all} of {b}; {c}; {d}", config) == "1, 2; all of null; none; false"


@pytest.mark.parametrize(
    ("cites", "value", "expected"),
    [
        (Cites("k"), None, True),
        (Cites("k", "o"), None, False), (Cites("k", "o"), 0.0, False), (Cites("k", "o"), 0.4, True),
        (Cites("k", "o"), "any", False), (Cites("k", "o"), "same", True), (Cites("k", "o"), [], False),
        (Cites("k", "o", "revnet"), ["rotation", "revnet"], True), (Cites("k", "o", "revnet"), ["rotation"], False),
        (Cites("k", "o", "revnet"), "[rotation,revnet]", True), (Cites("k", "o", "rotation"), "rotation", True),
        (Cites("k", "o", "rotation"), None, False),
    ],
)  # fmt: skip
def test_a_work_is_cited_where_its_option_is_set(cites: Cites, value: Any, expected: bool) -> None:
    assert cites.applies(value) is expected


def test_a_run_of_discovery_cites_its_methods(tmp_path: Path) -> None:
    config = {"experiment.methods": ["random", "eap", "edge_pruning"], "experiment.bootstrap": 0}
    folder = write(
        tmp_path / "v001",
        **config,
        experiment="discovery",
        dataset="mnist01",
        versions={"mi-run": "0.1.0", "torch": "2.9"},
        types={"metrics": {"accuracy": "number", "accuracy_low": "number"}},
        config_hash="0123456789abcdef",
    )
    found = cited(folder)
    assert found.keys == (
        *("mirun", "meloux2025", "mueller2025", "adolfi2024", "hadad2026", "lecun1998"),
        *("syed2023", "bhaskar2024", "louizos2018", "wilson1927"),
    )
    assert "by random, eap, edge_pruning and judged" in found.text
    assert "Setting: data set mnist01, model mlp, hidden layers of 8, 8 units, epochs 3, seed 0." in found.text
    assert found.text.endswith("Program: mi-run 0.1.0, PyTorch 2.9, config hash 0123456789ab.")
    assert "  version = {0.1.0},\n}\n\n@inproceedings{meloux2025,\n" in found.bibtex()


def test_weights_that_were_not_trained_have_no_epochs(tmp_path: Path) -> None:
    found = cited(write(tmp_path / "v001", checkpoint={"from": "checkpoint", "path": "weights.pt", "sha256": "0a"}))
    assert "weights from checkpoint, seed 0." in found.text and "epochs" not in found.text


def test_a_sweep_cites_the_works_of_all_its_jobs(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "v001", {"experiment": ["probes", "clusters", "train"]})
    write(folder / "0", experiment="probes", **{"experiment.controls": ["untrained"]})
    write(folder / "1", experiment="clusters", **{"experiment.n_clusters": 4}, status="failed")
    found = cited(folder)
    assert found.keys == ("mirun", "alain2016", "lecun1998", "golechha2024") and not found.unknown
    assert "We fitted linear probes" in found.text and "with 4 clusters" in found.text
    assert "These are 1 run over experiment." in found.text


def test_works_of_installed_packages_are_named_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = next(schema for schema in EXPERIMENTS if schema.name == "train")
    monkeypatch.setattr(schema, "cites", (Cites("somebody2030"),))
    found = cited(write(tmp_path / "v001"))
    assert found.keys == ("mirun", "lecun1998")
    assert found.unknown == ("somebody2030: an installed package names it; its own pages say what it is",)


def test_where_nothing_ran_there_is_nothing_to_cite(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "v001", {"seed": [0]})
    with pytest.raises(ConfigError, match="no run of it has begun, so there is nothing to cite"):
        cited(folder)
    torn = tmp_path / "v002"
    torn.mkdir()
    (torn / "run.json").write_text("{")
    with pytest.raises(ConfigError, match="run.json.*nothing to cite"):
        cited(torn)


def test_an_entry_as_bibtex() -> None:
    entry = references.Entry("k", "misc", {"title": "T"})
    assert entry.bibtex(version="1") == "@misc{k,\n  title = {T},\n  version = {1},\n}"

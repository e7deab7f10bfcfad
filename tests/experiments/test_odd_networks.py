"""What runs say of small networks that make sentences hard to write: each sentence is read by rules.

The networks have one output or several, one feature, one example of each class; some answer everything alike, are
perfect, or have no valid circuit.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mi_runner.config import composition
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.experiments.declared import declarations_of
from mi_runner.runs import runner
from mi_runner.tables.declaration import COUNT
from tests import odd_runs

COMMANDS = dict(odd_runs.commands(Path("FOLDER")))

DEFINED = 0.7
"""At least this share of the runs has an answer; the others are refused before any work, or say what is missing."""

ORDERS = r"\b(lowest|highest|largest|best|gains most|told apart|ties?|tie)\b"
TESTS = r"\b(paired|Fisher's exact test|all inputs there are|the same)\b"
"""A sentence that says an order says by which test, or why there is none."""

FAULTS = {
    "a number that is none": r"\bnan\b|\binf\b|\bunknown\b|\bNone\b(?! of)",
    "the plural of one": r"(?<![\d.,:−-])1 (?!is\b|has\b|as\b)[a-z]+(?<!s)s\b|(?<![\d.,:−-])1 [a-z]+ are\b",
    "the singular of several": r"(?<![\d.,])(?:0|[2-9]|\d\d+) (?:circuit|edge|example|network|way|set|draw|size)\b",
    "signs that don't belong together": r"  |\.\.| [.,;]|[.,;:]{2}|\(\)|\( | \)",
    "a cost that is none": r"\bcosts\b",
    "a claim about a network that ignores its sources": r"ignores",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("odd")
    odd_runs.write(made)
    sys.path.insert(0, str(made))
    yield made
    sys.path.remove(str(made))


@pytest.fixture(scope="module")
def said() -> dict[str, bool]:
    """Run → whether it has an answer."""
    return {}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_run_says_is_a_sentence_without_faults(
    name: str, folder: Path, tmp_path: Path, said: dict[str, bool]
) -> None:
    overrides = [text.replace("FOLDER", str(folder)) for text in COMMANDS[name]]
    config = composition.compose([*overrides, f"output_dir={tmp_path}", "threads=1", "device=cpu", "report=false"])
    try:
        outcome = runner.run(config)
    except (ConfigError, RunFailed) as refusal:
        said[name] = False
        check_words(str(refusal).partition(": ")[2] or str(refusal))
        return
    answer = json.loads((outcome.folder / "run.json").read_text())["answer"]
    said[name] = True
    assert re.match(r"[A-Z0-9]", answer) and answer.endswith(".") and answer.count("(") == answer.count(")"), answer
    check_words(answer)
    assert not re.search(ORDERS, answer) or re.search(TESTS, answer), answer
    declared = declarations_of(name.partition("-")[0])
    for table in outcome.tables:
        of_table = table.title.partition(":")[0]
        for column in table.rows[0]:
            about = declared.column(of_table, column)
            assert about is not None, f"{of_table}.{column} is not declared"
            assert (about.unit == COUNT) is (column in table.counts)
    for path in (outcome.folder / "figures").glob("*.png"):
        assert declared.figure(path.stem) is not None, path


def check_words(text: str) -> None:
    for fault, pattern in FAULTS.items():
        assert not re.search(pattern, text), f"{fault}: {re.search(pattern, text)}\n{text}"


def test_most_runs_have_an_answer(said: dict[str, bool]) -> None:
    if len(said) == len(COMMANDS):  # with -k some runs are not there
        assert sum(said.values()) >= DEFINED * len(said), [name for name, has_answer in said.items() if not has_answer]


@pytest.mark.parametrize(
    "text",
    [
        "1 circuits are valid.", "3 circuit.", "the accuracy is nan", "a  b", "it costs most", "0 circuit computes",
        "1 example are", "the mean is unknown",
    ],
)  # fmt: skip
def test_the_rules_notice_faults(text: str) -> None:
    with pytest.raises(AssertionError):
        check_words(text)


@pytest.mark.parametrize(
    "text", ["1 circuit is valid.", "None of 3 circuits is", "0.1 edges", "11 circuits", "1 class"]
)
def test_the_rules_let_good_words_pass(text: str) -> None:
    check_words(text)

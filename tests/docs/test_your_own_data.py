"""What docs/your_own_data.md shows can be typed, one command after the other, with fewer epochs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from mi_runner.config.datasets.table import TableConfig
from mi_runner.datasets import table
from tests.conftest import REPOSITORY, Ended

PAGE = (REPOSITORY / "docs" / "your_own_data.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(mi-run (?:.*\\\n)*.*)", PAGE, re.MULTILINE)
MAKING, NAMING, UNDOING = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SMALL = {"discovery": ["experiment.methods=[magnitude]", "experiment.samples=3"]}


def ran(program: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(program, "your_own_data.md", "exec"), names)
    return names


def typed(command: str) -> list[str]:
    return shlex.split(command.replace("\\\n", " "))[1:]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_runs(command: str, mi_run: Callable[..., Ended]) -> None:
    ran(MAKING)
    ran(NAMING)
    arguments = typed(command)
    kind = arguments[0].partition("=")[2]
    ended = mi_run(*arguments, *SMALL.get(kind, []), "training.epochs=2", "report=false")
    assert ended.status == 0, ended.err


def test_the_page_from_the_csv_to_a_table_by_name_and_back(mi_run: Callable[..., Ended]) -> None:
    ran(MAKING)
    ended = mi_run(*typed(COMMANDS[0]), "training.epochs=2", "report=false")
    assert str(ended.folder) == "outputs/ablation/table-mlp/v001"
    targets = list(dict.fromkeys(pd.read_csv(ended.folder / "metrics.csv")["target"]))
    shown = re.findall(r"^\| (\S+) \| (?:none|mean|resample) \|", PAGE, re.MULTILINE)
    assert targets == list(dict.fromkeys(shown)) and len(targets) == 5
    loaded = table.load("patients.csv", "outcome", leave_out=["id"])
    in_units = ran(UNDOING)["in_units"]
    rows = [in_units(example) for example in loaded.x_train.tolist()]
    original = {
        (row["age"], row["pressure"], row["colour"], row["smoker"])
        for row in pd.read_csv("patients.csv").to_dict("records")
    }
    assert len(rows) == 320
    assert {(round(row["age"]), round(row["pressure"], 1), row["colour"], row["smoker"]) for row in rows} <= original


def test_the_page_has_every_option() -> None:
    options = {name for name in vars(TableConfig()) if name not in ("path", "limit")}
    assert options <= set(re.findall(r"dataset\.(\w+)", PAGE)) and "dataset.limit" in PAGE


def test_limits_of_free_text_are_those_of_the_page() -> None:
    from mi_runner.datasets.table_columns import FEW_CATEGORIES, LONGEST, MOST_CATEGORIES

    (said,) = re.findall(
        r"more than (\d+) different values .* of more than (\d+) different ones.*\n.* (\d+) letters", PAGE
    )
    assert tuple(map(int, said)) == (FEW_CATEGORIES, MOST_CATEGORIES, LONGEST)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) == 6

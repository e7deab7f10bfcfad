"""Names in options stay as they are typed, though Hydra and YAML read some of them as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mi_runner.config import composition
from mi_runner.config.hydra_composition import composed_by_hydra
from mi_runner.config.registry import SCHEMAS
from mi_runner.config.text_values import text_keys, with_quotes
from mi_runner.sweeps.sweep_plan import combinations, read_command
from tests.conftest import Ended

WORDS = ["1.10", "1e5", "010", "1_000", "true", "False", "null", "-3", "1.0", "inf", "nan", "x/1.10", "0", "7", "Null"]

LISTS = [
    ("experiment=ablation", "experiment.targets"),
    ("experiment=clusters", "experiment.pruning_layers"),
    ("experiment=decoder", "experiment.sites"),
    ("experiment=iit", "experiment.variables"),
    ("experiment=iit", "experiment.site"),
    ("experiment=iit", "experiment.adversary"),
    ("experiment=das", "experiment.site"),
    ("experiment=probes", "experiment.sites"),
    ("experiment=probes", "experiment.variables"),
    ("model=external model.factory=a:b", "model.leaves"),
    ("dataset=logic", "dataset.functions"),
]

SINGLE = [
    ("experiment=clusters", "experiment.layer"),
    ("experiment=iit", "experiment.site"),
    ("experiment=ablation", "experiment.source"),
    ("model=external model.factory=a:b", "model.output"),
    ("training.regularizer=clusterability", "training.regularizer_layer"),
    ("seed=1", "checkpoint"),
    ("seed=1", "output_dir"),
]


def value(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize(("choices", "key"), LISTS)
def test_each_name_of_a_list_is_as_typed(choices: str, key: str) -> None:
    overrides = [*choices.split(), f"{key}=[{','.join(WORDS)}]"]
    assert list(map(str, value(composition.compose(overrides), key))) == WORDS
    assert list(map(str, value(composed_by_hydra(overrides), key))) == WORDS
    assert value(composition.compose([*choices.split(), f"{key}=['1.10',\"2.20\"]"]), key) == ["1.10", "2.20"]


@pytest.mark.parametrize(("choices", "key"), SINGLE)
def test_a_single_name_is_as_typed_and_null_is_none(choices: str, key: str) -> None:
    for word in ("1.10", "1e5", "010", "1_000", "true"):
        assert str(value(composition.compose([*choices.split(), f"{key}={word}"]), key)) == word
    if key not in ("output_dir", "experiment.source"):
        assert value(composition.compose([*choices.split(), f"{key}=null"]), key) is None


def test_nested_lists_and_what_is_no_name() -> None:
    config = composition.compose(["experiment=iit", "experiment.variables=[[1.10],[true,x]]", "experiment.size=2"])
    assert config.experiment.variables == [["1.10"], ["true", "x"]] and config.experiment.size == 2
    assert with_quotes(["training.epochs=3", "seed=7", "experiment.targets=[fc]", "experiment.places={a: 1.10}"]) == [
        *("training.epochs=3", "seed=7", "experiment.targets=[fc]", "experiment.places={a: 1.10}")
    ]
    quoted = with_quotes(["experiment.targets=[1.10]"])
    assert quoted == ["experiment.targets=['1.10']"] == with_quotes(quoted)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("1.10,fc,2.20", ["1.10", "fc", "2.20"]),
        ("choice(1.10,2.20)", ["1.10", "2.20"]),
        ("[1.10],[fc,1e5]", [["1.10"], ["fc", "1e5"]]),
    ],
)
def test_sweeps_over_names(typed: str, expected: list[Any]) -> None:
    command = read_command(["experiment=iit", f"experiment.site={typed}"])
    got = [composition.compose(list(job.values())).experiment.site for job in combinations(command)]
    assert got == expected


def test_names_in_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - ablation\n  - override /model: external\n  - _self_\n"
        'experiment:\n  targets: [1.10, 010, 1e5, true, null, fc, "2.20"]\n  repeats: 2\n'
        "model:\n  factory: a:b\n  leaves:\n    - 1.10\n    - 1_000\n  output: null\n  arguments: {width: 1.50}\n"
        "checkpoint: 1.10\n"
    )
    config = composition.compose([f"hydra.searchpath=['file://{tmp_path}']", "experiment=mine"])
    assert config.experiment.targets == ["1.10", "010", "1e5", "true", "null", "fc", "2.20"]
    assert config.model.leaves == ["1.10", "1_000"] and config.model.output is None
    assert config.checkpoint == "1.10" and config.experiment.repeats == 2 and config.model.arguments == {"width": 1.5}


def test_every_option_of_names_is_among_them() -> None:
    names = {"targets", "leaves", "sites", "site", "variables", "adversary", "layer", "pruning_layers", "functions"}
    found = {
        f"{group}.{name}"
        for group, choices in SCHEMAS.items()
        for schema in choices
        for name in schema.__dataclass_fields__
        if name in names
    }
    assert found <= text_keys() and len(found) == len(names)


NET = """
from torch import nn
def net():
    return nn.Sequential(nn.Sequential(*[nn.Linear(4, 4) for _ in range(11)]), nn.ReLU(), nn.Linear(4, 2))
"""


def test_a_site_that_looks_like_a_number(mi_run: Any) -> None:
    """The eleventh layer of the first block is 0.10, not 0.1, the second."""
    Path("numbered_of_tests.py").write_text(NET)
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(60, 4)), draw.integers(2, size=60)
    np.savez("data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    ended: Ended = mi_run(
        *("experiment=ablation", "dataset=arrays", "dataset.path=data.npz", "model=external", "report=false"),
        *("model.factory=numbered_of_tests:net", "training.epochs=1", "experiment.methods=[zero]"),
        "experiment.targets=[0.10,0.1]",
    )
    assert ended.status == 0, ended.err
    rows = (ended.folder / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["none", "0.10", "0.1"]
    assert ended.record["config"]["experiment.targets"] == ["0.10", "0.1"]


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("model.formula=(A & ~B) | (~A & B)", "(A & ~B) | (~A & B)"),
        ("model.formula=~A", "~A"),
        ("model.formula=A|B", "A|B"),
        ("model.formula='A ^ B'", "A ^ B"),
        ("model.formula=null", None),
    ],
)
def test_a_formula_needs_no_quotes_besides_the_shells(typed: str, read: str | None) -> None:
    config = composition.compose(["model=planted", "dataset=logic", typed])
    assert config.model.formula == read  # type: ignore[attr-defined]


def test_each_of_several_formulas_is_one_text() -> None:
    assert with_quotes(["model.formula=A & B, ~A"]) == ["model.formula='A & B','~A'"]

"""Every number that an option takes, at its ends and beyond: taken, or refused by the option's name before a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mi_runner.config import composition, options
from mi_runner.config.options import check_ranges, option, options_of, same
from mi_runner.config.registry import ENGINES, SCHEMAS
from mi_runner.config.run_schema import RunConfig
from mi_runner.config.training_schema import TrainingConfig
from mi_runner.errors import ConfigError
from mi_runner.machine import hardware
from mi_runner.progress import Progress
from mi_runner.runs import expectations, preparation
from mi_runner.runs.choices import load_dataset
from mi_runner.sweeps import sweep_plan
from tests.commands import of_name, small_options, write_data

HUGE = (
    "2147483648",
    "9223372036854775808",
    "-9223372036854775808",
    "1" + "0" * 400,
    "inf",
    "-inf",
    "nan",
    "1e400",
    '""',
)

NO_FLOAT = HUGE[3:]
"""Of these, those that no option of floats takes either."""


def numbers() -> Iterator[tuple[str, str, Any]]:
    """Yields the choice, the key and the field of every option that takes a number."""
    groups: dict[str, Any] = {**SCHEMAS, "training": (TrainingConfig,), "": (RunConfig,)}
    for group, choices in groups.items():
        for schema in choices:
            for item in fields(schema):
                if "int" in str(item.type) or "float" in str(item.type):
                    choice = f"{group}={schema.name}" if group in SCHEMAS else ""
                    yield choice, f"{group}.{item.name}".lstrip("."), item


NUMBERS = list(numbers())


def typed(item: Any, value: str) -> str:
    return f"[{value}]" if "list" in str(item.type) else value


def test_there_are_numbers_in_every_group() -> None:
    assert len(NUMBERS) > 80
    assert {key.partition(".")[0] for _, key, _ in NUMBERS} >= {"experiment", "dataset", "model", "training", "seed"}


@pytest.mark.parametrize(("choice", "key", "item"), NUMBERS, ids=[f"{choice}:{key}" for choice, key, _ in NUMBERS])
def test_a_number_that_no_run_could_have_is_refused_by_name(choice: str, key: str, item: Any) -> None:
    needed = [choice] if choice else []
    needed += small_options(choice.partition("=")[2]) if choice.startswith("dataset=") else []
    for value in HUGE if "int" in str(item.type) else NO_FLOAT:
        if (key, value) == ("seed", "2147483648"):
            continue
        with pytest.raises(ConfigError) as caught:
            composition.compose([*needed, f"{key}={typed(item, value)}"])
        text = str(caught.value)
        assert text.startswith(f"{key}=") and len(text) < 1500, (value[:30], text)
        assert "converted" not in text and "Traceback" not in text, text


@pytest.mark.parametrize("engine", [engine for engines in ENGINES.values() for engine in engines])
def test_the_numbers_of_engines(engine: type[Any]) -> None:
    group = "launcher" if engine in ENGINES["launcher"] else "sweeper"
    for item in fields(engine):
        if "int" not in str(item.type) and "float" not in str(item.type):
            continue
        for value in HUGE if "int" in str(item.type) else NO_FLOAT:
            if value == "2147483648" and (item.metadata["at_most"] or 0) > 2**31:
                continue  # a seed may be as large
            command = [f"hydra/{group}={engine.name}", f"hydra.{group}.{item.name}={value}"]
            with pytest.raises(ConfigError, match=f"hydra.{group}.{item.name}"):
                sweep_plan.read_command(command)


@pytest.fixture
def small_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.linspace(0, 1, 160).reshape(40, 4)
    write_data(x, np.arange(40) % 2)


@pytest.mark.parametrize(("choice", "key", "item"), NUMBERS, ids=[f"{choice}:{key}" for choice, key, _ in NUMBERS])
def test_the_largest_number_that_is_allowed_takes_no_memory_and_no_time_before_a_run(
    choice: str, key: str, item: Any, small_data: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands between the command and the folder: data, network, checks. A gigabyte is free."""
    monkeypatch.setattr(hardware, "free_memory", lambda: 10**9)
    if key == "threads":
        return  # a thousand threads would begin
    largest = item.metadata["at_most"] or item.metadata.get("below") or options.MOST
    if "int" not in str(item.type):
        largest = min(largest, 1e30) if largest != 1 else 0.999
    name = choice.partition("=")[2]
    if key.startswith("dataset"):
        needed = [choice, *small_options(name), "model=mlp"]
    elif key.startswith("experiment"):
        data = composition.compose([choice, *of_name("experiment", name).small]).dataset.name
        needed = [choice, f"dataset={data}", *small_options(data), "model=mlp", "model.hidden_sizes=[3,3]"]
    else:
        needed = [*([choice] if choice else []), "dataset=mod_add", *small_options("mod_add")]
    if key == "seeds":
        largest = 50  # each network is built before the run begins
    try:
        config = composition.compose([*needed, f"{key}={typed(item, str(largest))}"])
        data_set = load_dataset(config.dataset, seed=config.seed)
        preparation.prepare(config, data_set, expectations.parse(config.expect), progress=Progress())
    except ConfigError as error:
        assert " " in str(error)  # a sentence; anything else is a fault of this program


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["training.learning_rate=inf"], "training.learning_rate=inf: must be a finite number (the optimizer's step"),
        (
            ["training.batch_size=9223372036854775808"],
            "training.batch_size=9223372036854775808: must be at most 1000000000",
        ),
        (["threads=2147483648"], "threads=2147483648: must be at most 1024"),
        (["seeds=2", "seed=9223372036854775807"], "seed=9223372036854775807 seeds=2: the last seed would be 92233720"),
        (["seed=9223372036854775808"], "seed=9223372036854775808: must be at most 9223372036854775807"),
        (
            ["experiment=probes", "experiment.penalties=[1e-3,nan]"],
            "experiment.penalties=[0.001, nan]: must be a finite",
        ),
        (["dataset=ellipses", "dataset.threshold=nan"], "dataset.threshold=nan: must be a finite number"),
    ],
)
def test_texts_of_numbers_that_are_refused(overrides: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composition.compose(overrides)
    assert str(caught.value).startswith(text), caught.value


def test_the_largest_seeds_are_taken() -> None:
    assert composition.compose(["seed=9223372036854775806", "seeds=2"]).seed == 2**63 - 2
    assert composition.compose(["threads=1024"]).threads == 1024


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["dataset=mod_add", "dataset.modulus=1000", "dataset.train_size=1000000"], "dataset.train_size=1000000, "),
        (
            ["dataset=ellipses", "dataset.test_size=1000000"],
            "dataset.train_size=10000, dataset.test_size=1000000: the data",
        ),
        (["dataset=logic", "dataset.train_size=100000000"], "dataset.train_size=100000000: the data take"),
        (
            ["model=mlp", "model.hidden_sizes=[100000,100000]", "dataset=mod_add"],
            "model.hidden_sizes=[100000,100000]: ",
        ),
    ],
)
def test_what_takes_more_memory_than_is_free_is_not_made(
    overrides: list[str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "free_memory", lambda: 10**9)
    with pytest.raises(ConfigError) as caught:
        config = composition.compose(overrides)
        preparation.prepare(config, load_dataset(config.dataset, seed=0), [], progress=Progress())
    assert str(caught.value).startswith(text) and "1 GB are free" in str(caught.value)


def test_the_memory_that_data_take_is_about_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate is at least the size of the tensors, and no more than some times it."""
    said: list[float] = []
    monkeypatch.setattr(hardware, "lacking_memory", lambda n: said.append(n) or "")
    for dataset in ("mod_add", "ellipses", "logic"):
        config = composition.compose([f"dataset={dataset}"])
        loaded = load_dataset(config.dataset, seed=0)
        taken = 4 * (loaded.x_train.numel() + loaded.x_test.numel())
        assert taken <= said[-1] <= 20 * taken, dataset


@pytest.mark.parametrize("key", ["checkpoint", "resume", "training.regularizer_layer", "training.stop_loss", "seeds"])
@pytest.mark.parametrize("none", ["None", "none"])
def test_none_is_written_null(key: str, none: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}={none}: .*write {key}=null"):
        composition.compose([f"{key}={none}"])
    composition.compose([f"{key}=null"])


# --- options of methods ----------------------------------------------------------------------------------------------


class Way(Enum):
    near = "near"
    far = "far"


@dataclass(frozen=True)
class Walk:
    steps: int = option(3, "steps; None: any", at_least=1)
    way: str = option("far", "how far")
    sizes: tuple[int, ...] = option((1, 2), "of each step", at_most=9)


@dataclass
class WalkConfig:
    steps: int = same(Walk, "steps")
    long_way: Way = same(Walk, "way", Way)
    long_sizes: list[int] = same(Walk, "sizes", doc="other words")


def test_an_option_has_default_meaning_and_range_of_the_method() -> None:
    steps, way, sizes = fields(WalkConfig)
    assert (WalkConfig().steps, WalkConfig().long_way, WalkConfig().long_sizes) == (3, Way.far, [1, 2])
    assert (steps.metadata["doc"], steps.metadata["at_least"]) == ("steps; null: any", 1)
    assert (way.metadata["doc"], sizes.metadata["doc"], sizes.metadata["at_most"]) == ("how far", "other words", 9)
    with pytest.raises(ConfigError, match="steps=0: must be at least 1"):
        check_ranges(WalkConfig(steps=0))


def test_a_method_gets_the_values_of_a_config() -> None:
    config = WalkConfig(5, Way.near, [4])
    assert options_of(Walk, config) == Walk(steps=5)
    assert options_of(Walk, config, "long_") == Walk(way="near", sizes=(4,))

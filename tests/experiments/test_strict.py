"""experiment=iit with strictness: what it refuses, its table of effects, its figures in the summary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch

from mi_runner.config.experiments.das import DasConfig
from mi_runner.config.experiments.iit import OF_IIT, Control, Reading, Sources, Trained
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError
from mi_runner.experiments import Result
from mi_runner.experiments.iit import experiment as iit
from mi_runner.experiments.iit.strict import answer
from mi_runner.methods.alignment import Units
from mi_runner.methods.interchange import Pairs
from mi_runner.methods.strictness import effects
from mi_runner.models.mlp import MLP
from tests.conftest import Ended
from tests.iit_settings import setting, units
from tests.interchanges import TURN, Xor, aligned, bits

MULTI = {"variables": ["a", "b"], "sources": Sources.multi}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"train": Trained.rotation}, "no place of it can be emptied. Type experiment.train=both or"),
        ({"adversary": ["b"]}, "strictness=0.4 and experiment.adversary both add a loss: omit one"),
        ({"epochs": 0}, "experiment.epochs=0: nothing is trained. Type experiment.epochs=1 or more"),
        ({"size": 4, **MULTI}, "layers.0 has nothing besides the places of the variables. Type a smaller experiment.s"),
        (units(size=4, **MULTI), "layers.0 has nothing besides the places"),
        ({"strictness_sites": ["layers.9"]}, "^experiment.strictness_sites: no site is named 'layers.9'"),
        ({"strictness_sites": 3}, r"experiment.strictness_sites=3: name a site, or several as \[conv1,fc1\]"),
        ({"strictness": 0.0, "strictness_sites": ["layers.1"]}, r"strictness_sites=\['layers.1'\] is for strict train"),
        (
            {"strictness": 0.0, "strictness_reading": Reading.published},
            "experiment.strictness_reading=published is for strict training: add experiment.strictness=0.4",
        ),
    ],
)
def test_mistakes_are_found_before_training(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        iit.check(setting(MLP([4, 8, 2]), bits(), **{"variables": "a", "strictness": 0.4, **options}))


def test_das_names_the_experiment_that_trains_a_network() -> None:
    given = setting(MLP([4, 8, 2]), bits())
    with pytest.raises(ConfigError, match="Type experiment=iit"):
        iit.check(replace(given, config=DasConfig(variables="a", strictness=0.4)))


def strict(dataset: Dataset, **options: Any) -> Result:
    given = {"controls": [Control.shuffled_labels], "site": "first", "strictness": 0.4, "epochs": 2, **options}
    made = setting(Xor(TURN), dataset, **given)
    iit.check(made)
    return iit.run(made)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return bits()


@pytest.fixture(scope="module")
def found(dataset: Dataset) -> Result:
    return strict(dataset, **units(variables=["a"], strictness_sites=["second"], strictness_reading=Reading.published))


def test_the_effects_are_those_of_the_method(dataset: Dataset, found: Result) -> None:
    table = pd.DataFrame(found.tables["effects"])
    assert table["site"].tolist() == ["first"] * 2 + ["second"] * 3
    assert table["unit"].tolist() == ["1", "all", "0", "1", "all"]
    assert table["is_trained"].tolist() == [True, False, True, True, False]
    assert set(table["n_pairs"]) == {50} and table["effect"].between(0, 1).all()
    # Before the training they are those of the network as it was given.
    given = drawn_as(found, dataset)
    for column, model in (("effect_before", Xor(TURN)), ("effect", found.model)):
        assert model is not None
        own = effects(aligned(model, "first", Units((2,), [torch.tensor([0])])), dataset, given, ["first", "second"])
        assert table[column].tolist() == [one.share for one in own]


def drawn_as(found: Result, dataset: Dataset) -> Pairs:
    """Returns the test pairs of a result."""
    table = pd.DataFrame(found.tables["pairs"])
    base, source, labels = (
        torch.tensor(table[name].to_numpy()) for name in ("base", "source_a", "counterfactual_label")
    )
    return Pairs(base, source[:, None], labels, labels != dataset.y_test[base])


def test_the_summary_has_the_largest_effect_and_that_of_the_rest(found: Result) -> None:
    table = pd.DataFrame(found.tables["effects"])
    for column, phase in (("effect", ""), ("effect_before", "_before")):
        assert found.metrics[f"largest_effect{phase}"] == table[table["is_trained"]][column].max()
        assert found.metrics[f"rest_effect{phase}"] == table[column][1]
    assert found.metrics["largest_effect/a/first"] == found.metrics["largest_effect"]
    assert "Of the units that should carry nothing, none that is taken from a source alone changes" in found.answer
    assert set(iit.metric_names(setting(Xor(), bits(), **units(site="first", variables=["a"], strictness=1.0)))) <= {
        *found.metrics, *(f"iia/{control.name}" for control in OF_IIT)
    }  # fmt: skip


def test_the_history_has_the_strict_loss(found: Result) -> None:
    rows = pd.DataFrame(found.tables["history"])
    assert rows["strict_loss"].notna().sum() == (rows["step"] > 0).sum() > 0


def test_without_strictness_nothing_is_added(dataset: Dataset) -> None:
    plain = strict(dataset, strictness=0.0, **units(variables=["a"]))
    assert "effects" not in plain.tables and "should carry nothing" not in plain.answer
    assert not [name for name in plain.metrics if "effect" in name]
    assert "strict_loss" not in plain.tables["history"][-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["dataset=logic", "model=mlp", "experiment.sources=multi", "experiment.variables=[A,B]"],
        ["dataset=ellipses", "dataset.train_size=60", "dataset.test_size=40", "experiment.strictness_sites=[conv2]"],
        ["dataset=mnist", "dataset.limit=80", "experiment.sources=multi", "experiment.variables=[parity,half]"],
    ],
    ids=lambda arguments: arguments[0].partition("=")[2],
)
def test_the_data_sets_of_known_alignments(arguments: list[str], mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(
        *("experiment=iit", "training.epochs=1", "experiment.train_pairs=60", "experiment.test_pairs=50"),
        *("experiment.batch_size=20", "experiment.controls=[]", "experiment.strictness=0.4", *arguments),
    )
    assert ended.status == 0, ended.err
    table = pd.read_csv(ended.folder / "effects.csv")
    assert table["effect"].between(0, 1).all() and table["is_trained"].any()
    channels = {"conv1": 16, "conv2": 32, "conv3": 64, "fc1": 3}
    if "logic" not in arguments[0]:
        counts = table[table["unit"] != "all"]["site"].value_counts()
        assert {site: n for site, n in channels.items() if site in counts} == counts.to_dict()


def test_with_several_starts_no_unit_of_any_start_changes_more_than_the_answer_says() -> None:
    metrics = {"largest_effect": [0.1, 0.3], "largest_effect_before": [0.5, 0.4]}
    metrics |= {"rest_effect": [0.2, 0.4], "rest_effect_before": [0.6, 0.6]}
    text = answer(metrics, "layers.0")
    assert "changes more than 0.3 of the answers; before training 0.5" in text
    assert "together change 0.3; before 0.6" in text

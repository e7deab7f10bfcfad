"""The answers to each test example: those of the network, and those from which the tables are computed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from mi_runner.config.experiments.ablation import AblationConfig, Method
from mi_runner.config.experiments.train import TrainConfig
from mi_runner.datasets.outputs import Outputs
from mi_runner.experiments import Setting
from mi_runner.experiments.ablation import experiment as ablation
from mi_runner.experiments.common import predictions
from mi_runner.experiments.common.predictions import Answers, with_predictions
from mi_runner.experiments.train import experiment as train
from mi_runner.methods import ablation as ablating
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from mi_runner.training.options import TrainingOptions
from tests.conftest import REPOSITORY, Ended
from tests.small_data import classes, values

NAMES = ["target", "method", "repeat"]


def test_the_answers_of_an_ablation_give_its_table() -> None:
    torch.manual_seed(0)
    model, dataset = TwoLayerSkip(6, 3).eval(), classes(120)
    result = ablation.run(Setting(AblationConfig(), TrainingOptions(), model, dataset))
    answers, metrics = result.tables["predictions"], pd.DataFrame(result.tables["metrics"])
    assert list(answers) == [*NAMES, "example", "label", "answer", "logit_0", "logit_1", "logit_2"]
    assert result.keys["predictions"] == ("target", "method", "example") and "predictions" in result.parquet
    by_row = answers.assign(accuracy=answers["label"] == answers["answer"]).groupby(NAMES, observed=True, sort=False)
    joined = metrics.merge(by_row["accuracy"].mean().reset_index(), on=NAMES, suffixes=("", "_of_answers"))
    assert len(joined) == len(metrics) == 26 and len(answers) == 26 * 120
    assert joined["accuracy_of_answers"].tolist() == pytest.approx(joined["accuracy"].tolist())
    logits = answers[["logit_0", "logit_1", "logit_2"]].to_numpy()
    assert logits.dtype == np.float32 and (logits.argmax(1) == answers["answer"]).all()
    with torch.no_grad():
        relu = torch.relu(model.first(dataset.x_test))
        expected = model.last(dataset.x_test + relu.mean(0))
    of_mean = answers.query("target == 'relu' and method == 'mean'")
    assert of_mean["example"].tolist() == list(range(120)) and of_mean["label"].tolist() == dataset.y_test.tolist()
    assert torch.allclose(torch.tensor(logits[of_mean.index]), expected, atol=1e-5)


def test_of_too_many_answers_those_after_the_largest_drops_are_kept(
    monkeypatch: pytest.MonkeyPatch, warnings_in_log: list[str]
) -> None:
    torch.manual_seed(0)
    given = Setting(AblationConfig(methods=[Method.zero]), TrainingOptions(), TwoLayerSkip(6, 3).eval(), classes(50))
    monkeypatch.setattr(predictions, "MOST_NUMBERS", 3 * 50 * 7 + 10)
    said: list[str] = []
    monkeypatch.setattr(ablation.log, "info", said.append)
    result = ablation.run(given)
    rows = sorted(result.tables["metrics"][1:], key=lambda row: -row["accuracy_drop"])
    kept = list(dict.fromkeys(result.tables["predictions"]["target"]))
    assert set(kept) == {"none", rows[0]["target"], rows[1]["target"]}
    assert said == [
        "predictions.parquet has the answers of the intact network and the 2 of 5 targets with the largest drop: all "
        "would be too many"
    ]
    monkeypatch.setattr(ablating, "MOST_OUTPUTS", 6 * 50 * 3 - 1)
    assert set(ablation.run(given).tables["predictions"]["target"]) == {"none"}
    assert said[1].startswith("predictions.parquet has the answers of the intact network alone")


def test_values_are_rounded_as_in_the_confusion_and_several_have_no_table() -> None:
    outputs = torch.tensor([[0.4], [0.6], [2.5], [float("nan")]])
    table = predictions.table([Answers(torch.tensor([0.0, 1.0, 1.6, 0.0]), outputs)], kind=Outputs.values).frame
    assert list(table) == ["example", "label", "answer", "output"]
    assert table["label"].tolist() == [0, 1, 2, 0] and table["answer"].tolist() == [0, 1, 2, 0]
    assert table["output"].tolist() == pytest.approx([0.4, 0.6, 2.5, float("nan")], nan_ok=True)
    assert not len(predictions.table([Answers(torch.zeros(4, 2), torch.zeros(4, 2))], kind=Outputs.values))
    torch.manual_seed(0)
    given = Setting(TrainConfig(), TrainingOptions(), MLP([6, 4, 1]).eval(), values(30))
    result = train.run(given)
    written = result.tables["predictions"]
    assert (written["label"] == written["answer"]).mean() == pytest.approx(result.metrics["accuracy"])


def test_the_answers_of_many_networks_or_of_another_one() -> None:
    torch.manual_seed(0)
    first, second, other = (MLP([6, 4, 3]).eval() for _ in range(3))
    dataset = classes(30)
    given = Setting(TrainConfig(), TrainingOptions(), first, dataset, seed=4)
    members = (given, replace(given, model=second, dataset=classes(20, seed=1), seed=5))
    result = train.run(replace(given, members=members))
    table = with_predictions(result, replace(given, members=members)).tables["predictions"]
    assert table["seed"].tolist() == [4] * 30 + [5] * 20
    expected = [*first(dataset.x_test).argmax(1).tolist(), *second(classes(20, seed=1).x_test).argmax(1).tolist()]
    assert table["answer"].tolist() == expected
    # A network that the experiment changed is the one that the folder keeps.
    changed = replace(result, model=other)
    assert with_predictions(changed, given).tables["predictions"]["answer"].tolist() == [
        *other(dataset.x_test).argmax(1).tolist()
    ]


def test_a_run_of_another_experiment_has_the_answers_of_its_network(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run(
        "experiment=decoder", "dataset=mod_add", "dataset.train_size=60", "dataset.test_size=60", "training.epochs=1",
        "experiment.epochs=1", "experiment.min_target_accuracy=0", "seed=78",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    table = pd.read_parquet(ended.folder / "predictions.parquet")
    assert ended.record["keys"]["predictions"] == ["example"] and len(table) == 60
    again = mi_run("experiment=train", "dataset=mod_add", f"checkpoint={ended.record['checkpoint']['path']}", "seed=78",
                   "dataset.train_size=60", "dataset.test_size=60", *_model(ended))  # fmt: skip
    assert again.status == 0, again.err
    pd.testing.assert_frame_equal(table, pd.read_parquet(again.folder / "predictions.parquet"))
    assert again.record["metrics"]["accuracy"] == pytest.approx((table["label"] == table["answer"]).mean())


def _model(ended: Ended) -> list[str]:
    """The network's options of a run, as words of a command."""
    config = yaml.safe_load((ended.folder / "config.yaml").read_text())["model"]
    return [f"model.{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in config.items()]


def test_the_program_on_the_page_compares_two_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (REPOSITORY / "docs/train.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(program, "train.md", "exec"), names)
    both = pd.crosstab(*names["is_correct"])
    assert str(both) in capsys.readouterr().out
    for run, axis in ((names["first"], 1), (names["second"], 0)):
        share = both.sum(axis=axis).get(True, 0) / both.to_numpy().sum()
        assert share == pytest.approx(run.metrics["accuracy"])

"""One network written as one logit, two logits, a sigmoid and a softmax has the same answers in every experiment."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from torch import nn

from mi_runner.datasets.outputs import Outputs
from mi_runner.training.evaluation import loss_of_classes

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, form="logit"):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 4)
        self.c = nn.Linear(4, 1 if form in ("logit", "sigmoid", "squeezed") else 2)
        self.form = form

    def forward(self, x):
        z = self.c(self.b(self.a(x).tanh()).tanh())
        match self.form:
            case "sigmoid":
                return z.sigmoid()
            case "by_hand":
                return z.exp() / z.exp().sum(1, keepdim=True)
            case "softmax":
                return z.softmax(-1)
            case "log_softmax":
                return z.log_softmax(-1)
            case "squeezed":
                return z.squeeze(1)
        return z
"""

KINDS = {
    "logit": "logit",
    "squeezed": "logit",
    "sigmoid": "probability",
    "logits": "logits",
    "log_softmax": "logits",
    "softmax": "probabilities",
    "by_hand": "probabilities",
}
"""Form of the network → what its outputs are."""


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Writes data, networks of every form and their weights; returns test inputs, labels and P(second class)."""
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {"variables": ["left", "right"], "mechanism": [[0, 1], [1, 0]]}
    for split, n in (("train", 80), ("test", 60)):
        bits = draw.integers(2, size=(n, 2))
        arrays[f"x_{split}"] = np.c_[bits - 0.5, draw.normal(size=(n, 4))].astype("float32")
        arrays[f"y_{split}"] = bits[:, 0] ^ bits[:, 1]
        arrays[f"variables_{split}"] = bits
    np.savez(tmp_path / "data.npz", **arrays)
    (tmp_path / "nets_of_outputs.py").write_text(NET)
    torch.manual_seed(1)
    a, b, c = nn.Linear(6, 8), nn.Linear(8, 4), nn.Linear(4, 1)
    one = {f"{name}.{part}": t for name, m in zip("abc", (a, b, c), strict=True) for part, t in m.state_dict().items()}
    one["c.weight"], one["c.bias"] = 6 * one["c.weight"], one["c.bias"] + 1.5
    two = one | {name: torch.cat([-one[name] / 2, one[name] / 2]) for name in ("c.weight", "c.bias")}
    torch.save(one, tmp_path / "one.pt")
    torch.save(two, tmp_path / "two.pt")
    x = torch.from_numpy(arrays["x_test"])
    z = torch.tanh(torch.tanh(x @ one["a.weight"].T + one["a.bias"]) @ one["b.weight"].T + one["b.bias"])
    logit = (z @ one["c.weight"].T + one["c.bias"])[:, 0]
    return arrays["x_test"], arrays["y_test"], torch.sigmoid(logit.double()).numpy()


def typed(form: str) -> list[str]:
    weights = "one" if KINDS[form] in ("logit", "probability") else "two"
    return [
        "dataset=arrays",
        "dataset.path=data.npz",
        "model=external",
        "model.factory=nets_of_outputs:Net",
        f"model.arguments={{form: {form}}}",
        f"checkpoint={weights}.pt",
        "report=false",
    ]


def run(mi_run: Callable[..., Any], form: str, experiment: str, *options: str) -> Path:
    ended = mi_run(f"experiment={experiment}", *typed(form), *options)
    assert ended.status == 0, ended.err
    return Path(ended.out.splitlines()[-1])


def test_accuracy_loss_and_confusion_are_those_of_sklearn(mi_run: Callable[..., Any], inputs: Any) -> None:
    _, y, p = inputs
    answers = (p > 0.5).astype(int)
    assert 0.2 < (answers == y).mean() < 0.8 and 0 < answers.mean() < 1
    for form, kind in KINDS.items():
        folder = run(mi_run, form, "train")
        test = pd.read_csv(folder / "metrics.csv").set_index(["split", "class"]).loc[("test", "all")]
        assert test["accuracy"] == pytest.approx(accuracy_score(y, answers))
        assert test["loss"] == pytest.approx(log_loss(y, p), rel=1e-5)
        counts = pd.read_csv(folder / "confusion.csv").pivot(index="label", columns="predicted", values="count")
        assert (counts.fillna(0).to_numpy() == confusion_matrix(y, answers)).all()
        rows = pd.read_parquet(folder / "predictions.parquet")
        assert (rows["answer"] == answers).all()
        names = {"logit": ["logit"], "probability": ["probability"], "logits": ["logit_0", "logit_1"]}
        assert list(rows)[3:] == names.get(kind, ["probability_0", "probability_1"])
        assert json.loads((folder / "run.json").read_text())["metrics"]["accuracy"] == pytest.approx(
            (answers == y).mean()
        )


EXPERIMENTS: dict[str, Sequence[str]] = {
    "ablation": ("experiment.methods=[zero,mean,resample]", "experiment.targets=[a,tanh,b,tanh_1,x/a]"),
    "probes": ("experiment.sites=[a,tanh]", "experiment.folds=3"),
    "das": ("experiment.site=b", "experiment.size=2", "experiment.epochs=1", "experiment.test_pairs=100"),
    "iit": ("experiment.site=b", "experiment.size=2", "experiment.epochs=1", "experiment.learning_rate=1e-9"),
    "decoder": ("experiment.epochs=2", "experiment.min_target_accuracy=0", "experiment.sites=[tanh,tanh_1]"),
}


@pytest.mark.parametrize("outputs", ["auto", "said"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_form_has_the_same_tables(mi_run: Callable[..., Any], inputs: Any, name: str, outputs: str) -> None:
    """What is said of the outputs is what is found."""
    tables = {}
    for form, kind in KINDS.items():
        said = [f"model.outputs={'probabilities' if kind == 'probability' else kind}"] if outputs == "said" else []
        folder = run(mi_run, form, name, *EXPERIMENTS[name], *said)
        table = pd.read_csv(folder / "metrics.csv").drop(columns="seconds", errors="ignore")
        of_control = "features" if "features" in table else "control"
        if of_control in table:  # drawn anew, and at the site c, networks of one and of two outputs differ
            table = table[~table[of_control].isin(["untrained", "other_site"])].reset_index(drop=True)
        tables[form] = table
    first = tables.pop("logit")
    for table in tables.values():
        pd.testing.assert_frame_equal(table, first, check_exact=False, rtol=1e-4, atol=1e-5)


def test_weights_of_a_logit_are_judged_by_its_sign_where_the_target_is_a_number(
    mi_run: Callable[..., Any], inputs: Any
) -> None:
    """Rounding the logit would give another accuracy."""
    _, y, p = inputs
    rounded = np.round(np.log(p / (1 - p)))
    assert abs((rounded == y).mean() - (y == (p > 0.5)).mean()) > 0.1
    for said in ([], ["model.outputs=logit"]):
        ended = mi_run("experiment=train", *typed("logit"), "dataset.target=value", *said)
        assert "the network's outputs are a logit: above 0 the answer is the second class" in ended.err
        folder = Path(ended.out.splitlines()[-1])
        metrics = json.loads((folder / "run.json").read_text())["metrics"]
        assert metrics["accuracy"] == pytest.approx(accuracy_score(y, p > 0.5))
        assert metrics["loss"] == pytest.approx(log_loss(y, p), rel=1e-5)
    ended = mi_run("experiment=train", *typed("logit"), "dataset.target=value", "model.outputs=values")
    metrics = json.loads((Path(ended.out.splitlines()[-1]) / "run.json").read_text())["metrics"]
    assert metrics["accuracy"] == pytest.approx((rounded == y).mean())
    assert "type model.outputs=logit" in ended.err  # a doubt, with its numbers


def test_one_output_trained_by_bce_is_a_logit(mi_run: Callable[..., Any], inputs: Any) -> None:
    """Training with it is training with torch's BCE with logits."""
    own = [word for word in typed("logit") if "checkpoint" not in word]
    options = ("training.epochs=2", "training.batch_size=80", "training.optimizer=sgd", "training.learning_rate=0.5")
    losses = {}
    for target in ("class", "value"):
        ended = mi_run("experiment=train", *own, f"dataset.target={target}", "training.loss=bce", *options)
        assert ended.status == 0, ended.err
        history = pd.read_csv(Path(ended.out.splitlines()[-1]) / "history.csv")
        losses[target] = history["loss"].tolist()
    assert losses["class"] == losses["value"] and losses["class"][1] < losses["class"][0]
    ended = mi_run("experiment=train", *own, "dataset.target=value", *options)
    assert "a logit" not in ended.err.splitlines()[0]  # mse: a value


def test_two_outputs_that_are_said_to_be_one_logit_are_refused(mi_run: Callable[..., Any], inputs: Any) -> None:
    ended = mi_run("experiment=train", *typed("logits"), "model.outputs=logit")
    assert ended.status == 2 and "returns (2, 2) for 2 examples; the data set needs (2, 1)" in ended.err
    assert not Path("outputs").exists()


def test_networks_of_many_seeds_have_the_kind_of_the_first(mi_run: Callable[..., Any], inputs: Any) -> None:
    own = [word for word in typed("squeezed") if "checkpoint" not in word]
    ended = mi_run("experiment=train", *own, "seeds=2", "training.epochs=1")
    assert ended.status == 0, ended.err
    folder = Path(ended.out.splitlines()[-1])
    rows = pd.read_parquet(folder / "predictions.parquet")
    assert list(rows)[-1] == "logit" and (rows["answer"] == (rows["logit"] > 0)).all()


def test_one_probability_that_saturates_has_a_finite_loss() -> None:
    """Half the resolution of float32 below 1 is what is known of the other class."""
    z = torch.tensor([[2.0], [18.0], [60.0]])
    targets = torch.tensor([0, 0, 0])
    losses = [
        loss_of_classes(kind)(out, targets, reduction="none").tolist()
        for kind, out in ((Outputs.logit, z), (Outputs.probability, z.sigmoid()))
    ]
    assert losses[0] == pytest.approx([2.126928, 18.0, 60.0])
    assert losses[1] == pytest.approx([2.126928, 17.3287, 17.3287], rel=1e-4)

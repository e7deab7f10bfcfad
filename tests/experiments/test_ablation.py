"""The ablation table of networks small enough to check, and against ablating by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mi_runner.config.experiments.ablation import AblationConfig, Estimate, Granularity, Method
from mi_runner.datasets import Dataset
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError, ConfigError
from mi_runner.experiments import Result, Setting
from mi_runner.experiments.ablation import experiment as ablation
from mi_runner.graph.interventions import Run
from mi_runner.methods import ablation as ablating
from mi_runner.methods.replacements import Running
from mi_runner.methods.residuals import ablate_beyond
from mi_runner.models.batches import outputs_of
from mi_runner.models.mlp import MLP
from mi_runner.models.two_layer_skip import TwoLayerSkip
from mi_runner.training.options import TrainingOptions
from tests.conftest import Ended
from tests.networks import X, micro
from tests.small_data import classes, values


def setting(model: nn.Module, dataset: Dataset, **options: Any) -> Setting:
    return Setting(AblationConfig(**options), TrainingOptions(), model.eval(), dataset)


def row(result: Result, target: str, method: str, repeat: int = 1) -> dict[str, Any]:
    (found,) = [
        dict(row)
        for row in result.tables["metrics"]
        if (row["target"], row["method"], row["repeat"]) == (target, method, repeat)
    ]
    return found


def skip(seed: int = 0) -> TwoLayerSkip:
    torch.manual_seed(seed)
    return TwoLayerSkip(6, 3)


def test_the_table_of_the_micro_network() -> None:
    # Outputs (18, −4) and (−1, −7): both examples are of class 0, and are given as 0 and 1.
    dataset = Dataset("arrays", X, torch.tensor([0, 1]), X, torch.tensor([0, 1]), ("0", "1"))
    result = ablation.run(setting(micro(), dataset, methods=[Method.zero, Method.mean]))
    rows = result.tables["metrics"]
    assert rows[0] | {"loss": None} == {
        **{"target": "none", "role": "none", "kind": "none", "method": "none", "repeat": 1, "accuracy": 0.5},
        **{"accuracy_low": pytest.approx(0.0945, abs=1e-4), "accuracy_high": pytest.approx(0.9055, abs=1e-4)},
        **{"loss": None, "accuracy_drop": 0.0, "loss_increase": 0.0},
    }
    assert [(row["target"], row["kind"]) for row in rows[1::2]] == [
        *(("first", "site"), ("relu", "site"), ("add", "site"), ("x/first", "edge"), ("x/add", "edge")),
    ]
    # add := 0 gives (−1, 0) for both: class 1.
    assert row(result, "add", "zero")["accuracy"] == 0.5
    expected = functional.cross_entropy(torch.tensor([[-1.0, 0.0]] * 2), torch.tensor([0, 1]))
    assert row(result, "add", "zero")["loss"] == pytest.approx(float(expected))
    # The mean of relu over both is (0, 2): add = (1, 4) and (−3, 3) → (12, −2) and (5, −9)
    expected = functional.cross_entropy(torch.tensor([[12.0, -2.0], [5.0, -9.0]]), torch.tensor([0, 1]))
    assert row(result, "relu", "mean")["loss"] == pytest.approx(float(expected))
    assert result.metrics["loss/relu/mean"] == pytest.approx(float(expected))


def test_every_method_against_ablating_by_hand() -> None:
    model, dataset = skip(), classes(2500)
    result = ablation.run(setting(model, dataset))
    x, y = dataset.x_test, dataset.y_test
    with torch.no_grad():
        relu = torch.relu(model.first(x))
        by_hand = {
            ("relu", "zero"): model.last(x),
            ("relu", "mean"): model.last(x + relu.mean(0)),
            ("x/add", "zero"): model.last(relu),
            ("x/add", "mean"): model.last(x.mean(0) + relu),
            ("x/first", "zero"): model.last(x + torch.relu(model.first.bias)),
            ("first", "mean"): model.last(x + torch.relu(model.first(x).mean(0))),
        }
    for (target, method), outputs in by_hand.items():
        found = row(result, target, method)
        assert found["loss"] == pytest.approx(float(functional.cross_entropy(outputs, y)), abs=1e-5)
        assert found["accuracy"] == pytest.approx(float((outputs.argmax(1) == y).float().mean()), abs=1 / 2500)
        assert found["accuracy_drop"] == pytest.approx(result.metrics["accuracy"] - found["accuracy"])


def test_resampling_keeps_the_distribution_of_a_site_and_repeats_differ() -> None:
    model, dataset = skip(), classes(300)
    result = ablation.run(setting(model, dataset, methods=[Method.resample], targets=["add"], repeats=4))
    losses = [row(result, "add", "resample", repeat)["loss"] for repeat in (1, 2, 3, 4)]
    assert len(set(losses)) == 4
    # Resampling what the output is computed from is pairing the outputs with other examples' labels.
    with torch.no_grad():
        outputs = model(dataset.x_test)
    pairs = torch.stack([functional.cross_entropy(outputs, dataset.y_test.roll(k)) for k in range(1, 300)])
    assert abs(sum(losses) / 4 - float(pairs.mean())) < 4 * float(pairs.std())
    assert result.metrics["loss/add/resample"] == pytest.approx(sum(losses) / 4)


def test_the_same_seed_gives_the_same_table_and_another_target_changes_no_row() -> None:
    model, dataset = skip(), classes(100)
    alone = ablation.run(setting(model, dataset, targets=["x/add"]))
    again = ablation.run(setting(model, dataset, targets=["relu", "x/add"]))
    other = ablation.run(replace(setting(model, dataset, targets=["x/add"]), seed=1))
    assert alone.tables["metrics"][1:] == again.tables["metrics"][6:]
    assert row(alone, "x/add", "resample") != row(other, "x/add", "resample")
    assert row(alone, "x/add", "mean") == row(other, "x/add", "mean")


def test_means_and_samples_can_come_from_the_training_set() -> None:
    model, dataset = skip(), classes(1200)
    result = ablation.run(setting(model, dataset, targets=["relu"], source="train"))
    with torch.no_grad():
        mean = torch.relu(model.first(dataset.x_train)).mean(0)
        expected = functional.cross_entropy(model.last(dataset.x_test + mean), dataset.y_test)
    assert row(result, "relu", "mean")["loss"] == pytest.approx(float(expected), abs=1e-5)
    assert row(result, "relu", "zero") == row(ablation.run(setting(model, dataset, targets=["relu"])), "relu", "zero")


def test_means_and_samples_can_come_from_data_of_ones_own(tmp_path: Path) -> None:
    model, dataset = skip(), classes(60)
    own = torch.randn(1, 6).expand(9, 6)  # one example, nine times: it is drawn whatever the draw
    np.savez(tmp_path / "own.npz", x=own.double().numpy(), y=np.arange(9) % 3)
    given = setting(model, dataset, targets=["relu"], source=str(tmp_path / "own.npz"))
    ablation.check(given)
    result = ablation.run(given)
    with torch.no_grad():
        outputs = model.last(dataset.x_test + torch.relu(model.first(own[:1])))
    expected = float(functional.cross_entropy(outputs, dataset.y_test))
    for method, repeat in (("mean", 1), ("resample", 1), ("resample", 3)):
        assert row(result, "relu", method, repeat)["loss"] == pytest.approx(expected, abs=1e-5)
    # With classes: an example of class 2 gets the value of a source of class 2, of which there is one kind.
    by_class = torch.randn(3, 6)
    np.savez(tmp_path / "classes.npz", x=by_class[[0, 0, 1, 2]].numpy(), y=np.array([0, 0, 1, 2], dtype=np.uint8))
    given = setting(model, dataset, targets=["relu"], source=str(tmp_path / "classes.npz"), agree="same")
    ablation.check(given)
    agreeing = ablation.run(given)
    with torch.no_grad():
        outputs = model.last(dataset.x_test + torch.relu(model.first(by_class[dataset.y_test])))
    expected = float(functional.cross_entropy(outputs, dataset.y_test))
    assert row(agreeing, "relu", "resample")["loss"] == pytest.approx(expected, abs=1e-5)
    assert agreeing.tables["scrubbing"][-1]["loss"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("saved", "agree", "text"),
    [
        ({"x": np.zeros((3, 5))}, "any", r"x has the shape \(3, 5\); it must be \(M, 6\), as the inputs of arrays"),
        ({"x": np.zeros((0, 6))}, "any", r"x has the shape \(0, 6\)"),
        ({"x": np.full((3, 6), np.nan)}, "any", "x \\(3, 6\\) has NaN or infinite values"),
        ({"x": np.full((3, 6), 1e300)}, "any", "x has values that are too large for float32"),
        ({"inputs": np.zeros((3, 6))}, "any", "x missing; it has inputs"),
        ({"x": np.zeros((3, 6)), "y": np.zeros(2, int)}, "any", r"y is int64 \(2,\); it must be the class of each x"),
        ({"x": np.zeros((3, 6)), "y": np.array([0, 1, 3])}, "any", "y has classes of 0 to 3; arrays has 0 to 2"),
        ({"x": np.zeros((3, 6))}, "same", "agree=same compares classes, and .*own.npz has none: add the array y to it"),
        ({"x": np.zeros((2, 6)), "y": np.array([0, 1])}, "same", "agree: an example of class 2 has no source example"),
        (None, "any", "no such file"),
    ],
)
def test_data_of_ones_own_that_do_not_fit(tmp_path: Path, saved: dict[str, Any] | None, agree: str, text: str) -> None:
    path = tmp_path / "own.npz"
    if saved is not None:
        np.savez(path, **saved)
    with pytest.raises(ConfigError, match=rf"^experiment\.(source={path}: )?{text}"):
        ablation.check(setting(skip(), classes(), source=str(path), agree=agree))


def test_images_of_ones_own_may_be_flat_or_not(mi_run: Callable[..., Ended]) -> None:
    small = ("experiment=ablation", "dataset.limit=60", "training.epochs=1", "experiment.targets=[relu]")
    images = np.random.default_rng(0).normal(size=(20, 28, 28))
    np.savez("images.npz", x=images)
    np.savez("flat.npz", x=images.reshape(20, 784))
    tables = []
    for name in ("images.npz", "flat.npz"):
        ended = mi_run(*small, f"experiment.source={name}")
        assert ended.status == 0 and f"the 20 examples of experiment.source={name}" in ended.err
        tables.append((ended.folder / "metrics.csv").read_text())
    assert tables[0] == tables[1]
    np.savez("wrong.npz", x=images[:, :27])
    refused = mi_run(*small, "experiment.source=wrong.npz")
    assert refused.status == 2 and not refused.out
    assert "it must be (M, 784) or (M, 1, 28, 28) or (M, 28, 28), as the inputs of mnist" in refused.err
    refused = mi_run(*small, "experiment.source=tset")
    assert refused.status == 2 and refused.err.splitlines()[-1].endswith(
        "experiment.source=tset: type test, train, or the path of an .npz file with x (and y)."
    )


@pytest.mark.parametrize("memory", [0, 100_000])
def test_values_that_are_not_kept_give_the_same_table(memory: int) -> None:
    dataset = classes(1200)  # whose values take 1200 · 27 · 4 bytes
    graph = setting(skip(), dataset).graph()
    kept = ablating.ablate(graph, dataset.x_test, dataset.y_test)
    computed = ablating.ablate(graph, dataset.x_test, dataset.y_test, running=Running(memory))
    for one, other in zip(kept.rows, computed.rows, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("target", ["relu", "x/first", "x/first/relu/add"])
def test_each_unit_by_itself_equals_ablating_it_alone(target: str) -> None:
    model, dataset = skip(), classes(1100)
    result = ablation.run(
        setting(model, dataset, targets=[target], granularity=Granularity.unit, methods=[Method.zero, Method.mean])
    )
    units = result.tables["units"]
    assert [(row["method"], row["unit"]) for row in units] == [(m, u) for m in ("zero", "mean") for u in range(6)]
    with torch.no_grad():
        for found in units:
            unit, x = found["unit"], dataset.x_test.clone()
            if target == "relu":
                relu = torch.relu(model.first(x))
                relu[:, unit] = relu[:, unit].mean() if found["method"] == "mean" else 0
            else:
                changed = x.clone()
                changed[:, unit] = changed[:, unit].mean() if found["method"] == "mean" else 0
                relu = torch.relu(model.first(changed))
            outputs = model.last(x + relu)
            assert found["loss"] == pytest.approx(float(functional.cross_entropy(outputs, dataset.y_test)), abs=1e-5)
            assert found["accuracy"] == pytest.approx(float((outputs.argmax(1) == dataset.y_test).double().mean()))


def test_contributions_add_up_to_the_logits() -> None:
    model, dataset = skip(), classes(200)
    table = {row["summand"]: row for row in ablation.run(setting(model, dataset)).tables["contributions"]}
    assert list(table) == ["x", "relu", "bias", "sum"]
    with torch.no_grad():
        logits = dataset.x_test @ model.last.weight.T
    right = (logits.argmax(1) == dataset.y_test).double().mean()
    assert table["x"]["accuracy"] == pytest.approx(float(right))
    of_label = logits.gather(1, dataset.y_test[:, None]).squeeze(1) - logits.mean(1)
    assert table["x"]["label_logit"] == pytest.approx(float(of_label.mean()), abs=1e-5)
    parts = sum(table[name]["label_logit"] for name in ("x", "relu", "bias"))
    assert table["sum"]["label_logit"] == pytest.approx(parts, abs=1e-5)
    assert table["sum"]["max_error"] < 1e-5
    assert "contributions" not in ablation.run(setting(MLP([6, 4, 3]), dataset)).tables


def test_confusion_counts_every_example_once_for_every_row() -> None:
    result = ablation.run(setting(skip(), classes(150)))
    counted: dict[tuple[Any, ...], int] = {}
    for line in result.tables["confusion"]:
        key = (line["target"], line["method"], line["repeat"])
        counted[key] = counted.get(key, 0) + line["count"]
    keys = [(line["target"], line["method"], line["repeat"]) for line in result.tables["metrics"]]
    assert counted == dict.fromkeys(keys, 150)


def test_a_network_of_values() -> None:
    torch.manual_seed(0)
    model, dataset = MLP([6, 4, 1], nn.Tanh), values(80)
    result = ablation.run(setting(model, dataset))
    with torch.no_grad():
        hidden = model.layers[1](model.layers[0](dataset.x_test))
        outputs = model.layers[2](hidden.mean(0).expand(80, -1)).squeeze(1)
    found = row(result, "layers.1", "mean")
    assert found["loss"] == pytest.approx(float(((outputs - dataset.y_test) ** 2).mean()), abs=1e-6)
    assert found["accuracy"] == pytest.approx(float((outputs.round() == dataset.y_test).double().mean()))


def test_the_figures_are_drawn() -> None:
    result = ablation.run(setting(skip(), classes(60), granularity=Granularity.unit))
    assert set(result.figures) == {"accuracy", "confusion", "units"}


@pytest.mark.parametrize(
    ("model", "options", "text"),
    [
        (TwoLayerSkip(6, 3), {"targets": ["rleu"]}, "Did you mean relu"),
        (TwoLayerSkip(6, 3), {"targets": ["x/relu"]}, "Allowed: x/first, x/add"),
        (TwoLayerSkip(6, 3), {"targets": []}, "name at least one target"),
        (TwoLayerSkip(6, 3), {"targets": ["relu", "relu"]}, r"^experiment.targets=\['relu', 'relu'\]: .* each once"),
        (TwoLayerSkip(6, 3), {"methods": []}, r"^experiment.methods=\[\]: name at least one method"),
        (TwoLayerSkip(6, 3), {"methods": [Method.zero] * 2}, r"^experiment.methods=\[zero, zero\]: .* each once"),
        (TwoLayerSkip(6, 3), {"examples": [40]}, r"^experiment.examples=\[40\]: name 1 to 20 .*, from 0 to 39\."),
        (TwoLayerSkip(6, 3), {"examples": []}, r"^experiment.examples=\[\]: name 1 to 20"),
        (MLP([6, 3]), {}, "no inner site to ablate, only x, layers.0"),
    ],
)
def test_mistakes_are_found_before_training(model: nn.Module, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ablation.check(setting(model, classes(), **options))


class Mixed(nn.Module):
    """Values of every kind: of each example, integers, a parameter, and one value for all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(6, 6))
        self.first, self.embedding, self.last = nn.Linear(6, 4), nn.Embedding(4, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        which = self.first(x @ self.w.t()).argmax(1)
        mean = x.mean(0, keepdim=True)
        return self.last(self.embedding(which) + self.embedding(which - which) + (x - mean) * mean)


def test_only_what_has_numbers_for_each_example_is_ablated() -> None:
    torch.manual_seed(0)
    given = setting(Mixed(), classes(30))
    ablation.check(given)
    found = list(dict.fromkeys(row["target"] for row in ablation.run(given).tables["metrics"][1:]))
    assert found == [
        *("matmul", "first", "embedding", "embedding_1", "add", "sub_1", "mul", "add_1"),
        *("x/matmul", "x/mean", "x/sub_1"),
    ]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("argmax", "argmax can't be ablated, because argmax holds integers. Sites that can: x, matmul, first, "),
        ("argmax/embedding", "argmax/embedding can't be ablated, because argmax holds integers"),
        ("t", r"t can't be ablated, because t has no value for each example \(its first dimension is not the batch\)"),
        ("mean/sub_1", "mean/sub_1 can't be ablated, because mean has no value for each example"),
    ],
)
def test_a_target_that_can_not_be_ablated_is_refused(target: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ablation.check(setting(Mixed(), classes(), targets=[target]))


def test_zeros_have_the_dtype_of_their_site() -> None:
    class Doubles(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(6, 3).double()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(x.double() * 2).float()

    given = setting(Doubles(), classes(), targets=["mul"], methods=[Method.zero])
    assert given.graph().site("mul").dtype == torch.float64  # `last` takes no other
    assert ablation.run(given).tables["metrics"][1]["target"] == "mul"


def test_units_of_a_site_that_is_one_number() -> None:
    class Total(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :3] * x.sum(1).unsqueeze(1)

    given = setting(Total(), classes(), targets=["sum"], granularity=Granularity.unit, methods=[Method.zero])
    ablation.check(given)
    (unit,) = ablation.run(given).tables["units"]
    assert unit["loss"] == pytest.approx(float(torch.log(torch.tensor(3.0))))  # all logits are 0


class OfTwoExamples(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 3), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x.view(2, 6)))


def test_an_ablation_that_fails_is_found_before_training() -> None:
    with pytest.raises(ConfigError, match=r"the network can't be run on 3 examples: RuntimeError: .* size 18"):
        ablation.check(setting(OfTwoExamples(), classes()))


def test_an_ablation_of_units_that_fails_is_found_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any) -> None:
        raise TypeError("no variants")

    monkeypatch.setattr(Run, "variants", broken)
    ablation.check(setting(skip(), classes()))
    with pytest.raises(ConfigError, match=r"first can't be ablated: TypeError: no variants\."):
        ablation.check(setting(skip(), classes(), granularity=Granularity.unit))


def test_checking_changes_neither_the_model_nor_the_global_draws() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
    given = replace(setting(model, classes(), granularity=Granularity.unit), model=model.train())
    before = torch.random.get_rng_state()
    ablation.check(given)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(submodule.training for submodule in model.modules())
    assert model[1].running_mean.tolist() == [0] * 4 and model[1].num_batches_tracked == 0


def test_too_many_units_are_refused_with_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "MOST_UNIT_RUNS", 100)
    with pytest.raises(ConfigError, match="asks for 150 runs .* more than 100: name fewer"):
        ablation.check(setting(skip(), classes(), granularity=Granularity.unit))  # 5 targets × 6 units × 5 draws
    ablation.check(setting(skip(), classes(), granularity=Granularity.unit, repeats=1, methods=[Method.zero]))


# --- listing, levels, splits, sources --------------------------------------------------------------------------------


def test_the_list_of_sites_edges_and_paths_trains_nothing() -> None:
    given = replace(setting(skip(), classes(), list_only=True), training=TrainingOptions(epochs=0))
    ablation.check(given)
    result = ablation.run(given)
    kinds = {row["target"]: (row["kind"], row["of"], row["shape"], row["reads"]) for row in result.tables["metrics"]}
    assert kinds["first"] == ("site", "Linear", "6", "x") and kinds["add"] == ("site", "function", "6", "x, relu")
    assert kinds["first.weight"] == ("site", "parameter", "6×6", "none")
    assert kinds["x/add"][0] == "edge" and kinds["x/first/relu/add/last"][0] == "path"
    assert result.metrics == {"sites": 5, "edges": 5, "paths": 2}
    assert set(ablation.metric_names(given)) == set(result.metrics)


def test_a_list_needs_no_word_about_training(mi_run: Callable[..., Ended]) -> None:
    arguments = ("experiment=ablation", "dataset=mod_add", "dataset.train_size=64", "model=skip")
    listed = mi_run(*arguments, "experiment.list_only=true", "training.epochs=7")
    assert listed.status == 0 and "epoch 1/" not in listed.err, listed.err
    untrained = mi_run(*arguments, "training.epochs=0")
    weights = [ended.record["checkpoint"]["sha256"] for ended in (listed, untrained)]
    assert weights[0] == weights[1] is not None


class Deep(nn.Module):
    """Twelve blocks in three groups: 60 inner sites and forked edges."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.groups = nn.ModuleList([nn.Sequential(*[Block() for _ in range(4)]) for _ in range(3)])
        self.last = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for group in self.groups:
            x = group(x)
        return self.last(x)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.linear(x))


def test_of_a_large_network_submodules_are_ablated_first() -> None:
    torch.manual_seed(0)
    model, dataset = Deep(), classes(50)

    def targets(**options: Any) -> list[str]:
        given = setting(model, dataset, methods=[Method.zero], **options)
        ablation.check(given)
        result = ablation.run(given)
        assert set(ablation.metric_names(given)) == set(result.metrics)
        return list(dict.fromkeys(row["target"] for row in result.tables["metrics"][1:]))

    blocks = [f"groups.{group}.{block}" for group in range(3) for block in range(4)]
    assert targets(depth="2") == ["first", *(f"groups.{group}" for group in range(3))]
    assert targets(depth="3") == ["first", *blocks] and targets(depth="1") == ["first"]
    assert targets() == ["first", *blocks]
    assert len(targets(depth="all")) == 61
    with pytest.raises(ConfigError, match=r"^experiment.depth=deep: type auto, all, or a number from 1"):
        targets(depth="deep")


def test_the_largest_drops_are_shown_and_all_are_written() -> None:
    torch.manual_seed(0)
    result = ablation.run(setting(Deep(), classes(50), depth="all", methods=[Method.zero]))
    assert "metrics" not in result.shown and "largest" in result.shown and len(result.tables["metrics"]) == 62
    shown = result.tables["largest"]
    drops = [row["accuracy_drop"] for row in result.tables["metrics"][1:]]
    assert shown[0]["target"] == "none" and len(shown) == 21
    assert [row["accuracy_drop"] for row in shown[1:]] == sorted(drops, reverse=True)[:20]


def test_what_sites_do_beyond_their_mean_and_beyond_a_linear_function() -> None:
    model, dataset = skip(), classes(300)
    for estimate in (Estimate.mean, Estimate.linear):
        result = ablation.run(setting(model, dataset, split=estimate, targets=["relu", "x/add"], methods=[Method.zero]))
        rows = {row["target"]: row for row in result.tables["splits"]}
        assert list(rows) == ["relu[estimate]", "relu[residual]"]
        with torch.no_grad():
            x, relu = dataset.x_test, torch.relu(model.first(dataset.x_test))
            if estimate is Estimate.mean:
                estimated = relu.mean(0).expand_as(relu)
            else:
                features = torch.cat([x, torch.ones(300, 1)], 1)
                estimated = features @ torch.linalg.lstsq(features, relu).solution
            for target, left in (("relu[residual]", estimated), ("relu[estimate]", relu - estimated)):
                expected = functional.cross_entropy(model.last(x + left), dataset.y_test)
                assert rows[target]["loss"] == pytest.approx(float(expected), abs=1e-4), (estimate, target)
    with pytest.raises(ConfigError, match=r"^experiment.split: a linear fit of relu reads 6 numbers, so it needs more"):
        ablation.run(setting(model, classes(5), split=Estimate.linear, targets=["relu"]))
    with pytest.raises(ArgumentError, match=r"^estimate: no estimate is named 'linar'. Did you mean linear\?"):
        ablate_beyond(model, dataset.x_test, dataset.y_test, estimate="linar")  # type: ignore[arg-type]


def test_sources_that_agree_have_a_table_of_their_own() -> None:
    model, dataset = skip(), classes(90)
    given = setting(model, dataset, agree="same", targets=["x/add", "relu"])
    ablation.check(given)
    rows = ablation.run(given).tables["scrubbing"]
    assert [(row["agree"], row["repeat"]) for row in rows] == [(a, r) for a in ("any", "same") for r in (1, 2, 3)]
    assert all(row["loss_recovered"] == 0 for row in rows[:3]) and all(row["loss_recovered"] > 0.3 for row in rows[3:])
    of_class = ablation.run(setting(model, dataset, agree="2", targets=["relu"], source="train"))
    assert {row["agree"] for row in of_class.tables["scrubbing"]} == {"any", "2"}
    for options, text in (
        ({"agree": "smae"}, r"^experiment.agree: no class is named 'smae'. Did you mean same\?"),
        ({"agree": "same", "methods": [Method.zero]}, "is about the method resample: add it to experiment.methods"),
    ):
        with pytest.raises(ConfigError, match=text):
            ablation.check(setting(model, dataset, **options))
    with pytest.raises(ConfigError, match="experiment.agree=same compares classes: use dataset.target=class"):
        ablation.check(setting(MLP([6, 4, 1]), values(), agree="same"))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool])
def test_integers_of_any_dtype_are_classes_or_values(dtype: torch.dtype) -> None:
    """By the cross entropy of classes, or by the squared error of the same numbers as values."""
    data, network = classes(30), MLP([6, 4, 3]).eval()
    y = (data.y_test % 2).to(dtype)
    (intact, *_) = ablating.ablate(network, data.x_test, y, targets=["layers.1"], methods=["zero"]).rows
    outputs = outputs_of(network, data.x_test)
    assert intact["loss"] == pytest.approx(float(functional.cross_entropy(outputs, y.long())), rel=1e-5)
    of_value = MLP([6, 4, 1]).eval()
    for targets in (y, y.float()):
        rows = ablating.ablate(
            of_value,
            data.x_test,
            targets,
            targets=["layers.1"],
            methods=["zero"],
            scoring=ablating.Scoring(kind=Outputs.values),
        ).rows
        errors = (outputs_of(of_value, data.x_test)[:, 0].double() - y.double()).square()
        assert rows[0]["loss"] == pytest.approx(float(errors.mean()), rel=1e-5)


def test_parameters_and_patterns_are_targets() -> None:
    given = setting(skip(), classes(60), targets=["first.*", "*/add"])
    ablation.check(given)
    result = ablation.run(given)
    assert set(ablation.metric_names(given)) == set(result.metrics)
    assert "loss/first.weight/mean" in result.metrics and "loss/first.weight/resample" not in result.metrics
    assert "loss/relu/add/resample" in result.metrics

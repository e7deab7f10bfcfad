"""Linear probes: against least squares by hand, planted codes, and what a run of the experiment writes."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from mi_runner.config.experiments.probes import ProbeControl, ProbesConfig, Split
from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import CausalModel, WeightedSum
from mi_runner.errors import ArgumentError, ConfigError, RunFailed
from mi_runner.experiments import Setting, TrainedNetwork
from mi_runner.experiments.probes import experiment as probes
from mi_runner.methods import probes as methods
from mi_runner.methods.probes import Target, classes_of, concise, probe, ridge, score, split_folds
from mi_runner.tables.intervals import wilson_interval
from mi_runner.training.options import TrainingOptions
from tests.conftest import REPOSITORY, Ended
from tests.small_data import classes


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(x: Tensor, y: Tensor, new: Tensor, c: float) -> Tensor:
    """Ridge regression as ordinary least squares with rows added for the penalty, in numpy."""
    x, y, new = (tensor.double().numpy() for tensor in (x, y, new))
    centred = x - x.mean(0)
    penalty = c * np.square(centred).sum() / len(x)
    rows = np.vstack([centred, np.sqrt(penalty) * np.eye(x.shape[1])])
    targets = np.vstack([y - y.mean(0), np.zeros((x.shape[1], y.shape[1]))])
    weights = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return torch.from_numpy((new - x.mean(0)) @ weights + y.mean(0))


@pytest.mark.parametrize("d", [3, 30, 31, 32, 33, 90])
def test_each_fold_is_predicted_by_ridge_regression_on_the_others(d: int) -> None:
    """With fewer units than examples, as many, and more; 41 examples, so that the folds differ in size."""
    x = 5 + torch.randn(41, d, generator=draw())
    targets = {"a": torch.randn(41, 1, generator=draw(1)), "b": 3 + torch.randn(41, 2, generator=draw(2))}
    folds = split_folds(41, 4, generator=draw(3))
    assert sorted(map(len, folds)) == [10, 10, 10, 11]
    for c in (1e-4, 0.3):
        found = probe(x, targets, folds, penalties=[c], generator=draw(4))
        for fold in folds:
            others = torch.ones(41, dtype=torch.bool)
            others[fold] = False
            for name, y in targets.items():
                wanted = by_hand(x[others], y[others], x[fold], c)
                assert torch.allclose(found.predictions[name][fold], wanted, atol=1e-6)
    assert found.penalties == {"a": (0.3,) * 4, "b": (0.3,) * 4}


@pytest.mark.parametrize("d", [6, 50])
def test_coefficients_predictions_and_r2_are_those_of_scikit_learn(d: int) -> None:
    """With fewer units than examples, and more."""
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    x = 5 + torch.randn(40, d, generator=draw())
    y = (x[:, :2] + torch.randn(40, 2, generator=draw(1))).double()
    folds, c = split_folds(40, 4, generator=draw(2)), 0.05
    held_out = probe(x, {"a": y[:, :1], "b": y[:, 1:]}, folds, penalties=[c], generator=draw(3))
    found = {name: score(Target(y[:, k], None), held_out.predictions[name], folds) for k, name in enumerate("ab")}
    for number, fold in enumerate(folds):
        others = torch.cat([other for other in folds if other is not fold])
        fitted, targets = x[others].double().numpy(), y[others].numpy()
        penalty = c * np.square(fitted - fitted.mean(0)).sum() / len(fitted)
        theirs = Ridge(alpha=penalty).fit(fitted, targets)
        # What a linear function makes of zero is its bias; what it makes of a unit vector besides is a coefficient.
        new = torch.cat([torch.eye(d), torch.zeros(1, d)]).double()
        *coefficients, bias = ridge(x[others].double(), y[others], new).predictions(c)
        assert np.allclose(bias, theirs.intercept_) and np.allclose(torch.stack(coefficients) - bias, theirs.coef_.T)
        predictions = theirs.predict(x[fold].double().numpy())
        for k, name in enumerate("ab"):
            assert np.allclose(held_out.predictions[name][fold, 0], predictions[:, k])
            assert found[name].folds[number] == pytest.approx(r2_score(y[fold, k], predictions[:, k]))


def test_classes_are_predicted_as_by_scikit_learn() -> None:
    from sklearn.linear_model import RidgeClassifier

    x = torch.randn(90, 5, generator=draw())
    values = (x[:, 0] + x[:, 1] > 0).double() + (x[:, 2] > 0.5).double()
    target, folds, c = Target(values, classes_of(values)), split_folds(90, 3, generator=draw(1)), 0.02
    held_out = probe(x, {"a": target.columns}, folds, penalties=[c], generator=draw(2))
    for number, fold in enumerate(folds):
        others = torch.cat([other for other in folds if other is not fold])
        fitted = x[others].double().numpy()
        penalty = c * np.square(fitted - fitted.mean(0)).sum() / len(fitted)
        theirs = RidgeClassifier(alpha=penalty).fit(fitted, values[others].numpy())
        held = x[fold].double().numpy()
        assert held_out.predictions["a"][fold].argmax(1).tolist() == theirs.predict(held).astype(int).tolist()
        accuracy = theirs.score(held, values[fold].numpy())
        assert score(target, held_out.predictions["a"], folds).folds[number] == pytest.approx(accuracy)
        assert 0.5 < accuracy < 1


def test_the_two_gram_matrices_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, targets = torch.randn(50, 20, generator=draw()), {"a": torch.randn(50, 1, generator=draw(1))}
    folds = split_folds(50, 5, generator=draw(2))
    units = probe(x, targets, folds, penalties=[0.01], generator=draw())
    monkeypatch.setattr(methods, "_of_units", methods._of_examples)
    examples = probe(x, targets, folds, penalties=[0.01], generator=draw())
    assert torch.allclose(units.predictions["a"], examples.predictions["a"], atol=1e-9)


def test_products_in_blocks_are_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "BLOCK", 3)
    x = torch.randn(10, 4, generator=draw(), dtype=torch.float64)
    assert torch.allclose(methods._products(x), x @ x.T)


def test_the_penalty_is_chosen_on_training_examples_that_are_set_aside() -> None:
    """Few noisy examples want a large penalty, an exact code a small one; held-out examples choose nothing."""
    x = torch.randn(60, 20, generator=draw())
    exact = x[:, :1].double()
    noise = torch.randn(60, 1, generator=draw(1))
    folds = split_folds(60, 3, generator=draw(2))
    grid = [1.0, 1e-6, 1e-2]
    found = probe(x, {"exact": exact, "noise": noise}, folds, penalties=grid, generator=draw(3))
    assert set(found.penalties["noise"]) == {1.0} and set(found.penalties["exact"]) == {1e-6}
    spoiled = noise.clone()
    spoiled[folds[0]] = 1e3 * torch.randn(20, 1, generator=draw(5))
    other = probe(x, {"exact": exact, "noise": spoiled}, folds, penalties=grid, generator=draw(3))
    assert torch.allclose(other.predictions["noise"][folds[0]], found.predictions["noise"][folds[0]])
    assert other.penalties["noise"][0] == found.penalties["noise"][0]


def test_features_of_few_dimensions_are_rotated_into_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "SAMPLED", 20)
    low = torch.randn(60, 5, generator=draw(), dtype=torch.float64) @ torch.randn(5, 50, generator=draw(1)).double() + 7
    small = concise(low, generator=draw())
    assert small.shape == (60, 5)
    centred = low - low.mean(0)
    assert torch.allclose(small @ small.T, centred @ centred.T)
    full = torch.randn(60, 50, generator=draw())
    assert concise(full, generator=draw()) is full
    # Two examples outside of the span of the others are added to those that span it.
    hidden = low.clone()
    hidden[torch.randperm(60, generator=draw())[30:32]] += torch.randn(2, 50, generator=draw(2)).double()
    wider = concise(hidden, generator=draw())
    assert wider.shape == (60, 7)
    centred = hidden - hidden.mean(0)
    assert torch.allclose(wider @ wider.T, centred @ centred.T)
    targets = {"a": torch.randn(60, 1, generator=draw(3))}
    folds = split_folds(60, 4, generator=draw(4))
    found = probe(low, targets, folds, penalties=[0.1], generator=draw())
    monkeypatch.setattr(methods, "concise", lambda features, *, generator: features)
    assert torch.allclose(
        found.predictions["a"], probe(low, targets, folds, penalties=[0.1], generator=draw()).predictions["a"]
    )


def test_how_far_outside_of_a_span_examples_may_be_does_not_depend_on_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "SAMPLED", 20)
    low = torch.randn(60, 5, generator=draw(), dtype=torch.float64) @ torch.randn(5, 50, generator=draw(1)).double()
    outside = torch.zeros(60, 50, dtype=torch.float64)
    outside[torch.randperm(60, generator=draw())[30:32]] = torch.randn(2, 50, generator=draw(2)).double()
    share = float(outside.square().sum() / low.square().sum())
    for mean in (0, 1000):
        for of_squares, n_columns in ((1e-9, 7), (1e-13, 5)):  # the bound is 1e-11
            features = low + mean + outside * math.sqrt(of_squares / share)
            assert concise(features, generator=draw()).shape == (60, n_columns)


def test_single_precision_is_enough_for_the_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes of rotated float32 features, far from zero and of very different sizes, with the smallest penalty."""
    monkeypatch.setattr(methods, "SAMPLED", 200)
    sizes = torch.logspace(0, -2, 12)
    code = torch.randn(500, 12, generator=draw()) * sizes
    wide = code @ torch.randn(12, 400, generator=draw(1)) + 3
    assert concise(wide, generator=draw()).shape == (500, 12)
    targets = {"a": code[:, 8:9] + 1e-3 * torch.randn(500, 1, generator=draw(2))}
    folds = split_folds(500, 3, generator=draw(3))
    rotated = probe(wide, targets, folds, penalties=[1e-6], generator=draw()).predictions["a"]
    monkeypatch.setattr(methods, "concise", lambda features, *, generator: features)
    whole = probe(wide, targets, folds, penalties=[1e-6], generator=draw()).predictions["a"]
    assert float((rotated - whole).square().sum() / whole.square().sum()) < 1e-6
    assert float((rotated - targets["a"]).square().sum() / targets["a"].square().sum()) < 0.1


def test_what_is_drawn_next_does_not_depend_on_the_search_of_a_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "SAMPLED", 20)
    after = []
    for n_directions in (4, 16):
        monkeypatch.setattr(methods, "DIRECTIONS", n_directions)
        generator = draw()
        concise(torch.randn(60, 50, generator=draw()), generator=generator)
        after.append(torch.rand(3, generator=generator))
    assert torch.equal(*after)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"features": torch.full((9, 2), math.nan)}, "features have values that are not finite"),
        ({"targets": {"a": torch.full((9, 1), math.inf)}}, "targets have values that are not finite"),
        ({"targets": {"a": torch.zeros(8, 1)}}, "targets have 8 rows, features 9"),
        ({"targets": {}}, "targets: give at least one"),
        ({"targets": {"a": torch.zeros(9)}}, r"targets\['a'\] of shape \(9,\): give \(N, K\)"),
        ({"targets": {"a": torch.zeros(9, 1), "b": torch.zeros(8, 1)}}, r"targets\['b'\] of shape \(8, 1\): give"),
        ({"penalties": []}, r"penalties=\[\]: give at least one number"),
        ({"penalties": [1.0, -1.0]}, r"penalties=\[1.0, -1.0\]: give at least one number, each above 0"),
        ({"folds": [torch.arange(9)]}, "give at least two"),
        ({"folds": [torch.arange(8), torch.arange(1)]}, "each of the 9 examples in one of them"),
        ({"folds": [torch.arange(6), torch.arange(6, 9)]}, "9 examples in 2 folds: a fold needs at least 4"),
    ],
)
def test_mistakes_are_errors(change: dict[str, Any], text: str) -> None:
    given = {"features": torch.zeros(9, 2), "targets": {"a": torch.zeros(9, 1)}, "folds": torch.arange(9).split(3)}
    with pytest.raises(ValueError, match=text):
        probe(**{**given, **change}, generator=draw())


def test_more_folds_than_examples_are_an_error() -> None:
    assert [len(fold) for fold in split_folds(3, 3, generator=draw())] == [1, 1, 1]
    for n_folds in (1, 4):
        with pytest.raises(ArgumentError, match=rf"^n_folds={n_folds}: 3 examples: give at least 2, and at most one"):
            split_folds(3, n_folds, generator=draw())


def test_a_site_that_never_varies_predicts_the_mean() -> None:
    y = torch.arange(12.0)[:, None]
    folds = torch.arange(12).split(4)
    found = probe(torch.ones(12, 3), {"a": y}, folds, generator=draw())
    assert torch.allclose(found.predictions["a"][:4], y[4:].mean().double())


# --- scores ----------------------------------------------------------------------------------------------------------


def test_few_integers_are_classes() -> None:
    assert classes_of(torch.tensor([2.0, 0.0, 2.0])) == (0.0, 2.0)
    assert classes_of(torch.tensor([0.5, 1.0])) is None
    assert classes_of(torch.arange(21.0)) is None and len(classes_of(torch.arange(20.0)) or ()) == 20


def test_r2_by_hand() -> None:
    target = Target(torch.tensor([1.0, 2.0, 3.0, 4.0, 6.0]).double(), None)
    folds = [torch.tensor([0, 1]), torch.tensor([2, 3, 4])]
    found = score(target, torch.tensor([[1.0], [1.0], [3.0], [5.0], [6.0]]).double(), folds)
    # Squared errors 0, 1; 0, 1, 0. About the folds' means 1.5 and 13/3: 0.5 and 14/3.
    assert found.folds == pytest.approx((1 - 1 / 0.5, 1 - 1 / (14 / 3)))
    assert found.score == pytest.approx(1 - 2 / (0.5 + 14 / 3))
    assert found.low < found.score < found.high <= 1
    # The delta method, with the standard deviation of a sample: n − 1.
    residual, total = [0, 1, 0, 1, 0], [0.25, 0.25, 16 / 9, 1 / 9, 25 / 9]
    ratio = sum(residual) / sum(total)
    sd = statistics.stdev([r - ratio * t for r, t in zip(residual, total, strict=True)])
    error = 1.959963984540054 * sd / (sum(total) / 5) / math.sqrt(5)
    assert found.low == pytest.approx(found.score - error) and found.high == pytest.approx(min(1, found.score + error))
    constant = score(Target(torch.ones(5).double(), None), torch.ones(5, 1).double(), folds)
    assert math.isnan(constant.score) and math.isnan(constant.low)


def test_the_interval_of_r2_has_the_true_value_in_95_of_100_samples() -> None:
    inside, true = 0, 1 - 0.25 / 1.25
    for seed in range(400):
        signal, noise = torch.randn(2, 300, generator=draw(seed), dtype=torch.float64)
        found = score(Target(signal + noise / 2, None), signal[:, None], torch.arange(300).split(150))
        inside += found.low <= true <= found.high
    assert 0.92 <= inside / 400 <= 0.97


def test_accuracy_of_classes() -> None:
    target = Target(torch.tensor([0.0, 2.0, 2.0, 5.0]).double(), (0.0, 2.0, 5.0))
    assert target.columns.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    predictions = torch.tensor([[0.9, 0.1, 0], [0.2, 0.5, 0.1], [0.7, 0.1, 0.1], [0, 0, 0.1]])
    found = score(target, predictions, [torch.tensor([0, 1]), torch.tensor([2, 3])])
    assert found.score == 0.75 and found.folds == (1.0, 0.5)
    assert (found.low, found.high) == wilson_interval(3, 4)


@pytest.mark.parametrize("values", [[0, 0, 1, 1, 0, 1], [0, 1, 2, 2, 2, 0, 1, 2, 5, 5], [0, 0, 0, 5]])
def test_chance_is_that_of_a_dummy_of_scikit_learn_that_is_fitted_to_the_other_folds(values: list[float]) -> None:
    """Of three examples of each of two classes, in two folds, always answering the commonest is right on two of six."""
    from sklearn.dummy import DummyClassifier

    y = np.array(values, dtype=float)
    target = Target(torch.from_numpy(y), tuple(np.unique(y)))
    folds = torch.arange(len(y)).tensor_split(2)
    n_correct = 0
    for fold in folds:
        others = np.setdiff1d(np.arange(len(y)), fold)
        dummy = DummyClassifier(strategy="most_frequent").fit(others[:, None], y[others])
        n_correct += (dummy.predict(fold[:, None].numpy()) == y[fold]).sum()
    assert target.chance(folds) == n_correct / len(y)
    assert Target(target.values, None).chance(folds) == 0


# --- the experiment on planted codes ---------------------------------------------------------------------------------


class Planted(nn.Module):
    """`mixed` turns the input, whose first units are the variables; `squared` has the square of one of them alone."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed, self.last = nn.Linear(6, 6), nn.Linear(7, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.mixed(x)
        squared = x[:, :1] ** 2
        return self.last(torch.cat([hidden, squared], 1))


def planted(n: int = 300) -> Dataset:
    x = torch.randn(2 * n, 6, generator=draw())
    values = torch.stack([x[:, 0], x[:, 1], (x[:, 2] > 0).float()], 1).double()
    mechanism = WeightedSum((1.0, 1.0, 1.0), 0.5, classes=False)
    model = CausalModel(("p", "q", "side"), values[:n], values[n:], mechanism)
    y = mechanism(values)
    return Dataset("planted", x[:n], y[:n], x[n:], y[n:], None, causal_model=model)


def setting(**options: Any) -> Setting[ProbesConfig]:
    torch.manual_seed(0)
    networks = {"untrained": TrainedNetwork(Planted().eval())}
    return Setting(ProbesConfig(**options), TrainingOptions(), Planted().eval(), planted(), networks=networks)


def test_a_linear_code_is_read_and_a_square_is_not() -> None:
    given = setting(sites=["mixed", "pow"], variables=[["p"], ["q"], ["side"], ["p", "q"]])
    probes.check(given)
    result = probes.run(given)
    rows = {(row["site"], row["variables"], row["control"]): row for row in result.tables["metrics"]}
    for name in ("p", "q", "p+q"):
        assert rows["mixed", name, "none"]["r2"] > 0.9999 and rows["mixed", name, "untrained"]["r2"] > 0.9999
        assert rows["x", name, "input"]["r2"] > 0.9999
        assert rows["mixed", name, "shuffled"]["r2"] < 0.02
        assert rows["pow", name, "none"]["r2"] < 0.05
    assert rows["mixed", "side", "none"]["accuracy"] > 0.95 and "r2" in rows["mixed", "side", "none"]
    assert rows["mixed", "side", "none"]["r2"] is None and 0.4 < rows["mixed", "side", "none"]["chance"] < 0.6
    for key in (("mixed", "p"), ("mixed", "side")):
        measure = "r2" if key[1] == "p" else "accuracy"
        selectivity = rows[(*key, "none")][measure] - rows[(*key, "shuffled")][measure]
        assert rows[(*key, "none")]["selectivity"] == selectivity
    assert list(result.metrics) == probes.metric_names(given)
    assert result.metrics["r2/p/mixed"] == rows["mixed", "p", "none"]["r2"]
    folds = pd.DataFrame(result.tables["folds"])
    assert len(folds) == 5 * len(rows) and set(folds.groupby("fold")["n"].first()) == {60}
    overview = {(row["site"], row["variables"]): row for row in result.tables["overview"]}
    assert overview["pow", "p"]["input"] == rows["x", "p", "input"]["r2"]
    assert overview["pow", "p"]["untrained"] == rows["pow", "p", "untrained"]["r2"]
    assert probes.cost(given) == {"probes": (2 * 3 + 1) * 4 * 5}


def test_all_sets_of_three_variables_and_of_more_each_and_the_sum() -> None:
    given = setting(controls=[])
    names = list(probes._targets(given))
    assert names == ["p", "q", "side", "p+q", "p+side", "q+side", "p+q+side"]
    assert probes._sites(given, given.graph()) == ["mixed"]  # the layers with weights but the last
    model = given.dataset.causal_model
    assert model is not None
    four = CausalModel(
        ("p", "q", "r", "s"), model.values_train[:, [0, 1, 2, 0]], model.values_test[:, [0, 1, 2, 0]], model.mechanism
    )
    object.__setattr__(given.dataset, "causal_model", four)
    assert list(probes._targets(given)) == ["p", "q", "r", "s", "p+q+r+s"]


def test_a_vector_is_in_no_set_and_can_not_be_read() -> None:
    given = setting(controls=[])
    model = given.dataset.causal_model
    assert model is not None
    vectors = CausalModel(
        ("p", "side", "both"),
        model.values_train[:, [0, 2, 0, 1]],
        model.values_test[:, [0, 2, 0, 1]],
        model.mechanism,
        widths=(1, 1, 2),
    )
    object.__setattr__(given.dataset, "causal_model", vectors)
    targets = probes._targets(given)
    assert list(targets) == ["p", "side", "p+side"]
    assert torch.equal(targets["side"].values, vectors.values_train[:, 1])
    wanted = "both is a vector of 2 numbers, and experiment=probes reads one number. Those that are one: p, side."
    with pytest.raises(ConfigError, match=wanted):
        probes._targets(replace(given, config=replace(given.config, variables=[["p", "both"]])))


def test_sites_one_by_one_where_there_is_no_room_for_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = setting(sites=["mixed", "pow"], controls=[])
    together = probes.run(given).tables["metrics"]
    monkeypatch.setattr(probes, "MEMORY", 1)
    assert probes.run(given).tables["metrics"] == together


def test_test_examples_and_a_few_of_them() -> None:
    given = setting(controls=[], variables="p", source=Split.test, examples=50)
    result = probes.run(given)
    assert {row["n"] for row in result.tables["metrics"]} == {50}
    x, values = probes._examples(given)
    assert torch.equal(x, given.dataset.x_test[:50]) and torch.equal(values[:, 0].float(), x[:, 0])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"variables": ["z"]}, "^experiment.variables: no variable is named 'z'. Allowed: p, q, side"),
        ({"variables": [["p"], ["p"]]}, "name each set once"),
        ({"sites": ["nowhere"]}, "^experiment.sites: no site is named 'nowhere'"),
        ({"sites": []}, r"experiment.sites=\[\]: name at least one site"),
        ({"sites": ["mixed", "mixed"]}, "each once"),
        ({"penalties": []}, r"experiment.penalties=\[\]: give at least one"),
        ({"controls": [ProbeControl.input] * 2}, "name each control once"),
        ({"examples": 10, "folds": 11}, "experiment.folds=11: 10 examples are too few"),
    ],
)
def test_options_that_are_mistakes(options: dict[str, Any], text: str) -> None:
    given = setting(**options)
    with pytest.raises(ConfigError, match=text):
        probes.check(given)


def test_data_without_variables_say_which_have_some() -> None:
    given = Setting(ProbesConfig(), TrainingOptions(), nn.Linear(6, 3).eval(), classes())
    with pytest.raises(ConfigError, match="dataset=arrays has no variables to read.* Those with a model: .*ellipses"):
        probes.check(given)


def test_a_gram_matrix_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "MOST_GRAM", 5)
    with pytest.raises(ConfigError, match="mixed has 6 units, .* Type experiment.examples=5 or less"):
        probes.check(setting())


def test_a_network_that_is_not_finite_fails_the_run() -> None:
    given = setting(controls=[])
    with torch.no_grad():
        given.model.mixed.weight.fill_(math.inf)
    with pytest.raises(RunFailed, match=r"the values of mixed .* are infinite or NaN for 300 of 300 examples"):
        probes.run(given)


def test_the_program_of_the_page_runs() -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "docs/probes.md").read_text(), re.M | re.S)
    exec(program, {})


@pytest.mark.drawn
@pytest.mark.parametrize(
    ("arguments", "measure"),
    [
        (["dataset.train_size=60", "dataset.test_size=40"], "r2"),
        (["dataset=mod_add", "model=mlp", "dataset.train_size=60", "dataset.test_size=40"], "accuracy"),
    ],
)
def test_a_run(arguments: list[str], measure: str, mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("experiment=probes", *arguments, "training.epochs=1", f'expect={{{measure}: "<=1"}}')
    assert ended.status == 0, ended.err
    table = pd.read_csv(ended.folder / "metrics.csv")
    assert set(table["control"]) == {"none", "shuffled", "untrained", "input"}
    assert measure in table and ({"r2", "accuracy"} - {measure}).isdisjoint(table)
    assert (ended.folder / "figures/probes.png").is_file()
    assert ("repeat another one" in ended.err) == (measure == "accuracy")


def test_along_training_a_sweep_trains_each_epoch_once(mi_run: Callable[..., Ended]) -> None:
    small = ["dataset=mod_add", "model=mlp", "dataset.train_size=40", "dataset.test_size=40", "experiment.controls=[]"]
    ended = mi_run(
        "-m", "experiment=probes", *small, "training.epochs=range(0,4)", "training.keep_epochs=true", "seed=7"
    )
    assert ended.status == 0, ended.err
    table = pd.read_csv(ended.folder / "sweep.csv")
    assert sorted(set(table["training.epochs"])) == [0, 1, 2, 3]
    logs = [(ended.folder / str(job) / "run.log").read_text() for job in range(4)]
    assert [log.count("test loss") for log in logs] == [0, 1, 1, 1]
    assert (ended.folder / "figures/sweep.png").is_file()
    alone = mi_run("experiment=probes", *small, "training.epochs=3", "seed=7")
    assert "test loss" not in alone.err  # the same network, from the store
    assert pd.read_csv(alone.folder / "metrics.csv")["accuracy"].tolist() == (
        table[table["training.epochs"] == 3]["accuracy"].tolist()
    )
    refused = mi_run("dataset=mod_add", "seeds=2", "training.keep_epochs=true")
    assert refused.status == 2 and "keep_epochs=true keeps the epochs of a network" in refused.err

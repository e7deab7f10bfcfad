"""Equality: labels and swaps by a plain loop and by hand, the recipe's proportions, the published network's presets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
import torch

from mi_runner.config import composition
from mi_runner.config.datasets.arrays import Target
from mi_runner.config.datasets.equality import EqualityConfig
from mi_runner.config.registry import EXPERIMENTS
from mi_runner.datasets import CausalModel, equality
from mi_runner.datasets.causal_models import Follows
from mi_runner.errors import ArgumentError
from mi_runner.runs.choices import load_dataset
from tests.conftest import Ended

SMALL = EqualityConfig(train_size=400, test_size=50)


def label_by_hand(example: list[float], size: int = 4) -> int:
    """The label of one input, from its numbers."""
    a, b, c, d = (example[start : start + size] for start in range(0, 4 * size, size))
    return int((a == b) == (c == d))


@pytest.mark.parametrize("size", [1, 4])
def test_labels_and_variables_against_a_loop(size: int) -> None:
    data = load_dataset(replace(SMALL, size=size), seed=0)
    model = data.causal_model
    assert model is not None and model.variables == ("left", "right", "first") and data.input_shape == (4 * size,)
    for split in ("train", "test"):
        x, y, values = (part.tolist() for part in (
            getattr(data, f"x_{split}"), getattr(data, f"y_{split}"), getattr(model, f"values_{split}"),
        ))  # fmt: skip
        assert y == [label_by_hand(example, size) for example in x]
        for example, row in zip(x, values, strict=True):
            a, b, c, d = (example[start : start + size] for start in range(0, 4 * size, size))
            assert row == [float(a == b), float(c == d), *a, *b]


def test_the_recipe() -> None:
    vectors = equality.draw(40_000, 4, torch.Generator().manual_seed(0))
    assert vectors.shape == (40_000, 4, 4) and vectors.dtype == torch.float32
    assert -0.5 <= float(vectors.min()) < -0.499 and 0.499 < float(vectors.max()) < 0.5
    left, right = ((vectors[:, one] == vectors[:, one + 1]).all(1).double() for one in (0, 2))
    for part in (left, right, left * right * 2, (left == right).double()):  # both are equal in a quarter
        assert float(part.mean()) == pytest.approx(0.5, abs=0.015)
    different = vectors[left == 0]
    assert not bool((different[:, 0] == different[:, 1]).any())  # a vector is copied as a whole or not at all
    assert float(vectors.mean()) == pytest.approx(0, abs=0.005) and float(vectors.var()) == pytest.approx(1 / 12, 0.02)


def model_by_hand() -> tuple[CausalModel, Callable[..., list[int]]]:
    """Vectors of two numbers; and the labels of base examples with variables of source examples."""
    vectors = torch.tensor(
        [
            [[0.1, 0.2], [0.1, 0.2], [0.3, 0.4], [0.3, 0.4]],  # both equal: 1
            [[0.1, 0.2], [0.1, 0.3], [0.3, 0.4], [0.3, 0.4]],  # right equal: 0
            [[0.1, 0.3], [0.0, 0.0], [0.2, 0.2], [0.2, 0.1]],  # neither: 1
        ]
    )
    rule = equality.FirstIsSecond(2)
    values = equality.values_of(vectors)
    follows = (Follows("left", "first", rule),)
    model = CausalModel(
        equality.VARIABLES, values, values, equality.BothOrNeither(True), widths=(1, 1, 2), n_kept=2, follows=follows
    )

    def labels(base: list[int], **sources: list[int]) -> list[int]:
        return model.counterfactual(values[base], {name: values[rows] for name, rows in sources.items()}).tolist()

    return model, labels


def test_counterfactual_labels_by_hand() -> None:
    model, labels = model_by_hand()
    assert model.values_train[1].tolist() == pytest.approx([0, 1, 0.1, 0.2, 0.1, 0.3])
    assert labels([0, 1, 2]) == [1, 0, 1]
    assert labels([0, 0, 1, 1, 2], left=[1, 0, 0, 2, 0]) == [0, 1, 1, 0, 0]
    assert labels([0, 0, 1, 2, 2], right=[2, 1, 2, 0, 2]) == [0, 1, 1, 0, 1]
    assert labels([0, 0, 2], left=[1, 1, 0], right=[2, 0, 0]) == [1, 0, 1]
    # a of another example beside b of the base's: 0.1, 0.3 is b of the second example.
    assert labels([0, 0, 0, 1, 1, 1], first=[0, 1, 2, 0, 1, 2]) == [1, 1, 0, 0, 0, 1]
    assert labels([1, 1], first=[2, 0], right=[2, 2]) == [0, 1]
    assert labels([2, 2], right=[0, 0], first=[0, 2]) == [0, 0]


def test_a_swap_against_inputs_that_are_put_together() -> None:
    """The label of an input with a of another one, counted from its numbers, on many pairs."""
    data = load_dataset(replace(SMALL, size=1), seed=1)
    model, n = data.causal_model, 400
    assert model is not None
    # Numbers of a few values, so that a of one example is often b of another.
    x = (data.x_train * 4).round()
    values = equality.values_of(x.view(n, 4, 1))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    mixed = torch.cat([x[order, :1], x[:, 1:]], 1)
    wanted = [label_by_hand(example, 1) for example in mixed.tolist()]
    found = model.counterfactual(values, {"first": values[order]})
    assert found.tolist() == wanted and not torch.equal(found, model.mechanism(values))


def test_left_and_first_contradict_each_other() -> None:
    model, labels = model_by_hand()
    wanted = "left and first can't be swapped together, because left follows from first: the two swaps contradict each "
    with pytest.raises(ArgumentError, match=f"^{wanted}other. Swap one of them."):
        labels([0], left=[1], first=[1])
    assert model.contradiction(["right", "first", "left"]).startswith(wanted)
    assert model.contradiction(["left", "right"]) == model.contradiction(["first", "right"]) == ""


def test_as_values_the_labels_are_the_same() -> None:
    classes = load_dataset(SMALL, seed=0)
    values = load_dataset(replace(SMALL, target=Target["value"]), seed=0)
    assert values.is_binary and values.y_train.dtype == torch.float32 and classes.class_names == ("0", "1")
    assert values.y_train.tolist() == classes.y_train.tolist()
    assert values.causal_model is not None and torch.equal(
        values.causal_model.mechanism(values.causal_model.values_test), values.y_test
    )


def test_the_seed_decides_the_examples_and_a_limit_takes_the_first() -> None:
    one, again, other = (load_dataset(SMALL, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.x_train, again.x_train) and not torch.equal(one.x_train, other.x_train)
    assert not torch.equal(one.x_train[:50], one.x_test)
    limited = load_dataset(replace(SMALL, limit=20), seed=0)
    assert torch.equal(limited.x_test, one.x_test[:20]) and limited.causal_model is not None
    assert len(limited.causal_model.values_train) == 20


def test_numbers_of_an_input_have_names() -> None:
    data = load_dataset(replace(SMALL, size=2), seed=0)
    assert data.feature_names == ("a1", "a2", "b1", "b2", "c1", "c2", "d1", "d2")


def test_what_does_not_fit_into_memory_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"train_size=1000000000, test_size=10: the data take .*smaller train_size"):
        equality.load(train_size=10**9, test_size=10, size=100)


# --- the published network -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("experiment", [schema.name for schema in EXPERIMENTS])
def test_every_experiment_trains_as_published(experiment: str) -> None:
    config = composition.compose([f"experiment={experiment}", "dataset=equality", "model=mlp"])
    training = config.training
    assert (training.epochs, training.batch_size, training.learning_rate) == (20, 1024, 1e-3)
    assert (training.stop_steps, training.stop_examples, training.keep_best) == (1024, 10_000, True)
    assert training.optimizer.name == "adam" and training.loss.name == "auto" and training.stop_loss is None
    assert config.dataset.train_size == 1_048_576 + 10_000 and config.dataset.test_size == 10_000


@pytest.mark.parametrize("experiment", ["train", "das", "iit", "probes", "ablation"])
def test_the_published_network(experiment: str) -> None:
    config = composition.compose([f"experiment={experiment}", "dataset=equality", "model=mlp"])
    assert config.model.hidden_sizes == [16, 16, 16] and config.model.activation.name == "relu" and config.model.bias
    own = composition.compose(
        [f"experiment={experiment}", "dataset=equality", "model=mlp", "model.hidden_sizes=[8]", "training.epochs=2"]
    )
    assert own.model.hidden_sizes == [8] and own.training.epochs == 2 and own.training.stop_steps == 1024


def test_no_other_setting_stops_by_held_out_examples() -> None:
    for arguments in (["dataset=equality", "model=skip"], ["dataset=mod_add", "model=mlp"], ["experiment=das"]):
        assert composition.compose(arguments).training.stop_steps is None


def test_a_run_stops_by_held_out_examples_and_says_when(mi_run: Callable[..., Ended]) -> None:
    small = (
        "dataset=equality",
        "model=mlp",
        "dataset.train_size=260",
        "dataset.test_size=60",
        "training.batch_size=20",
    )
    ended = mi_run(*small, "training.stop_examples=60", "training.stop_steps=12", "training.epochs=9", "seed=1")
    assert ended.status == 0, ended.err
    history = pd.read_csv(ended.folder / "history.csv")
    columns = ["epoch", "steps", "loss", "test_loss", "test_accuracy"]
    assert list(history.columns) == [*columns, "held_out_accuracy", "best_held_out_accuracy", "stopped"]
    assert history["stopped"].tolist() == [False] * (len(history) - 1) + [True] and history["steps"].sum() < 90
    record = json.loads((ended.folder / "run.json").read_text())
    assert record["stop_epoch"] == {"1": len(history)}
    never = mi_run(*small, "training.stop_examples=60", "training.epochs=1", "seed=1")
    assert json.loads((never.folder / "run.json").read_text())["stop_epoch"] == {"1": None}


def test_too_few_examples_are_refused_with_the_options_to_type(mi_run: Callable[..., Ended]) -> None:
    refused = mi_run("dataset=equality", "model=mlp", "dataset.limit=500")
    assert refused.status == 2
    assert "training.stop_examples=10000 of 500 training examples are held out" in refused.err
    assert "Type a smaller training.stop_examples, or training.stop_steps=null" in refused.err
    refused = mi_run("dataset=mod_add", "training.keep_best=true")
    assert refused.status == 2 and "Type training.stop_steps=1024, or another number" in refused.err
    refused = mi_run("dataset=equality", "model=mlp", "training.keep_epochs=true")
    assert refused.status == 2 and "use training.stop_steps=null and training.keep_best=false with it" in refused.err


def test_variables_that_contradict_each_other_are_a_mistake(mi_run: Callable[..., Ended]) -> None:
    small = ("dataset=equality", "model=mlp", *EqualityConfig.small)
    refused = mi_run("experiment=das", *small, "experiment.variables=[left,first]", "experiment.site=layers.1")
    assert refused.status == 2
    assert "experiment.variables=[left,first]: left and first can't be swapped together" in refused.err

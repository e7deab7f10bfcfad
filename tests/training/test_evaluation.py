"""Losses, accuracies and confusions against numbers worked out by hand and against naive loops."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mi_runner.datasets import Dataset
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ArgumentError
from mi_runner.models.batches import BATCH, batches, outputs_of
from mi_runner.tables.intervals import wilson_interval
from mi_runner.training.doubts import doubts
from mi_runner.training.evaluation import Score, confusion, loss_function, score
from mi_runner.training.options import TrainingOptions
from tests.small_data import classes, values


def several_values(n: int = 8, n_outputs: int = 3) -> Dataset:
    """A data set whose target is several values."""
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(n, 4, generator=draw), torch.randn(n, n_outputs, generator=draw)
    return Dataset("arrays", x, y, x, y, None)


# --- losses ------------------------------------------------------------------------------------------------------


def test_cross_entropy_by_hand() -> None:
    # softmax of (ln 1, ln 3) is (1/4, 3/4)
    outputs = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]])
    targets = torch.tensor([0, 1])
    loss = loss_function(TrainingOptions(), classes(n_classes=2))
    assert loss(outputs, targets, reduction="none").tolist() == pytest.approx([math.log(4), math.log(4 / 3)])
    assert float(loss(outputs, targets)) == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)


def test_label_smoothing_by_hand() -> None:
    # With smoothing s the target of K = 2 classes is 1 − s/2 for the label, s/2 for the other.
    outputs = torch.tensor([[0.0, math.log(3.0)]])
    loss = loss_function(TrainingOptions(label_smoothing=0.2), classes(n_classes=2))
    assert float(loss(outputs, torch.tensor([0]))) == pytest.approx(0.9 * math.log(4) + 0.1 * math.log(4 / 3))


def test_mse_by_hand() -> None:
    loss = loss_function(TrainingOptions(loss="mse"), values())
    outputs, targets = torch.tensor([[1.0], [4.0]]), torch.tensor([3.0, 4.5])
    assert loss(outputs, targets, reduction="none").tolist() == [4.0, 0.25]
    assert float(loss(outputs, targets)) == 2.125


def test_mse_of_several_values_is_a_mean_over_outputs_too() -> None:
    loss = loss_function(TrainingOptions(), several_values())
    outputs = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
    assert loss(outputs, targets, reduction="none").tolist() == pytest.approx([5 / 3, 3.0])
    assert float(loss(outputs, targets)) == pytest.approx(7 / 3)


def test_bce_by_hand() -> None:
    loss = loss_function(TrainingOptions(loss="bce"), values())
    outputs, targets = torch.tensor([[0.25], [0.25]]), torch.tensor([1.0, 0.0])
    assert loss(outputs, targets, reduction="none").tolist() == pytest.approx([math.log(4), math.log(4 / 3)])


@pytest.mark.parametrize(
    ("config", "dataset"),
    [
        (TrainingOptions(), classes()),
        (TrainingOptions(label_smoothing=0.3), classes()),
        (TrainingOptions(), values()),
        (TrainingOptions(loss="bce"), values()),
        (TrainingOptions(), several_values()),
    ],
    ids=["cross_entropy", "label smoothing", "mse", "bce", "mse of several"],
)
def test_the_mean_loss_is_the_mean_of_the_losses(config: TrainingOptions, dataset: Dataset) -> None:
    loss = loss_function(config, dataset)
    outputs = torch.rand(len(dataset.y_train), dataset.n_outputs, generator=torch.Generator().manual_seed(0))
    each = loss(outputs, dataset.y_train, reduction="none")
    assert each.shape == (len(dataset.y_train),)
    assert float(loss(outputs, dataset.y_train)) == pytest.approx(float(each.mean()))


def test_auto_is_cross_entropy_for_classes_and_mse_for_values() -> None:
    for dataset, named in ((classes(), "cross_entropy"), (values(), "mse")):
        outputs = torch.rand(len(dataset.y_train), dataset.n_outputs, generator=torch.Generator().manual_seed(0))
        auto, chosen = (loss_function(TrainingOptions(loss=kind), dataset) for kind in ("auto", named))
        assert float(auto(outputs, dataset.y_train)) == float(chosen(outputs, dataset.y_train))


@pytest.mark.parametrize(
    ("config", "dataset", "text"),
    [
        (
            TrainingOptions(loss="mse"),
            classes(),
            "loss=mse takes values, but the targets of arrays are classes. Use loss=cross_entropy.",
        ),
        (
            TrainingOptions(loss="bce"),
            classes(),
            "loss=bce takes values, but the targets of arrays are classes. Use loss=cross_entropy.",
        ),
        (
            TrainingOptions(loss="cross_entropy"),
            values(),
            "loss=cross_entropy takes classes, but the targets of arrays are values. Use loss=mse.",
        ),
        (
            TrainingOptions(loss="bce"),
            replace(values(), y_train=torch.tensor([0.5] * 39 + [1.5])),
            "loss=bce takes targets in 0..1. Use loss=mse.",
        ),
        (
            TrainingOptions(loss="bce"),
            replace(values(), y_test=torch.tensor([-0.5] + [0.5] * 39)),
            "loss=bce takes targets in 0..1. Use loss=mse.",
        ),
        (
            TrainingOptions(label_smoothing=0.1),
            values(),
            "label_smoothing=0.1 is for cross_entropy; loss=mse has none.",
        ),
    ],
    ids=["mse of classes", "bce of classes", "entropy of values", "bce above 1", "bce below 0 in test", "smoothing"],
)
def test_a_loss_that_does_not_fit_is_refused(config: TrainingOptions, dataset: Dataset, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        loss_function(config, dataset)
    assert str(caught.value) == text


# --- predictions and accuracy ------------------------------------------------------------------------------------


def test_the_class_of_equal_outputs_is_the_first() -> None:
    outputs = torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    assert Outputs.logits.answers(outputs).tolist() == [0, 1, 0]
    # Long rows take the vectorised path of the search for the largest.
    assert Outputs.logits.answers(torch.zeros(2, 1000)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("output", "rounded"),
    [(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (3.5, 4.0), (-0.5, 0.0), (-1.5, -2.0), (0.49, 0.0), (0.51, 1.0), (7.0, 7.0)],
)
def test_values_are_rounded_half_to_even(output: float, rounded: float) -> None:
    assert Outputs.values.answers(torch.tensor([[output]])).tolist() == [rounded]
    assert rounded == round(output)  # Python's own rule


def test_several_values_are_right_only_together() -> None:
    outputs = torch.tensor([[1.2, 0.4], [1.2, 0.6], [0.9, -0.2]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert Outputs.values.answers(outputs).tolist() == [[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]]
    assert Outputs.values.correct(outputs, targets).tolist() == [True, False, True]


def test_targets_are_rounded_as_outputs_are() -> None:
    """Half to even: 0.5 is 0, 1.5 and 2.5 are 2."""
    outputs, targets = torch.tensor([1.2, 0.2, 0.7, 2.4, -0.4, 0.1]), torch.tensor([0.6, 0.6, 1.4, 2.5, -0.6, 0.5])
    right = [True, False, True, True, False, True]
    assert Outputs.values.correct(outputs[:, None], targets).tolist() == right
    assert Outputs.values.correct(outputs[:, None], targets[:, None]).tolist() == right
    both = torch.stack([outputs, torch.ones(6)], 1), torch.stack([targets, torch.tensor([1.4] * 5 + [1.5])], 1)
    assert Outputs.values.correct(*both).tolist() == [*right[:-1], False]
    assert confusion(outputs[:, None], targets, kind=Outputs.values) == [
        {"label": -1, "predicted": 0, "count": 1},
        {"label": 0, "predicted": 0, "count": 1},
        {"label": 1, "predicted": 0, "count": 1},
        {"label": 1, "predicted": 1, "count": 2},
        {"label": 2, "predicted": 2, "count": 1},
    ]


def test_one_value_as_a_column_counts_as_one_value() -> None:
    outputs, targets = torch.tensor([[0.2], [0.8], [0.9]]), torch.tensor([0.0, 1.0, 0.0])
    assert Outputs.values.correct(outputs, targets).tolist() == [True, True, False]
    assert Outputs.values.correct(outputs, targets.unsqueeze(1)).tolist() == [True, True, False]


def test_correct_takes_many_networks_at_once() -> None:
    """Outputs `(C, N, K)` of C circuits are judged as if one after the other."""
    draw = torch.Generator().manual_seed(0)
    for outputs, targets, kind in (
        (torch.randn(5, 7, 3, generator=draw), torch.randint(0, 3, (7,), generator=draw), Outputs.logits),
        (torch.rand(5, 7, 1, generator=draw), torch.randint(0, 2, (7,), generator=draw).float(), Outputs.values),
        (torch.rand(5, 7, 2, generator=draw), torch.randint(0, 2, (7, 2), generator=draw).float(), Outputs.values),
    ):
        together = kind.correct(outputs, targets)
        assert together.shape == (5, 7)
        for one, alone in zip(together, outputs, strict=True):
            assert torch.equal(one, kind.correct(alone, targets))


def test_not_a_number_is_never_right() -> None:
    outputs = torch.tensor([[math.nan], [0.0]])
    assert Outputs.values.correct(outputs, torch.tensor([0.0, 0.0])).tolist() == [False, True]


def test_score_by_hand() -> None:
    outputs, targets = torch.tensor([[1.0], [0.0], [0.4]]), torch.tensor([1.0, 1.0, 0.0])
    scored = score(outputs, targets, loss_function(TrainingOptions(), values()), kind=Outputs.values)
    assert (scored.n, scored.n_correct) == (3, 2)
    assert scored.loss == pytest.approx((0.0 + 1.0 + 0.16) / 3)
    assert scored.accuracy == 2 / 3


def test_score_sums_the_losses_in_double_precision() -> None:
    # 2²⁴ + 1 is no float32: summed there, the ones beside the large loss would vanish.
    outputs, targets = torch.tensor([[4096.0]] + [[1.0]] * 255), torch.zeros(256)
    scored = score(outputs, targets, loss_function(TrainingOptions(), values()), kind=Outputs.values)
    assert scored.loss == (4096**2 + 255) / 256


def test_score_of_nothing() -> None:
    for dataset, targets in ((classes(), torch.zeros(0, dtype=torch.int64)), (values(), torch.zeros(0))):
        loss = loss_function(TrainingOptions(), dataset)
        nothing = score(torch.zeros(0, dataset.n_outputs), targets, loss, kind=dataset.outputs)
        assert (nothing.n, nothing.n_correct) == (0, 0)
        assert math.isnan(nothing.loss) and math.isnan(nothing.accuracy)
        assert (nothing.columns()["accuracy_low"], nothing.columns()["accuracy_high"]) == (0.0, 1.0)


def test_columns_of_a_score() -> None:
    columns = Score(n=263, n_correct=81, loss=0.5).columns()
    assert list(columns) == ["accuracy", "accuracy_low", "accuracy_high", "loss"]
    assert (columns["accuracy"], columns["loss"]) == (81 / 263, 0.5)
    assert (columns["accuracy_low"], columns["accuracy_high"]) == wilson_interval(81, 263)


# --- the interval ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_as_published(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_at_the_edges() -> None:
    z2 = 1.959963984540054**2
    assert wilson_interval(0, 0) == (0.0, 1.0)
    # p = 0 leaves (z²/n) / (1 + z²/n) = z²/(n + z²) above.
    assert wilson_interval(0, 1) == pytest.approx((0.0, z2 / (1 + z2)))
    assert wilson_interval(1, 1) == pytest.approx((1 / (1 + z2), 1.0))
    assert wilson_interval(0, 1)[0] == 0.0
    assert wilson_interval(1, 1)[1] == 1.0


counted = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counted)
def test_wilson_interval_ends_where_the_score_test_does(case: tuple[int, int]) -> None:
    """The ends solve (p̂ − p)² = z² p (1 − p) / n, which defines them; the function takes another way."""
    successes, n = case
    share = successes / n
    low, high = wilson_interval(successes, n)
    assert 0.0 <= low <= share <= high <= 1.0
    for end in (low, high):
        assert (share - end) ** 2 == pytest.approx(1.959963984540054**2 * end * (1 - end) / n, abs=1e-12)


@given(counted)
def test_wilson_interval_of_the_failures_is_the_mirror_image(case: tuple[int, int]) -> None:
    successes, n = case
    low, high = wilson_interval(successes, n)
    assert wilson_interval(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(counted)
def test_wilson_interval_narrows_with_more_examples(case: tuple[int, int]) -> None:
    successes, n = case
    (low, high), (closer_low, closer_high) = wilson_interval(successes, n), wilson_interval(4 * successes, 4 * n)
    assert closer_high - closer_low < high - low


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (1, 0)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=rf"^successes={successes}: must be 0 to n={n}\.$"):
        wilson_interval(successes, n)


# --- confusion ---------------------------------------------------------------------------------------------------


def counted_naively(labels: list[int], predicted: list[int]) -> list[dict[str, int]]:
    pairs = Counter(zip(labels, predicted, strict=True))
    return [{"label": label, "predicted": guess, "count": pairs[label, guess]} for label, guess in sorted(pairs)]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_confusion_of_classes_against_a_naive_count(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = [label for label, _ in pairs], [guess for _, guess in pairs]
    outputs = nn.functional.one_hot(torch.tensor(predicted), 5).float()
    rows = confusion(outputs, torch.tensor(labels), kind=Outputs.logits)
    assert rows == counted_naively(labels, predicted)
    n_correct = int(Outputs.logits.correct(outputs, torch.tensor(labels)).sum())
    assert sum(row["count"] for row in rows if row["label"] == row["predicted"]) == n_correct


@given(st.lists(st.tuples(st.integers(-3, 9), st.floats(-20, 20, width=32)), min_size=1, max_size=40))
def test_confusion_of_values_against_a_naive_count(pairs: list[tuple[int, float]]) -> None:
    labels, outputs = [label for label, _ in pairs], [output for _, output in pairs]
    rows = confusion(torch.tensor(outputs).unsqueeze(1), torch.tensor(labels).float(), kind=Outputs.values)
    assert rows == counted_naively(labels, [round(output) for output in outputs])


def test_confusion_counts_outputs_that_are_far_off() -> None:
    # 2³³ apart: a code of label × width + prediction would not fit into 64 bits.
    outputs = torch.tensor([[2.0**33], [-(2.0**33)], [2.0**33], [1.0]])
    rows = confusion(outputs, torch.tensor([0.0, 0.0, 0.0, 1.0]), kind=Outputs.values)
    assert rows == [
        {"label": 0, "predicted": -(2**33), "count": 1},
        {"label": 0, "predicted": 2**33, "count": 2},
        {"label": 1, "predicted": 1, "count": 1},
    ]


def test_confusion_counts_infinite_outputs_at_the_ends() -> None:
    rows = confusion(torch.tensor([[math.inf], [-math.inf], [1e30]]), torch.zeros(3), kind=Outputs.values)
    assert rows == [
        {"label": 0, "predicted": -(2**62), "count": 1},
        {"label": 0, "predicted": 2**62, "count": 2},
    ]


def test_confusion_without_pairs() -> None:
    assert confusion(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), kind=Outputs.logits) == []
    assert confusion(torch.zeros(0, 1), torch.zeros(0), kind=Outputs.values) == []
    assert confusion(torch.zeros(4, 2), torch.zeros(4, 2), kind=Outputs.values) == []


# --- batches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "size", "lengths"), [(0, 3, []), (1, 3, [1]), (3, 3, [3]), (7, 3, [3, 3, 1]), (2, 1, [1, 1])]
)
def test_batches_cover_all_examples_in_order(n: int, size: int, lengths: list[int]) -> None:
    x = torch.arange(n)
    parts = list(batches(x, size))
    assert [len(part) for part in parts] == lengths
    assert [number for part in parts for number in part.tolist()] == list(range(n))


@pytest.mark.parametrize("n", [1, BATCH, BATCH + 1, 2 * BATCH + 7])
def test_outputs_in_batches_are_those_of_the_whole(n: int) -> None:
    seen: list[int] = []

    def doubled(x: Tensor) -> Tensor:
        seen.append(len(x))
        return 2 * x

    x = torch.arange(n, dtype=torch.float32, requires_grad=True).unsqueeze(1)
    outputs = outputs_of(doubled, x)
    assert torch.equal(outputs, 2 * x) and not outputs.requires_grad
    assert max(seen) <= BATCH and sum(seen) == n


# --- doubts about what outputs mean ----------------------------------------------------------------------------------


def doubted(outputs: Tensor, targets: Tensor, loss: str = "auto", names: tuple[str, ...] | None = None) -> bool:
    """Whether outputs `(N, K)` that a network gives as they are get a doubt."""
    data = Dataset("arrays", outputs, targets, outputs, targets, names)
    return bool(doubts(nn.Identity(), data, TrainingOptions(loss=loss)))


@pytest.mark.parametrize(
    ("row", "is_doubted"),
    [
        ([0.25, 0.75], True),
        ([1.0, 0.0], True),
        ([1.5, -0.5], False),
        ([0.5, 0.50009], True),
        ([0.5, 0.50011], False),
        ([0.5, 0.49989], False),
        ([0.2, 0.3, 0.5], True),
        ([1.0], False),  # one output is always 1 in sum
    ],
)
def test_rows_that_sum_to_one_are_probabilities(row: list[float], is_doubted: bool) -> None:
    outputs, targets, names = (
        torch.tensor([row] * 4),
        torch.zeros(4, dtype=torch.int64),
        tuple(map(str, range(len(row)))),
    )
    for loss in ("auto", "cross_entropy"):
        assert doubted(outputs, targets, loss, names) == is_doubted


@pytest.mark.parametrize(("place", "is_doubted"), [(999, False), (1000, True)])
def test_the_outputs_of_a_thousand_examples_are_looked_at(place: int, is_doubted: bool) -> None:
    outputs = torch.full((1001, 2), 0.5)
    outputs[place] = 2.0
    assert doubted(outputs, torch.zeros(1001, dtype=torch.int64), names=("a", "b")) == is_doubted


@pytest.mark.parametrize(("n", "is_doubted"), [(20, True), (21, False)])
def test_one_output_in_twenty_that_is_no_0_or_1_or_is_better_judged_by_its_sign(n: int, is_doubted: bool) -> None:
    usual, targets = torch.full((n, 1), -0.25), torch.zeros(n)  # rounded to 0, which is right
    for value, target in ((3.0, 0.0), (0.25, 1.0)):  # wrong both ways; rounded to 0, where the sign says 1
        outputs, wanted = usual.clone(), targets.clone()
        outputs[0], wanted[0] = value, target
        assert doubted(outputs, wanted) == is_doubted


def test_outputs_from_0_to_1_are_a_sigmoids_however_they_are_judged() -> None:
    assert not doubted(torch.tensor([[0.0], [1.0], [0.25], [0.25]]), torch.tensor([0.0, 1.0, 1.0, 1.0]))

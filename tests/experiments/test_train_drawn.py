"""What the figures of a training and of many seeds draw, of hand-made rows."""

from __future__ import annotations

from mi_runner.experiments.train import figures as train_figures
from tests.drawn import Row, near, segments, uneven, words


def test_history_of_a_training() -> None:
    rows = [
        {
            "epoch": epoch,
            "loss": 0.9 - 0.1 * epoch,
            "test_loss": 0.95 - 0.05 * epoch,
            "test_accuracy": 0.5 + 0.1 * epoch,
        }
        for epoch in (1, 2, 3)
    ]
    figure = train_figures.history(rows)
    assert words(figure) == [("epoch", "loss", ""), ("epoch", "test accuracy", "")]
    left, right = figure.axes
    assert {line.get_label(): list(line.get_ydata()) for line in left.lines} == {
        "training": [row["loss"] for row in rows], "test": [row["test_loss"] for row in rows],
    }  # fmt: skip
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["training", "test"]
    assert list(right.lines[0].get_ydata()) == [row["test_accuracy"] for row in rows]
    assert all(list(line.get_xdata()) == [1, 2, 3] for axes in figure.axes for line in axes.lines)


def test_many_seeds_show_test_rows_of_all_classes_alone() -> None:
    def rows(seed: int) -> list[Row]:
        return [
            {"seed": seed, "split": split, "class": name, **uneven(value + 0.05 * seed, seed)}
            for split, name, value in (("train", "all", 0.9), ("test", "all", 0.6), ("test", "0", 0.3))
        ]

    summary = [
        {"split": split, "class": name, "measure": measure, "n": 2, "mean": mean, "low": mean - 0.1, "high": mean + 0.2}
        for split, name, measure, mean in (
            ("train", "all", "accuracy", 0.1), ("test", "all", "loss", 0.2), ("test", "all", "accuracy", 0.625),
            ("test", "0", "accuracy", 0.4),
        )
    ]  # fmt: skip
    history = [
        {"seed": seed, "epoch": epoch, "test_accuracy": 0.1 * seed + 0.2 * epoch} for seed in (0, 1) for epoch in (1, 2)
    ]
    figure = train_figures.many_seeds([*rows(0), *rows(1)], summary, history)
    title = "each network with its 95 % interval; dashed: the mean of 2, with its own"
    assert words(figure) == [("seed", "test accuracy", title), ("epoch", "test accuracy", "a line for each network")]
    left, right = figure.axes
    shown = [uneven(0.6, 0), uneven(0.65, 1)]
    assert segments(left) == near(
        [(seed, row["accuracy_low"], seed, row["accuracy_high"]) for seed, row in enumerate(shown)]
    )
    assert left.containers[0].lines[0].get_ydata() == near([0.6, 0.65])
    (mean,) = (line for line in left.lines if line.get_linestyle() == "--")
    assert list(mean.get_ydata()) == [0.625] * 2
    box = left.patches[0].get_bbox()
    assert (box.y0, box.y1) == near((0.525, 0.825))
    assert [list(line.get_ydata()) for line in right.lines] == [near([0.2, 0.4]), near([0.3, 0.5])]
    without = [{**row, "low": None, "high": None} for row in summary]
    assert not train_figures.many_seeds([*rows(0), *rows(1)], without, history).axes[0].patches

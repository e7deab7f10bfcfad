"""How good is a model, on which classes? Trains it, or loads it from the model store, and evaluates it.

With `seeds=32`: how good are the networks of 32 seeds, and how much do they differ?
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from mi_runner.config.experiments.train import TrainConfig
from mi_runner.experiments import Experiment, Result, Setting
from mi_runner.experiments.common import drawing, predictions
from mi_runner.experiments.common.evaluation import commonest_share
from mi_runner.experiments.common.sentences import between, counted, figure, measured, tied
from mi_runner.experiments.common.tables import CONFUSION, HISTORY, SPREAD, of_answers, of_confusion, of_training
from mi_runner.experiments.train import figures
from mi_runner.experiments.train.tables import DECLARED, METRICS, SEEDS_SUMMARY, SUMMARY, metrics_row
from mi_runner.models.batches import outputs_of
from mi_runner.tables.intervals import Spread
from mi_runner.tables.names import ALL
from mi_runner.tables.over_seeds import have_twins, seeds_summary
from mi_runner.tables.pairwise import LEVEL, other_shares
from mi_runner.training.evaluation import confusion, loss_function, score

NAMES = tuple(number.name for number in SUMMARY)
"""What the summary has of all examples."""


def check(setting: Setting[TrainConfig]) -> None:
    """Checks nothing, because this experiment has no options."""


def metric_names(setting: Setting[TrainConfig]) -> list[str]:
    """Returns the summary's names: all examples, each class (`accuracy/7`), and with many seeds the spread."""
    of_classes = [_of_class(name) for name in setting.dataset.class_names or ()]
    over_seeds = [f"{name}_{figure}" for name in NAMES for figure in SPREAD] if setting.members else []
    return [*NAMES, *of_classes, *over_seeds]


def _of_class(name: str) -> str:
    return f"accuracy/{name}"


def run(setting: Setting[TrainConfig]) -> Result:
    """Returns accuracy with its interval and loss on both splits, and on the test set per class."""
    if setting.members:
        return _run_members(setting.members, setting)
    dataset = setting.dataset
    rows, metrics, outputs = _measured(setting)
    y = dataset.y_test
    counts = confusion(outputs, y, kind=dataset.outputs)
    drawn = drawing.confusion(counts, dataset.class_names)
    if setting.history:
        drawn["history"] = partial(figures.history, setting.history, commonest_share(dataset))
    if dataset.has_classes:
        drawn |= figures.mistakes(dataset, outputs) | figures.class_images(dataset)
    kind = dataset.outputs
    answers = of_answers(predictions.table([predictions.Answers(y, outputs)], kind=kind), kind)
    return Result(
        [
            METRICS.filled(rows),
            of_training(setting.history),
            of_confusion(counts, dataset.class_names),
            answers,
        ],
        metrics,
        DECLARED,
        figures=drawn,
        answer=_answer(rows, metrics),
        model=setting.model,
    )


def _measured(setting: Setting[TrainConfig]) -> tuple[list[dict[str, Any]], dict[str, float], Tensor]:
    """Returns the rows of one network, its summary, and its outputs `(N, K)` on the test set.

    The accuracy of a class without test examples is NaN.
    """
    dataset = setting.dataset
    loss = loss_function(setting.training, dataset)
    rows: list[dict[str, Any]] = []
    metrics: dict[str, float] = {}

    for split, x, y in (("train", dataset.x_train, dataset.y_train), ("test", dataset.x_test, dataset.y_test)):
        outputs = outputs_of(setting.model, x)
        split_score = score(outputs, y, loss, kind=dataset.outputs)
        rows.append(metrics_row(split, ALL, split_score))
        prefix = "" if split == "test" else "train_"
        metrics |= {f"{prefix}accuracy": split_score.accuracy, f"{prefix}loss": split_score.loss}
    if dataset.class_names is not None:
        for class_index, name in enumerate(dataset.class_names):
            of_class = y == class_index
            class_score = score(outputs[of_class], y[of_class], loss, kind=dataset.outputs)
            metrics[_of_class(name)] = class_score.accuracy
            if class_score.n:
                rows.append(metrics_row("test", name, class_score))
    return rows, metrics, outputs


def _answer(rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, float]) -> str:
    test = [row for row in rows if row["split"] == "test"]
    text = f"The network's accuracy is {measured(test[0], 'accuracy')} on {test[0]['n']:,} test examples"
    of_classes = _of_classes(test[1:]) if len(test) > 2 else ""
    return f"{text}{of_classes}. On the training examples it is {figure(metrics['train_accuracy'])}."


def _of_classes(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the classes with the lowest and the highest accuracy, and those that aren't told apart from the lowest.

    Classes have different examples, so the test isn't paired.
    """
    accuracies = [row["accuracy"] for row in rows]
    if min(accuracies) == max(accuracies):
        return f", and the same on each of {len(rows)} classes"
    place = accuracies.index(min(accuracies))
    p = other_shares([(round(row["accuracy"] * row["n"]), row["n"]) for row in rows], place)
    ties = [row for other, row in enumerate(rows) if other != place and p[other] >= LEVEL]
    ties.sort(key=lambda row: row["accuracy"])
    lowest = f"class {rows[place]['class']}, {figure(accuracies[place])}"
    test = f" (Fisher's exact test{', corrected for all pairs of classes,' if len(rows) > 2 else ''} at 5 %)"
    if len(ties) == len(rows) - 1:
        return f"; it is lowest on {lowest}, but no other class is told apart from that{test}"
    named = [f"{row['class']} ({figure(row['accuracy'])})" for row in ties]
    return f"; it is lowest on {lowest}{tied(named, 'it')}{test}"


# --- many seeds ----------------------------------------------------------------------------------------------------


def _run_members(members: Sequence[Setting[TrainConfig]], setting: Setting[TrainConfig]) -> Result:
    """Returns the rows that each network has alone, and their spread over the seeds."""
    rows: list[dict[str, Any]] = []
    counts: list[dict[str, int]] = []
    metrics: list[dict[str, float]] = []
    with setting.progress.bar("evaluating", len(members)) as advance:
        for member in members:
            own_rows, own_metrics, outputs = _measured(member)
            rows += [{"seed": member.seed, **row} for row in own_rows]
            setting.progress.rows("metrics", rows[-len(own_rows) :])
            metrics.append(own_metrics)
            own_counts = confusion(outputs, member.dataset.y_test, kind=member.dataset.outputs)
            counts += [{"seed": member.seed, **row} for row in own_counts]
            advance(1, f"seed {member.seed}")
    history = [{"seed": member.seed, **row} for member in members for row in member.history]
    summary = seeds_summary(rows, METRICS.keys, METRICS.measures, setting.starts)
    return Result(
        [
            METRICS.of_seeds().filled(rows),
            SEEDS_SUMMARY.filled(summary),
            of_training(history, HISTORY.of_seeds()),
            of_confusion(counts, setting.dataset.class_names, CONFUSION.of_seeds()),
        ],
        _over_seeds(metrics, one_network=have_twins(setting.starts.values())),
        DECLARED,
        figures={"seeds": partial(figures.many_seeds, rows, summary, history)},
        shown=("seeds_summary",),
        answer=_answer_over_seeds(summary),
        members={f"seed_{member.seed}": member.model for member in members},
    )


def _over_seeds(metrics: Sequence[dict[str, float]], *, one_network: bool) -> dict[str, float]:
    """Returns the summary: each metric's mean over the seeds that have it, then the spread, as `accuracy_sd`.

    Args:
        one_network: whether seeds share a network, so that there is no interval.
    """
    means: dict[str, float] = {}
    rest: dict[str, float] = {}
    for name in metrics[0]:
        values = [member[name] for member in metrics if not math.isnan(member[name])] or [math.nan]
        spread = Spread.of(values, DECLARED.measures[name.partition("/")[0]])
        spread = spread.without_interval() if one_network else spread
        means[name] = spread.mean
        for of_spread in SPREAD if name in NAMES else ():
            value = spread.columns()[of_spread]
            rest[f"{name}_{of_spread}"] = math.nan if value is None else value
    return means | rest


def _answer_over_seeds(summary: Sequence[Mapping[str, Any]]) -> str:
    (row,) = (row for row in summary if (row["split"], row["class"], row["measure"]) == ("test", ALL, "accuracy"))
    text = f"The mean accuracy of {counted(row['n'], 'network')} is {between(row['mean'], row['low'], row['high'])}"
    if row["min"] == row["max"]:
        return f"{text}; all have the same." if row["n"] > 1 else f"{text}."
    return f"{text}; they range from {figure(row['min'])} to {figure(row['max'])}."


EXPERIMENT: Experiment[TrainConfig] = Experiment(check=check, metric_names=metric_names, run=run, declared=DECLARED)

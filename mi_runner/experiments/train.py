"""How good is a model, on which classes? Trains it (or takes it from the model store) and evaluates it."""

from __future__ import annotations

from typing import Any

from mi_runner import figures
from mi_runner.evaluation import confusion, correct, loss_function, outputs_of, predictions, score
from mi_runner.experiments import Result, Setting


def check(setting: Setting) -> None:
    """Nothing can be wrong with the options of this experiment: it has none."""


def metric_names(setting: Setting) -> list[str]:
    """The summary's names."""
    return ["accuracy", "loss", "train_accuracy", "train_loss"]


def run(setting: Setting) -> Result:
    """Accuracy with its interval and loss on both splits, and on the test set for each class."""
    dataset = setting.dataset
    loss = loss_function(setting.training, dataset)
    rows: list[dict[str, Any]] = []
    metrics: dict[str, float] = {}

    for split, x, y in (("train", dataset.x_train, dataset.y_train), ("test", dataset.x_test, dataset.y_test)):
        outputs = outputs_of(setting.model, x)
        whole = score(outputs, y, loss, classes=dataset.has_classes)
        rows.append({"split": split, "class": None, "n": whole.n, **whole.columns()})
        prefix = "" if split == "test" else "train_"
        metrics |= {f"{prefix}accuracy": whole.accuracy, f"{prefix}loss": whole.loss}
    if dataset.class_names is not None:
        for number, name in enumerate(dataset.class_names):
            of_class = y == number
            part = score(outputs[of_class], y[of_class], loss, classes=True)
            if part.n:
                rows.append({"split": "test", "class": name, "n": part.n, **part.columns()})

    counts = confusion(outputs, y, classes=dataset.has_classes)
    drawn = figures.confusion(counts, dataset.class_names)
    if setting.history:
        drawn["history"] = figures.history(setting.history)
    if dataset.has_classes:
        wrong = ~correct(outputs, y, classes=True)
        answers = predictions(outputs, classes=True)
        drawn |= figures.mistakes(dataset, wrong, answers)
    return Result(
        tables={
            "metrics": rows,
            "history": setting.history,
            "confusion": counts,
        },
        metrics=metrics,
        figures=drawn,
        model=setting.model,
    )

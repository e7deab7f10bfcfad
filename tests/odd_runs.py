"""Small networks that make sentences hard to write, and every experiment that each can be asked: commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

NET = """
import torch
from torch import nn

def net(n_inputs, n_outputs, fill):
    layers = nn.Sequential(nn.Linear(n_inputs, 3), nn.LeakyReLU(), nn.Linear(3, n_outputs))
    if fill is not None:
        with torch.no_grad():
            for parameter in layers.parameters():
                parameter.fill_(fill)
    return layers

def values(): return net(2, 1, None)
def two(): return net(2, 2, None)
def three(): return net(3, 3, None)
def one_feature(): return net(1, 2, None)
def same_answer(): return net(2, 2, 0.0)
"""
"""The modules `net:two` and so on; those of zeros give every example one answer, and all their edges are alike."""

TRAINED = ("training.epochs=60", "training.learning_rate=0.03", "training.batch_size=16")
UNTRAINED = ("training.epochs=0",)


def _data(name: str) -> dict[str, np.ndarray]:
    """The arrays of a case."""
    draw = np.random.default_rng(7)
    n_features, n_classes, n_test = {"three": (3, 3, 45), "one_feature": (1, 2, 30), "one_each": (2, 2, 2)}.get(
        name, (2, 2, 40)
    )

    def split(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = draw.normal(size=(n, n_features)).astype(np.float32)
        y = x[:, :n_classes].argmax(1) if n_classes == 3 else (x[:, 0] > 0).astype(np.int64)
        if n == n_classes:
            x[:, 0], y = np.linspace(-1, 1, n), np.arange(n)
        return x, y.astype(np.float32) if name == "values" else y

    (x_train, y_train), (x_test, y_test) = split(60), split(n_test)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


NETWORKS = {
    "values": ("values", TRAINED),
    "two": ("two", TRAINED),
    "three": ("three", TRAINED),
    "one_feature": ("one_feature", TRAINED),
    "same_answer": ("same_answer", UNTRAINED),
    "untrained": ("two", UNTRAINED),
    "one_each": ("two", TRAINED),
}
"""Case → the network's function in `net`, and its training."""

METHODS = ("experiment.methods=[random,magnitude,eap,greedy]", "experiment.bootstrap=0")

QUESTIONS = {
    "train": ((),),
    "ablation": ((), ("experiment.methods=[zero]", "experiment.granularity=unit")),
    "circuits": (("experiment.last_layers=2",),),
    "discovery": (
        (METHODS[0], "experiment.last_layers=2", "experiment.bootstrap=2", "experiment.repeats=2"),
        (*METHODS, "experiment.last_layers=2", "experiment.max_table_rows=10", "experiment.samples=20"),
    ),
    "clusters": (("experiment.n_clusters=2", "experiment.controls=2", "experiment.top_k=2"),),
    "decoder": (("experiment.epochs=2",),),
}
"""Experiment → options, for each run of it."""

WITH_VARIABLES = (
    "dataset=mod_add",
    "dataset.train_size=64",
    "dataset.test_size=32",
    "model=mlp",
    "model.hidden_sizes=[4]",
)
"""Data that have a causal model."""

OF_VARIABLES = {
    "iit": (
        (*TRAINED, "experiment.train_pairs=64", "experiment.test_pairs=40", "experiment.epochs=1"),
        (*UNTRAINED, "experiment.train_pairs=64", "experiment.test_pairs=40", "experiment.epochs=1"),
        (*TRAINED, "experiment.variables=[[a],[b]]", "experiment.train_pairs=64", "experiment.test_pairs=40",
         "experiment.controls=[]", "experiment.epochs=1"),
        (*TRAINED, "experiment.variables=a", "experiment.adversary=[b]", "experiment.train_pairs=64",
         "experiment.test_pairs=40", "experiment.epochs=1", "experiment.adversary_count=1",
         "experiment.adversary_fresh_epochs=1"),
    ),
    "das": ((*TRAINED, "experiment.train_pairs=64", "experiment.test_pairs=40", "experiment.starts=2"),),
    "probes": ((*TRAINED, "experiment.folds=2"), (*UNTRAINED, "experiment.folds=2", "experiment.controls=[]")),
    "decoder": ((*TRAINED, "experiment.epochs=2", "model.hidden_sizes=[4,4]"),),
}  # fmt: skip

LEARNED = (
    *("training.epochs=150", "training.batch_size=16", "training.learning_rate=0.01", "dataset.train_size=64"),
    *("seed=0", "model.activation=leaky_relu"),
)

OF_FUNCTIONS = {
    "train": ((*LEARNED, "seeds=2"), ("training.epochs=0", "seeds=2")),
    "explanations": (LEARNED, ("training.epochs=0", "experiment.min_accuracy=0")),
    "circuits": (LEARNED, ("training.epochs=0",)),
    "discovery": (
        (*LEARNED, *METHODS),
        ("training.epochs=0", "experiment.methods=[greedy]", "experiment.bootstrap=0"),
    ),
}


def write(folder: Path) -> None:
    """Writes the networks and the data of all cases into a folder."""
    (folder / "odd_networks_net.py").write_text(NET)
    for name in NETWORKS:
        np.savez(folder / f"{name}.npz", **_data(name))


def commands(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields a name and the overrides of each run."""
    for name, (network, training) in NETWORKS.items():
        data = [
            "dataset=arrays",
            f"dataset.path={folder / name}.npz",
            f"dataset.target={'value' if name == 'values' else 'class'}",
        ]
        model = ["model=external", f"model.factory=odd_networks_net:{network}"]
        for question, runs in QUESTIONS.items():
            for number, options in enumerate(runs):
                yield f"{question}-{name}-{number}", [f"experiment={question}", *data, *model, *training, *options]
    for question, runs in OF_VARIABLES.items():
        for number, options in enumerate(runs):
            yield f"{question}-mod_add-{number}", [f"experiment={question}", *WITH_VARIABLES, *options]
    for question, runs in OF_FUNCTIONS.items():
        for number, options in enumerate(runs):
            mlp = ["dataset=logic", "model=mlp", "model.hidden_sizes=[2,2]"]
            yield f"{question}-logic-{number}", [f"experiment={question}", *mlp, *options]

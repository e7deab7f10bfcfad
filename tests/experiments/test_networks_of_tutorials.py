"""Networks of the kinds that public tutorials have, through every experiment.

Each works, or a line says before any work what is not defined or what to type; then what is said is typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tests import tutorial_networks
from tests.conftest import Ended
from tests.tutorial_networks import CASES, Case, arrays

EXPERIMENTS: dict[str, tuple[str, ...]] = {
    "train": (),
    "ablation": ("experiment.repeats=1", "experiment.methods=[mean,resample]"),
    "clusters": ("experiment.controls=1", "experiment.n_clusters=2", "experiment.pruning_layers=[]"),
    "iit": ("experiment.epochs=1", "experiment.train_pairs=20", "experiment.test_pairs=20", "experiment.controls=[]"),
    "das": (
        *("experiment.epochs=1", "experiment.train_pairs=20", "experiment.test_pairs=20", "experiment.size=1"),
        *("experiment.variables=[p]", "experiment.batch_size=20"),
    ),
    "decoder": (
        *("experiment.epochs=1", "experiment.min_target_accuracy=0", "experiment.kernels=2"),
        *("experiment.hidden_sizes=[4]", "experiment.folds=null"),
    ),
    "explanations": ("experiment.min_accuracy=0",),
    "circuits": ("experiment.last_layers=1", "experiment.accuracy_threshold=0.1", "experiment.inputs=any"),
    "discovery": (
        *("experiment.methods=[random,magnitude]", "experiment.repeats=1", "experiment.bootstrap=0"),
        *("experiment.last_layers=1", "experiment.max_sizes=4", "experiment.samples=5"),
    ),
    "probes": ("experiment.folds=2", "experiment.penalties=[0.1]"),
}
"""Options with which an experiment takes a moment."""

NOT_DEFINED = {
    "clusters": "compares classes: the targets are .* save the class of each example",
    "iit": "no causal model.*variables, variables_train, variables_test and mechanism",
    "das": "no causal model.*variables, variables_train, variables_test and mechanism",
    "decoder": "must be one class per example",
    "explanations": "takes a Boolean function, .*: type dataset=logic dataset.limit=null and a network that takes",
    "circuits": "ends the chain of last layers: it may have only Linear layers",
    "discovery": "ends the chain of last layers: it may have only Linear layers",
    "probes": "has no variables to read",
}
"""What is said where the question can't be asked of this network or of these data."""

ALWAYS = frozenset({"train", "ablation"})
OF_CLASSES = frozenset({"clusters", "iit", "das", "decoder", "probes"})
"""Experiments that every network of classes goes through."""


def defined(case: Case) -> frozenset[str]:
    """The experiments that a network goes through."""
    return ALWAYS | (OF_CLASSES if not case.is_value else case.further)


TYPED = re.compile(r"\b((?:experiment|dataset|model|training)\.\w+)=('[^']*'|\[[^\]]*\]|[\w.:]*\w)")


def followed(run: Callable[..., Ended], arguments: list[str]) -> Ended:
    """Runs a command, and again with what its error says to type, until it says nothing further."""
    for _ in range(5):
        ended = run(*arguments)
        said = ended.err.strip().splitlines()[-1] if ended.status else ""
        assert ended.status in (0, 2) and "Traceback" not in ended.err, ended.err
        new = {name: value for name, value in TYPED.findall(said) if f"{name}={value}" not in arguments}
        if ended.status == 0 or not new or "a network that takes" in said or "model.hidden_sizes" in said:
            break
        assert "NAME" not in said
        names = tuple(f"{name}=" for name in new)
        kept = [argument for argument in arguments if not argument.startswith(names)]
        arguments = [*kept, *(f"{name}={value}" for name, value in new.items())]
    assert ended.status == 0 or not Path("outputs").exists()
    return ended


def check_tables(folder: Path) -> None:
    """Every number in the tables is finite, or its cell is empty; metrics.csv has rows."""
    assert len(pd.read_csv(folder / "metrics.csv"))
    for path in folder.glob("*.csv"):
        numbers = pd.read_csv(path).select_dtypes("number").to_numpy(dtype=float)
        assert not np.isinf(numbers).any(), path


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("name", CASES)
def test_every_experiment_takes_it_or_says_what_is_not_defined(
    name: str, experiment: str, mi_run: Callable[..., Ended], tmp_path: Path
) -> None:
    case = CASES[name]
    own = (*case.typed(tmp_path), "training.epochs=1", "report=false", *EXPERIMENTS[experiment])
    ended = followed(mi_run, [f"experiment={experiment}", *own])
    if experiment in defined(case):
        assert ended.status == 0, ended.err
        check_tables(ended.folder)
    elif ended.status:
        assert re.search(NOT_DEFINED[experiment], ended.err), ended.err


def plain_outputs(case: Case, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and targets of the test examples by torch alone, with the run's weights."""
    given = {"draws": "in training"} if "in evaluation" in str(case.options) or "draws" in str(case.options) else {}
    model = getattr(tutorial_networks, case.factory)(**given).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    data = arrays(case.kind, target=case.target)
    x = torch.as_tensor(data["x_test"])
    with torch.no_grad():
        outputs = model(x)
    for option in case.options:
        if option.startswith("model.output="):
            key = option.removeprefix("model.output=")
            if isinstance(outputs, tuple):
                outputs = outputs[int(key)]
            else:
                outputs = outputs[key] if isinstance(outputs, dict) else getattr(outputs, key)
    return outputs.flatten(1), torch.as_tensor(data["y_test"])


@pytest.mark.parametrize("name", CASES)
def test_the_accuracy_is_that_of_torch_alone(name: str, mi_run: Callable[..., Ended], tmp_path: Path) -> None:
    case = CASES[name]
    ended = mi_run("experiment=train", *case.typed(tmp_path), "training.epochs=3", "report=false")
    assert ended.status == 0, ended.err
    outputs, y = plain_outputs(case, ended.folder)
    correct = (outputs.round() == y.flatten(1).round()).all(1) if case.is_value else outputs.argmax(1) == y
    assert ended.record["metrics"]["accuracy"] == pytest.approx(float(correct.double().mean()), abs=1e-12)


def test_a_loop_over_sizes_says_what_needs_none(mi_run: Callable[..., Ended], tmp_path: Path) -> None:
    case = Case("LeNetOfSizes", "images")
    own = (*case.typed(tmp_path), "training.epochs=1", "report=false")
    assert mi_run("experiment=train", *own).status == 0
    ended = mi_run("experiment=ablation", *own)
    assert ended.status == 2 and "to flatten, write x.flatten(1), which needs no sizes" in ended.err
    # `LeNet` does what is said.

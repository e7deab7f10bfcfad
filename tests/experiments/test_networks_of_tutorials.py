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

from tests.conftest import Ended
from tests.tutorial_networks import CASES, Case, arrays
from tests.tutorial_networks import __name__ as NETWORKS

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
    "circuits": (
        *("experiment.last_layers=1", "experiment.accuracy_threshold=0.1", "experiment.inputs=any"),
        *("experiment.pairs=false", "experiment.shared=false"),
    ),
    "discovery": (
        *("experiment.methods=[random,magnitude]", "experiment.repeats=1", "experiment.bootstrap=0"),
        *("experiment.last_layers=1", "experiment.max_sizes=4", "experiment.samples=5"),
    ),
    "probes": ("experiment.folds=2", "experiment.penalties=[0.1]"),
}
"""Options with which an experiment takes a moment."""

NOT_DEFINED = {
    "clusters": "the targets are .* values each: save the class of each example|needs a network that ends in Linear",
    "iit": "no causal model.*variables, variables_train, variables_test and mechanism",
    "das": "no causal model.*variables, variables_train, variables_test and mechanism",
    "decoder": "must be one class per example",
    "explanations": "takes a Boolean function, .*: type dataset=logic dataset.limit=null and a network that takes",
    "circuits": "ends the chain of last layers: it may have only Linear layers",
    "discovery": "ends the chain of last layers: it may have only Linear layers",
    "probes": "has no variables to read",
}
"""What is said where the question can't be asked of this network or of these data."""

TYPED = re.compile(r"\b((?:experiment|dataset|model|training)\.\w+)=('[^']*'|\[[^\]]*\]|[\w.:]*\w)")


def followed(run: Callable[..., Ended], arguments: list[str]) -> Ended:
    """Runs a command, and again with what its error says to type, until it says nothing further."""
    for _ in range(5):
        ended = run(*arguments)
        said = ended.err.strip().splitlines()[-1] if ended.status else ""
        assert ended.status in (0, 2) and "Traceback" not in ended.err, ended.err
        new = {name: value for name, value in TYPED.findall(said) if f"{name}={value}" not in arguments}
        if ended.status == 0 or not new or "model=mlp" in said:
            break
        assert "NAME" not in said
        names = tuple(f"{name}=" for name in new)
        kept = [argument for argument in arguments if not argument.startswith(names)]
        arguments = [*kept, *(f"{name}={value}" for name, value in new.items())]
    assert ended.status == 0 or not Path("outputs").exists()
    assert not re.search(r"RuntimeError|TypeError|aten::|Tensor\b", ended.err), ended.err  # torch's own words
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
    if experiment in case.defined:
        assert ended.status == 0, ended.err
        check_tables(ended.folder)
    else:
        assert ended.status == 2 and re.search(NOT_DEFINED[experiment], ended.err), ended.err


def correct(case: Case, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Which answers are the targets, by what the network is: written down here, not asked of mi-run."""
    if case.is_value:
        return (outputs.round() == y.flatten(1).round()).all(1)
    if outputs.shape[1] > 1:
        return outputs.argmax(1) == y
    border = 0.5 if case.arguments.get("ends_with") == "sigmoid" else 0.0
    return (outputs[:, 0] > border) == y.bool()


def accuracy_by_torch(case: Case, weights: Path) -> float:
    """Share of correct test examples of the network with these weights, by torch alone."""
    model, data = case.made(), arrays(case.kind, target=case.target)
    model.load_state_dict(load_file(weights))
    with torch.no_grad():
        outputs = case.of(model(torch.as_tensor(data["x_test"]))).reshape(len(data["x_test"]), -1)
    return float(correct(case, outputs, torch.as_tensor(data["y_test"])).double().mean())


@pytest.mark.parametrize("name", CASES)
def test_the_accuracy_is_that_of_torch_alone(name: str, mi_run: Callable[..., Ended], tmp_path: Path) -> None:
    case = CASES[name]
    ended = mi_run("experiment=train", *case.typed(tmp_path), "training.epochs=3", "report=false")
    assert ended.status == 0, ended.err
    expected = accuracy_by_torch(case, ended.folder / "model.safetensors")
    assert ended.record["metrics"]["accuracy"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("experiment", ["train", "circuits", "discovery", "iit", "decoder", "probes"])
def test_a_squeezed_logit_has_the_numbers_of_one_that_is_not(
    experiment: str, mi_run: Callable[..., Ended], tmp_path: Path
) -> None:
    own = (f"experiment={experiment}", "training.epochs=1", "report=false", *EXPERIMENTS[experiment])
    runs = [mi_run(*own, *CASES[name].typed(tmp_path)) for name in ("one logit", "squeezed logit")]
    assert [run.status for run in runs] == [0, 0], runs[1].err
    metrics = [{k: v for k, v in run.record["metrics"].items() if "second" not in k} for run in runs]
    assert metrics[0] == pytest.approx(metrics[1], nan_ok=True) and metrics[0]


def test_a_logit_for_a_value_trained_by_bce_answers_by_its_sign(mi_run: Callable[..., Ended], tmp_path: Path) -> None:
    case = CASES["one logit"]
    own = ("dataset.target=value", "training.loss=bce", "training.epochs=3", "report=false")
    ended = mi_run("experiment=train", *case.typed(tmp_path), *own)
    assert ended.status == 0, ended.err
    assert "are a logit: above 0 the answer is the second class" in ended.err
    expected = accuracy_by_torch(case, ended.folder / "model.safetensors")
    assert ended.record["metrics"]["accuracy"] == pytest.approx(expected, abs=1e-12)
    plain = mi_run("experiment=train", *case.typed(tmp_path), *own[2:])  # classes and cross-entropy: the same training
    assert plain.record["metrics"] == pytest.approx(ended.record["metrics"])


@pytest.mark.parametrize(
    "model", [["model=mlp", "model.hidden_sizes=[3,3]"], ["model=external", f"model.factory={NETWORKS}:OfAnyInputs"]]
)
def test_what_explanations_say_to_type_works(model: list[str], mi_run: Callable[..., Ended]) -> None:
    own = ("training.epochs=1", "report=false", "experiment.min_accuracy=0", "experiment.max_depth=1")
    ended = mi_run("experiment=explanations", "dataset=logic", "dataset.limit=null", *model, *own)
    assert ended.status == 0, ended.err
    check_tables(ended.folder)


@pytest.mark.parametrize(
    ("factory", "kind", "said"),
    [  # `LeNet` and `OwnRnn` do what is said
        ("LeNetOfSizes", "images", "to flatten, write x.flatten(1), which needs no sizes"),
        ("OwnRnnOfSizes", "sequences", "it needs a size as a number, .* (write the number, as in range(5))"),
    ],
)
def test_a_loop_over_sizes_says_what_needs_none(
    factory: str, kind: str, said: str, mi_run: Callable[..., Ended], tmp_path: Path
) -> None:
    case = Case(factory, kind)
    own = (*case.typed(tmp_path), "training.epochs=1", "report=false")
    assert mi_run("experiment=train", *own).status == 0
    ended = mi_run("experiment=ablation", *own)
    assert ended.status == 2 and all(part in ended.err for part in said.split(".*")), ended.err


def test_a_layer_that_is_called_twice_has_no_clusters_of_its_own(mi_run: Callable[..., Ended], tmp_path: Path) -> None:
    own = (*Case("Twice").typed(tmp_path), "training.epochs=1", "report=false")
    ended = mi_run("experiment=clusters", "experiment.n_clusters=2", *own)
    assert ended.status == 2 and "those of its chain, fc_1, are called several times" in ended.err, ended.err
    assert mi_run("experiment=ablation", "experiment.methods=[mean]", *own).status == 0


STACKS = {
    "text rnn": r"gru \(GRU\): recurrent layers can't be trained in a stack\. Train them .* -m 'seed=range\(0,2\)'",
    "resnet": r"bn1 \(BatchNorm2d\) changes its buffers in training mode.* -m 'seed=range\(0,2\)'",
    "transformer": "",
    "autoencoder": "",
    "vae encoder": "",
    "one logit": "",
}
"""Network → what is said of several seeds that are trained together; empty where they are."""


@pytest.mark.parametrize("name", STACKS)
def test_networks_of_several_seeds_and_a_checkpoint_of_one(
    name: str, mi_run: Callable[..., Ended], tmp_path: Path
) -> None:
    case = CASES[name]
    own = ("experiment=train", *case.typed(tmp_path), "training.epochs=1", "report=false")
    ended = mi_run(*own, "seeds=2")
    if STACKS[name]:
        assert ended.status == 2 and re.search(STACKS[name], ended.err), ended.err
        return
    assert ended.status == 0, ended.err
    members = sorted(ended.folder.rglob("*.safetensors"))
    assert len(members) == 2
    for weights in members:
        again = mi_run(*own, f"checkpoint={weights}")
        assert again.status == 0, again.err
        assert again.record["metrics"]["accuracy"] == pytest.approx(accuracy_by_torch(case, weights), abs=1e-12)

"""`mi_runner.run` with live objects: against the command line, and what stays as the caller had it."""

from __future__ import annotations

import asyncio
import copy
import json
import random
import shlex
import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import mi_runner
from mi_runner.config.composition import compose
from mi_runner.datasets import CausalModel, Dataset, LabelTable
from mi_runner.errors import ConfigError, RunFailed, Terminated
from mi_runner.progress import log
from tests.commands import TINY
from tests.conftest import Ended

MiRun = Callable[..., Ended]

MODULE = """
from torch import nn


class Net(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.first, self.second = nn.Linear(5, width), nn.Linear(width, 2)
        self.last = nn.Linear(2, {n_outputs})

    def forward(self, x):
        return self.last(self.second(self.first(x).tanh()).tanh())
"""


def arrays(n_classes: int | None = None) -> dict[str, np.ndarray]:
    """Sixty training and forty test examples; the target is whether the first number is the larger one."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(100, 5)).astype("float32")
    y = x[:, 0] > x[:, 1]
    y = y.astype("float32" if n_classes is None else "int64")
    return {"x_train": x[:60], "y_train": y[:60], "x_test": x[60:], "y_test": y[60:]}


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A class in a file of the test's own, which a command can name as `own_net_values:Net`."""
    return own_class(tmp_path, monkeypatch, "own_net_values", 1)


def own_class(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, n_outputs: int) -> Any:
    (folder / f"{name}.py").write_text(MODULE.format(n_outputs=n_outputs))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    return __import__(name).Net


def trained(make: Any, data: dict[str, np.ndarray], steps: int = 150) -> nn.Module:
    """A network that has learned something."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = make()
        optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
        for _ in range(steps):
            optimizer.zero_grad()
            outputs, y = network(torch.from_numpy(data["x_train"])), torch.from_numpy(data["y_train"])
            is_class = y.dtype == torch.int64
            loss = nn.functional.cross_entropy(outputs, y) if is_class else (outputs[:, 0] - y).square().mean()
            loss.backward()
            optimizer.step()
    return network


def tables(folder: Path) -> dict[str, Any]:
    """Name → the bytes of a CSV file, the rows of a Parquet file; without columns of seconds."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in (".csv", ".parquet"):
            frame = pd.read_csv(path, dtype=str) if path.suffix == ".csv" else pd.read_parquet(path)
            found[path.name] = frame.drop(columns=[name for name in frame if name == "seconds"]).to_csv()
    return found


EXPERIMENTS = {
    "ablation": ("experiment=ablation",),
    "circuits": ("experiment=circuits", "experiment.last_layers=2", "experiment.accuracy_threshold=0.6"),
    "discovery": ("experiment=discovery", "experiment.last_layers=2", "experiment.accuracy_threshold=0.6"),
    "train": ("experiment=train",),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_live_objects_give_the_tables_of_the_same_files(name: str, mi_run: MiRun, net: Any) -> None:
    data = arrays()
    network = trained(net, data)
    np.savez("data.npz", **data)
    torch.save(network.state_dict(), "weights.pt")
    options = (*EXPERIMENTS[name], "dataset.target=value")
    files = ("dataset=arrays", "dataset.path=data.npz", "model=external", "model.factory=own_net_values:Net")
    ended = mi_run(*options, *files, "checkpoint=weights.pt")
    assert ended.status == 0, ended.err
    live = mi_runner.run(
        options, model=network, data=(data["x_train"], data["y_train"], data["x_test"], data["y_test"])
    )
    of_file, of_live = tables(ended.folder), tables(live.folder)
    assert of_file == of_live and {"metrics.csv", "predictions.parquet"} <= set(of_live)
    assert live.record.starts == ended.record["starts"] and live.answer == ended.record["answer"]
    without_times = [{key: value for key, value in metrics.items() if not key.startswith("seconds")} for metrics in
                     (live.metrics, ended.record["metrics"])]  # fmt: skip
    assert without_times[0] == without_times[1]
    assert live.folder == Path("outputs").absolute() / f"{name}/arrays-external/v002"
    # No file has the weights that were given, so the folder keeps them.
    kept = {path.name for path in live.folder.iterdir()} - {path.name for path in ended.folder.iterdir()}
    assert kept == {"model.safetensors"}


def test_a_class_is_trained_as_the_factory_of_a_command(mi_run: MiRun, tmp_path: Path, monkeypatch: Any) -> None:
    make = own_class(tmp_path, monkeypatch, "own_net_classes", 2)
    data = arrays(2)
    np.savez("data.npz", **data)
    options = ("experiment=probes", "experiment.targets=[label]", "training.epochs=4", "model.arguments={width: 4}")
    if "label" not in str(compose(["experiment=probes"]).experiment):
        options = ("experiment=ablation", "training.epochs=4", "model.arguments={width: 4}")
    files = ("dataset=arrays", "dataset.path=data.npz", "model=external", "model.factory=own_net_classes:Net")
    ended = mi_run(*options, *files)
    assert ended.status == 0, ended.err
    live = mi_runner.run(list(options), model=make, data=data)
    assert tables(ended.folder) == tables(live.folder) and live.record.checkpoint.from_ == "training"
    assert (
        live.record.versions["code of own_net_classes:Net"] == ended.record["versions"]["code of own_net_classes:Net"]
    )
    again = mi_runner.run(list(options), model=make, data=data)
    assert again.record.checkpoint.from_ == "training"  # the command's has been kept, and isn't taken


def test_networks_that_look_alike_are_never_mixed_up(tmp_path: Path, cache: Path) -> None:
    """Equal weights, equal code, equal text, and functions that no digest sees."""

    class Net(nn.Module):
        def __init__(self, act: Callable[..., Any]) -> None:
            super().__init__()
            self.layer, self.act = nn.Linear(5, 2), act

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.layer(x))

    first = Net(lambda x: x)
    second = Net(lambda x: -x)
    second.load_state_dict(first.state_dict())
    before = set((cache / "models").glob("*")) if (cache / "models").exists() else set()
    options = {"training.epochs": 3, "output_dir": tmp_path}
    found = [mi_runner.run(options, model=one, data=arrays(2), train=True) for one in (first, second, first)]
    outputs = [run.tables["predictions"]["logit_0"].tolist() for run in found]
    assert outputs[0] == outputs[2] != outputs[1]
    assert {run.record.checkpoint.from_ for run in found} == {"training"}
    assert not (cache / "models").exists() or set((cache / "models").glob("*")) == before


def test_a_given_network_is_analysed_as_it_is_and_stays_so(tmp_path: Path, net: Any) -> None:
    data = arrays()
    network = trained(net, data).train()
    network.first.weight.grad = torch.ones_like(network.first.weight)
    network.kept = network.first(torch.ones(1, 5))  # a value with a history of gradients
    before, mode = copy.deepcopy(network.state_dict()), network.training
    as_it_is = mi_runner.run({"dataset.target": "value", "output_dir": tmp_path}, model=network, data=data)
    by_hand = (network(torch.from_numpy(data["x_test"]))[:, 0].detach().round().numpy() == data["y_test"]).mean()
    assert as_it_is.metrics["accuracy"] == by_hand and as_it_is.record.checkpoint.from_ == "program"
    options = ["dataset.target=value", "training.epochs=2", f"output_dir={tmp_path}"]
    retrained = mi_runner.run(options, model=network, data=data, train=True)
    assert retrained.record.checkpoint.from_ == "training" and "history" in retrained.tables
    assert len(retrained.tables["history"]) == 2
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training is mode is True and network.first.weight.grad is not None
    assert np.array_equal(data["x_train"], arrays()["x_train"])
    # A control begins with other weights: those of a network before its training.
    hashes = {run.record.config_hash for run in (as_it_is, retrained)}
    assert len(hashes) == 2


def test_the_record_says_what_was_given(tmp_path: Path, net: Any) -> None:
    data, options = arrays(), ["dataset.target=value", f"output_dir={tmp_path}"]
    network = trained(net, data, 1)
    run = mi_runner.run(options, model=network, data=data)
    given = json.loads((run.folder / "run.json").read_text())["given"]
    assert given["model"] == "own_net_values:Net" and given["trained"] is False and len(given["code"]) == 12
    assert given["data"] == "dict of ndarray" and given["fingerprint"][:12] in run.config["dataset.path"]
    assert given["weights"][:12] in run.config["model.factory"]
    assert run.record.files["model.safetensors"]
    with torch.no_grad():
        network.last.bias += 1
    other = mi_runner.run(options, model=network, data=data | {"x_test": data["x_test"] + 1})
    changed = json.loads((other.folder / "run.json").read_text())["given"]
    assert changed["weights"] != given["weights"] and changed["fingerprint"] != given["fingerprint"]
    assert changed["code"] == given["code"] and run.record.config_hash != other.record.config_hash


def test_the_command_of_a_run_makes_it_again(tmp_path: Path, mi_run: MiRun) -> None:
    for overrides in (
        [*TINY, "model.hidden_sizes=[3]", "expect={accuracy: '>=0'}"],
        {"dataset": "mod_add", "dataset.train_size": 64, "training.epochs": 1, "training.learning_rate": 1e-5},
        f"mi-run {' '.join(TINY)} seed=3 model.activation=tanh",
    ):
        run = mi_runner.run(overrides)
        assert run.record.command.startswith("mi-run ")
        again = mi_run(*shlex.split(run.record.command)[1:])
        assert again.record["config_hash"] == run.record.config_hash and again.record["command"] == run.record.command
        assert tables(again.folder) == tables(run.folder)
        assert f"{run.record.command}\n" not in (run.folder / "report.html").read_text()
        assert "To make it again, type:" in (run.folder / "report.html").read_text()
    by_config = mi_runner.run(compose([*TINY, "seed=8", "training.epochs=1"]))
    assert compose(shlex.split(by_config.record.command)[1:]) == compose([*TINY, "seed=8", "training.epochs=1"])


def test_the_command_of_live_objects_is_the_call(tmp_path: Path, net: Any) -> None:
    options = ["dataset.target=value", f"output_dir={tmp_path}"]
    run = mi_runner.run(options, model=net(), data=arrays(), feature_names=list("abcde"), train=True)
    names: dict[str, Any] = {"mi_runner": mi_runner, "model": net(), "data": arrays()}
    assert run.record.command == (
        f"mi_runner.run({options}, model=model, data=data, feature_names=['a', 'b', 'c', 'd', 'e'], train=True)"
    )
    again = eval(run.record.command, names)
    assert again.status == "done" and again.record.command == run.record.command
    page = (run.folder / "report.html").read_text()
    assert "To make it again, in Python, with the same objects:" in page and "own_net_values:Net" in page


# --- what is taken ---------------------------------------------------------------------------------------------------


def test_overrides_in_every_form_are_the_same(tmp_path: Path) -> None:
    forms = (
        f"dataset=mod_add dataset.train_size=64 'training.loss=auto' model.hidden_sizes=[3,2] output_dir={tmp_path}",
        [
            "dataset=mod_add",
            "dataset.train_size=64",
            "training.loss=auto",
            "model.hidden_sizes=[3,2]",
            f"output_dir={tmp_path}",
        ],
        {
            "dataset": "mod_add",
            "dataset.train_size": 64,
            "training.loss": "auto",
            "model.hidden_sizes": (3, 2),
            "output_dir": tmp_path,
        },
    )
    hashes = {mi_runner.run(overrides).record.config_hash for overrides in forms}
    assert len(hashes) == 1


@pytest.mark.parametrize(
    "value", ["1.10", "null", "it's", "a b", "${x}", "C:\\new\\", "a\\'b", "[a]", "é", "-1", "true", ""]
)
def test_a_text_of_a_dict_stays_the_text(value: str) -> None:
    from mi_runner.config import commands

    config = compose([commands.override("checkpoint", value), commands.override("model.hidden_sizes", [1])])
    assert config.checkpoint == value


def test_data_in_every_form_are_the_same(tmp_path: Path) -> None:
    data = arrays(2)
    x_train, y_train, x_test, y_test = data.values()
    tensors = [torch.from_numpy(array) for array in data.values()]
    dataset = Dataset("mine", *tensors, class_names=("0", "1"))
    columns = [f"c{number}" for number in range(5)]
    forms = [
        data,
        (x_train, y_train, x_test, y_test),
        [x_train.astype("float64"), y_train.astype("int8"), x_test, y_test.astype("uint8")],
        [tensor.requires_grad_() if tensor.is_floating_point() else tensor for tensor in tensors],
        (
            pd.DataFrame(x_train, columns=columns),
            pd.Series(y_train),
            pd.DataFrame(x_test, columns=columns),
            pd.Series(y_test),
        ),
        tuple(array.tolist() for array in data.values()),
        dataset,
    ]
    options = {"model.hidden_sizes": [2], "training.epochs": 1, "output_dir": tmp_path}
    found = [mi_runner.run(options, data=one) for one in forms]
    assert len({run.record.config_hash for run in found}) == 1
    assert len({str(tables(run.folder)) for run in found}) == 1
    assert all(run.record.given.model is None for run in found)
    named = mi_runner.run(options, data=data, class_names=["no", "yes"])
    assert list(named.tables["metrics"]["class"]) == ["all", "all", "no", "yes"]
    texts = (x_train, np.array(["no", "yes"])[y_train], x_test, pd.Series(["no", "yes"])[y_test])
    assert tables(mi_runner.run(options, data=texts).folder) == tables(named.folder)


def test_a_causal_model_is_taken(tmp_path: Path) -> None:
    bits = np.array([[a, b] for a in (0, 1) for b in (0, 1)] * 6)
    data = {f"{name}_{split}": value for split in ("train", "test") for name, value in (
        ("x", bits.astype("float32")), ("y", bits[:, 0] ^ bits[:, 1]), ("variables", bits))}  # fmt: skip
    mapping = data | {"variables": ["p", "q"], "mechanism": [[0, 1], [1, 0]]}
    causal = CausalModel(("p", "q"), torch.from_numpy(bits).double(), torch.from_numpy(bits).double(),
                         LabelTable(torch.tensor([[0, 1], [1, 0]])))  # fmt: skip
    tensors = [torch.from_numpy(data[name]) for name in ("x_train", "y_train", "x_test", "y_test")]
    dataset = Dataset("bits", *tensors, class_names=("0", "1"), causal_model=causal)
    options = {
        "experiment": "probes",
        "model": "mlp",
        "model.hidden_sizes": [3],
        "training.epochs": 2,
        "output_dir": tmp_path,
    }
    first, second = (mi_runner.run(options, data=given) for given in (mapping, dataset))
    found = [
        {name: rows for name, rows in tables(run.folder).items() if name != "history.csv"} for run in (first, second)
    ]
    assert found[0] == found[1] and set(first.tables["metrics"]["variables"]) >= {"p", "q"}


class Lonely(nn.Module):
    """It has a parameter of its own, and no way to draw it anew."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))
        self.layer = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer((self.scale * x).tanh())


X, Y, TEST, LABELS = arrays(2).values()
GOOD = (X, Y, TEST, LABELS)

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "sklearn's order": (
        {"data": (X, TEST, Y, LABELS)},
        "data: the first array has 60 examples and the second 40, as sklearn's train_test_split gives them.*Give "
        r"\(x_train, y_train, x_test, y_test\)",
    ),
    "two": ({"data": (X, Y)}, r"data is tuple of 2: give \(x_train, y_train, x_test, y_test\), a dict"),
    "no data": ({"data": 3}, "data is int: give"),
    "missing": ({"data": {"x_train": X}}, "data: y_train, x_test, y_test missing; give"),
    "other array": ({"data": {**arrays(2), "z": X}}, "no array is named 'z'"),
    "half a causal model": ({"data": {**arrays(2), "variables": ["a"]}}, "mechanism missing; a causal model is"),
    "NaN": ({"data": (X * np.nan, Y, TEST, LABELS)}, "data: x_train .* has NaN or infinite values: 300"),
    "text": (
        {"data": (X.astype(str), Y, TEST, LABELS)},
        r"data: x_train .* has the dtype <U\d+; it must be real numbers",
    ),
    "one axis": ({"data": (X[:, 0], Y, TEST, LABELS)}, r"data: x_train has the shape \(60,\).*Give x_train\[:, None\]"),
    "lengths": ({"data": (X, Y[:3], TEST, LABELS)}, r"data: x_train \(60, 5\) has 60 examples and y_train \(3,\) 3"),
    "values": ({"data": (X, Y + 0.5, TEST, LABELS + 0.5)}, "use dataset.target=value, or give y_train.astype"),
    "ragged": ({"data": ([[1], [1, 2]], Y, TEST, LABELS)}, "data: x_train is list, no array"),
    "columns in another order": (
        {"data": (pd.DataFrame(X), Y, pd.DataFrame(TEST)[[1, 0, 2, 3, 4]], LABELS)},
        r"the columns of x_train and x_test differ, or their order: give x_test\[x_train.columns\]",
    ),
    "other columns": (
        {"data": (pd.DataFrame(X), Y, pd.DataFrame(TEST[:, :4]), LABELS)},
        "the columns of x_train and x_test differ, or their order: give the same",
    ),
    "columns of text": (
        {
            "data": (
                pd.DataFrame({"a": X[:, 0], "colour": ["red"] * 60}),
                Y,
                pd.DataFrame({"a": TEST[:, 0], "colour": ["red"] * 40}),
                LABELS,
            )
        },
        "the columns colour of x_train hold no numbers: give pandas.get_dummies.*dataset=table",
    ),
    "objects": ({"data": (np.array([[None]] * 60), Y, TEST, LABELS)}, "x_train has values of the type NoneType"),
    "names": ({"data": GOOD, "class_names": ["a"]}, "labels of 2 classes, 0 to 1: give a name for each"),
    "a text for names": ({"data": GOOD, "class_names": "ab"}, "class_names='ab': give a list of names"),
    "names of nothing": ({"class_names": ["a", "b"]}, "class_names= names what is in data=, which is missing"),
    "both data": ({"overrides": "dataset=mnist", "data": GOOD}, "dataset=mnist and data= both name the data"),
    "both files": ({"overrides": "dataset.path=a.npz", "data": GOOD}, "dataset.path=a.npz and data= both name"),
    "both networks": ({"overrides": "model=cnn", "model": nn.Linear(5, 2)}, "model=cnn and model= both name"),
    "no network": ({"model": 3}, "model=int: give an nn.Module, or a class or function that returns one"),
    "a function of nothing": ({"model": lambda: 3, "data": GOOD}, "it returns int; it must return an nn.Module"),
    "train what": ({"train": True}, "train=True is about a network that is given"),
    "train not": ({"train": False, "model": nn.Linear}, "train=False: model= makes a new network, which is trained"),
    "seeds": ({"overrides": "seeds=3", "model": nn.Linear(5, 2), "data": GOOD}, "seeds=3 trains many networks"),
    "both weights": (
        {"overrides": "checkpoint=a.pt", "model": nn.Linear(5, 2), "train": True, "data": GOOD},
        "train=True: checkpoint=a.pt has the weights",
    ),
    "arguments": (
        {"overrides": ["model.arguments={width: 3}"], "model": nn.Linear(5, 2), "data": GOOD},
        "model.arguments=.*they are for a class or function",
    ),
    "outputs": (
        {"model": nn.Linear(5, 3), "data": GOOD},
        r"Linear returns \(2, 3\) for 2 examples; the data set needs",
    ),
    "inputs": ({"model": nn.Linear(4, 2), "data": GOOD}, r"Linear can't run on inputs of the shape \(5,\)"),
    "draws": (
        {"model": nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2, track_running_stats=False)), "data": GOOD},
        "gives an example other outputs where other examples are in its batch",
    ),
    "untrained": (
        {"overrides": "experiment=clusters", "model": Lonely(), "data": GOOD},
        "reset_parameters|clusters|layer",
    ),
    "sweep": ({"overrides": "dataset=mod_add seed=0,1"}, "seed=0,1 has several values.*mi-run -m seed=0,1"),
    "flag": ({"overrides": "-m seed=0,1"}, "-m is no option of a run in a program"),
    "quotes": ({"overrides": "seed='1"}, "No closing quotation"),
    "no overrides": ({"overrides": 3}, "int has no overrides: give a text such as"),
    "no value": ({"overrides": {"seed": object()}}, "object is no value of an option"),
    "typo": ({"overrides": "experiment=circuit"}, "circuits"),
    "config and data": ({"overrides": compose(TINY), "data": GOOD}, "a config has its own model and dataset"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_says_what_to_give(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given, words = MISTAKES[name]
    overrides = given.get("overrides", ())
    others = {key: value for key, value in given.items() if key != "overrides"}
    with pytest.raises(ConfigError, match=words):
        mi_runner.run(overrides, **others)
    assert not Path("outputs").exists()


def test_a_control_needs_weights_that_can_be_drawn_anew(tmp_path: Path) -> None:
    options = {"experiment": "decoder", "output_dir": tmp_path}
    with pytest.raises(
        ConfigError, match="the weights of Lonely can't be drawn again: give its class a method reset_param"
    ):
        mi_runner.run(options, model=Lonely(), data=of_bits())


def test_controls_begin_with_the_weights_that_a_factory_draws(mi_run: MiRun, tmp_path: Path, monkeypatch: Any) -> None:
    """The control is the network before its training: of live weights, the weights that `reset_parameters` draws."""
    make = own_class(tmp_path, monkeypatch, "own_net_controlled", 2)
    data = of_bits()
    network = trained(make, data)
    np.savez("data.npz", **data)
    torch.save(network.state_dict(), "weights.pt")
    files = ("dataset=arrays", "dataset.path=data.npz", "model=external", "model.factory=own_net_controlled:Net")
    ended = mi_run("experiment=probes", *files, "checkpoint=weights.pt")
    assert ended.status == 0, ended.err
    live = mi_runner.run("experiment=probes", model=network, data=data)
    assert tables(ended.folder) == tables(live.folder)
    assert "untrained" in set(live.tables["metrics"]["control"])


def of_bits() -> dict[str, Any]:
    bits = np.array([[a, b, c, 0, 1] for a in (0, 1) for b in (0, 1) for c in (0, 1)] * 4)
    found: dict[str, Any] = {"variables": ["p", "q"], "mechanism": [[0, 1], [1, 0]]}
    for split in ("train", "test"):
        found |= {f"x_{split}": bits.astype("float32"), f"y_{split}": bits[:, 0] ^ bits[:, 1]}
        found[f"variables_{split}"] = bits[:, :2]
    return found


def test_a_line_says_what_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str], net: Any) -> None:
    network = net()
    network.first.register_forward_hook(lambda module, inputs, output: None)
    options = ["dataset.target=value", "training.epochs=3", "training.loss=auto", f"output_dir={tmp_path}"]
    run = mi_runner.run(options, model=network, data=arrays())
    said = capsys.readouterr()
    assert said.out == "" and "training.epochs doesn't train the network that is given" in said.err
    assert "has hooks on its forward pass" in said.err and "is analysed with the weights" not in said.err
    assert "is analysed with the weights" in (run.folder / "run.log").read_text()
    mi_runner.run(["training.loss=auto", "dataset.target=value", f"output_dir={tmp_path}"], model=net(), data=arrays())
    assert capsys.readouterr().err == ""


# --- the caller ------------------------------------------------------------------------------------------------------


def test_the_callers_state_stays_and_changes_no_figure(tmp_path: Path) -> None:
    options = [*TINY, "seed=31", f"output_dir={tmp_path}"]
    usual = mi_runner.run(options)
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    expected = torch.rand(3), np.random.rand(3).tolist(), random.random()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    level = log.level
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("medium")
        with torch.inference_mode(), np.errstate(all="raise"):
            found = mi_runner.run({"seed": 31, "dataset": "mod_add", **_options(TINY), "output_dir": tmp_path})
            assert torch.is_inference_mode_enabled() and not torch.is_grad_enabled()
            assert np.geterr()["invalid"] == "raise"
        assert torch.get_default_dtype() == torch.float64 and torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
    assert log.level == level and log.propagate and not log.handlers
    assert (torch.rand(3).equal(expected[0]), np.random.rand(3).tolist(), random.random()) == (True, *expected[1:])
    assert tables(found.folder) == tables(usual.folder)


def _options(overrides: tuple[str, ...]) -> dict[str, Any]:
    pairs = [override.partition("=") for override in overrides]
    return {key: int(value) if value.isdecimal() else value for key, _, value in pairs}


def test_a_run_inside_of_a_loop_and_of_a_thread(tmp_path: Path) -> None:
    async def within() -> mi_runner.Run:
        return mi_runner.run([*TINY, f"output_dir={tmp_path}"])

    assert asyncio.run(within()).status == "done"
    found: list[mi_runner.Run] = []
    threads = [
        threading.Thread(
            target=lambda seed=seed: found.append(mi_runner.run([*TINY, f"seed={seed}", f"output_dir={tmp_path}"]))
        )
        for seed in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.record.seed for run in found) == [1, 2] and {run.status for run in found} == {"done"}


def test_a_program_that_uses_hydra_itself_keeps_it(tmp_path: Path) -> None:
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        own = GlobalHydra.instance().hydra
        mi_runner.run([*TINY, f"output_dir={tmp_path}"])
        compose(["dataset=mod_add", "hydra.job.chdir=false", "~seed", "+seed=3"])
        assert GlobalHydra.instance().hydra is own is not None
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_the_run_interrupted(
    signum: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM then reaches the handler that the program has."""
    from mi_runner.runs import networks

    def interrupted(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signum)

    arrived: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: arrived.append(number))
    try:
        with monkeypatch.context() as patched:
            patched.setattr(networks.model_store, "obtain", interrupted)
            with pytest.raises(KeyboardInterrupt if signum == signal.SIGINT else Terminated):
                mi_runner.run([*TINY, f"output_dir={tmp_path}"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert arrived == ([signum] if signum == signal.SIGTERM else [])
    run = mi_runner.open(tmp_path / "train/mod_add-mlp/v001")
    assert run.status == "interrupted" and run.error and run.metrics == {} and "interrupted" in repr(run)
    assert mi_runner.run([*TINY, f"output_dir={tmp_path}"]).status == "done"


def test_a_run_that_fails_is_opened(tmp_path: Path) -> None:
    options = [*TINY, "training.optimizer=sgd", "training.learning_rate=1e30", f"output_dir={tmp_path}"]
    with pytest.raises(RunFailed, match="learning_rate"):
        mi_runner.run(options)
    run = mi_runner.open(tmp_path / "train/mod_add-mlp/v001")
    assert run.status == "failed" and "learning_rate" in run.error and run.answer == "" and dict(run.metrics) == {}
    assert "failed" in run._repr_html_() and "learning_rate" in run._repr_html_()


def test_expectations_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {**_options(TINY), "expect": {"accuracy": ">=2"}, "output_dir": tmp_path}
    run = mi_runner.run(options, show=True)
    said = capsys.readouterr()
    assert run.status == "done" and len(run.not_met) == 1 and "expected >= 2" in run.not_met[0] == run.error[8:]
    assert said.out.splitlines()[0].startswith("metrics: ") and said.out.splitlines()[-1] == str(run.folder)
    assert "expect: accuracy" in said.err
    assert mi_runner.run({**options, "expect": None}).not_met == () and capsys.readouterr().out == ""


def test_warnings_of_python_do_not_come_from_a_run(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        mi_runner.run([*TINY, f"output_dir={tmp_path}"], show=False)
    assert [one for one in found if "mi_runner" in str(one.filename)] == []

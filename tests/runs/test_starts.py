"""Seeds whose networks start from the same weights on the same data are one network: a line says so, and no interval.

A factory that sets torch's seed, one with constant weights, and a checkpoint make one network of all seeds. Networks
of a factory that does neither, and those on data that are drawn, differ, and keep their intervals.
"""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mi_runner.runs import starts
from mi_runner.tables.intervals import Spread
from mi_runner.tables.over_seeds import Measured, over_seeds, seeds_summary
from mi_runner.tables.ranges import SHARE
from tests.conftest import Ended

MiRun = Callable[..., Ended]

FACTORY = """
import torch

def plain():
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))

def seeded():
    torch.manual_seed(0)
    return plain()

def constant():
    model = plain()
    for parameter in model.parameters():
        parameter.data.fill_(0.5)
    return model
"""

OWN = (
    *("dataset=arrays", "dataset.path=d.npz", "model=external", "report=false"),
    *("training.epochs=1", "training.batch_size=8"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    Path("starts_net.py").write_text(FACTORY)
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    np.savez("d.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    yield
    sys.modules.pop("starts_net", None)
    importlib.invalidate_caches()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def factory(name: str) -> str:
    return f"model.factory=starts_net:{name}"


SAME = "start from the same weights on the same data: they are one network"
LINE = f"{SAME}, but for the order of its batches, so there is no interval over seeds."


@pytest.mark.parametrize(("name", "one_network"), [("plain", False), ("seeded", True), ("constant", True)])
def test_many_seeds_of_one_run(name: str, one_network: bool, mi_run: MiRun) -> None:
    ended = mi_run("experiment=train", *OWN, factory(name), "seeds=3")
    assert ended.status == 0, ended.err
    assert (f"seeds 0, 1, 2 {LINE}" in ended.err) == one_network
    assert (f"Take torch.manual_seed or constant weights out of {factory(name)}" in ended.err) == one_network
    summary = rows(ended.folder / "seeds_summary.csv")
    assert {row["n"] for row in summary} == {"3"} and all(row["mean"] for row in summary)
    assert all((row["low"] == row["high"] == "") == one_network for row in summary)
    metrics = ended.record["metrics"]
    assert ((metrics["accuracy_low"], metrics["accuracy_high"]) == (None, None)) == one_network
    assert ("(" in ended.record["answer"]) == (not one_network)  # an interval
    assert len(set(ended.record["starts"].values())) == (1 if one_network else 3)


@pytest.mark.parametrize(("name", "one_network"), [("plain", False), ("seeded", True)])
def test_seeds_of_a_sweep(name: str, one_network: bool, mi_run: MiRun) -> None:
    ended = mi_run("-m", "experiment=train", *OWN, factory(name), "seed=range(0,3)")
    assert ended.status == 0, ended.err
    assert (f"seeds 0, 1, 2 {LINE}" in ended.err) == one_network
    summary = [row for row in rows(ended.folder / "sweep_summary.csv") if row["measure"] == "accuracy"]
    assert summary and all((row["low"] == row["high"] == "") == one_network for row in summary)
    assert ("mean over seeds, 95 % interval" in ended.out) == (not one_network) and "mean over seeds" in ended.out


def test_a_checkpoint_is_one_network_for_all_seeds(mi_run: MiRun) -> None:
    alone = mi_run("experiment=train", *OWN, factory("plain"))
    checkpoint = f"checkpoint={alone.folder}/model.safetensors"
    ended = mi_run("-m", "experiment=train", *OWN, factory("plain"), "seed=range(0,2)", checkpoint)
    assert (
        f"seeds 0, 1 {SAME}, so there is no interval over seeds. {checkpoint} is one network: leave it out" in ended.err
    )


def test_data_that_are_drawn_make_networks_differ(mi_run: MiRun) -> None:
    data = ("dataset=mod_add", "dataset.train_size=40", "dataset.test_size=20")
    ended = mi_run("experiment=train", *data, *OWN[2:], factory("seeded"), "seeds=2")
    assert ended.status == 0, ended.err
    assert SAME not in ended.err
    assert len(set(ended.record["starts"].values())) == 2


def test_diff_tests_no_difference_of_one_network(mi_run: MiRun) -> None:
    def sweep(name: str, epochs: int) -> str:
        command = ("experiment=train", *OWN, factory(name), f"training.epochs={epochs}", "seed=range(0,3)")
        return str(mi_run("-m", *command).folder)

    for name, one_network in (("plain", False), ("seeded", True)):
        found = mi_run("diff", sweep(name, 1), sweep(name, 2), "--format", "json")
        assert ("they are one network, so there is no test" in found.out) == one_network
        many = [str(mi_run("experiment=train", *OWN, factory(name), "seeds=3", option).folder) for option in
                ("training.learning_rate=0.1", "training.learning_rate=0.2")]  # fmt: skip
        found = mi_run("diff", *many, "--format", "json")
        assert ("they are one network, so there is no test" in found.out) == one_network


# --- the arithmetic ------------------------------------------------------------------------------------------------


def test_twins_take_the_interval_away_and_nothing_else() -> None:
    table = [{"seed": seed, "accuracy": value} for seed, value in enumerate((0.5, 0.6, 0.8))]
    plain = seeds_summary(table, (), {"accuracy": SHARE}, {0: "a", 1: "b", 2: "c"})
    assert plain == seeds_summary(table, (), {"accuracy": SHARE})
    (twins,) = seeds_summary(table, (), {"accuracy": SHARE}, {0: "a", 1: "b", 2: "a"})
    assert twins == {**plain[0], "low": None, "high": None}
    measured = [Measured(number, {}, {"accuracy": 0.5}, {"accuracy": SHARE}, None) for number in range(3)]
    (unknown,) = over_seeds(measured)  # runs of an earlier version, which say nothing
    assert unknown.spread == Spread.of((0.5, 0.5, 0.5), SHARE)


def test_the_seeds_of_the_commonest_start_are_named() -> None:
    assert starts.shared([(0, "a"), (1, "b"), (2, "b"), (3, None), (4, None)]) == [1, 2]
    assert starts.shared([(0, "a"), (1, "b"), (2, None)]) == []
    assert "seeds 0, 1, 2, 3, 4, 5 and 4 more start" in starts.sentence(range(10), factory=None, checkpoint=None)


def test_a_start_is_of_weights_and_data() -> None:
    from tests.small_data import classes

    model = torch.nn.Linear(2, 2)
    first = starts.start_of(model, classes())
    assert starts.start_of(model, classes(seed=1)) != first
    with torch.no_grad():
        model.bias[0] += 1
    assert starts.start_of(model, classes()) != first and len(first) == 16

"""experiment=explanations: a run's tables against the functions that they come from, many seeds, and mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from mi_runner.cli import command
from mi_runner.experiments.explanations.figures import gate_name
from mi_runner.methods.explanations.groundings import GroundedNeuron
from tests.conftest import REPOSITORY

SMALL = ["experiment=explanations", "model.hidden_sizes=[3]", "training.learning_rate=0.02", "seed=1"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def store(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MI_RUN_CACHE", str(cache))


def folder_of(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    status = command.main([*arguments, f"output_dir={tmp_path}"])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return Path(printed.out.splitlines()[-1])


@pytest.mark.drawn
def test_the_tables_agree_with_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of([*SMALL, "experiment.listed=40", "experiment.max_depth=2"], tmp_path, capsys)
    metrics = pd.read_csv(folder / "metrics.csv")
    assert metrics["control"].tolist() == ["none", "untrained", "random_function"] and metrics["function"][0] == "XOR"
    is_constant = metrics["function"].isin(["0000", "1111"])
    assert is_constant.tolist() == [False, True, False]  # its algorithms are not looked for: not 0, but not known
    for column in ("n_algorithms", "n_algorithms_aligned", "n_alignments", "n_alignments_joint"):
        assert metrics[column].isna().tolist() == is_constant.tolist()
    assert metrics["n_groundings"].notna().all()
    trained = metrics.iloc[0]
    assert trained["n_groundings_low"] == trained["n_groundings"] == trained["n_groundings_high"]
    assert trained["n_grounded"] == trained["n_valid"] and trained["converged"] == 1
    circuits = pd.read_parquet(folder / "circuits.parquet")
    valid = circuits[circuits["valid"]]
    assert len(circuits) == trained["n_circuits"] and len(valid) == trained["n_valid"] > 0
    assert valid["n_groundings"].sum() == circuits["n_groundings"].sum() == trained["n_groundings"] > 0
    assert (circuits["n_groundings"].isna() == ~circuits["valid"]).all()  # those of other circuits aren't counted
    partial = valid[valid["n_nodes"] < 3]
    assert partial["n_groundings"].sum() == trained["n_groundings_partial"]
    assert valid["n_groundings"].max() == trained["groundings_max"]

    groundings = pd.read_csv(folder / "groundings.csv")
    listed = groundings.groupby(["circuit", "grounding"]).ngroups
    assert listed == min(40, trained["n_groundings"])
    assert set(groundings["circuit"]) <= set(valid["circuit"]) and {"A", "B"} <= set(" ".join(groundings["inputs"]))

    algorithms = pd.read_csv(folder / "algorithms.csv")
    assert len(algorithms) == trained["n_algorithms"] == 2
    assert algorithms["n_alignments"].sum() == trained["n_alignments"]
    assert (algorithms["n_alignments"] > 0).sum() == trained["n_algorithms_aligned"]
    record = json.loads((folder / "run.json").read_text())
    assert record["metrics"]["n_groundings"] == trained["n_groundings"]
    history = pd.read_csv(folder / "history.csv")
    assert record["stop_epoch"] == {"1": history["epoch"].max()} and history["loss"].iloc[-1] <= 0.01
    assert {path.stem for path in (folder / "figures").glob("*.png")} >= {"groundings_0", "circuit_0"}


def test_many_seeds_have_the_rows_of_each_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*SMALL, "experiment.max_depth=2", "dataset.functions=[AND]", "experiment.control=false"]
    together = pd.read_csv(folder_of([*arguments, "seeds=2"], tmp_path, capsys) / "metrics.csv")
    assert together["seed"].tolist() == [1, 2]
    alone = pd.read_csv(folder_of(arguments, tmp_path, capsys) / "metrics.csv")
    for column in ("n_valid", "n_algorithms", "n_alignments"):
        assert together[column][0] == alone[column][0]
    summary = pd.read_csv(next((tmp_path / "explanations/logic-mlp").glob("v001/seeds_summary.csv")))
    row = summary[summary["measure"] == "n_valid"].iloc[0]
    assert row["mean"] == together["n_valid"].mean()


@pytest.mark.drawn
def test_controls_of_each_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The untrained network and networks on random functions, of each seed, as each seed alone has them."""
    arguments = [*SMALL, "experiment.max_depth=1", "dataset.functions=[AND]", "experiment.random_functions=2"]
    folder = folder_of([*arguments, "seeds=2"], tmp_path, capsys)
    together = pd.read_csv(folder / "metrics.csv", dtype={"function": str})
    controls = together[together["control"] != "none"]
    assert controls["seed"].tolist() == [1, 1, 1, 2, 2, 2]
    assert controls["control"].tolist() == ["untrained", "random_function", "random_function"] * 2
    assert controls["repeat"].tolist() == [0, 0, 1] * 2
    log = (folder / "run.log").read_text()
    n_converged = int(controls["converged"][controls["control"] == "random_function"].sum())
    assert f"{n_converged} of 4 controls on random functions are accurate enough and analysed" in log and n_converged
    summary = pd.read_csv(folder / "seeds_summary.csv")
    of_random = summary[(summary["control"] == "random_function") & (summary["measure"] == "converged")].iloc[0]
    assert of_random["n"] == 2 and 0 <= of_random["low"] <= of_random["mean"] <= of_random["high"] <= 1
    alone = pd.read_csv(folder_of(arguments, tmp_path, capsys) / "metrics.csv", dtype={"function": str})
    first = together[together["seed"] == 1]
    for column in ("control", "repeat", "function", "n_valid", "n_algorithms"):
        assert alone[column].astype(str).tolist() == first[column].astype(str).tolist(), column


def test_several_outputs_are_explained_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*SMALL, "dataset.functions=[AND,OR]", "experiment.max_depth=1", "experiment.control=false"]
    folder = folder_of(arguments, tmp_path, capsys)
    metrics = pd.read_csv(folder / "metrics.csv")
    assert metrics["function"].tolist() == ["AND", "OR"] and metrics["n_algorithms"].tolist() == [1, 1]
    formulas = pd.read_csv(folder / "algorithms.csv")["formula"].tolist()
    assert formulas == ["A ∧ B", "A ∨ B"]


def test_a_network_that_did_not_converge_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([*SMALL, "training.epochs=0", f"output_dir={tmp_path}"]) == 1
    assert "below experiment.min_accuracy=0.99" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["dataset=mod_add"], "dataset=logic"),
        (["dataset=mod_add", "dataset.target=value"], "dataset=logic"),
        (["dataset.limit=2"], "dataset.limit=null"),
        (["dataset.functions=[XOR,MAJORITY,IMP]"], "different numbers of inputs"),
        (["dataset.functions=[0000]"], "0000 is constant"),
        (["dataset.functions=[011]"], "has 3 digits"),
        (["dataset.target=class"], "2 outputs answer a class together. Type model.outputs=logit for a network"),
        (["experiment.max_depth=4"], "Use experiment.max_depth=3"),
        (["model.hidden_sizes=[6,6]"], "circuits, more than 20,000,000,000"),
        (["model=skip"], "ends the chain of last layers"),
    ],
)
def test_mistakes_are_found_before_training(
    arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["experiment=explanations", *arguments, f"output_dir={tmp_path}"]) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.rglob("run.json"))


def test_gates_have_names() -> None:
    def neuron(parents: tuple[int, ...], local: int) -> GroundedNeuron:
        return GroundedNeuron(1, 0, 0.5, 0, parents, local)

    assert gate_name(neuron((0,), 0b10)) == "IS" and gate_name(neuron((0,), 0b01)) == "NOT"
    assert gate_name(neuron((0, 1), 0b1000)) == "AND" and gate_name(neuron((0, 1), 0b1100)) == "0011"


def test_the_program_of_the_page_runs() -> None:
    page = (REPOSITORY / "docs/explanations.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(program, {})

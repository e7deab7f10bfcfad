"""The true circuit in circuits, discovery and criteria: the planted one, and that of a user's file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from mi_runner.cli import command

XOR = "(A & ~B) | (~A & B)"
PLANTED = ("dataset=logic", "model=planted", f"model.formula={XOR}")
TRAINED = ("dataset=logic", "model.hidden_sizes=[2,2]", "training.epochs=1", "experiment.valid=agreement")
FEW = (
    "experiment.methods=[random,magnitude,edge_patching,eap,greedy]",
    "experiment.bootstrap=2",
    "experiment.repeats=2",
)


def ended(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> Path:
    """Returns the folder of a run."""
    assert command.main([*arguments, "report=false", f"output_dir={folder}"]) == 0
    return Path(capsys.readouterr().out.splitlines()[-1])


def answer_of(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["answer"])


def saved(folder: Path, edges: str) -> str:
    """Returns the option that names a file with these edges: layer, source, target of each."""
    (folder / "edges.csv").write_text("layer,source,target\n" + edges.replace(" ", "\n") + "\n")
    return f"experiment.truth={folder / 'edges.csv'}"


def test_ignored_distractors_mislead_sizes_of_weights_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ignored = ("model.distractors=2", "model.distractor_kind=ignored")
    run = ended(capsys, tmp_path, "experiment=discovery", *PLANTED, *ignored, *FEW)
    summary = pd.read_csv(run / "summary.csv").set_index(["method", "ablation"])
    assert (summary.roc_auc.loc[["magnitude", "edge_patching"]] == [0.5, 0.5, 1, 1]).all()
    assert summary.roc_auc.loc["greedy"].isna().all() and (summary.n_sizes == 8).all()
    assert (summary[["precision", "recall", "truth_found"]] == 1).all(axis=None)  # the truth is the largest circuit
    assert pd.read_csv(run / "sizes.csv").groupby("ablation").n_circuits.sum().tolist() == [15, 15]
    scores, truth = pd.read_csv(run / "scores.csv"), pd.read_csv(run / "truth.csv")
    assert (scores.groupby(["method", "ablation"]).size() == 7 + 8).all()
    edges = set(zip(scores.layer, scores.source, scores.target, strict=True))
    assert set(zip(truth.layer, truth.source, truth.target, strict=True)) < edges
    record = json.loads((run / "run.json").read_text())
    assert record["metrics"]["roc_auc/edge_patching/zero"] == 1 and np.isnan(
        record["metrics"]["roc_auc/greedy/zero"] or np.nan
    )
    assert "find the true circuit of 7 edges; areas under the ROC of its edges: random" in record["answer"]


def test_cancelling_twins_and_the_areas_of_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ended(capsys, tmp_path, "experiment=discovery", *PLANTED, *FEW, "model.distractors=2")
    summary, truth = pd.read_csv(run / "summary.csv"), pd.read_csv(run / "truth.csv")
    assert pd.read_csv(run / "sizes.csv").groupby("ablation").n_circuits.sum().tolist() == [7_743, 7_743]
    assert (summary.fewest_valid == 7).all() and (summary.n_sizes == 20).all()
    true = set(zip(truth.layer, truth.source, truth.target, strict=True))
    scores = pd.read_csv(run / "scores.csv")
    for (method, ablation), rows in scores[scores.method != "random"].groupby(["method", "ablation"]):
        is_true = np.array([edge in true for edge in zip(rows.layer, rows.source, rows.target, strict=True)])
        wanted = mannwhitneyu(rows.score[is_true], rows.score[~is_true]).statistic / is_true.sum() / (~is_true).sum()
        row = summary[(summary.method == method) & (summary.ablation == ablation)].iloc[0]
        assert row.roc_auc == pytest.approx(wanted) and row.roc_auc < 0.9
    metrics = pd.read_csv(run / "metrics.csv")
    bits = pd.read_csv(run / "metrics.csv", dtype={"circuit": "uint64"}).circuit
    assert bits.map(lambda circuit: int(circuit).bit_count()).tolist() == metrics.n_edges.tolist()
    at = metrics[(metrics.k == 7) & (metrics.method == "greedy")]
    of_greedy = summary[summary.method == "greedy"]
    assert (of_greedy.precision.to_numpy() * at.n_edges.to_numpy()) == pytest.approx(of_greedy.recall.to_numpy() * 7)
    assert (metrics[metrics.method != "random"].regret_mse >= 0).all()


def test_a_file_is_the_truth_as_what_is_planted_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("experiment=circuits", *PLANTED, "model.copies=2", "experiment.inputs=any")
    planted = ended(capsys, tmp_path, *options)
    by_file = ended(capsys, tmp_path, *options, f"experiment.truth={planted / 'truth.csv'}")
    for name in ("circuits.parquet", "metrics.csv"):
        read = pd.read_parquet if name.endswith("parquet") else pd.read_csv
        ours, theirs = (read(run / name).drop(columns="seconds", errors="ignore") for run in (planted, by_file))
        pd.testing.assert_frame_equal(ours, theirs)


def test_a_truth_about_a_trained_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = saved(tmp_path, "0,0,0 0,1,0 1,0,1 2,1,0")
    run = ended(capsys, tmp_path, "experiment=circuits", *TRAINED, truth, "experiment.inputs=any")
    circuits = pd.read_parquet(run / "circuits.parquet")
    own = 0b10_0100_0011  # by layer, then target: 0→0, 1→0; into 1 from 0; from 1
    assert circuits[circuits.is_truth].circuit.tolist() == [own]
    assert circuits.contains_truth.tolist() == [int(one) & own == own for one in circuits.circuit]
    wanted = (circuits.valid & (circuits.n_edges <= 4)).sum()
    assert json.loads((run / "run.json").read_text())["metrics"]["n_equally_valid"] == wanted
    found = ended(capsys, tmp_path, "experiment=discovery", *TRAINED, truth, *FEW)
    summary = pd.read_csv(found / "summary.csv")
    scores = pd.read_csv(found / "scores.csv")
    assert (scores.groupby(["method", "ablation"]).size() == 10).all()  # every edge
    assert summary.roc_auc.notna().sum() == 8 and summary.precision.between(0, 1).any()
    assert "the true circuit of 4 edges" in answer_of(found)


def test_files_that_are_no_truth_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for experiment in ("circuits", "discovery"):
        arguments = [f"experiment={experiment}", *TRAINED, saved(tmp_path, "0,0,0"), f"output_dir={tmp_path}"]
        assert command.main(arguments) == 2
        assert "an edge lies on no path from an input to an output" in capsys.readouterr().err


def test_criteria_of_a_planted_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = (
        "experiment.inputs=any",
        "experiment.control_circuits=50",
        "model.distractors=2",
        "experiment.noise=[0.1]",
    )
    run = ended(capsys, tmp_path, "experiment=criteria", *PLANTED, *options)
    metrics = pd.read_csv(run / "metrics.csv").set_index(["ablation", "criterion"])
    circuits = pd.read_parquet(run / "circuits.parquet")
    assert metrics.untrained.isna().all() and (metrics.n_chance == 50).all()
    for ablation, rows in circuits.groupby("ablation", observed=True):
        assert rows.n_edges.max() == 19 and rows[rows.n_edges == 19].parsimony.tolist() == [0.0]
        assert rows.n_edges.min() == 7 and (rows.agreement == 1).all() and rows["rank"].notna().all()
        own = rows[rows.n_edges == 7].iloc[0]  # no other valid circuit is as small: the planted one
        for name in ("noise_0.1", "sufficiency", "interchange", "complement", "rank", "parsimony"):
            others = rows[name].drop(own.name)
            better, equal = (others > own[name] + 1e-12).sum(), ((others - own[name]).abs() <= 1e-12).sum()
            assert metrics.loc[(ablation, name), "truth"] == pytest.approx((better + equal / 2) / len(others))
        assert metrics.loc[(ablation, "parsimony"), "picks_truth"]
    assert "The truth is picked alone by parsimony" in answer_of(run)


def test_a_planted_circuit_outside_the_family_has_no_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("dataset=logic", "dataset.functions=[0011]", "model=planted", "model.formula=A", "model.distractors=2")
    run = ended(capsys, tmp_path, "experiment=criteria", *arguments, "experiment.last_layers=null")
    assert pd.read_csv(run / "metrics.csv").truth.isna().all()


def test_planted_layers_without_a_circuit_of_every_input_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dead = ("dataset=logic", "dataset.functions=[0011]", "model=planted", "model.formula=A", "model.width=3")
    for experiment in ("circuits", "criteria"):
        assert command.main([f"experiment={experiment}", *dead, "experiment.last_layers=2"]) == 2
        error = capsys.readouterr().err
        assert "no circuit of edges whose weight is not 0 that uses every input and output" in error
        assert "experiment.inputs=any" in error
    assert ended(capsys, tmp_path, "experiment=circuits", *dead, "experiment.last_layers=2", "experiment.inputs=any")

"""Sweeps over checkpoints: which networks are compared, what is written, and what has an interval."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mi_runner.models.mlp import MLP
from mi_runner.sweeps import network_groups
from mi_runner.sweeps.declared import declarations_of_sweep
from mi_runner.sweeps.sweep_plan import read_plan
from mi_runner.sweeps.sweep_tables import ended
from mi_runner.tables.names import short_names
from mi_runner.tables.paired import PairedAnswers
from tests.conftest import Ended
from tests.run_records import write, write_sweep

SMALL = ("dataset=arrays", "dataset.path=data.npz", "model=mlp", "model.hidden_sizes=[3,2]", "report=false")
VALUES = ("dataset.target=value", "experiment.last_layers=2", "experiment.accuracy_threshold=0.55")


@pytest.fixture
def files(mi_run: Callable[..., Ended], tmp_path: Path) -> Callable[..., Ended]:
    """Data, and the weights a.pt, b.pt, and those of a.pt again in nets/a.pt and, its units permuted, in p.pt."""
    torch.manual_seed(0)
    nets = [MLP([4, 3, 2, 1], torch.nn.LeakyReLU) for _ in range(2)]
    with torch.no_grad():
        for parameter in (parameter for net in nets for parameter in net.parameters()):
            parameter.mul_(3)  # so that outputs differ when they are rounded
    x = torch.randn(120, 4)
    y = nets[0](x)[:, 0].round()
    assert len(y.unique()) > 1
    arrays = {"x_train": x[:60], "y_train": y[:60], "x_test": x[60:], "y_test": y[60:]}
    np.savez(tmp_path / "data.npz", **{name: array.detach().numpy() for name, array in arrays.items()})
    (tmp_path / "nets").mkdir()
    state = nets[0].state_dict()
    for name, weights in (("a.pt", state), ("nets/a.pt", state), ("b.pt", nets[1].state_dict())):
        torch.save(weights, tmp_path / name)
    permuted = dict(state)
    layers = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    order = [2, 0, 1]
    permuted[f"{layers[0]}.weight"] = state[f"{layers[0]}.weight"][order]
    permuted[f"{layers[0]}.bias"] = state[f"{layers[0]}.bias"][order]
    permuted[f"{layers[1]}.weight"] = state[f"{layers[1]}.weight"][:, order]
    torch.save(permuted, tmp_path / "p.pt")
    return mi_run


def test_networks_of_checkpoints_are_compared_as_those_of_seeds(files: Callable[..., Ended]) -> None:
    done = files("-m", "experiment=circuits", *SMALL, *VALUES, "checkpoint=a.pt,nets/a.pt,b.pt,p.pt")
    assert done.status == 0, done.err
    assert "the checkpoints a.pt and nets/a.pt have the same weights: they are one network" in done.err
    tables = {
        name: pd.read_csv(done.folder / f"sweep_{name}.csv") for name in ("circuits", "matching", "shared", "pairs")
    }
    shared = tables["shared"]
    assert set(zip(shared["network"], shared["other"], strict=True)) == {
        ("a.pt", "b.pt"),
        ("a.pt", "p.pt"),
        ("b.pt", "p.pt"),
    }
    copy = shared[(shared["network"] == "a.pt") & (shared["other"] == "p.pt") & (shared["what"] == "valid circuits")]
    ((first, second, both),) = copy[["first", "second", "both"]].to_numpy().tolist()
    assert first == second == both > 0
    assert set(tables["matching"]["checkpoint"]) == {"b.pt", "p.pt"}
    assert tables["circuits"]["share_low"].isna().all()  # these networks are no sample
    summary = pd.read_csv(done.folder / "sweep_summary.csv")
    assert set(summary["n"]) == {1} and summary["low"].isna().all() and "nets/a.pt" in set(summary["checkpoint"])
    declared = declarations_of_sweep(["circuits"], ["checkpoint"])
    for name, table in tables.items():
        assert [column for column in table if not declared.column(f"sweep_{name}", column)] == []
        assert declared.caption(f"sweep_{name}")
    assert "a.pt and p.pt: " in done.err  # a line for each pair

    # Two of its jobs, by mi-run diff: in words and one table; the numbers are left out.
    pair = [str(done.folder / job) for job in ("0", "3")]
    said = files("diff", *pair)
    text = " ".join(said.out.split())
    assert f"Of {first:,.0f} valid circuits of A and {first:,.0f} of B, {first:,.0f} are valid in both" in text
    assert "McNemar's test does not tell the networks apart (p = 1)" in text and "mean_jaccard" not in said.out
    assert "left out: edges of valid circuits" in text and "--all shows them" in text
    everything = files("diff", *pair, "--all")
    assert "edges of valid circuits: B and A" in everything.out and "0:0→0" in everything.out
    as_json = json.loads(files("diff", *pair, "--format", "json").out)
    assert as_json["differs"] == bool(said.status) == bool(everything.status)
    (circuits,) = (section for section in as_json["sections"] if section["title"] == "circuits: B and A")
    assert circuits["rows"][0]["both"] == first and circuits["answer"] in text
    markdown = files("diff", *pair, "--format", "markdown").out
    assert f"### circuits: B and A\n\n{circuits['answer']}\n\n| what | A | B | both |" in markdown
    itself = files("diff", pair[0], pair[0], "--all")
    assert itself.status == 0 and "The analysed layers of A and B have the same weights." in " ".join(
        itself.out.split()
    )


def test_pairs_of_networks_are_tested_on_the_same_examples(files: Callable[..., Ended]) -> None:
    """Each row against the answers of both networks, counted here."""
    done = files("-m", "experiment=ablation", *SMALL, "dataset.target=value", "checkpoint=a.pt,b.pt,p.pt")
    assert done.status == 0, done.err
    pairs = pd.read_csv(done.folder / "sweep_pairs.csv")
    answers = [pd.read_parquet(done.folder / f"{job}/predictions.parquet") for job in range(3)]
    answers = [frame[frame["method"].astype(str) == "none"].sort_values("example") for frame in answers]
    correct = [(frame["answer"] == frame["label"]).to_numpy() for frame in answers]
    intact = pairs[pairs["method"] == "none"].set_index(["network", "other"])
    for (one, first), (two, second) in (
        (("a.pt", correct[0]), ("b.pt", correct[1])),
        (("b.pt", correct[1]), ("p.pt", correct[2])),
    ):
        row = intact.loc[(one, two)]
        counts = PairedAnswers(
            *(int(both.sum()) for both in (first & second, first & ~second, ~first & second, ~first & ~second))
        )
        assert (row["n"], row["only_network"], row["only_other"]) == (60, counts.first, counts.second)
        assert row["p"] == pytest.approx(counts.p) and row["accuracy"] == pytest.approx(first.mean())
        assert row["difference_low"] == pytest.approx(counts.interval[0])
        assert row["p"] <= row["p_of_all_pairs"] + 0.02 <= 1.02
    copy = intact.loc[("a.pt", "p.pt")]
    assert (copy["difference"], copy["p"], copy["p_of_all_pairs"]) == (0, 1, 1)
    assert len(pairs) == 3 * len(pairs[["target", "method", "repeat"]].drop_duplicates())


def test_a_user_may_say_that_checkpoints_are_networks_of_one_setting(files: Callable[..., Ended]) -> None:
    done = files("-m", *SMALL, "experiment=circuits", *VALUES, "checkpoint=a.pt,b.pt", "over=checkpoint")
    assert done.status == 0 and "mean over checkpoints, 95 % interval" in done.out, done.err
    summary = pd.read_csv(done.folder / "sweep_summary.csv").set_index("measure")
    each = [float(pd.read_csv(done.folder / f"{job}/metrics.csv")["full_accuracy"].iloc[0]) for job in (0, 1)]
    assert summary.loc["full_accuracy", "n"] == 2 and "checkpoint" not in summary
    assert summary.loc["full_accuracy", "mean"] == pytest.approx(np.mean(each))
    edges = pd.read_csv(done.folder / "sweep_circuits.csv").query("kind == 'edge'")
    assert edges["share_low"].notna().all()
    again = files(f"sweep={done.folder}", "over=seed")
    assert again.status == 0 and "checkpoint" in pd.read_csv(done.folder / "sweep_summary.csv")
    assert files(f"sweep={done.folder}").status == 0 and "mean over checkpoints" in files(f"sweep={done.folder}").out
    twins = files(
        "-m", *SMALL, "dataset.target=value", "checkpoint=a.pt,nets/a.pt", "over=checkpoint", "experiment=ablation"
    )
    summary = pd.read_csv(twins.folder / "sweep_summary.csv")
    assert summary["low"].isna().all() and "they are one network" in twins.err


def test_other_architectures_are_compared_in_part(files: Callable[..., Ended], tmp_path: Path) -> None:
    torch.save(MLP([4, 3, 3, 1], torch.nn.LeakyReLU).state_dict(), tmp_path / "wide.pt")
    sizes = "model.hidden_sizes=[3,2],[3,3]"
    small = [option for option in SMALL if not option.startswith("model.")]
    done = files("-m", "experiment=circuits", *small, *VALUES, sizes, "checkpoint=a.pt,wide.pt", "skip_invalid=true")
    assert done.status == 0, done.err
    assert "a.pt has layers of 3-2-1 neurons and wide.pt of 3-3-1, so their hidden units can't be matched" in done.err
    shared = pd.read_csv(done.folder / "sweep_shared.csv").set_index("what")
    assert shared["both"].isna().all() and shared.loc["valid circuits", ["first", "second"]].notna().all()
    assert not (done.folder / "sweep_circuits.csv").exists() and (done.folder / "sweep_pairs.csv").exists()


def test_which_jobs_are_compared(tmp_path: Path) -> None:
    """By code and swept values; of jobs with the same start the first; with a checkpoint the model names a network."""

    def grouped(jobs: dict[str, list[object]], starts: list[str], **changes: object) -> list[tuple[object, ...]]:
        sweep = tmp_path / str(len(list(tmp_path.iterdir())))
        write_sweep(sweep, jobs, command="", overrides=[], base={}, code="", left_out=[], **changes)
        content = zip(*jobs.values(), starts, strict=True)
        for number, (*_, start) in enumerate(content):
            write(sweep / str(number), starts={"0": start}, versions={"code": "c"}, experiment="circuits")

        plan = json.loads((sweep / "sweep.json").read_text())
        for job in plan["jobs"]:
            job |= {"overrides": [f"{key}={value}" for key, value in job["swept"].items()], "config_hash": ""}
        (sweep / "sweep.json").write_text(json.dumps(plan))
        found = network_groups.groups(ended(read_plan(sweep), sweep))
        return [(group.over, group.labels, dict(group.swept), group.are_sample) for group in found]

    assert grouped({"seed": [0, 1]}, ["aa", "bb"]) == [("seed", ("0", "1"), {}, True)]
    assert grouped({"seed": [0, 1]}, ["aa", "aa"]) == []  # seeds of one network
    paths = ["x/v001", "x/v002", "x/v003"]
    assert grouped({"checkpoint": paths}, ["aa", "bb", "aa"]) == [("checkpoint", ("v001", "v002"), {}, False)]
    assert grouped({"checkpoint": paths}, ["aa", "bb", "cc"], over="checkpoint")[0][3] is True
    both = {"checkpoint": ["a", "b", "a", "b"], "experiment.x": [1, 1, 2, 2]}
    assert [group[2] for group in grouped(both, ["aa", "bb", "aa", "bb"])] == [{"experiment.x": 1}, {"experiment.x": 2}]
    models = {"model": ["mlp", "cnn"], "checkpoint": ["a", "b"]}
    assert grouped(models, ["aa", "bb"]) == [("checkpoint", ("a", "b"), {}, False)]
    one = {"model.bias": [True, False], "checkpoint": ["a", "a"]}
    assert grouped(one, ["aa", "bb"])[0][1] == ("a model.bias=True", "a model.bias=False")


def test_names_are_as_short_as_they_are_clear() -> None:
    assert short_names(["/long/way/a.pt", "/long/way/b.pt"]) == {"/long/way/a.pt": "a.pt", "/long/way/b.pt": "b.pt"}
    assert list(short_names(["old/best.pt", "new/best.pt", "new/last.pt"]).values()) == [
        "old/best.pt", "new/best.pt", "new/last.pt"
    ]  # fmt: skip
    assert short_names(["a.pt", "x/a.pt"]) == {"a.pt": "a.pt", "x/a.pt": "x/a.pt"}
    assert short_names(["a.pt", "./a.pt"]) == {"a.pt": "a.pt", "./a.pt": "./a.pt"}
    assert short_names(["outputs/v001/"]) == {"outputs/v001/": "v001"} and short_names([]) == {}

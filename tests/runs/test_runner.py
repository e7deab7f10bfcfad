"""A run's folder: what is in it when the run is done, failed or interrupted."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mi_runner.config import composition
from mi_runner.errors import ConfigError, RunFailed, Terminated
from mi_runner.experiments.ablation import experiment as ablation
from mi_runner.experiments.train import experiment as train
from mi_runner.machine import drawing, files, hardware, signals, threads
from mi_runner.models.mlp import MLP
from mi_runner.progress import Progress, log
from mi_runner.runs import preparation, run_folder, runner
from mi_runner.runs.choices import load_dataset
from mi_runner.runs.run_folder import RunFolder
from mi_runner.training import loop as training
from tests.commands import TINY
from tests.conftest import Ended

MiRun = Callable[..., Ended]


def test_the_folder_of_a_run_that_is_done(mi_run: MiRun) -> None:
    ended = mi_run("experiment=train", *TINY, "seed=3003")
    assert ended.status == 0
    assert str(ended.folder) == "outputs/train/mod_add-mlp/v001"
    assert os.readlink("outputs/train/mod_add-mlp/latest") == "v001"
    names = {str(path.relative_to(ended.folder)) for path in ended.folder.rglob("*") if path.is_file()}
    assert names == {
        *("run.json", "run.log", "config.yaml", "model.safetensors", "report.html"),
        *("metrics.csv", "history.csv", "confusion.csv", "predictions.parquet"),
        *("figures/history.png", "figures/confusion.png", "figures/captions.md"),
    }
    record = ended.record
    assert list(record) == [
        *("schema_version", "status", "experiment", "dataset", "model", "seed", "device"),
        *("threads", "processor", "instruction_set", "config_hash", "config", "data", "outputs", "answer", "metrics"),
        *(
            "keys",
            "common_names",
            "repeats",
            "shown",
            "measures",
            "types",
            "timings",
            "checkpoint",
            "starts",
            "stop_epoch",
            "versions",
            "git",
            "command",
            "host",
            "pid",
            "started",
            "finished",
            "error",
            "exit_status",
            "files",
        ),
    ]
    assert (record["status"], record["seed"], record["error"]) == ("done", 3003, None)
    assert record["keys"] == {
        "metrics": ["split", "class"],
        "history": ["epoch"],
        "confusion": ["label", "predicted"],
        "predictions": ["example"],
    }
    assert record["repeats"] == [] and record["measures"]["accuracy"] == [0, 1]
    assert record["measures"]["loss"] == [0, None]
    assert set(record["files"]) == names - {"run.json"}
    for name, digest in record["files"].items():
        assert files.sha256(ended.folder / name) == digest
    assert {"import", "data", "model", "experiment", "write", "report", "total"} == set(record["timings"])
    assert record["checkpoint"]["from"] == "training"
    with (ended.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["split"] == "test" and float(rows[1]["accuracy"]) == record["metrics"]["accuracy"]
    assert (ended.folder / "config.yaml").read_text().startswith("# experiment=train dataset=mod_add model=mlp\n")


def test_a_picture_that_fails_costs_no_weights_and_no_table(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(drawing: object, path: Path) -> None:
        raise ValueError("no such colour")

    monkeypatch.setattr(drawing, "save_figure", failing)
    ended = mi_run("experiment=train", *TINY, "seed=3007")
    assert ended.status == 1 and "no such colour" in ended.err
    (folder,) = Path("outputs/train/mod_add-mlp").glob("v*")
    assert {"model.safetensors", "metrics.csv", "history.csv"} <= {path.name for path in folder.iterdir()}


def test_the_saved_weights_give_the_saved_accuracy(mi_run: MiRun) -> None:
    ended = mi_run("experiment=train", *TINY, "model.hidden_sizes=[5]", "training.epochs=20")
    model = MLP([4, 5, 2])
    model.load_state_dict(load_file(ended.folder / "model.safetensors"))
    config = composition.compose(TINY)
    dataset = load_dataset(config.dataset, seed=0)
    accuracy = float((model(dataset.x_test).argmax(1) == dataset.y_test).double().mean())
    assert ended.record["metrics"]["accuracy"] == accuracy


def test_the_second_run_finds_the_model_and_gives_the_same_table(mi_run: MiRun) -> None:
    first, second = (mi_run("experiment=ablation", "model=mlp", *TINY, "seed=3004") for _ in range(2))
    assert (first.record["checkpoint"]["from"], second.record["checkpoint"]["from"]) == ("training", "model store")
    assert second.folder.name == "v002"
    for name in ("metrics.csv", "confusion.csv"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    assert (first.folder / "model.safetensors").exists() and not (second.folder / "model.safetensors").exists()
    assert first.record["config_hash"] == second.record["config_hash"]
    assert (
        mi_run("experiment=ablation", "model=mlp", *TINY, "seed=5").record["config_hash"]
        != second.record["config_hash"]
    )


def test_a_sweep_over_ablations_trains_once(mi_run: MiRun) -> None:
    ended = mi_run("-m", "experiment=ablation", "model=mlp", *TINY, "seed=6", "experiment.repeats=1,2,3")
    assert ended.status == 0 and str(ended.folder) == "outputs/sweeps/ablation/v001"
    records = [json.loads((ended.folder / str(job) / "run.json").read_text()) for job in range(3)]
    assert [record["checkpoint"]["from"] for record in records] == ["training", "model store", "model store"]
    assert [record["status"] for record in records] == ["done"] * 3


def test_expectations(mi_run: MiRun) -> None:
    met = mi_run(*TINY, "expect={accuracy: '>=0,<=1'}")
    assert met.status == 0 and met.record["expect_not_met"] == []
    ended = mi_run(*TINY, "expect={accuracy: '>1', loss: '<1000'}")
    assert ended.status == 3
    assert ended.record["status"] == "done"
    assert f"accuracy = {ended.record['metrics']['accuracy']:.10g}, expected > 1" in ended.err
    assert "expect: accuracy > 1 can't be met, because accuracy is 0 to 1" in ended.err and "can't" not in met.err
    unknown = mi_run(*TINY, "expect={acuracy: '>0'}")
    assert unknown.status == 2 and "no summary metric is named 'acuracy'. Did you mean accuracy" in unknown.err
    sweep = mi_run("-m", *TINY, "seed=0,1", "expect={accuracy: '>1'}")
    assert sweep.status == 3
    cases = ElementTree.parse(ended.folder / "expectations.xml").findall(".//testcase")
    names = [(case.get("name"), case.get("classname")) for case in cases]
    group = f"train.{ended.record['dataset']}-{ended.record['model']}"
    assert names == [("accuracy > 1", group), ("loss < 1000", group)]
    failures = [[failure.get("message") for failure in case.iter("failure")] for case in cases]
    assert failures == [ended.record["expect_not_met"], []]
    assert "expectations.xml" in ended.record["files"]
    assert "expectations.xml" not in mi_run(*TINY).record["files"]
    mistake = mi_run(*TINY, "expect={accuracy: high}")
    assert mistake.status == 2 and "is not a bound" in mistake.err


def test_what_a_run_is_called_changes_no_figure_and_no_hash(mi_run: MiRun) -> None:
    plain = mi_run(*TINY)
    labels = ("run.name=first", "run.tags=[paper,2026]", 'run.note="of Monday, again"')
    named = mi_run(*TINY, *labels, "report=true")
    config = named.record["config"]
    assert [config[f"run.{key}"] for key in ("name", "tags", "note")] == [
        "first",
        ["paper", "2026"],
        "of Monday, again",
    ]
    assert named.record["config_hash"] == plain.record["config_hash"]
    assert named.record["checkpoint"]["from"] == "model store" and named.record["metrics"] == plain.record["metrics"]
    page = (named.folder / "report.html").read_text()
    facts = page[page.index('<dl class="facts">') :]
    assert "<dt>name</dt><dd>first</dd>" in facts and "<dt>tags</dt><dd>paper, 2026</dd>" in facts
    assert "<dt>note</dt><dd>of Monday, again</dd>" in facts and ">run.name<" not in page
    assert mi_run("diff", str(plain.folder), str(named.folder)).out.startswith("equal in ")
    mistake = mi_run(*TINY, "run.tags=paper")
    assert mistake.status == 2 and "run.tags=paper: must be a list of names: type 'run.tags=[paper]'" in mistake.err


def test_expectations_of_a_class_and_with_several_bounds(mi_run: MiRun) -> None:
    ended = mi_run(*TINY, 'expect={accuracy: [">=0", "<=1"], accuracy/1: [">=0", ">1"]}')
    metrics = ended.record["metrics"]
    assert ended.status == 3
    assert ended.record["expect_not_met"] == [f"accuracy/1 = {metrics['accuracy/1']:.10g}, expected > 1"]
    with (ended.folder / "metrics.csv").open() as file:
        by_class = {row["class"]: float(row["accuracy"]) for row in csv.DictReader(file) if row["class"] in ("0", "1")}
    assert {name: metrics[f"accuracy/{name}"] for name in by_class} == by_class and len(by_class) == 2
    unknown = mi_run(*TINY, "expect={accuracy/7: '>0'}")
    assert unknown.status == 2 and "no summary metric is named 'accuracy/7'. Did you mean accuracy/" in unknown.err
    assert mi_run(*TINY, "expect={accuracy: []}").status == 2


def test_the_summary_has_the_names_that_were_promised(mi_run: MiRun) -> None:
    """A class without test examples has a name, and no number."""
    x, y = np.eye(4), [0, 1, 2, 1]
    np.savez("data.npz", x_train=x, y_train=y, x_test=x, y_test=[0, 1, 0, 1])
    record = mi_run("dataset=arrays", "dataset.path=data.npz", "training.epochs=1").record
    setting = preparation.prepare(
        config := composition.compose(["dataset=arrays", "dataset.path=data.npz"]),
        load_dataset(config.dataset, seed=0),
        [],
        progress=Progress(),
    ).setting
    assert sorted(record["metrics"]) == sorted(train.metric_names(setting))
    assert record["metrics"]["accuracy/2"] is None and record["metrics"]["accuracy/1"] is not None


def test_a_checkpoint_is_used_as_it_is(mi_run: MiRun) -> None:
    trained = mi_run(*TINY)
    before = (trained.folder / "metrics.csv").read_text()
    by_folder = mi_run(*TINY, f"checkpoint={trained.folder}", "training.epochs=50")
    assert (by_folder.folder / "metrics.csv").read_text() == before
    assert not (by_folder.folder / "model.safetensors").exists()
    assert by_folder.record["checkpoint"] == {
        "from": "checkpoint",
        "path": str((trained.folder / "model.safetensors").resolve()),
        "sha256": trained.record["files"]["model.safetensors"],
    }
    torch.save(load_file(trained.folder / "model.safetensors"), "weights.pt")
    assert (mi_run(*TINY, "checkpoint=weights.pt").folder / "metrics.csv").read_text() == before
    # An ablation's folder has no weights of its own, but says where they are.
    found = mi_run("experiment=ablation", "model=mlp", *TINY)
    assert not (found.folder / "model.safetensors").exists()
    assert (mi_run(*TINY, f"checkpoint={found.folder}").folder / "metrics.csv").read_text() == before


def test_weights_saved_by_train_can_be_changed_and_are_then_refused(mi_run: MiRun) -> None:
    trained = mi_run(*TINY)
    weights = trained.folder / "model.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights)
    ended = mi_run(*TINY, f"checkpoint={trained.folder}")
    expected, found = trained.record["files"]["model.safetensors"], files.sha256(weights)
    assert ended.status == 2 and f"its sha256 is {found}, run.json says {expected}" in ended.err


def test_published_weights_by_their_names(mi_run: MiRun) -> None:
    """A plain state_dict with first.weight, first.bias, last.weight, last.bias, made by hand."""
    np.savez("data.npz", x_train=np.eye(3), y_train=[0, 1, 2], x_test=np.eye(3), y_test=[0, 1, 2])
    state = {
        **{"first.weight": torch.zeros(3, 3), "first.bias": torch.zeros(3)},
        **{"last.weight": torch.eye(3), "last.bias": torch.zeros(3)},
    }
    torch.save(state, "skip.pt")
    ended = mi_run("experiment=ablation", "dataset=arrays", "dataset.path=data.npz", "checkpoint=skip.pt")
    metrics = ended.record["metrics"]
    # The network answers by its skip connection alone.
    assert metrics["accuracy"] == metrics["accuracy/relu/zero"] == metrics["accuracy/x/first/resample"] == 1
    assert metrics["accuracy/x/add/zero"] == pytest.approx(1 / 3)


def failed_record(parent: str) -> tuple[dict[str, Any], str]:
    """run.json and run.log of the newest run below `outputs/parent`."""
    folder = max(Path("outputs", parent).glob("v*"))
    assert not Path("outputs", parent, "latest").exists()
    return json.loads((folder / "run.json").read_text()), (folder / "run.log").read_text()


MISTAKES = {
    "model=cnn": "model=cnn takes images; dataset=mod_add gives vectors of 4. Use model=mlp.",
    "device=cuda:99": "device=cuda:99",
    "expect={acuracy: '>0'}": "no summary metric is named 'acuracy'. Did you mean accuracy",
    "training.loss=bce": "training.loss=bce takes values",
    "checkpoint=nowhere.pt": "checkpoint=nowhere.pt: no such file",
    "checkpoint=other.pt": "checkpoint=other.pt: 1 tensors, the model has 4",
    "checkpoint=text.pt": "checkpoint=text.pt: not a weights file",
}


def test_a_mistake_takes_no_version(mi_run: MiRun) -> None:
    Path("text.pt").write_text("hello")
    torch.save({"a": torch.ones(3)}, "other.pt")
    for mistake, text in MISTAKES.items():
        ended = mi_run(*TINY, mistake)
        assert ended.status == 2 and ended.out == "" and text in ended.err.splitlines()[-1], ended.err
        assert "Traceback" not in ended.err
        assert not Path("outputs").exists()
    assert mi_run(*TINY).folder.name == "v001"
    assert mi_run(*TINY, next(reversed(MISTAKES))).status == 2
    assert sorted(path.name for path in Path("outputs/train/mod_add-mlp").iterdir()) == ["latest", "v001"]
    assert mi_run(*TINY).folder.name == "v002"


def test_a_mistake_in_a_folder_that_was_given_is_in_its_record(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    with pytest.raises(ConfigError, match="Use model=mlp"):
        runner.run(composition.compose([*TINY, "model=cnn"]), folder=tmp_path / "3")
    record = run_folder.read_record(tmp_path / "3")
    assert record is not None and (record.status, record.exit_status) == ("failed", 2)
    assert record.error.startswith("model=cnn takes images") and record.finished
    assert "Traceback" in (tmp_path / "3/run.log").read_text()


def test_a_crash_whose_text_is_a_sentence_has_one_full_stop(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: object, **options: object) -> None:
        raise ValueError("Give a list.")

    monkeypatch.setattr(runner, "load_dataset", broken)
    assert "ValueError: Give a list. The whole traceback" in mi_run(*TINY).err


def test_a_crash_while_the_data_are_loaded_leaves_the_log_and_the_traceback(
    mi_run: MiRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(config: object, **options: object) -> None:
        log.warning("the file is odd")
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(runner, "load_dataset", broken)
    ended = mi_run(*TINY)
    assert ended.status == 1 and ended.out == ""
    assert "ZeroDivisionError: oh. The whole traceback is in outputs/train/mod_add-mlp/v001/run.log." in ended.err
    record, text = failed_record("train/mod_add-mlp")
    assert (record["status"], record["exit_status"]) == ("failed", 1)
    assert text.index("the file is odd") < text.index("Traceback") < text.index("ZeroDivisionError: oh")
    assert Path("outputs/train/mod_add-mlp/v001/config.yaml").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated()], ids=["ctrl-c", "sigterm"])
def test_an_interruption_while_the_data_are_loaded_leaves_nothing(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(config: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(runner, "load_dataset", interrupted)
    handlers = list(log.handlers)
    with pytest.raises(type(error)):
        runner.run(composition.compose([*TINY, f"output_dir={tmp_path / 'outputs'}"]))
    assert not (tmp_path / "outputs").exists() and log.handlers == handlers


def test_lines_from_before_the_folder_was_claimed_are_in_its_log(mi_run: MiRun) -> None:
    torch.save({f"another.{name}": tensor for name, tensor in MLP([4, 128, 2]).state_dict().items()}, "weights.pt")
    ended = mi_run(*TINY, "checkpoint=weights.pt")
    text = (ended.folder / "run.log").read_text()
    assert ended.status == 0 and text.count("is taken as layers.0.weight") == 1
    assert (
        text.index("is taken as layers.0.weight") < text.index(f"→ {ended.folder}") < text.index("nothing is trained")
    )


def test_an_unknown_site_is_found_before_training(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "train", lambda *_, **__: pytest.fail("trained"))
    ended = mi_run("experiment=ablation", *TINY, "seed=99", "experiment.targets=[rleu]")
    assert ended.status == 2
    assert "no site is named 'rleu'. Did you mean relu? Allowed: x, first, relu, add, last." in ended.err


def test_diverged_training_fails_the_run_with_the_epoch(mi_run: MiRun) -> None:
    ended = mi_run(*TINY, "training.learning_rate=1e30", "training.optimizer=sgd", "model.hidden_sizes=[8,8]")
    assert ended.status == 1
    assert "training diverged in epoch 1" in ended.err and "smaller training.learning_rate" in ended.err
    assert failed_record("train/mod_add-mlp")[0]["status"] == "failed"


def test_an_error_of_our_own_is_one_line_that_names_the_log(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(setting: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(ablation, "EXPERIMENT", replace(ablation.EXPERIMENT, run=broken))
    ended = mi_run("experiment=ablation", "model=mlp", *TINY)
    assert ended.status == 1
    assert "ZeroDivisionError: oh. The whole traceback is in outputs/ablation/mod_add-mlp/v001/run.log." in ended.err
    assert "ZeroDivisionError: oh" in failed_record("ablation/mod_add-mlp")[1]


def test_an_output_folder_that_can_not_be_written(mi_run: MiRun) -> None:
    Path("file").write_text("")
    ended = mi_run(*TINY, "output_dir=file/outputs")
    assert ended.status == 1 and "can't make a run folder in file/outputs" in ended.err
    assert "Use output_dir=FOLDER for another folder" in ended.err


@pytest.mark.parametrize("full_from", ["metrics.csv", "model.safetensors", "history.png", "run.json"])
def test_a_full_disk(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch, full_from: str) -> None:
    """From one file on, nothing more can be renamed into place."""
    replace, full = os.replace, []

    def no_space(source: Path, target: Path) -> None:
        seen = Path(target).name
        if full or (seen == full_from and (seen != "run.json" or '"done"' in Path(source).read_text())):
            full.append(target)
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    mi_run(*TINY)  # the model is in the store
    monkeypatch.setattr(files.os, "replace", no_space)
    ended = mi_run(*TINY)
    assert full and ended.status == 1 and "No space left on device" in ended.err
    folder = Path("outputs/train/mod_add-mlp/v002")
    assert run_folder.read_record(folder).status == "running"  # the disk has no room for another word
    assert os.readlink("outputs/train/mod_add-mlp/latest") == "v001"
    assert not [path for path in folder.rglob(".*")]


class InterruptingProgress(Progress):
    """Interrupts the run after so many reports of finished rows."""

    def __init__(self, error: BaseException, after: int) -> None:
        super().__init__()
        self.error, self.after = error, after

    def rows(self, table: str, rows: Any) -> None:
        super().rows(table, rows)
        self.after -= 1
        if self.after == 0:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated()], ids=["ctrl-c", "sigterm"])
def test_an_interruption_keeps_the_finished_rows(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = composition.compose(["experiment=ablation", "model=mlp", *TINY])
    runner.run(config)
    with pytest.raises(type(error)):
        runner.run(config, progress=InterruptingProgress(error, after=4))
    folder = Path("outputs/ablation/mod_add-mlp/v002")
    record = run_folder.read_record(folder)
    assert record.status == "interrupted" and record.finished
    whole = Path("outputs/ablation/mod_add-mlp/v001/metrics.csv").read_text().splitlines()
    assert (folder / "metrics.csv").read_text().splitlines() == whole[:5]
    assert os.readlink("outputs/ablation/mod_add-mlp/latest") == "v001"


def test_an_interruption_in_training_keeps_the_finished_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = composition.compose([*TINY, "seed=77", "training.epochs=5"])
    with pytest.raises(KeyboardInterrupt):
        runner.run(config, progress=InterruptingProgress(KeyboardInterrupt(), after=2))
    history = Path("outputs/train/mod_add-mlp/v001/history.csv").read_text().splitlines()
    assert len(history) == 3
    assert runner.run(config).metrics["accuracy"] >= 0  # the store is not left locked, nor with half a model


def test_a_signal_while_the_run_says_how_it_began_or_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """run.json never stays at `running`: a run that had begun is interrupted, one that had its tables is done."""
    write_record, digests, seen = RunFolder.write_record, RunFolder.digests, []

    def when_it_began(place: RunFolder, record: Any) -> None:
        write_record(place, record)
        if record.status == "running":
            signal.raise_signal(signal.SIGTERM)

    def when_it_ended(place: RunFolder) -> dict[str, str]:
        seen.append(run_folder.read_record(place.path).status)
        signal.raise_signal(signal.SIGTERM)
        return digests(place)

    for name, patched, status in (
        ("write_record", when_it_began, "interrupted"),
        ("digests", when_it_ended, "done"),
    ):
        place = tmp_path / name
        place.mkdir()
        with monkeypatch.context() as patching:
            patching.setattr(RunFolder, name, patched)
            with pytest.raises(Terminated), signals.raised():
                runner.run(composition.compose(list(TINY)), folder=place)
        record = run_folder.read_record(place)
        assert record.status == status and record.finished, name
        assert name == "write_record" or "metrics.csv" in record.files
    assert seen == ["running"]


def test_a_second_signal_while_an_interrupted_run_writes_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table, now = RunFolder.write_table, [0.0]

    def write(place: RunFolder, *arguments: Any, **options: Any) -> None:
        now[0] += 60  # so late that a signal would raise again
        signal.raise_signal(signal.SIGTERM)
        write_table(place, *arguments, **options)

    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(RunFolder, "write_table", write)
    with pytest.raises(Terminated), signals.raised():
        runner.run(
            composition.compose([*TINY, "seed=78"]), folder=tmp_path, progress=InterruptingProgress(Terminated(), 2)
        )
    assert run_folder.read_record(tmp_path).status == "interrupted"
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 3


def test_too_little_memory_says_what_to_type(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*arguments: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(training, "train", train)
    ended = mi_run(*TINY, "seed=79")
    assert ended.status == 1 and "Tried to allocate 2 GiB" in ended.err and "use device=cpu" in ended.err


def test_a_run_from_a_notebook_needs_no_command_line(tmp_path: Path) -> None:
    outcome = runner.run(composition.compose([*TINY, f"output_dir={tmp_path}"]))
    assert outcome.folder == tmp_path / "train/mod_add-mlp/v001" and outcome.not_met == []
    assert outcome.tables[0].rows[1]["accuracy"] == outcome.metrics["accuracy"]
    with pytest.raises(ConfigError):
        runner.run(composition.compose([*TINY, "device=cuda:99", f"output_dir={tmp_path}"]))
    with pytest.raises(RunFailed):
        runner.run(composition.compose([*TINY, "output_dir=/dev/null"]))


def test_threads_are_set_for_the_run_alone(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), []
    train = training.train
    monkeypatch.setattr(training, "train", lambda *a, **k: (seen.append(torch.get_num_threads()), train(*a, **k))[1])
    for asked in (1, before + 1):  # more than there are cores, too: a figure depends on it
        runner.run(composition.compose([*TINY, "seed=55", f"threads={asked}", f"output_dir={tmp_path}"]))
        shutil.rmtree(cache / "models")
    assert seen == [1, before + 1] and torch.get_num_threads() == before


def test_threads_are_a_part_of_the_config_and_of_its_hash(mi_run: MiRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "n_cores", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = mi_run(*TINY)
    named = mi_run(*TINY, "threads=3")
    other = mi_run(*TINY, "threads=2")
    assert "threads: 3\n" in (found.folder / "config.yaml").read_text()
    hashes = [ended.record["config_hash"] for ended in (found, named, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    record = found.record
    assert (record["threads"], record["instruction_set"]) == (3, torch.backends.cpu.get_cpu_capability())
    assert record["processor"] == hardware.processor() != ""


@pytest.mark.parametrize(
    ("cores", "named", "found"),
    [(1, None, 1), (3, None, 3), (64, None, threads.MOST), (64, "2", 2), (2, "16", threads.MOST), (2, "", 2)],
)
def test_automatic_threads(cores: int, named: str | None, found: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "n_cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if named is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", named)
    assert composition.compose(["threads=auto"]).threads == composition.compose(["threads=null"]).threads == found


def test_sigterm_is_as_it_was_after_a_command(mi_run: MiRun) -> None:
    before = signal.getsignal(signal.SIGTERM)
    mi_run(*TINY)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_sweep_that_can_not_make_its_folder(mi_run: MiRun) -> None:
    ended = mi_run("-m", *TINY, "seed=0,1", "output_dir=/dev/null/x")
    assert ended.status == 1 and "Use output_dir=FOLDER for another folder" in ended.err


def test_flags_stand_anywhere(mi_run: MiRun) -> None:
    assert "seed: 7" in mi_run("--cfg", "job", "seed=7").out
    assert "seed: 7" in mi_run("seed=7", "--cfg", "job").out
    assert mi_run(TINY[0], "seed=0,1", "-m", *TINY[1:]).status == 0


def test_a_latest_that_is_no_link_does_not_undo_a_run(mi_run: MiRun) -> None:
    Path("outputs/train/mod_add-mlp/latest").mkdir(parents=True)
    ended = mi_run(*TINY)
    assert ended.status == 0 and ended.record["status"] == "done"
    assert "can't point latest to" in ended.err


def test_a_network_that_ends_the_program_is_a_mistake(mi_run: MiRun) -> None:
    Path("quits.py").write_text("import sys\nsys.exit(0)\n")
    ended = mi_run("model=external", "model.factory=quits:Net", *TINY)
    assert ended.status == 2 and "importing quits raises SystemExit" in ended.err


def test_networks_that_differ_in_an_argument_alone_are_two(mi_run: MiRun) -> None:
    Path("scaled.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, scale):\n"
        "        super().__init__()\n"
        "        self.scale, self.last = scale, torch.nn.LazyLinear(2)\n"
        "    def forward(self, x):\n"
        "        return self.last(x * self.scale)\n"
    )
    run = ("model=external", "model.factory=scaled:Net", *TINY)
    records = [mi_run(*run, f"model.arguments={{scale: {scale}}}").record for scale in (1, 0, 1)]
    assert [record["checkpoint"]["from"] for record in records] == ["training", "training", "model store"]
    assert records[0]["metrics"] == records[2]["metrics"] != records[1]["metrics"]


def test_a_network_that_changes_its_input_is_refused(mi_run: MiRun) -> None:
    Path("inplace.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.last = torch.nn.Linear(4, 2)\n"
        "    def forward(self, x):\n"
        "        return self.last(x.mul_(3))\n"
    )
    ended = mi_run("model=external", "model.factory=inplace:Net", *TINY)
    assert ended.status == 2 and "Begin its forward with x = x.clone()" in ended.err

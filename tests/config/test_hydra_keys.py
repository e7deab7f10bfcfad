"""Hydra's own keys: each that is taken has an effect, and each other is refused."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mi_runner.config import hydra_keys
from mi_runner.config.engine_schemas import RayLauncher, SubmititLocalLauncher, SubmititSlurmLauncher
from mi_runner.config.registry import ENGINES
from mi_runner.config.run_schema import RunConfig
from mi_runner.errors import ConfigError
from mi_runner.sweeps.engines import slurm_commands
from mi_runner.sweeps.engines.ray import Ray
from mi_runner.sweeps.engines.slurm import Slurm
from mi_runner.sweeps.engines.submitit import Submitit
from mi_runner.sweeps.sweep_plan import read_command
from mi_runner.sweeps.sweep_search import Search
from mi_runner.sweeps.worker import Task
from tests.conftest import Ended

TINY = ("dataset=mod_add", "dataset.train_size=64", "dataset.test_size=32", "training.epochs=1")
MiRun = Callable[..., Ended]

# --- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("hydra.run.dir=x", "output_dir=FOLDER says where"),
        ("hydra.sweep.dir=x", "output_dir=FOLDER says where"),
        ("hydra.sweep.subdir=x", "output_dir=FOLDER says where"),
        ("hydra.output_subdir=x", "output_dir=FOLDER says where"),
        ("++hydra.job.chdir=true", "output_dir=FOLDER says where"),
        ("hydra.mode=MULTIRUN", "-m makes a command a sweep"),
        ("hydra.job.env_set.A=1", "NAME=VALUE mi-run"),
        ("hydra.job.env_set={A: 1}", "NAME=VALUE mi-run"),
        ("hydra.verbose=true", "run.log in its folder"),
        ("hydra/job_logging=default", "run.log in its folder"),
        ("hydra.job_logging.root.level=DEBUG", "run.log in its folder"),
        ("hydra/hydra_logging=default", "run.log in its folder"),
        ("+hydra.foo=3", "mi-run takes hydra/launcher=NAME"),
        ("hydra.job.name=x", "mi-run takes hydra/launcher=NAME"),
        ("+hydra.callbacks.mine._target_=os.system", "mi-run takes hydra/launcher=NAME"),
        ("hydra/callbacks=x", "mi-run takes hydra/launcher=NAME"),
        ("hydra/help=default", "mi-run takes hydra/launcher=NAME"),
        ("hydra/output=default", "mi-run takes hydra/launcher=NAME"),
        ("hydra/env=default", "mi-run takes hydra/launcher=NAME"),
        ("hydra.launcher={a: 1}", "mi-run takes hydra/launcher=NAME"),
        ("hydra/launcher@hydra.foo=joblib", "mi-run takes hydra/launcher=NAME"),
        ("~hydra", "mi-run takes hydra/launcher=NAME"),
        ("~hydra.launcher", "mi-run takes hydra/launcher=NAME"),
        ("~hydra/launcher", "can't be added or removed; write hydra/launcher=VALUE"),
        ("+hydra.launcher.foo=3", "can't be added or removed; write hydra.launcher.foo=VALUE"),
        ("+hydra.searchpath=[x]", "can't be added or removed; write hydra.searchpath=VALUE"),
    ],
)
def test_what_has_no_effect_is_refused(override: str, text: str, mi_run: MiRun) -> None:
    for sweep in ((), ("-m", "hydra/launcher=joblib"), ("--cfg", "job")):
        ended = mi_run(*TINY, *sweep, override)
        assert ended.status == 2 and ended.out == "" and ended.err.count("\n") == 1
        assert ended.err.startswith(f"mi-run: error: {override}: ") and text in ended.err
    assert not list(Path().iterdir())


@pytest.mark.parametrize("group", ENGINES)
def test_engines_are_for_sweeps_and_options_for_engines(group: str, mi_run: MiRun) -> None:
    name = ENGINES[group][0].name
    for override in (f"hydra/{group}={name}", f"hydra.{group}.seed=3", f"hydra.{group}._target_=os.system"):
        ended = mi_run(*TINY, override)
        assert ended.status == 2 and f"{override}: only a sweep has a {group}. Add -m" in ended.err
    option = {"launcher": "n_jobs", "sweeper": "n_trials"}[group]
    for override, hint in (
        (f"hydra.{group}.{option}=3", f"hydra/{group}={name}"),
        (f"hydra.{group}._target_=os.system", f"no option of hydra/{group} is named '_target_'"),
    ):
        for choice in ((), (f"hydra/{group}=basic",)):
            ended = mi_run("-m", *TINY, "seed=0,1", *choice, override)
            assert ended.status == 2 and f"{override}: {hint}" in ended.err
        ended = mi_run("-m", *TINY, "seed=0,1", f"hydra/{group}={name}", f"hydra.{group}._target_=os.system")
        assert ended.status == 2 and f"no key is named 'hydra.{group}._target_'" in ended.err
    assert not list(Path().iterdir())


def test_the_tables_of_a_sweep_take_nothing_else(mi_run: MiRun) -> None:
    done = mi_run("-m", *TINY, "seed=0,1")
    for override in ("hydra/launcher=joblib", "on_error=stop", "seed=3"):
        ended = mi_run(f"sweep={done.folder}", override)
        assert ended.status == 2 and f"runs nothing, so it takes no {override}" in ended.err


def test_a_key_that_only_begins_like_hydras_is_not_hydras() -> None:
    hydra_keys.check(["hydrate=3", "model.hydra=3"], has_engines=False)
    with pytest.raises(ConfigError):
        hydra_keys.check([" hydra.foo=3"], has_engines=True)


# --- taken ---------------------------------------------------------------------------------------------------------

OTHER_VALUES = {
    **{"n_jobs": 7, "threads": 3, "timeout_min": 11, "mem_gb": 5.0, "gpus": 2, "partition": "cpu", "account": "me"},
    **{"more": {"qos": "high"}, "address": "host:1", "n_trials": 4, "direction": "minimize", "seed": 9},
}


@pytest.mark.parametrize(
    "engine", [engine for engines in ENGINES.values() for engine in engines], ids=lambda engine: engine.name
)
def test_options_of_engines_arrive(engine: Any) -> None:
    group = "launcher" if engine in ENGINES["launcher"] else "sweeper"
    given = {item.name: OTHER_VALUES[item.name] for item in fields(engine)}
    overrides = [f"hydra/{group}={engine.name}", "objective=accuracy"]
    overrides += [f"hydra.{group}.{name}={str(value).replace(chr(39), '')}" for name, value in given.items()]
    hydra_keys.check(overrides, has_engines=True)
    command = read_command([*overrides, "seed=0,1"])
    found = command.launcher if group == "launcher" else command.search
    assert isinstance(found, engine)
    for name, value in given.items():
        assert getattr(getattr(found, name), "name", getattr(found, name)) == value


def test_options_of_submitit_reach_its_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitit = pytest.importorskip("submitit")
    asked: dict[str, Any] = {}
    executor = SimpleNamespace(update_parameters=lambda **options: asked.update(options))
    monkeypatch.setattr(submitit, "AutoExecutor", lambda **options: executor)
    options = {item.name: OTHER_VALUES[item.name] for item in fields(SubmititLocalLauncher)}
    engine = Submitit(SubmititLocalLauncher(**options), 20, 0, tmp_path)
    assert (engine.slots, engine.threads, engine.minutes) == (7, 3, 11)
    assert asked == {"timeout_min": 13}  # the job ends itself before


def test_options_of_slurm_reach_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(slurm_commands, "nodes", list)
    monkeypatch.setattr(slurm_commands, "submit", lambda options, script: (asked.update(options), "23")[1])
    options = {item.name: OTHER_VALUES[item.name] for item in fields(SubmititSlurmLauncher)}
    engine = Slurm(SubmititSlurmLauncher(**options), 20, tmp_path)
    assert (engine.slots, engine.threads) == (7, 3)
    engine.submit(0, Task(5, tmp_path / "5", RunConfig(), ""))
    assert (asked.pop("output"), asked.pop("chdir")) == (str(tmp_path / ".slurm/5.out"), os.getcwd())
    assert asked.pop("job-name").endswith("-5")
    assert asked == {
        **{"time": 12, "cpus-per-task": 3, "mem": "5120M", "gpus-per-node": 2, "partition": "cpu", "account": "me"},
        **{"qos": "high", "no-requeue": True, "open-mode": "truncate"},
    }
    task = pickle.loads((tmp_path / ".slurm/5.task").read_bytes())
    assert (task.number, task.worker.threads, task.worker.minutes) == (5, 3, 11)


def test_options_of_ray_reach_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def remote(**options: Any) -> Callable[[object], object]:
        asked.update(options)
        return lambda function: function

    monkeypatch.setitem(
        sys.modules,
        "ray",
        SimpleNamespace(
            init=lambda **options: asked.update(options),
            nodes=lambda: [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 4.0}}],
            remote=remote,
            shutdown=lambda: None,
        ),
    )
    engine = Ray(RayLauncher(n_jobs=7, threads=3, address="host:1", gpus=0.5), 20)
    engine.close()  # its empty folder would warn that it is left, whenever memory is cleaned
    assert engine.slots == 7
    assert (asked["address"], asked["num_cpus"], asked["num_gpus"]) == ("host:1", 3, 0.5)


def test_the_seed_of_a_search_decides_what_it_draws() -> None:
    pytest.importorskip("optuna")

    def first(seed: int) -> dict[str, str]:
        command = read_command(["hydra/sweeper=optuna", f"hydra.sweeper.seed={seed}", "seed=interval(0,1000000)"])
        assert command.search is not None
        asked = Search(command, command.search, "accuracy", []).ask()
        assert asked is not None
        return asked[1]

    assert first(0) == first(0) != first(1)


def test_a_search_path_finds_the_users_configs(mi_run: MiRun, tmp_path: Path) -> None:
    (tmp_path / "mine/training").mkdir(parents=True)
    (tmp_path / "mine/training/long.yaml").write_text("defaults: [/schema/training@_here_]\nepochs: 4\n")
    path = f"hydra.searchpath=[file://{tmp_path}/mine]"
    tiny = TINY[:-1]
    alone = mi_run(*tiny, path, "training=long")
    swept = mi_run("-m", *tiny, path, "training=long", "seed=0,1")
    assert "epochs: 4" in (alone.folder / "config.yaml").read_text()
    assert "epochs: 4" in (swept.folder / "1/config.yaml").read_text()
    assert mi_run(*tiny, "training=long").status == 2

"""Completion at the prompt: which words may come next, and do real shells complete with them?"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mi_runner.cli import command
from mi_runner.cli.completion import COMMANDS, PARSERS, SCRIPTS, candidates
from mi_runner.config.help_page import choices_of
from mi_runner.config.hydra_composition import chosen, composed
from mi_runner.config.registry import SCHEMAS
from tests.conftest import Ended


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("experiment=abl", ["experiment=ablation"]),
        ("exp", ["experiment=", "expect="]),
        ("l", ["ls"]),
        ("experiment=iit l", []),  # a command is the first word
        ("trai", ["training."]),
        ("training.opt", ["training.optimizer="]),
        ("training.optimizer=ad", ["training.optimizer=adam", "training.optimizer=adamw"]),
        ("model=skip,ml", ["model=skip,mlp"]),
        ("experiment=iit experiment.al", ["experiment.alignment="]),
        ("experiment=iit dataset.th", ["dataset.threshold="]),  # it brings the ellipses
        ("experiment=iit dataset=mnist dataset.th", []),
        ("experiment=ablation experiment.methods=[zero,m", ["experiment.methods=[zero,mean"]),
        ("experiment=ablation experiment.methods=m", []),
        ("experiment=ablation experiment.methods=[m", ["experiment.methods=[mean"]),
        ("experiment=discovery experiment.methods=g", []),
        ("experiment=discovery experiment.methods=[g", ["experiment.methods=[greedy"]),
        (
            "experiment=discovery experiment.methods=[eap,a",
            [f"experiment.methods=[eap,{name}" for name in ("acdc", "activation")],
        ),
        (
            "experiment=ablation experiment.methods=[zero",
            [f"experiment.methods=[zero{end}" for end in ("", ",", "]")],
        ),
        (
            "experiment=ablation experiment.methods=[zero,",
            [f"experiment.methods=[zero,{m}" for m in ("mean", "resample")],
        ),
        ("experiment=discovery experiment.methods=eap,", []),
        ("experiment=das experiment.map=[rotation,re", ["experiment.map=[rotation,revnet"]),
        ("dataset=logic dataset.functions=[XOR,N", [f"dataset.functions=[XOR,{f}" for f in ("NAND", "NIMP", "NOR")]),
        ("dataset=table dataset.path=t.csv dataset.target_column=w", ["dataset.target_column=well"]),
        ("dataset=table dataset.path=t.csv dataset.leave_out=[age,", ["dataset.leave_out=[age,well"]),
        ("dataset=table dataset.path=missing.csv dataset.target_column=w", []),
        ("plan=", ["plan=true", "plan=false"]),
        ("dataset.limit=", ["dataset.limit=null"]),
        ("training.epochs=", ["training.epochs=3"]),
        ("device=c", ["device=cpu", "device=cuda"]),
        ("-m hydra/laun", ["hydra/launcher="]),
        ("-m hydra/launcher=jo", ["hydra/launcher=joblib"]),
        ("-m hydra/launcher=joblib hydra.launcher.n", ["hydra.launcher.n_jobs="]),
        ("--comp", ["--completion"]),
        ("--completion ", ["bash", "fish", "zsh"]),
        ("--cfg j", ["job"]),
        ("--print ", ["folder", "json", "metrics"]),
        ("--folder-file weights/", ["weights/inner/"]),
        ("checkpoint=wei", ["checkpoint=weights.pt", "checkpoint=weights/"]),
        ("checkpoint=weights/", ["checkpoint=weights/inner/"]),
        ("resume=nowhere/", []),
        ("ls we", ["weights.pt", "weights/"]),
        ("ls --so", ["--sort"]),
        ("ls --format ", ["csv", "json", "table"]),
        ("diff weights/i", ["weights/inner/"]),
        ("diff pas", ["passed"]),
        ("diff p", ["passed", "previous"]),
        ("diff --format ju", ["junit"]),
        ("rm --w", ["--where"]),
        ("rm weights/i", ["weights/inner/"]),
        ("run.ta", ["run.tags="]),
        ("be", ["bench"]),
        ("bench ben", ["bench."]),
        ("bench bench.", [f"bench.{name}=" for name in ("networks", "part", "families", "seeds")]),
        ("bench bench.part=", [f"bench.part={name}" for name in ("all", "small", "trained", "planted")]),
        ("bench bench.networks=", ["bench.networks=bench-1"]),
        ("bench bench.families=planted-p", []),
        ("bench bench.families=[planted-p", ["bench.families=[planted-plain"]),
        ("bench bench.families=[xor-2-3-3-1,maj", ["bench.families=[xor-2-3-3-1,majority-3-3-3-1"]),
        ("bench experiment.methods=[eap,a", [f"experiment.methods=[eap,{name}" for name in ("acdc", "activation")]),
        ("bench hydra/", ["hydra/launcher="]),
        ("bench hydra/launcher=jo", ["hydra/launcher=joblib"]),
        ("bench hydra/sweeper=", []),
        ("bench dataset=", []),
        ("bench seed", []),
        ("bench resume=wei", ["resume=weights.pt", "resume=weights/"]),
        ("bench --", ["--help", "--vectors"]),
        ("bench --vectors weights/", ["weights/inner/"]),
        ("sede", []),
        ("sede=", []),
    ],
)
def test_the_words_that_may_come_next(
    line: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights/inner").mkdir(parents=True)
    (tmp_path / "weights.pt").touch()
    (tmp_path / "t.csv").write_text("\ufeffage,a dose,well\n1,2,3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    *before, current = line.split(" ")
    assert sorted(candidate.word for candidate in candidates(before, current)) == sorted(words)


def test_every_group_and_key_is_offered() -> None:
    first = {candidate.word for candidate in candidates([], "")}
    assert {*(f"{group}=" for group in SCHEMAS), "training.", "seed=", *COMMANDS} <= first
    assert set(PARSERS) < set(COMMANDS) and {name for name in command.COMMANDS if name[0] != "-"} <= set(COMMANDS)
    meanings = {found.word: found.meaning for found in candidates(["experiment=iit"], "experiment.")}
    assert meanings["experiment.train="] == "network (IIT), rotation (DAS) or both"


@pytest.mark.parametrize("experiment", [schema.name for schema in SCHEMAS["experiment"]])
def test_the_choices_of_an_experiment_are_those_that_hydra_composes(experiment: str) -> None:
    config = composed([f"experiment={experiment}"])
    assert choices_of(experiment) == {group: chosen(config, group).name for group in SCHEMAS}


def test_scripts_and_mistakes(mi_run: Callable[..., Ended]) -> None:
    for shell, script in SCRIPTS.items():
        assert mi_run("--completion", shell).out == script
    assert mi_run("--completion", "words", "experiment=abl").out.startswith("experiment=ablation\tWhich parts")
    assert mi_run("--completion", "words", "sede=").out == ""
    for arguments in ((), ("tcsh",), ("bash", "zsh")):
        ended = mi_run("--completion", *arguments)
        assert ended.status == 2 and "--completion takes bash, zsh, fish; " in ended.err


# --- real shells ---------------------------------------------------------------------------------------------------

START = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}

LINES = {
    "experiment=abl": "experiment=ablation",
    "training.opt": "training.optimizer=",
    "experiment=iit dataset.th": "dataset.threshold=",
    "checkpoint=wei": "checkpoint=weights/",
    "experiment=ablation experiment.methods=[zero,m": "experiment.methods=[zero,mean",
    "experiment=ablation experiment.methods=[zero,mean,res": "experiment.methods=[zero,mean,resample",
}
"""What is typed → what the last word becomes at the Tab."""

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.terminal, slave = pty.openpty()
        environment = {**os.environ, "PATH": PATH, "TERM": "dumb", "HOME": str(folder), "COLUMNS": "200", "PS1": "$ "}
        self.process = subprocess.Popen(
            [name, *START[name]], stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def waits_for(self, pattern: str, seconds: float = 60.0) -> bool:
        """Whether what it prints comes to have a match of the pattern; then what it has printed is forgotten."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x07", "", self.seen)
            if re.search(pattern, text):
                self.seen = ""
                return True
            if select.select([self.terminal], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.terminal, 65536).decode(errors="replace")
                except OSError:  # it has ended
                    return False
        return False

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


@pytest.mark.parametrize("name", START)
def test_a_real_shell_completes(name: str, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    (tmp_path / "weights").mkdir()
    shell = Shell(name, tmp_path)
    try:
        shell.type(f'eval "$(mi-run --completion {name})"; echo is" "ready\n')
        assert shell.waits_for(r"is ready\r?\n"), shell.seen
        for typed, completed in LINES.items():
            shell.type(f"\x15mi-run {typed}\t")  # Ctrl-U clears the line
            assert shell.waits_for(re.escape(completed)), (typed, shell.seen)
    finally:
        shell.close()


def test_a_real_fish_completes(tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    (tmp_path / "weights").mkdir()
    program = "mi-run --completion fish | source; " + "; ".join(f"complete -C 'mi-run {typed}'" for typed in LINES)
    done = subprocess.run(
        ["fish", "--no-config", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PATH": PATH, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == list(LINES.values()), done

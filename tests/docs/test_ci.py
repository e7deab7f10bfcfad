"""The recipes of docs/ci.md run as they stand there, night after night, with small data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/ci.md").read_text(encoding="utf-8")
SMALL = "dataset.limit=60 figures=false experiment.methods=[zero]"


def small(script: str) -> str:
    """A script with few examples and without figures."""
    assert "dataset.limit=5000" in script and 'accuracy: ">=0.8"' in script
    return script.replace("dataset.limit=5000", SMALL).replace(">=0.8", ">=0")


class Night:
    """Runs scripts in a folder, with `mi-run` and `gh` on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        }

    def run(self, script: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", *options, "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )


def test_the_plain_shell_compares_with_the_last_run_that_passed(tmp_path: Path) -> None:
    night = Night(tmp_path)
    (script,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    script = small(script)
    first = night.run(script)
    assert first.returncode == 0 and first.stdout == "", first.stderr
    assert "accuracy" in first.stderr  # the tables are in the log
    second = night.run(script)
    assert second.returncode == 0 and second.stdout.startswith("equal in "), second.stderr
    # Tonight's bounds aren't met, and the networks have another loss; passed stays where it was.
    third = night.run(script.replace(">=0", ">1").replace("training.epochs=1", "training.epochs=2"))
    assert third.returncode == 3 and "training.epochs" in third.stdout, third.stderr
    runs = tmp_path / "nightly/ablation/mnist-skip"
    assert [(runs / link).readlink().name for link in ("passed", "latest")] == ["v002", "v003"]
    fourth = night.run(script.replace("training.epochs=1", "training.epoch=1"))
    assert fourth.returncode == 2 and fourth.stdout == "" and "training.epoch" in fourth.stderr
    for command in re.findall(r"`(mi-run (?:diff|ls|rm) [^`.]*?)`", PAGE):
        if "A B" not in command:
            ended = night.run(command)
            assert ended.returncode in ((0, 1) if " diff " in command else (0,)), (command, ended.stderr)
    assert night.run("mi-run diff nightly/ablation/mnist-skip/previous latest").returncode in (0, 1)


def test_the_line_of_the_crontab_sends_the_log_of_a_night_that_failed(tmp_path: Path) -> None:
    (line,) = re.findall(r"^15 3 \* \* \* (.*)$", PAGE, re.MULTILINE)
    night = Night(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "project").mkdir()
    programs = {"bin/mail": 'cat > "$HOME/mailed"', "project/nightly.sh": "echo what happened; exit $STATUS"}
    for path, text in programs.items():
        (tmp_path / path).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / path).chmod(0o755)
    night.environment |= {"HOME": str(tmp_path), "USER": "me", "STATUS": "0"}
    assert night.run(line).returncode == 0 and not (tmp_path / "mailed").exists()
    night.environment["STATUS"] = "3"
    assert night.run(line).returncode == 0 and (tmp_path / "mailed").read_text() == "what happened\n"


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def steps(workflow: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The steps of the workflow's only job that have a name."""
    (job,) = workflow["jobs"].values()
    return {step["name"]: step for step in job["steps"] if "name" in step}


def test_the_workflow_is_one_that_github_takes(workflow: dict[str, Any]) -> None:
    assert set(workflow) == {"name", True, "permissions", "jobs"}  # YAML 1.1 reads `on` as true
    (job,) = workflow["jobs"].values()
    assert all(len({"run", "uses"} & step.keys()) == 1 for step in job["steps"])
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)
    assert list(steps(workflow)) == ["Install", "Fetch the last night in order", "Run", "Compare", "Keep"]
    assert steps(workflow)["Keep"]["with"]["path"] == "run" and workflow["permissions"]["actions"] == "read"
    assert steps(workflow)["Fetch the last night in order"]["continue-on-error"] is True


def test_the_steps_of_the_workflow_run_night_after_night(workflow: dict[str, Any], tmp_path: Path) -> None:
    """`gh` is a program that gives the folder that was kept; GitHub runs each step with bash -e."""
    of = {name: step.get("run", "") for name, step in steps(workflow).items()}
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "gh").write_text(
        "#!/usr/bin/env bash\n"
        'case "$1 $2" in\n'
        '  "run list") [[ " $* " == *" --status success "* ]] && echo 17;;\n'
        '  "run download") [ "$3 $4 $5 $6" = "17 --name run --dir" ] && cp -r ../kept "$7";;\n'
        "esac\n"
    )
    (bin_folder / "gh").chmod(0o755)

    def night(number: int, run: str) -> tuple[Path, list[subprocess.CompletedProcess[str]]]:
        folder = tmp_path / str(number)
        folder.mkdir()
        machine = Night(folder)
        machine.environment["PATH"] = f"{bin_folder}:{machine.environment['PATH']}"
        ended = [machine.run(of["Fetch the last night in order"], "-e"), machine.run(run, "-e")]
        if (folder / "last/run.json").exists() and (folder / "run/run.json").exists():
            ended.append(machine.run(of["Compare"], "-e"))
        return folder, ended

    run = small(of["Run"])
    first, (fetched, ran) = night(1, run)
    assert fetched.returncode != 0 and ran.returncode == 0, ran.stderr
    assert {"run.json", "report.html", "predictions.parquet", "expectations.xml"} <= {
        path.name for path in (first / "run").iterdir()
    }
    (first / "run").rename(tmp_path / "kept")
    second, (fetched, ran, compared) = night(2, run)
    assert (fetched.returncode, ran.returncode, compared.returncode) == (0, 0, 0), compared.stderr
    assert compared.stdout.startswith("equal in ") and (second / "summary.md").read_text().startswith("**equal in ")
    assert ElementTree.parse(second / "run/diff.xml").getroot().get("failures") == "0"
    other = run.replace("'run.tags=[nightly]'", "training.learning_rate=0.5").replace(">=0", ">1")
    third, (_, ran, compared) = night(3, other)
    assert ran.returncode == 3 and compared.returncode == 1, compared.stderr
    assert re.search(r"^::error title=\S+::", compared.stdout, re.MULTILINE)
    failures = int(ElementTree.parse(third / "run/diff.xml").getroot().get("failures", ""))
    assert failures == len(re.findall(r"<failure ", (third / "run/diff.xml").read_text())) > 0
    assert ElementTree.parse(third / "run/expectations.xml").getroot().get("failures") == "1"
    assert json.loads((third / "run/run.json").read_text())["status"] == "done"

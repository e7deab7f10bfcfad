"""What the README and docs/ say can be typed, can be typed; what they say came out, has the form that comes out."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mi_runner.config import composition
from mi_runner.config.options import plain
from mi_runner.config.run_schema import RunConfig
from tests.commands import of_name
from tests.conftest import REPOSITORY, Ended
from tests.run_records import write, write_sweep

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "docs").glob("*.md"))}
BLOCK = re.compile(r"^```(?:\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MAIN_JOB = "<!-- output of: mi-run experiment=ablation model=skip -->"


def commands_of(page: str) -> list[str]:
    """The commands in a page's blocks, and those in its text that set something."""
    lines = [line for block in BLOCK.findall(page) for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`(mi-run [^`]*=[^`]*)`", BLOCK.sub("", page))
    return [line.partition(" #")[0].strip() for line in lines if line.strip().startswith("mi-run ")] + inline


OF_OTHERS = ("plugins.md", "start.md", "your_own_data.md", "ci.md")
"""Pages whose commands run in tests/cli/test_plugins.py, and in test_start.py, test_your_own_data.py and test_ci.py."""

COMMANDS = [
    command
    for page in (README, *(text for name, text in PAGES.items() if name not in OF_OTHERS))
    for command in commands_of(page)
]
LIMITED = ["dataset.limit=60", "training.epochs=1"]


def arguments_of(command: str) -> list[str]:
    return shlex.split(command, comments=True)[1:]


def test_there_are_commands_to_check() -> None:
    assert len(commands_of(README)) >= 12 and len(set(COMMANDS)) >= 40


def own_options(config: RunConfig, arguments: list[str]) -> list[str]:
    """The numbers with which the experiment is small, and its lists of sites and methods if nothing else gives them."""
    typed = {part.partition("=")[0] for part in arguments}
    of_schema = type(config.experiment)()
    by_preset = {
        f"experiment.{item.name}"
        for item in fields(of_schema)
        if plain(getattr(config.experiment, item.name)) != plain(getattr(of_schema, item.name))
    }
    options = [option.partition("=") for option in of_name("experiment", config.experiment.name).small]
    return [
        "".join(option)
        for option in options
        if option[0].startswith("experiment.")
        and (option[2].isdecimal() or (option[2].startswith("[") and option[0] not in typed | by_preset))
    ]


BENCH = "outputs/sweeps/bench/v001"
SMALL_BENCH = (
    *("bench.part=small", "bench.families=[planted-plain]", "bench.seeds=1", "hydra/launcher=basic"),
    *("experiment.bootstrap=0", "experiment.repeats=1", "experiment.max_table_rows=100"),
)
"""One network."""


def write_my_module() -> None:
    """The code that commands name."""
    Path("my_module.py").write_text(
        "import torch\n"
        "def Net(input_shape, n_outputs, width):\n"
        "    return torch.nn.Sequential(torch.nn.Linear(input_shape[0], width), torch.nn.Linear(width, n_outputs))\n"
        "def score(part, x, target, ablation):\n"
        "    return [layer.weight for layer in part.layers]\n"
        "def rate(task, circuits):\n"
        "    return [0.5] * len(circuits)\n"
    )


def run_bench_small(arguments: list[str], mi_run: Callable[..., Ended]) -> None:
    """Runs a command of a bench with one network; what goes on with a bench, after one that is done."""
    goes_on = arguments[0] == "report" or any(one.startswith(("resume=", "sweep=")) for one in arguments)
    if goes_on:
        assert str(mi_run("bench", *SMALL_BENCH, "experiment.methods=[magnitude]").folder) == BENCH
    alone = goes_on or "--vectors" in arguments
    ended = mi_run(*arguments, *(() if alone else SMALL_BENCH))
    assert ended.status == 0, ended.err
    assert ended.folder.exists() and (alone or str(ended.folder) == BENCH)


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_every_command_runs_small(command: str, mi_run: Callable[..., Ended]) -> None:
    arguments = arguments_of(command)
    if "--help" in arguments:
        assert mi_run(*arguments).status == 0
        return
    first = arguments[0] if arguments else ""
    if first == "--completion":
        assert mi_run(*arguments[:2]).status == 0
        return
    if first == "ls":
        for number in (1, 2):
            write(
                Path(f"outputs/ablation/mnist-skip/v00{number}"),
                **{"experiment": "ablation", "training.learning_rate": 1, "run.tags": ["paper"], "run.name": "first"},
            )
        listed = mi_run(*arguments)
        assert listed.status == 0 and listed.out, listed.err
        return
    if first == "rm":
        conditions = dict.fromkeys(re.findall(r"--where (\S+)", command))
        write(Path("outputs/ablation/mnist-skip/v001"), status="failed", **{"run.tags": ["draft"]})
        for folder in map(Path, arguments[1:] if not conditions else []):
            write(write_sweep(folder, {"seed": [0]}) / "0") if "sweeps" in folder.parts else write(folder)
        removed = mi_run(*arguments, "--yes")
        assert removed.status == 0 and removed.out.splitlines()[-1].startswith("removed "), removed.err
        return
    if first == "diff":
        for folder in map(Path, arguments[1:3]):
            if "sweeps" in folder.parts:
                write(write_sweep(folder, {"seed": [0]}) / "0")
            elif folder.name in ("latest", "passed"):
                parent = Path("outputs/train/mnist-mlp") if folder == Path(folder.name) else folder.parent
                if not (parent / "v001").exists():
                    write(parent / "v001")
                (parent / folder.name).symlink_to("v001")
            else:
                write(folder)
        compared = mi_run(*arguments)
        assert compared.status == 0 and "no metric differs" in compared.out, compared.err
        return
    if first == "report" and arguments[1:] == [BENCH]:
        run_bench_small(arguments, mi_run)
        return
    if first == "report":
        assert mi_run("experiment=ablation", *LIMITED, "experiment.methods=[zero]").status == 0
        assert mi_run(*arguments).status == 0
        return
    if first in ("table", "cite"):
        swept = ["-m", "model=skip,mlp", "seed=0,1"] if "sweeps" in command else ["model=skip"]
        assert mi_run("experiment=ablation", *LIMITED, "experiment.methods=[zero]", *swept).status == 0
        printed_by = mi_run(*arguments)
        assert printed_by.status == 0 and printed_by.out, printed_by.err
        return
    write_my_module()
    if first == "bench":
        run_bench_small(arguments, mi_run)
        return
    if "hydra/launcher" in command:  # tests/sweeps/test_launchers.py runs them
        planned = mi_run(*arguments, "plan=true")
        jobs = 64 if "experiment.parts=64" in arguments else 2
        assert planned.status == 0 and f"{jobs} jobs to run" in planned.out, planned.err
        return
    for part in arguments:
        if part.startswith(("sweep=", "resume=")):
            sweep = Path(part.partition("=")[2])
            own = {"ablation": "experiment.methods=[zero]", "circuits": "model.hidden_sizes=[2,2,2]"}
            made = mi_run("-m", f"experiment={sweep.parent.name}", *LIMITED, own[sweep.parent.name], "seed=0,1")
            assert str(made.folder) == part.partition("=")[2]
            assert mi_run(*arguments).status == 0
            return
    values = [[0, 0], [0, 1], [1, 0], [1, 1]]
    causal = {"variables": ["half", "parity"], "variables_train": values, "variables_test": values}
    causal["mechanism"] = [[0, 1], [0, 1]]
    np.savez("data.npz", x_train=np.eye(4), y_train=[0, 1, 0, 1], x_test=np.eye(4), y_test=[0, 1, 0, 1], **causal)
    if "mine.npz" in command:
        (program,) = re.findall(r"```python\n(.*?)```", PAGES["ablation.md"], re.DOTALL)
        exec(compile(program, "ablation.md", "exec"), {})
    if "truth.csv" in command:  # each input of 3-3-1 or 3-3-3-1, and one path behind them
        behind = "1,0,0\n" if "experiment=circuits" in arguments else "1,0,0\n2,0,0\n"
        Path("truth.csv").write_text(f"layer,source,target\n0,0,0\n0,1,0\n0,2,0\n{behind}")
    if "patients.csv" in command:
        program = re.findall(r"```python\n(.*?)```", PAGES["your_own_data.md"], re.DOTALL)[0]
        exec(compile(program, "your_own_data.md", "exec"), {})
    config = composition.compose(
        [part.partition(",")[0] for part in arguments if part.partition("=")[0] in ("experiment", "dataset", "model")]
        + [part for part in arguments if part.startswith(("dataset.path", "model.factory"))]
    )
    small = [*of_name("dataset", config.dataset.name).small, "training.epochs=1", *own_options(config, arguments)]
    arguments = [re.sub("^seed=range.*", "seed=0,1", part) for part in arguments]
    if getattr(config.experiment, "map", None) is not None or "experiment.map=" in command:
        small.remove("experiment.size=2")  # what maps don't take
        small += [f"experiment.{name}=60" for name in ("control_pairs", "stop_pairs")] + ["experiment.control_epochs=1"]
    if config.experiment.name == "decoder":
        small += ["dataset.modulus=3"] if "dataset.modulus" in command else []
    if config.experiment.name == "clusters":
        small += ["experiment.controls=1", "experiment.pruning_examples=10"]
    if config.experiment.name in ("criteria", "robustness") and config.model.name == "mlp":
        small += ["model.hidden_sizes=[8,3,2,2]"]  # 2^12 circuits, instead of 2^21
    if config.experiment.name == "explanations":
        arguments = [re.sub("^seeds=.*", "seeds=2", part) for part in arguments]
        arguments = [re.sub(r"^model.hidden_sizes=\[[45],.*", "model.hidden_sizes=[3,3]", part) for part in arguments]
    if config.experiment.name == "discovery":
        small += ["experiment.samples=3", "experiment.max_sizes=4"]
    if config.experiment.name in ("iit", "das"):
        small += ["experiment.epochs=1"]
    named = next((part.partition("=")[2] for part in arguments if part.startswith("checkpoint=")), "")
    if "," in named:
        options = [part for part in arguments if part not in ("-m", f"checkpoint={named}", "skip_invalid=true")]
        options = [part.partition(",[")[0] for part in options if not part.startswith("over=")]
        for seed, file in enumerate(named.split(",")):
            trained = mi_run(*options, *small, f"seed={seed}")
            torch.save(load_file(trained.record["checkpoint"]["path"]), file)
    elif named:
        trained = mi_run("experiment=ablation", "dataset.limit=60", "training.epochs=1", "seed=123456")
        assert trained.status == 0
        torch.save(load_file(trained.record["checkpoint"]["path"]), "weights.pt")
    more = ["experiment.granularity=site"] if "granularity=unit" in command else [] if "-m" in arguments else ["seed=1"]
    ended = mi_run(*arguments, *small, *more)
    assert ended.status == 0, ended.err
    assert ended.folder.is_dir() or "plan=true" in arguments


def printed(page: str) -> list[str]:
    """The lines of the main job's output in a page."""
    return page.split(MAIN_JOB)[1].split("```")[1].strip().splitlines()


def cells(lines: list[str]) -> list[list[str]]:
    """The cells of each line of a table."""
    return [[cell.strip() for cell in re.split("[┃│]", line)[1:-1]] for line in lines if line[:1] in "┃│"]


def test_the_printed_tables_have_the_columns_and_rows_of_today(mi_run: Callable[..., Ended]) -> None:
    today = cells(mi_run("experiment=ablation", "model=skip", *LIMITED).out.splitlines())
    page = cells(printed(PAGES["ablation.md"]))
    headers = [row for row in page if "accuracy" in row]
    assert headers == [row for row in today if "accuracy" in row] and len(headers) == 2
    assert [row[:4] for row in page if len(row) == 10] == [row[:4] for row in today if len(row) == 10]
    assert [row[0] for row in page if len(row) == 6] == [row[0] for row in today if len(row) == 6]


def test_the_readmes_table_is_the_whole_one_but_for_the_rows_that_it_says_are_left_out() -> None:
    short, whole = printed(README), printed(PAGES["ablation.md"])
    second = next(number for number, line in enumerate(whole) if line.startswith("contributions: "))
    (said,) = re.findall(r"^This table leaves out the (\d+) rows of (.*) and the second table;", README, re.MULTILINE)
    number, names = int(said[0]), re.findall("`(.*?)`", said[1])
    left_out = [line for line in whole[:second] if line[0] == "│" and cells([line])[0][0] in names]
    assert len(left_out) == number > 0
    assert {cells([line])[0][0] for line in left_out} == set(names)
    assert short == [line for line in whole[:second] if line not in left_out] + whole[-1:]


@pytest.mark.parametrize(
    ("status", "found", "small"),
    [
        (0, '">=[^"]*"', '">=0"'),
        (1, "training.epochs=1", "training.epochs=2 training.optimizer=sgd training.learning_rate=1e30"),
        (2, "training.epochs", "training.epoch"),
        (3, '">=[^"]*"', '">=1.1"'),
    ],
)
def test_the_pipeline_step_of_the_readme_with_each_exit_status(
    status: int, found: str, small: str, tmp_path: Path
) -> None:
    (script,) = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    script = script.replace("dataset.limit=5000", "dataset.limit=60")
    small = re.sub(found, small, script)
    assert small != script and "dataset.limit=60" in script
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", small],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status and "cp:" not in done.stderr, done.stderr
    artifacts = {path.name for path in tmp_path.glob("artifacts/*")}
    if status in (0, 3):
        assert {"metrics.csv", "run.json", "figures"} <= artifacts
    else:
        assert not artifacts and done.stderr.splitlines()[-1].startswith("mi-run: error: ")


def test_the_program_in_the_readme_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(program, "README.md", "exec"), {})


def test_the_makefile_has_the_targets_of_the_readme() -> None:
    targets = set(re.findall(r"^make (\w+)|`make (\w+)`", README, re.MULTILINE))
    names = {one or other for one, other in targets}
    assert names == {"run", "test", "check", "bench", "docs", "site"}
    for name in names:
        done = subprocess.run(["make", "-n", name], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and ".venv/bin/" in done.stdout


def test_ci_calls_the_readmes_commands() -> None:
    lines = [line for line in (REPOSITORY / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[:3] == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "make check"] and lines[-1] == "make test"
    # What stands between installs the packages that the tests of a real Slurm need, and can't fail.
    between = "\n".join(lines[3:-1])
    assert (
        between.startswith("if ") and between.endswith("\nfi") and "mi-run" not in between and "pytest" not in between
    )

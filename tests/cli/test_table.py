"""`mi-run table`: tables of runs and sweeps for a paper."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Ended
from tests.run_records import write, write_sweep

RUN = Path("outputs/ablation/mnist-skip/v001")

METRICS = """\
target,role,kind,method,repeat,accuracy,accuracy_low,accuracy_high,loss,accuracy_drop,loss_increase
none,none,none,none,1,0.9777,0.9746,0.9804,0.0852,0.0,0.0
relu,hidden_1,site,zero,1,0.2951,0.2862,0.3041,3.5849,0.6826,3.4997
0,hidden_1,site,mean,1,,,,1.7383,0.5609,1.6531
"""

TYPES = {
    "metrics": {
        **dict.fromkeys(("target", "role", "kind", "method"), "text"),
        "repeat": "integer",
        **dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "loss", "accuracy_drop"), "number"),
    }
}


@pytest.fixture
def run(mi_run: Callable[..., Ended]) -> Path:
    """The folder of a run of ablation with a headline table."""
    made = write(
        RUN,
        **{"experiment": "ablation", "model": "skip", "types": TYPES, "shown": ["metrics"], "config_hash": "12ab"},
        versions={"mi-run": "0.1.0"},
        command="mi-run experiment=ablation model=skip",
    )
    (made / "metrics.csv").write_text(METRICS)
    (made / "contributions.csv").write_text("summand,accuracy\nx,0.5\n")
    (made.parent / "latest").symlink_to("v001")
    return made


def cells(ended: Ended) -> list[list[str]]:
    """The cells of a Markdown table, the line below the heading left out."""
    assert ended.status == 0, ended.err
    lines = [line for line in ended.out.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for number, line in enumerate(lines) if number != 1]


def test_without_a_table_the_tables_with_what_they_have(run: Path, mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("table", f"{run.parent}/latest")
    assert ended.status == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in ended.out.splitlines() if line[0] == "│"]
    assert rows[0] == ["metrics", "metrics.csv", "Accuracy and loss after each ablation"]
    assert [row[0] for row in rows] == ["metrics", "contributions"] and rows[1][2]


def test_intervals_join_their_numbers_and_second_names_of_keys_are_left_out(
    run: Path, mi_run: Callable[..., Ended]
) -> None:
    found = cells(mi_run("table", str(run), "metrics"))
    assert found[0] == ["target", "kind", "method", "repeat", "accuracy", "loss", "accuracy_drop", "loss_increase"]
    assert found[1] == ["none", "none", "none", "1", "0.9777 [0.9746, 0.9804]", "0.08520", "0", "0"]
    assert found[2][4:6] == ["0.295 [0.286, 0.304]", "3.585"]
    assert found[3][:5] == ["0", "site", "mean", "1", "—"]  # unknown, not 0


def test_columns_rows_and_order(run: Path, mi_run: Callable[..., Ended]) -> None:
    def found(*arguments: str) -> Sequence[Sequence[str]]:
        return cells(mi_run("table", str(run), "metrics", *arguments))[1:]

    assert found("--columns", "method,accuracy", "--where", "target=relu") == [["zero", "0.295 ± 0.009"]]
    ends = found("--columns", "accuracy, accuracy_high", "--where", "target=relu", "--digits", "3")
    assert ends == [["0.295", "0.304"]]
    assert [row[0] for row in found("--sort", "accuracy")] == ["relu", "none", "0"]  # unknown comes last
    assert [row[0] for row in found("--sort", "accuracy", "--reverse")] == ["none", "relu", "0"]
    assert [row[0] for row in found("--sort", "target")] == ["0", "none", "relu"]  # a name, not a number
    assert [row[0] for row in found("--reverse")] == ["0", "relu", "none"]
    both = found("--where", "kind=site", "--where", "loss>2")
    assert [row[0] for row in both] == ["relu"]


def test_csv_and_json_have_all_digits_and_columns(run: Path, mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("table", str(run), "metrics", "--format", "csv")
    assert ended.out == METRICS
    (row,) = csv.DictReader(io.StringIO(mi_run("table", str(run), "contributions", "--format", "csv").out))
    assert row == {"summand": "x", "accuracy": "0.5"}
    content = json.loads(mi_run("table", str(run), "metrics", "--format", "json", "--columns", "target,accuracy").out)
    assert content["rows"][1:] == [{"target": "relu", "accuracy": 0.2951}, {"target": "0", "accuracy": None}]
    assert content["columns"][1]["name"] == "accuracy" and "fraction, 0 to 1" in content["columns"][1]["meaning"]


def test_latex_says_how_it_was_made(run: Path, mi_run: Callable[..., Ended]) -> None:
    out = mi_run("table", f"{run.parent}/latest", "metrics", "--format", "latex").out
    assert out.startswith(f"% mi-run experiment=ablation model=skip\n% {run}, mi-run 0.1.0, config 12ab\n% target: ")
    assert r"\label{tab:ablation-mnist-skip-metrics}" in out
    assert r"\caption{Accuracy and loss after each ablation (ablation $\cdot$ mnist $\cdot$ skip, seed 0). In" in out


def test_a_sweep_has_means_with_their_intervals(mi_run: Callable[..., Ended]) -> None:
    folder = write_sweep(Path("outputs/sweeps/train/v001"), {"training.epochs": [1, 2]})
    for job in (0, 1):
        write(folder / str(job))
    (folder / "sweep_summary.csv").write_text(
        "training.epochs,measure,n,mean,sd,low,high,min,max\n"
        "1,accuracy,3,0.95,0.01,0.91,0.98,0.94,0.96\n2,accuracy,1,0.97,,,,0.97,0.97\n"
    )
    found = cells(mi_run("table", str(folder), "sweep_summary", "--columns", "training.epochs,n,mean,sd"))
    assert found == [
        ["training.epochs", "n", "mean", "sd"],
        ["1", "3", "0.950 [0.910, 0.980]", "0.01000"],
        ["2", "1", "0.9700", "—"],
    ]
    out = mi_run("table", str(folder), "sweep_summary", "--format", "latex").out
    assert r"\label{tab:sweep-train-mnist-mlp-sweep-summary}" in out and "(sweep of train" in out


def test_a_bench_has_the_meanings_of_its_own_tables(mi_run: Callable[..., Ended]) -> None:
    folder = write_sweep(Path("outputs/sweeps/bench/v001"), {"seed": [0]}, of="bench")
    write(folder / "0", experiment="discovery")
    (folder / "leaderboard.csv").write_text("method,networks,rank,rank_low,rank_high\neap,all,1.5,1.2,1.9\n")
    out = mi_run("table", str(folder), "leaderboard").out
    assert "| eap | all | 1.50 [1.20, 1.90] |" in out and "- `method`: " in out


def test_a_torn_record_leaves_the_table_that_there_is(run: Path, mi_run: Callable[..., Ended]) -> None:
    (run / "run.json").write_text("{")
    found = cells(mi_run("table", str(run), "metrics", "--columns", "target,accuracy"))
    assert found[1] == ["none", "0.9777 [0.9746, 0.9804]"]


def test_a_table_in_parquet(run: Path, mi_run: Callable[..., Ended]) -> None:
    pd.DataFrame({"example": [0, 1], "answer": [1.5, None]}).to_parquet(run / "predictions.parquet")
    assert cells(mi_run("table", str(run), "predictions")) == [["example", "answer"], ["0", "1.500"], ["1", "—"]]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "table: a folder is missing. Type mi-run table FOLDER"),
        (["outputs/nothing"], "this folder doesn't exist. Type mi-run table FOLDER"),
        (["outputs"], "no run or sweep is in this folder. mi-run ls outputs lists those below it."),
        ([str(RUN), "metric"], "no table is named 'metric'. Did you mean metrics? Allowed: metrics, broken"),
        ([str(RUN), "metrics", "--columns", "acuracy"], "no column is named 'acuracy'. Did you mean accuracy?"),
        ([str(RUN), "metrics", "--where", "los>1"], "no column is named 'los'. Did you mean loss?"),
        ([str(RUN), "metrics", "--sort", "x"], "no column is named 'x'."),
        ([str(RUN), "metrics", "--where", "target=nowhere"], "table metrics: no row fits target=nowhere."),
        (
            [str(RUN), "metrics", "--digits", "few"],
            "--digits few: type auto, or how many digits stand behind the point, 0 to 12.",
        ),
        ([str(RUN), "metrics", "--format", "html"], "invalid choice: 'html'"),
        ([str(RUN), "broken"], "broken.csv: line 2 has 1 cells, not 2"),
    ],
)
def test_errors_say_what_to_type(arguments: list[str], text: str, run: Path, mi_run: Callable[..., Ended]) -> None:
    (run / "broken.csv").write_text("a,b\n1\n")
    ended = mi_run("table", *arguments)
    assert ended.status == 2 and text in ended.err, ended.err


def test_a_run_without_tables_says_its_status(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("table", str(write(Path("outputs/train/mnist-mlp/v001"), status="failed")))
    assert ended.status == 2 and "it has no tables; its status is failed." in ended.err


def test_neither_command_waits_for_torch_or_pandas(run: Path) -> None:
    program = "import sys; from mi_runner.cli import command; status = command.main(sys.argv[1:]); "
    program += "assert not {'torch', 'pandas'} & set(sys.modules); sys.exit(status)"
    for arguments in (["table", str(run), "metrics"], ["cite", str(run)]):
        subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)


def test_names_of_tables_are_completed_behind_the_folder(run: Path, mi_run: Callable[..., Ended]) -> None:
    def words(*typed: str) -> list[str]:
        return [line.partition("\t")[0] for line in mi_run("--completion", "words", *typed).out.splitlines()]

    assert words("table", str(run), "") == ["metrics", "contributions"] and words("table", str(run), "me") == [
        "metrics"
    ]
    assert words("table", "out") == ["outputs/"] and words("table", str(run), "metrics", "--format", "l") == ["latex"]
    assert "--columns" in words("table", str(run), "metrics", "--")

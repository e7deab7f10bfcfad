"""Installed packages: that of docs/plugins.md is installed and used; others are broken, or their names are taken."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from mi_runner.config import explanations, plugins, registry
from mi_runner.config.datasets import DatasetConfig
from mi_runner.config.experiments import ExperimentConfig
from mi_runner.config.experiments.discovery import DiscoveryConfig
from mi_runner.config.models import ModelConfig
from mi_runner.config.plugins import Plugins
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.experiments import declared
from mi_runner.experiments.discovery import experiment as discovery
from mi_runner.machine import installed
from mi_runner.machine.installed import EntryPoint
from mi_runner.methods.criteria import judge
from mi_runner.methods.criteria import records as criteria_records
from mi_runner.methods.discovery import records
from mi_runner.runs import choices
from tests import launched
from tests.conftest import REPOSITORY, Ended
from tests.forked import Forked
from tests.masked_parts import random_part

PACKAGE = REPOSITORY / "tests/plugin_package"
PAGE = (REPOSITORY / "docs/plugins.md").read_text(encoding="utf-8")
SMALL = ("dataset.train_size=60", "dataset.test_size=60", "training.epochs=1")
CODE = "package that is installed, as docs/plugins.md shows"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the one of the page."""
    folder = tmp_path_factory.mktemp("plugins")
    source = shutil.copytree(PACKAGE, folder / "source")  # setuptools builds in it
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", "--target", folder / "site-packages", source],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder / "site-packages"


@pytest.fixture
def with_plugin(site: Path, tmp_path: Path) -> Callable[..., Ended]:
    """`mi-run` as a process that has the package."""
    has = {"PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return lambda *arguments: launched.ended(Forked(*arguments, cwd=tmp_path, environment=has))


# --- what is found ---------------------------------------------------------------------------------------------------


def test_entry_points_are_those_that_importlib_finds(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    found = installed.entry_points.__wrapped__()
    by_importlib = {
        (point.group, point.name, point.value, point.dist.name, point.dist.version)
        for group in (*plugins.GROUPS.values(), "methods", "criteria")
        for point in importlib.metadata.entry_points(group=f"mi_runner.{group}")
    }
    mine = {(f"mi_runner.{one.group}", one.name, one.value, one.package, one.version) for one in found}
    assert mine == by_importlib and len(mine) >= 5


def test_entry_points_of_texts_as_tools_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (name, ending, file) in enumerate(
        [
            ("One_more", ".dist-info", "METADATA"),
            ("two", ".egg-info", "PKG-INFO"),
            ("one.more", ".dist-info", "METADATA"),
        ]
    ):
        folder = tmp_path / f"{number}/{name}-1{ending}"
        folder.mkdir(parents=True)
        (folder / file).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.{number}\n\nName: of the text\n")
        (folder / "entry_points.txt").write_text(
            "[console_scripts]\nx = y:z\n\n[mi_runner.models]\n# a = b:c\n"
            f"net{number} = {name}.schemas:Net [extra]\n[other]\nd=e\n"
        )
    (tmp_path / "3").write_text("no folder")
    monkeypatch.setattr(sys, "path", [*(str(tmp_path / str(number)) for number in range(5)), ""])
    assert installed.entry_points.__wrapped__() == (
        EntryPoint("models", "net0", "One_more.schemas:Net", "One_more", "1.0"),  # before the other one-more
        EntryPoint("models", "net1", "two.schemas:Net", "two", "1.1"),
    )


def test_the_start_takes_no_time_for_it(site: Path) -> None:
    program = "import sys, mi_runner.cli.command; sys.exit(bool({'importlib.metadata', 'torch'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{REPOSITORY}"}
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=60).returncode == 0


def test_the_page_of_columns_is_of_the_repository_alone(site: Path) -> None:
    program = "import runpy, sys; sys.exit('margins' in runpy.run_path('docs/columns.py')['page']())"
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{REPOSITORY}"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=REPOSITORY, timeout=60)
    assert done.returncode == 0


# --- the package of the page -----------------------------------------------------------------------------------------


def test_help_completion_and_errors_have_the_choices(with_plugin: Callable[..., Ended]) -> None:
    page = with_plugin("--help").out
    for choice in ("margins      How sure", "rings        Points on", "quadratic    A Linear"):
        assert re.search(rf"{choice}.* \[mi-rings 0\.3\.0\]$", page, re.MULTILINE)
    assert "ablation     Which parts of the network does its answer depend on?\n" in page
    own = " ".join(with_plugin("experiment=margins", "--help").out.split())
    assert "experiment=margins is of the package mi-rings 0.3.0" in own and "experiment.quantile=0.1 " in own
    assert "experiment=margins sets dataset=rings model=quadratic training.epochs=5 training.learning_rate=0.03" in own
    words = with_plugin("--completion", "words", "experiment=margins", "dataset.n").out
    assert words == "dataset.noise=\tstandard deviation of the radius\n"
    of_discovery = " ".join(with_plugin("experiment=discovery", "--help").out.split())
    assert "paths: edges ranked by the products of absolute weights" in of_discovery
    assert "summed [mi-rings 0.3.0]" in of_discovery and "eap,eap_ig,acdc,greedy,edge_pruning]" in of_discovery
    methods = with_plugin("--completion", "words", "experiment=discovery", "experiment.methods=[eap,pa").out
    assert methods.startswith("experiment.methods=[eap,paths\tedges ranked by")
    wrong = with_plugin("experiment=margin")
    assert wrong.status == 2 and "Did you mean margins? Allowed: ablation, " in wrong.err
    assert "Allowed here: experiment.quantile." in with_plugin("experiment=margins", "experiment.quantiles=1").err
    assert (
        "experiment.quantile=2.0: must be at most 1" in with_plugin("experiment=margins", "experiment.quantile=2").err
    )


def test_a_run_and_its_report(with_plugin: Callable[..., Ended], site: Path, tmp_path: Path) -> None:
    ended = with_plugin("experiment=margins")
    record = json.loads((tmp_path / ended.folder / "run.json").read_text())
    assert ended.status == 0 and str(ended.folder) == "outputs/margins/rings-quadratic/v001", ended.err
    assert record["metrics"]["accuracy"] == 1 and record["versions"]["mi-rings"] == "0.3.0"
    assert re.fullmatch("[0-9a-f]{12}", record["versions"]["code of mi-rings"])
    assert (tmp_path / ended.folder / "metrics.csv").read_text().startswith("class,n,accuracy,margin,low_margin\n")
    report = (tmp_path / ended.folder / "report.html").read_text()
    assert "How sure is a network of its answers, class by class?" in report and record["answer"] in report
    assert "mi-rings 0.3.0" in report and "the quantile experiment.quantile of the margins" in report
    refused = with_plugin("experiment=margins", "dataset.target=value")
    assert refused.status == 2 and "experiment=margins takes classes" in refused.err


def test_a_network_is_trained_again_once_its_code_is_edited(
    with_plugin: Callable[..., Ended], site: Path, tmp_path: Path
) -> None:
    def run() -> dict[str, Any]:
        ended = with_plugin("experiment=margins", *SMALL, "seed=5", "report=false")
        assert ended.status == 0, ended.err
        return json.loads((tmp_path / ended.folder / "run.json").read_text())

    file = site / "mi_rings/quadratic.py"
    before = file.read_text()
    records = [run(), run()]
    try:
        file.write_text(before.replace("x * x], 1", "x * x * 2], 1"))
        records.append(run())
    finally:
        file.write_text(before)
    assert [record["checkpoint"]["from"] for record in records] == ["training", "model store", "training"]
    codes = [record["versions"]["code of mi-rings"] for record in records]
    assert codes[0] == codes[1] != codes[2]


def test_workers_have_the_choices(launcher: str, with_plugin: Callable[..., Ended], tmp_path: Path) -> None:
    methods = ("experiment=discovery", "experiment.methods=[paths]", "experiment.accuracy_threshold=0.4")
    small = ("dataset=rings", *SMALL[:2], "training.epochs=0", "experiment.bootstrap=0", "report=false")
    small += ("experiment.max_table_rows=1",)  # each worker would compile the kernels of all circuits
    swept = with_plugin("-m", *methods, *small, "seed=0,1", launcher, "hydra.launcher.n_jobs=2")
    assert swept.status == 0, swept.err
    assert "paths" in (tmp_path / swept.folder / "sweep.csv").read_text()


def test_a_bench_judges_a_method_of_the_package(with_plugin: Callable[..., Ended], tmp_path: Path) -> None:
    networks = ("bench.part=small", "bench.families=[planted-plain]", "bench.seeds=1", "hydra/launcher=basic")
    quick = ("experiment.bootstrap=0", "experiment.repeats=1", "report=false")
    ended = with_plugin("bench", *networks, *quick, "experiment.methods=[magnitude,paths]")
    assert ended.status == 0, ended.err
    results = (tmp_path / ended.folder / "results.csv").read_text()
    assert {line.split(",")[3] for line in results.splitlines()[1:]} == {"random", "magnitude", "paths"}


def test_the_commands_of_the_page(with_plugin: Callable[..., Ended], site: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for language, block in blocks if not language for line in block.splitlines()]
    commands = [shlex.split(line.partition(" #")[0])[1:] for line in lines if line.startswith("mi-run ")]
    (folder_only,) = (typed for typed in commands if "--config-dir" in typed)
    sweeps = [typed for typed in commands if "-m" in typed]
    assert len(commands) == 6 and len(sweeps) == 1
    swept = with_plugin(*sweeps[0][:-1], "seed=0,1", *SMALL)
    assert swept.status == 0, swept.err
    folder = tmp_path / "outputs/sweeps/margins/v001"
    summary = (folder / "sweep_summary.csv").read_text()
    assert "quadratic" in summary and "mlp" in summary and "low_margin" in summary
    assert {json.loads(file.read_text())["status"] for file in folder.glob("*/run.json")} == {"done"}
    assert "How sure is a network" in (folder / "report.html").read_text()
    resumed = ("-m", "resume=outputs/sweeps/margins/v001", "plan=true")
    assert "\n0 jobs to run" in with_plugin(*resumed).out
    code = site / "mi_rings/margins/experiment.py"
    before = code.read_text()
    code.write_text(f"{before}# edited\n")
    planned = with_plugin(*resumed)
    assert "\n4 jobs to run" in planned.out and planned.err.count("was done by other code") == 4
    code.write_text(before)
    of_page = with_plugin("experiment=ablation", "dataset=rings", "model=quadratic", *SMALL)
    assert of_page.status == 0, of_page.err
    small = ("dataset.train_size=60", "dataset.test_size=60", "experiment.accuracy_threshold=0.4")
    found = with_plugin(*next(typed for typed in commands if "experiment=discovery" in typed), *small, f"seed={1}")
    assert found.status == 0, found.err
    record = json.loads((tmp_path / found.folder / "run.json").read_text())
    assert any(name.endswith("/paths/zero") for name in record["metrics"])
    assert record["versions"]["mi-rings"] == "0.3.0"
    listed = with_plugin("ls").out
    assert "margins" in listed and "rings" in listed
    jobs = [str(folder.relative_to(tmp_path) / str(job)) for job in (0, 1)]
    assert "margin" in with_plugin("diff", *jobs).out
    (block,) = re.findall(r"```yaml\n(# @package _global_\ndefaults:\n  - /experiment/ablation.*?)```", PAGE, re.DOTALL)
    (tmp_path / "FOLDER/experiment").mkdir(parents=True)
    (tmp_path / "FOLDER/experiment/NAME.yaml").write_text(block)
    assert with_plugin(*folder_only, "dataset=rings", "model=mlp", *SMALL[:2]).status == 0


def test_runs_of_a_package_that_is_gone_are_still_listed_and_shown(
    with_plugin: Callable[..., Ended], mi_run: Callable[..., Ended]
) -> None:
    ended = with_plugin("experiment=margins", *SMALL, "report=false")
    assert ended.status == 0, ended.err
    assert "margins" in mi_run("ls").out
    assert mi_run("report", str(ended.folder)).status == 0 and (ended.folder / "report.html").is_file()
    without = mi_run("experiment=margins")
    assert without.status == 2 and "no experiment is named 'margins'" in without.err


# --- what can't be used ----------------------------------------------------------------------------------------------

SCHEMA = """
from dataclasses import dataclass
from typing import ClassVar

from mi_runner.config.models import ModelConfig


@dataclass
class Net(ModelConfig):
    {doc}

    name: ClassVar[str] = "{name}"
    {module}
"""
GOOD = {"doc": '"""A network."""', "name": "net", "module": 'module: ClassVar[str] = "nets.code"'}


def point(name: str, value: str, *, group: str = "models", package: str = "nets") -> EntryPoint:
    return EntryPoint(group, name, value, package, "1.5")


def faults_of(
    points: list[EntryPoint], folder: Path, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """The names of the models that can be used, and the lines of those that can't."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "nets"]:
        monkeypatch.delitem(sys.modules, name)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(installed, "entry_points", lambda: tuple(points))
    found = Plugins()
    names = [schema.name for schema in found.schemas("model", ModelConfig, ["mlp"])]
    assert all("\n" not in fault.text and fault.text.startswith(f"{fault.what}: ") for fault in found.faults)
    return names, [fault.text for fault in found.faults]


YAML = {
    "nets/__init__.py": "",
    "nets/conf/__init__.py": "",
    "nets/conf/model/net.yaml": "defaults:\n  - /schema/model/net@_here_\n",
    "nets/conf/model/a.yaml": "defaults:\n  - /schema/model/a@_here_\n",
}


def test_a_schema_that_is_whole_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**YAML, "nets/inner/__init__.py": "", "nets/inner/schemas.py": SCHEMA.format(**GOOD)}
    other = point("ours", "nothing:Here", group="datasets")
    assert faults_of([point("net", "nets.inner.schemas:Net"), other], tmp_path, monkeypatch, files) == (["net"], [])


@pytest.mark.parametrize(
    ("change", "value", "text"),
    [
        (
            {},
            "nets.missing:Net",
            "nets.missing:Net of nets 1.5 can't be imported (ModuleNotFoundError: No module named ",
        ),
        ({}, "nets.schemas:Nut", "nets.schemas:Nut of nets 1.5 can't be imported (AttributeError: "),
        (
            {},
            "nets.ends:Net",
            "nets.ends:Net of nets 1.5 can't be imported (SystemExit: bye). Repair it, or pip uninst",
        ),
        ({}, "nets.schemas:dataclass", "nets.schemas:dataclass of nets 1.5 is no dataclass of ModelConfig."),
        ({"name": "nut"}, "nets.schemas:Net", 'needs name: ClassVar[str] = "net", and module, which names its code.'),
        ({"module": ""}, "nets.schemas:Net", 'needs name: ClassVar[str] = "net", and module, which names its code.'),
        (
            {"yaml": "width: 3"},
            "nets.schemas:Net",
            "net.yaml of nets 1.5 must have in its defaults list: - /schema/mod",
        ),
        ({"doc": ""}, "nets.schemas:Net", "needs a docstring, whose first line the help page shows."),
        (
            {"yaml": ""},
            "nets.schemas:Net",
            "model=net: nets 1.5 has no file nets/conf/model/net.yaml. Write it, with an",
        ),
    ],
)
def test_a_schema_that_can_not_be_used_is_a_line(
    change: dict[str, str], value: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {**YAML, "nets/schemas.py": SCHEMA.format(**{**GOOD, **change}), "nets/ends.py": "raise SystemExit('bye')"}
    if "yaml" in change:
        file = "nets/conf/model/net.yaml"
        files = {name: text for name, text in files.items() if name != file} | (
            {file: change["yaml"]} if change["yaml"] else {}
        )
    names, lines = faults_of([point("net", value)], tmp_path, monkeypatch, files)
    assert names == [] and len(lines) == 1 and text in lines[0] and lines[0].startswith("model=net: ")


def test_names_that_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**YAML, "nets/schemas.py": SCHEMA.format(**GOOD), "nets/a.py": SCHEMA.format(**GOOD | {"name": "a"})}
    points = [
        *(point("net", "nets.schemas:Net"), point("net", "other:Net", package="others")),
        *(point("mlp", "nets.schemas:Net"), point("a", "nets.a:Net")),
    ]
    assert faults_of(points, tmp_path, monkeypatch, files) == (
        ["a"],
        [
            "model=net: nets 1.5 and others 1.5 both have it. Keep one: pip uninstall others.",
            "model=mlp: mi-run has it, and nets 1.5 has another of this name. Rename that, or pip uninstall nets.",
        ],
    )


def test_a_broken_package_is_a_line_and_an_error_where_it_is_typed(
    tmp_path: Path, command: Callable[..., Ended]
) -> None:
    described = tmp_path / "site/broken-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Name: broken\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(
        "[mi_runner.experiments]\nbroken = broken_one:Config\nablation = broken_one:Other\n"
        "[mi_runner.methods]\nmagnitude = broken_one:Method\n[mi_runner.criteria]\nlight = broken_one:Light\n"
    )
    environment = {"PYTHONPATH": str(tmp_path / "site")}
    why = "broken_one:Config of broken 1.0 can't be imported (ModuleNotFoundError: No module named 'broken_one')"
    other = command("experiment=train", "--cfg", "job", **environment)
    assert other.status == 0 and other.err.splitlines() == [
        f"mi-run: warning: experiment=broken: {why}. Repair it, or pip uninstall broken.",
        "mi-run: warning: experiment=ablation: mi-run has it, and broken 1.0 has another of this name. Rename that, or "
        "pip uninstall broken.",
        "mi-run: warning: the method magnitude: mi-run has it, and broken 1.0 has another of this name. Rename that, "
        "or pip uninstall broken.",
        f"mi-run: warning: the criterion light: {why.replace('Config', 'Light')}. Repair it, or pip uninstall broken.",
    ]
    chosen = command("experiment=broken", **environment)
    assert chosen.status == 2 and f"mi-run: error: experiment=broken: {why}" in chosen.err
    (tmp_path / "own/experiment").mkdir(parents=True)
    (tmp_path / "own/experiment/own.yaml").write_text("defaults:\n  - /schema/experiment/broken@experiment\n")
    by_file = command("--config-dir", tmp_path / "own", "experiment=own", **environment)
    assert by_file.status == 2 and f"mi-run: error: experiment=broken: {why}" in by_file.err
    swept = command("-m", "experiment=broken,train", "plan=true", **environment)
    assert swept.status == 2 and f"experiment=broken: {why}" in swept.err
    assert "mi-run: error: experiment=ablation: mi-run has it" in command("experiment=ablation", **environment).err
    assert command("--completion", "words", "experiment=b", **environment).out == ""


def test_methods_that_can_not_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found_methods.py").write_text(
        "from mi_runner.methods.discovery.records import Method\n"
        "good = Method('good', 'does', scores='found_methods:score', is_default=True)\n"
        "named = Method('other', 'does', scores='found_methods:score')\n"
        "text = 'good'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    names = {"good": "good", "named": "named", "text": "text", "gone": "gone", "eap": "good"}
    points = tuple(point(name, f"found_methods:{value}", group="methods") for name, value in names.items())
    monkeypatch.setattr(installed, "entry_points", lambda: points)
    records._added.cache_clear()
    monkeypatch.setattr(records, "_added", records._added.__wrapped__)
    added = records.all_methods()[len(records.METHODS) :]
    assert [(method.name, method.is_default, method.origin) for method in added] == [("good", False, points[0])]
    assert "of nets 1.5 is no Method with name=" in records.fault_of("named") and records.fault_of("good") == ""
    assert "the method text: found_methods:text of nets 1.5 is no Method" in records.fault_of("text")
    assert "the method gone: found_methods:gone of nets 1.5 can't be imported (AttributeError" in records.fault_of(
        "gone"
    )
    assert "the method eap: mi-run has it, and nets 1.5 has another of this name" in records.fault_of("eap")
    with pytest.raises(ConfigError, match="experiment.methods has gone: the method gone: .* can't be imported"):
        discovery._methods(DiscoveryConfig(methods=["gone"]))
    assert [method.name for method in discovery._methods(DiscoveryConfig(methods=["magnitude"]))] == ["magnitude"]


def test_criteria_of_packages(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found_criteria.py").write_text("text = 'rank'\n")
    for folder in (tmp_path, site):
        monkeypatch.syspath_prepend(folder)
    unusable = tuple(point(name, "found_criteria:text", group="criteria") for name in ("text", "rank"))
    points = (*installed.entry_points.__wrapped__(), *unusable)
    monkeypatch.setattr(installed, "entry_points", lambda: points)
    monkeypatch.setattr(criteria_records, "_added", criteria_records._added.__wrapped__)
    (lightness,) = criteria_records.all_criteria()[len(criteria_records.CRITERIA) :]
    assert (lightness.name, lightness.is_default) == ("lightness", False)
    assert lightness.origin is not None and lightness.origin.origin == "mi-rings 0.3.0"
    assert [fault.what for fault in criteria_records.faults()] == ["the criterion text", "the criterion rank"]
    assert "found_criteria:text of nets 1.5 is no Criterion with name=" in criteria_records.faults()[0].text
    assert "mi-run has it, and nets 1.5 has another of this name" in criteria_records.faults()[1].text
    part = random_part((2, 1), "identity")
    found = judge.criteria(part, torch.zeros(2, 2), [0b01, 0b11], names=["lightness"]).values["lightness"]
    weights = part.layers[0].weight.abs()[0]
    assert found == pytest.approx([(weights[1] / weights.sum()).item(), 0.0])


def test_code_that_can_not_be_imported_is_a_line_for_runs_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass
    class Mine(ExperimentConfig):
        name: ClassVar[str] = "mine"
        module: ClassVar[str] = "mine_of_tests.experiment"

    (tmp_path / "mine_of_tests").mkdir()
    for name in ("__init__", "experiment"):
        (tmp_path / f"mine_of_tests/{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(declared, "EXPERIMENTS", (Mine,))
    with pytest.raises(AttributeError):  # a fault of mi-run's own is none of a package
        declared.declarations_of("mine")
    monkeypatch.setitem(registry.PLUGINS.origins, Mine, point("mine", "mine_of_tests:Mine"))
    with pytest.raises(RunFailed, match="mine_of_tests.experiment of nets 1.5 can't be imported .* Repair it"):
        declared.declarations_of("mine")
    with pytest.raises(RunFailed, match="mine_of_tests.experiment of nets 1.5 has no EXPERIMENT, which must be an"):
        choices.experiment_of(Mine())
    (tmp_path / "mine_of_tests/tables.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(RunFailed, match="of nets 1.5 can't be imported .*nothing_of_this_name"):
        declared.declarations_of("mine")
    with pytest.raises(RunFailed, match="mine_of_tests.experiment of nets 1.5 has no function 'load'"):
        choices.load_dataset(Mine(), seed=0)  # type: ignore[arg-type]


def test_kinds_of_choices_are_those_of_the_groups() -> None:
    assert plugins.GROUPS.keys() == {"experiment", "dataset", "model"}
    for group, kind in (("experiment", ExperimentConfig), ("dataset", DatasetConfig), ("model", ModelConfig)):
        assert kind.__module__ == f"mi_runner.config.{plugins.GROUPS[group]}"


# --- a folder that is not installed ----------------------------------------------------------------------------------

BASE = "# @package _global_\ndefaults:\n  - /experiment/train\n  - _self_\n"
FOLDERS = {
    "experiment": [
        ("defaults:\n  - /schema/experiment/own@experiment\n", "experiment/own.yaml: no schema of experiment is named"),
        (
            f"{BASE}experiment:\n  module: my.module\n",
            "experiment/own.yaml: experiment.module is no option, and a file of",
        ),
        (f"{BASE}model:\n  _target_: my.Net\n", "experiment/own.yaml: model._target_ is no option, and a file of a"),
        ("# @package _global_\nexperiment: my.module:Own\n", "is made from no experiment of mi-run: begin it with #"),
    ],
    "model": [
        (
            "defaults:\n  - /schema/model/own@_here_\n",
            "model/own.yaml: no schema of model is named 'own'. Begin it with",
        ),
        ("_target_: my.Net\nwidth: 3\n", "model: the file that model=NAME chooses is made from no model of mi-run"),
    ],
    "dataset": [
        ("path: x.npz\n", "dataset: the file that dataset=NAME chooses is made from no dataset of mi-run"),
    ],
}


@pytest.mark.parametrize(
    ("group", "content", "text"), [(group, *case) for group, cases in FOLDERS.items() for case in cases]
)
def test_a_folder_that_names_code_says_how_to_have_it(
    group: str, content: str, text: str, mi_run: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / f"own/{group}").mkdir(parents=True)
    (tmp_path / f"own/{group}/own.yaml").write_text(content)
    typed = ("--config-dir", "own", f"{group}=own")
    for command in (typed, (*typed, "dataset.limit=60"), (*typed, "--help"), ("-m", *typed, "seed=0,1", "plan=true")):
        ended = mi_run(*command)
        assert ended.status == 2 and text in ended.err and CODE in ended.err, command
        assert "Traceback" not in ended.err


def test_a_folder_that_names_a_choice_there_is_not(mi_run: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "own/model").mkdir(parents=True)
    (tmp_path / "own/model/own.yaml").write_text("defaults:\n  - /model/mpl\n")
    ended = mi_run("--config-dir", "own", "model=own")
    assert (
        ended.status == 2 and "model/own.yaml: no model is named 'mpl'. Did you mean mlp? Allowed: mlp, " in ended.err
    )


def test_an_experiment_that_sets_what_a_choice_has_not() -> None:
    line = explanations._of_file(
        "In 'experiment/circuits': ConfigKeyError raised while composing config:\nKey 'target' not in 'RingsConfig'\n"
        "    full_key: dataset.target\n    object_type=RingsConfig",
        ["experiment=circuits", "dataset=rings"],
    )
    assert line == (
        "experiment=circuits sets dataset.target, an option that dataset=rings doesn't have. Choose another."
    )


def test_help_knows_the_folder(mi_run: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "own/experiment").mkdir(parents=True)
    (tmp_path / "own/experiment/own.yaml").write_text(f"{BASE}training:\n  epochs: 77\n")
    assert "training.epochs=77 " in mi_run("--config-dir", "own", "experiment=own", "--help").out

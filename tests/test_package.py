"""The wheel has all that the program needs, and the sources name nothing that they shouldn't."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mi_runner
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    checkout = folder / "checkout"  # a copy, because building leaves files behind
    for name in ("mi_runner", "conf"):
        shutil.copytree(REPOSITORY / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, checkout)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--wheel-dir", str(folder), str(checkout)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_names_of_the_package_are_listed_once() -> None:
    names = dir(mi_runner)
    assert len(set(names)) == len(names) and {"circuits", "ablate"} <= set(names) and "TYPE_CHECKING" not in names


def test_the_wheel_has_every_source_config_and_data_file(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "mi_runner").rglob("*.py")}
    configs = {
        f"mi_runner/conf/{path.relative_to(REPOSITORY / 'conf')}" for path in (REPOSITORY / "conf").rglob("*.yaml")
    }
    data = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "mi_runner/datasets/mnist_files").iterdir()}
    templates = {str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("mi_runner/runs/report/templates/*")}
    assert len(data) == 6 and len(configs) >= 12 and len(templates) >= 5
    assert sources | configs | data | templates | {"mi_runner/py.typed"} <= inside
    assert not [name for name in inside if name.startswith(("tests", "benchmarks", "outputs", "conf"))]


def test_the_installed_wheel_runs_in_any_directory(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    program = (
        "import sys, mi_runner, mi_runner.conf; from mi_runner.cli import command as cli; "
        "print(mi_runner.__file__, list(mi_runner.conf.__path__), file=sys.stderr); sys.exit(cli.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "dataset=mnist01", "dataset.limit=50", "training.epochs=1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == f"{site}/mi_runner/__init__.py ['{site}/mi_runner/conf']"
    assert (tmp_path / done.stdout.splitlines()[-1] / "model.safetensors").exists()


def test_a_kernel_that_is_compiled_leaves_nothing_in_the_installed_package(wheel: Path, tmp_path: Path) -> None:
    """What an uninstall leaves there would hide a later editable install."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    before = set(site.rglob("*"))
    program = (
        "import numpy as np; from mi_runner.methods.circuits.kernels import activations; "
        "print(activations.activate(np.float32(-2), 1, 0.5))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MI_RUN_CACHE": str(tmp_path / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "-1.0\n"), done.stderr
    assert set(site.rglob("*")) == before
    assert {file.suffix for file in (tmp_path / "cache/kernels").glob("*/activations.activate*")} == {".nbi", ".nbc"}


def test_constraints_are_names_and_versions_only() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert len(lines) > 20
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line) for line in lines)
    names = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    text = (REPOSITORY / "pyproject.toml").read_text()
    needed = set(re.findall(r'"([a-z-]+)[><=]', text)) - {"setuptools"}
    assert len(needed) > 10 and needed <= names


def test_imports_go_down_only() -> None:
    """The contracts of pyproject.toml, which say which room may import from which."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_no_two_modules_import_each_other() -> None:
    """Not even by a third; imports for type checkers count, but for those of a folder's `__init__`, which names all."""
    imports: dict[str, set[str]] = {}
    for file in (REPOSITORY / "mi_runner").rglob("*.py"):
        is_room = file.name == "__init__.py"
        name = ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        imports[name] = {
            taken
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            for taken in imported_names(node)
            if not (is_room and taken.startswith(f"{name}."))
        }
    resolved = {
        name: {taken if taken in imports else taken.rpartition(".")[0] for taken in all_taken} & set(imports) - {name}
        for name, all_taken in imports.items()
    }
    left = dict(resolved)
    while free := {name for name, taken in left.items() if not taken & set(left)}:
        left = {name: taken for name, taken in left.items() if name not in free}
    assert len(resolved) > 200 and sum(map(len, resolved.values())) > 1000
    assert left == {}


def test_functions_are_short_and_take_few_parameters() -> None:
    """Compiled kernels aside, which take arrays one by one and can't be cut without a cost."""
    functions = {
        f"{file.relative_to(REPOSITORY)}:{node.lineno} {node.name}": node
        for file in (REPOSITORY / "mi_runner").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_kernel(node)
    }
    assert len(functions) > 2000
    assert {name: n for name, node in functions.items() if (n := lines_of(node)) > 60} == {}
    assert {name: n for name, node in functions.items() if (n := parameters_of(node)) > 11} == {}


def is_kernel(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator).startswith("compiled(") for decorator in function.decorator_list)


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Those without the docstring and the decorators."""
    said = function.body[0] if ast.get_docstring(function) is not None else None
    of_docstring = 0 if said is None else (said.end_lineno or said.lineno) - said.lineno + 1
    return (function.end_lineno or function.lineno) - function.lineno + 1 - of_docstring


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return len(named) + (given.vararg is not None) + (given.kwarg is not None)


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def test_nothing_but_the_console_prints() -> None:
    sources = [path for path in (REPOSITORY / "mi_runner").rglob("*.py") if path.name != "console.py"]
    assert len(sources) > 40
    for path in sources:
        assert not re.search(r"^\s*print\(", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_what_pictures_share_is_used_by_several() -> None:
    """Own pictures stand beside an experiment; a function of experiments/common/drawing.py has two users or more."""
    folder = REPOSITORY / "mi_runner/experiments"
    own = list(folder.glob("*/*figures.py"))
    experiments = [path.with_name("experiment.py") for path in own]
    assert len(own) > 5 and all(path.exists() for path in experiments)
    own += [REPOSITORY / "mi_runner/sweeps/sweep_figures.py", REPOSITORY / "mi_runner/bench/figures.py"]
    common = (folder / "common/drawing.py").read_text()
    shared = re.findall(r"^def ([a-z]\w*)", common, re.MULTILINE)
    assert {"confusion", "tidy"} <= set(shared)
    for name in shared:
        users = [path for path in (*own, *experiments) if re.search(rf"\bdrawing\.{name}\b", path.read_text())]
        in_common = len(re.findall(rf"(?<!def )\b{name}\(", common))
        assert users and len(users) + in_common > 1, f"{name} is used by {users}"


def test_no_test_module_imports_another_and_each_folder_is_named_after_a_room() -> None:
    files = sorted((REPOSITORY / "tests").rglob("*.py"))
    imported = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        if re.search(r"(^|\.)test_\w+$", name)
    ]
    assert imported == [], "what tests share stands in tests/networks.py and its like"
    folders = {path.parent.name for path in files if path.name.startswith("test_")} - {"tests"}
    assert folders == {name for name in folders if (REPOSITORY / "mi_runner" / name).is_dir()} | {"docs"}

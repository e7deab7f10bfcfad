"""Which tests a change reaches: a small project by hand, and the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.affected import FARTHEST, mirrors, readers_of, steps_to_tests
from tests.conftest import REPOSITORY
from tests.passed import state_now

TESTS = (
    *("tests/methods/test_census.py", "tests/methods/test_census_pieces.py", "tests/methods/test_censuses.py"),
    *("tests/experiments/test_decoder.py", "tests/experiments/test_decoder_drawn.py", "tests/test_errors.py"),
    *("tests/experiments/test_train_drawn.py", "tests/training/test_loop.py"),
)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("mi_runner/methods/circuits/kernels/census.py", {TESTS[0], TESTS[1]}),
        ("mi_runner/methods/census/__init__.py", {TESTS[0], TESTS[1]}),
        ("mi_runner/experiments/decoder/tables.py", {TESTS[3], TESTS[4]}),
        ("mi_runner/experiments/train/__init__.py", {TESTS[6]}),
        ("mi_runner/errors.py", {"tests/test_errors.py"}),
        ("mi_runner/training/train.py", set()),
        ("mi_runner/__init__.py", set()),
        ("docs/census.md", set()),
    ],
)
def test_mirrors_by_name(path: str, names: set[str]) -> None:
    assert mirrors(path, TESTS) == names


def readers(**files: tuple[str, ...]) -> dict[str, set[str]]:
    return {name.replace("__", "/") + ".py": {f"{reader}.py" for reader in of} for name, of in files.items()}


def test_steps_by_hand() -> None:
    """base ← middle ← test_a and base ← test_b; test_b also reads tests/common, which test_c reads alone."""
    known = readers(
        mi_runner__base=("mi_runner/middle", "tests/test_b"),
        mi_runner__middle=("tests/test_a",),
        tests__common=("tests/test_b", "tests/test_c"),
    )
    paths = ["mi_runner/base.py", "mi_runner/middle.py", "tests/common.py", *(f"tests/test_{x}.py" for x in "abcd")]
    assert steps_to_tests(["mi_runner/base.py"], paths, known) == {"tests/test_a.py": 2, "tests/test_b.py": 1}
    assert steps_to_tests(["tests/common.py"], paths, known) == {"tests/test_b.py": 1, "tests/test_c.py": 1}
    assert steps_to_tests(["mi_runner/base.py", "tests/test_a.py"], paths, known)["tests/test_a.py"] == 0
    assert steps_to_tests(["tests/test_gone.py", "LICENSE"], paths, known) == {}
    everywhere = steps_to_tests(["pyproject.toml", "mi_runner/base.py"], paths, known)
    assert everywhere == {"tests/test_a.py": 2, "tests/test_b.py": 1} | dict.fromkeys(
        ["tests/test_c.py", "tests/test_d.py"], FARTHEST
    )


@pytest.fixture(scope="module")
def of_project() -> tuple[list[str], dict[str, set[str]]]:
    paths = sorted(state_now(REPOSITORY))
    if not paths:
        pytest.skip("the files that git lists: there is no git here")
    return paths, readers_of(paths, REPOSITORY)


@pytest.mark.parametrize(
    ("read", "reader"),
    [
        ("mi_runner/graph/chain.py", "tests/graph/test_chain.py"),  # an import
        ("mi_runner/experiments/train/experiment.py", "mi_runner/config/experiments/train.py"),  # a module in a string
        ("conf/experiment/decoder.yaml", "tests/experiments/test_decoder.py"),  # experiment=decoder
        ("conf/model/skip.yaml", "conf/experiment/ablation.yaml"),  # override /model: skip
        ("README.md", "tests/docs/test_readme.py"),  # its name
        ("docs/ablation.md", "tests/docs/test_docs.py"),  # *.md
        ("LICENSE", "tests/test_package.py"),  # a name without a dot
        ("mi_runner/runs/report/templates/run.html", "mi_runner/runs/report/run_report.py"),
    ],
)
def test_readers_in_the_project(read: str, reader: str, of_project: tuple[list[str], dict[str, set[str]]]) -> None:
    paths, known = of_project
    assert {read, reader} <= {*paths} and reader in known[read]


def test_a_page_reaches_no_kernel_before_its_own_tests(of_project: tuple[list[str], dict[str, set[str]]]) -> None:
    paths, known = of_project
    steps = steps_to_tests(["docs/decoder.md"], paths, known)
    assert steps["tests/docs/test_readme.py"] == 1 and steps.get("tests/methods/test_census.py", 9) > 1


def test_files_that_are_no_text_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.affected.imported", lambda paths: {})
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text('"picture.png", "data.npz"')
    (tmp_path / "picture.png").write_bytes(b"\xff\xfe\x00")
    assert readers_of(["tests/test_a.py", "picture.png"], tmp_path) == {"picture.png": {"tests/test_a.py"}}

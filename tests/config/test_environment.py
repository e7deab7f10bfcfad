"""A secret of the environment gets into no file and no line by way of an option."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mi_runner.config.composition import compose
from mi_runner.errors import ConfigError
from tests.conftest import Ended

MiRun = Callable[..., Ended]

SECRET = "hunter2-4711"

TINY = ("dataset=mod_add", "training.epochs=0", "report=false")

OPTIONS = (
    "seed=${oc.env:TOKEN}",
    "seed=${oc.env:TOKEN_NUMBER}",
    "seed=${oc.decode:'${oc.env:TOKEN_NUMBER}'}",
    "output_dir=${oc.env:TOKEN}",
    "output_dir=out/${oc.env:TOKEN,default}/in",
    "output_dir=${oc.env:MISSING,default}",
    "output_dir=${oc.env:${oc.env:NAME_OF_TOKEN}}",
    "output_dir=${oc.select:seed,${oc.env:TOKEN}}",
    "output_dir=${oc.${part}:TOKEN}",
    "output_dir=${oc.deprecated:${oc.env:TOKEN}}",
    "model.hidden_sizes=[8,${oc.env:TOKEN}]",
    "expect={accuracy: '${oc.env:TOKEN}'}",
    "expect={'${oc.env:TOKEN}': '>0'}",
    "dataset=${oc.env:TOKEN}",
    "+new=${oc.env:TOKEN}",
    "checkpoint=${oc.env:TOKEN}",
    "device=${oc.env:TOKEN}",
    "threads=${oc.env:TOKEN}",
)


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("TOKEN_NUMBER", "47110815")
    monkeypatch.setenv("NAME_OF_TOKEN", "TOKEN")


def leaks(folder: Path, *texts: str) -> list[str]:
    """Where the secret is: in a text, in a file, in a name."""
    found = [text for text in texts if SECRET in text or "47110815" in text]
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if SECRET in path.name or SECRET.encode() in content or b"47110815" in content:
            found.append(str(path))
    return found


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_reads_the_environment(option: str, mi_run: MiRun, tmp_path: Path) -> None:
    for words in ((), ("-m", "training.batch_size=8,16"), ("--cfg", "job"), ("--cfg", "job", "--resolve"), ("--help",)):
        ended = mi_run(*words, *TINY, option)
        assert leaks(tmp_path, ended.out, ended.err) == []
        if not {"--cfg", "--help"} & set(words):
            assert ended.status == 2 and not list(tmp_path.iterdir())
            if "${part}" not in option and "'${oc.env:TOKEN}': " not in option:
                assert "options don't read the environment" in ended.err and 'KEY="$' in ended.err


def test_a_swept_option_that_reads_the_environment(mi_run: MiRun, tmp_path: Path) -> None:
    ended = mi_run("-m", *TINY, "seed=1,${oc.env:TOKEN}", "skip_invalid=true", "plan=true")
    again = mi_run("-m", *TINY, "seed=1,${oc.env:TOKEN}")
    assert leaks(tmp_path, ended.out, ended.err, again.out, again.err) == [] and again.status == 2


@pytest.mark.parametrize(
    "option",
    ["hydra.launcher.address=${oc.env:TOKEN}", "hydra.launcher.n_jobs=${oc.env:TOKEN}", "sweep=${oc.env:TOKEN}"],
)
def test_an_option_of_a_sweep_that_reads_the_environment(option: str, mi_run: MiRun, tmp_path: Path) -> None:
    launcher = () if option.startswith("sweep") else ("hydra/launcher=ray",)
    ended = mi_run("-m", *TINY, "seed=1,2", *launcher, option)
    assert ended.status == 2 and leaks(tmp_path, ended.out, ended.err) == []
    assert "options don't read the environment" in ended.err


def test_a_file_of_the_user_s_own_that_reads_the_environment(mi_run: MiRun, tmp_path: Path) -> None:
    (tmp_path / "mine/training").mkdir(parents=True)
    (tmp_path / "mine/training/own.yaml").write_text(
        "defaults:\n  - /schema/training@_here_\nbatch_size: ${oc.env:TOKEN_NUMBER}\n"
    )
    for words in ((), ("-m", "seed=1,2")):
        ended = mi_run(*words, *TINY, "--config-dir", "mine", "training=own")
        assert ended.status == 2 and "options don't read the environment" in ended.err
        assert leaks(tmp_path, ended.out, ended.err) == []
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_other_interpolations_are_read(mi_run: MiRun) -> None:
    ended = mi_run(*TINY, "seed=7", "training.batch_size=${seed}", "output_dir=out/${oc.select:seed}")
    assert ended.status == 0 and str(ended.folder).startswith("out/7/")
    assert ended.record["config"]["training.batch_size"] == 7


def test_an_interpolation_that_somebody_registered_is_not_known() -> None:
    OmegaConf.register_new_resolver("own", lambda: SECRET)
    try:
        with pytest.raises(ConfigError) as caught:
            compose(["output_dir=${own:}"])
        assert SECRET not in str(caught.value)
        assert OmegaConf.create({"a": "${own:}"}).a == SECRET  # the program's own configs read it as before
    finally:
        OmegaConf.clear_resolver("own")


def test_a_program_s_own_configs_read_the_environment_as_before() -> None:
    with pytest.raises(ConfigError):
        compose(["output_dir=${oc.env:TOKEN}"])
    assert OmegaConf.create({"a": "${oc.env:TOKEN}"}).a == os.environ["TOKEN"]

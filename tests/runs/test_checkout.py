"""A run asks git for the commit of the current folder, and nothing that the folder's maker named is run."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from mi_runner.runs import checkout
from mi_runner.runs.record import GitRecord

TINY = ("experiment=train", "dataset=mod_add", "training.epochs=0", "report=false")


def git(*words: str | bytes, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    own = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", *own, *words], cwd=cwd, env=environment, capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a commit, which is the current folder."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git("init", "-q", "-b", "main", cwd=folder)
    (folder / "file.txt").write_text("text\n")
    git("add", ".", cwd=folder)
    git("commit", "-qm", "first", cwd=folder)
    monkeypatch.chdir(folder)
    return folder


def leaving_marks(folder: Path, name: str) -> tuple[Path, Path]:
    """A program that makes a file when it is run, and that file."""
    mark, program = folder / f"mark of {name}", folder / f"program_{name}"
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\ncat\n")
    program.chmod(0o755)
    return program, mark


def touched(path: Path, content: str) -> None:
    """Writes a file whose size and time differ from what git's index has."""
    path.write_text(content)
    os.utime(path, (time.time() + 5, time.time() + 5))


def test_commit_and_changes(repository: Path) -> None:
    commit = git("rev-parse", "HEAD", cwd=repository)
    assert checkout.state() == GitRecord(commit, dirty=False)
    touched(repository / "file.txt", "text\n")
    assert checkout.state() == GitRecord(commit, dirty=False)
    (repository / "untracked").write_text("a")
    assert checkout.state() == GitRecord(commit, dirty=False)
    touched(repository / "file.txt", "other\n")
    assert checkout.state() == GitRecord(commit, dirty=True)


def test_names_that_are_no_text(repository: Path) -> None:
    name = os.fsencode(repository) + b"/caf\xe9"
    Path(os.fsdecode(name)).write_text("a")
    git("add", ".", cwd=repository)
    git("commit", "-qm", "second", cwd=repository)
    git("config", "core.quotepath", "false", cwd=repository)
    touched(Path(os.fsdecode(name)), "longer")
    assert checkout.state() == GitRecord(git("rev-parse", "HEAD", cwd=repository), dirty=True)


PROGRAMS = (
    *("core.fsmonitor", "core.sshCommand", "core.pager", "pager.status", "pager.rev-parse", "pager.config"),
    *("core.editor", "core.askPass", "core.gitProxy", "core.alternateRefsCommand", "diff.external", "gpg.program"),
    *("credential.helper", "sequence.editor", "uploadpack.packObjectsHook", "merge.x.driver"),
    *("diff.x.command", "diff.x.textconv", "interactive.diffFilter"),
    *("filter.x.clean", "filter.x.smudge", "filter.y.z.clean", "filter.X Y.clean"),
    *("filter.w.process", "filter.from_include.clean", "remote.origin.uploadpack", "submodule.sub.update"),
)
ALIASES = ("alias.status", "alias.rev-parse", "alias.config", "alias.diff")


def hostile(repository: Path, marks: Path) -> list[Path]:
    """Names a program in each setting, hook and attribute of a repository; the files that the programs would make."""
    names = ["a", "b", "c", "d"]
    for name in names:
        (repository / name).write_text("text\n")
    git("add", *names, cwd=repository)
    made = []
    with (repository / ".git/config").open("a") as config:
        config.write(f"[include]\n\tpath = {marks / 'included'}\n[diff]\n\texternal = cat\n")
        for name in (
            "post-index-change",
            "post-checkout",
            "fsmonitor-watchman",
            "pre-auto-gc",
            "reference-transaction",
        ):
            program, mark = leaving_marks(marks, name)
            (repository / ".git/hooks").mkdir(exist_ok=True)
            (repository / ".git/hooks" / name).write_text(program.read_text())
            (repository / ".git/hooks" / name).chmod(0o755)
            made.append(mark)
    for number, key in enumerate((*PROGRAMS, *ALIASES)):
        program, mark = leaving_marks(marks, str(number))
        value = f"!{program}" if key in ALIASES else str(program)
        if "from_include" in key:
            git("config", "-f", str(marks / "included"), key, value, cwd=repository)
        else:
            git("config", "--replace-all", key, value, cwd=repository)
        made.append(mark)
    for name in ("x", "y.z", "from_include"):
        git("config", f"filter.{name}.required", "true", cwd=repository)
    (repository / ".gitattributes").write_text("a filter=x diff=x merge=x\nb filter=y.z diff=x\n")
    (repository / ".git/info").mkdir(exist_ok=True)
    (repository / ".git/info/attributes").write_text("c filter=from_include\nd filter=w\n")
    for name in names:
        touched(repository / name, "text\n")
    return made


def test_no_program_of_a_hostile_repository_is_run(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (marks := tmp_path / "marks").mkdir()
    made = hostile(repository, marks)
    for name in ("GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EDITOR", "GIT_PROXY_COMMAND"):
        program, mark = leaving_marks(marks, name)
        monkeypatch.setenv(name, str(program))
        made.append(mark)
    state = checkout.state()
    assert state is not None and state.dirty is True  # four files are in the index, and not in the commit
    assert [mark.name for mark in made if mark.exists()] == []
    # The same without the settings: the attack is one.
    subprocess.run(["git", "status", "--porcelain"], cwd=repository, capture_output=True, check=False)
    assert len([mark for mark in made if mark.exists()]) >= 3


def test_a_run_in_a_hostile_repository(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mi_runner.cli import command

    (marks := tmp_path / "marks").mkdir()
    made = hostile(repository, marks)
    assert command.main([*TINY, f"output_dir={tmp_path / 'out'}"]) == 0
    assert [mark.name for mark in made if mark.exists()] == []


def test_a_filter_whose_name_has_a_sign_of_equality(repository: Path, tmp_path: Path) -> None:
    program, mark = leaving_marks(tmp_path, "equal")
    git("config", "filter.a=b.clean", str(program), cwd=repository)
    (repository / ".gitattributes").write_text("file.txt filter=a=b\n")
    touched(repository / "file.txt", "text\n")
    assert checkout.state() == GitRecord(git("rev-parse", "HEAD", cwd=repository), dirty=None)
    assert not mark.exists()


def test_a_submodule_s_config_is_not_read(repository: Path, tmp_path: Path) -> None:
    (inner := tmp_path / "inner").mkdir()
    git("init", "-q", cwd=inner)
    (inner / "f").write_text("text\n")
    git("add", ".", cwd=inner)
    git("commit", "-qm", "first", cwd=inner)
    git("submodule", "add", "-q", str(inner), "sub", cwd=repository)
    git("commit", "-qm", "second", cwd=repository)
    program, mark = leaving_marks(tmp_path, "submodule")
    for key in ("core.fsmonitor", "filter.x.clean"):
        git("config", key, str(program), cwd=repository / "sub")
    (repository / ".git/modules/sub/info/attributes").write_text("f filter=x\n")
    touched(repository / "sub/f", "text\n")
    state = checkout.state()
    assert state is not None and state.dirty is False and not mark.exists()


def test_a_bare_repository_that_lies_in_a_folder(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files such as HEAD, objects and config in a downloaded folder are a repository to git; ours is the outer one."""
    planted = repository / "data"
    git("clone", "-q", "--bare", str(repository), str(planted), cwd=repository)
    program, mark = leaving_marks(tmp_path, "bare")
    for key, value in {"core.fsmonitor": str(program), "core.bare": "false", "core.worktree": str(repository)}.items():
        git("config", "-f", str(planted / "config"), key, value, cwd=tmp_path)
    monkeypatch.chdir(planted)
    checkout.state()
    assert not mark.exists()


def test_missing_objects_are_not_fetched(repository: Path, tmp_path: Path) -> None:
    """A partial clone lacks objects, and git would fetch them by a program that the config names."""
    program, mark = leaving_marks(tmp_path, "transport")
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\nexec >&- <&-\n")
    for key, value in {
        "extensions.partialClone": "origin",
        "core.repositoryFormatVersion": "1",
        "remote.origin.url": f"ext::{program}",
        "remote.origin.promisor": "true",
        "protocol.ext.allow": "always",
    }.items():
        git("config", key, value, cwd=repository)
    tree = git("rev-parse", "HEAD^{tree}", cwd=repository)
    (repository / ".git/objects" / tree[:2] / tree[2:]).unlink()
    state = checkout.state()
    assert state is not None and state.dirty is None and not mark.exists()
    subprocess.run(["git", "status"], cwd=repository, capture_output=True, check=False, timeout=20)
    assert mark.exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs the right to give files away")
def test_a_repository_of_another_user_is_not_asked(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for path in (repository, repository / ".git"):
        os.chown(path, 65534, 65534)
    assert checkout.state() is None


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checkout.state() is None


def test_a_program_named_git_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, mark = leaving_marks(tmp_path, "git")
    program.rename(tmp_path / "git")
    monkeypatch.chdir(tmp_path)
    for path in (".", ""):
        monkeypatch.setenv("PATH", path)
        assert checkout.state() is None
    assert not mark.exists()


def test_git_that_takes_too_long(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ncase "$*" in *rev-parse*) echo 0123;; *) exec sleep 60;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(checkout, "SECONDS", 0.3)
    assert checkout.state() == GitRecord("0123", dirty=None)

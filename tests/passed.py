"""With which files of the project did each test pass last? What `--quick` compares the files of now with.

A file is known by git's name of its content, so that a state of the working tree and a commit compare.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

State = Mapping[str, str]
"""File → its content's name. A file that is not in it was not there."""


def git(root: Path, *arguments: str) -> str:
    """What git prints; empty if it has none or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def state_now(root: Path) -> State:
    """The files of the working tree that git tracks or does not ignore. Empty without git."""
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate").split("\0")
    return {path: content_name((root / path).read_bytes()) for path in listed if path and (root / path).is_file()}


def content_name(content: bytes) -> str:
    """The name that git gives to a content."""
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def state_at_main(root: Path) -> tuple[str, State]:
    """The commit where this branch left main, or the newest one if there is no main, and its files."""
    commit = (git(root, "merge-base", "HEAD", "main") or git(root, "rev-parse", "HEAD")).strip()
    lines = git(root, "ls-tree", "-r", "-z", "--full-tree", commit).split("\0") if commit else []
    entries = [line.partition("\t") for line in lines if line]
    return commit, {path: of.split()[2] for of, _, path in entries}


def changed(before: State, after: State) -> set[str]:
    """The files that are new, gone or have another content."""
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}


@dataclass(frozen=True)
class Passed:
    """When a test passed last: its place in the states of the record, None if it failed since; how long it took."""

    state: int | None
    seconds: float


@dataclass(frozen=True)
class Record:
    """The states of the files in which tests passed, the newest first, and each test."""

    states: tuple[State, ...] = ()
    tests: Mapping[str, Passed] = field(default_factory=dict)

    def with_run(
        self, state: State, passed: Mapping[str, float], failed: Mapping[str, float], gone: Collection[str] = ()
    ) -> Record:
        """The record after a run.

        Args:
            state: the files that the run had.
            passed: test → seconds.
            failed: test → seconds.
            gone: the tests that don't exist any more.
        """
        kept = {
            name: (of if of.state is None else Passed(of.state + 1, of.seconds))
            for name, of in self.tests.items()
            if name not in gone
        }
        kept |= {name: Passed(0, seconds) for name, seconds in passed.items()}
        kept |= {name: Passed(None, seconds) for name, seconds in failed.items()}
        return Record((state, *self.states), kept)._without_unused()

    def _without_unused(self) -> Record:
        used = sorted({0, *(of.state for of in self.tests.values() if of.state is not None)})
        states: list[State] = []
        place = {}
        for old in used:
            if self.states[old] not in states:
                states.append(self.states[old])
            place[old] = states.index(self.states[old])
        tests = {
            name: of if of.state is None else Passed(place[of.state], of.seconds) for name, of in self.tests.items()
        }
        return Record(tuple(states), tests)

    def as_json(self) -> dict[str, Any]:
        """Plain values: of older states only what differs from the newest, because there may be many."""
        newest = self.states[0] if self.states else {}
        older = [{path: state.get(path) for path in sorted(changed(newest, state))} for state in self.states[1:]]
        tests = {name: [of.state, round(of.seconds, 3)] for name, of in self.tests.items()}
        return {"newest": newest, "older": older, "tests": tests}

    @classmethod
    def of_json(cls, values: Any) -> Record:
        """The record that `as_json` made; an empty one of None."""
        if not values:
            return cls()
        newest = values["newest"]
        older = [
            {path: content for path, content in {**newest, **differs}.items() if content is not None}
            for differs in values["older"]
        ]
        return cls((newest, *older), {name: Passed(*of) for name, of in values["tests"].items()})

"""Docstrings, comments, messages and pages use plain present-day English: clean files have no banned phrase."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

BANNED = {
    "rightly": "correctly, or: the correct ...",
    "wrongly": "the wrong ..., or: misclassified",
    "hand back": "return",
    "hands back": "returns",
    "handed back": "returned",
    "hands over": "passes, or: returns",
    ", else": "otherwise",
    "; else": "otherwise",
    "all the same": "anyway",
    "at the most": "at most",
    "anew": "again",
    "be they": "even if",
    "a moment, what": "say what happens",
    "for there is": "because there is",
    "whatever ran": "after any other commands",
    "in which it lies": "say where it is",
}
"""Phrase → what to write instead."""

CLEAN = ("*.md", "docs/*.md", "conf/**/*.yaml", "mi_runner/**/*.py")
"""The files that have none of these."""

# Python 3.12 has tokens of its own for the text of an f-string; before, an f-string is a STRING.
PROSE = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}

FILES = sorted({file for pattern in CLEAN for file in REPOSITORY.glob(pattern)})


def prose_of(name: str, text: str) -> str:
    """The prose of a file: comments and strings of Python, a page without its code blocks, the whole text of others.

    Line breaks and comment signs become spaces, so that a phrase is found across lines.
    """
    if name.endswith(".py"):
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        text = "\n".join(token.string for token in tokens if token.type in PROSE)
    elif name.endswith(".md"):
        text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"[\s#]+", " ", text)


def banned_in(name: str, text: str) -> list[str]:
    """The banned phrases in a file, each with what to write instead."""
    prose = prose_of(name, text).lower()
    return [
        f"{name}: '{phrase}'. Write: {instead}."
        for phrase, instead in BANNED.items()
        if re.search(rf"(?:(?<!\w)|(?=\W)){re.escape(phrase)}(?!\w)", prose)
    ]


@pytest.mark.parametrize("pattern", CLEAN)
def test_a_clean_pattern_names_files(pattern: str) -> None:
    assert list(REPOSITORY.glob(pattern))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_clean_files_have_no_banned_phrase(file: Path) -> None:
    assert banned_in(str(file.relative_to(REPOSITORY)), file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", 'def f():\n    """Whether it is answered\n    rightly."""\n'),
        ("a.py", "x = 1  # what it hands\n# back\n"),
        ("a.py", 'raise ValueError(f"{x} is trained all the same")\n'),
        ("a.md", "The shape, else nothing.\n"),
        ("a.yaml", "# 4 at the most\nx: 1\n"),
    ],
)
def test_a_banned_phrase_is_found(name: str, text: str) -> None:
    assert len(banned_in(name, text)) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "hands_back = [1 if x else 2, 3]\nrightly = anew = 0\n"),
        ("a.md", "```\nif x; then y; else z; fi  # all the same\n```\n"),
        ("a.py", '"""Brightly, renewed: an answer."""\n'),
    ],
)
def test_code_and_longer_words_are_no_phrases(name: str, text: str) -> None:
    assert banned_in(name, text) == []

"""Docstrings, comments, messages and pages use plain present-day English.

Clean files have no banned phrase, and a function's docstring begins with what the function does.
"""

from __future__ import annotations

import ast
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


VERBS = (
    *("Adds", "Asks", "Begins", "Builds", "Calls", "Checks", "Closes", "Compares", "Computes", "Copies"),
    *("Counts", "Cuts", "Delays", "Does", "Draws", "Drops", "Ends", "Fills", "Forgets"),
    *("Frees", "Gives", "Imports", "Keeps", "Lets", "Links", "Loads", "Logs", "Makes"),
    *("Marks", "Merges", "Moves", "Notes", "Prints", "Puts", "Raises", "Reads"),
    *("Records", "Refuses", "Registers", "Removes", "Replaces", "Reports", "Restores", "Returns", "Runs"),
    *("Says", "Sends", "Sets", "Shows", "Splits", "Stores", "Submits", "Takes", "Touches"),
    *("Trains", "Turns", "Unpacks", "Waits", "Writes", "Yields"),
)
"""The first word of a function's docstring: what the function does, in the third person."""


def first_words(source: str) -> list[tuple[int, str]]:
    """Line and first word of each function's docstring. A property may name what it is; `Args:` says only that."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
            is_property = any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
            if not is_property and not text.startswith("Args:"):
                found.append((node.lineno, text.split()[0].rstrip(",")))
    return found


def test_a_function_s_docstring_begins_with_what_it_does() -> None:
    words = {
        (str(file.relative_to(REPOSITORY)), line): word
        for file in sorted((REPOSITORY / "mi_runner").rglob("*.py"))
        for line, word in first_words(file.read_text(encoding="utf-8"))
    }
    others = [f"{file}:{line}: {word}" for (file, line), word in words.items() if word not in VERBS]
    assert others == [], f"Begin with a verb in the third person, as {', '.join(VERBS)}."
    assert len(words) > 1000


SOURCE = '''
def f():
    """The answer."""

class A:
    """A."""

    def g(self):
        """
        Returns: x.
        """

    @cached_property
    def h(self):
        """The h."""

    def __init__(self):
        """Args: x."""

def k(): ...
'''


def test_the_first_words_of_docstrings_are_found() -> None:
    assert first_words(SOURCE) == [(2, "The"), (8, "Returns:")]

"""What docs/library.md shows can be run, block after block, as in a notebook."""

from __future__ import annotations

import re
from typing import Any

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "library.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_every_block_runs() -> None:
    blocks = list(BLOCK.finditer(TEXT))
    assert len(blocks) >= 9 and len(blocks) == TEXT.count("\n```python\n")
    names: dict[str, Any] = {"__name__": "library"}
    for block in blocks:
        first_line = TEXT[: block.start(1)].count("\n")
        # The empty lines make a traceback name the page's own line.
        exec(compile("\n" * first_line + block[1], str(PAGE), "exec"), names)

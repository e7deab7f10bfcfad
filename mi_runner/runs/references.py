"""The works that experiments, data sets, models and methods come from: BibTeX, in references.bib beside this file.

Each entry begins with `@type{key,`, has a field on each line, `  name = {value},`, and ends with `}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

OWN = "mirun"
"""The key of mi-run itself."""

FILE = Path(__file__).with_name("references.bib")

_ENTRY = re.compile(r"@(\w+)\{([\w]+),\n((?:  .*\n)*)\}\n")
_FIELD = re.compile(r"  (\w+) = \{(.*)\},\n")


@dataclass(frozen=True)
class Entry:
    """A work.

    Attributes:
        kind: BibTeX's type of it, as article.
        fields: name → value, as LaTeX.
    """

    key: str
    kind: str
    fields: Mapping[str, str]

    def bibtex(self, **more: str) -> str:
        """Returns the entry as BibTeX.

        Args:
            more: further fields.
        """
        lines = [f"  {name} = {{{value}}}," for name, value in {**self.fields, **more}.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


@cache
def entries() -> Mapping[str, Entry]:
    """Returns key → entry, in the order of the file."""
    text = FILE.read_text(encoding="utf-8")
    found = [Entry(key, kind, dict(_FIELD.findall(fields))) for kind, key, fields in _ENTRY.findall(text)]
    return MappingProxyType({entry.key: entry for entry in found})

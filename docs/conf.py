"""How Sphinx makes the site of the pages; `docs/build_site.py` calls it.

The site loads nothing from elsewhere, so it can be read without a network, and its search works in files.
"""

from __future__ import annotations

import re
from typing import Any

from mi_runner import __version__

project = "mi-run"
author = "the mi-run authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 6
highlight_language = "none"
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"mi-run {__version__}"
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
html_show_search_summary = False  # a browser reads no other page from a file

SEVERAL = re.compile(r"^(:(?:ivar|param|raises) )(\S+(?:, \S+)+)(?=:)")
"""The names of several things that a docstring explains together; of two words Sphinx takes the first as a type."""

IN_CODE = re.compile(r"(`[^`]+`)")
"""Code within a sentence."""


def as_restructured_text(app: Any, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """Turns a docstring into what Sphinx takes: indented formulas and tables stay as they are, `*` is no emphasis."""
    written: list[str] = []
    is_block = is_example = False
    for line in lines:
        is_example = bool(line) and (is_example or line.lstrip().startswith(">>>"))
        if line.startswith("    ") and not is_block and not is_example and _is_free(written):
            is_block = True
            written += ["::", ""]
        elif line and not line.startswith(" "):
            is_block = False
        written.append(line if is_block or is_example else _escaped(line))
    lines[:] = written


def _is_free(written: list[str]) -> bool:
    """Returns whether what is indented now belongs to no field and no list above it."""
    above = next((line for line in reversed(written) if line and not line.startswith(" ")), "")
    return not above.startswith((":", "-", "..", "*"))


def _escaped(line: str) -> str:
    if line.lstrip().startswith((":", "..")):
        return SEVERAL.sub(lambda found: found[1] + found[2].replace(", ", ","), line)
    parts = IN_CODE.split(line)
    return "".join(
        f"`{part[1:-1].strip()}`" if place % 2 else re.sub(r"([*|])", r"\\\1", part) for place, part in enumerate(parts)
    )


def setup(app: Any) -> None:
    """Lets Sphinx call what this file defines."""
    app.connect("autodoc-process-docstring", as_restructured_text, priority=900)

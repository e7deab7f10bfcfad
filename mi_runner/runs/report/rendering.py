"""Templates to pages: one HTML file with its style, scripts, pictures and data inside, and nothing from elsewhere.

Every text goes through Jinja's autoescape, data through `tojson`. The page's Content-Security-Policy allows the page's
own scripts and style by their hashes, and pictures that are data; so no text can run or load anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mi_runner.errors import escaped
from mi_runner.machine.files import written_whole


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mi_runner.runs.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_written,
    )
    environment.filters["link"] = link
    return environment


def prepare(*templates: str) -> None:
    """Reads templates, so that the first page with them takes half as long."""
    for template in templates:
        _environment().get_template(template)


def _written(value: Any) -> Any:
    """Returns a value as a page shows it: no character of a text hides or turns others."""
    return escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _file(name: str) -> str:
    return (resources.files("mi_runner.runs.report") / "templates" / name).read_text(encoding="utf-8")


def link(path: str) -> str:
    """Returns the address of a file beside the page: `./` in front, so that no name is taken as `javascript:`."""
    return "./" + quote(path.encode(errors="surrogateescape"))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def fragment(template: str, **content: Any) -> str:
    """Returns a template's part of a page that is somebody else's; it has neither scripts nor styles of its own."""
    return _environment().get_template(template).render(**content)


def page(template: str, scripts: Sequence[str], **content: Any) -> str:
    """Returns the page of a template.

    Args:
        scripts: names of the templates folder's files, run in this order.
        content: what the template shows.
    """
    style = _file("report.css")
    script = "\n".join(map(_file, scripts))
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'"
    return (
        _environment()
        .get_template(template)
        .render(style=Markup(style), script=Markup(script), policy=Markup(policy), **content)
    )


def write_page(path: Path, text: str) -> Path:
    """Writes a page, and returns its path.

    Raises:
        OSError: it can't be written.
    """
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path

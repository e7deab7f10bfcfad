"""Programs of docs/, as modules."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.conftest import REPOSITORY


def program(name: str) -> ModuleType:
    """A program of docs/, as a module."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / f"docs/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

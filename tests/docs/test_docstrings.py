"""The examples in the docstrings of what mi_runner exports run, each by itself, and print what they say."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import mi_runner

WITHOUT_EXAMPLE = {"circuits.load"}
"""It needs a run; docs/library.md has its example, which a test runs."""


def exported() -> Iterator[tuple[str, Any]]:
    """Each name of each namespace, and those that stand in mi_runner alone."""
    found: dict[int, str] = {}
    for namespace in mi_runner._NAMESPACES:
        module = getattr(mi_runner, namespace)
        plain = {"datasets": ("Dataset", "CausalModel", "Follows", "LabelTable")}.get(namespace, ())
        names = getattr(module, "__all__", plain)
        for name in names:
            found.setdefault(id(getattr(module, name)), f"{namespace}.{name}")
            yield f"{namespace}.{name}", getattr(module, name)
    yield "compose", mi_runner.compose
    yield "run", mi_runner.run


EXPORTED = dict(exported())


@pytest.mark.parametrize("name", EXPORTED)
def test_the_example_of_a_docstring_runs(name: str) -> None:
    text = inspect.getdoc(EXPORTED[name]) or ""
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    if name in WITHOUT_EXAMPLE:
        assert not example.examples
        return
    assert example.examples, f"{name} has no example"
    said: list[str] = []
    with torch.random.fork_rng():
        result = doctest.DocTestRunner().run(example, out=said.append)
    assert result.failed == 0, "".join(said)


def test_the_names_without_a_namespace_are_those_of_one() -> None:
    """So they have an example, too."""
    with_example = {id(value) for value in EXPORTED.values()}
    others = {"__version__", *mi_runner._NAMESPACES, "Setting", "Result", "ConfigError", "RunFailed"}
    assert {name for name in mi_runner.__all__ if id(getattr(mi_runner, name)) not in with_example} == others

"""Text stays text: `experiment.targets=[1.10]` names the site 1.10, which Hydra and YAML would read as the number 1.1.

Options whose values are names, or other text, are those of the types `str` and `list[str]`, and of the type `Any` where
the schema says `text=True`. In an override of such an option a word that Hydra would read as a number, a truth value or
null gets quotes, and in a YAML file it is taken as it is written. `null` that stands alone is no text: it unsets an
option.

Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import Field, fields
from functools import cache
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
from hydra.core.override_parser.types import QuotedString
from hydra.grammar.gen.OverrideLexer import CommonTokenStream, InputStream, OverrideLexer  # type: ignore[attr-defined]
from hydra.grammar.gen.OverrideParser import OverrideParser
from omegaconf import _utils

from mi_runner.config.figure_options import in_full
from mi_runner.config.registry import ENGINES, SCHEMAS
from mi_runner.config.run_schema import LabelsConfig, RunConfig
from mi_runner.config.training_schema import TrainingConfig
from mi_runner.errors import ConfigError

ORDERING = ("choice", "sort", "shuffle", "tag")
"""Functions of Hydra's grammar whose unnamed arguments are values of the option."""

_TO_QUOTE = re.compile(r"(?<![\w.'\"])([-+.\d]|true|false|null|nan|inf)", re.IGNORECASE)
"""What a value has that needs quotes; most have none, and are not parsed for it."""

_STRING, _NULL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:null"


@cache
def text_keys() -> frozenset[str]:
    """Returns the keys of options that take text: `experiment.targets`, `checkpoint`, `hydra.launcher.partition`."""
    is_text: dict[str, bool] = {}

    def note(prefix: str, schema: type[Any]) -> None:
        for item in fields(schema):
            if _takes_text(item) or _takes_numbers(item):  # words of an enumeration may have quotes, too
                key = f"{prefix}{item.name}"
                is_text[key] = is_text.get(key, True) and _takes_text(item)

    note("", RunConfig)
    note("training.", TrainingConfig)
    note("run.", LabelsConfig)
    for group, choices in SCHEMAS.items():
        for schema in choices:
            note(f"{group}.", schema)
    for group, engines in ENGINES.items():
        for schema in engines:
            note(f"hydra.{group}.", schema)
    return frozenset(key for key, text in is_text.items() if text)


@cache
def _text_names() -> frozenset[str]:
    """Returns the same keys, and their last parts if all options of this name take text, for YAML files."""
    schemas = [
        RunConfig,
        TrainingConfig,
        LabelsConfig,
        *(choice for group in (SCHEMAS, ENGINES) for c in group.values() for choice in c),
    ]
    others = {item.name for schema in schemas for item in fields(schema) if _takes_numbers(item)}
    return text_keys() | ({key.rpartition(".")[2] for key in text_keys()} - others)


def _takes_text(item: Field[Any]) -> bool:
    return item.type in ("str", "str | None", "list[str]", "list[str] | None") or bool(item.metadata.get("text"))


def _takes_numbers(item: Field[Any]) -> bool:
    return not _takes_text(item) and re.search(r"\b(int|float|bool|Any)\b", str(item.type)) is not None


@cache
def formula_keys() -> frozenset[str]:
    """Returns the keys of options whose text has signs that Hydra's grammar has other meanings for."""
    return frozenset(
        f"{group}.{item.name}"
        for group, choices in SCHEMAS.items()
        for schema in choices
        for item in fields(schema)
        if item.metadata.get("formula")
    )


def with_quotes(overrides: Sequence[str]) -> list[str]:
    """Returns overrides with quotes around words of text options that Hydra would not read as text.

    Raises:
        ConfigError: one sets `figures` to something else than true or false.
    """
    return [_with_quotes(in_full(override)) for override in overrides]


def _with_quotes(override: str) -> str:
    key, equals, value = override.partition("=")
    if key.lstrip("+") in formula_keys() and not re.search("['\"]", value):
        try:
            OverridesParser.create().parse_override(override)
        except Exception:  # each of several formulas is one text
            return f"{key}=" + ",".join(f"'{formula.strip()}'" for formula in value.split(","))
    if not equals or key.lstrip("+") not in text_keys() or not _TO_QUOTE.search(value):
        return override
    try:
        tree = _tree(override)
    except Exception:  # composing says what is wrong
        return override
    for start, stop in sorted(_spans(tree), reverse=True):
        if override[start:stop].isdecimal() and str(int(override[start:stop])) == override[start:stop]:
            continue  # 1 is read as 1 again
        override = f"{override[:start]}'{override[start:stop]}'{override[stop:]}"
    return override


def _tree(override: str) -> Any:
    listener = HydraErrorListener()
    lexer = OverrideLexer(InputStream(override))
    parser = OverrideParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(listener)
    OverridesParser.create().parse_override(override)  # raises as composing will
    return parser.override()


def _spans(node: Any, *, in_list: bool = False) -> Iterator[tuple[int, int]]:
    """Yields where the words stand that are to be quoted."""
    if isinstance(node, OverrideParser.DictContainerContext):
        return
    if isinstance(node, OverrideParser.PrimitiveContext):
        value = HydraOverrideVisitor(create_functions()).visitPrimitive(node)
        if not isinstance(value, str | QuotedString) and (in_list or value is not None):
            yield node.start.start, node.stop.stop + 1
        return
    if isinstance(node, OverrideParser.FunctionContext) and node.ID().getText() not in ORDERING:
        return
    if isinstance(node, OverrideParser.KeyContext):
        return
    in_list = in_list or isinstance(node, OverrideParser.ListContainerContext)
    children = list(node.getChildren()) if hasattr(node, "getChildren") else []
    for before, child in zip([None, *children], children, strict=False):
        if not isinstance(before, OverrideParser.ArgNameContext):
            yield from _spans(child, in_list=in_list)


@contextmanager
def yaml_text_kept() -> Iterator[None]:
    """Keeps the text of such options as it is written in YAML files that OmegaConf loads within the block."""
    plain = _utils.get_yaml_loader

    def get_yaml_loader() -> Any:
        class Loader(plain()):  # type: ignore[misc]
            def construct_mapping(self, node: Any, deep: bool = False) -> Any:
                for key, value in node.value:
                    if isinstance(key, yaml.ScalarNode) and key.value in _text_names():
                        _keep_text(value)
                return super().construct_mapping(node, deep=deep)

            def construct_document(self, node: Any) -> Any:
                _check_size(node)
                try:
                    return super().construct_document(node)
                except ValueError as error:  # of Python's int and float
                    raise ConfigError(
                        f"{node.start_mark.name}: it has a number that can't be read: write it again, with fewer "
                        "digits, or in quotes if it is a text."
                    ) from error

        return Loader

    _utils.get_yaml_loader = get_yaml_loader
    try:
        yield
    finally:
        _utils.get_yaml_loader = plain


MOST_VALUES = 100_000
"""Values of a file of configs, those that its aliases repeat counted each time."""


def _check_size(root: yaml.Node) -> None:
    """Checks that a file of configs has not too many values: by aliases of aliases a short one can have billions.

    Raises:
        ConfigError: it has.
        RecursionError: an alias means what it is in.
    """
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) not in sizes:
            inner = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
            sizes[id(node)] = 1 + sum(map(size, inner))
        return sizes[id(node)]

    if size(root) > MOST_VALUES:
        raise ConfigError(
            f"{root.start_mark.name}: it has more than {MOST_VALUES:,} values; what an alias repeats counts each time. "
            "Write fewer."
        )


def _keep_text(node: yaml.Node, *, in_list: bool = False) -> None:
    if isinstance(node, yaml.SequenceNode):
        for element in node.value:
            _keep_text(element, in_list=True)
    elif isinstance(node, yaml.ScalarNode) and node.style is None and node.value and (in_list or node.tag != _NULL):
        node.tag = _STRING

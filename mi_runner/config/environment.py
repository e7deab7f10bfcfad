"""No option reads the environment: `${oc.env:TOKEN}` would write a secret to the log, the record and the report.

Of OmegaConf's interpolations only those are known here that read the config itself. A value of the environment is put
in by the shell, which the user sees: `output_dir="$HOME/runs"`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer  # it has the resolvers; they have no public name

from mi_runner.errors import ConfigError

ALLOWED = (
    *("oc.create", "oc.decode", "oc.deprecated", "oc.dict.keys", "oc.dict.values", "oc.select"),
    *("hydra", "now", "python_version"),
)
"""The interpolations with a colon that an option may have."""


class Refused(ConfigError):
    """An option asks for what lies outside of the config."""


@contextmanager
def refused() -> Iterator[None]:
    """Makes an interpolation a mistake, within the block, if it reads the environment or is not the program's own."""
    before = BaseContainer._resolvers
    BaseContainer._resolvers = {name: resolver for name, resolver in before.items() if name in ALLOWED}
    OmegaConf.register_new_resolver("oc.env", _refuse)
    try:
        yield
    finally:
        added = {name: resolver for name, resolver in BaseContainer._resolvers.items() if name in ALLOWED}
        BaseContainer._resolvers = before
        before |= {name: resolver for name, resolver in added.items() if name not in before}


def _refuse(*arguments: Any) -> NoReturn:
    raise _refusal_of(str(arguments[0]) if arguments else "NAME")


def _refusal_of(name: str) -> Refused:
    return Refused(
        f"${{oc.env:{name}}}: options don't read the environment, because run.json and the report keep what they are. "
        f'Type the value, or let the shell put it in: KEY="${name}".'
    )


def refused_in(overrides: Sequence[str]) -> Refused | None:
    """Returns the refusal of overrides that ask for the environment, where Hydra reads them before their values."""
    named = [name for override in overrides for name in re.findall(r"oc\.env:\s*([^,}\s]*)", override)]
    return _refusal_of(named[0]) if named else None


def refusal(error: BaseException | None) -> Refused | None:
    """Returns the refusal that caused an error; None if another mistake did."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, Refused):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None

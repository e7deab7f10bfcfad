"""Digests of some of a package's sources, kept from one process to the next while no source changes.

To find which sources count, as `sources` does, takes 0.2 s, because they are parsed. To see that none has changed takes
a tenth of that.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mi_runner.machine import private
from mi_runner.machine.cache import SOURCES, say_unusable, usable
from mi_runner.machine.files import written_whole


def kept_digest(name: str, package: Path, compute: Callable[[], str]) -> str:
    """Returns a digest, in hexadecimal: the one that is kept, if it is of these sources, or what the function computes.

    Args:
        name: of the file that keeps it in the cache.
        package: the folder of the package; an edit of any of its sources makes the kept digest out of date.
        compute: returns the digest. Its own source is one of the package's.
    """
    every = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        content = file.read_bytes()
        every.update(f"{file.relative_to(package)}\n{len(content)}\n".encode() + content)
    folder = usable(SOURCES)
    if folder is None:
        return compute()
    with suppress(OSError, UnicodeError):  # also NotPrivate: what others can write is computed again
        private.check(folder / name)
        of, _, kept = (folder / name).read_text(encoding="utf-8").rstrip().partition(" ")
        if of == every.hexdigest() and re.fullmatch("[0-9a-f]+", kept):
            return kept
    found = compute()
    try:
        with written_whole(folder / name, private=True) as beside:
            beside.write_text(f"{every.hexdigest()} {found}\n", encoding="utf-8")
    except OSError as error:
        say_unusable(error)
    return found

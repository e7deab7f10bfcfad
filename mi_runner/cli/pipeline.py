"""`--print folder|metrics|json` and `--folder-file FILE`: what does a pipeline get of a run or of a sweep?

With `--print` standard output has nothing but what is asked for; the tables are on standard error, where the log is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mi_runner.cli.arguments import Parser
from mi_runner.errors import ConfigError, RunFailed, reason
from mi_runner.machine.files import written_whole
from mi_runner.runs import saved_runs
from mi_runner.runs.saved_runs import Saved, SavedRun, shown
from mi_runner.tables import console

PRINT, FOLDER_FILE = "--print", "--folder-file"

PRINTED = {
    "folder": "the folder's path alone",
    "metrics": "the numbers of the summary as CSV; of a sweep those of each job",
    "json": "folder, status and the numbers of the summary; of a sweep also of each job",
}
"""What may be asked for → what it is."""


@dataclass(frozen=True)
class Asked:
    """What a command asks for.

    Attributes:
        printed: a key of `PRINTED`; None: the tables, and last the folder.
        file: gets the folder's path; None: no file does.
    """

    printed: str | None = None
    file: Path | None = None


def split(arguments: Sequence[str]) -> tuple[Asked, list[str]]:
    """Returns what is asked for, and the arguments without the flags that ask for it.

    Raises:
        ConfigError: a flag has no value, or one that it doesn't take.
    """
    parser = Parser("", "", "")
    parser.prog = "mi-run"
    parser.add_argument(PRINT, choices=list(PRINTED), dest="printed")
    parser.add_argument(FOLDER_FILE, metavar="FILE")
    flags = [word for word in arguments if word.partition("=")[0] in (PRINT, FOLDER_FILE)]
    if not flags:
        return Asked(), list(arguments)
    # `--help` is this command's, not this parser's.
    parsed, others = parser.parse_known_args([word for word in arguments if word != "--help"])
    if "--help" in arguments:
        return Asked(), [*others, "--help"]
    return Asked(parsed.printed, Path(parsed.folder_file).expanduser() if parsed.folder_file else None), others


def empty(asked: Asked) -> None:
    """Writes an empty file, so that a command that makes no run leaves no path of an earlier one.

    Raises:
        ConfigError: the file can't be written.
    """
    if asked.file is None:
        return
    try:
        asked.file.write_text("", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{FOLDER_FILE} {asked.file}: can't write it ({reason(error)}). Name a file in a folder that exists."
        ) from error


def check(asked: Asked, what: str) -> None:
    """Checks that nothing is asked of a command that begins no run.

    Args:
        what: of the command says that it begins none, such as `--cfg`; empty: it begins one.

    Raises:
        ConfigError: something is.
    """
    flag = PRINT if asked.printed else FOLDER_FILE if asked.file else ""
    if flag and what:
        raise ConfigError(
            f"{flag} is about the folder of a run or sweep, and {what} begins none. Leave one of them out."
        )


@contextmanager
def answered(asked: Asked) -> Iterator[None]:
    """Prints and writes what is asked for of the run or sweep that the block makes.

    Raises:
        RunFailed: the file can't be written.
    """
    with console.folders(tables_to_stderr=asked.printed is not None) as folders:
        yield
    if not folders:
        return
    if asked.file is not None:
        try:
            with written_whole(asked.file) as beside:
                beside.write_text(f"{folders[-1]}\n", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise RunFailed(f"{FOLDER_FILE} {asked.file}: can't write it ({reason(error)}).") from error
    if asked.printed == "folder":
        console.last_line(folders[-1])
    elif asked.printed is not None:
        saved = saved_runs.read(Path(folders[-1]))
        assert saved is not None, "the folder was written just now"
        console.page(_csv(saved) if asked.printed == "metrics" else _json(saved))


def _csv(saved: Saved) -> str:
    """Returns the numbers of the summary in rows; of a sweep with the job and its values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if isinstance(saved, SavedRun):
        writer.writerow(["metric", "value"])
        writer.writerows(saved.metrics.items())
    else:
        writer.writerow(["job", *saved.swept, "metric", "value"])
        for job in saved.jobs:
            names = [job.folder.name, *(shown(job.swept.get(key)) for key in saved.swept)]
            writer.writerows([*names, metric, value] for metric, value in job.metrics.items())
    return text.getvalue().rstrip("\n")


def _json(saved: Saved) -> str:
    if isinstance(saved, SavedRun):
        content: dict[str, Any] = _content(saved)
    else:
        jobs = [{"swept": dict(job.swept), **_content(job)} for job in saved.jobs]
        content = {"folder": str(saved.folder), "status": saved.status, "metrics": saved.metrics, "jobs": jobs}
    return json.dumps(content, ensure_ascii=False, indent=1)


def _content(run: SavedRun) -> dict[str, Any]:
    not_met = run.record.expect_not_met
    said = {} if not_met is None else {"expect_not_met": list(not_met)}
    return {"folder": str(run.folder), "status": run.state.status, **said, "metrics": run.metrics}

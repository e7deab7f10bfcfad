"""The page of one run: question, answer, pictures, tables, config, provenance, log and files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mi_runner.config import composition
from mi_runner.config.registry import EXPERIMENTS
from mi_runner.config.run_schema import LABELS, SWEEP_KEYS
from mi_runner.errors import ConfigError
from mi_runner.experiments.declared import declarations_of
from mi_runner.machine.drawing import FORMATS
from mi_runner.machine.files import sha256
from mi_runner.machine.reading import Unreadable, files_below, is_own_file, is_own_folder, read_object
from mi_runner.runs import run_folder, states
from mi_runner.runs.record import CheckpointRecord, GivenRecord, RunRecord
from mi_runner.runs.report import answers, rendering, shared_numbers, tables
from mi_runner.runs.report.images import images
from mi_runner.runs.run_folder import REPORT, RunFolder
from mi_runner.runs.saved_runs import SavedRun, labels_of
from mi_runner.runs.states import State
from mi_runner.tables.whole_numbers import file_size

LARGEST_LOG = 2_000_000
"""Bytes at the end of run.log that are searched for warnings."""

MOST_LOG_LINES = 200

MOST_FILES = 300

SCRIPTS = {
    "circuits": ("layers.js", "circuits.js"),
    "criteria": ("layers.js", "criteria.js"),
    "methods": ("layers.js", "methods.js"),
    "network": ("network.js",),
}
"""Data of an interactive picture → the scripts that draw it."""

IN_PYTHON = "mi_runner.run("
"""How the command of a run begins that no command line makes again."""

NOT_SHOWN = ("experiment", "dataset", "model", "report", *LABELS, *SWEEP_KEYS)
"""Keys that the config's table leaves out; the first three have their options instead, and labels stand at the top."""

NOT_COMPARED = ("threads", "output_dir")
"""Keys whose value depends on the machine or the place."""


@dataclass(frozen=True)
class Option:
    """A line of the config.

    Attributes:
        default: empty if the value is the default; what the command without this option has.
    """

    name: str
    value: str
    default: str

    @property
    def differs(self) -> bool:
        return self.default != ""


@dataclass(frozen=True)
class File:
    """A file of the folder."""

    path: str
    size: str


def write_run_report(folder: Path) -> Path:
    """Writes report.html into a run's folder, and returns its path; a run.json of a run that has ended gets its hash.

    Raises:
        OSError: the folder can't be read or written.
    """
    path = folder / REPORT
    found = states.read_state(folder)
    RunFolder(folder).write_page(run_page(folder, found))
    record = None if found.fault else run_folder.read_record(folder)
    if record is not None and record.status != "running":
        RunFolder(folder).amend_record(files=dict(sorted({**record.files, REPORT: sha256(path)}.items())))
    return path


def run_page(folder: Path, state: State) -> str:
    """Returns the page of a run.

    Args:
        state: how the run ended.

    Raises:
        OSError: the folder can't be read.
    """
    record = state.record
    experiment = str(record.experiment or folder.parent.parent.name)
    names = [record.experiment or "", record.dataset or "", record.model or ""]
    schema = next((schema for schema in EXPERIMENTS if schema.name == experiment), None)
    declared = declarations_of(experiment)
    printed = list(dict.fromkeys([*record.shown, "metrics"]))
    contents: dict[str, tables.Content] = {}
    shown = []
    for name, path in tables.of_folder(folder, printed):
        most = tables.MOST_ROWS if name in (record.shown or printed) else tables.MOST_OTHER_ROWS
        if (content := tables.read(path, most)) is not None:
            contents[name] = content
            shown.append(tables.table(name, content, declared, path.name))
    answering = [name for name in printed if name in contents]
    data = pictures_of(folder)
    figures = images(figure_files(folder), folder, declared)
    keyed = [(name, contents[name], record.keys.get(name, ())) for name in answering]
    alone, shared = shared_numbers.gathered(
        answers.answers(
            record.metrics,
            schema.headline if schema else "",
            declared,
            [content for _, content, _ in keyed],
            [keys for _, _, keys in keyed],
        ),
        declared,
        keyed,
    )
    return rendering.page(
        "run.html",
        ["report.js", *dict.fromkeys(script for name in data for script in SCRIPTS[name])],
        title=" · ".join(filter(None, names)) or folder.name,
        question=(schema.__doc__ or "").strip().splitlines()[0] if schema else "",
        experiment=experiment,
        folder=str(folder.absolute()),
        state=state,
        record=record,
        facts=[*labels([SavedRun(folder, state, {}).config]), *_facts(state)],
        has_intervals=bool(HAS_INTERVAL.search(record.answer or "")),
        answers=alone,
        shared=shared,
        n_first=len(answering),
        tables=shown,
        figures=figures,
        data=data,
        options=_options(SavedRun(folder, state, {}).config, names),
        in_python=str(record.command).startswith(IN_PYTHON),
        provenance=_provenance(record),
        warnings=_log_lines(folder, tracebacks=state.status != "interrupted"),
        files=_files(folder),
        n_files_left_out=max(0, len(_listed(folder)) - MOST_FILES),
    )


def figure_files(folder: Path) -> list[Path]:
    """Returns the figures of a folder, without those that it links from elsewhere; of several formats PNG, or SVG."""
    figures = folder / run_folder.FIGURES
    if not is_own_folder(figures, folder):
        return []
    found: dict[str, Path] = {}
    paths = files_below(figures, deepest=0)
    for kind in FORMATS:
        found |= {path.stem: path for path in paths if path.suffix == f".{kind}" and path.stem not in found}
    return [found[name] for name in sorted(found)]


def pictures_of(folder: Path) -> dict[str, Any]:
    """Returns the data of the interactive pictures; none where the file is missing or damaged."""
    path = folder / run_folder.PICTURES
    if not is_own_file(path, folder):
        return {}
    try:
        found = read_object(path)
    except (OSError, Unreadable):
        return {}
    return {name: data for name, data in found.items() if name in SCRIPTS and isinstance(data, dict)}


def labels(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Returns what a run, or the jobs of a sweep, are called, name → text."""
    found = labels_of(configs)
    return [(key, ", ".join(text) if isinstance(text, list) else str(text)) for key, text in found.items() if text]


def _facts(state: State) -> list[tuple[str, str]]:
    """Returns what a reader asks first: when, how long, with which seed, on which device."""
    record = state.record
    total = record.timings.get("total")
    facts = [
        ("seed", record.seed),
        ("started", _time(record.started)),
        ("took", None if total is None else duration(float(total))),
        ("device", record.device),
        ("weights", record.checkpoint.from_ or None if record.checkpoint else None),
    ]
    return [(name, str(value)) for name, value in facts if value is not None]


def _time(text: Any) -> str | None:
    try:
        return datetime.fromisoformat(str(text)).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return None


def duration(seconds: float) -> str:
    """Returns a time as text: 3.2 s, 4 min 05 s, 2 h 10 min."""
    if seconds < 59.95:  # the next is written as 60.0
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


# --- the config ----------------------------------------------------------------------------------------------------


@cache
def _defaults(experiment: str, dataset: str, model: str) -> dict[str, str]:
    """Returns the options of a command that only chooses the three; empty if they can't be composed here.

    `training=default` is what it chooses then; typed, the config is the run's own, which is not composed again.
    """
    try:
        choices = (f"experiment={experiment}", f"dataset={dataset}", f"model={model}", "training=default")
        chosen = composition.compose_untyped(choices)
    except ConfigError:  # the user's own configs, or a choice of another version
        return {}
    from omegaconf import OmegaConf

    return dict(_flat(OmegaConf.to_container(chosen, enum_to_str=True)))


def _options(config: Mapping[str, Any], names: Sequence[str]) -> list[Option]:
    defaults = _defaults(*names) if config else {}
    options = []
    for key, value in (pair for name, of_name in config.items() for pair in _flat(of_name, f"{name}.")):
        top = key.partition(".")[0]
        if key in NOT_SHOWN and (top == key or key in LABELS):
            continue
        default = value if key in NOT_COMPARED or not defaults else defaults.get(key, "(none)")
        options.append(Option(key, value, default if default != value else ""))
    return options


def _flat(config: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(config, dict) and (config or not prefix):
        return [pair for key, value in config.items() for pair in _flat(value, f"{prefix}{key}.")]
    text = yaml.safe_dump(config, default_flow_style=True, width=10**6, allow_unicode=True)
    return [(prefix.rstrip("."), text.removesuffix("...\n").strip())]


# --- where it comes from -------------------------------------------------------------------------------------------


def _provenance(record: RunRecord) -> list[tuple[str, str]]:
    """Returns what the figures depend on, name → text."""
    checkpoint, git = record.checkpoint or CheckpointRecord(), record.git
    facts: list[tuple[str, Any]] = [
        ("commit", None if git is None else f"{git.commit}{' with changes' if git.dirty else ''}"),
        ("code", record.versions.get("code")),
        ("versions", ", ".join(f"{name} {text}" for name, text in record.versions.items() if name != "code" and text)),
        ("machine", record.host),
        ("processor", " ".join(filter(None, (record.processor, record.instruction_set)))),
        ("threads", record.threads),
        ("device", record.device),
        ("config", record.config_hash),
        *_of_program(record.given or GivenRecord()),
        ("weights from", " ".join(filter(None, (checkpoint.from_, checkpoint.path)))),
        ("sha256 of the weights", checkpoint.sha256),
        *((f"sha256 of the weights, seed {one.seed}", one.sha256) for one in checkpoint.members),
        ("started", _time(record.started)),
        ("finished", _time(record.finished)),
        ("seconds by stage", ", ".join(f"{name} {seconds:g}" for name, seconds in record.timings.items())),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _of_program(given: GivenRecord) -> list[tuple[str, Any]]:
    """Returns what a program gave to a run."""
    return [
        ("network of the program", given.model),
        ("digest of its code", given.code),
        ("sha256 of its weights", given.weights),
        ("data of the program", given.data),
        ("sha256 of the data", given.fingerprint),
    ]


HAS_INTERVAL = re.compile(r"\([−\d][\d.,e+-]* to [−\d][\d.,e+-]*\)")
"""An interval in the sentence of an answer."""

_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (\w+) ")


def _log_lines(folder: Path, *, tracebacks: bool) -> list[str]:
    """Returns the warnings and errors of the log, the last ones if there are many.

    Args:
        tracebacks: with the traceback; that of a run that was interrupted says only where it was.
    """
    if not is_own_file(folder / run_folder.LOG, folder):
        return []
    try:
        with (folder / run_folder.LOG).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - LARGEST_LOG))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    taken: list[str] = []
    serious = False
    for line in text.splitlines():
        begins = _LOG_LINE.match(line)
        if begins:
            serious = begins[1] not in ("INFO", "DEBUG")
        elif line.startswith("Traceback"):
            serious = tracebacks
        if serious:
            taken.append(line)
    return taken[-MOST_LOG_LINES:]


def _listed(folder: Path) -> list[Path]:
    return [path for path in files_below(folder) if path.name != REPORT]


def _files(folder: Path) -> list[File]:
    listed = _listed(folder)[:MOST_FILES]
    return [File(path.relative_to(folder).as_posix(), file_size(path.stat().st_size)) for path in listed]

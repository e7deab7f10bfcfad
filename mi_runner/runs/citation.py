"""What does a paper say of a run or a sweep: whose work it uses, and what was done with which settings?

Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mi_runner.config.options import Choice
from mi_runner.config.registry import EXPERIMENTS, SCHEMAS
from mi_runner.errors import ConfigError
from mi_runner.methods.discovery.records import all_methods
from mi_runner.runs import settings
from mi_runner.runs.references import OWN, Entry, entries
from mi_runner.runs.saved_runs import GROUPS, Saved, SavedRun, SavedSweep, shown

WILSON = "wilson1927"
"""Whose interval an accuracy has."""

INTERVAL = "accuracy_low"
"""The column that says that a table has such an interval."""

TRAINED = ("epochs", "batch_size", "optimizer", "learning_rate", "loss")
"""Options of the training that a paper names."""

DIGITS_OF_HASH = 12

_VALUE = re.compile(r"\{(\w+)(?:\|([^}]*))?\}")


@dataclass(frozen=True)
class Citation:
    """What a paper says of a run or sweep.

    Attributes:
        keys: of the works that it uses, mi-run's own first.
        unknown: lines about works that references.bib doesn't have.
        text: what was done, in sentences.
        version: of mi-run that made the run; None if it isn't known.
    """

    keys: tuple[str, ...]
    unknown: tuple[str, ...]
    text: str
    version: str | None

    @property
    def works(self) -> list[Entry]:
        """The entries of the works."""
        return [entries()[key] for key in self.keys]

    def bibtex(self) -> str:
        """Returns the entries as BibTeX."""
        version = {"version": self.version} if self.version else {}
        return "\n\n".join(work.bibtex(**(version if work.key == OWN else {})) for work in self.works)


def citation(saved: Saved) -> Citation:
    """Returns what a paper says of a run or sweep.

    Raises:
        ConfigError: no run has a record.
    """
    jobs = saved.jobs if isinstance(saved, SavedSweep) else [saved]
    runs = [job for job in jobs if job.state.has_record and job.record.experiment]
    if not runs:
        why = saved.faults[0] if saved.faults else "no run of it has begun"
        raise ConfigError(f"{saved.folder}: {why}, so there is nothing to cite. mi-run ls lists other runs.")
    keys = dict.fromkeys([OWN, *(key for run in runs for key in _keys(run))])
    known = tuple(key for key in keys if key in entries())
    unknown = [
        f"{key}: an installed package names it; its own pages say what it is" for key in keys if key not in known
    ]
    versions = dict.fromkeys(version for run in runs if (version := run.record.versions.get("mi-run")))
    version = ", ".join(versions) or None
    return Citation(known, (*unknown, *_papers(runs)), " ".join(_sentences(saved, runs, version)), version)


def _keys(run: SavedRun) -> Iterator[str]:
    """Yields the keys of the works that a run uses."""
    for group, schema in _choices(run):
        for cites in schema.cites:
            if cites.applies(run.config.get(f"{group}.{cites.option}")):
                yield cites.key
    for method in _methods(run):
        yield from method.cites
    if any(INTERVAL in columns for columns in run.record.types.values()):
        yield WILSON


def _papers(runs: Sequence[SavedRun]) -> Iterator[str]:
    """Yields a line for each paper that a method names and references.bib doesn't have."""
    methods = {method.name: method for run in runs for method in _methods(run)}
    for method in methods.values():
        if method.paper and not method.cites:
            yield f"{method.paper}: the method {method.name}"


def _choices(run: SavedRun) -> Iterator[tuple[str, type[Choice]]]:
    """Yields the groups of a run with what was chosen, as far as this installation has it."""
    for group in GROUPS:
        name = getattr(run.record, group)
        yield from ((group, schema) for schema in SCHEMAS[group] if schema.name == name)


def _methods(run: SavedRun) -> Iterable[Any]:
    """Returns the records of the methods of discovery that a run uses."""
    named = run.config.get("experiment.methods") if run.record.experiment == "discovery" else None
    return [method for method in all_methods() if isinstance(named, list) and method.name in named]


def _sentences(saved: Saved, runs: Sequence[SavedRun], version: str | None) -> Iterator[str]:
    """Yields what was done, on what, and with which program."""
    config = saved.config
    names = dict.fromkeys(run.record.experiment for run in runs)
    for schema in EXPERIMENTS:
        if schema.name in names and schema.in_a_paper:
            yield filled(schema.in_a_paper, config)
    about = saved.values
    others = settings.differing([run.config for run in runs])
    parts = [f"data set {about['dataset']}", f"model {about['model']}"]
    if config.get("dataset.functions") is not None and "dataset.functions" not in others:
        parts.append(f"functions {_words(config['dataset.functions'])}")
    if config.get("model.hidden_sizes") is not None:
        sizes = dict.fromkeys(_sizes(run.config.get("model.hidden_sizes")) for run in runs)
        parts.append(f"hidden layers of {' or '.join(filter(None, sizes))} units")
    sources = dict.fromkeys(run.record.checkpoint.from_ for run in runs if run.record.checkpoint)
    if set(sources) <= {"training", "model store"}:
        values = {name: config.get(f"training.{name}") for name in TRAINED}
        parts += [f"{name.replace('_', ' ')} {_words(value)}" for name, value in values.items() if value is not None]
    else:
        parts.append(f"weights from {' and '.join(sources)}")
    parts.append(settings.networks(saved))
    said = re.findall(_VALUE, " ".join(schema.in_a_paper for schema in EXPERIMENTS if schema.name in names))
    named = {f"experiment.{name}" for name, _ in said} | {f"training.{name}" for name in TRAINED}
    swept = set(saved.swept) if isinstance(saved, SavedSweep) else set()
    named = {*named, "model.hidden_sizes"} - swept  # of many swept values, sentences have only the ends
    options = [f"{key}={value}" for key, value in others.items() if key not in named]
    differing = f"; options that differ from the defaults: {', '.join(options)}" if options else ""
    yield f"Setting: {', '.join(filter(None, parts))}{differing}."
    if isinstance(saved, SavedSweep):
        done = sum(run.state.done for run in runs)
        over = f" over {', '.join(saved.swept)}" if saved.swept else ""
        yield f"These are {done} {'run' if done == 1 else 'runs'}{over}."
    torch = dict.fromkeys(text for run in runs if (text := run.record.versions.get("torch")))
    program = [f"mi-run {version or '(version not known)'}"]
    program += [f"PyTorch {', '.join(torch)}"] if torch else []
    program += [f"device {_words(about['device'])}"] if about["device"] else []
    if isinstance(saved, SavedRun) and saved.record.config_hash:
        program.append(f"config hash {saved.record.config_hash[:DIGITS_OF_HASH]}")
    yield f"Program: {', '.join(program)}."


def filled(text: str, config: Mapping[str, Any]) -> str:
    """Returns a sentence with the values of an experiment's options in place of `{option}` and `{option|words}`.

    Args:
        config: key → value; `experiment.OPTION` is read.
    """

    def value(found: re.Match[str]) -> str:
        name, words = found.groups()
        given = config.get(f"experiment.{name}")
        return words if given is None and words else _words(given)

    return _VALUE.sub(value, text)


def _sizes(sizes: Any) -> str:
    return _words(sizes) if sizes else ""


def _words(value: Any) -> str:
    """Returns an option's value in a sentence."""
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    return shown(value)

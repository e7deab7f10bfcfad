"""`mi-run --completion SHELL`: a script that lets bash, zsh or fish complete groups, keys, values, folders.

The script asks `mi-run --completion words WORD ... CURRENT` at each Tab: the answer has a line for each word that may
stand in place of CURRENT, a tab, and its meaning. Hydra's own scripts fail on a program whose name has a hyphen.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from mi_runner.bench.networks import LISTS
from mi_runner.cli.pipeline import FOLDER_FILE, PRINT, PRINTED
from mi_runner.config.bench_options import BENCH_KEYS, BenchConfig
from mi_runner.config.figure_options import FigureOptions
from mi_runner.config.help_page import choices_of, default_of, first_line, show
from mi_runner.config.options import Described, records_of
from mi_runner.config.registry import ENGINES, SCHEMAS
from mi_runner.config.run_schema import LabelsConfig, RunConfig
from mi_runner.config.training_schema import TrainingConfig
from mi_runner.errors import ConfigError, ExitStatus
from mi_runner.runs.report.tables import of_folder
from mi_runner.tables import console

BASH = r"""# bash completion of mi-run: eval "$(mi-run --completion bash)" in ~/.bashrc
_mi_run() {
    local line="${COMP_LINE:0:COMP_POINT}" current prefix candidate
    local breaks="${COMP_WORDBREAKS//[^=:]/}"
    local -a words
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    current="${words[-1]}"
    # bash replaces only what stands behind the last = or :
    [[ -n "$breaks" ]] && prefix="${current%"${current##*[$breaks]}"}"
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        candidate="${candidate#"$prefix"}"
        # no space behind what goes on: a key, a folder, a list that is still open
        case "$candidate" in *[=./,[]) ;; *"["*"]") candidate+=" " ;; *"["*) ;; *) candidate+=" " ;; esac
        COMPREPLY+=("$candidate")
    done < <("${words[0]}" --completion words "${words[@]:1}" 2>/dev/null)
}
complete -o nospace -F _mi_run mi-run
"""

ZSH = r"""# zsh completion of mi-run: eval "$(mi-run --completion zsh)" in ~/.zshrc
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_mi_run() {
    local line
    local -a complete unfinished
    for line in "${(@f)$("${(Q)words[1]}" --completion words "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}"; do
        line="${line%%$'\t'*}"
        [[ -z "$line" ]] && continue
        case "$line" in
            *[=./,\[]) unfinished+=("$line") ;;
            *\[*\]) complete+=("$line") ;;
            *\[*) unfinished+=("$line") ;;
            *) complete+=("$line") ;;
        esac
    done
    compadd -Q -- "${complete[@]}"
    compadd -Q -S '' -- "${unfinished[@]}"
}
compdef _mi_run mi-run
"""

FISH = r"""# fish completion of mi-run: mi-run --completion fish | source, in ~/.config/fish/config.fish
function __mi_run_words
    set -l words (commandline -opc) (commandline -ct)
    $words[1] --completion words $words[2..-1] 2>/dev/null
end
complete -c mi-run -f -a '(__mi_run_words)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

WORDS = "words"

COMMANDS = {
    "ls": "list runs and sweeps",
    "diff": "compare runs or sweeps",
    "report": "make the report of a run or sweep again",
    "rm": "remove runs and sweeps",
    "table": "print a table of a run or sweep for a paper",
    "cite": "print whose work a run or sweep uses, as BibTeX",
    "bench": "judge methods that find circuits on a list of networks",
}

VERSIONS = {
    "latest": "the newest version that is done",
    "passed": "the newest that met its expectations",
    "previous": "the one before latest",
}
"""Words for a version of the folder beside them, or of the newest run's."""

PARSERS = {
    "ls": "mi_runner.cli.ls_command",
    "diff": "mi_runner.cli.diff_command",
    "rm": "mi_runner.cli.rm_command",
    "report": "mi_runner.cli.report_command",
    "table": "mi_runner.cli.table_command",
    "cite": "mi_runner.cli.cite_command",
}
"""Commands with options → their modules."""

FLAGS = {
    "-m": "a sweep",
    "--multirun": "a sweep",
    "--cfg": "print the config and stop",
    PRINT: "standard output has the folder, metrics or json alone",
    FOLDER_FILE: "a file that gets the folder's path",
    "--config-dir": "a folder with further configs",
    "--help": "options",
    "--version": "the version",
    "--completion": "the script for a shell",
}

BENCH_FLAGS = {"--help": "options", "--vectors": "write networks and results for other programs into a folder"}
"""Flags of `mi-run bench`."""

AFTER = {"--cfg": ("job", "hydra", "all"), PRINT: tuple(PRINTED), "--help": ("all",), "--completion": tuple(SCRIPTS)}
"""Flag → the words that may follow it."""

TAKES_FOLDER = (
    "checkpoint",
    "output_dir",
    "resume",
    "sweep",
    "dataset.path",
    "dataset.test_path",
    "dataset.root",
    "--config-dir",
    "--vectors",
    FOLDER_FILE,
)
"""Keys and flags whose values are folders or files."""

NAMED_VALUES = {
    "device": ("auto", "cpu", "cuda"),
    "experiment.map": ("neurons", "rotation", "revnet"),
    "dataset.functions": ("XOR", "AND", "OR", "IMP", "NAND", "NOR", "NIMP", "MAJORITY", "PARITY"),
    "bench.networks": tuple(LISTS),
    "bench.families": tuple(dict.fromkeys(family.name for one in LISTS.values() for family in one.families)),
}

OF_COLUMNS = ("dataset.target_column", "dataset.leave_out", "dataset.categories")
"""Keys whose values are names of columns of the file in `dataset.path`."""

MOST_BYTES = 1_000_000
"""Of a table's first line."""


@dataclass(frozen=True)
class Candidate:
    """A word that may stand in place of the current one, and what it means."""

    word: str
    meaning: str = ""


def run(arguments: Sequence[str]) -> int:
    """Prints a shell's script, or the words for a command line, and returns the exit status.

    Raises:
        ConfigError: no such shell.
    """
    if arguments and arguments[0] == WORDS:
        *before, current = arguments[1:] or [""]
        lines = [f"{found.word}\t{found.meaning}" for found in candidates(before, current)]
        if lines:
            console.page("\n".join(lines))
        return ExitStatus.DONE
    if len(arguments) != 1 or arguments[0] not in SCRIPTS:
        given = " ".join(arguments) or "nothing"
        raise ConfigError(f"--completion takes {', '.join(SCRIPTS)}; {given} is given. Type mi-run --completion bash.")
    console.page(SCRIPTS[arguments[0]].rstrip())
    return ExitStatus.DONE


def candidates(before: Sequence[str], current: str) -> list[Candidate]:
    """Returns the words that may stand in place of `current`.

    Args:
        before: the words before it, without the program's name.
        current: what was typed of the word.
    """
    found: Iterable[Candidate]
    last = before[-1] if before else ""
    flags = BENCH_FLAGS if _is_bench(before) else FLAGS
    if before and before[0] in COMMANDS and not _is_bench(before):
        found = _of_command(before[0], last, current)
    elif last in AFTER and not (last == "--help" and current.startswith("-")):
        found = map(Candidate, AFTER[last])
    elif last in TAKES_FOLDER:
        found = paths(current)
    elif current.startswith("-"):
        found = (Candidate(flag, meaning) for flag, meaning in flags.items())
    elif "=" in current:
        key, _, typed = current.partition("=")
        found = (Candidate(f"{key}={value.word}", value.meaning) for value in _values(key, typed, before))
    else:
        words = [] if before else [Candidate(word, meaning) for word, meaning in COMMANDS.items()]
        found = [
            *words,
            *_grouped(_keys(before), current, *_groups(before)),
        ]
    by_word: dict[str, Candidate] = {}
    for candidate in found:
        if candidate.word.startswith(current):
            by_word.setdefault(candidate.word, candidate)
    return list(by_word.values())


def _is_bench(before: Sequence[str]) -> bool:
    """Returns whether the command is `mi-run bench`, which takes options as a run does."""
    return list(before[:1]) == ["bench"]


def _groups(before: Sequence[str]) -> tuple[Iterable[str], Iterable[str]]:
    """Returns the groups of configs that a command chooses from, and those of Hydra's: a bench's list has the rest."""
    return ((), ("launcher",)) if _is_bench(before) else (SCHEMAS, ENGINES)


def paths(typed: str) -> Iterator[Candidate]:
    """Yields the files and folders whose paths begin with a text; folders end with `/`."""
    folder = typed[: typed.rfind("/") + 1]
    try:
        entries = sorted(Path(folder).expanduser().iterdir()) if folder else sorted(Path().iterdir())
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(".") and re.fullmatch(r"[\w.+@%-]+", entry.name):
            yield Candidate(f"{folder}{entry.name}{'/' if entry.is_dir() else ''}")


def _of_command(command: str, last: str, current: str) -> Iterator[Candidate]:
    if command in PARSERS:
        parser = import_module(PARSERS[command]).parser()
        options = {name: action for action in parser._actions for name in action.option_strings}  # no public list
        if last in options and options[last].choices:
            yield from map(Candidate, options[last].choices)
            return
        if current.startswith("-"):
            yield from (Candidate(name, action.help or "") for name, action in options.items())
            return
    if command == "table" and Path(last).expanduser().is_dir():  # behind the folder
        yield from (Candidate(name) for name, _ in of_folder(Path(last).expanduser(), ["metrics"]))
        return
    if command == "diff":
        yield from (Candidate(word, meaning) for word, meaning in VERSIONS.items())
    yield from paths(current)


# --- keys ----------------------------------------------------------------------------------------------------------


def _chosen(before: Sequence[str]) -> dict[str, type[Any]]:
    """Returns group → the schema of the choice that the words name, or that their experiment makes."""
    typed = {key: value for key, _, value in (word.partition("=") for word in before)}
    experiment = "discovery" if _is_bench(before) else typed.get("experiment", "")
    names = choices_of(experiment.partition(",")[0])
    names |= {group: typed[group].partition(",")[0] for group in SCHEMAS if group in typed}
    named = [(group, schema) for group, schemas in SCHEMAS.items() for schema in schemas if schema.name == names[group]]
    launched = [
        (f"hydra.{group}", engine)
        for group, engines in ENGINES.items()
        for engine in engines
        if engine.name == typed.get(f"hydra/{group}")
    ]
    return dict([*named, *launched])


@dataclass(frozen=True)
class _Key:
    meaning: str
    kind: Any
    default: Any
    records: Callable[[], Sequence[Described]]


def _keys(before: Sequence[str]) -> dict[str, _Key]:
    """Returns every key that a command may have, without the groups' own."""
    keys = _fields(RunConfig, "") | _fields(FigureOptions, "figures.") | _fields(TrainingConfig, "training.")
    keys |= _fields(LabelsConfig, "run.")
    for group, schema in _chosen(before).items():
        keys |= _fields(schema, f"{group}.")
    if not _is_bench(before):
        return keys
    taken = (*BENCH_KEYS, "experiment.", "hydra.launcher.")
    return _fields(BenchConfig, "bench.") | {key: own for key, own in keys.items() if key.startswith(taken)}


def _fields(schema: type[Any], prefix: str) -> dict[str, _Key]:
    kinds = get_type_hints(schema)
    return {
        f"{prefix}{item.name}": _Key(
            item.metadata["doc"], kinds[item.name], default_of(item), partial(records_of, item.metadata)
        )
        for item in fields(schema)
        if item.metadata
    }


def _grouped(
    keys: Mapping[str, _Key], current: str, groups: Iterable[str], engines: Iterable[str]
) -> Iterator[Candidate]:
    """Yields the keys as they are typed; those below a group only after its name is typed."""
    for group in groups:
        yield Candidate(f"{group}=", f"choose the {group}")
    for group in engines:
        yield Candidate(f"hydra/{group}=", f"the {group} of a sweep")
    if "." not in current:
        for prefix in dict.fromkeys(key.partition(".")[0] for key in keys if "." in key):
            yield Candidate(f"{prefix}.", "options")
    for key, described in keys.items():
        if "." in current or "." not in key:
            yield Candidate(f"{key}=", described.meaning)


# --- values --------------------------------------------------------------------------------------------------------


def _values(key: str, typed: str, before: Sequence[str]) -> Iterator[Candidate]:
    """Yields the values of a key; of several that commas separate, the last is completed."""
    done = typed[: max(typed.rfind(","), typed.rfind("[")) + 1]
    groups, engines = _groups(before)
    group = key.removeprefix("hydra/")
    choices = ENGINES[group] if key.startswith("hydra/") and group in engines else SCHEMAS[key] if key in groups else ()
    if choices:
        yield from (Candidate(f"{done}{schema.name}", first_line(schema)) for schema in choices)
        return
    if key in TAKES_FOLDER:
        yield from paths(typed)
        return
    described = _keys(before).get(key)
    if described is None:
        return
    kinds = get_args(described.kind) or (described.kind,)
    is_list = any(get_origin(kind) is list for kind in (described.kind, *kinds))
    elements = list(_elements(key, described, before))
    if is_list:
        yield from _of_list(elements, typed)
    else:
        yield from (Candidate(f"{done}{element.word}", element.meaning) for element in elements)
    if bool in kinds and not is_list:
        yield from (Candidate(f"{done}{word}") for word in ("true", "false"))
    if type(None) in kinds and not done:
        yield Candidate("null")
    default = show(described.default)
    if not done and default not in ("...", "null", "true", "false") and not re.search(r"[\s,'\"]", default):
        yield Candidate(default, "default")


def _elements(key: str, described: _Key, before: Sequence[str]) -> Iterator[Candidate]:
    """Yields the values of a key that are known by name, or the elements of its lists."""
    kinds = get_args(described.kind) or (described.kind,)
    inner = [kind for of in (described.kind, *kinds) if get_origin(of) is list for kind in get_args(of)]
    for kind in inner or kinds:
        if isinstance(kind, type) and issubclass(kind, Enum):
            yield from (Candidate(member.name) for member in kind)
    yield from map(Candidate, NAMED_VALUES.get(key, ()))
    yield from (Candidate(record.name, record.sentence) for record in described.records())
    if key in OF_COLUMNS:
        yield from map(Candidate, _columns(before))


def _of_list(elements: Sequence[Candidate], typed: str) -> Iterator[Candidate]:
    """Yields lists with one more element than is typed, none of them twice; behind a whole one a comma and the end."""
    if typed and not typed.startswith("["):
        return
    begin = typed[: max(typed.rfind(","), typed.rfind("[")) + 1] or "["
    there = begin.strip("[,").split(",")
    last = typed.removeprefix(begin)
    yield from (Candidate(f"{begin}{one.word}", one.meaning) for one in elements if one.word not in there)
    if last in {one.word for one in elements} - {*there}:
        yield from (Candidate(f"{typed},", "and another"), Candidate(f"{typed}]", "the end"))


def _columns(before: Sequence[str]) -> list[str]:
    """Returns the columns of the CSV file that the words name, those that need no quotes; none without a file."""
    named = [word.removeprefix("dataset.path=") for word in before if word.startswith("dataset.path=")]
    try:
        with Path(named[-1]).expanduser().open(encoding="utf-8-sig", errors="replace") as file:
            line = file.readline(MOST_BYTES)
    except (IndexError, OSError):
        return []
    separator = max(",;\t|", key=line.count)
    return [name for name in next(csv.reader([line], delimiter=separator), []) if re.fullmatch(r"[\w.+@%-]+", name)]

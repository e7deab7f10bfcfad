"""`python -m mutants --number 200 --seed 0`: faults drawn at random, and which of them the tests notice."""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from mutants import places, recorded, trial

CHECKOUT = Path(__file__).parent.parent
NOTICED = ("failed", "crashed", "endless")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("--number", type=int, default=200, help="of faults (200)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (0)")
    parser.add_argument("--only", default="*", help="sources to draw from, e.g. 'mi_runner/graph/*'")
    parser.add_argument("--part", default="1/1", help="2/3: the second of three processes, which share a --folder")
    parser.add_argument("--seconds", type=float, default=120, help="of tests for a fault, at most (120)")
    parser.add_argument("--folder", type=Path, help="keeps recordings and outcomes, and goes on with what is in it")
    parser.add_argument("--again", action="store_true", help="tries what was not noticed once more, with new tests")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interrupted"))
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        run(options, (options.folder or Path(temporary) / "kept").resolve(), Path(temporary) / "checkout")


def run(options: argparse.Namespace, kept: Path, checkout: Path) -> None:
    """Records which tests run what, tries the faults one by one, and prints what was found."""
    kept.mkdir(parents=True, exist_ok=True)
    trial.copy(CHECKOUT, checkout)
    files = [file for file in places.sources(checkout) if fnmatch.fnmatch(file, options.only)]
    faults = places.drawn(checkout, options.number, options.seed, files)
    trial.import_libraries()
    recording = recorded.Recording.read(checkout, list(record_all(checkout, kept)))
    known = equivalent(checkout)
    file = kept / f"outcomes-{options.seed}.jsonl"
    before = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(row["file"], row["operator"], row["occurrence"]): row["outcome"] for row in before}
    faults.sort(key=recording.is_compiled)  # what compiles kernels anew takes a minute each
    part, n_parts = map(int, options.part.split("/"))
    outcomes = []
    for number, fault in enumerate(faults, 1):
        change = changed(fault, checkout)
        if number % n_parts != part % n_parts:
            outcomes.append("left out")
            continue
        key = (fault.file, fault.operator, fault.occurrence)
        begin = time.monotonic()
        outcome = "equivalent" if (fault.file, *change) in known else done.get(key)
        if outcome is None or (options.again and outcome in ("passed", "unreached")):
            outcome = trial.noticed(fault, recording, kept / f"fault-{options.seed}-{number}.log", most=options.seconds)
            with file.open("a") as stream:
                stream.write(json.dumps({**asdict(fault), "outcome": outcome}) + "\n")
        outcomes.append(outcome)
        print(f"{number:4} {outcome:10} {time.monotonic() - begin:6.1f} s  {fault.file}:{fault.line} {fault.operator}")
        if outcome in ("passed", "unreached"):
            print(f"     - {change[0]}\n     + {change[1]}")
        sys.stdout.flush()
    report([(fault, outcome) for fault, outcome in zip(faults, outcomes, strict=True) if outcome != "left out"])


def record_all(checkout: Path, kept: Path) -> list[Path]:
    """The recording of each file of tests, made where its sources or it have changed."""
    files = []
    for test_file in recorded.test_files(checkout):
        file = kept / f"{Path(test_file).stem}-{recorded.digest(checkout, test_file)[:12]}.json"
        if not file.exists():
            trial.record(checkout, test_file, file, file.with_suffix(".log"))
            failed = json.loads(file.read_text())["failed"]
            print(f"recorded {test_file}" + f", without {failed}, which fails" * bool(failed), flush=True)
        files.append(file)
    return files


def changed(fault: places.Fault, checkout: Path) -> tuple[str, str]:
    """The lines that a fault changes, without and with it."""
    before, after = (checkout / fault.file).read_text(), fault.source(checkout)
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines(), charjunk=None))
    texts = [" ".join(line[2:].strip() for line in lines if line.startswith(sign)) for sign in "-+"]
    return " ".join(texts[0].split()), " ".join(texts[1].split())


def equivalent(checkout: Path) -> set[tuple[str, str, str]]:
    """Faults that change nothing that can be seen: (file, line, line with the fault)."""
    rows = json.loads((Path(__file__).parent / "equivalent.json").read_text())
    return {(row["file"], row["line"], row["with"]) for row in rows}


def report(outcomes: list[tuple[places.Fault, str]]) -> None:
    """Prints the share that is noticed, by room, with its 95 % Wilson interval."""
    from mi_runner.tables.intervals import wilson_interval

    print("\nroom         faults  equivalent  noticed  share")
    for room in (*places.ROOMS, "all"):
        here = Counter(outcome for fault, outcome in outcomes if room in (fault.room, "all"))
        n, k = here.total() - here["equivalent"], sum(here[outcome] for outcome in NOTICED)
        if n:
            low, high = wilson_interval(k, n)
            print(f"{room:12} {here.total():6} {here['equivalent']:11} {k:8}  {k / n:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()

"""A comparison for a CI system: the verdict in a line, JUnit XML, and annotations of a GitHub workflow."""

from __future__ import annotations

from collections.abc import Sequence

from mi_runner.experiments.common.sentences import counted
from mi_runner.runs import junit as junit_file
from mi_runner.runs.compared import Comparison
from mi_runner.runs.judged import Judged

SUITE = "mi-run diff"
"""The name of the suite, and of its only group but for the runs' letters."""

MOST_ANNOTATIONS = 9
"""GitHub shows ten errors of a step; of more the last says how many others there are."""


def verdict(found: Comparison) -> str:
    """Returns in a line whether the metrics differ; of runs that are equal with what is equal."""
    if found.differs:
        return "the metrics differ"
    if any(one.differs for one in found.judged):
        return "no metric differs so that it counts: none has a bound or a test that says so"
    if not found.equal:
        return "no metric differs"
    tables = sum(one.name.startswith("table ") for one in found.judged)
    texts = [counted(len(found.judged) - tables, "number"), *([counted(tables, "table")] if tables else [])]
    but = ", but for differences within their bounds" if any(one.is_tolerated for one in found.judged) else ""
    return f"equal in {' and '.join(texts)}, config, code and weights{but}: no metric differs"


def junit(found: Comparison) -> str:
    """Returns the comparison as JUnit XML: a test case for each metric and table, with a name that stays the same."""
    several = len({one.run for one in found.judged}) > 1
    cases = [
        junit_file.Case(
            one.name,
            f"{SUITE}.{one.run}" if several else SUITE,
            failure=one.line if one.counts else "",
            output=one.line if one.differs and not one.counts else "",
        )
        for one in found.judged
    ]
    return junit_file.document(SUITE, cases, output="\n".join(found.said))


def github(found: Comparison) -> str:
    """Returns the comparison as workflow commands of GitHub: an error for what counts, a notice for what is said."""
    lines = _commands("error", [one for one in found.judged if one.counts])
    lines += _commands("notice", [one for one in found.judged if one.differs and not one.counts])
    lines += [f"::notice title={SUITE}::{_data(line)}" for line in found.said]
    return "\n".join([*lines, verdict(found)])


def _commands(kind: str, judged: Sequence[Judged]) -> list[str]:
    shown = judged if len(judged) <= MOST_ANNOTATIONS + 1 else judged[:MOST_ANNOTATIONS]
    lines = [f"::{kind} title={_property(one.name)}::{_data(one.line)}" for one in shown]
    if others := judged[len(shown) :]:
        names = ", ".join(one.name for one in others)
        lines.append(f"::{kind} title={SUITE}::{_data(f'{len(others):,} more: {names}')}")
    return lines


def _data(text: str) -> str:
    """Returns a message as a workflow command takes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Returns the value of a property as a workflow command takes it."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")

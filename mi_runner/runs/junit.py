"""Verdicts as JUnit XML, which CI systems show: a test case for each, and a failure with the line that says why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 doesn't take, not even as numbers."""


@dataclass(frozen=True)
class Case:
    """A test case.

    Attributes:
        name: stays the same from run to run.
        group: what it belongs to, `classname` in JUnit; stays the same, too.
        failure: why it fails, in a line; empty: it doesn't.
        output: what else is to be said of it.
    """

    name: str
    group: str
    failure: str = ""
    output: str = ""


def document(suite: str, cases: Sequence[Case], *, output: str = "") -> str:
    """Returns a JUnit file with one suite of test cases.

    Args:
        suite: its name.
        output: what is said of all cases.
    """
    failures = sum(bool(case.failure) for case in cases)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": "0"}
    root = ElementTree.Element("testsuites", {"name": _clean(suite), **counts})
    inner = ElementTree.SubElement(root, "testsuite", {"name": _clean(suite), **counts, "skipped": "0"})
    for case in cases:
        of_case = ElementTree.SubElement(
            inner, "testcase", {"name": _clean(case.name), "classname": _clean(case.group), "time": "0"}
        )
        if case.failure:
            failure = ElementTree.SubElement(of_case, "failure", {"message": _clean(case.failure), "type": "failure"})
            failure.text = _clean(case.failure)
        if case.output:
            ElementTree.SubElement(of_case, "system-out").text = _clean(case.output)
    if output:
        ElementTree.SubElement(inner, "system-out").text = _clean(output)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}'


def _clean(text: str) -> str:
    """Returns a text with the characters that XML doesn't take as their numbers, `\\u001b`."""
    return NOT_IN_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

"""Verdicts as JUnit XML: what a parser reads back is what was said."""

from __future__ import annotations

from xml.etree import ElementTree

from mi_runner.runs.junit import Case, document

NASTY = "a<b>&\"'\n]]> \x00\x1b\ud800\ufffe é 𝛼"
READ = "a<b>&\"'\n]]> \\u0000\\u001b\\ud800\\ufffe é 𝛼"
"""What XML can't hold is there as its number."""


def test_every_character_comes_back_or_its_number() -> None:
    text = document(NASTY, [Case(NASTY, NASTY, NASTY, NASTY), Case("fine", "group")], output=NASTY)
    root = ElementTree.fromstring(text.encode())
    (suite,) = root
    first, second = suite.findall("testcase")
    assert root.get("name") == suite.get("name") == READ
    assert (first.get("name"), first.get("classname"), first.findtext("system-out")) == (READ, READ, READ)
    failure = first.find("failure")
    assert failure is not None and (failure.get("message"), failure.text) == (READ, READ)
    assert suite.findtext("system-out") == READ and second.find("failure") is None and second.get("name") == "fine"
    assert [(one.get("tests"), one.get("failures")) for one in (root, suite)] == [("2", "1"), ("2", "1")]


def test_no_cases_are_a_suite_without_failures() -> None:
    root = ElementTree.fromstring(document("none", []))
    assert (root.get("tests"), root.get("failures")) == ("0", "0") and list(root.iter("testcase")) == []

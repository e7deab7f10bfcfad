"""`mi-run cite`: a BibTeX file whose comments say what was done."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ended
from tests.run_records import write

RUN = Path("outputs/clusters/mnist-mlp/v001")


def test_comments_say_what_was_done_and_entries_follow(mi_run: Callable[..., Ended]) -> None:
    write(RUN, experiment="clusters", **{"experiment.layer": "a_b%@c", "experiment.n_clusters": 4})
    (RUN.parent / "latest").symlink_to("v001")
    ended = mi_run("cite", f"{RUN.parent}/latest")
    assert ended.status == 0, ended.err
    comments, _, body = ended.out.partition("\n\n")
    assert all(re.fullmatch("% .{1,110}", line) for line in comments.splitlines())
    said = comments.replace("\n% ", " ")
    assert r"with 4 clusters in the layer a\_b\% at c and a loss" in said
    assert r"\cite{mirun,golechha2024,lecun1998}" in said
    assert re.findall(r"^@\w+\{(\w+),$", body, re.MULTILINE) == ["mirun", "golechha2024", "lecun1998"]
    assert "@" not in comments and body.count("@") == 3


def test_works_that_are_no_references_stand_in_a_comment(
    mi_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mi_runner.methods.discovery.records import METHODS, Method
    from mi_runner.runs import citation

    own = Method(name="own", sentence="…", scores="a:b", paper="Somebody 2030")
    monkeypatch.setattr(citation, "all_methods", lambda: (*METHODS, own))
    write(RUN, experiment="discovery", **{"experiment.methods": ["own", "random"]})
    assert "% not among the references: Somebody 2030: the method own\n" in mi_run("cite", str(RUN)).out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "cite: a folder is missing. Type mi-run cite FOLDER"),
        (["nowhere"], "nowhere: this folder doesn't exist. Type mi-run cite FOLDER"),
        (["."], ".: no run or sweep is in this folder. mi-run ls . lists those below it."),
    ],
)
def test_errors_say_what_to_type(arguments: list[str], text: str, mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("cite", *arguments)
    assert ended.status == 2 and text in ended.err, ended.err

"""What docs/your_own_network.md shows can be typed, with fewer images and one epoch."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import REPOSITORY, Ended

PAGE = (REPOSITORY / "docs" / "your_own_network.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (mi-run (?:.*\\\n)*.*)", PAGE, re.MULTILINE)
SMALL = ["training.epochs=1", "dataset.limit=12"]


IMAGES, TOKENS, NETWORKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def written(program: str) -> None:
    exec(compile(program, "your_own_network.md", "exec"), {})


def write_images() -> None:
    written(IMAGES)
    assert np.load("images.npz")["x_train"].shape == (400, 3, 32, 32)


def typed(command: str) -> list[str]:
    return shlex.split(command.replace("\\\n", " "))[1:]


@pytest.mark.parametrize("number", [0, 1])
def test_a_network_that_nobody_here_wrote_from_command_to_picture(number: int, mi_run: Callable[..., Ended]) -> None:
    write_images()
    ended = mi_run(*typed(COMMANDS[number]), *SMALL)
    assert ended.status == 0, ended.err
    targets = list(dict.fromkeys(pd.read_csv(ended.folder / "metrics.csv")["target"]))
    assert (ended.folder / "figures" / "accuracy.png").is_file()
    if number == 0:
        blocks = [f"layer{group}.{block}" for group in range(1, 5) for block in range(2)]
        assert targets == ["none", "conv1", "bn1", "relu", "maxpool", *blocks, "avgpool"]


def test_a_network_that_returns_more_in_training_is_refused_with_what_to_type(mi_run: Callable[..., Ended]) -> None:
    write_images()
    command = [part.replace("resnet18", "googlenet") for part in typed(COMMANDS[0])]
    command = [part.replace("num_classes: 4", "num_classes: 4, init_weights: false") for part in command]
    ended = mi_run(*command, *SMALL)
    assert ended.status == 2 and "model.arguments='{aux_logits: false}'" in ended.err, ended.err


def test_there_are_four_commands() -> None:
    assert len(COMMANDS) == 4


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's module `networks` and its data, in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    Path("networks.py").write_text(NETWORKS)
    written(TOKENS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("networks", None)


@pytest.mark.parametrize(
    ("number", "said", "sites"),
    [
        (2, "Reader gets its inputs as integers", ["embedding", "getitem", "getitem_2"]),
        (
            3,
            "Autoencoder returns (1, 4, 4) for each example; it is flattened to 16",
            ["encoder.0", "encoder.1", "decoder"],
        ),
    ],
)
def test_tokens_and_images_as_targets(
    number: int, said: str, sites: list[str], networks: None, mi_run: Callable[..., Ended]
) -> None:
    ended = mi_run(*typed(COMMANDS[number]), *SMALL)
    assert ended.status == 0 and said in ended.err, ended.err
    assert set(pd.read_csv(ended.folder / "metrics.csv")["target"]) == {"none", *sites}


@pytest.mark.parametrize(
    "further",
    [
        ["experiment.targets=[tokens]"],
        ["experiment.targets=[embedding,tokens]", "experiment.methods=[resample]"],
        ["experiment=decoder", "experiment.sites=[tokens]"],
    ],
)
def test_integers_themselves_are_refused_before_any_work(
    further: list[str], networks: None, mi_run: Callable[..., Ended]
) -> None:
    command = [part for part in typed(COMMANDS[2]) if not part.startswith("experiment.")]
    ended = mi_run(*command, *further, "training.epochs=1")
    assert ended.status == 2 and re.search(r"tokens.*holds integers.*embedding", ended.err), ended.err
    assert not Path("outputs").exists()

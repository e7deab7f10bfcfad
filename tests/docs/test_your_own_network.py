"""What docs/your_own_network.md shows can be typed, with fewer images and one epoch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tests.conftest import REPOSITORY, Ended

PAGE = (REPOSITORY / "docs" / "your_own_network.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (mi-run (?:.*\\\n)*.*)", PAGE, re.MULTILINE)
SMALL = ["training.epochs=1", "dataset.limit=12"]


def write_images() -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(program, "your_own_network.md", "exec"), {})
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


def test_there_are_two_commands() -> None:
    assert len(COMMANDS) == 2

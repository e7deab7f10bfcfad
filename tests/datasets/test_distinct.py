"""Equal rows: keys against comparing every pair."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mi_runner.datasets.distinct import first_of_equal, row_keys
from mi_runner.models.batches import BATCH


@pytest.mark.parametrize("width", [1, 3, 40])  # 40 numbers are more bytes than a key has
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8, torch.bool])
def test_equal_rows_against_every_pair(width: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(width)
    few = torch.randint(0, 2, (7, width), generator=draw)
    rows = few[torch.randint(0, 7, (BATCH + 30,), generator=draw)].to(dtype)
    same: Tensor = (rows[:, None] == rows[None]).all(2)
    index, first = first_of_equal(rows)
    assert torch.equal(index[:, None] == index[None], same)
    assert torch.equal(rows[first][index], rows) and 1 < len(first) <= 7
    assert first.tolist() == sorted(set(same.int().argmax(1).tolist())) and index[first].tolist() == [
        *range(len(first))
    ]


def test_images_are_rows_too_and_minus_0_is_0() -> None:
    images = torch.zeros(4, 1, 5, 5)
    images[1], images[2, 0, 4, 4], images[3, 0, 4, 4] = -0.0, 1.0, 1.0
    assert first_of_equal(images)[0].tolist() == [0, 0, 1, 1]
    assert [len(key) for key in row_keys(images)] == [16] * 4
    index, first = first_of_equal(images[:0])
    assert index.tolist() == first.tolist() == [] and index.dtype == first.dtype == torch.int64

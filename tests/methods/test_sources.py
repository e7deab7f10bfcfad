"""Which example a resampled value comes from, and what is left when many targets are resampled together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.graph.interventions import Intervention, read_sites, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.ablation import ablate, scrub
from mi_runner.methods.replacements import Running, Source
from mi_runner.methods.sources import draw_sources
from mi_runner.models.two_layer_skip import TwoLayerSkip


def drawn(y: Tensor, source_y: Tensor, agree: str | int, *, within: bool, seed: int = 0) -> Tensor:
    return draw_sources(y, source_y, agree, within=within, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("agree", ["any", "same", "other", 2])
def test_sources_agree_as_they_should_and_no_example_is_its_own(agree: str | int, within: bool) -> None:
    torch.manual_seed(0)
    y = torch.randint(4, (200,))
    source_y = y if within else torch.randint(4, (90,))
    index = torch.stack([drawn(y, source_y, agree, within=within, seed=seed) for seed in range(20)])
    labels = source_y[index]
    checks = {"any": torch.ones(1, 1, dtype=torch.bool), "same": labels == y, "other": labels != y, 2: labels == 2}
    assert checks[agree].all()
    if within:
        assert not (index == torch.arange(200)).any()
    # Every source that is allowed is drawn: 4,000 draws over at most 200.
    allowed = {"any": source_y >= 0, "same": source_y >= 0, "other": source_y >= 0, 2: source_y == 2}[agree]
    assert set(index.flatten().tolist()) == set(allowed.nonzero().squeeze(1).tolist())


def test_the_others_of_a_class_are_drawn_uniformly() -> None:
    y = torch.tensor([0, 1, 0, 0, 1])
    index = torch.stack([drawn(y, y, "same", within=True, seed=seed) for seed in range(2000)])
    # 1,000 each expected, standard deviation 22
    assert ((index[:, 0] == 2).sum() - 1000).abs() < 110 and ((index[:, 3] == 0).sum() - 1000).abs() < 110
    assert (index[:, 1] == 4).all() and (index[:, 4] == 1).all()


def test_an_example_without_a_source() -> None:
    y = torch.tensor([0, 0, 1])
    with pytest.raises(ValueError, match="an example of class 1 has no source example: there is none of class same"):
        drawn(y, y, "same", within=True)
    with pytest.raises(ValueError, match="an example of class 0 has no source example: there is none of class 7"):
        drawn(y, y, 7, within=True)


class Class(nn.Module):
    """Two routes: `kept` knows the class, `noise` is what the answer should not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.noise = nn.Linear(4, 2, bias=False), nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            self.kept.weight.copy_(4 * torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]]))
            self.noise.weight.copy_(torch.tensor([[0.0, 0, 1, 0], [0, 0, 0, 1]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.kept(x) + self.noise(x)


def examples() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    y = torch.arange(400) % 2
    return torch.cat([functional.one_hot(y, 2).float(), torch.randn(400, 2)], 1), y


def test_the_loss_is_recovered_where_only_the_class_matters() -> None:
    x, y = examples()
    same = [row for row in scrub(Class(), x, y, targets=["x/kept"]) if row["agree"] == "same"]
    # x/kept reads the class alone, and from an example of the same class reads the same.
    assert [row["loss_recovered"] for row in same] == [pytest.approx(1.0, abs=1e-6)] * 3
    rows = scrub(Class(), x, y, targets=["x/kept"], source=Source(agree="other", repeats=2))
    assert [(row["agree"], row["repeat"]) for row in rows] == [("any", 1), ("any", 2), ("other", 1), ("other", 2)]
    assert all(row["loss_recovered"] == 0 for row in rows[:2]) and all(row["loss_recovered"] < 0 for row in rows[2:])
    assert all(row["accuracy"] < 0.2 for row in rows[2:])


def test_all_targets_have_the_same_source_example() -> None:
    torch.manual_seed(0)
    model, x = TwoLayerSkip(4, 3).eval(), torch.randn(1300, 4)
    y = torch.randint(3, (1300,))
    # Both edges together are the site: its loss is that of the network on the source examples.
    for memory in (0.0, 1e9):
        both = scrub(model, x, y, targets=["x/*"], running=Running(memory))
        whole = scrub(model, x, y, targets=["x"], running=Running(memory))
        assert [row["loss"] for row in both] == pytest.approx([row["loss"] for row in whole], abs=1e-6)


@torch.no_grad()
def test_an_ablation_resamples_from_sources_that_agree() -> None:
    x, y = examples()
    others = x[:100].flip(0)
    of_same = ablate(
        Class(), x, y, targets=["kept"], methods=["resample"], source=Source(others, y[:100].flip(0), agree="same")
    )
    assert all(row["loss_increase"] == pytest.approx(0, abs=1e-6) for row in of_same.rows)
    graph = ModelGraph.trace(Class(), x[:2])
    (kept,) = read_sites(graph, x, ["kept"]).values()
    given = ablate(graph, x, y, targets=["kept"], methods=["resample"], source=Source(repeats=1, agree=1)).rows[1]
    value = kept[y == 1][0]  # the same for all of the class
    outputs = run_with(graph, x, [Intervention("kept", value)])
    assert given["loss"] == pytest.approx(float(functional.cross_entropy(outputs, y)), abs=1e-6)


def test_what_does_not_fit() -> None:
    x, y = examples()
    with pytest.raises(ValueError, match="^agree=same: give source.y, the class of each of the 10 source examples"):
        ablate(Class(), x, y, targets=["kept"], source=Source(x[:10], agree="same"))
    with pytest.raises(ValueError, match="^agree=same compares classes, and y are values"):
        ablate(Class(), x, torch.randn(400, 2), targets=["kept"], source=Source(agree="same"))

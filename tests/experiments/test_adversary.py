"""Training against an adversary: its step by hand, a planted second direction, its part of experiment=iit."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner.config.experiments.das import DasConfig
from mi_runner.config.experiments.iit import Control, Sources, Trained
from mi_runner.datasets import Dataset
from mi_runner.datasets.causal_models import CausalModel
from mi_runner.datasets.equality import load as load_equality
from mi_runner.errors import ConfigError
from mi_runner.experiments import Result, Setting
from mi_runner.experiments.iit import cells as iit_cells
from mi_runner.experiments.iit import experiment as iit
from mi_runner.methods.adversary import Adversaries, AdversaryTraining, fresh_rotation
from mi_runner.methods.alignment import Rotation
from mi_runner.methods.interchange import (
    InterchangeTraining,
    Pairs,
    cut_off,
    relabelled,
    task_correct,
    train_by_interchange,
)
from mi_runner.methods.interchange_options import RotationTraining
from mi_runner.models.mlp import MLP
from mi_runner.progress import log
from mi_runner.training.evaluation import loss_function
from mi_runner.training.options import TrainingOptions
from tests.iit_settings import METRICS_COLUMNS, of, setting, units
from tests.interchanges import TURN, Xor, aligned, bits, direction, iia, pairs, sgd


class TwoRoutes(Xor):
    """Xor with a and b turned at `first`, and a way around it that is not used."""

    def __init__(self) -> None:
        super().__init__(TURN)
        self.around = nn.Linear(4, 2)
        nn.init.zeros_(self.around.weight)
        nn.init.zeros_(self.around.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(self.first(x)) + self.around(x)))


def causal_model_of(dataset: Dataset) -> CausalModel:
    assert dataset.causal_model is not None
    return dataset.causal_model


def of_b(given: Pairs, split: str, dataset: Dataset) -> Pairs:
    model = causal_model_of(dataset)
    return relabelled(given, model, getattr(model, f"values_{split}"), ["b"])


LOSS = functional.cross_entropy


# --- the parts -------------------------------------------------------------------------------------------------------


def test_a_loss_below_the_cutoff_counts_for_a_thousandth() -> None:
    losses = torch.tensor([2.0, 0.51, 0.5, 0.2, 0.0])
    assert cut_off(losses, 0.5).tolist() == pytest.approx([2.0, 0.51, 0.5, 0.4995 + 0.0002, 0.4995])
    loss = torch.tensor([0.6, 0.4], requires_grad=True)
    (slope,) = torch.autograd.grad(cut_off(loss, 0.5).sum(), [loss])
    assert slope.tolist() == pytest.approx([1, 0.001])


def test_the_adversarys_pairs_are_the_same_examples_with_other_labels() -> None:
    dataset = bits(50)
    given = pairs(dataset, "train", ("a",), n=80)
    found = of_b(given, "train", dataset)
    a, b = dataset.x_train[:, 1].long(), dataset.x_train[:, 3].long()
    assert torch.equal(found.base, given.base) and torch.equal(found.sources, given.sources)
    assert found.labels.tolist() == ((a[given.base] + b[given.sources[:, 0]]) % 2).tolist()
    assert found.changed.tolist() == (found.labels != dataset.y_train[given.base]).tolist()


def test_a_step_by_hand() -> None:
    """Two steps of SGD of an adversary, then one of the network, against the formulas written out."""
    dataset, model, twin = bits(), Xor(TURN), Xor(TURN)
    given = pairs(dataset, "train", ("a",), n=40)
    found = aligned(model, "first", direction(seed=1))
    labels = of_b(given, "train", dataset).labels
    how = AdversaryTraining(rank=1, steps=2, learning_rate=0.3, renewal=None, weight=0.7, optimizer=sgd)
    opponent = Adversaries(found, labels, how, LOSS)
    row = opponent.strongest.alignment.weight.detach().clone()
    chosen = found.alignment.weight.detach().clone().requires_grad_()
    history = train_by_interchange(
        found, dataset, given,
        InterchangeTraining(
            epochs=1, batch_size=40, warmup_steps=0, learning_rate=0.8, rotation_learning_rate=0.4, cutoff=0.5,
            gradient_clip=None, optimizer=sgd,
        ),
        LOSS, opponent=opponent,
    )  # fmt: skip

    base, source = (twin.first(dataset.x_train[index]) for index in (given.base, given.sources[:, 0]))

    def loss(direction: Tensor, answers: Tensor, held: bool = False) -> Tensor:
        own, other = (base.detach(), source.detach()) if held else (base, source)
        direction = direction / direction.norm()
        moved = own + ((other - own) @ direction.T) @ direction
        return LOSS(twin.last(torch.relu(twin.second(moved))), answers)

    for _ in range(2):
        row.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(row, labels, held=True), [row])
        row = (row - 0.3 * gradient).detach()
        row /= row.norm()
    swapped = loss(chosen, given.labels)
    adversary_loss = loss(row, labels)
    (cut_off(swapped, 0.5) - 0.7 * adversary_loss).backward()
    assert torch.allclose(opponent.strongest.alignment.weight, row, atol=1e-6)
    expected = (swapped.item(), adversary_loss.item())
    assert (history[1]["loss"], history[1]["adversary_loss"]) == pytest.approx(expected, rel=1e-5)  # float32
    for parameter, own in zip(model.parameters(), twin.parameters(), strict=True):
        assert own.grad is not None and torch.allclose(parameter, own - 0.8 * own.grad, atol=1e-6)
    assert chosen.grad is not None
    turned = (chosen - 0.4 * chosen.grad).detach()
    assert torch.allclose(found.alignment.weight, turned / turned.norm(), atol=1e-6)


def test_the_network_stays_as_it_is_while_the_adversary_is_trained_and_the_adversary_afterwards() -> None:
    dataset, draw = bits(), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))
    found = aligned(model, "0", Rotation((6,), 1, 1, generator=draw))
    model.train()
    before = copy.deepcopy(model.state_dict())
    labels = torch.randint(2, (30,), generator=draw)
    opponent = Adversaries(found, labels, AdversaryTraining(rank=2, learning_rate=0.1, renewal=None), LOSS)
    start = opponent.strongest.alignment.weight.detach().clone()
    index = torch.arange(30)
    x = dataset.x_train[:30]
    base, sources = found.values_on(x, index, index.flip(0)[:, None])
    with torch.random.fork_rng():
        added = opponent.added(index, x, base, sources)
    after = model.state_dict()
    assert int(after["2.num_batches_tracked"]) == 0 and model.training  # no batch of an adversary counts
    assert all(torch.equal(after[name], before[name]) for name, _ in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    weight = opponent.strongest.alignment.weight
    trained, gradient = weight.detach().clone(), weight.grad.clone()
    assert not torch.allclose(trained, start, atol=1e-3) and torch.allclose(
        trained @ trained.T, torch.eye(2), atol=1e-5
    )
    added.backward()
    assert torch.equal(weight.grad, gradient) and weight.requires_grad
    assert all(bool(parameter.grad.any()) for parameter in model[0].parameters())


def run_steps(opponent: Adversaries, n: int) -> list[Tensor]:
    """The first direction of each adversary after each step."""
    dataset = bits(40)
    index = torch.arange(20)
    base, sources = opponent.aligned.values_on(dataset.x_train, index, index.flip(0)[:, None])
    seen = []
    for _ in range(n):
        opponent.added(index, dataset.x_train[:20], base, sources)
        seen.append(torch.stack([rotation.weight.detach()[0].clone() for rotation, _ in opponent._members]))
    return seen


def test_when_an_adversary_starts_anew() -> None:
    dataset = bits(40)
    found = aligned(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), "0", direction())
    labels = dataset.y_train[:20]

    def renewed(**options: Any) -> list[list[bool]]:
        """For each adversary whether it is another one than in the step before; none moves by itself."""
        seen = run_steps(Adversaries(found, labels, AdversaryTraining(steps=0, **options), LOSS), 9)
        n = options.get("count", 1)
        return [[not torch.equal(one[k], other[k]) for one, other in itertools.pairwise(seen)] for k in range(n)]

    assert renewed(renewal=1) == [[True] * 8]
    assert renewed(renewal=None, count=2) == [[False] * 8] * 2
    of_three = renewed(renewal=3, count=3)
    assert [[step + 1 for step, new in enumerate(of_one) if new] for of_one in of_three] == [
        [3, 6],
        [2, 5, 8],
        [1, 4, 7],
    ]
    # One that is kept goes on with its own optimizer: its steps are those of one long training.
    kept = Adversaries(found, labels, AdversaryTraining(steps=1, renewal=None, learning_rate=0.01), LOSS)
    long = Adversaries(found, labels, AdversaryTraining(steps=4, renewal=None, learning_rate=0.01), LOSS)
    assert torch.equal(run_steps(kept, 4)[-1], run_steps(long, 1)[-1])


def test_a_bound_ends_the_reward() -> None:
    dataset = bits(40)
    found = aligned(Xor(), "first", direction())
    index = torch.arange(20)
    base, sources = found.values_on(dataset.x_train, index, index.flip(0)[:, None])
    for bound, moves in ((100.0, True), (1e-4, False)):
        how = AdversaryTraining(rank=1, weight=2, bound=bound)
        opponent = Adversaries(found, dataset.y_train[:20], how, LOSS)
        added = opponent.added(index, dataset.x_train[:20], base, sources)
        (gradient,) = torch.autograd.grad(added, [found.model.last.weight])
        loss = opponent.row()["adversary_loss"]
        assert added.item() == pytest.approx(-2 * min(loss, bound)) and bool(gradient.any()) == moves


def test_the_other_directions_swap_the_other_variables() -> None:
    """All directions but the chosen ones, taken from the source: the chosen swap with base and source exchanged."""
    dataset = bits(40)
    torch.manual_seed(0)
    found = aligned(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), "0", direction())
    whole = Rotation((5,), 2, [2, 3], generator=torch.Generator().manual_seed(1))
    chosen, others = (
        Rotation((5,), 1, 2, generator=torch.Generator()),
        Rotation((5,), 1, 3, generator=torch.Generator()),
    )
    with torch.no_grad():
        chosen.weight.copy_(whole.weight[:2])
        others.weight.copy_(whole.weight[2:])
        index = torch.arange(20)
        one = replace(found, alignment=others).outputs_on(dataset.x_train, index, index.flip(0)[:, None])
        other = replace(found, alignment=chosen).outputs_on(dataset.x_train, index.flip(0), index[:, None])
    assert torch.allclose(one, other, atol=1e-6) and not torch.allclose(one, one.flip(0), atol=1e-2)


# --- a planted second direction --------------------------------------------------------------------------------------


def test_a_planted_direction_can_be_swapped_before_and_not_after() -> None:
    """b is at `first`; trained against an adversary, the network takes b around it and keeps a."""
    dataset, model = bits(), TwoRoutes()
    found = aligned(model, "first", direction(seed=3))
    train, test = pairs(dataset, "train", ("a",)), pairs(dataset, "test", ("a",))
    loss_of = loss_function(TrainingOptions(), dataset)

    def fresh(given: Pairs, measured: Pairs) -> float:
        found_afresh = fresh_rotation(
            found, dataset, given, loss_of, RotationTraining(size=1, epochs=6, batch_size=50, learning_rate=0.05),
            generator=torch.Generator().manual_seed(2),
        )  # fmt: skip
        return iia(found_afresh, dataset, measured)

    b_train, b_test = of_b(train, "train", dataset), of_b(test, "test", dataset)
    floor = float((~b_test.changed).double().mean())
    assert fresh(b_train, b_test) == 1 and floor < 0.6
    how = InterchangeTraining(
        epochs=10, batch_size=50, learning_rate=0.02, rotation_learning_rate=0.05, warmup_steps=0, gradient_clip=None,
        task_weight=1,
    )  # fmt: skip
    against = AdversaryTraining(rank=1, steps=3, learning_rate=0.05, renewal=None, bound=1.5)
    opponent = Adversaries(found, b_train.labels, against, loss_of)
    history = train_by_interchange(found, dataset, train, how, loss_of, opponent=opponent)
    assert history[-1]["adversary_loss"] > 1.5 > history[1]["adversary_loss"]
    assert bool(task_correct(found, dataset).all()) and iia(found, dataset, test) == 1
    assert fresh(b_train, b_test) < floor + 0.1 and fresh(train, test) == 1


# --- experiment=iit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"adversary": ["c"]}, "^experiment.adversary: no variable is named 'c'. Allowed: a, b"),
        ({"adversary": []}, r"experiment.adversary=\[\]: name each variable once, at least one"),
        ({"adversary": ["b", "b"]}, r"experiment.adversary=\[b,b\]: name each variable once"),
        (
            {"adversary": ["a"]},
            r"adversary=\[a\]: a can't be swappable .* at layers.0 .* Type experiment.variables=\[b\]",
        ),
        ({"adversary": ["a", "b"]}, "a can't be swappable .* Leave one of them out of experiment.adversary"),
        ({"variables": "all"}, r"adversary=\[b\]: b can't be swappable and not swappable at layers.0"),
        ({"train": Trained.rotation}, "the network stays as it is, so it can't learn .* Type experiment.train=both or"),
        (units(), "also for the chosen variables: leave out experiment.alignment=units"),
        ({"epochs": 0}, "experiment.epochs=0: nothing is trained. Type experiment.epochs=1 or more"),
        ({"adversary_rank": 9}, "adversary_rank=9: layers.0 has 8 units, .* Type experiment.adversary_rank=8 or less"),
        (
            {"adversary": None, "adversary_bound": 0.7},
            r"adversary_bound=0.7 is for an adversary, .* add experiment.adv",
        ),
    ],
)
def test_mistakes_are_found_before_training(options: dict[str, Any], text: str) -> None:
    dataset = bits()
    given = setting(nn.Sequential(), dataset, **({"variables": "a", "adversary": ["b"]} | options))
    model = MLP([4, 8, 2])
    with pytest.raises(ConfigError, match=text):
        iit.check(replace(given, model=model))


def test_das_names_the_experiment_that_trains_a_network() -> None:
    given = setting(MLP([4, 8, 2]), bits())
    with pytest.raises(ConfigError, match="Type experiment=iit"):
        iit.check(replace(given, config=DasConfig(variables="a", adversary=["b"])))


def test_many_adversaries_need_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iit_cells, "MOST_ROTATION_NUMBERS", 40)
    given = setting(MLP([4, 8, 2]), bits(), variables="a", adversary=["b"], adversary_rank=3, adversary_count=2)
    with pytest.raises(
        ConfigError, match="adversary_count=2: layers.0 has 8 units, .* Type experiment.adversary_rank=2"
    ):
        iit.check(given)


@pytest.fixture(scope="module")
def contest() -> Result:
    """Two epochs of a contest in the network with two routes, from two starts."""
    return iit.run(contest_setting(controls=[Control.random_rotation], starts=2))


def test_variables_of_an_adversary_that_contradict_each_other_are_refused() -> None:
    dataset = load_equality(train_size=60, test_size=60, seed=0)
    given = setting(MLP([16, 8, 2]), dataset, variables=["right"], site="layers.0", adversary=["left", "first"])
    with pytest.raises(ConfigError, match=r"adversary=\[left,first\]: left and first can't be swapped together"):
        iit.check(given)


def contest_setting(**options: Any) -> Setting:
    given: dict[str, Any] = {"variables": "a", "site": "first", "adversary": ["b"], "adversary_rank": 1, "epochs": 2}
    given |= {"task_weight": 1.0, "learning_rate": 0.02, "adversary_learning_rate": 0.05, "adversary_fresh_epochs": 1}
    made = setting(TwoRoutes(), bits(), **(given | options))
    iit.check(made)
    return made


def test_the_rows_of_a_contest(contest: Result) -> None:
    table = pd.DataFrame(contest.tables["metrics"])
    begin = ["phase", "control", "variables", "swapped", "rotation"]
    assert list(table) == [*begin, *METRICS_COLUMNS[3:]]
    whole = table[(table.subset == "all") & (table.start == 1)]
    assert whole[["phase", "control", "swapped", "rotation"]].apply(" ".join, axis=1).tolist() == [
        *(f"{phase} none {swapped} {rotation}" for phase in ("before", "after") for swapped in "ab" for rotation in
          ("own", "fresh")),
        *("control no_adversary a own", "control no_adversary a fresh", "control no_adversary b fresh"),
        "control random_rotation a own",
    ]  # fmt: skip
    assert set(table.variables) == {"a"} and set(table.trained_site) == {"first"}
    # The two kinds of pairs have floors of their own, the same in every network.
    floors = whole.groupby("swapped").floor.unique()
    assert all(len(values) == 1 for values in floors) and 0 < floors["b"][0] < 1
    # An ordinary network that is always correct and isn't swapped is at its floor.
    before = whole[whole.phase == "before"]
    assert (before.iia_unswapped == before.floor).all() and (before.task_accuracy == 1).all()
    assert whole.commonest.between(0.5, 1, inclusive="left").all()
    assert len(contest.tables["overview"]) == len(table) / 3
    assert {"swapped", "rotation", "iia_unswapped", "commonest"} <= set(contest.tables["overview"][0])
    fresh = table[(table.subset == "all") & (table.swapped == "b") & (table.rotation == "fresh")]
    for phase, words in (("after", "rotation for b is"), ("before", "before it is")):
        mean = fresh[fresh.phase == phase].iia.mean()
        assert f"{words} {mean:.4g}, the mean of 2 starts" in contest.answer


def test_the_summary_of_a_contest(contest: Result) -> None:
    table = pd.DataFrame(contest.tables["metrics"])
    whole = table[table.subset == "all"]

    def mean(column: str = "iia", **named: str) -> float:
        chosen = whole
        for name, value in named.items():
            chosen = chosen[chosen[name] == value]
        assert len(chosen) == 2
        return chosen[column].mean()

    after, before, control = {"phase": "after"}, {"phase": "before"}, {"control": "no_adversary"}
    expected = {
        "iia": mean(**after, swapped="a", rotation="own"),
        "iia_fresh": mean(**after, swapped="a", rotation="fresh"),
        "adversary_iia": mean(**after, swapped="b", rotation="own"),
        "adversary_iia_fresh": mean(**after, swapped="b", rotation="fresh"),
        "adversary_iia_fresh/a/first": mean(**after, swapped="b", rotation="fresh"),
        "adversary_iia_fresh_before": mean(**before, swapped="b", rotation="fresh"),
        "adversary_iia_before": mean(**before, swapped="b", rotation="own"),
        "adversary_iia_unswapped": mean("iia_unswapped", **after, swapped="b", rotation="fresh"),
        "adversary_floor": mean("floor", **after, swapped="b", rotation="fresh"),
        "commonest_before": mean("commonest", **before, swapped="b", rotation="fresh"),
        "iia/no_adversary": mean(**control, swapped="a", rotation="own"),
        "adversary_iia_fresh/no_adversary": mean(**control, swapped="b", rotation="fresh"),
        "task_accuracy/no_adversary": mean("task_accuracy", **control, swapped="b", rotation="fresh"),
    }
    assert {name: contest.metrics[name] for name in expected} == pytest.approx(expected)
    assert list(contest.metrics) == iit.metric_names(contest_setting(controls=[Control.random_rotation]))
    assert contest.metrics["iia_fresh"] != contest.metrics["adversary_iia_fresh"]
    assert set(contest.metrics) >= {"commonest", "iia_fresh/no_adversary"}


def test_every_number_of_a_contest_is_a_measure(contest: Result) -> None:
    assert set(contest.measures) >= {name.partition("/")[0] for name in contest.metrics}


def test_the_history_of_a_contest(contest: Result) -> None:
    history = pd.DataFrame(contest.tables["history"])
    own, control = (history[history.control == name] for name in ("none", "no_adversary"))
    assert len(own) == len(control) == 2 * (1 + 2 * 3)
    assert (own.adversary_loss.notna() == (own.step > 0)).all() and control.adversary_loss.isna().all()
    # Both begin in the same network with the same rotation.
    assert own.iia.iloc[0] == control.iia.iloc[0] and own.loss.iloc[-1] != control.loss.iloc[-1]


def test_the_figure_of_a_contest(contest: Result) -> None:
    table = pd.DataFrame(contest.tables["metrics"])
    shown = table[(table.subset == "all") & (table.start == 1) & (table.control != "random_rotation")]
    (axes,) = contest.figures["adversary"]().axes
    bars = sorted(bar.get_height() for bar in axes.patches)
    assert bars == pytest.approx(sorted(shown.iia)) and len(bars) == 11
    floors = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2]
    assert set(shown.floor) <= set(floors)
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        *("chosen:\na\ntraining's rotation", "chosen:\na\nfresh rotation"),
        *("adversary:\nb\ntraining's rotation", "adversary:\nb\nfresh rotation"),
    ]
    losses = contest.figures["training"]().axes[1].lines
    assert [line.get_label() for line in losses] == ["chosen variables", "adversary"]


def test_without_the_control_and_with_a_source_for_each_variable() -> None:
    given = contest_setting(controls=[], adversary_control=False, sources=Sources.multi, epochs=1)
    result = iit.run(given)
    table = pd.DataFrame(result.tables["metrics"])
    assert set(table.phase) == {"before", "after"} and list(result.metrics) == iit.metric_names(given)
    assert set(table[table.swapped == "a"].sources) == {"multi", "single"}
    assert set(table[table.swapped == "b"].sources) == {"single"}


def test_an_adversary_changes_nothing_else() -> None:
    """The rows of the ordinary network, and the control, are those of a run without an adversary."""
    result = iit.run(contest_setting(controls=[], adversary_cutoff=None))
    alone = iit.run(contest_setting(controls=[], adversary=None, adversary_rank=4, adversary_learning_rate=1e-4,
                                    adversary_fresh_epochs=3))  # fmt: skip
    expected = [of(alone, phase) for phase in ("before", "after")]
    table = [row for row in result.tables["metrics"] if row["subset"] == "all" and row["rotation"] == "own"]
    found = [row for row in table if row["swapped"] == "a" and (row["phase"], row["control"]) != ("after", "none")]
    for row, of_alone in zip(found, expected, strict=True):
        assert {name: row[name] for name in METRICS_COLUMNS[2:]} == {
            name: of_alone[name] for name in METRICS_COLUMNS[2:]
        }
    assert [list(row) for row in alone.tables["metrics"]] == [METRICS_COLUMNS] * 6
    assert "swapped" not in alone.keys["metrics"] and "adversary" not in alone.figures
    assert "iia_fresh" not in alone.measures


def test_a_collapse_is_said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "propagate", True)  # a run in another test turns it off
    with caplog.at_level("WARNING", logger="mi_runner"):
        result = iit.run(contest_setting(
            controls=[], adversary_control=False, task_weight=0.0, adversary_weight=100.0, learning_rate=1.0, epochs=3
        ))  # fmt: skip
    (line,) = [line for line in caplog.messages if "it collapsed" in line]
    share = result.metrics["commonest"]
    assert f"a/first: after the training against the adversary the network answers {share:.0%} of the test" in line
    assert share >= 0.95 > result.metrics["commonest_before"]

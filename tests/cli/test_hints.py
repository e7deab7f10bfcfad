"""What an error says to type is typed, and is accepted: no hint is false."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mi_runner.config import composition, hydra_keys
from mi_runner.errors import ConfigError
from mi_runner.experiments.decoder import experiment as decoder
from mi_runner.experiments.iit import cells as iit_cells
from tests.commands import check

NET = """
import torch
class Net(torch.nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.inner, self.outer = torch.nn.Linear(input_shape[0], 3), torch.nn.Linear(3, n_outputs)
    def forward(self, x):
        return self.outer(torch.relu(self.inner(x)))
class Normed(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
class Empty(torch.nn.Module):
    def forward(self, x):
        return x[:, :2] * 1.0
class Random(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.noise, self.last = Noise(), torch.nn.Linear(4, 2)
    def forward(self, x):
        return self.last(self.noise(x))
class Noise(torch.nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else x + 1
class Checks(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(), Block()])
        self.last = torch.nn.Linear(4, 2)
    def forward(self, x):
        return self.last(self.blocks[1](self.blocks[0](x)))
class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
    def forward(self, x):
        assert x.size(-1) == 4
        return self.linear(x).relu()
class Free(Block):
    def forward(self, x):
        return self.linear(x).relu()
class Hooked(Checks):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Free(), Free()])
        self.blocks[1].register_full_backward_hook(lambda module, given, _: (given[0] * 2,))
class Pair(Checks):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Free(), Free()])
    def forward(self, x):
        return x, super().forward(x)
class Frozen(Pair):
    def forward(self, x):
        with torch.no_grad():
            return super().forward(x)[1]
class Half(Pair):
    def forward(self, x):
        with torch.no_grad():
            h = self.blocks[0](x)
        return self.last(self.blocks[1](h))
"""

SMALL = "dataset.limit=60"
MOD = "dataset=mod_add dataset.train_size=60 dataset.test_size=60"
EXTERNAL = "model=external model.factory"
OWN = f"{MOD} {EXTERNAL}"

NARROW = "model=mlp model.hidden_sizes=[128,128,3,3,3] experiment.last_layers=3"

HINTS = [
    # the search of circuits
    (f"experiment=circuits {SMALL} model=skip", NARROW),
    (f"experiment=circuits {SMALL} model=skip experiment.last_layers=1", NARROW),
    (f"experiment=circuits {MOD} model=skip", "experiment.last_layers=1"),
    (f"experiment=circuits {MOD} dataset.target=value model=skip experiment.last_layers=1", NARROW),
    (f"experiment=circuits {SMALL} model=cnn", NARROW),
    (f"experiment=circuits {SMALL} model=cnn experiment.last_layers=1", NARROW),
    (f"experiment=circuits {SMALL} experiment.last_layers=1", "experiment.last_layers=3"),
    (f"experiment=circuits {SMALL} model.hidden_sizes=[128] experiment.last_layers=1", NARROW),
    (f"experiment=circuits {SMALL} experiment.last_layers=null experiment.method=census", "experiment.last_layers=3"),
    (f"experiment=circuits {SMALL} model.hidden_sizes=[10,5,5,5] experiment.method=census", "experiment.last_layers=2"),
    (f"experiment=circuits {SMALL} experiment.table=all experiment.max_table_rows=9", "experiment.table=auto"),
    (
        f"experiment=circuits {SMALL} experiment.table=all experiment.max_table_rows=9",
        "experiment.max_table_rows=94591",
    ),
    (
        f"experiment=circuits {SMALL} experiment.min_node_sparsity=0.5 experiment.max_table_rows=9",
        "experiment.max_table_rows=94591",
    ),
    # clusters
    (f"experiment=clusters {MOD} model.hidden_sizes=[]", "experiment.n_clusters=2"),
    (f"experiment=clusters {MOD} model.hidden_sizes=[3,3]", "experiment.n_clusters=3"),
    (f"{MOD} training.regularizer=clusterability model.hidden_sizes=[3]", "training.regularizer_clusters=3"),
    (f"experiment=clusters {SMALL} dataset.target=value", "dataset.target=class"),
    # losses and optimizers
    (f"{MOD} training.loss=mse", "training.loss=cross_entropy"),
    (f"{MOD} training.loss=bce", "training.loss=cross_entropy"),
    (f"{MOD} dataset.target=value training.loss=cross_entropy", "training.loss=mse"),
    (f"experiment=circuits {SMALL} training.loss=cross_entropy", "training.loss=mse"),
    (f"{MOD} dataset.modulus=5 dataset.target=value training.loss=bce", "training.loss=mse"),
    (f"{MOD} training.momentum=0.9", "training.optimizer=sgd"),
    # data and networks
    ("dataset=arrays dataset.path=floats.npz", "dataset.target=value"),
    ("dataset=arrays dataset.target=value dataset.path=words.npz", "dataset.target=class"),
    (f"{OWN}=hinted:Normed training.batch_size=1", "training.batch_size=2"),
    (f"{MOD} experiment=iit {EXTERNAL}=hinted:Normed experiment.batch_size=1", "experiment.batch_size=2"),
    (f"{MOD} model=cnn", "model=mlp"),
    (f"{OWN}=hinted.py:Net", "model.factory=hinted:Net"),
    (f"{OWN}=./inner/hinted_too.py:Net", "model.factory=inner.hinted_too:Net"),
    (f"{OWN}=hinted:Empty", "training.epochs=0"),
    (f"{OWN}=hinted:Random experiment=ablation", "model.leaves=[noise]"),
    (f"{OWN}=hinted:Checks experiment=ablation", "model.leaves=[blocks.0,blocks.1]"),
    (f"{OWN}=hinted:Checks experiment=ablation model.leaves=[blocks.1]", "model.leaves=[blocks.1,blocks.0]"),
    (f"{OWN}=hinted:Hooked experiment=iit experiment.site=blocks.0", "model.leaves=[blocks.1]"),
    (f"{OWN}=hinted:Pair experiment=ablation", "model.output=1"),
    (f"{OWN}=hinted:Frozen", "training.epochs=0"),
    (f"{OWN}=hinted:Half experiment=iit experiment.site=blocks.0.linear", "experiment.train=network"),
    (f"{MOD} device=cuda", "device=cpu"),
    (f"{MOD} device=cuda", "device=auto"),
    # interchange
    (f"experiment=iit {MOD} model=mlp experiment.alignment=units", "experiment.train=network"),
    (f"experiment=iit {MOD} model=mlp experiment.alignment=units", "experiment.alignment=rotation"),
    # keys
    ("experiment.epochs=1", "experiment=iit"),
    ("experiment.epochs=1", "experiment=decoder"),
    ("model=skip model.bias=true", "model=mlp"),
    ("dataset.path=floats.npz dataset.target=value", "dataset=arrays"),
]
"""A command that is refused, and words of its error that are typed behind it."""

LAYER = "training.regularizer=clusterability training.regularizer_clusters=2 training.regularizer_layer"

NAMES = [
    (f"experiment=clusters {SMALL} experiment.layer=layer.2", "mean layers.2?", "experiment.layer=layers.2"),
    (f"{MOD} {LAYER}=layer.0", "mean layers.0?", "training.regularizer_layer=layers.0"),
    (f"{OWN}=hinted:net", "mean Net?", "model.factory=hinted:Net"),
    (
        f"experiment=ablation {MOD} model=mlp model.hidden_sizes=[]",
        "only x, layers.0: name experiment.targets",
        "experiment.targets=[layers.0]",
    ),
    (
        f"experiment=decoder {MOD} model.hidden_sizes=[]",
        "experiment.sites=[x,layers.0] or some of these",
        "experiment.sites=[layers.0]",
    ),
    (
        f"experiment=iit {MOD} model=mlp model.hidden_sizes=[]",
        "type experiment.site=..., one of x, layers.0",
        "experiment.site=x",
    ),
    ("dataset=arrays dataset.target=value", "type dataset.path=...", "dataset.path=floats.npz"),
]
"""The same where the error has a name, or a key, alone; last what is typed by it."""


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("inner").mkdir()
    for name in ("hinted.py", "inner/hinted_too.py"):
        Path(name).write_text(NET)
    x = np.linspace(0, 1, 160).reshape(40, 4)
    np.savez("floats.npz", x_train=x, y_train=x[:, 0], x_test=x, y_test=x[:, 0])
    words = np.array(["no", "yes"])[np.arange(40) % 2]
    np.savez("words.npz", x_train=x, y_train=words, x_test=x, y_test=words)


@pytest.mark.parametrize(("command", "said", "typed"), [*((command, words, words) for command, words in HINTS), *NAMES])
def test_what_an_error_says_to_type_is_accepted(command: str, said: str, typed: str) -> None:
    if "device=cuda" in command and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ConfigError) as caught:
        check(*command.split())
    assert said in str(caught.value)
    check(*command.split(), *typed.split())


@pytest.mark.parametrize(
    ("limit", "command", "typed"),
    [
        (
            (iit_cells, "MOST_ROTATION_NUMBERS", 1000),
            "experiment=iit model=mlp experiment.size=200",
            "experiment.size=7",
        ),
        (
            (iit_cells, "MOST_ROTATION_NUMBERS", 1000),
            "experiment=iit model=mlp experiment.size=128",
            "experiment.size=7",
        ),
        (
            (iit_cells, "MOST_ROTATION_NUMBERS", 2000),
            "experiment=iit model=mlp experiment.variables=[a,b] experiment.sources=multi experiment.size=64",
            "experiment.size=7",
        ),
        (
            (iit_cells, "MOST_ROTATION_NUMBERS", 10**9),
            "experiment=iit model=mlp experiment.size=200",
            "experiment.size=128",
        ),
        # 60 pairs of numbers below 40, whose images are 5 rows of 5 activations.
        ((decoder, "MOST_NUMBERS", 1000), "experiment=decoder dataset.modulus=40", "dataset.limit=40"),
    ],
)
def test_a_limit_is_named_with_what_stays_below_it(
    limit: tuple[object, str, int], command: str, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*limit)
    overrides = [*command.split(), *MOD.split()]
    with pytest.raises(ConfigError) as caught:
        check(*overrides)
    assert f"{typed} or less, or another experiment.site" in str(caught.value) or f"type {typed}." in str(caught.value)
    check(*overrides, typed)


def test_the_launcher_that_has_an_option_is_the_one_to_add() -> None:
    for option, launchers in (("partition=cpu", ["submitit_slurm"]), ("gpus=1", ["submitit_slurm", "ray"])):
        override = f"hydra.launcher.{option}"
        with pytest.raises(ConfigError) as caught:
            hydra_keys.check([override], has_engines=True)
        for launcher in ("joblib", "submitit_local", "submitit_slurm", "ray"):
            assert (f"hydra/launcher={launcher}" in str(caught.value)) == (launcher in launchers)
        for launcher in launchers:
            hydra_keys.check([f"hydra/launcher={launcher}", override], has_engines=True)
            composition.compose_untyped([f"hydra/launcher={launcher}", override], with_hydra=True)
    with pytest.raises(ConfigError, match="no option of hydra/launcher is named 'partitoin'. Did you mean partition"):
        hydra_keys.check(["hydra.launcher.partitoin=cpu"], has_engines=True)


def test_a_hint_on_a_key_is_a_key() -> None:
    """`Did you mean KEY?` gives a key that takes the value; far-off names get no guess."""
    for given, value, meant in (
        ("epochs", "3", "training.epochs"),
        ("training.epoch", "3", "training.epochs"),
        ("trainng.epochs", "3", "training.epochs"),
        ("optimizer", "sgd", "training.optimizer"),
        ("model.hidden_size", "[3]", "model.hidden_sizes"),
        ("modle", "mlp", "model"),
        ("sede", "3", "seed"),
        ("lr", "0.1", "training.learning_rate"),
        ("training.lr", "0.1", "training.learning_rate"),
        ("trainer.max_epochs", "3", "training.epochs"),
        ("training.n_epochs", "3", "training.epochs"),
        ("bs", "3", "training.batch_size"),
        ("model.hidden", "[3]", "model.hidden_sizes"),
        ("random_seed", "3", "seed"),
    ):
        with pytest.raises(ConfigError, match=f"Did you mean {meant}\\?"):
            composition.compose([f"{given}={value}"])
        composition.compose([f"{meant}={value}"])
    for given in ("experiment.foo=1", "foo.bar=1", "strength=3"):
        with pytest.raises(ConfigError) as caught:
            composition.compose([given])
        assert "Did you mean" not in str(caught.value) and "Allowed here: ." not in str(caught.value)
    with pytest.raises(ConfigError, match=r"Allowed here: model\.outputs\.$"):
        composition.compose(["model=skip", "model.width=3"])


def test_a_value_in_quotes_is_read() -> None:
    with pytest.raises(ConfigError, match="values with spaces, commas, < or > in quotes"):
        composition.compose(["expect={accuracy: >=0.9}"])
    assert composition.compose(['expect={accuracy: ">=0.9"}']).expect == {"accuracy": ">=0.9"}

"""The networks on which `mi-run bench` judges methods: fixed lists, each with a version in its name.

    list → families (a task and a shape, or a kind of planted weights) → settings (an activation, or a formula)
         → networks (a seed each) → the options of a run of experiment=discovery

A list never changes, so that figures of two papers compare: other networks make another list, with another name.
Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mi_runner.errors import ConfigError

TRAINED, PLANTED = "trained", "planted"
"""Kinds of families: weights that are trained, and weights that are compiled from a formula."""


@dataclass(frozen=True)
class Setting:
    """What the networks of several seeds share.

    Attributes:
        name: the activation of trained networks, the formula of planted ones.
        overrides: options of a run, besides those of the family.
        is_small: whether the small part of the list has it.
    """

    name: str
    overrides: tuple[str, ...]
    is_small: bool = False


@dataclass(frozen=True)
class Family:
    """Networks of one task and shape, or planted ones of one kind.

    Attributes:
        name: as tables have it.
        kind: trained or planted.
        meaning: in a sentence without a full stop, for docs and pages.
        overrides: the options that all its networks share.
        settings: at least one.
        least_accuracy: a network whose accuracy on the test examples is below this has not learned its task: nothing
            is judged on it.
        is_control: whether its circuits are those of another family, beside edges that closing leaves out. It has rows
            of its own, and doesn't count in rows over several families.
        can_be_wrong: whether a circuit can keep an edge that isn't planted. Otherwise every method finds the planted
            circuit, which keeps all, and that says nothing.
    """

    name: str
    kind: str
    meaning: str
    overrides: tuple[str, ...]
    settings: tuple[Setting, ...]
    least_accuracy: float
    is_control: bool = False
    can_be_wrong: bool = False


@dataclass(frozen=True)
class Network:
    """A network of a list.

    Attributes:
        overrides: options of experiment=discovery that make it.
    """

    family: Family
    setting: Setting
    seed: int
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its family, setting and seed."""
        return f"{self.family.name} {self.setting.name} {self.seed}"


@dataclass(frozen=True)
class NetworkList:
    """A list of networks, and how methods are judged on each.

    Attributes:
        name: with its version.
        overrides: the options that all runs share.
        families: in the order of the tables.
        n_seeds: seeds of each setting, from 0.
    """

    name: str
    overrides: tuple[str, ...]
    families: tuple[Family, ...]
    n_seeds: int

    def networks(self, *, families: Sequence[str], is_small: bool, n_seeds: int) -> Iterator[Network]:
        """Yields the networks of some families, seed by seed, so that a list that is stopped early has all families.

        Args:
            is_small: the settings of the small part alone.
            n_seeds: seeds of each setting, from 0.
        """
        for seed in range(n_seeds):
            for family in self.families:
                for setting in family.settings if family.name in families else ():
                    if setting.is_small or not is_small:
                        yield self._network(family, setting, seed)

    def network(self, family: str, setting: str, seed: int) -> Network:
        """Returns the network of these names and this seed.

        Raises:
            ConfigError: the list has none.
        """
        for own in self.families:
            for each in own.settings:
                if (own.name, each.name) == (family, setting):
                    return self._network(own, each, seed)
        raise ConfigError(f"{self.name} has no network {family} {setting}: another version of mi-run made this bench.")

    def _network(self, family: Family, setting: Setting, seed: int) -> Network:
        overrides = (*self.overrides, *family.overrides, *setting.overrides, f"seed={seed}")
        return Network(family, setting, seed, overrides)


# --- trained networks ------------------------------------------------------------------------------------------------

ACTIVATIONS = {"leaky_relu": "leaky_relu", "relu": "none", "tanh": "tanh"}
"""The activation of hidden layers → that of the output where it is a value.

LeakyReLU as published. A ReLU behind the output would answer 0 for every input in most networks, and learn no more.
"""

_TRAINED = ("model=mlp", "training.optimizer=adam", "training.batch_size=64")
_BOOLEAN = ("dataset=logic", "training.epochs=200", "training.learning_rate=0.003", "training.stop_loss=0.01")
_MNIST = ("training.learning_rate=0.001",)


def _activations(small: Sequence[str] = (), *, output: str | None = None) -> tuple[Setting, ...]:
    """Returns a setting for each activation.

    Args:
        small: the activations that the small part has.
        output: the activation of the output; None: that of `ACTIVATIONS`.
    """
    return tuple(
        Setting(
            name, (f"model.activation={name}", f"model.output_activation={output or of_output}"), is_small=name in small
        )
        for name, of_output in ACTIVATIONS.items()
    )


def _boolean(function: str, sizes: Sequence[int], small: Sequence[str] = ()) -> Family:
    """Returns the family of networks of a Boolean function with hidden layers of these sizes."""
    n_inputs = 3 if function in ("PARITY", "MAJORITY") else 2
    shape = "-".join(map(str, (n_inputs, *sizes, 1)))
    hidden = ",".join(map(str, sizes))
    overrides = (*_TRAINED, *_BOOLEAN, f"dataset.functions=[{function}]", f"model.hidden_sizes=[{hidden}]")
    meaning = f"{shape} networks trained on {function} of {n_inputs} inputs; examples are all {2**n_inputs} inputs"
    return Family(f"{function.lower()}-{shape}", TRAINED, meaning, overrides, _activations(small), 1.0)


# --- planted networks ------------------------------------------------------------------------------------------------

FORMULAS = {
    "A & B": "0001",
    "~A | B": "1101",
    "(A & ~B) | (~A & B)": "0110",
    "A & B & C": "00000001",
    "(A & B) | C": "01010111",
    "(A & B) | (~A & C)": "01010011",
}
"""Formula → its truth table, over the inputs in ascending order, the first input the highest digit."""


def _formulas(small: Sequence[str] = ()) -> tuple[Setting, ...]:
    return tuple(
        Setting(formula, (f"dataset.functions=['{table}']", f"model.formula='{formula}'"), is_small=formula in small)
        for formula, table in FORMULAS.items()
    )


def _planted(
    name: str,
    meaning: str,
    overrides: tuple[str, ...],
    small: Sequence[str] = (),
    *,
    is_control: bool = False,
    can_be_wrong: bool = False,
) -> Family:
    """Returns the family of planted networks of a kind; all their layers are analysed."""
    shared = ("dataset=logic", "model=planted", "experiment.last_layers=null")
    return Family(
        f"planted-{name}",
        PLANTED,
        f"formulas that are planted {meaning}",
        (*shared, *overrides),
        _formulas(small),
        1.0,
        is_control,
        can_be_wrong,
    )


_IGNORED = ("model.distractors=2", "model.distractor_kind=ignored")

BENCH_1 = NetworkList(
    name="bench-1",
    overrides=("experiment=discovery", "experiment.ablation=both", "experiment.repeats=5", "experiment.bootstrap=20"),
    families=(
        Family(
            "mnist01-3-3-3-1",
            TRAINED,
            "the last three layers of the published 784-128-128-3-3-3-1 networks on MNIST 0/1",
            (
                *_TRAINED,
                *_MNIST,
                "dataset=mnist01",
                "dataset.target=value",
                "dataset.normalization=symmetric",
                "model.hidden_sizes=[128,128,3,3,3]",
                "training.epochs=10",
            ),
            _activations(["leaky_relu"]),
            0.99,
        ),
        Family(
            "mnist-3-3-10",
            TRAINED,
            "the last two layers of 784-128-128-3-3-10 networks on MNIST, a logit for each digit",
            (
                *_TRAINED,
                *_MNIST,
                "dataset=mnist",
                "dataset.target=class",
                "model.hidden_sizes=[128,128,3,3]",
                "training.epochs=5",
                "experiment.last_layers=2",
                "experiment.examples=1000",
            ),
            _activations(output="none"),
            0.7,
        ),
        *(_boolean(function, (3, 3), ["leaky_relu", "tanh"]) for function in ("XOR", "AND", "IMP")),
        *(_boolean(function, (4, 4)) for function in ("XOR", "AND", "IMP")),
        *(_boolean(function, (3, 3), ["leaky_relu"]) for function in ("PARITY", "MAJORITY")),
        _planted("plain", "without further neurons", (), ["(A & ~B) | (~A & B)"]),
        _planted("ignored", "beside neurons that nothing reads", _IGNORED, ["(A & B) | C"], is_control=True),
        _planted(
            "cancelling",
            "beside twin neurons that cancel",
            ("model.distractors=2", "model.distractor_kind=cancelling"),
            ["(A & ~B) | (~A & B)", "(A & B) | C"],
            can_be_wrong=True,
        ),
        _planted("copies", "with two copies of each neuron", ("model.copies=2",), ["(A & B) | C"]),
        _planted(
            "noise",
            "with noise on all weights, beside neurons that nothing reads",
            (*_IGNORED, "model.noise=0.1"),
            ["(A & ~B) | (~A & B)", "(A & B) | C"],
        ),
    ),
    n_seeds=10,
)

LISTS = {BENCH_1.name: BENCH_1}
"""Every list by its name."""

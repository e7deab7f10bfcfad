"""The examples that circuits are found on, and those that they are judged on, as the analysed layers see them.

A circuit looks too good on the examples on which it was found or chosen, because it was chosen for them.
`experiment.judge_on` says on which other examples it is judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mi_runner import chance
from mi_runner.datasets.distinct import first_of_equal, is_every_boolean_input
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.methods.circuits.cut import check_cut, entering_activations
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.tables.names import ALL

if TYPE_CHECKING:
    from mi_runner.config.experiments.circuit_options import JudgeOn
    from mi_runner.datasets import Dataset
    from mi_runner.datasets.outputs import Outputs
    from mi_runner.graph.chain import Part
    from mi_runner.graph.model_graph import ModelGraph


@dataclass(frozen=True)
class Examples:
    """Inputs `(N, *input)` and targets `(N,)` or `(N, outputs)`, on the data set's device."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class FoundAndJudged:
    """The examples that circuits are found on, and those that they are judged on.

    Attributes:
        found: the methods, the search and the choice of a circuit see these alone.
        judged: the same object where they are the same examples.
        words: what the two are, for a sentence.
    """

    found: Examples
    judged: Examples
    words: str

    @property
    def differ(self) -> bool:
        """Whether circuits are judged on other examples than those that they are found on."""
        return self.judged is not self.found

    @property
    def are_all_inputs(self) -> bool:
        """Whether the examples that circuits are judged on are all inputs there are, so that none is sampled."""
        return is_every_boolean_input(self.judged.x)


def examples_of(dataset: Dataset, judge_on: JudgeOn, seed: int, most: int | None = None) -> FoundAndJudged:
    """Returns the examples that `experiment.judge_on` asks for.

    Args:
        most: of the test examples, and of the training ones, so many are drawn if there are more; None: all.

    Raises:
        ConfigError: the test examples can't be halved.
    """
    test = _drawn(Examples(dataset.x_test, dataset.y_test), most, seed, "test")
    if judge_on.name == "test":
        which = "the test examples" if len(test) == len(dataset.x_test) else f"{len(test):,} of the test examples"
        return FoundAndJudged(test, test, f"found and judged on {which}")
    if judge_on.name == "train":
        train = _drawn(Examples(dataset.x_train, dataset.y_train), most, seed, "training")
        return FoundAndJudged(
            train, test, f"found on {len(train):,} training examples, judged on {len(test):,} test ones"
        )
    remedy = "Type experiment.judge_on=train or experiment.judge_on=test."
    if is_every_boolean_input(dataset.x_test):
        raise ConfigError(
            f"experiment.judge_on=half: the {len(test)} test examples are all inputs there are, each once, so half of "
            f"them says nothing of the others. {remedy}"
        )
    if len(test) < 2:
        raise ConfigError(f"experiment.judge_on=half: {len(test)} test example can't be halved. {remedy}")
    rows = halves(test.y, chance.generator(seed, "half of the test examples"))
    found, judged = (Examples(test.x[half.to(test.x.device)], test.y[half.to(test.y.device)]) for half in rows)
    others = f"{'the ' if len(test) == len(dataset.x_test) else ''}{len(judged):,} others"  # or others of those drawn
    words = f"found on {len(found):,} of the test examples, judged on {others}"
    return FoundAndJudged(found, judged, words)


def _drawn(examples: Examples, most: int | None, seed: int, split: str) -> Examples:
    """Returns so many of the examples, in their order, drawn without replacement; all if there are no more."""
    if most is None or len(examples) <= most:
        return examples
    generator = chance.generator(seed, f"some of the {split} examples")
    rows = torch.randperm(len(examples), generator=generator)[:most].sort().values
    return Examples(examples.x[rows.to(examples.x.device)], examples.y[rows.to(examples.y.device)])


@dataclass(frozen=True)
class Recorded:
    """Examples as the analysed layers of a network see them; on the CPU.

    Attributes:
        entering: `(N, n_0)`, what enters the analysed layers.
        outputs: `(N, n_L)`, the whole network's outputs.
        y: `(N,)` or `(N, n_L)`, the targets.
        kind: what the outputs are.
    """

    entering: Tensor
    outputs: Tensor
    y: Tensor
    kind: Outputs

    def targets_of(self, output: int | str) -> Tensor:
        """Returns the targets `(N,)` of an output or of all: values, or classes."""
        return self.y if self.kind.are_of_classes else self.y.reshape(len(self.y), -1)[:, int(output)]

    def outputs_of(self, output: int | str) -> Tensor:
        """Returns the whole network's outputs `(N, K)`, K being 1 for one output."""
        return self.outputs if output == ALL else self.outputs[:, [int(output)]]

    def examples(self, output: int | str, valid_by: str = "task") -> CircuitExamples:
        """Returns the examples for the circuits of an output or of all.

        Args:
            output: its number, or `all`.
            valid_by: what makes a circuit valid, as for `CircuitExamples`.
        """
        target, full = self.targets_of(output), self.outputs_of(output)
        target = target if self.kind.are_of_classes else target.round()
        return CircuitExamples(self.entering, target, full if output == ALL else full[:, 0], self.kind, valid_by)

    def accuracy(self, output: int | str, outputs: Tensor | None = None) -> float:
        """Returns the fraction of examples whose answer is their target.

        Args:
            output: of which output; `all`: of the class that all answer.
            outputs: `(N, n_L)`, whose answers count; None: the whole network's.
        """
        given = self if outputs is None else replace(self, outputs=outputs)
        return float(self.kind.correct(given.outputs_of(output), self.targets_of(output)).double().mean())

    def alone(self, part: Part) -> Tensor:
        """Returns the outputs `(N, n_L)` of the analysed layers alone.

        Raises:
            RunFailed: they are not the whole network's.
        """
        try:
            return check_cut(part, self.entering, self.outputs)
        except ValueError as error:
            raise RunFailed(str(error)) from error


def analysed_parts(kind: Outputs, part: Part) -> list[tuple[int | str, Part]]:
    """Returns the analysed parts: of each output alone, by its number, or of `all` that answer a class together.

    Raises:
        ArgumentError: a softmax mixes outputs that are values, so that none can be analysed alone.
    """
    if kind.are_of_classes and not kind.are_of_one:
        return [(ALL, part)]
    return [(index, part.output(index)) for index in range(part.sizes[-1])]


def recorded(graph: ModelGraph, part: Part, examples: Examples, kind: Outputs) -> Recorded:
    """Returns the examples as the analysed layers see them.

    Args:
        kind: what the network's outputs are.

    Raises:
        RunFailed: a value isn't finite, or a circuit's could be too large for float32.
    """
    entering, outputs = entering_activations(graph, part, examples.x)
    return Recorded(entering, outputs, examples.y.cpu(), kind)


def halves(y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns the rows of two random halves of examples, `(N // 2 or one more,)` int64 each, ascending.

    Both halves have as many examples of each target, or one more: examples are sorted by their targets, rounded to
    integers as answers are, in random order among equal ones, and of each two neighbours one is drawn.

    Args:
        y: `(N,)` or `(N, outputs)`, the targets.
    """
    order = torch.randperm(len(y), generator=generator)
    kinds = first_of_equal(y.cpu().reshape(len(y), -1).double().round()[order])[0].cpu()
    order = order[kinds.argsort(stable=True)]
    is_first = torch.rand(-(-len(y) // 2), generator=generator) < 0.5
    in_first = torch.stack([is_first, ~is_first], dim=1).reshape(-1)[: len(y)]
    return order[in_first].sort().values, order[~in_first].sort().values

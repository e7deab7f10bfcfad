"""32 networks trained in one stack: against one of them where calls limit, against one after the other elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.timing import compare
from benchmarks.training_loop import OVERRIDES
from mi_runner.config import composition
from mi_runner.runs.choices import build_network, load_dataset, training_options
from mi_runner.training import stacked as stacked_training
from mi_runner.training.loop import train

SEEDS = range(32)

MOD_ADD = (
    *("dataset=mod_add", "model.hidden_sizes=[5,5,5,5,5]", "model.activation=tanh", "model.bias=false"),
    "training.epochs=3",
)


def made(overrides: Sequence[str]) -> tuple[Callable[[], object], Callable[[int], object]]:
    """What trains the networks of all seeds in one stack, and what trains that of one seed alone."""
    config = composition.compose(overrides)
    first = load_dataset(config.dataset, seed=0)
    builts = [
        build_network(
            config.model, load_dataset(config.dataset, seed=seed) if config.dataset.drawn else first, seed=seed
        )
        for seed in SEEDS
    ]
    networks, data = [built.model for built in builts], [built.dataset for built in builts]
    return (
        lambda: stacked_training.train_together(networks, data, training_options(config.training), seeds=SEEDS),
        lambda seed: train(networks[seed], data[seed], training_options(config.training), seed=seed),
    )


def run() -> None:
    """Print the ratios."""
    stacked, alone = made(MOD_ADD)
    compare(
        "many seeds, modular addition: one network against 32 in a stack (as 'other')",
        lambda: alone(0),
        stacked,
        wanted="at most 3",
    )
    stacked, alone = made(OVERRIDES)
    compare(
        "many seeds, one epoch of mnist01: 32 one after the other against 32 in a stack (as 'other')",
        lambda: [alone(seed) for seed in SEEDS],
        stacked,
        wanted="at most 0.6",
        rounds=3,
    )

"""Every circuit of a small network: the kernel against a loop that runs the masked network once a circuit.

The network is made, not trained: random weights on 2,115 random examples, so that nothing has to be decided but speed.
Ratios are those of CPU seconds; for the tables both do their work on one thread. Of a table with tanh less is wanted
than of one with leaky_relu: each circuit computes the output's activation of each example, and a tanh (20 additions and
multiplications and a division, as vector instructions) takes longer than all else that is done for an example.

The same for outputs that answer a class together.

A table with mean ablation is compared with one with zero ablation, each after the other on one thread.

Last, the whole process of `mi-run experiment=circuits` where the trained model is found.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numba
import numpy as np
import torch

from benchmarks.timing import seconds, spread, took
from mi_runner.graph.chain import Layer, Part
from mi_runner.machine import threads
from mi_runner.methods.circuits.census import take_census
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.measures import CircuitMeasures, measure, measure_one, measure_some
from mi_runner.methods.circuits.minimality import minimality
from mi_runner.methods.circuits.space import CircuitSpace

N_EXAMPLES = 2115
LOOPED = 2000
"""Circuits that the loop does; it would do the others at the same speed."""

LEAST_CORRECT = 2094
"""Correct answers of a valid circuit: more than 99 %."""

LISTED = 100_000


def made(
    sizes: tuple[int, ...], activation: str = "leaky_relu", n_distinct: int = N_EXAMPLES
) -> tuple[Part, CircuitExamples]:
    """A part with an activation after every layer, and examples in two bunches, as a trained network sees two digits.

    Where fewer are distinct, they are repeated. Several outputs answer a class together, without an activation.
    """
    draw = torch.Generator().manual_seed(0)
    part = Part(
        tuple(
            Layer(torch.randn(n_out, n_in, generator=draw), torch.randn(n_out, generator=draw), activation, 0.01)
            for n_in, n_out in itertools.pairwise(sizes)
        )
    )
    if sizes[-1] > 1:
        part = replace(part, layers=(*part.layers[:-1], replace(part.layers[-1], activation="identity")))
    target = torch.randint(0, 2, (N_EXAMPLES,), generator=draw).float()
    x = 2 * target[:, None] + 0.2 * torch.randn(N_EXAMPLES, sizes[0], generator=draw)
    rows = torch.arange(N_EXAMPLES) % n_distinct
    if sizes[-1] > 1:
        return part, CircuitExamples(x[rows], target[rows].long(), part(x[rows]))
    return part, CircuitExamples(x[rows], target[rows], part(x[rows]).squeeze(1))


def run() -> None:
    """Print circuits a second, and the whole process."""
    _tables()
    _ablations()
    _censuses()
    _process()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread within the block."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threads.exactly(1):
            yield
    finally:
        numba.set_num_threads(before)


@torch.no_grad()
def loop_seconds(part: Part, examples: CircuitExamples, circuits: list[int]) -> float:
    """CPU seconds of the loop for a circuit, on one thread: for so few numbers it is no slower than two."""
    with one_thread():
        return took(lambda: [measure_one(part, examples, circuit) for circuit in circuits]).cpu / len(circuits)


def _tables() -> None:
    for sizes, activation, wanted in (
        ((3, 3, 3, 1), "leaky_relu", 150),
        ((3, 3, 3, 1), "tanh", 100),
        ((4, 3, 2), "leaky_relu", 100),
        ((2, 3, 3), "leaky_relu", 100),
    ):
        part, examples = made(sizes, activation)
        circuits = np.concatenate([found.circuit for found in measure(part, examples)])  # compiles, too
        some = np.random.default_rng(0).choice(circuits, LOOPED, replace=False).tolist()

        def table() -> None:
            list(measure(part, examples))  # noqa: B023

        ratios = []
        for _ in range(5):
            with one_thread():
                ours = took(table).cpu / len(circuits)
            ratios.append(loop_seconds(part, examples, some) / ours)
        print(
            f"circuits, table of {'-'.join(map(str, sizes))}, {activation}: "
            f"{len(circuits) / seconds(table):,.0f} circuits/s on "
            f"{numba.get_num_threads()} threads, {1 / ours:,.0f} a CPU second; ratio to the loop {spread(ratios)}; "
            f"wanted at least {wanted}",
            flush=True,
        )


def _ablations() -> None:
    for activation, inputs in (("leaky_relu", "all"), ("leaky_relu", "any"), ("tanh", "all")):
        part, examples = made((3, 3, 3, 1), activation)

        def table(ablation: str) -> float:
            return took(lambda: list(measure(part, examples, ablation=ablation, inputs=inputs))).cpu  # noqa: B023

        with one_thread():
            table("zero")  # compiles
            ratios = [table("mean") / table("zero") for _ in range(7)]
            began = took(lambda: list(measure(part, examples, inputs=inputs))).cpu  # noqa: B023
        valid = CircuitMeasures.joined(list(measure(part, examples, inputs=inputs)))
        valid = valid.kept(valid.n_correct >= np.quantile(valid.n_correct, 0.7))
        space = CircuitSpace(part.sizes, inputs)
        minimality(space, valid.circuit)  # compiles
        levels = took(lambda: minimality(space, valid.circuit)).cpu  # noqa: B023
        print(
            f"circuits, table of 3-3-3-1, {activation}, inputs {inputs}: ratio of mean to zero ablation "
            f"{spread(ratios)}, wanted at most 1.3; minimality of {len(valid):,} valid circuits {levels:.3f} CPU s, "
            f"the table {began:.2f}",
            flush=True,
        )


def _censuses() -> None:
    for small in (made((2, 2, 2, 1)), made((2, 2, 2))):
        measure_some(*small, take_census(*small, LEAST_CORRECT, LISTED)[1])  # compiles
    for sizes, n_distinct in (((3, 4, 4, 1), N_EXAMPLES), ((2, 4, 4, 1), 4), ((4, 4, 2), N_EXAMPLES)):
        part, examples = made(sizes, n_distinct=n_distinct)
        some = take_census(part, examples, 0, LOOPED)[1].tolist()
        count = CircuitSpace(sizes).count()
        for most in (0, LISTED):

            def census() -> None:
                measure_some(part, examples, take_census(part, examples, LEAST_CORRECT, most)[1])  # noqa: B023

            ours = took(census)
            loop = loop_seconds(part, examples, some)
            print(
                f"circuits, census of {'-'.join(map(str, sizes))} on {n_distinct} distinct examples, {most:,} listed: "
                f"{count:,} circuits in {ours.wall:.1f} s, {count / ours.wall:,.0f} circuits/s; "
                f"ratio to the loop {loop * count / ours.cpu:,.0f}",
                flush=True,
            )


def _process() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MI_RUN_CACHE": f"{folder}/cache"}
        command = [sys.executable, "-m", "mi_runner", "experiment=circuits"]

        def process() -> None:
            subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)

        process()  # trains and compiles
        times = [took(process) for _ in range(5)]
    wall, cpu = (spread(column) for column in zip(*times, strict=True))
    print(
        f"mi-run experiment=circuits, model found: {wall} s as a whole process, {cpu} CPU seconds; wanted at most 8",
        flush=True,
    )

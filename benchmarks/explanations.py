"""Explanations of networks of XOR: groundings counted against listed, algorithms, alignments, and whole processes.

The published library lists 165,185 groundings of the valid partial circuits of a network 2-3-3-1 in 34 s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import torch

from benchmarks.timing import seconds, took
from mi_runner.config import composition
from mi_runner.datasets.algorithms import algorithms
from mi_runner.graph.chain import Part, find_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.explanations.alignments import Interchange
from mi_runner.methods.explanations.explain import explain
from mi_runner.methods.explanations.groundings import count_groundings, list_groundings
from mi_runner.runs.choices import build_network, load_dataset, training_options
from mi_runner.training.loop import train

XOR = 0b0110

ROUNDS = 5


def trained(hidden: str) -> Part:
    """The network of `mi-run experiment=explanations` with these hidden layers, trained, as a chain."""
    config = composition.compose(["experiment=explanations", f"model.hidden_sizes={hidden}"])
    dataset = load_dataset(config.dataset, seed=config.seed)
    built = build_network(config.model, dataset, seed=config.seed)
    history = train(built.model, built.dataset, training_options(config.training), seed=config.seed)
    assert history[-1]["reached"], "a network that doesn't answer XOR has few explanations"
    return find_part(ModelGraph.trace(built.model, built.dataset.x_test), None)


@torch.no_grad()
def run() -> None:
    """Print the seconds, and the ratio of groundings."""
    with torch.enable_grad():
        small, large = trained("[3,3]"), trained("[4,4]")
    found = explain(small, XOR)
    circuits = found.circuits.valid[found.is_partial]
    counting = min(seconds(lambda: count_groundings(found.network, circuits)) for _ in range(ROUNDS))
    listing = seconds(lambda: [list_groundings(found.network, circuit) for circuit in circuits.tolist()])
    say(
        f"{found.n_groundings_partial:,} groundings of {len(circuits)} valid partial circuits 2-3-3-1: counted "
        f"{counting:.3g} s, listed {listing:.3g} s, ratio {listing / counting:.3g}",
        "at least 1,000",
    )

    algorithms.cache_clear()
    first, again = (seconds(lambda: algorithms(XOR, 2, 3)) for _ in range(2))
    say(f"algorithms of two variables to depth 3: {first:.3g} s, and {again:.2g} s once they are kept", "at most 1")
    align = min(seconds(lambda: [*map(Interchange(found.network).align, algorithms(XOR, 2, 3))]) for _ in range(ROUNDS))
    say(f"alignments of a network 2-3-3-1 with 250 algorithms: {align:.3g} s", "at most 0.05")

    complete = took(lambda: explain(large, XOR))
    say(f"4,346,385 circuits 2-4-4-1: {complete.wall:.3g} s, CPU {complete.cpu:.3g} s", "at most 30")
    for options in ([], ["experiment.control=false"]):
        whole = took(lambda options=options: mi_run(["experiment=explanations", "seeds=100", *options]))
        named = " ".join(["seeds=100", *options])
        say(f"whole process, {named}, trained anew: {whole.wall:.3g} s, CPU {whole.cpu:.3g} s", "at most 60")


def say(measured: str, wanted: str) -> None:
    """Print a row."""
    print(f"explanations, {measured}; wanted {wanted}", flush=True)


def mi_run(arguments: list[str]) -> None:
    """Runs mi-run in a process of its own with an empty model store."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MI_RUN_CACHE": f"{folder}/cache"}
        command = [sys.executable, "-m", "mi_runner", *arguments, f"output_dir={folder}/outputs"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)

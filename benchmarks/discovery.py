"""Methods that find circuits: the whole process on the published network, and EAP against a forward and backward pass.

The process runs all methods but edge pruning with both ablations, the optimum and 100 resamples; the trained model is
found in the store. EAP takes the whole MLP 784-128-128-10; what it is compared with is one forward and backward pass of
the same layers over the same examples, in the same dtype, which gives the gradients of all weights.
"""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import sys
import tempfile

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.timing import spread, took
from mi_runner.graph.chain import Layer, Part
from mi_runner.methods.discovery.scores import eap

N_EXAMPLES = 10_000
METHODS = "random,magnitude,activation,edge_patching,eap,eap_ig,acdc,greedy"


def run() -> None:
    """Print the ratio of EAP, and the whole process."""
    _eap()
    _process()


def _eap() -> None:
    draw = torch.Generator().manual_seed(0)
    part = Part(
        tuple(
            Layer(torch.randn(n_out, n_in, generator=draw) / n_in**0.5, torch.zeros(n_out), activation)
            for (n_in, n_out), activation in zip(
                itertools.pairwise((784, 128, 128, 10)), ("relu", "relu", "identity"), strict=True
            )
        )
    )
    x = torch.randn(N_EXAMPLES, 784, generator=draw)
    y = torch.randint(10, (N_EXAMPLES,), generator=draw)

    def passes() -> tuple[Tensor, ...]:
        weights = [layer.weight.clone().requires_grad_() for layer in part.layers]
        value = x
        for layer, weight in zip(part.layers, weights, strict=True):
            value = layer.activate(functional.linear(value, weight, layer.bias))
        return torch.autograd.grad(functional.cross_entropy(value, y), weights)

    for ablation in ("zero", "mean"):
        eap(part, x, y, ablation)
        ratios = [took(lambda: eap(part, x, y, ablation)).cpu / took(passes).cpu for _ in range(7)]  # noqa: B023
        print(
            f"discovery, EAP of 784-128-128-10 on {N_EXAMPLES:,} examples, {ablation} ablation: ratio to a forward and "
            f"backward pass {spread(ratios)}; wanted at most 3",
            flush=True,
        )


def _process() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MI_RUN_CACHE": f"{folder}/cache"}
        command = [sys.executable, "-m", "mi_runner", "experiment=discovery", f"experiment.methods=[{METHODS}]"]

        def process() -> None:
            subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)

        process()  # trains and compiles
        times = [took(process) for _ in range(3)]
    wall, cpu = (spread(column) for column in zip(*times, strict=True))
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(
        f"mi-run experiment=discovery without edge pruning, model found: {wall} s as a whole process, {cpu} CPU "
        f"seconds; wanted at most 15. Largest memory {memory:.2f} GB; wanted at most 2",
        flush=True,
    )

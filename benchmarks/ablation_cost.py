"""Ablating each target of torchvision's networks against as many forward passes over the test images."""

from __future__ import annotations

from functools import partial

import torch
from torchvision import models

from benchmarks.timing import spread, took
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.ablation import ablate
from mi_runner.methods.ablation_targets import ablation_targets
from mi_runner.methods.replacements import Method, Source

IMAGES = 100


@torch.no_grad()
def run() -> None:
    """Print for each network and method the seconds of all ablations over those of targets × one forward pass."""
    torch.manual_seed(0)
    x, y = torch.randn(IMAGES, 3, 64, 64), torch.randint(4, (IMAGES,))
    networks = {
        "resnet18": (models.resnet18(num_classes=4), 1, "at most 0.6"),
        # Every so many targets alone, so that the benchmark takes minutes, not an hour.
        "googlenet": (models.googlenet(num_classes=4, aux_logits=False, init_weights=False), 5, "at most 0.7"),
        "densenet121": (models.densenet121(num_classes=4), 32, "at most 0.7"),
    }
    methods: tuple[Method, ...] = ("mean", "resample")
    for name, (model, every, wanted) in networks.items():
        graph = ModelGraph.trace(model.eval(), x[:2])
        targets = ablation_targets(graph)[::every]
        model(x)
        for method in methods:
            forward = [took(partial(model, x)) for _ in range(5)]
            stage = took(partial(ablate, graph, x, y, targets=targets, methods=[method], source=Source(repeats=1)))
            wall = spread([stage.wall / (len(targets) * call.wall) for call in forward])
            cpu = spread([stage.cpu / (len(targets) * call.cpu) for call in forward])
            print(
                f"{name}, {method}, {len(targets)} targets: {stage.wall:.3g} s, over targets × forward pass {wall}, "
                f"of CPU seconds {cpu}; wanted {wanted}",
                flush=True,
            )

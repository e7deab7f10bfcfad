"""The check of an ablation before training, and what it takes for each target of a small and of a large network."""

from __future__ import annotations

from functools import partial

import torch
from torchvision import models

from benchmarks.timing import took
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.ablation import try_ablations
from mi_runner.methods.ablation_targets import ablation_targets


@torch.no_grad()
def run() -> None:
    """Print the seconds of tracing and trying for each network, and those of one forward pass of the tried examples."""
    torch.manual_seed(0)
    x = torch.randn(3, 3, 64, 64)
    for name, wanted in (("resnet18", "less"), ("densenet121", "at most 3 s")):
        model = getattr(models, name)(num_classes=4).eval()
        model(x)
        forward = min(took(partial(model, x)).cpu for _ in range(5))
        traced = took(lambda model=model: ModelGraph.trace(model, x[:2]))
        graph = ModelGraph.trace(model, x[:2])
        targets = ablation_targets(graph)
        tried = took(partial(try_ablations, graph, x, targets))
        wall, cpu = traced.wall + tried.wall, traced.cpu + tried.cpu
        print(
            f"{name}: check of {len(targets)} targets {wall:.3g} s, CPU {cpu:.3g} s, {cpu / forward:.3g} forward "
            f"passes; wanted {wanted}",
            flush=True,
        )

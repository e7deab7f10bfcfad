"""Peak memory of ablating densenet121, whose values take more than the bound, against a forward pass alone."""

from __future__ import annotations

import resource
import subprocess
import sys

PROGRAM = """
import resource
import torch
from torchvision import models
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.ablation import ablate
from mi_runner.methods.ablation_targets import ablation_targets
from mi_runner.methods.replacements import Running
torch.manual_seed(0)
x, y = torch.randn(100, 3, 64, 64), torch.randint(4, (100,))
model = models.densenet121(num_classes=4).eval()
with torch.no_grad():
    model(x)
graph = ModelGraph.trace(model, x[:2])
if {bound}:
    ablate(graph, x, y, targets=ablation_targets(graph)[::64], methods=["mean"], running=Running({bound}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, graph.program.total_size(100))
"""


def run() -> None:
    """Print the peak with a bound of 500 MB, without ablation, and what all values would take."""
    assert resource.getpagesize()  # there are no such figures on Windows
    peaks = {}
    for bound in (0, 500_000_000):
        done = subprocess.run([sys.executable, "-c", PROGRAM.format(bound=bound)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        peaks[bound], everything = map(float, done.stdout.split())
    more = peaks[500_000_000] - peaks[0]
    print(
        f"densenet121, bound 500 MB: {more / 1e6:.0f} MB more than the {peaks[0] / 1e6:.0f} MB of a forward pass; all "
        f"values take {everything / 1e6:.0f} MB; wanted at most 500",
        flush=True,
    )

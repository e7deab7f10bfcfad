"""Training by interchange interventions against pyvene and against ordinary training; drawing ellipses against a loop.

The published setting: 10,000 pairs of ellipses in batches of 256, network and rotation both trained, one direction of
the first convolution's 12,544 units. pyvene's part is its low-rank rotated-space intervention on the same network, the
same pairs and with the same optimizer; it needs `pip install mi-run[bench]`.
"""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.timing import compare, seconds
from mi_runner.config import composition
from mi_runner.datasets import Dataset, ellipses
from mi_runner.experiments import Setting
from mi_runner.experiments.iit import cells as iit_cells
from mi_runner.experiments.iit import trials as iit_trials
from mi_runner.methods.interchange import Aligned, InterchangeTraining, Pairs, draw_pairs, train_by_interchange
from mi_runner.models.cnn import CNN
from mi_runner.runs.choices import build_network, load_dataset, training_options
from mi_runner.training import loop as training

SEED = 42


def drawn_one_by_one(n: int, generator: torch.Generator) -> Tensor:
    """The same images, an image at a time, as the recipe reads."""
    images = []
    for _ in range(n):
        circularity, color, area, direction = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        circularity, color = round(0.3 + 0.7 * circularity, 2), round(0.9 * color, 2)
        area = round(16 * math.pi + 48 * math.pi * area, 2)
        a = math.sqrt(area / (math.pi * circularity))
        b = a * circularity
        if direction < 0.5:
            a, b = b, a
        y, x = np.mgrid[:28, :28] - 13.5
        image = np.ones((28, 28), np.float32)
        image[(x / a) ** 2 + (y / b) ** 2 <= 1] = color
        images.append(image)
    return torch.from_numpy(np.stack(images)[:, None])


class Sited(nn.Module):
    """The CNN with the first convolution's output as what a module of its own returns, `(B, 1, 12544)`, for pyvene."""

    def __init__(self, cnn: CNN) -> None:
        super().__init__()
        self.cnn, self.site = cnn, nn.Identity()
        self.config, self.device = SimpleNamespace(to_dict=dict), torch.device("cpu")

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `(B, 1)`."""
        net = self.cnn
        x = self.site(net.conv1(x).flatten(1).unsqueeze(1)).view(len(x), 16, 28, 28)
        x = net.pool(torch.relu(net.conv2(net.pool(torch.relu(x)))))
        x = torch.relu(net.fc1(torch.flatten(torch.relu(net.conv3(x)), 1)))
        return net.output_activation(net.fc2(x))


def pyvene_epoch(cnn: CNN, dataset: Dataset, pairs: Pairs) -> tuple[float, float]:
    """Seconds that pyvene takes to set up, and for an epoch."""
    import pyvene

    made = []

    def make() -> None:
        rotation = pyvene.LowRankRotatedSpaceIntervention(embed_dim=12544, low_rank_dimension=1)
        network = pyvene.IntervenableModel({"component": "site.output", "intervention": rotation}, model=Sited(cnn))
        network.enable_model_gradients()
        made.append((network, torch.optim.Adam(network.get_trainable_parameters(), lr=5e-4)))

    def epoch() -> None:
        network, optimizer = made[0]
        for index in torch.randperm(len(pairs)).split(256):
            _, outputs = network(
                {"x": dataset.x_train[pairs.base[index]]},
                [{"x": dataset.x_train[pairs.sources[index, 0]]}],
                {"sources->base": 0},
            )
            loss = functional.binary_cross_entropy(outputs.squeeze(1), pairs.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return seconds(make), seconds(epoch)


def command_memory() -> int:
    """The most memory that the whole command takes at any time, in kB: in a process of its own."""
    # Not the operating system's record of a child, which begins with the memory of this process.
    program = (
        "import sys; from mi_runner.cli import command as cli; assert cli.main(sys.argv[1:]) == 0; "
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", program, "experiment=iit", "training.epochs=1"],
            cwd=folder,
            env={**os.environ, "MI_RUN_CACHE": f"{folder}/cache"},
            capture_output=True,
            text=True,
            check=True,
        )
    return int(done.stdout.split()[-2])


def run() -> None:
    """Print the ratios."""

    def at_once() -> Tensor:
        return ellipses.draw(ellipses.sample(10_000, torch.Generator().manual_seed(SEED)))

    def one_by_one() -> Tensor:
        return drawn_one_by_one(10_000, torch.Generator().manual_seed(SEED))

    assert torch.equal(at_once(), one_by_one())
    compare("ellipses, 10,000 images at once against a loop", at_once, one_by_one, wanted="at least 20")

    config = composition.compose(["experiment=iit", f"seed={SEED}"])
    dataset = load_dataset(config.dataset, seed=SEED)
    built = build_network(config.model, dataset, seed=SEED)
    setting = Setting(config.experiment, training_options(config.training), built.model, built.dataset, SEED)
    graph, causal_model = setting.graph(), dataset.causal_model
    assert causal_model is not None and isinstance(built.model, CNN)
    (cell,) = iit_cells.cells(setting, graph, causal_model)
    draw = torch.Generator().manual_seed(SEED)
    pairs = draw_pairs(
        causal_model, causal_model.values_train, cell.places, 10_000, among=torch.arange(10_000), generator=draw
    )
    start = Aligned(built.model, graph, cell.target, iit_trials.alignment_of(setting, cell))

    def our_epoch() -> None:
        copied = start.copied(dataset.x_test[:2], ())
        train_by_interchange(copied, dataset, pairs, InterchangeTraining(), functional_loss, seed=SEED)

    def functional_loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.binary_cross_entropy(outputs.squeeze(1), targets)

    def ordinary_epoch() -> None:
        one = composition.compose(["experiment=iit", "training.epochs=1"]).training
        training.train(copy.deepcopy(built.model), dataset, one, seed=SEED)

    compare(
        "iit, an ordinary epoch against one by interchange", ordinary_epoch, our_epoch, wanted="at most 3", rounds=3
    )
    print(f"iit, most memory of mi-run experiment=iit: {command_memory() / 1e6:.2f} GB; wanted at most 2", flush=True)
    try:
        import pyvene  # noqa: F401
    except ImportError:
        print("iit, against pyvene: skipped, because it is not installed (pip install mi-run[bench])", flush=True)
        return
    for _ in range(2):
        ours = seconds(our_epoch)
        setup, theirs = pyvene_epoch(copy.deepcopy(built.model), dataset, pairs)
        print(
            f"iit, one epoch: ours {ours:.2f} s, pyvene {theirs:.1f} s (and {setup:.1f} s to set up), "
            f"ratio {theirs / ours:.1f}; wanted at least 10",
            flush=True,
        )

"""Probes of ellipses: 10,000 images, four sites of up to 12,544 units, seven sets of variables, all controls."""

from __future__ import annotations

import tempfile

from benchmarks.timing import took
from mi_runner.config import composition
from mi_runner.runs import runner


def run() -> None:
    """Print the seconds of the command, once its network is in the model store."""
    with tempfile.TemporaryDirectory() as folder:
        runner.run(composition.compose(["experiment=train", *SAME_NETWORK, f"output_dir={folder}"]))
        config = composition.compose(["experiment=probes", f"output_dir={folder}"])
        seconds = took(lambda: runner.run(config))
    print(f"probes: {seconds.wall:.0f} s, {seconds.cpu:.0f} CPU seconds; wanted at most 80 s on two cores", flush=True)


SAME_NETWORK = (
    *("dataset=ellipses", "model=cnn", "seed=42", "training.epochs=5", "training.batch_size=256"),
    *("training.learning_rate=0.0005", "training.loss=bce"),
)
"""The network of the experiment, trained before, so that its training isn't timed."""

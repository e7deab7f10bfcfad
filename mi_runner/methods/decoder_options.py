"""How decoders of activation images are built and trained; the defaults are published."""

from __future__ import annotations

from dataclasses import dataclass

from mi_runner.options import option


@dataclass(frozen=True)
class DecoderOptions:
    """How decoders are built and trained. Beside each field stand its default, its meaning and its range.

    Example:
        >>> from mi_runner.decoding import DecoderOptions
        >>> DecoderOptions(epochs=3).hidden_sizes
        (30, 30)
    """

    kernels: int = option(
        3, "number of kernels; at each position the largest response counts", at_least=1, at_most=10_000
    )
    kernel_size: int = option(2, "height and width of a kernel", at_least=1)
    hidden_sizes: tuple[int, ...] = option((30, 30), "units of each hidden layer of the decoder", at_least=1)
    dropout: float = option(0.5, "share of hidden units left out in each step of its training", at_least=0, below=1)
    epochs: int = option(10, "passes over the decoder's training examples, at most", at_least=0)
    stop_loss: float | None = option(
        None, "a decoder stops after an epoch with a mean training loss of at most this, in nats; None: never", above=0
    )
    batch_size: int = option(256, "examples a step of the decoder's training", at_least=1)
    optimizer: str = option("adam", "the decoder's update rule: sgd, adam or adamw")
    learning_rate: float = option(1e-2, "its step size", above=0)

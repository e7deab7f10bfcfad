"""Training the decoder on 9,000 activation images of 5×5: batches in torch against a loop over examples in numpy.

And decoders of ten folds in one stack, against one of them alone.

The loop computes the same network, its gradient by hand, and a step of plain gradient descent for every example. Its
gradient is checked against autograd's before anything is timed.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from benchmarks.timing import seconds
from mi_runner.config.composition import compose
from mi_runner.config.run_schema import RunConfig
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.activation_images import activation_images, hidden_sites
from mi_runner.methods.decoder_training import train_decoder, train_decoders
from mi_runner.methods.decoding import Examples, distinct_examples, split_folds, split_images, variables
from mi_runner.models.activation_decoder import ActivationDecoder
from mi_runner.runs.choices import build_network, load_dataset

FOLDS = 10

LOOPED = 1000
"""Examples that the loop does; it would do the others at the same speed."""


class Loop:
    """The decoder's weights in numpy, and one step of training on one example.

    Letters: K kernels of k×k, P positions, F features, J logits of all heads.
    """

    def __init__(self, decoder: ActivationDecoder, dropout: float, learning_rate: float) -> None:
        def array(tensor: torch.Tensor) -> np.ndarray:
            return tensor.detach().numpy().copy()

        self.kernels = array(decoder.kernels.weight[:, 0])
        self.layers = [[array(m.weight), array(m.bias)] for m in decoder.hidden if isinstance(m, nn.Linear)]
        self.heads = [array(decoder.heads.linear.weight), array(decoder.heads.linear.bias)]
        self.ends = [0, *itertools.accumulate(decoder.heads.n_values)]
        self.dropout, self.learning_rate = dropout, learning_rate
        self.draw = np.random.default_rng(0)

    def gradients(self, image: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        """Of the loss on one image `(H, W)`: of the kernels, then of each layer's weight and bias, the heads last."""
        size = self.kernels.shape[1]
        frames = np.lib.stride_tricks.sliding_window_view(image, (size, size)).reshape(-1, size * size)  # (P, k·k)
        responses = frames @ self.kernels.reshape(len(self.kernels), -1).T  # (P, K)
        winner = responses.argmax(1)
        features = [np.tanh(responses.max(1))]
        activated, kept = [], []
        for weight, bias in self.layers:
            activated.append(np.tanh(weight @ features[-1] + bias))
            kept.append((self.draw.random(len(bias)) >= self.dropout) / (1 - self.dropout))
            features.append(activated[-1] * kept[-1])
        logits = self.heads[0] @ features[-1] + self.heads[1]
        slope = np.empty_like(logits)
        for (start, end), label in zip(itertools.pairwise(self.ends), labels, strict=True):
            share = np.exp(logits[start:end] - logits[start:end].max())
            slope[start:end] = share / share.sum()
            slope[start + label] -= 1
        found = [np.outer(slope, features[-1]), slope]
        slope = self.heads[0].T @ slope
        for number in reversed(range(len(self.layers))):
            slope = slope * kept[number] * (1 - activated[number] ** 2)
            found = [np.outer(slope, features[number]), slope, *found]
            slope = self.layers[number][0].T @ slope
        slope = slope * (1 - features[0] ** 2)
        of_kernels = np.zeros((len(self.kernels), size * size), dtype=image.dtype)
        np.add.at(of_kernels, winner, slope[:, None] * frames)
        return [of_kernels.reshape(self.kernels.shape), *found]

    def step(self, image: np.ndarray, labels: np.ndarray) -> None:
        """A step of gradient descent."""
        weights = [self.kernels, *itertools.chain(*self.layers), *self.heads]
        for weight, gradient in zip(weights, self.gradients(image, labels), strict=True):
            weight -= self.learning_rate * gradient


def check(decoder: ActivationDecoder, images: torch.Tensor, labels: torch.Tensor) -> None:
    """The loop's gradient is autograd's."""
    decoder.eval()
    decoder.zero_grad()
    logits = decoder(images[:1])
    sum(nn.functional.cross_entropy(one, labels[:1, v]) for v, one in enumerate(logits)).backward()
    by_hand = Loop(decoder, 0.0, 0.0).gradients(images[0].numpy(), labels[0].numpy())
    for parameter, gradient in zip(decoder.parameters(), by_hand, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy().reshape(gradient.shape), gradient, atol=1e-5)


def run() -> None:
    """Prints examples a second, then what ten folds cost."""
    examples_a_second()
    folds()


def folds() -> None:
    """Prints the CPU time of ten folds at modulus 5 over that of one of them."""
    wide = ["dataset.modulus=5", "model.hidden_sizes=[16,16,16,16,16]", "experiment.hidden_sizes=[100,100]"]
    config = compose(["experiment=decoder", *wide])
    examples, images = read(config)
    splits = split_folds(images, examples.index, FOLDS, seed=0)
    options = {"hidden_sizes": config.experiment.hidden_sizes, "epochs": 2}
    ratios = []
    for _ in range(5):
        alone = seconds(lambda: train_decoders(images, examples.labels, splits[:1], **options))
        together = seconds(lambda: train_decoders(images, examples.labels, splits, **options))
        ratios.append(together / alone)
    ratios.sort()
    print(
        f"decoder, {FOLDS} folds of {len(images)} images over one fold: ratio {ratios[2]:.3g} "
        f"({ratios[0]:.3g} to {ratios[-1]:.3g}); wanted at most 3",
        flush=True,
    )


def read(config: RunConfig) -> tuple[Examples, torch.Tensor]:
    """Returns the distinct examples and the activation images of an untrained network."""
    dataset = load_dataset(config.dataset, seed=0)
    built = build_network(config.model, dataset, seed=0)
    graph = ModelGraph.trace(built.model, built.dataset.x_test[:2])
    examples = distinct_examples(dataset.x_test, variables(dataset))
    images = activation_images(
        graph,
        examples.x,
        hidden_sites(graph),
        decimals=config.experiment.decimals,
        at_least=config.experiment.kernel_size,
    )
    return examples, images


def examples_a_second() -> None:
    """Prints examples a second."""
    config = compose(["experiment=decoder"])
    examples, images = read(config)
    part = split_images(images, examples.index, config.experiment.test_share, seed=0)
    decoder, _ = train_decoder(images, examples.labels, part, epochs=1)
    labels = torch.stack(list(examples.labels.values()), 1)
    check(decoder, images, labels)
    loop = Loop(decoder, config.experiment.dropout, config.experiment.learning_rate)
    given = [(images[i].numpy(), labels[i].numpy()) for i in part.train[:LOOPED].tolist()]
    rates = []
    for _ in range(5):
        ours = seconds(lambda: train_decoder(images, examples.labels, part, epochs=1)) / len(part.train)
        other = seconds(lambda: [loop.step(*example) for example in given]) / LOOPED
        rates.append(SimpleNamespace(ours=1 / ours, other=1 / other, ratio=other / ours))
    rates.sort(key=lambda rate: rate.ratio)
    print(
        f"decoder, one epoch of {len(part.train):,} images: {rates[2].ours:,.0f} examples/s, the loop over examples "
        f"{rates[2].other:,.0f}, ratio {rates[2].ratio:.3g} ({rates[0].ratio:.3g} to {rates[-1].ratio:.3g}); "
        "wanted at least 10",
        flush=True,
    )

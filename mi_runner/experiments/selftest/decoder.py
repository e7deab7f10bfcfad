"""Does a decoder read a planted code from images, and nothing from noise?

Letters: D images of 4×4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mi_runner.experiments.selftest.networks import set_weights
from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.graph import ModelGraph
from mi_runner.methods.activation_distances import distance_matrix
from mi_runner.methods.activation_images import activation_images
from mi_runner.methods.decoder_training import train_decoder
from mi_runner.methods.decoding import decode, decoding_accuracy, linear_probe, shuffled_labels, split_images

D = 400


def _images() -> tuple[Tensor, dict[str, Tensor]]:
    """Returns noisy images `(D, 4, 4)` that are brighter in the left half where the code is 1, and the codes."""
    draw = torch.Generator().manual_seed(0)
    code = torch.arange(D) % 2
    images = 0.2 * torch.randn(D, 4, 4, generator=draw)
    images[:, :, :2] += code[:, None, None]
    return images, {"code": code}


def _decoded(images: Tensor, labels: dict[str, Tensor]) -> float:
    """Returns the accuracy on held-out images."""
    split = split_images(images, torch.arange(D), 0.5, seed=0)
    decoder, _ = train_decoder(images, labels, split, seed=0, epochs=15, batch_size=50, dropout=0.0)
    return decoding_accuracy(decode(decoder, images), labels, split)["code"].accuracy


def planted() -> Compared:
    return Compared(1.0, _decoded(*_images()), 0.05)


def noise() -> Compared:
    """Compares the accuracy for shuffled codes with ½; four standard deviations of 200 images are 0.14."""
    images, labels = _images()
    return Compared(0.5, _decoded(images, shuffled_labels(labels, seed=0)), 0.15)


def probe() -> Compared:
    """Compares the accuracy of a linear probe on held-out images."""
    images, labels = _images()
    split = split_images(images, torch.arange(D), 0.5, seed=0)
    answers = linear_probe(images.flatten(1), labels, split.train)
    return Compared(1.0, decoding_accuracy(answers, labels, split)["code"].accuracy, 0.05)


def images_of_sites() -> Compared:
    """Compares the image of two sites' values with that by hand: relu(x), and relu of twice that minus 1."""
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    set_weights(first, [[1.0, 0.0], [0.0, 1.0]])
    set_weights(second, [[2.0, 0.0], [0.0, 2.0]], [-1.0, -1.0])
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(2, 1))
    x = torch.tensor([[3.0, -1.0], [0.25, 2.0]])
    expected = [[[3.0, 0.0], [5.0, 0.0]], [[0.25, 2.0], [0.0, 3.0]]]
    found = activation_images(ModelGraph.trace(net, x), x, ["1", "3"])
    return Compared(0.0, float((found - torch.tensor(expected)).abs().max()))


def distances() -> Compared:
    """Compares distances of three images with those of plain Python, by the largest difference."""
    images = [[1.0, 2.0, 3.0], [0.0, -1.0, 5.0], [4.0, 4.0, 4.0]]
    found = distance_matrix(torch.tensor(images)).tolist()
    return Compared(
        0.0,
        max(abs(found[i][j] - math.dist(images[i], images[j])) for i in range(3) for j in range(3)),
        1e-9,
    )


DECODER = (
    Check("planted", "accuracy of a decoder on held-out images with a code", planted),
    Check("noise", "accuracy of a decoder for shuffled codes: chance", noise),
    Check("probe", "accuracy of a linear probe on held-out images with a code", probe),
    Check("images", "largest difference of an activation image to that by hand", images_of_sites),
    Check("distances", "largest difference of distances to plain Python", distances),
)

"""What can be read from a network's hidden activations alone? They are images, and a decoder is trained on them.

docs/decoder.md describes the images, the decoder, its controls and the distances between activations.
"""

from mi_runner.methods.activation_distances import distance_matrix, layer_similarity
from mi_runner.methods.activation_images import activation_images, hidden_sites
from mi_runner.methods.decoder_options import DecoderOptions
from mi_runner.methods.decoder_training import train_decoder, train_decoders
from mi_runner.methods.decoding import (
    decode,
    decoding_accuracy,
    distinct_examples,
    folds_accuracy,
    linear_probe,
    shuffled_labels,
    split_folds,
    split_images,
)

__all__ = [
    "DecoderOptions",
    "activation_images",
    "decode",
    "decoding_accuracy",
    "distance_matrix",
    "distinct_examples",
    "folds_accuracy",
    "hidden_sites",
    "layer_similarity",
    "linear_probe",
    "shuffled_labels",
    "split_folds",
    "split_images",
    "train_decoder",
    "train_decoders",
]

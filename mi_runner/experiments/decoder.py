"""Can a network's inputs and its answer be read from its hidden activations alone?

The hidden activations on an input are stacked to an image, a row a layer. A second network, the decoder, learns to tell
from the image what went in and what the answer is. Three controls say what its accuracy is worth: activations of the
network before training, labels that are shuffled among the inputs (Hewitt & Liang, EMNLP 2019), and linear probes.

Letters: N examples, D distinct ones, H sites and W units of an activation image, V decoded variables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mi_runner.batches import outputs_of
from mi_runner.config.experiment_schemas import DecoderConfig
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.experiments import Result, Setting, decoder_figures
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.activation_images import (
    activation_images,
    hidden_sites,
    image_shape,
    named_sites,
    readable_sites,
)
from mi_runner.methods.decoding import (
    Answers,
    Examples,
    Part,
    causal_variables,
    decode,
    decoding_accuracy,
    distinct_examples,
    image_numbers,
    linear_probe,
    shuffled_labels,
    split_images,
    train_decoder,
    variables,
)
from mi_runner.models.activation_decoder import ActivationDecoder
from mi_runner.progress import log
from mi_runner.statistics import ALL, NONE, NOT_NEGATIVE, SHARE
from mi_runner.training.evaluation import correct
from mi_runner.training.options import TrainingOptions

MOST_NUMBERS = 250_000_000
"""Numbers of all activation images, at most (1 GB)."""

FEW_HELD_OUT = 30
"""Of fewer inputs an accuracy's interval is wider than a third, and a log line says so."""

MOST_SHOWN = 8
"""Inputs whose activation images are drawn."""

UNTRAINED = "untrained"

CONTROLS = (NONE, UNTRAINED, "shuffled")
"""What the decoder itself is trained on: activations and labels as they are, or with one of them made worthless."""

LINEAR = "linear"

NUMBER, EXAMPLE, DECODED = "example_number", "example", "{}_decoded"
"""Columns of answers.csv besides the variables."""

SUMMARY = ("target_accuracy", "n_images", "shared_images")
"""What the summary has besides the accuracies."""

# `all` in the column `decoded`: every variable rightly, of one input; in `site`: the whole activation image.
KEYS = {
    "metrics": ("control", "site", "decoded"),
    "kernels": ("kernel", "row", "column"),
    "answers": (NUMBER,),
    "sites": ("row",),
    "decoder_history": ("control", "epoch"),
}

MEASURES = {
    **dict.fromkeys(("accuracy", "train_accuracy", "target_accuracy", "chance"), SHARE),
    **dict.fromkeys(("n_images", "shared_images"), NOT_NEGATIVE),
}


def check(setting: Setting[DecoderConfig]) -> None:
    """There are sites to read, variables to decode, and room for the activation images.

    Raises:
        ConfigError: there aren't; the text says what to type.
    """
    graph, config = setting.graph(), setting.config
    sites = _sites(graph, config)
    examples = _examples(setting.dataset)
    if ALL in sites:
        raise ConfigError(f"there is a site named '{ALL}', which tables call all of them together: rename it.")
    height, width = image_shape(graph, sites, at_least=config.kernel_size)
    if (numbers := len(examples) * height * width) > MOST_NUMBERS:
        fitting = MOST_NUMBERS // (height * width)
        fewer = f", or type dataset.limit={fitting}" if fitting >= 2 else ""
        raise ConfigError(
            f"{len(examples):,} activation images of {height}×{width} are {numbers:,} numbers, more than "
            f"{MOST_NUMBERS:,}: name fewer or smaller sites (experiment.sites){fewer}."
        )


def metric_names(setting: Setting[DecoderConfig]) -> list[str]:
    """The summary's names: `target_accuracy`, `n_images`, `shared_images`, and one for each row of metrics.csv.

    These are `accuracy/a`, `accuracy/a/untrained`, `accuracy/a/shuffled`, `accuracy/a/linear/layers.1`, and so on.
    """
    sites = _sites(setting.graph(), setting.config)
    rows = [(control, ALL) for control in CONTROLS] + [(LINEAR, site) for site in _probed(sites)]
    decoded = [*_examples(setting.dataset).labels, ALL]
    return [*SUMMARY, *(_metric(control, site, name) for control, site in rows for name in decoded)]


def networks(setting: Setting[DecoderConfig]) -> dict[str, TrainingOptions]:
    """The network before its training, a control."""
    return {UNTRAINED: replace(setting.training, epochs=0)}


def cost(setting: Setting[DecoderConfig]) -> dict[str, int]:
    """Too little to say."""
    return {}


def run(setting: Setting[DecoderConfig]) -> Result:
    """How well each variable is decoded from activations that the decoder was not trained on, and the controls.

    Raises:
        RunFailed: the network has not learned its task, or the decoder's training diverged.
    """
    graph, config, dataset = setting.graph(), setting.config, setting.dataset
    target_accuracy = _accuracy(graph, dataset)
    if target_accuracy < config.min_target_accuracy:
        raise RunFailed(
            f"the network has not learned its task: its test accuracy is {target_accuracy:.4f}, below "
            f"experiment.min_target_accuracy={config.min_target_accuracy:g}. Train it longer (training.epochs), make "
            "it wider or try another seed; with a lower experiment.min_target_accuracy it is "
            "decoded as it is."
        )
    sites = _sites(graph, config)
    examples = _examples(dataset)
    images = _images(graph, examples, sites, config)
    site_rows = _site_rows(graph, sites, images.shape[1], images.shape[2])
    before = setting.graph(setting.networks[UNTRAINED].model)
    images_before = _images(before, examples, sites, config)
    accuracy_before = _accuracy(before, dataset)

    rows: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []

    def measured(
        control: str, site: str, part: Part, labels: Mapping[str, Tensor], answers: Answers, accuracy: float
    ) -> None:
        new = _rows(control, site, part, labels, answers, accuracy)
        rows.extend(new)
        setting.progress.rows("metrics", new)

    part = split_images(images, examples.index, config.test_share, seed=setting.seed)
    if len(part.held_out) < FEW_HELD_OUT:
        log.warning(
            f"each accuracy is of n={len(part.held_out)} held-out inputs, too few to compare networks by; "
            "type a larger experiment.test_share, or several seeds"
        )
    for control, seen, labels, accuracy in (
        (NONE, images, examples.labels, target_accuracy),
        ("untrained", images_before, examples.labels, accuracy_before),
        ("shuffled", images, shuffled_labels(examples.labels, seed=setting.seed), target_accuracy),
    ):
        its_part = split_images(seen, examples.index, config.test_share, seed=setting.seed)
        decoder, epochs = _trained_decoder(setting, seen, labels, its_part, control)
        history += [{"control": control, **epoch} for epoch in epochs]
        answers = decode(decoder, seen)
        measured(control, ALL, its_part, labels, answers, accuracy)
        if control == NONE:
            found, found_answers = decoder, answers
    with setting.progress.bar("linear probes", len(_probed(sites))) as advance:
        for site in _probed(sites):
            features = images if site == ALL else images[:, sites.index(site)]
            answers = linear_probe(features.flatten(1), examples.labels, part.train)
            measured(LINEAR, site, part, examples.labels, answers, target_accuracy)
            advance(1, site)

    metrics = {
        "target_accuracy": target_accuracy,
        "n_images": float(len(image_numbers(images).unique())),
        "shared_images": float(part.n_shared),
    }
    metrics |= {_metric(row["control"], row["site"], row["decoded"]): row["accuracy"] for row in rows}
    return Result(
        tables={
            "metrics": rows,
            "kernels": _kernel_rows(found),
            "answers": _answer_rows(examples, part, found_answers),
            "sites": site_rows,
            "decoder_history": history,
        },
        keys=KEYS,
        metrics=metrics,
        measures=MEASURES,
        figures=_figures(found, images, examples, part, sites, rows),
    )


# --- options as arguments ----------------------------------------------------------------------------------------


def _sites(graph: ModelGraph, config: DecoderConfig) -> list[str]:
    """The sites that are the rows of an activation image: those asked for, or all hidden activations.

    Raises:
        ConfigError: there are none, or one can't be read.
    """
    if config.sites is None:
        if found := hidden_sites(graph):
            return found
        raise ConfigError(
            "the network has no activation function between its layers: name experiment.sites. Sites that can be "
            f"read: {', '.join(readable_sites(graph)) or '(none)'}."
        )
    try:
        return named_sites(graph, config.sites)
    except ConfigError:  # the graph knows no such site: its text needs nothing more
        raise
    except ValueError as error:
        raise ConfigError(f"experiment.{error}") from error


def _images(graph: ModelGraph, examples: Examples, sites: Sequence[str], config: DecoderConfig) -> Tensor:
    return activation_images(graph, examples.x, sites, decimals=config.decimals, at_least=config.kernel_size)


def _examples(dataset: Dataset) -> Examples:
    """The distinct test examples, and what is decoded.

    Raises:
        ConfigError: there is nothing to decode.
    """
    _check_names(dataset, causal_variables(dataset))
    try:
        asked = variables(dataset)
    except ValueError as error:
        raise ConfigError(f"dataset={dataset.name}: {error}") from error
    try:
        return distinct_examples(dataset.x_test, asked, caption=dataset.caption)
    except ValueError as error:
        raise ConfigError(f"dataset={dataset.name}: all test examples have the same {', '.join(asked)}.") from error


def _check_names(dataset: Dataset, names: Iterable[str]) -> None:
    """No variable has a name that the tables use for something else.

    Raises:
        ConfigError: one has; the text says which names are taken.
    """
    columns = [DECODED.format(name) for name in (dataset.label_name, *names)]
    for name in names:
        if name in (taken := (dataset.label_name, ALL, NUMBER, EXAMPLE, *columns)):
            raise ConfigError(
                f"dataset={dataset.name}: the causal model has a variable named '{name}', and the decoder's tables "
                f"have that name for something else ({', '.join(taken[:4])} are taken): rename the variable."
            )


def _trained_decoder(
    setting: Setting[DecoderConfig], images: Tensor, labels: Mapping[str, Tensor], part: Part, control: str
) -> tuple[ActivationDecoder, list[dict[str, Any]]]:
    """The decoder and its history; initial weights, order of the batches and dropout are the same for every control.

    Raises:
        RunFailed: the loss is no longer finite.
    """
    config = setting.config
    try:
        return train_decoder(
            images,
            labels,
            part,
            kernels=config.kernels,
            kernel_size=config.kernel_size,
            hidden_sizes=config.hidden_sizes,
            dropout=config.dropout,
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            optimizer=config.optimizer.name,
            seed=setting.seed,
            progress=setting.progress,
            title="decoder" if control == NONE else f"decoder, {control}",
        )
    except FloatingPointError as error:
        raise RunFailed(f"{error} Try a smaller experiment.learning_rate.") from error


# --- tables ------------------------------------------------------------------------------------------------------


def _rows(
    control: str, site: str, part: Part, labels: Mapping[str, Tensor], answers: Answers, target_accuracy: float
) -> list[dict[str, Any]]:
    """A row for each variable and one for all; `chance` is the share of the training examples' commonest value."""
    return [
        {
            "control": control,
            "site": site,
            "decoded": name,
            "accuracy": found.accuracy,
            "accuracy_low": found.low,
            "accuracy_high": found.high,
            "chance": found.chance,
            "n": found.n,
            "shared_images": part.n_shared,
            "train_accuracy": found.train_accuracy,
            "target_accuracy": target_accuracy,
        }
        for name, found in decoding_accuracy(answers, labels, part).items()
    ]


def _metric(control: str, site: str, name: str) -> str:
    """A row's name in the summary."""
    parts = ["accuracy", name]
    parts += [] if control == NONE else [control]
    return "/".join(parts + ([site] if control == LINEAR else []))


def _site_rows(graph: ModelGraph, sites: Sequence[str], height: int, width: int) -> list[dict[str, Any]]:
    """The rows of an activation image from top to bottom; a log line says what was padded with zeros."""
    units = [graph.site(name).n_units for name in sites]
    padded = [f"{name} by {width - count}" for name, count in zip(sites, units, strict=True) if count < width]
    padded += [f"{height - len(sites)} empty rows at the bottom"] if height > len(sites) else []
    if padded:
        log.info(f"activation images of {height}×{width} are padded with zeros: {', '.join(padded)}")
    rows = enumerate(zip(sites, units, strict=True))
    return [{"row": row, "site": name, "units": count, "padding": width - count} for row, (name, count) in rows]


def _kernel_rows(decoder: ActivationDecoder) -> list[dict[str, Any]]:
    weight = decoder.kernels.weight.detach().squeeze(1)
    return [
        {"kernel": kernel, "row": row, "column": column, "weight": value}
        for kernel, rows in enumerate(weight.tolist())
        for row, values in enumerate(rows)
        for column, value in enumerate(values)
    ]


def _answer_rows(examples: Examples, part: Part, answers: Answers) -> list[dict[str, Any]]:
    """Each example that the decoder was tested on: what is true, what it answered."""
    rows = []
    for example in part.held_out.tolist():
        row: dict[str, Any] = {NUMBER: example, EXAMPLE: examples.caption(example)}
        for (name, values), answer in zip(examples.values.items(), answers, strict=True):
            row[name] = values[int(examples.labels[name][example])]
            row[DECODED.format(name)] = values[int(answer[example])]
        rows.append(row)
    return rows


# --- shared ------------------------------------------------------------------------------------------------------


def _probed(sites: Sequence[str]) -> list[str]:
    """Each site by itself, and all of them."""
    return [*sites, ALL]


def _accuracy(graph: ModelGraph, dataset: Dataset) -> float:
    right = correct(outputs_of(graph, dataset.x_test), dataset.y_test, classes=dataset.has_classes)
    return float(right.double().mean())


def _figures(
    decoder: ActivationDecoder,
    images: Tensor,
    examples: Examples,
    part: Part,
    sites: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    labels = list(examples.labels.values())
    by_values = sorted(part.held_out.tolist(), key=lambda example: [int(label[example]) for label in labels])
    chosen = by_values[:: math.ceil(len(by_values) / MOST_SHOWN)]
    with torch.no_grad():
        responses, filtered = decoder.responses(images[chosen]), decoder.filtered(images[chosen])
    return {
        "kernels": decoder_figures.kernels(decoder.kernels.weight.detach().squeeze(1)),
        "filtered": decoder_figures.filtered_images(
            images[chosen], responses, filtered, [examples.caption(example) for example in chosen], sites
        ),
        "layers": decoder_figures.accuracy_by_layer(rows),
    }

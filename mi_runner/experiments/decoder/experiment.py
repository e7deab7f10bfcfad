"""Can a network's inputs and its answer be read from its hidden activations alone?

The hidden activations on an input are stacked to an image, a row per layer. A second network, the decoder, learns to
read the input and the label from the image. A decoder of its own learns to read the network's own answer, the predicted
label. Three controls say what its accuracy is worth: activations of the network before training, labels that are
shuffled among the inputs (Hewitt & Liang, EMNLP 2019), and linear probes. The distances between the images show which
inputs the network represents alike, layer by layer.

Letters: N examples, D distinct ones, H sites and W units of an activation image, V decoded variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from mi_runner.config.experiments.decoder import DecoderConfig
from mi_runner.config.options import options_of
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError, RunFailed, as_options, of_option
from mi_runner.experiments import Experiment, Result, Setting
from mi_runner.experiments.decoder import images as decoder_images
from mi_runner.experiments.decoder import rows as decoder_rows
from mi_runner.experiments.decoder.images import PREDICTED, Read, distances_between_images
from mi_runner.experiments.decoder.rows import INPUT
from mi_runner.experiments.decoder.tables import (
    ANSWERS,
    DECLARED,
    DECODED,
    DECODER_HISTORY,
    DISTANCES,
    EXAMPLE,
    EXAMPLE_NUMBER,
    FOLD,
    KERNELS,
    LAYER_SIMILARITY,
    METRICS,
    SEPARATION,
    SITES,
)
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.methods.activation_images import (
    hidden_sites,
    image_shape,
    named_sites,
)
from mi_runner.methods.decoder_options import DecoderOptions
from mi_runner.methods.decoder_training import train_decoders
from mi_runner.methods.decoding import (
    DecodingSplit,
    Examples,
    Logits,
    causal_variables,
    decoded_logits,
    distinct_examples,
    image_numbers,
    probe_logits,
    shuffled_labels,
    split_folds,
    split_images,
    variables,
)
from mi_runner.models import check_room
from mi_runner.models.activation_decoder import ActivationDecoder
from mi_runner.models.batches import outputs_of
from mi_runner.progress import Progress, log
from mi_runner.tables.intervals import wilson_interval
from mi_runner.tables.names import ALL, NONE
from mi_runner.training.options import TrainingOptions

MOST_NUMBERS = 250_000_000
"""Numbers of all activation images, at most (1 GB)."""

FEW_HELD_OUT = 30
"""Of fewer inputs an accuracy's interval is wider than a third, and a log line says so."""

USUAL_FOLDS = 10
"""What the log line then proposes."""

TRAINED, UNTRAINED, SHUFFLED, LINEAR = "trained", "untrained", "shuffled", "linear"

CONTROLS = (NONE, UNTRAINED, SHUFFLED)
"""What the decoder itself is trained on: activations and labels as they are, or one of them without information."""

SUMMARY = tuple(number.name for number in DECLARED.summary if number.name != "accuracy")
"""What the summary has besides the accuracies."""


def check(setting: Setting[DecoderConfig]) -> None:
    """Checks that there are sites to read, variables to decode, enough inputs, and room for the activation images.

    Raises:
        ConfigError: there aren't; the text says what to type.
    """
    graph, config = setting.graph(), setting.config
    sites = _sites(graph, config)
    examples = _examples(setting.dataset)
    if config.folds is not None and config.folds > len(examples):
        raise ConfigError(
            f"experiment.folds={config.folds}: each fold holds out another input, and the test set has "
            f"{len(examples):,} different inputs. Type experiment.folds={len(examples)}, or fewer."
        )
    height, width = image_shape(graph, sites, at_least=config.kernel_size)
    n_responses = (height - config.kernel_size + 1) * (width - config.kernel_size + 1)
    with as_options(experiment=["hidden_sizes"]):
        check_room([n_responses, *config.hidden_sizes, 1], "hidden_sizes", f"{{hidden_sizes}}={config.hidden_sizes}")
    if (numbers := len(examples) * height * width) > MOST_NUMBERS:
        fitting = MOST_NUMBERS // (height * width)
        fewer = f", or type dataset.limit={fitting}" if fitting >= 2 else ""
        raise ConfigError(
            f"{len(examples):,} activation images of {height}×{width} are {numbers:,} numbers, more than "
            f"{MOST_NUMBERS:,}: name fewer or smaller sites (experiment.sites){fewer}."
        )


def metric_names(setting: Setting[DecoderConfig]) -> list[str]:
    """Returns the summary's names: `SUMMARY`, and one for each row of metrics.csv.

    These are `accuracy/a`, `accuracy/a/untrained`, `accuracy/a/shuffled`, `accuracy/a/linear/layers.1`, and so on.
    """
    sites = _sites(setting.graph(), setting.config)
    rows = [(control, ALL) for control in CONTROLS] + [(LINEAR, site) for site in _probed(sites)]
    decoded = [*_examples(setting.dataset).labels, ALL, PREDICTED]
    return [*SUMMARY, *(_metric(control, site, name) for control, site in rows for name in decoded)]


def networks(setting: Setting[DecoderConfig]) -> dict[str, TrainingOptions]:
    """Returns the network before its training, a control."""
    return {UNTRAINED: replace(setting.training, epochs=0)}


def run(setting: Setting[DecoderConfig]) -> Result:
    """Returns how well each variable is decoded from activations not seen in training, and the controls.

    Raises:
        RunFailed: the network has not learned its task, the images can't be split, or the decoder's training diverged.
    """
    config, dataset = setting.config, setting.dataset
    graph, before = setting.graph(), setting.graph(setting.networks[UNTRAINED].model)
    _check_task(graph, dataset, config)
    sites = _sites(graph, config)
    examples = _examples(dataset)
    options = {"decimals": config.decimals, "at_least": config.kernel_size}
    trained, untrained = (Read.of(of, dataset, examples, sites, **options) for of in (graph, before))
    splits = _splits(trained.images, examples, setting)
    _warn_of_few_held_out(sum(len(split.held_out) for split in splits), len(examples), len(splits))
    found = _Found(setting.progress)
    for control, read in ((NONE, trained), (UNTRAINED, untrained), (SHUFFLED, trained)):
        _decode(setting, examples, read, control, found)
    _probe(examples, trained, sites, splits, found)
    distances = distances_between_images(
        examples,
        sites,
        {TRAINED: trained, UNTRAINED: untrained},
        label_name=dataset.label_name,
        seed=setting.seed,
    )
    metrics = {
        "target_accuracy": trained.accuracy,
        "n_images": float(len(image_numbers(trained.images).unique())),
        "shared_images": float(sum(split.n_shared for split in splits)),
        "test_loss": found.rows[len(examples.labels)]["test_loss"],
    }
    metrics |= {_metric(row["control"], row["site"], row["decoded"]): row["accuracy"] for row in found.rows}
    (decoders, logits), (answer_decoders, answer_logits) = found.main
    labels, values = {**examples.labels, **trained.predicted}, {**examples.values, **trained.predicted_values}
    of_variables = [[*own, *of_answer] for own, of_answer in zip(logits, answer_logits, strict=True)]
    answers = decoder_rows.answer_rows(examples, splits, labels, values, of_variables)
    pictures = decoder_images.decoder_pictures(decoders[0], trained.images, examples, splits[0], sites, found.rows)
    return Result(
        [
            METRICS.filled(found.rows),
            KERNELS.filled(decoder_rows.kernel_rows(decoders)),
            ANSWERS.for_names(labels).filled(answers),
            SITES.filled(decoder_rows.site_rows(graph, sites, *trained.images.shape[1:])),
            SEPARATION.filled(distances.separation),
            DISTANCES.filled(distances.distances),
            LAYER_SIMILARITY.filled(distances.layer_similarity),
            DECODER_HISTORY.filled(found.history),
        ],
        metrics,
        DECLARED,
        answer=decoder_rows.answer(found.rows),
        figures={**pictures, **distances.figures},
        tensors={
            "decoder": _together(decoders).state_dict(),
            "decoder_predicted": _together(answer_decoders).state_dict(),
        },
        arrays={"activations": decoder_rows.activation_arrays(trained.images, labels, values, splits)},
    )


@dataclass
class _Found:
    """What decoders and probes gave so far.

    Attributes:
        progress: told of the rows.
        rows: of metrics.
        history: rows of all trainings.
        main: the decoders of the variables, and those of the predicted label, without a control: each with its logits.
    """

    progress: Progress
    rows: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    main: list[tuple[list[ActivationDecoder], list[Logits]]] = field(default_factory=list)

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Adds rows of metrics."""
        self.rows += rows
        self.progress.rows("metrics", rows)


def _decode(setting: Setting[DecoderConfig], examples: Examples, read: Read, control: str, found: _Found) -> None:
    """Trains the decoders of a control, those of the variables and that of the predicted label, and adds their rows."""
    splits = _splits(read.images, examples, setting)
    for labels in (examples.labels, read.predicted):
        if control == SHUFFLED:
            labels = shuffled_labels(labels, seed=setting.seed)
        decoders, epochs = _trained_decoders(setting, read.images, labels, splits, control)
        found.history += epochs
        logits = [decoded_logits(decoder, read.images) for decoder in decoders]
        found.add(_accuracy_rows(control, ALL, splits, labels, logits, read))
        if control == NONE:
            found.main.append((decoders, logits))


def _probe(
    examples: Examples, read: Read, sites: Sequence[str], splits: Sequence[DecodingSplit], found: _Found
) -> None:
    """Adds the rows of linear probes of each site and of all of them."""
    with found.progress.bar("linear probes", len(_probed(sites))) as advance:
        for site in _probed(sites):
            features = (read.images if site == ALL else read.images[:, sites.index(site)]).flatten(1)
            for labels in (examples.labels, read.predicted):
                logits = [probe_logits(features, labels, split.train) for split in splits]
                found.add(_accuracy_rows(LINEAR, site, splits, labels, logits, read))
            advance(1, site)


def _warn_of_few_held_out(n_held_out: int, n_examples: int, n_splits: int) -> None:
    if n_held_out < FEW_HELD_OUT:
        folds = min(USUAL_FOLDS, n_examples)
        more = "several seeds" if n_splits > 1 else f"experiment.folds={folds}, or several seeds"
        log.warning(f"each accuracy is of n={n_held_out} held-out inputs, too few to compare networks by; type {more}")


# --- options as arguments ----------------------------------------------------------------------------------------


def _sites(graph: ModelGraph, config: DecoderConfig) -> list[str]:
    """Returns the sites that are the rows of an activation image: those asked for, or all hidden activations.

    Raises:
        ConfigError: there are none, or one can't be read.
    """
    if config.sites is None:
        if found := hidden_sites(graph):
            return found
        able = [name for name in graph.usable_sites if name not in (*graph.inputs, graph.output)] or graph.usable_sites
        raise ConfigError(
            "the network has no activation function between its layers: name sites between them, "
            f"experiment.sites=[{','.join(able)}] or some of these."
        )
    with of_option("experiment.sites"):
        for name in config.sites:
            graph.site(name)
    with as_options(experiment=["sites"]):
        return named_sites(graph, config.sites)


def _check_task(graph: ModelGraph, dataset: Dataset, config: DecoderConfig) -> None:
    """Checks that the network is accurate enough for its activations to be worth decoding.

    Raises:
        RunFailed: it isn't; the text says what to type.
    """
    right = dataset.outputs.correct(outputs_of(graph, dataset.x_test), dataset.y_test)
    accuracy = float(right.double().mean())
    tries = (
        "Train it longer (training.epochs), make it wider or try another seed. "
        "experiment.min_target_accuracy=0 decodes it as it is."
    )
    if config.min_target_accuracy is None:
        commonest = int(dataset.y_test.unique(return_counts=True)[1].max()) / len(right)
        low, _ = wilson_interval(int(right.sum()), len(right))
        if low <= commonest:
            numbers = (
                f"its test accuracy is {accuracy:.4f} (95 % interval from {low:.4f}), and the commonest label alone "
                f"has {commonest:.4f}"
            )
            if accuracy > commonest:
                raise RunFailed(
                    f"{len(right):,} test examples don't show that the network has learned its task: {numbers}. Give "
                    f"more test examples. {tries}"
                )
            raise RunFailed(f"the network has not learned its task: {numbers}. {tries}")
    elif accuracy < config.min_target_accuracy:
        raise RunFailed(
            f"the network has not learned its task: its test accuracy is {accuracy:.4f}, below "
            f"experiment.min_target_accuracy={config.min_target_accuracy:g}. {tries}"
        )


def _splits(images: Tensor, examples: Examples, setting: Setting[DecoderConfig]) -> list[DecodingSplit]:
    """Returns one split, or as many as there are folds.

    Raises:
        RunFailed: all images are equal, so that none can be held out.
    """
    config, n_images = setting.config, len(image_numbers(images).unique())
    if config.folds is None or config.folds == 1:
        return [split_images(images, examples.index, config.test_share, seed=setting.seed)]
    if n_images == 1:
        raise RunFailed("all activation images are equal, so none can be held out. Type experiment.folds=null.")
    if n_images < config.folds:
        log.info(f"{n_images} folds instead of {config.folds}: there are {n_images} different activation images")
    return split_folds(images, examples.index, min(config.folds, n_images), seed=setting.seed)


def _examples(dataset: Dataset) -> Examples:
    """Returns the distinct test examples, and what is decoded.

    Raises:
        ConfigError: there is nothing to decode.
    """
    _check_names(dataset, causal_variables(dataset))
    with as_options():
        asked = variables(dataset)
    if all(len(values.unique()) == 1 for values in asked.values()):
        raise ConfigError(f"dataset={dataset.name}: all test examples have the same {', '.join(asked)}.")
    return distinct_examples(dataset.x_test, asked, caption=dataset.caption)


def _check_names(dataset: Dataset, names: Iterable[str]) -> None:
    """Checks that no variable has a name that the tables use for something else.

    Raises:
        ConfigError: one has; the text says which names are taken.
    """
    columns = [DECODED.format(name) for name in (dataset.label_name, PREDICTED, *names)]
    for name in names:
        if name in (taken := (dataset.label_name, ALL, EXAMPLE_NUMBER, EXAMPLE, FOLD, INPUT, PREDICTED, *columns)):
            raise ConfigError(
                f"dataset={dataset.name}: the causal model has a variable named '{name}', and the decoder's tables "
                f"have that name for something else ({', '.join(taken[:7])} are taken): rename the variable."
            )


# --- what is read ------------------------------------------------------------------------------------------------


def _trained_decoders(
    setting: Setting[DecoderConfig],
    images: Tensor,
    labels: Mapping[str, Tensor],
    splits: Sequence[DecodingSplit],
    control: str,
) -> tuple[list[ActivationDecoder], list[dict[str, Any]]]:
    """Returns a decoder for each split, and their histories; all have the same initial weights and dropout masks.

    Raises:
        RunFailed: the loss is no longer finite.
    """
    config = setting.config
    decoded = PREDICTED if list(labels) == [PREDICTED] else ALL
    title = " ".join(word for word in ("decoder", *(name for name in (control, decoded) if name not in (NONE, ALL))))
    try:
        trained = train_decoders(
            images,
            labels,
            splits,
            options_of(DecoderOptions, config),
            seed=setting.seed,
            progress=setting.progress,
            title=title,
        )
    except FloatingPointError as error:
        raise RunFailed(f"{error} Try a smaller experiment.learning_rate.") from error
    names = {"control": control, "decoded": decoded}
    history = [{**names, FOLD: fold, **row} for fold, (_, rows) in enumerate(trained) for row in rows]
    return [decoder for decoder, _ in trained], history


# --- tables, figures, files --------------------------------------------------------------------------------------


def _probed(sites: Sequence[str]) -> list[str]:
    """Returns each site by itself, and all of them."""
    return [*sites, ALL]


def _metric(control: str, site: str, name: str) -> str:
    """Returns a row's name in the summary."""
    names = ["accuracy", name]
    names += [] if control == NONE else [control]
    return "/".join(names + ([site] if control == LINEAR else []))


def _accuracy_rows(
    control: str,
    site: str,
    splits: Sequence[DecodingSplit],
    labels: Mapping[str, Tensor],
    logits: Sequence[Logits],
    read: Read,
) -> list[dict[str, Any]]:
    """Returns the rows of one decoder or probe, without `all` if only the predicted label is decoded."""
    rows = decoder_rows.accuracy_rows(control, site, splits, labels, logits, read.accuracy)
    return rows if list(labels) != [PREDICTED] else rows[:-1]


def _together(decoders: Sequence[ActivationDecoder]) -> nn.Module:
    """Returns one decoder as it is; several as a list, whose weights begin with the number of the fold."""
    return decoders[0] if len(decoders) == 1 else nn.ModuleList(decoders)


EXPERIMENT: Experiment[DecoderConfig] = Experiment(
    check=check, metric_names=metric_names, run=run, networks=networks, declared=DECLARED
)

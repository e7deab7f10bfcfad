"""Can a network's inputs and its answer be read from its hidden activations alone?

The hidden activations on an input are stacked to an image, a row a layer. A second network, the decoder, learns to tell
from the image what went in and what the answer is. Three controls say what its accuracy is worth: activations of the
network before training, labels that are shuffled among the inputs (Hewitt & Liang, EMNLP 2019), and linear probes.

Letters: N examples, D distinct ones, H sites and W units of an activation image, V decoded variables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mi_runner import chance, threads
from mi_runner.batches import BATCH, batches, outputs_of
from mi_runner.config.schemas import DecoderConfig, TrainingConfig
from mi_runner.datasets import Dataset
from mi_runner.errors import ConfigError, RunFailed
from mi_runner.experiments import Result, Setting, figures
from mi_runner.graph.interventions import read_sites
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.models.activation_decoder import ActivationDecoder, Heads
from mi_runner.progress import log
from mi_runner.statistics import ALL, NONE, NOT_NEGATIVE, SHARE, wilson_interval
from mi_runner.training.evaluation import correct
from mi_runner.training.loop import threads_for
from mi_runner.training.optimizers import make_optimizer, uncompiled

NORMALIZATIONS = {"Softmin", "Softmax", "Softmax2d", "LogSoftmax", "MultiheadAttention"}
"""What torch.nn.modules.activation has besides activation functions."""

ACTIVATION_FUNCTIONS = frozenset(
    name.lower() for name in torch.nn.modules.activation.__all__ if name not in NORMALIZATIONS
)
"""`relu`, `leakyrelu`, `tanh`, …: the modules' names, and without underscores the functions'."""

MOST_NUMBERS = 250_000_000
"""Numbers of all activation images, at most (1 GB)."""

MOST_VALUES = 1000
"""Distinct values of a target that is decoded."""

FEW_HELD_OUT = 30
"""Of fewer inputs an accuracy's interval is wider than a third, and a log line says so."""

MOST_SHOWN = 8
"""Inputs whose activation images are drawn."""

PROBE_PENALTY = 1e-3
"""Of a linear probe: half of this times the sum of its squared weights is added to its loss, which else has no minimum
where the classes can be separated."""

PROBE_STEPS = 200
"""Iterations of L-BFGS for a linear probe, at most."""

CONTROLS = (NONE, "untrained", "shuffled")
"""What the decoder itself is trained on: activations and labels as they are, or with one of them made worthless."""

LINEAR = "linear"

LABEL, NUMBER, EXAMPLE, DECODED = "label", "example_number", "example", "{}_decoded"
"""What a data set's target is called among the variables; columns of answers.csv besides the variables."""

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


def check(setting: Setting) -> None:
    """There are sites to read, variables to decode, and room for the activation images.

    Raises:
        ConfigError: there aren't; the text says what to type.
    """
    graph, config = setting.graph(), _config(setting)
    sites = hidden_sites(graph, config.sites)
    examples = distinct_examples(setting.dataset)
    if ALL in sites:
        raise ConfigError(f"there is a site named '{ALL}', which tables call all of them together: rename it.")
    height, width = image_shape(graph, sites, config.kernel_size)
    if (numbers := len(examples) * height * width) > MOST_NUMBERS:
        fitting = MOST_NUMBERS // (height * width)
        fewer = f", or type dataset.limit={fitting}" if fitting >= 2 else ""
        raise ConfigError(
            f"{len(examples):,} activation images of {height}×{width} are {numbers:,} numbers, more than "
            f"{MOST_NUMBERS:,}: name fewer or smaller sites (experiment.sites){fewer}."
        )


def metric_names(setting: Setting) -> list[str]:
    """The summary's names: `target_accuracy`, `n_images`, `shared_images`, and one for each row of metrics.csv.

    These are `accuracy/a`, `accuracy/a/untrained`, `accuracy/a/shuffled`, `accuracy/a/linear/layers.1`, and so on.
    """
    sites = hidden_sites(setting.graph(), _config(setting).sites)
    rows = [(control, ALL) for control in CONTROLS] + [(LINEAR, site) for site in _probed(sites)]
    decoded = [*distinct_examples(setting.dataset).labels, ALL]
    return [*SUMMARY, *(_metric(control, site, name) for control, site in rows for name in decoded)]


def run(setting: Setting) -> Result:
    """How well each variable is decoded from activations that the decoder was not trained on, and the controls.

    Raises:
        RunFailed: the network has not learned its task, or the decoder's training diverged.
    """
    graph, config, dataset = setting.graph(), _config(setting), setting.dataset
    target_accuracy = _accuracy(graph, dataset)
    if target_accuracy < config.min_target_accuracy:
        raise RunFailed(
            f"the network has not learned its task: its test accuracy is {target_accuracy:.4f}, below "
            f"experiment.min_target_accuracy={config.min_target_accuracy:g}. Train it longer (training.epochs), make "
            "it wider or try another seed; with a lower experiment.min_target_accuracy it is "
            "decoded as it is."
        )
    sites = hidden_sites(graph, config.sites)
    examples = distinct_examples(dataset)
    images = activation_images(graph, examples.x, sites, config)
    site_rows = _site_rows(graph, sites, images.shape[1], images.shape[2])
    before = _untrained(setting)
    images_before = activation_images(before, examples.x, sites, config)
    accuracy_before = _accuracy(before, dataset)
    order = torch.randperm(len(examples), generator=chance.generator(setting.seed, "shuffled labels"))
    shuffled = replace(examples, labels={name: label[order] for name, label in examples.labels.items()})

    rows: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []

    def measured(control: str, site: str, part: Part, given: Examples, answers: Answers, accuracy: float) -> None:
        new = _rows(control, site, part, given, answers, accuracy)
        rows.extend(new)
        setting.progress.rows("metrics", new)

    part = split(images, examples.index, config.test_share, seed=setting.seed)
    if len(part.held_out) < FEW_HELD_OUT:
        log.warning(
            f"each accuracy is of n={len(part.held_out)} held-out inputs, too few to compare networks by; "
            "type a larger experiment.test_share, or several seeds"
        )
    for control, seen, given, accuracy in (
        (NONE, images, examples, target_accuracy),
        ("untrained", images_before, examples, accuracy_before),
        ("shuffled", images, shuffled, target_accuracy),
    ):
        its_part = split(seen, given.index, config.test_share, seed=setting.seed)
        decoder, epochs = train_decoder(setting, seen, given, its_part, control)
        history += [{"control": control, **epoch} for epoch in epochs]
        answers = decoded(decoder, seen)
        measured(control, ALL, its_part, given, answers, accuracy)
        if control == NONE:
            found, found_answers = decoder, answers
    with setting.progress.bar("linear probes", len(_probed(sites))) as advance:
        for site in _probed(sites):
            features = images if site == ALL else images[:, sites.index(site)]
            answers = linear_probe(features.flatten(1), examples, part)
            measured(LINEAR, site, part, examples, answers, target_accuracy)
            advance(1, site)

    metrics = {
        "target_accuracy": target_accuracy,
        "n_images": float(len(_groups(images).unique())),
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


# --- what is read ------------------------------------------------------------------------------------------------


SUMMARY = ("target_accuracy", "n_images", "shared_images")


def hidden_sites(graph: ModelGraph, asked: Sequence[str] | None) -> list[str]:
    """The sites that are the rows of an activation image: those asked for, or all hidden activations.

    A hidden activation is what an activation function of torch gives (`nn.ReLU`, `torch.relu`, `functional.gelu`, …;
    not a softmax), except where it is the network's output.

    Raises:
        ConfigError: the graph has no such site, it has no numbers for each example, or one is named twice.
    """
    able = [name for name, site in graph.sites.items() if not site.obstacle]
    if asked is None:
        found = [name for name in able if name != graph.output and _is_activation(graph, name)]
        if not found:
            raise ConfigError(
                "the network has no activation function between its layers: name experiment.sites. Sites that can be "
                f"read: {', '.join(able) or '(none)'}."
            )
        return found
    for name in asked:
        site = graph.site(name)
        if site.obstacle:
            raise ConfigError(
                f"experiment.sites: {name} can't be read, because it {site.obstacle}. "
                f"Sites that can: {', '.join(able) or '(none)'}."
            )
    if len({graph.site(name).name for name in asked}) < len(asked) or not asked:
        raise ConfigError(f"experiment.sites={list(asked)}: name at least one site, each once.")
    return [graph.site(name).name for name in asked]


def _is_activation(graph: ModelGraph, name: str) -> bool:
    function, _ = graph.function(name)
    called = graph.site(name).module or (function if isinstance(function, str) else getattr(function, "__name__", ""))
    return called.replace("_", "").lower() in ACTIVATION_FUNCTIONS


def image_shape(graph: ModelGraph, sites: Sequence[str], kernel_size: int) -> tuple[int, int]:
    """`(H, W)`: a row for each site, as wide as the widest; at least as large as a kernel."""
    widest = max(graph.site(name).n_units for name in sites)
    return max(len(sites), kernel_size), max(widest, kernel_size)


@torch.no_grad()
def activation_images(graph: ModelGraph, x: Tensor, sites: Sequence[str], config: DecoderConfig) -> Tensor:
    """The values of the sites as images `(D, H, W)` of inputs `(D, *input)`, rounded as the config says.

    A site of several dimensions is flattened. A row that is narrower than the image has zeros at its end; where there
    are fewer sites than a kernel is high, there are rows of zeros at the bottom.
    """
    height, width = image_shape(graph, sites, config.kernel_size)
    images = torch.zeros(len(x), height, width, device=x.device)
    for start, part in zip(range(0, len(x), BATCH), batches(x), strict=True):
        for row, value in enumerate(read_sites(graph, part, sites).values()):
            units = value.reshape(len(part), -1)
            images[start : start + len(part), row, : units.shape[1]] = units
    return images if config.decimals is None else images.round(decimals=config.decimals)


# --- what is decoded ---------------------------------------------------------------------------------------------


def variables(dataset: Dataset) -> dict[str, Tensor]:
    """What can be asked about the test inputs: name → integers `(N,)`.

    The label, and the variables of the data set's causal model that are integers: of modular addition a, b and the sum,
    of MNIST the digit, its parity (d mod 2) and its half (d div 2).

    Raises:
        ConfigError: the target is neither a class nor a few integers.
    """
    y = dataset.y_test
    if y.dim() > 1 or not _few_integers(y):
        raise ConfigError(
            f"dataset={dataset.name}: what is decoded must be one class an example, or one of at most {MOST_VALUES} "
            "different integers. Store such integers in y."
        )
    label = y.long()
    model = dataset.causal_model
    columns = zip(model.variables, model.values_test.unbind(1), strict=True) if model is not None else ()
    found = {name: column.long() for name, column in columns if _few_integers(column)}
    if dataset.name == "mod_add":
        return {**found, "sum": label}
    if dataset.name in ("mnist", "mnist01"):
        if dataset.class_names is not None:
            label = torch.tensor([int(name) for name in dataset.class_names], device=y.device)[label]
        return {"digit": label, **found}
    _check_names(dataset, found)
    return {LABEL: label, **found}


def _check_names(dataset: Dataset, variables: Iterable[str]) -> None:
    """No variable has a name that the tables use for something else.

    Raises:
        ConfigError: one has; the text says which names are taken.
    """
    columns = [DECODED.format(name) for name in (LABEL, *variables)]
    for name in variables:
        if name in (taken := (LABEL, ALL, NUMBER, EXAMPLE, *columns)):
            raise ConfigError(
                f"dataset={dataset.name}: the causal model has a variable named '{name}', and the decoder's tables "
                f"have that name for something else ({', '.join(taken[:4])} are taken): rename the variable."
            )


def _few_integers(values: Tensor) -> bool:
    return torch.equal(values, values.round()) and len(values.unique()) <= MOST_VALUES


@dataclass(frozen=True)
class Examples:
    """The test examples, each distinct one once.

    Attributes:
        x: `(D, *input)`.
        index: `(N,)` int64, which of these each example is.
        values: variable → the integers that it can be, ascending.
        labels: variable → `(D,)` int64, the position of its value in `values`.
    """

    x: Tensor
    index: Tensor
    values: Mapping[str, tuple[int, ...]]
    labels: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.x)

    def caption(self, example: int) -> str:
        """The example in words: `1 + 0 = 1`, or `digit 7, parity 1, half 3`."""
        value = {name: self.values[name][int(label[example])] for name, label in self.labels.items()}
        if list(value) == ["a", "b", "sum"]:
            return "{a} + {b} = {sum}".format(**value)
        return ", ".join(f"{name} {number}" for name, number in value.items())


def distinct_examples(dataset: Dataset) -> Examples:
    """The test examples of a data set, and what can be decoded; a variable that has one value only is left out.

    Raises:
        ConfigError: there is nothing to decode.
    """
    found, values, labels = variables(dataset), {}, {}
    for name, variable in found.items():
        possible, label = variable.unique(return_inverse=True)
        if len(possible) > 1:
            values[name], labels[name] = tuple(possible.tolist()), label
    if not labels:
        raise ConfigError(f"dataset={dataset.name}: all test examples have the same {', '.join(found)}.")
    x = dataset.x_test
    index, first = _first_of_equal(torch.cat([x.flatten(1), torch.stack(list(labels.values()), 1)], 1))
    return Examples(x[first], index, values, {name: label[first] for name, label in labels.items()})


def _first_of_equal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the distinct rows each row is, `(N,)`, and where each of those occurs first, `(D,)`, ascending."""
    number: dict[bytes, int] = {}
    index, first = [], []
    for position, row in enumerate((rows + 0.0).cpu().numpy()):  # −0 becomes 0, which it equals
        key = row.tobytes()
        if key not in number:
            number[key] = len(number)
            first.append(position)
        index.append(number[key])
    return torch.tensor(index, device=rows.device), torch.tensor(first, device=rows.device)


def _groups(images: Tensor) -> Tensor:
    """`(D,)`: equal images have the same number, the others different ones."""
    return _first_of_equal(images.flatten(1))[0]


# --- the split ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """What the decoder is trained and tested on.

    Attributes:
        train: `(n,)`, the distinct example that each training example is.
        held_out: `(h,)`, the distinct examples that it is tested on, each once: equal ones are answered alike.
        n_shared: of the images of these, how many it is trained on as well.
    """

    train: Tensor
    held_out: Tensor
    n_shared: int


def split(images: Tensor, index: Tensor, share: float, *, seed: int) -> Part:
    """Distinct images are held out whole, `share` of them, rounded down.

    Where that is none, `share` of the examples are held out instead; then an image may be in both parts, and
    `n_shared` says how many are.

    Args:
        images: `(D, H, W)`, of each distinct example.
        index: `(N,)`, which of these each example is.
    """
    group = _groups(images)
    n_groups = int(group.max()) + 1
    n_held_out = _part_of(n_groups, share)
    draw = chance.generator(seed, "decoder split")
    if n_held_out:
        is_held_out = torch.zeros(n_groups, dtype=torch.bool)
        is_held_out[torch.randperm(n_groups, generator=draw)[:n_held_out]] = True
        is_held_out = is_held_out.to(index.device)[group]
        return Part(index[~is_held_out[index]], is_held_out.nonzero().squeeze(1), 0)
    shuffled = torch.randperm(len(index), generator=draw).to(index.device)
    n_held_out = max(1, _part_of(len(index), share))
    train, held_out = index[shuffled[n_held_out:]], index[shuffled[:n_held_out]].unique()
    return Part(train, held_out, int(torch.isin(group[held_out].unique(), group[train]).sum()))


def _part_of(n: int, share: float) -> int:
    """`share` of n, rounded down, and never all."""
    return min(n - 1, math.floor(share * n + 1e-9))  # because 0.29 · 100 is 28.999999999999996 in floating point


# --- decoding ----------------------------------------------------------------------------------------------------

Answers = list[Tensor]
"""For each variable the position of the value that was decoded, `(D,)`."""


def train_decoder(
    setting: Setting, images: Tensor, examples: Examples, part: Part, control: str
) -> tuple[ActivationDecoder, list[dict[str, Any]]]:
    """A decoder trained on a part's training examples, in evaluation mode, and a row per epoch.

    The loss is the sum of the variables' cross-entropies. Initial weights, order of the batches and dropout are the
    same for every control.

    Raises:
        RunFailed: the loss is no longer finite.
    """
    config, seed = _config(setting), setting.seed
    n_values = [len(values) for values in examples.values.values()]
    labels = torch.stack(list(examples.labels.values()), 1)
    with chance.global_seed(seed, "decoder initialisation"):
        decoder = ActivationDecoder(
            (images.shape[1], images.shape[2]),
            n_values,
            kernels=config.kernels,
            kernel_size=config.kernel_size,
            hidden_sizes=config.hidden_sizes,
            dropout=config.dropout,
        ).to(images.device)
    parameters = list(decoder.parameters())
    training = TrainingConfig(optimizer=config.optimizer, learning_rate=config.learning_rate)
    optimizer = make_optimizer(parameters, training)
    order = chance.generator(seed, "decoder batch order")
    history: list[dict[str, Any]] = []
    title = "decoder" if control == NONE else f"decoder, {control}"
    with (
        chance.global_seed(seed, "decoder training"),
        threads.exactly(threads_for(decoder, images, config.batch_size)),
        setting.progress.bar(title, config.epochs) as advance,
    ):
        for epoch in range(1, config.epochs + 1):
            decoder.train()
            total = torch.zeros((), device=images.device)
            for batch in torch.randperm(len(part.train), generator=order).to(images.device).split(config.batch_size):
                rows = part.train[batch]
                loss = _loss(decoder(images[rows]), labels[rows]).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(rows)
            decoder.eval()
            mean = float(total) / len(part.train)
            if not math.isfinite(mean):
                raise RunFailed(
                    f"the decoder's training diverged in epoch {epoch}: the loss is {mean}. "
                    "Try a smaller experiment.learning_rate."
                )
            right = float(_right(decoded(decoder, images[part.held_out]), examples, part.held_out)[ALL].double().mean())
            history.append({"epoch": epoch, "loss": mean, "accuracy": right})
            advance(1, f"loss {mean:.4f}  accuracy {right:.4f}")
    decoder.eval()
    return decoder, history


def _loss(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """The sum over variables of the cross-entropy `(B,)` of logits `(B, values)` each, labels `(B, V)`."""
    each = [functional.cross_entropy(one, labels[:, v], reduction="none") for v, one in enumerate(logits)]
    return torch.stack(each).sum(0)


@torch.no_grad()
def decoded(decoder: nn.Module, images: Tensor) -> Answers:
    """The likeliest value of each variable, of images `(D, H, W)`."""
    parts = [[logits.argmax(1) for logits in decoder(part)] for part in batches(images)]
    return [torch.cat(answers) for answers in zip(*parts, strict=True)]


def linear_probe(features: Tensor, examples: Examples, part: Part) -> Answers:
    """What multinomial logistic regression on features `(D, F)` answers.

    It is fitted to a part's training examples, on which the features are standardised; equal ones are one with a
    weight. The loss has a small penalty on the weights (`PROBE_PENALTY`) and one minimum, which L-BFGS looks for.
    """
    rows, counts = part.train.unique(return_counts=True)
    weight = counts / counts.sum()
    mean = weight @ features[rows]
    deviation = (weight @ (features[rows] - mean) ** 2).sqrt()
    standard = (features - mean) / torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))
    labels = torch.stack(list(examples.labels.values()), 1)[rows]
    probe = Heads(features.shape[1], [len(values) for values in examples.values.values()]).to(features.device)
    for parameter in probe.parameters():
        nn.init.zeros_(parameter)
    optimizer = uncompiled(
        torch.optim.LBFGS, list(probe.parameters()), max_iter=PROBE_STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        penalty = PROBE_PENALTY / 2 * probe.linear.weight.square().sum()
        loss = weight @ _loss(probe(standard[rows]), labels) + penalty
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    return decoded(probe, standard)


def _right(answers: Answers, examples: Examples, of: Tensor) -> dict[str, Tensor]:
    """Variable → whether it was decoded rightly, and `all`, whether all were; for the examples `of` `(n,)`."""
    labels = examples.labels.items()
    right = {name: answer == label[of] for (name, label), answer in zip(labels, answers, strict=True)}
    return {**right, ALL: torch.stack(list(right.values())).all(0)}


# --- tables ------------------------------------------------------------------------------------------------------


def _rows(
    control: str, site: str, part: Part, examples: Examples, answers: Answers, target_accuracy: float
) -> list[dict[str, Any]]:
    """A row for each variable and one for all; `chance` is the share of the training examples' commonest value."""
    labels = torch.stack([label[part.train] for label in examples.labels.values()], 1)
    trained_on = part.train.unique()
    everything = torch.arange(len(examples), device=labels.device)
    found = []
    for number, (name, right) in enumerate(_right(answers, examples, everything).items()):
        of_variable = labels if name == ALL else labels[:, [number]]
        n, n_right = len(part.held_out), int(right[part.held_out].sum())
        low, high = wilson_interval(n_right, n)
        found.append(
            {
                "control": control,
                "site": site,
                "decoded": name,
                "accuracy": n_right / n,
                "accuracy_low": low,
                "accuracy_high": high,
                "chance": int(of_variable.unique(dim=0, return_counts=True)[1].max()) / len(labels),
                "n": n,
                "shared_images": part.n_shared,
                "train_accuracy": float(right[trained_on].double().mean()),
                "target_accuracy": target_accuracy,
            }
        )
    return found


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


def _config(setting: Setting) -> DecoderConfig:
    assert isinstance(setting.config, DecoderConfig)
    return setting.config


def _probed(sites: Sequence[str]) -> list[str]:
    """Each site by itself, and all of them."""
    return [*sites, ALL]


def _untrained(setting: Setting) -> ModelGraph:
    """The graph of the network with its initial weights."""
    assert setting.untrained is not None, "this setting was made without a way to build the network anew"
    return ModelGraph.trace(setting.untrained().model, setting.dataset.x_test[:2], leaves=setting.leaves)


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
        "kernels": figures.kernels(decoder.kernels.weight.detach().squeeze(1)),
        "filtered": figures.filtered_images(
            images[chosen], responses, filtered, [examples.caption(example) for example in chosen], sites
        ),
        "layers": figures.decoding_by_layer(rows),
    }

"""The typed schema of every option: name, type, default, meaning, range.

One dataclass for each choice of each config group. `name` is the choice (`model=mlp`), `module` the module that
implements it; both belong to the class, so no config value can name code to run. This module imports no torch,
so that help, completion and a typo answer at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, ClassVar

from omegaconf import MISSING

from mi_runner import threads
from mi_runner.errors import ConfigError


def option(
    default: Any,
    doc: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field with its meaning (one line) and its range; a list's range holds for each element."""
    metadata = {"doc": doc, "at_least": at_least, "above": above, "at_most": at_most, "below": below}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Choice:
    """One choice of a config group: `model=mlp`."""

    name: ClassVar[str]


# --- data sets -------------------------------------------------------------------------------------------------


class Normalization(Enum):
    standard = "standard"
    symmetric = "symmetric"


# `class` is a keyword, so this enumeration can't be written as a class.
Target = Enum("Target", {"class": "class", "value": "value"})


@dataclass
class DatasetConfig(Choice):
    """What every data set has."""

    module: ClassVar[str]
    drawn: ClassVar[bool] = True
    """Whether the examples derive from the run's seed."""

    limit: int | None = option(
        None, "use at most this many training and test examples, for quick tries; null: all", at_least=2
    )


@dataclass
class MnistConfig(DatasetConfig):
    """Handwritten digits, 28×28: 60,000 training and 10,000 test images, in the package."""

    name: ClassVar[str] = "mnist"
    module: ClassVar[str] = "mi_runner.datasets.mnist"
    drawn: ClassVar[bool] = False

    digits: list[int] | None = option(None, "keep only these digits, e.g. [3,8]; null: all ten", at_least=0, at_most=9)
    normalization: Normalization = option(
        Normalization.standard, "pixels: standard (p/255 − 0.1307)/0.3081, symmetric to [−1, 1]"
    )
    target: Target = option(Target["class"], "class: one output a digit; value: one output, the digit as a float")
    root: str | None = option(None, "folder for the unpacked files; null: the user's cache folder")
    download: bool = option(False, "let torchvision fetch the files instead of using the packaged ones")


@dataclass
class Mnist01Config(MnistConfig):
    """MNIST's digits 0 and 1 only: 12,665 training and 2,115 test images."""

    name: ClassVar[str] = "mnist01"

    digits: list[int] | None = option([0, 1], "keep only these digits", at_least=0, at_most=9)


@dataclass
class ModAddConfig(DatasetConfig):
    """Modular addition: two one-hot numbers in, (a + b) mod m out."""

    name: ClassVar[str] = "mod_add"
    module: ClassVar[str] = "mi_runner.datasets.modular_addition"

    target: Target = option(Target["class"], "class: one output a number; value: one output, the sum as a float")
    modulus: int = option(2, "m: a and b are drawn from 0..m−1", at_least=2, at_most=1000)
    train_size: int = option(10_000, "training pairs", at_least=2)
    test_size: int = option(10_000, "test pairs", at_least=2)


@dataclass
class EllipsesConfig(DatasetConfig):
    """A grey ellipse on white, 28×28: is a weighted sum of its circularity, color and area large?"""

    name: ClassVar[str] = "ellipses"
    module: ClassVar[str] = "mi_runner.datasets.ellipses"

    target: Target = option(Target["value"], "value: one output, 0 or 1; class: two outputs")
    train_size: int = option(10_000, "training images", at_least=2)
    test_size: int = option(1_000, "test images", at_least=2)
    coefficients: list[float] = option([0.4, 0.4, 0.4], "weights of circularity, color and area, each from 0 to 1")
    threshold: float = option(0.6, "the label is 1 where the weighted sum is above it")


@dataclass
class ArraysConfig(DatasetConfig):
    """Your own data: an .npz file with x_train, y_train, x_test, y_test."""

    name: ClassVar[str] = "arrays"
    module: ClassVar[str] = "mi_runner.datasets.arrays"
    drawn: ClassVar[bool] = False

    path: str = option(MISSING, "the .npz file; x: (N, features) or (N, [channels,] height, width)")
    target: Target = option(Target["class"], "class: y holds integers 0..K−1; value: y holds numbers")


# --- models ----------------------------------------------------------------------------------------------------


class Activation(Enum):
    relu = "relu"
    leaky_relu = "leaky_relu"
    tanh = "tanh"
    sigmoid = "sigmoid"


class OutputActivation(Enum):
    auto = "auto"
    none = "none"
    relu = "relu"
    leaky_relu = "leaky_relu"
    tanh = "tanh"
    sigmoid = "sigmoid"


@dataclass
class ModelConfig(Choice):
    """What every model has."""

    module: ClassVar[str]


@dataclass
class MlpConfig(ModelConfig):
    """A chain of Linear layers with one activation between them."""

    name: ClassVar[str] = "mlp"
    module: ClassVar[str] = "mi_runner.models.mlp"

    hidden_sizes: list[int] = option([128], "units of each hidden layer; []: a single Linear", at_least=1)
    activation: Activation = option(Activation.relu, "after every hidden layer (leaky_relu's slope is 0.01)")
    bias: bool = option(True, "whether the Linear layers have biases")
    output_activation: OutputActivation = option(
        OutputActivation.none, "after the last layer; auto: sigmoid if the target is one value that is 0 or 1"
    )


@dataclass
class SkipConfig(ModelConfig):
    """TwoLayerSkip: last(x + relu(first(x))), the network of the ablation experiment."""

    name: ClassVar[str] = "skip"
    module: ClassVar[str] = "mi_runner.models.two_layer_skip"


@dataclass
class CnnConfig(ModelConfig):
    """Three 3×3 convolutions of 16, 32, 64 channels, two max-pools, two Linear layers."""

    name: ClassVar[str] = "cnn"
    module: ClassVar[str] = "mi_runner.models.cnn"

    output_activation: OutputActivation = option(
        OutputActivation.auto, "after the last layer; auto: sigmoid if the target is one value that is 0 or 1"
    )


@dataclass
class ExternalConfig(ModelConfig):
    """Your own network: a callable that returns an nn.Module."""

    name: ClassVar[str] = "external"
    module: ClassVar[str] = "mi_runner.models.external"

    factory: str = option(
        MISSING, "package.module:callable; gets input_shape and n_outputs if it has such parameters. Runs code!"
    )
    # Any, because a dict[str, Any] in a structured config takes no new keys from the command line.
    arguments: Any = option(None, "further keyword arguments for the callable, e.g. {width: 64}")
    flatten: bool = option(False, "give the network flat vectors instead of images")
    leaves: list[str] = option([], "submodules to take as one site each, e.g. [block] where it can't be traced")


# --- training --------------------------------------------------------------------------------------------------


class Optimizer(Enum):
    sgd = "sgd"
    adam = "adam"
    adamw = "adamw"


class Loss(Enum):
    auto = "auto"
    cross_entropy = "cross_entropy"
    mse = "mse"
    bce = "bce"


class Regularizer(Enum):
    none = "none"
    clusterability = "clusterability"


@dataclass
class TrainingConfig:
    """How a model is trained."""

    epochs: int = option(3, "passes over the training set", at_least=0)
    batch_size: int = option(64, "examples a step", at_least=1)
    optimizer: Optimizer = option(Optimizer.adam, "the update rule")
    learning_rate: float = option(1e-3, "the optimizer's step size", above=0)
    weight_decay: float = option(0.0, "the optimizer's weight decay", at_least=0)
    momentum: float = option(0.0, "sgd's momentum", at_least=0, below=1)
    loss: Loss = option(Loss.auto, "auto: cross_entropy for target=class, mse for target=value; bce: outputs in 0..1")
    label_smoothing: float = option(0.0, "of cross_entropy; also in every loss that is reported", at_least=0, below=1)
    regularizer: Regularizer = option(
        Regularizer.none, "clusterability: rewards squared weights of one layer that lie inside clusters of its units"
    )
    regularizer_strength: float = option(15.0, "the loss loses this much times the clusterability", at_least=0)
    regularizer_layer: str | None = option(None, "the Linear layer that it is about; null: the middle one")
    regularizer_clusters: int = option(4, "clusters of that layer's units", at_least=2)


# --- experiments -----------------------------------------------------------------------------------------------


class Method(Enum):
    zero = "zero"
    mean = "mean"
    resample = "resample"


class Granularity(Enum):
    site = "site"
    unit = "unit"


class Split(Enum):
    train = "train"
    test = "test"


class Sources(Enum):
    single = "single"
    multi = "multi"


class Alignment(Enum):
    units = "units"
    rotation = "rotation"


class Trained(Enum):
    network = "network"
    rotation = "rotation"
    both = "both"


class Control(Enum):
    other_site = "other_site"
    other_units = "other_units"
    random_rotation = "random_rotation"
    untrained = "untrained"
    shuffled_labels = "shuffled_labels"


class CircuitTable(Enum):
    """What is written of a search: what fits, all rows, those of valid circuits, or none."""

    auto = "auto"
    all = "all"
    valid = "valid"
    none = "none"


@dataclass
class ExperimentConfig(Choice):
    """What every experiment has."""

    module: ClassVar[str]
    takes_seeds: ClassVar[bool] = False
    """Whether it can be about many networks at once, `seeds=32`."""
    headline: ClassVar[str] = "accuracy"
    """The summary metric that a search would make largest."""


@dataclass
class TrainConfig(ExperimentConfig):
    """Train a model; how good is it, on which classes?"""

    name: ClassVar[str] = "train"
    module: ClassVar[str] = "mi_runner.experiments.train"
    takes_seeds: ClassVar[bool] = True


@dataclass
class AblationConfig(ExperimentConfig):
    """Which parts of the network does its answer depend on?"""

    name: ClassVar[str] = "ablation"
    module: ClassVar[str] = "mi_runner.experiments.ablation"

    targets: list[str] | None = option(
        None, "sites (relu), edges (x/add), paths (x/first/relu/add); null: every inner site and forked edge"
    )
    methods: list[Method] = option(
        [Method.zero, Method.mean, Method.resample], "what replaces the value: zero, mean, resample"
    )
    repeats: int = option(3, "draws of the resample method", at_least=1)
    granularity: Granularity = option(
        Granularity.site, "site: a target as a whole; unit: also each of its units by itself (units.csv)"
    )
    source: Split = option(Split.test, "the examples that means and samples come from: test or train")


@dataclass
class CircuitsConfig(ExperimentConfig):
    """How many different sub-networks explain the same behaviour?"""

    name: ClassVar[str] = "circuits"
    module: ClassVar[str] = "mi_runner.experiments.circuits"

    last_layers: int | None = option(3, "Linear layers at the network's end to analyse; null: all", at_least=1)
    accuracy_threshold: float = option(0.99, "a circuit is valid if its accuracy is above it", at_least=0, below=1)
    min_node_sparsity: float = option(
        0.0, "count only circuits that leave out at least this share of hidden neurons", at_least=0, below=1
    )
    table: CircuitTable = option(
        CircuitTable.auto,
        "rows of circuits.parquet: all; valid; none (pairs and pictures are made all the same); "
        "auto: all if they fit, else valid ones",
    )
    max_table_rows: int = option(
        5_000_000, "rows of circuits.parquet at the most; of more valid circuits a random sample", at_least=1
    )
    pairs: bool = option(True, "compare valid circuits with each other (a random sample of them, if many)")


class PruningCriterion(Enum):
    divergence = "divergence"
    all_classes = "all_classes"
    own_class = "own_class"


@dataclass
class ClustersConfig(ExperimentConfig):
    """Does training for clusters make parts of a network that can be switched off?"""

    name: ClassVar[str] = "clusters"
    module: ClassVar[str] = "mi_runner.experiments.clusters"

    layer: str | None = option(None, "the Linear layer whose weights are clustered; null: the middle one")
    n_clusters: int = option(4, "clusters of its output and input units, of sizes as equal as possible", at_least=2)
    strength: float = option(15.0, "the loss loses this much times the clusterability; 0 for the twin", at_least=0)
    controls: int = option(10, "random partitions with clusters of the same sizes, as control", at_least=0)
    top_k: int = option(50, "test images with a unit's largest activations", at_least=1)
    pruning_layers: list[str] | None = option(
        None, "Linear layers whose edges are pruned for each class; null: the clustered one and those behind; []: none"
    )
    pruning_criterion: PruningCriterion = option(
        PruningCriterion.divergence,
        "cut if this grows less: divergence from the full network's answers 'this class or not', all_classes: the loss "
        "of these answers, own_class: the class's loss on its own images (published; degenerates)",
    )
    pruning_threshold: float = option(1e-4, "nats an image by which the criterion may grow at each cut", at_least=0)
    pruning_examples: int = option(1000, "training images on which the criterion is computed", at_least=1)


@dataclass
class DecoderConfig(ExperimentConfig):
    """Can a network's inputs and answer be read from its hidden activations alone?"""

    name: ClassVar[str] = "decoder"
    module: ClassVar[str] = "mi_runner.experiments.decoder"
    headline: ClassVar[str] = "accuracy/all"

    sites: list[str] | None = option(
        None, "sites that are the image's rows, top to bottom; null: every activation function's output"
    )
    decimals: int | None = option(2, "activations are rounded to so many decimals; null: not", at_least=0)
    kernels: int = option(3, "kernels, of which the largest response counts at each position", at_least=1)
    kernel_size: int = option(2, "height and width of a kernel", at_least=1)
    hidden_sizes: list[int] = option([30, 30], "units of each hidden layer of the decoder", at_least=1)
    dropout: float = option(0.5, "share of hidden units left out in each step of its training", at_least=0, below=1)
    test_share: float = option(0.1, "share of the activation images that the decoder is tested on", above=0, below=1)
    epochs: int = option(10, "passes over the decoder's training examples", at_least=0)
    batch_size: int = option(256, "examples a step of the decoder's training", at_least=1)
    optimizer: Optimizer = option(Optimizer.adam, "the decoder's update rule")
    learning_rate: float = option(1e-2, "its step size", above=0)
    min_target_accuracy: float = option(
        0.99, "a network with a lower test accuracy is not decoded: the run fails", at_least=0, at_most=1
    )


@dataclass
class IitConfig(ExperimentConfig):
    """Can a network, or a rotation of a site, be trained to carry chosen variables at a chosen site? (IIT, DAS)"""

    name: ClassVar[str] = "iit"
    module: ClassVar[str] = "mi_runner.experiments.iit"
    headline: ClassVar[str] = "iia"

    # Any, because a list of names and a list of lists are both allowed.
    variables: Any = option(
        None, "swapped together, [circularity,color]; several sets in turn, [[color],[area]]; null: all but the last"
    )
    site: Any = option(None, "where they are to live: conv1; several in turn, [conv1,fc1]; null: the first inner site")
    sources: Sources = option(
        Sources.single, "single: one source example for all variables; multi: one for each, at its own place"
    )
    alignment: Alignment = option(
        Alignment.rotation, "a place is a number of the site's units, or of directions of its rotated space"
    )
    size: int = option(
        1, "units or directions of a place; a place is for each variable, one for all if single", at_least=1
    )
    offsets: list[int] | None = option(
        None, "units: the first unit of each place; null: one place behind the other", at_least=0
    )
    train: Trained = option(Trained.both, "network (IIT), rotation (DAS) or both")
    task_weight: float = option(0.0, "weight of the ordinary loss on the base examples in the loss", at_least=0)
    epochs: int = option(1, "passes over the training pairs", at_least=0)
    batch_size: int = option(256, "pairs a step", at_least=1)
    learning_rate: float = option(
        5e-4, "step size for the network's weights (training.optimizer names the rule)", above=0
    )
    rotation_learning_rate: float = option(5e-3, "step size for the rotation", above=0)
    warmup_steps: int = option(20, "steps in which learning_rate rises from 0 to its value", at_least=0)
    gradient_clip: float | None = option(0.1, "largest norm of a step's gradient; null: any", above=0)
    train_pairs: int = option(10_000, "pairs of training examples", at_least=1)
    test_pairs: int = option(1_000, "pairs of test examples that are no training examples", at_least=1)
    controls: list[Control] = option(
        list(Control), "what the result is compared with; [] for none. The last two train once more"
    )


# --- the whole -------------------------------------------------------------------------------------------------

# `continue` is a keyword, so this enumeration can't be written as a class.
OnError = Enum("OnError", {"continue": "continue", "stop": "stop"})


@dataclass
class RunConfig:
    """One run. The values of the top-level keys stand in conf/config.yaml."""

    dataset: Any = MISSING
    model: Any = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    experiment: Any = MISSING
    seed: int = option(MISSING, "every random draw derives from it", at_least=0)
    seeds: int | None = option(
        MISSING, "with experiment=train: so many networks at once, of seed, seed+1, ...; null: one", at_least=1
    )
    device: str = option(MISSING, "auto, cpu, cuda or cuda:N")
    threads: int | str | None = option(
        MISSING,
        f"CPU threads that torch computes with; figures depend on it. auto: the cores, {threads.MOST} at the most. "
        "Training steps too small to divide take one",
        at_least=1,
    )
    checkpoint: str | None = option(MISSING, "trained weights: a file, a run folder, or null (train, or model store)")
    output_dir: str = option(MISSING, "where run folders are made")
    expect: Any = option(
        MISSING, 'bounds on summary metrics, \'{accuracy: [">=0.9", "<1"], accuracy/7: ">0.8"}\'; else exit 3'
    )
    on_error: OnError = option(MISSING, "after a failed job of a sweep: continue with the others, or stop")
    resume: str | None = option(MISSING, "a sweep's folder: run its jobs that are not done")
    adopt: bool = option(
        MISSING,
        "with resume: wait for jobs that still run or are in a queue; false: cancel them, and run them again",
    )
    plan: bool = option(MISSING, "compose and check every job, list them, and run nothing")
    skip_invalid: bool = option(MISSING, "leave out a sweep's jobs that can't run, instead of refusing the sweep")
    sweep: str | None = option(MISSING, "a sweep's folder: make its tables again from the folders of its jobs")
    objective: str | None = option(MISSING, "the summary metric that hydra/sweeper=optuna makes largest or smallest")


SWEEP_KEYS = ("on_error", "resume", "adopt", "plan", "skip_invalid", "sweep", "objective")
"""Top-level keys that say how many runs are made one result; they change no run."""

EXPERIMENTS: tuple[type[ExperimentConfig], ...] = (
    TrainConfig,
    AblationConfig,
    CircuitsConfig,
    ClustersConfig,
    IitConfig,
    DecoderConfig,
)

SCHEMAS: dict[str, tuple[type[Choice], ...]] = {
    "experiment": EXPERIMENTS,
    "dataset": (MnistConfig, Mnist01Config, ModAddConfig, EllipsesConfig, ArraysConfig),
    "model": (MlpConfig, SkipConfig, CnnConfig, ExternalConfig),
}
"""Config group → its choices, in the order in which help lists them."""


def check_seeds(config: RunConfig) -> None:
    """`seeds` stands with an experiment that can be about many networks, and with nothing that names one.

    Raises:
        ConfigError: it doesn't; the text says what to type.
    """
    if config.seeds is None:
        return
    sweep = f"Type -m 'seed=range({config.seed},{config.seed + config.seeds})' instead of seeds={config.seeds}."
    if not config.experiment.takes_seeds:
        able = ", ".join(schema.name for schema in EXPERIMENTS if schema.takes_seeds)
        raise ConfigError(
            f"seeds={config.seeds} goes with experiment={able}; experiment={config.experiment.name} takes one network. "
            f"{sweep} checkpoint=FOLDER/members/seed_N.safetensors takes one that experiment=train seeds=... trained."
        )
    if config.checkpoint is not None:
        raise ConfigError(
            f"seeds={config.seeds} trains networks; checkpoint={config.checkpoint} is one. Leave one of the two out."
        )


# --- where the jobs of a sweep run, and how they are chosen --------------------------------------------------------


@dataclass
class LauncherConfig(Choice):
    """What every launcher has."""

    extra: ClassVar[str]
    """The extra of mi-run that brings its engine: `pip install 'mi-run[EXTRA]'`."""

    n_jobs: int | None = option(None, "jobs at once; null: as many as cores, but no more than jobs", at_least=1)
    threads: int | None = option(
        None, "cores for a job's compiled kernels; null: cores / jobs at once. No figure depends on it", at_least=1
    )


@dataclass
class JoblibLauncher(LauncherConfig):
    """The cores and devices of this machine, each job in a worker process (joblib's loky)."""

    name: ClassVar[str] = "joblib"
    extra: ClassVar[str] = "parallel"


@dataclass
class SubmititLocalLauncher(LauncherConfig):
    """This machine, each job a process of its own: Slurm's way without Slurm (submitit)."""

    name: ClassVar[str] = "submitit_local"
    extra: ClassVar[str] = "slurm"

    timeout_min: int = option(24 * 60, "minutes after which a job is ended", at_least=1)


@dataclass
class SubmititSlurmLauncher(LauncherConfig):
    """A Slurm cluster, each job a job of the queue."""

    name: ClassVar[str] = "submitit_slurm"
    extra: ClassVar[str] = "slurm"

    n_jobs: int | None = option(100, "jobs in the queue at once; null: all", at_least=1)
    threads: int | None = option(
        None, "cores asked for, those of a job's compiled kernels; null: 4, if a node has them", at_least=1
    )
    timeout_min: int = option(4 * 60, "minutes that a job has", at_least=1)
    mem_gb: float = option(8, "GB of memory asked for", above=0)
    gpus: int = option(0, "GPUs asked for", at_least=0)
    partition: str | None = option(None, "Slurm's partition; null: the cluster's default")
    account: str | None = option(None, "Slurm's account; null: the user's default")
    more: Any = option(None, "more options of sbatch: '{qos: high, constraint: a100}'")


@dataclass
class RayLauncher(LauncherConfig):
    """A Ray cluster, or one that is started on this machine for the sweep."""

    name: ClassVar[str] = "ray"
    extra: ClassVar[str] = "ray"

    address: str | None = option(None, "HOST:PORT of a cluster; null: start Ray here, and stop it at the end")
    gpus: float | None = option(None, "GPUs of a job, e.g. 0.5; null: the cluster's GPUs / jobs at once", at_least=0)


class Direction(Enum):
    maximize = "maximize"
    minimize = "minimize"


@dataclass
class OptunaSweeper(Choice):
    """Searches for the values with the best `objective` (Optuna)."""

    name: ClassVar[str] = "optuna"
    extra: ClassVar[str] = "optuna"

    n_trials: int = option(20, "jobs", at_least=1)
    direction: Direction = option(Direction.maximize, "whether the objective should be large or small")
    seed: int = option(0, "of the search, which draws the first ten jobs at random", at_least=0)


LAUNCHERS = (JoblibLauncher, SubmititLocalLauncher, SubmititSlurmLauncher, RayLauncher)
SWEEPERS = (OptunaSweeper,)
"""Choices of Hydra's groups hydra/launcher and hydra/sweeper besides its own `basic`."""


_RANGE_CHECKS: tuple[tuple[str, str, Callable[[float, float], bool]], ...] = (
    ("at_least", "at least", lambda value, bound: value >= bound),
    ("above", "above", lambda value, bound: value > bound),
    ("at_most", "at most", lambda value, bound: value <= bound),
    ("below", "below", lambda value, bound: value < bound),
)


def check_ranges(config: Any, prefix: str = "") -> None:
    """Each number of a config lies in the range that its field states.

    Raises:
        ConfigError: the first that does not, with its range.
    """
    for item in fields(config):
        value = getattr(config, item.name)
        key = f"{prefix}{item.name}"
        if is_dataclass(value):
            check_ranges(value, f"{key}.")
            continue
        numbers = value if isinstance(value, list) else [value]
        for rule, words, holds in _RANGE_CHECKS:
            bound = item.metadata.get(rule)
            for number in numbers:
                if bound is None or not isinstance(number, int | float):
                    continue
                if not holds(number, bound):  # NaN holds nowhere
                    raise ConfigError(f"{key}={value}: must be {words} {bound:g} ({item.metadata['doc']}).")

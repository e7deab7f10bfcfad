"""The options of each experiment: `experiment=NAME`, `experiment.OPTION=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from mi_runner.config.options import Choice, option
from mi_runner.config.training_schema import Optimizer


class Method(Enum):
    zero = "zero"
    mean = "mean"
    resample = "resample"


class Granularity(Enum):
    site = "site"
    unit = "unit"


class Estimate(Enum):
    none = "none"
    mean = "mean"
    linear = "linear"


class Sources(Enum):
    single = "single"
    multi = "multi"


class AlignmentKind(Enum):
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


class EdgeAblation(Enum):
    """What an edge that is left out of a circuit carries: 0, or its weight times its source's mean."""

    zero = "zero"
    mean = "mean"


class JudgeOn(Enum):
    """The examples that circuits are judged on: the test examples, that they are found on as well, or others."""

    test = "test"
    train = "train"
    half = "half"


class CircuitInputs(Enum):
    """Must a circuit use every input neuron of the analysed layers, or may it leave inputs out?"""

    all = "all"
    any = "any"


class CircuitTable(Enum):
    """The circuits that a search writes: all if they fit, all, valid ones, or none."""

    auto = "auto"
    all = "all"
    valid = "valid"
    none = "none"


@dataclass
class ExperimentConfig(Choice):
    """The attributes of every experiment."""

    module: ClassVar[str]
    takes_seeds: ClassVar[bool] = False
    """Whether it takes many networks at once, `seeds=32`."""
    compares_networks: ClassVar[bool] = False
    """Whether a sweep over the seed ends with a comparison of the networks; the module then has `compare_networks`."""
    headline: ClassVar[str] = "accuracy"
    """The summary metric that a search maximises."""
    compared: ClassVar[tuple[str, ...]] = ("accuracy",)
    """The measures that the printed table of a sweep has: of the jobs' table `summary`, where they have one."""

    @property
    def trains(self) -> bool:
        """Whether the run trains the network; one that doesn't looks at a network with its first weights."""
        return True


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
        None,
        "sites (relu), edges (x/add), paths (x/first/relu/add), patterns (relu*, linear:*, /regex/); null: by depth",
    )
    methods: list[Method] = option(
        [Method.zero, Method.mean, Method.resample], "what replaces the value: zero, mean, resample"
    )
    repeats: int = option(3, "draws of the resample method", at_least=1, at_most=10_000)
    granularity: Granularity = option(
        Granularity.site, "site: a target as a whole; unit: also each of its units by itself (units.csv)"
    )
    source: str = option(
        "test", "the examples that means and samples come from: test, train, or an .npz file of your own with x (and y)"
    )
    agree: str = option(
        "any",
        "what a sample comes from: any example, one of the same or of an other class, or of the class of this name; "
        "but for any, scrubbing.csv has all targets resampled together",
    )
    depth: str = option(
        "auto",
        "targets, where none are named: 1, 2, … one for each submodule at this depth (2: layer1.0); all: every inner "
        "site and forked edge; auto: all if these are at most 40, otherwise the depth with most, but at most 40",
    )
    split: Estimate = option(
        Estimate.none, "splits.csv: what each site does beyond its mean, or beyond a linear function of the input"
    )
    contribution_depth: int = option(
        1, "Linear layers, one behind the other, that contributions.csv splits the logits by", at_least=1
    )
    memory: int = option(
        1000, "megabytes of values that are kept, so that an ablation computes only what lies behind it", at_least=0
    )
    examples: list[int] | None = option(
        None,
        "test examples, by position, whose value that enters the output layer is drawn; null: the first of each class",
        at_least=0,
    )
    list_only: bool = option(False, "list the network's sites, edges and paths; nothing is trained")

    @property
    def trains(self) -> bool:
        return not self.list_only


@dataclass
class CircuitsConfig(ExperimentConfig):
    """How many different sub-networks explain the same behaviour?"""

    name: ClassVar[str] = "circuits"
    module: ClassVar[str] = "mi_runner.experiments.circuits"
    compares_networks: ClassVar[bool] = True

    last_layers: int | None = option(3, "Linear layers at the network's end to analyse; null: all", at_least=1)
    ablation: EdgeAblation = option(
        EdgeAblation.zero, "what an edge that is left out carries: 0; mean: its weight times its source's mean"
    )
    inputs: CircuitInputs = option(
        CircuitInputs.all, "all: a circuit uses every neuron that enters the layers; any: it may leave some out"
    )
    accuracy_threshold: float = option(0.99, "a circuit is valid if its accuracy is above it", at_least=0, below=1)
    min_node_sparsity: float = option(
        0.0, "count only circuits that leave out at least this fraction of the hidden neurons", at_least=0, below=1
    )
    table: CircuitTable = option(
        CircuitTable.auto,
        "rows of circuits.parquet: all; valid; none (pairs and figures are made anyway); "
        "auto: all if they fit, otherwise valid ones",
    )
    max_table_rows: int = option(
        5_000_000,
        "largest number of rows of circuits.parquet; of more valid circuits a random sample",
        at_least=1,
        at_most=1_000_000_000,
    )
    pairs: bool = option(True, "compare valid circuits with each other (if they are many, a random sample)")
    judge_on: JudgeOn = option(
        JudgeOn.test,
        "test: circuits are found and judged on the test examples; train: found on the training examples, judged on "
        "the test ones; half: found on half of the test examples, judged on the others",
    )


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
    strength: float = option(15.0, "the loss is reduced by this times the clusterability; 0 for the twin", at_least=0)
    controls: int = option(
        10, "random partitions into clusters of the same sizes, as controls", at_least=0, at_most=10_000
    )
    top_k: int = option(50, "test images with a unit's largest activations", at_least=1)
    pruning_layers: list[str] | None = option(
        None, "Linear layers whose edges are pruned per class; null: the clustered layer and those after it; []: none"
    )
    pruning_criterion: PruningCriterion = option(
        PruningCriterion.divergence,
        "cut if this grows less: divergence from the full network's answers 'this class or not', all_classes: the loss "
        "of these answers, own_class: the class's loss on its own images (published; degenerates)",
    )
    pruning_threshold: float = option(1e-4, "nats per image by which the criterion may grow at each cut", at_least=0)
    pruning_examples: int = option(1000, "training images on which the criterion is computed", at_least=1)


@dataclass
class DecoderConfig(ExperimentConfig):
    """Can a network's inputs and answer be read from its hidden activations alone?"""

    name: ClassVar[str] = "decoder"
    module: ClassVar[str] = "mi_runner.experiments.decoder"
    headline: ClassVar[str] = "accuracy/all"

    sites: list[str] | None = option(
        None, "sites that are the image's rows, from the top; null: every activation function's output"
    )
    decimals: int | None = option(
        2, "activations are rounded to this many decimals; null: not rounded", at_least=0, at_most=15
    )
    kernels: int = option(
        3, "number of kernels; at each position the largest response counts", at_least=1, at_most=10_000
    )
    kernel_size: int = option(2, "height and width of a kernel", at_least=1)
    hidden_sizes: list[int] = option([30, 30], "units of each hidden layer of the decoder", at_least=1)
    dropout: float = option(0.5, "share of hidden units left out in each step of its training", at_least=0, below=1)
    test_share: float = option(0.1, "fraction of the activation images that is held out", above=0, below=1)
    folds: int | None = option(
        None, "10: ten decoders, which together hold out every image once; null or 1: a single split", at_least=1
    )
    epochs: int = option(10, "passes over the decoder's training examples, at most", at_least=0)
    stop_loss: float | None = option(
        None, "a decoder stops after an epoch with a mean training loss of at most this, in nats; null: never", above=0
    )
    batch_size: int = option(256, "examples a step of the decoder's training", at_least=1)
    optimizer: Optimizer = option(Optimizer.adam, "the decoder's update rule")
    learning_rate: float = option(1e-2, "its step size", above=0)
    min_target_accuracy: float | None = option(
        None,
        "a network with a lower test accuracy is not decoded: the run fails; null: it must beat the commonest label",
        at_least=0,
        at_most=1,
    )


@dataclass
class IitConfig(ExperimentConfig):
    """Can a network, or a rotation of a site, be trained to carry chosen variables at a chosen site? (IIT, DAS)"""

    name: ClassVar[str] = "iit"
    module: ClassVar[str] = "mi_runner.experiments.iit"
    headline: ClassVar[str] = "iia"

    # Any, because a list of names and a list of lists are both allowed.
    variables: Any = option(
        None,
        "swapped together, [circularity,color]; several sets in turn, [[color],[area]]; all: every set of up to three "
        "variables; of more, each and all together; null: one set, all except the last",
        text=True,
    )
    site: Any = option(
        None,
        "the site to train: conv1; several in turn, [conv1,fc1]; all: every layer with weights but the last; null: the "
        "first inner site",
        text=True,
    )
    sources: Sources = option(
        Sources.single, "single: one source example for all variables; multi: one per variable, each at its own place"
    )
    alignment: AlignmentKind = option(
        AlignmentKind.rotation, "a place is some of the site's units, or of the directions of its rotated space"
    )
    size: int = option(
        1, "units or directions per place; multi: a place per variable, single: one place for all", at_least=1
    )
    small_site_size: int | None = option(
        None, "size at a site with no more than size units per place, such as fc1 of model=cnn; null: size", at_least=1
    )
    offsets: list[int] | None = option(
        None, "units: the first unit of each place; null: one place after the other", at_least=0
    )
    # Any, because a dict in a structured config takes no new keys from the command line.
    places: Any = option(
        None,
        "units: instead of size and offsets, slices of the site's axes, '{circularity: \"[..., 0:2]\"}'; null: none",
    )
    train: Trained = option(Trained.both, "network (IIT), rotation (DAS) or both")
    task_weight: float = option(0.0, "weight of the ordinary loss on the base examples in the loss", at_least=0)
    epochs: int = option(1, "passes over the training pairs", at_least=0)
    batch_size: int = option(256, "pairs per step", at_least=1)
    learning_rate: float = option(
        5e-4, "step size for the network's weights (training.optimizer names the rule)", above=0
    )
    rotation_learning_rate: float = option(5e-3, "step size for the rotation", above=0)
    warmup_steps: int = option(20, "steps in which learning_rate rises from 0 to its value", at_least=0)
    gradient_clip: float | None = option(0.1, "largest norm of a step's gradient; null: no limit", above=0)
    starts: int = option(
        1,
        "rotation: trainings, each from other random first directions; the summary is their mean",
        at_least=1,
        at_most=1_000,
    )
    train_pairs: int = option(10_000, "pairs of training examples", at_least=1, at_most=10_000_000)
    test_pairs: int = option(
        1_000, "pairs of test examples that aren't training examples", at_least=1, at_most=10_000_000
    )
    memory: int = option(
        1000, "MB of sites' values that are kept of a network that isn't trained; with less it takes longer", at_least=0
    )
    controls: list[Control] = option(
        list(Control), "what the result is compared with; []: nothing. The last two train again"
    )
    adversary: list[str] | None = option(
        None, "variables that must not be swappable at the site: [area]; null: no adversary"
    )
    adversary_rank: int = option(4, "directions that the adversary swaps", at_least=1)
    adversary_steps: int = option(
        5, "the adversary's steps before each step of the network", at_least=0, at_most=10_000
    )
    adversary_learning_rate: float = option(1e-4, "step size for the adversary, with Adam", above=0)
    adversary_renewal: int | None = option(
        1,
        "the adversary starts again after so many steps of the network; 1: in each step, as published; null: never",
        at_least=1,
    )
    adversary_count: int = option(
        1, "adversaries at a time, from different random directions", at_least=1, at_most=1_000
    )
    adversary_weight: float = option(1.0, "weight of the adversary's loss in the network's loss", at_least=0)
    adversary_bound: float | None = option(
        None, "the adversary's loss counts up to this value; null: without a bound, as published", above=0
    )
    adversary_cutoff: float | None = option(
        0.5, "below it the loss of the chosen variables counts for a thousandth; null: in full", above=0
    )
    adversary_control: bool = option(True, "train the same without the adversary, as a control")
    adversary_fresh_epochs: int = option(
        3, "passes over the training pairs for each fresh rotation, which gives the verdict", at_least=1
    )
    adversary_fresh_learning_rate: float = option(5e-4, "step size for a fresh rotation, with Adam", above=0)


def _with_default(name: str, default: Any) -> Any:
    """Returns an option of `IitConfig` with another default."""
    return option(default, **IitConfig.__dataclass_fields__[name].metadata)


@dataclass
class DasConfig(IitConfig):
    """Which sites of a trained network carry which variables along some directions? (DAS)"""

    name: ClassVar[str] = "das"

    variables: Any = _with_default("variables", "all")
    site: Any = _with_default("site", "all")
    size: int = _with_default("size", 4)
    small_site_size: int | None = _with_default("small_site_size", 1)
    train: Trained = _with_default("train", Trained.rotation)
    epochs: int = _with_default("epochs", 3)
    batch_size: int = _with_default("batch_size", 512)
    rotation_learning_rate: float = _with_default("rotation_learning_rate", 5e-4)
    warmup_steps: int = _with_default("warmup_steps", 0)
    gradient_clip: float | None = _with_default("gradient_clip", None)
    controls: list[Control] = _with_default("controls", [])


class Split(Enum):
    train = "train"
    test = "test"


class ProbeControl(Enum):
    untrained = "untrained"
    shuffled = "shuffled"
    input = "input"


@dataclass
class ProbesConfig(ExperimentConfig):
    """Which variables can be read from which site by a linear probe?"""

    name: ClassVar[str] = "probes"
    module: ClassVar[str] = "mi_runner.experiments.probes"
    headline: ClassVar[str] = "r2"

    # Any, because a list of names and a list of lists are both allowed.
    variables: Any = option(
        None,
        "what is read: a variable or the sum of several, [circularity,color]; several in turn, [[color],[area]]; null: "
        "every set of up to three variables; of more, each and their sum",
        text=True,
    )
    sites: list[str] | None = option(
        None, "sites to read, e.g. [conv1,relu]; null: every layer with weights but the last"
    )
    source: Split = option(Split.train, "the examples of the probes: train or test")
    examples: int | None = option(10_000, "take at most this many of them; null: all", at_least=10)
    folds: int = option(5, "each fold is predicted by probes that are fitted to the others", at_least=2)
    penalties: list[float] = option(
        [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0],
        "values of c to choose from; the penalty of the weights is c times the mean squared norm of the features",
        above=0,
    )
    controls: list[ProbeControl] = option(
        list(ProbeControl), "what the probes are compared with: untrained network, shuffled variables, raw input"
    )


class InterchangePairs(Enum):
    all = "all"
    later = "later"


@dataclass
class ExplanationsConfig(ExperimentConfig):
    """How many explanations does a network of a Boolean function have: circuits, groundings, algorithms, alignments?"""

    name: ClassVar[str] = "explanations"
    module: ClassVar[str] = "mi_runner.experiments.explanations"
    takes_seeds: ClassVar[bool] = True

    max_depth: int = option(3, "gates on the longest way through an algorithm", at_least=1, at_most=6)
    pairs: InterchangePairs = option(
        InterchangePairs.all, "all: every ordered pair of source and base; later: source before base, as published"
    )
    accuracy_threshold: float = option(0.99, "a circuit is valid if its accuracy is above it", at_least=0, below=1)
    min_accuracy: float = option(
        0.99, "a network with a lower test accuracy is not analysed: the run fails", at_least=0, at_most=1
    )
    listed: int = option(
        1_000, "groundings and alignments of an output that are written out, at most", at_least=0, at_most=10_000_000
    )
    sample: int = option(
        3_000,
        "valid circuits whose groundings are counted where there are more than 5,000,000 circuits",
        at_least=20,
        at_most=10_000_000,
    )
    random_functions: int = option(
        1,
        "of each network: controls trained on a random function from its initial weights; control=false: none",
        at_least=0,
        at_most=1_000,
    )
    control: bool = option(True, "also count for the untrained network, with its own function as target")


class LeftOut(Enum):
    zero = "zero"
    mean = "mean"
    both = "both"


class DiscoveryObjective(Enum):
    distance = "distance"
    loss = "loss"


@dataclass
class DiscoveryConfig(ExperimentConfig):
    """Which methods find good circuits? Each is judged by the best circuits there are."""

    name: ClassVar[str] = "discovery"
    module: ClassVar[str] = "mi_runner.experiments.discovery"
    compared: ClassVar[tuple[str, ...]] = ("regret_mse", "percentile")

    methods: list[str] = option(
        ["random", "magnitude", "activation", "edge_patching", "eap", "eap_ig", "acdc", "greedy", "edge_pruning"],
        "methods that find circuits, also eap_signed, eap_ig_signed; package.module:callable is your own. Runs code!",
    )
    ablation: LeftOut = option(LeftOut.both, "a left-out edge carries 0, or its mean; both: each by itself")
    objective: DiscoveryObjective = option(
        DiscoveryObjective.distance,
        "edge_patching, acdc, greedy, edge_pruning keep it small: distance to the full network's output, or task loss",
    )
    last_layers: int | None = option(3, "Linear layers at the network's end to analyse; null: all", at_least=1)
    accuracy_threshold: float = option(0.99, "a circuit is valid if its accuracy is above it", at_least=0, below=1)
    judge_on: JudgeOn = option(
        JudgeOn.test,
        "test: circuits are found and judged on the test examples; train: found on the training examples, judged on "
        "the test ones; half: found on half of the test examples, judged on the others",
    )
    repeats: int = option(5, "runs of the methods that draw random numbers", at_least=1, at_most=10_000)
    bootstrap: int = option(
        100, "resamples of the examples on which methods find circuits again; 0: none", at_least=0, at_most=100_000
    )
    max_table_rows: int = option(
        5_000_000,
        "largest number of circuits that are all evaluated; of more, samples are drawn",
        at_least=1,
        at_most=1_000_000_000,
    )
    samples: int = option(
        200, "circuits of a size that are drawn where not all are evaluated", at_least=1, at_most=1_000_000
    )
    max_sizes: int = option(60, "sizes at which methods are judged, if there are more", at_least=3, at_most=100_000)

"""What the columns, tables and figures of a run mean, and their units: the texts of reports and of docs/columns.md.

A name means the same in every experiment, except where a table has its own line, `edges.share`. A new column gets a
line here; a test compares them with the tables of every experiment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FRACTION, NATS, SECONDS, COUNT = "fraction, 0 to 1", "nats per example", "s", "count"


@dataclass(frozen=True)
class Column:
    """What a column has.

    Attributes:
        meaning: in words, without a full stop.
        unit: empty for names.
    """

    meaning: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.meaning} ({self.unit})" if self.unit else self.meaning


def _columns(unit: str, meanings: Mapping[str, str]) -> dict[str, Column]:
    return {name: Column(meaning, unit) for name, meaning in meanings.items()}


COLUMNS: dict[str, Column] = {
    **_columns(
        "",
        {
            "agree": "what a resampled value's example has in common with the example that it replaces",
            "algorithm": "number of the algorithm; the same in all tables of the run",
            "alignment": "how a variable is placed in the site: some of its units, or directions of its rotated space",
            "alignments.alignment": "number of the alignment of this algorithm",
            "answer_after": "the network's label after the swap, when it is trained",
            "answer_before": "the network's label after the swap, before it is trained",
            "base": "index of the base example in the test set",
            "base_label": "label of the base example",
            "by": "the variable that the inputs are grouped by; input: each input is a group",
            "circuit": "the kept edges as bits, the first edge of the first layer lowest",
            "class": "the class of the examples; all: every class",
            "classes": "the classes of the unit's top images, each with its number of images",
            "cluster": "the cluster; none: no cluster is switched off",
            "code": "the version of mi-run's sources",
            "control": "the control that this row is; none: the experiment itself",
            "counterfactual_label": "the label that the task has after the swap",
            "decoded": "what is decoded: a variable, all variables together, or the network's own label (predicted)",
            "direction": "number of the direction in the rotated space",
            "error": "why the run failed",
            "example": "the example as text",
            "example_number": "number of the example",
            "first": "the first of the two that are compared",
            "fold": "number of the decoder that did not see this example in training",
            "kernels.fold": "number of the decoder",
            "decoder_history.fold": "number of the decoder",
            "folder": "the run folder",
            "formula": "the algorithm as a formula",
            "alignments.formula": "what the node of the algorithm computes",
            "function": "the Boolean function that the output computes: its name, or its truth table",
            "gate": "the Boolean gate that the neuron is read as",
            "grounding": "number of the grounding of this circuit",
            "index": "index of the image in the test set",
            "inert": "whether a node is constant, or can't change the answer",
            "inputs": "what enters the gate",
            "joint": "whether the nodes are also swapped together, not only one by one",
            "kernel": "number of the kernel",
            "kind": "site, edge or path; none: the intact network",
            "label": "the label in the data",
            "layer": "the layer; all: every layer together",
            "edges.layer": "number of the layer among those that are analysed, from 0",
            "alignments.layer": "number of the layer, from 0",
            "measure": "the measure that is summarised",
            "method": "what replaces the value: zero, mean or resample; none: nothing",
            "network": "the network: the one of the experiment, or one that it is compared with",
            "neuron": "the neuron",
            "neurons": "the neurons that the node is placed in",
            "node": "number of the node of the algorithm",
            "of": "the module or the kind of the site; none: not a site",
            "other_network": "the network of the other site",
            "other_site": "the other site",
            "output": "number of the output, from 0",
            "pair": "number of the pair",
            "partition": "the clusters: those that were trained, or of random units as a control",
            "phase": "when it is measured: before or after training, or on a control",
            "place": "the place of a variable in the site",
            "predicted": "the label that the network predicts",
            "answers.predicted": "the network's own label",
            "reads": "the sites that this site reads; none: no site",
            "repeat": "number of the draw",
            "role": "hidden or logits",
            "second": "the second of the two that are compared",
            "seed": "the seed of the network",
            "shape": "the shape of the value for an example",
            "site": "the site: a named value in the network; all: every site",
            "source": "number of the neuron that the edge comes from, from 0",
            "source_*": "index of the source example of this variable",
            "sources": "single: a source example for all variables; multi: a source for each variable",
            "split": "train or test",
            "state": "full: nothing is switched off; off: the cluster is; on: all other clusters are",
            "status": "how the run ended",
            "subset": "all pairs, or those in which the swap changes the label or doesn't",
            "summand": "the summand of the sum before the output; sum: all of them",
            "target": "what is ablated: a site, an edge or a path; none: the intact network",
            "edges.target": "number of the neuron that the edge goes to, from 0",
            "graph.target": "the site's name",
            "test_class": "the class of the test examples",
            "top_class": "the commonest class among the unit's top images",
            "trained_site": "the site that was trained",
            "unit": "number of the unit in its layer, from 0",
            "valid": "whether the accuracy is above the threshold",
            "variables": "the variables that are swapped",
            "*_decoded": "what the decoder reads for this variable",
            "answers.*": "the value of this variable",
            "reached": "whether the training loss has reached training.stop_loss",
        },
    ),
    **_columns(
        FRACTION,
        {
            "accuracy": "examples whose predicted label is correct",
            "accuracy_before": "accuracy before the change",
            "accuracy_drop": "accuracy of the intact network minus this accuracy; −1 to 1",
            "agreement": "examples for which the rounded output equals the full network's",
            "chance": "accuracy of always answering the commonest label",
            "class_accuracy": "accuracy on 'this class or not'",
            "cut_accuracy": "accuracy of the analysed layers alone",
            "edge_sparsity": "edges that the circuit leaves out",
            "full_accuracy": "accuracy of the whole network",
            "iia": "interchange intervention accuracy: pairs whose label after the swap is the task's",
            "iia_changed": "iia on the pairs in which the swap changes the label",
            "iia_single_source": "iia with one source example for all variables",
            "iia_single_source_changed": "iia_changed with one source example for all variables",
            "iia_single_source_unchanged": "iia_unchanged with one source example for all variables",
            "iia_unchanged": "iia on the pairs in which the swap doesn't change the label",
            "interpretability": "one minus the mean fraction of the classes that are among a unit's top images",
            "mean_jaccard": "mean over pairs of valid circuits: edges that both keep, of those that at least one keeps",
            "node_sparsity": "hidden neurons that the circuit leaves out",
            "off": "accuracy with the cluster switched off",
            "off_random": "the same for random clusters, mean of the controls",
            "on": "accuracy with all other clusters switched off",
            "on_random": "the same for random clusters, mean of the controls",
            "pairs_contained": "pairs of valid circuits of which the first keeps every edge of the second",
            "pruned_share": "inputs of the cluster that pruning removes",
            "rejected_others": "images of other classes that are answered with 'not this class'",
            "share": "valid circuits that keep this edge",
            "sparsity": "hidden neurons and edges that the circuit leaves out",
            "target_accuracy": "accuracy of the network that is decoded",
            "task_accuracy": "accuracy on the task itself, without swaps",
            "task_low": "lower end of the 95 % interval of task_accuracy",
            "task_high": "upper end of the 95 % interval of task_accuracy",
            "test_accuracy": "accuracy on the test set",
            "threshold": "a circuit is valid if its accuracy is above it",
            "top_share": "the unit's top images that are of top_class",
            "train_accuracy": "accuracy on the training set",
            "train_iia": "iia on the training pairs of the step",
        },
    ),
    **_columns(
        NATS,
        {
            "cross_entropy": "mean cross entropy on the training set, without the regularizer",
            "criterion_after": "the criterion of pruning after it",
            "criterion_before": "the criterion of pruning before it",
            "loss_after": "mean loss after pruning",
            "loss_before": "mean loss before pruning",
            "loss_increase": "loss minus the loss of the intact network",
        },
    ),
    **_columns(
        "nats per example; mean square where targets are values",
        {
            "loss": "mean loss",
            "history.loss": "mean training loss of the epoch or step",
            "decoder_history.loss": "mean training loss of the epoch",
            "test_loss": "mean loss on the test set",
            "train_loss": "mean loss on the training set",
        },
    ),
    **_columns(
        COUNT,
        {
            "column": "column of the kernel, from 0",
            "count": "examples",
            "depth": "gates on the longest way through the algorithm",
            "distinct": "classes among the unit's top images",
            "epoch": "passes over the training examples so far",
            "groundings_max": "groundings of the circuit that has most",
            "groundings_median": "groundings of a valid circuit, median",
            "kept": "edges that are kept",
            "kept_edges": "edges that are kept for a class, mean",
            "mean_distinct": "classes among a unit's top images, mean of the units",
            "n": "examples",
            "seeds_summary.n": "networks",
            "sweep_summary.n": "seeds",
            "n_algorithms": "algorithms that compute the function",
            "n_algorithms_aligned": "algorithms that have an alignment",
            "n_alignments": "alignments of the algorithms with the network",
            "n_alignments_joint": "alignments that hold also if the nodes are swapped together",
            "n_circuits": "circuits",
            "n_circuits_partial": "circuits that leave out a hidden neuron",
            "n_correct": "examples that the circuits predict correctly",
            "n_edges": "edges",
            "n_gates": "gates of the algorithm",
            "n_groundings": "ways to read the neurons of the circuits as gates",
            "n_groundings_partial": "groundings of the valid circuits that leave out a hidden neuron",
            "n_images": "different activation images",
            "n_inputs": "input units of the cluster",
            "n_nodes": "active hidden neurons",
            "n_outputs": "output units of the cluster",
            "n_pairs": "pairs",
            "n_units": "units",
            "n_valid": "valid circuits",
            "edges.n_valid": "valid circuits that keep this edge",
            "n_valid_partial": "valid circuits that leave out a hidden neuron",
            "padding": "units that are added so that all rows of the image are equally long",
            "pairs": "pairs of inputs",
            "rank": "place of the image among the unit's top images, from 1",
            "row": "row of the image or kernel, from 0",
            "shared_images": "held-out examples whose activation image is also a training example's",
            "size": "units or directions of a place",
            "step": "steps of training so far",
            "units": "units of the site",
            "sites": "sites",
            "edges": "edges",
            "paths": "paths from the inputs to the output",
        },
    ),
    **_columns(
        "",
        {
            "activation": "the unit's activation on the image",
            "between": "mean distance of two inputs with different values",
            "clusterability": "share of the layer's squared weights inside clusters, 0 to 1",
            "complexity_reduction": "edges that the twin keeps for a class, divided by those of the clustered network",
            "cut_difference": "largest difference of the outputs of the analysed layers alone and of the whole network",
            "distance": "mean distance of the activation images",
            "label_logit": "mean logit of the label",
            "loss_recovered": "1: the loss is the intact network's; 0: it is that of resampling any example",
            "max": "largest value",
            "max_error": "largest difference to the network's output",
            "mean": "mean over the networks",
            "min": "smallest value",
            "mse": "mean squared difference of the output to the full network's",
            "orthonormality_error": "largest deviation of the rotation from an orthonormal matrix",
            "ratio": "between divided by within",
            "sd": "standard deviation over the networks",
            "low": "lower end of the 95 % interval of the mean",
            "high": "upper end of the 95 % interval of the mean",
            "similarity": "rank correlation of the distances of inputs at the two sites, −1 to 1",
            "groundings.threshold": "the neuron is read as 1 above it",
            "weight": "the weight",
            "within": "mean distance of two inputs with the same value",
        },
    ),
    "seconds": Column("time that the analysis took", SECONDS),
    "jobs.seconds": Column("time that the job took", SECONDS),
    "job": Column("number of the job in the sweep"),
}
"""Column, or `table.column` where a table has its own meaning → what it has. `*` stands for any name."""

ENDS = {"_low": "lower end of the 95 % interval of {}", "_high": "upper end of the 95 % interval of {}"}
"""End of a column's name → what it has, of the column without that end."""

SUMMARY_ENDS = {
    "_before": "{}, before training",
    "_sd": "standard deviation over the networks of {}",
    "_min": "smallest {} of a network",
    "_max": "largest {} of a network",
    **ENDS,
}
"""The same for names of the summary in run.json."""

TABLES = {
    "metrics": "The headline table",
    "algorithms": "Every algorithm that computes the function, and its alignments",
    "alignments": "Where the nodes of each aligned algorithm are in the network",
    "answers": "What the decoder reads from the activations of each example that it was not trained on",
    "census": "Number of circuits by active neurons, edges and correct examples",
    "circuits": "The circuits",
    "clusters": "Each cluster, with accuracy when it is switched off and when all others are",
    "confusion": "Labels and predicted labels",
    "contributions": "What each summand before the output gives alone",
    "decoder_history": "The decoder's training, epoch by epoch",
    "directions": "The weights of the trained rotation",
    "distances": "Distances of activation images",
    "edges": "Each edge of the full circuit, and how many valid circuits keep it",
    "groundings": "Neurons of the circuits, read as Boolean gates",
    "history": "Training, epoch by epoch",
    "kernels": "The decoder's kernels",
    "largest": "The targets with the largest drop in accuracy",
    "layer_similarity": "How alike two sites arrange the inputs",
    "layers": "How many classes the units of each layer stand for",
    "networks": "The networks that are compared",
    "ordinary_training": "The training on the task itself, epoch by epoch",
    "overview": "The result and its controls, a row for each",
    "pairs": "Each pair of examples, and the network's labels after the swap",
    "pruned_classes": "Loss and accuracy on each class after pruning for a class",
    "pruning": "What is left after pruning for each class",
    "scrubbing": "All targets resampled together",
    "seeds_summary": "Spread over the networks of all seeds",
    "separation": "How well the activations separate the values of each variable",
    "graph": "The named values of the network, and what each reads",
    "sites": "The sites that are the rows of the activation image",
    "splits": "What each site does beyond its mean or a linear function of the input",
    "sweep": "Every row of every job",
    "sweep_summary": "Mean and interval over seeds, for each combination of swept values",
    "unit_images": "The images with the largest activations of each unit",
    "units": "Each unit by itself",
}
"""Table → what it has."""

FIGURES = {
    "accuracy": "Accuracy after each ablation. Bars: mean of the draws; marks: each draw with its 95 % interval; "
    "dashed line: the intact network.",
    "alignment": "An alignment of an algorithm with the network.",
    "circuit": "A valid circuit.",
    "confusion": "Labels and predicted labels of the test examples.",
    "controls": "Interchange intervention accuracy beside its controls, with 95 % intervals.",
    "distances": "Distances of activation images between inputs.",
    "distinct_classes": "How many classes a unit's top images have.",
    "edges": "Edges of the network: their weights, and how many circuits or classes keep them.",
    "examples": "Base and source examples, with the network's label after the swap.",
    "filtered": "Activation images, and the decoder's filtered ones.",
    "groundings": "How many groundings the circuits have.",
    "history": "Loss and accuracy by epoch of training.",
    "iia": "Interchange intervention accuracy of each set of variables at each site.",
    "kernels": "The decoder's kernels.",
    "layer_similarity": "How alike two sites arrange the inputs.",
    "layers": "Accuracy of what is decoded from each layer.",
    "mistakes": "Test examples whose predicted label is wrong.",
    "off_on": "Accuracy with each cluster off, and with all others off, beside random clusters.",
    "seeds": "Values of each network, and their spread over seeds.",
    "sparsest": "The sparsest valid circuits.",
    "sparsity": "Accuracy of circuits by how much they leave out.",
    "sweep": "Mean of each metric by swept value, with its 95 % interval over seeds.",
    "sweep_rows": "Mean for each row of the jobs' tables, with its 95 % interval over seeds.",
    "training": "Training, step by step.",
    "units": "The images with the largest activations of each unit, or what each unit's ablation costs.",
    "weights": "Weights as images: blue negative, red positive.",
}
"""Figure, or the beginning of its name up to `_` → its caption."""


def column(name: str, table: str = "") -> Column | None:
    """Returns what a column of a table has; None if this module doesn't say."""
    base = name
    own = COLUMNS.get(f"{table}.{name}") or COLUMNS.get(name)
    if own is not None:
        return own
    for end, meaning in ENDS.items():
        if name.endswith(end) and (of := column(name.removesuffix(end), table)) is not None:
            return Column(meaning.format(name.removesuffix(end)), of.unit)
    for pattern in ("source_*", "*_decoded"):
        begin, _, end = pattern.partition("*")
        if base.startswith(begin) and base.endswith(end):
            return COLUMNS[pattern]
    return COLUMNS.get(f"{table}.*")


def metric(name: str) -> Column | None:
    """Returns what a number of the summary is, `accuracy/relu/zero`; None if this module doesn't say."""
    base, _, of = name.partition("/")
    found = COLUMNS.get(base)
    for end, meaning in SUMMARY_ENDS.items() if found is None else ():
        if base.endswith(end) and (inner := metric(base.removesuffix(end))) is not None:
            found = Column(meaning.format(inner.meaning), inner.unit)
            break
    if found is None or not of:
        return found
    return Column(f"{found.meaning}: {of.replace('/', ', ')}", found.unit)


def table(name: str) -> str:
    """Returns what a table has; empty if this module doesn't say."""
    return TABLES.get(name, "")


def figure(name: str) -> str:
    """Returns the caption of a figure; empty if this module doesn't say."""
    words = name.split("_")
    beginnings = ["_".join(words[:n]) for n in range(len(words), 0, -1)]
    return next((FIGURES[beginning] for beginning in beginnings if beginning in FIGURES), "")


def page() -> str:
    """Returns the page docs/columns.md."""
    lines = [
        "# Columns: what do the numbers mean?",
        "",
        "This page is made from `mi_runner/columns.py`, as the explanations in a [report](reports.md) are. `X_low` and",
        "`X_high` are the ends of the 95 % interval of `X`. `table.column` is a column that has its own meaning in",
        "this table.",
        "",
        "| column | meaning | unit |",
        "|---|---|---|",
        *_rows((name, entry.meaning, entry.unit) for name, entry in sorted(COLUMNS.items())),
        "",
        "| table | content |",
        "|---|---|",
        *_rows(sorted(TABLES.items())),
    ]
    return "\n".join(lines) + "\n"


def _rows(rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [f"| `{name}` | " + " | ".join(rest) + " |" for name, *rest in rows]

"""What the columns, tables and figures of a run mean, and their units: the texts of reports and of docs/columns.md.

A name means the same in every experiment, except where a table has its own line, `edges.share`, or a table of one
experiment, `discovery/metrics.method`. A new column gets a line here; a test compares them with the tables of every
experiment.
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
            "algorithm": "number of the algorithm, from 0; the same in all tables of the run",
            "ablation": "what a left-out edge carries: zero, or its mean",
            "answer": "the network's predicted label",
            "best": "by which measure the circuit is the best of at most k edges",
            "alignment": "how a variable is placed in the site: some of its units, or directions of its rotated space",
            "alignments.alignment": "number of the alignment of this algorithm, from 0",
            "answer_after": "the network's label after the swap, when it is trained by interchange interventions",
            "answer_before": "the network's label after the swap, before it is trained by interchange interventions",
            "base": "index of the base example in the test set",
            "base_label": "label of the base example",
            "by": "the variable that the inputs are grouped by; input: each input is a group",
            "circuit": "the kept edges as bits, the first edge of the first layer lowest",
            "class": "the class of the examples; all: every class",
            "pruning.class": "the class that the network is pruned for",
            "pruned_classes.class": "the class that the network is pruned for",
            "unit_images.class": "the class of the image",
            "classes": "the classes of the unit's top images, each with its number of images",
            "cluster": "the cluster, from 0; none: no cluster is switched off",
            "units.cluster": "the cluster of the unit, from 0; empty: the layer has none",
            "code": "the version of mi-run's sources",
            "control": "the control that this row is; none: the experiment itself",
            "converged": "whether the network's accuracy is high enough for its explanations to be counted: 1 or 0",
            "counterfactual_label": "the label that the causal model gives the base with the variables of its sources",
            "decoded": "what is decoded: a variable, all variables together, or the network's own label (predicted)",
            "direction": "number of the direction in the rotated space, from 0",
            "error": "why the run failed",
            "example": "the example as text",
            "predictions.example": "index of the example in the test set",
            "example_number": "number of the example, from 0",
            "first": "the first of the two that are compared",
            "fold": "number of the decoder that did not see this example in training, from 0",
            "folds.fold": "number of the fold, whose examples the probe is not fitted to, from 0",
            "kernels.fold": "number of the decoder, from 0",
            "decoder_history.fold": "number of the decoder, from 0",
            "folder": "the run folder",
            "formula": "the algorithm as a formula",
            "alignments.formula": "what the node of the algorithm computes",
            "function": "the Boolean function of the inputs: its name, or its truth table",
            "gate": "the Boolean gate that the neuron is read as",
            "grounding": "number of the grounding of this circuit, from 0",
            "index": "index of the image in the test set",
            "inert": "whether a node is constant, or can't change the answer",
            "inputs": "what enters the gate",
            "joint": "whether the nodes are also swapped together, not only one by one",
            "kernel": "number of the kernel, from 0",
            "kind": "site (also a parameter), edge or path; none: the intact network",
            "label": "the label in the data",
            "layer": "the layer; all: every layer together",
            "analysed.layer": "number of the layer among those that are analysed, from 0",
            "scores.layer": "number of the layer among those that are analysed, from 0",
            "sweep_circuits.edges": "kept edges, layer:source→target, in the names of the first network's units",
            "sweep_circuits.kind": "edge; circuit: a sparsest valid circuit of a network; commonest: the first of them",
            "sweep_circuits.circuit": "the same edges as bits, the first edge of the first layer lowest",
            "matched_unit": "number of the unit of this network, from 0, that is matched to the first network's",
            "sweep_matching.layer": "number of the layer of neurons, from 0: those that enter the analysed layers",
            "edges.layer": "number of the layer among those that are analysed, from 0",
            "alignments.layer": "number of the layer of neurons, from 1, the first hidden layer",
            "measure": "the measure that is summarised",
            "overview.measure": "what the score is: r2 or accuracy",
            "method": "what replaces the value: zero, mean or resample; none: nothing",
            "discovery/metrics.method": "the method that finds circuits",
            "overview.method": "the method that finds circuits",
            "summary.method": "the method that finds circuits",
            "scores.method": "the method that scores edges",
            "correlations.method": "the method whose scores are compared",
            "stability.method": "the method that finds circuits",
            "sweep.method": "what replaces the value: zero, mean or resample; of discovery, the method that finds "
            "circuits",
            "sweep_summary.method": "what replaces the value: zero, mean or resample; of discovery, the method that "
            "finds circuits",
            "minimality": "highest level of minimality that the valid circuit reaches; empty: none, or not searched",
            "metrics.minimality": "highest level of minimality that is proven; empty: none, or not valid; unknown: the "
            "circuit is too large to say",
            "other": "the method that it is compared with",
            "network": "the network: the one of the experiment, or one that it is compared with",
            "neuron": "the neuron",
            "neurons": "the neurons that the node is placed in",
            "node": "number of the node of the algorithm, from 0",
            "of": "the module or the kind of the site; none: not a site",
            "other_network": "the network of the other site",
            "other_site": "the other site",
            "output": "number of the output, from 0",
            "pair": "number of the pair, from 0",
            "partition": "the clusters: those that were trained, or of random units as a control",
            "phase": "when it is measured: before or after training, or on a control",
            "place": "the variables that share the place in the site",
            "predicted": "the label that the network predicts",
            "answers.predicted": "the network's own label",
            "reads": "the sites that this site reads; none: no site",
            "repeat": "number of the draw, or of the control",
            "role": "the name in every architecture, such as hidden_1",
            "layers.role": "hidden or logits",
            "rotation": "own: the rotation of the training or control; fresh: one that is trained from scratch in this "
            "network",
            "second": "the second of the two that are compared",
            "seed": "the seed of the network",
            "shape": "the shape of the value for an example",
            "site": "the site: a named value in the network; all: every site",
            "iit/metrics.site": "the site that is swapped",
            "iit/overview.site": "the site that is swapped",
            "das/metrics.site": "the site that is swapped",
            "das/overview.site": "the site that is swapped",
            "source": "number of the neuron that the edge comes from, from 0",
            "source_*": "index of the source example of these variables in the test set",
            "sources": "single: a source example for all variables; multi: a source for each variable",
            "split": "train or test",
            "state": "full: nothing is switched off; off: the cluster is; on: all other clusters are",
            "status": "how the run ended",
            "subset": "all pairs, or those whose counterfactual label differs from the base's (changed) or doesn't",
            "summand": "the summand of the sum before the output; sum: all of them",
            "swapped": "the variables that this row swaps: those that are trained to be swappable, or the adversary's",
            "target": "what is ablated: a site, an edge, a path or a parameter; none: the intact network",
            "edges.target": "number of the neuron that the edge goes to, from 0",
            "analysed.target": "number of the neuron that the edge goes to, from 0",
            "scores.target": "number of the neuron that the edge goes to, from 0",
            "graph.target": "the site's name",
            "test_class": "the class of the test examples",
            "top_class": "the commonest class among the unit's top images",
            "trained_site": "the site of the training; the swapped site of a control may be another",
            "unit": "number of the unit in its layer, from 0",
            "directions.unit": "number of the unit in the site's flattened value, from 0",
            "valid": "whether the accuracy is above the threshold",
            "judged_valid": "whether the accuracy on the examples that circuits are judged on is above the threshold",
            "found_valid": "whether the accuracy on the examples that circuits are found on is above the threshold",
            "variables": "the variables that are swapped",
            "folds.variables": "the variables whose sum is read",
            "probes/metrics.variables": "the variables whose sum is read",
            "probes/overview.variables": "the variables whose sum is read",
            "*_decoded": "what the decoder reads for this variable",
            "answers.*": "the value of this variable",
            "reached": "whether the training loss has reached training.stop_loss",
        },
    ),
    **_columns(
        FRACTION,
        {
            "accuracy": "examples whose predicted label is correct",
            "decoder/metrics.accuracy": "held-out examples of which the value is decoded",
            "decoder_history.accuracy": "held-out examples of which every variable is decoded, after the epoch",
            "probes/metrics.accuracy": "held-out examples whose class the probe predicts",
            "folds.accuracy": "the fold's examples whose class the probe predicts",
            "pruning.accuracy": "test examples whose label the pruned network predicts",
            "pruned_classes.accuracy": "test examples of the test class whose label the pruned network predicts",
            "accuracy_before": "accuracy of the full network on the same examples, before pruning",
            "adversary_floor": "floor of the adversary's variables",
            "adversary_iia": "iia of the adversary's variables by the adversary's rotation",
            "adversary_iia_fresh": "iia of the adversary's variables by a rotation that is trained from scratch",
            "adversary_iia_unswapped": "iia_unswapped of the adversary's variables",
            "agreement": "examples for which the rounded output equals the full network's",
            "chance": "accuracy on held-out examples of always answering the value that is commonest in training",
            "class_accuracy": "test examples of the class whose label the pruned network predicts",
            "commonest": "test examples with the predicted label that the network gives most often; 1: it gives no "
            "other",
            "cut_accuracy": "accuracy of the analysed layers alone",
            "best_accuracy": "highest accuracy of a circuit of at most k edges",
            "cardinal": "draws whose smallest valid circuit has the fewest edges of all valid ones, of n_draws_valid; "
            "empty where circuits are sampled",
            "chosen_accuracy": "accuracy, on the examples it is judged on, of the method's smallest circuit that is "
            "valid on those it was found on; mean over n_draws_chosen",
            "chosen_found_accuracy": "accuracy of the same circuit on the examples it was found on",
            "chosen_valid": "draws in which the same circuit is also valid on the examples it is judged on",
            "judged_accuracy": "accuracy on the examples that circuits are judged on",
            "judged_agreement": "agreement on the examples that circuits are judged on",
            "sparsest_found_accuracy": "accuracy of the sparsest valid circuits, mean, where they were found",
            "sparsest_judged_accuracy": "accuracy of the same circuits, mean, where they are judged",
            "sparsest_still_valid": "sparsest valid circuits that are also valid on the examples they are judged on",
            "still_valid": "listed valid circuits that are also valid on the examples they are judged on",
            "valid_found_accuracy": "accuracy of the listed valid circuits, mean, where they were found",
            "valid_judged_accuracy": "accuracy of the same circuits, mean, where they are judged",
            "found_accuracy": "accuracy on the examples that circuits are found on, not those they are judged on",
            "edge_sparsity": "edges that the circuit leaves out",
            "jaccard": "mean over pairs of resamples, not both empty: edges in both circuits, of those in at least one",
            "overview.jaccard": "overlap of pairs of resamples' circuits, mean over the n_sizes_jaccard sizes at which "
            "not all are empty",
            "summary.jaccard": "overlap of pairs of resamples' circuits, mean over the n_sizes_jaccard sizes at which "
            "not all are empty",
            "local": "draws whose smallest valid circuit needs each of its edges, of n_draws_valid; empty: not known",
            "percentile": "place of the circuit's mse among circuits of as many edges: 0 the best, 1 the worst; the "
            "empty circuit's among circuits of k edges; no value where k is less than one path has, and at all edges",
            "overview.percentile": "place of the circuit's mse among circuits of as many edges, mean over draws and "
            "n_sizes_percentile sizes: 0 the best, 1 the worst",
            "summary.percentile": "place of the circuit's mse among circuits of as many edges, mean over draws and "
            "n_sizes_percentile sizes: 0 the best, 1 the worst",
            "quasi": "draws whose smallest valid circuit has an edge that it needs, of n_draws_valid; empty: not known",
            "regret_accuracy": "accuracy of the best circuit of at most k edges minus the circuit's",
            "sizes.accuracy_10": "accuracy that 10 % of the circuits of this size are below",
            "sizes.accuracy_50": "median accuracy of the circuits of this size",
            "sizes.accuracy_90": "accuracy that 90 % of the circuits of this size are below",
            "summary.subset": "draws with no valid circuit in their smallest one, of n_draws_valid; empty: not known",
            "floor": "pairs whose counterfactual label is the base's: iia_unswapped of a network that is always "
            "correct",
            "full_accuracy": "accuracy of the whole network",
            "iia": "interchange intervention accuracy: pairs for which the network gives the counterfactual label "
            "after the swap",
            "iia_changed": "iia on the pairs whose counterfactual label differs from the base's",
            "iia_fresh": "iia of a rotation that is trained from scratch in the network as it is",
            "iia_single_source": "iia with one source example for all variables",
            "iia_single_source_changed": "iia_changed with one source example for all variables",
            "iia_single_source_unchanged": "iia_unchanged with one source example for all variables",
            "iia_unchanged": "iia on the pairs whose counterfactual label is the base's",
            "iia_unswapped": "pairs whose counterfactual label the network gives for the base without a swap",
            "interpretability": "one minus the mean fraction of the classes that are among a unit's top images",
            "networks.interpretability": "the layers' interpretability, mean over the hidden layers",
            "mean_jaccard": "mean over unordered pairs of valid circuits: edges that both keep, of those that one or "
            "both keep",
            "node_sparsity": "hidden neurons that the circuit leaves out; empty where there are none",
            "off": "accuracy with the cluster switched off",
            "off_random": "accuracy with a cluster of a random partition switched off, mean over these",
            "on": "accuracy with all other clusters switched off",
            "on_random": "accuracy with all but a cluster of a random partition switched off, mean over these",
            "pairs_contained": "unordered pairs of valid circuits of which one keeps every edge of the other",
            "pruned_share": "parameters of the network that are outside the cluster",
            "networks.pruned_share": "parameters of the network that are outside a cluster, mean over the clusters",
            "rejected_others": "test images of other classes that the pruned network doesn't take for the class",
            "sweep_circuits.share": "networks that have the circuit, or a circuit with this edge; no interval for "
            "circuits, which are chosen by it",
            "random_share": "the same if units are matched at random, mean over 1,000 random matchings",
            "random_share_low": "2.5 % of the random matchings are below",
            "random_share_high": "97.5 % of the random matchings are below",
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
            "decoder/metrics.train_accuracy": "distinct training examples of which the value is decoded, mean over "
            "the folds",
            "train_iia": "iia on the training pairs of the step",
        },
    ),
    **_columns(
        NATS,
        {
            "cross_entropy": "mean cross entropy on the training examples during the epoch, without the regularizer",
            "clusters/history.loss": "mean training loss of the epoch, with the regularizer",
            "decoder/metrics.test_loss": "mean cross entropy on the held-out examples; all: the sum over the variables",
            "decoder_history.loss": "cross entropy on the training examples during the epoch, the sum over the "
            "variables",
            "decoder_history.test_loss": "cross entropy on the held-out examples after the epoch, the sum over the "
            "variables",
            "criterion_after": "the criterion of pruning on its training examples, of the pruned network",
            "criterion_before": "the criterion of pruning on its training examples, of the full network",
            "loss_after": "mean loss of the pruned network on the test examples",
            "pruned_classes.loss_after": "mean loss of the pruned network on the test examples of the test class",
            "loss_before": "mean loss of the full network on the test examples",
            "pruned_classes.loss_before": "mean loss of the full network on the test examples of the test class",
        },
    ),
    **_columns(
        "nats per example; mean square where targets are values",
        {
            "adversary_loss": "mean loss of the adversary on its pairs, after its steps",
            "loss": "mean loss",
            "loss_increase": "loss minus the loss of the intact network",
            "ordinary_training.loss": "mean training loss of the epoch, without a regularizer",
            "history.loss": "mean training loss of the epoch, or since the row before, without a regularizer",
            "test_loss": "mean loss on the test set",
            "train_loss": "mean loss on the training set",
        },
    ),
    **_columns(
        COUNT,
        {
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
            "decoder/metrics.n": "held-out examples",
            "seeds_summary.n": "networks",
            "sweep_summary.n": "seeds",
            "n_algorithms": "algorithms that compute the function; not counted for a constant one",
            "n_algorithms_aligned": "algorithms that have an alignment",
            "n_alignments": "minimal alignments of the algorithms with the network, each node swapped alone",
            "n_alignments_joint": "minimal alignments that hold with all nodes swapped together",
            "n_circuits": "circuits",
            "n_circuits_partial": "circuits that leave out a hidden neuron",
            "n_correct": "examples that the circuits predict correctly",
            "n_edges": "edges that the circuit keeps",
            "pruning.n_edges": "edges of the layers that are pruned",
            "stability.n_edges": "edges of the circuits that were found on resamples, mean",
            "n_networks": "networks that have a valid circuit",
            "n_with": "networks that have the circuit, or a circuit with this edge",
            "fewest_valid": "edges of the smallest valid circuit there is",
            "k": "edges that a circuit may have at most",
            "n_always": "edges in the circuit of every resample",
            "n_cardinal": "valid circuits with the fewest edges of all",
            "n_ever": "edges in the circuit of at least one resample",
            "n_forward": "passes over all examples that the method took",
            "n_gates": "gates of the algorithm",
            "n_grounded": "valid circuits whose groundings are counted; the total is exact if these are all",
            "n_local": "valid circuits that need each of their edges",
            "n_quasi": "valid circuits that have an edge that they need",
            "n_resamples": "resamples of the examples",
            "n_subset": "valid circuits with no valid circuit inside",
            "chosen_edges": "edges of its smallest circuit that is valid on the examples it was found on; mean over "
            "n_draws_chosen",
            "n_draws": "draws of the method: 1, or experiment.repeats of one that draws random numbers",
            "n_draws_chosen": "draws with a circuit that is valid on the examples it was found on",
            "n_draws_valid": "draws in which the method found a valid circuit; smallest_valid is a mean over these",
            "n_found": "examples that circuits are found on",
            "n_judged": "examples that circuits are judged on",
            "n_listed_valid": "valid circuits that are listed, and so judged",
            "n_sizes": "sizes k, from 0 to all edges, that the mean regrets are over",
            "n_sizes_jaccard": "sizes k that the mean jaccard is over",
            "n_sizes_percentile": "sizes k that the mean percentile is over, the same for each method",
            "smallest_valid": "edges of the smallest valid circuit that the method found; mean over n_draws_valid",
            "n_groundings": "ways to read the neurons of the circuits as gates",
            "circuits.n_groundings": "groundings of the circuit; empty if it is not valid",
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
            "padding": "zeros that are added so that all rows of the image are equally long",
            "pairs": "pairs of inputs",
            "shared_images": "distinct activation images of held-out examples that are also a training example's",
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
            "column": "column of the kernel, from 0",
            "row": "row of the image or kernel, from 0",
            "scores.rank": "place of the edge by its score, from 1, the highest; of equal ones the first edge comes "
            "first",
            "unit_images.rank": "place of the image among the unit's top images, from 1, the largest activation",
            "start": "random start of the rotation, from 1",
            "best_cmd": "cmd of the best circuits of each size",
            "best_cpr": "cpr of the best circuits of each size",
            "best_cpr_accuracy": "cpr_accuracy of the best circuits of each size",
            "best_mse": "smallest mse of a circuit of at most k edges",
            "between": "mean distance of two inputs with different values",
            "cmd": "area between the accuracy of the method's circuits and the full network's, by fraction of edges",
            "cpr": "area under the method's curve, −mse by fraction of edges, 1 at the full network and 0 at no edge",
            "cpr_accuracy": "the same area with the accuracy in place of −mse",
            "clusterability": "share of the layer's squared weights inside clusters, 0 to 1",
            "complexity_reduction": "edges that the twin keeps for a class, divided by those of the clustered network",
            "sweep_matching.correlation": "correlation of the two units' activations on the test examples, −1 to 1",
            "cut_difference": "largest difference of the outputs of the analysed layers alone and of the whole network",
            "distance": "mean distance of the activation images",
            "input": "score of the same probe on the raw input",
            "kendall": "Kendall's rank correlation of the two methods' scores, −1 to 1",
            "label_logit": "mean over the examples of the summand's part of the label's logit above its mean part of "
            "all logits",
            "loss_recovered": "1: the loss is the intact network's; 0: it is that of resampling any example",
            "max": "largest value of a network",
            "max_error": "largest difference to the network's output",
            "mean": "mean over the networks",
            "min": "smallest value of a network",
            "mse": "mean squared difference of the output to the full network's",
            "judged_mse": "mse on the examples that circuits are judged on",
            "mse_mean": "mean mse on all examples of the circuits that were found on resamples",
            "mse_sd": "standard deviation of the mse over resamples",
            "own_mse_mean": "mean mse of the circuits on the resample on which each was found",
            "own_mse_sd": "standard deviation of that mse over resamples",
            "orthonormality_error": "largest deviation of the rotation from an orthonormal matrix",
            "penalty": "the regularizer's addition to the loss, mean over the epoch's steps",
            "folds.penalty": "the penalty c that was chosen for the probe on training examples",
            "l1": "sum of the absolute weights of all layers, after the epoch",
            "orthogonality": "the regularizer's measure after the epoch",
            "predictions.logit_*": "the network's output for this class",
            "predictions.output": "the network's output",
            "r2": "R² of the probe on held-out examples, 1 − SS(residual)/SS(total)",
            "ratio": "between divided by within",
            "regret_mse": "mse of the circuit minus the smallest mse of a circuit of at most k edges; in overview and "
            "summary the mean over the draws and n_sizes sizes",
            "score": "the method's score of the edge; a high one is kept first",
            "overview.score": "R² or accuracy of the probe on held-out examples",
            "sd": "standard deviation over the networks",
            "low": "lower end of the 95 % interval of the mean",
            "overview.low": "lower end of the 95 % interval of the score",
            "high": "upper end of the 95 % interval of the mean",
            "overview.high": "upper end of the 95 % interval of the score",
            "selectivity": "score of the probe minus that of the shuffled variable",
            "shuffled": "score of the same probe for the shuffled variable",
            "sizes.mse_10": "mse that 10 % of the circuits of this size are below",
            "sizes.mse_50": "median mse of the circuits of this size",
            "sizes.mse_90": "mse that 90 % of the circuits of this size are below",
            "spearman": "Spearman's rank correlation of the two methods' scores, −1 to 1",
            "untrained": "score of the same probe of the untrained network",
            "similarity": "Pearson correlation of the distances of pairs of inputs at the two sites, −1 to 1",
            "groundings.threshold": "the neuron is read as 1 above it",
            "weight": "the weight",
            "directions.weight": "the unit's weight in the direction",
            "within": "mean distance of two inputs with the same value",
        },
    ),
    "accuracy_drop": Column("accuracy of the intact network minus this accuracy", "fraction, −1 to 1"),
    "seconds": Column("time that the analysis took", SECONDS),
    "summary.seconds": Column("time that the method took, mean over its repeats", SECONDS),
    "overview.seconds": Column("time that the method took, mean over its repeats", SECONDS),
    "jobs.seconds": Column("time that the job took", SECONDS),
    "job": Column("number of the job in the sweep"),
}
"""Column → what it has. `table.column` where a table has its own meaning, `experiment/table.column` where a table of
one experiment has it. `*` stands for any name."""

ENDS = {"_low": "lower end of the 95 % interval of {}", "_high": "upper end of the 95 % interval of {}"}
"""End of a column's name → what it has, of the column without that end."""

SUMMARY_ENDS = {
    "_before": "{}, before training",
    "_untrained": "{}, of the untrained network",
    "_shuffled": "{}, of shuffled variables",
    "_input": "{}, of the raw input",
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
    "analysed": "Each edge of the analysed layers: its weight, and how many valid circuits keep it",
    "answers": "What the decoder reads from the activations of each example that it was not trained on",
    "census": "Number of circuits by active neurons, edges and correct examples",
    "circuits": "The circuits",
    "clusters": "Each cluster, with accuracy when it is switched off and when all others are",
    "confusion": "Labels and predicted labels",
    "contributions": "What each summand before the output gives alone",
    "correlations": "How alike two methods rank the edges",
    "decoder_history": "The decoder's training, epoch by epoch",
    "directions": "The weights of the trained rotation",
    "distances": "Distances of activation images",
    "edges": "Each edge of the full circuit, and how many valid circuits keep it",
    "folds": "The score of each fold's probes on the examples that they were not fitted to",
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
    "predictions": "The network's answer on each test example",
    "pruned_classes": "Loss and accuracy on each class after pruning for a class",
    "pruning": "What is left after pruning for each class",
    "scores": "Each edge's score and rank by each method",
    "scrubbing": "All targets resampled together",
    "seeds_summary": "Spread over the networks of all seeds",
    "separation": "How well the activations separate the values of each variable",
    "graph": "The named values of the network, and what each reads",
    "sites": "The sites that are the rows of the activation image",
    "sizes": "All circuits, or samples of them, by number of edges",
    "splits": "What each site does beyond its mean or a linear function of the input",
    "stability": "How much a method's circuits differ when the examples are resampled",
    "summary": "Each method: its smallest valid circuit, areas, means over sizes, and over how many sizes and draws",
    "sweep": "Every row of every job",
    "sweep_circuits": "How often edges and the sparsest valid circuits recur over networks",
    "sweep_matching": "Which units of each network are matched to those of the first",
    "sweep_summary": "Mean and interval over seeds, for each combination of swept values",
    "unit_images": "The images with the largest activations of each unit",
    "units": "Each unit by itself",
}
"""Table → what it has."""

FIGURES = {
    "adversary": "Interchange intervention accuracy of the chosen and the adversary's variables in each network, with "
    "95 % intervals; black: the floor; dotted: without a swap.",
    "accuracy": "Accuracy after each ablation. Bars: mean of the draws; marks: each draw with its 95 % interval; "
    "dashed line: the intact network.",
    "alignment": "An alignment of an algorithm with the network.",
    "circuit": "A valid circuit.",
    "classes": "Mean image of each class, and the variance of each pixel.",
    "confusion": "Labels and predicted labels of the test examples.",
    "curves": "Accuracy and mean squared error by kept edges, means of a method's draws; dashed: the best circuits; "
    "shaded: 10 to 90 % of all.",
    "controls": "Interchange intervention accuracy beside its controls, with 95 % intervals.",
    "distances": "Distances of activation images between inputs.",
    "distinct_classes": "How many classes a unit's top images have.",
    "clusters/edges": "Edges of the networks by weight, before and after training: red positive, blue negative.",
    "circuits/edges": "The fraction of the valid circuits that keep each edge.",
    "entering": "The value that enters the output layer, as an image.",
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
    "probes": "What can be read from each site, by set of variables; controls are dotted.",
    "scores": "Scores of the edges by each method, beside the fraction of valid circuits that keep each.",
    "seeds": "Values of each network, and their spread over seeds.",
    "sparsest": "The sparsest valid circuits.",
    "sparsity": "Accuracy of circuits by how much they leave out.",
    "sweep": "Mean of each metric by swept value, with its 95 % interval over seeds.",
    "sweep_circuits": "How often edges and the sparsest valid circuits recur over networks, beside random matchings.",
    "sweep_rows": "Mean for each row of the jobs' tables, with its 95 % interval over seeds.",
    "clusters/training": "Clusterability of the clustered layer and test accuracy by epoch, of both networks.",
    "training": "Interchange intervention accuracy and loss by epoch of training by interchange interventions.",
    "clusters/units": "The test images with the largest activations of each unit, by cluster.",
    "units": "The drop in accuracy by each unit's ablation, in descending order.",
    "weights": "Weights as images: blue negative, red positive.",
}
"""Figure, or the beginning of its name up to `_` → its caption; `experiment/figure` where others have another one."""


def column(name: str, table: str = "", experiment: str = "") -> Column | None:
    """Returns what a column of a table has; None if this module doesn't say.

    Args:
        table: the table that has it.
        experiment: the experiment of the table's run.
    """
    of_table = f"{table}.{name}"
    own = COLUMNS.get(f"{experiment}/{of_table}") or COLUMNS.get(of_table) or COLUMNS.get(name)
    if own is not None:
        return own
    for end, meaning in ENDS.items():
        if name.endswith(end) and (of := column(name.removesuffix(end), table, experiment)) is not None:
            return Column(meaning.format(name.removesuffix(end)), of.unit)
    for pattern in ("source_*", "*_decoded", "predictions.logit_*"):
        begin, _, end = pattern.removeprefix(f"{table}.").partition("*")
        if name.startswith(begin) and name.endswith(end):
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


def figure(name: str, experiment: str = "") -> str:
    """Returns the caption of a figure of an experiment; empty if this module doesn't say."""
    words = name.split("_")
    for n in range(len(words), 0, -1):
        beginning = "_".join(words[:n])
        if caption := FIGURES.get(f"{experiment}/{beginning}") or FIGURES.get(beginning):
            return caption
    return ""


def page() -> str:
    """Returns the page docs/columns.md."""
    lines = [
        "# Columns: what do the numbers mean?",
        "",
        "This page is made from `mi_runner/columns.py`, as the explanations in a [report](reports.md) are. `X_low` and",
        "`X_high` are the ends of the 95 % interval of `X`. `table.column` is a column that has its own meaning in",
        "this table, `experiment/table.column` in this table of one experiment.",
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

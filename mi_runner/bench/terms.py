"""What stands in test vectors, in words: whoever has the files alone can compute the same."""

from __future__ import annotations

TERMS = {
    "edge": "Edges are ordered by layer, then by target, then by source. A circuit is an unsigned integer: edge e is "
    "bit e, the least significant bit being 0.",
    "family": "The edges that circuits may keep: all, or those of non-zero weight where weights are planted. K is the "
    "number of those that lie on a path from an input to an output within the family; sizes k go from 0 to K.",
    "closing": "An edge that lies on no path of kept edges from an input to an output is left out, in both directions, "
    "until nothing changes. Every circuit is closed before it is evaluated, and its edges are counted after that.",
    "ablation": "What an edge that is left out carries. zero: 0, and a hidden neuron without edges outputs 0. mean: "
    "its weight times the mean of its source in the full network over the examples. Biases stay.",
    "full": "The full network's outputs, rounded to float32. The circuit of all K edges has these outputs.",
    "L": "mse: the mean squared difference of a circuit's outputs to `full`, over examples and outputs.",
    "loss": "The task's mean loss. squared_error: of outputs to targets. cross_entropy: of a softmax of the logits. "
    "logistic: of one output o, the cross-entropy of sigmoid(o - 1/2) to the target 0 or 1.",
    "answer": "values: the output rounded to an integer, half to even. logits: the class of the largest output, the "
    "first one among equals. probability: 1 if the output is above 1/2, otherwise 0.",
    "accuracy": "The share of examples that have the target as the answer. Targets are integers.",
    "valid": "The share of right answers is above the threshold. valid_by task: right answers are the targets; "
    "agreement: they are the full network's. The empty circuit is not valid.",
    "scores": "A high score is kept first; among equal scores the first edge is. Edges outside the family are NaN.",
    "circuit at k": "Of a method that scores: the circuit of the j highest edges, closed, for the largest j for which "
    "it has at most k edges. Of one that searches: of the circuits that it found the one with the most edges that are "
    "at most k; among those the one of the lowest L, the first on ties. 0, the empty circuit, where there is none.",
    "best": "The circuit of at most k edges with the lowest mse, or with the highest accuracy; the empty one counts. "
    "Where several are equal, the file has one of them.",
    "regret": "mse of the circuit at k minus that of the best; for accuracy that of the best minus the circuit's.",
    "f": "f(k) = (m(circuit at k) - m(empty)) / (m(full) - m(empty)), not clipped.",
    "CPR": "The area under f of m = -L, by trapezoids over k/K, for k from 0 to K.",
    "CMD": "The area of |1 - f| of m = accuracy, by trapezoids over k/K, for k from 0 to K.",
    "percentile": "(circuits with a smaller mse + half of the others with an equal one) / (circuits - 1), among the "
    "circuits of as many edges: 0 the best, 1 the worst. The empty circuit: (smaller + half of the equal ones) / "
    "circuits, among those of k edges, or of the next smaller number that some have. NaN below the fewest edges of a "
    "path and at K, and where there is no other circuit.",
    "ties": "mse whose relative difference is below 1e-6 count as equal.",
    "roc_auc": "The share of pairs of a planted edge and another one of the family in which the planted one has the "
    "higher score, equal ones as half. null where there are no others.",
    "precision, recall": "Of the method's circuit at as many edges as are planted: the share of its edges that are "
    "planted, and the share of the planted edges that it keeps.",
}
"""Term → what it means."""

METHODS_EXACTLY = {
    "magnitude": "The score is |w|, the edge's absolute weight.",
    "activation": "The score is |w| times the mean of |source| over the examples.",
    "edge_patching": "The score is the mse of the circuit that keeps the whole family but this edge, closed; here to "
    "the full network's outputs in float64.",
    "eap": "The score is |sum over examples of w * (ablated - source) * g|; ablated is 0 or the source's mean, g the "
    "gradient of the loss, a mean over the examples, by the sum that enters the target's activation. The derivative at "
    "0 is 0 of relu and the slope of leaky_relu.",
    "eap_ig": "As eap; g is the mean of the gradients where the inputs are a + i / 10 * (x - a), i = 1 to 10, a the "
    "ablated inputs; ablated and source are those of the examples themselves.",
    "eap_signed": "As eap, without the absolute value.",
    "eap_ig_signed": "As eap_ig, without the absolute value.",
    "information_flow": "The score is the mean over the examples of p / (sum of p of all edges into the target), 0 "
    "where this sum is 0; p = max(0, |y| - |y - w * source|), y the sum that enters the target's activation, with its "
    "bias. No ablation is read.",
    "acdc": "For each of 50 thresholds t, from 1e-6 to 1 in equal ratios, times the mse of the empty circuit: begins "
    "with the closed family and takes its edges by layer, the last first, then by target, then by source. An edge is "
    "left out for good, with what closing takes, if the mse rises by less than t over that of the present circuit. A "
    "step that would empty the circuit is refused. What each threshold ends with is found.",
    "greedy": "From the family, closed, to the empty circuit: each step leaves out the edge without which the closed "
    "circuit has the lowest mse, the first edge on ties. All circuits on the way are found.",
}
"""Method → what it computes, where its sentence for help says less."""

"""Experiments that ask what a small neural network really computes.

The names below are the public surface for notebooks and programs; each is loaded when it is first used, so that
`import mi_runner` alone imports no torch.
"""

TYPE_CHECKING = False  # type checkers take it as True; an import of typing would delay the handling of Ctrl-C
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "compose": "mi_runner.config.composition",
    "run": "mi_runner.runs.runner",
    "ModelGraph": "mi_runner.graph.model_graph",
    "Intervention": "mi_runner.graph.interventions",
    "run_with": "mi_runner.graph.interventions",
    "read_sites": "mi_runner.graph.interventions",
    "interchange": "mi_runner.graph.interventions",
    "zero": "mi_runner.graph.interventions",
    "mean": "mi_runner.graph.interventions",
    "resample": "mi_runner.graph.interventions",
    "Aligned": "mi_runner.methods.interchange",
    "InterchangeTraining": "mi_runner.methods.interchange",
    "draw_pairs": "mi_runner.methods.interchange",
    "train_by_interchange": "mi_runner.methods.interchange",
    "Rotation": "mi_runner.methods.alignment",
    "Units": "mi_runner.methods.alignment",
    "longest_part": "mi_runner.graph.chain",
    "find_part": "mi_runner.graph.chain",
    "entering_activations": "mi_runner.methods.circuits.cut",
    "check_cut": "mi_runner.methods.circuits.cut",
    "CircuitExamples": "mi_runner.methods.circuits.examples",
    "search_circuits": "mi_runner.methods.circuits.search",
    "Circuit": "mi_runner.methods.circuits.circuit",
    "load_circuits": "mi_runner.runs.saved_circuits",
    "explain": "mi_runner.methods.explanations.explain",
    "BooleanNetwork": "mi_runner.methods.explanations.boolean",
    "Grounding": "mi_runner.methods.explanations.groundings",
    "count_groundings": "mi_runner.methods.explanations.groundings",
    "list_groundings": "mi_runner.methods.explanations.groundings",
    "grounding_holds": "mi_runner.methods.explanations.groundings",
    "Algorithm": "mi_runner.methods.explanations.algorithms",
    "algorithms": "mi_runner.methods.explanations.algorithms",
    "Alignment": "mi_runner.methods.explanations.alignments",
    "alignment_holds": "mi_runner.methods.explanations.alignments",
    "MaskedPart": "mi_runner.methods.discovery.masked",
    "edge_patching": "mi_runner.methods.discovery.scores",
    "eap": "mi_runner.methods.discovery.scores",
    "eap_ig": "mi_runner.methods.discovery.scores",
    "acdc": "mi_runner.methods.discovery.search",
    "greedy": "mi_runner.methods.discovery.search",
    "edge_pruning": "mi_runner.methods.discovery.edge_pruning",
    "CircuitSampler": "mi_runner.methods.discovery.sampling",
    "Partition": "mi_runner.training.clusterability",
    "contiguous": "mi_runner.training.clusterability",
    "clusterability": "mi_runner.training.clusterability",
    "Modularity": "mi_runner.training.regularizers",
    "random_partitions": "mi_runner.methods.clusters",
    "switch_clusters": "mi_runner.methods.clusters",
    "pruned_share": "mi_runner.methods.clusters",
    "top_examples": "mi_runner.methods.clusters",
    "top_activations": "mi_runner.methods.clusters",
    "interpretability": "mi_runner.methods.clusters",
    "prune": "mi_runner.methods.pruning",
    "prune_classes": "mi_runner.methods.pruning",
    "keep_edges": "mi_runner.methods.pruning",
    "hidden_sites": "mi_runner.methods.activation_images",
    "activation_images": "mi_runner.methods.activation_images",
    "distinct_examples": "mi_runner.methods.decoding",
    "split_images": "mi_runner.methods.decoding",
    "shuffled_labels": "mi_runner.methods.decoding",
    "split_folds": "mi_runner.methods.decoding",
    "train_decoder": "mi_runner.methods.decoder_training",
    "train_decoders": "mi_runner.methods.decoder_training",
    "linear_probe": "mi_runner.methods.decoding",
    "decode": "mi_runner.methods.decoding",
    "decoding_accuracy": "mi_runner.methods.decoding",
    "folds_accuracy": "mi_runner.methods.decoding",
    "ablate": "mi_runner.methods.ablation",
    "ablate_units": "mi_runner.methods.ablation",
    "contributions": "mi_runner.methods.contributions",
    "Dataset": "mi_runner.datasets",
    "Setting": "mi_runner.experiments",
    "Result": "mi_runner.experiments",
    "ArgumentError": "mi_runner.errors",
    "ConfigError": "mi_runner.errors",
    "RunFailed": "mi_runner.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name not in _PUBLIC:
        raise AttributeError(f"module 'mi_runner' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])

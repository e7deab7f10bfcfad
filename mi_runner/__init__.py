"""Experiments that ask what a small neural network really computes.

The public surface for notebooks and programs, by namespace: `mi_runner.circuits.search`, `mi_runner.graph.ModelGraph`.
Each namespace is a module, so `from mi_runner.circuits import search` works, too. The most used names also stand here,
as `mi_runner.ModelGraph`. All of it is loaded when it is first used: `import mi_runner` alone imports no torch.
"""

TYPE_CHECKING = False  # type checkers take it as True; an import of typing would delay the handling of Ctrl-C

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mi_runner import ablation as ablation
    from mi_runner import circuits as circuits
    from mi_runner import clusters as clusters
    from mi_runner import datasets as datasets
    from mi_runner import decoding as decoding
    from mi_runner import discovery as discovery
    from mi_runner import errors as errors
    from mi_runner import experiments as experiments
    from mi_runner import explanations as explanations
    from mi_runner import graph as graph
    from mi_runner import iit as iit
    from mi_runner import maps as maps
    from mi_runner import models as models
    from mi_runner import probes as probes
    from mi_runner import program as program
    from mi_runner.ablation import ablate as ablate
    from mi_runner.ablation import ablate_units as ablate_units
    from mi_runner.ablation import contributions as contributions
    from mi_runner.circuits import Circuit as Circuit
    from mi_runner.circuits import CircuitExamples as CircuitExamples
    from mi_runner.circuits import check_cut as check_cut
    from mi_runner.circuits import entering_activations as entering_activations
    from mi_runner.clusters import Modularity as Modularity
    from mi_runner.clusters import Partition as Partition
    from mi_runner.clusters import clusterability as clusterability
    from mi_runner.clusters import contiguous as contiguous
    from mi_runner.clusters import interpretability as interpretability
    from mi_runner.clusters import keep_edges as keep_edges
    from mi_runner.clusters import prune as prune
    from mi_runner.clusters import prune_classes as prune_classes
    from mi_runner.clusters import pruned_share as pruned_share
    from mi_runner.clusters import random_partitions as random_partitions
    from mi_runner.clusters import switch_clusters as switch_clusters
    from mi_runner.clusters import top_activations as top_activations
    from mi_runner.clusters import top_examples as top_examples
    from mi_runner.config.composition import compose as compose
    from mi_runner.datasets import Dataset as Dataset
    from mi_runner.decoding import activation_images as activation_images
    from mi_runner.decoding import decode as decode
    from mi_runner.decoding import decoding_accuracy as decoding_accuracy
    from mi_runner.decoding import distinct_examples as distinct_examples
    from mi_runner.decoding import folds_accuracy as folds_accuracy
    from mi_runner.decoding import hidden_sites as hidden_sites
    from mi_runner.decoding import linear_probe as linear_probe
    from mi_runner.decoding import shuffled_labels as shuffled_labels
    from mi_runner.decoding import split_folds as split_folds
    from mi_runner.decoding import split_images as split_images
    from mi_runner.decoding import train_decoder as train_decoder
    from mi_runner.decoding import train_decoders as train_decoders
    from mi_runner.discovery import CircuitSampler as CircuitSampler
    from mi_runner.discovery import MaskedPart as MaskedPart
    from mi_runner.discovery import acdc as acdc
    from mi_runner.discovery import eap as eap
    from mi_runner.discovery import eap_ig as eap_ig
    from mi_runner.discovery import edge_patching as edge_patching
    from mi_runner.discovery import edge_pruning as edge_pruning
    from mi_runner.discovery import greedy as greedy
    from mi_runner.discovery import information_flow as information_flow
    from mi_runner.discovery import subnetwork_probing as subnetwork_probing
    from mi_runner.errors import ConfigError as ConfigError
    from mi_runner.errors import RunFailed as RunFailed
    from mi_runner.experiments import Result as Result
    from mi_runner.experiments import Setting as Setting
    from mi_runner.explanations import Algorithm as Algorithm
    from mi_runner.explanations import Alignment as Alignment
    from mi_runner.explanations import BooleanNetwork as BooleanNetwork
    from mi_runner.explanations import Grounding as Grounding
    from mi_runner.explanations import algorithms as algorithms
    from mi_runner.explanations import alignment_holds as alignment_holds
    from mi_runner.explanations import count_groundings as count_groundings
    from mi_runner.explanations import explain as explain
    from mi_runner.explanations import grounding_holds as grounding_holds
    from mi_runner.explanations import list_groundings as list_groundings
    from mi_runner.graph import Intervention as Intervention
    from mi_runner.graph import ModelGraph as ModelGraph
    from mi_runner.graph import find_part as find_part
    from mi_runner.graph import interchange as interchange
    from mi_runner.graph import longest_part as longest_part
    from mi_runner.graph import mean as mean
    from mi_runner.graph import read_sites as read_sites
    from mi_runner.graph import resample as resample
    from mi_runner.graph import run_with as run_with
    from mi_runner.graph import zero as zero
    from mi_runner.iit import Aligned as Aligned
    from mi_runner.iit import InterchangeTraining as InterchangeTraining
    from mi_runner.iit import Rotation as Rotation
    from mi_runner.iit import Units as Units
    from mi_runner.iit import draw_pairs as draw_pairs
    from mi_runner.iit import train_by_interchange as train_by_interchange
    from mi_runner.methods.circuits.search import search_circuits as search_circuits
    from mi_runner.program import Run as Run
    from mi_runner.program import Sweep as Sweep
    from mi_runner.program import open as open
    from mi_runner.program import open_sweep as open_sweep
    from mi_runner.program import run as run
    from mi_runner.runs.saved_circuits import load_circuits as load_circuits
else:
    _NAMESPACES = (
        *("ablation", "circuits", "clusters", "datasets", "decoding", "discovery", "errors", "experiments"),
        *("explanations", "graph", "iit", "maps", "models", "probes", "program"),
    )

    # Where each name of this module is defined.
    _PUBLIC = {
        "compose": "mi_runner.config.composition",
        "run": "mi_runner.program",
        "open": "mi_runner.program",
        "open_sweep": "mi_runner.program",
        "Run": "mi_runner.program",
        "Sweep": "mi_runner.program",
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
        "Algorithm": "mi_runner.datasets.algorithms",
        "algorithms": "mi_runner.datasets.algorithms",
        "Alignment": "mi_runner.methods.explanations.alignments",
        "alignment_holds": "mi_runner.methods.explanations.alignments",
        "MaskedPart": "mi_runner.methods.discovery.masked",
        "edge_patching": "mi_runner.methods.discovery.scores",
        "eap": "mi_runner.methods.discovery.scores",
        "eap_ig": "mi_runner.methods.discovery.scores",
        "acdc": "mi_runner.methods.discovery.search",
        "greedy": "mi_runner.methods.discovery.search",
        "edge_pruning": "mi_runner.methods.discovery.edge_pruning",
        "subnetwork_probing": "mi_runner.methods.discovery.subnetwork_probing",
        "information_flow": "mi_runner.methods.discovery.scores",
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
        "ConfigError": "mi_runner.errors",
        "RunFailed": "mi_runner.errors",
    }

    # `from mi_runner import *` must not hide Python's own open.
    __all__ = ["__version__", *_NAMESPACES, *(name for name in _PUBLIC if name != "open")]

    def __getattr__(name):
        from importlib import import_module

        if name in _NAMESPACES:
            return import_module(f"mi_runner.{name}")
        if name not in _PUBLIC:
            raise AttributeError(f"module 'mi_runner' has no attribute '{name}'")
        return getattr(import_module(_PUBLIC[name]), name)

    def __dir__():
        return sorted({*globals(), *_NAMESPACES, *_PUBLIC} - {"TYPE_CHECKING"})

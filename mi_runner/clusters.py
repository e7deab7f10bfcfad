"""Is a network modular? Clusters of its units: how closed they are, what each does, how alike its units are.

`Modularity` trains a network for clusters, `switch_clusters` turns each of them off, `prune_classes` keeps the edges
that a class needs. docs/clusters.md defines the measures.
"""

from mi_runner.methods.clusters import (
    interpretability,
    pruned_share,
    random_partitions,
    switch_clusters,
    top_activations,
    top_examples,
)
from mi_runner.methods.pruning import keep_edges, prune, prune_classes
from mi_runner.training.clusterability import Partition, clusterability, contiguous
from mi_runner.training.regularizers import Modularity

__all__ = [
    "Modularity",
    "Partition",
    "clusterability",
    "contiguous",
    "interpretability",
    "keep_edges",
    "prune",
    "prune_classes",
    "pruned_share",
    "random_partitions",
    "switch_clusters",
    "top_activations",
    "top_examples",
]

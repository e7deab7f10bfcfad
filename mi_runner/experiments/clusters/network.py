"""A network of `experiment=clusters`: its chain of Linear layers, the clustered one, and the clusters of its units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from mi_runner.config.experiments.clusters import ClustersConfig
from mi_runner.datasets.outputs import Outputs
from mi_runner.errors import ConfigError
from mi_runner.experiments import Setting
from mi_runner.graph.chain import Part, longest_part
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.tables.declaration import Row
from mi_runner.training.clusterability import Partition, contiguous, linear_layer


@dataclass(frozen=True)
class Network:
    """A network that is measured.

    Attributes:
        name: clustered, twin or untrained.
        graph: of its model.
        chain: the Linear layers at its end; without a sigmoid or softmax behind them.
        kind: what the outputs of the chain are: logits of classes, or one logit.
        position: the clustered layer's index in the chain.
        partition: of the clustered layer's units.
        n_parameters: of the whole network.
        history: rows `network, epoch, loss, cross_entropy, clusterability, test_loss, test_accuracy`.
    """

    name: str
    graph: ModelGraph
    chain: Part
    kind: Outputs
    position: int
    partition: Partition
    n_parameters: int
    history: Sequence[Row]

    @property
    def layer(self) -> str:
        """The clustered layer's path."""
        return self.chain.layers[self.position].module

    @property
    def weight(self) -> Tensor:
        """The clustered layer's weights `(O, I)`."""
        return self.chain.layers[self.position].weight

    @property
    def columns(self) -> tuple[str, ...]:
        """The sites of the chain's units: those that enter each layer, then the output."""
        entering = [site for layer in self.chain.layers for site in self.graph.sources(layer.module)]
        return (*entering, self.graph.output)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The sites that enter the chain's layers, without the network's input."""
        return tuple(site for site in self.columns[:-1] if site not in self.graph.inputs)

    @property
    def logits(self) -> str:
        """The network's output site."""
        return self.graph.output

    def clusters_at(self, site: str) -> list[int] | None:
        """Returns the cluster of each unit of a site that the clustered layer reads or computes; None for others."""
        if site == self.columns[self.position]:
            return self.partition.inputs.tolist()
        return self.partition.outputs.tolist() if site == self.columns[self.position + 1] else None


def network_of(setting: Setting[ClustersConfig], name: str, model: nn.Module, history: Sequence[Row] = ()) -> Network:
    """Returns a model as a network of the experiment.

    Args:
        history: of its training, as `training.loop.train` returns it.
    """
    config = setting.config
    graph = setting.graph(model)
    chain, kind = logits_of(chain_of(graph), setting.dataset.outputs)
    path, layer = linear_layer(model, config.layer)
    partition = contiguous(layer.out_features, layer.in_features, config.n_clusters).to(layer.weight.device)
    rows = [
        {
            "network": name,
            "epoch": row["epoch"],
            "loss": row["loss"] + row["penalty"],
            "cross_entropy": row["loss"],
            **{column: row[column] for column in ("clusterability", "test_loss", "test_accuracy")},
        }
        for row in history
    ]
    return Network(
        name=name,
        graph=graph,
        chain=chain,
        kind=kind,
        position=[layer.module for layer in chain.layers].index(path),
        partition=partition,
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        history=rows,
    )


def logits_of(chain: Part, kind: Outputs) -> tuple[Part, Outputs]:
    """Returns a chain whose outputs are logits, and whether these are of each class or one of two classes.

    The classes of the network's probabilities are those of the logits from which its last function makes them.
    """
    plain = {Outputs.probability: Outputs.logit, Outputs.probabilities: Outputs.logits}
    if kind not in plain:
        return chain, kind
    last = replace(chain.layers[-1], activation="identity")
    return replace(chain, layers=(*chain.layers[:-1], last)), plain[kind]


def chain_of(graph: ModelGraph) -> Part:
    """Returns the longest chain of Linear layers and elementwise activations at a network's end.

    Raises:
        ConfigError: the network does not end in a Linear layer.
    """
    chain = longest_part(graph)
    if chain is None:
        raise ConfigError(
            "experiment=clusters needs a network that ends in Linear layers, with elementwise activations between "
            "them: use model=mlp."
        )
    return chain
